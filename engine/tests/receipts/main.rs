//! The receipt protocol under attack: random schedules over the real [`Exchange`] with a model of
//! everything around it.
//!
//! A failing schedule prints the command that replays it. The short form runs in every `cargo
//! test`; the long one with `cargo test --release -p seedbank-engine --test receipts -- --ignored
//! --nocapture`, its number of schedules per kind in `SEEDBANK_SCHEDULES` if not the usual one.
//!
//! [`Exchange`]: seedbank_engine::credit::receipts::Exchange

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test says what it did and may be told how long to go on"
)]

mod attribution;
mod budgets;
mod chaos;
mod checks;
mod claims;
mod copies;
mod credit_back;
mod duo;
mod forgetting;
mod late;
mod node;
mod plays;
mod questions;
mod scheme;
mod settlement;
mod storm;
mod traces;
mod traffic;
mod vectors;
mod windows;
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
    blocks_waited: u64,
    blocks_underbid: u64,
    starts: u64,
    suspended: u64,
    written_off: u64,
    misbehaved: u64,
    rounds_max: usize,
    /// The most that a key which does not pay as it should got for nothing, in hundredths of a
    /// window.
    gained_max: u64,
    /// The most of a schedule that honest nodes wrote off of one player, in bytes.
    written_off_max: u64,
    /// Keys that had whims.
    keys: u64,
    back_offs: u64,
}

/// One schedule, from its seed to its end.
fn run(rng_seed: u64, plays: &[Play], rough: Roughness) -> World {
    let mut world = World::new(rng_seed, plays, 16);
    world.seed(0, 0);
    world.seed(1, 1);
    let serves_badly = |play: &Play| *play == Play::Garbage || play.serves_as_it_likes();
    if plays.iter().any(serves_badly) {
        // Somebody else has what the bad seeder has.
        world.seed(2, 1);
    }
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
        let rounds = world.drain_all(ROUNDS_MAX);
        world.quiesce(QUIET_SECS);
        if rounds == ROUNDS_MAX {
            println!("{}", world.describe());
        }
        world.check_end();
        totals.add(&world, rounds);
    }
    println!("{name}: {totals:?}");
}

/// One dishonest node among honest ones: the honest ones complete, pay for nothing but verified
/// blocks, and grant no more than what is paid, exposed or written off.
fn dishonest(name: &str, plays: &[Play], seeds: Vec<u64>) {
    schedules(name, plays, seeds, ROUGH);
}

/// The same where nobody starts again, so that what was gained can be bounded.
fn bounded(name: &str, plays: &[Play], seeds: Vec<u64>) {
    schedules(name, plays, seeds, SLOW);
}

fn schedules(name: &str, plays: &[Play], seeds: Vec<u64>, rough: Roughness) {
    let mut totals = Totals::default();
    for seed in seeds {
        let _replay = Replay(name, seed);
        let mut world = run(seed, plays, rough);
        let rounds = world.drain_all(ROUNDS_MAX);
        if rounds == ROUNDS_MAX {
            println!("{}", world.describe());
        }
        world.quiesce(QUIET_SECS);
        for (index, node) in world.nodes.iter().enumerate() {
            let complete = node.play != Play::Honest || world.is_complete(index);
            assert!(complete, "node {index} is complete");
        }
        if !rough.crashes {
            totals.gained_max = totals.gained_max.max(world.check_gain());
        }
        totals.add(&world, rounds);
    }
    println!("{name}: {totals:?}");
}

impl Totals {
    fn add(&mut self, world: &World, rounds: usize) {
        self.schedules += 1;
        self.blocks_paid += world.blocks_paid;
        for (total, count) in self.blocks_open.iter_mut().zip(world.blocks_open) {
            *total += count;
        }
        self.blocks_waited += world.blocks_waited;
        self.blocks_underbid += world.blocks_underbid;
        self.rounds_max = self.rounds_max.max(rounds);
        for node in &world.nodes {
            self.starts += node.starts;
            self.suspended += node.suspended;
            self.misbehaved += node.misbehaved;
            self.written_off += node.written_off.values().sum::<u64>();
        }
        let back_offs = world.truth.back_offs.values();
        self.back_offs += back_offs.map(|(_, count)| count).sum::<u64>();
        for rogue in world.nodes.iter().filter(|node| node.play.has_whims()) {
            let keys = rogue.ids();
            let honest = world.nodes.iter().filter(|node| node.play == Play::Honest);
            let off = honest.flat_map(|node| &node.written_off);
            let off = off.filter(|(key, _)| keys.contains(key));
            let off = off.map(|(_, bytes)| bytes).sum();
            self.written_off_max = self.written_off_max.max(off);
            self.keys += u64::try_from(keys.len()).expect("few");
        }
    }
}

/// Rounds of 200 ms in which everything must come to its end.
const ROUNDS_MAX: usize = 3_000;
/// Time without traffic in which everything unpaid is written off: a payer without a paid seat may
/// do nothing for 10 min before it is late.
const QUIET_SECS: u64 = 1_000;
const SMOOTH: Roughness = Roughness {
    steps: 600,
    crashes: false,
    restores: false,
    expiry: false,
    end_game_of: 12,
    waits_of: 0,
};
const ROUGH: Roughness = Roughness {
    steps: 600,
    crashes: true,
    restores: true,
    expiry: true,
    end_game_of: 12,
    waits_of: 0,
};
/// Long enough for several back-offs.
const SLOW: Roughness = Roughness {
    waits_of: 20,
    ..SMOOTH
};

#[test]
fn two_honest_nodes_end_with_equal_books() {
    honest("two_honest_nodes", 2, seeds(60, 1), SMOOTH);
}

#[test]
fn three_honest_nodes_end_with_equal_books() {
    honest("three_honest_nodes_end", 3, seeds(30, 5_000), SMOOTH);
}

