//! How long one seeder and its leechers take until everybody has everything, and how short that
//! could be: the measure of a swarm without payment.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use seedbank_engine::interface::config::Policy;
use seedbank_engine::interface::view::{TorrentState, TorrentView};
use seedbank_engine::rng::Rng;
use seedbank_engine::units::{Geometry, PieceIndex, TorrentId};
use seedbank_ledger::{Duration, Instant};

use crate::books::SimBooks;
use crate::network::{LinkConfig, NodeIndex};
use crate::signatures::Signatures;
use crate::swarm::{TRACKER, add, config, identity_by, public_ip, start, torrent};
use crate::world::{RunEnd, START, World, WorldCounts};

/// Virtual time between two looks at who is done.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest a swarm may take: so many times what is possible, and a minute.
const BOUNDS_MAX: u64 = 10;
/// Most leechers: each has an address prefix of its own.
const LEECHERS_MAX: usize = 60_000;
/// Most slots that a policy may have.
const SLOTS_MAX: usize = 1_000;

/// Who knows whom at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Everybody knows everybody.
    Full,
    /// Leechers know the seeder and nobody else.
    Star,
    /// The tracker names a random 50 to each, who dials them.
    Tracker,
    /// A random graph in which everybody has about so many neighbours.
    Random(usize),
}

/// What carries the bytes of a [`Spread`] only so fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    /// The line: the session knows nothing of it.
    Line,
    /// A configured upload limit; the line is a hundred times as fast.
    Limit,
}

/// A swarm of equal nodes, one of which has the file.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Nodes that want it.
    pub leecher_count: usize,
    /// Bytes of the file.
    pub total_len: u64,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Everybody's line.
    pub link: LinkConfig,
    /// The seeder's uplink, in bytes per second, if it is another.
    pub seeder_uplink: Option<u64>,
    /// What holds uploads back to the uplink's rate.
    pub bottleneck: Bottleneck,
    /// Who knows whom.
    pub overlay: Overlay,
    /// Everybody's upload slots.
    pub slots: usize,
    /// Speak the receipt protocol: acknowledgements, and no credit.
    pub receipts: bool,
    /// How nodes sign.
    pub signatures: Signatures,
    /// Seed of every random choice.
    pub rng_seed: u64,
}

/// What came of a [`Spread`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadOutcome {
    /// When each leecher had everything, in order of time.
    pub times: Vec<Duration>,
    /// Connections of each node when half of the leechers were done, in order of size.
    pub degrees: Vec<usize>,
    /// The same as the leechers fetched their first pieces, 5 s after the start.
    pub degrees_early: Vec<usize>,
    /// When the leechers together had every piece, to within 250 ms.
    pub injected: Duration,
    /// Payload that the seeder had sent by then.
    pub seeder_sent: u64,
    /// Payload that all together had sent by then.
    pub all_sent: u64,
    /// Payload that was received in vain, of all.
    pub wasted: u64,
    /// Events that the world handled.
    pub handled: u64,
    /// What its sessions decided.
    pub counts: WorldCounts,
}

impl Default for Spread {
    fn default() -> Self {
        let uplink = 1_000_000;
        Self {
            leecher_count: 60,
            total_len: 128 << 20,
            piece_len: 1 << 20,
            link: LinkConfig::new(uplink, Duration::from_millis(20)).with_downlink(10 * uplink),
            seeder_uplink: None,
            bottleneck: Bottleneck::Line,
            overlay: Overlay::Full,
            slots: Policy::default().slots,
            receipts: true,
            signatures: Signatures::counted(),
            rng_seed: 1,
        }
    }
}

