//! What a settlement node says that lies with its own key: nothing of it lasts once it tells the
//! truth again.

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{AnswerBody, OperationAnswer};
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::signed::order::Order;

use super::attacks::send;
use super::bench::{Bench, Fate};
use super::*;
use crate::credit::settlement::{SettlementAnswer, SettlementRequest};

/// "Another order used this nonce": one that `secret` signed, in place of the one that is asked.
fn used_by(settlement: &Settlement, what: &SettlementRequest, secret: u8) -> SettlementAnswer {
    let SettlementRequest::Submit { order, .. } = what else {
        panic!("an order is asked for: {what:?}");
    };
    let other = Order {
        memo_hash: [5; 32],
        ..order.body
    };
    let told = OperationAnswer {
        refusal: Some(Refusal::WrongNonce),
        used_by: Some(other.sign(&Identity::from_secret([secret; 32]))),
        sequence: Some(Sequence::new(9)),
        line: None,
    };
    operation(settlement, told)
}

/// Steps until an order is asked for.
fn until_order(bench: &mut Bench) {
    let is_order = |bench: &Bench| {
        bench.held(0) > 0 && matches!(bench.newest(0), SettlementRequest::Submit { .. })
    };
    for _ in 0..200 {
        if is_order(bench) {
            return;
        }
        bench.run(1);
    }
    panic!("no order is asked for");
}

fn is_open(bench: &Bench) -> bool {
    !bench.store(0).order.unwrap().answered
}

fn nonces(bench: &Bench) -> Vec<u64> {
    let mut orders: Vec<Order> = bench
        .submissions(0)
        .iter()
        .map(|order| order.body)
        .collect();
    orders.dedup();
    orders.iter().map(|order| order.nonce).collect()
}

/// The order was given up, entered or not, and its transfer with it.
#[test]
fn an_order_that_we_never_signed_is_told_once_and_ours_stays() {
    for is_entered in [false, true] {
        let mut bench = Bench::new();
        bench.run(1);
        bench.fate = Fate::Held;
        send(&mut bench, "a", 7);
        send(&mut bench, "b", 8);
        let mut began = Vec::new();
        for _ in 0..4 {
            until_order(&mut bench);
            began.push(bench.now);
            bench.answer_newest(0, |settlement, what| {
                if is_entered {
                    settlement.answer(what);
                }
                used_by(settlement, what, 66)
            });
            assert!(is_open(&bench));
        }
        let pauses = began.windows(2).map(|two| two[1].since(two[0]));
        assert!(pauses.min() >= Some(Duration::from_secs(60)), "{began:?}");
        assert_eq!(bench.conflicts(0), 1, "told once");
        assert_eq!(bench.view(0).pending, cr(15));
        assert_eq!(nonces(&bench), [1], "the same bytes");

        bench.fate = Fate::Delivered;
        bench.run(120);
        assert_eq!(nonces(&bench), [1, 2]);
        assert_eq!(bench.view(0).available, cr(10 * CREDIT - 15));
        assert_eq!(bench.view(0).pending, cr(0));
        assert_eq!(bench.conflicts(0), 1);
    }
}

/// An order of ours was given up when it was late, and another has its nonce. That the first was
/// entered is for its line to say: otherwise the second was signed again under the next nonce, and
/// both could be entered.
#[test]
fn an_order_is_replaced_by_a_line_and_by_nothing_else() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.fate = Fate::Held;
    send(&mut bench, "a", 7);
    bench.answer_newest(0, |settlement, what| used_by(settlement, what, 1));
    assert!(is_open(&bench));
    bench.fate = Fate::Delivered;
    bench.run(200);
    assert_eq!(nonces(&bench), [1]);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 7));
    assert_eq!(bench.conflicts(0), 0);
}

