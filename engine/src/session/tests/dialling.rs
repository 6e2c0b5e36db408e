//! Whom we connect to, how often, and how many.

use std::net::SocketAddr;

use super::rig::{adding, config, finish, metainfo, millis, secs};
use super::{Remote, Rig};
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::discovery::tracker::{AnnounceEvent, AnnounceReply};
use crate::interface::command::Command;
use crate::interface::config::SessionConfig;
use crate::interface::event::SessionEvent;
use crate::interface::input::{FailureReason, Input};
use crate::interface::output::Output;
use crate::units::TorrentId;
use crate::wire::extended::ExtendedHandshake;
use crate::wire::message::Message;

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn tracked(private: bool) -> Metainfo {
    finish(&MetainfoDraft {
        name: "tracked".to_owned(),
        content: DraftContent::File(100_000),
        piece_len: 16_384,
        trackers: vec![vec!["http://tracker.example/announce".to_owned()]],
        private,
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

fn answer(rig: &mut Rig, peers: Vec<SocketAddr>) {
    let (torrent_id, tracker) = rig.plane.announces.remove(0);
    let reply = AnnounceReply {
        interval: secs(1_800),
        interval_min: None,
        seeds: None,
        leechers: None,
        peers,
        warning: None,
    };
    let result = Ok(reply);
    rig.input(Input::Announced {
        torrent_id,
        tracker,
        result,
    });
}

/// How long a dial that fails each time waits, dial by dial.
fn waits(rig: &mut Rig, mut end: impl FnMut(&mut Rig), count: usize) -> Vec<u64> {
    let mut waits = Vec::new();
    let mut last = rig.now;
    for _ in 0..count {
        end(rig);
        while rig.plane.dials.is_empty() {
            rig.advance(millis(500));
            assert!(rig.now.since(last) < secs(1_000), "never dialled again");
        }
        waits.push(rig.now.since(last).as_secs());
        last = rig.now;
    }
    waits
}

#[test]
fn a_dial_that_fails_is_tried_ever_later() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&metainfo("t", 2, 2));
    rig.command(Command::AddPeers {
        torrent_id,
        peers: vec![addr(7_000)],
    });
    let waits = waits(
        &mut rig,
        |rig| {
            let (torrent_id, addr) = rig.plane.dials.remove(0);
            rig.input(Input::DialFailed {
                torrent_id,
                addr,
                reason: FailureReason::Refused,
            });
        },
        12,
    );
    assert!(waits.is_sorted(), "{waits:?}");
    assert!((2..=3).contains(&waits[0]) && waits[11] >= 600, "{waits:?}");
}

/// What is shown of the addresses that were dialled in vain: reason and count.
fn unreached(rig: &Rig, torrent_id: TorrentId) -> Vec<(FailureReason, u32)> {
    let views = rig.torrent(torrent_id).unreached;
    views.iter().map(|view| (view.reason, view.count)).collect()
}

fn told(outputs: &[Output]) -> Vec<(SocketAddr, FailureReason)> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Event(SessionEvent::PeerUnreached { addr, reason, .. }) => Some((*addr, *reason)),
        _ => None,
    });
    told.collect()
}

#[test]
fn i2_dials_and_handshakes_in_vain_are_shown_and_told_with_their_reason() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&metainfo("t", 2, 2));
    let other = rig.leech(&metainfo("u", 2, 2));
    let peers: Vec<_> = (7_000..7_007).map(addr).collect();
    rig.command(Command::AddPeers { torrent_id, peers });
    rig.take();
    for reason in [FailureReason::Refused, FailureReason::TimedOut] {
        let (torrent_id, addr) = rig.plane.dials.remove(0);
        rig.input(Input::DialFailed {
            torrent_id,
            addr,
            reason,
        });
    }
    // Closed by the peer, with and without a word from the driver.
    for failure in [None, Some(FailureReason::Silent)] {
        let peer = rig.dialled();
        rig.plane.wires.remove(&peer);
        rig.input(Input::Closed {
            peer,
            reason: "ended".to_owned(),
            failure,
        });
    }
    let own = rig.own_id(torrent_id);
    let ourselves = rig.dialled();
    rig.shake(
        ourselves,
        torrent_id,
        Remote {
            client_id: own,
            ..Remote::modern(1)
        },
    );
    let wrong = rig.dialled();
    rig.shake(wrong, other, Remote::modern(2));
    let good = rig.dialled();
    rig.shake(good, torrent_id, Remote::modern(3));
    rig.close_closing();
    let expected = [
        FailureReason::Refused,
        FailureReason::TimedOut,
        FailureReason::Closed,
        FailureReason::Silent,
        FailureReason::WrongTorrent,
        FailureReason::Own,
    ];
    assert_eq!(
        unreached(&rig, torrent_id),
        expected.map(|reason| (reason, 1))
    );
    assert!(unreached(&rig, other).is_empty());
    let told = told(&rig.take());
    assert_eq!(told.len(), expected.len(), "{told:?}");
    assert!(
        expected
            .iter()
            .all(|reason| told.iter().any(|it| it.1 == *reason))
    );
    // What worked once and ended then is no failure.
    rig.close(good);
    assert_eq!(unreached(&rig, torrent_id).len(), expected.len());
}

