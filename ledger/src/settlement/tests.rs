//! Tests of the settlement node: a small network in memory, asked as its members ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::charts::network::NetworkLedger;
use crate::entry::{Entry, EntryHash};
use crate::genesis::Genesis;
use crate::identity::{Identity, NodeId};
use crate::ledger::{LedgerError, is_empty};
use crate::refusal::Refusal;
use crate::signed::Body as _;
use crate::signed::claim::Claim;
use crate::signed::lock::LockId;
use crate::signed::order::{Order, OrderKind, SignedOrder};
use crate::signed::read::{ReadKind, ReadRequest};
use crate::signed::receipt::Receipt;
use crate::statement::Operation;
use crate::store::{
    Batch, Durability, KeyValue, Memory, Snapshot, Store, StoreError, StoreRead, Table,
};
use crate::time::UnixTime;
use crate::units::{Bytes, MicroCredits, Sequence};

const SETTLEMENT: u8 = 201;
const ISSUER: u8 = 202;
const NOW: UnixTime = UnixTime::from_secs(1_000_000);

fn key(byte: u8) -> Identity {
    Identity::from_secret([byte; 32])
}

fn open<S: Store + Clone + 'static>(store: &S, issuer: Option<u8>) -> SettlementNode<S> {
    let text = Genesis::render("testers", key(SETTLEMENT).id(), &[key(ISSUER).id()]).unwrap();
    let text = text.replace(
        "transfer_microcredits_min = 1000",
        "transfer_microcredits_min = 1",
    );
    let genesis = Genesis::parse(&text).unwrap();
    let ledger = if is_empty(store).unwrap() {
        NetworkLedger::found(store.clone(), genesis, key(SETTLEMENT), NOW)
    } else {
        NetworkLedger::open(store.clone(), genesis, key(SETTLEMENT), None)
    };
    let issuing = issuer.map(|byte| Issuing::new(key(byte), store.clone()));
    SettlementNode::new(ledger.unwrap(), issuing)
}

/// A network in which the first four keys have 500 each.
fn funded() -> SettlementNode<Memory> {
    let mut node = open(&Memory::new(), Some(ISSUER));
    for byte in 1..=4 {
        let id = format!("start {byte}");
        node.grant(NOW, &grant(&id, byte, 500)).unwrap();
    }
    node
}

fn grant(request_id: &str, to: u8, amount: u64) -> NewGrant {
    NewGrant {
        request_id: request_id.to_owned(),
        to: key(to).id(),
        amount: MicroCredits::new(amount),
        reason: "welcome".to_owned(),
    }
}

fn order(node: &SettlementNode<Memory>, byte: u8, nonce: u64, kind: OrderKind) -> SignedOrder {
    let order = Order {
        network_id: node.ledger().network_id(),
        account: key(byte).id(),
        nonce,
        valid_until: NOW.plus_secs(60),
        kind,
        memo_hash: [0; 32],
    };
    order.sign(&key(byte))
}

fn transfer(to: u8, amount: u64) -> OrderKind {
    OrderKind::Transfer {
        to: key(to).id(),
        amount: MicroCredits::new(amount),
    }
}

fn submit(order: SignedOrder) -> SettlementRequest {
    let random = [0; 16];
    SettlementRequest::Submit { random, order }
}

fn read_at(byte: u8, kind: ReadKind, valid_until: UnixTime) -> SettlementRequest {
    let read = ReadRequest {
        network_id: open(&Memory::new(), None).ledger().network_id(),
        account: key(byte).id(),
        kind,
        random: [0; 16],
        valid_until,
    };
    SettlementRequest::Read(read.sign(&key(byte)))
}

fn read(byte: u8, kind: ReadKind) -> SettlementRequest {
    read_at(byte, kind, NOW.plus_secs(60))
}

fn lines_after(byte: u8, after: Option<Sequence>) -> SettlementRequest {
    let count = u32::MAX;
    read(byte, ReadKind::Statement { after, count })
}

fn one(node: &mut SettlementNode<Memory>, question: SettlementRequest) -> AnswerBody {
    let answered = node.answer(NOW, &[question]).remove(0).unwrap();
    assert_eq!(answered.answer.time, NOW);
    answered.answer.body
}

