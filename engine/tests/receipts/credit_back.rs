//! When a payer that lost something has its credit back (P5, reading 8): an honest one at once,
//! and who comes under key after key no more than all keys together may take.

use seedbank_engine::credit::receipts::Granted;
use seedbank_engine::credit::receipts::limits::Window;
use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, MicroCredits, Rate};

use crate::duo::{BLOCK_COST, Duo, PAYEE, PAYER, PIECE_LEN, RATE, block, bytes};
use crate::settlement::GRACE_SECS;

const PIECE_BLOCKS: u64 = 4;
/// From a CLOSE while something is owed to its write-off, at most: late for what is forgiven, late
/// for the rest, and the open class.
const WRITTEN_OFF_SECS: u64 = 60 + 60 + 30 + 5;
/// Two windows of a key that never paid are lent to all keys together.
const SMALL: Window = Window {
    min: Bytes::new(2 * PIECE_LEN as u64),
    max: Bytes::new(2 * PIECE_LEN as u64),
    bonus_max: Bytes::new(PIECE_LEN as u64),
};

/// With a lock, a bid and a paid seat.
fn seated(duo: &mut Duo, amount: u64) -> (PeerIndex, LockId) {
    let lock_id = duo.fund(amount);
    let peer = duo.connect();
    duo.bid(peer, RATE);
    duo.quote(peer);
    (peer, lock_id)
}

/// Blocks are granted and never come, as many as the window holds; returns how many.
fn lose_a_window(duo: &mut Duo, peer: PeerIndex) -> u64 {
    let mut lost = 0;
    for index in 0.. {
        match duo.grant(peer, block(10_000 + index, 0)) {
            Granted::Paid(_) => lost += 1,
            Granted::Waits => break,
            other => panic!("{other:?} in a paid seat"),
        }
    }
    lost
}

fn pay(duo: &mut Duo, peer: PeerIndex, pieces: u32) {
    for piece in 0..pieces {
        assert_eq!(duo.piece(peer, piece), 4);
    }
}

/// The connection falls, the payer comes back on another, and its boost ends.
fn come_back_and_end(duo: &mut Duo, peer: PeerIndex, lock_id: LockId) {
    duo.close(peer);
    duo.connect();
    let (payee, now) = (duo.id(PAYEE), duo.now);
    duo.nodes[PAYER].exchange.end_lock(payee, lock_id, now);
    duo.pump();
}

fn is_back(duo: &Duo, lock_id: LockId) -> bool {
    duo.settlement.locks[&lock_id].closed
}

fn written_off(duo: &Duo) -> u64 {
    let of_payee = duo.entries.iter().filter(|(node, _)| *node == PAYEE);
    let bytes = of_payee.map(|(_, entry)| match entry {
        NodeCommand::WriteOff { bytes, .. } => bytes.get(),
        NodeCommand::ChannelSummary(_) | NodeCommand::Settled(_) => 0,
    });
    bytes.sum()
}

/// A key takes a window, signs `paid` and says that it wants its credit back.
fn harvest(duo: &mut Duo, paid: u64) -> LockId {
    let (peer, lock_id) = seated(duo, 2_000);
    for index in 0..4 {
        assert_eq!(duo.take(peer, 0, index), Granted::Paid(RATE));
    }
    let lock = duo.settlement.locks[&lock_id].lock.body;
    let receipt = Receipt {
        network_id: lock.network_id,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(1),
        amount: MicroCredits::new(paid),
    };
    let newest = (paid > 0).then(|| receipt.sign(&duo.nodes[PAYER].identity));
    duo.say(PAYER, peer, ReceiptMessage::Close { lock_id, newest });
    duo.close(peer);
    duo.pass(WRITTEN_OFF_SECS);
    lock_id
}

