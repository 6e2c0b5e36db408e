//! The plan: what to bid, reserve, renew and give back, from what the session sees.

use std::collections::BTreeMap;

use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::{Bytes, Duration, Instant, MicroCredits, NodeId, Rate, UnixTime};

use super::bid::{BidSight, Bidder};
use super::book::{Ending, OwnLock};
use super::config::{
    DUST, EXPIRY_MARGIN_SECS, LINGER, LINGER_AWAY, PAUSES_MAX, PAYEES_MAX, RENEW_PARTS, RETRY,
    TOP_UP_PARTS, WINDOW_MAX,
};
use super::order::BoostState;
use super::payee::{PayeeSight, cost, is_eligible, least, payees_of, reserve};
use super::row::Boost;
use super::waiting::BoostFinding;
use super::watch::{Tiding, Watch};
use super::{Boosts, PayeeCandidate, Round, TorrentRow};
use crate::credit::event::CreditEvent;
use crate::credit::output::{CreditOutput, Errand};
use crate::units::PeerIndex;

/// A boost that bids for its torrent now, and whom it could pay.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) boost: u64,
    pub(super) torrent: TorrentRow,
    left: Bytes,
    pub(super) payees: BTreeMap<NodeId, PayeeSight>,
}

/// What may still be reserved in this plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub(super) spendable: MicroCredits,
    pub(super) day_left: MicroCredits,
    pub(super) lock_max: MicroCredits,
    pub(super) lock_ttl_secs: u32,
}

impl Means {
    /// Most that may be added to a lock of this amount; 0 for a new one.
    fn most(&self, amount: MicroCredits) -> MicroCredits {
        let room = self.lock_max.saturating_sub(amount);
        self.spendable.min(self.day_left).min(room)
    }

    fn take(&mut self, amount: MicroCredits) {
        self.spendable = self.spendable.saturating_sub(amount);
        self.day_left = self.day_left.saturating_sub(amount);
    }
}

impl Boosts {
    /// Looks at everything and queues what is to be done: rows first, then actions, then events.
    /// Once a second, and soon after anything that matters. Idempotent but for the passing of time.
    pub fn plan(&mut self, round: &Round<'_>) {
        let mut events = Vec::new();
        self.reconcile(round, &mut events);
        self.end_over(round);
        let turns = self.turns(round);
        self.choose(round, &turns);
        let mut actions = Vec::new();
        let mut means = self.means(round);
        for turn in &turns {
            self.fund(round, turn, &mut means, &mut actions);
        }
        self.give_back(round, &turns, &mut actions);
        self.bid(round, &turns, &mut actions);
        self.look(round, &turns, &mut events);
        self.write_rows();
        self.outputs
            .extend(actions.into_iter().map(CreditOutput::Errand));
        self.outputs
            .extend(events.into_iter().map(CreditOutput::Event));
    }

    /// Brings the books up to the locks as they stand.
    fn reconcile(&mut self, round: &Round<'_>, events: &mut Vec<CreditEvent>) {
        self.locks = round.locks.iter().map(|lock| (lock.id(), *lock)).collect();
        self.time = round.time;
        let unsettled: Vec<u64> = self.book.unsettled().collect();
        let shared = self.book.locks();
        for lock in self.locks.values() {
            let id = lock.id();
            if lock.status.closed {
                if shared.contains(&id) {
                    self.book.rise(lock, round.time);
                    self.book.fold(id, Some(lock.status.claimed));
                }
                continue;
            }
            self.book.open(lock);
            for (boost, amount) in self.book.assign(lock) {
                events.push(CreditEvent::BoostFunded {
                    boost,
                    payee: lock.payee(),
                    amount,
                });
            }
            self.book.rise(lock, round.time);
        }
        self.book.drop_hints();
        self.book.forget_except(|id| self.locks.contains_key(&id));
        if round.purse.synced {
            for id in shared {
                if !self.locks.contains_key(&id) {
                    self.book.fold(id, None);
                }
            }
            for payee in self.book.release(&round.purse.busy) {
                let until = round.now.after(RETRY);
                self.lock_pauses.set(payee, until, PAUSES_MAX);
            }
        }
        self.tell_settled(&unsettled, events);
    }

    /// Tells what ended boosts spent in the end: all their credit has returned.
    fn tell_settled(&self, unsettled: &[u64], events: &mut Vec<CreditEvent>) {
        for id in unsettled {
            let boost = &self.book.boosts[id];
            if boost.is_settled() {
                events.push(CreditEvent::BoostSettled {
                    boost: *id,
                    spent: boost.spent(),
                    report: boost.report,
                });
            }
        }
    }

