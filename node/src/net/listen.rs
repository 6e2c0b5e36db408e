//! Connections that others open.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::interface::input::{Input, Transport};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::disk::plane::DataPlane;
use crate::link::PeerLink;
use crate::net::connection;

/// Most accepted connections whose handshake is not here yet; more wait in the kernel.
const PENDING_MAX: usize = 256;
/// Connections that wait in the kernel.
const BACKLOG: i32 = 256;
/// Pause after the system refused to accept (no descriptors left): it would refuse again at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// Listens at `addr`; an IPv6 wildcard takes IPv4 too, and IPv4 alone where there is no IPv6.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    match bind_one(addr) {
        Err(error) if addr.is_ipv6() && addr.ip().is_unspecified() && lacks_family(&error) => {
            bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port()))
        }
        other => other,
    }
}

fn lacks_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections for ever, each in a task of its own.
pub(crate) async fn accept(plane: Arc<DataPlane>, listener: TcpListener) {
    let pending = Arc::new(Semaphore::new(PENDING_MAX));
    loop {
        let permit = Arc::clone(&pending).acquire_owned().await;
        let permit = permit.expect("this semaphore is never closed");
        match listener.accept().await {
            Ok((stream, addr)) => {
                // An IPv4 peer of a dual-stack socket is an IPv4 peer everywhere else.
                let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                let peer = plane.next_peer();
                let link = Arc::new(PeerLink::new(peer));
                let first = Input::Accepted {
                    peer,
                    addr,
                    transport: Transport::Tcp,
                };
                let plane = Arc::clone(&plane);
                tokio::spawn(connection::run(plane, link, stream, first, permit));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}
