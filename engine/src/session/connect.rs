//! Who is connected: accepted and dialled connections, handshakes, duplicates, redial.

use std::net::SocketAddr;

use seedbank_ledger::Instant;

use crate::interface::output::Output;
use crate::rate::RateMeter;
use crate::session::Session;
use crate::session::peer::{Download, EarlyPieces, Link, Peer, Upload};
use crate::session::torrent::Content;
use crate::transfer::pipeline::Pipeline;
use crate::units::{InfoHash, PeerIndex};
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;
use seedbank_ledger::Bytes;

/// Connections of one torrent that we dial ourselves.
const DIALLED_PER_TORRENT_MAX: usize = 50;
/// Dials of one torrent under way at once.
const DIALLING_MAX: usize = 10;

impl Session {
    /// Somebody connected to us.
    pub(super) fn accepted(&mut self, peer: PeerIndex, addr: SocketAddr) {
        let full = self.peers.len() >= self.config.connections_max;
        self.insert_peer(peer, addr, None);
        if self.finishing.is_some() {
            self.close(peer, "shutting down");
        } else if full {
            self.close(peer, "connection limit reached");
        }
    }

    /// A dial of ours succeeded.
    pub(super) fn dialled(&mut self, peer: PeerIndex, info_hash: InfoHash, addr: SocketAddr) {
        self.insert_peer(peer, addr, Some(info_hash));
        let Some(torrent) = self
            .torrents
            .get_mut(&info_hash)
            .filter(|torrent| torrent.is_active())
        else {
            return self.close(peer, "torrent is not running");
        };
        torrent.addresses.connected(addr);
        torrent.peers.insert(peer);
        self.send_handshake(peer, info_hash);
    }

    fn insert_peer(&mut self, peer: PeerIndex, addr: SocketAddr, info_hash: Option<InfoHash>) {
        let incoming = info_hash.is_none();
        let entry = Peer {
            index: peer,
            addr,
            incoming,
            info_hash,
            link: None,
            closing: false,
            faulty: false,
        };
        let before = self.peers.insert(peer, entry);
        assert!(before.is_none(), "the driver never reuses an index");
    }

    /// A dial of ours failed.
    pub(super) fn dial_failed(&mut self, info_hash: InfoHash, addr: SocketAddr, now: Instant) {
        if let Some(torrent) = self.torrents.get_mut(&info_hash) {
            torrent.addresses.failed(addr, now);
        }
    }

    /// A peer's 68 bytes arrived.
    pub(super) fn handshaken(&mut self, peer: PeerIndex, theirs: Handshake, now: Instant) {
        let Some(entry) = self.peers.get(&peer).filter(|entry| !entry.closing) else {
            return;
        };
        let (addr, incoming) = (entry.addr, entry.incoming);
        if entry.link.is_some() {
            return self.close(peer, "second handshake");
        }
        if entry
            .info_hash
            .is_some_and(|info_hash| info_hash != theirs.info_hash)
        {
            return self.close(peer, "answered for another torrent");
        }
        let Some(torrent) = self.torrents.get_mut(&theirs.info_hash) else {
            return self.close(peer, "unknown torrent");
        };
        if !torrent.is_active() {
            return self.close(peer, "torrent is not running");
        }
        if theirs.client_id == self.config.client_id {
            match incoming {
                // Without an answer our dialling end would not learn whom it reached.
                true => self.send_handshake(peer, theirs.info_hash),
                false => torrent.addresses.is_own(addr),
            }
            return self.close(peer, "connected to ourselves");
        }
        if let Some(loser) = self.duplicate_of(peer, &theirs) {
            self.close(loser, "connected twice");
            if loser == peer {
                return;
            }
        }
        self.establish(peer, &theirs, now);
    }

    /// Of two connections to one client, the one to close. Both sides must choose the same, so this
    /// is libtorrent's rule: the new one replaces the old if the larger client id dialled it.
    fn duplicate_of(&self, peer: PeerIndex, theirs: &Handshake) -> Option<PeerIndex> {
        let torrent = &self.torrents[&theirs.info_hash];
        let same = |other: &&Peer| {
            other.index != peer
                && other
                    .live()
                    .is_some_and(|link| link.client_id == theirs.client_id)
        };
        let mut peers = torrent
            .peers
            .iter()
            .filter_map(|index| self.peers.get(index));
        let other = peers.find(same)?;
        let theirs_is_larger = theirs.client_id.0 > self.config.client_id.0;
        let replaces = self.peers[&peer].incoming == theirs_is_larger;
        Some(if replaces { other.index } else { peer })
    }