#[test]
fn two_honest_nodes_survive_crashes_and_restores() {
    honest("two_honest_nodes_survive", 2, seeds(60, 10_000), ROUGH);
}

#[test]
fn three_honest_nodes_survive_crashes_and_restores() {
    honest("three_honest_nodes_survive", 3, seeds(40, 20_000), ROUGH);
}

/// Every other request is for what somebody else was asked for: duplicates that were asked for are
/// paid for once each, fill no window for good, and leave equal books.
#[test]
fn duplicates_of_an_end_game_leave_equal_books() {
    let end_game = |rough| Roughness {
        end_game_of: 2,
        ..rough
    };
    honest(
        "duplicates_of_an_end_game",
        3,
        seeds(20, 110_000),
        end_game(SMOOTH),
    );
    honest(
        "duplicates_of_an_end_game",
        3,
        seeds(20, 120_000),
        end_game(ROUGH),
    );
}

#[test]
#[ignore = "the long form: minutes, with --release"]
fn long_form_of_every_schedule() {
    let long = |steps, rough| Roughness { steps, ..rough };
    honest("long_form", 2, seeds(2_000, 100_000), SMOOTH);
    honest("long_form", 3, seeds(500, 150_000), SMOOTH);
    honest("long_form", 2, seeds(3_000, 200_000), ROUGH);
    honest("long_form", 2, seeds(200, 300_000), long(3_000, ROUGH));
    honest("long_form", 3, seeds(1_500, 400_000), ROUGH);
    honest("long_form", 3, seeds(100, 500_000), long(3_000, ROUGH));
    let cheats = [
        Play::NeverPays,
        Play::PaysLate,
        Play::LyingSync,
        Play::Fickle,
    ];
    for (nth, cheat) in (6..).zip(cheats) {
        let plays = [Play::Honest, cheat];
        dishonest("long_form", &plays, seeds(500, nth * 100_000));
        let plays = [Play::Honest, cheat, Play::Honest];
        dishonest("long_form", &plays, seeds(300, nth * 100_000 + 50_000));
    }
    for (nth, cheat) in (10..).zip([Play::Garbage, Play::Forger]) {
        let plays = [Play::Honest, cheat, Play::Honest];
        dishonest("long_form", &plays, seeds(500, nth * 100_000));
    }
}

#[test]
fn a_payer_that_never_pays_gains_nothing_but_windows() {
    let plays = [Play::Honest, Play::NeverPays];
    dishonest("a_payer_that_never_pays", &plays, seeds(25, 30_000));
}

#[test]
fn a_payer_that_pays_late_harms_nobody() {
    let plays = [Play::Honest, Play::PaysLate];
    dishonest("a_payer_that_pays_late", &plays, seeds(25, 40_000));
}

#[test]
fn a_payer_that_lies_in_sync_gains_nothing_but_windows() {
    let plays = [Play::Honest, Play::LyingSync];
    dishonest("a_payer_that_lies_in_sync", &plays, seeds(25, 50_000));
}

#[test]
fn what_is_gained_by_not_paying_is_bounded() {
    for (nth, cheat) in (0..).zip([
        Play::NeverPays,
        Play::PaysLate,
        Play::LyingSync,
        Play::Fickle,
    ]) {
        let plays = [Play::Honest, cheat, cheat, Play::Honest];
        bounded("what_is_gained", &plays, seeds(15, 80_000 + nth * 1_000));
    }
}

#[test]
fn a_payer_that_pays_as_it_likes_harms_nobody() {
    let plays = [Play::Honest, Play::Fickle, Play::Honest];
    dishonest("a_payer_that_pays_as_it_likes", &plays, seeds(25, 90_000));
}

#[test]
fn a_garbage_seeder_is_never_paid_for_garbage() {
    let plays = [Play::Honest, Play::Garbage, Play::Honest];
    dishonest("a_garbage_seeder", &plays, seeds(25, 60_000));
}

#[test]
fn a_forger_is_found_out_and_harms_nobody() {
    let plays = [Play::Honest, Play::Forger, Play::Honest];
    dishonest("a_forger", &plays, seeds(25, 70_000));
}

const WHIMS_OF_PAYERS: [Play; 4] = [Play::Flips, Play::Drips, Play::Parks, Play::Rekeys];
const WHIMS_OF_PAYEES: [Play; 4] = [
    Play::Stalls,
    Play::QuotesZero,
    Play::QuotesNonsense,
    Play::ChokesForGood,
];

/// One with whims among honest nodes, with starts and without, and two of a kind.
fn whims(name: &str, play: Play, count: u64, first: u64) {
    let alone = [Play::Honest, play, Play::Honest];
    dishonest(name, &alone, seeds(count, first));
    bounded(name, &alone, seeds(count, first + 3_000));
    let many = [Play::Honest, play, Play::Honest, play];
    bounded(name, &many, seeds(count, first + 6_000));
}

#[test]
fn payers_with_whims_gain_windows_and_no_more() {
    for (nth, play) in (13..).zip(WHIMS_OF_PAYERS) {
        whims("payers_with_whims", play, 8, nth * 10_000);
    }
}

#[test]
fn payees_with_whims_are_paid_for_what_came_and_hold_nobody_up() {
    for (nth, play) in (17..).zip(WHIMS_OF_PAYEES) {
        whims("payees_with_whims", play, 8, nth * 10_000);
    }
}

#[test]
#[ignore = "the long form: minutes, with --release"]
fn long_form_of_whims() {
    for (nth, play) in (30..).zip(WHIMS_OF_PAYERS.into_iter().chain(WHIMS_OF_PAYEES)) {
        whims("long_form_of_whims", play, 1_000, nth * 10_000);
    }
}
