//! What is on disk: every piece in question is read and hashed, on the hash pool.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::units::PieceIndex;
use sha1::{Digest as _, Sha1};
use tokio::sync::watch;

use crate::disk::storage::files::Walk;
use crate::disk::storage::{Storage, StorageError};
use crate::pool::Pool;
use seedbank_engine::content::bitfield::Bitfield;

/// Bytes that one job of the pool reads and hashes: short enough that others get their turn.
const JOB_LEN: u64 = 16 * 1024 * 1024;
/// Most jobs of one check in the pool at a time.
const JOBS_MAX: usize = 4;
/// Bytes read at a time, however long a piece says it is.
const READ_LEN: u32 = 256 * 1024;

/// How far a check is, and whether it is still wanted.
#[derive(Debug, Default)]
pub(crate) struct CheckProgress {
    /// Bytes looked at.
    pub(crate) checked: AtomicU64,
    /// Bytes of pieces that are there.
    pub(crate) have: AtomicU64,
    /// The check is over, well or not.
    pub(crate) ended: watch::Sender<bool>,
    /// Set to end the check early.
    pub(crate) cancelled: AtomicBool,
}

impl CheckProgress {
    fn looked_at(&self, len: u32, good: bool) {
        self.checked.fetch_add(u64::from(len), Ordering::Relaxed);
        if good {
            self.have.fetch_add(u64::from(len), Ordering::Relaxed);
        }
    }
}

/// SHA-1 of a piece's bytes against its torrent's word (BEP 3).
pub(crate) fn matches(metainfo: &Metainfo, piece: PieceIndex, bytes: &[u8]) -> bool {
    is_hash_of(metainfo, piece, Sha1::digest(bytes).into())
}

fn is_hash_of(metainfo: &Metainfo, piece: PieceIndex, hash: [u8; 20]) -> bool {
    metainfo.piece_hashes.get(piece.as_usize()) == Some(&hash)
}

/// Hashes every piece that `trusted` does not vouch for; gives the pieces that are there.
///
/// A file that is missing or short lacks its pieces; any other trouble ends the check. `None` if it
/// was cancelled.
pub(crate) async fn check(
    storage: &Arc<Storage>,
    trusted: Bitfield,
    pool: &Pool,
    progress: &Arc<CheckProgress>,
) -> Result<Option<Bitfield>, StorageError> {
    let geometry = storage.metainfo().geometry;
    let mut have = trusted;
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut batch_len = 0;
    for piece in geometry.pieces() {
        if have.get(piece) {
            progress.looked_at(geometry.len_of(piece), true);
            continue;
        }
        batch.push(piece);
        batch_len += u64::from(geometry.len_of(piece));
        if batch_len >= JOB_LEN {
            batches.push(std::mem::take(&mut batch));
            batch_len = 0;
        }
    }
    batches.push(batch);

    let mut batches = batches.into_iter();
    let mut running = tokio::task::JoinSet::new();
    loop {
        while running.len() < JOBS_MAX {
            let Some(batch) = batches.next() else { break };
            let (storage, progress) = (Arc::clone(storage), Arc::clone(progress));
            let job = pool.run(move || check_batch(&storage, &batch, &progress));
            running.spawn(job);
        }
        let Some(found) = running.join_next().await else {
            break;
        };
        for piece in found.expect("a check does not panic")? {
            have.set(piece);
        }
    }
    Ok((!progress.cancelled.load(Ordering::Relaxed)).then_some(have))
}

fn check_batch(
    storage: &Storage,
    batch: &[PieceIndex],
    progress: &CheckProgress,
) -> Result<Vec<PieceIndex>, StorageError> {
    let geometry = storage.metainfo().geometry;
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    for &piece in batch {
        if progress.cancelled.load(Ordering::Relaxed) {
            break;
        }
        let good = is_present(storage, piece)?
            && match hash(storage, piece, &mut buffer, progress) {
                Ok(hash) => is_hash_of(storage.metainfo(), piece, hash),
                Err(error) if is_absence(&error) => false,
                Err(error) => return Err(error),
            };
        if good {
            found.push(piece);
        }
        progress.looked_at(geometry.len_of(piece), good);
    }
    Ok(found)
}

/// SHA-1 of what is on disk of a piece; of part of it, if the check is cancelled meanwhile.
fn hash(
    storage: &Storage,
    piece: PieceIndex,
    buffer: &mut Vec<u8>,
    progress: &CheckProgress,
) -> Result<[u8; 20], StorageError> {
    let geometry = storage.metainfo().geometry;
    let (mut at, mut left) = (geometry.piece_offset(piece), geometry.len_of(piece));
    let mut hasher = Sha1::new();
    while left > 0 && !progress.cancelled.load(Ordering::Relaxed) {
        let len = left.min(READ_LEN);
        buffer.resize(usize::try_from(len).expect("a part fits memory"), 0);
        storage.read_files(at, buffer)?;
        hasher.update(&buffer);
        at += u64::from(len);
        left -= len;
    }
    Ok(hasher.finalize().into())
}

/// Whether the files of a piece are there and long enough; much cheaper than reading it.
fn is_present(storage: &Storage, piece: PieceIndex) -> Result<bool, StorageError> {
    let mut walk = Walk::default();
    for segment in storage.segments(piece).filter(|segment| !segment.pad) {
        let len = match storage.look(&mut walk, segment.file) {
            Err(error) if is_absence(&error) => return Ok(false),
            looked => looked?.size,
        };
        let end = segment.offset + u64::try_from(segment.len).expect("a length fits u64");
        if len < end {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_absence(error: &StorageError) -> bool {
    let StorageError::Io { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
    )
}
