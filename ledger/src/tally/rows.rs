//! Where tally rows lie and the bytes they are kept in.

use crate::identity::NodeId;
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::Signed;
use crate::signed::channel::Channel;
use crate::store::Table;
use crate::tally::{BOOST_LEN_MAX, ChannelRow, LockRow, OrderRow, PairRow, TallyKey, TallyRow};
use crate::time::UnixTime;
use crate::units::{Bytes, MicroCredits, RawCost};

/// The tables of the tally, in the order in which they are loaded.
pub(super) const TABLES: [Table; 5] = [
    Table::TallyReceipt,
    Table::TallyPair,
    Table::TallyLock,
    Table::TallyOrder,
    Table::TallyBoost,
];

/// The key of the newest order.
const ORDER_KEY: &[u8] = b"newest";

impl TallyRow {
    /// The table and key of this row.
    pub(super) fn place(&self) -> (Table, Vec<u8>) {
        match self {
            Self::Receipt(row) => TallyKey::Receipt(row.channel).place(),
            Self::Pair(row) => TallyKey::Pair(row.peer).place(),
            Self::Lock(row) => TallyKey::Lock(row.lock.body.lock_id).place(),
            Self::Gone(key) => key.place(),
            Self::Order(_) => (Table::TallyOrder, ORDER_KEY.to_vec()),
            Self::Boost { id, .. } => (Table::TallyBoost, id.to_be_bytes().to_vec()),
        }
    }

    /// The bytes to keep; `None` removes the row.
    pub(super) fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Receipt(row) => {
                Some(row.receipt.write(row.channel.write(Writer::new())).finish())
            }
            Self::Pair(row) => {
                let signed = RawCost::of(row.signed);
                assert!(signed <= row.due, "no more is signed than due");
                Some(row.to_bytes())
            }
            Self::Lock(row) => Some(
                row.lock
                    .write(Writer::new())
                    .u64(row.claimed.get())
                    .flag(row.closed)
                    .flag(row.close_asked)
                    .finish(),
            ),
            Self::Order(row) => Some(row.order.write(Writer::new()).flag(row.answered).finish()),
            Self::Boost { bytes, .. } => {
                if let Some(bytes) = bytes {
                    assert!(bytes.len() <= BOOST_LEN_MAX, "the engine bounds its boosts");
                }
                bytes.clone()
            }
            Self::Gone(_) => None,
        }
    }

    /// Parses the row at `key` of `table`; the key must be the row's own.
    pub(super) fn from_bytes(table: Table, key: &[u8], value: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(value);
        let from = &mut reader;
        let row = match table {
            Table::TallyReceipt => Self::Receipt(ChannelRow {
                channel: Channel::read(from)?,
                receipt: Signed::read(from)?,
            }),
            Table::TallyPair => Self::Pair(PairRow::read(from)?),
            Table::TallyLock => Self::Lock(LockRow {
                lock: Signed::read(from)?,
                claimed: MicroCredits::new(from.u64()?),
                closed: from.flag("closed")?,
                close_asked: from.flag("close asked")?,
            }),
            Table::TallyOrder => Self::Order(OrderRow {
                order: Signed::read(from)?,
                answered: from.flag("answered")?,
            }),
            _ => Self::Boost {
                id: Reader::new(key).array().map(u64::from_be_bytes)?,
                bytes: Some(boost_bytes(from, value.len())?),
            },
        };
        reader.end()?;
        if row.place() == (table, key.to_vec()) {
            Ok(row)
        } else {
            Err(LayoutError::Value {
                field: "key of a row",
                value: 1,
            })
        }
    }
}

impl TallyKey {
    fn place(&self) -> (Table, Vec<u8>) {
        match self {
            Self::Receipt(channel) => (Table::TallyReceipt, channel.id().as_bytes().to_vec()),
            Self::Pair(peer) => (Table::TallyPair, peer.as_bytes().to_vec()),
            Self::Lock(lock_id) => (Table::TallyLock, lock_id.get().to_be_bytes().to_vec()),
        }
    }
}

fn boost_bytes(from: &mut Reader<'_>, len: usize) -> Result<Vec<u8>, LayoutError> {
    if len > BOOST_LEN_MAX {
        return Err(LayoutError::TooLong {
            field: "boost",
            len,
            max: BOOST_LEN_MAX,
        });
    }
    from.bytes(len).map(<[u8]>::to_vec)
}

impl PairRow {
    fn to_bytes(self) -> Vec<u8> {
        Writer::new()
            .bytes(self.peer.as_bytes())
            .u128(self.due.get())
            .u64(self.signed.get())
            .u64(self.paid.get())
            .u128(self.paid_carry.get())
            .u64(self.paid_bytes.get())
            .u64(self.lost.get())
            .u8(self.backoff_level)
            .u64(self.backoff_until.as_secs())
            .finish()
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let row = Self {
            peer: NodeId::from_bytes(from.array()?),
            due: RawCost::new(from.u128()?),
            signed: MicroCredits::new(from.u64()?),
            paid: MicroCredits::new(from.u64()?),
            paid_carry: RawCost::new(from.u128()?),
            paid_bytes: Bytes::new(from.u64()?),
            lost: Bytes::new(from.u64()?),
            backoff_level: from.u8()?,
            backoff_until: UnixTime::from_secs(from.u64()?),
        };
        if RawCost::of(row.signed) > row.due {
            return Err(LayoutError::Value {
                field: "signed",
                value: row.signed.get(),
            });
        }
        Ok(row)
    }
}
