//! Which piece a seed that is alone suggests to whom (BEP 6, Suggest Piece).
//!
//! Until a swarm has one copy, what its only seed sends is the one thing that cannot be had from
//! anybody else, and each leecher by itself chooses the same rarest pieces as the others. The seed
//! alone knows what it has sent to whom: here it keeps count, and names to each leecher a piece
//! that nobody has and nobody is on. The picker decides what a leecher makes of it.

use std::collections::{BTreeMap, VecDeque};

use crate::content::bitfield::Bitfield;
use crate::rng::Rng;
use crate::units::{Geometry, PeerIndex, PieceIndex};

/// Most suggestions that one peer may leave unused; a picker keeps as many.
pub const SUGGESTED_MAX: usize = 8;
/// Bytes suggested ahead at least, so that the next piece is named before the last is asked for;
/// and as many as a peer is sent in a second.
const AHEAD_BYTES_MIN: u64 = 512 * 1024;
/// Pieces that are counted as on their way to one peer; of more, some are forgotten.
const TAKEN_MAX: usize = 256;

/// What a seed has given to whom, and what it suggested.
#[derive(Clone, Debug)]
pub struct Suggester {
    rng: Rng,
    pieces: Vec<GivenPiece>,
    takers: BTreeMap<PeerIndex, Taker>,
    piece_len: u64,
}

/// How much of a piece was given out.
#[derive(Clone, Copy, Debug, Default)]
struct GivenPiece {
    /// Peers that it was suggested to, or that have asked for it and not announced it.
    taker_count: u32,
    /// Blocks granted to anybody.
    block_count: u64,
}

/// What is on its way to a peer.
#[derive(Clone, Debug, Default)]
struct Taker {
    /// Suggested and not asked for, oldest first.
    suggested: VecDeque<PieceIndex>,
    /// Asked for and not announced, with the number of blocks that were granted.
    asked: BTreeMap<PieceIndex, u32>,
}

impl Suggester {
    /// Nothing was given out; ties are drawn from `rng`.
    pub fn new(geometry: &Geometry, rng: Rng) -> Self {
        let count = PieceIndex::unchecked(geometry.piece_count()).as_usize();
        Self {
            rng,
            pieces: vec![GivenPiece::default(); count],
            takers: BTreeMap::new(),
            piece_len: geometry.piece_len().into(),
        }
    }

    /// A peer asks for a block of a piece of the torrent; whether it is the first of its piece.
    pub fn asked(&mut self, peer: PeerIndex, piece: PieceIndex) -> bool {
        let taker = self.takers.entry(peer).or_default();
        if taker.asked.contains_key(&piece) {
            return false;
        }
        if taker.asked.len() >= TAKEN_MAX
            && let Some((forgotten, _)) = taker.asked.pop_first()
        {
            self.pieces[forgotten.as_usize()].taker_count -= 1;
        }
        taker.asked.insert(piece, 0);
        let place = taker.suggested.iter().position(|other| *other == piece);
        match place {
            Some(place) => drop(taker.suggested.remove(place)),
            None => self.pieces[piece.as_usize()].taker_count += 1,
        }
        true
    }

    /// A block of a piece of the torrent is sent to a peer.
    pub fn granted(&mut self, peer: PeerIndex, piece: PieceIndex) {
        self.pieces[piece.as_usize()].block_count += 1;
        let taker = self.takers.get_mut(&peer);
        if let Some(blocks) = taker.and_then(|taker| taker.asked.get_mut(&piece)) {
            // Whoever asks for one block again and again is sent it again and again.
            *blocks = blocks.saturating_add(1);
        }
    }

    /// A peer has a piece of the torrent.
    pub fn has(&mut self, peer: PeerIndex, piece: PieceIndex) {
        if let Some(taker) = self.takers.get_mut(&peer) {
            let before = taker.len();
            taker.suggested.retain(|other| *other != piece);
            taker.asked.remove(&piece);
            let gone = u32::from(taker.len() < before);
            self.pieces[piece.as_usize()].taker_count -= gone;
        }
    }

