//! How far a sweep is: a line on standard error, where somebody looks at it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::files::WallClock;

/// Runs done of those that were to do.
#[derive(Debug)]
pub(super) struct SweepProgress {
    begin: WallClock,
    todo: usize,
    done: AtomicUsize,
    failed: AtomicUsize,
}

impl SweepProgress {
    pub(super) fn new(todo: usize) -> Self {
        Self {
            begin: WallClock::start(),
            todo,
            done: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        }
    }

    /// One more run is done.
    pub(super) fn step(&self, is_ok: bool) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = self
            .failed
            .fetch_add(usize::from(!is_ok), Ordering::Relaxed);
        let failed = failed + usize::from(!is_ok);
        let mut to = std::io::stderr();
        if !to.is_terminal() {
            return;
        }
        let end = if done == self.todo { "\n" } else { "" };
        // Who does not see it misses nothing.
        let _ = write!(to, "\r\x1b[K{}{end}", self.line(done, failed));
        let _ = to.flush();
    }

    fn line(&self, done: usize, failed: usize) -> String {
        let left = self.todo - done;
        let each = self.begin.elapsed() / u32::try_from(done.max(1)).unwrap_or(u32::MAX);
        let left = each.saturating_mul(u32::try_from(left).unwrap_or(u32::MAX));
        let failed = match failed {
            0 => String::new(),
            some => format!(", {some} failed"),
        };
        format!(
            "{done} of {} runs{failed}, {} left",
            self.todo,
            coarse(left)
        )
    }
}

/// As exactly as somebody who waits wants to know.
fn coarse(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7_200 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3_600),
    }
}
