//! What became of our claims: receipts that this node lost and had claimed with, and locks that
//! nothing can be claimed on before their payer has shown what is missing (P5).

use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Instant, NodeId};

use crate::credit::event::CreditEvent;
use crate::credit::receipts::exchange::syncing::ReceiptSource;
use crate::credit::receipts::exchange::{Exchange, receipt_row};
use crate::credit::receipts::incoming::Freshness;

impl Exchange {
    /// A line of ours says that we claimed so, from a lock of this payer's. A folder that was
    /// restored has the receipt again by it.
    pub fn claim_certified(&mut self, payer: NodeId, claim: &SignedClaim, at: Instant) {
        let (lock_id, receipt) = (claim.body.lock_id, claim.body.receipt);
        let pair = self.pairs.get(&payer);
        let lock = pair.and_then(|pair| pair.payee.locks.get(&lock_id));
        let Some(lock) = lock.filter(|lock| {
            let named = (lock.lock.body.network_id, lock.channel_id);
            named == (receipt.body.network_id, receipt.body.channel_id)
        }) else {
            return;
        };
        let channel = lock.lock.body.channel();
        if claim.verify_by(self.scheme(), &self.id()).is_err()
            || receipt.verify_by(self.scheme(), &payer).is_err()
        {
            return;
        }
        self.settle(payer, ReceiptSource::Lock(lock_id), at);
        let now = self.clock.now(at);
        let pair = self.pair_mut(payer);
        let Some(lock) = pair.payee.locks.get_mut(&lock_id) else {
            return;
        };
        match Freshness::of(&receipt.body, lock.incoming.held()) {
            Freshness::Known => lock.restored(&receipt.body),
            // What is held was signed by who had seen less than was claimed: it is worth nothing.
            Freshness::Crossed => lock.regressed(),
            Freshness::Newer => {
                lock.restored(&receipt.body);
                pair.payee.accept(lock_id, receipt, now);
                pair.payee.reconsider(at);
                let mut rows = vec![TallyRow::Pair(pair.row())];
                rows.extend(receipt_row(channel, Some(&receipt)));
                self.tally(rows);
            }
        }
        self.tell_behind(payer, lock_id);
        self.requote(payer, at);
        self.relieve(payer);
        self.turn(payer, at);
    }

    /// A claim was refused because a total in its receipt is below that of an earlier claim.
    pub fn claim_regressed(&mut self, lock_id: LockId, at: Instant) {
        let mut pairs = self.pairs.iter_mut();
        let found = pairs.find_map(|(key, pair)| {
            let lock = pair.payee.locks.get_mut(&lock_id)?;
            Some((*key, lock))
        });
        let Some((key, lock)) = found else {
            return;
        };
        lock.regressed();
        self.tell_behind(key, lock_id);
        self.turn(key, at);
    }

    /// Tells the owner, once, why nothing is served on a lock any more, and asks its payer for what
    /// it signed.
    pub(super) fn tell_behind(&mut self, key: NodeId, lock_id: LockId) {
        let signer = self.setup.network.map(|network| network.settlement);
        let Some(lock) = self.pair_mut(key).payee.locks.get_mut(&lock_id) else {
            return;
        };
        if let Some(signer) = signer
            && lock.is_to_tell_behind()
        {
            let (claimed, worth) = (lock.claimed, lock.worth());
            let what = format!(
                "of lock {lock_id}, from {key}, {claimed} were claimed, with receipts that are not \
                 here, where those held are worth {worth}: this data folder is an older copy, or \
                 that is not so; nothing is served on it before its payer shows them"
            );
            self.put(CreditEvent::Conflict { signer, what });
            self.ask_sync(key);
        }
    }
}
