//! The seam of docs/adr/0005-signature-scheme.md: a network ledger, two node ledgers and two
//! exchanges under a scheme that counts instead of signing, and the same under Ed25519.

#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seedbank_engine::asked::BlockFate;
use seedbank_engine::credit::network::Network;
use seedbank_engine::credit::output::{CreditOutput, Errand};
use seedbank_engine::credit::receipts::limits::Window;
use seedbank_engine::credit::receipts::{Delivered, Exchange, Granted, Opened, Service, Setup};
use seedbank_engine::units::{BLOCK_LEN, PeerIndex, PieceIndex};
use seedbank_engine::wire::extended::ReceiptOffer;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::charts::node::{Membership, NodeCause, NodeCommand, NodeLedger};
use seedbank_ledger::entry::{Entry, EntryHash, EntryKind};
use seedbank_ledger::identity::{Ed25519, SecretKey, SignatureError, SignatureScheme};
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{
    Duration, Genesis, Identity, Instant, MicroCredits, NodeId, Sequence, Signature, UnixTime,
};

use crate::duo::{PAYEE, PAYER, RATE, TORRENT, block};
use crate::node::terms;

const STARTED_AT: u64 = 1_700_000_000;
const PEER: PeerIndex = PeerIndex(0);
const PIECE_LEN: u32 = BLOCK_LEN;
const PAYER_SECRET: u8 = 1;
const PAYEE_SECRET: u8 = 2;
const ISSUER_SECRET: u8 = 8;
const SETTLEMENT_SECRET: u8 = 9;

/// Signatures are keyed hashes that anybody can make, and are counted.
#[derive(Debug, Default)]
struct Counted {
    signed: AtomicU64,
    verified: AtomicU64,
}

impl SignatureScheme for Counted {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        self.signed.fetch_add(1, Ordering::Relaxed);
        keyed_hash(&key.id(), message)
    }

    fn verify(
        &self,
        key: &NodeId,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        self.verified.fetch_add(1, Ordering::Relaxed);
        if keyed_hash(key, message) == *signature {
            Ok(())
        } else {
            Err(SignatureError::Mismatch(*key))
        }
    }
}

fn keyed_hash(key: &NodeId, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    let hash = blake3::keyed_hash(key.as_bytes(), message);
    bytes[..32].copy_from_slice(hash.as_bytes());
    Signature::from_bytes(bytes)
}

/// A settlement node and two members, whose messages arrive at once.
struct Scene {
    scheme: Arc<dyn SignatureScheme>,
    network: NetworkLedger<Memory>,
    exchanges: [Exchange; 2],
    books: [NodeLedger<Memory>; 2],
    wire: VecDeque<(usize, ReceiptMessage)>,
    now: Instant,
}

impl Scene {
    fn new(scheme: Arc<dyn SignatureScheme>) -> Self {
        let key = |secret| Identity::with_scheme([secret; 32], Arc::clone(&scheme));
        let start = UnixTime::from_secs(STARTED_AT);
        let settlement = key(SETTLEMENT_SECRET);
        let text = Genesis::render("test", settlement.id(), &[key(ISSUER_SECRET).id()]).unwrap();
        let genesis = Genesis::parse(&text).unwrap();
        let network = Network::of(&genesis);
        let membership = Membership {
            network_id: network.id,
            settlement: network.settlement,
        };
        let members = [PAYER_SECRET, PAYEE_SECRET];
        let books = members.map(|secret| {
            let (scheme, owner) = (Arc::clone(&scheme), key(secret).id());
            NodeLedger::open_by(scheme, Memory::new(), owner, Some(membership), start).unwrap()
        });
        let exchanges = members.map(|secret| {
            let setup = Setup {
                identity: Arc::new(key(secret)),
                network: Some(network),
                terms: terms(),
                window: Window::V1,
                nonce_salt: 1,
            };
            Exchange::new(setup, &[], Instant::ZERO, start)
        });
        Self {
            network: NetworkLedger::found(Memory::new(), genesis, settlement, start).unwrap(),
            scheme,
            exchanges,
            books,
            wire: VecDeque::new(),
            now: Instant::ZERO,
        }
    }

