//! One thread owns the network ledger. What asks for it waits in a bounded queue; all orders and
//! claims that wait are entered as one group, fsynced once, and only then answered.

use std::io;
use std::thread::JoinHandle;

use seedbank_ledger::charts::network::{Audit, NetworkLedger};
use seedbank_ledger::ledger::check::CheckError;
use seedbank_ledger::ledger::{GROUP_MAX, LedgerError, Outcome};
use seedbank_ledger::request::{RequestError, Requests};
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::signed::{Body as _, Signed};
use seedbank_ledger::statement::{LockStatus, Operation};
use seedbank_ledger::store::Store;
use seedbank_ledger::{Identity, NetworkId, NodeId, Sequence, UnixTime};
use tokio::sync::{mpsc, oneshot, watch};

use crate::inbox::Stopping;
use crate::settlement::answer::{Answered, LINES_MAX, Statement};
use crate::settlement::grant::{GrantError, Granted, NewGrant};

/// Requests that wait at most; more are turned away.
const QUEUE_MAX: usize = 4_096;
/// How long an issuer's order may lie before it is refused, in seconds.
const GRANT_VALID_SECS: u64 = 86_400;

const GRANT_CONTEXT: &str = "seedbank v1 grant memo";

/// The issuer's key, and the grants answered before.
#[derive(Debug)]
pub struct Issuing<S> {
    /// Signs grants.
    pub issuer: Identity,
    /// Answers by request id, in the network ledger's store.
    pub requests: Requests<S>,
}

/// The way to the thread. Cheap to clone; when the last one is gone, the thread ends.
#[derive(Clone, Debug)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    head: watch::Receiver<Sequence>,
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

type Reply<T> = oneshot::Sender<Result<T, KeeperError>>;

#[derive(Debug)]
enum Job {
    Enter(Box<Entering>),
    Statement {
        account: NodeId,
        after: Option<Sequence>,
        limit: usize,
        reply: Reply<Statement>,
    },
    Lock {
        lock_id: LockId,
        reply: Reply<Option<LockStatus>>,
    },
    Grant {
        grant: NewGrant,
        reply: oneshot::Sender<Result<Granted, GrantError>>,
    },
    Audit(Reply<Result<Audit, CheckError>>),
    /// Let time pass: what has fallen due is entered.
    Tick,
}

