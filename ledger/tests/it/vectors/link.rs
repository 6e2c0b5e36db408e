//! Vectors of what goes between a member and its settlement node: questions, and sealed answers.

use std::sync::Arc;

use seedbank_ledger::identity::Ed25519;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::codec::{
    AccountAnswer, AnswerBody, OperationAnswer, SettlementAnswer, SettlementRequest, Statement,
};
use seedbank_ledger::settlement::envelope::{Envelope, EnvelopeError, Sealer};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::answer::{AnswerHash, RequestHash};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::statement::StatementLine;
use seedbank_ledger::{NetworkId, Sequence, Signature};
use serde_json::{Value, json};

use crate::world::{
    START, World, channel, claim, id, identity, network_id, open_lock, order, receipt, transfer,
};

const SETTLEMENT: u8 = 200;
const RANDOM: [u8; 16] = [0x5a; 16];

/// The file: questions and answers, good ones and others.
pub(super) fn link() -> Value {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let signed = receipt(&channel(&world.network, lock_id, 1, 2), 1, 10, 60);
    let claim = claim(lock_id, 2, signed);
    world.one(seedbank_ledger::statement::Operation::Claim(claim));
    let submit = SettlementRequest::Submit {
        random: RANDOM,
        order: order(1, 1, open_lock(2, 100)),
    };
    let claim = SettlementRequest::Claim {
        random: RANDOM,
        claim,
    };
    json!({
        "tag": "sb1/answer",
        "network_id": network_id().to_string(),
        "settlement": id(SETTLEMENT).to_string(),
        "requests": requests(&submit, &claim, lock_id),
        "answers": answers(&world, &submit, &claim, lock_id),
    })
}

fn read(kind: ReadKind) -> SettlementRequest {
    let body = ReadRequest {
        network_id: network_id(),
        account: id(1),
        kind,
        random: RANDOM,
        valid_until: START.plus_secs(300),
    };
    SettlementRequest::Read(body.sign(&identity(1)))
}

fn question(name: &str, bytes: &[u8]) -> Value {
    let mut vector = json!({
        "name": name,
        "request": hex::encode(bytes),
        "request_hash": RequestHash::of(bytes).to_string(),
    });
    match SettlementRequest::from_bytes(bytes) {
        Ok(_) => vector["verdict"] = "valid".into(),
        Err(error) => {
            vector["verdict"] = "malformed".into();
            vector["reason"] = error.to_string().into();
        }
    }
    vector
}

fn requests(submit: &SettlementRequest, claim: &SettlementRequest, lock_id: LockId) -> Vec<Value> {
    let after = Some(Sequence::new(1));
    let account = read(ReadKind::Account).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = account.clone();
        bytes[at] = byte;
        bytes
    };
    let longer = [account.clone(), vec![0]].concat();
    vec![
        question("an order", &submit.to_bytes()),
        question("a claim", &claim.to_bytes()),
        question("an account", &account),
        question("a lock", &read(ReadKind::Lock(lock_id)).to_bytes()),
        question(
            "a statement",
            &read(ReadKind::Statement { after, count: 255 }).to_bytes(),
        ),
        question("a watch", &read(ReadKind::Watch { after }).to_bytes()),
        question("empty", &[]),
        question("kind 0", &with(0, 0)),
        question("kind 4", &with(0, 4)),
        question("a read under the kind of an order", &with(0, 1)),
        question("an account with a reference", &with(66, 1)),
        question("cut short by one byte", &account[..account.len() - 1]),
        question("one byte too long", &longer),
    ]
}

fn answers(
    world: &World,
    submit: &SettlementRequest,
    claim: &SettlementRequest,
    lock_id: LockId,
) -> Vec<Value> {
    let paid = world.network.statement(&id(2), None, 9).unwrap();
    let paid = good(
        "a claim that is paid",
        claim,
        0,
        entered(paid.last().unwrap()),
    );
    let opened = world.network.statement(&id(1), None, 9).unwrap();
    let mut vectors = orders(submit, &opened[1]);
    vectors.push(paid);
    vectors.extend(told(world, lock_id));
    vectors
}

