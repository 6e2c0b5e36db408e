//! Every message, and what only looks like one (docs/PROTOCOL.md §3), from fixed seeds.

use seedbank_engine::content::bencode::{Dict, Value as Bencoded};
use seedbank_engine::wire::receipt::{
    ErrorCode, Hello, LockFault, MESSAGE_LEN_MAX, Quote, QuoteState, ReceiptMessage, SyncEntry,
};
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::channel::{Channel, ChannelId, ChannelKind};
use seedbank_ledger::signed::lock::{Lock, LockId, SignedLock};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::signed::{Body, Signed};
use seedbank_ledger::{Bytes, Identity, MicroCredits, NetworkId, Rate, UnixTime};
use serde_json::{Value, json};

use super::fields_of;

const PAYER: &str = "payer";
const PAYEE: &str = "payee";
const SETTLEMENT: &str = "settlement";
const NO_NETWORK: NetworkId = NetworkId::from_bytes([0; 32]);
const NETWORK: NetworkId = NetworkId::from_bytes([0x4e; 32]);

fn identity(name: &str) -> Identity {
    let secret = match name {
        PAYER => 1,
        PAYEE => 2,
        _ => 3,
    };
    Identity::from_secret([secret; 32])
}

fn nonce(name: &str) -> [u8; 16] {
    [if name == PAYER { 0xa1 } else { 0xb2 }; 16]
}

pub(super) fn made() -> Value {
    let seeds = [PAYER, PAYEE, SETTLEMENT];
    let secret = |name| hex::encode(identity(name).secret());
    let key = |name| identity(name).id().to_string();
    let vectors = [valid(), lax(), ignored(), closing()].concat();
    json!({
        "seeds": seeds.map(|name| (name, secret(name))).into_iter().collect::<Map>(),
        "keys": seeds.map(|name| (name, key(name))).into_iter().collect::<Map>(),
        "signed": signed(),
        "vectors": vectors,
    })
}

type Map = std::collections::BTreeMap<&'static str, String>;

fn hello(name: &str, network_id: NetworkId) -> Hello {
    let member = network_id != NO_NETWORK;
    Hello {
        version: 1,
        nonce: nonce(name),
        node_id: identity(name).id(),
        network_id,
        settlement_keys: member
            .then(|| identity(SETTLEMENT).id())
            .into_iter()
            .collect(),
        rate_min: (member && name == PAYEE).then_some(Rate::PAR),
        window: Bytes::new(256 * 1024),
    }
}

fn auth(by: &str, other: &str, network_id: NetworkId) -> Signed<Auth> {
    let body = Auth {
        network_id,
        own_nonce: nonce(by),
        peer_nonce: nonce(other),
        own_key: identity(by).id(),
        peer_key: identity(other).id(),
    };
    body.sign(&identity(by))
}

fn lock(id: u64) -> SignedLock {
    lock_for(PAYEE, id)
}

fn lock_for(payee: &str, id: u64) -> SignedLock {
    let body = Lock {
        network_id: NETWORK,
        lock_id: LockId::new(id),
        opening_order: OrderHash::from_bytes([0x0d; 32]),
        payer: identity(PAYER).id(),
        payee: identity(payee).id(),
        amount: MicroCredits::new(250_000),
        expires_at: UnixTime::from_secs(1_800_003_600),
        grace_secs: 86_400,
    };
    body.sign(&identity(SETTLEMENT))
}

fn on_lock() -> SignedReceipt {
    let body = Receipt {
        network_id: NETWORK,
        channel_id: lock(7).body.channel().id(),
        bytes: Bytes::new(65_536),
        amount: MicroCredits::new(61),
    };
    body.sign(&identity(PAYER))
}