/// Whatever a key pays short of a part of what it takes: with any number of keys the same credit
/// buys what is lent to all of them together, once, and after that it waits for the locks to end.
#[test]
fn f13_windows_cannot_be_harvested_with_recycled_credit() {
    for paid in [0, 1, BLOCK_COST, 2 * BLOCK_COST - 1, 2 * BLOCK_COST] {
        let mut duo = Duo::with_window(SMALL);
        let mut locks = Vec::new();
        let mut harvested = 0;
        for key in 0..12 {
            duo.rekey(100 + key);
            let before = written_off(&duo);
            let lock_id = harvest(&mut duo, paid);
            if is_back(&duo, lock_id) {
                harvested += written_off(&duo) - before;
            }
            locks.push(lock_id);
        }
        let cleared = paid / BLOCK_COST * bytes(1).get();
        assert_eq!(written_off(&duo), 12 * (bytes(4).get() - cleared));
        let back = locks.iter().filter(|lock| is_back(&duo, **lock)).count();
        assert!(back > 0, "{paid}: it looks like a payer that lost its tail");
        let back = u64::try_from(back).expect("few");
        // A part of what each paid, and of what all paid; and what half an hour fills up.
        let most = SMALL.max.get() + back * cleared / 8 + 12 * cleared / 32 + SMALL.max.get() / 48;
        assert!(
            harvested <= most,
            "{paid}: {harvested} of {most} with its credit back"
        );
        duo.pass(26 * 3_600);
        assert!(locks.iter().all(|lock| is_back(&duo, *lock)), "{paid}");
    }
}

/// A micro-credit is a payment, and a cheap history none: what was paid counts for what it buys at
/// the price of what was lost.
#[test]
fn a_cheap_history_brings_no_credit_back() {
    let mut duo = Duo::with_window(SMALL);
    for key in 0..2 {
        duo.rekey(100 + key);
        harvest(&mut duo, 0);
    }
    duo.rekey(200);
    let (peer, lock_id) = seated(&mut duo, 500_000);
    let cheap = Rate::new(RATE.get() / 16);
    duo.bid(peer, cheap);
    duo.quote(peer);
    pay(&mut duo, peer, 32);
    assert_eq!(duo.payee().paid_bytes, bytes(128));
    duo.pass(2);
    duo.bid(peer, RATE);
    duo.quote(peer);
    let lost = lose_a_window(&mut duo, peer);
    assert!(lost > 1 && lost < 16, "{lost}");
    come_back_and_end(&mut duo, peer, lock_id);
    duo.pass(WRITTEN_OFF_SECS);
    assert_eq!(duo.payee().exposure, Bytes::ZERO);
    assert!(!is_back(&duo, lock_id), "128 blocks were paid like 8");
}

/// What all keys together may take fills up in a day.
#[test]
fn what_keys_may_take_fills_up_in_a_day() {
    let mut duo = Duo::with_window(SMALL);
    for key in 0..2 {
        duo.rekey(100 + key);
        let lock_id = harvest(&mut duo, 0);
        assert!(is_back(&duo, lock_id));
    }
    duo.rekey(120);
    let held = harvest(&mut duo, 0);
    assert!(!is_back(&duo, held));
    duo.pass(12 * 3_600);
    duo.rekey(121);
    let lock_id = harvest(&mut duo, 0);
    assert!(is_back(&duo, lock_id), "half of it, one window");
    duo.rekey(122);
    let lock_id = harvest(&mut duo, 0);
    assert!(!is_back(&duo, lock_id));
}

/// 64 MiB were paid for, and all of the last window is lost: 5 MiB here.
#[test]
fn who_paid_for_much_and_lost_its_last_window_has_its_credit_back_at_once() {
    let mut duo = Duo::new();
    let (peer, lock_id) = seated(&mut duo, 200_000);
    pay(&mut duo, peer, 1_024);
    assert_eq!(duo.payee().paid_bytes, Bytes::new(64 << 20));
    let lost = lose_a_window(&mut duo, peer);
    assert_eq!(bytes(lost), Bytes::new(5 << 20));
    come_back_and_end(&mut duo, peer, lock_id);
    duo.pass(WRITTEN_OFF_SECS);
    assert_eq!(written_off(&duo), bytes(lost).get());
    assert!(is_back(&duo, lock_id));
    let claimed = duo.settlement.locks[&lock_id].claimed;
    assert_eq!(claimed.get(), 4_096 * BLOCK_COST, "and all is claimed");
}

