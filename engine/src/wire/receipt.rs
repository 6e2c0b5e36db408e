//! `Sb_receipt` messages: the receipt protocol as it travels (docs/PROTOCOL.md §3).
//!
//! Each is one bencoded dictionary of at most 16 KiB, sent under the id that the receiver gave for
//! `Sb_receipt`. The integer `t` names the message; keys and types that are not known are ignored
//! by whoever reads them, so that later versions may add some. Signed objects travel as the fixed
//! byte strings of `seedbank_ledger::signed`, body and signature: a receipt is 144 bytes, a lock
//! 220. Rates are micro-credits per GiB, windows are bytes. A question mark follows a key that may
//! be absent.
//!
//! - `t` 0, HELLO: `v` version; `no` nonce, 16 bytes; `pk` key and `net` network id, 32 bytes each;
//!   `is` list of settlement keys, 32 bytes each, at most 16; `ra`? lowest rate, absent if it takes
//!   no payment; `wi` window of a key that it does not know.
//! - `t` 1, AUTH: `sg` signature, 64 bytes.
//! - `t` 2, BID: `ra` rate.
//! - `t` 3, QUOTE: `st` state, 0 open, 1 queued, 2 paid; `ra`? rate, absent for no cap, and
//!   ignored if open; `wi` window; `wo` bytes written off since the sender started.
//! - `t` 4, LOCK: `lk` signed lock.
//! - `t` 5, RECEIPT: `rc` signed receipt.
//! - `t` 6, SYNC: `cs` list of at most 24 channels, no two alike. Each is a dictionary:
//!   `k` kind, 0 acknowledgement, 1 lock; `id` lock id, only for a lock; `hd`? newest receipt held;
//!   `sn`? newest receipt sent; `lk`? signed lock and `cl`? 1 for closed, only for a lock.
//! - `t` 7, CLOSE: `id` lock id; `rc`? newest receipt on it.
//! - `t` 8, TIP: `am` micro-credits; `nt` note in UTF-8, at most 140 bytes.
//! - `t` 9, ERR: `er` code; `ch`? channel id, 32 bytes; `rs`? reason, only for a lock refused.

mod codec;

use std::fmt;

use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::lock::{LockId, SignedLock};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{Bytes, MicroCredits, NetworkId, NodeId, Rate, Signature};

pub use codec::ReceiptMessageError;

/// Most bytes in a message; no client known refuses a shorter one.
pub const MESSAGE_LEN_MAX: usize = 16 * 1024;
/// Most settlement keys in a HELLO.
pub const SETTLEMENT_KEYS_MAX: usize = 16;
/// Most channels in a SYNC; more go into another one.
pub const SYNC_ENTRIES_MAX: usize = 24;
/// Most bytes in the note of a TIP.
pub const NOTE_LEN_MAX: usize = 140;

/// One message. Nothing in it is checked but its form: signatures, keys, networks and order are the
/// session's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptMessage {
    /// Opens the exchange; each side sends one, first.
    Hello(Hello),
    /// The sender's signature over `Auth`, whose body both sides know from the HELLOs.
    Auth(Signature),
    /// The payer's rate for requests that follow on this connection; zero for the open class.
    Bid(Rate),
    /// The payee's answer: a barrier in its upload queue, in force for pieces that follow.
    Quote(Quote),
    /// A lock in the receiver's favour, or a top-up of one.
    Lock(Box<SignedLock>),
    /// A receipt on any channel of the pair.
    Receipt(SignedReceipt),
    /// What the sender knows of the channels of the pair that are not closed; after AUTH, and again
    /// at any time.
    Sync(Vec<SyncEntry>),
    /// The payer asks for the lock's close and signs nothing more on it.
    Close {
        /// Which.
        lock_id: LockId,
        /// The last receipt on it, if there is one.
        newest: Option<SignedReceipt>,
    },
    /// So much of the next rise is a gift. A label: it moves no counter.
    Tip {
        /// How much.
        amount: MicroCredits,
        /// Text for people, printable, at most [`NOTE_LEN_MAX`] bytes.
        note: String,
    },
    /// The sender did not accept something.
    Error {
        /// What was wrong.
        code: ErrorCode,
        /// On which channel.
        channel_id: Option<ChannelId>,
    },
}

/// HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the protocol that the sender speaks.
    pub version: u32,
    /// Drawn by the sender for this connection; signed by both sides.
    pub nonce: [u8; 16],
    /// The sender's key; proven by AUTH.
    pub node_id: NodeId,
    /// The sender's network; all zero if it belongs to none.
    pub network_id: NetworkId,
    /// Settlement keys whose locks the sender accepts, at most [`SETTLEMENT_KEYS_MAX`].
    pub settlement_keys: Vec<NodeId>,
    /// The lowest rate that the sender serves as paid; `None` if it takes no payment.
    pub rate_min: Option<Rate>,
    /// The unpaid bytes that the sender allows a key it does not know.
    pub window: Bytes,
}

