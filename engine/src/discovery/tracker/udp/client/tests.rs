//! Many announces at once: one resolution a host, bounds, and what replaces what.

use proptest::prelude::*;

use seedbank_ledger::Duration;

use super::*;
use crate::discovery::reach::Zone;
use crate::rng::Rng;
use crate::units::{ClientId, InfoHash};

const HOST: &str = "tracker.example";

fn tracker() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 6969))
}

fn at(secs: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(secs))
}

fn question(torrent: u16) -> UdpQuestion {
    let mut id = [0; 20];
    id[..2].copy_from_slice(&torrent.to_be_bytes());
    UdpQuestion {
        torrent_id: TorrentId(id),
        tracker: format!("udp://{HOST}:6969"),
    }
}

fn ask(client: &mut UdpClient, torrent: u16, event: AnnounceEvent) {
    let target = UdpTarget {
        host: HOST.to_owned(),
        port: 6969,
        path: String::new(),
    };
    let request = AnnounceRequest {
        info_hash: InfoHash([1; 20]),
        client_id: ClientId([2; 20]),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 0,
        event,
        num_want: 50,
        key: 0,
    };
    let stopped = u64::from(event == AnnounceEvent::Stopped);
    let mut rng = Rng::new(u64::from(torrent) * 2 + stopped);
    let ids = [(); 2].map(|()| u32::try_from(rng.below(1 << 32)).unwrap());
    client.ask(
        question(torrent),
        target,
        request,
        Reach::new(Zone::Loopback),
        ids,
    );
    client.check_invariants();
}

fn resolve(client: &mut UdpClient, now: Instant) {
    client.resolved(HOST, 6969, &Ok(vec![tracker()]), now);
    client.check_invariants();
}

fn outputs(client: &mut UdpClient) -> Vec<UdpOutput> {
    std::iter::from_fn(|| client.poll_output()).collect()
}

fn sent(client: &mut UdpClient) -> Vec<Vec<u8>> {
    let sent = outputs(client).into_iter().map(|output| match output {
        UdpOutput::Send { to, bytes } if to == tracker() => bytes,
        other => panic!("{other:?}"),
    });
    sent.collect()
}

/// An answer to a datagram of ours.
fn answer(action: u32, to: &[u8], rest: &[u8]) -> Vec<u8> {
    [&action.to_be_bytes()[..], &to[12..16], rest].concat()
}

/// A client whose torrent 1 has the tracker's leave and has just announced itself.
fn announcing() -> (UdpClient, Vec<u8>) {
    let mut client = UdpClient::default();
    ask(&mut client, 1, AnnounceEvent::Started);
    outputs(&mut client);
    resolve(&mut client, at(0));
    let connect = sent(&mut client).remove(0);
    client.handle(tracker(), &answer(0, &connect, &[9; 8]), at(0));
    let announce = sent(&mut client).remove(0);
    (client, announce)
}

#[test]
fn a_host_is_resolved_once_for_all_who_wait_for_it() {
    let mut client = UdpClient::default();
    ask(&mut client, 1, AnnounceEvent::Started);
    ask(&mut client, 2, AnnounceEvent::Started);
    assert_eq!(
        outputs(&mut client),
        [UdpOutput::Resolve {
            host: HOST.to_owned(),
            port: 6969
        }]
    );
    resolve(&mut client, at(0));
    let connects = sent(&mut client);
    assert_eq!(connects.len(), 2);
    assert_ne!(connects[0][12..16], connects[1][12..16]);
    // Nobody waits for it any more.
    resolve(&mut client, at(1));
    assert_eq!(outputs(&mut client), []);
}

#[test]
fn a_host_without_an_address_fails_whoever_waits_for_it() {
    for result in [Ok(Vec::new()), Err(ResolveError("gone".to_owned()))] {
        let mut client = UdpClient::default();
        ask(&mut client, 1, AnnounceEvent::Started);
        outputs(&mut client);
        client.resolved(HOST, 6969, &result, at(0));
        let outputs = outputs(&mut client);
        let [UdpOutput::Answered { result: Err(_), .. }] = &outputs[..] else {
            panic!("{outputs:?}");
        };
        client.check_invariants();
        assert!(client.asked.is_empty());
    }
}

