//! What users see of a torrent's files.

use super::Rig;
use super::rig::{draft, finish};
use crate::content::metainfo::Metainfo;
use crate::content::metainfo::build::{DraftContent, DraftFile, MetainfoDraft};
use crate::interface::view::FileView;
use crate::units::{BLOCK_LEN, TorrentId};

/// Bytes in a piece here: one block.
const PIECE: u64 = 16 * 1024;

/// Files of one and a half pieces, none, and the rest of three pieces.
fn folder() -> Metainfo {
    let file = |name: &str, len| DraftFile {
        path: vec!["disc".to_owned(), name.to_owned()],
        len,
    };
    let files = vec![
        file("a", PIECE + PIECE / 2),
        file("b", 0),
        file("c", PIECE + PIECE / 2),
    ];
    finish(&MetainfoDraft {
        name: "album".to_owned(),
        content: DraftContent::Folder(files),
        piece_len: BLOCK_LEN,
        trackers: Vec::new(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

fn shown(file: &FileView) -> (usize, String, u64, u64) {
    let path = file.path.join("/");
    (file.index, path, file.total.get(), file.have.get())
}

#[test]
fn a_file_has_what_verified_pieces_hold_of_it() {
    let mut rig = Rig::new();
    let torrent_id = rig.add(&folder(), &[1]);
    let view = rig.session.torrent_files(&torrent_id, 0, 10).unwrap();
    assert_eq!(view.count, 3);
    let files: Vec<_> = view.files.iter().map(shown).collect();
    assert_eq!(
        files,
        [
            (0, "disc/a".to_owned(), PIECE * 3 / 2, PIECE / 2),
            (1, "disc/b".to_owned(), 0, 0),
            (2, "disc/c".to_owned(), PIECE * 3 / 2, PIECE / 2),
        ]
    );
    let whole = rig.session.torrent(&torrent_id).unwrap();
    let have: u64 = view.files.iter().map(|file| file.have.get()).sum();
    assert_eq!(have, whole.have.get(), "files add up to their torrent");
    let rest = rig.session.torrent_files(&torrent_id, 2, 10).unwrap();
    assert_eq!(rest.files, view.files[2..]);
    let few = rig.session.torrent_files(&torrent_id, 0, 1).unwrap();
    assert_eq!((few.count, few.files.len()), (3, 1));
}

#[test]
fn a_seed_has_every_file_and_a_stranger_none() {
    let mut rig = Rig::new();
    let torrent_id = rig.seed(&draft("one", 5 * PIECE + 1, BLOCK_LEN));
    let view = rig.session.torrent_files(&torrent_id, 0, 10).unwrap();
    let files: Vec<_> = view.files.iter().map(shown).collect();
    let len = 5 * PIECE + 1;
    assert_eq!(files, [(0, "one".to_owned(), len, len)]);
    assert_eq!(rig.session.torrent_files(&TorrentId([9; 20]), 0, 10), None);
}
