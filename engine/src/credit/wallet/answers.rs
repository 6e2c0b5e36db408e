//! Taking over what the settlement node said, or none of it.

use std::slice;

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{AnswerBody, OperationAnswer, SettlementAnswer, Statement};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::statement::{LockStatus, Operation, StatementLine};
use seedbank_ledger::{Instant, MicroCredits, Sequence, UnixTime};

use super::Wallet;
use super::config::{FRESH, RETRY_MAX};
use super::link::{Asked, Question};
use super::orders::{self, Answer, Wanted};
use crate::credit::event::CreditEvent;
use crate::credit::output::Errand;
use crate::credit::settlement::Envelope;

/// Why an answer is not used.
pub(super) enum Fault {
    /// It is no word of the settlement node's on this question.
    Unusable(String),
    /// It says that we asked too late, or too early; settlement time is known better now.
    Late,
    /// The settlement node's ledger went back, which was told.
    RolledBack,
    /// The settlement node contradicts itself, or us.
    Contradiction(&'static str),
}

impl From<&'static str> for Fault {
    fn from(what: &'static str) -> Self {
        Self::Contradiction(what)
    }
}

impl Wallet {
    /// Opens an envelope, checks what is in it and takes it over. After an error nothing was used
    /// but the time that the settlement node sealed.
    pub(super) fn take_envelope(
        &mut self,
        asked: &Asked,
        envelope: &Envelope,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), Fault> {
        let (scheme, network) = (self.identity.scheme(), &self.network);
        let answer = envelope
            .open(scheme, network.id, &network.settlement, asked.hash, 0)
            .map_err(|error| Fault::Unusable(error.to_string()))?;
        let waited = now.since(asked.at);
        if waited <= FRESH {
            self.clock.answered(answer.time, waited.as_secs(), unix);
        } else {
            self.clock.not_before(answer.time, unix);
        }
        self.take_answer(asked, answer, now, unix)
    }

    /// Says why an answer was not used. What anybody on the way can bring about is told once until
    /// an answer is used.
    pub(super) fn not_used(&mut self, fault: Fault) {
        match fault {
            Fault::Unusable(why) if !self.told_unusable => {
                self.told_unusable = true;
                self.event(CreditEvent::AnswerUnusable { why });
            }
            Fault::Unusable(_) | Fault::Late | Fault::RolledBack => {}
            Fault::Contradiction(what) => self.conflict(what.to_owned()),
        }
    }

    fn take_answer(
        &mut self,
        asked: &Asked,
        answer: SettlementAnswer,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), Fault> {
        match (asked.question, answer.body) {
            (Question::Order, AnswerBody::Operation(told)) => self.order_told(*told, now, unix),
            (Question::Order, AnswerBody::Refused(refusal)) => {
                self.order_told(refused(refusal), now, unix)
            }
            (Question::Claim { lock_id, amount }, AnswerBody::Operation(told)) => {
                self.claim_told((lock_id, amount), *told, unix)
            }
            (Question::Claim { lock_id, amount }, AnswerBody::Refused(refusal)) => {
                self.claim_told((lock_id, amount), refused(refusal), unix)
            }
            (Question::Lock(lock_id), AnswerBody::Lock(status)) => self.lock_told(lock_id, status),
            (Question::Statement, AnswerBody::Statement(statement)) => {
                self.statement_told(asked, statement, now, unix)
            }
            (Question::Line(line), AnswerBody::Statement(statement)) => {
                self.line_told(asked, line, statement, now, unix)
            }
            (
                Question::Lock(_) | Question::Statement | Question::Line(_),
                AnswerBody::Refused(Refusal::Expired),
            ) => Err(Fault::Late),
            (
                Question::Lock(_) | Question::Statement | Question::Line(_),
                AnswerBody::Refused(refusal),
            ) => Err(Fault::Unusable(format!("a question is refused: {refusal}"))),
            (
                Question::Order | Question::Claim { .. },
                AnswerBody::Account(_) | AnswerBody::Lock(_) | AnswerBody::Statement(_),
            )
            | (
                Question::Lock(_),
                AnswerBody::Operation(_) | AnswerBody::Account(_) | AnswerBody::Statement(_),
            )
            | (
                Question::Statement | Question::Line(_),
                AnswerBody::Operation(_) | AnswerBody::Account(_) | AnswerBody::Lock(_),
            ) => Err("an answer to another question".into()),
        }
    }

