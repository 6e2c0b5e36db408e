//! One thread enters everything in the network ledger. Orders and claims wait for it in a bounded
//! queue; all that wait are entered as one group, fsynced once.
//!
//! Reads do not pass it: each takes a snapshot, and reads and signs beside the thread
//! (`keeper/watchers.rs` says when there is something new to read). Who asked for something to be
//! entered reads its answer the same way, once it is durable.

mod watchers;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use seedbank_ledger::charts::network::{AccountSummary, Audit, NetworkLedger, Overview, Supply};
use seedbank_ledger::genesis::Limits;
use seedbank_ledger::ledger::check::CheckError;
use seedbank_ledger::ledger::{GROUP_MAX, LedgerError, Outcome};
use seedbank_ledger::settlement::codec::{SettlementAnswer, SettlementRequest};
use seedbank_ledger::settlement::envelope::Sealer;
use seedbank_ledger::settlement::{
    Answered, GrantOutcome, GrantPage, IssueError, Issuing, NewGrant, SettlementNode,
    SettlementReader,
};
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{Snapshot, Store};
use seedbank_ledger::{NodeId, Sequence, UnixTime};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::inbox::Stopping;
use crate::settlement::grant::GrantError;
use watchers::Watchers;

/// Operations, and reads, that wait at most; more are turned away.
const QUEUE_MAX: usize = 4_096;
/// What it is called.
const THREAD: &str = "network-ledger";
/// Reads at once, each on a thread that may block.
const READS_MAX: usize = 16;

/// The way to the thread, and to what it has written. Cheap to clone; when the last one is gone,
/// the thread ends.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// Given up before `jobs`, so that the store is closed when the thread has ended.
    reader: SettlementReader,
    jobs: mpsc::Sender<Job>,
    /// Places for those who wait to read, and for those who do.
    waiting: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    watchers: Arc<Watchers>,
    failure: watch::Receiver<Option<LedgerError>>,
    can_grant: bool,
    sealer: Sealer,
    clock: SettlementClock,
    time: Arc<AtomicU64>,
}

/// Settlement time, for the thread and for those who read beside it.
#[derive(Clone)]
struct SettlementClock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

impl SettlementClock {
    fn now(&self) -> UnixTime {
        (self.0)()
    }
}

impl fmt::Debug for SettlementClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SettlementClock").field(&self.now()).finish()
    }
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
    Enter(Box<Entering>),
    Grant {
        grant: NewGrant,
        reply: oneshot::Sender<Result<GrantOutcome, GrantError>>,
    },
    /// Let time pass: what has fallen due is entered.
    Tick,
}

/// An order or claim, and who waits for what becomes of it.
#[derive(Debug)]
struct Entering {
    operation: Operation,
    reply: ReplyTo<Outcome>,
}

impl Keeper {
    /// Starts the thread. `clock` is read once per group and once per read. Join the handle to know
    /// that the store is closed.
    pub fn start<S: Store + Clone + 'static>(
        ledger: NetworkLedger<S>,
        issuing: Option<Issuing<S>>,
        clock: impl Fn() -> UnixTime + Send + Sync + 'static,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (failed, failure) = watch::channel(None);
        let clock = SettlementClock(Arc::new(clock));
        let node = SettlementNode::new(ledger, issuing);
        let keeper = Self {
            reader: node.reader(),
            jobs,
            waiting: Arc::new(Semaphore::new(QUEUE_MAX)),
            reading: Arc::new(Semaphore::new(READS_MAX)),
            watchers: Arc::default(),
            failure,
            can_grant: node.can_grant(),
            sealer: node.sealer(),
            time: Arc::new(AtomicU64::new(clock.now().as_secs())),
            clock,
        };
        let thread = Thread {
            node,
            clock: keeper.clock.clone(),
            time: Arc::clone(&keeper.time),
            watchers: Arc::clone(&keeper.watchers),
            failed,
        };
        let builder = std::thread::Builder::new().name(THREAD.to_owned());
        let handle = builder.spawn(move || thread.run(queue))?;
        Ok((keeper, handle))
    }

    /// What bounds orders, by the genesis file.
    pub fn limits(&self) -> &Limits {
        &self.reader.genesis().limits
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
        let Some(operation) = question.operation() else {
            return self
                .read(move |node, now| node.answer_one(now, &question, None))
                .await;
        };
        let outcome = self.enter(operation).await?;
        self.answer(move |node, now| node.answer_one(now, &question, Some(outcome)))
            .await
    }

    /// The lines of `account` after `after`, for somebody whose watch was let in.
    pub async fn watched(
        &self,
        account: NodeId,
        after: Option<Sequence>,
    ) -> Result<SettlementAnswer, KeeperError> {
        self.read(move |node, now| node.watched(now, &account, after))
            .await
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

    /// Makes the whole ledger again from its entries, as it stands now, and sums it up.
    pub async fn audit(&self) -> Result<Result<Audit, CheckError>, KeeperError> {
        self.read(|node, _| Ok(node.audit())).await
    }

    /// What was granted and burned so far.
    pub async fn supply(&self) -> Result<Supply, KeeperError> {
        self.read(|node, _| node.ledger().supply()).await
    }

    /// Where all credit is. O(accounts and locks).
    pub async fn overview(&self) -> Result<NetworkOverview, KeeperError> {
        let can_grant = self.can_grant;
        let overview = move |node: &SettlementNode<Snapshot<'_>>, _| {
            Ok(NetworkOverview {
                sums: node.ledger().overview()?,
                entry_count: node.ledger().head().next.get(),
                can_grant,
            })
        };
        self.read(overview).await
    }

    /// At most `limit` accounts behind `after`, by key.
    pub async fn members(
        &self,
        after: Option<NodeId>,
        limit: usize,
    ) -> Result<Vec<AccountSummary>, KeeperError> {
        self.read(move |node, _| node.ledger().members(after.as_ref(), limit))
            .await
    }

    /// At most `limit` grants before `before`, newest first.
    pub async fn grants(
        &self,
        before: Option<Sequence>,
        limit: usize,
    ) -> Result<GrantPage, KeeperError> {
        self.read(move |node, _| node.grants(before, limit)).await
    }

    /// Lets time pass, so that expired locks return without anybody asking.
    pub fn tick(&self) {
        // If the queue is full, the next group lets time pass as well.
        let _ = self.jobs.try_send(Job::Tick);
    }

    /// Changes with every group that has a line of `account`; ends with the thread.
    pub fn lines(&self, account: NodeId) -> watch::Receiver<()> {
        self.watchers.watch(account)
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

    /// Has an order or a claim entered; durable when this returns.
    async fn enter(&self, operation: Operation) -> Result<Outcome, KeeperError> {
        let (reply, outcome) = oneshot::channel();
        let entering = Box::new(Entering { operation, reply });
        match self.jobs.try_send(Job::Enter(entering)) {
            Ok(()) => outcome.await.unwrap_or(Err(KeeperError::Closed)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(KeeperError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(KeeperError::Closed),
        }
    }

    /// Reads the ledger as it stands, unless too many wait to do so.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SettlementNode<Snapshot<'_>>, UnixTime) -> Result<T, LedgerError>
        + Send
        + 'static,
    ) -> Result<T, KeeperError> {
        let place = self.waiting.try_acquire();
        let _place = place.map_err(|_| KeeperError::Busy)?;
        self.answer(read).await
    }

    /// Reads the ledger as it stands, on a thread that may block.
    async fn answer<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SettlementNode<Snapshot<'_>>, UnixTime) -> Result<T, LedgerError>
        + Send
        + 'static,
    ) -> Result<T, KeeperError> {
        let place = Arc::clone(&self.reading).acquire_owned().await;
        let place = place.expect("nobody closes it");
        // The keeper comes along: the thread does not end before what is read is given up.
        let keeper = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            let node = keeper.reader.now()?;
            Ok(read(&node, keeper.clock.now())?)
        });
        reading.await.unwrap_or(Err(KeeperError::Closed))
    }
}

