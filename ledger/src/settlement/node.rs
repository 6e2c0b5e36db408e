//! The service: questions of many accounts, answered from one network ledger.

use std::collections::BTreeSet;

use crate::charts::network::{Audit, GrantSummary, NetworkLedger};
use crate::entry::EntryHash;
use crate::identity::NodeId;
use crate::ledger::check::CheckError;
use crate::ledger::{LedgerError, Outcome};
use crate::refusal::Refusal;
use crate::settlement::codec::{
    AccountAnswer, AnswerBody, OperationAnswer, PAGE_LINES_MAX, READ_VALID_SECS_MAX,
    SettlementAnswer, SettlementRequest, Statement,
};
use crate::settlement::envelope::Sealer;
use crate::settlement::{Answered, GrantOutcome, IssueError, Issuing, NewGrant};
use crate::signed::lock::LockId;
use crate::signed::order::SignedOrder;
use crate::signed::read::{ReadKind, ReadRequest};
use crate::statement::{LockStatus, Operation, StatementLine};
use crate::store::{Store, StoreRead, Table};
use crate::time::UnixTime;
use crate::units::Sequence;

/// A settlement node: a network ledger, and the issuer's key if it is kept here.
#[derive(Debug)]
pub struct SettlementNode<S> {
    ledger: NetworkLedger<S>,
    issuing: Option<Issuing<S>>,
}

/// Grants, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPage {
    /// Each with its reason, as far as that is known here.
    pub grants: Vec<(GrantSummary, String)>,
    /// Where to go on; `None` at the beginning of the ledger.
    pub next: Option<Sequence>,
}

impl<S: StoreRead> SettlementNode<S> {
    /// Answers from `ledger`, and grants if there is something to issue with.
    pub fn new(ledger: NetworkLedger<S>, issuing: Option<Issuing<S>>) -> Self {
        Self { ledger, issuing }
    }

    /// Answers one question: by what is read here, and by what became of it if it is
    /// [one to enter](SettlementRequest::operation). The only place where lines and locks are
    /// signed: at any time after the entering, on any thread.
    ///
    /// A read's signature is not looked at: whoever lets questions in has asked
    /// [`SettlementRequest::check`]. All else about it is checked here.
    pub fn answer_one(
        &self,
        now: UnixTime,
        request: &SettlementRequest,
        outcome: Option<Outcome>,
    ) -> Result<Answered, LedgerError> {
        let time = self.time(now);
        let entered = matches!(outcome, Some(Outcome::Entered { .. }));
        let body = match request {
            SettlementRequest::Submit { .. } | SettlementRequest::Claim { .. } => {
                let outcome = outcome.expect("what is to be entered has an outcome");
                self.told(&request.account(), outcome)?
            }
            SettlementRequest::Read(read) => self.read(time, &read.body)?,
        };
        let answer = SettlementAnswer { time, body };
        Ok(Answered { answer, entered })
    }

    /// A further message of a watch, whose reader has the lines up to `after`.
    pub fn watched(
        &self,
        now: UnixTime,
        account: &NodeId,
        after: Option<Sequence>,
    ) -> Result<SettlementAnswer, LedgerError> {
        let body = AnswerBody::Statement(self.statement(account, after, PAGE_LINES_MAX)?);
        let time = self.time(now);
        Ok(SettlementAnswer { time, body })
    }

