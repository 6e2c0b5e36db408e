//! The rules of the network chart, one claim per test.

use std::sync::{Arc, Mutex};

use seedbank_ledger::charts::network::{NetworkLedger, SUPPLY_MAX};
use seedbank_ledger::ledger::{LedgerError, OpenError, Outcome};
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{
    Batch, Durability, KeyValue, Memory, Snapshot, Store, StoreError, StoreRead, Table,
};
use seedbank_ledger::{Identity, NetworkId, NodeId, UnixTime};

use crate::world::{
    GRACE, ISSUER, START, TTL, World, channel, claim, cr, genesis, grant, id, identity, nobodies,
    open_lock, open_network, order, receipt, transfer,
};

#[test]
fn a_nonce_is_consumed_whatever_the_outcome_and_then_answers_for_good() {
    let mut world = World::funded(2);
    let first = Operation::Order(order(1, 1, transfer(0, 5_000)));
    let entered = world.one(first.clone());
    assert_eq!(entered.refusal(), Some(Refusal::InsufficientCredit));
    world.order(ISSUER, grant(1, 9_000));
    let head = world.network.head();
    // The credit is there now, and the answer is the same.
    let Outcome::Known { sequence, refusal } = world.one(first) else {
        panic!("the order was answered before");
    };
    assert_eq!(Some(sequence), entered.sequence());
    assert_eq!(refusal, entered.refusal());
    let other = Operation::Order(order(1, 1, transfer(0, 1)));
    let used = world.one(other);
    assert!(matches!(&used, Outcome::NonceUsed { order, .. } if order.body.nonce == 1));
    assert_eq!(used.refusal(), Some(Refusal::WrongNonce));
    for nonce in [0, 3, u64::MAX] {
        let skipped = Operation::Order(order(1, nonce, transfer(0, 1)));
        assert_eq!(world.one(skipped), Outcome::Refused(Refusal::WrongNonce));
    }
    assert_eq!(world.network.head(), head);
}

#[test]
fn what_is_badly_signed_leaves_nothing() {
    let mut world = World::funded(2);
    let head = world.network.head();
    let mut forged = order(1, 1, transfer(0, 5));
    forged.body.memo_hash = [1; 32];
    let mut foreign = order(1, 1, transfer(0, 5)).body;
    foreign.network_id = NetworkId::from_bytes([3; 32]);
    let foreign = foreign.sign(&identity(1));
    for (order, refusal) in [
        (forged, Refusal::BadSignature),
        (foreign, Refusal::WrongNetwork),
    ] {
        let outcome = world.one(Operation::Order(order));
        assert_eq!(outcome, Outcome::Refused(refusal));
    }
    assert_eq!(world.network.head(), head);
    assert_eq!(world.network.account(&id(1)).unwrap().nonce, 0);
}

#[test]
fn orders_are_refused_for_the_first_reason_that_holds() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let top_up = |lock_id, amount, ttl_secs| OrderKind::TopUp {
        lock_id,
        amount: cr(amount),
        ttl_secs,
    };
    let open = |payee: u8, amount, ttl_secs| OrderKind::OpenLock {
        payee: id(payee),
        amount: cr(amount),
        ttl_secs,
    };
    let max = 1_000_000_000_000;
    for (account, kind, refusal) in [
        (1, grant(1, 5), Refusal::NotIssuer),
        (1, OrderKind::Burn { amount: cr(1) }, Refusal::NotIssuer),
        (0, grant(1, 0), Refusal::BadAmount),
        (0, grant(1, u64::MAX), Refusal::BadAmount),
        (
            0,
            OrderKind::Burn { amount: cr(5_000) },
            Refusal::InsufficientCredit,
        ),
        (1, transfer(1, 0), Refusal::BadAmount),
        (1, transfer(1, 5_000), Refusal::InsufficientCredit),
        (1, transfer(1, 5), Refusal::SameParty),
        (1, open(2, 0, TTL), Refusal::BadAmount),
        (1, open(2, max + 1, TTL), Refusal::BadAmount),
        (1, open(2, 901, TTL), Refusal::InsufficientCredit),
        (1, open(1, 5, TTL), Refusal::SameParty),
        (1, open(2, 5, 0), Refusal::LockExists),
        (1, open(0, 5, 0), Refusal::BadLifetime),
        (1, open(0, 5, u32::MAX), Refusal::BadLifetime),
        (1, top_up(lock_id, 0, 0), Refusal::BadAmount),
        (1, top_up(lock_id, max, 0), Refusal::BadAmount),
        (1, top_up(lock_id, 901, 0), Refusal::InsufficientCredit),
        (1, top_up(LockId::new(0), 1, 0), Refusal::LockUnknown),
        (2, top_up(lock_id, 1, 0), Refusal::NotParty),
        (1, top_up(lock_id, 1, u32::MAX), Refusal::BadLifetime),
        (1, OrderKind::CloseLock { lock_id }, Refusal::NotParty),
        (1, OrderKind::RotateKey { to: id(1) }, Refusal::SameParty),
    ] {
        assert_eq!(world.order(account, kind), Some(refusal), "{kind:?}");
    }
    assert_eq!(world.available(1), 900);
    world.network.check().unwrap();
}

