//! Being served: what is asked of whom under which bid, and what a verified piece makes due.

use std::collections::BTreeMap;

use seedbank_ledger::{Bytes, Instant, Rate};

use crate::credit::market::Market;
use crate::credit::receipts::{Delivered, Service};
use crate::units::{Block, PeerIndex, PieceIndex, TorrentId};

impl Market {
    /// Bytes of further pieces that may be opened at a peer (S2).
    pub fn window_left(&self, peer: PeerIndex) -> Bytes {
        self.exchange.window_left(peer)
    }

    /// Pieces that a peer's window counts already, with the bytes counted.
    pub fn counted(&self, peer: PeerIndex) -> BTreeMap<PieceIndex, u64> {
        self.exchange.counted(peer)
    }

    /// The bid that goes with a request sent now: the caller keeps it with the request until that
    /// is answered, and hands it back in with what became of it.
    pub fn request_bid(&self, peer: PeerIndex) -> Rate {
        self.exchange.request_bid(peer)
    }

    /// Whether we have a paid seat at a peer, by its QUOTE in force.
    pub fn has_seat_at(&self, peer: PeerIndex) -> bool {
        self.exchange.quoted(peer) != Service::Open
    }

    /// A request goes out under `bid`, for a block of a piece of `piece_len` bytes.
    pub fn requested(&mut self, peer: PeerIndex, block: &Block, bid: Rate, piece_len: u32) {
        self.exchange.requested(peer, block, bid, piece_len);
    }

    /// A block came.
    pub fn arrived(&mut self, peer: PeerIndex, delivered: &Delivered, now: Instant) {
        self.exchange.arrived(peer, delivered, now);
        self.route(now);
    }

    /// A request made under `bid` will not be answered, or was rejected.
    pub fn unanswered(&mut self, peer: PeerIndex, block: &Block, bid: Rate, now: Instant) {
        self.exchange.rejected(peer, block, bid, now);
        self.route(now);
    }

    /// Pieces are fetched from somebody else now.
    pub fn handed_on(
        &mut self,
        peer: PeerIndex,
        pieces: impl IntoIterator<Item = PieceIndex>,
        now: Instant,
    ) {
        for piece in pieces {
            self.exchange.hand_on(peer, piece, now);
        }
        self.route(now);
    }

    /// A piece matched its hash. The rows of what is due for it are among the outputs: they are
    /// written before anybody hears that we have it (S3).
    pub fn verified(&mut self, torrent_id: TorrentId, piece: PieceIndex, now: Instant) {
        self.exchange.verified(torrent_id, piece, now);
        self.route(now);
    }

    /// A piece failed its hash, or its buffer was given up.
    pub fn discarded(&mut self, torrent_id: TorrentId, piece: PieceIndex, now: Instant) {
        self.exchange.discarded(torrent_id, piece, now);
        self.route(now);
    }
}
