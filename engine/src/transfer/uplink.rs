//! What a node's uplink carries, when nobody has said how much that is.
//!
//! With a limit below what the uplink carries, the limiter splits it between the classes to the
//! byte. Without one, or above it, the queue is in a modem that serves whoever fills it; then the
//! open class is held to its share of what arrives ([`ratio`]). Which of the two it is shows in
//! how often the node's own limit holds something back.

pub mod ratio;

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::{Duration, Instant, NodeId};

use crate::transfer::limiter::{HeldBack, UploadSide};
use crate::transfer::uplink::ratio::{RatioControl, RatioTick};
use crate::units::PeerIndex;

/// Time between two measurements of the way out.
pub const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// The node's own limit is the bottleneck from so many of a thousand ticks on in which it held
/// something back, until there are as few as the second.
const LIMITED: (u64, u64) = (900, 700);
/// A paid peer that has acknowledged nothing for so long wants nothing of the uplink, whatever
/// stands in its socket.
const STILL_MAX: Duration = Duration::from_secs(3);
/// For so long a connection speaks of the queue: one that is held back moves now and then only, and
/// it is by these that a payer's own slow line is told from the uplink.
const FRESH: Duration = Duration::from_secs(2);
/// Bytes of a segment, about: so many acknowledgements went into a round-trip time at most.
const SEGMENT: u64 = 1_448;
/// Acknowledgements that are counted between two measurements: fewer would be guessing, more are as
/// good as all.
const ACKS: (u64, u64) = (4, 24);
/// For so long after the last paid peer what was learned is kept: one that comes back finds it.
const LINGER: Duration = Duration::from_secs(10);

/// What the transport knows of the way to a peer (on Linux `TCP_INFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkSample {
    /// Whose connection.
    pub peer: PeerIndex,
    /// Bytes that the peer's transport has acknowledged since the connection began, of any kind and
    /// in any order.
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
    /// Every connection in a measurement so far.
    seen: BTreeMap<PeerIndex, Seen>,
    measured_at: Option<Instant>,
    /// The shortest queue when last somebody acknowledged anything.
    queue: Duration,
    /// Per mille of ticks in which the node's own limit held something back.
    limited: u64,
    is_outside: bool,
    /// Keys that were served as paid when this began: the first start is theirs.
    first: Option<BTreeSet<NodeId>>,
    /// Keys that have paid a piece and were served as paid since this began.
    payers: BTreeSet<NodeId>,
    joined: bool,
    /// Bytes that were on their way to paid peers when these left: they took room like any other.
    gone: u64,
    /// When the last paid peer was gone.
    idle_since: Option<Instant>,
}

/// A connection, as last measured.
#[derive(Clone, Copy, Debug)]
struct Seen {
    acknowledged: u64,
    unsent: u64,
    /// When it last acknowledged anything.
    moved_at: Instant,
    /// The round-trip time then, smoothed by the transport; `None` before the first.
    rtt: Option<Duration>,
    /// What stood on the way then.
    queue: Duration,
    /// The least round-trip time of all measurements: the kernel forgets its own after minutes.
    rtt_min: Duration,
}

impl Uplink {
    /// Nothing measured. `open_share` in percent; without a measurement a limit is believed to be
    /// what holds.
    pub fn new(open_share: u8, has_limit: bool) -> Self {
        Self {
            control: RatioControl::new(open_share),
            seen: BTreeMap::new(),
            measured_at: None,
            queue: Duration::ZERO,
            limited: if has_limit { 1_000 } else { 0 },
            is_outside: !has_limit,
            first: None,
            payers: BTreeSet::new(),
            joined: false,
            gone: 0,
            idle_since: None,
        }
    }

    /// Changes the open class's share, in percent.
    pub fn set_open_share(&mut self, percent: u8) {
        self.control.set_open_share(percent);
    }

    /// Somebody is served as paid from now: who, and whether it has paid a piece.
    pub fn set_payers(&mut self, served: &[(NodeId, bool)]) {
        self.idle_since = None;
        let first = self
            .first
            .get_or_insert_with(|| served.iter().map(|(key, _)| *key).collect());
        for (key, _) in served.iter().filter(|(_, has_paid)| *has_paid) {
            self.joined |= self.payers.insert(*key) && !first.contains(key);
        }
    }

    /// Nobody is served as paid any more.
    pub fn set_idle(&mut self, now: Instant) {
        self.idle_since.get_or_insert(now);
    }

