//! Who may ask: eligible → snapshot → [`rank`](crate::transfer::choker::rank) → apply.

use std::net::IpAddr;

use seedbank_ledger::{Duration, Instant, Rate};

use crate::interface::event::{ChokeDecision, SessionEvent};
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::peer::{Link, Peer, Queued};
use crate::transfer::choker::{Candidate, ChokeChange};
use crate::units::{Block, PeerIndex};
use crate::wire::message::Message;

/// Longest time that a choke waits for the rest of a piece.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);
/// Requests still served after a choke, to a peer without the Fast Extension or of a piece that
/// nobody else has: 2 MiB.
pub(super) const DRAIN_MAX: usize = 128;

impl Session {
    /// Somebody's wish or standing changed: free slots and paid orders need not wait for a round,
    /// only for the end of this event.
    pub(super) const fn choke_soon(&mut self, now: Instant) {
        self.choke_due = Some(now);
    }

    /// Lets in who need not wait for a round. Once an event, however often somebody changed its
    /// mind in it: every call looks at every peer.
    pub(super) fn choke_now(&mut self, now: Instant) {
        if self.choke_due.take().is_none() || !self.may_admit(now) {
            return;
        }
        let candidates = self.candidates(now);
        self.choker.set_paid_rate(self.paid_rate(now));
        let mut changes = self.choker.decide_seats(now, &candidates);
        changes.extend(self.choker.admit_free(now, &candidates));
        self.apply_chokes(&changes, now);
        // Somebody may have asked for a round that is due at once.
        self.choke_round(now);
    }

    /// Whether anybody could be let in before the next round. Who sells nothing and has no friends
    /// lets nobody in but those who wait, and them only if a slot is free or its holder has lost
    /// interest: to see that costs a tenth of asking what everybody gave and owes.
    fn may_admit(&self, now: Instant) -> bool {
        if self.config.network.is_some() || !self.policy.credit.friends.is_empty() {
            return true;
        }
        let mut has_place = self.choker.unchoked_count() < self.policy.slots;
        let mut somebody_waits = false;
        for peer in self.peers.values() {
            let Some(link) = peer.live() else {
                continue;
            };
            // Most want nothing, whatever their torrent does.
            let wants = !link.is_seed && link.interested_since.is_some();
            let candidate = wants.then(|| self.interest(peer)).flatten();
            let candidate = candidate.filter(|candidate| candidate.refusal().is_none());
            let choke = || self.choker.choke(peer.index);
            match candidate {
                Some(candidate) => {
                    let may_wait = !somebody_waits && !candidate.snubbed;
                    somebody_waits |= may_wait && !choke().is_unchoked() && !choke().rests(now);
                }
                None => {
                    let may_yield = !has_place && choke().is_unchoked();
                    has_place |= may_yield && !choke().holds(now);
                }
            }
            if has_place && somebody_waits {
                return true;
            }
        }
        false
    }

    /// A connection is about to be forgotten: what its key owes then decides about its next seat.
    pub(super) fn note_leaving(&mut self, peer: PeerIndex, now: Instant) {
        if !self.choker.is_seated(peer) {
            return;
        }
        let entry = self.peers.get(&peer);
        if let Some(candidate) = entry.and_then(|entry| self.candidate(entry, now)) {
            self.choker.leaves(&candidate);
        }
    }

    /// A peer as far as it could take a slot at all.
    fn interest(&self, peer: &Peer) -> Option<Candidate> {
        let link = peer.live()?;
        let torrent = self.torrents.get(&peer.torrent_id?)?;
        Some(Candidate {
            torrent_active: torrent.is_active() && torrent.open().is_some(),
            is_seed: link.is_seed,
            interested_since: link.interested_since,
            snubbed: link.download.pipeline.is_snubbed() && !torrent.is_seed(),
            ..Candidate::new(peer.index)
        })
    }

    /// A round, if it is due.
    pub(super) fn choke_round(&mut self, now: Instant) {
        let is_resting = self.rest.until().is_some();
        if !is_resting && !self.peers.is_empty() && now >= self.choker.next_round() {
            self.choke_round_now(now);
        }
    }

    /// A round, whenever the last one was.
    pub(super) fn choke_round_now(&mut self, now: Instant) {
        let candidates = self.candidates(now);
        self.choker.set_paid_rate(self.paid_rate(now));
        let changes = self.choker.decide(now, &candidates);
        self.apply_chokes(&changes, now);
    }

    /// Bytes per second that the paid class can have: its share of the limit, or without one its
    /// share of the most that left in 10 s of the last 10 min. `None` while nothing has left.
    fn paid_rate(&self, now: Instant) -> Option<u64> {
        let total = match self.policy.upload_limit {
            Some(limit) => limit,
            None => Some(self.upload_peak.per_second(now)).filter(|rate| *rate > 0)?,
        };
        let paid_percent = 100 - u64::from(self.policy.open_share_percent.min(100));
        Some(total / 100 * paid_percent + total % 100 * paid_percent / 100)
    }

    fn candidates(&self, now: Instant) -> Vec<Candidate> {
        self.peers
            .values()
            .filter_map(|peer| self.candidate(peer, now))
            .collect()
    }

