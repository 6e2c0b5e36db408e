//! `SettlementService`: anybody may ask, only signatures are believed, nobody may ask too often.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::discovery::host::Host;
use seedbank_ledger::layout::LayoutError;
use seedbank_ledger::settlement::codec::{
    AnswerBody, REQUEST_LEN_MAX, SettlementAnswer, SettlementRequest,
};
use seedbank_ledger::settlement::envelope::Envelope;
use seedbank_ledger::signed::answer::RequestHash;
use seedbank_ledger::signed::read::ReadKind;
use seedbank_ledger::{NodeId, Sequence};
use seedbank_proto::Failure;
use seedbank_proto::settlement_v1::settlement_service_server::{
    SettlementService, SettlementServiceServer,
};
use seedbank_proto::settlement_v1::{AskRequest, AskResponse, WatchRequest, WatchResponse};
use seedbank_proto::v1::ErrorReason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::admission::Door;
use super::limit::CallerLimiter;
use crate::rpc::door::{CrowdPlace, Crowds, OPENING_TIMEOUT};
use crate::rpc::{GRACE, KEEPALIVE, ServeError, stopped};
use crate::settlement::{Keeper, KeeperError};

/// What a message adds to a question's bytes, at most.
const FRAME_LEN_MAX: usize = 64;
/// Calls at once on one connection; more wait.
const CALLS_MAX: usize = 32;
/// Calls and streams that one connection may have open. What waits for its turn, or for a reader,
/// is in memory.
const STREAMS_MAX: u32 = 64;
/// Bytes that one connection may send of questions that nobody reads yet: the least that HTTP/2
/// knows, and enough for a hundred.
const WINDOW: u32 = 65_535;
/// Streams of `Watch` at once.
const WATCHES_MAX: usize = 4_096;
/// Of these from one address, or one IPv6 /64.
const WATCHES_OF_ONE_GROUP_MAX: usize = 32;
/// Longest silence on such a stream.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How often time is let pass when nobody asks.
const TICK: Duration = Duration::from_secs(10);
/// Answers that a slow reader may leave lying.
const BACKLOG_MAX: usize = 2;

/// Requests that one address may send at once, and the time in which one comes back.
const ADDR_BURST: u64 = 2_000;
const ADDR_REFILL: Duration = Duration::from_millis(2);
/// Signed reads of one key that one address may send at once, and the time in which one comes back.
const READ_BURST: u64 = 500;
const READ_REFILL: Duration = Duration::from_millis(20);
const HOUR: Duration = Duration::from_secs(3_600);
/// Lines of an answer that cost as much as a request of its own.
const LINES_PER_TOKEN: usize = 8;

