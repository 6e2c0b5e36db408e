//! Reads a ledger while somebody else writes it.
//!
//! Whoever asks gets the ledger as it stood between two groups: rows, entries and head of one
//! moment, and no way to write.

use std::fmt;
use std::sync::Arc;

use super::{Chart, HEAD_KEY, Ledger, LedgerError};
use crate::state::{Row as _, State};
use crate::store::{Snapshot, Store};

/// The way to a ledger that is open elsewhere. Cheap to clone; keeps the store open.
pub struct LedgerReader<C> {
    chart: Arc<C>,
    store: Arc<dyn Store>,
}

impl<C: Chart> LedgerReader<C> {
    /// The ledger as it stands by now, whoever goes on writing it. Reads one row; waits for no
    /// group that is under way, and sees nothing of it.
    pub fn now(&self) -> Result<Ledger<C, Snapshot<'_>>, LedgerError> {
        let store = self.store.snapshot();
        let missing = || LedgerError::missing(super::Head::TABLE, HEAD_KEY);
        let head = State::new(&store).row(HEAD_KEY)?.ok_or_else(missing)?;
        Ok(Ledger {
            chart: Arc::clone(&self.chart),
            store,
            head,
            is_behind: false,
            poison: None,
        })
    }

    /// The rules it follows.
    pub fn chart(&self) -> &C {
        &self.chart
    }
}

impl<C: Chart, S: Store + Clone + 'static> Ledger<C, S> {
    /// A way to read this ledger from anywhere.
    pub fn reader(&self) -> LedgerReader<C> {
        LedgerReader {
            chart: Arc::clone(&self.chart),
            store: Arc::new(self.store.clone()),
        }
    }
}

impl<C> Clone for LedgerReader<C> {
    fn clone(&self) -> Self {
        Self {
            chart: Arc::clone(&self.chart),
            store: Arc::clone(&self.store),
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for LedgerReader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chart = &self.chart;
        f.debug_tuple("LedgerReader").field(chart).finish()
    }
}
