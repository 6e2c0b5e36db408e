//! Postings: what an entry moves between accounts. They are derived, never supplied, and sum to
//! zero.

use crate::account::{AccountId, Commodity, Side};
use crate::layout::{LayoutError, Reader, Writer};
use crate::units::{Bytes, MicroCredits};

/// Most postings of one entry.
pub const POSTINGS_MAX: usize = 16;

/// One side of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Which account.
    pub account: AccountId,
    /// Which of its totals grows.
    pub side: Side,
    /// By how much, in the account's commodity; never 0.
    pub amount: u64,
}

/// The postings of one entry, which sum to zero in each commodity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Postings(Vec<Posting>);

impl Postings {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a movement of credit; an amount of zero adds nothing.
    #[must_use]
    pub fn credit(self, from: AccountId, to: AccountId, amount: MicroCredits) -> Self {
        self.move_from(Commodity::Credit, from, to, amount.get())
    }

    /// Adds a movement of bytes; an amount of zero adds nothing.
    #[must_use]
    pub fn bytes(self, from: AccountId, to: AccountId, amount: Bytes) -> Self {
        self.move_from(Commodity::Bytes, from, to, amount.get())
    }

    /// Every posting, in the order in which it was made.
    pub fn iter(&self) -> impl Iterator<Item = &Posting> {
        self.0.iter()
    }

    /// Whether nothing moves.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Credit that moved, counted once.
    pub fn credit_moved(&self) -> MicroCredits {
        self.iter()
            .filter(|posting| {
                posting.side == Side::Credit && posting.account.commodity() == Commodity::Credit
            })
            .fold(MicroCredits::ZERO, |sum, posting| {
                sum.saturating_add(MicroCredits::new(posting.amount))
            })
    }

    /// Appends a count and the postings.
    pub fn write(&self, out: Writer) -> Writer {
        let count = u8::try_from(self.0.len()).expect("at most POSTINGS_MAX postings are made");
        self.iter().fold(out.u8(count), |out, posting| {
            let side = match posting.side {
                Side::Debit => 0,
                Side::Credit => 1,
            };
            posting.account.write(out).u8(side).u64(posting.amount)
        })
    }

    /// Reads a count and as many postings, which must sum to zero.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let count = usize::from(from.u8()?);
        if count > POSTINGS_MAX {
            return Err(LayoutError::TooLong {
                field: "postings",
                len: count,
                max: POSTINGS_MAX,
            });
        }
        let postings = (0..count)
            .map(|_| read_posting(from))
            .collect::<Result<_, _>>()
            .map(Self)?;
        if postings.is_balanced() {
            Ok(postings)
        } else {
            Err(LayoutError::Value {
                field: "sum of postings",
                value: 1,
            })
        }
    }

    /// Whether debits equal credits in each commodity.
    pub fn is_balanced(&self) -> bool {
        [Commodity::Credit, Commodity::Bytes]
            .into_iter()
            .all(|commodity| self.sum(commodity, Side::Debit) == self.sum(commodity, Side::Credit))
    }

    /// What is posted to a side, of one commodity.
    pub(crate) fn sum(&self, commodity: Commodity, side: Side) -> u128 {
        self.iter()
            .filter(|posting| posting.side == side && posting.account.commodity() == commodity)
            .fold(0, |sum, posting| {
                u128::saturating_add(sum, posting.amount.into())
            })
    }

    fn move_from(mut self, of: Commodity, from: AccountId, to: AccountId, amount: u64) -> Self {
        assert_eq!(from.commodity(), of, "{from:?} holds what is moved");
        assert_eq!(to.commodity(), of, "{to:?} holds what is moved");
        if amount != 0 {
            self.0.push(Posting {
                account: from,
                side: Side::Debit,
                amount,
            });
            self.0.push(Posting {
                account: to,
                side: Side::Credit,
                amount,
            });
        }
        assert!(self.0.len() <= POSTINGS_MAX, "an entry moves little");
        self
    }
}

fn read_posting(from: &mut Reader<'_>) -> Result<Posting, LayoutError> {
    let account = AccountId::read(from)?;
    let side = if from.flag("side")? {
        Side::Credit
    } else {
        Side::Debit
    };
    match from.u64()? {
        0 => Err(LayoutError::Value {
            field: "amount of a posting",
            value: 0,
        }),
        amount => Ok(Posting {
            account,
            side,
            amount,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unbalanced_postings_do_not_parse() {
        let moved =
            Postings::new().credit(AccountId::Network, AccountId::Spent, MicroCredits::new(5));
        let mut bytes = moved.write(Writer::new()).finish();
        assert_eq!(Postings::read(&mut Reader::new(&bytes)), Ok(moved));
        let last = bytes.len() - 8;
        bytes[last] = 6;
        assert!(Postings::read(&mut Reader::new(&bytes)).is_err());
    }

    #[test]
    fn nothing_moved_leaves_no_posting() {
        let none = Postings::new().credit(AccountId::Network, AccountId::Sent, MicroCredits::ZERO);
        assert!(none.is_empty());
    }
}
