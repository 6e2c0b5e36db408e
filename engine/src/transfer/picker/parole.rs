//! Parole: of several who sent blocks of a piece that failed, nobody knows who lied. Each fetches
//! whole pieces by itself from then on, until one of them matches its hash: the next lie has one
//! contributor, and is proof.

use seedbank_ledger::Instant;

use super::open::OpenPiece;
use super::pick::Draft;
use super::{BarReason, Blame, FAILURE_PAUSE, Picker, REFUSAL_PAUSE, STALL};
use crate::units::{PeerIndex, PieceIndex};

/// Turns that are longer than the one before: the last is 8 hours.
const TURNS_MAX: u32 = 10;

impl Picker {
    /// These sent blocks of one piece, and it failed. What they fetch alone stays theirs alone.
    pub(super) fn put_on_parole(&mut self, peers: &[PeerIndex]) {
        let known = peers.iter().filter(|peer| self.peers.contains_key(peer));
        self.parole.extend(known);
        for open in self.open.values_mut() {
            let Some(holder) = open.holder.filter(|holder| peers.contains(holder)) else {
                continue;
            };
            let mut involved = open.askers().chain(open.contributors());
            let is_alone = involved.all(|peer| peer == holder);
            drop(involved);
            open.whole |= is_alone;
        }
    }

    /// The buffer of a piece was full, of what its holder sent and of what counts for nothing, and
    /// it failed. It is fetched alone from now on.
    pub(super) fn failed_for_what_came_late(
        &mut self,
        piece: PieceIndex,
        now: Instant,
    ) -> Option<Blame> {
        let late = &self.open.get(&piece)?.late;
        let contributors: Vec<PeerIndex> = late.iter().copied().collect();
        if contributors.is_empty() {
            return None;
        }
        self.close(piece);
        for peer in &contributors {
            self.bar(*peer, piece, BarReason::Failed, now.after(FAILURE_PAUSE));
        }
        if let Some(bar) = self.bars.get_mut(&piece) {
            bar.whole = true;
        }
        Some(Blame {
            contributors,
            certain: false,
            late: true,
        })
    }

    /// This peer comes from where somebody shared a piece that failed.
    pub fn suspect(&mut self, peer: PeerIndex) {
        if self.peers.contains_key(&peer) {
            self.parole.insert(peer);
        }
    }

    /// A piece matched its hash: whoever sent all of it is believed again.
    pub(super) fn end_parole(&mut self, piece: PieceIndex) {
        if self.parole.is_empty() {
            return;
        }
        let contributors = self.open.get(&piece).map(|open| open.contributors());
        let contributors = contributors.unwrap_or_default();
        if contributors.len() == 1 {
            self.parole.retain(|peer| !contributors.contains(peer));
        }
    }

    /// Whether somebody who fetches a piece alone has had it for long enough, should another have
    /// nothing else to do: who sends a block now and then would hold it for hours. Each has twice
    /// as long the next time, so that who is merely slow comes to an end.
    pub(super) fn is_turn_over(&self, open: &OpenPiece, now: Instant) -> bool {
        let turns = self.bars.get(&open.piece).map(|bar| &bar.turns);
        let turns = turns.zip(open.holder).and_then(|(all, of)| all.get(&of));
        let turns = turns.copied().unwrap_or(0).min(TURNS_MAX);
        open.whole && now.since(open.opened_at) >= STALL.times(1 << turns)
    }

    /// A piece that one fetches alone goes to somebody else: others come first for a while.
    pub(super) fn end_turn(&mut self, piece: PieceIndex, now: Instant) {
        let open = &self.open[&piece];
        let Some(holder) = open.holder.filter(|_| open.whole) else {
            return;
        };
        self.bar(holder, piece, BarReason::Refused, now.after(REFUSAL_PAUSE));
        if let Some(bar) = self.bars.get_mut(&piece) {
            *bar.turns.entry(holder).or_default() += 1;
        }
    }

    /// Somebody on parole has nothing else to do: a piece that others began is begun anew.
    pub(super) fn restart_waiting(&mut self, draft: &mut Draft) -> bool {
        let (peer, now) = (draft.peer, draft.now);
        if !draft.picked.blocks.is_empty() || !self.parole.contains(&peer) {
            return false;
        }
        let waiting = self.waiting.iter().copied();
        let mut waiting = waiting.filter(|piece| {
            let open = &self.open[piece];
            let is_idle = !open.is_full() && !open.is_asked();
            is_idle && self.may_ask(peer, *piece, now) && self.has_piece(peer, *piece)
        });
        let Some(piece) = waiting.find(|piece| draft.fits_window(self, *piece)) else {
            return false;
        };
        let len = u64::from(self.geometry.len_of(piece));
        if !draft.fits_buffers(len) {
            return false;
        }
        draft.lease_len_left -= len;
        self.close(piece);
        draft.picked.dropped.push(piece);
        draft.picked.leased.push(piece);
        self.open_at(peer, piece, now);
        self.ask_missing(piece, draft);
        true
    }

    /// Whether a peer may be asked for a piece in spite of what was between us.
    pub(super) fn may_ask(&self, peer: PeerIndex, piece: PieceIndex, now: Instant) -> bool {
        let Some(bar) = self.bars.get(&piece) else {
            return true;
        };
        match bar.peers.get(&peer) {
            None => true,
            Some((until, _)) if *until <= now => true,
            Some((_, BarReason::Refused)) => false,
            Some((_, BarReason::Failed)) => !self
                .peers
                .iter()
                .any(|(other, source)| source.has.get(piece) && !bar.peers.contains_key(other)),
        }
    }
}
