//! Locks whose time has passed: they are ended a few at a time, in one order, and nobody waits.

use seedbank_ledger::entry::{Entry, EntryHash, EntryKind};
use seedbank_ledger::ledger::check::CheckError;
use seedbank_ledger::ledger::{DUE_BEFORE_CAUSE_MAX, DUE_MAX, Outcome};
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::head::HeadSigner;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::state::{Row, sequence_key};
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{Batch, Durability, Memory, Store as _, Table};
use seedbank_ledger::{Sequence, UnixTime};

use crate::laws::{History, replay, rows};
use crate::world::{
    GRACE, ISSUER, START, TTL, World, cr, grant, id, identity, network_id, open_lock, open_network,
    order, transfer,
};

/// The first second in which locks of [`TTL`] that were opened at the start have ended.
fn after_end() -> UnixTime {
    START.plus_secs(u64::from(TTL) + GRACE + 1)
}

/// A network in which `payers` accounts from 1 on have a lock of 1 for each of `payees` others, and
/// their time has passed.
fn with_locks(payers: u8, payees: u8) -> World {
    let mut world = World::funded(payers + 1);
    for payer in 1..=payers {
        let payees = (100..100 + payees).filter(|payee| *payee != 200);
        let orders: Vec<_> = (1..)
            .zip(payees)
            .map(|(nonce, payee)| Operation::Order(order(payer, nonce, open_lock(payee, 1))))
            .collect();
        let outcomes = world.network.append(START, &orders).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.refusal().is_none()));
    }
    world.now = after_end();
    world
}

/// The numbers of the locks that were ended, in the order in which they were.
fn ended(world: &World) -> Vec<u64> {
    let mut entries = Vec::new();
    while let page = world
        .network
        .entries(Sequence::new(entries.len() as u64), 999)
        .unwrap()
        && !page.is_empty()
    {
        entries.extend(page);
    }
    let expiries = entries
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::LockExpiry);
    expiries
        .map(|entry| u64::from_le_bytes(entry.cause.try_into().unwrap()))
        .collect()
}

/// Locks that end in one second were all ended before the next order was: whoever opens them over a
/// week made everybody wait until all were entered.
#[test]
fn locks_that_end_at_once_hold_up_nobodys_order() {
    let mut world = with_locks(4, 150);
    let locked = world.network.supply().unwrap().total.get();
    world.now = after_end().minus_secs(1);
    world.submit(&[]);
    assert_eq!(ended(&world), [0_u64; 0], "not yet");
    assert!(!world.network.is_behind());
    world.now = after_end();
    let before = world.network.head().next.get();
    assert_eq!(world.order(ISSUER, transfer(1, 5)), None);
    let entered = world.network.head().next.get() - before;
    assert_eq!(entered, 1 + DUE_BEFORE_CAUSE_MAX as u64);
    // The rest is entered by whoever has time.
    let mut count = DUE_BEFORE_CAUSE_MAX;
    while world.network.is_behind() {
        world.submit(&[]);
        let more = ended(&world).len() - count;
        assert!((1..=DUE_MAX).contains(&more), "{more} in a batch");
        count += more;
    }
    assert_eq!(count, 4 * 149);
    let accounts = (0..5).map(|account| world.available(account));
    assert_eq!(accounts.sum::<u64>(), locked, "all of it returned");
    world.network.check().unwrap();
}

/// Who has time is the settlement node; and if it never has, orders do it among themselves.
#[test]
fn orders_end_more_locks_than_they_can_open() {
    let mut world = with_locks(1, 99);
    let mut orders = 0;
    while ended(&world).len() < 98 {
        assert_eq!(world.order(ISSUER, transfer(1, 1)), None);
        orders += 1;
    }
    assert_eq!(orders, 98_usize.div_ceil(DUE_BEFORE_CAUSE_MAX));
    assert!(!world.network.is_behind());
    world.network.check().unwrap();
}

