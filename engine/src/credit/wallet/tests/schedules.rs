//! Three wallets under random schedules: answers lost, doubled, late, refused; nodes that die
//! between any two outputs; stores restored from backups. Each seed is one schedule.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::Duration;

use super::bench::{Stored, signed_claim};
use super::middle::{Middle, REWRITES};
use super::settlement::Settlement;
use super::*;
use crate::credit::output::Errand;
use crate::credit::policy::CreditError;
use crate::credit::settlement::{Envelope, SettlementRequest, Unreachable};
use crate::rng::Rng;

const NODES: usize = 3;
const GRANT: u64 = 5_000;

enum Parcel {
    Question(Box<SettlementRequest>),
    Answer(Result<Envelope, Unreachable>),
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
    /// Claims and closes that the exchange wants.
    claims: BTreeMap<LockId, SignedClaim>,
    closes: BTreeSet<LockId>,
    asked_ids: Vec<String>,
}

struct World {
    dice: Rng,
    settlement: Settlement,
    nodes: Vec<Node>,
    wire: Vec<Sent>,
    now: Instant,
    unix: UnixTime,
    calm: bool,
    restores: bool,
    /// Whoever carries what passes; `None`: a wire that loses and doubles things.
    middle: Option<Middle>,
    /// Whoever carries questions asks them again, and brings the true answers in any order.
    repeats: bool,
    /// Parcels are under way for less than this, in seconds.
    delay_max: u64,
    /// What was told of the settlement node contradicting itself, and of answers not its own.
    conflicts: Vec<String>,
    unusable: u32,
}

