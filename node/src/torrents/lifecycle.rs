//! The torrents of a node outside the session: what is remembered of them across restarts, and
//! their checks. The session decides; here it is carried out.
//!
//! What the session wants remembered is taken down at once and written by [`Torrents::save`]: by
//! whoever must not go on before, or else within [`SAVE_EVERY`].

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::{
    AddError, AddTorrent, Added, Command, CommandError, CommandReply, TorrentSource, TorrentTotals,
};
use seedbank_engine::interface::output::StorageCheck;
use seedbank_engine::units::TorrentId;

use crate::disk::plane::{DataPlane, TorrentData};
use crate::disk::storage::StorageError;
use crate::disk::storage::check::CheckProgress;
use crate::disk::storage::resume::ResumeData;
use crate::torrents::checking::{Before, CheckHandle, resolve};
use crate::torrents::registry::{Registry, TorrentEntry};

/// How often new pieces are put on record.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// All torrents of one node.
#[derive(Debug)]
pub(crate) struct Torrents {
    pub(super) plane: Arc<DataPlane>,
    registry: Registry,
    pub(super) download_dir: PathBuf,
    runtime: tokio::runtime::Handle,
    table: Mutex<BTreeMap<TorrentId, TorrentPlace>>,
    /// What torrents came to that were removed.
    removed: Mutex<TorrentTotals>,
    /// One writer of records at a time: what is asked for last is on disk last.
    writing: tokio::sync::Mutex<()>,
}

/// What there is to one info hash. Without a torrent and without leftovers it is not kept.
#[derive(Debug, Default)]
struct TorrentPlace {
    torrent: Option<Kept>,
    /// A torrent was removed and is still on record.
    leftovers: Option<Leftovers>,
}

/// What is left of a torrent that was removed.
#[derive(Debug, Default)]
struct Leftovers {
    /// Files to delete with it.
    data: Vec<Arc<TorrentData>>,
    /// What it came to.
    totals: TorrentTotals,
}

/// A torrent.
#[derive(Debug)]
struct Kept {
    entry: TorrentEntry,
    /// Its record on disk is another.
    unsaved: bool,
    /// Its metainfo is on disk.
    has_metainfo_file: bool,
    /// The newest check.
    check: Option<Arc<CheckProgress>>,
    /// That check ended well, so that what we have is known.
    known: bool,
}

