//! A raw peer that speaks `Sb_receipt`: it proves its key, and then does what a test wants.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, bail};
use seedbank_engine::wire::extended::{
    ExtendedHandshake, HANDSHAKE_ID, RECEIPT, RECEIPT_ID, RECEIPT_VERSION, ReceiptOffer,
};
use seedbank_engine::wire::receipt::{Hello, ReceiptMessage, SyncEntry};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::{Bytes, NodeId, Rate};

use crate::member::Member;
use crate::raw_peer::{Line, MODERN, RawPeer};

/// Ids of messages (BEP 3, BEP 6, BEP 10).
pub mod id {
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
    pub const EXTENDED: u8 = 20;
}

/// Messages until both sides are in step; a seed sends a few of its own in between.
const GREETING_MESSAGES_MAX: usize = 100;

/// What the peer claims to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    Nothing,
    Everything,
}

/// One message of the other side.
#[derive(Debug)]
pub enum Came {
    Receipt(Box<ReceiptMessage>),
    /// Any other: id and payload.
    Plain(u8, Vec<u8>),
}

/// A connection on which both keys are proven and both sides have sent SYNC.
#[derive(Debug)]
pub struct ReceiptPeer {
    peer: RawPeer,
    /// The other side's key.
    pub key: NodeId,
    /// Under which it takes our messages.
    receipt_id: u8,
    /// Where it stood when we came.
    pub synced: Vec<SyncEntry>,
    /// What came in between.
    waiting: VecDeque<Came>,
}

impl ReceiptPeer {
    /// Connects from `from` and goes through HELLO, AUTH and SYNC. Takes payment at any rate if it
    /// claims to have everything.
    ///
    /// # Errors
    /// When the other side does not speak `Sb_receipt`, or hangs up.
    pub fn connect(
        from: Ipv4Addr,
        to: SocketAddrV4,
        info_hash: [u8; 20],
        member: &Member,
        has: Has,
    ) -> Result<Self> {
        let mut peer = RawPeer::connect(from, to, info_hash, MODERN)?;
        let offer = ReceiptOffer {
            version: RECEIPT_VERSION,
        };
        let handshake = ExtendedHandshake {
            extensions: [(RECEIPT.to_owned(), RECEIPT_ID)].into(),
            receipt: Some(offer),
            ..ExtendedHandshake::default()
        };
        peer.send(
            id::EXTENDED,
            &[&[HANDSHAKE_ID], &*handshake.encode()].concat(),
        )?;
        let claim = match has {
            Has::Nothing => id::HAVE_NONE,
            Has::Everything => id::HAVE_ALL,
        };
        peer.send(claim, &[])?;
        let mut greeted = Self {
            peer,
            key: member.identity.id(),
            receipt_id: 0,
            synced: Vec::new(),
            waiting: VecDeque::new(),
        };
        greeted.greet(member, has)?;
        Ok(greeted)
    }

    /// Sends a message of `Sb_receipt`.
    ///
    /// # Errors
    /// When the other side has hung up.
    pub fn say(&mut self, message: &ReceiptMessage) -> Result<()> {
        let payload = [&[self.receipt_id], &*message.encode()].concat();
        self.peer.send(id::EXTENDED, &payload)
    }

    /// Sends any other message.
    ///
    /// # Errors
    /// As [`ReceiptPeer::say`].
    pub fn send(&mut self, id: u8, payload: &[u8]) -> Result<()> {
        self.peer.send(id, payload)
    }

    /// The next message; none when the other side has hung up.
    ///
    /// # Errors
    /// When nothing arrives for 30 s, or nonsense does.
    pub fn receive(&mut self) -> Result<Option<Came>> {
        match self.waiting.pop_front() {
            Some(came) => Ok(Some(came)),
            None => self.read(),
        }
    }

    /// Something that ends this connection from another thread.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn line(&self) -> Result<Line> {
        self.peer.line()
    }

    fn read(&mut self) -> Result<Option<Came>> {
        let Some((id, payload)) = self.peer.receive()? else {
            return Ok(None);
        };
        Ok(Some(match (id, payload.split_first()) {
            (id::EXTENDED, Some((&RECEIPT_ID, message))) => {
                Came::Receipt(Box::new(ReceiptMessage::decode(message)?))
            }
            _ => Came::Plain(id, payload),
        }))
    }

    fn greet(&mut self, member: &Member, has: Has) -> Result<()> {
        let own_nonce = [7; 16];
        let mut waiting = VecDeque::new();
        for _ in 0..GREETING_MESSAGES_MAX {
            let came = self.read()?.context("it hung up on our greeting")?;
            match came {
                Came::Plain(id::EXTENDED, payload) if payload.first() == Some(&HANDSHAKE_ID) => {
                    let theirs = ExtendedHandshake::decode(&payload[1..])?;
                    self.receipt_id = theirs.id_of(RECEIPT).context("takes no receipts")?;
                    theirs.receipt.context("offers no receipts")?;
                    self.say(&ReceiptMessage::Hello(Hello {
                        version: RECEIPT_VERSION,
                        nonce: own_nonce,
                        node_id: member.identity.id(),
                        network_id: member.network,
                        settlement_keys: vec![member.settlement],
                        rate_min: (has == Has::Everything).then_some(Rate::new(1)),
                        window: Bytes::new(1 << 20),
                    }))?;
                }
                Came::Receipt(message) => match *message {
                    ReceiptMessage::Hello(hello) => {
                        self.key = hello.node_id;
                        let auth = Auth {
                            network_id: member.network,
                            own_nonce,
                            peer_nonce: hello.nonce,
                            own_key: member.identity.id(),
                            peer_key: self.key,
                        };
                        let signature = auth.sign(&member.identity).signature;
                        self.say(&ReceiptMessage::Auth(signature))?;
                    }
                    ReceiptMessage::Auth(_) => self.say(&ReceiptMessage::Sync(Vec::new()))?,
                    ReceiptMessage::Sync(entries) => {
                        self.synced = entries;
                        self.waiting = waiting;
                        return Ok(());
                    }
                    other => waiting.push_back(Came::Receipt(Box::new(other))),
                },
                other @ Came::Plain(..) => waiting.push_back(other),
            }
        }
        bail!("not in step after {GREETING_MESSAGES_MAX} messages")
    }
}
