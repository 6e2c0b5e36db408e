//! Ratio control: the open class is held to what the paid one gets.
//!
//! Nobody need know what the uplink carries. TCP of the paid peers takes whatever the open class
//! leaves, so the open class alone is capped: at its ratio to what the paid peers acknowledge, and
//! beyond that only as far as they do not suffer. What they would have had is remembered; a queue
//! on the way, a loss of theirs, and on links where neither shows a short squeeze from time to time
//! say when the open class has taken too much; a queue that stands is put to the test by a probe.
//! Constants from measurements of TCP on shallow and deep queues (docs/adr/0008-uplink-control.md).

mod probe;

use seedbank_ledger::{Duration, Instant};

use crate::transfer::uplink::ratio::probe::{Probes, Rates};
use crate::units::BLOCK_LEN;

/// The open class always has so many bytes per second.
const CAP_MIN: u64 = 16 * 1024;
/// And so much of its share of what was sent in the last few seconds, per mille: a payer that comes
/// and goes could otherwise keep it at its ratio to little.
const LEAST_PART: u64 = 900;
/// Percent of that which a tenth of a second leaves.
const NEAR_KEPT: u64 = 97;
/// Least backlog of the paid class, per mille of time, for which anything is capped.
const BACKLOG_MIN: u64 = 300;
/// For so long after a start nothing is released.
const HOLD: Duration = Duration::from_millis(700);
/// By then a start is over.
const RAMP_MAX: Duration = Duration::from_millis(2_500);
/// Ticks over which a start's growth is looked at.
const RAMP_TICKS: usize = 5;
/// A start is over when the paid rate grows by less than this, per mille.
const RAMP_GROWTH: u64 = 120;
/// Least time between two starts, whoever comes or comes back.
const RESTART_EVERY: Duration = Duration::from_secs(5);
/// Least time between two takings back, beside the queue.
const GIVE_BACK_EVERY: Duration = Duration::from_millis(350);
/// So many ticks of a long queue after a taking back are somebody else's doing.
const FOREIGN_TICKS: u32 = 12;
/// So many ticks of loss take the release away.
const VETO_TICKS: u32 = 3;
/// Time without release after a loss: first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// So many ticks in which the paid class does not take what a back-off leaves it end that.
const UNFOUNDED_TICKS: u32 = 8;
/// Without a loss for so long, the next back-off is the first again.
const BACK_OFF_FORGET: Duration = Duration::from_secs(60);
/// Time between two squeezes: first, and at most.
const SQUEEZE_EVERY: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(24));
/// A longer queue is one, whatever stood there before.
const QUEUE_HIGH_MAX: Duration = Duration::from_millis(25);
/// For so long what was learned of paid peers that want little is kept.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a squeeze lasts.
const SQUEEZE: Duration = Duration::from_millis(800);
/// Least time between two of them, for a paid class that falls below three quarters of what it had
/// at the last.
const SQUEEZE_PAUSE: Duration = Duration::from_secs(1);

/// What a tick of [`MEASURE_EVERY`](super::MEASURE_EVERY) brought. Rates in bytes per second.
#[derive(Clone, Copy, Debug)]
pub struct RatioTick {
    /// What paid peers acknowledged.
    pub paid: u64,
    /// What the others did.
    pub open: u64,
    /// The shortest queue on the way of anybody: above the least round-trip time ever seen there.
    pub queue: Duration,
    /// Some paid peer has something to be sent.
    pub paid_backlog: bool,
    /// The open class wanted more than its cap let pass.
    pub open_held: bool,
    /// A key that has paid a piece is served as paid, which it was not before.
    pub joined: bool,
}

/// How much the open class may send while paid peers want bytes.
#[derive(Clone, Debug)]
pub struct RatioControl {
    open_share: u64,
    /// Smoothed rates of both classes, and how far the paid one strays.
    paid: u64,
    open: u64,
    deviation: u64,
    /// Per mille of time with a paid backlog.
    backlog: u64,
    /// No tick yet.
    is_new: bool,
    /// The last start, of this or an earlier run of the control.
    started_at: Option<Instant>,
    running: Option<RatioState>,
    /// Since when no paid peer has wanted more than now and then.
    paused_at: Option<Instant>,
}

