//! What each message of a peer means now.

use seedbank_ledger::Instant;

use crate::content::bitfield::Bitfield;
use crate::interface::input::PeerEvent;
use crate::session::Session;
use crate::session::peer::{Link, Peer};
use crate::session::torrent::Torrent;
use crate::units::{PeerIndex, PieceIndex, TorrentId};
use crate::wire::message::Message;

impl Session {
    /// Everything one socket read brought.
    pub(super) fn received(&mut self, peer: PeerIndex, events: Vec<PeerEvent>, now: Instant) {
        if let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) {
            link.heard_at = now;
        }
        for event in events {
            let is_live = self.peers.get(&peer).and_then(Peer::live).is_some();
            match (event, is_live) {
                (PeerEvent::Message(message), true) => self.message(peer, message, now),
                (PeerEvent::Block { block, fate }, is_live) => {
                    let fate = self.fate_by_now(peer, block.piece, fate);
                    match is_live {
                        true => self.block_arrived(peer, block, fate, now),
                        false => self.block_behind_close(peer, block, fate, now),
                    }
                }
                (PeerEvent::Message(_), false) => {}
            }
        }
        self.refill_peer(peer, now);
        self.pump_uploads(now);
    }

    fn message(&mut self, peer: PeerIndex, message: Message, now: Instant) {
        match message {
            // A DHT port and the allowed-fast set are hints that we do not take.
            Message::KeepAlive | Message::Port(_) | Message::AllowedFast(_) => {}
            Message::Suggest(piece) => self.suggested_by(peer, piece),
            Message::Choke => self.choked_by(peer, now),
            Message::Unchoke => self.unchoked_by(peer, now),
            Message::Interested => self.set_interested(peer, true, now),
            Message::NotInterested => self.set_interested(peer, false, now),
            Message::Have(piece) => self.peer_has(peer, piece, now),
            Message::Bitfield(bits) => self.peer_bitfield(peer, Said::Bits(bits), now),
            Message::HaveAll => self.peer_bitfield(peer, Said::All, now),
            Message::HaveNone => self.peer_bitfield(peer, Said::None, now),
            Message::Request(block) => self.request_arrived(peer, block, now),
            Message::Cancel(block) => self.cancel_arrived(peer, &block, now),
            Message::Reject(block) => self.reject_arrived(peer, block, now),
            Message::Extended { id, payload } => self.extended_arrived(peer, id, &payload, now),
        }
    }

    /// A torrent and one of its live links, for changes that touch both.
    pub(super) fn link_and_torrent(
        &mut self,
        peer: PeerIndex,
    ) -> Option<(&mut Link, &mut Torrent)> {
        let entry = self.peers.get_mut(&peer)?;
        let torrent_id = entry.torrent_id?;
        Some((entry.live_mut()?, self.torrents.get_mut(&torrent_id)?))
    }

    fn set_interested(&mut self, peer: PeerIndex, interested: bool, now: Instant) {
        let Some(link) = self.peers.get_mut(&peer).and_then(|entry| entry.live_mut()) else {
            return;
        };
        if link.interested_since.is_some() == interested {
            return;
        }
        link.interested_since = interested.then_some(now);
        self.choke_soon(now);
    }

    fn peer_has(&mut self, peer: PeerIndex, piece: PieceIndex, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        match (&mut link.early, torrent.open_mut()) {
            (Some(early), _) => early.have(piece),
            (None, Some(open)) => {
                if piece.get() >= open.metainfo.geometry.piece_count() {
                    let what = "says it has a piece that the torrent has not".to_owned();
                    return self.misbehaved(peer, what);
                }
                open.picker.add_piece(peer, piece);
                if let Some(suggester) = &mut open.suggester {
                    suggester.has(peer, piece);
                }
                self.spare_seed(peer, piece, now);
            }
            (None, None) => {}
        }
        self.update_interest(peer, now);
    }

    /// One such message is due, after the handshake (BEP 6). But aria2 sends another whenever many
    /// pieces became complete at once, so it may come at any time and adds to what was said before.
    fn peer_bitfield(&mut self, peer: PeerIndex, said: Said, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        match (&mut link.early, torrent.open_mut()) {
            (Some(early), _) => match said {
                Said::All => early.all = true,
                Said::None => {}
                Said::Bits(bits) => early.bitfield = Some(bits),
            },
            (None, Some(open)) => {
                let known = open.picker.pieces_of(peer);
                let knows_all = known.is_some_and(Bitfield::is_complete);
                // Neither says anything new, and five bytes must not cost a pass over all pieces.
                if matches!(said, Said::None) || matches!(said, Said::All) && knows_all {
                    return;
                }
                let Some(pieces) = said.check(open.metainfo.geometry.piece_count()) else {
                    return self.misbehaved(peer, "bitfield does not fit the torrent".to_owned());
                };
                open.picker.add_pieces(peer, pieces);
            }
            (None, None) => {}
        }
        self.update_interest(peer, now);
    }

    /// Says whether we want something of this peer, if that changed; notes whether it is a seed.
    pub(super) fn update_interest(&mut self, peer: PeerIndex, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let Some(open) = torrent.open() else { return };
        let complete = open
            .picker
            .pieces_of(peer)
            .is_some_and(Bitfield::is_complete);
        link.is_seed = complete || link.remote.upload_only == Some(true);
        let wants = open.picker.is_interesting(peer);
        if link.interesting != wants {
            link.interesting = wants;
            let message = if wants {
                Message::Interested
            } else {
                Message::NotInterested
            };
            self.send(peer, message, now);
        }
    }

    /// What a peer has, once that can be known.
    pub(super) fn pieces_of(&self, peer: &Peer) -> Option<&Bitfield> {
        let torrent = self.torrents.get(&peer.torrent_id?)?;
        torrent.open()?.picker.pieces_of(peer.index)
    }

    /// Tells every peer of a torrent of a piece that was just verified, but for those that have it.
    /// A seed that is alone has it and is told all the same: what it sends next depends on it.
    pub(super) fn broadcast_have(
        &mut self,
        torrent_id: TorrentId,
        piece: PieceIndex,
        now: Instant,
    ) {
        let Some(torrent) = self.torrents.get(&torrent_id) else {
            return;
        };
        let only_seed = torrent.open().and_then(|open| open.picker.only_seed());
        for peer in torrent.peers.clone() {
            let has_it = self
                .peers
                .get(&peer)
                .and_then(|entry| self.pieces_of(entry));
            let knows = has_it.is_some_and(|pieces| pieces.get(piece));
            if !knows || only_seed == Some(peer) {
                self.send(peer, Message::Have(piece), now);
            }
            self.update_interest(peer, now);
        }
    }
}

/// What a peer says it has.
#[derive(Debug)]
enum Said {
    All,
    None,
    Bits(Vec<u8>),
}

impl Said {
    fn check(self, piece_count: u32) -> Option<Bitfield> {
        match self {
            Self::All => Some(Bitfield::all(piece_count)),
            Self::None => Some(Bitfield::none(piece_count)),
            Self::Bits(bits) => Bitfield::from_wire(&bits, piece_count).ok(),
        }
    }
}
