//! Plans against plain rows: one claim per test. The scene stands for session, wallet and exchange
//! and carries out every action at once.

mod schedules;
mod waiting;

use seedbank_ledger::settlement::REQUEST_ID_LEN_MAX;
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Duration, Identity, NetworkId};

use super::*;
use crate::credit::output::Errand;

const CREDIT: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
/// One credit per GiB: 1 MiB costs 977 µcr, rounded up.
const PAR: Rate = Rate::PAR;
const NOON: u64 = 1_700_000_000;

fn cr(amount: u64) -> MicroCredits {
    MicroCredits::new(amount)
}

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn torrent(number: u8) -> TorrentId {
    TorrentId([number; 20])
}

fn cost(mib: u64) -> MicroCredits {
    PAR.cost_ceil(Bytes::new(mib * MIB)).unwrap()
}

struct Scene {
    boosts: Boosts,
    policy: CreditPolicy,
    torrents: Vec<TorrentRow>,
    candidates: Vec<PayeeCandidate>,
    locks: Vec<OwnLock>,
    purse: Purse,
    now: Instant,
    time: UnixTime,
    rows: BTreeMap<u64, Vec<u8>>,
    bids: BTreeMap<PeerIndex, Rate>,
    events: Vec<CreditEvent>,
    /// Actions of the last plan.
    actions: Vec<Errand>,
    issuer: Identity,
    next_lock: u64,
    /// Orders are queued and nothing comes of them.
    stuck: bool,
    /// The settlement node refuses every new lock.
    refuses: bool,
}

impl Scene {
    /// 10 cr, one torrent of 256 MiB, nobody to pay.
    fn new() -> Self {
        Self {
            boosts: Boosts::default(),
            policy: CreditPolicy::default(),
            torrents: vec![TorrentRow {
                left: Some(Bytes::new(256 * MIB)),
                peer_count: 1,
                ..TorrentRow::new(torrent(1))
            }],
            candidates: Vec::new(),
            locks: Vec::new(),
            purse: Purse {
                synced: true,
                reachable: true,
                clock_off_secs: None,
                ready: true,
                pending: MicroCredits::ZERO,
                spendable: cr(10 * CREDIT),
                lock_max: MicroCredits::MAX,
                lock_ttl_secs: 3_600,
                busy: Vec::new(),
            },
            now: Instant::ZERO,
            time: UnixTime::from_secs(NOON),
            rows: BTreeMap::new(),
            bids: BTreeMap::new(),
            events: Vec::new(),
            actions: Vec::new(),
            issuer: Identity::from_secret([9; 32]),
            next_lock: 1,
            stuck: false,
            refuses: false,
        }
    }

    fn order(&self, request_id: &str, max: u64) -> BoostOrder {
        BoostOrder {
            request_id: request_id.to_owned(),
            torrent_id: torrent(1),
            max: cr(max),
            bid: PAR,
            time_to_live_secs: None,
        }
    }

    fn create(&mut self, order: &BoostOrder) -> Result<u64, CreditError> {
        let of = |row: &&TorrentRow| row.torrent_id == order.torrent_id;
        let unknown = TorrentRow::new(order.torrent_id);
        let row = self.torrents.iter().find(of).copied().unwrap_or(unknown);
        let id = self
            .boosts
            .create(order, &row, Some(&self.purse), &self.policy, self.time);
        self.carry_out();
        id
    }

    /// A seed with a window of 1 MiB, on the connection of its own number.
    fn seed(&mut self, number: u8) {
        self.candidates.push(PayeeCandidate {
            peer: PeerIndex(number.into()),
            node_id: node(number),
            torrent_id: torrent(1),
            rate_min: Rate::new(1_000),
            piece_len: Bytes::new(MIB),
            paid: MicroCredits::ZERO,
            is_seed: true,
            has_missing: true,
            rate_to_us: Bytes::ZERO,
            choking_us: true,
            received: Bytes::ZERO,
            asked: false,
            seated: false,
        });
    }

    /// It serves us as paid from now: every plan sees more of it.
    fn serves(&mut self, number: u8, rate: u64) {
        let row = self.candidate(number);
        (row.choking_us, row.asked, row.seated) = (false, true, true);
        row.rate_to_us = Bytes::new(rate);
    }

    fn candidate(&mut self, number: u8) -> &mut PayeeCandidate {
        let peer = PeerIndex(number.into());
        let found = self.candidates.iter_mut().find(|row| row.peer == peer);
        found.expect("it was added")
    }

    fn quote(&self, bid: Rate) -> BoostQuote {
        let round = Round {
            choke_round: Duration::from_secs(10),
            now: self.now,
            time: self.time,
            policy: &self.policy,
            torrents: &self.torrents,
            candidates: &self.candidates,
            locks: &self.locks,
            purse: &self.purse,
            download_max: None,
        };
        self.boosts.quote(&self.torrents[0], bid, &round)
    }

