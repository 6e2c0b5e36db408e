//! What peers cost as there are more of them, in both tiers, each count in a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::report::{GrowthRow, growth_page};
use seedbank_sim::scenario::Tier;
use serde_json::Value;

use super::super::files::OutFolder;
use super::super::progress::SweepProgress;
use super::super::{SimFailure, say};

/// Peers of the block tier.
const BLOCK_PEERS: &[u64] = &[100, 1_000, 10_000];
/// Peers of the flow tier.
const FLOW_PEERS: &[u64] = &[100, 1_000, 10_000, 100_000, 1_000_000];
/// Most in the short form.
const BLOCK_SHORT: u64 = 1_000;
const FLOW_SHORT: u64 = 100_000;
/// Of what the flow tier plays beside a first round.
const ROUNDS: f64 = 10.0;

/// What a process said of a run.
struct Told {
    cpu_seconds: f64,
    gib_moved: f64,
    micros_per_block: f64,
    bytes_per_peer: f64,
}

pub(super) fn run(is_long: bool, out: Option<&Path>, quiet: bool) -> Result<(), SimFailure> {
    let counts = |all: &'static [u64], short: u64| {
        let counts = all.iter().copied();
        counts.filter(move |count| is_long || *count <= short)
    };
    let block = counts(BLOCK_PEERS, BLOCK_SHORT);
    let flow = counts(FLOW_PEERS, FLOW_SHORT);
    let (block, flow): (Vec<u64>, Vec<u64>) = (block.collect(), flow.collect());
    let progress = SweepProgress::of_table(block.len() + flow.len(), quiet);
    progress.begin();
    let mut rows = Vec::new();
    for peers in block {
        rows.push(of_block(peers)?);
        progress.step(true);
    }
    for peers in flow {
        rows.push(of_flow(peers)?);
        progress.step(true);
    }
    progress.end();
    say(table(&rows));
    if let Some(out) = out {
        let name = out.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| SimFailure::usage("--out takes the name of a file"))?;
        let folder = OutFolder::open(out.parent().unwrap_or(Path::new("")));
        folder.put(name, &growth_page(&rows))?;
        say(format_args!("plots: {}", out.display()));
    }
    Ok(())
}

/// A crowd on equal lines, about 30 connections each: 16 MiB for everybody.
fn of_block(peers: u64) -> Result<GrowthRow, SimFailure> {
    let told = play("scale", &[format!("population.peers.count={peers}")])?;
    Ok(GrowthRow {
        tier: Tier::Block,
        peers,
        unit_seconds: told.micros_per_block / 1e6,
        cpu_seconds: told.cpu_seconds,
        gib_moved: told.gib_moved,
        bytes_per_peer: told.bytes_per_peer,
    })
}

/// Fifty neighbours each, and one in a hundred pays, lines shared in one pass: ten rounds after the
/// first.
fn of_flow(peers: u64) -> Result<GrowthRow, SimFailure> {
    let payers = peers / 100;
    let others = peers - payers - 10;
    let fields = |duration: &str| {
        [
            format!("population.payers.count={payers}"),
            format!("population.others.count={others}"),
            format!("run.duration={duration}"),
            "run.sharing=one-pass".to_owned(),
        ]
    };
    let first = play("flow-scale", &fields("10s"))?;
    let all = play("flow-scale", &fields("110s"))?;
    Ok(GrowthRow {
        tier: Tier::Flow,
        peers,
        unit_seconds: (all.cpu_seconds - first.cpu_seconds) / ROUNDS,
        cpu_seconds: all.cpu_seconds,
        gib_moved: all.gib_moved,
        bytes_per_peer: all.bytes_per_peer,
    })
}

/// Has this program play a scenario of the library: the most memory that a process ever had says
/// nothing of its second run.
fn play(scenario: &str, fields: &[String]) -> Result<Told, SimFailure> {
    let program = std::env::current_exe()
        .map_err(|error| SimFailure::new(format_args!("where this program is: {error}")))?;
    let mut command = Command::new(program);
    command.args(["run", scenario, "--json", "--quiet"]);
    for field in fields {
        command.args(["--set", field]);
    }
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let done = done
        .output()
        .map_err(|error| SimFailure::new(format_args!("this program again: {error}")))?;
    if !done.status.success() {
        let status = done.status;
        return Err(SimFailure::new(format_args!("{scenario}: {status}")));
    }
    let said: Value = serde_json::from_slice(&done.stdout)
        .map_err(|error| SimFailure::new(format_args!("what {scenario} printed: {error}")))?;
    let cost = &said["manifest"]["cost"];
    let of = |name: &str| cost[name].as_f64().unwrap_or(f64::NAN);
    Ok(Told {
        cpu_seconds: of("cpu_seconds"),
        gib_moved: of("gib_moved"),
        micros_per_block: of("cpu_micros_per_block"),
        bytes_per_peer: of("memory_bytes_per_peer"),
    })
}

fn table(rows: &[GrowthRow]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let _ = table.set_header([
        "tier",
        "peers",
        "CPU s",
        "CPU s/GiB",
        "CPU of a block or round",
        "of 100 peers",
        "KiB a peer",
    ]);
    for row in rows {
        let (tier, unit) = match row.tier {
            Tier::Block => ("block", format!("{:.1} µs", row.unit_seconds * 1e6)),
            Tier::Flow => ("flow", format!("{:.4} s", row.unit_seconds)),
        };
        let _ = table.add_row([
            tier.to_owned(),
            row.peers.to_string(),
            format!("{:.1}", row.cpu_seconds),
            format!("{:.2}", row.cpu_seconds / row.gib_moved),
            unit,
            format!("{:.2}", row.times_of_first(rows)),
            format!("{:.1}", row.bytes_per_peer / 1_024.0),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
