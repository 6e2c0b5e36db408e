//! What a settlement node answers, in pages, and how pages make the session's reply.

use seedbank_engine::credit::settlement::SettlementReply;
use seedbank_ledger::Sequence;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::statement::{AccountStatus, StatementLine};

/// Lines of one answer; more are asked for.
pub(crate) const LINES_MAX: usize = seedbank_ledger::charts::network::LINES_MAX - 1;
/// Pages of lines read for one answer; a node that is further behind asks again.
const PAGES_MAX: usize = 64;

/// Lines of an account, oldest first, and the account as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The lines.
    pub lines: Vec<StatementLine>,
    /// The account.
    pub account: AccountStatus,
    /// Whether there are more lines after these.
    pub more: bool,
}

/// What became of an order or a claim; durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
    /// The order that used this nonce first, if it is another.
    pub used_by: Option<Box<SignedOrder>>,
    /// What happened to the account.
    pub statement: Statement,
}

pub(super) fn newest(statement: &Statement) -> Option<Sequence> {
    let line = statement.lines.last()?;
    Some(line.certificate.body.sequence)
}

/// Reads the pages after the first.
pub(super) async fn complete<E, Page>(
    first: Statement,
    page: impl Fn(Option<Sequence>) -> Page + Send,
) -> Result<Statement, E>
where
    Page: Future<Output = Result<Statement, E>> + Send,
{
    let mut whole = first;
    for _ in 1..PAGES_MAX {
        let last = whole.lines.last();
        let Some(last) = last.filter(|_| whole.more) else {
            break;
        };
        let next = page(Some(last.certificate.body.sequence)).await?;
        whole.lines.extend(next.lines);
        whole.account = next.account;
        whole.more = next.more;
    }
    Ok(whole)
}

pub(super) fn unrefused(statement: Statement) -> Answered {
    Answered {
        refusal: None,
        used_by: None,
        statement,
    }
}

pub(super) fn lines(answered: Answered) -> SettlementReply {
    SettlementReply::Lines {
        refusal: answered.refusal,
        used_by: answered.used_by,
        lines: answered.statement.lines,
        account: answered.statement.account,
    }
}
