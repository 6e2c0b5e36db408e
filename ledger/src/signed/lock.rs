//! A settlement node's promise: so much of the payer's credit is reserved for this payee.

use std::fmt;

use crate::identity::{NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::channel::{Channel, ChannelKind};
use crate::signed::order::OrderHash;
use crate::signed::{Body, Signed};
use crate::time::UnixTime;
use crate::units::MicroCredits;

/// Number of a lock within its network: the sequence of the entry that opened it. Where a ledger
/// was rolled back one number may stand for two locks, which differ in their opening order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(u64);

impl LockId {
    /// From the raw number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The body a settlement node signs. A top-up is the same lock with a larger amount or a later
/// expiry; neither ever becomes smaller. Verifies offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whose credit.
    pub network_id: NetworkId,
    /// Which lock.
    pub lock_id: LockId,
    /// The order that opened it; top-ups keep it.
    pub opening_order: OrderHash,
    /// Whose credit is reserved.
    pub payer: NodeId,
    /// For whom; only it can close it before expiry and grace have passed.
    pub payee: NodeId,
    /// How much is reserved in total.
    pub amount: MicroCredits,
    /// Settlement time after which nothing more is served on it.
    pub expires_at: UnixTime,
    /// Seconds after `expires_at` in which the payee can still claim.
    pub grace_secs: u32,
}

/// A lock with the settlement node's signature.
pub type SignedLock = Signed<Lock>;

impl Lock {
    /// The channel whose receipts draw on this lock.
    pub fn channel(&self) -> Channel {
        Channel {
            network_id: self.network_id,
            kind: ChannelKind::Lock(self.lock_id, self.opening_order),
            payer: self.payer,
            payee: self.payee,
        }
    }

    /// When what is left returns to the payer.
    pub fn returns_at(&self) -> UnixTime {
        self.expires_at.plus_secs(u64::from(self.grace_secs))
    }
}

impl Body for Lock {
    const TAG: &'static str = "sb1/lock";
    const LEN: usize = 156;

    fn write(&self, out: Writer) -> Writer {
        out.bytes(self.network_id.as_bytes())
            .u64(self.lock_id.get())
            .bytes(self.opening_order.as_bytes())
            .bytes(self.payer.as_bytes())
            .bytes(self.payee.as_bytes())
            .u64(self.amount.get())
            .u64(self.expires_at.as_secs())
            .u32(self.grace_secs)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            lock_id: LockId::new(from.u64()?),
            opening_order: OrderHash::from_bytes(from.array()?),
            payer: NodeId::from_bytes(from.array()?),
            payee: NodeId::from_bytes(from.array()?),
            amount: MicroCredits::new(from.u64()?),
            expires_at: UnixTime::from_secs(from.u64()?),
            grace_secs: from.u32()?,
        })
    }
}
