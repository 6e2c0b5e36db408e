//! Arbitrary peers, drivers and owners against one session.
//!
//! Every step is a kind and a number from which the step draws whatever else it needs, so that a
//! failing run shrinks to few steps. The driver is honest, if slow and unlucky: it only reports
//! what can happen to a driver. Peers send anything.

use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::rig::{adding, config, draft, finish, millis, piece};
use super::seeded::seeded;
use super::{Remote, Rig};
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::discovery::ResolveError;
use crate::discovery::addresses::ADDRESSES_MAX;
use crate::discovery::tracker::{AnnounceError, AnnounceReply};
use crate::interface::command::Command;
use crate::interface::config::{PaidRule, Policy, SessionConfig};
use crate::interface::input::{FailureReason, Input, PeerEvent};
use crate::interface::output::Output;
use crate::rng::Rng;
use crate::session::peer::QUEUE_MAX;
use crate::units::{BLOCK_LEN, Block, ClientId, PeerIndex, TorrentId};
use crate::wire::extended::{ExtendedHandshake, RECEIPT, RECEIPT_ID, UT_METADATA, UT_METADATA_ID};
use crate::wire::message::Message;
use crate::wire::metadata::MetadataMessage;

/// Connections at once, closing ones included.
const PEERS_MAX: usize = 12;
/// Pieces of the largest torrent here.
const PIECES_MAX: usize = 40;

struct Chaos {
    rig: Rig,
    torrents: Vec<Metainfo>,
    draw: Rng,
    /// One in so many numbers that a peer sends is absurd. A peer that is closed at once reaches
    /// little, so most runs are mild.
    mischief: u64,
}

impl Chaos {
    fn new(mischief: u64, receipts: bool) -> Self {
        let private = MetainfoDraft {
            name: "private".to_owned(),
            content: DraftContent::File(100_000),
            piece_len: 16_384,
            trackers: vec![
                vec!["udp://tracker.example:6969/a".to_owned()],
                vec!["http://tracker.example/a".to_owned()],
            ],
            private: true,
            comment: None,
            created_by: None,
            creation_date: None,
        };
        let connections_max = 8;
        let mut chaos = Self {
            rig: Rig::with(SessionConfig {
                connections_max,
                receipts,
                ..config()
            }),
            torrents: vec![
                draft("many", 40 * 3 * u64::from(BLOCK_LEN) - 5, 3 * BLOCK_LEN),
                draft("tiny", 5, 16_384),
                draft("odd", 1_000_003, 70_001),
                draft("large", 20 << 20, 2 << 20),
                finish(&private),
            ],
            draw: Rng::new(0),
            mischief,
        };
        let many = chaos.torrents[0].clone();
        chaos.rig.add(&many, &[0, 1, 2, 3, 30]);
        let odd = chaos.torrents[2].clone();
        chaos.rig.leech(&odd);
        let large = chaos.torrents[3].clone();
        chaos.rig.seed(&large);
        let mut tiny = adding(&chaos.torrents[1]);
        tiny.source = super::magnets::magnet(chaos.torrents[1].info_hash);
        chaos.rig.command(Command::AddTorrent(Box::new(tiny)));
        chaos
    }

    fn step(&mut self, kind: u8, number: u64) {
        self.draw = Rng::new(number);
        let before = Before::of(&self.rig);
        let mut event_count = 1;
        match kind % 32 {
            0 | 1 => self.connect(),
            2 | 3 => self.shake(),
            4..=11 => event_count = self.read(),
            12 => event_count = self.cross(),
            13..=17 => self.data(),
            18 | 19 => self.sent(),
            20..=22 => self.hashed(),
            23 => self.checked(),
            24 => self.driver(),
            25 => self.owner(),
            26 => self.flood(&mut event_count),
            _ => self.wait(),
        }
        let outputs = self.rig.take();
        self.check(&outputs, &before, event_count);
    }

