//! What peers say they have, what they are asked for, and what becomes of bad data.

use super::rig::{
    LEASE_BYTES_MAX, adding, asked_of, block, draft, events, metainfo, millis, piece, request,
    secs, sent_to,
};
use super::{Remote, Rig};
use crate::interface::command::Command;
use crate::interface::event::SessionEvent;
use crate::interface::input::{BlockFate, PeerEvent};
use crate::interface::output::Output;
use crate::interface::view::TorrentState;
use crate::units::{Block, PeerIndex, TorrentId};
use crate::wire::message::Message;

fn leeching(pieces: u32, blocks: u32) -> (Rig, TorrentId) {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", pieces, blocks));
    (rig, torrent)
}

fn misbehaved(outputs: &[Output]) -> bool {
    let is_misbehaviour =
        |event: &SessionEvent| matches!(event, SessionEvent::PeerMisbehaved { .. });
    events(outputs).iter().any(is_misbehaviour)
}

/// Lets a peer send until the torrent is complete or nothing more is asked of it.
fn fetch_all(rig: &mut Rig, peer: PeerIndex) {
    for _ in 0..1_000 {
        if rig.answer_all(peer, true) == 0 {
            return;
        }
        rig.hash_all();
    }
}

#[test]
fn a_torrent_completes_from_one_seed_and_says_so_once() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&draft("odd", 1_000_003, 40_000));
    let peer = rig.join_seed(torrent, 1);
    assert_eq!(sent_to(&rig.take(), peer), [Message::Interested]);
    let other = rig.join(torrent, Remote::modern(2));
    rig.says(other, [Message::HaveAll]);
    fetch_all(&mut rig, peer);
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
    let outputs = rig.take();
    let completed = |event: &&SessionEvent| **event == SessionEvent::TorrentCompleted(torrent);
    assert_eq!(events(&outputs).iter().filter(completed).count(), 1);
    let sent = sent_to(&outputs, peer);
    assert!(sent.contains(&Message::NotInterested));
    let is_have = |message: &Message| matches!(message, Message::Have(_));
    assert!(!sent.iter().any(is_have), "two seeds need not be told");
}

#[test]
fn a_lazy_bitfield_and_redundant_haves_are_accepted() {
    let (mut rig, torrent) = leeching(10, 1);
    let peer = rig.join(torrent, Remote::modern(1));
    let haves = [0, 3, 3, 9, 0].map(|index| Message::Have(piece(index)));
    rig.says(
        peer,
        [Message::Bitfield(vec![0x80, 0])].into_iter().chain(haves),
    );
    assert!(!rig.is_closing(peer));
    assert_eq!(rig.view(peer).expect("live").piece_have_count, 3);
}

#[test]
fn a_peer_that_says_nothing_of_its_pieces_has_none() {
    let (mut rig, torrent) = leeching(10, 1);
    let peer = rig.join(torrent, Remote::plain(1));
    rig.says(peer, [Message::Unchoke, Message::Have(piece(4))]);
    assert_eq!(asked_of(&rig.take(), peer), [block(4, 0)]);
}

#[test]
fn a_bitfield_that_does_not_fit_closes() {
    for bits in [
        vec![],
        vec![0xff],
        vec![0xff, 0xff],
        vec![0xff, 0xc0, 0],
        vec![0; 100_000],
    ] {
        let (mut rig, torrent) = leeching(10, 1);
        let peer = rig.join(torrent, Remote::modern(1));
        rig.says(peer, [Message::Bitfield(bits)]);
        assert!(rig.is_closing(peer));
        rig.close(peer);
    }
}

#[test]
fn a_have_past_the_end_closes() {
    for index in [10, u32::MAX] {
        let (mut rig, torrent) = leeching(10, 1);
        let peer = rig.join(torrent, Remote::modern(1));
        rig.says(peer, [Message::Have(piece(index)), Message::Have(piece(0))]);
        assert!(misbehaved(&rig.take()));
        assert!(rig.is_closing(peer));
    }
}

