//! The disk room: payload between a connection and the files it ends in.
//!
//! Which pieces to fetch is the session's decision, which torrents there are is the business of
//! `torrents.rs`; the node's own small files are left to `host.rs`. Read `plane.rs` first: what
//! connections, pools and the session thread share. `lease.rs` holds pieces that are not whole,
//! `storage.rs` and its folder those that are.

pub(crate) mod lease;
pub(crate) mod plane;
pub(crate) mod rooms;
pub(crate) mod storage;
