//! Two variants of a scenario under the same luck: how much sooner, and how sure that is.

use std::sync::Mutex;

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::design::{Design, FieldSetting};
use seedbank_sim::play::{PlayOutcome, outcome};
use seedbank_sim::scenario::Scenario;
use seedbank_sim::stats::Estimate;

use super::args::CompareArgs;
use super::files::OutFolder;
use super::progress::SweepProgress;
use super::sweep::{self, SEEDS_MIN};
use super::{SimFailure, attempt, files, play, say, twin, workers};

/// Medians of a run, of each population that is compared; or why it failed.
type Medians = Result<Vec<Option<f64>>, String>;

/// Runs of the two variants, in the order of their seeds.
struct PairedRuns<'a> {
    /// What both have, and is compared.
    populations: &'a [String],
    done: [Vec<Medians>; 2],
}

pub(super) fn run(args: &CompareArgs) -> Result<(), SimFailure> {
    if let Some(population) = &args.twin {
        return twin::run(args, population);
    }
    let begin = files::WallClock::start();
    let base = play::design(&args.scenario, &args.set)?;
    let mut design = design_of(args, &base)?;
    let populations = wanting(&design)?;
    let out = args.out.as_deref().map(OutFolder::make_for_runs);
    let out = out.transpose()?;
    let all = usize::try_from(args.seeds).expect("few").saturating_mul(2);
    let until = args.until_half_width;
    let progress = SweepProgress::new(all, until.is_some(), args.quiet);
    let mut paired = PairedRuns {
        populations: &populations,
        done: [Vec::new(), Vec::new()],
    };
    let jobs = workers::jobs(args.jobs);
    let mut last = 0;
    while last < args.seeds && !until.is_some_and(|percent| paired.is_narrow(percent)) {
        let first = last + 1;
        last = match until {
            None => args.seeds,
            Some(_) => args.seeds.min(last + u64::from(SEEDS_MIN)),
        };
        design.seeds = (first..=last).collect();
        paired.play(&design, jobs, &progress, out.as_ref(), outcome)?;
    }
    for (name, label) in ["A", "B"].iter().zip(design.labels()) {
        say(format_args!("{name}: {label}"));
    }
    say(paired.table());
    paired.notes(until).iter().for_each(say);
    let (Some(out), Some(folder)) = (out, &args.out) else {
        return Ok(());
    };
    design.seeds = (1..=last).collect();
    let runs = design.runs().map_err(SimFailure::usage)?;
    let mut manifest = sweep::join(&runs, &out)?.manifest(&base, &design, &runs);
    manifest["kind"] = "compare".into();
    manifest["command"] = files::typed().into();
    manifest["repeat"] = repeat(args, last).into();
    manifest["wall_seconds"] = begin.elapsed().as_secs_f64().into();
    out.put_manifest(&manifest)?;
    say(format_args!(
        "plots: seedbank-sim report {}",
        folder.display()
    ));
    Ok(())
}

