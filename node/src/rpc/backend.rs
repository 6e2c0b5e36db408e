//! What the services ask of the node: the one seam between an API call and the daemon.
//!
//! The services translate and never decide; the daemon implements [`Backend`], tests a small one.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use seedbank_engine::interface::command::{
    AddError, AddTorrent, Added, Command, CommandError, CommandReply, TorrentTotals,
};
use seedbank_engine::interface::config::Policy;
use seedbank_engine::interface::view::{BoostQuote, BoostView, FilesView, PeerView, TorrentView};
use seedbank_engine::units::{InfoHash, TorrentId};
use seedbank_ledger::charts::network::Supply;
use seedbank_ledger::charts::node::{Breakdown, Explanation, Grouping, Holdings, NodeCause};
use seedbank_ledger::entry::Entry;
use seedbank_ledger::ledger::LedgerError;
use seedbank_ledger::ledger::check::{CheckError, CheckReport};
use seedbank_ledger::settlement::{GrantOutcome, NewGrant};
use seedbank_ledger::{NetworkId, NodeId, Rate, Sequence, UnixTime};
use tokio::sync::mpsc;

use crate::events::Events;
use crate::host::config::kept::KeptPolicy;
pub use crate::inbox::Stopping;
use crate::settlement::{GrantError, Keeper};

/// A running node, as its owner may use it. Every answer may fail because the node is stopping.
#[tonic::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Who the node is; fixed for its life.
    fn info(&self) -> &NodeInfo;
    /// What happened, for watchers.
    fn events(&self) -> &Events;
    /// What is kept of the policy across restarts.
    fn kept_policy(&self) -> &KeptPolicy;
    /// Begins a clean stop; returns at once.
    fn shutdown(&self);

    /// Carries out a command of the session.
    async fn command(&self, command: Command) -> Result<CommandReply, CommandError>;
    /// The policy in force.
    async fn policy(&self) -> Result<Policy, Stopping>;
    /// What all torrents came to, those that were removed too.
    async fn totals(&self) -> Result<TorrentTotals, Stopping>;
    /// Every torrent, by info hash.
    async fn torrents(&self) -> Result<Vec<PlacedTorrent>, Stopping>;
    /// One torrent.
    async fn torrent(&self, torrent_id: TorrentId) -> Result<Option<PlacedTorrent>, Stopping>;
    /// At most `limit` files of a torrent from the `from`-th on; `None` if there is none such.
    async fn torrent_files(
        &self,
        torrent_id: TorrentId,
        from: usize,
        limit: usize,
    ) -> Result<Option<FilesView>, Stopping>;
    /// Every connection, or those of one torrent, in the order in which we met.
    async fn peers(&self, of: Option<TorrentId>) -> Result<Vec<PeerView>, Stopping>;
    /// Every boost, oldest first.
    async fn boosts(&self) -> Result<Vec<BoostView>, Stopping>;
    /// What a boost of this torrent at this bid would meet; `None` if there is no such torrent.
    async fn boost_quote(
        &self,
        torrent_id: TorrentId,
        bid: Rate,
    ) -> Result<Option<BoostQuote>, Stopping>;

    /// What the node has by its own ledger, once the newest receipts are entered there.
    async fn balance(&self) -> Result<BalanceSheet, BooksError>;
    /// At most `limit` entries of the node's ledger from `from` on, oldest first, and their causes.
    async fn entries(
        &self,
        from: Sequence,
        limit: usize,
    ) -> Result<Vec<(Entry, NodeCause)>, BooksError>;
    /// Where the balance came from.
    async fn explain(&self, since: UnixTime) -> Result<Explanation, BooksError>;
    /// Where the balance came from, group by group.
    async fn explain_by(
        &self,
        grouping: Grouping,
        since: UnixTime,
    ) -> Result<Breakdown, BooksError>;
    /// Makes the ledger again from its entries and compares.
    async fn check_ledger(&self) -> Result<CheckReport, BooksError>;
    /// The way to the network's ledger, if this node keeps it.
    fn keeper(&self) -> Option<&Keeper>;
    /// Creates credit, on a settlement node that holds the issuer key.
    async fn grant(&self, grant: NewGrant) -> Result<GrantOutcome, GrantError>;

    /// Adds a torrent; one that is there already is no error.
    async fn add_torrent(&self, add: AddTorrent) -> Result<Added, AddError>;
    /// Forgets a torrent, and removes its files if asked.
    async fn remove_torrent(
        &self,
        torrent_id: TorrentId,
        delete_data: bool,
    ) -> Result<(), TorrentError>;
    /// Verifies a torrent's data again; the receiver ends when all is checked.
    async fn verify_torrent(
        &self,
        torrent_id: TorrentId,
    ) -> Result<Steps<VerifyStep>, TorrentError>;
    /// Makes metainfo; the receiver ends with [`CreateStep::Done`] or an error.
    async fn create_metainfo(&self, what: NewMetainfo) -> Result<Steps<CreateStep>, TorrentError>;
}

