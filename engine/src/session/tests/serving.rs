//! Requests, and the one answer that each of them gets.

use super::rig::{block, events, metainfo, request, sent_to, served_to};
use super::{Remote, Rig};
use crate::discovery::bans::FLOOD_BAN;
use crate::interface::command::Command;
use crate::interface::config::Policy;
use crate::interface::event::SessionEvent;
use crate::session::peer::{CANCELS_SPARE, QUEUE_ADVERTISED, QUEUE_MAX, REFUSED_MAX};
use crate::units::{Block, TorrentId};
use crate::wire::message::Message;

fn seeding() -> (Rig, TorrentId) {
    let mut rig = Rig::new();
    let torrent = rig.seed(&metainfo("t", 8, 16));
    (rig, torrent)
}

fn stop_uploads(rig: &mut Rig) {
    rig.command(Command::SetPolicy(Policy {
        upload_limit: Some(0),
        ..Policy::default()
    }));
}

#[test]
fn a_request_of_an_unchoked_peer_is_served() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    let odd = Block {
        begin: 7,
        len: 100,
        ..block(3, 0)
    };
    rig.says(peer, [request(0, 0), Message::Request(odd)]);
    assert_eq!(served_to(&rig.take(), peer), [block(0, 0), odd]);
    rig.send_all(peer);
    assert_eq!(rig.view(peer).expect("live").uploaded.get(), 16_384 + 100);
}

#[test]
fn a_choked_peers_requests_are_rejected_or_ignored_but_not_punished() {
    let (mut rig, torrent) = seeding();
    rig.command(Command::SetPolicy(super::rig::slots(1)));
    rig.join_leecher(torrent, Remote::modern(9));
    for remote in [Remote::modern(1), Remote::plain(2)] {
        let peer = rig.join(torrent, remote);
        rig.says(peer, [request(0, 0), request(0, 1)]);
        let expected = [Message::Reject(block(0, 0)), Message::Reject(block(0, 1))];
        let expected = if remote.fast { &expected[..] } else { &[] };
        assert_eq!(sent_to(&rig.take(), peer), expected);
        assert!(!rig.is_closing(peer));
    }
}

#[test]
fn requests_for_what_does_not_exist_or_is_not_here_are_rejected() {
    let mut rig = Rig::new();
    let torrent = rig.add(&metainfo("t", 8, 1), &[0]);
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    let whole = block(0, 0);
    let bad = [
        Block { begin: 1, ..whole },
        Block {
            begin: u32::MAX,
            ..whole
        },
        Block {
            begin: u32::MAX,
            len: u32::MAX,
            ..whole
        },
        Block { len: 0, ..whole },
        Block {
            len: 16_385,
            ..whole
        },
        Block {
            len: u32::MAX,
            ..whole
        },
        block(1, 0),
        block(8, 0),
        block(u32::MAX, 0),
    ];
    rig.says(peer, bad.map(Message::Request));
    assert_eq!(sent_to(&rig.take(), peer), bad.map(Message::Reject));
    assert!(!rig.is_closing(peer));
}

#[test]
fn a_cancelled_request_gets_one_answer() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    stop_uploads(&mut rig);
    rig.says(peer, (0..6).map(|index| request(0, index)));
    let granted = served_to(&rig.take(), peer).len();
    assert!(granted < 5, "the limit holds some back");
    // One that is granted, one that waits, one twice, one never asked for.
    let cancels = [(0, 0), (0, 5), (0, 5), (1, 0)];
    rig.says(
        peer,
        cancels.map(|(of, index)| Message::Cancel(block(of, index))),
    );
    assert_eq!(sent_to(&rig.take(), peer), [Message::Reject(block(0, 5))]);
    rig.command(Command::SetPolicy(Policy::default()));
    rig.send_all(peer);
    assert!(rig.wire(peer).asked.is_empty());
}

#[test]
fn a_cancel_without_the_fast_extension_gets_no_answer() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::plain(1));
    stop_uploads(&mut rig);
    rig.says(peer, (0..6).map(|index| request(0, index)));
    rig.take();
    rig.says(peer, [Message::Cancel(block(0, 5))]);
    assert!(rig.take().is_empty());
    rig.command(Command::SetPolicy(Policy::default()));
    rig.send_all(peer);
    let left: Vec<Block> = rig.wire(peer).asked.keys().copied().collect();
    assert_eq!(left, [block(0, 5)], "it was taken off the queue");
}

#[test]
fn a_flood_of_requests_is_queued_up_to_a_bound_and_then_ends_the_connection() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    stop_uploads(&mut rig);
    let mut asked = 0;
    while !rig.is_closing(peer) {
        rig.says(peer, (0..100).map(|index| request(index / 16, index % 16)));
        asked += 100;
        assert!(queue_len(&rig, peer) <= QUEUE_MAX);
        assert!(asked < 10_000, "it is closed in the end");
        let outputs = rig.take();
        assert!(
            outputs.len() <= 102,
            "{} outputs for 100 requests",
            outputs.len()
        );
    }
    assert!(asked >= 2_000, "an eager client is not closed");
    let refused = usize::try_from(REFUSED_MAX).expect("small");
    assert!(asked <= QUEUE_MAX + refused + 200);
}

