//! Building blocks of scenarios: torrents without payload, and nodes that seed or leech them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::content::metainfo::build::{DraftContent, MetainfoDraft};
use seedbank_engine::discovery::reach::Zone;
use seedbank_engine::interface::command::{AddTorrent, Command, TorrentSource};
use seedbank_engine::interface::config::{Policy, SessionConfig};
use seedbank_engine::session::Session;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::identity::{Ed25519, SignatureScheme};
use seedbank_ledger::{Duration, Identity, Instant, MicroCredits};

use crate::network::{LinkConfig, NodeIndex};
use crate::world::World;

/// The tracker that a simulated torrent may name; the world answers for it.
pub const TRACKER: &str = "http://tracker.invalid/announce";

/// A torrent of which nobody needs the bytes: in the simulator pieces are good or garbage, and
/// hashes are zero.
pub fn torrent(name: &str, total_len: u64, piece_len: u32, tracker: Option<&str>) -> Metainfo {
    let draft = MetainfoDraft {
        name: name.to_owned(),
        content: DraftContent::File(total_len),
        piece_len,
        trackers: tracker.iter().map(|url| vec![(*url).to_owned()]).collect(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    let piece_count = draft
        .geometry()
        .expect("scenarios have bytes")
        .piece_count();
    let hashes = vec![[0; 20]; piece_count as usize];
    draft
        .finish(&hashes)
        .expect("scenarios make sound torrents")
}

/// A key that depends on nothing but a number, with real signatures.
pub fn identity(number: u64) -> Identity {
    identity_by(Arc::new(Ed25519), number)
}

/// The same key under another scheme: same name, other signatures.
#[expect(clippy::disallowed_methods, reason = "a simulator may sign otherwise")]
pub fn identity_by(scheme: Arc<dyn SignatureScheme>, number: u64) -> Identity {
    let mut secret = [0x5b; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    Identity::with_scheme(secret, scheme)
}

/// An address in no range that choking exempts, alone in its prefix.
pub fn public_ip(number: u64) -> IpAddr {
    let prefix = u32::try_from(number % (1 << 16)).expect("below 2^16");
    Ipv4Addr::from(0x2d00_0001 + (prefix << 8)).into()
}

/// A session's settings that depend on nothing but a number.
pub fn config(number: u64, rng_seed: u64) -> SessionConfig {
    SessionConfig {
        listen_port: 6881,
        home: Zone::Public,
        own_hosts: [None; 2],
        rng_seed: rng_seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        network: None,
        receipts: true,
        receipts_private: false,
        connections_max: 200,
        lease_bytes_max: 64 << 20,
    }
}

/// Starts a node, whose place in the world gives its key; it signs as its books are signed.
pub fn start(world: &mut World, node: NodeIndex, config: SessionConfig, policy: Policy) {
    let number = u64::try_from(node.0).expect("a place fits 64 bits");
    start_as(world, node, number, config, policy);
}

/// The same under the key of this number.
pub fn start_as(
    world: &mut World,
    node: NodeIndex,
    key: u64,
    config: SessionConfig,
    policy: Policy,
) {
    let now = world.now();
    start_at(world, node, (key, now), config, policy);
}

/// The same of a session that was made at some moment before now, from which its rounds count.
pub fn start_at(
    world: &mut World,
    node: NodeIndex,
    (key, made_at): (u64, Instant),
    config: SessionConfig,
    policy: Policy,
) {
    let books = &world.node(node).books;
    let identity = identity_by(Arc::clone(&books.scheme), key);
    let session = Session::new(config, identity, &books.book(), made_at);
    world.start(node, session);
    world
        .command(node, Command::SetPolicy(policy))
        .expect("scenarios have sound policies");
}

/// Adds a torrent to a node that has all of it, or nothing, and knows these peers.
pub fn add(
    world: &mut World,
    node: NodeIndex,
    metainfo: &Metainfo,
    complete: bool,
    peers: &[NodeIndex],
) -> TorrentId {
    add_shared(world, node, &Arc::new(metainfo.clone()), complete, peers)
}

/// The same with metainfo that many nodes have in common.
pub fn add_shared(
    world: &mut World,
    node: NodeIndex,
    metainfo: &Arc<Metainfo>,
    complete: bool,
    peers: &[NodeIndex],
) -> TorrentId {
    let torrent_id = metainfo.torrent_id();
    let peers = peers.iter().map(|peer| world.node(*peer).addr).collect();
    let target = world.node_mut(node);
    target.geometry.insert(torrent_id, metainfo.geometry);
    if complete {
        target
            .disk
            .insert(torrent_id, metainfo.geometry.pieces().collect());
    }
    let source = TorrentSource::Metainfo(Arc::clone(metainfo));
    let add = AddTorrent {
        peers,
        ..AddTorrent::new(source)
    };
    world
        .command(node, Command::AddTorrent(Box::new(add)))
        .expect("sound torrents are taken");
    torrent_id
}

/// Links fast enough that limits of the sessions are what binds.
pub const fn fast_link() -> LinkConfig {
    LinkConfig::new(100 << 20, Duration::from_nanos(500_000))
}

/// So much later than the world's now.
pub(crate) fn after(world: &World, wait: Duration) -> Instant {
    world.now().after(wait)
}

/// Whether a node's wallet has exactly so much available.
pub(crate) fn wallet_knows(world: &World, node: NodeIndex, amount: MicroCredits) -> bool {
    let session = world.node(node).session.as_ref();
    session.is_some_and(|session| session.wallet().available == amount)
}

/// When a node had all of a torrent.
pub(crate) fn completed_at(
    world: &World,
    node: NodeIndex,
    torrent_id: &TorrentId,
) -> Option<Instant> {
    let session = world.node(node).session.as_ref()?;
    session.torrent(torrent_id)?.completed_at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::SimBooks;
    use crate::recording::{Recording, replay, unix};
    use crate::world::{RunEnd, START};
    use seedbank_engine::credit::receipts::limits::SUMMARY_DELAY_MAX;
    use seedbank_engine::credit::wallet::WalletBook;
    use seedbank_engine::interface::view::TorrentState;

    fn swarm(leechers: u64, metainfo: &Metainfo, rng_seed: u64) -> (World, TorrentId) {
        let mut world = World::new(None, rng_seed);
        for number in 0..=leechers {
            let books = SimBooks::new(&identity(number), None, START);
            let node = world.add_node(&format!("node-{number}"), books, fast_link());
            world.node_mut(node).recording = Some(Recording::default());
            start(
                &mut world,
                node,
                config(number, rng_seed),
                Policy::default(),
            );
        }
        for number in 0..=leechers {
            let node = NodeIndex(usize::try_from(number).unwrap());
            add(&mut world, node, metainfo, number == 0, &[]);
        }
        (world, metainfo.torrent_id())
    }

    fn run(leechers: u64, metainfo: &Metainfo, rng_seed: u64) -> World {
        let (mut world, torrent_id) = swarm(leechers, metainfo, rng_seed);
        let deadline = Instant::ZERO.after(Duration::from_secs(120));
        assert!(
            world
                .run_until(deadline, |world| all_seed(world, &torrent_id))
                .is_done(),
            "it completes"
        );
        world
    }

    fn digests(world: &World) -> Vec<String> {
        let recordings = world
            .nodes()
            .iter()
            .map(|node| node.recording.as_ref().unwrap());
        recordings.map(Recording::digest).collect()
    }

    fn all_seed(world: &World, torrent_id: &TorrentId) -> bool {
        world.nodes().iter().all(|node| {
            let session = node.session.as_ref().unwrap();
            session.torrent(torrent_id).unwrap().state == TorrentState::Seeding
        })
    }

    #[test]
    fn a_swarm_of_five_completes_with_every_invariant_held_at_every_step() {
        let metainfo = torrent("five", (3 << 20) + 12_345, 64 << 10, Some(TRACKER));
        let (mut world, torrent_id) = swarm(5, &metainfo, 7);
        world.paranoid = true;
        let deadline = Instant::ZERO.after(Duration::from_secs(120));
        let end = world.run_until(deadline, |world| all_seed(world, &torrent_id));
        assert_eq!(end, RunEnd::Done);
    }

    #[test]
    fn a_node_that_crashed_goes_on_with_what_it_remembers() {
        let metainfo = torrent("crashed", 4 << 20, 64 << 10, None);
        let (mut world, torrent_id) = swarm(1, &metainfo, 7);
        world.paranoid = true;
        let (seed, leecher) = (NodeIndex(0), NodeIndex(1));
        let addr = world.node(seed).addr;
        let peers = vec![addr];
        let peers = Command::AddPeers { torrent_id, peers };
        world.command(leecher, peers.clone()).unwrap();
        let deadline = Instant::ZERO.after(Duration::from_secs(120));
        let half = |world: &World| world.node(leecher).disk[&torrent_id].len() >= 32;
        let begun = |world: &World| world.node(leecher).disk.contains_key(&torrent_id);
        let end = world.run_until(deadline, |world| begun(world) && half(world));
        assert_eq!(end, RunEnd::Done);
        world.crash(leecher);
        start(&mut world, leecher, config(1, 8), Policy::default());
        world.restore(leecher).unwrap();
        world.command(leecher, peers).unwrap();
        let end = world.run_until(deadline, |world| all_seed(world, &torrent_id));
        assert_eq!(end, RunEnd::Done);
        let session = world.node(leecher).session.as_ref().unwrap();
        let again = session.torrent(&torrent_id).unwrap().downloaded.get();
        assert!(again < 3 << 20, "{again} bytes fetched again");
    }

    #[test]
    fn twenty_peers_do_the_same_twice_and_something_else_with_another_seed() {
        let metainfo = torrent("twenty", 4 << 20, 64 << 10, Some(TRACKER));
        let first = digests(&run(20, &metainfo, 1));
        assert_eq!(first, digests(&run(20, &metainfo, 1)));
        assert_ne!(first, digests(&run(20, &metainfo, 2)));
    }

    #[test]
    fn a_replayed_input_log_gives_identical_outputs() {
        let metainfo = torrent("replayed", 2 << 20, 64 << 10, Some(TRACKER));
        let world = run(4, &metainfo, 3);
        for (node, number) in world.nodes().iter().zip(0..) {
            let recording = node.recording.as_ref().unwrap();
            let session = Session::new(
                config(number, 3),
                identity(number),
                &WalletBook::default(),
                Instant::ZERO,
            );
            let mut books = SimBooks::new(&identity(number), None, START);
            let again = replay(session, &mut books, recording, |_, at| unix(at));
            assert_eq!(again, recording.digest());
            assert_eq!(
                books.bytes(),
                node.books.bytes(),
                "and a byte-identical ledger"
            );
        }
    }

    #[test]
    fn what_one_side_acknowledged_stands_in_both_ledgers() {
        let metainfo = torrent("acknowledged", 2 << 20, 64 << 10, Some(TRACKER));
        let mut world = run(3, &metainfo, 5);
        world.run_for(SUMMARY_DELAY_MAX.times(2));
        let keys: Vec<_> = (0..=3).map(|number| identity(number).id()).collect();
        let mut total = 0;
        for (taker, taker_key) in world.nodes().iter().zip(&keys) {
            for (giver, giver_key) in world.nodes().iter().zip(&keys) {
                let taken = taker.books.ledger().peer_bytes(giver_key).unwrap().taken;
                let given = giver.books.ledger().peer_bytes(taker_key).unwrap().given;
                assert_eq!(taken, given, "{} from {}", taker.name, giver.name);
                total += taken.get();
            }
        }
        assert!(
            total >= 3 * metainfo.geometry.total_len(),
            "all of it: {total}"
        );
    }
}
