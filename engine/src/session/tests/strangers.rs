//! What a stranger may say on `Sb_receipt` and what ends its connection: the vectors of messages,
//! said to a session, and the rules that depend on where a connection stands.

use super::Remote;
use super::market::{Market, at_least, offer};
use super::rig::sent_to;
use crate::interface::config::Policy;
use crate::units::PeerIndex;
use crate::wire::extended::{ExtendedHandshake, RECEIPT_ID, ReceiptOffer};
use crate::wire::message::Message;

const MESSAGES: &str = include_str!("../../../../tests/vectors/messages.json");

fn market() -> Market {
    Market::new(Policy {
        credit: at_least(1_000),
        ..Policy::default()
    })
}

fn says(market: &mut Market, peer: PeerIndex, payload: &[u8]) {
    let payload = payload.to_vec();
    let id = RECEIPT_ID;
    market.rig.says(peer, [Message::Extended { id, payload }]);
}

/// Name and bytes of the vectors with this verdict. A field stands on a line of its own, in the
/// order of the alphabet.
fn judged(verdict: &str) -> Vec<(String, Vec<u8>)> {
    let (mut name, mut bytes, mut judged) = ("", "", Vec::new());
    for line in MESSAGES.lines() {
        let line = line.trim().trim_end_matches(',');
        let field = |field: &str| {
            let value = line.strip_prefix(&format!("\"{field}\": \""));
            value.and_then(|value| value.strip_suffix('"'))
        };
        name = field("name").unwrap_or(name);
        bytes = field("bytes").unwrap_or(bytes);
        if field("verdict") == Some(verdict) {
            judged.push((name.to_owned(), hex::decode(bytes).unwrap()));
        }
    }
    judged
}

#[test]
fn p5_what_closes_a_connection_does_and_what_is_ignored_leaves_it_as_it_was() {
    let mut market = market();
    let [closing, ignored] = ["closes", "ignored"].map(judged);
    assert!(closing.len() >= 40, "{} that close", closing.len());
    assert!(ignored.len() >= 3, "{} that are ignored", ignored.len());
    for (name, payload) in closing {
        let peer = market.proven(1, 1);
        assert!(!market.rig.is_closing(peer));
        says(&mut market, peer, &payload);
        assert!(market.rig.is_closing(peer), "{name}");
        market.rig.close_closing();
    }
    let peer = market.proven(1, 1);
    for (name, payload) in ignored {
        for _ in 0..1_000 {
            says(&mut market, peer, &payload);
        }
        assert!(!market.rig.is_closing(peer), "{name}");
    }
    says(&mut market, peer, b"d2:rai7e1:ti2ee");
    assert_eq!(
        market.rig.session.market.bid(peer).get(),
        7,
        "it listens still"
    );
}

/// A later version may say something between HELLO and AUTH; what version 1 has no word for is no
/// violation of its order.
#[test]
fn p5_an_unknown_type_is_ignored_before_a_key_is_proven_too() {
    let mut market = market();
    let peer = market.rig.join(market.torrent, Remote::modern(1));
    market.rig.says_extended(peer, &offer());
    says(&mut market, peer, b"d1:ti77ee");
    assert!(!market.rig.is_closing(peer));
    says(&mut market, peer, b"d2:rai7e1:ti2ee");
    assert!(market.rig.is_closing(peer), "BID before HELLO");
}

/// Where receipts are not spoken nothing of them is read: neither before the offer of whoever sends
/// it, nor from one that offers another version.
#[test]
fn p13_a_connection_without_a_common_version_stays_plain() {
    let mut market = market();
    let peer = market.rig.join(market.torrent, Remote::modern(1));
    says(&mut market, peer, b"d2:rai7e1:ti2ee");
    says(&mut market, peer, b"no bencode");
    let other = ExtendedHandshake {
        receipt: Some(ReceiptOffer { version: 2 }),
        ..offer()
    };
    market.rig.take();
    market.rig.says_extended(peer, &other);
    says(&mut market, peer, b"d2:rai7e1:ti2ee");
    says(&mut market, peer, b"no bencode");
    assert!(!market.rig.is_closing(peer));
    let said = sent_to(&market.rig.take(), peer);
    let is_receipt = |message: &Message| matches!(message, Message::Extended { id: 9, .. });
    assert!(!said.iter().any(is_receipt), "{said:?}");
}
