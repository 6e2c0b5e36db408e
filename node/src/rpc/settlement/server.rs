//! `SettlementService`: anybody may ask, only signatures are believed, nobody may ask too often.

use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use seedbank_ledger::layout::LayoutError;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{PAGE_LINES_MAX, Statement};
use seedbank_ledger::signed::Signed;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::{NodeId, Sequence};
use seedbank_proto::v1::ErrorReason;
use seedbank_proto::v1::settlement_service_server::{SettlementService, SettlementServiceServer};
use seedbank_proto::{Failure, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::admission::Door;
use super::limit::CallerLimiter;
use crate::rpc::{GRACE, KEEPALIVE, ServeError, field, message, stopped};
use crate::settlement::{Keeper, KeeperError, convert};

/// Largest request: a signed object and a few fields.
const REQUEST_LEN_MAX: usize = 16 << 10;
/// Calls at once on one connection; more wait.
const CALLS_MAX: usize = 32;
/// Streams of `Watch` at once.
const WATCHES_MAX: usize = 512;
/// Longest silence on such a stream.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How often time is let pass when nobody asks.
const TICK: Duration = Duration::from_secs(10);
/// Answers that a slow reader may leave lying.
const BACKLOG_MAX: usize = 8;

/// Requests that one address may send at once, and the time in which one comes back.
const ADDR_BURST: u64 = 2_000;
const ADDR_REFILL: Duration = Duration::from_millis(2);
const HOUR: Duration = Duration::from_secs(3_600);
/// Lines of an answer that cost as much as a request of its own.
const LINES_PER_TOKEN: usize = 8;

/// Serves the ledger until `stop` holds true, then lets calls finish for a few seconds.
pub async fn serve(
    door: Door,
    keeper: Keeper,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let limits = *keeper.limits();
    let service = SettlementApi {
        shared: Arc::new(StreamState {
            keeper: keeper.clone(),
            keys: CallerLimiter::new(
                u64::from(limits.order_budget),
                HOUR / limits.orders_per_hour,
            ),
            addrs: CallerLimiter::new(ADDR_BURST, ADDR_REFILL),
            stop: stop.clone(),
        }),
        watches: Arc::new(Semaphore::new(WATCHES_MAX)),
    };
    let service = SettlementServiceServer::new(service).max_decoding_message_size(REQUEST_LEN_MAX);
    let served = Server::builder()
        .concurrency_limit_per_connection(CALLS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(door.incoming(), stopped(stop.clone()));
    let grace_over = async {
        stopped(stop).await;
        tokio::time::sleep(GRACE).await;
    };
    let time_passes = async {
        loop {
            tokio::time::sleep(TICK).await;
            keeper.tick();
        }
    };
    tokio::select! {
        served = served => served?,
        () = grace_over => {}
        () = time_passes => {}
    }
    Ok(())
}

/// The shared ledger of a network.
struct SettlementApi {
    shared: Arc<StreamState>,
    watches: Arc<Semaphore>,
}

/// What streams keep when the call has returned.
struct StreamState {
    keeper: Keeper,
    keys: CallerLimiter<NodeId>,
    addrs: CallerLimiter<IpAddr>,
    stop: watch::Receiver<bool>,
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SettlementService for SettlementApi {
    type SubmitStream = Messages<v1::SubmitResponse>;

    async fn submit(
        &self,
        request: Request<Streaming<v1::SubmitRequest>>,
    ) -> Answer<Self::SubmitStream> {
        let from = addr_of(&request);
        let mut orders = request.into_inner();
        let shared = self.shared.clone();
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = orders.message() => next,
                    () = sender.closed() => return,
                    () = stopped(shared.stop.clone()) => return,
                };
                let answer = match next {
                    Ok(Some(order)) => shared.submit(from, order).await.map_err(Status::from),
                    Ok(None) => return,
                    Err(status) => Err(status),
                };
                let ended = answer.is_err();
                if sender.send(answer).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn claim(&self, request: Request<v1::ClaimRequest>) -> Answer<v1::ClaimResponse> {
        let from = addr_of(&request);
        let request = request.into_inner();
        self.shared.admit_addr(from)?;
        let claim: SignedClaim =
            Signed::from_bytes(&request.signed_claim).map_err(|error| bad_bytes("claim", error))?;
        let payee = claim.body.payee;
        let after = sequence(request.after_sequence)?;
        let answered = match claim.verify(&payee) {
            Ok(()) => {
                let asked = self.shared.keeper.claim(claim, after);
                self.shared.carry_out(payee, asked).await?
            }
            Err(_) => self.shared.disbelieved(payee, after).await,
        };
        let answered = self.shared.charge(from, answered)?;
        Ok(Response::new(v1::ClaimResponse {
            refusal: message::refusal(answered.refusal).into(),
            statement: Some(convert::statement(&answered)),
        }))
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Answer<v1::GetAccountResponse> {
        let from = addr_of(&request);
        let account = field::node_id("account", &request.get_ref().account)?;
        let statement = self.shared.statement(from, account, None, 1).await?;
        Ok(Response::new(v1::GetAccountResponse {
            account: Some(convert::account(&statement.account)),
        }))
    }

    async fn get_lock(&self, request: Request<v1::GetLockRequest>) -> Answer<v1::GetLockResponse> {
        self.shared.admit_addr(addr_of(&request))?;
        let raw = request.get_ref().lock_id;
        let lock_id = u64::try_from(raw).map_err(|_| field::bad("lock_id", "is below zero"))?;
        let lock = self.shared.keeper.lock(LockId::new(lock_id)).await;
        let lock = lock.map_err(|error| of_keeper(&error))?.ok_or_else(|| {
            Failure::new(ErrorReason::LockUnknown, format!("no lock {lock_id}"))
                .with("lock_id", lock_id)
        })?;
        Ok(Response::new(v1::GetLockResponse {
            lock: Some(convert::lock(&lock)),
        }))
    }

    async fn get_statement(
        &self,
        request: Request<v1::GetStatementRequest>,
    ) -> Answer<v1::GetStatementResponse> {
        let from = addr_of(&request);
        let request = request.into_inner();
        let account = field::node_id("account", &request.account)?;
        let after = sequence(request.after_sequence)?;
        let limit = field::page_size(request.page_size)?;
        let statement = self.shared.statement(from, account, after, limit).await?;
        Ok(Response::new(v1::GetStatementResponse {
            statement: Some(convert::statement(&statement)),
        }))
    }

    type WatchStream = Messages<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let from = addr_of(&request);
        let request = request.into_inner();
        self.shared.admit_addr(from)?;
        let place = self.watches.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{WATCHES_MAX} streams are open, that is all");
            Failure::new(ErrorReason::TooManyWatches, message)
        })?;
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        let account = field::node_id("account", &request.account)?;
        let follower = LineFollower {
            lines: self.shared.keeper.lines(account),
            shared: self.shared.clone(),
            account,
            after: sequence(request.after_sequence)?,
            sender,
            _place: place,
        };
        tokio::spawn(follower.run());
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl StreamState {
    async fn submit(
        &self,
        from: IpAddr,
        request: v1::SubmitRequest,
    ) -> Result<v1::SubmitResponse, Failure> {
        self.admit_addr(from)?;
        let order: SignedOrder =
            Signed::from_bytes(&request.signed_order).map_err(|error| bad_bytes("order", error))?;
        let account = order.body.account;
        let after = sequence(request.after_sequence)?;
        // Signatures are checked off the ledger's thread.
        let answered = match order.verify(&account) {
            Ok(()) => {
                let asked = self.keeper.submit(order, after);
                self.carry_out(account, asked).await?
            }
            Err(_) => self.disbelieved(account, after).await,
        };
        let answered = self.charge(from, answered)?;
        let used_by = answered.used_by.as_ref();
        Ok(v1::SubmitResponse {
            refusal: message::refusal(answered.refusal).into(),
            used_by_order: used_by.map(|order| order.to_bytes()).unwrap_or_default(),
            statement: Some(convert::statement(&answered)),
        })
    }

    /// Carries out what `signer` signed. It counts against the key once it is entered: nobody can
    /// use up another's share by repeating what it signed, which everybody can read.
    async fn carry_out(
        &self,
        signer: NodeId,
        asked: impl Future<Output = Result<(Statement, bool), KeeperError>>,
    ) -> Result<Result<Statement, KeeperError>, Failure> {
        let admitted = self.keys.admit(&signer, Instant::now());
        admitted.map_err(|wait| too_often("this key", wait))?;
        Ok(asked.await.map(|(statement, entered)| {
            if entered {
                self.keys.charge(signer, 1, Instant::now());
            }
            statement
        }))
    }

    /// The answer to what `signer` did not sign: refused, and nothing is entered.
    async fn disbelieved(
        &self,
        signer: NodeId,
        after: Option<Sequence>,
    ) -> Result<Statement, KeeperError> {
        Ok(Statement {
            refusal: Some(Refusal::BadSignature),
            ..self.keeper.statement(signer, after, PAGE_LINES_MAX).await?
        })
    }

    async fn statement(
        &self,
        from: IpAddr,
        account: NodeId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Statement, Failure> {
        self.admit_addr(from)?;
        let statement = self.keeper.statement(account, after, limit).await;
        self.charge(from, statement)
    }

    fn admit_addr(&self, from: IpAddr) -> Result<(), Failure> {
        let admitted = self.addrs.take(from, 1, Instant::now());
        admitted.map_err(|wait| too_often("this address", wait))
    }

    /// Every line costs two signatures: long answers count for more.
    fn charge(
        &self,
        from: IpAddr,
        answered: Result<Statement, KeeperError>,
    ) -> Result<Statement, Failure> {
        let answered = answered.map_err(|error| of_keeper(&error))?;
        let tokens = answered.lines.len() / LINES_PER_TOKEN;
        let tokens = u64::try_from(tokens).unwrap_or(u64::MAX);
        self.addrs.charge(from, tokens, Instant::now());
        Ok(answered)
    }
}

/// One stream of `Watch`.
struct LineFollower {
    shared: Arc<StreamState>,
    lines: watch::Receiver<()>,
    account: NodeId,
    after: Option<Sequence>,
    sender: mpsc::Sender<Result<v1::WatchResponse, Status>>,
    _place: OwnedSemaphorePermit,
}

impl LineFollower {
    async fn run(mut self) {
        let mut is_due = true;
        loop {
            self.lines.borrow_and_update();
            let keeper = &self.shared.keeper;
            let statement = keeper
                .statement(self.account, self.after, PAGE_LINES_MAX)
                .await;
            let statement = match statement {
                Ok(statement) => statement,
                Err(error) => {
                    let status = of_keeper(&error).into();
                    // A reader that is gone has no use for the reason.
                    let _ = self.sender.send(Err(status)).await;
                    return;
                }
            };
            self.after = statement.newest().or(self.after);
            if is_due || !statement.lines.is_empty() {
                let response = v1::WatchResponse {
                    statement: Some(convert::statement(&statement)),
                };
                if self.sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            if statement.more {
                continue;
            }
            tokio::select! {
                changed = self.lines.changed() => {
                    is_due = false;
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(HEARTBEAT) => is_due = true,
                () = self.sender.closed() => return,
                () = stopped(self.shared.stop.clone()) => return,
            }
        }
    }
}

/// The caller's address; of an IPv6 address the /64 that one subscriber gets.
fn addr_of<T>(request: &Request<T>) -> IpAddr {
    match request.remote_addr().map(|addr| addr.ip()) {
        Some(IpAddr::V6(addr)) => {
            let [a, b, c, d, ..] = addr.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Some(addr) => addr,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn sequence(raw: Option<i64>) -> Result<Option<Sequence>, Failure> {
    raw.map(u64::try_from)
        .transpose()
        .map(|raw| raw.map(Sequence::new))
        .map_err(|_| field::bad("after_sequence", "is below zero"))
}

fn bad_bytes(what: &str, error: LayoutError) -> Failure {
    Failure::new(
        ErrorReason::BadSignedBytes,
        format!("not a signed {what}: {error}"),
    )
}

fn too_often(who: &str, wait: Duration) -> Failure {
    Failure::new(ErrorReason::RateLimited, format!("{who} asks too often")).retry_after(wait)
}

fn of_keeper(error: &KeeperError) -> Failure {
    let reason = match error {
        KeeperError::Busy => ErrorReason::QueueFull,
        KeeperError::Ledger(_) => ErrorReason::LedgerPoisoned,
        KeeperError::Closed => ErrorReason::ShuttingDown,
    };
    Failure::new(reason, error)
}
