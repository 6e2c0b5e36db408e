//! Random numbers of a run, one stream for each purpose and peer.
//!
//! A stream is named by the seed, what is drawn, and for whom: another strategy, one more peer or
//! another order of events moves no other peer's numbers, so that two policies are compared under
//! the same luck (common random numbers).

use seedbank_engine::rng::Rng;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A line's rates.
    Capacity,
    /// A line's delay.
    Delay,
    /// The moment of coming.
    Arrival,
    /// Who is known at first.
    Overlay,
    /// Which pieces are there at first.
    Pieces,
    /// A session's own choices.
    Session,
    /// A key.
    Identity,
    /// How long who is done stays.
    Seeding,
    /// How long who is not done waits.
    Patience,
    /// When somebody is offline.
    Churn,
    /// Which torrents are wanted.
    Demand,
    /// How far a session is into its round as it starts.
    Phase,
    /// Whom an event meets.
    Event,
    /// The jitter and the loss of what a node sends.
    Line,
    /// Whom a tracker names.
    Tracker,
    /// How late a dial is.
    Dial,
}

/// The streams of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// Of the run with this seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream for the `index`th of the group of this name.
    pub fn draw(&self, purpose: Purpose, group: &str, index: u64) -> Rng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&[purpose.number()]);
        hasher.update(&index.to_le_bytes());
        hasher.update(group.as_bytes());
        let hash = hasher.finalize();
        let (first, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        Rng::new(u64::from_le_bytes(*first))
    }
}

impl Purpose {
    /// Part of every stream's name: never another for the same purpose.
    const fn number(self) -> u8 {
        match self {
            Self::Capacity => 0,
            Self::Delay => 1,
            Self::Arrival => 2,
            Self::Overlay => 3,
            Self::Pieces => 4,
            Self::Session => 5,
            Self::Identity => 6,
            Self::Seeding => 7,
            Self::Event => 8,
            Self::Line => 9,
            Self::Tracker => 10,
            Self::Patience => 11,
            Self::Churn => 12,
            Self::Demand => 13,
            Self::Phase => 14,
            Self::Dial => 15,
        }
    }
}

/// A number in `0..1`, of 53 bits.
pub fn unit(rng: &mut Rng) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float has")]
    let bits = (rng.next_u64() >> 11) as f64;
    bits / 9_007_199_254_740_992.0
}

/// Drawn from the exponential distribution with this mean.
pub fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    // 1 - u is never zero.
    -mean * libm::log(1.0 - unit(rng))
}

/// Drawn from the standard normal distribution (Box and Muller, Annals of Mathematical Statistics
/// 29, 1958).
pub fn normal(rng: &mut Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(rng)));
    radius * libm::cos(std::f64::consts::TAU * unit(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_and_do_not_move_each_other() {
        let streams = Streams::new(7);
        let first = |purpose, group, index| streams.draw(purpose, group, index).next_u64();
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..3 {
            for group in ["a", "b"] {
                for purpose in [Purpose::Capacity, Purpose::Arrival, Purpose::Line] {
                    assert!(seen.insert(first(purpose, group, index)));
                    assert!(!seen.insert(first(purpose, group, index)));
                }
            }
        }
        let other = Streams::new(8).draw(Purpose::Capacity, "a", 0).next_u64();
        assert!(seen.insert(other));
    }

    #[test]
    fn draws_have_their_moments() {
        let mut rng = Streams::new(1).draw(Purpose::Line, "", 0);
        let count = 100_000;
        let mean = |draws: &[f64]| draws.iter().sum::<f64>() / f64::from(count);
        let waits: Vec<f64> = (0..count).map(|_| exponential(&mut rng, 3.0)).collect();
        assert!((mean(&waits) - 3.0).abs() < 0.05, "{}", mean(&waits));
        let draws: Vec<f64> = (0..count).map(|_| normal(&mut rng)).collect();
        let squares: Vec<f64> = draws.iter().map(|draw| draw * draw).collect();
        assert!(mean(&draws).abs() < 0.02, "{}", mean(&draws));
        assert!((mean(&squares) - 1.0).abs() < 0.03, "{}", mean(&squares));
    }
}
