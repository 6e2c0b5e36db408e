//! What a node ledger remembers beside its accounts, and the bytes it remembers it in.

use crate::charts::node::Membership;
use crate::entry::EntryHash;
use crate::identity::{NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::{Lock, LockId};
use crate::signed::order::OrderHash;
use crate::state::Row;
use crate::store::Table;
use crate::time::UnixTime;
use crate::units::{Bytes, MicroCredits, Sequence};

/// The key of [`Membership`].
pub(super) const MEMBERSHIP_KEY: &[u8] = b"membership";

/// The key of [`CursorRow`].
pub(super) const CURSOR_KEY: &[u8] = b"cursor";

/// The newest certified line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CursorRow {
    /// Its sequence in the network ledger.
    pub sequence: Sequence,
    /// Its settlement time.
    pub time: UnixTime,
}

/// A certified line that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenRow {
    /// Hash of the network's entry.
    pub entry_hash: EntryHash,
    /// The entry of this ledger that copied it.
    pub entry: Sequence,
}

/// A lock with this node on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeLockRow {
    /// The order that opened it.
    pub opening_order: OrderHash,
    /// Whose credit is reserved.
    pub payer: NodeId,
    /// For whom.
    pub payee: NodeId,
    /// Reserved in total, as far as this ledger knows.
    pub amount: MicroCredits,
    /// Paid out, as far as this ledger knows.
    pub claimed: MicroCredits,
    /// Whether it has ended.
    pub closed: bool,
}

/// What of a channel has been booked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BookedChannelRow {
    /// Bytes of its newest booked receipt.
    pub bytes: Bytes,
    /// Amount of its newest booked receipt.
    pub amount: MicroCredits,
    /// Credit booked: at most the amount, and at most what its lock holds.
    pub booked: MicroCredits,
    /// The entry that booked it.
    pub entry: Sequence,
}

/// The key of a lock's row.
pub(super) fn lock_key(lock_id: LockId) -> Vec<u8> {
    lock_id.get().to_be_bytes().to_vec()
}

impl BookedChannelRow {
    /// Asserts that no more is booked than a receipt says.
    pub(super) fn check_invariants(&self) {
        assert!(
            self.booked <= self.amount,
            "no more is booked than was signed"
        );
    }

    /// Asserts L4: this is what follows `before`.
    pub(super) fn check_follows(&self, before: &Self) {
        self.check_invariants();
        assert!(
            self.bytes >= before.bytes,
            "L4: a channel's bytes never decrease"
        );
        assert!(
            self.amount >= before.amount,
            "L4: a channel's amount never decreases"
        );
        assert!(
            self.booked >= before.booked,
            "what is booked of a channel only grows"
        );
    }
}

impl NodeLockRow {
    /// Asserts L3.
    pub(super) fn check_invariants(&self) {
        assert!(
            self.claimed <= self.amount,
            "L3: a lock pays at most its amount"
        );
    }

    /// A lock of which nothing is claimed yet.
    pub(super) fn new(lock: &Lock) -> Self {
        Self {
            opening_order: lock.opening_order,
            payer: lock.payer,
            payee: lock.payee,
            amount: lock.amount,
            claimed: MicroCredits::ZERO,
            closed: false,
        }
    }
}

impl Row for Membership {
    const TABLE: Table = Table::Meta;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .bytes(self.network_id.as_bytes())
            .bytes(self.settlement.as_bytes())
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            network_id: NetworkId::from_bytes(reader.array()?),
            settlement: NodeId::from_bytes(reader.array()?),
        };
        reader.end()?;
        Ok(row)
    }
}

impl Row for CursorRow {
    const TABLE: Table = Table::Meta;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.sequence.get())
            .u64(self.time.as_secs())
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            sequence: Sequence::new(reader.u64()?),
            time: UnixTime::from_secs(reader.u64()?),
        };
        reader.end()?;
        Ok(row)
    }
}

impl Row for NodeLockRow {
    const TABLE: Table = Table::Lock;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .bytes(self.opening_order.as_bytes())
            .bytes(self.payer.as_bytes())
            .bytes(self.payee.as_bytes())
            .u64(self.amount.get())
            .u64(self.claimed.get())
            .flag(self.closed)
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            opening_order: OrderHash::from_bytes(reader.array()?),
            payer: NodeId::from_bytes(reader.array()?),
            payee: NodeId::from_bytes(reader.array()?),
            amount: MicroCredits::new(reader.u64()?),
            claimed: MicroCredits::new(reader.u64()?),
            closed: reader.flag("closed")?,
        };
        reader.end()?;
        if row.claimed > row.amount {
            return Err(LayoutError::Value {
                field: "claimed",
                value: row.claimed.get(),
            });
        }
        Ok(row)
    }
}

impl Row for BookedChannelRow {
    const TABLE: Table = Table::Channel;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.bytes.get())
            .u64(self.amount.get())
            .u64(self.booked.get())
            .u64(self.entry.get())
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            bytes: Bytes::new(reader.u64()?),
            amount: MicroCredits::new(reader.u64()?),
            booked: MicroCredits::new(reader.u64()?),
            entry: Sequence::new(reader.u64()?),
        };
        reader.end()?;
        if row.booked > row.amount {
            return Err(LayoutError::Value {
                field: "booked",
                value: row.booked.get(),
            });
        }
        Ok(row)
    }
}

impl Row for SeenRow {
    const TABLE: Table = Table::Statement;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .bytes(self.entry_hash.as_bytes())
            .u64(self.entry.get())
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            entry_hash: EntryHash::from_bytes(reader.array()?),
            entry: Sequence::new(reader.u64()?),
        };
        reader.end()?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::testing::check_one_reading;

    proptest! {
        #[test]
        fn a_row_has_one_reading(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..2_u8], 0..160)
        ) {
            check_one_reading::<Membership>(&bytes);
            check_one_reading::<CursorRow>(&bytes);
            check_one_reading::<SeenRow>(&bytes);
            check_one_reading::<NodeLockRow>(&bytes);
            check_one_reading::<BookedChannelRow>(&bytes);
        }
    }
}
