//! Tests of `picker.rs`.

use super::askers::SILENT_AFTER;
use super::{
    Bitfield, Block, BlockFate, COPIES_MAX, Duration, FAILURE_PAUSE, Geometry, Instant, PeerIndex,
    PickLimits, Picked, Picker, PieceIndex, REFUSAL_PAUSE, Rng, STALL,
};
use crate::units::BLOCK_LEN;
use std::collections::{BTreeMap, BTreeSet};

mod history;
mod parole;
mod seed;

const BLOCKS_PER_PIECE: u32 = 4;
const A: PeerIndex = PeerIndex(0);
const B: PeerIndex = PeerIndex(1);
const C: PeerIndex = PeerIndex(2);
const D: PeerIndex = PeerIndex(3);
const NO_LIMIT: PickLimits = PickLimits {
    blocks_max: usize::MAX,
    open_len_max: u64::MAX,
    counted: BTreeMap::new(),
    lease_len_max: u64::MAX,
    copies_max: 16,
};
const PIECE_LEN: u64 = 4 * 16 * 1024;

fn at(secs: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(secs))
}

fn blocks(count: usize) -> PickLimits {
    PickLimits {
        blocks_max: count,
        ..NO_LIMIT
    }
}

fn piece(raw: u32) -> PieceIndex {
    PieceIndex::unchecked(raw)
}

fn geometry(piece_count: u32) -> Geometry {
    let piece_len = BLOCKS_PER_PIECE * BLOCK_LEN;
    // The last block is short.
    let total_len = u64::from(piece_len) * u64::from(piece_count) - 100;
    Geometry::new(total_len, piece_len).unwrap()
}

/// Never in end game: one of two pieces the peers have, the other nobody.
fn two_of_which_one_is_nowhere(peers: &[PeerIndex]) -> Picker {
    let mut picker = picker(2, &[]);
    for peer in peers {
        picker.join(*peer);
        picker.add_piece(*peer, piece(0));
    }
    picker
}

/// A picker that has had its first pieces, so that it picks the rarest; `peers` have everything.
fn picker(piece_count: u32, peers: &[PeerIndex]) -> Picker {
    let geometry = geometry(piece_count + 4);
    let mut have = Bitfield::none(geometry.piece_count());
    for first in 0..4 {
        have.set(piece(piece_count + first));
    }
    let mut picker = Picker::new(geometry, have, Rng::new(1));
    for peer in peers {
        picker.join(*peer);
        picker.set_pieces(*peer, Bitfield::all(geometry.piece_count()));
    }
    picker.check_invariants();
    picker
}

fn store(picker: &mut Picker, peer: PeerIndex, blocks: &[Block], now: Instant) -> Vec<PieceIndex> {
    let mut full = Vec::new();
    for block in blocks {
        let arrival = picker.received(peer, *block, BlockFate::Stored, now);
        full.extend(arrival.piece_is_full.then_some(block.piece));
    }
    picker.check_invariants();
    full
}

fn pieces_of(picked: &Picked) -> BTreeSet<PieceIndex> {
    picked.blocks.iter().map(|block| block.piece).collect()
}

#[test]
fn first_pieces_are_drawn_and_then_the_rarest_comes_first() {
    let geometry = geometry(50);
    let everything = Bitfield::all(50);
    let mut first = BTreeSet::new();
    for rng_seed in 0..40 {
        let have = Bitfield::none(50);
        let mut picker = Picker::new(geometry, have, Rng::new(rng_seed));
        for peer in [A, B] {
            picker.join(peer);
        }
        let mut all_but_7 = everything.clone();
        all_but_7.clear(piece(7));
        picker.set_pieces(B, all_but_7);
        picker.set_pieces(A, everything.clone());
        first.extend(pieces_of(&picker.pick(A, blocks(1), at(0))));
        for had in 20..24 {
            picker.verified(piece(had));
        }
        picker.release(A);
        assert_eq!(
            pieces_of(&picker.pick(A, blocks(1), at(0))),
            [piece(7)].into()
        );
    }
    assert!(first.len() > 15, "{} different first pieces", first.len());
}

