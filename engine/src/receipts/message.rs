//! The ten messages of `Sb_receipt`, as values (docs/PROTOCOL.md §4).

use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::lock::{LockId, SignedLock};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{Bytes, MicroCredits, Rate, Signature};

/// A message between two nodes that both advertised `Sb_receipt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptMessage {
    /// First on a connection, once.
    Hello {
        /// Drawn for this connection.
        nonce: [u8; 16],
        /// Lowest bid that the sender serves as paid; `None` if it takes no payment.
        rate_min: Option<Rate>,
    },
    /// Second on a connection, once: the sender's signature over an `Auth` body.
    Auth {
        /// The signature; both sides know the body.
        signature: Signature,
    },
    /// Third on a connection, and again at any time: where the sender stands on every open channel.
    Sync {
        /// At most [`SYNC_ENTRIES_MAX`](super::limits::SYNC_ENTRIES_MAX).
        entries: Vec<SyncEntry>,
    },
    /// The rate that the sender offers for the requests that follow on this connection.
    Bid {
        /// Micro-credits per GiB; zero for none.
        rate: Rate,
    },
    /// The class in which the sender serves the pieces that follow on this connection.
    Quote {
        /// Open, or paid up to a cap.
        quote: Quote,
        /// The exposure allowed to the receiver's key.
        window: Bytes,
    },
    /// A lock for the receiver, or a newer certificate of one.
    Lock(SignedLock),
    /// The sender's newest receipt on a channel.
    Receipt(SignedReceipt),
    /// The sender signs nothing more on this lock and asks for its close.
    Close {
        /// Which lock.
        lock_id: LockId,
        /// The newest, and last, receipt on it; `None` if nothing was signed.
        receipt: Option<SignedReceipt>,
    },
    /// The next rise contains a tip of so much; a label that moves no counter.
    Tip {
        /// How much.
        amount: MicroCredits,
    },
    /// Something the receiver sent could not be used.
    Err {
        /// Why.
        code: ErrCode,
        /// About which channel.
        channel_id: ChannelId,
    },
}

/// One channel in a SYNC. Who is payer and payee says which way it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncEntry {
    /// The newest acknowledgement that the sender signed, or holds.
    Acknowledgement(SignedReceipt),
    /// A lock that the sender pays from, or is paid from.
    Lock {
        /// Its newest certificate.
        lock: SignedLock,
        /// The newest receipt that the sender signed on it, or holds.
        receipt: Option<SignedReceipt>,
        /// As payee: the sender closed it. As payer: the sender asked for its close.
        closed: bool,
    },
}

/// The class in which blocks are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quote {
    /// Open class: blocks cost nothing.
    #[default]
    Open,
    /// Paid class: a block costs the bid at its request, at most the cap.
    Paid {
        /// Highest rate charged; `None` for no cap (pay-as-bid).
        cap: Option<Rate>,
    },
}

/// Why a message could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrCode {
    /// The receipt crosses one that the sender holds: SYNC.
    Stale,
    /// The sender knows no such channel: LOCK first.
    UnknownChannel,
    /// The lock is closed.
    LockClosed,
}

impl Quote {
    /// What a block costs that was requested under `bid`.
    pub fn price(self, bid: Rate) -> Rate {
        match self {
            Self::Open => Rate::ZERO,
            Self::Paid { cap: None } => bid,
            Self::Paid { cap: Some(cap) } => bid.min(cap),
        }
    }
}
