//! What a session shows: plain copies of its state, for the API and for tests.

use std::net::SocketAddr;

use seedbank_ledger::{Bytes, Instant, NodeId, Rate};

pub use crate::credit::boost::{
    BoostEstimate, BoostQuote, BoostReport, BoostState, BoostView, PayeeView, WaitReason,
};
pub use crate::credit::wallet::WalletView;
pub use crate::discovery::failures::{FailureReason, UnreachedView};
pub use crate::discovery::tracker::TrackerView;
use crate::interface::input::Transport;
use crate::transfer::choker::Reason;
use crate::units::{PeerIndex, TorrentId};

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TorrentState {
    /// A magnet waiting for its metainfo.
    FetchingMetadata,
    /// What is on disk is being verified.
    Checking,
    /// Wants pieces.
    Downloading,
    /// Has every piece.
    Seeding,
    /// Stopped by the owner.
    Stopped,
    /// Stopped by an error.
    Failed,
}

/// A torrent as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentView {
    /// Which.
    pub torrent_id: TorrentId,
    /// Its name, or the magnet's, or the info hash.
    pub name: String,
    /// What it is doing.
    pub state: TorrentState,
    /// Why it failed.
    pub error: Option<String>,
    /// All bytes; 0 until the metainfo is here.
    pub total: Bytes,
    /// Bytes of verified pieces.
    pub have: Bytes,
    /// Pieces; 0 until the metainfo is here.
    pub piece_count: u32,
    /// Verified pieces.
    pub piece_have_count: u32,
    /// Payload sent, over all sessions.
    pub uploaded: Bytes,
    /// Payload received, over all sessions.
    pub downloaded: Bytes,
    /// Payload received in vain: duplicates and failed pieces.
    pub wasted: Bytes,
    /// Payload per second sent.
    pub upload_rate: Bytes,
    /// Payload per second received.
    pub download_rate: Bytes,
    /// Connections.
    pub peer_count: u32,
    /// Connections to peers that have everything.
    pub seed_count: u32,
    /// Where it announces, and what the last announce said.
    pub trackers: Vec<TrackerView>,
    /// Addresses that it dialled in vain last time, by reason.
    pub unreached: Vec<UnreachedView>,
    /// When it was completed in this session.
    pub completed_at: Option<Instant>,
}

/// Some of a torrent's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesView {
    /// Files in all, pad files (BEP 47) apart; 0 until the metainfo is here.
    pub count: usize,
    /// Those asked for, in the torrent's order.
    pub files: Vec<FileView>,
}

/// A file as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// Place among the torrent's files, from 0.
    pub index: usize,
    /// Components below the torrent's folder, or the name of a single file.
    pub path: Vec<String>,
    /// The same as the torrent has it, in whatever encoding; `None` if that is `path`.
    pub original: Option<Vec<Vec<u8>>>,
    /// All bytes.
    pub total: Bytes,
    /// Bytes of it in verified pieces.
    pub have: Bytes,
}

/// A connection as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Which.
    pub peer: PeerIndex,
    /// Torrent.
    pub torrent_id: TorrentId,
    /// Remote address.
    pub addr: SocketAddr,
    /// What carries the connection.
    pub transport: Transport,
    /// Whether it dialled us.
    pub incoming: bool,
    /// What it calls itself, escaped and bounded; its own claim.
    pub client: String,
    /// Its key, once proven on this connection.
    pub node_id: Option<NodeId>,
    /// Pieces it says it has.
    pub piece_have_count: u32,
    /// It wants something of ours.
    pub interested: bool,
    /// We want something of its.
    pub interesting: bool,
    /// It lets us request.
    pub unchoked_us: bool,
    /// We let it request.
    pub unchoked: bool,
    /// Why; `None` before the first decision.
    pub reason: Option<Reason>,
    /// Payload sent to it on this connection.
    pub uploaded: Bytes,
    /// Payload received from it on this connection.
    pub downloaded: Bytes,
    /// Payload per second sent.
    pub upload_rate: Bytes,
    /// Payload per second received.
    pub download_rate: Bytes,
    /// Its bid in force; zero for the open class.
    pub bid: Rate,
    /// Our bid in force at it.
    pub own_bid: Rate,
    /// Paid-class bytes granted to its key and not paid for.
    pub exposure: Bytes,
    /// The exposure allowed to its key.
    pub window: Bytes,
    /// Bytes we acknowledged to its key minus bytes it acknowledged to us.
    pub standing: i64,
    /// Paid service to its key is suspended after unpaid debt.
    pub backing_off: bool,
}