/// The control at work: some paid peer wants bytes.
#[derive(Clone, Debug)]
struct RatioState {
    /// The paid rate that the cap follows.
    followed: u64,
    /// The paid rate without release, as remembered.
    reference: u64,
    /// What the open class may have beyond its ratio.
    released: u64,
    started_at: Instant,
    starting: bool,
    /// Paid rates of the last ticks, oldest first.
    recent: [u64; RAMP_TICKS],
    /// The longest queue lately.
    queue_max: Duration,
    /// The most that was acknowledged per second lately, and in the last few seconds.
    total_max: u64,
    total_near: u64,
    give_back_at: Instant,
    high_ticks: u32,
    loss_ticks: u32,
    /// The release that last hurt.
    hurt: Option<u64>,
    hurt_at: Option<Instant>,
    back_off: Duration,
    back_off_until: Instant,
    /// What the paid class has to show in a back-off, and since when it does not.
    owed: u64,
    idle_ticks: u32,
    squeeze_every: Duration,
    squeeze_at: Instant,
    squeeze: Option<Squeeze>,
    probes: Probes,
    /// The paid rate when last nothing was released, or at the last squeeze.
    judged: u64,
    judged_at: Instant,
}

/// A squeeze under way, and how things were before it.
#[derive(Clone, Copy, Debug)]
struct Squeeze {
    until: Instant,
    released: u64,
    /// What the open class took of it.
    used: u64,
    paid: u64,
    open: u64,
}

impl RatioControl {
    /// Nothing capped. `open_share` in percent, held within 1 and 99.
    pub fn new(open_share: u8) -> Self {
        let mut control = Self {
            open_share: 0,
            paid: 0,
            open: 0,
            deviation: 0,
            backlog: 0,
            is_new: true,
            started_at: None,
            running: None,
            paused_at: None,
        };
        control.set_open_share(open_share);
        control
    }

    /// Changes the open class's share, in percent.
    pub fn set_open_share(&mut self, percent: u8) {
        self.open_share = u64::from(percent.clamp(1, 99));
    }

    /// No paid peer is left: everything is forgotten.
    pub fn stop(&mut self) {
        let open_share = u8::try_from(self.open_share).expect("a percentage");
        *self = Self {
            started_at: self.started_at,
            ..Self::new(open_share)
        };
    }

    /// Bytes per second that the open class may send; `None` for no cap.
    pub fn cap(&self) -> Option<u64> {
        let running = self.running.as_ref().filter(|_| self.paused_at.is_none())?;
        let ratio = self.ratio_of(running.followed);
        let least = match running.starting {
            true => 0,
            false => {
                (running.total_near / 1_000 * LEAST_PART / 100).saturating_mul(self.open_share)
            }
        };
        let cap = ratio.saturating_add(running.released);
        Some(cap.max(least).max(CAP_MIN))
    }

    /// Takes note of a tick.
    pub fn tick(&mut self, tick: RatioTick, now: Instant) {
        let backlog = if tick.paid_backlog { 1_000 } else { 0 };
        if std::mem::take(&mut self.is_new) {
            // What was before anybody measured is as what is now.
            (self.paid, self.open, self.backlog) = (tick.paid, tick.open, backlog);
        }
        self.paid = toward(self.paid, tick.paid, 280);
        self.open = toward(self.open, tick.open, 280);
        self.deviation = toward(self.deviation, tick.paid.abs_diff(self.paid), 50);
        self.backlog = toward(self.backlog, backlog, 100);
        if self.backlog < BACKLOG_MIN {
            let paused_at = *self.paused_at.get_or_insert(now);
            // Who joins meanwhile has a start of its own.
            if tick.joined || now.since(paused_at) >= PAUSE_MAX {
                self.running = None;
            }
            return;
        }
        self.paused_at = None;
        let total = self.paid.saturating_add(self.open);
        let first = tick.paid.max(total / 2);
        let begins = self.running.is_none();
        let mut running = self
            .running
            .take()
            .unwrap_or_else(|| RatioState::new(first, now));
        let rested = self
            .started_at
            .is_none_or(|at| now.since(at) >= RESTART_EVERY);
        if rested && (tick.joined || begins) {
            self.started_at = Some(now);
            running.start(now);
        }
        running.follow(&tick, self.paid, total);
        let cap = self.ratio_of(running.followed).max(running.total_max / 5);
        let obeys = tick.open <= cap.saturating_add(cap / 4);
        if running.is_starting(self.paid, obeys, now) {
            running.released = 0;
        } else {
            let gain = self.open.saturating_sub(self.ratio_of(running.reference));
            running.adjust(self, &tick, gain, now);
        }
        self.running = Some(running);
    }

