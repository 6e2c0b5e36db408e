//! Attacks on the way to the settlement node and by it, each named for its row of the review.

use seedbank_ledger::entry::EntryHash;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{AnswerBody, OperationAnswer};
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::head::LedgerHead;
use seedbank_ledger::signed::read::ReadKind;

use super::bench::{Bench, Fate, claim};
use super::*;
use crate::credit::settlement::{Envelope, SettlementAnswer, SettlementRequest};

/// Somebody between the two rewrites the true answer to the newest question.
fn forge(bench: &mut Bench, node: usize, change: impl FnOnce(&mut SettlementAnswer)) {
    let what = bench.newest(node);
    let given = bench.settlement.handle(&what);
    let mut answer = SettlementAnswer::from_bytes(&given.answer).unwrap();
    change(&mut answer);
    let answer = answer.to_bytes();
    assert_ne!(answer, given.answer, "it is another answer");
    bench.deliver_newest(node, Envelope { answer, ..given });
}

pub(super) fn send(bench: &mut Bench, id: &str, amount: u64) -> u64 {
    let to = bench.id(1);
    let sent = bench.with(0, |wallet, now| {
        wallet.transfer(id, (to, cr(amount)), MicroCredits::ZERO, now)
    });
    sent.unwrap()
}

fn unusable(bench: &Bench, node: usize) -> usize {
    let unusable = |event: &&CreditEvent| matches!(event, CreditEvent::AnswerUnusable { .. });
    bench.events(node).iter().filter(unusable).count()
}

/// The nonce was signed by nobody: one forged answer made the node sign an order that can never be
/// taken, and repeat it for ever.
#[test]
fn l1_a_forged_nonce_stops_nobody() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.fate = Fate::Held;
    bench.run(61);
    forge(&mut bench, 0, |answer| {
        let AnswerBody::Statement(statement) = &mut answer.body else {
            panic!("a statement is asked for");
        };
        statement.account.status.nonce = 1_000;
    });
    assert_eq!(unusable(&bench, 0), 1);
    assert!(!bench.view(0).reachable);
    bench.fate = Fate::Delivered;
    assert_eq!(send(&mut bench, "a", 7), 1);
    bench.run(5);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 7));
    let nonces = bench.submissions(0).iter().map(|order| order.body.nonce);
    assert_eq!(nonces.collect::<Vec<_>>(), [1]);
    assert_eq!(bench.conflicts(0), 0);
}

/// A nonce that is high enough and no line passed for done.
#[test]
fn l1_a_transfer_is_done_by_its_line_and_by_nothing_else() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.fate = Fate::Held;
    send(&mut bench, "a", 7);
    let is_open = |bench: &Bench| !bench.store(0).order.unwrap().answered;
    // By somebody on the way.
    forge(&mut bench, 0, |answer| {
        let AnswerBody::Operation(told) = &mut answer.body else {
            panic!("an order is asked for");
        };
        told.line = None;
    });
    assert!(is_open(&bench));
    // The order was entered all the same: it is known when it comes again, and has no line then.
    let is_order = |what| matches!(what, SettlementRequest::Submit { .. });
    while bench.held(0) == 0 || !is_order(bench.newest(0)) {
        bench.run(1);
    }
    bench.answer_newest(0, |settlement, what| {
        let answer = settlement.answer(what);
        let AnswerBody::Operation(told) = &answer.body else {
            panic!("an order is answered");
        };
        assert_eq!((told.refusal, told.line.is_some()), (None, false));
        assert!(told.sequence.is_some());
        answer
    });
    assert!(is_open(&bench), "an entry that nobody has shown");
    let asked = bench.newest(0);
    assert!(
        matches!(asked, SettlementRequest::Read(_)),
        "its line is asked for at once"
    );
    bench.answer_newest(0, |settlement, what| settlement.answer(what));
    assert!(!is_open(&bench));
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 7));
    assert_eq!(bench.submissions(0).len(), 2);
}

