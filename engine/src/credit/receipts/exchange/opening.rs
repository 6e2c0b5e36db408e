//! How a connection comes to be trusted: HELLO, AUTH, SYNC, in this order and no other; and where
//! each message goes once it is.

use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::{Body as _, Signed};
use seedbank_ledger::{Bytes, Instant, NetworkId, NodeId, Rate, Signature};

use crate::credit::output::Notice;
use crate::credit::receipts::acknowledgement::NO_NETWORK;
use crate::credit::receipts::connection::{Connection, Opening, OpeningPhase};
use crate::credit::receipts::exchange::Exchange;
use crate::credit::receipts::limits::RATE_MAX;
use crate::credit::receipts::service::Service;
use crate::credit::receipts::violation::Violation;
use crate::units::{PeerIndex, TorrentId};
use crate::wire::extended::{RECEIPT_VERSION, ReceiptOffer};
use crate::wire::receipt::{ErrorCode, Hello, Quote, ReceiptMessage, SYNC_ENTRIES_MAX};

/// A connection on which both ends have offered the receipt protocol.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Connection.
    pub peer: PeerIndex,
    /// Its torrent.
    pub torrent_id: TorrentId,
    /// Piece length of the torrent.
    pub piece_len: u32,
    /// What the other end offered.
    pub offer: ReceiptOffer,
    /// Both ends have the Fast Extension.
    pub fast: bool,
}

impl Exchange {
    /// Both ends have offered the receipt protocol: says HELLO. For another version nothing
    /// happens: that connection stays plain.
    pub fn open(&mut self, opened: Opened) {
        if opened.offer.version != RECEIPT_VERSION
            || self.openings.contains_key(&opened.peer)
            || self.connections.contains_key(&opened.peer)
        {
            return;
        }
        let nonce = self.draw_nonce();
        let opening = Opening {
            torrent_id: opened.torrent_id,
            piece_len: opened.piece_len,
            fast: opened.fast,
            nonce,
            hello: None,
        };
        self.openings.insert(opened.peer, Some(opening));
        let network = self.setup.network;
        let terms = self.setup.terms;
        let piece_len = Bytes::new(opened.piece_len.into());
        let hello = Hello {
            version: RECEIPT_VERSION,
            nonce,
            node_id: self.id(),
            network_id: network.map_or(NO_NETWORK, |network| network.id),
            settlement_keys: network.iter().map(|network| network.settlement).collect(),
            rate_min: (terms.earn && network.is_some()).then_some(terms.rate_min),
            window: self.setup.window.of(piece_len, Bytes::ZERO),
        };
        self.send(opened.peer, ReceiptMessage::Hello(hello));
    }

    /// Whether messages of this connection mean anything: not where HELLO was never said, nor where
    /// no key will be proven any more.
    pub fn is_listening(&self, peer: PeerIndex) -> bool {
        match self.openings.get(&peer) {
            Some(opening) => opening.is_some(),
            None => {
                let connection = self.connections.get(&peer);
                connection.is_some_and(|one| one.is_synced_by_us())
            }
        }
    }

    /// Takes a message. After an error the connection is plain BitTorrent; messages on a plain one
    /// are ignored.
    pub fn handle(
        &mut self,
        peer: PeerIndex,
        message: ReceiptMessage,
        now: Instant,
    ) -> Result<(), Violation> {
        if let Some(opening) = self.openings.get_mut(&peer) {
            return match opening.take() {
                Some(opening) => self.opening_goes_on(peer, opening, message, now),
                None => Ok(()),
            };
        }
        let Some(connection) = self.connections.get_mut(&peer) else {
            return Ok(());
        };
        let key = connection.key;
        let result = match (connection.phase, is_legal(connection.phase, &message)) {
            (OpeningPhase::Plain, _) => return Ok(()),
            (_, false) => Err(Violation::OutOfOrder),
            (_, true) => match connection.charge(&message, now) {
                Ok(()) => self.dispatch(peer, message, now),
                Err(exceeded) => Err(exceeded),
            },
        };
        if result.is_err() {
            self.demote(peer);
        }
        self.touch(key, now);
        result
    }

