//! The traces of the protocol review that still apply, each by its number, and bad input, each with
//! the reason for which it gains nothing.
//!
//! An ignored trace named for a row of the review (`l1_`, `m4_`) shows a hole that is known and not
//! closed yet: it passes while the hole is there, and who closes the hole turns it round.

use std::sync::Arc;

use seedbank_engine::asked::BlockFate;
use seedbank_engine::credit::event::CreditEvent;
use seedbank_engine::credit::output::Notice;
use seedbank_engine::credit::receipts::limits::PAIRS_MAX;
use seedbank_engine::credit::receipts::{Granted, Opened, Service, Terms, Violation};
use seedbank_engine::units::{BLOCK_LEN, PeerIndex, PieceIndex};
use seedbank_engine::wire::extended::ReceiptOffer;
use seedbank_engine::wire::receipt::{ErrorCode, Hello, LockFault, ReceiptMessage, SyncEntry};
use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::identity::Ed25519;
use seedbank_ledger::settlement::envelope::{Envelope, Sealer};
use seedbank_ledger::settlement::{AnswerBody, SettlementAnswer};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::answer::RequestHash;
use seedbank_ledger::signed::channel::ChannelKind;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{
    Bytes, Duration, Identity, MicroCredits, NetworkId, NodeId, Rate, Signature,
};

use crate::duo::{BLOCK_COST, Duo, PAYEE, PAYER, PIECE_LEN, RATE, TORRENT, block, bytes};

const PIECE_COST: u64 = 4 * BLOCK_COST;

fn receipt(duo: &Duo, lock_id: LockId, bytes: u64, amount: u64) -> Receipt {
    let lock = duo.settlement.locks[&lock_id].lock.body;
    Receipt {
        network_id: lock.network_id,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(bytes),
        amount: MicroCredits::new(amount),
    }
}

fn signed(duo: &Duo, lock_id: LockId, bytes: u64, amount: u64) -> SignedReceipt {
    receipt(duo, lock_id, bytes, amount).sign(&duo.nodes[PAYER].identity)
}

fn write_offs(duo: &Duo) -> u64 {
    let bytes = duo.entries.iter().map(|(_, entry)| match entry {
        NodeCommand::WriteOff { bytes, .. } => bytes.get(),
        NodeCommand::ChannelSummary(_) | NodeCommand::Settled(_) => 0,
    });
    bytes.sum()
}

#[test]
fn a_piece_is_paid_to_the_micro_credit_and_both_books_agree() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    assert_eq!(duo.piece(peer, 0), 4);
    assert_eq!(duo.payer().signed, MicroCredits::new(PIECE_COST));
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    assert_eq!(duo.payee().paid_bytes, bytes(4));
    assert_eq!(duo.nodes[PAYER].spent, PIECE_COST);
    duo.pass(3_700);
    assert_eq!(
        duo.settlement.locks[&lock_id].claimed,
        MicroCredits::new(PIECE_COST)
    );
    assert!(duo.violations.is_empty());
}

#[test]
fn f1_acknowledgements_clear_no_exposure_and_cannot_be_claimed() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    assert_eq!(duo.piece(peer, 0), 0);
    duo.pass(2);
    assert_eq!(
        duo.payer().standing,
        i64::try_from(bytes(4).get()).expect("small")
    );
    duo.quote(peer);
    duo.take(peer, 1, 0);
    assert_eq!(duo.payee().exposure, bytes(1));
    duo.pass(5);
    assert_eq!(duo.payee().exposure, bytes(1));
    assert_eq!(duo.payee().paid, MicroCredits::ZERO);
}

#[test]
fn f2_no_further_piece_is_opened_than_the_window_holds() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    // As the session asks: a further piece must fit what is left.
    let may_open = |duo: &Duo| {
        let left = duo.nodes[PAYER].exchange.window_left(peer);
        left >= Bytes::new(u64::from(PIECE_LEN))
    };
    assert_eq!(duo.payee().window, bytes(4));
    assert!(may_open(&duo));
    duo.take(peer, 0, 0);
    assert!(!may_open(&duo), "a key that never paid gets one piece");
    for index in 1..4 {
        assert_eq!(duo.take(peer, 0, index), Granted::Paid(RATE));
    }
    assert!(
        !may_open(&duo),
        "what came and is not verified fills it too"
    );
    duo.verify(0);
    assert!(may_open(&duo), "what is paid makes room");
}

#[test]
fn f3_waste_is_written_off_and_honest_service_goes_on() {
    let (mut duo, peer, _) = Duo::paid(10_000_000);
    let mut paid = 0;
    for piece in 0..400 {
        paid += duo.piece(peer, piece);
        if piece % 12 == 0 {
            // Two blocks in a hundred never arrive.
            duo.grant(peer, block(piece + 1_000, 0));
            duo.nodes[PAYER].refused(peer, block(piece + 1_000, 0), duo.now);
        }
        duo.pass(7);
    }
    assert!(paid >= 1_500, "{paid} of 1600 blocks were paid");
    assert!(!duo.payee().backing_off);
    duo.pass(200);
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
}

#[test]
fn f4_the_last_receipt_is_sent_again_when_its_connection_dies() {
    let (mut duo, one, lock_id) = Duo::paid(10_000);
    let other = duo.connect();
    duo.piece(one, 0);
    // The newest connection carries receipts; this one dies on the way.
    duo.held.insert((other, PAYEE));
    duo.piece(one, 1);
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
    duo.held.clear();
    duo.close(other);
    duo.pass(2);
    assert_eq!(duo.payee().paid, MicroCredits::new(2 * PIECE_COST));
    assert!(duo.settlement.status(lock_id).is_some());
}

#[test]
fn f4_also_where_the_other_sides_sync_is_still_under_way() {
    let (mut duo, one, _) = Duo::paid(10_000);
    // On the second connection the payer has sent SYNC and waits for the payee's.
    let other = duo.open(TORRENT, PIECE_LEN);
    duo.pump();
    let third = duo.open(TORRENT, PIECE_LEN);
    duo.held.insert((third, PAYER));
    duo.pump();
    duo.held.insert((other, PAYEE));
    duo.held.insert((one, PAYEE));
    duo.piece(one, 0);
    duo.held.clear();
    duo.held.insert((third, PAYER));
    duo.close(other);
    duo.close(one);
    duo.held.clear();
    duo.pump();
    duo.pass(2);
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
}

