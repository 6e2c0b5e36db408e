//! The promise behind a real uplink, under virtual time: pay and be served first, with default
//! settings, where no node knows what its line carries.
//!
//! A seeder behind an uplink of `U`, leechers that are told to upload a part of that and meet, one
//! of whom pays. Everybody stays and seeds; prices are the defaults. The same cells are run over
//! lines that a kernel shapes (`tests/it/promise.rs`), and both tables are to agree.

mod quoted;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::{BoostOrder, Command};
use seedbank_engine::interface::config::Policy;
use seedbank_ledger::{Duration, MicroCredits, Rate};

use crate::books::SimBooks;
use crate::demo::{median, seconds};
use crate::network::{LinkConfig, NodeIndex};
use crate::settlement::SimSettlement;
use crate::signatures::Signatures;
use crate::swarm::{add, after, completed_at, config, identity_by, start, torrent, wallet_knows};
use crate::world::{START, World};

pub use quoted::Quoted;

/// Leechers that do not pay.
const OTHERS: usize = 6;
const SEEDER: NodeIndex = NodeIndex(0);
const PAYER: NodeIndex = NodeIndex(1);
/// What stands in front of a leecher's way out at most.
const LEECHER_BUFFER: Duration = Duration::from_millis(100);
/// One way between a node and the middle: there is no delay but what queues make.
const DELAY: Duration = Duration::from_nanos(50_000);
/// What a socket takes in beyond what is under way.
const SEND_BUFFER: u64 = 32 << 10;
/// No swarm takes longer.
const SWARM_MAX: Duration = Duration::from_secs(600);
/// By then everybody has heard of their credit.
const HEARD_MAX: Duration = Duration::from_secs(60);
const GRANTED: MicroCredits = MicroCredits::new(10_000_000);
const BOOST_MAX: MicroCredits = MicroCredits::new(1_000_000);
const SETTLEMENT_KEY: u64 = 1_000;
const ISSUER_KEY: u64 = 1_001;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The seeder's uplink, Mbit/s.
    pub uplink: u64,
    /// What stands in front of it at most.
    pub buffer: Duration,
    /// The seeder is told nine tenths of its uplink as its limit.
    pub is_limited: bool,
    /// A leecher uploads this part of the seeder's uplink.
    pub part: u64,
    /// How long everybody runs before the torrent is added: it says when in the choker's round of
    /// 10 s the swarm begins.
    pub up_for: Duration,
    /// Seed of every random choice.
    pub rng_seed: u64,
}

/// How long a swarm took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmTimes {
    /// The one who pays, or would.
    pub payer: Duration,
    /// The others, first to last.
    pub others: Vec<Duration>,
}

impl Cell {
    /// Runs it with payment and without.
    ///
    /// # Errors
    /// What did not happen in time.
    pub fn promise(&self) -> Result<Promise, String> {
        let (paid, free) = (self.run(true)?, self.run(false)?);
        Ok(Promise { paid, free })
    }

    /// Runs the swarm, `pays` or not.
    ///
    /// # Errors
    /// What did not happen in time.
    pub fn run(&self, pays: bool) -> Result<SwarmTimes, String> {
        let (mut world, metainfo) = self.world();
        world.run_for(HEARD_MAX);
        world.run_for(self.up_for);
        if !wallet_knows(&world, PAYER, GRANTED) {
            return Err("the payer has not heard of its credit".to_owned());
        }
        let torrent_id = metainfo.torrent_id();
        let begin = world.now();
        let all: Vec<NodeIndex> = (0..=OTHERS + 1).map(NodeIndex).collect();
        for node in &all {
            let others: Vec<NodeIndex> = all.iter().copied().filter(|at| at != node).collect();
            add(&mut world, *node, &metainfo, *node == SEEDER, &others);
        }
        if pays {
            let order = BoostOrder {
                request_id: "promise".to_owned(),
                torrent_id,
                max: BOOST_MAX,
                bid: Rate::new(2 * Rate::PAR.get()),
                time_to_live_secs: None,
            };
            let boosted = world.command(PAYER, Command::Boost(order));
            boosted.map_err(|error| format!("the boost was refused: {error}"))?;
        }
        let done = |world: &World, node: NodeIndex| completed_at(world, node, &torrent_id);
        let leechers = &all[1..];
        let everybody = |world: &World| leechers.iter().all(|node| done(world, *node).is_some());
        let end = world.run_until(after(&world, SWARM_MAX), everybody);
        if !end.is_done() {
            return Err(format!("not complete after {SWARM_MAX}: {end:?}"));
        }
        let took = |node: &NodeIndex| done(&world, *node).map(|at| at.since(begin));
        let mut others: Vec<Duration> = leechers[1..].iter().filter_map(took).collect();
        others.sort();
        let payer = took(&PAYER).expect("everybody is done");
        Ok(SwarmTimes { payer, others })
    }