/// Answers to an order.
fn orders(submit: &SettlementRequest, opened: &StatementLine) -> Vec<Value> {
    let nothing = OperationAnswer {
        refusal: None,
        used_by: None,
        sequence: None,
        line: None,
    };
    let known = OperationAnswer {
        sequence: Some(Sequence::new(4)),
        ..nothing.clone()
    };
    let used = OperationAnswer {
        refusal: Some(Refusal::WrongNonce),
        used_by: Some(order(1, 1, transfer(2, 5))),
        ..known.clone()
    };
    let refused = OperationAnswer {
        refusal: Some(Refusal::NoStanding),
        ..nothing
    };
    [
        ("an order that is entered", entered(opened)),
        ("an order that was entered before", operation(known)),
        ("a nonce that another order used", operation(used)),
        (
            "an order of an account without standing",
            operation(refused),
        ),
    ]
    .map(|(name, body)| good(name, submit, 0, body))
    .into()
}

/// Answers to reads, good ones and others.
fn told(world: &World, lock_id: LockId) -> Vec<Value> {
    let lines = world.network.statement(&id(1), None, 9).unwrap();
    let account = AccountAnswer {
        status: world.network.account(&id(1)).unwrap(),
        head: world.network.signed_head().unwrap(),
    };
    let statement = |more| {
        let lines = lines.clone();
        AnswerBody::Statement(Statement {
            account,
            more,
            lines,
        })
    };
    let (after, count) = (None, 255);
    let reads = read(ReadKind::Statement { after, count });
    let watch = read(ReadKind::Watch { after });
    let absent = read(ReadKind::Lock(LockId::new(7)));
    let lock = AnswerBody::Lock(world.network.lock(lock_id).unwrap());
    let late = AnswerBody::Refused(Refusal::Expired);
    let account = AnswerBody::Account(account);
    let mut vectors = vec![
        good("an account", &read(ReadKind::Account), 0, account),
        good("a lock", &read(ReadKind::Lock(lock_id)), 0, lock),
        good("no lock", &absent, 0, AnswerBody::Lock(None)),
        good("a statement", &reads, 0, statement(false)),
        good("a page of a statement", &reads, 0, statement(true)),
        good("the first message of a watch", &watch, 0, statement(false)),
        good("the fourth of a watch", &watch, 3, statement(false)),
        good("a read that is late", &reads, 0, late),
    ];
    vectors.extend(refused(&absent));
    vectors.extend(malformed(&reads, &statement(false)));
    vectors
}

fn operation(answer: OperationAnswer) -> AnswerBody {
    AnswerBody::Operation(Box::new(answer))
}

fn entered(line: &StatementLine) -> AnswerBody {
    operation(OperationAnswer {
        refusal: line.refusal,
        used_by: None,
        sequence: Some(line.certificate.body.sequence),
        line: Some(line.clone()),
    })
}

fn sealer(by: u8, network_id: NetworkId) -> Sealer {
    Sealer::new(Arc::new(identity(by)), network_id)
}

fn answer(body: AnswerBody) -> SettlementAnswer {
    let time = START.plus_secs(7);
    SettlementAnswer { time, body }
}

fn good(name: &str, request: &SettlementRequest, index: u64, body: AnswerBody) -> Value {
    let envelope = sealer(SETTLEMENT, network_id()).seal(request.hash(), index, &answer(body));
    vector(name, request, index, &envelope, "valid")
}

fn vector(
    name: &str,
    request: &SettlementRequest,
    index: u64,
    envelope: &Envelope,
    verdict: &str,
) -> Value {
    json!({
        "name": name,
        "request_hash": request.hash().to_string(),
        "index": index,
        "answer": hex::encode(&envelope.answer),
        "answer_hash": AnswerHash::of(&envelope.answer).to_string(),
        "signature": envelope.signature.to_string(),
        "verdict": verdict,
    })
}

/// What reads well and is not the settlement node's word on this question.
fn refused(request: &SettlementRequest) -> Vec<Value> {
    let said = answer(AnswerBody::Lock(None));
    let (hash, ours) = (request.hash(), sealer(SETTLEMENT, network_id()));
    let good = ours.seal(hash, 0, &said);
    let mut later = good.clone();
    later.answer[1] ^= 1;
    let mut tampered = *good.signature.as_bytes();
    tampered[0] ^= 1;
    let signature = Signature::from_bytes(tampered);
    let other_question = read(ReadKind::Account).hash();
    let other_network = NetworkId::from_bytes([0x4e; 32]);
    let cases = [
        ("to another question", ours.seal(other_question, 0, &said)),
        ("at another place", ours.seal(hash, 1, &said)),
        (
            "of another network",
            sealer(SETTLEMENT, other_network).seal(hash, 0, &said),
        ),
        (
            "by another key",
            sealer(1, network_id()).seal(hash, 0, &said),
        ),
        ("with another time", later),
        ("with one bit of R flipped", Envelope { signature, ..good }),
    ];
    let cases = cases.iter();
    cases
        .map(|(name, envelope)| vector(name, request, 0, envelope, "refused"))
        .collect()
}

