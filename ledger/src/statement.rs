//! What a settlement node tells one account: every entry that touched it, in order, certified.
//!
//! A node copies these lines into its own ledger; the certificate is the cause of the copy. A line
//! has one byte string (`to_bytes`), which is what a node's entry keeps and what may travel.

use crate::account::AccountId;
use crate::entry::{Entry, EntryHash, EntryKind};
use crate::identity::{NetworkId, NodeId, SignatureScheme};
use crate::layout::{LayoutError, Reader, Writer};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::certificate::SignedCertificate;
use crate::signed::claim::SignedClaim;
use crate::signed::lock::{LockId, SignedLock};
use crate::signed::order::{Order, OrderKind, REASON_LEN_MAX, SignedOrder};
use crate::signed::{Body as _, Signed};
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
    /// The account's line before this one; `None` for its first. A node that has seen another
    /// newest line has missed one.
    pub previous: Option<Sequence>,
    /// Hash of the network's entry before this one, with which the entry can be made again.
    pub prev_hash: EntryHash,
    /// The settlement node's word for sequence, hash, time and the account's credit afterwards.
    pub certificate: SignedCertificate,
    /// Why credit was granted, as it came: at most [`REASON_LEN_MAX`] bytes, empty for none.
    /// [`Self::reason`] says whether it is what the issuer signed.
    pub reason_bytes: Vec<u8>,
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

impl Operation {
    /// Under which kind it is entered.
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Claim(_) => EntryKind::Claim,
            Self::Expiry(_) => EntryKind::LockExpiry,
            Self::Order(order) => match order.body.kind {
                OrderKind::Transfer { .. } => EntryKind::Transfer,
                OrderKind::OpenLock { .. } => EntryKind::LockOpen,
                OrderKind::TopUp { .. } => EntryKind::LockTopUp,
                OrderKind::CloseLock { .. } => EntryKind::LockClose,
                OrderKind::RotateKey { .. } => EntryKind::KeyRotation,
                OrderKind::Grant { .. } => EntryKind::Grant,
                OrderKind::Burn { .. } => EntryKind::Burn,
            },
        }
    }

    /// The exact bytes: an order or claim with its signature, or a lock number.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Order(order) => order.to_bytes(),
            Self::Claim(claim) => claim.to_bytes(),
            Self::Expiry(lock_id) => Writer::new().u64(lock_id.get()).finish(),
        }
    }

    /// Parses the bytes of an operation that is entered under `kind`.
    pub fn from_bytes(kind: EntryKind, bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let operation = Self::read(kind, &mut reader)?;
        reader.end()?;
        Ok(operation)
    }

    fn read(kind: EntryKind, from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let operation = match kind {
            EntryKind::Claim => Self::Claim(Signed::read(from)?),
            EntryKind::LockExpiry => Self::Expiry(LockId::new(from.u64()?)),
            EntryKind::Grant
            | EntryKind::Burn
            | EntryKind::Transfer
            | EntryKind::LockOpen
            | EntryKind::LockTopUp
            | EntryKind::LockClose
            | EntryKind::KeyRotation => Self::Order(Signed::read(from)?),
            EntryKind::Genesis
            | EntryKind::ChannelSummary
            | EntryKind::WriteOff
            | EntryKind::Join => return Err(other_kind(kind)),
        };
        if operation.kind() == kind {
            Ok(operation)
        } else {
            Err(other_kind(kind))
        }
    }
}

fn other_kind(kind: EntryKind) -> LayoutError {
    LayoutError::Value {
        field: "kind of operation",
        value: kind.code().into(),
    }
}

impl AccountStatus {
    /// Account 32, available u64, reserved u64, nonce u64.
    pub(crate) fn write(&self, out: Writer) -> Writer {
        out.bytes(self.account.as_bytes())
            .u64(self.available.get())
            .u64(self.reserved.get())
            .u64(self.nonce)
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            account: NodeId::from_bytes(from.array()?),
            available: MicroCredits::new(from.u64()?),
            reserved: MicroCredits::new(from.u64()?),
            nonce: from.u64()?,
        })
    }
}

impl LockStatus {
    fn write(&self, out: Writer) -> Writer {
        self.lock
            .write(out)
            .u64(self.claimed.get())
            .flag(self.closed)
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            lock: Signed::read(from)?,
            claimed: MicroCredits::new(from.u64()?),
            closed: from.flag("closed")?,
        })
    }

    /// The status's bytes: signed lock, claimed u64, closed u8.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(Writer::new()).finish()
    }

    /// Parses exactly one status; no signature is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let status = Self::read(&mut reader)?;
        reader.end()?;
        Ok(status)
    }
}

impl StatementLine {
    /// No line is longer, in bytes: a claim with its lock, and a reason, which only grants have.
    pub const LEN_MAX: usize = 1
        + crate::signed::claim::Claim::LEN
        + 64
        + 2
        + 8
        + (1 + crate::signed::lock::Lock::LEN + 64 + 9)
        + 9
        + 32
        + crate::signed::certificate::Certificate::LEN
        + 64
        + 2
        + REASON_LEN_MAX;

    /// Why credit was granted; `None` unless it is what the issuer's order has the hash of, and
    /// text.
    pub fn reason(&self) -> Option<&str> {
        let Operation::Order(order) = &self.operation else {
            return None;
        };
        let is_grant = matches!(order.body.kind, OrderKind::Grant { .. });
        let fits = (1..=REASON_LEN_MAX).contains(&self.reason_bytes.len());
        let is_signed = || Order::reason_hash(&self.reason_bytes) == order.body.memo_hash;
        let text = std::str::from_utf8(&self.reason_bytes).ok()?;
        (is_grant && fits && is_signed()).then_some(text)
    }

