//! A settlement node's word for how far its ledger goes: what it can never say less of again.

use crate::entry::EntryHash;
use crate::identity::NetworkId;
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::{Body, Signed};
use crate::time::UnixTime;

/// The body a settlement node signs after each group of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// Which network's ledger.
    pub network_id: NetworkId,
    /// Entries in it.
    pub size: u64,
    /// Hash of the newest entry, which names all before it.
    pub entry_hash: EntryHash,
    /// Settlement time of the newest entry.
    pub time: UnixTime,
}

/// A head with the settlement node's signature.
pub type SignedHead = Signed<LedgerHead>;

impl Body for LedgerHead {
    const TAG: &'static str = "sb1/head";
    const LEN: usize = 80;

    fn write(&self, out: Writer) -> Writer {
        out.bytes(self.network_id.as_bytes())
            .u64(self.size)
            .bytes(self.entry_hash.as_bytes())
            .u64(self.time.as_secs())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            size: from.u64()?,
            entry_hash: EntryHash::from_bytes(from.array()?),
            time: UnixTime::from_secs(from.u64()?),
        })
    }
}
