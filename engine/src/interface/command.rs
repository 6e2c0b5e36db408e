//! What the owner can ask of a session.

use std::net::SocketAddr;

use seedbank_ledger::{MicroCredits, NodeId};

use crate::content::magnet::Magnet;
use crate::content::metainfo::Metainfo;
pub use crate::credit::boost::BoostOrder;
pub use crate::credit::policy::CreditError;
use crate::interface::config::Policy;
use crate::units::InfoHash;

/// A wish of the owner.
#[derive(Clone, Debug)]
pub enum Command {
    /// Adds a torrent. Storage is opened by the driver, which then sends `Checked`.
    AddTorrent(Box<AddTorrent>),
    /// Forgets a torrent and closes its connections; data on disk is the driver's business.
    RemoveTorrent(InfoHash),
    /// Starts a stopped torrent.
    StartTorrent(InfoHash),
    /// Stops a torrent and closes its connections.
    StopTorrent(InfoHash),
    /// Verifies again what is on disk: the torrent counts as empty until `Checked`.
    Recheck(InfoHash),
    /// Tells a torrent of peers.
    AddPeers {
        /// Torrent.
        info_hash: InfoHash,
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
    /// Finish: final receipts, `stopped` announces, close every connection.
    Shutdown,
}

/// A torrent to add.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// What.
    pub source: TorrentSource,
    /// Peers known beforehand (`initial_peers`, `x.pe`).
    pub peers: Vec<SocketAddr>,
    /// Start at once.
    pub start: bool,
    /// Bytes per second for this torrent alone; `None` for no limit of its own.
    pub upload_limit: Option<u64>,
    /// Bytes per second for this torrent alone; `None` for no limit of its own.
    pub download_limit: Option<u64>,
}

/// Where a torrent's metainfo comes from.
#[derive(Clone, Debug)]
pub enum TorrentSource {
    /// It is here.
    Metainfo(Box<Metainfo>),
    /// From peers (BEP 9).
    Magnet(Box<Magnet>),
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandReply {
    /// Done.
    Done,
    /// The torrent of this name was added, or was there before.
    Torrent {
        /// Which.
        info_hash: InfoHash,
        /// Whether it was there before.
        existed: bool,
    },
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
    TorrentUnknown(InfoHash),
    /// A number is out of range.
    #[error("{field} {problem}")]
    BadValue {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The session is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// It was about credit.
    #[error(transparent)]
    Credit(#[from] CreditError),
}
