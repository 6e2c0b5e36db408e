//! What a strategy is worth: a population that follows it against its honest twin, under the same
//! luck.
//!
//! A twin is the same scenario and seed with that population honest. Differences are paired by
//! seed; whoever was not done when the run ended counts as done then, so that a gain or a harm that
//! lies beyond the end is understated, and counts of who was done stand beside.

use crate::play::{PeerRow, PlayOutcome};
use crate::scenario::{Population, Scenario};
use crate::stats::{Estimate, float, whole};

const MIB: f64 = 1_048_576.0;
const MICRO: f64 = 1e6;

/// What became of a population in a run. Means are over its lines, all identities together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    /// Median seconds from coming until done; `None` if nobody of it wanted anything.
    pub took: Option<f64>,
    /// Share of those who wanted something that have it.
    pub done: Option<f64>,
    /// MiB received that nobody was paid for.
    pub free: f64,
    /// MiB sent.
    pub sent: f64,
    /// MiB received in vain.
    pub vain: f64,
    /// MiB served as paid and never paid for.
    pub unpaid: f64,
    /// Credits earned less credits spent.
    pub credit: f64,
}

/// One number of a fate, and what it is.
#[derive(Clone, Copy, Debug)]
pub struct FateMeasure {
    /// For people, with its unit.
    pub name: &'static str,
    of: fn(&Fate) -> Option<f64>,
}

/// Every number of a fate, in the order in which they are shown.
pub const MEASURES: [FateMeasure; 7] = [
    FateMeasure {
        name: "median time, s",
        of: |fate| fate.took,
    },
    FateMeasure {
        name: "done, %",
        of: |fate| fate.done.map(|share| 100.0 * share),
    },
    FateMeasure {
        name: "received free of payment, MiB",
        of: |fate| Some(fate.free),
    },
    FateMeasure {
        name: "sent, MiB",
        of: |fate| Some(fate.sent),
    },
    FateMeasure {
        name: "received in vain, MiB",
        of: |fate| Some(fate.vain),
    },
    FateMeasure {
        name: "served and never paid for, MiB",
        of: |fate| Some(fate.unpaid),
    },
    FateMeasure {
        name: "earned less spent, cr",
        of: |fate| Some(fate.credit),
    },
];

/// A measure of a population under both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwinDifference {
    /// With the population honest.
    pub honest: Estimate,
    /// As the scenario says.
    pub strategic: Estimate,
    /// The second less the first, paired by seed.
    pub difference: Estimate,
}

impl FateMeasure {
    /// How it differs between runs of equal seeds; `None` if no run has it under both.
    pub fn compare(&self, honest: &[Fate], strategic: &[Fate]) -> Option<TwinDifference> {
        let both = honest.iter().zip(strategic);
        let both = both.filter_map(|(one, other)| Some(((self.of)(one)?, (self.of)(other)?)));
        let (honest, strategic): (Vec<f64>, Vec<f64>) = both.unzip();
        Some(TwinDifference {
            honest: Estimate::of(&honest)?,
            strategic: Estimate::of(&strategic)?,
            difference: Estimate::of_differences(&strategic, &honest)?,
        })
    }
}

impl Fate {
    /// Of a population of this name.
    pub fn of(scenario: &Scenario, played: &PlayOutcome, population: &str) -> Self {
        let rows = played
            .peers
            .iter()
            .filter(|row| row.population == population);
        let rows: Vec<&PeerRow> = rows.collect();
        let plan = scenario
            .populations
            .iter()
            .find(|plan| plan.name == population);
        let wants = plan.is_some_and(Population::wants);
        let end = seconds(played.lasted);
        let lines = rows
            .iter()
            .map(|row| row.index)
            .max()
            .map_or(0, |last| last + 1);
        // A line is done when all its identities are.
        let line = |index| {
            let of_line = rows.iter().filter(move |row| row.index == index);
            let took = of_line.clone().filter_map(|row| {
                let joined = row.joined?;
                Some(row.done.or(row.left).unwrap_or(end) - joined)
            });
            let is_done = of_line.clone().all(|row| row.done.is_some());
            let took = took.reduce(f64::max);
            took.map(|took| (took, is_done))
        };
        let fates: Vec<(f64, bool)> = (0..lines).filter_map(line).collect();
        let count = whole(lines.max(1));
        let mean = |of: fn(&PeerRow) -> u64| {
            let sum: u64 = rows.iter().map(|row| of(row)).sum();
            whole(sum) / count
        };
        Self {
            took: median(&fates).filter(|_| wants),
            done: (wants && !fates.is_empty()).then(|| {
                let done = fates.iter().filter(|(_, is_done)| *is_done).count();
                float(done) / float(fates.len())
            }),
            free: mean(|row| row.downloaded.saturating_sub(row.paid_received)) / MIB,
            sent: mean(|row| row.uploaded) / MIB,
            vain: mean(|row| row.wasted) / MIB,
            unpaid: mean(|row| row.unpaid) / MIB,
            credit: (mean(|row| row.earned) - mean(|row| row.spent)) / MICRO,
        }
    }
}

