//! A network in one process: a real ledger in memory, its keeper, its listener, and nodes that ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_engine::discovery::host::Host;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::codec::{
    AnswerBody, OperationAnswer, SettlementAnswer, SettlementRequest, Statement,
};
use seedbank_ledger::settlement::envelope::Envelope;
use seedbank_ledger::settlement::{IssueError, Issuing, NewGrant};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::store::Memory;
use seedbank_ledger::{
    Bytes, Identity, MicroCredits, NetworkId, NodeId, Sequence, Signature, UnixTime,
};
use seedbank_proto::Failure;
use seedbank_proto::settlement_v1::settlement_service_client::SettlementServiceClient;
use seedbank_proto::settlement_v1::{AskRequest, WatchRequest};
use seedbank_proto::v1::ErrorReason;
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::{Channel, ServerTlsConfig};

use super::server::Shared;
use super::{Door, serve};
use crate::settlement::{AccountKeys, GrantError, Keeper, Local, Remote, Settlement};

struct Network {
    id: NetworkId,
    store: Memory,
    clock: Arc<AtomicU64>,
    keeper: Keeper,
    addr: SocketAddr,
    _stop: watch::Sender<bool>,
}

fn key(byte: u8) -> Identity {
    Identity::from_secret([byte; 32])
}

const SETTLEMENT: u8 = 201;
const ISSUER: u8 = 202;
const START: u64 = 1_000_000;

impl Network {
    fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    fn start_at(addr: SocketAddr) -> Self {
        Self::start_with(addr, None)
    }

    fn start_with(addr: SocketAddr, tls: Option<ServerTlsConfig>) -> Self {
        let store = Memory::new();
        let genesis = genesis();
        let id = genesis.network_id();
        let now = UnixTime::from_secs(START);
        let ledger = NetworkLedger::found(store.clone(), genesis, key(SETTLEMENT), now).unwrap();
        let issuing = Issuing::new(key(ISSUER), store.clone());
        let clock = Arc::new(AtomicU64::new(START));
        let time = clock.clone();
        let read = move || UnixTime::from_secs(time.load(Ordering::SeqCst));
        let (keeper, _) = Keeper::start(ledger, Some(issuing), read).unwrap();
        let door = Door::open(addr).unwrap();
        let addr = door.addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(serve(door, keeper.clone(), tls, stopping));
        Self {
            id,
            store,
            clock,
            keeper,
            addr,
            _stop: stop,
        }
    }

    fn remote(&self, byte: u8) -> Remote {
        Remote::new(&format!("http://{}", self.addr), None, member(byte)).unwrap()
    }

    async fn service(&self) -> SettlementServiceClient<Channel> {
        let uri = format!("http://{}", self.addr);
        SettlementServiceClient::connect(uri).await.unwrap()
    }

    /// Asks over the wire and opens what comes back.
    async fn ask(&self, byte: u8, question: SettlementRequest) -> AnswerBody {
        opened(&self.remote(byte), question).await.body
    }

    async fn submit(&self, byte: u8, order: SignedOrder) -> OperationAnswer {
        operation(self.ask(byte, submit(order)).await)
    }

    async fn statement(&self, byte: u8, after: Option<Sequence>) -> Statement {
        let count = 255;
        let kind = ReadKind::Statement { after, count };
        statement(self.ask(byte, read(byte, kind)).await)
    }

    async fn grant(&self, byte: u8, amount: u64) {
        let grant = grant(&format!("grant {byte} {amount}"), byte, amount);
        self.keeper.grant(grant).await.unwrap();
    }

    fn order(&self, byte: u8, nonce: u64, kind: OrderKind) -> SignedOrder {
        let order = Order {
            network_id: self.id,
            account: key(byte).id(),
            nonce,
            valid_until: UnixTime::from_secs(START + 3_600),
            kind,
            memo_hash: [0; 32],
        };
        order.sign(&key(byte))
    }

    fn transfer(&self, byte: u8, nonce: u64, to: u8, amount: u64) -> SignedOrder {
        let kind = OrderKind::Transfer {
            to: key(to).id(),
            amount: MicroCredits::new(amount),
        };
        self.order(byte, nonce, kind)
    }
}

/// A network in which a micro-credit may be sent.
fn genesis() -> Genesis {
    let text = Genesis::render("testers", key(SETTLEMENT).id(), &[key(ISSUER).id()]).unwrap();
    let text = text.replace(
        "transfer_microcredits_min = 1000",
        "transfer_microcredits_min = 1",
    );
    Genesis::parse(&text).unwrap()
}

