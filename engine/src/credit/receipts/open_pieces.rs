//! How much of a payee's window the pieces that are open at it may fill (S2).

use std::collections::BTreeMap;

use seedbank_ledger::Bytes;

use crate::units::{Block, PieceIndex, TorrentId};

/// A piece of a torrent.
pub type PieceKey = (TorrentId, PieceIndex);

/// Pieces of which paid blocks come, or came, from one payee.
///
/// An open piece counts whole against its window, because only the whole piece can be verified and
/// paid. A piece that was handed on counts for what came and what may still come.
#[derive(Clone, Debug, Default)]
pub struct OpenPieces {
    pieces: BTreeMap<PieceKey, CountedPiece>,
    /// Paid bytes of pieces that failed or were given up: they never become due, and take the
    /// payee's window until it writes them off.
    undue: u64,
    /// What the payee wrote off beyond that: blocks of pieces that may still come to nothing, and
    /// then take none of its window. No more than is under way and waits here.
    written_ahead: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct CountedPiece {
    /// Length of the piece while it is fetched from this payee; zero once it was handed on.
    open: u64,
    /// Bytes of requests in flight under a bid.
    asked: u64,
    /// Paid bytes that came and were not verified.
    came: u64,
}

impl OpenPieces {
    /// Bytes of the window that are spoken for.
    pub fn used(&self) -> Bytes {
        let used = self.pieces.values().map(CountedPiece::used);
        Bytes::new(used.fold(self.undue, u64::saturating_add))
    }

    /// Pieces of a torrent that count, each with its part of [`Self::used`].
    pub fn of(&self, torrent_id: TorrentId) -> impl Iterator<Item = (PieceIndex, u64)> + '_ {
        let first = (torrent_id, PieceIndex::unchecked(0));
        let last = (torrent_id, PieceIndex::unchecked(u32::MAX));
        let pieces = self.pieces.range(first..=last);
        pieces.map(|((_, index), piece)| (*index, piece.used()))
    }

    /// The open piece of which most came, the first of them if several.
    pub fn foremost(&self) -> Option<PieceKey> {
        let open = self.pieces.iter().filter(|(_, piece)| piece.open > 0);
        let best = open.max_by_key(|(key, piece)| (piece.came, std::cmp::Reverse(**key)));
        best.map(|(key, _)| *key)
    }

    /// Paid bytes of pieces that came to nothing, not written off so far.
    pub fn undue(&self) -> Bytes {
        Bytes::new(self.undue)
    }

    /// The payee wrote so much off: it takes none of the window any more.
    pub fn written_off(&mut self, bytes: Bytes) {
        let ahead = bytes.get().saturating_sub(self.undue);
        self.undue = self.undue.saturating_sub(bytes.get());
        self.written_ahead = self.written_ahead.saturating_add(ahead);
        self.bound_ahead();
    }

    /// A block came that is not paid for.
    pub fn came_to_nothing(&mut self, len: Bytes) {
        self.undue = self.undue.saturating_add(len.get());
    }

    /// What came to nothing counts no more.
    pub fn forget_undue(&mut self) {
        self.undue = 0;
    }

    /// Whether no paid block is under way or waits to be verified.
    pub fn is_idle(&self) -> bool {
        self.pieces.is_empty()
    }

    /// A block was requested under a bid: its piece is open here.
    pub fn asked(&mut self, key: PieceKey, piece_len: u32, block: &Block) {
        let piece = self.pieces.entry(key).or_default();
        piece.open = u64::from(piece_len);
        piece.asked = piece.asked.saturating_add(u64::from(block.len));
    }

    /// A request under a bid was answered; `paid` if with a block that has a price.
    pub fn answered(&mut self, key: PieceKey, block: &Block, paid: bool) {
        let Some(piece) = self.pieces.get_mut(&key) else {
            return;
        };
        piece.asked = piece.asked.saturating_sub(u64::from(block.len));
        if paid {
            piece.came = piece.came.saturating_add(u64::from(block.len));
        }
        self.drop_if_done(key);
        self.bound_ahead();
    }

    /// The piece is fetched from somebody else now.
    pub fn hand_on(&mut self, key: PieceKey) {
        if let Some(piece) = self.pieces.get_mut(&key) {
            piece.open = 0;
        }
        self.drop_if_done(key);
    }

    /// The piece was verified, or else failed or given up: nothing of it waits any more. True if
    /// something did.
    pub fn settle(&mut self, key: PieceKey, is_verified: bool) -> bool {
        let Some(piece) = self.pieces.get_mut(&key) else {
            return false;
        };
        if !is_verified {
            let ahead = self.written_ahead.min(piece.came);
            self.written_ahead = self.written_ahead.saturating_sub(ahead);
            let undue = piece.came.saturating_sub(ahead);
            self.undue = self.undue.saturating_add(undue);
        }
        piece.open = 0;
        piece.came = 0;
        self.drop_if_done(key);
        self.bound_ahead();
        true
    }

