//! Units as types: credit, rates, bytes and sequence numbers that cannot be confused.
//!
//! Each number is sealed in its own type; arithmetic that can overflow returns `Option`, and every
//! rounding states its direction. Time has a file of its own, `time.rs`.

use std::fmt;

macro_rules! sealed_u64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest value of this unit.
            pub const MAX: Self = Self(u64::MAX);

            /// Wraps a raw number of this unit.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw number, for the wire and the disk.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Whether this is zero.
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// Sum, or `None` past 2⁶⁴ − 1.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Difference, or `None` below zero.
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// Sum, held at the maximum.
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// Difference, held at zero.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
    };
}

sealed_u64! {
    /// Payload bytes. Never protocol overhead.
    Bytes
}
sealed_u64! {
    /// Credit in millionths: 1,000,000 micro-credits are one credit (`1 cr`).
    MicroCredits
}
sealed_u64! {
    /// A price: micro-credits per GiB (2³⁰ bytes) of payload. Zero is the open class.
    Rate
}
sealed_u64! {
    /// Position of an entry in a ledger, counted from 0 (the genesis entry).
    Sequence
}

/// Bytes in one GiB, the unit of a [`Rate`].
const GIB: u128 = 1 << 30;

impl Rate {
    /// One credit per GiB, the price at which examples and defaults are quoted.
    pub const PAR: Self = Self(MicroCredits::PER_CREDIT);

    /// Unrounded cost of `bytes` at this rate, in micro-credit·bytes per GiB.
    pub fn raw_cost(self, bytes: Bytes) -> RawCost {
        RawCost(u128::from(self.0).saturating_mul(u128::from(bytes.0)))
    }

    /// Cost of `bytes`, rounded down: never overcharge. `None` past 2⁶⁴ − 1 micro-credits.
    pub fn cost(self, bytes: Bytes) -> Option<MicroCredits> {
        self.raw_cost(bytes).floor()
    }

    /// Cost of `bytes`, rounded up: what a payee asks to be covered. `None` past 2⁶⁴ − 1.
    pub fn cost_ceil(self, bytes: Bytes) -> Option<MicroCredits> {
        self.raw_cost(bytes).ceil()
    }
}

impl MicroCredits {
    /// Micro-credits in one credit.
    pub const PER_CREDIT: u64 = 1_000_000;
}

impl Bytes {
    /// From a length in memory.
    pub fn from_len(len: usize) -> Self {
        Self(u64::try_from(len).expect("usize is at most 64 bits wide"))
    }
}

impl Sequence {
    /// The next position.
    ///
    /// # Panics
    /// After 2⁶⁴ − 1 entries, which no disk holds.
    #[must_use]
    pub fn next(self) -> Self {
        self.checked_next()
            .expect("a ledger holds fewer than 2^64 entries")
    }

    /// The next position; `None` after the last there can be, which anybody may name.
    pub const fn checked_next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

/// A sum of bytes × rate that has not been divided by 2³⁰ yet, so that a total is floored once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawCost(u128);

impl RawCost {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// From the stored number.
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The stored number.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The raw value of a whole amount.
    pub fn of(amount: MicroCredits) -> Self {
        Self(u128::from(amount.0).saturating_mul(GIB))
    }

    /// Sum, held at the maximum (2⁹⁸ credits: out of any ledger's reach).
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, held at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whole micro-credits, rounded down. `None` past 2⁶⁴ − 1.
    pub fn floor(self) -> Option<MicroCredits> {
        self.0
            .checked_div(GIB)
            .and_then(|whole| u64::try_from(whole).ok())
            .map(MicroCredits)
    }

    /// Whole micro-credits, rounded up. `None` past 2⁶⁴ − 1.
    pub fn ceil(self) -> Option<MicroCredits> {
        u64::try_from(self.0.div_ceil(GIB)).ok().map(MicroCredits)
    }
}

impl fmt::Display for MicroCredits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.checked_div(Self::PER_CREDIT).unwrap_or_default();
        let part = self.0.checked_rem(Self::PER_CREDIT).unwrap_or_default();
        write!(f, "{whole}.{part:06} cr")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/GiB", MicroCredits(self.0))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_floored_once_over_a_total() {
        let rate = Rate::new(3);
        let block = Bytes::new(16_384);
        assert_eq!(rate.cost(block), Some(MicroCredits::ZERO));
        let mut raw = RawCost::ZERO;
        for _ in 0..65_536 {
            raw = raw.saturating_add(rate.raw_cost(block));
        }
        assert_eq!(raw.floor(), Some(MicroCredits::new(3)));
        assert_eq!(rate.cost_ceil(block), Some(MicroCredits::new(1)));
    }

    #[test]
    fn cost_past_u64_is_none() {
        assert_eq!(Rate::MAX.cost(Bytes::MAX), None);
        assert_eq!(
            Rate::PAR.cost(Bytes::new(1 << 30)),
            Some(MicroCredits::new(1_000_000))
        );
    }

    #[test]
    fn credit_prints_with_its_unit() {
        assert_eq!(MicroCredits::new(12_345_678).to_string(), "12.345678 cr");
        assert_eq!(Rate::PAR.to_string(), "1.000000 cr/GiB");
    }
}
