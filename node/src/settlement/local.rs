//! A node's way to the settlement node of the same process: straight to its keeper.

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_ledger::settlement::{PAGE_LINES_MAX, SettlementAnswer, SettlementRequest, Statement};
use seedbank_ledger::{NodeId, Sequence};

use super::keeper::{Keeper, KeeperError};
use super::pages::complete;
use crate::settlement::{BoxFuture, Reply, Settlement};

/// The settlement node of this very process.
#[derive(Clone, Debug)]
pub struct Local {
    keeper: Keeper,
    own: NodeId,
}

impl Local {
    /// The keeper in this process, asked about the account `own`.
    pub fn new(keeper: Keeper, own: NodeId) -> Self {
        Self { keeper, own }
    }

    async fn answer(&self, request: SettlementRequest) -> Result<SettlementAnswer, KeeperError> {
        match self.keeper.ask(self.own, request).await?.answer {
            SettlementAnswer::Statement(first) => {
                let whole = complete(first, |after| self.page(after)).await?;
                Ok(SettlementAnswer::Statement(whole))
            }
            SettlementAnswer::Lock(lock) => Ok(SettlementAnswer::Lock(lock)),
        }
    }

    async fn page(&self, after: Option<Sequence>) -> Result<Statement, KeeperError> {
        self.keeper.statement(self.own, after, PAGE_LINES_MAX).await
    }
}

impl Settlement for Local {
    fn ask(&self, request: SettlementRequest) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let answer = self.answer(request).await;
            answer.map_err(|error| Unreachable(error.to_string()))
        })
    }

    fn next_line(&self, after: Option<Sequence>) -> BoxFuture<'_, Option<Sequence>> {
        Box::pin(async move {
            let mut lines = self.keeper.lines(self.own);
            loop {
                lines.borrow_and_update();
                let statement = self.page(after).await.ok()?;
                if let Some(line) = statement.newest() {
                    return Some(line);
                }
                lines.changed().await.ok()?;
            }
        })
    }
}
