//! Rows that change with every piece: newest receipts, what is due, what is lost.
//!
//! They are overwritten in place, written before the message that depends on them is sent, and
//! fsynced within a second. The log gets one summary entry per channel from time to time.

use crate::identity::NodeId;
use crate::signed::channel::Channel;
use crate::signed::lock::SignedLock;
use crate::signed::order::SignedOrder;
use crate::signed::receipt::SignedReceipt;
use crate::time::UnixTime;
use crate::units::{Bytes, MicroCredits, RawCost};

/// Longest stored boost, in bytes.
pub const BOOST_LEN_MAX: usize = 512;

/// One row to overwrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TallyRow {
    /// The newest receipt of a channel, signed by us or held from the peer; the channel says which.
    Receipt(ChannelRow),
    /// What a pair owes and is owed.
    Pair(PairRow),
    /// A lock we pay from or are paid from.
    Lock(LockRow),
    /// The newest order we signed; kept until it is answered, so that a nonce is never used twice.
    Order(OrderRow),
    /// A boost, encoded by the engine; `None` removes it.
    Boost {
        /// Number of the boost.
        id: u64,
        /// At most [`BOOST_LEN_MAX`] bytes.
        bytes: Option<Vec<u8>>,
    },
}

/// The newest receipt of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    /// Which channel.
    pub channel: Channel,
    /// Its newest receipt.
    pub receipt: SignedReceipt,
}

/// What a pair owes and is owed, over all connections, torrents and locks (docs/PROTOCOL.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairRow {
    /// The other side.
    pub peer: NodeId,
    /// As payer: Σ bytes × rate of everything verified that he served in the paid class.
    pub due: RawCost,
    /// As payer: Σ amounts signed to him, over all locks ever.
    pub signed: MicroCredits,
    /// As payee: Σ min(receipt, lock) he signed, over all locks ever.
    pub paid: MicroCredits,
    /// As payee: raw value that cleared no block yet.
    pub paid_carry: RawCost,
    /// As payee: bytes that his payments cleared.
    pub paid_bytes: Bytes,
    /// As payee: bytes written off and not forgiven.
    pub lost: Bytes,
    /// As payee: how often the back-off was doubled.
    pub backoff_level: u8,
    /// As payee: until when he gets no paid service; zero for "not backing off".
    pub backoff_until: UnixTime,
}

/// A lock and what we did with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRow {
    /// Its newest certificate; payer and payee inside say which side we are.
    pub lock: SignedLock,
    /// Paid out, as far as we know.
    pub claimed: MicroCredits,
    /// We (as payee) closed it, or the settlement node said it is closed.
    pub closed: bool,
    /// We (as payer) asked for its close: nothing more is signed on it.
    pub close_asked: bool,
}

/// The newest order we signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// The exact order; repeated until answered.
    pub order: SignedOrder,
    /// Whether it was answered.
    pub answered: bool,
}
