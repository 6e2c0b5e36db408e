//! Node ledgers that follow a network: what payer and payee see of one lock, and lines that lie.

use seedbank_ledger::charts::node::{
    Balance, BalanceReason, ChannelSummary, NodeCommand, NodeLedger,
};
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Bytes, Sequence, UnixTime};

use crate::world::{
    GRACE, ISSUER, START, TTL, World, channel, cr, grant, id, identity, lines, open_node, order,
    receipt, transfer,
};

/// Available, locked, signed, claimable.
fn holds(balance: Balance) -> [u64; 4] {
    [
        balance.available.get(),
        balance.locked.get(),
        balance.signed.get(),
        balance.claimable.get(),
    ]
}

fn reasons(world: &mut World, account: u8) -> Vec<(BalanceReason, u64, u64)> {
    let explanation = world.node(account).explain(UnixTime::ZERO).unwrap();
    explanation
        .lines
        .iter()
        .map(|line| (line.reason, line.bytes.get(), line.amount.get()))
        .collect()
}

#[test]
fn payer_and_payee_follow_one_lock_to_its_close() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    assert_eq!(holds(world.node(1).balance().unwrap()), [900, 100, 0, 0]);
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_000, 0, 0, 0]);

    world.book(1, lock_id, (1, 2), (10, 30));
    world.book(2, lock_id, (1, 2), (10, 30));
    assert_eq!(holds(world.node(1).balance().unwrap()), [900, 70, 30, 0]);
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_000, 0, 0, 30]);

    // The claim is ahead of both summaries: what is missing is booked first.
    world.claim(lock_id, (1, 2), (20, 60));
    assert_eq!(holds(world.node(1).balance().unwrap()), [900, 40, 0, 0]);
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_060, 0, 0, 0]);

    // The payee earns more and closes without claiming it.
    world.book(1, lock_id, (1, 2), (30, 75));
    world.book(2, lock_id, (1, 2), (30, 75));
    world.order(2, OrderKind::CloseLock { lock_id });
    assert_eq!(holds(world.node(1).balance().unwrap()), [940, 0, 0, 0]);
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_060, 0, 0, 0]);
    assert_eq!(
        reasons(&mut world, 1),
        [
            (BalanceReason::Granted, 0, 1_000),
            (BalanceReason::Spent, 30, 75),
            (BalanceReason::Returned, 0, 15)
        ]
    );
    assert_eq!(
        reasons(&mut world, 2),
        [
            (BalanceReason::Granted, 0, 1_000),
            // Of the ten bytes that only the claim told of, nobody here said that they were served.
            (BalanceReason::Earned, 20, 75),
            (BalanceReason::Forfeited, 0, 15)
        ]
    );
    for account in [1, 2] {
        world.node(account).check().unwrap();
        let network = world.available(account);
        let node = world.node(account).balance().unwrap();
        assert_eq!(node.available.get(), network);
    }
}

#[test]
fn a_receipt_is_booked_once_and_at_most_what_its_lock_holds() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    for owner in [1, 2] {
        let first = world.book(owner, lock_id, (1, 2), (10, 130));
        assert!(matches!(first, Outcome::Entered { .. }));
        let again = world.book(owner, lock_id, (1, 2), (10, 130));
        assert_eq!(again.sequence(), first.sequence());
        let crossed = world.book(owner, lock_id, (1, 2), (9, 140));
        assert_eq!(crossed, Outcome::Refused(Refusal::ReceiptRegressed));
        let old = world.book(owner, lock_id, (1, 2), (9, 120));
        assert!(matches!(old, Outcome::Known { .. }));
    }
    assert_eq!(holds(world.node(1).balance().unwrap()), [900, 0, 100, 0]);
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_000, 0, 0, 100]);
    // Once topped up, the same receipt is worth more.
    let top_up = OrderKind::TopUp {
        lock_id,
        amount: cr(50),
        ttl_secs: 0,
    };
    world.order(1, top_up);
    world.book(1, lock_id, (1, 2), (10, 130));
    world.book(2, lock_id, (1, 2), (10, 130));
    assert_eq!(holds(world.node(1).balance().unwrap()), [850, 20, 130, 0]);
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_000, 0, 0, 130]);
}

