//! A running node: how it starts, what it can be asked, how it stops.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::credit::boost::BoostRowError;
use seedbank_engine::discovery::reach::Zone;
use seedbank_engine::interface::command::{
    AddError, AddTorrent, Added, Command, CommandError, CommandReply, TorrentTotals,
};
use seedbank_engine::interface::config::{Network, Policy, SessionConfig};
use seedbank_engine::interface::view::WalletView;
use seedbank_engine::session::Session;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::charts::node::{Balance, Membership, NodeReader};
use seedbank_ledger::ledger::{Head, LedgerError, OpenError};
use seedbank_ledger::store::StoreError;
use seedbank_ledger::{Identity, NodeId};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::books::{Books, open_store};
use crate::disk::plane::DataPlane;
use crate::driver::{Driver, Ended, Observer};
use crate::events::{Events, NumberingError};
use crate::host::clock::Clock;
use crate::host::config::StoreKind;
use crate::host::datadir::{DataDir, DataDirError};
use crate::host::keys::{self, KeyError};
use crate::inbox::{Inbox, ToSession};
use crate::net::datagram::Datagrams;
use crate::net::dial::Dialler;
use crate::net::listen;
use crate::net::lookup::Lookups;
use crate::net::tracker::Announcer;
use crate::net::whereabouts;
use crate::settlement::{NoSettlement, Settlement, keep_telling};
use crate::torrents::registry::Registry;
use crate::torrents::{CheckHandle, Torrents};

/// Time for a graceful shutdown; the session itself takes at most 5 s.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes in leased piece buffers, unless told otherwise.
const LEASE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What a node needs to start.
pub struct NodeOptions {
    /// Where everything that survives a restart lives.
    pub data_dir: PathBuf,
    /// Where torrents go unless told otherwise.
    pub download_dir: PathBuf,
    /// Where peers reach us; a port of 0 is the system's choice. Empty: nobody does.
    pub listen: Vec<SocketAddr>,
    /// Most connections.
    pub connections_max: usize,
    /// Most bytes in leased piece buffers.
    pub lease_bytes_max: u64,
    /// Speak the receipt protocol at all.
    pub receipts: bool,
    /// Speak it to peers of private torrents too.
    pub receipts_private: bool,
    /// The owner's policy at start.
    pub policy: Policy,
    /// The network, if any; its ledger membership is for good.
    pub network: Option<Network>,
    /// The way to the settlement node.
    pub settlement: Arc<dyn Settlement>,
    /// What holds the ledger.
    pub store: StoreKind,
    /// Seed of every random choice; `None` draws one.
    pub rng_seed: Option<u64>,
    /// Sees every input and output of the session.
    pub observer: Option<Box<dyn Observer>>,
}