#[test]
fn announces_without_end_are_refused_at_the_bound() {
    let mut client = UdpClient::default();
    let max = u16::try_from(UDP_ANNOUNCES_MAX).unwrap();
    for torrent in 0..max {
        ask(&mut client, torrent, AnnounceEvent::Started);
    }
    assert_eq!(outputs(&mut client).len(), 1);
    ask(&mut client, max, AnnounceEvent::Started);
    let outputs = outputs(&mut client);
    let [
        UdpOutput::Answered {
            question: of,
            result,
        },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(*of, question(max));
    assert!(result.is_err());
    assert_eq!(client.asked.len(), UDP_ANNOUNCES_MAX);
}

#[test]
fn leaves_to_announce_are_kept_up_to_a_bound() {
    let mut client = UdpClient::default();
    let max = u16::try_from(CONNECTIONS_MAX).unwrap();
    for port in 1_024..max + 1_034 {
        ask(&mut client, 1, AnnounceEvent::Started);
        outputs(&mut client);
        let to = SocketAddr::from(([10, 0, 0, 1], port));
        client.resolved(HOST, 6969, &Ok(vec![to]), at(0));
        let Some(UdpOutput::Send { bytes, .. }) = client.poll_output() else {
            panic!("it connects");
        };
        client.handle(to, &answer(0, &bytes, &[9; 8]), at(0));
        outputs(&mut client);
        client.check_invariants();
    }
    assert_eq!(client.connections.len(), CONNECTIONS_MAX);
}

#[test]
fn a_later_announce_takes_the_place_of_an_earlier_one() {
    let (mut client, announce) = announcing();
    ask(&mut client, 1, AnnounceEvent::Stopped);
    assert!(!client.is_finished());
    outputs(&mut client);
    resolve(&mut client, at(1));
    let stopped = sent(&mut client).remove(0);
    assert_eq!(stopped[83], 3, "it announces at once, under the same leave");
    // The answer to what was given up.
    client.handle(tracker(), &answer(1, &announce, &[0; 12]), at(1));
    assert_eq!(outputs(&mut client), []);
    client.handle(tracker(), &answer(1, &stopped, &[0; 12]), at(1));
    assert!(client.is_finished());
    assert_eq!(outputs(&mut client).len(), 1);
    client.tick(at(500));
    assert_eq!(outputs(&mut client), [], "nothing is repeated");
}

#[test]
fn a_tracker_that_never_heard_of_us_is_not_told_that_we_leave() {
    for resolved in [false, true] {
        let mut client = UdpClient::default();
        ask(&mut client, 1, AnnounceEvent::Started);
        if resolved {
            resolve(&mut client, at(0));
        }
        outputs(&mut client);
        ask(&mut client, 1, AnnounceEvent::Stopped);
        assert!(client.is_finished());
        assert_eq!(client.next_timeout(), None);
        assert_eq!(outputs(&mut client), []);
    }
}

#[test]
fn what_nobody_waits_for_leaves_no_trace() {
    let (mut client, announce) = announcing();
    let before = format!("{client:?}");
    let reply = answer(1, &announce, &[0; 12]);
    let foreign = SocketAddr::from(([10, 0, 0, 2], 6969));
    let other_port = SocketAddr::from(([10, 0, 0, 1], 6970));
    let mut other_id = reply.clone();
    other_id[7] ^= 1;
    let too_long = [&reply[..], &vec![0; DATAGRAM_LEN_MAX]].concat();
    for (from, datagram) in [
        (foreign, &reply[..]),
        (other_port, &reply),
        (tracker(), &other_id),
        (tracker(), &too_long),
        (tracker(), &reply[..19]),
        (tracker(), &reply[..7]),
        (tracker(), &[]),
    ] {
        client.handle(from, datagram, at(1));
        assert_eq!(format!("{client:?}"), before);
    }
    client.handle(tracker(), &reply, at(1));
    assert_eq!(outputs(&mut client).len(), 1);
    let after = format!("{client:?}");
    client.handle(tracker(), &reply, at(1));
    assert_eq!(format!("{client:?}"), after, "nor does it come twice");
}

proptest! {
    #[test]
    fn garbage_never_panics(action in 0_u32..5, ours: bool, rest: Vec<u8>, secs in 0_u64..200) {
        let (mut client, announce) = announcing();
        let datagram = if ours { answer(action, &announce, &rest) } else { rest };
        client.handle(tracker(), &datagram, at(secs));
        client.tick(at(secs));
        client.check_invariants();
    }
}
