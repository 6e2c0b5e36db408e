//! What the ledger promises, driven from outside through its public types only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attacks;
mod codecs;
mod expiries;
mod laws;
mod link;
mod network;
mod readers;
#[cfg(feature = "rocksdb")]
mod rocks;
mod settled;
mod vectors;
mod world;
