//! A design: which variants of a scenario are run, each under which seeds.
//!
//! A variant sets fields by path: `population.payer.boost.budget=2cr`, where a table of several is
//! named by its `name`. A run is one variant under one seed; its id depends on nothing else.

use std::fmt;

use seedbank_engine::text::similar;
use toml::{Table, Value};

use crate::scenario::{Scenario, ScenarioError, ScenarioFiles};

/// Most runs of a design.
pub const RUNS_MAX: usize = 1_000_000;

/// A field of a scenario and what it is set to.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSetting {
    /// Where: keys with dots between, names in place of positions.
    pub path: String,
    /// What; `None`: it is left out.
    pub value: Option<Value>,
}

/// Variants of a scenario and the seeds under which each is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    base: Table,
    file: String,
    /// What is in the files that the scenario and its settings name.
    pub files: ScenarioFiles,
    /// What each variant sets.
    pub variants: Vec<Vec<FieldSetting>>,
    /// Under which seeds.
    pub seeds: Vec<u64>,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRun {
    /// Which of the variants.
    pub variant: usize,
    /// What is run.
    pub scenario: Scenario,
}

/// Why a design cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesignError(String);

impl fmt::Display for DesignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DesignError {}

impl From<ScenarioError> for DesignError {
    fn from(error: ScenarioError) -> Self {
        Self(error.to_string())
    }
}

impl FieldSetting {
    /// Reads `PATH=VALUE`; a value that is no number, truth or table is a text, and none leaves the
    /// field out.
    ///
    /// # Errors
    /// If there is no `=`, or nothing before it.
    pub fn parse(text: &str) -> Result<Self, DesignError> {
        let problem = || DesignError(format!("{text:?}: write PATH=VALUE, as run.duration=2h"));
        let (path, value) = text.split_once('=').ok_or_else(problem)?;
        if path.trim().is_empty() {
            return Err(problem());
        }
        Ok(Self {
            path: path.trim().to_owned(),
            value: (!value.trim().is_empty()).then(|| value_of(value.trim())),
        })
    }

    /// Reads `PATH=VALUE,VALUE…`: one setting for each value. A list of tables is not split.
    ///
    /// # Errors
    /// As [`FieldSetting::parse`].
    pub fn parse_several(text: &str) -> Result<Vec<Self>, DesignError> {
        let Self { path, value } = Self::parse(text)?;
        let values = match &value {
            Some(Value::String(several)) => {
                let each = several.split(',').map(|one| Some(value_of(one.trim())));
                each.collect()
            }
            other => vec![other.clone()],
        };
        let setting = |value| Self {
            path: path.clone(),
            value,
        };
        Ok(values.into_iter().map(setting).collect())
    }
}

impl FieldSetting {
    /// The value as text; nothing, if the field is left out.
    pub fn value_text(&self) -> String {
        let text = |value: &Value| {
            let text = value.as_str().map(str::to_owned);
            text.unwrap_or_else(|| value.to_string())
        };
        self.value.as_ref().map_or_else(String::new, text)
    }
}

