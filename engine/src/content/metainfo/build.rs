//! Makes a torrent out of names, lengths and the piece hashes that a driver computed.

use crate::content::bencode::{Dict, Value};
use crate::content::metainfo::{Metainfo, MetainfoError, PathError, hash_of, path};
use crate::units::Geometry;

/// Shortest piece that is chosen by itself.
pub const PIECE_LEN_SMALLEST: u32 = 16 * 1024;
/// Longest piece that is chosen by itself.
pub const PIECE_LEN_LARGEST: u32 = 16 * 1024 * 1024;

/// A torrent without its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetainfoDraft {
    /// Name of the file, or of the folder that holds the files.
    pub name: String,
    /// What it holds.
    pub content: DraftContent,
    /// Bytes in a piece; see [`piece_len_for`].
    pub piece_len: u32,
    /// Tracker tiers (BEP 12).
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

/// What a torrent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftContent {
    /// One file of this length, called like the torrent.
    File(u64),
    /// A folder with these files, in the order in which they are hashed.
    Folder(Vec<DraftFile>),
}

/// One file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftFile {
    /// Components below the folder.
    pub path: Vec<String>,
    /// Bytes.
    pub len: u64,
}

impl MetainfoDraft {
    /// Bytes in all files; held at 2⁶⁴ − 1.
    pub fn total_len(&self) -> u64 {
        match &self.content {
            DraftContent::File(len) => *len,
            DraftContent::Folder(files) => files
                .iter()
                .fold(0, |total, file| total.saturating_add(file.len)),
        }
    }

    /// The pieces to hash; `None` if there are no bytes or too many pieces.
    pub fn geometry(&self) -> Option<Geometry> {
        Geometry::new(self.total_len(), self.piece_len)
    }

    /// The torrent, given the SHA-1 of every piece in order. It passes the same checks as a torrent
    /// from elsewhere, so what others would refuse is not made; nor is what has names that others
    /// could not keep, since its maker would then be the one who has no such files.
    pub fn finish(&self, piece_hashes: &[[u8; 20]]) -> Result<Metainfo, MetainfoError> {
        let dict = Dict::new()
            .with("name", self.name.as_str())
            .with("piece length", self.piece_len)
            .with("pieces", piece_hashes.as_flattened())
            .with_some("private", self.private.then_some(1_u8));
        let info_bytes = match &self.content {
            DraftContent::File(len) => dict.with("length", *len),
            DraftContent::Folder(files) => {
                let files: Vec<Value> = files.iter().map(DraftFile::to_value).collect();
                dict.with("files", files)
            }
        }
        .encode();
        let bare = Metainfo::from_info(&info_bytes, hash_of(&info_bytes))?;
        if let Some(name) = &bare.name_original {
            return Err(path::error(&[name], PathError::Renamed));
        }
        if let Some(path) = bare.files.iter().find_map(|file| file.original.as_ref()) {
            return Err(path::error(path, PathError::Renamed));
        }
        let whole = Metainfo {
            trackers: self.trackers.clone(),
            comment: self.comment.clone(),
            created_by: self.created_by.clone(),
            creation_date: self.creation_date,
            ..bare
        };
        Metainfo::from_bytes(&whole.to_bytes())
    }
}

impl DraftFile {
    fn to_value(&self) -> Value {
        let path = self.path.iter().map(|name| Value::from(name.as_str()));
        Dict::new()
            .with("length", self.len)
            .with("path", path.collect::<Vec<_>>())
            .into()
    }
}

/// A piece length for so many bytes: the smallest power of two that gives at most 2,048 pieces, but
/// 16 KiB at least and 16 MiB at most.
pub fn piece_len_for(total_len: u64) -> u32 {
    let mut len = PIECE_LEN_SMALLEST;
    while len < PIECE_LEN_LARGEST && total_len.div_ceil(u64::from(len)) > PIECES_WANTED {
        len *= 2;
    }
    len
}

const PIECES_WANTED: u64 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn draft(content: DraftContent) -> MetainfoDraft {
        MetainfoDraft {
            name: "thing".to_owned(),
            content,
            piece_len: 16 * 1024,
            trackers: vec![
                vec!["http://a/announce".to_owned(), "udp://b:1".to_owned()],
                vec!["http://c/announce".to_owned()],
            ],
            private: true,
            comment: Some("a comment".to_owned()),
            created_by: Some("Seedbank".to_owned()),
            creation_date: Some(1_700_000_000),
        }
    }

    fn file(path: &[&str], len: u64) -> DraftFile {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        DraftFile { path, len }
    }

    #[test]
    fn piece_lengths_are_powers_of_two_within_bounds() {
        assert_eq!(piece_len_for(0), 16 * 1024);
        assert_eq!(piece_len_for(32 << 20), 16 * 1024);
        assert_eq!(piece_len_for((32 << 20) + 1), 32 * 1024);
        assert_eq!(piece_len_for(GIB), 512 * 1024);
        assert_eq!(piece_len_for(32 * GIB), 16 << 20);
        assert_eq!(piece_len_for(u64::MAX), 16 << 20);
    }

    #[test]
    fn what_is_made_reads_back_as_itself() {
        let folder = DraftContent::Folder(vec![
            file(&["a", "one"], 40_000),
            file(&["a", "empty"], 0),
            file(&["two"], 5),
        ]);
        for (content, multi_file) in [(DraftContent::File(40_005), false), (folder, true)] {
            let draft = draft(content);
            let count = draft.geometry().unwrap().piece_count();
            assert_eq!(count, 3);
            let made = draft.finish(&[[9; 20]; 3]).unwrap();
            assert_eq!(made.multi_file, multi_file);
            assert_eq!(made.geometry.total_len(), 40_005);
            assert_eq!(made.trackers, draft.trackers);
            assert!(made.private);
            assert_eq!(made.comment, draft.comment);
            assert_eq!(made.creation_date, draft.creation_date);
            assert_eq!(Metainfo::from_bytes(&made.to_bytes()), Ok(made));
        }
    }

    #[test]
    fn what_others_would_refuse_is_not_made() {
        let hashes = [[9; 20]; 1];
        assert!(draft(DraftContent::File(0)).finish(&hashes).is_err());
        assert!(draft(DraftContent::File(40_000)).finish(&hashes).is_err());
        assert!(draft(DraftContent::File(5)).finish(&hashes).is_ok());
    }

    #[test]
    fn names_that_others_could_not_keep_are_not_made() {
        let refused = |draft: MetainfoDraft| {
            let error = draft.finish(&[[9; 20]; 1]);
            matches!(
                error,
                Err(MetainfoError::Path {
                    error: PathError::Renamed,
                    ..
                })
            )
        };
        let folder = |files| draft(DraftContent::Folder(files));
        let long = "x".repeat(250);
        for path in [&["..", "x"][..], &["a\u{200d}b"], &["a\nb"], &[&long]] {
            assert!(refused(folder(vec![file(path, 5)])), "{path:?}");
        }
        assert!(refused(folder(vec![file(&["a"], 5), file(&["A"], 5)])));
        assert!(!refused(folder(vec![file(&["a"], 5), file(&["b"], 5)])));
        for content in [DraftContent::File(5), folder(vec![file(&["a"], 5)]).content] {
            let name = "a\\b".to_owned();
            assert!(refused(MetainfoDraft {
                name,
                ..draft(content)
            }));
        }
    }
}
