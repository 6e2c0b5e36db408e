//! How a ledger begins, and how it is taken up again: two things that are never one.
//!
//! What founds never opens and what opens never founds, so that a store that was emptied is not
//! taken for a new ledger. Next: `mark.rs`, what a network ledger must not end before.

use std::sync::Arc;

use super::{Chart, ENTRIES_MAX, HEAD_KEY, Head, Ledger, LedgerError};
use crate::entry::{Entry, EntryHash};
use crate::signed::head::{LedgerHead, SignedHead};
use crate::state::{State, sequence_key};
use crate::store::{Store, StoreError, StoreRead, Table};
use crate::time::UnixTime;
use crate::units::Sequence;

/// Why a ledger is neither opened nor founded. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is nothing to open.
    #[error("there is no {ledger} ledger: its store is empty")]
    Empty {
        /// Which ledger.
        ledger: &'static str,
    },
    /// There is something already where a ledger is to be founded.
    #[error("a {ledger} ledger is there already")]
    NotEmpty {
        /// Which ledger.
        ledger: &'static str,
    },
    /// There are entries and no head.
    #[error("the {ledger} ledger has entries but no head")]
    HeadMissing {
        /// Which ledger.
        ledger: &'static str,
    },
    /// The head speaks of an entry that is not there, or that is another.
    #[error("the {ledger} ledger ends at {head}, but that entry is missing or another")]
    TailMissing {
        /// Which ledger.
        ledger: &'static str,
        /// Its last entry by its head.
        head: Sequence,
    },
    /// There are entries after the head.
    #[error("the {ledger} ledger ends before {next}, but there is an entry")]
    TailLonger {
        /// Which ledger.
        ledger: &'static str,
        /// First entry after the head.
        next: Sequence,
    },
    /// An entry near the end does not follow from the one before it.
    #[error("entry {sequence} of the {ledger} ledger does not follow from the one before")]
    ChainBroken {
        /// Which ledger.
        ledger: &'static str,
        /// Where.
        sequence: Sequence,
    },
    /// Who keeps it has not signed for its end.
    #[error("the end of the {ledger} ledger, after {size} entries, is not signed")]
    HeadUnsigned {
        /// Which ledger.
        ledger: &'static str,
        /// Entries in it.
        size: u64,
    },
    /// Entries are gone that were acknowledged.
    #[error(
        "the ledger has {size} entries, but {} were acknowledged: {} are missing",
        mark.size,
        mark.size.saturating_sub(*size)
    )]
    BelowMark {
        /// Entries in it.
        size: u64,
        /// What was acknowledged.
        mark: LedgerHead,
    },
    /// An entry that was acknowledged is another now.
    #[error(
        "entry {} of the ledger is not the one that was acknowledged",
        mark.size.saturating_sub(1)
    )]
    OtherThanMark {
        /// Entries in it.
        size: u64,
        /// What was acknowledged.
        mark: LedgerHead,
    },
    /// The mark is not this ledger's.
    #[error(
        "the mark is that of network {}, or not signed by its settlement node",
        mark.network_id
    )]
    MarkForeign {
        /// What it says.
        mark: LedgerHead,
    },
    /// It was begun by another owner, or for another network.
    #[error("this is another's {ledger} ledger: it began with another genesis")]
    OtherGenesis {
        /// Which ledger.
        ledger: &'static str,
    },
    /// The key given is not the one the ledger names.
    #[error("needs the key of {needed}, was given that of {given}")]
    OtherKey {
        /// Named by genesis.
        needed: crate::NodeId,
        /// The key that was given.
        given: crate::NodeId,
    },
    /// This node has joined another network before.
    #[error("this node joined network {joined}, not {configured}")]
    OtherNetwork {
        /// In the ledger.
        joined: crate::NetworkId,
        /// In the configuration.
        configured: crate::NetworkId,
    },
}

/// Whether no ledger was ever begun in `store`: no head, and no entry. A store that lost its head
/// is not empty, and opens no more.
pub fn is_empty(store: &dyn Store) -> Result<bool, StoreError> {
    let has_head = store.get(Table::Meta, HEAD_KEY)?.is_some();
    let entries = store.scan(Table::Entry, &[], None, 1)?;
    Ok(!has_head && entries.is_empty())
}

impl<C: Chart, S: StoreRead> Ledger<C, S> {
    /// The newest signed head; `None` where nobody signs.
    pub(crate) fn signed_head(&self) -> Result<Option<SignedHead>, LedgerError> {
        self.state().row(&sequence_key(self.head.next))
    }
}

