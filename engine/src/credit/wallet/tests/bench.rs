//! Two wallets, their stores and the settlement node between them, in virtual time of one-second
//! steps.

use std::collections::VecDeque;

use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::signed::read::ReadKind;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::tally::LockRow;
use seedbank_ledger::{Bytes, Duration};

use super::settlement::Settlement;
use super::*;
use crate::credit::output::Errand;
use crate::credit::settlement::{SettlementAnswer, SettlementRequest};

/// What becomes of the next questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Unreachable,
    /// Neither delivered nor answered.
    Held,
}

/// What one node has on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) order: Option<OrderRow>,
    locks: BTreeMap<LockId, LockRow>,
    pub(super) lines: Vec<seedbank_ledger::statement::StatementLine>,
}

impl Stored {
    pub(super) fn write(&mut self, row: &TallyRow) {
        match row {
            TallyRow::Order(row) => self.order = Some(*row),
            TallyRow::Lock(_)
            | TallyRow::Receipt(_)
            | TallyRow::Pair(_)
            | TallyRow::Boost { .. }
            | TallyRow::Gone(_) => panic!("not a row of the wallet"),
        }
    }

    /// What the exchange writes when it hears of a lock.
    pub(super) fn write_lock(&mut self, status: &LockStatus) {
        let id = status.lock.body.lock_id;
        let known = self.locks.get(&id);
        let row = LockRow {
            lock: status.lock,
            claimed: status.claimed,
            closed: status.closed || known.is_some_and(|known| known.closed),
            close_asked: false,
        };
        self.locks.insert(id, row);
    }

    /// What was told of a lock.
    pub(super) fn lock(&self, id: LockId) -> Option<LockRow> {
        self.locks.get(&id).copied()
    }

    /// Own locks that are open, as far as this node knows.
    pub(super) fn own_locks(&self, own: NodeId) -> Vec<LockRow> {
        let mine = |row: &&LockRow| row.lock.body.payer == own && !row.closed;
        self.locks.values().filter(mine).copied().collect()
    }

    pub(super) fn append(&mut self, command: &NodeCommand) {
        let NodeCommand::Settled(line) = command else {
            panic!("a wallet appends settled lines");
        };
        let newest = self.lines.last().map(|line| line.certificate.body.sequence);
        assert!(
            Some(line.certificate.body.sequence) > newest,
            "lines are appended in order and once"
        );
        self.lines.push((**line).clone());
    }

    pub(super) fn book(&self, own: NodeId) -> WalletBook {
        let mut rows: Vec<TallyRow> = self.locks.values().copied().map(TallyRow::Lock).collect();
        rows.extend(self.order.map(TallyRow::Order));
        let transfers = self.lines.iter().filter_map(|line| match line.operation {
            seedbank_ledger::statement::Operation::Order(order) if order.body.account == own => {
                Some(order)
            }
            _ => None,
        });
        let newest = self.lines.last().map(|line| line.certificate.body);
        WalletBook {
            rows,
            as_of: newest.map(|body| (body.sequence, body.time)),
            available: newest.map_or(MicroCredits::ZERO, |body| body.available_after),
            transfers: transfers.collect(),
        }
    }
}

struct Node {
    identity: Arc<Identity>,
    wallet: Wallet,
    store: Stored,
    held: VecDeque<(u64, SettlementRequest)>,
    submissions: Vec<SignedOrder>,
    claims: u32,
    asked: u32,
    lock_questions: u32,
    events: Vec<CreditEvent>,
    /// What the exchange was told of claims, but for the locks.
    told: Vec<Errand>,
}

pub(super) struct Bench {
    pub(super) settlement: Settlement,
    nodes: Vec<Node>,
    pub(super) now: Instant,
    pub(super) unix: UnixTime,
    pub(super) fate: Fate,
    /// A backup was restored: a nonce may be signed again, once.
    pub(super) restored: bool,
}

impl Bench {
    /// Node 0 holds 10 cr, node 1 nothing.
    pub(super) fn new() -> Self {
        Self::founded(|genesis| genesis)
    }

