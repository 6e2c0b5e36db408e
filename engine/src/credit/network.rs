//! What a node knows of the community whose credit it uses.

use seedbank_ledger::genesis::{Genesis, Limits};
use seedbank_ledger::{NetworkId, NodeId, Rate};

/// A community's credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// BLAKE3 of its genesis file.
    pub id: NetworkId,
    /// The key that signs locks and certificates.
    pub settlement: NodeId,
    /// What bounds its locks.
    pub limits: Limits,
    /// What its members ask unless they choose another price.
    pub par_price: Rate,
}

impl Network {
    /// The network of a genesis file.
    pub fn of(genesis: &Genesis) -> Self {
        Self {
            id: genesis.network_id(),
            settlement: genesis.settlement,
            limits: genesis.limits,
            par_price: genesis.par_price,
        }
    }
}