struct Thread<S> {
    node: SettlementNode<S>,
    clock: SettlementClock,
    watchers: Arc<Watchers>,
    failed: watch::Sender<Option<LedgerError>>,
    time: Arc<AtomicU64>,
}

impl<S: Store> Thread<S> {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        while let Some(first) = self.next(&mut queue) {
            let mut job = Some(first);
            while let Some(next) = job.take() {
                match next {
                    Job::Enter(entering) => group.push(*entering),
                    // In the order of arrival.
                    Job::Grant { grant, reply } => {
                        self.enter(std::mem::take(&mut group));
                        // Whoever asked may be gone; what was done is done.
                        let _ = reply.send(self.grant(&grant).map_err(GrantError::from));
                    }
                    // Time passes with the group.
                    Job::Tick if !group.is_empty() => {}
                    Job::Tick => self.pass_time(),
                }
                if group.len() < GROUP_MAX {
                    job = queue.try_recv().ok();
                }
            }
            self.enter(std::mem::take(&mut group));
        }
    }

    /// Waits for the next job, and as long as nobody asks, ends locks whose time has passed.
    fn next(&mut self, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
        while self.node.is_behind() {
            match queue.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Empty) => self.pass_time(),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        queue.blocking_recv()
    }

    fn pass_time(&mut self) {
        // Why it failed, if it did, is told below.
        let _ = self.node.tick(self.now());
        self.tell();
    }

    /// Enters a group, and tells each of it once all of it is durable.
    fn enter(&mut self, group: Vec<Entering>) {
        if group.is_empty() {
            return;
        }
        let (operations, replies): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|Entering { operation, reply }| (operation, reply))
            .unzip();
        let outcomes = self.node.enter(self.now(), &operations);
        self.tell();
        match outcomes {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let _ = reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone().into()));
                }
            }
        }
    }

    fn now(&self) -> UnixTime {
        let now = self.clock.now();
        self.time.store(now.as_secs(), Ordering::Relaxed);
        now
    }

    fn grant(&mut self, grant: &NewGrant) -> Result<GrantOutcome, IssueError> {
        let outcome = self.node.grant(self.now(), grant);
        self.tell();
        let (to, amount, reason) = (grant.to, grant.amount, &grant.reason);
        tracing::info!(%to, %amount, reason, ?outcome, "grant");
        outcome
    }

    /// Wakes whoever waits for lines that there are now, or for the end of the ledger.
    fn tell(&mut self) {
        if let Some(error) = self.node.ledger().failure() {
            self.failed.send_if_modified(|failed| {
                let is_first = failed.is_none();
                failed.get_or_insert_with(|| error.clone());
                is_first
            });
        }
        self.watchers.wake(&self.node.take_touched());
    }
}

impl<S> Drop for Thread<S> {
    fn drop(&mut self) {
        self.watchers.close();
    }
}
