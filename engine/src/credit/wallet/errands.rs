//! What goes to the settlement node beside the one order: claims, questions about locks, and the
//! closes that wait for their turn to be ordered.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::MicroCredits;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;

use super::config::ERRANDS_MAX;

/// Each is repeated until it is answered; past [`ERRANDS_MAX`] of a kind further ones are dropped,
/// which the exchange's hourly claims and the next start make good.
#[derive(Clone, Debug, Default)]
pub(super) struct Errands {
    claims: BTreeMap<LockId, PendingClaim>,
    locks: BTreeSet<LockId>,
    closes: BTreeSet<LockId>,
}

/// A claim that is not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingClaim {
    pub(super) claim: SignedClaim,
}

impl Errands {
    /// A claim; a larger one for the same lock takes the place of a smaller.
    pub(super) fn claim(&mut self, claim: SignedClaim) {
        let lock_id = claim.body.lock_id;
        let known = self.claims.get(&lock_id);
        let larger = known.is_none_or(|known| amount(&claim) > amount(&known.claim));
        if larger && (known.is_some() || self.claims.len() < ERRANDS_MAX) {
            self.claims.insert(lock_id, PendingClaim { claim });
        }
        assert!(self.claims.len() <= ERRANDS_MAX, "claims are bounded");
    }

    /// Asserts that what waits is bounded and that a claim lies under its lock.
    pub(super) fn check_invariants(&self) {
        assert!(self.claims.len() <= ERRANDS_MAX, "claims are bounded");
        assert!(self.locks.len() <= ERRANDS_MAX, "questions are bounded");
        assert!(self.closes.len() <= ERRANDS_MAX, "closes are bounded");
        for (lock_id, errand) in &self.claims {
            assert_eq!(
                *lock_id, errand.claim.body.lock_id,
                "a claim lies under its lock"
            );
        }
    }

    pub(super) fn ask(&mut self, lock_id: LockId) {
        if self.locks.len() < ERRANDS_MAX {
            self.locks.insert(lock_id);
        }
    }

    pub(super) fn close(&mut self, lock_id: LockId) {
        if self.closes.len() < ERRANDS_MAX {
            self.closes.insert(lock_id);
        }
    }

    /// Takes the next lock whose close is to be ordered: one with nothing left to claim.
    pub(super) fn pop_close(&mut self) -> Option<LockId> {
        let ready = |id: &&LockId| !self.claims.contains_key(*id);
        let lock_id = *self.closes.iter().find(ready)?;
        assert!(self.closes.remove(&lock_id), "a close is ordered once");
        assert!(
            !self.claims.contains_key(&lock_id),
            "a lock is claimed before it is closed"
        );
        Some(lock_id)
    }

    /// A claim up to `claimed` was answered, whatever the answer.
    pub(super) fn claim_answered(&mut self, lock_id: LockId, claimed: MicroCredits) {
        let done = |errand: &PendingClaim| amount(&errand.claim) <= claimed;
        if self.claims.get(&lock_id).is_some_and(done) {
            self.claims.remove(&lock_id);
        }
    }

    pub(super) fn lock_told(&mut self, lock_id: LockId) {
        self.locks.remove(&lock_id);
    }

    pub(super) fn claims(&self) -> impl Iterator<Item = (LockId, PendingClaim)> {
        self.claims.iter().map(|(id, errand)| (*id, *errand))
    }

    pub(super) fn locks(&self) -> impl Iterator<Item = LockId> {
        self.locks.iter().copied()
    }

    pub(super) fn has_closes(&self) -> bool {
        !self.closes.is_empty()
    }

    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }
}

fn amount(claim: &SignedClaim) -> MicroCredits {
    claim.body.receipt.body.amount
}
