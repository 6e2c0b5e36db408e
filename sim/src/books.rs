//! A simulated node's ledger and rows, and the settlement node.

use seedbank_engine::session::settlement::{SettlementReply, SettlementRequest};
use seedbank_ledger::node::NodeCommand;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{NodeId, UnixTime};

/// temporary
#[derive(Debug, Default)]
pub struct Books {
    pub rows: Vec<TallyRow>,
    pub commands: Vec<NodeCommand>,
}
impl Books {
    pub fn rows(&self) -> Vec<TallyRow> {
        self.rows.clone()
    }
    pub fn tally(&mut self, rows: &[TallyRow]) {
        self.rows.extend_from_slice(rows);
    }
    pub fn append(&mut self, _unix: UnixTime, command: NodeCommand) {
        self.commands.push(command);
    }
}
/// temporary
#[derive(Debug)]
pub struct SimSettlement;
impl SimSettlement {
    pub fn answer(
        &mut self,
        _account: NodeId,
        _what: &SettlementRequest,
        _unix: UnixTime,
    ) -> SettlementReply {
        SettlementReply::Unreachable("no settlement".into())
    }
}
