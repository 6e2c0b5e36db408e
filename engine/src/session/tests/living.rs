//! What a session asks of its driver in a torrent's life: checks, records, and whose files are
//! whose.

use std::path::PathBuf;

use seedbank_ledger::Bytes;

use super::rig::{adding, block, events, metainfo, request, secs};
use super::{Remote, Rig};
use crate::content::metainfo::Metainfo;
use crate::interface::command::{
    AddError, AddTorrent, Command, CommandError, TorrentSource, TorrentTotals,
};
use crate::interface::event::SessionEvent;
use crate::interface::input::Input;
use crate::interface::output::{Output, StorageCheck, Trust};
use crate::interface::view::TorrentState;
use crate::units::TorrentId;

/// Checks asked for since the last look.
fn checks(outputs: &[Output]) -> Vec<StorageCheck> {
    let checks = outputs.iter().filter_map(|output| match output {
        Output::Check(check) => Some(check.clone()),
        _ => None,
    });
    checks.collect()
}

/// What a record says now.
fn record(rig: &Rig, torrent: TorrentId) -> AddTorrent {
    rig.plane.records[&torrent].clone()
}

fn trusts(rig: &mut Rig) -> Vec<Trust> {
    let checks = checks(&rig.take());
    checks.into_iter().map(|check| check.trust).collect()
}

fn storage_fails(rig: &mut Rig, torrent_id: TorrentId) {
    let reason = "no space left on device".to_owned();
    rig.input(Input::StorageFailed { torrent_id, reason });
}

/// A torrent of one file called `name`; torrents of different lengths have different hashes.
fn placed(name: &str, pieces: u32, dir: &str) -> (Metainfo, AddTorrent) {
    let whole = metainfo(name, pieces, 1);
    let mut add = adding(&whole);
    add.download_dir = Some(PathBuf::from(dir));
    (whole, add)
}

fn add(rig: &mut Rig, add: &AddTorrent) -> Result<(), CommandError> {
    rig.try_command(Command::AddTorrent(Box::new(add.clone())))
}

/// Its files may have been moved: nothing is wrong before it is started.
#[test]
fn a_stopped_torrent_whose_files_are_gone_does_not_fail_and_is_checked_when_it_starts() {
    let mut rig = Rig::new();
    let torrent_id = rig.seed(&metainfo("t", 3, 1));
    rig.command(Command::StopTorrent(torrent_id));
    trusts(&mut rig);
    storage_fails(&mut rig, torrent_id);
    assert_eq!(rig.state(torrent_id), TorrentState::Stopped);
    rig.command(Command::StartTorrent(torrent_id));
    assert_eq!(rig.state(torrent_id), TorrentState::Checking);
    assert_eq!(trusts(&mut rig), [Trust::Record]);
}

#[test]
fn a_torrent_is_on_record_before_its_files_are_looked_at() {
    let mut rig = Rig::new();
    let (whole, adding) = placed("t", 3, "/d");
    add(&mut rig, &adding).unwrap();
    let outputs = rig.take();
    let [Output::Remember(record), Output::Check(check), ..] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(**record, adding);
    assert_eq!(check.torrent_id, whole.torrent_id());
    assert_eq!(check.download_dir, Some(PathBuf::from("/d")));
    assert_eq!(check.trust, Trust::Nothing, "there is no record of pieces");
}

#[test]
fn what_is_restored_may_be_believed_and_is_not_recorded_again() {
    let mut rig = Rig::new();
    let (whole, mut adding) = placed("t", 3, "/d");
    adding.start = false;
    rig.command(Command::RestoreTorrent(Box::new(adding)));
    let outputs = rig.take();
    assert!(matches!(&outputs[..], [Output::Check(check)] if check.trust == Trust::Record));
    rig.plane
        .records
        .insert(whole.torrent_id(), super::rig::adding(&whole));
    rig.checked(whole.torrent_id());
    assert_eq!(rig.state(whole.torrent_id()), TorrentState::Stopped);
}

