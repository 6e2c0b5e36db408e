//! The page of a sweep: every variant under every seed, with intervals over the seeds.

use super::page::{PageTable, ReportPage};
use super::plot::{Colour, LayerKind, Plot, PlotPoint};
use super::scale::{AxisScale, PlotAxis};
use super::units::{ShownUnit, number};
use super::{PopulationFacts, RunFacts, SweepResults, counted, warm_up_note};
use crate::stats::{Estimate, FinishedShare, finished_shares, float};

/// Most lines of a plot that are still told apart, and most of which intervals are.
const LINES_MAX: usize = 6;
const BANDS_MAX: usize = 3;
/// How far apart lines are drawn, of the width, so that intervals do not hide each other.
const APART: f64 = 0.012;
/// Moments at which shares of several seeds are averaged.
const MOMENTS: usize = 160;
/// The value of what a variant does not set.
const AS_WRITTEN: &str = "as written";
/// Most runs whose rows are shown.
const ROWS_MAX: usize = 2_000;

/// What is varied: a path, and what each variant sets it to.
struct Factor {
    path: String,
    values: Vec<String>,
}

/// Values of a factor as numbers in one unit.
struct NumericFactor {
    unit: String,
    values: Vec<f64>,
}

pub(super) fn page(sweep: &SweepResults) -> String {
    let (title, about) = sweep.origin.title();
    let mut page = ReportPage::new(&title, &about, &summary(sweep));
    page.heading("Variants");
    page.table(&cells(sweep));
    page.paragraph(INTERVALS);
    warm_up(sweep, &mut page);
    page.heading("Plots");
    let mut plots = Vec::new();
    for (number, name) in sweep.wanting() {
        plots.push(medians(sweep, number, name));
        plots.push(completion(sweep, number, name));
    }
    page.plots(&plots);
    page.heading("Runs");
    runs(sweep, &mut page);
    let same = "The same version comes to the same files, byte for byte, however many runs at a \
                time and however often it is cut off and resumed.";
    sweep.origin.write(&mut page, same);
    page.finish()
}

/// Says of whom the first are left out.
pub(super) fn warm_up(sweep: &SweepResults, page: &mut ReportPage) {
    let cut = sweep.runs.iter().flat_map(|run| {
        let names = sweep.names.iter().zip(&run.populations);
        let cut = names.filter(|(_, facts)| facts.as_ref().is_some_and(|it| it.warm_up > 0));
        cut.map(|(name, _)| name.as_str())
    });
    if let Some(note) = warm_up_note(cut) {
        page.paragraph(&note);
    }
}

pub(super) const INTERVALS: &str = "Each number is the mean over runs of what a run came to, ± \
    half of its 95 % interval (Student; of one run there is none). Medians and p90 count those who \
    had not finished as far as they were seen (Kaplan and Meier); a run in which so many never \
    finished has none, and is left out of that mean, which is then too low: a column says of how \
    many runs it is, if not of all.";

pub(super) fn summary(sweep: &SweepResults) -> String {
    let failed = sweep.runs.iter().filter(|run| !run.line.error.is_empty());
    let events: f64 = sweep.runs.iter().map(|run| run.line.events).sum();
    format!(
        "{} of {}, {} failed; {} events in all.",
        counted(sweep.runs.len(), "run"),
        counted(sweep.variants.len(), "variant"),
        failed.count(),
        number(events)
    )
}

/// What each run of a variant came to for a population.
pub(super) fn over_runs(
    sweep: &SweepResults,
    variant: usize,
    population: usize,
    of: impl Fn(&PopulationFacts) -> Option<f64>,
) -> Option<Estimate> {
    let runs = sweep.of_variant(variant);
    let values = runs.iter().filter_map(|run| of(run.of(population)?));
    Estimate::of(&values.collect::<Vec<f64>>())
}

