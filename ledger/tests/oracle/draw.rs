//! Where the schedules come from: one number makes a whole schedule, and a failure names it.

use seedbank_ledger::{Identity, NodeId};

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(rng_seed: u64) -> Self {
        Self(rng_seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    /// Yes, `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let len = u64::try_from(choices.len()).unwrap();
        choices[usize::try_from(self.below(len)).unwrap()]
    }
}

/// Parties that nobody can be: their keys have no secret.
pub(crate) const NOBODIES: std::ops::Range<u8> = 240..244;

/// Party number `party`.
pub(crate) fn key(party: u8) -> Identity {
    let mut secret = [0xa0; 32];
    secret[31] = party;
    Identity::from_secret(secret)
}

pub(crate) fn id(party: u8) -> NodeId {
    if !NOBODIES.contains(&party) {
        return key(party).id();
    }
    // y of the point: 0 and 1 are of small order, 2 is none, p + 3 is a good one misspelt.
    let (y, is_past_prime) =
        [(0, false), (1, false), (2, false), (3, true)][usize::from(party - NOBODIES.start)];
    let mut bytes = [if is_past_prime { 0xff } else { 0 }; 32];
    bytes[0] = if is_past_prime { 0xed + y } else { y };
    bytes[31] = if is_past_prime { 0x7f } else { 0 };
    NodeId::from_bytes(bytes)
}
