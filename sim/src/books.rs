//! A simulated node's ledger and rows, in memory; they survive its crashes, as a disk would.

use std::sync::Arc;

use seedbank_engine::credit::wallet::WalletBook;
use seedbank_engine::interface::config::Network;
use seedbank_ledger::charts::node::{Membership, NodeCommand, NodeLedger};
use seedbank_ledger::identity::SignatureScheme;
use seedbank_ledger::store::memory::Memory;
use seedbank_ledger::tally::{Tally, TallyRow};
use seedbank_ledger::{Identity, Sequence, UnixTime};

/// The ledger of a node, and the rows it writes beside it.
#[derive(Debug)]
pub struct SimBooks {
    ledger: NodeLedger<Memory>,
    tally: Tally<Memory>,
    /// By which its owner signs, and believes others.
    pub scheme: Arc<dyn SignatureScheme>,
}

impl SimBooks {
    /// Empty books of `owner`, begun at `now`; signatures are checked by its scheme.
    #[expect(clippy::disallowed_methods, reason = "a simulator may sign otherwise")]
    pub fn new(owner: &Identity, network: Option<Network>, now: UnixTime) -> Self {
        let store = Memory::new();
        let membership = network.map(|network| Membership {
            network_id: network.id,
            settlement: network.settlement,
        });
        let scheme = owner.share_scheme();
        let opened = Arc::clone(&scheme);
        let ledger = NodeLedger::open_by(opened, store.clone(), owner.id(), membership, now);
        let ledger = ledger.expect("an empty memory store opens");
        Self {
            ledger,
            scheme,
            tally: Tally::new(store),
        }
    }

    /// Overwrites rows.
    pub fn tally(&mut self, rows: &[TallyRow]) {
        self.tally.write(rows).expect("memory does not fail");
    }

    /// What a session that starts is given.
    pub fn book(&self) -> WalletBook {
        let rows = self.tally.load().expect("rows were written by this code");
        let balance = self.ledger.balance().expect("memory does not fail");
        WalletBook {
            rows,
            as_of: balance.as_of,
            available: balance.available,
            transfers: Vec::new(),
        }
    }

    /// Appends an entry.
    pub fn append(&mut self, now: UnixTime, command: NodeCommand) {
        self.ledger
            .append(now, &[command])
            .expect("memory does not fail");
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &NodeLedger<Memory> {
        &self.ledger
    }

    /// The bytes of every entry, in order: what two equal ledgers have in common.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        while let Ok(page) = self
            .ledger
            .entries(Sequence::new(entries.len() as u64), 1_000)
        {
            if page.is_empty() {
                break;
            }
            entries.extend(page.iter().map(|entry| entry.to_bytes()));
        }
        entries
    }
}
