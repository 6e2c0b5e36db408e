//! A node's uplink: connections in turn, and a modem with one buffer for all of them.

use std::collections::VecDeque;

use seedbank_ledger::Duration;

use super::config::{LinkConfig, bytes_in, time_of};
use super::pipe::{LinkSegment, PipeId};

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
    /// In the modem; the first is leaving.
    held: VecDeque<LinkSegment>,
    held_bytes: u64,
}

impl Modem {
    pub(super) fn new(config: &LinkConfig) -> Self {
        Self {
            rate: config.uplink,
            capacity: bytes_in(config.buffer, config.uplink),
            segment_len: LinkConfig::segment_len(config.uplink),
            send_buffer: config.send_buffer,
            turn: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
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

    /// A segment enters the modem; how long it takes to leave, if it is the first.
    #[must_use = "the first segment leaves at that time"]
    pub(super) fn admit(&mut self, segment: LinkSegment) -> Option<Duration> {
        let was_idle = self.held.is_empty();
        self.held.push_back(segment);
        self.held_bytes += segment.len;
        was_idle.then(|| time_of(segment.len, self.rate))
    }

    /// The first segment has left; it, and how long the next takes.
    pub(super) fn depart(&mut self) -> (LinkSegment, Option<Duration>) {
        let segment = self.held.pop_front().expect("a segment was leaving");
        self.held_bytes -= segment.len;
        let next = self.held.front();
        (segment, next.map(|next| time_of(next.len, self.rate)))
    }

    /// How long what enters now takes to leave.
    pub(super) fn wait(&self) -> Duration {
        time_of(self.held_bytes, self.rate)
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
