//! Whom a boost funds: places are given, lost, and lent to those never tried (docs/RULES.md,
//! boosts).
//!
//! A payee's word that it will serve costs it nothing, so that a place is kept by serving.

use std::collections::BTreeSet;

use seedbank_ledger::{Bytes, Duration, Instant, NodeId};

use super::config::{
    PAUSES_MAX, PAYEES_MAX, PLACE_KEEP, PLACE_PAUSE, PLACE_PAUSE_DOUBLINGS, ROTATE_EVERY,
    SILENT_MAX, UNPAID_MAX,
};
use super::payee::{PayeeSight, is_eligible};
use super::plan::Turn;
use super::{Boosts, Round};

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

    fn follow(&mut self, payee: &PayeeSight, now: Instant) {
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

impl Boosts {
    /// Keeps, gives up and fills the places of payees: at most four.
    pub(super) fn choose(&mut self, round: &Round<'_>, turns: &[Turn]) {
        let now = round.now;
        self.place_pauses.tend(now);
        self.lock_pauses.tend(now);
        self.raise_pauses.tend(now);
        self.renewals.retain(|_, again| now < *again);
        let has_turn: BTreeSet<u64> = turns.iter().map(|turn| turn.boost).collect();
        self.places.retain(|(boost, _), _| has_turn.contains(boost));
        self.rotations.retain(|boost, _| has_turn.contains(boost));
        for turn in turns {
            self.follow(turn, now);
            let waiting = self.waiting(turn, now);
            self.give_up_places(turn, !waiting.is_empty(), now);
            self.lend_place(turn, &waiting, now);
            for payee in waiting {
                let held = self.places.keys().filter(|(id, _)| *id == turn.boost);
                if held.count() < PAYEES_MAX {
                    self.give_place(turn, payee, now);
                }
            }
        }
    }

    fn follow(&mut self, turn: &Turn, now: Instant) {
        for payee in turn
            .payees
            .values()
            .filter(|payee| !payee.received.is_zero())
        {
            self.record(payee.node_id).served = true;
        }
        let boost = &self.book.boosts[&turn.boost];
        let places = self.places.iter_mut();
        for ((_, payee), place) in places.filter(|((id, _), _)| *id == turn.boost) {
            let Some(payee) = turn.payees.get(payee) else {
                continue;
            };
            if is_eligible(payee, boost) {
                place.useful_at = now;
            }
            place.follow(payee, now);
        }
    }

    fn give_place(&mut self, turn: &Turn, payee: NodeId, now: Instant) {
        self.record(payee).tried = true;
        let received = turn
            .payees
            .get(&payee)
            .map_or(Bytes::ZERO, |seen| seen.received);
        let place = Place::new(now, received);
        self.places.entry((turn.boost, payee)).or_insert(place);
    }

    /// Payees that would take a place, best first: those in whose lock there is credit, then who
    /// has served us, then who has lost the fewest places, then seeds, then by their rate to us.
    fn waiting(&self, turn: &Turn, now: Instant) -> Vec<NodeId> {
        let boost = &self.book.boosts[&turn.boost];
        let holds = |payee: &PayeeSight| {
            let lock = self.live_lock(payee.node_id);
            lock.is_some_and(|lock| !boost.left_on(lock.id()).is_zero())
        };
        let mut waiting: Vec<&PayeeSight> = turn
            .payees
            .values()
            .filter(|payee| is_eligible(payee, boost))
            .filter(|payee| !self.places.contains_key(&(turn.boost, payee.node_id)))
            .filter(|payee| !self.place_pauses.holds(&payee.node_id, now))
            .collect();
        waiting.sort_by_key(|payee| {
            let record = self
                .records
                .get(&payee.node_id)
                .copied()
                .unwrap_or_default();
            let served = (!record.served, record.lost_places);
            (!holds(payee), served, payee.rank())
        });
        waiting.iter().map(|payee| payee.node_id).collect()
    }

    fn give_up_places(&mut self, turn: &Turn, others_wait: bool, now: Instant) {
        let boost = &self.book.boosts[&turn.boost];
        let mut lost = Vec::new();
        self.places.retain(|(id, payee), place| {
            if *id != turn.boost {
                return true;
            }
            let seen = turn.payees.get(payee);
            let useless = seen.is_some_and(|payee| !is_eligible(payee, boost));
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
            self.place_pauses.set(payee, now.after(pause), PAUSES_MAX);
        }
    }

    /// While somebody who was never tried waits, now and then the place of the least use is its.
    fn lend_place(&mut self, turn: &Turn, waiting: &[NodeId], now: Instant) {
        let held = || self.places.iter().filter(|((id, _), _)| *id == turn.boost);
        let tried = |payee: &NodeId| self.records.get(payee).is_some_and(|record| record.tried);
        let fresh = waiting.iter().find(|payee| !tried(payee)).copied();
        let rests = self
            .rotations
            .get(&turn.boost)
            .is_some_and(|at| now.since(*at) < ROTATE_EVERY);
        let Some(fresh) = fresh.filter(|_| held().count() >= PAYEES_MAX && !rests) else {
            return;
        };
        let use_of = |((_, payee), place): &(&(u64, NodeId), &Place)| {
            let rate = turn.payees.get(payee).map(|payee| payee.rate_to_us);
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
        self.places.remove(&key);
        self.rotations.insert(turn.boost, now);
        self.give_place(turn, fresh, now);
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

const _: () = assert!(
    SILENT_MAX.as_nanos() < UNPAID_MAX.as_nanos(),
    "who is silent is found out first"
);
const _: () = assert!(PLACE_PAUSE.as_nanos() > Duration::ZERO.as_nanos());