impl World {
    fn new(seed: u64, restores: bool) -> Self {
        let unix = UnixTime::from_secs(1_700_000_000);
        let mut settlement = Settlement::new(unix);
        let nodes = [1, 2, 3].map(|secret| {
            let identity = Arc::new(Identity::from_secret([secret; 32]));
            settlement.grant(identity.id(), GRANT);
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
                run: 0,
                store: Stored::default(),
                backup: Stored::default(),
                claims: BTreeMap::new(),
                closes: BTreeSet::new(),
                asked_ids: Vec::new(),
            }
        });
        Self {
            dice: Rng::new(seed),
            settlement,
            nodes: nodes.into(),
            wire: Vec::new(),
            now: Instant::ZERO,
            unix,
            calm: false,
            restores,
            middle: None,
            repeats: false,
            delay_max: 45,
            conflicts: Vec::new(),
            unusable: 0,
        }
    }

    fn step(&mut self) {
        let secs = 1 + self.dice.below(9);
        self.now = self.now.after(Duration::from_secs(secs));
        self.unix = self.unix.plus_secs(secs);
        self.settlement.time = self.settlement.time.plus_secs(secs);
        self.settlement.expire();
        for node in 0..NODES {
            self.nodes[node].wallet.tick(self.now, self.unix);
            self.drain(node);
        }
        self.deliver();
        self.settlement.check();
        if !self.restores {
            assert_eq!(self.settlement.equivocations, 0, "no nonce is signed twice");
        }
    }

    fn act(&mut self) {
        let node = self.dice.index(NODES);
        let other = (node + 1 + self.dice.index(2)) % NODES;
        let other = self.nodes[other].identity.id();
        let now = self.now;
        match self.dice.below(12) {
            0..=2 => self.transfer(node),
            3 | 4 => {
                let amount = MicroCredits::new(1 + self.dice.below(800));
                let _ = self.nodes[node].wallet.open_lock(other, amount, now);
            }
            5 => {
                if let Some(id) = self.pick_lock(node) {
                    let amount = MicroCredits::new(self.dice.below(200));
                    let _ = self.nodes[node].wallet.top_up(id, amount, now);
                }
            }
            6..=8 => self.pay(node, false),
            9 | 10 => self.pay(node, true),
            _ if self.dice.chance(1, 3) => self.crash(node),
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
        let result = node
            .wallet
            .transfer(&id, (to, amount), MicroCredits::ZERO, self.now);
        assert!(
            !matches!(result, Err(CreditError::RequestIdReused(_))),
            "the same body each time"
        );
        node.asked_ids.push(id);
    }

    fn pick_lock(&mut self, node: usize) -> Option<LockId> {
        let node = &self.nodes[node];
        let locks = node.store.own_locks(node.identity.id());
        let bound = u64::try_from(locks.len()).unwrap();
        let pick = (bound > 0).then(|| usize::try_from(self.dice.below(bound)).unwrap())?;
        Some(locks[pick].lock.body.lock_id)
    }

    /// A payee claims what its payer signed; or a little more, and then closes.
    fn pay(&mut self, payer: usize, close: bool) {
        let Some(id) = self.pick_lock(payer) else {
            return;
        };
        let lock = self.settlement.locks[&id].lock.body;
        let payee = (0..NODES).find(|node| self.nodes[*node].identity.id() == lock.payee);
        let payee = payee.unwrap();
        let node = &self.nodes[payee];
        let held = node.claims.get(&id);
        let held = held.map_or(0, |held| held.body.receipt.body.amount.get());
        let amount = (held + 1 + self.dice.below(200)).min(lock.amount.get());
        if !node.closes.contains(&id) {
            let claim = signed_claim(&lock, amount, &self.nodes[payer].identity, &node.identity);
            self.nodes[payee].claims.insert(id, claim);
            self.nodes[payee].wallet.claim(claim);
        }
        if close {
            self.nodes[payee].closes.insert(id);
            self.nodes[payee].wallet.close_lock(id);
        }
        self.drain(payee);
    }

    fn crash(&mut self, index: usize) {
        let restore = self.restores && self.dice.chance(1, 3);
        let network = self.settlement.network();
        let node = &mut self.nodes[index];
        if restore {
            node.store = node.backup.clone();
        }
        let book = node.store.book(node.identity.id());
        let salt = u64::from(node.run) + 1;
        node.wallet = Wallet::new(network, node.identity.clone(), &book, salt, self.now);
        for claim in node.claims.values() {
            node.wallet.claim(*claim);
        }
        for lock_id in &node.closes {
            if !self.settlement.locks[lock_id].closed {
                node.wallet.close_lock(*lock_id);
            }
        }
        node.run += 1;
    }

    fn drain(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].wallet.poll_output() {
            let node = &mut self.nodes[index];
            match output {
                CreditOutput::Tally(rows) => rows.iter().for_each(|row| node.store.write(row)),
                CreditOutput::Append(command) => node.store.append(&command),
                CreditOutput::Errand(Errand::LockTold(status)) => node.store.write_lock(&status),
                CreditOutput::Errand(Errand::ClaimCertified { .. } | Errand::ClaimRegressed(_)) => {
                }
                CreditOutput::Event(CreditEvent::Conflict { what, .. }) => {
                    self.conflicts.push(what);
                }
                CreditOutput::Event(CreditEvent::AnswerUnusable { .. }) => self.unusable += 1,
                CreditOutput::Event(_) => {}
                CreditOutput::Settle { request, what } => {
                    let run = node.run;
                    self.post(index, run, request, Parcel::Question(Box::new(what)));
                }
                other => unreachable!("a wallet asks for nothing else: {other:?}"),
            }
            self.nodes[index].wallet.check_invariants();
            if !self.calm && self.dice.chance(1, 60) {
                self.crash(index);
            }
        }
    }

    fn post(&mut self, node: usize, run: u32, request: u64, parcel: Parcel) {
        let delay = if self.calm {
            0
        } else {
            self.dice.below(self.delay_max)
        };
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
            if !self.calm && self.dice.chance(1, 6) {
                continue;
            }
            match sent.parcel {
                Parcel::Question(what) => self.answer(sent.node, sent.run, sent.request, &what),
                Parcel::Answer(answer) if self.nodes[sent.node].run == sent.run => {
                    let node = &mut self.nodes[sent.node];
                    node.wallet.answer(sent.request, answer, now, self.unix);
                    self.drain(sent.node);
                }
                Parcel::Answer(_) => {}
            }
        }
    }

    fn answer(&mut self, node: usize, run: u32, request: u64, what: &SettlementRequest) {
        if let Some(mut middle) = self.middle.take_if(|_| !self.calm) {
            let questions = middle.questions(&mut self.dice, what);
            let given = questions.iter().map(|what| self.settlement.handle(what));
            if let Some(given) = given.last() {
                for answer in middle.answers(&mut self.dice, given) {
                    self.post(node, run, request, Parcel::Answer(Ok(answer)));
                }
            }
            self.middle = Some(middle);
            return;
        }
        if self.repeats && !self.calm && self.dice.chance(1, 2) {
            let again = Parcel::Question(Box::new(what.clone()));
            self.post(node, run, request, again);
        }
        let mut answer = Ok(self.settlement.handle(what));
        if !self.calm && self.dice.chance(1, 8) {
            answer = Err(Unreachable("lost".to_owned()));
        }
        if self.dice.chance(1, 6) {
            self.post(node, run, request, Parcel::Answer(answer.clone()));
        }
        self.post(node, run, request, Parcel::Answer(answer));
    }

    fn finish(&mut self) {
        self.calm = true;
        for _ in 0..150 {
            self.step();
        }
        self.settlement.check_all();
        for node in &self.nodes {
            let own = node.identity.id();
            let account = self.settlement.account(own);
            let view = node.wallet.view(MicroCredits::ZERO, MicroCredits::ZERO);
            assert_eq!(view.available, account.available);
            assert_eq!(view.reserved, account.reserved);
            for (id, claim) in &node.claims {
                let paid = self.settlement.locks[id].claimed >= claim.body.receipt.body.amount;
                assert!(paid, "every claim is paid, before its lock is closed");
            }
            for id in &node.closes {
                assert!(
                    self.settlement.locks[id].closed,
                    "every close is carried out"
                );
            }
            let open = node.store.own_locks(own);
            let settled = open
                .iter()
                .all(|row| !self.settlement.locks[&row.lock.body.lock_id].closed);
            assert!(settled, "every close is known to the payer");
            let answered = node.store.order.is_none_or(|order| order.answered);
            assert!(answered, "everything is answered in the end");
            let lines = self.settlement.statement(own).lines;
            assert_eq!(node.store.lines, lines, "every line is booked, once");
            self.check_transfers(own, &node.asked_ids);
            assert_eq!(account.available.get(), self.available(own), "as summed up");
        }
        if !self.restores {
            let none: [String; 0] = [];
            assert_eq!(
                self.conflicts, none,
                "nobody speaks for the settlement node"
            );
        }
    }

    /// Available credit of an account, from what was ordered and claimed and nothing else.
    fn available(&self, own: NodeId) -> u64 {
        let mut available = GRANT;
        let done = self.settlement.orders.iter();
        let done = done.filter(|((account, _), (_, refusal))| {
            refusal.is_none() && self.nodes.iter().any(|node| node.identity.id() == *account)
        });
        let mut taken = 0;
        for ((account, _), (order, _)) in done {
            match order.body.kind {
                OrderKind::Transfer { to, amount } => {
                    available += if to == own { amount.get() } else { 0 };
                    taken += if *account == own { amount.get() } else { 0 };
                }
                OrderKind::OpenLock { amount, .. } | OrderKind::TopUp { amount, .. } => {
                    taken += if *account == own { amount.get() } else { 0 };
                }
                OrderKind::CloseLock { .. } => {}
                other => unreachable!("nobody orders that: {other:?}"),
            }
        }
        for status in self.settlement.locks.values() {
            let (lock, claimed) = (status.lock.body, status.claimed.get());
            available += if lock.payee == own { claimed } else { 0 };
            let is_back = lock.payer == own && status.closed;
            available += if is_back {
                lock.amount.get() - claimed
            } else {
                0
            };
        }
        available - taken
    }

    fn check_transfers(&self, own: NodeId, ids: &[String]) {
        for id in ids {
            let memo = transfers::memo_hash(id);
            let orders = self.settlement.orders.iter();
            let orders = orders
                .filter(|((account, _), _)| *account == own)
                .map(|(_, order)| order);
            let done =
                orders.filter(|(order, refusal)| order.body.memo_hash == memo && refusal.is_none());
            assert!(done.count() <= 1, "{id} moved credit twice");
        }
    }
}

