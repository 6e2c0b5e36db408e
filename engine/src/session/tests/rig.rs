//! A driver without sockets: a session, its data plane, and time that moves when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use seedbank_ledger::{Duration, Identity, Instant};

use super::plane::{Plane, Wire};
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::credit::wallet::WalletBook;
use crate::discovery::reach::Zone;
use crate::interface::command::{AddTorrent, Command, TorrentSource};
use crate::interface::config::{Policy, SessionConfig};
use crate::interface::event::SessionEvent;
use crate::interface::input::{Input, PeerEvent, Transport};
use crate::interface::output::Output;
use crate::interface::view::{PeerView, TorrentState, TorrentView};
use crate::session::Session;
use crate::units::{BLOCK_LEN, Block, ClientId, InfoHash, PeerIndex, PieceIndex, TorrentId};
use crate::wire::extended::{ExtendedHandshake, HANDSHAKE_ID};
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;

/// Bytes of leased buffers that a rig's session may hold.
pub(super) const LEASE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Instant,
    pub(super) plane: Plane,
    outputs: Vec<Output>,
    next_peer: u64,
}

/// What a remote can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) client_id: ClientId,
    pub(super) fast: bool,
    pub(super) extended: bool,
}

impl Remote {
    /// A client of today, with a name of its own.
    pub(super) fn modern(name: u8) -> Self {
        Self {
            client_id: client_id(name),
            fast: true,
            extended: true,
        }
    }

