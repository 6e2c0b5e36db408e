//! Locks we pay from and locks that pay us: what is known of each, and when to claim and close.
//!
//! What the settlement node says only ever adds: amounts, expiry and claimed totals rise, closed
//! stays closed. A late answer therefore does no harm.

use std::collections::BTreeMap;

use seedbank_ledger::signed::lock::{LockId, SignedLock};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::tally::LockRow;
use seedbank_ledger::{Instant, MicroCredits, NodeId, UnixTime};

use super::config::{CLAIM_EVERY, CLAIM_USE_PERCENT, LOCKS_MAX, OVERDUE_EVERY};

/// A lock and what we know and want of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    lock: SignedLock,
    claimed: MicroCredits,
    /// The settlement node said so.
    settled_closed: bool,
    /// As payee we close it: no service and no receipt on it from here on.
    pub(super) closing: bool,
    /// As payer we asked for its close.
    close_asked: bool,
    /// The settlement node has told about it in this run.
    confirmed: bool,
    /// When to ask about it.
    question_at: Option<Instant>,
    /// Newest receipt held on it, as payee.
    held: Option<SignedReceipt>,
    claim: ClaimState,
}

/// How far claiming has come.
#[derive(Clone, Copy, Debug, Default)]
struct ClaimState {
    /// When the hourly claim is due.
    again_at: Instant,
    /// Receipt amount of the newest claim that was answered, whatever the answer.
    answered: MicroCredits,
    /// Receipt amount of the newest claim that was sent.
    sent: MicroCredits,
    /// Whether a claim was answered after expiry and half the grace.
    last_done: bool,
    /// Lock amount whose share in use was claimed.
    use_done: MicroCredits,
}

/// When and how a claim policy looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Settlement time, as far as known.
    pub(super) time: UnixTime,
    /// The session ends: claim everything.
    pub(super) draining: bool,
}

impl Record {
    fn new(status: &LockStatus, now: Instant) -> Self {
        Self {
            lock: status.lock,
            claimed: status.claimed,
            settled_closed: status.closed,
            closing: false,
            close_asked: false,
            confirmed: false,
            question_at: None,
            held: None,
            claim: ClaimState {
                again_at: now.after(CLAIM_EVERY),
                ..ClaimState::default()
            },
        }
    }

    /// As others see it: closed by either side's word.
    pub(super) fn status(&self) -> LockStatus {
        LockStatus {
            lock: self.lock,
            claimed: self.claimed,
            closed: self.settled_closed || self.closing,
        }
    }

    pub(super) fn row(&self) -> LockRow {
        LockRow {
            lock: self.lock,
            claimed: self.claimed,
            closed: self.settled_closed || self.closing,
            close_asked: self.close_asked,
        }
    }

