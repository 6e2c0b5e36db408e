//! How many blocks to ask one peer for at once, and when to stop waiting for them.
//!
//! Depth follows the bandwidth-delay product: as many blocks as the peer sends in a few seconds,
//! found by slow start. Which blocks is decided in `picker.rs`; what a snubbed peer loses, in
//! `choker.rs`.

use seedbank_ledger::{Duration, Instant};

use crate::asked::Requests;
use crate::asked::requests::{WAITING_MAX, WITHDRAWN_MAX};
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
/// Most answers that a peer with the Fast Extension may owe before it is asked for more: of so
/// many, none is ever forgotten.
pub const OWED_MAX: usize = WITHDRAWN_MAX;

const ONE_SECOND: Duration = Duration::from_secs(1);

// A peer that stalls once owes no more than that it can be asked again, and a data plane, which is
// not told when the session stops waiting, forgets nothing that the session remembers.
const _: () = assert!(DEPTH_MAX < OWED_MAX && OWED_MAX <= WAITING_MAX);

/// What has waited too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue<T> {
    /// The peer has just become snubbed: nothing that it was asked for is waited for any more.
    pub is_newly_snubbed: bool,
    /// Requests given up, in the order they were made; an answer may still come.
    pub lost: Vec<Block>,
    /// Requests that were given up before and are forgotten now: an answer is one to nothing.
    pub forgotten: Vec<(Block, T)>,
}

