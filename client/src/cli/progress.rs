//! Progress for people, on standard error: lines that are drawn again on a terminal, and a line
//! every few seconds elsewhere.

use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::output::Printer;
use super::pace::{Pace, eta};
use crate::columns::{cut, fold, pad_left, pad_right, width};
use crate::error::ClientError;
use crate::units::{bytes, bytes_per_second, percent};

/// Between two lines of one piece of work where nothing can be drawn again.
const PLAIN_DELAY: Duration = Duration::from_secs(5);
/// Columns of a terminal that does not say how many it has.
const COLUMNS_DEFAULT: usize = 80;
/// Rows likewise.
const ROWS_DEFAULT: usize = 24;
/// Columns that a name gets before facts are left out for it.
const NAME_MIN: usize = 16;
/// Columns of the part of a bar that says only that something goes on.
const SPARK_LEN: usize = 3;

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watcher {
    /// Nobody wants to see it.
    Nobody,
    /// Somebody reads lines, a log perhaps.
    Log,
    /// A person looks at a terminal.
    Terminal,
}

/// One piece of work as a line shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkLine {
    /// What it is about.
    pub(super) name: String,
    /// Done and all; `None` if that cannot be said.
    pub(super) part: Option<(i64, i64)>,
    /// What to say of it, the most important first.
    pub(super) facts: Vec<String>,
}

/// Lines about work that is under way.
#[derive(Debug)]
pub(super) struct Progress {
    watcher: Watcher,
    drawn: Option<ProgressBar>,
    /// When the last plain lines were written, or the work began.
    told_at: Instant,
    tick: usize,
}

impl Progress {
    pub(super) fn new(watcher: Watcher) -> Self {
        Self {
            watcher,
            drawn: (watcher == Watcher::Terminal).then(drawn),
            told_at: Instant::now(),
            tick: 0,
        }
    }

    /// Shows where the work stands. `hint` says what to do about it.
    pub(super) fn show(
        &mut self,
        printer: &mut Printer<'_>,
        bars: &[WorkLine],
        hint: Option<&str>,
    ) -> Result<(), ClientError> {
        self.tick = self.tick.wrapping_add(1);
        if let Some(drawn) = &self.drawn {
            let (rows, columns) = size();
            drawn.set_message(screen(bars, hint, rows, columns, self.tick).join("\n"));
            return Ok(());
        }
        if self.watcher == Watcher::Log && self.told_at.elapsed() >= PLAIN_DELAY {
            self.told_at = Instant::now();
            printer.note(&plain(bars, hint))?;
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawn) = &self.drawn {
            drawn.finish_and_clear();
        }
    }
}

/// Work of which bytes are counted, and how fast it goes.
#[derive(Debug)]
pub(super) struct Counted {
    name: String,
    progress: Progress,
    pace: Pace,
    last: (Instant, i64),
}

impl Counted {
    pub(super) fn new(watcher: Watcher, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            progress: Progress::new(watcher),
            pace: Pace::default(),
            last: (Instant::now(), 0),
        }
    }

    pub(super) fn set(
        &mut self,
        printer: &mut Printer<'_>,
        done: i64,
        total: i64,
    ) -> Result<(), ClientError> {
        let (at, before) = self.last;
        let since = at.elapsed();
        // Steps closer together than this say nothing of the rate.
        if since >= Duration::from_millis(100) {
            let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            let moved = done.saturating_sub(before).saturating_mul(1_000);
            self.pace.feed(moved / millis.max(1), since);
            self.last = (Instant::now(), done);
        }
        let rate = self.pace.rate();
        let bar = WorkLine {
            name: self.name.clone(),
            part: Some((done, total)),
            facts: moving(done, total, rate),
        };
        self.progress.show(printer, &[bar], None)
    }
}

/// What is said of bytes that move: how much, when done, how fast.
pub(super) fn moving(done: i64, total: i64, rate: i64) -> Vec<String> {
    let left = total.saturating_sub(done);
    vec![
        pad_left(&percent(done, total), 7),
        pad_left(&format!("eta {}", eta(left, rate)), 10),
        pad_left(&bytes_per_second(rate), 12),
        format!("{} of {}", bytes(done), bytes(total)),
    ]
}

