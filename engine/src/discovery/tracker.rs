//! Trackers: what to ask, how to read the answer, and whom to ask when (BEP 3, 7, 12, 15, 23, 41).
//!
//! [`http`] and [`udp`] are the two ways to ask; `tiers` decides whom and when. A driver makes
//! whole HTTP requests; of UDP it owns the sockets and resolves names, and [`udp::client`] does the
//! rest.

pub mod http;
mod tiers;
pub mod udp;
pub mod url;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use seedbank_ledger::{Duration, Instant};

use crate::discovery::reach::ReachError;
use crate::units::{ClientId, InfoHash};

pub use tiers::{Announce, HURRY_INTERVAL, RETRY_FIRST, RETRY_LONGEST, Trackers};

/// Most peers taken from one answer.
pub const PEERS_MAX: usize = 1000;
/// Time between announces if the tracker names none.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Shortest time between regular announces, whatever the tracker says.
pub const INTERVAL_SHORTEST: Duration = Duration::from_secs(60);
/// Longest time between announces, whatever the tracker says.
pub const INTERVAL_LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Most characters of a tracker's text that are kept.
pub const TEXT_MAX: usize = 256;

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
    /// Whoever named it may not lead us there.
    #[error(transparent)]
    Forbidden(#[from] ReachError),
}

/// Seconds that a tracker named, held within [`INTERVAL_SHORTEST`] and [`INTERVAL_LONGEST`].
fn interval(secs: u64) -> Duration {
    Duration::from_secs(secs).clamp(INTERVAL_SHORTEST, INTERVAL_LONGEST)
}

/// Addresses as a tracker gave them: at most [`PEERS_MAX`], each once and in order, none that
/// nobody can be reached at. Which of them are ourselves, only the session knows.
fn usable(peers: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    peers
        .into_iter()
        .map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()))
        .filter(|peer| {
            let ip = peer.ip();
            let broadcast = matches!(ip, std::net::IpAddr::V4(ip) if ip.is_broadcast());
            peer.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
        })
        .filter(|peer| seen.insert(*peer))
        .take(PEERS_MAX)
        .collect()
}

/// Peers in compact form (BEP 7, 23): `N` bytes of address and two of port each. Bytes that do not
/// make up a whole peer are ignored.
fn compact<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = SocketAddr>
where
    std::net::IpAddr: From<[u8; N]>,
{
    bytes.chunks_exact(N + 2).map(|peer| {
        let (ip, port) = peer.split_at(N);
        let ip: [u8; N] = ip.try_into().expect("split at N");
        let port = port.try_into().expect("two bytes are left");
        SocketAddr::new(ip.into(), u16::from_be_bytes(port))
    })
}

/// A tracker as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerView {
    /// URL.
    pub url: String,
    /// Last answer or error, for people.
    pub status: String,
    /// When the next announce is due.
    pub next_announce: Option<Instant>,
}
