//! Receipts that come too late for their lock: what cannot be claimed pays for nothing, and what
//! can is not claimed again and again.

use seedbank_engine::credit::receipts::Granted;
use seedbank_engine::units::{BLOCK_LEN, PeerIndex};
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Bytes, MicroCredits};

use crate::duo::{BLOCK_COST, Duo, PAYEE, PAYER, PIECE_LEN, RATE};
use crate::settlement::GRACE_SECS;

/// Life of the locks here, in seconds: a little more than what is served on.
const TTL_SECS: u64 = 700;

/// A lock that lives for [`TTL_SECS`], of which the payer alone knows.
fn open(duo: &mut Duo, amount: u64) -> LockStatus {
    let (payer, payee, unix) = (duo.id(PAYER), duo.id(PAYEE), duo.unix());
    let status = duo.settlement.open(payer, payee, amount, TTL_SECS, unix);
    status.expect("there is credit and no live lock")
}

/// Connected, with a lock of `amount`, in the paid class.
fn seated(amount: u64) -> (Duo, PeerIndex, LockId) {
    let mut duo = Duo::new();
    let status = open(&mut duo, amount);
    duo.tell(PAYER, &status);
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    (duo, peer, status.lock.body.lock_id)
}

/// The payer signs so much in total on a lock, whatever it owes.
fn sign(duo: &mut Duo, peer: PeerIndex, lock_id: LockId, (bytes, amount): (u64, u64)) {
    let lock = duo.settlement.locks[&lock_id].lock.body;
    let receipt = Receipt {
        network_id: lock.network_id,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(bytes),
        amount: MicroCredits::new(amount),
    };
    let signed = receipt.sign(&duo.nodes[PAYER].identity);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(signed));
}

/// Blocks are taken, and not paid, until none is granted any more; returns how many.
fn take_all(duo: &mut Duo, peer: PeerIndex) -> u64 {
    let mut taken = 0;
    let blocks = PIECE_LEN / BLOCK_LEN;
    for number in 0..1_000 {
        match duo.take(peer, 100 + number / blocks, number % blocks) {
            Granted::Paid(_) => taken += 1,
            Granted::Waits => return taken,
            other => panic!("{other:?} in a paid seat"),
        }
    }
    panic!("a window has an end");
}

/// A lock whose payer owed something when it went away is not closed as idle. Returns when the
/// payer is back, at this time before its credit returns.
fn lingering(amount: u64, left_secs: u64) -> (Duo, PeerIndex, LockId) {
    let (mut duo, peer, lock_id) = seated(amount);
    assert_eq!(duo.take(peer, 0, 0), Granted::Paid(RATE));
    duo.close(peer);
    duo.pass(TTL_SECS + u64::from(GRACE_SECS) - left_secs);
    let status = open(&mut duo, 1_000_000);
    duo.tell(PAYER, &status);
    let peer = duo.connect();
    assert!(!duo.settlement.locks[&lock_id].closed);
    duo.bid(peer, RATE);
    duo.quote(peer);
    (duo, peer, lock_id)
}

/// A receipt above what a lock holds is worth more after a top-up, and a top-up that its payee is
/// not told of comes back with the close. Between the two it once paid for a window.
#[test]
fn credit_that_returned_with_its_lock_pays_for_nothing() {
    let (mut duo, peer, first) = seated(1_000);
    duo.pass(500);
    sign(&mut duo, peer, first, (1, 100_000));
    duo.pass(2);
    let claimed = duo.settlement.locks[&first].claimed;
    assert_eq!(claimed, MicroCredits::new(1_000), "it is used up");
    let unix = duo.unix();
    let topped_up = duo.settlement.top_up(first, 50_000, 0, unix);
    assert!(
        topped_up.is_some(),
        "it lives still, and the payee knows nothing"
    );
    duo.pass(200);
    let status = open(&mut duo, 1_000_000);
    duo.tell(PAYER, &status);
    // Idle for ten minutes: its close is on the way when a window is taken on the other one. The
    // payer shows nothing of the top-up when it hears of that.
    duo.closes = Some(Vec::new());
    duo.held.insert((peer, PAYER));
    duo.pass(400);
    assert_eq!(duo.closes.take(), Some(vec![first]));
    duo.held.clear();
    duo.wire.clear();
    duo.bid(peer, RATE);
    duo.quote(peer);
    let (paid, exposed) = (duo.payee().paid, take_all(&mut duo, peer));
    assert!(exposed > 0);
    let payee = duo.id(PAYEE);
    let closed = duo.settlement.close(payee, first);
    duo.tell(PAYEE, &closed.expect("there is such a lock"));
    let owed = Bytes::new(exposed * u64::from(BLOCK_LEN));
    assert_eq!(duo.payee().exposure, owed, "nobody paid for it");
    assert_eq!(duo.payee().paid, paid);
    assert_eq!(duo.settlement.locks[&first].claimed, claimed);
}

/// In its last second a lock still takes receipts. None of them can be claimed any more.
#[test]
fn a_receipt_that_comes_too_late_to_be_claimed_pays_for_nothing() {
    let (mut duo, peer, first) = lingering(10_000, 60);
    let exposed = take_all(&mut duo, peer);
    let owed = Bytes::new(exposed * u64::from(BLOCK_LEN));
    duo.pass(4);
    // The settlement node takes longer to answer than the lock has left.
    duo.reachable = false;
    sign(&mut duo, peer, first, (1, exposed * BLOCK_COST));
    duo.pass(2);
    duo.settlement.expire(duo.unix().plus_secs(60));
    assert!(duo.settlement.locks[&first].claimed.is_zero());
    assert_eq!(duo.payee().exposure, owed, "nobody paid for it");
}

/// One that is claimed in time counts when the settlement node says so.
#[test]
fn a_late_receipt_pays_once_it_is_claimed() {
    let (mut duo, peer, first) = lingering(10_000, 3_600);
    let exposed = take_all(&mut duo, peer);
    sign(&mut duo, peer, first, (1, (exposed + 1) * BLOCK_COST));
    duo.pass(1_000);
    let claimed = duo.settlement.locks[&first].claimed;
    assert_eq!(claimed, MicroCredits::new((exposed + 1) * BLOCK_COST));
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    assert_eq!(duo.payee().paid, claimed);
}

/// After half of the grace every receipt was claimed at once: one micro-credit each made the payee
/// use up its orders, and its ledger grow.
#[test]
fn a_payer_that_signs_a_little_and_often_has_little_claimed() {
    let (mut duo, peer, first) = lingering(10_000, 10_000);
    let before = duo.claims;
    for step in 1..=1_000 {
        sign(&mut duo, peer, first, (step * 100_000, step));
        duo.pass_ms(100);
    }
    assert!(duo.claims - before <= 3, "{} claims", duo.claims - before);
    // What was signed is claimed all the same before its time is over.
    duo.pass(9_800);
    let claimed = duo.settlement.locks[&first].claimed;
    assert_eq!(claimed, MicroCredits::new(1_000));
    assert!(duo.claims - before <= 60, "{} claims", duo.claims - before);
}