#[test]
fn f5_what_was_paid_on_a_closed_lock_stays_paid() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    let payee = duo.id(PAYEE);
    let now = duo.now;
    duo.nodes[PAYER].exchange.end_lock(payee, lock_id, now);
    duo.pump();
    assert!(duo.settlement.locks[&lock_id].closed, "the payee closes it");
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    duo.fund(10_000);
    duo.bid(peer, RATE);
    duo.quote(peer);
    assert_eq!(duo.piece(peer, 1), 4);
    assert_eq!(duo.payee().paid, MicroCredits::new(2 * PIECE_COST));
}

#[test]
fn f6_the_window_counts_bytes_whatever_they_cost() {
    let (mut duo, peer, _) = Duo::paid(1_000_000_000);
    duo.bid(peer, Rate::new(1_000_000_000));
    for index in 0..4 {
        assert!(matches!(duo.take(peer, 0, index), Granted::Paid(_)));
    }
    duo.bid(peer, Rate::new(1_000));
    duo.quote(peer);
    assert_eq!(
        duo.take(peer, 1, 0),
        Granted::Waits,
        "four blocks fill one piece"
    );
    assert_eq!(duo.payee().exposure, bytes(4));
}

#[test]
fn f7_a_block_costs_the_bid_at_its_request_capped_by_the_quote_at_its_piece() {
    let (mut duo, peer, _) = Duo::paid(1_000_000);
    duo.nodes[PAYER].request(peer, block(0, 0), PIECE_LEN);
    let stamped = duo.nodes[PAYEE].exchange.bid(peer);
    duo.bid(peer, Rate::new(9 * RATE.get()));
    let payee = &mut duo.nodes[PAYEE].exchange;
    let granted = payee.grant(peer, block(0, 0).len, stamped, duo.now);
    assert_eq!(
        granted,
        Granted::Paid(RATE),
        "bidding high later changes nothing"
    );
    duo.arrive(peer, block(0, 0));
    let cap = Rate::new(RATE.get() / 2);
    duo.nodes[PAYEE]
        .exchange
        .set_quote(peer, Service::Paid { cap });
    duo.pump();
    assert_eq!(duo.take(peer, 0, 1), Granted::Paid(cap));
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    assert_eq!(duo.take(peer, 0, 2), Granted::Open);
    duo.verify(0);
    duo.pass(2);
    let due = BLOCK_COST + BLOCK_COST / 2;
    assert_eq!(duo.payer().signed, MicroCredits::new(due));
    assert_eq!(duo.payee().paid, MicroCredits::new(due));
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
}

#[test]
fn f8_open_class_bytes_are_no_exposure() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    for piece in 0..50 {
        assert_eq!(duo.piece(peer, piece), 0);
    }
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    duo.pass(600);
    assert!(!duo.payee().backing_off);
    assert_eq!(write_offs(&duo), 0);
}

#[test]
fn a_piece_that_came_after_a_long_silence_is_acknowledged_within_seconds() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    duo.pass(300);
    duo.piece(peer, 0);
    let wakes = duo.nodes[PAYER].exchange.next_timeout();
    let soon = duo.now.after(Duration::from_secs(2));
    assert!(wakes.is_some_and(|at| at <= soon), "{wakes:?}");
}

/// A damaged row stops no node: what has an amount is no acknowledgement.
#[test]
fn a_stored_acknowledgement_with_an_amount_is_not_taken_up() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    duo.piece(peer, 0);
    duo.pass(2);
    let mut damaged = 0;
    for row in duo.nodes[PAYER].store.values_mut() {
        if let TallyRow::Receipt(row) = row
            && row.channel.kind == ChannelKind::Acknowledgement
        {
            row.receipt.body.amount = MicroCredits::new(5);
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    duo.close(peer);
    duo.restart(PAYER);
    // What follows is compared with what is stored.
    duo.nodes[PAYER].store.clear();
    let peer = duo.connect();
    duo.piece(peer, 1);
    duo.pass(2);
    assert!(duo.payer().standing > 0, "{:?}", duo.payer());
}

#[test]
fn f10_due_is_written_before_the_receipt_is_sent() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for index in 0..4 {
        duo.take(peer, 0, index);
    }
    duo.order.clear();
    duo.verify(0);
    assert_eq!(duo.order[..2], ["tally", "send"]);
}

#[test]
fn f11_an_honest_pair_with_unlucky_waste_has_a_way_back() {
    let (mut duo, peer, _) = Duo::paid(1_000_000);
    for round in 0..3 {
        for index in 0..4 {
            duo.grant(peer, block(100 + round, index));
        }
        duo.pass(250);
    }
    assert!(duo.payee().lost > bytes(4));
    duo.pass(4_000);
    assert!(!duo.payee().backing_off);
    duo.fund(1_000_000);
    duo.bid(peer, RATE);
    duo.quote(peer);
    assert_eq!(duo.piece(peer, 0), 4);
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
}

#[test]
fn f14_a_payee_that_forgot_a_close_serves_one_window_at_most() {
    let (mut duo, peer, lock_id) = Duo::paid(100_000);
    duo.piece(peer, 0);
    duo.nodes[PAYEE].backup();
    let payee = duo.id(PAYEE);
    let status = duo.settlement.close(payee, lock_id).expect("its own");
    assert!(status.closed);
    duo.nodes[PAYEE].store = duo.nodes[PAYEE].backups[0].clone();
    duo.close(peer);
    duo.reachable = false;
    duo.restart(PAYEE);
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    let mut paid = 0;
    for piece in 1..60 {
        paid += duo.piece(peer, piece);
    }
    let window = duo.payee().window;
    assert!(paid > 0);
    assert!(bytes(u64::try_from(paid).expect("small")) <= window);
    // Once the settlement node answers, nothing is served on it any more.
    duo.reachable = true;
    duo.tell(PAYEE, &status);
    assert_eq!(duo.piece(peer, 100), 0);
}

#[test]
fn f14_a_payer_is_told_that_a_lock_is_closed() {
    let (mut duo, peer, lock_id) = Duo::paid(100_000);
    duo.piece(peer, 0);
    let payee = duo.id(PAYEE);
    let status = duo.settlement.close(payee, lock_id).expect("its own");
    duo.nodes[PAYEE].exchange.lock_status(&status, duo.now);
    duo.nodes[PAYEE].exchange.check_invariants();
    duo.close(peer);
    let signed = duo.payer().signed;
    let peer = duo.connect();
    duo.bid(peer, RATE);
    assert_eq!(duo.nodes[PAYER].exchange.own_bid(peer), Rate::ZERO);
    duo.piece(peer, 1);
    assert_eq!(duo.payer().signed, signed);
}

