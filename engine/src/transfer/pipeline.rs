//! How many blocks to ask one peer for at once, and when to stop waiting for them.
//!
//! Depth follows the bandwidth-delay product: as many blocks as the peer sends in a few seconds,
//! found by slow start. Which blocks is decided in `picker.rs`; what a snubbed peer loses, in
//! `choker.rs`.

use std::collections::VecDeque;

use seedbank_ledger::{Duration, Instant};

use crate::units::{BLOCK_LEN, Block};

/// How much of a peer's sending time is kept asked for.
pub const QUEUE_TIME_SECS: u64 = 3;
/// Least blocks asked for at once: one on its way, and some so that the next is there in time.
pub const DEPTH_MIN: usize = 4;
/// Most blocks asked for at once.
pub const DEPTH_MAX: usize = 500;
/// Requests that a peer is thought to take in when it does not say (BEP 10, `reqq`).
pub const REQQ_DEFAULT: usize = 250;
/// No block for so long, although asked: the peer snubs us.
pub const SNUB_AFTER: Duration = Duration::from_secs(30);
/// A slow peer gets the time that its last blocks took on top, but no more than this.
pub const SLOW_ALLOWANCE_MAX: Duration = Duration::from_secs(30);
/// A request that has been first in line for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(60);
/// Most requests remembered that a snubbing peer was asked for and may still answer.
pub const ABANDONED_MAX: usize = DEPTH_MAX;

const ONE_SECOND: Duration = Duration::from_secs(1);

/// What has waited too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// The peer has just become snubbed: nothing that it was asked for is waited for any more.
    pub is_newly_snubbed: bool,
    /// Requests given up, in the order they were made.
    pub lost: Vec<Block>,
}

/// Requests outstanding at one peer.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// In the order they were made, at most [`DEPTH_MAX`] unless the caller asks for more.
    outstanding: VecDeque<Block>,
    /// Not waited for since the peer snubbed us: they take no room, but an answer may still come.
    abandoned: VecDeque<Block>,
    /// When the first of them became the first: waiting behind others is not held against it.
    first_since: Instant,
    /// When a block came last, or the peer was last excused.
    progress_at: Instant,
    /// Time between the last blocks, halved with each that comes sooner.
    block_gap: Duration,
    depth: usize,
    depth_max: usize,
    is_slow_start: bool,
    is_snubbed: bool,
    second: Second,
}

/// Bytes in this second and the one before, to see whether the rate still grows.
#[derive(Clone, Copy, Debug)]
struct Second {
    started_at: Instant,
    bytes: u64,
    last_bytes: u64,
}

impl Pipeline {
    /// Nothing asked for yet.
    pub fn new(now: Instant) -> Self {
        Self {
            outstanding: VecDeque::new(),
            abandoned: VecDeque::new(),
            first_since: now,
            progress_at: now,
            block_gap: Duration::ZERO,
            depth: DEPTH_MIN,
            depth_max: REQQ_DEFAULT,
            is_slow_start: true,
            is_snubbed: false,
            second: Second {
                started_at: now,
                bytes: 0,
                last_bytes: 0,
            },
        }
    }

    /// The peer says how many requests it takes in; held within 1 and [`DEPTH_MAX`].
    pub fn set_reqq(&mut self, reqq: u64) {
        let reqq = usize::try_from(reqq).unwrap_or(DEPTH_MAX);
        self.depth_max = reqq.clamp(1, DEPTH_MAX);
    }

    /// Blocks were requested, in this order.
    pub fn requested(&mut self, blocks: &[Block], now: Instant) {
        if self.outstanding.is_empty() && !blocks.is_empty() {
            self.first_since = now;
            self.progress_at = now;
        }
        self.outstanding.extend(blocks);
    }

