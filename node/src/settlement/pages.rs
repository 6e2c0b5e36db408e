//! Statements that take more than one answer.

use seedbank_ledger::Sequence;
use seedbank_ledger::settlement::Statement;

/// Pages of lines read for one answer; a node that is further behind asks again.
const PAGES_MAX: usize = 64;

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
        let newest = whole.newest();
        if newest.is_none() || !whole.more {
            break;
        }
        let next = page(newest).await?;
        whole.lines.extend(next.lines);
        whole.account = next.account;
        whole.more = next.more;
    }
    Ok(whole)
}