/// The order that used a nonce is told of without its line, in an answer that is sealed.
#[test]
fn l1_the_settlement_node_that_says_known_and_shows_nothing_settles_nothing() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.fate = Fate::Held;
    send(&mut bench, "a", 7);
    bench.answer_newest(0, |settlement, what| {
        let SettlementRequest::Submit { order, .. } = what else {
            panic!("an order is asked for");
        };
        let told = OperationAnswer {
            refusal: None,
            used_by: Some(*order),
            sequence: Some(Sequence::new(2)),
            line: None,
        };
        SettlementAnswer {
            time: settlement.time,
            body: AnswerBody::Operation(Box::new(told)),
        }
    });
    assert!(!bench.store(0).order.unwrap().answered);
    bench.fate = Fate::Delivered;
    bench.run(200);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 7));
}

/// What a lock has paid out was signed by nobody: its payee would have closed it unpaid.
#[test]
fn l1_a_forged_claimed_is_told_to_nobody() {
    let mut bench = Bench::new();
    bench.run(1);
    let payee = bench.id(1);
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    bench.run(2);
    let id = bench.lock();
    bench.fate = Fate::Held;
    bench.with(1, |wallet, _| wallet.ask_lock(id));
    let SettlementRequest::Read(read) = bench.newest(1) else {
        panic!("a lock is read");
    };
    assert_eq!(read.body.kind, ReadKind::Lock(id));
    forge(&mut bench, 1, |answer| {
        let AnswerBody::Lock(Some(status)) = &mut answer.body else {
            panic!("there is a lock");
        };
        status.claimed = status.lock.body.amount;
    });
    assert_eq!(bench.store(1).lock(id), None);
    bench.fate = Fate::Delivered;
    let paid = claim(&bench, id, 1_000);
    bench.with(1, |wallet, _| wallet.claim(paid));
    bench.run(5);
    assert_eq!(bench.store(1).lock(id).unwrap().claimed, cr(1_000));
    assert_eq!(bench.view(1).available, cr(1_000));
}

/// `previous` was signed by nobody: a line could be left out, and the next one said to follow the
/// one before.
#[test]
fn l1_a_line_left_out_on_the_way_is_missed_by_nobody() {
    let mut bench = Bench::new();
    bench.run(1);
    let own = bench.id(0);
    bench.settlement.grant(own, 1);
    bench.settlement.grant(own, 2);
    bench.fate = Fate::Held;
    bench.run(60);
    forge(&mut bench, 0, |answer| {
        let AnswerBody::Statement(statement) = &mut answer.body else {
            panic!("a statement is asked for");
        };
        let left_out = statement.lines.remove(0);
        statement.lines[0].previous = left_out.previous;
    });
    assert_eq!(bench.store(0).lines.len(), 1);
    bench.fate = Fate::Delivered;
    bench.run(60);
    assert_eq!(bench.store(0).lines, bench.settlement.statement(own).lines);
}

#[test]
fn l1_an_answer_to_an_earlier_question_is_none_to_this_one() {
    let mut bench = Bench::new();
    bench.fate = Fate::Held;
    bench.run(1);
    let early = bench.newest(0);
    bench.answer_newest(0, |settlement, what| settlement.answer(what));
    bench.run(61);
    let late = bench.newest(0);
    assert_ne!(early, late, "each question is another one");
    let replayed = bench.settlement.handle(&early);
    bench.deliver_newest(0, replayed);
    assert_eq!(unusable(&bench, 0), 1);
    // Somebody on the way says so again and again: it is told once.
    for _ in 0..3 {
        bench.run(61);
        let replayed = bench.settlement.handle(&early);
        bench.deliver_newest(0, replayed);
    }
    assert_eq!(unusable(&bench, 0), 1);
    assert_eq!(bench.conflicts(0), 0);
}