    /// Every piece of a torrent is fetched from somebody else now.
    pub fn hand_on_all(&mut self, torrent_id: TorrentId) {
        self.pieces.retain(|(of, _), piece| {
            if *of == torrent_id {
                piece.open = 0;
            }
            piece.used() > 0
        });
    }

    /// Asserts that nothing is remembered of a piece of which nothing is under way or waits.
    pub fn check_invariants(&self) {
        for piece in self.pieces.values() {
            assert!(
                piece.used() > 0,
                "a piece that counts takes some of the window"
            );
        }
        assert!(
            self.written_ahead <= self.unsettled(),
            "what is written off ahead is under way or waits"
        );
    }

    /// The payee's queue holds nothing else: what it wrote off beyond that was paid late since.
    fn bound_ahead(&mut self) {
        if self.written_ahead > 0 {
            self.written_ahead = self.written_ahead.min(self.unsettled());
        }
    }

    /// Bytes that are under way or wait to be verified.
    fn unsettled(&self) -> u64 {
        let unsettled = self.pieces.values().map(CountedPiece::unsettled);
        unsettled.fold(0, u64::saturating_add)
    }

    fn drop_if_done(&mut self, key: PieceKey) {
        if self.pieces.get(&key).is_some_and(|piece| piece.used() == 0) {
            self.pieces.remove(&key);
        }
    }
}

impl CountedPiece {
    fn used(&self) -> u64 {
        self.open.max(self.unsettled())
    }

    fn unsettled(&self) -> u64 {
        self.asked.saturating_add(self.came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u32 = 16_384;

    fn block(piece: u32, index: u32) -> Block {
        Block {
            piece: PieceIndex::unchecked(piece),
            begin: index * LEN,
            len: LEN,
        }
    }

    fn key(piece: u32) -> PieceKey {
        (TorrentId([7; 20]), PieceIndex::unchecked(piece))
    }

    #[test]
    fn an_open_piece_counts_whole_and_a_handed_on_one_for_what_came() {
        let mut pieces = OpenPieces::default();
        let len = 4 * LEN;
        pieces.asked(key(0), len, &block(0, 0));
        pieces.asked(key(0), len, &block(0, 1));
        assert_eq!(pieces.used(), Bytes::new(u64::from(len)));
        pieces.answered(key(0), &block(0, 0), true);
        pieces.hand_on(key(0));
        assert_eq!(pieces.used(), Bytes::new(u64::from(2 * LEN)));
        pieces.answered(key(0), &block(0, 1), false);
        assert_eq!(pieces.used(), Bytes::new(u64::from(LEN)));
        let of: Vec<_> = pieces.of(TorrentId([7; 20])).collect();
        assert_eq!(of, [(PieceIndex::unchecked(0), u64::from(LEN))]);
        assert_eq!(pieces.of(TorrentId([8; 20])).count(), 0);
        assert!(pieces.settle(key(0), true));
        assert!(!pieces.settle(key(0), true));
        assert!(pieces.is_idle());
        assert_eq!(pieces.undue(), Bytes::ZERO);
    }

    #[test]
    fn what_failed_counts_until_it_is_written_off() {
        let mut pieces = OpenPieces::default();
        pieces.asked(key(0), 4 * LEN, &block(0, 0));
        pieces.answered(key(0), &block(0, 0), true);
        assert!(pieces.settle(key(0), false));
        assert!(pieces.is_idle(), "nothing is under way");
        assert_eq!(pieces.used(), Bytes::new(u64::from(LEN)));
        pieces.written_off(Bytes::new(1));
        assert_eq!(pieces.undue(), Bytes::new(u64::from(LEN) - 1));
        pieces.written_off(Bytes::MAX);
        assert_eq!(pieces.used(), Bytes::ZERO);
        pieces.check_invariants();
    }

    #[test]
    fn what_was_written_off_before_it_failed_does_not_count() {
        let mut pieces = OpenPieces::default();
        let came = |pieces: &mut OpenPieces, piece| {
            pieces.asked(key(piece), LEN, &block(piece, 0));
            pieces.answered(key(piece), &block(piece, 0), true);
        };
        came(&mut pieces, 0);
        came(&mut pieces, 1);
        pieces.written_off(Bytes::new(u64::from(LEN)));
        pieces.settle(key(0), false);
        assert_eq!(pieces.undue(), Bytes::ZERO);
        pieces.settle(key(1), false);
        assert_eq!(pieces.undue(), Bytes::new(u64::from(LEN)), "once only");
        // What is verified is paid late, and nothing is left of its write-off.
        came(&mut pieces, 2);
        pieces.written_off(Bytes::MAX);
        pieces.settle(key(2), true);
        came(&mut pieces, 3);
        pieces.settle(key(3), false);
        assert_eq!(pieces.undue(), Bytes::new(u64::from(LEN)));
        pieces.check_invariants();
    }
}