/// Serves the ledger until `stop` holds true, then lets calls finish for a few seconds. With
/// `tls`, nobody is spoken to without.
pub async fn serve(
    door: Door,
    keeper: Keeper,
    tls: Option<ServerTlsConfig>,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let service = SettlementApi {
        shared: Arc::new(Shared::new(keeper.clone(), stop.clone())),
    };
    let service = SettlementServiceServer::new(service)
        .max_decoding_message_size(REQUEST_LEN_MAX + FRAME_LEN_MAX);
    let mut server = Server::builder();
    if let Some(tls) = tls {
        // Until it is over nobody asks for signs of life, and what the door counts may be anything.
        server = server.tls_config(tls.timeout(OPENING_TIMEOUT))?;
    }
    let served = server
        .concurrency_limit_per_connection(CALLS_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(door.incoming(stop.clone()), stopped(stop.clone()));
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
    shared: Arc<Shared>,
}

/// What streams keep when the call has returned.
pub(super) struct Shared {
    keeper: Keeper,
    orders: CallerLimiter<NodeId>,
    /// For each address of its own: who overheard a question asks it again from elsewhere.
    reads: CallerLimiter<(NodeId, Host)>,
    addrs: CallerLimiter<Host>,
    watches: Arc<Semaphore>,
    watchers: Crowds,
    stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl SettlementService for SettlementApi {
    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let from = addr_of(&request);
        let question = self.shared.read(from, &request.get_ref().request)?;
        let hash = question.hash();
        let answer = self.shared.answer(from, question).await?;
        let Envelope { answer, signature } = self.shared.seal(hash, 0, &answer);
        Ok(Response::new(AskResponse {
            answer,
            signature: signature.as_bytes().to_vec(),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let from = addr_of(&request);
        let question = self.shared.read(from, &request.get_ref().request)?;
        let Some(after) = watched_after(&question) else {
            let message = "only a signed read of kind Watch is watched";
            return Err(Failure::new(ErrorReason::BadSignedBytes, message).into());
        };
        let full = |max: usize, whose: &str| {
            let message = format!("{max} streams {whose}are open, that is all");
            Failure::new(ErrorReason::TooManyWatches, message)
        };
        let crowd = self.shared.watchers.enter(from);
        let crowd = crowd.ok_or_else(|| full(WATCHES_OF_ONE_GROUP_MAX, "of this address "))?;
        let place = self.shared.watches.clone().try_acquire_owned();
        let place = place.map_err(|_| full(WATCHES_MAX, ""))?;
        let follower = LineFollower {
            lines: self.shared.keeper.lines(question.account()),
            hash: question.hash(),
            account: question.account(),
            next_index: 0,
            after,
            is_refused: false,
            shared: self.shared.clone(),
            _places: (place, crowd),
        };
        let first = self.shared.answer(from, question).await?;
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        tokio::spawn(follower.run(first, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl Shared {
    pub(super) fn new(keeper: Keeper, stop: watch::Receiver<bool>) -> Self {
        let limits = *keeper.limits();
        let order_refill = HOUR / limits.orders_per_hour;
        Self {
            keeper,
            orders: CallerLimiter::new(u64::from(limits.order_budget), order_refill),
            reads: CallerLimiter::new(READ_BURST, READ_REFILL),
            addrs: CallerLimiter::new(ADDR_BURST, ADDR_REFILL),
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            watchers: Crowds::new(WATCHES_OF_ONE_GROUP_MAX),
            stop,
        }
    }

    /// A question as it came; it counts against its address before anything is verified.
    fn read(&self, from: Host, bytes: &[u8]) -> Result<SettlementRequest, Failure> {
        let admitted = self.addrs.take(from, 1, Instant::now());
        admitted.map_err(|wait| too_often("this address", wait))?;
        SettlementRequest::from_bytes(bytes).map_err(bad_bytes)
    }

    /// Answers a question of whoever signed it. Signatures are checked here, off the ledger's
    /// thread; who did not sign is refused, and nothing is entered.
    pub(super) async fn answer(
        self: &Arc<Self>,
        from: Host,
        question: SettlementRequest,
    ) -> Result<SettlementAnswer, Failure> {
        let sealer = self.keeper.sealer();
        if let Err(refusal) = question.check(sealer.scheme(), sealer.network_id()) {
            return Ok(SettlementAnswer::refused(self.keeper.time(), refusal));
        }
        let signer = question.account();
        let now = Instant::now();
        let is_read = matches!(question, SettlementRequest::Read(_));
        let admitted = if is_read {
            self.reads.take((signer, from), 1, now)
        } else {
            self.orders.admit(&signer, now)
        };
        admitted.map_err(|wait| too_often("this key", wait))?;
        // Who asked may be gone before it is answered: what was done for it counts all the same.
        let shared = Arc::clone(self);
        let asked = tokio::spawn(async move { shared.ask(from, signer, question).await });
        let asked = asked.await;
        asked.unwrap_or_else(|_| Err(of_keeper(&KeeperError::Closed)))
    }

    async fn ask(
        &self,
        from: Host,
        signer: NodeId,
        question: SettlementRequest,
    ) -> Result<SettlementAnswer, Failure> {
        let answered = self.keeper.ask(question).await;
        let answered = answered.map_err(|error| of_keeper(&error))?;
        // It counts against the key once it is entered: nobody can use up another's share by
        // repeating what it signed.
        if answered.entered {
            self.orders.charge(signer, 1, Instant::now());
        }
        self.charge_lines(from, &answered.answer);
        Ok(answered.answer)
    }

    /// Every line costs two signatures: long answers count for more.
    fn charge_lines(&self, from: Host, answer: &SettlementAnswer) {
        let tokens = lines_of(answer) / LINES_PER_TOKEN;
        let tokens = u64::try_from(tokens).unwrap_or(u64::MAX);
        self.addrs.charge(from, tokens, Instant::now());
    }

    fn seal(&self, request: RequestHash, index: u64, answer: &SettlementAnswer) -> Envelope {
        self.keeper.sealer().seal(request, index, answer)
    }
}

/// One stream of `Watch`.
struct LineFollower {
    shared: Arc<Shared>,
    lines: watch::Receiver<()>,
    hash: RequestHash,
    account: NodeId,
    next_index: u64,
    after: Option<Sequence>,
    is_refused: bool,
    _places: (OwnedSemaphorePermit, CrowdPlace),
}

impl LineFollower {
    async fn run(
        mut self,
        first: SettlementAnswer,
        sender: mpsc::Sender<Result<WatchResponse, Status>>,
    ) {
        let mut is_due = true;
        let mut answer = first;
        loop {
            let more = self.note(&answer);
            if is_due || lines_of(&answer) > 0 {
                let response = self.sealed(&answer);
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            if self.is_refused {
                return;
            }
            if !more {
                tokio::select! {
                    changed = self.lines.changed() => {
                        is_due = false;
                        if changed.is_err() {
                            return;
                        }
                    }
                    () = tokio::time::sleep(HEARTBEAT) => is_due = true,
                    () = sender.closed() => return,
                    () = stopped(self.shared.stop.clone()) => return,
                }
            }
            self.lines.borrow_and_update();
            let keeper = &self.shared.keeper;
            answer = match keeper.watched(self.account, self.after).await {
                Ok(answer) => answer,
                Err(error) => {
                    let status = of_keeper(&error).into();
                    // A reader that is gone has no use for the reason.
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            };
        }
    }

    /// Notes how far an answer goes; whether there is more behind it.
    fn note(&mut self, answer: &SettlementAnswer) -> bool {
        match &answer.body {
            AnswerBody::Statement(statement) => {
                self.after = statement.newest().or(self.after);
                statement.more
            }
            AnswerBody::Refused(_)
            | AnswerBody::Operation(_)
            | AnswerBody::Account(_)
            | AnswerBody::Lock(_) => {
                self.is_refused = true;
                false
            }
        }
    }

    fn sealed(&mut self, answer: &SettlementAnswer) -> WatchResponse {
        let index = self.next_index;
        self.next_index += 1;
        let Envelope { answer, signature } = self.shared.seal(self.hash, index, answer);
        WatchResponse {
            answer,
            signature: signature.as_bytes().to_vec(),
        }
    }
}

/// Behind which line a watch begins; `None` if the question is none.
fn watched_after(question: &SettlementRequest) -> Option<Option<Sequence>> {
    let SettlementRequest::Read(read) = question else {
        return None;
    };
    match read.body.kind {
        ReadKind::Watch { after } => Some(after),
        ReadKind::Account | ReadKind::Lock(_) | ReadKind::Statement { .. } => None,
    }
}

fn lines_of(answer: &SettlementAnswer) -> usize {
    match &answer.body {
        AnswerBody::Statement(statement) => statement.lines.len(),
        AnswerBody::Operation(operation) => usize::from(operation.line.is_some()),
        AnswerBody::Refused(_) | AnswerBody::Account(_) | AnswerBody::Lock(_) => 0,
    }
}

/// Whom the caller counts to.
fn addr_of<T>(request: &Request<T>) -> Host {
    let addr = request.remote_addr().map(|addr| addr.ip());
    Host::of(addr.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

fn bad_bytes(error: LayoutError) -> Failure {
    Failure::new(ErrorReason::BadSignedBytes, format!("no question: {error}"))
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
