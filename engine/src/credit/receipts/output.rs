//! What the exchange asks of the session, in order.

use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, MicroCredits, NodeId};

use crate::credit::receipts::class::Class;
use crate::units::{InfoHash, PeerIndex};
use crate::wire::receipt::ReceiptMessage;

/// One thing to do. The session takes these out after every call and before it emits anything of
/// its own, so that a BID precedes the requests made under it, a QUOTE the blocks served under it,
/// and rows the messages that depend on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeOutput {
    /// Send under the id that the peer advertised.
    Send {
        /// To whom.
        peer: PeerIndex,
        /// What.
        message: ReceiptMessage,
    },
    /// Write rows before anything after this output happens.
    Tally(Vec<TallyRow>),
    /// Append an entry to the node ledger.
    Append(NodeCommand),
    /// Ask the settlement node for a lock; answered by `lock_status`. Asked once, to be repeated by
    /// the session until it is answered.
    AskLock(LockId),
    /// Submit a claim; answered by `lock_status`.
    Claim(SignedClaim),
    /// Sign and submit the order to close this lock, of which we are the payee.
    CloseLock(LockId),
    /// So much was signed on behalf of a torrent.
    Spent {
        /// To whom.
        payee: NodeId,
        /// For which torrent.
        info_hash: InfoHash,
        /// How much.
        amount: MicroCredits,
    },
    /// Something the session or a user may want to know.
    Event(ExchangeEvent),
}

/// A thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeEvent {
    /// The key behind this connection is proven.
    Proven {
        /// Connection.
        peer: PeerIndex,
        /// Its key.
        key: NodeId,
    },
    /// Bids, quotes and receipts may flow on this connection.
    Ready(PeerIndex),
    /// A payee serves us in another class from now.
    Quoted {
        /// Connection.
        peer: PeerIndex,
        /// The class.
        class: Class,
    },
    /// A payer left the paid class because he does not pay.
    Suspended(NodeId),
    /// What a payer took was written off.
    WrittenOff {
        /// Who.
        peer: NodeId,
        /// How much.
        bytes: Bytes,
    },
    /// A payer says that the next rise contains a tip.
    Tipped {
        /// Who.
        peer: NodeId,
        /// How much, by his word.
        amount: MicroCredits,
    },
    /// A receipt that waited to be verified was forged; the connection is plain from now.
    Misbehaved {
        /// Who.
        peer: PeerIndex,
        /// What it did.
        violation: Violation,
    },
}

/// A rule that only a broken or hostile peer breaks. The connection is plain BitTorrent from then
/// on; the session may close it.
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
    /// A SYNC with too many entries.
    #[error("too many entries in a sync")]
    TooManyEntries,
}
