//! `TorrentService`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use seedbank_engine::discovery::tracker::url::TrackerUrl;
use seedbank_engine::interface::command::{AddTorrent, Added, Command, TorrentSource};
use seedbank_engine::units::TorrentId;
use seedbank_proto::Failure;
use seedbank_proto::v1;
use seedbank_proto::v1::add_torrent_request::Source;
use seedbank_proto::v1::torrent_service_server::TorrentService;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::backend::{Backend, CreateStep, NewMetainfo, VerifyStep};
use super::message::WallTime;
use super::page::page;
use super::peers;
use super::progress::TorrentWatch;
use super::request::RecentRequests;
use super::watching::Watches;
use super::{error, field, message};
use crate::number;

/// Most trackers that a call names.
const TRACKERS_MAX: usize = 100;

/// Adds, drives and removes torrents.
pub(super) struct TorrentsApi {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) requests: RecentRequests,
    pub(super) watches: Watches,
    pub(super) stop: watch::Receiver<bool>,
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl TorrentsApi {
    fn clock(&self) -> WallTime {
        WallTime(self.backend.info().started_at)
    }

    async fn get(&self, torrent_id: TorrentId) -> Result<v1::Torrent, Failure> {
        let row = self.backend.torrent(torrent_id).await;
        let row = row.map_err(error::of_stopping)?;
        let row = row.ok_or_else(|| error::torrent_unknown(torrent_id))?;
        Ok(message::torrent(&row, self.clock()))
    }

    async fn command(&self, command: Command) -> Result<(), Failure> {
        let reply = self.backend.command(command).await;
        reply.map(drop).map_err(|error| error::of_command(&error))
    }

    async fn add(&self, add: AddTorrent) -> Result<Added, Failure> {
        let added = self.backend.add_torrent(add).await;
        added.map_err(|error| error::of_add(&error))
    }
}

#[tonic::async_trait]
impl TorrentService for TorrentsApi {
    async fn add_torrent(
        &self,
        request: Request<v1::AddTorrentRequest>,
    ) -> Answer<v1::AddTorrentResponse> {
        let request = request.into_inner();
        if !request.request_id.is_empty() {
            self.requests.admit(&request.request_id, &request)?;
        }
        let added = self.add(new_torrent(request)?).await?;
        Ok(Response::new(v1::AddTorrentResponse {
            torrent: Some(self.get(added.torrent_id).await?),
            already_present: added.existed,
        }))
    }

    async fn get_torrent(
        &self,
        request: Request<v1::GetTorrentRequest>,
    ) -> Answer<v1::GetTorrentResponse> {
        let torrent_id = field::torrent_id(&request.get_ref().info_hash)?;
        Ok(Response::new(v1::GetTorrentResponse {
            torrent: Some(self.get(torrent_id).await?),
        }))
    }

    async fn list_torrents(
        &self,
        request: Request<v1::ListTorrentsRequest>,
    ) -> Answer<v1::ListTorrentsResponse> {
        let request = request.into_inner();
        let size = field::page_size(request.page_size)?;
        let after = field::page_token(&request.page_token, |text| field::torrent_id(text).ok())?;
        field::all_known::<v1::TorrentState>("states", &request.states)?;
        let mut rows = self.backend.torrents().await.map_err(error::of_stopping)?;
        rows.retain(|row| {
            let state = i32::from(message::torrent_state(row.view.state));
            request.states.is_empty() || request.states.contains(&state)
        });
        rows.sort_by_key(|row| row.view.torrent_id);
        let (rows, next_page_token) = page(
            rows,
            after,
            size,
            |row, after| row.view.torrent_id > *after,
            |row| row.view.torrent_id.to_string(),
        );
        let clock = self.clock();
        Ok(Response::new(v1::ListTorrentsResponse {
            torrents: rows
                .iter()
                .map(|row| message::torrent(row, clock))
                .collect(),
            next_page_token,
        }))
    }

