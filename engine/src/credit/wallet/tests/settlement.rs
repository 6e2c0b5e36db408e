//! The settlement node of the tests: the real network ledger over a memory store, and a record of
//! everything that was ever sent to it.

use std::collections::BTreeMap;

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::envelope::Sealer;
use seedbank_ledger::settlement::{AnswerBody, OperationAnswer, SettlementNode, Statement};
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::statement::{AccountStatus, LockStatus};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Identity, MicroCredits, NodeId, UnixTime};

use crate::credit::network::Network;
use crate::credit::settlement::{Envelope, SettlementAnswer, SettlementRequest};

/// Steps between two checks of every row.
const CHECK_EVERY: u32 = 300;

/// A settlement node.
#[derive(Debug)]
pub(crate) struct Settlement {
    node: SettlementNode<Memory>,
    sealer: Sealer,
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
        let ledger = NetworkLedger::found(Memory::new(), genesis, key, time).unwrap();
        let node = SettlementNode::new(ledger, None);
        Self {
            sealer: node.sealer(),
            node,
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
        let told = self.submit(order.sign(&self.issuer));
        assert_eq!(told.refusal, None, "grants are good");
    }

    /// The sealed answer to `what`.
    pub(crate) fn handle(&mut self, what: &SettlementRequest) -> Envelope {
        let answer = self.answer(what);
        self.seal(what, &answer)
    }

    /// The answer to `what`, as the settlement node would seal it.
    pub(crate) fn answer(&mut self, what: &SettlementRequest) -> SettlementAnswer {
        if let Err(refusal) = what.check(self.sealer.scheme(), self.network.id) {
            return SettlementAnswer::refused(self.time, refusal);
        }
        if let SettlementRequest::Submit { order, .. } = what {
            let slot = (order.body.account, order.body.nonce);
            if self.seen.entry(slot).or_insert(*order).body != order.body {
                self.equivocations += 1;
            }
        }
        let answers = self.node.answer(self.time, std::slice::from_ref(what));
        let answered = answers.into_iter().next().unwrap().unwrap();
        if answered.entered {
            self.entered(what, &answered.answer);
        }
        answered.answer
    }

    /// Any answer with the settlement node's seal.
    pub(crate) fn seal(&self, what: &SettlementRequest, answer: &SettlementAnswer) -> Envelope {
        self.sealer.seal(what.hash(), 0, answer)
    }

    /// What becomes of an order that is given elsewhere.
    pub(crate) fn submit(&mut self, order: SignedOrder) -> OperationAnswer {
        let random = [0; 16];
        operation(self.answer(&SettlementRequest::Submit { random, order }))
    }

    /// What becomes of a claim that is made elsewhere.
    pub(crate) fn claim(&mut self, claim: SignedClaim) -> OperationAnswer {
        let random = [0; 16];
        operation(self.answer(&SettlementRequest::Claim { random, claim }))
    }

    /// Closes what is past expiry and grace.
    pub(crate) fn expire(&mut self) {
        let over = |status: &LockStatus| self.time > status.lock.body.returns_at();
        let open = self.locks.values().filter(|status| !status.closed);
        if open.filter(|status| over(status)).count() == 0 {
            return;
        }
        self.node.tick(self.time).unwrap();
        let ids: Vec<LockId> = self.locks.keys().copied().collect();
        ids.into_iter().for_each(|id| self.refresh(id));
    }

    /// All lines of an account, up to a page.
    pub(crate) fn statement(&self, account: NodeId) -> Statement {
        let statement = self.node.statement(&account, None, usize::MAX);
        statement.unwrap()
    }

    pub(crate) fn account(&self, account: NodeId) -> AccountStatus {
        self.node.ledger().account(&account).unwrap()
    }

    /// Checks every row now and then.
    pub(crate) fn check(&mut self) {
        self.checks += 1;
        if self.checks.is_multiple_of(CHECK_EVERY) {
            self.node.ledger().check_invariants().unwrap();
        }
    }

    /// Makes the ledger again from its entries and compares.
    pub(crate) fn check_all(&self) {
        self.node.ledger().check_invariants().unwrap();
        self.node.ledger().check().unwrap();
    }

    /// Notes what a question changed.
    fn entered(&mut self, what: &SettlementRequest, answer: &SettlementAnswer) {
        match what {
            SettlementRequest::Submit { order, .. } => {
                let told = operation(answer.clone());
                let slot = (order.body.account, order.body.nonce);
                self.orders.insert(slot, (*order, told.refusal));
                match order.body.kind {
                    OrderKind::OpenLock { .. } if told.refusal.is_none() => {
                        let id = LockId::new(told.sequence.unwrap().get());
                        self.locks.insert(id, self.node.lock(id).unwrap().unwrap());
                    }
                    OrderKind::TopUp { lock_id, .. } | OrderKind::CloseLock { lock_id } => {
                        self.refresh(lock_id);
                    }
                    _ => {}
                }
            }
            SettlementRequest::Claim { claim, .. } => self.refresh(claim.body.lock_id),
            SettlementRequest::Read(_) => unreachable!("a read enters nothing"),
        }
    }

    fn refresh(&mut self, id: LockId) {
        if let Some(status) = self.locks.get_mut(&id).filter(|status| !status.closed) {
            *status = self.node.lock(id).unwrap().unwrap();
        }
    }
}

fn operation(answer: SettlementAnswer) -> OperationAnswer {
    let AnswerBody::Operation(told) = answer.body else {
        unreachable!("an operation is answered as one: {answer:?}");
    };
    *told
}
