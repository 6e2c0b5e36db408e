//! What came of runs as a page: plots, tables, and how to repeat them; one HTML file that needs
//! nothing else.
//!
//! `run` is the page of one run, `sweep` that of several variants, `compare` that of two under the
//! same luck, `growth` that of what peers cost. `plot` says what is drawn, `scale` and `units`
//! where and in which unit, `svg` draws it, and `page` holds it all. Files are read and written
//! elsewhere.

mod compare;
mod growth;
mod page;
mod peers;
mod plot;
mod run;
mod scale;
mod svg;
mod sweep;
#[cfg(test)]
mod tests;
mod units;

use std::fmt;

use crate::design::{Design, FieldSetting};
use crate::frame::Frame;
use crate::scenario::Scenario;
pub use growth::{GrowthRow, growth_page};

use page::{PageTable, ReportPage};
use peers::{OpenPopulations, PeerTable, PopulationFacts, open_populations};

static NONE_OPEN: OpenPopulations = OpenPopulations::new();

/// Where results are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultOrigin {
    /// The scenario, every field written out.
    pub scenario: String,
    /// The command that was typed, if it is known.
    pub typed: Option<String>,
    /// What to type for the same results.
    pub repeat: String,
    /// What else is known: names and values, in the order in which they are shown.
    pub facts: Vec<(String, String)>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunResults {
    /// Where it is from.
    pub origin: ResultOrigin,
    /// Virtual seconds that were played.
    pub lasted: f64,
    /// A row for each peer.
    pub peers: Frame,
    /// A row for each stretch of time.
    pub series: Frame,
    /// A row for every two groups of leechers.
    pub unchokes: Frame,
}

/// Runs of several variants, each under several seeds.
#[derive(Clone, Debug, Default)]
pub struct SweepResults {
    /// Where they are from.
    pub origin: ResultOrigin,
    /// The variants.
    pub variants: Vec<Variant>,
    runs: Vec<RunFacts>,
    names: Vec<String>,
    /// Of each variant.
    open: Vec<OpenPopulations>,
    /// Peers of the two variants of a comparison.
    pairs: Option<Vec<PeerTable>>,
}

/// What a variant sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// What it is called.
    pub label: String,
    /// Paths and values; empty: it is left out.
    pub settings: Vec<(String, String)>,
}

/// A run of a sweep, as its row tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLine {
    /// Names it.
    pub run_id: String,
    /// Which of the variants.
    pub variant: usize,
    /// Its seed.
    pub seed: u64,
    /// Why it failed; empty, if it did not.
    pub error: String,
    /// Virtual seconds that were played.
    pub lasted: f64,
    /// Events handled.
    pub events: f64,
}

/// A run, and what became of its populations, by the numbers of their names.
#[derive(Clone, Debug, PartialEq)]
struct RunFacts {
    line: RunLine,
    populations: Vec<Option<PopulationFacts>>,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// Rows have no such column.
    Column(&'static str),
    /// Nothing was run.
    Nothing,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => write!(
                f,
                "there is no column {name}: these are results of another version"
            ),
            Self::Nothing => f.write_str("there are no runs"),
        }
    }
}

impl std::error::Error for ReportError {}

impl RunResults {
    /// The page.
    ///
    /// # Errors
    /// If a column is missing.
    pub fn page(&self) -> Result<String, ReportError> {
        run::page(self)
    }
}

impl SweepResults {
    /// Of these variants; nothing was run yet. Of a comparison two, whose peers are kept, so that
    /// each is compared with its twin.
    pub fn new(origin: ResultOrigin, variants: Vec<Variant>, compares: bool) -> Self {
        Self {
            open: open_by_variant(&origin.scenario, &variants),
            origin,
            variants,
            pairs: compares.then(Vec::new),
            ..Self::default()
        }
    }