    fn unix(&self) -> UnixTime {
        UnixTime::from_secs(STARTED_AT + self.now.as_nanos() / 1_000_000_000)
    }

    fn order(&self, secret: u8, kind: OrderKind) -> SignedOrder {
        let by = Identity::with_scheme([secret; 32], Arc::clone(&self.scheme));
        let order = Order {
            network_id: self.network.network_id(),
            account: by.id(),
            nonce: self.network.account(&by.id()).unwrap().nonce + 1,
            valid_until: UnixTime::from_secs(u64::MAX),
            kind,
            memo_hash: [0; 32],
        };
        order.sign(&by)
    }

    fn enter(&mut self, operation: Operation) -> Outcome {
        let outcomes = self.network.append(self.unix(), &[operation]);
        outcomes.unwrap().remove(0)
    }

    /// Grants the payer credit and locks some of it. Two orders are verified by the network.
    fn fund(&mut self) -> LockId {
        let [to, payee] = [PAYER, PAYEE].map(|node| self.exchanges[node].id());
        let amount = MicroCredits::new(1_000_000);
        let grant = self.order(ISSUER_SECRET, OrderKind::Grant { to, amount });
        self.enter(Operation::Order(grant));
        let lock = OrderKind::OpenLock {
            payee,
            amount: MicroCredits::new(10_000),
            ttl_secs: 3_600,
        };
        let lock = self.order(PAYER_SECRET, lock);
        let outcome = self.enter(Operation::Order(lock));
        LockId::new(outcome.sequence().expect("it is opened").get())
    }

    /// Tells a member of a lock: one certificate is verified.
    fn tell(&mut self, node: usize, lock_id: LockId) {
        let status = self.network.lock(lock_id).unwrap();
        let status = status.expect("it was opened");
        self.exchanges[node].lock_status(&status, self.now);
        self.pump();
    }

    fn connect(&mut self) {
        for node in [PAYER, PAYEE] {
            let opened = Opened {
                peer: PEER,
                torrent_id: TORRENT,
                piece_len: PIECE_LEN,
                offer: ReceiptOffer { version: 1 },
                fast: true,
            };
            self.exchanges[node].open(opened);
        }
        self.pump();
    }

    /// One piece of one block, paid for.
    fn piece(&mut self) {
        self.exchanges[PAYER].place_bid(PEER, RATE, self.now);
        self.exchanges[PAYEE].set_quote(PEER, Service::PAY_AS_BID);
        self.pump();
        let block = block(0, 0);
        let bid = self.exchanges[PAYER].request_bid(PEER);
        self.exchanges[PAYER].requested(PEER, &block, bid, PIECE_LEN);
        let granted = self.exchanges[PAYEE].grant(PEER, block.len, bid, self.now);
        assert_eq!(granted, Granted::Paid(RATE));
        let (fate, payer) = (BlockFate::Stored, &mut self.exchanges[PAYER]);
        let delivered = Delivered {
            block,
            bid,
            fate,
            had: false,
        };
        payer.arrived(PEER, &delivered, self.now);
        payer.verified(TORRENT, PieceIndex::unchecked(0), self.now);
        self.pass(2);
    }

    fn pass(&mut self, secs: u64) {
        let end = self.now.after(Duration::from_secs(secs));
        loop {
            self.pump();
            let wakes = self.exchanges.iter().filter_map(Exchange::next_timeout);
            let Some(next) = wakes.min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for exchange in &mut self.exchanges {
                exchange.tick(self.now);
            }
        }
        self.now = end;
    }

