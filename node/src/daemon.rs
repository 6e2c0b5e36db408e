//! A whole daemon: a node, its API, and the network ledger if it keeps one.
//!
//! `seedbankd run` starts one from its configuration, `seedbankd demo` a whole swarm of them.
//! `daemon/backend.rs` is what its API asks.

mod backend;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use seedbank_ledger::ledger::LedgerError;
use seedbank_ledger::settlement::Issuing;
use seedbank_ledger::{Genesis, Identity};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::ServerTlsConfig;

use backend::NodeBackend;

use crate::books::network::{NetworkBook, NetworkBookError, OpenNetwork};
use crate::driver::Ended;
use crate::host::clock::unix_now;
use crate::host::config::kept::{KeptPolicy, PolicySources};
use crate::host::config::{SettlementRole, StoreKind, TlsFiles};
use crate::host::datadir::{DataDir, DataDirError};
use crate::host::keys::{self, KeyError};
use crate::rpc::backend::{NetworkInfo, NodeInfo};
use crate::rpc::settlement::Door;
use crate::rpc::{self, ApiConfig, ListenError, Listening, ServeError};
use crate::settlement::{
    AccountKeys, Keeper, Local, NoSettlement, Remote, RemoteError, Settlement,
};
use crate::{Node, NodeHandle, NodeOptions, StartError};

