//! The node chart: what this node owns, owes and is owed, each line with its cause.
//!
//! A network operation enters with the settlement node's certified line as its cause, a channel's
//! change with its newest receipt, a write-off as this node's own word. `node/chart.rs` decides,
//! `node/explain.rs` sums it up for the owner.

mod channel;
mod chart;
mod command;
mod explain;
mod holdings;
mod rows;
mod settled;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::account::AccountId;
use crate::entry::Entry;
use crate::identity::{Ed25519, NetworkId, NodeId, SignatureScheme};
use crate::ledger::check::{CheckError, CheckReport, for_each_account};
use crate::ledger::{Head, Ledger, LedgerError, LedgerReader, OpenError, Outcome, is_empty};
use crate::signed::channel::Channel;
use crate::signed::lock::LockId;
use crate::signed::receipt::SignedReceipt;
use crate::state::State;
use crate::statement::StatementLine;
use crate::store::{Snapshot, Store, StoreRead};
use crate::time::UnixTime;
use crate::units::{Bytes, MicroCredits, Sequence};

pub use chart::NodeChart;
pub use command::NodeCause;
pub use explain::breakdown::{
    Breakdown, GroupKey, GroupLine, Grouping, credit_change, other_side, payload,
};
pub use explain::{BalanceReason, Explanation, ExplanationLine};
pub use holdings::{Available, Holdings};
use rows::{CURSOR_KEY, CursorRow, MEMBERSHIP_KEY};

/// Most shares of one summary.
pub const ATTRIBUTION_MAX: usize = 64;

/// Which torrent a share of a channel's change belongs to; local, never signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribution {
    /// 20 bytes that the engine chose: an info hash.
    pub subject: [u8; 20],
    /// Bytes of the change.
    pub bytes: Bytes,
    /// Credit of the change.
    pub amount: MicroCredits,
}

/// What a channel came to: its newest receipt, and where the change since the last summary was
/// made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSummary {
    /// Which channel; this node is its payer or its payee.
    pub channel: Channel,
    /// Its newest receipt: the cause.
    pub receipt: SignedReceipt,
    /// The lock's amount, above which a receipt is worth nothing; zero for acknowledgements. A
    /// payer's ledger goes by the certified amount instead.
    pub lock_amount: MicroCredits,
    /// As payee: bytes served since the last summary. A payer signs whatever number it likes, and
    /// no more of it is counted; a payer's own receipts count whole.
    pub served: Bytes,
    /// Where the difference came from, at most [`ATTRIBUTION_MAX`] shares. Their sums may be
    /// smaller than the difference (a crash forgets shares), never larger.
    pub attribution: Vec<Attribution>,
}

/// What may be appended to a node ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeCommand {
    /// A certified line of this node's account at its settlement node.
    Settled(Box<StatementLine>),
    /// A channel's newest receipt; the entry books the difference to the last summary.
    ChannelSummary(Box<ChannelSummary>),
    /// Bytes served in the paid class that the peer never paid for.
    WriteOff {
        /// Who did not pay.
        peer: NodeId,
        /// How much it was given.
        bytes: Bytes,
    },
}

/// The network a node has joined; once in its ledger, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Whose credit.
    pub network_id: NetworkId,
    /// The key that signs its locks and certificates.
    pub settlement: NodeId,
}

/// What this node has, by its own ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// At the settlement node and in no lock; [`Available`] says what of it is promised.
    pub available: MicroCredits,
    /// Reserved in locks and not signed away.
    pub locked: MicroCredits,
    /// Signed away by receipts and not claimed yet.
    pub signed: MicroCredits,
    /// Earned by receipts and not claimed yet.
    pub claimable: MicroCredits,
    /// The newest certified line, and its settlement time.
    pub as_of: Option<(Sequence, UnixTime)>,
}

/// Bytes counted with one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerBytes {
    /// Received and acknowledged by my receipts.
    pub taken: Bytes,
    /// Served and acknowledged by its receipts.
    pub given: Bytes,
    /// Served in the paid class and never paid for.
    pub unsigned: Bytes,
}

/// A node's own ledger.
#[derive(Debug)]
pub struct NodeLedger<S>(Ledger<NodeChart, S>);

