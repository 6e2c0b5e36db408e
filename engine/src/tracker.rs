//! Trackers: what to ask, and how to read the answer (BEP 3, 7, 12, 15, 23).

use std::net::SocketAddr;

use seedbank_ledger::Duration;

use crate::units::{ClientId, InfoHash};

/// Why a torrent announces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceEvent {
    /// Regular interval.
    Interval,
    /// First announce of this run.
    Started,
    /// The last piece was just verified.
    Completed,
    /// Going away.
    Stopped,
}

/// What to tell a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// Torrent.
    pub info_hash: InfoHash,
    /// Our name.
    pub client_id: ClientId,
    /// Port we listen on.
    pub port: u16,
    /// Payload bytes sent since `Started`.
    pub uploaded: u64,
    /// Payload bytes received since `Started`.
    pub downloaded: u64,
    /// Bytes not verified yet.
    pub left: u64,
    /// Why.
    pub event: AnnounceEvent,
    /// Most peers wanted.
    pub num_want: u32,
    /// Stable for the run, so that a tracker knows us behind a new address.
    pub key: u32,
}

/// What a tracker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Time until the next announce, as asked for.
    pub interval: Duration,
    /// Shortest time until the next announce.
    pub interval_min: Option<Duration>,
    /// Peers with everything, if told.
    pub seeds: Option<u32>,
    /// Peers without everything, if told.
    pub leechers: Option<u32>,
    /// Where peers are.
    pub peers: Vec<SocketAddr>,
    /// Text for people.
    pub warning: Option<String>,
}

/// Why an announce failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// The tracker refused.
    #[error("tracker refused: {0}")]
    Refused(String),
    /// No usable answer.
    #[error("no usable answer: {0}")]
    Malformed(String),
    /// Nobody there.
    #[error("cannot reach it: {0}")]
    Unreachable(String),
}
