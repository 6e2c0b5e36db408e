//! Whom a boost funds: places are given, lost, and lent to those never tried (docs/RULES.md,
//! boosts).
//!
//! A payee's word that it will serve costs it nothing, so that a place is kept by serving.
//! [`PayeePlaces`] looks at plain rows and does nothing else, so that whoever drives many nodes
//! without their sessions gives places by the same rules.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::{Bytes, Duration, Instant, NodeId};

use super::bid::Pauses;
use super::config::{
    PAUSES_MAX, PAYEES_MAX, PLACE_KEEP, PLACE_PAUSE, PLACE_PAUSE_DOUBLINGS, ROTATE_EVERY,
    SILENT_MAX, UNPAID_MAX,
};
use super::payee::{PayeeSight, is_eligible, rank};
use super::plan::Turn;
use super::{Boosts, Round};
use crate::units::PeerIndex;

/// Whom boosts fund, and how payees did in the places they had.
#[derive(Debug, Default)]
pub struct PayeePlaces {
    /// By boost and payee: at most [`PAYEES_MAX`] of a boost.
    held: BTreeMap<(u64, NodeId), Place>,
    records: BTreeMap<NodeId, PayeeRecord>,
    /// When each boost last gave a place to somebody who was never tried.
    rotations: BTreeMap<u64, Instant>,
    /// Payees that get no new place.
    pauses: Pauses,
}

/// A payee as places are given by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceSight {
    /// Who.
    pub node_id: NodeId,
    /// The boost may fund it: it has something that is missing, at a price that is bid.
    pub is_eligible: bool,
    /// Credit of the boost is in its lock.
    pub holds_credit: bool,
    /// It has everything.
    pub is_seed: bool,
    /// Bytes per second it sends us.
    pub rate_to_us: Bytes,
    /// It chokes us.
    pub choking_us: bool,
    /// Bytes that came from it in total.
    pub received: Bytes,
    /// It is asked for something.
    pub asked: bool,
    /// We have a paid seat there.
    pub seated: bool,
    /// The order in which we met.
    pub met: PeerIndex,
}

/// A payee that a boost funds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    since: Instant,
    /// When it last could have been of use.
    useful_at: Instant,
    /// Since when it lets us ask and is asked; `None` if it is not.
    asked_since: Option<Instant>,
    /// When anything last came from it.
    heard_at: Instant,
    /// When anything last came from it while we had a paid seat there.
    paid_at: Instant,
    /// What had come from it in total.
    received: Bytes,
}

/// How a payee did in the places it had.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PayeeRecord {
    lost_places: u32,
    tried: bool,
    served: bool,
}

impl Place {
    fn new(now: Instant, received: Bytes) -> Self {
        Self {
            since: now,
            useful_at: now,
            asked_since: None,
            heard_at: now,
            paid_at: now,
            received,
        }
    }

    fn follow(&mut self, payee: &PlaceSight, now: Instant) {
        if payee.received > self.received {
            self.heard_at = now;
            if payee.seated {
                self.paid_at = now;
            }
        }
        // A payee that reconnected counts from nothing.
        self.received = payee.received;
        let asked = payee.asked && !payee.choking_us;
        self.asked_since = asked.then(|| self.asked_since.unwrap_or(now));
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.is_quiet(SILENT_MAX, now)
    }

    /// It lets us ask, is asked, and sent nothing for this long.
    pub(super) fn is_quiet(&self, time: Duration, now: Instant) -> bool {
        self.asked_since
            .is_some_and(|since| now.since(since.max(self.heard_at)) >= time)
    }

    /// Something came from it as paid within this time.
    pub(super) fn was_paid_since(&self, time: Duration, now: Instant) -> bool {
        self.paid_at > self.since && now.since(self.paid_at) < time
    }

    /// Something came from it within this time.
    pub(super) fn was_heard_since(&self, time: Duration, now: Instant) -> bool {
        self.heard_at > self.since && now.since(self.heard_at) < time
    }
}

impl PlaceSight {
    fn rank(&self) -> impl Ord + use<> {
        rank(self.is_seed, self.rate_to_us, self.met)
    }
}

