//! A node's downlink: what arrives leaves it byte by byte in turn, and nobody sends more than it
//! and the way to it can hold.
//!
//! Room is reserved when a segment enters its sender's modem, so that a slow receiver's bytes never
//! stand there in the way of others'. How much one connection may have on its way depends on what
//! is free, in the manner of shared-memory switches (Choudhury and Hahne, "Dynamic queue length
//! thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6, 1998):
//! a connection alone gets everything, several that want more than there is get the same each, and
//! one that a sender holds up keeps nobody waiting. With turns at both ends that is max–min fair
//! (Hahne, "Round-robin scheduling for max-min fairness in data networks", IEEE JSAC 9, 1991).

use std::collections::VecDeque;

use seedbank_ledger::{Duration, Instant};

use super::config::{LinkConfig, both, bytes_in, time_of};
use super::pipe::{LinkSegment, PipeId};

/// A connection may have so many times the bytes on their way that are free.
const SHARE: u64 = 4;
/// Time after which the longest way there was is forgotten, at most doubled.
const TRANSIT_FOR: Duration = Duration::from_secs(1);

/// The downlink of one node.
#[derive(Debug)]
pub(super) struct Downlink {
    /// `None`: everything passes at once.
    rate: Option<u64>,
    buffer: Duration,
    /// Bytes that a connection is owed in its turn.
    pub(super) quantum: u64,
    /// Connections with something that arrived, in turn.
    pub(super) turn: VecDeque<PipeId>,
    /// What is passing.
    pub(super) passing: Option<LinkSegment>,
    /// Bytes on their way, of all connections.
    reserved: u64,
    /// Longest time from a modem's entry to here, in this while and in the one before.
    transits: [Duration; 2],
    transits_since: Instant,
}

impl Downlink {
    pub(super) fn new(config: &LinkConfig) -> Self {
        Self {
            rate: config.downlink,
            buffer: config.buffer,
            quantum: config.downlink.map_or(0, LinkConfig::segment_len),
            turn: VecDeque::new(),
            passing: None,
            reserved: 0,
            transits: [Duration::ZERO; 2],
            transits_since: Instant::ZERO,
        }
    }

    /// Whether a connection with `in_flight` bytes on their way may send `len` more, which would
    /// take `transit` to arrive. Never `false` if nothing is on its way: each delivery is a new
    /// chance, so that nobody waits for ever.
    pub(super) fn has_room(&self, in_flight: u64, len: u64, transit: Duration) -> bool {
        let Some(rate) = self.rate else { return true };
        if in_flight == 0 || in_flight + len <= 2 * self.quantum {
            return true;
        }
        let [one, other] = self.transits;
        let whole = both(self.buffer, transit.max(one).max(other));
        // Of a connection alone, SHARE in SHARE + 1 parts are used.
        let whole = bytes_in(whole, rate) / SHARE * (SHARE + 1);
        in_flight + len <= SHARE.saturating_mul(whole.saturating_sub(self.reserved))
    }

    /// Bytes are on their way.
    pub(super) fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    /// Bytes are no longer on their way.
    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// A segment is here; how long it was on its way is remembered for a while.
    pub(super) fn arrived(&mut self, segment: &LinkSegment, now: Instant) {
        if now.since(self.transits_since) >= TRANSIT_FOR {
            self.transits = [Duration::ZERO, self.transits[0]];
            self.transits_since = now;
        }
        let transit = now.since(segment.admitted_at);
        self.transits[0] = self.transits[0].max(transit);
    }

    /// How long a segment takes to pass; `None` if it passes at once.
    pub(super) fn time_of(&self, segment: &LinkSegment) -> Option<Duration> {
        self.rate.map(|rate| time_of(segment.len, rate))
    }

    /// Bytes on their way, of all connections.
    pub(super) const fn reserved(&self) -> u64 {
        self.reserved
    }
}