    fn pump(&mut self) {
        loop {
            for node in [PAYER, PAYEE] {
                while let Some(output) = self.exchanges[node].poll_output() {
                    self.carry_out(node, output);
                }
            }
            let Some((to, message)) = self.wire.pop_front() else {
                return;
            };
            let handled = self.exchanges[to].handle(PEER, message, self.now);
            assert_eq!(handled, Ok(()), "both are honest");
        }
    }

    fn carry_out(&mut self, node: usize, output: CreditOutput) {
        match output {
            CreditOutput::Send { message, .. } => self.wire.push_back((1 - node, message)),
            CreditOutput::Append(command) => self.book(node, command),
            CreditOutput::Errand(Errand::AskLock(lock_id)) => self.tell(node, lock_id),
            CreditOutput::Errand(Errand::Claim(claim)) => {
                let lock_id = claim.body.lock_id;
                self.enter(Operation::Claim(claim));
                self.tell(node, lock_id);
            }
            // The close that the payee wants is not carried out: the play ends before it.
            CreditOutput::Tally(_)
            | CreditOutput::Notice(_)
            | CreditOutput::Event(_)
            | CreditOutput::Errand(_) => {}
            CreditOutput::Settle { .. } => unreachable!("an exchange asks nobody"),
        }
    }

    fn book(&mut self, node: usize, command: NodeCommand) {
        let outcome = self.books[node].append(self.unix(), &[command]);
        let refusal = outcome.unwrap()[0].refusal();
        assert_eq!(refusal, None, "what is verified is booked");
    }

    /// Books the lines of a member's account that it does not have yet.
    fn settle(&mut self, node: usize) {
        let after = self.books[node].newest_line().unwrap();
        let owner = self.books[node].owner();
        for line in self.network.statement(&owner, after, 100).unwrap() {
            self.book(node, NodeCommand::Settled(Box::new(line)));
        }
    }

    /// Every entry of the three ledgers, without signatures and what is hashed over them.
    fn entries(&self) -> Vec<String> {
        let network = self.network.entries(Sequence::ZERO, 100).unwrap();
        let network = network.iter().map(|entry| {
            let operation = match entry.kind {
                EntryKind::Genesis => None,
                kind => Some(unsigned(Operation::from_bytes(kind, &entry.cause).unwrap())),
            };
            shown(entry, &operation)
        });
        let books = self.books.iter().flat_map(|book| {
            let entries = book.entries(Sequence::ZERO, 100).unwrap();
            let show = |entry: &Entry| shown(entry, &unsigned_cause(book.cause(entry).unwrap()));
            entries.iter().map(show).collect::<Vec<_>>()
        });
        network.chain(books).collect()
    }

    fn check(&self) {
        self.network.check().unwrap();
        for book in &self.books {
            book.check().unwrap();
        }
    }
}

fn shown(entry: &Entry, cause: &impl Debug) -> String {
    let Entry {
        sequence,
        time,
        prev_hash: _,
        kind,
        refusal,
        cause: _,
        postings,
    } = entry;
    format!("{sequence:?} {time:?} {kind:?} {refusal:?} {postings:?} {cause:?}")
}

const NO_SIGNATURE: Signature = Signature::from_bytes([0; 64]);

fn unsigned(operation: Operation) -> Operation {
    match operation {
        Operation::Order(mut order) => {
            order.signature = NO_SIGNATURE;
            Operation::Order(order)
        }
        Operation::Claim(mut claim) => {
            claim.signature = NO_SIGNATURE;
            claim.body.receipt.signature = NO_SIGNATURE;
            Operation::Claim(claim)
        }
        Operation::Expiry(lock_id) => Operation::Expiry(lock_id),
    }
}