    /// Looks at what became of every active boost: what it waits for, and how fast it is.
    fn look(&mut self, round: &Round<'_>, turns: &[Turn], events: &mut Vec<CreditEvent>) {
        let mut watches = std::mem::take(&mut self.watches);
        watches.retain(|id, _| self.book.boosts.get(id).is_some_and(Boost::is_active));
        let ids: Vec<u64> = self.active().map(|(id, _)| id).collect();
        for id in ids {
            let boost = &self.book.boosts[&id];
            let finding = self.finding(id, boost, round, turns);
            let watch = watches.entry(id).or_insert_with(|| Watch::new(round.now));
            events.extend(watch.follow(finding, round.now).map(|tiding| match tiding {
                Tiding::Waits(waiting) => CreditEvent::BoostWaiting { boost: id, waiting },
                Tiding::Works => CreditEvent::BoostWorking { boost: id },
            }));
            let torrent_id = boost.order.torrent_id;
            let torrent = round
                .torrents
                .iter()
                .find(|row| row.torrent_id == torrent_id);
            let Some(torrent) = torrent else { continue };
            let works = finding == BoostFinding::Works;
            let report = watch.measure(&boost.report, works, torrent, round.now);
            if report != boost.report {
                self.book.boost_mut(id).report = report;
            }
        }
        self.watches = watches;
    }