#[test]
fn f15_payment_in_advance_is_a_tip_and_buys_no_window() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let ahead = signed(&duo, lock_id, 1, 1_000);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(ahead));
    duo.pass(2);
    assert_eq!(duo.payee().paid, MicroCredits::new(1_000));
    duo.take(peer, 0, 0);
    assert_eq!(duo.payee().exposure, bytes(1), "it was a tip");
}

#[test]
fn f16_a_tip_moves_no_counter() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.take(peer, 0, 0);
    let before = duo.payee();
    for _ in 0..3 {
        let tip = ReceiptMessage::Tip {
            amount: MicroCredits::new(500),
            note: "thanks".to_owned(),
        };
        duo.say(PAYER, peer, tip);
    }
    assert_eq!(duo.payee(), before);
}

#[test]
fn f17_a_lock_smaller_than_a_piece_is_used_to_its_last_block() {
    let (mut duo, peer, lock_id) = Duo::paid(PIECE_COST + 3 * BLOCK_COST + 1);
    assert_eq!(duo.piece(peer, 0), 4);
    assert_eq!(duo.piece(peer, 1), 3, "decided per block");
    duo.pass(2);
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    assert_eq!(duo.payee().paid, MicroCredits::new(7 * BLOCK_COST));
    let claimed = duo.settlement.locks[&lock_id].claimed;
    assert!(
        claimed >= MicroCredits::new(6 * BLOCK_COST),
        "80 % is used: {claimed}"
    );
}

#[test]
fn f18_a_receipts_bytes_do_not_raise_the_window() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let inflated = signed(&duo, lock_id, 1 << 40, 0);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(inflated));
    duo.pass(2);
    assert_eq!(duo.payee().window, bytes(4));
    assert_eq!(duo.payee().paid_bytes, Bytes::ZERO);
}

#[test]
fn f19_a_restored_payer_adopts_what_it_signed_and_pays_nothing_twice() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.nodes[PAYER].backup();
    duo.piece(peer, 1);
    duo.piece(peer, 2);
    duo.nodes[PAYER].store = duo.nodes[PAYER].backups[0].clone();
    duo.close(peer);
    duo.restart(PAYER);
    assert_eq!(duo.payer().signed, MicroCredits::new(PIECE_COST));
    let peer = duo.connect();
    assert_eq!(duo.payer().signed, MicroCredits::new(3 * PIECE_COST));
    assert_eq!(duo.payer().owed, MicroCredits::ZERO);
    duo.bid(peer, RATE);
    duo.quote(peer);
    duo.piece(peer, 3);
    assert_eq!(duo.payer().signed, MicroCredits::new(4 * PIECE_COST));
    assert_eq!(duo.payee().paid, MicroCredits::new(4 * PIECE_COST));
}

#[test]
fn f19a_a_backup_carries_no_unsigned_due() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for index in 0..4 {
        duo.take(peer, 0, index);
    }
    duo.close(peer);
    duo.verify(0);
    assert_eq!(duo.payer().owed, MicroCredits::new(PIECE_COST));
    // The lock runs out before anybody could sign on it.
    duo.pass(8 * 3_600);
    duo.nodes[PAYER].backup();
    let second = duo.fund(10_000);
    duo.connect();
    duo.pass(2);
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
    let payee = duo.id(PAYEE);
    let now = duo.now;
    duo.nodes[PAYER].exchange.end_lock(payee, second, now);
    duo.pump();
    assert!(duo.settlement.locks[&second].closed);
    // Restored, the payer knows neither the second lock nor that it paid.
    duo.nodes[PAYER].store = duo.nodes[PAYER].backups[0].clone();
    duo.restart(PAYER);
    // Nor does the payee remember, or so it says.
    duo.nodes[PAYEE].store.clear();
    duo.restart(PAYEE);
    let status = duo.settlement.status(second).expect("it is known");
    duo.tell(PAYER, &status);
    duo.fund(10_000);
    duo.connect();
    duo.pass(4_000);
    let claimed = duo.settlement.locks.values().map(|lock| lock.claimed.get());
    assert_eq!(claimed.sum::<u64>(), PIECE_COST, "paid once");
}

#[test]
fn a_restored_payee_closes_no_lock_before_the_payer_has_shown_its_receipts() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.nodes[PAYEE].backup();
    duo.piece(peer, 0);
    duo.close(peer);
    duo.nodes[PAYEE].store = duo.nodes[PAYEE].backups[0].clone();
    duo.restart(PAYEE);
    assert_eq!(duo.payee().paid, MicroCredits::ZERO);
    duo.pass(1_800);
    assert!(
        !duo.settlement.locks[&lock_id].closed,
        "idle, but not in step"
    );
    duo.connect();
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
    duo.pass(500);
    assert!(!duo.settlement.locks[&lock_id].closed, "it was just here");
    duo.pass(200);
    let status = duo.settlement.locks[&lock_id];
    assert!(status.closed, "idle for ten minutes");
    assert_eq!(status.claimed, MicroCredits::new(PIECE_COST));
}

/// A payer was killed with blocks under way, came back, fetched the rest elsewhere and asks for
/// its credit: it is not to wait for the expiry of its lock.
#[test]
fn a_payer_who_stays_gets_its_credit_back_after_a_write_off() {
    let (mut duo, peer, lock_id) = Duo::paid(100_000);
    duo.piece(peer, 0);
    assert_eq!(duo.take(peer, 1, 0), Granted::Paid(RATE));
    duo.close(peer);
    duo.restart(PAYER);
    let peer = duo.connect();
    duo.nodes[PAYER]
        .exchange
        .end_lock(duo.id(PAYEE), lock_id, duo.now);
    duo.pump();
    duo.pass(30);
    assert!(
        !duo.settlement.locks[&lock_id].closed,
        "what is under way may be paid for"
    );
    duo.pass(65);
    assert_eq!(write_offs(&duo), bytes(1).get());
    let status = duo.settlement.locks[&lock_id];
    assert!(status.closed, "its SYNC has come");
    assert_eq!(status.claimed, MicroCredits::new(PIECE_COST));
    assert!(
        duo.nodes[PAYER].exchange.key_of(peer).is_some(),
        "still here"
    );
}

