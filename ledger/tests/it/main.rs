//! What the ledger promises, driven from outside through its public types only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod network;
mod settled;
mod world;
