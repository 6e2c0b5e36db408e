//! The order of entries as a seam: today the ledger's own entry table, later a replicated log.
//!
//! A ledger derives a group's entries, gives them to its log, and only then writes entries and rows
//! as one batch to its own store. A replicated log makes the group durable elsewhere first and
//! refuses it if another writer was faster; the embedded log *is* the entry table, so the batch
//! that follows is its append.

use crate::store::{Store, StoreError, Table};
use crate::units::Sequence;

use crate::state::sequence_key;

/// Why a log did not take a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another writer was faster, or this one has fallen behind.
    #[error("the log does not end before entry {expected}")]
    Lost {
        /// Where the group was to go.
        expected: Sequence,
    },
    /// The storage below failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Entries in their one order.
pub trait OrderedLog: Send + Sync {
    /// Puts a group of entries at `expected_next`, all or none. When this returns, no other writer
    /// can put anything else there; the ledger's own batch follows.
    fn append(&self, expected_next: Sequence, group: &[Vec<u8>]) -> Result<(), LogError>;

    /// At most `limit` entries from `from` on.
    fn read(&self, from: Sequence, limit: usize) -> Result<Vec<Vec<u8>>, LogError>;
}

/// The entry table of a store with one writer.
#[derive(Clone, Debug)]
pub struct EmbeddedLog<S>(S);

impl<S: Store> EmbeddedLog<S> {
    /// The log inside `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }

    fn holds(&self, sequence: Sequence) -> Result<bool, StoreError> {
        let entry = self.0.get(Table::Entry, &sequence_key(sequence))?;
        Ok(entry.is_some())
    }
}

impl<S: Store> OrderedLog for EmbeddedLog<S> {
    fn append(&self, expected_next: Sequence, _: &[Vec<u8>]) -> Result<(), LogError> {
        let last = expected_next.get().checked_sub(1).map(Sequence::new);
        let follows = last.map_or(Ok(true), |last| self.holds(last))?;
        if follows && !self.holds(expected_next)? {
            Ok(())
        } else {
            Err(LogError::Lost {
                expected: expected_next,
            })
        }
    }

    fn read(&self, from: Sequence, limit: usize) -> Result<Vec<Vec<u8>>, LogError> {
        let rows = self
            .0
            .scan(Table::Entry, &sequence_key(from), None, limit)?;
        Ok(rows.into_iter().map(|(_, entry)| entry).collect())
    }
}
