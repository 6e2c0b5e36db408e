//! Who is connected: accepted and dialled connections, handshakes, places, redial.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use seedbank_ledger::{Duration, Instant};

use crate::discovery::failures::FailureReason;
use crate::discovery::host::Host;
use crate::interface::input::Transport;
use crate::interface::output::Output;
use crate::rate::RateMeter;
use crate::session::Session;
use crate::session::entrance::{Room, Usefulness, least_useful};
use crate::session::identity::Meeting;
use crate::session::peer::{Download, EarlyPieces, Link, Peer, Upload};
use crate::session::torrent::Content;
use crate::transfer::pipeline::Pipeline;
use crate::units::{PeerIndex, TorrentId};
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;
use seedbank_ledger::Bytes;

/// Connections of one torrent that we dial ourselves.
const DIALLED_PER_TORRENT_MAX: usize = 50;
/// Of these, so many are dialled however many peers of the torrent have come by themselves.
const DIALLED_PER_TORRENT_MIN: usize = DIALLED_PER_TORRENT_MAX / 4;
/// Dials of one torrent under way at once.
const DIALLING_MAX: usize = 10;
/// How often somebody who is idle goes so that another address can be tried.
const TURNOVER: Duration = Duration::from_secs(30);
/// Addresses kept of those who sent payload and left.
const DEPARTED_MAX: usize = 256;

impl Session {
    /// Somebody connected to us.
    pub(super) fn accepted(&mut self, peer: PeerIndex, way: (SocketAddr, Transport), now: Instant) {
        self.insert_peer(peer, way, None);
        let goes = self.entrance.knocked(peer, Host::of(way.0.ip()));
        if self.finishing.is_some() {
            self.close(peer, "shutting down");
        } else if self.bans.is_banned(way.0, now) {
            self.close(peer, "banned");
        } else if let Some(goes) = goes {
            self.close(goes, "too many connections without a handshake");
        }
    }

    /// A dial of ours succeeded.
    pub(super) fn dialled(
        &mut self,
        peer: PeerIndex,
        torrent_id: TorrentId,
        way: (SocketAddr, Transport),
    ) {
        self.insert_peer(peer, way, Some(torrent_id));
        let has_place = self.entrance.dialled(peer, Host::of(way.0.ip()));
        let Some(torrent) = self
            .torrents
            .get_mut(&torrent_id)
            .filter(|torrent| torrent.is_active())
        else {
            return self.close(peer, "torrent is not running");
        };
        torrent.addresses.connected(way.0);
        torrent.peers.insert(peer);
        if !has_place {
            return self.close(peer, "connection limit reached");
        }
        self.send_handshake(peer, torrent_id);
    }

    fn insert_peer(
        &mut self,
        peer: PeerIndex,
        (addr, transport): (SocketAddr, Transport),
        torrent_id: Option<TorrentId>,
    ) {
        let incoming = torrent_id.is_none();
        let entry = Peer {
            index: peer,
            addr,
            transport,
            incoming,
            torrent_id,
            link: None,
            closing: false,
            failure: None,
            faulty: false,
        };
        let before = self.peers.insert(peer, entry);
        assert!(before.is_none(), "the driver never reuses an index");
        if let Some(uplink) = &mut self.uplink {
            uplink.opened(peer);
        }
    }

    /// A dial of ours failed.
    pub(super) fn dial_failed(
        &mut self,
        torrent_id: TorrentId,
        addr: SocketAddr,
        reason: FailureReason,
        now: Instant,
    ) {
        if let Some(torrent) = self.torrents.get_mut(&torrent_id) {
            torrent.addresses.failed(addr, now);
        }
        self.not_reached(torrent_id, addr, reason);
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
        let named = self.by_info_hash.get(&theirs.info_hash).copied();
        if entry.torrent_id.is_some() && entry.torrent_id != named {
            let failure = FailureReason::WrongTorrent;
            return self.close_for(peer, failure, "answered for another torrent");
        }
        let torrent = named.and_then(|torrent_id| self.torrents.get_mut(&torrent_id));
        let Some(torrent) = torrent else {
            return self.close(peer, "unknown torrent");
        };
        let torrent_id = torrent.torrent_id;
        if !torrent.is_active() {
            return self.close(peer, "torrent is not running");
        }
        if theirs.client_id == torrent.own_name.client_id {
            match incoming {
                // Without an answer our dialling end would not learn whom it reached.
                true => self.send_handshake(peer, torrent_id),
                false => torrent.addresses.is_own(addr),
            }
            return self.close_for(peer, FailureReason::Own, "connected to ourselves");
        }
        let named = (theirs.client_id, theirs.extended);
        let (replaced, prove_until) = match self.meets(peer, torrent_id, named, now) {
            Meeting::Comes(replaced) => (replaced, None),
            Meeting::MustProve(until) => (Vec::new(), Some(until)),
            Meeting::Goes => {
                return self.close_for(peer, FailureReason::Duplicate, "connected twice");
            }
        };
        let takes_place = !replaced.is_empty();
        for older in replaced {
            self.close_for(older, FailureReason::Duplicate, "connected twice");
        }
        if incoming && !takes_place && !self.make_place(addr, now) {
            return self.close(peer, "connection limit reached");
        }
        self.entrance.met(peer);
        self.establish(peer, torrent_id, (&theirs, prove_until), now);
    }

