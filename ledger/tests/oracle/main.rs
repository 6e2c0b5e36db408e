//! The ledgers against a second opinion: naive books, written from the documents alone, that must
//! agree with the real ones after every step of many random schedules.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a failure names its schedule")]

mod book;
mod draw;
mod network;
mod node;
mod own;