    /// A peer is choked: what it was not sent anything of is not on its way any more.
    pub fn choked(&mut self, peer: PeerIndex) {
        let Some(taker) = self.takers.get_mut(&peer) else {
            return;
        };
        let pieces = &mut self.pieces;
        let mut forget = |piece: &PieceIndex| pieces[piece.as_usize()].taker_count -= 1;
        taker.suggested.iter().for_each(&mut forget);
        taker.suggested.clear();
        taker.asked.retain(|piece, blocks| {
            let stays = *blocks > 0;
            if !stays {
                forget(piece);
            }
            stays
        });
    }

    /// A peer is gone.
    pub fn gone(&mut self, peer: PeerIndex) {
        let Some(taker) = self.takers.remove(&peer) else {
            return;
        };
        for piece in taker.suggested.iter().chain(taker.asked.keys()) {
            self.pieces[piece.as_usize()].taker_count -= 1;
        }
    }

    /// Names the next piece to a peer that has `has` and is sent `rate` bytes per second; `None`
    /// while it has not used what it was suggested, or has or asked for everything. O(pieces).
    ///
    /// The one that the fewest have or are on comes first, then the one of which least was given.
    pub fn suggest(
        &mut self,
        peer: PeerIndex,
        has: &Bitfield,
        rate: u64,
        availability: impl Fn(PieceIndex) -> usize,
    ) -> Option<PieceIndex> {
        let taker = self.takers.entry(peer).or_default();
        let ahead = rate.max(AHEAD_BYTES_MIN).div_ceil(self.piece_len);
        let ahead = usize::try_from(ahead).unwrap_or(SUGGESTED_MAX);
        if taker.suggested.len() >= ahead.clamp(1, SUGGESTED_MAX) {
            return None;
        }
        let start = self.rng.index(self.pieces.len());
        let key = |piece: &PieceIndex| {
            let given = self.pieces[piece.as_usize()];
            let others = u64::from(given.taker_count);
            let count = u64::try_from(availability(*piece)).unwrap_or(u64::MAX);
            let is_turned = piece.as_usize() < start;
            (count.saturating_add(others), given.block_count, is_turned)
        };
        let missing = has.iter_missing();
        let piece = missing
            .filter(|piece| !taker.is_on(*piece))
            .min_by_key(key)?;
        taker.suggested.push_back(piece);
        self.pieces[piece.as_usize()].taker_count += 1;
        Some(piece)
    }

    /// Blocks of a piece that were sent to a peer which has not announced it.
    pub fn granted_count(&self, peer: PeerIndex, piece: PieceIndex) -> u32 {
        let taker = self.takers.get(&peer);
        let asked = taker.and_then(|taker| taker.asked.get(&piece));
        asked.copied().unwrap_or_default()
    }

    /// Stops the program if the counts contradict each other. O(pieces).
    pub fn check_invariants(&self) {
        let mut counts = vec![0; self.pieces.len()];
        for taker in self.takers.values() {
            assert!(taker.suggested.len() <= SUGGESTED_MAX, "bounded");
            assert!(taker.asked.len() <= TAKEN_MAX, "bounded");
            for piece in taker.suggested.iter().chain(taker.asked.keys()) {
                counts[piece.as_usize()] += 1;
            }
        }
        for (count, piece) in counts.iter().zip(&self.pieces) {
            assert_eq!(*count, piece.taker_count, "whoever is on a piece counts");
        }
    }
}

impl Taker {
    fn len(&self) -> usize {
        self.suggested.len() + self.asked.len()
    }

    fn is_on(&self, piece: PieceIndex) -> bool {
        self.asked.contains_key(&piece) || self.suggested.contains(&piece)
    }
}

#[cfg(test)]
mod tests;
