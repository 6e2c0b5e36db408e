//! A torrent's bytes on disk: sparse plain files below a download folder.
//!
//! Blocking calls, made from pool threads; only `read_now` may be called from a task. Pieces go
//! in whole and verified; `check` finds out what is there, `ownership` whose it is, `resume`
//! remembers it. Between opening and `claim` nothing is made or written.

pub(crate) mod check;
pub(crate) mod files;
pub(crate) mod layout;
mod ownership;
pub(crate) mod resume;
mod scattered;

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::{Errno, ReadWriteFlags};
use seedbank_engine::content::bitfield::Bitfield;
use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::units::{PieceIndex, TorrentId};

use files::{FilePool, Walk};
use layout::Segment;
use ownership::{FoundFile, Matches, Recorded};
use resume::ResumeData;

/// The files of one torrent.
#[derive(Debug)]
pub(crate) struct Storage {
    metainfo: Arc<Metainfo>,
    root: PathBuf,
    paths: Vec<Vec<String>>,
    pool: Arc<FilePool>,
    id: u64,
    /// Of each file, whether it is there and this torrent's own; what is not is never written to.
    owned: Vec<AtomicBool>,
    /// Held while a file is made.
    making: Mutex<()>,
    /// The first file that may be without bytes and is not made.
    next_empty: Mutex<usize>,
}

/// Why bytes could not be read or written; names the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// What the system said.
    #[error("{path}: {}", in_words(source))]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something else lies where the file should be.
    #[error(
        "{path} exists and is not part of this torrent: move it away or choose another folder \
         (--dir)"
    )]
    Foreign {
        /// Which file.
        path: String,
    },
}

impl StorageError {
    /// Whether the file is not there.
    fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What a file looks like from outside; a change means that its pieces want verifying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct FileStamp {
    /// Bytes.
    pub(crate) size: u64,
    /// Last change in nanoseconds since 1970.
    pub(crate) mtime_ns: u64,
}

impl Storage {
    /// A torrent's files below `download_dir`; nothing is touched. Files are made when their first
    /// piece is written.
    pub(crate) fn open(metainfo: Arc<Metainfo>, download_dir: &Path, pool: Arc<FilePool>) -> Self {
        let mut paths = Vec::with_capacity(metainfo.files.len());
        for file in &metainfo.files {
            let folder = metainfo.multi_file.then(|| metainfo.name.clone());
            paths.push(folder.into_iter().chain(file.path.clone()).collect());
        }
        Self {
            root: download_dir.to_owned(),
            owned: paths.iter().map(|_| AtomicBool::new(false)).collect(),
            making: Mutex::default(),
            next_empty: Mutex::default(),
            paths,
            id: pool.storage_id(),
            pool,
            metainfo,
        }
    }

