//! What a session asks of the settlement node, and what it is told in the end.

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{SettlementAnswer, Statement};
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::statement::{AccountStatus, LockStatus, StatementLine};

pub use seedbank_ledger::settlement::SettlementRequest;

/// What became of a question: an answer, or the news that there is none.
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

impl From<SettlementAnswer> for SettlementReply {
    fn from(answer: SettlementAnswer) -> Self {
        match answer {
            SettlementAnswer::Statement(statement) => {
                let Statement {
                    refusal,
                    used_by,
                    lines,
                    account,
                    more: _,
                } = statement;
                Self::Lines {
                    refusal,
                    used_by,
                    lines,
                    account,
                }
            }
            SettlementAnswer::Lock(lock) => Self::Lock(lock),
        }
    }
}
