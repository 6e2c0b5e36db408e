//! UDP trackers: datagrams to the byte, the back-off, and answers that are not.

use proptest::prelude::*;

use super::*;
use crate::units::{ClientId, InfoHash};

const CONNECT_ID: u32 = 0x0102_0304;
const ANNOUNCE_ID: u32 = 0x0506_0708;

fn parameters(path: &str) -> UdpParameters<'_> {
    UdpParameters {
        request: AnnounceRequest {
            info_hash: InfoHash([0xaa; 20]),
            client_id: ClientId([0xbb; 20]),
            port: 0x1ae1,
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event: AnnounceEvent::Started,
            num_want: 50,
            key: 0xcc,
        },
        path,
        family: Family::V4,
        transaction_ids: [CONNECT_ID, ANNOUNCE_ID],
        retries: RETRIES_DEFAULT,
        connection: None,
    }
}

fn at(secs: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(secs))
}

fn sent(step: Step) -> String {
    match step {
        Step::Send(datagram) => hex::encode(datagram),
        other => panic!("{other:?}"),
    }
}

fn answer(action: u32, transaction_id: u32, rest: &[u8]) -> Vec<u8> {
    let head = [action.to_be_bytes(), transaction_id.to_be_bytes()];
    [head.as_flattened(), rest].concat()
}

fn connected(path: &str, now: Instant) -> UdpAnnounce {
    let mut exchange = UdpAnnounce::new(parameters(path));
    sent(exchange.poll(now));
    let leave = answer(ACTION_CONNECT, CONNECT_ID, &[9; 8]);
    assert_eq!(exchange.handle(&leave, now), None);
    exchange
}

const ANNOUNCE: &str = "0909090909090909\
    0000000105060708\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
    0000000000000001\
    0000000000000002\
    0000000000000003\
    00000002\
    00000000\
    000000cc\
    00000032\
    1ae1";

#[test]
fn datagrams_are_those_of_bep_15() {
    let mut exchange = UdpAnnounce::new(parameters(""));
    assert_eq!(
        sent(exchange.poll(at(1))),
        "00000417271019800000000001020304"
    );
    assert_eq!(exchange.poll(at(1)), Step::Wait(at(16)));
    let leave = answer(ACTION_CONNECT, CONNECT_ID, &[9; 8]);
    assert_eq!(exchange.handle(&leave, at(2)), None);
    assert_eq!(exchange.next_timeout(), at(2));
    assert_eq!(sent(exchange.poll(at(2))), ANNOUNCE);
    let peers = [1, 2, 3, 4, 0, 80, 5, 6, 7, 8, 0, 0, 1, 2];
    let body = [&[0, 0, 7, 8, 0, 0, 0, 5, 0, 0, 0, 6][..], &peers].concat();
    let reply = answer(ACTION_ANNOUNCE, ANNOUNCE_ID, &body);
    let reply = exchange.handle(&reply, at(3)).unwrap().unwrap();
    assert_eq!(reply.interval, Duration::from_secs(1800));
    assert_eq!((reply.leechers, reply.seeds), (Some(5), Some(6)));
    assert_eq!(reply.peers, ["1.2.3.4:80".parse().unwrap()]);
}

#[test]
fn a_path_follows_in_options_of_at_most_255_bytes() {
    let mut exchange = connected("/announce?k=1", at(0));
    let option = format!("020d{}", hex::encode("/announce?k=1"));
    assert_eq!(sent(exchange.poll(at(0))), format!("{ANNOUNCE}{option}"));
    let long = "x".repeat(5000);
    let mut exchange = connected(&long, at(0));
    let datagram = sent(exchange.poll(at(0)));
    let options = hex::decode(&datagram[ANNOUNCE.len()..]).unwrap();
    assert_eq!(options.len(), PATH_LEN_MAX + 2 * 5);
    assert_eq!(options[..2], [2, 255]);
    assert_eq!(options[257 * 4..][..2], [2, 4]);
}

#[test]
fn silence_is_met_with_doubling_waits_and_an_end() {
    let mut exchange = UdpAnnounce::new(UdpParameters {
        retries: 100,
        ..parameters("")
    });
    let mut now = at(0);
    for n in 0..=RETRIES_MAX {
        sent(exchange.poll(now));
        let due = now.after(Duration::from_secs(15 << n));
        assert_eq!(exchange.poll(now), Step::Wait(due));
        now = due;
    }
    assert!(matches!(
        exchange.poll(now),
        Step::Failed(AnnounceError::Unreachable(_))
    ));
    assert!(matches!(exchange.poll(now), Step::Failed(_)));
}

#[test]
fn an_expired_connection_is_made_anew_and_a_live_one_reused() {
    let mut exchange = connected("", at(0));
    sent(exchange.poll(at(0)));
    sent(exchange.poll(at(15)));
    let again = sent(exchange.poll(at(60)));
    assert!(
        again.starts_with("00000417271019800000000001020304"),
        "{again}"
    );
    // What came too late for the connection it answers is no answer to the new one.
    let late = answer(ACTION_ANNOUNCE, ANNOUNCE_ID, &[0; 12]);
    assert_eq!(exchange.handle(&late, at(61)), None);
    let connection = connected("", at(0)).connection();
    assert!(connection.is_some());
    let reuse = UdpParameters {
        connection,
        ..parameters("")
    };
    assert_eq!(sent(UdpAnnounce::new(reuse).poll(at(59))), ANNOUNCE);
    let expired = sent(UdpAnnounce::new(reuse).poll(at(60)));
    assert!(expired.starts_with("0000041727101980"));
}