/// Credit sent to such a key would be gone, and an account handed over to one for good.
#[test]
fn a_key_that_nobody_can_hold_receives_nothing() {
    let mut world = World::funded(2);
    let amount = cr(5);
    for to in nobodies() {
        let open = OrderKind::OpenLock {
            payee: to,
            amount,
            ttl_secs: TTL,
        };
        for (account, kind) in [
            (1, OrderKind::Transfer { to, amount }),
            (1, open),
            (1, OrderKind::RotateKey { to }),
            (ISSUER, OrderKind::Grant { to, amount }),
        ] {
            let refusal = world.order(account, kind);
            assert_eq!(refusal, Some(Refusal::BadKey), "{kind:?}");
        }
        let status = world.network.account(&to).unwrap();
        assert_eq!(status.available, cr(0));
    }
    assert_eq!(world.available(1), 1_000);
    assert_eq!(world.order(1, transfer(0, 5)), None, "1 is nobody else's");
    world.network.check().unwrap();
}

/// Standing have issuers, who ever held credit, who was handed an account, and both parties to a
/// lock; being refused gives none.
#[test]
fn standing_comes_with_credit_a_lock_or_an_account_and_stays() {
    let mut world = World::funded(2);
    let first = |account, kind| Operation::Order(order(account, 1, kind));
    let all = [5, 6, 7, 8];
    for account in all {
        let refused = world.one(first(account, transfer(1, 1)));
        assert_eq!(refused, Outcome::Refused(Refusal::NoStanding));
    }
    assert_eq!(world.order(1, transfer(5, 1)), None);
    world.lock(1, 6, 1);
    assert_eq!(world.order(5, transfer(1, 1)), None);
    assert_eq!(world.order(5, OrderKind::RotateKey { to: id(7) }), None);
    for account in [5, 6, 7] {
        let poor = world.order(account, transfer(1, 9_999));
        assert_eq!(poor, Some(Refusal::InsufficientCredit), "{account}");
    }
    let still = world.one(first(8, transfer(1, 1)));
    assert_eq!(still, Outcome::Refused(Refusal::NoStanding));
    // An issuer orders before there is any credit.
    let refused = World::new().order(ISSUER, transfer(1, 1));
    assert_eq!(refused, Some(Refusal::InsufficientCredit));
    world.network.check().unwrap();
}

/// A payee that was never paid can give a lock back, as only it may.
#[test]
fn a_payee_without_credit_closes_its_lock() {
    let mut world = World::funded(2);
    let lock_id = world.lock(1, 6, 100);
    assert_eq!(world.order(6, OrderKind::CloseLock { lock_id }), None);
    assert_eq!(world.available(1), 1_000);
}

/// Rows that give standing without a reason, or are missing, are found.
#[test]
fn standing_without_a_line_or_a_lock_does_not_check() {
    for (account, row) in [(8, Some(vec![0; 18])), (6, None)] {
        let mut world = World::funded(2);
        world.lock(1, 6, 100);
        let mut batch = Batch::new();
        let key = id(account).as_bytes().to_vec();
        match row {
            Some(row) => batch.put(Table::Owner, key, row),
            None => batch.delete(Table::Owner, key),
        }
        world.store.write(&batch, Durability::Synced).unwrap();
        assert!(world.network.check_invariants().is_err(), "{account}");
    }
}

