//! A payer's cumulative word: "in total on this channel I received `bytes` and owe `amount`".

use crate::identity::NetworkId;
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::channel::ChannelId;
use crate::signed::{Body, Signed};
use crate::units::{Bytes, MicroCredits};

/// The body a payer signs. Neither total ever decreases, so the pair is its own version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whose credit.
    pub network_id: NetworkId,
    /// The channel, which names payer, payee and lock.
    pub channel_id: ChannelId,
    /// Payload received in total.
    pub bytes: Bytes,
    /// Credit owed in total; always 0 on an acknowledgement channel.
    pub amount: MicroCredits,
}

/// A receipt with the payer's signature, 144 bytes.
pub type SignedReceipt = Signed<Receipt>;

impl Body for Receipt {
    const TAG: &'static str = "sb1/receipt";
    const LEN: usize = 80;

    fn write(&self, out: Writer) -> Writer {
        out.bytes(self.network_id.as_bytes())
            .bytes(self.channel_id.as_bytes())
            .u64(self.bytes.get())
            .u64(self.amount.get())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            channel_id: ChannelId::from_bytes(from.array()?),
            bytes: Bytes::new(from.u64()?),
            amount: MicroCredits::new(from.u64()?),
        })
    }
}