    fn dispatch(
        &mut self,
        peer: PeerIndex,
        message: ReceiptMessage,
        now: Instant,
    ) -> Result<(), Violation> {
        match message {
            ReceiptMessage::Hello(_) | ReceiptMessage::Auth(_) => {
                return Err(Violation::OutOfOrder);
            }
            ReceiptMessage::Sync(entries) => {
                if entries.len() > SYNC_ENTRIES_MAX {
                    return Err(Violation::TooManyEntries);
                }
                return self.digest_sync(peer, &entries, now);
            }
            ReceiptMessage::Bid(rate) => {
                if rate > RATE_MAX {
                    return Err(Violation::RateTooHigh);
                }
                let connection = self.connection_mut(peer);
                connection.peer_bid = rate;
                let key = connection.key;
                self.measure(key);
                self.requote(key, now);
            }
            ReceiptMessage::Quote(quote) => self.quote_came(peer, &quote),
            ReceiptMessage::Lock(lock) => return self.lock_shown(peer, &lock, now),
            ReceiptMessage::Receipt(receipt) => return self.receipt_shown(peer, receipt, now),
            ReceiptMessage::Close { lock_id, newest } => {
                if let Some(receipt) = newest {
                    self.receipt_shown(peer, receipt, now)?;
                }
                // Whatever it signed, it has shown.
                let key = self.connection_mut(peer).key;
                self.pair_mut(key).payee.synced(now);
                return self.close_asked(peer, lock_id, now);
            }
            // A label for the next rise, by its sender's word: nothing depends on it.
            ReceiptMessage::Tip { .. } => {}
            ReceiptMessage::Error { code, channel_id } => match channel_id {
                Some(channel_id) => self.error_came(peer, code, channel_id, now),
                None if code == ErrorCode::NotSynced => self.answer_sync(peer, now),
                None => {}
            },
        }
        Ok(())
    }

    fn error_came(
        &mut self,
        peer: PeerIndex,
        code: ErrorCode,
        channel_id: ChannelId,
        now: Instant,
    ) {
        match code {
            ErrorCode::Stale => self.answer_sync(peer, now),
            ErrorCode::ChannelUnknown => self.show_lock(peer, channel_id, now),
            ErrorCode::LockClosed => self.lock_refused(peer, channel_id, None),
            ErrorCode::LockRefused(fault) => self.lock_refused(peer, channel_id, Some(fault)),
            ErrorCode::Version
            | ErrorCode::Auth
            | ErrorCode::NotSynced
            | ErrorCode::Malformed
            | ErrorCode::Signature
            | ErrorCode::TooOften
            | ErrorCode::Network
            | ErrorCode::Other(_) => {}
        }
    }

    /// A message on a connection without a proven key, which is plain from now on unless it is put
    /// back.
    fn opening_goes_on(
        &mut self,
        peer: PeerIndex,
        opening: Opening,
        message: ReceiptMessage,
        now: Instant,
    ) -> Result<(), Violation> {
        match (message, opening.hello.is_some()) {
            (ReceiptMessage::Hello(hello), false) => {
                self.hello(peer, opening, hello);
                Ok(())
            }
            (ReceiptMessage::Auth(signature), true) => self.auth(peer, opening, signature, now),
            _ => Err(Violation::OutOfOrder),
        }
    }

    /// HELLO: proves our key, unless the peer speaks another version or has our own.
    fn hello(&mut self, peer: PeerIndex, mut opening: Opening, hello: Hello) {
        if hello.version != RECEIPT_VERSION || hello.node_id == self.id() {
            return;
        }
        let body = Auth {
            network_id: self.network_with(&hello),
            own_nonce: opening.nonce,
            peer_nonce: hello.nonce,
            own_key: self.id(),
            peer_key: hello.node_id,
        };
        let signature = body.sign(&self.setup.identity).signature;
        self.send(peer, ReceiptMessage::Auth(signature));
        opening.hello = Some(hello);
        self.openings.insert(peer, Some(opening));
    }

