//! What a connection needs of whatever carries its bytes. TCP is all there is.
//!
//! The halves are types of their own, not trait objects: reads and vectored writes of payload go
//! straight to the socket.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::link::probe::Probe;

/// A stream of bytes to and from a peer.
pub(crate) trait PeerStream: Send {
    /// What comes.
    type IncomingHalf: IncomingHalf;
    /// What goes. Vectored writes must reach what is below as they are.
    type Outgoing: AsyncWrite + Send + Unpin;

    /// Something to ask about the way out, and to keep its queues short with.
    fn probe(&self) -> io::Result<Probe>;

    /// Takes the stream apart.
    fn into_halves(self) -> io::Result<(Self::IncomingHalf, Self::Outgoing)>;
}

/// The half that is read.
pub(crate) trait IncomingHalf: AsyncRead + Send + Sync + Unpin {
    /// Waits until a read would give something, so that no room is kept for a silent peer.
    fn wait(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl PeerStream for TcpStream {
    type IncomingHalf = OwnedReadHalf;
    type Outgoing = OwnedWriteHalf;

    fn probe(&self) -> io::Result<Probe> {
        Probe::new(self)
    }

    fn into_halves(self) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        self.set_nodelay(true)?;
        Ok(self.into_split())
    }
}

impl IncomingHalf for OwnedReadHalf {
    async fn wait(&self) -> io::Result<()> {
        self.readable().await
    }
}
