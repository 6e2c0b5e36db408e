//! The demo's nodes: how they start, get their torrent, and race.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::{AddTorrent, Command, TorrentSource};
use seedbank_engine::interface::config::Network;
use seedbank_engine::interface::view::TorrentState;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::charts::network::Audit;
use seedbank_ledger::charts::node::NodeReader;
use seedbank_ledger::ledger::check::CheckError;
use seedbank_ledger::settlement::NewGrant;
use seedbank_ledger::{Bytes, MicroCredits, NodeId};
use seedbank_sim::demo::{Demo, PAYER, SEEDER, Times};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use super::modem::{DemoModem, ModemPlan};
use super::screen::{Screen, Shown};
use super::{DemoError, DemoOptions, ask, seed_folder};
use crate::books::network::NetworkBook;
use crate::daemon::{Daemon, DaemonError, DaemonOptions};
use crate::host::config::{SettlementRole, StoreKind};
use crate::host::datadir::DataDir;
use crate::host::founding::{Founded, found};
use crate::host::keys;
use crate::rpc::ApiConfig;
use crate::{Node, NodeHandle, NodeOptions};

/// Any free port of this machine, reachable from nowhere else.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Longest wait for anything before the race: files checked, credit seen.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(20);
/// Longest race; it should take 40 s.
const RACE_MAX: Duration = Duration::from_secs(300);
/// Time for the last words of leechers to pass the modem.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How often every node is looked at during the race.
const RACE_POLL: Duration = Duration::from_millis(50);

/// The network and its settlement node.
#[derive(Debug)]
pub(super) struct Credit {
    founded: Founded,
    daemon: Daemon,
}

impl Credit {
    pub(super) async fn start(folder: &Path, store: StoreKind) -> Result<Self, DemoError> {
        let founded = found("demo", &folder.join("network"))?;
        let data_dir = folder.join("settlement");
        if store != StoreKind::Memory {
            let data_dir = DataDir::open(&data_dir).map_err(DaemonError::from)?;
            let book = NetworkBook::new(&data_dir, store, founded.genesis.clone());
            let key = keys::load(&founded.settlement_key)?;
            book.found(key).map_err(DaemonError::from)?;
        }
        let mut options = NodeOptions::new(data_dir, folder.join("unused"));
        options.store = store;
        let daemon = DaemonOptions {
            genesis: Some(founded.genesis.clone()),
            settlement_uri: None,
            settlement_ca: None,
            role: Some(SettlementRole {
                listen: LOOPBACK,
                key: founded.settlement_key.clone(),
                issuer_key: Some(founded.issuer_key.clone()),
                tls: None,
            }),
            api: api(folder, "settlement"),
            policy: None,
        };
        let daemon = Daemon::start(options, daemon).await?;
        Ok(Self { founded, daemon })
    }

    async fn grant(&self, to: NodeId, amount: MicroCredits) -> Result<(), DemoError> {
        let grant = NewGrant {
            request_id: to.to_string(),
            to,
            amount,
            reason: "demo".to_owned(),
        };
        let keeper = self.daemon.keeper.as_ref().expect("it keeps the ledger");
        keeper.grant(grant).await?;
        Ok(())
    }

    /// The network's ledger, made again from its entries.
    pub(super) async fn audit(&self) -> Result<Result<Audit, CheckError>, DemoError> {
        let keeper = self.daemon.keeper.as_ref().expect("it keeps the ledger");
        Ok(keeper.audit().await?)
    }

    pub(super) async fn shutdown(self) {
        self.daemon.shutdown().await;
    }
}

/// A seeder and its leechers.
#[derive(Debug)]
pub(super) struct Swarm {
    nodes: Vec<NodeHandle>,
    /// The only way to the seeder that leechers are told.
    modem: DemoModem,
    /// With credit: the whole daemons.
    daemons: Vec<Daemon>,
}

impl Swarm {
    /// Nodes that exchange receipts and hold credit.
    pub(super) async fn with_credit(
        folder: &Path,
        options: &DemoOptions,
        credit: &Credit,
    ) -> Result<Self, DemoError> {
        let genesis = &credit.founded.genesis;
        let settlement = credit.daemon.settlement_addr.expect("it settles");
        let mut daemons = Vec::new();
        for position in 0..options.scenario.node_count() {
            let name = Demo::name(position);
            let mut node = node_options(folder, options, position, "with");
            node.network = Some(Network::of(genesis));
            std::fs::create_dir_all(&node.data_dir)?;
            let key = keys::load_or_create(&node.data_dir.join("identity.key"))?;
            credit.grant(key.id(), options.scenario.granted).await?;
            let daemon = DaemonOptions {
                genesis: Some(genesis.clone()),
                settlement_uri: Some(format!("http://{settlement}")),
                settlement_ca: None,
                role: None,
                api: api(folder, &name),
                policy: None,
            };
            daemons.push(Daemon::start(node, daemon).await?);
        }
        let nodes: Vec<NodeHandle> = daemons.iter().map(|daemon| daemon.node.clone()).collect();
        let modem = modem(&nodes, &options.scenario).await?;
        Ok(Self {
            nodes,
            modem,
            daemons,
        })
    }

