//! Lines of statements, and the network's entries that they certify (docs/PROTOCOL-SETTLEMENT.md).

use seedbank_ledger::entry::{Entry, EntryHash};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::{Genesis, Sequence};
use serde_json::{Value, json};

use super::{array, bytes, text};
use crate::world::{ISSUER, World, cr, id, identity, network_id, open_lock, order, transfer};

const REASON: &str = "for seeding";

/// Every kind of operation once, and one that was refused.
fn world() -> World {
    let mut world = World::new();
    let to_payer = OrderKind::Grant {
        to: id(1),
        amount: cr(1_000),
    };
    let mut granted = order(ISSUER, 1, to_payer).body;
    granted.memo_hash = Order::reason_hash(REASON.as_bytes());
    world.one(Operation::Order(granted.sign(&identity(ISSUER))));
    let mut must = |account, kind| assert_eq!(world.order(account, kind), None, "{kind:?}");
    must(1, transfer(ISSUER, 50));
    must(ISSUER, OrderKind::Burn { amount: cr(20) });
    let lock_id = world.lock(1, 2, 100);
    let top_up = OrderKind::TopUp {
        lock_id,
        amount: cr(50),
        ttl_secs: 7_200,
    };
    world.pass(60);
    assert_eq!(world.order(1, top_up), None);
    world.claim(lock_id, (1, 2), (65_536, 61));
    assert_eq!(world.order(2, OrderKind::CloseLock { lock_id }), None);
    let refused = world.order(1, open_lock(1, 100));
    assert!(refused.is_some(), "to oneself");
    world.lock(1, 3, 40);
    world.pass(3_600 + 86_400 + 1);
    assert_eq!(world.order(1, OrderKind::RotateKey { to: id(4) }), None);
    world
}

fn entry_of(world: &World, line: &StatementLine) -> Entry {
    let sequence = line.certificate.body.sequence;
    let found = world.network.entries(sequence, 1).unwrap();
    found.into_iter().next().unwrap()
}

pub(super) fn lines() -> Value {
    let world = world();
    let mut vectors = Vec::new();
    for account in [ISSUER, 1, 2, 3, 4] {
        for mut line in world.network.statement(&id(account), None, 256).unwrap() {
            let entry = entry_of(&world, &line);
            if account == 1 && entry.sequence == Sequence::new(1) {
                line.reason_bytes = REASON.as_bytes().to_vec();
            }
            vectors.push(certified(&line, &entry));
        }
    }
    vectors.extend(invalid(&world));
    json!({
        "settlement": id(200).to_string(),
        "seed": hex::encode(identity(200).secret()),
        "network_id": network_id().to_string(),
        "vectors": vectors,
    })
}

fn certified(line: &StatementLine, entry: &Entry) -> Value {
    let certificate = &line.certificate.body;
    let lock = line.lock.map(|status| {
        json!({
            "lock": hex::encode(status.lock.to_bytes()),
            "claimed": status.claimed.get(),
            "closed": status.closed,
        })
    });
    json!({
        "name": format!("{} {}", entry.kind, entry.sequence),
        "bytes": hex::encode(line.to_bytes()),
        "verdict": "certified",
        "fields": {
            "kind": entry.kind.code(),
            "operation": hex::encode(line.operation.to_bytes()),
            "refusal": line.refusal.map_or(0, |refusal| refusal.code()),
            "amount": line.amount.get(),
            "lock": lock,
            "previous": line.previous.map(Sequence::get),
            "prev_hash": line.prev_hash.to_string(),
            "certificate": hex::encode(line.certificate.to_bytes()),
            "reason": hex::encode(&line.reason_bytes),
            "sequence": certificate.sequence.get(),
            "time": certificate.time.as_secs(),
            "account": certificate.account.to_string(),
            "available_after": certificate.available_after.get(),
        },
        "entry": hex::encode(entry.to_bytes()),
        "entry_hash": certificate.entry_hash.to_string(),
    })
}

/// Lines that are no lines, and lines whose certificate is for another entry or nobody's.
fn invalid(world: &World) -> Vec<Value> {
    let lines = world.network.statement(&id(1), None, 256).unwrap();
    let good = lines[1].clone();
    let bytes = good.to_bytes();
    let put = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    let malformed = [
        ("cut short by one byte", bytes[..bytes.len() - 1].to_vec()),
        ("one byte too long", [&bytes[..], &[0]].concat()),
        ("kind 0", put(0, 0)),
        ("kind 1, a genesis, which is no line", put(0, 1)),
        ("kind 2 of an order that is a transfer", put(0, 2)),
        ("refusal 24", put(230, 24)),
        ("a flag of 2 in front of the lock", put(240, 2)),
    ];
    let mut vectors: Vec<Value> = malformed
        .iter()
        .map(|(name, bytes)| {
            let error = StatementLine::from_bytes(bytes).unwrap_err();
            json!({
                "name": name,
                "bytes": hex::encode(bytes),
                "verdict": "malformed",
                "reason": error.to_string(),
            })
        })
        .collect();
    let mut more = good.clone();
    more.amount = cr(51);
    let mut unrefused = lines
        .iter()
        .find(|line| line.refusal.is_some())
        .unwrap()
        .clone();
    unrefused.refusal = None;
    let mut elsewhere = good.clone();
    elsewhere.prev_hash = EntryHash::NONE;
    let closed = lines
        .iter()
        .find(|line| matches!(line.operation, Operation::Expiry(_)));
    let mut returned = closed.unwrap().clone();
    returned.lock = None;
    for (name, line) in [
        ("a larger amount", more),
        ("without its refusal", unrefused),
        ("behind another entry", elsewhere),
        (
            "an expiry without its lock, which names the payer",
            returned,
        ),
    ] {
        vectors.push(json!({
            "name": name,
            "bytes": hex::encode(line.to_bytes()),
            "verdict": "not certified",
        }));
    }
    let mut forged = good;
    forged.certificate.body.available_after = cr(1_000_000);
    vectors.push(json!({
        "name": "a balance that nobody signed",
        "bytes": hex::encode(forged.to_bytes()),
        "verdict": "not certified",
    }));
    vectors
}

