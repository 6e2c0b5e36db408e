//! The network room: connections with peers, who opens them, datagrams, and announces over HTTP.
//!
//! Sockets and bytes only. What to say to a peer or a tracker is decided by the session in
//! [`seedbank_engine`]; payload goes from here to the leases and storages of `disk.rs`; the owner's
//! API listens elsewhere (`rpc.rs`). Read `connection.rs` first, then `dial.rs` and `listen.rs`,
//! which open connections; `datagram.rs` and `tracker.rs` stand apart; both look
//! names up in `lookup.rs`. Where this machine is in the open internet, the kernel says
//! (`whereabouts.rs`).

pub(crate) mod connection;
pub(crate) mod datagram;
pub(crate) mod dial;
pub(crate) mod listen;
pub(crate) mod lookup;
pub(crate) mod tracker;
pub(crate) mod whereabouts;
