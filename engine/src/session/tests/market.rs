//! A session that sells or buys, with receipts and a network on, and remotes that are played by
//! hand.

use std::sync::Arc;

use seedbank_ledger::entry::EntryHash;
use seedbank_ledger::genesis::Limits;
use seedbank_ledger::settlement::envelope::{Envelope, Sealer};
use seedbank_ledger::settlement::{
    AccountAnswer, AnswerBody, SettlementAnswer, SettlementRequest, Statement,
};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::head::LedgerHead;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::read::ReadKind;
use seedbank_ledger::statement::{AccountStatus, LockStatus};
use seedbank_ledger::{Bytes, Identity, Instant, MicroCredits, NetworkId, Rate, UnixTime};

use super::rig::{LEASE_BYTES_MAX, config, metainfo};
use super::{Remote, Rig};
use crate::content::metainfo::Metainfo;
use crate::credit::event::CreditEvent;
use crate::credit::settlement::Unreachable;
use crate::credit::wallet::tests::settlement::Settlement;
use crate::interface::command::Command;
use crate::interface::config::{CreditPolicy, Network, Policy, SessionConfig};
use crate::interface::event::SessionEvent;
use crate::interface::input::Input;
use crate::interface::output::Output;
use crate::transfer::choker::Class;
use crate::units::{PeerIndex, TorrentId};
use crate::wire::extended::{ExtendedHandshake, RECEIPT, RECEIPT_ID, ReceiptOffer};
use crate::wire::message::Message;
use crate::wire::receipt::{Hello, Quote, ReceiptMessage};

const UNIX: u64 = 1_700_000_000;
const NET: [u8; 32] = [9; 32];

/// What a remote that speaks receipts says of itself.
pub(super) fn offer() -> ExtendedHandshake {
    ExtendedHandshake {
        extensions: [(RECEIPT.to_owned(), 9)].into(),
        request_queue: Some(500),
        receipt: Some(ReceiptOffer { version: 1 }),
        ..ExtendedHandshake::default()
    }
}

/// Serves as paid from this bid on.
pub(super) fn at_least(rate_min: u64) -> CreditPolicy {
    CreditPolicy {
        rate_min: Some(Rate::new(rate_min)),
        ..CreditPolicy::default()
    }
}

/// A payer of this number; those below 256 have it for every byte of their secrets.
pub(super) fn identity_of(number: u32) -> Identity {
    let bytes = number.to_le_bytes();
    let mut secret = [bytes[0]; 32];
    secret[..3]
        .iter_mut()
        .zip(&bytes[1..])
        .for_each(|(byte, high)| *byte ^= high);
    Identity::from_secret(secret)
}

/// A seed that sells, and a settlement node that knows the locks of its payers.
pub(super) struct Market {
    pub(super) rig: Rig,
    pub(super) torrent: TorrentId,
    network: Network,
    started_at: Instant,
    /// A settlement node with a ledger, in place of one that knows nothing but `locks`.
    pub(super) ledger: Option<Settlement>,
    /// Settlement time minus the wall clock, in seconds.
    pub(super) clock_off_secs: i64,
    /// Questions to the settlement node are lost.
    pub(super) is_mute: bool,
    /// Credit that the settlement node says we have; `None`: it is out of reach.
    pub(super) available: Option<MicroCredits>,
    pub(super) locks: Vec<LockStatus>,
    /// Every QUOTE, as sent.
    pub(super) quotes: Vec<(PeerIndex, Quote)>,
    /// What was told of credit, and when.
    pub(super) told: Vec<(Instant, CreditEvent)>,
}

impl Market {
    pub(super) fn new(policy: Policy) -> Self {
        Self::with(policy, &metainfo("t", 256, 16))
    }

    pub(super) fn with(policy: Policy, metainfo: &Metainfo) -> Self {
        let network = Network {
            id: NetworkId::from_bytes(NET),
            settlement: issuer().id(),
            limits: Limits::default(),
            par_price: Rate::PAR,
        };
        Self::of(policy, metainfo, network, None)
    }

    /// In the network of a settlement node that carries out orders.
    pub(super) fn at(ledger: Settlement, policy: Policy) -> Self {
        let network = ledger.network();
        Self::of(policy, &metainfo("t", 256, 16), network, Some(ledger))
    }

