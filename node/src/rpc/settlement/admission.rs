//! The settlement listener: anybody may come, but only so many at once.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

use crate::rpc::door::{self, Admitted, DoorLimits};

/// Connections; those of one address, or one IPv6 /64, leave room for 31 others like it.
const LIMITS: DoorLimits = DoorLimits {
    connections: 1_024,
    of_one_group: 32,
};

/// Connections that wait in the kernel: past it a SYN is lost, and sent again after a second.
const BACKLOG: u32 = 4_096;

/// A bound listener that serves nobody yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
}

impl Door {
    /// Binds. Port 0 lets the system choose.
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        let socket = match addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { listener })
    }

    /// Where it is.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Connections as they are admitted, until the receiver is dropped.
    pub(super) fn incoming(
        self,
        stop: watch::Receiver<bool>,
    ) -> ReceiverStream<io::Result<Admitted<TcpStream>>> {
        door::incoming(self.listener, LIMITS, stop)
    }
}

#[cfg(test)]
mod tests;
