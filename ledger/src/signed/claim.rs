//! A payee's order to be paid from a lock. Idempotent; it never closes the lock.

use crate::identity::{NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::LockId;
use crate::signed::receipt::SignedReceipt;
use crate::signed::{Body, Signed};

/// The body a payee signs: pays min(receipt.amount, lock.amount) − claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose credit.
    pub network_id: NetworkId,
    /// Which lock pays.
    pub lock_id: LockId,
    /// Who is paid and signs.
    pub payee: NodeId,
    /// The newest receipt on the lock's channel, with the payer's signature.
    pub receipt: SignedReceipt,
}

/// A claim with the payee's signature.
pub type SignedClaim = Signed<Claim>;

impl Body for Claim {
    const TAG: &'static str = "sb1/claim";
    const LEN: usize = 216;

    fn write(&self, out: Writer) -> Writer {
        let out = out
            .bytes(self.network_id.as_bytes())
            .u64(self.lock_id.get())
            .bytes(self.payee.as_bytes());
        self.receipt.write(out)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            lock_id: LockId::new(from.u64()?),
            payee: NodeId::from_bytes(from.array()?),
            receipt: SignedReceipt::read(from)?,
        })
    }
}
