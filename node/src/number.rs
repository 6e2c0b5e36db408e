//! Counters and amounts as the signed numbers of the contract's messages; what is larger than they
//! hold is shown as the largest. Reading them back is each reader's business.

use seedbank_ledger::{Bytes, MicroCredits, Rate};

pub(crate) fn number(raw: u64) -> i64 {
    i64::try_from(raw).unwrap_or(i64::MAX)
}

pub(crate) fn bytes(bytes: Bytes) -> i64 {
    number(bytes.get())
}

pub(crate) fn credit(amount: MicroCredits) -> i64 {
    number(amount.get())
}

pub(crate) fn rate(rate: Rate) -> i64 {
    number(rate.get())
}

pub(crate) fn count(raw: usize) -> i32 {
    i32::try_from(raw).unwrap_or(i32::MAX)
}

pub(crate) fn small_count(raw: u32) -> i32 {
    i32::try_from(raw).unwrap_or(i32::MAX)
}