/// Under no network, though both belong to one.
fn acknowledgement(by: &str, other: &str) -> SignedReceipt {
    let channel = Channel {
        network_id: NO_NETWORK,
        kind: ChannelKind::Acknowledgement,
        payer: identity(by).id(),
        payee: identity(other).id(),
    };
    let body = Receipt {
        network_id: NO_NETWORK,
        channel_id: channel.id(),
        bytes: Bytes::new(8 << 20),
        amount: MicroCredits::ZERO,
    };
    body.sign(&identity(by))
}

fn signed() -> Vec<Value> {
    let shown = |name: &str, signer: &str, object: Vec<u8>, signing: Vec<u8>| {
        let signature = &object[object.len() - 64..];
        json!({
            "name": name,
            "signer": signer,
            "object": hex::encode(&object),
            "signing_bytes": hex::encode(signing),
            "signature": hex::encode(signature),
        })
    };
    fn of<B: Body>(signed: &Signed<B>) -> (Vec<u8>, Vec<u8>) {
        (signed.to_bytes(), signed.body.signing_bytes())
    }
    [
        ("AUTH of the payer", PAYER, of(&auth(PAYER, PAYEE, NETWORK))),
        ("AUTH of the payee", PAYEE, of(&auth(PAYEE, PAYER, NETWORK))),
        (
            "AUTH of the payer where the networks differ",
            PAYER,
            of(&auth(PAYER, PAYEE, NO_NETWORK)),
        ),
        ("lock", SETTLEMENT, of(&lock(7))),
        ("receipt on the lock", PAYER, of(&on_lock())),
        (
            "acknowledgement by the payer",
            PAYER,
            of(&acknowledgement(PAYER, PAYEE)),
        ),
        (
            "acknowledgement by the payee",
            PAYEE,
            of(&acknowledgement(PAYEE, PAYER)),
        ),
    ]
    .map(|(name, signer, (object, signing))| shown(name, signer, object, signing))
    .into()
}

fn entry(lock_id: Option<u64>) -> SyncEntry {
    SyncEntry {
        lock_id: lock_id.map(LockId::new),
        held: None,
        sent: None,
        lock: None,
        closed: false,
    }
}

