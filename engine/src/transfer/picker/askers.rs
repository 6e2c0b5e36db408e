//! Whom a block may be asked of once more: who sends is worth waiting for, who is silent is not.
//!
//! A request to a peer that sends nothing must not keep the block from one that does. Copies are
//! therefore bounded among those that sent something lately; whoever does not is bounded by all.

use std::collections::BTreeMap;

use seedbank_ledger::{Duration, Instant};

use super::{COPIES_MAX, Source};
use crate::units::PeerIndex;

/// A peer that brought nothing needed for so long is silent, as is one that never did.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(2);

/// Who asks, and by which rule a block that others are asked for is asked of it too.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyRule<'a> {
    peers: &'a BTreeMap<PeerIndex, Source>,
    peer: PeerIndex,
    now: Instant,
    /// It sent something lately.
    sends: bool,
}

impl<'a> CopyRule<'a> {
    pub(super) fn new(
        peers: &'a BTreeMap<PeerIndex, Source>,
        peer: PeerIndex,
        now: Instant,
    ) -> Self {
        let mut rule = Self {
            peers,
            peer,
            now,
            sends: false,
        };
        rule.sends = rule.sends(peer);
        rule
    }

    /// Whether the block is as good as missing: its askers are all silent, and the peer is not.
    /// Between two that are paid it never is: who was asked first may be as honest, and only new.
    pub(super) fn is_abandoned(&self, askers: &[PeerIndex]) -> bool {
        let is_paid = |peer| self.peers.get(&peer).is_some_and(|source| source.paid);
        let is_paid_twice = || is_paid(self.peer) && askers.iter().any(|asker| is_paid(*asker));
        self.sends && !askers.iter().any(|asker| self.sends(*asker)) && !is_paid_twice()
    }

    /// Whether fewer than `copies_max` are asked for the block, of those that count.
    pub(super) fn is_below(&self, askers: &[PeerIndex], copies_max: usize) -> bool {
        assert!(copies_max <= COPIES_MAX, "copies have a bound");
        let counts = |asker: &&PeerIndex| !self.sends || self.sends(**asker);
        askers.iter().filter(counts).count() < copies_max
    }

    fn sends(&self, peer: PeerIndex) -> bool {
        let brought_at = self.peers.get(&peer).and_then(|source| source.brought_at);
        brought_at.is_some_and(|at| self.now.since(at) < SILENT_AFTER)
    }
}