    /// Whether nobody has been served as paid for so long that nothing is worth keeping.
    pub fn is_over(&self, now: Instant) -> bool {
        self.idle_since.is_some_and(|at| now.since(at) >= LINGER)
    }

    /// Whether the queue is somewhere on the way, and not in front of the node's own limit.
    pub const fn is_outside(&self) -> bool {
        self.is_outside
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
        let elapsed = match self.measured_at {
            Some(at) if at == now => return self.cap(),
            at => at.map(|at| now.since(at)),
        };
        self.measured_at = Some(now);
        self.note_limit(held.by_limit);
        let mut tick = self.add_up(samples, flow_of, now);
        tick.open_held = held.by_cap;
        // Without a measurement before this one the bytes belong to no time.
        let elapsed = elapsed?;
        tick.joined = std::mem::take(&mut self.joined);
        tick.paid = tick.paid.saturating_add(std::mem::take(&mut self.gone));
        tick.paid = per_second(tick.paid, elapsed);
        tick.open = per_second(tick.open, elapsed);
        if self.is_outside {
            self.control.tick(tick, now);
        } else {
            self.control.stop();
        }
        self.cap()
    }

    fn cap(&self) -> Option<u64> {
        match self.idle_since {
            None => self.control.cap(),
            Some(_) => None,
        }
    }

    fn note_limit(&mut self, by_limit: bool) {
        let limited = if by_limit { 1_000 } else { 0 };
        self.limited = ratio::toward(self.limited, limited, 100);
        if self.limited >= LIMITED.0 {
            self.is_outside = false;
        } else if self.limited <= LIMITED.1 {
            self.is_outside = true;
        }
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
        now: Instant,
    ) -> RatioTick {
        let (mut paid, mut open, mut paid_backlog) = (0_u64, 0_u64, false);
        for sample in samples {
            let flow = flow_of(sample.peer);
            let (bytes, seen) = self.see(sample, now);
            if flow.is_some_and(|flow| flow.side == UploadSide::Paid) {
                paid = paid.saturating_add(bytes);
                let waits = flow.is_some_and(|flow| flow.backlog) || sample.unsent > 0;
                paid_backlog |= waits && now.since(seen.moved_at) < STILL_MAX;
            } else {
                open = open.saturating_add(bytes);
            }
        }
        let is_fresh = |seen: &&Seen| seen.rtt.is_some() && now.since(seen.moved_at) < FRESH;
        let fresh = self.seen.values().filter(is_fresh);
        self.queue = fresh.map(|seen| seen.queue).min().unwrap_or(self.queue);
        RatioTick {
            paid,
            open,
            queue: self.queue,
            paid_backlog,
            open_held: false,
            joined: false,
        }
    }

    /// Bytes that a connection has acknowledged since it was last seen, and how it stands.
    fn see(&mut self, sample: &UplinkSample, now: Instant) -> (u64, Seen) {
        let rtt_min = sample.rtt_min.min(sample.rtt);
        let seen = self.seen.entry(sample.peer).or_insert(Seen {
            acknowledged: sample.acknowledged,
            unsent: 0,
            moved_at: now,
            rtt: None,
            queue: Duration::ZERO,
            rtt_min,
        });
        let bytes = sample.acknowledged.saturating_sub(seen.acknowledged);
        seen.acknowledged = sample.acknowledged;
        seen.unsent = sample.unsent;
        if bytes > 0 {
            seen.moved_at = now;
            seen.rtt_min = seen.rtt_min.min(rtt_min);
            let newest = newest_rtt(seen.rtt.unwrap_or(sample.rtt), sample.rtt, bytes);
            let queue = newest.as_nanos().saturating_sub(seen.rtt_min.as_nanos());
            seen.queue = Duration::from_nanos(queue);
            seen.rtt = Some(sample.rtt);
        }
        (bytes, *seen)
    }

    /// A connection begins: whatever it acknowledges counts. Keys that come and go would have a
    /// tenth of a second for nothing otherwise, each time, and the open class would pay for it.
    pub fn opened(&mut self, peer: PeerIndex) {
        let seen = Seen {
            acknowledged: 0,
            unsent: 0,
            moved_at: self.measured_at.unwrap_or(Instant::ZERO),
            rtt: None,
            queue: Duration::ZERO,
            rtt_min: Duration::from_nanos(u64::MAX),
        };
        self.seen.insert(peer, seen);
    }

