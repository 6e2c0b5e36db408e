//! A settlement node in a hundred lines, written apart from the real one: what a wallet may expect.

use std::collections::BTreeMap;

use seedbank_ledger::entry::EntryHash;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::certificate::Certificate;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::{OrderKind, SignedOrder};
use seedbank_ledger::statement::{AccountStatus, LockStatus, Operation, StatementLine};
use seedbank_ledger::{Identity, MicroCredits, NetworkId, NodeId, Sequence, UnixTime};

use crate::session::config::Network;
use crate::session::settlement::{SettlementReply, SettlementRequest};

pub(crate) const GRACE_SECS: u32 = 86_400;
const NETWORK: NetworkId = NetworkId::from_bytes([9; 32]);

#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) available: u64,
    pub(crate) nonce: u64,
    /// Every order by its nonce, with its outcome.
    pub(crate) orders: BTreeMap<u64, (SignedOrder, Option<Refusal>)>,
    lines: Vec<StatementLine>,
}

/// The shared ledger of a network, and everything that was ever sent to it.
#[derive(Debug)]
pub(crate) struct Model {
    key: Identity,
    pub(crate) time: UnixTime,
    next: u64,
    granted: u64,
    pub(crate) accounts: BTreeMap<NodeId, Account>,
    pub(crate) locks: BTreeMap<LockId, LockStatus>,
    /// First body seen for each account and nonce.
    pub(crate) bodies: BTreeMap<(NodeId, u64), SignedOrder>,
    /// Orders that came with a nonce seen before and another body.
    pub(crate) equivocations: u32,
}

impl Model {
    pub(crate) fn new(time: UnixTime) -> Self {
        Self {
            key: Identity::from_secret([77; 32]),
            time,
            next: 1,
            granted: 0,
            accounts: BTreeMap::new(),
            locks: BTreeMap::new(),
            bodies: BTreeMap::new(),
            equivocations: 0,
        }
    }

    pub(crate) fn network(&self) -> Network {
        Network {
            id: NETWORK,
            settlement: self.key.id(),
        }
    }

    /// Creates credit, as a transfer from an issuer of unbounded means.
    pub(crate) fn grant(&mut self, to: NodeId, amount: u64, issuer: &Identity) {
        let body = seedbank_ledger::signed::order::Order {
            network_id: NETWORK,
            account: issuer.id(),
            nonce: self.next,
            valid_until: self.time,
            kind: OrderKind::Grant {
                to,
                amount: MicroCredits::new(amount),
            },
            memo_hash: [0; 32],
        };
        let order = body.sign(issuer);
        self.granted += amount;
        self.accounts.entry(to).or_default().available += amount;
        self.line(&[to], Operation::Order(order), None, amount, None);
    }

    /// The answer to `what`, asked by `account`.
    pub(crate) fn handle(&mut self, account: NodeId, what: &SettlementRequest) -> SettlementReply {
        self.accounts.entry(account).or_default();
        match what {
            SettlementRequest::Submit { order, after } => {
                let (refusal, used_by) = self.submit(order);
                self.lines(account, *after, refusal, used_by)
            }
            SettlementRequest::Claim { claim, after } => {
                let refusal = self.claim(claim);
                self.lines(account, *after, refusal, None)
            }
            SettlementRequest::Statement { after } => self.lines(account, *after, None, None),
            SettlementRequest::Lock(id) => SettlementReply::Lock(self.locks.get(id).copied()),
        }
    }