/// A store that notes where scans for expiries begin.
#[derive(Clone)]
struct ScanStarts(Memory, Arc<Mutex<Vec<Vec<u8>>>>);

impl StoreRead for ScanStarts {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        if table == Table::Expiry {
            self.1.lock().unwrap().push(from.to_vec());
        }
        self.0.scan(table, from, until, limit)
    }
}

impl Store for ScanStarts {
    fn snapshot(&self) -> Snapshot<'_> {
        self.0.snapshot()
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.0.write(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.0.sync()
    }
}

/// What was closed, renewed or expired leaves marks in a store, over which it steps in every scan
/// that begins before them.
#[test]
fn what_falls_due_is_looked_for_behind_what_was_entered() {
    let starts = ScanStarts(World::funded(2).store, Arc::default());
    let mut network = open_network(starts.clone());
    let mut from = |now, nonce, kind| {
        let order = Operation::Order(order(1, nonce, kind));
        starts.1.lock().unwrap().clear();
        let outcome = network.append(now, &[order]).unwrap().remove(0);
        assert_eq!(outcome.refusal(), None);
        let starts = std::mem::take(&mut *starts.1.lock().unwrap());
        let times = starts.iter().map(|from| from.first_chunk().copied());
        times
            .map(|time| time.map(u64::from_be_bytes))
            .collect::<Vec<_>>()
    };
    let secs = |time: UnixTime| Some(time.as_secs());
    assert_eq!(from(START, 1, open_lock(0, 5)), [secs(START)]);
    let later = START.plus_secs(7);
    assert_eq!(from(later, 2, transfer(0, 1)), [secs(START)]);
    assert_eq!(from(later, 3, transfer(0, 1)), [secs(later)]);
    // The lock ends, and nothing else is due behind it.
    let returns_at = START.plus_secs(u64::from(TTL) + GRACE);
    let end = returns_at.plus_secs(1);
    assert_eq!(from(end, 4, transfer(0, 1)), [secs(later)]);
    assert_eq!(from(end, 5, transfer(0, 1)), [secs(returns_at)]);
    assert_eq!(from(end, 6, transfer(0, 1)), [secs(end)]);
}

/// The power fails when some of what fell due at one moment is entered: the rest is, at the next
/// start, though the ledger's time is past it.
#[test]
fn what_fell_due_and_was_cut_off_is_entered_at_the_next_start() {
    let mut world = World::new();
    assert_eq!(world.order(ISSUER, grant(1, 1_000)), None);
    // More than one batch holds: three locks for each of 100 payees, one after the other.
    for nonce in 1..=300_u64 {
        let kind = OrderKind::OpenLock {
            payee: id(2 + u8::try_from(nonce % 100).unwrap()),
            amount: cr(1),
            ttl_secs: 1,
        };
        let order = Operation::Order(order(1, nonce, kind));
        let outcome = world.network.append(world.now, &[order]).unwrap();
        assert_eq!(outcome[0].refusal(), None);
        world.now = world
            .now
            .plus_secs(2 * u64::from(nonce.is_multiple_of(100)));
    }
    assert_eq!(world.network.account(&id(1)).unwrap().reserved, cr(300));
    world.now = world.now.plus_secs(GRACE + 10);
    world.network.append(world.now, &[]).unwrap();
    world.store.fail_after(0);
    world.network.append(world.now, &[]).unwrap_err();
    assert!(!world.network.is_behind(), "nothing can be done any more");
    let store = world.store.backup();
    let mut network = open_network(store);
    assert_eq!(network.account(&id(1)).unwrap().reserved, cr(44));
    assert_eq!(network.head().time, world.now);
    network.append(world.now, &[]).unwrap();
    assert_eq!(network.account(&id(1)).unwrap().reserved, cr(0));
    assert!(!network.is_behind());
    network.check().unwrap();
}

#[test]
fn an_expired_order_is_refused_and_entered() {
    let mut world = World::funded(2);
    let mut late = order(1, 1, transfer(0, 5)).body;
    late.valid_until = START;
    let on_time = late.sign(&identity(1));
    world.now = START.plus_secs(1);
    let outcome = world.one(Operation::Order(on_time));
    assert_eq!(outcome.refusal(), Some(Refusal::Expired));
    assert!(outcome.sequence().is_some());
    late.nonce = 2;
    late.valid_until = world.now;
    let outcome = world.one(Operation::Order(late.sign(&identity(1))));
    assert_eq!(outcome.refusal(), None);
}

