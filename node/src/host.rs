//! The host room: what a daemon takes from its machine and its user.
//!
//! Settings, keys, clocks, log lines, the data folder and files that are never torn; nothing here
//! knows of torrents or peers, and no other room is named. What to do with all this is decided in
//! `daemon.rs` and `node.rs`. Read `config.rs` first, then `datadir.rs`; `founding.rs` makes the
//! files of a new network, `mark.rs` keeps what its ledger must not end before.

pub(crate) mod clock;
pub mod config;
pub mod datadir;
pub mod durable;
pub mod founding;
pub(crate) mod hex;
pub mod keys;
pub mod logs;
pub mod mark;
pub(crate) mod umask;
