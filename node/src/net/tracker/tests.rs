//! Announces against HTTP trackers on loopback.

use seedbank_engine::discovery::reach::Zone;
use seedbank_ledger::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::inbox::ToSession;
use crate::testing::announce_request as request;

type Answer = Result<AnnounceReply, AnnounceError>;

async fn announce(tracker: String) -> Answer {
    announce_within(Reach::new(Zone::Loopback), tracker).await
}

async fn announce_within(reach: Reach, tracker: String) -> Answer {
    let (inbox, mut inputs): (_, mpsc::Receiver<ToSession>) = Inbox::new();
    Announcer::new(inbox, None, Lookups::new())
        .announce((request().info_hash.into(), tracker), request(), reach)
        .await;
    match inputs.recv().await.unwrap() {
        ToSession::Input(Input::Announced { result, .. }) => result,
        other => panic!("{other:?}"),
    }
}

/// Answers one HTTP request with these bytes; gives the request line.
async fn http_tracker(response: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce?pass=1", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(&response).await.unwrap();
        String::from_utf8(head)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned()
    });
    (url, served)
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn an_http_tracker_is_asked_and_understood() {
    let body = b"d8:intervali900e5:peers6:\x7f\x00\x00\x01\x1a\xe1e";
    let (url, served) = http_tracker(response("200 OK", body)).await;
    let reply = announce(url).await.unwrap();
    assert_eq!(reply.interval, Duration::from_secs(900));
    assert_eq!(reply.peers, ["127.0.0.1:6881".parse().unwrap()]);
    let line = served.await.unwrap();
    assert!(
        line.starts_with("GET /announce?pass=1&info_hash=abcdefghij0123456789&"),
        "{line}"
    );
    assert!(line.contains("&event=started"), "{line}");
}

#[tokio::test]
async fn failures_of_http_trackers_are_told_apart() {
    let refusal = b"d14:failure reason7:go awaye";
    let (url, _) = http_tracker(response("403 Forbidden", refusal)).await;
    let error = announce(url).await.unwrap_err();
    assert_eq!(error, AnnounceError::Refused("go away".to_owned()));

    let (url, _) = http_tracker(response("502 Bad Gateway", b"<html>")).await;
    let error = announce(url).await.unwrap_err();
    assert_eq!(
        error,
        AnnounceError::Unreachable("HTTP status 502".to_owned())
    );

    let (url, _) = http_tracker(response("200 OK", &vec![b'x'; 2 * 1024 * 1024])).await;
    let error = announce(url).await.unwrap_err();
    assert!(matches!(error, AnnounceError::Malformed(_)), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let error = announce(format!("http://{closed}/announce"))
        .await
        .unwrap_err();
    assert!(matches!(error, AnnounceError::Unreachable(_)), "{error}");
    let error = announce("wss://tracker/announce".to_owned())
        .await
        .unwrap_err();
    assert!(matches!(error, AnnounceError::Unreachable(_)), "{error}");
}

/// A node that listens for all the world, and whose owner is not asked.
const STRANGER: Reach = Reach::new(Zone::Public);

#[tokio::test]
async fn n7_a_tracker_on_loopback_is_asked_only_if_the_owner_named_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mapped = "[::ffff:127.0.0.1]";
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        mapped,
        "2130706433",
        "0.0.0.0",
    ] {
        let url = format!("http://{host}:{port}/announce");
        let error = announce_within(STRANGER, url).await.unwrap_err();
        let is_refused = matches!(error, AnnounceError::Forbidden(_));
        assert!(is_refused, "{host}: {error}");
    }
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "nobody came");
    let body = b"d8:intervali900e5:peers12:\x7f\0\0\x01\x1a\xe1\x7f\0\0\x01\0\x16e";
    let (url, served) = http_tracker(response("200 OK", body)).await;
    let url = url.replace("/announce?pass=1", "/anything");
    let reply = announce_within(STRANGER.typed(true), url).await.unwrap();
    let peer = "127.0.0.1:6881".parse().unwrap();
    assert_eq!(reply.peers, [peer], "and nobody at port 22");
    let line = served.await.unwrap();
    assert!(line.starts_with("GET /anything?info_hash="), "{line}");
}

fn moved(to: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    head.into_bytes()
}

#[tokio::test]
async fn n7_each_hop_of_a_redirect_is_held_against_the_rule() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let owner = STRANGER.typed(true);
    // The owner's word does not go for whatever the tracker leads to.
    for (target, problem) in [
        (format!("http://{at}/admin"), "begins with /announce"),
        (
            format!("http://localhost:{}/", at.port()),
            "begins with /announce",
        ),
        (
            "http://127.0.0.1:22/announce".to_owned(),
            "22 is no port of a tracker",
        ),
        (
            "http://0.0.0.0:8080/announce".to_owned(),
            "nobody is at 0.0.0.0",
        ),
        (
            "file:///etc/passwd".to_owned(),
            "redirected to no HTTP tracker",
        ),
    ] {
        let (url, _) = http_tracker(moved(&target)).await;
        let error = announce_within(owner, url).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{target}: {error}");
    }
    let (end, _) = http_tracker(response("200 OK", b"d8:intervali900e5:peers0:e")).await;
    let (url, _) = http_tracker(moved(&end)).await;
    assert!(announce_within(owner, url).await.is_ok());
}

/// 64 torrents of one tracker that accepts and says nothing, and 64 of a tracker each.
#[tokio::test]
async fn n6_trackers_that_answer_nobody_hold_up_no_other() {
    let (inbox, mut inputs): (_, mpsc::Receiver<ToSession>) = Inbox::new();
    let announcer = Announcer::new(inbox, None, Lookups::new());
    let announce = |tracker: String| {
        let torrent = (request().info_hash.into(), tracker);
        Arc::clone(&announcer).announce(torrent, request(), Reach::new(Zone::Loopback))
    };
    let mut dead = Vec::new();
    for _ in 0..65 {
        dead.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let url = |at: &TcpListener| format!("http://{}/announce", at.local_addr().unwrap());
    let mut asking = tokio::task::JoinSet::new();
    for one in &dead[1..] {
        asking.spawn(announce(url(&dead[0])));
        asking.spawn(announce(url(one)));
    }
    // Each is asked before the good one is.
    let mut silent = Vec::new();
    for one in &dead {
        silent.push(one.accept().await.unwrap());
    }
    let (good, _) = http_tracker(response("200 OK", b"d8:intervali900e5:peers0:e")).await;
    asking.spawn(announce(good.clone()));
    match inputs.recv().await.unwrap() {
        ToSession::Input(Input::Announced {
            tracker, result, ..
        }) => {
            assert_eq!(tracker, good, "the first that is over");
            assert!(result.is_ok(), "{result:?}");
        }
        other => panic!("{other:?}"),
    }
}
