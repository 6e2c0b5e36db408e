//! How fast one can give a file to many: bounds, ideal schedulers that meet them, and real chokers
//! that cannot beat them (rows 2 and 3).

use std::collections::BTreeSet;

use seedbank_ledger::Duration;

use super::row::ran;
use super::{RowForm, Tolerance, ValidationRow};
use crate::network::LinkConfig;
use crate::spread::Spread;
use crate::stats::{float, whole};
use crate::world::WorldCounts;

/// Kumar and Ross (2006) as textbooks set it: 15 Gbit, a server of 30 Mbit/s, 2 Mbit/s down.
const FILE: u64 = 15_000_000_000 / 8;
const SERVER: u64 = 30_000_000 / 8;
const DOWN: u64 = 2_000_000 / 8;
const UPLINKS: [u64; 3] = [300_000 / 8, 700_000 / 8, 2_000_000 / 8];
/// Seconds for 10, 100 and 1,000 peers, each with those uplinks.
const BOUNDS: [(usize, [f64; 3]); 3] = [
    (10, [7_500.0, 7_500.0, 7_500.0]),
    (100, [25_000.0, 15_000.0, 7_500.0]),
    (1_000, [45_454.545, 20_547.945, 7_500.0]),
];
/// Ticks in which an ideal fluid passes on what came in the one before.
const TICKS: u32 = 1_000;
/// Most times the bound that real chokers may take here: recorded, so that it does not grow.
const CHOKERS_MAX: f64 = 2.0;

/// Row 2: the distribution-time bound.
pub(super) fn distribution_time(form: RowForm) -> Vec<ValidationRow> {
    let mut formula = ValidationRow::theory("2a", "least distribution time, 9 settings (s)")
        .within(Tolerance::Percent(0.01));
    let mut ideal = ValidationRow::theory("2b", "ideal fluid scheduler, 9 settings (s)")
        .within(Tolerance::Percent(1.0));
    for (peers, bounds) in BOUNDS {
        for (uplink, bound) in UPLINKS.into_iter().zip(bounds) {
            let spread = textbook(peers, FILE, uplink);
            formula = formula.pair(bound, seconds(spread.bound()));
            ideal = ideal.pair(bound, ideal_fluid(&spread));
        }
    }
    // A part of the file only: every term of the bound scales with it.
    let small = match form {
        RowForm::Short => vec![textbook(10, FILE / 200, UPLINKS[1])],
        RowForm::Full => vec![
            textbook(10, FILE / 100, UPLINKS[1]),
            textbook(100, FILE / 250, UPLINKS[1]),
        ],
    };
    let expected: Vec<f64> = small.iter().map(|spread| seconds(spread.bound())).collect();
    let real = real_chokers(
        "2c",
        "real chokers against the bound (s)",
        &small,
        &expected,
    );
    vec![formula, ideal, real]
}

/// Row 3: a file of M pieces reaches N equal peers in M + ⌊log₂ N⌋ rounds (Mundinger, Weber and
/// Weiss, Journal of Scheduling 11, 2008).
pub(super) fn broadcast_rounds(form: RowForm) -> Vec<ValidationRow> {
    let mut ideal = ValidationRow::theory("3a", "ideal broadcast, N 1…1023, M 1…100 (rounds)");
    for peers in [1_u32, 3, 7, 15, 1_023] {
        for pieces in [1_u32, 4, 100] {
            let expected = pieces + peers.ilog2();
            ideal = ideal.pair(f64::from(expected), f64::from(hypercube(peers, pieces)));
        }
    }
    let piece_len = 128 << 10;
    let pieces = if form == RowForm::Short { 32 } else { 100 };
    let spread = Spread {
        leecher_count: 15,
        total_len: pieces * u64::from(piece_len),
        piece_len,
        link: LinkConfig::new(1_000_000, Duration::from_millis(5)).with_downlink(1_000_000),
        ..Spread::default()
    };
    // Least time of a piece on its way, M + ⌊log₂ 15⌋ times.
    let rounds = whole(pieces) + 3.0;
    let expected = [rounds * f64::from(piece_len) / 1e6];
    let real = real_chokers(
        "3b",
        "rarest first, 15 equal peers (s)",
        &[spread],
        &expected,
    );
    vec![ideal, real]
}

