//! A small seeded generator: the only source of randomness in the engine, so that a run replays.
//!
//! xoshiro256++ (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", ACM TOMS
//! 47, 2021), its state filled by `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014) as its authors
//! advise. Never for secrets: a few outputs tell its whole state.

/// A deterministic generator. The same seed gives the same numbers on every machine, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// From a seed; every seed, zero included, is as good as any other.
    pub fn new(rng_seed: u64) -> Self {
        let mut filler = rng_seed;
        // SplitMix64 visits each output once, so the state cannot become all zeros.
        let state = std::array::from_fn(|_| split_mix(&mut filler));
        Self { state }
    }

    /// A generator of its own for one part, so that draws in one part do not shift another's.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number in `0..bound`, each equally likely; 0 if `bound` is 0.
    ///
    /// Lemire's method (ACM TOMACS 29, 2019): a second draw is needed with chance `bound / 2⁶⁴`.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let rejected_below = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            let low = u64::try_from(product & u128::from(u64::MAX)).expect("masked to 64 bits");
            if low >= rejected_below {
                return u64::try_from(product >> 64).expect("the high half of 128 bits");
            }
        }
    }

    /// An index into something of `len` items, each equally likely; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        let bound = u64::try_from(len).expect("usize is at most 64 bits wide");
        usize::try_from(self.below(bound)).expect("below a usize")
    }

    /// Whether an event of chance `times` in `of` happens; never if `of` is 0.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times && of > 0
    }

    /// Puts the items into an order of which each is equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Fills with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_equals_the_published_algorithm() {
        // First outputs of the authors' reference programs for these states.
        let mut filler = 1_234_567;
        assert_eq!(split_mix(&mut filler), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut filler), 3_203_168_211_198_807_973);
        let mut rng = Rng {
            state: [1, 2, 3, 4],
        };
        assert_eq!(rng.next_u64(), 41_943_041);
        assert_eq!(rng.next_u64(), 58_720_359);
        assert_eq!(rng.next_u64(), 3_588_806_011_781_223);
    }

    #[test]
    fn numbers_below_a_bound_are_even_and_inside() {
        let mut rng = Rng::new(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[rng.index(7)] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        assert!((0..1_000).all(|_| rng.below(u64::MAX) < u64::MAX));
    }

    #[test]
    fn shuffle_keeps_the_items_and_reaches_every_order() {
        let mut rng = Rng::new(2);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let mut items = [1, 2, 3];
            rng.shuffle(&mut items);
            *seen.entry(items).or_insert(0_u32) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|count| (850..1_150).contains(count)));
    }

    #[test]
    fn equal_seeds_give_equal_streams_and_forks_differ() {
        let mut one = Rng::new(9);
        let mut other = Rng::new(9);
        assert_eq!(one.next_u64(), other.next_u64());
        let mut fork = one.fork();
        assert_eq!(fork, other.fork());
        assert_ne!(fork.next_u64(), one.next_u64());
        let mut bytes = [0_u8; 11];
        one.fill(&mut bytes);
        assert_ne!(bytes, [0; 11]);
        assert!(!one.chance(5, 0));
        assert!(one.chance(5, 5));
    }
}
