//! Rows that change with every piece: newest receipts, what is due, what is lost.
//!
//! They are overwritten in place, written before the message that depends on them is sent, and
//! fsynced within a second. The log gets one summary entry per channel from time to time.

mod rows;

#[cfg(test)]
mod tests;

use crate::identity::NodeId;
use crate::ledger::LedgerError;
use crate::signed::channel::Channel;
use crate::signed::lock::{LockId, SignedLock};
use crate::signed::order::SignedOrder;
use crate::signed::receipt::SignedReceipt;
use crate::store::{Batch, Durability, Store, StoreError, for_each};
use crate::time::UnixTime;
use crate::units::{Bytes, MicroCredits, RawCost};

/// Longest stored boost, in bytes.
pub const BOOST_LEN_MAX: usize = 2_048;

/// One row to overwrite or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TallyRow {
    /// The newest receipt of a channel, signed by us or held from the peer; the channel says which.
    Receipt(ChannelRow),
    /// What a pair owes and is owed.
    Pair(PairRow),
    /// A lock we pay from or are paid from.
    Lock(LockRow),
    /// The newest order we signed; kept until it is answered, so that a nonce is never used twice.
    Order(OrderRow),
    /// A boost, encoded by the engine; `None` removes it.
    Boost {
        /// Number of the boost.
        id: u64,
        /// At most [`BOOST_LEN_MAX`] bytes.
        bytes: Option<Vec<u8>>,
    },
    /// Nothing is kept of this any more.
    Gone(TallyKey),
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TallyKey {
    /// A channel's newest receipt.
    Receipt(Channel),
    /// A pair.
    Pair(NodeId),
    /// A lock.
    Lock(LockId),
}

/// The newest receipt of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    /// Which channel.
    pub channel: Channel,
    /// Its newest receipt.
    pub receipt: SignedReceipt,
}

/// What a pair owes and is owed, over all connections, torrents and locks (docs/PROTOCOL.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairRow {
    /// The other side.
    pub peer: NodeId,
    /// As payer: Σ bytes × rate of everything verified that it served in the paid class.
    pub due: RawCost,
    /// As payer: Σ amounts signed to it, over all locks ever.
    pub signed: MicroCredits,
    /// As payee: Σ min(receipt, lock) it signed, over all locks ever.
    pub paid: MicroCredits,
    /// As payee: raw value that cleared no block yet, what every payer is lent (less than 1 µcr)
    /// included.
    pub paid_carry: RawCost,
    /// As payee: bytes that its payments cleared.
    pub paid_bytes: Bytes,
    /// As payee: bytes written off and not forgiven.
    pub lost: Bytes,
    /// As payee: how often the back-off was doubled.
    pub backoff_level: u8,
    /// As payee: until when it gets no paid service; zero for "not backing off".
    pub backoff_until: UnixTime,
}

/// A lock and what we did with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRow {
    /// Its newest certificate; payer and payee inside say which side we are.
    pub lock: SignedLock,
    /// Paid out, as far as we know.
    pub claimed: MicroCredits,
    /// We (as payee) closed it, or the settlement node said it is closed.
    pub closed: bool,
    /// We (as payer) asked for its close: nothing more is signed on it.
    pub close_asked: bool,
}

/// The newest order we signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// The exact order; repeated until answered.
    pub order: SignedOrder,
    /// Whether it was answered.
    pub answered: bool,
}

/// The tally inside a store, which it may share with a node ledger.
#[derive(Clone, Debug)]
pub struct Tally<S>(S);

impl<S: Store> Tally<S> {
    /// The tally in `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }

    /// Overwrites rows, all or none. Returns once they are in the write-ahead log and handed to the
    /// kernel: they survive the process, and the power only after [`Self::sync`].
    ///
    /// # Panics
    /// If a boost is longer than [`BOOST_LEN_MAX`].
    pub fn write(&self, rows: &[TallyRow]) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for row in rows {
            let (table, key) = row.place();
            match row.value() {
                Some(value) => batch.put(table, key, value),
                None => batch.delete(table, key),
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.0.write(&batch, Durability::Written)
    }

    /// Makes every row written so far survive the power.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.0.sync()
    }

    /// Every row, ordered by kind and key; the same rows always in the same order.
    pub fn load(&self) -> Result<Vec<TallyRow>, LedgerError> {
        let mut rows = Vec::new();
        for table in rows::TABLES {
            for_each(&self.0, table, &[], |key, value| {
                let row = TallyRow::from_bytes(table, key, value)
                    .map_err(|error| LedgerError::row(table, key, error))?;
                rows.push(row);
                Ok::<(), LedgerError>(())
            })?;
        }
        Ok(rows)
    }
}
