//! A data plane without bytes, which checks what it is told to do.
//!
//! A block is good or bad; a piece with a bad block fails its hash. As in a real driver, data is
//! stored before the session hears of it, also from peers that it is about to close.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use seedbank_ledger::{Duration, Instant};

use crate::interface::command::{AddTorrent, TorrentTotals};
use crate::interface::input::BlockFate;
use crate::interface::output::Output;
use crate::units::{Block, Geometry, PeerIndex, PieceIndex, TorrentId};
use crate::wire::extended::{ExtendedHandshake, HANDSHAKE_ID, RECEIPT};
use crate::wire::message::Message;

/// Clients of the aria2 family hang up on two flips of the choke state within so long.
const FLIP_MIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Plane {
    pub(super) wires: BTreeMap<PeerIndex, Wire>,
    pub(super) leases: BTreeMap<(TorrentId, PieceIndex), Lease>,
    /// Full pieces, oldest first, and whether they will match their hash.
    pub(super) hashing: VecDeque<(TorrentId, PieceIndex, bool)>,
    pub(super) disk: BTreeMap<TorrentId, BTreeSet<PieceIndex>>,
    pub(super) geometry: BTreeMap<TorrentId, Geometry>,
    pub(super) dials: Vec<(TorrentId, SocketAddr)>,
    pub(super) announces: Vec<(TorrentId, String)>,
    /// Hosts whose addresses the session asked for.
    pub(super) resolving: Vec<(String, u16)>,
    /// Datagrams that went out.
    pub(super) datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Torrents whose storage is being checked, and the number of the check.
    pub(super) checks: BTreeMap<TorrentId, u64>,
    /// What is remembered of torrents.
    pub(super) records: BTreeMap<TorrentId, AddTorrent>,
    /// The session wants to know how its connections fare on the way out.
    pub(super) measures: bool,
}

/// A connection, from the driver's side.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) torrent_id: Option<TorrentId>,
    /// The session asked to close it.
    pub(super) closing: bool,
    /// The remote's handshake was handed over.
    pub(super) shaken: bool,
    pub(super) fast: bool,
    pub(super) extended: bool,
    /// Our handshake went out.
    handshake_sent: bool,
    sent_count: usize,
    pieces_said: bool,
    /// Ids under which the remote takes, or once took, extended messages.
    ids: BTreeSet<u8>,
    pub(super) unchoked: bool,
    flipped_at: Option<Instant>,
    /// It is one of ours: a paid seat that it does not use is taken from it within seconds.
    speaks_receipts: bool,
    interested: bool,
    /// Requests of the remote without an answer.
    pub(super) asked: BTreeMap<Block, u32>,
    /// Granted and not reported as sent.
    pub(super) serving: VecDeque<Block>,
    /// Requests of ours without an answer.
    pub(super) owed: BTreeMap<Block, u32>,
    /// Requests of ours that were cancelled.
    pub(super) cancelled: Vec<Block>,
    /// The remote lets us request.
    pub(super) lets_us: bool,
    /// Since the last output.
    pub(super) last_sent: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Lease {
    /// Blocks that are there, and whether they are good.
    pub(super) blocks: BTreeMap<u32, bool>,
    pub(super) full: bool,
}