/// A value as TOML writes it, or a text.
fn value_of(text: &str) -> Value {
    let line: Result<Table, _> = toml::from_str(&format!("value = {text}"));
    let value = line.ok().and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

impl Design {
    /// The scenario as it is, under its own seed. `file` is what errors call the text.
    ///
    /// # Errors
    /// If it is no sound scenario.
    pub fn of(file: &str, text: &str) -> Result<Self, DesignError> {
        Self::with_files(file, text, ScenarioFiles::new())
    }

    /// The same of a scenario that names these files.
    ///
    /// # Errors
    /// If it is no sound scenario.
    pub fn with_files(file: &str, text: &str, files: ScenarioFiles) -> Result<Self, DesignError> {
        let scenario = Scenario::parse_with(file, text, &files)?;
        Ok(Self {
            base: toml::from_str(text).map_err(|error| DesignError(error.to_string()))?,
            file: file.to_owned(),
            files,
            variants: vec![Vec::new()],
            seeds: vec![scenario.run.seed],
        })
    }

    /// Every variant so far with each of these settings.
    #[must_use]
    pub fn crossed_with(mut self, settings: &[FieldSetting]) -> Self {
        let with = |variant: &Vec<FieldSetting>, setting: &FieldSetting| {
            let mut variant = variant.clone();
            variant.push(setting.clone());
            variant
        };
        let variants = self.variants.iter();
        let crossed = variants.flat_map(|variant| settings.iter().map(move |s| with(variant, s)));
        self.variants = crossed.collect();
        self
    }

    /// The files that settings name.
    pub fn files_set(&self) -> Vec<String> {
        let settings = self.variants.iter().flatten();
        let mut names = Vec::new();
        for setting in settings {
            let key = setting.path.rsplit('.').next().unwrap_or_default();
            if let Some(value) = &setting.value {
                find_files(key, value, &mut names);
            }
        }
        names
    }

    /// What each variant is called among the others: without the settings that all begin with.
    pub fn labels(&self) -> Vec<String> {
        let first = &self.variants[0];
        let is_common = |place: &usize| {
            let all = self.variants.iter();
            all.map(|variant| variant.get(*place))
                .all(|setting| setting == first.get(*place))
        };
        let common = match self.variants.len() {
            1 => 0,
            _ => (0..first.len()).take_while(is_common).count(),
        };
        let variants = self.variants.iter();
        variants.map(|variant| label(&variant[common..])).collect()
    }

    /// How many runs there are.
    pub fn run_count(&self) -> usize {
        self.variants.len().saturating_mul(self.seeds.len())
    }

    /// Every run, variant by variant.
    ///
    /// # Errors
    /// The first setting that fits no scenario, or too many runs.
    pub fn runs(&self) -> Result<Vec<PlannedRun>, DesignError> {
        if let Some(seed) = self
            .seeds
            .iter()
            .find(|seed| i64::try_from(**seed).is_err())
        {
            return Err(DesignError(format!("seed {seed}: at most {}", i64::MAX)));
        }
        let count = self.run_count();
        if count > RUNS_MAX {
            return Err(DesignError(format!(
                "{count} runs, and {RUNS_MAX} is the most"
            )));
        }
        let mut runs = Vec::with_capacity(count);
        for (variant, settings) in self.variants.iter().enumerate() {
            let scenario = self.scenario(settings)?;
            runs.extend(self.seeds.iter().map(|seed| {
                let mut scenario = scenario.clone();
                scenario.run.seed = *seed;
                PlannedRun { variant, scenario }
            }));
        }
        Ok(runs)
    }

    fn scenario(&self, settings: &[FieldSetting]) -> Result<Scenario, DesignError> {
        let mut table = self.base.clone();
        for setting in settings {
            set(&mut table, setting)?;
        }
        let text = table.to_string();
        let what = match settings.is_empty() {
            true => self.file.clone(),
            false => format!("{} with {}", self.file, label(settings)),
        };
        // The text is not the author's any more, and neither are its lines.
        let scenario = Scenario::parse_with(&what, &text, &self.files);
        scenario.map_err(|error| DesignError(format!("{}: {}", error.file, error.problem)))
    }
}

/// The files that the text of a scenario names; none of a text that is no TOML.
pub fn files_named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(table) = toml::from_str::<Table>(text) {
        find_files("", &Value::Table(table), &mut names);
    }
    names
}

fn find_files(key: &str, value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(name) if key == "csv" => names.push(name.clone()),
        Value::Table(table) => table
            .iter()
            .for_each(|(key, value)| find_files(key, value, names)),
        Value::Array(several) => several
            .iter()
            .for_each(|value| find_files("", value, names)),
        _ => {}
    }
}

/// What a variant is called: its settings, or `as written`.
pub fn label(settings: &[FieldSetting]) -> String {
    if settings.is_empty() {
        return "as written".to_owned();
    }
    let each = settings.iter();
    let each = each.map(|setting| format!("{}={}", setting.path, setting.value_text()));
    each.collect::<Vec<_>>().join(" ")
}

impl PlannedRun {
    /// Names the run: equal scenarios under equal seeds have equal ids.
    pub fn id(&self) -> String {
        self.scenario.hash()[..16].to_owned()
    }
}

/// Sets one field. Tables on the way are made; of an array of tables the one of that name is meant.
fn set(table: &mut Table, setting: &FieldSetting) -> Result<(), DesignError> {
    let mut keys = setting.path.split('.').peekable();
    let mut place = table;
    while let Some(key) = keys.next() {
        if keys.peek().is_none() {
            match &setting.value {
                Some(value) => place.insert(key.to_owned(), value.clone()),
                None => place.remove(key),
            };
            return Ok(());
        }
        let entry = place.entry(key);
        let value = entry.or_insert_with(|| Value::Table(Table::new()));
        place = match value {
            Value::Table(inner) => inner,
            Value::Array(several) => {
                let name = keys.next().unwrap_or_default();
                named(several, key, name, &setting.path)?
            }
            _ => {
                let path = &setting.path;
                return Err(DesignError(format!("{path}: {key} is no table")));
            }
        };
    }
    Ok(())
}

