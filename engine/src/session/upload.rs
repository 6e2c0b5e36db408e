//! Serving: which queued request goes next, from which share of the rate, at what price.
//!
//! A peer's requests wait here, each with the bid in force when it was read; what is granted is
//! named to the driver block by block, and leaves in lumps.

use seedbank_ledger::{Bytes, Instant, Rate};

use crate::credit::receipts::Granted;
use crate::discovery::bans::FLOOD_BAN;
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::peer::{CANCELS_MAX, GrantedBlock, Link, Peer, QUEUE_MAX, Queued, REFUSED_MAX};
use crate::spare::give_back;
use crate::transfer::limiter::{UploadPeer, UploadSide};
use crate::units::{Block, PeerIndex};
use crate::wire::message::Message;

/// Least bytes granted ahead of what the driver has sent.
const AHEAD_MIN: u64 = 32 * 1024;
/// The same below the node's own limit.
const AHEAD_MIN_LIMITED: u64 = 128 * 1024;
/// Most bytes granted ahead: more would only make chokes and cancels late.
const AHEAD_MAX: u64 = 1024 * 1024;

impl Session {
    pub(super) fn request_arrived(&mut self, peer: PeerIndex, block: Block, now: Instant) {
        let unchoked = self.is_unchoked(peer);
        let (bid, price) = (self.market.bid(peer), self.market.seat_price(peer));
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        link.upload.cancels_left = (link.upload.cancels_left + 1).min(CANCELS_MAX);
        let servable = torrent.open().is_some_and(|open| {
            open.metainfo.geometry.contains(&block) && open.picker.have().get(block.piece)
        });
        let room = link.upload.queue.len() < QUEUE_MAX;
        // A peer that drains has not been told that it is choked, and may never be.
        let listening = unchoked || link.upload.drain_left.is_some();
        let underbid = bid < price;
        // Some clients ask without ever saying that they are interested.
        let was_silent = servable && link.interested_since.is_none();
        if was_silent {
            link.interested_since = Some(now);
        }
        if servable && listening && room && !underbid {
            link.upload.refused = 0;
            link.upload.queue.push_back(Queued { block, bid });
            self.want(peer, now);
            let giving = self.giving(peer);
            if giving.is_some_and(|(_, suggester)| suggester.asked(peer, block.piece)) {
                self.suggest(peer, now);
            }
        } else {
            self.refuse(peer, block, now);
        }
        if was_silent {
            self.choke_soon(now);
        }
    }

    fn refuse(&mut self, peer: PeerIndex, block: Block, now: Instant) {
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        link.upload.refused += 1;
        if link.upload.refused > REFUSED_MAX {
            return self.flooded(peer, "asks on although it is refused", now);
        }
        if link.fast {
            self.send(peer, Message::Reject(block), now);
        }
    }

    /// It goes, and its host stays out for a while: it would come again at once and go on.
    fn flooded(&mut self, peer: PeerIndex, what: &str, now: Instant) {
        if let Some(addr) = self.addr_of(peer) {
            self.bans.ban(addr, FLOOD_BAN, now);
        }
        self.misbehaved(peer, what.to_owned());
    }

    pub(super) fn cancel_arrived(&mut self, peer: PeerIndex, block: &Block, now: Instant) {
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        let Some(left) = link.upload.cancels_left.checked_sub(1) else {
            return self.flooded(peer, "cancels what it has not asked for", now);
        };
        link.upload.cancels_left = left;
        let fast = link.fast;
        // With the Fast Extension every request gets one answer, a cancelled one too.
        if link.upload.cancel(block) && fast {
            self.send(peer, Message::Reject(*block), now);
        }
        self.want(peer, now);
        self.end_drain(peer, now);
    }

