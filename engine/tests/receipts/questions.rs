//! What a stranger has to know of the wire and docs/PROTOCOL.md answers: a test for each answer
//! that no vector can give, because it is about two nodes that talk.

use seedbank_engine::credit::receipts::Terms;
use seedbank_engine::wire::receipt::{ErrorCode, LockFault, ReceiptMessage, SyncEntry};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Bytes, MicroCredits, NetworkId, Rate};

use crate::duo::{BLOCK_COST, Duo, PAYEE, PAYER, PIECE_LEN, RATE};

fn errors(duo: &Duo, code: ErrorCode) -> usize {
    let said = duo.sent.iter().filter(|(from, message)| {
        let is_it = matches!(message, ReceiptMessage::Error { code: said, .. } if *said == code);
        *from == PAYEE && is_it
    });
    said.count()
}

/// An acknowledgement by the payer under this network.
fn acknowledgement(duo: &Duo, network_id: NetworkId) -> ReceiptMessage {
    let channel = Channel {
        network_id,
        kind: ChannelKind::Acknowledgement,
        payer: duo.id(PAYER),
        payee: duo.id(PAYEE),
    };
    let body = Receipt {
        network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(1 << 30),
        amount: MicroCredits::ZERO,
    };
    ReceiptMessage::Receipt(body.sign(&duo.nodes[PAYER].identity))
}

fn shown(duo: &Duo, from: usize, lock_id: LockId) -> Option<SyncEntry> {
    let mut syncs = duo.sent.iter().rev().filter(|(of, _)| *of == from);
    syncs.find_map(|(_, message)| match message {
        ReceiptMessage::Sync(entries) => {
            let mut entries = entries.iter();
            entries
                .find(|entry| entry.lock_id == Some(lock_id))
                .copied()
        }
        _ => None,
    })
}

#[test]
fn p1_acknowledgements_are_of_the_network_of_zeros_though_both_belong_to_one() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    duo.piece(peer, 0);
    duo.pass(2);
    let sent = duo.sent.iter().find_map(|(_, message)| match message {
        ReceiptMessage::Receipt(receipt) => Some(*receipt),
        _ => None,
    });
    let zeros = NetworkId::from_bytes([0; 32]);
    assert_eq!(sent.expect("one was sent").body.network_id, zeros);
    let network = duo.settlement.network.id;
    assert_ne!(network, zeros);
    let foreign = acknowledgement(&duo, network);
    duo.say(PAYER, peer, foreign);
    assert_eq!(errors(&duo, ErrorCode::ChannelUnknown), 1);
    assert_eq!(duo.violations, []);
}

/// By LOCK and by SYNC, once for a certificate; in SYNC it looks like any other.
#[test]
fn p5_a_lock_with_too_little_time_is_refused_by_err_8_and_nothing_else() {
    for known_before in [false, true] {
        let mut duo = Duo::new();
        let lock_id = duo.open_lock(10_000).lock.body.lock_id;
        duo.pass(3_100);
        let status = duo.settlement.locks[&lock_id];
        if known_before {
            duo.tell(PAYER, &status);
        }
        let peer = duo.connect();
        if !known_before {
            duo.tell(PAYER, &status);
        }
        let refused = ErrorCode::LockRefused(LockFault::Time);
        assert_eq!(errors(&duo, refused), 1, "known before: {known_before}");
        let lock = ReceiptMessage::Lock(Box::new(status.lock));
        duo.say(PAYER, peer, lock);
        let (code, channel_id) = (ErrorCode::NotSynced, None);
        duo.say(PAYER, peer, ReceiptMessage::Error { code, channel_id });
        assert_eq!(errors(&duo, refused), 1, "once");
        let entry = shown(&duo, PAYEE, lock_id).expect("it is told of");
        assert_eq!((entry.lock, entry.closed), (Some(status.lock), false));
        duo.bid(peer, RATE);
        duo.quote(peer);
        assert_eq!(duo.piece(peer, 0), 0, "nothing is served on it");
        let unix = duo.unix();
        let renewed = duo.settlement.top_up(lock_id, 0, 7_200, unix);
        duo.tell(PAYER, &renewed.expect("it is open"));
        assert_eq!(duo.piece(peer, 1), 4);
        assert_eq!(duo.violations, []);
    }
}

