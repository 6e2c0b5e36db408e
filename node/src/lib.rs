//! The daemon as a library: a tokio skin around [`seedbank_engine`] and [`seedbank_ledger`].
//!
//! The only crate with real sockets, files and clocks. No globals: many nodes run in one process.
//! [`Node::start`] starts one; `driver.rs` is its session thread, `disk/plane.rs` its data plane.

pub mod books;
pub mod cli;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
pub(crate) mod disk;
pub mod driver;
pub mod events;
pub mod host;
pub(crate) mod inbox;
pub(crate) mod link;
pub(crate) mod net;
pub mod node;
pub(crate) mod number;
pub(crate) mod pool;
pub mod rpc;
pub mod settlement;
#[cfg(test)]
pub(crate) mod testing;
pub mod torrents;

pub use node::{Node, NodeHandle, NodeOptions, StartError};
