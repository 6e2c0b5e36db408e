//! What goes between a member and its settlement node: questions, sealed answers, and the lines of
//! a statement that a node copies into its own ledger.

use std::sync::LazyLock;

use seedbank_ledger::charts::node::{Membership, NodeCommand, NodeLedger};
use seedbank_ledger::entry::EntryKind;
use seedbank_ledger::identity::Ed25519;
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::settlement::codec::{SettlementAnswer, SettlementRequest};
use seedbank_ledger::settlement::envelope::Envelope;
use seedbank_ledger::signed::answer::RequestHash;
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{MicroCredits, NetworkId, NodeId, Signature, UnixTime};

use crate::signed::edited;
use crate::vectors;

/// What the vectors' settlement node was asked and said.
struct Said {
    network_id: NetworkId,
    settlement: NodeId,
    /// Questions that are in order, the random bytes of orders and claims blanked.
    questions: Vec<Vec<u8>>,
    answers: Vec<Sealed>,
}

/// An answer to a question, at its place.
struct Sealed {
    request: RequestHash,
    index: u64,
    envelope: Envelope,
}

static SAID: LazyLock<Said> = LazyLock::new(|| {
    let file = vectors::parsed(vectors::LINK);
    let questions = vectors::with_verdict(&file, "requests", "valid");
    let answers = vectors::with_verdict(&file, "answers", "valid");
    let sealed = |vector: &&serde_json::Value| Sealed {
        request: RequestHash::from_bytes(vectors::array(vector, "request_hash")),
        index: vector["index"].as_u64().expect("a place"),
        envelope: Envelope {
            answer: vectors::bytes(vector, "answer"),
            signature: Signature::from_bytes(vectors::array(vector, "signature")),
        },
    };
    Said {
        network_id: NetworkId::from_bytes(vectors::array(&file, "network_id")),
        settlement: NodeId::from_bytes(vectors::array(&file, "settlement")),
        questions: questions
            .iter()
            .map(|one| blanked(&vectors::bytes(one, "request")))
            .collect(),
        answers: answers.iter().map(sealed).collect(),
    }
});

/// A question without what its signer did not sign: the random bytes of an order or claim.
fn blanked(question: &[u8]) -> Vec<u8> {
    let mut question = question.to_vec();
    if let [1 | 2, random @ ..] = &mut *question {
        let len = random.len().min(16);
        random[..len].fill(0);
    }
    question
}

/// Behind one byte: a question, an answer, an envelope behind 64 bytes of signature, or changes of
/// a genuine question or envelope.
pub(crate) fn link(bytes: &[u8]) -> bool {
    let Some((how, rest)) = bytes.split_first() else {
        return false;
    };
    let said = &*SAID;
    match how % 5 {
        0 => question(rest),
        1 => answer(rest),
        2 => rest.split_first().is_some_and(|(which, sealed)| {
            let to = &said.answers[usize::from(*which) % said.answers.len()];
            sealed
                .split_first_chunk()
                .is_some_and(|(signature, answer)| {
                    let signature = Signature::from_bytes(*signature);
                    let answer = answer.to_vec();
                    envelope(&Envelope { answer, signature }, to)
                })
        }),
        3 => rest.split_first().is_some_and(|(which, edits)| {
            let genuine = &said.questions[usize::from(*which) % said.questions.len()];
            question(&edited(genuine, edits))
        }),
        _ => rest.split_first().is_some_and(|(which, edits)| {
            let to = &said.answers[usize::from(*which) % said.answers.len()];
            let genuine = &to.envelope;
            let bytes = [&genuine.signature.as_bytes()[..], &genuine.answer].concat();
            let bytes = edited(&bytes, edits);
            let (signature, answer) = bytes.split_first_chunk().expect("64 bytes and more");
            let changed = Envelope {
                answer: answer.to_vec(),
                signature: Signature::from_bytes(*signature),
            };
            envelope(&changed, to)
        }),
    }
}

/// A question has one byte string, and is let in only if its account asked it.
fn question(bytes: &[u8]) -> bool {
    let Ok(question) = SettlementRequest::from_bytes(bytes) else {
        return false;
    };
    assert_eq!(question.to_bytes(), bytes);
    assert_eq!(question.hash(), RequestHash::of(bytes));
    let is_let_in = question.check(&Ed25519, SAID.network_id).is_ok();
    assert_eq!(is_let_in, SAID.questions.contains(&blanked(bytes)));
    true
}

fn answer(bytes: &[u8]) -> bool {
    let Ok(answer) = SettlementAnswer::from_bytes(bytes) else {
        return false;
    };
    assert_eq!(answer.to_bytes(), bytes);
    true
}

