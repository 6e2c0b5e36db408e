//! A settlement node's word on what an operation did: the cause of the entry in a node's ledger.

use crate::entry::EntryHash;
use crate::identity::{NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::{Body, Signed};
use crate::time::UnixTime;
use crate::units::{MicroCredits, Sequence};

/// The body a settlement node signs for one account that an entry touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose credit.
    pub network_id: NetworkId,
    /// The entry in the network ledger.
    pub sequence: Sequence,
    /// Its identity.
    pub entry_hash: EntryHash,
    /// Its settlement time.
    pub time: UnixTime,
    /// For which account this certificate is.
    pub account: NodeId,
    /// That account's available credit after the entry.
    pub available_after: MicroCredits,
}

/// A certificate with the settlement node's signature.
pub type SignedCertificate = Signed<Certificate>;

impl Body for Certificate {
    const TAG: &'static str = "sb1/cert";
    const LEN: usize = 120;

    fn write(&self, out: Writer) -> Writer {
        out.bytes(self.network_id.as_bytes())
            .u64(self.sequence.get())
            .bytes(self.entry_hash.as_bytes())
            .u64(self.time.as_secs())
            .bytes(self.account.as_bytes())
            .u64(self.available_after.get())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            sequence: Sequence::new(from.u64()?),
            entry_hash: EntryHash::from_bytes(from.array()?),
            time: UnixTime::from_secs(from.u64()?),
            account: NodeId::from_bytes(from.array()?),
            available_after: MicroCredits::new(from.u64()?),
        })
    }
}
