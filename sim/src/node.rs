//! One simulated node: a session, its ledger, and a data plane without payload.
//!
//! The data plane keeps of each leased piece only which blocks are there and whether one of them is
//! garbage; a complete piece is "hashed" and "written" after a modelled delay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use seedbank_engine::asked::{Arrived, BlockFate, Found, Lease, Requests};
use seedbank_engine::interface::command::AddTorrent;
use seedbank_engine::interface::input::{Input, PeerEvent};
use seedbank_engine::rng::Rng;
use seedbank_engine::session::Session;
use seedbank_engine::units::{Block, Geometry, PeerIndex, PieceIndex, TorrentId};
use seedbank_engine::wire::handshake::Handshake;
use seedbank_engine::wire::message::Message;
use seedbank_ledger::Instant;

use crate::agent::{Agent, AgentAct};
use crate::books::SimBooks;
use crate::recording::Recording;
use crate::watch::{LinkWish, NodeWatch};

/// A node and what the driver keeps for it.
#[derive(Debug)]
pub struct SimNode {
    /// Its name in reports.
    pub name: String,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its session; `None` while it is down.
    pub session: Option<Session>,
    /// Its ledger and rows, which survive a crash.
    pub books: SimBooks,
    /// What it does otherwise than its session says; `None` for who is honest.
    pub(crate) player: Option<Box<Player>>,
    /// When its session wants to be woken.
    pub(crate) wake_wanted: Option<Instant>,
    /// When it is; events for other instants are stale.
    pub(crate) wakes_at: Option<Instant>,
    /// When its connections are measured next, if its session wants that.
    pub(crate) measures_at: Option<Instant>,
    /// Every input so far, if they are being recorded.
    pub recording: Option<Recording>,
    /// Payload served and not reported, per connection.
    pub connections: BTreeMap<PeerIndex, SimConnection>,
    /// Pieces that are not on disk yet.
    leases: BTreeMap<(TorrentId, PieceIndex), SimLease>,
    /// Verified pieces.
    pub disk: BTreeMap<TorrentId, BTreeSet<PieceIndex>>,
    /// When it verified a piece for the first time.
    pub first_piece: Option<Instant>,
    /// Lengths of its torrents.
    pub geometry: BTreeMap<TorrentId, Geometry>,
    /// What it remembers of its torrents; survives a crash, as the disk does.
    pub records: BTreeMap<TorrentId, AddTorrent>,
    next_peer: u64,
    /// Who waits for it, and for how long.
    pub(crate) watch: NodeWatch,
    /// Draws whom trackers name to it.
    pub(crate) tracker_rng: Rng,
    /// Draws how late its dials are.
    pub(crate) dial_rng: Rng,
}

/// An agent, and what it wants done.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) agent: Box<dyn Agent>,
    pub(crate) acts: Vec<AgentAct>,
    /// What its session is told once it has nothing more to say.
    pub(crate) told: VecDeque<Input>,
}

/// What a connection's task would know.
#[derive(Debug, Default)]
pub struct SimConnection {
    /// Its torrent, once a handshake was sent.
    pub torrent_id: Option<TorrentId>,
    /// Requests sent and not answered.
    asked: Requests<()>,
    fast_ours: bool,
    fast_theirs: bool,
    /// Blocks granted and not handed to the link.
    pub serving: VecDeque<Block>,
    /// What its other end wants of us.
    pub(crate) wish: LinkWish,
}

/// A piece that is being received, or was received and is on its way to the disk.
#[derive(Debug)]
struct SimLease {
    blocks: Lease,
    garbage: bool,
}

/// What the arrival of a block made of its piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceProgress {
    /// Blocks are missing.
    Partial,
    /// It is complete and its hash will match.
    Good,
    /// It is complete and its hash will not match.
    Bad,
}

impl SimNode {
    /// A node that is down. Drawn are whom trackers name to it, and how late its dials are.
    pub fn new(name: String, addr: SocketAddr, books: SimBooks, draws: [Rng; 2]) -> Self {
        let [tracker_rng, dial_rng] = draws;
        Self {
            name,
            addr,
            session: None,
            books,
            player: None,
            wake_wanted: None,
            wakes_at: None,
            measures_at: None,
            recording: None,
            connections: BTreeMap::new(),
            leases: BTreeMap::new(),
            disk: BTreeMap::new(),
            first_piece: None,
            geometry: BTreeMap::new(),
            records: BTreeMap::new(),
            next_peer: 0,
            watch: NodeWatch::default(),
            tracker_rng,
            dial_rng,
        }
    }

    /// Follows a strategy from its start on.
    pub fn follow(&mut self, agent: Box<dyn Agent>) {
        self.player = Some(Box::new(Player {
            agent,
            acts: Vec::new(),
            told: VecDeque::new(),
        }));
    }

    /// A fresh index for a connection.
    pub fn meet(&mut self) -> PeerIndex {
        let peer = PeerIndex(self.next_peer);
        self.next_peer += 1;
        self.connections.insert(peer, SimConnection::default());
        peer
    }

    /// Pieces on disk as a wire bitfield.
    pub fn have_bits(&self, torrent_id: &TorrentId) -> Vec<u8> {
        let Some(geometry) = self.geometry.get(torrent_id) else {
            return Vec::new();
        };
        let mut bits = vec![0_u8; geometry.piece_count().div_ceil(8) as usize];
        for piece in self.disk.get(torrent_id).into_iter().flatten() {
            bits[piece.as_usize() / 8] |= 0x80 >> (piece.as_usize() % 8);
        }
        bits
    }

