//! Attacks on both ledgers, one test for each way in.
//!
//! A name starts with the row of the review that it shows (`l1_` is row L1). Next:
//! `engine/src/session/tests/attacks.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::charts::node::{NodeCommand, NodeLedger};
use seedbank_ledger::clock::{ClockState, LogClock, SPARE_SECS};
use seedbank_ledger::identity::{Ed25519, SecretKey, SignatureError, SignatureScheme};
use seedbank_ledger::ledger::check::CheckError;
use seedbank_ledger::ledger::{OpenError, Outcome};
use seedbank_ledger::mark::HighWater;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::envelope::{Envelope, EnvelopeError};
use seedbank_ledger::settlement::{AnswerBody, SettlementNode, SettlementRequest};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::head::{HeadConflict, SignedHead};
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{
    Batch, Durability, KeyValue, Memory, Store as _, StoreError, StoreRead as _, Table,
};
use seedbank_ledger::{Identity, Instant, NetworkId, NodeId, Sequence, Signature, UnixTime};

use crate::world::{
    GRACE, ISSUER, START, TTL, World, channel, claim, cr, genesis, grant, id, identity, lines,
    network_id, open_lock, open_network, open_node, order, receipt, transfer,
};

/// `previous` is signed by nobody but the seal of the answer that a line comes in. With a line left
/// out and the next one relinked, the node ledger took the gap, no further line fitted, and `check`
/// was green: such an answer does not open now, and the true one, asked for again, brings all.
#[test]
fn l1_a_dropped_line_with_previous_rewritten_reaches_no_node_ledger() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    world.claim(lock_id, (1, 2), (10, 60)); // does not touch 1's available
    world.order(1, transfer(0, 1));
    let mut ledger = open_node(Memory::new(), 1);
    let had = lines(&world.network, 1, None); // grant, open, claim, transfer
    assert_eq!(had.len(), 4);
    ledger.append(START, &had[..2]).unwrap();
    let read = ReadRequest {
        network_id: network_id(),
        account: id(1),
        kind: ReadKind::Statement {
            after: ledger.newest_line().unwrap(),
            count: 9,
        },
        random: [7; 16],
        valid_until: START.plus_secs(60),
    };
    let asked = SettlementRequest::Read(read.sign(&identity(1)));
    let mut node = SettlementNode::new(world.network, None);
    let given = node.answer(START, std::slice::from_ref(&asked)).remove(0);
    let given = given.unwrap().answer;
    let sealed = node.sealer().seal(asked.hash(), 0, &given);
    let mut rewritten = given;
    let AnswerBody::Statement(statement) = &mut rewritten.body else {
        panic!("a statement is read");
    };
    let left_out = statement.lines.remove(0);
    statement.lines[0].previous = left_out.previous;
    let rewritten = Envelope {
        answer: rewritten.to_bytes(),
        signature: sealed.signature,
    };
    let settlement = identity(200).id();
    let open =
        |envelope: &Envelope| envelope.open(&Ed25519, network_id(), &settlement, asked.hash(), 0);
    let error = open(&rewritten).unwrap_err();
    assert!(matches!(error, EnvelopeError::Seal(_)), "{error}");
    let AnswerBody::Statement(told) = open(&sealed).unwrap().body else {
        panic!("a statement is told");
    };
    let told = told
        .lines
        .into_iter()
        .map(|line| NodeCommand::Settled(Box::new(line)));
    let outcomes = ledger.append(START, &told.collect::<Vec<_>>()).unwrap();
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Entered { .. }), "{outcome:?}");
    }
    let available = node.ledger().account(&id(1)).unwrap().available;
    assert_eq!(ledger.balance().unwrap().available, available);
    ledger.check().unwrap();
}

