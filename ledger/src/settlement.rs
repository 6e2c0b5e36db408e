//! A settlement node: what it is asked, what it answers, and the service itself.
//!
//! [`SettlementNode`] is a state machine over a network ledger: questions go in as groups, answers
//! come out once all of a group is durable. Threads, connections and clocks are its driver's, of
//! which there are several. `settlement/grant.rs` holds how an issuer creates credit,
//! `settlement/reader.rs` how answers are read and signed beside the thread that enters.

mod grant;
mod node;
mod reader;

#[cfg(test)]
mod tests;

use crate::refusal::Refusal;
use crate::signed::claim::SignedClaim;
use crate::signed::lock::LockId;
use crate::signed::order::SignedOrder;
use crate::statement::{AccountStatus, LockStatus, StatementLine};
use crate::units::Sequence;

pub use grant::{GrantOutcome, IssueError, Issuing, NewGrant};
pub use node::{GrantPage, PAGE_LINES_MAX, SettlementNode};
pub use reader::SettlementReader;

/// A question. Each is idempotent and repeated until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementRequest {
    /// Carry out an order; answered by the lines of my account after `after`, its own included.
    Submit {
        /// The order.
        order: SignedOrder,
        /// Newest line I have; `None` for none.
        after: Option<Sequence>,
    },
    /// Pay a claim; answered like `Submit`.
    Claim {
        /// The claim.
        claim: SignedClaim,
        /// Newest line I have.
        after: Option<Sequence>,
    },
    /// The lines of my account after `after`, and the account itself.
    Statement {
        /// Newest line I have.
        after: Option<Sequence>,
    },
    /// One lock.
    Lock(LockId),
}

/// An answer; what it speaks of is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementAnswer {
    /// To an order, a claim, or the question for a statement.
    Statement(Statement),
    /// One lock; `None` if there is none of that number.
    Lock(Option<LockStatus>),
}

/// An answer, and what its question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: SettlementAnswer,
    /// The ledger is longer by this question: what is asked a second time enters nothing.
    pub entered: bool,
}

/// What happened to an account, and what became of the order or claim that was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Whether the order or claim asked about was refused.
    pub refusal: Option<Refusal>,
    /// The order that used this nonce first, if it is not the one submitted.
    pub used_by: Option<Box<SignedOrder>>,
    /// New lines, oldest first, without a gap.
    pub lines: Vec<StatementLine>,
    /// The account as it stands.
    pub account: AccountStatus,
    /// Whether there are more lines after these; who wants them asks again.
    pub more: bool,
}

impl SettlementAnswer {
    /// The statement; `None` of a lock.
    pub fn statement(self) -> Option<Statement> {
        match self {
            Self::Statement(statement) => Some(statement),
            Self::Lock(_) => None,
        }
    }
}

impl Statement {
    /// Sequence of its newest line.
    pub fn newest(&self) -> Option<Sequence> {
        let line = self.lines.last()?;
        Some(line.certificate.body.sequence)
    }
}
