//! The account book of a Seedbank node: signed receipts, entries, balances, and what keeps them.
//!
//! Pure: no I/O outside a store, no task, no clock, no randomness, no unordered iteration. It knows
//! nothing of BitTorrent, so that an auditor can depend on it alone.
//!
//! `signed` is what people sign, `entry` what a ledger keeps, `ledger` how it grows and is checked.
//! `charts` are its two charts of accounts: a community's credit and one node's books;
//! `settlement` the service that answers from the first of them;
//! `mark` what a settlement node keeps outside its store, `clock` the time it goes by;
//! `tally` the rows that change with every piece, `store` where all of it lies.
//!
//! # Invariants
//!
//! L2, L3 and L4 are asserted of what an entry touches, L1 of what it moves, before it is written.
//! Over all rows they are checked by `check_invariants()` only, and with L5, L6 and L8 by
//! `check()`, which makes the whole ledger again from its entries.
//!
//! - **L1** Network: supply = Σ grants − Σ burns = Σ available + Σ escrow, at most
//!   [`charts::network::SUPPLY_MAX`].
//! - **L2** No account is below zero on its normal side; postings sum to zero in each commodity,
//!   and
//!   an account's two totals only grow.
//! - **L3** 0 ≤ claimed ≤ a lock's amount; a lock's accounts hold exactly what is left of it.
//! - **L4** A channel's bytes and amount never decrease: what goes back is refused or adds nothing.
//! - **L5** Replaying the log gives the same hashes, outcomes, postings and rows, whatever the
//!   grouping.
//! - **L6** Every certificate has its entry; every certified line in a node's ledger follows the
//!   one
//!   before it.
//! - **L8** What is reported is a sum over entries, exactly: [`charts::node::NodeLedger::explain`].
//!
//! (L7, that nobody is granted more than its window, is the engine's: docs/RULES.md, P1.)

#![warn(missing_docs)]
#![deny(clippy::float_arithmetic)]
// Tests may panic.
#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod account;
pub mod charts;
pub mod clock;
pub mod entry;
pub mod genesis;
mod hex;
pub mod identity;
pub mod layout;
pub mod ledger;
pub mod mark;
pub mod posting;
pub mod refusal;
pub mod settlement;
pub mod signed;
pub mod state;
pub mod statement;
pub mod store;
pub mod tally;
pub mod time;
pub mod units;

pub use genesis::Genesis;
pub use identity::{Identity, NetworkId, NodeId, Signature};
pub use time::{Duration, Instant, UnixTime};
pub use units::{Bytes, MicroCredits, Rate, RawCost, Sequence};
