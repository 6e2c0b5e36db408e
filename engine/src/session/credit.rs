//! The session's side of the market: what it is told, what it says, and what follows from it.

use seedbank_ledger::{Bytes, Instant, NodeId, Rate};

use crate::credit::boost::{BoostOrder, BoostQuote, TorrentRow};
use crate::credit::market::{Facts, PayeeFacts};
use crate::credit::output::{CreditOutput, Notice};
use crate::credit::receipts::limits::BID_INTERVAL;
use crate::credit::receipts::{Opened, Service};
use crate::interface::command::{CommandError, CommandReply};
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::peer::Peer;
use crate::session::torrent::Torrent;
use crate::transfer::choker::{Class, Decision, ROUND};
use crate::units::{PeerIndex, TorrentId};
use crate::wire::extended::{RECEIPT, ReceiptOffer};
use crate::wire::message::Message;
use crate::wire::receipt::ReceiptMessage;

const _: () = assert!(
    BID_INTERVAL.as_nanos() < ROUND.as_nanos(),
    "a round's bid is never too soon"
);

impl Session {
    /// Puts out one thing to do, behind what the market wants done before it.
    pub(super) fn emit(&mut self, output: Output) {
        self.collect_credit();
        self.outputs.push_back(output);
    }

    /// Takes over what the market has queued. Every output of the session's own goes behind it, so
    /// that a BID precedes the requests made under it and rows what depends on them.
    pub(super) fn collect_credit(&mut self) {
        while let Some(output) = self.market.poll_output() {
            let output = match output {
                CreditOutput::Send { peer, message } => {
                    self.send_receipt_message(peer, &message);
                    continue;
                }
                CreditOutput::Notice(notice) => {
                    self.notices.push_back(notice);
                    continue;
                }
                CreditOutput::Tally(rows) => Output::Tally(rows),
                CreditOutput::Append(command) => Output::Append(command),
                CreditOutput::Settle { request, what } => Output::Settle { request, what },
                CreditOutput::Event(event) => Output::Event(SessionEvent::Credit(event)),
                CreditOutput::Errand(errand) => unreachable!("the market runs it: {errand:?}"),
            };
            self.outputs.push_back(output);
        }
    }

    fn send_receipt_message(&mut self, peer: PeerIndex, message: &ReceiptMessage) {
        let now = self.now;
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        let Some(id) = link.remote.id_of(RECEIPT) else {
            return;
        };
        link.last_sent = now;
        let payload = message.encode();
        let message = Message::Extended { id, payload };
        self.flush_serving(peer);
        self.outputs.push_back(Output::Send { peer, message });
    }

    /// Acts on what the market noticed, once an event.
    pub(super) fn heed_notices(&mut self, now: Instant) {
        self.collect_credit();
        while let Some(notice) = self.notices.pop_front() {
            self.stir(now);
            match notice {
                Notice::Proven { peer, key } => {
                    self.proved(peer, key);
                    self.choke_soon(now);
                }
                Notice::Ready(_) | Notice::Suspended(_) | Notice::LockChanged(_) => {
                    self.choke_soon(now);
                }
                Notice::Relieved(key) => self.serve_waiting(key, now),
                Notice::Quoted { peer, .. } => self.refill_peer(peer, now),
                Notice::Bidding { peer, paid } => self.mark_paid(peer, paid),
                Notice::Misbehaved { peer, violation } => {
                    self.misbehaved(peer, format!("Sb_receipt: {violation}"));
                }
            }
            self.collect_credit();
        }
    }

    /// The picker keeps a piece at one paid peer at a time (S1).
    fn mark_paid(&mut self, peer: PeerIndex, paid: bool) {
        if let Some((_, torrent)) = self.link_and_torrent(peer)
            && let Some(open) = torrent.open_mut()
        {
            open.picker.set_paid(peer, paid);
        }
    }

    /// What we say of receipts to peers of this torrent; `None` if they are not spoken. It shows no
    /// key.
    pub(super) fn receipt_offer(&self, torrent: &Torrent) -> Option<ReceiptOffer> {
        self.market.offer().filter(|_| !self.hides_key(torrent))
    }

    /// Peers of a private torrent are not shown the key that receipts are signed with, unless the
    /// owner wants it.
    fn hides_key(&self, torrent: &Torrent) -> bool {
        let is_private = torrent.metainfo().is_some_and(|metainfo| metainfo.private);
        is_private && !self.config.receipts_private
    }

    /// An extended handshake arrived, or it is known since what the torrent is: if both ends offer
    /// receipts, the exchange begins. While a torrent may turn out to be private nothing is said.
    pub(super) fn open_receipts(&mut self, peer: PeerIndex, now: Instant) {
        let Some(entry) = self.peers.get(&peer) else {
            return;
        };
        let (Some(torrent_id), Some(link)) = (entry.torrent_id, entry.live()) else {
            return;
        };
        let speaks = link.remote.id_of(RECEIPT).is_some();
        let Some(offer) = link.remote.receipt.filter(|_| speaks) else {
            return;
        };
        let torrent = self.torrents.get(&torrent_id);
        let speaking = torrent.filter(|torrent| self.receipt_offer(torrent).is_some());
        let Some(metainfo) = speaking.and_then(Torrent::metainfo) else {
            return;
        };
        let opened = Opened {
            peer,
            torrent_id,
            piece_len: metainfo.geometry.piece_len(),
            offer,
            fast: link.fast,
        };
        self.market.opened(opened, now);
    }