#[test]
fn a_payee_that_shuts_down_claims_what_it_holds() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.pass(2);
    let claimed = |duo: &Duo| duo.settlement.locks[&lock_id].claimed;
    assert_eq!(claimed(&duo), MicroCredits::ZERO, "within the hour");
    let now = duo.now;
    duo.nodes[PAYEE].exchange.finish(now);
    duo.pump();
    assert_eq!(claimed(&duo), MicroCredits::new(PIECE_COST));
}

#[test]
fn a_lock_that_the_payer_gave_up_is_closed_once_its_waste_is_written_off() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.take(peer, 1, 0);
    let (payee, now) = (duo.id(PAYEE), duo.now);
    let payer = &mut duo.nodes[PAYER].exchange;
    payer.discarded(TORRENT, PieceIndex::unchecked(1), now);
    payer.end_lock(payee, lock_id, now);
    duo.pump();
    assert!(
        !duo.settlement.locks[&lock_id].closed,
        "one block is unpaid"
    );
    duo.pass(200);
    assert_eq!(write_offs(&duo), u64::from(PIECE_LEN) / 4);
    assert!(duo.settlement.locks[&lock_id].closed);
}

#[test]
fn a_receipt_that_waits_is_verified_before_a_block_is_refused() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.take(peer, 0, 0);
    duo.take(peer, 0, 1);
    duo.verify(0);
    assert_eq!(
        duo.payee().paid,
        MicroCredits::ZERO,
        "32 KiB wait for a second"
    );
    for index in 0..4 {
        assert_eq!(duo.take(peer, 1, index), Granted::Paid(RATE));
    }
    assert_eq!(duo.payee().paid, MicroCredits::new(2 * BLOCK_COST));
}

#[test]
fn f19_a_restored_payer_learns_of_a_lock_it_forgot_and_adopts_its_claim() {
    let mut duo = Duo::new();
    duo.nodes[PAYER].backup();
    // Four fifths are used: the payee claims at once.
    let lock_id = duo.fund(PIECE_COST + 10);
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    duo.piece(peer, 0);
    duo.nodes[PAYER].store = duo.nodes[PAYER].backups[0].clone();
    duo.close(peer);
    duo.restart(PAYER);
    let status = duo.settlement.status(lock_id).expect("it is known");
    assert_eq!(status.claimed, MicroCredits::new(PIECE_COST));
    duo.tell(PAYER, &status);
    assert_eq!(duo.payer().signed, MicroCredits::new(PIECE_COST));
    assert_eq!(duo.payer().owed, MicroCredits::ZERO);
}

#[test]
fn f22_a_piece_handed_on_is_due_to_both_once_it_is_verified() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.take(peer, 0, 0);
    duo.take(peer, 0, 1);
    let piece = PieceIndex::unchecked(0);
    duo.nodes[PAYER].exchange.hand_on(peer, piece, duo.now);
    let payer = &duo.nodes[PAYER].exchange;
    let left = payer.window_left(peer);
    assert_eq!(left, bytes(2), "what came still fills its window");
    duo.verify(0);
    duo.pass(2);
    assert_eq!(duo.payer().signed, MicroCredits::new(2 * BLOCK_COST));
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
}

#[test]
fn f25_a_lock_with_little_grace_time_or_credit_is_not_served_on() {
    for (amount, wait) in [(0, 0), (10_000, 3_100)] {
        let mut duo = Duo::new();
        let status = duo.open_lock(amount);
        duo.pass(wait);
        duo.tell(PAYER, &status);
        let peer = duo.connect();
        duo.bid(peer, RATE);
        duo.quote(peer);
        assert_eq!(duo.piece(peer, 0), 0, "{amount} µcr, {wait} s old");
    }
}

#[test]
fn f25_an_older_certificate_never_replaces_a_newer_one() {
    let mut duo = Duo::new();
    let old = duo.open_lock(200);
    let unix = duo.unix();
    let lock_id = old.lock.body.lock_id;
    let new = duo.settlement.top_up(lock_id, 300, 7_200, unix);
    let new = new.expect("it is open");
    duo.tell(PAYER, &new);
    let peer = duo.connect();
    duo.say(PAYER, peer, ReceiptMessage::Lock(Box::new(old.lock)));
    duo.tell(PAYEE, &old);
    let held = duo.nodes[PAYEE].exchange.earning_locks().next();
    let held = held.expect("it was shown").lock.body;
    assert_eq!(held.amount, MicroCredits::new(500));
    assert_eq!(held.expires_at, new.lock.body.expires_at);
}

#[test]
fn f27_an_auth_of_another_connection_proves_nothing() {
    let mut duo = Duo::new();
    let first = duo.connect();
    let auth = duo.sent.iter().find_map(|(from, message)| match message {
        ReceiptMessage::Auth(_) if *from == PAYER => Some(message.clone()),
        _ => None,
    });
    let auth = auth.expect("one was sent");
    duo.close(first);
    let second = duo.open(TORRENT, PIECE_LEN);
    duo.held.insert((second, PAYEE));
    duo.pump();
    let queue = duo.wire.get_mut(&(second, PAYEE)).expect("held");
    let hello = queue.pop_front().expect("HELLO comes first");
    queue.clear();
    queue.push_back(hello);
    queue.push_back(auth);
    duo.held.clear();
    duo.pump();
    assert_eq!(duo.violations, [Violation::BadAuth]);
    assert_eq!(duo.nodes[PAYEE].exchange.key_of(second), None);
}

#[test]
fn f28_crossed_receipts_are_healed_by_sync() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    // The payee holds more bytes than the payer remembers to have signed.
    let more = signed(&duo, lock_id, 1 << 30, PIECE_COST);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(more));
    duo.pass(2);
    duo.piece(peer, 1);
    let stale = duo.sent.iter().any(|(from, message)| {
        *from == PAYEE
            && matches!(
                message,
                ReceiptMessage::Error {
                    code: ErrorCode::Stale,
                    ..
                }
            )
    });
    assert!(stale);
    assert_eq!(duo.payer().signed, MicroCredits::new(2 * PIECE_COST));
    // What a later SYNC shows is verified like any other receipt.
    duo.pass(1);
    assert_eq!(duo.payee().paid, MicroCredits::new(2 * PIECE_COST));
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
}

