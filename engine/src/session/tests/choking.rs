//! Who may ask, and how that is said.

use super::rig::{
    block, events, metainfo, millis, piece, request, secs, sent_to, served_to, slots,
};
use super::{Remote, Rig};
use crate::interface::command::Command;
use crate::interface::config::Policy;
use crate::interface::event::SessionEvent;
use crate::units::{PeerIndex, TorrentId};
use crate::wire::extended::ExtendedHandshake;
use crate::wire::message::Message;

/// A seed with one slot, so that any second peer waits for the first.
fn one_slot() -> (Rig, TorrentId) {
    let mut rig = Rig::new();
    rig.command(Command::SetPolicy(slots(1)));
    let torrent = rig.seed(&metainfo("t", 8, 16));
    (rig, torrent)
}

/// Lets time pass while `waiting` waits, until `served` is choked by decision or by word.
fn advance_until_choked(rig: &mut Rig, served: PeerIndex) {
    for _ in 0..1_200 {
        if !rig.session.is_unchoked(served) {
            return;
        }
        rig.advance(millis(100));
    }
    panic!("its turn never ends");
}

#[test]
fn a_peer_that_finds_a_free_slot_is_unchoked_at_once() {
    let (mut rig, torrent) = one_slot();
    let peer = rig.join(torrent, Remote::modern(1));
    rig.says(peer, [Message::Interested]);
    let outputs = rig.take();
    assert_eq!(sent_to(&outputs, peer).last(), Some(&Message::Unchoke));
    assert!(
        events(&outputs)
            .iter()
            .any(|event| matches!(event, SessionEvent::Choke(_)))
    );
    let second = rig.join(torrent, Remote::modern(2));
    rig.says(second, [Message::Interested]);
    assert!(sent_to(&rig.take(), second).is_empty(), "no slot is free");
}

#[test]
fn a_slot_that_is_given_back_goes_to_who_waits() {
    let (mut rig, torrent) = one_slot();
    let first = rig.join_leecher(torrent, Remote::modern(1));
    let second = rig.join(torrent, Remote::modern(2));
    rig.says(second, [Message::Interested]);
    rig.close(first);
    rig.advance(millis(500));
    assert!(rig.wire(second).unchoked);
}

#[test]
fn a_choked_peer_with_the_fast_extension_gets_a_reject_for_each_request() {
    let (mut rig, torrent) = one_slot();
    rig.command(Command::SetPolicy(Policy {
        upload_limit: Some(1),
        ..slots(1)
    }));
    let first = rig.join_leecher(torrent, Remote::modern(1));
    rig.says(first, (0..16).map(|index| request(0, index)));
    let granted = served_to(&rig.take(), first).len();
    let second = rig.join(torrent, Remote::modern(2));
    // Nothing is waited for that somebody else has.
    rig.says(second, [Message::Have(piece(0)), Message::Interested]);
    advance_until_choked(&mut rig, first);
    let sent = sent_to(&rig.take(), first);
    let choke = sent.iter().position(|message| *message == Message::Choke);
    let rejects = &sent[choke.expect("it is told") + 1..];
    assert!(
        rejects
            .iter()
            .all(|message| matches!(message, Message::Reject(_)))
    );
    assert!(rig.wire(first).asked.is_empty(), "all are answered");
    assert!(rejects.len() <= 16 - granted);
}

#[test]
fn a_choked_peer_without_the_fast_extension_is_served_first_what_it_asked_for() {
    let (mut rig, torrent) = one_slot();
    let first = rig.join_leecher(torrent, Remote::plain(1));
    rig.says(first, (0..100).map(|index| request(index / 16, index % 16)));
    let second = rig.join(torrent, Remote::modern(2));
    rig.says(second, [Message::Interested]);
    advance_until_choked(&mut rig, first);
    assert!(rig.wire(first).unchoked, "not told yet");
    assert_eq!(rig.send_all(first), 100);
    assert!(!rig.wire(first).unchoked, "told with the last block");
    assert_eq!(
        sent_to(&rig.take(), first),
        [Message::Unchoke, Message::Choke][1..]
    );
}

#[test]
fn a_drain_ends_when_the_peer_cancels_what_is_left() {
    let (mut rig, torrent) = one_slot();
    let first = rig.join_leecher(torrent, Remote::plain(1));
    rig.says(first, (0..100).map(|index| request(index / 16, index % 16)));
    let second = rig.join(torrent, Remote::modern(2));
    rig.says(second, [Message::Interested]);
    advance_until_choked(&mut rig, first);
    let cancels = (0..100).map(|index| Message::Cancel(block(index / 16, index % 16)));
    rig.says(first, cancels);
    assert!(
        !rig.wire(first).unchoked,
        "nothing is left to serve, so it is told"
    );
}

#[test]
fn a_drain_is_bounded_however_much_is_asked() {
    let (mut rig, torrent) = one_slot();
    let first = rig.join_leecher(torrent, Remote::plain(1));
    let many = || (0..900).map(|index| request(index / 16 % 8, index % 16));
    rig.says(first, many());
    let second = rig.join(torrent, Remote::modern(2));
    rig.says(second, [Message::Interested]);
    advance_until_choked(&mut rig, first);
    let before = rig.wire(first).serving.len();
    rig.says(first, many());
    let sent = rig.send_all(first);
    assert!(!rig.wire(first).unchoked);
    assert!(sent - before <= 128, "{sent}");
}

