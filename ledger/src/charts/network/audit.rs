//! What the entries of a network ledger alone say: where all credit is, and who was paid.

use std::collections::BTreeMap;

use crate::account::{AccountId, Side};
use crate::charts::network::NetworkLedger;
use crate::entry::{Entry, EntryKind};
use crate::identity::NodeId;
use crate::ledger::check::{CheckError, CheckReport};
use crate::ledger::{ENTRIES_MAX, LedgerError};
use crate::store::StoreRead;
use crate::units::{MicroCredits, Sequence};

/// Sums over every entry, in µcr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The replay that was compared with the rows.
    pub report: CheckReport,
    /// Ever granted.
    pub granted: u128,
    /// Ever burned.
    pub burned: u128,
    /// Free to spend, over all accounts.
    pub available: u128,
    /// Left in open locks.
    pub escrow: u128,
    /// Locks with something left in them.
    pub locks_open: usize,
    /// Paid out by claims, by payee.
    pub claimed: BTreeMap<NodeId, MicroCredits>,
}

impl Audit {
    /// Grants − burns = available + escrow (L1).
    pub fn is_conserved(&self) -> bool {
        let held = self.available.checked_add(self.escrow);
        self.granted.checked_sub(self.burned) == held
    }

    /// Paid to `payee` by claims.
    pub fn claimed_by(&self, payee: &NodeId) -> MicroCredits {
        self.claimed.get(payee).copied().unwrap_or_default()
    }
}

impl<S: StoreRead> NetworkLedger<S> {
    /// Makes the whole ledger again from its entries, compares, and sums up; O(entries).
    pub fn audit(&self) -> Result<Audit, CheckError> {
        let report = self.check()?;
        let mut sums = AuditSums::default();
        let mut from = Sequence::ZERO;
        loop {
            let page = self.entries(from, ENTRIES_MAX)?;
            let Some(last) = page.last() else { break };
            from = last.sequence.next();
            page.iter().for_each(|entry| sums.add(entry));
        }
        sums.into_audit(report)
    }
}

#[derive(Default)]
struct AuditSums {
    /// Credits minus debits of each account.
    accounts: BTreeMap<AccountId, i128>,
    claimed: BTreeMap<NodeId, MicroCredits>,
}

impl AuditSums {
    fn add(&mut self, entry: &Entry) {
        for posting in entry.postings.iter() {
            let amount = i128::from(posting.amount);
            let sum = self.accounts.entry(posting.account).or_default();
            // 2⁶⁴ entries of 2⁶⁴ µcr do not reach the end of an i128.
            *sum = match posting.side {
                Side::Credit => sum.saturating_add(amount),
                Side::Debit => sum.saturating_sub(amount),
            };
            if let (EntryKind::Claim, AccountId::Available(payee), Side::Credit) =
                (entry.kind, posting.account, posting.side)
            {
                let paid = self.claimed.entry(payee).or_default();
                *paid = paid.saturating_add(MicroCredits::new(posting.amount));
            }
        }
    }

    /// The sums, unless an account is on its wrong side (L2): issuers are in debit, all others in
    /// credit.
    fn into_audit(self, report: CheckReport) -> Result<Audit, CheckError> {
        let is_wrong = |(account, sum): &(&AccountId, &i128)| match account {
            AccountId::Issuer => **sum > 0,
            _ => **sum < 0,
        };
        if let Some((account, _)) = self.accounts.iter().find(is_wrong) {
            return Err(LedgerError::BelowZero { account: *account }.into());
        }
        let total = |wanted: fn(&AccountId) -> bool| {
            let sums = self.accounts.iter().filter(|(account, _)| wanted(account));
            sums.fold(0_u128, |total, (_, sum)| {
                total.saturating_add(sum.unsigned_abs())
            })
        };
        let escrow = |account: &AccountId| matches!(account, AccountId::Escrow(_));
        let open = self.accounts.iter();
        let open = open.filter(|(account, left)| escrow(account) && **left != 0);
        Ok(Audit {
            granted: total(|account| *account == AccountId::Issuer),
            burned: total(|account| *account == AccountId::Burned),
            available: total(|account| matches!(account, AccountId::Available(_))),
            escrow: total(escrow),
            locks_open: open.count(),
            claimed: self.claimed,
            report,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryHash;
    use crate::ledger::Head;
    use crate::posting::Postings;
    use crate::time::UnixTime;

    /// A transfer of 5 out of nothing: its postings balance, and its sender is 5 below zero.
    #[test]
    fn an_account_below_zero_fails_the_audit_and_is_not_counted_as_above() {
        let [from, to] = [1, 2].map(|byte| AccountId::Available(NodeId::from_bytes([byte; 32])));
        let entry = Entry {
            sequence: Sequence::new(1),
            time: UnixTime::ZERO,
            prev_hash: EntryHash::NONE,
            kind: EntryKind::Transfer,
            refusal: None,
            cause: Vec::new(),
            postings: Postings::new().credit(from, to, MicroCredits::new(5)),
        };
        let report = CheckReport {
            entry_count: 2,
            head: Head {
                next: Sequence::new(2),
                hash: EntryHash::NONE,
                time: UnixTime::ZERO,
            },
            row_count: 0,
            signed_head_count: 0,
        };
        let mut sums = AuditSums::default();
        sums.add(&entry);
        let error = sums.into_audit(report).unwrap_err();
        let below_zero = LedgerError::BelowZero { account: from };
        assert_eq!(error, CheckError::Ledger(below_zero));
    }
}