/// So many schedules, or as many as `SEEDBANK_SCHEDULES` says.
#[allow(
    clippy::disallowed_methods,
    reason = "a test may be told how long to go on"
)]
fn more(count: u64) -> u64 {
    let told = std::env::var("SEEDBANK_SCHEDULES").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(count)
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

/// Everything is dropped, delayed, replayed, reordered and rewritten by somebody who carries it.
/// When he stops, every order is settled, and nothing has moved that nobody ordered.
#[test]
fn l1_a_man_in_the_middle_delays_and_does_nothing_else() {
    let (mut rewritten, mut replayed, mut unusable) = ([0; REWRITES], 0, 0);
    let (mut orders, mut locks) = (0, 0);
    for seed in 2000..2060 {
        println!("seed {seed}");
        let mut world = World::new(seed, false);
        world.middle = Some(Middle::new(world.settlement.network().id));
        // Or next to nothing would get through, and he had little to rewrite.
        world.delay_max = 12;
        for _ in 0..400 {
            world.act();
            world.step();
        }
        world.finish();
        let middle = world.middle.as_ref().unwrap();
        let counts = rewritten.iter_mut().zip(middle.rewritten);
        counts.for_each(|(sum, count)| *sum += count);
        replayed += middle.replayed;
        unusable += world.unusable;
        orders += world.settlement.orders.len();
        locks += world.settlement.locks.len();
    }
    println!("{orders} orders, {locks} locks, {rewritten:?}, {replayed} replays, told {unusable}");
    assert!(orders > 1_000, "{orders}");
    assert!(locks > 200, "{locks}");
    assert!(rewritten.iter().all(|count| *count > 50), "{rewritten:?}");
    assert!(replayed > 500, "{replayed}");
    assert!(unusable > 500, "{unusable}");
}

/// True answers alone, each held back for as long as somebody likes, to questions that were asked
/// more than once and of runs that are over: none of them makes the settlement node look like one
/// whose ledger went back.
#[test]
fn true_answers_in_any_order_blame_nobody() {
    for seed in 3000..3000 + more(60) {
        println!("seed {seed}");
        let mut world = World::new(seed, false);
        world.repeats = true;
        world.delay_max = 5 + seed % 40;
        for _ in 0..300 {
            world.act();
            world.step();
        }
        world.finish();
        assert_eq!(world.unusable, 0);
    }
}

#[test]
fn no_restored_backup_spends_a_credit_twice() {
    for seed in 1000..1060 {
        println!("seed {seed}");
        run(seed, true);
    }
}
