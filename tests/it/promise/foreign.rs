//! A stranger to the swarm behind the seeder's link: one bulk TCP flow, and what a datagram waits.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use seedbank_tests::link::Link;

/// Where everybody reaches the harness.
const HARNESS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// Between two datagrams.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// A flow that never has enough, and datagrams beside it, from behind a link to the harness.
pub(super) struct Foreign {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Vec<Duration>>>>,
}

impl Foreign {
    /// Begins with both.
    pub(super) fn start(link: &Link) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        let listener = TcpListener::bind((HARNESS, 0))?;
        let addr = listener.local_addr()?;
        let flow = link.within(|| Ok(TcpStream::connect(addr)?))?;
        let (taken, _) = listener.accept()?;
        let (ours, count) = (Arc::clone(&stop), Arc::clone(&received));
        threads.push(thread::spawn(move || send(flow, &ours)));
        threads.push(thread::spawn(move || take(taken, &count)));
        let far = UdpSocket::bind((HARNESS, 0))?;
        let addr = far.local_addr()?;
        let near = link.within(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        let ours = Arc::clone(&stop);
        threads.push(thread::spawn(move || probe(&near, &far, addr, &ours)));
        Ok(Self {
            stop,
            received,
            threads,
        })
    }

    /// Bytes that the flow got through so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// What the datagrams waited, least first. Those that were dropped waited for ever and count as
    /// a second.
    pub(super) fn stop(self) -> Result<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut waits = Vec::new();
        for thread in self.threads {
            waits.extend(thread.join().ok().context("a thread panicked")??);
        }
        waits.sort();
        Ok(waits)
    }
}

fn send(mut flow: TcpStream, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let block = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        flow.write_all(&block)?;
    }
    Ok(Vec::new())
}

fn take(mut flow: TcpStream, count: &AtomicU64) -> Result<Vec<Duration>> {
    let mut block = vec![0; 64 << 10];
    loop {
        let bytes = flow.read(&mut block)?;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        count.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// One datagram at a time, so that each answers for itself.
fn probe(
    near: &UdpSocket,
    far: &UdpSocket,
    addr: SocketAddr,
    stop: &AtomicBool,
) -> Result<Vec<Duration>> {
    let lost = Duration::from_secs(1);
    let mut waits = Vec::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        number += 1;
        near.send_to(&number.to_le_bytes(), addr)?;
        waits.push(arrival(far, number, lost - sent.elapsed())?.map_or(lost, |()| sent.elapsed()));
        thread::sleep(PROBE_PAUSE);
    }
    Ok(waits)
}

/// Waits for datagram `number`; `None` if it does not come in time.
fn arrival(far: &UdpSocket, number: u64, patience: Duration) -> Result<Option<()>> {
    let begin = Instant::now();
    let mut bytes = [0; 8];
    while let Some(left) = patience
        .checked_sub(begin.elapsed())
        .filter(|left| !left.is_zero())
    {
        far.set_read_timeout(Some(left))?;
        match far.recv(&mut bytes) {
            Ok(8) if u64::from_le_bytes(bytes) == number => return Ok(Some(())),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
