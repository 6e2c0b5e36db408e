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
        let idle = self.pairs.values().filter(|pair| pair.is_forgettable());
        let least = idle.min_by_key(|pair| (pair.worth(), pair.seen_at));
        if let Some(key) = least.map(|pair| pair.key) {
            self.forget(key);
        }
    }

    /// Whether there is room for one more key. At the bound one that only took yields, if every
    /// lock from it was closed: locks that nothing was paid on would keep all others out for days.
    pub(super) fn makes_room(&mut self) -> bool {
        if self.pairs.len() < PAIRS_BUSY_MAX {
            return true;
        }
        let idle = self.pairs.values().filter(|pair| pair.may_yield());
        let idle = idle.filter(|pair| pair.worth() < Worth::Given(Bytes::ZERO));
        let least = idle.min_by_key(|pair| (pair.worth(), pair.seen_at));
        let least = least.map(|pair| pair.key);
        if let Some(key) = least {
            self.forget(key);
        }
        least.is_some()
    }

    /// Removes the rows of locks that are over.
    pub(super) fn gone(&mut self, locks: Vec<Lock>) {
        let keys = locks.into_iter().flat_map(lock_keys);
        self.tally(keys.map(TallyRow::Gone).collect());
    }

    fn forget(&mut self, key: NodeId) {
        let pair = self.pairs.remove(&key);
        self.wakes.set(key, None);
        let keys = pair.iter().flat_map(Pair::stored_keys);
        self.tally(keys.map(TallyRow::Gone).collect());
    }
}