impl Spread {
    /// The least time in which it can be done, by any means: the seeder has to send every byte
    /// once, every leecher to receive it, and all uplinks together to carry all copies (Kumar and
    /// Ross, "Peer-assisted file distribution: the minimum distribution time", IEEE HOTWEB 2006).
    pub fn bound(&self) -> Duration {
        let count = self.leecher_count as u64;
        let uplink = u128::from(self.link.uplink.max(1));
        let seeder = u128::from(self.uplink_of(0).max(1));
        let len = u128::from(self.total_len);
        let nanos = |bytes: u128, rate: u128| bytes * 1_000_000_000 / rate;
        let count = u128::from(count);
        let together = nanos(count * len, seeder + uplink * count);
        let downlink = self.link.downlink.map(|rate| u128::from(rate.max(1)));
        let down = downlink.map_or(0, |downlink| nanos(len, downlink));
        let least = nanos(len, seeder).max(down).max(together);
        Duration::from_nanos(u64::try_from(least).unwrap_or(u64::MAX))
    }

    /// Runs it.
    ///
    /// # Errors
    /// If it is no sound scenario, or is not done after many times the least time.
    pub fn run(&self) -> Result<SpreadOutcome, String> {
        self.check()?;
        let (mut world, torrent_id) = self.world();
        let deadline = Instant::ZERO.after(self.bound().times(BOUNDS_MAX));
        let deadline = deadline.after(Duration::from_secs(60));
        let mut degrees = Vec::new();
        let mut degrees_early = Vec::new();
        let mut injected = None;
        loop {
            let end = world.run_for(LOOK_EVERY);
            let done = self
                .leechers()
                .filter(|node| is_seed(&world, *node, &torrent_id));
            let done = done.count();
            if injected.is_none() && self.is_injected(&world, &torrent_id) {
                injected = Some((world.now().since(Instant::ZERO), sent(&world, &torrent_id)));
            }
            if degrees_early.is_empty()
                && world.now() >= Instant::ZERO.after(Duration::from_secs(5))
            {
                degrees_early = degrees_of(&world, &torrent_id);
            }
            if degrees.is_empty() && done * 2 >= self.leecher_count {
                degrees = degrees_of(&world, &torrent_id);
            }
            if done == self.leecher_count {
                break;
            }
            if end != RunEnd::Deadline || world.now() >= deadline {
                let late = self.leecher_count - done;
                return Err(format!(
                    "{late} are not done after {}: {end:?}",
                    world.now()
                ));
            }
        }
        let mut times: Vec<Duration> = self
            .leechers()
            .filter_map(|node| torrent_of(&world, node, &torrent_id).completed_at)
            .map(|at| at.since(Instant::ZERO))
            .collect();
        times.sort_unstable();
        let leechers = self
            .leechers()
            .map(|node| torrent_of(&world, node, &torrent_id));
        let wasted = leechers.map(|view| view.wasted.get()).sum();
        let (injected, sent) = injected.expect("who is done has every piece");
        Ok(SpreadOutcome {
            times,
            degrees,
            degrees_early,
            injected,
            seeder_sent: sent[0],
            all_sent: sent.iter().sum(),
            wasted,
            handled: world.handled(),
            counts: world.counts(),
        })
    }

    fn check(&self) -> Result<(), String> {
        let is_sound = (1..=LEECHERS_MAX).contains(&self.leecher_count)
            && (1..=SLOTS_MAX).contains(&self.slots)
            && self.total_len > 0
            && Geometry::new(self.total_len, self.piece_len).is_some();
        let problem = match is_sound {
            true => [0, 1]
                .iter()
                .find_map(|number| self.way_out(*number).0.problem()),
            false => Some("leechers, slots or lengths that no swarm has"),
        };
        problem.map_or(Ok(()), |problem| Err(problem.to_owned()))
    }

    fn leechers(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (1..=self.leecher_count).map(NodeIndex)
    }

    /// Whether the leechers together have every piece.
    fn is_injected(&self, world: &World, torrent_id: &TorrentId) -> bool {
        let disks = self
            .leechers()
            .filter_map(|node| world.node(node).disk.get(torrent_id));
        let pieces: BTreeSet<PieceIndex> = disks.flatten().copied().collect();
        pieces.len() as u64 == self.total_len.div_ceil(self.piece_len.into())
    }

