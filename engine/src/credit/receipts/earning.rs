//! A lock that somebody pays us from: what it still covers, when to claim and when to close (P5).

use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::lock::SignedLock;
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::tally::LockRow;
use seedbank_ledger::{Bytes, Instant, MicroCredits, UnixTime};

use crate::credit::receipts::clock::Now;
use crate::credit::receipts::incoming::{Incoming, totals};
use crate::credit::receipts::limits::{
    CLAIM_INTERVAL_SECS, CLAIM_STEP_PERCENT, CLAIM_USE_PERCENT, LOCK_GRACE_MIN_SECS, LOCK_IDLE,
    LOCK_SERVE_MARGIN_SECS,
};
use crate::credit::receipts::summary::{Summarised, Summary};

/// Where a lock of somebody's stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earning {
    /// The settlement node has not told us of it in this run: at most a window is served on it.
    Provisional {
        /// Bytes granted on it so far.
        served: Bytes,
    },
    /// The settlement node has told us that it is open and what was claimed.
    Confirmed,
    /// We closed it: nothing is served, no receipt counts; the settlement node is to be told.
    Closing {
        /// Whether the order to close it was asked for; before that, the last claim is awaited.
        ordered: bool,
    },
    /// The settlement node says that it is closed.
    Closed,
}

/// A lock of which we are the payee.
#[derive(Clone, Debug)]
pub struct EarningLock {
    /// Its newest certificate.
    pub lock: SignedLock,
    /// Name of its channel.
    pub channel_id: ChannelId,
    /// Its receipts.
    pub incoming: Incoming,
    /// Paid out, as the settlement node says.
    pub claimed: MicroCredits,
    /// A claim was refused because a total went back: a newer receipt had been claimed.
    is_regressed: bool,
    /// The owner was told that receipts are missing.
    is_told_behind: bool,
    /// What of its receipts counts as paid.
    counted: MicroCredits,
    /// Where it stands.
    pub state: Earning,
    /// It met P5 when we first saw it: long enough, large enough, grace enough.
    pub serveable: bool,
    /// The payer signs nothing more on it.
    pub close_asked: bool,
    /// Last grant, rise, LOCK or top-up.
    pub moved_at: Instant,
    /// Total that the newest claim asked for.
    pub claim_asked: MicroCredits,
    /// When it was last claimed, or learned; `None` after a start, when nobody knows.
    pub claimed_at: Option<UnixTime>,
    /// Change since the last summary.
    pub summary: Summary,
}

impl EarningLock {
    /// A lock that is new to us.
    pub fn new(lock: SignedLock, serveable: bool, now: Now) -> Self {
        Self {
            channel_id: lock.body.channel().id(),
            lock,
            incoming: Incoming::default(),
            claimed: MicroCredits::ZERO,
            is_regressed: false,
            is_told_behind: false,
            counted: MicroCredits::ZERO,
            state: Earning::Provisional {
                served: Bytes::ZERO,
            },
            serveable,
            close_asked: false,
            moved_at: now.at,
            claim_asked: MicroCredits::ZERO,
            claimed_at: Some(now.unix),
            summary: Summary::default(),
        }
    }

    /// A lock as stored, with its newest receipt.
    pub fn stored(row: &LockRow, receipt: Option<SignedReceipt>, now: Now) -> Self {
        let serveable = row.lock.body.grace_secs >= LOCK_GRACE_MIN_SECS;
        let mut lock = Self::new(row.lock, serveable, now);
        if row.closed {
            lock.state = Earning::Closing { ordered: false };
        }
        lock.summary = Summary::stored(receipt.as_ref(), now.at);
        lock.incoming = Incoming::stored(receipt);
        lock.claimed = row.claimed;
        // Nobody knows whether the last of it counted: nothing counts twice.
        lock.counted = lock.worth();
        lock.close_asked = row.close_asked;
        lock.claimed_at = None;
        lock
    }