    /// Takes the files that are there for the torrent's own, if they are: `have` says which pieces
    /// match, `record` what an earlier check of this torrent left behind. Changes no file.
    pub(crate) fn claim(
        &self,
        have: &Bitfield,
        record: Option<&ResumeData>,
    ) -> Result<(), StorageError> {
        let record = record.filter(|record| record.files.len() == self.paths.len());
        let mut walk = Walk::default();
        for index in self.files_on_disk() {
            let len = match self.look(&mut walk, index) {
                Err(error) if error.is_not_found() => continue,
                looked => looked?.size,
            };
            let file = self.open_apart(&mut walk, index)?;
            let found = FoundFile {
                len,
                expected_len: self.metainfo.files[index].len,
                holds_data: len > 0 && files::holds_data(&file),
                recorded: match record.map(|record| record.files[index]) {
                    None => Recorded::Nothing,
                    Some(None) => Recorded::Missing,
                    Some(Some(_)) => Recorded::Own,
                },
                matches: self.matches(index, have),
            };
            if !ownership::is_own(found) {
                return Err(self.foreign(index));
            }
            self.owned[index].store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Makes at most `max` of the files that have no bytes, which no piece would; says whether they
    /// are all there. Torrents get them when they are complete: a description alone makes no file.
    pub(crate) fn make_empty_files(&self, max: usize) -> Result<bool, StorageError> {
        let next = self.next_empty.lock();
        let mut next = next.unwrap_or_else(PoisonError::into_inner);
        let mut made = 0;
        while let Some(file) = self.metainfo.files.get(*next) {
            if file.len == 0 && !file.pad && !self.owns(*next) {
                if made == max {
                    return Ok(false);
                }
                self.make(*next)?;
                made += 1;
            }
            *next += 1;
        }
        Ok(true)
    }

    /// What the files are.
    pub(crate) fn metainfo(&self) -> &Arc<Metainfo> {
        &self.metainfo
    }

    /// Which torrent.
    pub(crate) fn torrent_id(&self) -> TorrentId {
        self.metainfo.torrent_id()
    }

    /// Writes a whole piece; the caller has verified it.
    pub(crate) fn write_piece(&self, piece: PieceIndex, bytes: &[u8]) -> Result<(), StorageError> {
        let mut left = bytes;
        let offset = self.metainfo.geometry.piece_offset(piece);
        for segment in layout::segments(&self.metainfo.files, offset, bytes.len()) {
            let (here, rest) = left.split_at(segment.len);
            left = rest;
            if !segment.pad {
                self.file(segment.file, true)?
                    .write_all_at(here, segment.offset)
                    .map_err(|source| self.error(segment.file, source))?;
            }
        }
        Ok(())
    }

    /// Reads `bytes.len()` bytes from `offset` of the torrent on, which lie in pieces that are
    /// there; waits for the disk.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
        match self.is_scattered(offset, bytes.len()) {
            true => self.read_scattered(offset, bytes),
            false => self.read_files(offset, bytes),
        }
    }

    /// The same, past the blocks that are kept.
    fn read_files(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
        let mut walk = Walk::default();
        let apart = self.is_scattered(offset, bytes.len());
        let mut left = bytes;
        for segment in layout::segments(&self.metainfo.files, offset, left.len()) {
            let (here, rest) = left.split_at_mut(segment.len);
            left = rest;
            if segment.pad {
                here.fill(0);
                continue;
            }
            // So many files would only push each other, and all others, out of the pool.
            let file = match apart {
                true => Arc::new(self.open_apart(&mut walk, segment.file)?),
                false => self.file(segment.file, false)?,
            };
            file.read_exact_at(here, segment.offset)
                .map_err(|source| self.error(segment.file, source))?;
        }
        Ok(())
    }

    /// Reads like `read` if everything is in memory already; `false` if a disk would be waited
    /// for, and then `bytes` hold nothing of use.
    pub(crate) fn read_now(&self, offset: u64, bytes: &mut [u8]) -> Result<bool, StorageError> {
        if self.is_scattered(offset, bytes.len()) {
            return Ok(false);
        }
        let mut left = bytes;
        for segment in layout::segments(&self.metainfo.files, offset, left.len()) {
            let (here, rest) = left.split_at_mut(segment.len);
            left = rest;
            if segment.pad {
                here.fill(0);
                continue;
            }
            let file = self.file(segment.file, false)?;
            let read = rustix::io::preadv2(
                &*file,
                &mut [IoSliceMut::new(here)],
                segment.offset,
                ReadWriteFlags::NOWAIT,
            );
            match read {
                Ok(len) if len == here.len() => {}
                // Cold, short, or a file system that cannot tell: the pool finds out which.
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    return Ok(false);
                }
                Err(error) => return Err(self.error(segment.file, error.into())),
            }
        }
        Ok(true)
    }

