//! The torrents of a node outside the session: their storage, their checks, and what is
//! remembered of them across restarts.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seedbank_engine::content::bitfield::Bitfield;
use seedbank_engine::content::magnet::{Magnet, MagnetError};
use seedbank_engine::content::metainfo::{Metainfo, MetainfoError};
use seedbank_engine::interface::command::{AddTorrent, Command, CommandError, TorrentSource};
use seedbank_engine::interface::input::Input;
use seedbank_engine::units::InfoHash;

use tokio::sync::watch;

use crate::disk::plane::{DataPlane, TorrentData};
use crate::disk::storage::check::{CheckProgress, check};
use crate::disk::storage::resume::ResumeData;
use crate::disk::storage::{Storage, StorageError};
use crate::torrents::registry::{Entry, Record, Registry, Source};

/// Most torrents of one node.
pub const TORRENTS_MAX: usize = 10_000;
/// Most peers of a torrent that are remembered from its addition.
const PEERS_MAX: usize = 1_000;
/// Between two steps of a check.
const CHECK_STEP: Duration = Duration::from_millis(200);
/// How often new pieces are put on record.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// A torrent to add, with what the session does not need to know.
#[derive(Clone, Debug)]
pub struct AddRequest {
    /// What.
    pub source: AddSource,
    /// Where its files go; `None` for the node's folder.
    pub download_dir: Option<PathBuf>,
    /// Peers known beforehand.
    pub peers: Vec<SocketAddr>,
    /// Start at once.
    pub start: bool,
    /// Bytes per second for this torrent alone; `None` for no limit of its own.
    pub upload_limit: Option<u64>,
    /// Bytes per second for this torrent alone; `None` for no limit of its own.
    pub download_limit: Option<u64>,
}

/// Where a torrent to add comes from.
#[derive(Clone, Debug)]
pub enum AddSource {
    /// The bytes of a `.torrent` file.
    Metainfo(Vec<u8>),
    /// A `magnet:` link.
    Magnet(String),
}

