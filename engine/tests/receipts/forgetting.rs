//! What a node remembers of others, and for how long: nothing before value moved, nothing after it
//! has returned, and no more than it can hold.

use seedbank_engine::credit::output::CreditOutput;
use seedbank_engine::credit::receipts::exchange::{Exchange, Setup};
use seedbank_engine::credit::receipts::limits::{PAIRS_BUSY_MAX, PAIRS_MAX, Window};
use seedbank_engine::credit::receipts::{Granted, Opened, Service};
use seedbank_engine::units::{BLOCK_LEN, PeerIndex};
use seedbank_engine::wire::extended::ReceiptOffer;
use seedbank_engine::wire::receipt::{Hello, ReceiptMessage};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::tally::{PairRow, TallyKey, TallyRow};
use seedbank_ledger::{
    Bytes, Duration, Identity, Instant, MicroCredits, NetworkId, NodeId, Rate, RawCost, UnixTime,
};

use crate::duo::{Duo, PAYEE, PAYER, PIECE_LEN, TORRENT, bytes};
use crate::node::terms;

/// A stranger with a key that it can prove.
struct Stranger {
    identity: Identity,
    peer: PeerIndex,
}

impl Stranger {
    fn new(number: u64) -> Self {
        let mut secret = [7; 32];
        secret[..8].copy_from_slice(&number.to_le_bytes());
        Self {
            identity: Identity::from_secret(secret),
            peer: PeerIndex(1_000_000 + number),
        }
    }

    /// HELLO, AUTH and SYNC on a connection of its own; what `exchange` wants done meanwhile.
    fn connects(&self, exchange: &mut Exchange, now: Instant) -> Vec<CreditOutput> {
        exchange.open(Opened {
            peer: self.peer,
            torrent_id: TORRENT,
            piece_len: PIECE_LEN,
            offer: ReceiptOffer { version: 1 },
            fast: true,
        });
        let mut outputs: Vec<CreditOutput> = drain(exchange);
        let theirs = outputs.iter().find_map(|output| match output {
            CreditOutput::Send {
                message: ReceiptMessage::Hello(hello),
                ..
            } => Some(hello.clone()),
            _ => None,
        });
        let theirs = theirs.expect("it says HELLO");
        let network_id = NetworkId::from_bytes([0; 32]);
        let nonce = [9; 16];
        let auth = Auth {
            network_id,
            own_nonce: nonce,
            peer_nonce: theirs.nonce,
            own_key: self.identity.id(),
            peer_key: theirs.node_id,
        };
        let hello = Hello {
            version: 1,
            nonce,
            node_id: self.identity.id(),
            network_id,
            settlement_keys: Vec::new(),
            rate_min: None,
            window: Bytes::ZERO,
        };
        let signature = auth.sign(&self.identity).signature;
        for message in [
            ReceiptMessage::Hello(hello),
            ReceiptMessage::Auth(signature),
            ReceiptMessage::Sync(Vec::new()),
        ] {
            assert_eq!(exchange.handle(self.peer, message, now), Ok(()));
            outputs.extend(drain(exchange));
        }
        assert_eq!(exchange.key_of(self.peer), Some(self.identity.id()));
        outputs
    }

    /// Acknowledges so many bytes.
    fn acknowledges(&self, exchange: &mut Exchange, bytes: u64, now: Instant) -> Vec<CreditOutput> {
        let channel = Channel {
            network_id: NetworkId::from_bytes([0; 32]),
            kind: ChannelKind::Acknowledgement,
            payer: self.identity.id(),
            payee: exchange.id(),
        };
        let receipt = Receipt {
            network_id: channel.network_id,
            channel_id: channel.id(),
            bytes: Bytes::new(bytes),
            amount: MicroCredits::ZERO,
        };
        let message = ReceiptMessage::Receipt(receipt.sign(&self.identity));
        assert_eq!(exchange.handle(self.peer, message, now), Ok(()));
        drain(exchange)
    }

    fn closes(&self, exchange: &mut Exchange, now: Instant) -> Vec<CreditOutput> {
        exchange.close(self.peer, [], now);
        drain(exchange)
    }
}

fn drain(exchange: &mut Exchange) -> Vec<CreditOutput> {
    std::iter::from_fn(|| exchange.poll_output()).collect()
}

fn durable(outputs: &[CreditOutput]) -> Vec<&CreditOutput> {
    let is_durable =
        |output: &&CreditOutput| matches!(output, CreditOutput::Tally(_) | CreditOutput::Append(_));
    outputs.iter().filter(is_durable).collect()
}

