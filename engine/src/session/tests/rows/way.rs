//! A way out that nobody told the session: sockets that take turns before one modem.
//!
//! As in the simulator's links (docs/adr/0007-links.md): every connection has a small socket
//! buffer, the modem takes in what it has room for, byte by byte in turn, and what stands in it
//! shows in the time there and back. No congestion window is modelled.

use std::collections::{BTreeMap, VecDeque};

use seedbank_ledger::{Duration, Rate};

use crate::transfer::uplink::UplinkSample;
use crate::units::PeerIndex;

/// What a socket takes in beyond what the modem has.
const SEND_BUFFER: u64 = 32 << 10;
/// Bytes that a connection sends in its turn.
const SEGMENT: u64 = 2_048;
/// There and back while nothing stands in the modem.
const RTT_MIN_MS: u64 = 20;
/// How long a byte waits in a full modem.
const BUFFER_MS: u64 = 200;

/// A block as it left the session: its length, and what it counts at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel {
    pub(super) len: u64,
    /// Zero in the open class.
    pub(super) rate: Rate,
}

/// One uplink and the sockets before it.
#[derive(Debug)]
pub(super) struct Way {
    /// Bytes per second.
    rate: u64,
    sockets: BTreeMap<PeerIndex, Outlet>,
    /// Whose turn it is, first.
    turns: VecDeque<PeerIndex>,
    /// In the modem: of whom, and how much.
    held: VecDeque<(PeerIndex, u64)>,
    held_bytes: u64,
    /// Bytes that the modem may still send.
    due: u64,
}

#[derive(Debug, Default)]
struct Outlet {
    /// Not arrived whole, oldest first; of the first, so much has.
    parcels: VecDeque<Parcel>,
    arrived: u64,
    unsent: u64,
    acknowledged: u64,
    rtt: Duration,
    /// Its receiver reads nothing.
    pub(super) stalls: bool,
}

impl Way {
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate,
            sockets: BTreeMap::new(),
            turns: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            due: 0,
        }
    }

    pub(super) fn open(&mut self, peer: PeerIndex, stalls: bool) {
        let socket = Outlet {
            rtt: Duration::from_millis(RTT_MIN_MS),
            stalls,
            ..Outlet::default()
        };
        self.sockets.insert(peer, socket);
        self.turns.push_back(peer);
    }

    pub(super) fn close(&mut self, peer: PeerIndex) {
        self.sockets.remove(&peer);
        self.turns.retain(|one| *one != peer);
    }

    /// Whether a socket takes in one more block.
    pub(super) fn has_room(&self, peer: PeerIndex) -> bool {
        self.sockets[&peer].unsent < SEND_BUFFER
    }

    pub(super) fn push(&mut self, peer: PeerIndex, parcel: Parcel) {
        let socket = self.sockets.get_mut(&peer).expect("it is open");
        socket.unsent += parcel.len;
        socket.parcels.push_back(parcel);
    }

    /// Lets this time pass; what arrived whole, and at whom.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<(PeerIndex, Parcel)> {
        self.due += self.rate * time.as_millis() / 1_000;
        let mut here = Vec::new();
        loop {
            self.fill();
            let Some((peer, len)) = self
                .held
                .front()
                .copied()
                .filter(|(_, len)| *len <= self.due)
            else {
                break;
            };
            let queue_ms = self.held_bytes * 1_000 / self.rate;
            self.held.pop_front();
            self.held_bytes -= len;
            self.due -= len;
            if let Some(socket) = self.sockets.get_mut(&peer) {
                here.extend(socket.take(len, queue_ms).map(|parcel| (peer, parcel)));
            }
        }
        if self.held.is_empty() {
            // Time in which nothing stood there is lost.
            self.due = 0;
        }
        here
    }

    /// What the driver would measure.
    pub(super) fn samples(&self) -> Vec<UplinkSample> {
        let sample = |(peer, socket): (&PeerIndex, &Outlet)| UplinkSample {
            peer: *peer,
            acknowledged: socket.acknowledged,
            unsent: socket.unsent,
            rtt: socket.rtt,
            rtt_min: Duration::from_millis(RTT_MIN_MS),
        };
        self.sockets.iter().map(sample).collect()
    }

    fn fill(&mut self) {
        let capacity = self.rate * BUFFER_MS / 1_000;
        let mut idle = 0;
        while idle < self.turns.len() && self.held_bytes + SEGMENT <= capacity {
            let peer = self.turns.pop_front().expect("somebody has a turn");
            self.turns.push_back(peer);
            let socket = self.sockets.get_mut(&peer).expect("it is open");
            let len = if socket.stalls {
                0
            } else {
                socket.unsent.min(SEGMENT)
            };
            if len == 0 {
                idle += 1;
                continue;
            }
            idle = 0;
            socket.unsent -= len;
            self.held.push_back((peer, len));
            self.held_bytes += len;
        }
    }
}

impl Outlet {
    /// So much more arrived, having waited so long; the parcels that are whole now.
    fn take(&mut self, len: u64, queue_ms: u64) -> impl Iterator<Item = Parcel> {
        self.acknowledged += len;
        self.arrived += len;
        let took = RTT_MIN_MS + queue_ms;
        // RFC 6298 §2.3, alpha = 1/8.
        let smoothed = (self.rtt.as_nanos() * 7 + Duration::from_millis(took).as_nanos()) / 8;
        self.rtt = Duration::from_nanos(smoothed);
        let mut whole = Vec::new();
        while let Some(first) = self
            .parcels
            .front()
            .filter(|first| first.len <= self.arrived)
        {
            self.arrived -= first.len;
            whole.extend(self.parcels.pop_front());
        }
        whole.into_iter()
    }
}
