//! Random schedules over a network ledger, judged step by step by `book.rs`.

mod service;
pub(crate) mod signing;
mod tally;
mod wishes;

use seedbank_ledger::account::AccountId;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::ledger::{Outcome, is_empty};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::state::State;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Genesis, Sequence, UnixTime};

use self::signing::{Opened, operation, order_of};
use self::tally::Tally;
use crate::book::{Answer, Book, Bounds, OrderTry, Party, Try, Wish};
use crate::draw::{Draw, NOBODIES, id, key};

/// Parties 0 and 1 issue, 7 is never granted anything on purpose.
pub(crate) const PARTIES: u8 = 8;
/// Orders like everybody, and nobody gives it anything.
pub(crate) const STRANGER: Party = PARTIES;
pub(crate) const SETTLEMENT: Party = 200;
pub(crate) const START: u64 = 1_000_000;
const STEPS: u64 = 160;
const RNG_SEEDS: u64 = 64;

pub(crate) struct Schedule {
    draw: Draw,
    pub(crate) book: Book,
    pub(crate) bounds: Bounds,
    pub(crate) genesis: Genesis,
    store: Memory,
    pub(crate) ledger: NetworkLedger<Memory>,
    pub(crate) now: u64,
    tried: Vec<Try>,
    pub(crate) opened: Opened,
    tally: Tally,
}

fn genesis(is_large: bool) -> (Genesis, Bounds) {
    let text = Genesis::render("oracle", id(SETTLEMENT), &[id(0), id(1)]).unwrap();
    let (lock_max, grant_max, transfer_min) = if is_large {
        (u64::MAX >> 1, u64::MAX >> 1, 1)
    } else {
        (900, 5_000, 3)
    };
    let set = |text: String, name: &str, from: u64, to: u64| {
        let changed = text.replace(&format!("{name} = {from}\n"), &format!("{name} = {to}\n"));
        assert_ne!(changed, text, "{name}");
        changed
    };
    let text = set(text, "lock_ttl_secs_max", 604_800, 4_000);
    let text = set(text, "lock_grace_secs", 86_400, 3_601);
    let text = set(text, "lock_microcredits_max", 1_000_000_000_000, lock_max);
    let text = set(
        text,
        "grant_microcredits_max",
        1_000_000_000_000_000,
        grant_max,
    );
    let text = set(text, "transfer_microcredits_min", 1_000, transfer_min);
    let bounds = Bounds {
        issuers: vec![0, 1],
        ttl_max: 4_000,
        grace: 3_601,
        lock_max: lock_max.into(),
        grant_max: grant_max.into(),
        transfer_min,
        nobodies: NOBODIES,
    };
    (Genesis::parse(&text).unwrap(), bounds)
}

pub(crate) fn narrow(amount: u128) -> u64 {
    u64::try_from(amount).unwrap()
}

impl Schedule {
    pub(crate) fn new(rng_seed: u64) -> Self {
        let (genesis, bounds) = genesis(rng_seed % 4 == 3);
        let store = Memory::new();
        Self {
            draw: Draw::new(rng_seed),
            book: Book::new(bounds.clone(), START),
            bounds,
            ledger: open(&store, &genesis, START),
            genesis,
            store,
            now: START,
            tried: Vec::new(),
            opened: Opened::new(),
            tally: Tally::default(),
        }
    }

    /// One step: time may pass, the ledger may be reopened, and a group is tried on both.
    pub(crate) fn step(&mut self) {
        if self.draw.chance(40) {
            self.now = self.moment();
        }
        if self.draw.chance(4) {
            self.ledger = open(&self.store, &self.genesis, self.now);
            self.tally.reopened += 1;
        }
        let len = self.draw.of(&[0, 1, 1, 1, 1, 1, 1, 2, 3, 5]);
        let mut group = Vec::new();
        for _ in 0..len {
            let attempt = self.attempt(&group);
            group.push(attempt);
            self.tried.push(attempt);
        }
        self.try_group(&group);
    }

    fn try_group(&mut self, group: &[Try]) {
        let answers = self.book.submit(self.now, group);
        let network_id = self.genesis.network_id();
        for (attempt, answer) in group.iter().zip(&answers) {
            if let (Try::Order(order), Answer::Entered(number, None)) = (attempt, answer) {
                let hash = order_of(network_id, order).body.hash();
                self.opened.insert(*number, hash);
            }
        }
        let operations: Vec<_> = group
            .iter()
            .map(|attempt| operation(network_id, attempt, &self.opened))
            .collect();
        let now = UnixTime::from_secs(self.now);
        let outcomes = if self.draw.chance(3) {
            self.fail(now, &operations)
        } else {
            self.ledger.append(now, &operations).unwrap()
        };
        assert_eq!(outcomes.len(), answers.len());
        for ((attempt, answer), outcome) in group.iter().zip(answers).zip(outcomes) {
            self.compare_answer(attempt, answer, &outcome);
        }
        self.compare_books();
    }

