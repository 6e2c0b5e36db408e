//! The single-threaded driver: nodes, links and a settlement node under virtual time.
//!
//! The same `Session` and the same ledgers as in `seedbankd`; links, disks and trackers are
//! modelled. Nothing here depends on anything but its inputs, so that a run is a function of its
//! scenario.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_engine::interface::command::{AddTorrent, Command, CommandError, CommandReply};
use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::interface::input::{Input, PeerEvent, Transport};
use seedbank_engine::interface::output::{Output, StorageCheck};
use seedbank_engine::session::Session;
use seedbank_engine::units::{Block, PeerIndex, PieceIndex, TorrentId};
use seedbank_engine::wire::handshake::Handshake;
use seedbank_engine::wire::message::Message;
use seedbank_ledger::settlement::SettlementRequest;
use seedbank_ledger::{Duration, Instant, UnixTime};

use crate::books::SimBooks;
use crate::network::{End, LinkConfig, LinkItem, Links, NodeIndex, Transmission};
use crate::node::{PieceProgress, SimNode};
use crate::queue::EventQueue;
use crate::recording::unix;
use crate::settlement::SimSettlement;
use crate::tracker;

/// Wall-clock time at the start of every run: 2026-01-01.
pub const START: UnixTime = UnixTime::from_secs(1_767_225_600);
/// What a settlement node takes to answer.
const SETTLEMENT_DELAY: Duration = Duration::from_millis(20);
/// What a tracker takes to answer.
const TRACKER_DELAY: Duration = Duration::from_millis(20);
/// Hash and write of a piece, whatever its length.
const DISK_DELAY: Duration = Duration::from_millis(2);
/// Events in one run after which it is thought to be going round in circles.
const EVENTS_MAX: u64 = 200_000_000;

/// Something that happens to a node.
#[derive(Debug)]
enum Event {
    Wake(NodeIndex),
    Clock(NodeIndex),
    UplinkFree(NodeIndex),
    Input(NodeIndex, Box<Input>),
    /// A dial reaches its address.
    Dial {
        from: NodeIndex,
        torrent_id: TorrentId,
        addr: SocketAddr,
    },
    Arrive {
        to: End,
        item: LinkItem,
    },
    Settle {
        node: NodeIndex,
        request: u64,
        what: Box<SettlementRequest>,
    },
    /// What is on a node's disk was looked at.
    Checked {
        node: NodeIndex,
        torrent_id: TorrentId,
        check: u64,
    },
    /// A full piece was hashed, and written if it was good.
    Hashed {
        node: NodeIndex,
        torrent_id: TorrentId,
        piece: PieceIndex,
        good: bool,
    },
}

/// Nodes and everything between them.
#[derive(Debug)]
pub struct World {
    queue: EventQueue<Event>,
    network: Links,
    nodes: Vec<SimNode>,
    by_addr: BTreeMap<SocketAddr, NodeIndex>,
    /// The network's settlement node, if there is one.
    pub settlement: Option<SimSettlement>,
    /// What sessions reported, in order.
    pub events: Vec<(Instant, NodeIndex, SessionEvent)>,
    /// Call every `check_invariants` after every event.
    pub paranoid: bool,
    handled: u64,
}

impl World {
    /// Nobody there.
    pub fn new(settlement: Option<SimSettlement>) -> Self {
        Self {
            queue: EventQueue::default(),
            network: Links::default(),
            nodes: Vec::new(),
            by_addr: BTreeMap::new(),
            settlement,
            events: Vec::new(),
            paranoid: false,
            handled: 0,
        }
    }

    /// Adds a node that is down; it listens on an address of its own.
    pub fn add_node(&mut self, name: &str, books: SimBooks, link: LinkConfig) -> NodeIndex {
        let node = NodeIndex(self.nodes.len());
        let number = u32::try_from(self.nodes.len() + 1).expect("worlds are small");
        let ip = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        let addr = SocketAddr::new(ip, 6881);
        self.nodes.push(SimNode::new(name.to_owned(), addr, books));
        self.by_addr.insert(addr, node);
        self.network.add_node(node, link);
        node
    }

    /// Starts a node with a session made for it.
    pub fn start(&mut self, node: NodeIndex, session: Session) {
        self.nodes[node.0].session = Some(session);
        self.queue.push(self.queue.now(), Event::Clock(node));
    }