    /// A number below `bound`, or now and then one far past it.
    fn wild(&mut self, bound: u32) -> u32 {
        let far = [bound, u32::MAX, u32::MAX - 1, 1 << 31];
        match self.draw.chance(1, self.mischief) {
            true => far[self.draw.index(far.len())],
            false => u32::try_from(self.draw.below(u64::from(bound).max(1))).expect("small"),
        }
    }

    fn any_torrent(&mut self) -> Metainfo {
        let index = self.draw.index(self.torrents.len());
        self.torrents[index].clone()
    }

    fn any_peer(&mut self) -> Option<PeerIndex> {
        let peers: Vec<PeerIndex> = self.rig.plane.wires.keys().copied().collect();
        (!peers.is_empty()).then(|| peers[self.draw.index(peers.len())])
    }

    /// A peer whose handshake was handed over.
    fn any_shaken(&mut self) -> Option<PeerIndex> {
        let wires = self.rig.plane.wires.iter();
        let peers: Vec<PeerIndex> = wires
            .filter(|(_, wire)| wire.shaken)
            .map(|(peer, _)| *peer)
            .collect();
        (!peers.is_empty()).then(|| peers[self.draw.index(peers.len())])
    }

    fn any_addr(&mut self) -> SocketAddr {
        let port = u16::try_from(7_000 + self.draw.below(20)).expect("small");
        let host = u8::try_from(self.draw.below(4)).expect("small");
        match self.draw.below(10) {
            0 => SocketAddr::from(([0, 0, 0, 0], port)),
            1 => SocketAddr::from(([127, 0, 0, 1], 0)),
            _ => SocketAddr::from(([8, 8, host, host], port)),
        }
    }

    fn connect(&mut self) {
        let full = self.rig.plane.wires.len() >= PEERS_MAX;
        self.rig.close_closing();
        if full || self.draw.chance(1, 12) {
            if let Some(peer) = self.any_peer() {
                self.rig.close(peer);
            }
        } else if self.rig.plane.dials.is_empty() || self.draw.chance(1, 2) {
            let addr = self.any_addr();
            self.rig.accept_from(addr);
        } else {
            self.rig.dialled();
        }
    }

    fn shake(&mut self) {
        let wires = self.rig.plane.wires.iter();
        let silent = wires
            .filter(|(_, wire)| !wire.shaken)
            .map(|(peer, wire)| (*peer, wire.torrent_id));
        let Some((peer, dialled_for)) = silent.collect::<Vec<_>>().pop() else {
            return self.connect();
        };
        let torrent_id = match self.draw.chance(1, self.mischief) {
            true => TorrentId([9; 20]),
            false => dialled_for.unwrap_or_else(|| self.any_torrent().torrent_id()),
        };
        let client_id = match self.draw.below(40) {
            0 => self.rig.own_id(torrent_id),
            1 => ClientId([0xff; 20]),
            // Few enough that some come twice.
            _ => Remote::modern(u8::try_from(self.draw.below(30)).expect("small")).client_id,
        };
        let fast = self.draw.chance(2, 3);
        let extended = self.draw.chance(2, 3);
        self.rig.shake(
            peer,
            torrent_id,
            Remote {
                client_id,
                fast,
                extended,
            },
        );
    }

    fn read(&mut self) -> usize {
        let Some(peer) = self.any_shaken() else {
            self.shake();
            return 1;
        };
        let count = 1 + self.draw.index(6);
        let events: Vec<PeerEvent> = (0..count).map(|_| self.event(peer)).collect();
        self.rig.hears(peer, events);
        count
    }

    /// A choke, and behind it some of what was asked for and had left before.
    fn cross(&mut self) -> usize {
        let Some(peer) = self.any_shaken() else {
            self.shake();
            return 1;
        };
        let mut events = vec![PeerEvent::Message(Message::Choke)];
        for _ in 0..self.draw.index(5) {
            if let Some(block) = self.owed(peer) {
                let fate = self.rig.plane.take_in(peer, block, true);
                events.push(PeerEvent::Block { block, fate });
            }
        }
        let count = events.len();
        self.rig.hears(peer, events);
        count
    }

