//! Suggestions (BEP 6): a seed that is alone names to each leecher what nobody has, and a leecher
//! asks the seed for that first. What to name is decided in `transfer/suggest.rs`, what a
//! suggestion is worth in the picker. What is asked for is served as if nothing had been suggested.

use std::collections::BTreeSet;

use seedbank_ledger::Instant;

use crate::session::Session;
use crate::session::choking::DRAIN_MAX;
use crate::session::peer::{Peer, Queued};
use crate::session::torrent::Torrent;
use crate::transfer::picker::Picker;
use crate::transfer::suggest::Suggester;
use crate::units::{PeerIndex, PieceIndex};
use crate::wire::message::Message;

impl Session {
    /// A peer advises a piece: of what we would ask it for, that comes first.
    pub(super) fn suggested_by(&mut self, peer: PeerIndex, piece: PieceIndex) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        // Without the Fast Extension there is no such message, and without metainfo no such piece.
        let (true, Some(open)) = (link.fast, torrent.open_mut()) else {
            return;
        };
        if piece.get() >= open.metainfo.geometry.piece_count() {
            let what = "suggests a piece that the torrent has not".to_owned();
            return self.misbehaved(peer, what);
        }
        open.picker.suggested(peer, piece);
    }

    /// Suggests pieces to a peer that is served, if nobody but us has everything.
    pub(super) fn suggest(&mut self, peer: PeerIndex, now: Instant) {
        let link = self.peers.get(&peer).and_then(Peer::live);
        let rate = link.map(|link| link.upload.rate.per_second(now));
        let is_fast = link.is_some_and(|link| link.fast);
        if !is_fast || !self.is_unchoked(peer) || !self.seeds_alone(peer) {
            return;
        }
        let Some((picker, suggester)) = self.giving(peer) else {
            return;
        };
        let Some(has) = picker.pieces_of(peer) else {
            return;
        };
        let mut named = Vec::new();
        while let Some(piece) = suggester.suggest(peer, has, rate.unwrap_or_default(), |piece| {
            picker.availability(piece)
        }) {
            named.push(piece);
        }
        for piece in named {
            self.send(peer, Message::Suggest(piece), now);
        }
    }

    /// What a seed keeps of what it gave to a peer and the others of its torrent.
    pub(super) fn giving(&mut self, peer: PeerIndex) -> Option<(&Picker, &mut Suggester)> {
        let torrent_id = self.peers.get(&peer)?.torrent_id?;
        let open = self.torrents.get_mut(&torrent_id)?.open_mut()?;
        open.giving(&mut self.rng)
    }

    /// Whether we have all of a peer's torrent and know nobody else who has.
    pub(super) fn seeds_alone(&self, peer: PeerIndex) -> bool {
        let torrent_id = self.peers.get(&peer).and_then(|entry| entry.torrent_id);
        let torrent = torrent_id.and_then(|torrent_id| self.torrents.get(&torrent_id));
        let open = torrent.and_then(Torrent::open);
        open.is_some_and(|open| open.picker.is_complete() && open.picker.complete_peer().is_none())
    }

    /// Pieces of which a peer that we choke has got some for nothing and nobody else anything: half
    /// of one is worth nothing. How many blocks of them are left to send; 0 unless we seed alone.
    pub(super) fn scarce_under_way(&mut self, peer: PeerIndex) -> (BTreeSet<PieceIndex>, usize) {
        let mut scarce = BTreeSet::new();
        if !self.seeds_alone(peer) {
            return (scarce, 0);
        }
        let queue = self.peers.get(&peer).and_then(Peer::live);
        let queue = queue
            .map(|link| link.upload.queue.clone())
            .unwrap_or_default();
        let Some((picker, suggester)) = self.giving(peer) else {
            return (scarce, 0);
        };
        let asked = queue.iter().filter(|queued| queued.bid.is_zero());
        scarce.extend(asked.map(|queued| queued.block.piece).filter(|piece| {
            suggester.granted_count(peer, *piece) > 0 && picker.availability(*piece) == 0
        }));
        let is_scarce = |queued: &&Queued| scarce.contains(&queued.block.piece);
        let mut left = queue.iter().filter(is_scarce).count();
        if left == queue.len() {
            let rest = scarce.iter().map(|piece| {
                let count = picker.geometry().block_count(*piece);
                count.saturating_sub(suggester.granted_count(peer, *piece))
            });
            left = left.max(usize::try_from(rest.sum::<u32>()).unwrap_or(DRAIN_MAX));
        }
        (scarce, left.min(DRAIN_MAX))
    }

    /// A leecher has heard that a piece is to be had from somebody else: if it was asked of the
    /// only seed and that has not begun to send it, what the seed sends had better be another.
    pub(super) fn spare_seed(&mut self, announcer: PeerIndex, piece: PieceIndex, now: Instant) {
        let Some((_, torrent)) = self.link_and_torrent(announcer) else {
            return;
        };
        let torrent_id = torrent.torrent_id;
        let Some(open) = torrent.open() else { return };
        let Some(seed) = open.picker.spared_for(announcer, piece) else {
            return;
        };
        let link = self.peers.get(&seed).and_then(Peer::live);
        let first = link.and_then(|link| link.download.pipeline.outstanding().next());
        if first.is_none_or(|block| block.piece == piece) {
            return;
        }
        let open = self
            .torrents
            .get_mut(&torrent_id)
            .and_then(Torrent::open_mut);
        let Some(given_up) = open.map(|open| open.picker.give_up(piece)) else {
            return;
        };
        for (other, block) in given_up {
            self.cancel(other, block);
        }
        self.release(torrent_id, piece, now);
        self.refill_peer(announcer, now);
    }
}
