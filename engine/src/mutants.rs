//! Faults that a test turns on, to see that what should notice them does.
//!
//! Behind a feature that only the simulator's tests ask for. Each is one place of the production
//! path, on the thread that asked for it.

use std::cell::Cell;

use seedbank_ledger::RawCost;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Who has a paid seat is served as open, and everybody else as paid.
    ClassesSwapped,
    /// What a block costs is rounded up.
    DueRoundedUp,
    /// The ask is the highest bid that is served as paid, not the lowest.
    AskIsMost,
    /// The open class is left neither slots nor rate of its own.
    OpenShareIgnored,
    /// Optimistic turns go to whom we met first, however long others have waited.
    TurnsByAge,
    /// What others give is not looked at when slots are given.
    GivingIgnored,
    /// Who wants upload that the limit holds back is looked at half a second late.
    RefillLate,
}

thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// What `work` comes to with this fault in the code that it calls on this thread.
pub fn with<T>(mutant: Mutant, work: impl FnOnce() -> T) -> T {
    let before = ACTIVE.replace(Some(mutant));
    let done = work();
    ACTIVE.set(before);
    done
}

/// Whether this thread's code has this fault.
pub(crate) fn has(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// What a block costs, or with [`Mutant::DueRoundedUp`] more.
pub(crate) fn due(raw: RawCost) -> RawCost {
    match raw.ceil().filter(|_| has(Mutant::DueRoundedUp)) {
        Some(whole) => RawCost::of(whole),
        None => raw,
    }
}