    /// The same nodes, plain BitTorrent.
    pub(super) async fn without(folder: &Path, options: &DemoOptions) -> Result<Self, DemoError> {
        let mut nodes = Vec::new();
        for position in 0..options.scenario.node_count() {
            let mut node = node_options(folder, options, position, "without");
            node.receipts = false;
            nodes.push(Node::start(node).await?);
        }
        let modem = modem(&nodes, &options.scenario).await?;
        Ok(Self {
            nodes,
            modem,
            daemons: Vec::new(),
        })
    }

    /// Gives every node the torrent, leechers stopped, and waits until what is there is verified.
    pub(super) async fn add(
        &self,
        folder: &Path,
        scenario: &Demo,
        metainfo: &Metainfo,
    ) -> Result<(), DemoError> {
        let addrs = self.nodes.iter().map(NodeHandle::listen_addr);
        let mut addrs: Vec<SocketAddr> = addrs.flatten().collect();
        addrs[SEEDER] = self.modem.addr();
        for (position, node) in self.nodes.iter().enumerate() {
            let is_seeder = position == SEEDER;
            let dialled = scenario.dialled_by(position);
            let source = TorrentSource::Metainfo(Arc::new(metainfo.clone()));
            let add = AddTorrent {
                download_dir: is_seeder.then(|| seed_folder(folder)),
                peers: dialled.into_iter().map(|other| addrs[other]).collect(),
                start: false,
                ..AddTorrent::new(source)
            };
            node.add_torrent(add).await?;
        }
        for (position, node) in self.nodes.iter().enumerate() {
            let have = if position == SEEDER {
                metainfo.geometry.total_len()
            } else {
                0
            };
            let checked = |shown: &Shown| shown.is_checked && shown.have == Bytes::new(have);
            let what = format!("{} has not checked its files", Demo::name(position));
            wait(node, position, metainfo.torrent_id(), what, checked).await?;
        }
        Ok(())
    }

    /// The payer orders its boost, once it has heard of its credit.
    pub(super) async fn boost(
        &self,
        scenario: &Demo,
        torrent_id: TorrentId,
    ) -> Result<(), DemoError> {
        let payer = &self.nodes[PAYER];
        let granted = scenario.granted;
        let what = "the payer has not heard of its credit".to_owned();
        let heard = move |shown: &Shown| shown.available == granted;
        wait(payer, PAYER, torrent_id, what, heard).await?;
        let order = scenario.order(torrent_id);
        payer.command(Command::Boost(order)).await?;
        Ok(())
    }

    /// What everybody shows, in the order of positions.
    async fn look(&self, torrent_id: TorrentId) -> Result<Vec<Shown>, DemoError> {
        let mut shown = Vec::new();
        for (position, node) in self.nodes.iter().enumerate() {
            shown.push(look(node, position, torrent_id).await?);
        }
        Ok(shown)
    }

    pub(super) fn ledgers(&self) -> Result<Vec<NodeReader>, DemoError> {
        let view = |(position, node): (usize, &NodeHandle)| {
            let ended = || DemoError::Ended(Demo::name(position));
            node.ledger().ok_or_else(ended)
        };
        self.nodes.iter().enumerate().map(view).collect()
    }

    /// Where the API of this node is, as users write it.
    pub(super) fn api_addr(&self, position: usize) -> &str {
        &self.daemons[position].api_addrs[0]
    }

    /// Ends the leechers, and then the seeder, which so hears the last word of each.
    pub(super) async fn shutdown(self) {
        let (seeder, leechers) = self.nodes.split_at(PAYER);
        for nodes in [leechers, seeder] {
            let mut ending = JoinSet::new();
            for node in nodes {
                let node = node.clone();
                ending.spawn(async move { drop(node.shutdown().await) });
            }
            ending.join_all().await;
            self.modem.idle(IDLE_MAX).await;
        }
        for daemon in self.daemons {
            daemon.shutdown().await;
        }
    }
}

