//! The network chart: a community's credit, as kept by its settlement node.
//!
//! Everything enters by a signed order or claim, or by the passing of time. `network/order.rs` and
//! `network/claim.rs` hold the rules and the order in which they are checked; `network/change.rs`
//! writes what they decide; the ledger signs certificates and locks only when somebody asks.

mod audit;
mod change;
mod chart;
mod claim;
mod marked;
mod order;
mod overview;
mod rows;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::account::AccountId;
use crate::entry::{Entry, EntryHash};
use crate::genesis::Genesis;
use crate::identity::{Identity, NetworkId, NodeId};
use crate::ledger::check::{CheckError, CheckReport};
use crate::ledger::{Head, Ledger, LedgerError, LedgerReader, OpenError, Outcome};
use crate::mark::HighWater;
use crate::signed::Body as _;
use crate::signed::certificate::Certificate;
use crate::signed::head::SignedHead;
use crate::signed::lock::LockId;
use crate::signed::order::OrderKind;
use crate::state::{Row as _, State, sequence_key};
use crate::statement::{AccountStatus, LockStatus, Operation, StatementLine};
use crate::store::{Batch, Snapshot, Store, StoreRead, Table};
use crate::time::UnixTime;
use crate::units::{MicroCredits, Sequence};

pub use audit::Audit;
pub use chart::{NetworkCause, NetworkChart};
use marked::Marked;
pub use overview::{AccountSummary, GrantSummary, Overview};
use rows::{EscrowRow, LockThen, StatementRow, lock_key, pair_key, statement_key};

/// Most credit that can be in being: what a signed 64-bit API field holds.
pub const SUPPLY_MAX: MicroCredits = MicroCredits::new(u64::MAX >> 1);

/// Most lines that [`NetworkLedger::statement`] returns at once; each costs two signatures.
pub const LINES_MAX: usize = 256;

/// A community's ledger, with the key that certifies what it did.
#[derive(Debug)]
pub struct NetworkLedger<S> {
    ledger: Ledger<NetworkChart, S>,
    /// Where its end is kept outside its store, if anywhere.
    mark: Option<Box<dyn HighWater>>,
    /// How far that is, for readers.
    marked: Arc<Marked>,
    /// Accounts that got lines, until somebody asks which.
    touched: BTreeSet<NodeId>,
}

/// Reads a network's ledger while its settlement node writes it. Cheap to clone; keeps the store
/// open.
#[derive(Clone, Debug)]
pub struct NetworkReader {
    ledger: LedgerReader<NetworkChart>,
    marked: Arc<Marked>,
}

/// Where all credit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// In being: granted and not burned.
    pub total: MicroCredits,
    /// Ever granted.
    pub granted: u128,
    /// Ever burned.
    pub burned: u128,
}

impl<S: Store + Clone + 'static> NetworkLedger<S> {
    /// Founds the ledger of the network of `genesis` in `store`, which must be empty, at `now`.
    /// `settlement` is the key that the genesis names; orders and claims are checked by its scheme.
    pub fn found(
        store: S,
        genesis: Genesis,
        settlement: impl Into<Arc<Identity>>,
        now: UnixTime,
    ) -> Result<Self, OpenError> {
        let chart = chart_of(genesis, settlement.into())?;
        Ok(Self::of(Ledger::found(store, chart, now)?))
    }

    /// Opens the ledger of the network of `genesis` in `store`, which was founded before and must
    /// hold what the head `at_least` says was acknowledged. Without one, a ledger that lost
    /// its newest entries opens like any other: for memory stores, and copies to be read.
    pub fn open(
        store: S,
        genesis: Genesis,
        settlement: impl Into<Arc<Identity>>,
        at_least: Option<&SignedHead>,
    ) -> Result<Self, OpenError> {
        let chart = chart_of(genesis, settlement.into())?;
        let ledger = Ledger::open(store, chart)?;
        if let Some(mark) = at_least {
            ledger.check_mark(mark)?;
        }
        Ok(Self::of(ledger))
    }
}