#[test]
fn f29_an_overdrawn_receipt_counts_for_what_the_lock_holds() {
    let (mut duo, peer, lock_id) = Duo::paid(1_000);
    let overdrawn = signed(&duo, lock_id, 1, 1_500);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(overdrawn));
    duo.pass(2);
    assert_eq!(duo.payee().paid, MicroCredits::new(1_000));
    let unix = duo.unix();
    let status = duo.settlement.top_up(lock_id, 300, 3_600, unix);
    duo.tell(PAYEE, &status.expect("it is open"));
    assert_eq!(duo.payee().paid, MicroCredits::new(1_300));
    duo.pass(3_700);
    let claimed = duo.settlement.locks[&lock_id].claimed;
    assert_eq!(claimed, MicroCredits::new(1_300));
}

#[test]
fn a_receipt_that_goes_back_or_is_replayed_changes_nothing() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let old = signed(&duo, lock_id, 10, 10);
    duo.piece(peer, 0);
    let before = duo.payee();
    for _ in 0..2 {
        duo.say(PAYER, peer, ReceiptMessage::Receipt(old));
        duo.pass(2);
    }
    assert_eq!(duo.payee(), before);
    assert!(duo.violations.is_empty());
}

#[test]
fn a_forged_receipt_makes_its_connection_plain() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let mut forged = signed(&duo, lock_id, 1 << 20, 10);
    forged.body.amount = MicroCredits::new(9_000);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(forged));
    assert_eq!(duo.payee().paid, MicroCredits::ZERO);
    assert!(!duo.violations.is_empty() || !duo.notices.is_empty());
    assert_eq!(duo.take(peer, 0, 0), Granted::Open);
}

fn conflicts(duo: &Duo, node: usize) -> usize {
    let of_node = duo.events.iter().filter(|(of, _)| *of == node);
    let conflicts = of_node.filter(|(_, event)| matches!(event, CreditEvent::Conflict { .. }));
    conflicts.count()
}

fn said(duo: &Duo, from: usize, code: ErrorCode) -> bool {
    duo.sent.iter().any(|(of, message)| {
        *of == from && matches!(message, ReceiptMessage::Error { code: said, .. } if *said == code)
    })
}

/// What a settlement node that lost entries certifies beside a lock that it certified before.
fn second_lock(duo: &Duo, lock_id: LockId, change: impl FnOnce(&mut Lock)) -> LockStatus {
    let mut body = duo.settlement.locks[&lock_id].lock.body;
    change(&mut body);
    LockStatus {
        lock: body.sign(&duo.settlement.identity),
        claimed: MicroCredits::new(9_000),
        closed: false,
    }
}

/// A lock that holds less than a window costs is told, once, and served on after a top-up.
#[test]
fn a_lock_that_holds_too_little_is_told_why() {
    let mut duo = Duo::new();
    let payee = &mut duo.nodes[PAYEE].exchange;
    payee.set_terms(Terms {
        rate_min: RATE,
        ..payee.terms()
    });
    let lock_id = duo.fund(PIECE_COST - 1);
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    let refused = |duo: &Duo| {
        let events = duo.events.iter();
        let told = events.filter(|(node, event)| {
            let is_it = matches!(event, CreditEvent::LockRefused { lock_id: id, fault, .. }
                if *id == lock_id && *fault == LockFault::Amount);
            *node == PAYER && is_it
        });
        told.count()
    };
    assert!(said(&duo, PAYEE, ErrorCode::LockRefused(LockFault::Amount)));
    assert_eq!(refused(&duo), 1);
    assert_eq!(duo.piece(peer, 0), 0, "nothing is served on it");
    let channel_id = Some(duo.settlement.locks[&lock_id].lock.body.channel().id());
    for _ in 0..100 {
        for fault in [LockFault::Amount, LockFault::Time] {
            let code = ErrorCode::LockRefused(fault);
            duo.say(PAYEE, peer, ReceiptMessage::Error { code, channel_id });
        }
    }
    assert_eq!(refused(&duo), 1, "whatever a payee repeats");
    let all = duo.events.iter();
    let all = all.filter(|(_, event)| matches!(event, CreditEvent::LockRefused { .. }));
    assert_eq!(all.count(), 2, "each fault once");
    let unix = duo.unix();
    let topped = duo.settlement.top_up(lock_id, 10_000, 0, unix);
    duo.tell(PAYER, &topped.expect("there is credit"));
    assert_eq!(duo.piece(peer, 1), 4);
}

/// A settlement node that lost entries gives a lock's number out again, or opens the lock of an old
/// order under a new number: by a peer's word nothing changes.
#[test]
fn a_second_lock_of_one_number_or_order_is_refused_when_a_peer_shows_it() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let other_order = |body: &mut Lock| {
        body.opening_order = OrderHash::from_bytes([9; 32]);
        body.amount = MicroCredits::new(20_000);
    };
    let other_number = |body: &mut Lock| body.lock_id = LockId::new(9_999);
    for (shown, is_told) in [
        (second_lock(&duo, lock_id, other_order), true),
        // The channel is the known lock's, which is not refused.
        (second_lock(&duo, lock_id, other_number), false),
    ] {
        duo.sent.clear();
        duo.events.clear();
        duo.say(PAYER, peer, ReceiptMessage::Lock(Box::new(shown.lock)));
        assert_eq!(
            said(&duo, PAYEE, ErrorCode::LockRefused(LockFault::Contradicts)),
            is_told
        );
        assert_eq!(conflicts(&duo, PAYEE), 1);
        // Nor is anything of it used when a SYNC says it, to either side.
        let receipt = Receipt {
            channel_id: shown.lock.body.channel().id(),
            ..receipt(&duo, lock_id, 10, 10)
        };
        let receipt = receipt.sign(&duo.nodes[PAYER].identity);
        let mut entry = SyncEntry {
            lock_id: Some(shown.lock.body.lock_id),
            held: None,
            sent: Some(receipt),
            lock: Some(shown.lock),
            closed: true,
        };
        duo.say(PAYER, peer, ReceiptMessage::Sync(vec![entry]));
        (entry.held, entry.sent) = (entry.sent, None);
        duo.say(PAYEE, peer, ReceiptMessage::Sync(vec![entry]));
        assert!(conflicts(&duo, PAYER) > 0, "the payer is told too");
        duo.pass(60);
    }
    assert_eq!(duo.violations, []);
    assert_eq!(duo.piece(peer, 0), 4);
    duo.pass(5);
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
}

