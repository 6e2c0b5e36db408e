//! The twelve ways in which a boost cannot work, on whole sessions: what the user is told, and how
//! soon.
//!
//! A buyer has an account at a real settlement node, and payees that are played by hand. Each row
//! brings about what it is named for; nothing is set by hand inside the buyer's session.

mod buyer;
mod rows;

use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::{MicroCredits, Rate};

use super::market::{identity_of, unix};
use crate::credit::wallet::tests::settlement::Settlement;
use crate::interface::command::Command;
use crate::interface::view::WaitReason;
use buyer::{ASK, Buyer, CREDIT, PAYEE};
use rows::{rows_of_twelve, rows_of_work};

/// How soon a reason is told, in milliseconds.
const TOLD_MAX_MS: u64 = 5_000;
/// How soon silence is.
const SILENCE_TOLD_MAX_MS: u64 = 35_000;
/// For so long no other one is told.
const AFTER_MS: u64 = 15_000;
/// When a boost is placed, so that plans fall on it at different times.
const PHASES_MS: [u64; 2] = [0, 600];
/// A window of one piece of 256 KiB at par, rounded up.
const SMALLEST: MicroCredits = MicroCredits::new(245);

/// A way in which a boost cannot work.
struct Row {
    name: &'static str,
    /// Settlement time minus the buyer's clock, in seconds.
    clock_off_secs: i64,
    /// The same when the buyer's account got its credit.
    granted_off_secs: i64,
    /// Brings it about, and places the boost.
    set: fn(&mut Buyer),
    outcome: Outcome,
    /// What the user reads.
    text: &'static str,
}

/// What the user is told, and how.
#[derive(Clone, Copy)]
enum Outcome {
    /// By an event, and in every view.
    Told(WaitReason),
    /// With the answer to the order. A quote gives the reason before.
    Refused(WaitReason),
}

/// Told once, in time, by an event and by what is listed, and nothing else is told after it.
fn check_told(name: &str, buyer: &mut Buyer, waiting: WaitReason, text: &str) {
    let max_ms = match waiting {
        WaitReason::AllSilent { .. } => SILENCE_TOLD_MAX_MS,
        _ => TOLD_MAX_MS,
    };
    assert_eq!(buyer.reply, Ok(()), "{name}");
    buyer.run(max_ms);
    let told = buyer.told();
    let [(ms, first)] = told[..] else {
        panic!(
            "{name}: told is {told:?}, shown is {:?}",
            buyer.view().waiting
        );
    };
    assert_eq!(first, waiting, "{name}");
    assert!(ms <= max_ms, "{name}: told after {ms} ms");
    assert_eq!(buyer.view().waiting, Some(waiting), "{name}: listed");
    assert_eq!(first.to_string(), text, "{name}");
    buyer.run(AFTER_MS);
    assert_eq!(buyer.told().len(), 1, "{name}: {:?}", buyer.told());
}

/// Refused with the answer, and nothing is listed; a quote gave the reason before.
fn check_refused(name: &str, buyer: &Buyer, waiting: WaitReason, text: &str) {
    let refusal = buyer.reply.as_ref().expect_err(name).to_string();
    let torrent = format!("torrent {}", buyer.torrent_id);
    assert_eq!(refusal.replace(&torrent, "the torrent"), text, "{name}");
    let session = &buyer.market.rig.session;
    let quote = session.boost_quote(buyer.torrent_id, Rate::PAR);
    let quoted = quote.expect("there is the torrent").waiting;
    assert_eq!(quoted, Some(waiting), "{name}: quoted");
    assert_eq!(waiting.to_string(), text, "{name}");
    assert!(session.boosts().is_empty(), "{name}: nothing is placed");
}

#[test]
fn each_of_the_twelve_ways_is_told_in_time_by_event_and_view() {
    for row in rows_of_twelve() {
        for phase_ms in PHASES_MS {
            let ledger = Settlement::new(unix(0, row.granted_off_secs));
            let mut buyer = Buyer::new(ledger, row.clock_off_secs);
            buyer.run(phase_ms);
            (row.set)(&mut buyer);
            match row.outcome {
                Outcome::Told(waiting) => check_told(row.name, &mut buyer, waiting, row.text),
                Outcome::Refused(waiting) => {
                    check_refused(row.name, &buyer, waiting, row.text);
                }
            }
        }
    }
}

#[test]
fn a_boost_that_worked_tells_in_time_why_it_does_not_any_more() {
    for row in rows_of_work() {
        for phase_ms in PHASES_MS {
            let mut buyer = Buyer::new(Settlement::new(unix(0, 0)), 0);
            buyer.run(phase_ms);
            (row.set)(&mut buyer);
            if let Outcome::Told(waiting) = row.outcome {
                check_told(row.name, &mut buyer, waiting, row.text);
            }
        }
    }
}

/// An account without credit has its boost refused before there is anything to tell.
#[test]
fn a_boost_above_what_is_free_is_refused_with_both_figures() {
    let mut buyer = Buyer::new(Settlement::new(unix(0, 0)), 0);
    buyer.payee(ASK);
    buyer.max = CREDIT + 1;
    buyer.boost();
    let refusal = buyer.reply.expect_err("there is less").to_string();
    assert_eq!(refusal, "needs 10.000001 cr, has 10.000000 cr free");
}

#[test]
fn a_payee_whose_key_was_handed_over_is_said_to_get_no_lock() {
    let mut ledger = Settlement::new(unix(0, 0));
    // Who never had credit has no account to hand over.
    ledger.grant(identity_of(PAYEE.into()).id(), 1);
    let mut buyer = Buyer::new(ledger, 0);
    let to = identity_of(99).id();
    buyer.submit(&identity_of(PAYEE.into()), OrderKind::RotateKey { to });
    buyer.payee(ASK);
    buyer.boost();
    let text = "a lock was refused or could not be had: it is asked for again within a minute";
    check_told("lock refused", &mut buyer, WaitReason::LockRefused, text);
    buyer.run(120_000);
    assert_eq!(buyer.told().len(), 1, "asking again is no news");
}

#[test]
fn a_lock_that_its_payee_does_not_close_is_said_to_be_in_the_way_of_the_next() {
    let mut buyer = Buyer::new(Settlement::new(unix(0, 0)), 0);
    buyer.payee(ASK);
    buyer.boost();
    buyer.run(3_000);
    let first = buyer.view();
    assert_eq!(first.payees.len(), 1, "it has a lock");
    buyer.market.rig.command(Command::CancelBoost(first.id));
    buyer.run(2_000);
    buyer.boost();
    let text = "the former lock is still closing at its payee";
    check_told("lock closing", &mut buyer, WaitReason::LockClosing, text);
}

#[test]
fn a_network_whose_largest_lock_holds_no_window_is_said_to_be_too_small() {
    let ledger = Settlement::founded(unix(0, 0), |genesis| {
        let max = |amount| format!("lock_microcredits_max = {amount}\n");
        genesis.replace(&max("1000000000000"), &max("200"))
    });
    let mut buyer = Buyer::new(ledger, 0);
    buyer.payee(ASK);
    buyer.boost();
    let waiting = WaitReason::LocksTooSmall {
        smallest: SMALLEST,
        max: MicroCredits::new(200),
    };
    let text = "the smallest lock is 0.000245 cr and this network's largest is 0.000200 cr: \
                start one with a lower bid";
    check_told("locks too small", &mut buyer, waiting, text);
}
