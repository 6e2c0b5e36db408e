//! Which channel a receipt belongs to: a directed pair in one network, for one purpose.

use crate::identity::{NetworkId, NodeId, hex_array};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::LockId;
use crate::signed::order::OrderHash;

hex_array! {
    /// Name of a channel; a receipt cannot be used on another.
    ChannelId, 32
}

/// What a channel's receipts mean; the two kinds are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelKind {
    /// Bytes of open-class service; `amount` is always 0. Not money.
    Acknowledgement,
    /// Transferable credit out of one lock: its number, and the order that opened it, which alone
    /// goes into the channel's name. A number that came to stand for another lock, in a ledger that
    /// was rolled back, inherits no receipt.
    Lock(LockId, OrderHash),
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
    fn columns(self) -> (u8, [u8; 32]) {
        match self {
            Self::Acknowledgement => (0, [0; 32]),
            Self::Lock(_, opening_order) => (1, *opening_order.as_bytes()),
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
        hasher.update(&reference);
        ChannelId::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The channel's parts as bytes: network, kind u8, lock id u64, reference 32, payer, payee.
    pub(crate) fn write(&self, out: Writer) -> Writer {
        let (kind, reference) = self.kind.columns();
        let lock_id = match self.kind {
            ChannelKind::Acknowledgement => 0,
            ChannelKind::Lock(lock_id, _) => lock_id.get(),
        };
        out.bytes(self.network_id.as_bytes())
            .u8(kind)
            .u64(lock_id)
            .bytes(&reference)
            .bytes(self.payer.as_bytes())
            .bytes(self.payee.as_bytes())
    }

    /// Reads a channel's parts.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let network_id = NetworkId::from_bytes(from.array()?);
        let bad = |field, value| Err(LayoutError::Value { field, value });
        const NONE: [u8; 32] = [0; 32];
        let kind = match (from.u8()?, from.u64()?, from.array()?) {
            (0, 0, NONE) => ChannelKind::Acknowledgement,
            (0, lock_id, _) => return bad("lock of an acknowledgement", lock_id),
            (1, lock_id, order) => {
                ChannelKind::Lock(LockId::new(lock_id), OrderHash::from_bytes(order))
            }
            (kind, _, _) => return bad("kind of channel", kind.into()),
        };
        Ok(Self {
            network_id,
            kind,
            payer: NodeId::from_bytes(from.array()?),
            payee: NodeId::from_bytes(from.array()?),
        })
    }
}
