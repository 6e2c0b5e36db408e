//! A server of `seedbank.v1` with fixed answers, on a unix socket of its own.

mod network;
mod policy;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use prost_types::Timestamp;
use seedbank_proto::Failure;
use seedbank_proto::v1::boost_service_server::{BoostService, BoostServiceServer};
use seedbank_proto::v1::network_service_server::NetworkServiceServer;
use seedbank_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use seedbank_proto::v1::policy_service_server::PolicyServiceServer;
use seedbank_proto::v1::torrent_service_server::{TorrentService, TorrentServiceServer};
use seedbank_proto::v1::wallet_service_server::{WalletService, WalletServiceServer};
use seedbank_proto::v1::{self, ErrorReason};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server as Transport;
use tonic::{Request, Response, Status};

/// The torrent called "film".
pub(crate) const HASH: &str = "aaaa000000000000000000000000000000000000";
const OTHER: &str = "ab00000000000000000000000000000000000000";
/// Its data does not match any more.
const DAMAGED: &str = "dd00000000000000000000000000000000000000";
/// Some key.
pub(crate) const KEY: &str = "5866666666666666666666666666666666666666666666666666666666666666";

/// Calls that tests look at.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) added: Vec<v1::AddTorrentRequest>,
    pub(crate) boosts: Vec<v1::CreateBoostRequest>,
    pub(crate) deleted: u32,
}

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<Seen>>);

pub(crate) struct Server {
    folder: TempDir,
    fake: Fake,
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("api.sock")).unwrap();
        let fake = Fake::default();
        let (_, health) = tonic_health::server::health_reporter();
        let serving = Transport::builder()
            .add_service(health)
            .add_service(NodeServiceServer::new(fake.clone()))
            .add_service(TorrentServiceServer::new(fake.clone()))
            .add_service(WalletServiceServer::new(fake.clone()))
            .add_service(BoostServiceServer::new(fake.clone()))
            .add_service(NetworkServiceServer::new(fake.clone()))
            .add_service(PolicyServiceServer::new(fake.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(serving);
        tokio::task::yield_now().await;
        Self { folder, fake }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.folder.path().join("api.sock").display())
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.fake.seen()
    }
}

impl Fake {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }
}

fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

fn stream<T: Send + 'static>(messages: Vec<T>) -> Answer<Messages<T>> {
    let messages = messages.into_iter().map(Ok);
    Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
}

