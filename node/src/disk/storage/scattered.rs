//! Blocks that lie in many files, and the last of them that were read.
//!
//! A block of 16 KiB may lie in 16,384 files, each of which is opened to read one byte, and a peer
//! may ask for it again and again. There are few such blocks, because a torrent's description names
//! every file: kept here, each is gathered once. What files peers ask for otherwise is left to the
//! pool of open ones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use seedbank_engine::units::BLOCK_LEN;

use crate::disk::storage::{Storage, StorageError, layout};

/// Files of a range that are still worth keeping open.
const FILES_FEW: usize = 8;
/// Most blocks kept, of all torrents of a node: 8 MiB.
const BLOCKS_MAX: usize = 512;

/// Blocks gathered of many files, least recently used out first.
#[derive(Debug, Default)]
pub(super) struct Scattered {
    table: Mutex<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    /// By storage and first byte.
    blocks: BTreeMap<(u64, u64), Gathered>,
    clock: u64,
}

#[derive(Debug)]
struct Gathered {
    bytes: Vec<u8>,
    used: u64,
}

impl Scattered {
    /// Forgets the blocks of a storage.
    pub(super) fn forget(&self, storage: u64) {
        let mut table = self.lock();
        table.blocks.retain(|(owner, _), _| *owner != storage);
    }

    /// Copies the bytes of a block from its `skip`-th on; false if it is not here.
    fn copy(&self, key: (u64, u64), skip: usize, to: &mut [u8]) -> bool {
        let mut table = self.lock();
        table.clock += 1;
        let used = table.clock;
        let Some(block) = table.blocks.get_mut(&key) else {
            return false;
        };
        block.used = used;
        to.copy_from_slice(&block.bytes[skip..skip + to.len()]);
        true
    }

    fn insert(&self, key: (u64, u64), bytes: Vec<u8>) {
        let mut table = self.lock();
        table.clock += 1;
        let used = table.clock;
        table.blocks.insert(key, Gathered { bytes, used });
        if table.blocks.len() > BLOCKS_MAX {
            let oldest = table.blocks.iter().min_by_key(|(_, block)| block.used);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.and_then(|key| table.blocks.remove(&key));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        // Nothing under this lock leaves it half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// Whether so many bytes lie in more than a few files.
    pub(super) fn is_scattered(&self, offset: u64, len: usize) -> bool {
        let segments = layout::segments(&self.metainfo.files, offset, len);
        let mut on_disk = segments.filter(|segment| !segment.pad);
        on_disk.nth(FILES_FEW).is_some()
    }

    /// Reads block by block, those in many files once.
    pub(super) fn read_scattered(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
        let (mut at, mut left) = (offset, bytes);
        while !left.is_empty() {
            let block = self.block_around(at);
            let len = len_of(&(at..block.end)).min(left.len());
            let (here, rest) = left.split_at_mut(len);
            left = rest;
            self.read_in_block(&block, at, here)?;
            at += u64::try_from(len).expect("a length fits u64");
        }
        Ok(())
    }

    /// Reads `to.len()` bytes of a block from byte `at` of the torrent on.
    fn read_in_block(
        &self,
        block: &Range<u64>,
        at: u64,
        to: &mut [u8],
    ) -> Result<(), StorageError> {
        if !self.is_scattered(block.start, len_of(block)) {
            return self.read_files(at, to);
        }
        let key = (self.id, block.start);
        let skip = len_of(&(block.start..at));
        if self.pool.scattered.copy(key, skip, to) {
            return Ok(());
        }
        let mut bytes = vec![0; len_of(block)];
        self.read_files(block.start, &mut bytes)?;
        to.copy_from_slice(&bytes[skip..skip + to.len()]);
        self.pool.scattered.insert(key, bytes);
        Ok(())
    }

    /// The block that a byte of the torrent lies in, as peers ask for it.
    fn block_around(&self, at: u64) -> Range<u64> {
        let geometry = &self.metainfo.geometry;
        let piece_len = u64::from(geometry.piece_len());
        let piece = at / piece_len * piece_len;
        let block_len = u64::from(BLOCK_LEN);
        let start = piece + (at - piece) / block_len * block_len;
        let piece_end = (piece + piece_len).min(geometry.total_len());
        start..(start + block_len).min(piece_end)
    }
}

fn len_of(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("a block fits memory")
}
