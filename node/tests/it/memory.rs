//! Memory by what is there, not by what a torrent says.

use std::path::Path;

use crate::process::{Daemon, RUN, leave_torrent_of, seedbankd};

/// Two pieces of 512 MiB.
const LEN: u64 = 1024 * 1024 * 1024;

/// The most memory that a daemon needs to check this torrent, in MiB.
fn checked(folder: &Path) -> u64 {
    leave_torrent_of(folder, LEN, 512 * 1024 * 1024, 2);
    let mut command = seedbankd(folder, &RUN);
    command.arg("--log=info");
    let daemon = Daemon::spawn_logging(command);
    // Once it knows what is missing.
    daemon.said("all buffers together");
    daemon.memory_max()
}

/// N9: 922 MiB, and twice 512 if the threads are there.
#[test]
fn the_longest_pieces_cost_no_memory_where_there_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let max = checked(folder.path());
    assert!(max < 100, "{max} MiB");
}

#[test]
fn the_longest_pieces_cost_no_memory_where_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("files")).unwrap();
    let file = std::fs::File::create(folder.path().join("files/file")).unwrap();
    file.set_len(LEN).unwrap();
    let max = checked(folder.path());
    assert!(max < 100, "{max} MiB");
}