/// Measured at the ask, or the bid if that is more and known.
#[test]
fn p6_a_lock_covers_a_window_at_the_higher_of_bid_and_ask() {
    let window = u64::from(PIECE_LEN);
    for (ask, bid, least) in [(RATE.get(), 0, 64), (1, 0, 1), (1, 3 * RATE.get(), 192)] {
        assert_eq!((window * ask.max(bid)).div_ceil(1 << 30), least);
        for (amount, faults) in [(least, 0), (least - 1, 1)] {
            let mut duo = Duo::new();
            let payee = &mut duo.nodes[PAYEE].exchange;
            payee.set_terms(Terms {
                rate_min: Rate::new(ask),
                ..payee.terms()
            });
            let peer = duo.connect();
            duo.say(PAYER, peer, ReceiptMessage::Bid(Rate::new(bid)));
            duo.fund(amount);
            let refused = ErrorCode::LockRefused(LockFault::Amount);
            assert_eq!(errors(&duo, refused), faults, "{amount} of {least}");
        }
    }
}

#[test]
fn p9_bytes_of_a_signing_go_to_the_lock_that_takes_its_last_micro_credit() {
    let (mut duo, peer, first) = Duo::paid(6 * BLOCK_COST);
    assert_eq!(duo.piece(peer, 0), 4);
    for index in 0..2 {
        duo.take(peer, 1, index);
    }
    let second = LockId::new(1_000);
    let mut body = duo.settlement.locks[&first].lock.body;
    (body.lock_id, body.amount) = (second, MicroCredits::new(1_000));
    body.opening_order = OrderHash::from_bytes([8; 32]);
    let status = LockStatus {
        lock: body.sign(&duo.settlement.identity),
        claimed: MicroCredits::ZERO,
        closed: false,
    };
    duo.settlement.locks.insert(body.lock_id, status);
    duo.tell(PAYER, &status);
    for index in 2..4 {
        duo.take(peer, 1, index);
    }
    duo.verify(1);
    let totals = |id| {
        let mut locks = duo.nodes[PAYER].exchange.paying_locks();
        let lock = locks.find(|lock| lock.lock.body.lock_id == id);
        let receipt = lock
            .and_then(|lock| lock.receipt)
            .expect("it was signed on");
        (receipt.body.bytes.get(), receipt.body.amount.get())
    };
    let piece = u64::from(PIECE_LEN);
    assert_eq!(totals(first), (piece, 6 * BLOCK_COST));
    assert_eq!(totals(second), (piece, 2 * BLOCK_COST));
}

#[test]
fn p10_a_payer_shows_what_it_sent_and_a_payee_what_it_holds() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.pass(2);
    for from in [PAYER, PAYEE] {
        let (code, channel_id) = (ErrorCode::NotSynced, None);
        duo.say(from, peer, ReceiptMessage::Error { code, channel_id });
    }
    let [payer, payee] = [PAYER, PAYEE].map(|from| shown(&duo, from, lock_id).expect("shown"));
    assert_eq!(payer.held, None);
    assert_eq!(payee.sent, None);
    assert!(payer.sent.is_some());
    assert_eq!(payer.sent, payee.held);
    assert_eq!(payer.lock, payee.lock);
}

/// Four at once and one more every five seconds; the rest is not answered, and closes nothing.
#[test]
fn p11_answers_are_throttled_in_silence() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    let network = duo.settlement.network.id;
    let unknown = acknowledgement(&duo, network);
    for _ in 0..10 {
        duo.say(PAYER, peer, unknown.clone());
    }
    assert_eq!(errors(&duo, ErrorCode::ChannelUnknown), 4);
    duo.pass(5);
    for _ in 0..10 {
        duo.say(PAYER, peer, unknown.clone());
    }
    assert_eq!(errors(&duo, ErrorCode::ChannelUnknown), 5);
    assert_eq!(duo.violations, []);
}

#[test]
fn p12_tips_and_errors_without_a_meaning_change_nothing() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.piece(peer, 0);
    let (before, sent) = (duo.payee(), duo.sent.len());
    let tip = ReceiptMessage::Tip {
        amount: MicroCredits::new(1_000_000),
        note: "thanks".to_owned(),
    };
    duo.say(PAYER, peer, tip);
    for number in [1, 2, 4, 9, 10, 11, 77] {
        let code = ErrorCode::from_number(number, LockFault::Other(0));
        let channel_id = None;
        duo.say(PAYER, peer, ReceiptMessage::Error { code, channel_id });
    }
    assert_eq!(duo.payee(), before);
    assert_eq!(duo.sent.len(), sent, "nothing is answered");
    assert_eq!(duo.violations, []);
}
