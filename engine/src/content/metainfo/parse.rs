//! Reads torrent files and `info` dictionaries.

use crate::content::bencode::{self, DecodeLimits, Element};
use crate::content::metainfo::{
    FileEntry, INFO_LEN_MAX, Metainfo, MetainfoError, PIECE_LEN_MAX, PIECES_MAX, TEXT_MAX,
    TOTAL_LEN_MAX, TRACKER_URL_MAX, TRACKERS_MAX, hash_of, path,
};
use crate::text::printable;
use crate::units::Geometry;

type Result<T> = std::result::Result<T, MetainfoError>;

pub(super) fn torrent(bytes: &[u8]) -> Result<Metainfo> {
    check_len(bytes)?;
    // What follows the dictionary is nobody's: editors leave a newline there, and others take it.
    let document = bencode::decode_prefix(bytes, &DecodeLimits::METAINFO)?;
    let root = document.root();
    if root.entries().is_none() {
        return Err(MetainfoError::NotADictionary);
    }
    let info = root.get("info").ok_or(MetainfoError::Missing("info"))?;
    let text = |keys: [&str; 2]| {
        let bytes = keys.iter().find_map(|key| root.get(key)?.as_bytes())?;
        Some(printable(bytes, TEXT_MAX)).filter(|text| !text.is_empty())
    };
    Ok(Metainfo {
        trackers: trackers(root),
        comment: text(["comment.utf-8", "comment"]),
        created_by: text(["created by.utf-8", "created by"]),
        creation_date: root.get("creation date").and_then(|date| date.as_u64()),
        ..info_node(info)?
    })
}

pub(super) fn info(bytes: &[u8]) -> Result<Metainfo> {
    check_len(bytes)?;
    let document = bencode::decode(bytes, &DecodeLimits::METAINFO)?;
    info_node(document.root())
}

fn check_len(bytes: &[u8]) -> Result<()> {
    match u32::try_from(bytes.len()) {
        Ok(..=INFO_LEN_MAX) => Ok(()),
        _ => Err(MetainfoError::TooLong { len: bytes.len() }),
    }
}

