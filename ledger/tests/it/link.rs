//! Questions, answers and envelopes: one byte string each, bounds kept, and whatever is changed on
//! the way does not open.

use std::sync::Arc;

use proptest::prelude::*;
use seedbank_ledger::identity::Ed25519;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::codec::{
    ANSWER_LEN_MAX, AccountAnswer, AnswerBody, OperationAnswer, PAGE_LINES_MAX, REQUEST_LEN_MAX,
    SettlementAnswer, SettlementRequest, Statement,
};
use seedbank_ledger::settlement::envelope::{Envelope, EnvelopeError, Sealer};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::answer::RequestHash;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::{Identity, NetworkId, Sequence, Signature, UnixTime};

use crate::laws::{attempts, run};
use crate::world::{
    START, World, channel, claim, id, identity, network_id, order, receipt, transfer,
};

const RANDOM: [u8; 16] = [0x5a; 16];

fn settlement() -> Arc<Identity> {
    Arc::new(Identity::from_secret([99; 32]))
}

fn sealer() -> Sealer {
    Sealer::new(settlement(), network_id())
}

fn open(envelope: &Envelope, request: RequestHash) -> Result<SettlementAnswer, EnvelopeError> {
    envelope.open(&Ed25519, network_id(), &settlement().id(), request, 0)
}

/// One question of each kind.
fn requests() -> Vec<SettlementRequest> {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let signed = receipt(&channel(&world.network, lock_id, 1, 2), 1, 10, 60);
    let read = |kind| {
        let body = ReadRequest {
            network_id: network_id(),
            account: id(1),
            kind,
            random: RANDOM,
            valid_until: START.plus_secs(60),
        };
        SettlementRequest::Read(body.sign(&identity(1)))
    };
    let after = Some(Sequence::new(3));
    vec![
        SettlementRequest::Submit {
            random: RANDOM,
            order: order(1, 2, transfer(2, 5)),
        },
        SettlementRequest::Claim {
            random: RANDOM,
            claim: claim(lock_id, 2, signed),
        },
        read(ReadKind::Account),
        read(ReadKind::Lock(lock_id)),
        read(ReadKind::Statement { after, count: 9 }),
        read(ReadKind::Watch { after }),
    ]
}

/// Answers of every kind that a world can give to account 1.
fn answers(world: &World) -> Vec<SettlementAnswer> {
    let lines = world.network.statement(&id(1), None, 9).unwrap();
    let account = AccountAnswer {
        status: world.network.account(&id(1)).unwrap(),
        head: world.network.signed_head().unwrap(),
    };
    let lock = |line: &StatementLine| line.lock;
    let operation = |line: &StatementLine| {
        let used_by = match line.operation {
            Operation::Order(order) => Some(order),
            Operation::Claim(_) | Operation::Expiry(_) => None,
        };
        AnswerBody::Operation(Box::new(OperationAnswer {
            refusal: line.refusal,
            used_by,
            sequence: Some(line.certificate.body.sequence),
            line: Some(line.clone()),
        }))
    };
    let mut bodies = vec![
        AnswerBody::Refused(Refusal::Expired),
        AnswerBody::Operation(Box::new(OperationAnswer {
            refusal: Some(Refusal::NoStanding),
            used_by: None,
            sequence: None,
            line: None,
        })),
        AnswerBody::Account(account),
        AnswerBody::Lock(None),
    ];
    bodies.extend(lines.iter().map(operation));
    let locks = lines.iter().filter_map(lock);
    bodies.extend(locks.map(|lock| AnswerBody::Lock(Some(lock))));
    for more in [false, true] {
        let lines = lines.clone();
        bodies.push(AnswerBody::Statement(Statement {
            account,
            more,
            lines,
        }));
    }
    let time = START.plus_secs(7);
    let bodies = bodies.into_iter();
    bodies.map(|body| SettlementAnswer { time, body }).collect()
}

#[test]
fn a_question_reads_back_and_no_part_of_it_does() {
    for request in requests() {
        let bytes = request.to_bytes();
        assert!(bytes.len() <= REQUEST_LEN_MAX);
        assert_eq!(SettlementRequest::from_bytes(&bytes), Ok(request.clone()));
        for len in 0..bytes.len() {
            assert!(SettlementRequest::from_bytes(&bytes[..len]).is_err());
        }
        let longer = [bytes, vec![0]].concat();
        assert!(SettlementRequest::from_bytes(&longer).is_err());
        assert_eq!(request.check(&Ed25519, network_id()), Ok(()));
        let other = NetworkId::from_bytes([7; 32]);
        let checked = request.check(&Ed25519, other);
        assert_eq!(checked, Err(Refusal::WrongNetwork));
    }
}

