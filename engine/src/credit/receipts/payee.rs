//! What one payer took and paid, and whether it may take more in the paid class (P1 to P5).

use std::collections::BTreeMap;

use seedbank_ledger::signed::lock::{Lock, LockId, SignedLock};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::tally::PairRow;
use seedbank_ledger::{Bytes, Duration, Instant, MicroCredits, Rate};

use crate::credit::receipts::clock::Now;
use crate::credit::receipts::conduct::{Conduct, Lapse, back_off, forgiven};
use crate::credit::receipts::earning::EarningLock;
use crate::credit::receipts::exposure::{Exposure, LOAN, PaidBlock};
use crate::credit::receipts::limits::{
    IDLE_LATE, IDLE_LATE_UNSEATED, LOCKS_CLOSED_MAX, SUMMARY_STEP, UNPAID_SHARE, Window, history,
};
use crate::rate::RateMeter;

/// Our side of a pair as payee, over all connections, torrents and locks.
#[derive(Clone, Debug)]
pub struct Payee {
    exposure: Exposure,
    conduct: Conduct,
    paid: MicroCredits,
    paid_bytes: Bytes,
    lost: Bytes,
    /// All that was written off in this run.
    written_off: Bytes,
    /// Of that, and of what was lost before, what was not paid for since, forgiven or not.
    unpaid: Bytes,
    /// The highest rate of what was written off in this run.
    unpaid_rate: Rate,
    /// What of it no longer keeps its locks open.
    lent: Bytes,
    /// The most that was forgiven at once so far, and the rate at which it was: at a higher one it
    /// is worth as much, and fewer bytes.
    forgiven_most: (Bytes, Rate),
    backoff_level: u8,
    delivered: RateMeter,
    allowed: Window,
    /// Longest piece shared.
    piece_len: Bytes,
    /// What a block costs at most now: its bid, within what is quoted. Zero without a bid.
    rate: Rate,
    /// The last rate that was not zero: by it a history is worth something while nothing is bid.
    last_rate: Rate,
    seated: bool,
    /// The window when it was last looked at.
    window_seen: Bytes,
    /// The window has fallen, and E was never lower since than this.
    fall: Option<Bytes>,
    /// Whether it can hold no receipt for us that we have not seen: its SYNC came in this run, and
    /// since then nothing was written off, nor a connection lost while it owed something.
    in_step: bool,
    /// Its locks for us, oldest first; closed ones until their credit has returned.
    pub locks: BTreeMap<LockId, EarningLock>,
    /// Bytes served in the paid class that no entry tells of, neither a summary nor a write-off:
    /// what a receipt may say at most that was had. After a start, as many as a summary waits for
    /// may be unknown.
    pub unbooked: Bytes,
    forgotten: Option<LockId>,
}

/// Why a block is not served in the paid class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The payer owes for too long, or is backing off.
    Conduct,
    /// None of its locks can be served on.
    NoLock,
    /// The settlement node has not answered about its lock, and a window was served on it.
    Unconfirmed,
    /// E would pass the window.
    Window,
    /// The lock does not cover what F and the block cost.
    Cover,
}

impl Payee {
    /// A payer we know nothing of.
    pub fn new(allowed: Window, now: Instant) -> Self {
        Self {
            exposure: Exposure::new(LOAN),
            conduct: Conduct::OnTime { since: now },
            paid: MicroCredits::ZERO,
            paid_bytes: Bytes::ZERO,
            lost: Bytes::ZERO,
            written_off: Bytes::ZERO,
            unpaid: Bytes::ZERO,
            unpaid_rate: Rate::ZERO,
            lent: Bytes::ZERO,
            forgiven_most: (Bytes::ZERO, Rate::ZERO),
            backoff_level: 0,
            delivered: RateMeter::new(),
            allowed,
            piece_len: Bytes::ZERO,
            rate: Rate::ZERO,
            last_rate: Rate::ZERO,
            seated: false,
            window_seen: Bytes::ZERO,
            fall: None,
            in_step: false,
            locks: BTreeMap::new(),
            unbooked: Bytes::ZERO,
            forgotten: None,
        }
    }

    /// As stored. F starts empty: nothing is inferred from receipts.
    pub fn stored(row: &PairRow, allowed: Window, now: Instant) -> Self {
        Self {
            exposure: Exposure::new(row.paid_carry),
            conduct: Conduct::stored(row.backoff_until, now),
            paid: row.paid,
            paid_bytes: row.paid_bytes,
            lost: row.lost,
            unpaid: row.lost,
            backoff_level: row.backoff_level,
            unbooked: SUMMARY_STEP,
            ..Self::new(allowed, now)
        }
    }

