//! How many peers have each piece, and the pieces nobody works on in order of rarity.
//!
//! The order is one vector cut into runs of equal availability. A piece moves to the next run by
//! one swap, so a HAVE costs O(1); taking a piece out costs O(runs), which are at most the peers.
//! The place inside a run is drawn, which is the random tie-break of rarest first.

use crate::rng::Rng;
use crate::units::PieceIndex;

/// Availability of every piece, and the order of those that may be opened.
#[derive(Clone, Debug)]
pub(super) struct Rarity {
    /// Peers that have a piece, complete ones not counted.
    availability: Vec<usize>,
    /// Index in `order`; `None` for a piece that is not in it.
    places: Vec<Option<usize>>,
    order: Vec<PieceIndex>,
    /// `ends[a]` is where the run of availability `a` ends; the run after it starts there.
    ends: Vec<usize>,
}

impl Rarity {
    /// `piece_count` pieces that nobody has, of which those in `pieces` are in the order.
    pub(super) fn new(piece_count: u32, pieces: Vec<PieceIndex>, rng: &mut Rng) -> Self {
        let len = PieceIndex::unchecked(piece_count).as_usize();
        let mut order = pieces;
        rng.shuffle(&mut order);
        let mut places = vec![None; len];
        for (place, piece) in order.iter().enumerate() {
            places[piece.as_usize()] = Some(place);
        }
        let ends = vec![order.len()];
        Self {
            availability: vec![0; len],
            places,
            order,
            ends,
        }
    }

    /// One more peer has the piece.
    pub(super) fn gained(&mut self, piece: PieceIndex, rng: &mut Rng) {
        let count = self.availability[piece.as_usize()];
        self.availability[piece.as_usize()] = count + 1;
        if let Some(place) = self.places[piece.as_usize()] {
            self.reach(count + 1);
            let last = self.ends[count] - 1;
            self.swap(place, last);
            self.ends[count] = last;
            self.draw_place(last, count + 1, rng);
            self.check_place(piece);
        }
    }

    /// One peer fewer has the piece.
    pub(super) fn lost(&mut self, piece: PieceIndex, rng: &mut Rng) {
        let count = self.availability[piece.as_usize()];
        assert!(count > 0, "only a peer that was counted can leave");
        self.availability[piece.as_usize()] = count - 1;
        if let Some(place) = self.places[piece.as_usize()] {
            let first = self.ends[count - 1];
            self.swap(place, first);
            self.ends[count - 1] = first + 1;
            self.draw_place(first, count - 1, rng);
            self.check_place(piece);
        }
    }

    /// Takes a piece out of the order. No effect if it is not in.
    pub(super) fn remove(&mut self, piece: PieceIndex) {
        let Some(mut place) = self.places[piece.as_usize()] else {
            return;
        };
        for run in self.availability[piece.as_usize()]..self.ends.len() {
            let last = self.ends[run] - 1;
            self.swap(place, last);
            self.ends[run] = last;
            place = last;
        }
        let last = self.order.pop();
        assert_eq!(last, Some(piece), "the piece taken out has come to the end");
        self.places[piece.as_usize()] = None;
        assert_eq!(
            self.ends.last(),
            Some(&self.order.len()),
            "runs end with the order"
        );
    }

    /// Puts a piece into the order. No effect if it is in.
    pub(super) fn insert(&mut self, piece: PieceIndex, rng: &mut Rng) {
        if self.places[piece.as_usize()].is_some() {
            return;
        }
        let count = self.availability[piece.as_usize()];
        self.reach(count);
        let mut place = self.order.len();
        self.order.push(piece);
        self.places[piece.as_usize()] = Some(place);
        for run in (count..self.ends.len()).rev() {
            // The run's first piece makes room by going to its end.
            let first = if run == count {
                place
            } else {
                self.ends[run - 1]
            };
            self.ends[run] += 1;
            self.swap(place, first);
            place = first;
        }
        self.draw_place(place, count, rng);
        self.check_place(piece);
    }

    /// Pieces in the order, rarest first.
    pub(super) fn order(&self) -> &[PieceIndex] {
        &self.order
    }

    /// Index of a piece in the order.
    pub(super) fn place(&self, piece: PieceIndex) -> Option<usize> {
        self.places[piece.as_usize()]
    }

    /// Peers that have a piece, complete ones not counted.
    pub(super) fn availability(&self, piece: PieceIndex) -> usize {
        self.availability[piece.as_usize()]
    }

    /// Asserts that a piece of the order stands in the run of its availability. O(1).
    fn check_place(&self, piece: PieceIndex) {
        let count = self.availability(piece);
        let place = self.place(piece).expect("the piece is in the order");
        let start = if count == 0 { 0 } else { self.ends[count - 1] };
        assert_eq!(self.order[place], piece, "a piece knows its place");
        assert!(place >= start, "a piece is not before its run");
        assert!(place < self.ends[count], "a piece is not behind its run");
        assert_eq!(
            self.ends.last(),
            Some(&self.order.len()),
            "runs end with the order"
        );
    }

    pub(super) fn check_invariants(&self) {
        let mut place = 0;
        for (count, end) in self.ends.iter().enumerate() {
            assert!(*end >= place, "runs do not overlap");
            while place < *end {
                let piece = self.order[place];
                assert_eq!(self.availability(piece), count, "a piece is in its run");
                assert_eq!(self.place(piece), Some(place), "a piece knows its place");
                place += 1;
            }
        }
        assert_eq!(place, self.order.len(), "every piece is in a run");
        let placed = self.places.iter().flatten().count();
        assert_eq!(placed, self.order.len(), "no piece is in the order twice");
    }

    fn reach(&mut self, run: usize) {
        if self.ends.len() <= run {
            self.ends.resize(run + 1, self.order.len());
        }
    }

    fn draw_place(&mut self, place: usize, run: usize, rng: &mut Rng) {
        let start = if run == 0 { 0 } else { self.ends[run - 1] };
        let other = start + rng.index(self.ends[run] - start);
        self.swap(place, other);
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.order.swap(one, other);
        self.places[self.order[one].as_usize()] = Some(one);
        self.places[self.order[other].as_usize()] = Some(other);
    }
}

#[cfg(test)]
mod tests {
    use super::{PieceIndex, Rarity, Rng};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn runs_stay_sorted_under_any_operations(
            rng_seed in any::<u64>(), piece_count in 1_u32..40, steps in 0_usize..300
        ) {
            let mut rng = Rng::new(rng_seed);
            let pieces: Vec<PieceIndex> = (0..piece_count).map(PieceIndex::unchecked).collect();
            let mut rarity = Rarity::new(piece_count, pieces.clone(), &mut rng);
            let mut expected = vec![(0_usize, true); pieces.len()];
            for _ in 0..steps {
                let index = rng.index(pieces.len());
                let (count, is_in) = &mut expected[index];
                match rng.below(4) {
                    0 if *count > 0 => {
                        rarity.lost(pieces[index], &mut rng);
                        *count -= 1;
                    }
                    1 => {
                        rarity.remove(pieces[index]);
                        *is_in = false;
                    }
                    2 => {
                        rarity.insert(pieces[index], &mut rng);
                        *is_in = true;
                    }
                    _ => {
                        rarity.gained(pieces[index], &mut rng);
                        *count += 1;
                    }
                }
                rarity.check_invariants();
            }
            for (piece, (count, is_in)) in pieces.iter().zip(expected) {
                prop_assert_eq!(rarity.availability(*piece), count);
                prop_assert_eq!(rarity.place(*piece).is_some(), is_in);
            }
        }
    }
}
