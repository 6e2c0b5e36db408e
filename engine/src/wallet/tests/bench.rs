//! Two wallets, their stores and the model between them, in virtual time of one-second steps.

use std::collections::VecDeque;

use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::tally::LockRow;
use seedbank_ledger::{Bytes, Duration};

use super::model::Model;
use super::*;

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
    locks: std::collections::BTreeMap<LockId, LockRow>,
    pub(super) lines: Vec<seedbank_ledger::statement::StatementLine>,
}

impl Stored {
    pub(super) fn write(&mut self, row: &TallyRow) {
        match row {
            TallyRow::Order(row) => self.order = Some(*row),
            TallyRow::Lock(row) => {
                self.locks.insert(row.lock.body.lock_id, *row);
            }
            TallyRow::Receipt(_) | TallyRow::Pair(_) | TallyRow::Boost { .. } => {}
        }
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
        WalletBook {
            rows,
            newest: self.lines.last().map(|line| line.certificate.body),
            transfers: transfers.collect(),
        }
    }
}

struct Node {
    identity: Arc<Identity>,
    wallet: Wallet,
    store: Stored,
    held: VecDeque<u64>,
    submissions: Vec<SignedOrder>,
    claims: u32,
    asked: u32,
    events: Vec<SessionEvent>,
}

pub(super) struct Bench {
    pub(super) model: Model,
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
        let unix = UnixTime::from_secs(1_700_000_000);
        let mut model = Model::new(unix);
        let nodes = [1, 2].map(|secret| {
            let identity = Arc::new(Identity::from_secret([secret; 32]));
            let book = WalletBook::default();
            Node {
                wallet: Wallet::new(model.network(), identity.clone(), &book, Instant::ZERO),
                identity,
                store: Stored::default(),
                held: VecDeque::new(),
                submissions: Vec::new(),
                claims: 0,
                asked: 0,
                events: Vec::new(),
            }
        });
        let issuer = Identity::from_secret([8; 32]);
        model.grant(nodes[0].identity.id(), 10 * CREDIT, &issuer);
        Self {
            model,
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

    pub(super) fn events(&self, node: usize) -> &[SessionEvent] {
        &self.nodes[node].events
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
        let network = self.model.network();
        let node = &mut self.nodes[node];
        let book = node.store.book(node.identity.id());
        node.held.clear();
        node.wallet = Wallet::new(network, node.identity.clone(), &book, self.now);
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
        self.model.time = self.model.time.plus_secs(secs);
        self.model.expire();
        for node in 0..self.nodes.len() {
            self.nodes[node].wallet.tick(self.now, self.unix);
            self.drain(node);
        }
        self.model.check();
        assert!(
            self.restored || self.model.equivocations == 0,
            "no nonce is signed twice"
        );
    }

    /// Answers the newest question that was held.
    pub(super) fn answer_newest(&mut self, node: usize, reply: SettlementReply) {
        let request = self.nodes[node].held.pop_back().expect("one is held");
        self.nodes[node]
            .wallet
            .answer(request, reply, self.now, self.unix);
        self.drain(node);
    }

    fn drain(&mut self, index: usize) {
        let own = self.id(index);
        let node = &mut self.nodes[index];
        while let Some(output) = node.wallet.poll_output() {
            match output {
                WalletOutput::Tally(rows) => rows.iter().for_each(|row| node.store.write(row)),
                WalletOutput::Append(command) => node.store.append(&command),
                WalletOutput::LockChanged(_) => {}
                WalletOutput::Event(event) => node.events.push(event),
                WalletOutput::Settle { request, what } => {
                    node.asked += 1;
                    match &what {
                        SettlementRequest::Submit { order, .. } => {
                            let stored = node.store.order.expect("written before it leaves");
                            assert_eq!(stored.order, *order, "written before it leaves");
                            node.submissions.push(*order);
                        }
                        SettlementRequest::Claim { .. } => node.claims += 1,
                        SettlementRequest::Statement { .. } | SettlementRequest::Lock(_) => {}
                    }
                    let reply = match self.fate {
                        Fate::Delivered => self.model.handle(own, &what),
                        Fate::Unreachable => SettlementReply::Unreachable("down".to_owned()),
                        Fate::Held => {
                            node.held.push_back(request);
                            continue;
                        }
                    };
                    node.wallet.answer(request, reply, self.now, self.unix);
                }
            }
            node.wallet.check_invariants();
        }
    }
}

/// A receipt of node 0 on a lock.
pub(super) fn receipt(bench: &Bench, id: LockId, amount: u64) -> SignedReceipt {
    let channel = bench.model.locks[&id].lock.body.channel();
    let body = Receipt {
        network_id: channel.network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(amount),
        amount: cr(amount),
    };
    body.sign(&bench.nodes[0].identity)
}
