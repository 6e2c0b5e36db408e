//! Links and connections: an ideal TCP over real lines (docs/adr/0007-links.md).
//!
//! Each node has an uplink and a downlink of some rate and with a buffer, and some way to the
//! middle of the network. Connections share both, byte by byte in turn; a full buffer shows in the
//! time there and back. No congestion window is modelled: whatever is free is used at once.
//! `uplink` and `downlink` are the two ends of a line, `pipe` is one direction of a connection,
//! `samples` what a sender's transport can tell of it.
//!
//! When a segment leaves its modem, and when it arrives, is known as it enters. So a line needs an
//! event only where somebody waits for room in its modem or to hear of what it sent, and where
//! something has passed its downlink; the rest is caught up with whenever it is looked at.
//!
//! Nodes are looked at one after the other, each up to a horizon: what one does reaches
//! another over the way between them, and never before that. Two things it sees of the
//! other at once: what is reserved of its downlink, and which ends it has.

mod config;
mod downlink;
mod ends;
mod invariants;
mod item;
mod pipe;
mod samples;
#[cfg(test)]
mod tests;
mod uplink;

use std::collections::{BTreeMap, VecDeque};

use seedbank_engine::rng::Rng;
use seedbank_engine::spare::give_back;
use seedbank_engine::transfer::uplink::UplinkSample;
use seedbank_engine::units::PeerIndex;
use seedbank_ledger::{Duration, Instant};

pub use config::LinkConfig;
pub use item::LinkItem;

use config::both;
use downlink::{Coming, Downlink};
use pipe::{LinkSegment, Pipe, PipeId, SenderWait, Written};
use samples::Ack;
use uplink::Modem;

/// Position of a node in its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(pub usize);

/// A node's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Whose end.
    pub node: NodeIndex,
    /// What that node calls the other side.
    pub peer: PeerIndex,
}

/// Something that is to happen on a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkEvent {
    /// The node's modem has room again for who waits for it.
    Room,
    /// Something may have passed the node's downlink.
    Passed,
    /// The sender knows that a segment was lost.
    Lost(LinkSegment),
    /// The sender hears what it waited for.
    Heard(PipeId),
    /// The receiver hears that the sender has closed.
    Closed(PipeId),
}

/// What nodes notice.
#[derive(Clone, Debug)]
pub(crate) enum LinkOutput {
    /// An item is here.
    Delivered {
        /// At whose end.
        to: End,
        /// What.
        item: LinkItem,
    },
    /// Blocks are in the socket's buffer.
    Written {
        /// Who sent them.
        from: End,
        /// Their payload.
        bytes: u64,
        /// How many.
        blocks: u32,
    },
    /// The other side has closed, and this end is no more.
    Gone(End),
}

/// Every line, every connection, and what is on them. Timers and outputs are drained after each
/// call.
#[derive(Debug)]
pub(crate) struct Links {
    lines: Vec<Line>,
    /// By [`PipeId`]; `None` once the connection is cut. Both directions stand side by side.
    pipes: Vec<Option<Box<Pipe>>>,
    /// When, to whom, what.
    timers: VecDeque<(Instant, NodeIndex, LinkEvent)>,
    delivered: VecDeque<(End, LinkItem)>,
    /// Pipes whose sender has not been told of blocks written.
    telling: VecDeque<PipeId>,
    gone: VecDeque<End>,
    /// Nothing reaches another node before.
    horizon: Instant,
    /// Blocks whose connection was cut, or gone, before they were delivered.
    blocks_lost: u64,
}

#[derive(Debug)]
struct Line {
    config: LinkConfig,
    uplink: Modem,
    downlink: Downlink,
    /// The direction that begins at each of the node's ends.
    ends: BTreeMap<PeerIndex, PipeId>,
    /// Draws the jitter and the loss of what this node sends.
    rng: Rng,
}

impl Links {
    /// Nobody there.
    pub(crate) const fn new() -> Self {
        Self {
            lines: Vec::new(),
            pipes: Vec::new(),
            timers: VecDeque::new(),
            delivered: VecDeque::new(),
            telling: VecDeque::new(),
            gone: VecDeque::new(),
            horizon: Instant::ZERO,
            blocks_lost: 0,
        }
    }

