//! The decision: what to ask a peer for next.
//!
//! In this order: what it already holds; what another handed back; a new piece (drawn at first,
//! then the rarest); a piece that stalls at another peer; in end game, or when there is no buffer
//! for more, what others are asked for.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use seedbank_ledger::Instant;

use super::askers::CopyRule;
use super::open::OpenPiece;
use super::{COPIES_MAX, Picker, RANDOM_FIRST_COUNT, STALL};
use crate::units::{Block, PeerIndex, PieceIndex};

/// How much denser than this a peer's pieces must lie among the unopened ones for the order to be
/// walked; otherwise the two sets are cut, eight pieces a step.
const SPARSE_FACTOR: usize = 64;

/// What bounds a pick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickLimits {
    /// Blocks that the peer's pipeline has room for.
    pub blocks_max: usize,
    /// Bytes of further pieces that may be opened at this peer: what is left of its window (S2).
    pub open_len_max: u64,
    /// Bytes of pieces that its window counts already, whatever connection they came on: so much
    /// less is needed to go on with one.
    pub counted: BTreeMap<PieceIndex, u64>,
    /// Bytes of further buffers that may be leased.
    pub lease_len_max: u64,
    /// Blocks that others were asked for and that may be asked for again in end game: few, and none
    /// while this peer still owes us an answer, or end game costs more than it saves. With any,
    /// a peer that sends may be asked for all that silent ones were asked for.
    pub copies_max: usize,
}

/// What to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// Blocks to request, grouped by piece.
    pub blocks: Vec<Block>,
    /// Pieces for which a buffer was leased with this pick.
    pub leased: Vec<PieceIndex>,
    /// Blocks that another peer was asked for, in a piece that is handed on: a Cancel is due.
    pub cancels: Vec<(PeerIndex, Block)>,
    /// Buffers to be forgotten.
    pub dropped: Vec<PieceIndex>,
    /// There was something to ask for, but the window or the buffers forbid it. Not a snub.
    pub is_limited: bool,
}

/// A pick in progress.
pub(super) struct Draft {
    pub(super) peer: PeerIndex,
    pub(super) now: Instant,
    blocks_left: usize,
    open_len_left: u64,
    counted: BTreeMap<PieceIndex, u64>,
    pub(super) lease_len_left: u64,
    copies_left: usize,
    /// A piece was not opened because no buffer is left for it.
    lacks_buffer: bool,
    /// It is the only seed, not paid, and has pieces that nobody else has: what others have is for
    /// others to send.
    is_spared: bool,
    pub(super) picked: Picked,
}

impl Picker {
    /// Decides what to ask a peer for, and records that it was asked. Only for a peer that lets us
    /// request. Amortised O(log peers) per block; opening a piece costs O(peers), and at worst one
    /// pass over a bitfield.
    pub fn pick(&mut self, peer: PeerIndex, limits: PickLimits, now: Instant) -> Picked {
        let mut draft = Draft {
            peer,
            now,
            blocks_left: limits.blocks_max,
            open_len_left: limits.open_len_max,
            counted: limits.counted,
            lease_len_left: limits.lease_len_max,
            copies_left: limits.copies_max,
            lacks_buffer: false,
            is_spared: self.is_spared(peer),
            picked: Picked::default(),
        };
        if !self.is_interesting(peer) {
            return draft.picked;
        }
        self.continue_leases(&mut draft);
        while draft.blocks_left > 0 {
            let goes_on = self.take_over_waiting(&mut draft) || self.open_next(&mut draft);
            if !goes_on && !self.restart_waiting(&mut draft) {
                break;
            }
        }
        if draft.picked.blocks.is_empty() && draft.blocks_left > 0 {
            self.take_over_stalled(&mut draft);
        }
        // Whoever idles for want of a buffer helps to fill those there are: else a few peers that
        // send a block now and then could keep them all.
        let is_idle = draft.picked.blocks.is_empty() && draft.lacks_buffer;
        if draft.blocks_left > 0 && (self.is_end_game() || is_idle) {
            self.share_in_end_game(&mut draft);
        } else if draft.picked.blocks.is_empty() && draft.blocks_left > 0 && !self.is_paid(peer) {
            // It lets us ask, and all that it has is under way: what is not asked of anybody yet
            // comes sooner from two.
            draft.copies_left = 0;
            self.share_in_end_game(&mut draft);
        }
        draft.picked
    }

