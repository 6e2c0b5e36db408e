//! What a peer of 2006 gives and gets, by whom its share of an uplink is enough for (row 9; Piatek
//! et al., "Do incentives build robustness in BitTorrent?", NSDI 2007, appendix).

use super::{RowForm, Tolerance, ValidationRow};
use crate::capacity::piatek;
use crate::stats::float;

/// Optimistic slots.
const OPTIMISTIC: f64 = 2.0;
/// Kilobytes per second sent, and those received by the model.
const DOWNLOADS: [(f64, f64); 7] = [
    (50.0, 75.8),
    (100.0, 128.0),
    (200.0, 184.0),
    (300.0, 239.0),
    (500.0, 313.0),
    (1_000.0, 442.0),
    (5_000.0, 994.0),
];
/// Kilobytes per second to one peer, and the chance that it reciprocates.
const CHANCES: [(f64, f64); 3] = [(10.0, 0.556), (14.0, 0.984), (15.0, 0.992)];

/// Peers whose uplinks are those of 2006.
#[derive(Clone, Debug)]
struct Reciprocators {
    rates: Vec<f64>,
    /// What each gives to one peer, and the same in order.
    splits: Vec<f64>,
    sorted: Vec<f64>,
}

/// Row 9.
pub(super) fn model(form: RowForm) -> Vec<ValidationRow> {
    let population = Reciprocators::new(if form == RowForm::Short { 1_000 } else { 4_000 });
    let three = Tolerance::Percent(3.0);
    let row = |id, what| ValidationRow::theory(id, what).within(three);
    let chances = CHANCES.iter().fold(
        row("9a", "chance that 10, 14, 15 kB/s are reciprocated"),
        |row, (split, expected)| row.pair(*expected, population.reciprocated(*split)),
    );
    let downloads = DOWNLOADS.iter().fold(
        row("9b", "download for 50 … 5,000 kB/s up (kB/s)"),
        |row, (rate, expected)| row.pair(*expected, population.download(*rate, active(*rate))),
    );
    let sizes = (2..80_u32).map(|size| (size, population.download(300.0, f64::from(size))));
    let best = sizes.max_by(|(_, one), (_, other)| one.total_cmp(other));
    let (size, rate) = best.unwrap_or_default();
    let best = row("9c", "best active set of 300 kB/s: peers, download (kB/s)");
    let best = best.pair(24.0, f64::from(size)).pair(444.0, rate);
    vec![chances, downloads, best.within(Tolerance::Percent(5.0))]
}

/// Slots that are not optimistic.
fn active(rate: f64) -> f64 {
    (libm::floor(libm::sqrt(0.6 * rate)) - OPTIMISTIC).max(1.0)
}

impl Reciprocators {
    fn new(count: usize) -> Self {
        let rates = (0..count).map(|place| piatek((float(place) + 0.5) / float(count)));
        let rates: Vec<f64> = rates.collect();
        let split = |rate: &f64| rate / (active(*rate) + OPTIMISTIC);
        let splits: Vec<f64> = rates.iter().map(split).collect();
        let mut sorted = splits.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Self {
            rates,
            splits,
            sorted,
        }
    }

    /// Chance that each of them reciprocates so much.
    fn chances(&self, split: f64) -> impl Iterator<Item = f64> {
        let below = self.sorted.partition_point(|other| *other <= split);
        let below = float(below) / float(self.sorted.len());
        let chance = move |rate: &f64| 1.0 - libm::pow(1.0 - below, active(*rate));
        self.rates.iter().map(chance)
    }

    fn reciprocated(&self, split: f64) -> f64 {
        self.chances(split).sum::<f64>() / float(self.rates.len())
    }

    /// What comes back to who gives this rate to so many, beside the optimistic ones.
    fn download(&self, rate: f64, active: f64) -> f64 {
        let chances = self.chances(rate / (active + OPTIMISTIC));
        let back: f64 = chances
            .zip(&self.splits)
            .map(|(chance, split)| chance * split)
            .sum();
        let luck: f64 = self.splits.iter().sum();
        (active * back + OPTIMISTIC * luck) / float(self.rates.len())
    }
}
