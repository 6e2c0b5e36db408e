//! Datagrams on loopback, with a UDP tracker's client on our side of the inbox.

use seedbank_engine::discovery::reach::{Reach, Zone};
use seedbank_engine::discovery::tracker::udp::client::{UdpClient, UdpOutput, UdpQuestion};
use seedbank_engine::discovery::tracker::url::TrackerUrl;
use seedbank_engine::discovery::tracker::{AnnounceError, AnnounceReply};
use tokio::sync::mpsc;

use super::*;
use crate::host::clock::Clock;
use crate::inbox::ToSession;
use crate::testing::announce_request as request;

async fn next(inputs: &mut mpsc::Receiver<ToSession>) -> Input {
    match inputs.recv().await.unwrap() {
        ToSession::Input(input) => input,
        other => panic!("{other:?}"),
    }
}

/// Asks as a session does, without its timers.
async fn announce(url: &str, source: Option<IpAddr>) -> Result<AnnounceReply, AnnounceError> {
    let (inbox, mut inputs) = Inbox::new();
    let datagrams = Datagrams::start(inbox, source, Lookups::new());
    let clock = Clock::start();
    let mut client = UdpClient::default();
    let question = UdpQuestion {
        torrent_id: request().info_hash.into(),
        tracker: url.to_owned(),
    };
    let Ok(TrackerUrl::Udp(target)) = TrackerUrl::parse(url) else {
        panic!("{url}");
    };
    client.ask(
        question,
        target,
        request(),
        Reach::new(Zone::Loopback),
        [1, 2],
    );
    loop {
        while let Some(output) = client.poll_output() {
            match output {
                UdpOutput::Resolve { host, port } => {
                    Arc::clone(&datagrams).resolve(host, port).await;
                }
                UdpOutput::Send { to, bytes } => datagrams.send(to, &bytes),
                UdpOutput::Answered { result, .. } => return result,
            }
        }
        match next(&mut inputs).await {
            Input::Datagram { from, bytes } => client.handle(from, &bytes, clock.now()),
            Input::Resolved { host, port, result } => {
                client.resolved(&host, port, &result, clock.now());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_udp_tracker_is_asked_and_understood() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}/announce", socket.local_addr().unwrap());
    let tracker = async {
        let mut datagram = [0; 2048];
        let (_, from) = socket.recv_from(&mut datagram).await.unwrap();
        let connected = [&[0, 0, 0, 0], &datagram[12..16], &[9; 8]].concat();
        // One that is cut short, one from elsewhere, then the real one.
        socket.send_to(&connected[..10], from).await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let theirs = [&[0, 0, 0, 0], &datagram[12..16], &[8; 8]].concat();
        stranger.send_to(&theirs, from).await.unwrap();
        socket.send_to(&connected, from).await.unwrap();
        let (_, from) = socket.recv_from(&mut datagram).await.unwrap();
        assert_eq!(datagram[..8], [9; 8]);
        let head = [&[0, 0, 0, 1], &datagram[12..16]].concat();
        let numbers = [900_u32, 5, 4].map(u32::to_be_bytes).concat();
        let peer = [127, 0, 0, 1, 0x1a, 0xe1];
        let reply = [&head[..], &numbers, &peer].concat();
        socket.send_to(&reply, from).await.unwrap();
    };
    let (reply, ()) = tokio::join!(announce(&url, None), tracker);
    let reply = reply.unwrap();
    assert_eq!((reply.leechers, reply.seeds), (Some(5), Some(4)));
    assert_eq!(reply.peers, ["127.0.0.1:6881".parse().unwrap()]);
}

#[tokio::test]
async fn a_host_that_the_source_address_cannot_reach_is_no_host() {
    let source = Some(Ipv4Addr::LOCALHOST.into());
    let error = announce("udp://[::1]:6969", source).await.unwrap_err();
    let text = "cannot reach it: no address of a usable family";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_datagram_that_is_too_long_is_not_told() {
    let (inbox, mut inputs) = Inbox::new();
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let ours = open(local, &inbox).unwrap();
    let ours = ours.local_addr().unwrap().as_socket().unwrap();
    let remote = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for len in [DATAGRAM_LEN_MAX + 1, DATAGRAM_LEN_MAX, 0] {
        remote.send_to(&vec![7; len], ours).await.unwrap();
    }
    for len in [DATAGRAM_LEN_MAX, 0] {
        let Input::Datagram { from, bytes } = next(&mut inputs).await else {
            panic!("a datagram was sent");
        };
        assert_eq!(from, remote.local_addr().unwrap());
        assert_eq!(bytes.len(), len);
    }
}

#[tokio::test]
async fn the_port_is_free_once_the_session_has_ended() {
    let (inbox, inputs) = Inbox::new();
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let ours = open(local, &inbox).unwrap();
    let addr = ours.local_addr().unwrap().as_socket().unwrap();
    drop((inputs, ours));
    while UdpSocket::bind(addr).await.is_err() {
        tokio::task::yield_now().await;
    }
}
