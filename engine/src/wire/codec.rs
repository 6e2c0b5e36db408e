//! Messages as bytes (BEP 3, 6, 10): a decoder over whatever has been read so far, and an encoder.
//!
//! The decoder buffers nothing and judges a length as soon as its bytes are there, so that a reader
//! never waits for, or makes room for, a message that would be refused. The payload of a `piece`
//! stays with the caller.

use crate::content::bitfield::Bitfield;
use crate::units::{BLOCK_LEN, Block, PieceIndex};
use crate::wire::message::Message;

/// Bytes in front of the payload of a `piece` message: length, id, index and begin.
pub const PIECE_HEADER_LEN: usize = 13;

/// Bounds of what a peer may send, in bytes behind the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Longest `bitfield`.
    pub bitfield_max: usize,
    /// Longest extended message, its own id not counted. At most 1 MiB.
    pub extended_max: usize,
    /// Longest message of an id that we do not know, which is skipped.
    pub unknown_max: usize,
}

impl FrameLimits {
    /// Before the metainfo is known: a bitfield of up to 2 Mi pieces.
    pub const DEFAULT: Self = Self {
        bitfield_max: 256 * 1024,
        extended_max: 128 * 1024,
        unknown_max: 16 * 1024,
    };

    /// For a torrent of `piece_count` pieces.
    pub fn for_pieces(piece_count: u32) -> Self {
        Self {
            bitfield_max: Bitfield::wire_len(piece_count),
            ..Self::DEFAULT
        }
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the front of a buffer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Not yet a whole message: at least so many bytes in total are needed to go on.
    Need(usize),
    /// A message, which took the first `len` bytes.
    Message {
        /// What.
        message: Message,
        /// Bytes it took.
        len: usize,
    },
    /// The head of a `piece` message; `block.len` payload bytes follow, 1 to 16 KiB.
    Piece {
        /// Which block.
        block: Block,
        /// Bytes in front of the payload, always [`PIECE_HEADER_LEN`].
        header_len: usize,
    },
    /// A message of an unknown id, whole in the buffer, to be passed over.
    Skip {
        /// Bytes it took.
        len: usize,
    },
}

/// Why a peer's bytes are no message; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A message of fixed length has another.
    #[error("message {id} has length {len}, {expected} expected")]
    Length {
        /// Message id.
        id: u8,
        /// Length prefix found.
        len: usize,
        /// Length prefix expected.
        expected: usize,
    },
    /// A message is longer than its bound.
    #[error("message {id} has length {len}, at most {max} allowed")]
    TooLong {
        /// Message id.
        id: u8,
        /// Length prefix found.
        len: usize,
        /// Longest allowed.
        max: usize,
    },
    /// A message is too short for what it must hold.
    #[error("message {id} has length {len}, at least {min} expected")]
    TooShort {
        /// Message id.
        id: u8,
        /// Length prefix found.
        len: usize,
        /// Shortest allowed.
        min: usize,
    },
}

/// Reads the message at the front of `buf`, which holds whatever has been read so far.
///
/// Never asks for more than the longest message that `limits` allow.
pub fn decode(buf: &[u8], limits: &FrameLimits) -> Result<Decoded, WireError> {
    let Some(prefix) = buf.first_chunk::<4>() else {
        return Ok(Decoded::Need(4));
    };
    let len = usize::try_from(u32::from_be_bytes(*prefix)).expect("usize holds 32 bits");
    if len == 0 {
        let message = Message::KeepAlive;
        return Ok(Decoded::Message { message, len: 4 });
    }
    let Some(id) = buf.get(4).copied() else {
        return Ok(Decoded::Need(5));
    };
    check_len(id, len, limits)?;
    if id == PIECE {
        return Ok(piece(buf, len));
    }
    let total = 4 + len;
    let Some(body) = buf.get(5..total) else {
        return Ok(Decoded::Need(total));
    };
    Ok(match message(id, body) {
        Some(message) => Decoded::Message {
            message,
            len: total,
        },
        None => Decoded::Skip { len: total },
    })
}

/// The bytes in front of the payload of a `piece` message.
///
/// # Panics
/// If `block.len` is over 16 KiB: only blocks that a request named are served.
pub fn piece_header(block: &Block) -> [u8; PIECE_HEADER_LEN] {
    assert!(block.len <= BLOCK_LEN, "{} bytes in a block", block.len);
    let mut bytes = [0; PIECE_HEADER_LEN];
    bytes[..4].copy_from_slice(&(9 + block.len).to_be_bytes());
    bytes[4] = PIECE;
    bytes[5..9].copy_from_slice(&block.piece.get().to_be_bytes());
    bytes[9..].copy_from_slice(&block.begin.to_be_bytes());
    bytes
}