impl NodeOptions {
    /// A node in these folders with the defaults of everything else: no listener, no network.
    pub fn new(data_dir: PathBuf, download_dir: PathBuf) -> Self {
        let store = if cfg!(feature = "rocksdb") {
            StoreKind::RocksDb
        } else {
            StoreKind::Memory
        };
        Self {
            data_dir,
            download_dir,
            listen: Vec::new(),
            connections_max: 200,
            lease_bytes_max: LEASE_BYTES_MAX,
            receipts: true,
            receipts_private: false,
            policy: Policy::default(),
            network: None,
            settlement: Arc::new(NoSettlement),
            store,
            rng_seed: None,
            observer: None,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its ledger's files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its ledger.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// Rows of its tally.
    #[error(transparent)]
    Tally(#[from] LedgerError),
    /// A boost of its tally.
    #[error(transparent)]
    Boost(#[from] BoostRowError),
    /// Its listener.
    #[error("cannot listen at {addr}: {source}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The numbers of its events.
    #[error(transparent)]
    Events(#[from] NumberingError),
    /// Its policy.
    #[error("policy: {0}")]
    Policy(#[from] CommandError),
    /// Its threads, or the folder of its torrents.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A node. [`Node::start`] gives the handle that everything else is done through.
#[derive(Debug)]
pub struct Node;

/// A running node. Cheap to clone; the node runs until [`NodeHandle::shutdown`], whoever holds it.
#[derive(Clone)]
pub struct NodeHandle {
    inner: Arc<Inner>,
}

struct Inner {
    inbox: Inbox,
    plane: Arc<DataPlane>,
    torrents: Arc<Torrents>,
    events: Events,
    node_id: NodeId,
    data_dir: PathBuf,
    listen: Vec<SocketAddr>,
    ended: watch::Receiver<Option<Ended>>,
    tasks: Vec<AbortHandle>,
    /// What is let go of at the end, so that the same folder can be opened again.
    held: Mutex<Option<Held>>,
}

/// What is given back when the node ends.
struct Held {
    session: JoinHandle<()>,
    books: Arc<Books>,
    _data_dir: DataDir,
}

impl Held {
    /// Ends what writes to the books, then the books, then unlocks the data folder. Blocks until
    /// the session has ended: whoever leaves while another thread still closes a store ends in
    /// RocksDB's static destructors.
    fn close(self) {
        // A panic there has been printed and is how the session ended.
        let _ = self.session.join();
        self.books.close();
    }
}

impl Node {
    /// Starts a node on the runtime that calls this. Torrents of an earlier run are taken up;
    /// their checks go on behind.
    pub async fn start(options: NodeOptions) -> Result<NodeHandle, StartError> {
        let data_dir = DataDir::open(&options.data_dir)?;
        Self::start_in(data_dir, options).await
    }

    /// The same in a data folder that is open, and so locked, already.
    pub async fn start_in(
        data_dir: DataDir,
        mut options: NodeOptions,
    ) -> Result<NodeHandle, StartError> {
        let identity = keys::load_or_create(&data_dir.identity_key())?;
        let (inbox, receiver) = Inbox::new();
        let node_id = identity.id();
        let store = open_store(options.store, &data_dir.ledger())?;
        let membership = options.network.map(membership);
        let books = Arc::new(Books::open(store, node_id, membership, inbox.clone())?);
        settle_in(&data_dir, &books)?;
        let (listeners, listen) = bind_all(&options.listen)?;

        let plane = DataPlane::start(inbox.clone())?;
        let registry = Registry::new(data_dir.torrents());
        let torrents = Torrents::new(Arc::clone(&plane), registry, options.download_dir.clone());
        let (source, lookups) = (source_address(&options.listen), Lookups::new());
        let clock = Clock::start();
        let events = Events::open(&data_dir.events())?;
        let (tell, ended) = watch::channel(None);
        let policy = options.policy.clone();
        let (way, seen) = (Arc::clone(&options.settlement), books.newest_line()?);
        let telling = keep_telling(way, inbox.clone(), seen);
        let driver = Driver {
            session: session(&mut options, identity, &listen, &books, clock)?,
            inbox: receiver,
            clock,
            books: Arc::clone(&books),
            events: events.clone(),
            dialler: Dialler::new(Arc::clone(&plane), source),
            datagrams: Datagrams::start(inbox.clone(), source, Arc::clone(&lookups)),
            announcer: Announcer::new(inbox.clone(), source, lookups),
            torrents: Arc::clone(&torrents),
            settlement: options.settlement,
            observer: options.observer,
            runtime: tokio::runtime::Handle::current(),
            peers: Default::default(),
            log_budget: Default::default(),
            plane: Arc::clone(&plane),
        };
        let held = Held {
            session: driver.start(tell)?,
            books,
            _data_dir: data_dir,
        };
        let begin = async {
            inbox.command(Command::SetPolicy(policy)).await?;
            Ok::<_, StartError>(torrents.restore().await?)
        };
        if let Err(error) = begin.await {
            inbox.send(ToSession::Stop(None)).await;
            let _ = ended.clone().wait_for(Option::is_some).await;
            plane.disk.run(move || held.close()).await;
            return Err(error);
        }
        let mut tasks = accepting(&plane, listeners, options.connections_max);
        tasks.push(tokio::spawn(telling).abort_handle());
        tasks.extend(housekeeping(&torrents, &events));
        Ok(NodeHandle {
            inner: Arc::new(Inner {
                inbox,
                plane,
                torrents,
                events,
                node_id,
                data_dir: options.data_dir,
                listen,
                ended,
                tasks,
                held: Mutex::new(Some(held)),
            }),
        })
    }
}

fn membership(network: Network) -> Membership {
    Membership {
        network_id: network.id,
        settlement: network.settlement,
    }
}

impl NodeHandle {
    /// Carries out a wish of the owner; what is to be remembered of it is on record on return.
    pub async fn command(&self, command: Command) -> Result<CommandReply, CommandError> {
        let inner = Arc::clone(&self.inner);
        // In a task of its own: a caller that goes away must not leave it half done.
        let done = tokio::spawn(async move { inner.command(command).await });
        done.await.expect("a command does not panic")
    }

    /// Adds a torrent; it is on record when this returns.
    pub async fn add_torrent(&self, add: AddTorrent) -> Result<Added, AddError> {
        let torrents = Arc::clone(&self.inner.torrents);
        let done = tokio::spawn(async move { torrents.add(add).await });
        done.await.expect("adding a torrent does not panic")
    }

    /// Removes a torrent; with `delete_data`, its files too.
    pub async fn remove_torrent(
        &self,
        torrent_id: TorrentId,
        delete_data: bool,
    ) -> Result<(), CommandError> {
        let remove = Command::RemoveTorrent {
            torrent_id,
            delete_data,
        };
        self.command(remove).await.map(drop)
    }

    /// Asks about the session, on its thread: keep it short. `None` once the node has ended.
    pub async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Session) -> T + Send + 'static,
    ) -> Option<T> {
        self.inner.inbox.query(question).await
    }

    /// What all torrents came to, those that were removed too; `None` once the node has ended.
    pub async fn totals(&self) -> Option<TorrentTotals> {
        let torrents = Arc::clone(&self.inner.torrents);
        // On the session's thread, where a torrent is there or removed and never both.
        let sum = move |session: &Session| {
            let views = session.torrents();
            let there = views.iter().map(|view| TorrentTotals {
                uploaded: view.uploaded,
                downloaded: view.downloaded,
                wasted: view.wasted,
            });
            there.fold(torrents.removed(), TorrentTotals::plus)
        };
        self.query(sum).await
    }

    /// What happened, and what happens.
    pub fn events(&self) -> &Events {
        &self.inner.events
    }

    /// What the ledger holds, and the account as the session knows it, of one moment; first, what
    /// the newest receipts say is entered, at most once a second. `None` once the node has ended.
    pub async fn balance(&self) -> Option<Result<(Balance, Head, WalletView), LedgerError>> {
        // A session that is finishing enters everything by itself.
        let _ = self.inner.inbox.command(Command::BookReceipts).await;
        let books = {
            let held = self.inner.held.lock();
            let held = held.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&held.as_ref()?.books)
        };
        let (reply, told) = oneshot::channel();
        let question = move |session: &Session| {
            books.tell(reply);
            session.wallet()
        };
        let view = self.query(question).await?;
        let told = told.await.ok()?;
        Some(told.map(|(balance, head)| (balance, head, view)))
    }

    /// A way to read the ledger, which works on when the node has ended; `None` from then on.
    pub fn ledger(&self) -> Option<NodeReader> {
        let held = self
            .inner
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|held| held.books.reader())
    }

    /// Where everything that survives a restart lives.
    pub fn data_dir(&self) -> PathBuf {
        self.inner.data_dir.clone()
    }

    /// This node's key.
    pub fn node_id(&self) -> NodeId {
        self.inner.node_id
    }

    /// The first address that peers reach us at, with the port the system chose.
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.inner.listen.first().copied()
    }

    /// Every address that peers reach us at.
    pub fn listen_addrs(&self) -> &[SocketAddr] {
        &self.inner.listen
    }

    /// Verifies everything of a torrent that is on disk and lets the caller watch; `None` for a
    /// magnet without metainfo.
    pub async fn verify_torrent(
        &self,
        torrent_id: TorrentId,
    ) -> Result<Option<CheckHandle>, CommandError> {
        self.command(Command::Recheck(torrent_id)).await?;
        Ok(self.inner.torrents.newest_check(&torrent_id))
    }

    /// The check of a torrent that is running, if one is.
    pub fn checking(&self, torrent_id: &TorrentId) -> Option<CheckHandle> {
        self.inner.torrents.checking(torrent_id)
    }

    /// Where a torrent's files lie.
    pub fn download_dir(&self, torrent_id: &TorrentId) -> Option<PathBuf> {
        self.inner.torrents.download_dir(torrent_id)
    }

    /// A torrent's description, once it is here.
    pub fn metainfo(&self, torrent_id: &TorrentId) -> Option<Arc<Metainfo>> {
        self.inner.torrents.metainfo(torrent_id)
    }

    /// Waits until the node has ended, by `shutdown` or by a failure.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.inner.ended.clone();
        let how = ended.wait_for(Option::is_some).await;
        match how.as_deref() {
            Ok(Some(how)) => how.clone(),
            // The sender is never dropped without a word.
            Ok(None) | Err(_) => Ended::Failed("the session thread is gone".to_owned()),
        }
    }

    /// Ends the node: last receipts and announces, connections closed, pieces on record, ledger
    /// synced, data folder unlocked. Takes at most about 8 s. Calling it again only waits.
    pub async fn shutdown(&self) -> Ended {
        let inner = Arc::clone(&self.inner);
        let done = tokio::spawn(async move { inner.shutdown().await });
        done.await.expect("a shutdown does not panic");
        self.ended().await
    }
}

impl Inner {
    async fn command(&self, command: Command) -> Result<CommandReply, CommandError> {
        let torrent = match command {
            Command::AddTorrent(add) => {
                let added = self.torrents.add(*add).await?;
                return Ok(CommandReply::Torrent(added));
            }
            Command::RemoveTorrent { torrent_id, .. }
            | Command::StartTorrent(torrent_id)
            | Command::StopTorrent(torrent_id) => Some(torrent_id),
            Command::RestoreTorrent(_)
            | Command::Recheck(_)
            | Command::AddPeers { .. }
            | Command::SetPolicy(_)
            | Command::Boost(_)
            | Command::CancelBoost(_)
            | Command::Transfer { .. }
            | Command::BookReceipts
            | Command::Shutdown => None,
        };
        let reply = self.inbox.command(command).await?;
        if let Some(torrent_id) = torrent {
            self.torrents.save_or_warn(torrent_id).await;
        }
        Ok(reply)
    }

