//! This node's account at its settlement node: orders by nonce, claims, locks, statement lines.
//!
//! It is driven by `tick` and `answer` and polled for outputs; it reads no clock. One order is
//! unanswered at a time and stored before it leaves, so that a crash, a lost answer or a restored
//! backup never signs a nonce for two bodies (docs/PROTOCOL.md §8, protocol-review F23). Whom to
//! pay is decided in `boost.rs`; receipts live in the exchange.

mod answers;
mod clock;
pub mod config;
mod link;
mod locks;
mod orders;
mod questions;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use seedbank_ledger::node::NodeCommand;
use seedbank_ledger::signed::certificate::Certificate;
use seedbank_ledger::signed::lock::{LockId, SignedLock};
use seedbank_ledger::signed::order::{OrderKind, SignedOrder};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::statement::{AccountStatus, LockStatus};
use seedbank_ledger::tally::{OrderRow, TallyRow};
use seedbank_ledger::{Identity, Instant, MicroCredits, NodeId, Sequence, UnixTime};

use crate::session::command::CommandError;
use crate::session::config::Network;
use crate::session::event::SessionEvent;
use crate::session::settlement::{SettlementReply, SettlementRequest};
use crate::session::view::WalletView;
use clock::Clock;
use config::{LOCK_TTL_SECS, POLL_IDLE, POLL_PENDING, QUEUE_MAX, REQUEST_ID_LEN_MAX};
use link::Link;
use locks::{Locks, Moment};
use orders::{Orders, Transfer, Wanted};

/// What the wallet asks of its owner, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalletOutput {
    /// Write these rows before anything after this output happens.
    Tally(Vec<TallyRow>),
    /// Ask the settlement node; answered by [`Wallet::answer`].
    Settle {
        /// Number to answer under.
        request: u64,
        /// What to ask.
        what: SettlementRequest,
    },
    /// Append an entry to the node ledger.
    Append(NodeCommand),
    /// What is known of a lock changed, or the settlement node confirmed it for the first time.
    LockChanged(LockStatus),
    /// Something a user or a log may want to know.
    Event(SessionEvent),
}

/// What the wallet of an earlier run left behind.
#[derive(Clone, Debug, Default)]
pub struct WalletBook {
    /// Tally rows; only orders and locks are read.
    pub rows: Vec<TallyRow>,
    /// Certificate of the newest settled line in the node ledger; `None` for none.
    pub newest: Option<Certificate>,
    /// Newest transfers of ours in the node ledger, oldest first, so that their request ids keep
    /// their meaning; only the last [`config::REQUEST_IDS_MAX`] count.
    pub transfers: Vec<SignedOrder>,
}

/// What can be spent, and where operations are under way; for [`crate::boost::Boosts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purse {
    /// The settlement node has answered in this run and locks may be opened.
    pub ready: bool,
    /// Available credit less what queued and unanswered operations will take.
    pub spendable: MicroCredits,
    /// Payees for whom an `OpenLock` or `TopUp` is queued or unanswered, in order, each once.
    pub busy: Vec<NodeId>,
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
    /// The settlement node has told the account in this run.
    synced: bool,
    retired: bool,
    /// The account's nonce fell behind one that is known to be used, and somebody was told.
    nonce_lost: bool,
    was_sound: bool,
    draining: bool,
    /// When lines were told last; `None` asks at once.
    told_at: Option<Instant>,
    /// The unanswered order is not repeated before.
    order_at: Instant,
    orders: Orders,
    locks: Locks,
    link: Link,
    clock: Clock,
    outputs: VecDeque<WalletOutput>,
}