    /// Gives the next node its line; jitter and loss of what it sends are drawn from `rng`.
    ///
    /// # Panics
    /// If nothing could ever pass it.
    pub(crate) fn add_node(&mut self, node: NodeIndex, config: LinkConfig, rng: Rng) {
        assert_eq!(config.problem(), None, "a line is sound");
        assert_eq!(node.0, self.lines.len(), "nodes come in order");
        self.lines.push(Line {
            uplink: Modem::new(&config),
            downlink: Downlink::new(&config),
            config,
            ends: BTreeMap::new(),
            rng,
        });
    }

    /// What nodes do from now on reaches others at `horizon` at the earliest.
    pub(crate) const fn set_horizon(&mut self, horizon: Instant) {
        self.horizon = horizon;
    }

    /// One way between two nodes, on empty lines.
    pub(crate) fn delay(&self, a: NodeIndex, b: NodeIndex) -> Duration {
        both(self.lines[a.0].config.delay, self.lines[b.0].config.delay)
    }

    /// Blocks that were sent and lost with their connections, and those that are under way.
    pub(crate) fn blocks_lost_and_under_way(&self) -> [u64; 2] {
        let pipes = self.pipes.iter().flatten();
        let delivered = self.delivered.iter();
        let delivered = delivered.filter(|(_, item)| item.payload_len().is_some());
        let under_way = pipes.map(|pipe| pipe.block_count()).sum::<u64>();
        [self.blocks_lost, under_way + delivered.count() as u64]
    }

    /// Whether there is a connection at this end.
    pub(crate) fn is_connected(&self, end: End) -> bool {
        self.id_at(end).is_some()
    }

    /// The other end of a connection; `None` if it is gone.
    pub(crate) fn other(&self, end: End) -> Option<End> {
        let id = self.id_at(end)?;
        self.pipe(id).map(|pipe| pipe.to)
    }

    /// Every end that belongs to `node`.
    pub(crate) fn ends_of(&self, node: NodeIndex) -> Vec<End> {
        self.pipes_of(node).map(|(end, _)| end).collect()
    }

    /// Sends an item; it is lost if the connection is gone.
    pub(crate) fn send(&mut self, from: End, item: LinkItem, now: Instant) {
        let Some(id) = self.id_at(from) else {
            self.blocks_lost += u64::from(item.payload_len().is_some());
            return;
        };
        self.pipe_mut(id).push(item);
        self.write(id);
        self.ready(id, now);
    }

    /// Time has come for an event of this node that was among the timers.
    pub(crate) fn handle(&mut self, node: NodeIndex, event: LinkEvent, now: Instant) {
        match event {
            LinkEvent::Room => self.fill(node, now),
            LinkEvent::Passed => self.passed(node, now),
            LinkEvent::Lost(segment) => {
                let Some(pipe) = &mut self.pipes[segment.pipe.index()] else {
                    return;
                };
                pipe.sending.lose(segment);
                if pipe.sending.waiting == SenderWait::ForAck {
                    pipe.sending.waiting = SenderWait::No;
                }
                let downlink = &mut self.lines[pipe.to.node.0].downlink;
                downlink.release(segment.len());
                self.ready(segment.pipe, now);
            }
            LinkEvent::Heard(id) => {
                if let Some(pipe) = &mut self.pipes[id.index()] {
                    pipe.sending.waiting = SenderWait::No;
                    self.ready(id, now);
                }
            }
            LinkEvent::Closed(id) => self.closed(id),
        }
    }

    /// The next event to be handed back: when, and at which node.
    pub(crate) fn poll_timer(&mut self) -> Option<(Instant, NodeIndex, LinkEvent)> {
        self.timers.pop_front()
    }

