//! What a node's uplink carries, when nobody has said how much that is.

use seedbank_ledger::Duration;

use crate::units::PeerIndex;

/// Time between two measurements of the way out.
pub const MEASURE_EVERY: Duration = Duration::from_millis(100);

/// What the transport knows of the way to a peer (on Linux `TCP_INFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkSample {
    /// Whose connection.
    pub peer: PeerIndex,
    /// Bytes that the peer's transport has acknowledged since the connection began, of any kind.
    pub acknowledged: u64,
    /// Bytes handed to the kernel that have not been sent once.
    pub unsent: u64,
    /// Smoothed time there and back, of bytes and their acknowledgement.
    pub rtt: Duration,
    /// The least of it that was seen.
    pub rtt_min: Duration,
}
