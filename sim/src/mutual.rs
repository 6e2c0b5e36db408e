//! Leechers that boost each other: each buys of the other what it lacks, and sells what it has.
//!
//! Two halves of a torrent, or one scarce seeder beside both; prices are the network's, so that
//! what they owe each other in the end is the difference in bytes.

mod power;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::{BoostOrder, Command, CommandError, CreditError};
use seedbank_engine::interface::config::{Network, Policy};
use seedbank_engine::interface::view::TorrentState;
use seedbank_engine::rng::Rng;
use seedbank_engine::units::PieceIndex;
use seedbank_ledger::charts::node::{BalanceReason, ExplanationLine};
use seedbank_ledger::{Bytes, Duration, Identity, MicroCredits, Rate, UnixTime};

use crate::books::SimBooks;
use crate::demo::seconds;
use crate::network::{LinkConfig, NodeIndex};
use crate::settlement::SimSettlement;
use crate::signatures::Signatures;
use crate::swarm::{add, after, completed_at, config, identity_by, start, torrent, wallet_knows};
use crate::world::{START, World};

const ONE: NodeIndex = NodeIndex(0);
const OTHER: NodeIndex = NodeIndex(1);
const SEEDER: NodeIndex = NodeIndex(2);
/// Each line, in bytes per second.
const UPLINK: u64 = 1 << 20;
const GRANTED: MicroCredits = MicroCredits::new(10_000_000);
const BOOST_MAX: MicroCredits = MicroCredits::new(1_000_000);
const SWARM_MAX: Duration = Duration::from_secs(900);
/// Opening locks and seats takes so many seconds once…
const START_MAX: f64 = 1.0;
/// …and for the rest who pays is no slower than this part of its time without payment.
const SLOWER_MAX: f64 = 1.02;

/// Who is there.
#[derive(Clone, Copy, Debug)]
struct MutualSwarm {
    /// Beside the two: a seeder if they have nothing, and leechers that do not pay.
    others: u64,
    /// The two have a half each; otherwise there is a seeder.
    has_halves: bool,
    total_len: u64,
    piece_len: u32,
    rng_seed: u64,
}

/// A world in which the two may have paid each other.
struct Played {
    world: World,
    metainfo: Metainfo,
    network: Network,
}

impl MutualSwarm {
    fn node_count(&self) -> u64 {
        2 + u64::from(!self.has_halves) + self.others
    }

    /// Everybody is there, knows everybody, and the two know of their credit.
    fn begin(&self) -> Played {
        let metainfo = torrent("mutual", self.total_len, self.piece_len, None);
        let scheme = Signatures::counted().scheme();
        let key = |number| identity_by(scheme.clone(), number);
        let [settlement, issuer] = settlement_keys();
        let mut settlement = SimSettlement::new(settlement, issuer, START);
        let network = settlement.network();
        for number in 0..2 {
            settlement.grant(key(number).id(), GRANTED, START);
        }
        let mut world = World::new(Some(settlement), self.rng_seed);
        for number in 0..self.node_count() {
            let books = SimBooks::new(&key(number), Some(network), START);
            let line = LinkConfig::new(UPLINK, Duration::from_millis(10));
            let node = world.add_node(&format!("node-{number}"), books, line);
            let mut config = config(number, self.rng_seed);
            config.network = Some(network);
            start(&mut world, node, config, Policy::default());
        }
        for node in [ONE, OTHER] {
            let heard = |world: &World| wallet_knows(world, node, GRANTED);
            let end = world.run_until(after(&world, Duration::from_secs(60)), heard);
            assert!(end.is_done(), "it hears of its credit");
        }
        let torrent_id = metainfo.torrent_id();
        let count = metainfo.geometry.piece_count();
        if self.has_halves {
            for (node, first) in [(ONE, 0), (OTHER, 1)] {
                let half = (first..count).step_by(2).map(PieceIndex::unchecked);
                world.node_mut(node).disk.insert(torrent_id, half.collect());
            }
        }
        let nodes = usize::try_from(self.node_count()).expect("few");
        let all: Vec<NodeIndex> = (0..nodes).map(NodeIndex).collect();
        for node in &all {
            let others: Vec<NodeIndex> = all.iter().copied().filter(|at| at != node).collect();
            let complete = !self.has_halves && *node == SEEDER;
            add(&mut world, *node, &metainfo, complete, &others);
        }
        Played {
            world,
            metainfo,
            network,
        }
    }

