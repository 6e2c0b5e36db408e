//! The settlement node's answers, read byte by byte as docs/PROTOCOL.md §7.1 writes them and held
//! against the naive book: what became of a question, what its asker may know, and the seal.
//!
//! Written from the text, without the codec: only the questions are made with it.

use std::collections::BTreeMap;

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{SettlementNode, SettlementRequest};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::statement::Operation;
use seedbank_ledger::{Sequence, UnixTime};

use super::signing::operation;
use super::{SETTLEMENT, STRANGER, Schedule, open};
use crate::book::{Answer, Line, Party, Try};
use crate::draw::{id, key};

/// Takes fields off an answer, front to back.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (front, rest) = self.0.split_first_chunk().expect("a field is whole");
        self.0 = rest;
        *front
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn is_there(&mut self) -> bool {
        let flag = self.u8();
        assert!(flag <= 1, "a flag is 0 or 1");
        flag == 1
    }
}

/// A lock status: number, claimed, closed.
fn lock_status(bytes: &mut Fields<'_>) -> (u64, u128, bool) {
    let lock: [u8; 156] = bytes.take();
    let signature: [u8; 64] = bytes.take();
    check_signed(b"sb1/lock", &lock, signature);
    let (claimed, closed) = (bytes.u64(), bytes.is_there());
    let number = u64::from_le_bytes(*lock[32..].first_chunk().unwrap());
    (number, claimed.into(), closed)
}

/// What a line says, and the one before it.
fn line(bytes: &mut Fields<'_>, owner: Party) -> (Line, Option<u64>) {
    let len = bytes.u16().into();
    let (own, rest) = bytes.0.split_at(len);
    bytes.0 = rest;
    let mut bytes = Fields(own);
    match bytes.u8() {
        8 => drop(bytes.take::<8>()),
        9 => drop(bytes.take::<280>()),
        2..=7 | 12 => drop(bytes.take::<229>()),
        kind => panic!("no line is of kind {kind}"),
    }
    let (refusal, amount) = (bytes.u16(), bytes.u64());
    if bytes.is_there() {
        lock_status(&mut bytes);
    }
    let previous = bytes.is_there().then(|| bytes.u64());
    let _hash: [u8; 32] = bytes.take();
    let certificate: [u8; 120] = bytes.take();
    let signature: [u8; 64] = bytes.take();
    check_signed(b"sb1/cert", &certificate, signature);
    let reason_len = usize::from(bytes.u16());
    assert_eq!(bytes.0.len(), reason_len, "a line ends where it says");
    let mut body = Fields(&certificate);
    let _network: [u8; 32] = body.take();
    let sequence = body.u64();
    let (_hash, _time): ([u8; 32], u64) = (body.take(), body.u64());
    assert_eq!(
        &body.take::<32>(),
        id(owner).as_bytes(),
        "certified to its owner"
    );
    let line = Line {
        sequence,
        amount: amount.into(),
        available_after: body.u64().into(),
        refusal: Refusal::from_code(refusal),
    };
    (line, previous)
}

fn check_signed(tag: &[u8], body: &[u8], signature: [u8; 64]) {
    let mut message = tag.to_vec();
    message.resize(16, 0);
    message.extend_from_slice(body);
    let signature = seedbank_ledger::Signature::from_bytes(signature);
    id(SETTLEMENT).verify(&message, &signature).unwrap();
}

