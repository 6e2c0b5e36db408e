//! One binary for all tests across crates.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod setup;
mod tidy;