/// A row for each population of each variant.
pub(super) fn cells(sweep: &SweepResults) -> PageTable {
    let all = || {
        sweep
            .runs
            .iter()
            .flat_map(|run| run.populations.iter().flatten())
    };
    let most = |of: fn(&PopulationFacts) -> f64| all().map(of).fold(0.0, f64::max);
    let time = ShownUnit::of_time(
        all()
            .filter_map(|facts| facts.finished_by(0.5))
            .fold(0.0, f64::max),
    );
    let bytes = ShownUnit::of_bytes(most(|facts| facts.uploaded.max(facts.downloaded)));
    let credit = ShownUnit::of_credit(most(|facts| facts.spent.max(facts.earned)));
    let head = heads(time, bytes, credit);
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut table = PageTable::new(2, &head);
    let plain = ShownUnit::of_credit(0.0);
    for (variant, plan) in short_names(sweep).iter().enumerate() {
        for (population, name) in sweep.names.iter().enumerate() {
            let over =
                |of: fn(&PopulationFacts) -> Option<f64>| over_runs(sweep, variant, population, of);
            let Some(count) = over(|facts| Some(float(facts.count))) else {
                continue;
            };
            let median = over(|facts| facts.finished_by(0.5));
            let finished = |facts: &PopulationFacts| {
                let share = float(facts.finished) / float(facts.wanting);
                facts.wants().then_some(100.0 * share)
            };
            let wanting = |facts: &PopulationFacts| facts.wants().then(|| float(facts.censored()));
            table.row(vec![
                plan.clone(),
                name.clone(),
                count.count.to_string(),
                number(count.mean),
                plain.estimate(over(finished)),
                plain.estimate(over(wanting)),
                plain.estimate(over(|facts| Some(float(facts.warm_up)))),
                time.estimate(median),
                match median {
                    Some(median) if median.count < count.count => median.count.to_string(),
                    _ => "–".to_owned(),
                },
                time.estimate(over(|facts| facts.finished_by(0.9))),
                time.estimate(over(PopulationFacts::mean)),
                bytes.estimate(over(|facts| Some(facts.uploaded))),
                bytes.estimate(over(|facts| Some(facts.downloaded))),
                bytes.estimate(over(|facts| Some(facts.paid_received))),
                credit.estimate(over(|facts| Some(facts.spent))),
                credit.estimate(over(|facts| Some(facts.earned))),
            ]);
        }
    }
    table.without_empty_columns()
}

fn heads(time: ShownUnit, bytes: ShownUnit, credit: ShownUnit) -> [String; 16] {
    [
        "variant".to_owned(),
        "population".to_owned(),
        "runs".to_owned(),
        "peers a run".to_owned(),
        "finished %".to_owned(),
        "not finished a run".to_owned(),
        "warm-up a run".to_owned(),
        format!("median {}", time.name),
        "of which in runs".to_owned(),
        format!("p90 {}", time.name),
        format!("mean of the finished {}", time.name),
        format!("sent {}", bytes.name),
        format!("received {}", bytes.name),
        format!("received as paid {}", bytes.name),
        format!("spent {}", credit.name),
        format!("earned {}", credit.name),
    ]
}

/// Every run, those that failed first.
pub(super) fn runs(sweep: &SweepResults, page: &mut ReportPage) {
    let has_failed = |run: &&RunFacts| !run.line.error.is_empty();
    let failed: Vec<&RunFacts> = sweep.runs.iter().filter(has_failed).collect();
    if !failed.is_empty() {
        page.paragraph(&format!("{} failed:", counted(failed.len(), "run")));
        page.table(&run_rows(sweep, &failed));
    }
    let good: Vec<&RunFacts> = sweep.runs.iter().filter(|run| !has_failed(run)).collect();
    let title = match good.len() > ROWS_MAX {
        true => format!("The first {ROWS_MAX} of {} runs", good.len()),
        false => counted(good.len(), "run"),
    };
    let shown = &good[..good.len().min(ROWS_MAX)];
    page.folded(&title, &run_rows(sweep, shown));
}

fn run_rows(sweep: &SweepResults, runs: &[&RunFacts]) -> PageTable {
    let columns = [
        "variant",
        "run",
        "why it failed",
        "seed",
        "virtual s",
        "events",
    ];
    let mut table = PageTable::new(3, &columns);
    let names = short_names(sweep);
    for RunFacts { line, .. } in runs {
        table.row(vec![
            names.get(line.variant).cloned().unwrap_or_default(),
            line.run_id.clone(),
            line.error.clone(),
            line.seed.to_string(),
            number(line.lasted),
            number(line.events),
        ]);
    }
    table
}

/// Those paths that not all variants set to the same.
fn factors(sweep: &SweepResults) -> Vec<Factor> {
    let mut paths: Vec<&String> = Vec::new();
    for (path, _) in sweep.variants.iter().flat_map(|variant| &variant.settings) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let values = |path: &String| {
        let variants = sweep.variants.iter();
        let value = variants.map(|variant| {
            // Of one path that is set twice the last counts.
            let set = variant
                .settings
                .iter()
                .rev()
                .find(|(known, _)| known == path);
            set.map_or_else(|| AS_WRITTEN.to_owned(), |(_, value)| value.clone())
        });
        value.collect::<Vec<String>>()
    };
    let factors = paths.into_iter().map(|path| Factor {
        path: path.clone(),
        values: values(path),
    });
    let varies = |factor: &Factor| factor.values.iter().any(|value| *value != factor.values[0]);
    factors.filter(varies).collect()
}

