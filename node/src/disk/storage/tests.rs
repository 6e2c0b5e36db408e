//! Storage against real files in a temporary folder.

use std::sync::atomic::Ordering;

use seedbank_engine::content::metainfo::FileEntry;
use seedbank_engine::units::Geometry;
use sha1::{Digest as _, Sha1};

mod many;

use super::check::{CheckProgress, check};
use super::resume::ResumeData;
use super::*;
use crate::pool::Pool;
use crate::testing::{content, metainfo_of};
use seedbank_engine::content::bitfield::Bitfield;

const PIECE_LEN: u32 = 1000;

/// Files `a` (1500), `empty`, a pad of 500, `sub/b` (2300): pieces of 1000 cross them.
fn torrent() -> (Arc<Metainfo>, Vec<u8>) {
    let mut bytes = content(4300);
    bytes[1500..2000].fill(0);
    let entry = |path: &[&str], offset, len, pad| FileEntry {
        path: path.iter().map(|part| (*part).to_owned()).collect(),
        original: None,
        offset,
        len,
        pad,
    };
    let mut metainfo = metainfo_of(&bytes, PIECE_LEN);
    metainfo.multi_file = true;
    metainfo.files = vec![
        entry(&["a"], 0, 1500, false),
        entry(&["empty"], 1500, 0, false),
        entry(&[".pad", "500"], 1500, 500, true),
        entry(&["sub", "b"], 2000, 2300, false),
    ];
    (Arc::new(metainfo), bytes)
}

fn piece(metainfo: &Metainfo, index: u32) -> PieceIndex {
    PieceIndex::new(index, &metainfo.geometry).unwrap()
}

fn write(storage: &Storage, bytes: &[u8], pieces: &[u32]) {
    for &index in pieces {
        let start = usize::try_from(index * PIECE_LEN).unwrap();
        let end = bytes.len().min(start + 1000);
        storage
            .write_piece(piece(storage.metainfo(), index), &bytes[start..end])
            .unwrap();
    }
}

fn open(metainfo: &Arc<Metainfo>, folder: &Path) -> Arc<Storage> {
    let pool = Arc::new(FilePool::default());
    Arc::new(Storage::open(Arc::clone(metainfo), folder, pool))
}

async fn have(storage: &Arc<Storage>, trusted: Bitfield) -> (Vec<u8>, u64) {
    let pool = Pool::start("hash", 2).unwrap();
    let progress = Arc::new(CheckProgress::default());
    let found = check(storage, trusted, &pool, &progress)
        .await
        .unwrap()
        .unwrap();
    let done = progress.checked.load(Ordering::Relaxed);
    (found.as_wire().to_vec(), done)
}

#[tokio::test]
async fn pieces_cross_files_and_pads_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent();
    let storage = open(&metainfo, folder.path());
    let root = folder.path().join("torrent");
    assert!(!root.exists(), "nothing is made before the check");
    let empty = Bitfield::none(metainfo.geometry.piece_count());
    storage.claim(&empty, None).unwrap();
    assert!(storage.make_empty_files(10).unwrap());
    assert_eq!(std::fs::metadata(root.join("empty")).unwrap().len(), 0);
    assert!(!root.join("a").exists(), "made with its first piece");

    write(&storage, &bytes, &[0, 1, 2, 3, 4]);
    assert_eq!(std::fs::read(root.join("a")).unwrap(), bytes[..1500]);
    assert_eq!(std::fs::read(root.join("sub/b")).unwrap(), bytes[2000..]);
    assert!(!root.join(".pad").exists());

    let mut back = vec![1; 4300];
    storage.read(0, &mut back).unwrap();
    assert_eq!(back, bytes);
    let mut middle = vec![1; 1200];
    storage.read_now(1400, &mut middle).unwrap();
    storage.read(1400, &mut middle).unwrap();
    assert_eq!(middle, bytes[1400..2600]);
    assert_eq!(have(&storage, empty).await, (vec![0b1111_1000], 4300));
}

