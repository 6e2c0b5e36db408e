//! What the credit room asks of others, in order: of peers, of the books, of the settlement node,
//! of the session, and of its own parts.

use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, MicroCredits, NodeId, Rate};

use crate::credit::event::CreditEvent;
use crate::credit::receipts::{Service, Violation};
use crate::credit::settlement::SettlementRequest;
use crate::units::{PeerIndex, TorrentId};
use crate::wire::receipt::ReceiptMessage;

/// One thing to do. The order counts: a BID precedes the requests made under it, a QUOTE the blocks
/// served under it, and rows the messages and entries that depend on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreditOutput {
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
    /// Ask the settlement node; answered by [`Market::settled`](super::market::Market::settled).
    Settle {
        /// Number to answer under.
        request: u64,
        /// What to ask.
        what: SettlementRequest,
    },
    /// Something a user or a log may want to know.
    Event(CreditEvent),
    /// Something the session acts on.
    Notice(Notice),
    /// Something another part of this room does: the market hands it on, so that it never leaves.
    Errand(Errand),
}

/// What changed for a connection or a key, as far as others decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The key behind this connection is proven.
    Proven {
        /// Connection.
        peer: PeerIndex,
        /// Its key.
        key: NodeId,
    },
    /// Bids, quotes and receipts may flow on this connection.
    Ready(PeerIndex),
    /// A payee serves us otherwise from now.
    Quoted {
        /// Connection.
        peer: PeerIndex,
        /// How.
        service: Service,
    },
    /// A payer left the paid class because it does not pay.
    Suspended(NodeId),
    /// Blocks of a payer that waited for window, lock or conduct may be able to leave.
    Relieved(NodeId),
    /// A lock for us or of ours changed.
    LockChanged(LockId),
    /// Our bid at a payee began or ended: a piece is open at one paid peer at a time (S1).
    Bidding {
        /// Connection.
        peer: PeerIndex,
        /// Whether there is one.
        paid: bool,
    },
    /// A peer broke a rule; its connection is plain from now.
    Misbehaved {
        /// Who.
        peer: PeerIndex,
        /// What it did.
        violation: Violation,
    },
}

/// What one part of the room asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Exchange to wallet: ask the settlement node for a lock, once; repeated until it is answered.
    AskLock(LockId),
    /// Exchange to wallet: submit a claim.
    Claim(SignedClaim),
    /// Exchange to wallet: order the close of this lock, of which we are the payee.
    CloseLock(LockId),
    /// Exchange to boosts: so much was signed on behalf of a torrent.
    Spent {
        /// To whom.
        payee: NodeId,
        /// For which torrent.
        torrent_id: TorrentId,
        /// For how much of it.
        bytes: Bytes,
        /// How much.
        amount: MicroCredits,
    },
    /// Wallet to exchange: the settlement node's word on a lock, its signature checked. The rows
    /// that follow from it come before the wallet's next output: a line is appended only after its
    /// lock is stored.
    LockTold(LockStatus),
    /// Wallet to exchange: a certified line says that we claimed so from this payer's lock, which
    /// was told before.
    ClaimCertified {
        /// Who pays.
        payer: NodeId,
        /// Our claim, its signature checked.
        claim: Box<SignedClaim>,
    },
    /// Wallet to exchange: a claim on this lock was refused because a total went back.
    ClaimRegressed(LockId),
    /// Boosts to wallet: reserve credit for a payee. What cannot be done is left undone, here and
    /// below: the next plan sees that.
    OpenLock {
        /// For whom.
        payee: NodeId,
        /// How much.
        amount: MicroCredits,
    },
    /// Boosts to wallet: add to a lock and renew it; with amount 0, renew only.
    TopUp {
        /// Which lock.
        lock_id: LockId,
        /// How much more.
        amount: MicroCredits,
    },
    /// Boosts to exchange: no boost wants this lock.
    EndLock {
        /// Its payee.
        payee: NodeId,
        /// Which lock.
        lock_id: LockId,
    },
    /// Boosts to exchange: a boost wants this lock again.
    KeepLock {
        /// Its payee.
        payee: NodeId,
        /// Which lock.
        lock_id: LockId,
    },
    /// Boosts to exchange: bid so much; zero ends it.
    Bid {
        /// On which connection.
        peer: PeerIndex,
        /// How much.
        rate: Rate,
    },
}

impl From<CreditEvent> for CreditOutput {
    fn from(event: CreditEvent) -> Self {
        Self::Event(event)
    }
}

impl From<Notice> for CreditOutput {
    fn from(notice: Notice) -> Self {
        Self::Notice(notice)
    }
}

impl From<Errand> for CreditOutput {
    fn from(errand: Errand) -> Self {
        Self::Errand(errand)
    }
}
