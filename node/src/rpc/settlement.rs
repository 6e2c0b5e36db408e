//! The shared ledger over gRPC: kept by one thread, served to anybody, asked by nodes.
//!
//! `keeper.rs` owns the network ledger and enters all that waits as one durable group; `server.rs`
//! serves it on a listener of its own and believes only signatures; `client.rs` is a node's way
//! there.

mod admission;
mod client;
mod convert;
mod keeper;
mod limit;
mod server;

#[cfg(test)]
mod tests;

pub use admission::Door;
pub use client::{Local, Remote, RemoteError};
pub use keeper::{Answered, Issuing, Keeper, KeeperError, Statement};
pub use server::serve;