impl Wallet {
    /// A wallet as the book left it. Asks for its statement and its locks at the first `tick`.
    pub fn new(network: Network, identity: Arc<Identity>, book: &WalletBook, now: Instant) -> Self {
        let own = identity.id();
        let newest = book.newest.as_ref();
        let mut orders = Orders::default();
        for transfer in &book.transfers {
            orders.note(&transfer.body);
        }
        let mut locks = Locks::new(own);
        for row in &book.rows {
            match row {
                TallyRow::Lock(row) => locks.restore(row, now),
                TallyRow::Order(row) if row.order.body.account != own => {}
                TallyRow::Order(row) if row.answered => orders.note(&row.order.body),
                TallyRow::Order(row) => orders.begin(row.order, 1),
                TallyRow::Receipt(_) | TallyRow::Pair(_) | TallyRow::Boost { .. } => {}
            }
        }
        let account = AccountStatus {
            account: own,
            available: newest.map_or(MicroCredits::ZERO, |newest| newest.available_after),
            reserved: MicroCredits::ZERO,
            nonce: 0,
        };
        Self {
            identity,
            network,
            account,
            as_of: newest.map_or(UnixTime::ZERO, |newest| newest.time),
            seen: newest.map(|newest| newest.sequence),
            synced: false,
            retired: false,
            nonce_lost: false,
            was_sound: true,
            draining: false,
            told_at: None,
            order_at: now,
            orders,
            locks,
            link: Link::default(),
            clock: Clock::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Does what is due: questions, the next order, claims, closes. Call at `next_timeout`, after
    /// every other call that may have queued something, and when the wall clock is told.
    pub fn tick(&mut self, now: Instant, unix: UnixTime) {
        self.clock.observe(now, unix);
        self.link.expire(now);
        let moment = self.moment(now, unix);
        self.locks.tend(&moment);
        self.watch_clock();
        if !self.link.may_ask(now) {
            return;
        }
        self.queue_closes(now);
        if !self.link.main_is_busy() {
            self.send_main(now, unix);
        }
        self.send_claims(&moment);
        self.send_questions(now);
    }

    /// The settlement node's answer to `request`. Late and doubled answers are ignored.
    pub fn answer(&mut self, request: u64, reply: SettlementReply, now: Instant, unix: UnixTime) {
        self.clock.observe(now, unix);
        let Some(asked) = self.link.answered(request) else {
            return;
        };
        if let SettlementReply::Unreachable(_) = reply {
            self.link.failed(now);
            return;
        }
        match self.take_answer(&asked, reply, now, unix) {
            Ok(()) => self.link.succeeded(),
            Err(what) => {
                self.conflict(what.to_owned());
                self.link.failed(now);
            }
        }
        self.tick(now, unix);
    }

    /// Sends credit to another account. Returns the nonce the order has or will most likely get.
    ///
    /// The same request id with the same body is the same transfer, in this run and in later ones.
    /// A transfer that waits behind another order is not stored yet: a crash forgets it, and
    /// repeating the command is safe.
    pub fn transfer(
        &mut self,
        request_id: &str,
        to: NodeId,
        amount: MicroCredits,
        now: Instant,
    ) -> Result<u64, CommandError> {
        let bad = |field, problem| Err(CommandError::BadValue { field, problem });
        if request_id.is_empty() || request_id.len() > REQUEST_ID_LEN_MAX {
            return bad("request_id", "must be 1 to 64 bytes long");
        }
        let memo_hash = memo_hash(request_id);
        if let Some(known) = self.orders.transfer(&memo_hash) {
            return if (known.to, known.amount) == (to, amount) {
                Ok(known.nonce)
            } else {
                Err(CommandError::RequestIdReused(request_id.to_owned()))
            };
        }
        if to == self.identity.id() {
            return bad("to", "is this node's own account");
        }
        if amount.is_zero() {
            return bad("amount", "must be more than zero");
        }
        let available = self.spendable();
        if amount > available {
            return Err(CommandError::InsufficientCredit {
                needed: amount,
                available,
            });
        }
        if self.draining {
            return Err(CommandError::ShuttingDown);
        }
        let nonce = self.orders.nonce_expected(self.account.nonce);
        let wanted = Wanted {
            kind: OrderKind::Transfer { to, amount },
            memo_hash,
            since: now,
        };
        if !self.orders.push(wanted) {
            return bad("transfer", "has to wait: too many orders wait already");
        }
        self.orders
            .remember(memo_hash, Transfer { to, amount, nonce });
        Ok(nonce)
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
        let ttl_secs = LOCK_TTL_SECS;
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
        let open = |status: &LockStatus| status.lock.body.payer == self.identity.id();
        let status = self.lock(lock_id).filter(open);
        let Some(status) = status.filter(|status| !status.closed) else {
            return Err(WantError::LockUnknown(lock_id));
        };
        if self.purse().busy.contains(&status.lock.body.payee) {
            return Err(WantError::UnderWay);
        }
        let ttl_secs = LOCK_TTL_SECS;
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

    /// Notes that the payee of a lock of ours was asked to close it: nothing more is signed on it.
    /// The row is written before the question leaves.
    pub fn ask_close(&mut self, lock_id: LockId) {
        if self.locks.ask_close(lock_id) {
            self.write_lock(lock_id);
            self.announce_lock(lock_id);
        }
    }

    /// A lock that its payer showed us, its signature checked by the caller. It is stored, and
    /// provisional until the settlement node has told about it. False if there is no room for it
    /// or it does not pay us.
    pub fn show_lock(&mut self, lock: &SignedLock, now: Instant) -> bool {
        if lock.body.payee != self.identity.id() || lock.body.network_id != self.network.id {
            return false;
        }
        match self.locks.show(lock, now) {
            None => false,
            Some(false) => true,
            Some(true) => {
                self.write_lock(lock.body.lock_id);
                self.announce_lock(lock.body.lock_id);
                true
            }
        }
    }

    /// The newest receipt held on a lock that pays us, checked and stored by the caller. Cheap.
    pub fn hold(&mut self, lock_id: LockId, receipt: &SignedReceipt) {
        self.locks.hold(lock_id, receipt);
    }

    /// The exchange says that a lock which pays us can be closed: nothing granted on it is unpaid,
    /// and its payer asked or it was idle for long (DESIGN P5). From here on it is closed for
    /// service and receipts; what is held is claimed, then the close is ordered.
    pub fn close_lock(&mut self, lock_id: LockId) {
        if self.locks.close(lock_id) {
            self.write_lock(lock_id);
            self.announce_lock(lock_id);
        }
    }

    /// The session ends: claims everything, signs nothing new. Done when `is_quiet`.
    pub fn shutdown(&mut self) {
        self.draining = true;
    }

    /// The next thing to do; `None` when there is nothing until the next call.
    pub fn poll_output(&mut self) -> Option<WalletOutput> {
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

    /// Nothing is under way at the settlement node.
    pub fn is_quiet(&self) -> bool {
        self.link.is_quiet()
    }

    /// Whether the settlement node has told, in this run, what was claimed on this lock.
    pub fn is_confirmed(&self, lock_id: LockId) -> bool {
        self.locks
            .get(lock_id)
            .is_some_and(locks::Record::is_confirmed)
    }

    /// Whether locks may be taken and opened: not with a clock off by more than 10 minutes.
    pub fn takes_locks(&self) -> bool {
        self.clock.is_sound() && !self.retired && !self.draining
    }

    /// Settlement time, as far as known.
    pub fn settlement_time(&self, unix: UnixTime) -> UnixTime {
        self.clock.settlement(unix)
    }

    /// What is known of a lock. Closed by either side's word.
    pub fn lock(&self, lock_id: LockId) -> Option<LockStatus> {
        self.locks.get(lock_id).map(locks::Record::status)
    }

    /// Every lock we pay from that can still hold credit or was lately closed, by number, each with
    /// whether its close was asked for.
    pub fn own_locks(&self) -> impl Iterator<Item = (LockStatus, bool)> {
        self.locks
            .ours()
            .map(|record| (record.status(), record.is_close_asked()))
    }

    /// Every lock that pays us, by number.
    pub fn paying_locks(&self) -> impl Iterator<Item = LockStatus> {
        self.locks.theirs().map(|(_, record)| record.status())
    }

    /// What can be spent.
    pub fn purse(&self) -> Purse {
        let payee = |kind: OrderKind| match kind {
            OrderKind::OpenLock { payee, .. } => Some(payee),
            OrderKind::TopUp { lock_id, .. } => {
                let record = self.locks.get(lock_id)?;
                Some(record.status().lock.body.payee)
            }
            OrderKind::Transfer { .. }
            | OrderKind::CloseLock { .. }
            | OrderKind::RotateKey { .. }
            | OrderKind::Grant { .. }
            | OrderKind::Burn { .. } => None,
        };
        let mut busy: Vec<NodeId> = self.orders.kinds().filter_map(payee).collect();
        busy.sort_unstable();
        busy.dedup();
        Purse {
            ready: self.synced && self.takes_locks() && !self.nonce_lost,
            spendable: self.spendable(),
            busy,
        }
    }

    /// The account as users see it.
    pub fn view(&self) -> WalletView {
        let claimable = self.locks.theirs().map(|(_, record)| record.claimable());
        WalletView {
            available: self.account.available,
            locked: self.account.reserved,
            claimable: claimable.fold(MicroCredits::ZERO, MicroCredits::saturating_add),
            as_of: self.as_of,
            reachable: self.link.is_reachable(),
        }
    }

    /// Asserts what always holds.
    ///
    /// # Panics
    /// If a rule of ours is broken.
    pub fn check_invariants(&self) {
        let queued = self.orders.kinds().count();
        assert!(queued <= QUEUE_MAX + 2, "the queue is bounded");
        if let Some(current) = &self.orders.current {
            assert_eq!(
                current.order.body.account,
                self.identity.id(),
                "only own orders are sent"
            );
        }
        for (id, record) in self.locks.iter() {
            assert_eq!(*id, record.status().lock.body.lock_id, "locks by number");
        }
    }

    fn spendable(&self) -> MicroCredits {
        self.account
            .available
            .saturating_sub(self.orders.committed())
    }

    /// When the next statement is due.
    fn statement_at(&self) -> Instant {
        let closing = self
            .locks
            .ours()
            .any(|record| record.is_close_asked() && !record.is_settled_closed());
        let pause = if closing || !self.orders.is_idle() {
            POLL_PENDING
        } else {
            POLL_IDLE
        };
        self.told_at.map_or(Instant::ZERO, |told| told.after(pause))
    }

    fn moment(&self, now: Instant, unix: UnixTime) -> Moment {
        Moment {
            now,
            time: self.clock.settlement(unix),
            draining: self.draining,
        }
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
            self.event(SessionEvent::ClockSkewed { secs, is_sound });
        }
    }

    fn write_order(&mut self, order: SignedOrder, answered: bool) {
        let row = TallyRow::Order(OrderRow { order, answered });
        self.outputs.push_back(WalletOutput::Tally(vec![row]));
    }

    fn write_lock(&mut self, lock_id: LockId) {
        if let Some(record) = self.locks.get(lock_id) {
            let row = TallyRow::Lock(record.row());
            self.outputs.push_back(WalletOutput::Tally(vec![row]));
        }
    }

    fn announce_lock(&mut self, lock_id: LockId) {
        if let Some(status) = self.lock(lock_id) {
            self.outputs.push_back(WalletOutput::LockChanged(status));
        }
    }

    fn event(&mut self, event: SessionEvent) {
        self.outputs.push_back(WalletOutput::Event(event));
    }
}

/// What a request id becomes inside a signed order; it survives in every statement line.
fn memo_hash(request_id: &str) -> [u8; 32] {
    blake3::derive_key("seedbank v1 request id", request_id.as_bytes())
}