/// What a daemon is started with, beside its node's options.
#[derive(Debug)]
pub struct DaemonOptions {
    /// The network it belongs to.
    pub genesis: Option<Genesis>,
    /// Where that network is settled, if not here.
    pub settlement_uri: Option<String>,
    /// Certificates (PEM) that it is known by; without them the public ones.
    pub settlement_ca: Option<PathBuf>,
    /// Keep the network's ledger here.
    pub role: Option<SettlementRole>,
    /// Where its owner can call.
    pub api: ApiConfig,
    /// Who said what of its policy; `None` for one that nobody set.
    pub policy: Option<PolicySources>,
}

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its node.
    #[error(transparent)]
    Start(#[from] StartError),
    /// One of its keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The network ledger.
    #[error(transparent)]
    Network(#[from] NetworkBookError),
    /// Its API.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address of the settlement node.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The settlement listener.
    #[error("cannot settle at {addr}: {source}")]
    Settle {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or its key.
    #[error("{path}: {source}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The settlement role needs a network.
    #[error("the settlement role needs [network] genesis")]
    NoGenesis,
    /// A thread could not be started.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Its node.
    pub node: NodeHandle,
    /// Where its owner can call, as users write it.
    pub api_addrs: Vec<String>,
    /// Where it settles, if it keeps a network's ledger.
    pub settlement_addr: Option<SocketAddr>,
    /// The way to that ledger.
    pub keeper: Option<Keeper>,
    stop: watch::Sender<bool>,
    servers: JoinSet<Result<(), ServeError>>,
    ledger_thread: Option<JoinHandle<()>>,
    /// Why the network ledger cannot go on.
    failure: Option<String>,
}

/// The settlement role, started.
struct StartedRole {
    keeper: Keeper,
    thread: JoinHandle<()>,
    door: Door,
    addr: SocketAddr,
    tls: Option<ServerTlsConfig>,
}

impl StartedRole {
    /// Gives the role up before anybody was served: on return its store is closed.
    async fn end(self) {
        drop(self.keeper);
        closed(self.thread).await;
    }
}

impl Daemon {
    /// Starts everything on the runtime that calls this.
    pub async fn start(options: NodeOptions, daemon: DaemonOptions) -> Result<Self, DaemonError> {
        let data_dir = DataDir::open(&options.data_dir)?;
        let own = Arc::new(keys::load_or_create(&data_dir.identity_key())?);
        let settling = match &daemon.role {
            Some(role) => {
                let genesis = daemon.genesis.clone().ok_or(DaemonError::NoGenesis)?;
                Some(settle(&data_dir, options.store, role, genesis)?)
            }
            None => None,
        };
        let download_dir = options.download_dir.clone();
        let kept_policy = kept_policy(&data_dir, &options, &daemon);
        let started = node_and_api(data_dir, options, &daemon, settling.as_ref(), own).await;
        let (node, listening) = match started {
            Ok(started) => started,
            Err(error) => {
                if let Some(settling) = settling {
                    settling.end().await;
                }
                return Err(error);
            }
        };
        let api_addrs = listening.addresses();

        let (stop, stopped) = watch::channel(false);
        let mut servers = JoinSet::new();
        let keeper = settling.as_ref().map(|settling| settling.keeper.clone());
        let info = NodeInfo {
            node_id: node.node_id(),
            network: daemon.genesis.as_ref().map(|genesis| NetworkInfo {
                id: genesis.network_id(),
                name: genesis.name.clone(),
                par_price: genesis.par_price,
                settlement_uri: daemon.settlement_uri.clone(),
                kept_here: settling.is_some(),
            }),
            listen_addrs: node.listen_addrs().to_vec(),
            api_addrs: api_addrs.clone(),
            data_dir: node.data_dir(),
            download_dir,
            started_at: unix_now(),
        };
        let backend = NodeBackend {
            node: node.clone(),
            info,
            keeper: keeper.clone(),
            kept_policy,
            stop: stop.clone(),
        };
        servers.spawn(rpc::serve(listening, Arc::new(backend), stopped.clone()));
        let settlement_addr = settling.as_ref().map(|settling| settling.addr);
        let ledger_thread = settling.map(|settling| {
            servers.spawn(rpc::settlement::serve(
                settling.door,
                settling.keeper,
                settling.tls,
                stopped,
            ));
            settling.thread
        });
        Ok(Self {
            node,
            api_addrs,
            settlement_addr,
            keeper,
            stop,
            servers,
            ledger_thread,
            failure: None,
        })
    }

    /// Waits until somebody asks for a stop through the API, or the node or a server fails.
    pub async fn asked_to_stop(&mut self) {
        let mut asked = self.stop.subscribe();
        tokio::select! {
            // The sender lives in `self`.
            _ = asked.wait_for(|stop| *stop) => {}
            _ = self.node.ended() => {}
            why = ledger_failed(self.keeper.as_ref()) => {
                tracing::error!(%why, "the network ledger failed");
                self.failure = Some(format!("the network ledger failed: {why}"));
            }
            Some(served) = self.servers.join_next() => {
                if let Ok(Err(error)) = served {
                    tracing::error!(%error, "a server ended");
                }
            }
        }
    }

    /// Ends the daemon: calls first, then the node, the network ledger last.
    pub async fn shutdown(mut self) -> Ended {
        self.stop.send_replace(true);
        let ended = self.node.shutdown().await;
        while let Some(served) = self.servers.join_next().await {
            if let Ok(Err(error)) = served {
                tracing::error!(%error, "a server ended");
            }
        }
        drop(self.keeper);
        if let Some(thread) = self.ledger_thread {
            closed(thread).await;
        }
        match (ended, self.failure) {
            (Ended::Shutdown, Some(why)) => Ended::Failed(why),
            (ended, _) => ended,
        }
    }
}

/// Waits for the failure of the ledger that is kept here; for ever if none is.
async fn ledger_failed(keeper: Option<&Keeper>) -> LedgerError {
    match keeper {
        Some(keeper) => keeper.failed().await,
        None => std::future::pending().await,
    }
}

/// The policy that the owner can change, by whoever said so.
fn kept_policy(data_dir: &DataDir, options: &NodeOptions, daemon: &DaemonOptions) -> KeptPolicy {
    let policy = daemon.policy.clone();
    let policy = policy.unwrap_or_else(|| PolicySources::of(options.policy.clone()));
    KeptPolicy::new(data_dir.policy(), policy)
}

async fn node_and_api(
    data_dir: DataDir,
    mut options: NodeOptions,
    daemon: &DaemonOptions,
    settling: Option<&StartedRole>,
    own: Arc<Identity>,
) -> Result<(NodeHandle, Listening), DaemonError> {
    options.settlement = way(own, settling, daemon)?;
    let listening = Listening::open(&daemon.api).await?;
    Ok((Node::start_in(data_dir, options).await?, listening))
}

/// Waits until the thread of the network ledger, which every keeper has left, has closed its store.
async fn closed(thread: JoinHandle<()>) {
    // Its panic, if any, has been printed.
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
}

fn settle(
    data_dir: &DataDir,
    store: StoreKind,
    role: &SettlementRole,
    genesis: Genesis,
) -> Result<StartedRole, DaemonError> {
    let key = keys::load(&role.key)?;
    let tls = role.tls.as_ref().map(server_tls).transpose()?;
    let issuer = role.issuer_key.as_deref().map(keys::load).transpose()?;
    let OpenNetwork {
        ledger,
        store,
        clock,
    } = NetworkBook::new(data_dir, store, genesis).open(key)?;
    let issuing = issuer.map(|issuer| Issuing::new(issuer, store));
    let listen = |source| DaemonError::Settle {
        addr: role.listen,
        source,
    };
    let door = Door::open(role.listen).map_err(listen)?;
    let addr = door.addr().map_err(listen)?;
    let (keeper, thread) = Keeper::start(ledger, issuing, clock)?;
    Ok(StartedRole {
        keeper,
        thread,
        door,
        addr,
        tls,
    })
}

/// The way to the settlement node: this process, an address, or none.
fn way(
    own: Arc<Identity>,
    settling: Option<&StartedRole>,
    daemon: &DaemonOptions,
) -> Result<Arc<dyn Settlement>, DaemonError> {
    if let Some(settling) = settling {
        return Ok(Arc::new(Local::new(settling.keeper.clone(), own.id())));
    }
    let (Some(uri), Some(genesis)) = (&daemon.settlement_uri, &daemon.genesis) else {
        return Ok(Arc::new(NoSettlement));
    };
    let ca = daemon.settlement_ca.as_deref().map(read_pem).transpose()?;
    let member = AccountKeys {
        identity: own,
        network_id: genesis.network_id(),
        settlement: genesis.settlement,
    };
    Ok(Arc::new(Remote::new(uri, ca.as_deref(), member)?))
}

/// What the settlement listener shows to whoever asks over TLS.
fn server_tls(files: &TlsFiles) -> Result<ServerTlsConfig, DaemonError> {
    let (cert, key) = (read_pem(&files.cert)?, read_pem(&files.key)?);
    Ok(ServerTlsConfig::new().identity(tonic::transport::Identity::from_pem(cert, key)))
}

fn read_pem(path: &Path) -> Result<Vec<u8>, DaemonError> {
    std::fs::read(path).map_err(|source| DaemonError::Pem {
        path: path.to_owned(),
        source,
    })
}

impl DaemonOptions {
    /// No network, and an API on one unix socket.
    pub fn alone(unix: PathBuf, token_file: PathBuf) -> Self {
        let api = ApiConfig {
            unix: Some(unix),
            tcp: Vec::new(),
            token_file,
        };
        Self {
            genesis: None,
            settlement_uri: None,
            settlement_ca: None,
            role: None,
            api,
            policy: None,
        }
    }
}
