//! What a person sees while the demo runs: bars in a terminal, a line now and then elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use seedbank_ledger::{Bytes, MicroCredits};
use seedbank_sim::demo::{Demo, PAYER, SEEDER};

/// Without bars: a line so often.
const LINE_EVERY: Duration = Duration::from_secs(5);
const MIB: f64 = 1_048_576.0;

/// A node as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) have: Bytes,
    pub(super) total: Bytes,
    /// Bytes per second.
    pub(super) rate: Bytes,
    pub(super) is_checked: bool,
    pub(super) available: MicroCredits,
    pub(super) claimable: MicroCredits,
    pub(super) spent: MicroCredits,
}

impl Shown {
    pub(super) fn is_complete(&self) -> bool {
        self.have == self.total && !self.total.is_zero()
    }

    fn percent(&self) -> u64 {
        let hundred = self.have.get().saturating_mul(100);
        hundred.checked_div(self.total.get()).unwrap_or_default()
    }
}

/// Where progress goes.
pub(super) enum Screen {
    Bars(Bars),
    Lines(Lines),
}

/// Both swarms, the one with credit first.
type Both = [Vec<Shown>; 2];
type Took = [Vec<Option<Duration>>; 2];

impl Screen {
    pub(super) fn new(bars: bool, node_count: usize) -> Self {
        if bars {
            Self::Bars(Bars::new(node_count))
        } else {
            Self::Lines(Lines {
                next: LINE_EVERY,
                payer_done: false,
            })
        }
    }

    pub(super) fn draw(
        &mut self,
        elapsed: Duration,
        shown: &Both,
        took: &Took,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Self::Bars(bars) => {
                bars.draw(shown, took);
                Ok(())
            }
            Self::Lines(lines) => lines.draw(elapsed, shown, took, out),
        }
    }
}

/// One bar for each node with credit, one for the control swarm.
pub(super) struct Bars {
    nodes: Vec<ProgressBar>,
    control: ProgressBar,
    /// Its credit at the start.
    seeder_had: Option<MicroCredits>,
}

impl Bars {
    fn new(node_count: usize) -> Self {
        let all = MultiProgress::new();
        let style = |template: &str| {
            let style = ProgressStyle::with_template(template).expect("a sound template");
            style.progress_chars("█▉▊▋▌▍▎▏ ")
        };
        // Joined to the others first: a bar that stands alone draws itself.
        let bar = |template: &str, name: String| {
            let bar = all.add(ProgressBar::new(100));
            bar.set_style(style(template));
            bar.set_prefix(name);
            bar
        };
        let of_node = |position: usize| {
            let template = match position {
                SEEDER => "  {prefix:10} {msg}",
                PAYER => "  {prefix:10} {bar:24.green} {pos:>3} %  {msg}",
                _ => "  {prefix:10} {bar:24} {pos:>3} %  {msg}",
            };
            bar(template, Demo::name(position))
        };
        Self {
            nodes: (0..node_count).map(of_node).collect(),
            control: bar(
                "  {prefix:10} {bar:24.dim} {pos:>3} %  {msg}",
                "control".to_owned(),
            ),
            seeder_had: None,
        }
    }

    fn draw(&mut self, shown: &Both, took: &Took) {
        let [paid, control] = shown;
        for ((bar, shown), took) in self.nodes.iter().zip(paid).zip(&took[0]).skip(PAYER) {
            bar.set_position(shown.percent());
            let mut message = match took {
                Some(took) => format!("done in {:.1} s", took.as_secs_f64()),
                None => format!("{:.2} MiB/s", mib(shown.rate)),
            };
            if !shown.spent.is_zero() {
                message += &format!("   spent {}", shown.spent);
            }
            bar.set_message(message);
        }
        let seeder = &paid[SEEDER];
        let has = seeder.available.saturating_add(seeder.claimable);
        let earned = has.saturating_sub(*self.seeder_had.get_or_insert(has));
        self.nodes[SEEDER].set_message(format!("earned {earned}"));
        let leechers = &control[PAYER..];
        let sum: u64 = leechers.iter().map(Shown::percent).sum();
        let count = leechers.len() as u64;
        self.control
            .set_position(sum.checked_div(count).unwrap_or_default());
        let done = took[1][PAYER..].iter().flatten().count();
        self.control
            .set_message(format!("no receipts: {done} of {count} done"));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in self.nodes.iter().chain([&self.control]) {
            bar.abandon();
        }
    }
}

/// A line every few seconds.
pub(super) struct Lines {
    next: Duration,
    payer_done: bool,
}

impl Lines {
    fn draw(
        &mut self,
        elapsed: Duration,
        shown: &Both,
        took: &Took,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let [paid, control] = shown;
        if let (Some(took), false) = (took[0][PAYER], self.payer_done) {
            self.payer_done = true;
            writeln!(out, "{:5.1} s  payer done", took.as_secs_f64())?;
        }
        if elapsed < self.next {
            return Ok(());
        }
        self.next += LINE_EVERY;
        writeln!(
            out,
            "{:5.1} s  payer {:3} %   others {}   without payment {}",
            elapsed.as_secs_f64(),
            paid[PAYER].percent(),
            range(&paid[PAYER + 1..]),
            range(&control[PAYER..]),
        )?;
        out.flush()
    }
}

fn range(shown: &[Shown]) -> String {
    let percent = || shown.iter().map(Shown::percent);
    let (low, high) = (percent().min(), percent().max());
    format!(
        "{:3} to {:3} %",
        low.unwrap_or_default(),
        high.unwrap_or_default()
    )
}

fn mib(bytes: Bytes) -> f64 {
    let bytes = u32::try_from(bytes.get()).unwrap_or(u32::MAX);
    f64::from(bytes) / MIB
}