/// Any key may sign a question, and say in it that it has the last line there can ever be.
#[test]
fn who_says_that_it_has_the_last_line_there_can_be_is_told_none() {
    let world = World::funded(3);
    let mut node = SettlementNode::new(world.network, None);
    for after in [u64::MAX, u64::MAX - 1] {
        let after = Some(Sequence::new(after));
        for kind in [
            ReadKind::Statement { after, count: 9 },
            ReadKind::Watch { after },
        ] {
            let read = ReadRequest {
                network_id: network_id(),
                account: id(99),
                kind,
                random: [7; 16],
                valid_until: START.plus_secs(60),
            };
            let asked = SettlementRequest::Read(read.sign(&identity(99)));
            let answered = node.answer(START, &[asked]).remove(0).unwrap();
            let AnswerBody::Statement(statement) = answered.answer.body else {
                panic!("a statement is told");
            };
            assert_eq!((statement.lines.len(), statement.more), (0, false));
        }
        let watched = node.watched(START, &id(1), after).unwrap();
        assert!(matches!(watched.body, AnswerBody::Statement(_)));
    }
}

/// An order of a key that never had anything, late or in time, leaves no row at all, and no nonce
/// is used: granted something, the key has the same order carried out.
#[test]
fn l4_keys_without_standing_write_nothing() {
    let store = Memory::new();
    let mut network = open_network(store.clone());
    let before = rows(&store);
    let by = |n: u8, valid_until| {
        let key = Identity::from_secret([n; 32]);
        let body = Order {
            network_id: network_id(),
            account: key.id(),
            nonce: 1,
            valid_until,
            kind: transfer(1, 1),
            memo_hash: [0; 32],
        };
        Operation::Order(body.sign(&key))
    };
    for n in 0..100 {
        for (valid_until, refusal) in [
            (UnixTime::ZERO, Refusal::Expired),
            (START, Refusal::NoStanding),
        ] {
            let outcomes = network.append(START, &[by(n, valid_until)]).unwrap();
            assert_eq!(outcomes, [Outcome::Refused(refusal)]);
        }
    }
    assert_eq!(rows(&store), before);
    let to = Identity::from_secret([7; 32]).id();
    let amount = cr(1);
    let grant = order(ISSUER, 1, OrderKind::Grant { to, amount });
    let group = [Operation::Order(grant), by(7, START), by(8, START)];
    let outcomes = network.append(START, &group).unwrap();
    let refusals: Vec<_> = outcomes.iter().map(Outcome::refusal).collect();
    assert_eq!(refusals, [None, None, Some(Refusal::NoStanding)]);
    network.check().unwrap();
}

/// Most that one order or claim leaves for good, as docs/RULES.md states it: a lock's opening, the
/// end of which is an entry of its own.
const ENTRIES_PER_ORDER_MAX: u64 = 2;
const BYTES_PER_ORDER_MAX: usize = 1_500;

/// A signed head and its key: an order that comes alone leaves one, and its lock's end another.
const HEAD_BYTES: usize = 152;

/// Each kind of order in the form that leaves most, and one that is refused, on locks whose time
/// passes afterwards. What the budget of an account lets it send in a day is bounded by its
/// network's genesis, so that both together bound what it can write.
#[test]
fn l4_what_one_funded_account_writes_in_a_day_is_bounded() {
    let limits = genesis().limits;
    assert_eq!(limits.orders_per_day_max(), 200 + 24 * 72_000);
    let with_lock = || {
        let mut world = World::funded(3);
        let lock_id = world.lock(1, 2, 100);
        (world, lock_id)
    };
    let amount = cr(1);
    let lock_id = with_lock().1;
    let mut most = (0, 0);
    for (account, kind) in [
        (1, transfer(9, 1)),
        (1, transfer(9, 9_999)),
        (1, open_lock(9, 1)),
        (
            1,
            OrderKind::TopUp {
                lock_id,
                amount,
                ttl_secs: 2 * TTL,
            },
        ),
        (2, OrderKind::CloseLock { lock_id }),
        (1, OrderKind::RotateKey { to: id(9) }),
        (ISSUER, grant(9, 1)),
        (ISSUER, OrderKind::Burn { amount }),
    ] {
        let left = left_by(with_lock().0, |world| {
            world.order(account, kind);
        });
        most = (most.0.max(left.0), most.1.max(left.1));
    }
    let left = left_by(with_lock().0, |world| {
        world.claim(lock_id, (1, 2), (10, 60));
    });
    most = (most.0.max(left.0), most.1.max(left.1));
    assert_eq!(most.0, ENTRIES_PER_ORDER_MAX);
    // Both measured worlds end with a group: one of the two heads is not in the difference.
    let bytes = most.1 + HEAD_BYTES;
    assert!(bytes <= BYTES_PER_ORDER_MAX, "{bytes}");
}

