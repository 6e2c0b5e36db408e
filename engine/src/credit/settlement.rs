//! What a session asks of the settlement node, and what it is told in the end.

pub use seedbank_ledger::settlement::envelope::Envelope;
pub use seedbank_ledger::settlement::{SettlementAnswer, SettlementRequest};

/// Nobody answered, and why, in words; ask again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable(pub String);
