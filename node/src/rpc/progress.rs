//! Streams of torrents: all of them first, then those that changed, once a second at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::units::TorrentId;
use seedbank_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::backend::{Backend, Stopping};
use super::error;
use super::field::PAGE_SIZE_MAX;
use super::message::{self, WallTime};
use super::watching::{BACKLOG_MAX, HEARTBEAT};

/// Between two looks at the torrents.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What one reader was told.
pub(super) struct TorrentWatch {
    backend: Arc<dyn Backend>,
    /// Torrents wanted; all if empty.
    wanted: BTreeSet<TorrentId>,
    told: BTreeMap<TorrentId, v1::Torrent>,
}

impl TorrentWatch {
    /// Nothing is told yet.
    pub(super) fn new(backend: Arc<dyn Backend>, wanted: BTreeSet<TorrentId>) -> Self {
        Self {
            backend,
            wanted,
            told: BTreeMap::new(),
        }
    }

    /// Tells what changes until the reader is gone or the node stops; `place` is free then.
    pub(super) fn follow(
        self,
        place: OwnedSemaphorePermit,
        stop: watch::Receiver<bool>,
    ) -> ReceiverStream<Result<v1::WatchTorrentsResponse, Status>> {
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        tokio::spawn(async move {
            self.run(sender, stop).await;
            drop(place);
        });
        ReceiverStream::new(receiver)
    }

    async fn run(
        mut self,
        sender: mpsc::Sender<Result<v1::WatchTorrentsResponse, Status>>,
        stop: watch::Receiver<bool>,
    ) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told_at: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return,
                () = super::stopped(stop.clone()) => break,
                _ = looks.tick() => {}
            }
            let Ok(messages) = self.look().await else {
                break;
            };
            let silent = told_at.is_some_and(|at| at.elapsed() < HEARTBEAT);
            if silent && messages.iter().all(is_empty) {
                continue;
            }
            told_at = Some(Instant::now());
            for message in messages {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        }
        // A reader that is gone has no use for the reason.
        let _ = sender.send(Err(error::of_stopping(Stopping).into())).await;
    }

    /// What is new since the last look, in at least one message; the last of them is complete.
    async fn look(&mut self) -> Result<Vec<v1::WatchTorrentsResponse>, Stopping> {
        let clock = WallTime(self.backend.info().started_at);
        let mut rows = self.backend.torrents().await?;
        rows.retain(|row| self.wanted.is_empty() || self.wanted.contains(&row.view.torrent_id));
        let now: BTreeMap<TorrentId, v1::Torrent> = rows
            .iter()
            .map(|row| (row.view.torrent_id, message::torrent(row, clock)))
            .collect();
        let gone = self.told.keys().filter(|known| !now.contains_key(known));
        let gone: Vec<String> = gone.map(ToString::to_string).collect();
        let changed = now
            .iter()
            .filter(|(torrent_id, torrent)| self.told.get(torrent_id) != Some(torrent));
        let changed: Vec<v1::Torrent> = changed.map(|(_, torrent)| torrent.clone()).collect();
        self.told = now;
        let pages = changed.chunks(PAGE_SIZE_MAX);
        let mut messages: Vec<v1::WatchTorrentsResponse> = pages
            .map(|torrents| v1::WatchTorrentsResponse {
                torrents: torrents.to_vec(),
                ..v1::WatchTorrentsResponse::default()
            })
            .collect();
        if messages.is_empty() {
            messages.push(v1::WatchTorrentsResponse::default());
        }
        if let Some(last) = messages.last_mut() {
            last.removed_info_hashes = gone;
            last.complete = true;
        }
        Ok(messages)
    }
}

fn is_empty(message: &v1::WatchTorrentsResponse) -> bool {
    message.torrents.is_empty() && message.removed_info_hashes.is_empty()
}
