//! The data folder: where everything that survives a restart lives, and the lock that keeps a
//! second daemon out.
//!
//! `identity.key`, `lock`, `ledger/`, `network-ledger/`, `network-ledger.mark`,
//! `torrents/HASH.{torrent,resume}`, `torrents/removed`, `policy.toml`, `events`, `api.token`,
//! `origin`.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::host::durable::SECRET_MODE;

/// What `seedbank policy set` keeps, in a data folder.
pub const POLICY_FILE: &str = "policy.toml";

/// A data folder that this process has locked; the lock goes with this value.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or written.
    #[error("data folder {path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error("data folder {path} is in use by another seedbankd (pid {pid})")]
    Locked {
        /// Which folder.
        path: PathBuf,
        /// Process that holds the lock, or "unknown".
        pid: String,
    },
}

impl DataDir {
    /// Makes the folder if needed and locks it for this process.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        for folder in [root.to_owned(), root.join("torrents")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(io_error(&folder))?;
            close_to_others(&folder);
        }
        let path = root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(SECRET_MODE)
            .open(&path)
            .map_err(io_error(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(DataDirError::Locked {
                    path: root.to_owned(),
                    pid: holder(&mut file),
                });
            }
            Err(error) => return Err(io_error(&path)(error.into())),
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(io_error(&path))?;
        Ok(Self {
            root: root.to_owned(),
            _lock: file,
        })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the folder was copied or restored since it was last opened: `origin` holds its own
    /// inode number, which a copy does not have. What takes back whole file systems goes unnoticed.
    pub fn is_copy(&self) -> Result<bool, DataDirError> {
        let path = self.root.join("origin");
        let read = || -> io::Result<bool> {
            let file = File::open(&path)?;
            let mut text = String::new();
            (&file).take(32).read_to_string(&mut text)?;
            Ok(text.trim().parse() != Ok(file.metadata()?.ino()))
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => result.map_err(|source| DataDirError::Io { path, source }),
        }
    }

    /// The folder is at home here from now.
    pub fn settle(&self) -> Result<(), DataDirError> {
        let path = self.root.join("origin");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true);
            let mut file = options.mode(0o600).open(&path)?;
            let inode = file.metadata()?.ino();
            file.write_all(format!("{inode}\n").as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| DataDirError::Io { path, source })
    }

    /// This node's key.
    pub fn identity_key(&self) -> PathBuf {
        self.root.join("identity.key")
    }

    /// This node's ledger.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// The shared ledger of a network, if this node is its settlement node.
    pub fn network_ledger(&self) -> PathBuf {
        self.root.join("network-ledger")
    }

    /// How far that ledger goes, and its clock, where its own files cannot lose it.
    pub fn network_mark(&self) -> PathBuf {
        self.root.join("network-ledger.mark")
    }

    /// What `seedbank policy set` keeps.
    pub fn policy(&self) -> PathBuf {
        self.root.join(POLICY_FILE)
    }

    /// Up to which number events may have been told.
    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// One pair of files per torrent.
    pub fn torrents(&self) -> PathBuf {
        self.root.join("torrents")
    }
}

/// Takes a folder that was open to others, made by an older version or by hand, from them.
fn close_to_others(folder: &Path) {
    let Ok(found) = std::fs::metadata(folder) else {
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return;
    }
    let (path, mode) = (folder.display(), format!("{mode:04o}"));
    match std::fs::set_permissions(folder, Permissions::from_mode(0o700)) {
        Ok(()) => tracing::info!(%path, mode, "a folder was open to others and is closed"),
        Err(error) => tracing::warn!(%path, mode, %error, "a folder is open to others"),
    }
}

/// The pid in a lock file that somebody else holds.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(32).read_to_string(&mut text));
    match read {
        Ok(_) if text.trim().parse::<u32>().is_ok() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m7_a_copied_folder_is_told_from_the_one_it_was_copied_from() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let folder = DataDir::open(one.path()).unwrap();
        assert!(!folder.is_copy().unwrap(), "it is new");
        folder.settle().unwrap();
        assert!(!folder.is_copy().unwrap());
        std::fs::copy(one.path().join("origin"), other.path().join("origin")).unwrap();
        let copy = DataDir::open(other.path()).unwrap();
        assert!(copy.is_copy().unwrap());
        copy.settle().unwrap();
        assert!(!copy.is_copy().unwrap());
        std::fs::write(one.path().join("origin"), "torn").unwrap();
        assert!(folder.is_copy().unwrap(), "if in doubt it is a copy");
    }

    #[test]
    fn n10_a_folder_that_was_open_to_others_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        std::fs::create_dir_all(root.join("torrents")).unwrap();
        for open in [root.clone(), root.join("torrents")] {
            std::fs::set_permissions(open, Permissions::from_mode(0o755)).unwrap();
        }
        let opened = DataDir::open(&root).unwrap();
        for path in [root.clone(), root.join("torrents"), root.join("lock")] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
        drop(opened);
    }

    #[test]
    fn a_second_daemon_is_refused_and_told_the_pid() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let error = DataDir::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }
}
