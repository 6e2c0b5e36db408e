//! Standard output and error that nobody reads or that take nothing: no reason to fail.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use crate::process::{
    Daemon, RUN, announced, break_protocol, leave_torrent, seedbankd, seedbankd_after,
};

/// Logged when all is up.
const STARTED: &str = r#""message":"started""#;

/// A pipe whose reader has gone away.
fn closed_pipe() -> Stdio {
    let (_reader, writer) = std::io::pipe().unwrap();
    writer.into()
}

/// A disk without a byte to spare.
fn full_disk() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// A stranger breaks the protocol, twice, and the daemon still leaves in peace when asked to.
fn serves_and_leaves(folder: &Path, command: Command) {
    let info_hash = leave_torrent(folder);
    let mut daemon = Daemon::spawn(command);
    let addr = daemon.peer_addr();
    break_protocol(addr, info_hash);
    break_protocol(addr, info_hash);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.left().code(), Some(0));
}

/// Says nothing before a stranger calls, so that it is a write in full service that fails.
const QUIET: &str = "--log=seedbank_node::driver=info";

#[test]
fn a_stranger_that_breaks_the_protocol_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let info_hash = leave_torrent(folder.path());
    let mut command = seedbankd(folder.path(), &RUN);
    let (out, said) = std::io::pipe().unwrap();
    command.arg(QUIET).stdout(said);
    let mut daemon = Daemon::spawn_logging(command);
    break_protocol(announced(out), info_hash);
    daemon.said("peer misbehaved");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.left().code(), Some(0));
}

#[test]
fn n2_a_stranger_that_goes_on_breaking_the_protocol_fills_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let info_hash = leave_torrent(folder.path());
    let log = folder.path().join("log");
    let mut command = seedbankd(folder.path(), &RUN);
    command.arg(QUIET).stderr(File::create(&log).unwrap());
    let begin = Instant::now();
    let mut daemon = Daemon::spawn(command);
    let addr = daemon.peer_addr();
    for _ in 0..40 {
        break_protocol(addr, info_hash);
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.left().code(), Some(0));
    let minutes = usize::try_from(1 + begin.elapsed().as_secs() / 60).unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines = |words: &str| text.lines().filter(|line| line.contains(words)).count();
    let told = lines("misbehaved") - lines("so many more");
    assert!((3..=3 * minutes).contains(&told), "{text}");
    assert!(lines("so many more") >= 1, "{text}");
}

#[test]
fn a_daemon_outlives_a_log_on_a_full_disk() {
    for filter in [QUIET, "--log=trace"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = seedbankd(folder.path(), &RUN);
        command.arg(filter).stderr(full_disk());
        serves_and_leaves(folder.path(), command);
    }
}

#[test]
fn a_daemon_outlives_the_reader_of_its_log() {
    for format in ["--log-format=text", "--log-format=json"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = seedbankd(folder.path(), &RUN);
        command.args([QUIET, format]).stderr(closed_pipe());
        serves_and_leaves(folder.path(), command);
    }
}

#[test]
fn a_daemon_needs_no_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let command = seedbankd_after("exec 2>&-", folder.path(), &RUN);
    serves_and_leaves(folder.path(), command);
}

#[test]
fn a_daemon_needs_no_standard_output() {
    for out in [closed_pipe, full_disk] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = seedbankd(folder.path(), &RUN);
        command.stdout(out());
        let mut daemon = Daemon::spawn_logging(command);
        daemon.said(STARTED);
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.left().code(), Some(0));
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = seedbankd(folder.path(), &["config", "show"]);
    let ended = command.stdout(closed_pipe()).stderr(Stdio::piped());
    let ended = ended.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = seedbankd(folder.path(), &["config", "show"]);
    let ended = command.stdout(full_disk()).stderr(Stdio::piped());
    let ended = ended.spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.starts_with("seedbankd: "), "{said}");
    assert_eq!(ended.status.code(), Some(1));
}

#[test]
fn a_complaint_that_cannot_be_written_changes_no_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for (args, code) in [(["key", "show"], 5), (["no-such", "command"], 2)] {
        for stderr in [closed_pipe, full_disk] {
            let mut command = seedbankd(folder.path(), &args);
            let status = command.stderr(stderr()).status().unwrap();
            assert_eq!(status.code(), Some(code));
        }
    }
}
