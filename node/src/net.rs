//! The network room: connections with peers, who opens them, and announces to trackers.
//!
//! Sockets and bytes only. What to say to a peer or a tracker is decided by the session in
//! [`seedbank_engine`]; payload goes from here to the leases and storages of `disk.rs`; the owner's
//! API listens elsewhere (`rpc.rs`). Read `connection.rs` first, then `dial.rs` and `listen.rs`,
//! which open connections; `tracker.rs` stands apart.

pub(crate) mod connection;
pub(crate) mod dial;
pub(crate) mod listen;
pub(crate) mod tracker;
