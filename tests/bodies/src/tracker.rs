//! What trackers answer, and the URLs that lead to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use seedbank_engine::content::bencode::{Dict, Value};
use seedbank_engine::discovery::reach::{Reach, Zone};
use seedbank_engine::discovery::tracker::http::{announce_url, parse_reply};
use seedbank_engine::discovery::tracker::udp::client::{UdpClient, UdpOutput, UdpQuestion};
use seedbank_engine::discovery::tracker::url::{TrackerUrl, UdpTarget};
use seedbank_engine::discovery::tracker::{
    AnnounceError, AnnounceEvent, AnnounceReply, AnnounceRequest, INTERVAL_LONGEST,
    INTERVAL_SHORTEST, PEERS_MAX, TEXT_MAX,
};
use seedbank_engine::units::{ClientId, InfoHash, TorrentId};
use seedbank_ledger::{Duration, Instant};

use crate::content::check_text;

const IDS: [u32; 2] = [0x0a0b_0c0d, 0x1a1b_1c1d];

fn request(event: AnnounceEvent) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([0xa1; 20]),
        client_id: ClientId([0xb2; 20]),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event,
        num_want: 50,
        key: 7,
    }
}

/// The body of an HTTP tracker's answer: within bounds, and written again it says the same.
pub(crate) fn http(body: &[u8]) -> bool {
    match parse_reply(body) {
        Ok(reply) => {
            check_reply(&reply);
            let again = parse_reply(&written(&reply)).expect("what we write can be read");
            let sorted = |reply: &AnnounceReply| {
                let mut reply = reply.clone();
                reply.peers.sort_unstable();
                reply
            };
            assert_eq!(sorted(&again), sorted(&reply));
            true
        }
        Err(error) => {
            check_error(&error);
            false
        }
    }
}

fn check_reply(reply: &AnnounceReply) {
    let interval = INTERVAL_SHORTEST..=INTERVAL_LONGEST;
    assert!(interval.contains(&reply.interval));
    assert!(reply.interval_min.is_none_or(|min| interval.contains(&min)));
    let distinct: BTreeSet<&SocketAddr> = reply.peers.iter().collect();
    assert_eq!(distinct.len(), reply.peers.len());
    assert!(reply.peers.len() <= PEERS_MAX);
    for peer in &reply.peers {
        assert_eq!(peer.ip(), peer.ip().to_canonical());
        assert!(peer.port() != 0 && !peer.ip().is_unspecified() && !peer.ip().is_multicast());
        check_reach(*peer);
    }
    if let Some(warning) = &reply.warning {
        check_text(warning, TEXT_MAX);
    }
}

/// A stranger leads to the open internet only, at ports of peers.
fn check_reach(peer: SocketAddr) {
    if Reach::new(Zone::Public).peer(peer).is_err() {
        return;
    }
    assert!(peer.port() >= 1024);
    match peer.ip() {
        IpAddr::V4(ip) => {
            assert!(
                !ip.is_loopback() && !ip.is_private() && !ip.is_link_local(),
                "{ip}"
            );
            assert!(!ip.is_broadcast() && !ip.is_documentation(), "{ip}");
        }
        IpAddr::V6(ip) => {
            assert!(!ip.is_loopback() && ip.to_ipv4_mapped().is_none(), "{ip}");
            assert!(!ip.is_unique_local() && !ip.is_unicast_link_local(), "{ip}");
        }
    }
}

fn check_error(error: &AnnounceError) {
    match error {
        AnnounceError::Refused(text) => check_text(text, TEXT_MAX),
        AnnounceError::Malformed(text) | AnnounceError::Unreachable(text) => {
            check_text(text, TEXT_MAX);
        }
        AnnounceError::Forbidden(_) => {}
    }
}

/// The body that says this, peers in compact form.
fn written(reply: &AnnounceReply) -> Vec<u8> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for peer in &reply.peers {
        match peer.ip() {
            IpAddr::V4(ip) => v4.extend([&ip.octets()[..], &peer.port().to_be_bytes()].concat()),
            IpAddr::V6(ip) => v6.extend([&ip.octets()[..], &peer.port().to_be_bytes()].concat()),
        }
    }
    let secs = Duration::as_secs;
    Dict::new()
        .with("interval", secs(reply.interval))
        .with_some("min interval", reply.interval_min.map(secs))
        .with_some("complete", reply.seeds)
        .with_some("incomplete", reply.leechers)
        .with("peers", Value::Bytes(v4))
        .with("peers6", Value::Bytes(v6))
        .with_some("warning message", reply.warning.as_deref())
        .encode()
}