/// Who proves a key, says that it was served, and goes leaves nothing: neither in memory nor on
/// disk.
#[test]
fn m9_a_free_key_leaves_nothing_behind() {
    let mut duo = Duo::new();
    let now = duo.now;
    for number in 0..500 {
        let stranger = Stranger::new(number);
        let exchange = &mut duo.nodes[PAYEE].exchange;
        let mut outputs = stranger.connects(exchange, now);
        outputs.extend(stranger.acknowledges(exchange, 1 << 40, now));
        outputs.extend(stranger.closes(exchange, now));
        assert_eq!(durable(&outputs), Vec::<&CreditOutput>::new());
        assert_eq!(exchange.pair(stranger.identity.id()), None);
        exchange.check_invariants();
    }
    let exchange = &mut duo.nodes[PAYEE].exchange;
    exchange.finish(now);
    assert_eq!(durable(&drain(exchange)), Vec::<&CreditOutput>::new());
}

/// What was acknowledged beyond what was served does not count, neither now nor later.
#[test]
fn m10_an_acknowledgement_counts_as_far_as_it_was_served() {
    let mut duo = Duo::new();
    let peer = duo.connect();
    duo.nodes[PAYEE].exchange.set_quote(peer, Service::Open);
    duo.pump();
    duo.take(peer, 0, 0);
    let stranger = Stranger {
        identity: Identity::from_secret(duo.nodes[PAYER].identity.secret()),
        peer,
    };
    let exchange = &mut duo.nodes[PAYEE].exchange;
    stranger.acknowledges(exchange, u64::MAX, duo.now);
    exchange.tick(duo.now.after(Duration::from_secs(2)));
    let served = i64::try_from(bytes(1).get()).expect("a block is short");
    assert_eq!(duo.payee().standing, -served);
}

fn node(number: u64) -> NodeId {
    Stranger::new(number).identity.id()
}

/// A pair that paid so much.
fn paid(peer: NodeId, amount: u64) -> TallyRow {
    TallyRow::Pair(PairRow {
        peer,
        due: RawCost::ZERO,
        signed: MicroCredits::ZERO,
        paid: MicroCredits::new(amount),
        paid_carry: RawCost::ZERO,
        paid_bytes: Bytes::ZERO,
        lost: Bytes::ZERO,
        backoff_level: 0,
        backoff_until: UnixTime::ZERO,
    })
}

