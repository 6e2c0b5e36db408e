//! Reads torrent files and `info` dictionaries.

use crate::content::bencode::{self, DecodeLimits, Element};
use crate::content::metainfo::{
    INFO_LEN_MAX, Metainfo, MetainfoError, PIECE_LEN_MAX, PIECES_MAX, PathError, TEXT_MAX,
    TORRENT_LEN_MAX, TRACKER_URL_MAX, TRACKERS_MAX, distinct, hash_of, hybrid, listing, path,
};
use crate::text::printable;
use crate::units::Geometry;

type Result<T> = std::result::Result<T, MetainfoError>;

/// Of an `info` dictionary.
const INFO: DecodeLimits = DecodeLimits::METAINFO;
/// Of a torrent file: what peers sent as a dictionary within its limits is read again from the file
/// that was written around it.
const TORRENT: DecodeLimits = DecodeLimits {
    depth_max: INFO.depth_max + 1,
    tokens_max: INFO.tokens_max + 16 + 2 * TRACKERS_MAX,
};

pub(super) fn torrent(bytes: &[u8]) -> Result<Metainfo> {
    check_len(bytes, TORRENT_LEN_MAX)?;
    // What follows the dictionary is nobody's: editors leave a newline there, and others take it.
    let document = bencode::decode_prefix(bytes, &TORRENT)?;
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
    check_len(bytes, INFO_LEN_MAX)?;
    let document = bencode::decode(bytes, &INFO)?;
    info_node(document.root())
}

fn check_len(bytes: &[u8], max: u32) -> Result<()> {
    let len = bytes.len();
    match u32::try_from(len) {
        Ok(found) if found <= max => Ok(()),
        _ => Err(MetainfoError::TooLong { len, max }),
    }
}

fn info_node(info: Element<'_>) -> Result<Metainfo> {
    if info.entries().is_none() {
        return Err(MetainfoError::Malformed("info"));
    }
    check_len(info.raw(), INFO_LEN_MAX)?;
    let (count, max) = (info.value_count(), INFO.tokens_max);
    if count > max {
        return Err(MetainfoError::TooManyValues { count, max });
    }
    let Some(hashes) = info.get("pieces") else {
        return Err(missing(info, "pieces"));
    };
    let hashes = hashes
        .as_bytes()
        .ok_or(MetainfoError::Malformed("pieces"))?;
    let info_hash = hash_of(info.raw());
    let listed_name = listed_name(info)?;
    let name = path::component(listed_name);
    let (name, mut files, multi_file) = match (info.get("files"), info.get("length")) {
        (Some(_), Some(_)) => return Err(MetainfoError::SingleAndMulti),
        (Some(list), None) => {
            let name = name.unwrap_or_else(|| info_hash.to_string());
            (name, listing::files(list)?, true)
        }
        (None, Some(len)) => {
            let name = name.filter(|_| !listed_name.is_empty());
            let name = name.ok_or_else(|| path::error(&[listed_name], PathError::Empty))?;
            let file = listing::single(listed_name, &name, len)?;
            (name, vec![file], false)
        }
        (None, None) => return Err(missing(info, "length")),
    };
    let geometry = geometry(info, files.last().map_or(0, listing::Listed::end))?;
    hybrid::check(info, &files, geometry.piece_len())?;
    distinct::rename_duplicates(&mut files)?;
    Ok(Metainfo {
        info_hash,
        info_bytes: info.raw().to_vec(),
        name_original: (name.as_bytes() != listed_name).then(|| listed_name.to_vec()),
        name,
        geometry,
        piece_hashes: piece_hashes(hashes, &geometry)?,
        files: listing::entries(files),
        multi_file,
        trackers: Vec::new(),
        private: info.get("private").and_then(|flag| flag.as_i64()) == Some(1),
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

/// Why a torrent without this key is none of version 1.
fn missing(info: Element<'_>, key: &'static str) -> MetainfoError {
    match info.get("meta version") {
        Some(_) => MetainfoError::VersionTwoOnly,
        None => MetainfoError::Missing(key),
    }
}

/// The torrent's name as it is listed, the UTF-8 one first.
fn listed_name(info: Element<'_>) -> Result<&[u8]> {
    let names = ["name.utf-8", "name"];
    let found = names.into_iter().find_map(|key| info.get(key)?.as_bytes());
    found.ok_or(match info.get("name") {
        Some(_) => MetainfoError::Malformed("name"),
        None => MetainfoError::Missing("name"),
    })
}

fn geometry(info: Element<'_>, total_len: u64) -> Result<Geometry> {
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