impl Schedule {
    /// A group of orders, claims and reads, asked as members ask them.
    fn ask(&mut self, reached: &mut BTreeMap<&'static str, u32>) {
        if self.draw.chance(40) {
            self.now = self.moment();
        }
        let mut group = Vec::new();
        for _ in 0..self.draw.below(4) {
            let attempt = self.attempt(&group);
            if !matches!(attempt, Try::Expiry(_)) {
                group.push(attempt);
                self.tried.push(attempt);
            }
        }
        // A question that enters nothing lets no time pass.
        let answers = match group.as_slice() {
            [] => Vec::new(),
            some => self.book.submit(self.now, some),
        };
        let network_id = self.genesis.network_id();
        for (attempt, answer) in group.iter().zip(&answers) {
            if let (Try::Order(order), Answer::Entered(number, None)) = (attempt, answer) {
                let hash = super::signing::order_of(network_id, order).body.hash();
                self.opened.insert(*number, hash);
            }
        }
        let mut asked: Vec<SettlementRequest> = Vec::new();
        for attempt in &group {
            let random = [self.draw.of(&[0, 1, 0x5a, 0xff]); 16];
            asked.push(match operation(network_id, attempt, &self.opened) {
                Operation::Order(order) => SettlementRequest::Submit { random, order },
                Operation::Claim(claim) => SettlementRequest::Claim { random, claim },
                Operation::Expiry(_) => unreachable!("nobody can ask for it"),
            });
        }
        let reads: Vec<(Party, ReadKind, i64)> = (0..2).map(|_| self.wonder()).collect();
        let time = self.now.max(self.book.time);
        for (party, kind, ahead) in &reads {
            let body = ReadRequest {
                network_id,
                account: id(*party),
                kind: *kind,
                random: [3; 16],
                valid_until: UnixTime::from_secs(time.saturating_add_signed(*ahead)),
            };
            asked.push(SettlementRequest::Read(body.sign(&key(*party))));
        }
        let ledger = open(&self.store, &self.genesis, self.now);
        let mut node = SettlementNode::new(ledger, None);
        let given = node.answer(UnixTime::from_secs(self.now), &asked);
        let mut told = Vec::new();
        for (question, answered) in asked.iter().zip(given) {
            let request = *blake3::hash(&question.to_bytes()).as_bytes();
            let envelope = node
                .sealer()
                .seal(question.hash(), 5, &answered.unwrap().answer);
            let mut seal = network_id.as_bytes().to_vec();
            seal.extend_from_slice(&request);
            seal.extend_from_slice(&5_u64.to_le_bytes());
            seal.extend_from_slice(blake3::hash(&envelope.answer).as_bytes());
            check_signed(b"sb1/answer", &seal, *envelope.signature.as_bytes());
            told.push(envelope.answer);
        }
        self.ledger = open(&self.store, &self.genesis, self.now);
        let (operations, read) = told.split_at(group.len());
        for ((attempt, answer), bytes) in group.iter().zip(answers).zip(operations) {
            let name = self.judge_operation(time, attempt, answer, bytes);
            *reached.entry(name).or_default() += 1;
        }
        for ((party, kind, ahead), bytes) in reads.into_iter().zip(read) {
            let name = self.judge_read(time, (party, kind, ahead), bytes);
            *reached.entry(name).or_default() += 1;
        }
        self.compare_books();
    }

    /// What somebody wants to know, and for how long from now its question is good.
    fn wonder(&mut self) -> (Party, ReadKind, i64) {
        let parties: Vec<Party> = (0..=STRANGER).collect();
        let party = self.draw.of(&parties);
        let next = self.book.next + 2;
        let after = Some(self.draw.below(next)).filter(|after| *after > 0);
        let after = after.map(Sequence::new);
        let kind = match self.draw.below(4) {
            0 => ReadKind::Account,
            1 => {
                let locks: Vec<u64> = self.book.locks.keys().copied().collect();
                let number = match locks.as_slice() {
                    [] => 1,
                    some => self.draw.of(some),
                };
                ReadKind::Lock(LockId::new(number))
            }
            2 => ReadKind::Statement {
                after,
                count: self.draw.of(&[0, 1, 7, 255, u32::MAX]),
            },
            _ => ReadKind::Watch { after },
        };
        (party, kind, self.draw.of(&[-1, 0, 300, 600, 601]))
    }

