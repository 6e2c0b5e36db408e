//! The nonce machine: at most one order is unanswered, it is repeated with the same bytes, and no
//! nonce is signed for two bodies by this node while both can be entered. Which are used it knows
//! by its own signed orders in certified lines, and by nobody's word (docs/RULES.md, orders).

use std::collections::{BTreeMap, VecDeque};

use seedbank_ledger::identity::SignatureScheme;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::{Instant, MicroCredits, NodeId};

use super::config::{QUEUE_MAX, REQUEST_IDS_MAX, WANTED_FOR};

/// Something to be ordered as soon as its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) kind: OrderKind,
    pub(super) memo_hash: [u8; 32],
    pub(super) since: Instant,
}

/// The order that is waiting for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) order: SignedOrder,
    /// How often it was sent, as far as this run knows; a reloaded one counts as sent.
    pub(super) sent_count: u32,
    /// Somebody was told that it is denied.
    is_denied: bool,
}

impl Current {
    /// Whether its only sending so far was in this run.
    pub(super) fn is_first(&self) -> bool {
        self.sent_count <= 1
    }
}

/// What became of the current order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It used its nonce.
    Done(Option<Refusal>),
    /// Another order of mine used its nonce first: it never happened and never will.
    Replaced(Order),
    /// It used no nonce and was refused.
    NotTaken(Refusal),
}

/// A transfer that a request id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    pub(super) amount: MicroCredits,
    pub(super) nonce: u64,
}

/// Queue, current order and remembered request ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    pub(super) current: Option<Current>,
    /// The order of mine with the highest nonce of those that are known to be entered.
    newest: Option<SignedOrder>,
    /// Nonce of the order that is kept for the next run, current or not.
    nonce_kept: u64,
    queue: VecDeque<Wanted>,
    transfers: BTreeMap<[u8; 32], Transfer>,
    transfer_age: VecDeque<[u8; 32]>,
}

impl Orders {
    /// Notes an order of mine that is known to be entered.
    pub(super) fn note(&mut self, order: &SignedOrder) {
        if order.body.nonce > self.nonce_used() {
            self.newest = Some(*order);
        }
        self.bind(&order.body);
    }

    /// Notes what an earlier run kept: its newest order.
    pub(super) fn restore(&mut self, order: SignedOrder, answered: bool) {
        self.nonce_kept = order.body.nonce;
        if answered {
            self.note(&order);
        } else {
            // It may have left.
            self.begin(order, 1);
        }
    }

    /// Highest nonce that is known to be used; 0 for none.
    pub(super) fn nonce_used(&self) -> u64 {
        self.newest.map_or(0, |order| order.body.nonce)
    }

    /// What the next order is signed under; `None` when there is no next one.
    pub(super) fn nonce_next(&self) -> Option<u64> {
        self.nonce_used().checked_add(1)
    }

    /// What is to be kept for the next run in place of what is: the newest order of mine that
    /// another run gave, once nothing is unanswered.
    pub(super) fn to_keep(&self) -> Option<SignedOrder> {
        let newest = self.newest.filter(|_| self.current.is_none());
        newest.filter(|order| order.body.nonce > self.nonce_kept)
    }

    /// This order is kept for the next run.
    pub(super) fn kept(&mut self, order: &SignedOrder) {
        self.nonce_kept = order.body.nonce;
    }

    /// The transfer that a request id stands for.
    pub(super) fn transfer(&self, memo_hash: &[u8; 32]) -> Option<&Transfer> {
        self.transfers.get(memo_hash)
    }

    /// Binds a request id. The oldest binding is forgotten at the bound.
    pub(super) fn remember(&mut self, memo_hash: [u8; 32], transfer: Transfer) {
        if memo_hash == [0; 32] {
            return;
        }
        if self.transfers.insert(memo_hash, transfer).is_none() {
            self.transfer_age.push_back(memo_hash);
        }
        if self.transfer_age.len() > REQUEST_IDS_MAX {
            let oldest = self.transfer_age.pop_front();
            oldest.and_then(|oldest| self.transfers.remove(&oldest));
        }
        assert!(
            self.transfer_age.len() <= REQUEST_IDS_MAX,
            "request ids are bounded"
        );
        assert_eq!(
            self.transfers.len(),
            self.transfer_age.len(),
            "each request id has an age"
        );
    }

    /// Drops a queued transfer that turns out to have been ordered before.
    pub(super) fn forget_queued(&mut self, order: &Order) {
        self.queue
            .retain(|wanted| !is_transfer(&wanted.kind) || wanted.memo_hash != order.memo_hash);
    }

    /// Queues an operation: transfers before all else. False if the queue is full.
    pub(super) fn push(&mut self, wanted: Wanted) -> bool {
        if self.queue.len() >= QUEUE_MAX {
            return false;
        }
        if is_transfer(&wanted.kind) {
            self.queue.insert(self.transfer_count(), wanted);
        } else {
            self.queue.push_back(wanted);
        }
        assert!(self.queue.len() <= QUEUE_MAX, "the queue is bounded");
        true
    }

    /// Puts a transfer back whose order never happened.
    pub(super) fn push_again(&mut self, wanted: Wanted) {
        self.queue.push_front(wanted);
    }

