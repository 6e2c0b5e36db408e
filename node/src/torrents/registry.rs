//! Which torrents there are, across restarts: `HASH.torrent` (what it is, once known) and
//! `HASH.resume` (where its files are, what the owner wants of it, what was verified and what it
//! came to). `removed` has the sum of what those came to that were removed.
//!
//! A file that does not read back costs a check or one torrent, never the node.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use seedbank_engine::content::metainfo::{Metainfo, TORRENT_LEN_MAX};
use seedbank_engine::interface::command::{AddError, AddTorrent, TorrentSource, TorrentTotals};
use seedbank_engine::units::TorrentId;
use seedbank_ledger::Bytes;
use serde::{Deserialize, Serialize};

use crate::disk::storage::resume::ResumeData;
use crate::host::durable;

/// Longest `.resume` that is read: a bitfield of two million pieces and as many files.
const RECORD_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Version of the `.resume` layout.
const VERSION: u32 = 3;

/// The folder of all torrents.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    folder: PathBuf,
}

/// A torrent as it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TorrentEntry {
    /// What the session is given back.
    pub(crate) add: AddTorrent,
    /// What was verified, and which files are its own; `None` before its first check.
    pub(crate) resume: Option<ResumeData>,
}

/// The layout of `.resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Of the layout.
    version: u32,
    /// Folder that its files lie in.
    download_dir: Option<PathBuf>,
    /// Stopped by the owner.
    stopped: bool,
    /// Bytes per second, or none of its own.
    upload_limit: Option<u64>,
    /// Bytes per second, or none of its own.
    download_limit: Option<u64>,
    /// Peers known beforehand.
    peers: Vec<SocketAddr>,
    /// Trackers that the owner named.
    #[serde(default)]
    trackers: Vec<String>,
    /// The link, until the metainfo is here.
    magnet: Option<String>,
    /// What it came to.
    totals: TotalsRecord,
    /// What was verified.
    resume: Option<ResumeData>,
}

/// Payload in bytes, over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TotalsRecord {
    uploaded: u64,
    downloaded: u64,
    wasted: u64,
}

/// The layout of `removed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovedRecord {
    /// What torrents came to that were removed.
    totals: TotalsRecord,
    /// One that is being removed, in hex, and what it came to: counted above once it is off record.
    leaving: Option<(String, TotalsRecord)>,
}

