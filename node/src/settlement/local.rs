//! A node's way to the settlement node of the same process: straight to its keeper.

use seedbank_engine::credit::settlement::{SettlementReply, SettlementRequest};
use seedbank_ledger::{NodeId, Sequence};

use super::answer::{Answered, LINES_MAX, Statement, complete, lines, newest, unrefused};
use super::keeper::{Keeper, KeeperError};
use crate::settlement::{BoxFuture, Settlement};

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

    async fn answer(&self, request: SettlementRequest) -> Result<SettlementReply, KeeperError> {
        let answered = match request {
            SettlementRequest::Submit { order, after } => self.keeper.submit(order, after).await?,
            SettlementRequest::Claim { claim, after } => self.keeper.claim(claim, after).await?,
            SettlementRequest::Statement { after } => unrefused(self.page(after).await?),
            SettlementRequest::Lock(lock_id) => {
                return Ok(SettlementReply::Lock(self.keeper.lock(lock_id).await?));
            }
        };
        let statement = complete(answered.statement, |after| self.page(after)).await?;
        Ok(lines(Answered {
            statement,
            ..answered
        }))
    }

    async fn page(&self, after: Option<Sequence>) -> Result<Statement, KeeperError> {
        self.keeper.statement(self.own, after, LINES_MAX).await
    }
}

impl Settlement for Local {
    fn ask(&self, request: SettlementRequest) -> BoxFuture<'_, SettlementReply> {
        Box::pin(async move {
            self.answer(request)
                .await
                .unwrap_or_else(|error| SettlementReply::Unreachable(error.to_string()))
        })
    }

    fn next_line(&self, after: Option<Sequence>) -> BoxFuture<'_, Option<Sequence>> {
        Box::pin(async move {
            let mut head = self.keeper.head();
            loop {
                head.borrow_and_update();
                let statement = self.page(after).await.ok()?;
                if let Some(line) = newest(&statement) {
                    return Some(line);
                }
                head.changed().await.ok()?;
            }
        })
    }
}
