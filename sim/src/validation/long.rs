//! Shapes that others measured on real or simulated swarms, again with real sessions (rows 14 to
//! 26; the strategies of 15 to 18 are not here yet). Sizes are scaled to what a machine does in
//! minutes.

use std::collections::BTreeMap;

use seedbank_ledger::Duration;

use super::choking::played;
use super::row::ran;
use super::{RowForm, Tolerance, ValidationRow};
use crate::network::LinkConfig;
use crate::play::{PeerRow, PlayOutcome};
use crate::spread::{Bottleneck, Overlay, Spread};
use crate::stats::{float, whole};
use crate::world::{World, WorldCounts};

/// Who sent whom how much: the class of the sender, that of the receiver, bytes.
type Flows = BTreeMap<(String, String), u64>;

/// Row 14: in a flash crowd the makespan grows with the logarithm of the crowd (Yang and de
/// Veciana, INFOCOM 2004).
pub(super) fn flash_crowd(form: RowForm) -> Vec<ValidationRow> {
    let sizes: &[u32] = match form {
        RowForm::Short => &[8, 16, 32],
        RowForm::Full => &[16, 32, 64, 128, 256],
    };
    let (piece_len, pieces, rate) = (128_u32 << 10, 100_u64, 16_384_u64);
    let mut counts = WorldCounts::default();
    let mut points = Vec::new();
    for size in sizes {
        let spread = Spread {
            leecher_count: usize::try_from(*size).unwrap_or(usize::MAX),
            total_len: pieces * u64::from(piece_len),
            piece_len,
            link: LinkConfig::new(rate, Duration::from_millis(20)).with_downlink(100 * rate),
            bottleneck: Bottleneck::Limit,
            overlay: Overlay::Random(30),
            ..Spread::default()
        };
        let Ok(outcome) = spread.run() else { continue };
        counts.chokes += outcome.counts.chokes;
        counts.blocks_served += outcome.counts.blocks_served;
        let makespan = whole(outcome.makespan().as_nanos()) / 1e9;
        points.push((libm::log2(f64::from(*size)), makespan));
    }
    let (slope, determination) = fit(&points);
    // What a piece takes at full rate.
    let unit = f64::from(piece_len) / whole(rate);
    vec![
        ValidationRow::production(
            "14a",
            "flash crowd: pieces more for twice the peers",
            ran(&counts),
        )
        .pair(1.0, slope / unit)
        .within(Tolerance::AtLeast(3.0)),
        ValidationRow::production("14b", "the same: share of the variance (R²)", ran(&counts))
            .pair(0.98, determination)
            .within(Tolerance::AtLeast(1.03)),
    ]
}

/// Rows 19 and 20: peers of one class find each other if the seed is fast, and the seed serves all
/// alike (Legout et al., SIGMETRICS 2007).
pub(super) fn clustering(_: RowForm) -> Vec<ValidationRow> {
    let mut counts = WorldCounts::default();
    let mut affinities = Vec::new();
    let mut jain = 0.0;
    for seed_uplink in [400, 40] {
        let (played, world) = played(&three_classes(seed_uplink));
        counts.chokes += world.counts().chokes;
        counts.blocks_served += world.counts().blocks_served;
        let flows = flows(&played, &world);
        let of = |from: &str, to: &str| {
            whole(
                flows
                    .get(&(from.to_owned(), to.to_owned()))
                    .copied()
                    .unwrap_or(0),
            )
        };
        let classes = ["slow", "middle", "fast"];
        // Of what a class sends its own would get 12 of 38 parts, were all alike.
        let affinity = classes.map(|from| {
            let all: f64 = classes.iter().map(|to| of(from, to)).sum();
            of(from, from) / all / (12.0 / 38.0)
        });
        affinities.push(affinity.iter().sum::<f64>() / 3.0);
        if seed_uplink == 400 {
            let served = classes.map(|to| of("seed", to));
            let sum: f64 = served.iter().sum();
            let squares: f64 = served.iter().map(|part| part * part).sum();
            jain = sum * sum / (3.0 * squares);
        }
    }
    let why = "the ratio is own-class bytes over what random choice gives; 1 is no clustering";
    vec![
        ValidationRow::production(
            "19",
            "own class preferred, good seed and weak seed",
            ran(&counts),
        )
        .pair(1.0, affinities[0])
        .pair(1.0, affinities[1])
        .within(Tolerance::AtLeast(3.0))
        .note(why),
        ValidationRow::production(
            "20",
            "Jain index of a seed's service to classes",
            ran(&counts),
        )
        .pair(0.95, jain)
        .within(Tolerance::AtLeast(1.06)),
    ]
}

