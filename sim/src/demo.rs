//! The scenario of `seedbankd demo`, and its prediction.
//!
//! One seeder behind a modem that nobody told it of, one leecher that pays, some that do not;
//! beside it a control swarm of the same nodes that know nothing of receipts. Settings and prices
//! are the defaults, but that leechers are told what they can upload. The numbers live here once:
//! the daemon's demo runs the same ones on real sockets, and [`DemoOutcome::findings`] judges both.

mod accounts;
mod outcome;
mod prediction;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::credit::receipts::limits::SUMMARY_DELAY_MAX;
use seedbank_engine::interface::command::{BoostOrder, Command};
use seedbank_engine::interface::config::Policy;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::{Duration, Instant, MicroCredits, Rate};

pub use accounts::{Accounts, ChannelTotal};
pub use outcome::{DemoOutcome, Finding, Times, last, median, seconds};
pub use prediction::{Prediction, Span};

use crate::books::SimBooks;
use crate::network::{LinkConfig, NodeIndex};
use crate::settlement::SimSettlement;
use crate::signatures::Signatures;
use crate::swarm::{
    add, after, completed_at, config, fast_link, identity_by, start, torrent, wallet_knows,
};
use crate::world::{START, World};

/// Longest time in which a simulated swarm must be done.
const SWARM_MAX: Duration = Duration::from_secs(600);
/// Time for the payer to hear of its credit, and for locks to be closed at the end.
const SETTLING_MAX: Duration = Duration::from_secs(180);
/// Events after which a simulated swarm is thought to go round in circles.
const EVENTS_MAX: u64 = 200_000_000;
/// One way between the seeder and the middle: what delays is what stands in its modem.
const DELAY: Duration = Duration::from_nanos(50_000);
/// What the seeder's sockets take in beyond what is under way, while their way out is measured.
const SEND_BUFFER: u64 = 32 << 10;
/// Keys of the settlement node and the issuer, beside those of the nodes.
const SETTLEMENT_KEY: u64 = 1_000;
const ISSUER_KEY: u64 = 1_001;

/// Position of the seeder in the swarm.
pub const SEEDER: usize = 0;
/// Position of the paying leecher; those after it do not pay.
pub const PAYER: usize = 1;

/// Who is there, what they have, and how fast they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demo {
    /// Bytes of the torrent.
    pub total_len: u64,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Bytes per second that the seeder's modem carries; the seeder is not told.
    pub uplink: u64,
    /// How long a byte waits in that modem's full buffer.
    pub buffer: Duration,
    /// Leechers that do not pay.
    pub unpaid_count: usize,
    /// Every leecher's upload limit in bytes per second.
    pub leecher_rate: u64,
    /// The payer's download limit in bytes per second; `None` for no limit.
    pub payer_download: Option<u64>,
    /// Leechers know each other; otherwise all they have comes from the seeder.
    pub leechers_meet: bool,
    /// What each node is granted.
    pub granted: MicroCredits,
    /// Most the payer may spend.
    pub boost_max: MicroCredits,
    /// How long nodes have been up when the race begins: where in a round of the choker it begins
    /// is chance, and nobody should be the worse for it.
    pub up_for: Duration,
    /// Seed of every random choice.
    pub rng_seed: u64,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            total_len: 32 << 20,
            piece_len: 256 << 10,
            uplink: 4 << 20,
            buffer: Duration::from_millis(100),
            unpaid_count: 6,
            leecher_rate: 256 << 10,
            payer_download: None,
            leechers_meet: true,
            granted: MicroCredits::new(10_000_000),
            boost_max: MicroCredits::new(1_000_000),
            up_for: Duration::from_secs(1),
            rng_seed: 1,
        }
    }
}

impl Demo {
    /// Nodes of each swarm: seeder, payer, and those that do not pay.
    pub const fn node_count(&self) -> usize {
        2 + self.unpaid_count
    }

    /// What the node at this position is called.
    pub fn name(position: usize) -> String {
        match position {
            SEEDER => "seeder".to_owned(),
            PAYER => "payer".to_owned(),
            other => format!("leecher-{}", other - PAYER),
        }
    }

    /// The policy of the node at this position: the default, but that leechers are told what they
    /// can upload, and perhaps the payer what it can download.
    pub fn policy(&self, position: usize) -> Policy {
        Policy {
            upload_limit: (position != SEEDER).then_some(self.leecher_rate),
            download_limit: self.payer_download.filter(|_| position == PAYER),
            ..Policy::default()
        }
    }

