//! Bencoding, torrents and magnet links.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_engine::content::bencode::{self, DecodeLimits, Dict, Element, Value};
use seedbank_engine::content::magnet::{MAGNET_LEN_MAX, Magnet, PEERS_MAX};
use seedbank_engine::content::metainfo::{
    FileEntry, Metainfo, PATH_COMPONENT_MAX, PATH_DEPTH_MAX, TEXT_MAX, TRACKER_URL_MAX,
    TRACKERS_MAX, hash_of,
};

use crate::drawn;

const LIMITS: DecodeLimits = DecodeLimits::METAINFO;

/// What is read is the value at the front, no part of which is a value; written again it is read as
/// the same, and is the same if it was in order.
pub(crate) fn bencode(bytes: &[u8]) -> bool {
    let strict = bencode::decode(bytes, &DecodeLimits::MESSAGE);
    let Ok(document) = bencode::decode_prefix(bytes, &LIMITS) else {
        assert!(strict.is_err(), "narrower limits take less");
        return false;
    };
    let root = document.root();
    let raw = root.raw();
    assert_eq!([raw, document.rest()].concat(), bytes);
    if strict.is_ok() {
        assert!(document.rest().is_empty(), "nothing follows a whole value");
    }
    let cut = &raw[..drawn(raw, raw.len())];
    assert!(bencode::decode_prefix(cut, &LIMITS).is_err());
    let mut in_order = true;
    let value = value_of(root, &mut in_order);
    let written = value.encode();
    assert!(written.len() <= raw.len(), "what is repeated is left out");
    assert!(!in_order || written == raw);
    let again = bencode::decode(&written, &LIMITS).expect("what we write can be read");
    assert_eq!(value_of(again.root(), &mut true), value);
    true
}

/// A value to write; `in_order` becomes false where a dictionary's keys are not.
fn value_of(element: Element<'_>, in_order: &mut bool) -> Value {
    let raw = element.raw();
    if let Some(items) = element.items() {
        assert!(element.as_bytes().is_none() && !element.is_int());
        return items
            .map(|item| value_of(item, in_order))
            .collect::<Vec<_>>()
            .into();
    }
    if let Some(entries) = element.entries() {
        assert!(element.as_bytes().is_none() && !element.is_int());
        let mut first: BTreeMap<&[u8], Value> = BTreeMap::new();
        for (index, (key, value)) in entries.enumerate() {
            *in_order &= first.last_key_value().is_none_or(|(last, _)| *last < key);
            if index < 4
                && let Ok(name) = std::str::from_utf8(key)
            {
                let found = element.get(name).expect("a key is found");
                assert!(first.contains_key(key) || found.raw() == value.raw());
            }
            let value = value_of(value, in_order);
            first.entry(key).or_insert(value);
        }
        let dict = first
            .into_iter()
            .fold(Dict::new(), |dict, (key, value)| dict.with(key, value));
        return dict.into();
    }
    if let Some(bytes) = element.as_bytes() {
        assert!(!element.is_int() && raw.ends_with(bytes));
        return bytes.into();
    }
    assert!(element.is_int(), "there is no fifth kind");
    let digits = std::str::from_utf8(&raw[1..raw.len() - 1]).expect("digits");
    let small = digits.parse::<i128>();
    let wide = small.as_ref().ok();
    assert_eq!(element.as_u64(), wide.and_then(|n| u64::try_from(*n).ok()));
    assert_eq!(element.as_i64(), wide.and_then(|n| i64::try_from(*n).ok()));
    small.map_or_else(|_| Value::Raw(raw.to_vec()), Value::Int)
}

/// A torrent, or an `info` dictionary alone: what is read is safe to open files by, and is read
/// again as the same from its file.
pub(crate) fn metainfo(bytes: &[u8]) -> bool {
    let sent = Metainfo::from_info(bytes, hash_of(bytes));
    let read = Metainfo::from_bytes(bytes).or(sent);
    let Ok(metainfo) = read else {
        return false;
    };
    check(&metainfo);
    let again = Metainfo::from_bytes(&metainfo.to_bytes());
    assert_eq!(again.as_ref(), Ok(&metainfo));
    true
}

