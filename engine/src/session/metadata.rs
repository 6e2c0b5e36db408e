//! Fetching a magnet's `info` dictionary from peers, 16 KiB at a time (BEP 9).
//!
//! Nothing is parsed before the whole matches the info hash. A peer whose contribution did not is
//! not asked again; a size is believed only up to a bound, and memory follows what has arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use seedbank_ledger::{Duration, Instant};
use sha1::{Digest as _, Sha1};

use crate::content::metainfo::INFO_LEN_MAX;
use crate::discovery::host::Host;
use crate::units::{InfoHash, PeerIndex};
use crate::wire::metadata::{metadata_piece_count, metadata_piece_len};

/// Requests under way at one peer.
const ASKED_MAX: usize = 4;
/// An answer that takes longer is no longer expected.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long a peer that did not answer, or would not, is not asked again.
const LATE_PAUSE: Duration = Duration::from_secs(30);
/// Peers that one size is fetched whole from at once, each for itself.
const ALONE_MAX: usize = 3;
/// Fetching from one takes no longer, if others are not to be asked meanwhile.
const ALONE_TIME: Duration = Duration::from_secs(20);
/// Fetches under way at once; of more, the oldest is given up.
const ATTEMPTS_MAX: usize = 64;
/// Bytes of all of them, twice [`INFO_LEN_MAX`]; of more, the oldest is given up.
const KEPT_MAX: usize = 20 * 1024 * 1024;
/// Most addresses that are remembered for false metadata, and most sizes.
const REMEMBERED_MAX: usize = 1_000;

/// One magnet's metadata, part-fetched.
///
/// Nobody's word on its size is worth more than another's: each size is a fetch of its own, and a
/// fetch waits for none of the others.
#[derive(Clone, Debug)]
pub(crate) struct MetadataFetch {
    info_hash: InfoHash,
    /// Peers, and what each one offers.
    offers: BTreeMap<PeerIndex, Offer>,
    /// Peers that did not answer or would not: not asked again before then, so that others are.
    late: BTreeMap<PeerIndex, Instant>,
    /// Addresses that sent bytes that did not match, all by themselves: what comes from there is
    /// mixed with nobody else's.
    distrusted: BTreeSet<IpAddr>,
    /// Sizes of which what several peers sent did not match, and nobody knows whose fault it was:
    /// from now on all of it comes from one.
    spoilt: BTreeSet<u32>,
    /// Oldest first.
    attempts: Vec<Attempt>,
}

/// What a piece that arrived comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetadataArrival {
    /// There is more to come.
    More,
    /// Everything, and it matches the info hash.
    Whole(Vec<u8>),
    /// What the peer sent is false, whatever others sent.
    False,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    len: u32,
    ip: IpAddr,
    /// It sent what was false.
    is_false: bool,
}