#[test]
fn i2_an_address_that_fails_again_is_told_once_and_forgotten_once_it_is_reached() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&metainfo("t", 2, 2));
    rig.command(Command::AddPeers {
        torrent_id,
        peers: vec![addr(7_000)],
    });
    rig.take();
    for _ in 0..5 {
        while rig.plane.dials.is_empty() {
            rig.advance(secs(1));
        }
        let (torrent_id, addr) = rig.plane.dials.remove(0);
        rig.input(Input::DialFailed {
            torrent_id,
            addr,
            reason: FailureReason::Refused,
        });
    }
    assert_eq!(told(&rig.take()), [(addr(7_000), FailureReason::Refused)]);
    assert_eq!(unreached(&rig, torrent_id), [(FailureReason::Refused, 1)]);
    while rig.plane.dials.is_empty() {
        rig.advance(secs(1));
    }
    // What the session closes for reasons of its own is nobody's failure.
    rig.command(Command::StopTorrent(torrent_id));
    let peer = rig.dialled();
    assert!(rig.is_closing(peer));
    rig.close_closing();
    assert_eq!(unreached(&rig, torrent_id), [(FailureReason::Refused, 1)]);
    rig.command(Command::StartTorrent(torrent_id));
    assert!(unreached(&rig, torrent_id).is_empty(), "it starts anew");
}

#[test]
fn a_peer_that_closes_before_it_was_of_use_is_tried_ever_later() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&metainfo("t", 2, 2));
    rig.command(Command::AddPeers {
        torrent_id,
        peers: vec![addr(7_000)],
    });
    let end = |rig: &mut Rig| {
        let peer = rig.dialled();
        rig.shake(peer, torrent_id, Remote::modern(1));
        rig.close(peer);
    };
    let waits = waits(&mut rig, end, 8);
    assert!(waits.is_sorted() && waits[7] >= 200, "{waits:?}");
}

#[test]
fn no_more_is_dialled_than_connections_are_allowed() {
    let mut rig = Rig::with(SessionConfig {
        connections_max: 5,
        ..config()
    });
    for name in ["a", "b", "c"] {
        let torrent_id = rig.leech(&metainfo(name, 2, 2));
        let peers = (0..50).map(|port| addr(7_000 + port)).collect();
        rig.command(Command::AddPeers { torrent_id, peers });
        rig.advance(secs(2));
    }
    assert_eq!(rig.plane.dials.len(), 5);
    for name in 0..5 {
        let torrent_id = rig.plane.dials[0].0;
        let peer = rig.dialled();
        rig.shake(peer, torrent_id, Remote::modern(name));
        rig.advance(secs(1));
    }
    assert!(rig.plane.dials.is_empty());
    assert_eq!(rig.session.peers(None).len(), 5);
}

#[test]
fn a_connection_past_the_limit_is_closed_unless_somebody_goes_for_it() {
    let mut rig = Rig::with(SessionConfig {
        connections_max: 2,
        ..config()
    });
    let torrent = rig.seed(&metainfo("t", 2, 2));
    let kept = [
        rig.join(torrent, Remote::modern(1)),
        rig.join(torrent, Remote::modern(2)),
    ];
    let third = rig.join(torrent, Remote::modern(3));
    assert!(rig.is_closing(third));
    rig.close(third);
    assert!(kept.iter().all(|peer| !rig.is_closing(*peer)));
    rig.close(kept[0]);
    let fourth = rig.join(torrent, Remote::modern(4));
    assert!(!rig.is_closing(fourth));
}

#[test]
fn what_a_tracker_names_is_dialled_but_for_what_cannot_be_a_peer() {
    let mut rig = Rig::new();
    let whole = tracked(false);
    rig.leech(&whole);
    let unusable = ["0.0.0.0:1", "224.0.0.1:5", "127.0.0.1:0", "[::]:9"];
    let mut peers: Vec<SocketAddr> = unusable.iter().map(|text| text.parse().unwrap()).collect();
    peers.extend([
        addr(7_000),
        addr(7_000),
        "[::ffff:127.0.0.1]:7000".parse().unwrap(),
    ]);
    answer(&mut rig, peers);
    assert_eq!(rig.plane.dials, [(whole.torrent_id(), addr(7_000))]);
}