    /// A block came; whether it was outstanding. `rate` is what our meter says of the peer, in
    /// bytes per second. A peer that sends is not snubbing.
    pub fn arrived(&mut self, block: Block, rate: u64, now: Instant) -> bool {
        let was_outstanding = self.answered(block, now);
        if !was_outstanding {
            return false;
        }
        let halved = Duration::from_nanos(self.block_gap.as_nanos() / 2);
        self.block_gap = now.since(self.progress_at).max(halved);
        self.progress_at = self.progress_at.max(now);
        self.is_snubbed = false;
        let still_grows = self.second.count(block.len, now);
        self.is_slow_start &= still_grows;
        if self.is_slow_start {
            self.depth = (self.depth + 1).min(DEPTH_MAX);
        } else {
            let rate = rate.max(self.second.last_bytes);
            let ahead = rate.saturating_mul(QUEUE_TIME_SECS) / u64::from(BLOCK_LEN);
            self.depth = usize::try_from(ahead)
                .unwrap_or(DEPTH_MAX)
                .clamp(DEPTH_MIN, DEPTH_MAX);
        }
        true
    }

    /// A request needs no answer any more (rejected, or cancelled at a peer that answers no
    /// cancels); whether it was outstanding.
    pub fn answered(&mut self, block: Block, now: Instant) -> bool {
        let Some(place) = self.outstanding.iter().position(|one| *one == block) else {
            let abandoned = self.abandoned.iter().position(|one| *one == block);
            return abandoned
                .and_then(|place| self.abandoned.remove(place))
                .is_some();
        };
        self.outstanding.remove(place);
        if place == 0 {
            self.first_since = self.first_since.max(now);
        }
        true
    }

    /// Everything outstanding is void: the peer choked us. Returns what was waited for, in order.
    pub fn clear(&mut self) -> Vec<Block> {
        self.abandoned.clear();
        self.outstanding.drain(..).collect()
    }

    /// It is our doing that nothing comes (a rate limit stops us from reading): all clocks start
    /// again at `now`.
    pub fn excuse(&mut self, now: Instant) {
        self.first_since = self.first_since.max(now);
        self.progress_at = self.progress_at.max(now);
    }

    /// Gives up what has waited too long. Never while nothing is outstanding: what we do not ask
    /// for (a full window, no buffer) is no snub. The rate is not looked at: a meter fades in the
    /// very silence that is judged here.
    pub fn check(&mut self, _rate: u64, now: Instant) -> Overdue {
        let mut overdue = Overdue::default();
        if self.outstanding.is_empty() {
            return overdue;
        }
        if !self.is_snubbed && now.since(self.progress_at) >= self.patience() {
            self.is_snubbed = true;
            self.is_slow_start = false;
            overdue.is_newly_snubbed = true;
            // Otherwise they would fill the one place that is left, and the peer could never show
            // that it is back.
            self.abandoned.append(&mut self.outstanding);
            let surplus = self.abandoned.len().saturating_sub(ABANDONED_MAX);
            self.abandoned.drain(..surplus);
        } else if now.since(self.first_since) >= LOST_AFTER {
            overdue.lost.extend(self.outstanding.pop_front());
            self.first_since = now;
        }
        overdue
    }

    /// When [`Pipeline::check`] can next find something; `None` while nothing is outstanding.
    pub fn next_check(&self) -> Option<Instant> {
        let lost_at = self.first_since.after(LOST_AFTER);
        let snubbed_at = match self.is_snubbed {
            true => lost_at,
            false => self.progress_at.after(self.patience()),
        };
        (!self.outstanding.is_empty()).then_some(lost_at.min(snubbed_at))
    }

    /// Blocks that may be requested now.
    pub fn room(&self) -> usize {
        self.depth().saturating_sub(self.outstanding.len())
    }

    /// Blocks to keep outstanding: one at a snubbed peer.
    pub fn depth(&self) -> usize {
        match self.is_snubbed {
            true => 1,
            false => self.depth.min(self.depth_max),
        }
    }

    /// Requests that are waited for, oldest first.
    pub fn outstanding(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.outstanding.iter()
    }

    /// Whether the peer lets us request and sends nothing.
    pub const fn is_snubbed(&self) -> bool {
        self.is_snubbed
    }

    /// How long the peer may send no block: longer if one takes it long.
    fn patience(&self) -> Duration {
        let allowance = self.block_gap.min(SLOW_ALLOWANCE_MAX);
        Duration::from_nanos(SNUB_AFTER.as_nanos() + allowance.as_nanos())
    }
}

