//! Who fetches alone, and what others can do about it.

use super::{A, B, C, NO_LIMIT, REFUSAL_PAUSE, STALL, at, blocks, picker, piece, store};
use super::{BlockFate, Duration, Picker};

/// A picker of one piece, which A and B shared and which failed. Nobody is barred any more.
fn spoilt_by_two() -> Picker {
    let mut picker = picker(1, &[A, B]);
    let first = picker.pick(A, blocks(1), at(0));
    store(&mut picker, A, &first.blocks, at(0));
    picker.release(A);
    let rest = picker.pick(B, NO_LIMIT, at(0));
    store(&mut picker, B, &rest.blocks, at(0));
    assert!(!picker.failed(piece(0), at(0)).unwrap().certain);
    picker
}

/// One block every 29 s would hold a piece of 16 MiB for 8 hours.
#[test]
fn i3_who_drips_a_piece_that_is_fetched_alone_loses_it_to_whoever_idles() {
    let mut picker = spoilt_by_two();
    let begin = at(60);
    let held = picker.pick(A, NO_LIMIT, begin).blocks;
    assert_eq!(held.len(), 4);
    assert!(picker.pick(B, NO_LIMIT, begin).blocks.is_empty(), "alone");
    let drip = at(60 + 29);
    store(&mut picker, A, &held[..1], drip);
    let later = begin.after(STALL);
    let taken = picker.pick(B, NO_LIMIT, later);
    assert_eq!(taken.blocks.len(), 4, "all of it again");
    assert_eq!(taken.dropped, [piece(0)]);
    assert!(
        picker.pick(A, NO_LIMIT, later).blocks.is_empty(),
        "not back at once"
    );
    picker.check_invariants();
}

/// Two that are merely slow take it from each other, and each has twice as long the next time.
#[test]
fn i3_who_is_slow_has_a_piece_for_longer_each_time() {
    let mut picker = spoilt_by_two();
    let mut now = at(60);
    let mut held = picker.pick(A, NO_LIMIT, now).blocks;
    let mut turns = Vec::new();
    for (holder, other) in [(A, B), (B, A), (A, B), (B, A)] {
        let begin = now;
        held = loop {
            now = now.after(Duration::from_secs(1));
            let secs = now.since(begin).as_secs();
            if secs.is_multiple_of(25) {
                store(&mut picker, holder, &held.split_off(held.len() - 1), now);
            }
            let taken = picker.pick(other, NO_LIMIT, now).blocks;
            if !taken.is_empty() {
                turns.push(secs);
                break taken;
            }
        };
    }
    assert_eq!(turns, [30, 30, 60, 60]);
}

/// What was asked of A before counts for nothing in what B fetches alone.
#[test]
fn i3_a_late_block_is_no_part_of_a_piece_that_another_fetches_alone() {
    let mut picker = spoilt_by_two();
    let begin = at(60);
    let asked = picker.pick(A, NO_LIMIT, begin).blocks;
    assert_eq!(picker.release(A).dropped, [piece(0)]);
    let alone = picker.pick(B, NO_LIMIT, begin.after(REFUSAL_PAUSE)).blocks;
    assert_eq!(alone.len(), 4);
    let now = begin.after(REFUSAL_PAUSE);
    picker.received(A, asked[0], BlockFate::Stored, now);
    for (index, block) in alone.iter().enumerate() {
        let fate = match index {
            0 => BlockFate::Different,
            _ => BlockFate::Stored,
        };
        picker.received(B, *block, fate, now);
    }
    // The buffer was full, and not of one.
    let blame = picker.failed(piece(0), now).unwrap();
    assert_eq!(blame.contributors, [A], "who fetched it is not smeared");
    assert!(blame.late && !blame.certain);
    let again = picker.pick(B, NO_LIMIT, now).blocks;
    store(&mut picker, B, &again, now);
    assert!(picker.failed(piece(0), now).unwrap().certain, "now it is");
    picker.join(C);
    picker.check_invariants();
}
