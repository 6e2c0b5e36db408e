//! Statements, accounts and locks between the ledger's types and messages.
//!
//! Lossless: credit in being fits a signed 64-bit integer by the network's rules, and lines travel
//! as their exact bytes.

use seedbank_ledger::layout::LayoutError;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::Statement;
use seedbank_ledger::signed::Signed;
use seedbank_ledger::statement::{AccountStatus, LockStatus, StatementLine};
use seedbank_ledger::{MicroCredits, NodeId, Sequence};
use seedbank_proto::v1;

use crate::number::{credit, number};

/// Why an answer of a settlement node makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    /// Bytes that are not what they should be.
    #[error("{what}: {source}")]
    Layout {
        /// What they should be.
        what: &'static str,
        /// Why they are not.
        source: LayoutError,
    },
    /// A field is missing or out of range.
    #[error("{0} is missing or out of range")]
    Field(&'static str),
    /// It is about another account.
    #[error("the answer is about account {0}")]
    OtherAccount(NodeId),
}

pub(crate) fn statement(statement: &Statement) -> v1::Statement {
    v1::Statement {
        lines: statement
            .lines
            .iter()
            .map(StatementLine::to_bytes)
            .collect(),
        account: Some(account(&statement.account)),
        more: statement.more,
    }
}

pub(crate) fn account(status: &AccountStatus) -> v1::Account {
    v1::Account {
        account: status.account.to_string(),
        available_microcredits: credit(status.available),
        reserved_microcredits: credit(status.reserved),
        nonce: number(status.nonce),
    }
}

pub(crate) fn lock(status: &LockStatus) -> v1::Lock {
    v1::Lock {
        signed_lock: status.lock.to_bytes(),
        claimed_microcredits: credit(status.claimed),
        closed: status.closed,
    }
}

/// A statement as it travels: what became of an order or a claim is said beside it.
pub(super) fn read_statement(
    statement: Option<v1::Statement>,
    own: NodeId,
) -> Result<Statement, AnswerError> {
    let statement = statement.ok_or(AnswerError::Field("statement"))?;
    let layout = |source| AnswerError::Layout {
        what: "line",
        source,
    };
    let lines = statement.lines.iter();
    let lines = lines.map(|line| StatementLine::from_bytes(line).map_err(layout));
    let account = read_account(&statement.account.ok_or(AnswerError::Field("account"))?)?;
    if account.account != own {
        return Err(AnswerError::OtherAccount(account.account));
    }
    Ok(Statement {
        refusal: None,
        used_by: None,
        lines: lines.collect::<Result<_, _>>()?,
        account,
        more: statement.more,
    })
}

fn read_account(message: &v1::Account) -> Result<AccountStatus, AnswerError> {
    Ok(AccountStatus {
        account: NodeId::from_hex(&message.account).ok_or(AnswerError::Field("account"))?,
        available: amount("available", message.available_microcredits)?,
        reserved: amount("reserved", message.reserved_microcredits)?,
        nonce: u64::try_from(message.nonce).map_err(|_| AnswerError::Field("nonce"))?,
    })
}

pub(super) fn read_lock(message: &v1::Lock) -> Result<LockStatus, AnswerError> {
    let lock = Signed::from_bytes(&message.signed_lock);
    Ok(LockStatus {
        lock: lock.map_err(|source| AnswerError::Layout {
            what: "lock",
            source,
        })?,
        claimed: amount("claimed", message.claimed_microcredits)?,
        closed: message.closed,
    })
}

/// A refusal that this build does not know is an error: it must not pass for none.
pub(super) fn read_refusal(code: i32) -> Result<Option<Refusal>, AnswerError> {
    match u16::try_from(code) {
        Ok(0) => Ok(None),
        Ok(code) => Refusal::from_code(code)
            .map(Some)
            .ok_or(AnswerError::Field("refusal")),
        Err(_) => Err(AnswerError::Field("refusal")),
    }
}

fn amount(field: &'static str, raw: i64) -> Result<MicroCredits, AnswerError> {
    u64::try_from(raw)
        .map(MicroCredits::new)
        .map_err(|_| AnswerError::Field(field))
}

/// The newest line that somebody has, as a field.
pub(super) fn after(after: Option<Sequence>) -> Option<i64> {
    after.map(|sequence| number(sequence.get()))
}
