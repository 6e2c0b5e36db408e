//! A piece somebody works on: its blocks, who holds the lease, who else was asked.

use std::collections::BTreeSet;

use seedbank_ledger::Instant;

use crate::asked::BlockFate;
use crate::units::{Block, Geometry, PeerIndex, PieceIndex};

/// State of a block of an open piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BlockState {
    /// Nobody is asked for it.
    Missing,
    /// These are asked for it: one outside end game.
    Asked(Vec<PeerIndex>),
    /// It came from this peer.
    Stored(PeerIndex),
}

/// An open piece: it has a buffer, leased to `holder` or waiting for the next.
#[derive(Clone, Debug)]
pub(super) struct OpenPiece {
    pub(super) piece: PieceIndex,
    /// Bytes, also of its buffer.
    pub(super) len: u32,
    /// Who fetches it; `None` when it was handed back.
    pub(super) holder: Option<PeerIndex>,
    pub(super) blocks: Vec<BlockState>,
    pub(super) missing_count: usize,
    pub(super) stored_count: usize,
    /// No block before this one is missing.
    missing_from: usize,
    /// It failed its hash before: all blocks must come from the one holder.
    pub(super) whole: bool,
    /// When it was opened: one that is whole stays with one peer from then on.
    pub(super) opened_at: Instant,
    /// When the lease began or a block came last.
    pub(super) progress_at: Instant,
    /// Sent a block that differs from what another peer sent.
    pub(super) contradicting: BTreeSet<PeerIndex>,
    /// Sent a block late that counts for nothing, and is in the buffer.
    pub(super) late: BTreeSet<PeerIndex>,
}

impl OpenPiece {
    pub(super) fn new(
        piece: PieceIndex,
        geometry: &Geometry,
        holder: PeerIndex,
        whole: bool,
        now: Instant,
    ) -> Self {
        let count = geometry.block_count(piece);
        let blocks: Vec<BlockState> = (0..count).map(|_| BlockState::Missing).collect();
        Self {
            piece,
            len: geometry.len_of(piece),
            holder: Some(holder),
            missing_count: blocks.len(),
            stored_count: 0,
            missing_from: 0,
            blocks,
            whole,
            opened_at: now,
            progress_at: now,
            contradicting: BTreeSet::new(),
            late: BTreeSet::new(),
        }
    }

    /// Every block is there; the hash decides.
    pub(super) fn is_full(&self) -> bool {
        self.stored_count == self.blocks.len()
    }

    /// Whether this block counts for nothing, of which note is taken if it is in the buffer: who is
    /// not asked for it sends it into what another fetches alone, or is on parole. The holder still
    /// has to send the same.
    pub(super) fn came_late(
        &mut self,
        peer: PeerIndex,
        index: usize,
        fate: BlockFate,
        is_suspect: bool,
    ) -> bool {
        let asked = self.blocks.get(index);
        let is_asked = matches!(asked, Some(BlockState::Asked(askers)) if askers.contains(&peer));
        let is_foreign = (self.whole || is_suspect) && self.holder != Some(peer);
        let is_late = is_foreign && !is_asked;
        if is_late && fate == BlockFate::Stored {
            self.late.insert(peer);
        }
        is_late
    }

    /// Asks `peer` for up to `max` missing blocks, in order.
    pub(super) fn ask_missing(
        &mut self,
        peer: PeerIndex,
        max: usize,
        geometry: &Geometry,
        asked: &mut Vec<Block>,
    ) {
        let mut left = max.min(self.missing_count);
        let first = u32::try_from(self.missing_from).expect("pieces have fewer blocks than bytes");
        for (index, state) in (first..).zip(&mut self.blocks[self.missing_from..]) {
            if left == 0 {
                break;
            }
            if *state == BlockState::Missing {
                *state = BlockState::Asked(vec![peer]);
                self.missing_count -= 1;
                left -= 1;
                asked.extend(geometry.block(self.piece, index));
            }
            self.missing_from += 1;
        }
        self.check_counts();
    }

    /// Asks `peer` too for a block that others are asked for, if they let it; whether it did.
    pub(super) fn ask_again(
        &mut self,
        peer: PeerIndex,
        index: usize,
        may: impl Fn(&[PeerIndex]) -> bool,
    ) -> bool {
        match &mut self.blocks[index] {
            BlockState::Asked(askers) if !askers.contains(&peer) && may(askers) => {
                askers.push(peer);
                true
            }
            BlockState::Missing | BlockState::Asked(_) | BlockState::Stored(_) => false,
        }
    }