    /// What the window depends on besides payment: the longest piece shared, what a block costs at
    /// most, and whether the payer has a paid seat.
    pub fn measure(&mut self, piece_len: Bytes, rate: Rate, seated: bool) {
        self.piece_len = piece_len;
        self.rate = rate;
        if !rate.is_zero() {
            self.last_rate = rate;
        }
        self.seated = seated;
        self.follow_window();
    }

    /// Why a block at this rate may not be granted in the paid class now; `None` if it may.
    pub fn refusal(&self, len: Bytes, rate: Rate, now: Now) -> Option<Refused> {
        if !self.conduct.may_take() {
            return Some(Refused::Conduct);
        }
        let Some(lock) = self.serving_lock(now) else {
            return Some(Refused::NoLock);
        };
        if !lock.is_confirmed_for(len, self.window()) {
            return Some(Refused::Unconfirmed);
        }
        let exposure = self.exposure.bytes().saturating_add(len);
        if exposure > self.limit() || !self.exposure.has_room() {
            return Some(Refused::Window);
        }
        match self.exposure.cost_with(len, rate) {
            Some(cost) if cost <= lock.room() => None,
            Some(_) | None => Some(Refused::Cover),
        }
    }

    /// Grants a block in the paid class: it enters F.
    ///
    /// # Panics
    /// If it would be refused.
    pub fn grant(&mut self, block: PaidBlock, now: Now) {
        let refusal = self.refusal(block.len, block.rate, now);
        assert_eq!(refusal, None, "a granted block is not refused");
        let limit = self.limit();
        let paid = self.exposure.push(block);
        assert!(
            self.exposure.bytes() <= limit,
            "L7: no grant takes E above the window"
        );
        self.conduct.moved(now.at);
        let cost = self.exposure.cost_with(Bytes::ZERO, Rate::ZERO);
        let lock = self.serving_lock_mut(now).expect("a grant has a lock");
        assert!(
            cost.is_some_and(|cost| cost <= lock.room()),
            "F is covered by a lock"
        );
        lock.granted(block.len, now.at);
        self.unbooked = self.unbooked.saturating_add(block.len);
        self.count_paid(&paid, None, now);
    }

    /// A grant was taken back: the block leaves F.
    pub fn ungrant(&mut self, len: Bytes, rate: Rate, now: Now) {
        let paid = self.exposure.take_back(len, rate);
        self.unbooked = self.unbooked.saturating_sub(len);
        if let Some(lock) = self.serving_lock_mut(now) {
            lock.ungranted(len);
        }
        self.count_paid(&paid, None, now);
        self.follow_window();
        if self.exposure.is_empty() {
            self.conduct.paid(now.at);
        }
    }

    /// A receipt whose signature holds is accepted.
    pub fn accept(&mut self, lock_id: LockId, receipt: SignedReceipt, now: Now) {
        let Some(lock) = self.locks.get_mut(&lock_id) else {
            return;
        };
        let before = lock.worth();
        lock.incoming.accept(receipt, now.at);
        lock.summary.changed(now.at);
        assert!(lock.worth() >= before, "a receipt never becomes worth less");
        assert!(
            lock.worth() <= lock.lock.body.amount,
            "a lock pays at most its amount"
        );
        self.count(lock_id, now);
    }

    /// Where a lock stands has changed: what of its receipts counts now is paid.
    pub fn count(&mut self, lock_id: LockId, now: Now) {
        if let Some(lock) = self.locks.get_mut(&lock_id) {
            let rise = lock.count(now);
            self.pay(lock_id, rise, now);
        }
    }

    /// A newer certificate of a known lock. A receipt above the old amount is worth more now.
    pub fn top_up(&mut self, lock: SignedLock, serveable: bool, now: Now) {
        let lock_id = lock.body.lock_id;
        let Some(known) = self.locks.get_mut(&lock_id) else {
            return;
        };
        assert!(
            lock.body.amount >= known.lock.body.amount,
            "callers take a newer certificate only"
        );
        known.lock = lock;
        known.serveable |= serveable;
        known.moved_at = now.at;
        self.count(lock_id, now);
    }