    fn event(&mut self, peer: PeerIndex) -> PeerEvent {
        if self.draw.chance(1, 5) {
            let block = match self
                .owed(peer)
                .filter(|_| !self.draw.chance(1, self.mischief))
            {
                Some(block) => block,
                None => self.any_block(peer),
            };
            let good = self.draw.chance(9, 10);
            let fate = self.rig.plane.take_in(peer, block, good);
            return PeerEvent::Block { block, fate };
        }
        PeerEvent::Message(self.message(peer))
    }

    fn owed(&mut self, peer: PeerIndex) -> Option<Block> {
        let owed: Vec<Block> = self.rig.wire(peer).owed.keys().copied().collect();
        (!owed.is_empty()).then(|| owed[self.draw.index(owed.len())])
    }

    fn piece_count(&self, peer: PeerIndex) -> u32 {
        let torrent = self.rig.wire(peer).torrent_id;
        let geometry = torrent.and_then(|torrent| self.rig.plane.geometry.get(&torrent));
        geometry.map_or(40, |geometry| geometry.piece_count())
    }

    fn any_block(&mut self, peer: PeerIndex) -> Block {
        let piece_count = self.piece_count(peer);
        let aligned = self.wild(3).wrapping_mul(BLOCK_LEN);
        Block {
            piece: piece(self.wild(piece_count)),
            begin: if self.draw.chance(19, 20) {
                aligned
            } else {
                self.wild(40_000)
            },
            len: if self.draw.chance(19, 20) {
                BLOCK_LEN
            } else {
                self.wild(20_000)
            },
        }
    }

    fn message(&mut self, peer: PeerIndex) -> Message {
        let piece_count = self.piece_count(peer);
        match self.draw.below(24) {
            0 => Message::KeepAlive,
            1 if self.draw.chance(1, 3) => Message::Choke,
            1..=3 => Message::Unchoke,
            6 if self.draw.chance(1, 3) => Message::NotInterested,
            4..=6 | 22 | 23 => Message::Interested,
            7 | 8 => Message::Have(piece(self.wild(piece_count))),
            9 => Message::Bitfield(self.bits(piece_count)),
            10 if self.draw.chance(1, 2) => Message::HaveAll,
            11 if self.draw.chance(1, 2) => Message::HaveNone,
            10..=12 => Message::KeepAlive,
            13..=15 => Message::Request(self.any_block(peer)),
            16 => {
                let asked: Vec<Block> = self.rig.wire(peer).asked.keys().copied().collect();
                match asked.is_empty() {
                    true => Message::Cancel(self.any_block(peer)),
                    false => Message::Cancel(asked[self.draw.index(asked.len())]),
                }
            }
            17 => Message::Reject(match self.owed(peer) {
                Some(block) => block,
                None => self.any_block(peer),
            }),
            18 => Message::AllowedFast(piece(self.wild(piece_count))),
            19 => Message::Suggest(piece(self.wild(piece_count))),
            20 if self.draw.chance(1, 2) => self.extended(peer),
            _ => Message::Port(7),
        }
    }

    fn bits(&mut self, piece_count: u32) -> Vec<u8> {
        let len = match self.draw.chance(1, self.mischief) {
            true => self.draw.index(300),
            false => crate::content::bitfield::Bitfield::wire_len(piece_count),
        };
        let mut bits = vec![0; len];
        self.draw.fill(&mut bits);
        let spare = match piece_count % 8 {
            0 => 0,
            used => 0xff_u8 >> used,
        };
        if let Some(last) = bits.last_mut()
            && !self.draw.chance(1, self.mischief)
        {
            *last &= !spare;
        }
        bits
    }

    fn extended(&mut self, peer: PeerIndex) -> Message {
        let random = |draw: &mut Rng| {
            let mut payload = vec![0; draw.index(60)];
            draw.fill(&mut payload);
            payload
        };
        let (id, payload) = match self.draw.below(8) {
            0..=2 => (0, self.extended_handshake(peer).encode()),
            3..=5 => (UT_METADATA_ID, self.metadata_message(peer).encode()),
            6 if self.draw.chance(1, self.mischief) => (RECEIPT_ID, random(&mut self.draw)),
            6 => (0, self.extended_handshake(peer).encode()),
            _ => (
                u8::try_from(self.draw.below(256)).expect("a byte"),
                random(&mut self.draw),
            ),
        };
        Message::Extended { id, payload }
    }