    pub(super) fn is_settled_closed(&self) -> bool {
        self.settled_closed
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    pub(super) fn is_close_asked(&self) -> bool {
        self.close_asked
    }

    pub(super) fn held(&self) -> Option<&SignedReceipt> {
        self.held.as_ref()
    }

    /// What a claim would bring in now.
    pub(super) fn claimable(&self) -> MicroCredits {
        if self.settled_closed {
            return MicroCredits::ZERO;
        }
        self.payable().saturating_sub(self.claimed)
    }

    /// Whether `held` was never sent before.
    pub(super) fn is_first_claim(&self) -> bool {
        self.held
            .is_some_and(|held| held.body.amount > self.claim.sent)
    }

    /// Whether to claim now (DESIGN P5).
    pub(super) fn claim_is_due(&self, moment: &Moment) -> bool {
        let Some(held) = self.held else {
            return false;
        };
        if self.claimable().is_zero() || held.body.amount <= self.claim.answered {
            return false;
        }
        let lock = &self.lock.body;
        let used = u128::from(self.payable().get()) * 100
            >= u128::from(lock.amount.get()) * u128::from(CLAIM_USE_PERCENT);
        let used_up = self.payable() == lock.amount;
        let late = moment.time >= lock.expires_at.plus_secs(u64::from(lock.grace_secs) / 2);
        self.closing
            || moment.draining
            || used_up
            || (used && self.claim.use_done < lock.amount)
            || moment.now >= self.claim.again_at
            || (late && !self.claim.last_done)
    }

    /// Whether the close can be ordered: nothing is left to claim, or claiming it was refused.
    pub(super) fn close_is_due(&self) -> bool {
        let held = self
            .held
            .map_or(MicroCredits::ZERO, |held| held.body.amount);
        let settled = self.claimable().is_zero() || held <= self.claim.answered;
        self.closing && self.confirmed && !self.settled_closed && settled
    }

    fn payable(&self) -> MicroCredits {
        let held = self
            .held
            .map_or(MicroCredits::ZERO, |held| held.body.amount);
        held.min(self.lock.body.amount)
    }

    /// Adds what is newer in `status`. True if anything was.
    fn merge(&mut self, status: &LockStatus) -> bool {
        let before = self.status();
        if is_newer(&status.lock, &self.lock) {
            self.lock = status.lock;
        }
        self.claimed = self.claimed.max(status.claimed);
        self.settled_closed |= status.closed;
        self.status() != before
    }
}

/// Neither amount nor expiry of a lock ever becomes smaller, so either tells which is newer.
fn is_newer(lock: &SignedLock, than: &SignedLock) -> bool {
    let (lock, than) = (&lock.body, &than.body);
    lock.amount >= than.amount
        && lock.expires_at >= than.expires_at
        && (lock.amount > than.amount || lock.expires_at > than.expires_at)
}

/// All locks that are known, by number.
#[derive(Clone, Debug)]
pub(super) struct Locks {
    own: NodeId,
    table: BTreeMap<LockId, Record>,
}

impl Locks {
    pub(super) fn new(own: NodeId) -> Self {
        Self {
            own,
            table: BTreeMap::new(),
        }
    }

    /// Loads a stored lock. It is provisional until the settlement node has told about it.
    pub(super) fn restore(&mut self, row: &LockRow, now: Instant) {
        let body = &row.lock.body;
        if self.table.len() >= LOCKS_MAX || (body.payer != self.own && body.payee != self.own) {
            return;
        }
        let pays_us = body.payee == self.own;
        let status = LockStatus {
            lock: row.lock,
            claimed: row.claimed,
            // As payee we may have written "closed" and died before we ordered it.
            closed: row.closed && !pays_us,
        };
        let mut record = Record::new(&status, now);
        record.closing = row.closed && pays_us;
        record.close_asked = row.close_asked;
        record.question_at = (!record.settled_closed).then_some(now);
        self.table.insert(body.lock_id, record);
    }

    /// What a certified line or an answer says of a lock. True if that is news.
    pub(super) fn confirm(&mut self, status: &LockStatus, now: Instant) -> bool {
        let body = &status.lock.body;
        if body.payer != self.own && body.payee != self.own {
            return false;
        }
        let is_new = !self.table.contains_key(&body.lock_id);
        if is_new && self.table.len() >= LOCKS_MAX {
            return false;
        }
        let record = self
            .table
            .entry(body.lock_id)
            .or_insert_with(|| Record::new(status, now));
        let first = !record.confirmed;
        record.confirmed = true;
        record.question_at = None;
        record.merge(status) || is_new || first
    }

    /// A lock shown by its payer. `None` if there is no room for it, else whether that is news.
    pub(super) fn show(&mut self, lock: &SignedLock, now: Instant) -> Option<bool> {
        let status = LockStatus {
            lock: *lock,
            claimed: MicroCredits::ZERO,
            closed: false,
        };
        let id = lock.body.lock_id;
        if let Some(record) = self.table.get_mut(&id) {
            return Some(record.merge(&status));
        }
        if self.table.len() >= LOCKS_MAX {
            return None;
        }
        let mut record = Record::new(&status, now);
        record.question_at = Some(now);
        self.table.insert(id, record);
        Some(true)
    }

