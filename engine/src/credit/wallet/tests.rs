//! The wallet against a real network ledger: one claim per test, then random schedules.

mod attacks;
mod bench;
mod lies;
mod middle;
mod schedules;
pub(crate) mod settlement;

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{AnswerBody, OperationAnswer, REQUEST_ID_LEN_MAX, Statement};
use seedbank_ledger::{Duration, MicroCredits};

use super::*;
use crate::credit::output::Errand;
use crate::credit::policy::CreditError;
use crate::credit::settlement::{SettlementAnswer, SettlementRequest};
use bench::{Bench, Fate, claim};
use settlement::Settlement;

const CREDIT: u64 = 1_000_000;

fn cr(amount: u64) -> MicroCredits {
    MicroCredits::new(amount)
}

#[test]
fn a_grant_is_seen_and_booked_with_its_certificate() {
    let mut bench = Bench::new();
    bench.run(1);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT));
    assert!(bench.view(0).reachable);
    assert_eq!(bench.store(0).lines.len(), 1);
}

#[test]
fn a_line_is_asked_for_when_we_hear_of_it_and_a_false_word_costs_one_question() {
    let mut bench = Bench::new();
    bench.run(5);
    let own = bench.id(0);
    bench.settlement.grant(own, 7);
    let line = |bench: &Bench| {
        let lines = &bench.store(0).lines;
        lines.last().unwrap().certificate.body.sequence
    };
    let known = line(&bench);
    let next = Sequence::new(known.get() + 1);
    bench.with(0, |wallet, now| wallet.line_entered(next, now));
    bench.run(1);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT + 7));
    let asked = bench.asked(0);
    let far = Sequence::new(u64::MAX);
    for _ in 0..10 {
        bench.with(0, |wallet, now| wallet.line_entered(known, now));
    }
    bench.run(3);
    assert_eq!(bench.asked(0), asked, "what is known is not asked for");
    bench.with(0, |wallet, now| wallet.line_entered(far, now));
    bench.run(10);
    assert_eq!(bench.asked(0), asked + 1);
}

#[test]
fn an_order_is_written_before_it_leaves_and_repeated_with_the_same_bytes() {
    let mut bench = Bench::new();
    bench.run(1);
    let to = bench.id(1);
    bench.fate = Fate::Unreachable;
    let nonce = bench.with(0, |wallet, now| {
        wallet.transfer("a", (to, cr(5)), MicroCredits::ZERO, now)
    });
    assert_eq!(nonce, Ok(1));
    bench.run(200);
    bench.fate = Fate::Delivered;
    bench.run(90);
    assert!(bench.submissions(0).len() > 3);
    let first = bench.submissions(0)[0];
    assert!(bench.submissions(0).iter().all(|order| *order == first));
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 5));
    assert!(bench.store(0).order.unwrap().answered);
}

#[test]
fn a_request_id_means_one_transfer_even_after_a_restart() {
    let mut bench = Bench::new();
    bench.run(1);
    let to = bench.id(1);
    let send = |bench: &mut Bench, id: &str, amount| {
        bench.with(0, |wallet, now| {
            wallet.transfer(id, (to, cr(amount)), MicroCredits::ZERO, now)
        })
    };
    assert_eq!(send(&mut bench, "rent", 100), Ok(1));
    bench.run(5);
    assert_eq!(send(&mut bench, "rent", 100), Ok(1));
    assert_eq!(
        send(&mut bench, "rent", 101),
        Err(CreditError::RequestIdReused("rent".to_owned()))
    );
    bench.restart(0);
    bench.run(5);
    assert_eq!(send(&mut bench, "rent", 100), Ok(1));
    bench.run(5);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 100));
    assert_eq!(send(&mut bench, "more", 1), Ok(2));
}

