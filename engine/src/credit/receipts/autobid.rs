//! How a boost's bid moves (S5): up only when that may help, down when it is not needed, never
//! above the user's cap.

use seedbank_ledger::{Instant, Rate};

use crate::credit::receipts::limits::{LOWER_AFTER_ROUNDS, RAISE_PAUSE, RAISE_REGRET};

/// The bid at one payee, moved once per rechoke round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoBid {
    rate: Rate,
    unchoked_rounds: u8,
    raised_at: Option<Instant>,
    no_raise_until: Instant,
}

/// What a round looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Whether the payee chokes us.
    pub choked: bool,
    /// Whether all payees together are slower than wanted.
    pub below_target: bool,
    /// The payee's lowest rate.
    pub rate_min: Rate,
    /// The user's highest.
    pub cap: Rate,
}

impl AutoBid {
    /// A first bid: the payee's lowest rate, if the cap allows.
    pub fn new(rate_min: Rate, cap: Rate) -> Self {
        Self {
            rate: rate_min.min(cap),
            unchoked_rounds: 0,
            raised_at: None,
            no_raise_until: Instant::ZERO,
        }
    }

    /// The bid now.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The payee choked us: if that follows a raise too closely, he gets no raise for a while.
    pub fn choked(&mut self, now: Instant) {
        self.unchoked_rounds = 0;
        let regret = |raised: Instant| now < raised.after(RAISE_REGRET);
        if self.raised_at.take().is_some_and(regret) {
            self.no_raise_until = now.after(RAISE_PAUSE);
        }
    }

    /// A round has passed; returns the bid from now.
    pub fn round(&mut self, round: Round, now: Instant) -> Rate {
        if round.choked {
            self.unchoked_rounds = 0;
            if round.below_target && now >= self.no_raise_until {
                let raised = tenth_more(self.rate).min(round.cap);
                if raised > self.rate {
                    self.rate = raised;
                    self.raised_at = Some(now);
                }
            }
        } else {
            self.unchoked_rounds = self.unchoked_rounds.saturating_add(1);
            if self.unchoked_rounds >= LOWER_AFTER_ROUNDS {
                self.unchoked_rounds = 0;
                self.rate = tenth_less(self.rate);
            }
        }
        let floor = round.rate_min.min(round.cap);
        self.rate = self.rate.max(floor).min(round.cap);
        self.rate
    }
}

/// A tenth more, rounded up so that a small bid moves at all.
fn tenth_more(rate: Rate) -> Rate {
    rate.saturating_add(Rate::new(rate.get().div_ceil(10)))
}

fn tenth_less(rate: Rate) -> Rate {
    rate.saturating_sub(Rate::new(rate.get() / 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_ledger::Duration;

    const CAP: Rate = Rate::new(1_000);
    const MIN: Rate = Rate::new(100);

    fn round(choked: bool, below_target: bool) -> Round {
        Round {
            choked,
            below_target,
            rate_min: MIN,
            cap: CAP,
        }
    }

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(secs))
    }

    #[test]
    fn f24_a_payee_that_chokes_after_raises_gets_no_more_of_them() {
        let mut bid = AutoBid::new(MIN, CAP);
        // One round in four choked, as in the trace, where the bid rose 4.6-fold in 80 rounds.
        for step in 0..80 {
            let now = at(step * 10);
            let choked = step % 4 == 0;
            if choked {
                bid.choked(now);
            }
            bid.round(round(choked, true), now);
        }
        assert!(bid.rate() <= Rate::new(121), "{}", bid.rate());
    }

    #[test]
    fn a_raise_needs_a_choke_and_a_rate_below_the_target() {
        let mut bid = AutoBid::new(MIN, CAP);
        assert_eq!(bid.round(round(true, false), at(0)), MIN);
        assert_eq!(bid.round(round(false, true), at(10)), MIN);
        assert_eq!(bid.round(round(true, true), at(20)), Rate::new(110));
    }

    #[test]
    fn a_bid_stays_between_the_lowest_rate_and_the_cap() {
        let mut bid = AutoBid::new(MIN, CAP);
        for step in 0..100 {
            bid.round(round(true, true), at(step * 10));
        }
        assert_eq!(bid.rate(), CAP);
        for step in 100..400 {
            bid.round(round(false, true), at(step * 10));
        }
        assert_eq!(bid.rate(), MIN);
        let poor = AutoBid::new(MIN, Rate::new(7));
        assert_eq!(poor.rate(), Rate::new(7));
    }
}