    /// The metainfo of a torrent is known now, and its connections are older: they hear HELLO, and
    /// theirs is heeded.
    pub(super) fn open_receipts_late(&mut self, torrent_id: TorrentId, now: Instant) {
        let Some(torrent) = self.torrents.get(&torrent_id) else {
            return;
        };
        for peer in torrent.peers.clone() {
            self.open_receipts(peer, now);
            let link = self.peers.get_mut(&peer).and_then(Peer::live_mut);
            if let Some(hello) = link.and_then(|link| link.early_hello.take()) {
                self.receipt_arrived(peer, &hello, now);
            }
        }
    }

    pub(super) fn receipt_arrived(&mut self, peer: PeerIndex, payload: &[u8], now: Instant) {
        if let Some((link, torrent)) = self.link_and_torrent(peer)
            && torrent.metainfo().is_none()
        {
            // Nothing else comes before our own HELLO.
            link.early_hello.get_or_insert_with(|| payload.to_vec());
            return;
        }
        if let Err(what) = self.market.received(peer, payload, now) {
            return self.misbehaved(peer, format!("Sb_receipt: {what}"));
        }
        let (bid, price) = (self.market.bid(peer), self.market.seat_price(peer));
        if bid < price {
            // Ranked before anything is read that was said under it.
            self.choke_round_now(now);
        } else if bid > price && self.market.may_pay(peer, now) {
            self.choke_soon(now);
        }
        // A bid may let it in, a receipt may make room.
        self.want(peer, now);
    }

    /// Window, lock or conduct may cover now what waited in this payer's paid seats.
    fn serve_waiting(&mut self, key: NodeId, now: Instant) {
        for peer in self.market.connections_of(key) {
            self.want(peer, now);
        }
        self.pump_uploads(now);
    }

    /// The choker put a peer into a class, or choked it. Friends are served for nothing.
    pub(super) fn serve_as(&mut self, decision: &Decision, now: Instant) {
        let service = match decision.class {
            Some(Class::Paid) if !decision.price.is_zero() => Service::Paid {
                cap: decision.cap.unwrap_or(Rate::MAX),
            },
            Some(Class::Paid | Class::Reciprocal | Class::Optimistic) | None => Service::Open,
        };
        let is_choked = decision.class.is_none();
        self.market
            .set_service(decision.peer, service, is_choked, now);
    }

    /// Plans bids and locks.
    pub(super) fn plan_boosts(&mut self, now: Instant) {
        if self.market.is_planning() {
            self.market.plan(&self.facts(now), now);
        }
    }

    fn facts(&self, now: Instant) -> Facts {
        let rows = self
            .torrents
            .values()
            .map(|torrent| self.torrent_row(torrent, now));
        Facts {
            torrents: rows.collect(),
            payees: self.payees(now),
            choke_round: ROUND,
            download_max: self.policy.download_limit.map(Bytes::new),
        }
    }

    fn torrent_row(&self, torrent: &Torrent, now: Instant) -> TorrentRow {
        let links = torrent.peers.iter();
        let links = links.filter_map(|peer| self.peers.get(peer)?.live());
        let (peers, leechers) = links.fold((0, 0), |(peers, leechers), link| {
            (peers + 1, leechers + u32::from(!link.is_seed))
        });
        let metainfo = torrent.metainfo();
        let waits = torrent.open().is_none() && torrent.failure.is_none();
        let counters = &torrent.counters;
        let rate = counters.download_rate.measured(now);
        TorrentRow {
            left: torrent.open().map(|_| Bytes::new(torrent.left())),
            active: torrent.is_active() || (torrent.record.start && waits),
            hides_key: self.hides_key(torrent),
            piece_len: metainfo.map(|metainfo| Bytes::new(metainfo.geometry.piece_len().into())),
            peer_count: peers,
            leecher_count: leechers,
            received: counters.totals.downloaded,
            rate: rate.map(Bytes::new),
            ..TorrentRow::new(torrent.torrent_id)
        }
    }

    fn payees(&self, now: Instant) -> Vec<PayeeFacts> {
        let facts = |peer: &Peer| {
            let link = peer.live()?;
            Some(PayeeFacts {
                peer: peer.index,
                torrent_id: peer.torrent_id?,
                is_seed: link.is_seed,
                has_missing: link.interesting,
                rate_to_us: Bytes::new(link.download.rate.per_second(now)),
                choking_us: link.choking_us,
                received: link.download.needed,
                asked: link.download.pipeline.outstanding().len() > 0
                    || link.download.pipeline.is_snubbed(),
            })
        };
        self.peers.values().filter_map(facts).collect()
    }

    pub(super) fn boost(
        &mut self,
        order: &BoostOrder,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        let torrent = self.torrents.get(&order.torrent_id);
        let torrent = torrent.ok_or(CommandError::TorrentUnknown(order.torrent_id))?;
        let row = self.torrent_row(torrent, now);
        let id = self.market.boost(order, &row, now)?;
        self.plan_boosts(now);
        Ok(CommandReply::Boost(id))
    }

    pub(super) fn cancel_boost(
        &mut self,
        id: u64,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        self.market.cancel_boost(id, now)?;
        self.plan_boosts(now);
        Ok(CommandReply::Done)
    }

    pub(super) fn quote(&self, torrent_id: TorrentId, bid: Rate) -> Option<BoostQuote> {
        let torrent = self.torrents.get(&torrent_id)?;
        let row = self.torrent_row(torrent, self.now);
        Some(
            self.market
                .quote(&row, bid, &self.facts(self.now), self.now),
        )
    }
}