    fn of(
        policy: Policy,
        metainfo: &Metainfo,
        network: Network,
        ledger: Option<Settlement>,
    ) -> Self {
        let mut rig = Rig::with(SessionConfig {
            receipts: true,
            network: Some(network),
            connections_max: 1_000,
            // Room for pieces that are too long to be paid for.
            lease_bytes_max: if ledger.is_some() {
                256 << 20
            } else {
                LEASE_BYTES_MAX
            },
            ..config()
        });
        let started_at = rig.now;
        rig.command(Command::SetPolicy(policy));
        rig.input(Input::Clock(UnixTime::from_secs(UNIX)));
        let torrent = rig.seed(metainfo);
        let mut market = Self {
            rig,
            torrent,
            network,
            started_at,
            ledger,
            clock_off_secs: 0,
            is_mute: false,
            available: Some(MicroCredits::ZERO),
            locks: Vec::new(),
            quotes: Vec::new(),
            told: Vec::new(),
        };
        market.settle();
        market
    }

    /// Answers what the session asks of the settlement node, until it asks no more.
    pub(super) fn settle(&mut self) {
        loop {
            let mut asked = Vec::new();
            for output in self.rig.take() {
                match output {
                    Output::Settle { request, what } => asked.push((request, what)),
                    Output::Send { peer, message } => self.note_quote(peer, &message),
                    Output::Event(SessionEvent::Credit(event)) => {
                        self.told.push((self.rig.now, event));
                    }
                    _ => {}
                }
            }
            if asked.is_empty() || self.is_mute {
                return;
            }
            for (request, what) in asked {
                let answer = match self.available {
                    Some(available) => Ok(self.answer(&what, available)),
                    None => Err(Unreachable("down".to_owned())),
                };
                self.rig.input(Input::Settled { request, answer });
            }
        }
    }

    fn answer(&mut self, what: &SettlementRequest, available: MicroCredits) -> Envelope {
        let up = self.rig.now.since(self.started_at);
        let time = unix(up.as_secs(), self.clock_off_secs);
        if let Some(ledger) = &mut self.ledger {
            ledger.time = time;
            return ledger.handle(what);
        }
        let body = match what {
            SettlementRequest::Read(read) => match read.body.kind {
                ReadKind::Lock(id) => {
                    let mut locks = self.locks.iter();
                    AnswerBody::Lock(locks.find(|lock| lock.lock.body.lock_id == id).copied())
                }
                _ => AnswerBody::Statement(self.no_lines(available)),
            },
            other => unreachable!("it orders nothing: {other:?}"),
        };
        let answer = SettlementAnswer { time, body };
        Sealer::new(Arc::new(issuer()), self.network.id).seal(what.hash(), 0, &answer)
    }

    /// The statement of an account without lines in a ledger without entries.
    fn no_lines(&self, available: MicroCredits) -> Statement {
        let head = LedgerHead {
            network_id: self.network.id,
            size: 0,
            entry_hash: EntryHash::NONE,
            time: UnixTime::ZERO,
        };
        Statement {
            account: AccountAnswer {
                status: AccountStatus {
                    account: self.rig.session.node_id(),
                    available,
                    reserved: MicroCredits::ZERO,
                    nonce: 0,
                },
                head: head.sign(&issuer()),
            },
            more: false,
            lines: Vec::new(),
        }
    }

    fn note_quote(&mut self, peer: PeerIndex, message: &Message) {
        if let Message::Extended { id: 9, payload } = message
            && let Ok(ReceiptMessage::Quote(quote)) = ReceiptMessage::decode(payload)
        {
            self.quotes.push((peer, quote));
        }
    }

    /// The newest QUOTE to a peer.
    pub(super) fn quoted(&self, peer: PeerIndex) -> Option<Quote> {
        let mut quotes = self.quotes.iter().rev();
        quotes.find(|(to, _)| *to == peer).map(|(_, quote)| *quote)
    }

    pub(super) fn say(&mut self, peer: PeerIndex, message: &ReceiptMessage) {
        self.rig.says(peer, [extended(message)]);
    }

    /// A connection of a client of this name that proves this key.
    pub(super) fn proven(&mut self, number: u32, name: u8) -> PeerIndex {
        let peer = self.rig.join(self.torrent, Remote::modern(name));
        self.prove(peer, number, None);
        peer
    }