#[test]
fn supply_is_bounded_and_burning_makes_room() {
    let mut world = World::new();
    let max = SUPPLY_MAX.get();
    assert_eq!(world.order(ISSUER, grant(ISSUER, max)), None);
    assert_eq!(world.order(ISSUER, grant(1, 1)), Some(Refusal::Overflow));
    assert_eq!(world.order(ISSUER, OrderKind::Burn { amount: cr(1) }), None);
    assert_eq!(world.order(ISSUER, grant(1, 1)), None);
    let supply = world.network.supply().unwrap();
    assert_eq!(supply.total, SUPPLY_MAX);
    assert_eq!((supply.granted, supply.burned), (u128::from(max) + 1, 1));
}

#[test]
fn a_claim_pays_once_and_at_most_what_the_lock_holds() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let paid = world.claim(lock_id, (1, 2), (10, 60));
    assert_eq!(world.available(2), 1_060);
    let again = world.claim(lock_id, (1, 2), (10, 60));
    assert_eq!(again.sequence(), paid.sequence());
    assert_eq!(
        world.claim(lock_id, (1, 2), (9, 70)),
        Outcome::Refused(Refusal::ReceiptRegressed)
    );
    world.claim(lock_id, (1, 2), (20, 500));
    assert_eq!(world.available(2), 1_100);
    // A top-up makes the same receipt worth more.
    let top_up = OrderKind::TopUp {
        lock_id,
        amount: cr(50),
        ttl_secs: 0,
    };
    assert_eq!(world.order(1, top_up), None);
    world.claim(lock_id, (1, 2), (20, 500));
    assert_eq!(world.available(2), 1_150);
    assert_eq!(world.status(lock_id).claimed, cr(150));
    assert!(!world.status(lock_id).closed);
}

#[test]
fn claims_are_refused_for_the_first_reason_that_holds() {
    let mut world = World::funded(4);
    let lock_id = world.lock(1, 2, 100);
    let head = world.network.head();
    let good = receipt(&channel(&world.network, lock_id, 1, 2), 1, 10, 60);
    let other_lock = receipt(&channel(&world.network, LockId::new(99), 1, 2), 1, 10, 60);
    let not_payer = receipt(&channel(&world.network, lock_id, 1, 2), 3, 10, 60);
    let nothing = receipt(&channel(&world.network, lock_id, 1, 2), 1, 10, 0);
    let mut forged = claim(lock_id, 2, good);
    forged.body.payee = id(3);
    let mut foreign = claim(lock_id, 2, good).body;
    foreign.network_id = NetworkId::from_bytes([3; 32]);
    for (claim, refusal) in [
        (foreign.sign(&identity(2)), Refusal::WrongNetwork),
        (forged, Refusal::BadSignature),
        (claim(lock_id, 2, nothing), Refusal::BadAmount),
        (claim(LockId::new(0), 2, good), Refusal::LockUnknown),
        (claim(lock_id, 3, good), Refusal::NotParty),
        (claim(lock_id, 2, other_lock), Refusal::BadReceipt),
        (claim(lock_id, 2, not_payer), Refusal::BadReceipt),
    ] {
        let outcome = world.one(Operation::Claim(claim));
        assert_eq!(outcome, Outcome::Refused(refusal));
    }
    assert_eq!(world.network.head(), head);
}

#[test]
fn a_lock_expires_by_itself_before_whatever_comes_after() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    world.claim(lock_id, (1, 2), (10, 60));
    world.now = START.plus_secs(u64::from(TTL) + GRACE);
    world.claim(lock_id, (1, 2), (10, 61));
    assert_eq!(world.available(2), 1_061);
    world.now = world.now.plus_secs(1);
    let late = world.claim(lock_id, (1, 2), (10, 62));
    assert_eq!(late, Outcome::Refused(Refusal::LockClosed));
    assert_eq!(world.available(1), 939);
    assert!(world.status(lock_id).closed);
    world.network.check().unwrap();
}

#[test]
fn an_expiry_cannot_be_asked_for() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    for _ in 0..2 {
        let outcome = world.one(Operation::Expiry(lock_id));
        assert_eq!(outcome, Outcome::Refused(Refusal::NotParty));
        assert!(!world.status(lock_id).closed);
        world.now = world.now.plus_secs(u64::from(TTL) + GRACE);
    }
}

