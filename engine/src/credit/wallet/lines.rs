//! What the settlement node certified: lines checked and taken over in order, and its ledger's end,
//! which never goes back.

use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::AccountAnswer;
use seedbank_ledger::signed::head::{HeadConflict, SignedHead};
use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::statement::{LockStatus, Operation, StatementLine};
use seedbank_ledger::{Instant, MicroCredits, NodeId, Sequence, UnixTime};

use super::Wallet;
use super::answers::Fault;
use super::config::LOCKS_MAX;
use super::link::Asked;
use crate::credit::output::{CreditOutput, Errand};

impl Wallet {
    /// This node's own ledger refused a line that was taken: it ends at `newest`, and lines are
    /// asked for from there again. Told once of each line.
    pub fn line_refused(
        &mut self,
        line: Sequence,
        refusal: Refusal,
        newest: Option<Sequence>,
        now: Instant,
    ) {
        if newest < self.seen {
            self.seen = newest;
            // Lines from there on may be older than the newest that was taken.
            self.as_of = UnixTime::default();
            self.hint = None;
            self.told_at = Some(now);
        }
        if self.refused_line != Some(line) {
            self.refused_line = Some(line);
            self.conflict(format!(
                "line {line} is not for this node's ledger: {refusal}"
            ));
        }
    }

