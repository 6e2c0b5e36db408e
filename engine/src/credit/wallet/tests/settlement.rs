//! The settlement node of the tests: the real network ledger over a memory store, and a record of
//! everything that was ever sent to it.

use std::collections::BTreeMap;

use seedbank_ledger::charts::network::{LINES_MAX, NetworkLedger};
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::Statement;
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::statement::{AccountStatus, LockStatus, Operation};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Identity, MicroCredits, NodeId, Sequence, UnixTime};

use crate::credit::network::Network;
use crate::credit::settlement::{SettlementAnswer, SettlementRequest};

/// Steps between two checks of every row.
const CHECK_EVERY: u32 = 300;

/// A settlement node.
#[derive(Debug)]
pub(crate) struct Settlement {
    ledger: NetworkLedger<Memory>,
    network: Network,
    issuer: Identity,
    issued: u64,
    checks: u32,
    pub(crate) time: UnixTime,
    /// Every lock as it stands.
    pub(crate) locks: BTreeMap<LockId, LockStatus>,
    /// The order that used each nonce, with its outcome.
    pub(crate) orders: BTreeMap<(NodeId, u64), (SignedOrder, Option<Refusal>)>,
    /// First order seen for each account and nonce.
    seen: BTreeMap<(NodeId, u64), SignedOrder>,
    /// Orders that came with a nonce seen before and another body.
    pub(crate) equivocations: u32,
}

impl Settlement {
    pub(crate) fn new(time: UnixTime) -> Self {
        Self::founded(time, |genesis| genesis)
    }

    /// With a genesis file that is not the default one.
    pub(crate) fn founded(time: UnixTime, change: fn(String) -> String) -> Self {
        let key = Identity::from_secret([77; 32]);
        let issuer = Identity::from_secret([8; 32]);
        let text = Genesis::render("test", key.id(), &[issuer.id()]).unwrap();
        let text = text.replace(
            "transfer_microcredits_min = 1000",
            "transfer_microcredits_min = 1",
        );
        let genesis = Genesis::parse(&change(text)).unwrap();
        let network = Network::of(&genesis);
        Self {
            ledger: NetworkLedger::found(Memory::new(), genesis, key, time).unwrap(),
            network,
            issuer,
            issued: 0,
            checks: 0,
            time,
            locks: BTreeMap::new(),
            orders: BTreeMap::new(),
            seen: BTreeMap::new(),
            equivocations: 0,
        }
    }

    pub(crate) fn network(&self) -> Network {
        self.network
    }

    /// Creates credit.
    pub(crate) fn grant(&mut self, to: NodeId, amount: u64) {
        self.issued += 1;
        let order = Order {
            network_id: self.network.id,
            account: self.issuer.id(),
            nonce: self.issued,
            valid_until: self.time,
            kind: OrderKind::Grant {
                to,
                amount: MicroCredits::new(amount),
            },
            memo_hash: [0; 32],
        };
        let order = order.sign(&self.issuer);
        let outcome = self.append(Operation::Order(order));
        assert_eq!(outcome.refusal(), None, "grants are good");
    }

    /// The answer to `what`, asked by `account`.
    pub(crate) fn handle(&mut self, account: NodeId, what: &SettlementRequest) -> SettlementAnswer {
        match what {
            SettlementRequest::Submit { order, after } => {
                let (refusal, used_by) = self.submit(order);
                SettlementAnswer::Statement(self.page(account, *after, refusal, used_by))
            }
            SettlementRequest::Claim { claim, after } => {
                let refusal = self.append(Operation::Claim(*claim)).refusal();
                SettlementAnswer::Statement(self.page(account, *after, refusal, None))
            }
            SettlementRequest::Statement { after } => {
                SettlementAnswer::Statement(self.page(account, *after, None, None))
            }
            SettlementRequest::Lock(id) => SettlementAnswer::Lock(self.ledger.lock(*id).unwrap()),
        }
    }

    /// Closes what is past expiry and grace.
    pub(crate) fn expire(&mut self) {
        let over = |status: &LockStatus| self.time > status.lock.body.returns_at();
        let open = self.locks.values().filter(|status| !status.closed);
        if open.filter(|status| over(status)).count() == 0 {
            return;
        }
        self.ledger.append(self.time, &[]).unwrap();
        let ids: Vec<LockId> = self.locks.keys().copied().collect();
        ids.into_iter().for_each(|id| self.refresh(id));
    }

    /// All lines of an account, up to a page.
    pub(crate) fn statement(&self, account: NodeId) -> Statement {
        self.page(account, None, None, None)
    }

    pub(crate) fn account(&self, account: NodeId) -> AccountStatus {
        self.ledger.account(&account).unwrap()
    }

    /// Checks every row now and then.
    pub(crate) fn check(&mut self) {
        self.checks += 1;
        if self.checks.is_multiple_of(CHECK_EVERY) {
            self.ledger.check_invariants().unwrap();
        }
    }

    /// Makes the ledger again from its entries and compares.
    pub(crate) fn check_all(&self) {
        self.ledger.check_invariants().unwrap();
        self.ledger.check().unwrap();
    }

    fn submit(&mut self, order: &SignedOrder) -> (Option<Refusal>, Option<Box<SignedOrder>>) {
        let slot = (order.body.account, order.body.nonce);
        if self.seen.entry(slot).or_insert(*order).body != order.body {
            self.equivocations += 1;
        }
        let outcome = self.append(Operation::Order(*order));
        let refusal = outcome.refusal();
        match outcome {
            Outcome::NonceUsed { order, .. } => (refusal, Some(order)),
            Outcome::Entered { sequence, .. } => {
                self.orders.insert(slot, (*order, refusal));
                if let (OrderKind::OpenLock { .. }, None) = (order.body.kind, refusal) {
                    let id = LockId::new(sequence.get());
                    self.locks
                        .insert(id, self.ledger.lock(id).unwrap().unwrap());
                }
                (refusal, None)
            }
            Outcome::Known { .. } | Outcome::Refused(_) => (refusal, None),
        }
    }

    fn append(&mut self, operation: Operation) -> Outcome {
        let touched = match &operation {
            Operation::Claim(claim) => Some(claim.body.lock_id),
            Operation::Order(order) => match order.body.kind {
                OrderKind::TopUp { lock_id, .. } | OrderKind::CloseLock { lock_id } => {
                    Some(lock_id)
                }
                _ => None,
            },
            Operation::Expiry(_) => None,
        };
        let outcomes = self.ledger.append(self.time, &[operation]).unwrap();
        touched.into_iter().for_each(|id| self.refresh(id));
        outcomes.into_iter().next().expect("one outcome each")
    }

    fn refresh(&mut self, id: LockId) {
        if let Some(status) = self.locks.get_mut(&id).filter(|status| !status.closed) {
            *status = self.ledger.lock(id).unwrap().unwrap();
        }
    }

    fn page(
        &self,
        account: NodeId,
        after: Option<Sequence>,
        refusal: Option<Refusal>,
        used_by: Option<Box<SignedOrder>>,
    ) -> Statement {
        let lines = self.ledger.statement(&account, after, LINES_MAX).unwrap();
        Statement {
            refusal,
            used_by,
            more: lines.len() == LINES_MAX,
            lines,
            account: self.account(account),
        }
    }
}