    fn plan(&mut self) {
        self.now = self.now.after(Duration::from_secs(1));
        self.time = self.time.plus_secs(1);
        for row in &mut self.candidates {
            row.received = row.received.saturating_add(row.rate_to_us);
        }
        let round = Round {
            choke_round: Duration::from_secs(10),
            now: self.now,
            time: self.time,
            policy: &self.policy,
            torrents: &self.torrents,
            candidates: &self.candidates,
            locks: &self.locks,
            purse: &self.purse,
            download_max: None,
        };
        self.boosts.plan(&round);
        self.carry_out();
        self.boosts.check_invariants();
    }

    fn run(&mut self, secs: u64) {
        (0..secs).for_each(|_| self.plan());
    }

    fn restart(&mut self) {
        let row = |(id, bytes): (&u64, &Vec<u8>)| TallyRow::Boost {
            id: *id,
            bytes: Some(bytes.clone()),
        };
        let rows: Vec<TallyRow> = self.rows.iter().map(row).collect();
        self.boosts = Boosts::restore(&rows).unwrap();
    }

    fn carry_out(&mut self) {
        self.actions.clear();
        while let Some(output) = self.boosts.poll_output() {
            match output {
                CreditOutput::Tally(rows) => rows.into_iter().for_each(|row| self.write(row)),
                CreditOutput::Event(event) => self.events.push(event),
                CreditOutput::Errand(action) => {
                    self.actions.push(action.clone());
                    self.act(action);
                }
                other => unreachable!("boosts ask for nothing else: {other:?}"),
            }
        }
    }

    fn write(&mut self, row: TallyRow) {
        match row {
            TallyRow::Boost {
                id,
                bytes: Some(bytes),
            } => {
                self.rows.insert(id, bytes);
            }
            TallyRow::Boost { id, bytes: None } => {
                self.rows.remove(&id);
            }
            row => panic!("{row:?} is no row of a boost"),
        }
    }

    fn act(&mut self, action: Errand) {
        match action {
            Errand::OpenLock { payee, .. } if self.stuck => self.purse.busy.push(payee),
            Errand::OpenLock { .. } if self.refuses => {}
            Errand::OpenLock { payee, amount } => {
                self.pay(amount);
                let lock_id = LockId::new(self.next_lock);
                self.next_lock += 1;
                let expires_at = self.time.plus_secs(3600);
                self.put_lock(lock_id, payee, amount, expires_at);
            }
            Errand::TopUp { lock_id, amount } => {
                self.pay(amount);
                let body = self.lock(lock_id).status.lock.body;
                let amount = body.amount.checked_add(amount).unwrap();
                let expires_at = self.time.plus_secs(3600);
                self.put_lock(lock_id, body.payee, amount, expires_at);
            }
            Errand::EndLock { lock_id, .. } => self.lock(lock_id).ending = Ending::Asked,
            Errand::KeepLock { lock_id, .. } => self.lock(lock_id).ending = Ending::No,
            Errand::Bid { peer, rate } => {
                self.bids.insert(peer, rate);
            }
            other => unreachable!("no errand of a boost: {other:?}"),
        }
    }

    fn pay(&mut self, amount: MicroCredits) {
        let rest = self.purse.spendable.checked_sub(amount);
        self.purse.spendable = rest.expect("a plan stays within the purse");
    }

    fn put_lock(&mut self, lock_id: LockId, payee: NodeId, amount: MicroCredits, ends: UnixTime) {
        let lock = Lock {
            network_id: NetworkId::from_bytes([1; 32]),
            lock_id,
            opening_order: OrderHash::from_bytes([0x0d; 32]),
            payer: node(255),
            payee,
            amount,
            expires_at: ends,
            grace_secs: 86_400,
        };
        let lock = lock.sign(&self.issuer);
        if let Some(known) = self.locks.iter_mut().find(|known| known.id() == lock_id) {
            known.status.lock = lock;
            return;
        }
        self.locks.push(OwnLock {
            status: LockStatus {
                lock,
                claimed: MicroCredits::ZERO,
                closed: false,
            },
            signed: MicroCredits::ZERO,
            ending: Ending::No,
        });
    }

    fn lock(&mut self, id: LockId) -> &mut OwnLock {
        let found = self.locks.iter_mut().find(|lock| lock.id() == id);
        found.expect("it was opened")
    }

    /// The `index`-th lock, oldest first.
    fn nth(&mut self, index: usize) -> &mut OwnLock {
        &mut self.locks[index]
    }

    /// Signs on a lock for a torrent.
    fn sign(&mut self, index: usize, torrent_id: TorrentId, amount: u64) {
        let lock = self.nth(index);
        lock.signed = lock.signed.saturating_add(cr(amount));
        assert!(
            lock.signed <= lock.amount(),
            "nothing above a lock's amount"
        );
        let payee = lock.payee();
        let bytes = Bytes::new(amount);
        self.boosts.spent(payee, torrent_id, bytes, cr(amount));
    }