    /// Asserts that the share is one, and that there is no release during a start or back-off.
    pub fn check_invariants(&self) {
        assert!((1..=99).contains(&self.open_share), "neither class starves");
        assert!(self.backlog <= 1_000, "a part of the time");
        if let Some(running) = &self.running {
            assert!(
                !running.starting || running.released == 0,
                "nothing is released during a start"
            );
        }
    }

    const fn rates(&self) -> Rates {
        Rates {
            paid: self.paid,
            open: self.open,
            deviation: self.deviation,
        }
    }

    /// The open class's ratio to a paid rate.
    const fn ratio_of(&self, paid: u64) -> u64 {
        paid.saturating_mul(self.open_share) / (100 - self.open_share)
    }
}

impl RatioState {
    fn new(first: u64, now: Instant) -> Self {
        Self {
            followed: first,
            reference: 0,
            released: 0,
            started_at: now,
            starting: false,
            recent: [0; RAMP_TICKS],
            queue_max: Duration::ZERO,
            total_max: 0,
            total_near: 0,
            give_back_at: now,
            high_ticks: 0,
            loss_ticks: 0,
            hurt: None,
            hurt_at: None,
            back_off: BACK_OFF.0,
            back_off_until: now,
            owed: 0,
            idle_ticks: 0,
            squeeze_every: SQUEEZE_EVERY.0,
            squeeze_at: now.after(SQUEEZE_EVERY.0),
            squeeze: None,
            probes: Probes::new(now),
            judged: 0,
            judged_at: now,
        }
    }

    /// Somebody joined: what the paid class would have is seen anew.
    fn start(&mut self, now: Instant) {
        self.released = 0;
        self.started_at = now;
        self.starting = true;
        self.squeeze = None;
        self.probes.forget();
        self.loss_ticks = 0;
    }

    fn follow(&mut self, tick: &RatioTick, paid: u64, total: u64) {
        self.total_max = (self.total_max / 1_000 * 997).max(total);
        self.total_near = (self.total_near / 100 * NEAR_KEPT).max(total);
        self.followed = toward(self.followed, tick.paid, 100);
        let falls = match self.released {
            // What it gets with nothing released is what it wants.
            0 => 100,
            _ => 5,
        };
        if self.released == 0 {
            self.judged = paid;
        }
        let pace = if paid > self.reference { 300 } else { falls };
        self.reference = toward(self.reference, paid, pace);
        let decayed = Duration::from_nanos(self.queue_max.as_nanos() / 1_000 * 997);
        self.queue_max = decayed.max(tick.queue);
        let is_long = tick.queue > self.queue_high();
        self.high_ticks = if is_long { self.high_ticks + 1 } else { 0 };
        self.probes.note_queue(is_long);
    }

    /// Whether what the paid class would have is still to be seen: it grows, or the open class does
    /// not `obey` its cap yet, because it was granted more before there was one.
    fn is_starting(&mut self, paid: u64, obeys: bool, now: Instant) -> bool {
        let before = self.recent[0];
        self.recent.rotate_left(1);
        self.recent[RAMP_TICKS - 1] = paid;
        let age = now.since(self.started_at);
        let grows = paid > before.saturating_add(before / 1_000 * RAMP_GROWTH);
        if age >= RAMP_MAX || (age >= HOLD && obeys && !grows) {
            self.starting = false;
        }
        self.starting
    }

