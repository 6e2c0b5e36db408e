//! Rate limits, in virtual time.

use super::rig::{draft, metainfo, millis, request, secs};
use super::{Remote, Rig};
use crate::interface::command::Command;
use crate::interface::config::Policy;
use crate::interface::view::TorrentState;
use crate::units::{BLOCK_LEN, PeerIndex};

const SECONDS: u64 = 20;

/// Within what burst and rounding allow.
fn assert_near(bytes: u64, rate: u64) {
    let expected = rate * SECONDS;
    let burst = rate / 4 + 4 * u64::from(BLOCK_LEN);
    assert!(
        bytes <= expected + burst,
        "{bytes} in {SECONDS} s at {rate}"
    );
    assert!(
        bytes + expected / 10 + burst >= expected,
        "{bytes} in {SECONDS} s at {rate}"
    );
}

/// Bytes that these peers are sent while they ask for all they may.
fn upload(rig: &mut Rig, peers: &[PeerIndex]) -> u64 {
    let mut bytes = 0;
    for _ in 0..SECONDS * 50 {
        for peer in peers {
            if rig.wire(*peer).asked.len() + rig.wire(*peer).serving.len() < 64 {
                rig.says(*peer, (0..64).map(|index| request(index / 16, index % 16)));
            }
            bytes += u64::try_from(rig.send_all(*peer)).expect("few") * u64::from(BLOCK_LEN);
        }
        rig.advance(millis(20));
        rig.take();
    }
    bytes
}

#[test]
fn the_upload_limit_holds_over_all_peers() {
    for rate in [40_000, 1_000_000] {
        let mut rig = Rig::new();
        let limit = Some(rate);
        rig.command(Command::SetPolicy(Policy {
            upload_limit: limit,
            ..Policy::default()
        }));
        let torrent = rig.seed(&metainfo("t", 8, 16));
        let peers: Vec<_> = (1..4)
            .map(|name| rig.join_leecher(torrent, Remote::modern(name)))
            .collect();
        assert_near(upload(&mut rig, &peers), rate);
    }
}

#[test]
fn a_torrents_own_upload_limit_leaves_the_others_alone() {
    let mut rig = Rig::new();
    let whole = metainfo("slow", 8, 16);
    rig.know(&whole, &(0..8).collect::<Vec<_>>());
    let mut add = super::rig::adding(&whole);
    add.upload_limit = Some(50_000);
    rig.command(Command::AddTorrent(Box::new(add)));
    rig.checked(whole.torrent_id());
    let free = rig.seed(&metainfo("free", 8, 16));
    let slow = rig.join_leecher(whole.torrent_id(), Remote::modern(1));
    let quick = rig.join_leecher(free, Remote::modern(2));
    upload(&mut rig, &[slow, quick]);
    assert_near(rig.torrent(whole.torrent_id()).uploaded.get(), 50_000);
    assert!(rig.torrent(free).uploaded.get() > 10_000_000);
}

#[test]
fn the_download_limit_holds_over_all_peers() {
    for rate in [40_000, 1_000_000] {
        let mut rig = Rig::new();
        let limit = Some(rate);
        rig.command(Command::SetPolicy(Policy {
            download_limit: limit,
            ..Policy::default()
        }));
        let torrent = rig.leech(&draft("t", 64 << 20, 1 << 18));
        let peers: Vec<_> = (1..4).map(|name| rig.join_seed(torrent, name)).collect();
        for _ in 0..SECONDS * 50 {
            for peer in &peers {
                rig.answer_all(*peer, true);
            }
            rig.hash_all();
            rig.advance(millis(20));
            rig.take();
        }
        assert_near(rig.torrent(torrent).downloaded.get(), rate);
    }
}

#[test]
fn a_torrents_own_download_limit_leaves_the_others_alone() {
    let mut rig = Rig::new();
    let whole = draft("slow", 64 << 20, 1 << 18);
    rig.know(&whole, &[]);
    let mut add = super::rig::adding(&whole);
    add.download_limit = Some(50_000);
    rig.command(Command::AddTorrent(Box::new(add)));
    rig.checked(whole.torrent_id());
    let free = rig.leech(&draft("free", 32 << 20, 1 << 18));
    let peers = [rig.join_seed(whole.torrent_id(), 1), rig.join_seed(free, 2)];
    for _ in 0..SECONDS * 50 {
        for peer in &peers {
            rig.answer_all(*peer, true);
        }
        rig.hash_all();
        rig.advance(millis(20));
        rig.take();
    }
    assert_near(rig.torrent(whole.torrent_id()).downloaded.get(), 50_000);
    assert_eq!(rig.state(free), TorrentState::Seeding);
}

#[test]
fn a_limit_of_nothing_stops_and_lifting_it_goes_on() {
    let mut rig = Rig::new();
    let torrent = rig.seed(&metainfo("t", 8, 16));
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    rig.command(Command::SetPolicy(Policy {
        upload_limit: Some(0),
        ..Policy::default()
    }));
    rig.says(peer, (0..16).map(|index| request(0, index)));
    rig.send_all(peer);
    rig.advance(secs(5));
    assert_eq!(rig.send_all(peer), 0);
    rig.command(Command::SetPolicy(Policy::default()));
    assert!(rig.send_all(peer) > 0);
    assert!(rig.wire(peer).asked.is_empty());
}
