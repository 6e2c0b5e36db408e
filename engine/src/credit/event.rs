//! What happened to credit, for users and logs; nothing depends on these.

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::{Bytes, MicroCredits, NodeId};

use crate::credit::boost::{BoostReport, WaitReason};
use crate::wire::receipt::LockFault;

/// A thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreditEvent {
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
        /// What it spent so far.
        spent: MicroCredits,
        /// Whether that is all: no credit is still to come back.
        is_final: bool,
    },
    /// A boost buys nothing now.
    BoostWaiting {
        /// Which boost.
        boost: u64,
        /// Why.
        waiting: WaitReason,
    },
    /// A boost that waited is served as paid.
    BoostWorking {
        /// Which boost.
        boost: u64,
    },
    /// The last lock of a boost that ended is closed: what it spent is final.
    BoostSettled {
        /// Which boost.
        boost: u64,
        /// What it spent in the end.
        spent: MicroCredits,
        /// What it came to.
        report: BoostReport,
    },
    /// A payee serves nothing on a lock of ours: it holds too little, or for too short a time.
    LockRefused {
        /// Who.
        payee: NodeId,
        /// Which lock.
        lock_id: LockId,
        /// Why.
        fault: LockFault,
    },
    /// A payer stopped paying; what it took was written off.
    WrittenOff {
        /// Who.
        peer: NodeId,
        /// How much.
        bytes: Bytes,
    },
    /// Two signatures of one signer contradict each other; kept as evidence, of local effect only.
    Conflict {
        /// Whose.
        signer: NodeId,
        /// What contradicts.
        what: String,
    },
    /// Answers come that the settlement node did not give to our questions: they are not used.
    /// Told once until one is.
    AnswerUnusable {
        /// What is wrong with the first of them.
        why: String,
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
