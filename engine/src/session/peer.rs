//! One connection as the session sees it.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use seedbank_ledger::{Bytes, Duration, Instant, Rate};

use crate::content::bitfield::{Bitfield, BitfieldError};
use crate::credit::market::UnderWay;
use crate::discovery::failures::FailureReason;
use crate::interface::input::Transport;
use crate::rate::RateMeter;
use crate::transfer::pipeline::Pipeline;
use crate::units::{Block, ClientId, PeerIndex, PieceIndex, TorrentId};
use crate::wire::extended::ExtendedHandshake;

/// Requests of one peer that are kept; past it they are rejected (BEP 6) or ignored. Advertised as
/// half of it, since clients without the Fast Extension overrun what they were told.
pub(crate) const QUEUE_MAX: usize = 4_000;
/// `reqq` as advertised, the same as libtorrent's. Transmission asks once a second for up to so
/// many blocks: with fewer, the number and not the link would be its limit.
pub(crate) const QUEUE_ADVERTISED: u32 = 2_000;
/// Rejected or ignored requests in a row after which a peer is closed: it is not listening.
pub(crate) const REFUSED_MAX: u32 = 5_000;
/// CANCELs of one peer beyond one for each of its requests: one may be said twice, and each costs a
/// look through the queue.
pub(crate) const CANCELS_SPARE: u32 = 5_000;
/// CANCELs that it may save up: one for each request that is kept, and the spare ones.
pub(crate) const CANCELS_MAX: u32 = 2 * QUEUE_ADVERTISED + CANCELS_SPARE;
/// Silence after which a keep-alive is due; the client with the shortest documented limit waits
/// 120 s.
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// The same for clients that hang up after 10 s without a byte.
const KEEP_ALIVE_SHORT: Duration = Duration::from_secs(8);
/// `have` messages kept while the metainfo is unknown.
const EARLY_HAVES_MAX: usize = 16_384;

/// A connection, from accept or dial on.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) index: PeerIndex,
    pub(crate) addr: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) incoming: bool,
    /// Its torrent, once known: a dial's from the start, an accepted one's with its handshake.
    pub(crate) torrent_id: Option<TorrentId>,
    /// Both handshakes are done.
    pub(crate) link: Option<Box<Link>>,
    /// We asked the driver to close it; what still comes is ignored.
    pub(crate) closing: bool,
    /// What its handshake was of no use for.
    pub(crate) failure: Option<FailureReason>,
    /// It broke a rule: whatever it sent, it was of no use.
    pub(crate) faulty: bool,
}

/// A connection after both handshakes.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client_id: ClientId,
    /// Both sides speak the Fast Extension (BEP 6).
    pub(crate) fast: bool,
    /// Both sides speak the extension protocol (BEP 10).
    pub(crate) extended: bool,
    /// What it said in its extended handshakes.
    pub(crate) remote: ExtendedHandshake,
    /// Which pieces it said it has while nobody could check it; the picker knows them since.
    pub(crate) early: Option<EarlyPieces>,
    /// Its HELLO, which came before it was known whether the torrent is private.
    pub(crate) early_hello: Option<Vec<u8>>,
    /// Metadata pieces sent to it.
    pub(crate) metadata_sent: u32,
    /// It has every piece, or says that it wants none (BEP 21).
    pub(crate) is_seed: bool,
    /// It will not answer requests.
    pub(crate) choking_us: bool,
    /// Since when it has said that it wants something; `None` if it does not.
    pub(crate) interested_since: Option<Instant>,
    /// We said that we want something.
    pub(crate) interesting: bool,
    pub(crate) upload: Upload,
    pub(crate) download: Download,
    pub(crate) last_sent: Instant,
    /// When its handshake came.
    pub(crate) met_at: Instant,
    /// When it said something last.
    pub(crate) heard_at: Instant,
    /// When payload that somebody wanted moved last, either way; before, when its handshake came.
    pub(crate) moved_at: Instant,
    /// It names a client id that was here, and has to prove a key until then.
    pub(crate) prove_until: Option<Instant>,
}

/// What a peer said before anybody could check it.
#[derive(Debug, Default)]
pub(crate) struct EarlyPieces {
    pub(crate) all: bool,
    pub(crate) bitfield: Option<Vec<u8>>,
    haves: BTreeSet<PieceIndex>,
}