/// What is well sealed and no answer.
fn malformed(request: &SettlementRequest, statement: &AnswerBody) -> Vec<Value> {
    let bytes = |body: AnswerBody| answer(body).to_bytes();
    let changed = |mut bytes: Vec<u8>, at: usize, to: u8| {
        bytes[at] = to;
        bytes
    };
    let lock = bytes(AnswerBody::Lock(None));
    let refusal = bytes(AnswerBody::Refused(Refusal::Expired));
    let statement = bytes(statement.clone());
    let more_at = 9 + 56 + 144;
    let cases = [
        ("empty", Vec::new()),
        ("kind 5", changed(lock.clone(), 0, 5)),
        ("a flag that is 2", changed(lock.clone(), 9, 2)),
        ("one byte too long", [lock.clone(), vec![0]].concat()),
        ("cut short by one byte", lock[..lock.len() - 1].to_vec()),
        ("refused for nothing", changed(refusal.clone(), 9, 0)),
        ("refused for what there is not", changed(refusal, 9, 99)),
        ("more that is 2", changed(statement.clone(), more_at, 2)),
        ("256 lines", changed(statement.clone(), more_at + 2, 1)),
        (
            "a line less than it says",
            changed(statement, more_at + 1, 4),
        ),
    ];
    let sealed = |(name, answer): (&str, Vec<u8>)| {
        let signature = seal_bytes(request.hash(), &answer);
        let envelope = Envelope { answer, signature };
        let mut vector = vector(name, request, 0, &envelope, "malformed");
        let error = SettlementAnswer::from_bytes(&envelope.answer).unwrap_err();
        vector["reason"] = error.to_string().into();
        vector
    };
    cases.into_iter().map(sealed).collect()
}

fn seal_bytes(request_hash: RequestHash, answer: &[u8]) -> Signature {
    let seal = seedbank_ledger::signed::answer::AnswerSeal {
        network_id: network_id(),
        request_hash,
        index: 0,
        answer_hash: AnswerHash::of(answer),
    };
    seal.sign(&identity(SETTLEMENT)).signature
}

/// Judges the file as a stranger would; returns how many answers were of each verdict.
pub(super) fn judge_link(file: &Value) -> [usize; 3] {
    let network_id = NetworkId::from_bytes(super::array(file, "network_id"));
    let settlement = seedbank_ledger::NodeId::from_bytes(super::array(file, "settlement"));
    for vector in file["requests"].as_array().unwrap() {
        let (name, bytes) = (super::text(vector, "name"), super::bytes(vector, "request"));
        let hash = RequestHash::of(&bytes).to_string();
        assert_eq!(hash, super::text(vector, "request_hash"), "{name}");
        match SettlementRequest::from_bytes(&bytes) {
            Ok(request) => {
                assert_eq!(super::text(vector, "verdict"), "valid", "{name}");
                assert_eq!(request.to_bytes(), bytes, "{name}");
                assert_eq!(request.check(&Ed25519, network_id), Ok(()), "{name}");
            }
            Err(error) => {
                assert_eq!(super::text(vector, "verdict"), "malformed", "{name}");
                assert_eq!(error.to_string(), super::text(vector, "reason"), "{name}");
            }
        }
    }
    let mut counts = [0; 3];
    for vector in file["answers"].as_array().unwrap() {
        let name = super::text(vector, "name");
        let envelope = Envelope {
            answer: super::bytes(vector, "answer"),
            signature: Signature::from_bytes(super::array(vector, "signature")),
        };
        let hash = AnswerHash::of(&envelope.answer).to_string();
        assert_eq!(hash, super::text(vector, "answer_hash"), "{name}");
        let request = RequestHash::from_bytes(super::array(vector, "request_hash"));
        let index = vector["index"].as_u64().unwrap();
        let opened = envelope.open(&Ed25519, network_id, &settlement, request, index);
        let (verdict, count) = match &opened {
            Ok(answer) => {
                assert_eq!(answer.to_bytes(), envelope.answer, "{name}");
                ("valid", 2)
            }
            Err(EnvelopeError::Seal(_)) => ("refused", 1),
            Err(EnvelopeError::Layout(error)) => {
                assert_eq!(error.to_string(), super::text(vector, "reason"), "{name}");
                ("malformed", 0)
            }
        };
        assert_eq!(
            super::text(vector, "verdict"),
            verdict,
            "{name}: {opened:?}"
        );
        counts[count] += 1;
    }
    counts
}