    fn close(&mut self, index: usize) {
        let lock = self.nth(index);
        lock.status.closed = true;
        lock.status.claimed = lock.signed;
        let back = lock.amount().saturating_sub(lock.signed);
        self.purse.spendable = self.purse.spendable.saturating_add(back);
    }

    fn view(&self, id: u64) -> BoostView {
        let view = self.boosts.views().into_iter().find(|view| view.id == id);
        let view = view.expect("it was created");
        let sum = view.spent.get() + view.locked.get() + view.free.get();
        assert_eq!(sum, view.max.get(), "spent + locked + free = max");
        view
    }
}

/// A boost of `max` with one seed, funded.
fn funded(max: u64) -> Scene {
    let mut scene = Scene::new();
    scene.seed(1);
    let order = scene.order("a", max);
    assert_eq!(scene.create(&order), Ok(1));
    scene.run(3);
    assert_eq!(scene.locks.len(), 1);
    scene
}

#[test]
fn the_same_request_is_the_same_boost_and_another_body_is_refused() {
    let mut scene = Scene::new();
    let order = scene.order("a", CREDIT);
    assert_eq!(scene.create(&order), Ok(1));
    scene.policy.spend = false;
    assert_eq!(
        scene.create(&order),
        Ok(1),
        "a repeat is answered whatever the policy"
    );
    scene.restart();
    assert_eq!(scene.create(&order), Ok(1));
    let other = scene.order("a", CREDIT + 1);
    assert_eq!(
        scene.create(&other),
        Err(CreditError::RequestIdReused("a".to_owned()))
    );
    assert_eq!(scene.boosts.views().len(), 1);
}

#[test]
fn n14_a_request_repeated_later_is_the_same_boost_and_ends_when_it_did() {
    let mut scene = Scene::new();
    let order = BoostOrder {
        request_id: "x".repeat(REQUEST_ID_LEN_MAX),
        time_to_live_secs: Some(1_000),
        ..scene.order("a", CREDIT)
    };
    let ends = Some(scene.time.plus_secs(1_000));
    assert_eq!(scene.create(&order), Ok(1));
    scene.run(100);
    assert_eq!(scene.create(&order), Ok(1));
    scene.restart();
    assert_eq!(scene.create(&order), Ok(1), "and after a restart");
    assert_eq!(scene.view(1).until, ends);
    let longer = BoostOrder {
        time_to_live_secs: Some(1_001),
        ..order.clone()
    };
    let refused = Err(CreditError::RequestIdReused(order.request_id));
    assert_eq!(scene.create(&longer), refused);
}

#[test]
fn a_boost_is_refused_with_the_reason() {
    let mut scene = Scene::new();
    let good = scene.order("a", CREDIT);
    for (order, field) in [
        (
            BoostOrder {
                max: cr(0),
                ..good.clone()
            },
            "max",
        ),
        (
            BoostOrder {
                bid: Rate::ZERO,
                ..good.clone()
            },
            "bid",
        ),
        (
            BoostOrder {
                bid: Rate::MAX,
                ..good.clone()
            },
            "bid",
        ),
        (
            BoostOrder {
                time_to_live_secs: Some(0),
                ..good.clone()
            },
            "time_to_live",
        ),
        (
            BoostOrder {
                request_id: String::new(),
                ..good.clone()
            },
            "request_id",
        ),
        (
            BoostOrder {
                request_id: "x".repeat(REQUEST_ID_LEN_MAX + 1),
                ..good.clone()
            },
            "request_id",
        ),
    ] {
        let refused = scene.create(&order);
        assert!(matches!(refused, Err(CreditError::BadValue { field: f, .. }) if f == field));
    }
    let (policy, time) = (CreditPolicy::default(), scene.time);
    let refused = scene
        .boosts
        .create(&good, &scene.torrents[0], None, &policy, time);
    assert_eq!(refused, Err(CreditError::NoSettlement));
    assert_eq!(scene.boosts.cancel(1), Err(CreditError::BoostUnknown(1)));
    scene.policy.spend = false;
    assert_eq!(scene.create(&good), Err(CreditError::SpendingDisabled));
}

#[test]
fn credit_promised_to_one_boost_is_not_promised_to_another() {
    let mut scene = Scene::new();
    let first = scene.order("a", 6 * CREDIT);
    assert_eq!(scene.create(&first), Ok(1));
    let second = scene.order("b", 5 * CREDIT);
    let refused = Err(CreditError::InsufficientCredit {
        needed: cr(5 * CREDIT),
        available: Available::divide(cr(10 * CREDIT), cr(0), cr(6 * CREDIT)),
    });
    assert_eq!(scene.create(&second), refused);
    scene.seed(1);
    scene.run(3);
    let free = match scene.create(&second) {
        Err(CreditError::InsufficientCredit { available, .. }) => available.free,
        other => panic!("{other:?}"),
    };
    assert_eq!(free, cr(4 * CREDIT), "locking changes nothing");
    scene.boosts.cancel(1).unwrap();
    assert_eq!(scene.create(&second), Ok(2));
}