    /// AUTH: from here there is a pair, unless so many have locks or connections that no further
    /// one can be remembered.
    fn auth(
        &mut self,
        peer: PeerIndex,
        opening: Opening,
        signature: Signature,
        now: Instant,
    ) -> Result<(), Violation> {
        let hello = opening.hello.as_ref().ok_or(Violation::OutOfOrder)?;
        let key = hello.node_id;
        let body = Auth {
            network_id: self.network_with(hello),
            own_nonce: hello.nonce,
            peer_nonce: opening.nonce,
            own_key: key,
            peer_key: self.id(),
        };
        let signed = Signed { body, signature };
        signed
            .verify_by(self.scheme(), &key)
            .map_err(|_| Violation::BadAuth)?;
        if !self.pairs.contains_key(&key) && !self.makes_room() {
            return Ok(());
        }
        self.openings.remove(&peer);
        let network = self.setup.network.map(|network| network.id);
        let connection = Box::new(Connection::new(&opening, hello, network));
        self.connections.insert(peer, connection);
        let pair = self.pair_entry(key, now);
        pair.connections.insert(peer);
        pair.seen_at = now;
        self.measure_pieces(key);
        self.put(Notice::Proven { peer, key });
        self.send_sync(peer, now);
        self.touch(key, now);
        Ok(())
    }

    fn quote_came(&mut self, peer: PeerIndex, quote: &Quote) {
        let service = Service::of(quote);
        let connection = self.connection_mut(peer);
        let changed = connection.quote != service;
        connection.quote = service;
        connection.has_quoted = true;
        let key = connection.key;
        let is_relieved = self.pair_mut(key).payer.quoted(quote);
        if changed || is_relieved {
            self.put(Notice::Quoted { peer, service });
        }
    }

    /// The peer broke a rule: from now on this connection is plain BitTorrent.
    pub(super) fn demote(&mut self, peer: PeerIndex) {
        // Whatever it did, blocks that follow are free, and its stream says so.
        self.set_quote(peer, Service::Open);
        let connection = self.connection_mut(peer);
        connection.phase = OpeningPhase::Plain;
        connection.own_bid = Rate::ZERO;
        connection.wanted_bid = Rate::ZERO;
        connection.quote = Service::Open;
        self.hand_on_all(peer);
    }

    pub(super) fn connection_mut(&mut self, peer: PeerIndex) -> &mut Connection {
        self.connections
            .get_mut(&peer)
            .expect("callers have looked this connection up")
    }

    /// Largest piece of the torrents shared with this key; the last known one while there are none.
    pub(super) fn measure_pieces(&mut self, key: NodeId) {
        let live = self.live(key, |_| true);
        let lens = live
            .iter()
            .filter_map(|peer| Some(self.connections.get(peer)?.piece_len));
        if let Some(len) = lens.max() {
            self.pair_mut(key).piece_len = Bytes::new(u64::from(len));
        }
        self.measure(key);
    }

    /// The network that both announced, or none.
    fn network_with(&self, hello: &Hello) -> NetworkId {
        let network = self.setup.network.map(|network| network.id);
        network
            .filter(|own| *own == hello.network_id)
            .unwrap_or(NO_NETWORK)
    }

    /// 16 bytes that nobody can guess and that never come again: part of a signature that is never
    /// sent, over a tag of its own, the salt of this start and a counter.
    fn draw_nonce(&mut self) -> [u8; 16] {
        self.nonce_count = self.nonce_count.saturating_add(1);
        let mut message = b"sb1/nonce\0\0\0\0\0\0\0".to_vec();
        message.extend_from_slice(&self.setup.nonce_salt.to_le_bytes());
        message.extend_from_slice(&self.nonce_count.to_le_bytes());
        let signature = self.setup.identity.sign(&message);
        *signature
            .as_bytes()
            .first_chunk()
            .expect("a signature is longer than 16 bytes")
    }
}

/// Which message is legal in which phase. After our SYNC went out its RECEIPTs may already be under
/// way only behind its own SYNC, so nothing else comes first.
fn is_legal(phase: OpeningPhase, message: &ReceiptMessage) -> bool {
    match message {
        ReceiptMessage::Hello(_) | ReceiptMessage::Auth(_) => false,
        ReceiptMessage::Sync(_) => matches!(phase, OpeningPhase::Syncing | OpeningPhase::Ready),
        ReceiptMessage::Bid(_)
        | ReceiptMessage::Quote(_)
        | ReceiptMessage::Lock(_)
        | ReceiptMessage::Receipt(_)
        | ReceiptMessage::Close { .. }
        | ReceiptMessage::Tip { .. }
        | ReceiptMessage::Error { .. } => phase == OpeningPhase::Ready,
    }
}
