//! The single-threaded driver: nodes, links and a settlement node under virtual time.
//!
//! The same `Session` and the same ledgers as in `seedbankd`; links, disks and trackers are
//! modelled. Nothing here depends on anything but its inputs, so that a run is a function of its
//! scenario and its seed. `timetable` says who is looked at when, `outputs` carries out what
//! sessions say, `connections` is what happens between nodes, `players` is what agents do,
//! `watching` what is looked at in every run.

mod connections;
mod counts;
mod outputs;
mod players;
#[cfg(test)]
mod tests;
mod timetable;
mod watching;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use seedbank_engine::interface::command::{AddTorrent, Command, CommandError, CommandReply};
use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::interface::input::Input;
use seedbank_engine::session::Session;
use seedbank_engine::units::{PieceIndex, TorrentId};
use seedbank_ledger::settlement::SettlementRequest;
use seedbank_ledger::{Duration, Instant, UnixTime};

use crate::books::SimBooks;
use crate::network::{End, LinkConfig, LinkEvent, Links, NodeIndex};
use crate::node::SimNode;
use crate::recording::unix;
use crate::settlement::SimSettlement;
use crate::streams::{Purpose, Streams};
use crate::watch::WatchReport;
use connections::Dialling;
use timetable::Timetable;

pub use counts::WorldCounts;

/// Wall-clock time at the start of every run: 2026-01-01.
pub const START: UnixTime = UnixTime::from_secs(1_767_225_600);
/// How often a node of a network hears what time it is.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// Something that happens to a node.
#[derive(Debug)]
enum Event {
    Wake,
    Clock,
    Link(LinkEvent),
    Measure,
    /// An agent may act.
    Tick,
    Input(Box<Input>),
    /// A dial reaches its address.
    Dial(Box<Dialling>),
    /// What is on a node's disk was looked at.
    Checked {
        torrent_id: Box<TorrentId>,
        check: u64,
    },
    /// A full piece was hashed, and written if it was good.
    Hashed {
        torrent_id: Box<TorrentId>,
        piece: PieceIndex,
        good: bool,
    },
}

/// A question on its way to the settlement node.
#[derive(Debug)]
struct SettlementCall {
    /// When it gets there.
    at: Instant,
    node: NodeIndex,
    request: u64,
    what: Box<SettlementRequest>,
}

/// Why [`World::run_until`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// What was waited for is so.
    Done,
    /// The time is up; it is the deadline now.
    Deadline,
    /// Nothing will ever happen again.
    Quiet,
    /// As many events as the world may handle were handled.
    Exhausted,
}

/// Nodes and everything between them.
#[derive(Debug)]
pub struct World {
    timetable: Timetable<Event>,
    network: Links,
    nodes: Vec<SimNode>,
    by_addr: BTreeMap<SocketAddr, NodeIndex>,
    /// What links and trackers leave to chance: for each node a stream of its own.
    streams: Streams,
    /// The network's settlement node, if there is one.
    pub settlement: Option<SimSettlement>,
    /// The settlement node does not answer.
    pub settlement_away: bool,
    /// What it was asked since it last answered.
    asked: Vec<SettlementCall>,
    /// Who has all of a torrent, since when, until it is taken.
    pub completed: VecDeque<(Instant, NodeIndex, TorrentId)>,
    /// Whose agent wants to start anew, until it is taken.
    pub starting_anew: VecDeque<NodeIndex>,
    /// Keep what sessions report until it is taken; otherwise it is dropped.
    pub keeps_events: bool,
    events: Vec<(Instant, NodeIndex, SessionEvent)>,
    /// Call every `check_invariants` after every event.
    pub paranoid: bool,
    /// Most events that [`World::run_until`] handles in this world's life; `None`: as many as come.
    pub handled_max: Option<u64>,
    handled: u64,
    counts: WorldCounts,
    checks: WatchReport,
}

