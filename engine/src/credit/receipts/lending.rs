//! What keys may have taken for nothing and have their credit back at once all the same, all of
//! them together (docs/RULES.md, reading 8).
//!
//! An honest payer whose last blocks were lost and a key that came to take a window look alike. So
//! what is risked does not depend on how many keys there are, nor on what credit.

use seedbank_ledger::{Bytes, Instant};

use crate::credit::receipts::limits::{LENT_FILL, LOST_SHARE};

/// How much was risked so far, since the start.
#[derive(Clone, Copy, Debug)]
pub struct Lending {
    most: Bytes,
    lent: Bytes,
    filled_at: Instant,
    paid: Bytes,
}

impl Lending {
    /// Nothing is lent; `most` may be at once.
    pub fn new(most: Bytes, now: Instant) -> Self {
        Self {
            most,
            lent: Bytes::ZERO,
            filled_at: now,
            paid: Bytes::ZERO,
        }
    }

    /// Somebody paid for so much: a part of it may be lent besides.
    pub fn paid(&mut self, bytes: Bytes) {
        self.paid = self.paid.saturating_add(bytes);
    }

    /// Lends so much, if there is as much left.
    pub fn lend(&mut self, bytes: Bytes, now: Instant) -> bool {
        self.fill_up(now);
        let most = self.most.saturating_add(self.share());
        let lent = self.lent.saturating_add(bytes);
        if lent > most {
            return false;
        }
        self.lent = lent;
        true
    }

    /// Asserts that no more is lent than may be.
    pub fn check_invariants(&self) {
        let most = self.most.saturating_add(self.share());
        assert!(self.lent <= most, "what is lent has a bound");
    }

    /// Time gives back `most` in [`LENT_FILL`].
    fn fill_up(&mut self, now: Instant) {
        let secs = u128::from(now.since(self.filled_at).as_secs());
        let back = u128::from(self.most.get()) * secs / u128::from(LENT_FILL.as_secs());
        let back = Bytes::new(u64::try_from(back).unwrap_or(u64::MAX));
        if !back.is_zero() {
            self.lent = self.lent.saturating_sub(back);
            self.filled_at = now;
        }
    }

    fn share(&self) -> Bytes {
        Bytes::new(self.paid.get() / LOST_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_ledger::Duration;

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(secs))
    }

    #[test]
    fn what_is_lent_fills_up_in_a_day_and_grows_with_what_was_paid() {
        let bytes = Bytes::new;
        let mut lending = Lending::new(bytes(1_000), at(0));
        assert!(lending.lend(bytes(600), at(0)));
        assert!(!lending.lend(bytes(401), at(0)));
        assert!(lending.lend(bytes(400), at(0)));
        assert!(!lending.lend(bytes(1), at(86)), "a thousandth of a day");
        assert!(lending.lend(bytes(500), at(43_200)));
        assert!(!lending.lend(bytes(1), at(43_200)));
        lending.paid(bytes(3_200));
        assert!(lending.lend(bytes(100), at(43_200)));
        assert!(!lending.lend(bytes(1), at(43_200)));
        assert!(
            !lending.lend(bytes(1_101), at(900_000)),
            "no more than that"
        );
        assert!(lending.lend(bytes(1_100), at(900_000)));
        lending.check_invariants();
    }
}