    /// Makes everything written so far survive a loss of power.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        for index in self.files_on_disk().filter(|index| self.owns(*index)) {
            match self.file(index, false) {
                Ok(file) => file
                    .sync_data()
                    .map_err(|source| self.error(index, source))?,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How every file looks now; `None` for one that is not there, and for pad files.
    pub(crate) fn stamps(&self) -> Vec<Option<FileStamp>> {
        let mut walk = Walk::default();
        let stamp = |index: usize| {
            let wanted = !self.metainfo.files[index].pad;
            wanted.then(|| self.look(&mut walk, index).ok()).flatten()
        };
        (0..self.metainfo.files.len()).map(stamp).collect()
    }

    /// The same of those that are the torrent's own; `None` for the others.
    pub(crate) fn own_stamps(&self) -> Vec<Option<FileStamp>> {
        let stamps = self.stamps().into_iter().enumerate();
        stamps
            .map(|(index, stamp)| stamp.filter(|_| self.owns(index)))
            .collect()
    }

    /// Looks whether some of the files still hold the pieces that are there.
    pub(crate) fn look_for(
        &self,
        have: &Bitfield,
        files: Range<usize>,
    ) -> Result<(), StorageError> {
        let mut walk = Walk::default();
        for index in files {
            let needed = self.len_needed(index, have);
            if needed > 0 && self.look(&mut walk, index)?.size < needed {
                return Err(self.error(index, io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }

    /// Removes every file that is the torrent's own and the folders left empty.
    pub(crate) fn delete(&self) -> Result<(), StorageError> {
        self.pool.close(self.id);
        for index in self.files_on_disk().filter(|index| self.owns(*index)) {
            files::remove(&self.root, &self.paths[index])
                .map_err(|source| self.error(index, source))?;
        }
        Ok(())
    }

    /// The files that segments lie in, pad files apart.
    fn files_on_disk(&self) -> impl Iterator<Item = usize> + '_ {
        let files = self.metainfo.files.iter().enumerate();
        files.filter(|(_, file)| !file.pad).map(|(index, _)| index)
    }

    fn owns(&self, index: usize) -> bool {
        self.owned[index].load(Ordering::Acquire)
    }

    /// How many of the pieces in a file are among these.
    fn matches(&self, index: usize, have: &Bitfield) -> Matches {
        if self.metainfo.files[index].len == 0 {
            return Matches::None;
        }
        let (mut any, mut all) = (false, true);
        for piece in self.pieces_of(index) {
            any |= have.get(piece);
            all &= have.get(piece);
        }
        match (any, all) {
            (_, true) => Matches::All,
            (true, false) => Matches::Some,
            (false, false) => Matches::None,
        }
    }

    /// How long a file must be to hold its part of these pieces; 0 for a pad file.
    fn len_needed(&self, index: usize, have: &Bitfield) -> u64 {
        let (file, geometry) = (&self.metainfo.files[index], &self.metainfo.geometry);
        let mut pieces = self.pieces_of(index).rev();
        let last = pieces.find(|piece| have.get(*piece) && !file.pad);
        last.map_or(0, |piece| {
            let end = geometry.piece_offset(piece) + u64::from(geometry.len_of(piece));
            end.min(file.offset + file.len) - file.offset
        })
    }

    /// The pieces that a file has a part in, in order.
    fn pieces_of(&self, index: usize) -> impl DoubleEndedIterator<Item = PieceIndex> + '_ {
        let (file, geometry) = (&self.metainfo.files[index], &self.metainfo.geometry);
        let piece_len = u64::from(geometry.piece_len());
        let end = (file.offset + file.len).div_ceil(piece_len);
        let first = (file.offset / piece_len).min(end);
        let pieces = (first..end).filter(|_| file.len > 0);
        pieces.map(|raw| {
            let raw = u32::try_from(raw).expect("a piece index fits u32");
            PieceIndex::new(raw, geometry).expect("a file lies in its torrent")
        })
    }

    fn file(&self, index: usize, writable: bool) -> Result<Arc<File>, StorageError> {
        if writable && !self.owns(index) {
            self.make(index)?;
        }
        self.file_there(index, writable)
    }

    /// Makes a file that was not there when the torrent was checked.
    fn make(&self, index: usize) -> Result<(), StorageError> {
        // Two pieces of one file may come at once: one of them makes it.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.owns(index) {
            return Ok(());
        }
        match files::make(&self.root, &self.paths[index]) {
            Ok(_) => {
                self.owned[index].store(true, Ordering::Release);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.foreign(index)),
            Err(error) => Err(self.error(index, error)),
        }
    }

    fn file_there(&self, index: usize, writable: bool) -> Result<Arc<File>, StorageError> {
        let path = &self.paths[index];
        let open = || {
            if writable {
                files::open_for_writing(&self.root, path, self.metainfo.files[index].len)
            } else {
                Walk::default().open_for_reading(&self.root, path)
            }
        };
        self.pool
            .get((self.id, index), writable, open)
            .map_err(|source| self.error(index, source))
    }

    /// How a file looks.
    fn look<'a>(&'a self, walk: &mut Walk<'a>, index: usize) -> Result<FileStamp, StorageError> {
        walk.look(&self.root, &self.paths[index])
            .map_err(|source| self.error(index, source))
    }

    /// Opens a file for reading once, outside the pool.
    fn open_apart<'a>(&'a self, walk: &mut Walk<'a>, index: usize) -> Result<File, StorageError> {
        walk.open_for_reading(&self.root, &self.paths[index])
            .map_err(|source| self.error(index, source))
    }

    fn segments(&self, piece: PieceIndex) -> impl Iterator<Item = Segment> {
        let geometry = &self.metainfo.geometry;
        let len = usize::try_from(geometry.len_of(piece)).expect("a piece fits memory");
        layout::segments(&self.metainfo.files, geometry.piece_offset(piece), len)
    }

    fn error(&self, index: usize, source: io::Error) -> StorageError {
        let path = self.path(index);
        StorageError::Io { path, source }
    }

    fn foreign(&self, index: usize) -> StorageError {
        let path = self.path(index);
        StorageError::Foreign { path }
    }

    fn path(&self, index: usize) -> String {
        let path = self.root.join(self.paths[index].join("/"));
        path.display().to_string()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.pool.close(self.id);
    }
}

/// The system's word without its number, and a plain one where people look for it.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "no space left on device".to_owned(),
        io::ErrorKind::QuotaExceeded => "disk quota exceeded".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::UnexpectedEof => "file is shorter than the torrent says".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
