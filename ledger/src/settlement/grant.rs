//! Credit that an issuer creates, once for each request id.
//!
//! The signed order of a request is kept beside the log, under the request's id, and the reason of
//! a grant under its hash. They are no part of the log: replaying entries does not make these rows
//! again.

use crate::entry::EntryHash;
use crate::identity::{Identity, NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::ledger::LedgerError;
use crate::refusal::Refusal;
use crate::signed::order::{Order, OrderKind, REASON_LEN_MAX, SignedOrder};
use crate::signed::{Body as _, Signed};
use crate::state::{Row, State};
use crate::store::{Batch, Durability, Store, Table, for_each};
use crate::time::UnixTime;
use crate::units::{MicroCredits, Sequence};

/// Longest request id in bytes, of whatever is asked for under one.
pub const REQUEST_ID_LEN_MAX: usize = 128;

/// Most orders kept; the oldest give way.
const REQUESTS_MAX: u64 = 10_000;

/// How long an issuer's order may lie before it is refused, in seconds.
const GRANT_VALID_SECS: u64 = 86_400;

/// Credit to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGrant {
    /// Idempotency key; the same again gives the same answer, with another body it is refused.
    pub request_id: String,
    /// Receiver.
    pub to: NodeId,
    /// How much, above 0.
    pub amount: MicroCredits,
    /// Why, for people, at most [`REASON_LEN_MAX`] bytes; its hash is in the signed order, and the
    /// receiver is told the text.
    pub reason: String,
}

/// Credit that was created; durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantOutcome {
    /// Entry in the network ledger.
    pub sequence: Sequence,
    /// That entry's identity.
    pub entry_hash: EntryHash,
    /// Nonce of the issuer's order.
    pub nonce: u64,
}

/// Why credit was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// This settlement node holds no issuer key.
    #[error("this node holds no issuer key: grants are made on the settlement node")]
    NotIssuer,
    /// The request id was used for something else.
    #[error("request id {0:?} was used for something else")]
    RequestIdReused(String),
    /// The request id is empty or too long.
    #[error("a request id has 1 to {REQUEST_ID_LEN_MAX} bytes, not {0}")]
    BadRequestId(usize),
    /// The reason is too long.
    #[error("a reason has at most {REASON_LEN_MAX} bytes, not {0}")]
    BadReason(usize),
    /// The network ledger refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The network ledger cannot go on.
    #[error("network ledger: {0}")]
    Ledger(#[from] LedgerError),
}

/// The issuer's key, and its orders by request id.
#[derive(Debug)]
pub struct Issuing<S> {
    pub(super) issuer: Identity,
    store: S,
}

impl<S: Store> Issuing<S> {
    /// Grants signed by `issuer`, remembered in the network ledger's `store`.
    pub fn new(issuer: Identity, store: S) -> Self {
        Self { issuer, store }
    }

    /// The order that is kept of `grant`'s request id, if there is one. An error if the request is
    /// none, or the id was used for something else.
    pub(super) fn kept(&self, grant: &NewGrant) -> Result<Option<SignedOrder>, IssueError> {
        let id = grant.request_id.as_bytes();
        if !(1..=REQUEST_ID_LEN_MAX).contains(&id.len()) {
            return Err(IssueError::BadRequestId(id.len()));
        }
        let reason = grant.reason.as_bytes();
        if reason.len() > REASON_LEN_MAX {
            return Err(IssueError::BadReason(reason.len()));
        }
        if grant.to.check().is_err() {
            return Err(IssueError::Refused(Refusal::BadKey));
        }
        let Some(GrantRow(order)) = State::new(&self.store).row(id)? else {
            return Ok(None);
        };
        let memo_hash = Order::reason_hash(reason);
        if (order.body.kind, order.body.memo_hash) == (kind_of(grant), memo_hash) {
            Ok(Some(order))
        } else {
            Err(IssueError::RequestIdReused(grant.request_id.clone()))
        }
    }

    /// Signs the order of `grant` under `nonce`, in place of one that is kept of its id. It is
    /// remembered before it is entered: whoever repeats the request after a crash repeats that
    /// order, whose nonce can be used only once. `now` is settlement time.
    pub(super) fn sign(
        &self,
        grant: &NewGrant,
        network_id: NetworkId,
        nonce: u64,
        now: UnixTime,
    ) -> Result<SignedOrder, IssueError> {
        let reason = grant.reason.as_bytes();
        let order = Order {
            network_id,
            account: self.issuer.id(),
            nonce,
            valid_until: now.plus_secs(GRANT_VALID_SECS),
            kind: kind_of(grant),
            memo_hash: Order::reason_hash(reason),
        };
        let order = order.sign(&self.issuer);
        self.remember(grant.request_id.as_bytes(), order, reason)?;
        Ok(order)
    }