/// The rules of a network, if the key is that of its settlement node.
fn chart_of(genesis: Genesis, settlement: Arc<Identity>) -> Result<NetworkChart, OpenError> {
    if settlement.id() != genesis.settlement {
        return Err(OpenError::OtherKey {
            needed: genesis.settlement,
            given: settlement.id(),
        });
    }
    Ok(NetworkChart::new(genesis, settlement))
}

impl<S: Store> NetworkLedger<S> {
    /// From now on `mark` is raised to the end of the ledger after every group, before the group is
    /// answered; the first time at once.
    pub fn keep_mark(&mut self, mark: Box<dyn HighWater>) -> Result<(), LedgerError> {
        self.mark = Some(mark);
        self.raise_mark()
    }

    /// Carries out a group of orders and claims in arrival order, as one batch that is fsynced, and
    /// marked, when this returns; one outcome each. Of the locks that have ended by `now`,
    /// [`DUE_BEFORE_CAUSE_MAX`](crate::ledger::DUE_BEFORE_CAUSE_MAX) at most are ended before each,
    /// and [`DUE_MAX`](crate::ledger::DUE_MAX) by an empty group, which is how time passes. An
    /// expiry that is asked for is refused.
    pub fn append(
        &mut self,
        now: UnixTime,
        group: &[Operation],
    ) -> Result<Vec<Outcome>, LedgerError> {
        let causes: Vec<_> = group
            .iter()
            .map(|operation| NetworkCause::Operation(Box::new(operation.clone())))
            .collect();
        let before = self.ledger.head();
        let touched = &mut self.touched;
        let noting = &mut |batch: &Batch| touched.extend(accounts(batch));
        let mut outcomes = self.ledger.append_noting(now, &causes, noting);
        if self.ledger.head() != before && outcomes.is_ok() {
            outcomes = self.raise_mark().and(outcomes);
        }
        if let Some(error) = self.ledger.failure() {
            self.marked.failed(error.clone());
        }
        outcomes
    }

    /// The accounts that got lines since this was asked last.
    pub fn take_touched(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.touched)
    }

    /// A way to read this ledger from anywhere.
    pub fn reader(&self) -> NetworkReader
    where
        S: Clone + 'static,
    {
        NetworkReader {
            ledger: self.ledger.reader(),
            marked: Arc::clone(&self.marked),
        }
    }

    /// The store is synced; what it holds is acknowledged once this returns.
    fn raise_mark(&mut self) -> Result<(), LedgerError> {
        let head = self.signed_head()?;
        let Some(mark) = &mut self.mark else {
            return Ok(());
        };
        match mark.raise(&head) {
            Ok(()) => self.marked.raised(head.body.size),
            Err(error) => return Err(self.ledger.poison(error.into())),
        }
        Ok(())
    }
}

impl NetworkReader {
    /// The ledger as it stands by now, whoever goes on writing it. If its newest group is in the
    /// store and not yet marked, waits for the mark.
    pub fn now(&self) -> Result<NetworkLedger<Snapshot<'_>>, LedgerError> {
        let ledger = self.ledger.now()?;
        self.marked.wait_for(ledger.head().next.get())?;
        Ok(NetworkLedger::of(ledger))
    }

    /// Its genesis file.
    pub fn genesis(&self) -> &Genesis {
        self.ledger.chart().genesis_file()
    }
}

impl<S> NetworkLedger<S> {
    fn of(ledger: Ledger<NetworkChart, S>) -> Self {
        Self {
            ledger,
            mark: None,
            marked: Arc::default(),
            touched: BTreeSet::new(),
        }
    }
}

impl<S: StoreRead> NetworkLedger<S> {
    /// Which network.
    pub fn network_id(&self) -> NetworkId {
        self.ledger.chart().network_id()
    }

