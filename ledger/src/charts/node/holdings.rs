//! The six words for a node's credit: free, set aside, pending, locked, signed, claimable.
//!
//! The ledger knows what is available, locked, signed and claimable, each a sum over entries. What
//! of the available credit is promised is known to the wallet alone, and divided here and nowhere
//! else, so that every view and every refusal names the same numbers (docs/GLOSSARY.md).

use std::fmt;

use crate::charts::node::Balance;
use crate::units::MicroCredits;

/// What the account holds at the settlement node outside locks, by what it is promised to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// Promised to nothing: what a transfer or a boost may take.
    pub free: MicroCredits,
    /// Budgets of active boosts that are neither spent nor reserved.
    pub set_aside: MicroCredits,
    /// In orders that are queued or not answered yet.
    pub pending: MicroCredits,
}

/// What a node has and what it owes, in six words. Every micro-credit is under one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Free, set aside, pending.
    pub available: Available,
    /// Reserved in locks and not signed away.
    pub locked: MicroCredits,
    /// Signed away by receipts and not claimed yet: no longer the node's.
    pub signed: MicroCredits,
    /// Earned by receipts and not claimed yet.
    pub claimable: MicroCredits,
}

impl Available {
    /// Divides `available` among orders under way, boosts, and nothing, in this order, each as far
    /// as there is something left: the parts always add up to it.
    pub fn divide(available: MicroCredits, pending: MicroCredits, set_aside: MicroCredits) -> Self {
        let pending = pending.min(available);
        let rest = available.saturating_sub(pending);
        let set_aside = set_aside.min(rest);
        let divided = Self {
            free: rest.saturating_sub(set_aside),
            set_aside,
            pending,
        };
        assert_eq!(
            divided.total(),
            available,
            "free, set aside and pending are all that is available"
        );
        divided
    }

    /// The three together.
    pub fn total(&self) -> MicroCredits {
        self.free
            .saturating_add(self.set_aside)
            .saturating_add(self.pending)
    }
}

impl Balance {
    /// This balance with what is promised of it: `pending` in orders, `set_aside` for boosts.
    pub fn holdings(&self, pending: MicroCredits, set_aside: MicroCredits) -> Holdings {
        Holdings {
            available: Available::divide(self.available, pending, set_aside),
            locked: self.locked,
            signed: self.signed,
            claimable: self.claimable,
        }
    }
}

/// As a refusal names it: what is free, and what the rest is for.
impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} free", self.free)?;
        let promised = [
            (self.set_aside, "set aside for boosts"),
            (self.pending, "pending"),
        ];
        for (amount, what) in promised.iter().filter(|(amount, _)| !amount.is_zero()) {
            write!(f, ", {amount} {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn orders_come_before_boosts_and_both_before_what_is_free() {
        let divide = |available, pending, set_aside| {
            let [available, pending, set_aside] =
                [available, pending, set_aside].map(MicroCredits::new);
            let divided = Available::divide(available, pending, set_aside);
            [divided.free, divided.set_aside, divided.pending].map(MicroCredits::get)
        };
        assert_eq!(divide(100, 0, 0), [100, 0, 0]);
        assert_eq!(divide(100, 30, 50), [20, 50, 30]);
        assert_eq!(divide(100, 70, 50), [0, 30, 70]);
        assert_eq!(divide(100, 170, 50), [0, 0, 100]);
    }

    #[test]
    fn a_refusal_names_what_is_promised_and_nothing_else() {
        let cr = |whole: u64| MicroCredits::new(whole * 1_000_000);
        let all = Available::divide(cr(19), cr(1), cr(15));
        assert_eq!(
            all.to_string(),
            "3.000000 cr free, 15.000000 cr set aside for boosts, 1.000000 cr pending"
        );
        let free = Available::divide(cr(19), cr(0), cr(0));
        assert_eq!(free.to_string(), "19.000000 cr free");
    }

    proptest! {
        #[test]
        fn no_promise_makes_or_loses_credit(parts in any::<[u64; 3]>()) {
            let [available, pending, set_aside] = parts.map(MicroCredits::new);
            let divided = Available::divide(available, pending, set_aside);
            prop_assert_eq!(divided.total(), available);
            prop_assert!(divided.pending <= pending);
            prop_assert!(divided.set_aside <= set_aside);
        }
    }
}