/// QUOTE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Which class the receiver is in.
    pub state: QuoteState,
    /// What a block costs at most: the bid decides below it. [`Rate::MAX`] is no cap, as in
    /// pay-as-bid; always zero in the open class.
    pub rate: Rate,
    /// The unpaid bytes that the sender now allows the receiver's key.
    pub window: Bytes,
    /// What it wrote off of the receiver's key since it started: what never became due and stands
    /// in nobody's way any more. Never falls while a connection of the pair lasts.
    pub written_off: Bytes,
}

impl Quote {
    /// The open class: nothing that follows costs anything.
    pub const fn open(window: Bytes, written_off: Bytes) -> Self {
        Self {
            state: QuoteState::Open,
            rate: Rate::ZERO,
            window,
            written_off,
        }
    }
}

/// Which class a payer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteState {
    /// Served like anybody: pieces cost nothing.
    Open,
    /// The bid is taken, but others are before it: choked for now.
    Queued,
    /// In the paid class.
    Paid,
}

/// One channel of a SYNC. An acknowledgement entry stands for both directions of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncEntry {
    /// Acknowledgement, or which lock.
    pub lock_id: Option<LockId>,
    /// The newest receipt that the sender holds, signed by the receiver of this message.
    pub held: Option<SignedReceipt>,
    /// The newest receipt that the sender signed.
    pub sent: Option<SignedReceipt>,
    /// The lock, as newest known to the sender; never on an acknowledgement.
    pub lock: Option<SignedLock>,
    /// The sender knows the lock to be closed; never on an acknowledgement.
    pub closed: bool,
}

/// Why nothing is served on a lock (docs/RULES.md, P5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockFault {
    /// 1: another lock is known under its number, or for its opening order.
    Contradicts,
    /// 2: it holds less than a window costs at the bid in force, or at the ask.
    Amount,
    /// 3: too little of its life is left, or its grace is too short.
    Time,
    /// Any other number, a later version's; 0 if none was said.
    Other(u32),
}

impl LockFault {
    /// The number on the wire; `None` if nothing is said.
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::Contradicts => Some(1),
            Self::Amount => Some(2),
            Self::Time => Some(3),
            Self::Other(0) => None,
            Self::Other(number) => Some(number),
        }
    }

    /// From the number on the wire.
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Contradicts,
            2 => Self::Amount,
            3 => Self::Time,
            number => Self::Other(number),
        }
    }
}

impl fmt::Display for LockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradicts => f.write_str("it contradicts another lock"),
            Self::Amount => f.write_str("it holds less than a window costs"),
            Self::Time => f.write_str("too little of its time or grace is left"),
            Self::Other(number) => write!(f, "reason {number}"),
        }
    }
}

/// Why something was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 1: no common version.
    Version,
    /// 2: AUTH does not prove the key.
    Auth,
    /// 3: sent before AUTH and SYNC.
    NotSynced,
    /// 4: not one of these messages.
    Malformed,
    /// 5: no such channel.
    ChannelUnknown,
    /// 6: one total rises and the other falls; a SYNC follows.
    Stale,
    /// 7: the lock is closed.
    LockClosed,
    /// 8: nothing is served on the lock.
    LockRefused(LockFault),
    /// 9: a signature does not match.
    Signature,
    /// 10: too many of these.
    TooOften,
    /// 11: another network.
    Network,
    /// Any other number: a later version's.
    Other(u32),
}

impl ErrorCode {
    /// Why a lock was refused.
    pub const fn fault(self) -> Option<LockFault> {
        match self {
            Self::LockRefused(fault) => Some(fault),
            Self::Version
            | Self::Auth
            | Self::NotSynced
            | Self::Malformed
            | Self::ChannelUnknown
            | Self::Stale
            | Self::LockClosed
            | Self::Signature
            | Self::TooOften
            | Self::Network
            | Self::Other(_) => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::Version => 1,
            Self::Auth => 2,
            Self::NotSynced => 3,
            Self::Malformed => 4,
            Self::ChannelUnknown => 5,
            Self::Stale => 6,
            Self::LockClosed => 7,
            Self::LockRefused(_) => 8,
            Self::Signature => 9,
            Self::TooOften => 10,
            Self::Network => 11,
            Self::Other(number) => number,
        }
    }

    /// From the number on the wire; `fault` is that of a lock refused.
    pub const fn from_number(number: u32, fault: LockFault) -> Self {
        match number {
            1 => Self::Version,
            2 => Self::Auth,
            3 => Self::NotSynced,
            4 => Self::Malformed,
            5 => Self::ChannelUnknown,
            6 => Self::Stale,
            7 => Self::LockClosed,
            8 => Self::LockRefused(fault),
            9 => Self::Signature,
            10 => Self::TooOften,
            11 => Self::Network,
            number => Self::Other(number),
        }
    }
}

#[cfg(test)]
mod tests;
