//! Where peers come from: addresses of a torrent, and the trackers that name them.
//!
//! Sources beside trackers (a DHT, peer exchange, local discovery) go here, and give addresses to
//! `addresses`. Connecting to them is the session's.

pub(crate) mod addresses;
pub(crate) mod bans;
pub mod failures;
pub mod host;
pub mod reach;
pub mod tracker;

/// Longest datagram that is looked at; a tracker's answer of 200 peers is a quarter of it.
pub const DATAGRAM_LEN_MAX: usize = 16 * 1024;

/// Why a host has no address that a datagram of ours could go to, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub String);
