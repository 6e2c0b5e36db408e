//! Names of files, without the bencoding that a mutation would break: a line is a file, a tab
//! divides its path, the first line is the torrent's name.

use seedbank_engine::content::bencode::{Dict, Value};
use seedbank_engine::content::metainfo::build::{DraftContent, DraftFile, MetainfoDraft};
use seedbank_engine::content::metainfo::{Metainfo, hash_of};

use crate::content;

const PIECE_LEN: u32 = 16 * 1024;
const HASH: [u8; 20] = [9; 20];

/// Whatever files are called, they lie beside each other below one folder; a torrent of ours keeps
/// the names that it was given.
pub(crate) fn names(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let name = lines.next().unwrap_or_default();
    let files: Vec<&[u8]> = lines.collect();
    if files.is_empty() {
        return whole(Dict::new().with("name", name).with("length", 1_u8), name).is_some();
    }
    let listed: Vec<Value> = files.iter().map(|line| file(line)).collect();
    let dict = Dict::new().with("name", name).with("files", listed);
    let read = whole(dict, name);
    ours(name, &files);
    read.is_some()
}

/// The torrent with this list, if it can be read.
fn whole(dict: Dict, name: &[u8]) -> Option<Metainfo> {
    let dict = dict
        .with("piece length", PIECE_LEN)
        .with("pieces", &HASH[..]);
    let info = dict.encode();
    let metainfo = Metainfo::from_info(&info, hash_of(&info)).ok()?;
    content::check(&metainfo);
    let kept = metainfo
        .name_original
        .as_deref()
        .unwrap_or(metainfo.name.as_bytes());
    assert_eq!(kept, name, "the name as it was listed");
    Some(metainfo)
}

/// A file of one byte, a pad file behind `|`, a symlink behind `>`.
fn file(line: &[u8]) -> Value {
    let (attr, path) = match line.split_first() {
        Some((b'|', path)) => (Some("p"), path),
        Some((b'>', path)) => (Some("l"), path),
        _ => (None, line),
    };
    let path: Vec<Value> = path.split(|byte| *byte == b'\t').map(Value::from).collect();
    let dict = Dict::new().with("length", 1_u8).with("path", path);
    dict.with_some("attr", attr).into()
}

/// The same names in a torrent that we make.
fn ours(name: &[u8], lines: &[&[u8]]) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let file = |line: &&[u8]| DraftFile {
        path: line.split(|byte| *byte == b'\t').map(text).collect(),
        len: 1,
    };
    let files: Vec<DraftFile> = lines.iter().map(file).collect();
    let draft = MetainfoDraft {
        name: text(name),
        content: DraftContent::Folder(files.clone()),
        piece_len: PIECE_LEN,
        trackers: Vec::new(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    if let Ok(made) = draft.finish(&[HASH]) {
        content::check(&made);
        assert_eq!(made.name, draft.name);
        assert!(
            made.files
                .iter()
                .map(|file| &file.path)
                .eq(files.iter().map(|file| &file.path))
        );
    }
}
