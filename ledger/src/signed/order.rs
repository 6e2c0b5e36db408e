//! An account's order to a settlement node: the only way an account moves credit by itself.

use crate::identity::{NetworkId, NodeId, hex_array};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::LockId;
use crate::signed::{Body, Signed};
use crate::time::UnixTime;
use crate::units::MicroCredits;

hex_array! {
    /// BLAKE3 of an order's signed bytes, tag and body: the same however often it is signed.
    OrderHash, 32
}

/// Longest reason of a grant, in bytes.
pub const REASON_LEN_MAX: usize = 256;

const REASON_CONTEXT: &str = "seedbank v1 grant memo";

impl Order {
    /// Its name; no other order has it.
    pub fn hash(&self) -> OrderHash {
        OrderHash::from_bytes(*blake3::hash(&self.signing_bytes()).as_bytes())
    }

    /// The memo hash of a grant for this reason.
    pub fn reason_hash(reason: &[u8]) -> [u8; 32] {
        blake3::derive_key(REASON_CONTEXT, reason)
    }
}

/// What is ordered. Fields that a kind does not use are zero in the signed bytes, and only zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Moves `amount` to `to`.
    Transfer {
        /// Receiver.
        to: NodeId,
        /// How much.
        amount: MicroCredits,
    },
    /// Reserves `amount` for `payee`.
    OpenLock {
        /// For whom.
        payee: NodeId,
        /// How much.
        amount: MicroCredits,
        /// Seconds until the lock expires.
        ttl_secs: u32,
    },
    /// Adds `amount` to a lock of mine and moves its expiry to `ttl_secs` from now, if later.
    TopUp {
        /// Which lock.
        lock_id: LockId,
        /// How much more; may be 0 to renew only.
        amount: MicroCredits,
        /// Seconds until the lock expires.
        ttl_secs: u32,
    },
    /// The payee gives back what is left of a lock.
    CloseLock {
        /// Which lock.
        lock_id: LockId,
    },
    /// Hands the account over to another key.
    RotateKey {
        /// The new key.
        to: NodeId,
    },
    /// An issuer creates credit for `to`.
    Grant {
        /// Receiver.
        to: NodeId,
        /// How much.
        amount: MicroCredits,
    },
    /// An issuer destroys credit of its own account.
    Burn {
        /// How much.
        amount: MicroCredits,
    },
}

/// The body an account signs. `nonce` is strictly the last one plus 1 and always consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose credit.
    pub network_id: NetworkId,
    /// Who orders and signs.
    pub account: NodeId,
    /// 1 for the first order of an account.
    pub nonce: u64,
    /// Settlement time after which the order is refused (its nonce is consumed all the same).
    pub valid_until: UnixTime,
    /// What is ordered.
    pub kind: OrderKind,
    /// BLAKE3 of a memo kept elsewhere, or zeros.
    pub memo_hash: [u8; 32],
}

/// An order with the account's signature.
pub type SignedOrder = Signed<Order>;

/// The kind-dependent columns as they stand in the signed bytes.
struct Columns {
    kind: u8,
    to: [u8; 32],
    reference: u64,
    amount: u64,
    ttl_secs: u32,
}

impl OrderKind {
    fn columns(&self) -> Columns {
        let none = [0; 32];
        let (kind, to, reference, amount, ttl_secs) = match *self {
            Self::Transfer { to, amount } => (1, *to.as_bytes(), 0, amount.get(), 0),
            Self::OpenLock {
                payee,
                amount,
                ttl_secs,
            } => (2, *payee.as_bytes(), 0, amount.get(), ttl_secs),
            Self::TopUp {
                lock_id,
                amount,
                ttl_secs,
            } => (3, none, lock_id.get(), amount.get(), ttl_secs),
            Self::CloseLock { lock_id } => (4, none, lock_id.get(), 0, 0),
            Self::RotateKey { to } => (5, *to.as_bytes(), 0, 0, 0),
            Self::Grant { to, amount } => (6, *to.as_bytes(), 0, amount.get(), 0),
            Self::Burn { amount } => (7, none, 0, amount.get(), 0),
        };
        Columns {
            kind,
            to,
            reference,
            amount,
            ttl_secs,
        }
    }
}

impl Columns {
    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            kind: from.u8()?,
            to: from.array()?,
            reference: from.u64()?,
            amount: from.u64()?,
            ttl_secs: from.u32()?,
        })
    }

    fn kind(&self) -> Result<OrderKind, LayoutError> {
        let to = NodeId::from_bytes(self.to);
        let lock_id = LockId::new(self.reference);
        let amount = MicroCredits::new(self.amount);
        let ttl_secs = self.ttl_secs;
        let kind = match self.kind {
            1 => OrderKind::Transfer { to, amount },
            2 => OrderKind::OpenLock {
                payee: to,
                amount,
                ttl_secs,
            },
            3 => OrderKind::TopUp {
                lock_id,
                amount,
                ttl_secs,
            },
            4 => OrderKind::CloseLock { lock_id },
            5 => OrderKind::RotateKey { to },
            6 => OrderKind::Grant { to, amount },
            7 => OrderKind::Burn { amount },
            value => {
                return Err(LayoutError::Value {
                    field: "kind",
                    value: value.into(),
                });
            }
        };
        let canonical = kind.columns();
        let unused = [
            ("to", canonical.to == self.to),
            ("ref", canonical.reference == self.reference),
            ("amount", canonical.amount == self.amount),
            ("ttl", canonical.ttl_secs == self.ttl_secs),
        ];
        match unused.iter().find(|(_, agrees)| !agrees) {
            Some((field, _)) => Err(LayoutError::Value { field, value: 1 }),
            None => Ok(kind),
        }
    }
}

impl Body for Order {
    const TAG: &'static str = "sb1/order";
    const LEN: usize = 165;

    fn write(&self, out: Writer) -> Writer {
        let columns = self.kind.columns();
        out.bytes(self.network_id.as_bytes())
            .bytes(self.account.as_bytes())
            .u64(self.nonce)
            .u64(self.valid_until.as_secs())
            .u8(columns.kind)
            .bytes(&columns.to)
            .u64(columns.reference)
            .u64(columns.amount)
            .u32(columns.ttl_secs)
            .bytes(&self.memo_hash)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            account: NodeId::from_bytes(from.array()?),
            nonce: from.u64()?,
            valid_until: UnixTime::from_secs(from.u64()?),
            kind: Columns::read(from)?.kind()?,
            memo_hash: from.array()?,
        })
    }
}
