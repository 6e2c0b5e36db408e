//! What lines carry: published measurements, and one mix of today's that is an assumption.

use seedbank_engine::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::streams::{normal, unit};

/// Upload capacity of 301,595 hosts in April 2006: quantile, and kilobytes per second.
const PIATEK_2006: &str = include_str!("capacity/piatek2006.csv");
/// Bytes per second in a kilobit per second.
const KILOBIT: f64 = 125.0;
/// Median of downlinks, Mbit/s, and how their logarithm spreads.
const MODERN_MEDIAN: f64 = 146.0;
const MODERN_SIGMA: f64 = 1.22;

/// Where lines are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Uplinks of peers in April 2006 (Piatek et al., "Do incentives build robustness in
    /// BitTorrent?", NSDI 2007, figure 1). It says nothing of downlinks.
    Piatek2006,
    /// Four classes (Bharambe, Herley and Padmanabhan, INFOCOM 2006; of Gnutella's hosts).
    Bharambe2006,
    /// Uplinks of 20, 50 and 200 kB/s in equal thirds (Legout et al., SIGMETRICS 2007).
    Legout2007,
    /// 100 kbit/s up and 1 Mbit/s down (Bindal et al., ICDCS 2006).
    Bindal2006,
    /// A mix of cable, fibre and DSL of the 2020s: an assumption, not a measurement.
    Modern,
}

/// A line's rates, in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Up.
    pub uplink: u64,
    /// Down, if the profile says.
    pub downlink: Option<u64>,
}

impl Profile {
    /// The rates of one more line.
    pub fn draw(self, rng: &mut Rng) -> Capacity {
        let at = unit(rng);
        let (up, down) = match self {
            Self::Piatek2006 => (piatek(at) * 1_000.0, None),
            Self::Bharambe2006 => {
                let (down, up) = match at {
                    _ if at < 0.20 => (784.0, 128.0),
                    _ if at < 0.60 => (1_500.0, 384.0),
                    _ if at < 0.85 => (3_000.0, 1_000.0),
                    _ => (10_000.0, 5_000.0),
                };
                (up * KILOBIT, Some(down * KILOBIT))
            }
            Self::Legout2007 => {
                let third = if at * 3.0 < 1.0 {
                    20_000.0
                } else if at * 3.0 < 2.0 {
                    50_000.0
                } else {
                    200_000.0
                };
                (third, None)
            }
            Self::Bindal2006 => (100.0 * KILOBIT, Some(1_000.0 * KILOBIT)),
            Self::Modern => {
                let down = MODERN_MEDIAN * libm::exp(MODERN_SIGMA * normal(rng));
                let asymmetry = match at {
                    _ if at < 0.55 => 12.0,
                    _ if at < 0.90 => 1.0,
                    _ => 8.0,
                };
                let down = down * 1_000.0 * KILOBIT;
                (down / asymmetry, Some(down))
            }
        };
        Capacity {
            uplink: whole(up),
            downlink: down.map(whole),
        }
    }
}

/// Bytes per second, at least one.
fn whole(rate: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive and far below 2^53"
    )]
    let rate = rate as u64;
    rate.max(1)
}

/// Kilobytes per second at this quantile, between the two nearest of the table.
pub(crate) fn piatek(at: f64) -> f64 {
    let rows = PIATEK_2006.lines().filter_map(|line| {
        let (quantile, rate) = line.split_once(',')?;
        Some((quantile.parse::<f64>().ok()?, rate.parse::<f64>().ok()?))
    });
    let mut before = (0.0, 0.0);
    for row in rows {
        if at <= row.0 {
            let width = row.0 - before.0;
            let part = if width > 0.0 {
                (at - before.0) / width
            } else {
                1.0
            };
            return before.1 + part * (row.1 - before.1);
        }
        before = row;
    }
    before.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Purpose, Streams};

    fn draws(profile: Profile, count: u64) -> Vec<f64> {
        let streams = Streams::new(3);
        let mut rates: Vec<f64> = (0..count)
            .map(|index| profile.draw(&mut streams.draw(Purpose::Capacity, "", index)))
            .map(|capacity| f64::from(u32::try_from(capacity.uplink).unwrap()) / 1_000.0)
            .collect();
        rates.sort_unstable_by(f64::total_cmp);
        rates
    }

    #[test]
    fn every_profile_draws_lines_that_carry_something() {
        for (profile, median) in [
            (Profile::Bharambe2006, 48.0),
            (Profile::Legout2007, 50.0),
            (Profile::Bindal2006, 12.5),
        ] {
            let rates = draws(profile, 10_001);
            assert!((rates[5_000] - median).abs() < 0.01, "{}", rates[5_000]);
            assert!(rates[0] > 0.0);
        }
        let modern = draws(Profile::Modern, 10_001);
        assert!(
            (1_000.0..6_000.0).contains(&modern[5_000]),
            "{}",
            modern[5_000]
        );
    }
}