/// An envelope opens only if the settlement node sealed this answer to this question and place.
fn envelope(envelope: &Envelope, to: &Sealed) -> bool {
    answer(&envelope.answer);
    let said = &*SAID;
    let (request, index) = (to.request, to.index);
    let opened = envelope.open(&Ed25519, said.network_id, &said.settlement, request, index);
    let is_genuine = said.answers.iter().any(|known| {
        (known.request, known.index) == (request, index) && known.envelope == *envelope
    });
    assert_eq!(opened.is_ok(), is_genuine);
    if let Ok(opened) = &opened {
        assert_eq!(opened.to_bytes(), envelope.answer);
    }
    is_genuine
}

/// The vectors' accounts, each with its lines in order.
struct Accounts {
    membership: Membership,
    lines: Vec<(NodeId, Vec<StatementLine>)>,
}

static ACCOUNTS: LazyLock<Accounts> = LazyLock::new(|| {
    let file = vectors::parsed(vectors::LINE);
    let mut lines: Vec<(NodeId, Vec<StatementLine>)> = Vec::new();
    for vector in vectors::with_verdict(&file, "vectors", "certified") {
        let line = StatementLine::from_bytes(&vectors::bytes(vector, "bytes")).expect("a line");
        let account = line.certificate.body.account;
        match lines.last_mut() {
            Some((last, lines)) if *last == account => lines.push(line),
            Some(_) | None => lines.push((account, vec![line])),
        }
    }
    let membership = Membership {
        network_id: NetworkId::from_bytes(vectors::array(&file, "network_id")),
        settlement: NodeId::from_bytes(vectors::array(&file, "settlement")),
    };
    Accounts { membership, lines }
});

/// A line; or from 128 on, changes of a genuine one on its way into its account's ledger.
pub(crate) fn statement(bytes: &[u8]) -> bool {
    let Some((how, rest)) = bytes.split_first() else {
        return false;
    };
    match how & 0x80 {
        0 => {
            let kind = EntryKind::from_code(how & 0x1f);
            kind.is_some_and(|kind| operation(kind, rest)) | line(rest).is_some()
        }
        _ => {
            let accounts = &ACCOUNTS.lines;
            let (account, lines) = &accounts[usize::from(*how) % accounts.len()];
            rest.split_first().is_some_and(|(which, edits)| {
                let which = usize::from(*which) % lines.len();
                copied(*account, &lines[..=which], edits)
            })
        }
    }
}

fn operation(kind: EntryKind, bytes: &[u8]) -> bool {
    let Ok(operation) = Operation::from_bytes(kind, bytes) else {
        return false;
    };
    assert_eq!(operation.to_bytes(), bytes);
    assert_eq!(operation.kind(), kind);
    true
}

/// A line has one byte string, and is certified only if it is a genuine one.
fn line(bytes: &[u8]) -> Option<StatementLine> {
    let line = StatementLine::from_bytes(bytes).ok()?;
    assert_eq!(line.to_bytes(), bytes);
    let accounts = &*ACCOUNTS;
    let Membership {
        network_id,
        settlement,
    } = accounts.membership;
    for (account, lines) in &accounts.lines {
        let verified = line.verify(&Ed25519, network_id, &settlement, account);
        let is_known = lines
            .iter()
            .any(|known| signed_part(known) == signed_part(&line));
        assert!(verified.is_err() || is_known, "nobody certified that");
    }
    let told = line.clone().with_signed_reason_only();
    assert!(told.reason_bytes.is_empty() || told == line);
    Some(line)
}

/// A line without what only the seal of its answer vouches for, and without its reason.
fn signed_part(line: &StatementLine) -> StatementLine {
    let mut line = line.clone();
    line.previous = None;
    line.reason_bytes.clear();
    if let Some(lock) = &mut line.lock {
        lock.claimed = MicroCredits::ZERO;
        lock.closed = false;
    }
    line
}

/// The last of these lines is changed on its way: the ledger takes the ones before, and that one
/// only if nothing of it differs that the ledger goes by.
fn copied(account: NodeId, lines: &[StatementLine], edits: &[u8]) -> bool {
    let (genuine, before) = lines.split_last().expect("one line at least");
    let Some(changed) = line(&edited(&genuine.to_bytes(), edits)) else {
        return false;
    };
    let now = UnixTime::from_secs(2_000_000);
    let membership = Some(ACCOUNTS.membership);
    let mut ledger = NodeLedger::open(Memory::new(), account, membership, now).expect("in memory");
    let settled = |line: &StatementLine| NodeCommand::Settled(Box::new(line.clone()));
    let group: Vec<NodeCommand> = before.iter().map(settled).collect();
    let outcomes = ledger.append(now, &group).expect("in memory");
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Entered { .. }))
    );
    let head = ledger.head();
    let outcomes = ledger.append(now, &[settled(&changed)]).expect("in memory");
    match &outcomes[..] {
        [Outcome::Entered { .. }] => {
            assert_eq!(signed_part(&changed), signed_part(genuine));
            assert_eq!(changed.previous, genuine.previous);
        }
        [Outcome::Refused(_)] => {
            assert_ne!(changed, *genuine);
            assert_eq!(ledger.head(), head);
        }
        other => panic!("{other:?}"),
    }
    true
}
