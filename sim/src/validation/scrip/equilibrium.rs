//! Agents that reply as is best for them: the threshold up to which each works, by value iteration
//! over what it holds, until nobody changes its own.

use super::money::{Geometric, solve};
use crate::stats::float;

/// Nobody considers holding more.
const THRESHOLD_MAX: usize = 160;
/// From where best replies descend.
const THRESHOLD_FIRST: usize = 120;
/// What who hoards works up to.
const HOARD: usize = 3_000;

/// Agents that are alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Of all.
    pub(super) share: f64,
    /// What work costs, in units of what being served is worth.
    pub(super) cost: f64,
    /// What something is worth one unit of time later.
    pub(super) patience: f64,
    /// How likely it is to be chosen to work, beside others.
    pub(super) weight: f64,
    /// It works whatever it has.
    pub(super) hoards: bool,
}

/// Thresholds that are best replies to each other.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// Share of the requests of each kind that are satisfied.
    pub(super) satisfied: Vec<f64>,
}

impl Kind {
    pub(super) const fn new(share: f64, cost: f64, patience: f64) -> Self {
        Self {
            share,
            cost,
            patience,
            weight: 1.0,
            hoards: false,
        }
    }
}

/// The equilibrium at so much money each that best replies reach from above; `None` if nobody works
/// in the end.
pub(super) fn settle(kinds: &[Kind], mean: f64) -> Option<Settled> {
    let first = |kind: &Kind| if kind.hoards { HOARD } else { THRESHOLD_FIRST };
    let mut thresholds: Vec<usize> = kinds.iter().map(first).collect();
    loop {
        let laws = laws_of(kinds, &thresholds, mean)?;
        let sum = |of: &dyn Fn(&Kind, &Geometric) -> f64| -> f64 {
            let pairs = kinds.iter().zip(&laws);
            pairs.map(|(kind, law)| kind.share * of(kind, law)).sum()
        };
        let satisfied = sum(&|_, law| law.satisfied());
        let willing = sum(&|kind, law| kind.weight * law.willing());
        let reply = |(kind, threshold): (&Kind, &usize)| match kind.hoards {
            true => *threshold,
            false => best_reply(kind, kind.weight * satisfied / willing).min(*threshold),
        };
        let next: Vec<usize> = kinds.iter().zip(&thresholds).map(reply).collect();
        if next == thresholds {
            let satisfied = laws.iter().map(Geometric::satisfied).collect();
            return Some(Settled { satisfied });
        }
        thresholds = next;
        let works = |(kind, threshold): (&Kind, &usize)| kind.hoards || *threshold > 0;
        if !kinds.iter().zip(&thresholds).all(works) {
            return None;
        }
    }
}

/// Money each below which somebody works, and above which nobody does, so close together.
pub(super) fn crash_between(kinds: &[Kind], apart: f64) -> [f64; 2] {
    let (mut below, mut above) = (0.3, 40.0);
    while above - below > apart {
        let middle = f64::midpoint(below, above);
        match settle(kinds, middle) {
            Some(_) => below = middle,
            None => above = middle,
        }
    }
    [below, above]
}

/// How money spreads if everybody keeps to its threshold; `None` if there is more than they hold.
fn laws_of(kinds: &[Kind], thresholds: &[usize], mean: f64) -> Option<Vec<Geometric>> {
    let pairs = || kinds.iter().zip(thresholds);
    let most: f64 = pairs()
        .map(|(kind, threshold)| kind.share * float(*threshold))
        .sum();
    if most <= mean {
        return None;
    }
    let at = |ratio: f64| {
        let law = |(kind, threshold): (&Kind, &usize)| {
            Geometric::with_ratio(*threshold, kind.weight * ratio)
        };
        pairs().map(law).collect::<Vec<Geometric>>()
    };
    let is_low = |ratio| {
        let laws = at(ratio);
        let held = kinds
            .iter()
            .zip(&laws)
            .map(|(kind, law)| kind.share * law.mean());
        held.sum::<f64>() < mean
    };
    Some(at(solve(is_low)))
}

/// The threshold that is best for an agent that is asked to work at this rate and asks once a unit
/// of time: policy iteration on what it holds.
fn best_reply(kind: &Kind, work_rate: f64) -> usize {
    let discount = -libm::log(kind.patience);
    let mut works = vec![true; THRESHOLD_MAX];
    for _ in 0..100 {
        let values = values_of(kind, work_rate, discount, &works);
        let better: Vec<bool> = values
            .windows(2)
            .map(|pair| pair[1] - pair[0] >= kind.cost)
            .collect();
        if better == works {
            break;
        }
        works = better;
    }
    works
        .iter()
        .position(|works| !works)
        .unwrap_or(THRESHOLD_MAX)
}

/// What holding 0, 1, … is worth to who works where it says: one linear equation each, between
/// neighbours, solved from below (Thomas).
fn values_of(kind: &Kind, work_rate: f64, discount: f64, works: &[bool]) -> Vec<f64> {
    let count = works.len() + 1;
    let mut upper = vec![0.0; count];
    let mut right = vec![0.0; count];
    for held in 0..count {
        let up = match works.get(held) {
            Some(true) => work_rate,
            Some(false) | None => 0.0,
        };
        let down = if held > 0 { 1.0 } else { 0.0 };
        // (discount + up + down) V(held) − up V(held + 1) − down V(held − 1) = down − up · cost
        let mut diagonal = discount + up + down;
        let mut constant = down - up * kind.cost;
        if held > 0 {
            diagonal -= down * upper[held - 1];
            constant += down * right[held - 1];
        }
        upper[held] = up / diagonal;
        right[held] = constant / diagonal;
    }
    for held in (0..count - 1).rev() {
        right[held] += upper[held] * right[held + 1];
    }
    right
}
