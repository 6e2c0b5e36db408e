//! BitTorrent and the receipt protocol without sockets, clocks, disks or tasks.
//!
//! [`session`] is the whole of a node; every other room is a part of it and knows nothing of it.
//! [`interface`] says what goes in and comes out. Time is an argument, randomness a seeded
//! generator, output a returned value, payload never passes through.

#![warn(missing_docs)]

pub mod asked;
pub mod content;
pub mod credit;
pub mod discovery;
pub mod interface;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod rate;
pub mod rng;
mod secret;
pub mod session;
pub mod spare;
pub mod text;
pub mod transfer;
pub mod units;
pub mod wire;
