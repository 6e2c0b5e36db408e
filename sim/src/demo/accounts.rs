//! Where the credit of the demo went, by every ledger that knows of it.

use std::ops::Deref;

use seedbank_ledger::charts::network::Audit;
use seedbank_ledger::charts::node::{BalanceReason, NodeLedger};
use seedbank_ledger::ledger::check::CheckError;
use seedbank_ledger::store::StoreRead;
use seedbank_ledger::{Bytes, MicroCredits, NodeId, UnixTime};

use super::SEEDER;

/// What one node had from another by their receipts, as each side's own ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelTotal {
    /// Position of the node that received and signed.
    pub payer: usize,
    /// Position of the node that served.
    pub payee: usize,
    /// By the payer's ledger.
    pub taken: Bytes,
    /// By the payee's ledger.
    pub given: Bytes,
}

/// Credit by every ledger: the network's, and each node's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Ever granted, in µcr.
    pub granted: u128,
    /// Free to spend, over all accounts of the network, in µcr.
    pub available: u128,
    /// Left in open locks, in µcr.
    pub escrow: u128,
    /// Locks that are not closed.
    pub locks_open: usize,
    /// Claims posted to anybody, by the network's ledger.
    pub claimed: MicroCredits,
    /// Those of them that the seeder made.
    pub claimed_by_seeder: MicroCredits,
    /// What was spent, by each spender's own ledger.
    pub spent: MicroCredits,
    /// What receipts were worth, by the ledger of each that served: leechers sell too.
    pub earned: MicroCredits,
    /// Every pair of nodes between which a byte was acknowledged, in order.
    pub channels: Vec<ChannelTotal>,
    /// Ledgers that were made again from their entries and compared.
    pub ledgers_checked: usize,
    /// What is wrong with any of them.
    pub problems: Vec<String>,
}

impl Accounts {
    /// Audits the network's ledger and those of all nodes, in the order of their positions.
    pub fn of<S: StoreRead>(
        network: &Result<Audit, CheckError>,
        ledgers: &[impl Deref<Target = NodeLedger<S>>],
    ) -> Self {
        let mut accounts = Self::default();
        let owners: Vec<NodeId> = ledgers.iter().map(|ledger| ledger.owner()).collect();
        match network {
            Ok(audit) => accounts.network(audit, &owners),
            Err(error) => accounts.problems.push(format!("network ledger: {error}")),
        }
        for (position, ledger) in ledgers.iter().enumerate() {
            accounts.node(position, ledger);
        }
        accounts.channels(ledgers, &owners);
        accounts
    }

    fn channels<S: StoreRead>(
        &mut self,
        ledgers: &[impl Deref<Target = NodeLedger<S>>],
        owners: &[NodeId],
    ) {
        for (payer, taker) in ledgers.iter().enumerate() {
            for (payee, giver) in ledgers.iter().enumerate() {
                let taken = taker.peer_bytes(&owners[payee]).map(|bytes| bytes.taken);
                let given = giver.peer_bytes(&owners[payer]).map(|bytes| bytes.given);
                match (taken, given) {
                    (Ok(Bytes::ZERO), Ok(Bytes::ZERO)) => {}
                    (Ok(taken), Ok(given)) => self.channels.push(ChannelTotal {
                        payer,
                        payee,
                        taken,
                        given,
                    }),
                    (Err(error), _) | (_, Err(error)) => {
                        self.problems.push(format!("a channel: {error}"));
                    }
                }
            }
        }
    }

    /// Every micro-credit that was granted is in somebody's account or lock.
    pub fn is_conserved(&self) -> bool {
        self.available.checked_add(self.escrow) == Some(self.granted)
    }

    fn network(&mut self, audit: &Audit, owners: &[NodeId]) {
        self.ledgers_checked += 1;
        self.granted = audit.granted;
        self.available = audit.available;
        self.escrow = audit.escrow;
        self.locks_open = audit.locks_open;
        let seeder = owners.get(SEEDER);
        for (payee, amount) in &audit.claimed {
            self.claimed = self.claimed.saturating_add(*amount);
            if Some(payee) == seeder {
                self.claimed_by_seeder = *amount;
            }
        }
    }

    fn node<S: StoreRead>(&mut self, position: usize, ledger: &NodeLedger<S>) {
        let name = super::Demo::name(position);
        match ledger.check() {
            Ok(_) => self.ledgers_checked += 1,
            Err(error) => self.problems.push(format!("{name}'s ledger: {error}")),
        }
        let explanation = match ledger.explain(UnixTime::ZERO) {
            Ok(explanation) => explanation,
            Err(error) => return self.problems.push(format!("{name}'s ledger: {error}")),
        };
        let sum = |reason: BalanceReason| {
            let mut lines = explanation.lines.iter();
            lines
                .find(|line| line.reason == reason)
                .map_or(MicroCredits::ZERO, |line| line.amount)
        };
        let earned = sum(BalanceReason::Earned).saturating_sub(sum(BalanceReason::Forfeited));
        self.earned = self.earned.saturating_add(earned);
        let spent = sum(BalanceReason::Spent).saturating_sub(sum(BalanceReason::Returned));
        self.spent = self.spent.saturating_add(spent);
    }
}
