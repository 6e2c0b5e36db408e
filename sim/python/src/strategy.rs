//! Strategies that are functions of Python: what they see and answer, once a round.
//!
//! A play runs in a thread of its own; it sends what is seen to the thread that holds Python's
//! lock, and waits for the answer.

use std::sync::mpsc::{Sender, channel};

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping};
use seedbank_sim::flow::{RoundChoices, RoundSight, RoundStrategy};

use crate::SimulationError;

/// What is asked, and where the answer goes.
pub(crate) struct RoundAsked {
    sight: RoundSight,
    answer: Sender<RoundChoices>,
}

/// Asks whoever hears at the other end.
pub(crate) struct AskedStrategy {
    pub(crate) populations: Vec<String>,
    pub(crate) told: Sender<RoundAsked>,
}

impl RoundStrategy for AskedStrategy {
    fn decides_for(&self, population: &str) -> bool {
        self.populations.iter().any(|name| name == population)
    }

    fn decide(&mut self, sight: RoundSight) -> RoundChoices {
        let (answer, heard) = channel();
        // Where nobody answers the play is being stopped, and what is played till then is nobody's.
        let asked = self.told.send(RoundAsked { sight, answer });
        let heard = asked.ok().and_then(|()| heard.recv().ok());
        heard.unwrap_or_default()
    }
}

impl RoundAsked {
    /// About whom.
    pub(crate) fn population(&self) -> &str {
        &self.sight.population
    }

    /// Asks `strategy`, which is told population, round, seconds and columns by name, and gives
    /// columns by name.
    ///
    /// # Errors
    /// What it raised, or what is wrong with its answer, by population and round.
    pub(crate) fn put_to(self, py: Python<'_>, strategy: &Bound<'_, PyAny>) -> PyResult<()> {
        let Self { sight, answer } = self;
        let choices = ask(py, strategy, &sight).map_err(|error| {
            // Ctrl-C and the end of the interpreter are nobody's error.
            if !error.is_instance_of::<PyException>(py) {
                return error;
            }
            let named = SimulationError::new_err(format!(
                "strategy of {:?}, round {}: {error}",
                sight.population, sight.round
            ));
            named.set_cause(py, Some(error));
            named
        })?;
        // The play waits for it, unless it was stopped.
        let _ = answer.send(choices);
        Ok(())
    }
}

fn ask(py: Python<'_>, strategy: &Bound<'_, PyAny>, sight: &RoundSight) -> PyResult<RoundChoices> {
    let columns = PyDict::new(py);
    let flags: Vec<u8> = sight.is_there.iter().copied().map(u8::from).collect();
    columns.set_item("there", ("?", PyBytes::new(py, &flags)))?;
    for (name, cells) in [
        ("progress", &sight.progress),
        ("uplink", &sight.uplink),
        ("sending", &sight.sending),
        ("receiving", &sight.receiving),
    ] {
        columns.set_item(name, ("d", bytes(py, cells, |cell| cell.to_ne_bytes())?))?;
    }
    let number = |cell: &Option<f64>| cell.unwrap_or(f64::NAN).to_ne_bytes();
    columns.set_item("price", ("d", bytes(py, &sight.price, number)?))?;
    for (name, cells) in [
        ("balance", &sight.balance),
        ("spent", &sight.spent),
        ("earned", &sight.earned),
        ("seats", &sight.seats),
    ] {
        columns.set_item(name, ("Q", bytes(py, cells, |cell| cell.to_ne_bytes())?))?;
    }
    let answer = strategy.call1((&sight.population, sight.round, sight.time, columns))?;
    choices(&answer, sight.is_there.len())
}

/// Cells as the machine has them, one after the other.
fn bytes<'py, T>(
    py: Python<'py>,
    cells: &[T],
    cell: impl Fn(&T) -> [u8; 8],
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, cells.len() * 8, |room| {
        for (room, one) in room.chunks_exact_mut(8).zip(cells) {
            room.copy_from_slice(&cell(one));
        }
        Ok(())
    })
}

fn choices(answer: &Bound<'_, PyAny>, count: usize) -> PyResult<RoundChoices> {
    let mut choices = RoundChoices::default();
    if answer.is_none() {
        return Ok(choices);
    }
    let answer = answer.cast::<PyMapping>().map_err(|_| {
        let kind = answer.get_type();
        PyTypeError::new_err(format!("it gave a {kind}, not a dict of columns"))
    })?;
    for pair in answer.items()?.iter() {
        let (name, cells): (String, Bound<'_, PyAny>) = pair.extract()?;
        let cells = || column(&name, &cells, count);
        match name.as_str() {
            "bid" => choices.bid = cells()?,
            "floor" => choices.floor = cells()?,
            "budget" => choices.budget = cells()?,
            "limit" => choices.limit = cells()?,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "there is no column {name:?}; there are bid, floor, budget, limit"
                )));
            }
        }
    }
    Ok(choices)
}

/// One number for all, an array, or a list of numbers. `None` and what is not a number are none.
fn column(name: &str, cells: &Bound<'_, PyAny>, count: usize) -> PyResult<Vec<Option<u64>>> {
    let wrong = |place: usize, cell: f64| {
        PyValueError::new_err(format!("{name}[{place}] is {cell}: no such amount"))
    };
    if let Ok(one) = cells.extract::<f64>() {
        let one = whole(one).ok_or_else(|| wrong(0, one))?;
        return Ok(vec![one; count]);
    }
    let cells = match numbers(cells)? {
        Some(cells) => cells,
        None => each(name, cells)?,
    };
    if cells.len() != count {
        return Err(PyValueError::new_err(format!(
            "{name} has {} places, and the population {count}",
            cells.len()
        )));
    }
    let cells = cells.into_iter().enumerate();
    let cells = cells.map(|(place, cell)| whole(cell).ok_or_else(|| wrong(place, cell)));
    cells.collect()
}

/// A number from 0 to 2^53, rounded down; the inner `None` if it is not a number.
fn whole(number: f64) -> Option<Option<u64>> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.is_nan() {
        return Some(None);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 2^53"
    )]
    let whole = number as u64;
    (0.0..=EXACT).contains(&number).then_some(Some(whole))
}

/// The cells of an array of numbers; `None` if it is something else.
fn numbers(cells: &Bound<'_, PyAny>) -> PyResult<Option<Vec<f64>>> {
    fn of<T: Element>(
        cells: &Bound<'_, PyAny>,
        float: impl Fn(T) -> f64,
    ) -> Option<PyResult<Vec<f64>>> {
        let buffer = PyBuffer::<T>::get(cells).ok()?;
        let cells = buffer.to_vec(cells.py());
        Some(cells.map(|cells| cells.into_iter().map(float).collect()))
    }
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 it is refused")]
    let found = of::<f64>(cells, |cell| cell)
        .or_else(|| of::<i64>(cells, |cell| cell as f64))
        .or_else(|| of::<u64>(cells, |cell| cell as f64))
        .or_else(|| of::<f32>(cells, f64::from))
        .or_else(|| of::<i32>(cells, f64::from))
        .or_else(|| of::<u32>(cells, f64::from));
    found.transpose()
}

fn each(name: &str, cells: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let not_numbers = |_| PyTypeError::new_err(format!("{name}: is neither a number nor numbers"));
    let cells = cells.try_iter().map_err(not_numbers)?;
    let cell = |cell: PyResult<Bound<'_, PyAny>>| {
        let cell: Option<f64> = cell?.extract().map_err(not_numbers)?;
        Ok(cell.unwrap_or(f64::NAN))
    };
    cells.map(cell).collect()
}
