//! Credit that an issuer creates, once for each request id.

use crate::entry::EntryHash;
use crate::identity::{Identity, NetworkId, NodeId};
use crate::ledger::LedgerError;
use crate::refusal::Refusal;
use crate::request::{AnsweredRequests, RequestError};
use crate::signed::order::{Order, OrderKind, SignedOrder};
use crate::signed::{Body as _, Signed};
use crate::store::{Store, Table};
use crate::time::UnixTime;
use crate::units::{MicroCredits, Sequence};

/// How long an issuer's order may lie before it is refused, in seconds.
const GRANT_VALID_SECS: u64 = 86_400;

const GRANT_CONTEXT: &str = "seedbank v1 grant memo";

/// Credit to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGrant {
    /// Idempotency key; the same again gives the same answer, with another body it is refused.
    pub request_id: String,
    /// Receiver.
    pub to: NodeId,
    /// How much, above 0.
    pub amount: MicroCredits,
    /// Why, for people; its hash is in the signed order.
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
    #[error("a request id of {0} bytes is empty or too long")]
    BadRequestId(usize),
    /// The network ledger refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The network ledger cannot go on.
    #[error("network ledger: {0}")]
    Ledger(#[from] LedgerError),
}

/// The issuer's key, and the grants answered before.
#[derive(Debug)]
pub struct Issuing<S> {
    /// Signs grants.
    pub issuer: Identity,
    /// Answers by request id, in the network ledger's store.
    pub requests: AnsweredRequests<S>,
}

impl<S: Store> Issuing<S> {
    /// The order of `grant`. It is remembered before it is entered: whoever repeats the request
    /// after a crash repeats that order, whose nonce can be used only once.
    pub(super) fn order(
        &self,
        grant: &NewGrant,
        network_id: NetworkId,
        nonce: impl FnOnce() -> Result<u64, LedgerError>,
        now: UnixTime,
    ) -> Result<SignedOrder, IssueError> {
        let id = &grant.request_id;
        let body = grant_body(grant);
        if let Some(bytes) = self.requests.answer(id, &body).map_err(of_request)? {
            let unreadable = |error| LedgerError::row(Table::Request, id.as_bytes(), error);
            return Ok(Signed::from_bytes(&bytes).map_err(unreadable)?);
        }
        let order = Order {
            network_id,
            account: self.issuer.id(),
            nonce: nonce()?,
            valid_until: now.plus_secs(GRANT_VALID_SECS),
            kind: OrderKind::Grant {
                to: grant.to,
                amount: grant.amount,
            },
            memo_hash: blake3::derive_key(GRANT_CONTEXT, grant.reason.as_bytes()),
        };
        let order = order.sign(&self.issuer);
        let remembered = self.requests.remember(id, &body, &order.to_bytes(), now);
        remembered.map_err(of_request)?;
        Ok(order)
    }
}

/// What makes two grants the same.
fn grant_body(grant: &NewGrant) -> Vec<u8> {
    let mut body = grant.to.as_bytes().to_vec();
    body.extend(grant.amount.get().to_le_bytes());
    body.extend(grant.reason.as_bytes());
    body
}

fn of_request(error: RequestError) -> IssueError {
    match error {
        RequestError::Reused(id) => IssueError::RequestIdReused(id),
        RequestError::BadId(len) => IssueError::BadRequestId(len),
        RequestError::Ledger(error) => IssueError::Ledger(error),
        RequestError::BadAnswer(_) => unreachable!("a signed order is short"),
    }
}
