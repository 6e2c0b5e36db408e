//! The bytes of what causes an entry of a node ledger.

use crate::charts::node::{ATTRIBUTION_MAX, Attribution, ChannelSummary, Membership, NodeCommand};
use crate::entry::EntryKind;
use crate::identity::NodeId;
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::Signed;
use crate::signed::channel::Channel;
use crate::state::Row as _;
use crate::statement::StatementLine;
use crate::units::{Bytes, MicroCredits};

/// What an entry of a node ledger is caused by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeCause {
    /// The ledger began; it is this node's.
    Genesis(NodeId),
    /// The node joined a network.
    Join(Membership),
    /// A command of the node.
    Command(NodeCommand),
}

impl NodeCause {
    pub(super) fn kind(&self) -> EntryKind {
        match self {
            Self::Genesis(_) => EntryKind::Genesis,
            Self::Join(_) => EntryKind::Join,
            Self::Command(NodeCommand::Settled(line)) => line.operation.kind(),
            Self::Command(NodeCommand::ChannelSummary(_)) => EntryKind::ChannelSummary,
            Self::Command(NodeCommand::WriteOff { .. }) => EntryKind::WriteOff,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Genesis(owner) => owner.as_bytes().to_vec(),
            Self::Join(join) => join.to_bytes(),
            Self::Command(NodeCommand::Settled(line)) => line.to_bytes(),
            Self::Command(NodeCommand::ChannelSummary(summary)) => summary.to_bytes(),
            Self::Command(NodeCommand::WriteOff { peer, bytes }) => Writer::new()
                .bytes(peer.as_bytes())
                .u64(bytes.get())
                .finish(),
        }
    }

    pub(super) fn from_bytes(kind: EntryKind, bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        match kind {
            EntryKind::Genesis => {
                let owner = NodeId::from_bytes(reader.array()?);
                reader.end()?;
                Ok(Self::Genesis(owner))
            }
            EntryKind::Join => Membership::from_bytes(bytes).map(Self::Join),
            EntryKind::ChannelSummary => {
                let summary = Box::new(ChannelSummary::from_bytes(bytes)?);
                Ok(Self::Command(NodeCommand::ChannelSummary(summary)))
            }
            EntryKind::WriteOff => {
                let peer = NodeId::from_bytes(reader.array()?);
                let bytes = Bytes::new(reader.u64()?);
                reader.end()?;
                Ok(Self::Command(NodeCommand::WriteOff { peer, bytes }))
            }
            EntryKind::Grant
            | EntryKind::Burn
            | EntryKind::Transfer
            | EntryKind::LockOpen
            | EntryKind::LockTopUp
            | EntryKind::LockClose
            | EntryKind::LockExpiry
            | EntryKind::Claim
            | EntryKind::KeyRotation => {
                let line = Box::new(StatementLine::from_bytes(bytes)?);
                let cause = Self::Command(NodeCommand::Settled(line));
                if cause.kind() == kind {
                    Ok(cause)
                } else {
                    Err(LayoutError::Value {
                        field: "kind of line",
                        value: kind.code().into(),
                    })
                }
            }
        }
    }
}

impl ChannelSummary {
    /// The summary's bytes: channel, signed receipt, lock amount u64, served u64, count u8, and per
    /// share 20 bytes, bytes u64, amount u64.
    ///
    /// # Panics
    /// With more than [`ATTRIBUTION_MAX`] shares; a ledger refuses such a summary first.
    pub fn to_bytes(&self) -> Vec<u8> {
        assert!(
            self.attribution.len() <= ATTRIBUTION_MAX,
            "shares are bounded"
        );
        let count = u8::try_from(self.attribution.len()).expect("at most 64 shares");
        let out = self.receipt.write(self.channel.write(Writer::new()));
        let out = out.u64(self.lock_amount.get()).u64(self.served.get());
        self.attribution
            .iter()
            .fold(out.u8(count), |out, share| {
                out.bytes(&share.subject)
                    .u64(share.bytes.get())
                    .u64(share.amount.get())
            })
            .finish()
    }

    /// Parses exactly one summary; no signature is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        let channel = Channel::read(from)?;
        let receipt = Signed::read(from)?;
        let lock_amount = MicroCredits::new(from.u64()?);
        let served = Bytes::new(from.u64()?);
        let count = usize::from(from.u8()?);
        if count > ATTRIBUTION_MAX {
            return Err(LayoutError::TooLong {
                field: "attribution",
                len: count,
                max: ATTRIBUTION_MAX,
            });
        }
        let attribution = (0..count)
            .map(|_| read_share(from))
            .collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self {
            channel,
            receipt,
            lock_amount,
            served,
            attribution,
        })
    }
}

fn read_share(from: &mut Reader<'_>) -> Result<Attribution, LayoutError> {
    Ok(Attribution {
        subject: from.array()?,
        bytes: Bytes::new(from.u64()?),
        amount: MicroCredits::new(from.u64()?),
    })
}
