//! What repeated runs say: intervals, paired differences, warm-up, and times of who never finished.

/// Quantiles of Student's distribution that leave 2.5 % on either side, for 1 to 30 degrees of
/// freedom.
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// The same of the normal distribution.
const Z_975: f64 = 1.959_964;
/// Bytes in a GiB.
pub(crate) const GIB: f64 = 1_073_741_824.0;
/// Observations in a batch of [`warm_up`].
const BATCH: usize = 5;

/// A mean, and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Observations.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; 0 of fewer than two.
    pub deviation: f64,
    /// Half of the 95 % interval of the mean (Student); infinite of fewer than two.
    pub half_width: f64,
}

/// When somebody finished, or was seen last without having finished.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifetime {
    /// Seconds.
    pub time: f64,
    /// Whether it finished; otherwise it is censored.
    pub finished: bool,
}

/// How many have finished by some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FinishedShare {
    /// Seconds.
    pub time: f64,
    /// Of all, from 0 to 1.
    pub share: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Estimate {
    /// Of independent observations; `None` of none.
    pub fn of(observations: &[f64]) -> Option<Self> {
        let count = observations.len();
        let n = float(count);
        if count == 0 {
            return None;
        }
        let mean = observations.iter().sum::<f64>() / n;
        let squares: f64 = observations.iter().map(|x| (x - mean) * (x - mean)).sum();
        let deviation = match count {
            1 => 0.0,
            _ => libm::sqrt(squares / (n - 1.0)),
        };
        let half_width = match count {
            1 => f64::INFINITY,
            _ => t_975(count - 1) * deviation / libm::sqrt(n),
        };
        Some(Self {
            count,
            mean,
            deviation,
            half_width,
        })
    }

    /// Of the differences between runs of two policies that met the same luck, in the same order.
    pub fn of_differences(one: &[f64], other: &[f64]) -> Option<Self> {
        let pairs = one.iter().zip(other);
        let differences: Vec<f64> = pairs.map(|(one, other)| one - other).collect();
        Self::of(&differences)
    }

    /// Whether half of the interval is at most so many percent of a size.
    pub fn is_within(&self, percent: f64, size: f64) -> bool {
        self.half_width <= size.abs() * percent / 100.0
    }

    /// Whether the interval excludes zero.
    pub fn is_clear(&self) -> bool {
        self.mean.abs() > self.half_width
    }
}

/// The quantile of Student's distribution that 97.5 % are below.
///
/// Past the table the expansion in 1/ν (Abramowitz and Stegun, 26.7.5), right to three digits.
fn t_975(freedom: usize) -> f64 {
    if let Some(t) = freedom.checked_sub(1).and_then(|place| T_975.get(place)) {
        return *t;
    }
    let (z, v) = (Z_975, float(freedom));
    let z3 = z * z * z;
    z + (z3 + z) / (4.0 * v) + (5.0 * z3 * z * z + 16.0 * z3 + 3.0 * z) / (96.0 * v * v)
}

/// Observations to leave out at the begin of a series, until it no longer depends on how it began
/// (MSER-5: White, Simulation 69, 1997): of all truncations up to the half, the one whose rest has
/// the smallest standard error, by batches of five.
pub fn warm_up(series: &[f64]) -> usize {
    let batches = series.chunks_exact(BATCH);
    let means: Vec<f64> = batches
        .map(|batch| batch.iter().sum::<f64>() / float(BATCH))
        .collect();
    let error_after = |cut: usize| {
        let rest = &means[cut..];
        let n = float(rest.len());
        let mean = rest.iter().sum::<f64>() / n;
        rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n * n)
    };
    let cuts = 0..means.len().div_ceil(2);
    let least = cuts.min_by(|a, b| error_after(*a).total_cmp(&error_after(*b)));
    least.unwrap_or(0) * BATCH
}

/// The time by which this share has finished, with those who never did counted as far as they were
/// seen (Kaplan and Meier, JASA 53, 1958); `None` if so many never finished.
pub fn finished_by(lifetimes: &[Lifetime], share: f64) -> Option<f64> {
    let steps = finished_shares(lifetimes);
    // Of ten equal steps the last is not exactly one.
    let reached = steps.iter().find(|step| step.share >= share - 1e-9);
    reached.map(|step| step.time)
}

