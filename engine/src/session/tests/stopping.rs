//! Stop, start, remove, recheck, failing storage and shutdown, in every state.

use super::rig::{adding, metainfo, secs};
use super::{Remote, Rig};
use crate::content::metainfo::build::{DraftContent, MetainfoDraft};
use crate::interface::command::{Command, CommandError};
use crate::interface::input::{FailureReason, Input};
use crate::interface::output::Output;
use crate::interface::view::TorrentState;
use crate::units::{PeerIndex, TorrentId};

fn fetch_all(rig: &mut Rig, peer: PeerIndex) {
    while rig.answer_all(peer, true) > 0 {
        rig.hash_all();
    }
}

/// A torrent half fetched, with a piece part filled, one being hashed, and a peer unchoked.
fn busy() -> (Rig, TorrentId, PeerIndex, PeerIndex) {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 8, 4));
    let seed = rig.join_seed(torrent, 1);
    while rig.plane.hashing.len() < 2 {
        let first = *rig.wire(seed).owed.keys().next().expect("asked");
        rig.block(seed, first, true);
    }
    rig.hash_one();
    let leecher = rig.join_leecher(torrent, Remote::modern(2));
    (rig, torrent, seed, leecher)
}

fn still_completes(rig: &mut Rig, torrent: TorrentId) {
    rig.close_closing();
    rig.hash_all();
    for name in 10..13 {
        if rig.state(torrent) == TorrentState::Downloading {
            let seed = rig.join_seed(torrent, name);
            fetch_all(rig, seed);
        }
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn a_stopped_torrent_has_no_connections_and_no_buffers_and_can_go_on() {
    let (mut rig, torrent, seed, leecher) = busy();
    rig.command(Command::StopTorrent(torrent));
    assert_eq!(rig.state(torrent), TorrentState::Stopped);
    assert!(rig.is_closing(seed) && rig.is_closing(leecher));
    rig.close_closing();
    rig.hash_all();
    assert!(rig.plane.leases.is_empty(), "{:?}", rig.plane.leases);
    let refused = rig.accept();
    rig.shake(refused, torrent, Remote::modern(3));
    assert!(rig.is_closing(refused));
    rig.command(Command::StartTorrent(torrent));
    still_completes(&mut rig, torrent);
}

#[test]
fn stopping_and_starting_before_anything_has_closed_is_no_harm() {
    let (mut rig, torrent, seed, _) = busy();
    for command in [
        Command::StopTorrent,
        Command::StartTorrent,
        Command::StopTorrent,
        Command::StartTorrent,
    ] {
        rig.command(command(torrent));
        rig.advance(secs(1));
    }
    // What the old connection still brings is stored, and the session hears of it.
    rig.answer_all(seed, true);
    still_completes(&mut rig, torrent);
}

#[test]
fn a_removed_torrent_is_forgotten_and_can_be_added_again() {
    let (mut rig, torrent, seed, leecher) = busy();
    let remove = Command::RemoveTorrent {
        torrent_id: torrent,
        delete_data: false,
    };
    rig.command(remove.clone());
    assert!(rig.is_closing(seed) && rig.is_closing(leecher));
    assert!(rig.session.torrents().is_empty());
    let again = rig.try_command(remove);
    assert_eq!(again, Err(CommandError::TorrentUnknown(torrent)));
    rig.plane.hashing.clear();
    rig.leech(&metainfo("t", 8, 4));
    still_completes(&mut rig, torrent);
}

#[test]
fn a_recheck_counts_as_empty_until_it_is_done_and_then_goes_on() {
    let (mut rig, torrent, seed, leecher) = busy();
    rig.command(Command::Recheck(torrent));
    assert_eq!(rig.state(torrent), TorrentState::Checking);
    assert_eq!(rig.torrent(torrent).have.get(), 0);
    assert!(rig.is_closing(seed) && rig.is_closing(leecher));
    rig.checked(torrent);
    assert_eq!(rig.torrent(torrent).piece_have_count, 1);
    still_completes(&mut rig, torrent);
}

#[test]
fn a_bad_piece_that_was_being_hashed_during_a_recheck_is_fetched_again() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 1, 4));
    let seed = rig.join_seed(torrent, 1);
    rig.answer_all(seed, false);
    assert_eq!(rig.plane.hashing.len(), 1);
    rig.command(Command::Recheck(torrent));
    rig.checked(torrent);
    rig.close_closing();
    // Asked for anew while the old buffer is still with the hash pool, which then drops it.
    let other = rig.join_seed(torrent, 2);
    let first = *rig.wire(other).owed.keys().next().expect("asked");
    rig.block(other, first, false);
    rig.hash_all();
    for name in 3..6 {
        let honest = rig.join_seed(torrent, name);
        for _ in 0..100 {
            fetch_all(&mut rig, honest);
            rig.advance(secs(1));
        }
    }
    assert_eq!(rig.state(torrent), TorrentState::Seeding);
}

