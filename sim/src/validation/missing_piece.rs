//! A swarm whose members all lack one piece that a slow seed has: it grows without end if more come
//! than the seed can serve (row 6; Hajek and Zhu, 2010; Zhu and Hajek, 2011).

mod block;

use seedbank_engine::rng::Rng;

use super::row::ran;
use super::{RowForm, Tolerance, ValidationRow};
use crate::stats::{float, whole};
use crate::streams::unit;

/// Pieces.
const PIECES: u32 = 8;
/// Members that lack the one piece at first.
const CLUB: usize = 300;

/// Peers meet at random, and give each other a random piece that the other lacks.
#[derive(Clone, Copy, Debug)]
struct RandomContact {
    /// Arrivals per second.
    arrivals: f64,
    /// Pieces per second of the seed; every peer contacts one a second.
    seed: f64,
    /// Leaving of who has everything, per second; `None`: at once.
    leaving: Option<f64>,
}

/// Row 6.
pub(super) fn growth(form: RowForm) -> Vec<ValidationRow> {
    let (lasts, runs) = match form {
        RowForm::Short => (800.0, 3),
        RowForm::Full => (3_000.0, 5),
    };
    let growth = |arrivals, seed, leaving| {
        let contact = RandomContact {
            arrivals,
            seed,
            leaving,
        };
        let grown = (0..runs).map(|run| contact.play(lasts, run) - float(CLUB));
        grown.sum::<f64>() / whole(runs) / lasts
    };
    let percent = if form == RowForm::Short { 15.0 } else { 5.0 };
    let unstable = ValidationRow::theory("6a", "growth of an unstable swarm (peers/s)")
        .pair(0.5, growth(1.5, 1.0, None))
        .pair(1.0, growth(2.0, 1.0, None))
        .pair(0.75, growth(1.5, 0.5, Some(3.0)))
        .within(Tolerance::Percent(percent));
    let drained = -float(CLUB) / lasts;
    let stable = ValidationRow::theory("6b", "a stable one drains: 300 peers over the time")
        .pair(drained, growth(0.6, 1.0, None))
        .pair(drained, growth(1.5, 1.2, Some(3.0)))
        .pair(drained, growth(1.5, 0.2, Some(0.9)))
        .within(Tolerance::Percent(30.0));
    let (expected, measured, counts) = block::growth(form);
    let real = ValidationRow::production("6c", "real sessions: growth (peers/s)", ran(&counts));
    let pairs = expected.into_iter().zip(measured);
    let real = pairs.fold(real, |row, (expected, measured)| {
        row.pair(expected, measured)
    });
    vec![unstable, stable, real.within(Tolerance::Percent(25.0))]
}

impl RandomContact {
    /// How many are there after so many seconds.
    fn play(&self, lasts: f64, run: u64) -> f64 {
        let mut rng = Rng::new(6 + run);
        let full = (1_u32 << PIECES) - 1;
        let mut peers = vec![full & !1; CLUB];
        let (mut seeds, mut time) = (0_usize, 0.0);
        loop {
            let [leechers, there] = [float(peers.len()), float(seeds)];
            let leaving = self.leaving.map_or(0.0, |rate| rate * there);
            let rate = self.arrivals + self.seed + leechers + there + leaving;
            time += crate::streams::exponential(&mut rng, 1.0 / rate);
            if time >= lasts {
                return leechers;
            }
            let mut drawn = unit(&mut rng) * rate - self.arrivals;
            if drawn < 0.0 {
                peers.push(0);
                continue;
            }
            drawn -= self.seed + there;
            let giver = (drawn >= 0.0 && !peers.is_empty()).then(|| rng.index(peers.len()));
            if drawn >= leechers {
                seeds -= usize::from(seeds > 0);
                continue;
            }
            if peers.is_empty() {
                continue;
            }
            let taker = rng.index(peers.len());
            let has = giver.map_or(full, |giver| peers[giver]);
            let useful = has & !peers[taker];
            if useful == 0 {
                continue;
            }
            let nth = rng.below(u64::from(useful.count_ones()));
            let mut bits = (0..PIECES).filter(|bit| useful >> bit & 1 == 1);
            let bit = bits.nth(usize::try_from(nth).unwrap_or(0)).unwrap_or(0);
            peers[taker] |= 1 << bit;
            if peers[taker] == full {
                let _ = peers.swap_remove(taker);
                seeds += usize::from(self.leaving.is_some());
            }
        }
    }
}