#[test]
fn equally_rare_pieces_are_opened_in_a_drawn_order() {
    let mut orders = BTreeSet::new();
    for rng_seed in 0..10 {
        let mut picker = picker(20, &[A]);
        picker.rng = Rng::new(rng_seed);
        let mut mirror = Bitfield::none(24);
        for raw in 0..20 {
            mirror.set(piece(raw));
        }
        picker.join(B);
        picker.set_pieces(B, mirror);
        orders.insert(picker.pick(A, NO_LIMIT, at(0)).leased);
    }
    assert_eq!(orders.len(), 10);
}

#[test]
fn a_piece_is_leased_to_one_peer() {
    let mut picker = picker(10, &[A, B]);
    let from_a = picker.pick(A, blocks(20), at(0));
    let from_b = picker.pick(B, blocks(20), at(0));
    assert_eq!(from_a.blocks.len(), 20);
    assert_eq!(from_b.blocks.len(), 20);
    assert!(pieces_of(&from_a).is_disjoint(&pieces_of(&from_b)));
    assert_eq!(picker.lease_len(), picker.open_len(A) + picker.open_len(B));
    picker.check_invariants();
}

#[test]
fn a_started_piece_is_finished_before_another_is_opened() {
    let mut picker = picker(10, &[A]);
    let first = picker.pick(A, blocks(3), at(0));
    let next = picker.pick(A, blocks(2), at(0));
    assert_eq!(next.blocks[0].piece, first.blocks[0].piece);
    assert_ne!(next.blocks[1].piece, first.blocks[0].piece);
    assert_eq!(next.leased.len(), 1);
}

#[test]
fn a_choked_lease_is_taken_over_with_what_is_in_it() {
    let mut picker = picker(10, &[A, B]);
    let from_a = picker.pick(A, blocks(4), at(0));
    let handed = from_a.blocks[0].piece;
    store(&mut picker, A, &from_a.blocks[..1], at(1));
    let released = picker.release(A);
    assert_eq!(released.waiting, [handed]);
    assert!(released.dropped.is_empty());
    let from_b = picker.pick(B, blocks(4), at(2));
    assert_eq!(from_b.blocks[..3], from_a.blocks[1..]);
    assert_eq!(picker.holder(handed), Some(B));
    // What A gave is still unpaid for, so the piece is still open there.
    assert_eq!(picker.open_len(A), PIECE_LEN);
    let full = store(&mut picker, B, &from_b.blocks[..3], at(3));
    assert_eq!(full, [handed]);
    picker.verified(handed);
    assert_eq!(picker.open_len(A), 0);
    picker.check_invariants();
}

#[test]
fn an_empty_lease_is_dropped_when_handed_back() {
    let mut picker = picker(10, &[A]);
    let leased = picker.pick(A, blocks(4), at(0)).leased;
    assert_eq!(picker.leave(A).dropped, leased);
    assert_eq!(picker.lease_len(), 0);
    picker.check_invariants();
}

#[test]
fn end_game_asks_twice_and_cancels_the_slower() {
    let mut picker = picker(1, &[A, B]);
    let from_a = picker.pick(A, NO_LIMIT, at(0));
    assert!(picker.is_end_game());
    let from_b = picker.pick(B, NO_LIMIT, at(0));
    assert_eq!(from_b.blocks.len(), 4);
    assert!(from_b.leased.is_empty(), "there is never a second buffer");
    let arrival = picker.received(B, from_a.blocks[0], BlockFate::Stored, at(1));
    assert_eq!(arrival.cancels, [(A, from_a.blocks[0])]);
    let late = picker.received(A, from_a.blocks[0], BlockFate::Equal, at(1));
    assert!(late.cancels.is_empty());
    picker.check_invariants();
}

#[test]
fn copies_of_a_block_are_bounded() {
    let peers: Vec<PeerIndex> = (0..10).map(PeerIndex).collect();
    let mut picker = picker(1, &peers);
    let asked: usize = peers
        .iter()
        .map(|peer| picker.pick(*peer, NO_LIMIT, at(0)).blocks.len())
        .sum();
    assert_eq!(asked, 4 * COPIES_MAX);
}