    /// Everybody is up and has added the torrent at once.
    fn world(&self) -> (World, TorrentId) {
        let tracker = (self.overlay == Overlay::Tracker).then_some(TRACKER);
        let metainfo = torrent("spread", self.total_len, self.piece_len, tracker);
        let mut world = World::new(None, self.rng_seed);
        for number in 0..=self.leecher_count as u64 {
            let identity = identity_by(self.signatures.scheme(), number);
            let books = SimBooks::new(&identity, None, START);
            let name = format!("node-{number}");
            let (link, upload_limit) = self.way_out(number);
            let node = world.add_node_at(&name, books, link, public_ip(number));
            let mut config = config(number, self.rng_seed);
            config.receipts = self.receipts;
            let policy = Policy {
                slots: self.slots,
                upload_limit,
                ..Policy::default()
            };
            start(&mut world, node, config, policy);
        }
        for (node, known) in self.known().into_iter().enumerate() {
            add(&mut world, NodeIndex(node), &metainfo, node == 0, &known);
        }
        (world, metainfo.torrent_id())
    }

    fn uplink_of(&self, number: u64) -> u64 {
        let of_seeder = self.seeder_uplink.filter(|_| number == 0);
        of_seeder.unwrap_or(self.link.uplink)
    }

    /// A node's line, and what it is told of it.
    fn way_out(&self, number: u64) -> (LinkConfig, Option<u64>) {
        let rate = self.uplink_of(number);
        let (uplink, limit) = match self.bottleneck {
            Bottleneck::Line => (rate, None),
            Bottleneck::Limit => (rate.saturating_mul(100), Some(rate)),
        };
        let link = LinkConfig {
            uplink,
            ..self.link
        };
        (link, limit)
    }

    /// Whom each node is told of, beside what a tracker says.
    fn known(&self) -> Vec<Vec<NodeIndex>> {
        let count = self.leecher_count + 1;
        let mut known = vec![Vec::new(); count];
        match self.overlay {
            Overlay::Tracker => {}
            Overlay::Full => {
                for (node, known) in known.iter_mut().enumerate() {
                    known.extend((0..count).filter(|other| *other != node).map(NodeIndex));
                }
            }
            Overlay::Star => {
                for known in &mut known[1..] {
                    known.push(NodeIndex(0));
                }
            }
            // Cycles through everybody, in random order: each gives two neighbours, of which one
            // is told.
            Overlay::Random(degree) => {
                let mut rng = Rng::new(self.rng_seed);
                let mut cycle: Vec<usize> = (0..count).collect();
                for _ in 0..degree.div_ceil(2) {
                    rng.shuffle(&mut cycle);
                    for (place, node) in cycle.iter().enumerate() {
                        known[*node].push(NodeIndex(cycle[(place + 1) % count]));
                    }
                }
            }
        }
        known
    }
}

impl SpreadOutcome {
    /// When the last leecher was done.
    pub fn makespan(&self) -> Duration {
        self.times.last().copied().unwrap_or(Duration::ZERO)
    }
}

fn torrent_of(world: &World, node: NodeIndex, torrent_id: &TorrentId) -> TorrentView {
    let session = world.node(node).session.as_ref().expect("nobody goes down");
    session.torrent(torrent_id).expect("everybody has added it")
}

/// Payload that each node has sent.
fn sent(world: &World, torrent_id: &TorrentId) -> Vec<u64> {
    let nodes = (0..world.nodes().len()).map(NodeIndex);
    nodes
        .map(|node| torrent_of(world, node, torrent_id).uploaded.get())
        .collect()
}

fn is_seed(world: &World, node: NodeIndex, torrent_id: &TorrentId) -> bool {
    torrent_of(world, node, torrent_id).state == TorrentState::Seeding
}

/// Connections of each node, the fewest first.
fn degrees_of(world: &World, torrent_id: &TorrentId) -> Vec<usize> {
    let nodes = (0..world.nodes().len()).map(NodeIndex);
    let degree = |node| torrent_of(world, node, torrent_id).peer_count as usize;
    let mut degrees: Vec<usize> = nodes.map(degree).collect();
    degrees.sort_unstable();
    degrees
}
