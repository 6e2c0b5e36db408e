//! Makes a ledger again from its entries and compares everything: an audit that trusts nobody.

use super::{
    Chart, DUE_BEFORE_CAUSE_MAX, HEAD_KEY, Head, Ledger, LedgerError, Position, Verdict, seal,
};
use crate::account::{AccountId, AccountRow, Commodity};
use crate::entry::{Entry, EntryHash};
use crate::layout::LayoutError;
use crate::refusal::Refusal;
use crate::signed::head::{LedgerHead, SignedHead};
use crate::state::{State, sequence_key};
use crate::store::{
    Durability, Memory, Store as _, StoreError, StoreRead, Table, for_each, key_after,
};
use crate::time::UnixTime;
use crate::units::Sequence;

/// What a check found in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// Entries made again, signatures and all.
    pub entry_count: u64,
    /// Where the ledger ends.
    pub head: Head,
    /// Rows compared.
    pub row_count: u64,
    /// Signed heads verified; 0 where nobody signs.
    pub signed_head_count: u64,
}

/// The first thing that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An entry does not parse.
    #[error("entry {sequence} does not parse: {source}")]
    Entry {
        /// Where.
        sequence: Sequence,
        /// Why.
        source: LayoutError,
    },
    /// An entry is missing, or stands in another's place.
    #[error("entry {expected} is missing, {found} stands in its place")]
    Gap {
        /// Where an entry should be.
        expected: Sequence,
        /// What the entry there calls itself.
        found: Sequence,
    },
    /// An entry does not name the hash of the one before.
    #[error("entry {sequence} follows {found}, not {expected}")]
    Chain {
        /// Where.
        sequence: Sequence,
        /// Hash of the entry before.
        expected: EntryHash,
        /// What it names.
        found: EntryHash,
    },
    /// Time goes back.
    #[error("entry {sequence} is of {found}, before {previous}")]
    Time {
        /// Where.
        sequence: Sequence,
        /// Time of the entry before.
        previous: UnixTime,
        /// Its time.
        found: UnixTime,
    },
    /// Its cause does not bring it about: a signature, a balance or a rule says no.
    #[error("the cause of entry {sequence} does not bring it about: {refusal:?}")]
    Unfounded {
        /// Where.
        sequence: Sequence,
        /// What it was refused for, if it was.
        refusal: Option<Refusal>,
    },
    /// Its cause brings about something else.
    #[error("the cause of entry {sequence} brings about other postings or another outcome")]
    Different {
        /// Where.
        sequence: Sequence,
    },
    /// Something had fallen due before it and was not entered, nor enough of what fell due earlier.
    #[error("something fell due before entry {sequence} and was not entered")]
    Overdue {
        /// Where.
        sequence: Sequence,
    },
    /// A row is not what the entries make it.
    #[error("row {key} of table {table} is not what the entries make it")]
    Row {
        /// Its table.
        table: Table,
        /// Its key in hex.
        key: String,
    },
    /// The head is not where the entries end.
    #[error("the head is at {head:?}, the entries end at {entries:?}")]
    Head {
        /// As stored.
        head: Head,
        /// As made again.
        entries: Head,
    },
    /// Who keeps the ledger did not sign this head, or it is another's.
    #[error("the signed head of {size} entries is not one, or not signed by the settlement node")]
    HeadForged {
        /// Entries by its key.
        size: u64,
    },
    /// The ledger is not the one whose head was signed: an entry or a time is another.
    #[error(
        "a head of {} entries was signed, ending at {} with {}, which is not this ledger's",
        signed.size, signed.time, signed.entry_hash
    )]
    HeadOfAnother {
        /// What was signed.
        signed: LedgerHead,
    },
    /// Nobody signed for the last entries.
    #[error("no head was signed after entry {last}, the last")]
    HeadUnsigned {
        /// The last entry.
        last: Sequence,
    },
    /// Debits and credits of a commodity differ.
    #[error("debits of {debits} and credits of {credits} differ in {commodity:?}")]
    Unbalanced {
        /// Of what.
        commodity: Commodity,
        /// Σ of debits.
        debits: u128,
        /// Σ of credits.
        credits: u128,
    },
    /// An invariant of `lib.rs` does not hold.
    #[error("{invariant} does not hold: {left} and {right} differ ({about})")]
    Invariant {
        /// Its number.
        invariant: &'static str,
        /// What it is about.
        about: String,
        /// One side.
        left: u128,
        /// The other.
        right: u128,
    },
}

impl From<StoreError> for CheckError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