fn syncs() -> [(&'static str, ReceiptMessage); 5] {
    let acknowledged = SyncEntry {
        held: Some(acknowledgement(PAYEE, PAYER)),
        sent: Some(acknowledgement(PAYER, PAYEE)),
        ..entry(None)
    };
    let paying = SyncEntry {
        sent: Some(on_lock()),
        lock: Some(lock(7)),
        ..entry(Some(7))
    };
    let earning = SyncEntry {
        held: Some(on_lock()),
        lock: Some(lock(7)),
        closed: true,
        ..entry(Some(7))
    };
    let full = (0..24).map(|id| entry(Some(id))).collect();
    [
        ("SYNC of nothing", ReceiptMessage::Sync(Vec::new())),
        (
            "SYNC of the payer: an acknowledgement each way",
            ReceiptMessage::Sync(vec![acknowledged]),
        ),
        (
            "SYNC of the payer: its lock and the newest receipt it sent",
            ReceiptMessage::Sync(vec![entry(None), paying]),
        ),
        (
            "SYNC of the payee: the lock, closed, and the newest receipt it holds",
            ReceiptMessage::Sync(vec![entry(None), earning]),
        ),
        ("SYNC of 24 channels", ReceiptMessage::Sync(full)),
    ]
}

fn quote(state: QuoteState, rate: Rate) -> ReceiptMessage {
    ReceiptMessage::Quote(Quote {
        state,
        rate,
        window: Bytes::new(1 << 20),
        written_off: Bytes::new(16_384),
    })
}

fn errors() -> [(&'static str, ReceiptMessage); 5] {
    let on_channel = Some(lock(7).body.channel().id());
    let error = |code, channel_id| ReceiptMessage::Error { code, channel_id };
    let refused = ErrorCode::LockRefused;
    [
        ("ERR 3: send SYNC", error(ErrorCode::NotSynced, None)),
        (
            "ERR 5: unknown channel",
            error(ErrorCode::ChannelUnknown, on_channel),
        ),
        (
            "ERR 8: the lock holds too little",
            error(refused(LockFault::Amount), on_channel),
        ),
        (
            "ERR 8 without a reason",
            error(refused(LockFault::Other(0)), on_channel),
        ),
        (
            "ERR of a later version",
            error(ErrorCode::Other(77), Some(ChannelId::from_bytes([0; 32]))),
        ),
    ]
}

fn valid() -> Vec<Value> {
    let bid = |rate| ReceiptMessage::Bid(Rate::new(rate));
    let close = |newest| ReceiptMessage::Close {
        lock_id: LockId::new(7),
        newest,
    };
    let tip = |note: &str| ReceiptMessage::Tip {
        amount: MicroCredits::new(5),
        note: note.to_owned(),
    };
    let auth = |by, other, network| ReceiptMessage::Auth(auth(by, other, network).signature);
    let later = Hello {
        version: 2,
        ..hello(PAYEE, NETWORK)
    };
    let mut messages = vec![
        (
            "HELLO of a payer",
            ReceiptMessage::Hello(hello(PAYER, NETWORK)),
        ),
        (
            "HELLO of a payee",
            ReceiptMessage::Hello(hello(PAYEE, NETWORK)),
        ),
        (
            "HELLO of no network",
            ReceiptMessage::Hello(hello(PAYEE, NO_NETWORK)),
        ),
        (
            "HELLO of another version: read, and nothing follows",
            ReceiptMessage::Hello(later),
        ),
        ("AUTH of the payer", auth(PAYER, PAYEE, NETWORK)),
        ("AUTH of the payee", auth(PAYEE, PAYER, NETWORK)),
        (
            "AUTH where the networks differ",
            auth(PAYER, PAYEE, NO_NETWORK),
        ),
        ("BID", bid(1_000_000)),
        ("BID 0", bid(0)),
        ("the highest BID", bid(1 << 50)),
        (
            "QUOTE open",
            ReceiptMessage::Quote(Quote::open(Bytes::new(9), Bytes::new(5))),
        ),
        ("QUOTE queued", quote(QuoteState::Queued, Rate::MAX)),
        (
            "QUOTE paid, without a cap",
            quote(QuoteState::Paid, Rate::MAX),
        ),
        (
            "QUOTE paid, with a cap",
            quote(QuoteState::Paid, Rate::new(700_000)),
        ),
        ("LOCK", ReceiptMessage::Lock(Box::new(lock(7)))),
        ("RECEIPT on a lock", ReceiptMessage::Receipt(on_lock())),
        (
            "RECEIPT that acknowledges",
            ReceiptMessage::Receipt(acknowledgement(PAYER, PAYEE)),
        ),
        ("CLOSE", close(None)),
        ("CLOSE with the last receipt", close(Some(on_lock()))),
        ("TIP", tip("thanks")),
        ("TIP without a word", tip("")),
    ];
    messages.extend(syncs());
    messages.extend(errors());
    let vector = |(name, message): (&str, ReceiptMessage)| read(name, &message.encode());
    messages.into_iter().map(vector).collect()
}

fn read(name: &str, bytes: &[u8]) -> Value {
    let fields = fields_of(bytes);
    json!({ "name": name, "bytes": hex::encode(bytes), "verdict": "valid", "fields": fields })
}

fn of_type(t: u64) -> Dict {
    Dict::new().with("t", t)
}

/// Taken all the same: what it is the same as, as we would write it.
fn lax() -> Vec<Value> {
    let bid = ReceiptMessage::Bid(Rate::new(7)).encode();
    let open = ReceiptMessage::Quote(Quote::open(Bytes::new(9), Bytes::ZERO)).encode();
    let uncapped = quote(QuoteState::Paid, Rate::MAX).encode();
    let highest = of_type(3)
        .with("st", 2_u8)
        .with("ra", u64::MAX)
        .with("wi", 1_u64 << 20)
        .with("wo", 16_384_u16);
    let unclosed = |flag: u64| {
        let entry = Dict::new()
            .with("k", 1_u8)
            .with("id", 7_u8)
            .with("cl", flag);
        of_type(6).with("cs", vec![Bencoded::from(entry)]).encode()
    };
    let sync = ReceiptMessage::Sync(vec![entry(Some(7))]).encode();
    let later = of_type(2)
        .with("ra", 7_u8)
        .with("zz", Dict::new().with("a", 1_u8));
    let reason = of_type(9).with("er", 7_u8).with("rs", 3_u8).encode();
    let error = of_type(9).with("er", 7_u8).encode();
    let cases: [(&str, Vec<u8>, Vec<u8>); 7] = [
        (
            "keys in another order",
            b"d1:ti2e2:rai7ee".to_vec(),
            bid.clone(),
        ),
        (
            "of a repeated key the first counts",
            b"d2:rai7e2:rai9e1:ti2e1:ti3ee".to_vec(),
            bid.clone(),
        ),
        ("a key of a later version", later.encode(), bid),
        (
            "QUOTE open with a cap",
            b"d2:rai5e2:sti0e1:ti3e2:wii9e2:woi0ee".to_vec(),
            open,
        ),
        (
            "QUOTE with the highest number as cap",
            highest.encode(),
            uncapped,
        ),
        ("SYNC with cl of 2", unclosed(2), sync),
        ("ERR with a reason that its code has not", reason, error),
    ];
    let vector = |(name, bytes, same): (&str, Vec<u8>, Vec<u8>)| {
        let mut vector = read(name, &bytes);
        vector["same_as"] = hex::encode(same).into();
        vector
    };
    cases.into_iter().map(vector).collect()
}

fn judged(verdict: &str, cases: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Vec<Value> {
    let cases = cases.into_iter();
    cases
        .map(|(name, bytes)| {
            json!({ "name": name, "bytes": hex::encode(bytes), "verdict": verdict })
        })
        .collect()
}

fn ignored() -> Vec<Value> {
    let later = of_type(10).with("ra", "not a number").encode();
    judged(
        "ignored",
        [
            ("the first type without a meaning", later),
            ("another", of_type(77).encode()),
            ("the highest", of_type(u64::MAX).encode()),
        ],
    )
}

/// On a connection that is ready.
fn closing() -> Vec<Value> {
    let mut cases = unreadable();
    cases.extend(misfits());
    cases.extend(bad_syncs());
    let hello = |network| ReceiptMessage::Hello(hello(PAYER, network)).encode();
    cases.push(("a second HELLO", hello(NETWORK)));
    let auth = ReceiptMessage::Auth(auth(PAYER, PAYEE, NETWORK).signature);
    cases.push(("a second AUTH", auth.encode()));
    let lock = ReceiptMessage::Lock(Box::new(lock_for(SETTLEMENT, 8)));
    cases.push(("LOCK of another pair", lock.encode()));
    judged("closes", cases)
}

fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    let long = "x".repeat(MESSAGE_LEN_MAX);
    let nested = [b"d1:a".repeat(17), b"i1e".to_vec(), b"e".repeat(17)].concat();
    vec![
        ("nothing", Vec::new()),
        ("a list", b"le".to_vec()),
        ("cut short", b"d2:rai7e1:ti2e".to_vec()),
        ("a byte behind the dictionary", b"d2:rai7e1:ti2eee".to_vec()),
        ("a number with a leading zero", b"d2:rai07e1:ti2ee".to_vec()),
        ("minus zero", b"d2:rai-0e1:ti2ee".to_vec()),
        ("a length with a leading zero", b"d02:rai7e1:ti2ee".to_vec()),
        ("a key that is a number", b"di1ei7e1:ti2ee".to_vec()),
        ("a key without a value", b"d1:ti2e2:rae".to_vec()),
        ("nested 17 deep", nested),
        (
            "longer than 16 KiB, though of a type without a meaning",
            of_type(77).with("zz", long.as_str()).encode(),
        ),
        ("no type", b"d2:rai7ee".to_vec()),
        ("a type below zero", b"d1:ti-1ee".to_vec()),
        ("a type that is a string", b"d1:t1:2e".to_vec()),
        ("a type of 2^64", b"d1:ti18446744073709551616ee".to_vec()),
    ]
}

fn misfits() -> Vec<(&'static str, Vec<u8>)> {
    let quote = |st: u64| of_type(3).with("st", st).with("wi", 1_u8);
    let tip = |note: &[u8]| of_type(8).with("am", 1_u8).with("nt", note).encode();
    let zeros = [0; 256];
    vec![
        (
            "AUTH of 63 bytes",
            of_type(1).with("sg", &zeros[..63]).encode(),
        ),
        ("BID without a rate", of_type(2).encode()),
        ("BID below zero", of_type(2).with("ra", -1_i64).encode()),
        (
            "BID above 2^50",
            of_type(2).with("ra", (1_u64 << 50) + 1).encode(),
        ),
        (
            "BID of 2^64",
            b"d2:rai18446744073709551616e1:ti2ee".to_vec(),
        ),
        ("QUOTE of state 3", quote(3).with("wo", 0_u8).encode()),
        ("QUOTE without wo", quote(2).encode()),
        (
            "LOCK of 219 bytes",
            of_type(4).with("lk", &zeros[..219]).encode(),
        ),
        (
            "LOCK of 221 bytes",
            of_type(4).with("lk", &zeros[..221]).encode(),
        ),
        (
            "RECEIPT of 145 bytes",
            of_type(5).with("rc", &zeros[..145]).encode(),
        ),
        ("CLOSE without a number", of_type(7).encode()),
        ("TIP with a note of 141 bytes", tip(&[b'x'; 141])),
        ("TIP with a note that is no UTF-8", tip(&[0xff])),
        ("TIP without a note", of_type(8).with("am", 1_u8).encode()),
        ("ERR without a code", of_type(9).encode()),
        ("ERR of 2^32", of_type(9).with("er", 1_u64 << 32).encode()),
        (
            "ERR with a channel of 31 bytes",
            of_type(9)
                .with("er", 3_u8)
                .with("ch", &zeros[..31])
                .encode(),
        ),
    ]
}

fn bad_syncs() -> Vec<(&'static str, Vec<u8>)> {
    let sync = |entries: Vec<Dict>| {
        let entries: Vec<Bencoded> = entries.into_iter().map(Bencoded::from).collect();
        of_type(6).with("cs", entries).encode()
    };
    let on_lock = |id: u64| Dict::new().with("k", 1_u8).with("id", id);
    let acks = || Dict::new().with("k", 0_u8);
    let shown = &*lock(7).to_bytes();
    vec![
        ("SYNC without a list", of_type(6).encode()),
        ("SYNC of 25 channels", sync((0..25).map(on_lock).collect())),
        ("SYNC of one lock twice", sync(vec![on_lock(1), on_lock(1)])),
        ("SYNC of acknowledgements twice", sync(vec![acks(), acks()])),
        ("SYNC of kind 2", sync(vec![Dict::new().with("k", 2_u8)])),
        (
            "SYNC of a lock without a number",
            sync(vec![Dict::new().with("k", 1_u8)]),
        ),
        (
            "SYNC of a lock under another number",
            sync(vec![on_lock(8).with("lk", shown)]),
        ),
        (
            "SYNC of an acknowledgement with a lock",
            sync(vec![acks().with("lk", shown)]),
        ),
        (
            "SYNC of an acknowledgement that is closed",
            sync(vec![acks().with("cl", 1_u8)]),
        ),
    ]
}
