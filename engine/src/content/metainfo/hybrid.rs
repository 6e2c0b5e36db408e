//! Whether the two halves of a hybrid torrent (BEP 52) are one torrent.
//!
//! Only the version 1 half is used. Where the other one lists other files, peers of the two
//! versions would call different bytes by one name; so libtorrent refuses such a torrent, and by
//! its rules: files with bytes must agree in place, path, length and offset, the rest in number.

use crate::content::bencode::{Element, Entries};
use crate::content::metainfo::PATH_DEPTH_MAX;
use crate::content::metainfo::listing::Listed;
use crate::content::metainfo::path;

/// Shortest piece of version 2.
const PIECE_LEN_MIN: u32 = 16 * 1024;

/// Why the two halves of a hybrid torrent are not one torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HybridError {
    /// `meta version` is none that is known.
    #[error("meta version {0} is not known")]
    Version(i64),
    /// A file tree, and no `meta version`.
    #[error("there is a file tree without \"meta version\" 2")]
    NoVersion,
    /// `meta version` 2, and no file tree.
    #[error("there is no file tree")]
    NoTree,
    /// A length of pieces that version 2 does not have.
    #[error("pieces of {0} bytes are no power of two from {PIECE_LEN_MIN} on")]
    PieceLen(u32),
    /// Something in the file tree is no file and no folder.
    #[error("file tree is malformed at {path:?}")]
    Malformed {
        /// Where, bounded and printable.
        path: String,
    },
    /// Not the same number of files, pad files among them.
    #[error("{listed} files are listed, {tree} belong to the file tree")]
    Count {
        /// Files of version 1.
        listed: usize,
        /// Files of version 2, and the pad files that their order asks for.
        tree: usize,
    },
    /// Two files at the same place that differ.
    #[error("file {index} is {listed} in the list and {tree} in the file tree")]
    File {
        /// Its place, from 0 on.
        index: usize,
        /// What version 1 has there, for people.
        listed: String,
        /// What version 2 has there, for people.
        tree: String,
    },
    /// Not the same number of bytes, pad files among them.
    #[error("{listed} bytes are listed, {tree} belong to the file tree")]
    Length {
        /// Bytes of version 1.
        listed: u64,
        /// Bytes of version 2.
        tree: u64,
    },
}

/// Checks a torrent's list of files against its file tree, if it has one.
pub(super) fn check(
    info: Element<'_>,
    listed: &[Listed<'_>],
    piece_len: u32,
) -> Result<(), HybridError> {
    let version = info.get("meta version").and_then(|number| number.as_i64());
    let tree = info
        .get("file tree")
        .filter(|tree| tree.entries().is_some());
    let tree = match (version.unwrap_or(1), tree) {
        (..=1, None) => return Ok(()),
        (..=1, Some(_)) => return Err(HybridError::NoVersion),
        (2, None) => return Err(HybridError::NoTree),
        (2, Some(tree)) => tree,
        (version @ 3.., _) => return Err(HybridError::Version(version)),
    };
    if !piece_len.is_power_of_two() || piece_len < PIECE_LEN_MIN {
        return Err(HybridError::PieceLen(piece_len));
    }
    let mut comparison = Comparison {
        listed,
        piece_len: u64::from(piece_len),
        count: 0,
        end: 0,
        tail_pad: None,
    };
    comparison.walk(tree)?;
    comparison.finish()
}

/// A walk through a file tree, beside the list. It keeps no paths: a tree shares what is above its
/// files, so written out they can be a thousand times its size.
#[derive(Debug)]
struct Comparison<'a> {
    listed: &'a [Listed<'a>],
    piece_len: u64,
    /// Files of the tree so far, pad files among them.
    count: usize,
    /// Where the last one ends.
    end: u64,
    /// Length of the last one with bytes, if that is a pad file.
    tail_pad: Option<u64>,
}