/// Reads a node's ledger while the node writes it. Cheap to clone; keeps the store open.
#[derive(Clone, Debug)]
pub struct NodeReader(LedgerReader<NodeChart>);

impl Balance {
    /// Everything that is the node's: available, locked and claimable. What is signed away is not.
    /// `None` past 2⁶⁴ − 1.
    pub fn total(&self) -> Option<MicroCredits> {
        self.available
            .checked_add(self.locked)?
            .checked_add(self.claimable)
    }
}

impl<S: Store + Clone + 'static> NodeLedger<S> {
    /// Opens `owner`'s ledger in `store`, or begins it at `now`; joins `network` if none was
    /// joined.
    pub fn open(
        store: S,
        owner: NodeId,
        network: Option<Membership>,
        now: UnixTime,
    ) -> Result<Self, OpenError> {
        Self::open_chart(
            store,
            NodeChart::new(owner, Arc::new(Ed25519)),
            network,
            now,
        )
    }

    /// Opens `owner`'s ledger in `store` as it is, to be read: begins nothing, joins nothing.
    pub fn open_to_read(store: S, owner: NodeId) -> Result<Self, OpenError> {
        let chart = NodeChart::new(owner, Arc::new(Ed25519));
        Ok(Self(Ledger::open(store, chart)?))
    }

    /// [`Self::open`] under another scheme; for simulators and tests only, and clippy refuses it
    /// elsewhere (docs/adr/0005-signature-scheme.md).
    pub fn open_by(
        scheme: Arc<dyn SignatureScheme>,
        store: S,
        owner: NodeId,
        network: Option<Membership>,
        now: UnixTime,
    ) -> Result<Self, OpenError> {
        Self::open_chart(store, NodeChart::new(owner, scheme), network, now)
    }

    fn open_chart(
        store: S,
        chart: NodeChart,
        network: Option<Membership>,
        now: UnixTime,
    ) -> Result<Self, OpenError> {
        let mut ledger = Self(if is_empty(&store).map_err(LedgerError::from)? {
            Ledger::found(store, chart, now)?
        } else {
            Ledger::open(store, chart)?
        });
        match (ledger.membership()?, network) {
            (None, Some(network)) => {
                ledger.0.append(now, &[NodeCause::Join(network)])?;
            }
            (Some(joined), Some(network)) if joined.network_id != network.network_id => {
                return Err(OpenError::OtherNetwork {
                    joined: joined.network_id,
                    configured: network.network_id,
                });
            }
            (Some(joined), Some(network)) if joined.settlement != network.settlement => {
                return Err(OpenError::OtherKey {
                    needed: joined.settlement,
                    given: network.settlement,
                });
            }
            (Some(_), Some(_)) | (_, None) => {}
        }
        Ok(ledger)
    }
}

impl<S: Store> NodeLedger<S> {
    /// Enters a group of commands in order, as one batch that is fsynced when this returns.
    /// Idempotent: a line or receipt that was entered before is `Known`.
    pub fn append(
        &mut self,
        now: UnixTime,
        group: &[NodeCommand],
    ) -> Result<Vec<Outcome>, LedgerError> {
        let causes: Vec<_> = group.iter().cloned().map(NodeCause::Command).collect();
        self.0.append(now, &causes)
    }

    /// A way to read this ledger from anywhere.
    pub fn reader(&self) -> NodeReader
    where
        S: Clone + 'static,
    {
        NodeReader(self.0.reader())
    }
}

impl NodeReader {
    /// The ledger as it stands by now, whoever goes on writing it.
    pub fn now(&self) -> Result<NodeLedger<Snapshot<'_>>, LedgerError> {
        self.0.now().map(NodeLedger)
    }
}

impl<S: StoreRead> NodeLedger<S> {
    /// Whose ledger it is.
    pub fn owner(&self) -> NodeId {
        self.0.chart().owner()
    }

    /// The network this node has joined, if any.
    pub fn membership(&self) -> Result<Option<Membership>, LedgerError> {
        self.0.state().row(MEMBERSHIP_KEY)
    }

    /// Where the ledger ends.
    pub fn head(&self) -> Head {
        self.0.head()
    }