    /// A block was refused, or a close was asked for: late, if the payer owes anything.
    pub fn late(&mut self, now: Instant) {
        if !self.exposure.is_empty() {
            let rate = self.delivered.per_second(now);
            self.conduct.late(self.exposure.bytes(), rate, now);
        }
    }

    /// Payload left for the payer; what our patience is measured by (P4).
    pub fn sent(&mut self, bytes: u64, now: Instant) {
        self.delivered.add(bytes, now);
    }

    /// The payer's SYNC came, or its last receipt on a lock. If it was missed, newer receipts may
    /// follow it, so no lock counts as idle yet.
    pub fn synced(&mut self, now: Instant) {
        if !self.in_step {
            self.in_step = true;
            for lock in self.locks.values_mut() {
                lock.moved_at = now;
            }
        }
    }

    /// The payer's last connection is gone: a receipt may have died with it.
    pub fn disconnected(&mut self) {
        self.in_step &= self.exposure.is_empty();
    }

    /// To the open class.
    pub fn suspend(&mut self, now: Instant) {
        if self.exposure.is_empty() {
            self.conduct.paid(now);
        } else {
            self.conduct.suspend(now);
        }
    }

    /// Late for too long: of a key that has paid for a piece, the oldest of what it owes is written
    /// off at once as far as that is forgiven, and it goes on. Returns how much.
    pub fn write_off_forgiven(&mut self, now: Now) -> Bytes {
        if !self.has_paid() {
            return Bytes::ZERO;
        }
        let (bytes, rate) = self.forgiven_most;
        let most = at_rate(bytes, rate, self.last_rate).max(self.forgiven());
        self.forgiven_most = (most, self.last_rate);
        let bytes = self.take_off(most.saturating_sub(self.lost), now);
        assert!(
            self.lost <= most.max(self.lost.saturating_sub(bytes)),
            "no more than is forgiven"
        );
        if !bytes.is_zero() {
            self.conduct = Conduct::OnTime { since: now.at };
        }
        bytes
    }

    /// Writes off what is in F; returns how much. Within what is forgiven nothing else happens.
    pub fn write_off(&mut self, now: Now) -> Bytes {
        let bytes = self.take_off(Bytes::MAX, now);
        assert!(self.is_settled(), "nothing is owed after a write-off");
        if self.lost <= self.forgiven() {
            self.conduct = Conduct::OnTime { since: now.at };
        } else {
            let (secs, level) = back_off(self.backoff_level);
            self.backoff_level = level;
            let until = now.unix.plus_secs(secs);
            self.conduct = Conduct::BackingOff { until };
        }
        bytes
    }

    /// After a payment: what is forgiven grows with what was paid, and late payments recover what
    /// was lost. Within it the next back-off is a short one again, and this one ends.
    pub fn reconsider(&mut self, now: Instant) {
        if self.lost > self.forgiven() {
            return;
        }
        self.backoff_level = 0;
        match self.conduct {
            Conduct::BackingOff { .. } => self.conduct = Conduct::OnTime { since: now },
            Conduct::OnTime { .. } | Conduct::Late { .. } | Conduct::Suspended { .. } => {}
        }
    }

    /// A back-off is over: one piece is forgiven and the payer may try again.
    pub fn forgive(&mut self, now: Instant) {
        self.lost = self.lost.saturating_sub(self.piece());
        self.conduct = Conduct::OnTime { since: now };
    }

    /// Forgets the oldest closed locks past a bound, whose rows stay, and locks whose credit has
    /// returned, which it gives back: nothing of them is wanted ever again.
    pub fn forget_old_locks(&mut self, now: Now) -> Vec<Lock> {
        let mut closed = self.locks.values().filter(|lock| !lock.is_open()).count();
        let mut over = Vec::new();
        let mut returned = Vec::new();
        for (id, lock) in &self.locks {
            if now.unix > lock.lock.body.returns_at() {
                returned.push(lock.lock.body);
            } else if !lock.is_open() && closed > LOCKS_CLOSED_MAX {
                over.push(*id);
            } else {
                continue;
            }
            closed = closed.saturating_sub(usize::from(!lock.is_open()));
        }
        for id in over
            .into_iter()
            .chain(returned.iter().map(|lock| lock.lock_id))
        {
            self.locks.remove(&id);
            self.forgotten = self.forgotten.max(Some(id));
        }
        returned
    }

    /// W: the window allowed to the payer at what a block costs now.
    pub fn window(&self) -> Bytes {
        self.window_at(self.rate)
    }