#[test]
fn a_lock_holds_64_mib_at_the_bid_or_what_is_left_or_the_budget() {
    let scene = funded(CREDIT);
    assert_eq!(scene.view(1).locked, cost(64));
    assert_eq!(scene.bids[&PeerIndex(1)], Rate::new(1_000));
    let funded_event = CreditEvent::BoostFunded {
        boost: 1,
        payee: node(1),
        amount: cost(64),
    };
    assert!(scene.events.contains(&funded_event));

    let scene = funded(30_000);
    assert_eq!(scene.view(1).locked, cr(30_000));

    let mut scene = Scene::new();
    scene.torrents[0].left = Some(Bytes::new(10 * MIB));
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(2);
    assert_eq!(scene.view(1).locked, cost(10));
}

#[test]
fn a_lock_holds_four_windows_if_it_can_and_one_or_is_not_opened() {
    let mut scene = Scene::new();
    scene.torrents[0].left = Some(Bytes::new(MIB));
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(2);
    assert_eq!(scene.view(1).locked, cost(4));

    let mut scene = Scene::new();
    scene.seed(1);
    let order = scene.order("a", cost(4).get() - 1);
    scene.create(&order).unwrap();
    scene.run(2);
    assert_eq!(scene.view(1).locked, cr(cost(4).get() - 1));

    let mut scene = Scene::new();
    scene.seed(1);
    let order = scene.order("a", cost(1).get() - 1);
    scene.create(&order).unwrap();
    scene.run(30);
    assert!(scene.locks.is_empty());
    assert!(scene.bids.is_empty(), "without a lock nothing is bid");
    assert_eq!(scene.view(1).state, BoostState::Active);
}

#[test]
fn four_payees_are_funded_seeds_first_then_by_rate() {
    let mut scene = Scene::new();
    (1..=6).for_each(|number| scene.seed(number));
    for number in 1..=4 {
        scene.candidate(number).is_seed = false;
        scene.candidate(number).rate_to_us = Bytes::new(u64::from(number));
    }
    scene.candidate(4).rate_min = Rate::new(PAR.get() + 1);
    scene.candidate(3).has_missing = false;
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(3);
    let payees: Vec<NodeId> = scene.locks.iter().map(OwnLock::payee).collect();
    assert_eq!(payees, [node(5), node(6), node(2), node(1)]);
}

#[test]
fn a_share_is_filled_up_when_three_quarters_are_used() {
    let mut scene = funded(CREDIT);
    scene.sign(0, torrent(1), cost(48).get() - 1);
    scene.run(2);
    assert_eq!(scene.nth(0).amount(), cost(64));
    scene.sign(0, torrent(1), 1);
    scene.run(2);
    assert_eq!(scene.nth(0).amount(), cost(64 + 48));
    assert_eq!(scene.view(1).spent, cost(48));
    assert_eq!(scene.view(1).locked, cost(64));
    scene.torrents[0].left = Some(Bytes::new(64 * MIB));
    scene.sign(0, torrent(1), cost(60).get());
    scene.torrents[0].left = Some(Bytes::new(4 * MIB));
    scene.run(5);
    assert_eq!(scene.nth(0).amount(), cost(112), "what is left is covered");
}

#[test]
fn a_lock_never_passes_what_its_network_allows() {
    let mut scene = Scene::new();
    scene.purse.lock_max = cr(20_000);
    scene.seed(1);
    let order = scene.order("small locks", CREDIT);
    scene.create(&order).unwrap();
    scene.run(3);
    assert_eq!(scene.nth(0).amount(), cr(20_000));
    scene.sign(0, torrent(1), 19_000);
    scene.run(3);
    assert_eq!(scene.nth(0).amount(), cr(20_000));
}

#[test]
fn a_lock_is_renewed_in_the_last_quarter_of_its_life() {
    let mut scene = funded(CREDIT);
    let ends = scene.nth(0).status.lock.body.expires_at;
    scene.run(2690);
    assert_eq!(scene.nth(0).status.lock.body.expires_at, ends);
    scene.run(15);
    assert!(scene.nth(0).status.lock.body.expires_at > ends.plus_secs(2600));
    assert_eq!(scene.nth(0).amount(), cost(64));
}

#[test]
fn a_budget_is_spent_to_the_last_micro_credit_and_then_the_boost_ends() {
    let mut scene = funded(100_000);
    let mut signed = 0;
    while signed < 100_000 {
        let lock = scene.nth(0);
        let room = lock.amount().get() - lock.signed.get();
        let step = room.min(977);
        scene.sign(0, torrent(1), step);
        signed += step;
        scene.run(1);
    }
    scene.run(2);
    let view = scene.view(1);
    assert_eq!(
        (view.spent, view.state),
        (cr(100_000), BoostState::Exhausted)
    );
    assert_eq!(scene.bids[&PeerIndex(1)], Rate::ZERO);
    assert_eq!(scene.nth(0).ending, Ending::Asked);
}