/// Of four blocks D sends one; A, B and C never answer, and are asked for the other three.
fn three_silent_peers() -> Picker {
    let mut picker = picker(1, &[A, B, C, D]);
    let from_d = picker.pick(D, blocks(1), at(0)).blocks;
    for peer in [A, B, C] {
        assert!(picker.pick(peer, NO_LIMIT, at(0)).blocks.len() >= 3);
    }
    store(&mut picker, D, &from_d, at(1));
    picker
}

fn two_copies() -> PickLimits {
    PickLimits {
        copies_max: 2,
        ..NO_LIMIT
    }
}

#[test]
fn silent_peers_keep_no_block_from_one_that_sends() {
    let mut picker = three_silent_peers();
    let from_d = picker.pick(D, two_copies(), at(1)).blocks;
    assert_eq!(from_d.len(), 3, "as good as missing");
    picker.check_invariants();
}

#[test]
fn who_is_silent_is_one_copy_too_many_as_ever() {
    let mut picker = three_silent_peers();
    let late = at(1).after(SILENT_AFTER);
    assert_eq!(picker.pick(D, two_copies(), late).blocks, []);
}

#[test]
fn who_is_paid_takes_over_two_at_a_time_from_another_that_is() {
    let mut picker = three_silent_peers();
    picker.set_paid(A, true);
    assert_eq!(picker.clone().pick(D, two_copies(), at(1)).blocks.len(), 3);
    picker.set_paid(D, true);
    assert_eq!(picker.pick(D, two_copies(), at(1)).blocks.len(), 2);
}

#[test]
fn end_game_shares_what_a_slow_holder_has_not_asked_for() {
    let mut picker = picker(1, &[A, B]);
    let from_a = picker.pick(A, blocks(1), at(0));
    let from_b = picker.pick(B, blocks(3), at(0));
    assert!(!from_b.blocks.contains(&from_a.blocks[0]));
    assert_eq!(from_b.blocks.len(), 3);
    picker.check_invariants();
}

#[test]
fn a_piece_is_open_at_one_paid_peer_at_a_time() {
    let mut picker = two_of_which_one_is_nowhere(&[A, B]);
    picker.set_paid(A, true);
    picker.set_paid(B, true);
    assert_eq!(picker.pick(A, blocks(1), at(0)).blocks.len(), 1);
    assert!(picker.pick(B, NO_LIMIT, at(0)).blocks.is_empty());
    // On choke the lease may go to another paid peer.
    picker.release(A);
    assert_eq!(picker.pick(B, NO_LIMIT, at(0)).blocks.len(), 4);
    picker.check_invariants();
}

#[test]
fn in_end_game_a_fast_paid_peer_is_asked_for_what_a_slow_one_holds() {
    let mut picker = picker(1, &[A, B]);
    picker.set_paid(A, true);
    picker.set_paid(B, true);
    let from_a = picker.pick(A, blocks(2), at(0)).blocks;
    assert_eq!(from_a.len(), 2);
    let rest = PickLimits {
        copies_max: 0,
        ..NO_LIMIT
    };
    let rest = picker.pick(B, rest, at(0)).blocks;
    assert_eq!(rest.len(), 2, "what nobody was asked for");
    store(&mut picker, B, &rest, at(1));
    let copies = PickLimits {
        copies_max: 2,
        ..NO_LIMIT
    };
    assert_eq!(picker.pick(B, copies, at(1)).blocks.len(), 2);
    picker.check_invariants();
}

#[test]
fn no_piece_is_opened_beyond_the_window_or_the_buffers() {
    let mut picker = picker(10, &[A]);
    let window = PickLimits {
        open_len_max: 2 * PIECE_LEN + 1,
        ..NO_LIMIT
    };
    let picked = picker.pick(A, window, at(0));
    assert_eq!(picked.leased.len(), 2);
    assert!(picked.is_limited);
    assert_eq!(picker.open_len(A), 2 * PIECE_LEN);
    let closed = PickLimits {
        open_len_max: 0,
        ..NO_LIMIT
    };
    let picked = picker.pick(A, closed, at(0));
    assert!(picked.blocks.is_empty() && picked.is_limited);
    let no_buffers = PickLimits {
        lease_len_max: PIECE_LEN - 1,
        ..NO_LIMIT
    };
    let picked = picker.pick(A, no_buffers, at(0));
    assert!(picked.blocks.is_empty() && picked.is_limited);
}