/// An order or claim on its way in.
#[derive(Debug)]
struct Entering {
    operation: Operation,
    /// Whose statement answers it.
    account: NodeId,
    after: Option<Sequence>,
    reply: Reply<Answered>,
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
        let thread = Thread {
            ledger,
            issuing,
            clock,
            head: head_is,
        };
        let builder = std::thread::Builder::new().name("network-ledger".to_owned());
        let handle = builder.spawn(move || thread.run(queue))?;
        Ok((Self { jobs, head }, handle))
    }

    /// Carries out an order and answers with its account's lines after `after`.
    pub async fn submit(
        &self,
        order: SignedOrder,
        after: Option<Sequence>,
    ) -> Result<Answered, KeeperError> {
        let account = order.body.account;
        self.enter(Operation::Order(order), account, after).await
    }

    /// Pays a claim and answers with the payee's lines after `after`.
    pub async fn claim(
        &self,
        claim: SignedClaim,
        after: Option<Sequence>,
    ) -> Result<Answered, KeeperError> {
        let account = claim.body.payee;
        self.enter(Operation::Claim(claim), account, after).await
    }

    /// At most `limit` lines of `account` after `after`.
    pub async fn statement(
        &self,
        account: NodeId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Statement, KeeperError> {
        let statement = |reply| Job::Statement {
            account,
            after,
            limit,
            reply,
        };
        self.ask(statement).await
    }

    /// One lock; `None` if there is none of that number.
    pub async fn lock(&self, lock_id: LockId) -> Result<Option<LockStatus>, KeeperError> {
        self.ask(|reply| Job::Lock { lock_id, reply }).await
    }

    /// Creates credit, signed by the issuer's key. The same request again gives the same answer.
    pub async fn grant(&self, grant: NewGrant) -> Result<Granted, GrantError> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job::Grant { grant, reply }) {
            Ok(()) => answer.await.unwrap_or(Err(GrantError::Stopping(Stopping))),
            Err(mpsc::error::TrySendError::Full(_)) => Err(GrantError::Busy(QUEUE_MAX)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(GrantError::Stopping(Stopping)),
        }
    }

    /// Makes the whole ledger again from its entries and sums it up; nothing is entered meanwhile.
    pub async fn audit(&self) -> Result<Result<Audit, CheckError>, KeeperError> {
        self.ask(Job::Audit).await
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

    async fn enter(
        &self,
        operation: Operation,
        account: NodeId,
        after: Option<Sequence>,
    ) -> Result<Answered, KeeperError> {
        let enter = |reply| {
            Job::Enter(Box::new(Entering {
                operation,
                account,
                after,
                reply,
            }))
        };
        self.ask(enter).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, KeeperError> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(job(reply)) {
            Ok(()) => answer.await.unwrap_or(Err(KeeperError::Closed)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(KeeperError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(KeeperError::Closed),
        }
    }
}

struct Thread<S, C> {
    ledger: NetworkLedger<S>,
    issuing: Option<Issuing<S>>,
    clock: C,
    head: watch::Sender<Sequence>,
}

impl<S: Store, C: Fn() -> UnixTime> Thread<S, C> {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut job = Some(first);
            while let Some(next) = job.take() {
                match next {
                    Job::Enter(entering) => group.push(*entering),
                    other => {
                        // In the order of arrival: a read sees what was asked for before it.
                        self.enter(std::mem::take(&mut group));
                        self.answer(other);
                    }
                }
                if group.len() < GROUP_MAX {
                    job = queue.try_recv().ok();
                }
            }
            self.enter(std::mem::take(&mut group));
        }
    }

    /// Enters a group, and answers each of it once all of it is durable.
    fn enter(&mut self, group: Vec<Entering>) {
        if group.is_empty() {
            return;
        }
        let operations: Vec<Operation> = group.iter().map(|one| one.operation.clone()).collect();
        let outcomes = self.append(&operations);
        match outcomes {
            Ok(outcomes) => {
                assert_eq!(outcomes.len(), group.len(), "each gets an outcome");
                for (entering, outcome) in group.into_iter().zip(outcomes) {
                    let answer = self.answered(&entering, outcome);
                    // Whoever asked may be gone; what was done is done.
                    let _ = entering.reply.send(answer);
                }
            }
            Err(error) => {
                for entering in group {
                    let _ = entering.reply.send(Err(error.clone().into()));
                }
            }
        }
    }

    fn append(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, LedgerError> {
        let outcomes = self.ledger.append((self.clock)(), operations)?;
        let next = self.ledger.head().next;
        self.head.send_if_modified(|head| {
            let moved = *head != next;
            *head = next;
            moved
        });
        Ok(outcomes)
    }

    fn answered(&self, entering: &Entering, outcome: Outcome) -> Result<Answered, KeeperError> {
        let refusal = outcome.refusal();
        let used_by = match outcome {
            Outcome::NonceUsed { order, .. } => Some(order),
            Outcome::Entered { .. } | Outcome::Known { .. } | Outcome::Refused(_) => None,
        };
        Ok(Answered {
            refusal,
            used_by,
            statement: self.statement(&entering.account, entering.after, LINES_MAX)?,
        })
    }

    fn answer(&mut self, job: Job) {
        match job {
            Job::Enter(entering) => self.enter(vec![*entering]),
            Job::Statement {
                account,
                after,
                limit,
                reply,
            } => {
                let _ = reply.send(self.statement(&account, after, limit));
            }
            Job::Lock { lock_id, reply } => {
                let _ = reply.send(self.ledger.lock(lock_id).map_err(KeeperError::from));
            }
            Job::Grant { grant, reply } => {
                let _ = reply.send(self.grant(&grant));
            }
            Job::Audit(reply) => {
                let _ = reply.send(Ok(self.ledger.audit()));
            }
            Job::Tick => {
                if let Err(error) = self.append(&[]) {
                    tracing::error!(%error, "network ledger");
                }
            }
        }
    }

    fn statement(
        &self,
        account: &NodeId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Statement, KeeperError> {
        let limit = limit.clamp(1, LINES_MAX);
        let mut lines = self.ledger.statement(account, after, limit + 1)?;
        let more = lines.len() > limit;
        lines.truncate(limit);
        Ok(Statement {
            lines,
            account: self.ledger.account(account)?,
            more,
        })
    }

    /// The signed order is remembered before it is entered: whoever repeats the request after a
    /// crash repeats that order, whose nonce can be used only once.
    fn grant(&mut self, grant: &NewGrant) -> Result<Granted, GrantError> {
        let now = (self.clock)();
        let network_id = self.ledger.network_id();
        let issuing = self.issuing.as_ref().ok_or(GrantError::NotIssuer)?;
        let account = issuing.issuer.id();
        let body = grant_body(grant);
        let known = issuing.requests.answer(&grant.request_id, &body);
        let order = match known.map_err(of_request)? {
            Some(bytes) => Signed::from_bytes(&bytes).expect("we wrote this order"),
            None => {
                let nonce = self.ledger.account(&account)?.nonce + 1;
                let order = grant_order(grant, network_id, account, nonce, now);
                let order: SignedOrder = order.sign(&issuing.issuer);
                let bytes = order.to_bytes();
                let remembered = issuing
                    .requests
                    .remember(&grant.request_id, &body, &bytes, now);
                remembered.map_err(of_request)?;
                order
            }
        };
        let outcomes = self.append(&[Operation::Order(order)])?;
        let outcome = outcomes.first().expect("one order has one outcome");
        let (to, amount, reason) = (grant.to, grant.amount, &grant.reason);
        tracing::info!(%to, %amount, reason, ?outcome, "grant");
        match (outcome.refusal(), outcome.sequence()) {
            (None, Some(sequence)) => self.granted(sequence, order.body.nonce),
            (Some(refusal), _) => Err(GrantError::Refused(refusal)),
            (None, None) => unreachable!("what was not refused is an entry"),
        }
    }

    fn granted(&self, sequence: Sequence, nonce: u64) -> Result<Granted, GrantError> {
        let entries = self.ledger.entries(sequence, 1)?;
        let entry = entries.first().expect("an entry that was entered is there");
        Ok(Granted {
            sequence,
            entry_hash: seedbank_ledger::entry::EntryHash::of(&entry.to_bytes()),
            nonce,
        })
    }
}

fn grant_order(
    grant: &NewGrant,
    network_id: NetworkId,
    account: NodeId,
    nonce: u64,
    now: UnixTime,
) -> Order {
    Order {
        network_id,
        account,
        nonce,
        valid_until: now.plus_secs(GRANT_VALID_SECS),
        kind: OrderKind::Grant {
            to: grant.to,
            amount: grant.amount,
        },
        memo_hash: blake3::derive_key(GRANT_CONTEXT, grant.reason.as_bytes()),
    }
}

/// What makes two grants the same.
fn grant_body(grant: &NewGrant) -> Vec<u8> {
    let mut body = grant.to.as_bytes().to_vec();
    body.extend(grant.amount.get().to_le_bytes());
    body.extend(grant.reason.as_bytes());
    body
}

fn of_request(error: RequestError) -> GrantError {
    match error {
        RequestError::Reused(id) => GrantError::RequestIdReused(id),
        RequestError::Ledger(error) => GrantError::Ledger(error),
        RequestError::BadId(_) | RequestError::BadAnswer(_) => {
            unreachable!("the service checked the id, and an order is short")
        }
    }
}
