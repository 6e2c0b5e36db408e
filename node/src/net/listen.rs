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

/// Sockets beside twice the peers there may be: pending ones, and those on their way out. Who of
/// them stays is the session's to say; more wait in the kernel.
const SOCKETS_SPARE: usize = 256;
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

/// Places for accepted sockets where so many peers are allowed, over all listeners.
pub(crate) fn places(connections_max: usize) -> Arc<Semaphore> {
    let count = connections_max.saturating_mul(2) + SOCKETS_SPARE;
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

/// Accepts connections for ever, each in a task of its own. The session hears of one before the
/// next is accepted, so that a flood waits in the kernel and not in memory.
pub(crate) async fn accept(plane: Arc<DataPlane>, listener: TcpListener, places: Arc<Semaphore>) {
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("this semaphore is never closed");
        match listener.accept().await {
            Ok((stream, addr)) => {
                // An IPv4 peer of a dual-stack socket is an IPv4 peer everywhere else.
                let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                let peer = plane.next_peer();
                let link = Arc::new(PeerLink::new(peer, &plane.waiting));
                let first = Input::Accepted {
                    peer,
                    addr,
                    transport: Transport::Tcp,
                };
                if !connection::begin(&plane, &link, &stream, first).await {
                    return;
                }
                let plane = Arc::clone(&plane);
                tokio::spawn(async move {
                    connection::run(plane, link, stream, None).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;
    use crate::inbox::{Inbox, ToSession};

    #[tokio::test]
    async fn n3_sockets_that_say_nothing_do_not_stop_the_listener() {
        let (inbox, mut inputs) = Inbox::new();
        let plane = DataPlane::start(inbox).unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(plane, listener, places(200)));
        let mut silent = Vec::new();
        for _ in 0..260 {
            silent.push(TcpStream::connect(addr).await.unwrap());
            let heard = timeout(Duration::from_secs(5), inputs.recv()).await;
            assert!(
                matches!(heard, Ok(Some(ToSession::Connected { .. }))),
                "{heard:?} after {} sockets",
                silent.len()
            );
        }
        accepting.abort();
    }
}
