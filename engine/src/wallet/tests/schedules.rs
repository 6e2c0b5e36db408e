//! Three wallets under random schedules: answers lost, doubled, late, refused; nodes that die
//! between any two outputs; stores restored from backups. Each seed is one schedule.

use std::collections::BTreeMap;

use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, Duration};

use super::bench::Stored;
use super::model::Model;
use super::*;

const NODES: usize = 3;
const GRANT: u64 = 5_000;

/// SplitMix64: enough for schedules.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.below(3)).unwrap()
    }
}

enum Parcel {
    Question(SettlementRequest),
    Answer(SettlementReply),
}

struct Sent {
    at: Instant,
    node: usize,
    /// Which run of the node asked.
    run: u32,
    request: u64,
    parcel: Parcel,
}

struct Node {
    identity: Arc<Identity>,
    wallet: Wallet,
    run: u32,
    store: Stored,
    backup: Stored,
    /// Receipts held, kept by the exchange.
    receipts: BTreeMap<LockId, SignedReceipt>,
    asked_ids: Vec<String>,
}

struct World {
    dice: Dice,
    model: Model,
    nodes: Vec<Node>,
    wire: Vec<Sent>,
    now: Instant,
    unix: UnixTime,
    calm: bool,
    restores: bool,
}

impl World {
    fn new(seed: u64, restores: bool) -> Self {
        let unix = UnixTime::from_secs(1_700_000_000);
        let mut model = Model::new(unix);
        let issuer = Identity::from_secret([8; 32]);
        let nodes = [1, 2, 3].map(|secret| {
            let identity = Arc::new(Identity::from_secret([secret; 32]));
            model.grant(identity.id(), GRANT, &issuer);
            let book = WalletBook::default();
            Node {
                wallet: Wallet::new(model.network(), identity.clone(), &book, Instant::ZERO),
                identity,
                run: 0,
                store: Stored::default(),
                backup: Stored::default(),
                receipts: BTreeMap::new(),
                asked_ids: Vec::new(),
            }
        });
        Self {
            dice: Dice::new(seed),
            model,
            nodes: nodes.into(),
            wire: Vec::new(),
            now: Instant::ZERO,
            unix,
            calm: false,
            restores,
        }
    }

    fn step(&mut self) {
        let secs = 1 + self.dice.below(9);
        self.now = self.now.after(Duration::from_secs(secs));
        self.unix = self.unix.plus_secs(secs);
        self.model.time = self.model.time.plus_secs(secs);
        self.model.expire();
        for node in 0..NODES {
            self.nodes[node].wallet.tick(self.now, self.unix);
            self.drain(node);
        }
        self.deliver();
        self.model.check();
        if !self.restores {
            assert_eq!(self.model.equivocations, 0, "no nonce is signed twice");
        }
    }

    fn act(&mut self) {
        let node = self.dice.node();
        let other = (node + 1 + self.dice.node() % 2) % NODES;
        let other = self.nodes[other].identity.id();
        let now = self.now;
        match self.dice.below(12) {
            0..=2 => self.transfer(node),
            3 | 4 => {
                let amount = MicroCredits::new(1 + self.dice.below(800));
                let _ = self.nodes[node].wallet.open_lock(other, amount, now);
            }
            5 => {
                if let Some(id) = self.pick_lock(node, true) {
                    let amount = MicroCredits::new(self.dice.below(200));
                    let _ = self.nodes[node].wallet.top_up(id, amount, now);
                }
            }
            6..=8 => self.pay(node),
            9 => {
                if let Some(id) = self.pick_lock(node, false) {
                    self.nodes[node].wallet.close_lock(id);
                }
            }
            10 => {
                if let Some(id) = self.pick_lock(node, true) {
                    self.nodes[node].wallet.ask_close(id);
                }
            }
            _ if self.dice.one_in(3) => self.crash(node),
            _ => self.nodes[node].backup = self.nodes[node].store.clone(),
        }
        self.drain(node);
    }

    /// One of 24 transfers of a node, each with its own body, asked for again and again.
    fn transfer(&mut self, node: usize) {
        let which = self.dice.below(24);
        let to = self.nodes[(node + 1) % NODES].identity.id();
        let id = format!("transfer {which}");
        let amount = MicroCredits::new(which * 10 + 1);
        let node = &mut self.nodes[node];
        let result = node.wallet.transfer(&id, to, amount, self.now);
        assert!(
            !matches!(result, Err(CommandError::RequestIdReused(_))),
            "the same body each time"
        );
        node.asked_ids.push(id);
    }

    fn pick_lock(&mut self, node: usize, ours: bool) -> Option<LockId> {
        let wallet = &self.nodes[node].wallet;
        let ids: Vec<LockId> = if ours {
            let open = wallet.own_locks().filter(|(status, _)| !status.closed);
            open.map(|(status, _)| status.lock.body.lock_id).collect()
        } else {
            let open = wallet.paying_locks().filter(|status| !status.closed);
            open.map(|status| status.lock.body.lock_id).collect()
        };
        let bound = u64::try_from(ids.len()).unwrap();
        (bound > 0).then(|| ids[usize::try_from(self.dice.below(bound)).unwrap()])
    }

