//! What an accepted operation changes, written to all the tables that know of it.

use crate::account::{AccountId, Side};
use crate::charts::network::rows::{
    EscrowRow, NewestLockRow, OwnerRow, StatementRow, expiry_key, lock_key, pair_key, statement_key,
};
use crate::identity::NodeId;
use crate::ledger::{LedgerError, Position, Verdict};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::lock::LockId;
use crate::state::State;
use crate::store::Table;
use crate::units::MicroCredits;

/// Why an operation is not carried out.
pub(super) enum ChangeStop {
    /// By the rules.
    Refused(Refusal),
    /// The ledger cannot go on.
    Failed(LedgerError),
}

impl From<Refusal> for ChangeStop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LedgerError> for ChangeStop {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error)
    }
}

/// `Err(refusal)` if `refused`.
pub(super) fn refuse_if(refused: bool, refusal: Refusal) -> Result<(), ChangeStop> {
    if refused { Err(refusal.into()) } else { Ok(()) }
}

/// What an operation changes.
#[derive(Default)]
pub(super) struct Change {
    /// What it moves.
    pub(super) postings: Postings,
    /// The accounts that get a line of it.
    pub(super) touched: Vec<NodeId>,
    /// The lock it concerns: before, if it was there, and after.
    pub(super) lock: Option<LockChange>,
    /// The account that is handed over, and to whom.
    pub(super) rotated: Option<(NodeId, NodeId)>,
}

/// A lock before and after.
pub(super) struct LockChange {
    pub(super) lock_id: LockId,
    pub(super) before: Option<EscrowRow>,
    pub(super) after: EscrowRow,
}

impl Change {
    /// Nothing but a line for `account`.
    pub(super) fn none(account: NodeId) -> Self {
        Self {
            touched: vec![account],
            ..Self::default()
        }
    }

    /// Credit that moves between two accounts; `touched` get a line.
    pub(super) fn moving(
        from: AccountId,
        to: AccountId,
        amount: MicroCredits,
        touched: &[NodeId],
    ) -> Self {
        Self {
            postings: Postings::new().credit(from, to, amount),
            touched: touched.to_vec(),
            ..Self::default()
        }
    }

    /// The same, with a lock that changes.
    pub(super) fn with_lock(
        mut self,
        lock_id: LockId,
        before: Option<EscrowRow>,
        after: EscrowRow,
    ) -> Self {
        self.lock = Some(LockChange {
            lock_id,
            before,
            after,
        });
        self
    }

