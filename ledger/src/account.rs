//! The two charts of accounts, and rows whose two totals only grow.
//!
//! Credit and bytes are two commodities; an account holds one. Moving something "from A to B"
//! debits A and credits B. *Holdings* are credit-normal; *sources* (where credit or bytes came
//! from) are debit-normal. On its normal side no account is ever below zero, which is invariant L2.

use crate::identity::NodeId;
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::lock::LockId;

/// What an account counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commodity {
    /// Micro-credits.
    Credit,
    /// Payload bytes.
    Bytes,
}

/// The side of an account that a posting adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What went out.
    Debit,
    /// What came in.
    Credit,
}

/// An account of either chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountId {
    /// Network, source: everything ever granted.
    Issuer,
    /// Network: what a key can spend.
    Available(NodeId),
    /// Network: what is left in an open lock.
    Escrow(LockId),
    /// Both charts: what was destroyed.
    Burned,
    /// Node: my credit at the settlement node.
    Network,
    /// Node, payer: reserved in a lock and not signed away.
    Locked(LockId),
    /// Node, payer: signed away by receipt and not claimed yet.
    Signed(LockId),
    /// Node, payee: earned by receipt and not claimed yet.
    Claimable(LockId),
    /// Node, source: everything ever earned by receipts.
    Earned,
    /// Node, payee: earned, but the lock ended before it was claimed.
    Forfeited,
    /// Node, payer: claimed by payees.
    Spent,
    /// Node, source: granted to me.
    Granted,
    /// Node, source: transferred or handed over to me.
    Received,
    /// Node: transferred or handed over by me.
    Sent,
    /// Node, bytes: received from a peer and acknowledged by my receipts.
    Taken(NodeId),
    /// Node, bytes: served to a peer and acknowledged by its receipts.
    Given(NodeId),
    /// Node, bytes: served to a peer in the paid class and never paid for.
    Unsigned(NodeId),
    /// Node, bytes, source: all that was counted.
    Traffic,
}

impl AccountId {
    /// Length of an account id in bytes.
    pub const LEN: usize = 33;

    /// The number that stands for this kind of account on disk; never changes.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Issuer => 1,
            Self::Available(_) => 2,
            Self::Escrow(_) => 3,
            Self::Burned => 4,
            Self::Network => 16,
            Self::Locked(_) => 17,
            Self::Signed(_) => 18,
            Self::Claimable(_) => 19,
            Self::Earned => 20,
            Self::Forfeited => 21,
            Self::Spent => 22,
            Self::Granted => 23,
            Self::Received => 24,
            Self::Sent => 25,
            Self::Taken(_) => 32,
            Self::Given(_) => 33,
            Self::Unsigned(_) => 34,
            Self::Traffic => 35,
        }
    }

    /// What it counts.
    pub const fn commodity(&self) -> Commodity {
        match self {
            Self::Taken(_) | Self::Given(_) | Self::Unsigned(_) | Self::Traffic => Commodity::Bytes,
            Self::Issuer
            | Self::Available(_)
            | Self::Escrow(_)
            | Self::Burned
            | Self::Network
            | Self::Locked(_)
            | Self::Signed(_)
            | Self::Claimable(_)
            | Self::Earned
            | Self::Forfeited
            | Self::Spent
            | Self::Granted
            | Self::Received
            | Self::Sent => Commodity::Credit,
        }
    }

    /// The side on which its balance is never below zero.
    pub const fn normal_side(&self) -> Side {
        match self {
            Self::Issuer | Self::Earned | Self::Granted | Self::Received | Self::Traffic => {
                Side::Debit
            }
            Self::Available(_)
            | Self::Escrow(_)
            | Self::Burned
            | Self::Network
            | Self::Locked(_)
            | Self::Signed(_)
            | Self::Claimable(_)
            | Self::Forfeited
            | Self::Spent
            | Self::Sent
            | Self::Taken(_)
            | Self::Given(_)
            | Self::Unsigned(_) => Side::Credit,
        }
    }

    /// Appends the [`Self::LEN`] bytes of the id: its code, then a key, a lock number, or zeros.
    pub fn write(&self, out: Writer) -> Writer {
        let name = match self {
            Self::Available(key) | Self::Taken(key) | Self::Given(key) | Self::Unsigned(key) => {
                *key.as_bytes()
            }
            Self::Escrow(lock)
            | Self::Locked(lock)
            | Self::Signed(lock)
            | Self::Claimable(lock) => lock_name(*lock),
            Self::Issuer
            | Self::Burned
            | Self::Network
            | Self::Earned
            | Self::Forfeited
            | Self::Spent
            | Self::Granted
            | Self::Received
            | Self::Sent
            | Self::Traffic => [0; 32],
        };
        out.u8(self.code()).bytes(&name)
    }

    /// The id as the key of its row.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(Writer::new()).finish()
    }

    /// Reads an id; every account has one byte string and no other.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let code = from.u8()?;
        let name: [u8; 32] = from.array()?;
        let key = NodeId::from_bytes(name);
        let account = match code {
            1 => Self::Issuer,
            2 => Self::Available(key),
            3 => Self::Escrow(lock_of(name)),
            4 => Self::Burned,
            16 => Self::Network,
            17 => Self::Locked(lock_of(name)),
            18 => Self::Signed(lock_of(name)),
            19 => Self::Claimable(lock_of(name)),
            20 => Self::Earned,
            21 => Self::Forfeited,
            22 => Self::Spent,
            23 => Self::Granted,
            24 => Self::Received,
            25 => Self::Sent,
            32 => Self::Taken(key),
            33 => Self::Given(key),
            34 => Self::Unsigned(key),
            35 => Self::Traffic,
            value => {
                return Err(LayoutError::Value {
                    field: "account kind",
                    value: value.into(),
                });
            }
        };
        let canonical = account.to_bytes();
        if canonical.get(1..) == Some(name.as_slice()) {
            Ok(account)
        } else {
            Err(LayoutError::Value {
                field: "account name",
                value: 1,
            })
        }
    }

    /// Parses exactly [`Self::LEN`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let account = Self::read(&mut reader)?;
        reader.end()?;
        Ok(account)
    }
}