impl RunEnd {
    /// Whether what was waited for is so.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }
}

impl World {
    /// Nobody there. What links and trackers leave to chance is drawn from `rng_seed`.
    pub fn new(settlement: Option<SimSettlement>, rng_seed: u64) -> Self {
        Self {
            timetable: Timetable::new(),
            network: Links::new(),
            nodes: Vec::new(),
            by_addr: BTreeMap::new(),
            streams: Streams::new(rng_seed),
            settlement,
            settlement_away: false,
            asked: Vec::new(),
            completed: VecDeque::new(),
            starting_anew: VecDeque::new(),
            keeps_events: false,
            events: Vec::new(),
            paranoid: false,
            handled_max: None,
            handled: 0,
            counts: WorldCounts::default(),
            checks: WatchReport::default(),
        }
    }

    /// Adds a node that is down; it listens on a private address of its own.
    pub fn add_node(&mut self, name: &str, books: SimBooks, link: LinkConfig) -> NodeIndex {
        let number = u32::try_from(self.nodes.len() + 1).expect("worlds are small");
        let ip = Ipv4Addr::from(0x0a00_0000 + number);
        self.add_node_at(name, books, link, ip.into())
    }

    /// The same at an address of the caller's choice: choking treats neighbours as one, unless
    /// their addresses are private.
    ///
    /// # Panics
    /// If another node is there.
    pub fn add_node_at(
        &mut self,
        name: &str,
        books: SimBooks,
        link: LinkConfig,
        ip: IpAddr,
    ) -> NodeIndex {
        let node = NodeIndex(self.nodes.len());
        let addr = SocketAddr::new(ip, 6881);
        let draw = |purpose| self.streams.draw(purpose, &addr.to_string(), 0);
        let draws = [Purpose::Tracker, Purpose::Dial].map(draw);
        self.timetable.add_node(link.delay);
        self.network.add_node(node, link, draw(Purpose::Line));
        let name = name.to_owned();
        self.nodes.push(SimNode::new(name, addr, books, draws));
        let before = self.by_addr.insert(addr, node);
        assert!(before.is_none(), "one node at an address");
        node
    }

    /// Starts a node with a session made for it.
    pub fn start(&mut self, node: NodeIndex, session: Session) {
        self.nodes[node.0].session = Some(session);
        self.timetable.schedule(node, self.now(), Event::Clock);
        self.await_tick(node);
    }

    /// Stops a node as `kill -9` would: its ledger and its verified pieces are what is left.
    pub fn crash(&mut self, node: NodeIndex) {
        for end in self.network.ends_of(node) {
            self.cut(end, "connection reset");
        }
        self.nodes[node.0].crash();
        self.tend_links();
        self.settle();
    }

    /// Gives a node a wish of its owner.
    pub fn command(
        &mut self,
        node: NodeIndex,
        command: Command,
    ) -> Result<CommandReply, CommandError> {
        let now = self.now();
        let target = &mut self.nodes[node.0];
        if let Some(recording) = &mut target.recording {
            recording.input(now, &Input::Command(command.clone()));
        }
        let session = target
            .session
            .as_mut()
            .expect("commands go to nodes that are up");
        let reply = session.command(command, now);
        self.drain(node);
        self.tend_links();
        self.settle();
        reply
    }

    /// Gives a node back the torrents that it remembers, as it comes up again.
    ///
    /// # Errors
    /// What its session refuses.
    pub fn restore(&mut self, node: NodeIndex) -> Result<(), CommandError> {
        let records: Vec<AddTorrent> = self.nodes[node.0].records.values().cloned().collect();
        for record in records {
            self.command(node, Command::RestoreTorrent(Box::new(record)))?;
        }
        Ok(())
    }

