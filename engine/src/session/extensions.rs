//! BEP 10: extended handshakes, and metadata asked and served (BEP 9).

use seedbank_ledger::Instant;

use crate::content::metainfo::Metainfo;
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::metadata::MetadataArrival;
use crate::session::peer::{Peer, QUEUE_ADVERTISED};
use crate::session::torrent::{Content, Torrent};
use crate::units::PeerIndex;
use crate::wire::extended::{
    ExtendedHandshake, HANDSHAKE_ID, RECEIPT, RECEIPT_ID, UT_METADATA, UT_METADATA_ID,
};
use crate::wire::message::Message;
use crate::wire::metadata::{METADATA_PIECE_LEN, MetadataMessage, metadata_piece_count};

/// What we call ourselves in extended handshakes.
const CLIENT_NAME: &str = concat!("Seedbank ", env!("CARGO_PKG_VERSION"));

/// An extension that we speak (BEP 10). A further one is a further row of [`EXTENSIONS`].
struct Extension {
    /// As both sides name it.
    name: &'static str,
    /// The id under which it is to be sent to us.
    id: u8,
    /// Whether we offer it to peers of this torrent.
    is_offered: fn(&Session, &Torrent) -> bool,
    /// What a message of it means.
    arrived: fn(&mut Session, PeerIndex, &[u8], Instant),
}

const EXTENSIONS: [Extension; 2] = [
    Extension {
        name: UT_METADATA,
        id: UT_METADATA_ID,
        is_offered: |_, _| true,
        arrived: Session::metadata_arrived,
    },
    Extension {
        name: RECEIPT,
        id: RECEIPT_ID,
        is_offered: |session, torrent| session.receipt_offer(torrent).is_some(),
        arrived: Session::receipt_arrived,
    },
];

/// How often one peer may fetch the whole metadata: a request is short and its answer is not.
const METADATA_COPIES: u32 = 2;
/// Metadata pieces that it may fetch beyond that.
const METADATA_EXTRA: u32 = 8;

impl Session {
    pub(super) fn send_extended_handshake(&mut self, peer: PeerIndex, now: Instant) {
        let Some(entry) = self.peers.get(&peer) else {
            return;
        };
        let Some(torrent_id) = entry.torrent_id else {
            return;
        };
        if !entry.live().is_some_and(|link| link.extended) {
            return;
        }
        let torrent = &self.torrents[&torrent_id];
        let shown = torrent.metainfo().and_then(|metainfo| shown_info(metainfo));
        let info_len = shown.map(<[u8]>::len);
        let offered = EXTENSIONS
            .iter()
            .filter(|one| (one.is_offered)(self, torrent));
        let handshake = ExtendedHandshake {
            extensions: offered.map(|one| (one.name.to_owned(), one.id)).collect(),
            client: Some(CLIENT_NAME.to_owned()),
            port: Some(self.config.listen_port).filter(|port| *port != 0),
            request_queue: Some(QUEUE_ADVERTISED),
            your_ip: Some(entry.addr.ip()),
            metadata_size: info_len.and_then(|len| u32::try_from(len).ok()),
            // A magnet wants the metainfo: it must not look like a seed (BEP 21).
            upload_only: torrent.is_seed().then_some(true),
            receipt: self.receipt_offer(torrent),
        };
        let message = Message::Extended {
            id: HANDSHAKE_ID,
            payload: handshake.encode(),
        };
        self.send(peer, message, now);
    }

    pub(super) fn extended_arrived(
        &mut self,
        peer: PeerIndex,
        id: u8,
        payload: &[u8],
        now: Instant,
    ) {
        // Neither side may use what the other did not offer (BEP 10).
        if !self
            .peers
            .get(&peer)
            .and_then(Peer::live)
            .is_some_and(|link| link.extended)
        {
            return;
        }
        if id == HANDSHAKE_ID {
            return match ExtendedHandshake::decode(payload) {
                Ok(handshake) => self.extended_handshaken(peer, handshake, now),
                Err(error) => self.misbehaved(peer, format!("extended handshake: {error}")),
            };
        }
        // An id that we did not give out means nothing to us: some clients send such.
        let torrent_id = self.peers.get(&peer).and_then(|entry| entry.torrent_id);
        let Some(torrent) = torrent_id.and_then(|id| self.torrents.get(&id)) else {
            return;
        };
        let extension = EXTENSIONS.iter().find(|one| one.id == id);
        if let Some(extension) = extension.filter(|one| (one.is_offered)(self, torrent)) {
            (extension.arrived)(self, peer, payload, now);
        }
    }

