//! Work in a thread of its own, while Python's thread waits for it and lets signals through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use crate::SimulationError;

/// Longest until Ctrl-C is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Does the work with the GIL released and gives what it comes to. What it sends is `heard` here,
/// with the GIL held. A signal, or an error of `heard`, sets the work's `stop`, waits for its end,
/// and is raised.
///
/// # Errors
/// What a signal's handler or `heard` raised; work that panicked.
pub(crate) fn until_done<T: Send, M: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool, Sender<M>) -> T + Send,
    mut heard: impl FnMut(Python<'_>, M) -> PyResult<()>,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let (sender, mut receiver) = channel();
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&stop, sender));
        let mut problem = None;
        loop {
            let looked = match next(py, &mut receiver) {
                Ok(message) if problem.is_none() => heard(py, message),
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(()),
            };
            let looked = looked.and_then(|()| py.check_signals());
            if let Err(error) = looked {
                stop.store(true, Ordering::Relaxed);
                problem.get_or_insert(error);
            }
        }
        let ended = worker.join();
        match (problem, ended) {
            (Some(problem), _) => Err(problem),
            (None, Ok(ended)) => Ok(ended),
            (None, Err(panic)) => Err(said(&panic)),
        }
    })
}

fn next<M: Send>(py: Python<'_>, receiver: &mut Receiver<M>) -> Result<M, RecvTimeoutError> {
    py.detach(move || receiver.recv_timeout(LOOK_EVERY))
}

/// What an assertion of ours says that does not hold.
fn said(panic: &(dyn std::any::Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    SimulationError::new_err(text.unwrap_or("it panicked").to_owned())
}
