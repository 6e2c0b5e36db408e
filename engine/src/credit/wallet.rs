//! This node's account at its settlement node: orders by nonce, claims, locks, statement lines.
//!
//! It is driven by `tick` and `answer` and polled for outputs; it reads no clock. One order is
//! unanswered at a time and stored before it leaves, so that a crash or a lost answer never signs a
//! nonce for two bodies (docs/RULES.md, orders). Whom to pay is decided in `boost.rs`; locks and
//! receipts, and when to claim and close, are the exchange's (`receipts/exchange.rs`), which hands
//! its claims in here and takes every `LockTold` back.

mod answers;
mod book;
mod clock;
pub mod config;
mod errands;
mod lines;
mod link;
mod orders;
mod questions;
mod randoms;
mod transfers;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seedbank_ledger::charts::node::Available;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::head::{HeadConflict, SignedHead};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{OrderKind, SignedOrder};
use seedbank_ledger::statement::AccountStatus;
use seedbank_ledger::tally::{OrderRow, TallyRow};
use seedbank_ledger::{Identity, Instant, MicroCredits, NodeId, Sequence, UnixTime};

use crate::credit::event::CreditEvent;
use crate::credit::network::Network;
use crate::credit::output::CreditOutput;
use crate::credit::receipts::limits::LOCK_LEFT_MIN_SECS;
use crate::credit::settlement::{Envelope, Unreachable};
pub use book::WalletBook;
use clock::SettlementTime;
use config::{LOCKS_MAX, POLL_HINTED, POLL_IDLE, POLL_PENDING, QUEUE_MAX};
use errands::Errands;
use link::SettlementLink;
use orders::{Orders, Wanted};
use randoms::Randoms;

/// What can be spent, and where operations are under way; for [`crate::credit::boost::Boosts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purse {
    /// The settlement node has told the whole account in this run.
    pub synced: bool,
    /// The settlement node answered last time.
    pub reachable: bool,
    /// Settlement time minus ours in seconds, if that is too far off for locks.
    pub clock_off_secs: Option<i64>,
    /// Locks may be opened and topped up.
    pub ready: bool,
    /// What queued and unanswered operations will take.
    pub pending: MicroCredits,
    /// Available credit less what is pending.
    pub spendable: MicroCredits,
    /// Most credit in one lock of this network, top-ups included.
    pub lock_max: MicroCredits,
    /// Life of a lock that is opened or renewed now, in seconds.
    pub lock_ttl_secs: u32,
    /// Payees for whom an `OpenLock` or `TopUp` is queued or unanswered, in order, each once.
    pub busy: Vec<NodeId>,
}

/// Credit as this node knows it, from the newest statement line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalletView {
    /// At the settlement node and in no lock.
    pub available: MicroCredits,
    /// Of it, in orders that are queued or not answered yet.
    pub pending: MicroCredits,
    /// Of it, promised to active boosts.
    pub set_aside: MicroCredits,
    /// In locks of ours, what was signed away included.
    pub reserved: MicroCredits,
    /// Receipts held and not yet claimed.
    pub claimable: MicroCredits,
    /// As of which settlement time.
    pub as_of: UnixTime,
    /// Whether the settlement node answered last time.
    pub reachable: bool,
}

/// Why an operation about a lock was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantError {
    /// The queue is at its bound.
    #[error("{0} operations wait already")]
    QueueFull(usize),
    /// The same is queued or unanswered.
    #[error("the same is under way")]
    UnderWay,
    /// More than there is.
    #[error("needs {needed}, has {spendable}")]
    InsufficientCredit {
        /// Asked for.
        needed: MicroCredits,
        /// Free to spend.
        spendable: MicroCredits,
    },
    /// No lock of ours of that number is open.
    #[error("no open lock {0} of ours")]
    LockUnknown(LockId),
    /// The clock is off, the account was handed over, or nobody answered yet.
    #[error("takes no locks now")]
    NotReady,
}