/// Entries and bytes (keys and values) that `what` adds to a world, until all locks have ended,
/// to what is there at that time without it.
fn left_by(mut world: World, what: impl FnOnce(&mut World)) -> (u64, usize) {
    let end = START.plus_secs(3 * u64::from(TTL) + GRACE);
    let idle_store = world.store.backup();
    let mut idle = open_network(idle_store.clone());
    idle.append(end, &[]).unwrap();
    what(&mut world);
    world.network.append(end, &[]).unwrap();
    let size = |store: &Memory| rows(store).iter().map(Vec::len).sum::<usize>();
    let entries = world.network.head().next.get() - idle.head().next.get();
    (
        entries,
        size(&world.store).saturating_sub(size(&idle_store)),
    )
}

/// The newest line that an account says it has is any number that its key signs, and any key may
/// ask. The last of all numbers has none after it, and stopped whoever answered.
#[test]
fn a_question_for_what_comes_after_the_last_of_all_lines_is_answered() {
    let mut node = SettlementNode::new(World::funded(2).network, None);
    let after = Some(Sequence::MAX);
    for kind in [
        ReadKind::Statement { after, count: 9 },
        ReadKind::Watch { after },
    ] {
        let read = ReadRequest {
            network_id: network_id(),
            account: id(9),
            kind,
            random: [7; 16],
            valid_until: START.plus_secs(60),
        };
        let asked = SettlementRequest::Read(read.sign(&identity(9)));
        let answered = node.answer(START, &[asked]).remove(0).unwrap();
        let AnswerBody::Statement(told) = answered.answer.body else {
            panic!("a statement is read");
        };
        assert!(told.lines.is_empty() && !told.more);
    }
}

/// A key that was handed over handed over nothing, again and again, to a stranger: each order was a
/// line of the stranger's, who has to fetch, verify and keep it, and moved no credit.
#[test]
fn a_key_that_was_handed_over_fills_no_strangers_statement_for_nothing() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 100);
    let rotate = OrderKind::RotateKey { to: id(9) };
    assert_eq!(world.order(1, rotate), None);
    let moved = |world: &World| (world.available(9), lines(&world.network, 9, None).len());
    assert_eq!(moved(&world), (900, 1));
    for _ in 0..100 {
        assert_eq!(world.order(1, rotate), Some(Refusal::KeyRotated));
    }
    assert_eq!(moved(&world), (900, 1));
    // What comes in later may follow.
    assert_eq!(world.order(2, OrderKind::CloseLock { lock_id }), None);
    assert_eq!(world.order(1, rotate), None);
    assert_eq!(moved(&world), (1_000, 2));
    world.network.check().unwrap();
}