/// One for each request is due, and some are said twice; each costs a look through the queue.
#[test]
fn a_flood_of_cancels_ends_the_connection_and_one_for_each_request_does_not() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    stop_uploads(&mut rig);
    for _ in 0..20 {
        rig.says(peer, (0..1_000).map(|_| request(0, 0)));
        rig.says(peer, (0..1_000).map(|_| Message::Cancel(block(0, 0))));
    }
    let spare = || (0..CANCELS_SPARE).map(|_| Message::Cancel(block(0, 1)));
    rig.says(peer, spare());
    assert!(!rig.is_closing(peer));
    rig.says(peer, [request(0, 1), Message::Cancel(block(0, 1))]);
    assert!(!rig.is_closing(peer));
    rig.says(peer, [Message::Cancel(block(0, 1))]);
    assert!(rig.is_closing(peer));
}

/// It would come again at once, and go on: a hundred hosts did so with 7 million requests a second.
#[test]
fn n3_who_asks_on_although_it_is_refused_is_kept_out_for_a_minute() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    let addr = rig.session.peers[&peer].addr;
    let nowhere = |count: u32| (0..count).map(|_| request(9_999, 0));
    rig.says(peer, nowhere(REFUSED_MAX));
    assert!(!rig.is_closing(peer));
    rig.says(peer, nowhere(1));
    assert!(rig.is_closing(peer));
    assert!(rig.session.bans.is_banned(addr, rig.now));
    let later = rig.now.after(FLOOD_BAN);
    assert!(!rig.session.bans.is_banned(addr, later));
}

#[test]
fn twice_what_a_client_was_told_that_it_may_ask_for_is_kept() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    stop_uploads(&mut rig);
    let told = usize::try_from(QUEUE_ADVERTISED).expect("small");
    for _ in 0..2 * told / 100 {
        rig.says(peer, (0..100).map(|index| request(index / 16, index % 16)));
        let is_reject = |message: &Message| matches!(message, Message::Reject(_));
        assert!(!sent_to(&rig.take(), peer).iter().any(is_reject));
    }
}

fn queue_len(rig: &Rig, peer: crate::units::PeerIndex) -> usize {
    let entry = &rig.session.peers[&peer];
    entry
        .link
        .as_ref()
        .map_or(0, |link| link.upload.queue.len())
}

#[test]
fn a_peer_that_reads_nothing_is_granted_a_bounded_amount() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    rig.says(peer, (0..128).map(|index| request(index / 16, index % 16)));
    rig.advance(super::rig::secs(60));
    let granted: u64 = rig
        .wire(peer)
        .serving
        .iter()
        .map(|block| u64::from(block.len))
        .sum();
    assert!(granted <= 128 * 1024 + 16 * 1024, "{granted}");
}

#[test]
fn messages_that_we_do_not_use_mean_nothing() {
    let (mut rig, torrent) = seeding();
    let peer = rig.join(torrent, Remote::modern(1));
    let piece = super::rig::piece(u32::MAX);
    rig.says(
        peer,
        [
            Message::KeepAlive,
            Message::Port(0),
            Message::AllowedFast(piece),
            Message::Reject(block(0, 0)),
            Message::Cancel(block(u32::MAX, 0)),
            Message::Choke,
            Message::Unchoke,
            Message::Extended {
                id: 77,
                payload: vec![0xff; 3],
            },
        ],
    );
    assert!(rig.take().is_empty());
    assert!(!rig.is_closing(peer));
}

#[test]
fn hostile_extended_messages_close_and_harm_nobody() {
    let deep = vec![b'l'; 100_000];
    for payload in [
        Vec::new(),
        deep,
        b"d1:md".to_vec(),
        b"i5e".to_vec(),
        b"9999999999:x".to_vec(),
    ] {
        for id in [0, crate::wire::extended::UT_METADATA_ID] {
            let (mut rig, torrent) = seeding();
            let peer = rig.join(torrent, Remote::modern(1));
            let bystander = rig.join_leecher(torrent, Remote::modern(2));
            rig.says(
                peer,
                [Message::Extended {
                    id,
                    payload: payload.clone(),
                }],
            );
            let outputs = rig.take();
            assert!(rig.is_closing(peer), "{id} {:?}", payload.get(..8));
            let misbehaved =
                |event: &SessionEvent| matches!(event, SessionEvent::PeerMisbehaved { .. });
            assert!(events(&outputs).iter().any(misbehaved));
            assert!(!rig.is_closing(bystander));
        }
    }
}
