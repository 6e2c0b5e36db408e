//! What came of a run, in a table: a row for each population.

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::measure::Durations;
use seedbank_sim::play::{PeerRow, PlayOutcome};
use seedbank_sim::scenario::{Population, Scenario};
use seedbank_sim::watch::WatchReport;
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
    /// Of those who came first, who are left out of the times below.
    warm_up: usize,
    /// Seconds from coming until done; who never was is counted as far as it was seen.
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
    let summary = |plan: &Population| {
        let name = plan.name.as_str();
        let rows = played.peers.iter().filter(|row| row.population == name);
        let rows: Vec<&PeerRow> = rows.collect();
        let took = Durations::of(played, plan);
        #[expect(clippy::cast_precision_loss, reason = "sums to read")]
        let sum = |of: fn(&PeerRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>() as f64;
        PopulationSummary {
            population: name.to_owned(),
            peers: rows.len(),
            joined: rows.iter().filter(|row| row.joined.is_some()).count(),
            done: rows.iter().filter(|row| row.done.is_some()).count(),
            warm_up: took.warm_up,
            took_p10: took.quantile(0.1),
            took_median: took.median(),
            took_p90: took.quantile(0.9),
            uploaded_mib: sum(|row| row.uploaded) / MIB,
            downloaded_mib: sum(|row| row.downloaded) / MIB,
            wasted_mib: sum(|row| row.wasted) / MIB,
            spent_credits: sum(|row| row.spent) / MICRO,
            earned_credits: sum(|row| row.earned) / MICRO,
            boost_refused: rows.iter().find_map(|row| row.boost_refused.clone()),
        }
    };
    populations.map(summary).collect()
}

/// What is left out of the times, and whom they count; nothing if it goes without saying.
pub(super) fn notes(summaries: &[PopulationSummary]) -> Vec<String> {
    let cut = summaries.iter().filter(|row| row.warm_up > 0).map(|row| {
        format!(
            "{}: the first {} of {} who came are left out of the times, as warm-up (MSER-5 on the \
             time until done, in order of arrival)",
            row.population, row.warm_up, row.joined
        )
    });
    let wanted = |row: &&PopulationSummary| row.took_p10.is_some() && row.done < row.joined;
    let never = summaries.iter().filter(wanted).map(|row| {
        format!(
            "{}: {} of {} who came were not done; they count as far as they were seen",
            row.population,
            row.joined - row.done,
            row.joined
        )
    });
    cut.chain(never).collect()
}

/// What was looked at all the time, and how near it came to what it may be.
pub(super) fn checks(checks: &WatchReport) -> String {
    format!(
        "checked: work conservation in {} stretches, {} % of the slack used; {} waits for a slot, \
         {} % of the longest that may be; {} violations",
        checks.stretches, checks.short_max, checks.waits, checks.wait_max, checks.violation_count
    )
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