/// It paid for one window, for less, or for nothing, and lost the next.
#[test]
fn who_paid_for_little_and_lost_its_last_window_has_its_credit_back_at_once() {
    for pieces in [1, 0] {
        let mut duo = Duo::new();
        let (peer, lock_id) = seated(&mut duo, 10_000);
        pay(&mut duo, peer, pieces);
        let lost = lose_a_window(&mut duo, peer);
        assert_eq!(lost, PIECE_BLOCKS * u64::from(pieces + 1));
        come_back_and_end(&mut duo, peer, lock_id);
        duo.pass(WRITTEN_OFF_SECS);
        assert!(is_back(&duo, lock_id), "{pieces}");
    }
    let mut duo = Duo::new();
    let (peer, lock_id) = seated(&mut duo, 10_000);
    duo.take(peer, 0, 0);
    duo.verify(0);
    assert!(lose_a_window(&mut duo, peer) >= PIECE_BLOCKS);
    come_back_and_end(&mut duo, peer, lock_id);
    duo.pass(WRITTEN_OFF_SECS);
    assert!(is_back(&duo, lock_id));
}

/// Tails of an eighth at most take nothing of what is lent, so that any number of customers has its
/// credit back, also when that is used up.
#[test]
fn who_lost_an_eighth_of_what_it_paid_for_is_lent_nothing() {
    let mut duo = Duo::with_window(SMALL);
    for key in 0..3 {
        duo.rekey(100 + key);
        harvest(&mut duo, 0);
    }
    for key in 0..20 {
        duo.rekey(130 + key);
        let (peer, lock_id) = seated(&mut duo, 20_000);
        pay(&mut duo, peer, 32);
        assert!(lose_a_window(&mut duo, peer) <= 16);
        come_back_and_end(&mut duo, peer, lock_id);
        duo.pass(WRITTEN_OFF_SECS);
        assert!(is_back(&duo, lock_id), "{key}");
    }
}

/// A slow link: what it holds takes longer to be given up, and no longer than that.
#[test]
fn a_payer_behind_a_slow_link_has_its_credit_back_once_its_tail_is_given_up() {
    let mut duo = Duo::new();
    let (peer, lock_id) = seated(&mut duo, 10_000);
    pay(&mut duo, peer, 2);
    for second in 0..30 {
        if second < 5 {
            assert!(matches!(
                duo.grant(peer, block(50, second)),
                Granted::Paid(_)
            ));
        }
        let now = duo.now;
        duo.nodes[PAYEE].exchange.sent(peer, 2_000, now);
        duo.pass(1);
    }
    come_back_and_end(&mut duo, peer, lock_id);
    duo.pass(20);
    assert!(!is_back(&duo, lock_id), "its socket may still hold them");
    duo.pass(WRITTEN_OFF_SECS);
    assert!(is_back(&duo, lock_id));
}

/// Its connection fell in the middle and it never comes back: it may hold a receipt that was not
/// seen, so that its lock waits for its end. Whatever was seen is claimed.
#[test]
fn the_lock_of_a_payer_that_never_comes_back_waits_for_its_end() {
    let mut duo = Duo::new();
    let (peer, lock_id) = seated(&mut duo, 10_000);
    pay(&mut duo, peer, 8);
    let lost = lose_a_window(&mut duo, peer);
    duo.close(peer);
    duo.pass(4_000);
    let claimed = duo.settlement.locks[&lock_id].claimed;
    assert_eq!(claimed.get(), 32 * BLOCK_COST);
    assert!(!is_back(&duo, lock_id));
    duo.pass(u64::from(GRACE_SECS));
    assert!(is_back(&duo, lock_id), "an hour of life, and its grace");
    assert_eq!(written_off(&duo), bytes(lost).get());
}