    /// A payer shows its lock to the payee and signs some of it away.
    fn pay(&mut self, payer: usize) {
        let Some(id) = self.pick_lock(payer, true) else {
            return;
        };
        let status = self.nodes[payer].wallet.lock(id).unwrap();
        let lock = status.lock.body;
        let payee = (0..NODES).find(|node| self.nodes[*node].identity.id() == lock.payee);
        let payee = payee.unwrap();
        let held = self.nodes[payee].receipts.get(&id);
        let held = held.map_or(0, |held| held.body.amount.get());
        let amount = (held + 1 + self.dice.below(200)).min(lock.amount.get());
        let channel = lock.channel();
        let receipt = Receipt {
            network_id: channel.network_id,
            channel_id: channel.id(),
            bytes: Bytes::new(amount),
            amount: MicroCredits::new(amount),
        }
        .sign(&self.nodes[payer].identity);
        let now = self.now;
        let node = &mut self.nodes[payee];
        if node.wallet.show_lock(&status.lock, now) && !node.wallet.lock(id).unwrap().closed {
            node.receipts.insert(id, receipt);
            node.wallet.hold(id, &receipt);
        }
        self.drain(payee);
    }

    fn crash(&mut self, index: usize) {
        let restore = self.restores && self.dice.one_in(3);
        let network = self.model.network();
        let node = &mut self.nodes[index];
        if restore {
            node.store = node.backup.clone();
        }
        let book = node.store.book(node.identity.id());
        node.wallet = Wallet::new(network, node.identity.clone(), &book, self.now);
        for (id, receipt) in &node.receipts {
            node.wallet.hold(*id, receipt);
        }
        node.run += 1;
    }

    fn drain(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].wallet.poll_output() {
            let node = &mut self.nodes[index];
            match output {
                WalletOutput::Tally(rows) => rows.iter().for_each(|row| node.store.write(row)),
                WalletOutput::Append(command) => node.store.append(&command),
                WalletOutput::LockChanged(_) | WalletOutput::Event(_) => {}
                WalletOutput::Settle { request, what } => {
                    let run = node.run;
                    self.post(index, run, request, Parcel::Question(what));
                }
            }
            self.nodes[index].wallet.check_invariants();
            if !self.calm && self.dice.one_in(60) {
                self.crash(index);
            }
        }
    }

    fn post(&mut self, node: usize, run: u32, request: u64, parcel: Parcel) {
        let delay = if self.calm { 0 } else { self.dice.below(45) };
        let at = self.now.after(Duration::from_secs(delay));
        self.wire.push(Sent {
            at,
            node,
            run,
            request,
            parcel,
        });
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.wire)
            .into_iter()
            .partition(|sent| sent.at <= now);
        self.wire = later;
        let due: Vec<Sent> = due;
        for sent in due {
            if !self.calm && self.dice.one_in(6) {
                continue;
            }
            match sent.parcel {
                Parcel::Question(what) => self.answer(sent.node, sent.run, sent.request, &what),
                Parcel::Answer(reply) if self.nodes[sent.node].run == sent.run => {
                    let node = &mut self.nodes[sent.node];
                    node.wallet.answer(sent.request, reply, now, self.unix);
                    self.drain(sent.node);
                }
                Parcel::Answer(_) => {}
            }
        }
    }

    fn answer(&mut self, node: usize, run: u32, request: u64, what: &SettlementRequest) {
        let own = self.nodes[node].identity.id();
        let mut reply = self.model.handle(own, what);
        if !self.calm && self.dice.one_in(8) {
            reply = SettlementReply::Unreachable("lost".to_owned());
        }
        if self.dice.one_in(6) {
            self.post(node, run, request, Parcel::Answer(reply.clone()));
        }
        self.post(node, run, request, Parcel::Answer(reply));
    }

    fn finish(&mut self) {
        self.calm = true;
        for _ in 0..60 {
            self.step();
        }
        for node in &self.nodes {
            let own = node.identity.id();
            let account = self.model.account(own);
            assert_eq!(node.wallet.view().available, account.available);
            assert_eq!(node.wallet.view().locked, account.reserved);
            let answered = node.store.order.is_none_or(|order| order.answered);
            assert!(answered, "everything is answered in the end");
            let SettlementReply::Lines { lines, .. } = self.model.statement(own) else {
                panic!("a statement is lines");
            };
            assert_eq!(node.store.lines, lines, "every line is booked, once");
            self.check_transfers(own, &node.asked_ids);
        }
    }

    fn check_transfers(&self, own: NodeId, ids: &[String]) {
        for id in ids {
            let memo = memo_hash(id);
            let orders = self.model.accounts[&own].orders.values();
            let done =
                orders.filter(|(order, refusal)| order.body.memo_hash == memo && refusal.is_none());
            assert!(done.count() <= 1, "{id} moved credit twice");
        }
    }
}

fn run(seed: u64, restores: bool) {
    let mut world = World::new(seed, restores);
    for _ in 0..250 {
        world.act();
        world.step();
    }
    world.finish();
}

#[test]
fn no_schedule_signs_a_nonce_or_spends_a_credit_twice() {
    for seed in 0..60 {
        println!("seed {seed}");
        run(seed, false);
    }
}

#[test]
fn no_restored_backup_spends_a_credit_twice() {
    for seed in 1000..1060 {
        println!("seed {seed}");
        run(seed, true);
    }
}
