//! Makes the vectors, from fixed keys and numbers.

use seedbank_ledger::entry::EntryHash;
use seedbank_ledger::signed::Body;
use seedbank_ledger::signed::answer::{AnswerHash, AnswerSeal, RequestHash};
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::certificate::Certificate;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::head::LedgerHead;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::{Order, OrderHash, OrderKind};
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{
    Bytes, Identity, MicroCredits, NetworkId, NodeId, Sequence, Signature, UnixTime,
};
use serde_json::{Value, json};

/// A signature by secret 0101…01 over the first receipt below with R of order 1, which plain
/// verification accepts and strict verification must not. Computed apart, from RFC 8032 §5.1.7.
const SMALL_ORDER_R: &str = "0100000000000000000000000000000000000000000000000000000000000000\
    b10a9b9772c94cbbfa3e2a44665959794bfc1ba74af40bb44d71c2b8fc4dfd0d";

/// The order of the base point, little-endian (RFC 8032 §5.1).
const ORDER_L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("auth", auths()),
        ("receipt", receipts()),
        ("lock", locks()),
        ("order", orders()),
        ("claim", claims()),
        ("cert", certificates()),
        ("head", heads()),
        ("answer", answers()),
        ("read", reads()),
        ("channel", channels()),
        ("link", super::link::link()),
        ("line", super::lines::lines()),
        ("genesis", super::lines::genesis()),
        ("settlement", super::history::settlement()),
        ("booking", super::history::booking()),
    ]
}

/// That of acknowledgements, and of nodes that belong to none.
pub(super) const NO_NETWORK: NetworkId = NetworkId::from_bytes([0; 32]);

fn signer() -> Identity {
    Identity::from_secret([1; 32])
}

fn id(number: u8) -> NodeId {
    Identity::from_secret([number; 32]).id()
}

fn network_id() -> NetworkId {
    NetworkId::from_bytes([0x4e; 32])
}

fn file<B: Body>(vectors: Vec<Value>) -> Value {
    let seed = hex::encode(signer().secret());
    json!({ "tag": B::TAG, "body_len": B::LEN, "seed": seed, "vectors": vectors })
}

fn vector(name: &str, tag: &str, body: &[u8], key: NodeId, signature: &Signature) -> Value {
    json!({
        "name": name,
        "body": hex::encode(body),
        "signing_bytes": hex::encode(tagged(tag, body)),
        "key": key.to_string(),
        "signature": signature.to_string(),
    })
}

fn judged(mut vector: Value, verdict: &str, reason: &str) -> Value {
    vector["verdict"] = verdict.into();
    if !reason.is_empty() {
        vector["reason"] = reason.into();
    }
    vector
}

fn tagged(tag: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = tag.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes.extend_from_slice(body);
    bytes
}

fn valid<B: Body>(name: &str, body: &B) -> Value {
    let bytes = body.to_bytes();
    let signature = signer().sign(&tagged(B::TAG, &bytes));
    let vector = vector(name, B::TAG, &bytes, signer().id(), &signature);
    judged(vector, "valid", "")
}

/// Bytes that are no body, with a good signature over them all the same.
fn malformed<B: Body>(name: &str, bytes: &[u8]) -> Value {
    let error = B::from_bytes(bytes).err().expect("it does not parse");
    let signature = signer().sign(&tagged(B::TAG, bytes));
    let vector = vector(name, B::TAG, bytes, signer().id(), &signature);
    judged(vector, "malformed", &error.to_string())
}

/// What can be wrong with any object.
fn invalid<B: Body>(body: &B) -> Vec<Value> {
    [unverifiable(body), unreadable(body)].concat()
}