#[test]
fn stop_and_start_are_remembered_and_a_shutdown_is_not() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 3, 1));
    assert!(record(&rig, torrent).start);
    rig.command(Command::StopTorrent(torrent));
    assert!(!record(&rig, torrent).start);
    rig.command(Command::StartTorrent(torrent));
    assert!(record(&rig, torrent).start);
    rig.take();
    rig.command(Command::StartTorrent(torrent));
    rig.command(Command::Shutdown);
    let remembers = |output: &Output| matches!(output, Output::Remember(_));
    assert!(!rig.take().iter().any(remembers), "nothing new");
}

#[test]
fn a_failed_torrent_is_checked_again_when_it_is_started_and_only_once() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 3, 1));
    rig.take();
    storage_fails(&mut rig, torrent);
    storage_fails(&mut rig, torrent);
    let outputs = rig.take();
    let failed = |event: &SessionEvent| matches!(event, SessionEvent::TorrentFailed { .. });
    let count = events(&outputs)
        .iter()
        .filter(|event| failed(event))
        .count();
    assert_eq!(count, 1, "one failure, however many writes it hits");
    assert!(checks(&outputs).is_empty(), "not by itself");
    rig.command(Command::StartTorrent(torrent));
    rig.command(Command::StartTorrent(torrent));
    assert_eq!(trusts(&mut rig), [Trust::Record]);
    rig.check_fails(torrent, "no such device");
    assert_eq!(rig.state(torrent), TorrentState::Failed);
    rig.command(Command::StartTorrent(torrent));
    assert_eq!(trusts(&mut rig), [Trust::Record]);
    rig.checked(torrent);
    assert_eq!(rig.state(torrent), TorrentState::Downloading);
    rig.command(Command::StopTorrent(torrent));
    rig.command(Command::StartTorrent(torrent));
    assert_eq!(trusts(&mut rig), [], "nothing failed");
}

#[test]
fn a_check_asked_for_while_one_runs_begins_anew_and_the_old_answer_means_nothing() {
    let mut rig = Rig::new();
    let whole = metainfo("t", 3, 1);
    let torrent = rig.leech(&whole);
    rig.take();
    rig.command(Command::Recheck(torrent));
    rig.command(Command::Recheck(torrent));
    let checks = checks(&rig.take());
    let [first, second] = &checks[..] else {
        panic!("{checks:?}");
    };
    assert_eq!([first.trust, second.trust], [Trust::Nothing; 2]);
    let reason = "stale".to_owned();
    let (torrent_id, check) = (torrent, first.check);
    rig.input(Input::CheckFailed {
        torrent_id,
        check,
        reason,
    });
    let have = vec![0xe0];
    rig.input(Input::Checked {
        torrent_id,
        check,
        have,
    });
    assert_eq!(rig.state(torrent), TorrentState::Checking);
    // What the files were read for before does not disturb the check either.
    storage_fails(&mut rig, torrent);
    assert_eq!(rig.state(torrent), TorrentState::Checking);
    rig.checked(torrent);
    assert_eq!(rig.torrent(torrent).piece_have_count, 0);
}

#[test]
fn a_failed_torrent_that_is_verified_stays_failed_until_it_is_started() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 3, 1));
    storage_fails(&mut rig, torrent);
    rig.command(Command::Recheck(torrent));
    rig.checked(torrent);
    assert_eq!(rig.state(torrent), TorrentState::Failed);
    rig.take();
    rig.command(Command::StartTorrent(torrent));
    assert_eq!(trusts(&mut rig), [], "it was checked after it had failed");
    assert_eq!(rig.state(torrent), TorrentState::Downloading);
}