    fn lock_told(&mut self, lock_id: LockId, status: Option<LockStatus>) -> Result<(), Fault> {
        match status {
            Some(status) if status.lock.body.lock_id != lock_id => {
                return Err("another lock".into());
            }
            Some(status) => {
                self.check_lock(&status)?;
                self.lock_changed(&status);
            }
            None => self.conflict(format!("lock {lock_id} is signed and then unknown")),
        }
        self.errands.lock_told(lock_id);
        Ok(())
    }

    /// A page of lines, and the account as it stands.
    fn statement_told(
        &mut self,
        asked: &Asked,
        mut statement: Statement,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), Fault> {
        self.check_account(asked, &statement.account)?;
        if asked.after > self.seen {
            // Lines that we had then were refused since: from there again.
            self.told_at = Some(now);
            return Ok(());
        }
        // Or it would be asked for the next one at once, and for ever.
        let newest = statement.newest();
        if statement.more && newest <= asked.after {
            return Err("a page that brings nothing and is not the last".into());
        }
        let seen = self.seen;
        statement
            .lines
            .retain(|line| Some(line.certificate.body.sequence) > seen);
        let lines: Vec<StatementLine> = statement.lines.into_iter().map(signed_only).collect();
        self.check_lines(&lines)?;
        self.check_ends(&statement.account.head, &lines)?;
        self.take_lines(&lines, unix);
        // A claim's line may have overtaken it: of what is older nothing is known to be so.
        let is_newest = newest.or(asked.after) >= self.seen;
        if is_newest {
            self.account = statement.account.status;
            self.synced |= !statement.more;
        }
        lines
            .iter()
            .for_each(|line| self.settle_by(line, now, unix));
        if is_newest {
            self.watch_nonce();
        }
        self.keep_newest();
        self.book_lines(lines);
        self.told_at = (!statement.more).then_some(now);
        // An answer to a later question has the line, or there is none.
        let seen = self.seen;
        self.hint
            .take_if(|(line, at)| Some(*line) <= seen || asked.at >= *at);
        Ok(())
    }

    /// The one line of an entry that answered the order and that is older than our newest: a crash
    /// kept the line and not what became of the order.
    fn line_told(
        &mut self,
        asked: &Asked,
        sequence: Sequence,
        statement: Statement,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), Fault> {
        self.check_account(asked, &statement.account)?;
        self.look_at = None;
        let mut lines = statement.lines.into_iter();
        let line = lines.find(|line| line.certificate.body.sequence == sequence);
        let line = signed_only(line.ok_or("a line that is spoken of and not there")?);
        self.check_line(&line)?;
        self.check_ends(&statement.account.head, slice::from_ref(&line))?;
        self.note_own(&line);
        self.settle_by(&line, now, unix);
        Ok(())
    }

    /// What became of the order, which only a certified line says for good.
    fn order_told(
        &mut self,
        told: OperationAnswer,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), Fault> {
        let Some(current) = self.orders.current else {
            return Ok(());
        };
        if let Some(line) = told.line {
            let line = signed_only(line);
            if orders::read_line(&current.order.body, &line).is_none() {
                return Err("a line of another order".into());
            }
            return self.operation_line(line, now, unix);
        }
        let scheme = self.identity.scheme();
        let is_genuine =
            |other: &SignedOrder| orders::is_genuine(scheme, &current.order.body, other);
        // Without its line it is not done yet, nor replaced.
        match (told.used_by, told.sequence, told.refusal) {
            (Some(other), _, _) if !is_genuine(&other) => self.order_denied(now),
            (_, Some(sequence), _) => self.look_for(sequence, now),
            (Some(_), None, _) => self.look_again(now),
            (None, None, Some(refusal)) => {
                self.settle_order(Answer::NotTaken(refusal), now, unix);
            }
            (None, None, None) => return Err("an answer that says nothing".into()),
        }
        Ok(())
    }

    fn claim_told(
        &mut self,
        (lock_id, amount): (LockId, MicroCredits),
        told: OperationAnswer,
        unix: UnixTime,
    ) -> Result<(), Fault> {
        let is_told = told.line.is_some();
        if let Some(line) = told.line {
            let line = signed_only(line);
            let is_ours = match &line.operation {
                Operation::Claim(claim) => claim.body.lock_id == lock_id,
                Operation::Order(_) | Operation::Expiry(_) => false,
            };
            if !is_ours {
                return Err("a line of another claim".into());
            }
            self.claim_line(line, unix)?;
        }
        self.errands.claim_answered(lock_id, amount);
        if !is_told {
            // Paid earlier than we knew, or refused: the lock itself tells.
            self.errands.ask(lock_id);
        }
        let refusal = told
            .refusal
            .filter(|refusal| *refusal != Refusal::AlreadyDone);
        if let Some(refusal) = refusal {
            if refusal == Refusal::ReceiptRegressed {
                self.outputs
                    .push_back(Errand::ClaimRegressed(lock_id).into());
            }
            let what = format!("claim on lock {lock_id}");
            self.event(CreditEvent::SettlementRefused { what, refusal });
        }
        Ok(())
    }

