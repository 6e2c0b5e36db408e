//! Fetching a magnet's `info` dictionary from peers, 16 KiB at a time (BEP 9).
//!
//! Nothing is parsed before the whole matches the info hash. A peer whose contribution did not is
//! not asked again; a size is believed only up to a bound, and memory follows what has arrived.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::{Duration, Instant};
use sha1::{Digest as _, Sha1};

use crate::metainfo::INFO_LEN_MAX;
use crate::units::{InfoHash, PeerIndex};
use crate::wire::metadata::METADATA_PIECE_LEN;

/// Requests under way at one peer.
const ASKED_MAX: usize = 4;
/// An answer that takes longer is no longer expected.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// One magnet's metadata, part-fetched.
#[derive(Clone, Debug)]
pub(crate) struct MetadataFetch {
    info_hash: InfoHash,
    /// Peers and the size each one offers.
    offers: BTreeMap<PeerIndex, u32>,
    /// The size being fetched.
    len: Option<u32>,
    pieces: BTreeMap<u32, (PeerIndex, Vec<u8>)>,
    asked: BTreeMap<(PeerIndex, u32), Instant>,
    /// Contributed to bytes that did not match.
    distrusted: BTreeSet<PeerIndex>,
}

impl MetadataFetch {
    /// Nothing fetched yet.
    pub(crate) fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            offers: BTreeMap::new(),
            len: None,
            pieces: BTreeMap::new(),
            asked: BTreeMap::new(),
            distrusted: BTreeSet::new(),
        }
    }

    /// A peer says how long the metadata is; sizes of 0 or past the bound are ignored.
    pub(crate) fn offered(&mut self, peer: PeerIndex, len: u32) {
        if (1..=INFO_LEN_MAX).contains(&len) {
            self.offers.insert(peer, len);
        }
    }

    /// A peer is gone.
    pub(crate) fn gone(&mut self, peer: PeerIndex) {
        self.offers.remove(&peer);
        self.asked.retain(|(asked, _), _| *asked != peer);
    }

    /// A peer will not send this piece: it is not asked for metadata again.
    pub(crate) fn rejected(&mut self, peer: PeerIndex) {
        self.gone(peer);
    }

    /// The pieces to ask this peer for now.
    pub(crate) fn requests(&mut self, peer: PeerIndex, now: Instant) -> Vec<u32> {
        self.asked.retain(|_, at| now.since(*at) < ANSWER_MAX);
        let Some(offer) = self.offers.get(&peer).copied() else {
            return Vec::new();
        };
        if self.distrusted.contains(&peer) || *self.len.get_or_insert(offer) != offer {
            return Vec::new();
        }
        let under_way = self
            .asked
            .keys()
            .filter(|(asked, _)| *asked == peer)
            .count();
        let missing: Vec<u32> = (0..offer.div_ceil(METADATA_PIECE_LEN))
            .filter(|piece| !self.pieces.contains_key(piece))
            .filter(|piece| !self.asked.keys().any(|(_, asked)| asked == piece))
            .take(ASKED_MAX.saturating_sub(under_way))
            .collect();
        for piece in &missing {
            self.asked.insert((peer, *piece), now);
        }
        missing
    }

    /// A piece arrived. Gives the whole once it is complete and matches the info hash.
    ///
    /// What was not asked for, or has the wrong length, is ignored.
    pub(crate) fn arrived(
        &mut self,
        peer: PeerIndex,
        piece: u32,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        self.asked.remove(&(peer, piece))?;
        let len = self.len?;
        let begin = piece.checked_mul(METADATA_PIECE_LEN)?;
        let expected = len.checked_sub(begin)?.min(METADATA_PIECE_LEN);
        if usize::try_from(expected) != Ok(bytes.len()) {
            self.rejected(peer);
            return None;
        }
        self.pieces.insert(piece, (peer, bytes));
        if self.pieces.len() < usize::try_from(len.div_ceil(METADATA_PIECE_LEN)).ok()? {
            return None;
        }
        let pieces = std::mem::take(&mut self.pieces);
        let whole: Vec<u8> = pieces
            .values()
            .flat_map(|(_, bytes)| bytes)
            .copied()
            .collect();
        if <[u8; 20]>::from(Sha1::digest(&whole)) == self.info_hash.0 {
            return Some(whole);
        }
        self.distrusted
            .extend(pieces.values().map(|(peer, _)| *peer));
        self.len = None;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: PeerIndex = PeerIndex(1);
    const BAD: PeerIndex = PeerIndex(2);

    fn fetch_of(info: &[u8]) -> MetadataFetch {
        MetadataFetch::new(InfoHash(Sha1::digest(info).into()))
    }

    #[test]
    fn pieces_from_two_peers_make_a_whole() {
        let info = vec![7_u8; 40_000];
        let mut fetch = fetch_of(&info);
        fetch.offered(GOOD, 40_000);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [0, 1, 2]);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [] as [u32; 0]);
        assert_eq!(fetch.arrived(GOOD, 0, info[..16_384].to_vec()), None);
        assert_eq!(fetch.arrived(GOOD, 2, info[32_768..].to_vec()), None);
        assert_eq!(
            fetch.arrived(GOOD, 1, info[16_384..32_768].to_vec()),
            Some(info)
        );
    }

    #[test]
    fn a_liar_is_not_asked_twice_and_an_honest_peer_still_serves() {
        let info = vec![7_u8; 100];
        let mut fetch = fetch_of(&info);
        fetch.offered(BAD, 100);
        fetch.offered(GOOD, 100);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0]);
        assert_eq!(fetch.arrived(BAD, 0, vec![8; 100]), None);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [] as [u32; 0]);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [0]);
        assert_eq!(fetch.arrived(GOOD, 0, info.clone()), Some(info));
    }

    #[test]
    fn sizes_and_pieces_nobody_asked_for_are_ignored() {
        let mut fetch = fetch_of(b"x");
        fetch.offered(BAD, u32::MAX);
        fetch.offered(BAD, 0);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [] as [u32; 0]);
        assert_eq!(fetch.arrived(BAD, u32::MAX, vec![0; 16_384]), None);
        fetch.offered(BAD, 16_384);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0]);
        assert_eq!(fetch.arrived(BAD, 0, vec![0; 16_385]), None, "too long");
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [] as [u32; 0]);
    }

    #[test]
    fn an_answer_that_never_comes_is_asked_of_another() {
        let mut fetch = fetch_of(b"x");
        fetch.offered(BAD, 1);
        fetch.offered(GOOD, 1);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0]);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [] as [u32; 0]);
        let later = Instant::ZERO.after(ANSWER_MAX);
        assert_eq!(fetch.requests(GOOD, later), [0]);
        assert_eq!(fetch.arrived(GOOD, 0, b"x".to_vec()), Some(b"x".to_vec()));
    }
}