impl Comparison<'_> {
    fn walk(&mut self, tree: Element<'_>) -> Result<(), HybridError> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut open: Vec<Entries<'_>> = tree.entries().into_iter().collect();
        while let Some(entries) = open.last_mut() {
            let Some((name, entry)) = entries.next() else {
                open.pop();
                names.pop();
                continue;
            };
            names.push(name);
            let malformed = || HybridError::Malformed {
                path: path::shown(&names),
            };
            let below = entry.entries().filter(|_| !name.is_empty());
            let below = below.ok_or_else(malformed)?;
            match leaf(below.clone()) {
                Some(file) => {
                    self.file(&names, len_of(file).ok_or_else(malformed)?)?;
                    names.pop();
                }
                None if names.len() > PATH_DEPTH_MAX => return Err(malformed()),
                None => open.push(below),
            }
        }
        Ok(())
    }

    /// Compares a file, and what pads it to the end of a piece.
    fn file(&mut self, names: &[&[u8]], len: u64) -> Result<(), HybridError> {
        self.place(Some(names), len)?;
        match self.end % self.piece_len {
            0 => Ok(()),
            rest => self.place(None, self.piece_len - rest),
        }
    }

    /// Compares a file of the tree, a pad file if it has no names, with what is listed there.
    fn place(&mut self, names: Option<&[&[u8]]>, len: u64) -> Result<(), HybridError> {
        let listed = self.listed.get(self.count);
        let same = match names.filter(|_| len > 0) {
            Some(names) => listed.is_some_and(|file| {
                let path = names.iter().map(|name| path::component_or_underscore(name));
                has_content(file)
                    && (file.offset, file.len) == (self.end, len)
                    && path.eq(file.path.iter().cloned())
            }),
            None => !listed.is_some_and(has_content),
        };
        if !same {
            return Err(HybridError::File {
                index: self.count,
                listed: listed.map_or_else(|| "nothing".to_owned(), shown),
                tree: describe(names, len, self.end),
            });
        }
        if len > 0 {
            self.tail_pad = names.is_none().then_some(len);
        }
        self.count += 1;
        // What has bytes agreed with the list, which is bounded, and padding is a piece at most.
        self.end += len;
        Ok(())
    }

    fn finish(self) -> Result<(), HybridError> {
        let (mut count, mut end) = (self.count, self.end);
        // A list may leave out what pads its last file.
        if let Some(pad) = self.tail_pad.filter(|_| count == self.listed.len() + 1) {
            (count, end) = (count - 1, end - pad);
        }
        if count != self.listed.len() {
            return Err(HybridError::Count {
                listed: self.listed.len(),
                tree: count,
            });
        }
        let listed = self.listed.last().map_or(0, Listed::end);
        if listed != end {
            return Err(HybridError::Length { listed, tree: end });
        }
        Ok(())
    }
}

/// Whether it matters where a file lies and what it is called.
const fn has_content(file: &Listed<'_>) -> bool {
    !file.pad && file.len > 0
}

fn shown(file: &Listed<'_>) -> String {
    let names: Vec<&[u8]> = file.path.iter().map(String::as_bytes).collect();
    describe((!file.pad).then_some(&names), file.len, file.offset)
}

fn describe(names: Option<&[&[u8]]>, len: u64, offset: u64) -> String {
    match names {
        Some(names) => format!("{:?} of {len} bytes at byte {offset}", path::shown(names)),
        None => format!("padding of {len} bytes"),
    }
}

/// A file, which is the only thing in a folder and has no name there.
fn leaf(mut below: Entries<'_>) -> Option<Element<'_>> {
    let (name, file) = below.next()?;
    (name.is_empty() && below.next().is_none()).then_some(file)
}

/// A file's length, 0 for a symlink; `None` if it is no file of version 2.
fn len_of(file: Element<'_>) -> Option<u64> {
    file.entries()?;
    let attr = file.get("attr").and_then(|attr| attr.as_bytes());
    let has = |flag| attr.is_some_and(|attr| attr.contains(&flag));
    if has(b'p') {
        return None;
    }
    if has(b'l') {
        return Some(0);
    }
    let len = file.get("length")?.as_u64()?;
    let root = || file.get("pieces root")?.as_array::<32>();
    (len == 0 || root().is_some_and(|root| root != [0; 32])).then_some(len)
}
