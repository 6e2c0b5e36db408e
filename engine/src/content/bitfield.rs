//! Which pieces somebody has: a bit for each, most significant bit first, as on the wire (BEP 3).

use crate::units::PieceIndex;

/// A set of pieces of one torrent. Spare bits behind the last piece are always 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Vec<u8>,
    piece_count: u32,
    set_count: u32,
}

/// Why bytes are not the bitfield of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// Too short or too long.
    #[error("bitfield has {len} bytes, {expected} expected")]
    Length {
        /// Bytes found.
        len: usize,
        /// Bytes that the piece count asks for.
        expected: usize,
    },
    /// A bit behind the last piece is set.
    #[error("bitfield has bits set behind the last of {piece_count} pieces")]
    SpareBits {
        /// Pieces of the torrent.
        piece_count: u32,
    },
}

impl Bitfield {
    /// No piece of `piece_count`.
    pub fn none(piece_count: u32) -> Self {
        Self {
            bytes: vec![0; Self::wire_len(piece_count)],
            piece_count,
            set_count: 0,
        }
    }

    /// Every piece of `piece_count`.
    pub fn all(piece_count: u32) -> Self {
        let mut bytes = vec![0xff; Self::wire_len(piece_count)];
        if let Some(last) = bytes.last_mut() {
            *last &= !spare_mask(piece_count);
        }
        Self {
            bytes,
            piece_count,
            set_count: piece_count,
        }
    }

    /// From the payload of a `bitfield` message: exact length, spare bits 0.
    pub fn from_wire(bytes: &[u8], piece_count: u32) -> Result<Self, BitfieldError> {
        let expected = Self::wire_len(piece_count);
        if bytes.len() != expected {
            let len = bytes.len();
            return Err(BitfieldError::Length { len, expected });
        }
        let last = bytes.last().copied().unwrap_or(0);
        if last & spare_mask(piece_count) != 0 {
            return Err(BitfieldError::SpareBits { piece_count });
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            piece_count,
            set_count: bytes.iter().map(|byte| byte.count_ones()).sum(),
        })
    }

    /// Bytes of the bitfield of a torrent of `piece_count` pieces.
    pub fn wire_len(piece_count: u32) -> usize {
        usize::try_from(piece_count.div_ceil(8)).expect("usize is at least 32 bits wide")
    }

    /// Adds a piece; whether it is new. A piece that the torrent does not have changes nothing.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        if piece.get() >= self.piece_count || self.get(piece) {
            return false;
        }
        let (byte, mask) = place(piece);
        self.bytes[byte] |= mask;
        self.set_count += 1;
        assert!(
            self.set_count <= self.piece_count,
            "a set holds at most every piece"
        );
        true
    }

    /// Removes a piece; whether it was there.
    pub fn clear(&mut self, piece: PieceIndex) -> bool {
        if !self.get(piece) {
            return false;
        }
        let (byte, mask) = place(piece);
        self.bytes[byte] &= !mask;
        assert!(self.set_count > 0, "a piece in the set is counted");
        self.set_count -= 1;
        true
    }

    /// Whether a piece is in the set; false for one that the torrent does not have.
    pub fn get(&self, piece: PieceIndex) -> bool {
        let (byte, mask) = place(piece);
        self.bytes.get(byte).is_some_and(|byte| byte & mask != 0)
    }

    /// Pieces of the torrent, in the set or not.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// Pieces in the set.
    pub fn count(&self) -> u32 {
        self.set_count
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.set_count == 0
    }

    /// Whether every piece is in the set.
    pub fn is_complete(&self) -> bool {
        self.set_count == self.piece_count
    }

    /// Pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.indices().filter(|piece| self.get(*piece))
    }

    /// Pieces not in the set, in order.
    pub fn iter_missing(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.indices().filter(|piece| !self.get(*piece))
    }

    /// Whether this set has a piece that `other` lacks. Eight pieces a step.
    pub fn has_more_than(&self, other: &Self) -> bool {
        let beyond = self.bytes.iter().skip(other.bytes.len());
        self.bytes
            .iter()
            .zip(&other.bytes)
            .any(|(mine, theirs)| mine & !theirs != 0)
            || beyond.copied().any(|byte| byte != 0)
    }

    /// Pieces of this set that `other`, of the same torrent, lacks, in order. Eight pieces a step
    /// where there are none.
    pub fn iter_beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = PieceIndex> + 'a {
        let bytes = (0_u32..).zip(self.bytes.iter().zip(&other.bytes));
        bytes.flat_map(|(byte, (mine, theirs))| {
            let beyond = mine & !theirs;
            let count = if beyond == 0 { 0 } else { 8 };
            let is_set = move |bit: &u32| beyond & (0x80 >> bit) != 0;
            (0..count)
                .filter(is_set)
                .map(move |bit| PieceIndex::unchecked(byte * 8 + bit))
        })
    }

    /// The payload of a `bitfield` message.
    pub fn to_wire(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The payload of a `bitfield` message, borrowed.
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes
    }

    /// Asserts that the pieces are counted and that spare bits are 0. O(pieces).
    pub fn check_invariants(&self) {
        let expected = Self::wire_len(self.piece_count);
        assert_eq!(self.bytes.len(), expected, "one bit for each piece");
        let count: u32 = self.bytes.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(count, self.set_count, "pieces in the set are counted");
        let last = self.bytes.last().copied().unwrap_or(0);
        assert_eq!(last & spare_mask(self.piece_count), 0, "spare bits are 0");
    }

    fn indices(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.piece_count).map(PieceIndex::unchecked)
    }
}