/// Everything that is drawn, at most `rows` lines of less than `columns` columns.
fn screen(
    bars: &[WorkLine],
    hint: Option<&str>,
    rows: usize,
    columns: usize,
    tick: usize,
) -> Vec<String> {
    // The last column stays free: some terminals wrap as soon as it is written.
    let columns = columns.saturating_sub(1);
    let hint = hint.map(|hint| fold(hint, columns)).unwrap_or_default();
    let room = rows.saturating_sub(hint.len() + 2).max(1);
    let shown: Vec<&WorkLine> = bars.iter().take(room).collect();
    let (common, fits) = Layout::of(&shown, columns);
    let draw = |bar: &WorkLine| {
        // Too narrow for bars that line up: each says what it can.
        let layout = if fits {
            common
        } else {
            Layout::of(&[bar], columns).0
        };
        line(bar, layout, columns, tick)
    };
    let mut lines: Vec<String> = shown.into_iter().map(draw).collect();
    if bars.len() > room {
        let more = bars.len() - room;
        lines.push(cut(&format!("and {more} more"), columns));
    }
    lines.extend(hint);
    lines
}

/// How lines are divided: columns of the bar, how many facts, columns of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    bar_len: usize,
    fact_count: usize,
    name_len: usize,
}

impl Layout {
    /// The richest one in which these lines fit `columns`, so that their bars line up, and whether
    /// it leaves names readable. What matters least is left out first, names are cut last.
    fn of(bars: &[&WorkLine], columns: usize) -> (Self, bool) {
        const LAYOUTS: [(usize, usize); 7] =
            [(30, 9), (20, 9), (20, 3), (10, 3), (10, 2), (0, 2), (0, 1)];
        let longest = |of: &dyn Fn(&WorkLine) -> usize| bars.iter().map(|bar| of(bar)).max();
        let name_len = longest(&|bar| width(&bar.name)).unwrap_or_default();
        let mut layout = Self {
            bar_len: 0,
            fact_count: 0,
            name_len: 0,
        };
        for (bar_len, fact_count) in LAYOUTS {
            let facts = longest(&|bar| width(&facts(bar, fact_count))).unwrap_or_default();
            let frame = if bar_len == 0 { 0 } else { bar_len + 4 };
            let room = columns.saturating_sub(frame + 2 + facts);
            layout = Self {
                bar_len,
                fact_count,
                name_len: room.min(name_len),
            };
            if room >= name_len.min(NAME_MIN) {
                return (layout, true);
            }
        }
        (layout, false)
    }
}

/// What is said of one piece of work, the first `count` facts.
fn facts(bar: &WorkLine, count: usize) -> String {
    let facts: Vec<&str> = bar.facts.iter().take(count).map(String::as_str).collect();
    facts.join("  ")
}

/// One piece of work on one line of at most `columns` columns.
fn line(bar: &WorkLine, layout: Layout, columns: usize, tick: usize) -> String {
    let name_len = layout.name_len;
    let name = pad_right(&cut(&bar.name, name_len), name_len);
    let drawn = match layout.bar_len {
        0 => String::new(),
        len => format!("  [{}]", fill(bar.part, len, tick)),
    };
    let facts = facts(bar, layout.fact_count);
    cut(format!("{name}{drawn}  {facts}").trim_end(), columns)
}

/// The inside of a bar.
fn fill(part: Option<(i64, i64)>, len: usize, tick: usize) -> String {
    let Some((done, total)) = part.filter(|(_, total)| *total > 0) else {
        let at = tick % len.saturating_sub(SPARK_LEN).max(1);
        return pad_right(&format!("{:at$}<=>", ""), len);
    };
    let wide = i128::try_from(len).unwrap_or_default();
    let full = i128::from(done.clamp(0, total)) * wide / i128::from(total);
    let full = usize::try_from(full).unwrap_or_default();
    let head = if full < len { ">" } else { "" };
    pad_right(&format!("{}{head}", "=".repeat(full)), len)
}