impl Second {
    /// Counts bytes; false once a whole second brought no tenth more than the one before it.
    fn count(&mut self, len: u32, now: Instant) -> bool {
        let mut still_grows = true;
        if now.since(self.started_at) >= ONE_SECOND {
            let expected = self.last_bytes.saturating_add(self.last_bytes / 10);
            still_grows = self.bytes > expected;
            self.last_bytes = self.bytes;
            self.bytes = 0;
            self.started_at = now;
        }
        self.bytes = self.bytes.saturating_add(u64::from(len));
        still_grows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::PieceIndex;

    fn at_ms(ms: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(ms))
    }

    fn block(raw: u32) -> Block {
        Block {
            piece: PieceIndex::unchecked(raw),
            begin: 0,
            len: BLOCK_LEN,
        }
    }

    fn blocks(count: u32) -> Vec<Block> {
        (0..count).map(block).collect()
    }

    /// A link of so many blocks per second and a round trip; returns the final depth and how many
    /// blocks came.
    fn run(per_second: u64, round_trip_ms: u64, secs: u64) -> (Pipeline, u64) {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.set_reqq(2_000);
        let mut next = 0;
        let mut arrivals: VecDeque<(u64, Block)> = VecDeque::new();
        let mut free_at_us = 0;
        let mut came = 0;
        for ms in 0..secs * 1_000 {
            while arrivals.front().is_some_and(|(us, _)| *us <= ms * 1_000) {
                let (_, block) = arrivals.pop_front().unwrap();
                let rate = came * u64::from(BLOCK_LEN) * 1_000 / ms.max(1_000);
                assert!(pipeline.arrived(block, rate, at_ms(ms)));
                came += 1;
            }
            for _ in 0..pipeline.room() {
                let asked = block(next);
                next += 1;
                pipeline.requested(&[asked], at_ms(ms));
                free_at_us =
                    (free_at_us + 1_000_000 / per_second).max((ms + round_trip_ms) * 1_000);
                arrivals.push_back((free_at_us, asked));
            }
        }
        (pipeline, came)
    }

    #[test]
    fn depth_grows_until_the_link_is_full() {
        for (per_second, round_trip_ms) in [(10, 50), (100, 100), (300, 20), (5_000, 200)] {
            let (pipeline, came) = run(per_second, round_trip_ms, 20);
            let possible = (per_second * 20).min(500 * 1_000 / round_trip_ms * 20);
            assert!(
                came * 100 >= possible * 80,
                "{came} of {possible} at {per_second}/s"
            );
            let wanted = usize::try_from(per_second * 3).unwrap().min(DEPTH_MAX);
            assert!(
                pipeline.depth() <= wanted + wanted / 4 + DEPTH_MIN,
                "{}",
                pipeline.depth()
            );
            assert!(!pipeline.is_snubbed());
        }
    }

