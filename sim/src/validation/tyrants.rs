//! One client or all that give just what makes others give back: `BitTyrant` against the choker of
//! BEP 3 (rows 15 to 17; Piatek et al., "Do incentives build robustness in BitTorrent?", NSDI
//! 2007).

use super::choking::played;
use super::row::ran;
use super::{RowForm, Tolerance, ValidationRow};
use crate::capacity::piatek;
use crate::play::PlayOutcome;
use crate::world::WorldCounts;

/// Upload limits of row 16, in kB/s.
const CAPS: [u32; 6] = [10, 40, 100, 300, 512, 1_024];
/// How many strategists of row 17 there are in one swarm: few enough to be alone, nearly.
const ALONE: u32 = 5;

/// Row 15: all of them, and all of them up to where more gains them nothing.
pub(super) fn universal(form: RowForm) -> Vec<ValidationRow> {
    let (peers, seeds) = match form {
        RowForm::Short => (30, 1),
        RowForm::Full => (350, 1),
    };
    let mut counts = WorldCounts::default();
    let mut median_of = |strategy: &str, most: &str| {
        let medians = (1..=seeds).map(|seed| {
            let crowd = crowd(peers, strategy, most);
            let played = counted(&[labs(seed, peers), crowd].concat(), &mut counts);
            median(&played.took("peers"))
        });
        mean(&medians.collect::<Vec<f64>>())
    };
    let honest = median_of("honest", "");
    let tyrants = median_of("bittyrant", "");
    let capped = median_of("bittyrant", ", uplink_max = \"100kB/s\"");
    vec![
        ValidationRow::production(
            "15",
            "medians over BEP 3's: all BitTyrant; and all capped at 100 kB/s",
            ran(&counts),
        )
        .pair(0.82, tyrants / honest)
        .pair(1.12, capped / honest)
        .within(Tolerance::Absolute(0.15)),
    ]
}

/// Row 16: one of them among others, by its limit.
pub(super) fn single(form: RowForm) -> Vec<ValidationRow> {
    let (peers, seeds) = match form {
        RowForm::Short => (30, 1),
        RowForm::Full => (120, 4),
    };
    let mut counts = WorldCounts::default();
    let [honest, tyrant] = ["honest", "bittyrant"].map(|strategy| {
        let runs: Vec<PlayOutcome> = (1..=seeds)
            .map(|seed| {
                let singles = CAPS.map(|cap| one(&format!("cap-{cap}"), 1, strategy, cap));
                let text = [
                    labs(seed, peers),
                    crowd(peers, "honest", ""),
                    singles.concat(),
                ];
                counted(&text.concat(), &mut counts)
            })
            .collect();
        CAPS.map(|cap| {
            let took = runs.iter().flat_map(|run| run.took(&format!("cap-{cap}")));
            mean(&took.collect::<Vec<f64>>())
        })
    });
    let row = |id, what| ValidationRow::production(id, what, ran(&counts));
    let gains = honest.iter().zip(&tyrant).map(|(one, other)| one / other);
    let gains = gains.fold(
        row("16a", "times as long without BitTyrant, at 10…1024 kB/s"),
        |row, gain| row.pair(1.0, gain),
    );
    let flat = tyrant[3..].iter().fold(
        row("16b", "its time at 300, 512, 1024 kB/s, of that at 100"),
        |row, time| row.pair(1.0, time / tyrant[2]),
    );
    vec![
        gains
            .within(Tolerance::AtLeast(3.0))
            .explained(&[0.95, 0.92, 0.95, 0.98, 0.98, 0.91], NOTHING_NEW),
        flat.within(Tolerance::Absolute(0.3)),
    ]
}

const NOTHING_NEW: &str = "120 of the 350 nodes, their seeds' rate to match: so little is new at a \
    time that an honest peer takes 911 to 988 s at any limit, and one that tries others longer. \
    With 30 % of the pieces to begin with it is 34 to 302 s, too few rounds to learn in: 2.7 0.6 \
    0.7 1.3 0.7 0.7, of which none is sure (4 seeds)";

