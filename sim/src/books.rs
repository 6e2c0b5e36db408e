//! A simulated node's ledger and rows, in memory; they survive its crashes, as a disk would, and a
//! power cut as far as they were synced.

use std::sync::Arc;

use seedbank_engine::credit::wallet::WalletBook;
use seedbank_engine::interface::config::Network;
use seedbank_engine::interface::input::Input;
use seedbank_ledger::charts::node::{Membership, NodeCommand, NodeLedger};
use seedbank_ledger::identity::SignatureScheme;
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::store::memory::Memory;
use seedbank_ledger::tally::{Tally, TallyRow};
use seedbank_ledger::{Identity, NodeId, Sequence, UnixTime};

/// The ledger of a node, and the rows it writes beside it.
#[derive(Debug)]
pub struct SimBooks {
    ledger: NodeLedger<Memory>,
    tally: Tally<Memory>,
    store: Memory,
    membership: Option<Membership>,
    /// By which its owner signs, and believes others.
    pub scheme: Arc<dyn SignatureScheme>,
}

impl SimBooks {
    /// Empty books of `owner`, begun at `now`; signatures are checked by its scheme.
    pub fn new(owner: &Identity, network: Option<Network>, now: UnixTime) -> Self {
        let membership = network.map(|network| Membership {
            network_id: network.id,
            settlement: network.settlement,
        });
        Self::open(
            owner.id(),
            owner.share_scheme(),
            membership,
            Memory::new(),
            now,
        )
    }

    #[expect(clippy::disallowed_methods, reason = "a simulator may sign otherwise")]
    fn open(
        owner: NodeId,
        scheme: Arc<dyn SignatureScheme>,
        membership: Option<Membership>,
        store: Memory,
        now: UnixTime,
    ) -> Self {
        let opened = Arc::clone(&scheme);
        let ledger = NodeLedger::open_by(opened, store.clone(), owner, membership, now);
        Self {
            ledger: ledger.expect("a memory store opens as it was written"),
            scheme,
            tally: Tally::new(store.clone()),
            membership,
            store,
        }
    }

    /// The books as they are found after the power was cut: of what was not synced the first
    /// `survivors` batches are there (see [`Memory::power_cut`]).
    #[must_use]
    pub fn after_power_cut(&self, survivors: usize, now: UnixTime) -> Self {
        Self::open(
            self.ledger.owner(),
            Arc::clone(&self.scheme),
            self.membership,
            self.store.power_cut(survivors),
            now,
        )
    }

    /// What they are written to.
    pub fn store(&self) -> &Memory {
        &self.store
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

    /// Appends an entry; what the session is told if it is a settled line that is refused.
    pub fn append(&mut self, now: UnixTime, command: NodeCommand) -> Option<Input> {
        let outcomes = self.ledger.append(now, std::slice::from_ref(&command));
        let outcomes = outcomes.expect("memory does not fail");
        let (NodeCommand::Settled(line), [Outcome::Refused(refusal)]) =
            (&command, outcomes.as_slice())
        else {
            return None;
        };
        let newest = self.ledger.newest_line().expect("memory does not fail");
        Some(Input::LineRefused {
            line: line.certificate.body.sequence,
            refusal: *refusal,
            newest,
        })
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