    #[test]
    fn depth_never_exceeds_what_the_peer_takes_in() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.set_reqq(3);
        assert_eq!(pipeline.room(), 3);
        pipeline.set_reqq(0);
        assert_eq!(pipeline.room(), 1);
        pipeline.set_reqq(u64::MAX);
        assert_eq!(pipeline.room(), DEPTH_MIN);
        pipeline.requested(&blocks(9), at_ms(0));
        assert_eq!(pipeline.room(), 0);
    }

    #[test]
    fn silence_is_a_snub_and_a_block_ends_it() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.requested(&blocks(4), at_ms(100_000));
        // The meter reads nothing after so long a silence; that must not buy more time.
        assert_eq!(pipeline.check(0, at_ms(129_999)), Overdue::default());
        assert_eq!(pipeline.next_check(), Some(at_ms(130_000)));
        let overdue = pipeline.check(0, at_ms(130_000));
        assert!(overdue.is_newly_snubbed && overdue.lost.is_empty());
        assert!(!pipeline.check(0, at_ms(131_000)).is_newly_snubbed);
        assert!(pipeline.is_snubbed());
    }

    #[test]
    fn a_snubbing_peer_is_asked_for_one_block_at_a_time() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.requested(&blocks(4), at_ms(0));
        assert!(pipeline.check(0, at_ms(30_000)).is_newly_snubbed);
        assert_eq!((pipeline.outstanding().len(), pipeline.room()), (0, 1));
        pipeline.requested(&[block(9)], at_ms(30_000));
        assert_eq!(pipeline.room(), 0);
        assert_eq!(pipeline.check(0, at_ms(89_999)), Overdue::default());
        assert_eq!(pipeline.check(0, at_ms(90_000)).lost, [block(9)]);
        assert_eq!(pipeline.room(), 1);
        // What it owed from before counts when it comes, and can come once.
        assert!(pipeline.arrived(block(2), 1, at_ms(95_000)));
        assert!(!pipeline.arrived(block(2), 1, at_ms(95_000)));
        assert!(pipeline.answered(block(3), at_ms(95_000)));
        assert!(!pipeline.is_snubbed());
        assert!(pipeline.depth() >= DEPTH_MIN);
    }

    #[test]
    fn what_a_snubbing_peer_owes_is_bounded() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.requested(&blocks(2_000), at_ms(0));
        assert!(pipeline.check(0, at_ms(30_000)).is_newly_snubbed);
        assert_eq!(pipeline.abandoned.len(), ABANDONED_MAX);
        assert!(!pipeline.answered(block(0), at_ms(30_000)));
        assert!(pipeline.answered(block(1_999), at_ms(30_000)));
    }

    #[test]
    fn what_was_not_asked_for_is_no_snub() {
        let mut pipeline = Pipeline::new(at_ms(0));
        assert_eq!(pipeline.check(0, Instant::MAX), Overdue::default());
        assert_eq!(pipeline.next_check(), None);
        // A closed window for ten minutes, then one request: its own time counts.
        pipeline.requested(&blocks(1), at_ms(600_000));
        assert_eq!(pipeline.check(0, at_ms(600_001)), Overdue::default());
    }

    #[test]
    fn a_peer_that_we_hold_back_is_excused() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.requested(&blocks(4), at_ms(0));
        pipeline.excuse(at_ms(80_000));
        assert_eq!(pipeline.check(u64::MAX, at_ms(100_000)), Overdue::default());
    }

    #[test]
    fn a_slow_peer_gets_the_time_that_a_block_takes() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.requested(&blocks(6), at_ms(0));
        assert!(pipeline.arrived(block(0), 820, at_ms(20_000)));
        assert!(!pipeline.check(0, at_ms(69_999)).is_newly_snubbed);
        assert!(pipeline.check(0, at_ms(70_000)).is_newly_snubbed);
    }

    #[test]
    fn a_request_is_lost_by_its_own_time_at_the_front() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.requested(&blocks(60), at_ms(0));
        // Every second a block comes, but never block 0.
        for raw in 1..59 {
            let now = at_ms(u64::from(raw) * 1_000);
            assert!(pipeline.arrived(block(raw), 16_384, now));
            assert_eq!(pipeline.check(16_384, now), Overdue::default());
        }
        let overdue = pipeline.check(16_384, at_ms(60_000));
        assert_eq!(overdue.lost, [block(0)]);
        assert!(!overdue.is_newly_snubbed);
        // Block 59 has been first only since then, however long ago it was asked for.
        assert!(pipeline.check(0, at_ms(61_000)).lost.is_empty());
        assert!(pipeline.answered(block(59), at_ms(62_000)));
        assert_eq!(pipeline.outstanding().len(), 0);
        assert_eq!(pipeline.next_check(), None);
    }

    #[test]
    fn a_choke_voids_what_is_outstanding() {
        let mut pipeline = Pipeline::new(at_ms(0));
        pipeline.requested(&blocks(3), at_ms(0));
        assert_eq!(pipeline.clear(), blocks(3));
        assert!(!pipeline.arrived(block(0), 0, at_ms(1)));
        assert_eq!(pipeline.check(0, at_ms(90_000)), Overdue::default());
    }
}
