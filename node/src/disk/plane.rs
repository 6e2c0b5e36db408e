//! The data plane: what connections, pools and the session thread share. Payload lives here.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use seedbank_engine::content::bitfield::Bitfield;
use seedbank_engine::interface::input::Input;
use seedbank_engine::units::{PeerIndex, PieceIndex, TorrentId};

use crate::disk::lease::{FullPiece, Leases};
use crate::disk::rooms::ReadRooms;
use crate::disk::storage::check;
use crate::disk::storage::files::FilePool;
use crate::disk::storage::{Storage, StorageError};
use crate::inbox::Inbox;
use crate::link::outbox::WaitingBytes;
use crate::pool::Pool;

/// Threads that read and write files; more than disks have heads, few enough to be idle cheaply.
const DISK_THREADS: usize = 4;
/// Files without bytes that are made at a time, before others get their turn.
const EMPTY_FILES_MAX: usize = 1_000;
/// Most threads that hash, whatever the machine.
const HASH_THREADS_MAX: usize = 4;

/// Leases, open storages, pools and the way to the session.
#[derive(Debug)]
pub(crate) struct DataPlane {
    /// Pieces being filled.
    pub(crate) leases: Leases,
    /// Verifies pieces and checks torrents.
    pub(crate) hash: Pool,
    /// Reads what is not in memory.
    pub(crate) disk: Pool,
    /// The session thread's queue.
    pub(crate) inbox: Inbox,
    /// Open files of all torrents.
    pub(crate) files: Arc<FilePool>,
    /// What connections read into.
    pub(crate) read_rooms: ReadRooms,
    /// What waits to be sent to all peers.
    pub(crate) waiting: WaitingBytes,
    torrents: Mutex<BTreeMap<TorrentId, Arc<TorrentData>>>,
    next_peer: AtomicU64,
}

/// A torrent whose storage is open.
#[derive(Debug)]
pub(crate) struct TorrentData {
    /// Its files.
    pub(crate) storage: Arc<Storage>,
    have: Mutex<Bitfield>,
    /// Pieces were added since the last record of them.
    dirty: AtomicBool,
    /// Bytes were written since the last sync.
    unsynced: AtomicBool,
    /// Set, under the lock, once nothing may be written any more.
    gone: RwLock<bool>,
}

impl DataPlane {
    /// Starts the pools.
    pub(crate) fn start(inbox: Inbox) -> io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            leases: Leases::default(),
            hash: Pool::start("hash", cores.min(HASH_THREADS_MAX))?,
            disk: Pool::start("disk", DISK_THREADS)?,
            inbox,
            files: Arc::new(FilePool::default()),
            read_rooms: ReadRooms::default(),
            waiting: WaitingBytes::default(),
            torrents: Mutex::default(),
            next_peer: AtomicU64::new(0),
        }))
    }

    /// The number of the next connection.
    pub(crate) fn next_peer(&self) -> PeerIndex {
        PeerIndex(self.next_peer.fetch_add(1, Ordering::Relaxed))
    }

    /// A torrent whose storage is open.
    pub(crate) fn torrent(&self, torrent_id: &TorrentId) -> Option<Arc<TorrentData>> {
        self.table().get(torrent_id).cloned()
    }

    /// Every torrent whose storage is open.
    pub(crate) fn torrents(&self) -> Vec<Arc<TorrentData>> {
        self.table().values().cloned().collect()
    }

    /// Adds a torrent whose storage was opened; replaces one of the same name.
    pub(crate) fn insert(&self, data: Arc<TorrentData>) {
        self.table().insert(data.storage.torrent_id(), data);
    }

    /// Forgets a torrent; its files close when their last use ends.
    pub(crate) fn remove(&self, torrent_id: &TorrentId) -> Option<Arc<TorrentData>> {
        self.table().remove(torrent_id)
    }

    /// Verifies a full piece on the hash pool and writes it; the session hears of it afterwards.
    pub(crate) async fn verify(self: &Arc<Self>, full: FullPiece) {
        let plane = Arc::clone(self);
        self.hash.submit(move || plane.verify_now(full)).await;
    }

    /// Makes the files of a complete torrent that have no bytes, a number at a time.
    pub(crate) async fn make_empty_files(&self, of: &Arc<TorrentData>) -> Result<(), StorageError> {
        loop {
            let data = Arc::clone(of);
            let made = self.disk.run(move || data.make_empty_files());
            if made.await? {
                return Ok(());
            }
        }
    }

    fn verify_now(&self, full: FullPiece) {
        let (torrent_id, piece) = (full.torrent_id, full.piece);
        let outcome = match self.torrent(&torrent_id) {
            Some(torrent) => torrent.take_in(&full),
            // Removed meanwhile: nobody waits for the piece.
            None => Ok(false),
        };
        // Before the session hears of it, because it may lease the piece again at once.
        self.leases.finish(full);
        self.inbox.input_blocking(match outcome {
            Ok(true) => Input::PieceVerified { torrent_id, piece },
            Ok(false) => Input::PieceFailed { torrent_id, piece },
            Err(error) => Input::StorageFailed {
                torrent_id,
                reason: error.to_string(),
            },
        });
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<TorrentId, Arc<TorrentData>>> {
        // Nothing under this lock leaves it half done.
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TorrentData {
    pub(crate) fn new(storage: Storage) -> Arc<Self> {
        let none = Bitfield::none(storage.metainfo().geometry.piece_count());
        Arc::new(Self {
            storage: Arc::new(storage),
            have: Mutex::new(none),
            dirty: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            gone: RwLock::new(false),
        })
    }

    /// The pieces that are verified and written.
    pub(crate) fn have(&self) -> Bitfield {
        self.lock().clone()
    }

    /// Whether a piece is verified and written.
    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        self.lock().get(piece)
    }

    /// Replaces the pieces by what a check found.
    pub(crate) fn set_have(&self, have: Bitfield) {
        *self.lock() = have;
    }

    /// Takes note that there are pieces that are not on record.
    pub(crate) fn set_dirty(&self) {
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// Whether pieces were added since this was last asked.
    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::Relaxed)
    }

    /// Makes what was written survive a loss of power. Waits for the disk.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        if self.unsynced.swap(false, Ordering::Relaxed) {
            self.storage.sync()?;
        }
        Ok(())
    }

    /// Removes the files, behind any piece that is being written. Waits for the disk.
    pub(crate) fn delete(&self) -> Result<(), StorageError> {
        *self.gone.write().unwrap_or_else(PoisonError::into_inner) = true;
        self.storage.delete()
    }

    fn take_in(&self, full: &FullPiece) -> Result<bool, StorageError> {
        if !check::matches(self.storage.metainfo(), full.piece, &full.bytes) {
            return Ok(false);
        }
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        if *gone {
            return Ok(false);
        }
        self.storage.write_piece(full.piece, &full.bytes)?;
        let is_complete = {
            let mut have = self.lock();
            have.set(full.piece);
            have.is_complete()
        };
        self.unsynced.store(true, Ordering::Relaxed);
        if is_complete {
            // All of them, but for torrents with thousands, whose record then waits for the rest.
            self.storage.make_empty_files(EMPTY_FILES_MAX)?;
        }
        Ok(true)
    }

    /// Makes some of the files without bytes; says whether none is left to make.
    fn make_empty_files(&self) -> Result<bool, StorageError> {
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        match *gone {
            true => Ok(true),
            false => self.storage.make_empty_files(EMPTY_FILES_MAX),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bitfield> {
        // Nothing under this lock leaves it half done.
        self.have.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
