//! Open files of all torrents: a bounded pool, least recently used out first.
//!
//! Every open walks down from the download folder one component at a time and follows no symlink,
//! so that neither a torrent's names nor a link inside the folder lead out of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;

use crate::disk::storage::FileStamp;
use crate::disk::storage::scattered::Scattered;
use crate::host::umask;

/// Most files held open, over all torrents of a node.
pub(crate) const OPEN_FILES_MAX: usize = 256;

/// Modes of what is downloaded, before the user's umask.
const FILE_MODE: u32 = 0o666;
const FOLDER_MODE: u32 = 0o777;

/// Names one file of one storage.
pub(crate) type FileKey = (u64, usize);

/// A bounded pool of open files.
#[derive(Debug, Default)]
pub(crate) struct FilePool {
    open: Mutex<OpenFiles>,
    /// Blocks in more files than are worth keeping open.
    pub(super) scattered: Scattered,
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: BTreeMap<FileKey, Slot>,
    clock: u64,
    next_storage: u64,
}

#[derive(Debug)]
struct Slot {
    file: Arc<File>,
    writable: bool,
    used: u64,
}

impl FilePool {
    /// A number for a new storage, never given twice.
    pub(crate) fn storage_id(&self) -> u64 {
        let mut open = self.lock();
        open.next_storage += 1;
        open.next_storage
    }

    /// The file of `key`, opened by `open` if it is not open (for writing, if `writable`) yet.
    pub(crate) fn get(
        &self,
        key: FileKey,
        writable: bool,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<Arc<File>> {
        if let Some(file) = self.lock().touch(key, writable) {
            return Ok(file);
        }
        // Outside the lock: opening may wait for a disk. Two tasks may both open; one wins.
        let file = Arc::new(open()?);
        let mut pool = self.lock();
        pool.clock += 1;
        let used = pool.clock;
        let slot = Slot {
            file: Arc::clone(&file),
            writable,
            used,
        };
        pool.files.insert(key, slot);
        if pool.files.len() > OPEN_FILES_MAX {
            let oldest = pool.files.iter().min_by_key(|(_, slot)| slot.used);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.and_then(|key| pool.files.remove(&key));
        }
        Ok(file)
    }

    /// Closes every file of a storage; those in use close when their use ends.
    pub(crate) fn close(&self, storage: u64) {
        let mut pool = self.lock();
        pool.files.retain(|(owner, _), _| *owner != storage);
        self.scattered.forget(storage);
    }

    fn lock(&self) -> MutexGuard<'_, OpenFiles> {
        // Nothing under this lock leaves it half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenFiles {
    fn touch(&mut self, key: FileKey, writable: bool) -> Option<Arc<File>> {
        self.clock += 1;
        let used = self.clock;
        let slot = self
            .files
            .get_mut(&key)
            .filter(|slot| slot.writable || !writable)?;
        slot.used = used;
        Some(Arc::clone(&slot.file))
    }
}

/// The folder last walked to: files that lie beside each other cost one walk.
#[derive(Debug, Default)]
pub(crate) struct Walk<'a> {
    at: Option<(&'a [String], OwnedFd)>,
}

impl<'a> Walk<'a> {
    /// How the file `path`, components below `root`, looks; without opening it.
    pub(crate) fn look(&mut self, root: &Path, path: &'a [String]) -> io::Result<FileStamp> {
        let (folder, name) = self.folder(root, path)?;
        let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(not_plain());
        }
        let seconds = u64::try_from(found.st_mtime).unwrap_or(0);
        Ok(FileStamp {
            size: u64::try_from(found.st_size).unwrap_or(0),
            mtime_ns: seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(found.st_mtime_nsec),
        })
    }

    /// Opens `path`, components below `root`, for reading.
    pub(crate) fn open_for_reading(&mut self, root: &Path, path: &'a [String]) -> io::Result<File> {
        let (folder, name) = self.folder(root, path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        regular(openat(folder, name, flags, Mode::empty())?.into())
    }

    fn folder(&mut self, root: &Path, path: &'a [String]) -> io::Result<(&OwnedFd, &'a str)> {
        let (name, folders) = split(path)?;
        let known = self.at.take().filter(|(at, _)| *at == folders);
        let (_, folder) = match known {
            Some(known) => self.at.insert(known),
            None => self.at.insert((folders, walk(root, path, false)?.0)),
        };
        Ok((folder, name))
    }
}

#[cfg(test)]
thread_local! {
    /// Files that this thread opened for reading.
    pub(crate) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Opens `path`, components below `root`, for reading and writing; makes it, its folders, and its
/// full length (sparse) as needed. Never shortens a file.
pub(crate) fn open_for_writing(root: &Path, path: &[String], len: u64) -> io::Result<File> {
    let (folder, name) = walk(root, path, true)?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => create(&folder, name)?,
        other => regular(other?.into())?,
    };
    if file.metadata()?.len() < len {
        file.set_len(len)?;
    }
    Ok(file)
}

/// Makes the file `path`, components below `root`, and its folders; fails if there is one.
pub(crate) fn make(root: &Path, path: &[String]) -> io::Result<File> {
    let (folder, name) = walk(root, path, true)?;
    create(&folder, name)
}

/// Makes a file that is as open to others as its user wants files to be.
fn create(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::from_raw_mode(FILE_MODE))?;
    umask::share(&file, FILE_MODE);
    Ok(file.into())
}

/// Whether a file has bytes that somebody wrote, rather than a hole of its full length. Where the
/// file system cannot tell it has.
pub(crate) fn holds_data(file: &File) -> bool {
    let first = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(0));
    first != Err(Errno::NXIO)
}

