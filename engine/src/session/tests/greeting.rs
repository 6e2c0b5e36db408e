//! Handshakes, who is whom, and what comes first.

use std::net::SocketAddr;

use super::rig::{adding, metainfo, sent_to};
use super::{Remote, Rig};
use crate::interface::command::Command;
use crate::interface::output::Output;
use crate::units::{ClientId, PeerIndex, TorrentId};
use crate::wire::extended::HANDSHAKE_ID;
use crate::wire::message::Message;

fn is_extended_handshake(message: &Message) -> bool {
    matches!(message, Message::Extended { id, .. } if *id == HANDSHAKE_ID)
}

#[test]
fn an_incoming_peer_hears_nothing_before_its_info_hash_is_known() {
    let mut rig = Rig::new();
    let torrent = rig.seed(&metainfo("t", 2, 2));
    rig.take();
    let peer = rig.accept();
    assert!(rig.take().is_empty());
    rig.shake(peer, torrent, Remote::modern(1));
    let outputs = rig.take();
    assert!(matches!(outputs[0], Output::Handshake { torrent_id, .. } if torrent_id == torrent));
    let sent = sent_to(&outputs, peer);
    assert!(is_extended_handshake(&sent[0]));
    assert_eq!(sent[1], Message::HaveAll);
    assert_eq!(sent.len(), 2);
}

#[test]
fn a_peer_of_an_unknown_torrent_is_closed_without_an_answer() {
    let mut rig = Rig::new();
    rig.seed(&metainfo("t", 2, 2));
    rig.take();
    let peer = rig.accept();
    rig.shake(peer, TorrentId([9; 20]), Remote::modern(1));
    let outputs = rig.take();
    assert!(matches!(outputs[..], [Output::Close { .. }]), "{outputs:?}");
    rig.close(peer);
}

#[test]
fn what_we_have_is_said_once_in_the_form_the_peer_understands() {
    let torrent = metainfo("t", 10, 1);
    let everything: Vec<u32> = (0..10).collect();
    let cases: [(&[u32], bool, Option<Message>); 5] = [
        (&everything, true, Some(Message::HaveAll)),
        (
            &everything,
            false,
            Some(Message::Bitfield(vec![0xff, 0xc0])),
        ),
        (&[0, 9], true, Some(Message::Bitfield(vec![0x80, 0x40]))),
        (&[], true, Some(Message::HaveNone)),
        (&[], false, None),
    ];
    for (have, fast, expected) in cases {
        let mut rig = Rig::new();
        let torrent_id = rig.add(&torrent, have);
        let peer = rig.accept();
        let remote = Remote {
            fast,
            extended: false,
            ..Remote::modern(1)
        };
        rig.shake(peer, torrent_id, remote);
        let sent = sent_to(&rig.take(), peer);
        assert_eq!(sent, Vec::from_iter(expected), "{have:?}, fast {fast}");
    }
}

#[test]
fn a_dialled_peer_is_greeted_after_its_handshake() {
    let mut rig = Rig::new();
    let torrent = rig.seed(&metainfo("t", 2, 2));
    let peer = dial(&mut rig, torrent, "127.0.0.1:7000");
    let outputs = rig.take();
    assert!(matches!(outputs.last(), Some(Output::Handshake { .. })));
    assert!(sent_to(&outputs, peer).is_empty());
    rig.shake(peer, torrent, Remote::modern(1));
    let outputs = rig.take();
    assert!(
        !outputs
            .iter()
            .any(|output| matches!(output, Output::Handshake { .. }))
    );
    assert_eq!(sent_to(&outputs, peer).len(), 2);
}

#[test]
fn a_dialled_peer_that_answers_for_another_torrent_is_closed() {
    let mut rig = Rig::new();
    let wanted = rig.seed(&metainfo("a", 2, 2));
    let other = rig.seed(&metainfo("b", 2, 2));
    let peer = dial(&mut rig, wanted, "127.0.0.1:7000");
    rig.shake(peer, other, Remote::modern(1));
    assert!(rig.is_closing(peer));
    rig.close(peer);
}

#[test]
fn a_second_handshake_closes() {
    let mut rig = Rig::new();
    let torrent = rig.seed(&metainfo("t", 2, 2));
    let peer = rig.join(torrent, Remote::modern(1));
    rig.shake(peer, torrent, Remote::modern(1));
    assert!(rig.is_closing(peer));
}

#[test]
fn a_connection_to_ourselves_is_closed_and_its_address_never_dialled_again() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 2, 2));
    let ourselves = Remote {
        client_id: rig.own_id(torrent),
        ..Remote::modern(1)
    };
    let dialled = dial(&mut rig, torrent, "127.0.0.1:7000");
    let accepted = rig.accept();
    rig.take();
    rig.shake(accepted, torrent, ourselves);
    let outputs = rig.take();
    let answered = outputs
        .iter()
        .any(|output| matches!(output, Output::Handshake { peer, .. } if *peer == accepted));
    assert!(answered, "or the dialling end never learns whom it reached");
    assert!(rig.is_closing(accepted));
    rig.shake(dialled, torrent, ourselves);
    assert!(rig.is_closing(dialled));
    rig.close(accepted);
    rig.close(dialled);
    rig.advance(super::rig::secs(3_600));
    assert!(rig.plane.dials.is_empty());
    rig.session.check_invariants();
}