    /// Closes what is past expiry and grace.
    pub(crate) fn expire(&mut self) {
        let over: Vec<LockId> = self
            .locks
            .iter()
            .filter(|(_, s)| !s.closed && self.time > s.lock.body.returns_at())
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.close(id, Operation::Expiry(id));
        }
    }

    pub(crate) fn check(&self) {
        let free: u64 = self
            .accounts
            .values()
            .map(|account| account.available)
            .sum();
        let locked: u64 = self.locks.values().map(left).sum();
        assert_eq!(free + locked, self.granted, "supply");
    }

    pub(crate) fn account(&self, account: NodeId) -> AccountStatus {
        let reserved = self.locks.values().filter(|s| s.lock.body.payer == account);
        AccountStatus {
            account,
            available: MicroCredits::new(self.accounts[&account].available),
            reserved: MicroCredits::new(reserved.map(left).sum()),
            nonce: self.accounts[&account].nonce,
        }
    }

    /// All lines of an account.
    pub(crate) fn statement(&self, account: NodeId) -> SettlementReply {
        self.lines(account, None, None, None)
    }

    fn submit(&mut self, order: &SignedOrder) -> (Option<Refusal>, Option<Box<SignedOrder>>) {
        let body = order.body;
        assert!(order.verify(&body.account).is_ok(), "orders are signed");
        let first = self
            .bodies
            .entry((body.account, body.nonce))
            .or_insert(*order);
        if first.body != body {
            self.equivocations += 1;
        }
        let account = self.accounts.entry(body.account).or_default();
        if body.nonce <= account.nonce {
            let (used, refusal) = account.orders[&body.nonce];
            return if used.body == body {
                (refusal.or(Some(Refusal::AlreadyDone)), None)
            } else {
                (Some(Refusal::WrongNonce), Some(Box::new(used)))
            };
        }
        if body.nonce != account.nonce + 1 {
            return (Some(Refusal::WrongNonce), None);
        }
        account.nonce = body.nonce;
        let result = if self.time > body.valid_until {
            Err(Refusal::Expired)
        } else {
            self.apply(order)
        };
        let refusal = result.err();
        if let Some(refusal) = refusal {
            self.line(
                &[body.account],
                Operation::Order(*order),
                Some(refusal),
                0,
                None,
            );
        }
        let orders = &mut self.accounts.get_mut(&body.account).unwrap().orders;
        orders.insert(body.nonce, (*order, refusal));
        (refusal, None)
    }

    fn apply(&mut self, order: &SignedOrder) -> Result<(), Refusal> {
        let payer = order.body.account;
        let operation = Operation::Order(*order);
        match order.body.kind {
            OrderKind::Transfer { to, amount } => {
                self.take(payer, amount)?;
                self.accounts.entry(to).or_default().available += amount.get();
                self.line(&[payer, to], operation, None, amount.get(), None);
            }
            OrderKind::OpenLock {
                payee,
                amount,
                ttl_secs,
            } => {
                let live = |s: &LockStatus| {
                    let body = &s.lock.body;
                    (body.payer, body.payee) == (payer, payee)
                        && !s.closed
                        && self.time < body.expires_at
                        && s.claimed < body.amount
                };
                if self.locks.values().any(live) {
                    return Err(Refusal::LockExists);
                }
                self.take(payer, amount)?;
                let lock_id = LockId::new(self.next);
                let lock = Lock {
                    network_id: NETWORK,
                    lock_id,
                    payer,
                    payee,
                    amount,
                    expires_at: self.time.plus_secs(ttl_secs.into()),
                    grace_secs: GRACE_SECS,
                };
                self.put(lock, MicroCredits::ZERO, false);
                self.line(&[payer], operation, None, amount.get(), Some(lock_id));
            }
            OrderKind::TopUp {
                lock_id,
                amount,
                ttl_secs,
            } => {
                let status = *self.locks.get(&lock_id).ok_or(Refusal::LockUnknown)?;
                let mut lock = status.lock.body;
                if lock.payer != payer {
                    return Err(Refusal::NotParty);
                }
                if status.closed || self.time >= lock.expires_at {
                    return Err(Refusal::LockClosed);
                }
                self.take(payer, amount)?;
                lock.amount = lock.amount.checked_add(amount).unwrap();
                lock.expires_at = lock.expires_at.max(self.time.plus_secs(ttl_secs.into()));
                self.put(lock, status.claimed, false);
                self.line(&[payer], operation, None, amount.get(), Some(lock_id));
            }
            OrderKind::CloseLock { lock_id } => {
                let status = self.locks.get(&lock_id).ok_or(Refusal::LockUnknown)?;
                if status.lock.body.payee != payer {
                    return Err(Refusal::NotParty);
                }
                if status.closed {
                    return Err(Refusal::LockClosed);
                }
                self.close(lock_id, operation);
            }
            OrderKind::RotateKey { .. } | OrderKind::Grant { .. } | OrderKind::Burn { .. } => {
                return Err(Refusal::NotIssuer);
            }
        }
        Ok(())
    }

    fn claim(&mut self, claim: &SignedClaim) -> Option<Refusal> {
        let body = &claim.body;
        let Some(status) = self.locks.get(&body.lock_id).copied() else {
            return Some(Refusal::LockUnknown);
        };
        let lock = status.lock.body;
        assert!(
            body.receipt.verify(&lock.payer).is_ok(),
            "receipts are signed"
        );
        if status.closed {
            return Some(Refusal::LockClosed);
        }
        let due = body.receipt.body.amount.min(lock.amount);
        let Some(paid) = due
            .checked_sub(status.claimed)
            .filter(|paid| !paid.is_zero())
        else {
            return Some(Refusal::AlreadyDone);
        };
        self.accounts.get_mut(&lock.payee).unwrap().available += paid.get();
        self.put(lock, due, false);
        let operation = Operation::Claim(*claim);
        self.line(
            &[lock.payer, lock.payee],
            operation,
            None,
            paid.get(),
            Some(lock.lock_id),
        );
        None
    }

    fn close(&mut self, id: LockId, operation: Operation) {
        let status = self.locks[&id];
        let lock = status.lock.body;
        let back = left(&status);
        self.accounts.get_mut(&lock.payer).unwrap().available += back;
        self.put(lock, status.claimed, true);
        self.line(&[lock.payer, lock.payee], operation, None, back, Some(id));
    }

    fn take(&mut self, payer: NodeId, amount: MicroCredits) -> Result<(), Refusal> {
        let account = self.accounts.get_mut(&payer).unwrap();
        let rest = account.available.checked_sub(amount.get());
        account.available = rest.ok_or(Refusal::InsufficientCredit)?;
        Ok(())
    }

    fn put(&mut self, lock: Lock, claimed: MicroCredits, closed: bool) {
        let status = LockStatus {
            lock: lock.sign(&self.key),
            claimed,
            closed,
        };
        self.locks.insert(lock.lock_id, status);
    }

    fn line(
        &mut self,
        accounts: &[NodeId],
        operation: Operation,
        refusal: Option<Refusal>,
        amount: u64,
        lock: Option<LockId>,
    ) {
        let sequence = Sequence::new(self.next);
        self.next += 1;
        for id in accounts {
            let lock = lock.map(|id| self.locks[&id]);
            let account = self.accounts.entry(*id).or_default();
            let certificate = Certificate {
                network_id: NETWORK,
                sequence,
                entry_hash: EntryHash::from_bytes([3; 32]),
                time: self.time,
                account: *id,
                available_after: MicroCredits::new(account.available),
            };
            account.lines.push(StatementLine {
                operation: operation.clone(),
                refusal,
                amount: MicroCredits::new(amount),
                lock,
                certificate: certificate.sign(&self.key),
            });
        }
    }

    fn lines(
        &self,
        account: NodeId,
        after: Option<Sequence>,
        refusal: Option<Refusal>,
        used_by: Option<Box<SignedOrder>>,
    ) -> SettlementReply {
        let new = |line: &&StatementLine| Some(line.certificate.body.sequence) > after;
        let lines = self.accounts[&account].lines.iter().filter(new);
        SettlementReply::Lines {
            refusal,
            used_by,
            lines: lines.cloned().collect(),
            account: self.account(account),
        }
    }
}

fn left(status: &LockStatus) -> u64 {
    if status.closed {
        0
    } else {
        status.lock.body.amount.get() - status.claimed.get()
    }
}
