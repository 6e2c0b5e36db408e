//! Windows between two nodes: what a history is worth, what a raise does, what is forgiven.

use seedbank_engine::credit::output::Notice;
use seedbank_engine::credit::receipts::{Granted, Service};
use seedbank_engine::units::{PeerIndex, PieceIndex};
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::{Bytes, Rate};

use crate::duo::{Duo, PAYEE, PAYER, PIECE_LEN, RATE, TORRENT, block, bytes};

/// A thousandth of the other rate.
const CHEAP: Rate = Rate::new(RATE.get() / 1_000);
const BLOCKS: u32 = 4;

/// The window in the newest QUOTE.
fn quoted(duo: &Duo) -> Option<Bytes> {
    let mut quotes = duo.sent.iter().filter_map(|(_, message)| match message {
        ReceiptMessage::Quote(quote) => Some(quote.window),
        _ => None,
    });
    quotes.next_back()
}

fn decide(duo: &mut Duo, peer: PeerIndex, rate: Rate) {
    duo.pass(2);
    duo.bid(peer, rate);
    duo.quote(peer);
}

fn suspensions(duo: &Duo) -> usize {
    let notices = duo.notices.iter();
    let suspended = notices.filter(|(_, notice)| matches!(notice, Notice::Suspended(_)));
    suspended.count()
}

/// Bytes bought for little make no window for bytes that cost much.
#[test]
fn a_cheap_history_buys_no_window_at_a_high_price() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    decide(&mut duo, peer, CHEAP);
    for piece in 0..200 {
        assert_eq!(duo.piece(peer, piece), 4);
    }
    duo.pass(2);
    let cheap = duo.payee();
    assert!(cheap.window > Bytes::new(1 << 20), "{cheap:?}");
    decide(&mut duo, peer, RATE);
    let mut taken = 0;
    for n in 0..1_000 {
        if let Granted::Paid(_) = duo.grant(peer, block(1_000 + n / BLOCKS, n % BLOCKS)) {
            taken += 1;
        }
    }
    // One piece, and what was paid is worth at this price: 200 pieces at a thousandth.
    assert!(bytes(taken) <= Bytes::new(u64::from(PIECE_LEN) * 12 / 10));
    assert!(taken >= u64::from(BLOCKS));
}

#[test]
fn a_window_that_differs_is_quoted_within_a_second() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    for piece in 0..20 {
        duo.piece(peer, piece);
        duo.pass(2);
        assert_eq!(quoted(&duo), Some(duo.payee().window), "piece {piece}");
    }
    decide(&mut duo, peer, Rate::new(RATE.get() * 10));
    assert_eq!(quoted(&duo), Some(duo.payee().window));
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    duo.pass(2);
    assert_eq!(quoted(&duo), Some(duo.payee().window));
}

/// A raise makes the history worth less while several pieces are half there: one at a time goes on,
/// is paid, and makes room for the next.
#[test]
fn a_raise_that_shrinks_the_window_leaves_no_two_halves_waiting() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    for piece in 0..12 {
        duo.piece(peer, piece);
    }
    for piece in 20..24 {
        for index in 0..3 {
            assert_eq!(duo.take(peer, piece, index), Granted::Paid(RATE));
        }
    }
    let before = duo.payee();
    decide(&mut duo, peer, Rate::new(RATE.get() * 1_000));
    let after = duo.payee();
    assert!(after.window < before.exposure, "{after:?}");
    assert!(
        after.limit >= after.exposure.saturating_add(bytes(4)),
        "{after:?}"
    );
    for left in (1..=4).rev() {
        let payer = &duo.nodes[PAYER].exchange;
        let is_over = left > 1;
        assert_eq!(payer.window_left(peer).is_zero(), is_over);
        let counted = payer.counted(peer);
        assert_eq!(counted.len(), 1, "one piece goes on alone");
        let piece = counted.keys().next().expect("a piece is open").get();
        assert!(
            matches!(duo.take(peer, piece, 3), Granted::Paid(_)),
            "{left}"
        );
        duo.verify(piece);
        duo.pass(2);
    }
    let end = duo.payee();
    assert_eq!(end.exposure, Bytes::ZERO);
    assert_eq!(end.limit, end.window, "the fall is over");
}

/// What a failed piece leaves in F is written off when its payer has been late for long enough, as
/// far as that is forgiven, and nothing is said.
#[test]
fn a_failed_piece_costs_an_honest_payer_no_seat() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    for piece in 0..2 {
        duo.piece(peer, piece);
    }
    for failing in 0..3 {
        let first = 10 * (failing + 1);
        for index in 0..BLOCKS {
            assert!(matches!(duo.take(peer, first, index), Granted::Paid(_)));
        }
        let (failed, now) = (PieceIndex::unchecked(first), duo.now);
        duo.nodes[PAYER].exchange.discarded(TORRENT, failed, now);
        // It goes on until its window is full of what it does not owe.
        let mut next = first + 1;
        while duo.piece(peer, next) == 4 && next < first + 9 {
            next += 1;
        }
        duo.pass(70);
        duo.piece(peer, first + 9);
        duo.pass(70);
    }
    assert_eq!(suspensions(&duo), 0);
    assert!(!duo.payee().backing_off);
}