/// What every torrent keeps.
pub(crate) fn check(metainfo: &Metainfo) {
    let info = &metainfo.info_bytes;
    assert_eq!(hash_of(info), metainfo.info_hash);
    let bare = Metainfo {
        trackers: Vec::new(),
        comment: None,
        created_by: None,
        creation_date: None,
        ..metainfo.clone()
    };
    assert_eq!(Metainfo::from_info(info, metainfo.info_hash), Ok(bare));

    check_component(&metainfo.name);
    assert!(metainfo.name_original.as_deref() != Some(metainfo.name.as_bytes()));
    let geometry = &metainfo.geometry;
    assert_eq!(
        metainfo.piece_hashes.len(),
        usize::try_from(geometry.piece_count()).unwrap_or(0)
    );
    let mut end = 0;
    for file in &metainfo.files {
        assert_eq!(file.offset, end, "no gap before a file");
        end += file.len;
        assert!((1..=PATH_DEPTH_MAX).contains(&file.path.len()));
        file.path.iter().for_each(|name| check_component(name));
    }
    assert_eq!(end, geometry.total_len());
    if !metainfo.multi_file {
        assert_eq!(metainfo.files[0].path, [metainfo.name.as_str()]);
        assert_eq!(metainfo.files.len(), 1);
    }
    check_apart(&metainfo.files);

    let urls = || metainfo.trackers.iter().flatten();
    assert!(urls().count() <= TRACKERS_MAX);
    assert!(metainfo.trackers.iter().all(|tier| !tier.is_empty()));
    assert!(urls().all(|url| is_url(url)));
    for text in [&metainfo.comment, &metainfo.created_by]
        .into_iter()
        .flatten()
    {
        check_text(text, TEXT_MAX);
        assert!(!text.is_empty());
    }
}

/// One component of a path that leads nowhere else.
fn check_component(name: &str) {
    assert!(!["", ".", ".."].contains(&name), "{name:?}");
    assert!(
        !name.contains(['/', '\\', '\0']) && !name.contains(char::is_control),
        "{name:?}"
    );
    assert!(name.len() <= PATH_COMPONENT_MAX, "{} bytes", name.len());
}

/// No two files on disk have one path, in whatever case, and none is a folder of another.
fn check_apart(files: &[FileEntry]) {
    let lower = |path: &[String]| path.join("/").to_ascii_lowercase();
    let on_disk = || files.iter().filter(|file| !file.pad);
    let paths: BTreeSet<String> = on_disk().map(|file| lower(&file.path)).collect();
    assert_eq!(paths.len(), on_disk().count(), "two files of one path");
    for file in on_disk() {
        let above = (1..file.path.len()).map(|depth| lower(&file.path[..depth]));
        for folder in above {
            assert!(
                !paths.contains(&folder),
                "{folder:?} is a file and a folder"
            );
        }
    }
}

fn is_url(url: &str) -> bool {
    (1..=TRACKER_URL_MAX).contains(&url.len()) && !url.contains(char::is_control)
}

/// Text that does no harm to a terminal.
pub(crate) fn check_text(text: &str, chars_max: usize) {
    assert!(text.chars().count() <= chars_max);
    assert!(!text.contains(char::is_control));
    assert!(!text.contains(seedbank_engine::text::is_direction));
}

/// A magnet link that is read is within its bounds, and written again is the same.
pub(crate) fn magnet(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(magnet) = Magnet::parse(&text) else {
        return false;
    };
    assert!(text.len() <= MAGNET_LEN_MAX);
    if let Some(name) = &magnet.name {
        check_text(name, 255);
        assert!(!name.is_empty());
    }
    assert!(magnet.trackers.len() <= TRACKERS_MAX && magnet.peers.len() <= PEERS_MAX);
    assert!(magnet.trackers.iter().all(|url| is_url(url)));
    let distinct: BTreeSet<&String> = magnet.trackers.iter().collect();
    assert_eq!(distinct.len(), magnet.trackers.len());
    assert!(magnet.peers.iter().all(|peer| peer.port() != 0));
    let written = magnet.to_string();
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(Magnet::parse(&written), Ok(magnet));
    true
}
