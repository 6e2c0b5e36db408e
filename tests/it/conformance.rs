//! The two drivers agree: what sockets do to a session, the simulator repeats, and one scenario
//! comes to the same in both.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use seedbank_engine::credit::wallet::WalletBook;
use seedbank_engine::interface::command::{AddTorrent, TorrentSource};
use seedbank_engine::interface::config::SessionConfig;
use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::interface::view::TorrentState;
use seedbank_engine::session::Session;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::charts::node::NodeReader;
use seedbank_ledger::{Identity, Instant, Sequence};
use seedbank_node::demo::{self, DemoOptions};
use seedbank_node::driver::Observer;
use seedbank_node::host::config::StoreKind;
use seedbank_node::torrents::create::{CreateRequest, create_metainfo};
use seedbank_node::{Node, NodeHandle, NodeOptions};
use seedbank_sim::books::SimBooks;
use seedbank_sim::demo::{Demo, PAYER, SEEDER};
use seedbank_sim::recording::{Recording, replay};

const TRANSFER_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
const TOTAL_LEN: usize = (6 << 20) + 54_321;

/// A life of a node's session, as it was recorded.
#[derive(Clone, Debug, Default)]
struct Life {
    began: Option<(SessionConfig, Instant)>,
    recording: Recording,
}

#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Life>>);

impl Observer for Recorder {
    fn begins(&mut self, config: &SessionConfig, book: &WalletBook, now: Instant) {
        assert!(book.rows.is_empty(), "the first life begins without rows");
        self.0.lock().unwrap().began = Some((config.clone(), now));
    }

    fn input(&mut self, input: &Input, now: Instant) {
        self.0.lock().unwrap().recording.input(now, input);
    }

    fn output(&mut self, output: &Output, _: Instant) {
        self.0.lock().unwrap().recording.output(output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_life_replays_to_the_same_outputs_and_the_same_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let content = folder.path().join("seed-files/content.bin");
    fs::create_dir_all(content.parent().unwrap()).unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(TOTAL_LEN).collect();
    fs::write(&content, bytes).unwrap();
    let request = CreateRequest {
        path: content,
        trackers: Vec::new(),
        private: false,
        comment: None,
        piece_len: Some(64 << 10),
    };
    let metainfo = create_metainfo(&request, "test", None, |_, _| true).unwrap();
    let torrent = metainfo.to_bytes();

    let lives = [Recorder::default(), Recorder::default()];
    let seed = start(folder.path(), "seed", &lives[0]).await.unwrap();
    add(&seed, &torrent, None).await.unwrap();
    complete(&seed, metainfo.torrent_id()).await.unwrap();
    let leecher = start(folder.path(), "leecher", &lives[1]).await.unwrap();
    add(&leecher, &torrent, Some(&seed)).await.unwrap();
    complete(&leecher, metainfo.torrent_id()).await.unwrap();

    let ledgers = [&leecher, &seed].map(|node| node.ledger().unwrap());
    leecher.shutdown().await;
    seed.shutdown().await;
    let [leecher, seed] = ledgers;
    for (name, life, ledger) in [("seed", &lives[0], seed), ("leecher", &lives[1], leecher)] {
        let key = folder.path().join(name).join("identity.key");
        let identity = seedbank_node::host::keys::load(&key).unwrap();
        repeats(&life.0.lock().unwrap(), identity, &ledger).unwrap();
    }
}

/// Replays a life in the simulator and compares.
fn repeats(life: &Life, identity: Identity, reader: &NodeReader) -> Result<()> {
    let ledger = reader.now()?;
    let (config, now) = life.began.clone().context("it began")?;
    let page = |from| ledger.entries(Sequence::new(from), 1_000);
    let entries = page(0)?;
    ensure!(entries.len() > 1, "something was booked");
    ensure!(page(entries.len() as u64)?.is_empty(), "one page holds all");
    let mut books = SimBooks::new(&identity, None, entries[0].time);
    let session = Session::new(config, identity, &WalletBook::default(), now);
    let times: Vec<_> = entries.iter().map(|entry| entry.time).collect();
    let again = replay(session, &mut books, &life.recording, |next, _| {
        times[usize::try_from(next.get()).unwrap()]
    });
    ensure!(again == life.recording.digest(), "outputs differ");
    let real: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_bytes()).collect();
    ensure!(books.bytes() == real, "ledgers differ");
    Ok(())
}

async fn start(folder: &Path, name: &str, life: &Recorder) -> Result<NodeHandle> {
    let files = folder.join(format!("{name}-files"));
    let mut options = NodeOptions::new(folder.join(name), files);
    options.listen = vec!["127.0.0.1:0".parse()?];
    options.store = StoreKind::Memory;
    options.rng_seed = Some(11);
    options.observer = Some(Box::new(life.clone()));
    Ok(Node::start(options).await?)
}

async fn add(node: &NodeHandle, torrent: &[u8], from: Option<&NodeHandle>) -> Result<()> {
    let add = AddTorrent {
        peers: from.and_then(NodeHandle::listen_addr).into_iter().collect(),
        ..AddTorrent::new(TorrentSource::from_bytes(torrent)?)
    };
    node.add_torrent(add).await?;
    Ok(())
}

async fn complete(node: &NodeHandle, torrent_id: TorrentId) -> Result<()> {
    let complete = async {
        loop {
            let view = node
                .query(move |session| session.torrent(&torrent_id))
                .await;
            let view = view.flatten().context("the node is there")?;
            if view.state == TorrentState::Seeding {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(TRANSFER_MAX, complete).await?
}

/// Three leechers that know only the seeder, so that it is certain who has how much from whom.
fn star() -> Demo {
    Demo {
        total_len: 16 << 20,
        uplink: 2 << 20,
        unpaid_count: 2,
        leechers_meet: false,
        ..Demo::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_scenario_comes_to_the_same_on_sockets_and_in_the_simulator() {
    let scenario = star();
    let options = DemoOptions {
        scenario,
        store: StoreKind::Memory,
        bars: false,
    };
    let mut out = Vec::new();
    let running = demo::run(&options, &mut out).await.unwrap();
    running.report(&mut out).unwrap();
    let predicted = running.prediction.runs[0].accounts.clone();
    let real = running.shutdown().await.unwrap();
    let said = String::from_utf8(out).unwrap();

    for accounts in [&predicted, &real] {
        assert_eq!(accounts.problems, Vec::<String>::new(), "{said}");
        assert!(accounts.is_conserved(), "{accounts:?}");
        assert_eq!(accounts.claimed, accounts.spent, "{accounts:?}");
        assert_eq!(accounts.claimed, accounts.earned, "{accounts:?}");
        let pairs: Vec<_> = accounts
            .channels
            .iter()
            .map(|of| (of.payer, of.payee))
            .collect();
        let expected: Vec<_> = (PAYER..scenario.node_count())
            .map(|to| (to, SEEDER))
            .collect();
        assert_eq!(pairs, expected, "only the seeder serves");
        for channel in &accounts.channels {
            assert_eq!(channel.taken.get(), channel.given.get(), "{accounts:?}");
        }
    }
    assert_eq!(
        predicted.channels, real.channels,
        "channel by channel\n{said}"
    );
    // What was served before the lock took hold was free; how long that is depends on the machine.
    let (predicted, real) = (predicted.claimed.get(), real.claimed.get());
    let off = predicted.abs_diff(real);
    assert!(
        off * 4 <= predicted,
        "{real} µcr, predicted {predicted} µcr"
    );
}
