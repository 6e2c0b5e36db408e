//! The harness of the tests across crates: a private network, real clients, trackers and content.
//!
//! A scenario runs in a network [`namespace`] of its own, in which every client has an address:
//! [`net::Net`] hands them out. [`client`] drives real clients, [`content`] and [`torrent`] make
//! what they exchange, [`tracker`] introduces them. The harness observes; the tests judge.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says what it saw"
)]

pub mod bencode;
pub mod client;
pub mod community;
pub mod content;
pub mod daemon;
pub mod http;
pub mod limits;
pub mod link;
pub mod member;
pub mod namespace;
pub mod net;
pub mod poll;
pub mod process;
pub mod raw_peer;
pub mod receipt_peer;
pub mod repository;
pub mod torrent;
pub mod tracker;