/// Serving a peer.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Requests not granted, oldest first, each with the bid in force when it was read.
    pub(crate) queue: VecDeque<Queued>,
    /// Blocks granted and not reported as sent.
    pub(crate) granted: VecDeque<GrantedBlock>,
    /// Their bytes.
    pub(crate) granted_bytes: u64,
    /// Payload sent.
    pub(crate) sent: Bytes,
    pub(crate) rate: RateMeter,
    /// Payload sent as paid.
    pub(crate) paid_rate: RateMeter,
    /// Requests refused since one was accepted.
    pub(crate) refused: u32,
    /// CANCELs that it may still send; each request allows one more.
    pub(crate) cancels_left: u32,
    /// Choked, but without the Fast Extension: so many more blocks that it asks for are served
    /// before it is told, because some clients never forget a request that a choke dropped. With
    /// it, so many of a piece that nobody else has.
    pub(crate) drain_left: Option<usize>,
    /// When a peer with the Fast Extension that drains is told all the same.
    pub(crate) drain_until: Option<Instant>,
}

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) block: Block,
    pub(crate) bid: Rate,
}

/// A request that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrantedBlock {
    pub(crate) len: u32,
    /// What it counts at: zero for the open class.
    pub(crate) rate: Rate,
}

/// Being served by a peer.
#[derive(Debug)]
pub(crate) struct Download {
    /// What it is asked for, each request with the bid in force when it was sent.
    pub(crate) pipeline: Pipeline<Rate>,
    /// Payload received, wanted or not.
    pub(crate) received: Bytes,
    /// The same, as far as it was missing when it came.
    pub(crate) needed: Bytes,
    /// Blocks that nobody asked for.
    pub(crate) unrequested: u32,
    pub(crate) rate: RateMeter,
}

impl EarlyPieces {
    /// Remembers a `have`.
    pub(crate) fn have(&mut self, piece: PieceIndex) {
        if self.haves.len() < EARLY_HAVES_MAX {
            self.haves.insert(piece);
        }
    }

    /// Checks what was said, now that the number of pieces is known; haves past it are dropped.
    pub(crate) fn check(&self, piece_count: u32) -> Result<Bitfield, BitfieldError> {
        let mut pieces = match &self.bitfield {
            _ if self.all => Bitfield::all(piece_count),
            Some(bits) => Bitfield::from_wire(bits, piece_count)?,
            None => Bitfield::none(piece_count),
        };
        for piece in self.haves.iter().filter(|piece| piece.get() < piece_count) {
            pieces.set(*piece);
        }
        Ok(pieces)
    }
}

impl Peer {
    /// Where it listens, by its own word; what we dialled is known to be such a place anyway.
    pub(crate) fn listens_at(&self) -> Option<SocketAddr> {
        let port = self.live()?.remote.port?;
        Some(SocketAddr::new(self.addr.ip().to_canonical(), port))
    }

    /// The link, if both handshakes are done and nobody is closing it.
    pub(crate) fn live(&self) -> Option<&Link> {
        self.link.as_deref().filter(|_| !self.closing)
    }

    /// The link, if both handshakes are done and nobody is closing it.
    pub(crate) fn live_mut(&mut self) -> Option<&mut Link> {
        self.link.as_deref_mut().filter(|_| !self.closing)
    }
}

impl Link {
    /// When it is to hear that we are still here, if it hears nothing else.
    pub(crate) fn keep_alive_at(&self) -> Instant {
        let client = self.remote.client.as_deref();
        let is_hasty = client.is_some_and(|name| name.contains("rqbit"));
        let limit = if is_hasty {
            KEEP_ALIVE_SHORT
        } else {
            KEEP_ALIVE
        };
        self.last_sent.after(limit)
    }

    /// Whether that is due.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        now.since(self.last_sent) >= KEEP_ALIVE_SHORT && self.keep_alive_at() <= now
    }

    /// Takes out what is under way when the connection ends.
    pub(crate) fn take_under_way(&mut self) -> UnderWay {
        let granted = self.upload.granted.drain(..);
        UnderWay {
            unsent: granted.map(|block| (block.len, block.rate)).collect(),
            unanswered: self.download.pipeline.clear(),
        }
    }
}

impl Upload {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            granted: VecDeque::new(),
            granted_bytes: 0,
            sent: Bytes::ZERO,
            rate: RateMeter::new(),
            paid_rate: RateMeter::new(),
            refused: 0,
            cancels_left: CANCELS_SPARE,
            drain_left: None,
            drain_until: None,
        }
    }

    /// Takes a request off the queue; `false` if it is not there (granted, or never made).
    pub(crate) fn cancel(&mut self, block: &Block) -> bool {
        let position = self.queue.iter().position(|queued| queued.block == *block);
        position
            .and_then(|position| self.queue.remove(position))
            .is_some()
    }
}