fn unsigned_cause(cause: NodeCause) -> NodeCause {
    let unsigned_line = |mut line: Box<StatementLine>| {
        line.operation = unsigned(line.operation);
        if let Some(status) = &mut line.lock {
            status.lock.signature = NO_SIGNATURE;
        }
        line.certificate.signature = NO_SIGNATURE;
        line.certificate.body.entry_hash = EntryHash::NONE;
        line.prev_hash = EntryHash::NONE;
        line
    };
    match cause {
        NodeCause::Command(NodeCommand::Settled(line)) => {
            NodeCause::Command(NodeCommand::Settled(unsigned_line(line)))
        }
        NodeCause::Command(NodeCommand::ChannelSummary(mut summary)) => {
            summary.receipt.signature = NO_SIGNATURE;
            NodeCause::Command(NodeCommand::ChannelSummary(summary))
        }
        other @ (NodeCause::Genesis(_)
        | NodeCause::Join(_)
        | NodeCause::Command(NodeCommand::WriteOff { .. })) => other,
    }
}

/// A lock, a receipt and a claim. `after` is called at the end of each act.
fn play(scheme: Arc<dyn SignatureScheme>, mut after: impl FnMut(&'static str)) -> Vec<String> {
    let mut scene = Scene::new(scheme);
    let lock_id = scene.fund();
    after("fund");
    scene.settle(PAYER);
    after("payer's lines");
    scene.tell(PAYER, lock_id);
    scene.connect();
    after("connect");
    scene.piece();
    after("piece");
    scene.pass(3_000);
    after("claim");
    scene.settle(PAYER);
    scene.settle(PAYEE);
    after("both's lines");
    let entries = scene.entries();
    scene.check();
    entries
}

#[test]
fn every_verification_goes_through_the_scheme_of_its_state_machine() {
    let counted = Arc::new(Counted::default());
    let mut verified = Vec::new();
    let entries = play(counted.clone(), |act| {
        verified.push((act, counted.verified.swap(0, Ordering::Relaxed)));
    });
    assert!(counted.signed.load(Ordering::Relaxed) > 0);
    let kinds = |kind: &str| entries.iter().filter(|entry| entry.contains(kind)).count();
    assert_eq!(kinds(" LockOpen "), 2, "the network's and the payer's");
    assert_eq!(kinds(" ChannelSummary "), 2, "one on each side");
    assert_eq!(kinds(" Claim "), 3, "one in each ledger");
    let expected = [
        // Two orders, by the network ledger.
        ("fund", 2),
        // By the payer's ledger: order and certificate of the grant; order, certificate and lock.
        ("payer's lines", 5),
        // By the exchanges: the lock told to the payer, AUTH both ways, the lock shown to the payee
        // and told to it when it asks.
        ("connect", 5),
        // One receipt, by the payee.
        ("piece", 1),
        // A summary in each node ledger; claim and receipt by the network ledger; the lock told to
        // the payee, and to the payer, which hears of the close and asks.
        ("claim", 6),
        // Claim, receipt, certificate and lock, in each node ledger.
        ("both's lines", 8),
    ];
    assert_eq!(verified, expected);
}

#[test]
fn entries_are_the_same_by_ed25519_but_for_signatures() {
    let counted = play(Arc::new(Counted::default()), |_| {});
    let real = play(Arc::new(Ed25519), |_| {});
    assert_eq!(counted, real);
}

#[test]
fn what_one_scheme_signed_another_does_not_believe() {
    let amount = MicroCredits::new(1);
    let mut counted = Scene::new(Arc::new(Counted::default()));
    let mut real = Scene::new(Arc::new(Ed25519));
    let to = real.exchanges[PAYER].id();
    let cheap = counted.order(ISSUER_SECRET, OrderKind::Grant { to, amount });
    let signed = real.order(ISSUER_SECRET, OrderKind::Grant { to, amount });
    assert_eq!(cheap.body, signed.body, "names are the same");
    let forged = Outcome::Refused(Refusal::BadSignature);
    assert_eq!(real.enter(Operation::Order(cheap)), forged);
    assert_eq!(counted.enter(Operation::Order(signed)), forged);
    assert!(cheap.verify(&cheap.body.account).is_err());
    assert!(signed.verify(&signed.body.account).is_ok());
}