    fn establish(&mut self, peer: PeerIndex, theirs: &Handshake, now: Instant) {
        let entry = self.peers.get_mut(&peer).expect("the caller found it");
        let incoming = entry.incoming;
        entry.info_hash = Some(theirs.info_hash);
        let torrent = self
            .torrents
            .get_mut(&theirs.info_hash)
            .expect("the caller found it");
        torrent.peers.insert(peer);
        let early = match torrent.open_mut() {
            Some(open) => {
                open.picker.join(peer);
                None
            }
            None => Some(EarlyPieces::default()),
        };
        entry.link = Some(Box::new(Link {
            client_id: theirs.client_id,
            fast: theirs.fast,
            extended: theirs.extended,
            remote: crate::wire::extended::ExtendedHandshake::default(),
            early,
            metadata_sent: 0,
            is_seed: false,
            choking_us: true,
            interested_since: None,
            interesting: false,
            upload: Upload::new(),
            download: Download {
                pipeline: Pipeline::new(theirs.fast, now),
                received: Bytes::ZERO,
                unrequested: 0,
                rate: RateMeter::new(),
            },
            last_sent: now,
        }));
        if incoming {
            self.send_handshake(peer, theirs.info_hash);
        }
        self.greet(peer, now);
    }

    fn send_handshake(&mut self, peer: PeerIndex, info_hash: InfoHash) {
        let client_id = self.config.client_id;
        let handshake = Handshake {
            info_hash,
            client_id,
            extended: true,
            fast: true,
        };
        self.outputs
            .push_back(Output::Handshake { peer, handshake });
    }

    /// The order that every client expects: extended handshake first, then exactly one of bitfield,
    /// have-all and have-none (BEP 6, BEP 10).
    fn greet(&mut self, peer: PeerIndex, now: Instant) {
        self.send_extended_handshake(peer, now);
        let Some(link) = self.peers.get(&peer).and_then(Peer::live) else {
            return;
        };
        let info_hash = self.peers[&peer].info_hash.expect("a link has a torrent");
        let fast = link.fast;
        let have = self.torrents[&info_hash]
            .open()
            .map(|open| open.picker.have());
        let message = match have {
            Some(have) if fast && have.is_complete() => Some(Message::HaveAll),
            Some(have) if !have.is_empty() => Some(Message::Bitfield(have.to_wire())),
            Some(_) | None if fast => Some(Message::HaveNone),
            Some(_) | None => None,
        };
        if let Some(message) = message {
            self.send(peer, message, now);
        }
    }

    /// Closes a connection: everything about it is forgotten once the driver says `Closed`.
    pub(super) fn close(&mut self, peer: PeerIndex, reason: impl Into<String>) {
        if self.peers.get(&peer).is_none_or(|entry| entry.closing) {
            return;
        }
        self.market_closing(peer, self.now);
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if !std::mem::replace(&mut entry.closing, true) {
            self.uploads.remove_peer(peer);
            self.flush_serving(peer);
            self.outputs.push_back(Output::Close {
                peer,
                reason: reason.into(),
            });
        }
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, peer: PeerIndex, now: Instant) {
        let Some(entry) = self.peers.remove(&peer) else {
            return;
        };
        let Some(info_hash) = entry.info_hash else {
            return;
        };
        self.choker.disconnected(peer);
        self.market_closed(&entry, now);
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        torrent.peers.remove(&peer);
        if let Content::Unknown(fetch) = &mut torrent.content {
            fetch.gone(peer);
        }
        let released = torrent.open_mut().map(|open| open.picker.leave(peer));
        if let Some(link) = entry.link.as_ref().filter(|_| !entry.faulty)
            && !(link.download.received.is_zero() && link.upload.sent.is_zero())
        {
            torrent.addresses.useful(entry.addr);
        }
        if !entry.incoming {
            torrent.addresses.failed(entry.addr, now);
        }
        if let Some(released) = released {
            self.released(info_hash, released, now);
        }
    }

    /// Dials what is due, as far as limits allow.
    pub(super) fn dial_due(&mut self, now: Instant) {
        let dialling = self
            .torrents
            .values()
            .map(|torrent| torrent.addresses.dialling_count());
        let taken = self.peers.len() + dialling.sum::<usize>();
        let mut free = self.config.connections_max.saturating_sub(taken);
        for torrent in self
            .torrents
            .values_mut()
            .filter(|torrent| torrent.is_active())
        {
            let dialling = torrent.addresses.dialling_count();
            let room = DIALLED_PER_TORRENT_MAX.saturating_sub(torrent.peers.len() + dialling);
            let peers = torrent.peers.iter().filter_map(|peer| self.peers.get(peer));
            let here = peers.filter_map(Peer::listens_at).collect();
            for _ in 0..room.min(DIALLING_MAX.saturating_sub(dialling)).min(free) {
                let Some(addr) = torrent.addresses.take_due(&here, now) else {
                    break;
                };
                let info_hash = torrent.info_hash;
                self.outputs.push_back(Output::Dial { info_hash, addr });
                free -= 1;
            }
        }
    }
}