    async fn list_torrent_files(
        &self,
        request: Request<v1::ListTorrentFilesRequest>,
    ) -> Answer<v1::ListTorrentFilesResponse> {
        let request = request.into_inner();
        let torrent_id = field::torrent_id(&request.info_hash)?;
        let size = field::page_size(request.page_size)?;
        let next = field::page_token(&request.page_token, |text| text.parse::<usize>().ok())?;
        let from = next.unwrap_or_default();
        let view = self.backend.torrent_files(torrent_id, from, size).await;
        let view = view.map_err(error::of_stopping)?;
        let view = view.ok_or_else(|| error::torrent_unknown(torrent_id))?;
        let last = view.files.last().map(|file| file.index.saturating_add(1));
        let next = last.filter(|next| *next < view.count);
        Ok(Response::new(v1::ListTorrentFilesResponse {
            next_page_token: next.map(|next| next.to_string()).unwrap_or_default(),
            file_count: number::count(view.count),
            files: view.files.iter().map(message::file).collect(),
        }))
    }

    async fn start_torrent(
        &self,
        request: Request<v1::StartTorrentRequest>,
    ) -> Answer<v1::StartTorrentResponse> {
        let torrent_id = field::torrent_id(&request.get_ref().info_hash)?;
        self.command(Command::StartTorrent(torrent_id)).await?;
        Ok(Response::new(v1::StartTorrentResponse {
            torrent: Some(self.get(torrent_id).await?),
        }))
    }

    async fn stop_torrent(
        &self,
        request: Request<v1::StopTorrentRequest>,
    ) -> Answer<v1::StopTorrentResponse> {
        let torrent_id = field::torrent_id(&request.get_ref().info_hash)?;
        self.command(Command::StopTorrent(torrent_id)).await?;
        Ok(Response::new(v1::StopTorrentResponse {
            torrent: Some(self.get(torrent_id).await?),
        }))
    }

    async fn delete_torrent(
        &self,
        request: Request<v1::DeleteTorrentRequest>,
    ) -> Answer<v1::DeleteTorrentResponse> {
        let request = request.into_inner();
        let torrent_id = field::torrent_id(&request.info_hash)?;
        let removed = self.backend.remove_torrent(torrent_id, request.delete_data);
        removed.await.map_err(|error| error::of_torrent(&error))?;
        Ok(Response::new(v1::DeleteTorrentResponse {}))
    }

    type WatchTorrentsStream = Messages<v1::WatchTorrentsResponse>;

    async fn watch_torrents(
        &self,
        request: Request<v1::WatchTorrentsRequest>,
    ) -> Answer<Self::WatchTorrentsStream> {
        let wanted = request.get_ref().info_hashes.iter();
        let wanted = wanted.map(|hash| field::torrent_id(hash));
        let wanted = wanted.collect::<Result<BTreeSet<TorrentId>, Failure>>()?;
        for torrent_id in &wanted {
            self.get(*torrent_id).await?;
        }
        let place = self.watches.enter()?;
        let watch = TorrentWatch::new(Arc::clone(&self.backend), wanted);
        let messages = watch.follow(place, self.stop.clone());
        Ok(Response::new(Box::pin(messages)))
    }

    type VerifyTorrentStream = Messages<v1::VerifyTorrentResponse>;

    async fn verify_torrent(
        &self,
        request: Request<v1::VerifyTorrentRequest>,
    ) -> Answer<Self::VerifyTorrentStream> {
        let torrent_id = field::torrent_id(&request.get_ref().info_hash)?;
        let steps = self.backend.verify_torrent(torrent_id).await;
        let steps = steps.map_err(|error| error::of_torrent(&error))?;
        let messages = ReceiverStream::new(steps).map(|step| match step {
            Ok(step) => Ok(verify_step(step)),
            Err(error) => Err(error::of_torrent(&error).into()),
        });
        Ok(Response::new(Box::pin(messages)))
    }

    type CreateMetainfoStream = Messages<v1::CreateMetainfoResponse>;

