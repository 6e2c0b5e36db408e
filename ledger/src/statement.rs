//! What a settlement node tells one account: every entry that touched it, in order, certified.
//!
//! A node copies these lines into its own ledger; the certificate is the cause of the copy.

use crate::identity::NodeId;
use crate::refusal::Refusal;
use crate::signed::certificate::SignedCertificate;
use crate::signed::claim::SignedClaim;
use crate::signed::lock::{LockId, SignedLock};
use crate::signed::order::SignedOrder;
use crate::units::{MicroCredits, Sequence};

/// What a network entry was caused by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An account's order.
    Order(SignedOrder),
    /// A payee's claim.
    Claim(SignedClaim),
    /// Settlement time passed a lock's expiry and grace.
    Expiry(LockId),
}

/// A lock as the settlement node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockStatus {
    /// Its newest certificate.
    pub lock: SignedLock,
    /// Paid out so far.
    pub claimed: MicroCredits,
    /// Whether it was closed or has expired.
    pub closed: bool,
}

/// One line: an entry of the network ledger as it concerns one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// What caused the entry.
    pub operation: Operation,
    /// Why the order changed nothing but the nonce, if it was refused.
    pub refusal: Option<Refusal>,
    /// Credit the operation moved: granted, sent, reserved, paid out or returned.
    pub amount: MicroCredits,
    /// The lock it concerned, as it stood afterwards.
    pub lock: Option<LockStatus>,
    /// The account's line before this one; `None` for its first. A node that has seen another newest
    /// line has missed one.
    pub previous: Option<Sequence>,
    /// The settlement node's word for sequence, hash, time and the account's credit afterwards.
    pub certificate: SignedCertificate,
}

/// An account as the settlement node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// Whose.
    pub account: NodeId,
    /// Credit free to spend.
    pub available: MicroCredits,
    /// Credit reserved in open locks.
    pub reserved: MicroCredits,
    /// Nonce of its newest order; the next is this plus 1.
    pub nonce: u64,
}