/// Two heads that cannot both be, or one that ends before a line that we have.
#[test]
fn l2_a_head_that_goes_back_is_told_and_stops_orders_and_locks() {
    let shorter = |head: &mut LedgerHead| head.size -= 1;
    let other = |head: &mut LedgerHead| {
        head.entry_hash = EntryHash::from_bytes([7; 32]);
    };
    for change in [shorter, other as fn(&mut LedgerHead)] {
        let mut bench = Bench::new();
        bench.run(1);
        let (own, payee) = (bench.id(0), bench.id(1));
        bench.settlement.grant(own, 5);
        bench.fate = Fate::Held;
        bench.run(60);
        bench.answer_newest(0, |settlement, what| settlement.answer(what));
        assert!(bench.wallet(0).purse().ready);
        bench.run(60);
        let key = Identity::from_secret([77; 32]);
        let mut told = None;
        bench.answer_newest(0, |settlement, what| {
            changed(settlement.answer(what), |statement| {
                let mut head = statement.account.head.body;
                change(&mut head);
                statement.account.head = head.sign(&key);
                statement.account.status.available = cr(1);
                told = Some(statement.account.head.signature);
            })
        });
        assert_eq!(bench.conflicts(0), 1);
        let told = told.unwrap().to_string();
        let is_kept = |event: &CreditEvent| match event {
            CreditEvent::Conflict { what, .. } => what.contains(&told),
            _ => false,
        };
        assert!(bench.events(0).iter().any(is_kept), "the head is evidence");
        assert_eq!(
            bench.view(0).available,
            cr(10 * CREDIT + 5),
            "nothing is used"
        );
        // From here on it is as before, and nothing is signed in this run all the same.
        bench.fate = Fate::Delivered;
        assert!(!bench.wallet(0).purse().ready && !bench.wallet(0).takes_locks());
        let refused = bench.with(0, |wallet, now| wallet.open_lock(payee, cr(1), now));
        assert_eq!(refused, Err(WantError::NotReady));
        bench.run(200);
        assert_eq!(bench.submissions(0), []);
        assert_eq!(bench.conflicts(0), 1, "told once");
        bench.restart(0);
        bench.run(5);
        assert!(bench.wallet(0).purse().ready);
    }
}

/// After a restart too: what the node ledger has is what the head must not be behind.
#[test]
fn l2_a_head_behind_the_lines_of_an_earlier_run_is_seen() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.restart(0);
    bench.fate = Fate::Held;
    bench.run(1);
    let key = Identity::from_secret([77; 32]);
    bench.answer_newest(0, |settlement, what| {
        changed(settlement.answer(what), |statement| {
            let head = LedgerHead {
                size: 1,
                ..statement.account.head.body
            };
            statement.account.head = head.sign(&key);
        })
    });
    assert_eq!(bench.conflicts(0), 1);
    assert!(!bench.wallet(0).takes_locks());
}

/// A line that is told with a head of which it is no entry: two ledgers, both signed.
#[test]
fn l2_a_head_that_does_not_have_the_lines_beside_it_is_told_and_they_are_not_used() {
    let key = Identity::from_secret([77; 32]);
    let mut bench = Bench::new();
    bench.run(1);
    let own = bench.id(0);
    bench.settlement.grant(own, 5);
    bench.fate = Fate::Held;
    bench.run(60);
    bench.answer_newest(0, |settlement, what| {
        changed(settlement.answer(what), |statement| {
            assert_eq!(statement.lines.len(), 1);
            let head = LedgerHead {
                entry_hash: EntryHash::from_bytes([7; 32]),
                ..statement.account.head.body
            };
            statement.account.head = head.sign(&key);
        })
    });
    assert_eq!(bench.conflicts(0), 1);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT));
    assert!(!bench.wallet(0).takes_locks());
}

/// The node ledger's word on a line comes back: it is no line that was taken.
#[test]
fn l12f_a_line_that_this_nodes_ledger_refuses_is_asked_for_again() {
    let mut bench = Bench::new();
    bench.run(1);
    let own = bench.id(0);
    bench.settlement.grant(own, 5);
    bench.run(61);
    let line = bench.store_mut(0).lines.pop().unwrap();
    let line = line.certificate.body.sequence;
    let newest = bench.store(0).lines.last().unwrap();
    let newest = Some(newest.certificate.body.sequence);
    for _ in 0..2 {
        bench.with(0, |wallet, now| {
            wallet.line_refused(line, Refusal::OutOfOrder, newest, now);
        });
    }
    assert_eq!(bench.conflicts(0), 1, "told once");
    bench.run(61);
    assert_eq!(bench.store(0).lines, bench.settlement.statement(own).lines);
}

