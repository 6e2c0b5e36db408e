//! What a peer can make us do by saying much: every kind of message has a budget, and receipts are
//! coalesced (row M11 of the review).

use seedbank_engine::credit::receipts::Violation;
use seedbank_engine::credit::receipts::acknowledgement::NO_NETWORK;
use seedbank_engine::credit::receipts::limits::{
    CONTROL_BURST_TAKEN, CONTROL_INTERVAL, SYNC_BURST_TAKEN,
};
use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::receipt::{ReceiptMessage, SyncEntry};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::{Bytes, MicroCredits};

use crate::duo::{Duo, PAYEE, PAYER, RATE};

/// As many verifications a second as a channel can ask for, and a few.
const VERIFIED_MAX: usize = 55;

/// Rows written so far: one for each receipt that was verified.
fn rows(duo: &Duo) -> usize {
    duo.order.iter().filter(|kind| **kind == "tally").count()
}

fn acknowledgement(duo: &Duo, bytes: u64) -> SignedReceipt {
    let channel = Channel {
        kind: ChannelKind::Acknowledgement,
        payer: duo.id(PAYER),
        payee: duo.id(PAYEE),
        network_id: NO_NETWORK,
    };
    let body = Receipt {
        network_id: NO_NETWORK,
        channel_id: channel.id(),
        bytes: Bytes::new(bytes),
        amount: MicroCredits::ZERO,
    };
    body.sign(&duo.nodes[PAYER].identity)
}

fn payment(duo: &Duo, lock_id: LockId, bytes: u64, amount: u64) -> SignedReceipt {
    let lock = duo.settlement.locks[&lock_id].lock.body;
    let body = Receipt {
        network_id: lock.network_id,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(bytes),
        amount: MicroCredits::new(amount),
    };
    body.sign(&duo.nodes[PAYER].identity)
}

fn sync(sent: SignedReceipt) -> ReceiptMessage {
    ReceiptMessage::Sync(vec![SyncEntry {
        lock_id: None,
        held: None,
        sent: Some(sent),
        lock: None,
        closed: false,
    }])
}

fn tip() -> ReceiptMessage {
    ReceiptMessage::Tip {
        amount: MicroCredits::new(1),
        note: String::new(),
    }
}

#[test]
fn m11_the_receipts_of_many_syncs_are_verified_together() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    let before = rows(&duo);
    for n in 1..SYNC_BURST_TAKEN {
        let newer = acknowledgement(&duo, n << 20);
        duo.say(PAYER, peer, sync(newer));
        duo.pass_ms(1);
    }
    duo.pass(2);
    assert_eq!(duo.violations, []);
    assert!(
        rows(&duo) - before <= VERIFIED_MAX / 10,
        "{}",
        rows(&duo) - before
    );
}

#[test]
fn m11_a_flood_of_syncs_is_a_violation() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    for n in 1..=SYNC_BURST_TAKEN {
        let newer = acknowledgement(&duo, n << 20);
        duo.say(PAYER, peer, sync(newer));
    }
    assert_eq!(duo.violations, [Violation::TooManySyncs]);
}

#[test]
fn m11_a_flood_of_any_control_message_is_a_violation() {
    let (_, _, lock_id) = Duo::paid(10_000);
    let messages = [
        ReceiptMessage::Close {
            lock_id,
            newest: None,
        },
        tip(),
    ];
    for message in messages {
        let (mut duo, peer, _) = Duo::paid(10_000);
        let before = rows(&duo);
        for _ in 0..CONTROL_BURST_TAKEN * 2 {
            duo.say(PAYER, peer, message.clone());
        }
        assert_eq!(duo.violations, [Violation::TooManyControls]);
        // The lock is closed once, whatever is said.
        assert!(rows(&duo) - before <= 6, "{} rows", rows(&duo) - before);
    }
}

/// A close verifies at once, so a payer could make each of its receipts cost one by closing again.
#[test]
fn m11_closes_with_rising_receipts_are_bounded() {
    let (mut duo, peer, lock_id) = Duo::paid(1_000_000);
    flood(&mut duo, peer, |duo, n| {
        let newest = Some(payment(duo, lock_id, n << 14, n));
        ReceiptMessage::Close { lock_id, newest }
    });
}

/// Two receipts of which neither is behind the other cannot wait together.
#[test]
fn m11_receipts_that_cross_are_bounded() {
    let (mut duo, peer, lock_id) = Duo::paid(1_000_000);
    flood(&mut duo, peer, |duo, n| {
        // Each of a pair rises above the former pair; the second has less of the amount.
        let (bytes, amount) = (n << 4, (n / 2) * 4 + 2 * (1 - n % 2));
        ReceiptMessage::Receipt(payment(duo, lock_id, bytes, amount))
    });
}

/// Says so much in two seconds that the connection ends, and not before honest peers would be done.
fn flood(duo: &mut Duo, peer: PeerIndex, message: impl Fn(&Duo, u64) -> ReceiptMessage) {
    assert!(RATE.get() > 0, "the lock is worth something");
    let before = rows(duo);
    let mut said = 0;
    while duo.violations.is_empty() && said < 4 * CONTROL_BURST_TAKEN {
        said += 1;
        let next = message(duo, said);
        duo.say(PAYER, peer, next);
        duo.pass_ms(1);
    }
    assert_eq!(duo.violations, [Violation::TooManyControls]);
    assert!(said > CONTROL_BURST_TAKEN, "{said}");
    let most = usize::try_from(CONTROL_BURST_TAKEN * 11 / 10).expect("small");
    assert!(rows(duo) - before <= most, "{} rows", rows(duo) - before);
}

#[test]
fn what_a_budget_gives_back_can_be_said() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for _ in 0..CONTROL_BURST_TAKEN / 2 {
        duo.say(PAYER, peer, tip());
    }
    for _ in 0..CONTROL_BURST_TAKEN {
        duo.pass_ms(CONTROL_INTERVAL.as_nanos() / 1_000_000);
        duo.say(PAYER, peer, tip());
    }
    assert_eq!(duo.violations, []);
}
