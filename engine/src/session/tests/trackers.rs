//! UDP trackers: asked by the session itself, from the host's name to the answer.

use std::net::SocketAddr;

use seedbank_ledger::Instant;

use super::Rig;
use super::rig::{adding, config, events, finish, secs};
use crate::content::magnet::Magnet;
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::discovery::ResolveError;
use crate::discovery::host::Host;
use crate::discovery::reach::Zone;
use crate::interface::command::{Command, TorrentSource};
use crate::interface::config::SessionConfig;
use crate::interface::event::SessionEvent;
use crate::interface::input::Input;
use crate::units::TorrentId;

const URL: &str = "udp://tracker.example:6969/announce";
/// Of an announce's datagram, without the options of BEP 41.
const ANNOUNCE_LEN: usize = 98;

fn tracker() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 9], 6969))
}

fn tracked(name: &str) -> Metainfo {
    finish(&MetainfoDraft {
        name: name.to_owned(),
        content: DraftContent::File(100_000),
        piece_len: 16_384,
        trackers: vec![vec![URL.to_owned()]],
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

/// The host's name leads to the tracker.
fn resolve(rig: &mut Rig) {
    let (host, port) = rig.plane.resolving.remove(0);
    assert_eq!((host.as_str(), port), ("tracker.example", 6969));
    let result = Ok(vec![tracker()]);
    rig.input(Input::Resolved { host, port, result });
}

/// The one datagram that went out, to the tracker.
fn sent(rig: &mut Rig) -> Vec<u8> {
    let mut datagrams = std::mem::take(&mut rig.plane.datagrams);
    let (to, bytes) = datagrams.pop().expect("a datagram");
    assert_eq!(datagrams, []);
    assert_eq!(to, tracker());
    bytes
}

fn is_connect(datagram: &[u8]) -> bool {
    datagram.len() == 16 && datagram[8..12] == [0; 4]
}

fn event(announce: &[u8]) -> u8 {
    assert!(announce.len() >= ANNOUNCE_LEN, "{announce:?}");
    assert_eq!(announce[8..12], [0, 0, 0, 1]);
    announce[83]
}

fn answer(action: u8, to: &[u8], rest: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, action], &to[12..16], rest].concat()
}

fn hear(rig: &mut Rig, from: SocketAddr, bytes: Vec<u8>) {
    rig.input(Input::Datagram { from, bytes });
}

/// Interval of half an hour, nobody else, and one peer.
fn reply(to: &[u8], port: u16) -> Vec<u8> {
    let numbers = [1_800_u32, 0, 0].map(u32::to_be_bytes).concat();
    let peer = [&[127, 0, 0, 1][..], &port.to_be_bytes()].concat();
    answer(1, to, &[numbers, peer].concat())
}

/// A torrent that the tracker has answered, and that wants nobody.
fn known(rig: &mut Rig) {
    rig.seed(&tracked("one"));
    resolve(rig);
    let connect = sent(rig);
    hear(rig, tracker(), answer(0, &connect, &[9; 8]));
    let announce = sent(rig);
    hear(rig, tracker(), reply(&announce, 7_000));
}

fn failures(rig: &mut Rig) -> Vec<String> {
    let failed = events(&rig.take())
        .into_iter()
        .filter_map(|event| match event {
            SessionEvent::TrackerFailed { reason, .. } => Some(reason),
            _ => None,
        });
    failed.collect()
}

fn status(rig: &Rig, torrent_id: TorrentId) -> String {
    rig.torrent(torrent_id).trackers[0].status.clone()
}

#[test]
fn an_announce_goes_from_the_name_to_the_peers() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&tracked("one"));
    assert!(rig.plane.datagrams.is_empty(), "nobody knows where to");
    resolve(&mut rig);
    let connect = sent(&mut rig);
    assert!(is_connect(&connect));
    hear(&mut rig, tracker(), answer(0, &connect, &[9; 8]));
    let announce = sent(&mut rig);
    assert_eq!(event(&announce), 2, "started");
    assert_eq!(announce[..8], [9; 8]);
    assert_ne!(announce[12..16], connect[12..16]);
    hear(&mut rig, tracker(), reply(&announce, 7_000));
    let peer = SocketAddr::from(([127, 0, 0, 1], 7_000));
    assert_eq!(rig.plane.dials, [(torrent_id, peer)]);
    assert_eq!(status(&rig, torrent_id), "1 peers, 0 seeds, 0 leechers");
    assert!(rig.plane.announces.is_empty(), "the driver is not asked");
}