/// A wall clock that is wrong once, by ten years, ends no lock: log time passes it by.
#[test]
fn l3_a_clock_that_jumps_once_forfeits_no_claim_and_refuses_no_order() {
    let mut world = World::funded(3);
    let mut boot = 77;
    let kept = ClockState::starting_at(START);
    let mut clock = LogClock::start(kept, START, Instant::ZERO).unwrap();
    let mut read = |wall: UnixTime, secs: u64| {
        boot += secs;
        clock.read(wall, Instant::from_nanos(boot * 1_000_000_000))
    };
    world.now = read(START, 0);
    let lock_id = world.lock(1, 2, 100);
    let wrong = START.plus_secs(10 * 365 * 86_400);
    world.now = read(wrong, 5);
    world.submit(&[]); // one tick
    let right = START.plus_secs(83);
    world.now = read(right, 1); // the clock is right again
    assert!(world.now <= right.plus_secs(SPARE_SECS));
    let outcome = world.claim(lock_id, (1, 2), (10, 60));
    assert_eq!(outcome.refusal(), None);
    assert_eq!(world.available(2), 1_060);
    let mut body = order(1, 2, transfer(0, 10)).body;
    body.valid_until = right.plus_secs(3_600);
    body.nonce = world.network.account(&id(1)).unwrap().nonce + 1;
    let outcome = world.one(Operation::Order(body.sign(&identity(1))));
    assert_eq!(outcome.refusal(), None);
}

/// After a rollback (log cut, backup restored) a lock's number is given out again. A receipt signed
/// for the old lock is worth nothing on the new one: its channel is named for another order.
#[test]
fn l2_a_rolled_back_ledger_pays_no_old_receipt_from_a_new_lock() {
    let mut world = World::funded(3);
    let backup = world.store.backup();
    let old = world.lock(1, 2, 100);
    let signed = receipt(&channel(&world.network, old, 1, 2), 1, 10, 60);
    world.one(Operation::Claim(claim(old, 2, signed)));
    assert_eq!(world.available(2), 1_060);
    let mut restored = open_network(backup); // without its mark: opens without a word
    restored.check().unwrap(); // and audits green
    let nonce = restored.account(&id(1)).unwrap().nonce + 1;
    let again = restored
        .append(
            START.plus_secs(9),
            &[Operation::Order(order(1, nonce, open_lock(2, 77)))],
        )
        .unwrap();
    assert_eq!(
        again[0].sequence().unwrap().get(),
        old.get(),
        "the same lock number"
    );
    let paid = restored
        .append(
            START.plus_secs(9),
            &[Operation::Claim(claim(old, 2, signed))],
        )
        .unwrap();
    assert_eq!(paid[0], Outcome::Refused(Refusal::BadReceipt));
    assert_eq!(restored.account(&id(2)).unwrap().available, cr(1_000));
}

/// A folder that was emptied founds nothing, marked or not, and neither does an audit of it; and
/// nothing is founded where a ledger is.
#[test]
fn l2_a_lost_ledger_is_not_founded_again() {
    let world = World::funded(3);
    let mark = world.network.signed_head().unwrap();
    let ledger = "network";
    for at_least in [Some(&mark), None] {
        let store = Memory::new();
        let again = NetworkLedger::open(store.clone(), genesis(), identity(200), at_least);
        assert_eq!(again.unwrap_err(), OpenError::Empty { ledger });
        assert!(rows(&store).is_empty());
        let read = NodeLedger::open_to_read(store.clone(), id(1));
        assert!(matches!(read.unwrap_err(), OpenError::Empty { .. }));
        assert!(rows(&store).is_empty());
    }
    let again = NetworkLedger::found(world.store.clone(), genesis(), identity(200), START);
    assert_eq!(again.unwrap_err(), OpenError::NotEmpty { ledger });
    assert_eq!(open_network(world.store).head(), world.network.head());
}