/// A server and peers as the textbook has them.
fn textbook(peers: usize, total_len: u64, uplink: u64) -> Spread {
    Spread {
        leecher_count: peers,
        total_len,
        piece_len: 32 << 10,
        link: LinkConfig::new(uplink, Duration::from_millis(20)).with_downlink(DOWN),
        seeder_uplink: Some(SERVER),
        ..Spread::default()
    }
}

/// How long sessions take, beside the least time that is possible.
fn real_chokers(
    id: &'static str,
    what: &str,
    spreads: &[Spread],
    expected: &[f64],
) -> ValidationRow {
    let mut counts = WorldCounts::default();
    let mut measured = Vec::new();
    for spread in spreads {
        // Who is not done took for ever.
        let (time, more) = spread.run().map_or((f64::INFINITY, counts), |outcome| {
            (seconds(outcome.makespan()), outcome.counts)
        });
        measured.push(time);
        counts.chokes += more.chokes;
        counts.blocks_served += more.blocks_served;
    }
    let row = ValidationRow::production(id, what, ran(&counts));
    let pairs = expected.iter().zip(&measured);
    let row = pairs.fold(row, |row, (expected, measured)| {
        row.pair(*expected, *measured)
    });
    row.within(Tolerance::AtLeast(CHOKERS_MAX))
        .note("never less; the ratio is what chokers cost, and is bounded so that it does not grow")
}

/// Seconds that the schedule of Kumar and Ross takes as a fluid that passes on in each tick what
/// came before it: every peer is given a part of its own by the server and copies it to all others,
/// and what the server has left it gives to all.
fn ideal_fluid(spread: &Spread) -> f64 {
    let bound = seconds(spread.bound());
    let tick = bound / f64::from(TICKS);
    let count = float(spread.leecher_count);
    let file = whole(spread.total_len);
    let uplink = whole(spread.link.uplink);
    let server = whole(spread.seeder_uplink.unwrap_or(spread.link.uplink));
    let down = whole(spread.link.downlink.unwrap_or(u64::MAX));
    let own = (uplink / (count - 1.0)).min(server / count);
    let direct = (server / count - own).max(0.0);
    let slowed = (down / (own * count + direct)).min(1.0);
    let [own, direct] = [own * slowed, direct * slowed];
    // By the order of peers everybody is alike: of its own part, of each other's, and of the rest.
    let (mut given, mut copied, mut rest, mut time) = (0.0, 0.0, 0.0, 0.0);
    let own_len = file * own / (own * count + direct);
    let rest_len = file - own_len * count;
    while copied < own_len || rest < rest_len {
        let copy = (own * tick).min(given - copied).min(own_len - copied);
        let give = (own * tick).min(own_len - given);
        let serve = (direct * tick).min(rest_len - rest);
        let slack = 1.0 + 1e-9;
        assert!(
            copy * (count - 1.0) <= uplink * tick * slack,
            "peers send what they can"
        );
        assert!(
            (give + serve) * count <= server * tick * slack,
            "so does the server"
        );
        assert!(
            give + copy * (count - 1.0) + serve <= down * tick * slack,
            "and peers take"
        );
        given += give;
        copied += copy;
        rest += serve;
        time += tick;
        if give + copy + serve <= file * 1e-12 {
            return time;
        }
    }
    time
}

/// Rounds in which pairs of a hypercube, one dimension a round, give each other their newest piece
/// and the server its next one (Ganesan and Seshadri, ICDCS 2005); `peers` is one less than a power
/// of two.
fn hypercube(peers: u32, pieces: u32) -> u32 {
    let dimensions = (peers + 1).ilog2();
    let nodes = 1_usize << dimensions;
    // The pieces of each, as a set of numbers from 1.
    let mut have: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); nodes];
    have[0].extend(1..=pieces);
    let mut round = 0;
    while have.iter().any(|of| of.len() < pieces as usize) {
        let bit = 1_usize << (round % dimensions);
        round += 1;
        let newest = |node: usize| match node {
            0 => Some(round.min(pieces)),
            _ => have[node].last().copied(),
        };
        let sent: Vec<Option<u32>> = (0..nodes).map(|node| newest(node ^ bit)).collect();
        for (node, piece) in sent.into_iter().enumerate() {
            have[node].extend(piece);
        }
        assert!(round <= 2 * (pieces + dimensions), "it ends");
    }
    round
}

fn seconds(time: Duration) -> f64 {
    whole(time.as_nanos()) / 1e9
}