#[test]
fn stop_start_remove_and_recheck_are_answered_in_every_state() {
    let whole = metainfo("t", 8, 4);
    let commands = [
        Command::StartTorrent,
        Command::StopTorrent,
        Command::Recheck,
        |torrent_id| Command::RemoveTorrent {
            torrent_id,
            delete_data: false,
        },
    ];
    let fail = |rig: &mut Rig, torrent_id| {
        rig.input(Input::StorageFailed {
            torrent_id,
            reason: "no space".to_owned(),
        });
    };
    let prepare = |state: usize| -> (Rig, TorrentId) {
        let mut rig = Rig::new();
        match state {
            0 => {
                let mut add = adding(&whole);
                add.source = super::magnets::magnet(whole.info_hash);
                rig.command(Command::AddTorrent(Box::new(add)));
            }
            1 => {
                rig.know(&whole, &[]);
                rig.command(Command::AddTorrent(Box::new(adding(&whole))));
            }
            2 => drop(rig.leech(&whole)),
            3 => drop(rig.seed(&whole)),
            4 => {
                rig.leech(&whole);
                rig.command(Command::StopTorrent(whole.torrent_id()));
            }
            _ => {
                rig.leech(&whole);
                fail(&mut rig, whole.torrent_id());
            }
        }
        (rig, whole.torrent_id())
    };
    for state in 0..6 {
        for first in commands {
            for second in commands {
                let (mut rig, torrent_id) = prepare(state);
                rig.command(first(torrent_id));
                let removed = rig.session.torrent(&torrent_id).is_none();
                let reply = rig.try_command(second(torrent_id));
                assert_eq!(reply.is_err(), removed);
                if rig.plane.geometry.contains_key(&torrent_id) {
                    rig.checked(torrent_id);
                    rig.checked(torrent_id);
                }
                fail(&mut rig, torrent_id);
                rig.advance(secs(20));
            }
        }
    }
}

#[test]
fn failing_storage_keeps_what_is_there_and_can_be_started_again() {
    let (mut rig, torrent, seed, leecher) = busy();
    let have = rig.torrent(torrent).piece_have_count;
    assert_eq!(
        rig.plane.hashing.len(),
        1,
        "a piece is on its way to the disk"
    );
    // The write fails: its buffer is gone and the session hears of nothing else.
    let (_, piece, _) = rig.plane.hashing.pop_front().expect("one");
    rig.plane.leases.remove(&(torrent, piece));
    let reason = "no space left on device".to_owned();
    rig.input(Input::StorageFailed {
        torrent_id: torrent,
        reason: reason.clone(),
    });
    assert_eq!(rig.state(torrent), TorrentState::Failed);
    assert_eq!(rig.torrent(torrent).error, Some(reason));
    assert_eq!(rig.torrent(torrent).piece_have_count, have);
    assert!(rig.is_closing(seed) && rig.is_closing(leecher));
    rig.command(Command::StartTorrent(torrent));
    assert_eq!(rig.state(torrent), TorrentState::Checking);
    rig.checked(torrent);
    assert_eq!(rig.state(torrent), TorrentState::Downloading);
    still_completes(&mut rig, torrent);
}

