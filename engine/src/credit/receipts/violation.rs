//! Rules of the receipt protocol that only a broken or hostile peer breaks.

/// A rule that only a broken or hostile peer breaks. The connection means nothing to receipts from
/// then on, and the session closes it (docs/PROTOCOL.md §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A message that is not legal in this phase.
    #[error("message out of order")]
    OutOfOrder,
    /// AUTH does not prove the announced key.
    #[error("the signature does not prove the announced key")]
    BadAuth,
    /// A receipt that the payer did not sign.
    #[error("forged receipt")]
    ForgedReceipt,
    /// A receipt of ours that we did not sign.
    #[error("forged proof of a receipt of ours")]
    ForgedProof,
    /// A lock that our settlement node did not sign.
    #[error("forged lock")]
    ForgedLock,
    /// A lock between other parties, or of another network.
    #[error("lock of another pair or network")]
    ForeignLock,
    /// A receipt for another network than its channel's.
    #[error("receipt of another network")]
    ForeignReceipt,
    /// An acknowledgement with an amount.
    #[error("acknowledgement with an amount")]
    AmountAcknowledged,
    /// A bid above every rate.
    #[error("bid above the highest rate")]
    RateTooHigh,
    /// More bids than one a second.
    #[error("too many bids")]
    TooManyBids,
    /// More SYNCs than anybody asked for.
    #[error("too many syncs")]
    TooManySyncs,
    /// More messages that control the protocol than an honest node has use for.
    #[error("too many control messages")]
    TooManyControls,
    /// A SYNC with too many entries.
    #[error("too many entries in a sync")]
    TooManyEntries,
}
