//! HTTP trackers: URLs as they are expected, and bodies as they are found.

use proptest::prelude::*;
use seedbank_ledger::Duration;

use super::*;
use crate::content::bencode::{Dict, Value};
use crate::discovery::tracker::{INTERVAL_LONGEST, INTERVAL_SHORTEST, PEERS_MAX};
use crate::units::{ClientId, InfoHash};

fn request(event: AnnounceEvent) -> AnnounceRequest {
    let mut info_hash = [b'a'; 20];
    info_hash[..4].copy_from_slice(&[0x00, 0xff, b' ', b'~']);
    AnnounceRequest {
        info_hash: InfoHash(info_hash),
        client_id: ClientId(*b"-Sb0001-abcdefghijk&"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: u64::MAX,
        event,
        num_want: 50,
        key: 0xabc,
    }
}

const REST: &str = "info_hash=%00%FF%20~aaaaaaaaaaaaaaaa&peer_id=-Sb0001-abcdefghijk%26\
    &port=6881&uploaded=1&downloaded=2&left=18446744073709551615&compact=1&numwant=50\
    &key=00000abc";

#[test]
fn an_existing_query_stays_in_front() {
    for (base, front) in [
        ("http://a/announce", "http://a/announce?"),
        ("http://a/announce?", "http://a/announce?"),
        ("https://a/x?passkey=1", "https://a/x?passkey=1&"),
        ("http://a/x?k=1&l=2&", "http://a/x?k=1&l=2&"),
        ("http://a/x?k=1#frag", "http://a/x?k=1&"),
        ("http://a", "http://a?"),
    ] {
        let url = announce_url(base, &request(AnnounceEvent::Interval)).unwrap();
        assert_eq!(url, format!("{front}{REST}"));
    }
    let udp = announce_url("udp://a:1", &request(AnnounceEvent::Interval));
    assert_eq!(udp, Err(UrlError::Scheme));
}

#[test]
fn events_are_named_and_a_leaver_wants_no_peers() {
    for (event, end) in [
        (
            AnnounceEvent::Started,
            "&numwant=50&key=00000abc&event=started",
        ),
        (
            AnnounceEvent::Completed,
            "&numwant=50&key=00000abc&event=completed",
        ),
        (
            AnnounceEvent::Stopped,
            "&numwant=0&key=00000abc&event=stopped",
        ),
    ] {
        let url = announce_url("http://a/", &request(event)).unwrap();
        assert!(url.ends_with(end), "{url}");
    }
}

fn reply(dict: Dict) -> AnnounceReply {
    parse_reply(&dict.encode()).unwrap()
}

fn shown(reply: &AnnounceReply) -> Vec<String> {
    reply.peers.iter().map(ToString::to_string).collect()
}

#[test]
fn compact_peers_of_both_families_are_read() {
    let v6: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let mapped: std::net::Ipv6Addr = "::ffff:1.2.3.4".parse().unwrap();
    let peers6 = [&v6.octets()[..], &[0, 81], &mapped.octets(), &[0, 80]].concat();
    let answer = reply(
        Dict::new()
            .with("interval", 900_u32)
            .with("min interval", 60_u32)
            .with("complete", 3_u8)
            .with("incomplete", u64::MAX)
            .with("peers", &[1, 2, 3, 4, 0, 80, 5, 6, 7, 8, 0, 0, 9, 9][..])
            .with("peers6", &*peers6)
            .with("warning message", "mind\x07 the gap"),
    );
    assert_eq!(shown(&answer), ["1.2.3.4:80", "[2001:db8::1]:81"]);
    assert_eq!(answer.interval, Duration::from_secs(900));
    assert_eq!(answer.interval_min, Some(Duration::from_secs(60)));
    assert_eq!((answer.seeds, answer.leechers), (Some(3), Some(u32::MAX)));
    assert_eq!(answer.warning.as_deref(), Some("mind the gap"));
}

#[test]
fn peers_as_dictionaries_are_read_and_bad_ones_left_out() {
    let peer = |ip: &str, port: i64| Value::from(Dict::new().with("ip", ip).with("port", port));
    let answer = reply(Dict::new().with(
        "peers",
        vec![
            peer("127.0.0.1", 5),
            peer("::1", 6),
            peer("example.org", 7),
            peer("1.2.3.4", 0),
            peer("1.2.3.4", 65_536),
            peer("1.2.3.4", -1),
            peer("0.0.0.0", 1),
            peer("255.255.255.255", 1),
            peer("224.0.0.1", 1),
            peer("127.0.0.1", 5),
            Value::Int(3),
        ],
    ));
    assert_eq!(shown(&answer), ["127.0.0.1:5", "[::1]:6"]);
    assert_eq!(answer.interval, INTERVAL_DEFAULT);
    assert_eq!(answer.interval_min, None);
}

#[test]
fn intervals_and_peers_are_bounded() {
    // I6: asked twice in 12 s.
    assert_eq!(INTERVAL_SHORTEST, Duration::from_secs(60));
    for (secs, expected) in [
        (Value::Int(0), INTERVAL_SHORTEST),
        (Value::Int(59), INTERVAL_SHORTEST),
        (Value::from(u64::MAX), INTERVAL_LONGEST),
        (Value::Int(-5), INTERVAL_DEFAULT),
        (Value::Int(i128::MAX), INTERVAL_DEFAULT),
    ] {
        let answer = reply(Dict::new().with("interval", secs));
        assert_eq!(answer.interval, expected);
    }
    let many: Vec<u8> = (1..=2000_u16)
        .flat_map(|port| [&[1, 2, 3, 4][..], &port.to_be_bytes()].concat())
        .collect();
    assert_eq!(
        reply(Dict::new().with("peers", &*many)).peers.len(),
        PEERS_MAX
    );
}

#[test]
fn a_refusal_is_told_from_an_unusable_body() {
    let refused = parse_reply(b"d14:failure reason5:go\x1baye");
    assert_eq!(refused, Err(AnnounceError::Refused("goay".to_owned())));
    let long = vec![b' '; REPLY_LEN_MAX + 1];
    let deep = "d5:peers".repeat(100_000).into_bytes();
    for body in [&b""[..], b"<html>", b"le", b"d5:peers6:", &long, &deep] {
        assert!(matches!(
            parse_reply(body),
            Err(AnnounceError::Malformed(_))
        ));
    }
    assert!(parse_reply(b"d8:intervali60ee\r\n").is_ok());
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>, base in ".{0,20}") {
        let _ = parse_reply(&bytes);
        let body = Dict::new().with("peers", &*bytes).with("peers6", &*bytes);
        let _ = reply(body);
        let _ = announce_url(&base, &request(AnnounceEvent::Started));
    }
}
