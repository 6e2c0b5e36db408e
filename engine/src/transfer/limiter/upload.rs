//! Whose block goes next: weighted fair queueing over two classes and the peers in them.

use std::collections::BTreeMap;

use seedbank_ledger::{Duration, Instant};

use super::{Bucket, ClassShares, LUMP, Limiter};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::transfer::choker::Class;
use crate::units::{BLOCK_LEN, PeerIndex, TorrentId};

/// Virtual time of one byte for a weight of 1: so fine that even the largest weight advances.
const PASS_PER_BYTE: u128 = 1 << 64;
/// Blocks that a peer or a class that was not ready for a moment may catch up at least, so that the
/// gap between two requests does not cost it its share. At higher rates it is the node's burst.
const CATCH_UP_BLOCKS_MIN: u32 = 4;
/// The same without a limit.
const CATCH_UP_BLOCKS_UNLIMITED: u32 = 16;
/// Time whose worth a capped open class may save up: a longer burst would stand in the queue on
/// the way before paid bytes, and tell of a queue where there is room.
const CAP_BURST: Duration = Duration::from_millis(20);
/// Least time between two lumps of it, for the same reason.
const CAP_LUMP: Duration = Duration::from_millis(5);

/// The two classes of bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UploadSide {
    /// Shares `100 − open share` percent.
    Paid,
    /// Shares the open share.
    Open,
}

/// How an unchoked peer is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadPeer {
    /// Its torrent, whose limit holds for it.
    pub torrent: TorrentId,
    /// Its class of bandwidth.
    pub side: UploadSide,
    /// Its share relative to the others in its class; zero counts as 1.
    pub weight: u64,
}

/// Decides which peer's next block is granted, and when.
///
/// While both classes want bytes they share by weight; whatever one does not use, the other gets at
/// once. So it is with the peers inside a class: one that is slow to ask does not hold up the rest.
/// A few dozen peers at most are in it, so every call is linear in their number.
#[derive(Clone, Debug)]
pub struct UploadQueue {
    limiter: Limiter,
    /// What the open class may send while it must leave the way out to the paid one.
    open_cap: Option<Bucket>,
    held: HeldBack,
    paid: Lane,
    open: Lane,
    /// Virtual time of the class served last.
    clock: u128,
    peers: BTreeMap<PeerIndex, WaitingPeer>,
}

/// What held back a block that somebody wanted, since this was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// The node's own limit.
    pub by_limit: bool,
    /// The cap of the open class.
    pub by_cap: bool,
}

/// A class's place in virtual time, and the virtual time of the peers in it.
#[derive(Clone, Copy, Debug)]
struct Lane {
    flow: Flow,
    clock: u128,
}

/// Something that is owed bytes in proportion to its weight.
#[derive(Clone, Copy, Debug)]
struct Flow {
    weight: u64,
    /// Virtual time up to which it has been served.
    pass: u128,
}

/// Whose turn it could be; the least is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ServingTurn {
    lane_pass: u128,
    side: UploadSide,
    peer_pass: u128,
    peer: PeerIndex,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct WaitingPeer {
    peer: UploadPeer,
    flow: Flow,
    /// Length of the block it would be sent next.
    wanted_len: Option<u32>,
}

impl From<Class> for UploadSide {
    fn from(class: Class) -> Self {
        #[cfg(feature = "mutants")]
        if mutants::has(Mutant::ClassesSwapped) {
            return if class == Class::Paid {
                Self::Open
            } else {
                Self::Paid
            };
        }
        match class {
            Class::Paid => Self::Paid,
            Class::Reciprocal | Class::Optimistic => Self::Open,
        }
    }
}

impl UploadQueue {
    /// Nobody to serve, no limit.
    pub fn new(open_share_percent: u8) -> Self {
        let mut queue = Self {
            limiter: Limiter::new(),
            open_cap: None,
            held: HeldBack::default(),
            paid: Lane::new(),
            open: Lane::new(),
            clock: 0,
            peers: BTreeMap::new(),
        };
        queue.set_open_share(open_share_percent);
        queue
    }

    /// Percent of the rate that the open class gets while the paid class wants bytes too. Held
    /// within 1 and 99: neither class is ever starved.
    pub fn set_open_share(&mut self, percent: u8) {
        #[cfg(feature = "mutants")]
        let percent = if mutants::has(Mutant::OpenShareIgnored) {
            0
        } else {
            percent
        };
        let shares = ClassShares::new(percent);
        self.open.flow.weight = shares.weight(UploadSide::Open);
        self.paid.flow.weight = shares.weight(UploadSide::Paid);
        assert!(self.open.flow.weight > 0, "the open class is never starved");
        assert!(self.paid.flow.weight > 0, "the paid class is never starved");
    }