impl Boosts {
    /// Keeps, gives up and fills the places of payees.
    pub(super) fn choose(&mut self, round: &Round<'_>, turns: &[Turn]) {
        let now = round.now;
        self.lock_pauses.tend(now);
        self.raise_pauses.tend(now);
        self.renewals.retain(|_, again| now < *again);
        let has_turn: BTreeSet<u64> = turns.iter().map(|turn| turn.boost).collect();
        self.places.tend(&has_turn, now);
        for turn in turns {
            let boost = &self.book.boosts[&turn.boost];
            let sight = |payee: &PayeeSight| {
                let lock = self.live_lock(payee.node_id);
                PlaceSight {
                    node_id: payee.node_id,
                    is_eligible: is_eligible(payee, boost),
                    holds_credit: lock.is_some_and(|lock| !boost.left_on(lock.id()).is_zero()),
                    is_seed: payee.is_seed,
                    rate_to_us: payee.rate_to_us,
                    choking_us: payee.choking_us,
                    received: payee.received,
                    asked: payee.asked,
                    seated: payee.seated,
                    met: payee.met,
                }
            };
            let payees: Vec<PlaceSight> = turn.payees.values().map(sight).collect();
            self.places.choose(turn.boost, &payees, now);
        }
    }
}

impl PayeePlaces {
    /// Forgets what is over, and the places of boosts that do not bid.
    pub fn tend(&mut self, has_turn: &BTreeSet<u64>, now: Instant) {
        self.pauses.tend(now);
        self.held.retain(|(boost, _), _| has_turn.contains(boost));
        self.rotations.retain(|boost, _| has_turn.contains(boost));
    }

    /// Keeps, gives up and fills the places of a boost. `payees` are all that it could fund, in
    /// order of their keys.
    pub fn choose(&mut self, boost: u64, payees: &[PlaceSight], now: Instant) {
        debug_assert!(payees.is_sorted_by_key(|payee| payee.node_id));
        self.follow(boost, payees, now);
        let waiting = self.waiting(boost, payees, now);
        self.give_up(boost, payees, !waiting.is_empty(), now);
        self.lend(boost, payees, &waiting, now);
        for payee in waiting {
            if self.of(boost).count() < PAYEES_MAX {
                self.give(boost, payees, payee, now);
            }
        }
    }

    /// Whether a boost funds a payee.
    pub fn has(&self, boost: u64, payee: NodeId) -> bool {
        self.held.contains_key(&(boost, payee))
    }

