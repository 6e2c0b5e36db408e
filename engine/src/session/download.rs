//! Fetching: which blocks to ask whom for, and what becomes of those that come.

use seedbank_ledger::{Bytes, Instant, Rate};

use crate::asked::BlockFate;
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::peer::Peer;
use crate::session::torrent::Torrent;
use crate::transfer::picker::{PickLimits, Picked, Released};
use crate::units::{BLOCK_LEN, Block, InfoHash, PeerIndex, PieceIndex};
use crate::wire::message::Message;

/// Blocks that a peer without the Fast Extension may send although nobody asked for them.
const UNREQUESTED_MAX: u32 = 100;
/// Blocks asked for a second time at once, of a peer that owes us nothing.
const COPIES_MAX: usize = 2;

impl Session {
    pub(super) fn choked_by(&mut self, peer: PeerIndex, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        link.choking_us = true;
        let forgotten = link.download.pipeline.choked();
        let info_hash = torrent.info_hash;
        self.forget_requests(peer, forgotten, now);
        let open = self.torrents.get_mut(&info_hash);
        if let Some(released) =
            open.and_then(|torrent| Some(torrent.open_mut()?.picker.release(peer)))
        {
            self.handed_on(peer, &released, now);
            self.released(info_hash, released, now);
        }
    }

    /// Requests that nobody remembers any more: an answer to one is an answer to nothing.
    fn forget_requests(
        &mut self,
        peer: PeerIndex,
        forgotten: impl IntoIterator<Item = (Block, Rate)>,
        now: Instant,
    ) {
        for (block, bid) in forgotten {
            self.market.unanswered(peer, &block, bid, now);
        }
    }