    /// Positions of the nodes that the node at this position dials. The seeder dials nobody, as all
    /// that it sends is to pass its modem.
    pub fn dialled_by(&self, position: usize) -> Vec<usize> {
        let others = (0..self.node_count()).filter(|other| *other != position);
        others
            .filter(|other| position != SEEDER && (self.leechers_meet || *other == SEEDER))
            .collect()
    }

    /// What the payer orders.
    pub fn order(&self, torrent_id: TorrentId) -> BoostOrder {
        BoostOrder {
            request_id: "demo".to_owned(),
            torrent_id,
            max: self.boost_max,
            // What a boost bids that is told no bid.
            bid: Rate::new(2 * Rate::PAR.get()),
            time_to_live_secs: None,
        }
    }

    /// The same where leechers upload as much as the seeder: few wait for it.
    pub const fn with_plentiful_upload(&self) -> Self {
        Self {
            leecher_rate: self.uplink,
            ..*self
        }
    }

    /// The same where the payer's own line is a quarter of the seeder's: it cannot take more.
    pub const fn with_slow_payer(&self) -> Self {
        Self {
            payer_download: Some(self.uplink / 4),
            ..*self
        }
    }

    /// Runs both swarms under virtual time, once.
    ///
    /// # Errors
    /// What did not happen in time.
    pub fn predict(&self) -> Result<DemoOutcome, String> {
        let metainfo = torrent("demo", self.total_len, self.piece_len, None);
        let (paid, accounts) = self.paid_swarm(&metainfo)?;
        let control = self.control_swarm(&metainfo)?;
        let (paid, unpaid) = paid.split_first().expect("there is a payer");
        let times = Times {
            paid: *paid,
            unpaid: unpaid.to_vec(),
            control,
        };
        Ok(DemoOutcome { times, accounts })
    }

    /// The swarm with credit: how long each leecher took, the payer first, and the accounts.
    fn paid_swarm(&self, metainfo: &Metainfo) -> Result<(Vec<Duration>, Accounts), String> {
        let scheme = Signatures::counted().scheme();
        let key = |number| identity_by(scheme.clone(), number);
        let mut settlement = SimSettlement::new(key(SETTLEMENT_KEY), key(ISSUER_KEY), START);
        let network = settlement.network();
        for position in 0..self.node_count() {
            settlement.grant(key(position as u64).id(), self.granted, START);
        }
        let mut world = World::new(Some(settlement), self.rng_seed);
        world.handled_max = Some(EVENTS_MAX);
        for position in 0..self.node_count() {
            let books = SimBooks::new(&key(position as u64), Some(network), START);
            let node = world.add_node(&Self::name(position), books, self.link(position));
            let mut config = config(position as u64, self.rng_seed);
            config.network = Some(network);
            start(&mut world, node, config, self.policy(position));
        }
        let payer = NodeIndex(PAYER);
        let heard = |world: &World| wallet_knows(world, payer, self.granted);
        let end = world.run_until(after(&world, SETTLING_MAX), heard);
        if !end.is_done() {
            return Err("the payer never heard of its credit".to_owned());
        }
        let torrent_id = metainfo.torrent_id();
        self.add_stopped(&mut world, metainfo);
        let order = self.order(torrent_id);
        world
            .command(payer, Command::Boost(order))
            .map_err(|error| format!("the boost was refused: {error}"))?;
        let times = self.race(&mut world, torrent_id)?;
        let closed = |world: &World| {
            let settlement = world.settlement.as_ref().expect("there is one");
            let audit = settlement.ledger().audit();
            audit.is_ok_and(|audit| audit.locks_open == 0 && !audit.claimed.is_empty())
        };
        settle(&mut world, closed)?;
        Ok((times, accounts_of(&world)))
    }

    fn control_swarm(&self, metainfo: &Metainfo) -> Result<Vec<Duration>, String> {
        let mut world = World::new(None, self.rng_seed);
        world.handled_max = Some(EVENTS_MAX);
        let scheme = Signatures::counted().scheme();
        for position in 0..self.node_count() {
            let key = identity_by(scheme.clone(), position as u64);
            let books = SimBooks::new(&key, None, START);
            let node = world.add_node(&Self::name(position), books, self.link(position));
            let mut config = config(position as u64, self.rng_seed);
            config.receipts = false;
            start(&mut world, node, config, self.policy(position));
        }
        self.add_stopped(&mut world, metainfo);
        self.race(&mut world, metainfo.torrent_id())
    }

