//! What equal luck is worth: how much less the difference of two policies varies if both meet the
//! same draws (common random numbers).

use seedbank_ledger::Duration;

use super::RowForm;
use crate::design::{Design, FieldSetting};
use crate::library::Included;
use crate::play::{PeerRow, outcome};
use crate::scenario::Scenario;
use crate::scenario::written::{Size, Time};
use crate::stats::{Estimate, float};

/// Most peers of a run.
const PEERS_MAX: u64 = 300;
/// Shortest and longest torrents.
const LENGTH: (u64, u64) = (1 << 20, 16 << 20);

/// Of a scenario: how the mean time of all who are done differs between two variants.
#[derive(Clone, Debug, PartialEq)]
pub struct VarianceRow {
    /// Its name.
    pub scenario: &'static str,
    /// What the second variant sets.
    pub change: String,
    /// Mean seconds of the first variant, and by how much the second differs.
    pub mean: f64,
    /// The paired differences.
    pub paired: Estimate,
    /// Variance of a difference under luck of its own for each.
    pub apart: f64,
}

/// Plays both variants of a scenario under each seed, as small as it has to be: fewer peers, and
/// torrents of so many bytes that all who want one get at most `payload_max` together.
///
/// # Errors
/// If the change does not fit the scenario.
pub fn of(
    included: &Included,
    change: &str,
    seeds: u64,
    payload_max: u64,
) -> Result<VarianceRow, String> {
    let mut design = Design::of(included.name, included.text).map_err(|error| error.to_string())?;
    let settings = change.split_whitespace().map(FieldSetting::parse);
    let settings: Result<Vec<_>, _> = settings.collect();
    let settings = settings.map_err(|error| error.to_string())?;
    design.variants.push(settings);
    design.seeds = (1..=seeds).collect();
    let mut means = [Vec::new(), Vec::new()];
    for mut run in design.runs().map_err(|error| error.to_string())? {
        shrink(&mut run.scenario, payload_max);
        means[run.variant].push(mean_time(&run.scenario));
    }
    let [a, b] = means;
    let estimates = Estimate::of(&a).zip(Estimate::of(&b));
    let ((one, other), paired) = estimates
        .zip(Estimate::of_differences(&b, &a))
        .ok_or("no seeds")?;
    let square = |estimate: Estimate| estimate.deviation * estimate.deviation;
    Ok(VarianceRow {
        scenario: included.name,
        change: change.to_owned(),
        mean: one.mean,
        paired,
        apart: square(one) + square(other),
    })
}

/// At most [`PEERS_MAX`] peers, and torrents that they have moved in little time.
fn shrink(scenario: &mut Scenario, payload_max: u64) {
    let part = scenario.peer_count().div_ceil(PEERS_MAX).max(1);
    for population in &mut scenario.populations {
        population.count = population.count.div_ceil(part);
    }
    let fetches = scenario.populations.iter().filter(|plan| plan.wants());
    let fetches: u64 = fetches.map(|plan| plan.count * plan.fetches as u64).sum();
    let length_max = (payload_max / fetches.max(1)).clamp(LENGTH.0, LENGTH.1);
    for torrent in &mut scenario.torrents {
        torrent.length = torrent.length.min(Size(length_max));
        torrent.piece = torrent
            .piece
            .min(Size((length_max / 16).next_power_of_two()));
    }
    // The flow tier's is cut off before anybody is done.
    let least = Time(Duration::from_secs(3_600));
    scenario.run.duration = scenario.run.duration.max(least);
}

/// Mean seconds of all who are done.
fn mean_time(scenario: &Scenario) -> f64 {
    let played = outcome(scenario);
    let took: Vec<f64> = played.peers.iter().filter_map(PeerRow::took).collect();
    took.iter().sum::<f64>() / float(took.len())
}

impl VarianceRow {
    /// Variance of a paired difference.
    pub fn together(&self) -> f64 {
        self.paired.deviation * self.paired.deviation
    }
}

/// What is changed in a scenario of the library: what it is about, or else everybody's slots.
pub fn change_of(included: &Included) -> String {
    let known = match included.name {
        "paying" => "population.payer.boost=",
        "free-riders" => "population.free-riders.strategy=honest",
        "seeders-leave" => "population.seeders.slots=4",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let scenario = Scenario::parse(included.name, included.text).expect("included ones are sound");
    let populations = scenario.populations.iter();
    let slots = populations.map(|plan| format!("population.{}.slots=5", plan.name));
    slots.collect::<Vec<String>>().join(" ")
}

/// Bytes that all of a run move together: whole scenarios take minutes.
pub const fn payload_max(form: RowForm) -> u64 {
    match form {
        RowForm::Short => 32 << 20,
        RowForm::Full => 256 << 20,
    }
}

/// Whether anybody comes to be done, so that there is something to compare.
pub fn has_times(included: &Included) -> bool {
    included.name != "idle"
}