    /// Goes on with what the peer holds, as far as its window lets it: pieces that were begun while
    /// nothing was bid count against it only now. Those counted already come first, then the
    /// fullest.
    fn continue_leases(&mut self, draft: &mut Draft) {
        let Some(source) = self.peers.get(&draft.peer) else {
            return;
        };
        let held = source.open.iter().filter(|piece| {
            let open = self.open.get(piece);
            let holds =
                open.is_some_and(|open| open.holder == Some(draft.peer) && open.missing_count > 0);
            holds && source.has.get(**piece)
        });
        let mut held: Vec<PieceIndex> = held.copied().collect();
        held.sort_by_key(|piece| {
            let is_counted = draft.counted.contains_key(piece);
            (!is_counted, Reverse(self.open[piece].stored_count), *piece)
        });
        for piece in held {
            if draft.fits_window(self, piece) {
                self.ask_missing(piece, draft);
            }
        }
    }

    /// Leases the fullest waiting piece that the peer has; whether there was one.
    fn take_over_waiting(&mut self, draft: &mut Draft) -> bool {
        let best = self
            .waiting
            .iter()
            .filter(|piece| {
                let open = &self.open[piece];
                let is_scarce = || self.rarity.availability(**piece) == 0;
                open.missing_count > 0
                    && self.may_join(**piece, draft)
                    && (!draft.is_spared || is_scarce())
            })
            .max_by_key(|piece| self.open[piece].stored_count);
        let Some(piece) = best.copied() else {
            return false;
        };
        if !draft.fits_window(self, piece) {
            return false;
        }
        self.waiting.remove(&piece);
        self.lease(piece, draft);
        true
    }

    /// Opens a new piece; whether there was one that fits.
    fn open_next(&mut self, draft: &mut Draft) -> bool {
        let suggested = self.choose_suggested(draft.peer, draft.now);
        let Some(piece) = suggested.or_else(|| self.choose_unopened(draft)) else {
            return false;
        };
        let len = u64::from(self.geometry.len_of(piece));
        if !draft.fits_window(self, piece) || !draft.fits_buffers(len) {
            return false;
        }
        draft.lease_len_left -= len;
        draft.picked.leased.push(piece);
        self.open_at(draft.peer, piece, draft.now);
        self.ask_missing(piece, draft);
        true
    }

    fn choose_unopened(&mut self, draft: &Draft) -> Option<PieceIndex> {
        let source = self.peers.get(&draft.peer)?;
        let order_len = self.rarity.order().len();
        let unopened = PieceIndex::unchecked(source.unopened_count).as_usize();
        if unopened == 0 {
            return None;
        }
        let is_random = self.have.count() < RANDOM_FIRST_COUNT;
        let start = if is_random {
            self.rng.index(order_len)
        } else {
            0
        };
        let fits = |piece: &PieceIndex| self.may_ask(draft.peer, *piece, draft.now);
        if unopened.saturating_mul(SPARSE_FACTOR) >= order_len {
            let order = self.rarity.order();
            let turned = order[start..].iter().chain(&order[..start]);
            let source = &self.peers[&draft.peer];
            return turned
                .copied()
                .find(|piece| source.has.get(*piece) && fits(piece));
        }
        // Places before `start` come last, so that both ways of looking find the same piece.
        let turned = |piece: &PieceIndex| {
            self.rarity
                .place(*piece)
                .map(|place| (place < start, place))
        };
        let both = self.peers[&draft.peer]
            .has
            .as_wire()
            .iter()
            .zip(self.unopened.as_wire());
        let bytes = (0_u32..)
            .zip(both)
            .filter(|(_, (has, unopened))| *has & *unopened != 0);
        bytes
            .flat_map(|(byte, (has, unopened))| {
                let bits = has & unopened;
                let is_set = move |bit: &u32| bits & (0x80 >> bit) != 0;
                (0..8)
                    .filter(is_set)
                    .map(move |bit| PieceIndex::unchecked(byte * 8 + bit))
            })
            .filter(fits)
            .min_by_key(turned)
    }

