//! One ledger: a chart's state machine over an ordered log, in a store.
//!
//! `append` applies a group of causes to a view of the store, seals the entries into the hash
//! chain, and writes entries, rows and head as one batch that is fsynced before anything is
//! answered. How entries are made is the chart's business (`network.rs`,
//! `node.rs`); `ledger/group.rs` applies a group, `ledger/open.rs` founds and opens,
//! `ledger/check.rs` makes all of it again and compares, `ledger/reader.rs` is how others read
//! meanwhile.

pub mod check;
mod group;
mod open;
mod reader;
mod seal;

use std::fmt;
use std::sync::Arc;

use crate::account::AccountId;
use crate::entry::{Entry, EntryHash, EntryKind};
use crate::layout::{LayoutError, Reader, Writer};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::head::HeadSigner;
use crate::signed::order::SignedOrder;
use crate::state::{Row, State, sequence_key};
use crate::store::{Batch, Durability, KeyValue, Store, StoreError, StoreRead, Table};
use crate::time::UnixTime;
use crate::units::Sequence;
use check::CheckError;
use group::{Due, Group};
pub use open::{OpenError, is_empty};
pub use reader::LedgerReader;

/// Most causes in one group.
pub const GROUP_MAX: usize = 1_024;

/// Most entries that [`Ledger::entries`] returns at once.
pub const ENTRIES_MAX: usize = 1_024;

/// Most of what fell due that is entered before one cause, in a row with whatever fell due just
/// before it (docs/PROTOCOL-SETTLEMENT.md §5): nobody waits for more, however much there is.
pub const DUE_BEFORE_CAUSE_MAX: usize = 8;

/// Most of what fell due that an empty group enters; more follow in the next.
pub const DUE_MAX: usize = 256;

/// Where the head lies among the single rows.
pub(crate) const HEAD_KEY: &[u8] = b"head";

/// A chart of accounts and the rules by which its entries are made.
///
/// `apply` is a pure function of its arguments: the same when a cause is first accepted, checked by
/// an auditor, run in a simulator or followed by a replica.
pub trait Chart {
    /// Everything that can bring an entry about.
    type Cause: Clone + fmt::Debug + PartialEq;

    /// What this chart calls its ledger, for messages.
    const NAME: &'static str;

    /// The cause of entry 0.
    fn genesis(&self) -> Self::Cause;

    /// Under which kind a cause is entered.
    fn kind(cause: &Self::Cause) -> EntryKind;

    /// The cause's exact bytes.
    fn encode(cause: &Self::Cause) -> Vec<u8>;

    /// Parses the cause of an entry of this kind.
    fn decode(kind: EntryKind, bytes: &[u8]) -> Result<Self::Cause, LayoutError>;

    /// Who signs, after each group, how far the ledger goes; `None` for a ledger on which nobody
    /// but its owner relies.
    fn head_signer(&self) -> Option<HeadSigner<'_>> {
        None
    }

    /// What has fallen due by itself before `now`, in order, at most `limit`. All of it is of one
    /// kind, which nothing else is. Nothing that is applied at `now` makes something due then, or
    /// takes it away.
    fn due(
        &self,
        state: &State<'_>,
        now: UnixTime,
        limit: usize,
    ) -> Result<Vec<Self::Cause>, LedgerError>;

    /// Why a cause is refused whenever somebody asks for it: it only falls due. `None` for causes
    /// that can be asked for.
    fn refuse_asked(_cause: &Self::Cause) -> Option<Refusal> {
        None
    }

    /// Decides on a cause and, if it is entered, changes `state` and says what moved.
    fn apply(
        &self,
        state: &mut State<'_>,
        at: Position,
        cause: &Self::Cause,
    ) -> Result<Verdict, LedgerError>;

    /// Checks what the rows of this chart promise each other, in the order of the invariants.
    fn check_invariants(&self, state: &State<'_>) -> Result<(), CheckError>;
}

/// Where an entry would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its sequence.
    pub sequence: Sequence,
    /// Its time.
    pub time: UnixTime,
}

/// What a chart decides about a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It becomes an entry.
    Enter {
        /// Why it changes nothing but a nonce, if it is refused.
        refusal: Option<Refusal>,
        /// What it moves.
        postings: Postings,
    },
    /// It changes nothing and leaves nothing.
    Answer(Outcome),
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is entry `sequence`, for good or as refused.
    Entered {
        /// Where.
        sequence: Sequence,
        /// Why it changed nothing but a nonce.
        refusal: Option<Refusal>,
    },
    /// It was done before, as entry `sequence`; this is the answer of then.
    Known {
        /// Where.
        sequence: Sequence,
        /// Why it changed nothing but a nonce.
        refusal: Option<Refusal>,
    },
    /// Its nonce was used by another order.
    NonceUsed {
        /// Where.
        sequence: Sequence,
        /// The order that used it.
        order: Box<SignedOrder>,
    },
    /// It was refused and left no entry.
    Refused(Refusal),
}

