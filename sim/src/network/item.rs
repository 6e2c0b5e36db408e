//! What travels on a connection, and how long it is.

use seedbank_engine::units::Block;
use seedbank_engine::wire::handshake::Handshake;
use seedbank_engine::wire::message::Message;

/// What travels on a connection.
#[derive(Clone, Debug)]
pub enum LinkItem {
    /// The 68 bytes.
    Handshake(Box<Handshake>),
    /// A message.
    Message(Message),
    /// A `piece` message; `garbage` if its payload is not what the torrent says.
    Block {
        /// Which block.
        block: Block,
        /// Whether the payload is wrong.
        garbage: bool,
    },
    /// The sender closed.
    Fin,
}

/// Overhead of a `piece` message on the wire, in bytes.
const PIECE_HEADER_LEN: u64 = 13;
/// What a short message takes.
const MESSAGE_LEN: u64 = 17;

impl LinkItem {
    /// Bytes on the wire, near enough; never none. An end takes one, as in TCP.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Handshake(_) => 68,
            Self::Message(Message::Bitfield(bytes)) => 5 + bytes.len() as u64,
            Self::Message(Message::Extended { payload, .. }) => 6 + payload.len() as u64,
            Self::Message(_) => MESSAGE_LEN,
            Self::Block { block, .. } => PIECE_HEADER_LEN + u64::from(block.len),
            Self::Fin => 1,
        }
    }

    /// Payload of a block; `None` for anything else.
    pub(super) fn payload_len(&self) -> Option<u64> {
        match self {
            Self::Block { block, .. } => Some(u64::from(block.len)),
            Self::Handshake(_) | Self::Message(_) | Self::Fin => None,
        }
    }
}
