//! A node's uplink: connections in turn, and a modem with one buffer for all of them.

use std::collections::VecDeque;

use seedbank_ledger::{Duration, Instant};

use super::config::{LinkConfig, bytes_in, time_of};
use super::pipe::PipeId;

/// The uplink of one node.
#[derive(Debug)]
pub(super) struct Modem {
    rate: u64,
    /// Bytes that the modem holds; a segment more if it is empty.
    capacity: u64,
    /// Bytes that a connection sends in its turn.
    pub(super) segment_len: u64,
    pub(super) send_buffer: u64,
    /// Connections with something to send that may, in turn.
    turn: VecDeque<PipeId>,
    /// In the modem, when each will have left; the first is leaving.
    held: VecDeque<Departure>,
    held_bytes: u64,
    /// When it is looked at, because somebody waits for room.
    wakes_at: Option<Instant>,
}

/// A segment in a modem.
#[derive(Clone, Copy, Debug)]
struct Departure {
    departs_at: Instant,
    len: u64,
}

impl Modem {
    pub(super) fn new(config: &LinkConfig) -> Self {
        Self {
            rate: config.uplink,
            capacity: bytes_in(config.buffer, config.uplink),
            segment_len: config.segment_len(config.uplink),
            send_buffer: config.send_buffer,
            turn: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            wakes_at: None,
        }
    }

    /// Puts a connection at the end of the turn.
    pub(super) fn queue(&mut self, pipe: PipeId) {
        self.turn.push_back(pipe);
    }

    /// Whose turn it is.
    pub(super) fn next_turn(&self) -> Option<PipeId> {
        self.turn.front().copied()
    }

    /// Whoever's turn it was has had it.
    pub(super) fn end_turn(&mut self) {
        self.turn.pop_front();
    }

    /// Whether the modem takes in so many bytes more.
    pub(super) fn has_room(&self, len: u64) -> bool {
        self.held.is_empty() || self.held_bytes + len <= self.capacity
    }

    /// Forgets what has left by now.
    pub(super) fn catch_up(&mut self, now: Instant) {
        while let Some(first) = self.held.front().filter(|first| first.departs_at <= now) {
            self.held_bytes -= first.len;
            self.held.pop_front();
        }
        self.wakes_at = self.wakes_at.filter(|at| *at > now);
    }

    /// A segment enters a modem that has been caught up with; when it will have left.
    pub(super) fn admit(&mut self, len: u64, now: Instant) -> Instant {
        let begins_at = self.held.back().map_or(now, |last| last.departs_at);
        let departs_at = begins_at.after(time_of(len, self.rate));
        self.held.push_back(Departure { departs_at, len });
        self.held_bytes += len;
        departs_at
    }

    /// Somebody waits for room; when the first segment will have left, if nobody waited before.
    #[must_use = "the modem has room then"]
    pub(super) fn wait_for_room(&mut self) -> Option<Instant> {
        let first = self.held.front().expect("an empty modem has room");
        let waited = self.wakes_at.replace(first.departs_at);
        waited.is_none().then_some(first.departs_at)
    }

    /// How long what enters now waits for what is held.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let last = self.held.back();
        last.map_or(Duration::ZERO, |last| last.departs_at.since(now))
    }

    /// Stops the program if the modem holds more than it can, or counts wrongly.
    pub(super) fn check_invariants(&self) {
        let bytes: u64 = self.held.iter().map(|segment| segment.len).sum();
        assert_eq!(bytes, self.held_bytes, "a modem counts its bytes");
        assert!(
            bytes <= self.capacity || self.held.len() == 1,
            "a modem's buffer is bounded"
        );
    }

    /// Connections in turn.
    pub(super) fn turn(&self) -> impl Iterator<Item = PipeId> {
        self.turn.iter().copied()
    }
}
