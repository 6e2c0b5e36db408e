//! What is not remembered for ever: pairs that nobody needs, and locks whose credit has returned.
//!
//! A pair is forgotten in memory and in the tally at once, so that a start knows what the run
//! before knew. One between whom nothing ever moved lives as long as its connections. Of the
//! others many are kept; beyond that bound those yield whose loss is the least ([`Worth`]), and
//! none to one that is worth less.

use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, NodeId};

use crate::credit::receipts::exchange::Exchange;
use crate::credit::receipts::limits::{PAIRS_BUSY_MAX, PAIRS_MAX};
use crate::credit::receipts::pair::{Pair, Worth, lock_keys};

impl Exchange {
    /// The last connection of this key may be gone: it is forgotten if nothing ever moved, else
    /// whoever is worth the least, if there are too many.
    pub(super) fn forget_what_is_least(&mut self, key: NodeId) {
        let Some(pair) = self.pairs.get(&key).filter(|pair| pair.is_forgettable()) else {
            return;
        };
        if pair.worth() == Worth::Nothing {
            return self.forget(key);
        }
        if self.pairs.len() <= PAIRS_MAX {
            return;
        }
        if let Some((_, key)) = self.least(Pair::is_forgettable) {
            self.forget(key);
        }
    }

    /// Whether there is room for one more key. At the bound one that only took yields, if every
    /// lock from it was closed: locks that nothing was paid on would keep all others out for days.
    pub(super) fn makes_room(&mut self) -> bool {
        if self.pairs.len() < PAIRS_BUSY_MAX {
            return true;
        }
        match self.least(Pair::may_yield) {
            Some((worth, key)) if worth < Worth::Given(Bytes::ZERO) => self.forget(key),
            _ => return false,
        }
        true
    }

    /// Whose loss is the least of those that may go, the one not seen for longest. Looks at every
    /// pair.
    fn least(&self, may_go: impl Fn(&Pair) -> bool) -> Option<(Worth, NodeId)> {
        let idle = self.pairs.values().filter(|pair| may_go(pair));
        let ranked = idle.map(|pair| (pair.worth(), pair.seen_at, pair.key));
        ranked.min().map(|(worth, _, key)| (worth, key))
    }

    /// Removes the rows of locks that are over.
    pub(super) fn gone(&mut self, locks: Vec<Lock>) {
        let keys = locks.into_iter().flat_map(lock_keys);
        self.tally(keys.map(TallyRow::Gone).collect());
    }

    fn forget(&mut self, key: NodeId) {
        let pair = self.pairs.remove(&key);
        self.wakes.set(key, None);
        let keys = pair.iter().flat_map(|pair| pair.stored_keys());
        self.tally(keys.map(TallyRow::Gone).collect());
    }
}
