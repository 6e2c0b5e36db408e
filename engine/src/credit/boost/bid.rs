//! What one connection is bid: up when choked and too slow, down when served for long (S5).

use std::collections::BTreeMap;

use seedbank_ledger::{Duration, Instant, NodeId, Rate};

use crate::credit::receipts::limits::{
    BID_INTERVAL, CUT_PAUSE, CUT_PAUSE_MAX, CUT_RAISE_PAUSE, LOWER_AFTER_ROUNDS, RAISE_PAUSE,
    RAISE_REGRET, RIVAL_FACTOR,
};

/// A raise or a cut changes a bid by one part in so many.
const STEP_PARTS: u64 = 10;

/// The bid on one connection. It lives from the first bid to the last.
#[derive(Clone, Copy, Debug)]
pub struct Bidder {
    rate: Rate,
    /// What it should be; said at most once a second.
    wanted: Rate,
    changed_at: Instant,
    round_at: Instant,
    choked: bool,
    /// The last change of ours, if it may be regretted yet.
    step: Option<BidStep>,
    unchoked_rounds: u8,
    no_raise_before: Instant,
    no_cut_before: Instant,
    cut_pause: Duration,
}

/// A change of a bid for its own sake.
#[derive(Clone, Copy, Debug)]
enum BidStep {
    Raised { at: Instant },
    Cut { at: Instant, former: Rate },
}

/// What a bid depends on.
#[derive(Clone, Copy, Debug)]
pub struct BidSight {
    /// The driver's clock.
    pub now: Instant,
    /// Time between two rounds of a choker.
    pub choke_round: Duration,
    /// Whom it is for.
    pub payee: NodeId,
    /// Least the payee takes.
    pub min: Rate,
    /// Most the boost bids.
    pub cap: Rate,
    /// The lowest bid at which another payee serves us; `None` if none does.
    pub rival: Option<Rate>,
    /// The payee chokes us.
    pub choking: bool,
    /// We have a paid seat there: only then does a cut try anything.
    pub seated: bool,
    /// All payees together give less than wanted.
    pub too_slow: bool,
}

/// Payees that get no raise, and until when.
#[derive(Clone, Debug, Default)]
pub struct Pauses(BTreeMap<NodeId, Instant>);

impl Pauses {
    /// Begins a pause, unless so many are remembered.
    pub fn set(&mut self, payee: NodeId, until: Instant, bound: usize) {
        if self.0.len() < bound || self.0.contains_key(&payee) {
            self.0.insert(payee, until);
        }
    }

    /// Whether a payee's pause is not over.
    pub fn holds(&self, payee: &NodeId, now: Instant) -> bool {
        self.0.get(payee).is_some_and(|until| now < *until)
    }

    /// Forgets what is over.
    pub fn tend(&mut self, now: Instant) {
        self.0.retain(|_, until| now < *until);
    }
}

impl Bidder {
    /// Starts at the least the payee takes.
    pub fn new(sight: &BidSight) -> Self {
        let rate = sight.min.max(Rate::new(1)).min(sight.cap);
        Self {
            rate,
            wanted: rate,
            changed_at: sight.now,
            round_at: sight.now.after(sight.choke_round),
            choked: sight.choking,
            step: None,
            unchoked_rounds: 0,
            no_raise_before: sight.now,
            no_cut_before: sight.now,
            cut_pause: CUT_PAUSE,
        }
    }

    /// The bid in force.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The next bid, if it is another one.
    pub fn step(&mut self, sight: &BidSight, pauses: &mut Pauses) -> Option<Rate> {
        let now = sight.now;
        if sight.choking && !self.choked {
            self.regret(sight, pauses);
        }
        self.choked = sight.choking;
        if now >= self.round_at {
            self.round_at = now.after(sight.choke_round);
            self.round(sight, pauses);
        }
        let rate = self.wanted.max(sight.min).max(Rate::new(1)).min(sight.cap);
        if rate == self.rate || now.since(self.changed_at) < BID_INTERVAL {
            return None;
        }
        assert!(rate <= sight.cap, "no bid is above what the owner allows");
        self.rate = rate;
        self.wanted = rate;
        self.changed_at = now;
        Some(rate)
    }