    fn extended_handshake(&mut self, peer: PeerIndex) -> ExtendedHandshake {
        let id = u8::try_from(self.draw.below(8)).expect("small");
        ExtendedHandshake {
            extensions: [(UT_METADATA.to_owned(), id), (RECEIPT.to_owned(), id)].into(),
            client: Some(["rqbit 1", "libtorrent", ""][self.draw.index(3)].to_owned()),
            port: Some(1),
            request_queue: Some(self.wild(1_000)),
            your_ip: None,
            metadata_size: Some(match self.draw.chance(1, self.mischief) {
                true => self.wild(11 << 20),
                false => u32::try_from(self.info_of(peer).len()).expect("small"),
            }),
            upload_only: [None, Some(true), Some(false)][self.draw.index(3)],
            receipt: None,
        }
    }

    /// The `info` dictionary of a peer's torrent, or of another.
    fn info_of(&mut self, peer: PeerIndex) -> Vec<u8> {
        let torrent = self.rig.wire(peer).torrent_id;
        let mut torrents = self.torrents.iter();
        let own = torrents
            .find(|whole| Some(whole.torrent_id()) == torrent)
            .cloned();
        let own = own.filter(|_| !self.draw.chance(1, self.mischief));
        own.unwrap_or_else(|| self.any_torrent()).info_bytes
    }

    fn metadata_message(&mut self, peer: PeerIndex) -> MetadataMessage {
        let piece = if self.draw.chance(3, 4) {
            0
        } else {
            self.wild(700)
        };
        match self.draw.below(4) {
            0 => MetadataMessage::Request { piece },
            1 => MetadataMessage::Reject { piece },
            _ => {
                let mut data = self.info_of(peer);
                data.truncate(16_384);
                if self.draw.chance(1, 5) {
                    data[0] ^= 1;
                }
                let total_size = u32::try_from(data.len()).expect("small");
                MetadataMessage::Data {
                    piece,
                    total_size,
                    data,
                }
            }
        }
    }

    /// A peer answers some of what it was asked.
    fn data(&mut self) {
        let Some(peer) = self.any_shaken() else {
            return;
        };
        let good = self.draw.chance(11, 12);
        for _ in 0..1 + self.draw.index(30) {
            let Some(block) = self.owed(peer).filter(|_| !self.rig.is_closing(peer)) else {
                return;
            };
            self.rig.block(peer, block, good);
        }
    }

    fn sent(&mut self) {
        let Some(peer) = self.any_shaken() else {
            return;
        };
        let max = self.rig.wire(peer).serving.len();
        let count = self.draw.index(max + 1);
        let wire = self.rig.plane.wires.get_mut(&peer).expect("it is there");
        let sent: Vec<Block> = wire.serving.drain(..count).collect();
        self.rig.input(Input::Sent {
            peer,
            bytes: sent.iter().map(|block| u64::from(block.len)).sum(),
            blocks: u32::try_from(sent.len()).expect("few"),
        });
    }

    fn hashed(&mut self) {
        match self.rig.plane.hashing.is_empty() {
            true => self.data(),
            false => self.rig.hash_all(),
        }
    }

    fn checked(&mut self) {
        if let Some(torrent_id) = self.rig.plane.checks.keys().next().copied() {
            self.rig.checked(torrent_id);
        }
    }

