//! The service: questions of many accounts, answered from one network ledger.

use crate::charts::network::{Audit, GrantSummary, NetworkLedger};
use crate::entry::EntryHash;
use crate::identity::NodeId;
use crate::ledger::check::CheckError;
use crate::ledger::{LedgerError, Outcome};
use crate::refusal::Refusal;
use crate::settlement::codec::PAGE_LINES_MAX;
use crate::settlement::envelope::Sealer;
use crate::settlement::{
    Answered, GrantOutcome, IssueError, Issuing, NewGrant, SettlementAnswer, SettlementRequest,
    Statement,
};
use crate::signed::lock::LockId;
use crate::signed::order::{OrderKind, SignedOrder};
use crate::statement::{LockStatus, Operation, StatementLine};
use crate::store::{Store, Table};
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

impl<S: Store> SettlementNode<S> {
    /// Answers from `ledger`, and grants if there is something to issue with.
    pub fn new(ledger: NetworkLedger<S>, issuing: Option<Issuing<S>>) -> Self {
        Self { ledger, issuing }
    }

    /// Answers a group of questions, each of the account beside it, in their order.
    ///
    /// All orders and claims of the group, at most [`GROUP_MAX`](crate::ledger::GROUP_MAX), are
    /// entered in one append that is fsynced once; every answer is what is true after that. A
    /// question that enters nothing does not let time pass, and is answered whatever becomes of the
    /// others.
    pub fn answer(
        &mut self,
        now: UnixTime,
        group: &[(NodeId, SettlementRequest)],
    ) -> Vec<Result<Answered, LedgerError>> {
        let operations: Vec<Operation> = group
            .iter()
            .filter_map(|(_, request)| operation(request))
            .collect();
        let entered = match operations.as_slice() {
            [] => Ok(Vec::new()),
            some => self.ledger.append(now, some),
        };
        if let Ok(outcomes) = &entered {
            assert_eq!(
                outcomes.len(),
                operations.len(),
                "one outcome for each operation"
            );
        }
        let mut outcomes = entered.map(Vec::into_iter);
        let answers: Vec<_> = group
            .iter()
            .map(|(account, request)| match request {
                SettlementRequest::Submit { after, .. }
                | SettlementRequest::Claim { after, .. } => {
                    let outcomes = outcomes.as_mut().map_err(|error| error.clone())?;
                    let outcome = outcomes.next().expect("one outcome for each operation");
                    let entered = matches!(outcome, Outcome::Entered { .. });
                    let statement = self.statement(account, *after, PAGE_LINES_MAX)?;
                    let answer = SettlementAnswer::Statement(told(outcome, statement));
                    Ok(Answered { answer, entered })
                }
                SettlementRequest::Statement { after } => {
                    let statement = self.statement(account, *after, PAGE_LINES_MAX)?;
                    Ok(read(SettlementAnswer::Statement(statement)))
                }
                SettlementRequest::Lock(lock_id) => {
                    Ok(read(SettlementAnswer::Lock(self.lock(*lock_id)?)))
                }
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

    /// Lets time pass: what has fallen due by `now` is entered.
    pub fn tick(&mut self, now: UnixTime) -> Result<(), LedgerError> {
        self.ledger.append(now, &[]).map(drop)
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
        for line in &mut lines {
            self.tell_reason(line)?;
        }
        let status = self.ledger.account(account)?;
        assert_eq!(
            status.account, *account,
            "an account is told what is its own"
        );
        Ok(Statement {
            refusal: None,
            used_by: None,
            lines,
            account: status,
            more,
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

    /// Adds to a grant's line why it was made, if that is known here.
    fn tell_reason(&self, line: &mut StatementLine) -> Result<(), LedgerError> {
        if let (Some(issuing), Operation::Order(order)) = (&self.issuing, &line.operation)
            && matches!(order.body.kind, OrderKind::Grant { .. })
        {
            line.reason_bytes = issuing.reason(&order.body.memo_hash)?;
        }
        Ok(())
    }

    /// At most `limit` grants before `before`, newest first; see [`NetworkLedger::grants`].
    pub fn grants(&self, before: Option<Sequence>, limit: usize) -> Result<GrantPage, LedgerError> {
        let (grants, next) = self.ledger.grants(before, limit)?;
        let with_reason = |grant: GrantSummary| {
            let reason = match &self.issuing {
                Some(issuing) => issuing.reason(&grant.memo_hash)?,
                None => Vec::new(),
            };
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

/// What a question enters.
fn operation(request: &SettlementRequest) -> Option<Operation> {
    match request {
        SettlementRequest::Submit { order, .. } => Some(Operation::Order(*order)),
        SettlementRequest::Claim { claim, .. } => Some(Operation::Claim(*claim)),
        SettlementRequest::Statement { .. } | SettlementRequest::Lock(_) => None,
    }
}

/// What is read enters nothing.
fn read(answer: SettlementAnswer) -> Answered {
    Answered {
        answer,
        entered: false,
    }
}

/// The statement that answers an operation.
fn told(outcome: Outcome, statement: Statement) -> Statement {
    let refusal = outcome.refusal();
    let used_by = match outcome {
        Outcome::NonceUsed { order, .. } => Some(order),
        Outcome::Entered { .. } | Outcome::Known { .. } | Outcome::Refused(_) => None,
    };
    Statement {
        refusal,
        used_by,
        ..statement
    }
}