/// A node that starts claims what it holds and asks for its lines at once. Where the claim's answer
/// came first, the older one left the account as it was before anything was known of it, and the
/// settlement node was said to have lost an order.
#[test]
fn an_answer_that_a_claim_overtook_blames_nobody_for_a_nonce() {
    let mut bench = Bench::new();
    bench.run(1);
    let [payer, payee] = [0, 1].map(|node| bench.id(node));
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    bench.run(2);
    let id = bench.lock();
    bench.settlement.grant(payee, 100);
    bench.run(61);
    let sent = bench.with(1, |wallet, now| {
        wallet.transfer("a", (payer, cr(7)), MicroCredits::ZERO, now)
    });
    assert_eq!(sent, Ok(1));
    bench.run(5);
    bench.fate = Fate::Held;
    bench.restart(1);
    let paid = claim(&bench, id, 1_000);
    bench.with(1, |wallet, _| wallet.claim(paid));
    let [asked, claimed] = [bench.oldest(1), bench.newest(1)];
    assert!(matches!(asked, SettlementRequest::Read(_)));
    assert!(matches!(claimed, SettlementRequest::Claim { .. }));
    let [lines, line] = [asked, claimed].map(|what| bench.settlement.handle(&what));
    bench.deliver_newest(1, line);
    bench.deliver_oldest(1, lines);
    assert_eq!(bench.conflicts(1), 0);
    bench.fate = Fate::Delivered;
    bench.run(61);
    assert_eq!(bench.view(1).available, cr(1_093));
    let sent = bench.with(1, |wallet, now| {
        wallet.transfer("b", (payer, cr(1)), MicroCredits::ZERO, now)
    });
    assert_eq!(sent, Ok(2));
}

/// Two lines of one page: the second follows from the first, so both are refused. The first is
/// older than the second, and was taken for one that does not follow, for ever.
#[test]
fn lines_of_a_page_that_was_refused_are_taken_again() {
    let mut bench = Bench::new();
    bench.run(1);
    let own = bench.id(0);
    bench.settlement.grant(own, 5);
    bench.run(5);
    bench.settlement.grant(own, 6);
    bench.run(61);
    let newest = bench.store(0).lines[0].certificate.body.sequence;
    let refused = bench.store_mut(0).lines.split_off(1);
    assert_eq!(refused.len(), 2);
    for line in refused {
        let line = line.certificate.body.sequence;
        bench.with(0, |wallet, now| {
            wallet.line_refused(line, Refusal::OutOfOrder, Some(newest), now);
        });
    }
    let told = bench.conflicts(0);
    bench.run(61);
    assert_eq!(
        bench.conflicts(0),
        told,
        "the settlement node says what it said"
    );
    assert_eq!(bench.store(0).lines, bench.settlement.statement(own).lines);
}

/// The line is fsynced with its entry, what became of the order a second later.
#[test]
fn a_crash_that_kept_the_line_and_not_the_answer_settles_the_order() {
    let mut bench = Bench::new();
    bench.run(1);
    send(&mut bench, "a", 7);
    bench.run(5);
    let own = bench.id(0);
    bench.settlement.grant(own, 1);
    bench.run(61);
    assert_eq!(bench.store(0).lines.len(), 3);
    let order = &mut bench.store_mut(0).order;
    order.as_mut().unwrap().answered = false;
    bench.restart(0);
    bench.run(5);
    assert!(bench.store(0).order.unwrap().answered);
    assert_eq!(bench.submissions(0).len(), 2);
    assert_eq!(send(&mut bench, "b", 1), 2);
    bench.run(5);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 7));
    assert_eq!(bench.conflicts(0), 0);
}