#[test]
fn what_nobody_claimed_returns_at_expiry() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    world.book(1, lock_id, (1, 2), (10, 30));
    world.book(2, lock_id, (1, 2), (10, 30));
    world.pass(u64::from(TTL) + GRACE + 1);
    assert_eq!(holds(world.node(1).balance().unwrap()), [1_000, 0, 0, 0]);
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_000, 0, 0, 0]);
    // Bytes still count after the lock's end; credit does not.
    world.book(2, lock_id, (1, 2), (15, 40));
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_000, 0, 0, 0]);
    let bytes = world.node(2).peer_bytes(&id(1)).unwrap();
    assert_eq!(bytes.given.get(), 15);
    world.node(2).check().unwrap();
}

#[test]
fn every_kind_of_line_is_copied() {
    let mut world = World::funded(3);
    world.order(1, transfer(2, 10));
    world.order(1, transfer(2, 10_000));
    world.order(ISSUER, OrderKind::Burn { amount: cr(7) });
    world.order(2, OrderKind::RotateKey { to: id(9) });
    assert_eq!(holds(world.node(ISSUER).balance().unwrap())[0], 993);
    assert_eq!(holds(world.node(1).balance().unwrap())[0], 990);
    assert_eq!(holds(world.node(2).balance().unwrap())[0], 0);
    assert_eq!(holds(world.node(9).balance().unwrap())[0], 1_010);
    assert_eq!(
        reasons(&mut world, ISSUER),
        [
            (BalanceReason::Granted, 0, 1_000),
            (BalanceReason::Burned, 0, 7)
        ]
    );
    assert_eq!(
        reasons(&mut world, 9),
        [(BalanceReason::Received, 0, 1_010)]
    );
}

#[test]
fn a_line_seen_before_is_known_and_a_gap_is_refused() {
    let mut world = World::funded(2);
    world.order(1, transfer(0, 1));
    world.order(1, transfer(0, 1));
    let lines = lines(&world.network, 1, None);
    let mut ledger = open_node(Memory::new(), 1);
    ledger.append(START, &lines[..1]).unwrap();
    let head = ledger.head();
    let gap = ledger.append(START, &lines[2..]).unwrap();
    assert_eq!(gap, [Outcome::Refused(Refusal::OutOfOrder)]);
    let again = ledger.append(START, &lines[..1]).unwrap().remove(0);
    assert_eq!(again.sequence(), head.last());
    assert_eq!(ledger.head(), head);
    let rest = ledger.append(START, &lines).unwrap();
    assert!(matches!(rest[2], Outcome::Entered { .. }));
    assert_eq!(ledger.balance().unwrap().available, cr(998));
}

#[test]
fn a_line_that_was_tampered_with_is_refused() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    world.claim(lock_id, (1, 2), (10, 60));
    let commands = lines(&world.network, 1, None);
    let NodeCommand::Settled(claimed) = &commands[2] else {
        panic!("lines are lines");
    };
    type Change = fn(&mut StatementLine);
    let changes: [(Change, Refusal); 7] = [
        (|line| line.amount = cr(59), Refusal::BadCertificate),
        (
            |line| line.lock.as_mut().unwrap().claimed = cr(59),
            Refusal::OutOfOrder,
        ),
        (|line| line.lock = None, Refusal::OutOfOrder),
        (
            |line| line.refusal = Some(Refusal::Expired),
            Refusal::BadCertificate,
        ),
        (
            |line| line.previous = Some(Sequence::ZERO),
            Refusal::OutOfOrder,
        ),
        (
            |line| line.certificate.body.available_after = cr(901),
            Refusal::BadCertificate,
        ),
        (
            |line| {
                let mut lock = line.lock.unwrap();
                lock.lock.body.amount = cr(50);
                lock.lock = lock.lock.body.sign(&identity(3));
                line.lock = Some(lock);
            },
            Refusal::BadCertificate,
        ),
    ];
    for (number, (change, refusal)) in changes.into_iter().enumerate() {
        let mut ledger = open_node(Memory::new(), 1);
        ledger.append(START, &commands[..2]).unwrap();
        let mut line = claimed.as_ref().clone();
        change(&mut line);
        let line = NodeCommand::Settled(Box::new(line));
        let outcome = ledger.append(START, &[line]).unwrap();
        assert_eq!(outcome, [Outcome::Refused(refusal)], "change {number}");
    }
}