    /// Writes everything and says what the entry is.
    pub(super) fn enter(
        mut self,
        state: &mut State<'_>,
        at: Position,
        refusal: Option<Refusal>,
    ) -> Result<Verdict, LedgerError> {
        self.check_invariants(refusal);
        if !state.post(&self.postings)? {
            // The rules looked at every balance before: rows disagree with each other.
            let account = self.postings.iter().next().map(|posting| posting.account);
            return Err(LedgerError::BelowZero {
                account: account.unwrap_or(AccountId::Issuer),
            });
        }
        if let Some(lock) = &self.lock {
            lock.write(state)?;
        }
        if let Some((from, to)) = self.rotated {
            let mut owner = owner(state, &from)?;
            owner.rotated_to = Some(to);
            put_owner(state, &from, &owner);
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        for account in &self.touched {
            self.write_line(state, at, account)?;
        }
        Ok(Verdict::Enter {
            refusal,
            postings: self.postings,
        })
    }

    /// Asserts what every change of a network keeps, before anything of it is written: L1, L3 and
    /// L4 by what it moves, O(postings).
    fn check_invariants(&self, refusal: Option<Refusal>) {
        let (mut made, mut destroyed) = (0_i128, 0_i128);
        let (mut available, mut escrow) = (0_i128, 0_i128);
        for posting in self.postings.iter() {
            // An entry's few amounts of 64 bits do not reach the end of an i128.
            let (total, grows) = match posting.account {
                AccountId::Issuer => (&mut made, Side::Debit),
                AccountId::Burned => (&mut destroyed, Side::Credit),
                AccountId::Available(_) => (&mut available, Side::Credit),
                AccountId::Escrow(_) => (&mut escrow, Side::Credit),
                other => unreachable!("a network has no {other:?}"),
            };
            let amount = i128::from(posting.amount);
            *total = if posting.side == grows {
                total.saturating_add(amount)
            } else {
                total.saturating_sub(amount)
            };
        }
        assert!(made >= 0, "what was granted only grows");
        assert!(destroyed >= 0, "what was burned only grows");
        assert_eq!(
            made.saturating_sub(destroyed),
            available.saturating_add(escrow),
            "L1: supply and holdings change alike"
        );
        let is_refused = refusal.is_some();
        assert!(
            !is_refused || self.postings.is_empty(),
            "a refused order moves nothing"
        );
        assert!(
            !is_refused || self.lock.is_none(),
            "a refused order changes no lock"
        );
        assert!(
            !self.touched.is_empty(),
            "every entry is a line of some account"
        );
        match &self.lock {
            Some(lock) => {
                lock.check_invariants();
                assert_eq!(
                    escrow,
                    lock.grown(),
                    "escrow changes as what is left of its lock"
                );
            }
            None => assert_eq!(escrow, 0, "escrow changes with a lock"),
        }
    }

    fn write_line(
        &self,
        state: &mut State<'_>,
        at: Position,
        account: &NodeId,
    ) -> Result<(), LedgerError> {
        let mut owner = owner(state, account)?;
        let row = StatementRow {
            available_after: available(state, account)?,
            previous: owner.newest,
            lock: self.lock.as_ref().map(|lock| lock.after.then(lock.lock_id)),
        };
        state.put_row(statement_key(account, at.sequence), &row);
        owner.newest = Some(at.sequence);
        put_owner(state, account, &owner);
        Ok(())
    }
}

impl LockChange {
    /// Asserts L3 and L4 of a lock that changes.
    fn check_invariants(&self) {
        let after = &self.after;
        after.check_invariants();
        let Some(before) = &self.before else {
            assert!(after.claimed.is_zero(), "nothing of a new lock is claimed");
            assert!(!after.closed, "a new lock is open");
            return;
        };
        assert!(!before.closed, "a closed lock changes no more");
        assert_eq!(before.payer, after.payer, "a lock keeps its payer");
        assert_eq!(before.payee, after.payee, "a lock keeps its payee");
        assert!(
            after.amount >= before.amount,
            "a lock never becomes smaller"
        );
        assert!(
            after.expires_at >= before.expires_at,
            "a lock never ends sooner"
        );
        assert!(
            after.claimed >= before.claimed,
            "what was claimed only grows"
        );
        assert!(
            after.receipt_bytes >= before.receipt_bytes,
            "L4: a channel's bytes never decrease"
        );
        assert!(
            after.receipt_amount >= before.receipt_amount,
            "L4: a channel's amount never decreases"
        );
    }

    /// By how much what is left of the lock grows.
    fn grown(&self) -> i128 {
        let before = self.before.map_or(MicroCredits::ZERO, |lock| lock.left());
        let before = i128::from(before.get());
        i128::from(self.after.left().get()).saturating_sub(before)
    }

    fn write(&self, state: &mut State<'_>) -> Result<(), LedgerError> {
        let payer = self.after.payer;
        let mut owner = owner(state, &payer)?;
        let before = self.before.map_or(MicroCredits::ZERO, |lock| lock.left());
        owner.reserved = owner
            .reserved
            .saturating_sub(before)
            .saturating_add(self.after.left());
        put_owner(state, &payer, &owner);
        if let Some(before) = &self.before {
            state.delete(Table::Expiry, expiry_key(self.lock_id, before));
        } else {
            let payee = self.after.payee;
            let pair = pair_key(&payer, &payee);
            state.put_row(pair, &NewestLockRow(self.lock_id));
            // It has standing from now on: it must be able to close what it is paid from.
            let known = self::owner(state, &payee)?;
            put_owner(state, &payee, &known);
        }
        if !self.after.closed {
            let key = expiry_key(self.lock_id, &self.after);
            state.put(Table::Expiry, key, Vec::new());
        }
        state.put_row(lock_key(self.lock_id), &self.after);
        Ok(())
    }
}

/// What is known of an account beside its credit.
pub(super) fn owner(state: &State<'_>, account: &NodeId) -> Result<OwnerRow, LedgerError> {
    Ok(state.row(account.as_bytes())?.unwrap_or_default())
}

pub(super) fn put_owner(state: &mut State<'_>, account: &NodeId, owner: &OwnerRow) {
    state.put_row(account.as_bytes().to_vec(), owner);
}

/// Credit that an account can spend.
pub(super) fn available(state: &State<'_>, key: &NodeId) -> Result<MicroCredits, LedgerError> {
    let account = AccountId::Available(*key);
    u64::try_from(state.balance(&account)?)
        .map(MicroCredits::new)
        .map_err(|_| LedgerError::Overflow { account })
}

/// The lock of that number.
pub(super) fn lock(state: &State<'_>, lock_id: LockId) -> Result<Option<EscrowRow>, LedgerError> {
    state.row(&lock_key(lock_id))
}
