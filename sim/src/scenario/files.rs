//! Files that a scenario names become part of it: what it is a scenario of does not hang on what
//! lies beside it later.

use std::collections::BTreeMap;

use super::problems::Flaw;
use super::written::Time;
use super::{ArrivalPlan, CapacityTable, Scenario};

/// Texts of files, by the names that scenarios give them.
pub type ScenarioFiles = BTreeMap<String, String>;

impl Scenario {
    /// Puts what is in files in the place of their names. What is wrong, if anything.
    pub(super) fn take_in(&mut self, files: &ScenarioFiles) -> Option<Flaw> {
        let text_of = |name: &String| {
            let text = files.get(name).map(String::as_str);
            text.ok_or_else(|| format!("{name}: there is no such file"))
        };
        for (index, population) in self.populations.iter_mut().enumerate() {
            let flaw = |name: &str, what: &str| {
                Some(Flaw {
                    place: ("population", index),
                    what: format!("{name:?}: {what}"),
                })
            };
            if let Some(name) = population.line.csv.take() {
                let of_file =
                    |text| CapacityTable::of_csv(text).map_err(|what| (name.clone(), what));
                let table = text_of(&name).map_err(|what| (String::new(), what));
                match table.and_then(of_file) {
                    Ok(table) => population.line.table = Some(table),
                    Err((file, what)) => return flaw(&population.name, &told(&file, &what)),
                }
            }
            if let ArrivalPlan::Trace { times, csv } = &mut population.arrivals
                && let Some(name) = csv.take()
            {
                let of_file = |text| times_of_csv(text).map_err(|what| (name.clone(), what));
                let read = text_of(&name).map_err(|what| (String::new(), what));
                match read.and_then(of_file) {
                    Ok(read) => *times = read,
                    Err((file, what)) => return flaw(&population.name, &told(&file, &what)),
                }
            }
            if let Some(what) = population.problem_of_trace() {
                return flaw(&population.name, &what);
            }
        }
        None
    }
}

fn told(file: &str, what: &str) -> String {
    match file.is_empty() {
        true => what.to_owned(),
        false => format!("{file}: {what}"),
    }
}

/// A time for each line, and a header if it likes.
fn times_of_csv(text: &str) -> Result<Vec<Time>, String> {
    let mut times = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let cell = line.split(',').next().unwrap_or_default().trim();
        let begins = |line: &str| line.starts_with(|c: char| c.is_ascii_digit());
        if cell.is_empty() || (number == 1 && !begins(cell)) {
            continue;
        }
        let time = Time::try_from(cell.to_owned());
        times.push(time.map_err(|problem| format!("line {number}: {problem}"))?);
    }
    Ok(times)
}