fn told(node: &mut SettlementNode<Memory>, question: SettlementRequest) -> OperationAnswer {
    match one(node, question) {
        AnswerBody::Operation(told) => *told,
        other => panic!("{other:?}"),
    }
}

fn page(node: &mut SettlementNode<Memory>, question: SettlementRequest) -> Statement {
    match one(node, question) {
        AnswerBody::Statement(statement) => statement,
        other => panic!("{other:?}"),
    }
}

fn entries(node: &SettlementNode<Memory>) -> Vec<Entry> {
    let all = node.ledger().entries(Sequence::ZERO, usize::MAX);
    all.unwrap()
}

/// A lock of 300 from 1 to 2, and a claim of `amount` on it.
fn lock_and_claim(node: &mut SettlementNode<Memory>, amount: u64) -> (LockId, SettlementRequest) {
    let open = OrderKind::OpenLock {
        payee: key(2).id(),
        amount: MicroCredits::new(300),
        ttl_secs: 3_600,
    };
    let opened = submit(order(node, 1, 1, open));
    let opened = told(node, opened);
    let lock = opened.line.unwrap().lock.unwrap().lock.body;
    let receipt = Receipt {
        network_id: lock.network_id,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(1 << 20),
        amount: MicroCredits::new(amount),
    };
    let claim = Claim {
        network_id: lock.network_id,
        lock_id: lock.lock_id,
        payee: key(2).id(),
        receipt: receipt.sign(&key(1)),
    };
    let claim = claim.sign(&key(2));
    let random = [0; 16];
    (lock.lock_id, SettlementRequest::Claim { random, claim })
}

/// Orders and claims of several accounts, some of which are refused, with reads among them.
fn questions(node: &mut SettlementNode<Memory>) -> Vec<SettlementRequest> {
    let (lock_id, claim) = lock_and_claim(node, 120);
    let first = order(node, 3, 1, transfer(4, 100));
    let forged = SignedOrder {
        signature: first.signature,
        ..order(node, 4, 1, transfer(1, 1))
    };
    vec![
        submit(first),
        claim.clone(),
        read(2, ReadKind::Lock(lock_id)),
        submit(forged),
        // On a nonce that was used in the same group.
        submit(order(node, 3, 1, transfer(2, 7))),
        claim,
        lines_after(4, None),
        submit(order(node, 3, 2, transfer(4, 9_999))),
        submit(order(node, 2, 1, transfer(1, 600))),
    ]
}