/// What a UDP tracker and others send while an announce is under way: each datagram behind its
/// length and a byte that says from whom, whether under the number that is awaited, and how long
/// after the one before.
pub(crate) fn udp(bytes: &[u8]) -> bool {
    let Some((first, mut script)) = bytes.split_first() else {
        return false;
    };
    let is_v6 = first & 1 == 1;
    let tracker: SocketAddr = match is_v6 {
        false => ([9, 9, 9, 9], 6969).into(),
        true => ([0x2600, 0, 0, 0, 0, 0, 0, 1], 6969).into(),
    };
    let mut now = Instant::ZERO;
    let mut client = asking(tracker, now);
    let mut awaited = drain(&mut client, tracker);
    let mut answers = 0;
    while let Some(([len, how], rest)) = script.split_first_chunk::<2>() {
        let len = usize::from(*len).min(rest.len());
        let (datagram, rest) = rest.split_at(len);
        script = rest;
        now = now.after(Duration::from_secs(u64::from(how >> 4) * 8));
        let mut datagram = datagram.to_vec();
        let (is_foreign, is_awaited) = (how & 3 == 3, how & 4 == 4);
        if let (true, Some(id), Some(place)) = (is_awaited, awaited.id, datagram.get_mut(4..8)) {
            place.copy_from_slice(&id.to_be_bytes());
        }
        let from = if is_foreign {
            ([9, 9, 9, 8], 6969).into()
        } else {
            tracker
        };
        let fits = awaited
            .id
            .is_some_and(|id| datagram.get(4..8) == Some(&id.to_be_bytes()));
        let before = client.next_timeout();
        client.handle(from, &datagram, now);
        client.check_invariants();
        if is_foreign || !fits {
            assert!(client.poll_output().is_none(), "nobody waits for that");
            assert_eq!(client.next_timeout(), before);
        }
        client.tick(now);
        client.check_invariants();
        let next = drain(&mut client, tracker);
        answers += next.answers;
        awaited.id = next.id.or(awaited.id.filter(|_| answers == 0));
        assert!(answers <= 1, "one announce, one answer");
    }
    // Whatever was said, it ends.
    for _ in 0..64 {
        let Some(at) = client.next_timeout() else {
            break;
        };
        client.tick(at);
        answers += drain(&mut client, tracker).answers;
    }
    assert_eq!((client.next_timeout(), answers), (None, 1));
    awaited.read || answers == 1 && awaited.id.is_none()
}

/// A client whose one announce waits for this tracker.
fn asking(tracker: SocketAddr, now: Instant) -> UdpClient {
    let mut client = UdpClient::default();
    let question = UdpQuestion {
        torrent_id: TorrentId([1; 20]),
        tracker: "udp://t:6969".to_owned(),
    };
    let target = UdpTarget {
        host: "t".to_owned(),
        port: 6969,
        path: "/announce".to_owned(),
    };
    let reach = Reach::new(Zone::Public);
    client.ask(
        question,
        target,
        request(AnnounceEvent::Started),
        reach,
        IDS,
    );
    client.resolved("t", 6969, &Ok(vec![tracker]), now);
    client
}

/// What became of an announce.
#[derive(Default)]
struct Said {
    /// The number of the datagram last sent.
    id: Option<u32>,
    answers: usize,
    read: bool,
}

fn drain(client: &mut UdpClient, tracker: SocketAddr) -> Said {
    let mut said = Said::default();
    while let Some(output) = client.poll_output() {
        match output {
            UdpOutput::Resolve { .. } => {}
            UdpOutput::Send { to, bytes } => {
                assert_eq!(to, tracker, "datagrams go to the tracker alone");
                let id = bytes.get(12..16).and_then(|id| id.try_into().ok());
                said.id = id.map(u32::from_be_bytes);
            }
            UdpOutput::Answered { result, .. } => {
                said.answers += 1;
                match result {
                    Ok(reply) => {
                        check_reply(&reply);
                        let reach = Reach::new(Zone::Public);
                        assert!(reply.peers.iter().all(|peer| reach.peer(*peer).is_ok()));
                        said.read = true;
                    }
                    Err(error) => check_error(&error),
                }
            }
        }
    }
    said
}

/// A tracker's URL holds nothing that could end a line of a request, and asking it adds only a
/// query.
pub(crate) fn url(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let graphic = |url: &str| url.bytes().all(|byte| byte.is_ascii_graphic());
    let asked = announce_url(&text, &request(AnnounceEvent::Stopped));
    match TrackerUrl::parse(&text) {
        Ok(TrackerUrl::Http(url)) => {
            assert!(graphic(&url) && !url.contains('#') && text.starts_with(&url));
            assert_eq!(TrackerUrl::parse(&url), Ok(TrackerUrl::Http(url.clone())));
            let asked = asked.expect("what is a URL can be asked");
            let base = url.trim_end_matches(['?', '&']);
            assert!(graphic(&asked) && asked.starts_with(base), "{asked}");
            assert!(asked.contains("info_hash=%A1%A1") && asked.ends_with("&event=stopped"));
            assert_eq!(
                TrackerUrl::parse(&asked),
                Ok(TrackerUrl::Http(asked.clone()))
            );
            true
        }
        Ok(TrackerUrl::Udp(target)) => {
            assert!(asked.is_err());
            let UdpTarget { host, port, path } = &target;
            assert!(*port != 0 && !host.is_empty());
            assert!(graphic(host) && graphic(path) && !host.contains(['/', '?', '#', '@']));
            assert!(path.is_empty() || path.starts_with(['/', '?']));
            // A name with brackets is nobody's.
            if !host.contains(['[', ']']) {
                let host = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.clone()
                };
                let written = format!("udp://{host}:{port}{path}");
                assert_eq!(TrackerUrl::parse(&written), Ok(TrackerUrl::Udp(target)));
            }
            true
        }
        Err(_) => {
            assert!(asked.is_err());
            false
        }
    }
}
