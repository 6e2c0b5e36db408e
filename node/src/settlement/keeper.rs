//! One thread owns the settlement node's service. What asks for it waits in a bounded queue; all
//! questions that wait are answered as one group, fsynced once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use seedbank_ledger::charts::network::{AccountSummary, Audit, NetworkLedger, Overview, Supply};
use seedbank_ledger::genesis::Limits;
use seedbank_ledger::ledger::check::CheckError;
use seedbank_ledger::ledger::{GROUP_MAX, LedgerError};
use seedbank_ledger::settlement::codec::{SettlementAnswer, SettlementRequest};
use seedbank_ledger::settlement::envelope::Sealer;
use seedbank_ledger::settlement::{
    Answered, GrantOutcome, GrantPage, IssueError, Issuing, NewGrant, SettlementNode,
};
use seedbank_ledger::store::Store;
use seedbank_ledger::{NodeId, Sequence, UnixTime};
use tokio::sync::{mpsc, oneshot, watch};

use crate::inbox::Stopping;
use crate::settlement::grant::GrantError;

/// Requests that wait at most; more are turned away.
const QUEUE_MAX: usize = 4_096;

/// The way to the thread. Cheap to clone; when the last one is gone, the thread ends.
#[derive(Clone, Debug)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    head: watch::Receiver<Sequence>,
    failure: watch::Receiver<Option<LedgerError>>,
    limits: Limits,
    sealer: Sealer,
    time: Arc<AtomicU64>,
}

/// Why the ledger did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    /// Too much is waiting.
    #[error("{QUEUE_MAX} requests wait already")]
    Busy,
    /// The ledger cannot go on.
    #[error("network ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// The thread is gone.
    #[error("the network ledger is closed")]
    Closed,
}

/// The network at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOverview {
    /// Where all credit is.
    pub sums: Overview,
    /// Entries of its ledger.
    pub entry_count: u64,
    /// Whether credit can be created here.
    pub can_grant: bool,
}

type ReplyTo<T> = oneshot::Sender<Result<T, KeeperError>>;

#[derive(Debug)]
enum Job {
    Ask(Box<Waiting>),
    Watched {
        account: NodeId,
        after: Option<Sequence>,
        reply: ReplyTo<SettlementAnswer>,
    },
    Grant {
        grant: NewGrant,
        reply: oneshot::Sender<Result<GrantOutcome, GrantError>>,
    },
    Audit(ReplyTo<Result<Audit, CheckError>>),
    Supply(ReplyTo<Supply>),
    Overview(ReplyTo<NetworkOverview>),
    Members {
        after: Option<NodeId>,
        limit: usize,
        reply: ReplyTo<Vec<AccountSummary>>,
    },
    Grants {
        before: Option<Sequence>,
        limit: usize,
        reply: ReplyTo<GrantPage>,
    },
    /// Let time pass: what has fallen due is entered.
    Tick,
}

/// A question and who waits for its answer.
#[derive(Debug)]
struct Waiting {
    question: SettlementRequest,
    reply: ReplyTo<Answered>,
}

