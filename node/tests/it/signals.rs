//! Signals that end a daemon, and the one that `nohup` takes out of use.

use std::process::Stdio;

use rustix::process::Signal;

use crate::process::{Daemon, RUN, seedbankd, seedbankd_after};

#[test]
fn each_signal_that_asks_for_an_end_gets_a_peaceful_one() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = seedbankd(folder.path(), &RUN);
        command.stderr(Stdio::null());
        let mut daemon = Daemon::spawn(command);
        daemon.peer_addr();
        daemon.signal(signal);
        assert_eq!(daemon.left().code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_hangup_that_nohup_ignores_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = seedbankd_after("trap '' HUP", folder.path(), &RUN);
    command.stderr(Stdio::null());
    let mut daemon = Daemon::spawn(command);
    daemon.peer_addr();
    assert!(daemon.ignores(Signal::HUP));
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.left().code(), Some(0));
}