    /// The newest receipt held on a lock that pays us. Older ones are ignored.
    pub(super) fn hold(&mut self, lock_id: LockId, receipt: &SignedReceipt) {
        if let Some(record) = self.pays_us_mut(lock_id) {
            let newer = |held: SignedReceipt| receipt.body.amount > held.body.amount;
            if record.held.is_none_or(newer) {
                record.held = Some(*receipt);
            }
        }
    }

    /// Starts closing a lock that pays us. True if that is news.
    pub(super) fn close(&mut self, lock_id: LockId) -> bool {
        self.pays_us_mut(lock_id).is_some_and(|record| {
            let news = !record.closing && !record.settled_closed;
            record.closing = true;
            news
        })
    }

    /// Notes that we as payer asked for a close. True if that is news.
    pub(super) fn ask_close(&mut self, lock_id: LockId) -> bool {
        let own = self.own;
        let mine = |record: &&mut Record| record.lock.body.payer == own;
        self.table
            .get_mut(&lock_id)
            .filter(mine)
            .is_some_and(|record| !std::mem::replace(&mut record.close_asked, true))
    }

    /// A claim was sent.
    pub(super) fn claim_sent(&mut self, lock_id: LockId) {
        if let Some(record) = self.table.get_mut(&lock_id) {
            let held = record
                .held
                .map_or(MicroCredits::ZERO, |held| held.body.amount);
            record.claim.sent = record.claim.sent.max(held);
        }
    }

    /// A claim up to `amount` was answered. Whatever the answer, the same receipt is not sent again.
    pub(super) fn claim_answered(&mut self, lock_id: LockId, amount: MicroCredits, at: &Moment) {
        let Some(record) = self.table.get_mut(&lock_id) else {
            return;
        };
        let lock = record.lock.body;
        let late = lock.expires_at.plus_secs(u64::from(lock.grace_secs) / 2);
        record.claim.answered = record.claim.answered.max(amount);
        record.claim.again_at = at.now.after(CLAIM_EVERY);
        record.claim.last_done |= at.time >= late;
        record.claim.use_done = lock.amount;
        if !record.claimable().is_zero() {
            // Paid earlier than we knew, or refused: the lock itself tells.
            record.question_at = Some(at.now);
        }
    }

    /// The settlement node does not know this lock: nothing can be had from it.
    pub(super) fn disown(&mut self, lock_id: LockId) -> Option<LockStatus> {
        let record = self.table.get_mut(&lock_id)?;
        record.settled_closed = true;
        record.question_at = None;
        Some(record.status())
    }

    /// Plans questions about locks past their end, and forgets closed ones whose certificate can
    /// open nothing any more.
    pub(super) fn tend(&mut self, moment: &Moment) {
        let over = |record: &Record| moment.time > record.lock.body.returns_at();
        self.table
            .retain(|_, record| !(record.settled_closed && over(record)));
        for record in self.table.values_mut() {
            if over(record) && record.question_at.is_none() {
                record.question_at = Some(moment.now.after(OVERDUE_EVERY));
            }
        }
    }

    pub(super) fn get(&self, lock_id: LockId) -> Option<&Record> {
        self.table.get(&lock_id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&LockId, &Record)> {
        self.table.iter()
    }

    /// Locks we pay from.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Record> {
        let own = self.own;
        self.table
            .values()
            .filter(move |record| record.lock.body.payer == own)
    }

    /// Locks that pay us.
    pub(super) fn theirs(&self) -> impl Iterator<Item = (LockId, &Record)> {
        let own = self.own;
        self.table
            .iter()
            .filter(move |(_, record)| record.lock.body.payee == own)
            .map(|(id, record)| (*id, record))
    }

    /// Locks to ask about at `now`.
    pub(super) fn questions(&self, now: Instant) -> impl Iterator<Item = LockId> {
        let due = move |record: &Record| record.question_at.is_some_and(|at| at <= now);
        self.table
            .iter()
            .filter(move |(_, record)| due(record))
            .map(|(id, _)| *id)
    }

    fn pays_us_mut(&mut self, lock_id: LockId) -> Option<&mut Record> {
        let own = self.own;
        self.table
            .get_mut(&lock_id)
            .filter(|record| record.lock.body.payee == own)
    }
}