    /// It choked us: a change of ours just before is likely to be why. After a cut the former bid
    /// is right; after a raise, more would only be taken for nothing.
    fn regret(&mut self, sight: &BidSight, pauses: &mut Pauses) {
        let now = sight.now;
        match self.step.take() {
            Some(BidStep::Cut { at, former }) if now.since(at) <= RAISE_REGRET => {
                self.wanted = former;
                self.no_raise_before = now.after(CUT_RAISE_PAUSE);
                self.no_cut_before = now.after(self.cut_pause);
                self.cut_pause = self.cut_pause.times(2).min(CUT_PAUSE_MAX);
            }
            Some(BidStep::Raised { at }) if now.since(at) <= RAISE_REGRET => {
                let until = now.after(RAISE_PAUSE);
                pauses.set(sight.payee, until, super::config::PAUSES_MAX);
            }
            Some(BidStep::Cut { .. } | BidStep::Raised { .. }) | None => {}
        }
    }

    fn round(&mut self, sight: &BidSight, pauses: &Pauses) {
        let at = sight.now;
        if sight.choking {
            self.unchoked_rounds = 0;
            let rests = pauses.holds(&sight.payee, at) || at < self.no_raise_before;
            let raised = up(self.rate).min(sight.ceiling().max(self.rate));
            if sight.too_slow && !rests && raised > self.rate {
                self.wanted = raised;
                self.step = Some(BidStep::Raised { at });
            }
            return;
        }
        if !sight.seated {
            self.unchoked_rounds = 0;
            return;
        }
        self.unchoked_rounds = self.unchoked_rounds.saturating_add(1);
        if self.unchoked_rounds < LOWER_AFTER_ROUNDS || at < self.no_cut_before {
            return;
        }
        self.unchoked_rounds = 0;
        let lower = down(self.rate).max(sight.min);
        if lower < self.rate {
            self.wanted = lower;
            let former = self.rate;
            self.step = Some(BidStep::Cut { at, former });
        }
    }
}

impl BidSight {
    /// Most that a raise may come to.
    fn ceiling(&self) -> Rate {
        let twice = |rate: Rate| Rate::new(rate.get().saturating_mul(RIVAL_FACTOR));
        self.rival.map_or(self.cap, twice).min(self.cap)
    }
}

/// Rounded up, so that the smallest bid can rise.
fn up(rate: Rate) -> Rate {
    rate.saturating_add(Rate::new(rate.get().div_ceil(STEP_PARTS)))
}

/// Rounded up towards the old bid, so that no bid falls to nothing.
fn down(rate: Rate) -> Rate {
    Rate::new(rate.get() - rate.get() / STEP_PARTS)
}