    /// Keeps an order and its reason; they are fsynced when this returns. Where [`REQUESTS_MAX`]
    /// orders are kept, the oldest is forgotten; reasons stay, as the entries that have their
    /// hashes do. O(1).
    fn remember(&self, id: &[u8], order: SignedOrder, reason: &[u8]) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        if self.store.get(Table::Request, id)?.is_none() {
            self.number(id, &mut batch)?;
        }
        if !reason.is_empty() {
            batch.put(
                Table::Reason,
                order.body.memo_hash.to_vec(),
                reason.to_vec(),
            );
        }
        batch.put(Table::Request, id.to_vec(), GrantRow(order).to_bytes());
        Ok(self.store.write(&batch, Durability::Synced)?)
    }

    /// Gives the next number to a request that is not kept yet, and forgets the oldest if there
    /// are too many.
    fn number(&self, id: &[u8], batch: &mut Batch) -> Result<(), LedgerError> {
        let kept: Option<KeptRequests> = State::new(&self.store).row(KEPT_KEY)?;
        let mut kept = match kept {
            Some(kept) => kept,
            None => self.number_all()?,
        };
        if kept.count() >= REQUESTS_MAX {
            let oldest = kept.oldest.to_be_bytes();
            let id = self.store.get(Table::RequestAge, &oldest)?;
            let id = id.ok_or_else(|| LedgerError::missing(Table::RequestAge, &oldest))?;
            batch.delete(Table::Request, id);
            batch.delete(Table::RequestAge, oldest.to_vec());
            kept.oldest = kept.oldest.saturating_add(1);
        }
        let number = kept.next.to_be_bytes().to_vec();
        batch.put(Table::RequestAge, number, id.to_vec());
        kept.next = kept.next.saturating_add(1);
        assert!(kept.count() <= REQUESTS_MAX, "requests kept are bounded");
        batch.put(Table::RequestAge, KEPT_KEY.to_vec(), kept.to_bytes());
        Ok(())
    }

    /// Numbers what was kept before requests had numbers, oldest first; once in a store's life.
    fn number_all(&self) -> Result<KeptRequests, LedgerError> {
        let mut ids: Vec<(UnixTime, Vec<u8>)> = Vec::new();
        for_each(&self.store, Table::Request, &[], |key, value| {
            let GrantRow(order) = GrantRow::from_bytes(value)
                .map_err(|error| LedgerError::row(Table::Request, key, error))?;
            ids.push((order.body.valid_until, key.to_vec()));
            Ok::<(), LedgerError>(())
        })?;
        ids.sort_unstable();
        let mut batch = Batch::new();
        let mut kept = KeptRequests::default();
        for (_, id) in ids {
            batch.put(Table::RequestAge, kept.next.to_be_bytes().to_vec(), id);
            kept.next = kept.next.saturating_add(1);
        }
        batch.put(Table::RequestAge, KEPT_KEY.to_vec(), kept.to_bytes());
        self.store.write(&batch, Durability::Synced)?;
        Ok(kept)
    }
}

/// What the order of `grant` orders.
fn kind_of(grant: &NewGrant) -> OrderKind {
    OrderKind::Grant {
        to: grant.to,
        amount: grant.amount,
    }
}

/// What a request was answered with.
struct GrantRow(SignedOrder);

impl Row for GrantRow {
    const TABLE: Table = Table::Request;

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        Signed::from_bytes(bytes).map(Self)
    }
}

/// Which numbers of requests are kept: from `oldest` up to, and without, `next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KeptRequests {
    oldest: u64,
    next: u64,
}

/// Where they lie: shorter than any number.
const KEPT_KEY: &[u8] = b"kept";

impl KeptRequests {
    fn count(&self) -> u64 {
        self.next.saturating_sub(self.oldest)
    }
}

impl Row for KeptRequests {
    const TABLE: Table = Table::RequestAge;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new().u64(self.oldest).u64(self.next).finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            oldest: reader.u64()?,
            next: reader.u64()?,
        };
        reader.end()?;
        Ok(row)
    }
}
