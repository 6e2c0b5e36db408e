//! How a node is connected: rates, buffers, delay, jitter, loss.

use seedbank_ledger::Duration;

/// Shortest segment: what one Ethernet frame carries over TCP.
pub(super) const SEGMENT_MIN: u64 = 1_448;
/// Longest segment.
pub(super) const SEGMENT_MAX: u64 = 16_384;

/// Most segments lost of a million, at one end.
const LOSS_PPM_MAX: u32 = 250_000;
const NANOS_PER_SEC: u128 = 1_000_000_000;

/// A node's line. Rates count what connections carry; headers below them are not modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Bytes per second that the node can send.
    pub uplink: u64,
    /// Bytes per second that it can receive; `None`: as fast as they come.
    pub downlink: Option<u64>,
    /// How long a byte waits in a full buffer, at either end of the line: a modem's is this times
    /// the uplink, what waits before the downlink this times the downlink.
    pub buffer: Duration,
    /// Bytes that a connection's socket takes in beyond those that its modem has; a block at least.
    pub send_buffer: u64,
    /// One way between the node and the middle of the network: the way to another node takes the
    /// sum of both.
    pub delay: Duration,
    /// Longest time that a segment is late; every time up to that is equally likely, and that of
    /// both ends adds up. Order on a connection is kept.
    pub jitter: Duration,
    /// Segments lost of a million that pass the line, in either direction; a quarter at most.
    pub loss_ppm: u32,
    /// How long the line is one connection's before it is the next one's turn: a segment is what
    /// passes in that time, but a frame at least and 16 KiB at most.
    pub turn: Duration,
}

impl LinkConfig {
    /// A line with a buffer of 200 ms, a downlink that is never full, no jitter and no loss; a
    /// socket takes in 128 KiB, and connections take turns of 1 ms, as frames and bursts are long.
    pub const fn new(uplink: u64, delay: Duration) -> Self {
        Self {
            uplink,
            downlink: None,
            buffer: Duration::from_millis(200),
            send_buffer: 128 << 10,
            delay,
            jitter: Duration::ZERO,
            loss_ppm: 0,
            turn: Duration::from_millis(1),
        }
    }

    /// The same line with this downlink, in bytes per second.
    #[must_use]
    pub const fn with_downlink(self, downlink: u64) -> Self {
        Self {
            downlink: Some(downlink),
            ..self
        }
    }

    /// Bytes of a connection's turn where the line has this rate.
    pub(super) fn segment_len(&self, rate: u64) -> u64 {
        bytes_in(self.turn, rate).clamp(SEGMENT_MIN, SEGMENT_MAX)
    }

    /// Why nothing could ever pass such a line; `None` for a sound one.
    pub fn problem(&self) -> Option<&'static str> {
        if self.uplink == 0 || self.downlink == Some(0) {
            Some("a line that carries nothing")
        } else if self.send_buffer < SEGMENT_MAX {
            Some("a socket that takes in less than a block")
        } else if self.loss_ppm > LOSS_PPM_MAX {
            Some("a line that loses more than it carries")
        } else {
            None
        }
    }
}

/// How long `bytes` take at `rate` bytes per second, rounded up.
pub(super) fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = (u128::from(bytes) * NANOS_PER_SEC).div_ceil(u128::from(rate));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bytes that pass in `time` at `rate` bytes per second, rounded down.
pub(super) fn bytes_in(time: Duration, rate: u64) -> u64 {
    let bytes = u128::from(time.as_nanos()) * u128::from(rate) / NANOS_PER_SEC;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Two times, one after the other.
pub(super) const fn both(one: Duration, other: Duration) -> Duration {
    Duration::from_nanos(one.as_nanos().saturating_add(other.as_nanos()))
}
