//! The receipt protocol under attack: random schedules over the real [`Exchange`] with a model of
//! everything around it.
//!
//! A failing schedule prints the command that replays it. The short form runs in every `cargo test`;
//! the long one with
//! `cargo test --release -p seedbank-engine --test receipts -- --ignored --nocapture`, its number of
//! schedules per kind in `SEEDBANK_SCHEDULES`, one schedule alone with `SEEDBANK_SEED`.
//!
//! [`Exchange`]: seedbank_engine::receipts::Exchange

mod chaos;
mod checks;
mod node;
mod settlement;
mod traffic;
mod world;

use crate::chaos::Roughness;
use crate::node::Play;
use crate::world::World;

/// Tallies of many schedules.
#[derive(Debug, Default)]
struct Totals {
    schedules: u64,
    blocks_paid: u64,
    blocks_open: [u64; 3],
    starts: u64,
    suspended: u64,
    written_off: u64,
    rounds_max: usize,
}

/// One schedule, from its seed to its end.
fn run(rng_seed: u64, plays: &[Play], rough: Roughness) -> World {
    let mut world = World::new(rng_seed, plays);
    world.seed(0, 0);
    world.seed(1, 1);
    world.spoilt_per_mille = [0, 0, 5, 30][world.rng.index(4)];
    if world.rng.chance(3, 4) {
        world.warm_up();
    }
    for _ in 0..rough.steps {
        world.step(rough);
    }
    world
}

struct Replay<'a>(&'a str, u64);

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "replay: SEEDBANK_SEED={} cargo test -p seedbank-engine --test receipts {} -- \
                 --include-ignored --nocapture",
                self.1, self.0
            );
        }
    }
}

fn seeds(count: u64, first: u64) -> Vec<u64> {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = read("SEEDBANK_SEED") {
        return vec![seed];
    }
    let count = read("SEEDBANK_SCHEDULES").unwrap_or(count);
    (first..first + count).collect()
}

fn honest(name: &str, nodes: usize, seeds: Vec<u64>, rough: Roughness) {
    let plays = vec![Play::Honest; nodes];
    let mut totals = Totals::default();
    for seed in seeds {
        let _replay = Replay(name, seed);
        let mut world = run(seed, &plays, rough);
        let rounds = world.drain_all(3_000);
        if rounds == 3_000 && std::env::var("SEEDBANK_SEED").is_ok() {
            for node in &world.nodes {
                for (peer, state) in &node.peers {
                    println!(
                        "{:?} to {} {:?} fast {} choked us {} q {} req {:?} out {} bid {:?} quote {:?} own {:?}",
                        peer,
                        state.remote,
                        state.info_hash,
                        state.fast,
                        !state.unchoked_us,
                        state.queue.len(),
                        state.requested,
                        state.out.len(),
                        state.bid_said,
                        state.quote_said,
                        node.exchange.quote(*peer)
                    );
                }
                for (key, lease) in &node.leases {
                    println!(
                        "  lease {key:?} {:?} holder {:?}",
                        lease.blocks, lease.holder
                    );
                }
                for (_, view) in node.exchange.pairs() {
                    println!("  {view:?}");
                }
                for lock in node.exchange.paying_locks() {
                    println!(
                        "  paying {} {:?} signed {:?} amount {:?}",
                        lock.lock.body.lock_id, lock.state, lock.signed, lock.lock.body.amount
                    );
                }
                for lock in node.exchange.earning_locks() {
                    println!(
                        "  earning {} {:?} worth {:?}",
                        lock.lock.body.lock_id,
                        lock.state,
                        lock.worth()
                    );
                }
                println!("  have {}", node.have.len());
            }
        }
        world.quiesce(400);
        world.check_end();
        totals.schedules += 1;
        totals.blocks_paid += world.blocks_paid;
        for (total, count) in totals.blocks_open.iter_mut().zip(world.blocks_open) {
            *total += count;
        }
        totals.rounds_max = totals.rounds_max.max(rounds);
        for node in &world.nodes {
            totals.starts += node.starts;
            totals.suspended += node.suspended;
            totals.written_off += node.written_off.values().sum::<u64>();
        }
    }
    println!("{name}: {totals:?}");
}

const SMOOTH: Roughness = Roughness {
    steps: 600,
    crashes: false,
    restores: false,
    expiry: false,
};
const ROUGH: Roughness = Roughness {
    steps: 600,
    crashes: true,
    restores: true,
    expiry: true,
};

#[test]
fn two_honest_nodes_end_with_equal_books() {
    honest("two_honest_nodes", 2, seeds(150, 1), SMOOTH);
}

#[test]
fn two_honest_nodes_survive_crashes_and_restores() {
    honest("two_honest_nodes_survive", 2, seeds(200, 10_000), ROUGH);
}

#[test]
fn three_honest_nodes_survive_crashes_and_restores() {
    honest("three_honest_nodes_survive", 3, seeds(100, 20_000), ROUGH);
}
