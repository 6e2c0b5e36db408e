//! Listeners in memory and on loopback. Where time is paused it jumps to the next timer whenever
//! everybody waits.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpSocket;
use tokio_stream::StreamExt as _;

use super::guest::OPENING_TIMEOUT;
use super::*;
use crate::rpc::GRACE;

/// A preface, settings, and a request that is no use to anybody.
const REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x82";

/// No descriptors are left.
struct Exhausted(Arc<AtomicUsize>);

impl Accepts for Exhausted {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, Option<IpAddr>)> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::from_raw_os_error(24))
    }
}

fn guest(stop: &watch::Sender<bool>) -> (Admitted<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(1_024);
    let places = Arc::new(Semaphore::new(1));
    let place = places.try_acquire_owned().unwrap();
    (Admitted::new(near, (place, None), stop.subscribe()), far)
}

/// How long a connection lasts from which nobody reads what was not read yet.
async fn lasts(guest: &mut Admitted<DuplexStream>) -> Duration {
    let begin = Instant::now();
    let error = guest.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn n10_a_listener_without_descriptors_pauses() {
    let (_stop, stopping) = watch::channel(false);
    let tries = Arc::new(AtomicUsize::new(0));
    let limits = DoorLimits {
        connections: 5,
        of_one_group: 5,
    };
    let _incoming = incoming(Exhausted(tries.clone()), limits, stopping);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let tries = tries.load(Ordering::Relaxed);
    assert!((50..=101).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn n10_a_connection_that_asks_nothing_is_closed() {
    let (stop, _) = watch::channel(false);
    let (mut silent, _far) = guest(&stop);
    assert_eq!(lasts(&mut silent).await, OPENING_TIMEOUT);
    let (mut half, mut far) = guest(&stop);
    far.write_all(&REQUEST[..REQUEST.len() - 1]).await.unwrap();
    assert_eq!(lasts(&mut half).await, OPENING_TIMEOUT);
    let (mut asking, mut far) = guest(&stop);
    far.write_all(REQUEST).await.unwrap();
    let day = Duration::from_secs(24 * 3_600);
    let lasting = tokio::time::timeout(day, lasts(&mut asking)).await;
    assert!(lasting.is_err(), "who has asked may wait");
}

#[tokio::test(start_paused = true)]
async fn l9_a_stop_ends_the_silent_at_once_and_everybody_with_the_grace() {
    let (stop, _) = watch::channel(false);
    let (mut silent, _silent) = guest(&stop);
    let (mut asking, mut far) = guest(&stop);
    far.write_all(REQUEST).await.unwrap();
    let mut read = vec![0; REQUEST.len()];
    asking.read_exact(&mut read).await.unwrap();
    assert_eq!(read, REQUEST, "nothing is kept back");
    stop.send_replace(true);
    assert_eq!(lasts(&mut silent).await, Duration::ZERO);
    assert_eq!(lasts(&mut asking).await, GRACE);
    let error = asking.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn l9_one_address_has_a_share_of_the_places() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let limits = DoorLimits {
        connections: 3,
        of_one_group: 2,
    };
    let (_stop, stopping) = watch::channel(false);
    let mut incoming = incoming(listener, limits, stopping);
    let mut crowd = Vec::new();
    for _ in 0..2 {
        crowd.push(connect([127, 0, 0, 2], addr).await);
    }
    let first = incoming.next().await.unwrap().unwrap();
    let _second = incoming.next().await.unwrap().unwrap();
    let mut third = connect([127, 0, 0, 2], addr).await;
    assert_eq!(third.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
    let _other = connect([127, 0, 0, 3], addr).await;
    let other = incoming.next().await.unwrap().unwrap();
    let from = other.connect_info().remote_addr().unwrap();
    assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 3));
    // The places are taken; one of those who have the most leaves for a fourth.
    let _fourth = connect([127, 0, 0, 4], addr).await;
    leaves(first).await;
    let fourth = incoming.next().await.unwrap().unwrap();
    let from = fourth.connect_info().remote_addr().unwrap();
    assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 4));
}

/// Waits until a connection has to leave, as the task that serves it does.
async fn leaves(mut guest: Admitted<TcpStream>) {
    let error = guest.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
