//! Proof that a key is behind this connection.

use crate::identity::{NetworkId, NodeId};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::{Body, Signed};

/// The body each side signs once per connection, with its own nonce and key first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Whose credit.
    pub network_id: NetworkId,
    /// Drawn by the signer for this connection.
    pub own_nonce: [u8; 16],
    /// Drawn by the other side.
    pub peer_nonce: [u8; 16],
    /// The signer.
    pub own_key: NodeId,
    /// The other side.
    pub peer_key: NodeId,
}

/// An auth with the signer's signature.
pub type SignedAuth = Signed<Auth>;

impl Body for Auth {
    const TAG: &'static str = "sb1/auth";
    const LEN: usize = 128;

    fn write(&self, out: Writer) -> Writer {
        out.bytes(self.network_id.as_bytes())
            .bytes(&self.own_nonce)
            .bytes(&self.peer_nonce)
            .bytes(self.own_key.as_bytes())
            .bytes(self.peer_key.as_bytes())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            own_nonce: from.array()?,
            peer_nonce: from.array()?,
            own_key: NodeId::from_bytes(from.array()?),
            peer_key: NodeId::from_bytes(from.array()?),
        })
    }
}
