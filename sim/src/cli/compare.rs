//! Two variants of a scenario under the same luck: how much sooner, and how sure that is.

use std::sync::Mutex;

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::design::{Design, FieldSetting, label};
use seedbank_sim::play::Play;
use seedbank_sim::scenario::Scenario;
use seedbank_sim::stats::Estimate;

use super::args::CompareArgs;
use super::files::OutFolder;
use super::progress::SweepProgress;
use super::{SimFailure, files, play, say, sweep, twin, workers};

/// Seeds that are run before the first look at the width of the intervals.
const SEEDS_MIN: u64 = 5;

/// Medians of a run, in the order of the scenario's populations.
type Medians = Vec<Option<f64>>;

pub(super) fn run(args: &CompareArgs) -> Result<(), SimFailure> {
    if let Some(population) = &args.twin {
        return twin::run(args, population);
    }
    let begin = files::WallClock::start();
    let base = play::design(&args.scenario, &args.set)?;
    let common = base.variants[0].clone();
    let variant = |settings: &[String]| {
        let settings = settings.iter().map(|text| FieldSetting::parse(text));
        let settings = settings
            .collect::<Result<Vec<_>, _>>()
            .map_err(SimFailure::usage)?;
        Ok::<_, SimFailure>([common.clone(), settings].concat())
    };
    let mut design = base.clone();
    design.variants = vec![variant(&args.a)?, variant(&args.b)?];
    let jobs = workers::jobs(args.jobs);
    let names = names_of(&design)?;
    let out = args.out.as_deref().map(OutFolder::make_for_runs);
    let out = out.transpose()?;
    let all = usize::try_from(args.seeds).expect("few").saturating_mul(2);
    let progress = SweepProgress::new(all, args.until.is_some(), args.quiet);
    let mut done: [Vec<Medians>; 2] = [Vec::new(), Vec::new()];
    let mut next = 1;
    loop {
        let last = match args.until {
            None => args.seeds,
            Some(_) => args.seeds.min(next + SEEDS_MIN - 1),
        };
        design.seeds = (next..=last).collect();
        let [a, b] = play_both(&design, jobs, &progress, out.as_ref())?;
        done[0].extend(a);
        done[1].extend(b);
        next = last + 1;
        let narrow = |percent| is_narrow(&done, percent);
        if last == args.seeds || args.until.is_some_and(narrow) {
            break;
        }
    }
    say(format_args!("A: {}", label(&design.variants[0])));
    say(format_args!("B: {}", label(&design.variants[1])));
    say(table(&names, &done));
    let (Some(out), Some(folder)) = (out, &args.out) else {
        return Ok(());
    };
    design.seeds = (1..next).collect();
    let runs = design.runs().map_err(SimFailure::usage)?;
    sweep::join(&runs, &out)?;
    let mut manifest = sweep::manifest(&base, &design, &runs, 0);
    manifest["kind"] = "compare".into();
    manifest["repeat"] = repeat(args, next - 1).into();
    manifest["wall_seconds"] = begin.elapsed().as_secs_f64().into();
    out.put_manifest(&manifest)?;
    say(format_args!(
        "plots: seedbank-sim report {}",
        folder.display()
    ));
    Ok(())
}

/// The same comparison of the scenario that is shown, by as many seeds.
fn repeat(args: &CompareArgs, seeds: u64) -> String {
    let mut command = "seedbank-sim compare scenario.toml".to_owned();
    for (flag, settings) in [("--a", &args.a), ("--b", &args.b)] {
        for setting in settings {
            command.push_str(&format!(" {flag} {}", files::quoted(setting)));
        }
    }
    format!("{command} --seeds {seeds} --out again    # scenario.toml: as below")
}

/// The populations that both variants have.
fn names_of(design: &Design) -> Result<Vec<String>, SimFailure> {
    let runs = design.runs().map_err(SimFailure::usage)?;
    let names = |scenario: &Scenario| {
        let names = scenario.populations.iter().map(|plan| plan.name.clone());
        names.collect::<Vec<String>>()
    };
    let [a, b] = [&runs[0], &runs[runs.len() - 1]].map(|run| names(&run.scenario));
    match a == b {
        true => Ok(a),
        false => Err(SimFailure::usage("the two variants have other populations")),
    }
}

/// Plays both variants under every seed of the design.
fn play_both(
    design: &Design,
    jobs: usize,
    progress: &SweepProgress,
    out: Option<&OutFolder>,
) -> Result<[Vec<Medians>; 2], SimFailure> {
    let runs = design.runs().map_err(SimFailure::usage)?;
    let slots: Vec<Mutex<Medians>> = runs.iter().map(|_| Mutex::default()).collect();
    workers::each(&runs, jobs, progress, |place, run| {
        let part = sweep::play_one(design, run, |scenario| Some(Play::new(scenario).run()));
        let part = part.expect("nobody stops it");
        if let Some(error) = part.error {
            let seed = run.scenario.run.seed;
            return Err(SimFailure::new(format_args!("seed {seed}: {error}")));
        }
        if let Some(out) = out {
            sweep::put(out, &part)?;
        }
        let medians = part.medians.into_iter();
        let medians = medians.map(|(_, median)| median).collect();
        *slots[place].lock().expect("one worker has it") = medians;
        Ok(true)
    })?;
    let medians = slots
        .into_iter()
        .map(|slot| slot.into_inner().expect("nobody panicked"));
    let mut a: Vec<Medians> = medians.collect();
    let b = a.split_off(design.seeds.len());
    Ok([a, b])
}

/// Whether every difference is known to within so many percent of what A took.
fn is_narrow(done: &[Vec<Medians>; 2], percent: f64) -> bool {
    let count = done[0].first().map_or(0, Vec::len);
    (0..count).all(|place| {
        let [a, b] = pairs(done, place);
        let (a, difference) = (Estimate::of(&a), Estimate::of_differences(&b, &a));
        let both = a.zip(difference);
        both.is_none_or(|(a, difference)| difference.half_width <= a.mean.abs() * percent / 100.0)
    })
}

/// The medians of a population in the runs in which somebody was done under both variants.
fn pairs(done: &[Vec<Medians>; 2], place: usize) -> [Vec<f64>; 2] {
    let [a, b] = done;
    let both = a.iter().zip(b);
    let both = both.filter_map(|(a, b)| Some((a[place]?, b[place]?)));
    let (a, b) = both.unzip();
    [a, b]
}

fn table(names: &[String], done: &[Vec<Medians>; 2]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let _ = table.set_header([
        "population",
        "seeds",
        "A s",
        "B s",
        "B − A s",
        "± (95 %)",
        "unpaired ±",
        "B / A",
    ]);
    for (place, name) in names.iter().enumerate() {
        let [a, b] = pairs(done, place);
        let difference = Estimate::of_differences(&b, &a);
        let (Some(difference), Some(a), Some(b)) = (difference, Estimate::of(&a), Estimate::of(&b))
        else {
            continue;
        };
        // What the interval would be had each variant met luck of its own (Welch).
        let apart = libm::hypot(a.half_width, b.half_width);
        let _ = table.add_row([
            name.clone(),
            a.count.to_string(),
            format!("{:.1}", a.mean),
            format!("{:.1}", b.mean),
            format!("{:+.1}", difference.mean),
            format!("{:.1}", difference.half_width),
            format!("{apart:.1}"),
            format!("{:.2}", b.mean / a.mean),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
