//! Streams, and what may be asked of them; enumerations that nobody knows; health by service.

use std::collections::BTreeSet;

use tokio_stream::StreamExt as _;

use super::*;
use crate::rpc::progress::{LOOK_EVERY, TorrentWatch};
use crate::rpc::watching::{HEARTBEAT, Watches};

fn completed(byte: u8) -> SessionEvent {
    SessionEvent::TorrentCompleted(TorrentId([byte; 20]))
}

#[tokio::test]
async fn events_that_are_not_there_are_out_of_range() {
    let served = Served::start().await;
    served.backend.happened(completed(1));
    served.backend.happened(completed(2));
    let mut node = NodeServiceClient::new(served.unix().await);
    let from = |sequence| v1::WatchEventsRequest {
        from_sequence: Some(sequence),
        ..v1::WatchEventsRequest::default()
    };
    let status = node.watch_events(from(4)).await.unwrap_err();
    let failure = assert_reason(&status, Code::OutOfRange, ErrorReason::HistoryAhead);
    assert_eq!(failure.metadata["next"], "3");
    let status = node.watch_events(from(-1)).await.unwrap_err();
    assert_reason(&status, Code::InvalidArgument, ErrorReason::BadField);
    for _ in 0..crate::events::HISTORY_MAX {
        served.backend.happened(completed(3));
    }
    let status = node.watch_events(from(2)).await.unwrap_err();
    let failure = assert_reason(&status, Code::OutOfRange, ErrorReason::HistoryPruned);
    assert_eq!(failure.metadata["oldest"], "3");
    node.watch_events(from(3)).await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_behind_the_newest_event_if_asked_to() {
    let served = Served::start().await;
    let mut node = NodeServiceClient::new(served.unix().await);
    let all = |from_sequence, kinds: &[v1::EventKind]| v1::WatchEventsRequest {
        from_sequence,
        kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(),
        stop_at_newest: true,
    };
    let mut none = node
        .watch_events(all(None, &[]))
        .await
        .unwrap()
        .into_inner();
    assert!(none.message().await.unwrap().is_none(), "nothing happened");
    (1..=3).for_each(|byte| served.backend.happened(completed(byte)));
    for (from, count) in [(None, 3), (Some(0), 3), (Some(2), 2), (Some(4), 0)] {
        let events = node.watch_events(all(from, &[])).await.unwrap();
        let events: Vec<_> = events.into_inner().collect().await;
        assert_eq!(events.len(), count, "{from:?}");
    }
    let other = [v1::EventKind::Choke];
    let events = node.watch_events(all(None, &other)).await.unwrap();
    let events: Vec<_> = events.into_inner().collect().await;
    assert!(events.is_empty(), "of no other kind: {events:?}");
}

#[tokio::test]
async fn an_enumeration_that_nobody_knows_is_a_violation_of_its_field() {
    let served = Served::start().await;
    let channel = served.unix().await;
    let field = |status: Status| {
        let reason = ErrorReason::BadField;
        let failure = assert_reason(&status, Code::InvalidArgument, reason);
        failure.metadata["field"].clone()
    };
    for raw in [0, 99] {
        let mut torrents = TorrentServiceClient::new(channel.clone());
        let list = v1::ListTorrentsRequest {
            states: vec![v1::TorrentState::Seeding.into(), raw],
            ..v1::ListTorrentsRequest::default()
        };
        let status = torrents.list_torrents(list).await.unwrap_err();
        assert_eq!(field(status), "states");
        let mut node = NodeServiceClient::new(channel.clone());
        let watch = v1::WatchEventsRequest {
            kinds: vec![raw],
            ..v1::WatchEventsRequest::default()
        };
        let status = node.watch_events(watch).await.unwrap_err();
        assert_eq!(field(status), "kinds");
        let mut wallet = WalletServiceClient::new(channel.clone());
        let list = v1::ListEntriesRequest {
            kinds: vec![raw],
            ..v1::ListEntriesRequest::default()
        };
        let status = wallet.list_entries(list).await.unwrap_err();
        assert_eq!(field(status), "kinds");
        let mut policy = PolicyServiceClient::new(channel.clone());
        let set = v1::SetPolicyRequest {
            policy: Some(v1::Policy {
                paid_rule: raw,
                ..v1::Policy::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["paid_rule".into()],
            }),
            until_restart: false,
        };
        let status = policy.set_policy(set).await.unwrap_err();
        assert_eq!(field(status), "paid_rule");
    }
    let mut wallet = WalletServiceClient::new(channel);
    let explain = v1::ExplainBalanceRequest {
        group_by: 99,
        ..v1::ExplainBalanceRequest::default()
    };
    let status = wallet.explain_balance(explain).await.unwrap_err();
    assert_eq!(field(status), "group_by");
}

#[tokio::test]
async fn each_service_has_a_health_of_its_own() {
    let served = Served::start().await;
    let mut health = HealthClient::new(served.unix().await);
    let ask = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in crate::rpc::SERVICES.into_iter().chain([""]) {
        let answer = health.check(ask(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let status = health.check(ask("seedbank.v1.Nothing")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut wallet = health.watch(ask("seedbank.v1.WalletService")).await;
    let wallet = wallet.as_mut().unwrap().get_mut();
    let before = wallet.message().await.unwrap().unwrap();
    assert_eq!(before.status(), ServingStatus::Serving);
    served.stop.send(true).unwrap();
    let after = wallet.message().await.unwrap().unwrap();
    assert_eq!(after.status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn start_and_stop_answer_with_the_torrent_as_it_stands() {
    let served = Served::start().await;
    let info_hash = served.backend.insert(1).to_string();
    let mut torrents = TorrentServiceClient::new(served.unix().await);
    let stop = v1::StopTorrentRequest {
        info_hash: info_hash.clone(),
    };
    let stopped = torrents.stop_torrent(stop).await.unwrap().into_inner();
    let state = stopped.torrent.unwrap().state();
    assert_eq!(state, v1::TorrentState::Stopped);
    let start = v1::StartTorrentRequest { info_hash };
    let started = torrents.start_torrent(start).await.unwrap().into_inner();
    let state = started.torrent.unwrap().state();
    assert_eq!(state, v1::TorrentState::Seeding);
}

/// Time is paused: it jumps to the next timer whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn a_watcher_of_torrents_is_told_what_changes_and_what_goes() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(Fake::new(folder.path()));
    let (stop, stopping) = watch::channel(false);
    let (first, second) = (backend.insert(1), backend.insert(2));
    let told = TorrentWatch::new(backend.clone(), BTreeSet::new());
    let place = Watches::new().enter().unwrap();
    let mut told = told.follow(place, stopping);
    let all = told.next().await.unwrap().unwrap();
    assert_eq!(all.torrents.len(), 2);
    assert!(all.complete);

    backend
        .put(
            first,
            seedbank_engine::interface::view::TorrentState::Stopped,
        )
        .unwrap();
    let changed = told.next().await.unwrap().unwrap();
    let [torrent] = &changed.torrents[..] else {
        panic!("{changed:?}");
    };
    assert_eq!(torrent.info_hash, first.to_string());
    assert_eq!(torrent.state(), v1::TorrentState::Stopped);

    crate::rpc::Backend::remove_torrent(&*backend, second, false)
        .await
        .unwrap();
    let gone = told.next().await.unwrap().unwrap();
    assert_eq!(gone.removed_info_hashes, [second.to_string()]);
    let begin = tokio::time::Instant::now();
    let silence = told.next().await.unwrap().unwrap();
    assert!(silence.torrents.is_empty() && silence.removed_info_hashes.is_empty());
    assert!(begin.elapsed() <= HEARTBEAT + LOOK_EVERY);
    stop.send(true).unwrap();
    let status = told.next().await.unwrap().unwrap_err();
    assert_reason(&status, Code::Unavailable, ErrorReason::ShuttingDown);
}

#[tokio::test]
async fn a_watcher_of_a_torrent_that_is_not_there_is_refused() {
    let served = Served::start().await;
    served.backend.insert(1);
    let mut torrents = TorrentServiceClient::new(served.unix().await);
    let watch = |info_hash: String| v1::WatchTorrentsRequest {
        info_hashes: vec![info_hash],
    };
    let status = torrents.watch_torrents(watch("02".repeat(20))).await;
    let status = status.unwrap_err();
    assert_reason(&status, Code::NotFound, ErrorReason::TorrentUnknown);
    let status = torrents
        .watch_torrents(watch("x".into()))
        .await
        .unwrap_err();
    assert_reason(&status, Code::InvalidArgument, ErrorReason::BadField);
    let told = torrents
        .watch_torrents(watch("01".repeat(20)))
        .await
        .unwrap();
    let first = told.into_inner().message().await.unwrap().unwrap();
    assert_eq!(first.torrents.len(), 1);
}