/// Removes the file `path` below `root` and the folders that it leaves empty; following no link.
pub(crate) fn remove(root: &Path, path: &[String]) -> io::Result<()> {
    let (folder, name) = match walk(root, path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    for depth in (1..path.len()).rev() {
        let Ok((folder, name)) = walk(root, &path[..depth], false) else {
            break;
        };
        // A folder that still holds something stays.
        if rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR).is_err() {
            break;
        }
    }
    Ok(())
}

/// The folder of the last component, reached from `root` without following a link.
fn walk<'a>(root: &Path, path: &'a [String], make: bool) -> io::Result<(OwnedFd, &'a str)> {
    let (name, folders) = split(path)?;
    let is_new = make && !root.try_exists()?;
    if make {
        std::fs::create_dir_all(root)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, flags, Mode::empty())?;
    if is_new {
        umask::share(&at, FOLDER_MODE);
    }
    for folder in folders {
        component(folder)?;
        let below = openat(
            &at,
            folder.as_str(),
            flags | OFlags::NOFOLLOW,
            Mode::empty(),
        );
        at = match below {
            Err(Errno::NOENT) if make => {
                let made = mkdirat(&at, folder.as_str(), Mode::from_raw_mode(FOLDER_MODE));
                if let Err(error) = made
                    && error != Errno::EXIST
                {
                    return Err(error.into());
                }
                let below = openat(
                    &at,
                    folder.as_str(),
                    flags | OFlags::NOFOLLOW,
                    Mode::empty(),
                );
                if let (Ok(below), Ok(())) = (&below, made) {
                    umask::share(below, FOLDER_MODE);
                }
                below
            }
            other => other,
        }
        .map_err(|error| name_link(error, folder))?;
    }
    Ok((at, name))
}

/// A file's name and the folders it lies in.
fn split(path: &[String]) -> io::Result<(&str, &[String])> {
    let (name, folders) = path
        .split_last()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file without a name"))?;
    component(name)?;
    Ok((name, folders))
}

/// Metainfo holds safe components only; a second look costs nothing where it would hurt most.
fn component(name: &str) -> io::Result<()> {
    let unsafe_name =
        name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']);
    if unsafe_name {
        let message = format!("{name:?} is no safe file name");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// A link in place of a folder is refused by the kernel with an unclear word.
fn name_link(error: Errno, folder: &str) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{folder:?} is a link or no folder; it is not followed"),
        ),
        other => other.into(),
    }
}

/// Refuses what is not a plain file: a pipe or device would make reads wait for ever.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_plain())
    }
}

fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a plain file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn links_inside_the_download_folder_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("file")).unwrap();
        let error = open_for_writing(folder.path(), &path(&["sub", "a"]), 1).unwrap_err();
        assert!(error.to_string().contains("not followed"), "{error}");
        for way in [&["file"][..], &["sub", "a"]] {
            let way = path(way);
            let opened = Walk::default().open_for_reading(folder.path(), &way);
            let looked = Walk::default().look(folder.path(), &way);
            assert!(opened.is_err() && looked.is_err());
        }
        assert!(open_for_writing(folder.path(), &path(&["file"]), 1).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    /// A stored torrent, and a folder of ours beside it.
    #[test]
    fn n10_downloads_are_as_open_as_the_user_wants_and_all_else_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        std::fs::create_dir(&own).unwrap();
        let mode = |path: &Path| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        // As it was before: another test cannot have changed it, since it is set here alone.
        let (files, folders) = (0o666 & mode_of_user(), 0o777 & mode_of_user());
        umask::keep_private();
        let root = folder.path().join("Downloads");
        make(&root, &path(&["t", "sub", "a"])).unwrap();
        open_for_writing(&root, &path(&["t", "b"]), 5).unwrap();
        for made in ["t/sub/a", "t/b"] {
            assert_eq!(mode(&root.join(made)), files, "{made}");
        }
        for made in ["", "t", "t/sub"] {
            assert_eq!(mode(&root.join(made)), folders, "{made}");
        }
        std::fs::write(own.join("row"), "1").unwrap();
        assert_eq!(mode(&own.join("row")), 0o600);
    }

    /// What the umask leaves, before anybody changes it.
    fn mode_of_user() -> u32 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        !u32::from_str_radix(umask.unwrap().trim(), 8).unwrap()
    }

    #[test]
    fn unsafe_names_are_refused_even_here() {
        let folder = tempfile::tempdir().unwrap();
        for bad in [&["..", "a"][..], &["a/b"], &["/a"], &[""], &[".."], &[]] {
            assert!(open_for_writing(folder.path(), &path(bad), 1).is_err());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_pool_stays_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let pool = FilePool::default();
        let storage = pool.storage_id();
        for index in 0..OPEN_FILES_MAX + 10 {
            let open = || open_for_writing(folder.path(), &path(&["one"]), 1);
            pool.get((storage, index), true, open).unwrap();
        }
        assert_eq!(pool.lock().files.len(), OPEN_FILES_MAX);
        assert!(!pool.lock().files.contains_key(&(storage, 0)));
        pool.close(storage);
        assert_eq!(pool.lock().files.len(), 0);
    }

    #[test]
    fn removing_takes_empty_folders_along_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            open_for_writing(folder.path(), &path(&["t", "x", name]), 1).unwrap();
        }
        remove(folder.path(), &path(&["t", "x", "a"])).unwrap();
        assert!(folder.path().join("t/x/b").exists());
        remove(folder.path(), &path(&["t", "x", "b"])).unwrap();
        assert!(!folder.path().join("t").exists());
        assert!(folder.path().exists());
    }
}
