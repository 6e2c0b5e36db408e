//! Two nodes in one process move a torrent over loopback: checks every byte, and says how fast it
//! was and what it cost.
//!
//! `cargo run --release -p seedbank-node --no-default-features --example loopback -- FOLDER [MIB]`

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::{AddTorrent, TorrentSource};
use seedbank_engine::interface::view::TorrentState;
use seedbank_engine::units::TorrentId;
use seedbank_node::host::config::StoreKind;
use seedbank_node::torrents::create::{CreateRequest, create_metainfo};
use seedbank_node::{Node, NodeHandle, NodeOptions};

/// Whole transfer, whatever the machine.
const TRANSFER_MAX: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(2);
/// Ticks of `/proc/self/stat` in a second, on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().context("a folder to work in")?;
    let mib = args.next().map_or(Ok(64), |mib| mib.parse::<u64>())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(transfer(Path::new(&folder), mib << 20))?;
    std::io::stdout().write_all(report.as_bytes())?;
    Ok(())
}

async fn transfer(folder: &Path, len: u64) -> Result<String> {
    let source = folder.join("seed-files/loopback");
    write_content(&source, len)?;
    let request = CreateRequest {
        path: source.clone(),
        trackers: Vec::new(),
        private: false,
        comment: None,
        piece_len: None,
    };
    let metainfo = create_metainfo(&request, "loopback", None, |_, _| true)?;
    let seed = start(folder, "seed").await?;
    add(&seed, &metainfo, &[]).await?;
    reach(&seed, metainfo.torrent_id()).await?;
    let leecher = start(folder, "leecher").await?;
    let addr = seed.listen_addr().context("the seed listens")?;

    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    add(&leecher, &metainfo, &[addr]).await?;
    reach(&leecher, metainfo.torrent_id()).await?;
    let (took, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu);

    leecher.shutdown().await;
    seed.shutdown().await;
    compare(&source, &folder.join("leecher-files/loopback"))?;
    let mib = metainfo.geometry.total_len() as f64 / 1048576.0;
    let mut report = String::new();
    writeln!(
        report,
        "{mib:.1} MiB in {took:.2} s: {:.0} MiB/s",
        mib / took
    )?;
    let per_gib = cpu / mib * 1024.0;
    writeln!(report, "{per_gib:.2} s of CPU per GiB, both nodes together")?;
    Ok(report)
}

async fn start(folder: &Path, name: &str) -> Result<NodeHandle> {
    let files = folder.join(format!("{name}-files"));
    let mut options = NodeOptions::new(folder.join(name), files);
    options.listen = vec!["127.0.0.1:0".parse()?];
    options.store = StoreKind::Memory;
    options.rng_seed = Some(7);
    Ok(Node::start(options).await?)
}

async fn add(node: &NodeHandle, metainfo: &Metainfo, peers: &[SocketAddr]) -> Result<()> {
    let source = TorrentSource::Metainfo(Arc::new(metainfo.clone()));
    let add = AddTorrent {
        peers: peers.to_vec(),
        ..AddTorrent::new(source)
    };
    node.add_torrent(add).await?;
    Ok(())
}

/// Waits until everything is there and verified.
async fn reach(node: &NodeHandle, torrent_id: TorrentId) -> Result<()> {
    let begin = Instant::now();
    loop {
        let view = node
            .query(move |session| session.torrent(&torrent_id))
            .await;
        let view = view.flatten().context("the node has ended")?;
        match view.state {
            TorrentState::Seeding => return Ok(()),
            TorrentState::Failed => bail!("failed: {:?}", view.error),
            _ => ensure!(begin.elapsed() < TRANSFER_MAX, "stuck: {view:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Five files with an odd last piece, an empty one, and borders inside pieces and blocks.
fn write_content(folder: &Path, len: u64) -> Result<()> {
    let files = [
        ("a.bin", len / 2 + 1),
        ("b/c/d.bin", len / 4 + 4_321),
        ("b/empty", 0),
        ("b/tiny", 1),
        ("z.bin", len / 4 + 99),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chunk = vec![0; 1 << 20];
    for (path, len) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("below the folder")?)?;
        let mut file = File::create(path)?;
        let mut left = usize::try_from(len)?;
        while left > 0 {
            let now = left.min(chunk.len());
            for word in chunk[..now].chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
            }
            file.write_all(&chunk[..now])?;
            left -= now;
        }
    }
    Ok(())
}

fn compare(source: &Path, copy: &Path) -> Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let copy = copy.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            compare(&entry.path(), &copy)?;
            continue;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        File::open(entry.path())?.read_to_end(&mut ours)?;
        File::open(&copy)?.read_to_end(&mut theirs)?;
        ensure!(ours == theirs, "{} differs", copy.display());
    }
    Ok(())
}

/// Processor time of this process so far, in user and kernel.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("fields behind the name")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