/// When the settlement node itself says so, nothing more is served on the lock that was known,
/// whoever the other one is for: it would not be paid.
#[test]
fn nothing_is_served_on_a_lock_that_the_settlement_node_contradicts() {
    let other_order = |body: &mut Lock| body.opening_order = OrderHash::from_bytes([9; 32]);
    let other_payer = |body: &mut Lock| {
        other_order(body);
        body.payer = Identity::from_secret([77; 32]).id();
    };
    let other_number = |body: &mut Lock| body.lock_id = LockId::new(9_999);
    let changes: [&dyn Fn(&mut Lock); 3] = [&other_order, &other_payer, &other_number];
    for change in changes {
        let (mut duo, peer, lock_id) = Duo::paid(10_000);
        let told = second_lock(&duo, lock_id, change);
        let pays = |duo: &Duo| {
            let payee = &duo.nodes[PAYEE].exchange;
            payee.is_paid_eligible(peer, duo.now)
        };
        assert!(pays(&duo));
        duo.tell(PAYEE, &told);
        assert_eq!(conflicts(&duo, PAYEE), 1);
        assert!(!pays(&duo));
        assert_eq!(duo.payee().paid, MicroCredits::ZERO);
        if told.lock.body.payer == duo.id(PAYER) {
            duo.tell(PAYER, &told);
            assert_eq!(conflicts(&duo, PAYER), 1, "the payer is told too");
        }
        assert_eq!(duo.violations, []);
    }
}

fn opened(peer: PeerIndex) -> Opened {
    Opened {
        peer,
        torrent_id: TORRENT,
        piece_len: PIECE_LEN,
        offer: ReceiptOffer { version: 1 },
        fast: true,
    }
}

fn hello(duo: &Duo, node_id: NodeId) -> ReceiptMessage {
    ReceiptMessage::Hello(Hello {
        version: 1,
        nonce: [1; 16],
        node_id,
        network_id: duo.settlement.network.id,
        settlement_keys: Vec::new(),
        rate_min: None,
        window: Bytes::ZERO,
    })
}

/// A connection that could not be opened stays plain, however often its peer offers receipts.
#[test]
fn an_opening_is_tried_once() {
    let mut duo = Duo::new();
    let peer = PeerIndex(77);
    let own_key = hello(&duo, duo.id(PAYEE));
    let exchange = &mut duo.nodes[PAYEE].exchange;
    exchange.open(opened(peer));
    assert!(exchange.poll_output().is_some(), "HELLO");
    for _ in 0..3 {
        assert_eq!(exchange.handle(peer, own_key.clone(), duo.now), Ok(()));
        exchange.open(opened(peer));
        assert!(exchange.poll_output().is_none(), "and nothing more");
    }
}

#[test]
fn a_receipt_of_another_channel_is_answered_and_not_counted() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let mut elsewhere = duo.settlement.locks[&lock_id].lock.body;
    elsewhere.opening_order = OrderHash::from_bytes([9; 32]);
    let body = Receipt {
        channel_id: elsewhere.channel().id(),
        ..receipt(&duo, lock_id, 10, 10)
    };
    let foreign = body.sign(&duo.nodes[PAYER].identity);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(foreign));
    duo.pass(2);
    assert_eq!(duo.payee().paid, MicroCredits::ZERO);
    let answered = duo.sent.iter().any(|(from, message)| {
        let unknown = ErrorCode::ChannelUnknown;
        *from == PAYEE && matches!(message, ReceiptMessage::Error { code, .. } if *code == unknown)
    });
    assert!(answered);
}

#[test]
fn a_receipt_of_another_network_is_a_violation() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let body = Receipt {
        network_id: NetworkId::from_bytes([3; 32]),
        ..receipt(&duo, lock_id, 10, 10)
    };
    let foreign = body.sign(&duo.nodes[PAYER].identity);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(foreign));
    assert_eq!(duo.violations, [Violation::ForeignReceipt]);
}

#[test]
fn an_acknowledgement_with_an_amount_is_a_violation() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    duo.piece(peer, 0);
    duo.pass(2);
    let ack = duo.sent.iter().find_map(|(_, message)| match message {
        ReceiptMessage::Receipt(receipt) => Some(*receipt),
        _ => None,
    });
    let mut body = ack.expect("one was sent").body;
    assert!(body.amount.is_zero());
    body.amount = MicroCredits::new(1);
    let signed = body.sign(&duo.nodes[PAYER].identity);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(signed));
    assert_eq!(duo.violations, [Violation::AmountAcknowledged]);
    assert!(duo.settlement.status(lock_id).is_some());
}

#[test]
fn a_lock_of_another_settlement_key_is_a_violation() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let mut lock = duo.settlement.locks[&lock_id].lock;
    lock.body.amount = MicroCredits::new(1_000_000);
    let forged = duo.settlement.forged(&lock);
    duo.say(PAYER, peer, ReceiptMessage::Lock(Box::new(forged)));
    assert_eq!(duo.violations, [Violation::ForgedLock]);
}

#[test]
fn an_expiring_lock_is_not_served_on_but_still_paid_on() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for index in 0..3 {
        assert_eq!(duo.take(peer, 0, index), Granted::Paid(RATE));
    }
    duo.pass(3);
    duo.take(peer, 0, 3);
    let started = duo.now;
    while duo.unix().as_secs() < 1_700_000_000 + 3_545 {
        duo.pass(20);
        duo.piece(
            peer,
            1_000 + u32::try_from(duo.unix().as_secs() % 100_000).expect("small"),
        );
    }
    assert!(duo.now > started);
    assert_eq!(duo.take(peer, 2, 0), Granted::Waits, "60 s before expiry");
    duo.verify(0);
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
}

#[test]
fn a_payer_that_never_pays_gets_two_windows_then_one_per_back_off() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    let mut taken = 0_u64;
    for piece in 0..3_600 {
        for index in 0..4 {
            if let Granted::Paid(_) = duo.grant(peer, block(piece, index)) {
                taken += 1;
            }
            let (block, fate) = (block(piece, index), BlockFate::Different);
            duo.nodes[PAYER].block_came(peer, block, fate, false, duo.now);
        }
        duo.pass(1);
    }
    // 60 s, 120 s, … 1920 s of back-off fit into the hour: 2 + 6 windows of four blocks.
    assert!(taken <= 8 * 4, "{taken} blocks");
    assert!(taken >= 4 * 4, "{taken} blocks");
}