/// What a node has, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BalanceSheet {
    /// In six words.
    pub holdings: Holdings,
    /// The newest certified line, and its settlement time.
    pub as_of: Option<(Sequence, UnixTime)>,
    /// Where the node's ledger ends.
    pub head: Option<Sequence>,
    /// Whether the settlement node answered last time.
    pub settlement_reachable: bool,
    /// What was granted and burned, on the settlement node itself.
    pub supply: Option<Supply>,
}

/// Progress of long work, a few steps ahead of whoever reads it.
pub type Steps<T> = mpsc::Receiver<Result<T, TorrentError>>;

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its key.
    pub node_id: NodeId,
    /// The network it belongs to, if any.
    pub network: Option<NetworkInfo>,
    /// Where peers can connect.
    pub listen_addrs: Vec<SocketAddr>,
    /// Where its API is, as users write it.
    pub api_addrs: Vec<String>,
    /// Identity, ledger and resume data.
    pub data_dir: PathBuf,
    /// Where torrents go that name no folder.
    pub download_dir: PathBuf,
    /// Wall-clock time at the driver's instant zero.
    pub started_at: UnixTime,
}

impl NodeInfo {
    /// What members of its network ask unless they choose another price.
    pub fn par_price(&self) -> Rate {
        let network = self.network.as_ref();
        network.map_or(Rate::PAR, |network| network.par_price)
    }
}

/// The network a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInfo {
    /// BLAKE3 of its genesis file.
    pub id: NetworkId,
    /// Its name, for people.
    pub name: String,
    /// What its members ask unless they choose another price.
    pub par_price: Rate,
    /// Where its settlement node is.
    pub settlement_uri: Option<String>,
    /// Whether this node keeps its ledger.
    pub kept_here: bool,
}

/// A torrent, and where its data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedTorrent {
    /// As the session shows it.
    pub view: TorrentView,
    /// Folder that holds its data.
    pub download_dir: PathBuf,
}

/// Progress of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyStep {
    /// Bytes checked so far.
    pub checked: u64,
    /// Bytes to check in all.
    pub total: u64,
    /// Of the checked, good.
    pub have: u64,
}

/// Metainfo to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMetainfo {
    /// Absolute file or folder.
    pub path: PathBuf,
    /// Announce URLs, each a tier of its own.
    pub trackers: Vec<String>,
    /// No peers but from its trackers.
    pub private: bool,
    /// Text for people.
    pub comment: Option<String>,
    /// Bytes in a piece; `None` to choose by size.
    pub piece_len: Option<u32>,
}

/// Progress of making metainfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateStep {
    /// So many bytes are hashed.
    Hashed {
        /// Hashed so far.
        bytes: u64,
        /// To hash in all.
        total: u64,
    },
    /// Finished.
    Done {
        /// Bytes hashed.
        total: u64,
        /// The metainfo file.
        metainfo: Vec<u8>,
        /// Its info hash.
        info_hash: InfoHash,
        /// A magnet link for it.
        magnet: String,
    },
}

/// Why the books could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The ledger cannot be read.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Something in it does not add up.
    #[error("{0}")]
    Check(#[from] CheckError),
    /// The node is on its way down.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// Why something about a torrent failed.
#[derive(Debug, thiserror::Error)]
pub enum TorrentError {
    /// A number or name is out of range.
    #[error("{field} {problem}")]
    BadField {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No such torrent.
    #[error("no torrent {0}")]
    Unknown(TorrentId),
    /// A magnet whose metainfo has not arrived.
    #[error("torrent {0} has no metainfo yet")]
    NoMetainfo(TorrentId),
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The session refused.
    #[error(transparent)]
    Command(#[from] CommandError),
}