/// They end in the order of their ends, and of their numbers if that is the same.
#[test]
fn locks_end_in_the_order_of_their_ends_and_then_of_their_numbers() {
    let mut world = World::funded(2);
    let mut ends = Vec::new();
    for (place, ttl_secs) in (0_u8..).zip([9, 3, 5, 3, 9, 1, 5, 3, 7, 3, 1, 9]) {
        let number = world.network.head().next.get();
        let (payee, amount) = (id(100 + place), cr(1));
        let open = OrderKind::OpenLock {
            payee,
            amount,
            ttl_secs,
        };
        assert_eq!(world.order(1, open), None);
        ends.push((ttl_secs, number));
    }
    ends.sort_unstable();
    world.now = START.plus_secs(GRACE + 10);
    for _ in 0..2 {
        assert_eq!(world.order(1, transfer(0, 1)), None);
    }
    let numbers: Vec<u64> = ends.iter().map(|(_, number)| *number).collect();
    assert_eq!(ended(&world), numbers);
    world.network.check().unwrap();
}

/// A lock that waits for its end is over: nobody is paid from it, adds to it or closes it, and its
/// pair may open another. What is left of it is available once its end is entered.
#[test]
fn a_lock_is_over_when_its_time_has_passed_whether_its_end_is_entered_or_not() {
    let mut world = with_locks(2, 90);
    let last = LockId::new(world.network.head().next.get() - 1);
    let (payer, payee) = (2, 189);
    let lock = world.status(last).lock.body;
    assert_eq!((lock.payer, lock.payee), (id(payer), id(payee)));
    let over = Some(Refusal::LockClosed);
    let claimed = world.claim(last, (payer, payee), (10, 1));
    assert_eq!(claimed, Outcome::Refused(Refusal::LockClosed));
    let close = OrderKind::CloseLock { lock_id: last };
    assert_eq!(world.order(payee, close), over);
    let renew = OrderKind::TopUp {
        lock_id: last,
        amount: cr(0),
        ttl_secs: TTL,
    };
    assert_eq!(world.order(payer, renew), over);
    let all = transfer(0, 1_000);
    assert_eq!(world.order(payer, all), Some(Refusal::InsufficientCredit));
    world.lock(payer, payee, 1);
    assert!(!world.status(last).closed, "its end waits");
    while world.network.is_behind() {
        world.submit(&[]);
    }
    assert!(world.status(last).closed);
    assert_eq!(world.available(payer), 999);
    world.network.check().unwrap();
}

/// L5 holds while locks wait: neither the size of groups, nor operations that leave no entry,
/// change what is entered before what.
#[test]
fn grouping_changes_no_byte_while_locks_wait() {
    let mut world = with_locks(2, 60);
    let now = after_end();
    let mut history = History::new();
    let lock_id = LockId::new(world.network.head().next.get() - 1);
    for (nonce, kind) in [
        (1, transfer(0, 1)),
        (3, transfer(0, 2)),
        (1, transfer(0, 1)),
    ]
    .into_iter()
    .cycle()
    .take(24)
    {
        history.push((now, Operation::Order(order(1, 60 + nonce, kind))));
        history.push((now, Operation::Expiry(lock_id)));
    }
    for nonce in 2..20 {
        history.push((now, Operation::Order(order(1, 60 + nonce, transfer(0, 1)))));
    }
    let start = world.store.backup();
    let opened = world.network.entries(Sequence::ZERO, 999).unwrap();
    let mut before: History = Vec::new();
    for entry in &opened[1..] {
        let operation = Operation::from_bytes(entry.kind, &entry.cause).unwrap();
        before.push((entry.time, operation));
    }
    assert!(rows(&start).len() > 400);
    let whole: History = before.into_iter().chain(history).collect();
    let grouped = |sizes: &[usize]| {
        let store = Memory::new();
        let ledger = replay(store.clone(), &whole, sizes);
        ledger.check().unwrap();
        rows(&store)
    };
    let one_by_one = grouped(&[1]);
    for sizes in [[2, 2, 2], [3, 1, 5], [7, 11, 1], [99, 99, 99]] {
        assert!(grouped(&sizes) == one_by_one, "groups of {sizes:?}");
    }
    for (time, operation) in &whole[whole.len() - 66..] {
        world.now = *time;
        world.one(operation.clone());
    }
    assert!(rows(&world.store) == one_by_one, "in one go");
}

