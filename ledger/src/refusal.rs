//! Why a command was refused: stable codes in the order in which they are checked.

/// A refusal. A refused command changes nothing, except that an order consumes its nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The amount is zero or past a limit.
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
}