/// Row 21: uplinks are used, and slow peers get more than they give (Bharambe et al., INFOCOM
/// 2006).
pub(super) fn utilisation(form: RowForm) -> Vec<ValidationRow> {
    let count = if form == RowForm::Short { 30 } else { 100 };
    let text = format!(
        "[run]\nduration = \"12h\"\nseries_every = \"10s\"\n\
         [[torrent]]\nlength = \"24MiB\"\npiece = \"256KiB\"\n\
         [[population]]\nname = \"seed\"\ncount = 1\nhas = \"100%\"\nreceipts = false\n\
         line = {{ uplink = \"750kB/s\" }}\n\
         [[population]]\nname = \"peers\"\ncount = {count}\nreceipts = false\n\
         line = {{ profile = \"bharambe2006\" }}\n\
         arrivals = {{ kind = \"flash\", within = \"10s\" }}\n\
         seeding = {{ kind = \"for\", time = \"0s\" }}\n"
    );
    let (played, world) = played(&text);
    let peers = played.peers.iter().filter(|row| row.population == "peers");
    let peers: Vec<&PeerRow> = peers.collect();
    let capacity = peers
        .iter()
        .filter_map(|row| Some(row.took()? * whole(row.uplink)));
    let uploaded: u64 = peers.iter().map(|row| row.uploaded).sum();
    let used = whole(uploaded) / capacity.sum::<f64>();
    let slowest = peers.iter().map(|row| row.uplink).min().unwrap_or(0);
    let slow = peers.iter().filter(|row| row.uplink == slowest);
    let given = slow.clone().map(|row| row.uploaded).sum::<u64>();
    let ratio = whole(given) / whole(slow.map(|row| row.downloaded).sum());
    let counts = world.counts();
    vec![
        ValidationRow::production(
            "21a",
            "uplinks of 2006 in a flash crowd: share used",
            ran(&counts),
        )
        .pair(0.9, used)
        .within(Tolerance::AtLeast(1.2)),
        ValidationRow::production(
            "21b",
            "what the slowest give of what they get: below 1",
            ran(&counts),
        )
        .pair(0.5, ratio)
        .within(Tolerance::Absolute(0.5)),
    ]
}

/// Row 25: where seeders idle, credit and gifts change nothing.
pub(super) fn oversupply(_: RowForm) -> Vec<ValidationRow> {
    let text = "[run]\nduration = \"2h\"\n[network]\n\
         [[torrent]]\nlength = \"32MiB\"\npiece = \"256KiB\"\n\
         [[population]]\nname = \"seeders\"\ncount = 15\nhas = \"100%\"\n\
         line = { uplink = \"1MB/s\" }\n\
         [[population]]\nname = \"payers\"\ncount = 5\nboost = { budget = \"1cr\" }\n\
         line = { uplink = \"100kB/s\", downlink = \"400kB/s\" }\n\
         [[population]]\nname = \"honest\"\ncount = 10\n\
         line = { uplink = \"100kB/s\", downlink = \"400kB/s\" }\n\
         [[population]]\nname = \"riders\"\ncount = 5\nstrategy = \"free-rider\"\n\
         line = { uplink = \"100kB/s\", downlink = \"400kB/s\" }\n";
    let (played, world) = played(text);
    let median = |name| {
        let took = played.took(name);
        took.get(took.len() / 2).copied().unwrap_or(f64::INFINITY)
    };
    let honest = median("honest");
    vec![
        ValidationRow::production(
            "25",
            "oversupply: riders, payers over honest",
            ran(&world.counts()),
        )
        .pair(1.0, median("riders") / honest)
        .pair(1.0, median("payers") / honest)
        .within(Tolerance::Absolute(0.1)),
    ]
}

