//! A modem for the demo: what the seeder sends passes a line of a fixed rate, with one short buffer
//! that all its connections share.
//!
//! It is a relay on loopback: leechers connect to it, and it connects on to the seeder. A full
//! buffer takes nothing in, so that what is not sent stands in the seeder's own sockets. What
//! leechers send passes as it comes. Unlike a real modem it acknowledges what it takes in itself:
//! the seeder does not see in the time there and back how long the queue is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Bytes that enter the buffer at once: about a millisecond at the demo's rate, so that connections
/// take turns as their packets would.
const CHUNK: usize = 4 << 10;
/// Chunks of one connection that wait, be it for the line or for a leecher that does not read.
const CHUNKS_MAX: usize = 128;
/// What the kernel takes from the seeder ahead of us, by its own way of counting: 32 KiB.
const RECEIVE_BUFFER: u32 = 16 << 10;
/// What it holds for a leecher that does not read.
const SEND_BUFFER: usize = 128 << 10;
/// Packets are as long as on Ethernet, not as on loopback.
const SEGMENT_LEN: u32 = 1_448;
/// Pause after the system refused to accept: it would refuse again at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);
const NANOS_PER_SEC: u128 = 1_000_000_000;

/// What a modem carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModemPlan {
    /// Bytes per second.
    pub(super) rate: u64,
    /// How long a byte waits in the full buffer.
    pub(super) buffer: Duration,
}

/// A modem at work; it ends, and its connections with it, when this is dropped.
#[derive(Debug)]
pub(super) struct DemoModem {
    addr: SocketAddr,
    open: watch::Receiver<usize>,
    /// The one task that accepts; it owns all others.
    _accepting: JoinSet<()>,
}

impl DemoModem {
    /// Puts a modem before the seeder that listens at `seeder`.
    pub(super) async fn start(seeder: SocketAddr, plan: ModemPlan) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (open_now, open) = watch::channel(0);
        let line = Arc::new(SharedLine::new(plan));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, seeder, line, open_now));
        Ok(Self {
            addr,
            open,
            _accepting: accepting,
        })
    }

    /// Where leechers find the seeder.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until no connection is open, or so long.
    pub(super) async fn idle(&self, wait: Duration) {
        let mut open = self.open.clone();
        // A modem that has ended has no connection either.
        let _ = timeout(wait, open.wait_for(|open| *open == 0)).await;
    }
}

async fn accept(
    listener: TcpListener,
    seeder: SocketAddr,
    line: Arc<SharedLine>,
    open: watch::Sender<usize>,
) {
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((leecher, _)) => {
                    carried.spawn(carry(leecher, seeder, Arc::clone(&line)));
                }
                Err(error) => {
                    tracing::debug!(%error, "the modem cannot accept a connection");
                    sleep(REFUSED_PAUSE).await;
                }
            },
            Some(_) = carried.join_next() => {}
        }
        open.send_replace(carried.len());
    }
}

/// Carries one connection to its end; a failure on either side ends both.
async fn carry(leecher: TcpStream, seeder: SocketAddr, line: Arc<SharedLine>) -> io::Result<()> {
    SockRef::from(&leecher).set_send_buffer_size(SEND_BUFFER)?;
    leecher.set_nodelay(true)?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    SockRef::from(&socket).set_tcp_mss(SEGMENT_LEN)?;
    let seeder = socket.connect(seeder).await?;
    seeder.set_nodelay(true)?;
    let (mut requests, to_leecher) = leecher.into_split();
    let (from_seeder, mut to_seeder) = seeder.into_split();
    let up = async {
        tokio::io::copy(&mut requests, &mut to_seeder).await?;
        to_seeder.shutdown().await
    };
    tokio::try_join!(pass(&line, from_seeder, to_leecher), up)?;
    Ok(())
}

/// Takes what comes over the line, and closes when that is closed.
async fn pass(
    line: &SharedLine,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (entered, mut leaving) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let enter = async move {
        while let Ok(room) = entered.reserve().await {
            let mut chunk = vec![0; CHUNK];
            let len = from.read(&mut chunk).await?;
            if len == 0 {
                break;
            }
            chunk.truncate(len);
            room.send((line.enter(len).await, chunk));
        }
        Ok(())
    };
    let leave = async {
        while let Some((at, chunk)) = leaving.recv().await {
            sleep_until(at).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(enter, leave)?;
    Ok(())
}

/// A line of a fixed rate, and how long what was taken in keeps it busy.
#[derive(Debug)]
struct SharedLine {
    plan: ModemPlan,
    /// When the last byte in the buffer leaves. Who holds this enters next; the others wait in the
    /// order in which they came.
    free_at: Mutex<Instant>,
}

impl SharedLine {
    fn new(plan: ModemPlan) -> Self {
        assert!(
            time_of(CHUNK, plan.rate) <= plan.buffer,
            "the buffer holds a chunk"
        );
        Self {
            plan,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits for its turn and for room in the buffer; when the last of `len` bytes leaves.
    async fn enter(&self, len: usize) -> Instant {
        let takes = time_of(len, self.plan.rate);
        let mut free_at = self.free_at.lock().await;
        if let Some(room_at) = (*free_at + takes).checked_sub(self.plan.buffer) {
            sleep_until(room_at).await;
        }
        let now = Instant::now();
        *free_at = now.max(*free_at) + takes;
        assert!(
            *free_at - now <= self.plan.buffer,
            "no more stands in the buffer than it holds"
        );
        *free_at
    }
}

/// How long `len` bytes take, rounded up.
fn time_of(len: usize, rate: u64) -> Duration {
    let nanos = (len as u128 * NANOS_PER_SEC).div_ceil(u128::from(rate));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
