//! A node's way to a settlement node somewhere else, over gRPC.
//!
//! Every question is answered in bounded time, if need be with `Unreachable`; the session repeats
//! it, so nothing is retried here but the connection.

use std::fmt;
use std::time::Duration;

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_ledger::settlement::{PAGE_LINES_MAX, SettlementAnswer, SettlementRequest, Statement};
use seedbank_ledger::signed::Signed;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{NodeId, Sequence};
use seedbank_proto::v1;
use seedbank_proto::v1::settlement_service_client::SettlementServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::convert::{self, AnswerError};
use super::pages::complete;
use crate::settlement::{BoxFuture, Reply, Settlement};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer, all its pages together.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest silence of somebody who tells of new lines: two heartbeats and a half.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// Between two signs of life on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Largest answer: a page of lines of about 700 bytes each.
const ANSWER_LEN_MAX: usize = 2 << 20;

/// Why an address of a settlement node cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is no URL of the kind we speak.
    #[error("settlement {0:?} is not of the form http://HOST:PORT")]
    BadUri(String),
}

/// A settlement node somewhere else. Connects when it is first asked, and again after failures.
#[derive(Clone)]
pub struct Remote {
    uri: String,
    channel: Channel,
    own: NodeId,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{}", .0.message())]
    Call(Box<Status>),
    #[error("its answer makes no sense: {0}")]
    Answer(#[from] AnswerError),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    #[error("it ended the stream without an answer")]
    Ended,
    #[error("it said nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
}

impl Remote {
    /// The settlement node at `uri` (`http://HOST:PORT`), asked about the account `own`. Does not
    /// connect yet; needs a tokio runtime.
    pub fn new(uri: &str, own: NodeId) -> Result<Self, RemoteError> {
        let bad = || RemoteError::BadUri(uri.to_owned());
        if !uri.starts_with("http://") {
            return Err(bad());
        }
        let endpoint = Endpoint::from_shared(uri.to_owned()).map_err(|_| bad())?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .connect_lazy();
        Ok(Self {
            uri: uri.to_owned(),
            channel,
            own,
        })
    }

    fn service(&self) -> SettlementServiceClient<Channel> {
        SettlementServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LEN_MAX)
    }

    async fn answer(&self, request: SettlementRequest) -> Result<SettlementAnswer, AskError> {
        let first = match request {
            SettlementRequest::Submit { order, after } => self.submit(&order, after).await?,
            SettlementRequest::Claim { claim, after } => self.claim(&claim, after).await?,
            SettlementRequest::Statement { after } => self.page(after).await?,
            SettlementRequest::Lock(lock_id) => {
                return Ok(SettlementAnswer::Lock(self.lock(lock_id).await?));
            }
        };
        let whole = complete(first, |after| self.page(after)).await?;
        Ok(SettlementAnswer::Statement(whole))
    }

    async fn submit(
        &self,
        order: &SignedOrder,
        after: Option<Sequence>,
    ) -> Result<Statement, AskError> {
        let request = v1::SubmitRequest {
            signed_order: order.to_bytes(),
            after_sequence: convert::after(after),
        };
        let mut answers = self
            .service()
            .submit(tokio_stream::once(request))
            .await?
            .into_inner();
        let answer = answers.message().await?.ok_or(AskError::Ended)?;
        let used_by = match answer.used_by_order.as_slice() {
            [] => None,
            bytes => Some(Box::new(Signed::from_bytes(bytes).map_err(|source| {
                AnswerError::Layout {
                    what: "order",
                    source,
                }
            })?)),
        };
        Ok(Statement {
            refusal: convert::read_refusal(answer.refusal)?,
            used_by,
            ..convert::read_statement(answer.statement, self.own)?
        })
    }

    async fn claim(
        &self,
        claim: &SignedClaim,
        after: Option<Sequence>,
    ) -> Result<Statement, AskError> {
        let request = v1::ClaimRequest {
            signed_claim: claim.to_bytes(),
            after_sequence: convert::after(after),
        };
        let answer = self.service().claim(request).await?.into_inner();
        Ok(Statement {
            refusal: convert::read_refusal(answer.refusal)?,
            ..convert::read_statement(answer.statement, self.own)?
        })
    }

    async fn lock(&self, lock_id: LockId) -> Result<Option<LockStatus>, AskError> {
        let request = v1::GetLockRequest {
            lock_id: crate::number::number(lock_id.get()),
        };
        match self.service().get_lock(request).await {
            Ok(answer) => {
                let lock = answer.into_inner().lock.ok_or(AnswerError::Field("lock"))?;
                Ok(Some(convert::read_lock(&lock)?))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    async fn page(&self, after: Option<Sequence>) -> Result<Statement, AskError> {
        let request = v1::GetStatementRequest {
            account: self.own.to_string(),
            after_sequence: convert::after(after),
            page_size: crate::number::count(PAGE_LINES_MAX),
        };
        let answer = self.service().get_statement(request).await?.into_inner();
        Ok(convert::read_statement(answer.statement, self.own)?)
    }

    async fn watch(&self, after: Option<Sequence>) -> Result<Sequence, AskError> {
        let request = v1::WatchRequest {
            account: self.own.to_string(),
            after_sequence: convert::after(after),
        };
        let mut stream = self.service().watch(request).await?.into_inner();
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, stream.message()).await;
            let message = next.map_err(|_| AskError::Silent)??;
            let message = message.ok_or(AskError::Ended)?;
            let statement = convert::read_statement(message.statement, self.own)?;
            if let Some(line) = statement.newest() {
                return Ok(line);
            }
        }
    }
}

impl Settlement for Remote {
    fn ask(&self, request: SettlementRequest) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.answer(request)).await;
            let answer = answer.unwrap_or(Err(AskError::TimedOut));
            answer.map_err(|error| Unreachable(format!("{}: {error}", self.uri)))
        })
    }

    fn next_line(&self, after: Option<Sequence>) -> BoxFuture<'_, Option<Sequence>> {
        Box::pin(async move { self.watch(after).await.ok() })
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.uri)
    }
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}
