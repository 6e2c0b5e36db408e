//! The UDP tracker of BEP 15: connect, then announce.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::Result;

use super::http::compact_peer;
use super::{Announce, Event, INTERVAL_SECS, Registry, lock};

/// What a client's first datagram begins with (BEP 15).
const MAGIC: u64 = 0x0417_2710_1980;

const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_ERROR: u32 = 3;

/// Peers in one answer: what fits a datagram of a usual network.
const PEERS_MAX: usize = 200;

#[derive(Debug)]
pub(super) struct Server {
    addr: SocketAddrV4,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(ip: Ipv4Addr, registry: &Arc<Mutex<Registry>>) -> Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        let addr = SocketAddrV4::new(ip, socket.local_addr()?.port());
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (registry, stopping) = (Arc::clone(registry), Arc::clone(&stopping));
            move || serve(&socket, &registry, &stopping)
        });
        Ok(Self {
            addr,
            stopping,
            thread: Some(thread),
        })
    }

    pub(super) fn addr(&self) -> SocketAddrV4 {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Any datagram wakes the thread; if none arrives, the process is ending anyway.
        let woken =
            UdpSocket::bind((*self.addr.ip(), 0)).and_then(|socket| socket.send_to(&[], self.addr));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, registry: &Mutex<Registry>, stopping: &AtomicBool) {
    let mut connections = BTreeSet::new();
    let mut datagram = [0; 2048];
    while let Ok((len, from)) = socket.recv_from(&mut datagram) {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let SocketAddr::V4(from) = from else { continue };
        if let Some(answer) = respond(&datagram[..len], from, registry, &mut connections) {
            // A lost answer is the network's business; the client asks again.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// The answer to one datagram; none to what is not BEP 15.
fn respond(
    datagram: &[u8],
    from: SocketAddrV4,
    registry: &Mutex<Registry>,
    connections: &mut BTreeSet<u64>,
) -> Option<Vec<u8>> {
    let connection = u64::from_be_bytes(field(datagram, 0)?);
    let action = u32::from_be_bytes(field(datagram, 8)?);
    let transaction: [u8; 4] = field(datagram, 12)?;
    let head = |action: u32| [action.to_be_bytes(), transaction].concat();
    if action == ACTION_CONNECT {
        if connection != MAGIC {
            return None;
        }
        // Unguessable it need not be: only tests talk to this tracker.
        let id = (u64::from(from.ip().to_bits()) << 16) | u64::from(from.port());
        connections.insert(id);
        return Some([head(ACTION_CONNECT), id.to_be_bytes().to_vec()].concat());
    }
    if action != ACTION_ANNOUNCE || !connections.contains(&connection) {
        return Some([head(ACTION_ERROR), b"connect first".to_vec()].concat());
    }
    let number = |at| Some(u64::from_be_bytes(field(datagram, at)?));
    let announce = Announce {
        info_hash: field(datagram, 16)?,
        from: SocketAddrV4::new(*from.ip(), u16::from_be_bytes(field(datagram, 96)?)),
        downloaded: number(56)?,
        left: number(64)?,
        uploaded: number(72)?,
        event: match u32::from_be_bytes(field(datagram, 80)?) {
            1 => Event::Completed,
            2 => Event::Started,
            3 => Event::Stopped,
            _ => Event::Regular,
        },
        udp: true,
    };
    let mut registry = lock(registry);
    let peers = registry.announce(announce);
    if let Some(reason) = &registry.failure {
        return Some([head(ACTION_ERROR), reason.clone().into_bytes()].concat());
    }
    let mut answer = head(ACTION_ANNOUNCE);
    for number in [INTERVAL_SECS, 0, 0] {
        answer.extend(number.to_be_bytes());
    }
    answer.extend(peers.iter().take(PEERS_MAX).flat_map(compact_peer));
    Some(answer)
}

fn field<const N: usize>(datagram: &[u8], at: usize) -> Option<[u8; N]> {
    datagram.get(at..at + N)?.try_into().ok()
}
