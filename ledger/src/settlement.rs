//! A settlement node: what it is asked, what it answers, and the service itself.
//!
//! [`SettlementNode`] is a state machine over a network ledger: questions go in as groups, answers
//! come out once all of a group is durable. Threads, connections and clocks are its driver's, of
//! which there are several. `settlement/codec.rs` holds questions and answers as bytes,
//! `settlement/envelope.rs` how an answer is sealed, `settlement/grant.rs` how an issuer creates
//! credit, `settlement/reader.rs` how answers are read and signed beside the thread that enters.

pub mod codec;
pub mod envelope;
mod grant;
mod node;
mod reader;

#[cfg(test)]
mod tests;

pub use codec::{
    AccountAnswer, AnswerBody, OperationAnswer, PAGE_LINES_MAX, SettlementAnswer,
    SettlementRequest, Statement,
};
pub use grant::{GrantOutcome, IssueError, Issuing, NewGrant, REQUEST_ID_LEN_MAX};
pub use node::{GrantPage, SettlementNode};
pub use reader::SettlementReader;

/// An answer, and what its question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: SettlementAnswer,
    /// The ledger is longer by this question: what is asked a second time enters nothing.
    pub entered: bool,
}