fn named<'a>(
    several: &'a mut [Value],
    key: &str,
    name: &str,
    path: &str,
) -> Result<&'a mut Table, DesignError> {
    let tables = several.iter().filter_map(Value::as_table);
    let names = tables.filter_map(|table| table.get("name")?.as_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    let meant = similar(name, names.iter().map(String::as_str));
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
    let mut tables = several.iter_mut().filter_map(Value::as_table_mut);
    let found = tables.find(|table| table.get("name").and_then(Value::as_str) == Some(name));
    found.ok_or_else(|| DesignError(format!("{path}: there is no {key} {name:?}{meant}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[network]\n[[torrent]]\nlength = \"4MiB\"\n\
        [[population]]\nname = \"payer\"\ncount = 1\nline = { uplink = \"1MB/s\" }\n\
        [[population]]\nname = \"others\"\ncount = 5\nline = { uplink = \"1MB/s\" }\n";

    fn design() -> Design {
        Design::of("base", BASE).unwrap()
    }

    fn several(text: &str) -> Vec<FieldSetting> {
        FieldSetting::parse_several(text).unwrap()
    }

    #[test]
    fn variants_are_crossed_and_each_meets_every_seed() {
        let mut design = design()
            .crossed_with(&several("population.others.count=5,10"))
            .crossed_with(&several("population.payer.boost.budget=1cr,2cr,3cr"));
        design.seeds = (1..=4).collect();
        let runs = design.runs().unwrap();
        assert_eq!((runs.len(), design.run_count()), (24, 24));
        let others = |run: &PlannedRun| run.scenario.populations[1].count;
        assert_eq!((others(&runs[0]), others(&runs[23])), (5, 10));
        assert_eq!(runs[23].scenario.run.seed, 4);
        let ids: std::collections::BTreeSet<String> = runs.iter().map(PlannedRun::id).collect();
        assert_eq!(ids.len(), 24);
        assert_eq!(
            label(&design.variants[5]),
            "population.others.count=10 population.payer.boost.budget=3cr"
        );
    }

    #[test]
    fn labels_leave_out_what_all_variants_set() {
        let common = design().crossed_with(&several("network.grant=1cr"));
        assert_eq!(common.labels(), ["network.grant=1cr"]);
        let mut varied = common.crossed_with(&several("population.others.count=5,10"));
        assert_eq!(
            varied.labels(),
            ["population.others.count=5", "population.others.count=10"]
        );
        varied.variants[1].pop();
        assert_eq!(varied.labels()[1], "as written");
    }

    #[test]
    fn a_setting_that_fits_nothing_is_told() {
        let problem = |text: &str| {
            let design = design().crossed_with(&several(text));
            design.runs().unwrap_err().to_string()
        };
        assert_eq!(
            problem("population.other.count=5"),
            "population.other.count: there is no population \"other\"; did you mean \"others\"?"
        );
        assert!(problem("run.durration=1h").ends_with("did you mean `duration`?"));
        assert!(problem("population.others.count=many").starts_with("base with "));
        assert_eq!(
            problem("network.grant.x=1"),
            "base with network.grant.x=1: invalid type: map, expected a string"
        );
        assert!(FieldSetting::parse("nothing").is_err());
    }

    #[test]
    fn files_are_named_by_scenarios_and_by_settings() {
        let text = BASE.replace(
            "line = { uplink = \"1MB/s\" }",
            "line = { csv = \"a.csv\" }",
        );
        assert_eq!(files_named(&text), ["a.csv", "a.csv"]);
        assert!(files_named("no [[ toml").is_empty());
        let mut design = design()
            .crossed_with(&several("population.payer.line={ csv = \"b.csv\" }"))
            .crossed_with(&several("population.others.line.uplink="))
            .crossed_with(&several("population.others.line.csv=c.csv"));
        assert_eq!(design.files_set(), ["b.csv", "c.csv"]);
        assert!(
            design
                .runs()
                .unwrap_err()
                .to_string()
                .contains("there is no such file")
        );
        for name in ["b.csv", "c.csv"] {
            design
                .files
                .insert(name.to_owned(), "100%,1MB/s\n".to_owned());
        }
        assert!(
            design.runs().unwrap()[0].scenario.populations[1]
                .line
                .table
                .is_some()
        );
        design.seeds = vec![u64::MAX];
        assert!(
            design
                .runs()
                .unwrap_err()
                .to_string()
                .starts_with("seed 18446744073709551615")
        );
    }

    #[test]
    fn values_are_read_as_toml_reads_them() {
        let value = |text| FieldSetting::parse(text).unwrap().value.unwrap();
        assert_eq!(value("a=5"), Value::Integer(5));
        assert_eq!(value("a=true"), Value::Boolean(true));
        assert_eq!(value("a=1MB/s"), Value::String("1MB/s".to_owned()));
        let table = value("a={ kind = \"flash\", within = \"5s\" }");
        assert_eq!(table["within"].as_str(), Some("5s"));
        assert_eq!(FieldSetting::parse("a=").unwrap().value, None);
        let without = design()
            .crossed_with(&several("population.payer.boost.budget=1cr"))
            .crossed_with(&several("population.payer.boost="));
        assert_eq!(
            without.runs().unwrap()[0].scenario,
            design().runs().unwrap()[0].scenario
        );
    }
}
