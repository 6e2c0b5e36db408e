//! `seedbankd run`: the daemon, from start to signal.

use std::io::{self, Write};

use seedbank_engine::interface::config::Network;

use super::CliFailure;
use super::network::refuse_memory;
use super::signals::Signals;
use crate::NodeOptions;
use crate::daemon::{Daemon, DaemonOptions};
use crate::driver::Ended;
use crate::host::config::{Config, StoreKind};
use crate::host::{logs, umask};
use crate::rpc::ApiConfig;

/// Open files a node needs at most: connections, torrents, the ledger.
const OPEN_FILES: u64 = 65_536;

/// Runs until a signal, or a failure of the node's own.
pub(super) fn run(config: &Config, out: &mut impl Write) -> Result<(), CliFailure> {
    logs::start(&config.log_filter, config.log_format)
        .map_err(|error| CliFailure::usage(format!("log.filter: {error}")))?;
    raise_open_files();
    umask::keep_private();
    if config.store == StoreKind::Memory {
        tracing::warn!("the ledger is in memory only and ends with this process");
    }
    let options = options(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let daemon = daemon_options(config)?;
        let mut daemon = Daemon::start(options, daemon)
            .await
            .map_err(CliFailure::failed)?;
        // A daemon whose first words are lost is a daemon all the same.
        if let Err(error) = announce(&daemon, out) {
            tracing::warn!(%error, "cannot write to standard output");
        }
        tracing::info!("started");
        tokio::select! {
            _ = signals.next() => {}
            () = daemon.asked_to_stop() => {}
        }
        tracing::info!("shutting down");
        let ended = tokio::select! {
            ended = daemon.shutdown() => ended,
            // A second interrupt does not wait for the settlement.
            () = signals.interrupted() => {
                return Err(CliFailure::interrupted("interrupted during shutdown"));
            }
        };
        match ended {
            Ended::Shutdown => Ok(()),
            Ended::Failed(why) => Err(CliFailure::failed(why)),
        }
    })
}

fn daemon_options(config: &Config) -> Result<DaemonOptions, CliFailure> {
    if config.settlement_role.is_some() {
        refuse_memory(config)?;
    }
    let token_file = config.data_dir.join("api.token");
    let unix = config.api_unix.clone();
    Ok(DaemonOptions {
        genesis: config.read_genesis()?,
        settlement_uri: config.settlement.clone(),
        settlement_ca: config.settlement_ca.clone(),
        role: config.settlement_role.clone(),
        api: ApiConfig {
            unix,
            tcp: config.api_listen.clone(),
            token_file,
        },
        policy: Some(config.policy_sources.clone()),
    })
}

/// What a node of this configuration is started with.
pub(super) fn options(config: &Config) -> Result<NodeOptions, CliFailure> {
    let genesis = config.read_genesis()?;
    let network = genesis.as_ref().map(Network::of);
    Ok(NodeOptions {
        listen: config.listen.clone(),
        connections_max: config.max_peers,
        receipts: config.receipts,
        receipts_private: config.receipts_private,
        policy: config.policy.clone(),
        network,
        store: config.store,
        ..NodeOptions::new(config.data_dir.clone(), config.download_dir.clone())
    })
}

fn announce(daemon: &Daemon, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "node    {}", daemon.node.node_id())?;
    for addr in daemon.node.listen_addrs() {
        writeln!(out, "peers   {addr}")?;
    }
    for addr in &daemon.api_addrs {
        writeln!(out, "api     {addr}")?;
    }
    if let Some(addr) = daemon.settlement_addr {
        writeln!(out, "settles http://{addr}")?;
    }
    out.flush()
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
