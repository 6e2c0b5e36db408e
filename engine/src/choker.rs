//! Who is unchoked: a pure function from candidates to slots (docs/ARCHITECTURE.md, BEP 3).

/// Why a peer is unchoked or choked: shown to users for every decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Unchoked: pays, and its bid is among the highest.
    Paid,
    /// Unchoked: on the owner's list of friends.
    Friend,
    /// Unchoked: gives us data at one of the best rates.
    Reciprocal,
    /// Unchoked: has acknowledged more service to us than we to it.
    Standing,
    /// Unchoked: seeding, waited longest.
    Waited,
    /// Unchoked: optimistic slot.
    Optimistic,
    /// Unchoked: a slot was free.
    FreeSlot,
    /// Stays unchoked: unchoked less than 10 s ago.
    Dwell,
    /// Choked: every slot went to somebody ranked higher.
    Outranked,
    /// Choked: not interested in anything we have.
    NotInterested,
    /// Choked: has sent nothing for too long although we asked (BEP 3).
    Snubbed,
    /// Choked: the torrent is stopped.
    TorrentStopped,
    /// Choked: is a seed itself.
    Seed,
}
