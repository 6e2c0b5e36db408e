//! Listeners that bear strangers: so many connections at once, so many of one address, and none
//! that stays without asking anything. When all places are taken, a newcomer finds room at the cost
//! of the addresses with the most connections (`house.rs`).
//!
//! A connection that has not sent its first request in time is closed, and so is every connection
//! that is left when the grace after a stop is over: the server's tasks own their connections, and
//! only a failing stream ends them. Silence later on is the server's own keep-alive's.

mod crowds;
mod guest;
mod house;
mod opening;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::discovery::host::Host;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

pub(super) use crowds::{CrowdPlace, Crowds};
pub(super) use guest::{Admitted, OPENING_TIMEOUT};
use house::{House, NewcomerFate};

/// Pause after the system could not accept (no descriptors left): it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// One place of so many is kept free, so that a newcomer need not wait for who leaves.
const SPARE_SHARE: usize = 32;
/// Between two lines that say so.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);

/// What a listener bears.
#[derive(Clone, Copy, Debug)]
pub(super) struct DoorLimits {
    /// Connections at once; for more, somebody leaves, or they wait.
    pub(super) connections: usize,
    /// Of these from one group of addresses; more are closed.
    pub(super) of_one_group: usize,
}

/// Somewhere connections come in.
pub(super) trait Accepts: Send + Sync + 'static {
    /// What carries a connection.
    type Stream: Connected + Send + 'static;

    /// The next connection, and whose it is if it came over a network.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;
}

impl Accepts for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, addr) = Self::accept(self).await?;
        // Answers are small and waited for; a socket that refuses is only slower.
        let _ = stream.set_nodelay(true);
        Ok((stream, Some(addr.ip())))
    }
}

impl Accepts for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, None))
    }
}

/// Connections as they are admitted, until the receiver is dropped.
pub(super) fn incoming<L: Accepts>(
    listener: L,
    limits: DoorLimits,
    stop: watch::Receiver<bool>,
) -> ReceiverStream<io::Result<Admitted<L::Stream>>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = admit(&listener, limits, &stop, &sender) => {}
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn admit<L: Accepts>(
    listener: &L,
    limits: DoorLimits,
    stop: &watch::Receiver<bool>,
    sender: &mpsc::Sender<io::Result<Admitted<L::Stream>>>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut house = House::new(limits.of_one_group);
    let mut complained = None;
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if complained.is_none_or(|at: Instant| at.elapsed() >= COMPLAINT_EVERY) {
                    tracing::warn!(%error, "cannot accept connections");
                    complained = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // This machine's own stand for any number of people: they have no share, and none leaves.
        let group = from.map(Host::of);
        let group = group.filter(|group| !group.is_here());
        let is_full = places.available_permits() <= limits.connections / SPARE_SHARE;
        if is_full && house.make_room(group) == NewcomerFate::IsClosed {
            continue;
        }
        let place = places.clone().acquire_owned().await;
        let place = place.expect("nobody closes these places");
        let stay = match group.map(|group| house.enter(group)) {
            Some(Some(stay)) => Some(stay),
            // Too many of them: this one is closed.
            Some(None) => continue,
            None => None,
        };
        let guest = Admitted::new(stream, (place, stay), stop.clone());
        if sender.send(Ok(guest)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
