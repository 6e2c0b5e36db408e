//! Looks from time to time whether the files that torrents are served from are still there: one
//! that is open goes on being read when nobody can find it any more.

use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::interface::input::Input;
use seedbank_engine::units::TorrentId;

use crate::disk::plane::TorrentData;
use crate::torrents::lifecycle::Torrents;

/// How often files are looked for.
const WATCH_EVERY: Duration = Duration::from_secs(60);
/// Most files looked for at a time, of all torrents together; those behind have their turn next.
const FILES_MAX: usize = 4_096;

/// How far files were looked for: the torrent and the file to go on with.
pub(crate) type WatchedTo = Option<(TorrentId, usize)>;

/// Torrents of which a file is gone, and what is to be said of it.
type Lost = Vec<(Arc<TorrentData>, String)>;

impl Torrents {
    /// Looks for ever.
    pub(crate) async fn keep_watching(self: Arc<Self>) {
        let mut timer = tokio::time::interval(WATCH_EVERY);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut at = None;
        loop {
            timer.tick().await;
            at = self.watch(at).await;
        }
    }

    /// Looks for some files, from `at` on, and tells the session of those that are gone.
    pub(crate) async fn watch(&self, at: WatchedTo) -> WatchedTo {
        let torrents = self.plane.torrents();
        let looked = self.plane.disk.run(move || look(torrents, at));
        let (lost, next) = looked.await;
        for (data, reason) in lost {
            let torrent_id = data.storage.torrent_id();
            // Checked again meanwhile: what is there is known better.
            let is_open = self.plane.torrent(&torrent_id);
            if is_open.is_some_and(|open| Arc::ptr_eq(&open, &data)) {
                let failed = Input::StorageFailed { torrent_id, reason };
                self.plane.inbox.input(failed).await;
            }
        }
        next
    }
}

/// Looks at most at [`FILES_MAX`] files. Waits for the disk.
fn look(torrents: Vec<Arc<TorrentData>>, at: WatchedTo) -> (Lost, WatchedTo) {
    let (first, mut from) = at.unwrap_or((TorrentId([0; 20]), 0));
    let mut left = FILES_MAX;
    let mut lost = Vec::new();
    for data in torrents {
        let torrent_id = data.storage.torrent_id();
        if torrent_id < first {
            continue;
        }
        if torrent_id > first {
            from = 0;
        }
        let end = data.storage.metainfo().files.len();
        let to = end.min(from.saturating_add(left));
        if let Err(error) = data.storage.look_for(&data.have(), from..to) {
            lost.push((data, error.to_string()));
        }
        left -= to.saturating_sub(from);
        if left == 0 {
            return (lost, Some((torrent_id, to)));
        }
    }
    (lost, None)
}