fn time(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn torrent(info_hash: &str) -> v1::Torrent {
    let film = v1::Torrent {
        info_hash: info_hash.to_owned(),
        display_name: "film".into(),
        state: v1::TorrentState::Seeding.into(),
        total_bytes: 1 << 20,
        have_bytes: 1 << 20,
        piece_count: 4,
        have_piece_count: 4,
        download_dir: "/data".into(),
        complete_time: time(1_700_000_000),
        trackers: vec![v1::Tracker {
            url: "http://127.0.0.1/announce".into(),
            status_message: "ok".into(),
            next_announce_time: time(1_700_001_800),
        }],
        ..v1::Torrent::default()
    };
    match info_hash {
        OTHER => v1::Torrent {
            display_name: "archive".into(),
            state: v1::TorrentState::Stopped.into(),
            total_bytes: 44_238_313_062,
            have_bytes: 22_119_156_531,
            download_bytes_per_second: 3_250_585,
            peer_count: 12,
            complete_time: None,
            trackers: Vec::new(),
            ..film
        },
        DAMAGED => v1::Torrent {
            display_name: "damaged".into(),
            state: v1::TorrentState::Failed.into(),
            error_message: "no space left on device".into(),
            ..film
        },
        _ => film,
    }
}

fn peer() -> v1::Peer {
    v1::Peer {
        peer_id: "7".into(),
        info_hash: HASH.into(),
        address: "127.0.0.1:6881".into(),
        client_name: "libtorrent".into(),
        public_key: KEY.into(),
        interested: true,
        unchoked: true,
        unchoke_reason: v1::UnchokeReason::Paid.into(),
        uploaded_bytes: 1 << 30,
        bid_microcredits_per_gib: 1_000_000,
        standing_bytes: -5,
        ..v1::Peer::default()
    }
}

fn boost() -> v1::Boost {
    v1::Boost {
        boost_id: "1".into(),
        info_hash: HASH.into(),
        state: v1::BoostState::Active.into(),
        max_microcredits: 5_000_000,
        bid_microcredits_per_gib: 1_000_000,
        spent_microcredits: 1_000_000,
        locked_microcredits: 500_000,
        free_microcredits: 3_500_000,
        create_time: time(1_700_000_000),
        expire_time: None,
        payees: vec![v1::Payee {
            public_key: KEY.into(),
            lock_id: "12".into(),
            amount_microcredits: 1_500_000,
            signed_microcredits: 1_000_000,
            return_time: time(1_700_090_000),
        }],
        paid_bytes: 1 << 29,
        cost_microcredits_per_gib: Some(2_000_000),
        before_bytes_per_second: Some(1 << 20),
        boosted_bytes_per_second: Some(5 << 19),
        ..v1::Boost::default()
    }
}

#[tonic::async_trait]
impl NodeService for Fake {
    async fn get_node_info(
        &self,
        _: Request<v1::GetNodeInfoRequest>,
    ) -> Answer<v1::GetNodeInfoResponse> {
        answer(v1::GetNodeInfoResponse {
            version: "1.2.3".into(),
            public_key: KEY.into(),
            network_id: KEY.into(),
            network_name: "testers".into(),
            settlement_uri: "http://127.0.0.1:4621".into(),
            listen_addresses: vec!["127.0.0.1:6881".into()],
            data_dir: "/data".into(),
            start_time: time(1_700_000_000),
            ..v1::GetNodeInfoResponse::default()
        })
    }

    async fn get_stats(&self, _: Request<v1::GetStatsRequest>) -> Answer<v1::GetStatsResponse> {
        answer(v1::GetStatsResponse {
            torrent_count: 2,
            seeding_count: 1,
            ratio_thousandths: Some(1_050),
            ..v1::GetStatsResponse::default()
        })
    }

    async fn list_peers(&self, _: Request<v1::ListPeersRequest>) -> Answer<v1::ListPeersResponse> {
        answer(v1::ListPeersResponse {
            peers: vec![peer()],
            next_page_token: String::new(),
        })
    }

    type WatchEventsStream = Messages<v1::WatchEventsResponse>;

    async fn watch_events(
        &self,
        _: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let event = |sequence, kind: v1::EventKind| v1::WatchEventsResponse {
            sequence,
            kind: kind.into(),
            create_time: time(1_700_000_000),
            ..v1::WatchEventsResponse::default()
        };
        stream(vec![
            event(1, v1::EventKind::TorrentCompleted),
            event(1, v1::EventKind::Heartbeat),
            event(2, v1::EventKind::Choke),
            event(3, v1::EventKind::Choke),
        ])
    }

    async fn shutdown(&self, _: Request<v1::ShutdownRequest>) -> Answer<v1::ShutdownResponse> {
        answer(v1::ShutdownResponse {})
    }
}

#[tonic::async_trait]
impl TorrentService for Fake {
    async fn add_torrent(
        &self,
        request: Request<v1::AddTorrentRequest>,
    ) -> Answer<v1::AddTorrentResponse> {
        let request = request.into_inner();
        let fails = v1::add_torrent_request::Source::Magnet("magnet:?fails".into());
        let info_hash = if request.source == Some(fails) {
            DAMAGED
        } else {
            HASH
        };
        self.seen().added.push(request);
        answer(v1::AddTorrentResponse {
            torrent: Some(torrent(info_hash)),
            already_present: false,
        })
    }

    async fn get_torrent(
        &self,
        request: Request<v1::GetTorrentRequest>,
    ) -> Answer<v1::GetTorrentResponse> {
        answer(v1::GetTorrentResponse {
            torrent: Some(torrent(&request.get_ref().info_hash)),
        })
    }

    /// One torrent a page: callers must follow the token.
    async fn list_torrents(
        &self,
        request: Request<v1::ListTorrentsRequest>,
    ) -> Answer<v1::ListTorrentsResponse> {
        let (info_hash, next) = match request.get_ref().page_token.as_str() {
            "" => (HASH, OTHER),
            OTHER => (OTHER, DAMAGED),
            _ => {
                return answer(v1::ListTorrentsResponse::default());
            }
        };
        answer(v1::ListTorrentsResponse {
            torrents: vec![torrent(info_hash)],
            next_page_token: next.into(),
        })
    }

    /// Two files, one a page: callers must follow the token.
    async fn list_torrent_files(
        &self,
        request: Request<v1::ListTorrentFilesRequest>,
    ) -> Answer<v1::ListTorrentFilesResponse> {
        let (path, original, next) = match request.get_ref().page_token.as_str() {
            "" => ("disc/1.flac", "", "1"),
            _ => ("disc/2.flac", "disc/2\\x1b.flac", ""),
        };
        let file = v1::TorrentFile {
            path: path.into(),
            total_bytes: 1 << 19,
            have_bytes: 1 << 18,
            original_path: original.into(),
        };
        answer(v1::ListTorrentFilesResponse {
            files: vec![file],
            next_page_token: next.into(),
            file_count: 2,
        })
    }

    async fn start_torrent(
        &self,
        _: Request<v1::StartTorrentRequest>,
    ) -> Answer<v1::StartTorrentResponse> {
        answer(v1::StartTorrentResponse {
            torrent: Some(torrent(HASH)),
        })
    }

    async fn stop_torrent(
        &self,
        _: Request<v1::StopTorrentRequest>,
    ) -> Answer<v1::StopTorrentResponse> {
        answer(v1::StopTorrentResponse {
            torrent: Some(torrent(HASH)),
        })
    }

    type WatchTorrentsStream = Messages<v1::WatchTorrentsResponse>;

    async fn watch_torrents(
        &self,
        _: Request<v1::WatchTorrentsRequest>,
    ) -> Answer<Self::WatchTorrentsStream> {
        stream(Vec::new())
    }

    async fn delete_torrent(
        &self,
        _: Request<v1::DeleteTorrentRequest>,
    ) -> Answer<v1::DeleteTorrentResponse> {
        self.seen().deleted += 1;
        answer(v1::DeleteTorrentResponse {})
    }

    type VerifyTorrentStream = Messages<v1::VerifyTorrentResponse>;

    async fn verify_torrent(
        &self,
        request: Request<v1::VerifyTorrentRequest>,
    ) -> Answer<Self::VerifyTorrentStream> {
        let good = if request.get_ref().info_hash == DAMAGED {
            1 << 19
        } else {
            1 << 20
        };
        let step = |checked_bytes: i64| v1::VerifyTorrentResponse {
            checked_bytes,
            total_bytes: 1 << 20,
            have_bytes: checked_bytes.min(good),
        };
        stream(vec![step(0), step(1 << 19), step(1 << 20)])
    }

    type CreateMetainfoStream = Messages<v1::CreateMetainfoResponse>;

    async fn create_metainfo(
        &self,
        _: Request<v1::CreateMetainfoRequest>,
    ) -> Answer<Self::CreateMetainfoStream> {
        let step = v1::CreateMetainfoResponse {
            hashed_bytes: 1 << 19,
            total_bytes: 1 << 20,
            ..v1::CreateMetainfoResponse::default()
        };
        let done = v1::CreateMetainfoResponse {
            hashed_bytes: 1 << 20,
            total_bytes: 1 << 20,
            metainfo: b"metainfo".to_vec(),
            info_hash: HASH.into(),
            magnet: format!("magnet:?xt=urn:btih:{HASH}"),
        };
        stream(vec![step, done])
    }

    async fn list_torrent_peers(
        &self,
        _: Request<v1::ListTorrentPeersRequest>,
    ) -> Answer<v1::ListTorrentPeersResponse> {
        answer(v1::ListTorrentPeersResponse {
            peers: vec![peer()],
            next_page_token: String::new(),
        })
    }

    async fn add_peers(&self, _: Request<v1::AddPeersRequest>) -> Answer<v1::AddPeersResponse> {
        answer(v1::AddPeersResponse {})
    }
}

#[tonic::async_trait]
impl WalletService for Fake {
    async fn get_balance(
        &self,
        _: Request<v1::GetBalanceRequest>,
    ) -> Answer<v1::GetBalanceResponse> {
        answer(v1::GetBalanceResponse {
            free_microcredits: 114_440_000,
            set_aside_microcredits: 1_000_000,
            locked_microcredits: 500_000,
            sequence: 1_048,
            as_of_time: time(1_700_000_000),
            settlement_reachable: true,
            account: KEY.into(),
            ..v1::GetBalanceResponse::default()
        })
    }

    async fn explain_balance(
        &self,
        _: Request<v1::ExplainBalanceRequest>,
    ) -> Answer<v1::ExplainBalanceResponse> {
        let line = |label: &str, delta, bytes, count| v1::BalanceLine {
            key: label.into(),
            label: label.into(),
            delta_microcredits: delta,
            payload_bytes: bytes,
            entry_count: count,
            ..v1::BalanceLine::default()
        };
        answer(v1::ExplainBalanceResponse {
            opening_microcredits: 84_120_000,
            lines: vec![
                line("earned by serving", 41_180_000, 44_238_313_062, 312),
                line("spent", -10_860_000, 13_107_200, 2),
            ],
            closing_microcredits: 114_440_000,
            sequence: 1_048,
        })
    }

    async fn list_entries(
        &self,
        _: Request<v1::ListEntriesRequest>,
    ) -> Answer<v1::ListEntriesResponse> {
        answer(v1::ListEntriesResponse {
            entries: vec![v1::Entry {
                sequence: 1_048,
                create_time: time(1_700_000_000),
                kind: v1::EntryKind::Transfer.into(),
                cause: "sent 5.000000 cr".into(),
                delta_microcredits: -5_000_000,
                peer_key: KEY.into(),
                postings: vec![v1::Posting {
                    account: "network".into(),
                    delta_microcredits: -5_000_000,
                    delta_bytes: 0,
                }],
                ..v1::Entry::default()
            }],
            next_page_token: "1048".into(),
        })
    }

    async fn transfer(&self, _: Request<v1::TransferRequest>) -> Answer<v1::TransferResponse> {
        answer(v1::TransferResponse { nonce: 9 })
    }

    async fn grant(&self, _: Request<v1::GrantRequest>) -> Answer<v1::GrantResponse> {
        answer(v1::GrantResponse {
            sequence: 4,
            entry_hash: KEY.into(),
            nonce: 2,
        })
    }

    type CheckLedgerStream = Messages<v1::CheckLedgerResponse>;

    async fn check_ledger(
        &self,
        _: Request<v1::CheckLedgerRequest>,
    ) -> Answer<Self::CheckLedgerStream> {
        let step = |checked_count| v1::CheckLedgerResponse {
            checked_count,
            total_count: 10,
            problem: String::new(),
        };
        stream(vec![step(0), step(10)])
    }
}

#[tonic::async_trait]
impl BoostService for Fake {
    async fn quote_boost(
        &self,
        request: Request<v1::QuoteBoostRequest>,
    ) -> Answer<v1::QuoteBoostResponse> {
        let bid = request.get_ref().bid_microcredits_per_gib;
        answer(v1::QuoteBoostResponse {
            left_bytes: 1_048_576_000,
            bid_microcredits_per_gib: bid.unwrap_or(1_000_000),
            max_cost_microcredits: 976_563,
            payee_count: 3,
            lowest_ask_microcredits_per_gib: 500_000,
            highest_ask_microcredits_per_gib: 750_000,
            smallest_lock_microcredits: 4_000,
            free_microcredits: 114_440_000,
            ..v1::QuoteBoostResponse::default()
        })
    }

    async fn create_boost(
        &self,
        request: Request<v1::CreateBoostRequest>,
    ) -> Answer<v1::CreateBoostResponse> {
        let request = request.into_inner();
        if request.request_id == "reused" {
            return Err(Failure::new(ErrorReason::RequestIdReused, "reused").into());
        }
        if request.max_microcredits > 1_000_000_000 {
            let message = "needs 9000000.000000 cr, has 1.200000 cr free";
            let failure = Failure::new(ErrorReason::InsufficientCredit, message)
                .with("needed", request.max_microcredits)
                .with("free", 1_200_000);
            return Err(failure.into());
        }
        self.seen().boosts.push(request);
        answer(v1::CreateBoostResponse {
            boost: Some(boost()),
        })
    }

    async fn get_boost(
        &self,
        request: Request<v1::GetBoostRequest>,
    ) -> Answer<v1::GetBoostResponse> {
        match request.get_ref().boost_id.as_str() {
            "1" => answer(v1::GetBoostResponse {
                boost: Some(boost()),
            }),
            "denied" => Err(Failure::new(ErrorReason::TokenUnknown, "not yours").into()),
            "slow" => std::future::pending().await,
            _ => Err(Failure::new(ErrorReason::BoostUnknown, "no such boost").into()),
        }
    }

    async fn list_boosts(
        &self,
        _: Request<v1::ListBoostsRequest>,
    ) -> Answer<v1::ListBoostsResponse> {
        answer(v1::ListBoostsResponse {
            boosts: vec![boost()],
            next_page_token: String::new(),
        })
    }

    async fn cancel_boost(
        &self,
        _: Request<v1::CancelBoostRequest>,
    ) -> Answer<v1::CancelBoostResponse> {
        answer(v1::CancelBoostResponse {
            boost: Some(v1::Boost {
                state: v1::BoostState::Cancelled.into(),
                ..boost()
            }),
        })
    }
}