/// Which of two connections between us and `theirs` survives: the dialled or the accepted one.
/// `dialled_first`: in which order the handshakes come.
fn survivor(theirs: ClientId, dialled_first: bool) -> &'static str {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 2, 2));
    let remote = Remote {
        client_id: theirs,
        ..Remote::modern(1)
    };
    let dialled = dial(&mut rig, torrent, "127.0.0.1:7000");
    let accepted = rig.accept();
    let order = if dialled_first {
        [dialled, accepted]
    } else {
        [accepted, dialled]
    };
    for peer in order {
        rig.shake(peer, torrent, remote);
    }
    let closing = [dialled, accepted].map(|peer| rig.is_closing(peer));
    rig.close_closing();
    assert_eq!(rig.session.peers(None).len(), 1);
    rig.session.check_invariants();
    match closing {
        [false, true] => "dialled",
        [true, false] => "accepted",
        both => panic!("one connection closes: {both:?}"),
    }
}

#[test]
fn of_two_connections_both_sides_close_the_one_that_the_smaller_id_dialled() {
    // As libtorrent does; seen from the larger id, its own dial stays.
    let larger = ClientId([0xff; 20]);
    let smaller = ClientId([0; 20]);
    for dialled_first in [true, false] {
        assert_eq!(survivor(larger, dialled_first), "accepted");
        assert_eq!(survivor(smaller, dialled_first), "dialled");
    }
}

/// A client that reaches us by two addresses, as one with IPv4 and IPv6 does.
#[test]
fn of_two_dials_of_one_side_the_older_stays_while_it_lives() {
    for theirs in [[0xff; 20], [0; 20]] {
        let mut rig = Rig::new();
        let torrent = rig.leech(&metainfo("t", 2, 2));
        let remote = Remote {
            client_id: ClientId(theirs),
            ..Remote::modern(1)
        };
        let older = rig.join(torrent, remote);
        let newer = rig.accept();
        rig.shake(newer, torrent, remote);
        assert!(!rig.is_closing(older) && rig.is_closing(newer));
        // Before and after the driver has closed it.
        rig.session.check_invariants();
        rig.close_closing();
        rig.session.check_invariants();
        rig.advance(super::rig::secs(130));
        let newest = rig.accept();
        rig.shake(newest, torrent, remote);
        assert!(rig.is_closing(older), "it has said nothing for too long");
        assert!(!rig.is_closing(newest));
        rig.close_closing();
        assert_eq!(rig.torrent(torrent).peer_count, 1);
    }
}

#[test]
fn one_client_may_have_a_connection_for_each_torrent() {
    let mut rig = Rig::new();
    let a = rig.leech(&metainfo("a", 2, 2));
    let b = rig.leech(&metainfo("b", 2, 2));
    let first = rig.join(a, Remote::modern(1));
    let second = rig.join(b, Remote::modern(1));
    assert!(!rig.is_closing(first) && !rig.is_closing(second));
}

pub(super) fn dial(rig: &mut Rig, torrent_id: TorrentId, addr: &str) -> PeerIndex {
    let peers: Vec<SocketAddr> = vec![addr.parse().expect("an address")];
    rig.command(Command::AddPeers { torrent_id, peers });
    rig.dialled()
}

#[test]
fn a_magnet_says_that_it_has_nothing_and_does_not_look_like_a_seed() {
    let mut rig = Rig::new();
    let whole = metainfo("t", 2, 2);
    let mut add = adding(&whole);
    add.source = super::magnets::magnet(whole.info_hash);
    rig.command(Command::AddTorrent(Box::new(add)));
    let peer = rig.accept();
    rig.shake(peer, whole.torrent_id(), Remote::modern(1));
    let sent = sent_to(&rig.take(), peer);
    let Message::Extended { payload, .. } = &sent[0] else {
        panic!("{sent:?}");
    };
    let said = crate::wire::extended::ExtendedHandshake::decode(payload).expect("our own");
    assert_eq!(said.upload_only, None);
    assert_eq!(said.metadata_size, None);
    assert_eq!(sent[1], Message::HaveNone);
}

/// Pieces that a peer is thought to have.
fn has(rig: &Rig, peer: PeerIndex) -> u32 {
    let views = rig.session.peers(None);
    let view = views.iter().find(|view| view.peer == peer);
    view.expect("connected").piece_have_count
}

#[test]
fn a_peer_may_repeat_its_bitfield_whenever_it_has_more() {
    let mut rig = Rig::new();
    let torrent = rig.seed(&metainfo("t", 40, 1));
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    for count in 1..=40 {
        let have = (0..40).map(|piece| u8::from(piece < count));
        let have: Vec<u8> = have.collect();
        let bits = have
            .chunks(8)
            .map(|byte| byte.iter().fold(0, |bits, bit| bits << 1 | bit));
        rig.says(peer, [Message::Bitfield(bits.collect())]);
        assert_eq!(has(&rig, peer), count);
    }
    rig.says(peer, [Message::HaveNone, Message::HaveAll]);
    assert_eq!(has(&rig, peer), 40);
    assert!(!rig.wire(peer).closing);
}