#[test]
fn transfers_that_cannot_be_are_refused_at_once() {
    let mut bench = Bench::new();
    bench.run(1);
    let (own, to) = (bench.id(0), bench.id(1));
    let mut send = |id: &str, to, amount| {
        bench.with(0, |wallet, now| {
            wallet.transfer(id, (to, cr(amount)), MicroCredits::ZERO, now)
        })
    };
    assert!(matches!(send("", to, 1), Err(CreditError::BadValue { .. })));
    let nobody = send("x", NodeId::from_bytes([0; 32]), 1).unwrap_err();
    assert_eq!(nobody.to_string(), "to is a key that nobody can hold");
    assert!(matches!(
        send(&"x".repeat(REQUEST_ID_LEN_MAX + 1), to, 1),
        Err(CreditError::BadValue { .. })
    ));
    assert!(matches!(
        send("a", own, 1),
        Err(CreditError::BadValue { .. })
    ));
    assert!(matches!(
        send("a", to, 0),
        Err(CreditError::TransferTooSmall { .. })
    ));
    assert_eq!(
        send("a", to, 10 * CREDIT + 1),
        Err(CreditError::InsufficientCredit {
            needed: cr(10 * CREDIT + 1),
            available: Available::divide(cr(10 * CREDIT), cr(0), cr(0)),
        })
    );
    assert!(send("a", to, 9 * CREDIT).is_ok());
    assert_eq!(
        send("b", to, 2 * CREDIT),
        Err(CreditError::InsufficientCredit {
            needed: cr(2 * CREDIT),
            available: Available::divide(cr(CREDIT), cr(0), cr(0)),
        })
    );
}

/// The network would enter a refusal for good, and the order's nonce would be gone.
#[test]
fn a_transfer_below_the_least_of_the_network_uses_no_nonce() {
    let mut bench = Bench::founded(|genesis| {
        let least = |amount| format!("transfer_microcredits_min = {amount}\n");
        genesis.replace(&least(1), &least(1_000))
    });
    bench.run(1);
    let to = bench.id(1);
    let mut send = |id, amount| {
        bench.with(0, |wallet, now| {
            wallet.transfer(id, (to, cr(amount)), MicroCredits::ZERO, now)
        })
    };
    let refused = send("a", 999).expect_err("it is too little");
    assert_eq!(
        refused.to_string(),
        "amount must be at least 0.001000 cr in this network, not 0.000999 cr"
    );
    assert_eq!(send("a", 1_000), Ok(1), "neither nonce nor id is used");
    bench.run(5);
    assert_eq!(bench.submissions(0).len(), 1);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 1_000));
}

/// What boosts may still spend is theirs: a refusal says so, and takes nothing of it.
#[test]
fn a_transfer_takes_nothing_that_is_set_aside() {
    let mut bench = Bench::new();
    bench.run(1);
    let to = bench.id(1);
    let mut send = |id, amount, set_aside| {
        bench.with(0, |wallet, now| {
            wallet.transfer(id, (to, cr(amount)), cr(set_aside), now)
        })
    };
    assert_eq!(
        send("a", 3 * CREDIT, 8 * CREDIT),
        Err(CreditError::InsufficientCredit {
            needed: cr(3 * CREDIT),
            available: Available::divide(cr(10 * CREDIT), cr(0), cr(8 * CREDIT)),
        })
    );
    assert!(send("a", 2 * CREDIT, 8 * CREDIT).is_ok());
    // The same transfer is the same, whatever was set aside since.
    assert!(send("a", 2 * CREDIT, 10 * CREDIT).is_ok());
}

#[test]
fn a_restored_backup_adopts_the_order_that_used_its_nonce() {
    let mut bench = Bench::new();
    bench.run(1);
    let to = bench.id(1);
    let backup = bench.store(0).clone();
    bench.fate = Fate::Unreachable;
    bench
        .with(0, |wallet, now| {
            wallet.transfer("old", (to, cr(7)), MicroCredits::ZERO, now)
        })
        .unwrap();
    let late = bench.submissions(0)[0];
    // The order is under way while the node dies and comes back with an older store.
    *bench.store_mut(0) = backup;
    bench.restart(0);
    bench.fate = Fate::Delivered;
    bench.run(70);
    bench.fate = Fate::Unreachable;
    bench
        .with(0, |wallet, now| {
            wallet.transfer("new", (to, cr(11)), MicroCredits::ZERO, now)
        })
        .unwrap();
    bench.settlement.submit(late);
    bench.fate = Fate::Delivered;
    bench.restored = true;
    bench.run(120);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 18));
    let nonces: Vec<u64> = bench.submissions(0).iter().map(|o| o.body.nonce).collect();
    assert_eq!(nonces.last(), Some(&2));
    let retry = bench.with(0, |wallet, now| {
        wallet.transfer("old", (to, cr(7)), MicroCredits::ZERO, now)
    });
    assert_eq!(retry, Ok(1));
}

