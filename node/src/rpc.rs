//! The gRPC surface of a node: the owner's API (`seedbank.v1` without settlement), and settlement.
//!
//! Services translate between messages and the node's own types and never decide. `backend.rs` is
//! the seam to the rest of the node; `listen.rs` and `auth.rs` say who may call; `settlement.rs`
//! serves the shared ledger, which [`crate::settlement`] keeps.

mod auth;
pub mod backend;
mod boost;
mod door;
mod entry;
mod error;
pub(crate) mod explain;
mod field;
mod listen;
mod message;
mod network;
mod node;
mod page;
mod peers;
mod policy;
mod progress;
mod request;
pub mod settlement;
mod torrent;
mod wallet;
mod watching;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use seedbank_proto::v1::boost_service_server::BoostServiceServer;
use seedbank_proto::v1::network_service_server::NetworkServiceServer;
use seedbank_proto::v1::node_service_server::NodeServiceServer;
use seedbank_proto::v1::policy_service_server::PolicyServiceServer;
use seedbank_proto::v1::torrent_service_server::TorrentServiceServer;
use seedbank_proto::v1::wallet_service_server::WalletServiceServer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::{InterceptorLayer, Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use door::DoorLimits;

pub use auth::{Token, TokenError};
pub use backend::Backend;
pub use listen::{ApiConfig, ListenError, Listening};

/// Largest message either way: metainfo of large torrents.
const MESSAGE_LEN_MAX: usize = 32 << 20;
/// Calls at once on one connection; more wait.
const CALLS_MAX: usize = 128;
/// Calls and streams that one connection may have open. What waits for its turn is in memory.
const STREAMS_MAX: u32 = 512;
/// Between two signs of life on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long calls may go on after a stop was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// Connections of each of the API's listeners, whoever they are.
const LIMITS: DoorLimits = DoorLimits {
    connections: 256,
    of_one_group: 256,
};

/// Services that reflection names; each is served.
const SERVICES: [&str; 7] = [
    "grpc.health.v1.Health",
    "seedbank.v1.BoostService",
    "seedbank.v1.NetworkService",
    "seedbank.v1.NodeService",
    "seedbank.v1.PolicyService",
    "seedbank.v1.TorrentService",
    "seedbank.v1.WalletService",
];

/// Why the API stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptor set of the contract is broken.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("api: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the owner's API until `stop` holds true, then lets calls finish for a few seconds. Waits
/// for the stop also where nobody can call.
pub async fn serve(
    listening: Listening,
    backend: Arc<dyn Backend>,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    if listening.unix.is_none() && listening.tcp.is_empty() {
        stopped(stop).await;
        return Ok(());
    }
    let routes = routes(backend, stop.clone()).await?;
    let over_unix = async {
        let Some(socket) = listening.unix else {
            return Ok(());
        };
        let guard = InterceptorLayer::new(auth::UserGuard::of_this_process());
        let server = server().layer(guard).add_routes(routes.clone());
        let incoming = door::incoming(socket.listener, LIMITS, stop.clone());
        let served = server.serve_with_incoming_shutdown(incoming, stopped(stop.clone()));
        let served = served.await;
        drop(socket.file);
        served
    };
    let over_tcp = async {
        let mut servers = JoinSet::new();
        for (listener, token) in listening.tcp {
            let guard = InterceptorLayer::new(auth::TokenGuard(token));
            let server = server().layer(guard).add_routes(routes.clone());
            let incoming = door::incoming(listener, LIMITS, stop.clone());
            servers.spawn(server.serve_with_incoming_shutdown(incoming, stopped(stop.clone())));
        }
        while let Some(served) = servers.join_next().await {
            served.expect("a server task does not panic")?;
        }
        Ok(())
    };
    let grace_over = async {
        stopped(stop.clone()).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = async { tokio::try_join!(over_unix, over_tcp) } => {
            served?;
        }
        () = grace_over => {}
    }
    Ok(())
}

fn server() -> Server {
    Server::builder()
        .concurrency_limit_per_connection(CALLS_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // Whoever could ask for a stop being gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Says of every service, and of all together, that it serves, until `stop` holds true.
async fn tell_health(mut reporter: HealthReporter, stop: watch::Receiver<bool>) {
    let names = || SERVICES.into_iter().chain([""]);
    for name in names() {
        reporter
            .set_service_status(name, ServingStatus::Serving)
            .await;
    }
    tokio::spawn(async move {
        stopped(stop).await;
        for name in names() {
            reporter
                .set_service_status(name, ServingStatus::NotServing)
                .await;
        }
        // Whoever watches has heard it by then; a watch that went on would keep the daemon.
        tokio::time::sleep(GRACE / 2).await;
        for name in names() {
            reporter.clear_service_status(name).await;
        }
    });
}

async fn routes(
    backend: Arc<dyn Backend>,
    stop: watch::Receiver<bool>,
) -> Result<Routes, ServeError> {
    let watches = watching::Watches::new();
    let (reporter, health) = tonic_health::server::health_reporter();
    tell_health(reporter, stop.clone()).await;
    let torrents = torrent::TorrentsApi {
        backend: backend.clone(),
        requests: request::RecentRequests::default(),
        watches: watches.clone(),
        stop: stop.clone(),
    };
    let node = node::NodeApi {
        backend: backend.clone(),
        watches,
        stop,
    };
    let network = network::NetworkApi {
        backend: backend.clone(),
    };
    let boosts = boost::BoostsApi {
        backend: backend.clone(),
    };
    let wallet = wallet::WalletApi {
        backend: backend.clone(),
    };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(NodeServiceServer::new(node))
        .add_service(NetworkServiceServer::new(network))
        .add_service(
            TorrentServiceServer::new(torrents)
                .max_decoding_message_size(MESSAGE_LEN_MAX)
                .max_encoding_message_size(MESSAGE_LEN_MAX),
        )
        .add_service(WalletServiceServer::new(wallet).max_encoding_message_size(MESSAGE_LEN_MAX))
        .add_service(BoostServiceServer::new(boosts))
        .add_service(PolicyServiceServer::new(policy::Policies::new(backend)));
    Ok(routes.routes())
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(seedbank_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    SERVICES
        .iter()
        .fold(builder, |builder, name| builder.with_service_name(*name))
}
