//! Metainfo from peers, and served to them (BEP 9).

use super::rig::{adding, events, finish, metainfo, piece, secs, sent_to};
use super::{Remote, Rig};
use crate::content::magnet::Magnet;
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::interface::command::{Command, TorrentSource};
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::interface::view::TorrentState;
use crate::units::{InfoHash, PeerIndex, TorrentId};
use crate::wire::extended::{ExtendedHandshake, UT_METADATA, UT_METADATA_ID};
use crate::wire::message::Message;
use crate::wire::metadata::{METADATA_PIECE_LEN, MetadataMessage};

/// Under which id the remotes here take metadata messages.
const THEIR_ID: u8 = 9;

pub(super) fn magnet(info_hash: InfoHash) -> TorrentSource {
    TorrentSource::Magnet(Box::new(Magnet {
        info_hash,
        name: None,
        trackers: Vec::new(),
        peers: Vec::new(),
    }))
}

fn add_magnet(rig: &mut Rig, whole: &Metainfo) -> TorrentId {
    let mut add = adding(whole);
    add.source = magnet(whole.info_hash);
    rig.command(Command::AddTorrent(Box::new(add)));
    whole.torrent_id()
}

/// A torrent whose `info` dictionary takes three metadata pieces.
fn large() -> Metainfo {
    let whole = metainfo("large", 2_000, 1);
    assert_eq!(pieces_of(&whole).len(), 3);
    whole
}

fn pieces_of(whole: &Metainfo) -> Vec<Vec<u8>> {
    let len = usize::try_from(METADATA_PIECE_LEN).expect("small");
    whole.info_bytes.chunks(len).map(<[u8]>::to_vec).collect()
}

/// A remote that offers metadata of this length.
fn offer(rig: &mut Rig, torrent: TorrentId, name: u8, len: usize) -> PeerIndex {
    let peer = rig.join(torrent, Remote::modern(name));
    let said = ExtendedHandshake {
        extensions: [(UT_METADATA.to_owned(), THEIR_ID)].into(),
        metadata_size: u32::try_from(len).ok(),
        ..Default::default()
    };
    rig.says_extended(peer, &said);
    peer
}

/// The metadata pieces that a peer is asked for.
fn asked(outputs: &[Output], peer: PeerIndex) -> Vec<u32> {
    let messages = sent_to(outputs, peer)
        .into_iter()
        .filter_map(|message| match message {
            Message::Extended {
                id: THEIR_ID,
                payload,
            } => MetadataMessage::decode(&payload).ok()?,
            _ => None,
        });
    let requests = messages.filter_map(|message| match message {
        MetadataMessage::Request { piece } => Some(piece),
        _ => None,
    });
    requests.collect()
}

fn say(rig: &mut Rig, peer: PeerIndex, message: &MetadataMessage) {
    let payload = message.encode();
    rig.says(
        peer,
        [Message::Extended {
            id: UT_METADATA_ID,
            payload,
        }],
    );
}

fn give(rig: &mut Rig, peer: PeerIndex, whole: &Metainfo, piece: u32, good: bool) {
    let mut data = pieces_of(whole)[usize::try_from(piece).expect("small")].clone();
    if !good {
        data[0] ^= 1;
    }
    let total_size = u32::try_from(whole.info_bytes.len()).expect("small");
    say(
        rig,
        peer,
        &MetadataMessage::Data {
            piece,
            total_size,
            data,
        },
    );
}

/// A remote offers all of its metadata and gives it when asked.
pub(super) fn give_all(rig: &mut Rig, peer: PeerIndex, whole: &Metainfo) {
    let said = ExtendedHandshake {
        extensions: [(UT_METADATA.to_owned(), THEIR_ID)].into(),
        metadata_size: u32::try_from(whole.info_bytes.len()).ok(),
        ..Default::default()
    };
    rig.says_extended(peer, &said);
    for piece in asked(&rig.take(), peer) {
        give(rig, peer, whole, piece, true);
    }
}

fn has_metadata(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Check(_)))
}

/// Lets every peer answer what it is asked, honestly or not, for so many seconds.
fn converse(rig: &mut Rig, whole: &Metainfo, peers: &[(PeerIndex, bool)], limit: u64) -> bool {
    let mut outputs = rig.take();
    for _ in 0..limit {
        for (peer, good) in peers {
            for piece in asked(&outputs, *peer) {
                give(rig, *peer, whole, piece, *good);
            }
        }
        rig.advance(secs(1));
        outputs = rig.take();
        if has_metadata(&outputs) {
            return true;
        }
    }
    false
}

