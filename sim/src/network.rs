//! Links and connections: every node has one uplink of some rate, shared by its connections turn by
//! turn, and everything arrives one delay later. Downlinks are as fast as what comes.

use std::collections::{BTreeMap, VecDeque};

use seedbank_engine::units::{Block, PeerIndex};
use seedbank_engine::wire::handshake::Handshake;
use seedbank_engine::wire::message::Message;
use seedbank_ledger::{Duration, Instant};

/// Position of a node in its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(pub usize);

/// A node's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Whose end.
    pub node: NodeIndex,
    /// What that node calls the other side.
    pub peer: PeerIndex,
}

/// What travels on a connection.
#[derive(Clone, Debug)]
pub enum LinkItem {
    /// The 68 bytes.
    Handshake(Handshake),
    /// A message.
    Message(Message),
    /// A `piece` message; `garbage` if its payload is not what the torrent says.
    Block {
        /// Which block.
        block: Block,
        /// Whether the payload is wrong.
        garbage: bool,
    },
    /// The sender closed.
    Fin,
}

/// Overhead of a `piece` message on the wire, in bytes.
const PIECE_HEADER_LEN: u64 = 13;
/// What a short message takes.
const MESSAGE_LEN: u64 = 17;

impl LinkItem {
    /// Bytes on the wire, near enough.
    fn len(&self) -> u64 {
        match self {
            Self::Handshake(_) => 68,
            Self::Message(Message::Bitfield(bytes)) => 5 + bytes.len() as u64,
            Self::Message(Message::Extended { payload, .. }) => 6 + payload.len() as u64,
            Self::Message(_) => MESSAGE_LEN,
            Self::Block { block, .. } => PIECE_HEADER_LEN + u64::from(block.len),
            Self::Fin => 0,
        }
    }
}

/// A link's properties.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// Bytes per second a node can send.
    pub uplink: u64,
    /// One-way delay.
    pub delay: Duration,
}

/// Every connection, and what waits on every uplink.
#[derive(Debug, Default)]
pub struct Links {
    ends: BTreeMap<End, End>,
    queues: BTreeMap<End, VecDeque<LinkItem>>,
    uplinks: BTreeMap<NodeIndex, Uplink>,
}

#[derive(Debug)]
struct Uplink {
    config: LinkConfig,
    /// Connections with something to send, in turn.
    turn: VecDeque<End>,
    busy: bool,
}

/// An item that left an uplink.
#[derive(Clone, Debug)]
pub struct Transmission {
    /// Who sent it.
    pub from: End,
    /// Who gets it; `None` if the connection is gone.
    pub to: Option<End>,
    /// What.
    pub item: LinkItem,
    /// When the uplink is free again.
    pub free_at: Instant,
    /// When it arrives.
    pub arrives_at: Instant,
}

impl Links {
    /// Gives a node its uplink.
    pub fn add_node(&mut self, node: NodeIndex, config: LinkConfig) {
        self.uplinks.insert(
            node,
            Uplink {
                config,
                turn: VecDeque::new(),
                busy: false,
            },
        );
    }

    /// A node's one-way delay.
    pub fn delay(&self, node: NodeIndex) -> Duration {
        self.uplinks[&node].config.delay
    }

    /// Joins two ends.
    pub fn connect(&mut self, a: End, b: End) {
        for (from, to) in [(a, b), (b, a)] {
            let before = self.ends.insert(from, to);
            assert!(before.is_none(), "an end has one connection");
            self.queues.insert(from, VecDeque::new());
        }
    }

    /// Cuts a connection; gives the other end. What had not left or not arrived is lost.
    pub fn cut(&mut self, end: End) -> Option<End> {
        let other = self.ends.remove(&end)?;
        self.ends.remove(&other);
        self.queues.remove(&end);
        self.queues.remove(&other);
        Some(other)
    }

    /// The other end of a connection; `None` if it is gone.
    pub fn other(&self, end: End) -> Option<End> {
        self.ends.get(&end).copied()
    }

    /// Every end that belongs to `node`.
    pub fn ends_of(&self, node: NodeIndex) -> Vec<End> {
        self.ends
            .keys()
            .filter(|end| end.node == node)
            .copied()
            .collect()
    }

    /// Queues an item; true if the uplink was idle and must be served now.
    #[must_use]
    pub fn enqueue(&mut self, from: End, item: LinkItem) -> bool {
        let Some(queue) = self.queues.get_mut(&from) else {
            return false;
        };
        queue.push_back(item);
        let uplink = self
            .uplinks
            .get_mut(&from.node)
            .expect("every node has an uplink");
        if queue.len() == 1 {
            uplink.turn.push_back(from);
        }
        !std::mem::replace(&mut uplink.busy, true)
    }

    /// The uplink takes its next item; `None` if there is none, and it is idle then.
    pub fn transmit(&mut self, node: NodeIndex, now: Instant) -> Option<Transmission> {
        let uplink = self
            .uplinks
            .get_mut(&node)
            .expect("every node has an uplink");
        while let Some(from) = uplink.turn.pop_front() {
            let Some(queue) = self.queues.get_mut(&from) else {
                continue;
            };
            let Some(item) = queue.pop_front() else {
                continue;
            };
            if !queue.is_empty() {
                uplink.turn.push_back(from);
            }
            let nanos = u128::from(item.len()) * 1_000_000_000 / u128::from(uplink.config.uplink);
            let nanos = u64::try_from(nanos).expect("an item is short");
            let free_at = now.after(Duration::from_nanos(nanos));
            let arrives_at = free_at.after(uplink.config.delay);
            let to = self.ends.get(&from).copied();
            return Some(Transmission {
                from,
                to,
                item,
                free_at,
                arrives_at,
            });
        }
        uplink.busy = false;
        None
    }
}