#[test]
fn page_after_page_is_asked_for_until_there_is_no_more() {
    let mut bench = Bench::new();
    let own = bench.id(0);
    for _ in 0..600 {
        bench.settlement.grant(own, 1);
    }
    bench.run(1);
    assert_eq!(bench.store(0).lines.len(), 601);
    assert_eq!(bench.asked(0), 3);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT + 600));
}

/// A read is dated by settlement time, which a node that starts does not know.
#[test]
fn a_read_that_is_late_or_early_teaches_the_time_and_is_asked_again() {
    for hours in [0, 4] {
        let mut bench = Bench::new();
        bench.unix = bench.unix.minus_secs(7_200);
        bench.unix = bench.unix.plus_secs(3_600 * hours);
        bench.run(3);
        assert_eq!(bench.view(0).available, cr(10 * CREDIT));
        assert_eq!(bench.asked(0), 2);
        assert_eq!(bench.conflicts(0) + unusable(&bench, 0), 0);
        assert!(!bench.wallet(0).takes_locks(), "its clock is off");
    }
}

/// The claim's line comes before one that was entered earlier: nothing is taken out of order.
#[test]
fn a_line_that_leaves_a_gap_waits_for_what_is_before_it() {
    let mut bench = Bench::new();
    bench.run(1);
    let (payee, own) = (bench.id(1), bench.id(1));
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    bench.run(2);
    let id = bench.lock();
    bench.settlement.grant(own, 9);
    bench.fate = Fate::Held;
    let paid = claim(&bench, id, 1_000);
    bench.with(1, |wallet, _| wallet.claim(paid));
    bench.answer_newest(1, |settlement, what| settlement.answer(what));
    assert_eq!(bench.store(1).lines.len(), 0);
    bench.answer_newest(1, |settlement, what| settlement.answer(what));
    assert_eq!(bench.store(1).lines, bench.settlement.statement(own).lines);
    assert_eq!(bench.view(1).available, cr(1_009));
}

/// It denies an order of ours, then a line is refused and no statement comes: nothing is signed by
/// the nonce of the order that it denies.
#[test]
fn l1_who_denies_an_order_gets_no_other_of_its_nonce() {
    let mut bench = Bench::new();
    bench.run(1);
    send(&mut bench, "first", 5);
    bench.run(2);
    bench.fate = Fate::Held;
    send(&mut bench, "a", 7);
    send(&mut bench, "b", 8);
    bench.answer_newest(0, |settlement, what| {
        let SettlementRequest::Submit { order, .. } = what else {
            panic!("an order is asked for");
        };
        let mut other = order.body;
        other.memo_hash = [9; 32];
        let told = OperationAnswer {
            refusal: None,
            used_by: Some(other.sign(&Identity::from_secret([66; 32]))),
            sequence: Some(Sequence::new(4)),
            line: None,
        };
        SettlementAnswer {
            time: settlement.time,
            body: AnswerBody::Operation(Box::new(told)),
        }
    });
    assert!(!bench.store(0).order.unwrap().answered, "it stays");
    let newest = bench.store(0).lines.last().unwrap();
    let line = newest.certificate.body.sequence;
    bench.store_mut(0).lines.clear();
    bench.with(0, |wallet, now| {
        wallet.line_refused(line, Refusal::OutOfOrder, None, now);
    });
    bench.answer_newest(0, |settlement, _| {
        SettlementAnswer::refused(settlement.time, Refusal::Expired)
    });
    bench.fate = Fate::Delivered;
    bench.run(200);
    let mut orders: Vec<_> = bench
        .submissions(0)
        .iter()
        .map(|order| order.body)
        .collect();
    orders.dedup();
    let nonces: Vec<u64> = orders.iter().map(|order| order.nonce).collect();
    assert_eq!(nonces, [1, 2, 3], "each with one body");
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 20));
    assert!(bench.conflicts(0) > 0, "its owner is told");
}
