//! What a network ledger remembers beside its accounts, and the bytes it remembers it in.

use crate::identity::{NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::{Lock, LockId};
use crate::signed::order::OrderHash;
use crate::state::Row;
use crate::store::Table;
use crate::time::UnixTime;
use crate::units::{Bytes, MicroCredits, Sequence};

/// An account beside its credit. Who has none has no standing, unless it is an issuer that has
/// ordered nothing yet: it is written for both sides of whatever moves credit or hands an account
/// over, and for the payee of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnerRow {
    /// Nonce of its newest order; 0 for none.
    pub(crate) nonce: u64,
    /// The newest entry that touched it.
    pub(crate) newest: Option<Sequence>,
    /// Credit in its open locks.
    pub(crate) reserved: MicroCredits,
    /// The key it was handed over to.
    pub(crate) rotated_to: Option<NodeId>,
}

/// A lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EscrowRow {
    /// The order that opened it.
    pub(crate) opening_order: OrderHash,
    /// Whose credit is reserved.
    pub(crate) payer: NodeId,
    /// For whom.
    pub(crate) payee: NodeId,
    /// Reserved in total.
    pub(crate) amount: MicroCredits,
    /// Settlement time after which nothing more is served on it.
    pub(crate) expires_at: UnixTime,
    /// Seconds after that in which the payee can still claim.
    pub(crate) grace_secs: u32,
    /// Paid out so far.
    pub(crate) claimed: MicroCredits,
    /// Whether it was closed or has expired.
    pub(crate) closed: bool,
    /// Bytes of the newest claimed receipt.
    pub(crate) receipt_bytes: Bytes,
    /// Amount of the newest claimed receipt; may be more than was paid.
    pub(crate) receipt_amount: MicroCredits,
    /// The newest claim.
    pub(crate) claimed_by: Option<Sequence>,
}

/// A lock as it stood after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockThen {
    pub(crate) lock_id: LockId,
    pub(crate) amount: MicroCredits,
    pub(crate) expires_at: UnixTime,
    pub(crate) claimed: MicroCredits,
    pub(crate) closed: bool,
}

/// What a line needs beside its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatementRow {
    /// The account's credit after the entry.
    pub(crate) available_after: MicroCredits,
    /// The account's line before.
    pub(crate) previous: Option<Sequence>,
    /// The lock the entry concerned.
    pub(crate) lock: Option<LockThen>,
}

/// The newest lock of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewestLockRow(pub(crate) LockId);

/// The entry of the order that used a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NonceRow(pub(crate) Sequence);

pub(crate) fn lock_key(lock_id: LockId) -> Vec<u8> {
    lock_id.get().to_be_bytes().to_vec()
}

pub(crate) fn nonce_key(account: &NodeId, nonce: u64) -> Vec<u8> {
    [account.as_bytes().as_slice(), &nonce.to_be_bytes()].concat()
}

pub(crate) fn pair_key(payer: &NodeId, payee: &NodeId) -> Vec<u8> {
    [payer.as_bytes().as_slice(), payee.as_bytes()].concat()
}

pub(crate) fn statement_key(account: &NodeId, sequence: Sequence) -> Vec<u8> {
    [account.as_bytes().as_slice(), &sequence.get().to_be_bytes()].concat()
}

pub(crate) fn expiry_key(lock_id: LockId, lock: &EscrowRow) -> Vec<u8> {
    expiry_key_at(lock.returns_at(), lock_id)
}

pub(crate) fn expiry_key_at(returns_at: UnixTime, lock_id: LockId) -> Vec<u8> {
    let returns_at = returns_at.as_secs().to_be_bytes();
    [returns_at, lock_id.get().to_be_bytes()].concat()
}

impl EscrowRow {
    /// Asserts L3, and that no more was claimed than a receipt says.
    pub(crate) fn check_invariants(&self) {
        assert!(
            self.claimed <= self.amount,
            "L3: a lock pays at most its amount"
        );
        assert!(
            self.claimed <= self.receipt_amount,
            "a claim is covered by a receipt"
        );
        assert_ne!(self.payer, self.payee, "a lock has two parties");
    }

    /// What is still reserved.
    pub(crate) fn left(&self) -> MicroCredits {
        if self.closed {
            MicroCredits::ZERO
        } else {
            self.amount.saturating_sub(self.claimed)
        }
    }

    /// When what is left returns to the payer.
    pub(crate) fn returns_at(&self) -> UnixTime {
        self.expires_at.plus_secs(u64::from(self.grace_secs))
    }

    /// Whether receipts on it are worth anything: open, unexpired and not all claimed.
    pub(crate) fn is_live(&self, now: UnixTime) -> bool {
        !self.closed && now <= self.expires_at && self.claimed < self.amount
    }

    /// The body of its newest certificate.
    pub(crate) fn body(&self, network_id: NetworkId, lock_id: LockId) -> Lock {
        Lock {
            network_id,
            lock_id,
            opening_order: self.opening_order,
            payer: self.payer,
            payee: self.payee,
            amount: self.amount,
            expires_at: self.expires_at,
            grace_secs: self.grace_secs,
        }
    }

    pub(crate) fn then(&self, lock_id: LockId) -> LockThen {
        LockThen {
            lock_id,
            amount: self.amount,
            expires_at: self.expires_at,
            claimed: self.claimed,
            closed: self.closed,
        }
    }
}

