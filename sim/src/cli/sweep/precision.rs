//! Replications until what is asked is known well enough.

use seedbank_engine::text::similar;
use seedbank_sim::design::{Design, PlannedRun};
use seedbank_sim::stats::Estimate;

use super::joined::Joined;
use super::kept::TookQuantile;
use super::{KeptRun, SimFailure};

/// Seeds of a variant that are run before the first look, and between two.
pub(in crate::cli) const SEEDS_MIN: u16 = 5;

/// How well what is to be known: the half-width of the 95 % interval of a mean over runs.
#[derive(Clone, Debug)]
pub(super) struct Precision {
    population: String,
    /// Of the times that its peers took.
    pub(super) which: TookQuantile,
    percent: f64,
}

impl Precision {
    /// Reads `others=5%`, `others.p90=10%`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let problem = || {
            format!("--until-half-width {text}: write POPULATION=5%, or POPULATION.p90=5% (or p10)")
        };
        let (metric, width) = text.split_once('=').ok_or_else(problem)?;
        let metric = metric.trim();
        let named = metric.rsplit_once('.').and_then(|(population, name)| {
            let mut all = TookQuantile::ALL.into_iter();
            Some((population, all.find(|which| which.name() == name)?))
        });
        let (population, which) = named.unwrap_or((metric, TookQuantile::Median));
        Ok(Self {
            population: population.to_owned(),
            which,
            percent: percent(width).map_err(|_| problem())?,
        })
    }

    /// Whether every run has the population, and it comes for something.
    pub(super) fn check(&self, runs: &[PlannedRun]) -> Result<(), String> {
        for run in runs {
            let plans = run.scenario.populations.iter();
            let wanting = plans.filter(|plan| plan.wants());
            let names: Vec<&str> = wanting.map(|plan| plan.name.as_str()).collect();
            if !names.contains(&self.population.as_str()) {
                let meant = match similar(&self.population, names.iter().copied()) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => format!("there are {}", names.join(", ")),
                };
                return Err(format!(
                    "--until-half-width: no population {:?} comes for something; {meant}",
                    self.population
                ));
            }
        }
        Ok(())
    }

    /// Runs every variant under some seeds more until it is known well enough, or there are none.
    /// Which runs there were, in their order: it depends on what came of them and on nothing else.
    pub(super) fn until(
        &self,
        runs: Vec<PlannedRun>,
        mut play: impl FnMut(&[&PlannedRun]) -> Result<Vec<Option<KeptRun>>, SimFailure>,
    ) -> Result<Vec<PlannedRun>, SimFailure> {
        let variants = runs.iter().map(|run| run.variant + 1).max().unwrap_or(0);
        let mut seen: Vec<Vec<Option<f64>>> = vec![Vec::new(); variants];
        let of_variant = |variant| runs.iter().filter(move |run| run.variant == variant);
        loop {
            let open = (0..variants).filter(|variant| !self.is_known(&seen[*variant]));
            let next = open.flat_map(|variant| {
                let done = seen[variant].len();
                of_variant(variant).skip(done).take(SEEDS_MIN.into())
            });
            let next: Vec<&PlannedRun> = next.collect();
            if next.is_empty() {
                break;
            }
            for (run, kept) in next.iter().zip(play(&next)?) {
                let took = kept.and_then(|kept| kept.quantile(&self.population, self.which));
                seen[run.variant].push(took);
            }
        }
        let mut left: Vec<usize> = seen.iter().map(Vec::len).collect();
        let kept = runs.into_iter().filter(|run| {
            let is_one = left[run.variant] > 0;
            left[run.variant] = left[run.variant].saturating_sub(1);
            is_one
        });
        Ok(kept.collect())
    }

    /// A line for each variant of which all seeds were run and it is still not known so well.
    pub(super) fn unknown(&self, design: &Design, joined: &Joined) -> Vec<String> {
        let Self {
            population,
            which,
            percent,
        } = self;
        let variants = design.labels().into_iter().enumerate();
        let unknown = variants
            .filter(|(variant, _)| !self.is_known(&joined.quantiles(*variant, population, *which)));
        let line = |(_, label): (usize, String)| {
            let which = which.name();
            format!(
                "not known to within {percent} % by all seeds: {which} of {population}, {label}"
            )
        };
        unknown.map(line).collect()
    }

    /// Of runs that failed, and of those in which so many were never done, nothing is known.
    fn is_known(&self, seen: &[Option<f64>]) -> bool {
        let known: Vec<f64> = seen.iter().copied().flatten().collect();
        let is_narrow = |mean: Estimate| mean.is_within(self.percent, mean.mean);
        known.len() >= SEEDS_MIN.into() && Estimate::of(&known).is_some_and(is_narrow)
    }
}

/// Reads `5%` or `5`: more than none.
pub(in crate::cli) fn percent(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    let sound = number.filter(|percent: &f64| *percent > 0.0 && percent.is_finite());
    sound.ok_or_else(|| "write 5%, or another number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_known_once_its_interval_is_narrow() {
        let precision = Precision::parse("others=5%").unwrap();
        assert!(!precision.is_known(&[Some(10.0); 4]), "too few");
        assert!(precision.is_known(&[Some(10.0); 5]));
        assert!(!precision.is_known(&[Some(10.0), Some(11.0), Some(9.0), Some(12.0), Some(8.0)]));
        assert!(!precision.is_known(&[Some(10.0), None, None, None, None, None]));
        let many: Vec<Option<f64>> = (0..400).map(|place| Some(f64::from(place % 5))).collect();
        assert!(!precision.is_known(&many));
        let p90 = Precision::parse("others.p90=10").unwrap();
        assert!(p90.is_known(&many));
        assert_eq!(p90.which, TookQuantile::P90);
        let dotted = Precision::parse("my.others=1 %").unwrap();
        assert_eq!(dotted.population, "my.others");
        for wrong in [
            "others",
            "others=",
            "others=wide",
            "others=0%",
            "others=-1%",
            "others=inf",
        ] {
            assert!(Precision::parse(wrong).is_err(), "{wrong}");
        }
    }
}
