//! A seed that is alone, its suggestions, and leechers that spare it.

use super::rig::{
    asked_of, block, draft, events, metainfo, millis, piece, request, secs, sent_to, served_to,
    slots,
};
use super::{Remote, Rig};
use crate::interface::command::Command;
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::units::{PeerIndex, PieceIndex, TorrentId};
use crate::wire::message::Message;

fn seeding(pieces: u32) -> (Rig, TorrentId) {
    let mut rig = Rig::new();
    let torrent = rig.seed(&draft("t", u64::from(pieces) << 20, 1 << 20));
    (rig, torrent)
}

fn leeching(pieces: u32, blocks: u32) -> (Rig, TorrentId) {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", pieces, blocks));
    (rig, torrent)
}

fn suggested_to(outputs: &[Output], peer: PeerIndex) -> Vec<PieceIndex> {
    let sent = sent_to(outputs, peer).into_iter();
    let named = sent.filter_map(|message| match message {
        Message::Suggest(piece) => Some(piece),
        _ => None,
    });
    named.collect()
}

/// A leecher that becomes unchoked, and what it is suggested then.
fn join(rig: &mut Rig, torrent: TorrentId, remote: Remote) -> (PeerIndex, Vec<PieceIndex>) {
    let peer = rig.join(torrent, remote);
    rig.says(peer, [Message::Interested]);
    assert!(rig.wire(peer).unchoked, "a free slot");
    let named = suggested_to(&rig.take(), peer);
    (peer, named)
}

