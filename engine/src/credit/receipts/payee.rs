//! What one payer took and paid, and whether it may take more in the paid class (P1 to P5).

use std::collections::BTreeMap;

use seedbank_ledger::signed::lock::{LockId, SignedLock};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::tally::PairRow;
use seedbank_ledger::{Bytes, Instant, MicroCredits, Rate};

use crate::credit::receipts::clock::Now;
use crate::credit::receipts::conduct::{Conduct, back_off, forgiven};
use crate::credit::receipts::earning::EarningLock;
use crate::credit::receipts::exposure::{Exposure, LOAN, PaidBlock};
use crate::credit::receipts::limits::{LOCKS_CLOSED_MAX, Window};
use crate::rate::RateMeter;

/// Our side of a pair as payee, over all connections, torrents and locks.
#[derive(Clone, Debug)]
pub struct Payee {
    exposure: Exposure,
    conduct: Conduct,
    paid: MicroCredits,
    paid_bytes: Bytes,
    lost: Bytes,
    backoff_level: u8,
    delivered: RateMeter,
    /// Whether it can hold no receipt for us that we have not seen: its SYNC came in this run, and
    /// since then nothing was written off, nor a connection lost while it owed something.
    in_step: bool,
    /// Its locks for us, oldest first; closed ones until their credit has returned.
    pub locks: BTreeMap<LockId, EarningLock>,
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
    pub fn new(now: Instant) -> Self {
        Self {
            exposure: Exposure::new(LOAN),
            conduct: Conduct::OnTime { since: now },
            paid: MicroCredits::ZERO,
            paid_bytes: Bytes::ZERO,
            lost: Bytes::ZERO,
            backoff_level: 0,
            delivered: RateMeter::new(),
            in_step: false,
            locks: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// As stored. F starts empty: nothing is inferred from receipts.
    pub fn stored(row: &PairRow, now: Instant) -> Self {
        Self {
            exposure: Exposure::new(row.paid_carry),
            conduct: Conduct::stored(row.backoff_until, now),
            paid: row.paid,
            paid_bytes: row.paid_bytes,
            lost: row.lost,
            backoff_level: row.backoff_level,
            ..Self::new(now)
        }
    }

    /// Why a block at this rate may not be granted in the paid class now; `None` if it may.
    pub fn refusal(&self, len: Bytes, rate: Rate, window: Bytes, now: Now) -> Option<Refused> {
        if !self.conduct.may_take() {
            return Some(Refused::Conduct);
        }
        let Some(lock) = self.serving_lock(now) else {
            return Some(Refused::NoLock);
        };
        if !lock.is_confirmed_for(len, window) {
            return Some(Refused::Unconfirmed);
        }
        let exposure = self.exposure.bytes().saturating_add(len);
        if exposure > window || !self.exposure.has_room() {
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
    pub fn grant(&mut self, block: PaidBlock, window: Bytes, now: Now) {
        let refusal = self.refusal(block.len, block.rate, window, now);
        assert_eq!(refusal, None, "a granted block is not refused");
        let paid = self.exposure.push(block);
        assert!(
            self.exposure.bytes() <= window,
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
        self.count_paid(&paid, None, now);
    }

    /// A grant was taken back: the block leaves F.
    pub fn ungrant(&mut self, len: Bytes, rate: Rate, now: Now) {
        let paid = self.exposure.take_back(len, rate);
        if let Some(lock) = self.serving_lock_mut(now) {
            lock.ungranted(len);
        }
        self.count_paid(&paid, None, now);
        if self.exposure.is_empty() {
            self.conduct.paid(now.at);
        }
    }

    /// A receipt whose signature holds is accepted; returns by how much the amount paid rose.
    pub fn accept(&mut self, lock_id: LockId, receipt: SignedReceipt, now: Now) -> MicroCredits {
        let Some(lock) = self.locks.get_mut(&lock_id) else {
            return MicroCredits::ZERO;
        };
        let before = lock.worth();
        lock.incoming.accept(receipt, now.at);
        lock.summary.changed(now.at);
        assert!(lock.worth() >= before, "a receipt never becomes worth less");
        assert!(
            lock.worth() <= lock.lock.body.amount,
            "a lock pays at most its amount"
        );
        let rise = lock.worth().saturating_sub(before);
        self.pay(lock_id, rise, now);
        rise
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
        let before = known.worth();
        known.lock = lock;
        known.serveable |= serveable;
        known.moved_at = now.at;
        let rise = known.worth().saturating_sub(before);
        self.pay(lock_id, rise, now);
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

    /// Writes off what is in F; returns how much. Within what is forgiven nothing else happens.
    pub fn write_off(&mut self, piece_len: Bytes, now: Now) -> Bytes {
        let bytes = self.exposure.write_off();
        assert!(self.is_settled(), "nothing is owed after a write-off");
        // What pays for it may still be under way.
        self.in_step &= bytes.is_zero();
        self.lost = self.lost.saturating_add(bytes);
        if self.lost <= forgiven(piece_len, self.paid_bytes) {
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
    pub fn reconsider(&mut self, piece_len: Bytes, now: Instant) {
        if self.lost > forgiven(piece_len, self.paid_bytes) {
            return;
        }
        self.backoff_level = 0;
        match self.conduct {
            Conduct::BackingOff { .. } => self.conduct = Conduct::OnTime { since: now },
            Conduct::OnTime { .. } | Conduct::Late { .. } | Conduct::Suspended { .. } => {}
        }
    }

    /// A back-off is over: one piece is forgiven and the payer may try again.
    pub fn forgive(&mut self, piece_len: Bytes, now: Instant) {
        self.lost = self.lost.saturating_sub(piece_len);
        self.conduct = Conduct::OnTime { since: now };
    }

    /// Forgets locks whose credit has returned, and the oldest closed ones past a bound.
    pub fn forget_old_locks(&mut self, now: Now) {
        let mut closed = self.locks.values().filter(|lock| !lock.is_open()).count();
        let mut gone = Vec::new();
        for (id, lock) in &self.locks {
            let over = !lock.is_open() && closed > LOCKS_CLOSED_MAX;
            if now.unix > lock.lock.body.returns_at() || over {
                gone.push(*id);
                closed = closed.saturating_sub(usize::from(!lock.is_open()));
            }
        }
        for id in gone {
            self.locks.remove(&id);
            self.forgotten = self.forgotten.max(Some(id));
        }
    }

    /// The window allowed to the payer. A key that never paid is allowed one piece, whatever the
    /// loan of less than a micro-credit cleared.
    pub fn window(&self, window: &Window, piece_len: Bytes) -> Bytes {
        let paid_bytes = match self.paid {
            MicroCredits::ZERO => Bytes::ZERO,
            _ => self.paid_bytes.max(Bytes::new(1)),
        };
        window.of(piece_len, paid_bytes)
    }

    /// The window without what a long history adds.
    pub fn window_plain(&self, window: &Window, piece_len: Bytes) -> Bytes {
        let plain = Window {
            bonus_max: Bytes::ZERO,
            ..*window
        };
        self.window(&plain, piece_len)
    }

    /// Whether the payer has paid for a whole piece.
    pub fn has_paid(&self, piece_len: Bytes) -> bool {
        !self.paid.is_zero() && self.paid_bytes >= piece_len
    }

    /// The lock that blocks are granted on: the newest that may be served.
    pub fn serving_lock(&self, now: Now) -> Option<&EarningLock> {
        self.locks.values().rev().find(|lock| lock.is_served(now))
    }

    /// Whether locks may be closed early: never a defaulter's, and not those of a key which never
    /// paid for what it lost, so that windows cannot be harvested with recycled credit (P5).
    pub fn may_close(&self, piece_len: Bytes) -> bool {
        let defaulter = match self.conduct {
            Conduct::BackingOff { .. } => true,
            Conduct::OnTime { .. } | Conduct::Late { .. } | Conduct::Suspended { .. } => {
                self.lost > forgiven(piece_len, self.paid_bytes)
            }
        };
        let never_paid = self.paid.is_zero() && !self.lost.is_zero();
        self.exposure.is_empty() && !defaulter && !never_paid
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
        self.lost = self.lost.saturating_sub(cleared.recovered);
        self.count_paid(&cleared.blocks, Some(lock_id), now);
        self.conduct.paid(now.at);
        if let Some(lock) = self.locks.get_mut(&lock_id) {
            lock.moved_at = now.at;
        }
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
