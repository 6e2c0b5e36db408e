//! Torrents of very many files: what adding one makes, and what reading one costs.

use super::*;
use crate::disk::storage::files::OPENED;

const BLOCK_LEN: usize = 16 * 1024;

/// One file of a block and a byte, then `count` files of `len` bytes each, in folders of 1,000.
fn torrent_of_many(count: usize, len: u64) -> (Arc<Metainfo>, Vec<u8>) {
    let first = BLOCK_LEN + 1;
    let total = first + count * usize::try_from(len).unwrap();
    let bytes = content(total);
    let mut metainfo = metainfo_of(&bytes, 32 * 1024);
    metainfo.multi_file = true;
    metainfo.files[0].len = u64::try_from(first).unwrap();
    let mut offset = metainfo.files[0].len;
    for index in 0..count {
        metainfo.files.push(FileEntry {
            path: vec![format!("{}", index / 1_000), format!("{index}")],
            original: None,
            offset,
            len,
            pad: false,
        });
        offset += len;
    }
    (Arc::new(metainfo), bytes)
}

fn write_all(storage: &Storage, bytes: &[u8]) {
    let pieces = storage.metainfo().geometry.pieces();
    for (piece, bytes) in pieces.zip(bytes.chunks(32 * 1024)) {
        storage.write_piece(piece, bytes).unwrap();
    }
}

/// What `work` opened for reading.
fn opened(work: impl FnOnce()) -> usize {
    let before = OPENED.get();
    work();
    OPENED.get() - before
}

/// N9: all of them were made when a torrent was added.
#[tokio::test]
async fn files_without_bytes_are_made_a_thousand_at_a_time_and_not_by_a_check() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent_of_many(2_500, 0);
    let storage = claimed(&metainfo, folder.path(), None).await.unwrap();
    let root = folder.path().join("torrent");
    assert!(!root.exists(), "a description alone makes no file");

    write_all(&storage, &bytes);
    let made = || {
        let folders = ["0", "1", "2"].map(|name| std::fs::read_dir(root.join(name)));
        let counts = folders.into_iter().flatten().map(Iterator::count);
        counts.sum::<usize>()
    };
    let mut seen = vec![made()];
    while !storage.make_empty_files(1_000).unwrap() {
        seen.push(made());
    }
    seen.push(made());
    assert_eq!(seen, [0, 1_000, 2_000, 2_500]);
    storage.delete().unwrap();
    assert!(!root.exists(), "they are the torrent's own");
}

/// N9: 110 ms of every request.
#[test]
fn a_block_in_thousands_of_files_is_gathered_once() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent_of_many(20_000, 1);
    let storage = open(&metainfo, folder.path());
    write_all(&storage, &bytes);
    let mut first = vec![0; 100];
    assert!(storage.read_now(0, &mut first).is_ok());

    let mut block = vec![0; BLOCK_LEN];
    let at = u64::try_from(BLOCK_LEN).unwrap();
    let waiting = opened(|| assert!(!storage.read_now(at, &mut block).unwrap()));
    assert_eq!(waiting, 0, "no task waits for so many files");
    let once = opened(|| storage.read(at, &mut block).unwrap());
    assert_eq!(
        once, BLOCK_LEN,
        "a file with the last byte of two, then one each"
    );
    assert!(block == bytes[BLOCK_LEN..2 * BLOCK_LEN]);
    for (skip, len) in [(0, BLOCK_LEN), (5_000, 100), (BLOCK_LEN - 50, 50)] {
        block.fill(0);
        let at = at + u64::try_from(skip).unwrap();
        let again = opened(|| storage.read(at, &mut block[..len]).unwrap());
        assert_eq!(again, 0);
        assert!(block[..len] == bytes[BLOCK_LEN + skip..][..len]);
    }
    let first = opened(|| storage.read(0, &mut first).unwrap());
    assert_eq!(first, 0, "it was not pushed out of the open files");

    // Across the blocks of a piece and the next piece, in one read.
    let mut all = vec![0; bytes.len()];
    let rest = opened(|| storage.read(0, &mut all).unwrap());
    assert_eq!(rest, 20_000 + 1 - BLOCK_LEN);
    assert!(all == bytes);
}

/// What is on record of files is found out without opening them.
#[test]
fn stamps_open_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent_of_many(300, 5);
    let storage = open(&metainfo, folder.path());
    write_all(&storage, &bytes);
    let reopened = open(&metainfo, folder.path());
    let mut stamps = Vec::new();
    assert_eq!(opened(|| stamps = reopened.stamps()), 0);
    let lens = stamps.iter().map(|stamp| stamp.unwrap().size);
    assert!(lens.eq(metainfo.files.iter().map(|file| file.len)));
}
