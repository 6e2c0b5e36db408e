//! What happened, for users and logs; nothing depends on these.

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::{Bytes, Instant, MicroCredits, NodeId};

use crate::transfer::choker::Reason;
use crate::units::{InfoHash, PeerIndex, PieceIndex};

/// A thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A choke decision was applied.
    Choke(ChokeDecision),
    /// Every wanted piece is verified.
    TorrentCompleted(InfoHash),
    /// A torrent stopped with an error.
    TorrentFailed {
        /// Which.
        info_hash: InfoHash,
        /// Why, for people.
        reason: String,
    },
    /// A piece did not match its hash.
    PieceFailed {
        /// Which torrent.
        info_hash: InfoHash,
        /// Which piece.
        piece: PieceIndex,
    },
    /// A boost reached a payee with a lock.
    BoostFunded {
        /// Which boost.
        boost: u64,
        /// Whom it pays.
        payee: NodeId,
        /// How much is reserved there now.
        amount: MicroCredits,
    },
    /// A boost ended.
    BoostEnded {
        /// Which boost.
        boost: u64,
        /// Why.
        why: &'static str,
        /// What it spent.
        spent: MicroCredits,
    },
    /// A payer stopped paying; what he took was written off.
    WrittenOff {
        /// Who.
        peer: NodeId,
        /// How much.
        bytes: Bytes,
    },
    /// A peer broke a rule.
    PeerMisbehaved {
        /// Who.
        peer: PeerIndex,
        /// What it did.
        what: String,
    },
    /// A tracker could not be reached or refused.
    TrackerFailed {
        /// Torrent.
        info_hash: InfoHash,
        /// URL.
        tracker: String,
        /// Why.
        reason: String,
    },
    /// Two signatures of one signer contradict each other; kept as evidence, of local effect only.
    Conflict {
        /// Whose.
        signer: NodeId,
        /// What contradicts.
        what: String,
    },
    /// The settlement node refused an order or a claim.
    SettlementRefused {
        /// What was asked, for people.
        what: String,
        /// Why.
        refusal: Refusal,
    },
    /// The wall clock left, or came back within, the 10 minutes around settlement time outside
    /// which no locks are taken.
    ClockSkewed {
        /// Settlement time minus ours, in seconds.
        secs: i64,
        /// Whether it is within again.
        is_sound: bool,
    },
}

/// One recorded choke decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChokeDecision {
    /// When.
    pub at: Instant,
    /// Torrent.
    pub info_hash: InfoHash,
    /// About whom.
    pub peer: PeerIndex,
    /// Unchoked, or choked.
    pub unchoked: bool,
    /// Why.
    pub reason: Reason,
}