    /// The next thing that a node notices.
    pub(crate) fn poll_output(&mut self) -> Option<LinkOutput> {
        if let Some((to, item)) = self.delivered.pop_front() {
            return Some(LinkOutput::Delivered { to, item });
        }
        while let Some(id) = self.telling.pop_front() {
            let Some(pipe) = &mut self.pipes[id.index()] else {
                continue;
            };
            let Written { bytes, blocks } = std::mem::take(&mut pipe.sending.told);
            let from = pipe.from;
            return Some(LinkOutput::Written {
                from,
                bytes,
                blocks,
            });
        }
        self.gone.pop_front().map(LinkOutput::Gone)
    }

    /// How a node's connections fare on their way out: those that had something to send, or heard
    /// of it, since the last time.
    pub(crate) fn sample(&mut self, node: NodeIndex, now: Instant) -> Vec<UplinkSample> {
        let ids: Vec<PipeId> = self.pipes_of(node).map(|(_, id)| id).collect();
        let mut samples = Vec::new();
        for id in ids {
            let pipe = self.pipe_mut(id);
            let sending = &mut pipe.sending;
            sending.hear(now);
            let has_something = sending.unsent() > 0 || sending.in_flight() > 0;
            if std::mem::take(&mut sending.round_trip.is_active) || has_something {
                samples.push(UplinkSample {
                    peer: pipe.from.peer,
                    acknowledged: sending.round_trip.acknowledged(),
                    unsent: sending.unsent(),
                    rtt: sending.round_trip.smoothed(),
                    rtt_min: sending.round_trip.least(),
                });
            }
        }
        samples
    }

    /// A connection may have something to send: it gets its turn.
    fn ready(&mut self, id: PipeId, now: Instant) {
        let Some(pipe) = &mut self.pipes[id.index()] else {
            return;
        };
        let (node, sending) = (pipe.from.node, &mut pipe.sending);
        let uplink = &mut self.lines[node.0].uplink;
        let may_turn = !sending.is_ready && sending.waiting == SenderWait::No;
        if may_turn && sending.next_len(uplink.segment_len).is_some() {
            sending.is_ready = true;
            uplink.queue(id);
            self.fill(node, now);
        }
    }

    /// Fills a modem from its connections, in turn. Who may not send now leaves the turn, and comes
    /// back when it hears of what it sent.
    fn fill(&mut self, node: NodeIndex, now: Instant) {
        self.lines[node.0].uplink.catch_up(now);
        while let Some(id) = self.lines[node.0].uplink.next_turn() {
            let uplink = &mut self.lines[node.0].uplink;
            let Some(pipe) = &mut self.pipes[id.index()] else {
                uplink.end_turn();
                continue;
            };
            let (to, sending) = (pipe.to.node, &mut pipe.sending);
            let Some(len) = sending.next_len(uplink.segment_len) else {
                sending.is_ready = false;
                uplink.end_turn();
                continue;
            };
            if !uplink.has_room(len) {
                if let Some(at) = uplink.wait_for_room() {
                    self.timers.push_back((at, node, LinkEvent::Room));
                }
                return;
            }
            uplink.end_turn();
            sending.hear(now);
            let in_flight = sending.in_flight();
            let ways = [self.transit(node, to, now), self.delay(to, node)];
            match self.lines[to.0].downlink.has_room(in_flight, len, ways) {
                true => self.admit(id, len, now),
                false => self.rest(id),
            }
        }
    }

    /// Who may not send now is woken as it hears of what it sent.
    fn rest(&mut self, id: PipeId) {
        let pipe = self.pipe_mut(id);
        let (node, sending) = (pipe.from.node, &mut pipe.sending);
        sending.is_ready = false;
        match sending.round_trip.next() {
            Some(at) => {
                sending.waiting = SenderWait::ForTime;
                self.timers.push_back((at, node, LinkEvent::Heard(id)));
            }
            None => sending.waiting = SenderWait::ForAck,
        }
    }

