//! Scenarios and settings as Python says them: a text with its file's name, or a dict.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use seedbank_sim::cli::front;
use seedbank_sim::design::{Design, DesignError, FieldSetting};
use seedbank_sim::scenario::{Scenario, ScenarioError as Refusal};
use toml::{Table, Value};

use crate::{ScenarioError, failure};

/// What errors call a scenario that is a dict.
const DICT: &str = "scenario";

/// A scenario: a dict, or a text that errors call `file`; without `file`, the name of one that
/// comes with the simulator.
///
/// # Errors
/// If it is not sound.
pub(crate) fn design(scenario: &Bound<'_, PyAny>, file: Option<&str>) -> PyResult<Design> {
    if let Ok(dict) = scenario.cast::<PyDict>() {
        let text = table(dict, DICT)?.to_string();
        // Lines of a text that nobody wrote would lead nowhere: the table is told in their place.
        Scenario::parse(DICT, &text).map_err(|refusal| of_dict(&text, &refusal))?;
        return Design::of(DICT, &text).map_err(refused);
    }
    let text: String = scenario.extract()?;
    match file {
        Some(file) => front::design(file, &text).map_err(failure),
        None => front::find(&text).map_err(failure),
    }
}

/// What one variant sets, in the dict's order; `None` leaves a field out.
///
/// # Errors
/// A value that TOML does not have.
pub(crate) fn settings(overrides: &Bound<'_, PyDict>) -> PyResult<Vec<FieldSetting>> {
    let setting = |(path, set): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let path: String = path.extract()?;
        let value = value(&set, &path)?;
        Ok(FieldSetting { path, value })
    };
    overrides.iter().map(setting).collect()
}

pub(crate) fn refused(error: DesignError) -> PyErr {
    ScenarioError::new_err(error.to_string())
}

fn of_dict(text: &str, refusal: &Refusal) -> PyErr {
    let heading = |line: &&str| line.starts_with('[');
    let before: Vec<&str> = text.lines().take(refusal.line).filter(heading).collect();
    let last = before
        .last()
        .map_or("", |last| last.trim_matches(['[', ']']));
    let mut place = DICT.to_owned();
    let mut path = String::new();
    for key in last.split('.').filter(|key| !key.is_empty()) {
        path = [path.as_str(), key].join(if path.is_empty() { "" } else { "." });
        place = format!("{place}[{key}]");
        let heading = format!("[[{path}]]");
        let count = before.iter().filter(|line| **line == heading).count();
        if let Some(index) = count.checked_sub(1) {
            place = format!("{place}[{index}]");
        }
    }
    ScenarioError::new_err(format!("{place}: {}", refusal.problem))
}

fn table(dict: &Bound<'_, PyDict>, path: &str) -> PyResult<Table> {
    let mut table = Table::new();
    for (key, inner) in dict {
        let name: String = key
            .extract()
            .map_err(|_| PyTypeError::new_err(format!("{path}: a key is no text: {key}")))?;
        let inner = value(&inner, &format!("{path}.{name}"))?;
        if let Some(inner) = inner {
            table.insert(name, inner);
        }
    }
    Ok(table)
}

/// A value as TOML has it. `None` and what is not a number, which data frames have for cells that
/// are missing, are none; a whole number is whole, since a column with a gap is of floats.
fn value(object: &Bound<'_, PyAny>, path: &str) -> PyResult<Option<Value>> {
    if object.is_none() {
        return Ok(None);
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        return table(dict, path).map(|table| Some(Value::Table(table)));
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        let each = object.try_iter()?.map(|one| value(&one?, path));
        let each = each
            .filter_map(Result::transpose)
            .collect::<PyResult<_>>()?;
        return Ok(Some(Value::Array(each)));
    }
    if let Ok(text) = object.extract::<String>() {
        return Ok(Some(Value::String(text)));
    }
    if let Ok(truth) = object.extract::<bool>() {
        return Ok(Some(Value::Boolean(truth)));
    }
    if let Ok(whole) = object.extract::<i64>() {
        return Ok(Some(Value::Integer(whole)));
    }
    match object.extract::<f64>() {
        Ok(number) => number_of(number, path),
        Err(_) => {
            let kind = object.get_type().name()?;
            Err(PyTypeError::new_err(format!(
                "{path}: a scenario has no {kind}"
            )))
        }
    }
}

fn number_of(number: f64, path: &str) -> PyResult<Option<Value>> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.is_nan() {
        return Ok(None);
    }
    if number.is_infinite() {
        return Err(PyValueError::new_err(format!(
            "{path}: no number is infinite"
        )));
    }
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and at most 2^53")]
        let whole = number as i64;
        return Ok(Some(Value::Integer(whole)));
    }
    Ok(Some(Value::Float(number)))
}