    fn world(&self) -> (World, Metainfo) {
        let (total, piece_len) = match self.uplink {
            8 => (8 << 20, 256 << 10),
            32 => (32 << 20, 1 << 20),
            _ => (96 << 20, 1 << 20),
        };
        let metainfo = torrent("promise", total, piece_len, None);
        let scheme = Signatures::counted().scheme();
        let key = |number| identity_by(scheme.clone(), number);
        let mut settlement = SimSettlement::new(key(SETTLEMENT_KEY), key(ISSUER_KEY), START);
        let network = settlement.network();
        settlement.grant(key(1).id(), GRANTED, START);
        let mut world = World::new(Some(settlement), self.rng_seed);
        let rate = self.uplink * 1_000_000 / 8;
        for number in 0..=OTHERS as u64 + 1 {
            let is_seeder = number == 0;
            let link = LinkConfig {
                buffer: if is_seeder {
                    self.buffer
                } else {
                    LEECHER_BUFFER
                },
                send_buffer: SEND_BUFFER,
                ..LinkConfig::new(rate, DELAY)
            };
            let books = SimBooks::new(&key(number), Some(network), START);
            let node = world.add_node(&format!("node-{number}"), books, link);
            let mut config = config(number, self.rng_seed);
            config.network = Some(network);
            let limit = match (is_seeder, self.is_limited) {
                (true, false) => None,
                (true, true) => Some(rate * 9 / 10),
                (false, _) => Some(rate / self.part),
            };
            let policy = Policy {
                upload_limit: limit,
                ..Policy::default()
            };
            start(&mut world, node, config, policy);
        }
        (world, metainfo)
    }
}

/// What a cell came to, with and without payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Where one pays.
    pub paid: SwarmTimes,
    /// Where nobody does.
    pub free: SwarmTimes,
}

impl SwarmTimes {
    /// When half of the others were done.
    pub fn median(&self) -> Duration {
        median(&self.others)
    }

    /// When all were done.
    pub fn last(&self) -> Duration {
        let last = self.others.last().copied().unwrap_or(Duration::ZERO);
        last.max(self.payer)
    }
}

impl Promise {
    /// How much sooner the payer is done than the median of the others in its swarm.
    pub fn gain(&self) -> f64 {
        seconds(self.paid.median()) / seconds(self.paid.payer)
    }

    /// The payer's time over that of the same leecher where nobody pays.
    pub fn own(&self) -> f64 {
        seconds(self.paid.payer) / seconds(self.free.payer)
    }

    /// The last one's time over that where nobody pays.
    pub fn harm(&self) -> f64 {
        seconds(self.paid.last()) / seconds(self.free.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments of the choker's round of 10 s at which a cell's runs begin, each a seed of its own.
    const SHORT: [u64; 3] = [1, 4, 7];
    const LONG: [u64; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    fn cell(uplink: u64, buffer_ms: u64, is_limited: bool, part: u64) -> Cell {
        Cell {
            uplink,
            buffer: Duration::from_millis(buffer_ms),
            is_limited,
            part,
            up_for: Duration::ZERO,
            rng_seed: 0,
        }
    }

    fn runs(cell: Cell, moments: &[u64]) -> Vec<Promise> {
        let run = |secs: &u64| {
            let up_for = Duration::from_secs(*secs);
            let cell = Cell {
                up_for,
                rng_seed: *secs,
                ..cell
            };
            cell.promise().unwrap()
        };
        moments.iter().map(run).collect()
    }

    #[test]
    fn who_pays_is_first_behind_uplinks_that_nobody_told_us() {
        for (cell, gain_min) in [
            (cell(8, 20, false, 16), 2.2),
            (cell(8, 200, false, 16), 2.2),
            (cell(8, 200, true, 16), 2.2),
            (cell(32, 200, false, 16), 2.5),
        ] {
            for run in runs(cell, &SHORT) {
                assert!(run.gain() >= gain_min, "{cell:?}: {:.2}", run.gain());
                assert!(run.own() <= 0.6, "{cell:?}: {:.2}", run.own());
                assert!(run.harm() <= 1.1, "{cell:?}: {:.2}", run.harm());
            }
        }
    }

    /// Every cell, and those where the claim ends: means, and from the least to the most.
    #[test]
    #[ignore = "a table, not a test; five minutes, with --nocapture"]
    fn long_form() {
        println!(
            "| U Mbit/s | buffer ms | limit | leechers | payer s | median s | gain | own | harm |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for part in [16, 4, 1] {
            for (uplink, buffer) in [
                (8, 20),
                (8, 200),
                (32, 20),
                (32, 200),
                (100, 20),
                (100, 200),
            ] {
                for is_limited in [true, false] {
                    let runs = runs(cell(uplink, buffer, is_limited, part), &LONG);
                    let limit = if is_limited { "yes" } else { "no" };
                    print!("| {uplink} | {buffer} | {limit} | U/{part} |");
                    let figures: [fn(&Promise) -> f64; 5] = [
                        |run| seconds(run.paid.payer),
                        |run| seconds(run.paid.median()),
                        Promise::gain,
                        Promise::own,
                        Promise::harm,
                    ];
                    for figure in figures {
                        let mut values: Vec<f64> = runs.iter().map(figure).collect();
                        values.sort_by(f64::total_cmp);
                        let mean = values.iter().sum::<f64>() / values.len() as f64;
                        print!(
                            " {mean:.2} ({:.2} – {:.2}) |",
                            values[0],
                            values[values.len() - 1]
                        );
                    }
                    println!();
                }
            }
        }
    }
}