/// The next order was signed under it, and never taken.
#[test]
fn a_nonce_that_is_told_too_high_is_signed_by_nobody() {
    for nonce in [7, u64::MAX] {
        let mut bench = Bench::new();
        bench.run(1);
        bench.fate = Fate::Held;
        bench.run(61);
        bench.answer_newest(0, |settlement, what| {
            changed(settlement.answer(what), |statement| {
                statement.account.status.nonce = nonce;
            })
        });
        assert_eq!(send(&mut bench, "a", 7), 1);
        bench.fate = Fate::Delivered;
        bench.run(120);
        assert_eq!(nonces(&bench), [1]);
        assert_eq!(bench.view(0).available, cr(10 * CREDIT - 7));
        // Told before the line of an order that is under way, or behind it.
        bench.fate = Fate::Held;
        bench.run(61);
        bench.answer_newest(0, |settlement, what| {
            changed(settlement.answer(what), |statement| {
                statement.account.status.nonce = nonce;
            })
        });
        assert_eq!(send(&mut bench, "b", 8), 2);
        bench.fate = Fate::Delivered;
        bench.run(120);
        assert_eq!(nonces(&bench), [1, 2]);
        assert_eq!(bench.view(0).available, cr(10 * CREDIT - 15));
        assert_eq!(bench.conflicts(0), 0);
    }
}

/// A run before this one, on another machine or before a backup was restored, gave an order: its
/// line is read once, and its nonce is known in later runs all the same.
#[test]
fn the_newest_order_that_was_given_elsewhere_is_kept() {
    let mut bench = Bench::new();
    let (payee, network) = (bench.id(1), bench.settlement.network());
    for nonce in 1..=3 {
        let order = Order {
            network_id: network.id,
            account: bench.id(0),
            nonce,
            valid_until: bench.unix.plus_secs(600),
            kind: OrderKind::OpenLock {
                payee,
                amount: cr(nonce),
                ttl_secs: 0,
            },
            memo_hash: [0; 32],
        };
        bench
            .settlement
            .submit(order.sign(&Identity::from_secret([1; 32])));
    }
    bench.run(1);
    let kept = bench.store(0).order.unwrap();
    assert_eq!((kept.order.body.nonce, kept.answered), (3, true));
    assert_eq!(send(&mut bench, "a", 7), 4);
    bench.run(5);
    assert_eq!(nonces(&bench), [4]);
    assert_eq!(bench.conflicts(0), 0);
}

/// It says that two days have passed, and that the account has no standing: an order that it had
/// entered was given up, and its nonce signed again.
#[test]
fn an_order_is_late_by_our_own_clock_too() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.fate = Fate::Held;
    send(&mut bench, "a", 7);
    bench.answer_newest(0, |settlement, what| {
        settlement.answer(what);
        let time = settlement.time.plus_secs(172_800);
        SettlementAnswer::refused(time, Refusal::NoStanding)
    });
    assert!(is_open(&bench));
    assert_eq!(bench.view(0).pending, cr(7));
    bench.fate = Fate::Delivered;
    bench.run(120);
    assert!(!is_open(&bench));
    assert_eq!(nonces(&bench), [1]);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 7));
}

/// Whoever has an order whose nonce lies ahead of the account's waits for it until it is late.
#[test]
fn an_order_above_the_next_nonce_is_given_up_when_it_is_late() {
    let mut bench = Bench::new();
    bench.run(1);
    let order = Order {
        network_id: bench.settlement.network().id,
        account: bench.id(0),
        nonce: 8,
        valid_until: bench.unix.plus_secs(600),
        kind: OrderKind::Transfer {
            to: bench.id(1),
            amount: cr(7),
        },
        memo_hash: [5; 32],
    };
    let order = order.sign(&Identity::from_secret([1; 32]));
    let answered = false;
    bench
        .store_mut(0)
        .write(&TallyRow::Order(OrderRow { order, answered }));
    bench.restart(0);
    send(&mut bench, "b", 8);
    bench.run(500);
    assert_eq!(nonces(&bench), [8]);
    bench.run(200);
    assert_eq!(nonces(&bench), [8, 1]);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 8));
}