    /// Whether there is a place for one more that came from `addr`, maybe because somebody goes.
    fn make_place(&mut self, addr: SocketAddr, now: Instant) -> bool {
        let crowd = self.entrance.crowd(Host::of(addr.ip()));
        match self.entrance.room() {
            Room::Free => true,
            Room::ForIncoming => self.send_away(crowd, now, |peer| peer.incoming),
            Room::ForAny => self.send_away(crowd, now, |_| true),
        }
    }

    /// Closes whoever of these is of least use; `false` if all of them stay.
    fn send_away(&mut self, crowd: usize, now: Instant, may_go: impl Fn(&Peer) -> bool) -> bool {
        let usefulness = |peer: &Peer| {
            let link = peer.live()?;
            let is_wanted = link.interesting;
            let wants = link.interested_since.is_some() && !link.is_seed;
            Some(Usefulness {
                peer: peer.index,
                crowd: self.entrance.crowd(Host::of(peer.addr.ip())),
                idle: now.since(link.moved_at),
                is_useless: !is_wanted && !wants,
                is_wanted,
            })
        };
        let kept = self.valued(now);
        let peers = self.peers.values().filter(|peer| may_go(peer));
        let peers = peers.filter(|peer| !kept.contains(&peer.index));
        let goes = least_useful(peers.filter_map(usefulness), crowd);
        if let Some(goes) = goes {
            self.close(goes, "made room for another");
        }
        goes.is_some()
    }

    /// Connections that keep their places: of each key that is worth one, the one on which payload
    /// moved last. One key costs a stranger no more than all its connections.
    fn valued(&self, now: Instant) -> BTreeSet<PeerIndex> {
        let mut of_key = BTreeMap::new();
        for peer in self.peers.values() {
            if let Some(link) = peer.live()
                && let Some(key) = self.market.valued_key(peer.index, now)
            {
                let this = (link.moved_at, Reverse(peer.index));
                let best = of_key.entry(key).or_insert(this);
                *best = this.max(*best);
            }
        }
        let kept = of_key.into_values();
        kept.map(|(_, Reverse(peer))| peer).collect()
    }