/// The account of this node.
#[derive(Debug)]
pub struct Wallet {
    identity: Arc<Identity>,
    network: Network,
    account: AccountStatus,
    as_of: UnixTime,
    seen: Option<Sequence>,
    /// The settlement node has told the whole account in this run.
    synced: bool,
    /// The account was handed over to another key: it orders nothing more.
    retired: bool,
    /// The account's nonce was told below one that is known to be used, and somebody was told.
    nonce_lost: bool,
    /// The newest head that the settlement node signed in this run.
    head: Option<SignedHead>,
    /// One that says less than was known: it orders and locks nothing more in this run.
    rollback: Option<HeadConflict>,
    /// A line that this node's ledger refused, as told.
    refused_line: Option<Sequence>,
    /// Somebody was told that answers are not the settlement node's.
    told_unusable: bool,
    was_sound: bool,
    draining: bool,
    awaits_return: bool,
    /// When lines were told last; `None` asks at once.
    told_at: Option<Instant>,
    /// A line that was entered and is not here, and when we heard of it.
    hint: Option<(Sequence, Instant)>,
    /// The order was answered by this entry before our newest line, which says what it is.
    look_at: Option<Sequence>,
    /// The unanswered order is not repeated before.
    order_at: Instant,
    orders: Orders,
    errands: Errands,
    /// Payees of our open locks.
    payees: BTreeMap<LockId, NodeId>,
    link: SettlementLink,
    randoms: Randoms,
    clock: SettlementTime,
    outputs: VecDeque<CreditOutput>,
}

