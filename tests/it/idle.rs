//! What a connection costs a seed in memory while nothing happens on it, beside libtorrent.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use seedbank_tests::client::{Client, Libtorrent, LibtorrentOptions};
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::limits::{anonymous_bytes, raise_open_files};
use seedbank_tests::namespace::run_alone;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;
use seedbank_tests::raw_peer::{MODERN, PLAIN, RawPeer};
use seedbank_tests::torrent::Torrent;

const SCENARIO_MAX: Duration = Duration::from_secs(240);
const COUNT: u16 = 1_000;
/// Most bytes that one idle connection may cost.
const EACH_MAX: u64 = 6 * 1024;
/// Both clients have given back what they needed for the handshakes by then.
const SETTLED: Duration = Duration::from_secs(8);
/// One place in four is for those that we dial.
const PLACES: u16 = 2 * COUNT;

/// How much peers say before they fall silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Handshake,
    /// The extended handshake that libtorrent sends, and a bitfield of every second piece.
    Everything,
}

const EXTENDED: &[u8] = b"\0d1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e\
    12:ut_holepunchi4e11:ut_metadatai2e6:ut_pexi1ee4:reqqi2000e11:upload_onlyi0e\
    1:v18:libtorrent/2.1.1.06:yourip4:\x7f\x00\x00\x01e";

fn plan() -> Plan {
    Plan::single("idle.bin", 16 << 20, 16 << 10)
}

/// An address of its own for every peer, none of them the one that is nobody's.
fn address(index: u16) -> Ipv4Addr {
    let [high, low] = index.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn connect(seed: &dyn Client, torrent: &Torrent, says: Says) -> Result<Vec<RawPeer>> {
    let pieces = usize::try_from(torrent.content.plan.total() / torrent.content.plan.piece_len)?;
    let peers = (1..=COUNT).map(|index| {
        let reserved = match says {
            Says::Handshake => PLAIN,
            Says::Everything => MODERN,
        };
        let hash = torrent.info_hash;
        let mut peer = RawPeer::connect(address(index), seed.addr(), hash, reserved)?;
        if says == Says::Everything {
            peer.send(20, EXTENDED)?;
            peer.send(5, &vec![0x55; pieces.div_ceil(8)])?;
        }
        Ok(peer)
    });
    peers.collect()
}

/// Anonymous memory of `process` with the connections less that without, for each.
fn measure(seed: &mut dyn Client, process: u32, torrent: &Torrent, says: Says) -> Result<u64> {
    let before = anonymous_bytes(process)?;
    let peers = connect(seed, torrent, says)?;
    let begin = Instant::now();
    let after = poll(2 * SETTLED, "idleness", || {
        let now = anonymous_bytes(process)?;
        Ok((begin.elapsed() >= SETTLED).then_some(now))
    })?;
    let count = u64::try_from(seed.peers()?.len())?;
    ensure!(count >= u64::from(COUNT), "{count} of {COUNT} stayed");
    drop(peers);
    let each = after.saturating_sub(before) / u64::from(COUNT);
    println!(
        "{}, {says:?}: {each} bytes each, {before} before",
        seed.name()
    );
    Ok(each)
}

fn seedbank(net: &Net, torrent: &Torrent, says: Says) -> Result<u64> {
    let name = format!("seedbank-{says:?}").to_lowercase();
    let mut seed = Daemon::start_for(net, &name, PLACES, "")?;
    let folder = net.seed_folder(&format!("{name}-files"), &torrent.content)?;
    seed.seed(torrent, &folder)?;
    let process = seed.process_id()?;
    measure(&mut seed, process, torrent, says)
}

fn libtorrent(net: &Net, torrent: &Torrent, says: Says) -> Result<u64> {
    let name = format!("libtorrent-{says:?}").to_lowercase();
    let options = LibtorrentOptions {
        connections: u32::from(PLACES),
        newer: true,
        ..LibtorrentOptions::default()
    };
    let mut seed = Libtorrent::start(net, &name, options)?;
    println!("libtorrent {}", seed.version());
    let folder = net.seed_folder(&format!("{name}-files"), &torrent.content)?;
    seed.seed(torrent, &folder)?;
    let process = seed.process_id();
    measure(&mut seed, process, torrent, says)
}

#[test]
fn n16_an_idle_connection_costs_at_most_6_kib() {
    run_alone(SCENARIO_MAX, |net| {
        raise_open_files(4_096)?;
        let torrent = net.torrent(plan())?;
        for says in [Says::Handshake, Says::Everything] {
            let each = seedbank(net, &torrent, says)?;
            ensure!(each <= EACH_MAX, "{says:?}: {each} bytes each");
        }
        Ok(())
    });
}

#[test]
#[ignore = "wants a newer libtorrent: make bench"]
fn n16_idle_connections_beside_libtorrent() {
    run_alone(SCENARIO_MAX, |net| {
        raise_open_files(4_096)?;
        let torrent = net.torrent(plan())?;
        for says in [Says::Handshake, Says::Everything] {
            let ours = seedbank(net, &torrent, says)?;
            let theirs = libtorrent(net, &torrent, says)?;
            println!("{says:?}: seedbank {ours}, libtorrent {theirs} bytes each");
            ensure!(ours <= EACH_MAX, "{says:?}: {ours} bytes each");
        }
        Ok(())
    });
}
