//! Key files: 32 secret bytes as one line of hex, readable by their owner only.
//!
//! An identity is a node's name in every receipt and account: losing the file loses the credit,
//! and whoever can read it can spend it.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seedbank_ledger::Identity;

use crate::host::durable;

/// Longest key file that is read at all.
const KEY_FILE_LEN_MAX: u64 = 256;

/// Why a key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read it.
    #[error("key file {path} has mode {mode:04o}, others may read it: run `chmod 600 {path}`")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error("key file {path} holds no key: expected 64 hex digits on one line")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads the key at `path`, or makes one there if there is no file.
pub fn load_or_create(path: &Path) -> Result<Identity, KeyError> {
    match load(path) {
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(path)
        }
        other => other,
    }
}

/// Reads the key at `path`.
pub fn load(path: &Path) -> Result<Identity, KeyError> {
    let io_error = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let malformed = || KeyError::Malformed {
        path: path.to_owned(),
    };
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    if metadata.len() > KEY_FILE_LEN_MAX {
        return Err(malformed());
    }
    let text = std::fs::read(path).map_err(io_error)?;
    let text = std::str::from_utf8(&text).map_err(|_| malformed())?;
    // NodeId is the ledger's hex of 32 bytes; the bytes are a secret here, not an id.
    let secret = seedbank_ledger::NodeId::from_hex(text.trim_end()).ok_or_else(malformed)?;
    Ok(Identity::from_secret(*secret.as_bytes()))
}

/// Draws a key from the system's generator and writes it to `path`, where there must be no file.
pub fn create(path: &Path) -> Result<Identity, KeyError> {
    let io_error = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let secret = random_bytes::<32>().map_err(io_error)?;
    let mut line = String::with_capacity(65);
    for byte in secret {
        write!(line, "{byte:02x}").expect("writing to a string cannot fail");
    }
    line.push('\n');
    durable::create(path, line.as_bytes(), durable::SECRET_MODE).map_err(io_error)?;
    Ok(Identity::from_secret(secret))
}

/// `N` bytes from the system's generator.
pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_key_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().id(), made.id());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0644"), "{error}");
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_torn_key_file_is_malformed_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        durable::create(&path, b"abcd\n", durable::SECRET_MODE).unwrap();
        let error = load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"abcd\n");
    }
}