    async fn shutdown(&self) {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(held) = held else { return };
        self.tasks.iter().for_each(AbortHandle::abort);
        self.torrents.cancel_checks();
        let mut ended = self.ended.clone();
        let graceful = async {
            // An error means that the session has ended by itself.
            let _ = self.inbox.command(Command::Shutdown).await;
            let _ = ended.wait_for(Option::is_some).await;
        };
        if timeout(SHUTDOWN_TIMEOUT, graceful).await.is_err() {
            tracing::warn!("shutdown took too long and is cut short");
            self.inbox.send(ToSession::Stop(None)).await;
            let _ = self.ended.clone().wait_for(Option::is_some).await;
        }
        self.torrents.save_all(true).await;
        let events = self.events.clone();
        let close = move || {
            events.close();
            held.close();
        };
        self.plane.disk.run(close).await;
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle")
            .field("node_id", &self.inner.node_id)
            .field("listen", &self.inner.listen)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeOptions")
            .field("data_dir", &self.data_dir)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

fn session(
    options: &mut NodeOptions,
    identity: Identity,
    listen: &[SocketAddr],
    books: &Books,
    clock: Clock,
) -> Result<Session, StartError> {
    let rng_seed = match options.rng_seed {
        Some(seed) => seed,
        None => u64::from_le_bytes(keys::random_bytes()?),
    };
    let config = SessionConfig {
        listen_port: listen.first().map_or(0, SocketAddr::port),
        home: Zone::of_all(listen.iter().map(SocketAddr::ip)),
        own_hosts: whereabouts::own_hosts(),
        rng_seed,
        network: options.network,
        receipts: options.receipts,
        receipts_private: options.receipts_private,
        connections_max: options.connections_max,
        lease_bytes_max: options.lease_bytes_max,
    };
    let (book, now) = (books.book()?, clock.now());
    book.check()?;
    if let Some(observer) = &mut options.observer {
        observer.begins(&config, &book, now);
    }
    Ok(Session::new(config, identity, &book, now))
}

/// Makes a data folder that was copied one of its own.
fn settle_in(data_dir: &DataDir, books: &Books) -> Result<(), StartError> {
    if data_dir.is_copy()? {
        tracing::warn!("this data folder was copied: what it owes and has not signed is dropped");
        books.drop_unsigned_due()?;
    }
    Ok(data_dir.settle()?)
}

/// What is done from time to time.
fn housekeeping(torrents: &Arc<Torrents>, events: &Events) -> [AbortHandle; 3] {
    let saving = tokio::spawn(Arc::clone(torrents).keep_saving());
    let watching = tokio::spawn(Arc::clone(torrents).keep_watching());
    let reserving = tokio::spawn(events.clone().keep_reserving());
    [saving, watching, reserving].map(|task| task.abort_handle())
}

/// One task for each listener.
fn accepting(
    plane: &Arc<DataPlane>,
    listeners: Vec<tokio::net::TcpListener>,
    connections_max: usize,
) -> Vec<AbortHandle> {
    let places = listen::places(connections_max);
    let accept = |listener| {
        let accepting = listen::accept(Arc::clone(plane), listener, Arc::clone(&places));
        tokio::spawn(accepting).abort_handle()
    };
    listeners.into_iter().map(accept).collect()
}

fn bind_all(
    addrs: &[SocketAddr],
) -> Result<(Vec<tokio::net::TcpListener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    for &addr in addrs {
        let listener = listen::bind(addr).map_err(|source| StartError::Listen { addr, source })?;
        bound.push(listener.local_addr()?);
        listeners.push(listener);
    }
    Ok((listeners, bound))
}

/// Where dials and announces come from: the address we listen at, if it is one of ours alone.
fn source_address(listen: &[SocketAddr]) -> Option<IpAddr> {
    let first = listen.first()?.ip();
    (!first.is_unspecified()).then_some(first)
}

#[cfg(test)]
mod tests;