#[test]
fn a_torrent_removed_during_its_check_is_forgotten_and_may_come_back() {
    let mut rig = Rig::new();
    let (whole, adding) = placed("t", 3, "/d");
    add(&mut rig, &adding).unwrap();
    let old = checks(&rig.take()).remove(0);
    rig.command(Command::RemoveTorrent {
        torrent_id: whole.torrent_id(),
        delete_data: true,
    });
    let outputs = rig.take();
    let forget =
        |output: &Output| matches!(output, Output::Forget { delete_data, .. } if *delete_data);
    assert!(outputs.iter().any(forget));
    let (torrent_id, check) = (whole.torrent_id(), old.check);
    let have = vec![0xe0];
    add(&mut rig, &adding).unwrap();
    rig.input(Input::Checked {
        torrent_id,
        check,
        have,
    });
    assert_eq!(rig.state(whole.torrent_id()), TorrentState::Checking);
    rig.checked(whole.torrent_id());
    assert_eq!(rig.state(whole.torrent_id()), TorrentState::Downloading);
}

#[test]
fn every_verified_piece_is_to_be_remembered() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 3, 1));
    let seed = rig.join_seed(torrent, 1);
    rig.answer_all(seed, true);
    rig.take();
    rig.hash_one();
    let remembers = |output: &&Output| matches!(output, Output::RememberPieces(_));
    assert_eq!(rig.take().iter().filter(remembers).count(), 1);
}

/// N8: such torrents both seeded, one of them wrong bytes.
#[test]
fn a_torrent_whose_file_belongs_to_another_is_refused_by_name() {
    let mut rig = Rig::new();
    let (first, adding) = placed("t", 3, "/d");
    add(&mut rig, &adding).unwrap();
    let (second, other) = placed("t", 4, "/d");
    rig.take();
    let refused = AddError::SameFiles {
        path: PathBuf::from("/d/t"),
        other: first.torrent_id(),
        name: "t".to_owned(),
    };
    assert_eq!(add(&mut rig, &other), Err(refused.into()));
    assert!(rig.take().is_empty(), "nothing was changed");
    assert_eq!(rig.session.torrent(&second.torrent_id()), None);
    let (_, elsewhere) = placed("t", 4, "/e");
    add(&mut rig, &elsewhere).unwrap();
    rig.command(Command::RemoveTorrent {
        torrent_id: first.torrent_id(),
        delete_data: false,
    });
    let (_, third) = placed("t", 5, "/d");
    add(&mut rig, &third).unwrap();
}

#[test]
fn a_restored_torrent_whose_file_belongs_to_another_fails_and_recovers_when_that_is_gone() {
    let mut rig = Rig::new();
    let (first, adding) = placed("t", 3, "/d");
    let (second, other) = placed("t", 4, "/d");
    for add in [adding, other] {
        rig.command(Command::RestoreTorrent(Box::new(add)));
    }
    let (first, second) = (first.torrent_id(), second.torrent_id());
    assert_eq!(rig.state(second), TorrentState::Failed);
    let error = rig.torrent(second).error.unwrap();
    assert!(error.contains(&first.to_string()), "{error}");
    for command in [Command::StartTorrent(second), Command::Recheck(second)] {
        rig.command(command);
        assert_eq!(rig.state(second), TorrentState::Failed);
    }
    rig.command(Command::RemoveTorrent {
        torrent_id: first,
        delete_data: false,
    });
    rig.command(Command::StartTorrent(second));
    assert_eq!(rig.state(second), TorrentState::Checking);
}

#[test]
fn the_peers_of_a_link_are_remembered_with_its_metainfo() {
    let mut rig = Rig::new();
    let whole = metainfo("t", 3, 1);
    let mut adding = adding(&whole);
    let mut source = super::magnets::magnet(whole.info_hash);
    let peer = "8.8.8.8:7000".parse().unwrap();
    if let TorrentSource::Magnet(magnet) = &mut source {
        magnet.peers.push(peer);
    }
    adding.source = source;
    add(&mut rig, &adding).unwrap();
    let torrent = whole.torrent_id();
    let source = rig.join(torrent, Remote::modern(1));
    super::magnets::give_all(&mut rig, source, &whole);
    let record = record(&rig, torrent);
    assert_eq!(record.peers, [peer]);
    let metainfo = TorrentSource::Metainfo(std::sync::Arc::new(whole));
    assert_eq!(record.source, metainfo);
}