    /// The window that it would be allowed if a block cost so much.
    pub fn window_at(&self, rate: Rate) -> Bytes {
        self.allowed.of(self.piece_len, self.history_at(rate))
    }

    /// The window without what a long history adds.
    pub fn window_plain(&self) -> Bytes {
        let history = self.history_at(self.rate);
        self.allowed.plain(self.piece_len, history)
    }

    /// Most that E may be now: W, and a piece more than it was at its lowest since W fell, until
    /// both fit. Two half pieces would otherwise lock two honest nodes.
    pub fn limit(&self) -> Bytes {
        let window = self.window();
        self.fall.map_or(window, |lowest| {
            window.max(lowest.saturating_add(self.piece()))
        })
    }

    /// Whether the payer has paid for a whole piece.
    pub fn has_paid(&self) -> bool {
        !self.paid.is_zero() && self.paid_bytes >= self.piece()
    }

    /// What was written off in this run.
    pub fn written_off(&self) -> Bytes {
        self.written_off
    }

    /// The longest piece shared, as far as it counts.
    pub fn piece(&self) -> Bytes {
        self.allowed.piece(self.piece_len)
    }

    /// How long a payer that owes may do nothing before it is late; `None` if it owes nothing.
    pub fn idle_max(&self) -> Option<Duration> {
        let seated = self.seated;
        let idle = if seated {
            IDLE_LATE
        } else {
            IDLE_LATE_UNSEATED
        };
        (!self.exposure.is_empty()).then_some(idle)
    }

    /// What time asks to be done about this payer.
    pub fn overdue(&self, now: Now) -> Option<Lapse> {
        self.conduct.overdue(self.idle_max(), now)
    }

    /// The lock that blocks are granted on: the newest that may be served.
    pub fn serving_lock(&self, now: Now) -> Option<&EarningLock> {
        self.locks.values().rev().find(|lock| lock.is_served(now))
    }

    /// What it took for nothing beyond a part of what it paid for, in money: while that is not lent
    /// to it, no lock is closed early, or windows would be harvested with recycled credit (P5).
    pub fn shortfall(&self) -> Bytes {
        let paid = match self.unpaid_rate.is_zero() {
            true if self.paid.is_zero() => Bytes::ZERO,
            true => self.paid_bytes,
            false => self.history_at(self.unpaid_rate),
        };
        let share = Bytes::new(paid.get() / UNPAID_SHARE);
        let known = share.saturating_add(self.lent);
        self.unpaid.saturating_sub(known)
    }

    /// So much more of what it took for nothing keeps no lock open.
    pub fn lend(&mut self, bytes: Bytes) {
        self.lent = self.lent.saturating_add(bytes);
        assert_eq!(self.shortfall(), Bytes::ZERO, "all of it is lent");
    }

    /// Whether its payer signs no more on any lock of its own.
    pub fn is_ending(&self) -> bool {
        let mut open = self.locks.values().filter(|lock| lock.is_open());
        open.all(|lock| lock.close_asked)
    }

    /// Whether the payer can hold no receipt on this lock that we have not seen, which the close of
    /// the lock would make worthless: with the payer's CLOSE came the last.
    pub fn has_shown(&self, lock: &EarningLock) -> bool {
        self.in_step || lock.close_asked
    }

    /// Whether a lock may be taken for one that we forgot in a restore, or that is new.
    pub fn may_learn(&self, lock_id: LockId) -> bool {
        self.forgotten.is_none_or(|forgotten| lock_id > forgotten)
    }

    /// E: bytes granted in the paid class and not paid.
    pub fn exposure(&self) -> Bytes {
        self.exposure.bytes()
    }

    /// Whether the payer owes nothing.
    pub fn is_settled(&self) -> bool {
        self.exposure.is_empty()
    }

    /// Where the payer stands.
    pub fn conduct(&self) -> Conduct {
        self.conduct
    }

    /// Becomes late because of idleness, or follows another turn of time.
    pub fn conduct_mut(&mut self) -> &mut Conduct {
        &mut self.conduct
    }

    /// Σ min(receipt, lock) over all locks ever.
    pub fn paid(&self) -> MicroCredits {
        self.paid
    }

    /// Bytes that its payments cleared.
    pub fn paid_bytes(&self) -> Bytes {
        self.paid_bytes
    }

    /// Bytes written off and not forgiven.
    pub fn lost(&self) -> Bytes {
        self.lost
    }