/// Why a torrent was not added. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The `.torrent` file is of no use.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// The link is of no use.
    #[error(transparent)]
    Magnet(#[from] MagnetError),
    /// There are too many.
    #[error("there are {TORRENTS_MAX} torrents already")]
    TooMany,
    /// It could not be put on record.
    #[error("cannot be put on record: {0}")]
    Io(#[from] io::Error),
    /// The session refused.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// A torrent that was added, or was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Which.
    pub info_hash: InfoHash,
    /// Whether it was there before.
    pub existed: bool,
}

/// A check that is running.
#[derive(Debug)]
pub struct Checking {
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

impl Checking {
    fn of(progress: Arc<CheckProgress>, metainfo: &Metainfo) -> Self {
        Self {
            total: metainfo.geometry.total_len(),
            ended: progress.ended.subscribe(),
            progress,
            over: false,
        }
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

/// All torrents of one node.
#[derive(Debug)]
pub(crate) struct Torrents {
    plane: Arc<DataPlane>,
    registry: Registry,
    download_dir: PathBuf,
    table: Mutex<BTreeMap<InfoHash, Arc<Managed>>>,
    /// One addition or removal at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Managed {
    record: Mutex<Record>,
    metainfo: Mutex<Option<Arc<Metainfo>>>,
    running: Mutex<Option<Arc<CheckProgress>>>,
    /// The newest check ended well, so that what we have is known.
    checked: AtomicBool,
}

impl Torrents {
    pub(crate) fn new(
        plane: Arc<DataPlane>,
        registry: Registry,
        download_dir: PathBuf,
    ) -> Arc<Self> {
        Arc::new(Self {
            plane,
            registry,
            download_dir,
            table: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Takes up every torrent that was there when the node last ran. Damaged ones are logged and
    /// left as they are.
    pub(crate) async fn restore(self: &Arc<Self>) -> io::Result<()> {
        let (registry, folder) = (self.registry.clone(), self.download_dir.clone());
        let entries = self.plane.disk.run(move || registry.load(&folder)).await?;
        for entry in entries.into_iter().take(TORRENTS_MAX) {
            match entry {
                Ok(entry) => self.take_up(entry).await,
                Err(error) => tracing::error!(%error, "torrent cannot be taken up"),
            }
        }
        Ok(())
    }

    /// Adds a torrent: on record, then in the session, then its storage is opened and checked.
    pub(crate) async fn add(self: &Arc<Self>, request: AddRequest) -> Result<Added, AddError> {
        let AddRequest {
            source,
            download_dir,
            peers,
            start,
            ..
        } = request;
        let peers: Vec<SocketAddr> = peers.into_iter().take(PEERS_MAX).collect();
        let mut record = Record {
            stopped: !start,
            upload_limit: request.upload_limit,
            download_limit: request.download_limit,
            peers,
            ..Record::new(download_dir.unwrap_or_else(|| self.download_dir.clone()))
        };
        let (source, bytes) = match source {
            AddSource::Metainfo(bytes) => {
                let metainfo = Metainfo::from_bytes(&bytes)?;
                (Source::Metainfo(Box::new(metainfo)), Some(bytes))
            }
            AddSource::Magnet(link) => {
                let magnet = Magnet::parse(&link)?;
                record.magnet = Some(link);
                (Source::Magnet(Box::new(magnet)), None)
            }
        };
        let info_hash = source.info_hash();
        let _changing = self.changing.lock().await;
        if self.get(&info_hash).is_some() {
            self.plane.inbox.command(record.command(source)).await?;
            return Ok(Added {
                info_hash,
                existed: true,
            });
        }
        if self.table().len() >= TORRENTS_MAX {
            return Err(AddError::TooMany);
        }
        let (registry, saved) = (self.registry.clone(), record.clone());
        let save = move || {
            bytes.map_or(Ok(()), |bytes| registry.save_torrent(info_hash, &bytes))?;
            registry.save_record(info_hash, &saved)
        };
        self.plane.disk.run(save).await?;
        let metainfo = source.metainfo();
        let command = record.command(source);
        let managed = Managed::new(record, metainfo);
        self.table().insert(info_hash, Arc::clone(&managed));
        if let Err(error) = self.plane.inbox.command(command).await {
            self.table().remove(&info_hash);
            self.forget(info_hash).await;
            return Err(error.into());
        }
        self.begin_check(info_hash, &managed, None);
        Ok(Added {
            info_hash,
            existed: false,
        })
    }

    /// Removes a torrent that the session has let go of, and its data if the owner says so.
    pub(crate) async fn removed(&self, info_hash: InfoHash, delete_data: bool) {
        let _changing = self.changing.lock().await;
        if let Some(managed) = self.table().remove(&info_hash) {
            managed.cancel_check();
        }
        let data = self.plane.remove(&info_hash);
        if let Some(data) = data.filter(|_| delete_data) {
            let deleted = self.plane.disk.run(move || data.delete()).await;
            if let Err(error) = deleted {
                tracing::warn!(%info_hash, %error, "data is not deleted completely");
            }
        }
        self.forget(info_hash).await;
    }

    /// Takes note that the owner started a torrent; opens its storage if that failed before.
    pub(crate) async fn started(self: &Arc<Self>, info_hash: InfoHash) {
        let Some(managed) = self.get(&info_hash) else {
            return;
        };
        managed.record().stopped = false;
        self.save_record(info_hash, &managed).await;
        let failed = self
            .plane
            .torrent(&info_hash)
            .filter(|data| data.has_failed());
        if let Some(data) = failed {
            // What is verified and written stays so, if its files look whole.
            let made = move || ResumeData::of(&data.storage, &data.have());
            let resume = self.plane.disk.run(made).await;
            self.begin_check(info_hash, &managed, Some(resume));
        } else if !managed.checked.load(Ordering::Relaxed) && managed.progress().is_none() {
            let resume = managed.record().resume.clone();
            self.begin_check(info_hash, &managed, resume);
        }
    }

    /// Takes note that the owner stopped a torrent.
    pub(crate) async fn stopped(&self, info_hash: InfoHash) {
        let Some(managed) = self.get(&info_hash) else {
            return;
        };
        managed.record().stopped = true;
        self.save_record(info_hash, &managed).await;
    }

    /// Verifies everything on disk, trusting nothing; `None` without metainfo.
    pub(crate) fn recheck(self: &Arc<Self>, info_hash: InfoHash) -> Option<Checking> {
        let managed = self.get(&info_hash)?;
        self.begin_check(info_hash, &managed, None)
    }

    /// A magnet's metainfo is here: puts it on record and opens storage.
    pub(crate) async fn metadata_complete(self: Arc<Self>, mut metainfo: Metainfo) {
        let info_hash = metainfo.info_hash;
        let Some(managed) = self.get(&info_hash) else {
            return;
        };
        let link = managed.record().magnet.clone();
        let magnet = link.and_then(|link| Magnet::parse(&link).ok());
        if let Some(magnet) = magnet.filter(|_| metainfo.trackers.is_empty()) {
            metainfo.trackers = magnet.trackers.into_iter().map(|url| vec![url]).collect();
        }
        let (registry, bytes) = (self.registry.clone(), metainfo.to_bytes());
        let save = move || registry.save_torrent(info_hash, &bytes);
        if let Err(error) = self.plane.disk.run(save).await {
            tracing::warn!(%info_hash, %error, "metainfo is not on record");
        }
        *managed
            .metainfo
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(metainfo));
        self.begin_check(info_hash, &managed, None);
    }

    /// The check of a torrent that is running, if one is.
    pub(crate) fn checking(&self, info_hash: &InfoHash) -> Option<Checking> {
        let managed = self.get(info_hash)?;
        let progress = managed.progress()?;
        Some(Checking::of(progress, &*managed.metainfo()?))
    }

    /// Whether reading or writing a torrent's files failed since they were last checked.
    pub(crate) fn has_failed(&self, info_hash: &InfoHash) -> bool {
        self.plane
            .torrent(info_hash)
            .is_some_and(|data| data.has_failed())
    }

    /// Where a torrent's files lie.
    pub(crate) fn download_dir(&self, info_hash: &InfoHash) -> Option<PathBuf> {
        Some(self.get(info_hash)?.record().download_dir.clone())
    }

    /// A torrent's description, once it is here.
    pub(crate) fn metainfo(&self, info_hash: &InfoHash) -> Option<Arc<Metainfo>> {
        self.get(info_hash)?.metainfo()
    }

    /// Puts new pieces on record from time to time, for ever.
    pub(crate) async fn keep_saving(self: Arc<Self>) {
        let mut timer = tokio::time::interval(SAVE_EVERY);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            self.save_resumes(false).await;
        }
    }

    /// Puts new pieces on record; with `sync`, data is made to survive a loss of power first.
    pub(crate) async fn save_resumes(&self, sync: bool) {
        for data in self.plane.torrents() {
            let info_hash = data.storage.info_hash();
            let Some(managed) = self.get(&info_hash) else {
                continue;
            };
            let known = managed.checked.load(Ordering::Relaxed);
            if !known || !(data.take_dirty() || sync) {
                continue;
            }
            let made = self.plane.disk.run(move || {
                let have = data.have();
                if sync || have.is_complete() {
                    data.sync()?;
                }
                Ok::<_, StorageError>(ResumeData::of(&data.storage, &have))
            });
            match made.await {
                Ok(resume) => managed.record().resume = Some(resume),
                Err(error) => {
                    tracing::warn!(%info_hash, %error, "data is not synced");
                    continue;
                }
            }
            self.save_record(info_hash, &managed).await;
        }
    }

    /// Ends every check early.
    pub(crate) fn cancel_checks(&self) {
        self.table()
            .values()
            .for_each(|managed| managed.cancel_check());
    }

    async fn take_up(self: &Arc<Self>, entry: Entry) {
        let Entry { source, record } = entry;
        let info_hash = source.info_hash();
        let metainfo = source.metainfo();
        let resume = record.resume.clone();
        let command = record.command(source);
        let managed = Managed::new(record, metainfo);
        self.table().insert(info_hash, Arc::clone(&managed));
        match self.plane.inbox.command(command).await {
            Ok(_) => drop(self.begin_check(info_hash, &managed, resume)),
            Err(error) => tracing::error!(%info_hash, %error, "torrent cannot be taken up"),
        }
    }

    /// Opens storage and checks it, in a task of its own; ends the check before it.
    fn begin_check(
        self: &Arc<Self>,
        info_hash: InfoHash,
        managed: &Arc<Managed>,
        resume: Option<ResumeData>,
    ) -> Option<Checking> {
        let metainfo = managed.metainfo()?;
        let progress = managed.new_check();
        let checking = Checking::of(Arc::clone(&progress), &metainfo);
        let (torrents, managed) = (Arc::clone(self), Arc::clone(managed));
        tokio::spawn(async move {
            let dir = managed.record().download_dir.clone();
            let outcome = torrents
                .open_and_check(metainfo, dir, resume, &progress)
                .await;
            let input = match outcome {
                Ok(Some(have)) => {
                    managed.checked.store(true, Ordering::Relaxed);
                    Input::Checked { info_hash, have }
                }
                Ok(None) => {
                    progress.ended.send_replace(true);
                    return;
                }
                Err(error) => Input::StorageFailed {
                    info_hash,
                    reason: error.to_string(),
                },
            };
            managed.end_check(&progress);
            progress.ended.send_replace(true);
            torrents.plane.inbox.input(input).await;
        });
        Some(checking)
    }

    async fn open_and_check(
        &self,
        metainfo: Arc<Metainfo>,
        download_dir: PathBuf,
        resume: Option<ResumeData>,
        progress: &Arc<CheckProgress>,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let files = Arc::clone(&self.plane.files);
        let open = self.plane.disk.run(move || {
            let storage = Storage::open(metainfo, &download_dir, files)?;
            let none = Bitfield::none(storage.metainfo().geometry.piece_count());
            let trusted = resume.map_or(none, |resume| resume.trusted(&storage));
            Ok::<_, StorageError>((TorrentData::new(storage), trusted))
        });
        let (data, trusted) = open.await?;
        let found = check(&data.storage, trusted, &self.plane.hash, progress).await?;
        let Some(have) = found else { return Ok(None) };
        let bytes = have.to_wire();
        data.set_have(have);
        // Only now: nothing is served from, or written to, storage that was not checked.
        self.plane.insert(data);
        Ok(Some(bytes))
    }

    async fn save_record(&self, info_hash: InfoHash, managed: &Managed) {
        let (registry, record) = (self.registry.clone(), managed.record().clone());
        let save = move || registry.save_record(info_hash, &record);
        if let Err(error) = self.plane.disk.run(save).await {
            tracing::warn!(%info_hash, %error, "torrent is not on record");
        }
    }

    async fn forget(&self, info_hash: InfoHash) {
        let registry = self.registry.clone();
        let removed = self
            .plane
            .disk
            .run(move || registry.remove(info_hash))
            .await;
        if let Err(error) = removed {
            tracing::warn!(%info_hash, %error, "torrent is still on record");
        }
    }

    fn get(&self, info_hash: &InfoHash) -> Option<Arc<Managed>> {
        self.table().get(info_hash).cloned()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<InfoHash, Arc<Managed>>> {
        // Nothing under this lock leaves it half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Managed {
    fn new(record: Record, metainfo: Option<Arc<Metainfo>>) -> Arc<Self> {
        Arc::new(Self {
            record: Mutex::new(record),
            metainfo: Mutex::new(metainfo),
            running: Mutex::default(),
            checked: AtomicBool::new(false),
        })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metainfo(&self) -> Option<Arc<Metainfo>> {
        self.metainfo
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn progress(&self) -> Option<Arc<CheckProgress>> {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn new_check(&self) -> Arc<CheckProgress> {
        self.checked.store(false, Ordering::Relaxed);
        let progress = Arc::new(CheckProgress::default());
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = running.replace(Arc::clone(&progress)) {
            old.cancelled.store(true, Ordering::Relaxed);
        }
        progress
    }

    fn end_check(&self, progress: &Arc<CheckProgress>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, progress))
        {
            *running = None;
        }
    }

    fn cancel_check(&self) {
        if let Some(running) = self.progress() {
            running.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

impl Record {
    /// The session's side of this torrent.
    fn command(&self, source: Source) -> Command {
        Command::AddTorrent(Box::new(AddTorrent {
            source: match source {
                Source::Metainfo(metainfo) => TorrentSource::Metainfo(metainfo),
                Source::Magnet(magnet) => TorrentSource::Magnet(magnet),
            },
            peers: self.peers.clone(),
            start: !self.stopped,
            upload_limit: self.upload_limit,
            download_limit: self.download_limit,
        }))
    }
}

impl Source {
    fn info_hash(&self) -> InfoHash {
        match self {
            Self::Metainfo(metainfo) => metainfo.info_hash,
            Self::Magnet(magnet) => magnet.info_hash,
        }
    }

    fn metainfo(&self) -> Option<Arc<Metainfo>> {
        match self {
            Self::Metainfo(metainfo) => Some(Arc::new(Metainfo::clone(metainfo))),
            Self::Magnet(_) => None,
        }
    }
}
