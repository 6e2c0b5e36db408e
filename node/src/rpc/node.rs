//! `NodeService`.

use std::pin::Pin;
use std::sync::Arc;

use seedbank_engine::interface::view::{BoostState, TorrentState};
use seedbank_ledger::Bytes;
use seedbank_proto::v1::node_service_server::NodeService;
use seedbank_proto::{Failure, v1};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::backend::Backend;
use super::watching::Watches;
use super::{error, message, peers, watching};

/// The daemon itself: who it is and how it fares.
pub(super) struct NodeApi {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) watches: Watches,
    pub(super) stop: watch::Receiver<bool>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl NodeService for NodeApi {
    async fn get_node_info(
        &self,
        _: Request<v1::GetNodeInfoRequest>,
    ) -> Answer<v1::GetNodeInfoResponse> {
        let info = self.backend.info();
        let network = info.network.as_ref();
        let uri = network.and_then(|network| network.settlement_uri.clone());
        Ok(Response::new(v1::GetNodeInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            public_key: info.node_id.to_string(),
            network_id: network.map(|one| one.id.to_string()).unwrap_or_default(),
            network_name: network.map(|one| one.name.clone()).unwrap_or_default(),
            settlement_uri: uri.unwrap_or_default(),
            settlement_role: network.is_some_and(|network| network.kept_here),
            listen_addresses: info.listen_addrs.iter().map(ToString::to_string).collect(),
            api_addresses: info.api_addrs.clone(),
            data_dir: info.data_dir.display().to_string(),
            download_dir: info.download_dir.display().to_string(),
            start_time: Some(message::time(info.started_at)),
        }))
    }

    async fn get_stats(&self, _: Request<v1::GetStatsRequest>) -> Answer<v1::GetStatsResponse> {
        Ok(Response::new(stats(&*self.backend).await?))
    }

    async fn list_peers(
        &self,
        request: Request<v1::ListPeersRequest>,
    ) -> Answer<v1::ListPeersResponse> {
        let request = request.into_inner();
        let (peers, next_page_token) =
            peers::page(&*self.backend, None, request.page_size, &request.page_token).await?;
        Ok(Response::new(v1::ListPeersResponse {
            peers,
            next_page_token,
        }))
    }

    type WatchEventsStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let events = watching::events(
            &*self.backend,
            &self.watches,
            self.stop.clone(),
            request.into_inner(),
        )?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn shutdown(&self, _: Request<v1::ShutdownRequest>) -> Answer<v1::ShutdownResponse> {
        self.backend.shutdown();
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}

async fn stats(backend: &dyn Backend) -> Result<v1::GetStatsResponse, Failure> {
    let totals = backend.totals().await.map_err(error::of_stopping)?;
    let torrents = backend.torrents().await.map_err(error::of_stopping)?;
    let peers = backend.peers(None).await.map_err(error::of_stopping)?;
    let boosts = backend.boosts().await.map_err(error::of_stopping)?;
    let mut stats = v1::GetStatsResponse {
        uploaded_bytes: message::bytes(totals.uploaded),
        downloaded_bytes: message::bytes(totals.downloaded),
        wasted_bytes: message::bytes(totals.wasted),
        ratio_thousandths: message::ratio(totals.uploaded, totals.downloaded, Bytes::ZERO),
        torrent_count: message::count(torrents.len()),
        peer_count: message::count(peers.len()),
        ..v1::GetStatsResponse::default()
    };
    let add = |sum: &mut i64, part: i64| *sum = sum.saturating_add(part);
    for torrent in torrents.iter().map(|row| &row.view) {
        add(
            &mut stats.upload_bytes_per_second,
            message::bytes(torrent.upload_rate),
        );
        add(
            &mut stats.download_bytes_per_second,
            message::bytes(torrent.download_rate),
        );
    }
    let seeding = |state| state == TorrentState::Seeding;
    let active = |state| state == BoostState::Active;
    let seeding = torrents.iter().filter(|row| seeding(row.view.state));
    let active = boosts.iter().filter(|boost| active(boost.state));
    stats.seeding_count = message::count(seeding.count());
    stats.active_boost_count = message::count(active.count());
    stats.unchoked_peer_count = message::count(peers.iter().filter(|peer| peer.unchoked).count());
    // Exposure belongs to a key and shows on each of its connections: count it once.
    let mut keyed: Vec<_> = peers
        .iter()
        .filter_map(|peer| Some((peer.node_id?, peer.exposure)))
        .collect();
    stats.keyed_peer_count = message::count(keyed.len());
    keyed.sort();
    keyed.dedup_by_key(|(key, _)| *key);
    for (_, exposure) in keyed {
        add(&mut stats.exposure_bytes, message::bytes(exposure));
    }
    Ok(stats)
}