    /// At most `limit` (and [`PAGE_LINES_MAX`], at least 1) lines of `account` after `after`, and
    /// the account. Every line costs two signatures.
    pub fn statement(
        &self,
        account: &NodeId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Statement, LedgerError> {
        let limit = limit.clamp(1, PAGE_LINES_MAX);
        let mut lines = self
            .ledger
            .statement(account, after, limit.saturating_add(1))?;
        let more = lines.len() > limit;
        lines.truncate(limit);
        assert!(lines.len() <= PAGE_LINES_MAX, "a page of lines is bounded");
        Ok(Statement {
            account: self.account(account)?,
            more,
            lines,
        })
    }

    /// One lock; `None` if there is none of that number.
    pub fn lock(&self, lock_id: LockId) -> Result<Option<LockStatus>, LedgerError> {
        self.ledger.lock(lock_id)
    }

    /// Makes the whole ledger again from its entries and sums it up; O(entries).
    pub fn audit(&self) -> Result<Audit, CheckError> {
        self.ledger.audit()
    }

    /// What seals its answers, on whatever thread sends them.
    pub fn sealer(&self) -> Sealer {
        Sealer::new(self.ledger.share_key(), self.ledger.network_id())
    }

    /// The ledger that it answers from.
    pub fn ledger(&self) -> &NetworkLedger<S> {
        &self.ledger
    }

    /// At most `limit` grants before `before`, newest first; see [`NetworkLedger::grants`].
    pub fn grants(&self, before: Option<Sequence>, limit: usize) -> Result<GrantPage, LedgerError> {
        let (grants, next) = self.ledger.grants(before, limit)?;
        let with_reason = |grant: GrantSummary| {
            let reason = self.ledger.reason(&grant.memo_hash)?;
            Ok((grant, String::from_utf8_lossy(&reason).into_owned()))
        };
        let grants: Result<_, LedgerError> = grants.into_iter().map(with_reason).collect();
        let grants = grants?;
        Ok(GrantPage { grants, next })
    }

    /// Whether credit can be created here.
    pub fn can_grant(&self) -> bool {
        self.issuing.is_some()
    }

    /// Settlement time: never before that of an entry.
    fn time(&self, now: UnixTime) -> UnixTime {
        now.max(self.ledger.head().time)
    }

    fn account(&self, account: &NodeId) -> Result<AccountAnswer, LedgerError> {
        let status = self.ledger.account(account)?;
        assert_eq!(
            status.account, *account,
            "an account is told what is its own"
        );
        let head = self.ledger.signed_head()?;
        Ok(AccountAnswer { status, head })
    }

    /// What a signed question is told: nothing but what its signer is party to.
    fn read(&self, time: UnixTime, read: &ReadRequest) -> Result<AnswerBody, LedgerError> {
        let latest = time.plus_secs(READ_VALID_SECS_MAX);
        if read.network_id != self.ledger.network_id() {
            return Ok(AnswerBody::Refused(Refusal::WrongNetwork));
        }
        if !(time..=latest).contains(&read.valid_until) {
            return Ok(AnswerBody::Refused(Refusal::Expired));
        }
        let account = &read.account;
        Ok(match read.kind {
            ReadKind::Account => AnswerBody::Account(self.account(account)?),
            ReadKind::Lock(lock_id) => {
                let is_party = |status: &LockStatus| {
                    let lock = &status.lock.body;
                    lock.payer == *account || lock.payee == *account
                };
                AnswerBody::Lock(self.lock(lock_id)?.filter(is_party))
            }
            ReadKind::Statement { after, count } => {
                let limit = usize::try_from(count).unwrap_or(usize::MAX);
                AnswerBody::Statement(self.statement(account, after, limit)?)
            }
            ReadKind::Watch { after } => {
                AnswerBody::Statement(self.statement(account, after, PAGE_LINES_MAX)?)
            }
        })
    }

    /// What the signer of an operation is told of its outcome.
    fn told(&self, account: &NodeId, outcome: Outcome) -> Result<AnswerBody, LedgerError> {
        let (refusal, sequence) = (outcome.refusal(), outcome.sequence());
        let (used_by, line) = match outcome {
            Outcome::Entered { sequence, .. } => (None, self.line(account, sequence)?),
            Outcome::NonceUsed { order, .. } => (Some(*order), None),
            Outcome::Known { .. } | Outcome::Refused(_) => (None, None),
        };
        Ok(AnswerBody::Operation(Box::new(OperationAnswer {
            refusal,
            used_by,
            sequence,
            line,
        })))
    }

    /// The line of an entry in an account's statement, if it touched it.
    fn line(
        &self,
        account: &NodeId,
        sequence: Sequence,
    ) -> Result<Option<StatementLine>, LedgerError> {
        let before = sequence.get().checked_sub(1).map(Sequence::new);
        let mut lines = self.ledger.statement(account, before, 1)?;
        let line = lines.pop();
        Ok(line.filter(|line| line.certificate.body.sequence == sequence))
    }
}

impl<S: Store> SettlementNode<S> {
    /// Enters orders and claims, at most [`GROUP_MAX`](crate::ledger::GROUP_MAX), in one append
    /// that is fsynced and marked when this returns; one outcome each. Reads and signs nothing for
    /// anybody.
    pub fn enter(
        &mut self,
        now: UnixTime,
        operations: &[Operation],
    ) -> Result<Vec<Outcome>, LedgerError> {
        let outcomes = self.ledger.append(now, operations)?;
        assert_eq!(
            outcomes.len(),
            operations.len(),
            "one outcome for each operation"
        );
        Ok(outcomes)
    }