/// Requests outstanding at one peer, each with a tag of the caller's (the bid in force).
#[derive(Clone, Debug)]
pub struct Pipeline<T> {
    /// At most [`DEPTH_MAX`] waited for, unless the caller asks for more than [`Pipeline::room`].
    requests: Requests<T>,
    /// It answers each request, also after a cancel or a choke (BEP 6).
    is_fast: bool,
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

impl<T: Copy> Pipeline<T> {
    /// Nothing asked for yet, of a peer with or without the Fast Extension.
    pub fn new(is_fast: bool, now: Instant) -> Self {
        Self {
            requests: Requests::default(),
            is_fast,
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
        self.check_depth();
    }

    /// Blocks were requested, in this order, each with this tag. Returns the requests that are
    /// forgotten for it: none while the caller asks for no more than [`Pipeline::room`].
    #[must_use = "nobody may remember a request for longer than this"]
    pub fn requested(&mut self, blocks: &[Block], tag: T, now: Instant) -> Vec<(Block, T)> {
        if self.requests.waiting_count() == 0 && !blocks.is_empty() {
            self.first_since = now;
            self.progress_at = now;
        }
        let asked = blocks.iter();
        asked
            .filter_map(|block| self.requests.ask(*block, tag))
            .collect()
    }

    /// A block came; the tag of its request, if it was asked for. `rate` is what our meter says of
    /// the peer, in bytes per second. A peer that sends is not snubbing.
    pub fn arrived(&mut self, block: Block, rate: u64, now: Instant) -> Option<T> {
        let tag = self.answered(block, now)?;
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
        self.check_depth();
        Some(tag)
    }

    /// A request was answered, by a reject or a block; its tag, if there was such a request.
    pub fn answered(&mut self, block: Block, now: Instant) -> Option<T> {
        self.if_first_restart(&block, now);
        self.requests.answered(&block)
    }

    /// A cancel goes out. With the Fast Extension it gets an answer, which is waited for. Returns
    /// the request that is forgotten for it, if any.
    #[must_use = "nobody may remember a request for longer than this"]
    pub fn cancelled(&mut self, block: Block, now: Instant) -> Option<(Block, T)> {
        if self.is_fast {
            return None;
        }
        self.if_first_restart(&block, now);
        self.requests.withdraw(&block)
    }

    /// The peer choked us: without the Fast Extension nothing is waited for any more. Returns the
    /// requests that are forgotten for it.
    #[must_use = "nobody may remember a request for longer than this"]
    pub fn choked(&mut self) -> Vec<(Block, T)> {
        self.requests.choked(self.is_fast)
    }

    /// The connection is over. Returns everything that may still have been answered.
    pub fn clear(&mut self) -> Vec<(Block, T)> {
        self.requests.drain().collect()
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
    pub fn check(&mut self, _rate: u64, now: Instant) -> Overdue<T> {
        let mut overdue = Overdue::default();
        let Some(first) = self.requests.first() else {
            return overdue;
        };
        if !self.is_snubbed && now.since(self.progress_at) >= self.patience() {
            self.is_snubbed = true;
            self.is_slow_start = false;
            overdue.is_newly_snubbed = true;
            // Otherwise they would fill the one place that is left, and the peer could never show
            // that it is back.
            overdue.forgotten = self.requests.withdraw_all();
            assert!(self.depth() == 1, "a snubbing peer is asked for one block");
        } else if now.since(self.first_since) >= LOST_AFTER {
            overdue.lost.push(first);
            overdue.forgotten.extend(self.requests.withdraw(&first));
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
        let first = self.requests.first();
        first.map(|_| lost_at.min(snubbed_at))
    }

    /// Blocks that may be requested now. A peer with the Fast Extension that owes [`OWED_MAX`]
    /// answers, waited for or not, gets no more to answer.
    pub fn room(&self) -> usize {
        let waiting = self.requests.waiting_count();
        let room = self.depth().saturating_sub(waiting);
        match self.is_fast {
            true => room.min(OWED_MAX.saturating_sub(self.requests.count())),
            false => room,
        }
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
        self.requests.waiting().map(|(block, _)| block)
    }

    /// Requests that may still be answered, waited for or not.
    pub fn in_flight(&self) -> usize {
        self.requests.count()
    }

    /// Whether the peer lets us request and sends nothing.
    pub const fn is_snubbed(&self) -> bool {
        self.is_snubbed
    }

    /// Asserts the bounds.
    pub fn check_invariants(&self) {
        self.requests.check_invariants();
        self.check_depth();
        assert!(
            self.in_flight() >= self.outstanding().len(),
            "what is waited for is in flight"
        );
    }

    fn check_depth(&self) {
        assert!(self.depth >= DEPTH_MIN, "depth has a least");
        assert!(self.depth <= DEPTH_MAX, "depth has a bound");
        assert!(self.depth_max >= 1, "every peer takes in one request");
        assert!(
            self.depth_max <= DEPTH_MAX,
            "what a peer takes in has a bound"
        );
    }

    /// If this block is first in line, the time of the next one starts: waiting behind others is
    /// not held against it.
    fn if_first_restart(&mut self, block: &Block, now: Instant) {
        if self.requests.first() == Some(*block) {
            self.first_since = self.first_since.max(now);
        }
    }

    /// How long the peer may send no block: longer if one takes it long.
    fn patience(&self) -> Duration {
        let allowance = self.block_gap.min(SLOW_ALLOWANCE_MAX);
        Duration::from_nanos(SNUB_AFTER.as_nanos() + allowance.as_nanos())
    }
}

impl<T> Default for Overdue<T> {
    fn default() -> Self {
        Self {
            is_newly_snubbed: false,
            lost: Vec::new(),
            forgotten: Vec::new(),
        }
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
    use std::collections::VecDeque;

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

    fn ask(pipeline: &mut Pipeline<()>, blocks: &[Block], now: Instant) {
        assert_eq!(pipeline.requested(blocks, (), now), []);
    }

    /// A link of so many blocks per second and a round trip; returns the final depth and how many
    /// blocks came.
    fn run(per_second: u64, round_trip_ms: u64, secs: u64) -> (Pipeline<()>, u64) {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        pipeline.set_reqq(2_000);
        let mut next = 0;
        let mut arrivals: VecDeque<(u64, Block)> = VecDeque::new();
        let mut free_at_us = 0;
        let mut came = 0;
        for ms in 0..secs * 1_000 {
            while arrivals.front().is_some_and(|(us, _)| *us <= ms * 1_000) {
                let (_, block) = arrivals.pop_front().unwrap();
                let rate = came * u64::from(BLOCK_LEN) * 1_000 / ms.max(1_000);
                assert_eq!(pipeline.arrived(block, rate, at_ms(ms)), Some(()));
                came += 1;
            }
            for _ in 0..pipeline.room() {
                let asked = block(next);
                next += 1;
                ask(&mut pipeline, &[asked], at_ms(ms));
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
        let mut pipeline = Pipeline::new(true, at_ms(0));
        pipeline.set_reqq(3);
        assert_eq!(pipeline.room(), 3);
        pipeline.set_reqq(0);
        assert_eq!(pipeline.room(), 1);
        pipeline.set_reqq(u64::MAX);
        assert_eq!(pipeline.room(), DEPTH_MIN);
        ask(&mut pipeline, &blocks(9), at_ms(0));
        assert_eq!(pipeline.room(), 0);
    }

    #[test]
    fn silence_is_a_snub_and_a_block_ends_it() {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        ask(&mut pipeline, &blocks(4), at_ms(100_000));
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
        let mut pipeline = Pipeline::new(true, at_ms(0));
        ask(&mut pipeline, &blocks(4), at_ms(0));
        assert!(pipeline.check(0, at_ms(30_000)).is_newly_snubbed);
        assert_eq!((pipeline.outstanding().len(), pipeline.room()), (0, 1));
        ask(&mut pipeline, &[block(9)], at_ms(30_000));
        assert_eq!(pipeline.room(), 0);
        assert_eq!(pipeline.check(0, at_ms(89_999)), Overdue::default());
        assert_eq!(pipeline.check(0, at_ms(90_000)).lost, [block(9)]);
        assert_eq!(pipeline.room(), 1);
        // What it owed from before counts when it comes, and can come once.
        assert_eq!(pipeline.arrived(block(2), 1, at_ms(95_000)), Some(()));
        assert_eq!(pipeline.arrived(block(2), 1, at_ms(95_000)), None);
        assert_eq!(pipeline.answered(block(3), at_ms(95_000)), Some(()));
        assert!(!pipeline.is_snubbed());
        assert!(pipeline.depth() >= DEPTH_MIN);
    }

    #[test]
    fn what_a_snubbing_peer_owes_is_bounded() {
        let mut pipeline = Pipeline::new(false, at_ms(0));
        for (tag, asked) in blocks(2_000).iter().enumerate() {
            assert_eq!(pipeline.requested(&[*asked], tag, at_ms(0)), []);
        }
        let overdue = pipeline.check(0, at_ms(30_000));
        assert!(overdue.is_newly_snubbed);
        assert_eq!(pipeline.in_flight(), WITHDRAWN_MAX);
        let forgotten = 2_000 - WITHDRAWN_MAX;
        assert_eq!(overdue.forgotten.len(), forgotten);
        assert_eq!(overdue.forgotten[7], (block(7), 7));
        assert_eq!(pipeline.answered(block(0), at_ms(30_000)), None);
        let last = pipeline.answered(block(1_999), at_ms(30_000));
        assert_eq!(last, Some(1_999));
        assert_eq!(pipeline.room(), 1, "without BEP 6, what it owes is no debt");
    }

    #[test]
    fn a_fast_peer_that_owes_too_many_answers_is_asked_for_no_more() {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        ask(&mut pipeline, &blocks(1_023), at_ms(0));
        assert_eq!(pipeline.check(0, at_ms(30_000)).forgotten, []);
        assert_eq!((pipeline.in_flight(), pipeline.room()), (1_023, 1));
        ask(&mut pipeline, &[block(1_023)], at_ms(30_000));
        assert_eq!(pipeline.check(0, at_ms(90_000)).lost, [block(1_023)]);
        assert_eq!((pipeline.in_flight(), pipeline.room()), (1_024, 0));
        assert_eq!(pipeline.answered(block(5), at_ms(90_000)), Some(()));
        assert_eq!(pipeline.room(), 1);
    }

    #[test]
    fn a_lost_request_may_be_answered_after_all() {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        ask(&mut pipeline, &blocks(3), at_ms(0));
        assert_eq!(pipeline.arrived(block(1), 0, at_ms(20_000)), Some(()));
        assert_eq!(pipeline.arrived(block(2), 0, at_ms(40_000)), Some(()));
        assert_eq!(pipeline.check(0, at_ms(60_000)).lost, [block(0)]);
        assert_eq!(pipeline.outstanding().len(), 0);
        assert_eq!(pipeline.arrived(block(0), 0, at_ms(61_000)), Some(()));
        assert_eq!(pipeline.arrived(block(0), 0, at_ms(61_000)), None);
    }

    #[test]
    fn what_was_not_asked_for_is_no_snub() {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        assert_eq!(pipeline.check(0, Instant::MAX), Overdue::default());
        assert_eq!(pipeline.next_check(), None);
        // A closed window for ten minutes, then one request: its own time counts.
        ask(&mut pipeline, &blocks(1), at_ms(600_000));
        assert_eq!(pipeline.check(0, at_ms(600_001)), Overdue::default());
    }

    #[test]
    fn a_peer_that_we_hold_back_is_excused() {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        ask(&mut pipeline, &blocks(4), at_ms(0));
        pipeline.excuse(at_ms(80_000));
        assert_eq!(pipeline.check(u64::MAX, at_ms(100_000)), Overdue::default());
    }

    #[test]
    fn a_slow_peer_gets_the_time_that_a_block_takes() {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        ask(&mut pipeline, &blocks(6), at_ms(0));
        assert_eq!(pipeline.arrived(block(0), 820, at_ms(20_000)), Some(()));
        assert!(!pipeline.check(0, at_ms(69_999)).is_newly_snubbed);
        assert!(pipeline.check(0, at_ms(70_000)).is_newly_snubbed);
    }

    #[test]
    fn a_request_is_lost_by_its_own_time_at_the_front() {
        let mut pipeline = Pipeline::new(true, at_ms(0));
        ask(&mut pipeline, &blocks(60), at_ms(0));
        // Every second a block comes, but never block 0.
        for raw in 1..59 {
            let now = at_ms(u64::from(raw) * 1_000);
            assert_eq!(pipeline.arrived(block(raw), 16_384, now), Some(()));
            assert_eq!(pipeline.check(16_384, now), Overdue::default());
        }
        let overdue = pipeline.check(16_384, at_ms(60_000));
        assert_eq!(overdue.lost, [block(0)]);
        assert!(!overdue.is_newly_snubbed);
        // Block 59 has been first only since then, however long ago it was asked for.
        assert!(pipeline.check(0, at_ms(61_000)).lost.is_empty());
        assert_eq!(pipeline.answered(block(59), at_ms(62_000)), Some(()));
        assert_eq!(pipeline.outstanding().len(), 0);
        assert_eq!(pipeline.next_check(), None);
    }

    #[test]
    fn a_choke_or_a_cancel_withdraws_only_without_bep_6() {
        for is_fast in [false, true] {
            let mut pipeline = Pipeline::new(is_fast, at_ms(0));
            ask(&mut pipeline, &blocks(3), at_ms(0));
            assert_eq!(pipeline.cancelled(block(0), at_ms(1)), None);
            assert_eq!(pipeline.outstanding().len(), if is_fast { 3 } else { 2 });
            assert_eq!(pipeline.choked(), []);
            assert_eq!(pipeline.outstanding().len(), if is_fast { 3 } else { 0 });
            assert_eq!(pipeline.next_check().is_some(), is_fast);
            // A block may have crossed either, and can come once.
            assert_eq!(pipeline.arrived(block(0), 0, at_ms(1)), Some(()));
            assert_eq!(pipeline.arrived(block(0), 0, at_ms(1)), None);
            let mut left = pipeline.clear();
            left.sort_unstable();
            assert_eq!(left, [(block(1), ()), (block(2), ())]);
            assert_eq!(pipeline.in_flight(), 0);
        }
    }
}
