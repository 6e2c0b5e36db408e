//! The harness of the tests across crates: a private network, real clients, trackers and content.
//!
//! A scenario runs in a network [`namespace`] of its own, in which every client has an address.
//! Nothing here decides what is right; the tests in `tests/it` do.

pub mod repository;