    /// How long the two took, where they pay or do not.
    fn times(&self, pays: bool) -> [f64; 2] {
        let mut played = self.begin();
        let begin = played.world.now();
        if pays {
            played.boost(ONE, Rate::PAR, "a");
            played.boost(OTHER, Rate::PAR, "a");
        }
        played.complete();
        [ONE, OTHER].map(|node| {
            let at = completed_at(&played.world, node, &played.metainfo.torrent_id());
            seconds(at.expect("it is complete").since(begin))
        })
    }
}

impl Played {
    fn boost(&mut self, node: NodeIndex, bid: Rate, name: &str) {
        let order = BoostOrder {
            request_id: name.to_owned(),
            torrent_id: self.metainfo.torrent_id(),
            max: BOOST_MAX,
            bid,
            time_to_live_secs: None,
        };
        let placed = self.world.command(node, Command::Boost(order));
        // One of the two may be complete before the other.
        let complete =
            CommandError::Credit(CreditError::TorrentComplete(self.metainfo.torrent_id()));
        assert!(
            placed.is_ok() || placed == Err(complete),
            "a sound order: {placed:?}"
        );
    }

    fn is_complete(&self) -> bool {
        let torrent_id = self.metainfo.torrent_id();
        [ONE, OTHER].iter().all(|node| {
            let session = self.world.node(*node).session.as_ref();
            let torrent = session.and_then(|session| session.torrent(&torrent_id));
            torrent.is_some_and(|torrent| torrent.state == TorrentState::Seeding)
        })
    }

    fn complete(&mut self) {
        let torrent_id = self.metainfo.torrent_id();
        let done = |world: &World, node| completed_at(world, node, &torrent_id).is_some();
        let both = |world: &World| done(world, ONE) && done(world, OTHER);
        let end = self.world.run_until(after(&self.world, SWARM_MAX), both);
        assert!(end.is_done(), "both are complete: {end:?}");
    }

    /// `kill -9`, and up again with its ledger, its pieces and its neighbours.
    fn restart(&mut self, node: NodeIndex, rng_seed: u64) {
        self.world.crash(node);
        let number = u64::try_from(node.0).expect("few");
        let mut config = config(number, rng_seed);
        config.network = Some(self.network);
        start(&mut self.world, node, config, Policy::default());
        self.world
            .restore(node)
            .expect("what it remembers is sound");
        let others = self.world.nodes().iter().map(|other| other.addr);
        let peers = others.filter(|addr| *addr != self.world.node(node).addr);
        let peers = peers.collect();
        let torrent_id = self.metainfo.torrent_id();
        let peers = Command::AddPeers { torrent_id, peers };
        self.world.command(node, peers).expect("it has the torrent");
    }

    /// Everything signed is booked and claimed, and locks that nobody uses are closed.
    fn settle(&mut self) {
        self.world.run_for(Duration::from_secs(1_500));
        for node in self.world.nodes() {
            node.books.ledger().check().expect("a sound ledger");
        }
    }

    fn line(&self, node: NodeIndex, reason: BalanceReason) -> ExplanationLine {
        let ledger = self.world.node(node).books.ledger();
        let explanation = ledger.explain(UnixTime::ZERO).expect("a sound ledger");
        let line = explanation.lines.iter().find(|line| line.reason == reason);
        line.copied().unwrap_or(ExplanationLine {
            reason,
            bytes: Bytes::ZERO,
            amount: MicroCredits::ZERO,
            entry_count: 0,
        })
    }

    /// What each has paid, and for how many bytes; what the one paid is what the other earned.
    fn paid(&self) -> [(u64, u64); 2] {
        self.booked().map(|[spent, earned]| {
            assert_eq!(spent.amount, earned.amount, "both books have the same");
            assert_eq!(spent.bytes, earned.bytes);
            (spent.amount.get(), spent.bytes.get())
        })
    }

