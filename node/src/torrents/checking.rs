//! Carries out a check of a torrent's files that the session asked for, and lets users watch it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seedbank_engine::content::bitfield::Bitfield;
use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::AddError;
use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::{StorageCheck, Trust};
use tokio::sync::watch;

use crate::disk::plane::TorrentData;
use crate::disk::storage::Storage;
use crate::disk::storage::check::{CheckProgress, check};
use crate::disk::storage::resume::ResumeData;
use crate::torrents::lifecycle::Torrents;

/// Between two steps of a check.
const CHECK_STEP: Duration = Duration::from_millis(200);

/// A check that is running.
#[derive(Debug)]
pub struct CheckHandle {
    progress: Arc<CheckProgress>,
    ended: watch::Receiver<bool>,
    total: u64,
    over: bool,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckStep {
    /// Bytes checked so far.
    pub checked: u64,
    /// Bytes to check in all.
    pub total: u64,
    /// Of the checked, good.
    pub have: u64,
}

impl CheckHandle {
    pub(super) fn of(progress: Arc<CheckProgress>, metainfo: &Metainfo) -> Self {
        Self {
            total: metainfo.geometry.total_len(),
            ended: progress.ended.subscribe(),
            progress,
            over: false,
        }
    }

    /// Whether it goes on.
    pub(super) fn is_running(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Where the check is a moment from now, or at its end; `None` behind the end.
    pub async fn next(&mut self) -> Option<CheckStep> {
        if self.over {
            return None;
        }
        let ended = self.ended.wait_for(|ended| *ended);
        self.over = tokio::time::timeout(CHECK_STEP, ended).await.is_ok();
        Some(CheckStep {
            checked: self.progress.checked.load(Ordering::Relaxed),
            total: self.total,
            have: self.progress.have.load(Ordering::Relaxed),
        })
    }
}

/// What is known before a check begins.
pub(super) struct Before {
    /// The torrent's record.
    pub(super) resume: Option<ResumeData>,
    /// Its files, if they are open and what is in them is known better than by the record.
    pub(super) open: Option<Arc<TorrentData>>,
}

impl Torrents {
    /// Carries a check out to its end and tells the session, unless another one took its place.
    pub(super) async fn carry_out_check(
        self: Arc<Self>,
        order: StorageCheck,
        before: Before,
        progress: Arc<CheckProgress>,
    ) {
        let (torrent_id, check) = (order.torrent_id, order.check);
        let input = match self.open_and_check(order, before, &progress).await {
            Ok(Some(have)) => Some(Input::Checked {
                torrent_id,
                check,
                have,
            }),
            Ok(None) => None,
            Err(reason) => Some(Input::CheckFailed {
                torrent_id,
                check,
                reason,
            }),
        };
        progress.ended.send_replace(true);
        if let Some(input) = input {
            self.plane.inbox.input(input).await;
        }
    }

    /// The pieces that are there; `None` if the check was ended early.
    async fn open_and_check(
        &self,
        order: StorageCheck,
        before: Before,
        progress: &Arc<CheckProgress>,
    ) -> Result<Option<Vec<u8>>, String> {
        let torrent_id = order.torrent_id;
        let unrecorded = |error: io::Error| format!("cannot be put on record: {error}");
        self.save(torrent_id).await.map_err(unrecorded)?;
        let dir = order.download_dir.clone();
        let dir = dir.unwrap_or_else(|| self.download_dir.clone());
        let files = Arc::clone(&self.plane.files);
        let opened = self.plane.disk.run(move || {
            let resume = match before.open {
                Some(data) => Some(ResumeData::of(&data.storage, &data.have())),
                None => before.resume,
            };
            let storage = Storage::open(order.metainfo, &dir, files);
            let believed = resume.as_ref().filter(|_| order.trust == Trust::Record);
            let trusted = match believed {
                Some(resume) => resume.trusted(&storage),
                None => Bitfield::none(storage.metainfo().geometry.piece_count()),
            };
            (TorrentData::new(storage), trusted, resume)
        });
        let (data, trusted, resume) = opened.await;
        let found = check(&data.storage, trusted, &self.plane.hash, progress).await;
        let Some(have) = found.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        data.set_have(have.clone());
        let (storage, found) = (Arc::clone(&data.storage), have.clone());
        let claimed = self.plane.disk.run(move || {
            storage.claim(&found, resume.as_ref())?;
            Ok(ResumeData::of(&storage, &found))
        });
        let claimed = claimed.await;
        let resume =
            claimed.map_err(|error: crate::disk::storage::StorageError| error.to_string())?;
        if !self.claims(torrent_id, progress, resume) {
            return Ok(None);
        }
        // From here on these files are known for ours, whenever the node may be killed.
        self.save(torrent_id).await.map_err(unrecorded)?;
        if have.is_complete() {
            let made = self.plane.make_empty_files(&data);
            made.await.map_err(|error| error.to_string())?;
        }
        // Only now: nothing is served from, or written to, storage that was not checked.
        let opened = self.opens(torrent_id, progress, data);
        Ok(opened.then(|| have.to_wire()))
    }
}

/// The folder that `dir` means, links followed, so that one folder has one name. What is not there
/// yet is left as it is written. Waits for the disk.
pub(super) fn resolve(dir: &Path) -> Result<PathBuf, AddError> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    for at in dir.ancestors() {
        let there = match at.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
            // Whoever opens the files will say what is wrong.
            Err(_) => break,
            Ok(there) => there,
        };
        if !there.is_dir() {
            return Err(AddError::PathInTheWay(at.to_owned()));
        }
        let below = dir.strip_prefix(at).expect("an ancestor comes first");
        return Ok(match below.as_os_str().is_empty() {
            true => there,
            false => there.join(below),
        });
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_name_whether_it_is_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(resolve(&link), Ok(real.clone()));
        assert_eq!(resolve(&link.join("a/b")), Ok(real.join("a/b")));
        let file = real.join("file");
        std::fs::write(&file, b"x").unwrap();
        for dir in [file.clone(), file.join("below")] {
            let refused = resolve(&dir);
            assert_eq!(refused, Err(AddError::PathInTheWay(file.clone())));
        }
    }
}