impl Message {
    /// Appends the message to `out`.
    ///
    /// # Panics
    /// If a payload of ours is longer than 4 GiB.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => put(out, CHOKE, &[]),
            Self::Unchoke => put(out, UNCHOKE, &[]),
            Self::Interested => put(out, INTERESTED, &[]),
            Self::NotInterested => put(out, NOT_INTERESTED, &[]),
            Self::Have(piece) => put(out, HAVE, &[&piece.get().to_be_bytes()]),
            Self::Bitfield(bytes) => put(out, BITFIELD, &[bytes]),
            Self::Request(block) => put_block(out, REQUEST, block),
            Self::Cancel(block) => put_block(out, CANCEL, block),
            Self::Port(port) => put(out, PORT, &[&port.to_be_bytes()]),
            Self::Suggest(piece) => put(out, SUGGEST, &[&piece.get().to_be_bytes()]),
            Self::HaveAll => put(out, HAVE_ALL, &[]),
            Self::HaveNone => put(out, HAVE_NONE, &[]),
            Self::Reject(block) => put_block(out, REJECT, block),
            Self::AllowedFast(piece) => put(out, ALLOWED_FAST, &[&piece.get().to_be_bytes()]),
            Self::Extended { id, payload } => put(out, EXTENDED, &[&[*id], payload]),
        }
    }
}

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const CANCEL: u8 = 8;
const PORT: u8 = 9;
const SUGGEST: u8 = 13;
const HAVE_ALL: u8 = 14;
const HAVE_NONE: u8 = 15;
const REJECT: u8 = 16;
const ALLOWED_FAST: u8 = 17;
const EXTENDED: u8 = 20;

/// Judges the length prefix of a message by its id alone.
fn check_len(id: u8, len: usize, limits: &FrameLimits) -> Result<(), WireError> {
    let block_max = usize::try_from(BLOCK_LEN).expect("usize holds 32 bits");
    let (min, max) = match id {
        CHOKE | UNCHOKE | INTERESTED | NOT_INTERESTED | HAVE_ALL | HAVE_NONE => (1, 1),
        HAVE | SUGGEST | ALLOWED_FAST => (5, 5),
        REQUEST | CANCEL | REJECT => (13, 13),
        PORT => (3, 3),
        PIECE => (10, block_max + 9),
        BITFIELD => (1, limits.bitfield_max.saturating_add(1)),
        EXTENDED => (2, limits.extended_max.saturating_add(2)),
        _ => (1, limits.unknown_max.saturating_add(1)),
    };
    if (min..=max).contains(&len) {
        return Ok(());
    }
    Err(if min == max {
        let expected = min;
        WireError::Length { id, len, expected }
    } else if len > max {
        WireError::TooLong { id, len, max }
    } else {
        WireError::TooShort { id, len, min }
    })
}

fn piece(buf: &[u8], len: usize) -> Decoded {
    let Some(header) = buf.first_chunk::<PIECE_HEADER_LEN>() else {
        return Decoded::Need(PIECE_HEADER_LEN);
    };
    let len = u32::try_from(len - 9).expect("check_len bounds a piece message");
    Decoded::Piece {
        block: Block {
            piece: PieceIndex::unchecked(be_u32(header, 5)),
            begin: be_u32(header, 9),
            len,
        },
        header_len: PIECE_HEADER_LEN,
    }
}

/// A message other than `piece`, of a length that was checked; `None` for an unknown id.
fn message(id: u8, body: &[u8]) -> Option<Message> {
    Some(match id {
        CHOKE => Message::Choke,
        UNCHOKE => Message::Unchoke,
        INTERESTED => Message::Interested,
        NOT_INTERESTED => Message::NotInterested,
        HAVE => Message::Have(piece_index(body)),
        BITFIELD => Message::Bitfield(body.to_vec()),
        REQUEST => Message::Request(block(body)),
        CANCEL => Message::Cancel(block(body)),
        PORT => Message::Port(u16::from_be_bytes([body[0], body[1]])),
        SUGGEST => Message::Suggest(piece_index(body)),
        HAVE_ALL => Message::HaveAll,
        HAVE_NONE => Message::HaveNone,
        REJECT => Message::Reject(block(body)),
        ALLOWED_FAST => Message::AllowedFast(piece_index(body)),
        EXTENDED => Message::Extended {
            id: body[0],
            payload: body[1..].to_vec(),
        },
        _ => return None,
    })
}

fn piece_index(body: &[u8]) -> PieceIndex {
    PieceIndex::unchecked(be_u32(body, 0))
}

fn block(body: &[u8]) -> Block {
    Block {
        piece: piece_index(body),
        begin: be_u32(body, 4),
        len: be_u32(body, 8),
    }
}

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes[at..at + 4].try_into();
    u32::from_be_bytes(bytes.expect("a slice of 4 is an array of 4"))
}

fn put(out: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let len = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let len = u32::try_from(len).expect("our own messages are bounded");
    out.extend_from_slice(&len.to_be_bytes());
    out.push(id);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn put_block(out: &mut Vec<u8>, id: u8, block: &Block) {
    let fields = [block.piece.get(), block.begin, block.len].map(u32::to_be_bytes);
    put(out, id, &[fields.as_flattened()]);
}

#[cfg(test)]
mod tests;