    /// A modem takes in a segment of this length.
    fn admit(&mut self, id: PipeId, len: u64, now: Instant) {
        let pipe = self.pipe_mut(id);
        let segment = pipe.sending.admit(id, len, now);
        let (from, to) = (pipe.from.node, pipe.to.node);
        self.lines[to.0].downlink.reserve(len);
        self.write(id);
        let pipe = self.pipes[id.index()].as_mut().expect("just seen");
        let uplink = &mut self.lines[from.0].uplink;
        let sending = &mut pipe.sending;
        sending.is_ready = sending.next_len(uplink.segment_len).is_some();
        if sending.is_ready {
            uplink.queue(id);
        }
        let departs_at = uplink.admit(len, now);
        self.travel(segment, departs_at);
    }

    /// A segment that leaves its modem at that time is lost, or comes to its receiver's downlink.
    fn travel(&mut self, segment: LinkSegment, departs_at: Instant) {
        let pipe = self.pipe_mut(segment.pipe);
        let (from, to) = (pipe.from.node, pipe.to.node);
        let delay = self.delay(from, to);
        let after_delay = departs_at.after(delay);
        if self.draws_loss(from, to) {
            let known_at = after_delay.after(delay);
            let lost = (known_at, from, LinkEvent::Lost(segment));
            self.timers.push_back(lost);
            return;
        }
        let jitter = self.draw_jitter(from, to);
        let horizon = self.horizon;
        let pipe = self.pipe_mut(segment.pipe);
        let at = after_delay
            .after(jitter)
            .max(pipe.sending.last_arrival)
            .max(horizon);
        pipe.sending.last_arrival = at;
        let coming = &mut pipe.receiving.coming;
        coming.push_back((at, segment));
        if coming.len() == 1 {
            let first = Coming::new(at, &segment);
            self.lines[to.0].downlink.expect(first);
            self.wake_downlink(to);
        }
    }

    /// The socket's buffer takes in what it can, and its owner will hear of whole blocks.
    fn write(&mut self, id: PipeId) {
        let pipe = self.pipes[id.index()].as_mut();
        let pipe = pipe.expect("the caller found it");
        let was_told = pipe.sending.told.is_empty();
        let uplink = &self.lines[pipe.from.node.0].uplink;
        pipe.sending.write(uplink.send_buffer);
        if was_told && !pipe.sending.told.is_empty() {
            self.telling.push_back(id);
        }
    }

    /// Has a downlink looked at when the next segment may have passed it.
    fn wake_downlink(&mut self, node: NodeIndex) {
        if let Some(at) = self.lines[node.0].downlink.wake() {
            self.timers.push_back((at, node, LinkEvent::Passed));
        }
    }

    /// What was to arrive at a downlink by now waits there, or passes.
    fn arrive(&mut self, node: NodeIndex, now: Instant) {
        while let Some(Coming { at, pipe, .. }) = self.lines[node.0].downlink.next_arrival(now) {
            let downlink = &mut self.lines[node.0].downlink;
            let Some(pipe) = &mut self.pipes[pipe.index()] else {
                downlink.came(None);
                continue;
            };
            let receiving = &mut pipe.receiving;
            let first = receiving.coming.pop_front();
            let (_, segment) = first.expect("the downlink knows of it");
            give_back(&mut receiving.coming);
            let next = receiving.coming.front();
            downlink.came(next.map(|(at, next)| Coming::new(*at, next)));
            downlink.arrived(&segment, at);
            receiving.arrived.push_back(segment);
            if receiving.arrived.len() == 1 {
                downlink.turn.push_back(segment.pipe);
            }
            if downlink.passing.is_none() {
                self.pass(node, at);
            }
        }
    }

    /// Hands on what has passed a downlink by now.
    fn passed(&mut self, node: NodeIndex, now: Instant) {
        if !self.lines[node.0].downlink.woken(now) {
            return;
        }
        self.arrive(node, now);
        // More than one where everything passes at once.
        while let Some(segment) = self.lines[node.0].downlink.next_passed(now) {
            self.pass(node, now);
            self.deliver(&segment, now);
        }
        self.wake_downlink(node);
    }

