//! What always holds of a picker's state.

use std::collections::BTreeSet;

#[cfg(test)]
use super::open::BlockState;
use super::{BARS_MAX, Picker, Source};
#[cfg(test)]
use crate::units::Block;
use crate::units::PieceIndex;

impl Picker {
    /// Stops the program if the state contradicts itself. O(peers × pieces).
    pub fn check_invariants(&self) {
        self.rarity.check_invariants();
        self.have.check_invariants();
        self.unopened.check_invariants();
        self.check_parts();
        for piece in self.geometry.pieces() {
            let is_open = self.open.contains_key(&piece);
            let states = [self.have.get(piece), self.unopened.get(piece), is_open];
            let count = states.iter().filter(|state| **state).count();
            assert_eq!(count, 1, "a piece is had, unopened or open");
            let in_order = self.rarity.place(piece).is_some();
            assert_eq!(
                in_order,
                self.unopened.get(piece),
                "the order holds the unopened"
            );
            let counted = |source: &&Source| !source.counted_as_seed && source.has.get(piece);
            let having = self.peers.values().filter(counted).count();
            assert_eq!(
                having,
                self.rarity.availability(piece),
                "peers with a piece are counted"
            );
        }
        let open_len = self.open.values().map(|open| u64::from(open.len));
        assert_eq!(open_len.sum::<u64>(), self.lease_len, "leases are counted");
        for (piece, open) in &self.open {
            open.check_invariants();
            let is_waiting = self.waiting.contains(piece);
            assert_eq!(
                is_waiting,
                open.holder.is_none(),
                "a piece without holder waits"
            );
        }
        assert!(
            self.waiting
                .iter()
                .all(|piece| self.open.contains_key(piece)),
            "open ones wait"
        );
        self.check_sources();
        assert!(
            self.bars.len() <= BARS_MAX,
            "remembered refusals are bounded"
        );
    }

    /// Blocks of open pieces that are thought to be in their buffers.
    #[cfg(test)]
    pub fn stored(&self) -> impl Iterator<Item = Block> + '_ {
        self.open.values().flat_map(|open| {
            let blocks = (0..).zip(&open.blocks);
            let stored = blocks.filter(|(_, state)| matches!(state, BlockState::Stored(_)));
            stored.filter_map(|(index, _)| self.geometry.block(open.piece, index))
        })
    }

    /// Asserts, whenever a piece changes hands, that each is had, unopened or open. O(1).
    pub(super) fn check_parts(&self) {
        let unopened = PieceIndex::unchecked(self.unopened.count()).as_usize();
        let had = PieceIndex::unchecked(self.have.count()).as_usize();
        let all = PieceIndex::unchecked(self.geometry.piece_count()).as_usize();
        assert_eq!(
            had + unopened + self.open.len(),
            all,
            "a piece is had, unopened or open"
        );
        assert_eq!(
            self.rarity.order().len(),
            unopened,
            "the order holds the unopened"
        );
        assert!(
            self.waiting.len() <= self.open.len(),
            "only open pieces wait"
        );
        assert_eq!(
            self.open.is_empty(),
            self.lease_len == 0,
            "open pieces are leased"
        );
    }

    fn check_sources(&self) {
        for (peer, source) in &self.peers {
            source.has.check_invariants();
            source.check_counts();
            let wanted = source
                .has
                .iter()
                .filter(|piece| !self.have.get(*piece))
                .count();
            assert_eq!(
                u32::try_from(wanted),
                Ok(source.wanted_count),
                "wanted are counted"
            );
            let unopened = source
                .has
                .iter()
                .filter(|piece| self.unopened.get(*piece))
                .count();
            assert_eq!(
                u32::try_from(unopened),
                Ok(source.unopened_count),
                "unopened are counted"
            );
            let involved = self.open.values().filter(|open| open.involves(*peer));
            let involved: BTreeSet<PieceIndex> = involved.map(|open| open.piece).collect();
            assert_eq!(involved, source.open, "a peer knows the pieces open at it");
            let len = |piece: &PieceIndex| u64::from(self.geometry.len_of(*piece));
            assert_eq!(source.open.iter().map(len).sum::<u64>(), source.open_len);
        }
    }
}

impl Source {
    /// Asserts, at every change, what is known of the counts. O(1).
    pub(super) fn check_counts(&self) {
        assert!(
            self.unopened_count <= self.wanted_count,
            "what is unopened is wanted"
        );
        assert!(
            self.wanted_count <= self.has.count(),
            "what is wanted of a peer it has"
        );
        assert_eq!(
            self.open.is_empty(),
            self.open_len == 0,
            "pieces open at a peer have a length"
        );
    }
}