#[test]
fn an_answer_counts_even_if_the_connection_has_expired_since() {
    let mut exchange = connected("", at(0));
    sent(exchange.poll(at(59)));
    let reply = answer(ACTION_ANNOUNCE, ANNOUNCE_ID, &[0; 12]);
    assert!(exchange.handle(&reply, at(61)).is_some());
}

#[test]
fn a_tracker_that_only_ever_gives_leave_is_given_up() {
    let mut exchange = UdpAnnounce::new(UdpParameters {
        retries: RETRIES_MAX,
        ..parameters("")
    });
    let mut now = at(0);
    let leave = answer(ACTION_CONNECT, CONNECT_ID, &[9; 8]);
    for _ in 0..100 {
        match exchange.poll(now) {
            Step::Send(_) => assert_eq!(exchange.handle(&leave, now), None),
            Step::Wait(due) => now = due,
            Step::Failed(_) => return,
        }
    }
    panic!("still asking");
}

#[test]
fn what_is_not_the_answer_is_ignored() {
    let mut exchange = UdpAnnounce::new(parameters(""));
    sent(exchange.poll(at(0)));
    for datagram in [
        answer(ACTION_CONNECT, ANNOUNCE_ID, &[9; 8]),
        answer(ACTION_CONNECT, CONNECT_ID, &[9; 7]),
        answer(ACTION_ANNOUNCE, CONNECT_ID, &[0; 12]),
        answer(ACTION_ERROR, CONNECT_ID + 1, b"no"),
        answer(2, CONNECT_ID, &[0; 12]),
        vec![0; 7],
        vec![],
    ] {
        assert_eq!(exchange.handle(&datagram, at(1)), None);
        assert_eq!(exchange.connection(), None);
    }
    let mut exchange = connected("", at(0));
    sent(exchange.poll(at(0)));
    for datagram in [
        answer(ACTION_CONNECT, CONNECT_ID, &[8; 8]),
        answer(ACTION_CONNECT, ANNOUNCE_ID, &[8; 8]),
        answer(ACTION_ANNOUNCE, CONNECT_ID, &[0; 12]),
        answer(ACTION_ANNOUNCE, ANNOUNCE_ID, &[0; 11]),
    ] {
        assert_eq!(exchange.handle(&datagram, at(1)), None);
        assert_eq!(sent(exchange.clone().poll(at(15))), ANNOUNCE);
    }
}

#[test]
fn a_refusal_ends_it_with_the_reason_made_printable() {
    let mut exchange = connected("", at(0));
    sent(exchange.poll(at(0)));
    let error = answer(ACTION_ERROR, ANNOUNCE_ID, b"go\x1b away");
    let refused = AnnounceError::Refused("go away".to_owned());
    assert_eq!(exchange.handle(&error, at(1)), Some(Err(refused)));
    assert_eq!(exchange.connection(), None);
}

#[test]
fn a_leave_that_the_tracker_does_not_know_any_more_is_asked_for_again_once() {
    let mut exchange = UdpAnnounce::new(UdpParameters {
        connection: connected("", at(0)).connection(),
        ..parameters("")
    });
    assert_eq!(sent(exchange.poll(at(1))), ANNOUNCE);
    let error = answer(ACTION_ERROR, ANNOUNCE_ID, b"connect first");
    assert_eq!(exchange.handle(&error, at(2)), None);
    assert_eq!(exchange.connection(), None);
    let connect = sent(exchange.poll(at(2)));
    assert!(connect.starts_with("0000041727101980"), "{connect}");
    let leave = answer(ACTION_CONNECT, CONNECT_ID, &[9; 8]);
    assert_eq!(exchange.handle(&leave, at(3)), None);
    assert_eq!(sent(exchange.poll(at(3))), ANNOUNCE);
    assert!(matches!(exchange.handle(&error, at(4)), Some(Err(_))));
}

#[test]
fn a_tracker_asked_over_ipv6_answers_in_strides_of_18() {
    let mut exchange = UdpAnnounce::new(UdpParameters {
        family: Family::V6,
        connection: connected("", at(0)).connection(),
        ..parameters("")
    });
    sent(exchange.poll(at(0)));
    let one: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let body = [&[0; 12][..], &one.octets(), &[0, 80], &[1; 17]].concat();
    let reply = answer(ACTION_ANNOUNCE, ANNOUNCE_ID, &body);
    let reply = exchange.handle(&reply, at(1)).unwrap().unwrap();
    assert_eq!(reply.peers, ["[2001:db8::1]:80".parse().unwrap()]);
}

proptest! {
    #[test]
    fn garbage_never_panics(
        action in 0_u32..5, announce: bool, rest: Vec<u8>, secs in 0_u64..100
    ) {
        let id = if announce { ANNOUNCE_ID } else { CONNECT_ID };
        let datagram = answer(action, id, &rest);
        for mut exchange in [UdpAnnounce::new(parameters("/x")), connected("", at(0))] {
            let _ = exchange.handle(&rest, at(secs));
            let _ = exchange.handle(&datagram, at(secs));
            let _ = exchange.poll(at(secs));
        }
    }
}
