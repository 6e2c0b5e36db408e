//! The node chart: what this node owns, owes and is owed, each line with its cause.

use crate::identity::NodeId;
use crate::signed::channel::Channel;
use crate::signed::receipt::SignedReceipt;
use crate::statement::StatementLine;
use crate::units::{Bytes, MicroCredits};

/// Which torrent a share of a channel's change belongs to; local, never signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribution {
    /// 20 bytes that the engine chose: an info hash.
    pub subject: [u8; 20],
    /// Bytes of the change.
    pub bytes: Bytes,
    /// Credit of the change.
    pub amount: MicroCredits,
}

/// What a channel came to: its newest receipt, and where the change since the last summary was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSummary {
    /// Which channel; this node is its payer or its payee.
    pub channel: Channel,
    /// Its newest receipt: the cause.
    pub receipt: SignedReceipt,
    /// The lock's amount, above which a receipt is worth nothing; zero for acknowledgements.
    pub lock_amount: MicroCredits,
    /// Where the difference came from, at most 64 shares.
    pub attribution: Vec<Attribution>,
}

/// What may be appended to a node ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeCommand {
    /// A certified line of this node's account at its settlement node.
    Settled(Box<StatementLine>),
    /// A channel's newest receipt; the entry books the difference to the last summary.
    ChannelSummary(Box<ChannelSummary>),
    /// Bytes served in the paid class that the peer never paid for.
    WriteOff {
        /// Who did not pay.
        peer: NodeId,
        /// How much he was given.
        bytes: Bytes,
    },
}