    /// Whom a boost funds, in order.
    pub fn of(&self, boost: u64) -> impl Iterator<Item = NodeId> + '_ {
        let own = self.held.range((boost, NodeId::from_bytes([0; 32]))..);
        own.map(|(key, _)| *key)
            .take_while(move |(id, _)| *id == boost)
            .map(|(_, payee)| payee)
    }

    /// A place that a boost has given.
    pub(super) fn get(&self, boost: u64, payee: NodeId) -> Option<&Place> {
        self.held.get(&(boost, payee))
    }

    /// Every boost and payee that it funds.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, NodeId)> + '_ {
        self.held.keys().copied()
    }

    /// Whether a payee gets no new place.
    pub(super) fn is_paused(&self, payee: &NodeId, now: Instant) -> bool {
        self.pauses.holds(payee, now)
    }

    /// A boost has ended.
    pub(super) fn end(&mut self, boost: u64) {
        self.held.retain(|(id, _), _| *id != boost);
    }

    fn follow(&mut self, boost: u64, payees: &[PlaceSight], now: Instant) {
        for payee in payees.iter().filter(|payee| !payee.received.is_zero()) {
            self.record(payee.node_id).served = true;
        }
        let own = self.held.iter_mut().filter(|((id, _), _)| *id == boost);
        for ((_, payee), place) in own {
            let Some(payee) = sight_of(payees, payee) else {
                continue;
            };
            if payee.is_eligible {
                place.useful_at = now;
            }
            place.follow(payee, now);
        }
    }

    fn give(&mut self, boost: u64, payees: &[PlaceSight], payee: NodeId, now: Instant) {
        self.record(payee).tried = true;
        let received = sight_of(payees, &payee).map_or(Bytes::ZERO, |seen| seen.received);
        let place = Place::new(now, received);
        self.held.entry((boost, payee)).or_insert(place);
    }

    /// Payees that would take a place, best first: those in whose lock there is credit, then who
    /// has served us, then who has lost the fewest places, then seeds, then by their rate to us.
    fn waiting(&self, boost: u64, payees: &[PlaceSight], now: Instant) -> Vec<NodeId> {
        let waits = |payee: &&PlaceSight| {
            payee.is_eligible
                && !self.has(boost, payee.node_id)
                && !self.pauses.holds(&payee.node_id, now)
        };
        let mut waiting: Vec<&PlaceSight> = payees.iter().filter(waits).collect();
        waiting.sort_by_key(|payee| {
            let record = self.records.get(&payee.node_id);
            let record = record.copied().unwrap_or_default();
            let served = (!record.served, record.lost_places);
            (!payee.holds_credit, served, payee.rank())
        });
        waiting.iter().map(|payee| payee.node_id).collect()
    }

    fn give_up(&mut self, boost: u64, payees: &[PlaceSight], others_wait: bool, now: Instant) {
        let mut lost = Vec::new();
        self.held.retain(|(id, payee), place| {
            if *id != boost {
                return true;
            }
            let seen = sight_of(payees, payee);
            let useless = seen.is_some_and(|payee| !payee.is_eligible);
            let gone = now.since(place.useful_at) >= PLACE_KEEP;
            let unpaid = others_wait && now.since(place.paid_at) >= UNPAID_MAX;
            let forfeits = seen.is_some() && (place.is_silent(now) || unpaid);
            if forfeits {
                lost.push(*payee);
            }
            !(useless || gone || forfeits)
        });
        for payee in lost {
            let record = self.record(payee);
            let pause = PLACE_PAUSE.times(1 << record.lost_places.min(PLACE_PAUSE_DOUBLINGS));
            record.lost_places = record.lost_places.saturating_add(1);
            self.pauses.set(payee, now.after(pause), PAUSES_MAX);
        }
    }

    /// While somebody who was never tried waits, now and then the place of the least use is its.
    fn lend(&mut self, boost: u64, payees: &[PlaceSight], waiting: &[NodeId], now: Instant) {
        let held = || self.held.iter().filter(|((id, _), _)| *id == boost);
        let tried = |payee: &NodeId| self.records.get(payee).is_some_and(|record| record.tried);
        let fresh = waiting.iter().find(|payee| !tried(payee)).copied();
        let rests = self
            .rotations
            .get(&boost)
            .is_some_and(|at| now.since(*at) < ROTATE_EVERY);
        let Some(fresh) = fresh.filter(|_| held().count() >= PAYEES_MAX && !rests) else {
            return;
        };
        let use_of = |((_, payee), place): &(&(u64, NodeId), &Place)| {
            let rate = sight_of(payees, payee).map(|payee| payee.rate_to_us);
            (rate, place.paid_at, place.heard_at, *payee)
        };
        let Some((key, place)) = held().min_by_key(use_of) else {
            return;
        };
        // While it has its time to be of use nobody else goes: all others are of more.
        if now.since(place.since) < ROTATE_EVERY {
            return;
        }
        let key = *key;
        self.held.remove(&key);
        self.rotations.insert(boost, now);
        self.give(boost, payees, fresh, now);
    }

    /// What is remembered of a payee. The one of least note is forgotten past a bound.
    fn record(&mut self, payee: NodeId) -> &mut PayeeRecord {
        if self.records.len() >= PAUSES_MAX && !self.records.contains_key(&payee) {
            let note = |record: &PayeeRecord| (record.lost_places, record.served);
            let least = self
                .records
                .iter()
                .min_by_key(|(key, record)| (note(record), **key));
            let least = least.map(|(key, _)| *key).expect("it is not empty");
            self.records.remove(&least);
        }
        self.records.entry(payee).or_default()
    }
}

/// A payee among those that are in order of their keys.
fn sight_of<'a>(payees: &'a [PlaceSight], node_id: &NodeId) -> Option<&'a PlaceSight> {
    let place = payees.binary_search_by(|payee| payee.node_id.cmp(node_id));
    place.ok().map(|place| &payees[place])
}

const _: () = assert!(
    SILENT_MAX.as_nanos() < UNPAID_MAX.as_nanos(),
    "who is silent is found out first"
);
const _: () = assert!(PLACE_PAUSE.as_nanos() > Duration::ZERO.as_nanos());
