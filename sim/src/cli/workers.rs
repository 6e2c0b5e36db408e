//! Runs that are done some at a time.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::SimFailure;
use super::progress::SweepProgress;

/// Runs at a time: as many as asked for, or as there are processors.
pub(super) fn jobs(asked: Option<NonZeroUsize>) -> usize {
    let there = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    asked.map_or_else(there, NonZeroUsize::get)
}

/// Does every one of these, `jobs` at a time, in their order as far as it can be; `work` says
/// whether it went well. The first failure ends it.
pub(super) fn each<T: Sync>(
    todo: &[T],
    jobs: usize,
    progress: &SweepProgress,
    work: impl Fn(usize, &T) -> Result<bool, SimFailure> + Sync,
) -> Result<(), SimFailure> {
    progress.begin();
    let done = each_told(todo, jobs, |is_ok| progress.step(is_ok), work);
    progress.end();
    done
}

/// The same; `told` hears whether each went well, as it is done.
pub(super) fn each_told<T: Sync>(
    todo: &[T],
    jobs: usize,
    told: impl Fn(bool) + Sync,
    work: impl Fn(usize, &T) -> Result<bool, SimFailure> + Sync,
) -> Result<(), SimFailure> {
    let next = AtomicUsize::new(0);
    let problem: Mutex<Option<SimFailure>> = Mutex::new(None);
    let held = || problem.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || {
        while held().is_none() {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = todo.get(place) else {
                return;
            };
            match work(place, one) {
                Ok(is_ok) => told(is_ok),
                Err(failure) => {
                    held().get_or_insert(failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(todo.len()) {
            scope.spawn(worker);
        }
    });
    let problem = problem.into_inner();
    let problem = problem.unwrap_or_else(PoisonError::into_inner);
    problem.map_or(Ok(()), Err)
}