    /// Lets things happen until `done`, which is asked now and then: at least every 40 ms, never in
    /// the middle of what happens at one time; or until `deadline`.
    pub fn run_until(&mut self, deadline: Instant, mut done: impl FnMut(&Self) -> bool) -> RunEnd {
        loop {
            if done(self) {
                return RunEnd::Done;
            }
            match self.timetable.first() {
                None => return RunEnd::Quiet,
                Some(at) if at > deadline => {
                    self.wait_until(deadline);
                    return RunEnd::Deadline;
                }
                Some(at) => {
                    if !self.run_window(at, deadline) {
                        return RunEnd::Exhausted;
                    }
                }
            }
        }
    }

    /// Lets time pass up to `at`, where nothing happens before.
    ///
    /// # Panics
    /// If something does.
    pub fn wait_until(&mut self, at: Instant) {
        self.timetable.advance(at);
        self.network.set_horizon(self.timetable.horizon());
    }

    /// Lets everything happen that happens in this time.
    pub fn run_for(&mut self, time: Duration) -> RunEnd {
        self.run_until(self.now().after(time), |_| false)
    }

    /// What happens in the window of time to which the first event belongs, to one node after the
    /// other; `false` if events are spent before its end.
    fn run_window(&mut self, first: Instant, deadline: Instant) -> bool {
        let begun_at = self.now();
        let told = self.events.len();
        let end = self.timetable.begin(first, deadline);
        self.network.set_horizon(end);
        let is_spent = (0..self.nodes.len()).any(|node| !self.run_node(NodeIndex(node)));
        let until = if is_spent {
            begun_at
        } else {
            end.min(deadline)
        };
        self.timetable.end(until);
        self.network.set_horizon(until);
        self.completed.make_contiguous().sort_unstable();
        self.events[told..].sort_by_key(|(at, ..)| *at);
        self.settle();
        !is_spent
    }

    /// What happens to a node in this window; `false` if events are spent before its end.
    fn run_node(&mut self, node: NodeIndex) -> bool {
        while let Some(event) = self.timetable.next_of(node) {
            self.handled += 1;
            self.happen(node, event);
            self.tend_links();
            if self.paranoid {
                self.network.check_invariants();
            }
            if self.handled_max.is_some_and(|max| self.handled >= max) {
                return false;
            }
        }
        true
    }

