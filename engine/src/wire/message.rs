//! Messages between peers (BEP 3, 6, 10), as values.

use crate::units::{Block, PieceIndex};

/// A message other than `piece`, whose payload never leaves the data plane.
///
/// Piece indices are as the peer sent them: the session checks them against the torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Four zero bytes.
    KeepAlive,
    /// 0: the sender will answer no more requests.
    Choke,
    /// 1: the sender will answer requests.
    Unchoke,
    /// 2: the sender wants something we have.
    Interested,
    /// 3: the sender wants nothing we have.
    NotInterested,
    /// 4: the sender has a new piece.
    Have(PieceIndex),
    /// 5: the pieces the sender has, most significant bit first.
    Bitfield(Vec<u8>),
    /// 6: the sender asks for a block.
    Request(Block),
    /// 8: the sender no longer wants a block.
    Cancel(Block),
    /// 9: the sender's DHT port (BEP 5).
    Port(u16),
    /// 13: the sender advises a piece (BEP 6).
    Suggest(PieceIndex),
    /// 14: the sender has every piece (BEP 6).
    HaveAll,
    /// 15: the sender has no piece (BEP 6).
    HaveNone,
    /// 16: the sender will not serve a block we asked for (BEP 6).
    Reject(Block),
    /// 17: a piece we may ask for while choked (BEP 6).
    AllowedFast(PieceIndex),
    /// 20: a BEP 10 message under the receiver's id; 0 is the extended handshake.
    Extended {
        /// Id in the receiver's `m` dictionary.
        id: u8,
        /// Bencoded dictionary, with raw bytes after it in `ut_metadata`.
        payload: Vec<u8>,
    },
}