impl Outcome {
    /// Why it was refused, if it was.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Entered { refusal, .. } | Self::Known { refusal, .. } => *refusal,
            Self::NonceUsed { .. } => Some(Refusal::WrongNonce),
            Self::Refused(refusal) => Some(*refusal),
        }
    }

    /// The entry that answers it, if there is one.
    pub fn sequence(&self) -> Option<Sequence> {
        match self {
            Self::Entered { sequence, .. }
            | Self::Known { sequence, .. }
            | Self::NonceUsed { sequence, .. } => Some(*sequence),
            Self::Refused(_) => None,
        }
    }
}

/// Why a ledger cannot go on. The first one poisons it: every later append fails with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else writes to this ledger, or took entries away.
    #[error("the ledger does not end before entry {next}")]
    OtherWriter {
        /// Where a group was to go.
        next: Sequence,
    },
    /// A row does not read back.
    #[error("row {key} of table {table} does not parse: {source}")]
    Row {
        /// Its table.
        table: Table,
        /// Its key in hex.
        key: String,
        /// Why.
        source: LayoutError,
    },
    /// A row that another row speaks of is not there.
    #[error("row {key} of table {table} is missing")]
    RowMissing {
        /// Its table.
        table: Table,
        /// Its key in hex.
        key: String,
    },
    /// An account is below zero.
    #[error("account {account:?} is below zero")]
    BelowZero {
        /// Which.
        account: AccountId,
    },
    /// A total would pass 2¹²⁸ − 1, or a balance 2⁶⁴ − 1.
    #[error("account {account:?} is out of range")]
    Overflow {
        /// Which.
        account: AccountId,
    },
    /// The sum over entries is not what the rows hold.
    #[error("rows hold {rows}, entries add up to {entries}")]
    Unexplained {
        /// By the rows.
        rows: u128,
        /// By the entries.
        entries: u128,
    },
    /// Something fell due and the rules refuse it: rows disagree with each other.
    #[error("what fell due was refused: {refusal}")]
    DueRefused {
        /// Why.
        refusal: Refusal,
    },
    /// A group is too long; nothing of it was done. Does not poison.
    #[error("a group of {len} is longer than {max}")]
    GroupTooLong {
        /// Its length.
        len: usize,
        /// The longest.
        max: usize,
    },
}

impl LedgerError {
    pub(crate) fn row(table: Table, key: &[u8], source: LayoutError) -> Self {
        Self::Row {
            table,
            key: crate::hex::encode(key),
            source,
        }
    }

    pub(crate) fn missing(table: Table, key: &[u8]) -> Self {
        Self::RowMissing {
            table,
            key: crate::hex::encode(key),
        }
    }
}

/// Where a ledger ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many entries there are; the sequence of the next.
    pub next: Sequence,
    /// Hash of the last entry.
    pub hash: EntryHash,
    /// Time of the last entry.
    pub time: UnixTime,
}

impl Head {
    const START: Self = Self {
        next: Sequence::ZERO,
        hash: EntryHash::NONE,
        time: UnixTime::ZERO,
    };

    /// Sequence of the last entry; `None` before genesis.
    pub fn last(&self) -> Option<Sequence> {
        self.next.get().checked_sub(1).map(Sequence::new)
    }

    fn after(self, bytes: &[u8], time: UnixTime) -> Self {
        Self {
            next: self.next.next(),
            hash: EntryHash::of(bytes),
            time,
        }
    }
}

impl Row for Head {
    const TABLE: Table = Table::Meta;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.next.get())
            .bytes(self.hash.as_bytes())
            .u64(self.time.as_secs())
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let head = Self {
            next: Sequence::new(reader.u64()?),
            hash: EntryHash::from_bytes(reader.array()?),
            time: UnixTime::from_secs(reader.u64()?),
        };
        reader.end()?;
        Ok(head)
    }
}

/// A chart's ledger in a store. One writer; others read by a [`LedgerReader`].
pub struct Ledger<C, S> {
    chart: Arc<C>,
    store: S,
    head: Head,
    /// The newest group left something that had fallen due.
    is_behind: bool,
    poison: Option<LedgerError>,
}

impl<C: fmt::Debug, S> fmt::Debug for Ledger<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("chart", &self.chart)
            .field("head", &self.head)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

impl<C: Chart, S: Store> Ledger<C, S> {
    /// Applies a group in order at `now` (or at the time of the last entry, if that is later) and
    /// returns once all of it is fsynced. Of what has fallen due by then, at most
    /// [`DUE_BEFORE_CAUSE_MAX`] are entered before each cause, and [`DUE_MAX`] by an empty group;
    /// [`Self::is_behind`] says whether there are more.
    ///
    /// Any grouping of the same causes at the same times gives the same bytes (L5).
    pub fn append(
        &mut self,
        now: UnixTime,
        group: &[C::Cause],
    ) -> Result<Vec<Outcome>, LedgerError> {
        self.append_noting(now, group, &mut |_| ())
    }

