//! Leased pieces: one buffer per piece being downloaded, shared by the connections that fill it.
//!
//! A lease opens with the first request for its piece, takes each block once, and is handed on
//! whole, once, when the last block lands. Until the piece is written, what comes late is compared
//! with it. How many leases there may be is the session's business (`Config::lease_bytes_max`); one
//! that it gives up takes nothing more, and what it had taken is news that comes too late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seedbank_engine::asked::{Arrived, Found, Lease};
use seedbank_engine::units::{Block, PieceIndex, TorrentId};

use crate::inbox::GivenUp;

/// Bytes of buffers kept for the next lease of the same length.
const SPARE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Every open lease of a node.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    table: Mutex<LeaseTable>,
}

/// A piece whose every block has arrived, to be verified and written by whoever holds this.
#[derive(Debug)]
pub(crate) struct FullPiece {
    /// Torrent.
    pub(crate) torrent_id: TorrentId,
    /// Which piece.
    pub(crate) piece: PieceIndex,
    /// All of its bytes.
    pub(crate) bytes: Arc<Vec<u8>>,
}

/// What became of a block at its lease.
#[derive(Debug)]
pub(crate) struct Landed {
    /// What the lease had of it.
    pub(crate) found: Found,
    /// The whole piece, if this block was the last.
    pub(crate) full: Option<FullPiece>,
    /// Tells whether the session gave the lease up; `None` without one that it still may.
    pub(crate) given_up: Option<GivenUp>,
}

#[derive(Debug, Default)]
struct LeaseTable {
    leases: BTreeMap<(TorrentId, PieceIndex), Arc<Mutex<Leased>>>,
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
}

#[derive(Debug)]
enum Leased {
    Filling(PieceBuffer),
    Full(Arc<Vec<u8>>),
}

/// A piece's bytes and which of its blocks are among them.
#[derive(Debug)]
struct PieceBuffer {
    bytes: Vec<u8>,
    blocks: Lease,
    given_up: GivenUp,
}

impl Leases {
    /// Opens the lease of a piece of `len` bytes in `block_count` blocks, unless it is open.
    pub(crate) fn open(&self, torrent_id: TorrentId, piece: PieceIndex, len: usize, blocks: usize) {
        let mut table = self.lock();
        if table.leases.contains_key(&(torrent_id, piece)) {
            return;
        }
        let lease = Leased::Filling(PieceBuffer {
            bytes: table.buffer(len),
            blocks: Lease::new(blocks),
            given_up: GivenUp::default(),
        });
        let lease = Arc::new(Mutex::new(lease));
        table.leases.insert((torrent_id, piece), lease);
    }

    /// Forgets a lease that is still being filled; a full one is on its way to the disk and ends
    /// with `finish`.
    pub(crate) fn release(&self, torrent_id: TorrentId, piece: PieceIndex) {
        self.lock().give_up(torrent_id, piece);
    }

    /// Forgets every lease of a torrent that is still being filled.
    pub(crate) fn release_all(&self, torrent_id: TorrentId) {
        let mut table = self.lock();
        let first = (torrent_id, PieceIndex::unchecked(0));
        let last = (torrent_id, PieceIndex::unchecked(u32::MAX));
        let leases = table.leases.range(first..=last);
        let pieces: Vec<PieceIndex> = leases.map(|((_, piece), _)| *piece).collect();
        for piece in pieces {
            table.give_up(torrent_id, piece);
        }
    }

    /// Ends the lease of a piece that was verified or failed.
    pub(crate) fn finish(&self, full: FullPiece) {
        let (torrent_id, piece) = (full.torrent_id, full.piece);
        drop(full);
        self.lock().take(torrent_id, piece);
    }

