//! Fetching: which blocks to ask whom for, and what becomes of those that come.

use std::net::SocketAddr;

use seedbank_ledger::{Bytes, Instant, Rate};

use crate::asked::BlockFate;
use crate::credit::receipts::Delivered;
use crate::discovery::bans::BAN;
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::peer::Peer;
use crate::session::torrent::{Content, Torrent};
use crate::transfer::picker::{PickLimits, Picked, Released};
use crate::units::{BLOCK_LEN, Block, PeerIndex, PieceIndex, TorrentId};
use crate::wire::message::Message;

/// Blocks that a peer without the Fast Extension may send although nobody asked for them.
const UNREQUESTED_MAX: u32 = 100;
/// Blocks that the only seed is asked for at least; beyond them, what it sends in a second.
const SPARED_BLOCKS_MIN: usize = 32;
/// Blocks asked for a second time at once, of a peer that owes us nothing.
const COPIES_MAX: usize = 2;

impl Session {
    pub(super) fn choked_by(&mut self, peer: PeerIndex, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        link.choking_us = true;
        let forgotten = link.download.pipeline.choked();
        let torrent_id = torrent.torrent_id;
        self.forget_requests(peer, forgotten, now);
        let open = self.torrents.get_mut(&torrent_id);
        if let Some(released) =
            open.and_then(|torrent| Some(torrent.open_mut()?.picker.release(peer)))
        {
            self.handed_on(peer, &released, now);
            self.released(torrent_id, released, now);
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
        let (own_bid, has_seat) = (self.market.request_bid(peer), self.market.has_seat_at(peer));
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let Some(bid) = link.download.pipeline.answered(block, now) else {
            return;
        };
        let (torrent_id, choked) = (torrent.torrent_id, link.choking_us);
        // In a paid seat, a request below the bid in force was only asked too early (S1).
        let raised = has_seat && bid < own_bid;
        let refused = torrent.open_mut().filter(|_| !choked);
        let released = refused.and_then(|open| {
            if raised {
                open.picker.asked_too_low(peer, block);
                return None;
            }
            Some(open.picker.refused(peer, block, now))
        });
        self.market.unanswered(peer, &block, bid, now);
        if let Some(released) = released {
            self.released(torrent_id, released, now);
        }
    }

    pub(super) fn block_arrived(
        &mut self,
        peer: PeerIndex,
        block: Block,
        fate: BlockFate,
        now: Instant,
    ) {
        self.totals_changed(now);
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let len = Bytes::new(u64::from(block.len));
        link.download.received = link.download.received.saturating_add(len);
        link.download.rate.add(len.get(), now);
        let totals = &mut torrent.counters.totals;
        totals.downloaded = totals.downloaded.saturating_add(len);
        if fate == BlockFate::Stored {
            link.moved_at = now;
            link.download.needed = link.download.needed.saturating_add(len);
        } else {
            totals.wasted = totals.wasted.saturating_add(len);
        }
        torrent.counters.download_rate.add(len.get(), now);
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
        let delivered = Delivered {
            block,
            bid: bid.unwrap_or(Rate::ZERO),
            fate,
            had,
        };
        self.market.arrived(peer, &delivered, now);
        for (other, block) in arrival.cancels {
            self.cancel(other, block);
        }
    }

    /// What became of a block by now. Of what one read brought, or the time until it was heard, an
    /// earlier part may have made us give up the buffer that a later one lies in: it must not count
    /// in the next buffer of its piece, which would be one block short for ever.
    pub(super) fn fate_by_now(
        &self,
        peer: PeerIndex,
        piece: PieceIndex,
        fate: BlockFate,
    ) -> BlockFate {
        if self.given_up.is_empty() || fate == BlockFate::Unrequested {
            return fate;
        }
        let torrent_id = self.peers.get(&peer).and_then(|entry| entry.torrent_id);
        match torrent_id.is_some_and(|of| self.given_up.contains(&(of, piece))) {
            true => BlockFate::Void,
            false => fate,
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
        let torrent_id = self.peers.get(&peer).and_then(|entry| entry.torrent_id);
        let torrent = torrent_id.and_then(|torrent_id| self.torrents.get_mut(&torrent_id));
        let Some(open) = torrent.and_then(|torrent| torrent.open_mut()) else {
            return;
        };
        let arrival = open.picker.received(peer, block, fate, now);
        for (other, block) in arrival.cancels {
            self.cancel(other, block);
        }
    }

    pub(super) fn cancel(&mut self, peer: PeerIndex, block: Block) {
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
        let Some((torrent_id, room)) = self.room_at(peer, now) else {
            return true;
        };
        let allowed = self.downloads.take_blocks(torrent_id, BLOCK_LEN, room, now);
        if allowed == 0 {
            if room > 0 {
                let ready = self.downloads.ready_at(torrent_id, BLOCK_LEN.into(), now);
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
        };
        let picked = open.picker.pick(peer, limits, now);
        let forgotten = link.download.pipeline.requested(&picked.blocks, bid, now);
        let is_idle = link.download.pipeline.outstanding().len() == 0;
        let starves = is_idle && picked.is_limited && lease_len_max < piece_len;
        let unused = allowed.saturating_sub(picked.blocks.len());
        let unused = u64::try_from(unused).unwrap_or_default() * u64::from(BLOCK_LEN);
        self.downloads.give_back(torrent_id, unused);
        if !picked.leased.is_empty() {
            self.leasing.insert(torrent_id);
        }
        self.forget_requests(peer, forgotten, now);
        self.request(peer, torrent_id, picked, bid, now);
        !starves
    }

    /// A peer's torrent and how many blocks its pipeline has room for, if it may be asked at all.
    fn room_at(&self, peer: PeerIndex, now: Instant) -> Option<(TorrentId, usize)> {
        let entry = self.peers.get(&peer)?;
        let link = entry.live()?;
        if link.choking_us || !link.interesting {
            return None;
        }
        let torrent = self.torrents.get(&entry.torrent_id?)?;
        let open = torrent.open().filter(|_| torrent.is_active())?;
        let mut room = link.download.pipeline.room();
        // What waits in a line at the only seed cannot be suggested to anybody else.
        if open.picker.is_spared(peer) {
            let ahead = link.download.rate.per_second(now) / u64::from(BLOCK_LEN);
            let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
            let waiting = link.download.pipeline.outstanding().len();
            room = room.min(ahead.max(SPARED_BLOCKS_MIN).saturating_sub(waiting));
        }
        Some((torrent.torrent_id, room))
    }

    /// Bytes of all leased buffers. Looks only at torrents that lease some: there may be thousands
    /// of others, and every socket read asks.
    fn lease_len(&mut self) -> u64 {
        let mut sum = 0;
        let torrents = &self.torrents;
        self.leasing.retain(|torrent_id| {
            let open = torrents.get(torrent_id).and_then(Torrent::open);
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
            Some((torrent.torrent_id, piece))
        });
        if let Some((torrent_id, piece)) = dropped {
            self.release(torrent_id, piece, now);
        }
        dropped.is_some()
    }

    /// Nobody will complete this buffer.
    pub(super) fn release(&mut self, torrent_id: TorrentId, piece: PieceIndex, now: Instant) {
        self.market.discarded(torrent_id, piece, now);
        self.given_up.insert((torrent_id, piece));
        self.emit(Output::Release { torrent_id, piece });
    }

    /// Gives up every buffer of a torrent, also those whose fate nobody will tell.
    pub(super) fn drop_buffers(&mut self, torrent_id: TorrentId, now: Instant) {
        let torrent = self.torrents.get_mut(&torrent_id);
        let open = torrent.and_then(|torrent| torrent.open_mut());
        for piece in open.map(|open| open.picker.drop_all()).unwrap_or_default() {
            self.release(torrent_id, piece, now);
        }
    }

    /// Gives up the buffers of a torrent that are not full: a stopped torrent holds none.
    pub(super) fn drop_unfinished(&mut self, torrent_id: TorrentId, now: Instant) {
        let torrent = self.torrents.get_mut(&torrent_id);
        let open = torrent.and_then(|torrent| torrent.open_mut());
        let pieces = open.map(|open| open.picker.drop_unfinished());
        for piece in pieces.unwrap_or_default() {
            self.release(torrent_id, piece, now);
        }
    }

    fn request(
        &mut self,
        peer: PeerIndex,
        torrent_id: TorrentId,
        picked: Picked,
        bid: Rate,
        now: Instant,
    ) {
        for piece in picked.dropped {
            self.release(torrent_id, piece, now);
        }
        for (other, block) in picked.cancels {
            self.cancel(other, block);
        }
        let metainfo = self.torrents.get(&torrent_id).and_then(Torrent::metainfo);
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
    pub(super) fn refill_torrent(&mut self, torrent_id: TorrentId, now: Instant) {
        let Some(torrent) = self.torrents.get(&torrent_id) else {
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
    pub(super) fn released(&mut self, torrent_id: TorrentId, released: Released, now: Instant) {
        // Looking at every peer is for when there is something to take over.
        if released.waiting.is_empty() && released.dropped.is_empty() {
            return;
        }
        for piece in released.dropped {
            self.release(torrent_id, piece, now);
        }
        self.refill_torrent(torrent_id, now);
    }

    pub(super) fn verified(&mut self, torrent_id: TorrentId, piece: PieceIndex, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
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
        self.market.verified(torrent_id, piece, now);
        self.broadcast_have(torrent_id, piece, now);
        self.emit(Output::RememberPieces(torrent_id));
        if complete {
            self.completed(torrent_id, now);
        } else {
            self.refill_torrent(torrent_id, now);
        }
    }

    fn completed(&mut self, torrent_id: TorrentId, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        // A torrent completes again if a check finds it damaged; trackers count it once.
        if torrent.completed_at.replace(now).is_none() {
            torrent.trackers.completed(now);
        }
        self.remember_totals(torrent_id);
        self.emit(Output::Event(SessionEvent::TorrentCompleted(torrent_id)));
        self.plan_boosts(now);
        self.announce_due(now);
        self.choke_soon(now);
    }

    pub(super) fn failed(&mut self, torrent_id: TorrentId, piece: PieceIndex, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        let Some(open) = torrent.open_mut() else {
            return;
        };
        let len = Bytes::new(u64::from(open.metainfo.geometry.len_of(piece)));
        let Some(blame) = open.picker.failed(piece, now) else {
            // Filled by peers that the picker has forgotten since: nobody here is to blame.
            if open.picker.lost(piece) {
                self.market.discarded(torrent_id, piece, now);
                self.refill_torrent(torrent_id, now);
            }
            return;
        };
        let totals = &mut torrent.counters.totals;
        totals.wasted = totals.wasted.saturating_add(len);
        self.emit(Output::Event(SessionEvent::PieceFailed {
            torrent_id,
            piece,
        }));
        self.market.discarded(torrent_id, piece, now);
        for peer in blame.contributors {
            if blame.certain {
                self.sent_false_data(peer, piece, now);
            } else if let Some(addr) = self.addr_of(peer) {
                self.suspects.ban(addr, BAN, now);
            }
            if blame.late {
                self.close(peer, "answered late into a piece that failed");
            }
        }
        self.refill_torrent(torrent_id, now);
    }

    /// All of a piece that does not match its hash came from this peer, which may be gone.
    fn sent_false_data(&mut self, peer: PeerIndex, piece: PieceIndex, now: Instant) {
        let Some(addr) = self.addr_of(peer) else {
            return;
        };
        self.bans.ban(addr, BAN, now);
        let (piece, minutes) = (piece.get(), BAN.as_secs() / 60);
        let what = format!("piece {piece} does not match its hash, banned for {minutes} min");
        self.misbehaved(peer, what);
    }

    /// Where somebody is, or was who sent payload and left lately.
    pub(super) fn addr_of(&self, peer: PeerIndex) -> Option<SocketAddr> {
        let here = self.peers.get(&peer).map(|entry| entry.addr);
        let departed = || self.departed.iter().find(|(gone, _)| *gone == peer);
        here.or_else(|| departed().map(|(_, addr)| *addr))
    }

    /// A connection from before the metainfo was known: what was said then is checked now.
    pub(super) fn introduce(&mut self, peer: PeerIndex, now: Instant) {
        let addr = self.addr_of(peer);
        let is_suspect = addr.is_some_and(|addr| self.suspects.is_banned(addr, now));
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let Some(open) = torrent.open_mut() else {
            return;
        };
        open.picker.join(peer);
        if is_suspect {
            open.picker.suspect(peer);
        }
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
        let is_unknown = |torrent: &Torrent| matches!(torrent.content, Content::Unknown(_));
        let fetches_metadata = self.torrents.values().any(is_unknown);
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(link) = self.peers.get(&peer).and_then(Peer::live) else {
                continue;
            };
            // Of most nothing is awaited, and nothing may be asked.
            let is_awaited = link.download.pipeline.next_check().is_some();
            let is_useful = link.interesting && !link.choking_us;
            if !is_awaited && !is_useful && !fetches_metadata {
                continue;
            }
            let Some((link, torrent)) = self.link_and_torrent(peer) else {
                continue;
            };
            let rate = link.download.rate.per_second(now);
            let overdue = link.download.pipeline.check(rate, now);
            let torrent_id = torrent.torrent_id;
            self.forget_requests(peer, overdue.forgotten, now);
            for block in overdue.lost {
                self.lost(peer, block, now);
            }
            if overdue.is_newly_snubbed {
                self.snubbed(peer, torrent_id, now);
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
        let torrent_id = torrent.torrent_id;
        let released = torrent
            .open_mut()
            .map(|open| open.picker.refused(peer, block, now));
        if let Some(released) = released {
            self.released(torrent_id, released, now);
        }
    }

    /// A peer that lets us ask sends nothing: others may take over what it holds.
    fn snubbed(&mut self, peer: PeerIndex, torrent_id: TorrentId, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        if let Some(released) = torrent.open_mut().map(|open| open.picker.release(peer)) {
            self.handed_on(peer, &released, now);
            self.released(torrent_id, released, now);
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