    /// [`Self::append`], with every batch shown to `written` once it is fsynced.
    pub(crate) fn append_noting(
        &mut self,
        now: UnixTime,
        group: &[C::Cause],
        written: &mut dyn FnMut(&Batch),
    ) -> Result<Vec<Outcome>, LedgerError> {
        if group.len() > GROUP_MAX {
            return Err(LedgerError::GroupTooLong {
                len: group.len(),
                max: GROUP_MAX,
            });
        }
        if let Some(first) = &self.poison {
            return Err(first.clone());
        }
        let outcomes = self.append_at(now.max(self.head.time), group, written);
        outcomes.map_err(|error| self.poison(error))
    }
}

impl<C: Chart, S: StoreRead> Ledger<C, S> {
    /// Where the ledger ends.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether the newest group left something that had fallen due by then, which later groups
    /// enter, and empty ones.
    pub fn is_behind(&self) -> bool {
        self.is_behind && self.poison.is_none()
    }

    /// Why nothing can be appended any more.
    pub fn failure(&self) -> Option<&LedgerError> {
        self.poison.as_ref()
    }

    /// The rules it follows.
    pub fn chart(&self) -> &C {
        &self.chart
    }

    /// A view of its rows.
    pub fn state(&self) -> State<'_> {
        State::new(&self.store)
    }

    /// At most `limit` (and [`ENTRIES_MAX`]) entries from `from` on, oldest first.
    pub fn entries(&self, from: Sequence, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let limit = limit.min(ENTRIES_MAX);
        let rows = self
            .store
            .scan(Table::Entry, &sequence_key(from), None, limit)?;
        let read = |(key, bytes): &KeyValue| {
            Entry::from_bytes(bytes).map_err(|error| LedgerError::row(Table::Entry, key, error))
        };
        rows.iter().map(read).collect()
    }

    /// The cause of an entry of this ledger, as a value.
    pub fn cause(&self, entry: &Entry) -> Result<C::Cause, LedgerError> {
        C::decode(entry.kind, &entry.cause).map_err(|error| {
            LedgerError::row(Table::Entry, &entry.sequence.get().to_be_bytes(), error)
        })
    }

    /// Appends nothing any more, because of `error`; whoever was there first has the last word.
    pub(crate) fn poison(&mut self, error: LedgerError) -> LedgerError {
        self.poison.get_or_insert(error).clone()
    }
}

impl<C: Chart, S: Store> Ledger<C, S> {
    /// One group: one batch, one fsync. Nothing is visible before the write returns.
    fn append_at(
        &mut self,
        time: UnixTime,
        causes: &[C::Cause],
        written: &mut dyn FnMut(&Batch),
    ) -> Result<Vec<Outcome>, LedgerError> {
        let mut due = self.due(time, causes.len())?;
        let mut group = Group::new(&*self.chart, &self.store, self.head, time);
        let mut outcomes = Vec::with_capacity(causes.len());
        if causes.is_empty() {
            group.enter_due(&mut due, DUE_MAX)?;
        }
        for cause in causes {
            let room = DUE_BEFORE_CAUSE_MAX.saturating_sub(due.in_a_row);
            group.enter_due(&mut due, room)?;
            let outcome = match C::refuse_asked(cause) {
                Some(refusal) => Outcome::Refused(refusal),
                None => group.apply(cause)?,
            };
            if matches!(outcome, Outcome::Entered { .. }) {
                due.in_a_row = 0;
            }
            outcomes.push(outcome);
        }
        assert_eq!(outcomes.len(), causes.len(), "one outcome for each cause");
        let is_behind = !due.causes.is_empty();
        if let Some((batch, head)) = group.finish() {
            self.check_end()?;
            self.store.write(&batch, Durability::Synced)?;
            self.head = head;
            written(&batch);
        }
        self.is_behind = is_behind;
        Ok(outcomes)
    }

    /// What has fallen due by `time`, as far as a group of `len` causes may enter it and one more,
    /// and how many of its kind end the ledger already.
    fn due(&self, time: UnixTime, len: usize) -> Result<Due<C::Cause>, LedgerError> {
        let mut due = Due::none();
        if self.head == Head::START {
            return Ok(due);
        }
        let limit = match len {
            0 => DUE_MAX,
            len => len.saturating_mul(DUE_BEFORE_CAUSE_MAX),
        };
        let found = self
            .chart
            .due(&self.state(), time, limit.saturating_add(1))?;
        if let Some(first) = found.first() {
            let kind = C::kind(first);
            let tail = u64::try_from(DUE_BEFORE_CAUSE_MAX).unwrap_or(u64::MAX);
            let from = Sequence::new(self.head.next.get().saturating_sub(tail));
            let tail = self.entries(from, DUE_BEFORE_CAUSE_MAX)?;
            due.in_a_row = tail
                .iter()
                .rev()
                .take_while(|entry| entry.kind == kind)
                .count();
        }
        due.causes = found.into();
        Ok(due)
    }

    /// The last entry is there and none follows it: this is the only writer.
    fn check_end(&self) -> Result<(), LedgerError> {
        let next = self.head.next;
        let is_there = |sequence| self.store.get(Table::Entry, &sequence_key(sequence));
        let last = self.head.last().map(is_there).transpose()?;
        if last.is_none_or(|last| last.is_some()) && is_there(next)?.is_none() {
            Ok(())
        } else {
            Err(LedgerError::OtherWriter { next })
        }
    }
}
