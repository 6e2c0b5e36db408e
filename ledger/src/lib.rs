//! The account book of a Seedbank node: signed receipts, entries, balances, and what keeps them.
//!
//! Pure: no I/O outside a store, no task, no clock, no randomness, no unordered iteration. It knows
//! nothing of BitTorrent, so that an auditor can depend on it alone. Start at `signed`.

#![warn(missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::indexing_slicing
)]

pub mod entry;
mod hex;
pub mod identity;
pub mod layout;
pub mod node;
pub mod refusal;
pub mod signed;
pub mod statement;
pub mod tally;
pub mod time;
pub mod units;

pub use identity::{Identity, NetworkId, NodeId, Signature};
pub use time::{Duration, Instant, UnixTime};
pub use units::{Bytes, MicroCredits, Rate, RawCost, Sequence};