    /// Hands on a piece of which nothing came for [`STALL`].
    fn take_over_stalled(&mut self, draft: &mut Draft) {
        let is_stalled = |open: &&OpenPiece| {
            let is_old = draft.now.since(open.progress_at) >= STALL;
            (is_old || self.is_turn_over(open, draft.now))
                && !open.is_full()
                && !open.asks(draft.peer)
        };
        let stalled = self.open.values().filter(is_stalled).map(|open| open.piece);
        let stalled = stalled.filter(|piece| {
            self.has_piece(draft.peer, *piece) && self.may_ask(draft.peer, *piece, draft.now)
        });
        let stalled: Vec<PieceIndex> = stalled.collect();
        let Some(piece) = stalled
            .into_iter()
            .find(|piece| draft.fits_window(self, *piece))
        else {
            return;
        };
        self.end_turn(piece, draft.now);
        let open = self.open.get_mut(&piece).expect("found in this map");
        let others: Vec<PeerIndex> = open.holder.into_iter().chain(open.askers()).collect();
        for (other, index) in open.withdraw_everybody() {
            let block = self.geometry.block(piece, index);
            draft
                .picked
                .cancels
                .extend(block.map(|block| (other, block)));
        }
        if open.whole || self.parole.contains(&draft.peer) {
            // What is in it came from the other one: all of it again, from this one.
            self.close(piece);
            draft.picked.dropped.push(piece);
            self.open_next(draft);
            return;
        }
        self.waiting.remove(&piece);
        self.lease(piece, draft);
        for other in others {
            self.note_involvement(other, piece);
        }
    }

    /// Asks for what others hold: first what nobody is asked for, then copies.
    fn share_in_end_game(&mut self, draft: &mut Draft) {
        let mut pieces: Vec<PieceIndex> = self
            .open
            .values()
            .filter(|open| !open.is_full() && !open.whole)
            .map(|open| open.piece)
            .filter(|piece| self.may_join(*piece, draft))
            .collect();
        self.rng.shuffle(&mut pieces);
        for piece in &pieces {
            let is_missing_some = self.open[piece].missing_count > 0;
            if draft.blocks_left > 0 && is_missing_some && draft.fits_window(self, *piece) {
                self.ask_missing(*piece, draft);
            }
        }
        // What silent peers were asked for is as good as missing: no bound but the pipeline's.
        if draft.copies_left > 0 {
            for piece in &pieces {
                let left = draft.blocks_left;
                self.ask_copies(*piece, left, draft, |rule, askers| {
                    rule.is_abandoned(askers)
                });
            }
        }
        let mut copies_left = draft.blocks_left.min(draft.copies_left);
        // Least asked first, so that copies spread before they pile up.
        for copies_max in 2..=COPIES_MAX {
            for piece in &pieces {
                copies_left -= self.ask_copies(*piece, copies_left, draft, |rule, askers| {
                    rule.is_below(askers, copies_max)
                });
            }
        }
    }