fn median(fates: &[(f64, bool)]) -> Option<f64> {
    let mut took: Vec<f64> = fates.iter().map(|(took, _)| *took).collect();
    took.sort_unstable_by(f64::total_cmp);
    let half = took.len() / 2;
    match took.len() % 2 {
        _ if took.is_empty() => None,
        0 => Some((took[half - 1] + took[half]) / 2.0),
        _ => Some(took[half]),
    }
}

fn seconds(time: seedbank_ledger::Duration) -> f64 {
    whole(time.as_nanos()) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_ledger::Duration;

    fn scenario() -> Scenario {
        let text = "[[torrent]]\nlength = \"1MiB\"\n[[population]]\nname = \"a\"\ncount = 3\n\
                    line = { uplink = \"1MB/s\" }\n";
        Scenario::parse("test", text).unwrap()
    }

    fn row(index: u64, identity: u64, done: Option<f64>) -> PeerRow {
        PeerRow {
            population: "a".to_owned(),
            index,
            identity,
            uplink: 1,
            downlink: 1,
            joined: Some(10.0),
            done,
            left: None,
            uploaded: 1 << 20,
            downloaded: 3 << 20,
            wasted: 0,
            granted: 0,
            spent: 2_000_000,
            earned: 500_000,
            paid_sent: 0,
            paid_received: 1 << 20,
            first_piece: None,
            wanted: 1 << 21,
            unpaid: 0,
            keys: 1,
            boost_refused: None,
        }
    }

    fn outcome(peers: Vec<PeerRow>) -> PlayOutcome {
        PlayOutcome {
            peers,
            lasted: Duration::from_secs(100),
            ..PlayOutcome::default()
        }
    }

    #[test]
    fn a_line_is_done_with_its_last_identity_and_who_never_was_counts_to_the_end() {
        let rows = vec![
            row(0, 0, Some(20.0)),
            row(1, 0, Some(30.0)),
            row(1, 1, Some(50.0)),
            row(2, 0, None),
        ];
        let fate = Fate::of(&scenario(), &outcome(rows), "a");
        assert_eq!(fate.took, Some(40.0), "10, 40 and 90 seconds");
        assert!((fate.done.unwrap() - 2.0 / 3.0).abs() < 1e-9);
        // Four identities on three lines.
        assert!((fate.free - 8.0 / 3.0).abs() < 1e-9, "{fate:?}");
        assert!((fate.credit + 2.0).abs() < 1e-9, "{fate:?}");
        assert_eq!(Fate::of(&scenario(), &outcome(Vec::new()), "a").took, None);
    }

    #[test]
    fn a_gain_is_paired_by_seed() {
        let fate = |done: f64| {
            let rows = vec![row(0, 0, Some(done))];
            Fate::of(&scenario(), &outcome(rows), "a")
        };
        let honest = [20.0, 60.0, 90.0].map(fate);
        let strategic = [18.0, 58.0, 88.0].map(fate);
        let found = MEASURES[0].compare(&honest, &strategic).unwrap();
        assert!((found.difference.mean + 2.0).abs() < 1e-9);
        assert!(found.difference.is_clear() && !found.honest.is_clear());
        assert!(MEASURES[0].compare(&[], &[]).is_none());
    }
}
