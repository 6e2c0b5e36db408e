//! A node's way to the settlement node of the same process: straight to its keeper.

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_ledger::settlement::codec::{AnswerBody, SettlementRequest};
use seedbank_ledger::{NodeId, Sequence};

use super::keeper::Keeper;
use crate::settlement::{BoxFuture, Reply, Settlement};

/// The settlement node of this very process.
#[derive(Clone, Debug)]
pub struct Local {
    keeper: Keeper,
    own: NodeId,
}

impl Local {
    /// The keeper in this process, watched for the account `own`.
    pub fn new(keeper: Keeper, own: NodeId) -> Self {
        Self { keeper, own }
    }

    async fn newest(&self, after: Option<Sequence>) -> Option<Option<Sequence>> {
        let answer = self.keeper.watched(self.own, after).await.ok()?;
        match answer.body {
            AnswerBody::Statement(statement) => Some(statement.newest()),
            AnswerBody::Refused(_)
            | AnswerBody::Operation(_)
            | AnswerBody::Account(_)
            | AnswerBody::Lock(_) => None,
        }
    }
}

impl Settlement for Local {
    fn ask(&self, request: SettlementRequest) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let hash = request.hash();
            let answered = self.keeper.ask(request).await;
            let answered = answered.map_err(|error| Unreachable(error.to_string()))?;
            Ok(self.keeper.sealer().seal(hash, 0, &answered.answer))
        })
    }

    fn next_line(&self, after: Option<Sequence>) -> BoxFuture<'_, Option<Sequence>> {
        Box::pin(async move {
            let mut lines = self.keeper.lines(self.own);
            loop {
                lines.borrow_and_update();
                if let Some(line) = self.newest(after).await? {
                    return Some(line);
                }
                lines.changed().await.ok()?;
            }
        })
    }
}