    pub(super) fn unchoked_by(&mut self, peer: PeerIndex, now: Instant) {
        if let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) {
            link.choking_us = false;
            link.download.pipeline.excuse(now);
        }
    }

    pub(super) fn reject_arrived(&mut self, peer: PeerIndex, block: Block, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let Some(bid) = link.download.pipeline.answered(block, now) else {
            return;
        };
        let (info_hash, choked) = (torrent.info_hash, link.choking_us);
        let refused = torrent.open_mut().filter(|_| !choked);
        let released = refused.map(|open| open.picker.refused(peer, block, now));
        self.market.unanswered(peer, &block, bid, now);
        if let Some(released) = released {
            self.released(info_hash, released, now);
        }
    }

    pub(super) fn block_arrived(
        &mut self,
        peer: PeerIndex,
        block: Block,
        fate: BlockFate,
        now: Instant,
    ) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let len = Bytes::new(u64::from(block.len));
        link.download.received = link.download.received.saturating_add(len);
        link.download.rate.add(len.get(), now);
        torrent.counters.downloaded = torrent.counters.downloaded.saturating_add(len);
        torrent.counters.download_rate.add(len.get(), now);
        if fate != BlockFate::Stored {
            torrent.counters.wasted = torrent.counters.wasted.saturating_add(len);
        }
        if fate == BlockFate::Unrequested {
            // BEP 6: such a peer must be closed. Without it, a few blocks may cross a choke.
            link.download.unrequested += 1;
            if link.fast || link.download.unrequested > UNREQUESTED_MAX {
                self.misbehaved(peer, "sent a block that nobody asked for".to_owned());
            }
            return;
        }
        let rate = link.download.rate.per_second(now);
        let bid = link.download.pipeline.arrived(block, rate, now);
        let Some(open) = torrent.open_mut() else {
            return;
        };
        let had = open.picker.have().get(block.piece);
        let arrival = open.picker.received(peer, block, fate, now);
        let bid = bid.unwrap_or(Rate::ZERO);
        self.market.arrived(peer, &block, bid, fate, had, now);
        for (other, block) in arrival.cancels {
            self.cancel(other, block);
        }
    }

    /// A block of a peer that is being closed. Nobody is thanked for it, but the data plane has
    /// stored it already: whoever completes the piece must not be blamed for what is in it.
    pub(super) fn block_behind_close(
        &mut self,
        peer: PeerIndex,
        block: Block,
        fate: BlockFate,
        now: Instant,
    ) {
        let info_hash = self.peers.get(&peer).and_then(|entry| entry.info_hash);
        let torrent = info_hash.and_then(|info_hash| self.torrents.get_mut(&info_hash));
        let Some(open) = torrent.and_then(|torrent| torrent.open_mut()) else {
            return;
        };
        let arrival = open.picker.received(peer, block, fate, now);
        for (other, block) in arrival.cancels {
            self.cancel(other, block);
        }
    }

    fn cancel(&mut self, peer: PeerIndex, block: Block) {
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        let pipeline = &mut link.download.pipeline;
        if pipeline.outstanding().any(|asked| *asked == block) {
            let forgotten = pipeline.cancelled(block, self.now);
            self.forget_requests(peer, forgotten, self.now);
            self.emit(Output::Cancel { peer, block });
        }
    }

    /// Asks a peer for as much as pipeline, limits, window and buffers allow.
    pub(super) fn refill_peer(&mut self, peer: PeerIndex, now: Instant) {
        while !self.try_refill(peer, now) && self.make_room(now) {}
    }

    /// `false` if the peer is asked for nothing at all, for want of a buffer.
    fn try_refill(&mut self, peer: PeerIndex, now: Instant) -> bool {
        let Some((info_hash, room)) = self.room_at(peer) else {
            return true;
        };
        let allowed = self.downloads.take_blocks(info_hash, BLOCK_LEN, room, now);
        if allowed == 0 {
            if room > 0 {
                let ready = self.downloads.ready_at(info_hash, BLOCK_LEN.into(), now);
                self.download_refill = self.download_refill.into_iter().chain(ready).min();
            }
            return true;
        }
        let lease_len_max = self.config.lease_bytes_max.saturating_sub(self.lease_len());
        let open_len_max = self.market.window_left(peer).get();
        let counted = self.market.counted(peer);
        let bid = self.market.request_bid(peer);
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return true;
        };
        let Some(open) = torrent.open_mut() else {
            return true;
        };
        let copies_max = if link.download.pipeline.outstanding().len() == 0 {
            COPIES_MAX
        } else {
            0
        };
        let piece_len = u64::from(open.metainfo.geometry.piece_len());
        let limits = PickLimits {
            blocks_max: allowed,
            open_len_max,
            counted,
            lease_len_max,
            copies_max,
            share_paid: false,
        };
        let picked = open.picker.pick(peer, limits, now);
        let forgotten = link.download.pipeline.requested(&picked.blocks, bid, now);
        let is_idle = link.download.pipeline.outstanding().len() == 0;
        let starves = is_idle && picked.is_limited && lease_len_max < piece_len;
        let unused = allowed.saturating_sub(picked.blocks.len());
        let unused = u64::try_from(unused).unwrap_or_default() * u64::from(BLOCK_LEN);
        self.downloads.give_back(info_hash, unused);
        if !picked.leased.is_empty() {
            self.leasing.insert(info_hash);
        }
        self.forget_requests(peer, forgotten, now);
        self.request(peer, info_hash, picked, bid, now);
        !starves
    }

    /// A peer's torrent and how many blocks its pipeline has room for, if it may be asked at all.
    fn room_at(&self, peer: PeerIndex) -> Option<(InfoHash, usize)> {
        let entry = self.peers.get(&peer)?;
        let link = entry.live()?;
        if link.choking_us || !link.interesting {
            return None;
        }
        let torrent = self.torrents.get(&entry.info_hash?)?;
        let is_open = torrent.is_active() && torrent.open().is_some();
        is_open.then(|| (torrent.info_hash, link.download.pipeline.room()))
    }

    /// Bytes of all leased buffers. Looks only at torrents that lease some: there may be thousands
    /// of others, and every socket read asks.
    fn lease_len(&mut self) -> u64 {
        let mut sum = 0;
        let torrents = &self.torrents;
        self.leasing.retain(|info_hash| {
            let open = torrents.get(info_hash).and_then(Torrent::open);
            let len = open.map_or(0, |open| open.picker.lease_len());
            sum += len;
            len > 0
        });
        sum
    }

    /// Gives up a buffer that nobody is filling; `false` if there is none.
    fn make_room(&mut self, now: Instant) -> bool {
        let mut torrents = self.torrents.values_mut();
        let dropped = torrents.find_map(|torrent| {
            let piece = torrent.open_mut()?.picker.drop_waiting()?;
            Some((torrent.info_hash, piece))
        });
        if let Some((info_hash, piece)) = dropped {
            self.release(info_hash, piece, now);
        }
        dropped.is_some()
    }

    /// Nobody will complete this buffer.
    fn release(&mut self, info_hash: InfoHash, piece: PieceIndex, now: Instant) {
        self.market.discarded(info_hash, piece, now);
        self.emit(Output::Release { info_hash, piece });
    }

    /// Gives up every buffer of a torrent, also those whose fate nobody will tell.
    pub(super) fn drop_buffers(&mut self, info_hash: InfoHash, now: Instant) {
        let torrent = self.torrents.get_mut(&info_hash);
        let open = torrent.and_then(|torrent| torrent.open_mut());
        for piece in open.map(|open| open.picker.drop_all()).unwrap_or_default() {
            self.release(info_hash, piece, now);
        }
    }

    /// Gives up the buffers of a torrent that are not full: a stopped torrent holds none.
    pub(super) fn drop_unfinished(&mut self, info_hash: InfoHash, now: Instant) {
        let torrent = self.torrents.get_mut(&info_hash);
        let open = torrent.and_then(|torrent| torrent.open_mut());
        let pieces = open.map(|open| open.picker.drop_unfinished());
        for piece in pieces.unwrap_or_default() {
            self.release(info_hash, piece, now);
        }
    }

    fn request(
        &mut self,
        peer: PeerIndex,
        info_hash: InfoHash,
        picked: Picked,
        bid: Rate,
        now: Instant,
    ) {
        for piece in picked.dropped {
            self.release(info_hash, piece, now);
        }
        for (other, block) in picked.cancels {
            self.cancel(other, block);
        }
        let metainfo = self.torrents.get(&info_hash).and_then(Torrent::metainfo);
        let geometry = metainfo.map(|metainfo| metainfo.geometry);
        if let Some(geometry) = geometry.filter(|_| !picked.blocks.is_empty()) {
            for block in &picked.blocks {
                let piece_len = geometry.len_of(block.piece);
                self.market.requested(peer, block, bid, piece_len);
            }
            if let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) {
                link.last_sent = now;
            }
            self.emit(Output::Request {
                peer,
                blocks: picked.blocks,
            });
        }
    }

    /// Asks every peer of a torrent.
    pub(super) fn refill_torrent(&mut self, info_hash: InfoHash, now: Instant) {
        let Some(torrent) = self.torrents.get(&info_hash) else {
            return;
        };
        for peer in torrent.peers.clone() {
            self.refill_peer(peer, now);
        }
    }

    /// What a peer held is fetched from somebody else now.
    fn handed_on(&mut self, peer: PeerIndex, released: &Released, now: Instant) {
        let pieces = released.waiting.iter().copied();
        self.market.handed_on(peer, pieces, now);
    }

    /// Pieces were handed back: others may take them over.
    pub(super) fn released(&mut self, info_hash: InfoHash, released: Released, now: Instant) {
        // Looking at every peer is for when there is something to take over.
        if released.waiting.is_empty() && released.dropped.is_empty() {
            return;
        }
        for piece in released.dropped {
            self.release(info_hash, piece, now);
        }
        self.refill_torrent(info_hash, now);
    }

    pub(super) fn verified(&mut self, info_hash: InfoHash, piece: PieceIndex, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        let Some(open) = torrent.open_mut() else {
            return;
        };
        if open.picker.have().get(piece) {
            return;
        }
        open.picker.verified(piece);
        let complete = open.picker.is_complete();
        // What is due for the piece is written before anybody hears that we have it (S3).
        self.market.verified(info_hash, piece, now);
        self.broadcast_have(info_hash, piece, now);
        self.emit(Output::RememberPieces(info_hash));
        if complete {
            self.completed(info_hash, now);
        } else {
            self.refill_torrent(info_hash, now);
        }
    }

    fn completed(&mut self, info_hash: InfoHash, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        // A torrent completes again if a check finds it damaged; trackers count it once.
        if torrent.completed_at.replace(now).is_none() {
            torrent.trackers.completed(now);
        }
        self.emit(Output::Event(SessionEvent::TorrentCompleted(info_hash)));
        self.plan_boosts(now);
        self.announce_due(now);
        self.choke_soon(now);
    }

    pub(super) fn failed(&mut self, info_hash: InfoHash, piece: PieceIndex, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        let Some(open) = torrent.open_mut() else {
            return;
        };
        let len = Bytes::new(u64::from(open.metainfo.geometry.len_of(piece)));
        let Some(blame) = open.picker.failed(piece, now) else {
            // Filled by peers that the picker has forgotten since: nobody here is to blame.
            if open.picker.lost(piece) {
                self.market.discarded(info_hash, piece, now);
                self.refill_torrent(info_hash, now);
            }
            return;
        };
        torrent.counters.wasted = torrent.counters.wasted.saturating_add(len);
        self.emit(Output::Event(SessionEvent::PieceFailed {
            info_hash,
            piece,
        }));
        self.market.discarded(info_hash, piece, now);
        if blame.certain {
            for peer in blame.contributors {
                self.misbehaved(
                    peer,
                    format!("piece {} does not match its hash", piece.get()),
                );
            }
        }
        self.refill_torrent(info_hash, now);
    }

    /// A connection from before the metainfo was known: what was said then is checked now.
    pub(super) fn introduce(&mut self, peer: PeerIndex, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let Some(open) = torrent.open_mut() else {
            return;
        };
        open.picker.join(peer);
        let early = link.early.take().unwrap_or_default();
        match early.check(open.metainfo.geometry.piece_count()) {
            Ok(pieces) => open.picker.set_pieces(peer, pieces),
            Err(error) => {
                return self.misbehaved(peer, format!("bitfield does not fit: {error}"));
            }
        }
        let have: Vec<PieceIndex> = open.picker.have().iter().collect();
        self.send_extended_handshake(peer, now);
        for piece in have {
            self.send(peer, Message::Have(piece), now);
        }
        self.update_interest(peer, now);
        self.refill_peer(peer, now);
    }

    /// Requests that took too long, pieces that stall, and limits that have refilled.
    pub(super) fn download_timeouts(&mut self, now: Instant) {
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some((link, torrent)) = self.link_and_torrent(peer) else {
                continue;
            };
            let rate = link.download.rate.per_second(now);
            let overdue = link.download.pipeline.check(rate, now);
            let info_hash = torrent.info_hash;
            self.forget_requests(peer, overdue.forgotten, now);
            for block in overdue.lost {
                self.lost(peer, block, now);
            }
            if overdue.is_newly_snubbed {
                self.snubbed(peer, info_hash, now);
            }
            self.ask_metadata(peer, now);
            self.refill_peer(peer, now);
        }
    }

    /// A request that is not waited for any more; should a block come all the same, it was asked
    /// for.
    fn lost(&mut self, peer: PeerIndex, block: Block, now: Instant) {
        let Some((_, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let info_hash = torrent.info_hash;
        let released = torrent
            .open_mut()
            .map(|open| open.picker.refused(peer, block, now));
        if let Some(released) = released {
            self.released(info_hash, released, now);
        }
    }

    /// A peer that lets us ask sends nothing: others may take over what it holds.
    fn snubbed(&mut self, peer: PeerIndex, info_hash: InfoHash, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        if let Some(released) = torrent.open_mut().map(|open| open.picker.release(peer)) {
            self.handed_on(peer, &released, now);
            self.released(info_hash, released, now);
        }
    }

    /// Download limits have refilled.
    pub(super) fn download_refilled(&mut self, now: Instant) {
        self.download_refill = None;
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.refill_peer(peer, now);
        }
    }
}