#[test]
fn completion_ends_the_bids_and_returns_what_is_locked() {
    let mut scene = funded(CREDIT);
    scene.sign(0, torrent(1), 5_000);
    scene.torrents[0].left = Some(Bytes::ZERO);
    scene.run(1);
    assert_eq!(scene.view(1).state, BoostState::Completed);
    assert_eq!(scene.bids[&PeerIndex(1)], Rate::ZERO);
    assert_eq!(scene.nth(0).ending, Ending::Asked);
    let view = scene.view(1);
    assert_eq!(view.payees.len(), 1);
    assert_eq!(
        view.payees[0].returns_at,
        scene.nth(0).status.lock.body.returns_at()
    );
    scene.close(0);
    scene.run(1);
    let view = scene.view(1);
    assert_eq!((view.spent, view.locked), (cr(5_000), cr(0)));
    assert!(view.payees.is_empty());
    let ended = CreditEvent::BoostEnded {
        boost: 1,
        why: "torrent complete",
        spent: cr(5_000),
        is_final: false,
    };
    assert!(scene.events.contains(&ended));
    assert!(scene.boosts.is_idle());
}

#[test]
fn a_boost_ends_when_its_time_runs_out_or_its_torrent_goes() {
    let mut scene = Scene::new();
    let order = BoostOrder {
        time_to_live_secs: Some(10),
        ..scene.order("a", CREDIT)
    };
    scene.create(&order).unwrap();
    let order = scene.order("b", CREDIT);
    scene.create(&order).unwrap();
    scene.run(9);
    assert_eq!(scene.view(1).state, BoostState::Active);
    scene.run(1);
    assert_eq!(scene.view(1).state, BoostState::Expired);
    scene.boosts.torrent_removed(torrent(1));
    assert_eq!(scene.view(2).state, BoostState::Cancelled);
    scene.boosts.cancel(2).unwrap();
}

#[test]
fn what_an_ended_boost_left_in_a_lock_serves_the_next_before_more_is_locked() {
    let mut scene = funded(CREDIT);
    let order = BoostOrder {
        torrent_id: torrent(2),
        ..scene.order("b", CREDIT)
    };
    scene.torrents.push(TorrentRow {
        torrent_id: torrent(2),
        left: Some(Bytes::new(32 * MIB)),
        ..scene.torrents[0]
    });
    scene.create(&order).unwrap();
    let mut other = scene.candidates[0];
    other.peer = PeerIndex(9);
    other.torrent_id = torrent(2);
    scene.candidates.push(other);
    scene.torrents[0].left = Some(Bytes::ZERO);
    scene.run(3);
    assert_eq!(scene.nth(0).amount(), cost(64), "nothing more was locked");
    assert_eq!(scene.nth(0).ending, Ending::No);
    assert_eq!(scene.view(2).locked, cost(32));
    assert_eq!(scene.view(1).locked.get(), cost(64).get() - cost(32).get());
    assert_eq!(scene.bids[&PeerIndex(9)], Rate::new(1_000));
}

/// Boosts of two torrents that have half of one lock each.
fn sharing() -> Scene {
    let mut scene = funded(100_000);
    let order = BoostOrder {
        torrent_id: torrent(2),
        ..scene.order("b", 100_000)
    };
    scene.torrents.push(TorrentRow {
        torrent_id: torrent(2),
        ..scene.torrents[0]
    });
    scene.create(&order).unwrap();
    let mut other = scene.candidates[0];
    other.peer = PeerIndex(9);
    other.torrent_id = torrent(2);
    scene.candidates.push(other);
    scene.run(3);
    assert_eq!(scene.locks.len(), 1, "one lock per pair");
    assert_eq!(scene.view(1).locked, cost(64));
    assert_eq!(scene.view(2).locked, cost(64));
    scene
}

/// Two torrents of one pair draw on one lock: each pays for itself.
#[test]
fn boosts_that_share_a_lock_pay_for_their_own_torrent() {
    let mut scene = sharing();
    scene.sign(0, torrent(2), 3_000);
    scene.sign(0, torrent(1), 1_000);
    scene.run(1);
    assert_eq!(scene.view(1).spent, cr(1_000));
    assert_eq!(scene.view(2).spent, cr(3_000));
    // More than torrent 2's share: its boost pays out of its free budget and the other gets room.
    let (left, free) = (scene.view(2).locked.get(), scene.view(2).free.get());
    assert!(free > 5_000);
    scene.sign(0, torrent(2), left + 5_000);
    scene.run(1);
    assert_eq!(scene.view(1).spent, cr(1_000));
    assert_eq!(scene.view(2).spent, cr(3_000 + left + 5_000));
}

