//! Questions to the settlement node and its answers, as values.

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::ledger::{LedgerError, Outcome};
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::statement::{AccountStatus, LockStatus, Operation, StatementLine};
use seedbank_ledger::store::Store;
use seedbank_ledger::{NodeId, Sequence, UnixTime};

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

/// Most lines in one answer; who wants more asks again.
pub const LINES_MAX: usize = 256;

/// Answers one question of `account` from a network ledger: what a settlement node does.
///
/// An order or claim is entered and fsynced before this returns. Errors are the store's.
pub fn answer<S: Store>(
    ledger: &mut NetworkLedger<S>,
    account: &NodeId,
    request: &SettlementRequest,
    now: UnixTime,
) -> Result<SettlementReply, LedgerError> {
    let (operation, after) = match request {
        SettlementRequest::Submit { order, after } => (Some(Operation::Order(*order)), *after),
        SettlementRequest::Claim { claim, after } => (Some(Operation::Claim(*claim)), *after),
        SettlementRequest::Statement { after } => (None, *after),
        SettlementRequest::Lock(lock_id) => {
            return Ok(SettlementReply::Lock(ledger.lock(*lock_id)?));
        }
    };
    let outcomes = ledger.append(now, operation.as_slice())?;
    let outcome = outcomes.into_iter().next();
    let refusal = outcome.as_ref().and_then(Outcome::refusal);
    let used_by = match outcome {
        Some(Outcome::NonceUsed { order, .. }) => Some(order),
        Some(Outcome::Entered { .. } | Outcome::Known { .. } | Outcome::Refused(_)) | None => None,
    };
    let lines = ledger.statement(account, after, LINES_MAX)?;
    let account = ledger.account(account)?;
    Ok(SettlementReply::Lines {
        refusal,
        used_by,
        lines,
        account,
    })
}
