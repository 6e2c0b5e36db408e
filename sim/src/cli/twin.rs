//! A population against its honest twin: what its strategy gains it, and what it costs the others.

use std::sync::Mutex;

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::design::{Design, FieldSetting};
use seedbank_sim::play::{PlayOutcome, outcome};
use seedbank_sim::scenario::{Population, Scenario, StrategyPlan};
use seedbank_sim::twin::{Fate, MEASURES, TwinDifference};

use super::args::CompareArgs;
use super::progress::SweepProgress;
use super::{SimFailure, attempt, play, say, workers};

/// Differences below this are of rounding.
const NOTHING: f64 = 5e-7;

/// The fates of every population in a run; or why it failed.
type Fates = Result<Vec<Fate>, String>;

/// Those of the populations that are asked for: `all` is every strategic one.
pub(super) fn run(args: &CompareArgs, population: &str) -> Result<(), SimFailure> {
    let design = play::design(&args.scenario, &args.set)?;
    let written = design.runs().map_err(SimFailure::usage)?.swap_remove(0);
    let is_name = |plan: &Population| plan.name == population;
    if population != "all" || written.scenario.populations.iter().any(is_name) {
        return run_one(args, population);
    }
    let strategic = strategic(&written.scenario);
    if strategic.is_empty() {
        return Err(SimFailure::usage("everybody is honest"));
    }
    for name in strategic {
        run_one(args, &name)?;
    }
    Ok(())
}

/// The names of the populations that follow a strategy.
pub(super) fn strategic(scenario: &Scenario) -> Vec<String> {
    let plans = scenario.populations.iter();
    let strategic = plans.filter(|plan| plan.strategy != StrategyPlan::default());
    strategic.map(|plan| plan.name.clone()).collect()
}

/// What each strategic population of a run gained over its honest twin of the same seed, and what
/// it cost the others: a table for each.
pub(super) fn gains(scenario: &Scenario, played: &PlayOutcome) -> Vec<String> {
    let names: Vec<String> = scenario
        .populations
        .iter()
        .map(|plan| plan.name.clone())
        .collect();
    let tables = strategic(scenario).into_iter().map(|name| {
        let mut honest = scenario.clone();
        let plans = honest.populations.iter_mut();
        plans
            .filter(|plan| plan.name == name)
            .for_each(|plan| plan.strategy = StrategyPlan::default());
        let twin = outcome(&honest);
        let mut table = begin();
        for other in &names {
            let of = |scenario, played| vec![Fate::of(scenario, played, other)];
            add(
                &mut table,
                other,
                [&of(&honest, &twin), &of(scenario, played)],
            );
        }
        format!("{name} as written against {name} honest, this seed\n{table}")
    });
    tables.collect()
}

fn run_one(args: &CompareArgs, population: &str) -> Result<(), SimFailure> {
    let mut design = play::design(&args.scenario, &args.set)?;
    design.seeds = (1..=args.seeds).collect();
    let written = design.runs().map_err(SimFailure::usage)?.swap_remove(0);
    let known = &written.scenario.populations;
    let Some(strategic) = known.iter().find(|plan| plan.name == population) else {
        let names: Vec<&str> = known.iter().map(|plan| plan.name.as_str()).collect();
        let names = names.join(", ");
        return Err(SimFailure::usage(format_args!(
            "there is no population {population:?}: it has {names}"
        )));
    };
    if strategic.strategy == StrategyPlan::default() {
        return Err(SimFailure::usage(format_args!(
            "{population:?} is honest: there is nothing to compare"
        )));
    }
    let path = format!("population.{population}.strategy=honest");
    let honest = FieldSetting::parse(&path).map_err(SimFailure::usage)?;
    let common = design.variants[0].clone();
    design.variants = vec![[common.clone(), vec![honest]].concat(), common];
    let names: Vec<String> = known.iter().map(|plan| plan.name.clone()).collect();
    let done = play_both(&design, &names, args)?;
    let [twin, as_written] = by_population(&done, names.len());
    say(format_args!(
        "{}: {population} as written against {population} honest, {} seeds, means ± 95 %",
        written.scenario.run.name, args.seeds
    ));
    let mut table = begin();
    let others = names.iter().enumerate();
    let place = names.iter().position(|name| name == population);
    let place = place.expect("found above");
    add(&mut table, population, [&twin[place], &as_written[place]]);
    for (other, name) in others.filter(|(other, _)| *other != place) {
        add(&mut table, name, [&twin[other], &as_written[other]]);
    }
    say(table);
    let failures = attempt::failures(["honest", "as written"], &done);
    failures.iter().for_each(say);
    Ok(())
}