    /// Its genesis file.
    pub fn genesis(&self) -> &Genesis {
        self.ledger.chart().genesis_file()
    }

    /// Where the ledger ends.
    pub fn head(&self) -> Head {
        self.ledger.head()
    }

    /// The settlement node's word for how far the ledger goes: signed with the newest group, and
    /// what every answer that speaks of an account carries.
    /// [`LedgerHead::check_line`](crate::signed::head::LedgerHead::check_line) is what its reader
    /// does with it.
    pub fn signed_head(&self) -> Result<SignedHead, LedgerError> {
        let key = sequence_key(self.head().next);
        let missing = || LedgerError::missing(Table::SignedHead, &key);
        self.ledger.signed_head()?.ok_or_else(missing)
    }

    /// The key that certifies its lines, for whoever seals answers that speak of them.
    pub fn share_key(&self) -> Arc<Identity> {
        self.ledger.chart().share_settlement()
    }

    /// Whether the newest group left locks whose time had passed by then.
    pub fn is_behind(&self) -> bool {
        self.ledger.is_behind()
    }

    /// Why nothing can be appended any more.
    pub fn failure(&self) -> Option<&LedgerError> {
        self.ledger.failure()
    }

    /// At most `limit` (and [`crate::ledger::ENTRIES_MAX`]) entries from `from` on, oldest first.
    pub fn entries(&self, from: Sequence, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.ledger.entries(from, limit)
    }

    /// What caused an entry.
    pub fn cause(&self, entry: &Entry) -> Result<NetworkCause, LedgerError> {
        self.ledger.cause(entry)
    }