    fn candidate(&self, peer: &Peer, now: Instant) -> Option<Candidate> {
        let link = peer.live()?;
        let torrent = self.torrents.get(&peer.torrent_id?)?;
        let credit = self.market.peer(peer.index);
        let pays = self.market.may_pay(peer.index, now);
        Some(Candidate {
            torrent_active: torrent.is_active() && torrent.open().is_some(),
            seeding: torrent.is_seed(),
            is_seed: link.is_seed,
            interested_since: link.interested_since,
            snubbed: link.download.pipeline.is_snubbed() && !torrent.is_seed(),
            received_rate: link.download.rate.per_second(now),
            sent_rate: link.upload.rate.per_second(now),
            standing: credit.standing,
            key: credit.node_id,
            bid: if pays { credit.bid } else { Rate::ZERO },
            friend: credit.friend,
            pays,
            has_paid: credit.has_paid,
            paid_recently: link.upload.paid_rate.recent(now),
            paid_bytes: credit.paid_bytes.get(),
            is_late: credit.is_late,
            window: credit.window_plain.get(),
            owes: credit.exposure.get(),
            is_relaxed: credit.exposure.get() <= credit.window.get() / 2,
            group: group_of(peer.addr.ip()),
            ..Candidate::new(peer.index)
        })
    }

    fn apply_chokes(&mut self, changes: &[ChokeChange], now: Instant) {
        for change in changes {
            self.apply_choke(change, now);
        }
        if !changes.is_empty() {
            self.measure_while_paid(now);
            self.pump_uploads(now);
        }
    }

    fn apply_choke(&mut self, change: &ChokeChange, now: Instant) {
        let decision = change.decision;
        let peer = decision.peer;
        let Some(torrent_id) = self.peers.get(&peer).and_then(|entry| entry.torrent_id) else {
            return;
        };
        self.serve_as(&decision, now);
        if !decision.price.is_zero() {
            self.reject_underbid(peer, decision.price, now);
        }
        if change.flipped {
            let unchoked = decision.class.is_some();
            let reason = decision.reason;
            let event = ChokeDecision {
                at: now,
                torrent_id,
                peer,
                unchoked,
                reason,
            };
            self.emit(Output::Event(SessionEvent::Choke(event)));
            if unchoked {
                self.unchoke(peer, now);
            } else {
                self.choke(peer, now);
            }
        }
        self.want(peer, now);
    }

    fn unchoke(&mut self, peer: PeerIndex, now: Instant) {
        // It asks as soon as it may.
        self.suggest(peer, now);
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        // A drain that is overtaken by an unchoke never told the peer that it was choked.
        link.upload.drain_until = None;
        if link.upload.drain_left.take().is_none() {
            self.send(peer, Message::Unchoke, now);
        }
    }

    /// From a paid seat nothing leaves that was asked for below its price: the payer asks again.
    fn reject_underbid(&mut self, peer: PeerIndex, price: Rate, now: Instant) {
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        let queue = &mut link.upload.queue;
        let underbid = queue.iter().filter(|queued| queued.bid < price);
        let underbid: Vec<Block> = underbid.map(|queued| queued.block).collect();
        queue.retain(|queued| queued.bid >= price);
        for block in underbid {
            self.send(peer, Message::Reject(block), now);
        }
    }

    fn choke(&mut self, peer: PeerIndex, now: Instant) {
        let (scarce, left) = self.scarce_under_way(peer);
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        if !link.fast && !link.upload.queue.is_empty() {
            link.upload.drain_left = Some(DRAIN_MAX);
            return;
        }
        if left > 0 {
            let queue = &mut link.upload.queue;
            let is_scarce = |queued: &Queued| scarce.contains(&queued.block.piece);
            queue
                .make_contiguous()
                .sort_by_key(|queued| !is_scarce(queued));
            link.upload.drain_left = Some(left);
            link.upload.drain_until = Some(now.after(DRAIN_TIME_MAX));
            return;
        }
        self.say_choke(peer, now);
    }

    /// Tells those of their choke for whom the rest of a piece took too long.
    pub(super) fn end_drains(&mut self, now: Instant) {
        let is_over = |link: &Link| link.upload.drain_until.is_some_and(|until| until <= now);
        let overdue = self.peers.values().filter(|peer| {
            peer.live()
                .is_some_and(|link| link.upload.drain_left.is_some() && is_over(link))
        });
        for peer in overdue.map(|peer| peer.index).collect::<Vec<_>>() {
            self.drained(peer, now);
        }
    }

    /// Tells a peer that it is choked, and that what it asked for will not come.
    pub(super) fn say_choke(&mut self, peer: PeerIndex, now: Instant) {
        if let Some((_, suggester)) = self.giving(peer) {
            suggester.choked(peer);
        }
        let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) else {
            return;
        };
        let refused = std::mem::take(&mut link.upload.queue);
        let fast = link.fast;
        self.send(peer, Message::Choke, now);
        if fast {
            for queued in refused {
                self.send(peer, Message::Reject(queued.block), now);
            }
        }
    }

    /// Whether this peer's requests are accepted now.
    pub(super) fn is_unchoked(&self, peer: PeerIndex) -> bool {
        self.choker.choke(peer).is_unchoked()
    }
}

/// Peers of one /24 or /64 take turns as one; loopback and private ranges are exempt.
fn group_of(ip: IpAddr) -> Option<u64> {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() || ip.is_link_local() => None,
        IpAddr::V4(ip) => Some(u64::from(ip.to_bits() >> 8)),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unique_local() => None,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => None,
        IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).ok(),
    }
}
