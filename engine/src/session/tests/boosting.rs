//! A session that would pay says why it does not, from what its connections and its settlement node
//! really say.

use seedbank_ledger::{MicroCredits, Rate};

use super::Remote;
use super::market::{Market, offer};
use super::rig::{finish, metainfo, secs, sent_to};
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::interface::command::{BoostOrder, Command, CommandError, CreditError};
use crate::interface::config::Policy;
use crate::interface::view::WaitReason;
use crate::units::TorrentId;
use crate::wire::extended::{ExtendedHandshake, RECEIPT};
use crate::wire::message::Message;

const CREDIT: MicroCredits = MicroCredits::new(10_000_000);

fn order(torrent_id: TorrentId, max: u64) -> BoostOrder {
    BoostOrder {
        request_id: format!("{torrent_id}"),
        torrent_id,
        max: MicroCredits::new(max),
        bid: Rate::PAR,
        time_to_live_secs: None,
    }
}

/// A node with credit that has nothing of a torrent of 64 MiB in pieces of 256 KiB.
fn buyer() -> (Market, TorrentId) {
    let mut market = Market::new(Policy::default());
    market.available = Some(CREDIT);
    for _ in 0..61 {
        market.rig.advance(secs(1));
        market.settle();
    }
    let torrent_id = market.rig.leech(&metainfo("wanted", 256, 16));
    (market, torrent_id)
}

fn waiting(market: &Market) -> Option<WaitReason> {
    let boosts = market.rig.session.boosts();
    boosts.last().expect("one was placed").waiting
}

/// What it waits for after five seconds.
fn told(market: &mut Market) -> Option<WaitReason> {
    for _ in 0..5 {
        market.rig.advance(secs(1));
        market.settle();
    }
    waiting(market)
}

fn boost(market: &mut Market, torrent_id: TorrentId, max: u64) {
    market.rig.command(Command::Boost(order(torrent_id, max)));
    market.settle();
}

#[test]
fn a_boost_without_anybody_to_pay_says_who_is_missing() {
    let (mut market, torrent_id) = buyer();
    boost(&mut market, torrent_id, 1_000_000);
    assert_eq!(told(&mut market), Some(WaitReason::NoPeers));
    market.rig.join_seed(torrent_id, 9);
    assert_eq!(
        told(&mut market),
        Some(WaitReason::NobodyTakesPayment { peers: 1 })
    );
    market.payee(torrent_id, 8, 3 * Rate::PAR.get());
    let ask = Rate::new(3 * Rate::PAR.get());
    let bid = Rate::PAR;
    assert_eq!(told(&mut market), Some(WaitReason::BelowAsk { ask, bid }));
}

#[test]
fn a_boost_below_the_smallest_lock_says_so_with_the_answer() {
    let (mut market, torrent_id) = buyer();
    market.payee(torrent_id, 8, Rate::PAR.get());
    let quote = market.rig.session.boost_quote(torrent_id, Rate::PAR);
    let quote = quote.expect("there is the torrent");
    assert_eq!(quote.waiting, None);
    assert_eq!(quote.lock_min, MicroCredits::new(245), "256 KiB at par");
    boost(&mut market, torrent_id, quote.lock_min.get() - 1);
    let told = waiting(&market).expect("at once");
    let smallest = quote.lock_min;
    let free = MicroCredits::new(244);
    assert_eq!(told, WaitReason::BelowSmallestLock { smallest, free });
}

#[test]
fn a_boost_says_that_the_settlement_node_does_not_answer() {
    let (mut market, torrent_id) = buyer();
    market.payee(torrent_id, 8, Rate::PAR.get());
    market.available = None;
    boost(&mut market, torrent_id, 1_000_000);
    let told = told(&mut market);
    assert_eq!(told, Some(WaitReason::SettlementUnreachable));
}

#[test]
fn spending_switched_off_is_said_before_anything_else() {
    let (mut market, torrent_id) = buyer();
    boost(&mut market, torrent_id, 1_000_000);
    let mut policy = Policy::default();
    policy.credit.spend = false;
    market.rig.command(Command::SetPolicy(policy));
    assert_eq!(told(&mut market), Some(WaitReason::SpendingOff));
}

/// A torrent of 100 kB that is private.
pub(super) fn private() -> Metainfo {
    finish(&MetainfoDraft {
        name: "private".to_owned(),
        content: DraftContent::File(100_000),
        piece_len: 16_384,
        trackers: vec![vec!["http://tracker.example/announce".to_owned()]],
        private: true,
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

#[test]
fn nobody_is_paid_for_a_torrent_that_is_complete_or_private() {
    let (mut market, _) = buyer();
    let complete = market.torrent;
    let refused = market
        .rig
        .try_command(Command::Boost(order(complete, 1_000)));
    let expected = CommandError::Credit(CreditError::TorrentComplete(complete));
    assert_eq!(refused, Err(expected));
    let torrent_id = market.rig.leech(&private());
    let refused = market
        .rig
        .try_command(Command::Boost(order(torrent_id, 1_000)));
    let expected = CommandError::Credit(CreditError::TorrentPrivate(torrent_id));
    assert_eq!(refused, Err(expected));
    let quote = market.rig.session.boost_quote(torrent_id, Rate::PAR);
    assert_eq!(quote.unwrap().waiting, Some(WaitReason::TorrentPrivate));
}

#[test]
fn the_key_that_pays_goes_to_no_peer_of_a_private_torrent() {
    let (mut market, _) = buyer();
    let torrent_id = market.rig.leech(&private());
    let peer = market.rig.accept();
    market.rig.shake(peer, torrent_id, Remote::modern(7));
    market.rig.says_extended(peer, &offer());
    let sent = sent_to(&market.rig.take(), peer);
    let Some(Message::Extended { payload, .. }) = sent.first() else {
        panic!("{sent:?}");
    };
    let said = ExtendedHandshake::decode(payload).expect("our own");
    assert_eq!(said.id_of(RECEIPT), None);
    assert_eq!(said.receipt, None);
    let more = |message: &&Message| matches!(message, Message::Extended { .. });
    assert_eq!(sent.iter().filter(more).count(), 1, "no HELLO");
}