#[test]
fn a_renewed_lock_lives_longer_and_never_shorter() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let renew = |ttl_secs| OrderKind::TopUp {
        lock_id,
        amount: cr(0),
        ttl_secs,
    };
    assert_eq!(world.order(1, renew(2 * TTL)), None);
    assert_eq!(world.order(1, renew(1)), None);
    let expires_at = START.plus_secs(u64::from(2 * TTL));
    assert_eq!(world.status(lock_id).lock.body.expires_at, expires_at);
    world.pass(u64::from(TTL) + GRACE + 1);
    assert!(!world.status(lock_id).closed);
    world.pass(u64::from(TTL));
    assert!(world.status(lock_id).closed);
    assert_eq!(world.order(1, renew(TTL)), Some(Refusal::LockClosed));
}

#[test]
fn a_pair_has_one_live_lock() {
    let mut world = World::funded(3);
    let first = world.lock(1, 2, 100);
    assert_eq!(world.order(1, open_lock(2, 5)), Some(Refusal::LockExists));
    // The other direction is another pair.
    world.lock(2, 1, 5);
    world.claim(first, (1, 2), (10, 100));
    let second = world.lock(1, 2, 50);
    let top_up = |lock_id| OrderKind::TopUp {
        lock_id,
        amount: cr(1),
        ttl_secs: 0,
    };
    assert_eq!(world.order(1, top_up(first)), Some(Refusal::LockExists));
    assert_eq!(world.order(1, top_up(second)), None);
    world.pass(u64::from(TTL) + 1);
    assert_eq!(world.order(1, top_up(second)), Some(Refusal::LockClosed));
    world.lock(1, 2, 7);
    assert_eq!(world.network.account(&id(1)).unwrap().reserved, cr(58));
}

#[test]
fn only_the_payee_closes_and_what_is_left_returns() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    world.claim(lock_id, (1, 2), (10, 60));
    assert_eq!(world.order(2, OrderKind::CloseLock { lock_id }), None);
    assert_eq!(world.available(1), 940);
    assert_eq!(
        world.order(2, OrderKind::CloseLock { lock_id }),
        Some(Refusal::LockClosed)
    );
    assert_eq!(
        world.claim(lock_id, (1, 2), (10, 61)),
        Outcome::Refused(Refusal::LockClosed)
    );
}

#[test]
fn a_handed_over_account_keeps_its_locks_and_nothing_else() {
    let mut world = World::funded(4);
    let paying = world.lock(1, 2, 100);
    let paid = world.lock(2, 1, 100);
    let rotate = |to: u8| OrderKind::RotateKey { to: id(to) };
    assert_eq!(world.order(1, rotate(9)), None);
    assert_eq!((world.available(1), world.available(9)), (0, 900));
    for kind in [transfer(1, 1), open_lock(1, 1), rotate(1)] {
        assert_eq!(world.order(3, kind), Some(Refusal::KeyRotated));
    }
    // Its locks end as they would have, and it can hand over what they bring.
    world.claim(paid, (2, 1), (10, 40));
    assert_eq!(world.order(1, transfer(3, 1)), Some(Refusal::KeyRotated));
    assert_eq!(world.order(1, OrderKind::CloseLock { lock_id: paid }), None);
    assert_eq!(world.order(1, rotate(3)), Some(Refusal::KeyRotated));
    assert_eq!(world.order(1, rotate(9)), None);
    assert_eq!((world.available(1), world.available(9)), (0, 940));
    world.pass(u64::from(TTL) + GRACE + 1);
    assert!(world.status(paying).closed);
    assert_eq!(world.available(1), 100);
    world.network.check().unwrap();
}