    fn happen(&mut self, node: NodeIndex, event: Event) {
        let now = self.now();
        match event {
            Event::Wake => self.wake(node, now),
            Event::Clock => self.clock(node, now),
            Event::Link(event) => self.network.handle(node, event, now),
            Event::Measure => self.measure(node, now),
            Event::Tick => self.tick(node),
            Event::Input(input) => self.input(node, *input),
            Event::Dial(dialling) => self.dial(node, *dialling),
            Event::Checked { torrent_id, check } => self.checked(node, *torrent_id, check),
            Event::Hashed {
                torrent_id,
                piece,
                good,
            } => {
                let torrent_id = *torrent_id;
                self.nodes[node.0].finish(torrent_id, piece, good, now);
                let hashed = if good {
                    Input::PieceVerified { torrent_id, piece }
                } else {
                    Input::PieceFailed { torrent_id, piece }
                };
                self.input(node, hashed);
            }
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.timetable.now()
    }

    /// Virtual wall-clock time.
    pub fn unix(&self) -> UnixTime {
        unix(self.now())
    }

    /// Events handled so far.
    pub fn handled(&self) -> u64 {
        self.handled
    }

    /// What sessions decided so far, and lines delivered.
    pub fn counts(&self) -> WorldCounts {
        self.counts
    }

    /// Blocks that were served and are on no line any more, nor have arrived: their connections
    /// were cut. And those that are still on their way.
    pub fn blocks_lost_and_under_way(&self) -> [u64; 2] {
        self.network.blocks_lost_and_under_way()
    }

    /// What sessions reported since the last call, in order; see [`World::keeps_events`].
    pub fn take_events(&mut self) -> Vec<(Instant, NodeIndex, SessionEvent)> {
        std::mem::take(&mut self.events)
    }

    /// A node.
    pub fn node(&self, node: NodeIndex) -> &SimNode {
        &self.nodes[node.0]
    }

    /// A node.
    pub fn node_mut(&mut self, node: NodeIndex) -> &mut SimNode {
        &mut self.nodes[node.0]
    }

    /// Every node.
    pub fn nodes(&self) -> &[SimNode] {
        &self.nodes
    }

    /// The nodes that a node lets request.
    pub fn unchoked_by(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let session = self.nodes[node.0].session.as_ref();
        let peers = session.into_iter().flat_map(Session::unchoked);
        peers.filter_map(move |peer| Some(self.network.other(End { node, peer })?.node))
    }

    /// Cuts every connection between two nodes, as a fault on the way would.
    pub fn disconnect(&mut self, a: NodeIndex, b: NodeIndex) {
        for end in self.network.ends_of(a) {
            if self.network.other(end).is_some_and(|other| other.node == b) {
                self.cut(end, "connection reset");
            }
        }
        self.tend_links();
    }

    /// The time at which a node wanted to be woken may have come, or have been put off.
    fn wake(&mut self, node: NodeIndex, now: Instant) {
        let target = &mut self.nodes[node.0];
        if target.wakes_at != Some(now) {
            return;
        }
        target.wakes_at = None;
        match target.wake_wanted {
            Some(at) if at > now => self.wake_at(node, at),
            Some(_) => self.input(node, Input::Tick),
            None => {}
        }
    }

    /// Has a node woken at `at`, or before: of the events that wake it, the first counts.
    fn wake_at(&mut self, node: NodeIndex, at: Instant) {
        let target = &mut self.nodes[node.0];
        if target.wakes_at.is_none_or(|first| at < first) {
            target.wakes_at = Some(at);
            self.timetable.schedule(node, at, Event::Wake);
        }
    }

    /// Virtual clocks do not jump, so only who deals with dated credit hears of them again.
    fn clock(&mut self, node: NodeIndex, now: Instant) {
        self.input(node, Input::Clock(self.unix()));
        let session = self.nodes[node.0].session.as_ref();
        if session.is_some_and(|session| session.config().network.is_some()) {
            self.timetable
                .schedule(node, now.after(CLOCK_EVERY), Event::Clock);
        }
    }

    fn input(&mut self, node: NodeIndex, input: Input) {
        let input = match &self.nodes[node.0].player {
            Some(_) => self.filtered_input(node, input),
            None => Some(input),
        };
        if let Some(input) = input {
            self.tell(node, input);
            self.drain(node);
        }
    }

    fn tell(&mut self, node: NodeIndex, input: Input) {
        let now = self.now();
        let target = &mut self.nodes[node.0];
        let Some(session) = &mut target.session else {
            return;
        };
        if let Some(recording) = &mut target.recording {
            recording.input(now, &input);
        }
        session.handle(input, now);
    }

    fn drain(&mut self, node: NodeIndex) {
        self.drain_outputs(node);
        if self.nodes[node.0].player.is_some() {
            self.tell_all(node);
        }
        let now = self.now();
        let target = &mut self.nodes[node.0];
        let Some(session) = &target.session else {
            return;
        };
        if self.paranoid {
            session.check_invariants();
        }
        if target.watch.is_busy() && session.has_paid_seats() {
            target.watch.forget();
        }
        target.wake_wanted = session.next_timeout().map(|at| at.max(now));
        if let Some(at) = target.wake_wanted {
            self.wake_at(node, at);
        }
    }

    fn drain_outputs(&mut self, node: NodeIndex) {
        while let Some(output) = self.nodes[node.0]
            .session
            .as_mut()
            .and_then(Session::poll_output)
        {
            match &self.nodes[node.0].player {
                Some(_) => self.carry_out_filtered(node, output),
                None => self.carry_out(node, output),
            }
        }
    }
}
