//! What there is to have: how much of what a peer has others lack, without knowing which pieces.
//!
//! Who leeches holds a random part of what seeds have sent out so far. Amounts are fixed-point: the
//! longest piece of a run is 2³² units, so that a run in which every capacity, length and piece is
//! twice as long is the same to the last bit.

use seedbank_engine::rng::Rng;

use crate::streams::exponential;

/// Bits of the longest piece.
const PIECE_BITS: u32 = 32;
/// Bits of a unit that a [`Face`] leaves out: it counts 1024ths of a piece.
const FACE_BITS: u32 = 22;
/// Draws that are kept: which of them holds for a pair is fixed.
const DRAWS: usize = 256;

/// How bytes become units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitScale {
    shift: u32,
}

impl UnitScale {
    /// For a run whose longest piece has this length, a power of two.
    pub(super) fn new(piece_len_max: u64) -> Self {
        Self {
            shift: PIECE_BITS - piece_len_max.ilog2(),
        }
    }

    /// Units of so many bytes.
    pub(super) fn units(self, bytes: u64) -> u64 {
        bytes << self.shift
    }

    /// Bytes of so many units, rounded down.
    pub(super) fn bytes(self, units: u64) -> u64 {
        units >> self.shift
    }

    /// Binary digits behind the point.
    pub(super) fn shift(self) -> u32 {
        self.shift
    }
}

/// An amount of content in 1024ths of the longest piece, as others see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Face(u32);

impl Face {
    /// It has everything.
    pub(super) const SEED: Self = Self(u32::MAX);
    /// It is not there, or has nothing.
    pub(super) const NONE: Self = Self(0);

    /// So many units, rounded down.
    pub(super) fn of(units: u64) -> Self {
        let most = u32::MAX - 1;
        Self(u32::try_from(units >> FACE_BITS).map_or(most, |it| it.min(most)))
    }

    /// Whether it has everything.
    pub(super) fn is_seed(self) -> bool {
        self == Self::SEED
    }
}

/// Units that somebody can give who has `content`, of which pieces from `sources` are under way:
/// of each half a piece on average, and while that is most of it less than a piece is whole.
pub(super) fn whole(content: u64, sources: u64, piece: u64) -> u64 {
    let under_way = sources.saturating_mul(piece);
    if content >= under_way {
        return content - under_way / 2;
    }
    let square = u128::from(content) * u128::from(content);
    let part = square / (2 * u128::from(under_way));
    u64::try_from(part).expect("less than the content")
}

/// Whether somebody lacks something of another's, with the same luck for a pair all along.
#[derive(Debug)]
pub(super) struct Interest {
    /// Exponentially distributed with mean 1, in 1024ths.
    draws: Vec<u64>,
}

impl Interest {
    pub(super) fn new(rng: &mut Rng) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and below 2^16"
        )]
        let draw = |_| (exponential(rng, 1.0) * 1024.0) as u64;
        Self {
            draws: (0..DRAWS).map(draw).collect(),
        }
    }

    /// Whether who has `have` lacks something that another shows to give, where so much is out:
    /// the number of such pieces is nearly Poisson distributed, and this is whether it is not zero.
    /// `pair` names the two.
    pub(super) fn holds(&self, have: Face, gives: Face, out: Face, pair: u64) -> bool {
        if gives == Face::NONE || have.is_seed() {
            return false;
        }
        if gives > have {
            return true;
        }
        let lacked = u64::from(out.0.saturating_sub(have.0)) * u64::from(gives.0);
        let expected = lacked / u64::from(out.0.max(1));
        let place = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        expected > self.draws[usize::try_from(place).expect("8 bits")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_cannot_be_given() {
        let piece = 1 << 20;
        assert_eq!(whole(0, 8, piece), 0);
        assert_eq!(whole(piece, 1, piece), piece / 2);
        assert_eq!(whole(4 * piece, 8, piece), piece);
        assert_eq!(whole(100 * piece, 8, piece), 96 * piece);
        assert_eq!(whole(5 * piece, 0, piece), 5 * piece);
    }

    #[test]
    fn who_has_all_that_is_out_wants_a_seed_and_nobody_else() {
        let interest = Interest::new(&mut Rng::new(1));
        let piece = 1_u64 << 32;
        let [none, some, half, most, all] =
            [0, 10, 50, 98, 100].map(|count| Face::of(count * piece));
        for pair in 0..1_000 {
            assert!(!interest.holds(all, half, all, pair));
            assert!(interest.holds(all, Face::SEED, all, pair));
            assert!(interest.holds(some, half, all, pair));
            assert!(!interest.holds(none, Face::NONE, all, pair));
        }
        // Two pieces are lacked, of which it has each with chance one half.
        let wants = |pair: &u64| interest.holds(most, half, all, *pair);
        let count = (0..10_000).filter(wants).count();
        assert!((5_500..7_100).contains(&count), "{count}: 1 - 1/e of 10000");
    }
}
