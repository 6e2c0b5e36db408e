//! What is told of peers that could not be reached.

use std::net::SocketAddr;

use crate::discovery::failures::FailureReason;
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::peer::Peer;
use crate::units::{PeerIndex, TorrentId};

impl Session {
    /// A dial came to nothing: shown until it succeeds, and told once for each reason in a row.
    pub(super) fn not_reached(
        &mut self,
        torrent_id: TorrentId,
        addr: SocketAddr,
        reason: FailureReason,
    ) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        if torrent.failures.failed(addr, reason) {
            self.emit(Output::Event(SessionEvent::PeerUnreached {
                torrent_id,
                addr,
                reason,
            }));
        }
    }

    /// A connection ended whose handshake never came, or was of no use. `failure` is what the
    /// driver says of it; what the session closed for reasons of its own is nobody's failure.
    pub(super) fn ended_early(&mut self, entry: &Peer, failure: Option<FailureReason>) {
        let is_ours = entry.closing && entry.failure.is_none();
        let (Some(torrent_id), false, None, false) =
            (entry.torrent_id, entry.incoming, &entry.link, is_ours)
        else {
            return;
        };
        let reason = entry.failure.or(failure).unwrap_or(FailureReason::Closed);
        self.not_reached(torrent_id, entry.addr, reason);
    }

    /// Closes a connection whose handshake says that it is of no use.
    pub(super) fn close_for(&mut self, peer: PeerIndex, failure: FailureReason, what: &str) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.failure = Some(failure);
        }
        self.close(peer, what);
    }
}