/// What parses and does not verify.
fn unverifiable<B: Body>(body: &B) -> Vec<Value> {
    let bytes = body.to_bytes();
    let good = signer().sign(&tagged(B::TAG, &bytes));
    let refused = |name: &str, key: NodeId, signature: &Signature, reason: &str| {
        let vector = vector(name, B::TAG, &bytes, key, signature);
        judged(vector, "refused", reason)
    };
    let mut flipped = bytes.clone();
    flipped[40] ^= 1;
    let flipped = vector(
        "one bit of the body flipped",
        B::TAG,
        &flipped,
        signer().id(),
        &good,
    );
    let mut tampered = *good.as_bytes();
    tampered[0] ^= 1;
    let wrong_tag = if B::TAG == "sb1/receipt" {
        "sb1/auth"
    } else {
        "sb1/receipt"
    };
    let mut weak = [0; 32];
    weak[0] = 1;
    let mut trivial = [0; 64];
    trivial[0] = 1;
    let mut past_prime = [0xff; 32];
    past_prime[0] = 0xee;
    past_prime[31] = 0x7f;
    vec![
        judged(flipped, "refused", "signature"),
        refused("another key", id(2), &good, "signature"),
        refused(
            "one bit of R flipped",
            signer().id(),
            &Signature::from_bytes(tampered),
            "signature",
        ),
        refused(
            "signed under another tag",
            signer().id(),
            &signer().sign(&tagged(wrong_tag, &bytes)),
            "signature",
        ),
        refused(
            "signed without a tag",
            signer().id(),
            &signer().sign(&bytes),
            "signature",
        ),
        refused(
            "s + L in place of s",
            signer().id(),
            &malleated(&good),
            "s is not canonical",
        ),
        refused(
            "a key of order 1 and a signature that fits any message",
            NodeId::from_bytes(weak),
            &Signature::from_bytes(trivial),
            "the key is weak",
        ),
        refused(
            "the same key with y written as p + 1",
            NodeId::from_bytes(past_prime),
            &Signature::from_bytes(trivial),
            "the key is not canonical",
        ),
    ]
}

/// What is no body of any object.
fn unreadable<B: Body>(body: &B) -> Vec<Value> {
    let bytes = body.to_bytes();
    let mut trailing = bytes.clone();
    trailing.push(0);
    vec![
        malformed::<B>("cut short by one byte", &bytes[..bytes.len() - 1]),
        malformed::<B>("one byte too long", &trailing),
        malformed::<B>("empty", &[]),
    ]
}

