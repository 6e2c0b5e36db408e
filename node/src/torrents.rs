//! The torrents room: which torrents a node has, and how one comes, is checked, and goes.
//!
//! Transfers are the session's; payload on disk is left to `disk.rs`. Read `lifecycle.rs` first;
//! `registry.rs` remembers torrents across restarts, `create.rs` makes new ones of files.

pub mod create;
mod lifecycle;
pub(crate) mod registry;

pub(crate) use lifecycle::Torrents;
pub use lifecycle::{AddError, AddRequest, AddSource, Added, CheckStep, Checking, TORRENTS_MAX};
