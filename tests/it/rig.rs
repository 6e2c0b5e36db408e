//! Proves the rig: the real clients among themselves, before one of ours is tried on them.

use std::time::Duration;

use anyhow::Result;
use seedbank_tests::client::{
    Aria2, Client, Libtorrent, LibtorrentOptions, Source, Transmission, await_complete,
    ensure_no_complaints,
};
use seedbank_tests::content::Plan;
use seedbank_tests::namespace::run;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;
use seedbank_tests::raw_peer::{PLAIN, RawPeer};
use seedbank_tests::tracker::Event;

/// Transmission 3.00 sends its first byte after 9 to 14 s.
const TRANSFER_MAX: Duration = Duration::from_secs(120);
const SCENARIO_MAX: Duration = Duration::from_secs(180);

/// A small torrent from `seed` to `leecher`, every byte checked.
fn transfer(
    net: &Net,
    seed: &mut dyn Client,
    leecher: &mut dyn Client,
    source: Source,
) -> Result<()> {
    let torrent = net.torrent(Plan::small())?;
    seed.seed(&torrent, &net.seed_folder("seed", &torrent.content)?)?;
    let folder = net.folder("leecher")?;
    leecher.leech(&torrent, source, &folder, &[seed.addr()])?;
    let took = await_complete(&mut [leecher], TRANSFER_MAX)?;
    println!("complete after {:.1} s", took[0].as_secs_f64());
    leecher.verify(&torrent, &folder)?;
    assert!(seed.progress()?.sent >= torrent.content.plan.total());
    ensure_no_complaints(&mut [seed, leecher])
}

#[test]
fn libtorrent_seeds_transmission() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Libtorrent::start(net, "seed", LibtorrentOptions::default())?;
        let mut leecher = Transmission::start(net, "leecher")?;
        transfer(net, &mut seed, &mut leecher, Source::File)?;
        poll(TRANSFER_MAX, "the announce of a completed download", || {
            let events = net.tracker.events_of(*leecher.addr().ip());
            Ok(events.contains(&Event::Completed).then_some(()))
        })
    });
}

#[test]
fn transmission_seeds_libtorrent() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Transmission::start(net, "seed")?;
        let mut leecher = Libtorrent::start(net, "leecher", LibtorrentOptions::default())?;
        transfer(net, &mut seed, &mut leecher, Source::File)
    });
}

#[test]
fn libtorrent_seeds_aria2() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Libtorrent::start(net, "seed", LibtorrentOptions::default())?;
        let mut leecher = Aria2::start(net, "leecher")?;
        transfer(net, &mut seed, &mut leecher, Source::File)
    });
}

#[test]
fn aria2_seeds_libtorrent() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Aria2::start(net, "seed")?;
        let mut leecher = Libtorrent::start(net, "leecher", LibtorrentOptions::default())?;
        transfer(net, &mut seed, &mut leecher, Source::File)
    });
}

#[test]
fn libtorrent_fetches_a_magnet_link_from_libtorrent() {
    run(SCENARIO_MAX, |net| {
        let mut seed = Libtorrent::start(net, "seed", LibtorrentOptions::default())?;
        let mut leecher = Libtorrent::start(net, "leecher", LibtorrentOptions::default())?;
        transfer(net, &mut seed, &mut leecher, Source::Magnet)
    });
}

/// A peer that sends `message`, which no client accepts, is complained about.
fn complains_of(net: &Net, client: &mut dyn Client, id: u8, payload: &[u8]) -> Result<()> {
    let torrent = net.torrent(Plan::small())?;
    client.leech(&torrent, Source::File, &net.folder("leecher")?, &[])?;
    // Until the client has checked its files, it hangs up on everybody.
    let mut peer = poll(SCENARIO_MAX / 3, "a handshake", || {
        Ok(RawPeer::connect(net.address(), client.addr(), torrent.info_hash, PLAIN).ok())
    })?;
    assert_eq!(client.complaints()?, Vec::<String>::new());
    peer.send(id, payload)?;
    poll(SCENARIO_MAX / 3, "a complaint", || {
        Ok((!client.complaints()?.is_empty()).then_some(()))
    })
}

const BITFIELD: u8 = 5;
const HAVE: u8 = 4;

#[test]
fn libtorrent_is_heard_when_it_complains() {
    run(SCENARIO_MAX, |net| {
        let mut client = Libtorrent::start(net, "client", LibtorrentOptions::default())?;
        complains_of(net, &mut client, BITFIELD, &[0xff; 100])
    });
}

#[test]
fn transmission_is_heard_when_it_complains() {
    run(SCENARIO_MAX, |net| {
        let mut client = Transmission::start(net, "client")?;
        complains_of(net, &mut client, BITFIELD, &[0xff; 100])
    });
}

#[test]
fn aria2_is_heard_when_it_complains() {
    run(SCENARIO_MAX, |net| {
        let mut client = Aria2::start(net, "client")?;
        complains_of(net, &mut client, HAVE, &[0xff; 4])
    });
}