/// Row 26: a closed swarm of peers who have a few random pieces each, and leave when they have all,
/// leaves hardly anybody behind (Massoulié and Vojnović, SIGMETRICS 2005).
pub(super) fn coupons(form: RowForm) -> Vec<ValidationRow> {
    let count = if form == RowForm::Short { 60 } else { 400 };
    let text = format!(
        "[run]\nduration = \"2h\"\n\
         [[torrent]]\nlength = \"4MiB\"\npiece = \"32KiB\"\n\
         [[population]]\nname = \"peers\"\ncount = {count}\nhas = \"10%\"\nreceipts = false\n\
         line = {{ uplink = \"100kB/s\" }}\nseeding = {{ kind = \"for\", time = \"0s\" }}\n"
    );
    let (played, world) = played(&text);
    let stranded = float(played.peers.len() - played.took("peers").len());
    vec![
        ValidationRow::production("26", "closed swarm: stranded peers", ran(&world.counts()))
            .pair(0.0, stranded)
            .within(Tolerance::Absolute(10.0)),
    ]
}

/// 20, 50 and 200 kB/s, 13 of each.
fn three_classes(seed: u32) -> String {
    let class = |name: &str, uplink: u32| {
        format!(
            "[[population]]\nname = \"{name}\"\ncount = 13\nslots = 4\nreceipts = false\n\
             line = {{ uplink = \"{}kB/s\", downlink = \"2MB/s\" }}\nupload_limit = \"10%\"\n",
            uplink * 10
        )
    };
    format!(
        "[run]\nduration = \"4h\"\n[overlay]\nkind = \"full\"\n\
         [[torrent]]\nlength = \"64MiB\"\npiece = \"256KiB\"\n\
         [[population]]\nname = \"seed\"\ncount = 1\nhas = \"100%\"\nreceipts = false\n\
         line = {{ uplink = \"{}kB/s\" }}\nupload_limit = \"10%\"\n{}{}{}",
        seed * 10,
        class("slow", 20),
        class("middle", 50),
        class("fast", 200),
    )
}

/// What sessions that are still there say of what they sent.
fn flows(played: &PlayOutcome, world: &World) -> Flows {
    // Nobody left, and all came in the order of the scenario.
    let name = |node: usize| played.peers[node].population.clone();
    let places: BTreeMap<_, _> = world
        .nodes()
        .iter()
        .enumerate()
        .map(|(place, node)| (node.addr.ip(), place))
        .collect();
    let mut flows = Flows::new();
    for (from, node) in world.nodes().iter().enumerate() {
        for peer in node.session.iter().flat_map(|session| session.peers(None)) {
            let Some(to) = places.get(&peer.addr.ip()) else {
                continue;
            };
            *flows.entry((name(from), name(*to))).or_default() += peer.uploaded.get();
        }
    }
    flows
}

/// Slope of a line through these points, and the share of the variance that it explains.
fn fit(points: &[(f64, f64)]) -> (f64, f64) {
    let n = float(points.len());
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        points
            .iter()
            .map(|point| of(point.0 - x, point.1 - y))
            .sum()
    };
    let both = sum(&|x, y| x * y);
    let slope = both / sum(&|x, _| x * x);
    (slope, slope * both / sum(&|_, y| y * y))
}