    /// The row to store.
    pub fn row(&self) -> LockRow {
        LockRow {
            lock: self.lock,
            claimed: self.claimed,
            closed: !self.is_open(),
            close_asked: self.close_asked,
        }
    }

    /// Whether receipts count on it.
    pub fn is_open(&self) -> bool {
        match self.state {
            Earning::Provisional { .. } | Earning::Confirmed => true,
            Earning::Closing { .. } | Earning::Closed => false,
        }
    }

    /// What the newest receipt is worth: never more than the lock holds.
    pub fn worth(&self) -> MicroCredits {
        let (_, amount) = totals(self.incoming.held());
        amount.min(self.lock.body.amount)
    }

    /// Counts what its receipts pay by now; returns by how much that has risen. Credit that can be
    /// claimed in time counts at once, and all other when it was claimed: a receipt of the last
    /// quarter of the grace may come too late, and a top-up of a lock that ends returns with it.
    pub fn count(&mut self, now: Now) -> MicroCredits {
        let three_quarters = u64::from(self.lock.body.grace_secs / 4 * 3);
        let ends = self.lock.body.expires_at.plus_secs(three_quarters);
        let is_sure = match self.state {
            Earning::Provisional { .. }
            | Earning::Confirmed
            | Earning::Closing { ordered: false } => now.unix <= ends,
            Earning::Closing { ordered: true } | Earning::Closed => false,
        };
        let counts = match is_sure {
            true => self.worth(),
            false => self.worth().min(self.claimed),
        };
        let rise = counts.saturating_sub(self.counted);
        self.counted = self.counted.saturating_add(rise);
        rise
    }

    /// The settlement node says that so much was paid out in all.
    pub fn told_claimed(&mut self, claimed: MicroCredits) {
        self.is_regressed &= claimed <= self.claimed;
        self.claimed = self.claimed.max(claimed);
    }

    /// A claim was refused because a total went back.
    pub fn regressed(&mut self) {
        self.is_regressed = true;
    }

    /// A receipt that we claimed with is here, or comes now: none is missing but for a later one.
    pub fn restored(&mut self, receipt: &Receipt) {
        self.is_regressed &= receipt.amount < self.claimed;
    }

    /// Whether receipts that we claimed with are missing here, or the settlement node says so: what
    /// its payer signs now may be worth nothing.
    pub fn is_behind(&self) -> bool {
        self.is_regressed || self.claimed > self.worth()
    }

    /// Whether the owner is to be told now that it is behind.
    pub fn is_to_tell_behind(&mut self) -> bool {
        let is_behind = self.is_open() && self.is_behind();
        is_behind && !std::mem::replace(&mut self.is_told_behind, true)
    }

    /// What the lock can still pay for.
    pub fn room(&self) -> MicroCredits {
        self.lock.body.amount.saturating_sub(self.worth())
    }

    /// Whether blocks may be granted on it now.
    pub fn is_served(&self, now: Now) -> bool {
        let ends = self.lock.body.expires_at.minus_secs(LOCK_SERVE_MARGIN_SECS);
        let is_open = self.is_open() && !self.close_asked && now.unix < ends;
        is_open && self.serveable && !self.is_behind()
    }

    /// Whether `len` more bytes may be granted before the settlement node has answered.
    pub fn is_confirmed_for(&self, len: Bytes, window: Bytes) -> bool {
        match self.state {
            Earning::Provisional { served } => served.saturating_add(len) <= window,
            Earning::Confirmed => true,
            Earning::Closing { .. } | Earning::Closed => false,
        }
    }

    /// A block was granted on it.
    pub fn granted(&mut self, len: Bytes, now: Instant) {
        self.moved_at = now;
        if let Earning::Provisional { served } = &mut self.state {
            *served = served.saturating_add(len);
        }
    }

    /// A grant was taken back.
    pub fn ungranted(&mut self, len: Bytes) {
        if let Earning::Provisional { served } = &mut self.state {
            *served = served.saturating_sub(len);
        }
    }

