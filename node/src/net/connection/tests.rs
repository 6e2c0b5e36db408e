//! A connection's task on a loopback socket, between a scripted session and a scripted peer.

use seedbank_engine::interface::input::{BlockFate, PeerEvent, Transport};
use seedbank_engine::units::{
    BLOCK_LEN, Block, ClientId, InfoHash, PeerIndex, PieceIndex, TorrentId,
};
use seedbank_engine::wire::codec::piece_header;
use seedbank_engine::wire::handshake::{HANDSHAKE_LEN, Handshake};
use seedbank_engine::wire::message::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::disk::plane::TorrentData;
use crate::disk::storage::Storage;
use crate::inbox::Inbox;
use crate::link::outbox::OutboxItem;
use crate::testing::{content, metainfo_of};

const PIECE_LEN: u32 = 3 * BLOCK_LEN + 100;
const TOTAL: usize = 5 * 49_252;

/// A connection under test: `peer` is the remote end, `inputs` what the session would hear.
struct Rig {
    plane: Arc<DataPlane>,
    link: Arc<PeerLink>,
    peer: TcpStream,
    inputs: mpsc::Receiver<ToSession>,
    bytes: Vec<u8>,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// An accepted connection whose handshakes have been exchanged.
    async fn new() -> Self {
        let (inbox, inputs) = Inbox::new();
        let plane = DataPlane::start(inbox).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bytes = content(TOTAL);
        let metainfo = Arc::new(metainfo_of(&bytes, PIECE_LEN));
        let storage = Storage::open(metainfo, folder.path(), Arc::clone(&plane.files));
        plane.insert(TorrentData::new(storage));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(peer, listener.accept());
        let (stream, addr) = accepted.unwrap();
        let link = Arc::new(PeerLink::new(plane.next_peer(), &plane.waiting));
        let first = Input::Accepted {
            peer: link.index(),
            addr,
            transport: Transport::Tcp,
        };
        assert!(begin(&plane, &link, &stream, first).await);
        tokio::spawn(run(Arc::clone(&plane), Arc::clone(&link), stream, None));
        let mut rig = Self {
            plane,
            link,
            peer: peer.unwrap(),
            inputs,
            bytes,
            _folder: folder,
        };
        assert!(matches!(rig.input().await, Input::Accepted { .. }));
        rig
    }

    async fn shaken() -> Self {
        let mut rig = Self::new().await;
        rig.peer.write_all(&handshake().encode()).await.unwrap();
        assert!(matches!(rig.input().await, Input::Handshake { .. }));
        rig.link.send_handshake(TORRENT, handshake());
        rig.expect(&handshake().encode()).await;
        rig
    }

    async fn input(&mut self) -> Input {
        match self.inputs.recv().await.unwrap() {
            ToSession::Input(input) | ToSession::Connected { input, .. } => input,
            ToSession::Received(received) => received.into_input(),
            other => panic!("{other:?}"),
        }
    }

    /// All events until there are `count`, whatever the reads.
    async fn events(&mut self, count: usize) -> Vec<PeerEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            match self.input().await {
                Input::Received { events: more, .. } => events.extend(more),
                other => panic!("{other:?}"),
            }
        }
        events
    }

    async fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.peer.read_exact(&mut read).await.unwrap();
        assert!(read == bytes, "the peer got other bytes");
    }

    /// Leases a piece and asks for these blocks of it.
    async fn request(&mut self, piece: u32, blocks: &[u32]) -> Vec<Block> {
        let geometry = self.geometry();
        let piece = PieceIndex::new(piece, &geometry).unwrap();
        let len = usize::try_from(geometry.len_of(piece)).unwrap();
        let count = usize::try_from(geometry.block_count(piece)).unwrap();
        self.plane.leases.open(TORRENT, piece, len, count);
        let blocks: Vec<Block> = blocks
            .iter()
            .map(|index| geometry.block(piece, *index).unwrap())
            .collect();
        self.link.send_requests(blocks.clone());
        let mut expected = Vec::new();
        for block in &blocks {
            Message::Request(*block).encode(&mut expected);
        }
        self.expect(&expected).await;
        blocks
    }

    fn geometry(&self) -> seedbank_engine::units::Geometry {
        self.plane
            .torrent(&TORRENT)
            .unwrap()
            .storage
            .metainfo()
            .geometry
    }

    fn payload(&self, block: &Block) -> Vec<u8> {
        let start = self.geometry().piece_offset(block.piece) + u64::from(block.begin);
        let start = usize::try_from(start).unwrap();
        self.bytes[start..start + usize::try_from(block.len).unwrap()].to_vec()
    }

    fn message(&self, block: &Block) -> Vec<u8> {
        [&piece_header(block)[..], &self.payload(block)].concat()
    }

    fn store(&self, piece: u32) {
        let piece = PieceIndex::new(piece, &self.geometry()).unwrap();
        let data = self.plane.torrent(&TORRENT).unwrap();
        let start = usize::try_from(self.geometry().piece_offset(piece)).unwrap();
        let len = usize::try_from(self.geometry().len_of(piece)).unwrap();
        data.storage
            .write_piece(piece, &self.bytes[start..start + len])
            .unwrap();
    }

    async fn closed(&mut self) -> String {
        loop {
            if let Input::Closed { peer, reason, .. } = self.input().await {
                assert_eq!(peer, PeerIndex(0));
                return reason;
            }
        }
    }
}

