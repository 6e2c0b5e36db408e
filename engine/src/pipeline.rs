//! How many blocks to ask one peer for at once, and when to stop waiting for them.
//!
//! Depth follows the bandwidth-delay product: as many blocks as the peer sends in a few seconds,
//! found by slow start. Which blocks is decided in `picker.rs`; what a snubbed peer loses, in
//! `choker.rs`.

use std::collections::VecDeque;

use seedbank_ledger::{Duration, Instant};

use crate::rate::RateMeter;
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
/// A slow peer gets the time that a block took it on top, but no more than this.
pub const SLOW_ALLOWANCE_MAX: Duration = Duration::from_secs(30);
/// A request that has been first in line for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(60);
/// Most requests remembered that are no longer waited for.
pub const ABANDONED_MAX: usize = DEPTH_MAX;

const ONE_SECOND: Duration = Duration::from_secs(1);

/// Requests outstanding at one peer, and how many more it is worth sending.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Waited for, in the order they were made.
    awaited: VecDeque<Block>,
    /// Cancelled or given up; an answer to one may still come, and takes no room until then.
    abandoned: VecDeque<Block>,
    /// When the first awaited one became the first: waiting behind others is not held against it.
    /// `None` until time is next told.
    first_since: Option<Instant>,
    /// When a block came last, or the peer had its last fresh start.
    progress_at: Instant,
    /// Time between the last blocks, halved with each that comes sooner.
    block_gap: Duration,
    rate: RateMeter,
    second: Second,
    /// Depth found by slow start.
    start_depth: usize,
    is_slow_start: bool,
    depth_max: usize,
    /// Our own window or buffers keep us from asking for more.
    is_limited: bool,
    is_snubbed: bool,
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
            awaited: VecDeque::new(),
            abandoned: VecDeque::new(),
            first_since: None,
            progress_at: now,
            block_gap: Duration::ZERO,
            rate: RateMeter::new(),
            second: Second {
                started_at: now,
                bytes: 0,
                last_bytes: 0,
            },
            start_depth: DEPTH_MIN,
            is_slow_start: true,
            depth_max: REQQ_DEFAULT,
            is_limited: false,
            is_snubbed: false,
        }
    }

    /// The peer says how many requests it takes in (BEP 10); held within 1 and [`DEPTH_MAX`].
    pub fn set_reqq(&mut self, reqq: u32) {
        let reqq = usize::try_from(reqq).unwrap_or(DEPTH_MAX);
        self.depth_max = reqq.clamp(1, DEPTH_MAX);
    }

    /// The peer lets us request: what it did before is not held against it.
    pub fn unchoked(&mut self, now: Instant) {
        self.excuse(now);
    }

    /// A block was requested.
    pub fn requested(&mut self, block: Block, now: Instant) {
        if self.awaited.is_empty() {
            self.excuse(now);
        }
        self.awaited.push_back(block);
    }

    /// Whether there was more to ask for than our own window or buffers allow. The peer's rate then
    /// says nothing about its link.
    pub const fn limited(&mut self, is_limited: bool) {
        self.is_limited = is_limited;
    }

    /// A block came. A peer that sends what was asked for, however late, is not snubbing.
    pub fn arrived(&mut self, block: &Block, now: Instant) {
        if !self.end_awaited(block) && !take(&mut self.abandoned, block) {
            return;
        }
        let halved = Duration::from_nanos(self.block_gap.as_nanos() / 2);
        self.block_gap = now.since(self.progress_at).max(halved);
        self.progress_at = self.progress_at.max(now);
        self.first_since.get_or_insert(now);
        self.is_snubbed = false;
        self.rate.add(u64::from(block.len), now);
        let still_grows = self.second.count(block.len, now);
        self.is_slow_start &= still_grows || self.is_limited;
        if self.is_slow_start && !self.is_limited {
            self.start_depth = (self.start_depth + 1).min(DEPTH_MAX);
        }
    }

    /// A request was rejected (BEP 6); whether it had been made and not answered.
    pub fn rejected(&mut self, block: &Block) -> bool {
        // A cancelled request was made before any other for the same block.
        take(&mut self.abandoned, block) || self.end_awaited(block)
    }

    /// A request is to be cancelled; whether it is still waited for. An answer may come all the
    /// same.
    pub fn cancelled(&mut self, block: &Block) -> bool {
        let was_awaited = self.end_awaited(block);
        if was_awaited {
            self.abandon(*block);
        }
        was_awaited
    }

    /// Everything outstanding is void: the peer choked us, and will say nothing more about it.
    pub fn clear(&mut self) {
        self.awaited.clear();
        self.abandoned.clear();
        self.first_since = None;
    }

    /// It is our doing that nothing comes (we stopped reading): all clocks start again at `now`.
    pub fn excuse(&mut self, now: Instant) {
        self.first_since = Some(now);
        self.progress_at = self.progress_at.max(now);
    }

    /// Whether to give up what is outstanding: its leases are to be handed back, and none of it is
    /// waited for any more. So it is when no block came for [`SNUB_AFTER`], which is a snub, or
    /// when one request was first in line for [`LOST_AFTER`]. Never while nothing is outstanding:
    /// what we do not ask for is no snub.
    pub fn timeouts(&mut self, now: Instant) -> bool {
        if self.awaited.is_empty() {
            return false;
        }
        let first_since = *self.first_since.get_or_insert(now);
        let snubs = !self.is_snubbed && now.since(self.progress_at) >= self.patience();
        if snubs {
            self.is_snubbed = true;
            self.is_slow_start = false;
        }
        let gives_up = snubs || now.since(first_since) >= LOST_AFTER;
        if gives_up {
            for block in std::mem::take(&mut self.awaited) {
                self.abandon(block);
            }
            self.first_since = None;
        }
        gives_up
    }

    /// When [`Pipeline::timeouts`] can next find something, as seen at `now`; `None` while nothing
    /// is outstanding.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let lost_at = self.first_since.unwrap_or(now).after(LOST_AFTER);
        let snubbed_at = match self.is_snubbed {
            true => lost_at,
            false => self.progress_at.after(self.patience()),
        };
        (!self.awaited.is_empty()).then_some(lost_at.min(snubbed_at))
    }

    /// Blocks that may be requested now.
    pub fn room(&self, now: Instant) -> usize {
        self.depth(now).saturating_sub(self.awaited.len())
    }

    /// Blocks to keep outstanding: what the peer sends in [`QUEUE_TIME_SECS`]; one if it snubs us.
    pub fn depth(&self, now: Instant) -> usize {
        if self.is_snubbed {
            return 1;
        }
        let depth = match self.is_slow_start || self.is_limited {
            true => self.start_depth,
            false => {
                let rate = self.rate.per_second(now).max(self.second.last_bytes);
                let blocks = rate.saturating_mul(QUEUE_TIME_SECS) / u64::from(BLOCK_LEN);
                usize::try_from(blocks).unwrap_or(DEPTH_MAX)
            }
        };
        depth.clamp(DEPTH_MIN, DEPTH_MAX).min(self.depth_max)
    }

    /// Requests that are waited for.
    pub fn outstanding(&self) -> usize {
        self.awaited.len()
    }

    /// Whether the peer lets us request and sends nothing.
    pub const fn is_snubbed(&self) -> bool {
        self.is_snubbed
    }

    fn end_awaited(&mut self, block: &Block) -> bool {
        if self.awaited.front() == Some(block) {
            self.first_since = None;
        }
        take(&mut self.awaited, block)
    }

    fn abandon(&mut self, block: Block) {
        if self.abandoned.len() >= ABANDONED_MAX {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back(block);
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

fn take(blocks: &mut VecDeque<Block>, block: &Block) -> bool {
    let place = blocks.iter().position(|one| one == block);
    place.and_then(|place| blocks.remove(place)).is_some()
}

#[cfg(test)]
mod tests;