impl<C: Chart, S: Store> Ledger<C, S> {
    /// Begins the ledger in `store`, which must be empty, at `now`; durable when this returns.
    pub fn found(store: S, chart: C, now: UnixTime) -> Result<Self, OpenError> {
        if !is_empty(&store).map_err(LedgerError::from)? {
            return Err(OpenError::NotEmpty { ledger: C::NAME });
        }
        let mut ledger = Self::at(store, chart, Head::START);
        let genesis = ledger.chart.genesis();
        ledger.append(now, &[genesis])?;
        Ok(ledger)
    }

    /// Opens the ledger in `store`, which was founded before. Checks the head and its signature,
    /// the last entries and the genesis, and makes nothing again: O(1). Writes nothing.
    pub fn open(store: S, chart: C) -> Result<Self, OpenError> {
        if is_empty(&store).map_err(LedgerError::from)? {
            return Err(OpenError::Empty { ledger: C::NAME });
        }
        let head: Option<Head> = State::new(&store).row(HEAD_KEY)?;
        let ledger = Self::at(store, chart, head.unwrap_or(Head::START));
        ledger.check_tail()?;
        ledger.check_signed_end()?;
        Ok(ledger)
    }

    /// Refuses a ledger that ends before what `mark` says was acknowledged, or that is another.
    pub(crate) fn check_mark(&self, mark: &SignedHead) -> Result<(), OpenError> {
        let mark_is_ours = self
            .chart
            .head_signer()
            .is_some_and(|signer| signer.has_signed(mark));
        let mark = mark.body;
        if !mark_is_ours {
            return Err(OpenError::MarkForeign { mark });
        }
        let size = self.head.next.get();
        if size < mark.size {
            return Err(OpenError::BelowMark { size, mark });
        }
        let last = mark.size.checked_sub(1).map(Sequence::new);
        let entry = match last {
            Some(last) => self.state().entry(last)?,
            None => None,
        };
        match entry {
            Some(entry) if EntryHash::of(&entry.to_bytes()) == mark.entry_hash => Ok(()),
            Some(_) | None => Err(OpenError::OtherThanMark { size, mark }),
        }
    }

    fn at(store: S, chart: C, head: Head) -> Self {
        Self {
            chart: Arc::new(chart),
            store,
            head,
            is_behind: false,
            poison: None,
        }
    }

    /// The newest signed head is of the last entry.
    fn check_signed_end(&self) -> Result<(), OpenError> {
        let Some(signer) = self.chart.head_signer() else {
            return Ok(());
        };
        let signed = self.signed_head()?;
        let is_of_end = |signed: &SignedHead| {
            signer.has_signed(signed) && signed.body == signer.head(&self.head)
        };
        if signed.as_ref().is_some_and(is_of_end) {
            return Ok(());
        }
        Err(OpenError::HeadUnsigned {
            ledger: C::NAME,
            size: self.head.next.get(),
        })
    }

    /// Compares the head with the entries before and after it, and entry 0 with the chart's
    /// genesis.
    fn check_tail(&self) -> Result<(), OpenError> {
        const TAIL: u64 = 16;
        let ledger = C::NAME;
        let next = self.head.next;
        if self.state().entry(next)?.is_some() {
            return Err(if next == Sequence::ZERO {
                OpenError::HeadMissing { ledger }
            } else {
                OpenError::TailLonger { ledger, next }
            });
        }
        let Some(last) = self.head.last() else {
            return Ok(());
        };
        let first = Sequence::new(last.get().saturating_sub(TAIL));
        let mut hash = None;
        for (sequence, entry) in (first.get()..next.get()).zip(self.tail(first)?) {
            let follows = hash.is_none_or(|hash| entry.prev_hash == hash);
            if !follows || entry.sequence.get() != sequence {
                return Err(OpenError::ChainBroken {
                    ledger,
                    sequence: Sequence::new(sequence),
                });
            }
            hash = Some(EntryHash::of(&entry.to_bytes()));
        }
        if hash != Some(self.head.hash) {
            return Err(OpenError::TailMissing { ledger, head: last });
        }
        let genesis = self.state().entry(Sequence::ZERO)?;
        match genesis {
            Some(entry) if entry.cause == C::encode(&self.chart.genesis()) => Ok(()),
            _ => Err(OpenError::OtherGenesis { ledger }),
        }
    }

    fn tail(&self, first: Sequence) -> Result<Vec<Entry>, LedgerError> {
        self.entries(first, ENTRIES_MAX)
    }
}