const _: () = assert!(
    RAISE_REGRET.as_nanos() > Duration::ZERO.as_nanos(),
    "a raise can be regretted"
);

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: u64 = 1_000;
    const ROUND: Duration = Duration::from_secs(10);

    struct Scene {
        bidder: Bidder,
        pauses: Pauses,
        sight: BidSight,
    }

    impl Scene {
        fn new() -> Self {
            let sight = BidSight {
                choke_round: ROUND,
                now: Instant::ZERO,
                payee: NodeId::from_bytes([1; 32]),
                min: Rate::new(100),
                cap: Rate::new(CAP),
                rival: None,
                choking: true,
                seated: true,
                too_slow: true,
            };
            Self {
                bidder: Bidder::new(&sight),
                pauses: Pauses::default(),
                sight,
            }
        }

        /// One second at a time.
        fn run(&mut self, secs: u64) -> u64 {
            for _ in 0..secs {
                self.sight.now = self.sight.now.after(Duration::from_secs(1));
                self.bidder.step(&self.sight, &mut self.pauses);
                assert!(self.bidder.rate() <= self.sight.cap, "never above the cap");
            }
            self.bidder.rate().get()
        }
    }

    #[test]
    fn a_bid_starts_at_the_minimum_and_rises_a_tenth_per_round_up_to_the_cap() {
        let mut scene = Scene::new();
        assert_eq!(scene.bidder.rate().get(), 100);
        assert_eq!(scene.run(9), 100);
        assert_eq!(scene.run(1), 110);
        assert_eq!(scene.run(10), 121);
        assert_eq!(scene.run(1_000), CAP);
    }

    #[test]
    fn nothing_rises_while_all_payees_together_are_fast_enough() {
        let mut scene = Scene::new();
        scene.sight.too_slow = false;
        assert_eq!(scene.run(300), 100);
    }

    #[test]
    fn a_bid_falls_a_tenth_after_three_unchoked_rounds_but_not_below_the_minimum() {
        let mut scene = Scene::new();
        assert_eq!(scene.run(20), 121);
        scene.sight.choking = false;
        assert_eq!(scene.run(29), 121);
        assert_eq!(scene.run(1), 109);
        assert_eq!(scene.run(300), 100);
    }

    /// docs/RULES.md, S5: a payee without competition that chokes one round in four.
    #[test]
    fn a_payee_that_chokes_after_a_raise_gets_none_for_five_minutes() {
        let mut scene = Scene::new();
        for round in 0..80 {
            scene.sight.choking = round % 4 == 0;
            scene.run(10);
        }
        let after = scene.bidder.rate().get();
        assert!(after <= 134, "{after}: one raise in five minutes");
        scene.sight.choking = true;
        let choked = scene.run(310);
        assert!(choked > after, "after the pause it may rise again");
    }

    #[test]
    fn a_choke_after_ones_own_cut_brings_the_former_bid_back() {
        let mut scene = Scene::new();
        assert_eq!(scene.run(30), 134);
        scene.sight.choking = false;
        assert_eq!(scene.run(30), 121, "three rounds unchoked");
        scene.sight.choking = true;
        assert_eq!(scene.run(1), 134);
        assert_eq!(scene.run(19), 134, "no raise for 20 s");
        scene.sight.choking = false;
        assert_eq!(scene.run(270), 134, "no cut for 5 min");
        assert_eq!(scene.run(40), 121);
        scene.sight.choking = true;
        assert_eq!(scene.run(1), 134);
        scene.sight.choking = false;
        assert_eq!(scene.run(590), 134, "nor for 10 min the next time");
        assert!(scene.run(60) < 134);
    }

    #[test]
    fn no_bid_rises_above_twice_what_another_payee_serves_for() {
        let mut scene = Scene::new();
        scene.sight.rival = Some(Rate::new(60));
        assert_eq!(scene.run(1_000), 120);
        scene.sight.rival = Some(Rate::new(10));
        assert_eq!(scene.run(1_000), 120, "what is bid stays");
        scene.sight.rival = None;
        assert_eq!(scene.run(1_000), CAP);
    }

    #[test]
    fn a_bid_without_a_seat_does_not_fall() {
        let mut scene = Scene::new();
        assert_eq!(scene.run(20), 121);
        scene.sight.choking = false;
        scene.sight.seated = false;
        assert_eq!(scene.run(300), 121, "unchoked, but outbid");
        scene.sight.seated = true;
        assert_eq!(scene.run(30), 109);
    }

    #[test]
    fn a_higher_minimum_is_followed_and_a_lower_cap_kept() {
        let mut scene = Scene::new();
        scene.sight.min = Rate::new(500);
        assert_eq!(scene.run(2), 500);
        scene.sight.cap = Rate::new(400);
        assert_eq!(scene.run(2), 400);
    }

    #[test]
    fn bids_change_at_most_once_a_second() {
        let mut scene = Scene::new();
        scene.sight.now = scene.sight.now.after(Duration::from_millis(1500));
        scene.sight.min = Rate::new(200);
        let first = scene.bidder.step(&scene.sight, &mut scene.pauses);
        assert_eq!(first, Some(Rate::new(200)));
        scene.sight.now = scene.sight.now.after(Duration::from_millis(900));
        scene.sight.min = Rate::new(300);
        assert_eq!(scene.bidder.step(&scene.sight, &mut scene.pauses), None);
        scene.sight.now = scene.sight.now.after(Duration::from_millis(100));
        let second = scene.bidder.step(&scene.sight, &mut scene.pauses);
        assert_eq!(second, Some(Rate::new(300)));
    }
}
