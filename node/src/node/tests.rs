//! Whole nodes in one process, on loopback, with real files.

use std::path::Path;

use seedbank_engine::content::metainfo::build::{DraftContent, MetainfoDraft};
use seedbank_engine::credit::wallet::WalletBook;
use seedbank_engine::interface::command::TorrentSource;
use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::interface::view::{TorrentState, TorrentView};
use seedbank_engine::units::Geometry;
use seedbank_ledger::Instant;
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
fn torrent() -> (TorrentId, Vec<u8>, Vec<u8>) {
    let bytes = content(LEN);
    let metainfo = single_file("file", &bytes);
    (metainfo.torrent_id(), bytes, metainfo.to_bytes())
}

fn single_file(name: &str, bytes: &[u8]) -> Metainfo {
    tracked(name, bytes, Vec::new())
}

fn tracked(name: &str, bytes: &[u8], trackers: Vec<Vec<String>>) -> Metainfo {
    let draft = MetainfoDraft {
        name: name.to_owned(),
        content: DraftContent::File(u64::try_from(bytes.len()).unwrap()),
        piece_len: PIECE_LEN,
        trackers,
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

fn request(torrent: &[u8], peers: &[SocketAddr]) -> AddTorrent {
    AddTorrent {
        peers: peers.to_vec(),
        ..AddTorrent::new(TorrentSource::from_bytes(torrent).unwrap())
    }
}

async fn completed(node: &NodeHandle) {
    let oldest = node.events().oldest();
    let mut events = node.events().follow(Some(oldest)).unwrap();
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
async fn reaches(node: &NodeHandle, torrent_id: TorrentId, wanted: TorrentState) {
    loop {
        let view = node
            .query(move |session| session.torrent(&torrent_id))
            .await;
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
    let (torrent_id, bytes, torrent) = torrent();
    let seed = start(folder.path(), "seed").await;
    std::fs::create_dir_all(folder.path().join("seed/files")).unwrap();
    std::fs::write(folder.path().join("seed/files/file"), &bytes).unwrap();
    let added = seed.add_torrent(request(&torrent, &[])).await.unwrap();
    assert_eq!(
        added,
        Added {
            torrent_id,
            existed: false
        }
    );
    reaches(&seed, torrent_id, TorrentState::Seeding).await;

    let leech = start(folder.path(), "leech").await;
    let peers = [seed.listen_addr().unwrap()];
    leech.add_torrent(request(&torrent, &peers)).await.unwrap();
    completed(&leech).await;
    let got = std::fs::read(folder.path().join("leech/files/file")).unwrap();
    assert!(got == bytes);
    assert_eq!(leech.shutdown().await, Ended::Shutdown);
    assert_eq!(seed.shutdown().await, Ended::Shutdown);

    let again = start(folder.path(), "leech").await;
    reaches(&again, torrent_id, TorrentState::Seeding).await;
    let added = again.add_torrent(request(&torrent, &[])).await.unwrap();
    assert!(added.existed);
    again.remove_torrent(torrent_id, true).await.unwrap();
    assert!(!folder.path().join("leech/files/file").exists());
    again.shutdown().await;
}

async fn view(node: &NodeHandle, torrent_id: TorrentId) -> TorrentView {
    let view = node
        .query(move |session| session.torrent(&torrent_id))
        .await;
    view.flatten().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_torrents_came_to_and_the_numbers_of_events_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let len = u64::try_from(bytes.len()).unwrap();
    let from = seed(folder.path(), &torrent, &bytes).await;
    let leech = start(folder.path(), "leech").await;
    let peers = [from.listen_addr().unwrap()];
    leech.add_torrent(request(&torrent, &peers)).await.unwrap();
    completed(&leech).await;
    let newest = leech.events().newest();
    let before = leech.totals().await.unwrap();
    assert!(before.downloaded.get() >= len, "{before:?}");
    leech.shutdown().await;
    while view(&from, torrent_id).await.uploaded.get() < len {
        tokio::task::yield_now().await;
    }
    let uploaded = view(&from, torrent_id).await.uploaded;
    from.shutdown().await;

    let leech = start(folder.path(), "leech").await;
    assert!(leech.events().newest() >= newest);
    leech.events().follow(Some(1)).unwrap_err();
    assert_eq!(view(&leech, torrent_id).await.downloaded, before.downloaded);
    assert_eq!(leech.totals().await, Some(before));
    leech.remove_torrent(torrent_id, false).await.unwrap();
    assert_eq!(leech.totals().await, Some(before), "it counts on");
    leech.shutdown().await;
    let leech = start(folder.path(), "leech").await;
    assert_eq!(leech.totals().await, Some(before));
    leech.shutdown().await;
    let from = start(folder.path(), "seed").await;
    assert_eq!(view(&from, torrent_id).await.uploaded, uploaded);
    from.shutdown().await;
}

/// A seed whose torrent is complete.
async fn seed(folder: &Path, torrent: &[u8], bytes: &[u8]) -> NodeHandle {
    let seed = start(folder, "seed").await;
    std::fs::create_dir_all(folder.join("seed/files")).unwrap();
    std::fs::write(folder.join("seed/files/file"), bytes).unwrap();
    let added = seed.add_torrent(request(torrent, &[])).await.unwrap();
    reaches(&seed, added.torrent_id, TorrentState::Seeding).await;
    seed
}

/// I6: it stayed "seeding 100 %", and was served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_whose_file_was_deleted_stops_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let seed = seed(folder.path(), &torrent, &bytes).await;
    assert_eq!(seed.inner.torrents.watch(None).await, None);
    assert_eq!(view(&seed, torrent_id).await.error, None);
    let file = folder.path().join("seed/files/file");
    std::fs::remove_file(&file).unwrap();
    seed.inner.torrents.watch(None).await;
    reaches(&seed, torrent_id, TorrentState::Failed).await;
    let reason = view(&seed, torrent_id).await.error.unwrap();
    assert!(
        reason.ends_with("/seed/files/file: no such file"),
        "{reason}"
    );
    let start = Command::StartTorrent(torrent_id);
    seed.command(start).await.unwrap();
    reaches(&seed, torrent_id, TorrentState::Downloading).await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_whose_disk_failed_goes_on_when_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let seed = seed(folder.path(), &torrent, &bytes).await;
    let leech = start(folder.path(), "leech").await;
    let mut add = request(&torrent, &[seed.listen_addr().unwrap()]);
    add.start = false;
    leech.add_torrent(add).await.unwrap();
    let mut checking = leech.checking(&torrent_id);
    while let Some(running) = &mut checking {
        if running.next().await.is_none() {
            break;
        }
    }
    // A folder where the file should be: no piece can be written.
    let blocked = folder.path().join("leech/files/file");
    std::fs::create_dir_all(&blocked).unwrap();
    leech
        .command(Command::StartTorrent(torrent_id))
        .await
        .unwrap();
    reaches(&leech, torrent_id, TorrentState::Failed).await;
    std::fs::remove_dir(&blocked).unwrap();
    leech
        .command(Command::StartTorrent(torrent_id))
        .await
        .unwrap();
    reaches(&leech, torrent_id, TorrentState::Seeding).await;
    assert!(std::fs::read(&blocked).unwrap() == bytes);
    leech.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_does_not_open_is_tried_again_on_start() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let path = folder.path().join("seed/files/file");
    std::fs::create_dir_all(&path).unwrap();
    let node = start(folder.path(), "seed").await;
    node.add_torrent(request(&torrent, &[])).await.unwrap();
    reaches(&node, torrent_id, TorrentState::Failed).await;
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    node.command(Command::StartTorrent(torrent_id))
        .await
        .unwrap();
    reaches(&node, torrent_id, TorrentState::Seeding).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_again_finds_what_changed_behind_our_back() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let seed = seed(folder.path(), &torrent, &bytes).await;
    let mut damaged = bytes.clone();
    damaged[100_000] ^= 1;
    std::fs::write(folder.path().join("seed/files/file"), &damaged).unwrap();
    let mut checking = seed.verify_torrent(torrent_id).await.unwrap().unwrap();
    let mut last = None;
    while let Some(step) = checking.next().await {
        last = Some(step);
    }
    let last = last.unwrap();
    assert_eq!((last.checked, last.total), (1_311_497, 1_311_497));
    assert_eq!(last.have, last.total - u64::from(PIECE_LEN));
    reaches(&seed, torrent_id, TorrentState::Downloading).await;
    let unknown = seed.verify_torrent(TorrentId([0; 20])).await;
    assert!(matches!(unknown, Err(CommandError::TorrentUnknown(_))));
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magnet_gets_its_metainfo_from_a_peer_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let seed = seed(folder.path(), &torrent, &bytes).await;
    let leech = start(folder.path(), "leech").await;
    let peer = seed.listen_addr().unwrap();
    let link = format!("magnet:?xt=urn:btih:{torrent_id}&x.pe={peer}");
    let mut add = request(&torrent, &[]);
    add.source = TorrentSource::from_link(&link).unwrap();
    leech.add_torrent(add).await.unwrap();
    completed(&leech).await;
    assert!(std::fs::read(folder.path().join("leech/files/file")).unwrap() == bytes);
    leech.shutdown().await;
    seed.shutdown().await;
    let again = start(folder.path(), "leech").await;
    reaches(&again, torrent_id, TorrentState::Seeding).await;
    assert_eq!(again.metainfo(&torrent_id).unwrap().name, "file");
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_torrents_stay_stopped_and_removed_ones_stay_away() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let node = seed(folder.path(), &torrent, &bytes).await;
    node.command(Command::StopTorrent(torrent_id))
        .await
        .unwrap();
    node.shutdown().await;
    let node = start(folder.path(), "seed").await;
    reaches(&node, torrent_id, TorrentState::Stopped).await;
    node.remove_torrent(torrent_id, false).await.unwrap();
    node.shutdown().await;
    let node = start(folder.path(), "seed").await;
    assert_eq!(
        node.query(|session| session.torrents().len()).await,
        Some(0)
    );
    assert!(folder.path().join("seed/files/file").exists(), "data stays");
    node.shutdown().await;
    assert_eq!(node.query(|session| session.torrents().len()).await, None);
    assert!(node.ledger().is_none());
}

/// Is dropped with the session, by the session's thread, and holds it up until it hears that
/// somebody was told of the end already.
struct Lingering {
    told: std::sync::mpsc::Receiver<()>,
    early: std::sync::mpsc::Sender<bool>,
}

impl Observer for Lingering {
    fn begins(&mut self, _: &SessionConfig, _: &WalletBook, _: Instant) {}
    fn input(&mut self, _: &Input, _: Instant) {}
    fn output(&mut self, _: &Output, _: Instant) {}
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let early = self.told.recv_timeout(Duration::from_millis(300)).is_ok();
        self.early.send(early).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_ended_only_when_its_thread_has() {
    let folder = tempfile::tempdir().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (early, was_early) = std::sync::mpsc::channel();
    let mut options = NodeOptions::new(folder.path().join("data"), folder.path().join("files"));
    options.store = StoreKind::Memory;
    options.observer = Some(Box::new(Lingering { told, early }));
    let node = Node::start(options).await.unwrap();
    node.shutdown().await;
    // Nobody may listen any more, which is as it should be.
    let _ = tell.send(());
    assert_eq!(
        was_early.recv(),
        Ok(false),
        "the store was open when shutdown returned"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_started_over_another_node_or_on_a_taken_port() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), "a").await;
    let taken = node.listen_addr().unwrap();
    let mut options = NodeOptions::new(folder.path().join("a/data"), folder.path().join("a/files"));
    options.store = StoreKind::Memory;
    let error = Node::start(options).await.unwrap_err();
    assert!(
        matches!(error, StartError::DataDir(DataDirError::Locked { .. })),
        "{error}"
    );
    let mut options = NodeOptions::new(folder.path().join("b/data"), folder.path().join("b/files"));
    options.store = StoreKind::Memory;
    options.listen = vec![taken];
    let error = Node::start(options).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot listen at {taken}")),
        "{error}"
    );
    let reader = node.ledger().unwrap();
    let ledger = reader.now().unwrap();
    assert_eq!(ledger.owner(), node.node_id());
    assert_eq!(ledger.check().unwrap().entry_count, 1);
    node.shutdown().await;
}

/// N8: such a file was overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_somebody_else_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let seed = seed(folder.path(), &torrent, &bytes).await;
    let path = folder.path().join("leech/files/file");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"my diary").unwrap();
    let leech = start(folder.path(), "leech").await;
    let add = request(&torrent, &[seed.listen_addr().unwrap()]);
    leech.add_torrent(add.clone()).await.unwrap();
    reaches(&leech, torrent_id, TorrentState::Failed).await;
    let view = leech
        .query(move |session| session.torrent(&torrent_id))
        .await;
    let error = view.flatten().unwrap().error.unwrap();
    assert!(
        error.contains("files/file exists and is not part of this torrent"),
        "{error}"
    );
    // Neither a start, nor a restart, nor removal with its data does it any harm.
    let start_again = Command::StartTorrent(torrent_id);
    leech.command(start_again).await.unwrap();
    reaches(&leech, torrent_id, TorrentState::Failed).await;
    leech.shutdown().await;
    let leech = start(folder.path(), "leech").await;
    reaches(&leech, torrent_id, TorrentState::Failed).await;
    leech.remove_torrent(torrent_id, true).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"my diary");
    std::fs::remove_file(&path).unwrap();
    leech.add_torrent(add).await.unwrap();
    reaches(&leech, torrent_id, TorrentState::Seeding).await;
    assert!(std::fs::read(&path).unwrap() == bytes);
    leech.shutdown().await;
    seed.shutdown().await;
}