    /// Copies a block into its lease, or compares it with what is there. [`Found::Nothing`] without
    /// a lease: given up, or verified and written since.
    ///
    /// # Panics
    /// If the block does not fit the piece that the lease was opened for; only blocks that this
    /// node asked for get here.
    pub(crate) fn store(&self, torrent_id: TorrentId, block: &Block, payload: &[u8]) -> Landed {
        let lease = self.lock().leases.get(&(torrent_id, block.piece)).cloned();
        let Some(lease) = lease else {
            return Landed::nowhere();
        };
        let mut lease = lock(&lease);
        let begin = usize::try_from(block.begin).expect("a piece fits memory");
        let range = begin..begin + payload.len();
        let mut landed = Landed::nowhere();
        let compared = |there: &[u8]| Found::Present {
            equal: there == payload,
        };
        let buffer = match &mut *lease {
            Leased::Full(bytes) => {
                landed.found = compared(&bytes[range]);
                return landed;
            }
            // Given up between the two locks.
            Leased::Filling(buffer) if buffer.given_up.is_set() => return landed,
            Leased::Filling(buffer) => buffer,
        };
        landed.given_up = Some(buffer.given_up.clone());
        let index = block.index().expect("requests lie on the 16 KiB grid");
        let index = usize::try_from(index).expect("a block count fits memory");
        let there = &mut buffer.bytes[range];
        let Arrived::New { full } = buffer.blocks.arrived(index) else {
            landed.found = compared(there);
            return landed;
        };
        there.copy_from_slice(payload);
        landed.found = Found::Missing;
        if full {
            let bytes = Arc::new(std::mem::take(&mut buffer.bytes));
            *lease = Leased::Full(Arc::clone(&bytes));
            landed.full = Some(FullPiece {
                torrent_id,
                piece: block.piece,
                bytes,
            });
        }
        landed
    }

    /// How many leases are open.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().leases.len()
    }

    fn lock(&self) -> MutexGuard<'_, LeaseTable> {
        // Nothing under this lock leaves it half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Landed {
    /// No lease.
    const fn nowhere() -> Self {
        Self {
            found: Found::Nothing,
            full: None,
            given_up: None,
        }
    }
}

impl LeaseTable {
    /// A buffer of `len` bytes, whatever they are.
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        let Some(index) = self.spare.iter().position(|spare| spare.len() == len) else {
            return vec![0; len];
        };
        self.spare_bytes -= len;
        self.spare.swap_remove(index)
    }

    /// Removes a lease that is still being filled; it takes nothing more.
    fn give_up(&mut self, torrent_id: TorrentId, piece: PieceIndex) {
        let lease = self.leases.get(&(torrent_id, piece));
        let filling = lease.is_some_and(|lease| match &*lock(lease) {
            Leased::Filling(buffer) => {
                buffer.given_up.set();
                true
            }
            Leased::Full(_) => false,
        });
        if filling {
            self.take(torrent_id, piece);
        }
    }

    /// Removes a lease and keeps its buffer for the next, if nobody else holds it.
    fn take(&mut self, torrent_id: TorrentId, piece: PieceIndex) {
        let lease = self.leases.remove(&(torrent_id, piece));
        let lease = lease.and_then(Arc::into_inner);
        let Some(lease) = lease else { return };
        let bytes = match lease.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Leased::Filling(buffer) => buffer.bytes,
            Leased::Full(bytes) => match Arc::into_inner(bytes) {
                Some(bytes) => bytes,
                None => return,
            },
        };
        if self.spare_bytes + bytes.len() <= SPARE_BYTES_MAX {
            self.spare_bytes += bytes.len();
            self.spare.push(bytes);
        }
    }
}