/// A log of these entries, linked and signed by the key of its keeper.
fn relinked(entries: &[Entry]) -> Memory {
    let mut head = World::new().network.head();
    let mut batch = Batch::new();
    head.hash = EntryHash::NONE;
    for (entry, sequence) in entries.iter().zip(0_u64..) {
        let mut entry = entry.clone();
        entry.sequence = Sequence::new(sequence);
        entry.prev_hash = head.hash;
        let bytes = entry.to_bytes();
        head.hash = EntryHash::of(&bytes);
        head.next = entry.sequence.next();
        head.time = entry.time;
        batch.put(Table::Entry, sequence.to_be_bytes().to_vec(), bytes);
    }
    batch.put(Table::Meta, b"head".to_vec(), Row::to_bytes(&head));
    let (network_id, key) = (network_id(), &identity(200)); // its keeper lies
    let signed = HeadSigner { network_id, key }.sign(&head).to_bytes();
    batch.put(Table::SignedHead, sequence_key(head.next), signed);
    let forged = Memory::new();
    forged.write(&batch, Durability::Synced).unwrap();
    forged
}

/// A settlement node that keeps a payer's credit locked past its time leaves a log that no auditor
/// accepts, although every link and signature in it is good.
#[test]
fn a_log_that_leaves_out_an_expiry_does_not_check() {
    let mut world = World::funded(3);
    world.lock(1, 2, 100);
    world.pass(u64::from(TTL) + GRACE + 1);
    world.order(2, transfer(0, 1));
    let mut entries = world.network.entries(Sequence::ZERO, 99).unwrap();
    entries.retain(|entry| entry.kind != EntryKind::LockExpiry);
    let sequence = Sequence::new(entries.len() as u64 - 1);
    let error = open_network(relinked(&entries)).check().unwrap_err();
    assert_eq!(error, CheckError::Overdue { sequence });
}

/// Nor one that ends fewer before an order than it must, or a favourite's before another's.
#[test]
fn a_log_that_ends_too_few_or_out_of_order_does_not_check() {
    let mut world = with_locks(1, 30);
    for nonce in [1, 2] {
        let order = order(ISSUER, nonce + 2, grant(2, nonce));
        assert_eq!(world.one(Operation::Order(order)).refusal(), None);
    }
    let entries = world.network.entries(Sequence::ZERO, 999).unwrap();
    let is_expiry = |entry: &Entry| entry.kind == EntryKind::LockExpiry;
    let first = entries.iter().position(is_expiry).unwrap();
    let order = first + DUE_BEFORE_CAUSE_MAX;
    assert!(!is_expiry(&entries[order]));
    let overdue = |at: usize| CheckError::Overdue {
        sequence: Sequence::new(at as u64),
    };
    let check = |entries: &[Entry]| {
        let checked = open_network(relinked(entries)).check();
        checked.map(|report| report.entry_count)
    };
    // The log is right: what is missing is all that was made of it.
    let rows_missing = |entries: &[Entry]| matches!(check(entries), Err(CheckError::Row { .. }));
    assert!(rows_missing(&entries[..=order]));
    assert!(rows_missing(&entries));
    let mut too_few = entries[..=order].to_vec();
    too_few.remove(order - 1);
    assert_eq!(check(&too_few), Err(overdue(order - 1)));
    let mut swapped = entries;
    swapped.swap(first, first + 1);
    assert_eq!(check(&swapped), Err(overdue(first)));
    // More than must stand before an order, and an end that waits behind it, are nobody's business.
    let mut tick = with_locks(1, 30);
    tick.submit(&[]);
    tick.network.check().unwrap();
}