    /// A remote proves the key of its number, and asks `rate_min` as payee.
    pub(super) fn prove(&mut self, peer: PeerIndex, number: u32, rate_min: Option<Rate>) {
        let identity = identity_of(number);
        self.rig.says_extended(peer, &offer());
        let outputs = self.rig.take();
        let theirs = outputs
            .iter()
            .find_map(|output| match output {
                Output::Send {
                    peer: to,
                    message: Message::Extended { id: 9, payload },
                } if *to == peer => match ReceiptMessage::decode(payload) {
                    Ok(ReceiptMessage::Hello(hello)) => Some(hello.nonce),
                    _ => None,
                },
                _ => None,
            })
            .expect("HELLO");
        let [name, ..] = number.to_le_bytes();
        let nonce = [name; 16];
        self.say(
            peer,
            &ReceiptMessage::Hello(Hello {
                version: 1,
                nonce,
                node_id: identity.id(),
                network_id: self.network.id,
                settlement_keys: Vec::new(),
                rate_min,
                window: Bytes::ZERO,
            }),
        );
        let auth = Auth {
            network_id: self.network.id,
            own_nonce: nonce,
            peer_nonce: theirs,
            own_key: identity.id(),
            peer_key: self.rig.session.node_id(),
        };
        self.say(peer, &ReceiptMessage::Auth(auth.sign(&identity).signature));
        self.say(peer, &ReceiptMessage::Sync(Vec::new()));
    }

    /// A seed of a torrent that asks so much and chokes us.
    pub(super) fn payee(&mut self, torrent: TorrentId, number: u8, ask: u64) -> PeerIndex {
        self.payee_having(torrent, Message::HaveAll, number, ask)
    }

    /// The same with the pieces that it says.
    pub(super) fn payee_having(
        &mut self,
        torrent: TorrentId,
        pieces: Message,
        number: u8,
        ask: u64,
    ) -> PeerIndex {
        let peer = self.rig.join(torrent, Remote::modern(number));
        self.rig.says(peer, [pieces]);
        self.prove(peer, number.into(), Some(Rate::new(ask)));
        self.say(
            peer,
            &ReceiptMessage::Quote(Quote::open(Bytes::new(1 << 20), Bytes::ZERO)),
        );
        self.settle();
        peer
    }

    /// A peer with a proven key and a lock of 1,000 cr.
    pub(super) fn payer(&mut self, number: u32) -> PeerIndex {
        let [name, ..] = number.to_le_bytes();
        let identity = identity_of(number);
        let peer = self.proven(number, name);
        let body = Lock {
            network_id: self.network.id,
            lock_id: LockId::new(number.into()),
            opening_order: OrderHash::from_bytes(*identity.id().as_bytes()),
            payer: identity.id(),
            payee: self.rig.session.node_id(),
            amount: MicroCredits::new(1_000_000_000),
            expires_at: UnixTime::from_secs(UNIX + 3_600),
            grace_secs: 86_400,
        };
        let lock = body.sign(&issuer());
        self.locks.push(LockStatus {
            lock,
            claimed: MicroCredits::ZERO,
            closed: false,
        });
        self.say(peer, &ReceiptMessage::Lock(Box::new(lock)));
        self.settle();
        peer
    }

    /// A payer that bids and is interested.
    pub(super) fn bidder(&mut self, number: u32, bid: u64) -> PeerIndex {
        let peer = self.payer(number);
        self.bid(peer, bid);
        peer
    }

    /// A peer bids and is interested.
    pub(super) fn bid(&mut self, peer: PeerIndex, bid: u64) {
        self.say(peer, &ReceiptMessage::Bid(Rate::new(bid)));
        self.rig.says(peer, [Message::Interested]);
        // What was said to it is noted before others come.
        self.settle();
    }

    pub(super) fn class(&self, peer: PeerIndex) -> Option<Class> {
        self.rig.session.choker.decision(peer).and_then(|d| d.class)
    }
}

/// The time so many seconds after the start, at a clock that is off by so many.
pub(super) fn unix(up_secs: u64, off_secs: i64) -> UnixTime {
    let right = UnixTime::from_secs(UNIX).plus_secs(up_secs);
    match u64::try_from(off_secs) {
        Ok(secs) => right.plus_secs(secs),
        Err(_) => right.minus_secs(off_secs.unsigned_abs()),
    }
}

/// Who certifies the locks of payers.
fn issuer() -> Identity {
    Identity::from_secret([200; 32])
}

fn extended(message: &ReceiptMessage) -> Message {
    Message::Extended {
        id: RECEIPT_ID,
        payload: message.encode(),
    }
}