/// A fetch of metadata of one size.
#[derive(Clone, Debug)]
struct Attempt {
    len: u32,
    begun_at: Instant,
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
            spoilt: BTreeSet::new(),
            attempts: Vec::new(),
        }
    }

    /// A peer at this address says how long the metadata is; sizes of 0 or past the bound are
    /// ignored, and so is a second one.
    pub(crate) fn offered(&mut self, peer: PeerIndex, ip: IpAddr, len: u32) {
        if (1..=INFO_LEN_MAX).contains(&len) {
            self.offers.entry(peer).or_insert(Offer {
                len,
                ip: ip.to_canonical(),
                is_false: false,
            });
        }
    }

    /// A peer is gone.
    pub(crate) fn gone(&mut self, peer: PeerIndex) {
        self.offers.remove(&peer);
        self.late.remove(&peer);
        self.withdraw(peer);
        let offers = &self.offers;
        let is_offered = |len| offers.values().any(|offer| offer.len == len);
        self.attempts.retain(|attempt| match attempt.source {
            Some(source) => source != peer,
            None => !attempt.pieces.is_empty() || is_offered(attempt.len),
        });
    }

    /// A peer will not send a piece: it is not asked for metadata again for a while.
    pub(crate) fn rejected(&mut self, peer: PeerIndex, now: Instant) {
        self.late.insert(peer, now.after(LATE_PAUSE));
        self.withdraw(peer);
    }

    /// The pieces to ask this peer for now.
    pub(crate) fn requests(&mut self, peer: PeerIndex, now: Instant) -> Vec<u32> {
        self.time_out(now);
        let Some(offer) = self.usable(peer, now) else {
            return Vec::new();
        };
        let is_distrusted = self.distrusted.contains(&offer.ip);
        let is_alone = is_distrusted || self.spoilt.contains(&offer.len);
        let source = is_alone.then_some(peer);
        let mut attempts = self.attempts.iter_mut();
        if let Some(attempt) =
            attempts.find(|attempt| attempt.len == offer.len && attempt.source == source)
        {
            return attempt.ask(peer, now);
        }
        if is_alone && !is_distrusted {
            let hosts: Vec<_> = self.alone_at(offer.len, now).collect();
            let host = Host::of(offer.ip);
            // One host has one, or it alone could hold up all others.
            if hosts.len() >= ALONE_MAX || !host.is_here() && hosts.contains(&host) {
                return Vec::new();
            }
        }
        let mut attempt = Attempt::new(offer.len, source, now);
        let asked = attempt.ask(peer, now);
        self.attempts.push(attempt);
        self.keep_bounds();
        asked
    }

    /// A piece arrived. What was not asked for is ignored; a piece of the wrong length is a lie.
    pub(crate) fn arrived(
        &mut self,
        peer: PeerIndex,
        piece: u32,
        bytes: Vec<u8>,
    ) -> MetadataArrival {
        let mut attempts = self.attempts.iter_mut();
        let Some(index) =
            attempts.position(|attempt| attempt.asked.remove(&(peer, piece)).is_some())
        else {
            return MetadataArrival::More;
        };
        let attempt = &mut self.attempts[index];
        if metadata_piece_len(attempt.len, piece).map(u32::try_into) != Some(Ok(bytes.len())) {
            return self.lied(peer);
        }
        attempt.pieces.insert(piece, (peer, bytes));
        let count = usize::try_from(metadata_piece_count(attempt.len)).ok();
        if count.is_none_or(|count| attempt.pieces.len() < count) {
            self.keep_bounds();
            return MetadataArrival::More;
        }
        let Attempt { len, pieces, .. } = self.attempts.remove(index);
        let whole: Vec<u8> = pieces
            .values()
            .flat_map(|(_, bytes)| bytes)
            .copied()
            .collect();
        if <[u8; 20]>::from(Sha1::digest(&whole)) == self.info_hash.0 {
            return MetadataArrival::Whole(whole);
        }
        if pieces.values().all(|(from, _)| *from == peer) {
            return self.lied(peer);
        }
        remember(&mut self.spoilt, len);
        MetadataArrival::More
    }

    /// What a peer sent is false, and nobody else sent it.
    fn lied(&mut self, peer: PeerIndex) -> MetadataArrival {
        self.withdraw(peer);
        self.attempts.retain(|attempt| attempt.source != Some(peer));
        for attempt in &mut self.attempts {
            attempt.pieces.retain(|_, (from, _)| *from != peer);
        }
        if let Some(offer) = self.offers.get_mut(&peer) {
            offer.is_false = true;
            remember(&mut self.distrusted, offer.ip);
        }
        MetadataArrival::False
    }

    /// Nothing is expected of a peer.
    fn withdraw(&mut self, peer: PeerIndex) {
        for attempt in &mut self.attempts {
            attempt.asked.retain(|(asked, _), _| *asked != peer);
        }
    }

    /// Whoever owes an answer for too long is late.
    fn time_out(&mut self, now: Instant) {
        let asked = self.attempts.iter().flat_map(|attempt| &attempt.asked);
        let over = asked.filter(|(_, at)| now.since(**at) >= ANSWER_MAX);
        for peer in over.map(|((peer, _), _)| *peer).collect::<BTreeSet<_>>() {
            self.rejected(peer, now);
        }
    }

    /// Where those are who fetch metadata of this size alone, and began so lately that they are
    /// waited for.
    fn alone_at(&self, len: u32, now: Instant) -> impl Iterator<Item = Host> {
        let attempts = self
            .attempts
            .iter()
            .filter(move |attempt| attempt.len == len && now.since(attempt.begun_at) < ALONE_TIME);
        let sources = attempts.filter_map(move |attempt| self.usable(attempt.source?, now));
        sources.map(|offer| Host::of(offer.ip))
    }

    /// Gives up the oldest, those that nobody offers any more before all others.
    fn keep_bounds(&mut self) {
        let kept_len = |attempts: &[Attempt]| attempts.iter().map(Attempt::kept_len).sum::<usize>();
        while self.attempts.len() > ATTEMPTS_MAX || kept_len(&self.attempts) > KEPT_MAX {
            let offers = &self.offers;
            let is_offered = |len| offers.values().any(|offer| offer.len == len);
            let mut attempts = self.attempts.iter();
            let orphan = attempts.position(|attempt| !is_offered(attempt.len));
            self.attempts.remove(orphan.unwrap_or(0));
        }
        assert!(self.attempts.len() <= ATTEMPTS_MAX, "fetches are bounded");
    }

    /// What a peer offers, if it may be asked.
    fn usable(&self, peer: PeerIndex, now: Instant) -> Option<Offer> {
        let is_late = self.late.get(&peer).is_some_and(|until| now < *until);
        let offer = self.offers.get(&peer).copied();
        offer.filter(|offer| !is_late && !offer.is_false)
    }
}