    /// The disk fills up in the middle of a group: what was written stays, nothing else shows, and
    /// the group can be tried again.
    fn fail(&mut self, now: UnixTime, operations: &[Operation]) -> Vec<Outcome> {
        self.store.fail_after(self.draw.below(2));
        let outcomes = self.ledger.append(now, operations);
        if outcomes.is_err() {
            self.tally.failed += 1;
            self.ledger.append(now, &[]).unwrap_err();
        }
        self.store = self.store.backup();
        self.ledger = open(&self.store, &self.genesis, self.now);
        match outcomes {
            Ok(outcomes) => outcomes,
            Err(_) => self.ledger.append(now, operations).unwrap(),
        }
    }

    fn compare_answer(&mut self, attempt: &Try, answer: Answer, outcome: &Outcome) {
        self.tally.operations += 1;
        let got = match outcome {
            Outcome::Entered { sequence, refusal } => Answer::Entered(sequence.get(), *refusal),
            Outcome::Known { sequence, refusal } => Answer::Known(sequence.get(), *refusal),
            Outcome::NonceUsed { sequence, .. } => Answer::NonceUsed(sequence.get()),
            Outcome::Refused(_) if answer == Answer::RefusedSomehow => Answer::RefusedSomehow,
            Outcome::Refused(refusal) => Answer::Refused(*refusal),
        };
        assert_eq!(got, answer, "{attempt:?} at {}", self.now);
        let kind = match attempt {
            Try::Order(order) => {
                format!("{:?}", order.wish).replace(|c: char| !c.is_alphabetic(), "")
            }
            Try::Claim(_) => "Claim".to_owned(),
            Try::Expiry(_) => "Expiry".to_owned(),
        };
        let name = match got {
            Answer::Entered(_, None) => "entered".to_owned(),
            Answer::Entered(_, Some(refusal)) => format!("entered as {refusal:?}"),
            Answer::Known(..) => "known".to_owned(),
            Answer::NonceUsed(_) => "nonce used".to_owned(),
            Answer::Refused(refusal) => format!("{refusal:?}"),
            Answer::RefusedSomehow => "refused".to_owned(),
        };
        *self
            .tally
            .answers
            .entry(format!("{kind}: {name}"))
            .or_default() += 1;
    }

    fn compare_books(&self) {
        assert_eq!(self.ledger.head().next.get(), self.book.next, "entries");
        assert_eq!(
            self.ledger.head().time.as_secs(),
            self.book.time,
            "log time"
        );
        let supply = self.ledger.supply().unwrap();
        assert_eq!(supply.granted, self.book.granted);
        assert_eq!(supply.burned, self.book.burned);
        assert_eq!(
            u128::from(supply.total.get()),
            self.book.granted - self.book.burned
        );
        for party in 0..=STRANGER {
            let status = self.ledger.account(&id(party)).unwrap();
            let account = self.book.account(party);
            assert_eq!(
                u128::from(status.available.get()),
                account.available,
                "of {party}"
            );
            assert_eq!(
                u128::from(status.reserved.get()),
                self.book.reserved(party),
                "of {party}"
            );
            assert_eq!(status.nonce, account.nonce, "nonce of {party}");
        }
        let state = State::new(&self.store);
        for (number, lock) in &self.book.locks {
            let escrow = state.balance(&AccountId::Escrow(LockId::new(*number)));
            assert_eq!(escrow.unwrap(), lock.escrow, "escrow of lock {number}");
        }
    }

    /// What costs too much to look at after every step.
    pub(crate) fn compare_the_rest(&self) {
        for (number, lock) in &self.book.locks {
            let status = self.ledger.lock(LockId::new(*number)).unwrap().unwrap();
            status.lock.verify(&id(SETTLEMENT)).unwrap();
            let body = status.lock.body;
            assert_eq!(body.network_id, self.genesis.network_id());
            assert_eq!(body.lock_id.get(), *number);
            assert_eq!((body.payer, body.payee), (id(lock.payer), id(lock.payee)));
            assert_eq!(u128::from(body.amount.get()), lock.amount);
            assert_eq!(u128::from(body.expires_at.as_secs()), lock.expires_at);
            assert_eq!(u128::from(body.grace_secs), self.bounds.grace);
            assert_eq!(
                u128::from(status.claimed.get()),
                lock.claimed,
                "lock {number}"
            );
            assert_eq!(status.closed, lock.is_closed, "lock {number}");
        }
        for payer in 0..=STRANGER {
            for payee in 0..=STRANGER {
                let newest = self.ledger.lock_between(&id(payer), &id(payee)).unwrap();
                let of_pair = self.book.locks.iter().rev();
                let expected = of_pair
                    .filter(|(_, lock)| (lock.payer, lock.payee) == (payer, payee))
                    .map(|(number, _)| *number)
                    .next();
                let newest = newest.map(|status| status.lock.body.lock_id.get());
                assert_eq!(newest, expected, "newest lock of {payer} for {payee}");
            }
            self.compare_statement(payer);
        }
        let report = self.ledger.check().unwrap();
        assert_eq!(report.entry_count, self.book.next);
        self.ledger.check_invariants().unwrap();
    }