#[test]
fn a_piece_that_a_window_counts_already_goes_on_at_another_connection() {
    let mut picker = picker(10, &[A, B]);
    let picked = picker.pick(A, blocks(2), at(0));
    let half = picked.blocks[0].piece;
    store(&mut picker, A, &picked.blocks, at(0));
    picker.leave(A);
    // B is A's next connection. Its window of one piece is half full of what came on the first.
    let mut window = PickLimits {
        open_len_max: PIECE_LEN / 2,
        ..NO_LIMIT
    };
    let picked = picker.pick(B, window.clone(), at(0));
    assert!(picked.blocks.is_empty() && picked.is_limited);
    window.counted = [(half, PIECE_LEN / 2)].into();
    let picked = picker.pick(B, window, at(0));
    assert_eq!(picked.blocks.len(), 2);
    assert!(picked.blocks.iter().all(|block| block.piece == half));
    picker.check_invariants();
}

/// Seen in the demo: a payer whose bid began while it had six pieces open was seated, asked for the
/// rest of all six as paid, and filled its window of one piece with parts that could not be paid.
#[test]
fn pieces_begun_without_a_bid_count_against_the_window_once_it_begins() {
    let mut picker = picker(10, &[A]);
    let begun = picker.pick(A, blocks(12), at(0)).blocks;
    let pieces: BTreeSet<PieceIndex> = begun.iter().map(|block| block.piece).collect();
    assert_eq!(pieces.len(), 3);
    let (came, rest) = begun.split_at(6);
    store(&mut picker, A, came, at(0));
    // The rest was asked for under too low a bid.
    for block in rest {
        picker.asked_too_low(A, *block);
    }
    let window = PickLimits {
        open_len_max: PIECE_LEN,
        ..NO_LIMIT
    };
    let picked = picker.pick(A, window, at(1));
    assert_eq!(pieces_of(&picked).len(), 1, "as much as the window holds");
    assert_eq!(picked.blocks.len(), 2, "the fullest first");
    assert!(picked.is_limited);
    picker.check_invariants();
}

#[test]
fn a_request_that_was_only_too_low_does_not_bar_its_piece() {
    let mut picker = picker(1, &[A]);
    let asked = picker.pick(A, NO_LIMIT, at(0)).blocks;
    for block in &asked {
        picker.asked_too_low(A, *block);
    }
    assert_eq!(picker.pick(A, NO_LIMIT, at(0)).blocks, asked);
    picker.refused(A, asked[0], at(0));
    assert!(
        picker.pick(A, NO_LIMIT, at(0)).blocks.is_empty(),
        "this does"
    );
    picker.check_invariants();
}

#[test]
fn a_failed_piece_is_fetched_whole_from_one_other_peer() {
    let mut picker = picker(1, &[A, B, C]);
    let from_a = picker.pick(A, blocks(2), at(0));
    let failed = from_a.blocks[0].piece;
    store(&mut picker, A, &from_a.blocks, at(0));
    picker.release(A);
    let from_b = picker.pick(B, blocks(2), at(0));
    store(&mut picker, B, &from_b.blocks, at(0));
    let blame = picker.failed(failed, at(1)).unwrap();
    assert_eq!(blame.contributors, [A, B]);
    assert!(!blame.certain);
    assert_eq!(picker.failed(failed, at(1)), None);

    assert!(picker.pick(A, NO_LIMIT, at(1)).blocks.is_empty());
    let from_c = picker.pick(C, blocks(3), at(1));
    assert_eq!(from_c.leased, [failed]);
    // Nobody may mix in, neither in end game nor after a choke.
    assert!(picker.pick(B, NO_LIMIT, at(1)).blocks.is_empty());
    store(&mut picker, C, &from_c.blocks, at(2));
    assert_eq!(picker.release(C).dropped, [failed]);
    let again = picker.pick(C, NO_LIMIT, at(2));
    assert_eq!(again.blocks.len(), 4);
    store(&mut picker, C, &again.blocks, at(3));
    let blame = picker.failed(failed, at(3)).unwrap();
    assert_eq!(blame.contributors, [C]);
    assert!(blame.certain);
    // Everybody who has it has failed: better from one of them than never.
    assert_eq!(picker.pick(A, NO_LIMIT, at(4)).blocks.len(), 4);
    picker.check_invariants();
}

