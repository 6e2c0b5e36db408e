//! The 68 bytes that open a connection (BEP 3), with the reserved bits of BEP 4.

use crate::units::{ClientId, InfoHash};

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// A parsed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// The sender's self-chosen name.
    pub client_id: ClientId,
    /// Bit 20: the extension protocol (BEP 10).
    pub extended: bool,
    /// Bit 2: the Fast Extension (BEP 6).
    pub fast: bool,
}
