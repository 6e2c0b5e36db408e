//! The owner's API in one process: a small backend behind real sockets.

mod fake;
mod files;
mod keeping;
mod watching;

use std::path::Path;
use std::sync::Arc;

use fake::Fake;
use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::units::TorrentId;
use seedbank_proto::Failure;
use seedbank_proto::v1::boost_service_client::BoostServiceClient;
use seedbank_proto::v1::node_service_client::NodeServiceClient;
use seedbank_proto::v1::policy_service_client::PolicyServiceClient;
use seedbank_proto::v1::torrent_service_client::TorrentServiceClient;
use seedbank_proto::v1::wallet_service_client::WalletServiceClient;
use seedbank_proto::v1::{self, ErrorReason};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::{ApiConfig, Listening, ServeError, serve};

struct Served {
    backend: Arc<Fake>,
    folder: TempDir,
    tcp: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn start() -> Self {
        Self::start_with(Fake::new).await
    }

    /// The backend is made for the folder that everything lies in.
    async fn start_with(make: impl FnOnce(&Path) -> Fake) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ApiConfig {
            unix: Some(folder.path().join("api.sock")),
            tcp: vec![([127, 0, 0, 1], 0).into()],
            token_file: folder.path().join("api.token"),
        };
        let listening = Listening::open(&config).await.unwrap();
        let tcp = listening.addresses().pop().unwrap();
        let backend = Arc::new(make(folder.path()));
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(serve(listening, backend.clone(), stopping));
        Self {
            backend,
            folder,
            tcp,
            stop,
            task,
        }
    }

    async fn unix(&self) -> Channel {
        let path = self.folder.path().join("api.sock");
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn tcp(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.tcp.clone()).unwrap();
        endpoint.connect().await.unwrap()
    }

    fn token(&self) -> String {
        let path = self.folder.path().join("api.token");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let header = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
    request.metadata_mut().insert("authorization", header);
    request
}

#[track_caller]
fn assert_reason(status: &Status, code: Code, reason: ErrorReason) -> Failure {
    assert_eq!(status.code(), code, "{status:?}");
    let failure = Failure::of(status).expect("every error carries its reason");
    assert_eq!(failure.reason, reason);
    failure
}

/// A daemon without an API runs until it is told to stop (row N12): the end of this is taken for
/// the end of the daemon.
#[tokio::test]
async fn n12_serving_nobody_lasts_until_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let config = ApiConfig {
        unix: None,
        tcp: Vec::new(),
        token_file: folder.path().join("api.token"),
    };
    let listening = Listening::open(&config).await.unwrap();
    let backend = Arc::new(Fake::new(folder.path()));
    let (stop, stopping) = watch::channel(false);
    let mut served = std::pin::pin!(serve(listening, backend, stopping));
    tokio::select! {
        biased;
        ended = &mut served => panic!("nobody has asked for a stop: {ended:?}"),
        () = tokio::task::yield_now() => {}
    }
    stop.send_replace(true);
    served.await.unwrap();
}