    /// Asks for up to `max` blocks of a piece that others are asked for, as far as those let it.
    fn ask_copies(
        &mut self,
        piece: PieceIndex,
        max: usize,
        draft: &mut Draft,
        may: impl Fn(&CopyRule<'_>, &[PeerIndex]) -> bool,
    ) -> usize {
        if max == 0 || !draft.fits_window(self, piece) {
            return 0;
        }
        let rule = CopyRule::new(&self.peers, draft.peer, draft.now);
        let open = self
            .open
            .get_mut(&piece)
            .expect("chosen among the open ones");
        let start = self.rng.index(open.blocks.len());
        let mut count = 0;
        for step in 0..open.blocks.len() {
            let index = (start + step) % open.blocks.len();
            if count < max && open.ask_again(draft.peer, index, |askers| may(&rule, askers)) {
                count += 1;
                let index = u32::try_from(index).expect("a piece has fewer blocks than bytes");
                draft
                    .picked
                    .blocks
                    .extend(self.geometry.block(piece, index));
            }
        }
        draft.blocks_left -= count;
        self.count_as_open(piece, draft);
        count
    }

    /// Makes the peer the holder of an open piece and asks it for what is missing.
    fn lease(&mut self, piece: PieceIndex, draft: &mut Draft) {
        let open = self
            .open
            .get_mut(&piece)
            .expect("chosen among the open ones");
        open.holder = Some(draft.peer);
        open.progress_at = draft.now;
        self.ask_missing(piece, draft);
    }

    /// Counts a piece as open at the peer, if it is.
    fn count_as_open(&mut self, piece: PieceIndex, draft: &mut Draft) {
        self.note_involvement(draft.peer, piece);
        if self.peers[&draft.peer].open.contains(&piece) {
            let len = u64::from(self.geometry.len_of(piece));
            let needed = draft.needed(piece, len);
            draft.open_len_left = draft.open_len_left.saturating_sub(needed);
            draft.counted.insert(piece, len);
        }
    }

    pub(super) fn ask_missing(&mut self, piece: PieceIndex, draft: &mut Draft) {
        let Some(open) = self.open.get_mut(&piece) else {
            return;
        };
        let before = draft.picked.blocks.len();
        let blocks = &mut draft.picked.blocks;
        open.ask_missing(draft.peer, draft.blocks_left, &self.geometry, blocks);
        draft.blocks_left -= blocks.len() - before;
        self.count_as_open(piece, draft);
    }

    pub(super) fn is_paid(&self, peer: PeerIndex) -> bool {
        self.peers.get(&peer).is_some_and(|source| source.paid)
    }

    pub(super) fn has_piece(&self, peer: PeerIndex, piece: PieceIndex) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|source| source.has.get(piece))
    }

    /// Whether the peer may work on an open piece beside whoever does. A piece is open at one paid
    /// peer at a time, but for the end game: whoever sent bad data is paid nothing either way.
    fn may_join(&self, piece: PieceIndex, draft: &Draft) -> bool {
        let is_paid = |peer: &PeerIndex| self.is_paid(*peer);
        let open = &self.open[&piece];
        let paid_elsewhere = || {
            let mut others = open.holder.into_iter().chain(open.askers());
            others.any(|other| other != draft.peer && is_paid(&other))
        };
        self.has_piece(draft.peer, piece)
            && !self.parole.contains(&draft.peer)
            && self.may_ask(draft.peer, piece, draft.now)
            && (self.is_end_game() || !is_paid(&draft.peer) || !paid_elsewhere())
    }
}

impl Draft {
    /// Whether a piece is counted at the peer, or may be opened there.
    pub(super) fn fits_window(&mut self, picker: &Picker, piece: PieceIndex) -> bool {
        let len = u64::from(picker.geometry.len_of(piece));
        let fits = self.needed(piece, len) <= self.open_len_left;
        self.picked.is_limited |= !fits;
        fits
    }

    /// What of `len` bytes of a piece its window does not count yet.
    fn needed(&self, piece: PieceIndex, len: u64) -> u64 {
        len.saturating_sub(self.counted.get(&piece).copied().unwrap_or(0))
    }

    pub(super) fn fits_buffers(&mut self, len: u64) -> bool {
        let fits = len <= self.lease_len_left;
        self.picked.is_limited |= !fits;
        self.lacks_buffer |= !fits;
        fits
    }
}