    /// Asserts what holds of a lock of somebody's.
    pub fn check_invariants(&self) {
        assert!(
            self.worth() <= self.lock.body.amount,
            "a lock pays at most its amount"
        );
        assert!(
            self.counted <= self.worth(),
            "no more counts than was signed and is held"
        );
        assert!(
            self.claim_asked <= self.worth(),
            "no claim is above what was paid"
        );
        assert_eq!(
            self.channel_id,
            self.lock.body.channel().id(),
            "a lock keeps its channel"
        );
    }

    /// What a claim would ask for in total, if it is time for one.
    pub fn claim_due(&self, now: Now) -> Option<MicroCredits> {
        let worth = self.claimable()?;
        let due = match self.state {
            Earning::Closed | Earning::Closing { .. } => true,
            Earning::Provisional { .. } | Earning::Confirmed => {
                self.is_used_up(worth) || now.unix >= self.claim_time()
            }
        };
        due.then_some(worth)
    }

    /// What a claim would ask for in total, if there is anything to claim. Nobody claimed more than
    /// our receipts are worth but an older copy of this node, so that what is said to be above them
    /// is put to the settlement node once.
    pub fn claimable(&self) -> Option<MicroCredits> {
        let worth = self.worth();
        let claimed = match self.claimed > worth {
            true => MicroCredits::ZERO,
            false => self.claimed,
        };
        let is_more = worth > claimed.max(self.claim_asked);
        (is_more && self.state != Earning::Closed).then_some(worth)
    }

    /// When time alone asks for a claim: hourly, at half of the grace, and the oftener the less is
    /// left after that. A claim for every receipt would be the payer's to cause.
    fn claim_time(&self) -> UnixTime {
        let lock = &self.lock.body;
        let last_call = lock.expires_at.plus_secs(u64::from(lock.grace_secs / 2));
        let Some(at) = self.claimed_at else {
            return UnixTime::ZERO;
        };
        let hourly = at.plus_secs(CLAIM_INTERVAL_SECS);
        if at < last_call {
            return hourly.min(last_call);
        }
        hourly.min(at.plus_secs(lock.returns_at().secs_since(at) / 4))
    }

    fn is_used_up(&self, worth: MicroCredits) -> bool {
        let amount = u128::from(self.lock.body.amount.get());
        let used = u128::from(worth.get()) * 100 >= amount * CLAIM_USE_PERCENT;
        let last = self.claimed.max(self.claim_asked);
        let step = u128::from(worth.saturating_sub(last).get()) * 100;
        used && (step >= amount * CLAIM_STEP_PERCENT || worth == self.lock.body.amount)
    }

    /// Whether it has been idle for so long that it may be closed (P5), or its close was asked for.
    pub fn is_close_due(&self, now: Now) -> bool {
        self.is_open() && (self.close_asked || now.at >= self.moved_at.after(LOCK_IDLE))
    }

    /// Its channel, for its summary; `served` are the bytes that no entry tells of.
    pub fn summarised(&self, served: Bytes) -> Summarised {
        Summarised {
            totals: totals(self.incoming.held()),
            lock_amount: self.lock.body.amount,
            served,
        }
    }

    /// When time alone asks for something here; `served` as in [`Self::summarised`].
    pub fn wakes_at(&self, served: Bytes, now: Now) -> Option<Instant> {
        let pending = self.incoming.wakes_at();
        let summary = self.summary.due_at(self.summarised(served));
        let open = self.is_open();
        let claim = (open && self.claimable().is_some()).then(|| now.instant_of(self.claim_time()));
        let idle = open.then(|| self.moved_at.after(LOCK_IDLE));
        let gone = now.instant_of(self.lock.body.returns_at().plus_secs(1));
        let idle = idle.filter(|idle| *idle > now.at);
        [pending, summary, claim, idle, Some(gone)]
            .into_iter()
            .flatten()
            .min()
    }
}
