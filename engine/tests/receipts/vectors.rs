//! The vectors of what travels between peers: messages, offers, prices and windows
//! (`tests/vectors`). The files are read and judged as a stranger would; `write` (ignored) makes
//! them again from the folder beside this file, and that they are what it makes is a test.

mod messages;
mod offers;
mod pricing;
mod windows;

use std::path::PathBuf;

use seedbank_engine::content::bencode::{self, DecodeLimits, Dict, Element, Value as Bencoded};
use seedbank_engine::credit::receipts::limits::{Window, history};
use seedbank_engine::wire::extended::{ExtendedHandshake, RECEIPT, RECEIPT_VERSION};
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::{Bytes, Identity, MicroCredits, Rate};
use serde_json::{Map, Value, json};

fn all() -> [(&'static str, Value); 4] {
    [
        ("messages", messages::made()),
        ("offers", offers::made()),
        ("pricing", pricing::made()),
        ("windows", windows::made()),
    ]
}

/// Cargo runs tests in the folder of their package.
fn path(name: &str) -> PathBuf {
    PathBuf::from("../tests/vectors").join(format!("{name}.json"))
}

fn load(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).expect("a vector file");
    serde_json::from_str(&text).expect("JSON")
}

fn vectors(file: &Value) -> &Vec<Value> {
    file["vectors"].as_array().expect("a list of vectors")
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    let found = vector[field].as_str();
    found.unwrap_or_else(|| panic!("{} has no {field}", vector["name"]))
}

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(vector, field)).expect("hex")
}

fn number(vector: &Value, field: &str) -> u64 {
    let found = vector[field].as_u64();
    found.unwrap_or_else(|| panic!("{} has no {field}", vector["name"]))
}

/// What bencoded bytes hold: strings as hex, the first of a repeated key.
fn fields(element: Element<'_>) -> Value {
    if let Some(number) = element.as_u64() {
        return number.into();
    }
    if let Some(bytes) = element.as_bytes() {
        return hex::encode(bytes).into();
    }
    if let Some(items) = element.items() {
        return items.map(fields).collect();
    }
    let mut map = Map::new();
    for (key, value) in element.entries().expect("no message has other numbers") {
        let key = String::from_utf8_lossy(key).into_owned();
        map.entry(key).or_insert_with(|| fields(value));
    }
    Value::Object(map)
}

fn fields_of(payload: &[u8]) -> Value {
    let document = bencode::decode(payload, &DecodeLimits::MESSAGE);
    fields(document.expect("it is bencoded").root())
}

/// The other way round, with sorted keys.
fn bencoded(value: &Value) -> Bencoded {
    match value {
        Value::Number(number) => number.as_u64().expect("below 2^64").into(),
        Value::String(text) => Bencoded::Bytes(hex::decode(text).expect("hex")),
        Value::Array(items) => items.iter().map(bencoded).collect::<Vec<_>>().into(),
        Value::Object(map) => map
            .iter()
            .fold(Dict::new(), |dict, (key, value)| {
                dict.with(key, bencoded(value))
            })
            .into(),
        Value::Null | Value::Bool(_) => panic!("no message holds {value}"),
    }
}

#[test]
fn the_files_are_what_the_generator_makes() {
    for (name, made) in all() {
        assert_eq!(load(name), made, "{name}.json");
    }
}

#[test]
#[ignore = "writes the files"]
fn write() {
    for (name, made) in all() {
        let text = serde_json::to_string_pretty(&made).expect("JSON");
        std::fs::write(path(name), text + "\n").expect("a file that can be written");
    }
}

/// Bytes to fields and back, through a reader of bencode and through ours. What is ignored and what
/// closes a connection is judged where there is one, in `session/tests/strangers.rs`.
#[test]
fn p_messages_are_read_and_written_as_their_vectors_say() {
    let file = load("messages");
    let mut types = [0; 10];
    for vector in vectors(&file) {
        let (name, payload) = (text(vector, "name"), bytes(vector, "bytes"));
        let decoded = ReceiptMessage::decode(&payload);
        if text(vector, "verdict") != "valid" {
            continue;
        }
        let message = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(fields_of(&payload), vector["fields"], "{name}");
        if let Some(same) = vector["same_as"].as_str() {
            let same = hex::decode(same).expect("hex");
            assert_ne!(same, payload, "{name} is another way to say something");
            assert_eq!(message.encode(), same, "{name}");
            continue;
        }
        assert_eq!(message.encode(), payload, "{name}");
        assert_eq!(bencoded(&vector["fields"]).encode(), payload, "{name}");
        let t = usize::try_from(number(&vector["fields"], "t")).expect("small");
        types[t] += 1;
    }
    assert!(types.iter().all(|count| *count > 0), "{types:?}");
}

/// RFC 8032 signatures are deterministic: who signs the same gets the same bytes.
#[test]
fn p_what_is_signed_in_messages_is_signed_by_the_seeds() {
    let file = load("messages");
    let mut count = 0;
    for signed in file["signed"].as_array().expect("a list") {
        let secret = bytes(&file["seeds"], text(signed, "signer"));
        let identity = Identity::from_secret(secret.try_into().expect("32 bytes"));
        let signature = identity.sign(&bytes(signed, "signing_bytes"));
        assert_eq!(signature.to_string(), text(signed, "signature"));
        let object = bytes(signed, "object");
        let (body, tail) = object.split_at(object.len() - 64);
        assert!(bytes(signed, "signing_bytes").ends_with(body));
        assert_eq!(tail, signature.as_bytes());
        let carries = vectors(&file).iter().any(|vector| {
            // Of an AUTH the signature travels alone.
            let bytes = text(vector, "bytes");
            bytes.contains(text(signed, "object")) || bytes.contains(text(signed, "signature"))
        });
        assert!(carries, "{signed}");
        count += 1;
    }
    assert!(count >= 6, "{count} objects");
}

#[test]
fn p_offers_are_understood_as_their_vectors_say() {
    for vector in vectors(&load("offers")) {
        let name = text(vector, "name");
        let read = ExtendedHandshake::decode(&bytes(vector, "bytes"));
        let said = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        let offer = said
            .receipt
            .filter(|offer| offer.version == RECEIPT_VERSION);
        let id = said.id_of(RECEIPT).filter(|_| offer.is_some());
        assert_eq!(json!(id), vector["send_under"], "{name}");
    }
}

#[test]
fn p_windows_are_what_their_vectors_say() {
    for vector in vectors(&load("windows")) {
        let of = |field| number(vector, field);
        let paid = history(MicroCredits::new(of("paid")), Rate::new(of("rate")));
        let history = paid.min(Bytes::new(of("cleared")));
        assert_eq!(history.get(), of("history"), "{vector}");
        let window = Window::V1.of(Bytes::new(of("piece_len")), history);
        assert_eq!(window.get(), of("window"), "{vector}");
        let least = Rate::new(of("rate")).cost_ceil(window);
        assert_eq!(least.map(MicroCredits::get), Some(of("lock_least")));
    }
}

#[test]
fn p_blocks_cost_what_their_vectors_say() {
    for vector in vectors(&load("pricing")) {
        pricing::judge(vector);
    }
}