async fn modem(nodes: &[NodeHandle], scenario: &Demo) -> Result<DemoModem, DemoError> {
    let seeder = nodes[SEEDER].listen_addr();
    let plan = ModemPlan {
        rate: scenario.uplink,
        buffer: Duration::from_nanos(scenario.buffer.as_nanos()),
    };
    let ended = || DemoError::Ended(Demo::name(SEEDER));
    Ok(DemoModem::start(seeder.ok_or_else(ended)?, plan).await?)
}

/// Starts both swarms at once, and shows and times them until every leecher has everything.
pub(super) async fn race(
    paid: &Swarm,
    control: &Swarm,
    torrent_id: TorrentId,
    bars: bool,
    out: &mut impl Write,
) -> Result<Times, DemoError> {
    let begin = Instant::now();
    for swarm in [paid, control] {
        for node in &swarm.nodes {
            node.command(Command::StartTorrent(torrent_id)).await?;
        }
    }
    let mut screen = Screen::new(bars, paid.nodes.len());
    let mut took: [Vec<Option<Duration>>; 2] =
        [paid, control].map(|swarm| vec![None; swarm.nodes.len()]);
    let mut poll = interval(RACE_POLL);
    loop {
        poll.tick().await;
        let shown = [
            paid.look(torrent_id).await?,
            control.look(torrent_id).await?,
        ];
        let elapsed = begin.elapsed();
        for (took, shown) in took.iter_mut().zip(&shown) {
            for (took, shown) in took.iter_mut().zip(shown) {
                if shown.is_complete() && took.is_none() {
                    *took = Some(elapsed);
                }
            }
        }
        screen.draw(elapsed, &shown, &took, out)?;
        if took.iter().flatten().all(Option::is_some) {
            break;
        }
        if elapsed > RACE_MAX {
            return Err(DemoError::Late {
                what: "not everybody was complete".to_owned(),
                within: RACE_MAX,
            });
        }
    }
    let [paid, control] = took.map(|took| leechers(&took));
    let (first, others) = paid.split_first().expect("there is a payer");
    Ok(Times {
        paid: *first,
        unpaid: others.to_vec(),
        control,
    })
}

/// What leechers took, the payer first.
fn leechers(took: &[Option<Duration>]) -> Vec<seedbank_ledger::Duration> {
    let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let times = took[PAYER..].iter().flatten().copied();
    times
        .map(|took| seedbank_ledger::Duration::from_nanos(nanos(took)))
        .collect()
}

async fn look(
    node: &NodeHandle,
    position: usize,
    torrent_id: TorrentId,
) -> Result<Shown, DemoError> {
    let question = move |session: &seedbank_engine::session::Session| {
        let torrent = session.torrent(&torrent_id)?;
        let wallet = session.wallet();
        let boosts = session.boosts();
        let spent = boosts.iter().map(|boost| boost.spent);
        Some(Shown {
            have: torrent.have,
            total: torrent.total,
            rate: torrent.download_rate,
            is_checked: torrent.state != TorrentState::Checking,
            available: wallet.available,
            claimable: wallet.claimable,
            spent: spent.fold(MicroCredits::ZERO, MicroCredits::saturating_add),
        })
    };
    let name = Demo::name(position);
    let shown = ask(node, &name, question).await?;
    shown.ok_or(DemoError::Ended(name))
}

/// Looks at a node until it shows what is wanted.
async fn wait(
    node: &NodeHandle,
    position: usize,
    torrent_id: TorrentId,
    what: String,
    wanted: impl Fn(&Shown) -> bool,
) -> Result<(), DemoError> {
    let begin = Instant::now();
    while !wanted(&look(node, position, torrent_id).await?) {
        if begin.elapsed() > READY_MAX {
            let within = READY_MAX;
            return Err(DemoError::Late { what, within });
        }
        sleep(READY_POLL).await;
    }
    Ok(())
}

fn node_options(folder: &Path, options: &DemoOptions, position: usize, swarm: &str) -> NodeOptions {
    let home = folder.join(swarm).join(Demo::name(position));
    NodeOptions {
        listen: vec![LOOPBACK],
        policy: options.scenario.policy(position),
        store: options.store,
        rng_seed: Some(options.scenario.rng_seed ^ position as u64),
        ..NodeOptions::new(home.join("data"), home.join("files"))
    }
}

/// One unix socket; its path is short, as systems want it.
fn api(folder: &Path, name: &str) -> ApiConfig {
    ApiConfig {
        unix: Some(folder.join(format!("{name}.sock"))),
        tcp: Vec::new(),
        token_file: folder.join(format!("{name}.token")),
    }
}
