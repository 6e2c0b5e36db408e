//! Waiting for what can only be asked, never told: the one place where the harness pauses.
//!
//! A foreign client answers questions and sends no word when something has changed. Whatever can
//! say so itself (a line of output, an end of file, an exit) is waited for directly instead.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two questions: short beside anything that is measured, long beside an answer.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks `probe` until it answers with a value, at most for `limit`.
///
/// # Errors
/// What `probe` fails with, at once; or that `what` did not happen in time.
pub fn poll<T>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what} did not happen within {limit:?}");
        }
        thread::sleep(PAUSE);
    }
}