    fn establish(
        &mut self,
        peer: PeerIndex,
        torrent_id: TorrentId,
        (theirs, prove_until): (&Handshake, Option<Instant>),
        now: Instant,
    ) {
        let entry = self.peers.get_mut(&peer).expect("the caller found it");
        let incoming = entry.incoming;
        let is_suspect = self.suspects.is_banned(entry.addr, now);
        entry.torrent_id = Some(torrent_id);
        let torrent = self
            .torrents
            .get_mut(&torrent_id)
            .expect("the caller found it");
        torrent.peers.insert(peer);
        if !incoming {
            torrent.failures.reached(entry.addr);
        }
        let early = match torrent.open_mut() {
            Some(open) => {
                open.picker.join(peer);
                if is_suspect {
                    open.picker.suspect(peer);
                }
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
            early_hello: None,
            metadata_sent: 0,
            is_seed: false,
            choking_us: true,
            interested_since: None,
            interesting: false,
            upload: Upload::new(),
            download: Download {
                pipeline: Pipeline::new(theirs.fast, now),
                received: Bytes::ZERO,
                needed: Bytes::ZERO,
                unrequested: 0,
                rate: RateMeter::new(),
            },
            last_sent: now,
            met_at: now,
            heard_at: now,
            moved_at: now,
            prove_until,
        }));
        if incoming {
            self.send_handshake(peer, torrent_id);
        }
        self.greet(peer, now);
    }

    fn send_handshake(&mut self, peer: PeerIndex, torrent_id: TorrentId) {
        let torrent = &self.torrents[&torrent_id];
        let handshake = Handshake {
            info_hash: torrent.info_hash,
            client_id: torrent.own_name.client_id,
            extended: true,
            fast: true,
        };
        self.emit(Output::Handshake {
            peer,
            torrent_id,
            handshake,
        });
    }

    /// The order that every client expects: extended handshake first, then exactly one of bitfield,
    /// have-all and have-none (BEP 6, BEP 10).
    fn greet(&mut self, peer: PeerIndex, now: Instant) {
        self.send_extended_handshake(peer, now);
        let Some(link) = self.peers.get(&peer).and_then(Peer::live) else {
            return;
        };
        let torrent_id = self.peers[&peer].torrent_id.expect("a link has a torrent");
        let fast = link.fast;
        let have = self.torrents[&torrent_id]
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
        // What is signed now is the last that goes out.
        self.market.closing(peer, self.now);
        self.collect_credit();
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if !std::mem::replace(&mut entry.closing, true) {
            self.entrance.left(peer);
            self.uploads.remove_peer(peer);
            self.flush_serving(peer);
            self.emit(Output::Close {
                peer,
                reason: reason.into(),
            });
        }
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, peer: PeerIndex, failure: Option<FailureReason>, now: Instant) {
        self.note_leaving(peer, now);
        self.entrance.left(peer);
        let Some(mut entry) = self.peers.remove(&peer) else {
            return;
        };
        let sent = entry.live().map(|link| link.upload.sent.get());
        let sent = sent.filter(|_| self.is_served_as_paid(peer));
        self.ended_early(&entry, failure);
        self.choker.disconnected(peer);
        self.measured_peer_gone(peer, sent, now);
        let Some(torrent_id) = entry.torrent_id else {
            return;
        };
        let link = entry.link.as_deref_mut();
        let under_way = link.map(Link::take_under_way).unwrap_or_default();
        self.market.closed(peer, under_way, now);
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        torrent.peers.remove(&peer);
        if let Content::Unknown(fetch) = &mut torrent.content {
            fetch.gone(peer);
        }
        let released = torrent.open_mut().map(|open| {
            if let Some(suggester) = &mut open.suggester {
                suggester.gone(peer);
            }
            open.picker.leave(peer)
        });
        if let Some(link) = entry.link.as_ref().filter(|_| !entry.faulty)
            && !(link.download.received.is_zero() && link.upload.sent.is_zero())
        {
            torrent.addresses.useful(entry.addr);
        }
        let received = |link: &Link| !link.download.received.is_zero();
        if entry.link.as_deref().is_some_and(received) {
            self.departed.push_front((peer, entry.addr));
            self.departed.truncate(DEPARTED_MAX);
        }
        if !entry.incoming {
            torrent.addresses.failed(entry.addr, now);
        }
        if let Some(released) = released {
            self.released(torrent_id, released, now);
        }
    }

    /// Dials what is due, as far as limits allow.
    pub(super) fn dial_due(&mut self, now: Instant) {
        let dialling = self
            .torrents
            .values()
            .map(|torrent| torrent.addresses.dialling_count());
        let free = self.entrance.free_count();
        let mut free = free.saturating_sub(dialling.sum::<usize>());
        let mut dials = Vec::new();
        // Whose addresses wait for a place.
        let mut crowded = Vec::new();
        for torrent in self
            .torrents
            .values_mut()
            .filter(|torrent| torrent.is_active())
        {
            if !torrent.addresses.is_due(now) {
                continue;
            }
            let dialling = torrent.addresses.dialling_count();
            let peers = torrent.peers.iter().filter_map(|peer| self.peers.get(peer));
            let dialled = peers.clone().filter(|peer| !peer.incoming).count();
            let room = DIALLED_PER_TORRENT_MAX.saturating_sub(torrent.peers.len() + dialling);
            let reserved = DIALLED_PER_TORRENT_MIN.saturating_sub(dialled + dialling);
            let room = room.max(reserved);
            let here = peers.filter_map(Peer::listens_at).collect();
            let (entrance, bans) = (&self.entrance, &self.bans);
            let may_dial = |addr: SocketAddr| {
                entrance.may_join(Host::of(addr.ip())) && !bans.is_banned(addr, now)
            };
            if room.min(free) == 0 && !torrent.is_seed() {
                crowded.push(torrent.torrent_id);
            }
            for _ in 0..room.min(DIALLING_MAX.saturating_sub(dialling)).min(free) {
                let Some(addr) = torrent.addresses.take_due(&here, may_dial, now) else {
                    break;
                };
                let torrent_id = torrent.torrent_id;
                dials.push(Output::Dial { torrent_id, addr });
                free -= 1;
            }
        }
        dials.into_iter().for_each(|dial| self.emit(dial));
        if let Some(torrent_id) = crowded.first()
            && now >= self.turnover_at
        {
            self.turn_over(*torrent_id, now);
        }
    }

    /// Addresses of this torrent wait for a place: who is idle goes for one, if anybody.
    fn turn_over(&mut self, torrent_id: TorrentId, now: Instant) {
        self.turnover_at = now.after(TURNOVER);
        let is_full = self.entrance.free_count() == 0;
        self.send_away(usize::MAX, now, |peer| {
            is_full || peer.torrent_id == Some(torrent_id)
        });
    }
}