#[test]
fn another_accounts_line_is_refused() {
    let mut world = World::funded(2);
    world.order(ISSUER, grant(1, 5));
    let mut ledger = open_node(Memory::new(), 1);
    let lines = lines(&world.network, ISSUER, None);
    let outcome = ledger.append(START, &lines[..1]).unwrap();
    assert_eq!(outcome, [Outcome::Refused(Refusal::BadCertificate)]);
}

#[test]
fn an_explanation_opens_where_the_last_one_closed() {
    let mut world = World::funded(3);
    world.node(1);
    world.pass(10);
    world.order(1, transfer(2, 10));
    let later = world.now;
    let ledger = world.node(1);
    let explanation = ledger.explain(later).unwrap();
    assert_eq!(explanation.opening, cr(1_000));
    assert_eq!(explanation.closing, cr(990));
    assert_eq!(explanation.lines.len(), 1);
    assert_eq!(explanation.lines[0].reason, BalanceReason::Sent);
    assert_eq!(Some(explanation.head), ledger.head().last());
}

#[test]
fn bytes_that_no_disk_holds_can_be_signed_and_explained() {
    let mut world = World::funded(4);
    let first = world.lock(1, 3, 100);
    let second = world.lock(2, 3, 100);
    world.book(3, first, (1, 3), (u64::MAX, 1));
    world.book(3, second, (2, 3), (u64::MAX, 1));
    world.order(3, OrderKind::CloseLock { lock_id: first });
    let again = world.lock(1, 3, 100);
    world.book(3, again, (1, 3), (7, 1));
    let explained = reasons(&mut world, 3);
    assert!(
        explained.contains(&(BalanceReason::Earned, u64::MAX, 3)),
        "{explained:?}"
    );
    let bytes = world.node(3).peer_bytes(&id(1)).unwrap();
    assert_eq!(bytes.given.get(), u64::MAX);
    world.node(3).check().unwrap();
}

/// A payer shows its payee a top-up at once; the settlement node's older lines come later.
#[test]
fn an_older_line_does_not_make_a_payees_lock_smaller() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    world.claim(lock_id, (1, 2), (10, 130));
    let top_up = OrderKind::TopUp {
        lock_id,
        amount: cr(50),
        ttl_secs: 0,
    };
    world.order(1, top_up);
    let shown = channel(&world.network, lock_id, 1, 2);
    let summary = ChannelSummary {
        channel: shown,
        receipt: receipt(&shown, 1, 10, 120),
        lock_amount: cr(150),
        served: Bytes::MAX,
        attribution: Vec::new(),
    };
    let mut ledger = open_node(Memory::new(), 2);
    let command = NodeCommand::ChannelSummary(Box::new(summary));
    ledger.append(START, &[command]).unwrap();
    assert_eq!(holds(ledger.balance().unwrap()), [0, 0, 0, 120]);
    ledger
        .append(START, &lines(&world.network, 2, None))
        .unwrap();
    assert_eq!(holds(ledger.balance().unwrap()), [1_100, 0, 0, 30]);
    ledger.check().unwrap();
    ledger.check_invariants().unwrap();
}

