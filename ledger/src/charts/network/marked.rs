//! How far a ledger's mark goes, for those who read beside its writer: nobody may be told of an
//! entry that its mark does not cover, for a start after a crash might not miss it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::ledger::LedgerError;

/// Raised by the writer, waited for by readers.
#[derive(Debug, Default)]
pub(super) struct Marked {
    covered: Mutex<Covered>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Covered {
    /// Nothing is kept outside the store.
    #[default]
    Unkept,
    /// Entries that the mark covers.
    Covers(u64),
    /// It will cover no more.
    Failed { covers: u64, error: LedgerError },
}

impl Marked {
    /// The mark covers `size` entries.
    pub(super) fn raised(&self, size: u64) {
        *self.covered() = Covered::Covers(size);
        self.changed.notify_all();
    }

    /// It cannot be raised any more.
    pub(super) fn failed(&self, error: LedgerError) {
        let mut covered = self.covered();
        let covers = match &*covered {
            Covered::Unkept => return,
            Covered::Covers(covers) | Covered::Failed { covers, .. } => *covers,
        };
        *covered = Covered::Failed { covers, error };
        self.changed.notify_all();
    }

    /// Waits until the mark covers `size` entries, which are in the store: no longer than it takes
    /// to write it.
    pub(super) fn wait_for(&self, size: u64) -> Result<(), LedgerError> {
        let mut covered = self.covered();
        loop {
            match &*covered {
                Covered::Unkept => return Ok(()),
                Covered::Covers(covers) | Covered::Failed { covers, .. } if *covers >= size => {
                    return Ok(());
                }
                Covered::Failed { error, .. } => return Err(error.clone()),
                Covered::Covers(_) => {}
            }
            let waited = self.changed.wait(covered);
            covered = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn covered(&self) -> MutexGuard<'_, Covered> {
        // Nothing under this lock leaves it half done.
        self.covered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> LedgerError {
        LedgerError::GroupTooLong { len: 2, max: 1 }
    }

    #[test]
    fn who_reads_what_is_not_marked_waits_until_it_is_or_never_will_be() {
        let marked = Marked::default();
        assert_eq!(marked.wait_for(9), Ok(()), "no mark is kept");
        marked.raised(1);
        assert_eq!(marked.wait_for(1), Ok(()));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| marked.wait_for(2));
            let third = scope.spawn(|| marked.wait_for(3));
            marked.raised(2);
            assert_eq!(second.join().unwrap(), Ok(()));
            marked.failed(error());
            assert_eq!(third.join().unwrap(), Err(error()));
        });
        assert_eq!(marked.wait_for(2), Ok(()));
        assert_eq!(marked.wait_for(3), Err(error()));
    }
}
