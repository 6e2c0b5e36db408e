//! What one connection's requests cost (DESIGN §4, Price) and how much of a payee's window the
//! pieces open at him may fill (S2).

use std::collections::{BTreeMap, VecDeque};

use seedbank_ledger::{Bytes, Rate};

use crate::credit::receipts::limits::REQUESTS_MAX;
use crate::units::{Block, InfoHash, PieceIndex};

/// A piece of a torrent.
pub type PieceKey = (InfoHash, PieceIndex);

/// Requests in flight on one connection, oldest first, each with the bid in force when it was sent.
///
/// Several requests for one block match in order; every one gets one answer (BEP 6).
#[derive(Clone, Debug, Default)]
pub struct Requests(VecDeque<(Block, Rate)>);

impl Requests {
    /// Records a request.
    ///
    /// # Panics
    /// Past [`REQUESTS_MAX`]; the session asks for far less.
    pub fn sent(&mut self, block: Block, bid: Rate) {
        assert!(
            self.0.len() < REQUESTS_MAX,
            "requests in flight are bounded"
        );
        self.0.push_back((block, bid));
    }

    /// The oldest request for this block was answered; returns its bid. `None` if there is none.
    pub fn answered(&mut self, block: &Block) -> Option<Rate> {
        let at = self.0.iter().position(|(asked, _)| asked == block)?;
        self.0.remove(at).map(|(_, bid)| bid)
    }

    /// Takes out everything that is in flight.
    pub fn drain(&mut self) -> impl Iterator<Item = (Block, Rate)> + '_ {
        self.0.drain(..)
    }
}

/// Pieces of which paid blocks come, or came, from one payee.
///
/// An open piece counts whole against his window, because only the whole piece can be verified and
/// paid. A piece that was handed on counts for what came and what may still come.
#[derive(Clone, Debug, Default)]
pub struct OpenPieces(BTreeMap<PieceKey, OpenPiece>);

#[derive(Clone, Copy, Debug, Default)]
struct OpenPiece {
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
        let used = self.0.values().map(OpenPiece::used);
        Bytes::new(used.fold(0, u64::saturating_add))
    }

    /// What would be spoken for if this piece were open too.
    pub fn used_with(&self, key: PieceKey, piece_len: u32) -> Bytes {
        let other = self.0.iter().filter(|(piece, _)| **piece != key);
        let other = other.fold(0_u64, |sum, (_, piece)| sum.saturating_add(piece.used()));
        let this = self.0.get(&key).copied().unwrap_or_default();
        let this = OpenPiece {
            open: u64::from(piece_len),
            ..this
        };
        Bytes::new(other.saturating_add(this.used()))
    }

    /// Whether no paid block is under way or waits to be verified.
    pub fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// A block was requested under a bid: its piece is open here.
    pub fn asked(&mut self, key: PieceKey, piece_len: u32, block: &Block) {
        let piece = self.0.entry(key).or_default();
        piece.open = u64::from(piece_len);
        piece.asked = piece.asked.saturating_add(u64::from(block.len));
    }

    /// A request under a bid was answered; `paid` if with a block that has a price.
    pub fn answered(&mut self, key: PieceKey, block: &Block, paid: bool) {
        let Some(piece) = self.0.get_mut(&key) else {
            return;
        };
        piece.asked = piece.asked.saturating_sub(u64::from(block.len));
        if paid {
            piece.came = piece.came.saturating_add(u64::from(block.len));
        }
        self.drop_if_done(key);
    }

    /// The piece is fetched from somebody else now.
    pub fn hand_on(&mut self, key: PieceKey) {
        if let Some(piece) = self.0.get_mut(&key) {
            piece.open = 0;
        }
        self.drop_if_done(key);
    }

    /// The piece was verified, failed or given up: nothing of it waits any more. True if something
    /// did.
    pub fn settle(&mut self, key: PieceKey) -> bool {
        let Some(piece) = self.0.get_mut(&key) else {
            return false;
        };
        piece.open = 0;
        piece.came = 0;
        self.drop_if_done(key);
        true
    }

    /// Every piece of a torrent is fetched from somebody else now.
    pub fn hand_on_all(&mut self, info_hash: InfoHash) {
        self.0.retain(|(of, _), piece| {
            if *of == info_hash {
                piece.open = 0;
            }
            piece.used() > 0
        });
    }

    fn drop_if_done(&mut self, key: PieceKey) {
        if self.0.get(&key).is_some_and(|piece| piece.used() == 0) {
            self.0.remove(&key);
        }
    }
}

impl OpenPiece {
    fn used(&self) -> u64 {
        self.open.max(self.asked.saturating_add(self.came))
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
        (InfoHash([7; 20]), PieceIndex::unchecked(piece))
    }

    #[test]
    fn several_requests_for_one_block_match_in_order() {
        let mut requests = Requests::default();
        requests.sent(block(0, 0), Rate::new(1));
        requests.sent(block(0, 1), Rate::new(2));
        requests.sent(block(0, 0), Rate::new(3));
        assert_eq!(requests.answered(&block(0, 0)), Some(Rate::new(1)));
        assert_eq!(requests.answered(&block(0, 0)), Some(Rate::new(3)));
        assert_eq!(requests.answered(&block(0, 0)), None);
        assert_eq!(requests.drain().count(), 1);
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
        let again = pieces.used_with(key(0), len);
        assert_eq!(again, Bytes::new(u64::from(len)));
        assert!(pieces.settle(key(0)));
        assert!(!pieces.settle(key(0)));
        assert!(pieces.is_idle());
    }
}