    fn extended_handshaken(&mut self, peer: PeerIndex, said: ExtendedHandshake, now: Instant) {
        let ip = self.peers.get(&peer).map(|entry| entry.addr.ip());
        let (Some((link, torrent)), Some(ip)) = (self.link_and_torrent(peer), ip) else {
            return;
        };
        link.remote.merge(said);
        if let Some(reqq) = link.remote.request_queue {
            link.download.pipeline.set_reqq(reqq.into());
        }
        let metadata_size = link.remote.metadata_size;
        if let (Content::Unknown(fetch), Some(size)) = (&mut torrent.content, metadata_size) {
            fetch.offered(peer, ip, size);
        }
        self.ask_metadata(peer, now);
        self.update_interest(peer, now);
        self.open_receipts(peer, now);
        self.choke_soon(now);
    }

    /// Asks a peer for pieces of a magnet's metadata, if it offers them.
    pub(super) fn ask_metadata(&mut self, peer: PeerIndex, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let (Content::Unknown(fetch), Some(id)) =
            (&mut torrent.content, link.remote.id_of(UT_METADATA))
        else {
            return;
        };
        for piece in fetch.requests(peer, now) {
            let payload = MetadataMessage::Request { piece }.encode();
            self.send(peer, Message::Extended { id, payload }, now);
        }
    }

    fn metadata_arrived(&mut self, peer: PeerIndex, payload: &[u8], now: Instant) {
        match MetadataMessage::decode(payload) {
            Ok(Some(message)) => self.metadata_message(peer, message, now),
            Ok(None) => {}
            Err(error) => self.misbehaved(peer, format!("ut_metadata: {error}")),
        }
    }

    fn metadata_message(&mut self, peer: PeerIndex, message: MetadataMessage, now: Instant) {
        match message {
            MetadataMessage::Request { piece } => self.serve_metadata(peer, piece, now),
            MetadataMessage::Reject { .. } => {
                if let Some((_, torrent)) = self.link_and_torrent(peer)
                    && let Content::Unknown(fetch) = &mut torrent.content
                {
                    fetch.rejected(peer, now);
                }
            }
            MetadataMessage::Data { piece, data, .. } => {
                let Some((_, torrent)) = self.link_and_torrent(peer) else {
                    return;
                };
                let torrent_id = torrent.torrent_id;
                let Content::Unknown(fetch) = &mut torrent.content else {
                    return;
                };
                match fetch.arrived(peer, piece, data) {
                    MetadataArrival::Whole(info) => self.metadata_complete(torrent_id, &info, now),
                    MetadataArrival::More => self.ask_metadata(peer, now),
                    MetadataArrival::False => {
                        self.misbehaved(peer, "metadata does not match its hash".to_owned());
                    }
                }
            }
        }
    }

    fn serve_metadata(&mut self, peer: PeerIndex, piece: u32, now: Instant) {
        let Some((link, torrent)) = self.link_and_torrent(peer) else {
            return;
        };
        let Some(id) = link.remote.id_of(UT_METADATA) else {
            return;
        };
        let info = torrent.metainfo().and_then(|metainfo| shown_info(metainfo));
        let message = info.and_then(|info| {
            let count = metadata_piece_count(u32::try_from(info.len()).ok()?);
            let may = link.metadata_sent < count.saturating_mul(METADATA_COPIES) + METADATA_EXTRA;
            let message = metadata_piece(info, piece).filter(|_| may)?;
            link.metadata_sent += 1;
            Some(message)
        });
        let message = message.unwrap_or(MetadataMessage::Reject { piece });
        self.send(
            peer,
            Message::Extended {
                id,
                payload: message.encode(),
            },
            now,
        );
    }

    /// Records that a peer broke a rule, and closes it.
    pub(super) fn misbehaved(&mut self, peer: PeerIndex, what: String) {
        let event = SessionEvent::PeerMisbehaved {
            peer,
            what: what.clone(),
        };
        self.emit(Output::Event(event));
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.faulty = true;
        }
        self.close(peer, what);
    }

    /// Sends a message, and remembers when, for keep-alives.
    pub(super) fn send(&mut self, peer: PeerIndex, message: Message, now: Instant) {
        if let Some(link) = self.peers.get_mut(&peer).and_then(Peer::live_mut) {
            link.last_sent = now;
            self.flush_serving(peer);
            self.emit(Output::Send { peer, message });
        }
    }
}

/// The `info` dictionary as peers may have it: not that of a private torrent, whose trackers decide
/// who gets it (BEP 27).
fn shown_info(metainfo: &Metainfo) -> Option<&[u8]> {
    Some(metainfo.info_bytes.as_slice()).filter(|_| !metainfo.private)
}

/// One 16 KiB piece of the `info` dictionary; `None` past its end.
fn metadata_piece(info: &[u8], piece: u32) -> Option<MetadataMessage> {
    let total_size = u32::try_from(info.len()).ok()?;
    let begin = usize::try_from(piece.checked_mul(METADATA_PIECE_LEN)?).ok()?;
    let len = usize::try_from(METADATA_PIECE_LEN).ok()?;
    let rest = info.get(begin..).filter(|rest| !rest.is_empty())?;
    let data = rest[..rest.len().min(len)].to_vec();
    Some(MetadataMessage::Data {
        piece,
        total_size,
        data,
    })
}
