//! What a node's uplink carries, when nobody has said how much that is.
//!
//! With a limit below what the uplink carries, the limiter splits it between the classes to the
//! byte. Without one, or above it, the queue is in a modem that serves whoever fills it; then the
//! open class is held to its share of what arrives ([`ratio`]). Which of the two it is shows in
//! how often the node's own limit holds something back.

pub mod ratio;

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::{Duration, Instant};

use crate::transfer::limiter::{HeldBack, UploadSide};
use crate::transfer::uplink::ratio::{RatioControl, RatioTick};
use crate::units::PeerIndex;

/// Time between two measurements of the way out.
pub const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// The node's own limit is the bottleneck if it held something back in so many of a thousand ticks.
const LIMITED_MIN: u64 = 800;

/// What the transport knows of the way to a peer (on Linux `TCP_INFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkSample {
    /// Whose connection.
    pub peer: PeerIndex,
    /// Bytes that the peer's transport has acknowledged since the connection began, of any kind.
    pub acknowledged: u64,
    /// Bytes handed to the kernel that have not been sent once.
    pub unsent: u64,
    /// Smoothed time there and back, of bytes and their acknowledgement.
    pub rtt: Duration,
    /// The least of it that was seen.
    pub rtt_min: Duration,
}

/// How a measured connection is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkFlow {
    /// In which class.
    pub side: UploadSide,
    /// Whether a block could be sent to it now, or was handed over and has not left.
    pub backlog: bool,
}

/// What is measured of the way out while paid peers are served, and the cap that follows.
#[derive(Clone, Debug)]
pub struct Uplink {
    control: RatioControl,
    /// Acknowledged so far, of every connection in the last measurement but those that were idle.
    acknowledged: BTreeMap<PeerIndex, u64>,
    measured_at: Option<Instant>,
    /// Per mille of ticks in which the node's own limit held something back.
    limited: u64,
    /// Who is served as paid.
    paid: BTreeSet<PeerIndex>,
    joined: bool,
}

impl Uplink {
    /// Nothing measured. `open_share` in percent; without a measurement a limit is believed to be
    /// what holds.
    pub fn new(open_share: u8, has_limit: bool) -> Self {
        Self {
            control: RatioControl::new(open_share),
            acknowledged: BTreeMap::new(),
            measured_at: None,
            limited: if has_limit { 1_000 } else { 0 },
            paid: BTreeSet::new(),
            joined: false,
        }
    }

    /// Changes the open class's share, in percent.
    pub fn set_open_share(&mut self, percent: u8) {
        self.control.set_open_share(percent);
    }

    /// Who is served as paid from now.
    pub fn set_paid(&mut self, paid: BTreeSet<PeerIndex>) {
        self.joined |= !paid.is_subset(&self.paid);
        self.paid = paid;
    }

    /// Whether the queue is somewhere on the way, and not in front of the node's own limit.
    pub const fn is_outside(&self) -> bool {
        self.limited < LIMITED_MIN
    }

    /// Takes a measurement; gives the bytes per second that the open class may send, `None` for no
    /// cap. `flow_of` is asked for every connection in it; one it does not know counts as open.
    pub fn measured(
        &mut self,
        samples: &[UplinkSample],
        flow_of: impl Fn(PeerIndex) -> Option<UplinkFlow>,
        held: HeldBack,
        now: Instant,
    ) -> Option<u64> {
        let limited = if held.by_limit { 1_000 } else { 0 };
        self.limited = ratio::toward(self.limited, limited, 100);
        let mut tick = self.add_up(samples, flow_of);
        tick.open_held = held.by_cap;
        tick.joined = std::mem::take(&mut self.joined);
        let elapsed = self.measured_at.map(|at| now.since(at));
        self.measured_at = Some(now);
        // Without a measurement before this one the bytes belong to no time.
        let elapsed = elapsed.filter(|elapsed| *elapsed > Duration::ZERO)?;
        tick.paid = per_second(tick.paid, elapsed);
        tick.open = per_second(tick.open, elapsed);
        if !self.is_outside() {
            self.control.stop();
            return None;
        }
        self.control.tick(tick, now);
        self.control.cap()
    }

    /// Asserts what holds of the control.
    pub fn check_invariants(&self) {
        self.control.check_invariants();
        assert!(self.limited <= 1_000, "a part of all ticks");
    }

    /// Bytes acknowledged since the last time, by class, and the shortest queue on the way.
    fn add_up(
        &mut self,
        samples: &[UplinkSample],
        flow_of: impl Fn(PeerIndex) -> Option<UplinkFlow>,
    ) -> RatioTick {
        let mut tick = RatioTick {
            paid: 0,
            open: 0,
            queue: Duration::ZERO,
            paid_backlog: false,
            open_held: false,
            joined: false,
        };
        let mut queue: Option<Duration> = None;
        for sample in samples {
            let before = self
                .acknowledged
                .insert(sample.peer, sample.acknowledged)
                .unwrap_or(sample.acknowledged);
            let bytes = sample.acknowledged.saturating_sub(before);
            let flow = flow_of(sample.peer);
            if flow.is_some_and(|flow| flow.side == UploadSide::Paid) {
                tick.paid += bytes;
            } else {
                tick.open += bytes;
            }
            let waits = flow.is_some_and(|flow| flow.backlog) || sample.unsent > 0;
            let is_paid = flow.is_some_and(|flow| flow.side == UploadSide::Paid);
            tick.paid_backlog |= is_paid && waits;
            let excess = sample
                .rtt
                .as_nanos()
                .saturating_sub(sample.rtt_min.as_nanos());
            let excess = Duration::from_nanos(excess);
            queue = Some(queue.map_or(excess, |queue| queue.min(excess)));
        }
        tick.queue = queue.unwrap_or(Duration::ZERO);
        tick
    }

    /// A connection is gone.
    pub fn closed(&mut self, peer: PeerIndex) {
        self.acknowledged.remove(&peer);
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(elapsed.as_nanos());
    u64::try_from(rate).unwrap_or(u64::MAX)
}
