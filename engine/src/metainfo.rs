//! Metainfo: what a torrent is (BEP 3, 12, 27, 47).

use crate::units::{Geometry, InfoHash};

/// Most bytes of an `info` dictionary, and of a torrent file.
pub const INFO_LEN_MAX: u32 = 10 * 1024 * 1024;

/// A torrent's description, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// SHA-1 of `info_bytes`.
    pub info_hash: InfoHash,
    /// The exact bytes of the `info` dictionary, as served to magnets (BEP 9).
    pub info_bytes: Vec<u8>,
    /// Name of the file, or of the folder that holds the files; one safe path component.
    pub name: String,
    /// Lengths.
    pub geometry: Geometry,
    /// SHA-1 of every piece, in order.
    pub piece_hashes: Vec<[u8; 20]>,
    /// Files in order, without gaps: together they are exactly `geometry.total_len()` bytes.
    pub files: Vec<FileEntry>,
    /// Whether `files` lie inside a folder called `name`; false for a single file called `name`.
    pub multi_file: bool,
    /// Tracker tiers (BEP 12), or one tier with `announce`.
    pub trackers: Vec<Vec<String>>,
    /// No peers but from its trackers (BEP 27).
    pub private: bool,
    /// Text for people.
    pub comment: Option<String>,
    /// Made by.
    pub created_by: Option<String>,
    /// Made when, in Unix seconds.
    pub creation_date: Option<u64>,
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Safe path components below the folder; one component, the torrent's name, if single-file.
    pub path: Vec<String>,
    /// First byte in the torrent.
    pub offset: u64,
    /// Bytes; 0 owns no bytes and is created all the same.
    pub len: u64,
    /// A pad file (BEP 47): never on disk, reads as zeros.
    pub pad: bool,
}
