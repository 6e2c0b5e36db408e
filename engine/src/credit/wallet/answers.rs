//! Taking over what the settlement node said, or none of it.

use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{SettlementAnswer, Statement};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::statement::{LockStatus, Operation, StatementLine};
use seedbank_ledger::{Instant, MicroCredits, Sequence, UnixTime};

use super::Wallet;
use super::config::{FRESH, LOCKS_MAX, RETRY_MAX};
use super::link::{Asked, Question};
use super::orders::{self, Answer, Told, Wanted};
use crate::credit::event::CreditEvent;
use crate::credit::output::{CreditOutput, Errand};

impl Wallet {
    /// Checks an answer and takes it over. An error says what is wrong with it; nothing was used.
    pub(super) fn take_answer(
        &mut self,
        asked: &Asked,
        answer: SettlementAnswer,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), &'static str> {
        match (asked.question, answer) {
            (Question::Lock(lock_id), SettlementAnswer::Lock(status)) => {
                self.lock_told(lock_id, status)
            }
            (
                Question::Order { .. } | Question::Claim { .. } | Question::Statement,
                SettlementAnswer::Statement(statement),
            ) => {
                self.check_statement(asked.after, &statement)?;
                let told = Told {
                    to_order: matches!(asked.question, Question::Order { .. }),
                    statement: &statement,
                };
                self.statement_told(asked, &told, now, unix);
                Ok(())
            }
            (Question::Lock(_), SettlementAnswer::Statement(_))
            | (
                Question::Order { .. } | Question::Claim { .. } | Question::Statement,
                SettlementAnswer::Lock(_),
            ) => Err("an answer to another question"),
        }
    }

    /// Nothing of an answer is used unless all of it holds.
    fn check_statement(
        &self,
        after: Option<Sequence>,
        statement: &Statement,
    ) -> Result<(), &'static str> {
        let own = self.identity.id();
        if statement.account.account != own {
            return Err("an account that is not ours");
        }
        // Or it would be asked for the next one at once, and for ever.
        let last = statement.lines.last();
        let last = last.map(|line| line.certificate.body.sequence);
        if statement.more && last <= after {
            return Err("a page that brings nothing and is not the last");
        }
        let mut newest = self.seen;
        let is_new = |line: &&StatementLine| Some(line.certificate.body.sequence) > self.seen;
        for line in statement.lines.iter().filter(is_new) {
            let body = &line.certificate.body;
            if body.account != own || body.network_id != self.network.id {
                return Err("a certificate that is not for us");
            }
            if line.previous != newest || Some(body.sequence) <= newest {
                return Err("lines that do not follow ours");
            }
            newest = Some(body.sequence);
            let certified = line
                .certificate
                .verify_by(self.identity.scheme(), &self.network.settlement);
            if certified.is_err() {
                return Err("a certificate with a wrong signature");
            }
            if let Some(status) = &line.lock {
                self.check_lock(status)?;
            }
        }
        Ok(())
    }

    fn check_lock(&self, status: &LockStatus) -> Result<(), &'static str> {
        let lock = &status.lock;
        if lock.body.network_id != self.network.id {
            return Err("a lock of another network");
        }
        lock.verify_by(self.identity.scheme(), &self.network.settlement)
            .map_err(|_| "a lock with a wrong signature")
    }

    fn lock_told(
        &mut self,
        lock_id: LockId,
        status: Option<LockStatus>,
    ) -> Result<(), &'static str> {
        match status {
            Some(status) if status.lock.body.lock_id != lock_id => return Err("another lock"),
            Some(status) => {
                self.check_lock(&status)?;
                self.lock_changed(&status);
            }
            None => self.conflict(format!("lock {lock_id} is signed and then unknown")),
        }
        self.errands.lock_told(lock_id);
        Ok(())
    }

    fn lock_changed(&mut self, status: &LockStatus) {
        let lock = &status.lock.body;
        if status.closed {
            self.payees.remove(&lock.lock_id);
        } else if lock.payer == self.identity.id() && self.payees.len() < LOCKS_MAX {
            self.payees.insert(lock.lock_id, lock.payee);
            assert!(self.payees.len() <= LOCKS_MAX, "own locks are bounded");
        }
        self.outputs.push_back(Errand::LockTold(*status).into());
    }

    /// Takes over an answer that was checked: orders first, then each line's lock and its entry, so
    /// that a crash between them reads the line again.
    fn statement_told(&mut self, asked: &Asked, told: &Told<'_>, now: Instant, unix: UnixTime) {
        let statement = told.statement;
        let last = statement
            .lines
            .last()
            .map(|line| line.certificate.body.sequence);
        let version = last.or(asked.after);
        let is_new = |line: &&StatementLine| Some(line.certificate.body.sequence) > self.seen;
        let lines: Vec<&StatementLine> = statement.lines.iter().filter(is_new).collect();
        self.take_lines(&lines, unix);
        if version >= self.seen {
            self.seen = version;
            self.account = statement.account;
            self.synced |= !statement.more;
        }
        let answer = self.orders.current.map_or(Answer::Open, |current| {
            orders::read_answer(self.identity.scheme(), &current.order, told)
        });
        self.date_clock(asked, &statement.lines, now, unix);
        self.settle_order(answer, now, unix);
        if let Question::Claim {
            lock_id, amount, ..
        } = asked.question
        {
            self.claim_told(lock_id, amount, statement);
        }
        self.watch_nonce();
        for line in &lines {
            if let Some(status) = &line.lock {
                self.lock_changed(status);
            }
            let line = Box::new((*line).clone().with_signed_reason_only());
            self.outputs
                .push_back(CreditOutput::Append(NodeCommand::Settled(line)));
        }
        self.told_at = (!statement.more).then_some(now);
        // An answer to a later question has the line, or there is none.
        let seen = self.seen;
        self.hint
            .take_if(|(line, at)| Some(*line) <= seen || asked.at >= *at);
    }

    fn take_lines(&mut self, lines: &[&StatementLine], unix: UnixTime) {
        for line in lines {
            let body = &line.certificate.body;
            self.as_of = self.as_of.max(body.time);
            self.clock.not_before(body.time, unix);
            if let Operation::Order(order) = &line.operation
                && order.body.account == self.identity.id()
            {
                self.orders.note(&order.body);
                self.orders.forget_queued(&order.body);
                let is_rotation = matches!(order.body.kind, OrderKind::RotateKey { .. });
                self.retired |= is_rotation && line.refusal.is_none();
            }
        }
    }

    /// An order or claim that was carried out while we waited tells settlement time.
    fn date_clock(&mut self, asked: &Asked, lines: &[StatementLine], now: Instant, unix: UnixTime) {
        let first = match asked.question {
            Question::Order { first } | Question::Claim { first, .. } => first,
            Question::Statement | Question::Lock(_) => false,
        };
        let own = |line: &&StatementLine| match (&line.operation, asked.question) {
            (Operation::Order(order), Question::Order { .. }) => self
                .orders
                .current
                .is_some_and(|current| current.order.body == order.body),
            (Operation::Claim(claim), Question::Claim { lock_id, .. }) => {
                claim.body.lock_id == lock_id
            }
            (Operation::Order(_) | Operation::Claim(_) | Operation::Expiry(_), _) => false,
        };
        if !first || now.since(asked.at) > FRESH {
            return;
        }
        if let Some(line) = lines.iter().rev().find(own) {
            self.clock.sample(line.certificate.body.time, unix);
        }
    }

    fn settle_order(&mut self, answer: Answer, now: Instant, unix: UnixTime) {
        let Some(current) = self.orders.current else {
            return;
        };
        let order = current.order.body;
        match answer {
            Answer::Open => {}
            Answer::Done(refusal) => {
                self.finish_order(current.order);
                if let Some(refusal) = refusal {
                    self.order_refused(&order, refusal);
                }
            }
            Answer::Replaced(other) => {
                self.orders.note(&other);
                self.finish_order(current.order);
                let same = other.memo_hash == order.memo_hash;
                match order.kind {
                    OrderKind::Transfer { .. } if !same => self.orders.push_again(Wanted {
                        kind: order.kind,
                        memo_hash: order.memo_hash,
                        since: now,
                    }),
                    OrderKind::CloseLock { lock_id } => self.errands.close(lock_id),
                    OrderKind::Transfer { .. }
                    | OrderKind::OpenLock { .. }
                    | OrderKind::TopUp { .. }
                    | OrderKind::RotateKey { .. }
                    | OrderKind::Grant { .. }
                    | OrderKind::Burn { .. } => {}
                }
            }
            Answer::Forged => {
                self.finish_order(current.order);
                self.conflict(format!("shows an order {} that we never gave", order.nonce));
            }
            // Nothing is entered of an account without standing, and nothing ever will be of an
            // order that is late by our own clock too (docs/RULES.md, standing in a network). It is
            // not written as answered: a restart before the next order gives it up again.
            Answer::NotTaken(refusal @ (Refusal::Expired | Refusal::NoStanding))
                if self.clock.settlement(unix) > order.valid_until =>
            {
                self.orders.give_up();
                self.order_refused(&order, refusal);
            }
            Answer::NotTaken(refusal) => {
                // Its nonce may yet be taken, so it stays the one unanswered order.
                self.order_at = now.after(RETRY_MAX);
                if current.is_first() {
                    self.order_refused(&order, refusal);
                }
            }
        }
    }

    fn finish_order(&mut self, order: SignedOrder) {
        self.orders.current = None;
        self.write_order(order, true);
    }

    fn claim_told(&mut self, lock_id: LockId, amount: MicroCredits, statement: &Statement) {
        self.errands.claim_answered(lock_id, amount);
        let shows = |line: &StatementLine| {
            let lock = line.lock.as_ref();
            lock.is_some_and(|status| status.lock.body.lock_id == lock_id)
        };
        if !statement.lines.iter().any(shows) {
            // Paid earlier than we knew, or refused: the lock itself tells.
            self.errands.ask(lock_id);
        }
        let refusal = statement
            .refusal
            .filter(|refusal| *refusal != Refusal::AlreadyDone);
        if let Some(refusal) = refusal {
            let what = format!("claim on lock {lock_id}");
            self.event(CreditEvent::SettlementRefused { what, refusal });
        }
    }

    /// A nonce that was used cannot become free again, unless the settlement node lost entries.
    fn watch_nonce(&mut self) {
        let lost = self.orders.is_ahead_of(self.account.nonce);
        if lost && !self.nonce_lost {
            self.conflict(format!("nonce went back to {}", self.account.nonce));
        }
        self.nonce_lost = lost;
    }

    fn order_refused(&mut self, order: &Order, refusal: Refusal) {
        if let OrderKind::TopUp { lock_id, .. } | OrderKind::CloseLock { lock_id } = order.kind {
            self.errands.ask(lock_id);
        }
        let what = format!("order {}: {:?}", order.nonce, order.kind);
        self.event(CreditEvent::SettlementRefused { what, refusal });
    }

    pub(super) fn conflict(&mut self, what: String) {
        let signer = self.network.settlement;
        self.event(CreditEvent::Conflict { signer, what });
    }
}
