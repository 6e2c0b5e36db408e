//! Who may call: the same user on the unix socket, whoever holds the token on TCP.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seedbank_proto::Failure;
use seedbank_proto::v1::ErrorReason;
use subtle::ConstantTimeEq as _;
use tonic::service::Interceptor;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Status};

use crate::host::{durable, hex, keys};

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;
/// Longest token file that is read.
const TOKEN_FILE_LEN_MAX: u64 = 256;
/// Shortest token that is believed, if the owner wrote their own.
const TOKEN_LEN_MIN: usize = 32;

/// Why a token could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read or written.
    #[error("token file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read it.
    #[error("token file {path} has mode {mode:04o}, others may read it: run `chmod 600 {path}`")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no token.
    #[error("token file {path} holds no token: remove it to get a new one")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// The secret that calls over TCP must carry. Never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads the token at `path`, or draws one and writes it there (text, 0600).
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        match Self::load(path) {
            Err(TokenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::create(path)
            }
            other => other,
        }
    }

    fn load(path: &Path) -> Result<Self, TokenError> {
        let io_error = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(io_error)?;
        let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = String::new();
        file.take(TOKEN_FILE_LEN_MAX)
            .read_to_string(&mut text)
            .map_err(io_error)?;
        let token = text.trim();
        if token.len() < TOKEN_LEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Malformed {
                path: path.to_owned(),
            });
        }
        Ok(Self(token.to_owned()))
    }

    fn create(path: &Path) -> Result<Self, TokenError> {
        let io_error = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let token = hex::encode(&keys::random_bytes::<TOKEN_BYTES>().map_err(io_error)?);
        let line = format!("{token}\n");
        durable::create(path, line.as_bytes(), durable::SECRET_MODE).map_err(io_error)?;
        Ok(Self(token))
    }

    fn is(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Admits calls that carry the token.
#[derive(Clone, Debug)]
pub(super) struct TokenGuard(pub(super) Token);

impl Interceptor for TokenGuard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let header = request.metadata().get("authorization");
        let given = header
            .and_then(|header| header.to_str().ok())
            .and_then(|header| header.strip_prefix("Bearer "));
        match given {
            Some(given) if self.0.is(given) => Ok(request),
            Some(_) => Err(Failure::new(
                ErrorReason::TokenUnknown,
                "the token is not this daemon's: it is in api.token in its data folder",
            )
            .into()),
            None => Err(Failure::new(
                ErrorReason::TokenMissing,
                "no token: send `authorization: Bearer TOKEN` (see api.token in the data folder)",
            )
            .into()),
        }
    }
}

/// Admits callers that run as the daemon's own user.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserGuard {
    uid: u32,
}

impl UserGuard {
    pub(super) fn of_this_process() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
        }
    }
}

impl Interceptor for UserGuard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let connection = request.extensions().get::<UdsConnectInfo>();
        let caller = connection.and_then(|connection| connection.peer_cred);
        match caller {
            Some(caller) if caller.uid() == self.uid => Ok(request),
            Some(caller) => {
                let (theirs, ours) = (caller.uid(), self.uid);
                let message = format!("user {theirs} may not call the daemon of user {ours}");
                Err(Failure::new(ErrorReason::UidMismatch, message).into())
            }
            None => Err(Failure::new(
                ErrorReason::UidMismatch,
                "the system did not say who is calling",
            )
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        let made = Token::load_or_create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(made.0.len(), 2 * TOKEN_BYTES);
        assert_eq!(Token::load_or_create(&path).unwrap().0, made.0);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Token::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_token_file_that_holds_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        durable::create(&path, b"\n", durable::SECRET_MODE).unwrap();
        let error = Token::load_or_create(&path).unwrap_err();
        assert!(matches!(error, TokenError::Malformed { .. }), "{error}");
    }

    #[test]
    fn a_token_is_never_printed() {
        assert_eq!(format!("{:?}", Token("secret".to_owned())), "Token(…)");
    }
}
