//! A link that is shared in proportion to bids, among bidders who know what their bid does to the
//! price (row 12; Johari and Tsitsiklis, Mathematics of Operations Research 29, 2004).

use seedbank_engine::rng::Rng;

use super::{RowForm, Tolerance, ValidationRow};
use crate::stats::float;
use crate::streams::unit;

/// What a bidder's share is worth to it: `scale · share^power`.
#[derive(Clone, Copy, Debug)]
struct Utility {
    scale: f64,
    power: f64,
}

/// Row 12.
pub(super) fn price_of_anarchy(form: RowForm) -> Vec<ValidationRow> {
    let linear = |scale| Utility { scale, power: 1.0 };
    let worst = |others: usize| {
        let mut all = vec![linear(0.5); others + 1];
        all[0] = linear(1.0);
        efficiency(&all)
    };
    let limit = ValidationRow::theory("12a", "efficiency: one of value x, 200 of x/2")
        .pair(0.75, worst(200))
        .within(Tolerance::Absolute(0.01));
    let mut rng = Rng::new(12);
    let cases = if form == RowForm::Short { 30 } else { 300 };
    let mut least = f64::INFINITY;
    for _ in 0..cases {
        let count = 2 + rng.index(20);
        let drawn = (0..count).map(|_| Utility {
            scale: 0.05 + unit(&mut rng),
            power: 0.1 + 0.9 * unit(&mut rng),
        });
        least = least.min(efficiency(&drawn.collect::<Vec<_>>()));
    }
    let bound = ValidationRow::theory("12b", "least efficiency of random concave utilities")
        .pair(0.75, least)
        .within(Tolerance::AtLeast(4.0 / 3.0));
    let [bid, best] = best_reply();
    let reply = ValidationRow::theory(
        "12c",
        "a bid in equilibrium, and the best reply to the rest",
    )
    .pair(bid, best)
    .within(Tolerance::Percent(1.0));
    vec![limit, bound, reply]
}

/// What all shares are worth in equilibrium, of the most that they could be.
fn efficiency(all: &[Utility]) -> f64 {
    let worth = |shares: &[f64]| -> f64 {
        let pairs = all.iter().zip(shares);
        pairs.map(|(one, share)| one.worth(*share)).sum()
    };
    worth(&shares(all, true)) / worth(&shares(all, false))
}

/// Shares at the price at which they add up to the link: where its marginal value meets the price,
/// or, of who `anticipates`, that value times what the others have.
fn shares(all: &[Utility], anticipates: bool) -> Vec<f64> {
    let at = |price: f64| -> Vec<f64> {
        all.iter()
            .map(|one| one.share(price, anticipates))
            .collect()
    };
    let (mut low, mut high) = (1e-6_f64, 1e3_f64);
    for _ in 0..60 {
        let price = libm::sqrt(low * high);
        match at(price).iter().sum::<f64>() > 1.0 {
            true => low = price,
            false => high = price,
        }
    }
    // Where marginal values do not fall, the price alone does not say who has how much.
    let mut shares = at(high);
    let sum: f64 = shares.iter().sum();
    let eager = at(low);
    let rest: f64 = eager
        .iter()
        .zip(&shares)
        .map(|(eager, share)| eager - share)
        .sum();
    if rest > 1e-6 {
        let part = (1.0 - sum) / rest;
        for (share, eager) in shares.iter_mut().zip(&eager) {
            *share += part * (eager - *share);
        }
    }
    shares
}

impl Utility {
    fn worth(&self, share: f64) -> f64 {
        self.scale * libm::pow(share, self.power)
    }

    fn share(&self, price: f64, anticipates: bool) -> f64 {
        let value = |share: f64| {
            let marginal = self.scale * self.power * libm::pow(share, self.power - 1.0);
            if anticipates {
                marginal * (1.0 - share)
            } else {
                marginal
            }
        };
        if value(1e-12) <= price {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            match value(middle) > price {
                true => low = middle,
                false => high = middle,
            }
        }
        high
    }
}

/// What the first of 11 bids in equilibrium, and which of many bids is best for it.
fn best_reply() -> [f64; 2] {
    let mut all = vec![
        Utility {
            scale: 0.5,
            power: 1.0
        };
        11
    ];
    all[0].scale = 1.0;
    let shares = shares(&all, true);
    // A bid is a share of the price, and the price is the same for all.
    let price = all[1].scale * (1.0 - shares[1]);
    let [bid, others] = [price * shares[0], price * (1.0 - shares[0])];
    let gain = |bid: f64| all[0].worth(bid / (bid + others)) - bid;
    let bids = (1..2_000_usize).map(|part| float(part) / 1_000.0 * bid);
    let best = bids.max_by(|one, other| gain(*one).total_cmp(&gain(*other)));
    [bid, best.unwrap_or(0.0)]
}
