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

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque, binary_heap::PeekMut};

use seedbank_ledger::{Duration, Instant};

use super::config::{LinkConfig, SEGMENT_MAX, both, bytes_in, time_of};
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
    /// What is passing, and when it will have passed.
    pub(super) passing: Option<(Instant, LinkSegment)>,
    /// Of each connection with something on its way here, what comes first.
    coming: BinaryHeap<Reverse<Coming>>,
    /// When it is looked at.
    wakes_at: Option<Instant>,
    /// Bytes on their way, of all connections.
    reserved: u64,
    /// Longest time from a modem's entry to here, in this while and in the one before.
    transits: [Duration; 2],
    transits_since: Instant,
}

/// A segment that will arrive; of those that arrive together, who was sent first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Coming {
    pub(super) at: Instant,
    admitted_at: Instant,
    pub(super) pipe: PipeId,
    len: u64,
}

impl Coming {
    pub(super) const fn new(at: Instant, segment: &LinkSegment) -> Self {
        Self {
            at,
            admitted_at: segment.admitted_at,
            pipe: segment.pipe,
            len: segment.len(),
        }
    }
}

impl Downlink {
    pub(super) fn new(config: &LinkConfig) -> Self {
        Self {
            rate: config.downlink,
            buffer: config.buffer,
            quantum: config
                .downlink
                .map_or(SEGMENT_MAX, |rate| config.segment_len(rate)),
            turn: VecDeque::new(),
            passing: None,
            coming: BinaryHeap::new(),
            wakes_at: None,
            reserved: 0,
            transits: [Duration::ZERO; 2],
            transits_since: Instant::ZERO,
        }
    }

    /// Whether a connection that has not heard of `in_flight` bytes may send `len` more, which
    /// would take `transit` to arrive, and the word of them `back`. Never `false` if nothing is on
    /// its way: each acknowledgement is a new chance, so that nobody waits for ever.
    pub(super) fn has_room(
        &self,
        in_flight: u64,
        len: u64,
        [transit, back]: [Duration; 2],
    ) -> bool {
        let Some(rate) = self.rate else { return true };
        if in_flight == 0 || in_flight + len <= 2 * self.quantum {
            return true;
        }
        let [one, other] = self.transits;
        let whole = both(self.buffer, transit.max(one).max(other));
        // Of a connection alone, SHARE in SHARE + 1 parts are used.
        let whole = bytes_in(whole, rate) / SHARE * (SHARE + 1);
        let most = SHARE.saturating_mul(whole.saturating_sub(self.reserved));
        // A segment more, so that nothing is lost where few fit.
        in_flight <= most.saturating_add(bytes_in(back, rate))
    }

    /// Bytes are on their way.
    pub(super) fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    /// Bytes are no longer on their way.
    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// A segment will arrive, and nothing of its connection before it.
    pub(super) fn expect(&mut self, first: Coming) {
        self.coming.push(Reverse(first));
    }

    /// The first that was to arrive by now.
    pub(super) fn next_arrival(&self, now: Instant) -> Option<Coming> {
        let Reverse(first) = self.coming.peek()?;
        (first.at <= now).then_some(*first)
    }

    /// The first has arrived, or never will; what comes next on its connection.
    pub(super) fn came(&mut self, next: Option<Coming>) {
        let first = self.coming.peek_mut().expect("the caller saw it");
        match next {
            Some(next) => *{ first } = Reverse(next),
            None => {
                PeekMut::pop(first);
            }
        }
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

    /// What was passing, if it has passed by now.
    pub(super) fn next_passed(&mut self, now: Instant) -> Option<LinkSegment> {
        let (_, segment) = self.passing.take_if(|(until, _)| *until <= now)?;
        Some(segment)
    }

    /// When it is to be looked at, if that is earlier than was known: the next has passed then,
    /// unless another arrives before it does.
    #[must_use = "it has to be looked at then"]
    pub(super) fn wake(&mut self) -> Option<Instant> {
        let first = || {
            let Reverse(first) = self.coming.peek()?;
            Some(first.at.after(self.time_of(first.len)))
        };
        let at = self.passing.map(|(until, _)| until).or_else(first)?;
        if self.wakes_at.is_some_and(|known| known <= at) {
            return None;
        }
        self.wakes_at = Some(at);
        Some(at)
    }

    /// Whether it was to be looked at now; other times were put forward.
    pub(super) fn woken(&mut self, now: Instant) -> bool {
        self.wakes_at.take_if(|at| *at == now).is_some()
    }

    /// How long so many bytes take to pass.
    pub(super) fn time_of(&self, len: u64) -> Duration {
        let rate = self.rate;
        rate.map_or(Duration::ZERO, |rate| time_of(len, rate))
    }

    /// Stops the program if nobody would look at what comes.
    pub(super) fn check_invariants(&self) {
        let next = self.coming.peek().map(|Reverse(first)| first.at);
        assert!(
            self.passing.is_none() && next.is_none() || self.wakes_at.is_some(),
            "who expects something is woken"
        );
        assert!(
            self.passing.is_some() || self.turn.is_empty(),
            "nothing waits for nothing"
        );
    }

    /// Bytes on their way, of all connections.
    pub(super) const fn reserved(&self) -> u64 {
        self.reserved
    }
}