    /// Fills our half of the row to store.
    pub fn store(&self, row: &mut PairRow) {
        row.paid = self.paid;
        row.paid_carry = self.exposure.credit();
        row.paid_bytes = self.paid_bytes;
        row.lost = self.lost;
        row.backoff_level = self.backoff_level;
        row.backoff_until = self.conduct.backoff_until();
    }

    /// Asserts what must hold of F.
    pub fn check_invariants(&self) {
        self.exposure.check_invariants();
        for (id, lock) in &self.locks {
            lock.check_invariants();
            assert_eq!(*id, lock.lock.body.lock_id, "a lock lies under its number");
        }
    }

    fn pay(&mut self, lock_id: LockId, rise: MicroCredits, now: Now) {
        if rise.is_zero() {
            return;
        }
        self.paid = self.paid.saturating_add(rise);
        let cleared = self.exposure.pay(rise);
        self.count_paid(&cleared.blocks, Some(lock_id), now);
        for block in &cleared.recovered {
            self.lost = self.lost.saturating_sub(block.len);
            self.unpaid = self.unpaid.saturating_sub(block.len);
            self.paid_bytes = self.paid_bytes.saturating_add(block.len);
        }
        self.follow_window();
        self.conduct.paid(now.at);
        if let Some(lock) = self.locks.get_mut(&lock_id) {
            lock.moved_at = now.at;
            // Its bytes were booked when it was written off: only its credit is new.
            for block in &cleared.recovered {
                let raw = block.rate.raw_cost(block.len);
                lock.summary.attribute(block.torrent_id, Bytes::ZERO, raw);
            }
        }
    }

    /// Bytes that may be lost with this payer and are forgiven.
    fn forgiven(&self) -> Bytes {
        forgiven(self.piece(), self.history_at(self.last_rate))
    }

    /// Money, not bytes: what was paid counts for what it buys at this rate.
    fn history_at(&self, rate: Rate) -> Bytes {
        history(self.paid, rate).min(self.paid_bytes)
    }

    /// W or E changed: how far E may be above W while W is lower than it was.
    fn follow_window(&mut self) {
        let (window, exposure) = (self.window(), self.exposure.bytes());
        if window < self.window_seen && self.fall.is_none() {
            self.fall = Some(exposure);
        }
        self.window_seen = window;
        let fits = exposure.saturating_add(self.piece()) <= window;
        self.fall = self.fall.map(|low| low.min(exposure)).filter(|_| !fits);
    }

    /// Takes the oldest blocks out of F unpaid.
    fn take_off(&mut self, most: Bytes, now: Now) -> Bytes {
        let off = self.exposure.write_off(most);
        // What pays for it may still be under way.
        self.in_step &= off.bytes.is_zero();
        // The write-off books them: a late receipt for them must not do so again.
        self.unbooked = self.unbooked.saturating_sub(off.bytes);
        self.lost = self.lost.saturating_add(off.bytes);
        self.written_off = self.written_off.saturating_add(off.bytes);
        self.unpaid = self.unpaid.saturating_add(off.bytes);
        self.unpaid_rate = self.unpaid_rate.max(off.rate_most);
        self.count_paid(&off.paid, None, now);
        self.follow_window();
        off.bytes
    }

    fn count_paid(&mut self, blocks: &[PaidBlock], lock_id: Option<LockId>, now: Now) {
        for block in blocks {
            self.paid_bytes = self.paid_bytes.saturating_add(block.len);
        }
        let lock = match lock_id {
            Some(lock_id) => self.locks.get_mut(&lock_id),
            None => self.serving_lock_mut(now),
        };
        if let Some(lock) = lock {
            for block in blocks {
                lock.summary
                    .attribute(block.torrent_id, block.len, block.rate.raw_cost(block.len));
            }
        }
    }

    fn serving_lock_mut(&mut self, now: Now) -> Option<&mut EarningLock> {
        self.locks
            .values_mut()
            .rev()
            .find(|lock| lock.is_served(now))
    }
}

/// As many bytes at a rate as are worth no more than these at theirs.
fn at_rate(bytes: Bytes, theirs: Rate, rate: Rate) -> Bytes {
    if rate <= theirs {
        return bytes;
    }
    let worth = u128::from(bytes.get()) * u128::from(theirs.get());
    let fewer = worth / u128::from(rate.get());
    Bytes::new(u64::try_from(fewer).expect("fewer than before"))
}