#[tokio::test]
async fn the_owners_socket_needs_no_token() {
    let served = Served::start().await;
    let mut node = NodeServiceClient::new(served.unix().await);
    let answer = node.get_node_info(v1::GetNodeInfoRequest {}).await;
    let info = answer.unwrap().into_inner();
    assert_eq!(info.public_key, fake::own_key().to_string());
    assert_eq!(info.network_name, "testers");
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn tcp_admits_the_token_and_nothing_else() {
    let served = Served::start().await;
    let mut node = NodeServiceClient::new(served.tcp().await);
    let ask = v1::GetNodeInfoRequest {};
    let status = node.get_node_info(ask).await.unwrap_err();
    assert_reason(&status, Code::Unauthenticated, ErrorReason::TokenMissing);

    let token = served.token();
    for wrong in ["", "wrong", &token[1..], &format!("{token}x")] {
        let status = node
            .get_node_info(with_token(ask, wrong))
            .await
            .unwrap_err();
        assert_reason(&status, Code::Unauthenticated, ErrorReason::TokenUnknown);
    }
    node.get_node_info(with_token(ask, &token)).await.unwrap();

    // Health is no way around the token either.
    let mut health = HealthClient::new(served.tcp().await);
    let status = health.check(HealthCheckRequest::default()).await;
    let status = status.unwrap_err();
    assert_reason(&status, Code::Unauthenticated, ErrorReason::TokenMissing);
}

#[tokio::test]
async fn health_serves_and_reflection_names_every_service() {
    let served = Served::start().await;
    let mut health = HealthClient::new(served.unix().await);
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);

    let mut reflection = ServerReflectionClient::new(served.unix().await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(tokio_stream::once(ask));
    let answer = answers.await.unwrap().into_inner().message().await.unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.unwrap().message_response else {
        panic!("no list of services");
    };
    let names: Vec<String> = list.service.into_iter().map(|one| one.name).collect();
    for service in ["Node", "Torrent", "Wallet", "Boost", "Policy"] {
        let name = format!("seedbank.v1.{service}Service");
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!names.contains(&"seedbank.v1.SettlementService".to_owned()));
}

#[tokio::test]
async fn torrents_come_in_pages_without_gap_or_repeat() {
    let served = Served::start().await;
    for byte in 1..=5 {
        served.backend.insert(byte);
    }
    let mut torrents = TorrentServiceClient::new(served.unix().await);
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTorrentsRequest {
            page_size: 2,
            page_token,
            states: Vec::new(),
        };
        let page = torrents.list_torrents(request).await.unwrap().into_inner();
        assert!(page.torrents.len() <= 2);
        seen.extend(page.torrents.into_iter().map(|torrent| torrent.info_hash));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<String> = (1..=5)
        .map(|byte| TorrentId([byte; 20]).to_string())
        .collect();
    assert_eq!(seen, expected);

    let request = v1::ListTorrentsRequest {
        page_token: "page two".into(),
        ..v1::ListTorrentsRequest::default()
    };
    let status = torrents.list_torrents(request).await.unwrap_err();
    assert_reason(&status, Code::InvalidArgument, ErrorReason::BadPageToken);
    let request = v1::ListTorrentsRequest {
        page_size: -1,
        ..v1::ListTorrentsRequest::default()
    };
    let status = torrents.list_torrents(request).await.unwrap_err();
    let failure = assert_reason(&status, Code::InvalidArgument, ErrorReason::BadField);
    assert_eq!(failure.metadata["field"], "page_size");
}

#[tokio::test]
async fn peers_of_an_unknown_torrent_are_an_error_and_of_a_known_one_carry_a_reason() {
    let served = Served::start().await;
    served.backend.insert(1);
    let mut torrents = TorrentServiceClient::new(served.unix().await);
    let ask = |byte| v1::ListTorrentPeersRequest {
        info_hash: TorrentId([byte; 20]).to_string(),
        page_size: 1,
        page_token: String::new(),
    };
    let status = torrents.list_torrent_peers(ask(9)).await.unwrap_err();
    assert_reason(&status, Code::NotFound, ErrorReason::TorrentUnknown);
    let page = torrents.list_torrent_peers(ask(1)).await.unwrap();
    let page = page.into_inner();
    assert_eq!(page.peers.len(), 1);
    assert_eq!(page.peers[0].unchoke_reason(), v1::UnchokeReason::Paid);
    assert_eq!(page.next_page_token, page.peers[0].peer_id);
}

/// The smallest torrent there is.
const TORRENT: &[u8] = b"d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e\
    6:pieces20:01234567890123456789ee";

#[tokio::test]
async fn adding_a_torrent_is_idempotent_and_an_id_stands_for_one_body() {
    let served = Served::start().await;
    let mut torrents = TorrentServiceClient::new(served.unix().await);
    let request = v1::AddTorrentRequest {
        request_id: "one".into(),
        source: Some(v1::add_torrent_request::Source::Metainfo(TORRENT.to_vec())),
        initial_peers: vec!["127.0.0.1:6881".into()],
        ..v1::AddTorrentRequest::default()
    };
    let first = torrents.add_torrent(request.clone()).await.unwrap();
    assert!(!first.into_inner().already_present);
    let again = torrents.add_torrent(request.clone()).await.unwrap();
    assert!(again.into_inner().already_present);

    let other = v1::AddTorrentRequest {
        stopped: true,
        ..request.clone()
    };
    let status = torrents.add_torrent(other).await.unwrap_err();
    assert_reason(&status, Code::AlreadyExists, ErrorReason::RequestIdReused);
    let bad = |change: fn(&mut v1::AddTorrentRequest)| {
        let mut request = v1::AddTorrentRequest {
            request_id: String::new(),
            ..request.clone()
        };
        change(&mut request);
        request
    };
    let cases: [(v1::AddTorrentRequest, ErrorReason); 6] = [
        (bad(|request| request.source = None), ErrorReason::BadField),
        (
            bad(|request| request.download_dir = "downloads".into()),
            ErrorReason::BadField,
        ),
        (
            bad(|request| request.initial_peers = vec!["example.org:1".into()]),
            ErrorReason::BadField,
        ),
        (
            bad(|request| request.trackers = vec!["wss://example.org".into()]),
            ErrorReason::BadField,
        ),
        (
            bad(|request| {
                request.source = Some(v1::add_torrent_request::Source::Metainfo(Vec::new()));
            }),
            ErrorReason::BadMetainfo,
        ),
        (
            bad(|request| {
                let magnet = "magnet:?xt=nothing".to_owned();
                request.source = Some(v1::add_torrent_request::Source::Magnet(magnet));
            }),
            ErrorReason::BadMagnet,
        ),
    ];
    for (request, reason) in cases {
        let status = torrents.add_torrent(request).await.unwrap_err();
        assert_reason(&status, Code::InvalidArgument, reason);
    }
}

#[tokio::test]
async fn long_work_streams_its_progress_to_the_end() {
    let served = Served::start().await;
    served.backend.insert(1);
    let mut torrents = TorrentServiceClient::new(served.unix().await);
    let request = v1::VerifyTorrentRequest {
        info_hash: TorrentId([1; 20]).to_string(),
    };
    let mut steps = torrents.verify_torrent(request).await.unwrap().into_inner();
    let mut last = v1::VerifyTorrentResponse::default();
    while let Some(step) = steps.message().await.unwrap() {
        assert!(step.checked_bytes >= last.checked_bytes);
        last = step;
    }
    assert_eq!(last.checked_bytes, last.total_bytes);

    let request = v1::CreateMetainfoRequest {
        path: "/data/film".into(),
        ..v1::CreateMetainfoRequest::default()
    };
    let mut steps = torrents
        .create_metainfo(request)
        .await
        .unwrap()
        .into_inner();
    let mut last = v1::CreateMetainfoResponse::default();
    while let Some(step) = steps.message().await.unwrap() {
        last = step;
    }
    assert_eq!(last.metainfo, [1, 2, 3]);
    let request = v1::CreateMetainfoRequest {
        path: "/missing".into(),
        ..v1::CreateMetainfoRequest::default()
    };
    let status = torrents.create_metainfo(request).await.unwrap_err();
    assert_reason(&status, Code::NotFound, ErrorReason::PathUnknown);
}

#[tokio::test]
async fn boosts_are_made_once_listed_newest_first_and_refused_with_reasons() {
    let served = Served::start().await;
    served.backend.insert(1);
    let mut boosts = BoostServiceClient::new(served.unix().await);
    let create = |id: &str, max| v1::CreateBoostRequest {
        request_id: id.to_owned(),
        info_hash: TorrentId([1; 20]).to_string(),
        max_microcredits: max,
        bid_microcredits_per_gib: None,
        time_to_live: None,
    };
    let first = boosts.create_boost(create("a", 5)).await.unwrap();
    let first = first.into_inner().boost.unwrap();
    assert_eq!(first.bid_microcredits_per_gib, 6_000_000, "twice par");
    let again = boosts.create_boost(create("a", 5)).await.unwrap();
    assert_eq!(again.into_inner().boost.unwrap().boost_id, first.boost_id);
    let brief = v1::CreateBoostRequest {
        time_to_live: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..create("b", 6)
    };
    let brief = boosts.create_boost(brief).await.unwrap();
    let brief = brief.into_inner().boost.unwrap();
    let lasts = brief.expire_time.unwrap().seconds - brief.create_time.unwrap().seconds;
    assert_eq!(lasts, 60, "by the session's clock");
    let list = boosts.list_boosts(v1::ListBoostsRequest {
        page_size: 1,
        ..v1::ListBoostsRequest::default()
    });
    let list = list.await.unwrap().into_inner();
    assert_eq!(list.boosts[0].max_microcredits, 6);
    assert_eq!(list.next_page_token, list.boosts[0].boost_id);

    let status = boosts.create_boost(create("a", 6)).await.unwrap_err();
    assert_reason(&status, Code::AlreadyExists, ErrorReason::RequestIdReused);
    let status = boosts.create_boost(create("c", 0)).await.unwrap_err();
    assert_reason(&status, Code::InvalidArgument, ErrorReason::BadAmount);
    let status = boosts.create_boost(create("", 5)).await.unwrap_err();
    assert_reason(&status, Code::InvalidArgument, ErrorReason::BadField);
    let status = boosts.create_boost(create("d", 5_000)).await.unwrap_err();
    let failure = assert_reason(
        &status,
        Code::FailedPrecondition,
        ErrorReason::InsufficientCredit,
    );
    assert_eq!(failure.metadata["needed"], "5000");
    assert_eq!(failure.metadata["free"], "1000");
    let unknown = v1::GetBoostRequest {
        boost_id: "77".into(),
    };
    let status = boosts.get_boost(unknown).await.unwrap_err();
    assert_reason(&status, Code::NotFound, ErrorReason::BoostUnknown);
}

#[tokio::test]
async fn a_policy_changes_only_in_the_named_fields() {
    let served = Served::start().await;
    let mut policy = PolicyServiceClient::new(served.unix().await);
    let before = policy.get_policy(v1::GetPolicyRequest {}).await.unwrap();
    let before = before.into_inner().policy.unwrap();
    let set = |policy, path: &str| v1::SetPolicyRequest {
        policy: Some(policy),
        update_mask: Some(prost_types::FieldMask {
            paths: vec![path.to_owned()],
        }),
        until_restart: false,
    };
    let wanted = v1::Policy {
        open_share_percent: 50,
        ..v1::Policy::default()
    };
    let after = policy.set_policy(set(wanted, "open_share_percent")).await;
    let after = after.unwrap().into_inner().policy.unwrap();
    assert_eq!(
        after,
        v1::Policy {
            open_share_percent: 50,
            ..before
        }
    );
    for (wanted, path) in [
        (v1::Policy::default(), "colour"),
        (v1::Policy::default(), "slot_count"),
        (v1::Policy::default(), "paid_rule"),
        (
            v1::Policy {
                open_share_percent: 101,
                ..v1::Policy::default()
            },
            "open_share_percent",
        ),
        (
            v1::Policy {
                friends: vec!["me".into()],
                ..v1::Policy::default()
            },
            "friends",
        ),
    ] {
        let status = policy.set_policy(set(wanted, path)).await.unwrap_err();
        assert_reason(&status, Code::InvalidArgument, ErrorReason::BadField);
    }
}

#[tokio::test]
async fn entries_come_newest_first_and_every_line_of_explain_is_their_sum() {
    let served = Served::start().await;
    served.backend.write_off(5);
    let mut wallet = WalletServiceClient::new(served.unix().await);
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListEntriesRequest {
            page_size: 4,
            page_token,
            kinds: Vec::new(),
        };
        let page = wallet.list_entries(request).await.unwrap().into_inner();
        seen.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let numbers: Vec<i64> = seen.iter().map(|entry| entry.sequence).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1, 0]);
    assert_eq!(seen[0].prev_hash, seen[1].entry_hash);
    for entry in &seen {
        let sum: i64 = entry.postings.iter().map(|one| one.delta_bytes).sum();
        assert_eq!(sum, 0, "{entry:?}");
    }
    let request = v1::ListEntriesRequest {
        kinds: vec![v1::EntryKind::Genesis.into()],
        ..v1::ListEntriesRequest::default()
    };
    let page = wallet.list_entries(request).await.unwrap().into_inner();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.next_page_token, "");

    let bytes: i64 = seen.iter().map(|entry| entry.payload_bytes).sum();
    for group_by in [
        v1::GroupBy::Kind,
        v1::GroupBy::Peer,
        v1::GroupBy::Torrent,
        v1::GroupBy::Day,
    ] {
        let request = v1::ExplainBalanceRequest {
            group_by: group_by.into(),
            start_time: None,
        };
        let answer = wallet.explain_balance(request).await.unwrap().into_inner();
        let sum: i64 = answer.lines.iter().map(|line| line.payload_bytes).sum();
        assert_eq!(sum, bytes, "{group_by:?}: {answer:?}");
        let delta: i64 = answer
            .lines
            .iter()
            .map(|line| line.delta_microcredits)
            .sum();
        assert_eq!(
            answer.opening_microcredits + delta,
            answer.closing_microcredits
        );
        assert_eq!(answer.sequence, 5);
    }
    let mut steps = wallet.check_ledger(v1::CheckLedgerRequest {}).await;
    let steps = steps.as_mut().unwrap().get_mut();
    let mut last = v1::CheckLedgerResponse::default();
    while let Some(step) = steps.message().await.unwrap() {
        last = step;
    }
    assert_eq!((last.checked_count, last.problem.as_str()), (6, ""));
}

