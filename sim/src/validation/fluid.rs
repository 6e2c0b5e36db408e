//! A swarm in the mean field: arrivals, aborts, downloads and leaving seeds (rows 7 and 8; Qiu and
//! Srikant, SIGCOMM 2004).

use std::collections::VecDeque;

use seedbank_engine::rng::Rng;

use super::{RowForm, Tolerance, ValidationRow};
use crate::flow::FlowPlay;
use crate::scenario::Scenario;
use crate::stats::{float, whole};
use crate::streams::{exponential, unit};

/// Files per second that a peer sends and receives, and aborts of a downloader per second.
const UPLOAD: f64 = 0.001_25;
const DOWNLOAD: f64 = 0.002;
const ABORT: f64 = 0.001;
/// Seconds left out at the beginning.
const WARM_UP: f64 = 5_000.0;

/// What arrives and leaves.
#[derive(Clone, Copy, Debug)]
struct MeanField {
    /// Arrivals per second.
    arrivals: f64,
    /// Leaving of a seed, per second.
    leaving: f64,
    /// Every file takes the same; otherwise what is left of each is exponential.
    has_fixed_size: bool,
}

/// Means over time.
#[derive(Clone, Copy, Debug, Default)]
struct FieldMeans {
    downloaders: f64,
    seeds: f64,
    /// Standard deviation of downloaders.
    deviation: f64,
}

/// Row 7: the steady state.
pub(super) fn steady_state(form: RowForm) -> Vec<ValidationRow> {
    let lasts = if form == RowForm::Short { 3e4 } else { 1e5 };
    let row = |id, what, tolerance| ValidationRow::theory(id, what).within(tolerance);
    let two = Tolerance::Percent(2.0);
    let mut times = row(
        "7a",
        "time in the system, 4 arrivals/s, exponential (s)",
        two,
    );
    let mut counts = row("7b", "downloaders and seeds", two);
    let wide = if form == RowForm::Short { 30.0 } else { 15.0 };
    let mut spread = row(
        "7c",
        "deviation of downloaders (%)",
        Tolerance::Percent(wide),
    );
    let mut fixed = row("7d", "time in the system, files of one size (s)", two);
    for (leaving, expected) in [
        (0.001, [333.3, 1_333.3, 2_666.7, 2.7, 393.5]),
        (0.005, [375.0, 1_500.0, 500.0, 2.9, 482.5]),
    ] {
        let field = MeanField {
            arrivals: 4.0,
            leaving,
            has_fixed_size: false,
        };
        let means = field.play(lasts);
        times = times.pair(expected[0], means.downloaders / field.arrivals);
        counts = counts
            .pair(expected[1], means.downloaders)
            .pair(expected[2], means.seeds);
        spread = spread.pair(expected[3], 100.0 * means.deviation / means.downloaders);
        let alike = MeanField {
            has_fixed_size: true,
            ..field
        };
        fixed = fixed.pair(expected[4], alike.play(lasts).downloaders / field.arrivals);
    }
    let fixed = fixed.note(
        "the published 333.3 and 375.0 s are for exponential sizes: one size and \
                            aborts give (1 − e^(−θT))/θ, T what nobody aborts takes",
    );
    vec![times, counts, spread, fixed, as_flows(form)]
}

/// Row 8: time in the system does not depend on how many arrive.
pub(super) fn any_load(form: RowForm) -> Vec<ValidationRow> {
    let loads: &[f64] = match form {
        RowForm::Short => &[0.4, 4.0],
        RowForm::Full => &[0.4, 4.0, 40.0],
    };
    let row = ValidationRow::theory("8a", "time in the system, 0.4, 4, 40 arrivals/s (s)");
    let row = loads.iter().fold(row, |row, arrivals| {
        let field = MeanField {
            arrivals: *arrivals,
            leaving: 0.005,
            has_fixed_size: false,
        };
        row.pair(375.0, field.play(1e5).downloaders / arrivals)
    });
    vec![row.within(Tolerance::Percent(3.0)), loads_as_flows(form)]
}

/// Row 7d in the flow tier, whose files are of one size.
fn as_flows(form: RowForm) -> ValidationRow {
    let (arrivals, lasts) = match form {
        RowForm::Short => (0.4, 10_000.0),
        RowForm::Full => (4.0, 10_000.0),
    };
    let mut rounds = 0;
    let mut pairs = Vec::new();
    for (leaving, expected) in [(0.001, 393.5), (0.005, 482.5)] {
        let (time, ranked) = time_as_flows(arrivals, leaving, lasts);
        rounds += ranked;
        pairs.push((expected, time));
    }
    let row = ValidationRow::production("7e", "7d in the flow tier (s)", [("rounds", rounds)]);
    let row = pairs.into_iter().fold(row, |row, (expected, measured)| {
        row.pair(expected, measured)
    });
    row.within(Tolerance::Percent(5.0))
}

