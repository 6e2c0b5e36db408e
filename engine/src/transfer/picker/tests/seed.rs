//! Suggestions, and what the only seed is asked for.

use super::{A, B, C, PickLimits, Picker, at, blocks, picker, piece, pieces_of, store};
use crate::transfer::suggest::SUGGESTED_MAX;

/// `A` has everything; `B` has these of 10 pieces.
fn beside_the_only_seed(of_b: &[u32]) -> Picker {
    let mut picker = picker(10, &[A]);
    picker.join(B);
    for raw in of_b {
        picker.add_piece(B, piece(*raw));
    }
    picker
}

#[test]
fn a_suggested_piece_is_asked_for_before_the_rarest() {
    let mut picker = beside_the_only_seed(&[4, 5, 6, 7]);
    picker.suggested(A, piece(6));
    picker.suggested(A, piece(5));
    for expected in [6, 5] {
        let picked = picker.pick(A, blocks(4), at(0));
        assert_eq!(pieces_of(&picked), [piece(expected)].into());
    }
    let own = picker.pick(A, blocks(4), at(0));
    assert!(!pieces_of(&own).contains(&piece(4)), "then the rarest");
    picker.check_invariants();
}

#[test]
fn a_suggestion_holds_for_whoever_made_it() {
    let mut picker = picker(10, &[A, B]);
    picker.suggested(A, piece(6));
    picker.join(C);
    picker.add_piece(C, piece(6));
    let picked = picker.pick(B, blocks(4), at(0));
    assert_ne!(pieces_of(&picked), [piece(6)].into(), "6 is the commonest");
}

#[test]
fn what_a_peer_has_not_or_we_have_or_fetch_cannot_be_suggested() {
    let mut picker = beside_the_only_seed(&[1, 2]);
    picker.verified(piece(1));
    let elsewhere = picker.pick(B, blocks(4), at(0));
    assert_eq!(pieces_of(&elsewhere), [piece(2)].into());
    for raw in [1, 2] {
        picker.suggested(A, piece(raw));
    }
    picker.suggested(B, piece(7));
    assert!(picker.pick(B, blocks(4), at(0)).blocks.is_empty());
    let picked = pieces_of(&picker.pick(A, blocks(4), at(0)));
    assert!(picked.is_disjoint(&[piece(1), piece(2)].into()));
    picker.check_invariants();
}

#[test]
fn only_the_newest_suggestions_are_kept() {
    let mut picker = picker(200, &[A]);
    for raw in (0..200).chain(190..200) {
        picker.suggested(A, piece(raw));
    }
    assert_eq!(picker.peers[&A].suggested.len(), SUGGESTED_MAX);
    let picked = picker.pick(A, blocks(4), at(0));
    assert_eq!(pieces_of(&picked), [piece(192)].into());
}

#[test]
fn who_is_paid_is_asked_for_the_rarest_and_its_word_decides_between_equals() {
    let mut picker = beside_the_only_seed(&[0, 1, 2, 3]);
    picker.set_paid(A, true);
    picker.suggested(A, piece(3));
    picker.suggested(A, piece(7));
    let picked = picker.pick(A, blocks(4), at(0));
    assert_eq!(pieces_of(&picked), [piece(7)].into());
    let picked = picker.pick(A, blocks(4), at(0));
    assert_ne!(pieces_of(&picked), [piece(3)].into());
}

#[test]
fn the_only_seed_is_not_asked_for_what_others_can_finish() {
    let mut picker = beside_the_only_seed(&[3]);
    let begun = picker.pick(B, blocks(2), at(0)).blocks;
    store(&mut picker, B, &begun, at(0));
    picker.release(B);
    let picked = picker.pick(A, blocks(36), at(0));
    assert!(!pieces_of(&picked).contains(&piece(3)), "it is scarce");
    let rest = picker.pick(A, blocks(2), at(0));
    assert_eq!(pieces_of(&rest), [piece(3)].into(), "nothing else is left");
}

#[test]
fn a_paid_seed_finishes_what_others_have_begun() {
    let mut picker = beside_the_only_seed(&[3]);
    picker.set_paid(A, true);
    let begun = picker.pick(B, blocks(2), at(0)).blocks;
    store(&mut picker, B, &begun, at(0));
    picker.release(B);
    let picked = picker.pick(A, blocks(2), at(0));
    assert_eq!(pieces_of(&picked), [piece(3)].into());
}

#[test]
fn a_piece_not_begun_at_the_only_seed_is_spared_for_the_first_to_announce_it() {
    let mut picker = beside_the_only_seed(&[]);
    let asked = picker.pick(A, blocks(4), at(0)).blocks;
    let of = asked[0].piece;
    assert_eq!(picker.spared_for(B, of), None, "nobody has it yet");
    picker.add_piece(B, of);
    assert_eq!(picker.spared_for(B, of), Some(A));
    let cancelled = picker.give_up(of);
    assert_eq!(cancelled.len(), asked.len());
    picker.check_invariants();
    let taken = picker.pick(B, blocks(4), at(0));
    assert_eq!(pieces_of(&taken), [of].into());
}

#[test]
fn what_has_begun_or_is_paid_or_common_is_not_given_up() {
    let mut picker = beside_the_only_seed(&[]);
    let asked = picker.pick(A, blocks(8), at(0)).blocks;
    let [begun, other] = [asked[0].piece, asked[4].piece];
    store(&mut picker, A, &asked[..1], at(0));
    picker.add_piece(B, begun);
    assert_eq!(picker.spared_for(B, begun), None, "a block is there");
    assert!(picker.give_up(begun).is_empty());
    picker.add_piece(B, other);
    picker.set_paid(A, true);
    assert_eq!(picker.spared_for(B, other), None, "it is paid for");
    picker.set_paid(A, false);
    picker.join(C);
    picker.add_piece(C, other);
    assert_eq!(picker.spared_for(C, other), None, "two have it");
    picker.check_invariants();
}

#[test]
fn who_is_idle_and_unpaid_helps_with_what_nobody_is_asked_for() {
    for (paid, count) in [(false, 2), (true, 0)] {
        let mut picker = beside_the_only_seed(&[3]);
        picker.suggested(A, piece(3));
        assert_eq!(picker.pick(A, blocks(2), at(0)).blocks.len(), 2);
        picker.set_paid(B, paid);
        let limits = PickLimits {
            copies_max: 2,
            ..blocks(8)
        };
        let helped = picker.pick(B, limits, at(0)).blocks;
        assert_eq!(helped.len(), count, "never a copy outside end game");
        picker.check_invariants();
    }
}
