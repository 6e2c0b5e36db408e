//! Trackers of our own, HTTP and UDP, in the process of the test: they remember every announce.
//!
//! A tracker is also how a client is told of a peer when it takes no address any other way, as
//! Transmission and aria2 do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;

mod http;
mod udp;

/// Told to every client. Long, so that what it does in between is its own idea.
const INTERVAL_SECS: u32 = 1800;

/// One request of a client, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    pub info_hash: [u8; 20],
    /// Where the client listens: its address, and the port that it named.
    pub from: SocketAddrV4,
    pub event: Event,
    pub uploaded: u64,
    pub downloaded: u64,
    pub left: u64,
    /// Whether it came over UDP (BEP 15).
    pub udp: bool,
}

/// Why a client announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Regular,
    Started,
    Completed,
    Stopped,
}

/// How peers are written into an HTTP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// Six bytes each (BEP 23), unless the client refuses them.
    Compact,
    /// Dictionaries with a peer id, as BEP 3 has it.
    Dictionaries,
}

#[derive(Debug)]
struct Registry {
    peers: Peers,
    failure: Option<String>,
    announces: Vec<Announce>,
    /// Who is in which swarm now.
    swarms: BTreeMap<[u8; 20], BTreeSet<SocketAddrV4>>,
    /// Clients that are told of these peers and of nobody else.
    introduced: BTreeMap<Ipv4Addr, Vec<SocketAddrV4>>,
}

impl Registry {
    /// Notes an announce and answers with the peers that the client is to know.
    fn announce(&mut self, announce: Announce) -> Vec<SocketAddrV4> {
        let swarm = self.swarms.entry(announce.info_hash).or_default();
        if announce.event == Event::Stopped {
            swarm.remove(&announce.from);
        } else {
            swarm.insert(announce.from);
        }
        let peers = match self.introduced.get(announce.from.ip()) {
            Some(peers) => peers.clone(),
            None => swarm
                .iter()
                .filter(|peer| **peer != announce.from)
                .copied()
                .collect(),
        };
        self.announces.push(announce);
        peers
    }
}

/// Both trackers over one registry. Dropping it closes them.
#[derive(Debug)]
pub struct Tracker {
    registry: Arc<Mutex<Registry>>,
    http: http::Server,
    udp: udp::Server,
}

impl Tracker {
    /// Listens on `ip`, on ports that the system chooses.
    ///
    /// # Errors
    /// When the address is not this machine's.
    pub fn start(ip: Ipv4Addr) -> Result<Self> {
        let registry = Arc::new(Mutex::new(Registry {
            peers: Peers::Compact,
            failure: None,
            announces: Vec::new(),
            swarms: BTreeMap::new(),
            introduced: BTreeMap::new(),
        }));
        let http = http::Server::start(ip, &registry)?;
        let udp = udp::Server::start(ip, &registry)?;
        Ok(Self {
            registry,
            http,
            udp,
        })
    }

    /// Where HTTP clients announce.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}/announce", self.http.addr())
    }

    /// Where UDP clients announce.
    #[must_use]
    pub fn udp_url(&self) -> String {
        format!("udp://{}", self.udp.addr())
    }

    /// From now on `client` is told of exactly these peers.
    pub fn introduce(&self, client: Ipv4Addr, peers: &[SocketAddrV4]) {
        lock(&self.registry)
            .introduced
            .insert(client, peers.to_vec());
    }

    /// How peers are written into HTTP answers from now on.
    pub fn answer_with(&self, peers: Peers) {
        lock(&self.registry).peers = peers;
    }

    /// Every announce from now on is refused with this reason.
    pub fn refuse(&self, reason: &str) {
        lock(&self.registry).failure = Some(reason.to_owned());
    }

    /// Every announce so far, oldest first.
    #[must_use]
    pub fn announces(&self) -> Vec<Announce> {
        lock(&self.registry).announces.clone()
    }

    /// The events that `client` announced so far, oldest first.
    #[must_use]
    pub fn events_of(&self, client: Ipv4Addr) -> Vec<Event> {
        let announces = self.announces();
        let of_client = announces
            .iter()
            .filter(|announce| *announce.from.ip() == client);
        of_client.map(|announce| announce.event).collect()
    }
}

fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry
        .lock()
        .expect("no thread panics while it holds the registry")
}