/// A lock number in front of zeros, big-endian so that rows lie in the order of locks.
fn lock_name(lock: LockId) -> [u8; 32] {
    let mut name = [0; 32];
    name.iter_mut()
        .zip(lock.get().to_be_bytes())
        .for_each(|(to, from)| *to = from);
    name
}

fn lock_of(name: [u8; 32]) -> LockId {
    let number = name
        .first_chunk()
        .expect("a name is longer than a lock number");
    LockId::new(u64::from_be_bytes(*number))
}

/// An account's totals: all it ever paid out and all it ever took in. Neither ever decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountRow {
    /// Σ of its debit postings.
    pub debits: u128,
    /// Σ of its credit postings.
    pub credits: u128,
}

impl AccountRow {
    /// This row with `amount` more on `side`; `None` past 2¹²⁸ − 1.
    #[must_use]
    pub fn plus(self, side: Side, amount: u64) -> Option<Self> {
        let amount = u128::from(amount);
        let Self { debits, credits } = self;
        Some(match side {
            Side::Debit => Self {
                debits: debits.checked_add(amount)?,
                credits,
            },
            Side::Credit => Self {
                debits,
                credits: credits.checked_add(amount)?,
            },
        })
    }

    /// Balance on the normal side of `account`; `None` if it is below zero.
    pub const fn balance(&self, account: &AccountId) -> Option<u128> {
        match account.normal_side() {
            Side::Debit => self.debits.checked_sub(self.credits),
            Side::Credit => self.credits.checked_sub(self.debits),
        }
    }

    /// The row's 32 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        Writer::new().u128(self.debits).u128(self.credits).finish()
    }

    /// Parses exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            debits: reader.u128()?,
            credits: reader.u128()?,
        };
        reader.end()?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_one_byte_string() {
        let lock = LockId::new(0x0102);
        for account in [
            AccountId::Issuer,
            AccountId::Claimable(lock),
            AccountId::Given(NodeId::from_bytes([7; 32])),
            AccountId::Traffic,
        ] {
            let bytes = account.to_bytes();
            assert_eq!(bytes.len(), AccountId::LEN);
            assert_eq!(AccountId::from_bytes(&bytes), Ok(account));
        }
        let mut named = AccountId::Issuer.to_bytes();
        named[32] = 1;
        assert!(AccountId::from_bytes(&named).is_err());
    }

    #[test]
    fn a_balance_is_never_below_zero() {
        let out = AccountRow::default().plus(Side::Debit, 1).unwrap();
        assert_eq!(out.balance(&AccountId::Network), None);
        assert_eq!(out.balance(&AccountId::Issuer), Some(1));
    }
}
