//! What a session asks of the settlement node, and what it is told in the end.

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{SettlementAnswer, Statement};
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::statement::{AccountStatus, LockStatus, StatementLine};

pub use seedbank_ledger::settlement::SettlementRequest;

/// Nobody answered, and why, in words; ask again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable(pub String);

/// What became of a question, as the wallet takes it: an answer, or the news that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementReply {
    /// Lines of my account, oldest first, without a gap; and the account after the last of them.
    Lines {
        /// Whether the order or claim asked about was refused.
        refusal: Option<Refusal>,
        /// The order that used this nonce first, if it is not the one submitted.
        used_by: Option<Box<SignedOrder>>,
        /// New lines.
        lines: Vec<StatementLine>,
        /// My account.
        account: AccountStatus,
    },
    /// One lock; `None` if there is none of that number.
    Lock(Option<LockStatus>),
    /// Nobody answered; ask again later.
    Unreachable(String),
}

impl From<Result<SettlementAnswer, Unreachable>> for SettlementReply {
    fn from(answer: Result<SettlementAnswer, Unreachable>) -> Self {
        match answer {
            // A wallet sees by the length of an answer that there may be more.
            Ok(SettlementAnswer::Statement(Statement {
                refusal,
                used_by,
                lines,
                account,
                more: _,
            })) => Self::Lines {
                refusal,
                used_by,
                lines,
                account,
            },
            Ok(SettlementAnswer::Lock(lock)) => Self::Lock(lock),
            Err(Unreachable(why)) => Self::Unreachable(why),
        }
    }
}