    /// The driver handed blocks to the kernel.
    pub(super) fn sent(&mut self, peer: PeerIndex, bytes: u64, blocks: u32, now: Instant) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let (Some(link), Some(torrent_id)) = (&mut entry.link, entry.torrent_id) else {
            return;
        };
        for _ in 0..blocks {
            let block = link
                .upload
                .granted
                .pop_front()
                .expect("the driver sends what is granted");
            let len = u64::from(block.len);
            link.upload.granted_bytes -= len;
            if !block.rate.is_zero() {
                link.upload.paid_rate.add(len, now);
            }
        }
        give_back(&mut link.upload.granted);
        self.upload_peak.add(bytes, now);
        link.upload.sent = link.upload.sent.saturating_add(Bytes::new(bytes));
        link.upload.rate.add(bytes, now);
        link.last_sent = now;
        link.moved_at = now;
        if let Some(torrent) = self.torrents.get_mut(&torrent_id) {
            let counters = &mut torrent.counters;
            let uploaded = &mut counters.totals.uploaded;
            *uploaded = uploaded.saturating_add(Bytes::new(bytes));
            counters.upload_rate.add(bytes, now);
        }
        self.totals_changed(now);
        self.market.sent(peer, bytes, now);
        self.want(peer, now);
        self.pump_uploads(now);
    }

    /// Tells the upload queue what a peer would be sent next, and in which class; takes it out if
    /// it is choked.
    ///
    /// From a paid seat a block leaves only as paid: while window or lock do not cover it, it
    /// waits.
    pub(super) fn want(&mut self, peer: PeerIndex, now: Instant) {
        let Some(entry) = self.peers.get(&peer) else {
            return;
        };
        let (Some(torrent), Some(link)) = (entry.torrent_id, entry.live()) else {
            return;
        };
        let decision = self.choker.decision(peer);
        let class = decision.and_then(|decision| decision.class);
        let weight = decision.map_or(1, |decision| decision.weight);
        let next = link.upload.queue.front();
        let next = next.filter(|_| link.upload.granted_bytes < self.ahead(link, now));
        let side = match class {
            None if link.upload.drain_left.is_none() => return self.uploads.remove_peer(peer),
            None => UploadSide::Open,
            Some(class) => UploadSide::from(class),
        };
        let next = next.copied();
        let has_price = decision.is_some_and(|decision| !decision.price.is_zero());
        let next = next.filter(|Queued { block, bid }| {
            let market = &mut self.market;
            let is_paid = |granted| matches!(granted, Granted::Paid(_));
            !has_price || is_paid(market.price(peer, block.len, *bid, now))
        });
        self.uploads.set_peer(
            peer,
            UploadPeer {
                torrent,
                side,
                weight,
            },
        );
        let len = next.map(|queued| queued.block.len);
        self.uploads.set_wanted(peer, len);
    }

    /// Bytes granted to a peer ahead of what the driver has sent, within bounds: half a second's
    /// worth below the node's own limit. Where the queue is outside it is a twentieth, because what
    /// the driver and the kernel have is out of reach of any share, also of that of a payer who
    /// comes in the next moment.
    fn ahead(&self, link: &Link, now: Instant) -> u64 {
        let rate = link.upload.rate.per_second(now);
        let is_outside = match &self.uplink {
            Some(uplink) => uplink.is_outside(),
            None => self.policy.upload_limit.is_none(),
        };
        match is_outside {
            true => (rate / 20).clamp(AHEAD_MIN, AHEAD_MAX),
            false => (rate / 2).clamp(AHEAD_MIN_LIMITED, AHEAD_MAX),
        }
    }

    /// Grants what slots, rates, windows and locks allow.
    pub(super) fn pump_uploads(&mut self, now: Instant) {
        while let Some((peer, len)) = self.uploads.next(now) {
            if !self.grant_next(peer, now) {
                self.uploads.give_back(peer, u64::from(len));
            }
        }
        while let Some((peer, blocks)) = self.serving.pop_first() {
            self.outputs.push_back(Output::Serve { peer, blocks });
        }
        self.upload_refill = self.uploads.next_refill(now);
    }

    /// Grants a peer's oldest request; `false` if it may not be served now.
    fn grant_next(&mut self, peer: PeerIndex, now: Instant) -> bool {
        let Some(link) = self.peers.get(&peer).and_then(Peer::live) else {
            return false;
        };
        let Some(Queued { block, bid }) = link.upload.queue.front().copied() else {
            return false;
        };
        let rate = match self.market.grant(peer, block.len, bid, now) {
            Granted::Paid(rate) => rate,
            Granted::Open => Rate::ZERO,
            Granted::Waits | Granted::Underbid => return false,
        };
        // A QUOTE for it goes out behind what was granted before.
        self.collect_credit();
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return false;
        };
        link.upload.queue.pop_front();
        give_back(&mut link.upload.queue);
        link.upload.granted.push_back(GrantedBlock {
            len: block.len,
            rate,
        });
        link.upload.granted_bytes += u64::from(block.len);
        if let Some(left) = &mut link.upload.drain_left {
            *left = left.saturating_sub(1);
        }
        self.serving.entry(peer).or_default().push(block);
        if let Some((_, suggester)) = self.giving(peer) {
            suggester.granted(peer, block.piece);
        }
        self.want(peer, now);
        self.end_drain(peer, now);
        true
    }

    /// What a choked peer is still served was granted: now the choke can be said, which voids the
    /// rest.
    fn end_drain(&mut self, peer: PeerIndex, now: Instant) {
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        let Some(left) = link.upload.drain_left else {
            return;
        };
        if left == 0 || link.upload.queue.is_empty() {
            self.drained(peer, now);
        }
    }

    /// The choke is said.
    pub(super) fn drained(&mut self, peer: PeerIndex, now: Instant) {
        if let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) {
            link.upload.drain_left = None;
            link.upload.drain_until = None;
        }
        self.uploads.remove_peer(peer);
        self.choker.choke_said(peer, now);
        self.say_choke(peer, now);
    }

    /// What was granted to a peer goes out before what follows, also before what the market has
    /// queued since: that was collected with each grant.
    pub(super) fn flush_serving(&mut self, peer: PeerIndex) {
        if let Some(blocks) = self.serving.remove(&peer) {
            self.outputs.push_back(Output::Serve { peer, blocks });
        }
    }
}