#[test]
fn a_peer_that_failed_is_asked_again_when_the_other_does_not_come() {
    let mut picker = picker(1, &[A, B]);
    let from_a = picker.pick(A, NO_LIMIT, at(0));
    store(&mut picker, A, &from_a.blocks, at(0));
    picker.failed(piece(0), at(0)).unwrap();
    assert!(picker.pick(A, NO_LIMIT, at(59)).blocks.is_empty());
    let later = Instant::ZERO.after(FAILURE_PAUSE);
    assert_eq!(picker.pick(A, NO_LIMIT, later).blocks.len(), 4);
}

#[test]
fn a_contradicting_copy_is_remembered_for_blame() {
    let mut picker = picker(1, &[A, B]);
    let from_a = picker.pick(A, NO_LIMIT, at(0));
    picker.pick(B, NO_LIMIT, at(0));
    store(&mut picker, A, &from_a.blocks, at(0));
    picker.received(B, from_a.blocks[0], BlockFate::Different, at(0));
    assert_eq!(picker.failed(piece(0), at(1)).unwrap().contributors, [A, B]);
}

#[test]
fn a_refused_piece_is_not_asked_for_again_at_once() {
    let mut picker = picker(1, &[A, B]);
    let from_a = picker.pick(A, blocks(2), at(0));
    let released = picker.refused(A, from_a.blocks[0], at(0));
    assert_eq!(released.dropped, [piece(0)]);
    assert!(
        picker
            .refused(A, from_a.blocks[0], at(0))
            .dropped
            .is_empty()
    );
    assert!(picker.pick(A, NO_LIMIT, at(1)).blocks.is_empty());
    let later = Instant::ZERO.after(REFUSAL_PAUSE);
    assert_eq!(picker.pick(A, blocks(1), later).blocks.len(), 1);
    picker.check_invariants();
}

#[test]
fn a_stalled_piece_is_handed_on_after_30_seconds() {
    let mut picker = two_of_which_one_is_nowhere(&[A, B, C]);
    picker.pick(A, NO_LIMIT, at(0));
    let from_a: Vec<Block> = (0..4)
        .map(|index| geometry(6).block(piece(0), index).unwrap())
        .collect();
    store(&mut picker, A, &from_a[..1], at(5));
    assert_eq!(picker.next_stall(), Some(at(35)));
    assert!(picker.pick(B, NO_LIMIT, at(34)).blocks.is_empty());
    let from_b = picker.pick(B, NO_LIMIT, at(5).after(STALL));
    assert_eq!(from_b.blocks, from_a[1..]);
    assert_eq!(
        from_b.cancels,
        [(A, from_a[1]), (A, from_a[2]), (A, from_a[3])]
    );
    assert_eq!(picker.holder(piece(0)), Some(B));
    // The late block counts all the same.
    let arrival = picker.received(A, from_a[1], BlockFate::Stored, at(36));
    assert_eq!(arrival.cancels, [(B, from_a[1])]);
    picker.check_invariants();
}

#[test]
fn copies_that_all_stall_are_handed_on_too() {
    // Found by the property below: nobody could be asked any more, seed 6939039477377661250.
    let peers: Vec<PeerIndex> = (0..4).map(PeerIndex).collect();
    let mut picker = picker(1, &peers);
    for peer in &peers[..3] {
        picker.pick(*peer, NO_LIMIT, at(0));
    }
    let last = peers[3];
    assert!(picker.pick(last, NO_LIMIT, at(29)).blocks.is_empty());
    let picked = picker.pick(last, NO_LIMIT, at(30));
    assert_eq!(picked.blocks.len(), 4);
    assert_eq!(picked.cancels.len(), 12);
    assert_eq!(picker.holder(piece(0)), Some(last));
    picker.check_invariants();
}