#[test]
fn what_is_lost_is_sent_again_after_15_and_30_seconds_and_given_up_after_105() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&tracked("one"));
    resolve(&mut rig);
    let begun = rig.now;
    let mut sent_at = Vec::new();
    let mut at = |rig: &Rig, when: Instant| {
        for (_, datagram) in &rig.plane.datagrams {
            assert!(is_connect(datagram));
            sent_at.push(when.since(begun));
        }
    };
    let now = rig.now;
    at(&rig, now);
    for _ in 0..104 {
        rig.plane.datagrams.clear();
        rig.advance(secs(1));
        let now = rig.now;
        at(&rig, now);
    }
    assert_eq!(sent_at, [secs(0), secs(15), secs(45)]);
    assert_eq!(status(&rig, torrent_id), "announcing");
    assert_eq!(failures(&mut rig), [""; 0]);
    rig.advance(secs(1));
    let failures = failures(&mut rig);
    let [reason] = &failures[..] else {
        panic!("{failures:?}");
    };
    assert!(reason.contains("no answer to 3 datagrams"), "{reason}");
    rig.advance(secs(15));
    resolve(&mut rig);
    assert!(is_connect(&sent(&mut rig)), "and it begins anew");
}

#[test]
fn a_second_announce_within_a_minute_uses_the_same_connection() {
    let mut rig = Rig::new();
    known(&mut rig);
    rig.advance(secs(50));
    rig.plane.datagrams.clear();
    rig.seed(&tracked("two"));
    resolve(&mut rig);
    let announce = sent(&mut rig);
    assert_eq!(event(&announce), 2);
    assert_eq!(announce[..8], [9; 8]);
    hear(&mut rig, tracker(), reply(&announce, 7_001));
    rig.advance(secs(10));
    rig.plane.datagrams.clear();
    rig.seed(&tracked("three"));
    resolve(&mut rig);
    assert!(is_connect(&sent(&mut rig)), "a minute is over");
}

#[test]
fn a_foreign_or_replayed_answer_is_ignored() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&tracked("one"));
    resolve(&mut rig);
    let connect = sent(&mut rig);
    let stranger = SocketAddr::from(([127, 0, 0, 8], 6969));
    hear(&mut rig, stranger, answer(0, &connect, &[6; 8]));
    assert!(rig.plane.datagrams.is_empty());
    hear(&mut rig, tracker(), answer(0, &connect, &[9; 8]));
    let announce = sent(&mut rig);
    hear(&mut rig, tracker(), answer(0, &connect, &[6; 8]));
    hear(&mut rig, stranger, reply(&announce, 7_000));
    hear(&mut rig, stranger, answer(3, &announce, b"go away"));
    hear(&mut rig, tracker(), reply(&connect, 7_000));
    assert!(rig.plane.datagrams.is_empty());
    assert!(rig.plane.dials.is_empty());
    assert_eq!(status(&rig, torrent_id), "announcing");
    hear(&mut rig, tracker(), reply(&announce, 7_000));
    assert_eq!(rig.plane.dials.len(), 1);
    hear(&mut rig, tracker(), reply(&announce, 7_001));
    assert_eq!(rig.plane.dials.len(), 1, "nobody waits for it any more");
}

#[test]
fn a_name_without_an_address_fails_the_announce() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&tracked("one"));
    let (host, port) = rig.plane.resolving.remove(0);
    let result = Err(ResolveError("no such host".to_owned()));
    rig.input(Input::Resolved { host, port, result });
    assert_eq!(failures(&mut rig), ["cannot reach it: no such host"]);
    assert_eq!(status(&rig, torrent_id), "cannot reach it: no such host");
    rig.advance(secs(15));
    resolve(&mut rig);
    assert!(is_connect(&sent(&mut rig)), "and is tried again");
}

#[test]
fn a_refusal_fails_the_announce() {
    let mut rig = Rig::new();
    rig.leech(&tracked("one"));
    resolve(&mut rig);
    let connect = sent(&mut rig);
    hear(&mut rig, tracker(), answer(3, &connect, b"go away"));
    assert_eq!(failures(&mut rig), ["tracker refused: go away"]);
}