#[test]
fn a_torrent_started_again_after_a_failure_announces_and_dials() {
    let mut rig = Rig::new();
    let whole = super::rig::finish(&MetainfoDraft {
        name: "t".to_owned(),
        content: DraftContent::File(100_000),
        piece_len: 16_384,
        trackers: vec![vec!["http://tracker.example/announce".to_owned()]],
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    });
    let torrent = rig.leech(&whole);
    let peers = vec!["127.0.0.1:7000".parse().expect("an address")];
    rig.command(Command::AddPeers {
        torrent_id: torrent,
        peers,
    });
    let peer = rig.dialled();
    rig.shake(peer, torrent, Remote::modern(1));
    let reason = "unplugged".to_owned();
    rig.input(Input::StorageFailed {
        torrent_id: torrent,
        reason,
    });
    rig.close_closing();
    rig.advance(secs(300));
    assert!(rig.plane.dials.is_empty());
    rig.take();
    rig.command(Command::StartTorrent(torrent));
    rig.checked(torrent);
    let outputs = rig.take();
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Announce { .. }))
    );
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Dial { .. }))
    );
}

#[test]
fn a_shutdown_closes_everybody_and_finishes() {
    let (mut rig, torrent, _, _) = busy();
    let stranger = rig.accept();
    rig.command(Command::Shutdown);
    assert!(rig.is_closing(stranger));
    assert!(!rig.session.is_finished());
    assert_eq!(
        rig.try_command(Command::StartTorrent(torrent)),
        Err(CommandError::ShuttingDown)
    );
    let late = rig.accept();
    assert!(rig.is_closing(late), "nobody is let in any more");
    rig.close_closing();
    assert!(rig.session.is_finished());
    assert_eq!(rig.session.next_timeout(), None);
    rig.command(Command::Shutdown);
}

#[test]
fn a_shutdown_does_not_wait_for_a_connection_that_never_closes() {
    let (mut rig, _, _, _) = busy();
    rig.command(Command::Shutdown);
    rig.advance(secs(6));
    assert!(rig.session.is_finished());
}

#[test]
fn adding_the_same_torrent_again_changes_nothing() {
    let (mut rig, torrent, seed, _) = busy();
    let before = rig.torrent(torrent).piece_have_count;
    rig.command(Command::AddTorrent(Box::new(adding(&metainfo("t", 8, 4)))));
    assert_eq!(rig.torrent(torrent).piece_have_count, before);
    assert!(!rig.is_closing(seed));
}

#[test]
fn a_late_word_about_a_gone_peer_or_torrent_means_nothing() {
    let (mut rig, torrent, seed, leecher) = busy();
    let strange = TorrentId([5; 20]);
    let piece = super::rig::piece(0);
    rig.close(seed);
    rig.input(Input::Received {
        peer: seed,
        events: Vec::new(),
    });
    rig.input(Input::Closed {
        peer: seed,
        reason: String::new(),
        failure: None,
    });
    rig.input(Input::Sent {
        peer: seed,
        bytes: 5,
        blocks: 0,
    });
    rig.input(Input::PieceVerified {
        torrent_id: strange,
        piece,
    });
    rig.input(Input::PieceFailed {
        torrent_id: strange,
        piece,
    });
    rig.input(Input::Checked {
        torrent_id: strange,
        check: 1,
        have: Vec::new(),
    });
    rig.input(Input::Checked {
        torrent_id: torrent,
        check: 1,
        have: vec![0],
    });
    rig.input(Input::DialFailed {
        torrent_id: strange,
        addr: "127.0.0.1:1".parse().expect("one"),
        reason: FailureReason::Refused,
    });
    assert!(!rig.is_closing(leecher));
    still_completes(&mut rig, torrent);
}