/// What waited was lost with the next start, and what was sent afterwards was never signed.
#[test]
fn a_ledger_that_went_back_is_given_no_transfer_that_would_be_lost() {
    let mut bench = Bench::new();
    bench.run(1);
    let to = bench.id(1);
    let again = |bench: &mut Bench, id: &str, amount| {
        bench.with(0, |wallet, now| {
            wallet.transfer(id, (to, cr(amount)), MicroCredits::ZERO, now)
        })
    };
    bench.fate = Fate::Held;
    send(&mut bench, "a", 7);
    send(&mut bench, "b", 8);
    bench.answer_newest(0, |settlement, what| used_by(settlement, what, 66));
    let key = Identity::from_secret([77; 32]);
    bench.answer_newest(0, |settlement, what| {
        changed(settlement.answer(what), |statement| {
            let mut head = statement.account.head.body;
            head.size = 1;
            statement.account.head = head.sign(&key);
        })
    });
    assert_eq!(bench.conflicts(0), 3, "denied, went back, and one dropped");
    assert_eq!(bench.view(0).pending, cr(7), "what was signed is kept");
    assert_eq!(again(&mut bench, "a", 7), Ok(1));
    for id in ["b", "c"] {
        let refused = again(&mut bench, id, 8).expect_err("it would be lost");
        let said = refused.to_string();
        assert!(
            said.contains("went back (the ledger ends after 1 entries"),
            "{said}"
        );
        assert!(
            said.ends_with("no order is signed before the next start"),
            "{said}"
        );
    }
    bench.fate = Fate::Delivered;
    bench.restart(0);
    bench.run(70);
    assert_eq!(again(&mut bench, "b", 8), Ok(2));
    bench.run(5);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 15));
}

/// A lock of 1 cr from node 0 to node 1, signed by the settlement node with something else in it.
fn lied_about(bench: &mut Bench, node: usize, id: LockId, change: impl Fn(&mut Lock)) {
    bench.fate = Fate::Held;
    bench.with(node, |wallet, _| wallet.ask_lock(id));
    bench.answer_newest(node, |settlement, what| {
        let mut answer = settlement.answer(what);
        let AnswerBody::Lock(Some(status)) = &mut answer.body else {
            panic!("a lock is asked for: {answer:?}");
        };
        change(&mut status.lock.body);
        status.lock = status.lock.body.sign(&Identity::from_secret([77; 32]));
        answer
    });
    bench.fate = Fate::Delivered;
}

/// It was handed on, and let alone by whoever keeps the locks.
#[test]
fn a_lock_of_ours_with_another_payee_is_told() {
    let mut bench = Bench::new();
    bench.run(1);
    let payee = bench.id(1);
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    bench.run(2);
    let (id, stranger) = (bench.lock(), Identity::from_secret([66; 32]).id());
    lied_about(&mut bench, 1, id, |lock| lock.payee = stranger);
    assert_eq!(bench.conflicts(1), 1);
    assert_eq!(bench.store(1).lock(id), None);
    bench.run(5);
    let told = bench.store(1).lock(id).expect("it is asked for again");
    assert_eq!(told.lock.body.payee, payee);
    assert_eq!(bench.conflicts(1), 1);

    // Its payer's own: who is paid from it stays.
    lied_about(&mut bench, 0, id, |lock| lock.payee = stranger);
    bench.fate = Fate::Held;
    bench
        .with(0, |wallet, now| wallet.top_up(id, cr(1), now))
        .unwrap();
    assert_eq!(bench.wallet(0).purse().busy, [payee]);
}

/// So is a line that says so of its lock: nothing of it is used.
#[test]
fn a_line_with_a_lock_of_others_is_told_and_not_used() {
    let mut bench = Bench::new();
    bench.run(1);
    let payee = bench.id(1);
    bench.fate = Fate::Held;
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    let others = [2, 3].map(|secret| Identity::from_secret([secret; 32]).id());
    bench.answer_newest(0, |settlement, what| {
        let mut answer = settlement.answer(what);
        let AnswerBody::Operation(told) = &mut answer.body else {
            panic!("an order is asked for: {answer:?}");
        };
        let status = told.line.as_mut().and_then(|line| line.lock.as_mut());
        let lock = &mut status.expect("a lock was opened").lock;
        [lock.body.payer, lock.body.payee] = others;
        *lock = lock.body.sign(&Identity::from_secret([77; 32]));
        answer
    });
    assert_eq!(bench.conflicts(0), 1);
    assert!(is_open(&bench));
    bench.fate = Fate::Delivered;
    bench.run(70);
    assert!(!is_open(&bench));
    assert_eq!(bench.view(0).reserved, cr(CREDIT));
}
