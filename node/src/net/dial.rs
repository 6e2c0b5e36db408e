//! Connections that we open.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::interface::input::{FailureReason, Input, Transport};
use seedbank_engine::units::TorrentId;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::disk::plane::DataPlane;
use crate::link::PeerLink;
use crate::net::connection;

/// Most dials that have not come to a handshake; the rest wait.
const DIALS_MAX: usize = 64;
/// Time for the peer to answer a SYN.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections of one node.
#[derive(Debug)]
pub(crate) struct Dialler {
    plane: Arc<DataPlane>,
    /// Address to speak from; `None` for any.
    source: Option<IpAddr>,
    pending: Arc<Semaphore>,
}

impl Dialler {
    pub(crate) fn new(plane: Arc<DataPlane>, source: Option<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            plane,
            source,
            pending: Arc::new(Semaphore::new(DIALS_MAX)),
        })
    }

    /// Connects to `addr` and serves the connection, or tells the session that it failed.
    pub(crate) async fn dial(self: Arc<Self>, torrent_id: TorrentId, addr: SocketAddr) {
        let permit = Arc::clone(&self.pending).acquire_owned().await;
        let permit = permit.expect("this semaphore is never closed");
        match timeout(DIAL_TIMEOUT, self.connect(addr)).await {
            Ok(Ok(stream)) => {
                let peer = self.plane.next_peer();
                let link = Arc::new(PeerLink::new(peer, &self.plane.waiting));
                let first = Input::Dialled {
                    peer,
                    torrent_id,
                    addr,
                    transport: Transport::Tcp,
                };
                if connection::begin(&self.plane, &link, &stream, first).await {
                    connection::run(Arc::clone(&self.plane), link, stream, Some(permit)).await;
                }
            }
            Ok(Err(error)) => self.failed(torrent_id, addr, reason_of(&error)).await,
            Err(_) => self.failed(torrent_id, addr, FailureReason::TimedOut).await,
        }
    }

    async fn failed(&self, torrent_id: TorrentId, addr: SocketAddr, reason: FailureReason) {
        let failed = Input::DialFailed {
            torrent_id,
            addr,
            reason,
        };
        self.plane.inbox.input(failed).await;
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let socket = match addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A node that listens at one address is known by it.
        let source = self
            .source
            .filter(|source| source.is_ipv4() == addr.is_ipv4());
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        socket.connect(addr).await
    }
}

/// What a failed dial says of the address, or of us.
fn reason_of(error: &io::Error) -> FailureReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureReason::Refused,
        io::ErrorKind::TimedOut => FailureReason::TimedOut,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FailureReason::Closed,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            FailureReason::Unreachable
        }
        _ => FailureReason::Local,
    }
}
