//! A line of the ledger: when, why, with what outcome, and what it moved.
//!
//! One canonical layout, little-endian: version u8, kind u8, sequence u64, time u64, previous hash
//! 32, outcome u16 (0, or the code of a refusal), cause u16 length and bytes, postings. The cause
//! is the exact byte string that brought the entry about; what it means is the chart's business. An
//! entry's hash is BLAKE3 derive-key over these bytes, and the next entry's previous hash.

use std::fmt;

use crate::account::AccountId;
use crate::identity::hex_array;
use crate::layout::{LayoutError, Reader, Writer};
use crate::posting::{POSTINGS_MAX, Postings};
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::units::Sequence;

hex_array! {
    /// BLAKE3 of an entry's bytes: its identity, and the link of the chain.
    EntryHash, 32
}

/// Longest cause in bytes; a genesis file is the longest.
pub const CAUSE_LEN_MAX: usize = 8_192;

/// Longest entry in bytes; it fits the u16 of a C2SP entry bundle.
pub const ENTRY_LEN_MAX: usize = 54 + CAUSE_LEN_MAX + 1 + POSTINGS_MAX * (AccountId::LEN + 9);

const _: () = assert!(ENTRY_LEN_MAX <= 65_535);

const VERSION: u8 = 1;
const CONTEXT: &str = "seedbank v1 ledger entry";

impl EntryHash {
    /// The hash before the first entry.
    pub const NONE: Self = Self::from_bytes([0; 32]);

    /// The hash of an entry's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_bytes(blake3::derive_key(CONTEXT, bytes))
    }
}

/// What kind of thing happened, in words a person can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::FromRepr)]
#[cfg_attr(test, derive(strum::VariantArray))]
#[repr(u8)]
pub enum EntryKind {
    /// The ledger began.
    Genesis = 1,
    /// An issuer created credit.
    Grant = 2,
    /// An issuer destroyed credit of its own.
    Burn = 3,
    /// Credit changed hands.
    Transfer = 4,
    /// Credit was reserved for a payee.
    LockOpen = 5,
    /// A lock grew or was renewed.
    LockTopUp = 6,
    /// A payee gave back what was left of a lock.
    LockClose = 7,
    /// What was left of a lock returned by itself.
    LockExpiry = 8,
    /// A payee was paid from a lock.
    Claim = 9,
    /// A channel's totals were booked.
    ChannelSummary = 10,
    /// Bytes were given and never paid for.
    WriteOff = 11,
    /// An account was handed over to another key.
    KeyRotation = 12,
    /// This node joined a network.
    Join = 13,
}

impl EntryKind {
    /// The number that stands for it on disk; never changes.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of that number, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Self::from_repr(code)
    }

    /// Its name, for people and exports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Grant => "grant",
            Self::Burn => "burn",
            Self::Transfer => "transfer",
            Self::LockOpen => "lock open",
            Self::LockTopUp => "lock top-up",
            Self::LockClose => "lock close",
            Self::LockExpiry => "lock expiry",
            Self::Claim => "claim",
            Self::ChannelSummary => "channel summary",
            Self::WriteOff => "write-off",
            Self::KeyRotation => "key rotation",
            Self::Join => "join",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub sequence: Sequence,
    /// Stamped by the writer: never earlier than the entry before.
    pub time: UnixTime,
    /// Hash of the entry before; [`EntryHash::NONE`] for the first.
    pub prev_hash: EntryHash,
    /// What happened.
    pub kind: EntryKind,
    /// Why it changed nothing but a nonce, if it was refused.
    pub refusal: Option<Refusal>,
    /// The exact bytes that caused it, at most [`CAUSE_LEN_MAX`].
    pub cause: Vec<u8>,
    /// What it moved.
    pub postings: Postings,
}

impl Entry {
    /// The entry's canonical bytes, at most [`ENTRY_LEN_MAX`].
    ///
    /// # Panics
    /// If the cause is longer than [`CAUSE_LEN_MAX`]; charts make shorter ones.
    pub fn to_bytes(&self) -> Vec<u8> {
        assert!(self.cause.len() <= CAUSE_LEN_MAX, "causes are bounded");
        let out = Writer::new()
            .u8(VERSION)
            .u8(self.kind.code())
            .u64(self.sequence.get())
            .u64(self.time.as_secs())
            .bytes(self.prev_hash.as_bytes())
            .u16(self.refusal.map_or(0, Refusal::code))
            .sized(&self.cause);
        self.postings.write(out).finish()
    }

    /// Parses an entry's bytes; every entry has one byte string and no other.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        match from.u8()? {
            VERSION => {}
            value => return Err(bad("version", value.into())),
        }
        let kind = from.u8()?;
        let kind = EntryKind::from_code(kind).ok_or_else(|| bad("kind", kind.into()))?;
        let entry = Self {
            kind,
            sequence: Sequence::new(from.u64()?),
            time: UnixTime::from_secs(from.u64()?),
            prev_hash: EntryHash::from_bytes(from.array()?),
            refusal: Refusal::read(from)?,
            cause: from.sized("cause", CAUSE_LEN_MAX)?.to_vec(),
            postings: Postings::read(from)?,
        };
        reader.end()?;
        Ok(entry)
    }
}

fn bad(field: &'static str, value: u64) -> LayoutError {
    LayoutError::Value { field, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back() {
        let entry = Entry {
            sequence: Sequence::new(7),
            time: UnixTime::from_secs(1),
            prev_hash: EntryHash::of(b"before"),
            kind: EntryKind::Transfer,
            refusal: Some(Refusal::InsufficientCredit),
            cause: vec![1; 229],
            postings: Postings::new(),
        };
        let bytes = entry.to_bytes();
        assert_eq!(Entry::from_bytes(&bytes), Ok(entry));
        for len in 0..bytes.len() {
            assert!(Entry::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn kinds_have_distinct_codes() {
        for &kind in <EntryKind as strum::VariantArray>::VARIANTS {
            assert_eq!(EntryKind::from_code(kind.code()), Some(kind));
        }
    }
}
