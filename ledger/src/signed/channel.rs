//! Which channel a receipt belongs to: a directed pair in one network, for one purpose.

use crate::identity::{NetworkId, NodeId, hex_array};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::LockId;

hex_array! {
    /// Name of a channel; a receipt cannot be used on another.
    ChannelId, 32
}

/// What a channel's receipts mean; the two kinds are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelKind {
    /// Bytes of open-class service; `amount` is always 0. Not money.
    Acknowledgement,
    /// Transferable credit out of one lock.
    Lock(LockId),
}

/// The parts that name a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel {
    /// Whose credit.
    pub network_id: NetworkId,
    /// Acknowledgement or lock.
    pub kind: ChannelKind,
    /// The side that receives data and signs.
    pub payer: NodeId,
    /// The side that serves.
    pub payee: NodeId,
}

const CONTEXT: &str = "seedbank v1 channel";

impl ChannelKind {
    fn columns(self) -> (u8, u64) {
        match self {
            Self::Acknowledgement => (0, 0),
            Self::Lock(lock_id) => (1, lock_id.get()),
        }
    }
}

impl Channel {
    /// BLAKE3 derive-key over network, kind, payer, payee and reference (docs/PROTOCOL.md §2).
    pub fn id(&self) -> ChannelId {
        let (kind, reference) = self.kind.columns();
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(self.network_id.as_bytes());
        hasher.update(&[kind]);
        hasher.update(self.payer.as_bytes());
        hasher.update(self.payee.as_bytes());
        hasher.update(&reference.to_le_bytes());
        ChannelId::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The channel's parts as bytes: network, kind u8, reference u64, payer, payee.
    pub(crate) fn write(&self, out: Writer) -> Writer {
        let (kind, reference) = self.kind.columns();
        out.bytes(self.network_id.as_bytes())
            .u8(kind)
            .u64(reference)
            .bytes(self.payer.as_bytes())
            .bytes(self.payee.as_bytes())
    }

    /// Reads a channel's parts.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let network_id = NetworkId::from_bytes(from.array()?);
        let bad = |field, value| Err(LayoutError::Value { field, value });
        let kind = match (from.u8()?, from.u64()?) {
            (0, 0) => ChannelKind::Acknowledgement,
            (0, reference) => return bad("reference of an acknowledgement", reference),
            (1, reference) => ChannelKind::Lock(LockId::new(reference)),
            (kind, _) => return bad("kind of channel", kind.into()),
        };
        Ok(Self {
            network_id,
            kind,
            payer: NodeId::from_bytes(from.array()?),
            payee: NodeId::from_bytes(from.array()?),
        })
    }
}