/// A factor whose values are numbers in one unit: `1`, `2.5`, or `10MB/s`, `20MB/s`.
fn numeric(factor: &Factor) -> Option<NumericFactor> {
    let split = |text: &String| {
        let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
        let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
        let value: f64 = text[..end].parse().ok()?;
        Some((value, text[end..].trim().to_owned()))
    };
    let split: Option<Vec<(f64, String)>> = factor.values.iter().map(split).collect();
    let (values, units): (Vec<f64>, Vec<String>) = split?.into_iter().unzip();
    let unit = units.first()?.clone();
    let is_one = units.iter().all(|other| *other == unit);
    is_one.then_some(NumericFactor { unit, values })
}

/// Medians of a population against what was swept, with intervals.
fn medians(sweep: &SweepResults, population: usize, name: &str) -> Plot {
    let factors = factors(sweep);
    let median =
        |variant: usize| over_runs(sweep, variant, population, |facts| facts.finished_by(0.5));
    let all = (0..sweep.variants.len()).filter_map(median);
    let unit = ShownUnit::of_time(all.map(|median| median.mean).fold(0.0, f64::max));
    let title = format!("Median time of {name}");
    let about = "Mean over runs of the median time from coming until done, with its 95 % interval.";
    let mut each = factors.iter().enumerate();
    let chosen = each.find_map(|(place, factor)| Some((place, numeric(factor)?)));
    let lines = chosen.as_ref().map(|(place, _)| lines_of(&factors, *place));
    let (Some((place, along)), Some(lines)) = (chosen, lines.filter(|l| l.len() <= LINES_MAX))
    else {
        return median_ranges(sweep, unit, [&title, about], median);
    };
    let x = PlotAxis::new(
        &factors[place].path,
        match along.unit.is_empty() {
            true => "as set",
            false => &along.unit,
        },
        AxisScale::Linear { from_zero: false },
    );
    let y = PlotAxis::from_zero("median time until done", unit.name);
    let mut plot = Plot::new(&title, about, x, y);
    let least = along.values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = along
        .values
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    let middle = (float(lines.len()) - 1.0) / 2.0;
    for (number, (line, mut variants)) in lines.into_iter().enumerate() {
        let apart = APART * (most - least) * (float(number) - middle);
        variants.sort_by(|a, b| along.values[*a].total_cmp(&along.values[*b]));
        let points = variants.into_iter().filter_map(|variant| {
            let median = median(variant)?;
            let (mean, half) = (unit.of(median.mean), unit.of(median.half_width));
            let point = PlotPoint::at(along.values[variant] + apart, mean);
            Some(point.between(mean - half, mean + half))
        });
        plot.draw(&line, Colour::Of(number), LayerKind::Intervals, points);
    }
    plot
}

/// Variants that differ in nothing but the factor at `place`, and what they have in common.
fn lines_of(factors: &[Factor], place: usize) -> Vec<(String, Vec<usize>)> {
    let mut lines: Vec<(String, Vec<usize>)> = Vec::new();
    let count = factors[place].values.len();
    for variant in 0..count {
        let others = factors
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != place);
        let each = others.map(|(_, factor)| {
            let short = factor.path.rsplit('.').next().unwrap_or_default();
            format!("{short}={}", factor.values[variant])
        });
        let name = each.collect::<Vec<_>>().join(" ");
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, variants)) => variants.push(variant),
            None => lines.push((name, vec![variant])),
        }
    }
    lines
}

/// The same, one variant below the other, where no factor is a number.
fn median_ranges(
    sweep: &SweepResults,
    unit: ShownUnit,
    [title, about]: [&str; 2],
    median: impl Fn(usize) -> Option<Estimate>,
) -> Plot {
    let x = PlotAxis::from_zero("median time until done", unit.name);
    let mut plot = Plot::new(
        title,
        about,
        x,
        PlotAxis::named("variant", short_names(sweep)),
    );
    let points = (0..sweep.variants.len()).filter_map(|variant| {
        let median = median(variant)?;
        let (mean, half) = (unit.of(median.mean), unit.of(median.half_width));
        let point = PlotPoint::at(mean, float(variant));
        Some(point.between(mean - half, mean + half))
    });
    plot.draw("", Colour::Of(0), LayerKind::Ranges, points);
    plot
}

/// Variants by what they differ in alone.
fn short_names(sweep: &SweepResults) -> Vec<String> {
    let factors = factors(sweep);
    let name = |variant: usize| {
        let each = factors.iter().map(|factor| {
            let value = &factor.values[variant];
            let short = factor.path.rsplit('.').next().unwrap_or_default();
            match (factors.len(), value.is_empty()) {
                (_, true) => format!("no {short}"),
                (1, false) => value.clone(),
                _ if value == AS_WRITTEN => format!("{short} {value}"),
                (_, false) => format!("{short}={value}"),
            }
        });
        each.collect::<Vec<_>>().join(" ")
    };
    let short = |variant: usize| match factors.is_empty() {
        true => sweep.variants[variant].label.clone(),
        false => name(variant),
    };
    let named = (0..sweep.variants.len()).map(|variant| match (&sweep.pairs, variant) {
        (None, _) => short(variant),
        (Some(_), 0) => format!("A: {}", short(variant)),
        (Some(_), _) => format!("B: {}", short(variant)),
    });
    named.collect()
}