impl Torrents {
    /// No torrents yet. On the runtime that checks are to run on.
    pub(crate) fn new(
        plane: Arc<DataPlane>,
        registry: Registry,
        download_dir: PathBuf,
    ) -> Arc<Self> {
        Arc::new(Self {
            plane,
            registry,
            download_dir,
            runtime: tokio::runtime::Handle::current(),
            table: Mutex::default(),
            removed: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// Gives the session back every torrent that was there when the node last ran. Damaged ones are
    /// logged and left as they are.
    pub(crate) async fn restore(&self) -> io::Result<()> {
        let registry = self.registry.clone();
        let load = move || (registry.load_removed(), registry.load());
        let (removed, entries) = self.plane.disk.run(load).await;
        *self.removed_mut() = removed;
        let entries = entries?;
        for entry in entries {
            match entry {
                Ok(entry) => self.take_up(entry).await,
                Err(error) => tracing::error!(%error, "torrent cannot be taken up"),
            }
        }
        Ok(())
    }

    async fn take_up(&self, mut entry: TorrentEntry) {
        let dir = &mut entry.add.download_dir;
        *dir = dir.take().or_else(|| Some(self.download_dir.clone()));
        let (torrent_id, add) = (entry.add.torrent_id(), entry.add.clone());
        let place = TorrentPlace {
            torrent: Some(Kept::restored(entry)),
            leftovers: None,
        };
        self.table().insert(torrent_id, place);
        let command = Command::RestoreTorrent(Box::new(add));
        if let Err(error) = self.plane.inbox.command(command).await {
            tracing::error!(%torrent_id, %error, "torrent cannot be taken up");
            self.table().remove(&torrent_id);
        }
    }

    /// Adds a torrent; it is on record when this returns.
    pub(crate) async fn add(&self, mut add: AddTorrent) -> Result<Added, AddError> {
        let dir = add.download_dir.take();
        let dir = dir.unwrap_or_else(|| self.download_dir.clone());
        add.download_dir = Some(self.plane.disk.run(move || resolve(&dir)).await?);
        let command = Command::AddTorrent(Box::new(add));
        let added = match self.plane.inbox.command(command).await {
            Ok(CommandReply::Torrent(added)) => added,
            Err(CommandError::Add(error)) => return Err(error),
            Err(CommandError::ShuttingDown) => return Err(AddError::ShuttingDown),
            other => unreachable!("an addition is answered as such: {other:?}"),
        };
        let torrent_id = added.torrent_id;
        if let Err(error) = self.save(torrent_id).await
            && !added.existed
        {
            let command = Command::RemoveTorrent {
                torrent_id,
                delete_data: false,
            };
            // An error means that the node is on its way down, and the torrent with it.
            let _ = self.plane.inbox.command(command).await;
            self.save_or_warn(torrent_id).await;
            return Err(AddError::Record {
                kind: error.kind(),
                problem: error.to_string(),
            });
        }
        Ok(added)
    }

    /// Takes down what the session wants remembered of a torrent.
    pub(crate) fn remember(&self, add: AddTorrent) {
        let mut table = self.table();
        let place = table.entry(add.torrent_id()).or_default();
        match &mut place.torrent {
            Some(kept) => {
                kept.entry.add = add;
                kept.unsaved = true;
            }
            None => place.torrent = Some(Kept::new(add)),
        }
    }

    /// Takes down what a torrent came to.
    pub(crate) fn remember_totals(&self, torrent_id: TorrentId, totals: TorrentTotals) {
        if let Some(kept) = kept(&mut self.table(), torrent_id) {
            kept.entry.add.totals = totals;
            kept.unsaved = true;
        }
    }

    /// What torrents came to that were removed, in this run and before.
    pub(crate) fn removed(&self) -> TorrentTotals {
        *self.removed_mut()
    }

    /// Takes note that pieces are new since the last record of them.
    pub(crate) fn remember_pieces(&self, torrent_id: TorrentId) {
        if let Some(data) = self.plane.torrent(&torrent_id) {
            data.set_dirty();
        }
    }

    /// Lets go of a torrent.
    pub(crate) fn forget(&self, torrent_id: TorrentId, delete_data: bool) {
        self.plane.leases.release_all(torrent_id);
        let mut table = self.table();
        let place = table.entry(torrent_id).or_default();
        let totals = place.torrent.take().map(|kept| {
            kept.cancel_check();
            kept.entry.add.totals
        });
        let totals = totals.unwrap_or_default();
        let data = self.plane.remove(&torrent_id);
        let leftovers = place.leftovers.get_or_insert_default();
        leftovers.data.extend(data.filter(|_| delete_data));
        leftovers.totals = leftovers.totals.plus(totals);
        let mut removed = self.removed_mut();
        *removed = removed.plus(totals);
    }

    /// Begins a check, and ends the one before it.
    pub(crate) fn check(self: &Arc<Self>, order: StorageCheck) {
        let torrent_id = order.torrent_id;
        // The session begins the torrent anew, and so do its pieces.
        self.plane.leases.release_all(torrent_id);
        let progress = Arc::new(CheckProgress::default());
        let before = {
            let mut table = self.table();
            let Some(kept) = kept(&mut table, torrent_id) else {
                return;
            };
            kept.cancel_check();
            kept.check = Some(Arc::clone(&progress));
            let was_known = std::mem::replace(&mut kept.known, false);
            Before {
                resume: kept.entry.resume.clone(),
                open: self.plane.torrent(&torrent_id).filter(|_| was_known),
            }
        };
        let checking = Arc::clone(self).carry_out_check(order, before, progress);
        self.runtime.spawn(checking);
    }

    /// Takes down what a check found; false if it is not the newest any more.
    pub(super) fn claims(
        &self,
        torrent_id: TorrentId,
        check: &Arc<CheckProgress>,
        resume: ResumeData,
    ) -> bool {
        let mut table = self.table();
        let Some(kept) = kept(&mut table, torrent_id).filter(|kept| kept.is_newest(check)) else {
            return false;
        };
        kept.take_resume(resume);
        true
    }

    /// Opens a torrent's files to the data plane; false if its check is not the newest any more.
    pub(super) fn opens(
        &self,
        torrent_id: TorrentId,
        check: &Arc<CheckProgress>,
        data: Arc<TorrentData>,
    ) -> bool {
        let mut table = self.table();
        let Some(kept) = kept(&mut table, torrent_id).filter(|kept| kept.is_newest(check)) else {
            return false;
        };
        kept.known = true;
        self.plane.insert(data);
        true
    }

    /// Writes what is to be remembered of a torrent, or removes what is to be forgotten; nothing
    /// if that is done. Durable on return.
    pub(crate) async fn save(&self, torrent_id: TorrentId) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let (leftovers, entry, metainfo) = {
            let mut table = self.table();
            let Some(place) = table.get_mut(&torrent_id) else {
                return Ok(());
            };
            let leftovers = place.leftovers.take();
            let unsaved = place.torrent.as_mut().filter(|kept| kept.unsaved);
            let (entry, metainfo) = match unsaved {
                Some(kept) => {
                    kept.unsaved = false;
                    let metainfo = kept.metainfo().filter(|_| !kept.has_metainfo_file);
                    (Some(kept.entry.clone()), metainfo)
                }
                None => (None, None),
            };
            if place.torrent.is_none() {
                table.remove(&torrent_id);
            }
            (leftovers, entry, metainfo)
        };
        let (writes, writes_metainfo) = (entry.is_some(), metainfo.is_some());
        let registry = self.registry.clone();
        let (written, left) = self
            .plane
            .disk
            .run(move || {
                if let Some(leftovers) = leftovers {
                    leftovers.data.iter().for_each(|data| delete(data));
                    if let Err(error) = registry.remove(torrent_id, leftovers.totals) {
                        return (Err(error), Some(leftovers.totals));
                    }
                }
                let saved =
                    entry.map_or(Ok(()), |entry| registry.save(&entry, metainfo.as_deref()));
                (saved, None)
            })
            .await;
        let mut table = self.table();
        if let Some(totals) = left {
            let place = table.entry(torrent_id).or_default();
            let leftovers = place.leftovers.get_or_insert_default();
            leftovers.totals = leftovers.totals.plus(totals);
        }
        if let Some(kept) = kept(&mut table, torrent_id) {
            kept.has_metainfo_file |= written.is_ok() && writes_metainfo;
            kept.unsaved |= written.is_err() && writes;
        }
        written
    }

    /// The same where nobody can do anything about an error; it is tried again in a while.
    pub(crate) async fn save_or_warn(&self, torrent_id: TorrentId) {
        if let Err(error) = self.save(torrent_id).await {
            tracing::warn!(%torrent_id, %error, "torrent is not on record");
        }
    }

    /// Puts on record what is new from time to time, for ever.
    pub(crate) async fn keep_saving(self: Arc<Self>) {
        let mut timer = tokio::time::interval(SAVE_EVERY);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            self.save_all(false).await;
        }
    }

    /// Puts on record what is new; with `sync`, data is made to survive a loss of power first.
    pub(crate) async fn save_all(&self, sync: bool) {
        for data in self.plane.torrents() {
            self.note_pieces(data, sync).await;
        }
        for torrent_id in self.pending() {
            self.save_or_warn(torrent_id).await;
        }
    }

    /// Torrents that are not on disk as they should be.
    fn pending(&self) -> Vec<TorrentId> {
        let table = self.table();
        let pending = table.iter().filter(|(_, place)| place.is_pending());
        pending.map(|(torrent_id, _)| *torrent_id).collect()
    }

    async fn note_pieces(&self, data: Arc<TorrentData>, sync: bool) {
        let torrent_id = data.storage.torrent_id();
        let is_known = kept(&mut self.table(), torrent_id).is_some_and(|kept| kept.known);
        if !is_known || !(data.take_dirty() || sync) {
            return;
        }
        match self.record_of(data, sync).await {
            Ok(resume) => {
                // A check that began meanwhile knows better.
                if let Some(kept) = kept(&mut self.table(), torrent_id).filter(|kept| kept.known) {
                    kept.take_resume(resume);
                }
            }
            Err(error) => tracing::warn!(%torrent_id, %error, "data is not synced"),
        }
    }

    /// A record of a torrent as it is now; with `sync`, or complete, it survives a loss of power.
    async fn record_of(
        &self,
        data: Arc<TorrentData>,
        sync: bool,
    ) -> Result<ResumeData, StorageError> {
        let have = data.have();
        if have.is_complete() {
            self.plane.make_empty_files(&data).await?;
        }
        let made = self.plane.disk.run(move || {
            if sync || have.is_complete() {
                data.sync()?;
            }
            Ok(ResumeData::of(&data.storage, &have))
        });
        made.await
    }

    /// The check of a torrent that is running, if one is.
    pub(crate) fn checking(&self, torrent_id: &TorrentId) -> Option<CheckHandle> {
        let checking = self.newest_check(torrent_id)?;
        checking.is_running().then_some(checking)
    }

    /// The newest check of a torrent, be it over; `None` for one without metainfo.
    pub(crate) fn newest_check(&self, torrent_id: &TorrentId) -> Option<CheckHandle> {
        let mut table = self.table();
        let kept = kept(&mut table, *torrent_id)?;
        let progress = Arc::clone(kept.check.as_ref()?);
        Some(CheckHandle::of(progress, &*kept.metainfo()?))
    }

    /// Where a torrent's files lie.
    pub(crate) fn download_dir(&self, torrent_id: &TorrentId) -> Option<PathBuf> {
        let mut table = self.table();
        kept(&mut table, *torrent_id)?
            .entry
            .add
            .download_dir
            .clone()
    }

    /// A torrent's description, once it is here.
    pub(crate) fn metainfo(&self, torrent_id: &TorrentId) -> Option<Arc<Metainfo>> {
        kept(&mut self.table(), *torrent_id)?.metainfo()
    }

    /// Ends every check early.
    pub(crate) fn cancel_checks(&self) {
        let table = self.table();
        let torrents = table.values().filter_map(|place| place.torrent.as_ref());
        torrents.for_each(Kept::cancel_check);
    }

    fn removed_mut(&self) -> MutexGuard<'_, TorrentTotals> {
        // Nothing under this lock leaves it half done.
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<TorrentId, TorrentPlace>> {
        // Nothing under this lock leaves it half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TorrentPlace {
    fn is_pending(&self) -> bool {
        self.leftovers.is_some() || self.torrent.as_ref().is_some_and(|kept| kept.unsaved)
    }
}

impl Kept {
    /// A torrent that is new, and so not on record.
    fn new(add: AddTorrent) -> Self {
        Self {
            unsaved: true,
            has_metainfo_file: false,
            ..Self::restored(TorrentEntry { add, resume: None })
        }
    }

    /// A torrent as its record has it.
    fn restored(entry: TorrentEntry) -> Self {
        Self {
            has_metainfo_file: matches!(entry.add.source, TorrentSource::Metainfo(_)),
            entry,
            unsaved: false,
            check: None,
            known: false,
        }
    }

    fn metainfo(&self) -> Option<Arc<Metainfo>> {
        match &self.entry.add.source {
            TorrentSource::Metainfo(metainfo) => Some(Arc::clone(metainfo)),
            TorrentSource::Magnet(_) => None,
        }
    }

    fn take_resume(&mut self, resume: ResumeData) {
        if self.entry.resume.as_ref() != Some(&resume) {
            self.entry.resume = Some(resume);
            self.unsaved = true;
        }
    }

    fn is_newest(&self, check: &Arc<CheckProgress>) -> bool {
        let newest = self.check.as_ref();
        newest.is_some_and(|newest| Arc::ptr_eq(newest, check))
    }

    fn cancel_check(&self) {
        if let Some(check) = &self.check {
            check.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

fn kept(table: &mut BTreeMap<TorrentId, TorrentPlace>, torrent_id: TorrentId) -> Option<&mut Kept> {
    table.get_mut(&torrent_id)?.torrent.as_mut()
}

/// Deletes the files of a torrent that was removed. Waits for the disk.
fn delete(data: &TorrentData) {
    if let Err(error) = data.delete() {
        let torrent_id = data.storage.torrent_id();
        tracing::warn!(%torrent_id, %error, "data is not deleted completely");
    }
}