/// How the share of those who have finished grows, each time that somebody does: 1 less the
/// estimate of Kaplan and Meier, with the 95 % interval of Greenwood (Kalbfleisch and Prentice, by
/// the logarithm of the logarithm, so that it stays within 0 and 1).
pub fn finished_shares(lifetimes: &[Lifetime]) -> Vec<FinishedShare> {
    let mut ordered = lifetimes.to_vec();
    // At one time who finished comes before who was seen last.
    ordered.sort_by(|a, b| a.time.total_cmp(&b.time).then(b.finished.cmp(&a.finished)));
    let (mut left, mut variance) = (1.0, 0.0);
    let mut steps: Vec<FinishedShare> = Vec::new();
    for (place, lifetime) in ordered.iter().enumerate() {
        if !lifetime.finished {
            continue;
        }
        let at_risk = float(ordered.len() - place);
        left *= 1.0 - 1.0 / at_risk;
        variance += 1.0 / (at_risk * (at_risk - 1.0)).max(f64::MIN_POSITIVE);
        let (low, high) = greenwood(left, variance);
        let step = FinishedShare {
            time: lifetime.time,
            share: 1.0 - left,
            low,
            high,
        };
        match steps.last_mut() {
            #[expect(clippy::float_cmp, reason = "of one moment is the last")]
            Some(last) if last.time == step.time => *last = step,
            _ => steps.push(step),
        }
    }
    steps
}

/// The interval of a share that has finished, of whom `left` have not.
fn greenwood(left: f64, variance: f64) -> (f64, f64) {
    if left <= 1e-9 {
        return (1.0, 1.0);
    }
    let width = Z_975 * libm::sqrt(variance) / libm::fabs(libm::log(left));
    let bound = |width: f64| 1.0 - libm::pow(left, libm::exp(width));
    (bound(-width), bound(width))
}

/// Values that these shares of all weight, each above 0, do not exceed; `None` if there is no
/// weight. Each value stands with its weight.
pub fn weighted_quantiles<const N: usize>(
    values: &[(f64, f64)],
    shares: [f64; N],
) -> Option<[f64; N]> {
    let mut ordered = values.to_vec();
    ordered.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = ordered.iter().map(|(_, weight)| weight).sum();
    let quantile = |share: f64| {
        let mut sum = 0.0;
        let reaches = |(_, weight): &&(f64, f64)| {
            sum += weight;
            sum >= share * all * (1.0 - 1e-12)
        };
        ordered.iter().find(reaches).map(|(value, _)| *value)
    };
    let found = shares.map(|share| quantile(share).unwrap_or_default());
    (all > 0.0).then_some(found)
}

/// The Gini coefficient of amounts of at least zero: 0 if all have the same, near 1 if one has all;
/// `None` of none, or of nothing.
pub fn gini(amounts: &[f64]) -> Option<f64> {
    let mut ordered = amounts.to_vec();
    ordered.sort_unstable_by(f64::total_cmp);
    let n = float(ordered.len());
    let sum: f64 = ordered.iter().sum();
    let ranked = ordered.iter().enumerate();
    let ranked: f64 = ranked.map(|(place, x)| float(place + 1) * x).sum();
    (sum > 0.0).then(|| 2.0 * ranked / (n * sum) - (n + 1.0) / n)
}

/// Which share of the whole the poorest share of its holders has, from (0, 0) to (1, 1), for each
/// of them (Lorenz, 1905); empty of nothing.
pub fn lorenz(amounts: &[f64]) -> Vec<(f64, f64)> {
    let mut ordered = amounts.to_vec();
    ordered.sort_unstable_by(f64::total_cmp);
    let (n, whole) = (float(ordered.len()), ordered.iter().sum::<f64>());
    if whole <= 0.0 {
        return Vec::new();
    }
    let mut points = vec![(0.0, 0.0)];
    let mut sum = 0.0;
    for (place, amount) in ordered.iter().enumerate() {
        sum += amount;
        points.push((float(place + 1) / n, sum / whole));
    }
    points
}

/// A count as a number to calculate with.
pub(crate) fn float(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let float = count as f64;
    float
}

