//! Why a command was refused: stable codes in the order in which they are checked.

use std::fmt;

use crate::layout::{LayoutError, Reader};

/// A refusal. A refused command changes nothing, except that an order of an account with standing
/// (docs/RULES.md, standing in a network) consumes its nonce.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::FromRepr, strum::VariantArray,
)]
#[repr(u16)]
pub enum Refusal {
    /// Signed for another network.
    WrongNetwork = 1,
    /// The signature does not match, or the key is weak.
    BadSignature = 2,
    /// The nonce is not the account's last plus 1.
    WrongNonce = 3,
    /// Settlement time is past `valid_until`.
    Expired = 4,
    /// Only an issuer may do this.
    NotIssuer = 5,
    /// The amount is zero, or outside the limits.
    BadAmount = 6,
    /// The account has less available than this takes.
    InsufficientCredit = 7,
    /// Payer and payee, or sender and receiver, are the same.
    SameParty = 8,
    /// No such lock.
    LockUnknown = 9,
    /// The lock is closed or has expired.
    LockClosed = 10,
    /// The order or claim is not by a party that may give it.
    NotParty = 11,
    /// A live lock for this pair exists; top it up.
    LockExists = 12,
    /// The lifetime is past a limit, or zero.
    BadLifetime = 13,
    /// The receipt is for another channel, or its signature is not the payer's.
    BadReceipt = 14,
    /// A total in the receipt is lower than one already accepted.
    ReceiptRegressed = 15,
    /// Already done: same outcome as before.
    AlreadyDone = 16,
    /// A sum would leave its range.
    Overflow = 17,
    /// The certificate is not by this network's settlement node, or not for this account.
    BadCertificate = 18,
    /// The certificate leaves out an earlier line, or contradicts one.
    OutOfOrder = 19,
    /// The account has been handed over to another key.
    KeyRotated = 20,
    /// An account row would leave its range: the peer has signed more than its lock holds.
    LockExhausted = 21,
    /// The receiver is a key that nobody can hold: what it is given would be gone.
    BadKey = 22,
    /// The account may have no orders entered: it never held credit, is party to no lock and is no
    /// issuer. No nonce is used, and the same order is entered once it may be.
    NoStanding = 23,
}

impl Refusal {
    /// Every refusal, in check order.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The number that stands for it on disk and in the API; never changes, never 0.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The refusal of that number, if there is one.
    pub const fn from_code(code: u16) -> Option<Self> {
        Self::from_repr(code)
    }

    /// Reads a code; 0 stands for no refusal.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Option<Self>, LayoutError> {
        match from.u16()? {
            0 => Ok(None),
            code => Self::from_code(code).map(Some).ok_or(LayoutError::Value {
                field: "refusal",
                value: code.into(),
            }),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongNetwork => "it is signed for another network",
            Self::BadSignature => "the signature does not match, or the key is weak",
            Self::WrongNonce => "the nonce is not the account's last plus 1",
            Self::Expired => "settlement time is past its end",
            Self::NotIssuer => "only an issuer may do this",
            Self::BadAmount => {
                "the amount is zero, or less or more than the network's genesis allows at once"
            }
            Self::InsufficientCredit => "the account has less available",
            Self::SameParty => "both sides are the same",
            Self::LockUnknown => "there is no such lock",
            Self::LockClosed => "the lock is closed or has expired",
            Self::NotParty => "it is not by a party that may give it",
            Self::LockExists => "a live lock for this pair exists",
            Self::BadLifetime => {
                "the lifetime is zero, or longer than the network's genesis allows"
            }
            Self::BadReceipt => "the receipt is for another channel, or not the payer's",
            Self::ReceiptRegressed => "a total in the receipt went back",
            Self::AlreadyDone => "it was done before",
            Self::Overflow => "a sum would leave its range",
            Self::BadCertificate => {
                "the certificate is not this network's, or not for this account"
            }
            Self::OutOfOrder => "the line leaves out an earlier one, or contradicts one",
            Self::KeyRotated => "the account has been handed over to another key",
            Self::LockExhausted => "the lock holds less than was signed",
            Self::BadKey => "the receiver is a key that nobody can hold",
            Self::NoStanding => "the account never held credit and is party to no lock",
        })
    }
}
