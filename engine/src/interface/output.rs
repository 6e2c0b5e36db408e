//! What the session asks of the driver, in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::tally::TallyRow;

use crate::content::metainfo::Metainfo;
use crate::credit::settlement::SettlementRequest;
use crate::discovery::reach::Reach;
use crate::discovery::tracker::AnnounceRequest;
use crate::interface::command::{AddTorrent, TorrentTotals};
use crate::interface::event::SessionEvent;
pub use crate::transfer::uplink::MEASURE_EVERY;
use crate::units::{Block, PeerIndex, PieceIndex, TorrentId};
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;

/// One thing to do. Outputs are carried out in order; those for one peer reach its socket in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Connect to `addr`; answered by `Dialled` or `DialFailed`.
    Dial {
        /// For which torrent.
        torrent_id: TorrentId,
        /// Where to.
        addr: SocketAddr,
    },
    /// Send our handshake; from here the connection belongs to this torrent.
    Handshake {
        /// To whom.
        peer: PeerIndex,
        /// Torrent.
        torrent_id: TorrentId,
        /// What.
        handshake: Handshake,
    },
    /// Send a message.
    Send {
        /// To whom.
        peer: PeerIndex,
        /// What.
        message: Message,
    },
    /// Send requests and lease their piece's buffer to this connection.
    Request {
        /// To whom.
        peer: PeerIndex,
        /// Blocks, each of which will be answered by one `PeerEvent::Block` or `Reject`, or never.
        blocks: Vec<Block>,
    },
    /// Send a cancel; a block that comes all the same is still one that was asked for.
    Cancel {
        /// To whom.
        peer: PeerIndex,
        /// What.
        block: Block,
    },
    /// Grant: read these blocks and send them, in order, behind what was sent before.
    Serve {
        /// To whom.
        peer: PeerIndex,
        /// Blocks, each answered by its share of a `Sent`, or by `Closed`.
        blocks: Vec<Block>,
    },
    /// Close once everything queued has left, or after 5 s.
    Close {
        /// Whom.
        peer: PeerIndex,
        /// Why, for people.
        reason: String,
    },
    /// Forget a leased buffer, unless it is full. What the session has not heard of by now and was
    /// stored in it, or equal to what was there, is [`Void`](crate::asked::BlockFate). Of the
    /// event that this answers, the session sees to that itself.
    Release {
        /// Torrent.
        torrent_id: TorrentId,
        /// Piece.
        piece: PieceIndex,
    },
    /// Open a torrent's files and find out what is there; answered by `Checked` or `CheckFailed`.
    /// What is under way for it ends: an earlier check, and every leased buffer that is not full.
    ///
    /// Nothing is written before the check and all that was to be remembered are on record.
    Check(StorageCheck),
    /// Put on record, instead of what was there, what adds this torrent again as it is now; after a
    /// restart it comes back as `RestoreTorrent`.
    Remember(Box<AddTorrent>),
    /// Put on record what this torrent came to; may wait for some seconds. Comes once a minute at
    /// most while that changes, and when the torrent is complete, stopped or removed.
    RememberTotals {
        /// Torrent.
        torrent_id: TorrentId,
        /// All of it.
        totals: TorrentTotals,
    },
    /// Put on record which pieces of this torrent are here; may wait for some seconds.
    RememberPieces(TorrentId),
    /// A torrent is removed: end its check, drop its buffers, take it off record.
    Forget {
        /// Torrent.
        torrent_id: TorrentId,
        /// Delete its files, if they are its own.
        delete_data: bool,
    },
    /// Send a datagram, from the same socket as all others to this address family. It may be lost,
    /// and nothing answers for it.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Find the addresses of a host that datagrams can go to; answered by `Resolved`.
    Resolve {
        /// A name or a literal address, an IPv6 one without its brackets.
        host: String,
        /// Port that the addresses are to have.
        port: u16,
    },
    /// Ask an HTTP tracker; answered by `Announced`.
    Announce {
        /// Torrent.
        torrent_id: TorrentId,
        /// Tracker URL.
        tracker: String,
        /// What to say.
        request: AnnounceRequest,
        /// Where it may be. The driver holds every address that it connects to against this, and
        /// the peers that the tracker names.
        reach: Reach,
    },
    /// Write rows before anything after this output happens: into the store's write-ahead log and
    /// handed to the kernel, not fsynced.
    Tally(Vec<TallyRow>),
    /// Append an entry to the node ledger. Of a settled line that it refuses it is told by
    /// [`Input::LineRefused`](super::input::Input::LineRefused).
    Append(NodeCommand),
    /// Ask the settlement node; answered by `Settled`.
    Settle {
        /// Number to answer under.
        request: u64,
        /// What to ask.
        what: SettlementRequest,
    },
    /// Begin, or end, to say how connections fare on their way out
    /// ([`Input::Measured`](super::input::Input::Measured)).
    Measure(bool),
    /// Something a user or a log may want to know.
    Event(SessionEvent),
}

/// A torrent's files to be checked.
#[derive(Clone, Debug)]
pub struct StorageCheck {
    /// Torrent.
    pub torrent_id: TorrentId,
    /// Number to answer under; never used twice.
    pub check: u64,
    /// What should be there.
    pub metainfo: Arc<Metainfo>,
    /// Folder that holds it; `None` for the driver's own.
    pub download_dir: Option<PathBuf>,
    /// What need not be read.
    pub trust: Trust,
}

/// What a check may believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The record of verified pieces, as far as files look as they did then.
    Record,
    /// Nothing: all is read again.
    Nothing,
}
