//! Tests of `keeper.rs`: what its thread does, and what it leaves to those who ask.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};
use std::thread::ThreadId;

use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::identity::{Ed25519, SecretKey, SignatureError, SignatureScheme};
use seedbank_ledger::ledger::DUE_MAX;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::codec::{AnswerBody, OperationAnswer, Statement};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::store::{Batch, Durability, KeyValue, Memory, StoreError, StoreRead, Table};
use seedbank_ledger::{Identity, MicroCredits, NetworkId, Signature};

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);
const SETTLEMENT: [u8; 32] = [201; 32];
/// Signatures that the thread may make for a group: one, of its head.
const SIGNED_PER_GROUP_MAX: usize = 1;

fn key(byte: u8) -> Identity {
    Identity::from_secret([byte; 32])
}

fn genesis() -> Genesis {
    let settlement = Identity::from_secret(SETTLEMENT).id();
    let text = Genesis::render("kept", settlement, &[key(202).id()]).unwrap();
    Genesis::parse(&text).unwrap()
}

fn order(network_id: NetworkId, by: u8, nonce: u64, kind: OrderKind) -> SignedOrder {
    let order = Order {
        network_id,
        account: key(by).id(),
        nonce,
        valid_until: UnixTime::from_secs(u64::MAX),
        kind,
        memo_hash: [0; 32],
    };
    order.sign(&key(by))
}

fn grant(network_id: NetworkId, nonce: u64, to: u8) -> SignedOrder {
    let (to, amount) = (key(to).id(), MicroCredits::new(5));
    order(network_id, 202, nonce, OrderKind::Grant { to, amount })
}

/// Asks in the name of `key`; who signed is looked at by whoever lets questions in.
async fn read(keeper: &Keeper, of: u8, kind: ReadKind) -> AnswerBody {
    let read = ReadRequest {
        network_id: keeper.sealer().network_id(),
        account: key(of).id(),
        kind,
        random: [0; 16],
        valid_until: NOW.plus_secs(60),
    };
    let asked = SettlementRequest::Read(read.sign(&key(of)));
    keeper.ask(asked).await.unwrap().answer.body
}

async fn statement(keeper: &Keeper, of: u8) -> Statement {
    let (after, count) = (None, 100);
    match read(keeper, of, ReadKind::Statement { after, count }).await {
        AnswerBody::Statement(statement) => statement,
        other => panic!("no statement: {other:?}"),
    }
}

async fn submit(keeper: &Keeper, order: SignedOrder) -> (Option<Refusal>, bool) {
    let random = [0; 16];
    let asked = SettlementRequest::Submit { random, order };
    let answered = keeper.ask(asked).await.unwrap();
    match answered.answer.body {
        AnswerBody::Operation(operation) => {
            let OperationAnswer { refusal, .. } = *operation;
            (refusal, answered.entered)
        }
        other => panic!("no outcome: {other:?}"),
    }
}

/// Ed25519, and how often it signed on which thread.
#[derive(Debug, Default)]
struct SignedBy(Mutex<BTreeMap<Option<String>, usize>>);

impl SignedBy {
    fn on(&self, thread: &str) -> usize {
        let signed = self.0.lock().unwrap();
        signed.get(&Some(thread.to_owned())).copied().unwrap_or(0)
    }

    fn all(&self) -> usize {
        self.0.lock().unwrap().values().sum()
    }
}

impl SignatureScheme for SignedBy {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        let name = std::thread::current().name().map(str::to_owned);
        *self.0.lock().unwrap().entry(name).or_default() += 1;
        Ed25519.sign(key, message)
    }

    fn verify(&self, key: &NodeId, message: &[u8], by: &Signature) -> Result<(), SignatureError> {
        Ed25519.verify(key, message, by)
    }
}

/// Twenty orders one after the other, their answers, and a statement of them all: the keeper's
/// thread signs no line of it.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "signatures are counted")]
async fn l7_no_line_is_signed_on_the_keepers_thread() {
    let signed = Arc::new(SignedBy::default());
    let scheme: Arc<dyn SignatureScheme> = signed.clone();
    let settlement = Identity::with_scheme(SETTLEMENT, scheme);
    let (store, genesis) = (Memory::new(), genesis());
    let network_id = genesis.network_id();
    let ledger = NetworkLedger::found(store, genesis, settlement, NOW).unwrap();
    let (keeper, thread) = Keeper::start(ledger, None, || NOW).unwrap();
    let before = signed.all();
    for nonce in 1..=20 {
        let order = grant(network_id, nonce, 1);
        assert_eq!(submit(&keeper, order).await, (None, true));
    }
    let statement = statement(&keeper, 1).await;
    assert_eq!(statement.lines.len(), 20);
    assert!(signed.on(THREAD) <= 20 * SIGNED_PER_GROUP_MAX);
    assert!(signed.all() - before >= 40, "heads and the statement");
    drop(keeper);
    thread.join().unwrap();
}

/// A store in which writers wait as long as its gate is shut.
#[derive(Clone, Default)]
struct Gated {
    rows: Memory,
    gate: Arc<(Mutex<bool>, Condvar)>,
    readers: Arc<Mutex<Vec<ThreadId>>>,
}

