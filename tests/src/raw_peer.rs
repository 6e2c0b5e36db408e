//! A peer made of single messages, for what no real client would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

/// Nobody under test stays silent or busy for longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Of one message; a piece of 16 KiB and anything near it fits.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// Reserved bits that claim the extension protocol (BEP 10) and the Fast Extension (BEP 6).
pub const MODERN: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0x04];

/// Reserved bits that claim nothing.
pub const PLAIN: [u8; 8] = [0; 8];

/// The line below a connection: whoever holds it can cut it.
#[derive(Debug)]
pub struct Line(TcpStream);

impl Line {
    /// Ends the connection; both sides see its end.
    pub fn cut(&self) {
        // It may have ended already, which is as good.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A connection after the handshake (BEP 3).
#[derive(Debug)]
pub struct RawPeer {
    stream: TcpStream,
    /// What the other side claims, and its peer id.
    pub reserved: [u8; 8],
    pub peer_id: [u8; 20],
}

impl RawPeer {
    /// Connects from `from` and exchanges handshakes.
    ///
    /// # Errors
    /// When the other side does not answer, or with another info hash.
    pub fn connect(
        from: Ipv4Addr,
        to: SocketAddrV4,
        info_hash: [u8; 20],
        reserved: [u8; 8],
    ) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddrV4::new(from, 0).into())?;
        socket.connect_timeout(&to.into(), ANSWER_MAX)?;
        Self::greet(socket.into(), info_hash, reserved)
    }

    /// Takes the next connection of `listener` and exchanges handshakes.
    ///
    /// # Errors
    /// As [`RawPeer::connect`].
    pub fn accept(listener: &TcpListener, info_hash: [u8; 20], reserved: [u8; 8]) -> Result<Self> {
        Self::greet(listener.accept()?.0, info_hash, reserved)
    }

    fn greet(mut stream: TcpStream, info_hash: [u8; 20], reserved: [u8; 8]) -> Result<Self> {
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_nodelay(true)?;
        stream.write_all(PROTOCOL)?;
        stream.write_all(&reserved)?;
        stream.write_all(&info_hash)?;
        let SocketAddr::V4(own) = stream.local_addr()? else {
            bail!("a connection over IPv6");
        };
        // Nobody else's: many connections may have one port, each of another address.
        let (ip, port) = (own.ip().to_bits(), own.port());
        stream.write_all(format!("-XX0000-{ip:08x}{port:04x}").as_bytes())?;
        let mut theirs = [0; 68];
        stream.read_exact(&mut theirs).context("no handshake")?;
        ensure!(theirs[..20] == *PROTOCOL, "a handshake of another protocol");
        ensure!(
            theirs[28..48] == info_hash,
            "a handshake for another torrent"
        );
        let reserved = theirs[20..28].try_into()?;
        Ok(Self {
            stream,
            reserved,
            peer_id: theirs[48..].try_into()?,
        })
    }

    /// Something that ends this connection from another thread.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn line(&self) -> Result<Line> {
        Ok(Line(self.stream.try_clone()?))
    }

    /// Sends one message with a right length in front.
    ///
    /// # Errors
    /// When the other side has hung up.
    pub fn send(&mut self, id: u8, payload: &[u8]) -> Result<()> {
        let len = u32::try_from(1 + payload.len())?.to_be_bytes();
        self.send_bytes(&[&len[..], &[id], payload].concat())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As [`RawPeer::send`].
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next message, keep-alives apart; none when the other side has hung up.
    ///
    /// # Errors
    /// When nothing arrives for 30 s.
    pub fn receive(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            let mut len = [0; 4];
            if !self.fill(&mut len)? {
                return Ok(None);
            }
            let len = usize::try_from(u32::from_be_bytes(len))?;
            if len > MESSAGE_BYTES_MAX {
                bail!("a message of {len} bytes");
            }
            let mut message = vec![0; len];
            if !self.fill(&mut message)? {
                return Ok(None);
            }
            if let Some((id, payload)) = message.split_first() {
                return Ok(Some((*id, payload.to_vec())));
            }
        }
    }

    /// Reads until the other side hangs up.
    ///
    /// # Errors
    /// When it stays silent for 30 s instead.
    pub fn await_end(&mut self) -> Result<()> {
        while self.receive()?.is_some() {}
        Ok(())
    }

    /// Whether there were enough bytes; there are not when the other side has hung up.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    Ok(false)
                }
                _ => Err(error).context("the other side is silent"),
            },
        }
    }
}
