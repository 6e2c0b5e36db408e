//! Which torrent a change of a channel was for, as both ledgers are told, and how many bytes count.

use seedbank_engine::credit::receipts::Service;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::charts::node::{ChannelSummary, NodeCommand};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, MicroCredits};

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
    duo.pass(120);
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