const TORRENT: TorrentId = TorrentId([7; 20]);

fn handshake() -> Handshake {
    Handshake {
        info_hash: InfoHash(TORRENT.0),
        client_id: ClientId(*b"-Sb0001-abcdefghijkl"),
        extended: true,
        fast: true,
    }
}

fn fates(events: &[PeerEvent]) -> Vec<BlockFate> {
    events
        .iter()
        .map(|event| match event {
            PeerEvent::Block { fate, .. } => *fate,
            PeerEvent::Message(message) => panic!("{message:?}"),
        })
        .collect()
}

fn encoded(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages
        .iter()
        .for_each(|message| message.encode(&mut bytes));
    bytes
}

#[tokio::test]
async fn handshake_and_messages_may_come_byte_by_byte_or_all_at_once() {
    let messages = [
        Message::HaveNone,
        Message::Interested,
        Message::Bitfield(vec![1; 20_000]),
        Message::KeepAlive,
    ];
    let stream = [&handshake().encode()[..], &encoded(&messages)].concat();
    for chunk in [1, 7, 68, 100_000] {
        let mut rig = Rig::new().await;
        // One byte a time for the interesting part, then the rest.
        for part in stream[..100].chunks(chunk) {
            rig.peer.write_all(part).await.unwrap();
        }
        rig.peer.write_all(&stream[100..]).await.unwrap();
        let Input::Handshake { handshake: got, .. } = rig.input().await else {
            panic!("no handshake first");
        };
        assert_eq!(got, handshake());
        let expected: Vec<PeerEvent> = messages.iter().cloned().map(PeerEvent::Message).collect();
        assert_eq!(rig.events(4).await, expected);
    }
}

/// Five bytes that announce a bitfield of 2 Mi pieces, of a torrent that has five.
#[tokio::test]
async fn a_bitfield_of_more_pieces_than_there_are_is_not_waited_for() {
    let mut rig = Rig::shaken().await;
    let announced = [&262_145_u32.to_be_bytes()[..], &[5]].concat();
    rig.peer.write_all(&announced).await.unwrap();
    let reason = rig.closed().await;
    assert!(reason.contains("262145"), "{reason}");
}

