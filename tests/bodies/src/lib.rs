//! What must hold of every parser that reads what others wrote, as functions of bytes.
//!
//! A body hands any bytes to one parser and panics unless what comes out keeps its promises: it is
//! written back to the same bytes, or to bytes that are read as the same; it is within its bounds;
//! nothing that nobody signed is believed. `tests/it.rs` gives every body its seeds and mutations
//! of them, `tests/fuzz` gives them to libFuzzer and counts their memory.

#![warn(missing_docs)]

mod books;
#[cfg(feature = "node")]
mod config;
mod content;
mod names;
mod seeds;
mod settlement;
mod signed;
mod tracker;
mod vectors;
mod wire;

/// A parser, and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, also as a program.
    pub name: &'static str,
    /// Panics if a promise is broken; whether the bytes were accepted as what they should be.
    pub body: fn(&[u8]) -> bool,
    /// Inputs to begin with. Some are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Most bytes of an input that is worth trying.
    pub len_max: usize,
    /// Bytes of memory that the body may hold at once for each byte of its input, beside
    /// [`MEMORY_MIN`].
    pub memory: usize,
}

/// Bytes of memory that any body may hold, whatever its input.
pub const MEMORY_MIN: usize = 256 * 1024;

/// Every target.
pub const TARGETS: &[Target] = &[
    target("bencode", content::bencode, seeds::bencode, 4096, 400),
    target("metainfo", content::metainfo, seeds::metainfo, 8192, 600),
    target("names", names::names, seeds::names, 4096, 600),
    target("magnet", content::magnet, seeds::magnet, 4096, 60),
    target("handshake", wire::handshake, seeds::handshake, 128, 10),
    target("message", wire::message, seeds::message, 4096, 600),
    target("extended", wire::extended, seeds::extended, 2048, 400),
    target("receipt", wire::receipt, seeds::receipt, 8192, 400),
    target("http", tracker::http, seeds::http, 4096, 400),
    target("udp", tracker::udp, seeds::udp, 2048, 100),
    target("url", tracker::url, seeds::url, 2048, 60),
    target("signed", signed::signed, seeds::signed, 512, 100),
    target("settlement", settlement::link, seeds::link, 4096, 100),
    target(
        "statement",
        settlement::statement,
        seeds::statement,
        1024,
        400,
    ),
    target("books", books::books, seeds::books, 4096, 100),
    target("genesis", books::genesis, seeds::genesis, 4096, 600),
    #[cfg(feature = "node")]
    target("config", config::config, seeds::config, 4096, 600),
];

/// The target of that name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn named(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no target is called {name:?}"))
}

const fn target(
    name: &'static str,
    body: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
    len_max: usize,
    memory: usize,
) -> Target {
    Target {
        name,
        body,
        seeds,
        len_max,
        memory,
    }
}

/// A number below `bound` that follows from the bytes alone; 0 if `bound` is.
fn drawn(bytes: &[u8], bound: usize) -> usize {
    let mix = |hash: usize, byte: &u8| (hash ^ usize::from(*byte)).wrapping_mul(0x0100_01b3);
    let hash = bytes.iter().fold(0x811c_9dc5, mix);
    hash.checked_rem(bound).unwrap_or(0)
}