    fn adjust(&mut self, control: &RatioControl, tick: &RatioTick, gain: u64, now: Instant) {
        let probed = self.probes.go_on(self.released, control.rates(), now);
        self.released = probed.unwrap_or(self.released);
        if probed.is_some() || self.squeezing(control, now) || self.vetoed(control, gain, now) {
            return;
        }
        if self.is_unfounded(control, now) {
            self.back_off_until = now;
            self.released = self.hurt.take().unwrap_or(0) / 2;
            self.back_off = BACK_OFF.0;
        }
        if tick.queue > self.queue_high() {
            self.give_back(tick.queue, gain, now);
            if tick.open_held && now >= self.back_off_until && self.squeeze.is_none() {
                let probed = self.probes.begin(self.released, control.rates(), now);
                self.released = probed.unwrap_or(self.released);
                if probed.is_some() {
                    return;
                }
            }
        } else if tick.queue < self.queue_low() && tick.open_held && now >= self.back_off_until {
            let total = control.paid.saturating_add(control.open);
            self.release(total);
        }
        self.squeeze_if_due(control, gain, now);
    }

    /// From time to time, and as soon as the paid class falls, half of what the open class takes
    /// beyond its ratio is taken back for a moment. It may be let have far more than it takes.
    fn squeeze_if_due(&mut self, control: &RatioControl, gain: u64, now: Instant) {
        let used = control.open.saturating_sub(control.ratio_of(self.followed));
        let used = used.min(self.released);
        let falls = control.paid.saturating_add(control.deviation) < self.judged / 4 * 3;
        let is_due = now >= self.squeeze_at || falls && now >= self.judged_at.after(SQUEEZE_PAUSE);
        if used > 0 && gain > 0 && self.is_full(control) && is_due {
            self.squeeze = Some(Squeeze {
                until: now.after(SQUEEZE),
                released: self.released,
                used,
                paid: control.paid,
                open: control.open,
            });
            self.released = used / 2;
        }
    }

    fn release(&mut self, total: u64) {
        let near = self.hurt.is_some_and(|hurt| self.released >= hurt / 5 * 4);
        let step = if near {
            self.released / 100 * 3 + total / 200
        } else {
            self.released / 4 + total / 50
        };
        // Far above what is sent nothing is learned; but what is sent follows the release, and a
        // squeeze, so it must not bind.
        let most = total.saturating_mul(2).max(self.released);
        self.released = self.released.saturating_add(step).min(most);
        if self.hurt.is_some_and(|hurt| self.released / 5 > hurt / 4) {
            self.hurt = None;
        }
    }

    fn give_back(&mut self, queue: Duration, gain: u64, now: Instant) {
        if self.high_ticks >= FOREIGN_TICKS {
            self.high_ticks = 0;
            self.released = (self.released / 10 * 9).max(self.probes.borne());
        }
        if now < self.give_back_at {
            return;
        }
        let kept = self
            .released
            .min((gain / 100 * 96).max(self.probes.borne()));
        if kept < self.released {
            self.hurt = Some(self.released);
            self.released = kept;
            self.give_back_at = now.after(sum(GIVE_BACK_EVERY, queue));
        }
    }

    /// Whether the paid class loses more than half of what the open class gains by the release.
    fn vetoed(&mut self, control: &RatioControl, gain: u64, now: Instant) -> bool {
        let loss = self.reference.saturating_sub(control.paid);
        let loses = self.released > 0
            && self.is_full(control)
            && loss > (gain / 2).saturating_add(control.deviation);
        self.loss_ticks = if loses { self.loss_ticks + 1 } else { 0 };
        if self.loss_ticks < VETO_TICKS {
            return false;
        }
        self.hurts(control.paid.saturating_add(loss / 4), now);
        true
    }