    /// Bytes per second that the open class may send at most; `None` for what the limits let pass.
    pub fn set_open_cap(&mut self, rate: Option<u64>, now: Instant) {
        match (&mut self.open_cap, rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate, now),
            (cap, rate) => *cap = rate.map(|rate| Bucket::with_burst(rate, CAP_BURST, now)),
        }
    }

    /// What held back a block since this was last asked.
    pub fn take_held(&mut self) -> HeldBack {
        std::mem::take(&mut self.held)
    }

    /// The buckets, to change their rates.
    pub const fn limiter_mut(&mut self) -> &mut Limiter {
        &mut self.limiter
    }

    /// Adds a peer or changes how it is served; what it wants stays.
    pub fn set_peer(&mut self, peer: PeerIndex, how: UploadPeer) {
        let clock = self.lane(how.side).clock;
        let weight = how.weight.max(1);
        let fresh = WaitingPeer {
            peer: how,
            flow: Flow {
                weight,
                pass: clock,
            },
            wanted_len: None,
        };
        let entry = self.peers.entry(peer).or_insert(fresh);
        if entry.peer.side != how.side {
            entry.flow.pass = clock;
        }
        entry.peer = how;
        entry.flow.weight = weight;
    }

    /// Removes a peer that was choked or is gone. No effect if it is not in.
    pub fn remove_peer(&mut self, peer: PeerIndex) {
        self.peers.remove(&peer);
    }

    /// Says which block the peer would be sent next, by its length (1 byte to 16 KiB, checked by
    /// the session); `None` if it wants nothing or its connection has enough in flight.
    pub fn set_wanted(&mut self, peer: PeerIndex, len: Option<u32>) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.wanted_len = len;
        }
    }

    /// The peer whose wanted block is to be sent now, and its length; the bytes are taken from the
    /// buckets and the peer wants nothing until told otherwise. `None`: nobody may be served now.
    pub fn next(&mut self, now: Instant) -> Option<(PeerIndex, u32)> {
        let catch_up = self.catch_up_bytes();
        let mut best: Option<ServingTurn> = None;
        for (peer, entry) in &self.peers {
            let Some(len) = entry.wanted_len else {
                continue;
            };
            let side = entry.peer.side;
            if side == UploadSide::Open && !is_ready(&mut self.open_cap, len, now) {
                self.held.by_cap = true;
                continue;
            }
            let lane = match side {
                UploadSide::Paid => &self.paid,
                UploadSide::Open => &self.open,
            };
            let turn = ServingTurn {
                lane_pass: lane.flow.pass_at(self.clock, catch_up),
                side,
                peer_pass: entry.flow.pass_at(lane.clock, catch_up),
                peer: *peer,
                len,
            };
            if best.is_some_and(|best| best < turn) {
                continue;
            }
            let torrent = entry.peer.torrent;
            if self.limiter.torrent_is_ready(torrent, u64::from(len), now) {
                best = Some(turn);
            }
        }
        let ServingTurn {
            peer, len, side, ..
        } = best?;
        let entry = self
            .peers
            .get(&peer)
            .copied()
            .expect("chosen from this map");
        // If the node has no tokens for this block, a shorter one must not slip past it.
        if !self.limiter.take(entry.peer.torrent, u64::from(len), now) {
            self.held.by_limit = true;
            return None;
        }
        if let Some(cap) = self.open_cap.as_mut().filter(|_| side == UploadSide::Open) {
            assert!(
                cap.take(u64::from(len), now),
                "it was just seen to be ready"
            );
        }
        self.charge(peer, entry, len, catch_up);
        Some((peer, len))
    }

    /// Returns bytes that were taken for a peer's block that was then not sent.
    pub fn give_back(&mut self, peer: PeerIndex, bytes: u64) {
        let Some(entry) = self.peers.get(&peer) else {
            return;
        };
        self.limiter.give_back(entry.peer.torrent, bytes);
        let of_cap = entry.peer.side == UploadSide::Open;
        if let Some(cap) = self.open_cap.as_mut().filter(|_| of_cap) {
            cap.give_back(bytes);
        }
    }

    /// When to call [`UploadQueue::next`] again after it returned `None`; `None` while nobody wants
    /// anything that could ever be sent. Never sooner than one [`LUMP`] from `now`, or a fifth of
    /// that where the cap is what is waited for.
    pub fn next_refill(&mut self, now: Instant) -> Option<Instant> {
        let limiter = &mut self.limiter;
        let cap = &mut self.open_cap;
        let ready = self.peers.values().filter_map(|entry| {
            let len = u64::from(entry.wanted_len?);
            let at = limiter.ready_at(entry.peer.torrent, len, now)?;
            let limited = at.max(now.after(LUMP));
            match cap.as_mut().filter(|_| entry.peer.side == UploadSide::Open) {
                Some(cap) if at <= now => Some(cap.ready_at(len, now)?.max(now.after(CAP_LUMP))),
                Some(cap) => Some(limited.max(cap.ready_at(len, now)?)),
                None => Some(limited),
            }
        });
        let ready = ready.min();
        #[cfg(feature = "mutants")]
        if mutants::has(Mutant::RefillLate) {
            return ready.map(|at| at.after(Duration::from_millis(500)));
        }
        ready
    }

    /// In which class a peer is served, and whether it wants a block now; `None` for one that is
    /// not served.
    pub fn service_of(&self, peer: PeerIndex) -> Option<(UploadSide, bool)> {
        let entry = self.peers.get(&peer)?;
        Some((entry.peer.side, entry.wanted_len.is_some()))
    }

    /// Whether somebody of this class wants bytes.
    pub fn is_wanted(&self, side: UploadSide) -> bool {
        let wants = |entry: &WaitingPeer| entry.peer.side == side && entry.wanted_len.is_some();
        self.peers.values().any(wants)
    }

    /// Asserts what always holds of the buckets, the lanes and the peers in them.
    pub fn check_invariants(&self) {
        self.limiter.check_invariants();
        self.open_cap.iter().for_each(Bucket::check_invariants);
        let weights = self.open.flow.weight + self.paid.flow.weight;
        assert_eq!(weights, 100, "the two classes share everything");
        for entry in self.peers.values() {
            assert_eq!(
                entry.flow.weight,
                entry.peer.weight.max(1),
                "a peer is served by its weight"
            );
        }
    }

    fn charge(&mut self, peer: PeerIndex, entry: WaitingPeer, len: u32, catch_up: u64) {
        assert_eq!(entry.wanted_len, Some(len), "a peer is sent what it wants");
        let node_clock = self.clock;
        let lane = self.lane(entry.peer.side);
        let lane_start = lane.flow.serve(len, node_clock, catch_up);
        let mut flow = entry.flow;
        let peer_start = flow.serve(len, lane.clock, catch_up);
        lane.clock = lane.clock.max(peer_start);
        self.clock = self.clock.max(lane_start);
        self.peers.insert(
            peer,
            WaitingPeer {
                flow,
                wanted_len: None,
                ..entry
            },
        );
    }

    fn catch_up_bytes(&self) -> u64 {
        match &self.limiter.node {
            Some(node) => node
                .burst_bytes()
                .max(u64::from(CATCH_UP_BLOCKS_MIN * BLOCK_LEN)),
            None => u64::from(CATCH_UP_BLOCKS_UNLIMITED * BLOCK_LEN),
        }
    }

    const fn lane(&mut self, side: UploadSide) -> &mut Lane {
        match side {
            UploadSide::Paid => &mut self.paid,
            UploadSide::Open => &mut self.open,
        }
    }
}

