//! Credit that an issuer creates, once for each request id.
//!
//! The signed order of a request is kept beside the log, under the request's id, and the reason of
//! a grant under its hash. They are no part of the log: replaying entries does not make these rows
//! again.

use crate::entry::EntryHash;
use crate::identity::{Identity, NetworkId, NodeId};
use crate::layout::LayoutError;
use crate::ledger::LedgerError;
use crate::refusal::Refusal;
use crate::signed::order::{Order, OrderKind, REASON_LEN_MAX, SignedOrder};
use crate::signed::{Body as _, Signed};
use crate::state::{Row, State};
use crate::store::{Batch, Durability, Store, Table, for_each};
use crate::time::UnixTime;
use crate::units::{MicroCredits, Sequence};

/// Longest request id in bytes.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Most orders kept; the oldest give way.
const REQUESTS_MAX: usize = 10_000;

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

    /// The order of `grant`. It is remembered before it is entered: whoever repeats the request
    /// after a crash repeats that order, whose nonce can be used only once.
    pub(super) fn order(
        &self,
        grant: &NewGrant,
        network_id: NetworkId,
        nonce: impl FnOnce() -> Result<u64, LedgerError>,
        now: UnixTime,
    ) -> Result<SignedOrder, IssueError> {
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
        let kind = OrderKind::Grant {
            to: grant.to,
            amount: grant.amount,
        };
        let memo_hash = Order::reason_hash(reason);
        if let Some(GrantRow(order)) = State::new(&self.store).row(id)? {
            let same = (order.body.kind, order.body.memo_hash) == (kind, memo_hash);
            let reused = || IssueError::RequestIdReused(grant.request_id.clone());
            return same.then_some(order).ok_or_else(reused);
        }
        let order = Order {
            network_id,
            account: self.issuer.id(),
            nonce: nonce()?,
            valid_until: now.plus_secs(GRANT_VALID_SECS),
            kind,
            memo_hash,
        };
        let order = order.sign(&self.issuer);
        self.remember(id, order, reason)?;
        Ok(order)
    }

    /// The reason with this hash, if a grant had it; its bytes are checked by whoever shows them.
    pub(super) fn reason(&self, memo_hash: &[u8; 32]) -> Result<Vec<u8>, LedgerError> {
        let reason = self.store.get(Table::Reason, memo_hash)?;
        Ok(reason.unwrap_or_default())
    }

    /// Keeps a new order and its reason; they are fsynced when this returns. Where
    /// [`REQUESTS_MAX`] orders are kept, the oldest is forgotten; reasons stay, as the entries that
    /// have their hashes do. O(orders kept).
    fn remember(&self, id: &[u8], order: SignedOrder, reason: &[u8]) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        if let Some(oldest) = self.oldest_if_full()? {
            batch.delete(Table::Request, oldest);
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

    fn oldest_if_full(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut count: usize = 0;
        let mut oldest: Option<(UnixTime, Vec<u8>)> = None;
        for_each(&self.store, Table::Request, &[], |key, value| {
            let GrantRow(order) = GrantRow::from_bytes(value)
                .map_err(|error| LedgerError::row(Table::Request, key, error))?;
            count = count.saturating_add(1);
            let until = order.body.valid_until;
            if oldest.as_ref().is_none_or(|(first, _)| until < *first) {
                oldest = Some((until, key.to_vec()));
            }
            Ok::<(), LedgerError>(())
        })?;
        Ok(oldest.filter(|_| count >= REQUESTS_MAX).map(|(_, key)| key))
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