/// The signature with s + L in place of s: the same point, another byte string.
fn malleated(signature: &Signature) -> Signature {
    let mut bytes = *signature.as_bytes();
    let mut carry = 0;
    for (byte, addend) in bytes[32..].iter_mut().zip(ORDER_L) {
        let sum = u16::from(*byte) + u16::from(addend) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    Signature::from_bytes(bytes)
}

fn auths() -> Value {
    let auth = Auth {
        network_id: network_id(),
        own_nonce: [0xa1; 16],
        peer_nonce: [0xa2; 16],
        own_key: signer().id(),
        peer_key: id(2),
    };
    let no_network = Auth {
        network_id: NO_NETWORK,
        ..auth
    };
    let mut vectors = vec![valid("plain", &auth), valid("of no network", &no_network)];
    vectors.extend(invalid(&auth));
    file::<Auth>(vectors)
}

fn receipt() -> Receipt {
    Receipt {
        network_id: network_id(),
        channel_id: lock().channel().id(),
        bytes: Bytes::new(16_384),
        amount: MicroCredits::new(15),
    }
}

fn receipts() -> Value {
    let largest = Receipt {
        bytes: Bytes::MAX,
        amount: MicroCredits::MAX,
        ..receipt()
    };
    let nothing = Receipt {
        bytes: Bytes::ZERO,
        amount: MicroCredits::ZERO,
        ..receipt()
    };
    let acknowledgement = Receipt {
        network_id: NO_NETWORK,
        channel_id: channel(ChannelKind::Acknowledgement, 1, 2).id(),
        bytes: Bytes::new(8 << 20),
        amount: MicroCredits::ZERO,
    };
    let mut vectors = vec![
        valid("plain", &receipt()),
        valid("largest", &largest),
        valid("nothing yet", &nothing),
        valid("an acknowledgement", &acknowledgement),
    ];
    vectors.extend(invalid(&receipt()));
    let small_order = Signature::from_hex(SMALL_ORDER_R).expect("64 bytes of hex");
    let body = receipt().to_bytes();
    let small_order = vector(
        "R of order 1",
        Receipt::TAG,
        &body,
        signer().id(),
        &small_order,
    );
    vectors.push(judged(small_order, "refused", "R is of small order"));
    file::<Receipt>(vectors)
}

fn lock() -> Lock {
    Lock {
        network_id: network_id(),
        lock_id: LockId::new(7),
        opening_order: OrderHash::from_bytes([0x0d; 32]),
        payer: id(2),
        payee: id(3),
        amount: MicroCredits::new(250_000),
        expires_at: UnixTime::from_secs(1_800_003_600),
        grace_secs: 86_400,
    }
}

fn locks() -> Value {
    let largest = Lock {
        lock_id: LockId::new(u64::MAX),
        amount: MicroCredits::MAX,
        expires_at: UnixTime::from_secs(u64::MAX),
        grace_secs: u32::MAX,
        ..lock()
    };
    let mut vectors = vec![valid("plain", &lock()), valid("largest", &largest)];
    vectors.extend(invalid(&lock()));
    file::<Lock>(vectors)
}

fn order(kind: OrderKind) -> Order {
    Order {
        network_id: network_id(),
        account: signer().id(),
        nonce: 1,
        valid_until: UnixTime::from_secs(1_800_000_600),
        kind,
        memo_hash: [0; 32],
    }
}

fn orders() -> Value {
    let amount = MicroCredits::new(250_000);
    let lock_id = LockId::new(7);
    let ttl_secs = 3_600;
    let to = id(2);
    let kinds = [
        ("transfer", OrderKind::Transfer { to, amount }),
        (
            "open lock",
            OrderKind::OpenLock {
                payee: to,
                amount,
                ttl_secs,
            },
        ),
        (
            "top up",
            OrderKind::TopUp {
                lock_id,
                amount,
                ttl_secs,
            },
        ),
        ("close lock", OrderKind::CloseLock { lock_id }),
        ("rotate key", OrderKind::RotateKey { to }),
        ("grant", OrderKind::Grant { to, amount }),
        ("burn", OrderKind::Burn { amount }),
    ];
    let mut vectors: Vec<_> = kinds
        .iter()
        .map(|(name, kind)| valid(name, &order(*kind)))
        .collect();
    let mut with_memo = order(kinds[0].1);
    with_memo.memo_hash = [0x3e; 32];
    vectors.push(valid("transfer with a memo", &with_memo));
    vectors.extend(invalid(&order(kinds[0].1)));
    // Columns of the body: kind at 80, to at 81, reference at 113, amount at 121, ttl at 129.
    for (kind, column, name) in [
        (0, 129, "a transfer with a lifetime"),
        (0, 113, "a transfer with a reference"),
        (1, 113, "an open lock with a reference"),
        (2, 81, "a top up with a receiver"),
        (3, 121, "a close lock with an amount"),
        (3, 132, "a close lock with a lifetime"),
        (4, 121, "a rotate key with an amount"),
        (5, 129, "a grant with a lifetime"),
        (6, 112, "a burn with a receiver"),
    ] {
        let mut bytes = order(kinds[kind].1).to_bytes();
        bytes[column] = 1;
        vectors.push(malformed::<Order>(name, &bytes));
    }
    for unknown in [0, 8, 255] {
        let mut bytes = order(kinds[0].1).to_bytes();
        bytes[80] = unknown;
        vectors.push(malformed::<Order>(&format!("kind {unknown}"), &bytes));
    }
    file::<Order>(vectors)
}

fn claims() -> Value {
    let claim = Claim {
        network_id: network_id(),
        lock_id: LockId::new(7),
        payee: signer().id(),
        receipt: receipt().sign(&Identity::from_secret([2; 32])),
    };
    let mut unsigned = claim;
    unsigned.receipt.signature = Signature::from_bytes([0; 64]);
    let mut vectors = vec![
        valid("plain", &claim),
        valid("whose receipt is another question", &unsigned),
    ];
    vectors.extend(invalid(&claim));
    file::<Claim>(vectors)
}

fn certificates() -> Value {
    let certificate = Certificate {
        network_id: network_id(),
        sequence: Sequence::new(7),
        entry_hash: EntryHash::from_bytes([0xe7; 32]),
        time: UnixTime::from_secs(1_800_000_000),
        account: id(2),
        available_after: MicroCredits::new(750_000),
    };
    let largest = Certificate {
        sequence: Sequence::MAX,
        time: UnixTime::from_secs(u64::MAX),
        available_after: MicroCredits::MAX,
        ..certificate
    };
    let mut vectors = vec![valid("plain", &certificate), valid("largest", &largest)];
    vectors.extend(invalid(&certificate));
    file::<Certificate>(vectors)
}

fn heads() -> Value {
    let head = LedgerHead {
        network_id: network_id(),
        size: 8,
        entry_hash: EntryHash::from_bytes([0xe7; 32]),
        time: UnixTime::from_secs(1_800_000_000),
    };
    let largest = LedgerHead {
        size: u64::MAX,
        time: UnixTime::from_secs(u64::MAX),
        ..head
    };
    let mut vectors = vec![valid("plain", &head), valid("largest", &largest)];
    vectors.extend(invalid(&head));
    file::<LedgerHead>(vectors)
}

fn answers() -> Value {
    let answer = AnswerSeal {
        network_id: network_id(),
        request_hash: RequestHash::from_bytes([0x9e; 32]),
        index: 0,
        answer_hash: AnswerHash::from_bytes([0xa5; 32]),
    };
    let later = AnswerSeal { index: 3, ..answer };
    let mut vectors = vec![
        valid("plain", &answer),
        valid("the fourth of a watch", &later),
    ];
    vectors.extend(invalid(&answer));
    file::<AnswerSeal>(vectors)
}

fn reads() -> Value {
    let read = |kind| ReadRequest {
        network_id: network_id(),
        account: signer().id(),
        kind,
        random: [0x5a; 16],
        valid_until: UnixTime::from_secs(1_800_000_600),
    };
    let (after, count) = (Some(Sequence::new(7)), 64);
    let statement = read(ReadKind::Statement { after, count });
    let mut vectors = vec![
        valid("an account", &read(ReadKind::Account)),
        valid("a lock", &read(ReadKind::Lock(LockId::new(7)))),
        valid("a statement", &statement),
        valid(
            "a statement from the first line",
            &read(ReadKind::Statement { after: None, count }),
        ),
        valid("a watch", &read(ReadKind::Watch { after })),
    ];
    vectors.extend(invalid(&statement));
    // Columns of the body: kind at 64, reference at 65, count at 73.
    for (kind, column, name) in [
        (ReadKind::Account, 65, "an account with a reference"),
        (ReadKind::Account, 73, "an account with a count"),
        (ReadKind::Lock(LockId::new(7)), 73, "a lock with a count"),
        (ReadKind::Watch { after }, 73, "a watch with a count"),
    ] {
        let mut bytes = read(kind).to_bytes();
        bytes[column] = 1;
        vectors.push(malformed::<ReadRequest>(name, &bytes));
    }
    for unknown in [0, 5, 255] {
        let mut bytes = statement.to_bytes();
        bytes[64] = unknown;
        vectors.push(malformed::<ReadRequest>(&format!("kind {unknown}"), &bytes));
    }
    file::<ReadRequest>(vectors)
}

/// Acknowledgements are those of no network, whatever networks their sides belong to.
fn channel(kind: ChannelKind, payer: u8, payee: u8) -> Channel {
    Channel {
        network_id: match kind {
            ChannelKind::Acknowledgement => NO_NETWORK,
            ChannelKind::Lock(..) => network_id(),
        },
        kind,
        payer: id(payer),
        payee: id(payee),
    }
}

fn channels() -> Value {
    let of = |kind, payer: u8, payee: u8| {
        let channel = channel(kind, payer, payee);
        let (number, reference) = match kind {
            ChannelKind::Acknowledgement => (0, [0; 32]),
            ChannelKind::Lock(_, order) => (1, *order.as_bytes()),
        };
        json!({
            "network_id": channel.network_id.to_string(),
            "kind": number,
            "reference": hex::encode(reference),
            "payer": channel.payer.to_string(),
            "payee": channel.payee.to_string(),
            "channel_id": channel.id().to_string(),
        })
    };
    let lock =
        |number, order| ChannelKind::Lock(LockId::new(number), OrderHash::from_bytes([order; 32]));
    json!({
        "context": "seedbank v1 channel",
        "vectors": [
            of(ChannelKind::Acknowledgement, 2, 3),
            of(ChannelKind::Acknowledgement, 3, 2),
            of(lock(0, 0), 2, 3),
            of(lock(7, 0x0d), 2, 3),
            of(lock(7, 0x0e), 2, 3),
            of(lock(u64::MAX, 0xff), 2, 3),
        ],
    })
}
