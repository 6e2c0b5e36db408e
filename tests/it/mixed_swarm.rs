//! One slow seed and four different leechers that share with each other: is our choker one that
//! other clients can live with, and does it serve us well enough?

use std::time::Duration;

use anyhow::ensure;
use seedbank_tests::client::{
    Aria2, Client, Libtorrent, LibtorrentOptions, Source, Transmission, await_complete,
    ensure_no_complaints,
};
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::namespace::run_alone;

/// At 1.5 MiB/s the seed alone needs just under three minutes for one copy.
const SWARM_MAX: Duration = Duration::from_secs(600);

const SEED: LibtorrentOptions = LibtorrentOptions {
    upload_rate: 3 << 19,
    unchoke_slots: 2,
    connections: 0,
    newer: false,
};

/// Two slots for three leechers: somebody is always choked, and the slots go round.
const CONFIG: &str = "[earn]\nslots = 2\n";

const FLIPS_MIN: u32 = 10;
const FLIPPED_PEERS_MIN: usize = 2;

/// Our time over the best of the others'.
const RATIO_MAX: f64 = 1.2;

#[test]
fn a_mixed_swarm_completes_while_our_slots_go_round() {
    run_alone(SWARM_MAX + Duration::from_secs(120), |net| {
        let torrent = net.torrent(Plan::large())?;
        let mut seed = Libtorrent::start(net, "seed", SEED)?;
        seed.seed(&torrent, &net.seed_folder("seed-files", &torrent.content)?)?;

        let mut ours = Daemon::start(net, "seedbank", CONFIG)?;
        let mut libtorrent = Libtorrent::start(net, "libtorrent", LibtorrentOptions::default())?;
        let mut transmission = Transmission::start(net, "transmission")?;
        let mut aria2 = Aria2::start(net, "aria2")?;
        let mut leechers: [&mut dyn Client; 4] =
            [&mut ours, &mut libtorrent, &mut transmission, &mut aria2];
        for leecher in &mut leechers {
            let folder = net.folder(&format!("{}-files", leecher.name()))?;
            leecher.leech(&torrent, Source::File, &folder, &[])?;
        }
        let took = await_complete(&mut leechers, SWARM_MAX)?;
        for (leecher, took) in leechers.iter().zip(&took) {
            println!("{}: {:.1} s", leecher.name(), took.as_secs_f64());
            leecher.verify(&torrent, &net.folder(&format!("{}-files", leecher.name()))?)?;
        }
        let copies = seed.progress()?.sent as f64 / torrent.content.plan.total() as f64;
        println!("the seed sent {copies:.2} copies");
        ensure_no_complaints(&mut leechers)?;
        ensure_no_complaints(&mut [&mut seed])?;

        let best = took[1..].iter().min().expect("three others");
        let ratio = took[0].as_secs_f64() / best.as_secs_f64();
        ensure!(
            ratio <= RATIO_MAX,
            "{ratio:.2} times the best of the others"
        );

        let unchokes = ours.unchokes()?;
        println!("unchoked by us, by peer: {unchokes:?}");
        // The first unchoke of each is no flip.
        let flips: u32 = unchokes.values().map(|count| count.saturating_sub(1)).sum();
        let flipped = unchokes.values().filter(|count| **count > 1).count();
        ensure!(
            flips >= FLIPS_MIN && flipped >= FLIPPED_PEERS_MIN,
            "{flips} flips: {unchokes:?}"
        );
        Ok(())
    });
}
