//! Files that are either old or new, never torn: write aside, fsync, rename, fsync the folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Mode of files that are nobody else's business.
pub const SECRET_MODE: u32 = 0o600;
/// Mode of files that are made to be handed on, before the umask.
pub const PLAIN_MODE: u32 = 0o644;

/// Puts `bytes` at `path`, whole or not at all, and durable on return.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let aside = write_aside(path, bytes, mode)?;
    std::fs::rename(&aside, path)?;
    sync_folder_of(path)
}

/// Makes a new file at `path`, whole or not at all, and durable on return; fails if there is one.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let aside = write_aside(path, bytes, mode)?;
    match renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // A file system that cannot do it in one step: it was not there a moment ago.
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(&aside, path)?,
        Err(error) => {
            std::fs::remove_file(&aside)?;
            return Err(error.into());
        }
    }
    sync_folder_of(path)
}

/// Writes a file beside `path`, durably; where it is.
fn write_aside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let aside = path.with_extension(match path.extension() {
        Some(extension) => format!("{}.new", extension.display()),
        None => "new".to_owned(),
    });
    // What a crash left there may have other permissions.
    if let Err(error) = std::fs::remove_file(&aside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(aside)
}

/// Removes `path`, durably; a file that is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn replacing_leaves_no_second_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.resume");
        replace(&path, b"one", PLAIN_MODE).unwrap();
        replace(&path, b"two", PLAIN_MODE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_is_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, b"secret", SECRET_MODE).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = create(&path, b"other", SECRET_MODE).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
    }

    /// A key cut short would be a daemon that never starts again (row L12).
    #[test]
    fn a_new_file_is_whole_whatever_a_crash_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let aside = folder.path().join("key.new");
        std::fs::write(&aside, b"half of a sec").unwrap();
        create(&path, b"secret", SECRET_MODE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
        assert!(!aside.exists());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "whatever that file had");
    }
}