fn lock(lease: &Mutex<Leased>) -> MutexGuard<'_, Leased> {
    lease.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use seedbank_engine::units::Geometry;

    use super::*;

    const TORRENT: TorrentId = TorrentId([1; 20]);

    fn block(index: u32) -> Block {
        let geometry = Geometry::new(40_000, 40_000).unwrap();
        let piece = PieceIndex::new(0, &geometry).unwrap();
        geometry.block(piece, index).unwrap()
    }

    fn opened() -> Leases {
        let leases = Leases::default();
        leases.open(TORRENT, block(0).piece, 40_000, 3);
        leases
    }

    fn payload(index: u32, byte: u8) -> Vec<u8> {
        vec![byte; usize::try_from(block(index).len).unwrap()]
    }

    #[test]
    fn the_last_block_hands_the_piece_on_once() {
        let leases = opened();
        for (index, byte) in [(2, 3), (0, 1)] {
            let stored = leases.store(TORRENT, &block(index), &payload(index, byte));
            assert_eq!(stored.found, Found::Missing);
            assert!(stored.full.is_none());
        }
        let stored = leases.store(TORRENT, &block(1), &payload(1, 2));
        assert_eq!(stored.found, Found::Missing);
        let full = stored.full.expect("the last block");
        assert_eq!(full.bytes.len(), 40_000);
        assert_eq!(full.bytes[..16_384], payload(0, 1));
        assert_eq!(full.bytes[32_768..], payload(2, 3));

        for (byte, equal) in [(2, true), (9, false)] {
            let late = leases.store(TORRENT, &block(1), &payload(1, byte));
            assert_eq!(late.found, Found::Present { equal });
            assert!(late.full.is_none());
        }
        leases.finish(full);
        let late = leases.store(TORRENT, &block(1), &payload(1, 2));
        assert_eq!(late.found, Found::Nothing);
        assert_eq!(leases.count(), 0);
    }

    #[test]
    fn a_block_that_is_there_is_never_overwritten() {
        let leases = opened();
        leases.store(TORRENT, &block(0), &payload(0, 1));
        let stored = leases.store(TORRENT, &block(0), &payload(0, 2));
        assert_eq!(stored.found, Found::Present { equal: false });
        leases.open(TORRENT, block(0).piece, 40_000, 3);
        let stored = leases.store(TORRENT, &block(0), &payload(0, 1));
        assert_eq!(stored.found, Found::Present { equal: true });
    }

    #[test]
    fn release_forgets_a_filling_lease_and_leaves_a_full_one() {
        let leases = opened();
        leases.release(TORRENT, block(0).piece);
        assert_eq!(leases.count(), 0);
        leases.open(TORRENT, block(0).piece, 40_000, 3);
        (0..3).for_each(|index| {
            leases.store(TORRENT, &block(index), &payload(index, 1));
        });
        leases.release(TORRENT, block(0).piece);
        assert_eq!(leases.count(), 1);
    }

    #[test]
    fn whoever_stored_in_a_lease_learns_that_it_was_given_up() {
        let leases = opened();
        let before = leases.store(TORRENT, &block(0), &payload(0, 1));
        let again = leases.store(TORRENT, &block(0), &payload(0, 1));
        leases.release(TORRENT, block(0).piece);
        leases.open(TORRENT, block(0).piece, 40_000, 3);
        let after = leases.store(TORRENT, &block(0), &payload(0, 1));
        assert_eq!(after.found, Found::Missing);
        let told = [before, again, after].map(|landed| landed.given_up.unwrap().is_set());
        assert_eq!(told, [true, true, false]);
    }

    #[test]
    fn a_torrents_leases_go_together_and_leave_others() {
        let leases = opened();
        let other = TorrentId([2; 20]);
        leases.open(other, block(0).piece, 40_000, 3);
        leases.open(TORRENT, PieceIndex::unchecked(7), 40_000, 3);
        leases.release_all(TORRENT);
        assert_eq!(leases.count(), 1);
        let stored = leases.store(other, &block(0), &payload(0, 1));
        assert_eq!(stored.found, Found::Missing);
    }

    #[test]
    fn buffers_are_used_again() {
        let leases = opened();
        leases.release(TORRENT, block(0).piece);
        assert_eq!(leases.lock().spare_bytes, 40_000);
        leases.open(TORRENT, block(0).piece, 40_000, 3);
        assert_eq!(leases.lock().spare_bytes, 0);
    }
}