    /// Whether a squeeze is under way. One that gave the paid class what the open class lacked
    /// shows that the release comes out of the paid class.
    fn squeezing(&mut self, control: &RatioControl, now: Instant) -> bool {
        let Some(squeeze) = self.squeeze else {
            return false;
        };
        if now < squeeze.until {
            return true;
        }
        self.squeeze = None;
        (self.judged, self.judged_at) = (control.paid.min(squeeze.paid), now);
        let gained = control.paid.saturating_sub(squeeze.paid);
        let given = squeeze.open.saturating_sub(control.open);
        self.released = squeeze.released;
        // A squeeze that took nothing away shows nothing.
        let took = given >= squeeze.used / 20;
        if took && gained > (given / 2).saturating_add(control.deviation) {
            self.squeeze_every = SQUEEZE_EVERY.0;
            self.hurts(squeeze.paid.saturating_add(gained / 4), now);
        } else {
            self.squeeze_every = self.squeeze_every.times(2).min(SQUEEZE_EVERY.1);
        }
        self.squeeze_at = now.after(self.squeeze_every);
        true
    }

    /// Whether what is sent could fill the way out. While it is far less than it lately was, what a
    /// paid peer loses was not taken from it by the open class.
    fn is_full(&self, control: &RatioControl) -> bool {
        control.paid.saturating_add(control.open) >= self.total_max / 3
    }

    /// In a back-off: the paid class does not take what is left to it, so that nothing hurt it.
    /// Who was kept down fills the way out; one that sends a little more than before does not.
    fn is_unfounded(&mut self, control: &RatioControl, now: Instant) -> bool {
        let total = control.paid.saturating_add(control.open);
        let fills = control.paid >= self.owed && total >= self.total_max / 2;
        let takes = now >= self.back_off_until || fills;
        self.idle_ticks = if takes { 0 } else { self.idle_ticks + 1 };
        self.idle_ticks >= UNFOUNDED_TICKS
    }

    /// The release hurts the paid class: there is none for a while, or until it does not take at
    /// least what is `owed`.
    fn hurts(&mut self, owed: u64, now: Instant) {
        self.owed = owed;
        self.idle_ticks = 0;
        let forgotten = self
            .hurt_at
            .is_none_or(|at| now.since(at) > BACK_OFF_FORGET);
        let doubled = self.back_off.times(2);
        self.back_off = match forgotten {
            true => BACK_OFF.0,
            false => doubled.min(BACK_OFF.1),
        };
        self.hurt = Some(self.released);
        self.hurt_at = Some(now);
        self.back_off_until = now.after(self.back_off);
        self.released = 0;
        self.probes.forget();
        self.loss_ticks = 0;
    }

    /// Below this the way is clear.
    fn queue_low(&self) -> Duration {
        let low =
            part(self.queue_max, 30).clamp(Duration::from_millis(3), Duration::from_millis(10));
        low.max(part(self.block(), 75))
    }

    /// Above this something stands in it.
    fn queue_high(&self) -> Duration {
        let high = part(self.queue_max, 60).clamp(Duration::from_millis(8), QUEUE_HIGH_MAX);
        high.max(self.block())
    }

    /// What a block alone takes, at the best rate lately: its end waits for its beginning, which is
    /// no queue.
    fn block(&self) -> Duration {
        let nanos = u64::from(BLOCK_LEN).saturating_mul(1_000_000_000) / self.total_max.max(1);
        Duration::from_nanos(nanos).min(QUEUE_HIGH_MAX)
    }
}

fn sum(a: Duration, b: Duration) -> Duration {
    Duration::from_nanos(a.as_nanos().saturating_add(b.as_nanos()))
}

fn part(whole: Duration, percent: u64) -> Duration {
    Duration::from_nanos(whole.as_nanos() / 100 * percent)
}

/// `value`, moved towards `target` by so many thousandths of the way, rounded towards it.
pub(super) fn toward(value: u64, target: u64, per_mille: u64) -> u64 {
    let step = |distance: u64| {
        let step = u128::from(distance) * u128::from(per_mille);
        u64::try_from(step.div_ceil(1_000)).expect("at most the distance")
    };
    if target >= value {
        value + step(target - value)
    } else {
        value - step(value - target)
    }
}

#[cfg(test)]
mod tests;