/// A payer asks for no more than fits beside what it will never owe (S2), until the payee says that
/// it wrote that off, or has come back with nothing on its books.
#[test]
fn a_failed_piece_takes_the_window_until_it_is_written_off() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    for piece in 0..40 {
        duo.piece(peer, piece);
    }
    duo.pass(2);
    let room = |duo: &Duo, peer| duo.nodes[PAYER].exchange.window_left(peer);
    let fail = |duo: &mut Duo, peer, piece| {
        for index in 0..BLOCKS {
            assert!(matches!(duo.take(peer, piece, index), Granted::Paid(_)));
        }
        let (failed, now) = (PieceIndex::unchecked(piece), duo.now);
        duo.nodes[PAYER].exchange.discarded(TORRENT, failed, now);
        duo.pump();
    };
    let before = room(&duo, peer);
    fail(&mut duo, peer, 50);
    assert_eq!(room(&duo, peer), before.saturating_sub(bytes(4)));
    duo.piece(peer, 51);
    assert_eq!(
        duo.payee().exposure,
        bytes(4),
        "the same bytes on both sides"
    );
    duo.pass(130);
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    assert!(room(&duo, peer) >= before);
    fail(&mut duo, peer, 60);
    duo.close(peer);
    duo.restart(PAYEE);
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    assert!(room(&duo, peer) >= before);
}

/// The write-off may come before the piece fails: then nothing waits for it.
#[test]
fn a_piece_that_fails_after_its_write_off_takes_no_window() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    for piece in 0..40 {
        duo.piece(peer, piece);
    }
    duo.pass(2);
    let room = |duo: &Duo| duo.nodes[PAYER].exchange.window_left(peer);
    let before = room(&duo);
    for index in 0..BLOCKS {
        assert!(matches!(duo.take(peer, 50, index), Granted::Paid(_)));
    }
    duo.pass(130);
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    let (failed, now) = (PieceIndex::unchecked(50), duo.now);
    duo.nodes[PAYER].exchange.discarded(TORRENT, failed, now);
    duo.pump();
    assert_eq!(room(&duo), before);
}

#[test]
fn a_piece_that_no_window_holds_is_asked_for_in_the_open_class_only() {
    let mut duo = Duo::new();
    duo.fund(100_000_000);
    let large = duo.connect_for(TORRENT, 128 << 20);
    duo.bid(large, RATE);
    assert_eq!(duo.nodes[PAYER].exchange.own_bid(large), Rate::ZERO);
    assert_eq!(duo.nodes[PAYER].exchange.window_left(large), Bytes::MAX);
    let mut duo = Duo::new();
    duo.fund(100_000_000);
    let fits = duo.connect_for(TORRENT, 64 << 20);
    duo.bid(fits, RATE);
    assert_eq!(duo.nodes[PAYER].exchange.own_bid(fits), RATE);
    assert_eq!(
        duo.nodes[PAYER].exchange.window_left(fits),
        Bytes::new(64 << 20)
    );
}

/// What is forgiven is worth no more than what was paid is: a history bought for little forgives
/// little at a high price.
#[test]
fn a_cheap_history_forgives_no_bytes_at_a_high_price() {
    let (mut duo, peer, _) = Duo::paid(100_000_000);
    decide(&mut duo, peer, CHEAP);
    for piece in 0..1_024 {
        assert_eq!(duo.piece(peer, piece), 4);
    }
    duo.pass(2);
    // A few blocks are never paid for: late, and forgiven by what the history is worth here.
    for n in 0..80 {
        let granted = duo.grant(peer, block(5_000 + n / BLOCKS, n % BLOCKS));
        assert!(matches!(granted, Granted::Paid(_)));
    }
    duo.pass(180);
    decide(&mut duo, peer, RATE);
    let window = duo.payee().window;
    let mut taken = 0;
    for round in 0..120 {
        for n in 0..64 {
            let n = round * 64 + n;
            if let Granted::Paid(_) = duo.grant(peer, block(10_000 + n / BLOCKS, n % BLOCKS)) {
                taken += 1;
            }
        }
        duo.pass(5);
    }
    let free = bytes(taken);
    assert!(
        free <= window.saturating_add(window).saturating_add(window),
        "{free} unpaid in 10 min; its window is {window}"
    );
}

/// A whole piece that is never hashed, because its torrent was removed first (row M7).
#[test]
fn m7_a_torrent_that_is_removed_gives_its_window_and_its_lock_back() {
    let (mut duo, peer, lock_id) = Duo::paid(10_000);
    let whole = duo.nodes[PAYER].exchange.window_left(peer);
    for index in 0..BLOCKS {
        assert_eq!(duo.take(peer, 0, index), Granted::Paid(RATE));
    }
    let payee = duo.id(PAYEE);
    let now = duo.now;
    let payer = &mut duo.nodes[PAYER].exchange;
    assert!(
        payer.window_left(peer) < whole,
        "an open piece takes window"
    );
    payer.forget_torrent(TORRENT, now);
    assert_eq!(payer.window_left(peer), whole);

    payer.end_lock(payee, lock_id, now);
    duo.pump();
    let is_close = |message: &ReceiptMessage| matches!(message, ReceiptMessage::Close { .. });
    let mut sent = duo.sent.iter();
    let closed = sent.any(|(from, message)| *from == PAYER && is_close(message));
    assert!(closed, "nothing is under way any more");
}
