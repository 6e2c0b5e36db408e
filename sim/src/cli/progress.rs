//! How far a command is: on standard error, one line that is drawn again where somebody looks at
//! it, otherwise a line now and then.
//!
//! What is left is told from the share that is done, and not told while that says too little.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seedbank_sim::play::PlayProgress;

use super::files::WallClock;

/// Between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two lines elsewhere, at least: what is over soon writes none.
const LINE: Duration = Duration::from_secs(5);
/// And how much more is done by then, or one in a long while.
const LINE_SHARE: f64 = 0.05;
const LINE_AT_LAST: Duration = Duration::from_secs(300);
/// Less than this says nothing about the rest.
const SHARE_MIN: f64 = 0.02;
const TIME_MIN: Duration = Duration::from_secs(1);

/// Where progress is shown, and what was shown last.
#[derive(Debug)]
struct ProgressLine {
    begin: WallClock,
    look: Look,
    /// When, and how much was done.
    last: Option<(Duration, f64)>,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nobody,
    Terminal,
    Log,
}

/// Runs done of those that were to do.
#[derive(Debug)]
pub(super) struct SweepProgress {
    todo: usize,
    /// What they are called.
    what: &'static str,
    /// It may end sooner.
    is_most: bool,
    state: Mutex<SweepState>,
}

#[derive(Debug)]
struct SweepState {
    done: usize,
    failed: usize,
    line: ProgressLine,
}

/// How far one run is.
#[derive(Debug)]
pub(super) struct RunProgress(ProgressLine);

