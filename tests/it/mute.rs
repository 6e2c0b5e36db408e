//! Peers that show everything, unchoke and never send a block, around one honest seed: a download
//! takes hardly longer for them, as libtorrent's does in the same run.

use std::net::{SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use seedbank_tests::client::{Client, Libtorrent, LibtorrentOptions, Source, await_complete};
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::namespace::run_alone;
use seedbank_tests::net::Net;
use seedbank_tests::raw_peer::{MODERN, PLAIN, RawPeer};
use seedbank_tests::torrent::Torrent;

const SCENARIO_MAX: Duration = Duration::from_secs(900);
const TRANSFER_MAX: Duration = Duration::from_secs(120);
const RATE: u32 = 4 << 20;
/// Five seconds of the seed's rate, and pieces as small as make an end game of some length.
const TOTAL: u64 = 20 << 20;
const PIECE: u64 = 256 << 10;
/// Our time with mute peers over that without.
const RATIO_MAX: f64 = 1.5;

const BITFIELD: u8 = 5;
const UNCHOKE: u8 = 1;
const REQUEST: u8 = 6;

/// Listens as a peer that never sends a block.
struct Mute {
    addr: SocketAddrV4,
    /// Requests that it left unanswered.
    asked: Arc<AtomicU64>,
}

impl Mute {
    fn start(net: &Net, torrent: &Torrent, reserved: [u8; 8]) -> Result<Self> {
        let addr = net.listen_addr();
        let listener = TcpListener::bind(addr)?;
        let asked = Arc::new(AtomicU64::new(0));
        let (counter, hash) = (Arc::clone(&asked), torrent.info_hash);
        let pieces = usize::try_from(TOTAL / PIECE)?;
        thread::spawn(move || {
            loop {
                if let Ok(peer) = RawPeer::accept(&listener, hash, reserved) {
                    // Whoever hangs up is as welcome again.
                    let _ = listen(peer, pieces, &counter);
                }
            }
        });
        Ok(Self { addr, asked })
    }
}

fn listen(mut peer: RawPeer, pieces: usize, asked: &AtomicU64) -> Result<()> {
    peer.send(BITFIELD, &vec![0xff; pieces / 8])?;
    peer.send(UNCHOKE, &[])?;
    while let Some((id, _)) = peer.receive()? {
        asked.fetch_add(u64::from(id == REQUEST), Ordering::Relaxed);
    }
    Ok(())
}

/// A seed, mute peers, and what they have.
struct Scene<'a> {
    net: &'a Net,
    torrent: Torrent,
    seed: Libtorrent,
    mutes: Vec<Mute>,
    newer: bool,
}

impl<'a> Scene<'a> {
    fn start(net: &'a Net, mute_count: usize, newer: bool) -> Result<Self> {
        let torrent = net.torrent(Plan::single("mute.bin", TOTAL, PIECE))?;
        let options = LibtorrentOptions {
            upload_rate: RATE,
            ..LibtorrentOptions::default()
        };
        let mut seed = Libtorrent::start(net, "seed", options)?;
        seed.seed(&torrent, &net.seed_folder("seed-files", &torrent.content)?)?;
        let kinds = [MODERN, PLAIN].into_iter().cycle();
        let mutes = kinds.take(mute_count);
        let mutes = mutes.map(|reserved| Mute::start(net, &torrent, reserved));
        let mutes = mutes.collect::<Result<_>>()?;
        Ok(Self {
            net,
            torrent,
            seed,
            mutes,
            newer,
        })
    }

    /// Seconds until `leecher` has everything, among the first `count` mute peers.
    fn leech(&self, leecher: &mut dyn Client, count: usize) -> Result<f64> {
        let folder = self.net.folder(&format!("{}-files", leecher.name()))?;
        let mutes = &self.mutes[..count];
        let asked = || -> u64 {
            let each = mutes.iter().map(|mute| mute.asked.load(Ordering::Relaxed));
            each.sum()
        };
        let before = asked();
        let mut peers: Vec<_> = mutes.iter().map(|mute| mute.addr).collect();
        peers.push(self.seed.addr());
        leecher.leech(&self.torrent, Source::File, &folder, &peers)?;
        let took = await_complete(&mut [leecher], TRANSFER_MAX)?[0].as_secs_f64();
        leecher.verify(&self.torrent, &folder)?;
        ensure!(
            count == 0 || asked() > before,
            "{}: nobody asked the mute peers",
            leecher.name()
        );
        Ok(took)
    }

    fn seedbank(&self, count: usize) -> Result<f64> {
        let mut leecher = Daemon::start(self.net, &format!("seedbank-{count}"), "")?;
        self.leech(&mut leecher, count)
    }

    fn libtorrent(&self, count: usize) -> Result<f64> {
        let options = LibtorrentOptions {
            unchoke_slots: 0,
            newer: self.newer,
            ..LibtorrentOptions::default()
        };
        let mut leecher = Libtorrent::start(self.net, &format!("libtorrent-{count}"), options)?;
        self.leech(&mut leecher, count)
    }

    /// A row for each count; fails where we took too long.
    fn table(&self, counts: impl Iterator<Item = usize>) -> Result<()> {
        let mut alone = None;
        println!("mute peers, seedbank s, libtorrent s");
        for count in counts {
            let (ours, theirs) = (self.seedbank(count)?, self.libtorrent(count)?);
            println!("{count:10}, {ours:10.2}, {theirs:12.2}");
            let ratio = ours / *alone.get_or_insert(ours);
            ensure!(
                ratio <= RATIO_MAX,
                "{ratio:.2} times as long with {count} of them"
            );
        }
        Ok(())
    }
}

#[test]
fn i1_six_mute_peers_slow_nobody_on_sockets() {
    run_alone(SCENARIO_MAX, |net| {
        Scene::start(net, 6, false)?.table([0, 6].into_iter())
    });
}

#[test]
#[ignore = "four minutes, and wants a newer libtorrent: make bench"]
fn i1_mute_peers_beside_libtorrent() {
    run_alone(SCENARIO_MAX, |net| {
        Scene::start(net, 12, true)?.table(0..=12)
    });
}