/// A settlement node that lost its entries knows no account: the order may be entered yet, when it
/// has them again, until its own time is over.
#[test]
fn an_order_refused_for_want_of_standing_is_pending_until_its_time_is_over() {
    let mut bench = Bench::new();
    bench.run(1);
    let to = bench.id(1);
    bench.fate = Fate::Held;
    let send = |bench: &mut Bench, id: &str| {
        bench.with(0, |wallet, now| {
            wallet.transfer(id, (to, cr(7)), MicroCredits::ZERO, now)
        })
    };
    send(&mut bench, "a").unwrap();
    let refused = |refusal| {
        move |settlement: &mut Settlement, _: &SettlementRequest| {
            let told = OperationAnswer {
                refusal: Some(refusal),
                used_by: None,
                sequence: None,
                line: None,
            };
            operation(settlement, told)
        }
    };
    bench.answer_newest(0, refused(Refusal::NoStanding));
    assert_eq!(bench.view(0).pending, cr(7));
    send(&mut bench, "b").unwrap();
    bench.skip(86_000);
    bench.run(2);
    // It says that time is over, which by our clock is not so.
    bench.answer_newest(0, refused(Refusal::Expired));
    assert_eq!(bench.view(0).pending, cr(14));
    bench.skip(500);
    bench.run(2);
    bench.answer_newest(0, refused(Refusal::Expired));
    bench.answer_newest(0, |settlement, what| settlement.answer(what));
    let sent = bench.submissions(0);
    let (first, last) = (sent[0].body, sent[sent.len() - 1].body);
    assert_eq!((first.nonce, last.nonce), (1, 1));
    assert_ne!(first.memo_hash, last.memo_hash, "the next has its turn");
    assert_eq!(bench.view(0).pending, cr(7));
    let refused = |event: &&CreditEvent| matches!(event, CreditEvent::SettlementRefused { .. });
    assert_eq!(bench.events(0).iter().filter(refused).count(), 2);
    bench.wallet(0).check_invariants();
}

#[test]
fn a_settlement_node_that_forgot_an_order_gets_no_new_one() {
    let mut bench = Bench::new();
    bench.run(1);
    let to = bench.id(1);
    bench
        .with(0, |wallet, now| {
            wallet.transfer("a", (to, cr(7)), MicroCredits::ZERO, now)
        })
        .unwrap();
    bench.run(5);
    bench.fate = Fate::Held;
    bench.run(70);
    bench.answer_newest(0, |settlement, what| {
        changed(settlement.answer(what), |statement| {
            statement.account.status.nonce = 0;
        })
    });
    assert!(!bench.wallet(0).purse().ready);
    bench
        .with(0, |wallet, now| {
            wallet.transfer("b", (to, cr(7)), MicroCredits::ZERO, now)
        })
        .unwrap();
    assert_eq!(bench.submissions(0).len(), 1);
    bench.fate = Fate::Delivered;
    bench.run(120);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 14));
}

#[test]
fn a_lock_is_opened_and_topped_up_and_asked_about_after_a_restart() {
    let mut bench = Bench::new();
    bench.run(1);
    let payee = bench.id(1);
    bench.fate = Fate::Unreachable;
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    let again = bench.with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now));
    assert_eq!(again, Err(WantError::UnderWay));
    bench.fate = Fate::Delivered;
    bench.run(5);
    let id = bench.lock();
    bench
        .with(0, |wallet, now| wallet.top_up(id, cr(500), now))
        .unwrap();
    bench.run(5);
    assert_eq!(
        bench.settlement.locks[&id].lock.body.amount,
        cr(CREDIT + 500)
    );
    bench.fate = Fate::Unreachable;
    bench.restart(0);
    bench.run(20);
    assert!(!bench.wallet(0).purse().ready);
    bench.fate = Fate::Delivered;
    let before = bench.lock_questions(0);
    bench.run(60);
    assert!(bench.wallet(0).purse().ready);
    assert_eq!(bench.lock_questions(0), before + 1, "asked until answered");
    assert_eq!(bench.view(0).reserved, cr(CREDIT + 500));
}

