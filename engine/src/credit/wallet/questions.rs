//! What goes to the settlement node next.

use seedbank_ledger::settlement::PAGE_LINES_MAX;
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::tally::{OrderRow, TallyRow};
use seedbank_ledger::{Instant, UnixTime};

use super::Wallet;
use super::config::{ORDER_VALID_SECS, READ_VALID_SECS, TRANSFER_VALID_SECS};
use super::errands::PendingClaim;
use super::link::{Asked, Question};
use super::orders::{self, Wanted};
use crate::credit::output::CreditOutput;
use crate::credit::settlement::SettlementRequest;

impl Wallet {
    /// A line that the order's answer spoke of, the unanswered order, a statement that is due, or
    /// the next order: the first of them that may go out.
    pub(super) fn send_main(&mut self, now: Instant, unix: UnixTime) {
        if let Some(line) = self.look_at {
            let after = line.get().checked_sub(1).filter(|before| *before > 0);
            let kind = ReadKind::Statement {
                after: after.map(seedbank_ledger::Sequence::new),
                count: 1,
            };
            self.send_read(Question::Line(line), kind, now, unix);
        } else if self.orders.current.is_some() && now >= self.order_at && self.rollback.is_none() {
            self.send_order(now);
        } else if now >= self.statement_at() && !self.draining {
            let kind = ReadKind::Statement {
                after: self.seen,
                count: u32::try_from(PAGE_LINES_MAX).expect("a page of lines is bounded"),
            };
            self.send_read(Question::Statement, kind, now, unix);
        } else if self.may_sign()
            && let Some(wanted) = self.next_wanted(now)
        {
            self.sign(&wanted, unix);
            self.send_order(now);
        }
    }

    fn next_wanted(&mut self, now: Instant) -> Option<Wanted> {
        self.orders.pop(now).or_else(|| {
            let lock_id = self.errands.pop_close()?;
            Some(Wanted {
                kind: OrderKind::CloseLock { lock_id },
                memo_hash: [0; 32],
                since: now,
            })
        })
    }

    fn may_sign(&self) -> bool {
        let free = self.orders.current.is_none() && self.synced && !self.nonce_lost;
        let is_open = !self.retired && !self.draining && self.rollback.is_none();
        free && self.orders.nonce_next().is_some() && is_open
    }

    /// Signs the next order and has it written.
    fn sign(&mut self, wanted: &Wanted, unix: UnixTime) {
        let valid_secs = if orders::is_transfer(&wanted.kind) {
            TRANSFER_VALID_SECS
        } else {
            ORDER_VALID_SECS
        };
        let nonce = self.orders.nonce_next();
        let order = Order {
            network_id: self.network.id,
            account: self.identity.id(),
            nonce: nonce.expect("nothing is signed without a next nonce"),
            valid_until: self.clock.settlement(unix).plus_secs(valid_secs),
            kind: wanted.kind,
            memo_hash: wanted.memo_hash,
        };
        let order = order.sign(&self.identity);
        self.orders.begin_new(order);
        self.write_order(order, false);
    }

    fn send_order(&mut self, now: Instant) {
        let Some(current) = self.orders.current.as_mut() else {
            return;
        };
        let first = current.sent_count == 0;
        current.sent_count = current.sent_count.saturating_add(1);
        let order = current.order;
        assert_eq!(
            order.body.account,
            self.identity.id(),
            "only own orders are sent"
        );
        assert!(
            !first || self.is_written_last(&order),
            "an order is written before it is sent"
        );
        let random = self.randoms.draw();
        let what = SettlementRequest::Submit { random, order };
        self.send(Question::Order, what, now);
    }

    /// Whether the last output writes this order as unanswered.
    fn is_written_last(&self, order: &SignedOrder) -> bool {
        let Some(CreditOutput::Tally(rows)) = self.outputs.back() else {
            return false;
        };
        let order = *order;
        let answered = false;
        *rows == [TallyRow::Order(OrderRow { order, answered })]
    }

    pub(super) fn send_claims(&mut self, now: Instant) {
        let room = self.link.room_beside();
        let due: Vec<(LockId, PendingClaim)> = self
            .errands
            .claims()
            .filter(|(id, _)| !self.link.concerns(*id))
            .take(room)
            .collect();
        for (lock_id, PendingClaim { claim }) in due {
            let amount = claim.body.receipt.body.amount;
            let random = self.randoms.draw();
            let what = SettlementRequest::Claim { random, claim };
            self.send(Question::Claim { lock_id, amount }, what, now);
        }
    }

    pub(super) fn send_questions(&mut self, now: Instant, unix: UnixTime) {
        let room = self.link.room_beside();
        let due: Vec<LockId> = self
            .errands
            .locks()
            .filter(|id| !self.link.concerns(*id))
            .take(room)
            .collect();
        for lock_id in due {
            let kind = ReadKind::Lock(lock_id);
            self.send_read(Question::Lock(lock_id), kind, now, unix);
        }
    }

    fn send_read(&mut self, question: Question, kind: ReadKind, now: Instant, unix: UnixTime) {
        let read = ReadRequest {
            network_id: self.network.id,
            account: self.identity.id(),
            kind,
            random: self.randoms.draw(),
            valid_until: self.clock.settlement(unix).plus_secs(READ_VALID_SECS),
        };
        let read = read.sign(&self.identity);
        self.send(question, SettlementRequest::Read(read), now);
    }

    fn send(&mut self, question: Question, what: SettlementRequest, now: Instant) {
        let request = self.link.ask(Asked {
            question,
            hash: what.hash(),
            after: self.seen,
            size_min: self.size_min(),
            at: now,
        });
        self.outputs
            .push_back(CreditOutput::Settle { request, what });
    }
}
