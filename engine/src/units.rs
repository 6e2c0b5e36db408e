//! What BitTorrent counts: pieces, blocks, peers, and the names of torrents.

use std::cmp::Ordering;
use std::fmt;

/// Bytes in a block, the unit of a request (BEP 3; 16 KiB by universal custom).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// SHA-1 of the exact bytes of a metainfo's `info` dictionary (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// Our own name for a torrent, for as long as it is here and in everything that is stored.
///
/// It is made of the hash under which a torrent was added and stays the same whatever other hashes
/// the torrent turns out to have (BEP 52). Nothing on the wire is made of it: handshakes, announces
/// and metadata carry an [`InfoHash`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TorrentId(pub [u8; 20]);

/// A client's self-chosen name for one run (BEP 20). Never used to decide anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub [u8; 20]);

/// A connected remote, numbered by the driver from 0 and never reused: the order in which we met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(pub u64);

/// Position of a piece in its torrent, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(u32);

/// A block as the wire names it: `len` bytes at `begin` inside a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// Which piece.
    pub piece: PieceIndex,
    /// First byte inside the piece.
    pub begin: u32,
    /// Bytes, 1 to 16 KiB.
    pub len: u32,
}

/// Lengths of a torrent: the only maker of valid piece indices and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    total_len: u64,
    piece_len: u32,
}

impl PieceIndex {
    /// From a raw index, if the torrent has such a piece.
    pub fn new(raw: u32, geometry: &Geometry) -> Option<Self> {
        (raw < geometry.piece_count()).then_some(Self(raw))
    }

    /// From a raw index that nothing has checked: a peer's word before the metainfo is known.
    pub const fn unchecked(raw: u32) -> Self {
        Self(raw)
    }

    /// The raw index.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The raw index, for slices.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).expect("usize is at least 32 bits wide")
    }
}

impl Geometry {
    /// Lengths of a torrent of `total_len` bytes in pieces of `piece_len`. `None` if either is 0 or
    /// there are more than 2³² − 1 pieces.
    pub fn new(total_len: u64, piece_len: u32) -> Option<Self> {
        let geometry = Self {
            total_len,
            piece_len,
        };
        let count =
            total_len.checked_add(u64::from(piece_len).checked_sub(1)?)? / u64::from(piece_len);
        (total_len > 0 && u32::try_from(count).is_ok()).then_some(geometry)
    }

    /// Bytes in all pieces, pad files included.
    pub const fn total_len(&self) -> u64 {
        self.total_len
    }

    /// Bytes in every piece but the last.
    pub const fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// Number of pieces, at least 1.
    pub fn piece_count(&self) -> u32 {
        let count = self.total_len.div_ceil(u64::from(self.piece_len));
        u32::try_from(count).expect("Geometry::new bounds the piece count")
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.piece_count()).map(PieceIndex)
    }

    /// First byte of a piece in the torrent.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_len)
    }

    /// Bytes in a piece; the last may be shorter.
    pub fn len_of(&self, piece: PieceIndex) -> u32 {
        let left = self.total_len - self.piece_offset(piece);
        u32::try_from(left).map_or(self.piece_len, |left| left.min(self.piece_len))
    }

    /// Number of blocks in a piece.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.len_of(piece).div_ceil(BLOCK_LEN)
    }

    /// The `index`-th block of a piece, from 0; `None` past its end.
    pub fn block(&self, piece: PieceIndex, index: u32) -> Option<Block> {
        let begin = index.checked_mul(BLOCK_LEN)?;
        let left = self
            .len_of(piece)
            .checked_sub(begin)
            .filter(|left| *left > 0)?;
        Some(Block {
            piece,
            begin,
            len: left.min(BLOCK_LEN),
        })
    }

    /// Whether a block lies inside its piece and is 1 byte to 16 KiB long.
    pub fn contains(&self, block: &Block) -> bool {
        let end = u64::from(block.begin) + u64::from(block.len);
        block.piece.0 < self.piece_count()
            && (1..=BLOCK_LEN).contains(&block.len)
            && end <= u64::from(self.len_of(block.piece))
    }
}

impl Block {
    /// Position among the blocks of its piece, if it starts on the 16 KiB grid.
    pub fn index(&self) -> Option<u32> {
        self.begin
            .is_multiple_of(BLOCK_LEN)
            .then_some(self.begin / BLOCK_LEN)
    }
}

/// By bytes, as the derived order would be, in three words: every block looks its torrent up in
/// several maps.
impl Ord for TorrentId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for TorrentId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TorrentId {
    fn words(&self) -> (u64, u64, u32) {
        let (first, rest) = self.0.split_first_chunk().expect("20 bytes");
        let (second, rest) = rest.split_first_chunk().expect("12 bytes");
        let third = rest.try_into().expect("4 bytes");
        let (first, second) = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
        (first, second, u32::from_be_bytes(third))
    }
}

impl From<InfoHash> for TorrentId {
    fn from(info_hash: InfoHash) -> Self {
        Self(info_hash.0)
    }
}

impl fmt::Display for TorrentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        InfoHash(self.0).fmt(f)
    }
}

impl fmt::Debug for TorrentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TorrentId({self})")
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torrents_are_in_order_of_their_bytes() {
        let mut names = Vec::new();
        for place in 0..20 {
            for byte in [0, 1, 127, 128, 255] {
                let mut bytes = [7; 20];
                bytes[place] = byte;
                names.push(TorrentId(bytes));
            }
        }
        for one in &names {
            for other in &names {
                assert_eq!(one.cmp(other), one.0.cmp(&other.0), "{one} {other}");
            }
        }
    }

    #[test]
    fn last_piece_and_last_block_may_be_short() {
        let geometry = Geometry::new(100_000, 40_000).unwrap();
        assert_eq!(geometry.piece_count(), 3);
        let last = PieceIndex::new(2, &geometry).unwrap();
        assert_eq!(geometry.len_of(last), 20_000);
        assert_eq!(geometry.block_count(last), 2);
        assert_eq!(geometry.block(last, 1).unwrap().len, 20_000 - BLOCK_LEN);
        assert_eq!(geometry.block(last, 2), None);
        assert_eq!(PieceIndex::new(3, &geometry), None);
    }

    #[test]
    fn a_block_past_its_piece_is_not_contained() {
        let geometry = Geometry::new(100_000, 40_000).unwrap();
        let last = PieceIndex::new(2, &geometry).unwrap();
        assert!(geometry.contains(&Block {
            piece: last,
            begin: 19_999,
            len: 1
        }));
        assert!(!geometry.contains(&Block {
            piece: last,
            begin: 19_999,
            len: 2
        }));
        assert!(!geometry.contains(&Block {
            piece: last,
            begin: u32::MAX,
            len: 16_384
        }));
        assert!(!geometry.contains(&Block {
            piece: last,
            begin: 0,
            len: 0
        }));
        assert!(Geometry::new(u64::MAX, 1).is_none());
        assert!(Geometry::new(0, 1).is_none());
        assert!(Geometry::new(1, 0).is_none());
    }
}