fn grant(request_id: &str, byte: u8, amount: u64) -> NewGrant {
    NewGrant {
        request_id: request_id.to_owned(),
        to: key(byte).id(),
        amount: MicroCredits::new(amount),
        reason: "welcome".to_owned(),
    }
}

/// A question of this account's, good for a while.
fn read(byte: u8, kind: ReadKind) -> SettlementRequest {
    let read = ReadRequest {
        network_id: genesis().network_id(),
        account: key(byte).id(),
        kind,
        random: [3; 16],
        valid_until: UnixTime::from_secs(START + 300),
    };
    SettlementRequest::Read(read.sign(&key(byte)))
}

fn submit(order: SignedOrder) -> SettlementRequest {
    let random = [4; 16];
    SettlementRequest::Submit { random, order }
}

fn member(byte: u8) -> AccountKeys {
    AccountKeys {
        identity: Arc::new(key(byte)),
        network_id: genesis().network_id(),
        settlement: key(SETTLEMENT).id(),
    }
}

async fn opened(way: &dyn Settlement, question: SettlementRequest) -> SettlementAnswer {
    let hash = question.hash();
    let envelope = way.ask(question).await.unwrap();
    let (id, settlement) = (genesis().network_id(), key(SETTLEMENT).id());
    let scheme = key(1).share_scheme();
    envelope.open(&*scheme, id, &settlement, hash, 0).unwrap()
}

