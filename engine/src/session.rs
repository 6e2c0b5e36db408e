//! A node's whole BitTorrent and receipt state, driven by events: `handle(input, now)`, then
//! `poll_output()` until it is empty, then the next input; `next_timeout()` says when to come back.

pub mod command;
pub mod config;
pub mod event;
pub mod input;
pub mod output;
pub mod settlement;
pub mod view;