#[test]
fn a_peer_that_says_all_and_none_without_end_changes_nothing() {
    // A pass over all pieces for each would cost us more than the peer's five bytes.
    let (mut rig, torrent) = leeching(10, 1);
    let peer = rig.join(torrent, Remote::modern(1));
    rig.says(peer, [Message::HaveAll]);
    rig.take();
    let orders = [Message::HaveNone, Message::HaveAll].into_iter().cycle();
    rig.says(peer, orders.take(100));
    assert!(rig.take().is_empty());
}

#[test]
fn nothing_is_asked_of_a_peer_that_chokes_us() {
    let (mut rig, torrent) = leeching(10, 1);
    let peer = rig.join(torrent, Remote::modern(1));
    rig.says(peer, [Message::HaveAll]);
    rig.advance(secs(5));
    assert!(asked_of(&rig.take(), peer).is_empty());
}

#[test]
fn after_a_choke_others_are_asked_for_what_is_missing() {
    for remote in [Remote::modern(1), Remote::plain(1)] {
        let (mut rig, torrent) = leeching(2, 4);
        let first = rig.join(torrent, remote);
        rig.says(first, [Message::Bitfield(vec![0xc0]), Message::Unchoke]);
        let asked = block_of(&rig.take(), first);
        rig.block(first, asked, true);
        rig.says(first, [Message::Choke]);
        let owed: Vec<_> = rig.wire(first).owed.keys().copied().collect();
        if remote.fast {
            rig.says(first, owed.into_iter().map(Message::Reject));
        }
        let second = rig.join_seed(torrent, 2);
        fetch_all(&mut rig, second);
        assert_eq!(
            rig.state(torrent),
            TorrentState::Seeding,
            "fast {}",
            remote.fast
        );
    }
}

fn block_of(outputs: &[Output], peer: PeerIndex) -> Block {
    *asked_of(outputs, peer)
        .first()
        .expect("asked for something")
}