fn place(piece: PieceIndex) -> (usize, u8) {
    (piece.as_usize() / 8, 0x80 >> (piece.get() % 8))
}

/// The bits of the last byte that stand for no piece.
fn spare_mask(piece_count: u32) -> u8 {
    match piece_count % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(raw: u32) -> PieceIndex {
        PieceIndex::unchecked(raw)
    }

    #[test]
    fn what_one_set_has_beyond_another_is_found() {
        let mut mine = Bitfield::none(21);
        let mut theirs = Bitfield::none(21);
        for piece in [0, 7, 8, 20] {
            mine.set(PieceIndex::unchecked(piece));
        }
        for piece in [7, 9, 19] {
            theirs.set(PieceIndex::unchecked(piece));
        }
        let beyond: Vec<u32> = mine.iter_beyond(&theirs).map(PieceIndex::get).collect();
        assert_eq!(beyond, [0, 8, 20]);
        assert_eq!(mine.iter_beyond(&mine).count(), 0);
    }

    #[test]
    fn the_first_piece_is_the_highest_bit() {
        let mut have = Bitfield::none(10);
        assert!(have.set(piece(0)));
        assert!(have.set(piece(9)));
        assert!(!have.set(piece(9)));
        assert_eq!(have.to_wire(), [0x80, 0x40]);
        assert_eq!(have.count(), 2);
        assert!(have.clear(piece(0)));
        assert!(!have.clear(piece(0)));
        assert_eq!(have.iter().collect::<Vec<_>>(), [piece(9)]);
        assert_eq!(have.iter_missing().count(), 9);
    }

    #[test]
    fn spare_bits_and_wrong_lengths_are_refused() {
        let spare = Bitfield::from_wire(&[0xff, 0xe0], 10);
        assert_eq!(spare, Err(BitfieldError::SpareBits { piece_count: 10 }));
        assert!(
            Bitfield::from_wire(&[0xff, 0xc0], 10)
                .unwrap()
                .is_complete()
        );
        for len in [0, 1, 3] {
            let result = Bitfield::from_wire(&vec![0; len], 10);
            assert_eq!(result, Err(BitfieldError::Length { len, expected: 2 }));
        }
    }

    #[test]
    fn a_piece_past_the_end_is_neither_set_nor_found() {
        let mut have = Bitfield::none(10);
        for raw in [10, 15, 16, u32::MAX] {
            assert!(!have.set(piece(raw)));
            assert!(!have.get(piece(raw)));
            assert!(!have.clear(piece(raw)));
        }
        assert_eq!(have, Bitfield::none(10));
    }

    proptest! {
        #[test]
        fn all_is_none_with_everything_set(count in 0_u32..100) {
            let mut have = Bitfield::none(count);
            for piece in Bitfield::all(count).iter() {
                prop_assert!(have.set(piece));
            }
            prop_assert_eq!(&have, &Bitfield::all(count));
            prop_assert!(have.is_complete());
            prop_assert_eq!(Bitfield::from_wire(&have.to_wire(), count), Ok(have));
        }

        #[test]
        fn has_more_than_agrees_with_counting(a in any::<[u8; 3]>(), b in any::<[u8; 3]>()) {
            let a = Bitfield::from_wire(&a, 24).unwrap();
            let b = Bitfield::from_wire(&b, 24).unwrap();
            let more = a.iter().any(|piece| !b.get(piece));
            prop_assert_eq!(a.has_more_than(&b), more);
        }
    }
}