/// Whether a cap, if there is one, lets `len` bytes pass now.
fn is_ready(cap: &mut Option<Bucket>, len: u32, now: Instant) -> bool {
    let ready = |cap: &mut Bucket| cap.ready_at(u64::from(len), now) == Some(now);
    cap.as_mut().is_none_or(ready)
}

impl Lane {
    const fn new() -> Self {
        Self {
            flow: Flow { weight: 1, pass: 0 },
            clock: 0,
        }
    }
}

impl Flow {
    /// Its place if it is served now: what it missed while not ready is forgotten but for a little.
    fn pass_at(&self, clock: u128, catch_up_bytes: u64) -> u128 {
        self.pass
            .max(clock.saturating_sub(self.virtual_time(catch_up_bytes)))
    }

    /// Counts `len` bytes; returns the virtual time at which that service began.
    fn serve(&mut self, len: u32, clock: u128, catch_up_bytes: u64) -> u128 {
        let start = self.pass_at(clock, catch_up_bytes);
        assert!(start >= self.pass, "nobody is served before it was");
        self.pass = start.saturating_add(self.virtual_time(u64::from(len)));
        start
    }

    fn virtual_time(&self, bytes: u64) -> u128 {
        assert!(self.weight > 0, "everybody has a share");
        (u128::from(bytes) * PASS_PER_BYTE) / u128::from(self.weight)
    }
}

#[cfg(test)]
mod tests;
