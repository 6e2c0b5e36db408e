//! Attacks on a session, one test for each way in.
//!
//! A name starts with the row of the review that it shows (`m2_` is row M2). Others are beside what
//! they attack: `wallet`, `boost`, `choker`, `engine/tests/receipts/traces.rs` and
//! `ledger/tests/it/attacks.rs`.

use std::collections::VecDeque;

use seedbank_ledger::Rate;

use super::market::{Market, at_least, offer};
use super::rig::{asked_of, config, metainfo, millis, secs, slots};
use super::{Remote, Rig};
use crate::credit::receipts::limits::{BID_BURST, BID_BURST_TAKEN};
use crate::interface::config::{Policy, SessionConfig};
use crate::transfer::pipeline::OWED_MAX;
use crate::units::Block;
use crate::wire::message::Message;
use crate::wire::receipt::ReceiptMessage;

/// Blocks that one peer may be asked for and leave unanswered at a time.
const OUTSTANDING_MAX: usize = 500;

/// A seeder whose key is unproven answers fast, stalls for 32 s, answers the one probe, stalls
/// again. Closed: nobody keeps a request for longer than the one record of it.
#[test]
fn m1_a_seeder_that_stalls_and_comes_back_harms_nobody() {
    let mut rig = Rig::with(SessionConfig {
        receipts: true,
        lease_bytes_max: 64 << 20,
        ..config()
    });
    let torrent = rig.leech(&metainfo("t", 400, 64));
    let peer = rig.join(torrent, Remote::modern(1));
    rig.says_extended(peer, &offer());
    rig.says(peer, [Message::HaveAll, Message::Unchoke]);
    let mut recent: VecDeque<Block> = asked_of(&rig.take(), peer).into();
    for _ in 0..20 {
        while let Some(block) = recent.pop_front() {
            rig.block(peer, block, true);
            rig.hash_all();
            rig.advance(millis(1));
            recent.extend(asked_of(&rig.take(), peer));
            assert!(recent.len() <= OUTSTANDING_MAX, "{}", recent.len());
            let link = rig.session.peers[&peer].live();
            let in_flight = link.map_or(0, |link| link.download.pipeline.in_flight());
            assert!(in_flight <= OWED_MAX, "{in_flight} requests are remembered");
            if rig.is_closing(peer) {
                return;
            }
            if recent.len() >= 490 {
                break;
            }
        }
        rig.advance(secs(32));
        recent = asked_of(&rig.take(), peer).into();
    }
    assert!(rig.view(peer).is_some(), "still connected");
}

/// One a second and four in a burst are allowed (docs/PROTOCOL.md §3). What a stall held back for a
/// minute is taken; who sends more than that is closed, whatever a bid costs us.
#[test]
fn m11_a_flood_of_bids_ends_the_connection() {
    let mut market = Market::new(Policy {
        credit: at_least(1_000),
        ..slots(8)
    });
    let peer = market.bidder(20, 50_000);
    market.rig.advance(secs(20));
    market.settle();
    let mut taken = 0_u64;
    for n in 0..200 {
        if market.rig.is_closing(peer) {
            break;
        }
        let rate = Rate::new(2_000 + n);
        market.say(peer, &ReceiptMessage::Bid(rate));
        taken += u64::from(market.rig.session.market.peer(peer).bid == rate);
    }
    assert!(market.rig.is_closing(peer));
    assert!(taken >= BID_BURST, "{taken} bids");
    assert!(taken <= BID_BURST_TAKEN, "{taken} bids");
}