#[test]
fn a_magnet_whose_files_turn_out_to_belong_to_another_fails() {
    let mut rig = Rig::new();
    let (first, adding) = placed("t", 3, "/d");
    add(&mut rig, &adding).unwrap();
    let (second, mut other) = placed("t", 4, "/d");
    other.source = super::magnets::magnet(second.info_hash);
    add(&mut rig, &other).unwrap();
    rig.take();
    let source = rig.join(second.torrent_id(), Remote::modern(1));
    super::magnets::give_all(&mut rig, source, &second);
    assert_eq!(rig.state(second.torrent_id()), TorrentState::Failed);
    let error = rig.torrent(second.torrent_id()).error.unwrap();
    assert!(error.contains(&first.info_hash.to_string()), "{error}");
    assert!(checks(&rig.take()).is_empty(), "nothing is looked at");
}

/// What was put on record of totals since the last look.
fn totals(rig: &mut Rig) -> Vec<TorrentTotals> {
    let outputs = rig.take();
    let totals = outputs.iter().filter_map(|output| match output {
        Output::RememberTotals { totals, .. } => Some(*totals),
        _ => None,
    });
    totals.collect()
}

#[test]
fn what_a_torrent_came_to_is_on_record_within_a_minute_and_goes_on_from_there() {
    let mut rig = Rig::new();
    let whole = metainfo("t", 3, 1);
    let mut restored = adding(&whole);
    let earlier = TorrentTotals {
        uploaded: Bytes::new(7),
        downloaded: Bytes::new(5),
        wasted: Bytes::new(1),
    };
    restored.totals = earlier;
    rig.know(&whole, &[0, 1, 2]);
    rig.plane
        .records
        .insert(whole.torrent_id(), restored.clone());
    rig.command(Command::RestoreTorrent(Box::new(restored)));
    let torrent = whole.torrent_id();
    rig.checked(torrent);
    assert_eq!(rig.torrent(torrent).uploaded, Bytes::new(7));
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    rig.says(peer, [request(0, 0)]);
    rig.send_all(peer);
    let len = u64::from(block(0, 0).len);
    assert!(totals(&mut rig).is_empty(), "not at once");
    rig.advance(secs(55));
    let now = TorrentTotals {
        uploaded: Bytes::new(7 + len),
        ..earlier
    };
    assert_eq!(totals(&mut rig), [now]);
    assert_eq!(rig.torrent(torrent).uploaded, now.uploaded);
    rig.advance(secs(120));
    assert!(totals(&mut rig).is_empty(), "nothing is new");
    rig.says(peer, [request(1, 0)]);
    rig.send_all(peer);
    rig.command(Command::Shutdown);
    let all = totals(&mut rig);
    assert_eq!(all.len(), 1, "the end does not wait: {all:?}");
    assert_eq!(all[0].uploaded, Bytes::new(7 + 2 * len));
    assert!(record(&rig, torrent).start, "a shutdown is no stop");
}

#[test]
fn a_removed_torrent_says_what_it_came_to_before_it_goes() {
    let mut rig = Rig::new();
    let whole = metainfo("t", 3, 1);
    let torrent = rig.seed(&whole);
    let peer = rig.join_leecher(torrent, Remote::modern(1));
    rig.says(peer, [request(0, 0)]);
    rig.send_all(peer);
    rig.take();
    rig.command(Command::RemoveTorrent {
        torrent_id: torrent,
        delete_data: false,
    });
    let outputs = rig.take();
    let at = |wanted: fn(&Output) -> bool| outputs.iter().position(wanted);
    let said = at(|output| matches!(output, Output::RememberTotals { .. })).unwrap();
    let gone = at(|output| matches!(output, Output::Forget { .. })).unwrap();
    assert!(said < gone);
}
