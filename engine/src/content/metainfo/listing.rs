//! The files that an `info` dictionary lists, and the names that they get.

use crate::content::bencode::Element;
use crate::content::metainfo::{FileEntry, MetainfoError, TOTAL_LEN_MAX, path};

/// What `BitComet` calls its pad files, which have no attribute.
const PAD_NAME: &str = "_____padding_file_";
/// Where pad files lie whose path is not listed, were they made.
const PAD_FOLDER: &str = ".pad";

type Result<T> = std::result::Result<T, MetainfoError>;

/// One listed file.
#[derive(Clone, Debug)]
pub(super) struct Listed<'a> {
    /// Components as they are listed; none for a pad file without a path.
    pub(super) names: Vec<&'a [u8]>,
    /// Components that are safe to open.
    pub(super) path: Vec<String>,
    /// First byte in the torrent.
    pub(super) offset: u64,
    /// Bytes; a symlink has none.
    pub(super) len: u64,
    /// A pad file (BEP 47), or one as `BitComet` makes them.
    pub(super) pad: bool,
    /// A symlink (BEP 47). It is not made, which is the one way it can lead nowhere; its name is
    /// taken all the same, as it is where others make it.
    pub(super) symlink: bool,
}

impl Listed<'_> {
    /// Where the file ends in the torrent.
    pub(super) const fn end(&self) -> u64 {
        self.offset + self.len
    }

    fn into_entry(self) -> FileEntry {
        let unchanged = self
            .path
            .iter()
            .map(String::as_bytes)
            .eq(self.names.iter().copied());
        let original = || self.names.iter().map(|name| name.to_vec()).collect();
        FileEntry {
            original: (!unchanged).then(original),
            path: self.path,
            offset: self.offset,
            len: self.len,
            pad: self.pad,
        }
    }
}

/// The one file of a torrent without a list, which is called like the torrent.
pub(super) fn single<'a>(listed: &'a [u8], name: &str, len: Element<'_>) -> Result<Listed<'a>> {
    Ok(Listed {
        names: vec![listed],
        path: vec![name.to_owned()],
        offset: 0,
        len: file_len(len)?,
        pad: false,
        symlink: false,
    })
}

/// Reads `files`. Two files may still have one path.
pub(super) fn files<'a>(list: Element<'a>) -> Result<Vec<Listed<'a>>> {
    let items = list.items().ok_or(MetainfoError::Malformed("files"))?;
    let mut files: Vec<Listed<'_>> = Vec::new();
    let mut offset = 0_u64;
    for item in items {
        let attr = item.get("attr").and_then(|attr| attr.as_bytes());
        let has = |flag| attr.is_some_and(|attr| attr.contains(&flag));
        let (pad, symlink) = (has(b'p'), has(b'l'));
        let names = match names(item, pad) {
            Err(_) if symlink => continue,
            names => names?,
        };
        let len = match (symlink, item.get("length")) {
            (true, _) => 0,
            (false, Some(len)) => file_len(len)?,
            (false, None) => return Err(MetainfoError::Missing("length")),
        };
        let path = match names.is_empty() {
            true => vec![PAD_FOLDER.to_owned(), len.to_string()],
            false => names
                .iter()
                .map(|name| path::component_or_underscore(name))
                .collect(),
        };
        let is_pad_by_name = || path.iter().any(|name| name.contains(PAD_NAME));
        files.push(Listed {
            pad: pad || is_pad_by_name(),
            names,
            path,
            offset,
            len,
            symlink,
        });
        offset = offset
            .checked_add(len)
            .filter(|total| *total <= TOTAL_LEN_MAX)
            .ok_or(MetainfoError::TotalTooLong)?;
    }
    Ok(files)
}

/// The files that are made.
pub(super) fn entries(files: Vec<Listed<'_>>) -> Vec<FileEntry> {
    let made = files.into_iter().filter(|file| !file.symlink);
    made.map(Listed::into_entry).collect()
}

/// The components of a path, the UTF-8 ones first. Only a pad file may have none.
fn names(item: Element<'_>, pad: bool) -> Result<Vec<&[u8]>> {
    let keys = ["path.utf-8", "path"];
    let Some(list) = keys.into_iter().find_map(|key| item.get(key)?.items()) else {
        return match (pad, item.get("path")) {
            (true, _) => Ok(Vec::new()),
            (false, Some(_)) => Err(MetainfoError::Malformed("path")),
            (false, None) => Err(MetainfoError::Missing("path")),
        };
    };
    let names: Option<Vec<&[u8]>> = list.map(|name| name.as_bytes()).collect();
    let names = names.ok_or(MetainfoError::Malformed("path"))?;
    if !(pad && names.is_empty()) {
        path::check_depth(&names)?;
    }
    Ok(names)
}

fn file_len(len: Element<'_>) -> Result<u64> {
    let len = len.as_u64().ok_or(MetainfoError::Malformed("length"))?;
    if len > TOTAL_LEN_MAX {
        return Err(MetainfoError::TotalTooLong);
    }
    Ok(len)
}
