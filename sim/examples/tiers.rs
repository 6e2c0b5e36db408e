//! What a scenario comes to in each tier, and what the flow tier costs.
//!
//! `tiers FILE [PATH=VALUE …]` plays a scenario with these fields set and prints a line for each
//! population (name, who is done of all, seconds at a tenth, the median and nine tenths, credits
//! spent), then CPU seconds and peak memory: for each step and peer in the flow tier. Figures made
//! with it are in docs/FIGURES.md.

#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement reads files, prints, and stops at the first error"
)]

use std::fs;

use seedbank_sim::design::{Design, FieldSetting};
use seedbank_sim::flow::FlowPlay;
use seedbank_sim::play::{Play, PlayOutcome};
use seedbank_sim::scenario::{Scenario, Tier};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (file, fields) = args
        .split_first()
        .expect("usage: tiers FILE [PATH=VALUE …]");
    let text = fs::read_to_string(file).unwrap();
    let mut design = Design::of(file, &text).unwrap();
    for field in fields {
        // A design has seeds of its own.
        if let Some(seed) = field.strip_prefix("run.seed=") {
            design.seeds = vec![seed.parse().unwrap()];
            continue;
        }
        design = design.crossed_with(&[FieldSetting::parse(field).unwrap()]);
    }
    let run = design.runs().unwrap().remove(0);
    let scenario = run.scenario;
    match scenario.run.tier {
        Tier::Block => tell(&scenario, &Play::new(&scenario).run()),
        Tier::Flow => {
            let (played, size) = FlowPlay::new(&scenario).run_measured();
            let peak = peak_bytes();
            tell(&scenario, &played);
            let peers = scenario.peer_count();
            println!(
                "{} steps of {} in a round, {:.4} CPU s a step with all before the first; \
                 {} B a peer; {} paying pairs of {} B",
                size.steps,
                size.steps_per_round,
                cpu_secs() / size.steps as f64,
                peak / peers,
                size.pairs_max,
                size.pair_bytes
            );
        }
    }
    println!("CPU {:.2} s, peak {} KiB", cpu_secs(), peak_bytes() / 1_024);
}

fn tell(scenario: &Scenario, played: &PlayOutcome) {
    for population in &scenario.populations {
        let took = played.took(&population.name);
        let at = |part: usize| {
            took.get(took.len() * part / 100)
                .copied()
                .unwrap_or(f64::NAN)
        };
        let of = |row: &&seedbank_sim::play::PeerRow| row.population == population.name;
        let spent: u64 = played.peers.iter().filter(of).map(|row| row.spent).sum();
        println!(
            "{} {}/{} {:.1} {:.1} {:.1} {:.6}",
            population.name,
            took.len(),
            population.count,
            at(10),
            at(50),
            at(90),
            spent as f64 / 1e6
        );
    }
    println!("state {}", played.state_hash());
}

/// User and system time of this process, all threads (proc(5)).
fn cpu_secs() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap() * 1_024
}
