//! Which torrent a change of a channel was for, as both ledgers are told, and how many bytes count.

use seedbank_engine::credit::receipts::{Granted, Service};
use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::charts::node::{ChannelSummary, NodeCommand};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, MicroCredits, NetworkId};

use crate::duo::{BLOCK_COST, Duo, PAYEE, PAYER, TORRENT, bytes};

const PIECE_COST: u64 = 4 * BLOCK_COST;

/// The summaries that a node has appended so far.
fn summaries(duo: &Duo, node: usize) -> Vec<&ChannelSummary> {
    let of_node = duo.entries.iter().filter(|(of, _)| *of == node);
    let summaries = of_node.filter_map(|(_, entry)| match entry {
        NodeCommand::ChannelSummary(summary) => Some(&**summary),
        NodeCommand::Settled(_) | NodeCommand::WriteOff { .. } => None,
    });
    summaries.collect()
}

/// Bytes and credit that a node has attributed to the torrent.
fn attributed(duo: &Duo, node: usize) -> (Bytes, MicroCredits) {
    let shares = summaries(duo, node).into_iter();
    let shares = shares.flat_map(|summary| &summary.attribution);
    shares.fold((Bytes::ZERO, MicroCredits::ZERO), |sum, share| {
        assert_eq!(share.subject, TORRENT.0);
        let (bytes, amount) = (share.bytes, share.amount);
        (sum.0.saturating_add(bytes), sum.1.saturating_add(amount))
    })
}

fn told(duo: &mut Duo, node: usize, lock_id: LockId) {
    let status = duo.settlement.status(lock_id).expect("the lock is open");
    duo.tell(node, &status);
}

#[test]
fn what_a_line_about_a_lock_would_book_is_told_before_it() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    assert_eq!(duo.piece(peer, 0), 4);
    let all = (bytes(4), MicroCredits::new(PIECE_COST));
    for node in [PAYER, PAYEE] {
        assert_eq!(summaries(&duo, node), Vec::<&ChannelSummary>::new());
        told(&mut duo, node, lock_id);
        assert_eq!(attributed(&duo, node), all);
    }
}

#[test]
fn who_asks_for_the_balance_has_the_newest_receipts_entered() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for piece in 0..3 {
        duo.piece(peer, piece);
        for node in [PAYER, PAYEE] {
            duo.nodes[node].exchange.book_receipts(duo.now);
            duo.pump();
            let cost = u64::from(piece + 1) * PIECE_COST;
            let all = (bytes(4 * u64::from(piece + 1)), MicroCredits::new(cost));
            assert_eq!(attributed(&duo, node), all);
        }
    }
}

#[test]
fn open_service_is_the_torrents_too_on_both_sides() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    assert_eq!(duo.piece(peer, 0), 0);
    duo.pass(3_700);
    for node in [PAYER, PAYEE] {
        assert_eq!(attributed(&duo, node), (bytes(4), MicroCredits::ZERO));
    }
}

/// A payer may sign for any number of bytes; the payee's ledger is told how many it served.
#[test]
fn m10_bytes_that_were_not_served_are_not_counted() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    let lock = duo.settlement.locks[&lock_id].lock.body;
    let receipt = Receipt {
        network_id: lock.network_id,
        channel_id: lock.channel().id(),
        bytes: Bytes::MAX,
        amount: MicroCredits::new(PIECE_COST + 1),
    };
    let receipt = receipt.sign(&duo.nodes[PAYER].identity);
    duo.say(PAYER, peer, ReceiptMessage::Receipt(receipt));
    duo.nodes[PAYEE].exchange.book_receipts(duo.now);
    duo.pump();
    let told = summaries(&duo, PAYEE);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].receipt, receipt);
    assert_eq!(told[0].served, bytes(4));
    assert_eq!(attributed(&duo, PAYEE).0, bytes(4));
}

/// For a minute the payer signs for 64 MiB more every 20 ms, on this channel.
fn claims_much(duo: &mut Duo, peer: PeerIndex, channel: &Channel, amount: MicroCredits) {
    for nth in 1..=3_000 {
        let receipt = Receipt {
            network_id: channel.network_id,
            channel_id: channel.id(),
            bytes: Bytes::new(nth * (64 << 20)),
            amount,
        };
        let receipt = receipt.sign(&duo.nodes[PAYER].identity);
        duo.say(PAYER, peer, ReceiptMessage::Receipt(receipt));
        duo.pass_ms(20);
    }
}

fn acknowledgements(duo: &Duo) -> Channel {
    Channel {
        network_id: NetworkId::from_bytes([0; 32]),
        kind: ChannelKind::Acknowledgement,
        payer: duo.id(PAYER),
        payee: duo.id(PAYEE),
    }
}