#[track_caller]
fn operation(answer: AnswerBody) -> OperationAnswer {
    match answer {
        AnswerBody::Operation(operation) => *operation,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn statement(answer: AnswerBody) -> Statement {
    match answer {
        AnswerBody::Statement(statement) => statement,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_grant_is_made_once_whatever_the_repeats() {
    let network = Network::start();
    let first = network.keeper.grant(grant("a", 1, 500)).await.unwrap();
    let again = network.keeper.grant(grant("a", 1, 500)).await.unwrap();
    assert_eq!(first, again);
    let other = network.keeper.grant(grant("a", 1, 501)).await;
    assert!(
        matches!(
            other,
            Err(GrantError::Issue(IssueError::RequestIdReused(_)))
        ),
        "{other:?}"
    );
    let said = network.statement(1, None).await;
    assert_eq!(said.account.status.available, MicroCredits::new(500));
    assert_eq!(said.lines.len(), 1);
    assert_eq!(said.lines[0].certificate.body.sequence, first.sequence);
    assert_eq!(said.lines[0].certificate.body.entry_hash, first.entry_hash);
    said.lines[0]
        .certificate
        .verify(&key(SETTLEMENT).id())
        .unwrap();
}

#[tokio::test]
async fn a_grant_interrupted_between_remembering_and_entering_is_finished_by_its_repeat() {
    let network = Network::start();
    network.grant(1, 1).await;
    // The order is remembered, the ledger's batch fails.
    network.store.fail_after(1);
    let failed = network.keeper.grant(grant("a", 1, 500)).await;
    assert!(
        matches!(failed, Err(GrantError::Issue(IssueError::Ledger(_)))),
        "{failed:?}"
    );
    let survived = network.store.backup();
    let genesis = genesis();
    let now = UnixTime::from_secs(START + 5);
    let ledger = NetworkLedger::open(survived.clone(), genesis, key(SETTLEMENT), None).unwrap();
    let issuing = Issuing::new(key(ISSUER), survived);
    let (keeper, _) = Keeper::start(ledger, Some(issuing), move || now).unwrap();
    keeper.grant(grant("a", 1, 500)).await.unwrap();
    keeper.grant(grant("a", 1, 500)).await.unwrap();
    let way = Local::new(keeper, key(1).id());
    let (after, count) = (None, 10);
    let asked = read(1, ReadKind::Statement { after, count });
    let said = statement(opened(&way, asked).await.body);
    assert_eq!(said.account.status.available, MicroCredits::new(501));
}

#[tokio::test]
async fn an_order_moves_credit_once_and_a_second_order_on_its_nonce_is_told_which_was_first() {
    let network = Network::start();
    network.grant(1, 500).await;
    let order = network.transfer(1, 1, 2, 200);
    let first = network.submit(1, order).await;
    assert_eq!((first.refusal, first.used_by), (None, None));
    let line = first.line.unwrap();
    assert_eq!(
        line.certificate.body.available_after,
        MicroCredits::new(300)
    );
    let again = network.submit(1, order).await;
    assert_eq!((again.refusal, again.used_by), (None, None));
    assert_eq!(again.sequence, first.sequence);
    assert_eq!(again.line, None, "who repeats an order learns no credit");
    assert_eq!(network.statement(1, None).await.lines.len(), 2);

    let rival = network.transfer(1, 1, 3, 200);
    let told = network.submit(1, rival).await;
    assert_eq!(told.refusal, Some(Refusal::WrongNonce));
    assert_eq!(told.used_by, Some(order));
    let received = network.statement(2, Some(Sequence::ZERO)).await;
    assert_eq!(received.account.status.available, MicroCredits::new(200));
    assert_eq!(received.lines.len(), 1);
}

#[tokio::test]
async fn a_forged_order_is_refused_and_leaves_no_entry() {
    let network = Network::start();
    network.grant(1, 500).await;
    let before = network.keeper.overview().await.unwrap();
    let order = network.transfer(1, 1, 2, 200);
    let forged = SignedOrder {
        signature: order.body.sign(&key(9)).signature,
        ..order
    };
    let told = network.ask(1, submit(forged)).await;
    assert_eq!(told, AnswerBody::Refused(Refusal::BadSignature));
    assert_eq!(network.keeper.overview().await.unwrap(), before);
}

/// Row L10: an account, its locks and its lines are told to whoever is party to them.
#[tokio::test]
async fn l10_nobody_reads_what_is_not_its_own() {
    let network = Network::start();
    network.grant(1, 500).await;
    let open = OrderKind::OpenLock {
        payee: key(2).id(),
        amount: MicroCredits::new(300),
        ttl_secs: 3_600,
    };
    let opened = network.submit(1, network.order(1, 1, open)).await;
    let lock_id = opened.line.unwrap().lock.unwrap().lock.body.lock_id;
    for (byte, is_party) in [(1, true), (2, true), (3, false)] {
        let asked = read(byte, ReadKind::Lock(lock_id));
        let AnswerBody::Lock(told) = network.ask(byte, asked).await else {
            panic!("a lock was asked for");
        };
        assert_eq!(told.is_some(), is_party, "{byte}");
    }
    let SettlementRequest::Read(mut stolen) = read(3, ReadKind::Account) else {
        unreachable!()
    };
    stolen.body.account = key(1).id();
    let told = network.ask(3, SettlementRequest::Read(stolen)).await;
    assert_eq!(told, AnswerBody::Refused(Refusal::BadSignature));
    network.clock.store(START + 301, Ordering::SeqCst);
    let told = network.ask(1, read(1, ReadKind::Account)).await;
    assert_eq!(told, AnswerBody::Refused(Refusal::Expired));
}

#[tokio::test]
async fn a_lock_pays_its_claim_once_and_returns_the_rest_when_its_time_has_passed() {
    let network = Network::start();
    network.grant(1, 500).await;
    let open = OrderKind::OpenLock {
        payee: key(2).id(),
        amount: MicroCredits::new(300),
        ttl_secs: 3_600,
    };
    let opened = network.submit(1, network.order(1, 1, open)).await;
    let lock: Lock = opened.line.unwrap().lock.unwrap().lock.body;
    let receipt = Receipt {
        network_id: network.id,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(1 << 20),
        amount: MicroCredits::new(120),
    };
    let claim = Claim {
        network_id: network.id,
        lock_id: lock.lock_id,
        payee: key(2).id(),
        receipt: receipt.sign(&key(1)),
    };
    let claim = claim.sign(&key(2));
    for is_new in [true, false] {
        let random = [u8::from(is_new); 16];
        let asked = SettlementRequest::Claim { random, claim };
        let told = operation(network.ask(2, asked).await);
        assert_eq!(told.line.is_some(), is_new);
        let said = network.statement(2, None).await;
        assert_eq!(said.account.status.available, MicroCredits::new(120));
    }
    let asked = read(2, ReadKind::Lock(lock.lock_id));
    let AnswerBody::Lock(Some(status)) = network.ask(2, asked).await else {
        panic!("there is a lock");
    };
    assert_eq!(status.claimed, MicroCredits::new(120));
    assert!(!status.closed);
    let none = network
        .ask(2, read(2, ReadKind::Lock(LockId::new(77))))
        .await;
    assert_eq!(none, AnswerBody::Lock(None));

    network.clock.store(START + 200_000, Ordering::SeqCst);
    let mut lines = network.keeper.lines(key(1).id());
    network.keeper.tick();
    lines.changed().await.unwrap();
    let late = ReadRequest {
        network_id: network.id,
        account: key(1).id(),
        kind: ReadKind::Account,
        random: [0; 16],
        valid_until: UnixTime::from_secs(START + 200_100),
    };
    let asked = SettlementRequest::Read(late.sign(&key(1)));
    let AnswerBody::Account(account) = network.ask(1, asked).await else {
        panic!("an account was asked for");
    };
    assert_eq!(account.status.available, MicroCredits::new(380));
    assert_eq!(account.status.reserved, MicroCredits::ZERO);
}

/// Who hangs up before it is answered has its orders counted like any other.
#[tokio::test]
async fn l4_an_order_whose_sender_is_gone_counts_against_its_budget() {
    let network = Network::start();
    network.grant(1, 1_000).await;
    let (_stop, stopping) = watch::channel(false);
    let shared = Arc::new(Shared::new(network.keeper.clone(), stopping));
    let from = Host::of([127, 0, 0, 2].into());
    let budget = u64::from(network.keeper.limits().order_budget);
    for nonce in 1..=budget {
        let order = network.transfer(1, nonce, 2, 1);
        tokio::select! {
            biased;
            _ = shared.answer(from, submit(order)) => panic!("answered at once"),
            () = std::future::ready(()) => {}
        }
        while network.keeper.overview().await.unwrap().entry_count < nonce + 2 {}
    }
    // The last of them may be counted a moment after it is entered.
    let mut nonces = budget + 1..;
    while let Some(nonce) = nonces.next()
        && shared
            .answer(from, submit(network.transfer(1, nonce, 2, 1)))
            .await
            .is_ok()
    {
        assert!(nonce < budget + 8, "{nonce} orders of a budget of {budget}");
    }
}

#[tokio::test]
async fn a_long_statement_comes_page_by_page_without_a_gap() {
    let network = Network::start();
    network.grant(1, 1_000).await;
    for nonce in 1..=300 {
        let order = network.transfer(1, nonce, 2, 1);
        network.keeper.ask(submit(order)).await.unwrap();
    }
    let mut lines = Vec::new();
    let mut previous = None;
    loop {
        let page = network.statement(2, previous).await;
        for line in &page.lines {
            assert_eq!(line.previous, previous);
            previous = Some(line.certificate.body.sequence);
        }
        assert_eq!(page.account.status.available, MicroCredits::new(300));
        lines.extend(page.lines);
        if !page.more {
            break;
        }
    }
    assert_eq!(lines.len(), 300);
}

#[tokio::test]
async fn whoever_waits_for_a_line_is_told_of_the_next_and_of_nobody_elses() {
    let network = Network::start();
    network.grant(1, 1).await;
    let own = key(1).id();
    let ways: [Box<dyn Settlement>; 2] = [
        Box::new(network.remote(1)),
        Box::new(Local::new(network.keeper.clone(), own)),
    ];
    for (index, way) in ways.iter().enumerate() {
        let seen = way.next_line(None).await;
        let waits = way.next_line(seen);
        let enters = async {
            let amount = u64::try_from(index).unwrap() + 2;
            network.grant(2, amount).await;
            network.grant(1, amount).await;
        };
        let (told, ()) = tokio::join!(waits, enters);
        assert!(told > seen);
        let count = 10;
        let asked = read(1, ReadKind::Statement { after: seen, count });
        let said = statement(opened(&**way, asked).await.body);
        let lines: Vec<Sequence> = said
            .lines
            .iter()
            .map(|line| line.certificate.body.sequence)
            .collect();
        assert_eq!(lines, Vec::from_iter(told));
    }
}

#[tokio::test]
async fn an_unreachable_node_says_so_and_is_found_again_when_it_is_back() {
    let door = Door::open(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = door.addr().unwrap();
    drop(door);
    let remote = Remote::new(&format!("http://{addr}"), None, member(1)).unwrap();
    let asked = read(1, ReadKind::Account);
    let reply = remote.ask(asked.clone()).await;
    assert!(matches!(reply, Err(Unreachable(_))), "{reply:?}");
    let _network = Network::start_at(addr);
    assert!(matches!(
        opened(&remote, asked).await.body,
        AnswerBody::Account(_)
    ));
    assert!(Remote::new("ftp://example.org", None, member(1)).is_err());
}

#[tokio::test]
async fn what_is_not_durable_is_not_acknowledged() {
    let network = Network::start();
    network.grant(1, 500).await;
    let remote = network.remote(1);
    network.store.fail_after(0);
    let order = network.transfer(1, 1, 2, 200);
    let reply = remote.ask(submit(order)).await;
    assert!(matches!(reply, Err(Unreachable(_))), "{reply:?}");
    let mut service = network.service().await;
    let request = submit(order).to_bytes();
    let status = service.ask(AskRequest { request }).await.unwrap_err();
    let failure = Failure::of(&status).unwrap();
    assert_eq!(failure.reason, ErrorReason::LedgerPoisoned);
}

#[tokio::test]
async fn malformed_and_oversized_requests_are_refused_at_the_door() {
    let network = Network::start();
    let mut service = network.service().await;
    let request = vec![1; 10];
    let status = service.ask(AskRequest { request }).await.unwrap_err();
    let reason = |status| Failure::of(&status).unwrap().reason;
    assert_eq!(reason(status), ErrorReason::BadSignedBytes);
    let request = vec![1; 100_000];
    let status = service.ask(AskRequest { request }).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let request = read(1, ReadKind::Account).to_bytes();
    let status = service.watch(WatchRequest { request }).await.unwrap_err();
    assert_eq!(reason(status), ErrorReason::BadSignedBytes);
}

#[tokio::test]
async fn a_key_that_asks_too_often_waits_and_others_do_not() {
    let network = Network::start();
    network.grant(1, 1_000).await;
    let mut service = network.service().await;
    let mut answered = 0;
    let status = loop {
        let order = network.transfer(1, answered + 1, 2, 1);
        let request = submit(order).to_bytes();
        match service.ask(AskRequest { request }).await {
            Ok(_) => answered += 1,
            Err(status) => break status,
        }
        assert!(answered < 1_000, "never refused");
    };
    assert!(answered >= 200, "{answered}");
    let failure = Failure::of(&status).unwrap();
    assert_eq!(failure.reason, ErrorReason::RateLimited);
    assert!(failure.retry_after.is_some());
    network.submit(3, network.transfer(3, 1, 2, 1)).await;
    // Its reads have a share of their own.
    network.statement(1, None).await;
}

/// Who was paid has what its payer has signed.
#[tokio::test]
async fn what_a_key_signed_before_uses_up_nothing_of_it_however_often_it_is_repeated() {
    let network = Network::start();
    network.grant(1, 2).await;
    let mut service = network.service().await;
    let old = submit(network.transfer(1, 1, 2, 1)).to_bytes();
    for _ in 0..1_000 {
        let request = old.clone();
        service.ask(AskRequest { request }).await.unwrap();
    }
    let new = network.transfer(1, 2, 2, 1);
    assert_eq!(network.submit(1, new).await.refusal, None);
}

/// Over plain http questions are overheard, and good for minutes: who repeats one from elsewhere
/// uses up nothing of the key's that signed it, and not more than one key's share.
#[tokio::test]
async fn a_read_that_is_repeated_from_elsewhere_uses_up_nothing_of_its_key() {
    let network = Network::start();
    let (_stop, stopping) = watch::channel(false);
    let shared = Arc::new(Shared::new(network.keeper.clone(), stopping));
    let [own, elsewhere] = [2, 3].map(|host| Host::of([10, 0, 0, host].into()));
    let asked = || read(1, ReadKind::Account);
    let mut answered = 0;
    let failure = loop {
        match shared.answer(elsewhere, asked()).await {
            Ok(_) => answered += 1,
            Err(failure) => break failure,
        }
        assert!(answered < 10_000, "never refused");
    };
    assert!(answered >= 500, "{answered}");
    assert_eq!(failure.reason, ErrorReason::RateLimited);
    shared.answer(own, asked()).await.unwrap();
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_and_then_what_comes() {
    let network = Network::start();
    network.grant(1, 500).await;
    let mut service = network.service().await;
    let question = read(2, ReadKind::Watch { after: None });
    let hash = question.hash();
    let request = question.to_bytes();
    let mut news = service
        .watch(WatchRequest { request })
        .await
        .unwrap()
        .into_inner();
    let (scheme, settlement) = (key(1).share_scheme(), key(SETTLEMENT).id());
    let mut next = async |index| {
        let message = news.message().await.unwrap().unwrap();
        let envelope = Envelope {
            answer: message.answer,
            signature: Signature::from_bytes(message.signature.try_into().unwrap()),
        };
        let answer = envelope.open(&*scheme, network.id, &settlement, hash, index);
        statement(answer.unwrap().body)
    };
    assert!(next(0).await.lines.is_empty());
    network.grant(3, 5).await;
    let order = network.transfer(1, 1, 2, 200);
    network.keeper.ask(submit(order)).await.unwrap();
    let told = next(1).await;
    assert_eq!(told.lines.len(), 1);
    assert_eq!(told.account.status.available, MicroCredits::new(200));
}

#[tokio::test]
async fn orders_that_arrive_together_are_each_answered_and_conserve_credit() {
    let network = Network::start();
    let payers: Vec<u8> = (1..=50).collect();
    for payer in &payers {
        network.grant(*payer, 10).await;
    }
    let mut asking = tokio::task::JoinSet::new();
    for payer in payers.clone() {
        let keeper = network.keeper.clone();
        let order = network.transfer(payer, 1, 100, 10);
        asking.spawn(async move { keeper.ask(submit(order)).await });
    }
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap().unwrap().answer;
        assert_eq!(operation(answer.body).refusal, None);
    }
    let total = network.statement(100, None).await;
    assert_eq!(total.account.status.available, MicroCredits::new(500));
}

/// A keeper without the issuer's key grants nothing.
#[tokio::test]
async fn only_the_issuer_grants() {
    let genesis = genesis();
    let now = UnixTime::from_secs(START);
    let ledger = NetworkLedger::found(Memory::new(), genesis, key(SETTLEMENT), now).unwrap();
    let (keeper, thread) = Keeper::start(ledger, None, move || now).unwrap();
    let refused = keeper.grant(grant("a", 1, 1)).await;
    assert!(
        matches!(refused, Err(GrantError::Issue(IssueError::NotIssuer))),
        "{refused:?}"
    );
    let nobody: NodeId = key(1).id();
    let watched = keeper.watched(nobody, None).await.unwrap();
    assert_eq!(statement(watched.body).lines, []);
    drop(keeper);
    thread.join().unwrap();
}

/// Over TLS with a private certificate: known by it, and by it alone.
#[tokio::test]
async fn l1_a_settlement_node_is_asked_over_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = certified.cert.pem();
    let tls_key = certified.signing_key.serialize_pem();
    let identity = tonic::transport::Identity::from_pem(&pem, tls_key);
    let tls = ServerTlsConfig::new().identity(identity);
    let network = Network::start_with(([127, 0, 0, 1], 0).into(), Some(tls));
    let uri = format!("https://localhost:{}", network.addr.port());
    let known = Remote::new(&uri, Some(pem.as_bytes()), member(1)).unwrap();
    let asked = read(1, ReadKind::Account);
    let told = opened(&known, asked.clone()).await.body;
    assert!(matches!(told, AnswerBody::Account(_)), "{told:?}");
    let stranger = Remote::new(&uri, None, member(1)).unwrap();
    let reply = stranger.ask(asked.clone()).await;
    assert!(matches!(reply, Err(Unreachable(_))), "{reply:?}");
    let plain = network.remote(1).ask(asked).await;
    assert!(matches!(plain, Err(Unreachable(_))), "{plain:?}");
}

/// A ledger that cannot write any more does not go on answering as if it could (row L12).
#[tokio::test]
async fn l12_a_ledger_that_cannot_write_says_so_to_its_daemon() {
    let genesis = genesis();
    let now = UnixTime::from_secs(START);
    let store = Memory::new();
    let ledger = NetworkLedger::found(store.clone(), genesis, key(SETTLEMENT), now).unwrap();
    let issuing = Issuing::new(key(ISSUER), Memory::new());
    let (keeper, _) = Keeper::start(ledger, Some(issuing), move || now).unwrap();
    keeper.grant(grant("a", 1, 1)).await.unwrap();
    let watched = keeper.clone();
    let mut failed = std::pin::pin!(watched.failed());
    tokio::select! {
        biased;
        why = &mut failed => panic!("nothing has failed: {why}"),
        () = tokio::task::yield_now() => {}
    }
    store.fail_after(0);
    keeper.grant(grant("b", 1, 1)).await.unwrap_err();
    let why = failed.await.to_string();
    assert!(why.contains("no space left on device"), "{why}");
}
