//! A torrent's bytes on disk: sparse plain files below a download folder.
//!
//! Blocking calls, made from pool threads; only `read_now` may be called from a task. Pieces go
//! in whole and verified; `check` finds out what is there, `resume` remembers it.

pub(crate) mod check;
pub(crate) mod files;
pub(crate) mod layout;
pub(crate) mod resume;

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::io::{Errno, ReadWriteFlags};
use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::units::{InfoHash, PieceIndex};

use files::FilePool;
use layout::Segment;

/// The files of one torrent.
#[derive(Debug)]
pub(crate) struct Storage {
    metainfo: Arc<Metainfo>,
    root: PathBuf,
    paths: Vec<Vec<String>>,
    pool: Arc<FilePool>,
    id: u64,
}

/// Why bytes could not be read or written; names the file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {}", in_words(source))]
pub(crate) struct StorageError {
    path: String,
    source: io::Error,
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
    /// A torrent's files below `download_dir`. Empty files and folders are made; files with bytes
    /// are made when their first piece is written.
    pub(crate) fn open(
        metainfo: Arc<Metainfo>,
        download_dir: &Path,
        pool: Arc<FilePool>,
    ) -> Result<Self, StorageError> {
        let mut paths = Vec::with_capacity(metainfo.files.len());
        for file in &metainfo.files {
            let folder = metainfo.multi_file.then(|| metainfo.name.clone());
            paths.push(folder.into_iter().chain(file.path.clone()).collect());
        }
        let storage = Self {
            root: download_dir.to_owned(),
            paths,
            id: pool.storage_id(),
            pool,
            metainfo,
        };
        for (index, file) in storage.metainfo.files.iter().enumerate() {
            if file.len == 0 && !file.pad {
                storage.file(index, true)?;
            }
        }
        Ok(storage)
    }

    /// What the files are.
    pub(crate) fn metainfo(&self) -> &Arc<Metainfo> {
        &self.metainfo
    }

    /// Which torrent.
    pub(crate) fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash
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

    /// Reads `bytes.len()` bytes from `offset` of the torrent on; waits for the disk.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
        let mut left = bytes;
        for segment in layout::segments(&self.metainfo.files, offset, left.len()) {
            let (here, rest) = left.split_at_mut(segment.len);
            left = rest;
            if segment.pad {
                here.fill(0);
            } else {
                self.file(segment.file, false)?
                    .read_exact_at(here, segment.offset)
                    .map_err(|source| self.error(segment.file, source))?;
            }
        }
        Ok(())
    }

    /// Reads like `read` if everything is in memory already; `false` if a disk would be waited
    /// for, and then `bytes` hold nothing of use.
    pub(crate) fn read_now(&self, offset: u64, bytes: &mut [u8]) -> Result<bool, StorageError> {
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
        for index in self.files_on_disk() {
            match self.file(index, false) {
                Ok(file) => file
                    .sync_data()
                    .map_err(|source| self.error(index, source))?,
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How every file looks now; `None` for one that is not there, and for pad files.
    pub(crate) fn stamps(&self) -> Vec<Option<FileStamp>> {
        let stamp = |index: usize| {
            if self.metainfo.files[index].pad {
                return None;
            }
            let metadata = self.file(index, false).ok()?.metadata().ok()?;
            let age = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some(FileStamp {
                size: metadata.len(),
                mtime_ns: u64::try_from(age.as_nanos()).ok()?,
            })
        };
        (0..self.metainfo.files.len()).map(stamp).collect()
    }

    /// Removes every file of the torrent and the folders left empty.
    pub(crate) fn delete(&self) -> Result<(), StorageError> {
        self.pool.close(self.id);
        for index in self.files_on_disk() {
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

    fn file(&self, index: usize, writable: bool) -> Result<Arc<File>, StorageError> {
        let path = &self.paths[index];
        let open = || {
            if writable {
                files::open_for_writing(&self.root, path, self.metainfo.files[index].len)
            } else {
                files::open_for_reading(&self.root, path)
            }
        };
        self.pool
            .get((self.id, index), writable, open)
            .map_err(|source| self.error(index, source))
    }

    fn segments(&self, piece: PieceIndex) -> Vec<Segment> {
        let geometry = &self.metainfo.geometry;
        let len = usize::try_from(geometry.len_of(piece)).expect("a piece fits memory");
        layout::segments(&self.metainfo.files, geometry.piece_offset(piece), len)
    }

    fn error(&self, index: usize, source: io::Error) -> StorageError {
        StorageError {
            path: self
                .root
                .join(self.paths[index].join("/"))
                .display()
                .to_string(),
            source,
        }
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
