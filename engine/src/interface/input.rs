//! What the driver tells the session. Control only: payload bytes stay in the data plane.

use std::net::SocketAddr;

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::{Sequence, UnixTime};

pub use crate::asked::BlockFate;
pub use crate::credit::settlement::{Envelope, Unreachable};
use crate::discovery::ResolveError;
pub use crate::discovery::failures::FailureReason;
use crate::discovery::tracker::{AnnounceError, AnnounceReply};
use crate::interface::command::Command;
pub use crate::transfer::uplink::UplinkSample;
use crate::units::{Block, PeerIndex, PieceIndex, TorrentId};
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;

/// One event. The log of inputs, with the session's `rng_seed`, replays a node exactly.
#[derive(Clone, Debug)]
pub enum Input {
    /// `next_timeout()` has passed.
    Tick,
    /// The wall clock at this instant; sent at start and at least once a minute.
    Clock(UnixTime),
    /// The owner wants something.
    Command(Command),
    /// A remote connected to us; its handshake has not been read.
    Accepted {
        /// A new index.
        peer: PeerIndex,
        /// Its address.
        addr: SocketAddr,
        /// What carries the connection.
        transport: Transport,
    },
    /// A dial of ours succeeded.
    Dialled {
        /// A new index.
        peer: PeerIndex,
        /// For which torrent we dialled.
        torrent_id: TorrentId,
        /// Its address.
        addr: SocketAddr,
        /// What carries the connection.
        transport: Transport,
    },
    /// A dial of ours failed.
    DialFailed {
        /// For which torrent.
        torrent_id: TorrentId,
        /// Where to.
        addr: SocketAddr,
        /// Why.
        reason: FailureReason,
    },
    /// The peer's 68 bytes, well formed.
    Handshake {
        /// Who.
        peer: PeerIndex,
        /// What it sent.
        handshake: Handshake,
    },
    /// Everything one socket read brought, in stream order.
    Received {
        /// Who.
        peer: PeerIndex,
        /// What.
        events: Vec<PeerEvent>,
    },
    /// Payload of served blocks left for the kernel.
    Sent {
        /// To whom.
        peer: PeerIndex,
        /// Payload bytes.
        bytes: u64,
        /// How many of the blocks of [`Output::Serve`](super::output::Output::Serve), oldest first.
        blocks: u32,
    },
    /// The connection is gone; nothing more comes from or goes to this peer.
    Closed {
        /// Who.
        peer: PeerIndex,
        /// Why, for people.
        reason: String,
        /// What was wrong with it, if it ended before its handshake was here.
        failure: Option<FailureReason>,
    },
    /// A leased piece matched its hash and is written.
    PieceVerified {
        /// Torrent.
        torrent_id: TorrentId,
        /// Piece.
        piece: PieceIndex,
    },
    /// A leased piece did not match its hash; its buffer is gone.
    PieceFailed {
        /// Torrent.
        torrent_id: TorrentId,
        /// Piece.
        piece: PieceIndex,
    },
    /// A check that [`Output::Check`](super::output::Output::Check) asked for is done: storage is
    /// open and what is there is known.
    Checked {
        /// Torrent.
        torrent_id: TorrentId,
        /// Which check; any but the newest means nothing.
        check: u64,
        /// Pieces that are there, most significant bit first.
        have: Vec<u8>,
    },
    /// A check could not be done, or found files that are not this torrent's.
    CheckFailed {
        /// Torrent.
        torrent_id: TorrentId,
        /// Which check; any but the newest means nothing.
        check: u64,
        /// Why, for people.
        reason: String,
    },
    /// Open storage could not be read or written: the torrent stops with this error and keeps what
    /// it has.
    StorageFailed {
        /// Torrent.
        torrent_id: TorrentId,
        /// Why, for people ("no space left on device").
        reason: String,
    },
    /// A datagram came, from anybody. Longer ones than
    /// [`DATAGRAM_LEN_MAX`](crate::discovery::DATAGRAM_LEN_MAX) need not be told.
    Datagram {
        /// From where, as the socket says; an IPv4 sender has an IPv4 address.
        from: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// A host that [`Output::Resolve`](super::output::Output::Resolve) asked for has these
    /// addresses, the best first, or none that a datagram could go to.
    Resolved {
        /// As in the output.
        host: String,
        /// As in the output.
        port: u16,
        /// Addresses with that port.
        result: Result<Vec<SocketAddr>, ResolveError>,
    },
    /// A tracker answered [`Output::Announce`](super::output::Output::Announce) or did not.
    Announced {
        /// Torrent.
        torrent_id: TorrentId,
        /// Tracker URL as in the output.
        tracker: String,
        /// Its answer.
        result: Result<AnnounceReply, AnnounceError>,
    },
    /// The settlement node answered or could not be reached.
    Settled {
        /// Number of the request in [`Output::Settle`](super::output::Output::Settle).
        request: u64,
        /// Its answer as it came: the session opens it.
        answer: Result<Envelope, Unreachable>,
    },
    /// The settlement node has entered this line of our account. A hint: it costs a question at
    /// most, and without it the next regular statement says the same.
    LineEntered(Sequence),
    /// The node ledger refused the settled line that
    /// [`Output::Append`](super::output::Output::Append) brought it.
    LineRefused {
        /// Its sequence in the network's ledger.
        line: Sequence,
        /// Why.
        refusal: Refusal,
        /// Newest line of the node ledger after that.
        newest: Option<Sequence>,
    },
    /// How connections fare on their way out: every
    /// [`MEASURE_EVERY`](super::output::MEASURE_EVERY) while
    /// [`Output::Measure`](super::output::Output::Measure) says so, all of them together that sent
    /// anything since the last time or have something to send.
    Measured(Vec<UplinkSample>),
}

/// What carries the bytes of a connection. A further one is a further line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
}

/// One event inside a socket read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A message.
    Message(Message),
    /// A `piece` message, whose payload the data plane has dealt with.
    Block {
        /// Which block.
        block: Block,
        /// What became of it.
        fate: BlockFate,
    },
}
