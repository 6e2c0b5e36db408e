//! What came of a run, in a table: a row for each population.

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::play::{PeerRow, PlayOutcome};
use seedbank_sim::scenario::Scenario;
use serde::Serialize;

const MIB: f64 = 1_048_576.0;
const MICRO: f64 = 1e6;

/// One population.
#[derive(Debug, Serialize)]
pub(super) struct PopulationSummary {
    population: String,
    peers: usize,
    joined: usize,
    /// Who has everything and came with less.
    done: usize,
    /// Seconds from coming until done, of those who are done.
    took_p10: Option<f64>,
    took_median: Option<f64>,
    took_p90: Option<f64>,
    uploaded_mib: f64,
    downloaded_mib: f64,
    wasted_mib: f64,
    spent_credits: f64,
    earned_credits: f64,
    /// Why boosts were refused to the end, if any was.
    boost_refused: Option<String>,
}

pub(super) fn of(scenario: &Scenario, played: &PlayOutcome) -> Vec<PopulationSummary> {
    let populations = scenario.populations.iter();
    let summary = |name: &str| {
        let rows = played.peers.iter().filter(|row| row.population == name);
        let rows: Vec<&PeerRow> = rows.collect();
        let took = played.took(name);
        #[expect(clippy::cast_precision_loss, reason = "sums to read")]
        let sum = |of: fn(&PeerRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>() as f64;
        PopulationSummary {
            population: name.to_owned(),
            peers: rows.len(),
            joined: rows.iter().filter(|row| row.joined.is_some()).count(),
            done: took.len(),
            took_p10: quantile(&took, 10),
            took_median: quantile(&took, 50),
            took_p90: quantile(&took, 90),
            uploaded_mib: sum(|row| row.uploaded) / MIB,
            downloaded_mib: sum(|row| row.downloaded) / MIB,
            wasted_mib: sum(|row| row.wasted) / MIB,
            spent_credits: sum(|row| row.spent) / MICRO,
            earned_credits: sum(|row| row.earned) / MICRO,
            boost_refused: rows.iter().find_map(|row| row.boost_refused.clone()),
        }
    };
    populations.map(|plan| summary(&plan.name)).collect()
}

/// Median of the seconds that those of a population took who are done.
pub(super) fn median(played: &PlayOutcome, population: &str) -> Option<f64> {
    quantile(&played.took(population), 50)
}

/// The smallest of the sorted numbers that so many percent are not above.
fn quantile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

pub(super) fn table(summaries: &[PopulationSummary]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let _ = table.set_header([
        "population",
        "peers",
        "done",
        "p10 s",
        "median s",
        "p90 s",
        "up MiB",
        "down MiB",
        "vain",
        "spent cr",
        "earned cr",
    ]);
    for row in summaries {
        let time = |time: Option<f64>| time.map_or("–".to_owned(), |time| format!("{time:.1}"));
        let _ = table.add_row([
            row.population.clone(),
            row.peers.to_string(),
            row.done.to_string(),
            time(row.took_p10),
            time(row.took_median),
            time(row.took_p90),
            format!("{:.0}", row.uploaded_mib),
            format!("{:.0}", row.downloaded_mib),
            format!("{:.0}", row.wasted_mib),
            format!("{:.4}", row.spent_credits),
            format!("{:.4}", row.earned_credits),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_numbers_that_are_there() {
        let numbers = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&numbers, 50), Some(2.0));
        assert_eq!(quantile(&numbers, 90), Some(4.0));
        assert_eq!(quantile(&numbers, 10), Some(1.0));
        assert_eq!(quantile(&[], 50), None);
    }
}