    /// Takes the next operation to sign, dropping those about locks that waited too long.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Wanted> {
        self.queue
            .retain(|wanted| is_transfer(&wanted.kind) || now.since(wanted.since) < WANTED_FOR);
        self.queue.pop_front()
    }

    /// Drops what reserves credit in locks, which a clock that is off must not do.
    pub(super) fn drop_reservations(&mut self) {
        let reserves =
            |kind: &OrderKind| matches!(kind, OrderKind::OpenLock { .. } | OrderKind::TopUp { .. });
        self.queue.retain(|wanted| !reserves(&wanted.kind));
    }

    /// Drops what was not signed, request ids too; gives the transfers among it.
    pub(super) fn drop_queued(&mut self) -> Vec<OrderKind> {
        let queued = std::mem::take(&mut self.queue);
        let transfers = queued.iter().filter(|wanted| is_transfer(&wanted.kind));
        for wanted in transfers.clone() {
            self.transfers.remove(&wanted.memo_hash);
            self.transfer_age.retain(|hash| *hash != wanted.memo_hash);
        }
        transfers.map(|wanted| wanted.kind).collect()
    }

    /// Makes an order that was signed now the current one.
    pub(super) fn begin_new(&mut self, order: SignedOrder) {
        assert_eq!(
            Some(order.body.nonce),
            self.nonce_next(),
            "an order has the next nonce"
        );
        self.begin(order, 0);
    }

    /// Gives up the current order, which used no nonce and never will: its nonce is free again.
    pub(super) fn give_up(&mut self) {
        let current = self.current.take();
        assert!(current.is_some(), "an order is given up while unanswered");
    }

    /// The settlement node shows an order that I never signed in place of the current one. False
    /// if it did before.
    pub(super) fn deny(&mut self) -> bool {
        let current = self.current.as_mut();
        current.is_some_and(|current| !std::mem::replace(&mut current.is_denied, true))
    }

    /// Asserts what always holds.
    pub(super) fn check_invariants(&self) {
        // One more for a transfer that was put back.
        assert!(self.queue.len() <= QUEUE_MAX + 1, "the queue is bounded");
        assert!(
            self.transfers.len() <= REQUEST_IDS_MAX,
            "request ids are bounded"
        );
        assert_eq!(
            self.transfers.len(),
            self.transfer_age.len(),
            "each request id has an age"
        );
    }

    /// The nonce a transfer queued now will most likely be signed under.
    pub(super) fn nonce_expected(&self) -> u64 {
        let ahead = u64::try_from(self.transfer_count()).unwrap_or(u64::MAX);
        let current = self.current.map_or(0, |current| current.order.body.nonce);
        let used = self.nonce_used().max(current);
        used.saturating_add(1).saturating_add(ahead)
    }

    /// Credit that queued and unanswered operations will take.
    pub(super) fn committed(&self) -> MicroCredits {
        self.kinds()
            .map(|kind| amount_of(&kind))
            .fold(MicroCredits::ZERO, MicroCredits::saturating_add)
    }

    /// Every operation that is queued or unanswered.
    pub(super) fn kinds(&self) -> impl Iterator<Item = OrderKind> {
        let current = self.current.iter().map(|current| current.order.body.kind);
        current.chain(self.queue.iter().map(|wanted| wanted.kind))
    }

    pub(super) fn closes(&self, lock_id: LockId) -> bool {
        self.kinds()
            .any(|kind| kind == OrderKind::CloseLock { lock_id })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    fn begin(&mut self, order: SignedOrder, sent_count: u32) {
        assert!(self.current.is_none(), "one order is unanswered at a time");
        self.bind(&order.body);
        self.current = Some(Current {
            order,
            sent_count,
            is_denied: false,
        });
    }

    /// Binds the request id of an order, if it is a transfer.
    fn bind(&mut self, order: &Order) {
        if let OrderKind::Transfer { to, amount } = order.kind {
            let nonce = order.nonce;
            self.remember(order.memo_hash, Transfer { to, amount, nonce });
        }
    }

    fn transfer_count(&self) -> usize {
        let leading = |wanted: &&Wanted| is_transfer(&wanted.kind);
        self.queue.iter().take_while(leading).count()
    }
}

/// What a line that was checked says became of `order`; `None` if it is about another nonce or
/// account.
pub(super) fn read_line(order: &Order, line: &StatementLine) -> Option<Answer> {
    let Operation::Order(other) = &line.operation else {
        return None;
    };
    let is_about_it = (other.body.account, other.body.nonce) == (order.account, order.nonce);
    is_about_it.then(|| {
        if other.body == *order {
            Answer::Done(line.refusal)
        } else {
            Answer::Replaced(other.body)
        }
    })
}

/// Whether `other`, which is said to have used the nonce of `order`, was signed by its account.
/// That it was entered is not said by that.
pub(super) fn is_genuine(scheme: &dyn SignatureScheme, order: &Order, other: &SignedOrder) -> bool {
    let slot = |order: &Order| (order.network_id, order.account, order.nonce);
    slot(&other.body) == slot(order) && other.verify_by(scheme, &order.account).is_ok()
}

pub(super) fn is_transfer(kind: &OrderKind) -> bool {
    matches!(kind, OrderKind::Transfer { .. })
}

fn amount_of(kind: &OrderKind) -> MicroCredits {
    match *kind {
        OrderKind::Transfer { amount, .. }
        | OrderKind::OpenLock { amount, .. }
        | OrderKind::TopUp { amount, .. }
        | OrderKind::Burn { amount } => amount,
        OrderKind::CloseLock { .. } | OrderKind::RotateKey { .. } | OrderKind::Grant { .. } => {
            MicroCredits::ZERO
        }
    }
}