    /// With a genesis file that is not the default one.
    pub(super) fn founded(change: fn(String) -> String) -> Self {
        let unix = UnixTime::from_secs(1_700_000_000);
        let mut settlement = Settlement::founded(unix, change);
        let nodes = [1, 2].map(|secret| {
            let identity = Arc::new(Identity::from_secret([secret; 32]));
            let book = WalletBook::default();
            Node {
                wallet: Wallet::new(
                    settlement.network(),
                    identity.clone(),
                    &book,
                    0,
                    Instant::ZERO,
                ),
                identity,
                store: Stored::default(),
                held: VecDeque::new(),
                submissions: Vec::new(),
                claims: 0,
                asked: 0,
                lock_questions: 0,
                events: Vec::new(),
                told: Vec::new(),
            }
        });
        settlement.grant(nodes[0].identity.id(), 10 * CREDIT);
        Self {
            settlement,
            nodes: nodes.into(),
            now: Instant::ZERO,
            unix,
            fate: Fate::Delivered,
            restored: false,
        }
    }

    pub(super) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].identity.id()
    }

    pub(super) fn wallet(&self, node: usize) -> &Wallet {
        &self.nodes[node].wallet
    }

    pub(super) fn view(&self, node: usize) -> WalletView {
        self.wallet(node)
            .view(MicroCredits::ZERO, MicroCredits::ZERO)
    }

    /// The newest lock.
    pub(super) fn lock(&self) -> LockId {
        *self
            .settlement
            .locks
            .keys()
            .next_back()
            .expect("a lock is open")
    }

    pub(super) fn held(&self, node: usize) -> usize {
        self.nodes[node].held.len()
    }

    pub(super) fn lock_questions(&self, node: usize) -> u32 {
        self.nodes[node].lock_questions
    }

    pub(super) fn store(&self, node: usize) -> &Stored {
        &self.nodes[node].store
    }

    pub(super) fn store_mut(&mut self, node: usize) -> &mut Stored {
        &mut self.nodes[node].store
    }

    pub(super) fn submissions(&self, node: usize) -> &[SignedOrder] {
        &self.nodes[node].submissions
    }

    pub(super) fn claims(&self, node: usize) -> u32 {
        self.nodes[node].claims
    }

    pub(super) fn asked(&self, node: usize) -> u32 {
        self.nodes[node].asked
    }

    pub(super) fn events(&self, node: usize) -> &[CreditEvent] {
        &self.nodes[node].events
    }

    pub(super) fn told(&self, node: usize) -> &[Errand] {
        &self.nodes[node].told
    }

    /// How often the settlement node contradicted itself or us.
    pub(super) fn conflicts(&self, node: usize) -> usize {
        let conflict = |event: &&CreditEvent| matches!(event, CreditEvent::Conflict { .. });
        self.events(node).iter().filter(conflict).count()
    }

    pub(super) fn with<T>(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut Wallet, Instant) -> T,
    ) -> T {
        let result = call(&mut self.nodes[node].wallet, self.now);
        self.nodes[node].wallet.tick(self.now, self.unix);
        self.drain(node);
        result
    }

    pub(super) fn restart(&mut self, node: usize) {
        let network = self.settlement.network();
        let node = &mut self.nodes[node];
        let book = node.store.book(node.identity.id());
        node.held.clear();
        let salt = self.now.as_nanos();
        node.wallet = Wallet::new(network, node.identity.clone(), &book, salt, self.now);
    }

    pub(super) fn run(&mut self, secs: u64) {
        for _ in 0..secs {
            self.skip(1);
        }
    }

    /// One long step.
    pub(super) fn skip(&mut self, secs: u64) {
        self.now = self.now.after(Duration::from_secs(secs));
        self.unix = self.unix.plus_secs(secs);
        self.settlement.time = self.settlement.time.plus_secs(secs);
        self.settlement.expire();
        for node in 0..self.nodes.len() {
            self.nodes[node].wallet.tick(self.now, self.unix);
            self.drain(node);
        }
        self.settlement.check();
        assert!(
            self.restored || self.settlement.equivocations == 0,
            "no nonce is signed twice"
        );
    }

    /// The settlement node answers the newest question that was held, as it is told to.
    pub(super) fn answer_newest(
        &mut self,
        node: usize,
        answer: impl FnOnce(&mut Settlement, &SettlementRequest) -> SettlementAnswer,
    ) {
        let (_, what) = self.nodes[node].held.back().expect("one is held").clone();
        let answer = answer(&mut self.settlement, &what);
        let envelope = self.settlement.seal(&what, &answer);
        self.deliver_newest(node, envelope);
    }

    /// The newest question that was held.
    pub(super) fn newest(&self, node: usize) -> SettlementRequest {
        self.nodes[node].held.back().expect("one is held").1.clone()
    }

    /// The oldest question that was held.
    pub(super) fn oldest(&self, node: usize) -> SettlementRequest {
        let held = self.nodes[node].held.front();
        held.expect("one is held").1.clone()
    }

    /// These bytes come as the answer to the oldest question that was held.
    pub(super) fn deliver_oldest(&mut self, node: usize, envelope: Envelope) {
        let (request, _) = self.nodes[node].held.pop_front().expect("one is held");
        self.nodes[node]
            .wallet
            .answer(request, Ok(envelope), self.now, self.unix);
        self.drain(node);
    }

    /// These bytes come as the answer to the newest question that was held.
    pub(super) fn deliver_newest(&mut self, node: usize, envelope: Envelope) {
        let (request, _) = self.nodes[node].held.pop_back().expect("one is held");
        self.nodes[node]
            .wallet
            .answer(request, Ok(envelope), self.now, self.unix);
        self.drain(node);
    }

    fn drain(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        while let Some(output) = node.wallet.poll_output() {
            match output {
                CreditOutput::Tally(rows) => rows.iter().for_each(|row| node.store.write(row)),
                CreditOutput::Append(command) => node.store.append(&command),
                CreditOutput::Errand(Errand::LockTold(status)) => node.store.write_lock(&status),
                CreditOutput::Errand(
                    errand @ (Errand::ClaimCertified { .. } | Errand::ClaimRegressed(_)),
                ) => node.told.push(errand),
                CreditOutput::Event(event) => node.events.push(event),
                CreditOutput::Settle { request, what } => {
                    node.asked += 1;
                    match &what {
                        SettlementRequest::Submit { order, .. } => {
                            let stored = node.store.order.expect("written before it leaves");
                            assert_eq!(stored.order, *order, "written before it leaves");
                            node.submissions.push(*order);
                        }
                        SettlementRequest::Claim { .. } => node.claims += 1,
                        SettlementRequest::Read(read) => {
                            let is_lock = matches!(read.body.kind, ReadKind::Lock(_));
                            node.lock_questions += u32::from(is_lock);
                        }
                    }
                    let answer = match self.fate {
                        Fate::Delivered => Ok(self.settlement.handle(&what)),
                        Fate::Unreachable => Err(Unreachable("down".to_owned())),
                        Fate::Held => {
                            node.held.push_back((request, what));
                            continue;
                        }
                    };
                    node.wallet.answer(request, answer, self.now, self.unix);
                }
                other => unreachable!("a wallet asks for nothing else: {other:?}"),
            }
            node.wallet.check_invariants();
        }
    }
}

/// A claim by node 1 of a receipt of node 0.
pub(super) fn claim(bench: &Bench, id: LockId, amount: u64) -> SignedClaim {
    let lock = bench.settlement.locks[&id].lock.body;
    signed_claim(
        &lock,
        amount,
        &bench.nodes[0].identity,
        &bench.nodes[1].identity,
    )
}

/// A claim on a lock, with the receipt behind it.
pub(super) fn signed_claim(
    lock: &Lock,
    amount: u64,
    payer: &Identity,
    payee: &Identity,
) -> SignedClaim {
    let channel = lock.channel();
    let receipt = Receipt {
        network_id: channel.network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(amount),
        amount: cr(amount),
    };
    let claim = Claim {
        network_id: channel.network_id,
        lock_id: lock.lock_id,
        payee: payee.id(),
        receipt: receipt.sign(payer),
    };
    claim.sign(payee)
}