/// A and B.
fn design_of(args: &CompareArgs, base: &Design) -> Result<Design, SimFailure> {
    let common = &base.variants[0];
    let variant = |settings: &[String]| {
        let settings = settings.iter().map(|text| FieldSetting::parse(text));
        let settings = settings
            .collect::<Result<Vec<_>, _>>()
            .map_err(SimFailure::usage)?;
        Ok::<_, SimFailure>([common.clone(), settings].concat())
    };
    let mut design = base.clone();
    design.variants = vec![variant(&args.a)?, variant(&args.b)?];
    play::take_in(&mut design, &args.scenario)?;
    Ok(design)
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

/// The populations that come for something, which must be the same in both variants.
fn wanting(design: &Design) -> Result<Vec<String>, SimFailure> {
    let runs = design.runs().map_err(SimFailure::usage)?;
    let names = |scenario: &Scenario| {
        let plans = scenario.populations.iter().filter(|plan| plan.wants());
        plans.map(|plan| plan.name.clone()).collect::<Vec<String>>()
    };
    let [a, b] = [&runs[0], &runs[runs.len() - 1]].map(|run| names(&run.scenario));
    match a == b {
        true if a.is_empty() => Err(SimFailure::usage("no population comes for something")),
        true => Ok(a),
        false => Err(SimFailure::usage(format_args!(
            "other populations come for something: in A {}, in B {}",
            a.join(", "),
            b.join(", ")
        ))),
    }
}

impl PairedRuns<'_> {
    /// Plays both variants under every seed of the design, and keeps what came of it in the folder.
    fn play(
        &mut self,
        design: &Design,
        jobs: usize,
        progress: &SweepProgress,
        out: Option<&OutFolder>,
        play: impl Fn(&Scenario) -> PlayOutcome + Sync,
    ) -> Result<(), SimFailure> {
        let runs = design.runs().map_err(SimFailure::usage)?;
        let slots = runs.iter().map(|_| Mutex::new(Err(String::new())));
        let slots: Vec<Mutex<Medians>> = slots.collect();
        workers::each(&runs, jobs, progress, |place, run| {
            let kept = sweep::play_one(design, run, |scenario| Some(play(scenario)));
            let kept = kept.expect("nobody stops it");
            if let Some(out) = out {
                kept.put(out)?;
            }
            let medians = kept.medians(self.populations);
            *slots[place].lock().expect("one worker has it") = medians;
            Ok(kept.error.is_none())
        })?;
        let medians = slots.into_iter().map(Mutex::into_inner);
        let mut a: Vec<Medians> = medians.map(|one| one.expect("nobody panicked")).collect();
        let b = a.split_off(design.seeds.len());
        self.done[0].extend(a);
        self.done[1].extend(b);
        Ok(())
    }

    /// Whether every difference is known to within so many percent of what A took. Of runs that
    /// failed, and of those in which half were never done, nothing is known.
    fn is_narrow(&self, percent: f64) -> bool {
        (0..self.populations.len()).all(|place| {
            let [a, b] = self.medians(place);
            let estimates = Estimate::of(&a).zip(Estimate::of_differences(&b, &a));
            a.len() >= SEEDS_MIN.into()
                && estimates.is_some_and(|(a, difference)| difference.is_within(percent, a.mean))
        })
    }

    /// The medians of a population under the seeds under which half of it were done in both.
    fn medians(&self, place: usize) -> [Vec<f64>; 2] {
        let pairs = self.pairs().filter_map(|(a, b)| a[place].zip(b[place]));
        let (a, b) = pairs.unzip();
        [a, b]
    }

    /// Both runs of each seed of which neither failed.
    fn pairs(&self) -> impl Iterator<Item = (&Vec<Option<f64>>, &Vec<Option<f64>>)> {
        let [a, b] = &self.done;
        let both = a.iter().zip(b);
        both.filter_map(|(a, b)| a.as_ref().ok().zip(b.as_ref().ok()))
    }

    /// Which runs failed, and whether what was asked for is still not known.
    fn notes(&self, until: Option<f64>) -> Vec<String> {
        let mut notes = attempt::failures(["A", "B"], &self.done);
        if let Some(percent) = until.filter(|percent| !self.is_narrow(*percent)) {
            notes.push(format!(
                "not every difference is known to within {percent} % of A by all seeds"
            ));
        }
        notes
    }

    fn table(&self) -> String {
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
            "never half",
        ]);
        for (place, name) in self.populations.iter().enumerate() {
            let never = self.pairs().count() - self.medians(place)[0].len();
            let cells = self.cells(place);
            let cells = cells.unwrap_or_else(|| [(); 7].map(|()| "–".to_owned()));
            let cells = [name.clone()].into_iter().chain(cells);
            let _ = table.add_row(cells.chain([never.to_string()]));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// What is known of a population; `None` if there is no seed under which half of it were done.
    fn cells(&self, place: usize) -> Option<[String; 7]> {
        let [a, b] = self.medians(place);
        let difference = Estimate::of_differences(&b, &a)?;
        let (a, b) = (Estimate::of(&a)?, Estimate::of(&b)?);
        // What the interval would be had each variant met luck of its own (Welch).
        let apart = libm::hypot(a.half_width, b.half_width);
        Some([
            a.count.to_string(),
            format!("{:.1}", a.mean),
            format!("{:.1}", b.mean),
            format!("{:+.1}", difference.mean),
            format!("{:.1}", difference.half_width),
            format!("{apart:.1}"),
            format!("{:.2}", b.mean / a.mean),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boosts are B, none is A, under three seeds.
    fn design(more: &[&str]) -> Design {
        let more = more.iter().map(|set| (*set).to_owned());
        let set: Vec<String> = ["torrent.file.length=2MiB".to_owned()]
            .into_iter()
            .chain(more)
            .collect();
        let mut design = play::design("paying", &set).unwrap();
        let boost = FieldSetting::parse("population.payer.boost=").unwrap();
        let common = design.variants[0].clone();
        design.variants = vec![[common.clone(), vec![boost]].concat(), common];
        design.seeds = (1..=3).collect();
        design
    }

    #[test]
    fn a_run_that_fails_is_told_and_the_others_are_compared() {
        let design = design(&[]);
        let populations = wanting(&design).unwrap();
        let mut paired = PairedRuns {
            populations: &populations,
            done: [Vec::new(), Vec::new()],
        };
        let folder = tempfile::tempdir().unwrap();
        let out = OutFolder::make_for_runs(&folder.path().join("out")).unwrap();
        let progress = SweepProgress::new(6, false, true);
        let play = |scenario: &Scenario| {
            let is_b = scenario.populations[1].boost.is_some();
            assert!(!(is_b && scenario.run.seed == 2), "it went wrong");
            outcome(scenario)
        };
        paired
            .play(&design, 2, &progress, Some(&out), play)
            .unwrap();
        assert_eq!(paired.notes(None), ["failed: B, seed 2: it went wrong"]);
        let payer = populations.iter().position(|name| name == "payer").unwrap();
        let [a, b] = paired.medians(payer);
        assert_eq!([a.len(), b.len()], [2, 2], "its twin is left out too");
        assert!(paired.table().contains("payer"));
        let runs = design.runs().unwrap();
        let joined = sweep::join(&runs, &out).unwrap();
        let manifest = joined.manifest(&design, &design, &runs);
        assert_eq!([&manifest["runs"], &manifest["failed"]], [6, 1]);
    }

    #[test]
    fn what_is_never_done_has_a_row_and_is_not_known() {
        let design = design(&["run.duration=1s"]);
        let populations = wanting(&design).unwrap();
        let mut paired = PairedRuns {
            populations: &populations,
            done: [Vec::new(), Vec::new()],
        };
        let progress = SweepProgress::new(6, false, true);
        paired.play(&design, 2, &progress, None, outcome).unwrap();
        let table = paired.table();
        let row = table.lines().find(|line| line.contains("payer")).unwrap();
        assert!(row.contains('–') && row.ends_with("3 |"), "{row}");
        assert!(!table.contains("seeder"), "it comes for nothing: {table}");
        let notes = paired.notes(Some(1e9));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }
}