impl Attempt {
    const fn new(len: u32, source: Option<PeerIndex>, now: Instant) -> Self {
        Self {
            len,
            begun_at: now,
            source,
            pieces: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Bytes that have arrived.
    fn kept_len(&self) -> usize {
        self.pieces.values().map(|(_, bytes)| bytes.len()).sum()
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

/// Remembers one more, within [`REMEMBERED_MAX`].
fn remember<T: Ord>(known: &mut BTreeSet<T>, one: T) {
    known.insert(one);
    if known.len() > REMEMBERED_MAX {
        known.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::MetadataArrival::{False, More, Whole};
    use super::*;

    const GOOD: PeerIndex = PeerIndex(1);
    const BAD: PeerIndex = PeerIndex(2);
    const NONE: [u32; 0] = [];

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn fetch_of(info: &[u8]) -> MetadataFetch {
        MetadataFetch::new(InfoHash(Sha1::digest(info).into()))
    }

    #[test]
    fn pieces_from_two_peers_make_a_whole() {
        let info = vec![7_u8; 40_000];
        let mut fetch = fetch_of(&info);
        fetch.offered(GOOD, ip(1), 40_000);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [0, 1, 2]);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), NONE);
        assert_eq!(fetch.arrived(GOOD, 0, info[..16_384].to_vec()), More);
        assert_eq!(fetch.arrived(GOOD, 2, info[32_768..].to_vec()), More);
        assert_eq!(
            fetch.arrived(GOOD, 1, info[16_384..32_768].to_vec()),
            Whole(info)
        );
    }

    #[test]
    fn a_liar_is_not_asked_twice_and_an_honest_peer_still_serves() {
        let info = vec![7_u8; 100];
        let mut fetch = fetch_of(&info);
        fetch.offered(BAD, ip(2), 100);
        fetch.offered(GOOD, ip(1), 100);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0]);
        assert_eq!(fetch.arrived(BAD, 0, vec![8; 100]), False);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), NONE);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [0]);
        assert_eq!(fetch.arrived(GOOD, 0, info.clone()), Whole(info));
    }

    #[test]
    fn sizes_and_pieces_nobody_asked_for_are_ignored() {
        let mut fetch = fetch_of(b"x");
        fetch.offered(BAD, ip(2), u32::MAX);
        fetch.offered(BAD, ip(2), 0);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), NONE);
        assert_eq!(fetch.arrived(BAD, u32::MAX, vec![0; 16_384]), More);
        fetch.offered(BAD, ip(2), 16_384);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0]);
        assert_eq!(fetch.arrived(BAD, 0, vec![0; 16_385]), False, "too long");
        assert_eq!(fetch.requests(BAD, Instant::ZERO), NONE);
    }

    /// Whoever comes back from there under another port mixes with nobody.
    #[test]
    fn false_metadata_is_held_against_the_address() {
        let info = vec![7_u8; 40_000];
        let mut fetch = fetch_of(&info);
        fetch.offered(BAD, ip(2), 20);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0]);
        assert_eq!(fetch.arrived(BAD, 0, vec![8; 20]), False);
        fetch.gone(BAD);
        let again = PeerIndex(3);
        fetch.offered(again, ip(2), 40_000);
        fetch.offered(GOOD, ip(1), 40_000);
        assert_eq!(fetch.requests(again, Instant::ZERO), [0, 1, 2]);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [0, 1, 2]);
        assert_eq!(fetch.arrived(again, 0, vec![8; 16_384]), More);
        let mut pieces = (0..).zip(info.chunks(16_384));
        let last = pieces.find_map(|(index, piece)| {
            let arrival = fetch.arrived(GOOD, index, piece.to_vec());
            (arrival != More).then_some(arrival)
        });
        assert_eq!(last, Some(Whole(info.clone())));
    }

    /// Three at a time are waited for. A host that has them all, and comes back when their time is
    /// over, kept everybody else out for ever.
    #[test]
    fn n5_one_host_does_not_have_all_the_turns_alone() {
        let info = vec![7_u8; 40_000];
        let mut fetch = fetch_of(&info);
        fetch.offered(BAD, ip(2), 40_000);
        fetch.offered(GOOD, ip(1), 40_000);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0, 1, 2]);
        assert_eq!(fetch.arrived(BAD, 0, vec![8; 16_384]), More);
        fetch.gone(BAD);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [1, 2]);
        assert_eq!(fetch.arrived(GOOD, 1, info[16_384..32_768].to_vec()), More);
        assert_eq!(fetch.arrived(GOOD, 2, info[32_768..].to_vec()), More);
        let back = [3, 4, 5].map(PeerIndex);
        for peer in back {
            fetch.offered(peer, ip(2), 40_000);
            fetch.requests(peer, Instant::ZERO);
        }
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), [0, 1, 2]);
    }

    #[test]
    fn memory_is_bounded_whatever_is_offered() {
        let mut fetch = fetch_of(b"x");
        for number in 0..5_u32 {
            let peer = PeerIndex(number.into());
            fetch.offered(peer, ip(2), INFO_LEN_MAX - number);
            for _ in 0..150 {
                for piece in fetch.requests(peer, Instant::ZERO) {
                    assert_eq!(fetch.arrived(peer, piece, vec![0; 16_384]), More);
                }
            }
            let kept = fetch.attempts.iter().map(Attempt::kept_len);
            let kept = kept.sum::<usize>();
            assert!(kept <= KEPT_MAX, "{kept}");
        }
        assert_eq!(fetch.attempts.len(), 2);
    }

    #[test]
    fn an_answer_that_never_comes_is_asked_of_another() {
        let mut fetch = fetch_of(b"x");
        fetch.offered(BAD, ip(2), 1);
        fetch.offered(GOOD, ip(1), 1);
        assert_eq!(fetch.requests(BAD, Instant::ZERO), [0]);
        assert_eq!(fetch.requests(GOOD, Instant::ZERO), NONE);
        let later = Instant::ZERO.after(ANSWER_MAX);
        assert_eq!(fetch.requests(GOOD, later), [0]);
        assert_eq!(fetch.arrived(GOOD, 0, b"x".to_vec()), Whole(b"x".to_vec()));
    }
}