    /// A block came in: what the session is told, and what its piece came to.
    pub fn receive(
        &mut self,
        peer: PeerIndex,
        block: Block,
        garbage: bool,
    ) -> (PeerEvent, PieceProgress) {
        let (fate, progress) = self.store(peer, block, garbage);
        (PeerEvent::Block { block, fate }, progress)
    }

    fn store(
        &mut self,
        peer: PeerIndex,
        block: Block,
        garbage: bool,
    ) -> (BlockFate, PieceProgress) {
        let connection = self.connections.get_mut(&peer);
        let asked = connection.and_then(|connection| {
            let answered = connection.asked.answered(&block);
            connection.torrent_id.filter(|_| answered.is_some())
        });
        let mut progress = PieceProgress::Partial;
        let fate = BlockFate::decide(asked, |torrent_id| {
            let found;
            (found, progress) = self.find(torrent_id, &block, garbage);
            found
        });
        (fate, progress)
    }

    /// Stores a block in its lease, or compares it with what is there or on the disk.
    fn find(
        &mut self,
        torrent_id: TorrentId,
        block: &Block,
        garbage: bool,
    ) -> (Found, PieceProgress) {
        let Some(lease) = self.leases.get_mut(&(torrent_id, block.piece)) else {
            let disk = self.disk.get(&torrent_id);
            let found = match disk.is_some_and(|pieces| pieces.contains(&block.piece)) {
                true => Found::Present { equal: !garbage },
                false => Found::Nothing,
            };
            return (found, PieceProgress::Partial);
        };
        let index = block.index().expect("sessions request on the grid");
        let full = match lease.blocks.arrived(index as usize) {
            Arrived::New { full } => full,
            Arrived::Known => {
                let equal = !garbage || lease.garbage;
                return (Found::Present { equal }, PieceProgress::Partial);
            }
        };
        lease.garbage |= garbage;
        let progress = match (full, lease.garbage) {
            (false, _) => PieceProgress::Partial,
            (true, true) => PieceProgress::Bad,
            (true, false) => PieceProgress::Good,
        };
        (Found::Missing, progress)
    }

    /// Our handshake left: from here the connection belongs to its torrent.
    pub fn greeted(&mut self, peer: PeerIndex, torrent_id: TorrentId, handshake: &Handshake) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.torrent_id = Some(torrent_id);
            connection.fast_ours = handshake.fast;
        }
    }

    /// The peer's handshake came.
    pub fn met(&mut self, peer: PeerIndex, handshake: &Handshake) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.fast_theirs = handshake.fast;
        }
    }

    /// Requests left: leases open.
    pub fn requested(&mut self, peer: PeerIndex, blocks: &[Block]) {
        let Some(connection) = self.connections.get_mut(&peer) else {
            return;
        };
        let Some(torrent_id) = connection.torrent_id else {
            return;
        };
        let geometry = self.geometry[&torrent_id];
        for block in blocks {
            connection.asked.ask(*block, ());
            let lease = self.leases.entry((torrent_id, block.piece));
            lease.or_insert_with(|| SimLease {
                blocks: Lease::new(geometry.block_count(block.piece) as usize),
                garbage: false,
            });
        }
    }

    /// A cancel left; the block is still one that was asked for.
    pub fn cancelled(&mut self, peer: PeerIndex, block: &Block) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.asked.withdraw(block);
        }
    }

    /// A message came that may end requests.
    pub fn heard(&mut self, peer: PeerIndex, message: &Message) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            let fast = connection.fast_ours && connection.fast_theirs;
            connection.asked.heard(message, fast);
        }
    }

    /// The session forgets a leased buffer; a full one is on its way to the disk.
    pub fn release(&mut self, torrent_id: TorrentId, piece: PieceIndex) {
        let key = (torrent_id, piece);
        if self
            .leases
            .get(&key)
            .is_some_and(|lease| !lease.blocks.is_full())
        {
            self.leases.remove(&key);
        }
    }

    /// A torrent's storage is opened anew: its leases begin anew too, but for those on their way to
    /// the disk.
    pub fn opens(&mut self, torrent_id: TorrentId, geometry: Geometry) {
        self.geometry.insert(torrent_id, geometry);
        self.leases
            .retain(|(of, _), lease| *of != torrent_id || lease.blocks.is_full());
    }

    /// What adds a torrent again as it is now.
    pub fn remember(&mut self, record: AddTorrent) {
        self.records.insert(record.torrent_id(), record);
    }

    /// A torrent was removed.
    pub fn forget(&mut self, torrent_id: TorrentId, delete_data: bool) {
        self.records.remove(&torrent_id);
        self.leases
            .retain(|(of, _), lease| *of != torrent_id || lease.blocks.is_full());
        if delete_data {
            self.disk.remove(&torrent_id);
        }
    }

    /// A full piece was verified and written, or failed.
    pub fn finish(&mut self, torrent_id: TorrentId, piece: PieceIndex, good: bool, now: Instant) {
        self.leases.remove(&(torrent_id, piece));
        if good {
            self.first_piece.get_or_insert(now);
            self.disk.entry(torrent_id).or_default().insert(piece);
        }
    }

    /// A crash: everything in memory is gone.
    pub fn crash(&mut self) {
        self.session = None;
        self.wake_wanted = None;
        self.wakes_at = None;
        self.measures_at = None;
        self.watch = NodeWatch::default();
        self.connections.clear();
        self.leases.clear();
    }
}