#[test]
fn a_magnet_becomes_a_torrent_and_what_peers_said_before_still_counts() {
    let mut rig = Rig::new();
    let whole = metainfo("t", 9, 1);
    let torrent = add_magnet(&mut rig, &whole);
    assert_eq!(rig.state(torrent), TorrentState::FetchingMetadata);
    let seed = rig.join(torrent, Remote::modern(1));
    rig.says(seed, [Message::HaveAll, Message::Unchoke]);
    let partial = rig.join(torrent, Remote::modern(2));
    rig.says(
        partial,
        [Message::Bitfield(vec![0x40, 0]), Message::Have(piece(8))],
    );
    let liar = rig.join(torrent, Remote::modern(3));
    rig.says(liar, [Message::Bitfield(vec![0xff; 7])]);
    let distant = rig.join(torrent, Remote::modern(4));
    rig.says(distant, [Message::Have(piece(u32::MAX))]);
    let source = offer(&mut rig, torrent, 5, whole.info_bytes.len());
    assert_eq!(asked(&rig.take(), source), [0]);
    give(&mut rig, source, &whole, 0, true);
    assert!(has_metadata(&rig.take()));
    assert_eq!(rig.state(torrent), TorrentState::Checking);
    rig.checked(torrent);
    assert_eq!(rig.state(torrent), TorrentState::Downloading);
    let counts =
        [seed, partial, distant].map(|peer| rig.view(peer).map(|view| view.piece_have_count));
    assert_eq!(counts, [Some(9), Some(2), Some(0)]);
    assert!(rig.is_closing(liar));
    while rig.answer_all(seed, true) > 0 {
        rig.hash_all();
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn haves_without_end_before_the_metadata_are_not_all_kept() {
    let mut rig = Rig::new();
    let torrent = add_magnet(&mut rig, &metainfo("t", 9, 1));
    let peer = rig.join(torrent, Remote::modern(1));
    for start in 0..12_u32 {
        let haves = (0..10_000).map(|index| Message::Have(piece(start * 10_000 + index)));
        rig.says(peer, haves);
    }
    assert!(rig.take().is_empty());
}

#[test]
fn metadata_is_served_and_what_is_past_its_end_is_rejected() {
    let mut rig = Rig::new();
    let whole = large();
    let torrent = rig.seed(&whole);
    let peer = offer(&mut rig, torrent, 1, 1);
    rig.take();
    let mut fetched = Vec::new();
    for piece in [0, 1, 2, 3, u32::MAX] {
        say(&mut rig, peer, &MetadataMessage::Request { piece });
        let sent = sent_to(&rig.take(), peer);
        let [
            Message::Extended {
                id: THEIR_ID,
                payload,
            },
        ] = &sent[..]
        else {
            panic!("one answer: {sent:?}");
        };
        match MetadataMessage::decode(payload) {
            Ok(Some(MetadataMessage::Data { data, .. })) if piece < 3 => fetched.extend(data),
            Ok(Some(MetadataMessage::Reject { piece: rejected })) if piece >= 3 => {
                assert_eq!(rejected, piece);
            }
            other => panic!("{piece}: {other:?}"),
        }
    }
    assert_eq!(fetched, whole.info_bytes);
}

#[test]
fn a_flood_of_metadata_requests_does_not_become_a_flood_of_metadata() {
    let mut rig = Rig::new();
    let torrent = rig.seed(&large());
    let peer = offer(&mut rig, torrent, 1, 1);
    rig.take();
    let payload = MetadataMessage::Request { piece: 0 }.encode();
    let ask = Message::Extended {
        id: UT_METADATA_ID,
        payload,
    };
    rig.says(peer, std::iter::repeat_n(ask, 1_000));
    let len = |message: &Message| match message {
        Message::Extended { payload, .. } => payload.len(),
        _ => 0,
    };
    let bytes: usize = sent_to(&rig.take(), peer).iter().map(len).sum();
    assert!(bytes < 1_000_000, "{bytes}");
}

#[test]
fn metadata_of_a_private_torrent_is_not_given_away() {
    let mut rig = Rig::new();
    let whole = finish(&MetainfoDraft {
        name: "private".to_owned(),
        content: DraftContent::File(100_000),
        piece_len: 16_384,
        trackers: Vec::new(),
        private: true,
        comment: None,
        created_by: None,
        creation_date: None,
    });
    let torrent = rig.seed(&whole);
    let peer = offer(&mut rig, torrent, 1, 1);
    rig.take();
    say(&mut rig, peer, &MetadataMessage::Request { piece: 0 });
    let sent = sent_to(&rig.take(), peer);
    let [Message::Extended { payload, .. }] = &sent[..] else {
        panic!("{sent:?}");
    };
    let answer = MetadataMessage::decode(payload);
    assert_eq!(answer, Ok(Some(MetadataMessage::Reject { piece: 0 })));
}

#[test]
fn a_liar_beside_an_honest_peer_does_not_spoil_the_metadata() {
    let mut rig = Rig::new();
    let whole = large();
    let torrent = add_magnet(&mut rig, &whole);
    let len = whole.info_bytes.len();
    let liar = rig_pair(&mut rig, torrent, len);
    assert!(converse(&mut rig, &whole, &liar, 300));
}

/// A liar and an honest peer, both asked.
fn rig_pair(rig: &mut Rig, torrent: TorrentId, len: usize) -> [(PeerIndex, bool); 2] {
    let liar = offer(rig, torrent, 1, len);
    let honest = offer(rig, torrent, 2, len);
    [(liar, false), (honest, true)]
}

#[test]
fn several_liars_beside_an_honest_peer_do_not_spoil_the_metadata() {
    let mut rig = Rig::new();
    let whole = large();
    let torrent = add_magnet(&mut rig, &whole);
    let len = whole.info_bytes.len();
    let mut peers: Vec<_> = (1..6)
        .map(|name| (offer(&mut rig, torrent, name, len), false))
        .collect();
    peers.push((offer(&mut rig, torrent, 9, len), true));
    assert!(converse(&mut rig, &whole, &peers, 600));
}

#[test]
fn a_peer_that_lies_about_the_size_and_goes_silent_does_not_stop_the_fetch() {
    for lie in [1, 5_000_000] {
        let mut rig = Rig::new();
        let whole = large();
        let torrent = add_magnet(&mut rig, &whole);
        offer(&mut rig, torrent, 1, lie);
        let honest = offer(&mut rig, torrent, 2, whole.info_bytes.len());
        assert!(
            converse(&mut rig, &whole, &[(honest, true)], 300),
            "size {lie}"
        );
    }
}

/// Each says another size, and sends a piece whenever it is about to be late.
#[test]
fn n5_liars_about_the_size_that_drip_cost_no_time() {
    for liars in [1, 3, 20] {
        let mut rig = Rig::new();
        let whole = large();
        let torrent = add_magnet(&mut rig, &whole);
        let liars: Vec<PeerIndex> = (1..=liars)
            .map(|name| offer(&mut rig, torrent, name, 9_000_000 + usize::from(name)))
            .collect();
        let honest = offer(&mut rig, torrent, 99, whole.info_bytes.len());
        let begun = rig.now;
        let mut outputs = rig.take();
        let mut due = Vec::new();
        while !has_metadata(&outputs) {
            for piece in asked(&outputs, honest) {
                give(&mut rig, honest, &whole, piece, true);
            }
            for liar in &liars {
                let pieces = asked(&outputs, *liar).into_iter();
                due.extend(pieces.map(|piece| (rig.now.after(secs(19)), *liar, piece)));
            }
            let now = rig.now;
            for (_, liar, piece) in due.extract_if(.., |(at, ..)| *at <= now) {
                let data = vec![0; usize::try_from(METADATA_PIECE_LEN).expect("small")];
                let total_size = 9_000_000;
                let data = MetadataMessage::Data {
                    piece,
                    total_size,
                    data,
                };
                say(&mut rig, liar, &data);
            }
            rig.advance(secs(1));
            let took = rig.now.since(begun);
            assert!(took < secs(5), "{} liars: {took:?}", liars.len());
            outputs = rig.take();
        }
    }
}

#[test]
fn a_peer_that_lies_about_the_size_and_leaves_does_not_stop_the_fetch() {
    let mut rig = Rig::new();
    let whole = large();
    let torrent = add_magnet(&mut rig, &whole);
    let liar = offer(&mut rig, torrent, 1, 5);
    rig.close(liar);
    let honest = offer(&mut rig, torrent, 2, whole.info_bytes.len());
    assert!(converse(&mut rig, &whole, &[(honest, true)], 300));
}

#[test]
fn an_only_peer_that_is_slow_once_is_asked_again() {
    let mut rig = Rig::new();
    let whole = large();
    let torrent = add_magnet(&mut rig, &whole);
    let honest = offer(&mut rig, torrent, 1, whole.info_bytes.len());
    rig.take();
    rig.advance(secs(60));
    rig.take();
    rig.advance(secs(60));
    assert!(converse(&mut rig, &whole, &[(honest, true)], 120));
}

#[test]
fn metadata_that_is_no_torrent_fails_the_magnet_and_closes_its_peers() {
    let mut rig = Rig::new();
    let info_bytes = b"d4:name1:xe".to_vec();
    let mut whole = metainfo("t", 1, 1);
    whole.info_hash = crate::content::metainfo::hash_of(&info_bytes);
    whole.info_bytes = info_bytes;
    let torrent = add_magnet(&mut rig, &whole);
    let peer = offer(&mut rig, torrent, 1, whole.info_bytes.len());
    give(&mut rig, peer, &whole, 0, true);
    assert_eq!(rig.state(torrent), TorrentState::Failed);
    let failed = |event: &SessionEvent| matches!(event, SessionEvent::TorrentFailed { .. });
    assert!(events(&rig.take()).iter().any(failed));
    assert!(rig.is_closing(peer));
}
