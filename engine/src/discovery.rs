//! Where peers come from: addresses of a torrent, and the trackers that name them.
//!
//! Sources beside trackers (a DHT, peer exchange, local discovery) go here, and give addresses to
//! `addresses`. Connecting to them is the session's.

pub(crate) mod addresses;
pub mod tracker;