#[test]
fn a_request_made_while_draining_is_not_lost_if_the_choke_is_overtaken() {
    let (mut rig, torrent) = one_slot();
    let first = rig.join_leecher(torrent, Remote::plain(1));
    rig.says(first, (0..100).map(|index| request(index / 16, index % 16)));
    let second = rig.join(torrent, Remote::modern(2));
    rig.says(second, [Message::Interested]);
    advance_until_choked(&mut rig, first);
    // The peer has not been told and asks on; then the slot is free again.
    rig.says(first, [request(7, 0)]);
    rig.close(second);
    for _ in 0..30 {
        rig.advance(secs(1));
    }
    assert!(rig.session.is_unchoked(first));
    let sent = rig.send_all(first);
    assert!(rig.wire(first).unchoked);
    assert!(rig.wire(first).asked.is_empty(), "all {sent} are served");
}

#[test]
fn a_peer_is_not_unchoked_right_after_a_drain_told_it_of_the_choke() {
    let (mut rig, torrent) = one_slot();
    let first = rig.join_leecher(torrent, Remote::plain(1));
    rig.says(first, (0..100).map(|index| request(index / 16, index % 16)));
    let second = rig.join(torrent, Remote::modern(2));
    rig.says(second, [Message::Interested]);
    advance_until_choked(&mut rig, first);
    // Slow to take what it asked for: the choke goes out much later than it was decided.
    rig.advance(millis(9_800));
    rig.send_all(first);
    assert!(!rig.wire(first).unchoked);
    // The model of the data plane stops the test if the unchoke comes within five seconds.
    rig.close(second);
    rig.advance(secs(30));
    assert!(rig.wire(first).unchoked);
}

#[test]
fn a_peer_that_never_says_interested_may_ask_all_the_same() {
    let (mut rig, torrent) = one_slot();
    let peer = rig.join(torrent, Remote::plain(1));
    rig.says(peer, [request(0, 0)]);
    assert!(rig.wire(peer).unchoked, "the request is taken for interest");
    rig.says(peer, [request(0, 0)]);
    assert_eq!(served_to(&rig.take(), peer), [block(0, 0)]);
}

#[test]
fn a_request_for_nothing_of_ours_is_no_interest() {
    let (mut rig, torrent) = one_slot();
    let peer = rig.join(torrent, Remote::modern(1));
    rig.says(peer, [request(1_000, 0), request(u32::MAX, 0)]);
    assert!(!rig.wire(peer).unchoked);
}

#[test]
fn a_seed_gets_no_slot_nor_does_one_that_says_it_wants_nothing() {
    let (mut rig, torrent) = one_slot();
    let seed = rig.join(torrent, Remote::modern(1));
    rig.says(seed, [Message::HaveAll, Message::Interested]);
    assert!(!rig.wire(seed).unchoked);
    let partial = rig.join(torrent, Remote::modern(2));
    let upload_only = ExtendedHandshake {
        upload_only: Some(true),
        ..Default::default()
    };
    rig.says_extended(partial, &upload_only);
    rig.says(partial, [Message::Interested]);
    assert!(!rig.wire(partial).unchoked, "BEP 21");
    assert_eq!(rig.torrent(torrent).seed_count, 2);
    let changed = ExtendedHandshake {
        upload_only: Some(false),
        ..Default::default()
    };
    rig.says_extended(partial, &changed);
    assert!(rig.wire(partial).unchoked);
}

#[test]
fn interest_that_flickers_does_not_flip_the_choke() {
    let (mut rig, torrent) = one_slot();
    let peers: Vec<PeerIndex> = (1..4)
        .map(|name| rig.join(torrent, Remote::modern(name)))
        .collect();
    for step in 0..600_usize {
        let peer = peers[step % peers.len()];
        let says = if step % 2 == 0 {
            Message::Interested
        } else {
            Message::NotInterested
        };
        rig.says(peer, [says]);
        rig.advance(millis(130));
    }
}

#[test]
fn a_thousand_flickers_in_one_read_are_decided_once() {
    let (mut rig, torrent) = one_slot();
    let peer = rig.join(torrent, Remote::modern(1));
    let flicker = [Message::Interested, Message::NotInterested];
    rig.says(peer, std::iter::repeat_n(flicker, 1_000).flatten());
    assert!(rig.take().is_empty());
    rig.says(peer, [Message::Interested]);
    let sent = sent_to(&rig.take(), peer);
    assert_eq!(sent.last(), Some(&Message::Unchoke));
}

#[test]
fn an_idle_peer_hears_from_us_within_100_s_and_rqbit_within_10_s() {
    let (mut rig, torrent) = one_slot();
    let plain = rig.join(torrent, Remote::modern(1));
    let hasty = rig.join(torrent, Remote::modern(2));
    let said = ExtendedHandshake {
        client: Some("rqbit 9".to_owned()),
        ..Default::default()
    };
    rig.says_extended(hasty, &said);
    for _ in 0..600 {
        rig.advance(millis(500));
        let silent = |peer: PeerIndex| rig.now.since(rig.wire(peer).last_sent);
        assert!(silent(plain) <= secs(101), "{:?}", silent(plain));
        assert!(silent(hasty) <= secs(9), "{:?}", silent(hasty));
    }
    let count = sent_to(&rig.take(), hasty).len();
    assert!(
        count <= 300 / 8 + 1,
        "{count} keep-alives are a flood to others"
    );
}
