//! What a sender's transport knows of a connection: acknowledged bytes and round-trip times.
//!
//! Acknowledgements take the way back and no room on it, and are never lost.

use std::collections::VecDeque;

use seedbank_engine::spare::give_back;
use seedbank_ledger::{Duration, Instant};

/// Acknowledged bytes and times there and back, as in Linux's `TCP_INFO`.
#[derive(Debug)]
pub(super) struct RoundTrip {
    /// On their way back.
    acks: VecDeque<Ack>,
    acknowledged: u64,
    smoothed: Duration,
    least: Duration,
    /// Something was sent or acknowledged since it was last looked at.
    pub(super) is_active: bool,
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    /// When the sender hears of it.
    pub(super) at: Instant,
    /// Bytes delivered in order.
    pub(super) delivered: u64,
    /// How long its segment took, there and back; `None` for one that was sent twice.
    pub(super) took: Option<Duration>,
    /// Bytes of that segment.
    pub(super) len: u64,
}

impl RoundTrip {
    /// A connection whose opening took so long, there and back: the first sample.
    pub(super) const fn new(opening: Duration) -> Self {
        Self {
            acks: VecDeque::new(),
            acknowledged: 0,
            smoothed: opening,
            least: opening,
            is_active: false,
        }
    }

    /// The receiver acknowledges; it sends its acknowledgements in order.
    pub(super) fn acknowledge(&mut self, ack: Ack) {
        self.acks.push_back(ack);
    }

    /// Takes in what the sender has heard by now; bytes of the segments that were acknowledged.
    pub(super) fn hear(&mut self, now: Instant) -> u64 {
        let mut bytes = 0;
        while let Some(ack) = self.acks.front().copied().filter(|ack| ack.at <= now) {
            self.acks.pop_front();
            bytes += ack.len;
            self.acknowledged = self.acknowledged.max(ack.delivered);
            self.is_active = true;
            let Some(took) = ack.took else { continue };
            self.least = self.least.min(took);
            // RFC 6298 §2.3, alpha = 1/8.
            let sum = self
                .smoothed
                .times(7)
                .as_nanos()
                .saturating_add(took.as_nanos());
            self.smoothed = Duration::from_nanos(sum / 8);
        }
        give_back(&mut self.acks);
        bytes
    }

    /// When the next acknowledgement will be heard, of those that are on their way.
    pub(super) fn next(&self) -> Option<Instant> {
        self.acks.front().map(|ack| ack.at)
    }

    /// Bytes whose acknowledgements are on their way.
    pub(super) fn unheard(&self) -> u64 {
        self.acks.iter().map(|ack| ack.len).sum()
    }

    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub(super) const fn least(&self) -> Duration {
        self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_an_eighth_once_it_is_heard() {
        let at = |ms| Instant::ZERO.after(Duration::from_millis(ms));
        let mut round_trip = RoundTrip::new(Duration::from_millis(80));
        let ack = |ms, delivered, took| Ack {
            at: at(ms),
            delivered,
            took,
            len: 10,
        };
        round_trip.acknowledge(ack(50, 10, Some(Duration::from_millis(160))));
        round_trip.acknowledge(ack(60, 20, Some(Duration::from_millis(40))));
        round_trip.acknowledge(ack(70, 30, None));
        assert_eq!(round_trip.hear(at(49)), 0);
        assert_eq!(round_trip.next(), Some(at(50)));
        assert_eq!(round_trip.unheard(), 30);
        assert_eq!(round_trip.acknowledged(), 0);
        assert!(!round_trip.is_active);
        assert_eq!(round_trip.hear(at(50)), 10);
        assert_eq!(round_trip.acknowledged(), 10);
        assert_eq!(round_trip.smoothed(), Duration::from_millis(90));
        assert_eq!(round_trip.least(), Duration::from_millis(80));
        assert_eq!(round_trip.hear(at(70)), 20);
        assert_eq!(round_trip.acknowledged(), 30);
        assert_eq!(round_trip.smoothed(), Duration::from_nanos(83_750_000));
        assert_eq!(round_trip.least(), Duration::from_millis(40));
    }
}