    /// A client without any extension.
    pub(super) fn plain(name: u8) -> Self {
        Self {
            client_id: client_id(name),
            fast: false,
            extended: false,
        }
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: SessionConfig) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let identity = Identity::from_secret([7; 32]);
        Self {
            session: Session::new(config, identity, &WalletBook::default(), now),
            now,
            plane: Plane::default(),
            outputs: Vec::new(),
            next_peer: 0,
        }
    }

    /// What it is called in a torrent; in one that it has not, by nobody.
    pub(super) fn own_id(&self, torrent_id: TorrentId) -> ClientId {
        let torrent = self.session.torrents.get(&torrent_id);
        torrent.map_or(ClientId([0; 20]), |torrent| torrent.own_name.client_id)
    }

    /// Hands an input over, carries out what comes of it, and looks for contradictions.
    pub(super) fn input(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.carry_out();
    }

    pub(super) fn command(&mut self, command: Command) {
        self.try_command(command).expect("a legal command");
    }

    pub(super) fn try_command(
        &mut self,
        command: Command,
    ) -> Result<(), crate::interface::command::CommandError> {
        let reply = self.session.command(command, self.now);
        self.carry_out();
        reply.map(|_| ())
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            self.plane.observe(&output, self.now);
            self.outputs.push(output);
        }
        self.session.check_invariants();
    }

    /// What came out since the last call.
    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Lets time pass, waking the session whenever it asks for it.
    pub(super) fn advance(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        while let Some(at) = self.session.next_timeout().filter(|at| *at <= until) {
            assert!(at > self.now || self.session.next_timeout() == Some(at));
            self.now = self.now.max(at);
            self.input(Input::Tick);
            assert!(
                self.session
                    .next_timeout()
                    .is_none_or(|next| next > self.now),
                "a tick moves the timeout"
            );
        }
        self.now = until;
        self.input(Input::Tick);
    }

    // Torrents.

    /// Adds a torrent of which nothing is here, and starts it.
    pub(super) fn leech(&mut self, metainfo: &Metainfo) -> TorrentId {
        self.add(metainfo, &[])
    }

    /// Adds a torrent of which everything is here, and starts it.
    pub(super) fn seed(&mut self, metainfo: &Metainfo) -> TorrentId {
        let pieces: Vec<u32> = (0..metainfo.geometry.piece_count()).collect();
        self.add(metainfo, &pieces)
    }

    pub(super) fn add(&mut self, metainfo: &Metainfo, have: &[u32]) -> TorrentId {
        self.know(metainfo, have);
        self.command(Command::AddTorrent(Box::new(adding(metainfo))));
        self.checked(metainfo.torrent_id());
        metainfo.torrent_id()
    }

    /// What a driver knows of a torrent before it adds it.
    pub(super) fn know(&mut self, metainfo: &Metainfo, have: &[u32]) {
        let torrent_id = metainfo.torrent_id();
        self.plane.geometry.insert(torrent_id, metainfo.geometry);
        let pieces = have.iter().copied().map(PieceIndex::unchecked).collect();
        self.plane.disk.insert(torrent_id, pieces);
    }

    /// The check of a torrent's storage ends, or says once more that it has.
    pub(super) fn checked(&mut self, torrent_id: TorrentId) {
        let check = self.plane.checks.remove(&torrent_id).unwrap_or_default();
        let have = self.plane.have_bits(torrent_id);
        self.input(Input::Checked {
            torrent_id,
            check,
            have,
        });
    }

    /// The check of a torrent's storage ends with this error.
    pub(super) fn check_fails(&mut self, torrent_id: TorrentId, reason: &str) {
        let check = self.plane.checks.remove(&torrent_id);
        self.input(Input::CheckFailed {
            torrent_id,
            check: check.expect("a check is under way"),
            reason: reason.to_owned(),
        });
    }

    pub(super) fn torrent(&self, torrent_id: TorrentId) -> TorrentView {
        self.session.torrent(&torrent_id).expect("a torrent")
    }

    pub(super) fn state(&self, torrent_id: TorrentId) -> TorrentState {
        self.torrent(torrent_id).state
    }

    // Connections.

    /// Somebody connects to us.
    pub(super) fn accept(&mut self) -> PeerIndex {
        let port = u16::try_from(40_000 + self.next_peer % 20_000).expect("in range");
        self.accept_from(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    pub(super) fn accept_from(&mut self, addr: SocketAddr) -> PeerIndex {
        let peer = self.meet();
        self.input(Input::Accepted {
            peer,
            addr,
            transport: Transport::Tcp,
        });
        peer
    }

    /// The oldest dial under way succeeds.
    pub(super) fn dialled(&mut self) -> PeerIndex {
        let (torrent_id, addr) = self.plane.dials.remove(0);
        let peer = self.meet();
        self.input(Input::Dialled {
            peer,
            torrent_id,
            addr,
            transport: Transport::Tcp,
        });
        peer
    }

    fn meet(&mut self) -> PeerIndex {
        let peer = PeerIndex(self.next_peer);
        self.next_peer += 1;
        self.plane.wires.insert(peer, Wire::new(self.now));
        peer
    }

    /// The remote's handshake arrives.
    pub(super) fn shake(&mut self, peer: PeerIndex, torrent_id: TorrentId, remote: Remote) {
        let wire = self.plane.wires.get_mut(&peer).expect("connected");
        wire.shaken = true;
        wire.fast = remote.fast;
        wire.extended = remote.extended;
        let handshake = Handshake {
            info_hash: InfoHash(torrent_id.0),
            client_id: remote.client_id,
            extended: remote.extended,
            fast: remote.fast,
        };
        self.input(Input::Handshake { peer, handshake });
    }

    /// A remote of a torrent, connected and greeted, that has said nothing yet.
    pub(super) fn join(&mut self, torrent_id: TorrentId, remote: Remote) -> PeerIndex {
        let peer = self.accept();
        self.shake(peer, torrent_id, remote);
        self.take();
        peer
    }

    /// A remote that has everything and lets us ask.
    pub(super) fn join_seed(&mut self, torrent_id: TorrentId, name: u8) -> PeerIndex {
        let peer = self.join(torrent_id, Remote::modern(name));
        self.says(peer, [Message::HaveAll, Message::Unchoke]);
        peer
    }

    /// A remote that has nothing, is interested and unchoked.
    pub(super) fn join_leecher(&mut self, torrent_id: TorrentId, remote: Remote) -> PeerIndex {
        let peer = self.join(torrent_id, remote);
        self.says(peer, [Message::Interested]);
        assert!(self.wire(peer).unchoked, "a free slot");
        self.take();
        peer
    }

    pub(super) fn wire(&self, peer: PeerIndex) -> &Wire {
        &self.plane.wires[&peer]
    }

    pub(super) fn view(&self, peer: PeerIndex) -> Option<PeerView> {
        let mut views = self.session.peers(None).into_iter();
        views.find(|view| view.peer == peer)
    }

    /// Whether the session has asked to close it.
    pub(super) fn is_closing(&self, peer: PeerIndex) -> bool {
        self.wire(peer).closing
    }

    /// The connection ends.
    pub(super) fn close(&mut self, peer: PeerIndex) {
        self.plane.wires.remove(&peer).expect("connected");
        let reason = "ended".to_owned();
        self.input(Input::Closed {
            peer,
            reason,
            failure: None,
        });
    }

    /// Carries out every close that the session asked for.
    pub(super) fn close_closing(&mut self) {
        let closing = |(peer, wire): (&PeerIndex, &Wire)| wire.closing.then_some(*peer);
        for peer in self
            .plane
            .wires
            .iter()
            .filter_map(closing)
            .collect::<Vec<_>>()
        {
            self.close(peer);
        }
    }

    /// One read brings these messages.
    pub(super) fn says(&mut self, peer: PeerIndex, messages: impl IntoIterator<Item = Message>) {
        self.hears(peer, messages.into_iter().map(PeerEvent::Message).collect());
    }

    /// One read brings these events.
    pub(super) fn hears(&mut self, peer: PeerIndex, events: Vec<PeerEvent>) {
        let wire = self.plane.wires.get_mut(&peer).expect("connected");
        let mut lets_us = wire.lets_us;
        for event in &events {
            if let PeerEvent::Message(message) = event {
                wire.heard(message);
                lets_us = match message {
                    Message::Choke => false,
                    Message::Unchoke => true,
                    _ => lets_us,
                };
            }
        }
        self.input(Input::Received { peer, events });
        if let Some(wire) = self.plane.wires.get_mut(&peer) {
            wire.lets_us = lets_us;
        }
    }

    pub(super) fn says_extended(&mut self, peer: PeerIndex, said: &ExtendedHandshake) {
        let payload = said.encode();
        let id = HANDSHAKE_ID;
        self.says(peer, [Message::Extended { id, payload }]);
    }

    // Data.

    /// A block of data arrives, asked for or not.
    pub(super) fn block(&mut self, peer: PeerIndex, block: Block, good: bool) {
        let fate = self.plane.take_in(peer, block, good);
        self.hears(peer, vec![PeerEvent::Block { block, fate }]);
    }

    /// Requests of a peer that were cancelled since the last call and are not answered.
    pub(super) fn take_cancelled(&mut self, peer: PeerIndex) -> Vec<Block> {
        let wire = self.plane.wires.get_mut(&peer).expect("connected");
        let cancelled = std::mem::take(&mut wire.cancelled).into_iter();
        let owed = &wire.owed;
        cancelled.filter(|block| owed.contains_key(block)).collect()
    }

    /// Answers everything that this peer was asked for; how many blocks that was.
    pub(super) fn answer_all(&mut self, peer: PeerIndex, good: bool) -> usize {
        let mut count = 0;
        while let Some(block) = self.wire(peer).owed.keys().next().copied() {
            self.block(peer, block, good);
            count += 1;
            if self.is_closing(peer) {
                break;
            }
        }
        count
    }

    /// Full pieces are hashed and written.
    pub(super) fn hash_all(&mut self) {
        while !self.plane.hashing.is_empty() {
            self.hash_one();
        }
    }

    pub(super) fn hash_one(&mut self) {
        let Some((torrent_id, piece, good)) = self.plane.hashing.pop_front() else {
            return;
        };
        self.plane.leases.remove(&(torrent_id, piece));
        if good {
            self.plane.disk.entry(torrent_id).or_default().insert(piece);
            self.input(Input::PieceVerified { torrent_id, piece });
        } else {
            self.input(Input::PieceFailed { torrent_id, piece });
        }
    }

    /// Everything granted to a peer leaves; how many blocks that was.
    pub(super) fn send_all(&mut self, peer: PeerIndex) -> usize {
        let mut total = 0;
        loop {
            let wire = self.plane.wires.get_mut(&peer).expect("connected");
            let served: Vec<Block> = wire.serving.drain(..).collect();
            if served.is_empty() {
                return total;
            }
            total += served.len();
            self.input(Input::Sent {
                peer,
                bytes: served.iter().map(|block| u64::from(block.len)).sum(),
                blocks: u32::try_from(served.len()).expect("few"),
            });
        }
    }
}

pub(super) fn config() -> SessionConfig {
    SessionConfig {
        listen_port: 6881,
        home: Zone::Loopback,
        own_hosts: [None; 2],
        rng_seed: 1,
        network: None,
        receipts: false,
        receipts_private: false,
        connections_max: 50,
        lease_bytes_max: LEASE_BYTES_MAX,
    }
}

pub(super) fn slots(slots: usize) -> Policy {
    Policy {
        slots,
        ..Policy::default()
    }
}

fn client_id(name: u8) -> ClientId {
    let mut id = *b"-XX0001-............";
    id[19] = name;
    ClientId(id)
}

/// A torrent of one file: `pieces` pieces of `blocks` blocks.
pub(super) fn metainfo(name: &str, pieces: u32, blocks: u32) -> Metainfo {
    draft(
        name,
        u64::from(pieces * blocks * BLOCK_LEN),
        blocks * BLOCK_LEN,
    )
}

pub(super) fn draft(name: &str, len: u64, piece_len: u32) -> Metainfo {
    finish(&MetainfoDraft {
        name: name.to_owned(),
        content: DraftContent::File(len),
        piece_len,
        trackers: Vec::new(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

pub(super) fn finish(draft: &MetainfoDraft) -> Metainfo {
    let geometry = draft.geometry().expect("a torrent");
    let hashes: Vec<[u8; 20]> = geometry.pieces().map(|_| [3; 20]).collect();
    draft.finish(&hashes).expect("a torrent")
}

pub(super) fn adding(metainfo: &Metainfo) -> AddTorrent {
    AddTorrent::new(TorrentSource::Metainfo(Arc::new(metainfo.clone())))
}

pub(super) fn piece(index: u32) -> PieceIndex {
    PieceIndex::unchecked(index)
}

/// A whole block of a piece.
pub(super) fn block(of: u32, index: u32) -> Block {
    Block {
        piece: piece(of),
        begin: index * BLOCK_LEN,
        len: BLOCK_LEN,
    }
}

pub(super) fn request(of: u32, index: u32) -> Message {
    Message::Request(block(of, index))
}

/// Messages sent to a peer, in order.
pub(super) fn sent_to(outputs: &[Output], to: PeerIndex) -> Vec<Message> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { peer, message } if *peer == to => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

/// Blocks granted to a peer, in order.
pub(super) fn served_to(outputs: &[Output], to: PeerIndex) -> Vec<Block> {
    let served = outputs.iter().filter_map(|output| match output {
        Output::Serve { peer, blocks } if *peer == to => Some(blocks.clone()),
        _ => None,
    });
    served.flatten().collect()
}

/// Blocks asked of a peer, in order.
pub(super) fn asked_of(outputs: &[Output], of: PeerIndex) -> Vec<Block> {
    let asked = outputs.iter().filter_map(|output| match output {
        Output::Request { peer, blocks } if *peer == of => Some(blocks.clone()),
        _ => None,
    });
    asked.flatten().collect()
}

pub(super) fn events(outputs: &[Output]) -> Vec<SessionEvent> {
    let events = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.clone()),
        _ => None,
    });
    events.collect()
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