#[test]
fn claims_of_what_was_never_served_make_no_entries() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    let channel = acknowledgements(&duo);
    claims_much(&mut duo, peer, &channel, MicroCredits::ZERO);
    duo.pass(600);
    assert_eq!(summaries(&duo, PAYEE), Vec::<&ChannelSummary>::new());
    assert_eq!(duo.violations, []);
    duo.nodes[PAYEE].exchange.finish(duo.now);
    duo.pump();
    assert_eq!(summaries(&duo, PAYEE), Vec::<&ChannelSummary>::new());
}

#[test]
fn claims_hurry_nothing_that_was_served() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    duo.take(peer, 0, 0);
    let channel = acknowledgements(&duo);
    claims_much(&mut duo, peer, &channel, MicroCredits::ZERO);
    duo.pass(600);
    assert_eq!(summaries(&duo, PAYEE), Vec::<&ChannelSummary>::new());
    duo.pass(3_000);
    let told = summaries(&duo, PAYEE);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].served, bytes(1));
}

#[test]
fn claims_on_a_lock_make_no_entries_before_a_line_about_it() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    duo.piece(peer, 0);
    duo.nodes[PAYEE].exchange.book_receipts(duo.now);
    duo.pump();
    assert_eq!(summaries(&duo, PAYEE).len(), 1);
    let channel = duo.settlement.locks[&lock_id].lock.body.channel();
    claims_much(&mut duo, peer, &channel, MicroCredits::new(PIECE_COST));
    duo.nodes[PAYEE].exchange.book_receipts(duo.now);
    duo.pump();
    assert_eq!(summaries(&duo, PAYEE).len(), 1, "nothing more was served");
    told(&mut duo, PAYEE, lock_id);
    assert_eq!(summaries(&duo, PAYEE).len(), 2);
    assert_eq!(attributed(&duo, PAYEE).0, bytes(4));
}

#[test]
fn what_was_served_is_told_after_a_minute() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    let pieces = 16;
    for piece in 0..pieces {
        duo.piece(peer, piece);
    }
    let all = bytes(4 * u64::from(pieces));
    // Acknowledged within a second, verified within another.
    duo.pass(59);
    assert_eq!(attributed(&duo, PAYEE).0, Bytes::ZERO);
    duo.pass(3);
    assert_eq!(attributed(&duo, PAYEE).0, all);
}

/// An entry is for ever, and each key costs nothing: one about little waits for more, or an hour.
#[test]
fn m10_an_entry_about_little_waits_an_hour() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    for piece in 0..14 {
        duo.piece(peer, piece);
        duo.pass(250);
    }
    assert_eq!(summaries(&duo, PAYEE), Vec::<&ChannelSummary>::new());
    duo.pass(250);
    assert_eq!(summaries(&duo, PAYEE).len(), 1);
    assert_eq!(attributed(&duo, PAYEE).0, bytes(4 * 14));
}

/// What was written off and is paid late after all: the credit is new, the bytes are not.
#[test]
fn bytes_that_are_paid_late_are_counted_once() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    for index in 0..4 {
        assert!(matches!(duo.take(peer, 0, index), Granted::Paid(_)));
    }
    duo.pass(160);
    let written_off = duo.entries.iter().map(|(_, entry)| match entry {
        NodeCommand::WriteOff { bytes, .. } => *bytes,
        NodeCommand::ChannelSummary(_) | NodeCommand::Settled(_) => Bytes::ZERO,
    });
    assert_eq!(
        written_off.fold(Bytes::ZERO, Bytes::saturating_add),
        bytes(4)
    );
    duo.verify(0);
    duo.pass(2);
    duo.nodes[PAYEE].exchange.book_receipts(duo.now);
    duo.pump();
    assert_eq!(duo.payee().paid, MicroCredits::new(PIECE_COST));
    assert_eq!(duo.payee().lost, Bytes::ZERO);
    let told = summaries(&duo, PAYEE);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].receipt.body.amount, MicroCredits::new(PIECE_COST));
    assert_eq!(told[0].served, Bytes::ZERO, "no further byte is given");
    let credit = (Bytes::ZERO, MicroCredits::new(PIECE_COST));
    assert_eq!(attributed(&duo, PAYEE), credit);
    // The next piece counts as ever.
    assert_eq!(duo.piece(peer, 1), 4);
    duo.pass(2);
    duo.nodes[PAYEE].exchange.book_receipts(duo.now);
    duo.pump();
    let both = (bytes(4), MicroCredits::new(2 * PIECE_COST));
    assert_eq!(attributed(&duo, PAYEE), both);
}