impl ProgressLine {
    fn new(quiet: bool) -> Self {
        let look = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Look::Nobody,
            (false, true) => Look::Terminal,
            (false, false) => Look::Log,
        };
        Self {
            begin: WallClock::start(),
            look,
            last: None,
        }
    }

    /// Shows a text if it is time to.
    fn show(&mut self, share: f64, text: impl FnOnce(Duration) -> String) {
        let elapsed = self.begin.elapsed();
        if !is_due(self.look, self.last, elapsed, share) {
            return;
        }
        self.last = Some((elapsed, share));
        let text = text(elapsed);
        // Who does not see it misses nothing.
        let _ = match self.look {
            Look::Nobody => Ok(()),
            Look::Terminal => write!(std::io::stderr(), "\r\x1b[K{text}"),
            Look::Log => writeln!(std::io::stderr(), "{text}"),
        };
        let _ = std::io::stderr().flush();
    }

    /// Leaves nothing on a terminal.
    fn clear(&self) {
        if self.look == Look::Terminal && self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Whether to show so much that is done, after what was shown last.
fn is_due(look: Look, last: Option<(Duration, f64)>, now: Duration, share: f64) -> bool {
    let (at, before) = last.unwrap_or_default();
    let since = now.saturating_sub(at);
    match look {
        Look::Nobody => false,
        Look::Terminal => last.is_none() || since >= REDRAW || share >= 1.0,
        Look::Log => since >= LINE_AT_LAST || (since >= LINE && share - before >= LINE_SHARE),
    }
}

/// How long the rest takes, if it goes on as it did; `None` if that says too little.
fn left(elapsed: Duration, share: f64) -> Option<Duration> {
    let tells = share >= SHARE_MIN && elapsed >= TIME_MIN;
    tells.then(|| elapsed.mul_f64(((1.0 - share) / share).clamp(0.0, 1e3)))
}

/// The same in words.
fn left_text(elapsed: Duration, share: f64, how: &str) -> String {
    match left(elapsed, share) {
        Some(left) => format!("{how} {} left", coarse(left)),
        None => "time left not known yet".to_owned(),
    }
}

impl SweepProgress {
    /// Of so many runs, or of at most so many.
    pub(super) fn new(todo: usize, is_most: bool, quiet: bool) -> Self {
        Self {
            todo,
            what: "runs",
            is_most,
            state: Mutex::new(SweepState {
                done: 0,
                failed: 0,
                line: ProgressLine::new(quiet),
            }),
        }
    }

    /// Of so many numbers of the validation table.
    pub(super) fn of_table(todo: usize, quiet: bool) -> Self {
        Self {
            what: "numbers of the table",
            ..Self::new(todo, false, quiet)
        }
    }

    /// The first runs begin.
    pub(super) fn begin(&self) {
        self.change(|_| ());
    }

    /// One more run is done.
    pub(super) fn step(&self, is_ok: bool) {
        self.change(|state| {
            state.done += 1;
            state.failed += usize::from(!is_ok);
        });
    }

    /// Nothing more is shown.
    pub(super) fn end(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.line.clear();
    }

    fn change(&self, change: impl FnOnce(&mut SweepState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let (done, failed) = (state.done, state.failed);
        #[expect(clippy::cast_precision_loss, reason = "a share to show")]
        let share = done as f64 / self.todo.max(1) as f64;
        state
            .line
            .show(share, |elapsed| self.text(done, failed, share, elapsed));
    }

    fn text(&self, done: usize, failed: usize, share: f64, elapsed: Duration) -> String {
        let most = if self.is_most { "at most " } else { "" };
        let how = if self.is_most { "at most" } else { "about" };
        let mut text = format!("{done} of {most}{} {}", self.todo, self.what);
        if failed > 0 {
            let _ = write!(text, ", {failed} failed");
        }
        let _ = write!(text, ", {}", left_text(elapsed, share, how));
        text
    }
}

impl RunProgress {
    pub(super) fn new(quiet: bool) -> Self {
        Self(ProgressLine::new(quiet))
    }

    pub(super) fn show(&mut self, progress: &PlayProgress) {
        let share = progress.share();
        self.0.show(share, |elapsed| {
            #[expect(clippy::cast_precision_loss, reason = "a speed to show")]
            let speed = progress.handled as f64 / elapsed.as_secs_f64().max(1e-3);
            format!(
                "{} of at most {} virtual, {} of {} peers done, {:.0} % in all, {:.0} k \
                 events/s, {}",
                coarse(Duration::from_nanos(progress.now.as_nanos())),
                coarse(Duration::from_nanos(progress.end.as_nanos())),
                progress.done,
                progress.wanting,
                100.0 * share,
                speed / 1e3,
                left_text(elapsed, share, "about")
            )
        });
    }

    /// Nothing more is shown.
    pub(super) fn end(&self) {
        self.0.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_left_follows_from_what_is_done_and_is_not_guessed() {
        assert_eq!(left(30 * SECOND, 0.25), Some(90 * SECOND));
        assert_eq!(left(30 * SECOND, 1.0), Some(Duration::ZERO));
        assert_eq!(left(30 * SECOND, 0.001), None);
        assert_eq!(left(Duration::from_millis(10), 0.5), None);
        assert_eq!(left_text(SECOND, 0.0, "about"), "time left not known yet");
        let progress = SweepProgress::new(40, true, true);
        let text = progress.text(10, 2, 0.25, 60 * SECOND);
        assert_eq!(text, "10 of at most 40 runs, 2 failed, at most 3 min left");
    }

    #[test]
    fn a_log_has_few_lines_and_a_terminal_is_drawn_often() {
        let last = Some((10 * SECOND, 0.5));
        for (look, now, share, due) in [
            (Look::Nobody, 100 * SECOND, 1.0, false),
            (Look::Log, 14 * SECOND, 0.9, false),
            (Look::Log, 16 * SECOND, 0.52, false),
            (Look::Log, 16 * SECOND, 0.56, true),
            (Look::Log, 400 * SECOND, 0.5, true),
            (Look::Terminal, 10 * SECOND, 0.6, false),
            (Look::Terminal, 11 * SECOND, 0.5, true),
        ] {
            assert_eq!(is_due(look, last, now, share), due, "{look:?} {now:?}");
        }
        assert!(is_due(Look::Terminal, None, Duration::ZERO, 0.0));
        assert!(!is_due(Look::Log, None, 4 * SECOND, 1.0), "it is over soon");
    }
}