/// Why a torrent could not be taken up again; its files stay as they are.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub(crate) struct RegistryError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{len} bytes are too many")]
    TooLong { len: u64 },
    #[error("{0}")]
    Source(#[from] AddError),
    #[error("it is torrent {0}")]
    OtherTorrent(TorrentId),
    #[error("{0}")]
    Record(#[from] serde_json::Error),
    #[error("layout {0} is not known")]
    Version(u32),
    #[error("neither metainfo nor magnet link")]
    Nothing,
}

impl Record {
    fn of(entry: &TorrentEntry) -> Self {
        let add = &entry.add;
        Self {
            version: VERSION,
            download_dir: add.download_dir.clone(),
            stopped: !add.start,
            upload_limit: add.upload_limit,
            download_limit: add.download_limit,
            peers: add.peers.clone(),
            trackers: add.trackers.clone(),
            magnet: match &add.source {
                TorrentSource::Metainfo(_) => None,
                TorrentSource::Magnet(magnet) => Some(magnet.to_string()),
            },
            totals: add.totals.into(),
            resume: entry.resume.clone(),
        }
    }

    /// What a torrent has of which nothing else is known.
    const fn unknown() -> Self {
        Self {
            version: VERSION,
            download_dir: None,
            stopped: false,
            upload_limit: None,
            download_limit: None,
            peers: Vec::new(),
            trackers: Vec::new(),
            magnet: None,
            totals: TotalsRecord {
                uploaded: 0,
                downloaded: 0,
                wasted: 0,
            },
            resume: None,
        }
    }

    fn into_entry(self, source: TorrentSource) -> TorrentEntry {
        TorrentEntry {
            add: AddTorrent {
                source,
                download_dir: self.download_dir,
                peers: self.peers,
                trackers: self.trackers,
                start: !self.stopped,
                upload_limit: self.upload_limit,
                download_limit: self.download_limit,
                totals: self.totals.into(),
            },
            resume: self.resume,
        }
    }
}

impl From<TorrentTotals> for TotalsRecord {
    fn from(totals: TorrentTotals) -> Self {
        Self {
            uploaded: totals.uploaded.get(),
            downloaded: totals.downloaded.get(),
            wasted: totals.wasted.get(),
        }
    }
}

impl From<TotalsRecord> for TorrentTotals {
    fn from(record: TotalsRecord) -> Self {
        Self {
            uploaded: Bytes::new(record.uploaded),
            downloaded: Bytes::new(record.downloaded),
            wasted: Bytes::new(record.wasted),
        }
    }
}

impl RemovedRecord {
    /// Counts the torrent that was leaving; one that is on record still has not left.
    fn settle(&mut self, is_on_record: impl FnOnce(TorrentId) -> bool) {
        let Some((hash, left)) = self.leaving.take() else {
            return;
        };
        if !torrent_id(&hash).is_some_and(is_on_record) {
            let sum = TorrentTotals::from(self.totals).plus(left.into());
            self.totals = sum.into();
        }
    }
}

impl Registry {
    /// The torrents in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Every torrent that is there, in order of its info hash.
    pub(crate) fn load(&self) -> io::Result<Vec<Result<TorrentEntry, RegistryError>>> {
        let mut hashes = std::collections::BTreeSet::new();
        for file in std::fs::read_dir(&self.folder)? {
            let path = file?.path();
            let known = path
                .extension()
                .is_some_and(|ext| ext == "torrent" || ext == "resume");
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            hashes.extend(stem.filter(|_| known).and_then(torrent_id));
        }
        Ok(hashes.into_iter().map(|hash| self.load_one(hash)).collect())
    }

    /// Writes what is remembered of a torrent, its metainfo first if that is new.
    pub(crate) fn save(&self, entry: &TorrentEntry, metainfo: Option<&Metainfo>) -> io::Result<()> {
        let torrent_id = entry.add.torrent_id();
        if let Some(metainfo) = metainfo {
            let bytes = metainfo.to_bytes();
            durable::replace(&self.torrent(torrent_id), &bytes, durable::SECRET_MODE)?;
        }
        let text = serde_json::to_vec(&Record::of(entry)).map_err(io::Error::other)?;
        durable::replace(&self.record(torrent_id), &text, durable::SECRET_MODE)
    }

    /// Forgets a torrent, and counts what it came to among the removed: once, also if the node is
    /// killed meanwhile.
    pub(crate) fn remove(&self, torrent_id: TorrentId, totals: TorrentTotals) -> io::Result<()> {
        let mut removed = self.load_removed_record();
        removed.leaving = Some((torrent_id.to_string(), totals.into()));
        self.save_removed(&removed)?;
        durable::remove(&self.torrent(torrent_id))?;
        durable::remove(&self.record(torrent_id))?;
        removed.settle(|_| false);
        if let Err(error) = self.save_removed(&removed) {
            // What is on disk says the same in other words.
            tracing::warn!(%torrent_id, %error, "totals are not on record");
        }
        Ok(())
    }

    /// What torrents came to that were removed.
    pub(crate) fn load_removed(&self) -> TorrentTotals {
        self.load_removed_record().totals.into()
    }

    /// One that does not read back counts from nothing.
    fn load_removed_record(&self) -> RemovedRecord {
        let path = self.removed();
        let mut removed = match read(&path, RECORD_LEN_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|problem| {
                tracing::error!(path = %path.display(), %problem, "totals are of no use");
                RemovedRecord::default()
            }),
            Err(Problem::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                RemovedRecord::default()
            }
            Err(problem) => {
                tracing::error!(path = %path.display(), %problem, "totals cannot be read");
                RemovedRecord::default()
            }
        };
        removed.settle(|torrent_id| {
            self.torrent(torrent_id).exists() || self.record(torrent_id).exists()
        });
        removed
    }

    fn save_removed(&self, removed: &RemovedRecord) -> io::Result<()> {
        let text = serde_json::to_vec(removed).map_err(io::Error::other)?;
        durable::replace(&self.removed(), &text, durable::SECRET_MODE)
    }

    fn removed(&self) -> PathBuf {
        self.folder.join("removed")
    }

    fn load_one(&self, torrent_id: TorrentId) -> Result<TorrentEntry, RegistryError> {
        let (torrent, resume) = (self.torrent(torrent_id), self.record(torrent_id));
        let record = match self.load_record(&resume) {
            Ok(record) => record,
            // The data is checked again and the owner's options are gone, but not the torrent.
            Err(problem) if torrent.exists() => {
                tracing::warn!(path = %resume.display(), %problem, "resume file is of no use");
                Record::unknown()
            }
            Err(problem) => {
                return Err(RegistryError {
                    path: resume,
                    problem,
                });
            }
        };
        let source = match torrent.exists() {
            true => load_torrent(&torrent),
            false => load_magnet(&record),
        };
        let entry = source.map(|source| record.into_entry(source));
        let entry = entry.and_then(|entry| match entry.add.torrent_id() {
            found if found == torrent_id => Ok(entry),
            other => Err(Problem::OtherTorrent(other)),
        });
        entry.map_err(|problem| RegistryError {
            path: torrent,
            problem,
        })
    }

    fn load_record(&self, path: &Path) -> Result<Record, Problem> {
        let record: Record = serde_json::from_slice(&read(path, RECORD_LEN_MAX)?)?;
        match record.version {
            VERSION => Ok(record),
            other => Err(Problem::Version(other)),
        }
    }

    fn torrent(&self, torrent_id: TorrentId) -> PathBuf {
        self.folder.join(format!("{torrent_id}.torrent"))
    }

    fn record(&self, torrent_id: TorrentId) -> PathBuf {
        self.folder.join(format!("{torrent_id}.resume"))
    }
}