/// Judges the file as a stranger would; returns how many were of each verdict.
pub(super) fn judge(file: &Value) -> [usize; 3] {
    let mut counts = [0; 3];
    let settlement = seedbank_ledger::NodeId::from_bytes(array(file, "settlement"));
    for vector in file["vectors"].as_array().unwrap() {
        let (name, raw) = (text(vector, "name"), bytes(vector, "bytes"));
        let parsed = StatementLine::from_bytes(&raw);
        if text(vector, "verdict") == "malformed" {
            assert_eq!(parsed.unwrap_err().to_string(), text(vector, "reason"));
            counts[0] += 1;
            continue;
        }
        let line = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(line.to_bytes(), raw, "{name}");
        let is_signed = line.certificate.verify(&settlement).is_ok();
        if text(vector, "verdict") == "not certified" {
            assert!(!(is_signed && line.is_certified_entry()), "{name}");
            counts[1] += 1;
            continue;
        }
        assert!(is_signed && line.is_certified_entry(), "{name}");
        let raw = bytes(vector, "entry");
        let entry = Entry::from_bytes(&raw).unwrap();
        let hash = EntryHash::of(&raw);
        assert_eq!(hash.to_string(), text(vector, "entry_hash"), "{name}");
        assert_eq!(entry.to_bytes(), raw, "{name}");
        let again = certified(&line, &entry);
        assert_eq!(again["fields"], vector["fields"], "{name}");
        counts[2] += 1;
    }
    counts
}

/// Genesis files and their networks' ids.
pub(super) fn genesis() -> Value {
    let good = Genesis::render("a \"quoted\" name", id(200), &[id(0), id(1)]).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let key = id(200).to_string();
    let cases = [
        ("as it is made", good.clone()),
        (
            "without a par price",
            with("par_microcredits_per_gib = 1000000\n", ""),
        ),
        (
            "other white space, another network",
            with("\n\n[limits]", "\n\n\n[limits]"),
        ),
        (
            "the shortest lives",
            with("lock_ttl_secs = 3600", "lock_ttl_secs = 1"),
        ),
        (
            "the shortest grace",
            with("grace_secs = 86400", "grace_secs = 3600"),
        ),
        (
            "a grace that is too short",
            with("grace_secs = 86400", "grace_secs = 3599"),
        ),
        (
            "a life of 0",
            with("lock_ttl_secs = 3600", "lock_ttl_secs = 0"),
        ),
        (
            "a life past the longest",
            with("lock_ttl_secs = 3600", "lock_ttl_secs = 604801"),
        ),
        (
            "lives past a year",
            with("ttl_secs_max = 604800", "ttl_secs_max = 31536001"),
        ),
        ("a par price of 0", with("gib = 1000000", "gib = 0")),
        (
            "a par price above 2^49",
            with("gib = 1000000", "gib = 562949953421313"),
        ),
        (
            "no issuer",
            with(&format!("[\"{}\", \"{}\"]", id(0), id(1)), "[]"),
        ),
        (
            "an issuer twice",
            with(&id(1).to_string(), &id(0).to_string()),
        ),
        ("a settlement key of order 4", with(&key, &"00".repeat(32))),
        ("an unknown field", with("[limits]", "[limits]\nfee = 1")),
        ("a missing field", with("order_budget = 200\n", "")),
        ("no budget", with("order_budget = 200", "order_budget = 0")),
        (
            "an empty name",
            with("name = 'a \"quoted\" name'", "name = \"\""),
        ),
    ];
    json!({ "vectors": cases.map(|(name, text)| genesis_vector(name, &text)) })
}

fn genesis_vector(name: &str, text: &str) -> Value {
    let parsed = Genesis::parse(text);
    json!({
        "name": name,
        "network_id": parsed.as_ref().ok().map(|one| one.network_id().to_string()),
        "reason": parsed.err().map(|error| error.to_string()),
        "text": text,
    })
}

/// A network's id is the hash of the text, and nothing else than what the code takes is a genesis.
pub(super) fn judge_genesis(file: &Value) {
    let vectors = file["vectors"].as_array().unwrap();
    for vector in vectors {
        let given = text(vector, "text");
        let hash = blake3_of(given.as_bytes());
        let id = Genesis::parse(given).ok().map(|one| one.network_id());
        assert_eq!(json!(id.map(|id| id.to_string())), vector["network_id"]);
        assert!(id.is_none_or(|id| *id.as_bytes() == hash), "{vector}");
    }
    let (good, bad) = vectors
        .iter()
        .partition::<Vec<_>, _>(|vector| vector["reason"].is_null());
    assert_eq!((good.len(), bad.len()), (5, 13));
}

fn blake3_of(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
