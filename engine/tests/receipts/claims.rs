//! A payee that lost receipts which it had claimed with, and what a settlement node says was
//! claimed (P5).

use seedbank_engine::credit::event::CreditEvent;
use seedbank_engine::credit::receipts::Granted;
use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Bytes, MicroCredits};

use crate::duo::{BLOCK_COST, Duo, PAYEE, PAYER, RATE, bytes};

const PIECE_COST: u64 = 4 * BLOCK_COST;

fn conflicts(duo: &Duo) -> usize {
    let of_payee = duo.events.iter().filter(|(node, _)| *node == PAYEE);
    let conflicts = of_payee.filter(|(_, event)| matches!(event, CreditEvent::Conflict { .. }));
    conflicts.count()
}

fn claimed(duo: &Duo, lock_id: LockId) -> u64 {
    duo.settlement.locks[&lock_id].claimed.get()
}

fn signed(duo: &Duo, lock_id: LockId, bytes: u64, amount: u64) -> SignedReceipt {
    let lock = duo.settlement.locks[&lock_id].lock.body;
    let receipt = Receipt {
        network_id: lock.network_id,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(bytes),
        amount: MicroCredits::new(amount),
    };
    receipt.sign(&duo.nodes[PAYER].identity)
}

/// One piece is paid; then two more, which the payee claims; then it is taken back to the first,
/// while its payer has lost as much.
fn both_restored() -> (Duo, PeerIndex, LockId) {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.pass(2);
    for node in [PAYER, PAYEE] {
        duo.nodes[node].backup();
    }
    duo.piece(peer, 1);
    duo.piece(peer, 2);
    let now = duo.now;
    duo.nodes[PAYEE].exchange.finish(now);
    duo.pump();
    assert_eq!(claimed(&duo, lock_id), 3 * PIECE_COST);
    duo.close(peer);
    for node in [PAYER, PAYEE] {
        duo.nodes[node].store = duo.nodes[node].backups[0].clone();
        duo.restart(node);
    }
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    (duo, peer, lock_id)
}

#[test]
fn a_restored_payee_serves_nothing_on_a_lock_that_was_claimed_further() {
    let (mut duo, peer, lock_id) = both_restored();
    assert_eq!(conflicts(&duo), 1, "its owner is told why");
    assert_eq!(duo.take(peer, 3, 0), Granted::Waits);
    // More in amount and less in bytes than was claimed with: it could never be claimed.
    let unclaimable = signed(&duo, lock_id, bytes(5).get(), 5_000);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(unclaimable));
    duo.pass(2);
    assert_eq!(claimed(&duo, lock_id), 3 * PIECE_COST);
    assert_eq!(
        duo.take(peer, 4, 0),
        Granted::Waits,
        "it was claimed at once"
    );
    duo.pass(8_000);
    assert_eq!(conflicts(&duo), 1, "once");
}

#[test]
fn a_restored_payee_has_the_receipts_again_that_it_claimed_with() {
    let (mut duo, peer, lock_id) = both_restored();
    let (payer, now) = (duo.id(PAYER), duo.now);
    let claim = duo.settlement.paid[&lock_id];
    let mut others = claim;
    others.body.payee = payer;
    duo.nodes[PAYEE]
        .exchange
        .claim_certified(payer, &others, now);
    assert_eq!(duo.take(peer, 3, 0), Granted::Waits, "no claim of its own");
    duo.nodes[PAYEE]
        .exchange
        .claim_certified(payer, &claim, now);
    duo.pump();
    assert_eq!(duo.payee().paid, MicroCredits::new(3 * PIECE_COST));
    assert_eq!(duo.piece(peer, 4), 4, "nothing is missing any more");
    duo.pass(3_700);
    assert_eq!(claimed(&duo, lock_id), duo.payee().paid.get());
}

/// Its payer has them still, and shows them.
#[test]
fn a_restored_payee_serves_on_once_its_payer_has_shown_its_receipts() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.nodes[PAYEE].backup();
    duo.piece(peer, 0);
    let now = duo.now;
    duo.nodes[PAYEE].exchange.finish(now);
    duo.pump();
    duo.close(peer);
    duo.nodes[PAYEE].store = duo.nodes[PAYEE].backups[0].clone();
    duo.restart(PAYEE);
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    assert_eq!(duo.piece(peer, 1), 4);
    duo.pass(3_700);
    assert_eq!(claimed(&duo, lock_id), 2 * PIECE_COST);
}

/// A claim refused as gone back ends service on its lock, until one is paid.
#[test]
fn a_claim_that_went_back_ends_service_until_one_is_paid() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.pass(2);
    let now = duo.now;
    duo.nodes[PAYEE].exchange.claim_regressed(lock_id, now);
    duo.pump();
    assert_eq!(conflicts(&duo), 1);
    assert_eq!(duo.take(peer, 1, 0), Granted::Waits);
    let now = duo.now;
    duo.nodes[PAYEE].exchange.finish(now);
    duo.pump();
    assert_eq!(claimed(&duo, lock_id), PIECE_COST);
    assert_eq!(duo.piece(peer, 2), 4);
}

/// What a settlement node says was claimed above the receipts held is no reason not to claim: the
/// claim is made, once, and nothing is served on the lock.
#[test]
fn a_payee_forfeits_nothing_by_a_word_about_claims_that_it_did_not_make() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.pass(2);
    let status = duo.settlement.locks[&lock_id];
    let lie = LockStatus {
        claimed: MicroCredits::new(9_000),
        ..status
    };
    duo.tell(PAYEE, &lie);
    assert_eq!(conflicts(&duo), 1);
    assert_eq!(duo.take(peer, 1, 0), Granted::Waits);
    let before = duo.claims;
    duo.pass(8_000);
    assert_eq!(claimed(&duo, lock_id), PIECE_COST);
    assert_eq!(duo.claims, before + 1, "put to it once");
}
