//! What a quote expects of a boost in a cell, and what came.

use seedbank_engine::interface::command::{BoostOrder, Command};
use seedbank_engine::interface::view::BoostQuote;
use seedbank_ledger::{Duration, Rate};

use super::{BOOST_MAX, Cell, GRANTED, HEARD_MAX, OTHERS, PAYER, SEEDER, SWARM_MAX};
use crate::network::NodeIndex;
use crate::swarm::{add, after, completed_at, wallet_knows};

/// A quote that was taken while nobody paid, and how long the rest then took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The quote.
    pub quote: BoostQuote,
    /// From the quote, and the boost placed with it, to the end of the payer's download.
    pub took: Duration,
}

impl Cell {
    /// Lets the swarm run for `wait` without payment, takes a quote, and boosts or goes on as
    /// `pays` says.
    ///
    /// # Errors
    /// What did not happen in time.
    pub fn quoted(&self, wait: Duration, pays: bool) -> Result<Quoted, String> {
        let (mut world, metainfo) = self.world();
        let heard = |world: &crate::world::World| wallet_knows(world, PAYER, GRANTED);
        if !world.run_until(after(&world, HEARD_MAX), heard).is_done() {
            return Err("the payer never heard of its credit".to_owned());
        }
        let all: Vec<NodeIndex> = (0..=OTHERS + 1).map(NodeIndex).collect();
        for node in &all {
            let others: Vec<NodeIndex> = all.iter().copied().filter(|at| at != node).collect();
            add(&mut world, *node, &metainfo, *node == SEEDER, &others);
        }
        world.run_for(wait);
        let (torrent_id, begin) = (metainfo.torrent_id(), world.now());
        let bid = Rate::new(2 * Rate::PAR.get());
        let session = world.node(PAYER).session.as_ref();
        let quote = session.and_then(|session| session.boost_quote(torrent_id, bid));
        let quote = quote.ok_or("the payer has no such torrent")?;
        if pays {
            let order = BoostOrder {
                request_id: "quoted".to_owned(),
                torrent_id,
                max: BOOST_MAX,
                bid,
                time_to_live_secs: None,
            };
            let boosted = world.command(PAYER, Command::Boost(order));
            boosted.map_err(|error| format!("the boost was refused: {error}"))?;
        }
        let done = |world: &crate::world::World| completed_at(world, PAYER, &torrent_id);
        let end = world.run_until(after(&world, SWARM_MAX), |world| done(world).is_some());
        let at = done(&world).ok_or(format!("not complete after {SWARM_MAX}: {end:?}"))?;
        let took = at.since(begin);
        Ok(Quoted { quote, took })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::seconds;

    /// How far a quote's estimate may be from what comes.
    const APART_MAX: f64 = 1.5;
    /// The six cells: uplinks in Mbit/s and buffers in milliseconds.
    const CELLS: [(u64, u64); 6] = [
        (8, 20),
        (8, 200),
        (32, 20),
        (32, 200),
        (100, 20),
        (100, 200),
    ];

    fn cell(uplink: u64, buffer_ms: u64, rng_seed: u64) -> Cell {
        Cell {
            uplink,
            buffer: Duration::from_millis(buffer_ms),
            is_limited: false,
            part: 16,
            up_for: Duration::ZERO,
            rng_seed,
        }
    }

    /// How many times one is the other, at least 1.
    fn apart(a: Duration, b: Duration) -> f64 {
        let ratio = seconds(a) / seconds(b);
        ratio.max(1.0 / ratio)
    }

    fn check(cells: &[(u64, u64)], rng_seeds: std::ops::Range<u64>, waits: &[u64]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (uplink, buffer_ms) in cells {
            for rng_seed in rng_seeds.clone() {
                for wait in waits {
                    let cell = cell(*uplink, *buffer_ms, rng_seed);
                    let wait_for = Duration::from_secs(*wait);
                    let paid = cell.quoted(wait_for, true).unwrap();
                    let free = cell.quoted(wait_for, false).unwrap();
                    assert_eq!(paid.quote, free.quote, "nobody had paid");
                    let estimate = paid.quote.estimate.expect("rates are measured");
                    let far = apart(estimate.boosted, paid.took);
                    let line = format!(
                        "| {uplink} | {buffer_ms} | {rng_seed} | {wait} | {:.1} | {:.1} | {far:.2} \
                         | {:.1} | {:.1} | {:.2} |",
                        seconds(estimate.boosted),
                        seconds(paid.took),
                        seconds(estimate.unboosted),
                        seconds(free.took),
                        apart(estimate.unboosted, free.took),
                    );
                    println!("{line}");
                    if far > APART_MAX {
                        wrong.push(line);
                    }
                }
            }
        }
        wrong
    }

    #[test]
    fn a_quotes_estimate_is_within_half_of_what_comes() {
        let wrong = check(&[(8, 20), (8, 200), (32, 200)], 1..2, &[10]);
        assert_eq!(wrong, Vec::<String>::new());
    }

    /// Every cell.
    #[test]
    #[ignore = "the table of all six cells; some minutes, with --nocapture"]
    fn long_form() {
        println!(
            "| U Mbit/s | buffer ms | seed | at s | said s | came s | apart | said without s \
             | came s | apart |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let wrong = check(&CELLS, 1..4, &[6, 10, 15]);
        assert_eq!(wrong, Vec::<String>::new());
    }
}