    fn add_stopped(&self, world: &mut World, metainfo: &Metainfo) {
        for position in 0..self.node_count() {
            let node = NodeIndex(position);
            let dialled = self.dialled_by(position).into_iter();
            let peers: Vec<NodeIndex> = dialled.map(NodeIndex).collect();
            add(world, node, metainfo, position == SEEDER, &peers);
            let stop = Command::StopTorrent(metainfo.torrent_id());
            world.command(node, stop).expect("the torrent is there");
        }
    }

    /// Starts every node at once; how long each leecher took.
    fn race(&self, world: &mut World, torrent_id: TorrentId) -> Result<Vec<Duration>, String> {
        world.run_until(Instant::ZERO.after(self.up_for), |_| false);
        for position in 0..self.node_count() {
            let start = Command::StartTorrent(torrent_id);
            let started = world.command(NodeIndex(position), start);
            started.expect("the torrent is there");
        }
        let begin = world.now();
        let leechers = PAYER..self.node_count();
        let took = |world: &World| -> Vec<Option<Duration>> {
            let done = |node| completed_at(world, NodeIndex(node), &torrent_id);
            let since = |at: Instant| at.since(begin);
            leechers.clone().map(|node| done(node).map(since)).collect()
        };
        let all = |world: &World| took(world).iter().all(Option::is_some);
        let end = world.run_until(after(world, SWARM_MAX), all);
        if !end.is_done() {
            return Err(format!("not complete after {SWARM_MAX}: {end:?}"));
        }
        Ok(took(world).into_iter().flatten().collect())
    }

    /// The line of the node at this position; a leecher's carries more than it is told to send.
    const fn link(&self, position: usize) -> LinkConfig {
        if position != SEEDER {
            return fast_link();
        }
        LinkConfig {
            buffer: self.buffer,
            send_buffer: SEND_BUFFER,
            ..LinkConfig::new(self.uplink, DELAY)
        }
    }
}

/// Lets time pass until `closed`, looking once a second.
fn settle(world: &mut World, closed: impl Fn(&World) -> bool) -> Result<(), String> {
    for _ in 0..SETTLING_MAX.as_secs() {
        if closed(world) {
            // And the statements that say so reach everybody, and what is acknowledged in small
            // amounts is entered, too.
            world.run_for(SUMMARY_DELAY_MAX.times(2));
            return Ok(());
        }
        world.run_for(Duration::from_secs(1));
    }
    Err("locks are still open".to_owned())
}

fn accounts_of(world: &World) -> Accounts {
    let settlement = world.settlement.as_ref().expect("there is one");
    let ledgers: Vec<_> = world
        .nodes()
        .iter()
        .map(|node| node.books.ledger())
        .collect();
    Accounts::of(&settlement.ledger().audit(), &ledgers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pays_is_first_and_nobody_else_is_later_than_without_payment() {
        for millis in [0, 2_500, 5_000, 7_500] {
            let demo = Demo {
                up_for: Duration::from_millis(millis),
                rng_seed: millis,
                ..Demo::default()
            };
            let outcome = demo.predict().unwrap();
            for finding in outcome.findings() {
                assert!(finding.holds, "up for {millis} ms: {}", finding.claim);
            }
            for position in PAYER..demo.node_count() {
                let channels = outcome.accounts.channels.iter();
                let channels = channels.filter(|channel| channel.payer == position);
                let taken: u64 = channels.map(|channel| channel.taken.get()).sum();
                let name = Demo::name(position);
                assert!(taken >= demo.total_len, "{name} signed for {taken} bytes");
            }
        }
    }
    #[test]
    fn paying_buys_little_where_upload_is_plentiful_or_the_payers_line_is_slow() {
        let demo = Demo::default();
        for (condition, gain_max) in [
            (demo.with_plentiful_upload(), 1.6),
            (demo.with_slow_payer(), 1.5),
        ] {
            let outcome = condition.predict().unwrap();
            let gain = outcome.times.gain();
            assert!(gain <= gain_max, "{gain:.2} of {condition:?}");
            // What is lost is the gain, and not the accounts.
            for finding in outcome.accounts.findings() {
                assert!(finding.holds, "{}: {condition:?}", finding.claim);
            }
        }
    }
}