impl<C: Chart, S: StoreRead> Ledger<C, S> {
    /// Replays every entry into fresh tables and compares hashes, outcomes, postings and rows, with
    /// every signature verified again. O(entries), 35 µs each.
    pub fn check(&self) -> Result<CheckReport, CheckError> {
        let mut replay = Replay::new(self.chart());
        loop {
            let from = sequence_key(replay.head.next);
            let page = self
                .store
                .scan(Table::Entry, &from, None, super::ENTRIES_MAX)?;
            if page.is_empty() {
                break;
            }
            for (_, bytes) in &page {
                replay.step(bytes)?;
                self.check_signed_head(&mut replay)?;
            }
        }
        if replay.head != self.head {
            return Err(CheckError::Head {
                head: self.head,
                entries: replay.head,
            });
        }
        self.check_signed_heads(&replay)?;
        let row_count = compare_rows(&self.store, &replay.rows)?;
        self.check_invariants()?;
        Ok(CheckReport {
            entry_count: replay.head.next.get(),
            head: replay.head,
            row_count,
            signed_head_count: replay.signed_head_count,
        })
    }

    /// The head that was signed where the replay stands, if one was, is of this ledger.
    fn check_signed_head(&self, replay: &mut Replay<'_, C>) -> Result<(), CheckError> {
        let size = replay.head.next;
        let Some(bytes) = self.store.get(Table::SignedHead, &sequence_key(size))? else {
            return Ok(());
        };
        let forged = || CheckError::HeadForged { size: size.get() };
        let signed = SignedHead::from_bytes(&bytes).map_err(|_| forged())?;
        let signer = self.chart.head_signer().ok_or_else(forged)?;
        if !signer.has_signed(&signed) {
            return Err(forged());
        }
        if signed.body != signer.head(&replay.head) {
            let signed = signed.body;
            return Err(CheckError::HeadOfAnother { signed });
        }
        replay.signed_head_count = replay.signed_head_count.saturating_add(1);
        replay.signed = Some(size);
        Ok(())
    }

