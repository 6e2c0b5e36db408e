//! Probes: more release for a moment although a queue stands on the way.
//!
//! A round-trip time also counts what stands in front of the peers' own lines. Where all of them
//! are full of what others send, the queue is always long and says nothing of our way out. So a
//! queue that stands is put to the test: what the open class has more either comes out of the paid
//! one, or out of nobody's.

use seedbank_ledger::{Duration, Instant};

/// So many ticks of a long queue may be none of ours.
const STANDS_TICKS: u32 = 20;
/// Least that a probe lets the open class have more, in bytes per second.
const STEP_MIN: u64 = 64 * 1024;
/// How long a probe lasts.
const LASTS: Duration = Duration::from_millis(800);
/// Pause behind one that was borne.
const PAUSE: Duration = Duration::from_millis(200);
/// Time between two that were not borne: first, and at most.
const EVERY: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(32));

/// What both classes get, smoothed, in bytes per second, and how far the paid one strays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) paid: u64,
    pub(super) open: u64,
    pub(super) deviation: u64,
}

/// What was tried in spite of a long queue, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Probes {
    /// Ticks since when the queue has been long.
    stands_ticks: u32,
    /// Release that the paid class bore.
    borne: u64,
    every: Duration,
    due_at: Instant,
    running: Option<ProbeUnderWay>,
}

/// A probe under way, and how things were before it.
#[derive(Clone, Copy, Debug)]
struct ProbeUnderWay {
    until: Instant,
    released: u64,
    step: u64,
    before: Rates,
}

impl Probes {
    /// Nothing tried.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            stands_ticks: 0,
            borne: 0,
            every: EVERY.0,
            due_at: now,
            running: None,
        }
    }

    /// What was borne before need not be now.
    pub(super) const fn forget(&mut self) {
        self.running = None;
        self.borne = 0;
    }

    /// Takes note of a tick's queue.
    pub(super) const fn note_queue(&mut self, is_long: bool) {
        self.stands_ticks = match is_long {
            true => self.stands_ticks.saturating_add(1),
            false => 0,
        };
    }

    /// Release that a long queue alone does not take back.
    pub(super) const fn borne(&self) -> u64 {
        self.borne
    }

    /// Begins a probe, if the queue has stood for long enough and none is under way or was borne
    /// ill lately; the release meanwhile.
    pub(super) fn begin(&mut self, released: u64, rates: Rates, now: Instant) -> Option<u64> {
        let stands = self.stands_ticks >= STANDS_TICKS;
        if !stands || self.running.is_some() || now < self.due_at {
            return None;
        }
        let step = (rates.paid / 3).max(released / 2).max(STEP_MIN);
        self.running = Some(ProbeUnderWay {
            until: now.after(LASTS),
            released,
            step,
            before: rates,
        });
        Some(released.saturating_add(step))
    }

    /// Goes on with the probe that is under way; the release from now, or `None` without one. It
    /// ends as soon as the paid class loses by it, and what was released is kept if it does not.
    pub(super) fn go_on(&mut self, released: u64, rates: Rates, now: Instant) -> Option<u64> {
        let probe = self.running?;
        let lost = probe.before.paid.saturating_sub(rates.paid);
        let gained = rates.open.saturating_sub(probe.before.open);
        let hurts = lost > (probe.step / 4).saturating_add(rates.deviation);
        if now < probe.until && !hurts {
            return Some(released);
        }
        self.running = None;
        // A probe that let nobody have more shows nothing.
        let took = gained >= probe.step / 3;
        if !hurts && took && lost <= gained / 4 + rates.deviation / 2 {
            self.borne = released;
            self.every = EVERY.0;
            self.due_at = now.after(PAUSE);
            return Some(released);
        }
        self.due_at = now.after(self.every);
        self.every = self.every.times(2).min(EVERY.1);
        Some(probe.released)
    }
}