fn write_sequence(sequence: Option<Sequence>, out: Writer) -> Writer {
    let bytes = sequence.map(|sequence| sequence.get().to_le_bytes());
    out.optional(bytes.as_ref().map(<[u8; 8]>::as_slice))
}

fn read_sequence(from: &mut Reader<'_>) -> Result<Option<Sequence>, LayoutError> {
    from.optional("sequence", |from| Ok(Sequence::new(from.u64()?)))
}

impl Row for OwnerRow {
    const TABLE: Table = Table::Owner;

    fn to_bytes(&self) -> Vec<u8> {
        let rotated_to = self.rotated_to.map(|key| *key.as_bytes());
        let out = Writer::new().u64(self.nonce).u64(self.reserved.get());
        write_sequence(self.newest, out)
            .optional(rotated_to.as_ref().map(<[u8; 32]>::as_slice))
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            nonce: reader.u64()?,
            reserved: MicroCredits::new(reader.u64()?),
            newest: read_sequence(&mut reader)?,
            rotated_to: reader
                .optional("rotated to", |from| from.array().map(NodeId::from_bytes))?,
        };
        reader.end()?;
        Ok(row)
    }
}

impl Row for EscrowRow {
    const TABLE: Table = Table::Lock;

    fn to_bytes(&self) -> Vec<u8> {
        let out = Writer::new()
            .bytes(self.opening_order.as_bytes())
            .bytes(self.payer.as_bytes())
            .bytes(self.payee.as_bytes())
            .u64(self.amount.get())
            .u64(self.expires_at.as_secs())
            .u32(self.grace_secs)
            .u64(self.claimed.get())
            .flag(self.closed)
            .u64(self.receipt_bytes.get())
            .u64(self.receipt_amount.get());
        write_sequence(self.claimed_by, out).finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            opening_order: OrderHash::from_bytes(reader.array()?),
            payer: NodeId::from_bytes(reader.array()?),
            payee: NodeId::from_bytes(reader.array()?),
            amount: MicroCredits::new(reader.u64()?),
            expires_at: UnixTime::from_secs(reader.u64()?),
            grace_secs: reader.u32()?,
            claimed: MicroCredits::new(reader.u64()?),
            closed: reader.flag("closed")?,
            receipt_bytes: Bytes::new(reader.u64()?),
            receipt_amount: MicroCredits::new(reader.u64()?),
            claimed_by: read_sequence(&mut reader)?,
        };
        reader.end()?;
        if row.claimed > row.amount.min(row.receipt_amount) {
            return Err(LayoutError::Value {
                field: "claimed",
                value: row.claimed.get(),
            });
        }
        if row.payer == row.payee {
            return Err(LayoutError::Value {
                field: "payee",
                value: 1,
            });
        }
        Ok(row)
    }
}

impl Row for StatementRow {
    const TABLE: Table = Table::Statement;

    fn to_bytes(&self) -> Vec<u8> {
        let lock = self.lock.map(|lock| {
            Writer::new()
                .u64(lock.lock_id.get())
                .u64(lock.amount.get())
                .u64(lock.expires_at.as_secs())
                .u64(lock.claimed.get())
                .flag(lock.closed)
                .finish()
        });
        let out = Writer::new().u64(self.available_after.get());
        write_sequence(self.previous, out)
            .optional(lock.as_deref())
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            available_after: MicroCredits::new(reader.u64()?),
            previous: read_sequence(&mut reader)?,
            lock: reader.optional("lock", |from| {
                Ok(LockThen {
                    lock_id: LockId::new(from.u64()?),
                    amount: MicroCredits::new(from.u64()?),
                    expires_at: UnixTime::from_secs(from.u64()?),
                    claimed: MicroCredits::new(from.u64()?),
                    closed: from.flag("closed")?,
                })
            })?,
        };
        reader.end()?;
        Ok(row)
    }
}

impl Row for NewestLockRow {
    const TABLE: Table = Table::Pair;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new().u64(self.0.get()).finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self(LockId::new(reader.u64()?));
        reader.end()?;
        Ok(row)
    }
}

impl Row for NonceRow {
    const TABLE: Table = Table::Nonce;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new().u64(self.0.get()).finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self(Sequence::new(reader.u64()?));
        reader.end()?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::testing::check_one_reading;

    #[test]
    fn a_lock_that_paid_more_than_it_holds_does_not_parse() {
        let row = EscrowRow {
            opening_order: OrderHash::from_bytes([3; 32]),
            payer: NodeId::from_bytes([1; 32]),
            payee: NodeId::from_bytes([2; 32]),
            amount: MicroCredits::new(6),
            expires_at: UnixTime::from_secs(7),
            grace_secs: 8,
            claimed: MicroCredits::new(6),
            closed: false,
            receipt_bytes: Bytes::new(9),
            receipt_amount: MicroCredits::new(10),
            claimed_by: None,
        };
        assert_eq!(EscrowRow::from_bytes(&row.to_bytes()), Ok(row));
        let claimed = MicroCredits::new(7);
        let overdrawn = EscrowRow { claimed, ..row };
        assert!(EscrowRow::from_bytes(&overdrawn.to_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn a_row_has_one_reading(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..2_u8], 0..192)
        ) {
            check_one_reading::<OwnerRow>(&bytes);
            check_one_reading::<EscrowRow>(&bytes);
            check_one_reading::<StatementRow>(&bytes);
            check_one_reading::<NewestLockRow>(&bytes);
            check_one_reading::<NonceRow>(&bytes);
        }
    }
}
