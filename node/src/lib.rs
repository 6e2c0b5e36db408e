//! The daemon as a library: a tokio skin around [`seedbank_engine`] and [`seedbank_ledger`].
//!
//! The only crate with real sockets, files and clocks. No globals: many nodes run in one process.
//! [`Node::start`] starts one; `driver.rs` is its session thread, `connection.rs` its data plane.

pub mod books;
pub mod cli;
pub(crate) mod clock;
pub mod config;
pub(crate) mod connection;
pub mod create;
pub mod daemon;
pub mod datadir;
pub mod demo;
pub(crate) mod dial;
pub mod driver;
pub mod durable;
pub mod events;
pub(crate) mod hex;
pub(crate) mod inbox;
pub mod keys;
pub(crate) mod lease;
pub(crate) mod listen;
pub mod logs;
pub mod network;
pub mod node;
pub(crate) mod owner;
pub(crate) mod plane;
pub(crate) mod pool;
pub(crate) mod registry;
pub mod rpc;
pub mod settlement;
pub(crate) mod storage;
#[cfg(test)]
pub(crate) mod testing;
pub mod torrents;
pub(crate) mod tracker;

pub use node::{Node, NodeHandle, NodeOptions, StartError};
