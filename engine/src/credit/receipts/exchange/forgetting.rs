//! What is not remembered for ever: pairs that nobody needs, and locks whose credit has returned.
//!
//! A pair is forgotten in memory and in the tally at once, so that a start knows what the run
//! before knew. One between whom nothing ever moved lives as long as its connections. Of the
//! others many are kept; beyond that bound those yield whose loss is the least ([`Worth`]), and
//! none to one that is worth less.

use seedbank_ledger::NodeId;
use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::tally::{TallyKey, TallyRow};

use crate::credit::receipts::exchange::Exchange;
use crate::credit::receipts::limits::PAIRS_MAX;
use crate::credit::receipts::pair::{Pair, Worth};

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

    /// Removes the rows of locks that are over.
    pub(super) fn gone(&mut self, locks: Vec<Lock>) {
        let keys = locks.iter().flat_map(|lock| {
            let channel = lock.channel();
            [TallyKey::Lock(lock.lock_id), TallyKey::Receipt(channel)]
        });
        self.tally(keys.map(TallyRow::Gone).collect());
    }

    fn forget(&mut self, key: NodeId) {
        let pair = self.pairs.remove(&key);
        self.wakes.set(key, None);
        let keys = pair.iter().flat_map(Pair::stored_keys);
        self.tally(keys.map(TallyRow::Gone).collect());
    }
}
