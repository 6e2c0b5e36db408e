//! Boosts, wallet and the settlement node under random schedules: payees that come, go,
//! choke, claim and close, answers that are lost or late, a payer that dies between any two
//! outputs. Budgets, days and sums hold after every plan, and in the end every micro-credit is
//! accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::tally::{LockRow, OrderRow};

use super::*;
use crate::credit::output::Errand;
use crate::credit::settlement::{SettlementRequest, Unreachable};
use crate::credit::wallet::tests::settlement::Settlement;
use crate::credit::wallet::{Wallet, WalletBook};
use crate::rng::Rng;

const GRANT: u64 = 2_000_000;
const PAYEES: u8 = 6;
const TORRENTS: u8 = 3;
const DAY_MAX: u64 = 700_000;

/// What is on disk.
#[derive(Clone, Debug, Default)]
struct Disk {
    boosts: BTreeMap<u64, Vec<u8>>,
    order: Option<OrderRow>,
    /// The exchange's rows: locks, and what was signed on each.
    locks: BTreeMap<LockId, OwnLock>,
    lines: Vec<StatementLine>,
}

struct World {
    rng: Rng,
    settlement: Settlement,
    identity: Arc<Identity>,
    payees: Vec<Identity>,
    wallet: Wallet,
    boosts: Boosts,
    disk: Disk,
    run: u32,
    /// Questions under way: when they are answered, of which run.
    wire: Vec<(Instant, u32, u64, SettlementRequest)>,
    policy: CreditPolicy,
    torrents: Vec<TorrentRow>,
    candidates: Vec<PayeeCandidate>,
    bids: BTreeMap<PeerIndex, Rate>,
    orders: Vec<BoostOrder>,
    /// What was signed, and when.
    signed: Vec<(UnixTime, u64)>,
    now: Instant,
    time: UnixTime,
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let time = UnixTime::from_secs(NOON);
        let mut settlement = Settlement::new(time);
        let identity = Arc::new(Identity::from_secret([1; 32]));
        settlement.grant(identity.id(), GRANT);
        let payees: Vec<Identity> = (0..PAYEES)
            .map(|number| Identity::from_secret([50 + number; 32]))
            .collect();
        let torrents = (0..TORRENTS).map(|number| TorrentRow {
            left: Some(Bytes::new((1 + rng.below(300)) * MIB)),
            ..TorrentRow::new(torrent(number))
        });
        let torrents = torrents.collect();
        let spend_per_day_max = rng.chance(1, 2).then_some(cr(DAY_MAX));
        let book = WalletBook::default();
        Self {
            wallet: Wallet::new(
                settlement.network(),
                identity.clone(),
                &book,
                0,
                Instant::ZERO,
            ),
            boosts: Boosts::default(),
            disk: Disk::default(),
            run: 0,
            wire: Vec::new(),
            policy: CreditPolicy {
                spend_per_day_max,
                ..CreditPolicy::default()
            },
            torrents,
            candidates: Vec::new(),
            bids: BTreeMap::new(),
            orders: Vec::new(),
            signed: Vec::new(),
            now: Instant::ZERO,
            time,
            calm: false,
            rng,
            settlement,
            identity,
            payees,
        }
    }

    fn step(&mut self) {
        // Time runs in jumps now and then, so that locks age and expire and days pass.
        let secs = match self.rng.below(150) {
            0 => self.rng.below(4_000),
            1 if self.rng.chance(1, 10) => self.rng.below(100_000),
            _ => 1,
        };
        self.now = self.now.after(Duration::from_secs(secs));
        self.time = self.time.plus_secs(secs);
        self.settlement.time = self.time;
        self.settlement.expire();
        self.wallet.tick(self.now, self.time);
        self.drain_wallet();
        self.deliver();
        self.plan();
        self.settlement.check();
    }

    fn plan(&mut self) {
        let locks: Vec<OwnLock> = self.disk.locks.values().copied().collect();
        let purse = self.wallet.purse();
        let round = Round {
            choke_round: Duration::from_secs(10),
            now: self.now,
            time: self.time,
            policy: &self.policy,
            torrents: &self.torrents,
            candidates: &self.candidates,
            locks: &locks,
            purse: &purse,
            download_max: None,
        };
        self.boosts.plan(&round);
        self.check();
        self.drain_boosts();
    }

    /// Everything that must hold after a plan.
    fn check(&self) {
        self.boosts.check_invariants();
        let views = self.boosts.views();
        for view in &views {
            let sum = view.spent.get() + view.locked.get() + view.free.get();
            assert_eq!(sum, view.max.get(), "spent + locked + free = max");
        }
        let spent: u64 = views.iter().map(|view| view.spent.get()).sum();
        let signed: u64 = self.signed.iter().map(|(_, amount)| amount).sum();
        assert_eq!(spent, signed, "every signed micro-credit has its boost");
        for (peer, rate) in &self.bids {
            let Some(row) = self.candidates.iter().find(|row| row.peer == *peer) else {
                continue;
            };
            let of_torrent = views
                .iter()
                .filter(|view| view.torrent_id == row.torrent_id);
            let cap = of_torrent.map(|view| view.bid).max().unwrap_or_default();
            assert!(*rate <= cap, "no bid is above every cap");
        }
        if let Some(max) = self.policy.spend_per_day_max {
            let day = self
                .signed
                .iter()
                .filter(|(at, _)| at.plus_secs(86_400) > self.time);
            let day: u64 = day.map(|(_, amount)| amount).sum();
            assert!(day <= max.get(), "{day} signed in a day");
        }
    }

    fn drain_boosts(&mut self) {
        while let Some(output) = self.boosts.poll_output() {
            match output {
                CreditOutput::Tally(rows) => rows.into_iter().for_each(|row| self.write(row)),
                CreditOutput::Event(_) => {}
                CreditOutput::Errand(action) => self.act(action),
                other => unreachable!("boosts ask for nothing else: {other:?}"),
            }
            if self.dies() {
                return;
            }
        }
        self.drain_wallet();
    }

    fn act(&mut self, action: Errand) {
        let now = self.now;
        match action {
            Errand::OpenLock { payee, amount } => {
                let result = self.wallet.open_lock(payee, amount, now);
                assert_eq!(result, Ok(()), "a plan asks for what can be had");
            }
            Errand::TopUp { lock_id, amount } => {
                // The wallet may know of a close that the plan did not see yet.
                let _ = self.wallet.top_up(lock_id, amount, now);
            }
            Errand::EndLock { lock_id, .. } => self.set_ending(lock_id, Ending::Soon),
            Errand::KeepLock { lock_id, .. } => self.set_ending(lock_id, Ending::No),
            Errand::Bid { peer, rate } => {
                self.bids.insert(peer, rate);
            }
            other => unreachable!("no errand of a boost: {other:?}"),
        }
        self.wallet.tick(self.now, self.time);
    }

    fn set_ending(&mut self, lock_id: LockId, ending: Ending) {
        if let Some(lock) = self.disk.locks.get_mut(&lock_id) {
            lock.ending = ending;
        }
    }

    fn write(&mut self, row: TallyRow) {
        match row {
            TallyRow::Boost {
                id,
                bytes: Some(bytes),
            } => {
                assert!(bytes.len() <= seedbank_ledger::tally::BOOST_LEN_MAX);
                self.disk.boosts.insert(id, bytes);
            }
            TallyRow::Boost { id, bytes: None } => {
                self.disk.boosts.remove(&id);
            }
            TallyRow::Order(row) => self.disk.order = Some(row),
            row => panic!("{row:?} is nobody's"),
        }
    }

    fn drain_wallet(&mut self) {
        while let Some(output) = self.wallet.poll_output() {
            match output {
                CreditOutput::Tally(rows) => rows.into_iter().for_each(|row| self.write(row)),
                CreditOutput::Append(seedbank_ledger::charts::node::NodeCommand::Settled(line)) => {
                    self.disk.lines.push(*line);
                }
                CreditOutput::Errand(Errand::LockTold(status)) => self.lock_status(status),
                CreditOutput::Event(_) | CreditOutput::Append(_) => {}
                output @ (CreditOutput::Send { .. }
                | CreditOutput::Errand(_)
                | CreditOutput::Notice(_)) => unreachable!("no output of a wallet: {output:?}"),
                CreditOutput::Settle { request, what } => {
                    let delay = if self.calm { 0 } else { self.rng.below(20) };
                    let at = self.now.after(Duration::from_secs(delay));
                    self.wire.push((at, self.run, request, what));
                }
            }
            if self.dies() {
                return;
            }
        }
    }

    /// What the exchange does with the settlement node's word on a lock.
    fn lock_status(&mut self, status: LockStatus) {
        let lock = status.lock.body;
        if lock.payer != self.identity.id() {
            return;
        }
        let known = self.disk.locks.entry(lock.lock_id).or_insert(OwnLock {
            status,
            signed: cr(0),
            ending: Ending::No,
        });
        if lock.amount >= known.amount() {
            known.status.lock = status.lock;
        }
        known.status.claimed = known.status.claimed.max(status.claimed);
        known.status.closed |= status.closed;
    }

    fn dies(&mut self) -> bool {
        let dies = !self.calm && self.rng.chance(1, 60);
        if dies {
            self.crash();
        }
        dies
    }

    fn crash(&mut self) {
        self.run += 1;
        let row = |(id, bytes): (&u64, &Vec<u8>)| TallyRow::Boost {
            id: *id,
            bytes: Some(bytes.clone()),
        };
        let mut rows: Vec<TallyRow> = self.disk.boosts.iter().map(row).collect();
        self.boosts = Boosts::restore(&rows).expect("own rows are good");
        rows = self.disk.order.map(TallyRow::Order).into_iter().collect();
        rows.extend(self.disk.locks.values_mut().map(|lock| {
            if lock.ending == Ending::Soon {
                lock.ending = Ending::No;
            }
            TallyRow::Lock(LockRow {
                lock: lock.status.lock,
                claimed: lock.status.claimed,
                closed: lock.status.closed,
                close_asked: lock.ending == Ending::Asked,
            })
        }));
        let own = self.identity.id();
        let mine = |line: &StatementLine| match line.operation {
            Operation::Order(order) if order.body.account == own => Some(order),
            Operation::Order(_) | Operation::Claim(_) | Operation::Expiry(_) => None,
        };
        let newest = self.disk.lines.last().map(|line| line.certificate.body);
        let book = WalletBook {
            rows,
            as_of: newest.map(|body| (body.sequence, body.time)),
            available: newest.map_or(cr(0), |body| body.available_after),
            transfers: self.disk.lines.iter().filter_map(mine).collect(),
        };
        self.wallet = Wallet::new(
            self.settlement.network(),
            self.identity.clone(),
            &book,
            u64::from(self.run) + 1,
            self.now,
        );
        self.candidates.clear();
        self.bids.clear();
    }

    fn deliver(&mut self) {
        let now = self.now;
        let all = std::mem::take(&mut self.wire);
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, ..)| *at <= now);
        self.wire = later;
        for (_, run, request, what) in due {
            let lost = !self.calm && self.rng.chance(1, 8);
            // Half of what is lost is lost on the way back.
            let answer = if lost && self.rng.chance(1, 2) {
                None
            } else {
                Some(self.settlement.handle(&what))
            };
            if run != self.run {
                continue;
            }
            let answer = answer.filter(|_| !lost);
            let answer = answer.ok_or(Unreachable("lost".to_owned()));
            self.wallet.answer(request, answer, self.now, self.time);
            self.drain_wallet();
        }
    }

    fn act_at_random(&mut self) {
        match self.rng.below(24) {
            0 => self.create(),
            1 => {
                let views = self.boosts.views();
                if self.rng.chance(1, 6) && !views.is_empty() {
                    let id = views[self.rng.index(views.len())].id;
                    self.boosts.cancel(id).unwrap();
                }
            }
            2 | 3 => self.connect(),
            4 if !self.candidates.is_empty() => {
                let index = self.rng.index(self.candidates.len());
                let gone = self.candidates.remove(index);
                self.bids.remove(&gone.peer);
            }
            5 | 6 if !self.candidates.is_empty() => {
                let index = self.rng.index(self.candidates.len());
                let row = &mut self.candidates[index];
                row.choking_us = self.rng.chance(1, 3);
                row.asked = self.rng.chance(1, 2);
                row.seated = self.rng.chance(1, 2);
                let more = Bytes::new(self.rng.below(2) * MIB);
                row.received = row.received.saturating_add(more);
                row.rate_to_us = Bytes::new(self.rng.below(1 << 20));
                row.piece_len = Bytes::new((1 + self.rng.below(4)) * MIB);
                row.has_missing = self.rng.chance(9, 10);
            }
            7..=16 => self.serve(),
            17..=19 => self.claim(),
            20 => self.payees_close(),
            21 => {
                let index = self.rng.index(self.torrents.len());
                self.torrents[index].active = self.rng.chance(4, 5);
            }
            22 => {
                let index = self.rng.index(self.torrents.len());
                let row = &mut self.torrents[index];
                if self.rng.chance(1, 4) {
                    row.left = Some(Bytes::new(self.rng.below(300) * MIB));
                }
            }
            _ => {
                self.policy.spend = self.rng.chance(9, 10);
            }
        }
        self.drain_boosts();
    }

    fn create(&mut self) {
        let again = self.rng.chance(1, 3) && !self.orders.is_empty();
        let order = if again {
            self.orders[self.rng.index(self.orders.len())].clone()
        } else {
            BoostOrder {
                request_id: format!("boost {}", self.orders.len()),
                torrent_id: torrent(u8::try_from(self.rng.below(TORRENTS.into())).unwrap()),
                max: cr(1 + self.rng.below(400_000)),
                bid: Rate::new(1 + self.rng.below(3 * CREDIT)),
                time_to_live_secs: self.rng.chance(1, 4).then(|| 1 + self.rng.below(5_000)),
            }
        };
        let purse = self.wallet.purse();
        // Placed while something was left: its end comes in every order with everything else.
        let row = TorrentRow::new(order.torrent_id);
        let result = self
            .boosts
            .create(&order, &row, Some(&purse), &self.policy, self.time);
        assert!(
            !matches!(result, Err(CreditError::RequestIdReused(_))),
            "the same body each time"
        );
        if !again {
            self.orders.push(order);
        }
    }

    fn connect(&mut self) {
        let payee = self.rng.index(self.payees.len());
        let hash = u8::try_from(self.rng.below(TORRENTS.into())).unwrap();
        let peer = PeerIndex(self.rng.next_u64());
        self.candidates.push(PayeeCandidate {
            peer,
            node_id: self.payees[payee].id(),
            torrent_id: torrent(hash),
            rate_min: Rate::new(self.rng.below(2 * CREDIT)),
            piece_len: Bytes::new((1 + self.rng.below(4)) * MIB),
            paid: MicroCredits::ZERO,
            is_seed: self.rng.chance(1, 2),
            has_missing: true,
            rate_to_us: Bytes::ZERO,
            choking_us: true,
            received: Bytes::ZERO,
            asked: false,
            seated: false,
        });
    }

    /// A payee serves, and we sign: on the oldest lock with room first, nothing above its amount,
    /// no more than a window at the bid.
    fn serve(&mut self) {
        let bid_at = |row: &&PayeeCandidate| self.bids.get(&row.peer).is_some_and(|b| !b.is_zero());
        let rows: Vec<PayeeCandidate> = self.candidates.iter().filter(bid_at).copied().collect();
        if rows.is_empty() {
            return;
        }
        let row = rows[self.rng.index(rows.len())];
        let bid = self.bids[&row.peer];
        let window = bid.cost(row.piece_len).unwrap().get();
        let mut left = self.rng.below(window + 1);
        let mut total = 0;
        for lock in self.disk.locks.values_mut() {
            let usable = !lock.status.closed && lock.ending != Ending::Asked;
            if lock.payee() != row.node_id || !usable {
                continue;
            }
            let step = left.min(lock.amount().get() - lock.signed.get());
            lock.signed = lock.signed.saturating_add(cr(step));
            left -= step;
            total += step;
        }
        if total > 0 {
            self.signed.push((self.time, total));
            let bytes = Bytes::new(total);
            self.boosts
                .spent(row.node_id, row.torrent_id, bytes, cr(total));
        }
        let torrent = self
            .torrents
            .iter_mut()
            .find(|torrent| torrent.torrent_id == row.torrent_id);
        let left = &mut torrent.expect("it is ours").left;
        *left = left.map(|left| left.saturating_sub(Bytes::new(self.rng.below(4 * MIB))));
    }

    fn claim(&mut self) {
        let locks: Vec<OwnLock> = self.disk.locks.values().copied().collect();
        if locks.is_empty() {
            return;
        }
        let lock = locks[self.rng.index(locks.len())];
        self.claim_on(&lock);
    }

    fn claim_on(&mut self, lock: &OwnLock) {
        let body = lock.status.lock.body;
        let channel = body.channel();
        let payee = self.payees.iter().find(|payee| payee.id() == body.payee);
        let payee = payee.expect("a payee is one of ours");
        let receipt = Receipt {
            network_id: channel.network_id,
            channel_id: channel.id(),
            bytes: Bytes::ZERO,
            amount: lock.signed,
        };
        let claim = Claim {
            network_id: channel.network_id,
            lock_id: body.lock_id,
            payee: body.payee,
            receipt: receipt.sign(&self.identity),
        };
        self.settlement.claim(claim.sign(payee));
    }

    /// CLOSE reaches payees: they claim what they hold and close.
    fn payees_close(&mut self) {
        let locks: Vec<OwnLock> = self.disk.locks.values().copied().collect();
        for lock in locks.iter().filter(|lock| lock.ending != Ending::No) {
            self.set_ending(lock.id(), Ending::Asked);
            if lock.status.closed || self.settlement.locks[&lock.id()].closed {
                continue;
            }
            if !self.calm && self.rng.chance(1, 2) {
                continue;
            }
            self.claim_on(lock);
            let payee = self.payees.iter().find(|payee| payee.id() == lock.payee());
            let payee = payee.expect("a payee is one of ours");
            let order = Order {
                network_id: lock.status.lock.body.network_id,
                account: payee.id(),
                nonce: self.settlement.account(payee.id()).nonce + 1,
                valid_until: self.time.plus_secs(60),
                kind: OrderKind::CloseLock { lock_id: lock.id() },
                memo_hash: [0; 32],
            };
            self.settlement.submit(order.sign(payee));
        }
    }

    /// Everything ends: all locks are closed and all books agree.
    fn finish(&mut self) {
        self.calm = true;
        self.policy.spend = true;
        for view in self.boosts.views() {
            self.boosts.cancel(view.id).unwrap();
        }
        self.drain_boosts();
        for _ in 0..150 {
            self.step();
            self.payees_close();
        }
        self.time = self.time.plus_secs(200_000);
        for _ in 0..60 {
            self.step();
        }
        let views = self.boosts.views();
        assert!(
            views.iter().all(|view| view.locked.is_zero()),
            "all returned"
        );
        let open = self.settlement.locks.values().filter(|lock| !lock.closed);
        assert_eq!(open.count(), 0, "no lock stays open");
        let spent: u64 = views.iter().map(|view| view.spent.get()).sum();
        let claimed: u64 = self
            .settlement
            .locks
            .values()
            .map(|lock| lock.claimed.get())
            .sum();
        assert_eq!(claimed, spent, "what boosts spent is what was claimed");
        let view = self.wallet.view(cr(0), cr(0));
        assert_eq!(view.available.get(), GRANT - claimed);
        assert_eq!(view.reserved, cr(0));
        assert_eq!(self.settlement.equivocations, 0, "no nonce is signed twice");
        let ids: BTreeSet<&str> = self.orders.iter().map(|o| o.request_id.as_str()).collect();
        assert!(views.len() <= ids.len(), "one boost per request id");
    }
}

#[test]
fn budgets_hold_under_random_schedules() {
    let mut signed = 0;
    for seed in 0..24 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..700 {
            world.act_at_random();
            world.step();
        }
        world.finish();
        signed += world.signed.len();
    }
    assert!(
        signed > 1_000,
        "{signed} payments: the schedules do something"
    );
}