#[test]
fn a_clock_ten_minutes_off_takes_no_locks_and_says_so() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.unix = bench.unix.minus_secs(700);
    bench.restart(0);
    bench.run(5);
    let to = bench.id(1);
    bench
        .with(0, |wallet, now| {
            wallet.transfer("a", (to, cr(1)), MicroCredits::ZERO, now)
        })
        .unwrap();
    bench.run(5);
    assert!(!bench.wallet(0).takes_locks());
    let refused = bench.with(0, |wallet, now| wallet.open_lock(to, cr(1), now));
    assert_eq!(refused, Err(WantError::NotReady));
    let said = |event: &CreditEvent| {
        matches!(
            event,
            CreditEvent::ClockSkewed {
                secs: 690..=710,
                is_sound: false
            }
        )
    };
    assert!(bench.events(0).iter().any(said));
}

/// A lock of 1 cr from node 0 to node 1.
fn funded() -> (Bench, LockId) {
    let mut bench = Bench::new();
    bench.run(1);
    let payee = bench.id(1);
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    bench.run(2);
    let id = bench.lock();
    (bench, id)
}

#[test]
fn a_claim_is_repeated_until_it_is_answered_and_paid_once() {
    let (mut bench, id) = funded();
    bench.fate = Fate::Held;
    let small = claim(&bench, id, 1_000);
    bench.with(1, |wallet, _| wallet.claim(small));
    bench.run(100);
    let large = claim(&bench, id, 3_000);
    bench.with(1, |wallet, _| wallet.claim(large));
    bench.with(1, |wallet, _| wallet.claim(small));
    bench.fate = Fate::Delivered;
    bench.run(100);
    assert_eq!(bench.view(1).available, cr(3_000));
    let sent = bench.claims(1);
    bench.run(1000);
    assert_eq!(bench.claims(1), sent, "answered claims are not repeated");
}

#[test]
fn a_claim_that_was_paid_before_is_answered_with_the_lock() {
    let (mut bench, id) = funded();
    let paid = claim(&bench, id, 1_000);
    bench.settlement.claim(paid);
    bench.run(70);
    let before = bench.lock_questions(1);
    bench.with(1, |wallet, _| wallet.claim(paid));
    bench.run(1);
    assert_eq!(bench.lock_questions(1), before + 1);
    assert!(bench.events(1).is_empty());
}

/// A folder that was taken back reads the lines of its own claims again, with their receipts; and a
/// claim that goes back behind one that was paid is told.
#[test]
fn what_was_claimed_with_is_handed_over_and_what_went_back_is_told() {
    let (mut bench, id) = funded();
    let older = bench.store(1).clone();
    let paid = claim(&bench, id, 3_000);
    bench.with(1, |wallet, _| wallet.claim(paid));
    bench.run(2);
    *bench.store_mut(1) = older;
    bench.restart(1);
    bench.run(70);
    let certified = Errand::ClaimCertified {
        payer: bench.id(0),
        claim: Box::new(paid),
    };
    assert_eq!(bench.told(1), [certified.clone(), certified], "again");
    let gone_back = claim(&bench, id, 1_000);
    bench.with(1, |wallet, _| wallet.claim(gone_back));
    bench.run(2);
    assert_eq!(bench.told(1)[2..], [Errand::ClaimRegressed(id)]);
}

#[test]
fn a_close_is_ordered_and_returns_the_rest() {
    let (mut bench, id) = funded();
    let last = claim(&bench, id, 300_000);
    bench.with(1, |wallet, _| {
        wallet.claim(last);
        wallet.close_lock(id);
        wallet.close_lock(id);
    });
    bench.with(0, |wallet, _| wallet.await_return(true));
    bench.run(12);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT - 300_000));
    assert_eq!(bench.view(1).available, cr(300_000));
    assert_eq!(bench.submissions(1).len(), 1);
    let known = bench.with(0, |wallet, now| wallet.top_up(id, cr(1), now));
    assert_eq!(known, Err(WantError::LockUnknown(id)));
}