#[test]
fn messages_before_sync_are_out_of_order() {
    let mut duo = Duo::new();
    let peer = duo.open(TORRENT, PIECE_LEN);
    duo.held.insert((peer, PAYEE));
    duo.pump();
    let queue = duo.wire.get_mut(&(peer, PAYEE)).expect("held");
    queue.clear();
    queue.push_back(ReceiptMessage::Bid(RATE));
    duo.held.clear();
    duo.pump();
    assert_eq!(duo.violations, [Violation::OutOfOrder]);
}

#[test]
fn a_grant_taken_back_leaves_no_exposure() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for index in 0..4 {
        assert_eq!(duo.grant(peer, block(0, index)), Granted::Paid(RATE));
    }
    assert_eq!(duo.grant(peer, block(1, 0)), Granted::Waits);
    for _ in 0..4 {
        let len = block(0, 0).len;
        let payee = &mut duo.nodes[PAYEE].exchange;
        payee.ungrant(peer, len, RATE, duo.now);
    }
    duo.pump();
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    assert_eq!(duo.grant(peer, block(1, 0)), Granted::Paid(RATE));
}

#[test]
fn a_lock_is_closed_only_after_its_last_claim_is_answered() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.reachable = false;
    let (payee, now) = (duo.id(PAYEE), duo.now);
    duo.nodes[PAYER].exchange.end_lock(payee, lock_id, now);
    duo.pump();
    duo.pass(300);
    duo.connect();
    let open = !duo.settlement.locks[&lock_id].closed;
    assert!(open, "the claim is still under way");
    let claimed = duo.settlement.locks[&lock_id].claimed;
    assert_eq!(claimed, MicroCredits::ZERO);
    // Nothing counts on it any more, for its close is written.
    duo.nodes[PAYEE].exchange.check_invariants();
    duo.reachable = true;
    duo.restart(PAYEE);
    duo.pass(2);
    let status = duo.settlement.locks[&lock_id];
    assert_eq!(status.claimed, MicroCredits::new(PIECE_COST));
    assert!(status.closed);
}

#[test]
fn duplicates_that_were_asked_for_are_due_and_different_ones_are_not() {
    for (fate, due) in [
        (BlockFate::Equal, 2),
        (BlockFate::Different, 1),
        (BlockFate::Void, 1),
        (BlockFate::Unrequested, 1),
    ] {
        let (mut duo, peer, _) = Duo::paid(10_000);
        duo.take(peer, 0, 0);
        duo.grant(peer, block(0, 0));
        duo.nodes[PAYER].block_came(peer, block(0, 0), fate, false, duo.now);
        duo.verify(0);
        assert_eq!(
            duo.payer().signed,
            MicroCredits::new(due * BLOCK_COST),
            "{fate:?}"
        );
    }
}

#[test]
fn a_late_duplicate_of_a_verified_piece_is_due_at_once() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.take(peer, 0, 0);
    duo.grant(peer, block(0, 0));
    duo.verify(0);
    duo.nodes[PAYER].block_came(peer, block(0, 0), BlockFate::Equal, true, duo.now);
    duo.pump();
    assert_eq!(duo.payer().signed, MicroCredits::new(2 * BLOCK_COST));
}

/// CLOSE waited for the next time that something else happened between the two, which was never if
/// they had all there is by then: the credit stayed in the lock until its payee found it idle (ten
/// minutes), or until it ended if the payee's node had stopped before.
#[test]
fn the_last_block_under_way_lets_its_lock_be_closed_at_once() {
    for (fate, had) in [
        (BlockFate::Equal, true),
        (BlockFate::Different, false),
        (BlockFate::Void, false),
    ] {
        let (mut duo, peer, lock_id) = Duo::paid(10_000);
        duo.take(peer, 0, 0);
        duo.grant(peer, block(0, 0));
        duo.verify(0);
        let (payee, now) = (duo.id(PAYEE), duo.now);
        let asked = |duo: &Duo| {
            let is_close =
                |message: &ReceiptMessage| matches!(message, ReceiptMessage::Close { .. });
            let mut sent = duo.sent.iter();
            sent.any(|(from, message)| *from == PAYER && is_close(message))
        };
        duo.nodes[PAYER].exchange.end_lock(payee, lock_id, now);
        duo.pump();
        assert!(!asked(&duo), "{fate:?}: a block is under way");
        duo.nodes[PAYER].block_came(peer, block(0, 0), fate, had, now);
        duo.pump();
        assert!(asked(&duo), "{fate:?}");
    }
}

#[test]
fn blocks_of_a_failed_piece_are_never_due() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for index in 0..4 {
        duo.take(peer, 0, index);
    }
    let piece = PieceIndex::unchecked(0);
    let payer = &mut duo.nodes[PAYER].exchange;
    payer.discarded(TORRENT, piece, duo.now);
    duo.verify(0);
    assert_eq!(duo.payer().signed, MicroCredits::ZERO);
    assert_eq!(duo.payer().owed, MicroCredits::ZERO);
}

#[test]
fn a_payer_at_its_limit_who_goes_on_paying_is_never_suspended() {
    let (mut duo, peer, _) = Duo::paid(1_000_000);
    duo.piece(peer, 0);
    let mut next = 1;
    while duo.take(peer, next, 0) != Granted::Waits {
        for index in 1..4 {
            duo.take(peer, next, index);
        }
        next += 1;
    }
    // The window is full. The payer verifies a piece every 20 s and takes another.
    for paid in 1..12 {
        duo.verify(paid);
        duo.pass(20);
        for index in 0..4 {
            duo.take(peer, next + paid, index);
        }
        assert!(!duo.payee().exposure.is_zero());
    }
    let suspended = duo
        .notices
        .iter()
        .any(|(_, event)| matches!(event, Notice::Suspended(_)));
    assert!(!suspended);
}

