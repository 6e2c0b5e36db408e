//! BitTorrent and the receipt protocol without sockets, clocks, disks or tasks.
//!
//! [`session`] is the whole of a node; everything else here is a part of it. Time is an argument,
//! randomness a seeded generator, output a returned value, payload never passes through.

#![warn(missing_docs)]

pub mod bencode;
pub mod bitfield;
pub mod choker;
pub mod limiter;
pub mod magnet;
pub mod metainfo;
pub mod picker;
pub mod pipeline;
pub mod rate;
pub mod receipts;
pub mod rng;
pub mod session;
pub mod text;
pub mod tracker;
pub mod units;
pub mod wallet;
pub mod wire;
