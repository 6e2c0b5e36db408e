//! One direction of a connection: items in order, as bytes that are written, sent and delivered.
//!
//! A byte is *queued* when the node sends it, *written* when the socket's buffer takes it in,
//! *admitted* when the modem does, and *delivered* once it and everything before it came out of the
//! receiver's downlink. Offsets count from the beginning of the connection.

use std::collections::{BTreeMap, VecDeque};

use seedbank_engine::spare::give_back;
use seedbank_ledger::Instant;

use super::End;
use super::config::SEGMENT_MAX;
use super::item::LinkItem;
use super::samples::RoundTrip;

/// One direction of one connection; never used twice. The other direction differs in the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PipeId(u32);

/// Some bytes of a pipe on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkSegment {
    pub(super) pipe: PipeId,
    /// Of its first byte.
    pub(super) offset: u64,
    len: u16,
    /// When the modem took it in.
    pub(super) admitted_at: Instant,
    /// It was lost before: how long it takes tells nothing (RFC 6298 §3).
    pub(super) again: bool,
}

const _: () = assert!(SEGMENT_MAX <= u16::MAX as u64);

impl PipeId {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("memory ends before"))
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The other direction.
    pub(super) const fn back(self) -> Self {
        Self(self.0 ^ 1)
    }
}

impl LinkSegment {
    pub(super) const fn len(&self) -> u64 {
        self.len as u64
    }
}

/// Blocks that the socket's buffer took in and nobody was told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Their payload.
    pub(super) bytes: u64,
    pub(super) blocks: u32,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) from: End,
    pub(super) to: End,
    /// Items not delivered, each with the offset after its last byte.
    items: VecDeque<(u64, LinkItem)>,
    /// Blocks of which not every byte is written: offset after the last, and payload.
    unwritten: VecDeque<(u64, u64)>,
    queued: u64,
    written: u64,
    admitted: u64,
    /// Lost segments to be sent again, oldest first.
    lost: VecDeque<LinkSegment>,
    /// Bytes admitted and neither delivered, nor behind a hole, nor known to be lost.
    in_flight: u64,
    delivered: u64,
    /// Segments behind a hole: length by offset.
    early: BTreeMap<u64, u64>,
    /// It is in its modem's turn.
    pub(super) is_ready: bool,
    /// When the last segment arrived or will: none overtakes another.
    pub(super) last_arrival: Instant,
    /// On their way to the downlink, and when each will arrive there, in order.
    pub(super) coming: VecDeque<(Instant, LinkSegment)>,
    /// Arrived, and waiting for the downlink.
    pub(super) arrived: VecDeque<LinkSegment>,
    /// Bytes that the downlink owes it.
    pub(super) deficit: u64,
    pub(super) told: Written,
    pub(super) round_trip: RoundTrip,
}

impl Written {
    /// Nothing to tell.
    pub(super) const fn is_empty(self) -> bool {
        self.blocks == 0
    }
}

impl Pipe {
    pub(super) fn new(from: End, to: End, round_trip: RoundTrip) -> Self {
        Self {
            from,
            to,
            items: VecDeque::new(),
            unwritten: VecDeque::new(),
            queued: 0,
            written: 0,
            admitted: 0,
            lost: VecDeque::new(),
            in_flight: 0,
            delivered: 0,
            early: BTreeMap::new(),
            is_ready: false,
            last_arrival: Instant::ZERO,
            coming: VecDeque::new(),
            arrived: VecDeque::new(),
            deficit: 0,
            told: Written::default(),
            round_trip,
        }
    }

    /// The node sends something.
    pub(super) fn push(&mut self, item: LinkItem) {
        self.queued += item.len();
        if let Some(payload) = item.payload_len() {
            self.unwritten.push_back((self.queued, payload));
        }
        self.items.push_back((self.queued, item));
    }

    /// The socket's buffer takes in what it has room for.
    pub(super) fn write(&mut self, send_buffer: u64) {
        self.written = self.queued.min(self.admitted + send_buffer);
        while let Some((end, payload)) = self.unwritten.front().copied() {
            if end > self.written {
                break;
            }
            self.unwritten.pop_front();
            self.told.bytes += payload;
            self.told.blocks += 1;
        }
        give_back(&mut self.unwritten);
    }

    /// Length of the segment that it would send next; `None` if there is nothing to send.
    pub(super) fn next_len(&self, segment_len: u64) -> Option<u64> {
        if let Some(lost) = self.lost.front() {
            return Some(lost.len());
        }
        let len = segment_len.min(self.written - self.admitted);
        (len > 0).then_some(len)
    }

    /// The modem takes in the next segment, of this length.
    pub(super) fn admit(&mut self, pipe: PipeId, len: u64, now: Instant) -> LinkSegment {
        self.in_flight += len;
        if let Some(lost) = self.lost.pop_front() {
            assert_eq!(lost.len(), len, "what was lost is sent again");
            return LinkSegment {
                admitted_at: now,
                again: true,
                ..lost
            };
        }
        let offset = self.admitted;
        self.admitted += len;
        LinkSegment {
            pipe,
            offset,
            len: u16::try_from(len).expect("a segment is short"),
            admitted_at: now,
            again: false,
        }
    }

    /// A segment did not arrive, and the sender knows.
    pub(super) fn lose(&mut self, segment: LinkSegment) {
        self.in_flight -= segment.len();
        self.lost.push_back(segment);
    }

    /// A segment came out of the downlink. What is behind a hole waits.
    pub(super) fn deliver(&mut self, segment: &LinkSegment) {
        self.in_flight -= segment.len();
        if segment.offset != self.delivered {
            self.early.insert(segment.offset, segment.len());
            return;
        }
        self.delivered += segment.len();
        while let Some(len) = self.early.remove(&self.delivered) {
            self.delivered += len;
        }
    }

    /// The next item whose last byte was delivered.
    pub(super) fn next_item(&mut self) -> Option<LinkItem> {
        let (end, _) = self.items.front()?;
        if *end > self.delivered {
            return None;
        }
        let (_, item) = self.items.pop_front()?;
        give_back(&mut self.items);
        Some(item)
    }

    /// Blocks that were not delivered.
    pub(super) fn block_count(&self) -> u64 {
        let items = self.items.iter();
        items
            .filter(|(_, item)| item.payload_len().is_some())
            .count() as u64
    }

    /// Bytes on their way.
    pub(super) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Bytes that are written and were never sent.
    pub(super) const fn unsent(&self) -> u64 {
        self.written - self.admitted
    }

    /// Bytes that arrived in order.
    pub(super) const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Stops the program if the counts contradict each other.
    pub(super) fn check_invariants(&self, send_buffer: u64) {
        assert!(
            self.written <= self.queued,
            "only what is queued is written"
        );
        assert!(
            self.admitted <= self.written,
            "only what is written is sent"
        );
        assert!(self.unsent() <= send_buffer, "a socket's buffer is bounded");
        let early: u64 = self.early.values().sum();
        let lost: u64 = self.lost.iter().map(|segment| segment.len()).sum();
        assert_eq!(
            self.delivered + early + lost + self.in_flight,
            self.admitted,
            "every byte that was sent is somewhere"
        );
        let arrived: u64 = self.arrived.iter().map(|segment| segment.len()).sum();
        assert!(arrived <= self.in_flight, "what waits is on its way");
        let waiting = self.items.front().map(|(end, _)| *end);
        assert!(
            waiting.is_none_or(|end| end > self.delivered),
            "what has arrived is handed on"
        );
    }
}