#[test]
fn nonsense_from_peers_changes_nothing() {
    let mut picker = picker(3, &[A]);
    picker.set_pieces(A, Bitfield::all(99));
    picker.set_pieces(B, Bitfield::all(7));
    assert!(!picker.add_piece(A, piece(0)));
    assert!(!picker.add_piece(A, piece(u32::MAX)));
    assert!(!picker.add_piece(B, piece(0)));
    let odd = Block {
        piece: piece(0),
        begin: 1,
        len: 7,
    };
    let beyond = Block {
        piece: piece(77),
        begin: 0,
        len: BLOCK_LEN,
    };
    for block in [odd, beyond] {
        let arrival = picker.received(A, block, BlockFate::Stored, at(0));
        assert_eq!(arrival, super::Arrival::default());
        assert_eq!(picker.refused(A, block, at(0)), super::Released::default());
    }
    picker.verified(piece(77));
    assert_eq!(picker.failed(piece(77), at(0)), None);
    assert_eq!(picker.pick(B, NO_LIMIT, at(0)), Picked::default());
    picker.leave(B);
    picker.leave(A);
    assert_eq!(picker.availability(piece(0)), 0);
    picker.check_invariants();
}

#[test]
fn a_piece_nobody_finishes_can_be_dropped_for_its_buffer() {
    let mut picker = picker(5, &[A]);
    assert_eq!(picker.drop_waiting(), None);
    let from_a = picker.pick(A, blocks(8), at(0));
    store(&mut picker, A, &from_a.blocks[..1], at(0));
    store(&mut picker, A, &from_a.blocks[4..7], at(0));
    picker.release(A);
    assert_eq!(picker.drop_waiting(), Some(from_a.blocks[0].piece));
    assert_eq!(picker.drop_waiting(), Some(from_a.blocks[4].piece));
    assert_eq!(picker.lease_len(), 0);
    picker.check_invariants();
}

#[test]
fn sparse_and_dense_peers_find_the_same_rarest_piece() {
    let geometry = geometry(2_000);
    for rng_seed in 0..5 {
        let mut picker = Picker::new(geometry, Bitfield::none(2_000), Rng::new(rng_seed));
        let mut rng = Rng::new(rng_seed);
        for had in 1_990..1_994 {
            picker.verified(piece(had));
        }
        let mut few = Bitfield::none(2_000);
        for _ in 0..10 {
            few.set(piece(u32::try_from(rng.below(1_990)).unwrap()));
        }
        for peer in 1..6 {
            picker.join(PeerIndex(peer));
            for raw in 0..1_990 {
                if rng.chance(1, 2) {
                    picker.add_piece(PeerIndex(peer), piece(raw));
                }
            }
        }
        picker.join(A);
        picker.set_pieces(A, few.clone());
        let order = picker.rarity.order().to_vec();
        let expected = order.iter().find(|piece| few.get(**piece)).unwrap();
        assert_eq!(picker.pick(A, blocks(1), at(0)).leased, [*expected]);
        picker.check_invariants();
    }
}

#[test]
fn a_hundred_thousand_pieces_complete() {
    let piece_count = 100_000;
    let geometry = Geometry::new(2 * u64::from(BLOCK_LEN) * 100_000, 2 * BLOCK_LEN).unwrap();
    let mut rng = Rng::new(4);
    let mut picker = Picker::new(geometry, Bitfield::none(piece_count), Rng::new(3));
    let peers: Vec<PeerIndex> = (0..20).map(PeerIndex).collect();
    for peer in &peers {
        picker.join(*peer);
        let mut has = Bitfield::none(piece_count);
        for piece in geometry.pieces().filter(|_| rng.chance(9, 10)) {
            has.set(piece);
        }
        picker.set_pieces(*peer, has);
    }
    picker.join(PeerIndex(99));
    picker.set_pieces(PeerIndex(99), Bitfield::all(piece_count));
    while !picker.is_complete() {
        for peer in peers.iter().chain(&[PeerIndex(99)]) {
            for block in picker.pick(*peer, blocks(64), at(0)).blocks {
                if picker
                    .received(*peer, block, BlockFate::Stored, at(0))
                    .piece_is_full
                {
                    picker.verified(block.piece);
                }
            }
        }
    }
    assert!(!picker.is_interesting(A));
}