/// With as many pairs as are remembered, each of which paid more than the one before.
fn full(me: &Duo, now: Instant) -> Exchange {
    let key = |number: u64| {
        let mut bytes = [1; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        NodeId::from_bytes(bytes)
    };
    let rows: Vec<TallyRow> = (1_u64..)
        .take(PAIRS_MAX)
        .map(|number| paid(key(number), number))
        .collect();
    let setup = Setup {
        identity: me.nodes[PAYEE].identity.clone(),
        network: Some(me.settlement.network),
        terms: terms(),
        window: Window::V1,
        nonce_salt: 1,
    };
    let mut exchange = Exchange::new(setup, &rows, now, me.unix());
    drain(&mut exchange);
    assert_eq!(exchange.pairs().count(), PAIRS_MAX);
    exchange
}

fn gone(outputs: &[CreditOutput]) -> Vec<TallyKey> {
    let rows = outputs.iter().filter_map(|output| match output {
        CreditOutput::Tally(rows) => Some(rows),
        _ => None,
    });
    let keys = rows.flatten().filter_map(|row| match row {
        TallyRow::Gone(key) => Some(*key),
        _ => None,
    });
    keys.collect()
}

/// However many keys come for nothing, none of those yields that paid.
#[test]
fn m9_a_pair_where_value_moved_never_yields_to_one_where_none_did() {
    let duo = Duo::new();
    let now = duo.now;
    let mut exchange = full(&duo, now);
    for number in 0..100 {
        let stranger = Stranger::new(number);
        stranger.connects(&mut exchange, now);
        let outputs = stranger.closes(&mut exchange, now);
        assert_eq!(gone(&outputs), []);
        assert_eq!(exchange.pairs().count(), PAIRS_MAX);
    }
    exchange.check_invariants();
}

/// One that served us is remembered, in the place of nobody who paid; and if it is itself what is
/// worth the least, it is forgotten, on disk as in memory.
#[test]
fn m9_of_too_many_pairs_the_one_worth_least_yields() {
    let duo = Duo::new();
    let now = duo.now;
    let mut exchange = full(&duo, now);
    let stranger = Stranger::new(1);
    stranger.connects(&mut exchange, now);
    for _ in 0..8 {
        let granted = exchange.grant(stranger.peer, BLOCK_LEN, Rate::ZERO, now);
        assert_eq!(granted, Granted::Open);
    }
    stranger.acknowledges(&mut exchange, bytes(8).get(), now);
    let outputs = stranger.closes(&mut exchange, now);
    let is_its_receipt = |key: &TallyKey| matches!(key, TallyKey::Receipt(_));
    assert!(gone(&outputs).iter().all(is_its_receipt), "{outputs:?}");
    assert_eq!(gone(&outputs).len(), 1);
    assert_eq!(exchange.pair(node(1)), None);
    assert_eq!(exchange.pairs().count(), PAIRS_MAX);
}

/// A lock that a stranger opened and let end is a line of ours, and no pair.
#[test]
fn locks_that_strangers_let_end_leave_no_pairs() {
    let mut duo = Duo::new();
    let (me, now) = (duo.id(PAYEE), duo.now);
    for number in 0..100 {
        let stranger = node(number);
        duo.settlement.grant(stranger, 1);
        let unix = duo.unix();
        let opened = duo.settlement.open(stranger, me, 1, 1, unix);
        let lock_id = opened.expect("it has credit").lock.body.lock_id;
        let ends = unix.plus_secs(2 * 86_400);
        duo.settlement.expire(ends);
        let ended = duo.settlement.status(lock_id).expect("it is known");
        assert!(ended.closed);
        duo.nodes[PAYEE].exchange.lock_status(&ended, now);
    }
    assert_eq!(duo.nodes[PAYEE].exchange.pairs().count(), 0);
    duo.nodes[PAYEE].exchange.check_invariants();
}

/// The least lock from each of as many keys as fit, closed again, kept every new key out until the
/// grace of the last was over.
#[test]
fn keys_whose_locks_were_closed_unused_keep_nobody_out() {
    let duo = Duo::new();
    let now = duo.now;
    let mut exchange = full(&duo, now);
    let (me, network) = (duo.nodes[PAYEE].id(), duo.settlement.network.id);
    let free = PAIRS_BUSY_MAX - PAIRS_MAX;
    for number in 1..=u64::try_from(free).unwrap() {
        let mut order = [3; 32];
        order[..8].copy_from_slice(&number.to_le_bytes());
        let body = Lock {
            network_id: network,
            lock_id: LockId::new(number),
            opening_order: OrderHash::from_bytes(order),
            payer: Stranger::new(number).identity.id(),
            payee: me,
            amount: MicroCredits::new(1),
            expires_at: duo.unix().plus_secs(7 * 86_400),
            grace_secs: 86_400,
        };
        let open = LockStatus {
            lock: body.sign(&duo.settlement.identity),
            claimed: MicroCredits::ZERO,
            closed: false,
        };
        exchange.lock_status(&open, now);
        let closed = LockStatus {
            closed: true,
            ..open
        };
        exchange.lock_status(&closed, now);
        drain(&mut exchange);
    }
    assert_eq!(exchange.pairs().count(), PAIRS_BUSY_MAX);
    let newcomer = Stranger::new(1_000_000);
    let outputs = newcomer.connects(&mut exchange, now);
    assert!(exchange.pair(newcomer.identity.id()).is_some());
    assert_eq!(exchange.pairs().count(), PAIRS_BUSY_MAX);
    let lock_of_one = |key: &TallyKey| matches!(key, TallyKey::Lock(_));
    assert_eq!(gone(&outputs).into_iter().filter(lock_of_one).count(), 1);
    exchange.check_invariants();
}

/// A lock whose credit has returned leaves no row.
#[test]
fn l12_rows_of_a_lock_go_when_its_credit_has_returned() {
    let (mut duo, peer, _) = Duo::paid(10_000);
    duo.piece(peer, 0);
    let locks = |duo: &Duo, node: usize| {
        let rows = duo.nodes[node].store.values();
        rows.filter(|row| matches!(row, TallyRow::Lock(_))).count()
    };
    assert_eq!([PAYER, PAYEE].map(|node| locks(&duo, node)), [1, 1]);
    duo.close(peer);
    // Its life, its grace of a day, and a little more.
    duo.pass(100_000);
    for node in [PAYER, PAYEE] {
        let exchange = &mut duo.nodes[node].exchange;
        exchange.set_clock(duo.now, UnixTime::from_secs(1_700_100_000));
    }
    duo.pass(60);
    assert_eq!([PAYER, PAYEE].map(|node| locks(&duo, node)), [0, 0]);
    let kept = &duo.nodes[PAYEE].store;
    let on_locks = kept.values().filter(|row| match row {
        TallyRow::Receipt(row) => row.channel.kind != ChannelKind::Acknowledgement,
        _ => false,
    });
    assert_eq!(on_locks.count(), 0);
    duo.restart(PAYEE);
    duo.restart(PAYER);
    assert!(
        duo.payee().paid > MicroCredits::ZERO,
        "what it paid is known"
    );
}