    /// The last entry is signed for, and no head was signed of entries that are not there.
    fn check_signed_heads(&self, replay: &Replay<'_, C>) -> Result<(), CheckError> {
        let end = replay.head.next.get();
        for_each(&self.store, Table::SignedHead, &[], |key, value| {
            let size = <[u8; 8]>::try_from(key).map_or(0, u64::from_be_bytes);
            if (1..=end).contains(&size) {
                return Ok(()); // verified where the replay came past it
            }
            Err(match SignedHead::from_bytes(value) {
                Ok(signed) if signed.body.size == size => {
                    let signed = signed.body;
                    CheckError::HeadOfAnother { signed }
                }
                Ok(_) | Err(_) => CheckError::HeadForged { size },
            })
        })?;
        match replay.head.last() {
            Some(last) if self.chart.head_signer().is_some() => {
                let is_signed = replay.signed == Some(replay.head.next);
                let unsigned = CheckError::HeadUnsigned { last };
                is_signed.then_some(()).ok_or(unsigned)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks the rows against each other: L2, both sums of every commodity, and what the chart
    /// promises. O(rows).
    pub fn check_invariants(&self) -> Result<(), CheckError> {
        let state = self.state();
        check_accounts(&state)?;
        self.chart.check_invariants(&state)
    }
}

/// A ledger being made again in memory.
struct Replay<'a, C> {
    chart: &'a C,
    rows: Memory,
    head: Head,
    /// How many entries at its end had fallen due by themselves.
    due_in_a_row: usize,
    /// Where the newest head that was verified was signed.
    signed: Option<Sequence>,
    signed_head_count: u64,
}

impl<'a, C: Chart> Replay<'a, C> {
    fn new(chart: &'a C) -> Self {
        Self {
            chart,
            rows: Memory::new(),
            head: Head::START,
            due_in_a_row: 0,
            signed: None,
            signed_head_count: 0,
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<(), CheckError> {
        let sequence = self.head.next;
        let unreadable = |source| CheckError::Entry { sequence, source };
        let entry = Entry::from_bytes(bytes).map_err(unreadable)?;
        self.check_link(&entry)?;
        let cause = C::decode(entry.kind, &entry.cause).map_err(unreadable)?;
        let mut state = State::new(&self.rows);
        if sequence == Sequence::ZERO {
            if cause != self.chart.genesis() {
                return Err(CheckError::Different { sequence });
            }
        } else {
            self.due_in_a_row = self.check_due(&state, &entry, &cause)?;
        }
        let at = Position {
            sequence,
            time: entry.time,
        };
        match self.chart.apply(&mut state, at, &cause)? {
            Verdict::Answer(outcome) => Err(CheckError::Unfounded {
                sequence,
                refusal: outcome.refusal(),
            }),
            Verdict::Enter { refusal, postings } => {
                if seal::seal::<C>(self.head, entry.time, &cause, refusal, postings) != bytes {
                    return Err(CheckError::Different { sequence });
                }
                self.head = self.head.after(bytes, entry.time);
                state.put_row(HEAD_KEY.to_vec(), &self.head);
                let batch = state.into_batch();
                Ok(self.rows.write(&batch, Durability::Written)?)
            }
        }
    }

    /// What fell due stands in its order, and nothing else before enough of it does. Returns how
    /// much of it stands in a row once `entry` does.
    fn check_due(
        &self,
        state: &State<'_>,
        entry: &Entry,
        cause: &C::Cause,
    ) -> Result<usize, CheckError> {
        let Some(due) = self.chart.due(state, entry.time, 1)?.pop() else {
            return Ok(0);
        };
        if due == *cause {
            return Ok(self.due_in_a_row.saturating_add(1));
        }
        let is_out_of_order = C::kind(&due) == entry.kind;
        if is_out_of_order || self.due_in_a_row < DUE_BEFORE_CAUSE_MAX {
            let sequence = entry.sequence;
            return Err(CheckError::Overdue { sequence });
        }
        Ok(0)
    }

    fn check_link(&self, entry: &Entry) -> Result<(), CheckError> {
        let sequence = self.head.next;
        if entry.sequence != sequence {
            return Err(CheckError::Gap {
                expected: sequence,
                found: entry.sequence,
            });
        }
        if entry.prev_hash != self.head.hash {
            return Err(CheckError::Chain {
                sequence,
                expected: self.head.hash,
                found: entry.prev_hash,
            });
        }
        if entry.time < self.head.time {
            return Err(CheckError::Time {
                sequence,
                previous: self.head.time,
                found: entry.time,
            });
        }
        Ok(())
    }
}

/// Compares every derived row of two stores; returns how many there are.
fn compare_rows(kept: &dyn StoreRead, made: &dyn StoreRead) -> Result<u64, CheckError> {
    const PAGE: usize = 1_024;
    let mut count: u64 = 0;
    for &table in Table::ALL.iter().filter(|table| table.is_derived()) {
        let mut from = Vec::new();
        loop {
            let kept = kept.scan(table, &from, None, PAGE)?;
            let made = made.scan(table, &from, None, PAGE)?;
            if kept != made {
                let odd = kept.iter().zip(&made).find(|(kept, made)| kept != made);
                let longer = || kept.get(made.len()).or_else(|| made.get(kept.len()));
                let row = odd.map(|(kept, made)| kept.min(made)).or_else(longer);
                return Err(CheckError::Row {
                    table,
                    key: row
                        .map(|(key, _)| crate::hex::encode(key))
                        .unwrap_or_default(),
                });
            }
            count = count.saturating_add(u64::try_from(kept.len()).unwrap_or(u64::MAX));
            match kept.last() {
                Some((last, _)) if kept.len() == PAGE => from = key_after(last),
                _ => break,
            }
        }
    }
    Ok(count)
}

/// L2, and that every posting has its other side.
fn check_accounts(state: &State<'_>) -> Result<(), CheckError> {
    let mut sums = [(Commodity::Credit, 0, 0), (Commodity::Bytes, 0, 0)];
    for_each_account(state, &[], |account, row| {
        row.balance(&account)
            .ok_or(LedgerError::BelowZero { account })?;
        for (commodity, debits, credits) in &mut sums {
            if *commodity == account.commodity() {
                *debits = u128::saturating_add(*debits, row.debits);
                *credits = u128::saturating_add(*credits, row.credits);
            }
        }
        Ok::<(), CheckError>(())
    })?;
    for (commodity, debits, credits) in sums {
        if debits != credits {
            return Err(CheckError::Unbalanced {
                commodity,
                debits,
                credits,
            });
        }
    }
    Ok(())
}

/// Calls `row` for every written account whose id starts with `prefix`.
pub(crate) fn for_each_account<E: From<LedgerError> + From<StoreError>>(
    state: &State<'_>,
    prefix: &[u8],
    mut row: impl FnMut(AccountId, AccountRow) -> Result<(), E>,
) -> Result<(), E> {
    for_each(state.store(), Table::Account, prefix, |key, value| {
        let unreadable = |error| LedgerError::row(Table::Account, key, error);
        let account = AccountId::from_bytes(key).map_err(unreadable)?;
        let totals = AccountRow::from_bytes(value).map_err(unreadable)?;
        row(account, totals)
    })
}