/// The fates of every population under every seed, in both variants.
fn play_both(
    design: &Design,
    names: &[String],
    args: &CompareArgs,
) -> Result<[Vec<Fates>; 2], SimFailure> {
    let runs = design.runs().map_err(SimFailure::usage)?;
    let slots = runs.iter().map(|_| Mutex::new(Err(String::new())));
    let slots: Vec<Mutex<Fates>> = slots.collect();
    let progress = SweepProgress::new(runs.len(), false, args.quiet);
    workers::each(&runs, workers::jobs(args.jobs), &progress, |place, run| {
        let fates = attempt::play(&run.scenario, |scenario| fates_of(scenario, names));
        let is_ok = fates.is_ok();
        *slots[place].lock().expect("one worker has it") = fates;
        Ok(is_ok)
    })?;
    let fates = slots.into_iter().map(|slot| slot.into_inner());
    let mut twin: Vec<Fates> = fates.map(|one| one.expect("nobody panicked")).collect();
    let written = twin.split_off(design.seeds.len());
    Ok([twin, written])
}

/// The same by population, of those seeds under which neither run failed.
fn by_population(done: &[Vec<Fates>; 2], count: usize) -> [Vec<Vec<Fate>>; 2] {
    let [twin, written] = done;
    let both = twin.iter().zip(written);
    let whole = both.filter_map(|(a, b)| a.as_ref().ok().zip(b.as_ref().ok()));
    let (twin, written): (Vec<&Vec<Fate>>, Vec<&Vec<Fate>>) = whole.unzip();
    [twin, written].map(|runs| {
        let of = |place: usize| runs.iter().map(|run| run[place]).collect();
        (0..count).map(of).collect()
    })
}

fn fates_of(scenario: &Scenario, names: &[String]) -> Vec<Fate> {
    let played = outcome(scenario);
    let violations = &played.checks.violations;
    assert!(violations.is_empty(), "{}", violations.join("; "));
    let of = |name: &String| Fate::of(scenario, &played, name);
    names.iter().map(of).collect()
}

fn begin() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let _ = table.set_header([
        "population",
        "each",
        "honest",
        "as written",
        "difference",
        "±",
        "",
    ]);
    for column in table.column_iter_mut().skip(2).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Rows of a population: those of its measures that are anything under either.
fn add(table: &mut Table, name: &str, [honest, strategic]: [&Vec<Fate>; 2]) {
    for measure in &MEASURES {
        let Some(found) = measure.compare(honest, strategic) else {
            continue;
        };
        let TwinDifference {
            honest,
            strategic,
            difference,
        } = found;
        if honest.mean.abs().max(strategic.mean.abs()) < NOTHING {
            continue;
        }
        let number = |number: f64| match number.abs() {
            // Of one seed.
            f64::INFINITY => "–".to_owned(),
            0.0..0.1 => format!("{number:.4}"),
            _ => format!("{number:.1}"),
        };
        let _ = table.add_row([
            name.to_owned(),
            measure.name.to_owned(),
            number(honest.mean),
            number(strategic.mean),
            match difference.mean {
                more if more > 0.0 => format!("+{}", number(more)),
                less => number(less),
            },
            number(difference.half_width),
            match difference.is_clear() {
                true => "clear".to_owned(),
                false => String::new(),
            },
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_under_which_a_run_failed_is_left_out_of_both() {
        let fate = |sent: f64| Fate {
            took: None,
            done: None,
            free: 0.0,
            sent,
            vain: 0.0,
            unpaid: 0.0,
            credit: 0.0,
        };
        let done = [
            vec![Ok(vec![fate(1.0)]), Ok(vec![fate(2.0)])],
            vec![Err("it went wrong".to_owned()), Ok(vec![fate(3.0)])],
        ];
        let [honest, strategic] = by_population(&done, 1);
        assert_eq!([&honest[0], &strategic[0]], [&[fate(2.0)], &[fate(3.0)]]);
    }
}