#[test]
fn addresses_without_end_are_not_all_kept_and_the_owners_go_first() {
    let mut rig = Rig::new();
    let whole = tracked(false);
    let torrent_id = rig.leech(&whole);
    for round in 0..4_u8 {
        let peers = (1..=1_000)
            .map(|port| SocketAddr::from(([10, 0, 0, round], port)))
            .collect();
        rig.plane.announces = vec![(torrent_id, "http://tracker.example/announce".to_owned())];
        answer(&mut rig, peers);
    }
    let mine = addr(7_000);
    rig.command(Command::AddPeers {
        torrent_id,
        peers: vec![mine],
    });
    for _ in 0..100 {
        let Some((torrent_id, addr)) = rig.plane.dials.pop() else {
            break;
        };
        if addr == mine {
            return;
        }
        rig.input(Input::DialFailed {
            torrent_id,
            addr,
            reason: FailureReason::Refused,
        });
        rig.advance(millis(500));
    }
    panic!("the owner's peer is dialled soon");
}

#[test]
fn a_private_torrents_magnet_links_and_peers_are_not_asked_for_others() {
    // There is no peer exchange, DHT or local discovery yet: what a private torrent knows comes
    // from its trackers and its owner. The extended handshake offers nothing else.
    let mut rig = Rig::new();
    let whole = tracked(true);
    let torrent = rig.leech(&whole);
    let peer = rig.accept();
    rig.shake(peer, torrent, Remote::modern(1));
    let offered = super::rig::sent_to(&rig.take(), peer);
    let Message::Extended { payload, .. } = &offered[0] else {
        panic!("{offered:?}");
    };
    let said = ExtendedHandshake::decode(payload).expect("our own");
    assert_eq!(said.id_of("ut_pex"), None);
    assert_eq!(
        said.metadata_size, None,
        "what it would lead to is not told either"
    );
}

fn announced(outputs: &[Output]) -> Vec<(AnnounceEvent, u64)> {
    let announces = outputs.iter().filter_map(|output| match output {
        Output::Announce { request, .. } => Some((request.event, request.left)),
        _ => None,
    });
    announces.collect()
}

#[test]
fn a_torrent_announces_itself_when_what_it_has_is_known() {
    let mut rig = Rig::new();
    let whole = tracked(false);
    rig.know(&whole, &[0, 1, 2, 3, 4, 5, 6]);
    rig.command(Command::AddTorrent(Box::new(adding(&whole))));
    rig.advance(secs(30));
    assert_eq!(
        announced(&rig.take()),
        [],
        "nobody could connect, and left is not known"
    );
    rig.checked(whole.torrent_id());
    assert_eq!(announced(&rig.take()), [(AnnounceEvent::Started, 0)]);
}

#[test]
fn completing_is_announced_once_and_stopping_too() {
    let mut rig = Rig::new();
    let whole = tracked(false);
    let torrent = rig.leech(&whole);
    answer(&mut rig, Vec::new());
    let peer = rig.join_seed(torrent, 1);
    while rig.answer_all(peer, true) > 0 {
        rig.hash_all();
    }
    let mut said = announced(&rig.take());
    while !rig.plane.announces.is_empty() {
        answer(&mut rig, Vec::new());
        rig.advance(secs(1_900));
        said.extend(announced(&rig.take()));
        if said.len() > 4 {
            break;
        }
    }
    let completed = said
        .iter()
        .filter(|(event, _)| *event == AnnounceEvent::Completed);
    assert_eq!(completed.count(), 1, "{said:?}");
    rig.command(Command::StopTorrent(torrent));
    rig.advance(secs(10));
    let said = announced(&rig.take());
    let stopped = said
        .iter()
        .filter(|(event, _)| *event == AnnounceEvent::Stopped);
    assert_eq!(stopped.count(), 1, "{said:?}");
}

#[test]
fn a_peer_that_connected_to_us_is_not_dialled_where_it_listens() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&tracked(false));
    let peer = rig.join(torrent, Remote::modern(1));
    let said = ExtendedHandshake {
        port: Some(7_000),
        ..ExtendedHandshake::default()
    };
    rig.says_extended(peer, &said);
    answer(&mut rig, vec![addr(7_000), addr(7_001)]);
    rig.advance(secs(10));
    assert_eq!(rig.plane.dials, [(torrent, addr(7_001))]);

    rig.close(peer);
    rig.advance(secs(1));
    assert_eq!(rig.plane.dials.len(), 2);
}
