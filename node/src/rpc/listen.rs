//! Where the owner's API can be called: a unix socket for the local user, loopback TCP for whoever
//! holds the token.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::auth::{Token, TokenError};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Path of the unix socket; `None` for none.
    pub unix: Option<PathBuf>,
    /// Loopback addresses. Port 0 lets the system choose.
    pub tcp: Vec<SocketAddr>,
    /// Where the token for TCP is, or is to be put.
    pub token_file: PathBuf,
}

/// Why the API cannot be offered there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others could listen in.
    #[error(
        "api.listen {0} is not a loopback address, and this daemon does not speak TLS: \
         use 127.0.0.1 and forward the port with ssh -L"
    )]
    NotLoopback(SocketAddr),
    /// Another daemon answers on the socket.
    #[error("another daemon listens on {0}")]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot listen on {place}: {source}")]
    Io {
        /// Socket path or address.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Sockets that are open and serve nobody yet.
#[derive(Debug)]
pub struct Listening {
    pub(super) unix: Option<UnixSocket>,
    pub(super) tcp: Vec<(TcpListener, Token)>,
}

/// A bound unix socket, whose file goes when this goes.
#[derive(Debug)]
pub(super) struct UnixSocket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// A socket's name in the file system.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Listening {
    /// Opens what `config` names. Needs a tokio runtime.
    pub async fn open(config: &ApiConfig) -> Result<Self, ListenError> {
        let unix = match &config.unix {
            Some(path) => Some(UnixSocket::bind(path)?),
            None => None,
        };
        let mut tcp = Vec::new();
        for addr in &config.tcp {
            if !addr.ip().is_loopback() {
                return Err(ListenError::NotLoopback(*addr));
            }
            let token = Token::load_or_create(&config.token_file)?;
            let listener = TcpListener::bind(addr).await;
            let listener = listener.map_err(|source| ListenError::Io {
                place: addr.to_string(),
                source,
            })?;
            tcp.push((listener, token));
        }
        Ok(Self { unix, tcp })
    }

    /// Where callers can come, as users write it; ports as the system chose them.
    pub fn addresses(&self) -> Vec<String> {
        let unix = self.unix.iter();
        let unix = unix.map(|socket| format!("unix:{}", socket.file.0.display()));
        let addrs = self
            .tcp
            .iter()
            .filter_map(|(listener, _)| listener.local_addr().ok());
        unix.chain(addrs.map(|addr| format!("http://{addr}")))
            .collect()
    }
}

impl UnixSocket {
    /// Binds aside and renames, so that nobody ever sees the socket with looser permissions.
    fn bind(path: &Path) -> Result<Self, ListenError> {
        let io_error = |source| ListenError::Io {
            place: path.display().to_string(),
            source,
        };
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(folder).map_err(io_error)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(ListenError::InUse(path.to_owned()));
        }
        let aside = path.with_extension(format!("{}.new", std::process::id()));
        remove(&aside).map_err(io_error)?;
        let listener = UnixListener::bind(&aside).map_err(io_error)?;
        // Removes what is left aside if one of the next steps fails; after the last, nothing is.
        let _aside = SocketFile(aside.clone());
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&aside, mode).map_err(io_error)?;
        std::fs::rename(&aside, path).map_err(io_error)?;
        Ok(Self {
            listener,
            file: SocketFile(path.to_owned()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A socket file that stays behind is replaced by the next daemon.
        let _ = remove(&self.0);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> ApiConfig {
        ApiConfig {
            unix: Some(folder.join("run/api.sock")),
            tcp: Vec::new(),
            token_file: folder.join("api.token"),
        }
    }

    #[tokio::test]
    async fn the_socket_is_the_owners_alone_and_goes_with_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let path = config.unix.clone().unwrap();
        let listening = Listening::open(&config).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = Listening::open(&config).await.unwrap_err();
        assert!(matches!(error, ListenError::InUse(_)), "{error}");
        drop(listening);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_by_a_dead_daemon_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let path = config.unix.clone().unwrap();
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Listening::open(&config).await.unwrap();
    }

    #[tokio::test]
    async fn anything_but_loopback_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let config = ApiConfig {
            tcp: vec![SocketAddr::from(([0, 0, 0, 0], 0))],
            ..config(folder.path())
        };
        let error = Listening::open(&config).await.unwrap_err().to_string();
        assert!(
            error.contains("0.0.0.0:0 is not a loopback address"),
            "{error}"
        );
        assert!(error.contains("ssh -L"), "{error}");
    }
}