    /// What befalls a driver.
    fn driver(&mut self) {
        match self.draw.below(9) {
            8 if !self.rig.plane.checks.is_empty() => {
                let torrent_id = *self.rig.plane.checks.keys().next().expect("one");
                self.rig.check_fails(torrent_id, "not a plain file");
            }
            0 => {
                let torrent_id = self.any_torrent().torrent_id();
                // A write failed: what was on its way is gone.
                self.rig
                    .plane
                    .hashing
                    .retain(|(of, _, _)| *of != torrent_id);
                self.rig
                    .plane
                    .leases
                    .retain(|(of, _), lease| *of != torrent_id || !lease.full);
                let reason = "no space left on device".to_owned();
                self.rig.input(Input::StorageFailed { torrent_id, reason });
            }
            1 if !self.rig.plane.dials.is_empty() => {
                let (torrent_id, addr) = self.rig.plane.dials.remove(0);
                self.rig.input(Input::DialFailed {
                    torrent_id,
                    addr,
                    reason: FailureReason::Refused,
                });
            }
            2 | 3 if !self.rig.plane.resolving.is_empty() => {
                let (host, port) = self.rig.plane.resolving.remove(0);
                let result = match self.draw.chance(1, 4) {
                    true => Err(ResolveError("no such host".to_owned())),
                    false => Ok(vec![SocketAddr::from(([8, 8, 8, 8], port))]),
                };
                self.rig.input(Input::Resolved { host, port, result });
            }
            2 | 3 if !self.rig.plane.datagrams.is_empty() => self.datagram(),
            _ if !self.rig.plane.announces.is_empty() => {
                let (torrent_id, tracker) = self.rig.plane.announces.remove(0);
                let result = match self.draw.chance(1, 3) {
                    true => Err(AnnounceError::Unreachable("gone".to_owned())),
                    false => Ok(AnnounceReply {
                        interval: millis(self.draw.below(100_000)),
                        interval_min: None,
                        seeds: None,
                        leechers: Some(u32::MAX),
                        peers: (0..self.draw.index(20)).map(|_| self.any_addr()).collect(),
                        warning: None,
                    }),
                };
                self.rig.input(Input::Announced {
                    torrent_id,
                    tracker,
                    result,
                });
            }
            _ => self.connect(),
        }
    }

    /// Something of a tracker, or of somebody who would be one.
    fn datagram(&mut self) {
        let index = self.draw.index(self.rig.plane.datagrams.len());
        let (from, asked) = self.rig.plane.datagrams[index].clone();
        let action = u32::try_from(self.draw.below(4)).expect("small");
        let rest = self.draw.index(40);
        let bytes = [&action.to_be_bytes()[..], &asked[12..16], &vec![5; rest]].concat();
        let from = match self.draw.chance(1, self.mischief) {
            true => self.any_addr(),
            false => from,
        };
        self.rig.input(Input::Datagram { from, bytes });
    }

    fn owner(&mut self) {
        let whole = self.any_torrent();
        let torrent_id = whole.torrent_id();
        let command = match self.draw.below(14) {
            0..=5 => return self.add(&whole),
            6 => Command::RemoveTorrent {
                torrent_id,
                delete_data: self.draw.chance(1, 2),
            },
            7 => Command::StopTorrent(torrent_id),
            8 | 9 => Command::StartTorrent(torrent_id),
            10 => Command::Recheck(torrent_id),
            11 => {
                let peers = (0..5).map(|_| self.any_addr()).collect();
                Command::AddPeers { torrent_id, peers }
            }
            _ => {
                let limit =
                    |draw: &mut Rng| [None, Some(0), Some(20_000), Some(u64::MAX)][draw.index(4)];
                Command::SetPolicy(Policy {
                    slots: [1, 2, 8, usize::MAX][self.draw.index(4)],
                    open_share_percent: [0, 30, 100][self.draw.index(3)],
                    paid_rule: [PaidRule::TopK, PaidRule::Proportional][self.draw.index(2)],
                    upload_limit: limit(&mut self.draw),
                    download_limit: limit(&mut self.draw),
                    ..Policy::default()
                })
            }
        };
        let removes = matches!(command, Command::RemoveTorrent { .. });
        let known = self.rig.try_command(command).is_ok();
        if removes && known {
            // The driver forgets it too.
            self.rig
                .plane
                .hashing
                .retain(|(of, _, _)| *of != torrent_id);
            self.rig.plane.announces.retain(|(of, _)| *of != torrent_id);
        }
    }

