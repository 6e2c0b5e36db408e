//! Fetching a magnet's `info` dictionary from peers, 16 KiB at a time (BEP 9).
//!
//! Nothing is parsed before the whole matches the info hash. A peer whose contribution did not is
//! not asked again; a size is believed only up to a bound, and memory follows what has arrived.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::{Duration, Instant};
use sha1::{Digest as _, Sha1};

use crate::content::metainfo::INFO_LEN_MAX;
use crate::units::{InfoHash, PeerIndex};
use crate::wire::metadata::{metadata_piece_count, metadata_piece_len};

/// Requests under way at one peer.
const ASKED_MAX: usize = 4;
/// An answer that takes longer is no longer expected.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long a peer that did not answer, or would not, is not asked again.
const LATE_PAUSE: Duration = Duration::from_secs(30);

/// One magnet's metadata, part-fetched.
#[derive(Clone, Debug)]
pub(crate) struct MetadataFetch {
    info_hash: InfoHash,
    /// Peers and the size each one offers.
    offers: BTreeMap<PeerIndex, u32>,
    /// Peers that did not answer or would not: not asked again before then, so that others are.
    late: BTreeMap<PeerIndex, Instant>,
    /// Sent bytes that did not match, all by themselves.
    distrusted: BTreeSet<PeerIndex>,
    /// What several peers sent did not match, and nobody knows whose fault it was: from now on all
    /// of it comes from one.
    alone: bool,
    attempt: Option<Attempt>,
}

/// A fetch of metadata of one size.
#[derive(Clone, Debug)]
struct Attempt {
    len: u32,
    /// Nobody else is asked.
    source: Option<PeerIndex>,
    pieces: BTreeMap<u32, (PeerIndex, Vec<u8>)>,
    asked: BTreeMap<(PeerIndex, u32), Instant>,
}

impl MetadataFetch {
    /// Nothing fetched yet.
    pub(crate) fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            offers: BTreeMap::new(),
            late: BTreeMap::new(),
            distrusted: BTreeSet::new(),
            alone: false,
            attempt: None,
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
        self.late.remove(&peer);
        self.distrusted.remove(&peer);
        if let Some(attempt) = &mut self.attempt {
            attempt.asked.retain(|(asked, _), _| *asked != peer);
        }
    }

    /// A peer will not send a piece: it is not asked for metadata again for a while.
    pub(crate) fn rejected(&mut self, peer: PeerIndex, now: Instant) {
        self.late.insert(peer, now.after(LATE_PAUSE));
        if let Some(attempt) = &mut self.attempt {
            attempt.asked.retain(|(asked, _), _| *asked != peer);
        }
    }

    /// The pieces to ask this peer for now.
    pub(crate) fn requests(&mut self, peer: PeerIndex, now: Instant) -> Vec<u32> {
        self.time_out(now);
        let Some(len) = self.usable(peer, now) else {
            return Vec::new();
        };
        let fits = |attempt: &Attempt| {
            attempt.len == len && attempt.source.is_none_or(|source| source == peer)
        };
        let goes_on = |attempt: &Attempt| match attempt.source {
            Some(source) => self.usable(source, now).is_some(),
            None => {
                let mut peers = self.offers.keys();
                peers.any(|peer| self.usable(*peer, now) == Some(attempt.len))
            }
        };
        if let Some(attempt) = self.attempt.as_ref().filter(|attempt| !fits(attempt))
            && goes_on(attempt)
        {
            return Vec::new();
        }
        let source = self.alone.then_some(peer);
        let attempt = match &mut self.attempt {
            Some(attempt) if fits(attempt) => attempt,
            other => other.insert(Attempt::new(len, source)),
        };
        attempt.ask(peer, now)
    }

    /// A piece arrived. Gives the whole once it is complete and matches the info hash.
    ///
    /// What was not asked for is ignored; a piece of the wrong length is a lie.
    pub(crate) fn arrived(
        &mut self,
        peer: PeerIndex,
        piece: u32,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let attempt = self.attempt.as_mut()?;
        attempt.asked.remove(&(peer, piece))?;
        if metadata_piece_len(attempt.len, piece).map(u32::try_into) != Some(Ok(bytes.len())) {
            self.distrusted.insert(peer);
            return None;
        }
        attempt.pieces.insert(piece, (peer, bytes));
        let count = usize::try_from(metadata_piece_count(attempt.len)).ok()?;
        if attempt.pieces.len() < count {
            return None;
        }
        let pieces = self.attempt.take()?.pieces;
        let whole: Vec<u8> = pieces
            .values()
            .flat_map(|(_, bytes)| bytes)
            .copied()
            .collect();
        if <[u8; 20]>::from(Sha1::digest(&whole)) == self.info_hash.0 {
            return Some(whole);
        }
        let contributors: BTreeSet<PeerIndex> = pieces.values().map(|(peer, _)| *peer).collect();
        match contributors.len() {
            1 => self.distrusted.extend(contributors),
            _ => self.alone = true,
        }
        None
    }

    /// Whoever owes an answer for too long is late.
    fn time_out(&mut self, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let asked = attempt.asked.iter();
        let over = asked.filter(|(_, at)| now.since(**at) >= ANSWER_MAX);
        for peer in over.map(|((peer, _), _)| *peer).collect::<BTreeSet<_>>() {
            self.rejected(peer, now);
        }
    }

    /// The size that a peer offers, if it may be asked.
    fn usable(&self, peer: PeerIndex, now: Instant) -> Option<u32> {
        let is_late = self.late.get(&peer).is_some_and(|until| now < *until);
        let may = !is_late && !self.distrusted.contains(&peer);
        self.offers.get(&peer).copied().filter(|_| may)
    }
}

impl Attempt {
    const fn new(len: u32, source: Option<PeerIndex>) -> Self {
        Self {
            len,
            source,
            pieces: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// The next pieces that nobody is asked for.
    fn ask(&mut self, peer: PeerIndex, now: Instant) -> Vec<u32> {
        let under_way: BTreeSet<u32> = self.asked.keys().map(|(_, piece)| *piece).collect();
        let own = self
            .asked
            .keys()
            .filter(|(asked, _)| *asked == peer)
            .count();
        let missing: Vec<u32> = (0..metadata_piece_count(self.len))
            .filter(|piece| !self.pieces.contains_key(piece) && !under_way.contains(piece))
            .take(ASKED_MAX.saturating_sub(own))
            .collect();
        for piece in &missing {
            self.asked.insert((peer, *piece), now);
        }
        missing
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
