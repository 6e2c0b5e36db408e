//! Where a ledger's rows live: ordered tables with atomic, durable batches.
//!
//! A store knows nothing of what its rows mean. `store/memory.rs` serves tests and the simulator,
//! `store/rocks.rs` (feature `rocksdb`) serves nodes. Both stop for good at their first error.

pub mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocks;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

pub use memory::Memory;
#[cfg(feature = "rocksdb")]
pub use rocks::Rocks;

/// A table: one column family, keys in byte order. Numbers inside keys are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::VariantArray)]
pub enum Table {
    /// Head and other single rows, by name.
    Meta,
    /// Sequence → entry bytes: the log itself.
    Entry,
    /// Account id → its two totals.
    Account,
    /// Lock id → the lock as this ledger knows it.
    Lock,
    /// Account and nonce → sequence of the order that used it.
    Nonce,
    /// Account → nonce, newest line, reserved credit.
    Owner,
    /// When a lock's credit returns, and lock id → nothing.
    Expiry,
    /// Payer and payee → their newest lock.
    Pair,
    /// Account and sequence → what the line needs beside its entry.
    Statement,
    /// Channel id → totals booked so far.
    Channel,
    /// Request id → the issuer's order that answers it.
    Request,
    /// Number of a request → its id, in the order in which they came; and, by no number, which of
    /// them are kept.
    RequestAge,
    /// Memo hash → the reason of a grant that has it.
    Reason,
    /// Size after a group → the head that was signed for it.
    SignedHead,
    /// Channel id → newest receipt.
    TallyReceipt,
    /// Peer → what a pair owes and is owed.
    TallyPair,
    /// Lock id → a lock and what was done with it.
    TallyLock,
    /// The newest order signed.
    TallyOrder,
    /// Boost number → boost.
    TallyBoost,
}

impl Table {
    /// Every table, in order.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Whether replaying the entries makes it again, to the byte.
    pub const fn is_derived(self) -> bool {
        match self {
            Self::Meta
            | Self::Account
            | Self::Lock
            | Self::Nonce
            | Self::Owner
            | Self::Expiry
            | Self::Pair
            | Self::Statement
            | Self::Channel => true,
            Self::Entry
            | Self::Request
            | Self::RequestAge
            | Self::Reason
            | Self::SignedHead
            | Self::TallyReceipt
            | Self::TallyPair
            | Self::TallyLock
            | Self::TallyOrder
            | Self::TallyBoost => false,
        }
    }

    /// Name on disk; never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Entry => "entry",
            Self::Account => "account",
            Self::Lock => "lock",
            Self::Nonce => "nonce",
            Self::Owner => "owner",
            Self::Expiry => "expiry",
            Self::Pair => "pair",
            Self::Statement => "statement",
            Self::Channel => "channel",
            Self::Request => "request",
            Self::RequestAge => "request-age",
            Self::Reason => "reason",
            Self::SignedHead => "signed-head",
            Self::TallyReceipt => "tally-receipt",
            Self::TallyPair => "tally-pair",
            Self::TallyLock => "tally-lock",
            Self::TallyOrder => "tally-order",
            Self::TallyBoost => "tally-boost",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a write has gone when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the write-ahead log and handed to the kernel: survives the process, not the power.
    Written,
    /// On the disk: survives the power.
    Synced,
}

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Rows to write together or not at all. A later change of a key replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>);

impl Batch {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value` under `key`.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.0.insert((table, key), Some(value));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.0.insert((table, key), None);
    }

    /// The change of `key`: a value, a removal (`Some(None)`), or none at all.
    pub fn change(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        self.0
            .get(&(table, key.to_vec()))
            .map(|value| value.as_deref())
    }

    /// Every change, ordered by table and key.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.0
            .iter()
            .map(|((table, key), value)| (*table, key.as_slice(), value.as_deref()))
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a store cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// Its folder.
        path: String,
    },
    /// What it reads back is not what was written.
    #[error("{path} is corrupt: {reason}")]
    Corrupt {
        /// Its folder.
        path: String,
        /// What the store says.
        reason: String,
    },
    /// The disk or the system refused.
    #[error("{path}: {reason}")]
    Io {
        /// Its folder.
        path: String,
        /// What the store says.
        reason: String,
    },
}

/// Ordered tables to be read: a store as it is at each call, or a [`Snapshot`] of one.
pub trait StoreRead: Send + Sync {
    /// The value under `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows in key order, from `from` (inclusive) up to `until` (exclusive).
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError>;
}

/// A store as it was at one moment, between two batches: what is written later is not in it.
/// Clones are the same snapshot, and the store keeps what they need until the last is dropped.
pub type Snapshot<'a> = Arc<dyn StoreRead + 'a>;

/// Ordered tables with atomic batches.
///
/// After its first error every later call returns that error, also on a snapshot: a storage error
/// is never retried, because the kernel may have dropped what it failed to write.
pub trait Store: StoreRead {
    /// What is written by now, whoever goes on writing. O(1); waits for no fsync.
    fn snapshot(&self) -> Snapshot<'_>;

    /// Writes all of `batch` or none of it; returns when `durability` is reached.
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError>;

    /// Makes everything written so far [`Durability::Synced`].
    fn sync(&self) -> Result<(), StoreError>;
}

impl<S: StoreRead + ?Sized> StoreRead for Arc<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        S::get(self, table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        S::scan(self, table, from, until, limit)
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn snapshot(&self) -> Snapshot<'_> {
        S::snapshot(self)
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        S::write(self, batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        S::sync(self)
    }
}

/// Calls `row` for every row of `table` whose key starts with `prefix`, in key order.
pub(crate) fn for_each<E: From<StoreError>>(
    store: &dyn StoreRead,
    table: Table,
    prefix: &[u8],
    mut row: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    const PAGE: usize = 1024;
    let mut from = prefix.to_vec();
    loop {
        let page = store.scan(table, &from, None, PAGE)?;
        for (key, value) in &page {
            if !key.starts_with(prefix) {
                return Ok(());
            }
            row(key, value)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => from = key_after(last),
            _ => return Ok(()),
        }
    }
}

/// The smallest key above `key`.
pub(crate) fn key_after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// A store's first error, kept for every later call.
#[derive(Debug, Default)]
pub(crate) struct Poison(OnceLock<StoreError>);

impl Poison {
    /// The first error, if there was one.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.0.get().map_or(Ok(()), |first| Err(first.clone()))
    }

    /// Runs `step` unless poisoned, and is poisoned by its error.
    pub(crate) fn guard<T>(
        &self,
        step: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check()?;
        step().map_err(|error| self.0.get_or_init(|| error).clone())
    }
}