    fn add(&mut self, whole: &Metainfo) {
        if self.rig.session.torrent(&whole.torrent_id()).is_some() {
            return;
        }
        let mut add = adding(whole);
        add.start = self.draw.chance(5, 6);
        add.download_limit = [None, Some(100_000)][self.draw.index(2)];
        if self.draw.chance(1, 4) {
            add.source = super::magnets::magnet(whole.info_hash);
            self.rig.plane.geometry.remove(&whole.torrent_id());
            self.rig
                .plane
                .disk
                .insert(whole.torrent_id(), Default::default());
        } else {
            let density = self.draw.below(4);
            let pieces = 0..whole.geometry.piece_count();
            let have: Vec<u32> = pieces.filter(|_| self.draw.chance(density, 3)).collect();
            self.rig.know(whole, &have);
        }
        self.rig.command(Command::AddTorrent(Box::new(add)));
    }

    /// One message, many times in one read.
    fn flood(&mut self, event_count: &mut usize) {
        let Some(peer) = self.any_shaken() else {
            return;
        };
        let message = self.message(peer);
        *event_count = 1 + self.draw.index(400);
        self.rig
            .says(peer, std::iter::repeat_n(message, *event_count));
    }

    fn wait(&mut self) {
        let step = [1, 30, 600, 5_000, 40_000][self.draw.index(5)];
        let wait = millis(self.draw.below(step));
        self.rig.advance(wait);
    }

    /// Everything a peer could make grow stays within its bound.
    fn check(&self, outputs: &[Output], before: &Before, event_count: usize) {
        let rejects = |output: &&Output| {
            matches!(
                output,
                Output::Send {
                    message: Message::Reject(_),
                    ..
                }
            )
        };
        // Rejects are bounded by requests: the data plane has seen to it that each is answered
        // once.
        let count = outputs.len() - outputs.iter().filter(rejects).count();
        let peers = before.peers + self.rig.plane.wires.len();
        let ticks =
            1 + usize::try_from(self.rig.now.since(before.now).as_millis() / 25).expect("short");
        let bound = (event_count + ticks) * (8 + 4 * peers) + peers * (PIECES_MAX + 8) + 100;
        assert!(count <= bound, "{count} outputs, {bound} allowed");
        let session = &self.rig.session;
        assert!(session.serving.is_empty(), "what is granted is handed over");
        for peer in session.peers.values() {
            let Some(link) = &peer.link else { continue };
            assert!(link.upload.queue.len() <= QUEUE_MAX);
            assert!(link.upload.granted_bytes <= 1024 * 1024 + u64::from(BLOCK_LEN));
            assert!(link.remote.extensions.len() <= 64);
            let outstanding = link.download.pipeline.outstanding().len();
            assert!(
                outstanding <= 2 * crate::transfer::pipeline::DEPTH_MAX,
                "{outstanding}"
            );
        }
        for torrent in session.torrents.values() {
            assert!(torrent.addresses.len() <= ADDRESSES_MAX);
            let stored = torrent
                .open()
                .into_iter()
                .flat_map(|open| open.picker.stored());
            for block in stored {
                self.rig.plane.check_stored(torrent.torrent_id, &block);
            }
        }
        let leased: u64 = session
            .torrents
            .values()
            .filter_map(|torrent| torrent.open())
            .map(|open| open.picker.lease_len())
            .sum();
        assert!(
            leased <= session.config.lease_bytes_max,
            "{leased} bytes leased"
        );
    }
}

struct Before {
    peers: usize,
    now: seedbank_ledger::Instant,
}

impl Before {
    fn of(rig: &Rig) -> Self {
        Self {
            peers: rig.plane.wires.len(),
            now: rig.now,
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 10 * seeded(38, 1).cases, ..seeded(38, 1) })]

    #[test]
    fn no_peer_driver_or_owner_can_break_the_session(
        mischief in prop::sample::select(vec![10_u64, 300, 100_000]),
        receipts in any::<bool>(),
        steps in prop::collection::vec(any::<(u8, u64)>(), 1..500)
    ) {
        let mut chaos = Chaos::new(mischief, receipts);
        for (kind, number) in steps {
            chaos.step(kind, number);
        }
    }
}