#[test]
fn a_lone_seed_suggests_to_each_another_piece_before_it_lets_it_ask() {
    let (mut rig, torrent) = seeding(8);
    let mut all = Vec::new();
    for name in 1..=4 {
        let peer = rig.join(torrent, Remote::modern(name));
        rig.says(peer, [Message::Interested]);
        let sent = sent_to(&rig.take(), peer);
        let [Message::Suggest(piece), Message::Unchoke] = sent[..] else {
            panic!("{sent:?}");
        };
        all.push(piece);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
}

#[test]
fn the_next_piece_is_suggested_once_a_piece_is_asked_for() {
    let (mut rig, torrent) = seeding(8);
    let (peer, named) = join(&mut rig, torrent, Remote::modern(1));
    rig.says(peer, [request(named[0].get(), 0)]);
    let next = suggested_to(&rig.take(), peer);
    assert_eq!(next.len(), 1);
    assert_ne!(next, named);
    rig.says(peer, [request(named[0].get(), 1)]);
    assert!(suggested_to(&rig.take(), peer).is_empty());
}

#[test]
fn what_somebody_has_is_not_suggested_while_there_is_what_nobody_has() {
    let (mut rig, torrent) = seeding(3);
    let first = rig.join(torrent, Remote::modern(1));
    rig.says(first, [0, 2].map(|index| Message::Have(piece(index))));
    let (_, named) = join(&mut rig, torrent, Remote::modern(2));
    assert_eq!(named, [piece(1)]);
}

#[test]
fn nothing_is_suggested_beside_another_seed_or_without_the_fast_extension() {
    let (mut rig, torrent) = seeding(8);
    let (_, named) = join(&mut rig, torrent, Remote::plain(1));
    assert!(named.is_empty(), "it speaks no such message");
    let seed = rig.join_seed(torrent, 2);
    let (_, named) = join(&mut rig, torrent, Remote::modern(3));
    assert!(named.is_empty(), "there is another seed");
    rig.close(seed);
    let (_, named) = join(&mut rig, torrent, Remote::modern(4));
    assert_eq!(named.len(), 1, "alone again");
}

#[test]
fn a_leecher_suggests_nothing() {
    let mut rig = Rig::new();
    let torrent = rig.add(&metainfo("t", 8, 4), &[0, 1, 2]);
    let (_, named) = join(&mut rig, torrent, Remote::modern(1));
    assert!(named.is_empty());
}

#[test]
fn a_suggested_piece_is_asked_for_first() {
    let (mut rig, torrent) = leeching(100, 4);
    let seed = rig.join(torrent, Remote::modern(1));
    let said = [
        Message::HaveAll,
        Message::Suggest(piece(77)),
        Message::Unchoke,
    ];
    rig.says(seed, said);
    let asked = asked_of(&rig.take(), seed);
    assert_eq!(asked.first(), Some(&block(77, 0)));
}

#[test]
fn a_suggestion_past_the_end_closes() {
    for index in [10, u32::MAX] {
        let (mut rig, torrent) = leeching(10, 1);
        let peer = rig.join(torrent, Remote::modern(1));
        rig.says(peer, [Message::Suggest(piece(index))]);
        let misbehaved =
            |event: &SessionEvent| matches!(event, SessionEvent::PeerMisbehaved { .. });
        assert!(events(&rig.take()).iter().any(misbehaved));
        assert!(rig.is_closing(peer));
    }
}

#[test]
fn without_the_fast_extension_a_suggestion_means_nothing() {
    let (mut rig, torrent) = leeching(10, 1);
    let peer = rig.join(torrent, Remote::plain(1));
    rig.says(peer, [Message::Suggest(piece(u32::MAX))]);
    assert!(rig.take().is_empty());
    assert!(!rig.is_closing(peer));
}

#[test]
fn suggestions_without_end_from_who_has_nothing_change_nothing() {
    let (mut rig, torrent) = leeching(100, 1);
    let peer = rig.join(torrent, Remote::modern(1));
    let named = (0..100).cycle().take(100_000);
    rig.says(peer, named.map(|index| Message::Suggest(piece(index))));
    rig.says(peer, [Message::Unchoke]);
    assert!(rig.take().is_empty());
    let seed = rig.join_seed(torrent, 2);
    assert!(!asked_of(&rig.take(), seed).is_empty());
}

#[test]
fn the_only_seed_hears_of_every_piece_that_we_have() {
    let (mut rig, torrent) = leeching(3, 1);
    let only = rig.join_seed(torrent, 1);
    rig.take();
    let one = *rig.wire(only).owed.keys().next().expect("asked");
    rig.block(only, one, true);
    rig.hash_one();
    assert!(sent_to(&rig.take(), only).contains(&Message::Have(one.piece)));
    let other = rig.join_seed(torrent, 2);
    rig.take();
    rig.answer_all(only, true);
    rig.hash_all();
    for seed in [only, other] {
        let haves = sent_to(&rig.take(), seed);
        let is_have = |message: &Message| matches!(message, Message::Have(_));
        assert!(!haves.iter().any(is_have), "two seeds: {haves:?}");
    }
}

/// Somebody is unchoked by a lone seed, and asks for more than its socket takes in: two blocks of a
/// piece, and then one of another and two of the first. Then another peer takes its slot.
fn choked_over_a_piece(goes_on: bool, is_had: bool) -> (Rig, PeerIndex, PieceIndex) {
    let (mut rig, torrent) = seeding(8);
    rig.command(Command::SetPolicy(slots(1)));
    let (first, named) = join(&mut rig, torrent, Remote::modern(1));
    let piece = named[0];
    let other = u32::from(piece.get() == 0);
    rig.says(first, [0, 1].map(|index| request(piece.get(), index)));
    rig.says(first, [request(other, 0)]);
    if goes_on {
        rig.says(first, [2, 3].map(|index| request(piece.get(), index)));
    }
    let waiting = rig.join(torrent, Remote::modern(2));
    if is_had {
        rig.says(waiting, [Message::Have(piece)]);
    }
    rig.says(waiting, [Message::Interested]);
    rig.take();
    while !rig.wire(waiting).unchoked {
        rig.advance(millis(500));
    }
    (rig, first, piece)
}

#[test]
fn a_choke_waits_for_a_piece_that_was_begun_and_that_nobody_has() {
    let (mut rig, peer, piece) = choked_over_a_piece(true, false);
    assert!(rig.wire(peer).unchoked, "it is not told yet");
    rig.take();
    rig.send_all(peer);
    let outputs = rig.take();
    let blocks = [2, 3].map(|index| block(piece.get(), index));
    assert_eq!(
        served_to(&outputs, peer),
        blocks,
        "the rest, and nothing else"
    );
    let sent = sent_to(&outputs, peer);
    assert!(
        matches!(sent[..], [Message::Choke, Message::Reject(_)]),
        "{sent:?}"
    );
}

#[test]
fn a_choke_waits_20_s_at_most() {
    let (mut rig, peer, _) = choked_over_a_piece(true, false);
    rig.advance(secs(19));
    assert!(rig.wire(peer).unchoked);
    rig.take();
    rig.advance(secs(2));
    assert!(!rig.wire(peer).unchoked);
    assert!(rig.wire(peer).asked.is_empty(), "all are answered");
}

#[test]
fn a_choke_waits_for_nothing_that_is_not_asked_for_or_that_somebody_has() {
    for (goes_on, is_had) in [(false, false), (true, true)] {
        let (rig, peer, _) = choked_over_a_piece(goes_on, is_had);
        assert!(!rig.wire(peer).unchoked, "asked {goes_on}, had {is_had}");
    }
}

#[test]
fn what_another_announces_is_not_waited_for_from_the_only_seed() {
    let (mut rig, torrent) = leeching(20, 2);
    let seed = rig.join_seed(torrent, 1);
    let asked = asked_of(&rig.take(), seed);
    let [first, last] = [asked[0].piece, asked[asked.len() - 1].piece];
    assert_ne!(first, last);
    let other = rig.join(torrent, Remote::modern(2));
    rig.says(other, [Message::Unchoke, Message::Have(last)]);
    let outputs = rig.take();
    let cancelled = |output: &&Output| match output {
        Output::Cancel { peer, block } => *peer == seed && block.piece == last,
        _ => false,
    };
    assert_eq!(outputs.iter().filter(cancelled).count(), 2);
    assert_eq!(
        asked_of(&outputs, other),
        [0, 1].map(|of| block(last.get(), of))
    );
    // What is next in line is on its way.
    rig.says(other, [Message::Have(first)]);
    let is_cancel = |output: &Output| matches!(output, Output::Cancel { .. });
    assert!(!rig.take().iter().any(is_cancel));
}

#[test]
fn the_only_seed_has_a_short_line_of_what_it_is_asked_for() {
    let (mut rig, torrent) = leeching(100, 16);
    let seed = rig.join_seed(torrent, 1);
    for _ in 0..100 {
        let first = *rig.wire(seed).owed.keys().next().expect("asked");
        rig.block(seed, first, true);
        rig.hash_all();
    }
    assert!(rig.wire(seed).owed.len() > 40, "it is fast");
    rig.advance(secs(9));
    while rig.wire(seed).owed.len() > 32 {
        let first = *rig.wire(seed).owed.keys().next().expect("asked");
        rig.block(seed, first, true);
    }
    let first = *rig.wire(seed).owed.keys().next().expect("asked");
    rig.block(seed, first, true);
    assert!(rig.wire(seed).owed.len() <= 32, "some ten blocks a second");
    rig.join_seed(torrent, 2);
    rig.advance(secs(1));
    assert!(rig.wire(seed).owed.len() > 40, "there is another");
}