/// A payee claims half of what was signed and is never seen again: the other half comes back.
#[test]
fn what_was_not_claimed_before_the_close_may_be_spent_again() {
    let mut scene = sharing();
    scene.sign(0, torrent(1), 1_000);
    scene.sign(0, torrent(2), 3_000);
    scene.run(1);
    scene.close(0);
    scene.nth(0).status.claimed = cr(2_001);
    scene.candidates.clear();
    scene.run(1);
    // In proportion; what rounding leaves is the newest boost's.
    assert_eq!(scene.view(1).spent, cr(500));
    assert_eq!(scene.view(2).spent, cr(1_501));
    assert_eq!(scene.view(1).free, cr(99_500));
    assert_eq!(scene.view(2).free, cr(98_499));
    scene.restart();
    assert_eq!(scene.view(1).spent, cr(500));
}

#[test]
fn boosts_of_one_torrent_take_turns_so_that_each_keeps_its_cap() {
    let mut scene = funded(100_000);
    let order = BoostOrder {
        bid: Rate::new(9 * PAR.get()),
        ..scene.order("b", CREDIT)
    };
    scene.create(&order).unwrap();
    scene.run(2_000);
    assert_eq!(scene.bids[&PeerIndex(1)], PAR, "the first one's cap");
    assert!(scene.view(2).locked.is_zero());
    scene.boosts.cancel(1).unwrap();
    scene.run(2_000);
    assert_eq!(scene.bids[&PeerIndex(1)].get(), 9 * PAR.get());
}

#[test]
fn spending_switched_off_stops_bids_at_once_and_returns_locks() {
    let mut scene = funded(CREDIT);
    scene.policy.spend = false;
    scene.run(1);
    assert_eq!(scene.bids[&PeerIndex(1)], Rate::ZERO);
    assert_eq!(scene.view(1).state, BoostState::Active);
    scene.run(61);
    assert_eq!(scene.nth(0).ending, Ending::Asked);
    scene.close(0);
    scene.policy.spend = true;
    scene.run(3);
    assert_eq!(scene.locks.len(), 2, "it goes on with a new lock");
}

#[test]
fn a_day_never_costs_more_than_the_owner_allows() {
    let mut scene = Scene::new();
    scene.policy.spend_per_day_max = Some(cr(50_000));
    (1..=3).for_each(|number| scene.seed(number));
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(10);
    assert_eq!(scene.view(1).locked, cr(50_000));
    scene.sign(0, torrent(1), 50_000);
    scene.run(10);
    assert_eq!(scene.view(1).locked, cr(0));
    assert_eq!(scene.bids[&PeerIndex(1)], Rate::ZERO);
    scene.restart();
    scene.run(10);
    assert_eq!(scene.view(1).locked, cr(0), "a restart forgets nothing");
    scene.time = scene.time.plus_secs(25 * 3600);
    scene.run(10);
    assert_eq!(scene.view(1).locked, cr(50_000));
}

#[test]
fn a_payee_that_goes_is_waited_for_and_its_place_given_on() {
    let mut scene = funded(CREDIT);
    let gone = scene.candidates.remove(0);
    (2..=6).for_each(|number| scene.seed(number));
    scene.run(55);
    assert_eq!(scene.locks.len(), 4);
    scene.run(6);
    assert_eq!(scene.locks.len(), 5);
    assert_eq!(scene.nth(0).ending, Ending::No, "it may come back");
    scene.run(600);
    assert_eq!(scene.nth(0).ending, Ending::Asked);
    scene.candidates.push(gone);
    scene.run(5);
    assert_eq!(scene.nth(0).ending, Ending::Asked);
}

#[test]
fn a_payee_that_only_chokes_gives_way() {
    let mut scene = Scene::new();
    (1..=5).for_each(|number| scene.seed(number));
    for number in 2..=4 {
        scene.serves(number, 1_000);
    }
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(50);
    assert_eq!(scene.locks.len(), 4);
    assert!(!scene.bids[&PeerIndex(1)].is_zero());
    // The fifth was never tried: it gets the place of the one that chokes.
    scene.run(90);
    assert_eq!(scene.locks.len(), 5);
    assert_eq!(scene.bids[&PeerIndex(1)], Rate::ZERO);
    for number in 2..=4 {
        assert!(!scene.bids[&PeerIndex(number)].is_zero(), "{number} serves");
    }
}

#[test]
fn whoever_serves_keeps_its_place_but_for_the_one_of_least_use() {
    let mut scene = Scene::new();
    scene.torrents[0].left = Some(Bytes::new(100_000 * MIB));
    for number in 1..=4 {
        scene.seed(number);
        scene.serves(number, 1_000 * u64::from(number));
    }
    let order = scene.order("a", 9 * CREDIT);
    scene.create(&order).unwrap();
    scene.run(600);
    (5..=7).for_each(|number| scene.seed(number));
    for _ in 0..600 {
        scene.plan();
        for index in 0..scene.locks.len() {
            // Honest payees close what they are asked to.
            let lock = scene.locks[index];
            if lock.ending == Ending::Asked && !lock.status.closed {
                scene.close(index);
            }
        }
    }
    for number in 2..=4 {
        assert!(!scene.bids[&PeerIndex(number)].is_zero(), "{number} serves");
    }
    assert!(
        !scene.bids[&PeerIndex(1)].is_zero(),
        "it is back, for it serves"
    );
    for number in 5..=7 {
        assert_eq!(
            scene.bids[&PeerIndex(number)],
            Rate::ZERO,
            "tried, and silent"
        );
    }
}