impl Gated {
    fn shut(&self, is_shut: bool) {
        *self.gate.0.lock().unwrap() = is_shut;
        self.gate.1.notify_all();
    }
}

impl StoreRead for Gated {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.rows.scan(table, from, until, limit)
    }
}

impl Store for Gated {
    fn snapshot(&self) -> Snapshot<'_> {
        let reader = std::thread::current().id();
        self.readers.lock().unwrap().push(reader);
        self.rows.snapshot()
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let is_shut = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(is_shut, |is_shut| *is_shut).unwrap());
        self.rows.write(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.rows.sync()
    }
}

/// Everything that reads is answered while a group is stuck in its fsync, without it, and nothing
/// is read on the keeper's thread.
#[tokio::test]
async fn l7_reads_wait_for_no_group_and_see_nothing_of_it() {
    let store = Gated::default();
    let genesis = genesis();
    let network_id = genesis.network_id();
    let settlement = Identity::from_secret(SETTLEMENT);
    let ledger = NetworkLedger::found(store.clone(), genesis, settlement, NOW).unwrap();
    let (keeper, thread) = Keeper::start(ledger, None, || NOW).unwrap();
    submit(&keeper, grant(network_id, 1, 1)).await;
    store.shut(true);
    let mut submitting = Box::pin(submit(&keeper, grant(network_id, 2, 1)));
    // Once it was polled the order is in the queue.
    assert!(poll_once(submitting.as_mut()).await.is_none());
    let before = statement(&keeper, 1).await;
    assert_eq!(before.lines.len(), 1);
    assert_eq!(before.account.status.available, MicroCredits::new(5));
    let lock = read(&keeper, 1, ReadKind::Lock(LockId::new(1))).await;
    assert_eq!(lock, AnswerBody::Lock(None));
    assert_eq!(keeper.overview().await.unwrap().entry_count, 2);
    assert_eq!(keeper.members(None, 10).await.unwrap().len(), 1);
    assert_eq!(keeper.grants(None, 10).await.unwrap().grants.len(), 1);
    let audit = keeper.audit().await.unwrap().unwrap();
    assert_eq!((audit.granted, audit.report.entry_count), (5, 2));
    assert_eq!(keeper.supply().await.unwrap().granted, 5);
    store.shut(false);
    assert_eq!(submitting.await, (None, true));
    let after = statement(&keeper, 1).await;
    assert_eq!(after.account.status.available, MicroCredits::new(10));
    assert_eq!(keeper.supply().await.unwrap().granted, 10);
    assert!(
        !store
            .readers
            .lock()
            .unwrap()
            .contains(&thread.thread().id())
    );
    drop(keeper);
    thread.join().unwrap();
}

/// Locks that ended together are ended while nobody asks for anything; whoever does waits for one
/// batch of them.
#[tokio::test]
async fn locks_that_ended_together_hold_up_nobody_and_need_nobody() {
    const LOCKS: u64 = 2 * DUE_MAX as u64 + 100;
    let (store, genesis) = (Gated::default(), genesis());
    let (network_id, grace) = (genesis.network_id(), genesis.limits.lock_grace_secs);
    let settlement = Identity::from_secret(SETTLEMENT);
    let mut ledger = NetworkLedger::found(store.clone(), genesis, settlement, NOW).unwrap();
    let (to, amount) = (key(202).id(), MicroCredits::new(LOCKS));
    let own = OrderKind::Grant { to, amount };
    let mut opening = vec![order(network_id, 202, 1, own)];
    for nonce in 2..LOCKS + 2 {
        let mut secret = [9; 32];
        secret[..8].copy_from_slice(&nonce.to_le_bytes());
        let open = OrderKind::OpenLock {
            payee: Identity::from_secret(secret).id(),
            amount: MicroCredits::new(1),
            ttl_secs: 60,
        };
        opening.push(order(network_id, 202, nonce, open));
    }
    let opening: Vec<_> = opening.into_iter().map(Operation::Order).collect();
    let opened = ledger.append(NOW, &opening).unwrap();
    assert!(opened.iter().all(|outcome| outcome.refusal().is_none()));
    let end = NOW.plus_secs(60 + u64::from(grace) + 1);
    let (keeper, thread) = Keeper::start(ledger, None, move || end).unwrap();
    let mut lines = keeper.lines(key(202).id());
    store.shut(true);
    keeper.tick();
    let (random, order) = ([0; 16], grant(network_id, LOCKS + 2, 1));
    let asked = SettlementRequest::Submit { random, order };
    let mut asking = Box::pin(keeper.ask(asked));
    assert!(poll_once(asking.as_mut()).await.is_none());
    store.shut(false);
    let AnswerBody::Operation(told) = asking.await.unwrap().answer.body else {
        panic!("an order was given");
    };
    assert_eq!(told.refusal, None);
    let before = 2 + LOCKS; // the genesis, a grant and what opened the locks
    assert_eq!(told.sequence, Some(Sequence::new(before + DUE_MAX as u64)));
    while keeper.overview().await.unwrap().entry_count < before + LOCKS + 1 {
        lines.changed().await.unwrap();
    }
    drop(keeper);
    thread.join().unwrap();
}

/// Polls once; `None` while it is not ready.
async fn poll_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    tokio::select! {
        biased;
        done = &mut future => Some(done),
        () = std::future::ready(()) => None,
    }
}
