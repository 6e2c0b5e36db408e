//! Whole nodes in one process, on loopback, with real files.

use std::path::Path;

use seedbank_engine::metainfo::build::{Content, Draft};
use seedbank_engine::session::event::SessionEvent;
use seedbank_engine::session::view::TorrentState;
use seedbank_engine::units::Geometry;
use sha1::{Digest as _, Sha1};

use super::*;
use crate::testing::content;

const PIECE_LEN: u32 = 64 * 1024;
const LEN: usize = 20 * 65_536 + 777;

/// A node in a folder of its own, listening on loopback.
async fn start(folder: &Path, name: &str) -> NodeHandle {
    let mut options = NodeOptions::new(
        folder.join(name).join("data"),
        folder.join(name).join("files"),
    );
    options.listen = vec!["127.0.0.1:0".parse().unwrap()];
    options.store = StoreKind::Memory;
    options.rng_seed = Some(7);
    Node::start(options).await.unwrap()
}

/// A torrent of random bytes, and its `.torrent` file.
fn torrent() -> (InfoHash, Vec<u8>, Vec<u8>) {
    let bytes = content(LEN);
    let metainfo = single_file("file", &bytes);
    (metainfo.info_hash, bytes, metainfo.to_bytes())
}

fn single_file(name: &str, bytes: &[u8]) -> Metainfo {
    let draft = Draft {
        name: name.to_owned(),
        content: Content::File(u64::try_from(bytes.len()).unwrap()),
        piece_len: PIECE_LEN,
        trackers: Vec::new(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    assert_eq!(
        draft.geometry(),
        Geometry::new(draft.total_len(), PIECE_LEN)
    );
    let pieces = bytes.chunks(usize::try_from(PIECE_LEN).unwrap());
    let hashes: Vec<[u8; 20]> = pieces.map(|piece| Sha1::digest(piece).into()).collect();
    draft.finish(&hashes).unwrap()
}

fn request(torrent: &[u8], peers: &[SocketAddr]) -> AddRequest {
    AddRequest {
        source: AddSource::Metainfo(torrent.to_vec()),
        download_dir: None,
        peers: peers.to_vec(),
        start: true,
        upload_limit: None,
        download_limit: None,
    }
}

async fn completed(node: &NodeHandle) {
    let mut events = node.events().follow(Some(1));
    while let Some(record) = events.next().await.unwrap() {
        match record.event {
            SessionEvent::TorrentCompleted(_) => return,
            SessionEvent::TorrentFailed { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
    panic!("the node ended before its torrent was complete");
}

/// Asks until the torrent is in this state; checks end without an event of their own.
async fn reaches(node: &NodeHandle, info_hash: InfoHash, wanted: TorrentState) {
    loop {
        let view = node.query(move |session| session.torrent(&info_hash)).await;
        let view = view.unwrap().unwrap();
        if view.state == wanted {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_goes_from_one_node_to_another_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (info_hash, bytes, torrent) = torrent();
    let seed = start(folder.path(), "seed").await;
    std::fs::create_dir_all(folder.path().join("seed/files")).unwrap();
    std::fs::write(folder.path().join("seed/files/file"), &bytes).unwrap();
    let added = seed.add_torrent(request(&torrent, &[])).await.unwrap();
    assert_eq!(
        added,
        Added {
            info_hash,
            existed: false
        }
    );
    reaches(&seed, info_hash, TorrentState::Seeding).await;

    let leech = start(folder.path(), "leech").await;
    let peers = [seed.listen_addr().unwrap()];
    leech.add_torrent(request(&torrent, &peers)).await.unwrap();
    completed(&leech).await;
    let got = std::fs::read(folder.path().join("leech/files/file")).unwrap();
    assert!(got == bytes);
    assert_eq!(leech.shutdown().await, Ended::Shutdown);
    assert_eq!(seed.shutdown().await, Ended::Shutdown);

    let again = start(folder.path(), "leech").await;
    reaches(&again, info_hash, TorrentState::Seeding).await;
    let added = again.add_torrent(request(&torrent, &[])).await.unwrap();
    assert!(added.existed);
    again.remove_torrent(info_hash, true).await.unwrap();
    assert!(!folder.path().join("leech/files/file").exists());
    again.shutdown().await;
}
