//! How often the code of a real node decided something: a result that claims to be about that code
//! says so in numbers.

use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::interface::output::Output;

/// What the sessions of a world decided and the world carried out, and what lines did with blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorldCounts {
    /// Chokes and unchokes.
    pub chokes: u64,
    /// Blocks that sessions granted, and the world handed to lines.
    pub blocks_served: u64,
    /// Blocks that lines delivered.
    pub blocks_arrived: u64,
    /// Entries appended to node ledgers.
    pub entries: u64,
    /// Questions to the settlement node.
    pub settled: u64,
}

impl WorldCounts {
    /// A session said this.
    pub(super) fn note(&mut self, output: &Output) {
        match output {
            Output::Event(SessionEvent::Choke(_)) => self.chokes += 1,
            Output::Append(_) => self.entries += 1,
            Output::Settle { .. } => self.settled += 1,
            Output::Serve { blocks, .. } => self.blocks_served += blocks.len() as u64,
            _ => {}
        }
    }
}