/// Row 8 in the flow tier.
fn loads_as_flows(form: RowForm) -> ValidationRow {
    let loads: &[f64] = match form {
        RowForm::Short => &[0.4, 0.8],
        RowForm::Full => &[0.4, 4.0, 10.0],
    };
    let mut rounds = 0;
    let mut pairs = Vec::new();
    for arrivals in loads {
        let (time, ranked) = time_as_flows(*arrivals, 0.005, 5_000.0);
        rounds += ranked;
        pairs.push((482.5, time));
    }
    let row = ValidationRow::production(
        "8b",
        "8a in the flow tier, 7d's files (s)",
        [("rounds", rounds)],
    );
    let row = pairs.into_iter().fold(row, |row, (expected, measured)| {
        row.pair(expected, measured)
    });
    row.within(Tolerance::Percent(5.0))
}

/// Mean time in the system after the warm-up, by Little's law, and rounds of chokers. A file is
/// 256 MiB.
fn time_as_flows(arrivals: f64, leaving: f64, lasts: f64) -> (f64, u64) {
    let count = arrivals * (WARM_UP + lasts);
    let text = format!(
        "[run]\ntier = \"flow\"\nstep = \"10s\"\nduration = \"{}s\"\nseries_every = \"10s\"\n\
         [overlay]\nkind = \"degree\"\ndegree = 15\n\
         [[torrent]]\nlength = \"256MiB\"\npiece = \"256KiB\"\n\
         [[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\n\
         line = {{ uplink = \"335544B/s\" }}\n\
         [[population]]\nname = \"peers\"\ncount = {count}\n\
         line = {{ uplink = \"335544B/s\", downlink = \"536871B/s\" }}\n\
         arrivals = {{ kind = \"poisson\", every = \"{}ms\" }}\n\
         patience = \"exp({}s)\"\nseeding = {{ kind = \"for\", time = \"exp({}s)\" }}\n",
        WARM_UP + lasts,
        1_000.0 / arrivals,
        1.0 / ABORT,
        1.0 / leaving,
    );
    let scenario = Scenario::parse("validation", &text).expect("a sound scenario");
    let (played, size) = FlowPlay::new(&scenario).run_measured();
    let rows = played.series.iter().filter(|row| row.time > WARM_UP);
    let counts: Vec<f64> = rows.map(|row| whole(row.leechers)).collect();
    let downloaders = counts.iter().sum::<f64>() / float(counts.len());
    (downloaders / arrivals, size.rounds)
}

impl MeanField {
    /// Event by event (Gillespie), for so many seconds after the warm-up.
    fn play(&self, lasts: f64) -> FieldMeans {
        let mut rng = Rng::new(7);
        // What each downloader has when it is done, in order of arrival; the clock of files is what
        // one who was there all along has.
        let mut due: VecDeque<f64> = VecDeque::new();
        let (mut seeds, mut time, mut served) = (1_usize, 0.0, 0.0);
        let mut sums = [0.0; 3];
        let end = WARM_UP + lasts;
        while time < end {
            let count = float(due.len());
            let together = (DOWNLOAD * count).min(UPLOAD * (count + float(seeds)));
            let each = if due.is_empty() {
                0.0
            } else {
                together / count
            };
            let leaving = self.leaving * float(seeds);
            let others = self.arrivals + ABORT * count + leaving;
            let done_rate = if self.has_fixed_size { 0.0 } else { together };
            let wait = exponential(&mut rng, 1.0 / (others + done_rate));
            let first = due.front().filter(|_| self.has_fixed_size);
            let until_done = first.map_or(f64::INFINITY, |due| (due - served) / each);
            let step = wait.min(until_done);
            if time > WARM_UP {
                for (sum, value) in sums.iter_mut().zip([count, float(seeds), count * count]) {
                    *sum += value * step;
                }
            }
            time += step;
            served += each * step;
            let drawn = unit(&mut rng) * (others + done_rate);
            if until_done <= wait {
                due.pop_front();
                seeds += 1;
            } else if drawn < self.arrivals {
                due.push_back(served + 1.0);
            } else if drawn < self.arrivals + leaving {
                seeds -= 1;
            } else {
                // All are alike: who is done, and who aborts, is anybody.
                due.remove(rng.index(due.len()));
                seeds += usize::from(drawn >= others);
            }
        }
        let [downloaders, seeds, squares] = sums.map(|sum| sum / lasts);
        FieldMeans {
            downloaders,
            seeds,
            deviation: libm::sqrt(squares - downloaders * downloaders),
        }
    }
}
