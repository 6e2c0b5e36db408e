//! The vectors under `tests/vectors`: every signed object, valid and invalid, for any language.
//!
//! The files are read and judged as a stranger would. `write` (ignored) makes them again from
//! `vectors/make.rs`; that they are what it makes is a test of its own, so neither drifts.

mod history;
mod lines;
mod link;
mod make;

use std::path::PathBuf;

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::answer::AnswerSeal;
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::certificate::Certificate;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::head::LedgerHead;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::{Order, OrderHash};
use seedbank_ledger::signed::read::ReadRequest;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::signed::{Body, Signed};
use seedbank_ledger::{Identity, NetworkId, NodeId, Signature};
use serde_json::Value;

/// Cargo runs tests in the folder of their package.
fn path(name: &str) -> PathBuf {
    PathBuf::from("../tests/vectors").join(format!("{name}.json"))
}

fn load(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| {
        panic!("{} has no {field}", vector["name"]);
    })
}

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(vector, field)).unwrap()
}

fn array<const N: usize>(vector: &Value, field: &str) -> [u8; N] {
    bytes(vector, field).try_into().unwrap()
}

/// Judges every vector of one object; returns how many were of each verdict.
fn judge<B: Body>(name: &str) -> [usize; 3] {
    let file = load(name);
    assert_eq!(text(&file, "tag"), B::TAG);
    assert_eq!(file["body_len"], B::LEN);
    let seed = Identity::from_secret(array(&file, "seed"));
    let mut counts = [0; 3];
    for vector in file["vectors"].as_array().unwrap() {
        let named = text(vector, "name");
        let body = bytes(vector, "body");
        let signature = Signature::from_bytes(array(vector, "signature"));
        let key = NodeId::from_bytes(array(vector, "key"));
        let parsed = B::from_bytes(&body);
        match text(vector, "verdict") {
            "malformed" => {
                let error = parsed.err().unwrap_or_else(|| panic!("{named} parses"));
                assert_eq!(error.to_string(), text(vector, "reason"), "{named}");
                counts[0] += 1;
            }
            verdict => {
                let parsed = parsed.unwrap_or_else(|error| panic!("{named}: {error}"));
                assert_eq!(parsed.to_bytes(), body, "{named}");
                assert_eq!(parsed.signing_bytes(), bytes(vector, "signing_bytes"));
                let signed = Signed {
                    body: parsed,
                    signature,
                };
                let verified = signed.verify(&key).is_ok();
                assert_eq!(verified, verdict == "valid", "{named}: {verdict}");
                if verified {
                    // Deterministic, RFC 8032: who signs the same gets the same bytes.
                    assert_eq!(seed.id(), key, "{named}");
                    assert_eq!(seed.sign(&bytes(vector, "signing_bytes")), signature);
                }
                counts[if verified { 2 } else { 1 }] += 1;
            }
        }
    }
    counts
}

#[test]
fn every_vector_is_judged_as_it_says() {
    for (name, [malformed, refused, valid]) in [
        ("auth", judge::<Auth>("auth")),
        ("receipt", judge::<Receipt>("receipt")),
        ("lock", judge::<Lock>("lock")),
        ("order", judge::<Order>("order")),
        ("claim", judge::<Claim>("claim")),
        ("cert", judge::<Certificate>("cert")),
        ("head", judge::<LedgerHead>("head")),
        ("answer", judge::<AnswerSeal>("answer")),
        ("read", judge::<ReadRequest>("read")),
    ] {
        assert!(malformed >= 2, "{name} has malformed vectors");
        assert!(refused >= 5, "{name} has vectors that do not verify");
        assert!(valid >= 2, "{name} has valid vectors");
    }
}

#[test]
fn questions_and_sealed_answers_are_judged_as_they_say() {
    assert_eq!(link::judge_link(&load("link")), [10, 6, 13]);
}

#[test]
fn channel_ids_are_as_the_vectors_say() {
    for vector in load("channel")["vectors"].as_array().unwrap() {
        let kind = match vector["kind"].as_u64() {
            Some(0) => ChannelKind::Acknowledgement,
            // The number is no part of the name.
            _ => {
                let order = OrderHash::from_bytes(array(vector, "reference"));
                ChannelKind::Lock(LockId::new(1), order)
            }
        };
        let channel = Channel {
            network_id: NetworkId::from_bytes(array(vector, "network_id")),
            kind,
            payer: NodeId::from_bytes(array(vector, "payer")),
            payee: NodeId::from_bytes(array(vector, "payee")),
        };
        assert_eq!(channel.id().to_string(), text(vector, "channel_id"));
    }
}

/// Acknowledgements are those of no network.
#[test]
fn p1_acknowledgement_channels_are_of_the_network_of_zeros() {
    let file = load("channel");
    let vectors = file["vectors"].as_array().unwrap().iter();
    let acknowledgements: Vec<_> = vectors.filter(|vector| vector["kind"] == 0).collect();
    assert!(acknowledgements.len() >= 2);
    for vector in acknowledgements {
        assert_eq!(text(vector, "network_id"), "00".repeat(32));
    }
}

#[test]
fn p3_lines_and_the_entries_they_certify_are_as_their_vectors_say() {
    let [malformed, uncertified, certified] = lines::judge(&load("line"));
    assert!(malformed >= 5, "{malformed} malformed");
    assert!(uncertified >= 5, "{uncertified} without a certificate");
    assert!(certified >= 15, "{certified} certified");
}

#[test]
fn p15_genesis_files_are_as_their_vectors_say() {
    lines::judge_genesis(&load("genesis"));
}

#[test]
fn a_history_of_orders_and_claims_ends_as_its_vectors_say() {
    history::judge_settlement(&load("settlement"));
}

/// Every reason for which a network or node ledger can refuse, but a few that need a damaged one.
#[test]
fn every_refusal_has_a_vector() {
    let mut reached = history::reached(&load("settlement"));
    reached.extend(history::reached(&load("booking")));
    let unreached: Vec<Refusal> = Refusal::ALL
        .iter()
        .copied()
        .filter(|refusal| !reached.contains(&refusal.code()))
        .collect();
    assert_eq!(unreached, [Refusal::AlreadyDone, Refusal::LockExhausted]);
}

#[test]
fn the_files_are_what_the_generator_makes() {
    for (name, made) in make::all() {
        assert_eq!(load(name), made, "{name}.json");
    }
}

#[test]
#[ignore = "writes the files"]
fn write() {
    for (name, made) in make::all() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), text + "\n").unwrap();
    }
}
