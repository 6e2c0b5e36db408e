//! A peer as the choker sees it.

use seedbank_ledger::{Instant, NodeId, Rate};

use super::{Reason, SlotPolicy};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::units::PeerIndex;

/// A peer as the choker sees it: facts of ours, no claim of its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who; also the order in which we met.
    pub peer: PeerIndex,
    /// Its torrent is running here.
    pub torrent_active: bool,
    /// We have every piece of its torrent.
    pub seeding: bool,
    /// It has every piece of its torrent.
    pub is_seed: bool,
    /// Since when it has been interested; `None` if it is not.
    pub interested_since: Option<Instant>,
    /// It sends nothing although we asked.
    pub snubbed: bool,
    /// Payload bytes per second received from it, by our meter.
    pub received_rate: u64,
    /// Payload bytes per second sent to it, by our meter.
    pub sent_rate: u64,
    /// Bytes we acknowledged to its key minus bytes it acknowledged to us.
    pub standing: i64,
    /// Its key, once proven.
    pub key: Option<NodeId>,
    /// Its bid in force.
    pub bid: Rate,
    /// On the owner's list.
    pub friend: bool,
    /// May be served as paid: has a lock with cover and is not backing off.
    pub pays: bool,
    /// Its key has paid for one piece.
    pub has_paid: bool,
    /// Bytes that left for it as paid in the last 10 s.
    pub paid_recently: u64,
    /// Bytes that its key has paid for, ever.
    pub paid_bytes: u64,
    /// Its key has taken what it may and has not paid since.
    pub is_late: bool,
    /// The exposure allowed to its key without what a long history adds, in bytes.
    pub window: u64,
    /// Bytes that its key was served as paid and has not paid for.
    pub owes: u64,
    /// Its key owes no more than half of the exposure allowed.
    pub is_relaxed: bool,
    /// Address prefix whose peers take turns as one; `None` for loopback and private addresses.
    pub group: Option<u64>,
}

impl Candidate {
    /// A peer that has just connected: choked, not interested, owed nothing.
    pub const fn new(peer: PeerIndex) -> Self {
        Self {
            peer,
            torrent_active: true,
            seeding: false,
            is_seed: false,
            interested_since: None,
            snubbed: false,
            received_rate: 0,
            sent_rate: 0,
            standing: 0,
            key: None,
            bid: Rate::ZERO,
            friend: false,
            pays: false,
            has_paid: false,
            paid_recently: 0,
            paid_bytes: 0,
            is_late: false,
            window: 0,
            owes: 0,
            is_relaxed: true,
            group: None,
        }
    }

    /// Whether it may be in the paid class under this policy.
    pub fn is_payer(&self, policy: &SlotPolicy) -> bool {
        #[cfg(feature = "mutants")]
        if mutants::has(Mutant::AskIsMost) {
            return self.pays && !self.bid.is_zero() && self.bid <= policy.rate_min;
        }
        self.friend || (self.pays && !self.bid.is_zero() && self.bid >= policy.rate_min)
    }

    /// Why it may hold no slot at all; `None` if it may.
    pub fn refusal(&self) -> Option<Reason> {
        if !self.torrent_active {
            Some(Reason::TorrentStopped)
        } else if self.is_seed {
            Some(Reason::Seed)
        } else if self.interested_since.is_none() {
            Some(Reason::NotInterested)
        } else {
            None
        }
    }

    /// Why it has a paid seat, if it has one.
    pub(super) const fn paid_reason(&self) -> Reason {
        match self.friend {
            true => Reason::Friend,
            false => Reason::Paid,
        }
    }
}
