//! A settlement node's word for how far its ledger goes: what it can never say less of again.

use crate::entry::EntryHash;
use crate::identity::{Identity, NetworkId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::ledger::Head;
use crate::signed::certificate::Certificate;
use crate::signed::{Body, Signed};
use crate::state::Row;
use crate::store::Table;
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

/// Who signs the heads of a network's ledger: its settlement node.
#[derive(Clone, Copy, Debug)]
pub struct HeadSigner<'a> {
    /// Which network's ledger.
    pub network_id: NetworkId,
    /// The key that also certifies its lines.
    pub key: &'a Identity,
}

/// How a head contradicts what its settlement node certified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadConflict {
    /// It speaks of another network.
    #[error("a head of network {0}")]
    OtherNetwork(NetworkId),
    /// It ends before what was certified: entries were lost, or are kept back.
    #[error("the ledger ends after {size} entries, but entry {known} was certified")]
    Behind {
        /// Entries by the head.
        size: u64,
        /// An entry that was certified.
        known: u64,
    },
    /// The same entry is another, or time went back: there are two ledgers.
    #[error("the head of {size} entries is not of the ledger that was certified")]
    Forked {
        /// Entries by the head.
        size: u64,
    },
}

impl HeadSigner<'_> {
    /// The head of a ledger that ends at `end`, unsigned.
    pub fn head(&self, end: &Head) -> LedgerHead {
        LedgerHead {
            network_id: self.network_id,
            size: end.next.get(),
            entry_hash: end.hash,
            time: end.time,
        }
    }

    /// Signs for a ledger that ends at `end`.
    pub fn sign(&self, end: &Head) -> SignedHead {
        self.head(end).sign(self.key)
    }

    /// Whether `head` is of this network and signed by this key.
    pub fn has_signed(&self, head: &SignedHead) -> bool {
        head.body.network_id == self.network_id
            && head.verify_by(self.key.scheme(), &self.key.id()).is_ok()
    }
}

impl LedgerHead {
    /// Whether a ledger that goes this far can hold the entry that `line` certifies. Both must have
    /// been verified: together they then prove what the settlement node did.
    pub fn check_line(&self, line: &Certificate) -> Result<(), HeadConflict> {
        self.check_known(&Self {
            network_id: line.network_id,
            // Its signer may have certified any number.
            size: line.sequence.get().saturating_add(1),
            entry_hash: line.entry_hash,
            time: line.time,
        })
    }

    /// Whether a ledger that goes this far can have ended at `known` before. Both must have been
    /// verified.
    pub fn check_known(&self, known: &Self) -> Result<(), HeadConflict> {
        if self.network_id != known.network_id {
            return Err(HeadConflict::OtherNetwork(self.network_id));
        }
        if self.size < known.size {
            return Err(HeadConflict::Behind {
                size: self.size,
                known: known.size.saturating_sub(1),
            });
        }
        let is_same = self.entry_hash == known.entry_hash && self.time == known.time;
        if self.time < known.time || (self.size == known.size && !is_same) {
            return Err(HeadConflict::Forked { size: self.size });
        }
        Ok(())
    }
}

/// By its size, as a sequence.
impl Row for SignedHead {
    const TABLE: Table = Table::SignedHead;

    fn to_bytes(&self) -> Vec<u8> {
        Self::to_bytes(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        Self::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeId;
    use crate::units::{MicroCredits, Sequence};

    fn head(size: u64, hash: u8, time: u64) -> LedgerHead {
        LedgerHead {
            network_id: NetworkId::from_bytes([1; 32]),
            size,
            entry_hash: EntryHash::from_bytes([hash; 32]),
            time: UnixTime::from_secs(time),
        }
    }

    #[test]
    fn a_head_behind_a_certified_line_or_beside_it_is_a_conflict() {
        let line = Certificate {
            network_id: head(0, 0, 0).network_id,
            sequence: Sequence::new(6),
            entry_hash: EntryHash::from_bytes([6; 32]),
            time: UnixTime::from_secs(60),
            account: NodeId::from_bytes([2; 32]),
            available_after: MicroCredits::new(1),
        };
        let forked = |size| Err(HeadConflict::Forked { size });
        for (head, verdict) in [
            (head(7, 6, 60), Ok(())),
            (head(8, 9, 60), Ok(())),
            (
                head(6, 5, 60),
                Err(HeadConflict::Behind { size: 6, known: 6 }),
            ),
            (head(7, 5, 60), forked(7)),
            (head(7, 6, 61), forked(7)),
            (head(9, 9, 59), forked(9)),
        ] {
            assert_eq!(head.check_line(&line), verdict, "{head:?}");
        }
        let network_id = NetworkId::from_bytes([2; 32]);
        let other = LedgerHead {
            network_id,
            ..head(7, 6, 60)
        };
        let verdict = Err(HeadConflict::OtherNetwork(network_id));
        assert_eq!(other.check_line(&line), verdict);
        assert_eq!(head(7, 6, 60).check_known(&head(7, 6, 60)), Ok(()));
        let line = Certificate {
            sequence: Sequence::MAX,
            ..line
        };
        assert!(head(7, 6, 60).check_line(&line).is_err(), "any number");
    }
}