    /// Stops a node as `kill -9` would: its ledger and its verified pieces are what is left.
    pub fn crash(&mut self, node: NodeIndex) {
        for end in self.network.ends_of(node) {
            self.cut(end, "connection reset");
        }
        self.nodes[node.0].crash();
    }

    /// Gives a node a wish of its owner.
    pub fn command(
        &mut self,
        node: NodeIndex,
        command: Command,
    ) -> Result<CommandReply, CommandError> {
        let now = self.queue.now();
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

    /// Lets things happen until `done`, or `deadline`; whether it was done.
    pub fn run_until(&mut self, deadline: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        while !done(self) {
            if self.queue.peek().is_none_or(|at| at > deadline) {
                return false;
            }
            self.step();
        }
        true
    }

    /// One event; `false` if nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        let Some((now, event)) = self.queue.pop() else {
            return false;
        };
        self.handled += 1;
        assert!(self.handled < EVENTS_MAX, "the world goes round in circles");
        match event {
            Event::Wake(node) => {
                if self.nodes[node.0].wake_at == Some(now) {
                    self.nodes[node.0].wake_at = None;
                    self.input(node, Input::Tick);
                }
            }
            Event::Clock(node) => {
                self.input(node, Input::Clock(self.unix()));
                if self.nodes[node.0].session.is_some() {
                    self.queue
                        .push(now.after(Duration::from_secs(60)), Event::Clock(node));
                }
            }
            Event::UplinkFree(node) => self.transmit(node),
            Event::Input(node, input) => self.input(node, *input),
            Event::Dial {
                from,
                torrent_id,
                addr,
            } => self.dial(from, torrent_id, addr),
            Event::Arrive { to, item } => self.arrive(to, item),
            Event::Settle {
                node,
                request,
                what,
            } => self.settle(node, request, *what),
            Event::Checked {
                node,
                torrent_id,
                check,
            } => self.checked(node, torrent_id, check),
            Event::Hashed {
                node,
                torrent_id,
                piece,
                good,
            } => {
                self.nodes[node.0].finish(torrent_id, piece, good);
                let hashed = if good {
                    Input::PieceVerified { torrent_id, piece }
                } else {
                    Input::PieceFailed { torrent_id, piece }
                };
                self.input(node, hashed);
            }
        }
        true
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.queue.now()
    }

    /// Virtual wall-clock time.
    pub fn unix(&self) -> UnixTime {
        unix(self.now())
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

    /// Cuts every connection between two nodes, as a fault on the way would.
    pub fn disconnect(&mut self, a: NodeIndex, b: NodeIndex) {
        for end in self.network.ends_of(a) {
            if self.network.other(end).is_some_and(|other| other.node == b) {
                self.cut(end, "connection reset");
            }
        }
    }

    fn input(&mut self, node: NodeIndex, input: Input) {
        let now = self.queue.now();
        let target = &mut self.nodes[node.0];
        let Some(session) = &mut target.session else {
            return;
        };
        if let Some(recording) = &mut target.recording {
            recording.input(now, &input);
        }
        session.handle(input, now);
        self.drain(node);
    }

    fn drain(&mut self, node: NodeIndex) {
        while let Some(output) = self.nodes[node.0]
            .session
            .as_mut()
            .and_then(Session::poll_output)
        {
            self.carry_out(node, output);
        }
        let target = &mut self.nodes[node.0];
        let Some(session) = &target.session else {
            return;
        };
        if self.paranoid {
            session.check_invariants();
        }
        let wake_at = session.next_timeout().map(|at| at.max(self.queue.now()));
        if wake_at != target.wake_at {
            target.wake_at = wake_at;
            if let Some(at) = wake_at {
                self.queue.push(at, Event::Wake(node));
            }
        }
    }

    fn carry_out(&mut self, node: NodeIndex, output: Output) {
        let now = self.queue.now();
        if let Some(recording) = &mut self.nodes[node.0].recording {
            recording.output(&output);
        }
        match output {
            Output::Dial { torrent_id, addr } => {
                let at = now.after(self.network.delay(node));
                let from = node;
                let dial = Event::Dial {
                    from,
                    torrent_id,
                    addr,
                };
                self.queue.push(at, dial);
            }
            Output::Handshake {
                peer,
                torrent_id,
                handshake,
            } => {
                self.nodes[node.0].greeted(peer, torrent_id, &handshake);
                self.enqueue(End { node, peer }, LinkItem::Handshake(handshake));
            }
            Output::Send { peer, message } => {
                self.enqueue(End { node, peer }, LinkItem::Message(message));
            }
            Output::Request { peer, blocks } => {
                self.nodes[node.0].requested(peer, &blocks);
                for request in blocks.into_iter().map(Message::Request) {
                    self.enqueue(End { node, peer }, LinkItem::Message(request));
                }
            }
            Output::Cancel { peer, block } => {
                self.nodes[node.0].cancelled(peer, &block);
                let cancel = LinkItem::Message(Message::Cancel(block));
                self.enqueue(End { node, peer }, cancel);
            }
            Output::Serve { peer, blocks } => self.serve(End { node, peer }, blocks),
            Output::Close { peer, .. } => self.enqueue(End { node, peer }, LinkItem::Fin),
            Output::Release { torrent_id, piece } => {
                self.nodes[node.0].release(torrent_id, piece);
            }
            Output::Check(order) => self.check(node, &order),
            Output::Remember(record) => self.nodes[node.0].remember(*record),
            // A simulated disk remembers by itself.
            Output::RememberPieces(_) => {}
            Output::Forget {
                torrent_id,
                delete_data,
            } => self.nodes[node.0].forget(torrent_id, delete_data),
            Output::Announce {
                torrent_id,
                tracker,
                ..
            } => {
                self.ask_tracker(node, torrent_id, tracker);
            }
            Output::Resolve { host, port } => self.resolve(node, host, port),
            Output::Datagram { to, bytes } => self.datagram(node, to, bytes),
            Output::Tally(rows) => self.nodes[node.0].books.tally(&rows),
            Output::Append(command) => {
                let unix = self.unix();
                self.nodes[node.0].books.append(unix, command);
            }
            Output::Settle { request, what } => self.settle_later(node, request, Box::new(what)),
            Output::Measure(_) => {}
            Output::Event(event) => self.events.push((now, node, event)),
        }
    }

    fn serve(&mut self, from: End, blocks: Vec<Block>) {
        let garbage = self.nodes[from.node.0].garbage;
        for block in blocks {
            self.enqueue(from, LinkItem::Block { block, garbage });
        }
    }

    fn check(&mut self, node: NodeIndex, order: &StorageCheck) {
        let (torrent_id, check) = (order.torrent_id, order.check);
        self.nodes[node.0].opens(torrent_id, order.metainfo.geometry);
        let checked = Event::Checked {
            node,
            torrent_id,
            check,
        };
        self.queue.push(self.queue.now().after(DISK_DELAY), checked);
    }

    fn checked(&mut self, node: NodeIndex, torrent_id: TorrentId, check: u64) {
        let have = self.nodes[node.0].have_bits(&torrent_id);
        let checked = Input::Checked {
            torrent_id,
            check,
            have,
        };
        self.input(node, checked);
    }

    fn ask_tracker(&mut self, node: NodeIndex, torrent_id: TorrentId, tracker: String) {
        let announced = Box::new(tracker::answer(&self.nodes, node, torrent_id, tracker));
        let at = self.queue.now().after(TRACKER_DELAY);
        self.queue.push(at, Event::Input(node, announced));
    }

    /// Nothing here has a name.
    fn resolve(&mut self, node: NodeIndex, host: String, port: u16) {
        let resolved = Box::new(tracker::unresolved(host, port));
        let at = self.queue.now().after(TRACKER_DELAY);
        self.queue.push(at, Event::Input(node, resolved));
    }

    /// A datagram reaches the node at that address, or nobody. It takes no room on the uplink.
    fn datagram(&mut self, node: NodeIndex, to: SocketAddr, bytes: Vec<u8>) {
        let Some(to) = self.by_addr.get(&to).copied() else {
            return;
        };
        let from = self.nodes[node.0].addr;
        let datagram = Box::new(Input::Datagram { from, bytes });
        let at = self.queue.now().after(self.network.delay(node));
        self.queue.push(at, Event::Input(to, datagram));
    }

    fn dial(&mut self, from: NodeIndex, torrent_id: TorrentId, addr: SocketAddr) {
        let now = self.queue.now();
        let listening = |node: &&NodeIndex| self.nodes[node.0].session.is_some();
        let Some(to) = self.by_addr.get(&addr).filter(listening).copied() else {
            return self.input(from, Input::DialFailed { torrent_id, addr });
        };
        let dialler_addr = self.nodes[from.0].addr;
        let ours = End {
            node: from,
            peer: self.nodes[from.0].meet(),
        };
        let theirs = End {
            node: to,
            peer: self.nodes[to.0].meet(),
        };
        self.network.connect(ours, theirs);
        let dialled = Input::Dialled {
            peer: ours.peer,
            torrent_id,
            addr,
            transport: Transport::Tcp,
        };
        let at = now.after(self.network.delay(to));
        self.queue.push(at, Event::Input(from, Box::new(dialled)));
        self.input(
            to,
            Input::Accepted {
                peer: theirs.peer,
                addr: dialler_addr,
                transport: Transport::Tcp,
            },
        );
    }

    fn enqueue(&mut self, from: End, item: LinkItem) {
        if self.network.enqueue(from, item) {
            self.queue
                .push(self.queue.now(), Event::UplinkFree(from.node));
        }
    }

    fn transmit(&mut self, node: NodeIndex) {
        let Some(sent) = self.network.transmit(node, self.queue.now()) else {
            return;
        };
        let Transmission {
            from,
            to,
            item,
            free_at,
            arrives_at,
        } = sent;
        self.queue.push(free_at, Event::UplinkFree(node));
        if let LinkItem::Block { block, .. } = &item {
            let bytes = u64::from(block.len);
            let sent = Input::Sent {
                peer: from.peer,
                bytes,
                blocks: 1,
            };
            self.queue.push(free_at, Event::Input(node, Box::new(sent)));
        }
        if let Some(to) = to {
            self.queue.push(arrives_at, Event::Arrive { to, item });
        }
    }

    fn arrive(&mut self, to: End, item: LinkItem) {
        if self.network.other(to).is_none() {
            return;
        }
        match item {
            LinkItem::Handshake(handshake) => self.handshake(to, handshake),
            LinkItem::Message(message) => {
                self.nodes[to.node.0].heard(to.peer, &message);
                self.received(to, PeerEvent::Message(message));
            }
            LinkItem::Block { block, garbage } => self.block(to, block, garbage),
            LinkItem::Fin => self.cut(to, "closed by the peer"),
        }
    }

    fn handshake(&mut self, to: End, handshake: Handshake) {
        self.nodes[to.node.0].met(to.peer, &handshake);
        self.input(
            to.node,
            Input::Handshake {
                peer: to.peer,
                handshake,
            },
        );
    }

    fn received(&mut self, to: End, event: PeerEvent) {
        self.input(
            to.node,
            Input::Received {
                peer: to.peer,
                events: vec![event],
            },
        );
    }

    fn block(&mut self, to: End, block: Block, garbage: bool) {
        let node = &mut self.nodes[to.node.0];
        let torrent_id = node
            .connections
            .get(&to.peer)
            .and_then(|peer| peer.torrent_id);
        let (event, progress) = node.receive(to.peer, block, garbage);
        self.received(to, event);
        let Some(torrent_id) = torrent_id else { return };
        let good = match progress {
            PieceProgress::Partial => return,
            PieceProgress::Good => true,
            PieceProgress::Bad => false,
        };
        let hashed = Event::Hashed {
            node: to.node,
            torrent_id,
            piece: block.piece,
            good,
        };
        self.queue.push(self.queue.now().after(DISK_DELAY), hashed);
    }

    /// Both sides lose a connection.
    fn cut(&mut self, end: End, reason: &str) {
        let Some(other) = self.network.cut(end) else {
            return;
        };
        for end in [end, other] {
            self.nodes[end.node.0].connections.remove(&end.peer);
            self.input(end.node, closed(end.peer, reason));
        }
    }

    fn settle_later(&mut self, node: NodeIndex, request: u64, what: Box<SettlementRequest>) {
        let settle = Event::Settle {
            node,
            request,
            what,
        };
        let at = self.queue.now().after(SETTLEMENT_DELAY);
        self.queue.push(at, settle);
    }

    fn settle(&mut self, node: NodeIndex, request: u64, what: SettlementRequest) {
        let account = match &self.nodes[node.0].session {
            Some(session) => session.node_id(),
            None => return,
        };
        let unix = self.unix();
        let answer = match &mut self.settlement {
            Some(settlement) => Ok(settlement.answer(account, what, unix)),
            None => Err(Unreachable("no settlement node".to_owned())),
        };
        let settled = Box::new(Input::Settled { request, answer });
        let at = self.queue.now().after(SETTLEMENT_DELAY);
        self.queue.push(at, Event::Input(node, settled));
    }
}

fn closed(peer: PeerIndex, reason: &str) -> Input {
    Input::Closed {
        peer,
        reason: reason.to_owned(),
    }
}
