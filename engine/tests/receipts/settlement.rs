//! A settlement node reduced to what receipts need: accounts, locks, claims, closes and expiry.

use std::collections::BTreeMap;

use seedbank_engine::credit::network::Network;
use seedbank_ledger::genesis::Limits;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::{Lock, LockId, SignedLock};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Identity, MicroCredits, NetworkId, NodeId, Rate, UnixTime};

pub(crate) const GRACE_SECS: u32 = 24 * 3_600;

pub(crate) struct Settlement {
    pub(crate) identity: Identity,
    pub(crate) network: Network,
    available: BTreeMap<NodeId, u64>,
    pub(crate) locks: BTreeMap<LockId, LockStatus>,
    /// The newest claim that was paid, by lock.
    pub(crate) paid: BTreeMap<LockId, SignedClaim>,
    supply: u64,
    next_lock: u64,
}

impl Settlement {
    pub(crate) fn new() -> Self {
        let identity = Identity::from_secret([200; 32]);
        let network = Network {
            id: NetworkId::from_bytes([9; 32]),
            settlement: identity.id(),
            limits: Limits::default(),
            par_price: Rate::PAR,
        };
        Self {
            identity,
            network,
            available: BTreeMap::new(),
            locks: BTreeMap::new(),
            paid: BTreeMap::new(),
            supply: 0,
            next_lock: 10,
        }
    }

    pub(crate) fn grant(&mut self, to: NodeId, amount: u64) {
        *self.available.entry(to).or_default() += amount;
        self.supply += amount;
    }

    pub(crate) fn available(&self, of: NodeId) -> u64 {
        self.available.get(&of).copied().unwrap_or(0)
    }

    /// All that one account has free goes to another.
    pub(crate) fn hand_over(&mut self, from: NodeId, to: NodeId) {
        let amount = self.available.remove(&from).unwrap_or(0);
        *self.available.entry(to).or_default() += amount;
    }

    /// Opens a lock, unless a live one of this pair exists.
    pub(crate) fn open(
        &mut self,
        payer: NodeId,
        payee: NodeId,
        amount: u64,
        ttl_secs: u64,
        now: UnixTime,
    ) -> Option<LockStatus> {
        let live = self.locks.values().any(|lock| {
            let body = lock.lock.body;
            !lock.closed
                && (body.payer, body.payee) == (payer, payee)
                && now < body.expires_at
                && lock.claimed < body.amount
        });
        if live || self.available(payer) < amount {
            return None;
        }
        *self.available.entry(payer).or_default() -= amount;
        self.next_lock += 1;
        let body = Lock {
            network_id: self.network.id,
            lock_id: LockId::new(self.next_lock),
            opening_order: opened_by(self.next_lock),
            payer,
            payee,
            amount: MicroCredits::new(amount),
            expires_at: now.plus_secs(ttl_secs),
            grace_secs: GRACE_SECS,
        };
        let status = LockStatus {
            lock: body.sign(&self.identity),
            claimed: MicroCredits::ZERO,
            closed: false,
        };
        self.locks.insert(body.lock_id, status);
        Some(status)
    }

    pub(crate) fn top_up(
        &mut self,
        lock_id: LockId,
        amount: u64,
        ttl_secs: u64,
        now: UnixTime,
    ) -> Option<LockStatus> {
        let mut status = *self.locks.get(&lock_id)?;
        let mut body = status.lock.body;
        if status.closed || now >= body.expires_at || self.available(body.payer) < amount {
            return None;
        }
        *self.available.entry(body.payer).or_default() -= amount;
        body.amount = MicroCredits::new(body.amount.get() + amount);
        body.expires_at = body.expires_at.max(now.plus_secs(ttl_secs));
        status.lock = body.sign(&self.identity);
        self.locks.insert(lock_id, status);
        Some(status)
    }

    /// Pays a claim; a wrong one changes nothing and panics, for honest nodes make none.
    pub(crate) fn claim(&mut self, claim: &SignedClaim) -> Option<LockStatus> {
        let body = claim.body;
        let status = self.locks.get_mut(&body.lock_id)?;
        let lock = status.lock.body;
        assert_eq!(body.payee, lock.payee, "only the payee claims");
        claim.verify(&lock.payee).expect("a claim is signed");
        let receipt = body.receipt;
        receipt
            .verify(&lock.payer)
            .expect("a claimed receipt is signed");
        assert_eq!(receipt.body.channel_id, lock.channel().id());
        if !status.closed {
            let pays = receipt.body.amount.min(lock.amount);
            let more = pays.saturating_sub(status.claimed);
            status.claimed = status.claimed.max(pays);
            if !more.is_zero() {
                self.paid.insert(body.lock_id, *claim);
            }
            *self.available.entry(lock.payee).or_default() += more.get();
        }
        self.status(body.lock_id)
    }

    /// Whether a total of the claim's receipt is below that of one that was paid.
    pub(crate) fn is_regressed(&self, claim: &SignedClaim) -> bool {
        let receipt = claim.body.receipt.body;
        let paid = self.paid.get(&claim.body.lock_id);
        paid.map(|paid| paid.body.receipt.body)
            .is_some_and(|paid| receipt.bytes < paid.bytes || receipt.amount < paid.amount)
    }

    pub(crate) fn close(&mut self, payee: NodeId, lock_id: LockId) -> Option<LockStatus> {
        let status = self.locks.get_mut(&lock_id)?;
        assert_eq!(status.lock.body.payee, payee, "only the payee closes");
        if !status.closed {
            status.closed = true;
            let lock = status.lock.body;
            let left = lock.amount.get() - status.claimed.get();
            *self.available.entry(lock.payer).or_default() += left;
        }
        self.status(lock_id)
    }

    pub(crate) fn expire(&mut self, now: UnixTime) {
        for status in self.locks.values_mut() {
            let lock = status.lock.body;
            if !status.closed && now > lock.returns_at() {
                status.closed = true;
                let left = lock.amount.get() - status.claimed.get();
                *self.available.entry(lock.payer).or_default() += left;
            }
        }
    }

    pub(crate) fn status(&self, lock_id: LockId) -> Option<LockStatus> {
        self.locks.get(&lock_id).copied()
    }

    /// The newest open lock of a pair.
    pub(crate) fn open_lock(&self, payer: NodeId, payee: NodeId) -> Option<LockStatus> {
        let mut open = self.locks.values().rev().filter(|status| {
            let body = status.lock.body;
            !status.closed && (body.payer, body.payee) == (payer, payee)
        });
        open.next().copied()
    }

    /// A lock that nobody's settlement node signed.
    pub(crate) fn forged(&self, lock: &SignedLock) -> SignedLock {
        lock.body.sign(&Identity::from_secret([201; 32]))
    }

    /// L1 to L3.
    pub(crate) fn check(&self) {
        let escrow: u64 = self
            .locks
            .values()
            .filter(|status| !status.closed)
            .map(|status| status.lock.body.amount.get() - status.claimed.get())
            .sum();
        let available: u64 = self.available.values().sum();
        assert_eq!(self.supply, available + escrow, "L1: credit is conserved");
        for status in self.locks.values() {
            assert!(status.claimed <= status.lock.body.amount, "L3");
        }
    }
}

/// The order that opened a lock, which nobody here looks into.
fn opened_by(lock: u64) -> OrderHash {
    let mut hash = [0x0d; 32];
    hash[..8].copy_from_slice(&lock.to_le_bytes());
    OrderHash::from_bytes(hash)
}