impl Keeper {
    /// Starts the thread. `clock` is read once per group. Join the handle to know that the store
    /// is closed.
    pub fn start<S: Store + 'static>(
        ledger: NetworkLedger<S>,
        issuing: Option<Issuing<S>>,
        clock: impl Fn() -> UnixTime + Send + 'static,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (head_is, head) = watch::channel(ledger.head().next);
        let (failed, failure) = watch::channel(None);
        let limits = ledger.genesis().limits;
        let node = SettlementNode::new(ledger, issuing);
        let sealer = node.sealer();
        let time = Arc::new(AtomicU64::new(clock().as_secs()));
        let thread = Thread {
            node,
            clock,
            time: Arc::clone(&time),
            head: head_is,
            failed,
        };
        let builder = std::thread::Builder::new().name("network-ledger".to_owned());
        let handle = builder.spawn(move || thread.run(queue))?;
        let keeper = Self {
            jobs,
            head,
            failure,
            limits,
            sealer,
            time,
        };
        Ok((keeper, handle))
    }

    /// What bounds orders, by the genesis file.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What seals its answers: signing is done by whoever sends one, not by the ledger's thread.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Settlement time as the thread read it last: a few seconds behind at most.
    pub fn time(&self) -> UnixTime {
        UnixTime::from_secs(self.time.load(Ordering::Relaxed))
    }

    /// Asks what [`SettlementRequest::check`] has passed.
    pub async fn ask(&self, question: SettlementRequest) -> Result<Answered, KeeperError> {
        self.send(|reply| Job::Ask(Box::new(Waiting { question, reply })))
            .await
    }

    /// The lines of `account` after `after`, for somebody whose watch was let in.
    pub async fn watched(
        &self,
        account: NodeId,
        after: Option<Sequence>,
    ) -> Result<SettlementAnswer, KeeperError> {
        let watched = |reply| Job::Watched {
            account,
            after,
            reply,
        };
        self.send(watched).await
    }

    /// Creates credit, signed by the issuer's key. The same request again gives the same answer.
    pub async fn grant(&self, grant: NewGrant) -> Result<GrantOutcome, GrantError> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job::Grant { grant, reply }) {
            Ok(()) => answer.await.unwrap_or(Err(GrantError::Stopping(Stopping))),
            Err(mpsc::error::TrySendError::Full(_)) => Err(GrantError::Busy(QUEUE_MAX)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(GrantError::Stopping(Stopping)),
        }
    }

    /// Makes the whole ledger again from its entries and sums it up; nothing is entered meanwhile.
    pub async fn audit(&self) -> Result<Result<Audit, CheckError>, KeeperError> {
        self.send(Job::Audit).await
    }

    /// What was granted and burned so far.
    pub async fn supply(&self) -> Result<Supply, KeeperError> {
        self.send(Job::Supply).await
    }

    /// Where all credit is. O(accounts and locks); nothing is entered meanwhile.
    pub async fn overview(&self) -> Result<NetworkOverview, KeeperError> {
        self.send(Job::Overview).await
    }

    /// At most `limit` accounts behind `after`, by key.
    pub async fn members(
        &self,
        after: Option<NodeId>,
        limit: usize,
    ) -> Result<Vec<AccountSummary>, KeeperError> {
        let members = |reply| Job::Members {
            after,
            limit,
            reply,
        };
        self.send(members).await
    }

    /// At most `limit` grants before `before`, newest first.
    pub async fn grants(
        &self,
        before: Option<Sequence>,
        limit: usize,
    ) -> Result<GrantPage, KeeperError> {
        let grants = |reply| Job::Grants {
            before,
            limit,
            reply,
        };
        self.send(grants).await
    }

    /// Lets time pass, so that expired locks return without anybody asking.
    pub fn tick(&self) {
        // If the queue is full, the next group lets time pass as well.
        let _ = self.jobs.try_send(Job::Tick);
    }

    /// Sequence of the next entry; the value changes with every group.
    pub fn head(&self) -> watch::Receiver<Sequence> {
        self.head.clone()
    }

    /// Waits until the ledger cannot go on, and says why; for ever if it ends in peace.
    pub async fn failed(&self) -> LedgerError {
        let mut failure = self.failure.clone();
        let told = failure.wait_for(Option::is_some).await;
        match told.ok().and_then(|error| error.clone()) {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    async fn send<T>(&self, job: impl FnOnce(ReplyTo<T>) -> Job) -> Result<T, KeeperError> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(job(reply)) {
            Ok(()) => answer.await.unwrap_or(Err(KeeperError::Closed)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(KeeperError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(KeeperError::Closed),
        }
    }
}

struct Thread<S, C> {
    node: SettlementNode<S>,
    clock: C,
    head: watch::Sender<Sequence>,
    failed: watch::Sender<Option<LedgerError>>,
    time: Arc<AtomicU64>,
}

impl<S: Store, C: Fn() -> UnixTime> Thread<S, C> {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut job = Some(first);
            while let Some(next) = job.take() {
                match next {
                    Job::Ask(asked) => group.push(*asked),
                    other => {
                        // In the order of arrival: a read sees what was asked for before it.
                        self.answer(std::mem::take(&mut group));
                        self.carry_out(other);
                    }
                }
                if group.len() < GROUP_MAX {
                    job = queue.try_recv().ok();
                }
            }
            self.answer(std::mem::take(&mut group));
        }
    }

    /// Answers each of a group once all of it is durable.
    fn answer(&mut self, group: Vec<Waiting>) {
        if group.is_empty() {
            return;
        }
        let (questions, replies): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|Waiting { question, reply }| (question, reply))
            .unzip();
        let answers = self.node.answer(self.now(), &questions);
        self.tell_head();
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever asked may be gone; what was done is done.
            let _ = reply.send(answer.map_err(KeeperError::from));
        }
    }

    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Ask(asked) => self.answer(vec![*asked]),
            Job::Watched {
                account,
                after,
                reply,
            } => {
                let answer = self.node.watched(self.now(), &account, after);
                let _ = reply.send(answer.map_err(KeeperError::from));
            }
            Job::Grant { grant, reply } => {
                let _ = reply.send(self.grant(&grant).map_err(GrantError::from));
            }
            Job::Audit(reply) => {
                let _ = reply.send(Ok(self.node.audit()));
            }
            Job::Supply(reply) => {
                let supply = self.node.ledger().supply();
                let _ = reply.send(supply.map_err(KeeperError::from));
            }
            Job::Overview(reply) => {
                let _ = reply.send(self.overview().map_err(KeeperError::from));
            }
            Job::Members {
                after,
                limit,
                reply,
            } => {
                let members = self.node.ledger().members(after.as_ref(), limit);
                let _ = reply.send(members.map_err(KeeperError::from));
            }
            Job::Grants {
                before,
                limit,
                reply,
            } => {
                let page = self.node.grants(before, limit);
                let _ = reply.send(page.map_err(KeeperError::from));
            }
            Job::Tick => {
                // Why it failed, if it did, is told below.
                let _ = self.node.tick(self.now());
                self.tell_head();
            }
        }
    }

    fn now(&self) -> UnixTime {
        let now = (self.clock)();
        self.time.store(now.as_secs(), Ordering::Relaxed);
        now
    }

    fn overview(&self) -> Result<NetworkOverview, LedgerError> {
        let ledger = self.node.ledger();
        Ok(NetworkOverview {
            sums: ledger.overview()?,
            entry_count: ledger.head().next.get(),
            can_grant: self.node.can_grant(),
        })
    }

    fn grant(&mut self, grant: &NewGrant) -> Result<GrantOutcome, IssueError> {
        let outcome = self.node.grant(self.now(), grant);
        self.tell_head();
        let (to, amount, reason) = (grant.to, grant.amount, &grant.reason);
        tracing::info!(%to, %amount, reason, ?outcome, "grant");
        outcome
    }

    /// Wakes whoever waits for entries, if there are new ones, or for the end of the ledger.
    fn tell_head(&self) {
        if let Some(error) = self.node.ledger().failure() {
            self.failed.send_if_modified(|failed| {
                let is_first = failed.is_none();
                failed.get_or_insert_with(|| error.clone());
                is_first
            });
        }
        let next = self.node.ledger().head().next;
        self.head.send_if_modified(|head| {
            let moved = *head != next;
            *head = next;
            moved
        });
    }
}