/// A backup opens at its own mark, and not at the one of what came after it; nor does another
/// ledger of that length.
#[test]
fn l2_a_ledger_does_not_open_below_its_mark() {
    let mut world = World::funded(3);
    let backup = world.store.backup();
    let then = world.network.signed_head().unwrap();
    assert_eq!(world.order(1, transfer(2, 5)), None);
    assert_eq!(world.order(1, transfer(2, 5)), None);
    let mark = world.network.signed_head().unwrap();
    let open = |store: Memory, mark: &SignedHead| {
        NetworkLedger::open(store, genesis(), identity(200), Some(mark))
    };
    open(world.store.clone(), &mark).unwrap();
    open(world.store.clone(), &then).unwrap();
    open(backup.backup(), &then).unwrap();
    let error = open(backup.backup(), &mark).unwrap_err();
    let below = OpenError::BelowMark {
        size: 4,
        mark: mark.body,
    };
    assert_eq!(error, below);
    let said = "the ledger has 4 entries, but 6 were acknowledged: 2 are missing";
    assert_eq!(error.to_string(), said);

    let mut other = open_network(backup.clone());
    let orders = [(1, 2), (2, 3)].map(|(nonce, amount)| order(1, nonce, transfer(2, amount)));
    other.append(START, &orders.map(Operation::Order)).unwrap();
    assert_eq!(other.head().next.get(), 6);
    let error = open(backup, &mark).unwrap_err();
    let (size, marked) = (6, mark.body);
    assert_eq!(error, OpenError::OtherThanMark { size, mark: marked });

    let mut of_another = mark.body;
    of_another.network_id = NetworkId::from_bytes([1; 32]);
    for forged in [
        of_another.sign(&identity(200)),
        mark.body.sign(&identity(1)),
    ] {
        let error = open(world.store.clone(), &forged).unwrap_err();
        assert!(matches!(error, OpenError::MarkForeign { .. }), "{error}");
    }
}

/// What a mark was raised to, and what was then in the store.
#[derive(Debug)]
struct Raised {
    store: Memory,
    heads: Arc<Mutex<Vec<SignedHead>>>,
    fails_at: usize,
}

impl HighWater for Raised {
    fn raise(&mut self, head: &SignedHead) -> Result<(), StoreError> {
        assert_eq!(self.store.unsynced_count(), 0, "the store is synced first");
        let ledger = open_network(self.store.power_cut(0));
        assert_eq!(ledger.signed_head().unwrap(), *head);
        let mut heads = self.heads.lock().unwrap();
        if heads.len() == self.fails_at {
            let (path, reason) = ("mark".to_owned(), "no space left on device".to_owned());
            return Err(StoreError::Io { path, reason });
        }
        heads.push(*head);
        Ok(())
    }
}

/// A group is answered once its entries are in the store and its head is in the mark, and never if
/// the mark cannot be written; nor does a reader see it then.
#[test]
fn l2_a_group_is_synced_then_marked_then_answered() {
    let mut world = World::funded(2);
    world.store.remember_unsynced();
    let heads = Arc::default();
    let mark = Raised {
        store: world.store.clone(),
        heads: Arc::clone(&heads),
        fails_at: 3,
    };
    world.network.keep_mark(Box::new(mark)).unwrap();
    let newest = || heads.lock().unwrap().last().copied().unwrap();
    assert_eq!(newest(), world.network.signed_head().unwrap());
    world.submit(&[]);
    assert_eq!(
        heads.lock().unwrap().len(),
        1,
        "nothing entered, nothing marked"
    );
    for size in [4, 5] {
        assert_eq!(world.order(1, transfer(0, 1)), None);
        assert_eq!(newest().body.size, size);
    }
    let reader = world.network.reader();
    assert_eq!(reader.now().unwrap().head(), world.network.head());
    let order = Operation::Order(order(1, 3, transfer(0, 1)));
    let error = world
        .network
        .append(START, std::slice::from_ref(&order))
        .unwrap_err();
    assert_eq!(world.network.failure(), Some(&error));
    assert_eq!(reader.now().map(drop), Err(error.clone()));
    assert_eq!(world.network.append(START, &[order]), Err(error));
    assert_eq!(newest().body.size, 5);
}