/// N8: both seeded, one of them wrong bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_torrents_do_not_share_a_file_under_any_name_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (first, bytes, torrent) = torrent();
    let node = seed(folder.path(), &torrent, &bytes).await;
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("seed/files"), &link).unwrap();
    let other = single_file("file", &content(LEN + 1)).to_bytes();
    for dir in [None, Some(link)] {
        let mut add = request(&other, &[]);
        add.download_dir = dir;
        let error = node.add_torrent(add).await.unwrap_err();
        assert!(
            matches!(&error, AddError::SameFiles { other, .. } if *other == first),
            "{error}"
        );
    }
    let mut add = request(&other, &[]);
    add.download_dir = Some(folder.path().join("elsewhere"));
    node.add_torrent(add).await.unwrap();
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_added_again_over_its_own_data_takes_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, bytes, torrent) = torrent();
    let node = seed(folder.path(), &torrent, &bytes).await;
    let path = folder.path().join("seed/files/file");
    for len in [bytes.len(), bytes.len() / 2, 0] {
        node.remove_torrent(torrent_id, false).await.unwrap();
        std::fs::write(&path, &bytes[..len]).unwrap();
        node.add_torrent(request(&torrent, &[])).await.unwrap();
        let wanted = match len == bytes.len() {
            true => TorrentState::Seeding,
            false => TorrentState::Downloading,
        };
        reaches(&node, torrent_id, wanted).await;
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_that_cannot_be_put_on_record_is_not_added() {
    let folder = tempfile::tempdir().unwrap();
    let (torrent_id, _, torrent) = torrent();
    let node = start(folder.path(), "node").await;
    let torrents = folder.path().join("node/data/torrents");
    std::fs::remove_dir_all(&torrents).unwrap();
    let error = node.add_torrent(request(&torrent, &[])).await.unwrap_err();
    assert!(matches!(error, AddError::Record { .. }), "{error}");
    let view = node
        .query(move |session| session.torrent(&torrent_id))
        .await;
    assert_eq!(view, Some(None));
    std::fs::create_dir(&torrents).unwrap();
    node.add_torrent(request(&torrent, &[])).await.unwrap();
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_udp_tracker_hears_that_a_node_comes_and_that_it_goes() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}/announce", socket.local_addr().unwrap());
    let tracker = tokio::spawn(async move {
        let mut events = Vec::new();
        let mut datagram = [0; 2048];
        // 3 is `stopped`, 2 is `started` (BEP 15).
        while events.last() != Some(&3) {
            let (len, from) = socket.recv_from(&mut datagram).await.unwrap();
            let id = &datagram[12..16];
            let answer = match len {
                16 => [&[0, 0, 0, 0], id, &[9; 8]].concat(),
                _ => {
                    events.push(datagram[83]);
                    let numbers = [900_u32, 0, 0].map(u32::to_be_bytes).concat();
                    [&[0, 0, 0, 1], id, &numbers].concat()
                }
            };
            socket.send_to(&answer, from).await.unwrap();
        }
        events
    });
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), "node").await;
    let metainfo = tracked("file", &content(LEN), vec![vec![url]]);
    let torrent_id = metainfo.torrent_id();
    node.add_torrent(request(&metainfo.to_bytes(), &[]))
        .await
        .unwrap();
    let answered = async || {
        let torrent = node
            .query(move |session| session.torrent(&torrent_id))
            .await;
        torrent.flatten().unwrap().trackers[0]
            .status
            .contains("0 peers")
    };
    while !answered().await {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.shutdown().await, Ended::Shutdown);
    assert_eq!(tracker.await.unwrap(), [2, 3]);
}