    /// A connection is gone. `sent` is what was handed to the kernel for a paid peer: what of it
    /// was under way has taken its room.
    pub fn closed(&mut self, peer: PeerIndex, sent: Option<u64>) {
        let Some(seen) = self.seen.remove(&peer) else {
            return;
        };
        let arrived = seen.acknowledged.saturating_add(seen.unsent);
        let under_way = sent.map_or(0, |sent| sent.saturating_sub(arrived));
        self.gone = self.gone.saturating_add(under_way);
    }
}

/// Where a smoothed round-trip time is going: the transport moves it an eighth of the way with each
/// acknowledgement (RFC 6298), so that after a few it still tells of a queue that is long gone.
fn newest_rtt(before: Duration, after: Duration, bytes: u64) -> Duration {
    let acks = (bytes / SEGMENT).clamp(ACKS.0, ACKS.1);
    let left = (0..acks).fold(1_000, |left, _| left * 7 / 8);
    let part = 1_000 - left;
    let (before, after) = (before.as_nanos(), after.as_nanos());
    let way = |from: u64, to: u64| (to - from).saturating_mul(1_000) / part;
    Duration::from_nanos(match after.checked_sub(before) {
        Some(_) => before.saturating_add(way(before, after)),
        None => before.saturating_sub(way(after, before)),
    })
}

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(elapsed.as_nanos().max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYER: PeerIndex = PeerIndex(1);
    const FRIEND: PeerIndex = PeerIndex(2);
    const NOTHING_HELD: HeldBack = HeldBack {
        by_limit: false,
        by_cap: false,
    };

    fn at(tick: u64) -> Instant {
        Instant::ZERO.after(MEASURE_EVERY.times(tick))
    }

    fn sample(peer: PeerIndex, acknowledged: u64, rtt_ms: u64, rtt_min_ms: u64) -> UplinkSample {
        UplinkSample {
            peer,
            acknowledged,
            unsent: 1,
            rtt: Duration::from_millis(rtt_ms),
            rtt_min: Duration::from_millis(rtt_min_ms),
        }
    }

    fn flow_of(peer: PeerIndex) -> Option<UplinkFlow> {
        let side = match peer {
            PAYER => UploadSide::Paid,
            _ => UploadSide::Open,
        };
        Some(UplinkFlow {
            side,
            backlog: true,
        })
    }

    /// Measures so many ticks in which the payer acknowledges `step` each; the last cap.
    fn run(uplink: &mut Uplink, from: u64, ticks: u64, step: u64) -> Option<u64> {
        let mut cap = None;
        for tick in from..from + ticks {
            let bytes = from * 10_000 + (tick - from) * step;
            let samples = [sample(PAYER, bytes, 100, 10)];
            cap = uplink.measured(&samples, flow_of, NOTHING_HELD, at(tick));
            uplink.check_invariants();
        }
        cap
    }

    #[test]
    fn who_acknowledges_nothing_wants_nothing() {
        let mut uplink = Uplink::new(30, false);
        assert!(run(&mut uplink, 0, 20, 10_000).is_some());
        // Three seconds of standing still, and the backlog is forgotten in a little more than one.
        let mut still = uplink.clone();
        assert!(run(&mut still, 20, 30, 0).is_some());
        assert_eq!(run(&mut uplink, 20, 45, 0), None);
    }

    /// Half of what such a key takes would count for nothing, were only differences counted.
    #[test]
    fn a_connection_counts_from_its_beginning_and_what_was_under_way_at_its_end() {
        let mut uplink = Uplink::new(30, false);
        uplink.measured(&[], flow_of, NOTHING_HELD, at(0));
        for tick in 1..60 {
            uplink.opened(PAYER);
            let samples = [sample(PAYER, 10_000, 10, 10)];
            uplink.measured(&samples, flow_of, NOTHING_HELD, at(tick));
            uplink.closed(PAYER, Some(20_001));
        }
        // All but what the first tick could not know, at 3 : 7.
        let cap = uplink.cap().expect("somebody pays");
        assert!((84_000..=86_000).contains(&cap), "{cap}");
    }

    #[test]
    fn the_least_delay_is_remembered_and_silence_says_nothing_of_the_queue() {
        let mut uplink = Uplink::new(30, false);
        let mut queue_after = |samples: &[UplinkSample], tick| {
            let tick = uplink.add_up(samples, flow_of, at(tick));
            tick.queue.as_millis()
        };
        queue_after(&[sample(PAYER, 0, 10, 10)], 0);
        assert_eq!(queue_after(&[sample(PAYER, 1, 100, 10)], 1), 90);
        // The kernel has forgotten the empty way; a peer that takes nothing, and one that joined
        // without a sample, know nothing of the queue.
        let blind = [
            sample(PAYER, 2, 100, 100),
            sample(FRIEND, 0, 0, u64::from(u32::MAX) / 1_000),
        ];
        assert_eq!(queue_after(&blind, 2), 90);
        assert_eq!(
            queue_after(&[sample(PAYER, 2, 10, 10)], 3),
            90,
            "nothing moved"
        );
    }

    /// A payer behind a slow line of its own knows of a long queue. Those who are held to a block
    /// now and then know that it is not the uplink's.
    #[test]
    fn who_is_held_back_speaks_of_the_queue_for_a_while() {
        let mut uplink = Uplink::new(30, false);
        let mut queue_after = |samples: &[UplinkSample], tick| {
            let tick = uplink.add_up(samples, flow_of, at(tick));
            tick.queue.as_millis()
        };
        let friend = sample(FRIEND, 1, 12, 10);
        assert_eq!(queue_after(&[sample(PAYER, 1, 300, 10), friend], 0), 0);
        assert_eq!(
            queue_after(&[sample(PAYER, 2, 300, 10), sample(FRIEND, 2, 12, 10)], 1),
            2
        );
        assert_eq!(queue_after(&[sample(PAYER, 3, 300, 10)], 2), 2);
        assert_eq!(queue_after(&[sample(PAYER, 4, 300, 10)], 20), 2);
        assert_eq!(queue_after(&[sample(PAYER, 5, 300, 10)], 21), 290);
    }

    #[test]
    fn the_newest_round_trip_time_is_seen_through_the_transports_smoothing() {
        let ms = Duration::from_millis;
        // As a transport would smooth 200 ms and then twelve times 10 ms.
        let smoothed = (0..12).fold(200_000_u64, |rtt, _| rtt - (rtt - 10_000) / 8);
        let smoothed = Duration::from_nanos(smoothed * 1_000);
        assert!(smoothed > ms(45));
        let newest = newest_rtt(ms(200), smoothed, 12 * SEGMENT).as_millis();
        assert!((9..=12).contains(&newest), "{newest}");
        // Of a single acknowledgement no more is made than of four.
        assert!(newest_rtt(ms(200), ms(176), SEGMENT) > ms(140));
        assert_eq!(newest_rtt(ms(20), ms(20), 0), ms(20));
    }

    /// It has had its start, and pays for its first piece late only because it is slow.
    #[test]
    fn a_key_has_one_start() {
        let (slow, next) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let mut uplink = Uplink::new(30, false);
        uplink.set_payers(&[(slow, false)]);
        uplink.set_payers(&[(slow, true)]);
        assert!(!uplink.joined);
        uplink.set_payers(&[(slow, true), (next, false)]);
        assert!(!uplink.joined, "it has paid nothing");
        uplink.set_payers(&[(slow, true), (next, true)]);
        assert!(uplink.joined);
    }

    #[test]
    fn a_limit_is_the_bottleneck_from_nine_tenths_of_the_time_down_to_seven() {
        let mut uplink = Uplink::new(30, true);
        let mut note = |by_limit, ticks| {
            (0..ticks).for_each(|_| uplink.note_limit(by_limit));
            uplink.is_outside()
        };
        assert!(!note(false, 3));
        assert!(note(false, 1));
        assert!(note(true, 10));
        assert!(!note(true, 10));
    }

    #[test]
    fn nobody_is_capped_for_payers_that_left_and_what_was_learned_lingers() {
        let mut uplink = Uplink::new(30, false);
        uplink.set_payers(&[]);
        assert!(run(&mut uplink, 0, 20, 10_000).is_some());
        uplink.set_idle(at(20));
        assert_eq!(run(&mut uplink, 20, 3, 10_000), None);
        uplink.set_payers(&[]);
        assert!(run(&mut uplink, 23, 3, 10_000).is_some(), "it is back");
        uplink.set_idle(at(30));
        assert!(!uplink.is_over(at(129)));
        assert!(uplink.is_over(at(130)));
    }
}
