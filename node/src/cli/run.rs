//! `seedbankd run`: the daemon, from start to signal.

use std::io::Write;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::config::{Config, StoreKind};
use crate::driver::Ended;
use crate::settlement::NoSettlement;
use crate::{Node, NodeHandle, NodeOptions, logs};

/// Open files a node needs at most: connections, torrents, the ledger.
const OPEN_FILES: u64 = 65_536;

/// Runs until a signal, or a failure of the node's own.
pub(super) fn run(config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    logs::start(&config.log_filter, config.log_format)
        .map_err(|error| Failure::usage(format!("log.filter: {error}")))?;
    raise_open_files();
    if config.store == StoreKind::Memory {
        tracing::warn!("the ledger is in memory only and ends with this process");
    }
    let options = options(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let node = Node::start(options).await.map_err(Failure::failed)?;
        announce(&node, out)?;
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            _ = node.ended() => {}
        }
        tracing::info!("shutting down");
        let ended = tokio::select! {
            ended = node.shutdown() => ended,
            // Asked twice: now.
            _ = interrupted.recv() => {
                return Err(Failure::interrupted("interrupted during shutdown"));
            }
        };
        match ended {
            Ended::Shutdown => Ok(()),
            Ended::Failed(why) => Err(Failure::failed(why)),
        }
    })
}

/// What a node of this configuration is started with.
pub(super) fn options(config: &Config) -> Result<NodeOptions, Failure> {
    let genesis = config.read_genesis()?;
    let network = genesis.map(|genesis| seedbank_engine::session::config::Network {
        id: genesis.network_id(),
        settlement: genesis.settlement,
    });
    Ok(NodeOptions {
        listen: config.listen.clone(),
        connections_max: config.max_peers,
        receipts: config.receipts,
        policy: config.policy.clone(),
        network,
        settlement: Arc::new(NoSettlement),
        store: config.store,
        ..NodeOptions::new(config.data_dir.clone(), config.download_dir.clone())
    })
}

fn announce(node: &NodeHandle, out: &mut impl Write) -> Result<(), Failure> {
    writeln!(out, "node    {}", node.node_id())?;
    for addr in node.listen_addrs() {
        writeln!(out, "peers   {addr}")?;
    }
    out.flush()?;
    Ok(())
}

/// As many open files as the system lets this user have, up to what a node can use.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit
        .maximum
        .map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
}
