//! Answers from a settlement node's ledger while its writer goes on.

use crate::charts::network::{NetworkLedger, NetworkReader};
use crate::genesis::Genesis;
use crate::ledger::LedgerError;
use crate::settlement::SettlementNode;
use crate::store::{Snapshot, Store};

/// The way to read a settlement node that somebody else drives. Cheap to clone; keeps the store
/// open.
#[derive(Clone, Debug)]
pub struct SettlementReader(NetworkReader);

impl SettlementReader {
    /// The node as it stands by now, to read and to sign what is read, and nothing else: what was
    /// entered before this was called is there, a group that is under way is not.
    pub fn now(&self) -> Result<SettlementNode<Snapshot<'_>>, LedgerError> {
        let ledger: NetworkLedger<Snapshot<'_>> = self.0.now()?;
        Ok(SettlementNode::new(ledger, None))
    }

    /// Its network's genesis file.
    pub fn genesis(&self) -> &Genesis {
        self.0.genesis()
    }
}

impl<S: Store + Clone + 'static> SettlementNode<S> {
    /// A way to read this node from anywhere.
    pub fn reader(&self) -> SettlementReader {
        SettlementReader(self.ledger().reader())
    }
}