/// A whole number of bytes, credits or nanoseconds to calculate with.
pub(crate) fn whole(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number to read, of 53 bits")]
    let float = number as f64;
    float
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Purpose, Streams, normal};

    #[test]
    fn quantiles_go_by_weight() {
        let values = [(3.0, 1.0), (1.0, 8.0), (2.0, 1.0)];
        assert_eq!(
            weighted_quantiles(&values, [0.1, 0.8, 0.9, 1.0]),
            Some([1.0, 1.0, 2.0, 3.0])
        );
        assert_eq!(weighted_quantiles(&[(1.0, 0.0)], [0.5]), None);
        assert_eq!(weighted_quantiles(&[], [0.5]), None);
    }

    #[test]
    fn an_interval_is_students() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!((estimate.mean - 3.0).abs() < 1e-12);
        assert!((estimate.deviation - 1.581_139).abs() < 1e-6);
        // 2.776 · 1.5811 / √5.
        assert!((estimate.half_width - 1.963_0).abs() < 1e-3);
        assert_eq!(Estimate::of(&[]), None);
        assert!(Estimate::of(&[1.0]).unwrap().half_width.is_infinite());
        // Published quantiles.
        for (freedom, t) in [(31, 2.040), (40, 2.021), (60, 2.000), (120, 1.980)] {
            assert!(
                (t_975(freedom) - t).abs() < 1e-3,
                "{freedom}: {}",
                t_975(freedom)
            );
        }
    }

    #[test]
    fn an_interval_covers_the_mean_as_often_as_it_says() {
        let mut rng = Streams::new(4).draw(Purpose::Line, "", 0);
        let covered = (0..4_000).filter(|_| {
            let sample: Vec<f64> = (0..10).map(|_| 7.0 + 3.0 * normal(&mut rng)).collect();
            let estimate = Estimate::of(&sample).unwrap();
            (estimate.mean - 7.0).abs() <= estimate.half_width
        });
        let share = float(covered.count()) / 4_000.0;
        assert!((0.94..0.96).contains(&share), "{share}");
    }

    #[test]
    fn equal_luck_leaves_the_difference() {
        let luck = [10.0, 50.0, 30.0, 80.0];
        let better: Vec<f64> = luck.iter().map(|time| time - 1.0).collect();
        let difference = Estimate::of_differences(&better, &luck).unwrap();
        assert!((difference.mean + 1.0).abs() < 1e-12);
        assert!(difference.is_clear());
        assert!(!Estimate::of(&luck).is_none_or(|luck| luck.half_width < 20.0));
    }

    #[test]
    fn a_warm_up_is_cut_where_it_ends() {
        let mut rng = Streams::new(5).draw(Purpose::Line, "", 0);
        let ramp = (0..100).map(f64::from);
        let mut series: Vec<f64> = ramp.collect();
        series.extend((0..400).map(|_| 100.0 + normal(&mut rng)));
        let cut = warm_up(&series);
        assert!((85..=125).contains(&cut), "{cut}");
        assert_eq!(warm_up(&[1.0; 40]), 0);
        assert_eq!(warm_up(&[]), 0);
    }

    #[test]
    fn an_interval_of_a_share_is_greenwoods() {
        let lifetimes: Vec<Lifetime> = (1..=10)
            .map(|time| Lifetime {
                time: f64::from(time),
                finished: time != 4,
            })
            .collect();
        let steps = finished_shares(&lifetimes);
        assert_eq!(steps.len(), 9);
        // At 3: S = 0.7, Σ 1/(n(n−1)) = 1/90 + 1/72 + 1/56 = 0.042857; exp(±1.96·√that/ln S).
        let at_3 = steps[2];
        assert!((at_3.share - 0.3).abs() < 1e-12);
        assert!((at_3.low - 0.108).abs() < 1e-3, "{at_3:?}");
        assert!((at_3.high - 0.671).abs() < 1e-3, "{at_3:?}");
        let last = steps[8];
        assert!((last.share - 1.0).abs() < 1e-12);
        assert!(steps.iter().all(|step| step.low <= step.share + 1e-12));
        assert!(steps.iter().all(|step| step.high >= step.share - 1e-12));
    }

    #[test]
    fn inequality_is_ginis_and_lorenzs() {
        assert!(gini(&[5.0, 5.0, 5.0]).unwrap().abs() < 1e-12);
        assert!((gini(&[0.0, 0.0, 0.0, 8.0]).unwrap() - 0.75).abs() < 1e-12);
        assert!((gini(&[1.0, 3.0, 2.0]).unwrap() - 2.0 / 9.0).abs() < 1e-12);
        assert_eq!((gini(&[]), gini(&[0.0, 0.0])), (None, None));
        let points = lorenz(&[3.0, 1.0]);
        assert_eq!(points, [(0.0, 0.0), (0.5, 0.25), (1.0, 1.0)]);
        assert!(lorenz(&[0.0]).is_empty());
    }

    #[test]
    fn who_never_finishes_is_counted_as_far_as_it_was_seen() {
        let finished = |time| Lifetime {
            time,
            finished: true,
        };
        let lost = |time| Lifetime {
            time,
            finished: false,
        };
        let all = [finished(1.0), finished(2.0), finished(3.0), finished(4.0)];
        assert_eq!(finished_by(&all, 0.5), Some(2.0));
        assert_eq!(finished_by(&all, 1.0), Some(4.0));
        // Worked example: 6 at risk; 1 of 6, then 1 of 4, 1 of 3 are done.
        let some = [
            finished(1.0),
            lost(2.0),
            finished(3.0),
            finished(4.0),
            lost(5.0),
            lost(5.0),
        ];
        assert_eq!(finished_by(&some, 0.5), Some(4.0));
        assert_eq!(finished_by(&some, 0.9), None);
        assert_eq!(finished_by(&[lost(9.0)], 0.1), None);
    }
}