/// Whoever lost the answer asks again with the same bytes, and is told the same.
#[test]
fn a_hand_over_is_repeated_and_known() {
    let mut world = World::funded(3);
    world.lock(1, 4, 100);
    for (from, moved) in [(1, 900), (4, 0)] {
        let to = id(from + 4);
        let first = Operation::Order(order(from, 1 + u64::from(from == 1), rotation(to)));
        let sequence = world.one(first.clone()).sequence().unwrap();
        let head = world.network.head();
        let refusal = None;
        for _ in 0..9 {
            let known = Outcome::Known { sequence, refusal };
            assert_eq!(world.one(first.clone()), known);
        }
        assert_eq!(world.network.head(), head);
        assert_eq!(world.available(from + 4), moved, "also of an empty account");
        let again = world.order(from, rotation(to));
        assert_eq!(
            again,
            Some(Refusal::KeyRotated),
            "a new order moves nothing"
        );
        assert_eq!(world.network.statement(&to, None, 9).unwrap().len(), 1);
    }
}

fn rotation(to: NodeId) -> OrderKind {
    OrderKind::RotateKey { to }
}

/// What returns to a key whose successor was left as well goes to the successor, which can hand it
/// on: there is no other way.
#[test]
fn what_comes_in_follows_to_a_successor_that_was_left_as_well() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    assert_eq!(world.order(1, rotation(id(8))), None);
    assert_eq!(world.order(8, rotation(id(9))), None);
    assert_eq!(world.order(2, OrderKind::CloseLock { lock_id }), None);
    assert_eq!(world.order(1, rotation(id(9))), Some(Refusal::KeyRotated));
    assert_eq!(world.order(1, rotation(id(8))), None);
    assert_eq!(world.order(8, rotation(id(9))), None);
    assert_eq!(world.available(9), 1_000);
    world.network.check().unwrap();
}

#[test]
fn time_in_the_log_never_goes_back() {
    let mut world = World::funded(2);
    world.pass(500);
    world.order(1, transfer(0, 1));
    world.now = UnixTime::from_secs(3);
    world.order(1, transfer(0, 1));
    assert_eq!(world.network.head().time, START.plus_secs(500));
    world.network.check().unwrap();
}

#[test]
fn certificates_and_locks_are_signed_by_the_settlement_key() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let lines = world.network.statement(&id(1), None, 99).unwrap();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        line.certificate.verify(&id(200)).unwrap();
        assert_eq!(line.certificate.body.account, id(1));
    }
    assert_eq!(lines[0].previous, None);
    assert_eq!(lines[1].previous, Some(lines[0].certificate.body.sequence));
    let opened = lines[1].lock.unwrap();
    assert_eq!(opened, world.status(lock_id));
    opened.lock.verify(&id(200)).unwrap();
    let top_up = OrderKind::TopUp {
        lock_id,
        amount: cr(1),
        ttl_secs: 0,
    };
    world.order(1, top_up);
    // What a line says of its lock is how it stood then.
    assert_eq!(
        world.network.statement(&id(1), None, 99).unwrap()[..2],
        lines
    );
    assert_eq!(world.status(lock_id).lock.body.amount, cr(101));
    world.status(lock_id).lock.verify(&id(200)).unwrap();
}

#[test]
fn a_ledger_opens_with_its_own_genesis_and_key_only() {
    let world = World::funded(2);
    let head = world.network.head();
    assert_eq!(open_network(world.store.clone()).head(), head);
    let wrong_key = NetworkLedger::open(
        world.store.clone(),
        genesis(),
        Identity::from_secret([1; 32]),
        None,
    );
    assert!(matches!(wrong_key, Err(OpenError::OtherKey { .. })));
    let text = seedbank_ledger::Genesis::render("other", id(200), &[id(0)]).unwrap();
    let other = seedbank_ledger::Genesis::parse(&text).unwrap();
    let wrong_genesis = NetworkLedger::open(world.store, other, identity(200), None);
    assert!(matches!(wrong_genesis, Err(OpenError::OtherGenesis { .. })));
}

#[test]
fn an_expiry_of_no_lock_stops_the_ledger_and_does_not_spin() {
    let mut world = World::funded(2);
    let mut batch = Batch::new();
    let at = [START.as_secs().to_be_bytes(), [0; 8]].concat();
    batch.put(Table::Expiry, at, Vec::new());
    world.store.write(&batch, Durability::Synced).unwrap();
    let refusal = Refusal::LockUnknown;
    let error = LedgerError::DueRefused { refusal };
    let later = START.plus_secs(1);
    assert_eq!(world.network.append(later, &[]), Err(error.clone()));
    let order = Operation::Order(order(1, 1, transfer(0, 1)));
    assert_eq!(world.network.append(later, &[order]), Err(error));
}