/// What a lock has paid out is signed by nobody but the seal of the answer it comes in. When it was
/// believed, its payee never claimed, closed the lock itself, and its payer had everything back.
#[test]
fn l1_a_forged_claimed_does_not_open_and_the_payee_is_paid() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
    let network = duo.settlement.network;
    let settlement = Arc::new(Identity::from_secret(duo.settlement.identity.secret()));
    let asked = RequestHash::of(b"a question about the lock");
    let mut answer = SettlementAnswer {
        time: duo.settlement.locks[&lock_id].lock.body.expires_at,
        body: AnswerBody::Lock(Some(duo.settlement.locks[&lock_id])),
    };
    let given = Sealer::new(settlement, network.id).seal(asked, 0, &answer);
    let AnswerBody::Lock(Some(forged)) = &mut answer.body else {
        unreachable!("it is a lock's");
    };
    forged.claimed = MicroCredits::new(10_000); // the certificate stays as signed
    let forged = Envelope {
        answer: answer.to_bytes(),
        signature: given.signature,
    };
    for envelope in [forged, given] {
        let opened = envelope.open(&Ed25519, network.id, &network.settlement, asked, 0);
        if let Ok(AnswerBody::Lock(Some(status))) = opened.map(|answer| answer.body) {
            duo.tell(PAYEE, &status);
        }
    }
    duo.close(peer);
    duo.pass(2 * 3_600);
    let now = duo.now;
    duo.nodes[PAYEE].exchange.finish(now);
    duo.pump();
    duo.restart(PAYEE);
    duo.pass(30 * 3_600);
    let claimed = duo.settlement.locks[&lock_id].claimed;
    assert_eq!(claimed, MicroCredits::new(PIECE_COST));
    let (payer, payee) = (duo.id(PAYER), duo.id(PAYEE));
    assert_eq!(duo.settlement.available(payee), PIECE_COST);
    assert_eq!(duo.settlement.available(payer), 1_000_000_000 - PIECE_COST);
}

/// A drip of one micro-credit every 5 s ends lateness each time, but buys nothing: what the window
/// does not cover waits. The seat itself is lost for want of use, which the session decides.
#[test]
fn m4_a_drip_gets_nothing_but_a_window_and_what_it_pays_for() {
    let (mut duo, peer, lock_id) = Duo::paid(1_000_000);
    let mut index = 0;
    let mut taken = 0;
    // Fills the window and never verifies anything.
    while let Granted::Paid(_) = duo.grant(peer, block(index, 0)) {
        index += 1;
        taken += 1;
    }
    let window = duo.payee().window;
    for step in 1..=900_u64 {
        duo.pass(4);
        let drip = signed(&duo, lock_id, step, step);
        duo.say(PAYER, peer, ReceiptMessage::Receipt(drip));
        duo.pass(1);
        index += 1;
        for n in 0..4 {
            match duo.grant(peer, block(index, n)) {
                Granted::Paid(_) => taken += 1,
                Granted::Waits => {}
                Granted::Open | Granted::Underbid => panic!("no open block leaves a paid seat"),
            }
        }
        let view = duo.payee();
        assert!(view.exposure <= view.window.max(window));
    }
    let paid = bytes(900 / BLOCK_COST + 1);
    let most = paid.saturating_add(duo.payee().window.max(window));
    assert!(bytes(taken) <= most, "{taken} blocks");
    assert!(bytes(taken) > paid, "{taken} blocks");
}

/// A request below the price of a seat is never served from it, and one at it is, whatever the bid
/// has become since.
#[test]
fn a_request_below_the_price_of_the_seat_is_rejected() {
    let (mut duo, peer, _) = Duo::paid(1_000_000);
    let low = Rate::new(RATE.get() - 1);
    let payee = &mut duo.nodes[PAYEE].exchange;
    assert_eq!(payee.seat_price(peer), RATE);
    for bid in [Rate::ZERO, low] {
        let granted = payee.grant(peer, BLOCK_LEN, bid, duo.now);
        assert_eq!(granted, Granted::Underbid);
    }
    duo.pump();
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    duo.bid(peer, low);
    assert_eq!(duo.grant(peer, block(0, 0)), Granted::Underbid);
    duo.quote(peer);
    assert_eq!(duo.grant(peer, block(0, 1)), Granted::Paid(low));
    let payee = &mut duo.nodes[PAYEE].exchange;
    let granted = payee.grant(peer, BLOCK_LEN, RATE, duo.now);
    assert_eq!(granted, Granted::Paid(RATE), "as it was asked for");
}

/// What makes room is told, so that nobody has to ask again and again.
#[test]
fn who_waits_is_told_when_it_may_go_on() {
    let relieved = |duo: &Duo| {
        let notices = duo.notices.iter();
        let told = notices.filter(|(_, notice)| matches!(notice, Notice::Relieved(_)));
        told.count()
    };
    let (mut duo, peer, _) = Duo::paid(1_000_000);
    for index in 0..4 {
        duo.take(peer, 0, index);
    }
    duo.pass(3);
    assert_eq!(duo.take(peer, 1, 0), Granted::Waits);
    assert_eq!(relieved(&duo), 0);
    duo.verify(0);
    duo.pass(2);
    assert_eq!(relieved(&duo), 1);
    assert!(matches!(duo.take(peer, 1, 0), Granted::Paid(_)));
}

/// Keys that nobody proved leave nothing behind, and push nobody out of memory.
#[test]
fn m9_keys_that_nobody_proved_evict_no_pair() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    duo.piece(peer, 0);
    duo.pass(5);
    let piece = i64::from(PIECE_LEN);
    assert_eq!(duo.payee().standing, -piece);
    duo.close(peer);
    let payer = duo.id(PAYER);
    duo.pass(60);
    for (number, _) in (1_u64..).zip(0..PAIRS_MAX) {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let peer = PeerIndex(1_000 + number);
        let hello = hello(&duo, NodeId::from_bytes(key));
        let exchange = &mut duo.nodes[PAYEE].exchange;
        exchange.open(opened(peer));
        let taken = exchange.handle(peer, hello, duo.now);
        assert_eq!(taken, Ok(()));
        let forged = ReceiptMessage::Auth(Signature::from_bytes([1; 64]));
        if number % 2 == 0 {
            let refused = exchange.handle(peer, forged, duo.now);
            assert_eq!(refused, Err(Violation::BadAuth));
        }
        exchange.close(peer, [], duo.now);
        while exchange.poll_output().is_some() {}
    }
    let exchange = &duo.nodes[PAYEE].exchange;
    let kept = exchange.pair(payer).map(|pair| pair.standing);
    assert_eq!(kept, Some(-piece), "what it is owed is remembered");
    assert_eq!(exchange.pairs().count(), 1);
    exchange.check_invariants();
}
