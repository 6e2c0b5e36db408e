//! An account's question to a settlement node about what only its parties may know.

use crate::identity::{NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::LockId;
use crate::signed::{Body, Signed};
use crate::time::UnixTime;
use crate::units::Sequence;

/// What is asked. Columns that a kind does not use are zero in the signed bytes, and only zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// My account as it stands.
    Account,
    /// A lock of mine.
    Lock(LockId),
    /// My lines after `after`, at most `count` of them.
    Statement {
        /// Newest line I have; `None` for none.
        after: Option<Sequence>,
        /// Most lines in the answer.
        count: u32,
    },
    /// My lines after `after`, and every one to come.
    Watch {
        /// Newest line I have; `None` for none.
        after: Option<Sequence>,
    },
}

/// The body an account signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// In which network.
    pub network_id: NetworkId,
    /// Who asks.
    pub account: NodeId,
    /// What.
    pub kind: ReadKind,
    /// Drawn for this question, so that no answer to another fits.
    pub random: [u8; 16],
    /// Settlement time after which it is no question any more.
    pub valid_until: UnixTime,
}

/// A question with its account's signature.
pub type SignedRead = Signed<ReadRequest>;

impl ReadKind {
    /// Kind u8, reference u64, count u32. No line of an account is entry 0, the genesis.
    fn columns(self) -> (u8, u64, u32) {
        let line = |after: Option<Sequence>| after.map_or(0, Sequence::get);
        match self {
            Self::Account => (1, 0, 0),
            Self::Lock(lock_id) => (2, lock_id.get(), 0),
            Self::Statement { after, count } => (3, line(after), count),
            Self::Watch { after } => (4, line(after), 0),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let columns = (from.u8()?, from.u64()?, from.u32()?);
        let (number, reference, count) = columns;
        let after = (reference != 0).then(|| Sequence::new(reference));
        let kind = match number {
            1 => Self::Account,
            2 => Self::Lock(LockId::new(reference)),
            3 => Self::Statement { after, count },
            4 => Self::Watch { after },
            value => {
                return Err(LayoutError::Value {
                    field: "kind",
                    value: value.into(),
                });
            }
        };
        let (_, used_reference, used_count) = kind.columns();
        if used_reference != reference {
            return Err(LayoutError::Value {
                field: "ref",
                value: reference,
            });
        }
        if used_count != count {
            return Err(LayoutError::Value {
                field: "count",
                value: count.into(),
            });
        }
        Ok(kind)
    }
}

impl Body for ReadRequest {
    const TAG: &'static str = "sb1/read";
    const LEN: usize = 101;

    fn write(&self, out: Writer) -> Writer {
        let (kind, reference, count) = self.kind.columns();
        out.bytes(self.network_id.as_bytes())
            .bytes(self.account.as_bytes())
            .u8(kind)
            .u64(reference)
            .u32(count)
            .bytes(&self.random)
            .u64(self.valid_until.as_secs())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            account: NodeId::from_bytes(from.array()?),
            kind: ReadKind::read(from)?,
            random: from.array()?,
            valid_until: UnixTime::from_secs(from.u64()?),
        })
    }
}
