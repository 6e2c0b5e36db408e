//! What is looked at in every play of the block tier, beside what the code asserts of itself: who
//! has room in its limit sends to who waits for it, and nobody who wants something waits for ever.
//!
//! Both are seen from outside, by the messages that a node hears and says and the blocks that it
//! hands over. Nodes with an agent are not looked at: they do as they like.

use std::collections::BTreeMap;

use seedbank_engine::interface::config::Policy;
use seedbank_engine::transfer::choker::{DWELL, OPTIMISTIC_TURN, ROUND, SlotPolicy};
use seedbank_engine::transfer::limiter::BURST;
use seedbank_engine::units::{BLOCK_LEN, PeerIndex};
use seedbank_ledger::{Duration, Instant};

/// A connection that has so much before it takes more when it comes to it: a node without a limit
/// of its own grants it no more ahead.
const ROOM: u64 = 32 * 1024;
/// Violations that are told in words.
const TOLD_MAX: usize = 20;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchReport {
    /// Stretches of time, of a round at most, in which somebody waited for a node with a limit.
    pub stretches: u64,
    /// The most that one of them fell short of the limit, in percent of what it may.
    pub short_max: u64,
    /// Times that somebody waited to be unchoked.
    pub waits: u64,
    /// The longest of them, in percent of its bound.
    pub wait_max: u64,
    /// How often either did not hold.
    pub violation_count: u64,
    /// What did not, in words; the first few.
    pub violations: Vec<String>,
}

/// What the other end of a connection wants of us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkWish {
    is_interested: bool,
    is_unchoked: bool,
    /// Requests that came and were neither granted nor refused.
    requests: u32,
    /// Bytes granted that its line has not taken.
    unsent: u64,
}

/// Who waits for a node.
#[derive(Debug, Default)]
pub(crate) struct NodeWatch {
    waits: BTreeMap<PeerIndex, OpenWait>,
    /// Connections with room, on which somebody unchoked waits for a block.
    asking: usize,
    busy: Option<BusyStretch>,
}

/// Somebody is interested, and choked.
#[derive(Clone, Copy, Debug)]
struct OpenWait {
    since: Instant,
    /// How many waited when it began to.
    ahead: usize,
}

/// Somebody has waited for blocks all the time, of a node with this limit.
#[derive(Clone, Copy, Debug)]
struct BusyStretch {
    since: Instant,
    limit: u64,
    granted: u64,
}

/// Something that a connection shows of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkChange {
    Interested(bool),
    Unchoked(bool),
    /// A request came.
    Asked,
    /// One was refused.
    Refused,
    /// So many were granted, of so many bytes.
    Granted(u32, u64),
    /// So many bytes were taken by the line.
    Sent(u64),
    Closed,
}

/// What a stretch or a wait was, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    was: u64,
    most: u64,
}

impl LinkWish {
    pub(crate) const fn apply(&mut self, change: LinkChange) {
        match change {
            LinkChange::Interested(now) => self.is_interested = now,
            LinkChange::Unchoked(now) => self.is_unchoked = now,
            LinkChange::Asked => self.requests = self.requests.saturating_add(1),
            LinkChange::Refused => self.requests = self.requests.saturating_sub(1),
            LinkChange::Granted(blocks, bytes) => {
                self.requests = self.requests.saturating_sub(blocks);
                self.unsent = self.unsent.saturating_add(bytes);
            }
            LinkChange::Sent(bytes) => self.unsent = self.unsent.saturating_sub(bytes),
            LinkChange::Closed => {
                self.is_interested = false;
                self.requests = 0;
            }
        }
    }

    pub(crate) const fn waits(&self) -> bool {
        self.is_interested && !self.is_unchoked
    }

    /// Whether it would take a block now.
    pub(crate) const fn asks(&self) -> bool {
        self.is_unchoked && self.requests > 0 && self.unsent < ROOM
    }
}

impl NodeWatch {
    /// A connection's wish changed, from this to that; what a wait that ended was, if one did.
    pub(crate) fn turn(
        &mut self,
        peer: PeerIndex,
        [before, after]: [LinkWish; 2],
        policy: &Policy,
        now: Instant,
    ) -> Option<Judged> {
        self.asking += usize::from(after.asks());
        self.asking -= usize::from(before.asks());
        match (before.waits(), after.waits()) {
            (false, true) => {
                let ahead = self.waits.len();
                self.waits.insert(peer, OpenWait { since: now, ahead });
                None
            }
            (true, false) => Some(self.waits.remove(&peer)?.judged(policy, now)),
            _ => None,
        }
    }

