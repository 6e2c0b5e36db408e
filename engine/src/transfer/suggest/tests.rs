//! Tests of `suggest.rs`.

use std::collections::BTreeSet;

use proptest::prelude::{any, proptest};

use super::{Bitfield, Geometry, PeerIndex, PieceIndex, Rng, SUGGESTED_MAX, Suggester, TAKEN_MAX};

const MIB: u32 = 1 << 20;

fn geometry(piece_count: u32, piece_len: u32) -> Geometry {
    Geometry::new(u64::from(piece_count) * u64::from(piece_len), piece_len).unwrap()
}

fn suggester(piece_count: u32) -> Suggester {
    Suggester::new(&geometry(piece_count, MIB), Rng::new(1))
}

fn piece(raw: u32) -> PieceIndex {
    PieceIndex::unchecked(raw)
}

fn next(suggester: &mut Suggester, peer: u64, piece_count: u32) -> Option<PieceIndex> {
    let has = Bitfield::none(piece_count);
    let named = suggester.suggest(PeerIndex(peer), &has, 0, |_| 0);
    suggester.check_invariants();
    named
}

#[test]
fn each_leecher_is_suggested_a_piece_of_its_own() {
    let mut suggester = suggester(20);
    let mut named = BTreeSet::new();
    for peer in 0..20 {
        named.extend(next(&mut suggester, peer, 20));
        assert_eq!(next(&mut suggester, peer, 20), None, "one at a time");
    }
    assert_eq!(named.len(), 20);
    // Everything is on its way: what is next is somebody else's too.
    assert!(next(&mut suggester, 20, 20).is_some());
}

#[test]
fn who_is_sent_a_piece_for_ever_stops_nobody() {
    let mut suggester = suggester(3);
    suggester.asked(PeerIndex(0), piece(1));
    let taker = suggester.takers.get_mut(&PeerIndex(0)).unwrap();
    taker.asked.insert(piece(1), u32::MAX);
    suggester.granted(PeerIndex(0), piece(1));
    assert_eq!(suggester.granted_count(PeerIndex(0), piece(1)), u32::MAX);
    suggester.check_invariants();
}

#[test]
fn the_next_piece_is_named_when_the_last_is_asked_for() {
    let mut suggester = suggester(3);
    for _ in 0..3 {
        let named = next(&mut suggester, 0, 3).expect("a piece is left");
        assert!(suggester.asked(PeerIndex(0), named), "its first block");
        assert!(!suggester.asked(PeerIndex(0), named));
    }
    assert_eq!(next(&mut suggester, 0, 3), None, "it has asked for all");
}

#[test]
fn short_pieces_are_suggested_several_at_a_time() {
    for (piece_len, count) in [
        (16 << 10, SUGGESTED_MAX),
        (256 << 10, 2),
        (MIB, 1),
        (16 * MIB, 1),
    ] {
        let mut suggester = Suggester::new(&geometry(50, piece_len), Rng::new(1));
        let named = std::iter::from_fn(|| next(&mut suggester, 0, 50)).count();
        assert_eq!(named, count);
    }
}

#[test]
fn who_is_sent_much_is_suggested_what_it_is_sent_in_a_second() {
    let mut suggester = suggester(50);
    let has = Bitfield::none(50);
    let rate = 3 * u64::from(MIB) - 1;
    let named = std::iter::from_fn(|| suggester.suggest(PeerIndex(0), &has, rate, |_| 0));
    assert_eq!(named.count(), 3);
}

#[test]
fn what_the_fewest_have_comes_first_and_then_what_was_given_least() {
    let mut suggester = suggester(3);
    let has = Bitfield::none(3);
    for _ in 0..5 {
        suggester.granted(PeerIndex(9), piece(1));
    }
    let mut name = |peer| {
        let availability = |of: PieceIndex| usize::from(of == piece(0));
        suggester.suggest(PeerIndex(peer), &has, 0, availability)
    };
    assert_eq!(name(0), Some(piece(2)));
    assert_eq!(name(1), Some(piece(1)));
}

#[test]
fn a_choke_frees_what_was_not_begun() {
    let mut suggester = suggester(2);
    let begun = next(&mut suggester, 0, 2).expect("a piece");
    suggester.asked(PeerIndex(0), begun);
    suggester.granted(PeerIndex(0), begun);
    let only_named = next(&mut suggester, 0, 2).expect("the other");
    suggester.choked(PeerIndex(0));
    suggester.check_invariants();
    assert_eq!(suggester.granted_count(PeerIndex(0), begun), 1);
    assert_eq!(next(&mut suggester, 1, 2), Some(only_named));
}

#[test]
fn who_asks_for_everything_is_remembered_within_bounds() {
    let count = 3 * u32::try_from(TAKEN_MAX).unwrap();
    let mut suggester = suggester(count);
    for raw in 0..count {
        suggester.asked(PeerIndex(0), piece(raw));
    }
    suggester.check_invariants();
    assert_eq!(suggester.takers[&PeerIndex(0)].asked.len(), TAKEN_MAX);
    suggester.gone(PeerIndex(0));
    suggester.check_invariants();
    assert!(suggester.takers.is_empty());
}

proptest! {
    #[test]
    fn counts_hold_under_any_history(rng_seed in any::<u64>(), piece_count in 1_u32..30) {
        let mut rng = Rng::new(rng_seed);
        let mut suggester = suggester(piece_count);
        for _ in 0..300 {
            let peer = PeerIndex(rng.below(5));
            let some = piece(u32::try_from(rng.below(piece_count.into())).unwrap());
            match rng.below(12) {
                0 => suggester.gone(peer),
                1 => suggester.choked(peer),
                2 | 3 => suggester.has(peer, some),
                4 | 5 => suggester.granted(peer, some),
                6 | 7 => drop(suggester.asked(peer, some)),
                _ => drop(next(&mut suggester, peer.0, piece_count)),
            }
            suggester.check_invariants();
        }
    }
}