/// Nothing of the payee's credit moves when it closes a lock, so that its balance cannot tell.
#[test]
fn a_refused_close_cannot_be_passed_off_as_carried_out() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    world.book(2, lock_id, (1, 2), (10, 30));
    let mut late = order(2, 1, OrderKind::CloseLock { lock_id }).body;
    late.valid_until = UnixTime::ZERO;
    world.one(Operation::Order(late.sign(&identity(2))));
    let after = open_node(Memory::new(), 2).newest_line().unwrap();
    let all = lines(&world.network, 2, after);
    let NodeCommand::Settled(line) = &all[1] else {
        panic!("lines are lines");
    };
    let mut forged = line.as_ref().clone();
    assert_eq!(forged.refusal, Some(Refusal::Expired));
    forged.refusal = None;
    forged.amount = cr(100);
    let mut status = world.status(lock_id);
    status.closed = true;
    forged.lock = Some(status);
    let mut ledger = open_node(Memory::new(), 2);
    ledger.append(START, &all[..1]).unwrap();
    let forged = NodeCommand::Settled(Box::new(forged));
    let outcome = ledger.append(START, &[forged]).unwrap();
    assert_eq!(outcome, [Outcome::Refused(Refusal::BadCertificate)]);
    // What would have been refused ever after.
    world.claim(lock_id, (1, 2), (10, 30));
    let rest = lines(&world.network, 2, ledger.newest_line().unwrap());
    for outcome in ledger.append(START, &rest).unwrap() {
        assert!(matches!(outcome, Outcome::Entered { .. }), "{outcome:?}");
    }
    assert_eq!(holds(ledger.balance().unwrap()), [1_030, 0, 0, 0]);
}

/// A payer signs whatever number it likes; a payee counts what it served (M10).
#[test]
fn a_receipt_for_bytes_that_nobody_served_counts_none() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let shown = channel(&world.network, lock_id, 1, 2);
    let all = u64::MAX;
    for (bytes, amount, served, given) in [(all - 1, 1, 16, 16), (all, 2, 0, 16)] {
        let summary = ChannelSummary {
            channel: shown,
            receipt: receipt(&shown, 1, bytes, amount),
            lock_amount: cr(100),
            served: Bytes::new(served),
            attribution: Vec::new(),
        };
        let command = NodeCommand::ChannelSummary(Box::new(summary));
        let ledger = world.node(2);
        let outcome = ledger.append(START, &[command]).unwrap().remove(0);
        assert!(matches!(outcome, Outcome::Entered { .. }), "{outcome:?}");
        assert_eq!(ledger.peer_bytes(&id(1)).unwrap().given, Bytes::new(given));
        assert_eq!(ledger.balance().unwrap().claimable, cr(amount));
    }
    // Nor does the claim bring them in.
    world.claim(lock_id, (1, 2), (all, 60));
    let given = world.node(2).peer_bytes(&id(1)).unwrap().given;
    assert_eq!(given, Bytes::new(16));
    assert_eq!(holds(world.node(2).balance().unwrap()), [1_060, 0, 0, 0]);
    world.node(2).check().unwrap();
}

/// The reason of a grant is kept with its line only if it is what the issuer signed.
#[test]
fn a_reason_that_no_issuer_signed_is_not_kept() {
    let mut world = World::new();
    let mut body = order(ISSUER, 1, grant(1, 500)).body;
    body.memo_hash = Order::reason_hash(b"welcome");
    world.one(Operation::Order(body.sign(&identity(ISSUER))));
    let told = lines(&world.network, 1, None);
    let [NodeCommand::Settled(line)] = told.as_slice() else {
        panic!("the grant is the first line");
    };
    let with = |reason: &[u8]| {
        let mut line = line.as_ref().clone();
        line.reason_bytes = reason.to_vec();
        line
    };
    assert_eq!(with(b"welcome").reason(), Some("welcome"));
    for reason in [&b""[..], b"welcome!", &[0xff; 7], &[b'a'; 300]] {
        assert_eq!(with(reason).reason(), None);
        assert_eq!(with(reason).with_signed_reason_only(), with(b""));
    }
    let mut ledger = open_node(Memory::new(), 1);
    let append = |ledger: &mut NodeLedger<Memory>, line| {
        let command = NodeCommand::Settled(Box::new(line));
        ledger.append(START, &[command]).unwrap().remove(0)
    };
    let forged = append(&mut ledger, with(b"a debt of yours"));
    assert_eq!(forged, Outcome::Refused(Refusal::BadCertificate));
    let kept = append(&mut ledger, with(b"welcome"));
    assert!(matches!(kept, Outcome::Entered { .. }), "{kept:?}");
    // Whether the reason came along makes no other line of it.
    let again = append(&mut ledger, with(b""));
    assert!(matches!(again, Outcome::Known { .. }), "{again:?}");
    ledger.check().unwrap();
}