    /// Stops asking `peer` for a block; whether it was asked.
    pub(super) fn withdraw(&mut self, peer: PeerIndex, index: usize) -> bool {
        let Some(BlockState::Asked(askers)) = self.blocks.get_mut(index) else {
            return false;
        };
        let before = askers.len();
        askers.retain(|asker| *asker != peer);
        let was_asked = askers.len() < before;
        if askers.is_empty() {
            self.blocks[index] = BlockState::Missing;
            self.missing_count += 1;
            self.missing_from = self.missing_from.min(index);
            self.check_counts();
        }
        was_asked
    }

    /// Stops asking `peer` for anything here.
    pub(super) fn withdraw_all(&mut self, peer: PeerIndex) {
        for index in 0..self.blocks.len() {
            self.withdraw(peer, index);
        }
    }

    /// Stops asking anybody for anything here; who was asked for which block, by index.
    pub(super) fn withdraw_everybody(&mut self) -> Vec<(PeerIndex, u32)> {
        let mut withdrawn = Vec::new();
        for (index, state) in (0_u32..).zip(&mut self.blocks) {
            if let BlockState::Asked(askers) = state {
                withdrawn.extend(askers.iter().map(|asker| (*asker, index)));
                *state = BlockState::Missing;
                self.missing_count += 1;
            }
        }
        self.missing_from = 0;
        self.check_counts();
        assert!(!self.is_asked(), "nobody is asked for anything");
        withdrawn
    }

    /// Everybody who is asked for a block, once per block.
    pub(super) fn askers(&self) -> impl Iterator<Item = PeerIndex> + '_ {
        self.blocks
            .iter()
            .flat_map(|state| match state {
                BlockState::Asked(askers) => askers.as_slice(),
                BlockState::Missing | BlockState::Stored(_) => &[],
            })
            .copied()
    }

    /// Whether `peer` is asked for a block.
    pub(super) fn asks(&self, peer: PeerIndex) -> bool {
        self.askers().any(|asker| asker == peer)
    }

    /// A block came from `peer`; the others that were asked for it, or `None` if it was there.
    pub(super) fn store(
        &mut self,
        peer: PeerIndex,
        index: usize,
        now: Instant,
    ) -> Option<Vec<PeerIndex>> {
        let state = self.blocks.get_mut(index)?;
        if let BlockState::Stored(_) = state {
            return None;
        }
        self.progress_at = self.progress_at.max(now);
        self.stored_count += 1;
        let others = match std::mem::replace(state, BlockState::Stored(peer)) {
            BlockState::Missing => {
                self.missing_count -= 1;
                Some(Vec::new())
            }
            BlockState::Asked(askers) => {
                Some(askers.into_iter().filter(|asker| *asker != peer).collect())
            }
            BlockState::Stored(_) => None,
        };
        self.check_counts();
        others
    }

    /// Whether anybody is asked for a block.
    pub(super) fn is_asked(&self) -> bool {
        self.missing_count + self.stored_count < self.blocks.len()
    }

    /// Whether `peer` holds the lease, is asked for a block, or has stored one.
    pub(super) fn involves(&self, peer: PeerIndex) -> bool {
        let stored = BlockState::Stored(peer);
        self.holder == Some(peer) || self.asks(peer) || self.blocks.contains(&stored)
    }

    /// Who stored a block or sent a different one, in order.
    pub(super) fn contributors(&self) -> BTreeSet<PeerIndex> {
        let from = |state: &BlockState| match state {
            BlockState::Stored(from) => Some(*from),
            BlockState::Missing | BlockState::Asked(_) => None,
        };
        let stored = self.blocks.iter().filter_map(from);
        stored.chain(self.contradicting.iter().copied()).collect()
    }

    /// Asserts, at every change of a block, what is known of the counts. O(1).
    fn check_counts(&self) {
        assert!(
            self.missing_count + self.stored_count <= self.blocks.len(),
            "a block is missing, asked for or stored"
        );
        assert!(
            self.missing_from <= self.blocks.len(),
            "blocks are passed over up to the last"
        );
    }

    pub(super) fn check_invariants(&self) {
        self.check_counts();
        let missing = self
            .blocks
            .iter()
            .filter(|state| **state == BlockState::Missing)
            .count();
        assert_eq!(missing, self.missing_count, "missing blocks are counted");
        let is_stored = |state: &&BlockState| matches!(state, BlockState::Stored(_));
        let stored = self.blocks.iter().filter(is_stored).count();
        assert_eq!(stored, self.stored_count, "stored blocks are counted");
        let skipped = &self.blocks[..self.missing_from];
        assert!(
            !skipped.contains(&BlockState::Missing),
            "no missing block is passed over"
        );
        for state in &self.blocks {
            if let BlockState::Asked(askers) = state {
                let distinct: BTreeSet<_> = askers.iter().collect();
                assert_eq!(
                    distinct.len(),
                    askers.len(),
                    "nobody is asked twice for a block"
                );
                assert!(
                    !askers.is_empty(),
                    "an asked block has somebody who is asked"
                );
            }
        }
    }
}
