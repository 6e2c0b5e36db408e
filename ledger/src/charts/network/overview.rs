//! The whole network at a glance, for who keeps its ledger: where all credit is, who has how much,
//! and what was granted. Read as it stands; nothing is entered.

use crate::account::{AccountId, AccountRow};
use crate::charts::network::{NetworkCause, NetworkLedger, change, chart};
use crate::entry::{Entry, EntryKind};
use crate::identity::NodeId;
use crate::ledger::check::for_each_account;
use crate::ledger::{ENTRIES_MAX, LedgerError};
use crate::signed::lock::LockId;
use crate::signed::order::OrderKind;
use crate::statement::Operation;
use crate::store::{StoreRead, Table, key_after};
use crate::time::UnixTime;
use crate::units::{MicroCredits, Sequence};

/// Most accounts that [`NetworkLedger::members`] returns at once.
const MEMBERS_MAX: usize = 1_000;
/// Entries that [`NetworkLedger::grants`] looks at in one call.
const LOOKED_AT_MAX: u64 = 16 * 1_024;

/// Where all credit is, in µcr: granted − burned = available + escrow (L1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Ever granted.
    pub granted: u128,
    /// Ever burned.
    pub burned: u128,
    /// In being: granted and not burned.
    pub supply: MicroCredits,
    /// Free to spend, over all accounts.
    pub available: u128,
    /// Left in open locks.
    pub escrow: u128,
    /// Accounts that ever held credit.
    pub member_count: u64,
    /// Locks with something left in them.
    pub lock_count: u64,
}

/// An account that ever held credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// Whose.
    pub account: NodeId,
    /// Free to spend.
    pub available: MicroCredits,
    /// Reserved in its open locks.
    pub reserved: MicroCredits,
    /// Ever credited, in µcr.
    pub credited: u128,
    /// Ever debited, in µcr.
    pub debited: u128,
}

/// Credit that an issuer created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantSummary {
    /// Where it was entered.
    pub sequence: Sequence,
    /// When.
    pub time: UnixTime,
    /// Who signed.
    pub issuer: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// How much.
    pub amount: MicroCredits,
    /// Hash of the reason in the signed order.
    pub memo_hash: [u8; 32],
}

impl<S: StoreRead> NetworkLedger<S> {
    /// Sums over all accounts and locks; O(accounts and locks that ever were).
    pub fn overview(&self) -> Result<Overview, LedgerError> {
        let state = self.ledger.state();
        let mut all = Overview {
            granted: state.balance(&AccountId::Issuer)?,
            burned: state.balance(&AccountId::Burned)?,
            supply: chart::supply(&state)?,
            ..Overview::default()
        };
        let any_key = AccountId::Available(NodeId::from_bytes([0; 32]));
        let any_lock = AccountId::Escrow(LockId::new(0));
        for any in [any_key, any_lock] {
            for_each_account(&state, &[any.code()], |account, row| {
                let balance = row.balance(&account);
                let balance = balance.ok_or(LedgerError::BelowZero { account })?;
                all.count(&account, balance);
                Ok::<(), LedgerError>(())
            })?;
        }
        Ok(all)
    }

    /// At most `limit` (and 1,000) accounts behind `after`, by key.
    pub fn members(
        &self,
        after: Option<&NodeId>,
        limit: usize,
    ) -> Result<Vec<AccountSummary>, LedgerError> {
        let state = self.ledger.state();
        let zero = NodeId::from_bytes([0; 32]);
        let key = |key: &NodeId| AccountId::Available(*key).to_bytes();
        let from = after.map_or_else(|| key(&zero), |after| key_after(&key(after)));
        let limit = limit.min(MEMBERS_MAX);
        let rows = state.store().scan(Table::Account, &from, None, limit)?;
        let mut members = Vec::new();
        for (key, value) in rows {
            let unreadable = |error| LedgerError::row(Table::Account, &key, error);
            let id = AccountId::from_bytes(&key).map_err(unreadable)?;
            let AccountId::Available(account) = id else {
                break;
            };
            let row = AccountRow::from_bytes(&value).map_err(unreadable)?;
            members.push(AccountSummary {
                account,
                available: change::available(&state, &account)?,
                reserved: change::owner(&state, &account)?.reserved,
                credited: row.credits,
                debited: row.debits,
            });
        }
        Ok(members)
    }

    /// At most `limit` grants before `before`, newest first, and where to go on: `None` at the
    /// beginning of the ledger. Looks at a bounded number of entries, so that a page may be short.
    pub fn grants(
        &self,
        before: Option<Sequence>,
        limit: usize,
    ) -> Result<(Vec<GrantSummary>, Option<Sequence>), LedgerError> {
        let next = self.head().next;
        let mut end = before.map_or(next, |before| before.min(next)).get();
        let stop = end.saturating_sub(LOOKED_AT_MAX);
        let mut grants = Vec::new();
        while end > stop && grants.len() < limit {
            let batch_len = u64::try_from(ENTRIES_MAX).unwrap_or(u64::MAX);
            let start = end.saturating_sub(batch_len).max(stop);
            let count = usize::try_from(end.saturating_sub(start)).unwrap_or(ENTRIES_MAX);
            let batch = self.entries(Sequence::new(start), count)?;
            for entry in batch.iter().rev() {
                end = entry.sequence.get();
                grants.extend(self.grant_of(entry)?);
                if grants.len() == limit {
                    break;
                }
            }
            if batch.is_empty() {
                end = start;
            }
        }
        Ok((grants, (end > 0).then(|| Sequence::new(end))))
    }

    fn grant_of(&self, entry: &Entry) -> Result<Option<GrantSummary>, LedgerError> {
        if entry.kind != EntryKind::Grant || entry.refusal.is_some() {
            return Ok(None);
        }
        let NetworkCause::Operation(operation) = self.cause(entry)? else {
            return Ok(None);
        };
        let Operation::Order(order) = *operation else {
            return Ok(None);
        };
        let OrderKind::Grant { to, amount } = order.body.kind else {
            return Ok(None);
        };
        Ok(Some(GrantSummary {
            sequence: entry.sequence,
            time: entry.time,
            issuer: order.body.account,
            to,
            amount,
            memo_hash: order.body.memo_hash,
        }))
    }
}

impl Overview {
    fn count(&mut self, account: &AccountId, balance: u128) {
        let (sum, count) = match account {
            AccountId::Escrow(_) if balance == 0 => return,
            AccountId::Escrow(_) => (&mut self.escrow, &mut self.lock_count),
            _ => (&mut self.available, &mut self.member_count),
        };
        *sum = sum.saturating_add(balance);
        *count = count.saturating_add(1);
    }

    /// Granted − burned = available + escrow (L1).
    pub fn is_conserved(&self) -> bool {
        let held = self.available.checked_add(self.escrow);
        self.granted.checked_sub(self.burned) == held
    }
}