#[tokio::test]
async fn missing_and_damaged_pieces_are_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent();
    let storage = open(&metainfo, folder.path());
    write(&storage, &bytes, &[0, 3]);
    let empty = || Bitfield::none(metainfo.geometry.piece_count());
    assert_eq!(have(&storage, empty()).await, (vec![0b1001_0000], 4300));
    write(&storage, &bytes[1..], &[0]);
    assert_eq!(have(&storage, empty()).await, (vec![0b0001_0000], 4300));
    storage.delete().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(have(&storage, empty()).await, (vec![0], 4300));
}

#[tokio::test]
async fn resume_trusts_only_files_that_look_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent();
    let storage = open(&metainfo, folder.path());
    write(&storage, &bytes, &[0, 1, 2, 3, 4]);
    let mut full = Bitfield::none(metainfo.geometry.piece_count());
    metainfo.geometry.pieces().for_each(|piece| {
        full.set(piece);
    });
    let resume = ResumeData::of(&storage, &full);
    assert_eq!(resume.trusted(&storage), full);

    // A file that changed behind our back; its stamp is set, so that no clock is relied on.
    let path = folder.path().join("torrent/a");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(resume.trusted(&storage).as_wire(), [0b0011_1000]);

    std::fs::remove_file(&path).unwrap();
    let reopened = open(&metainfo, folder.path());
    assert_eq!(resume.trusted(&reopened).as_wire(), [0b0011_1000]);
    std::fs::write(folder.path().join("torrent/sub/b"), b"short").unwrap();
    assert_eq!(resume.trusted(&reopened).count(), 0);

    let other = ResumeData {
        have: "ffff".to_owned(),
        ..resume
    };
    assert_eq!(other.trusted(&reopened).count(), 0, "wrong length");
}

/// I6: a file that was deleted was served on.
#[test]
fn files_are_missed_that_hold_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent();
    let storage = open(&metainfo, folder.path());
    let mut have = Bitfield::none(metainfo.geometry.piece_count());
    let look = |have: &Bitfield| {
        let looked = storage.look_for(have, 0..4);
        looked.map_err(|error| error.to_string())
    };
    assert_eq!(look(&have), Ok(()), "nothing is there to be missed");
    write(&storage, &bytes, &[0, 3]);
    have.set(piece(&metainfo, 0));
    have.set(piece(&metainfo, 3));
    assert_eq!(look(&have), Ok(()));
    // As long as the pieces need it, though not complete.
    let b = folder.path().join("torrent/sub/b");
    let file = File::options().write(true).open(&b).unwrap();
    file.set_len(2000).unwrap();
    assert_eq!(look(&have), Ok(()));
    file.set_len(1999).unwrap();
    let reason = format!("{}: file is shorter than the torrent says", b.display());
    assert_eq!(look(&have), Err(reason));
    let mut read = [0; 10];
    std::fs::rename(folder.path().join("torrent"), folder.path().join("away")).unwrap();
    assert!(storage.read(0, &mut read).is_ok(), "it is open");
    let a = folder.path().join("torrent/a");
    assert_eq!(look(&have), Err(format!("{}: no such file", a.display())));
    assert!(
        storage.look_for(&have, 1..3).is_ok(),
        "neither is to be there"
    );
}

#[tokio::test]
async fn a_cancelled_check_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, _) = torrent();
    let storage = open(&metainfo, folder.path());
    let pool = Pool::start("hash", 1).unwrap();
    let progress = Arc::new(CheckProgress::default());
    progress.cancelled.store(true, Ordering::Relaxed);
    let empty = Bitfield::none(metainfo.geometry.piece_count());
    let result = check(&storage, empty, &pool, &progress).await.unwrap();
    assert_eq!(result, None);
}

