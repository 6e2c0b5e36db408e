//! What the owner decided about slots.

#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use seedbank_ledger::Rate;

/// A rule for the paid class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaidRule {
    /// Highest bids get the slots, pay what they bid, and share the rate equally.
    #[default]
    TopK,
    /// Every bidder is served in proportion to its bid.
    Proportional,
    /// Highest bids get the slots and all pay the highest losing bid.
    UniformPrice,
}

/// What the owner decided about slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotPolicy {
    /// Upload slots over all torrents. With one, nothing is sold.
    pub slots: usize,
    /// Percent of the slots outside the market; more than 100 counts as 100.
    pub open_share_percent: u8,
    /// How the paid class is ranked and shared.
    pub rule: PaidRule,
    /// Lowest bid that counts as paying.
    pub rate_min: Rate,
}

impl SlotPolicy {
    /// Slots for optimistic unchokes: a fifth, at least one; never sold.
    pub fn optimistic_count(&self) -> usize {
        (self.slots / 5).max(1).min(self.slots)
    }

    /// Slots outside the market while enough others want them, optimistic ones included.
    pub fn open_count_min(&self) -> usize {
        #[cfg(feature = "mutants")]
        if mutants::has(Mutant::OpenShareIgnored) {
            return self.optimistic_count();
        }
        let percent = usize::from(self.open_share_percent.min(100));
        // Split so that no number of slots can overflow.
        let share = self.slots / 100 * percent + self.slots % 100 * percent / 100;
        share.max(1).max(self.optimistic_count()).min(self.slots)
    }

    /// Slots that may be sold while `open_wanted` others want the rest.
    pub fn for_sale(&self, open_wanted: usize) -> usize {
        let open_due = open_wanted.max(self.optimistic_count());
        self.slots - open_due.min(self.open_count_min())
    }
}