/// Every bit of every question is in its hash, and all but the random ones of an order or claim
/// are under its signature.
#[test]
fn a_question_that_was_changed_is_another_one() {
    for request in requests() {
        let bytes = request.to_bytes();
        let is_random = |at: usize| !matches!(request, SettlementRequest::Read(_)) && at <= 16;
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            if let Ok(changed) = SettlementRequest::from_bytes(&changed) {
                assert_ne!(changed.hash(), request.hash());
                let checked = changed.check(&Ed25519, network_id());
                assert_eq!(checked.is_ok(), is_random(at), "byte {at}");
            }
        }
    }
}

#[test]
fn an_answer_fits_one_question_one_network_and_one_place() {
    let world = World::funded(2);
    let requests = requests();
    let hash = requests[0].hash();
    for answer in answers(&world) {
        let envelope = sealer().seal(hash, 0, &answer);
        assert_eq!(open(&envelope, hash), Ok(answer.clone()));
        for other in &requests[1..] {
            assert!(open(&envelope, other.hash()).is_err());
        }
        let key = settlement().id();
        let other = NetworkId::from_bytes([7; 32]);
        let opened = [
            envelope.open(&Ed25519, network_id(), &key, hash, 1),
            envelope.open(&Ed25519, other, &key, hash, 0),
            envelope.open(&Ed25519, network_id(), &id(1), hash, 0),
        ];
        for opened in opened {
            assert!(matches!(opened, Err(EnvelopeError::Seal(_))), "{opened:?}");
        }
    }
}

/// Any bit of an answer, in any field, and any of its seal.
#[test]
fn an_answer_that_was_changed_does_not_open() {
    let mut world = World::funded(2);
    world.lock(1, 2, 100);
    let hash = requests()[0].hash();
    for answer in answers(&world) {
        let envelope = sealer().seal(hash, 0, &answer);
        for at in (0..envelope.answer.len()).step_by(3) {
            let mut changed = envelope.clone();
            changed.answer[at] ^= 1;
            assert!(open(&changed, hash).is_err(), "byte {at}");
        }
        let mut signature = *envelope.signature.as_bytes();
        signature[40] ^= 1;
        let signature = Signature::from_bytes(signature);
        assert!(
            open(
                &Envelope {
                    signature,
                    ..envelope
                },
                hash
            )
            .is_err()
        );
    }
}

#[test]
fn the_longest_page_fits_and_one_line_more_does_not_read() {
    let mut world = World::funded(2);
    for nonce in 1..=300 {
        world.one(Operation::Order(order(1, nonce, transfer(0, 1))));
    }
    let lines = world.network.statement(&id(1), None, usize::MAX).unwrap();
    let page = |lines: &[StatementLine]| SettlementAnswer {
        time: UnixTime::ZERO,
        body: AnswerBody::Statement(Statement {
            account: AccountAnswer {
                status: world.network.account(&id(1)).unwrap(),
                head: world.network.signed_head().unwrap(),
            },
            more: true,
            lines: lines.to_vec(),
        }),
    };
    let longest = page(&lines[..PAGE_LINES_MAX]);
    let bytes = longest.to_bytes();
    assert!(bytes.len() <= ANSWER_LEN_MAX);
    assert_eq!(SettlementAnswer::from_bytes(&bytes), Ok(longest));
    let longer = page(&lines[..=PAGE_LINES_MAX]).to_bytes();
    let error = SettlementAnswer::from_bytes(&longer).unwrap_err();
    assert_eq!(error.to_string(), "lines is 256 long, at most 255");
    let error = SettlementAnswer::from_bytes(&vec![4; ANSWER_LEN_MAX + 1]).unwrap_err();
    assert!(error.to_string().starts_with("answer is"), "{error}");
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => any::<u8>(), 3 => Just(0_u8), 3 => 0..18_u8];
    prop::collection::vec(byte, 0..700)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn garbage_is_an_error_or_reads_back(garbage in hostile(), kind in 0..6_u8) {
        for bytes in [garbage.clone(), [vec![kind], garbage].concat()] {
            if let Ok(request) = SettlementRequest::from_bytes(&bytes) {
                prop_assert_eq!(request.to_bytes(), bytes.clone());
            }
            if let Ok(answer) = SettlementAnswer::from_bytes(&bytes) {
                prop_assert_eq!(answer.to_bytes(), bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn answers_of_any_history_read_back_and_no_part_of_them_does(
        tries in attempts(), cut in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let (world, _) = run(&tries);
        let none = AnswerBody::Lock(world.network.lock(LockId::new(u64::MAX)).unwrap());
        prop_assert_eq!(none, AnswerBody::Lock(None));
        for answer in answers(&world) {
            let bytes = answer.to_bytes();
            prop_assert_eq!(SettlementAnswer::from_bytes(&bytes), Ok(answer));
            for len in 0..bytes.len().min(400) {
                prop_assert!(SettlementAnswer::from_bytes(&bytes[..len]).is_err());
            }
            let mut changed = bytes.clone();
            changed[cut.index(bytes.len())] = byte;
            if let Ok(answer) = SettlementAnswer::from_bytes(&changed) {
                prop_assert_eq!(answer.to_bytes(), changed);
            }
        }
    }
}