    /// The line of the order, which settles it; taken over if it is the next one, else what is
    /// between is asked for.
    fn operation_line(
        &mut self,
        line: StatementLine,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), Fault> {
        self.check_line(&line)?;
        self.note_own(&line);
        let lines = self.take_next(line.clone(), unix);
        self.settle_by(&line, now, unix);
        self.book_lines(lines);
        Ok(())
    }

    fn claim_line(&mut self, line: StatementLine, unix: UnixTime) -> Result<(), Fault> {
        self.check_line(&line)?;
        let lines = self.take_next(line, unix);
        self.book_lines(lines);
        Ok(())
    }

    /// Takes over a line that follows our newest. One that leaves a gap is asked for with what is
    /// before it.
    fn take_next(&mut self, line: StatementLine, unix: UnixTime) -> Vec<StatementLine> {
        let sequence = Some(line.certificate.body.sequence);
        if sequence <= self.seen {
            return Vec::new();
        }
        if line.previous != self.seen {
            self.told_at = None;
            return Vec::new();
        }
        let lines = vec![line];
        self.take_lines(&lines, unix);
        lines
    }

    /// The entry that answers the order was there before: its line says what it is.
    fn look_for(&mut self, sequence: Sequence, now: Instant) {
        if Some(sequence) <= self.seen {
            self.look_at = Some(sequence);
            self.order_at = now.after(RETRY_MAX);
        } else {
            self.look_again(now);
        }
    }

    /// What became of the order is for lines to say, and it is asked for again if none does.
    fn look_again(&mut self, now: Instant) {
        self.told_at = None;
        self.order_at = now.after(RETRY_MAX);
    }

    /// Its nonce is said to be used by an order that we never signed. Ours may be entered all the
    /// same, so it stays the one unanswered order.
    fn order_denied(&mut self, now: Instant) {
        self.look_again(now);
        if let Some(current) = self.orders.current
            && self.orders.deny()
        {
            let nonce = current.order.body.nonce;
            self.conflict(format!("shows an order {nonce} that we never gave"));
        }
    }

    /// A certified line settles the order whose nonce it is about.
    fn settle_by(&mut self, line: &StatementLine, now: Instant, unix: UnixTime) {
        if let Some(current) = self.orders.current
            && let Some(answer) = orders::read_line(&current.order.body, line)
        {
            self.settle_order(answer, now, unix);
        }
    }

    fn settle_order(&mut self, answer: Answer, now: Instant, unix: UnixTime) {
        let Some(current) = self.orders.current else {
            return;
        };
        let order = current.order.body;
        match answer {
            Answer::Done(refusal) => {
                self.finish_order(current.order);
                if let Some(refusal) = refusal {
                    self.order_refused(&order, refusal);
                }
            }
            Answer::Replaced(other) => {
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
            // Nothing is entered of an account without standing or above its next nonce, and
            // nothing ever will be of an order that is late by our own clock too (docs/RULES.md,
            // standing in a network). It is not written as answered: a restart before the next
            // order gives it up again.
            Answer::NotTaken(
                refusal @ (Refusal::Expired | Refusal::NoStanding | Refusal::WrongNonce),
            ) if self.clock.settlement(unix).min(unix) > order.valid_until => {
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

    /// A nonce that was used cannot become free again, unless the settlement node lost entries. One
    /// that is ahead of our orders is its word alone, and nothing comes of it.
    fn watch_nonce(&mut self) {
        let lost = self.account.nonce < self.orders.nonce_used();
        if lost && !self.nonce_lost {
            self.conflict(format!("nonce went back to {}", self.account.nonce));
        }
        self.nonce_lost = lost;
    }

    /// Keeps the newest order of ours that was given elsewhere, or before a backup was restored:
    /// the next run finds its nonce in no line that it reads.
    fn keep_newest(&mut self) {
        if let Some(order) = self.orders.to_keep() {
            self.write_order(order, true);
        }
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

/// A refusal without an entry.
fn refused(refusal: Refusal) -> OperationAnswer {
    OperationAnswer {
        refusal: Some(refusal),
        used_by: None,
        sequence: None,
        line: None,
    }
}

/// A line without a reason that nobody signed.
fn signed_only(line: StatementLine) -> StatementLine {
    line.with_signed_reason_only()
}