    fn judge_operation(
        &self,
        time: u64,
        attempt: &Try,
        answer: Answer,
        bytes: &[u8],
    ) -> &'static str {
        let mut bytes = Fields(bytes);
        assert_eq!((bytes.u8(), bytes.u64()), (1, time));
        let (expected, sequence, name) = match answer {
            Answer::Entered(number, refusal) => (refusal, Some(number), "entered"),
            Answer::Known(number, refusal) => (refusal, Some(number), "known"),
            Answer::NonceUsed(number) => (Some(Refusal::WrongNonce), Some(number), "nonce used"),
            Answer::Refused(refusal) => (Some(refusal), None, "refused"),
            Answer::RefusedSomehow => unreachable!("nobody asks for an expiry"),
        };
        assert_eq!(
            bytes.u16(),
            expected.map_or(0, Refusal::code),
            "{attempt:?}"
        );
        let is_used = bytes.is_there();
        assert_eq!(is_used, matches!(answer, Answer::NonceUsed(_)));
        if is_used {
            let order: [u8; 229] = bytes.take();
            let Try::Order(own) = attempt else {
                panic!("a claim has no nonce");
            };
            assert_eq!(&order[32..64], id(own.account).as_bytes());
            assert_eq!(order[64..72], own.nonce.to_le_bytes());
        }
        assert_eq!(bytes.is_there().then(|| bytes.u64()), sequence);
        let has_line = bytes.is_there();
        assert_eq!(
            has_line,
            matches!(answer, Answer::Entered(..)),
            "{attempt:?}"
        );
        if has_line {
            let party = match attempt {
                Try::Order(order) => order.account,
                Try::Claim(claim) => claim.payee,
                Try::Expiry(_) => unreachable!("nobody asks for it"),
            };
            let (told, previous) = line(&mut bytes, party);
            self.judge_line(party, told, previous);
            assert_eq!(Some(told.sequence), sequence);
        }
        assert_eq!(bytes.0, [0; 0]);
        name
    }

    fn judge_line(&self, party: Party, told: Line, previous: Option<u64>) {
        let lines = self.book.account(party).lines;
        let at = lines.iter().position(|line| line.sequence == told.sequence);
        let at = at.unwrap_or_else(|| panic!("{party} has no line {}", told.sequence));
        assert_eq!(told, lines[at]);
        let before = at.checked_sub(1).map(|before| lines[before].sequence);
        assert_eq!(previous, before);
    }

    fn judge_read(
        &self,
        time: u64,
        (party, kind, ahead): (Party, ReadKind, i64),
        bytes: &[u8],
    ) -> &'static str {
        let mut bytes = Fields(bytes);
        let (number, told_at) = (bytes.u8(), bytes.u64());
        assert_eq!(told_at, time);
        if !(0..=600).contains(&ahead) {
            assert_eq!((number, bytes.u16()), (0, Refusal::Expired.code()));
            return "late or early";
        }
        let name = match kind {
            ReadKind::Account => {
                assert_eq!(number, 2);
                self.judge_account(party, &mut bytes);
                "account"
            }
            ReadKind::Lock(lock_id) => {
                assert_eq!(number, 3);
                let lock = self.book.locks.get(&lock_id.get());
                let own = lock.filter(|lock| party == lock.payer || party == lock.payee);
                assert_eq!(bytes.is_there(), own.is_some(), "{party}, {lock_id}");
                own.map_or("no lock", |lock| {
                    let told = lock_status(&mut bytes);
                    assert_eq!(told, (lock_id.get(), lock.claimed, lock.is_closed));
                    "lock"
                })
            }
            ReadKind::Statement { after, count } => {
                assert_eq!(number, 4);
                self.judge_page(party, after, count, &mut bytes)
            }
            ReadKind::Watch { after } => {
                assert_eq!(number, 4);
                self.judge_page(party, after, 255, &mut bytes);
                "watch"
            }
        };
        assert_eq!(bytes.0, [0; 0]);
        name
    }

    fn judge_account(&self, party: Party, bytes: &mut Fields<'_>) {
        let account = self.book.account(party);
        assert_eq!(&bytes.take::<32>(), id(party).as_bytes());
        assert_eq!(u128::from(bytes.u64()), account.available);
        assert_eq!(u128::from(bytes.u64()), self.book.reserved(party));
        assert_eq!(bytes.u64(), account.nonce);
        let head: [u8; 80] = bytes.take();
        let signature: [u8; 64] = bytes.take();
        check_signed(b"sb1/head", &head, signature);
        let mut head = Fields(&head);
        assert_eq!(&head.take::<32>(), self.genesis.network_id().as_bytes());
        assert_eq!(head.u64(), self.book.next, "as many entries as there are");
        let _hash: [u8; 32] = head.take();
        assert_eq!(head.u64(), self.book.time);
    }

    fn judge_page(
        &self,
        party: Party,
        after: Option<Sequence>,
        count: u32,
        bytes: &mut Fields<'_>,
    ) -> &'static str {
        self.judge_account(party, bytes);
        let (more, told) = (bytes.is_there(), bytes.u16());
        let after = after.map_or(0, Sequence::get);
        let lines = self.book.account(party).lines.into_iter();
        let new: Vec<Line> = lines.filter(|line| line.sequence > after).collect();
        let most = usize::try_from(count.clamp(1, 255)).unwrap();
        assert_eq!(usize::from(told), new.len().min(most));
        assert_eq!(more, new.len() > most);
        for expected in new.iter().take(most) {
            let (told, previous) = line(bytes, party);
            assert_eq!(told, *expected);
            self.judge_line(party, told, previous);
        }
        if more { "a page" } else { "a statement" }
    }
}

#[test]
fn the_settlement_node_answers_as_the_book_and_the_protocol_say() {
    let mut reached = BTreeMap::new();
    for rng_seed in 0..24 {
        let mut schedule = Schedule::new(rng_seed);
        for step in 0..120 {
            let asked = std::panic::AssertUnwindSafe(|| schedule.ask(&mut reached));
            if let Err(panic) = std::panic::catch_unwind(asked) {
                println!("schedule {rng_seed}, step {step}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{reached:?}");
    let names = "entered,known,nonce used,refused,late or early,account,lock,no lock,a page,\
                 a statement,watch";
    for name in names.split(',') {
        let count = reached.get(name).copied().unwrap_or_default();
        assert!(count > 20, "{name} was reached {count} times");
    }
}
