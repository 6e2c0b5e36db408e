//! What the owner can ask of a session.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use seedbank_ledger::{Bytes, MicroCredits, NodeId};

use crate::content::magnet::{Magnet, MagnetError};
use crate::content::metainfo::{Metainfo, MetainfoError};
pub use crate::credit::boost::BoostOrder;
pub use crate::credit::policy::CreditError;
use crate::interface::config::Policy;
use crate::units::{InfoHash, TorrentId};

/// Most torrents of one session.
pub const TORRENTS_MAX: usize = 10_000;

/// A wish of the owner.
#[derive(Clone, Debug)]
pub enum Command {
    /// Adds a torrent; refused with [`CommandError::Add`].
    AddTorrent(Box<AddTorrent>),
    /// Adds a torrent as [`Output::Remember`](super::output::Output::Remember) said it, at the
    /// start of a session: what is on record of it may be believed. One whose files belong to
    /// another is added all the same, and fails.
    RestoreTorrent(Box<AddTorrent>),
    /// Forgets a torrent and closes its connections.
    RemoveTorrent {
        /// Which.
        torrent_id: TorrentId,
        /// Its files go too.
        delete_data: bool,
    },
    /// Starts a stopped or failed torrent; what failed is checked again first.
    StartTorrent(TorrentId),
    /// Stops a torrent and closes its connections.
    StopTorrent(TorrentId),
    /// Verifies again all that is on disk, believing nothing: the torrent counts as empty until
    /// that is done. A check that is running begins anew. No effect without metainfo.
    Recheck(TorrentId),
    /// Tells a torrent of peers.
    AddPeers {
        /// Torrent.
        torrent_id: TorrentId,
        /// Addresses; dialled as connections allow.
        peers: Vec<SocketAddr>,
    },
    /// Replaces the owner's policy.
    SetPolicy(Policy),
    /// Offers credit to be unchoked first.
    Boost(BoostOrder),
    /// Ends a boost; locked credit returns as its locks close.
    CancelBoost(u64),
    /// Sends credit to another account.
    Transfer {
        /// Idempotency key.
        request_id: String,
        /// Receiver.
        to: NodeId,
        /// How much.
        amount: MicroCredits,
    },
    /// Enters what the newest receipts say into the ledger, at most once a second: before the owner
    /// is told a balance.
    BookReceipts,
    /// Finish: final receipts, `stopped` announces, close every connection.
    Shutdown,
}

/// A torrent to add. The same value is what is remembered of a torrent that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddTorrent {
    /// What.
    pub source: TorrentSource,
    /// Folder for its files; `None` for the driver's own. Two torrents may not have one file, and
    /// folders are compared as they are written: the driver resolves links.
    pub download_dir: Option<PathBuf>,
    /// Peers known beforehand (`initial_peers`, `x.pe`).
    pub peers: Vec<SocketAddr>,
    /// Trackers that the owner named, asked before the torrent's own: they may be anywhere.
    pub trackers: Vec<String>,
    /// Start at once.
    pub start: bool,
    /// Bytes per second for this torrent alone; `None` for no limit of its own.
    pub upload_limit: Option<u64>,
    /// Bytes per second for this torrent alone; `None` for no limit of its own.
    pub download_limit: Option<u64>,
    /// What it came to so far; nothing for one that is new.
    pub totals: TorrentTotals,
}

/// Payload of a torrent, over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TorrentTotals {
    /// Sent.
    pub uploaded: Bytes,
    /// Received.
    pub downloaded: Bytes,
    /// Of what was received, in vain: duplicates and failed pieces.
    pub wasted: Bytes,
}

/// Where a torrent's metainfo comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorrentSource {
    /// It is here.
    Metainfo(Arc<Metainfo>),
    /// From peers (BEP 9).
    Magnet(Box<Magnet>),
}

/// A torrent that was added, or was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Which.
    pub torrent_id: TorrentId,
    /// Whether it was there before.
    pub existed: bool,
}

impl AddTorrent {
    /// This torrent, started at once, in the driver's folder, without limits or known peers.
    pub const fn new(source: TorrentSource) -> Self {
        Self {
            source,
            download_dir: None,
            peers: Vec::new(),
            trackers: Vec::new(),
            start: true,
            upload_limit: None,
            download_limit: None,
            totals: TorrentTotals {
                uploaded: Bytes::ZERO,
                downloaded: Bytes::ZERO,
                wasted: Bytes::ZERO,
            },
        }
    }

    /// What peers and trackers call it.
    pub fn info_hash(&self) -> InfoHash {
        match &self.source {
            TorrentSource::Metainfo(metainfo) => metainfo.info_hash,
            TorrentSource::Magnet(magnet) => magnet.info_hash,
        }
    }

    /// What it is called here.
    pub fn torrent_id(&self) -> TorrentId {
        self.info_hash().into()
    }
}

impl TorrentTotals {
    /// Both together; held at the most that can be counted.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            uploaded: self.uploaded.saturating_add(other.uploaded),
            downloaded: self.downloaded.saturating_add(other.downloaded),
            wasted: self.wasted.saturating_add(other.wasted),
        }
    }
}

impl TorrentSource {
    /// Reads the bytes of a `.torrent` file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddError> {
        Ok(Self::Metainfo(Arc::new(Metainfo::from_bytes(bytes)?)))
    }

    /// Reads a `magnet:` link.
    pub fn from_link(link: &str) -> Result<Self, AddError> {
        Ok(Self::Magnet(Box::new(Magnet::parse(link)?)))
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandReply {
    /// Done.
    Done,
    /// The torrent was added, or was there before.
    Torrent(Added),
    /// The boost of this number was made, or was there before.
    Boost(u64),
    /// The transfer was signed under this nonce and is on its way.
    Transfer {
        /// Nonce of the order.
        nonce: u64,
    },
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such torrent.
    #[error("no torrent {0}")]
    TorrentUnknown(TorrentId),
    /// A number is out of range.
    #[error("{field} {problem}")]
    BadValue {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A torrent was not added.
    #[error(transparent)]
    Add(#[from] AddError),
    /// It was about credit.
    #[error(transparent)]
    Credit(#[from] CreditError),
    /// The session is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

/// Why a torrent was not added. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The `.torrent` file is of no use.
    #[error("not a torrent file: {0}")]
    Metainfo(#[from] MetainfoError),
    /// The link is of no use.
    #[error("not a magnet link: {0}")]
    Magnet(#[from] MagnetError),
    /// There are too many.
    #[error("there are {TORRENTS_MAX} torrents already, the most there may be: remove one first")]
    TooMany,
    /// A file of it belongs to another torrent.
    #[error(
        "{} belongs to torrent {name:?} ({other}): remove it or choose another folder (--dir)",
        path.display()
    )]
    SameFiles {
        /// The file.
        path: PathBuf,
        /// The other torrent.
        other: TorrentId,
        /// Its name.
        name: String,
    },
    /// Something that is no folder is where the download folder should be.
    #[error("{} is in the way: it is not a folder; choose another (--dir)", .0.display())]
    PathInTheWay(PathBuf),
    /// The driver could not put it on record.
    #[error("cannot be put on record: {problem}")]
    Record {
        /// Of what kind the problem is.
        kind: io::ErrorKind,
        /// For people.
        problem: String,
    },
    /// The session is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}
