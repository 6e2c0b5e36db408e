//! What peers want, and when they are there to fetch it.

use seedbank_ledger::Duration;
use serde::{Deserialize, Serialize};

use super::written::{Time, TimeSpan};

/// How much a torrent is wanted, against the others that a population wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemandPlan {
    /// Which.
    pub torrent: String,
    /// Its weight: one of twice the weight is chosen twice as often.
    #[serde(default = "DemandPlan::default_weight")]
    pub weight: u32,
    /// The weight that it comes to, in equal steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// When the weight begins to change.
    #[serde(default = "DemandPlan::from_start")]
    pub from: Time,
    /// When it has come to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Time>,
}

/// When a peer goes and comes back. It keeps its pieces, its credit and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChurnPlan {
    /// How long it is there at a time.
    pub online: TimeSpan,
    /// How long it is away then.
    pub offline: TimeSpan,
}

impl DemandPlan {
    fn default_weight() -> u32 {
        1
    }

    fn from_start() -> Time {
        Time(Duration::ZERO)
    }

    /// The weight at a time of the run, in millionths.
    pub fn weight_at(&self, time: Duration) -> u64 {
        let scaled = |weight: u32| u64::from(weight) * 1_000_000;
        let (Some(to), Some(by)) = (self.to, self.by) else {
            return scaled(self.weight);
        };
        let [from, by, now] = [self.from.0, by.0, time].map(Duration::as_nanos);
        if now <= from {
            return scaled(self.weight);
        }
        if now >= by {
            return scaled(to);
        }
        let [one, other] = [self.weight, to].map(|weight| u128::from(scaled(weight)));
        let (gone, left) = (u128::from(now - from), u128::from(by - now));
        let between = (one * left + other * gone) / u128::from(by - from);
        u64::try_from(between).expect("between two that fit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_goes_evenly_to_where_it_is_to_be() {
        let plan = DemandPlan {
            torrent: "old".to_owned(),
            weight: 10,
            to: Some(2),
            from: Time(Duration::from_secs(100)),
            by: Some(Time(Duration::from_secs(300))),
        };
        let at = |secs| plan.weight_at(Duration::from_secs(secs)) / 1_000_000;
        assert_eq!([0, 100, 200, 300, 900].map(at), [10, 10, 6, 2, 2]);
    }
}
