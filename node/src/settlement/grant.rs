//! Why a keeper did not create credit.

use seedbank_ledger::settlement::IssueError;

use crate::inbox::Stopping;

/// Why credit was not created.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The settlement node would not, or could not.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Too much is waiting.
    #[error("{0} requests wait already")]
    Busy(usize),
    /// The node is on its way down.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}