/// The same for a log: a line each, not cut.
fn plain(bars: &[WorkLine], hint: Option<&str>) -> String {
    let mut text = String::new();
    for bar in bars {
        let facts: Vec<&str> = bar.facts.iter().map(|fact| fact.trim()).collect();
        text.push_str(&format!("{}: {}\n", bar.name, facts.join(", ")));
    }
    if let Some(hint) = hint {
        text.push_str(hint);
        text.push('\n');
    }
    text
}

fn drawn() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").expect("the template is well formed");
    ProgressBar::new_spinner().with_style(style)
}

/// Rows and columns of the terminal as it is now.
fn size() -> (usize, usize) {
    match Term::stderr().size_checked() {
        Some((rows, columns)) => (rows.into(), columns.into()),
        None => (ROWS_DEFAULT, COLUMNS_DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn downloading() -> WorkLine {
        WorkLine {
            name: "debian-12.7.0-amd64-netinst-with-a-very-long-name.iso".into(),
            part: Some((1 << 30, 4 << 30)),
            facts: moving(1 << 30, 4 << 30, 3_250_585),
        }
    }

    #[test]
    fn a_line_never_wraps_and_says_most_where_there_is_room() {
        let bar = downloading();
        let line = |columns| line(&bar, Layout::of(&[&bar], columns).0, columns, 0);
        assert_eq!(
            line(119),
            "debian-12.7.0-a…-long-name.iso  [=======>                      ]   25.0 %  eta 16m31s\
             \u{20}    3.1 MiB/s  1.0 GiB of 4.0 GiB"
        );
        assert_eq!(
            line(79),
            "debian-12.…-name.iso  [=====>              ]   25.0 %  eta 16m31s     3.1 MiB/s"
        );
        assert_eq!(line(39), "debian-12…name.iso   25.0 %  eta 16m31s");
        for columns in 1..200 {
            let line = line(columns);
            assert!(width(&line) <= columns, "{columns}: {line}");
        }
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(fill(Some((0, 9)), 4, 0), ">   ");
        assert_eq!(fill(Some((8, 9)), 4, 0), "===>");
        assert_eq!(fill(Some((9, 9)), 4, 0), "====");
        // Nothing is known: something moves, and is never a full bar.
        assert_eq!(fill(None, 6, 0), "<=>   ");
        assert_eq!(fill(None, 6, 2), "  <=> ");
        assert_eq!(fill(Some((0, 0)), 6, 3), "<=>   ");
        for tick in 0..20 {
            assert_eq!(fill(None, 8, tick).len(), 8);
        }
    }

    #[test]
    fn a_screen_has_a_line_each_and_the_hint_folded() {
        let bars = vec![downloading(); 5];
        let lines = screen(&bars, Some("nobody to ask yet: name a peer"), 24, 20, 0);
        assert_eq!(lines.len(), 5 + 2);
        assert_eq!(lines[5..], ["nobody to ask yet:", "name a peer"]);
        let lines = screen(&bars, None, 5, 80, 0);
        assert_eq!(lines.len(), 4, "three bars and what is left out");
        assert_eq!(lines[3], "and 2 more");
        assert!(lines.iter().all(|line| width(line) < 80));
    }

    #[test]
    fn bars_line_up_and_a_short_name_leaves_no_gap() {
        let waiting = WorkLine {
            name: "film".into(),
            part: None,
            facts: vec!["waiting for metadata, 0 peers".into()],
        };
        let lines = screen(&[downloading(), waiting.clone()], None, 24, 80, 0);
        let bar_at = |line: &String| line.split('[').next().map(width);
        assert_eq!(bar_at(&lines[0]), bar_at(&lines[1]), "{lines:?}");
        let lines = screen(&[waiting], None, 24, 80, 0);
        assert!(lines[0].starts_with("film  [<=>"), "{lines:?}");
    }

    #[test]
    fn a_log_gets_whole_names_and_no_bar() {
        let bar = WorkLine {
            name: "film".into(),
            part: None,
            facts: vec!["waiting for metadata".into(), "  0 peers".into()],
        };
        assert_eq!(
            plain(&[bar], Some("tell it of a peer")),
            "film: waiting for metadata, 0 peers\ntell it of a peer\n"
        );
    }
}