    async fn create_metainfo(
        &self,
        request: Request<v1::CreateMetainfoRequest>,
    ) -> Answer<Self::CreateMetainfoStream> {
        let what = new_metainfo(request.into_inner())?;
        let steps = self.backend.create_metainfo(what).await;
        let steps = steps.map_err(|error| error::of_torrent(&error))?;
        let messages = ReceiverStream::new(steps).map(|step| match step {
            Ok(step) => Ok(create_step(step)),
            Err(error) => Err(error::of_torrent(&error).into()),
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn list_torrent_peers(
        &self,
        request: Request<v1::ListTorrentPeersRequest>,
    ) -> Answer<v1::ListTorrentPeersResponse> {
        let request = request.into_inner();
        let torrent_id = field::torrent_id(&request.info_hash)?;
        // An unknown torrent is an error, not an empty list.
        self.get(torrent_id).await?;
        let of = Some(torrent_id);
        let (peers, next_page_token) =
            peers::page(&*self.backend, of, request.page_size, &request.page_token).await?;
        Ok(Response::new(v1::ListTorrentPeersResponse {
            peers,
            next_page_token,
        }))
    }

    async fn add_peers(
        &self,
        request: Request<v1::AddPeersRequest>,
    ) -> Answer<v1::AddPeersResponse> {
        let request = request.into_inner();
        let command = Command::AddPeers {
            torrent_id: field::torrent_id(&request.info_hash)?,
            peers: field::addrs("addresses", &request.addresses)?,
        };
        self.command(command).await?;
        Ok(Response::new(v1::AddPeersResponse {}))
    }
}

fn new_torrent(request: v1::AddTorrentRequest) -> Result<AddTorrent, Failure> {
    let source = match request.source {
        Some(Source::Metainfo(bytes)) => TorrentSource::from_bytes(&bytes),
        Some(Source::Magnet(link)) => TorrentSource::from_link(field::text("magnet", &link)?),
        None => {
            return Err(field::bad(
                "source",
                "is missing: send metainfo or a magnet link",
            ));
        }
    };
    let source = source.map_err(|error| error::of_add(&error))?;
    let download_dir = match request.download_dir.as_str() {
        "" => None,
        dir => Some(field::absolute_path("download_dir", dir)?),
    };
    Ok(AddTorrent {
        download_dir,
        start: !request.stopped,
        peers: field::addrs("initial_peers", &request.initial_peers)?,
        trackers: trackers(&request.trackers)?,
        ..AddTorrent::new(source)
    })
}

fn new_metainfo(request: v1::CreateMetainfoRequest) -> Result<NewMetainfo, Failure> {
    let path: PathBuf = field::absolute_path("path", &request.path)?;
    let piece_len = field::piece_len(request.piece_bytes)?;
    let comment = field::text("comment", &request.comment)?;
    Ok(NewMetainfo {
        path,
        trackers: trackers(&request.trackers)?,
        private: request.private,
        comment: (!comment.is_empty()).then(|| comment.to_owned()),
        piece_len,
    })
}

fn trackers(urls: &[String]) -> Result<Vec<String>, Failure> {
    if urls.len() > TRACKERS_MAX {
        let count = urls.len();
        return Err(field::bad(
            "trackers",
            format!("must be at most {TRACKERS_MAX}, not {count}"),
        ));
    }
    for tracker in urls {
        let url = TrackerUrl::parse(field::text("trackers", tracker)?);
        url.map_err(|error| {
            let tracker = field::quoted(tracker);
            let problem = format!(
                "must be announce URLs, as udp://tracker.example:6969, not {tracker}: {error}"
            );
            field::bad("trackers", problem)
        })?;
    }
    Ok(urls.to_vec())
}

fn verify_step(step: VerifyStep) -> v1::VerifyTorrentResponse {
    v1::VerifyTorrentResponse {
        checked_bytes: message::number(step.checked),
        total_bytes: message::number(step.total),
        have_bytes: message::number(step.have),
    }
}

fn create_step(step: CreateStep) -> v1::CreateMetainfoResponse {
    match step {
        CreateStep::Hashed { bytes, total } => v1::CreateMetainfoResponse {
            hashed_bytes: message::number(bytes),
            total_bytes: message::number(total),
            ..v1::CreateMetainfoResponse::default()
        },
        CreateStep::Done {
            total,
            metainfo,
            info_hash,
            magnet,
        } => v1::CreateMetainfoResponse {
            hashed_bytes: message::number(total),
            total_bytes: message::number(total),
            metainfo,
            info_hash: info_hash.to_string(),
            magnet,
        },
    }
}
