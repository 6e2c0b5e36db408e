//! Parole: of several who sent blocks of a piece that failed, nobody knows who lied. Each fetches
//! whole pieces by itself from then on, until one of them matches its hash: the next lie has one
//! contributor, and is proof.

use super::Picker;
use super::pick::Draft;
use crate::units::{PeerIndex, PieceIndex};

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
}
