//! A network in one process: a real ledger in memory, its keeper, its listener, and nodes that ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{
    IssueError, Issuing, NewGrant, SettlementAnswer, SettlementRequest, Statement,
};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Bytes, Identity, MicroCredits, NetworkId, NodeId, Sequence, UnixTime};
use seedbank_proto::Failure;
use seedbank_proto::v1::settlement_service_client::SettlementServiceClient;
use seedbank_proto::v1::{self, ErrorReason};
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::Channel;

use super::{Door, serve};
use crate::settlement::{GrantError, Keeper, Local, Remote, Reply, Settlement};

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
    async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    async fn start_at(addr: SocketAddr) -> Self {
        let store = Memory::new();
        let genesis = genesis();
        let id = genesis.network_id();
        let now = UnixTime::from_secs(START);
        let ledger = NetworkLedger::open(store.clone(), genesis, key(SETTLEMENT), now).unwrap();
        let issuing = Issuing::new(key(ISSUER), store.clone());
        let clock = Arc::new(AtomicU64::new(START));
        let time = clock.clone();
        let read = move || UnixTime::from_secs(time.load(Ordering::SeqCst));
        let (keeper, _) = Keeper::start(ledger, Some(issuing), read).unwrap();
        let door = Door::open(addr).await.unwrap();
        let addr = door.addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(serve(door, keeper.clone(), stopping));
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
        Remote::new(&format!("http://{}", self.addr), key(byte).id()).unwrap()
    }

    async fn service(&self) -> SettlementServiceClient<Channel> {
        let uri = format!("http://{}", self.addr);
        SettlementServiceClient::connect(uri).await.unwrap()
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

#[track_caller]
fn said(reply: Reply) -> Statement {
    match reply {
        Ok(SettlementAnswer::Statement(statement)) => statement,
        other => panic!("{other:?}"),
    }
}

fn request(order: &SignedOrder) -> v1::SubmitRequest {
    v1::SubmitRequest {
        signed_order: order.to_bytes(),
        after_sequence: None,
    }
}

fn submit(order: SignedOrder) -> SettlementRequest {
    SettlementRequest::Submit { order, after: None }
}

#[tokio::test]
async fn a_grant_is_made_once_whatever_the_repeats() {
    let network = Network::start().await;
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
    let receiver = network.remote(1);
    let reply = receiver.ask(SettlementRequest::Statement { after: None });
    let said = said(reply.await);
    assert_eq!(said.account.available, MicroCredits::new(500));
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
    let network = Network::start().await;
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
    let ledger = NetworkLedger::open(survived.clone(), genesis, key(SETTLEMENT), now).unwrap();
    let issuing = Issuing::new(key(ISSUER), survived);
    let (keeper, _) = Keeper::start(ledger, Some(issuing), move || now).unwrap();
    keeper.grant(grant("a", 1, 500)).await.unwrap();
    keeper.grant(grant("a", 1, 500)).await.unwrap();
    let statement = keeper.statement(key(1).id(), None, 10).await.unwrap();
    assert_eq!(statement.account.available, MicroCredits::new(501));
}

#[tokio::test]
async fn an_order_moves_credit_once_and_a_second_order_on_its_nonce_is_told_which_was_first() {
    let network = Network::start().await;
    network.grant(1, 500).await;
    let payer = network.remote(1);
    let order = network.transfer(1, 1, 2, 200);
    let first = said(payer.ask(submit(order)).await);
    assert_eq!(first.refusal, None);
    assert_eq!(first.account.available, MicroCredits::new(300));
    assert_eq!(first.lines.len(), 2);
    let again = said(payer.ask(submit(order)).await);
    assert_eq!((again.refusal, again.used_by), (None, None));
    assert_eq!(again.account, first.account);
    assert_eq!(again.lines, first.lines);

    let rival = network.transfer(1, 1, 3, 200);
    let told = said(payer.ask(submit(rival)).await);
    assert_eq!(told.refusal, Some(Refusal::WrongNonce));
    assert_eq!(told.used_by, Some(Box::new(order)));
    let receiver = network.remote(2);
    let after = Some(Sequence::ZERO);
    let received = said(receiver.ask(SettlementRequest::Statement { after }).await);
    assert_eq!(received.account.available, MicroCredits::new(200));
    assert_eq!(received.lines.len(), 1);
}

#[tokio::test]
async fn a_forged_order_is_refused_and_leaves_no_entry() {
    let network = Network::start().await;
    network.grant(1, 500).await;
    let before = network.keeper.overview().await.unwrap();
    let order = network.transfer(1, 1, 2, 200);
    let forged = SignedOrder {
        signature: order.body.sign(&key(9)).signature,
        ..order
    };
    let told = said(network.remote(1).ask(submit(forged)).await);
    assert_eq!(told.refusal, Some(Refusal::BadSignature));
    assert_eq!(told.account.available, MicroCredits::new(500));
    assert_eq!(network.keeper.overview().await.unwrap(), before);
}

#[tokio::test]
async fn a_lock_pays_its_claim_once_and_returns_the_rest_when_its_time_has_passed() {
    let network = Network::start().await;
    network.grant(1, 500).await;
    let open = OrderKind::OpenLock {
        payee: key(2).id(),
        amount: MicroCredits::new(300),
        ttl_secs: 3_600,
    };
    let opened = said(
        network
            .remote(1)
            .ask(submit(network.order(1, 1, open)))
            .await,
    );
    let lock: Lock = opened.lines[1].lock.unwrap().lock.body;
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
    let payee = network.remote(2);
    for _ in 0..2 {
        let told = said(
            payee
                .ask(SettlementRequest::Claim { claim, after: None })
                .await,
        );
        assert_eq!(told.account.available, MicroCredits::new(120));
    }
    let reply = payee.ask(SettlementRequest::Lock(lock.lock_id)).await;
    let Ok(SettlementAnswer::Lock(Some(status))) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(status.claimed, MicroCredits::new(120));
    assert!(!status.closed);
    let none = payee.ask(SettlementRequest::Lock(LockId::new(77))).await;
    assert_eq!(none, Ok(SettlementAnswer::Lock(None)));

    network.clock.store(START + 200_000, Ordering::SeqCst);
    let mut lines = network.keeper.lines(key(1).id());
    network.keeper.tick();
    lines.changed().await.unwrap();
    let after = SettlementRequest::Statement { after: None };
    let payer = said(network.remote(1).ask(after).await);
    assert_eq!(payer.account.available, MicroCredits::new(380));
    assert_eq!(payer.account.reserved, MicroCredits::ZERO);
}

#[tokio::test]
async fn a_long_statement_comes_whole_over_its_pages() {
    let network = Network::start().await;
    network.grant(1, 1_000).await;
    for nonce in 1..=300 {
        let order = network.transfer(1, nonce, 2, 1);
        let newest = Some(Sequence::new(1 << 40));
        network.keeper.submit(order, newest).await.unwrap();
    }
    let ask = SettlementRequest::Statement { after: None };
    let remote = said(network.remote(2).ask(ask.clone()).await);
    assert_eq!(remote.lines.len(), 300);
    assert_eq!(remote.account.available, MicroCredits::new(300));
    let local = Local::new(network.keeper.clone(), key(2).id());
    assert_eq!(said(local.ask(ask).await).lines, remote.lines);
    let mut previous = None;
    for line in &remote.lines {
        assert_eq!(line.previous, previous);
        previous = Some(line.certificate.body.sequence);
    }
}

#[tokio::test]
async fn whoever_waits_for_a_line_is_told_of_the_next_and_of_nobody_elses() {
    let network = Network::start().await;
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
        let after = SettlementRequest::Statement { after: seen };
        let said = said(way.ask(after).await);
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
    let door = Door::open(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = door.addr().unwrap();
    drop(door);
    let remote = Remote::new(&format!("http://{addr}"), key(1).id()).unwrap();
    let ask = SettlementRequest::Statement { after: None };
    let reply = remote.ask(ask.clone()).await;
    assert!(matches!(reply, Err(Unreachable(_))), "{reply:?}");
    let _network = Network::start_at(addr).await;
    assert_eq!(said(remote.ask(ask).await).account.nonce, 0);
    assert!(Remote::new("https://example.org", key(1).id()).is_err());
}

#[tokio::test]
async fn what_is_not_durable_is_not_acknowledged() {
    let network = Network::start().await;
    network.grant(1, 500).await;
    let remote = network.remote(1);
    network.store.fail_after(0);
    let order = network.transfer(1, 1, 2, 200);
    let reply = remote.ask(submit(order)).await;
    assert!(matches!(reply, Err(Unreachable(_))), "{reply:?}");
    let mut service = network.service().await;
    let request = v1::SubmitRequest {
        signed_order: order.to_bytes(),
        after_sequence: None,
    };
    let mut answers = service.submit(tokio_stream::once(request)).await.unwrap();
    let status = answers.get_mut().message().await.unwrap_err();
    let failure = Failure::of(&status).unwrap();
    assert_eq!(failure.reason, ErrorReason::LedgerPoisoned);
}

#[tokio::test]
async fn malformed_and_oversized_requests_are_refused_at_the_door() {
    let network = Network::start().await;
    let mut service = network.service().await;
    let request = v1::ClaimRequest {
        signed_claim: vec![1; 10],
        after_sequence: None,
    };
    let status = service.claim(request).await.unwrap_err();
    assert_eq!(
        Failure::of(&status).unwrap().reason,
        ErrorReason::BadSignedBytes
    );
    let request = v1::ClaimRequest {
        signed_claim: vec![1; 100_000],
        after_sequence: None,
    };
    let status = service.claim(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let request = v1::GetAccountRequest {
        account: "somebody".into(),
    };
    let status = service.get_account(request).await.unwrap_err();
    assert_eq!(Failure::of(&status).unwrap().reason, ErrorReason::BadField);
}

#[tokio::test]
async fn a_key_that_asks_too_often_waits_and_others_do_not() {
    let network = Network::start().await;
    network.grant(1, 1_000).await;
    let mut service = network.service().await;
    let requests: Vec<_> = (1..=1_000)
        .map(|nonce| v1::SubmitRequest {
            // The answers tell of no lines, which would count against the address.
            after_sequence: Some(1_000_000),
            ..request(&network.transfer(1, nonce, 2, 1))
        })
        .collect();
    let flood = tokio_stream::iter(requests);
    let mut answers = service.submit(flood).await.unwrap().into_inner();
    let mut answered = 0;
    let status = loop {
        match answers.message().await {
            Ok(Some(_)) => answered += 1,
            Ok(None) => panic!("never refused, {answered} answers"),
            Err(status) => break status,
        }
    };
    assert!(answered >= 200, "{answered}");
    let failure = Failure::of(&status).unwrap();
    assert_eq!(failure.reason, ErrorReason::RateLimited);
    assert!(failure.retry_after.is_some());
    let other = network.transfer(3, 1, 2, 1);
    said(network.remote(3).ask(submit(other)).await);
}

/// Statements are anybody's to read, and with them what an account has signed.
#[tokio::test]
async fn what_a_key_signed_before_uses_up_nothing_of_it_however_often_it_is_repeated() {
    let network = Network::start().await;
    network.grant(1, 2).await;
    let mut service = network.service().await;
    let old = request(&network.transfer(1, 1, 2, 1));
    let flood = tokio_stream::iter(std::iter::repeat_n(old, 1_000));
    let mut answers = service.submit(flood).await.unwrap().into_inner();
    for _ in 0..1_000 {
        answers.message().await.unwrap().unwrap();
    }
    let new = network.transfer(1, 2, 2, 1);
    assert_eq!(said(network.remote(1).ask(submit(new)).await).refusal, None);
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_and_then_what_comes() {
    let network = Network::start().await;
    network.grant(1, 500).await;
    let mut service = network.service().await;
    let account = key(2).id().to_string();
    let request = v1::WatchRequest {
        account,
        after_sequence: None,
    };
    let mut news = service.watch(request).await.unwrap().into_inner();
    let first = news.message().await.unwrap().unwrap().statement.unwrap();
    assert!(first.lines.is_empty());
    network.grant(3, 5).await;
    let order = network.transfer(1, 1, 2, 200);
    network.keeper.submit(order, None).await.unwrap();
    let next = news.message().await.unwrap().unwrap().statement.unwrap();
    assert_eq!(next.lines.len(), 1);
    assert_eq!(next.account.unwrap().available_microcredits, 200);
}

#[tokio::test]
async fn orders_that_arrive_together_are_each_answered_and_conserve_credit() {
    let network = Network::start().await;
    let payers: Vec<u8> = (1..=50).collect();
    for payer in &payers {
        network.grant(*payer, 10).await;
    }
    let mut asking = tokio::task::JoinSet::new();
    for payer in payers.clone() {
        let keeper = network.keeper.clone();
        let order = network.transfer(payer, 1, 100, 10);
        asking.spawn(async move { keeper.submit(order, None).await });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().unwrap().0.refusal, None);
    }
    let total = network.keeper.statement(key(100).id(), None, 1).await;
    assert_eq!(total.unwrap().account.available, MicroCredits::new(500));
}

/// A keeper without the issuer's key grants nothing.
#[tokio::test]
async fn only_the_issuer_grants() {
    let genesis = genesis();
    let now = UnixTime::from_secs(START);
    let ledger = NetworkLedger::open(Memory::new(), genesis, key(SETTLEMENT), now).unwrap();
    let (keeper, thread) = Keeper::start(ledger, None, move || now).unwrap();
    let refused = keeper.grant(grant("a", 1, 1)).await;
    assert!(
        matches!(refused, Err(GrantError::Issue(IssueError::NotIssuer))),
        "{refused:?}"
    );
    let nobody: NodeId = key(1).id();
    assert_eq!(keeper.statement(nobody, None, 1).await.unwrap().lines, []);
    drop(keeper);
    thread.join().unwrap();
}

/// A ledger that cannot write any more does not go on answering as if it could (row L12).
#[tokio::test]
async fn l12_a_ledger_that_cannot_write_says_so_to_its_daemon() {
    let genesis = genesis();
    let now = UnixTime::from_secs(START);
    let store = Memory::new();
    let ledger = NetworkLedger::open(store.clone(), genesis, key(SETTLEMENT), now).unwrap();
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
