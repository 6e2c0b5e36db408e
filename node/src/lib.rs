//! The daemon as a library: a tokio skin around [`seedbank_engine`] and [`seedbank_ledger`].
//!
//! The only crate with real sockets, files and clocks. No globals: many nodes run in one process.

pub(crate) mod clock;
pub mod config;
pub(crate) mod connection;
pub mod datadir;
pub mod durable;
pub mod events;
pub(crate) mod hex;
pub(crate) mod inbox;
pub mod keys;
pub(crate) mod lease;
pub(crate) mod plane;
pub(crate) mod pool;
pub(crate) mod registry;
pub mod settlement;
pub(crate) mod storage;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tracker;