#[test]
fn shutdown_delivers_claims_signs_nothing_and_is_quiet() {
    let (mut bench, id) = funded();
    let last = claim(&bench, id, 5);
    bench.with(1, |wallet, _| {
        wallet.claim(last);
        wallet.close_lock(id);
        wallet.shutdown();
    });
    bench.run(1);
    assert!(bench.wallet(1).is_quiet());
    assert_eq!(bench.settlement.account(bench.id(1)).available, cr(5));
    assert!(bench.submissions(1).is_empty());
    assert_eq!(bench.wallet(1).next_timeout(), Instant::MAX);
}

#[test]
fn a_line_with_a_wrong_certificate_is_not_used() {
    let mut bench = Bench::new();
    bench.fate = Fate::Held;
    bench.run(1);
    bench.answer_newest(0, |settlement, what| {
        changed(settlement.answer(what), |statement| {
            statement.lines[0].certificate.body.available_after = cr(77);
        })
    });
    assert_eq!(bench.view(0), WalletView::default());
    assert!(bench.store(0).lines.is_empty());
    assert_eq!(bench.conflicts(0), 1);
}

#[test]
fn a_missing_line_is_noticed_and_nothing_after_it_is_used() {
    let mut bench = Bench::new();
    bench.run(1);
    let own = bench.id(0);
    bench.settlement.grant(own, 1);
    bench.settlement.grant(own, 2);
    bench.fate = Fate::Held;
    bench.run(60);
    bench.answer_newest(0, |settlement, what| {
        changed(settlement.answer(what), |statement| {
            statement.lines.remove(0);
        })
    });
    assert_eq!(bench.view(0).available, cr(10 * CREDIT));
    assert_eq!(bench.conflicts(0), 1);
    bench.fate = Fate::Delivered;
    bench.run(60);
    assert_eq!(bench.view(0).available, cr(10 * CREDIT + 3));
}

#[test]
fn a_page_that_brings_nothing_and_is_not_the_last_is_refused_and_not_asked_for_at_once() {
    let mut bench = Bench::new();
    bench.run(1);
    let own = bench.id(0);
    let old = bench.settlement.statement(own).lines;
    bench.fate = Fate::Held;
    bench.run(60);
    for lines in [Vec::new(), old] {
        let asked = bench.held(0);
        assert!(asked > 0, "a statement is asked for");
        bench.answer_newest(0, |settlement, what| {
            changed(settlement.answer(what), |statement| {
                statement.lines = lines;
                statement.more = true;
            })
        });
        assert_eq!(bench.held(0), asked - 1, "and not again at once");
        bench.run(120);
    }
    assert_eq!(bench.conflicts(0), 2);
}

#[test]
fn an_answer_overtaken_by_a_newer_one_changes_nothing() {
    let (mut bench, id) = funded();
    bench.run(60);
    bench.fate = Fate::Held;
    // Asked before the claim, answered before it and told after it.
    bench.run(61);
    let asked = bench.newest(1);
    let late = bench.settlement.handle(&asked);
    let paid = claim(&bench, id, 10);
    bench.with(1, |wallet, _| wallet.claim(paid));
    bench.answer_newest(1, |settlement, what| settlement.answer(what));
    assert_eq!(bench.view(1).available, cr(10));
    bench.deliver_newest(1, late);
    assert_eq!(bench.view(1).available, cr(10));
    assert_eq!(bench.store(1).lines.len(), 1);
    assert_eq!(bench.conflicts(1), 0, "it is no ledger that went back");
}

