//! Which channel a receipt belongs to: a directed pair in one network, for one purpose.

use crate::identity::{NetworkId, NodeId, hex_array};
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

impl Channel {
    /// BLAKE3 derive-key over network, kind, payer, payee and reference (docs/PROTOCOL.md §2).
    pub fn id(&self) -> ChannelId {
        let (kind, reference) = match self.kind {
            ChannelKind::Acknowledgement => (0_u8, 0_u64),
            ChannelKind::Lock(lock) => (1, lock.get()),
        };
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(self.network_id.as_bytes());
        hasher.update(&[kind]);
        hasher.update(self.payer.as_bytes());
        hasher.update(self.payee.as_bytes());
        hasher.update(&reference.to_le_bytes());
        ChannelId::from_bytes(*hasher.finalize().as_bytes())
    }
}
