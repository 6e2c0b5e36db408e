//! Seedbank with the clients that people run: whole torrents both ways, and magnet links.
//!
//! 256 MiB each, in several files with an odd last piece, an empty file and a nested folder. Every
//! byte is verified by hash, and no side may complain of a protocol error.

use std::time::Duration;

use anyhow::Result;
use seedbank_tests::client::{
    Aria2, Client, Libtorrent, LibtorrentOptions, Source, Transmission, await_complete,
    ensure_no_complaints,
};
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::namespace::run;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;

/// Transmission 3.00 is the slowest: as a seed it sends 8 to 11 MiB/s after a start of 9 to 14 s.
const TRANSFER_MAX: Duration = Duration::from_secs(240);
const SCENARIO_MAX: Duration = Duration::from_secs(420);

const COUNTED_MAX: Duration = Duration::from_secs(5);

/// A torrent from `seed` to `leecher`, every byte checked.
fn transfer(
    net: &Net,
    plan: Plan,
    source: Source,
    seed: &mut dyn Client,
    leecher: &mut dyn Client,
) -> Result<()> {
    let torrent = net.torrent(plan)?;
    seed.seed(&torrent, &net.seed_folder("seed-files", &torrent.content)?)?;
    let folder = net.folder("leecher-files")?;
    leecher.leech(&torrent, source, &folder, &[seed.addr()])?;
    let took = await_complete(&mut [leecher], TRANSFER_MAX)?;
    println!("complete after {:.1} s", took[0].as_secs_f64());
    leecher.verify(&torrent, &folder)?;
    // The leecher may be done a moment before the seed has counted its last bytes.
    poll(COUNTED_MAX, "the seed to have counted what it sent", || {
        let sent = seed.progress()?.sent;
        Ok((sent >= torrent.content.plan.total()).then_some(()))
    })?;
    ensure_no_complaints(&mut [seed, leecher])
}

fn libtorrent(net: &Net, name: &str) -> Result<Libtorrent> {
    Libtorrent::start(net, name, LibtorrentOptions::default())
}

#[test]
fn seedbank_seeds_256_mib_to_libtorrent() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Daemon::start(net, "seed", "")?;
        let mut leecher = libtorrent(net, "leecher")?;
        transfer(net, Plan::large(), Source::File, &mut seed, &mut leecher)
    });
}

#[test]
fn seedbank_seeds_256_mib_to_transmission() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Daemon::start(net, "seed", "")?;
        let mut leecher = Transmission::start(net, "leecher")?;
        transfer(net, Plan::large(), Source::File, &mut seed, &mut leecher)
    });
}

#[test]
fn seedbank_seeds_256_mib_to_aria2() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Daemon::start(net, "seed", "")?;
        let mut leecher = Aria2::start(net, "leecher")?;
        transfer(net, Plan::large(), Source::File, &mut seed, &mut leecher)
    });
}

#[test]
fn seedbank_fetches_256_mib_from_libtorrent() {
    run(SCENARIO_MAX, |net| {
        let mut seed = libtorrent(net, "seed")?;
        let mut leecher = Daemon::start(net, "leecher", "")?;
        transfer(net, Plan::large(), Source::File, &mut seed, &mut leecher)
    });
}

#[test]
fn seedbank_fetches_256_mib_from_transmission() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Transmission::start(net, "seed")?;
        let mut leecher = Daemon::start(net, "leecher", "")?;
        transfer(net, Plan::large(), Source::File, &mut seed, &mut leecher)
    });
}

#[test]
fn seedbank_fetches_256_mib_from_aria2() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Aria2::start(net, "seed")?;
        let mut leecher = Daemon::start(net, "leecher", "")?;
        transfer(net, Plan::large(), Source::File, &mut seed, &mut leecher)
    });
}

#[test]
fn a_magnet_link_is_fetched_from_libtorrent() {
    run(SCENARIO_MAX, |net| {
        let mut seed = libtorrent(net, "seed")?;
        let mut leecher = Daemon::start(net, "leecher", "")?;
        transfer(net, Plan::small(), Source::Magnet, &mut seed, &mut leecher)
    });
}

#[test]
fn a_magnet_link_is_served_to_libtorrent() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Daemon::start(net, "seed", "")?;
        let mut leecher = libtorrent(net, "leecher")?;
        transfer(net, Plan::small(), Source::Magnet, &mut seed, &mut leecher)
    });
}

#[test]
fn one_file_of_one_odd_piece_is_fetched_and_served() {
    run(SCENARIO_MAX, |net| {
        let plan = Plan::single("one piece.bin", 12_345, 64 << 10);
        let mut seed = libtorrent(net, "seed")?;
        let mut middle = Daemon::start(net, "middle", "")?;
        transfer(net, plan.clone(), Source::File, &mut seed, &mut middle)?;

        let torrent = net.torrent(plan)?;
        let mut last = Transmission::start(net, "last")?;
        let folder = net.folder("last-files")?;
        last.leech(&torrent, Source::File, &folder, &[middle.addr()])?;
        await_complete(&mut [&mut last], TRANSFER_MAX)?;
        last.verify(&torrent, &folder)?;
        ensure_no_complaints(&mut [&mut seed, &mut middle, &mut last])
    });
}