#[test]
fn a_request_that_is_never_answered_does_not_hold_up_the_rest() {
    let (mut rig, torrent) = leeching(4, 4);
    rig.join_seed(torrent, 1);
    let honest = rig.join_seed(torrent, 2);
    for _ in 0..200 {
        fetch_all(&mut rig, honest);
        rig.advance(secs(1));
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn a_peer_that_rejects_everything_costs_nobody_else_anything() {
    let (mut rig, torrent) = leeching(4, 4);
    let refuser = rig.join_seed(torrent, 1);
    let honest = rig.join_seed(torrent, 2);
    for _ in 0..100 {
        let owed: Vec<_> = rig.wire(refuser).owed.keys().copied().collect();
        rig.says(refuser, owed.into_iter().map(Message::Reject));
        let outputs = rig.take();
        assert!(
            outputs.len() < 100,
            "no endless round of request and reject"
        );
        fetch_all(&mut rig, honest);
        rig.advance(millis(500));
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn a_block_that_nobody_asked_for_closes_a_fast_peer() {
    let (mut rig, torrent) = leeching(4, 4);
    let peer = rig.join(torrent, Remote::modern(1));
    rig.block(peer, block(0, 0), true);
    assert!(misbehaved(&rig.take()));
    assert!(rig.is_closing(peer));
}

#[test]
fn a_plain_peer_may_be_late_with_a_few_blocks_but_not_without_end() {
    let (mut rig, torrent) = leeching(4, 4);
    let peer = rig.join(torrent, Remote::plain(1));
    for _ in 0..10 {
        rig.block(peer, block(0, 0), true);
    }
    assert!(!rig.is_closing(peer));
    for _ in 0..1_000 {
        if !rig.is_closing(peer) {
            rig.block(peer, block(0, 0), true);
        }
    }
    assert!(rig.is_closing(peer));
}

#[test]
fn a_bad_piece_blames_its_only_contributor_and_comes_from_another() {
    let (mut rig, torrent) = leeching(1, 4);
    let liar = rig.join_seed(torrent, 1);
    rig.answer_all(liar, false);
    rig.hash_all();
    assert!(rig.is_closing(liar));
    let outputs = rig.take();
    let failed = SessionEvent::PieceFailed {
        torrent_id: torrent,
        piece: piece(0),
    };
    assert!(events(&outputs).contains(&failed));
    rig.close(liar);
    let honest = rig.join_seed(torrent, 2);
    fetch_all(&mut rig, honest);
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
    assert_eq!(rig.torrent(torrent).wasted.get(), 4 * 16_384);
}

#[test]
fn a_bad_piece_of_two_contributors_condemns_neither_and_is_fetched_from_one() {
    let (mut rig, torrent) = leeching(1, 4);
    let liar = rig.join_seed(torrent, 1);
    let first = *rig.wire(liar).owed.keys().next().expect("asked");
    rig.block(liar, first, false);
    rig.says(liar, [Message::Choke]);
    let owed: Vec<_> = rig.wire(liar).owed.keys().copied().collect();
    rig.says(liar, owed.into_iter().map(Message::Reject));
    let honest = rig.join_seed(torrent, 2);
    rig.answer_all(honest, true);
    rig.hash_all();
    assert!(!rig.is_closing(liar) && !rig.is_closing(honest));
    for _ in 0..200 {
        fetch_all(&mut rig, honest);
        rig.advance(secs(1));
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn data_that_a_peer_slipped_in_while_being_closed_is_not_blamed_on_an_honest_one() {
    // In one read: a block that closes the connection, then a bad one that was asked for. The data
    // plane has stored it by the time the session hears of either.
    let (mut rig, torrent) = leeching(1, 4);
    let liar = rig.join_seed(torrent, 1);
    let asked = *rig.wire(liar).owed.keys().next().expect("asked");
    let fate = rig.plane.take_in(liar, asked, false);
    assert_eq!(fate, BlockFate::Stored);
    let unrequested = PeerEvent::Block {
        block: block(0, 3),
        fate: BlockFate::Unrequested,
    };
    rig.hears(
        liar,
        vec![unrequested, PeerEvent::Block { block: asked, fate }],
    );
    assert!(rig.is_closing(liar));
    rig.close(liar);
    let honest = rig.join_seed(torrent, 2);
    rig.answer_all(honest, true);
    rig.hash_all();
    assert!(!rig.is_closing(honest), "it sent good data only");
    for _ in 0..200 {
        fetch_all(&mut rig, honest);
        rig.advance(secs(1));
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn a_garbage_sender_that_we_dialled_is_not_dialled_again_at_once() {
    let (mut rig, torrent) = leeching(1, 4);
    let mut dials = 0;
    let liar = super::greeting::dial(&mut rig, torrent, "127.0.0.1:7000");
    let mut name = 1;
    let mut current = Some(liar);
    for _ in 0..600 {
        if let Some(liar) = current.take() {
            dials += 1;
            name += 1;
            rig.shake(liar, torrent, Remote::modern(name));
            rig.says(liar, [Message::HaveAll, Message::Unchoke]);
            rig.answer_all(liar, false);
            rig.hash_all();
            assert!(rig.is_closing(liar));
            rig.close(liar);
        }
        rig.advance(secs(1));
        if !rig.plane.dials.is_empty() {
            current = Some(rig.dialled());
        }
    }
    assert!(dials <= 10, "dialled {dials} times in ten minutes");
}

#[test]
fn end_game_asks_a_second_peer_and_cancels_what_came_first_elsewhere() {
    let (mut rig, torrent) = leeching(1, 4);
    let slow = rig.join_seed(torrent, 1);
    let quick = rig.join_seed(torrent, 2);
    let copies: Vec<_> = rig.wire(quick).owed.keys().copied().collect();
    assert!(
        !copies.is_empty(),
        "the only piece is under way, so blocks are asked for twice"
    );
    rig.take();
    rig.block(quick, copies[0], true);
    let cancels = |output: &Output| match output {
        Output::Cancel { peer, block } => *peer == slow && *block == copies[0],
        _ => false,
    };
    assert!(rig.take().iter().any(cancels));
    // The slow one sends it all the same: it was asked for, so nothing comes of it.
    rig.block(slow, copies[0], true);
    assert!(!rig.is_closing(slow));
    for _ in 0..10 {
        fetch_all(&mut rig, quick);
        fetch_all(&mut rig, slow);
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn a_verified_piece_is_announced_to_those_who_lack_it() {
    let (mut rig, torrent) = leeching(2, 1);
    let seed = rig.join_seed(torrent, 1);
    let leecher = rig.join(torrent, Remote::modern(2));
    rig.take();
    rig.answer_all(seed, true);
    rig.hash_one();
    let sent = sent_to(&rig.take(), leecher);
    assert!(matches!(sent[..], [Message::Have(_)]), "{sent:?}");
    rig.says(leecher, [Message::Interested, request(0, 0), request(1, 0)]);
    rig.says(leecher, [request(0, 0), request(1, 0)]);
    assert_eq!(rig.send_all(leecher), 1, "only what is verified is served");
}

#[test]
fn buffers_stay_within_the_budget() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&draft("big", 64 << 20, 1 << 20));
    let peers: Vec<_> = (1..9).map(|name| rig.join_seed(torrent, name)).collect();
    for _ in 0..40 {
        let bytes = u64::try_from(rig.plane.leases.len()).expect("few") << 20;
        assert!(bytes <= LEASE_BYTES_MAX, "{bytes} bytes leased");
        for peer in &peers {
            rig.answer_all(*peer, true);
        }
        rig.hash_all();
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn part_filled_buffers_that_nobody_can_complete_make_room() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&draft("big", 16 << 20, 1 << 20));
    // One peer after the other fills a buffer in part and leaves: all that the budget has.
    for index in 0..4_u8 {
        let peer = rig.join(torrent, Remote::modern(index));
        rig.says(peer, [Message::Have(piece(index.into())), Message::Unchoke]);
        let first = *rig.wire(peer).owed.keys().next().expect("asked");
        rig.block(peer, first, true);
        rig.close(peer);
    }
    // Then one who has none of those four.
    let other = rig.join(torrent, Remote::modern(9));
    rig.says(
        other,
        [Message::Bitfield(vec![0x0f, 0xff]), Message::Unchoke],
    );
    rig.advance(secs(2));
    fetch_all(&mut rig, other);
    assert_eq!(rig.torrent(torrent).piece_have_count, 12);
}

#[test]
fn peers_that_trickle_cannot_hold_all_buffers() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&draft("big", 16 << 20, 1 << 20));
    // They take every buffer there is, and send a block each just before anybody would call it a
    // stall.
    let slow: Vec<_> = (1..5).map(|name| rig.join_seed(torrent, name)).collect();
    let quick = rig.join_seed(torrent, 9);
    for _ in 0..10 {
        for peer in &slow {
            let first = rig.wire(*peer).owed.keys().next().copied();
            if let Some(first) = first {
                rig.block(*peer, first, true);
            }
        }
        for _ in 0..25 {
            fetch_all(&mut rig, quick);
            rig.advance(secs(1));
        }
        rig.take();
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn a_thousand_chokes_in_one_read_move_nobody() {
    let (mut rig, torrent) = leeching(8, 4);
    let busy = rig.join_seed(torrent, 1);
    let peer = rig.join_seed(torrent, 2);
    rig.take();
    let flips = std::iter::repeat_n([Message::Choke, Message::Unchoke], 1_000);
    rig.says(peer, flips.flatten());
    let outputs = rig.take();
    assert!(outputs.len() < 10, "{} outputs", outputs.len());
    assert!(!rig.is_closing(busy));
}

#[test]
fn a_torrent_whose_pieces_fit_no_buffer_fails_with_a_reason() {
    let mut rig = Rig::new();
    let whole = draft("huge", 64 << 20, 8 << 20);
    let torrent = rig.leech(&whole);
    assert_eq!(rig.state(torrent), TorrentState::Failed);
    let reason = rig.torrent(torrent).error.expect("a reason");
    assert!(
        reason.contains("8388608") && reason.contains("4194304"),
        "{reason}"
    );
    rig.command(Command::StartTorrent(torrent));
    assert_eq!(
        rig.state(torrent),
        TorrentState::Failed,
        "starting does not help"
    );
    let mut rig = Rig::new();
    let torrent = rig.seed(&whole);
    assert_eq!(
        rig.state(torrent),
        TorrentState::Seeding,
        "serving takes no buffer"
    );
    // One short piece, shorter than the piece length.
    let mut rig = Rig::new();
    let torrent = rig.leech(&draft("short", 1 << 20, 8 << 20));
    assert_eq!(rig.state(torrent), TorrentState::Downloading);
}

#[test]
fn a_reqq_of_nothing_still_gets_one_request() {
    for reqq in [0, 1, u32::MAX] {
        let (mut rig, torrent) = leeching(100, 16);
        let peer = rig.join(torrent, Remote::modern(1));
        let said = crate::wire::extended::ExtendedHandshake {
            request_queue: Some(reqq),
            ..Default::default()
        };
        rig.says_extended(peer, &said);
        rig.says(peer, [Message::HaveAll, Message::Unchoke]);
        let asked = rig.wire(peer).owed.len();
        assert!(asked >= 1 && (reqq > 1 || asked == 1), "{asked} of {reqq}");
    }
}

#[test]
fn an_unchoke_that_nobody_waited_for_is_no_harm() {
    let mut rig = Rig::new();
    let whole = metainfo("t", 2, 2);
    rig.know(&whole, &[]);
    rig.command(Command::AddTorrent(Box::new(adding(&whole))));
    // Not checked yet: it has no connections.
    let early = rig.accept();
    rig.shake(early, whole.torrent_id(), Remote::modern(1));
    assert!(rig.is_closing(early));
    rig.close(early);
    rig.checked(whole.torrent_id());
    let peer = rig.join(whole.torrent_id(), Remote::modern(1));
    rig.says(
        peer,
        [Message::Unchoke, Message::Unchoke, Message::HaveNone],
    );
    assert!(asked_of(&rig.take(), peer).is_empty());
}

/// A read brings a choke and, behind it, a block that had left before. At the choke its piece is
/// given up and asked of somebody else: the block lies in the buffer that was given up.
#[test]
fn a_block_behind_a_choke_does_not_count_in_the_next_buffer() {
    let (mut rig, torrent) = leeching(7, 4);
    let [first, second, third] = [1, 2, 3].map(|name| rig.join_seed(torrent, name));
    // Four blocks make room for eight: the last to answer finds nothing that is not under way, and
    // asks for copies in one of the others' pieces.
    for peer in [second, third, first] {
        for block in rig.wire(peer).owed.clone().into_keys() {
            rig.block(peer, block, true);
        }
    }
    let copied: Vec<Block> = rig.wire(first).owed.keys().copied().collect();
    let is_copied = |block: &Block| copied.iter().any(|copy| copy.piece == block.piece);
    let untouched = |peer: &PeerIndex| !rig.wire(*peer).owed.keys().any(is_copied);
    let slow = [second, third].into_iter().find(untouched);
    let slow = slow.expect("copies are of one piece");

    let mut events = vec![PeerEvent::Message(Message::Choke)];
    for block in rig.wire(slow).owed.clone().into_keys() {
        if block.begin == 0 {
            let fate = rig.plane.take_in(slow, block, true);
            assert_eq!(fate, BlockFate::Stored);
            events.push(PeerEvent::Block { block, fate });
        }
    }
    rig.take();
    rig.hears(slow, events);
    let again = asked_of(&rig.take(), first);
    assert!(again.iter().any(|block| block.begin == 0), "{again:?}");
    let cancelled = rig.take_cancelled(first);
    rig.says(first, cancelled.into_iter().map(Message::Reject));
    // Who chokes us answers nothing more.
    for peer in [first, second, third]
        .into_iter()
        .filter(|peer| *peer != slow)
    {
        fetch_all(&mut rig, peer);
    }
    fetch_all(&mut rig, first);
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}
