//! Questions to the settlement node and its answers, as values.

use seedbank_ledger::Sequence;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::statement::{AccountStatus, LockStatus, StatementLine};

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

/// An answer.
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