    /// Nothing of a line is used unless all of it holds.
    pub(super) fn check_line(&self, line: &StatementLine) -> Result<(), &'static str> {
        let (scheme, own) = (self.identity.scheme(), self.identity.id());
        let settlement = &self.network.settlement;
        line.verify(scheme, self.network.id, settlement, &own)
            .map_err(|_| "a line that is not certified to us")?;
        line.lock
            .as_ref()
            .map_or(Ok(()), |status| self.check_parties(status))
    }

    /// The lines after the newest one here, if they follow it.
    pub(super) fn check_lines(&self, lines: &[StatementLine]) -> Result<(), &'static str> {
        let (mut newest, mut time) = (self.seen, self.as_of);
        for line in lines {
            let body = &line.certificate.body;
            let follows = line.previous == newest && Some(body.sequence) > newest;
            if !follows || body.time < time {
                return Err("lines that do not follow ours");
            }
            (newest, time) = (Some(body.sequence), body.time);
            self.check_line(line)?;
        }
        Ok(())
    }

    pub(super) fn check_lock(&self, status: &LockStatus) -> Result<(), &'static str> {
        let lock = &status.lock;
        if lock.body.network_id != self.network.id {
            return Err("a lock of another network");
        }
        lock.verify_by(self.identity.scheme(), &self.network.settlement)
            .map_err(|_| "a lock with a wrong signature")?;
        self.check_parties(status)
    }

    /// We are told of locks that we are party to, and of no others.
    fn check_parties(&self, status: &LockStatus) -> Result<(), &'static str> {
        let (lock, own) = (&status.lock.body, self.identity.id());
        if lock.payer == own || lock.payee == own {
            Ok(())
        } else {
            Err("a lock of other parties")
        }
    }

    /// Our account, and a ledger's end that is not before what we know of it.
    pub(super) fn check_account(
        &mut self,
        asked: &Asked,
        account: &AccountAnswer,
    ) -> Result<(), Fault> {
        let head = &account.head;
        if account.status.account != self.identity.id() {
            return Err("an account that is not ours".into());
        }
        let signed = head.verify_by(self.identity.scheme(), &self.network.settlement);
        if head.body.network_id != self.network.id || signed.is_err() {
            return Err("a head with a wrong signature".into());
        }
        if let Err(conflict) = self.check_end(asked, head) {
            self.rolled_back(conflict, head);
            return Err(Fault::RolledBack);
        }
        if self
            .head
            .is_none_or(|known| known.body.size < head.body.size)
        {
            self.head = Some(*head);
        }
        Ok(())
    }

    /// Whether `head` is of the ledger that we know, and no shorter than it was when we asked.
    fn check_end(&self, asked: &Asked, head: &SignedHead) -> Result<(), HeadConflict> {
        let (size, size_min) = (head.body.size, asked.size_min);
        if let Some(known) = size_min.checked_sub(1).filter(|known| size <= *known) {
            return Err(HeadConflict::Behind { size, known });
        }
        // An answer may come after that to a later question.
        match &self.head {
            Some(known) if known.body.size <= size => head.body.check_known(&known.body),
            Some(known) => known.body.check_known(&head.body),
            None => Ok(()),
        }
    }

    /// Whether the ledger that ends at `head` has these lines, which were checked.
    pub(super) fn check_ends(
        &mut self,
        head: &SignedHead,
        lines: &[StatementLine],
    ) -> Result<(), Fault> {
        let certified = lines.iter().map(|line| &line.certificate.body);
        let conflict = certified
            .map(|line| head.body.check_line(line))
            .find_map(Result::err);
        match conflict {
            None => Ok(()),
            Some(conflict) => {
                self.rolled_back(conflict, head);
                Err(Fault::RolledBack)
            }
        }
    }

    /// Entries that the network's ledger is known to have.
    pub(super) fn size_min(&self) -> u64 {
        let lines = self.seen.map_or(0, |seen| seen.get().saturating_add(1));
        let head = self.head.map_or(0, |head| head.body.size);
        lines.max(head)
    }

    /// Takes over lines that were checked.
    pub(super) fn take_lines(&mut self, lines: &[StatementLine], unix: UnixTime) {
        for line in lines {
            let body = &line.certificate.body;
            self.as_of = self.as_of.max(body.time);
            self.clock.not_before(body.time, unix);
            self.seen = Some(body.sequence);
            self.account.available = body.available_after;
            self.take_reserved(line);
            self.note_own(line);
        }
    }

    /// Hands over what was taken: each line's lock and then its entry, so that a crash between them
    /// reads the line again.
    pub(super) fn book_lines(&mut self, lines: Vec<StatementLine>) {
        for line in lines {
            if let Some(status) = &line.lock {
                self.lock_changed(status);
                self.hand_over_claim(&line, status.lock.body.payer);
            }
            let line = NodeCommand::Settled(Box::new(line));
            self.outputs.push_back(CreditOutput::Append(line));
        }
    }

    /// A claim of ours has the receipt that it was paid for, which this node may have lost.
    fn hand_over_claim(&mut self, line: &StatementLine, payer: NodeId) {
        if let Operation::Claim(claim) = &line.operation
            && claim.body.payee == self.identity.id()
        {
            let claim = Box::new(*claim);
            self.outputs
                .push_back(Errand::ClaimCertified { payer, claim }.into());
        }
    }

    pub(super) fn lock_changed(&mut self, status: &LockStatus) {
        let lock = &status.lock.body;
        let is_ours = lock.payer == self.identity.id();
        // Of two locks of one number the one known stands, and the exchange tells.
        if status.closed && self.payees.get(&lock.lock_id) == Some(&lock.payee) {
            self.payees.remove(&lock.lock_id);
        } else if !status.closed && is_ours && self.payees.len() < LOCKS_MAX {
            self.payees.entry(lock.lock_id).or_insert(lock.payee);
            assert!(self.payees.len() <= LOCKS_MAX, "own locks are bounded");
        }
        self.outputs.push_back(Errand::LockTold(*status).into());
    }

    /// An order of ours that was certified, taken over or not, has used its nonce.
    pub(super) fn note_own(&mut self, line: &StatementLine) {
        let Operation::Order(order) = &line.operation else {
            return;
        };
        if order.body.account == self.identity.id() {
            self.orders.note(order);
            self.orders.forget_queued(&order.body);
            let is_rotation = matches!(order.body.kind, OrderKind::RotateKey { .. });
            self.retired |= is_rotation && line.refusal.is_none();
        }
    }

    /// What the line moved into locks of ours or out of them; a statement says the sum.
    fn take_reserved(&mut self, line: &StatementLine) {
        let own = self.identity.id();
        let is_ours = |lock: &LockStatus| lock.lock.body.payer == own;
        if !line.lock.as_ref().is_some_and(is_ours) {
            return;
        }
        let reserves = match &line.operation {
            Operation::Claim(_) | Operation::Expiry(_) => false,
            Operation::Order(order) => !matches!(order.body.kind, OrderKind::CloseLock { .. }),
        };
        let change = if reserves {
            MicroCredits::saturating_add
        } else {
            MicroCredits::saturating_sub
        };
        self.account.reserved = change(self.account.reserved, line.amount);
    }

    /// The settlement node signed what contradicts what it had signed before: no order and no lock
    /// from now on in this run, and what waits is dropped. The head is told whole, for whoever asks
    /// for evidence.
    fn rolled_back(&mut self, conflict: HeadConflict, head: &SignedHead) {
        if self.rollback.is_some() {
            return;
        }
        self.rollback = Some(conflict);
        let body = &head.body;
        self.conflict(format!(
            "{conflict}: signed head of {} entries, hash {}, time {}, signature {}",
            body.size, body.entry_hash, body.time, head.signature
        ));
        // Nothing of what waits is kept, and nothing of it is signed in this run.
        for kind in self.orders.drop_queued() {
            self.conflict(format!(
                "{conflict}: {kind:?} was not signed and is forgotten"
            ));
        }
    }
}