/// The history of a few accounts, as it was and otherwise: consistently made, and signed by
/// somebody who has not the settlement node's key, or with the heads that were signed before.
#[test]
fn l11_a_consistent_rewriting_is_not_what_was_signed() {
    let as_it_was = || -> Vec<(u64, Operation)> {
        vec![
            (1, Operation::Order(order(1, 1, transfer(2, 10)))),
            (2, Operation::Order(order(2, 1, transfer(1, 20)))),
            (9, Operation::Order(order(1, 2, transfer(2, 30)))),
        ]
    };
    let (mut later, mut swapped, mut longer) = (as_it_was(), as_it_was(), as_it_was());
    later[1].0 = 3;
    swapped.swap(0, 1);
    (swapped[0].0, swapped[1].0) = (1, 2);
    longer.push((9, Operation::Order(order(2, 2, transfer(1, 1)))));
    let shorter = as_it_was()[..2].to_vec();
    let signed = history(&as_it_was());
    open_network(signed.clone()).check().unwrap();
    for (what, rewritten) in [
        ("a time", later),
        ("an order across accounts", swapped),
        ("the end", shorter),
        ("an entry more", longer),
    ] {
        let forged = history(&rewritten);
        let heads = signed.scan(Table::SignedHead, &[], None, 99).unwrap();
        replace(&forged, Table::SignedHead, &heads);
        let error = match NetworkLedger::open(forged, genesis(), identity(200), None) {
            Ok(ledger) => ledger.check().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("signed"), "{what}: {error}");
    }
}

/// Log, rows and heads cut to an end that was signed once: that is for the mark, and for members.
#[test]
fn l11_a_truncation_to_an_older_head_is_seen_by_mark_and_members() {
    let mut world = World::funded(3);
    let backup = world.store.backup();
    let older = world.network.signed_head().unwrap();
    assert_eq!(world.order(1, transfer(2, 5)), None);
    let newest = world.network.signed_head().unwrap();
    let lines = world.network.statement(&id(1), None, 9).unwrap();
    let line = lines.last().unwrap().certificate.body;
    let cut = NetworkLedger::open(backup.clone(), genesis(), identity(200), None).unwrap();
    assert_eq!(cut.signed_head().unwrap(), older);
    cut.check().unwrap();
    let marked = NetworkLedger::open(backup, genesis(), identity(200), Some(&newest));
    assert!(matches!(marked, Err(OpenError::BelowMark { .. })));
    let behind = HeadConflict::Behind { size: 4, known: 4 };
    assert_eq!(older.body.check_line(&line), Err(behind));
    assert_eq!(newest.body.check_line(&line), Ok(()));
}

/// Heads that are gone, are another's, or are of entries that are not there.
#[test]
fn l11_check_verifies_every_signed_head_and_the_end() {
    let signed = World::funded(2);
    assert_eq!(signed.network.check().unwrap().signed_head_count, 3);
    let heads = signed.store.scan(Table::SignedHead, &[], None, 9).unwrap();
    let judge = |heads: &[KeyValue]| {
        let store = signed.store.backup();
        let ledger = open_network(store.clone());
        replace(&store, Table::SignedHead, heads);
        ledger.check().map(|report| report.signed_head_count)
    };
    assert_eq!(judge(&heads[1..]), Ok(2), "the end is signed");
    let last = Sequence::new(2);
    assert_eq!(judge(&heads[..2]), Err(CheckError::HeadUnsigned { last }));
    let forged = |size| Err(CheckError::HeadForged { size });
    for (place, size) in [(0, 1), (2, 3)] {
        let body = SignedHead::from_bytes(&heads[place].1).unwrap().body;
        let mut other = heads.clone();
        other[place].1 = body.sign(&identity(9)).to_bytes();
        assert_eq!(judge(&other), forged(size), "another's key");
        other[place].1.pop();
        assert_eq!(judge(&other), forged(size), "cut short");
    }
    let mut stray = heads.clone();
    stray.push((vec![0, 0], heads[0].1.clone()));
    assert_eq!(judge(&stray), forged(0));
}