fn info_node(info: Element<'_>) -> Result<Metainfo> {
    if info.entries().is_none() {
        return Err(MetainfoError::Malformed("info"));
    }
    let Some(hashes) = info.get("pieces") else {
        return Err(match info.get("meta version") {
            Some(_) => MetainfoError::VersionTwoOnly,
            None => MetainfoError::Missing("pieces"),
        });
    };
    let hashes = hashes
        .as_bytes()
        .ok_or(MetainfoError::Malformed("pieces"))?;
    let name = name(info)?;
    let (files, multi_file) = match (info.get("files"), info.get("length")) {
        (Some(_), Some(_)) => return Err(MetainfoError::SingleAndMulti),
        (Some(list), None) => (files(list)?, true),
        (None, Some(len)) => (vec![single_file(&name, len)?], false),
        (None, None) => return Err(MetainfoError::Missing("length")),
    };
    let geometry = geometry(info, &files)?;
    Ok(Metainfo {
        info_hash: hash_of(info.raw()),
        info_bytes: info.raw().to_vec(),
        name,
        geometry,
        piece_hashes: piece_hashes(hashes, &geometry)?,
        files,
        multi_file,
        trackers: Vec::new(),
        private: info.get("private").and_then(|flag| flag.as_i64()) == Some(1),
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

fn name(info: Element<'_>) -> Result<String> {
    let name = info.get("name.utf-8").or(info.get("name"));
    let name = name.ok_or(MetainfoError::Missing("name"))?;
    path::component(name.as_bytes().ok_or(MetainfoError::Malformed("name"))?)
}

fn single_file(name: &str, len: Element<'_>) -> Result<FileEntry> {
    Ok(FileEntry {
        path: vec![name.to_owned()],
        offset: 0,
        len: file_len(len)?,
        pad: false,
    })
}

fn files(list: Element<'_>) -> Result<Vec<FileEntry>> {
    let items = list.items().ok_or(MetainfoError::Malformed("files"))?;
    let mut files: Vec<FileEntry> = Vec::new();
    let mut offset = 0_u64;
    for item in items {
        let attr = item.get("attr").and_then(|attr| attr.as_bytes());
        let attr = attr.unwrap_or_default();
        // A symlink owns no bytes (BEP 47). Not making it is the one way it can lead nowhere.
        if attr.contains(&b'l') {
            continue;
        }
        let len = item.get("length").ok_or(MetainfoError::Missing("length"))?;
        let len = file_len(len)?;
        files.push(FileEntry {
            path: file_path(item)?,
            offset,
            len,
            pad: attr.contains(&b'p'),
        });
        offset = offset
            .checked_add(len)
            .filter(|total| *total <= TOTAL_LEN_MAX)
            .ok_or(MetainfoError::TotalTooLong)?;
    }
    path::check_distinct(&files)?;
    Ok(files)
}

fn file_path(item: Element<'_>) -> Result<Vec<String>> {
    let list = item.get("path.utf-8").or(item.get("path"));
    let list = list.ok_or(MetainfoError::Missing("path"))?;
    let malformed = || MetainfoError::Malformed("path");
    let mut components = Vec::new();
    for name in list.items().ok_or_else(malformed)? {
        components.push(path::component(name.as_bytes().ok_or_else(malformed)?)?);
    }
    path::check_depth(&components)?;
    Ok(components)
}

fn file_len(len: Element<'_>) -> Result<u64> {
    let len = len.as_u64().ok_or(MetainfoError::Malformed("length"))?;
    if len > TOTAL_LEN_MAX {
        return Err(MetainfoError::TotalTooLong);
    }
    Ok(len)
}

fn geometry(info: Element<'_>, files: &[FileEntry]) -> Result<Geometry> {
    let total_len = files.last().map_or(0, |last| last.offset + last.len);
    let piece_len = info
        .get("piece length")
        .ok_or(MetainfoError::Missing("piece length"))?
        .as_u64()
        .and_then(|len| u32::try_from(len).ok())
        .filter(|len| (1..=PIECE_LEN_MAX).contains(len))
        .ok_or(MetainfoError::Malformed("piece length"))?;
    if total_len == 0 {
        return Err(MetainfoError::Empty);
    }
    let count = total_len.div_ceil(u64::from(piece_len));
    Geometry::new(total_len, piece_len)
        .filter(|geometry| geometry.piece_count() <= PIECES_MAX)
        .ok_or(MetainfoError::TooManyPieces { count })
}

fn piece_hashes(hashes: &[u8], geometry: &Geometry) -> Result<Vec<[u8; 20]>> {
    let expected = u64::from(geometry.piece_count()) * 20;
    if u64::try_from(hashes.len()) != Ok(expected) {
        let found = hashes.len();
        return Err(MetainfoError::PieceHashes { found, expected });
    }
    Ok(hashes.as_chunks().0.to_vec())
}

/// Tiers of BEP 12 if they hold any URL, else one tier with `announce`.
fn trackers(root: Element<'_>) -> Vec<Vec<String>> {
    let url = |node: Element<'_>| -> Option<String> {
        let url = node.as_str()?.trim();
        let fits = (1..=TRACKER_URL_MAX).contains(&url.len());
        (fits && !url.contains(char::is_control)).then(|| url.to_owned())
    };
    let mut left = TRACKERS_MAX;
    let mut tiers = Vec::new();
    let list = root.get("announce-list").and_then(|list| list.items());
    for tier in list.into_iter().flatten() {
        let urls = tier.items().into_iter().flatten().filter_map(url);
        let urls: Vec<String> = urls.take(left).collect();
        left -= urls.len();
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    if tiers.is_empty() {
        let announce = root.get("announce").and_then(url);
        tiers.extend(announce.map(|url| vec![url]));
    }
    tiers
}