/// Shares of a population that are done, by variant, as a mean over seeds with its interval.
pub(super) fn completion(sweep: &SweepResults, population: usize, name: &str) -> Plot {
    let count = sweep.variants.len();
    // Of many the first, the last, and some between.
    let variants: Vec<usize> = super::plot::thinned(&(0..count).collect::<Vec<_>>(), LINES_MAX);
    let facts = || {
        let runs = sweep.runs.iter();
        runs.filter_map(|run| run.of(population))
    };
    let times = facts().flat_map(|facts| &facts.lifetimes);
    let last = times.map(|lifetime| lifetime.time).fold(0.0, f64::max);
    let unit = ShownUnit::of_time(last);
    let shown = match count > variants.len() {
        true => format!(" {} of {count} variants are drawn.", variants.len()),
        false => String::new(),
    };
    let has_bands = variants.len() <= BANDS_MAX;
    let bands = match has_bands {
        true => ", and its 95 % interval at each moment",
        false => "",
    };
    let about = format!(
        "Share that has everything, by the time since each came: mean over runs{bands}.{shown}"
    );
    let mut plot = Plot::new(
        &format!("Time until done of {name}"),
        &about,
        PlotAxis::from_zero("time since coming", unit.name),
        PlotAxis::percent("share of the population"),
    );
    let names = short_names(sweep);
    for (place, variant) in variants.into_iter().enumerate() {
        let runs = sweep.of_variant(variant);
        let facts = runs.iter().filter_map(|run| run.of(population));
        let shares: Vec<Vec<FinishedShare>> = facts
            .filter(|facts| facts.wants())
            .map(|facts| finished_shares(&facts.lifetimes))
            .collect();
        let points = (0..=MOMENTS).filter_map(|moment| {
            let time = last * float(moment) / float(MOMENTS);
            let at: Vec<f64> = shares.iter().map(|steps| share_at(steps, time)).collect();
            let mean = Estimate::of(&at)?;
            let (low, high) = (mean.mean - mean.half_width, mean.mean + mean.half_width);
            let point = PlotPoint::at(unit.of(time), 100.0 * mean.mean);
            Some(match has_bands {
                true => point.between(100.0 * low.max(0.0), 100.0 * high.min(1.0)),
                false => point,
            })
        });
        plot.draw(&names[variant], Colour::Of(place), LayerKind::Line, points);
    }
    plot
}

/// The share that is done by a time.
fn share_at(steps: &[FinishedShare], time: f64) -> f64 {
    let by_then = steps.partition_point(|step| step.time <= time);
    by_then.checked_sub(1).map_or(0.0, |last| steps[last].share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Variant;

    fn sweep(values: &[[&str; 2]]) -> SweepResults {
        let variants = values.iter().map(|[a, b]| Variant {
            label: format!("x.a={a} x.b={b}"),
            settings: vec![
                ("x.a".to_owned(), (*a).to_owned()),
                ("x.b".to_owned(), (*b).to_owned()),
            ],
        });
        SweepResults {
            variants: variants.collect(),
            ..SweepResults::default()
        }
    }

    #[test]
    fn what_varies_is_a_factor_and_what_has_one_unit_is_a_number() {
        let factors = factors(&sweep(&[["10MB/s", "1"], ["20MB/s", "1"], ["5MB/s", "1"]]));
        assert_eq!(factors.len(), 1);
        let along = numeric(&factors[0]).unwrap();
        assert_eq!((along.unit.as_str(), along.values.len()), ("MB/s", 3));
        let mixed = sweep(&[["10MB/s", "1"], ["20kB/s", "1"]]);
        assert!(numeric(&super::factors(&mixed)[0]).is_none());
        let words = sweep(&[["tracker", "1"], ["full", "1"]]);
        assert!(numeric(&super::factors(&words)[0]).is_none());
    }

    #[test]
    fn one_line_is_what_differs_in_one_factor() {
        let sweep = sweep(&[["1", "x"], ["2", "x"], ["1", "y"], ["2", "y"]]);
        let lines = lines_of(&factors(&sweep), 0);
        let expected = [
            ("b=x".to_owned(), vec![0, 1]),
            ("b=y".to_owned(), vec![2, 3]),
        ];
        assert_eq!(lines, expected);
    }
}
