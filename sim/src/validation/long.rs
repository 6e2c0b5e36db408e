//! Shapes that others measured on real or simulated swarms, again with real sessions (rows 14, 21,
//! 25 and 26). Sizes are scaled to what a machine does in minutes.

use seedbank_ledger::Duration;

use super::choking::played;
use super::row::ran;
use super::tyrants::{counted, median};
use super::{RowForm, Tolerance, ValidationRow};
use crate::network::LinkConfig;
use crate::play::PeerRow;
use crate::spread::{Bottleneck, Overlay, Spread};
use crate::stats::{float, whole};
use crate::world::WorldCounts;

/// Row 14: in a flash crowd the makespan grows with the logarithm of the crowd (Yang and de
/// Veciana, INFOCOM 2004).
pub(super) fn flash_crowd(form: RowForm) -> Vec<ValidationRow> {
    let sizes: &[u32] = match form {
        RowForm::Short => &[8, 16, 32],
        RowForm::Full => &[16, 32, 64, 128, 256],
    };
    let mut counts = WorldCounts::default();
    let [few, many] = [2, 8].map(|slots| {
        let makespan = |size: &u32| {
            let outcome = crowd(*size, slots).run().ok()?;
            counts.chokes += outcome.counts.chokes;
            counts.blocks_served += outcome.counts.blocks_served;
            // In what a piece takes at full rate.
            let unit = f64::from(PIECE) / whole(RATE);
            let makespan = whole(outcome.makespan().as_nanos()) / 1e9 / unit;
            Some((libm::log2(f64::from(*size)), makespan))
        };
        fit(&sizes.iter().filter_map(makespan).collect::<Vec<_>>())
    });
    let row = |id, what| ValidationRow::production(id, what, ran(&counts));
    vec![
        row(
            "14a",
            "flash crowd, 2 slots: pieces more for twice the peers",
        )
        .pair(1.0, few.0)
        .within(Tolerance::AtLeast(3.0)),
        row("14b", "the same: share of the variance (R²)")
            .pair(0.98, few.1)
            .within(Tolerance::AtLeast(1.03)),
        row("14c", "14a with 8 slots")
            .pair(1.0, many.0)
            .within(Tolerance::AtLeast(3.0))
            .explained(&[10.94], EIGHT_SLOTS),
    ]
}

/// Bytes of a piece of row 14, and bytes per second of every limit.
const PIECE: u32 = 128 << 10;
const RATE: u64 = 16_384;
const EIGHT_SLOTS: &str = "where eight share a rate, a piece takes as long as eight until it can \
    be passed on, at every step of its way; with two slots it holds (14a)";

fn crowd(leechers: u32, slots: usize) -> Spread {
    Spread {
        leecher_count: usize::try_from(leechers).unwrap_or(usize::MAX),
        total_len: 100 * u64::from(PIECE),
        piece_len: PIECE,
        link: LinkConfig::new(RATE, Duration::from_millis(20)).with_downlink(100 * RATE),
        bottleneck: Bottleneck::Limit,
        overlay: Overlay::Random(30),
        slots,
        ..Spread::default()
    }
}

/// Row 21: uplinks are used, and slow peers get more than they give (Bharambe et al., INFOCOM
/// 2006).
pub(super) fn utilisation(form: RowForm) -> Vec<ValidationRow> {
    let (count, length) = match form {
        RowForm::Short => (30, "8MiB"),
        RowForm::Full => (100, "96MiB"),
    };
    let text = format!(
        "[run]\nduration = \"12h\"\nseries_every = \"10s\"\n\
         [[torrent]]\nlength = \"{length}\"\npiece = \"256KiB\"\n\
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
        .within(Tolerance::AtLeast(1.2))
        .explained(&[0.836], FEW_PIECES),
        ValidationRow::production(
            "21b",
            "what the slowest give of what they get: below 1",
            ran(&counts),
        )
        .pair(0.5, ratio)
        .within(Tolerance::Absolute(0.5)),
    ]
}

const FEW_PIECES: &str = "100 peers of 1,000; seed and file as theirs. Uplinks are used to 0.24 to \
    0.55 while the seed has given out little (0.6 in all with a file of a quarter), and to 0.8 to \
    1.0 after that: 0.945 in all, with a quarter of the file, if each comes with a tenth of the \
    pieces. More slots (20) help to 0.68, fewer (4) do not, nor does a seed of ten times the rate";

/// Row 25: where seeders idle, credit and gifts change nothing.
pub(super) fn oversupply(_: RowForm) -> Vec<ValidationRow> {
    let mut counts = WorldCounts::default();
    let [usual, open] = [30, 90].map(|share| {
        let played = counted(&idle_seeders(share), &mut counts);
        let median = |name| median(&played.took(name));
        ["riders", "payers"].map(|name| median(name) / median("honest"))
    });
    let row = |id, what| ValidationRow::production(id, what, ran(&counts));
    vec![
        row("25a", "oversupply: free riders' time over honest peers'")
            .pair(1.0, usual[0])
            .within(Tolerance::Absolute(0.1)),
        row("25b", "the same of payers")
            .pair(1.0, usual[1])
            .within(Tolerance::Absolute(0.1)),
        row(
            "25c",
            "both, where seeders leave nine tenths to the open class",
        )
        .pair(1.0, open[0])
        .pair(1.0, open[1])
        .within(Tolerance::Absolute(0.1)),
    ]
}

fn idle_seeders(open_share: u32) -> String {
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
    text.replace(
        "count = 15\n",
        &format!("count = 15\nopen_share = \"{open_share}%\"\n"),
    )
}

/// Row 26: a closed swarm of peers who have a few random pieces each, and leave when they have all,
/// leaves hardly anybody behind (Massoulié and Vojnović, SIGMETRICS 2005).
pub(super) fn coupons(form: RowForm) -> Vec<ValidationRow> {
    let sizes: &[u32] = match form {
        RowForm::Short => &[60],
        RowForm::Full => &[400, 2_000],
    };
    let mut counts = WorldCounts::default();
    let stranded: Vec<f64> = sizes
        .iter()
        .map(|count| {
            let text = format!(
                "[run]\nduration = \"2h\"\nseries_every = \"10min\"\n\
                 [[torrent]]\nlength = \"4MiB\"\npiece = \"32KiB\"\n\
                 [[population]]\nname = \"peers\"\ncount = {count}\nhas = \"10%\"\n\
                 receipts = false\nline = {{ uplink = \"100kB/s\" }}\n\
                 seeding = {{ kind = \"for\", time = \"0s\" }}\n"
            );
            let played = counted(&text, &mut counts);
            float(played.peers.len() - played.took("peers").len())
        })
        .collect();
    let row =
        ValidationRow::production("26", "closed swarms: stranded of 400, 2,000", ran(&counts));
    let row = stranded
        .into_iter()
        .fold(row, |row, count| row.pair(0.0, count));
    vec![
        row.within(Tolerance::Absolute(10.0))
            .note("not of 10⁵: the flow tier has no pieces that could be missing"),
    ]
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