    /// A node that has this limit handed so many bytes over; what its stretch was, if it ended.
    pub(crate) fn tend(
        &mut self,
        limit: Option<u64>,
        granted: u64,
        now: Instant,
    ) -> Option<Judged> {
        if let Some(stretch) = &mut self.busy {
            stretch.granted += granted;
        }
        let is_same = |stretch: &BusyStretch| Some(stretch.limit) == limit;
        let is_long = |stretch: &BusyStretch| now.since(stretch.since) >= ROUND;
        let mut ended = None;
        if self
            .busy
            .is_some_and(|it| self.asking == 0 || !is_same(&it) || is_long(&it))
        {
            ended = self.busy.take().filter(is_same);
        }
        if self.busy.is_none() && self.asking > 0 {
            self.busy = limit.map(|limit| BusyStretch {
                since: now,
                limit,
                granted: 0,
            });
        }
        ended.map(|stretch| stretch.judged(now))
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Something else decides now what is sent.
    pub(crate) const fn forget(&mut self) {
        self.busy = None;
    }

    /// What all who wait still have waited.
    pub(crate) fn open_waits(&self, policy: &Policy, now: Instant) -> Vec<(PeerIndex, Judged)> {
        let waits = self.waits.iter();
        waits
            .map(|(peer, wait)| (*peer, wait.judged(policy, now)))
            .collect()
    }
}

impl OpenWait {
    /// How long it was, and how long it may be, in milliseconds.
    ///
    /// An optimistic turn ends with the first round after [`OPTIMISTIC_TURN`], and who has waited
    /// longest is next. Whoever comes later, or had its turn meanwhile, is behind. So each seat
    /// takes one of those who were there before it every turn and round, and then it. A round more
    /// goes by when everybody has just been unchoked, and who was just choked rests for [`DWELL`].
    fn judged(&self, policy: &Policy, now: Instant) -> Judged {
        let seats = SlotPolicy {
            slots: policy.slots,
            open_share_percent: policy.open_share_percent,
            rule: policy.paid_rule,
            rate_min: seedbank_ledger::Rate::ZERO,
        }
        .optimistic_count()
        .max(1);
        let turns = u64::try_from(self.ahead / seats + 1).unwrap_or(u64::MAX);
        let turn = millis(OPTIMISTIC_TURN) + millis(ROUND);
        Judged {
            was: millis(now.since(self.since)),
            most: turn.saturating_mul(turns) + millis(ROUND) + millis(DWELL),
        }
    }
}

impl BusyStretch {
    /// Bytes by which it fell short of the limit, and by how many it may: a burst, which the bucket
    /// still holds, and two blocks. What a full bucket could not hold is lost, and never made up.
    fn judged(&self, now: Instant) -> Judged {
        let over = |time: Duration| {
            let bytes = u128::from(self.limit) * u128::from(time.as_nanos()) / 1_000_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        let due = over(now.since(self.since));
        Judged {
            was: due.saturating_sub(self.granted),
            most: over(BURST) + 2 * u64::from(BLOCK_LEN),
        }
    }
}

impl Judged {
    pub(crate) const fn holds(self) -> bool {
        self.was <= self.most
    }

    const fn percent(self) -> u64 {
        self.was.saturating_mul(100) / self.most
    }
}

impl WatchReport {
    /// A stretch ended.
    pub(crate) fn stretch(&mut self, judged: Judged, say: impl FnOnce() -> String) {
        self.stretches += 1;
        self.short_max = self.short_max.max(judged.percent());
        if !judged.holds() {
            let Judged { was, most } = judged;
            let by = format!("{was} bytes short of its limit, {most} allowed");
            self.violated(format!("work conservation: {}, {by}", say()));
        }
    }

    /// A wait ended.
    pub(crate) fn wait(&mut self, judged: Judged, say: impl FnOnce() -> String) {
        self.waits += 1;
        self.wait_max = self.wait_max.max(judged.percent());
        if !judged.holds() {
            let Judged { was, most } = judged;
            self.violated(format!("starvation: {} for {was} of {most} ms", say()));
        }
    }

    fn violated(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < TOLD_MAX {
            self.violations.push(what);
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_nanos() / 1_000_000
}