#[tokio::test]
async fn another_protocol_is_closed() {
    let mut rig = Rig::new().await;
    rig.peer.write_all(&[0x42; HANDSHAKE_LEN]).await.unwrap();
    assert!(rig.closed().await.contains("BitTorrent"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_closed() {
    let mut rig = Rig::new().await;
    assert_eq!(rig.closed().await, "no handshake in time");

    let mut rig = Rig::new().await;
    rig.peer.write_all(&handshake().encode()).await.unwrap();
    assert!(rig.closed().await.starts_with("silent for"));
}

#[tokio::test]
async fn a_full_piece_is_verified_and_written_behind_its_last_block() {
    let mut rig = Rig::shaken().await;
    let blocks = rig.request(1, &[0, 1, 2, 3]).await;
    let stream: Vec<u8> = blocks.iter().flat_map(|block| rig.message(block)).collect();
    rig.peer.write_all(&stream).await.unwrap();
    assert_eq!(fates(&rig.events(4).await), [BlockFate::Stored; 4]);
    let Input::PieceVerified { torrent_id, piece } = rig.input().await else {
        panic!("not verified");
    };
    assert_eq!((torrent_id, piece.get()), (TORRENT, 1));
    let data = rig.plane.torrent(&TORRENT).unwrap();
    assert!(data.has(piece));
    let mut written = vec![0; 49_252];
    data.storage.read(49_252, &mut written).unwrap();
    assert!(written == rig.bytes[49_252..2 * 49_252]);
    assert_eq!(rig.plane.leases.count(), 0);
}

#[tokio::test]
async fn a_wrong_piece_fails_and_can_be_leased_again() {
    let mut rig = Rig::shaken().await;
    let blocks = rig.request(0, &[0, 1, 2, 3]).await;
    let mut stream: Vec<u8> = blocks.iter().flat_map(|block| rig.message(block)).collect();
    stream[50_000 / 2] ^= 1;
    rig.peer.write_all(&stream).await.unwrap();
    assert_eq!(rig.events(4).await.len(), 4);
    assert!(matches!(rig.input().await, Input::PieceFailed { .. }));
    assert_eq!(rig.plane.leases.count(), 0);
    let blocks = rig.request(0, &[0]).await;
    rig.peer.write_all(&rig.message(&blocks[0])).await.unwrap();
    assert_eq!(fates(&rig.events(1).await), [BlockFate::Stored]);
}

#[tokio::test]
async fn unasked_late_and_repeated_blocks_are_told_apart() {
    let mut rig = Rig::shaken().await;
    let asked = rig.request(0, &[0]).await[0];
    let never = rig.geometry().block(asked.piece, 1).unwrap();
    rig.peer.write_all(&rig.message(&never)).await.unwrap();
    assert_eq!(fates(&rig.events(1).await), [BlockFate::Unrequested]);

    rig.peer.write_all(&rig.message(&asked)).await.unwrap();
    assert_eq!(fates(&rig.events(1).await), [BlockFate::Stored]);
    rig.peer.write_all(&rig.message(&asked)).await.unwrap();
    assert_eq!(fates(&rig.events(1).await), [BlockFate::Unrequested]);

    // Asked again in end game: compared with the lease.
    for (change, fate) in [(0, BlockFate::Equal), (1, BlockFate::Different)] {
        rig.request(0, &[0]).await;
        let mut message = rig.message(&asked);
        message[100] ^= change;
        rig.peer.write_all(&message).await.unwrap();
        assert_eq!(fates(&rig.events(1).await), [fate]);
    }

    // Asked, then verified through somebody else: compared with the disk.
    for (change, fate) in [(0, BlockFate::Equal), (1, BlockFate::Different)] {
        rig.request(0, &[1]).await;
        rig.plane.leases.release(TORRENT, asked.piece);
        rig.store(0);
        let mut have = rig.plane.torrent(&TORRENT).unwrap().have();
        have.set(asked.piece);
        rig.plane.torrent(&TORRENT).unwrap().set_have(have);
        let mut message = rig.message(&never);
        message[100] ^= change;
        rig.peer.write_all(&message).await.unwrap();
        assert_eq!(fates(&rig.events(1).await), [fate]);
    }

    // A cancelled block is still one that was asked for; a rejected one is not.
    rig.request(0, &[2]).await;
    rig.link
        .send_cancel(rig.geometry().block(asked.piece, 2).unwrap());
    let cancelled = rig.geometry().block(asked.piece, 2).unwrap();
    rig.peer.write_all(&rig.message(&cancelled)).await.unwrap();
    assert_eq!(fates(&rig.events(1).await), [BlockFate::Stored]);
    rig.peer.write_all(&rig.message(&cancelled)).await.unwrap();
    assert_eq!(fates(&rig.events(1).await), [BlockFate::Unrequested]);
}

#[tokio::test]
async fn a_block_in_a_lease_that_was_given_up_since_does_not_count_in_the_next() {
    let mut rig = Rig::shaken().await;
    let first = rig.request(0, &[0]).await[0];
    rig.peer.write_all(&rig.message(&first)).await.unwrap();
    let on_its_way = rig.inputs.recv().await.unwrap();
    // The session has not heard of the block: it gives the lease up, and asks for all of it again.
    rig.plane.leases.release(TORRENT, first.piece);
    let blocks = rig.request(0, &[0, 1, 2, 3]).await;
    let ToSession::Received(received) = on_its_way else {
        panic!("{on_its_way:?}");
    };
    let Input::Received { events, .. } = received.into_input() else {
        panic!("a block is news");
    };
    assert_eq!(fates(&events), [BlockFate::Void]);

    let stream: Vec<u8> = blocks.iter().flat_map(|block| rig.message(block)).collect();
    rig.peer.write_all(&stream).await.unwrap();
    assert_eq!(fates(&rig.events(4).await), [BlockFate::Stored; 4]);
    assert!(matches!(rig.input().await, Input::PieceVerified { .. }));
}

#[tokio::test]
async fn outputs_leave_in_order_and_served_blocks_are_counted() {
    let mut rig = Rig::shaken().await;
    (0..5).for_each(|piece| rig.store(piece));
    let geometry = rig.geometry();
    let blocks: Vec<Block> = geometry
        .pieces()
        .flat_map(|piece| (0..4).filter_map(move |index| geometry.block(piece, index)))
        .collect();
    let have = Message::Have(PieceIndex::unchecked(3));
    rig.link.send(OutboxItem::Message(Message::Unchoke));
    rig.link.send(OutboxItem::Serve(blocks[..7].to_vec()));
    rig.link.send(OutboxItem::Message(have.clone()));
    rig.link.send(OutboxItem::Message(Message::Choke));
    rig.link.send(OutboxItem::Serve(blocks[7..].to_vec()));
    rig.link.send(OutboxItem::Message(Message::KeepAlive));

    let mut expected = encoded(&[Message::Unchoke]);
    blocks[..7]
        .iter()
        .for_each(|block| expected.extend(rig.message(block)));
    expected.extend(encoded(&[have, Message::Choke]));
    blocks[7..]
        .iter()
        .for_each(|block| expected.extend(rig.message(block)));
    expected.extend(encoded(&[Message::KeepAlive]));
    rig.expect(&expected).await;

    let (mut bytes, mut count) = (0, 0);
    while count < 20 {
        let Input::Sent {
            bytes: b, blocks, ..
        } = rig.input().await
        else {
            panic!("not Sent");
        };
        bytes += b;
        count += blocks;
    }
    assert_eq!((bytes, count), (u64::try_from(TOTAL).unwrap(), 20));
}

#[tokio::test]
async fn files_that_went_away_stop_the_torrent_not_the_node() {
    let mut rig = Rig::shaken().await;
    let geometry = rig.geometry();
    let block = geometry
        .block(PieceIndex::new(0, &geometry).unwrap(), 0)
        .unwrap();
    rig.link.send(OutboxItem::Serve(vec![block]));
    loop {
        match rig.input().await {
            Input::StorageFailed { reason, .. } => {
                assert!(reason.ends_with("no such file"), "{reason}");
                break;
            }
            Input::Closed { .. } => panic!("closed first"),
            _ => {}
        }
    }
    assert!(rig.closed().await.contains("cannot read"));
}

#[tokio::test]
async fn closing_sends_what_is_queued_first() {
    let mut rig = Rig::shaken().await;
    rig.store(0);
    let geometry = rig.geometry();
    let block = geometry
        .block(PieceIndex::new(0, &geometry).unwrap(), 0)
        .unwrap();
    rig.link.send(OutboxItem::Serve(vec![block]));
    rig.link.send(OutboxItem::Message(Message::Choke));
    rig.link.close("not needed any more".to_owned());
    rig.link.send(OutboxItem::Message(Message::Unchoke));
    let expected = [rig.message(&block), encoded(&[Message::Choke])].concat();
    let mut got = Vec::new();
    rig.peer.read_to_end(&mut got).await.unwrap();
    assert!(got == expected, "{} bytes", got.len());
    drop(std::mem::replace(&mut rig.peer, idle_stream().await));
    assert_eq!(rig.closed().await, "not needed any more");
}

async fn idle_stream() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn n3_who_was_told_nothing_is_closed_at_once() {
    let mut rig = Rig::new().await;
    let start = tokio::time::Instant::now();
    rig.link.close("banned".to_owned());
    // The remote end stays open and is not waited for.
    assert_eq!(rig.closed().await, "banned");
    assert!(start.elapsed() < LINGER);
}

#[tokio::test]
async fn a_broken_message_closes_after_what_came_before_it() {
    let mut rig = Rig::shaken().await;
    let bytes = [encoded(&[Message::Interested]), vec![0, 0, 0, 9, 0]].concat();
    rig.peer.write_all(&bytes).await.unwrap();
    assert_eq!(
        rig.events(1).await,
        [PeerEvent::Message(Message::Interested)]
    );
    assert!(rig.closed().await.contains("message 0 has length 9"));
}

#[tokio::test]
async fn a_peer_that_never_reads_is_closed_at_the_bound() {
    let mut rig = Rig::shaken().await;
    let payload = vec![0; 16 * 1024];
    // More than the kernel's buffers and our bound hold together.
    for _ in 0..4096 {
        let message = Message::Extended {
            id: 1,
            payload: payload.clone(),
        };
        rig.link.send(OutboxItem::Message(message));
        tokio::task::yield_now().await;
        if rig.link.is_ended() {
            break;
        }
    }
    assert!(rig.closed().await.starts_with("does not read"));
}

#[tokio::test]
async fn the_peers_end_is_told_once() {
    let mut rig = Rig::shaken().await;
    drop(std::mem::replace(&mut rig.peer, idle_stream().await));
    assert_eq!(rig.closed().await, "closed by the peer");
    rig.link.end("again".to_owned());
    assert!(rig.inputs.try_recv().is_err());
}
