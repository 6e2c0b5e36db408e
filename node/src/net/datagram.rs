//! Datagrams: one socket per address family carries whatever the session says over UDP.
//!
//! Who is asked what, when to repeat it and which answers count is the session's to know; here a
//! datagram that cannot be sent or read is one that was lost.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::discovery::{DATAGRAM_LEN_MAX, ResolveError};
use seedbank_engine::interface::input::Input;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;

use crate::inbox::Inbox;
use crate::net::lookup::Lookups;

/// Most addresses of one host that the session is told.
const ADDRS_MAX: usize = 16;
/// Pause after the system refused to read: it might refuse again at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// The sockets of one node.
#[derive(Debug)]
pub(crate) struct Datagrams {
    v4: Option<Socket>,
    v6: Option<Socket>,
    inbox: Inbox,
    lookups: Arc<Lookups>,
}

impl Datagrams {
    /// Sockets at `source`, or one of each family at any address of ours; ports are the system's
    /// choice. What comes goes to the session until that ends. A family that this machine does not
    /// have is left out.
    pub(crate) fn start(inbox: Inbox, source: Option<IpAddr>, lookups: Arc<Lookups>) -> Arc<Self> {
        let open = |any: IpAddr| {
            let local = source.unwrap_or(any);
            if local.is_ipv4() != any.is_ipv4() {
                return None;
            }
            match open(SocketAddr::new(local, 0), &inbox) {
                Ok(socket) => Some(socket),
                Err(error) => {
                    tracing::debug!(%error, %local, "no datagrams from here");
                    None
                }
            }
        };
        let v4 = open(Ipv4Addr::UNSPECIFIED.into());
        let v6 = open(Ipv6Addr::UNSPECIFIED.into());
        if v4.is_none() && v6.is_none() {
            tracing::warn!("UDP trackers cannot be asked");
        }
        Arc::new(Self {
            v4,
            v6,
            inbox,
            lookups,
        })
    }

    /// Sends a datagram, or loses it. Never waits.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Some(socket) = self.socket(to) {
            // A full queue, an unreachable network: whoever wants an answer asks again.
            let _ = socket.send_to(bytes, &SockAddr::from(to));
        }
    }

    /// Looks a host up and tells the session where datagrams to it can go.
    pub(crate) async fn resolve(self: Arc<Self>, host: String, port: u16) {
        let found = self.lookups.find(&host, port).await;
        let result = found.and_then(|addrs| self.usable(addrs));
        let resolved = Input::Resolved { host, port, result };
        self.inbox.input(resolved).await;
    }

    fn usable(&self, addrs: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ResolveError> {
        let addrs = addrs.into_iter().map(canonical);
        let usable = addrs.filter(|addr| self.socket(*addr).is_some());
        let usable: Vec<SocketAddr> = usable.take(ADDRS_MAX).collect();
        if usable.is_empty() {
            let problem = "no address of a usable family";
            return Err(ResolveError(problem.to_owned()));
        }
        Ok(usable)
    }

    fn socket(&self, to: SocketAddr) -> Option<&Socket> {
        match to {
            SocketAddr::V4(_) => self.v4.as_ref(),
            SocketAddr::V6(_) => self.v6.as_ref(),
        }
    }
}

/// A socket to send from; what comes to it goes to the inbox.
fn open(local: SocketAddr, inbox: &Inbox) -> io::Result<Socket> {
    let domain = Domain::for_address(local);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(local))?;
    let receiving = UdpSocket::from_std(socket.try_clone()?.into())?;
    tokio::spawn(receive(receiving, inbox.clone()));
    Ok(socket)
}

async fn receive(socket: UdpSocket, inbox: Inbox) {
    // One byte more than is looked at tells a datagram that is too long.
    let mut datagram = vec![0; DATAGRAM_LEN_MAX + 1];
    loop {
        let received = tokio::select! {
            () = inbox.closed() => return,
            received = socket.recv_from(&mut datagram) => received,
        };
        match received {
            Ok((len, from)) if len <= DATAGRAM_LEN_MAX => {
                let bytes = datagram[..len].to_vec();
                let from = canonical(from);
                inbox.input(Input::Datagram { from, bytes }).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot read a datagram");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// The one form of an address that is compared.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests;