    /// The lines of `account` after `after`, oldest first, without a gap; at most `limit` (and
    /// [`LINES_MAX`]). Each is certified now, with the same bytes every time.
    pub fn statement(
        &self,
        account: &NodeId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<StatementLine>, LedgerError> {
        let state = self.ledger.state();
        // Whoever asks says what it has, and may say anything.
        let first = after.map_or(Some(Sequence::ZERO), Sequence::checked_next);
        let Some(first) = first else {
            return Ok(Vec::new());
        };
        let from = statement_key(account, first);
        let until = statement_key(account, Sequence::MAX);
        let rows =
            state
                .store()
                .scan(Table::Statement, &from, Some(&until), limit.min(LINES_MAX))?;
        let lines: Vec<StatementLine> = rows
            .iter()
            .map(|(key, value)| self.line(&state, account, key, value))
            .collect::<Result<_, _>>()?;
        let mut newest = after;
        for line in &lines {
            let sequence = Some(line.certificate.body.sequence);
            assert!(sequence > newest, "a statement's lines are in order");
            newest = sequence;
        }
        Ok(lines)
    }

    /// An account as it stands now.
    pub fn account(&self, account: &NodeId) -> Result<AccountStatus, LedgerError> {
        let state = self.ledger.state();
        let owner = change::owner(&state, account)?;
        Ok(AccountStatus {
            account: *account,
            available: change::available(&state, account)?,
            reserved: owner.reserved,
            nonce: owner.nonce,
        })
    }

    /// A lock as it stands now, with its newest certificate.
    pub fn lock(&self, lock_id: LockId) -> Result<Option<LockStatus>, LedgerError> {
        let state = self.ledger.state();
        let lock = change::lock(&state, lock_id)?;
        Ok(lock.map(|lock| self.status(&lock, lock.then(lock_id))))
    }

    /// The newest lock of a pair, live or not.
    pub fn lock_between(
        &self,
        payer: &NodeId,
        payee: &NodeId,
    ) -> Result<Option<LockStatus>, LedgerError> {
        let pair: Option<rows::NewestLockRow> = self.ledger.state().row(&pair_key(payer, payee))?;
        pair.map_or(Ok(None), |rows::NewestLockRow(lock_id)| self.lock(lock_id))
    }

    /// The reason with this hash, if a grant had it and its issuer's key is kept beside this
    /// ledger; its bytes are checked by whoever shows them.
    pub fn reason(&self, memo_hash: &[u8; 32]) -> Result<Vec<u8>, LedgerError> {
        let reason = self.ledger.state().get(Table::Reason, memo_hash)?;
        Ok(reason.unwrap_or_default())
    }

    /// Where all credit is.
    pub fn supply(&self) -> Result<Supply, LedgerError> {
        let state = self.ledger.state();
        Ok(Supply {
            total: chart::supply(&state)?,
            granted: state.balance(&AccountId::Issuer)?,
            burned: state.balance(&AccountId::Burned)?,
        })
    }

    /// Makes the whole ledger again from its entries and compares (L5); O(entries).
    pub fn check(&self) -> Result<CheckReport, CheckError> {
        self.ledger.check()
    }

    /// Checks rows against each other: L1, L2, L3, L6; O(rows).
    pub fn check_invariants(&self) -> Result<(), CheckError> {
        self.ledger.check_invariants()
    }

    fn line(
        &self,
        state: &State<'_>,
        account: &NodeId,
        key: &[u8],
        value: &[u8],
    ) -> Result<StatementLine, LedgerError> {
        let unreadable = |error| LedgerError::row(Table::Statement, key, error);
        let row = StatementRow::from_bytes(value).map_err(unreadable)?;
        let number: &[u8; 8] = key
            .last_chunk()
            .ok_or_else(|| LedgerError::missing(Table::Statement, key))?;
        let sequence = Sequence::new(u64::from_be_bytes(*number));
        if key != statement_key(account, sequence) {
            return Err(LedgerError::missing(Table::Statement, key));
        }
        let missing = || LedgerError::missing(Table::Entry, number);
        let entry = state.entry(sequence)?.ok_or_else(missing)?;
        let operation = Operation::from_bytes(entry.kind, &entry.cause)
            .map_err(|error| LedgerError::row(Table::Entry, number, error))?;
        let reason_bytes = match &operation {
            Operation::Order(order) if matches!(order.body.kind, OrderKind::Grant { .. }) => {
                self.reason(&order.body.memo_hash)?
            }
            Operation::Order(_) | Operation::Claim(_) | Operation::Expiry(_) => Vec::new(),
        };
        let lock = match row.lock {
            Some(then) => Some(self.lock_then(state, then)?),
            None => None,
        };
        let certificate = Certificate {
            network_id: self.network_id(),
            sequence,
            entry_hash: EntryHash::of(&entry.to_bytes()),
            time: entry.time,
            account: *account,
            available_after: row.available_after,
        };
        Ok(StatementLine {
            operation,
            refusal: entry.refusal,
            amount: entry.postings.credit_moved(),
            lock,
            previous: row.previous,
            prev_hash: entry.prev_hash,
            certificate: certificate.sign(self.ledger.chart().settlement()),
            reason_bytes,
        })
    }

    fn lock_then(&self, state: &State<'_>, then: LockThen) -> Result<LockStatus, LedgerError> {
        let lock = change::lock(state, then.lock_id)?
            .ok_or_else(|| LedgerError::missing(Table::Lock, &lock_key(then.lock_id)))?;
        Ok(self.status(&lock, then))
    }

    fn status(&self, lock: &EscrowRow, then: LockThen) -> LockStatus {
        let body = EscrowRow {
            amount: then.amount,
            expires_at: then.expires_at,
            ..*lock
        }
        .body(self.network_id(), then.lock_id);
        LockStatus {
            lock: body.sign(self.ledger.chart().settlement()),
            claimed: then.claimed,
            closed: then.closed,
        }
    }
}

/// Whose lines are in a batch.
fn accounts(batch: &Batch) -> impl Iterator<Item = NodeId> {
    let lines = batch
        .iter()
        .filter(|(table, ..)| *table == Table::Statement);
    lines.filter_map(|(_, key, _)| key.first_chunk().copied().map(NodeId::from_bytes))
}