#[tokio::test]
async fn credit_moves_only_for_well_formed_requests_and_grants_need_the_issuer() {
    let served = Served::start().await;
    let mut wallet = WalletServiceClient::new(served.unix().await);
    let transfer = |to: &str, amount| v1::TransferRequest {
        request_id: "t".into(),
        to: to.to_owned(),
        amount_microcredits: amount,
    };
    let key = fake::own_key().to_string();
    let answer = wallet.transfer(transfer(&key, 5)).await.unwrap();
    assert_eq!(answer.into_inner().nonce, 1);
    let status = wallet.transfer(transfer("me", 5)).await.unwrap_err();
    assert_reason(&status, Code::InvalidArgument, ErrorReason::BadField);
    let status = wallet.transfer(transfer(&key, -5)).await.unwrap_err();
    assert_reason(&status, Code::InvalidArgument, ErrorReason::BadAmount);
    let status = wallet.transfer(transfer(&key, 4)).await.unwrap_err();
    let failure = assert_reason(&status, Code::InvalidArgument, ErrorReason::BadAmount);
    assert_eq!(failure.metadata["field"], "amount");
    let grant = v1::GrantRequest {
        request_id: "g".into(),
        to: key,
        amount_microcredits: 1,
        reason: String::new(),
    };
    let status = wallet.grant(grant).await.unwrap_err();
    assert_reason(&status, Code::FailedPrecondition, ErrorReason::NotIssuer);
}

