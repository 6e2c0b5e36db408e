//! Credit that an issuer creates, as its keeper is asked for it.

use seedbank_ledger::entry::EntryHash;
use seedbank_ledger::ledger::LedgerError;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::{MicroCredits, NodeId, Sequence};

use crate::inbox::Stopping;

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
pub struct Granted {
    /// Entry in the network ledger.
    pub sequence: Sequence,
    /// That entry's identity.
    pub entry_hash: EntryHash,
    /// Nonce of the issuer's order.
    pub nonce: u64,
}

/// Why credit was not created.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// This node keeps no network's ledger, or holds no issuer key.
    #[error("this node holds no issuer key: grants are made on the settlement node")]
    NotIssuer,
    /// The request id was used for something else.
    #[error("request id {0:?} was used for something else")]
    RequestIdReused(String),
    /// The network ledger refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The network ledger cannot go on.
    #[error("network ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Too much is waiting.
    #[error("{0} requests wait already")]
    Busy(usize),
    /// The node is on its way down.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}
