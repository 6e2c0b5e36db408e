//! Random steps that are the same every time.

use proptest::test_runner::{Config, RngSeed};

/// A `share` of the usual number of runs, from `seed`, unless `PROPTEST_RNG_SEED` and
/// `PROPTEST_CASES` say otherwise.
pub(super) fn seeded(seed: u64, share: u32) -> Config {
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(seed),
        RngSeed::Fixed(seed) => RngSeed::Fixed(seed),
    };
    Config {
        cases: config.cases / share,
        rng_seed,
        failure_persistence: None,
        ..config
    }
}