#[test]
fn a_group_is_answered_and_entered_as_its_questions_are_one_at_a_time() {
    let (mut together, mut alone) = (funded(), funded());
    let group = questions(&mut together);
    assert_eq!(group, questions(&mut alone));
    let answers = together.answer(NOW, &group);
    assert_eq!(answers.len(), group.len());
    let mut refusals = Vec::new();
    for (answer, question) in answers.into_iter().zip(group) {
        let one = one(&mut alone, question);
        match (answer.unwrap().answer.body, one) {
            (AnswerBody::Operation(grouped), AnswerBody::Operation(one)) => {
                assert_eq!(grouped, one);
                refusals.push(grouped.refusal);
            }
            (AnswerBody::Statement(grouped), AnswerBody::Statement(one)) => {
                // What came later in the group may be told already.
                assert_eq!(grouped.lines[..one.lines.len()], one.lines);
                refusals.push(None);
            }
            (AnswerBody::Lock(Some(grouped)), AnswerBody::Lock(Some(one))) => {
                assert_eq!(grouped, one);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        refusals,
        [
            None,
            None,
            Some(Refusal::BadSignature),
            Some(Refusal::WrongNonce),
            None,
            None,
            Some(Refusal::InsufficientCredit),
            None
        ]
    );
    assert_eq!(entries(&together), entries(&alone));
    for byte in 1..=4 {
        let statement = together.statement(&key(byte).id(), None, PAGE_LINES_MAX);
        assert_eq!(
            statement,
            alone.statement(&key(byte).id(), None, PAGE_LINES_MAX)
        );
    }
    together.ledger().check_invariants().unwrap();
}

#[test]
fn a_used_nonce_is_answered_with_the_order_that_used_it() {
    let mut node = funded();
    let first = order(&node, 1, 1, transfer(2, 200));
    let entered = told(&mut node, submit(first));
    let line = entered.line.expect("this question entered it");
    assert_eq!((entered.refusal, entered.used_by), (None, None));
    assert_eq!(entered.sequence, Some(line.certificate.body.sequence));
    assert_eq!(line.operation, Operation::Order(first));
    assert_eq!(line.certificate.body.account, key(1).id());
    let rival = submit(order(&node, 1, 1, transfer(3, 200)));
    let rival = told(&mut node, rival);
    assert_eq!(rival.refusal, Some(Refusal::WrongNonce));
    assert_eq!(rival.used_by, Some(first));
    assert_eq!((rival.sequence, rival.line), (entered.sequence, None));
    let account = node.ledger().account(&key(1).id()).unwrap();
    assert_eq!(account.available, MicroCredits::new(300));
}

/// Who has an order or a claim of somebody else's, as its receiver or on the way, and repeats it
/// reads nothing of that account.
#[test]
fn l10_repeating_what_somebody_signed_reads_nothing() {
    let mut node = funded();
    let order = order(&node, 4, 1, transfer(2, 200));
    let (_, claim) = lock_and_claim(&mut node, 120);
    for question in [submit(order), claim] {
        let entered = told(&mut node, question.clone());
        assert!(entered.line.is_some());
        let again = told(&mut node, question);
        let known = OperationAnswer {
            line: None,
            ..entered
        };
        assert_eq!(again, known);
    }
}

/// Nobody but payer and payee is told that there is such a lock, and nobody but its owner of an
/// account.
#[test]
fn l10_a_lock_is_told_to_its_parties_and_to_nobody_else() {
    let mut node = funded();
    let (lock_id, _) = lock_and_claim(&mut node, 120);
    let status = node.lock(lock_id).unwrap();
    assert!(status.is_some());
    for (byte, told) in [(1, status), (2, status), (3, None), (ISSUER, None)] {
        let asked = read(byte, ReadKind::Lock(lock_id));
        assert_eq!(one(&mut node, asked), AnswerBody::Lock(told), "{byte}");
    }
    let AnswerBody::Account(account) = one(&mut node, read(1, ReadKind::Account)) else {
        panic!("an account");
    };
    assert_eq!(account.status.account, key(1).id());
    assert_eq!(account.status.reserved, MicroCredits::new(300));
    let head = node.ledger().head();
    assert_eq!(account.head.body.size, head.next.get());
    assert_eq!(account.head.body.entry_hash, head.hash);
    assert!(account.head.verify(&key(SETTLEMENT).id()).is_ok());
}

#[test]
fn a_read_is_good_for_ten_minutes_of_settlement_time_and_for_one_network() {
    let mut node = funded();
    let (from, until) = (NOW, NOW.plus_secs(600));
    for (valid_until, is_good) in [
        (from.minus_secs(1), false),
        (from, true),
        (until, true),
        (until.plus_secs(1), false),
    ] {
        let told = one(&mut node, read_at(1, ReadKind::Account, valid_until));
        let is_refused = told == AnswerBody::Refused(Refusal::Expired);
        assert_eq!(is_refused, !is_good, "{valid_until}");
    }
    let SettlementRequest::Read(mut other) = read(1, ReadKind::Account) else {
        panic!("a read");
    };
    other.body.network_id = crate::identity::NetworkId::from_bytes([7; 32]);
    let told = one(&mut node, SettlementRequest::Read(other));
    assert_eq!(told, AnswerBody::Refused(Refusal::WrongNetwork));
}

/// Settlement time is never before an entry's, whatever the clock says.
#[test]
fn an_answer_is_dated_by_settlement_time() {
    let mut node = funded();
    let early = NOW.minus_secs(100);
    let asked = read(1, ReadKind::Account);
    let answered = node.answer(early, &[asked]).remove(0).unwrap();
    assert_eq!(answered.answer.time, NOW);
    assert!(!answered.entered);
}

#[test]
fn a_watch_is_told_a_page_and_then_what_is_new() {
    let mut node = funded();
    let first = page(&mut node, read(1, ReadKind::Watch { after: None }));
    assert_eq!(first.lines.len(), 1);
    let transfer = submit(order(&node, 1, 1, transfer(2, 200)));
    told(&mut node, transfer);
    let later = node.watched(NOW, &key(1).id(), first.newest()).unwrap();
    let AnswerBody::Statement(later) = later.body else {
        panic!("a statement");
    };
    assert_eq!(later.lines.len(), 1);
    assert_eq!(later.lines[0].previous, first.newest());
    assert_eq!(later.account.status.nonce, 1);
}

#[test]
fn a_statement_longer_than_a_page_says_more_and_its_pages_make_the_whole() {
    let mut node = funded();
    let count = u64::try_from(PAGE_LINES_MAX).unwrap() + 3;
    let group: Vec<_> = (1..=count)
        .map(|nonce| submit(order(&node, 1, nonce, transfer(5, 1))))
        .collect();
    let answers = node.answer(NOW, &group);
    assert!(answers.iter().all(Result::is_ok));
    let receiver = key(5).id();
    let first = page(&mut node, lines_after(5, None));
    assert!(first.more);
    assert_eq!(first.lines.len(), PAGE_LINES_MAX);
    let after = first.newest();
    let rest = page(&mut node, lines_after(5, after));
    assert!(!rest.more);
    assert_eq!(rest.lines.len(), 3);
    assert_eq!(rest.lines[0].previous, after);
    assert_eq!(rest.account, first.account);
    let none = node
        .statement(&receiver, rest.newest(), PAGE_LINES_MAX)
        .unwrap();
    assert_eq!((none.lines.len(), none.more), (0, false));
    let short = node.statement(&receiver, None, 0).unwrap();
    assert_eq!((short.lines.len(), short.more), (1, true));
}

#[test]
fn a_grant_is_made_once_for_each_request_id() {
    let store = Memory::new();
    let mut node = open(&store, Some(ISSUER));
    let first = node.grant(NOW, &grant("a", 1, 500)).unwrap();
    assert_eq!(node.grant(NOW, &grant("a", 1, 500)), Ok(first));
    let later = NOW.plus_secs(1_000_000);
    assert_eq!(node.grant(later, &grant("a", 1, 500)), Ok(first));
    let reused = Err(IssueError::RequestIdReused("a".to_owned()));
    let mut other_reason = grant("a", 1, 500);
    other_reason.reason.push('!');
    for other in [grant("a", 1, 501), grant("a", 2, 500), other_reason] {
        assert_eq!(node.grant(NOW, &other), reused);
    }
    let unnamed = node.grant(NOW, &grant("", 1, 500));
    assert_eq!(unnamed, Err(IssueError::BadRequestId(0)));
    // So does whoever comes after a restart.
    let mut again = open(&store, Some(ISSUER));
    assert_eq!(again.grant(NOW, &grant("a", 1, 500)), Ok(first));
    let entry = entries(&again).pop().unwrap();
    assert_eq!(first.sequence, entry.sequence);
    assert_eq!(first.entry_hash, EntryHash::of(&entry.to_bytes()));
    let account = again
        .statement(&key(1).id(), None, 1)
        .unwrap()
        .account
        .status;
    assert_eq!(account.available, MicroCredits::new(500));
}

#[test]
fn only_a_key_of_the_genesis_grants() {
    let refused = open(&Memory::new(), None).grant(NOW, &grant("a", 1, 1));
    assert_eq!(refused, Err(IssueError::NotIssuer));
    let refused = open(&Memory::new(), Some(9)).grant(NOW, &grant("a", 1, 1));
    assert_eq!(refused, Err(IssueError::Refused(Refusal::NotIssuer)));
}

#[test]
fn a_grant_to_a_key_that_nobody_can_hold_is_not_even_signed() {
    let store = Memory::new();
    let mut node = open(&store, Some(ISSUER));
    let to = NodeId::from_bytes([0; 32]);
    let refused = node.grant(
        NOW,
        &NewGrant {
            to,
            ..grant("a", 1, 1)
        },
    );
    assert_eq!(refused, Err(IssueError::Refused(Refusal::BadKey)));
    assert_eq!(entries(&node).len(), 1, "genesis and nothing more");
    assert!(node.grant(NOW, &grant("a", 1, 1)).is_ok(), "its id is free");
}

#[test]
fn a_remembered_grant_that_does_not_read_back_is_an_error() {
    let store = Memory::new();
    let mut node = open(&store, Some(ISSUER));
    let mut batch = Batch::new();
    batch.put(Table::Request, b"a".to_vec(), b"no order".to_vec());
    store.write(&batch, Durability::Synced).unwrap();
    let refused = node.grant(NOW, &grant("a", 1, 500));
    assert!(
        matches!(refused, Err(IssueError::Ledger(LedgerError::Row { .. }))),
        "{refused:?}"
    );
}

/// A settlement node whose first grant, "a", is signed and kept, and then not entered.
fn crashed_before_the_entry() -> Memory {
    let store = Memory::new();
    let mut node = open(&store, Some(ISSUER));
    store.fail_after(1);
    let cut = node.grant(NOW, &grant("a", 1, 500));
    assert!(matches!(cut, Err(IssueError::Ledger(_))), "{cut:?}");
    store.backup()
}

#[test]
fn a_grant_cut_off_by_a_crash_is_made_although_another_has_its_nonce() {
    let mut node = open(&crashed_before_the_entry(), Some(ISSUER));
    let other = node.grant(NOW, &grant("b", 2, 500)).unwrap();
    let made = node.grant(NOW, &grant("a", 1, 500)).unwrap();
    assert_eq!((other.nonce, made.nonce), (1, 2));
    assert_eq!(node.grant(NOW, &grant("a", 1, 500)), Ok(made));
    let account = node
        .statement(&key(1).id(), None, 1)
        .unwrap()
        .account
        .status;
    assert_eq!(account.available, MicroCredits::new(500));
}

#[test]
fn a_grant_cut_off_by_a_crash_is_made_a_day_later_too() {
    let mut node = open(&crashed_before_the_entry(), Some(ISSUER));
    let later = NOW.plus_secs(86_401);
    let made = node.grant(later, &grant("a", 1, 500)).unwrap();
    assert_eq!(made.nonce, 1, "no entry refuses the one that was late");
    assert_eq!(node.grant(later, &grant("a", 1, 500)), Ok(made));
    assert_eq!(entries(&node).len(), 2);
}

/// Requests that are kept, in tests and in docs/RULES.md.
const KEPT_MAX: usize = 10_000;

/// A store in which as many requests are kept as ever are, "old" the oldest and "young" the next.
fn full() -> Memory {
    let store = Memory::new();
    let mut node = open(&store, Some(ISSUER));
    node.grant(NOW.plus_secs(9), &grant("old", 1, 1)).unwrap();
    node.grant(NOW, &grant("young", 1, 1)).unwrap();
    let issuing = Issuing::new(key(ISSUER), store.clone());
    let network_id = node.ledger().network_id();
    for number in 2..KEPT_MAX {
        let grant = grant(&format!("filling {number}"), 1, 1);
        issuing.sign(&grant, network_id, 3, NOW).unwrap();
    }
    store
}

fn kept(store: &Memory) -> Vec<Vec<u8>> {
    let rows = store.scan(Table::Request, &[], None, usize::MAX).unwrap();
    rows.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn the_oldest_request_is_forgotten_when_too_many_are_kept() {
    let store = full();
    assert_eq!(kept(&store).len(), KEPT_MAX);
    let mut node = open(&store, Some(ISSUER));
    // One whose id is kept takes no place.
    node.grant(NOW.plus_secs(2), &grant("filling 7", 1, 1))
        .unwrap();
    assert!(kept(&store).contains(&b"old".to_vec()));
    node.grant(NOW.plus_secs(2), &grant("new", 1, 1)).unwrap();
    let kept = kept(&store);
    assert_eq!(kept.len(), KEPT_MAX);
    assert!(kept.contains(&b"new".to_vec()) && kept.contains(&b"young".to_vec()));
    assert!(!kept.contains(&b"old".to_vec()));
}

#[test]
fn requests_kept_before_they_had_numbers_are_numbered_by_age() {
    let store = full();
    let mut batch = Batch::new();
    let numbers = store.scan(Table::RequestAge, &[], None, usize::MAX);
    for (number, _) in numbers.unwrap() {
        batch.delete(Table::RequestAge, number);
    }
    store.write(&batch, Durability::Synced).unwrap();
    let mut node = open(&store, Some(ISSUER));
    node.grant(NOW, &grant("new", 1, 1)).unwrap();
    let kept = kept(&store);
    assert_eq!(kept.len(), KEPT_MAX);
    // "old" is good for longer than all others.
    assert!(kept.contains(&b"old".to_vec()) && kept.contains(&b"new".to_vec()));
}

/// A store that counts the rows it hands out in scans.
#[derive(Clone)]
struct ScanCounter(Memory, Arc<AtomicUsize>);

impl StoreRead for ScanCounter {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        let rows = self.0.scan(table, from, until, limit)?;
        self.1.fetch_add(rows.len(), Ordering::Relaxed);
        Ok(rows)
    }
}

impl Store for ScanCounter {
    fn snapshot(&self) -> Snapshot<'_> {
        self.0.snapshot()
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.0.write(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.0.sync()
    }
}

#[test]
fn a_grant_reads_no_other_request() {
    let counted = Arc::new(AtomicUsize::new(0));
    let mut node = open(&ScanCounter(full(), counted.clone()), Some(ISSUER));
    counted.store(0, Ordering::Relaxed);
    for number in 0..10 {
        let grant = grant(&format!("new {number}"), 1, 1);
        node.grant(NOW, &grant).unwrap();
    }
    // Its own entry, to answer with.
    assert_eq!(counted.load(Ordering::Relaxed), 10);
}

#[test]
fn time_passes_with_a_tick_and_an_expired_lock_returns() {
    let mut node = funded();
    let (lock_id, claim) = lock_and_claim(&mut node, 120);
    told(&mut node, claim);
    let late = NOW.plus_secs(200_000);
    let payer = key(1).id();
    let asked = read_at(1, ReadKind::Account, late);
    let unchanged = node.answer(late, &[asked]).remove(0).unwrap();
    assert!(!unchanged.entered);
    let AnswerBody::Account(unchanged) = unchanged.answer.body else {
        panic!("an account");
    };
    assert_eq!(unchanged.status.reserved, MicroCredits::new(180));
    node.tick(late).unwrap();
    let account = node.statement(&payer, None, 1).unwrap().account.status;
    assert_eq!(account.available, MicroCredits::new(380));
    assert_eq!(account.reserved, MicroCredits::ZERO);
    assert!(node.lock(lock_id).unwrap().unwrap().closed);
}

#[test]
fn what_is_not_durable_is_not_answered_then_or_later() {
    let store = Memory::new();
    let mut node = open(&store, Some(ISSUER));
    node.grant(NOW, &grant("a", 1, 500)).unwrap();
    let head = node.ledger().head();
    store.fail_after(0);
    let group = [1, 2].map(|nonce| submit(order(&node, 1, nonce, transfer(2, 200))));
    let [first, second] = node.answer(NOW, &group).try_into().unwrap();
    assert!(matches!(first, Err(LedgerError::Store(_))), "{first:?}");
    assert_eq!(second, first);
    assert_eq!(node.answer(NOW, &group), [first, second]);
    assert_eq!(node.ledger().head(), head);
}

#[test]
fn what_enters_nothing_is_answered_whatever_becomes_of_the_rest_of_its_group() {
    let mut node = funded();
    let rival = submit(order(&node, 1, 1, transfer(2, 200)));
    let mut group = vec![rival; crate::ledger::GROUP_MAX + 1];
    group.push(read(1, ReadKind::Account));
    let mut answers = node.answer(NOW, &group);
    let AnswerBody::Account(read) = answers.pop().unwrap().unwrap().answer.body else {
        panic!("an account");
    };
    assert_eq!(read.status.available, MicroCredits::new(500));
    let is_too_long = |answer: &_| matches!(answer, Err(LedgerError::GroupTooLong { .. }));
    assert!(answers.iter().all(is_too_long));
}
