//! Which lock each number stands for, over all pairs and both roles. A settlement node that lost
//! entries gives numbers out again, or opens an old order's lock under a new number.

use std::collections::BTreeMap;

use seedbank_ledger::NodeId;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::OrderHash;

/// Most locks whose names are remembered; of more, the lowest numbers are forgotten.
const NAMES_MAX: usize = 65_536;

/// The names of the locks that were believed in this run.
#[derive(Debug, Default)]
pub struct LockNames {
    by_number: BTreeMap<LockId, (OrderHash, [NodeId; 2])>,
    by_order: BTreeMap<OrderHash, LockId>,
}

impl LockNames {
    /// Whether nothing known says otherwise: one number, one opening order, one payer and payee.
    pub fn agree(&self, lock: &Lock) -> bool {
        let parties = [lock.payer, lock.payee];
        let number = self.by_order.get(&lock.opening_order);
        let named = self.by_number.get(&lock.lock_id);
        number.is_none_or(|number| *number == lock.lock_id)
            && named.is_none_or(|named| *named == (lock.opening_order, parties))
    }

    /// The locks that a contradicting one is up against: of its number, and of its order.
    pub fn rivals(&self, lock: &Lock) -> impl Iterator<Item = (LockId, [NodeId; 2])> {
        let by_order = self.by_order.get(&lock.opening_order).copied();
        let numbers = [
            Some(lock.lock_id),
            by_order.filter(|id| *id != lock.lock_id),
        ];
        numbers
            .into_iter()
            .flatten()
            .filter_map(|id| Some((id, self.by_number.get(&id)?.1)))
    }

    /// Whether a lock of this order is known.
    pub fn know(&self, opening_order: OrderHash) -> bool {
        self.by_order.contains_key(&opening_order)
    }

    /// Takes in a lock that agrees and is believed.
    pub fn learn(&mut self, lock: &Lock) {
        assert!(self.agree(lock), "what contradicts is not believed");
        let parties = [lock.payer, lock.payee];
        let name = (lock.opening_order, parties);
        self.by_number.insert(lock.lock_id, name);
        self.by_order.insert(lock.opening_order, lock.lock_id);
        if self.by_number.len() > NAMES_MAX
            && let Some((_, (order, _))) = self.by_number.pop_first()
        {
            self.by_order.remove(&order);
        }
        self.check_invariants();
    }

    /// Asserts that both ways of looking lead to the same.
    pub fn check_invariants(&self) {
        assert!(self.by_number.len() <= NAMES_MAX, "names are bounded");
        assert_eq!(
            self.by_number.len(),
            self.by_order.len(),
            "each number has one order"
        );
    }
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::{MicroCredits, NetworkId, UnixTime};

    use super::*;

    fn lock(number: u64, order: u8, payer: u8) -> Lock {
        Lock {
            network_id: NetworkId::from_bytes([1; 32]),
            lock_id: LockId::new(number),
            opening_order: OrderHash::from_bytes([order; 32]),
            payer: NodeId::from_bytes([payer; 32]),
            payee: NodeId::from_bytes([9; 32]),
            amount: MicroCredits::new(1),
            expires_at: UnixTime::from_secs(1),
            grace_secs: 1,
        }
    }

    #[test]
    fn a_number_stands_for_one_order_and_pair_and_an_order_for_one_number() {
        let mut names = LockNames::default();
        names.learn(&lock(1, 1, 1));
        assert!(names.agree(&lock(1, 1, 1)));
        assert!(names.agree(&lock(2, 2, 1)));
        assert!(!names.agree(&lock(1, 2, 1)), "another order");
        assert!(!names.agree(&lock(1, 1, 2)), "another payer");
        assert!(!names.agree(&lock(2, 1, 1)), "another number");
    }

    #[test]
    fn the_lowest_numbers_are_forgotten() {
        let mut names = LockNames::default();
        for number in 0..u64::try_from(NAMES_MAX).unwrap() + 1 {
            let mut lock = lock(number, 0, 1);
            let mut order = [0; 32];
            order[..8].copy_from_slice(&number.to_le_bytes());
            lock.opening_order = OrderHash::from_bytes(order);
            names.learn(&lock);
        }
        assert!(names.agree(&lock(0, 0xee, 1)), "forgotten");
        assert!(!names.agree(&lock(1, 0xee, 1)));
    }
}