/// A network of which these are the operations, each a group at its second.
fn history(operations: &[(u64, Operation)]) -> Memory {
    let mut world = World::funded(3);
    for (secs, operation) in operations {
        world.now = START.plus_secs(*secs);
        assert_eq!(world.one(operation.clone()).refusal(), None);
    }
    world.store
}

/// Gives a table other rows.
fn replace(store: &Memory, table: Table, rows: &[KeyValue]) {
    let mut batch = Batch::new();
    for (key, _) in store.scan(table, &[], None, usize::MAX).unwrap() {
        batch.delete(table, key);
    }
    for (key, value) in rows {
        batch.put(table, key.clone(), value.clone());
    }
    store.write(&batch, Durability::Synced).unwrap();
}

/// Who reads beside the writer gets the ledger as it stood at one moment, and keeps it.
#[test]
fn l5_a_live_ledger_is_read_as_it_stood_at_one_moment() {
    let world = World::funded(2);
    let mut writer = open_node(Memory::new(), 1);
    let reader = writer.reader();
    let before = reader.now().unwrap();
    let start = writer.head();
    let lines = lines(&world.network, 1, None);
    writer.append(START, &lines).unwrap();
    assert_ne!(writer.head(), start);
    assert_eq!(before.check().unwrap().head, start);
    assert_eq!(before.newest_line(), Ok(None));
    assert_eq!(before.balance().unwrap().available, cr(0));
    let explanation = before.explain(UnixTime::ZERO).unwrap();
    assert_eq!(explanation.closing, cr(0));
    assert_eq!(Some(explanation.head), start.last());
    let after = reader.now().unwrap();
    assert_eq!(after.check().unwrap().head, writer.head());
    assert_eq!(after.balance().unwrap().available, cr(1_000));
}

/// Signatures that entering a group may make: one, of its head.
const SIGNED_PER_GROUP_MAX: usize = 1;

/// Ed25519, and how often it signed.
#[derive(Debug, Default)]
struct SigningCount(AtomicUsize);

impl SignatureScheme for SigningCount {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ed25519.sign(key, message)
    }

    fn verify(&self, key: &NodeId, message: &[u8], by: &Signature) -> Result<(), SignatureError> {
        Ed25519.verify(key, message, by)
    }
}

/// The writer enters a group and signs no line of it, nor a lock: whoever reads them signs.
#[test]
#[expect(clippy::disallowed_methods, reason = "signatures are counted")]
fn l7_entering_signs_no_line() {
    let mut world = World::funded(3);
    let lock_id = world.lock(1, 2, 900);
    let count = Arc::new(SigningCount::default());
    let scheme: Arc<dyn SignatureScheme> = count.clone();
    let counted = Identity::with_scheme(identity(200).secret(), scheme);
    let ledger = NetworkLedger::open(world.store.clone(), genesis(), counted, None).unwrap();
    let mut node = SettlementNode::new(ledger, None);
    let claims = (1..=20).map(|n| {
        let channel = channel(&world.network, lock_id, 1, 2);
        Operation::Claim(claim(lock_id, 2, receipt(&channel, 1, n, n)))
    });
    let claims: Vec<Operation> = claims.collect();
    count.0.store(0, Ordering::Relaxed);
    let outcomes = node.enter(START, &claims).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.refusal().is_none()));
    assert!(count.0.swap(0, Ordering::Relaxed) <= SIGNED_PER_GROUP_MAX);
    let reader = node.reader();
    let after = Some(Sequence::new(lock_id.get()));
    let page = reader.now().unwrap().statement(&id(2), after, 20).unwrap();
    assert_eq!(page.lines.len(), 20);
    // A certificate and a lock of each.
    assert_eq!(count.0.load(Ordering::Relaxed), 40);
}

/// Every row of every table, key and value together.
fn rows(store: &Memory) -> Vec<Vec<u8>> {
    let scan = |table: &Table| store.scan(*table, &[], None, usize::MAX).unwrap();
    let rows = Table::ALL.iter().flat_map(scan);
    rows.map(|(key, value)| [key, value].concat()).collect()
}
