//! The torrents room: which torrents a node has on record, and how their files are checked.
//!
//! What becomes of a torrent is decided by the session, and so are transfers; payload on disk is
//! left to `disk.rs`. Read `lifecycle.rs` first; `checking.rs` carries out checks, `registry.rs`
//! remembers torrents across restarts, `watching.rs` looks whether their files are still there,
//! `create.rs` makes new ones of files.

mod checking;
pub mod create;
mod lifecycle;
pub(crate) mod registry;
mod watching;

pub use checking::{CheckHandle, CheckStep};
pub(crate) use lifecycle::Torrents;
