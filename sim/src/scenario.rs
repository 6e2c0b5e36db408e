//! Scenarios: who is there, what they have, and how fast they are.
//!
//! [`Demo`] is the scenario of `seedbankd demo`: its numbers live here once, and the daemon's demo
//! runs the same ones on real sockets.

use seedbank_ledger::{MicroCredits, Rate};

/// The demo: one seeder, one leecher that pays, some that do not.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// Bytes of the torrent.
    pub total_len: u64,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// The seeder's upload limit in bytes per second.
    pub seeder_rate: u64,
    /// The seeder's upload slots.
    pub seeder_slots: usize,
    /// Leechers that do not pay.
    pub unpaid_count: usize,
    /// Every leecher's upload limit in bytes per second.
    pub leecher_rate: u64,
    /// What everybody is granted.
    pub granted: MicroCredits,
    /// The payer's bid.
    pub bid: Rate,
    /// Most the payer may spend.
    pub boost_max: MicroCredits,
    /// Seed of every random choice.
    pub rng_seed: u64,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            total_len: 32 << 20,
            piece_len: 256 << 10,
            seeder_rate: 4 << 20,
            seeder_slots: 4,
            unpaid_count: 6,
            leecher_rate: 256 << 10,
            granted: MicroCredits::new(1_000_000),
            bid: Rate::new(3_000_000),
            boost_max: MicroCredits::new(500_000),
            rng_seed: 1,
        }
    }
}