#[test]
fn the_queue_is_bounded_and_transfers_go_first() {
    let mut bench = Bench::new();
    bench.run(1);
    bench.fate = Fate::Held;
    for payee in 0..32 {
        let payee = Identity::from_secret([100 + payee; 32]).id();
        bench
            .with(0, |wallet, now| wallet.open_lock(payee, cr(1), now))
            .unwrap();
    }
    let to = bench.id(1);
    let first = bench.with(0, |wallet, now| {
        wallet.transfer("a", (to, cr(1)), MicroCredits::ZERO, now)
    });
    assert_eq!(first, Ok(2));
    let payee = Identity::from_secret([200; 32]).id();
    let full = bench.with(0, |wallet, now| wallet.open_lock(payee, cr(1), now));
    assert_eq!(full, Err(WantError::QueueFull(32)));
    bench.fate = Fate::Delivered;
    bench.run(40);
    let second = bench.submissions(0).iter().find(|o| o.body.nonce == 2);
    assert!(matches!(
        second.unwrap().body.kind,
        OrderKind::Transfer { .. }
    ));
    assert_eq!(bench.settlement.locks.len(), 32);
}

#[test]
fn polling_backs_off_and_never_spins() {
    let mut bench = Bench::new();
    bench.fate = Fate::Unreachable;
    bench.run(600);
    let asked = bench.asked(0);
    assert!(
        (12..40).contains(&asked),
        "{asked} questions in ten minutes"
    );
    bench.fate = Fate::Delivered;
    bench.run(60);
    let before = bench.asked(0);
    bench.run(600);
    let idle = bench.asked(0) - before;
    assert!(
        (9..=11).contains(&idle),
        "{idle} questions in ten idle minutes"
    );
    let wallet = bench.wallet(0);
    assert!(wallet.next_timeout() > bench.now);
    assert!(wallet.next_timeout() <= bench.now.after(Duration::from_secs(60)));
}

#[test]
fn a_damaged_boost_row_is_an_error_that_names_it_and_no_panic() {
    let row = |bytes: Vec<u8>| TallyRow::Boost {
        id: 7,
        bytes: Some(bytes),
    };
    let book = |rows| WalletBook {
        rows,
        ..WalletBook::default()
    };
    assert_eq!(book(Vec::new()).check(), Ok(()));
    let error = book(vec![row(vec![9; 40])]).check().unwrap_err();
    assert!(error.to_string().starts_with("stored boost 7: "), "{error}");
}

#[test]
fn locks_live_as_long_as_their_network_lets_them() {
    let mut bench = Bench::founded(|genesis| {
        genesis
            .replace("lock_ttl_secs = 3600", "lock_ttl_secs = 900")
            .replace("lock_ttl_secs_max = 604800", "lock_ttl_secs_max = 900")
            .replace("= 1000000000000\n", "= 2000000\n")
    });
    bench.run(1);
    let payee = bench.id(1);
    let purse = bench.with(0, |wallet, _| wallet.purse());
    assert!(purse.ready);
    assert_eq!((purse.lock_ttl_secs, purse.lock_max), (900, cr(2 * CREDIT)));
    bench
        .with(0, |wallet, now| wallet.open_lock(payee, cr(CREDIT), now))
        .unwrap();
    bench.run(5);
    let lock = bench.settlement.locks.values().next().unwrap().lock.body;
    let left = lock.expires_at.secs_since(bench.settlement.time);
    assert!((880..=900).contains(&left), "{left}");
}

#[test]
fn nothing_is_locked_where_no_lock_lives_long_enough_to_be_served_on() {
    let mut bench =
        Bench::founded(|genesis| genesis.replace("lock_ttl_secs = 3600", "lock_ttl_secs = 600"));
    bench.run(1);
    let purse = bench.with(0, |wallet, _| wallet.purse());
    assert!(purse.synced && !purse.ready);
}

/// A statement that the settlement node seals with something else in it.
pub(super) fn changed(
    mut answer: SettlementAnswer,
    change: impl FnOnce(&mut Statement),
) -> SettlementAnswer {
    let AnswerBody::Statement(statement) = &mut answer.body else {
        panic!("a statement is asked for: {answer:?}");
    };
    change(statement);
    answer
}

/// An answer to an order that the settlement node made up.
fn operation(settlement: &Settlement, told: OperationAnswer) -> SettlementAnswer {
    SettlementAnswer {
        time: settlement.time,
        body: AnswerBody::Operation(Box::new(told)),
    }
}
