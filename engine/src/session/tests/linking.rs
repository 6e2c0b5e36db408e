//! What tells strangers that we are the same in two torrents: nothing but our address, and the key
//! that receipts are signed with where it is shown.

use std::collections::BTreeSet;

use seedbank_ledger::{Bytes, Identity, NetworkId};

use super::boosting::private;
use super::magnets::{give_all, magnet};
use super::market::offer;
use super::rig::{adding, config, finish, metainfo, sent_to};
use super::{Remote, Rig};
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::interface::command::Command;
use crate::interface::config::SessionConfig;
use crate::interface::output::Output;
use crate::units::{ClientId, PeerIndex, TorrentId};
use crate::wire::extended::RECEIPT_ID;
use crate::wire::message::Message;
use crate::wire::receipt::{Hello, ReceiptMessage};

fn tracked(name: &str) -> Metainfo {
    finish(&MetainfoDraft {
        name: name.to_owned(),
        content: DraftContent::File(100_000),
        piece_len: 16_384,
        trackers: vec![vec!["http://tracker.example/announce".to_owned()]],
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

/// What we are called by a tracker of a torrent that is added, by its key, and by a peer of it.
fn called(rig: &mut Rig, whole: &Metainfo) -> (ClientId, u32, ClientId) {
    rig.take();
    let torrent_id = rig.leech(whole);
    let request = rig.take().into_iter().find_map(|output| match output {
        Output::Announce { request, .. } => Some(request),
        _ => None,
    });
    let request = request.expect("an announce");
    let peer = rig.accept();
    rig.shake(peer, torrent_id, Remote::modern(1));
    let handshake = rig.take().into_iter().find_map(|output| match output {
        Output::Handshake { handshake, .. } => Some(handshake),
        _ => None,
    });
    let client_id = handshake.expect("an answer").client_id;
    (request.client_id, request.key, client_id)
}

/// N11: both were one for all torrents of a run.
#[test]
fn every_torrent_has_a_name_of_its_own_for_peers_and_trackers() {
    let mut rig = Rig::new();
    let mut names = Vec::new();
    for name in ["a", "b", "c"] {
        names.push(called(&mut rig, &tracked(name)));
    }
    let torrent_id = tracked("a").torrent_id();
    rig.command(Command::RemoveTorrent {
        torrent_id,
        delete_data: false,
    });
    rig.close_closing();
    names.push(called(&mut rig, &tracked("a")));
    let mut elsewhere = Rig::with(SessionConfig {
        rng_seed: 2,
        ..config()
    });
    names.push(called(&mut elsewhere, &tracked("a")));

    for (announced, _, shown) in &names {
        assert_eq!(announced, shown);
        assert!(announced.0.starts_with(b"-Sb0001-"));
        let drawn = &announced.0[8..];
        assert!(drawn.iter().all(u8::is_ascii_alphanumeric), "{announced:?}");
    }
    let ids: BTreeSet<[u8; 20]> = names.iter().map(|(id, ..)| id.0).collect();
    let keys: BTreeSet<u32> = names.iter().map(|(_, key, _)| *key).collect();
    assert_eq!((ids.len(), keys.len()), (5, 5));
}

/// A session that speaks receipts, to peers of private torrents too if it is told to.
fn speaking(receipts_private: bool) -> Rig {
    Rig::with(SessionConfig {
        receipts: true,
        receipts_private,
        ..config()
    })
}

/// The receipt messages that went to a peer since.
fn said(rig: &mut Rig, peer: PeerIndex) -> Vec<ReceiptMessage> {
    let messages = sent_to(&rig.take(), peer).into_iter();
    let payloads = messages.filter_map(|message| match message {
        Message::Extended { id: 9, payload } => Some(payload),
        _ => None,
    });
    payloads
        .map(|payload| ReceiptMessage::decode(&payload).expect("our own"))
        .collect()
}

fn hello() -> Message {
    let hello = ReceiptMessage::Hello(Hello {
        version: 1,
        nonce: [3; 16],
        node_id: Identity::from_secret([3; 32]).id(),
        network_id: NetworkId::from_bytes([0; 32]),
        settlement_keys: Vec::new(),
        rate_min: None,
        window: Bytes::ZERO,
    });
    Message::Extended {
        id: RECEIPT_ID,
        payload: hello.encode(),
    }
}

/// A magnet, and a peer of it that has offered receipts and said HELLO.
fn met_by_magnet(rig: &mut Rig, whole: &Metainfo) -> (TorrentId, PeerIndex) {
    rig.know(whole, &[]);
    let mut add = adding(whole);
    add.source = magnet(whole.info_hash);
    rig.command(Command::AddTorrent(Box::new(add)));
    let peer = rig.join(whole.torrent_id(), Remote::modern(9));
    rig.says_extended(peer, &offer());
    rig.says(peer, [hello()]);
    (whole.torrent_id(), peer)
}

/// N11: HELLO went out at once.
#[test]
fn a_magnet_shows_no_key_before_it_is_known_to_be_public() {
    let mut rig = speaking(false);
    let whole = metainfo("t", 2, 2);
    let (torrent_id, peer) = met_by_magnet(&mut rig, &whole);
    assert_eq!(said(&mut rig, peer), []);

    give_all(&mut rig, peer, &whole);
    rig.checked(torrent_id);
    let said = said(&mut rig, peer);
    let own = rig.session.node_id();
    let [ReceiptMessage::Hello(hello), ReceiptMessage::Auth(_)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(hello.node_id, own);
}

#[test]
fn a_magnet_that_turns_out_to_be_private_shows_no_key_at_all() {
    let mut rig = speaking(false);
    let (torrent_id, peer) = met_by_magnet(&mut rig, &private());
    give_all(&mut rig, peer, &private());
    rig.checked(torrent_id);
    rig.says(peer, [hello()]);
    assert_eq!(said(&mut rig, peer), []);
    assert!(!rig.wire(peer).closing);
}

#[test]
fn peers_of_a_private_torrent_are_shown_the_key_if_the_owner_wants_it() {
    for wanted in [false, true] {
        let mut rig = speaking(wanted);
        let torrent_id = rig.leech(&private());
        let peer = rig.join(torrent_id, Remote::modern(9));
        rig.says_extended(peer, &offer());
        let said = said(&mut rig, peer);
        assert_eq!(matches!(said[..], [ReceiptMessage::Hello(_)]), wanted);
        assert_eq!(said.is_empty(), !wanted);
    }
}