    /// One more run; of one that failed there are no peers.
    ///
    /// # Errors
    /// If a column is missing.
    pub fn add(&mut self, line: RunLine, peers: &Frame) -> Result<(), ReportError> {
        let table = match line.error.is_empty() {
            true => PeerTable::read(peers)?,
            false => PeerTable::default(),
        };
        let mut populations = Vec::new();
        let open = self.open.get(line.variant).unwrap_or(&NONE_OPEN);
        let facts = table.populations(line.lasted, open);
        for (name, facts) in table.names.iter().zip(facts) {
            let known = self.names.iter().position(|known| known == name);
            let number = known.unwrap_or_else(|| {
                self.names.push(name.clone());
                self.names.len() - 1
            });
            populations.resize(populations.len().max(number + 1), None);
            populations[number] = Some(facts);
        }
        self.runs.push(RunFacts { line, populations });
        if let Some(pairs) = &mut self.pairs {
            pairs.push(table);
        }
        Ok(())
    }

    /// The page.
    ///
    /// # Errors
    /// If nothing was run.
    pub fn page(&self) -> Result<String, ReportError> {
        match (self.runs.is_empty(), &self.pairs) {
            (true, _) => Err(ReportError::Nothing),
            (false, Some(pairs)) => Ok(compare::page(self, pairs)),
            (false, None) => Ok(sweep::page(self)),
        }
    }

    /// Runs of a variant that did not fail, in the order of their seeds.
    fn of_variant(&self, variant: usize) -> Vec<&RunFacts> {
        let good = |run: &&RunFacts| run.line.variant == variant && run.line.error.is_empty();
        let mut runs: Vec<&RunFacts> = self.runs.iter().filter(good).collect();
        runs.sort_by_key(|run| run.line.seed);
        runs
    }

    /// Those populations, by number and name, in which somebody came for something.
    fn wanting(&self) -> Vec<(usize, &str)> {
        let wants = |number: usize| {
            let facts = self.runs.iter().filter_map(|run| run.of(number));
            facts.into_iter().any(PopulationFacts::wants)
        };
        let names = self.names.iter().enumerate();
        let names = names.filter(|(number, _)| wants(*number));
        names
            .map(|(number, name)| (number, name.as_str()))
            .collect()
    }
}

/// Of which populations peers come one by one, in each variant; as in the scenario, where a setting
/// is of another version, and where the scenario is, none.
fn open_by_variant(scenario: &str, variants: &[Variant]) -> Vec<OpenPopulations> {
    let Ok(mut design) = Design::of("scenario", scenario) else {
        return Vec::new();
    };
    let as_written = design.runs().ok();
    let as_written = as_written.and_then(|runs| Some(open_populations(&runs.first()?.scenario)));
    let as_written = as_written.unwrap_or_default();
    let setting =
        |(path, value): &(String, String)| FieldSetting::parse(&format!("{path}={value}"));
    let variants = variants.iter().map(|variant| {
        let settings: Result<Vec<FieldSetting>, _> = variant.settings.iter().map(setting).collect();
        design.variants = vec![settings.ok()?];
        let runs = design.runs().ok()?;
        Some(open_populations(&runs.first()?.scenario))
    });
    variants
        .map(|open| open.unwrap_or_else(|| as_written.clone()))
        .collect()
}

impl RunFacts {
    fn of(&self, population: usize) -> Option<&PopulationFacts> {
        self.populations.get(population)?.as_ref()
    }
}

impl ResultOrigin {
    /// What the scenario is called, and what it is about.
    fn title(&self) -> (String, String) {
        match Scenario::parse("scenario", &self.scenario) {
            Ok(scenario) => (scenario.run.name, scenario.run.about),
            // It was written by another version; it is shown below as it is.
            Err(_) => ("a scenario".to_owned(), String::new()),
        }
    }

    /// How to come to the same, the scenario, and what else is known.
    fn write(&self, page: &mut ReportPage, same: &str) {
        page.heading("How to repeat it");
        page.listing(&self.repeat);
        page.paragraph(same);
        if let Some(typed) = &self.typed {
            page.paragraph("It was made by:");
            page.listing(typed);
        }
        page.heading("What it is a result of");
        let mut table = PageTable::new(2, &["of the results", "value"]);
        for (name, value) in &self.facts {
            table.row(vec![name.clone(), value.clone()]);
        }
        page.table(&table);
        page.heading("The scenario");
        page.listing(&self.scenario);
    }
}

/// Says of whom the first are left out of times, if of any are.
fn warm_up_note<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "Times until done of {} are without those who came first, as warm-up: in each run up \
             to where MSER-5 on that time, in order of arrival, cuts.",
            names.join(", ")
        )
    })
}

/// A number of things: `1 peer`, `2 peers`.
fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}