/// An info hash in hex.
pub(crate) fn torrent_id(text: &str) -> Option<TorrentId> {
    let bytes = crate::host::hex::decode(text)?;
    bytes.try_into().ok().map(TorrentId)
}

fn load_torrent(path: &Path) -> Result<TorrentSource, Problem> {
    Ok(TorrentSource::from_bytes(&read(
        path,
        TORRENT_LEN_MAX.into(),
    )?)?)
}

fn load_magnet(record: &Record) -> Result<TorrentSource, Problem> {
    let link = record.magnet.as_deref().ok_or(Problem::Nothing)?;
    Ok(TorrentSource::from_link(link)?)
}

fn read(path: &Path, len_max: u64) -> Result<Vec<u8>, Problem> {
    let len = std::fs::metadata(path)?.len();
    if len > len_max {
        return Err(Problem::TooLong { len });
    }
    Ok(std::fs::read(path)?)
}

#[cfg(test)]
mod tests {
    use seedbank_engine::content::metainfo::hash_of;

    use super::*;

    const INFO: &[u8] =
        b"d6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:01234567890123456789e";

    fn torrent() -> (TorrentId, TorrentEntry) {
        let bytes = [b"d4:info", INFO, b"e"].concat();
        let source = TorrentSource::from_bytes(&bytes).unwrap();
        let add = AddTorrent {
            download_dir: Some("/somewhere".into()),
            trackers: vec!["udp://192.168.0.1:6969".to_owned()],
            ..AddTorrent::new(source)
        };
        (hash_of(INFO).into(), TorrentEntry { add, resume: None })
    }

    fn totals(bytes: u64) -> TorrentTotals {
        TorrentTotals {
            uploaded: Bytes::new(bytes),
            downloaded: Bytes::new(2 * bytes),
            wasted: Bytes::ZERO,
        }
    }

    fn save(registry: &Registry, entry: &TorrentEntry) {
        let metainfo = match &entry.add.source {
            TorrentSource::Metainfo(metainfo) => Some(&**metainfo),
            TorrentSource::Magnet(_) => None,
        };
        registry.save(entry, metainfo).unwrap();
    }

    #[test]
    fn a_torrent_and_its_options_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let (hash, mut entry) = torrent();
        entry.add.start = false;
        entry.add.upload_limit = Some(5);
        entry.add.peers = vec!["127.0.0.1:1".parse().unwrap()];
        entry.add.totals = totals(7);
        save(&registry, &entry);
        let entries = registry.load().unwrap();
        let [Ok(found)] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!(*found, entry);
        registry.remove(hash, totals(7)).unwrap();
        assert!(registry.load().unwrap().is_empty());
    }

    #[test]
    fn what_a_removed_torrent_came_to_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let (hash, entry) = torrent();
        assert_eq!(registry.load_removed(), totals(0));
        save(&registry, &entry);
        registry.remove(hash, totals(7)).unwrap();
        assert_eq!(registry.load_removed(), totals(7));
        // Killed between the two: while it is on record, it counts itself.
        save(&registry, &entry);
        let leaving = RemovedRecord {
            totals: totals(7).into(),
            leaving: Some((hash.to_string(), totals(5).into())),
        };
        registry.save_removed(&leaving).unwrap();
        assert_eq!(registry.load_removed(), totals(7));
        std::fs::remove_file(folder.path().join(format!("{hash}.torrent"))).unwrap();
        std::fs::remove_file(folder.path().join(format!("{hash}.resume"))).unwrap();
        assert_eq!(registry.load_removed(), totals(12));
    }

    #[test]
    fn a_magnet_without_metainfo_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let (hash, mut entry) = torrent();
        let link = format!("magnet:?xt=urn:btih:{hash}&x.pe=127.0.0.1:1");
        entry.add.source = TorrentSource::from_link(&link).unwrap();
        save(&registry, &entry);
        let entries = registry.load().unwrap();
        assert!(matches!(&entries[..], [Ok(found)] if *found == entry));
    }

    #[test]
    fn a_damaged_record_costs_its_options_and_a_damaged_torrent_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let (hash, entry) = torrent();
        save(&registry, &entry);
        std::fs::write(folder.path().join(format!("{hash}.resume")), b"{\"ver").unwrap();
        let entries = registry.load().unwrap();
        let [Ok(found)] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!(found.add, AddTorrent::new(entry.add.source));

        let bytes = std::fs::read(folder.path().join(format!("{hash}.torrent"))).unwrap();
        let other = TorrentId([0; 20]);
        std::fs::write(folder.path().join(format!("{other}.torrent")), bytes).unwrap();
        std::fs::write(folder.path().join("notes.txt"), b"x").unwrap();
        let entries = registry.load().unwrap();
        assert_eq!(entries.len(), 2);
        let error = entries[0].as_ref().unwrap_err().to_string();
        assert!(error.contains(&format!("it is torrent {hash}")), "{error}");
    }
}