    /// Answers a group of questions in their order.
    ///
    /// All orders and claims of the group are [entered](Self::enter) together; every answer is what
    /// is true after that. A question that enters nothing does not let time pass, and is answered
    /// whatever becomes of the others.
    pub fn answer(
        &mut self,
        now: UnixTime,
        group: &[SettlementRequest],
    ) -> Vec<Result<Answered, LedgerError>> {
        let operations: Vec<Operation> = group
            .iter()
            .filter_map(SettlementRequest::operation)
            .collect();
        let entered = match operations.as_slice() {
            [] => Ok(Vec::new()),
            some => self.enter(now, some),
        };
        let mut outcomes = entered.map(Vec::into_iter);
        let answers: Vec<_> = group
            .iter()
            .map(|request| {
                let outcome = match request.operation() {
                    Some(_) => {
                        let outcomes = outcomes.as_mut().map_err(|error| error.clone())?;
                        outcomes.next()
                    }
                    None => None,
                };
                self.answer_one(now, request, outcome)
            })
            .collect();
        assert_eq!(answers.len(), group.len(), "one answer for each question");
        if let Ok(left) = &outcomes {
            assert_eq!(left.len(), 0, "every outcome answers a question");
        }
        answers
    }

    /// Creates credit, signed by the issuer's key; durable when this returns. The same request
    /// again gives the same answer.
    pub fn grant(&mut self, now: UnixTime, grant: &NewGrant) -> Result<GrantOutcome, IssueError> {
        let issuing = self.issuing.as_ref().ok_or(IssueError::NotIssuer)?;
        let issuer = issuing.issuer.id();
        if !self.ledger.genesis().is_issuer(&issuer) {
            return Err(IssueError::Refused(Refusal::NotIssuer));
        }
        let network_id = self.ledger.network_id();
        let time = now.max(self.ledger.head().time);
        let used = self.ledger.account(&issuer)?.nonce;
        let sign = || issuing.sign(grant, network_id, used.saturating_add(1), time);
        // One that was kept and then not entered, because of a crash, is refused for good once it
        // is late or another order has its nonce. As no entry is its own, a new one may follow it.
        let kept = issuing.kept(grant)?.filter(|order| {
            let is_late = time > order.body.valid_until;
            order.body.nonce <= used || !is_late
        });
        let mut order = kept.map_or_else(sign, Ok)?;
        let mut outcome = enter(&mut self.ledger, now, order)?;
        if matches!(outcome, Outcome::NonceUsed { .. }) {
            order = sign()?;
            outcome = enter(&mut self.ledger, now, order)?;
        }
        match (outcome.refusal(), outcome.sequence()) {
            (None, Some(sequence)) => self.granted(sequence, order.body.nonce),
            (Some(refusal), _) => Err(IssueError::Refused(refusal)),
            (None, None) => unreachable!("what was not refused is an entry"),
        }
    }

    /// Lets time pass: of the locks whose time has passed by `now`, up to
    /// [`DUE_MAX`](crate::ledger::DUE_MAX) are ended.
    pub fn tick(&mut self, now: UnixTime) -> Result<(), LedgerError> {
        self.ledger.append(now, &[]).map(drop)
    }

    /// Whether there are more of them: time may pass again at once.
    pub fn is_behind(&self) -> bool {
        self.ledger.is_behind()
    }

    /// The accounts that got lines since this was asked last.
    pub fn take_touched(&mut self) -> BTreeSet<NodeId> {
        self.ledger.take_touched()
    }

    fn granted(&self, sequence: Sequence, nonce: u64) -> Result<GrantOutcome, IssueError> {
        let entries = self.ledger.entries(sequence, 1)?;
        let missing = || LedgerError::missing(Table::Entry, &sequence.get().to_be_bytes());
        let entry = entries.first().ok_or_else(missing)?;
        Ok(GrantOutcome {
            sequence,
            entry_hash: EntryHash::of(&entry.to_bytes()),
            nonce,
        })
    }
}

/// Enters one order.
fn enter<S: Store>(
    ledger: &mut NetworkLedger<S>,
    now: UnixTime,
    order: SignedOrder,
) -> Result<Outcome, LedgerError> {
    let mut outcomes = ledger.append(now, &[Operation::Order(order)])?;
    Ok(outcomes.pop().expect("one outcome for each operation"))
}

impl SettlementRequest {
    /// What it enters; `None` of a question that only reads.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Submit { order, .. } => Some(Operation::Order(*order)),
            Self::Claim { claim, .. } => Some(Operation::Claim(*claim)),
            Self::Read(_) => None,
        }
    }
}
