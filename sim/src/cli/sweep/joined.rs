//! What was kept of several runs, put together: two files, a manifest and a table.

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::design::{Design, FieldSetting, PlannedRun, label};
use seedbank_sim::frame::Frame;
use seedbank_sim::stats::Estimate;
use serde_json::json;

use super::kept::{KeptRun, PopulationTook, TookQuantile, read};
use crate::cli::files::OutFolder;
use crate::cli::parquet::FrameWriter;
use crate::cli::{SimFailure, play};

/// What all runs came to.
#[derive(Debug, Default)]
pub(in crate::cli) struct Joined {
    pub(super) runs: usize,
    pub(super) failed: usize,
    events: u64,
    wall_s: f64,
    hash: blake3::Hasher,
    /// A variant's number, and how long the populations of one of its runs took.
    took: Vec<(usize, Vec<PopulationTook>)>,
    /// What is to be known of them.
    pub(super) notes: Vec<String>,
}

/// Joins what was kept of every run, in their order, one run in memory at a time.
pub(in crate::cli) fn join(runs: &[PlannedRun], out: &OutFolder) -> Result<Joined, SimFailure> {
    let kept_of = |run: &PlannedRun| {
        let missing = || SimFailure::new(format_args!("what came of run {} is gone", run.id()));
        read(out, run).ok_or_else(missing)
    };
    let mut joined = Joined::default();
    let mut like = None;
    let mut rows: Vec<Frame> = Vec::new();
    for run in runs {
        let kept = kept_of(run)?;
        rows.push(kept.run_frame());
        joined.add(run, &kept);
        if kept.error.is_none() {
            like = like.or_else(|| Some(kept.peer_frame()));
        }
    }
    let Some(first) = rows.first() else {
        return Ok(joined);
    };
    out.put_by("runs.parquet", |file| {
        let mut writer = FrameWriter::new(file, first)?;
        rows.iter().try_for_each(|row| writer.append(row))?;
        writer.close()
    })?;
    if let Some(like) = like {
        out.put_by("peers.parquet", |file| {
            let mut writer = FrameWriter::new(file, &like)?;
            for kept in runs.iter().filter_map(|run| read(out, run)) {
                if kept.error.is_none() {
                    writer.append(&kept.peer_frame())?;
                }
            }
            writer.close()
        })?;
    }
    Ok(joined)
}

/// What a folder has results of.
pub(in crate::cli) fn describe(design: &Design, runs: &[PlannedRun]) -> String {
    let labels = design.variants.iter().map(|variant| label(variant));
    let ids: Vec<String> = runs.iter().map(PlannedRun::id).collect();
    let described = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "variants": labels.collect::<Vec<_>>(),
        "seeds": design.seeds,
        "runs": ids,
        "scenario": runs.first().map(|run| run.scenario.canonical()),
    });
    format!("{described:#}\n")
}

impl Joined {
    fn add(&mut self, run: &PlannedRun, kept: &KeptRun) {
        self.runs += 1;
        self.events += kept.events;
        self.wall_s += kept.wall_s;
        self.hash.update(kept.state_hash.as_bytes());
        if let Some(error) = &kept.error {
            self.failed += 1;
            let seed = kept.seed;
            self.notes
                .push(format!("failed: {}, seed {seed}: {error}", kept.label));
            return;
        }
        let cut = kept.took.iter().filter(|took| took.warm_up > 0);
        let cut: Vec<String> = cut.map(|took| took.population.clone()).collect();
        if !cut.is_empty() && !self.notes.iter().any(|note| note.starts_with("warm-up")) {
            self.notes.push(format!(
                "warm-up: of {} those who came first are left out, in each run up to where MSER-5 \
                 on the time until done, in order of arrival, cuts",
                cut.join(", ")
            ));
        }
        self.took.push((run.variant, kept.took.clone()));
    }

    /// What the joined files are a result of: these runs of a design, whose scenario as written is
    /// `base`.
    pub(in crate::cli) fn manifest(
        &self,
        base: &Design,
        design: &Design,
        runs: &[PlannedRun],
    ) -> serde_json::Value {
        let variant = |(settings, label): (&Vec<FieldSetting>, String)| {
            let pairs = settings.iter();
            let pairs = pairs.map(|setting| (setting.path.as_str(), setting.value_text()));
            json!({ "label": label, "settings": pairs.collect::<Vec<_>>() })
        };
        let variants = design.variants.iter().zip(design.labels()).map(variant);
        // A scenario that only its variants make sound is told with the first of them.
        let base = base.runs().ok();
        let base = base.as_deref().unwrap_or(runs).first();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "design_hash": blake3::hash(describe(design, runs).as_bytes()).to_hex().as_str(),
            "scenario_hash": base.map(|run| run.scenario.hash()),
            "scenario": base.map(|run| run.scenario.canonical()),
            "variants": variants.collect::<Vec<_>>(),
            "seeds": design.seeds,
            "seed_count": design.seeds.len(),
            "runs": self.runs,
            "failed": self.failed,
            "state_hash": self.hash.finalize().to_hex().as_str(),
            "events": self.events,
            "wall_seconds_of_runs": self.wall_s,
            "events_per_second": play::events_per_second(self.events, self.wall_s),
        })
    }

    /// A quantile of a population in each run of a variant that did not fail, in their order.
    pub(super) fn quantiles(
        &self,
        variant: usize,
        population: &str,
        which: TookQuantile,
    ) -> Vec<Option<f64>> {
        let of_variant = self.took.iter().filter(|(of, _)| *of == variant);
        let took = of_variant.flat_map(|(_, each)| each);
        let took = took.filter(|took| took.population == population);
        took.map(|took| which.of(took)).collect()
    }

    /// Each variant: the mean over its runs, and half of the 95 % interval; and in how many runs so
    /// many were never done, of which there is no such time.
    pub(super) fn table(&self, design: &Design, which: TookQuantile) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let _ = table.set_header([
            "variant".to_owned(),
            "population".to_owned(),
            "runs".to_owned(),
            format!("{} s", which.name()),
            "± (95 %)".to_owned(),
            which.never().to_owned(),
        ]);
        for (variant, label) in design.labels().into_iter().enumerate() {
            let one = self.took.iter().find(|(of, _)| *of == variant);
            for took in one.into_iter().flat_map(|(_, each)| each) {
                let values = self.quantiles(variant, &took.population, which);
                let known: Vec<f64> = values.iter().copied().flatten().collect();
                let estimate = Estimate::of(&known);
                let number = |number: Option<f64>| match number {
                    Some(number) if number.is_finite() => format!("{number:.1}"),
                    _ => "–".to_owned(),
                };
                let _ = table.add_row([
                    label.clone(),
                    took.population.clone(),
                    values.len().to_string(),
                    number(estimate.map(|estimate| estimate.mean)),
                    number(estimate.map(|estimate| estimate.half_width)),
                    (values.len() - known.len()).to_string(),
                ]);
            }
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}