    /// Sequence of the newest certified line; ask the settlement node for what came after.
    pub fn newest_line(&self) -> Result<Option<Sequence>, LedgerError> {
        let cursor: Option<CursorRow> = self.0.state().row(CURSOR_KEY)?;
        Ok(cursor.map(|cursor| cursor.sequence))
    }

    /// At most `limit` (and [`crate::ledger::ENTRIES_MAX`]) entries from `from` on, oldest first.
    pub fn entries(&self, from: Sequence, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.0.entries(from, limit)
    }

    /// What caused an entry.
    pub fn cause(&self, entry: &Entry) -> Result<NodeCause, LedgerError> {
        self.0.cause(entry)
    }

    /// What this node has. O(locks ever).
    pub fn balance(&self) -> Result<Balance, LedgerError> {
        balance(&self.0.state())
    }

    /// Bytes counted with `peer`, each held at 2⁶⁴ − 1: a payer signs whatever number it likes.
    pub fn peer_bytes(&self, peer: &NodeId) -> Result<PeerBytes, LedgerError> {
        let state = self.0.state();
        let bytes = |account| state.balance(&account).map(held_bytes);
        Ok(PeerBytes {
            taken: bytes(AccountId::Taken(*peer))?,
            given: bytes(AccountId::Given(*peer))?,
            unsigned: bytes(AccountId::Unsigned(*peer))?,
        })
    }

    /// Sums the entries from `since` on by reason. Every number is a sum over entries, and opening
    /// plus lines is closing, exactly (L8). O(entries).
    pub fn explain(&self, since: UnixTime) -> Result<Explanation, LedgerError> {
        explain::explain(&self.0, since)
    }

    /// Sums the entries from `since` on by peer, subject or day; opening plus lines is closing,
    /// exactly, and both are what [`Self::explain`] says (L8). O(entries).
    pub fn explain_by(
        &self,
        grouping: Grouping,
        since: UnixTime,
    ) -> Result<Breakdown, LedgerError> {
        explain::breakdown::explain_by(&self.0, grouping, since)
    }

    /// Makes the whole ledger again from its entries and compares (L5); O(entries).
    pub fn check(&self) -> Result<CheckReport, CheckError> {
        let report = self.0.check()?;
        self.explain(UnixTime::ZERO)?;
        Ok(report)
    }

    /// Checks rows against each other and against the sums over entries; O(entries).
    pub fn check_invariants(&self) -> Result<(), CheckError> {
        self.0.check_invariants()?;
        self.explain(UnixTime::ZERO)?;
        Ok(())
    }
}

fn balance(state: &State<'_>) -> Result<Balance, LedgerError> {
    let cursor: Option<CursorRow> = state.row(CURSOR_KEY)?;
    let any = LockId::new(0);
    Ok(Balance {
        available: amount_of(state, &AccountId::Network)?,
        locked: sum_of(state, AccountId::Locked(any))?,
        signed: sum_of(state, AccountId::Signed(any))?,
        claimable: sum_of(state, AccountId::Claimable(any))?,
        as_of: cursor.map(|cursor| (cursor.sequence, cursor.time)),
    })
}

/// A sum of bytes as it is shown, held at 2⁶⁴ − 1. Two receipts are enough to pass that, and what a
/// peer signs must not keep an owner from reading their own ledger.
fn held_bytes(sum: u128) -> Bytes {
    u64::try_from(sum).map_or(Bytes::MAX, Bytes::new)
}

/// Balance of one account.
fn amount_of(state: &State<'_>, account: &AccountId) -> Result<MicroCredits, LedgerError> {
    let balance = state.balance(account)?;
    u64::try_from(balance)
        .map(MicroCredits::new)
        .map_err(|_| LedgerError::Overflow { account: *account })
}

/// Σ balances of every account of the kind of `any`.
fn sum_of(state: &State<'_>, any: AccountId) -> Result<MicroCredits, LedgerError> {
    let overflow = || LedgerError::Overflow { account: any };
    let mut sum = 0;
    for_each_account(state, &[any.code()], |account, row| {
        let balance = row
            .balance(&account)
            .ok_or(LedgerError::BelowZero { account })?;
        sum = u128::checked_add(sum, balance).ok_or_else(overflow)?;
        Ok::<(), LedgerError>(())
    })?;
    u64::try_from(sum)
        .map(MicroCredits::new)
        .map_err(|_| overflow())
}
