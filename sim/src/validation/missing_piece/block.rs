//! The same with real sessions: whoever has everything is gone at once.

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::config::Policy;
use seedbank_engine::rng::Rng;
use seedbank_ledger::{Duration, Instant};

use crate::books::SimBooks;
use crate::network::{LinkConfig, NodeIndex};
use crate::signatures::Signatures;
use crate::stats::whole;
use crate::streams::exponential;
use crate::swarm::{add, config, identity_by, public_ip, start, torrent};
use crate::validation::RowForm;
use crate::world::{START, World, WorldCounts};

/// Bytes of a piece, and how many there are.
const PIECE: u32 = 64 << 10;
const PIECES: u64 = 8;
/// Members that lack the one piece at first.
const CLUB: u64 = 60;
/// Whom somebody who comes is told of.
const KNOWN: usize = 25;

/// A world, and who is in it.
struct OpenSwarm {
    world: World,
    metainfo: Metainfo,
    signatures: Signatures,
    there: Vec<NodeIndex>,
    rng: Rng,
}

/// Peers per second by which such swarms should grow, those by which they do, and what their
/// sessions decided.
pub(super) fn growth(form: RowForm) -> (Vec<f64>, Vec<f64>, WorldCounts) {
    // Arrivals and pieces of the seed per second.
    let settings: &[(f64, f64)] = match form {
        RowForm::Short => &[(1.0, 0.5)],
        RowForm::Full => &[(1.0, 0.5), (1.5, 0.5)],
    };
    let lasts = if form == RowForm::Short { 150 } else { 400 };
    let mut counts = WorldCounts::default();
    let measured = settings.iter().map(|(arrivals, seed)| {
        let mut swarm = OpenSwarm::new(*seed);
        swarm.play(*arrivals, Duration::from_secs(lasts));
        counts.chokes += swarm.world.counts().chokes;
        counts.blocks_served += swarm.world.counts().blocks_served;
        let grown = whole(swarm.there.len() as u64) - whole(CLUB);
        grown / whole(lasts)
    });
    let measured = measured.collect();
    let expected = settings.iter().map(|(arrivals, seed)| arrivals - seed);
    (expected.collect(), measured, counts)
}

impl OpenSwarm {
    /// A seed that sends so many pieces per second, and the club.
    fn new(seed: f64) -> Self {
        let mut swarm = Self {
            world: World::new(None, 6),
            metainfo: torrent("missing", PIECES * u64::from(PIECE), PIECE, None),
            signatures: Signatures::counted(),
            there: Vec::new(),
            rng: Rng::new(66),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate of a few pieces"
        )]
        let uplink = (seed * f64::from(PIECE)) as u64;
        swarm.come(uplink, PIECES);
        swarm.there.clear();
        for _ in 0..CLUB {
            swarm.come(PIECE.into(), PIECES - 1);
        }
        swarm
    }

    /// Somebody comes who has so many pieces, the last ones first to be missing.
    fn come(&mut self, uplink: u64, has: u64) {
        let number = self.world.nodes().len() as u64;
        let identity = identity_by(self.signatures.scheme(), number);
        let books = SimBooks::new(&identity, None, START);
        let link = LinkConfig::new(uplink, Duration::from_millis(10)).with_downlink(1 << 20);
        let ip = public_ip(number);
        let node = self
            .world
            .add_node_at(&format!("peer-{number}"), books, link, ip);
        let mut session = config(number, 6);
        session.receipts = false;
        start(&mut self.world, node, session, Policy::default());
        let torrent_id = self.metainfo.torrent_id();
        let pieces = self.metainfo.geometry.pieces();
        if has < PIECES {
            let pieces = pieces.take(usize::try_from(has).expect("few")).collect();
            self.world.node_mut(node).disk.insert(torrent_id, pieces);
        }
        let mut known = self.there.clone();
        self.rng.shuffle(&mut known);
        known.truncate(KNOWN);
        known.push(NodeIndex(0));
        known.retain(|other| *other != node);
        add(&mut self.world, node, &self.metainfo, has >= PIECES, &known);
        self.there.push(node);
    }

    fn play(&mut self, arrivals: f64, lasts: Duration) {
        let end = Instant::ZERO.after(lasts);
        let mut next = Instant::ZERO;
        while next < end {
            let wait = exponential(&mut self.rng, 1e9 / arrivals);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, and is never below zero"
            )]
            let wait = Duration::from_nanos(wait as u64);
            next = next.after(wait).min(end);
            loop {
                let done = |world: &World| !world.completed.is_empty();
                let ended = self.world.run_until(next, done);
                while let Some((_, node, _)) = self.world.completed.pop_front() {
                    if node != NodeIndex(0) {
                        self.there.retain(|other| *other != node);
                        self.world.crash(node);
                    }
                }
                if !ended.is_done() {
                    break;
                }
            }
            if next < end {
                self.come(PIECE.into(), 0);
            }
        }
    }
}