    fn compare_statement(&self, party: Party) {
        let mut previous: Option<Sequence> = None;
        let mut expected = self.book.account(party).lines.into_iter();
        loop {
            let page = self.ledger.statement(&id(party), previous, 50).unwrap();
            if page.is_empty() {
                break;
            }
            for line in page {
                line.certificate.verify(&id(SETTLEMENT)).unwrap();
                let certificate = line.certificate.body;
                let line_is = crate::book::Line {
                    sequence: certificate.sequence.get(),
                    amount: line.amount.get().into(),
                    available_after: certificate.available_after.get().into(),
                    refusal: line.refusal,
                };
                let told = expected.next();
                let cause = &line.operation;
                assert_eq!(Some(line_is), told, "a line of {party}: {cause:?}");
                assert_eq!(
                    line.previous, previous,
                    "lines of {party} follow each other"
                );
                assert_eq!(certificate.account, id(party));
                previous = Some(certificate.sequence);
            }
        }
        assert_eq!(expected.next(), None, "a line of {party} is missing");
    }
}

fn open(store: &Memory, genesis: &Genesis, now: u64) -> NetworkLedger<Memory> {
    let (store, genesis, settlement) = (store.clone(), genesis.clone(), key(SETTLEMENT));
    let ledger = if is_empty(&store).unwrap() {
        NetworkLedger::found(store, genesis, settlement, UnixTime::from_secs(now))
    } else {
        NetworkLedger::open(store, genesis, settlement, None)
    };
    ledger.unwrap()
}

/// Runs a schedule and says which, if it fails.
fn run(rng_seed: u64, steps: u64) -> Schedule {
    let mut schedule = Schedule::new(rng_seed);
    for step in 0..steps {
        let tried = std::panic::AssertUnwindSafe(|| schedule.step());
        if let Err(panic) = std::panic::catch_unwind(tried) {
            println!("schedule {rng_seed}, step {step}");
            std::panic::resume_unwind(panic);
        }
    }
    schedule
}

#[test]
fn network_ledger_agrees_with_a_naive_book() {
    let mut total = Tally::default();
    for rng_seed in 0..RNG_SEEDS {
        let schedule = run(rng_seed, STEPS);
        schedule.compare_the_rest();
        total.add(schedule.tally);
    }
    println!("{total:#?}");
    total.check();
}

#[test]
fn network_ledger_agrees_at_the_end_of_time() {
    for rng_seed in 0..4 {
        let mut schedule = run(rng_seed, 60);
        for now in [u64::MAX - 4_000, u64::MAX - 1, u64::MAX, 0, u64::MAX] {
            schedule.now = now;
            for _ in 0..20 {
                schedule.step();
            }
        }
        schedule.compare_the_rest();
    }
}

/// More locks end at once than a ledger enters in one batch, and meanwhile they are claimed from,
/// closed and renewed, and others are opened.
#[test]
fn many_locks_end_at_once_as_in_the_book() {
    let mut schedule = Schedule::new(0);
    let order = |schedule: &mut Schedule, account: Party, wish: Wish| {
        let nonce = schedule.book.account(account).nonce + 1;
        let attempt = Try::Order(OrderTry {
            account,
            nonce,
            valid_until: u64::MAX,
            wish,
            memo: 0,
            is_other_network: false,
            is_forged: false,
        });
        schedule.try_group(&[attempt]);
    };
    order(&mut schedule, 0, Wish::Grant(1, 5_000));
    // A lock past its expiry is not live, and its credit stays reserved for its grace.
    for _ in 0..90 {
        for payee in 2..6 {
            order(&mut schedule, 1, Wish::OpenLock(payee, 3, 1));
        }
        schedule.now += 2;
    }
    assert_eq!(schedule.book.reserved(1), 360 * 3);
    schedule.now += 10_000;
    for _ in 0..9 {
        let attempts: Vec<_> = (0..3).map(|_| schedule.attempt(&[])).collect();
        schedule.try_group(&attempts);
    }
    assert!(schedule.book.reserved(1) > 0, "some wait");
    for _ in 0..2 {
        schedule.try_group(&[]);
    }
    let own = schedule.book.locks.values();
    let waiting = own.filter(|lock| !lock.is_closed && lock.expires_at < schedule.now.into());
    assert_eq!(waiting.count(), 0);
    schedule.compare_the_rest();
}
