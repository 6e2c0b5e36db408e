//! Metainfo: what a torrent is (BEP 3, 12, 27, 47).
//!
//! A torrent file is somebody else's word: `parse` checks it once, and what comes out is safe to
//! open files by. Hybrid torrents (BEP 52) are read as version 1, once both halves agree. `build`
//! makes new ones.

pub mod build;
mod distinct;
mod hybrid;
mod listing;
mod parse;
mod path;

use sha1::{Digest as _, Sha1};

use crate::content::bencode::{DecodeError, Dict, Value};
use crate::units::{Geometry, InfoHash, TorrentId};

pub use hybrid::HybridError;
pub use path::PathError;

/// Most bytes of an `info` dictionary.
pub const INFO_LEN_MAX: u32 = 10 * 1024 * 1024;
/// Most bytes of a torrent file: what we write around the longest `info` dictionary, and more.
pub const TORRENT_LEN_MAX: u32 = INFO_LEN_MAX + 1024 * 1024;
/// Most pieces; 256 KiB of bitfield.
pub const PIECES_MAX: u32 = 2 * 1024 * 1024;
/// Most bytes in a piece.
pub const PIECE_LEN_MAX: u32 = 512 * 1024 * 1024;
/// Most bytes in a file, and in a torrent.
pub const TOTAL_LEN_MAX: u64 = 1 << 48;
/// Most components in a path below the torrent's folder.
pub const PATH_DEPTH_MAX: usize = 100;
/// Most bytes in a component: what the common file systems take. Longer names are cut.
pub const PATH_COMPONENT_MAX: usize = 255;
/// Most trackers over all tiers; more are left out.
pub const TRACKERS_MAX: usize = 256;
/// Most bytes in a tracker's URL; longer ones are left out.
pub const TRACKER_URL_MAX: usize = 2048;
/// Most characters in a comment or a maker's name; the rest is left out.
pub const TEXT_MAX: usize = 1024;

/// A torrent's description, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// SHA-1 of `info_bytes`.
    pub info_hash: InfoHash,
    /// The exact bytes of the `info` dictionary, as served to magnets (BEP 9).
    pub info_bytes: Vec<u8>,
    /// Name of the file, or of the folder that holds the files; one safe path component. A folder
    /// of whose name nothing is left is called like the info hash.
    pub name: String,
    /// The name as the torrent has it, in whatever encoding; `None` if that is `name`.
    pub name_original: Option<Vec<u8>>,
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
    /// The same for the same `info` dictionary, always: files and resume records go by it.
    ///
    /// Safe for Linux; names that Windows reserves are kept. No two files on disk have one path,
    /// not even where the case of ASCII letters does not count.
    pub path: Vec<String>,
    /// The path as the torrent has it, in whatever encoding; `None` if that is `path`, no
    /// components for a pad file that is listed without a path.
    pub original: Option<Vec<Vec<u8>>>,
    /// First byte in the torrent.
    pub offset: u64,
    /// Bytes; 0 owns no bytes and is created all the same.
    pub len: u64,
    /// A pad file (BEP 47, or known by the name that `BitComet` gives it): never on disk, reads as
    /// zeros.
    pub pad: bool,
}

/// Why a torrent cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// The file or its `info` dictionary is too long.
    #[error("torrent has {len} bytes, at most {max} allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Most allowed of the file, or of the dictionary.
        max: u32,
    },
    /// The `info` dictionary has too many values.
    #[error("torrent has {count} values, at most {max} allowed")]
    TooManyValues {
        /// Values found.
        count: usize,
        /// Most allowed.
        max: usize,
    },
    /// Not bencoded.
    #[error("torrent is not bencoded: {0}")]
    Bencode(#[from] DecodeError),
    /// The outermost value is no dictionary.
    #[error("torrent is no dictionary")]
    NotADictionary,
    /// A key is missing.
    #[error("torrent has no {0:?}")]
    Missing(&'static str),
    /// A value is of another type or out of range.
    #[error("torrent has a malformed {0:?}")]
    Malformed(&'static str),
    /// A version 2 torrent without a version 1 part (BEP 52).
    #[error("torrent is of version 2 only, which is not supported")]
    VersionTwoOnly,
    /// A hybrid torrent whose version 2 part describes another one (BEP 52).
    #[error("parts of version 1 and version 2 disagree: {0}")]
    Hybrid(#[from] HybridError),
    /// Both `length` and `files`.
    #[error("torrent has both \"length\" and \"files\"")]
    SingleAndMulti,
    /// No bytes at all.
    #[error("torrent has no bytes")]
    Empty,
    /// More bytes than a torrent may have.
    #[error("torrent has more than {TOTAL_LEN_MAX} bytes")]
    TotalTooLong,
    /// More pieces than a torrent may have.
    #[error("torrent has {count} pieces, at most {PIECES_MAX} allowed")]
    TooManyPieces {
        /// Pieces that the lengths ask for.
        count: u64,
    },
    /// Hashes and lengths disagree.
    #[error("torrent has {found} bytes of piece hashes, {expected} expected")]
    PieceHashes {
        /// Bytes found.
        found: usize,
        /// Bytes that the lengths ask for.
        expected: u64,
    },
    /// A name that must not become a path.
    #[error("path {path:?}: {error}")]
    Path {
        /// The path or component, bounded and printable.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// The `info` dictionary is not the one that was asked for.
    #[error("info dictionary hashes to {found}, {expected} expected")]
    InfoHash {
        /// What it hashes to.
        found: InfoHash,
        /// What was asked for.
        expected: InfoHash,
    },
}

impl Metainfo {
    /// What the torrent is called here.
    pub fn torrent_id(&self) -> TorrentId {
        self.info_hash.into()
    }

    /// Reads a torrent file. The info hash is over the exact bytes of its `info` dictionary.
    /// Whatever follows the outermost dictionary is left out, as libtorrent does.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetainfoError> {
        parse::torrent(bytes)
    }

    /// Reads an `info` dictionary that peers sent (BEP 9), after checking that it is the one named
    /// by `info_hash`. It has no trackers.
    pub fn from_info(info_bytes: &[u8], info_hash: InfoHash) -> Result<Self, MetainfoError> {
        let found = hash_of(info_bytes);
        if found != info_hash {
            let expected = info_hash;
            return Err(MetainfoError::InfoHash { found, expected });
        }
        parse::info(info_bytes)
    }

    /// The bytes of a torrent file; its `info` dictionary is `info_bytes`, verbatim.
    pub fn to_bytes(&self) -> Vec<u8> {
        let urls = |tier: &Vec<String>| -> Value {
            let urls = tier.iter().map(|url| Value::from(url.as_str()));
            urls.collect::<Vec<_>>().into()
        };
        let tiers = || self.trackers.iter().map(urls).collect::<Vec<_>>();
        let several = self.trackers.iter().flatten().nth(1).is_some();
        Dict::new()
            .with_some(
                "announce",
                self.trackers.iter().flatten().next().map(String::as_str),
            )
            .with_some("announce-list", several.then(tiers))
            .with_some("comment", self.comment.as_deref())
            .with_some("created by", self.created_by.as_deref())
            .with_some("creation date", self.creation_date)
            .with("info", Value::Raw(self.info_bytes.clone()))
            .encode()
    }
}

/// The info hash of an `info` dictionary.
pub fn hash_of(info_bytes: &[u8]) -> InfoHash {
    InfoHash(Sha1::digest(info_bytes).into())
}

#[cfg(test)]
mod tests;