#[test]
fn a_shutdown_waits_until_the_tracker_knows() {
    let mut rig = Rig::new();
    known(&mut rig);
    rig.command(Command::Shutdown);
    assert!(!rig.session.is_finished());
    resolve(&mut rig);
    let stopped = sent(&mut rig);
    assert_eq!(event(&stopped), 3, "the leave is still good");
    assert!(!rig.session.is_finished());
    hear(&mut rig, tracker(), reply(&stopped, 7_000));
    assert!(rig.session.is_finished());
}

#[test]
fn a_shutdown_does_not_wait_for_a_tracker_that_has_not_heard_of_us() {
    let mut rig = Rig::new();
    rig.leech(&tracked("one"));
    resolve(&mut rig);
    assert!(is_connect(&sent(&mut rig)));
    rig.command(Command::Shutdown);
    assert!(rig.session.is_finished());
}

/// A session that listens for all the world.
fn in_the_open() -> Rig {
    Rig::with(SessionConfig {
        home: Zone::Public,
        own_hosts: ours().map(|addr| Some(Host::of(addr.ip()))),
        ..config()
    })
}

/// Places at the node's own address, and beside it.
fn ours() -> [SocketAddr; 2] {
    ["9.9.9.9:6881", "[2600:0:0:1::7]:6881"].map(|addr| addr.parse().expect("an address"))
}

#[test]
fn n7_a_tracker_nearby_is_refused_until_the_owner_names_it() {
    let mut rig = in_the_open();
    let torrent_id = rig.leech(&tracked("one"));
    resolve(&mut rig);
    assert!(rig.plane.datagrams.is_empty(), "nothing is sent there");
    let advice = "refused: 127.0.0.9 is a loopback address; add it with --tracker to allow it";
    assert_eq!(status(&rig, torrent_id), advice);
    let mut again = adding(&tracked("one"));
    again.trackers = vec![URL.to_owned()];
    rig.command(Command::AddTorrent(Box::new(again)));
    resolve(&mut rig);
    assert!(is_connect(&sent(&mut rig)));
    assert_eq!(rig.plane.records[&torrent_id].trackers, [URL], "for good");
}

#[test]
fn n7_the_first_address_in_reach_is_asked_whatever_else_a_name_says() {
    let mut rig = in_the_open();
    rig.leech(&tracked("one"));
    let (host, port) = rig.plane.resolving.remove(0);
    let open = SocketAddr::from(([8, 8, 8, 8], 6969));
    let [own, beside] = ours();
    let result = Ok(vec![tracker(), own, beside, open]);
    rig.input(Input::Resolved { host, port, result });
    let (to, connect) = rig.plane.datagrams.remove(0);
    assert_eq!(to, open);
    // It names nobody nearby, and no service of a machine.
    hear(&mut rig, open, answer(0, &connect, &[9; 8]));
    let (_, announce) = rig.plane.datagrams.remove(0);
    hear(&mut rig, open, reply(&announce, 7_000));
    assert_eq!(rig.plane.dials, []);
}

#[test]
fn n7_no_tracker_names_the_services_of_a_machine() {
    let mut rig = Rig::new();
    let torrent_id = rig.leech(&tracked("one"));
    resolve(&mut rig);
    let connect = sent(&mut rig);
    hear(&mut rig, tracker(), answer(0, &connect, &[9; 8]));
    let announce = sent(&mut rig);
    hear(&mut rig, tracker(), reply(&announce, 22));
    assert_eq!(rig.plane.dials, []);
    // The owner may.
    let ssh = SocketAddr::from(([127, 0, 0, 1], 22));
    rig.command(Command::AddPeers {
        torrent_id,
        peers: vec![ssh],
    });
    assert_eq!(rig.plane.dials, [(torrent_id, ssh)]);
}

#[test]
fn n7_a_magnet_names_peers_in_the_open_only() {
    let mut rig = in_the_open();
    let open = SocketAddr::from(([8, 8, 8, 8], 6881));
    let ssh = SocketAddr::from(([8, 8, 8, 8], 22));
    let near = SocketAddr::from(([192, 168, 0, 1], 6881));
    let mut add = adding(&tracked("one"));
    add.source = TorrentSource::Magnet(Box::new(Magnet {
        info_hash: add.info_hash(),
        name: None,
        trackers: Vec::new(),
        peers: [near, ssh, open].into_iter().chain(ours()).collect(),
    }));
    let torrent_id = add.torrent_id();
    rig.command(Command::AddTorrent(Box::new(add)));
    assert_eq!(rig.plane.dials, [(torrent_id, open)]);
}