/// When its first minute is over, all others have had their places for half of one.
#[test]
fn the_only_one_that_serves_does_not_give_way_while_others_have_their_time() {
    let mut scene = Scene::new();
    scene.torrents[0].left = Some(Bytes::new(100_000 * MIB));
    scene.seed(1);
    scene.serves(1, 1_000);
    let order = scene.order("a", 9 * CREDIT);
    scene.create(&order).unwrap();
    scene.run(30);
    (2..=7).for_each(|number| scene.seed(number));
    for second in 31..600 {
        scene.run(1);
        assert!(
            !scene.bids[&PeerIndex(1)].is_zero(),
            "it serves, after {second} s"
        );
    }
}

#[test]
fn six_locks_that_are_never_closed_do_not_starve_a_boost() {
    let mut scene = Scene::new();
    scene.torrents[0].left = Some(Bytes::new(100_000 * MIB));
    let order = scene.order("a", 9 * CREDIT);
    scene.create(&order).unwrap();
    for number in 1..=12 {
        scene.seed(number);
        scene.run(20);
        // It is gone, and its lock stays open.
        scene
            .candidates
            .retain(|row| row.peer != PeerIndex(number.into()));
        scene.run(700);
    }
    assert_eq!(scene.locks.len(), 12);
    assert!(scene.locks.iter().all(|lock| !lock.status.closed));
}

#[test]
fn a_deadline_says_how_fast_is_fast_enough() {
    let mut scene = Scene::new();
    scene.seed(1);
    scene.seed(2);
    scene.serves(2, MIB);
    let order = BoostOrder {
        time_to_live_secs: Some(1_000),
        ..scene.order("a", 9 * CREDIT)
    };
    scene.create(&order).unwrap();
    scene.run(100);
    let ask = Rate::new(1_000);
    assert_eq!(
        scene.bids[&PeerIndex(1)],
        ask,
        "256 MiB in 1000 s come anyway"
    );
    scene.torrents[0].left = Some(Bytes::new(5_000 * MIB));
    scene.run(100);
    assert!(scene.bids[&PeerIndex(1)] > ask);
    assert!(
        scene.bids[&PeerIndex(1)] <= Rate::new(2_000),
        "twice what 2 serves for"
    );
}

#[test]
fn a_lock_ending_soon_is_kept_when_wanted_again() {
    let mut scene = funded(CREDIT);
    scene.nth(0).ending = Ending::Soon;
    scene.plan();
    let keep = Errand::KeepLock {
        payee: node(1),
        lock_id: LockId::new(1),
    };
    assert!(scene.actions.contains(&keep));
    scene.plan();
    assert!(!scene.bids[&PeerIndex(1)].is_zero());
}

#[test]
fn a_reservation_that_came_to_nothing_is_free_again() {
    let mut scene = Scene::new();
    scene.stuck = true;
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(5);
    assert_eq!(scene.view(1).locked, cost(64));
    scene.restart();
    scene.purse.synced = false;
    scene.purse.busy.clear();
    scene.run(5);
    assert_eq!(scene.view(1).locked, cost(64), "nobody knows yet");
    scene.purse.synced = true;
    scene.purse.ready = false;
    scene.run(1);
    assert_eq!(scene.view(1).locked, cr(0));
}

/// The order went out, the lock was opened, and the node died before it heard.
#[test]
fn a_lock_that_was_opened_behind_our_back_finds_its_boost() {
    let mut scene = Scene::new();
    scene.stuck = true;
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(2);
    scene.restart();
    scene.purse.busy.clear();
    let ends = scene.time.plus_secs(3600);
    scene.put_lock(LockId::new(7), node(1), cost(64), ends);
    scene.stuck = false;
    scene.run(3);
    assert_eq!(scene.locks.len(), 1);
    assert_eq!(scene.view(1).locked, cost(64));
    assert_eq!(scene.view(1).payees.len(), 1);
}

#[test]
fn a_lock_that_no_boost_knows_is_used_or_given_back() {
    let mut scene = Scene::new();
    let ends = scene.time.plus_secs(3600);
    scene.put_lock(LockId::new(3), node(1), cost(64), ends);
    scene.nth(0).signed = cr(20_000);
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(3);
    assert_eq!(scene.view(1).spent, cr(0), "signed before it was there");
    assert_eq!(scene.nth(0).amount().get(), cost(64).get() + 20_000);
    scene.restart();
    scene.run(3);
    assert_eq!(scene.view(1).spent, cr(0), "and after a restart");

    let mut scene = Scene::new();
    scene.put_lock(LockId::new(3), node(1), cost(64), ends);
    scene.run(1);
    assert_eq!(scene.nth(0).ending, Ending::Asked);
}

