//! The account book of a Seedbank node: signed receipts, entries, balances, and what keeps them.
//!
//! Pure: no I/O outside a store, no task, no clock, no randomness, no unordered iteration. It knows
//! nothing of BitTorrent, so that an auditor can depend on it alone. Start at `signed`.

#![warn(missing_docs)]
#![deny(clippy::float_arithmetic)]
// Tests may panic.
#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod account;
pub mod entry;
mod hex;
pub mod identity;
pub mod layout;
pub mod ledger;
pub mod log;
pub mod node;
pub mod posting;
pub mod refusal;
pub mod request;
pub mod signed;
pub mod state;
pub mod statement;
pub mod store;
pub mod tally;
pub mod time;
pub mod units;

pub use identity::{Identity, NetworkId, NodeId, Signature};
pub use time::{Duration, Instant, UnixTime};
pub use units::{Bytes, MicroCredits, Rate, RawCost, Sequence};
