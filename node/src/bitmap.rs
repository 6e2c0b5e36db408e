//! A set of pieces as one bit each, most significant bit first: the shape of BEP 3's bitfield.

use seedbank_engine::units::{Geometry, PieceIndex};

/// Which pieces of one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmap {
    bytes: Vec<u8>,
    piece_count: u32,
}

impl Bitmap {
    /// No piece at all.
    pub(crate) fn empty(geometry: &Geometry) -> Self {
        let piece_count = geometry.piece_count();
        let len = usize::try_from(piece_count.div_ceil(8)).expect("a bitfield fits memory");
        Self {
            bytes: vec![0; len],
            piece_count,
        }
    }

    /// From a bitfield's bytes; `None` if the length is wrong or a spare bit is set.
    pub(crate) fn from_bytes(bytes: Vec<u8>, geometry: &Geometry) -> Option<Self> {
        let empty = Self::empty(geometry);
        let spare = match empty.piece_count % 8 {
            0 => 0,
            used => 0xff_u8 >> used,
        };
        let fits =
            bytes.len() == empty.bytes.len() && bytes.last().is_none_or(|last| last & spare == 0);
        fits.then_some(Self { bytes, ..empty })
    }

    /// Adds a piece.
    pub(crate) fn set(&mut self, piece: PieceIndex) {
        self.bytes[piece.as_usize() / 8] |= 0x80 >> (piece.as_usize() % 8);
    }

    /// Takes a piece out.
    pub(crate) fn clear(&mut self, piece: PieceIndex) {
        self.bytes[piece.as_usize() / 8] &= !(0x80 >> (piece.as_usize() % 8));
    }

    /// Whether a piece is in.
    pub(crate) fn get(&self, piece: PieceIndex) -> bool {
        self.bytes[piece.as_usize() / 8] & (0x80 >> (piece.as_usize() % 8)) != 0
    }

    /// How many pieces are in.
    pub(crate) fn count(&self) -> u32 {
        self.bytes.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether every piece is in.
    pub(crate) fn is_full(&self) -> bool {
        self.count() == self.piece_count
    }

    /// The bitfield's bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_most_significant_first_and_spare_bits_are_refused() {
        let geometry = Geometry::new(10 * 16_384, 16_384).unwrap();
        let mut bitmap = Bitmap::empty(&geometry);
        bitmap.set(PieceIndex::new(0, &geometry).unwrap());
        bitmap.set(PieceIndex::new(9, &geometry).unwrap());
        assert_eq!(bitmap.as_bytes(), [0b1000_0000, 0b0100_0000]);
        assert_eq!(bitmap.count(), 2);
        assert!(Bitmap::from_bytes(vec![0, 0b0100_0000], &geometry).is_some());
        assert!(Bitmap::from_bytes(vec![0, 0b0010_0000], &geometry).is_none());
        assert!(Bitmap::from_bytes(vec![0], &geometry).is_none());
        bitmap.clear(PieceIndex::new(9, &geometry).unwrap());
        assert_eq!(bitmap.count(), 1);
        assert!(!bitmap.is_full());
    }
}