impl Wallet {
    /// A wallet as the book left it; `salt` is another number at every start. At the first `tick`
    /// it repeats the unanswered order, if any, asks for its statement and for its own open locks.
    pub fn new(
        network: Network,
        identity: Arc<Identity>,
        book: &WalletBook,
        salt: u64,
        now: Instant,
    ) -> Self {
        let own = identity.id();
        let mut orders = Orders::default();
        for transfer in &book.transfers {
            orders.note(transfer);
        }
        let mut errands = Errands::default();
        let mut payees = BTreeMap::new();
        for row in &book.rows {
            match row {
                TallyRow::Lock(row) if row.lock.body.payer == own && !row.closed => {
                    errands.ask(row.lock.body.lock_id);
                    payees.insert(row.lock.body.lock_id, row.lock.body.payee);
                }
                TallyRow::Order(row) if row.order.body.account != own => {}
                TallyRow::Order(row) => orders.restore(row.order, row.answered),
                TallyRow::Lock(_)
                | TallyRow::Receipt(_)
                | TallyRow::Pair(_)
                | TallyRow::Boost { .. }
                | TallyRow::Gone(_) => {}
            }
        }
        let account = AccountStatus {
            account: own,
            available: book.available,
            reserved: MicroCredits::ZERO,
            nonce: 0,
        };
        let (seen, as_of) = book.as_of.unzip();
        Self {
            randoms: Randoms::new(&identity, salt),
            identity,
            network,
            account,
            as_of: as_of.unwrap_or_default(),
            seen,
            synced: false,
            retired: false,
            nonce_lost: false,
            head: None,
            rollback: None,
            refused_line: None,
            told_unusable: false,
            was_sound: true,
            draining: false,
            awaits_return: false,
            told_at: None,
            hint: None,
            look_at: None,
            order_at: now,
            orders,
            errands,
            payees,
            link: SettlementLink::default(),
            clock: SettlementTime::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Does what is due: questions, the next order, claims. Call at `next_timeout`, after
    /// every other call that may have queued something, and when the wall clock is told.
    pub fn tick(&mut self, now: Instant, unix: UnixTime) {
        self.clock.observe(now, unix);
        self.link.expire(now);
        self.watch_clock();
        if !self.link.may_ask(now) {
            return;
        }
        if !self.link.main_is_busy() {
            self.send_main(now, unix);
        }
        self.send_claims(now);
        self.send_questions(now, unix);
    }

    /// The settlement node's answer to `request`, opened here and nowhere before. Late and doubled
    /// answers are ignored; one that is not sealed for this question is as none.
    pub fn answer(
        &mut self,
        request: u64,
        answer: Result<Envelope, Unreachable>,
        now: Instant,
        unix: UnixTime,
    ) {
        self.clock.observe(now, unix);
        let Some(asked) = self.link.answered(request) else {
            return;
        };
        let Ok(envelope) = answer else {
            self.link.failed(now);
            return;
        };
        match self.take_envelope(&asked, &envelope, now, unix) {
            Ok(()) => {
                self.told_unusable = false;
                self.link.succeeded();
            }
            Err(fault) => {
                self.not_used(fault);
                self.link.failed(now);
            }
        }
        self.tick(now, unix);
    }

    /// Queues an order to reserve `amount` for `payee`.
    pub fn open_lock(
        &mut self,
        payee: NodeId,
        amount: MicroCredits,
        now: Instant,
    ) -> Result<(), WantError> {
        if payee == self.identity.id() || self.purse().busy.contains(&payee) {
            return Err(WantError::UnderWay);
        }
        let ttl_secs = self.network.limits.lock_ttl_secs;
        self.reserve(
            OrderKind::OpenLock {
                payee,
                amount,
                ttl_secs,
            },
            amount,
            now,
        )
    }

    /// Queues an order to add `amount`, which may be 0, to a lock of ours and to renew it.
    pub fn top_up(
        &mut self,
        lock_id: LockId,
        amount: MicroCredits,
        now: Instant,
    ) -> Result<(), WantError> {
        let Some(payee) = self.payees.get(&lock_id) else {
            return Err(WantError::LockUnknown(lock_id));
        };
        if self.purse().busy.contains(payee) {
            return Err(WantError::UnderWay);
        }
        let ttl_secs = self.network.limits.lock_ttl_secs;
        self.reserve(
            OrderKind::TopUp {
                lock_id,
                amount,
                ttl_secs,
            },
            amount,
            now,
        )
    }

    /// Delivers a claim of the exchange's, repeated until it is answered. A larger claim on the
    /// same lock takes its place.
    pub fn claim(&mut self, claim: SignedClaim) {
        self.errands.claim(claim);
    }

    /// Asks the settlement node about a lock until it is answered with `LockTold`.
    pub fn ask_lock(&mut self, lock_id: LockId) {
        self.errands.ask(lock_id);
    }

    /// Orders the close of a lock that pays us, in its turn. A crash forgets it before it is
    /// signed; the exchange wants it again at the next start.
    pub fn close_lock(&mut self, lock_id: LockId) {
        if !self.orders.closes(lock_id) {
            self.errands.close(lock_id);
        }
    }

    /// The settlement node is said to have entered this line of the account: lines are asked for
    /// at once, though not more often than once a second.
    pub fn line_entered(&mut self, line: Sequence, now: Instant) {
        if Some(line) > self.seen {
            self.hint = Some((line, now));
        }
    }

    /// Whether the close of a lock of ours was asked for and has not come: lines are then asked for
    /// more often.
    pub fn await_return(&mut self, awaits: bool) {
        self.awaits_return = awaits;
    }

    /// The session ends: no new order is signed. What can be done is done when `is_quiet`.
    pub fn shutdown(&mut self) {
        self.draining = true;
    }

    /// The next thing to do; `None` when there is nothing until the next call.
    pub fn poll_output(&mut self) -> Option<CreditOutput> {
        self.outputs.pop_front()
    }

    /// When to call `tick` next, at the latest.
    pub fn next_timeout(&self) -> Instant {
        let waits = self.link.next_timeout().unwrap_or(Instant::MAX);
        if self.link.main_is_busy() || self.draining {
            return waits;
        }
        waits.min(self.statement_at().max(self.link.retry_at()))
    }

    /// Nothing is under way at the settlement node and no claim waits for it, or it is out of
    /// reach.
    pub fn is_quiet(&self) -> bool {
        let waits = self.errands.has_claims() && self.link.is_reachable();
        self.link.is_quiet() && !waits
    }

    /// Whether locks may be opened, topped up and taken: not with a clock off by more than 10
    /// minutes, and not of a settlement node whose ledger went back.
    pub fn takes_locks(&self) -> bool {
        self.clock.is_sound() && !self.retired && !self.draining && self.rollback.is_none()
    }

    /// Settlement time, as far as known; what the exchange is told as its clock.
    pub fn settlement_time(&self, unix: UnixTime) -> UnixTime {
        self.clock.settlement(unix)
    }

    /// What can be spent.
    pub fn purse(&self) -> Purse {
        let payee = |kind: OrderKind| match kind {
            OrderKind::OpenLock { payee, .. } => Some(payee),
            OrderKind::TopUp { lock_id, .. } => self.payees.get(&lock_id).copied(),
            OrderKind::Transfer { .. }
            | OrderKind::CloseLock { .. }
            | OrderKind::RotateKey { .. }
            | OrderKind::Grant { .. }
            | OrderKind::Burn { .. } => None,
        };
        let mut busy: Vec<NodeId> = self.orders.kinds().filter_map(payee).collect();
        busy.sort_unstable();
        busy.dedup();
        let limits = &self.network.limits;
        // Nobody serves on a shorter one (P5), and its credit would be gone for its grace.
        let is_long_enough = u64::from(limits.lock_ttl_secs) > LOCK_LEFT_MIN_SECS;
        Purse {
            synced: self.synced,
            reachable: self.link.is_reachable(),
            clock_off_secs: (!self.clock.is_sound()).then(|| self.clock.skew_secs()),
            ready: self.synced && self.takes_locks() && !self.nonce_lost && is_long_enough,
            pending: self.orders.committed(),
            spendable: self.spendable(),
            lock_max: MicroCredits::new(limits.lock_microcredits_max),
            lock_ttl_secs: limits.lock_ttl_secs,
            busy,
        }
    }

    /// What is available, by what it is promised to; `set_aside` is the boosts' to say.
    pub fn divide(&self, set_aside: MicroCredits) -> Available {
        Available::divide(self.account.available, self.orders.committed(), set_aside)
    }

    /// The account as users see it; `claimable` is the exchange's to say, `set_aside` the boosts'.
    pub fn view(&self, claimable: MicroCredits, set_aside: MicroCredits) -> WalletView {
        let available = self.divide(set_aside);
        WalletView {
            available: available.total(),
            pending: available.pending,
            set_aside: available.set_aside,
            reserved: self.account.reserved,
            claimable,
            as_of: self.as_of,
            reachable: self.link.is_reachable(),
        }
    }

    /// Asserts what always holds.
    ///
    /// # Panics
    /// If a rule of ours is broken.
    pub fn check_invariants(&self) {
        self.orders.check_invariants();
        self.errands.check_invariants();
        self.link.check_invariants();
        if let Some(current) = &self.orders.current {
            assert_eq!(
                current.order.body.account,
                self.identity.id(),
                "only own orders are sent"
            );
        }
        assert!(self.payees.len() <= LOCKS_MAX, "own locks are bounded");
    }

    fn spendable(&self) -> MicroCredits {
        self.account
            .available
            .saturating_sub(self.orders.committed())
    }

    /// When the next statement is due.
    fn statement_at(&self) -> Instant {
        let pause = if self.hint.is_some() {
            POLL_HINTED
        } else if self.expects_change() {
            POLL_PENDING
        } else {
            POLL_IDLE
        };
        self.told_at.map_or(Instant::ZERO, |told| told.after(pause))
    }

    /// An order waits, or credit is to come back from a lock.
    fn expects_change(&self) -> bool {
        !self.orders.is_idle() || self.errands.has_closes() || self.awaits_return
    }

    fn reserve(
        &mut self,
        kind: OrderKind,
        amount: MicroCredits,
        now: Instant,
    ) -> Result<(), WantError> {
        if !self.purse().ready {
            return Err(WantError::NotReady);
        }
        let spendable = self.spendable();
        if amount > spendable {
            return Err(WantError::InsufficientCredit {
                needed: amount,
                spendable,
            });
        }
        let wanted = Wanted {
            kind,
            memo_hash: [0; 32],
            since: now,
        };
        if self.orders.push(wanted) {
            Ok(())
        } else {
            Err(WantError::QueueFull(QUEUE_MAX))
        }
    }

    fn watch_clock(&mut self) {
        let is_sound = self.clock.is_sound();
        if !is_sound {
            self.orders.drop_reservations();
        }
        if self.was_sound != is_sound {
            self.was_sound = is_sound;
            let secs = self.clock.skew_secs();
            self.event(CreditEvent::ClockSkewed { secs, is_sound });
        }
    }

    fn write_order(&mut self, order: SignedOrder, answered: bool) {
        self.orders.kept(&order);
        let row = TallyRow::Order(OrderRow { order, answered });
        self.outputs.push_back(CreditOutput::Tally(vec![row]));
        assert_eq!(
            self.orders.current.is_some(),
            !answered,
            "an order is unanswered until it is written as answered"
        );
    }

    fn event(&mut self, event: CreditEvent) {
        self.outputs.push_back(event.into());
    }
}