    /// The line without a reason that nobody signed.
    #[must_use]
    pub fn with_signed_reason_only(mut self) -> Self {
        if self.reason().is_none() {
            self.reason_bytes.clear();
        }
        self
    }

    /// Whether the certificate is for what this line says: the entry is made again from the line,
    /// and its hash is the certified one. So refusal, amount and operation are the settlement
    /// node's word as much as the balance; `previous` and what the lock's status says beside its
    /// own signature are not.
    pub fn is_certified_entry(&self) -> bool {
        let certificate = &self.certificate.body;
        self.postings().is_some_and(|postings| {
            let entry = Entry {
                sequence: certificate.sequence,
                time: certificate.time,
                prev_hash: self.prev_hash,
                kind: self.operation.kind(),
                refusal: self.refusal,
                cause: self.operation.to_bytes(),
                postings,
            };
            EntryHash::of(&entry.to_bytes()) == certificate.entry_hash
        })
    }

    /// Checks everything that is signed: that the settlement node certified this entry to
    /// `account`, that whoever ordered or claimed signed that, the lock's certificate, and that a
    /// reason is the issuer's. What `previous` and the lock's status say beside is not signed here,
    /// but in the seal of the answer that the line came in.
    pub fn verify(
        &self,
        scheme: &dyn SignatureScheme,
        network_id: NetworkId,
        settlement: &NodeId,
        account: &NodeId,
    ) -> Result<(), Refusal> {
        let certificate = &self.certificate;
        let (is_other, genuine) = match &self.operation {
            Operation::Order(order) => (
                order.body.network_id != network_id,
                order.verify_by(scheme, &order.body.account),
            ),
            Operation::Claim(claim) => (
                claim.body.network_id != network_id,
                claim.verify_by(scheme, &claim.body.payee),
            ),
            Operation::Expiry(_) => (false, Ok(())),
        };
        if is_other || certificate.body.network_id != network_id {
            return Err(Refusal::WrongNetwork);
        }
        if genuine.is_err() {
            return Err(Refusal::BadSignature);
        }
        let is_lock_certified = self.lock.is_none_or(|status| {
            status.lock.body.network_id == network_id
                && status.lock.verify_by(scheme, settlement).is_ok()
        });
        if !is_lock_certified
            || certificate.body.account != *account
            || certificate.verify_by(scheme, settlement).is_err()
            || !self.is_certified_entry()
            || !self.reason_bytes.is_empty() && self.reason().is_none()
        {
            return Err(Refusal::BadCertificate);
        }
        Ok(())
    }

    /// What the network's entry moved; `None` if the line contradicts itself, or lacks its lock.
    fn postings(&self) -> Option<Postings> {
        if self.refusal.is_some() {
            return self.amount.is_zero().then(Postings::new);
        }
        let returned = |lock_id| {
            let payer = self.lock?.lock.body.payer;
            Some((AccountId::Escrow(lock_id), AccountId::Available(payer)))
        };
        let (from, to) = match &self.operation {
            Operation::Expiry(lock_id) => returned(*lock_id)?,
            Operation::Claim(claim) => (
                AccountId::Escrow(claim.body.lock_id),
                AccountId::Available(claim.body.payee),
            ),
            Operation::Order(order) => {
                let mine = AccountId::Available(order.body.account);
                match order.body.kind {
                    OrderKind::Transfer { to, .. } | OrderKind::RotateKey { to } => {
                        (mine, AccountId::Available(to))
                    }
                    OrderKind::OpenLock { .. } => {
                        let sequence = self.certificate.body.sequence;
                        (mine, AccountId::Escrow(LockId::new(sequence.get())))
                    }
                    OrderKind::TopUp { lock_id, .. } => (mine, AccountId::Escrow(lock_id)),
                    OrderKind::CloseLock { lock_id } => returned(lock_id)?,
                    OrderKind::Grant { to, .. } => (AccountId::Issuer, AccountId::Available(to)),
                    OrderKind::Burn { .. } => (mine, AccountId::Burned),
                }
            }
        };
        Some(Postings::new().credit(from, to, self.amount))
    }

    /// The line's bytes: kind u8, operation, refusal u16, amount u64, optional lock, optional
    /// previous u64, hash of the entry before, certificate, reason with a u16 length in front.
    /// Optional fields have a flag in front and are left out when it is 0.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lock = self.lock.as_ref().map(LockStatus::to_bytes);
        let previous = self.previous.map(|previous| previous.get().to_le_bytes());
        let out = Writer::new()
            .u8(self.operation.kind().code())
            .bytes(&self.operation.to_bytes())
            .u16(self.refusal.map_or(0, Refusal::code))
            .u64(self.amount.get())
            .optional(lock.as_deref())
            .optional(previous.as_ref().map(<[u8; 8]>::as_slice))
            .bytes(self.prev_hash.as_bytes());
        let out = self.certificate.write(out);
        out.sized(&self.reason_bytes).finish()
    }

    /// Parses exactly one line; no signature is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        let kind = from.u8()?;
        let kind = EntryKind::from_code(kind).ok_or(LayoutError::Value {
            field: "kind",
            value: kind.into(),
        })?;
        let line = Self {
            operation: Operation::read(kind, from)?,
            refusal: Refusal::read(from)?,
            amount: MicroCredits::new(from.u64()?),
            lock: from.optional("lock", LockStatus::read)?,
            previous: from.optional("previous", |from| Ok(Sequence::new(from.u64()?)))?,
            prev_hash: EntryHash::from_bytes(from.array()?),
            certificate: Signed::read(from)?,
            reason_bytes: from.sized("reason", REASON_LEN_MAX)?.to_vec(),
        };
        reader.end()?;
        Ok(line)
    }
}
