//! A store seen through the changes of a group that is not written yet.
//!
//! State machines read and change a [`State`]; nothing they do is visible to anybody else before
//! the whole group is written as one batch.

use crate::account::{AccountId, AccountRow, Commodity, Side};
use crate::entry::Entry;
use crate::layout::LayoutError;
use crate::ledger::LedgerError;
use crate::posting::Postings;
use crate::store::{Batch, KeyValue, StoreRead, Table};
use crate::units::Sequence;

/// A row with a layout of its own.
pub trait Row: Sized {
    /// Where such rows live.
    const TABLE: Table;

    /// The row's bytes.
    fn to_bytes(&self) -> Vec<u8>;

    /// Parses exactly one row.
    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError>;
}

/// Rows as they will be once the current group is written.
pub struct State<'a> {
    store: &'a dyn StoreRead,
    changes: Batch,
}

impl std::fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

impl<'a> State<'a> {
    /// What `store` holds, with no changes yet.
    pub fn new(store: &'a dyn StoreRead) -> Self {
        Self {
            store,
            changes: Batch::new(),
        }
    }

    /// Writes a row.
    pub fn put_row<R: Row>(&mut self, key: Vec<u8>, row: &R) {
        self.put(R::TABLE, key, row.to_bytes());
    }

    /// Writes raw bytes.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.put(table, key, value);
    }

    /// Removes a key.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.changes.delete(table, key);
    }

    /// Adds `postings` to their accounts. `false`, and nothing changed, if an account would end
    /// below zero (L2).
    pub fn post(&mut self, postings: &Postings) -> Result<bool, LedgerError> {
        assert!(postings.is_balanced(), "postings sum to zero");
        let mut moves: Vec<Move> = Vec::new();
        for posting in postings.iter() {
            let account = posting.account;
            let known = moves.iter().position(|known| known.account == account);
            let mut moved = match known {
                Some(place) => moves.swap_remove(place),
                None => {
                    let before = self.account(&account)?;
                    Move {
                        account,
                        before,
                        after: before,
                    }
                }
            };
            let after = moved.after.plus(posting.side, posting.amount);
            moved.after = after.ok_or(LedgerError::Overflow { account })?;
            moves.push(moved);
        }
        if moves
            .iter()
            .any(|moved| moved.after.balance(&moved.account).is_none())
        {
            return Ok(false);
        }
        assert_moves(&moves, postings);
        for moved in moves {
            self.put_row(moved.account.to_bytes(), &moved.after);
        }
        Ok(true)
    }

    /// The raw bytes under `key`.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        match self.changes.change(table, key) {
            Some(change) => Ok(change.map(<[u8]>::to_vec)),
            None => Ok(self.store.get(table, key)?),
        }
    }

    /// The row under `key`.
    pub fn row<R: Row>(&self, key: &[u8]) -> Result<Option<R>, LedgerError> {
        self.get(R::TABLE, key)?
            .map(|bytes| {
                R::from_bytes(&bytes).map_err(|error| LedgerError::row(R::TABLE, key, error))
            })
            .transpose()
    }

    /// The first rows of `table` from `from` up to `until` (exclusive) in key order, at most
    /// `limit`, of a state that nothing was changed in yet.
    pub fn first(
        &self,
        table: Table,
        (from, until): (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Vec<KeyValue>, LedgerError> {
        assert!(
            self.changes.is_empty(),
            "rows are listed before they change"
        );
        Ok(self.store.scan(table, from, Some(until), limit)?)
    }

    /// An account's totals; zero if nothing was ever posted to it.
    pub fn account(&self, account: &AccountId) -> Result<AccountRow, LedgerError> {
        Ok(self.row(&account.to_bytes())?.unwrap_or_default())
    }

    /// An account's balance on its normal side.
    pub fn balance(&self, account: &AccountId) -> Result<u128, LedgerError> {
        self.account(account)?
            .balance(account)
            .ok_or(LedgerError::BelowZero { account: *account })
    }

    /// The entry at `sequence`.
    pub fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, LedgerError> {
        self.row(&sequence_key(sequence))
    }

    /// The store below, without the changes.
    pub fn store(&self) -> &'a dyn StoreRead {
        self.store
    }

    /// Whether nothing was changed yet.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, to be written.
    pub fn into_batch(self) -> Batch {
        self.changes
    }
}

/// An account's totals before and after an entry.
struct Move {
    account: AccountId,
    before: AccountRow,
    after: AccountRow,
}

/// Asserts what an entry may do to the accounts it names. O(postings).
fn assert_moves(moves: &[Move], postings: &Postings) {
    for moved in moves {
        let Move { before, after, .. } = moved;
        assert!(after.debits >= before.debits, "debits only grow");
        assert!(after.credits >= before.credits, "credits only grow");
    }
    for commodity in [Commodity::Credit, Commodity::Bytes] {
        let sum = |of: fn(&AccountRow) -> u128| {
            let of_commodity = |moved: &&Move| moved.account.commodity() == commodity;
            moves.iter().filter(of_commodity).fold(0, |sum, moved| {
                let grown = of(&moved.after).saturating_sub(of(&moved.before));
                u128::saturating_add(sum, grown)
            })
        };
        let (debits, credits) = (sum(|row| row.debits), sum(|row| row.credits));
        assert_eq!(
            debits, credits,
            "an entry moves {commodity:?} and makes none"
        );
        let posted = postings.sum(commodity, Side::Debit);
        assert_eq!(debits, posted, "accounts change by what is posted");
    }
}

/// The key of what lies at `sequence`.
pub fn sequence_key(sequence: Sequence) -> Vec<u8> {
    sequence.get().to_be_bytes().to_vec()
}

impl Row for AccountRow {
    const TABLE: Table = Table::Account;

    fn to_bytes(&self) -> Vec<u8> {
        Self::to_bytes(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        Self::from_bytes(bytes)
    }
}

impl Row for Entry {
    const TABLE: Table = Table::Entry;

    fn to_bytes(&self) -> Vec<u8> {
        Self::to_bytes(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        Self::from_bytes(bytes)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What every row must do, for the tests beside the rows.

    use super::Row;

    /// Whatever parses writes the same bytes, and nothing shorter or longer parses.
    pub(crate) fn check_one_reading<R: Row>(bytes: &[u8]) {
        for len in 0..=bytes.len() {
            let (row, rest) = bytes.split_at(len);
            if let Ok(read) = R::from_bytes(row) {
                assert_eq!(read.to_bytes(), row);
                assert!(rest.is_empty() || R::from_bytes(bytes).is_err());
            }
        }
    }
}