impl Wire {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            torrent_id: None,
            closing: false,
            shaken: false,
            fast: false,
            extended: false,
            handshake_sent: false,
            sent_count: 0,
            pieces_said: false,
            ids: BTreeSet::new(),
            unchoked: false,
            flipped_at: None,
            speaks_receipts: false,
            interested: false,
            asked: BTreeMap::new(),
            serving: VecDeque::new(),
            owed: BTreeMap::new(),
            cancelled: Vec::new(),
            lets_us: false,
            last_sent: now,
        }
    }

    /// The remote said something. What it says of letting us ask holds once the read is over.
    pub(super) fn heard(&mut self, message: &Message) {
        match message {
            Message::Request(block) => *self.asked.entry(*block).or_default() += 1,
            Message::Unchoke => self.lets_us = true,
            Message::Reject(block) => {
                take(&mut self.owed, block);
            }
            Message::Extended { id, payload } if *id == HANDSHAKE_ID => {
                if let Ok(handshake) = ExtendedHandshake::decode(payload) {
                    self.speaks_receipts |= handshake.extensions.contains_key(RECEIPT);
                    self.ids.extend(handshake.extensions.values());
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, message: &Message, now: Instant) {
        assert!(!self.closing, "nothing is sent behind a close: {message:?}");
        assert!(self.handshake_sent && self.shaken, "handshakes come first");
        self.check_greeting(message);
        self.sent_count += 1;
        self.last_sent = now;
        match message {
            Message::Choke | Message::Unchoke => self.flip(*message == Message::Unchoke, now),
            Message::Interested | Message::NotInterested => {
                let interested = *message == Message::Interested;
                assert_ne!(
                    self.interested, interested,
                    "interest is said when it changes"
                );
                self.interested = interested;
            }
            Message::Reject(block) => {
                assert!(self.fast, "a reject needs the Fast Extension");
                assert!(take(&mut self.asked, block), "{block:?} answered once");
            }
            Message::Extended { id, .. } if *id != HANDSHAKE_ID => {
                assert!(
                    self.ids.contains(id),
                    "extended id {id} was never given to us"
                );
            }
            Message::Request(_) | Message::Cancel(_) => {
                panic!("requests have outputs of their own")
            }
            Message::KeepAlive
            | Message::Have(_)
            | Message::Extended { .. }
            | Message::Bitfield(_)
            | Message::HaveAll
            | Message::HaveNone => {}
            Message::Suggest(_) => assert!(self.fast, "a suggestion needs the Fast Extension"),
            Message::Port(_) | Message::AllowedFast(_) => {
                panic!("never sent by us: {message:?}")
            }
        }
    }

    fn check_greeting(&mut self, message: &Message) {
        let is_pieces = matches!(
            message,
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone
        );
        let is_fast_only = matches!(message, Message::HaveAll | Message::HaveNone);
        assert!(
            self.fast || !is_fast_only,
            "{message:?} needs the Fast Extension"
        );
        if self.extended && self.sent_count == 0 {
            let is_handshake =
                matches!(message, Message::Extended { id, .. } if *id == HANDSHAKE_ID);
            return assert!(
                is_handshake,
                "the extended handshake comes first: {message:?}"
            );
        }
        assert!(
            self.extended || !matches!(message, Message::Extended { .. }),
            "an extended message needs BEP 10"
        );
        let is_due = self.sent_count == usize::from(self.extended);
        if self.fast && is_due {
            assert!(is_pieces, "what we have comes before {message:?}");
        }
        if is_pieces {
            assert!(is_due, "{message:?} only right after the handshakes");
            assert!(!self.pieces_said, "and once");
            self.pieces_said = true;
        }
    }

    fn flip(&mut self, unchoked: bool, now: Instant) {
        assert_ne!(self.unchoked, unchoked, "choke and unchoke alternate");
        if let Some(at) = self.flipped_at.filter(|_| !self.speaks_receipts) {
            let since = now.since(at);
            assert!(since >= FLIP_MIN, "flipped again after {since:?}");
        }
        self.unchoked = unchoked;
        self.flipped_at = Some(now);
        if !unchoked && !self.fast {
            self.asked.clear();
        }
    }
}

impl Plane {
    fn come_to(&mut self, torrent_id: TorrentId, totals: TorrentTotals) {
        let record = self.records.get_mut(&torrent_id);
        record.expect("it is on record").totals = totals;
    }

    /// Carries out an output, or stops the test.
    pub(super) fn observe(&mut self, output: &Output, now: Instant) {
        match output {
            Output::Dial { torrent_id, addr } => {
                assert!(
                    !self.dials.contains(&(*torrent_id, *addr)),
                    "{addr} is being dialled already"
                );
                self.dials.push((*torrent_id, *addr));
            }
            Output::Handshake {
                peer, torrent_id, ..
            } => {
                let wire = self.open_wire(*peer);
                assert!(!wire.handshake_sent, "one handshake");
                wire.handshake_sent = true;
                wire.torrent_id = Some(*torrent_id);
                wire.last_sent = now;
            }
            Output::Send { peer, message } => {
                let wire = self.open_wire(*peer);
                wire.send(message, now);
                let torrent_id = wire.torrent_id.expect("handshakes come first");
                if let Message::Have(piece) = message {
                    assert!(self.disk[&torrent_id].contains(piece), "we have {piece:?}");
                }
            }
            Output::Request { peer, blocks } => self.request(*peer, blocks, now),
            Output::Cancel { peer, block } => {
                let wire = self.open_wire(*peer);
                assert!(wire.owed.contains_key(block), "{block:?} was asked for");
                wire.cancelled.push(*block);
            }
            Output::Serve { peer, blocks } => self.serve(*peer, blocks, now),
            Output::Close { peer, .. } => {
                let wire = self.open_wire(*peer);
                wire.closing = true;
            }
            Output::Release { torrent_id, piece } => self.release(*torrent_id, *piece),
            Output::Check(order) => {
                let torrent_id = order.torrent_id;
                self.geometry.insert(torrent_id, order.metainfo.geometry);
                self.disk.entry(torrent_id).or_default();
                self.leases
                    .retain(|(of, _), lease| *of != torrent_id || lease.full);
                self.checks.insert(torrent_id, order.check);
            }
            Output::Remember(record) => {
                self.records.insert(record.torrent_id(), (**record).clone());
            }
            Output::RememberTotals { torrent_id, totals } => self.come_to(*torrent_id, *totals),
            Output::RememberPieces(torrent_id) => {
                assert!(self.records.contains_key(torrent_id), "it is on record");
            }
            Output::Forget { torrent_id, .. } => {
                self.leases.retain(|(of, _), _| of != torrent_id);
                self.checks.remove(torrent_id);
                self.records.remove(torrent_id);
            }
            Output::Announce {
                torrent_id,
                tracker,
                ..
            } => self.announces.push((*torrent_id, tracker.clone())),
            Output::Resolve { host, port } => self.resolve(host, *port),
            Output::Datagram { to, bytes } => self.datagrams.push((*to, bytes.clone())),
            Output::Tally(_) | Output::Append(_) | Output::Settle { .. } | Output::Event(_) => {}
            Output::Measure(on) => self.measures = *on,
        }
    }

    fn release(&mut self, torrent_id: TorrentId, piece: PieceIndex) {
        let key = (torrent_id, piece);
        if self.leases.get(&key).is_some_and(|lease| !lease.full) {
            self.leases.remove(&key);
        }
    }

    fn resolve(&mut self, host: &str, port: u16) {
        let host = (host.to_owned(), port);
        assert!(!self.resolving.contains(&host), "{host:?} is looked up");
        self.resolving.push(host);
    }

    fn open_wire(&mut self, peer: PeerIndex) -> &mut Wire {
        let wire = self.wires.get_mut(&peer).expect("a connected peer");
        assert!(!wire.closing, "{peer:?} is being closed");
        wire
    }

    fn request(&mut self, peer: PeerIndex, blocks: &[Block], now: Instant) {
        assert!(!blocks.is_empty(), "a request asks for something");
        let wire = self.open_wire(peer);
        assert!(wire.lets_us, "{peer:?} chokes us");
        let torrent_id = wire.torrent_id.expect("handshakes come first");
        wire.last_sent = now;
        for block in blocks {
            *wire.owed.entry(*block).or_default() += 1;
        }
        let geometry = self.geometry[&torrent_id];
        for block in blocks {
            assert!(geometry.contains(block), "{block:?} lies in the torrent");
            assert!(block.index().is_some(), "{block:?} lies on the grid");
            self.leases.entry((torrent_id, block.piece)).or_default();
        }
    }

    fn serve(&mut self, peer: PeerIndex, blocks: &[Block], now: Instant) {
        assert!(!blocks.is_empty(), "a grant grants something");
        let wire = self.open_wire(peer);
        assert!(wire.unchoked, "{peer:?} is choked");
        let torrent_id = wire.torrent_id.expect("handshakes come first");
        wire.last_sent = now;
        for block in blocks {
            assert!(
                take(&mut wire.asked, block),
                "{block:?} asked, answered once"
            );
            wire.serving.push_back(*block);
        }
        for block in blocks {
            assert!(
                self.geometry[&torrent_id].contains(block),
                "{block:?} lies in the torrent"
            );
            assert!(
                self.disk[&torrent_id].contains(&block.piece),
                "we have {block:?}"
            );
        }
    }

    /// A block came from a peer: it is stored, and the session is yet to hear of it.
    pub(super) fn take_in(&mut self, peer: PeerIndex, block: Block, good: bool) -> BlockFate {
        let wire = self.wires.get_mut(&peer).expect("a connected peer");
        let Some(torrent_id) = wire.torrent_id.filter(|_| take(&mut wire.owed, &block)) else {
            return BlockFate::Unrequested;
        };
        let compared = |there: bool| match there == good {
            true => BlockFate::Equal,
            false => BlockFate::Different,
        };
        let Some(lease) = self.leases.get_mut(&(torrent_id, block.piece)) else {
            let had = self.disk[&torrent_id].contains(&block.piece);
            return match had {
                true => compared(true),
                false => BlockFate::Void,
            };
        };
        let index = block.index().expect("on the grid");
        if let Some(there) = lease.blocks.get(&index) {
            return compared(*there);
        }
        lease.blocks.insert(index, good);
        let count = self.geometry[&torrent_id].block_count(block.piece);
        if u32::try_from(lease.blocks.len()) == Ok(count) {
            lease.full = true;
            let matches = lease.blocks.values().all(|good| *good);
            self.hashing.push_back((torrent_id, block.piece, matches));
        }
        BlockFate::Stored
    }

    /// Stops the test unless this block is in its buffer: nobody would ever be asked for it again,
    /// and its piece be one block short for ever.
    pub(super) fn check_stored(&self, torrent_id: TorrentId, block: &Block) {
        let lease = self.leases.get(&(torrent_id, block.piece));
        let index = block.index().expect("on the grid");
        let is_stored = lease.is_some_and(|lease| lease.blocks.contains_key(&index));
        assert!(is_stored, "{block:?} is in its buffer");
    }

    /// Pieces on disk, as `Checked` has them.
    pub(super) fn have_bits(&self, torrent_id: TorrentId) -> Vec<u8> {
        let mut have =
            crate::content::bitfield::Bitfield::none(self.geometry[&torrent_id].piece_count());
        for piece in self.disk.get(&torrent_id).into_iter().flatten() {
            have.set(*piece);
        }
        have.to_wire()
    }
}

/// Takes one of a block's count; whether there was one.
fn take(counts: &mut BTreeMap<Block, u32>, block: &Block) -> bool {
    match counts.get_mut(block) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => drop(counts.remove(block)),
        None => return false,
    }
    true
}