    /// What each has booked as spent, and the other as earned.
    fn booked(&self) -> [[ExplanationLine; 2]; 2] {
        [(ONE, OTHER), (OTHER, ONE)].map(|(payer, payee)| {
            let spent = self.line(payer, BalanceReason::Spent);
            [spent, self.line(payee, BalanceReason::Earned)]
        })
    }

    /// Nothing was made or lost: what both have, free or locked, is what they were granted.
    fn check_conserved(&self) {
        let settlement = self.world.settlement.as_ref().expect("there is one");
        let audit = settlement.ledger().audit().expect("a sound ledger");
        assert_eq!(audit.available + audit.escrow, audit.granted);
    }
}

/// Of the settlement node and its issuer.
fn settlement_keys() -> [Identity; 2] {
    let scheme = Signatures::counted().scheme();
    [1_000, 1_001].map(|number| identity_by(scheme.clone(), number))
}

fn halves(total_len: u64, piece_len: u32, rng_seed: u64) -> MutualSwarm {
    MutualSwarm {
        others: 0,
        has_halves: true,
        total_len,
        piece_len,
        rng_seed,
    }
}

#[test]
fn two_that_pay_each_other_are_no_slower_than_if_neither_did() {
    for (has_halves, others) in [(true, 0), (true, 2), (false, 0), (false, 3)] {
        for rng_seed in 1..=3 {
            let swarm = MutualSwarm {
                others,
                has_halves,
                ..halves(96 << 20, 256 << 10, rng_seed)
            };
            let (paid, free) = (swarm.times(true), swarm.times(false));
            println!(
                "halves {has_halves}, others {others}, seed {rng_seed}: {paid:.1?} of {free:.1?}"
            );
            for (paid, free) in paid.iter().zip(&free) {
                assert!(
                    *paid <= free * SLOWER_MAX + START_MAX,
                    "{swarm:?}: {paid} of {free}"
                );
            }
        }
    }
}

#[test]
fn what_two_owe_each_other_at_one_price_is_the_difference_in_bytes() {
    for rng_seed in 1..=4 {
        let mut played = halves(96 << 20, 256 << 10, rng_seed).begin();
        played.boost(ONE, Rate::PAR, "a");
        played.boost(OTHER, Rate::PAR, "a");
        played.complete();
        played.settle();
        let [(one, one_bytes), (other, other_bytes)] = played.paid();
        println!("seed {rng_seed}: {one} for {one_bytes}, {other} for {other_bytes}");
        assert!(one_bytes > 0 && other_bytes > 0, "they paid each other");
        let difference = one_bytes.abs_diff(other_bytes);
        let worth = Rate::PAR
            .cost_ceil(Bytes::new(difference))
            .expect("small")
            .get();
        // Each side's due is floored once.
        assert!(
            one.abs_diff(other).abs_diff(worth) <= 1,
            "{one} {other} {worth}"
        );
        played.check_conserved();
    }
}

/// Raises, cuts, broken connections and `kill -9` of either, or both.
#[test]
fn books_of_two_that_pay_each_other_agree_after_raises_and_crashes() {
    for rng_seed in 1..=20 {
        let mut played = halves(24 << 20, 128 << 10, rng_seed).begin();
        let mut draw = Rng::new(rng_seed);
        let mut round = 0;
        while !played.is_complete() {
            round += 1;
            assert!(round < 400, "seed {rng_seed}: both are complete in time");
            let node = [ONE, OTHER][draw.index(2)];
            match draw.below(8) {
                0..=3 => {
                    let factor = 1 + draw.below(4);
                    played.boost(
                        node,
                        Rate::new(factor * Rate::PAR.get()),
                        &format!("{round}"),
                    );
                }
                4 => played.world.disconnect(ONE, OTHER),
                5 if round < 60 => played.restart(node, rng_seed + round),
                _ => {}
            }
            let ms = 200 + draw.below(4_000);
            played.world.run_for(Duration::from_millis(ms));
        }
        played.settle();
        let paid = played.paid();
        println!("seed {rng_seed}: {paid:?} after {round} rounds");
        played.check_conserved();
    }
}
