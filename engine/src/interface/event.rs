//! What happened, for users and logs; nothing depends on these.

use std::net::SocketAddr;

use seedbank_ledger::Instant;

pub use crate::credit::event::CreditEvent;
pub use crate::discovery::failures::FailureReason;
use crate::transfer::choker::Reason;
use crate::units::{PeerIndex, PieceIndex, TorrentId};

/// A thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A choke decision was applied.
    Choke(ChokeDecision),
    /// Every wanted piece is verified.
    TorrentCompleted(TorrentId),
    /// A torrent stopped with an error.
    TorrentFailed {
        /// Which.
        torrent_id: TorrentId,
        /// Why, for people.
        reason: String,
    },
    /// A piece did not match its hash.
    PieceFailed {
        /// Which torrent.
        torrent_id: TorrentId,
        /// Which piece.
        piece: PieceIndex,
    },
    /// Something about credit.
    Credit(CreditEvent),
    /// A peer broke a rule.
    PeerMisbehaved {
        /// Who.
        peer: PeerIndex,
        /// What it did.
        what: String,
    },
    /// A peer that we dialled could not be reached, or its handshake was of no use. Told again only
    /// for another reason, or once it was reached.
    PeerUnreached {
        /// For which torrent.
        torrent_id: TorrentId,
        /// Where.
        addr: SocketAddr,
        /// Why.
        reason: FailureReason,
    },
    /// A tracker could not be reached or refused.
    TrackerFailed {
        /// Torrent.
        torrent_id: TorrentId,
        /// URL.
        tracker: String,
        /// Why.
        reason: String,
    },
}

/// One recorded choke decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChokeDecision {
    /// When.
    pub at: Instant,
    /// Torrent.
    pub torrent_id: TorrentId,
    /// About whom.
    pub peer: PeerIndex,
    /// Unchoked, or choked.
    pub unchoked: bool,
    /// Why.
    pub reason: Reason,
}