#[test]
fn a_full_disk_is_named_in_plain_words() {
    let error = StorageError::Io {
        path: "/d/a".to_owned(),
        source: io::Error::from_raw_os_error(28),
    };
    assert_eq!(error.to_string(), "/d/a: no space left on device");
}

#[test]
fn hashes_are_those_of_the_metainfo() {
    let (metainfo, bytes) = torrent();
    assert_eq!(metainfo.geometry, Geometry::new(4300, PIECE_LEN).unwrap());
    let expected: [u8; 20] = Sha1::digest(&bytes[..1000]).into();
    assert_eq!(metainfo.piece_hashes[0], expected);
    assert!(check::matches(
        &metainfo,
        piece(&metainfo, 0),
        &bytes[..1000]
    ));
    assert!(!check::matches(
        &metainfo,
        piece(&metainfo, 1),
        &bytes[..1000]
    ));
}

/// What a check of these files makes of them.
async fn claimed(
    metainfo: &Arc<Metainfo>,
    folder: &Path,
    record: Option<&ResumeData>,
) -> Result<Arc<Storage>, String> {
    let storage = open(metainfo, folder);
    let none = Bitfield::none(metainfo.geometry.piece_count());
    let (bits, _) = have(&storage, none).await;
    let found = Bitfield::from_wire(&bits, metainfo.geometry.piece_count()).unwrap();
    let claimed = storage.claim(&found, record);
    claimed.map_err(|error| error.to_string())?;
    Ok(storage)
}

/// N8: such a file was overwritten.
#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent();
    let path = folder.path().join("torrent/sub/b");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"my diary").unwrap();
    let error = claimed(&metainfo, folder.path(), None).await.unwrap_err();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(
        error.contains("is not part of this torrent: move it away"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"my diary");
    assert!(!folder.path().join("torrent/empty").exists());

    // Put there after the check: neither written to nor deleted.
    std::fs::remove_file(&path).unwrap();
    let storage = claimed(&metainfo, folder.path(), None).await.unwrap();
    write(&storage, &bytes, &[0]);
    std::fs::write(&path, b"my diary").unwrap();
    let written = storage.write_piece(piece(&metainfo, 3), &bytes[3000..4000]);
    assert!(matches!(written, Err(StorageError::Foreign { .. })));
    storage.delete().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"my diary");
    assert!(!folder.path().join("torrent/a").exists());
}

#[tokio::test]
async fn data_that_is_there_is_adopted_whole_in_part_or_empty() {
    let (metainfo, bytes) = torrent();
    for (a, b) in [(1500, 2300), (1000, 2000), (1500, 0), (0, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("torrent");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("a"), &bytes[..a]).unwrap();
        std::fs::write(root.join("sub/b"), &bytes[2000..2000 + b]).unwrap();
        let storage = claimed(&metainfo, folder.path(), None).await.unwrap();
        write(&storage, &bytes, &[0, 1, 2, 3, 4]);
        assert_eq!(std::fs::read(root.join("sub/b")).unwrap(), bytes[2000..]);
        storage.delete().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// Killed between making a file and recording it: what the record claims stays ours.
#[tokio::test]
async fn a_file_made_after_the_record_is_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let (metainfo, bytes) = torrent();
    let storage = claimed(&metainfo, folder.path(), None).await.unwrap();
    let none = Bitfield::none(metainfo.geometry.piece_count());
    let record = ResumeData::of(&storage, &none);
    write(&storage, &bytes[1..], &[3]);
    assert!(claimed(&metainfo, folder.path(), None).await.is_err());
    let again = claimed(&metainfo, folder.path(), Some(&record))
        .await
        .unwrap();
    write(&again, &bytes, &[0, 1, 2, 3, 4]);
    // One that another program made is not as long as ours.
    std::fs::write(folder.path().join("torrent/sub/b"), b"my diary").unwrap();
    assert!(
        claimed(&metainfo, folder.path(), Some(&record))
            .await
            .is_err()
    );
}