#[tokio::test]
async fn a_watcher_resumes_from_a_number_filters_and_is_told_of_the_end() {
    let served = Served::start().await;
    let failed = SessionEvent::TorrentFailed {
        torrent_id: TorrentId([1; 20]),
        reason: "no space left on device".into(),
    };
    let completed = SessionEvent::TorrentCompleted(TorrentId([2; 20]));
    served.backend.happened(failed.clone());
    served.backend.happened(completed.clone());
    let mut node = NodeServiceClient::new(served.unix().await);
    let watch = |from, kinds: &[v1::EventKind]| v1::WatchEventsRequest {
        from_sequence: from,
        kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(),
        stop_at_newest: false,
    };
    let all = node.watch_events(watch(Some(1), &[])).await.unwrap();
    let mut all = all.into_inner();
    let first = all.message().await.unwrap().unwrap();
    assert_eq!(first.kind(), v1::EventKind::TorrentFailed);
    assert_eq!(first.message, "no space left on device");
    let second = all.message().await.unwrap().unwrap();
    assert_eq!(second.sequence, first.sequence + 1);

    let kinds = [v1::EventKind::TorrentCompleted];
    let some = node.watch_events(watch(None, &kinds)).await.unwrap();
    let mut some = some.into_inner();
    served.backend.happened(failed);
    served.backend.happened(completed);
    let event = some.message().await.unwrap().unwrap();
    assert_eq!(event.kind(), v1::EventKind::TorrentCompleted);
    assert_eq!(event.sequence, second.sequence + 2);

    served.stop.send(true).unwrap();
    let status = some.message().await.unwrap_err();
    assert_reason(&status, Code::Unavailable, ErrorReason::ShuttingDown);
    drop((some, all, node));
    served.task.await.unwrap().unwrap();
    assert!(!served.folder.path().join("api.sock").exists());
}

#[tokio::test]
async fn as_many_streams_as_are_served_and_no_more() {
    let served = Served::start().await;
    let mut node = NodeServiceClient::new(served.unix().await);
    let watch = v1::WatchEventsRequest::default();
    let mut streams = Vec::new();
    for _ in 0..super::watching::WATCHES_MAX {
        streams.push(node.watch_events(watch.clone()).await.unwrap());
    }
    let status = node.watch_events(watch.clone()).await.unwrap_err();
    assert_reason(
        &status,
        Code::ResourceExhausted,
        ErrorReason::TooManyWatches,
    );
}

#[tokio::test]
async fn shutdown_is_answered_before_the_node_goes() {
    let served = Served::start().await;
    let mut node = NodeServiceClient::new(served.unix().await);
    node.shutdown(v1::ShutdownRequest {}).await.unwrap();
    assert!(served.backend.was_asked_to_stop());
}