    /// A downlink takes its next segment: deficit round robin (Shreedhar and Varghese, IEEE/ACM
    /// Transactions on Networking 4, 1996).
    fn pass(&mut self, node: NodeIndex, now: Instant) {
        let downlink = &mut self.lines[node.0].downlink;
        while let Some(id) = downlink.turn.pop_front() {
            let Some(pipe) = &mut self.pipes[id.index()] else {
                continue;
            };
            let receiving = &mut pipe.receiving;
            let first = receiving.arrived.front();
            let first = first.expect("who is in turn has arrived");
            if receiving.deficit < first.len() {
                receiving.deficit += downlink.quantum;
                downlink.turn.push_back(id);
                continue;
            }
            let segment = receiving.arrived.pop_front().expect("just seen");
            receiving.deficit -= segment.len();
            if receiving.arrived.is_empty() {
                give_back(&mut receiving.arrived);
                receiving.deficit = 0;
            } else {
                downlink.turn.push_front(id);
            }
            downlink.passing = Some((now.after(downlink.time_of(segment.len())), segment));
            return;
        }
    }

    /// A segment is at its receiver; its sender will hear of it.
    fn deliver(&mut self, segment: &LinkSegment, now: Instant) {
        let Some(pipe) = &mut self.pipes[segment.pipe.index()] else {
            return;
        };
        let (from, to, receiving) = (pipe.from.node, pipe.to, &mut pipe.receiving);
        self.lines[to.node.0].downlink.release(segment.len());
        receiving.deliver(segment);
        while let Some(item) = receiving.next_item() {
            match receiving.is_closed {
                true => self.blocks_lost += u64::from(item.payload_len().is_some()),
                false => self.delivered.push_back((to, item)),
            }
        }
        let back = both(
            self.lines[to.node.0].config.delay,
            self.lines[from.0].config.delay,
        );
        let took = both(now.since(segment.admitted_at), back);
        let ack = Ack {
            at: now.after(back).max(self.horizon),
            delivered: receiving.delivered(),
            took: (!segment.again).then_some(took),
            len: segment.len(),
        };
        let sending = &mut pipe.sending;
        sending.round_trip.acknowledge(ack);
        if sending.waiting == SenderWait::ForAck {
            sending.waiting = SenderWait::ForTime;
            let heard = LinkEvent::Heard(segment.pipe);
            self.timers.push_back((ack.at, from, heard));
        }
    }

    /// From a modem's entry to another node's downlink, for what enters now.
    fn transit(&self, from: NodeIndex, to: NodeIndex, now: Instant) -> Duration {
        both(self.lines[from.0].uplink.wait(now), self.delay(from, to))
    }

    fn draws_loss(&mut self, from: NodeIndex, to: NodeIndex) -> bool {
        let ppm = |node: NodeIndex| u64::from(self.lines[node.0].config.loss_ppm);
        let ppm = ppm(from) + ppm(to);
        ppm > 0 && self.lines[from.0].rng.chance(ppm, 1_000_000)
    }

    fn draw_jitter(&mut self, from: NodeIndex, to: NodeIndex) -> Duration {
        let jitter = |node: NodeIndex| self.lines[node.0].config.jitter;
        let most = both(jitter(from), jitter(to));
        if most == Duration::ZERO {
            return Duration::ZERO;
        }
        let rng = &mut self.lines[from.0].rng;
        Duration::from_nanos(rng.below(most.as_nanos().saturating_add(1)))
    }

    fn pipe(&self, id: PipeId) -> Option<&Pipe> {
        self.pipes[id.index()].as_deref()
    }

    fn pipe_mut(&mut self, id: PipeId) -> &mut Pipe {
        let pipe = self.pipes[id.index()].as_deref_mut();
        pipe.expect("the caller found it")
    }

    /// The direction that begins at an end; `None` if the connection is gone.
    fn id_at(&self, end: End) -> Option<PipeId> {
        self.lines[end.node.0].ends.get(&end.peer).copied()
    }

    fn pipes_of(&self, node: NodeIndex) -> impl Iterator<Item = (End, PipeId)> {
        let ends = self.lines[node.0].ends.iter();
        ends.map(move |(peer, id)| (End { node, peer: *peer }, *id))
    }
}