/// Row 17: what it gains in swarms that go on without it, at 128 kB/s.
pub(super) fn in_swarms(form: RowForm) -> Vec<ValidationRow> {
    let (peers, length, seeds) = match form {
        RowForm::Short => (20, "16MiB", 1),
        RowForm::Full => (80, "160MiB", 2),
    };
    let mut counts = WorldCounts::default();
    let mut gains = Vec::new();
    for seed in 1..=seeds {
        let [honest, tyrant] = ["honest", "bittyrant"].map(|strategy| {
            let text = midway(seed, peers, length, strategy);
            let played = counted(&text, &mut counts);
            let rows = played.peers.iter().filter(|row| row.population == "alone");
            let times = rows.map(|row| row.took().unwrap_or(f64::INFINITY));
            times.collect::<Vec<f64>>()
        });
        let pairs = honest.into_iter().zip(tyrant);
        gains.extend(pairs.map(|(one, other)| one / other));
    }
    gains.sort_unstable_by(f64::total_cmp);
    vec![
        ValidationRow::production("17", "median gain of BitTyrant at 128 kB/s", ran(&counts))
            .pair(1.72, median(&gains))
            .within(Tolerance::Absolute(0.52))
            .explained(&[1.19], NOTHING_TO_TRIM),
    ]
}

const NOTHING_TO_TRIM: &str = "80 peers of 300 to 800, most of the way still before them, and five \
    who lack the last 15 %: their slowest tenth gains 1.5. What it gained over others' clients was \
    the number of their slots; ours has eight, 16 kB/s each, just above what is sure to be given \
    back for (9), and with four slots an honest peer takes as long (651 and 645 s, 48 MiB)";

fn midway(seed: u32, peers: u32, length: &str, strategy: &str) -> String {
    format!(
        "[run]\nseed = {seed}\nduration = \"10min\"\nseries_every = \"10min\"\n\
         [[torrent]]\nlength = \"{length}\"\npiece = \"256KiB\"\n\
         [[population]]\nname = \"seeds\"\ncount = 3\nhas = \"100%\"\n\
         receipts = false\nline = {{ uplink = \"128kB/s\" }}\n\
         [[population]]\nname = \"peers\"\ncount = {peers}\nreceipts = false\nhas = \"30%\"\n\
         line = {{ profile = \"piatek2006\", uplink_max = \"1MB/s\", downlink_factor = 8 }}\n\
         seeding = {{ kind = \"for\", time = \"0s\" }}\n{}has = \"85%\"\n",
        one("alone", ALONE, strategy, 128)
    )
}

/// As it was on `PlanetLab`, with as fast seeds as so many peers have: 128 kB/s for 350.
fn labs(seed: u32, peers: u32) -> String {
    let uplink = 128_000 * peers / 350 / 3;
    format!(
        "[run]\nseed = {seed}\nduration = \"6h\"\nseries_every = \"10min\"\n\
         [[torrent]]\nlength = \"5MB\"\npiece = \"64KiB\"\n\
         [[population]]\nname = \"seeds\"\ncount = 3\nhas = \"100%\"\nreceipts = false\n\
         line = {{ uplink = \"{uplink}B/s\" }}\n"
    )
}

fn crowd(peers: u32, strategy: &str, most: &str) -> String {
    format!(
        "[[population]]\nname = \"peers\"\ncount = {peers}\nreceipts = false\n\
         strategy = \"{strategy}\"\nline = {{ table = {}, downlink = \"10MB/s\"{most} }}\n\
         {FLASH}",
        tenths_of_2006()
    )
}

/// Who is looked at, on a line of so many kB/s.
fn one(name: &str, count: u32, strategy: &str, uplink: u32) -> String {
    format!(
        "[[population]]\nname = \"{name}\"\ncount = {count}\nreceipts = false\n\
         strategy = \"{strategy}\"\n\
         line = {{ uplink = \"{uplink}kB/s\", downlink = \"10MB/s\" }}\n{FLASH}"
    )
}

const FLASH: &str = "arrivals = { kind = \"flash\", within = \"10s\" }\n\
    seeding = { kind = \"for\", time = \"0s\" }\n";

/// A tenth of the uplinks of 2006, by percent.
pub(super) fn tenths_of_2006() -> String {
    let row = |percent: u32| {
        let rate = piatek(f64::from(percent) / 100.0) * 100.0;
        format!("[\"{percent}%\", \"{rate:.0}B/s\"]")
    };
    let rows: Vec<String> = (0..=100).map(row).collect();
    format!("[{}]", rows.join(", "))
}

pub(super) fn counted(text: &str, counts: &mut WorldCounts) -> PlayOutcome {
    let (played, world) = played(text);
    counts.chokes += world.counts().chokes;
    counts.blocks_served += world.counts().blocks_served;
    counts.entries += world.counts().entries;
    played
}

/// Of sorted times.
pub(super) fn median(times: &[f64]) -> f64 {
    times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY)
}

pub(super) fn mean(all: &[f64]) -> f64 {
    all.iter().sum::<f64>() / crate::stats::float(all.len())
}