    /// Ends boosts whose time, torrent or budget is over.
    fn end_over(&mut self, round: &Round<'_>) {
        let over: Vec<(u64, BoostState, &'static str)> = self
            .active()
            .filter_map(|(id, boost)| {
                let (state, why) = self.is_over(boost, round)?;
                Some((id, state, why))
            })
            .collect();
        for (id, state, why) in over {
            self.end(id, state, why);
        }
    }

    fn is_over(&self, boost: &Boost, round: &Round<'_>) -> Option<(BoostState, &'static str)> {
        let hash = boost.order.torrent_id;
        let torrent = round.torrents.iter().find(|row| row.torrent_id == hash);
        if torrent.is_some_and(|row| row.left == Some(Bytes::ZERO)) {
            return Some((BoostState::Completed, "torrent complete"));
        }
        if boost.until().is_some_and(|until| round.time >= until) {
            return Some((BoostState::Expired, "its time ran out"));
        }
        let rest = boost.free().saturating_add(boost.locked());
        if rest < cost(boost.order.bid, DUST) {
            return Some((BoostState::Exhausted, "its budget is spent"));
        }
        let idle = boost.locked().is_zero() && !boost.spent().is_zero();
        let payees = payees_of(hash, round.candidates);
        let takers = payees.values().filter(|payee| is_eligible(payee, boost));
        let floors: Vec<MicroCredits> = takers.map(|payee| least(boost.order.bid, payee)).collect();
        let too_little = floors.iter().all(|floor| *floor > boost.free());
        if idle && !floors.is_empty() && too_little {
            return Some((BoostState::Exhausted, "what is left of it fills no lock"));
        }
        None
    }

    /// Boosts of one torrent take turns: the oldest that can pay bids, so that no bid is paid by a
    /// boost with a lower cap.
    fn turns(&self, round: &Round<'_>) -> Vec<Turn> {
        if !round.policy.spend {
            return Vec::new();
        }
        let mut turns: Vec<Turn> = Vec::new();
        let mut waiting: Vec<Turn> = Vec::new();
        for (id, boost) in self.active() {
            let hash = boost.order.torrent_id;
            let torrent = round.torrents.iter().find(|row| row.torrent_id == hash);
            let Some(torrent) = torrent.filter(|row| row.active && !row.is_too_coarse()) else {
                continue;
            };
            let turn = Turn {
                boost: id,
                torrent: *torrent,
                left: torrent.left.unwrap_or(Bytes::ZERO),
                payees: payees_of(hash, round.candidates),
            };
            let taken = |turns: &[Turn]| turns.iter().any(|turn| turn.torrent.torrent_id == hash);
            if taken(&turns) {
                continue;
            }
            if self.can_pay(boost, &turn.payees) {
                turns.push(turn);
            } else if !taken(&waiting) {
                waiting.push(turn);
            }
        }
        waiting.retain(|turn| {
            let hash = turn.torrent.torrent_id;
            !turns.iter().any(|other| other.torrent.torrent_id == hash)
        });
        turns.extend(waiting);
        turns.sort_by_key(|turn| turn.boost);
        turns
    }

    /// Whether a boost has anything to pay with: reserved, on its way, or enough for a lock.
    pub(super) fn can_pay(&self, boost: &Boost, payees: &BTreeMap<NodeId, PayeeSight>) -> bool {
        let fits = |payee: &PayeeSight| {
            is_eligible(payee, boost) && least(boost.order.bid, payee) <= boost.free()
        };
        let pays = |lock: &OwnLock| {
            let usable = self.is_live(lock) && lock.ending != Ending::Asked;
            usable && !boost.left_on(lock.id()).is_zero()
        };
        !boost.pending.is_empty() || self.locks.values().any(pays) || payees.values().any(fits)
    }

    /// What may be reserved now: what is signed in a day stays below its bound even if every lock
    /// is signed away at once.
    pub(super) fn means(&self, round: &Round<'_>) -> Means {
        let day_left = round
            .policy
            .spend_per_day_max
            .map_or(MicroCredits::MAX, |max| {
                let bound = self.book.day.spent(round.time);
                max.saturating_sub(bound.saturating_add(self.book.locked()))
            });
        Means {
            spendable: round.purse.spendable,
            day_left,
            lock_max: round.purse.lock_max,
            lock_ttl_secs: round.purse.lock_ttl_secs,
        }
    }

    /// Opens, fills up and renews the locks of one boost.
    fn fund(
        &mut self,
        round: &Round<'_>,
        turn: &Turn,
        means: &mut Means,
        actions: &mut Vec<Errand>,
    ) {
        let placed = |payee: &&PayeeSight| self.places.has(turn.boost, payee.node_id);
        let mut placed: Vec<&PayeeSight> = turn.payees.values().filter(placed).collect();
        placed.sort_by_key(|payee| payee.rank());
        for payee in placed {
            let node_id = payee.node_id;
            let boost = &self.book.boosts[&turn.boost];
            let lock = self
                .live_lock(node_id)
                .filter(|lock| lock.ending != Ending::Asked);
            let may_order = round.purse.ready
                && round.purse.busy.binary_search(&node_id).is_err()
                && !self.is_pending(node_id)
                && !self.lock_pauses.holds(&node_id, round.now);
            if !is_eligible(payee, boost) {
                continue;
            }
            match lock.copied() {
                Some(lock) => self.fill(
                    turn,
                    payee,
                    &lock,
                    Filling {
                        may_order,
                        now: round.now,
                        time: round.time,
                        means,
                        actions,
                    },
                ),
                None if may_order && !self.blocks_new_lock(node_id, round.time) => {
                    self.open(turn, payee, means, actions);
                }
                None => {}
            }
        }
    }

    fn open(
        &mut self,
        turn: &Turn,
        payee: &PayeeSight,
        means: &mut Means,
        actions: &mut Vec<Errand>,
    ) {
        let boost = &self.book.boosts[&turn.boost];
        let bid = boost.order.bid;
        let amount = reserve(bid, payee)
            .wanted(turn.left)
            .min(boost.free())
            .min(means.most(MicroCredits::ZERO));
        let full = boost.pending.len() >= PAYEES_MAX || !boost.may_share(LockId::new(u64::MAX));
        if turn.left.is_zero() || amount < least(bid, payee) || full {
            return;
        }
        means.take(amount);
        let payee = payee.node_id;
        self.book
            .boost_mut(turn.boost)
            .pending
            .insert(payee, amount);
        actions.push(Errand::OpenLock { payee, amount });
    }

    /// Fills up a boost's share in a lock when three quarters of it are used: first with credit
    /// that is in the lock already, then by a top-up. Renews the lock in the last quarter of its
    /// life.
    fn fill(&mut self, turn: &Turn, payee: &PayeeSight, lock: &OwnLock, orders: Filling<'_>) {
        let id = lock.id();
        let boost = &self.book.boosts[&turn.boost];
        let bid = boost.order.bid;
        let needed = cost(bid, turn.left);
        let chunk = reserve(bid, payee).wanted(turn.left);
        let has = boost.left_on(id);
        let low = has.get() <= chunk.get() / TOP_UP_PARTS && has < needed;
        let mut want = if low {
            chunk.saturating_sub(has)
        } else {
            MicroCredits::ZERO
        };
        let adoptable = want.min(orders.means.day_left);
        let adopted = self.book.adopt(turn.boost, lock, adoptable);
        orders.means.day_left = orders.means.day_left.saturating_sub(adopted);
        want = want.saturating_sub(adopted);
        if !orders.may_order {
            return;
        }
        let boost = &self.book.boosts[&turn.boost];
        let free = boost.free();
        let mut amount = want.min(free).min(orders.means.most(lock.amount()));
        let worth_it = amount >= least(bid, payee) || amount == free;
        let may_add = boost.may_share(id) && boost.pending.len() < PAYEES_MAX;
        if amount < cost(bid, DUST) || !worth_it || !may_add {
            amount = MicroCredits::ZERO;
        }
        let ends = lock.status.lock.body.expires_at;
        let margin = u64::from(orders.means.lock_ttl_secs) / RENEW_PARTS;
        let renew = orders.time.plus_secs(margin) >= ends && !self.renewals.contains_key(&id);
        if amount.is_zero() && !renew {
            return;
        }
        if !amount.is_zero() {
            orders.means.take(amount);
            self.book
                .boost_mut(turn.boost)
                .pending
                .insert(payee.node_id, amount);
        }
        self.renewals.insert(id, orders.now.after(RETRY));
        orders.actions.push(Errand::TopUp {
            lock_id: id,
            amount,
        });
    }

    /// Keeps locks that some boost wants and asks for the close of the rest.
    fn give_back(&mut self, round: &Round<'_>, turns: &[Turn], actions: &mut Vec<Errand>) {
        let mut unwanted = std::mem::take(&mut self.unwanted);
        unwanted.retain(|id, _| self.locks.contains_key(id));
        let open = self.locks.values().filter(|lock| !lock.status.closed);
        for lock in open.filter(|lock| lock.ending != Ending::Asked) {
            let (lock_id, payee) = (lock.id(), lock.payee());
            let expired = is_expired(lock, round.time);
            let placed = self.places.all().any(|(_, node_id)| node_id == payee);
            if !expired && (placed || self.is_pending(payee)) {
                unwanted.remove(&lock_id);
                if lock.ending == Ending::Soon {
                    actions.push(Errand::KeepLock { payee, lock_id });
                }
                continue;
            }
            let since = *unwanted.entry(lock_id).or_insert(round.now);
            let linger = self.linger(lock, turns, round);
            let over = expired || linger.is_none_or(|wait| round.now.since(since) >= wait);
            if over && lock.ending == Ending::No {
                actions.push(Errand::EndLock { payee, lock_id });
            }
        }
        self.unwanted = unwanted;
    }

    /// How long a lock that no boost wants now is kept all the same; `None` for not at all.
    fn linger(&self, lock: &OwnLock, turns: &[Turn], round: &Round<'_>) -> Option<Duration> {
        let payee = lock.payee();
        let is_here = round.candidates.iter().any(|row| row.node_id == payee);
        let holds = self
            .active()
            .any(|(_, boost)| !boost.left_on(lock.id()).is_zero());
        let useful = |turn: &Turn| {
            let boost = &self.book.boosts[&turn.boost];
            let payee = turn.payees.get(&payee);
            payee.is_some_and(|payee| is_eligible(payee, boost))
        };
        if !is_here {
            return holds.then_some(LINGER_AWAY);
        }
        (holds || turns.iter().any(useful)).then_some(LINGER)
    }

    /// Bids on every connection to a funded payee, and ends bids that nothing stands behind.
    fn bid(&mut self, round: &Round<'_>, turns: &[Turn], actions: &mut Vec<Errand>) {
        let mut bidders = std::mem::take(&mut self.bidders);
        bidders.retain(|peer, _| round.candidates.iter().any(|row| row.peer == *peer));
        for row in round.candidates {
            let turn = turns
                .iter()
                .find(|turn| turn.torrent.torrent_id == row.torrent_id);
            let Some(turn) = turn.filter(|turn| self.is_covered(turn, row, round)) else {
                if bidders.remove(&row.peer).is_some() {
                    let rate = Rate::ZERO;
                    actions.push(Errand::Bid {
                        peer: row.peer,
                        rate,
                    });
                }
                continue;
            };
            let sight = BidSight {
                now: round.now,
                choke_round: round.choke_round,
                payee: row.node_id,
                min: row.rate_min,
                cap: self.book.boosts[&turn.boost].order.bid,
                rival: Self::rival(&bidders, row, round),
                choking: row.choking_us,
                seated: row.seated,
                too_slow: self.is_too_slow(turn, round.time),
            };
            let rate = match bidders.get_mut(&row.peer) {
                Some(bidder) => bidder.step(&sight, &mut self.raise_pauses),
                None => {
                    let bidder = Bidder::new(&sight);
                    bidders.insert(row.peer, bidder);
                    Some(bidder.rate())
                }
            };
            actions.extend(rate.map(|rate| Errand::Bid {
                peer: row.peer,
                rate,
            }));
        }
        self.bidders = bidders;
    }

    /// Whether a bid on this connection has credit behind it. Where other torrents' boosts hold
    /// part of the lock, there must be enough for a whole window, which may be under way already.
    pub(super) fn is_covered(&self, turn: &Turn, row: &PayeeCandidate, round: &Round<'_>) -> bool {
        let boost = &self.book.boosts[&turn.boost];
        let placed = self.places.has(turn.boost, row.node_id);
        let eligible = turn
            .payees
            .get(&row.node_id)
            .is_some_and(|payee| is_eligible(payee, boost));
        let Some(lock) = self.live_lock(row.node_id).filter(|_| placed && eligible) else {
            return false;
        };
        let ends = lock.status.lock.body.expires_at;
        let soon = round.time.plus_secs(EXPIRY_MARGIN_SECS) >= ends;
        let day_over = round
            .policy
            .spend_per_day_max
            .is_some_and(|max| self.book.day.spent(round.time) >= max);
        let left = boost.left_on(lock.id());
        if lock.ending != Ending::No || soon || day_over || left.is_zero() {
            return false;
        }
        if !self.book.is_shared(lock.id(), row.torrent_id) {
            return true;
        }
        left.saturating_add(boost.free()) >= window_cost(&turn.payees, row.node_id, boost.order.bid)
    }

    /// The lowest bid at which another payee serves us for the same torrent.
    fn rival(
        bidders: &BTreeMap<PeerIndex, Bidder>,
        row: &PayeeCandidate,
        round: &Round<'_>,
    ) -> Option<Rate> {
        let others = round.candidates.iter().filter(|other| {
            let serves = other.seated && !other.rate_to_us.is_zero();
            serves && other.node_id != row.node_id && other.torrent_id == row.torrent_id
        });
        others
            .filter_map(|other| Some(bidders.get(&other.peer)?.rate()))
            .min()
    }

    /// Whether all funded payees together give less than wanted: than what is left would take to
    /// come by the boost's deadline. Without one, a choked payer always wants more.
    fn is_too_slow(&self, turn: &Turn, time: UnixTime) -> bool {
        let funded = turn
            .payees
            .values()
            .filter(|payee| self.places.has(turn.boost, payee.node_id));
        let rate = funded.fold(Bytes::ZERO, |sum, payee| {
            sum.saturating_add(payee.rate_to_us)
        });
        let until = self.book.boosts[&turn.boost].until();
        let deadline = until.map(|until| {
            let secs = until.secs_since(time).max(1);
            Bytes::new(turn.left.get().div_ceil(secs))
        });
        let target = turn.torrent.target_rate.or(deadline);
        target.is_none_or(|target| rate < target)
    }

    /// The lock of ours on which this payee is paid next: the newest that is open and can still be
    /// topped up.
    pub(super) fn live_lock(&self, payee: NodeId) -> Option<&OwnLock> {
        let mine = |lock: &&OwnLock| lock.payee() == payee && self.is_live(lock);
        self.locks.values().rev().find(mine)
    }

    fn is_live(&self, lock: &OwnLock) -> bool {
        !lock.status.closed && !is_expired(lock, self.time)
    }

    /// Whether the settlement node would refuse a new lock for this payee: one is open, unexpired
    /// and not used up, though its close was asked for.
    pub(super) fn blocks_new_lock(&self, payee: NodeId, time: UnixTime) -> bool {
        let live = |lock: &OwnLock| {
            !lock.status.closed
                && time <= lock.status.lock.body.expires_at
                && lock.status.claimed < lock.amount()
        };
        self.locks
            .values()
            .any(|lock| lock.payee() == payee && live(lock))
    }

    fn is_pending(&self, payee: NodeId) -> bool {
        let mut boosts = self.book.boosts.values();
        boosts.any(|boost| boost.pending.contains_key(&payee))
    }
}

/// What filling a lock may use.
struct Filling<'a> {
    may_order: bool,
    now: Instant,
    time: UnixTime,
    means: &'a mut Means,
    actions: &'a mut Vec<Errand>,
}

/// What a window at this payee costs.
pub(super) fn window_cost(
    payees: &BTreeMap<NodeId, PayeeSight>,
    payee: NodeId,
    bid: Rate,
) -> MicroCredits {
    let payee = payees.get(&payee);
    payee.map_or_else(|| cost(bid, WINDOW_MAX), |payee| least(bid, payee))
}

fn is_expired(lock: &OwnLock, time: UnixTime) -> bool {
    time >= lock.status.lock.body.expires_at
}