#[test]
fn what_is_signed_last_is_paid_though_the_lock_is_closed_when_it_is_seen() {
    let mut scene = funded(CREDIT);
    scene.sign(0, torrent(1), 1_234);
    scene.close(0);
    scene.run(1);
    assert_eq!(scene.view(1).spent, cr(1_234));
}

#[test]
fn what_was_claimed_counts_as_spent_though_we_forgot_that_we_signed_it() {
    let mut scene = funded(CREDIT);
    scene.nth(0).status.claimed = cr(4_321);
    scene.run(1);
    assert_eq!(scene.view(1).spent, cr(4_321));
}

#[test]
fn what_is_signed_on_a_new_lock_before_a_plan_sees_it_is_paid() {
    let mut scene = Scene::new();
    scene.stuck = true;
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(1);
    let ends = scene.time.plus_secs(3600);
    scene.put_lock(LockId::new(7), node(1), cost(64), ends);
    scene.sign(0, torrent(1), 77);
    scene.run(1);
    assert_eq!(scene.view(1).spent, cr(77));
}

#[test]
fn credit_that_is_in_a_lock_already_counts_for_the_day_too() {
    let mut scene = Scene::new();
    scene.policy.spend_per_day_max = Some(cr(10_000));
    let ends = scene.time.plus_secs(3600);
    scene.put_lock(LockId::new(3), node(1), cost(64), ends);
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(5);
    assert_eq!(scene.view(1).locked, cr(10_000));
}

#[test]
fn a_quote_says_what_a_boost_would_meet() {
    let mut scene = funded(CREDIT);
    scene.seed(2);
    scene.candidate(2).rate_min = Rate::new(5_000);
    scene.torrents[0].left = Some(Bytes::new(MIB));
    let quote = scene.quote(PAR);
    assert_eq!(quote.cost_max, cr(977));
    assert_eq!((quote.payee_count, quote.ask_max), (2, Rate::new(5_000)));
    assert_eq!(quote.available, cr(9 * CREDIT));
}

#[test]
fn old_boosts_are_forgotten_and_numbers_never_come_back() {
    let mut scene = Scene::new();
    for number in 0..400 {
        let order = scene.order(&number.to_string(), 10);
        let id = scene.create(&order).unwrap();
        scene.boosts.cancel(id).unwrap();
        scene.carry_out();
    }
    assert_eq!(scene.rows.len(), ENDED_MAX + 1);
    scene.restart();
    let order = scene.order("next", 10);
    assert_eq!(scene.create(&order), Ok(401));
    for number in 0..63 {
        let order = scene.order(&format!("more {number}"), 10);
        scene.create(&order).unwrap();
    }
    let order = scene.order("too many", 10);
    assert!(matches!(
        scene.create(&order),
        Err(CreditError::BadValue { field: "boost", .. })
    ));
}

#[test]
fn a_row_that_is_not_ours_is_an_error_that_names_it() {
    let rows = [TallyRow::Boost {
        id: 7,
        bytes: Some(vec![1, 2, 3]),
    }];
    let error = Boosts::restore(&rows).unwrap_err();
    assert_eq!(error.id, 7);
    assert!(error.to_string().starts_with("stored boost 7: "));
}

/// Seconds after which one that sends has a place, though four that do not came first.
const FUNDED_AFTER_MAX: u64 = 40;

/// Four keys that let us ask and never send hold their places for half a minute, and then ever
/// less.
#[test]
fn w5_silent_payees_lose_their_places() {
    let mut scene = Scene::new();
    scene.torrents[0].left = Some(Bytes::new(100_000 * MIB));
    for number in 1..=4 {
        scene.seed(number);
        let row = scene.candidate(number);
        (row.choking_us, row.asked) = (false, true);
    }
    let order = scene.order("a", 9 * CREDIT);
    assert_eq!(scene.create(&order), Ok(1));
    scene.run(5);
    // One comes that sends 10 MiB/s and never chokes.
    scene.seed(5);
    scene.serves(5, 10 * MIB);
    scene.run(FUNDED_AFTER_MAX);
    assert!(!scene.bids[&PeerIndex(5)].is_zero(), "the one that sends");
    scene.run(3_000);
    assert!(!scene.bids[&PeerIndex(5)].is_zero(), "and keeps on");
    let mut silent_secs = 0;
    for _ in 0..3_000 {
        scene.plan();
        for number in 1..=4 {
            silent_secs += u64::from(!scene.bids[&PeerIndex(number)].is_zero());
        }
    }
    assert!(silent_secs <= 3_000 * 4 / 10, "{silent_secs} s of 12000");
}
