//! Whose files are: what this process makes is its user's alone, but for what it downloads.
//!
//! The ledger's store makes files without asking anybody for a mode, so the process's umask has to
//! say it. Downloads are made as the user's own umask says, which is remembered here.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::{Mode, fchmod};

/// Nothing for the group, nothing for others.
const PRIVATE: u32 = 0o077;

/// The umask that the user started us with, once it is changed.
static OF_USER: OnceLock<Mode> = OnceLock::new();

/// From now on, new files and folders are this user's alone.
pub(crate) fn keep_private() {
    let before = rustix::process::umask(Mode::from_raw_mode(PRIVATE));
    // Set before: a second call read our own.
    let _ = OF_USER.set(before);
}

/// Gives a file or folder that was just made `mode`, less what the user's umask takes.
pub(crate) fn share(made: impl AsFd, mode: u32) {
    if let Some(of_user) = OF_USER.get() {
        // A file system without modes shows what it likes to whom it likes.
        let _ = fchmod(made, Mode::from_raw_mode(mode).difference(*of_user));
    }
}
