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
pub(crate) struct PipeId(u32);

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

/// One direction of a connection. Its two ends are looked at by two nodes at different times: what
/// each touches lies together.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
}

/// What the sender keeps of a pipe.
#[derive(Debug)]
pub(super) struct Sending {
    queued: u64,
    written: u64,
    admitted: u64,
    /// Bytes admitted, and not known to be delivered or lost.
    in_flight: u64,
    /// It is in its modem's turn.
    pub(super) is_ready: bool,
    /// The node has closed its end: nothing more is sent.
    pub(super) is_closed: bool,
    pub(super) waiting: SenderWait,
    pub(super) told: Written,
    /// When the last segment arrived or will: none overtakes another.
    pub(super) last_arrival: Instant,
    /// Blocks of which not every byte is written: offset after the last, and payload.
    unwritten: VecDeque<(u64, u64)>,
    /// Lost segments to be sent again, oldest first.
    lost: VecDeque<LinkSegment>,
    pub(super) round_trip: RoundTrip,
}

/// Whether a sender that may not send now is told when it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SenderWait {
    /// It does not wait.
    No,
    /// For the next acknowledgement that its receiver sends.
    ForAck,
    /// For the time at which one on its way is heard.
    ForTime,
}

/// What the receiver keeps of a pipe.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Items not delivered, each with the offset after its last byte.
    items: VecDeque<(u64, LinkItem)>,
    /// On their way to the downlink, and when each will arrive there, in order.
    pub(super) coming: VecDeque<(Instant, LinkSegment)>,
    /// Arrived, and waiting for the downlink.
    pub(super) arrived: VecDeque<LinkSegment>,
    /// Bytes that the downlink owes it.
    pub(super) deficit: u64,
    delivered: u64,
    /// Segments behind a hole: length by offset.
    early: BTreeMap<u64, u64>,
    /// The node has closed its end: what arrives is lost.
    pub(super) is_closed: bool,
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
            sending: Sending {
                queued: 0,
                written: 0,
                admitted: 0,
                in_flight: 0,
                is_ready: false,
                is_closed: false,
                waiting: SenderWait::No,
                told: Written::default(),
                last_arrival: Instant::ZERO,
                unwritten: VecDeque::new(),
                lost: VecDeque::new(),
                round_trip,
            },
            receiving: Receiving {
                items: VecDeque::new(),
                coming: VecDeque::new(),
                arrived: VecDeque::new(),
                deficit: 0,
                delivered: 0,
                early: BTreeMap::new(),
                is_closed: false,
            },
        }
    }

    /// The node sends something.
    pub(super) fn push(&mut self, item: LinkItem) {
        let sending = &mut self.sending;
        sending.queued += item.len();
        if let Some(payload) = item.payload_len() {
            sending.unwritten.push_back((sending.queued, payload));
        }
        sending.round_trip.is_active = true;
        self.receiving.items.push_back((sending.queued, item));
    }

    /// Blocks that were not delivered.
    pub(super) fn block_count(&self) -> u64 {
        let items = self.receiving.items.iter();
        items
            .filter(|(_, item)| item.payload_len().is_some())
            .count() as u64
    }

    /// Bytes that are on their way to the receiver.
    pub(super) fn on_the_way(&self) -> u64 {
        self.sending.in_flight - self.sending.round_trip.unheard()
    }

    /// Stops the program if the counts contradict each other.
    pub(super) fn check_invariants(&self, send_buffer: u64) {
        let (sending, receiving) = (&self.sending, &self.receiving);
        assert!(
            sending.written <= sending.queued,
            "only what is queued is written"
        );
        assert!(
            sending.admitted <= sending.written,
            "only what is written is sent"
        );
        assert!(
            sending.unsent() <= send_buffer,
            "a socket's buffer is bounded"
        );
        let early: u64 = receiving.early.values().sum();
        let lost: u64 = sending.lost.iter().map(|segment| segment.len()).sum();
        assert_eq!(
            receiving.delivered + early + lost + self.on_the_way(),
            sending.admitted,
            "every byte that was sent is somewhere"
        );
        let arrived = receiving.arrived.iter().map(|segment| segment.len());
        assert!(
            arrived.sum::<u64>() <= self.on_the_way(),
            "what waits is on its way"
        );
        let waiting = receiving.items.front().map(|(end, _)| *end);
        assert!(
            waiting.is_none_or(|end| end > receiving.delivered),
            "what has arrived is handed on"
        );
        assert!(
            sending.waiting != SenderWait::ForAck || sending.in_flight > 0,
            "who waits to hear of something has sent it"
        );
    }
}

impl Sending {
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
        if self.is_closed {
            return None;
        }
        if let Some(lost) = self.lost.front() {
            return Some(lost.len());
        }
        let len = segment_len.min(self.written - self.admitted);
        (len > 0).then_some(len)
    }

    /// The modem takes in the next segment, of this length.
    pub(super) fn admit(&mut self, pipe: PipeId, len: u64, now: Instant) -> LinkSegment {
        self.in_flight += len;
        self.round_trip.is_active = true;
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

    /// Takes in the acknowledgements that are here by now.
    pub(super) fn hear(&mut self, now: Instant) {
        self.in_flight -= self.round_trip.hear(now);
    }

    /// Bytes sent, and not known to be delivered or lost.
    pub(super) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Bytes that are written and were never sent.
    pub(super) const fn unsent(&self) -> u64 {
        self.written - self.admitted
    }
}

impl Receiving {
    /// A segment came out of the downlink. What is behind a hole waits.
    pub(super) fn deliver(&mut self, segment: &LinkSegment) {
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

    /// Bytes that arrived in order.
    pub(super) const fn delivered(&self) -> u64 {
        self.delivered
    }
}
