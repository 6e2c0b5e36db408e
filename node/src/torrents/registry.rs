//! Which torrents there are, across restarts: `HASH.torrent` (what it is, once known) and
//! `HASH.resume` (where its files are, what the owner wants of it, and what was verified).
//!
//! A file that does not read back costs a check or one torrent, never the node.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use seedbank_engine::content::magnet::{Magnet, MagnetError};
use seedbank_engine::content::metainfo::{Metainfo, MetainfoError};
use seedbank_engine::units::InfoHash;
use serde::{Deserialize, Serialize};

use crate::disk::storage::resume::ResumeData;
use crate::host::durable;

/// Longest `.resume` that is read: a bitfield of two million pieces and as many files.
const RECORD_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Longest `.torrent` that is read; the engine's own bound is lower.
const TORRENT_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Version of the `.resume` layout.
const VERSION: u32 = 1;

/// The folder of all torrents.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    folder: PathBuf,
}

/// What is remembered of one torrent beside its metainfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Of the layout.
    pub(crate) version: u32,
    /// Folder that its files lie in.
    pub(crate) download_dir: PathBuf,
    /// Stopped by the owner.
    pub(crate) stopped: bool,
    /// Bytes per second, or none of its own.
    pub(crate) upload_limit: Option<u64>,
    /// Bytes per second, or none of its own.
    pub(crate) download_limit: Option<u64>,
    /// Peers known beforehand.
    pub(crate) peers: Vec<SocketAddr>,
    /// The link, until the metainfo is here.
    pub(crate) magnet: Option<String>,
    /// What was verified.
    pub(crate) resume: Option<ResumeData>,
}

/// A torrent as it was left.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What.
    pub(crate) source: Source,
    /// How.
    pub(crate) record: Record,
}

/// Where a torrent's metainfo is.
#[derive(Debug)]
pub(crate) enum Source {
    /// Here.
    Metainfo(Box<Metainfo>),
    /// With peers.
    Magnet(Box<Magnet>),
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
    Metainfo(#[from] MetainfoError),
    #[error("{0}")]
    Magnet(#[from] MagnetError),
    #[error("it is torrent {0}")]
    OtherTorrent(InfoHash),
    #[error("{0}")]
    Record(#[from] serde_json::Error),
    #[error("layout {0} is not known")]
    Version(u32),
    #[error("neither metainfo nor magnet link")]
    Nothing,
}

impl Record {
    /// A torrent whose files go to `download_dir`.
    pub(crate) fn new(download_dir: PathBuf) -> Self {
        Self {
            version: VERSION,
            download_dir,
            stopped: false,
            upload_limit: None,
            download_limit: None,
            peers: Vec::new(),
            magnet: None,
            resume: None,
        }
    }
}

impl Registry {
    /// The torrents in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Every torrent that is there, in order of its info hash.
    pub(crate) fn load(&self, default_dir: &Path) -> io::Result<Vec<Result<Entry, RegistryError>>> {
        let mut hashes = std::collections::BTreeSet::new();
        for file in std::fs::read_dir(&self.folder)? {
            let path = file?.path();
            let known = path
                .extension()
                .is_some_and(|ext| ext == "torrent" || ext == "resume");
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            hashes.extend(stem.filter(|_| known).and_then(info_hash));
        }
        let entries = hashes
            .into_iter()
            .map(|hash| self.load_one(hash, default_dir));
        Ok(entries.collect())
    }

    /// Writes a torrent's metainfo file.
    pub(crate) fn save_torrent(&self, info_hash: InfoHash, bytes: &[u8]) -> io::Result<()> {
        durable::replace(&self.torrent(info_hash), bytes, durable::PLAIN_MODE)
    }

    /// Writes what is remembered of a torrent.
    pub(crate) fn save_record(&self, info_hash: InfoHash, record: &Record) -> io::Result<()> {
        let text = serde_json::to_vec(record).map_err(io::Error::other)?;
        durable::replace(&self.record(info_hash), &text, durable::PLAIN_MODE)
    }

    /// Forgets a torrent.
    pub(crate) fn remove(&self, info_hash: InfoHash) -> io::Result<()> {
        durable::remove(&self.torrent(info_hash))?;
        durable::remove(&self.record(info_hash))
    }

    fn load_one(&self, info_hash: InfoHash, default_dir: &Path) -> Result<Entry, RegistryError> {
        let (torrent, resume) = (self.torrent(info_hash), self.record(info_hash));
        let record = match self.load_record(&resume) {
            Ok(record) => record,
            // The data is checked again and the owner's options are gone, but not the torrent.
            Err(problem) if torrent.exists() => {
                tracing::warn!(path = %resume.display(), %problem, "resume file is of no use");
                Record::new(default_dir.to_owned())
            }
            Err(problem) => {
                return Err(RegistryError {
                    path: resume,
                    problem,
                });
            }
        };
        let source = if torrent.exists() {
            let metainfo = load_torrent(&torrent, info_hash);
            metainfo.map(|metainfo| Source::Metainfo(Box::new(metainfo)))
        } else {
            let magnet = load_magnet(&record, info_hash);
            magnet.map(|magnet| Source::Magnet(Box::new(magnet)))
        };
        match source {
            Ok(source) => Ok(Entry { source, record }),
            Err(problem) => Err(RegistryError {
                path: torrent,
                problem,
            }),
        }
    }

    fn load_record(&self, path: &Path) -> Result<Record, Problem> {
        let record: Record = serde_json::from_slice(&read(path, RECORD_LEN_MAX)?)?;
        match record.version {
            VERSION => Ok(record),
            other => Err(Problem::Version(other)),
        }
    }

    fn torrent(&self, info_hash: InfoHash) -> PathBuf {
        self.folder.join(format!("{info_hash}.torrent"))
    }

    fn record(&self, info_hash: InfoHash) -> PathBuf {
        self.folder.join(format!("{info_hash}.resume"))
    }
}

/// An info hash in hex.
pub(crate) fn info_hash(text: &str) -> Option<InfoHash> {
    let bytes = crate::host::hex::decode(text)?;
    bytes.try_into().ok().map(InfoHash)
}

fn load_torrent(path: &Path, expected: InfoHash) -> Result<Metainfo, Problem> {
    let metainfo = Metainfo::from_bytes(&read(path, TORRENT_LEN_MAX)?)?;
    if metainfo.info_hash != expected {
        return Err(Problem::OtherTorrent(metainfo.info_hash));
    }
    Ok(metainfo)
}

fn load_magnet(record: &Record, expected: InfoHash) -> Result<Magnet, Problem> {
    let magnet = Magnet::parse(record.magnet.as_deref().ok_or(Problem::Nothing)?)?;
    if magnet.info_hash != expected {
        return Err(Problem::OtherTorrent(magnet.info_hash));
    }
    Ok(magnet)
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

    fn torrent() -> (InfoHash, Vec<u8>) {
        (hash_of(INFO), [b"d4:info", INFO, b"e"].concat())
    }

    fn load(registry: &Registry) -> Vec<Result<Entry, RegistryError>> {
        registry.load(Path::new("/default")).unwrap()
    }

    #[test]
    fn a_torrent_and_its_options_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let (hash, bytes) = torrent();
        let record = Record {
            stopped: true,
            upload_limit: Some(5),
            peers: vec!["127.0.0.1:1".parse().unwrap()],
            ..Record::new("/somewhere".into())
        };
        registry.save_torrent(hash, &bytes).unwrap();
        registry.save_record(hash, &record).unwrap();
        let entries = load(&registry);
        let [Ok(entry)] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!(entry.record, record);
        assert!(matches!(&entry.source, Source::Metainfo(found) if found.info_hash == hash));
        registry.remove(hash).unwrap();
        assert!(load(&registry).is_empty());
    }

    #[test]
    fn a_magnet_without_metainfo_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let (hash, _) = torrent();
        let record = Record {
            magnet: Some(format!("magnet:?xt=urn:btih:{hash}")),
            ..Record::new("/somewhere".into())
        };
        registry.save_record(hash, &record).unwrap();
        let entries = load(&registry);
        assert!(matches!(
            &entries[..],
            [Ok(Entry {
                source: Source::Magnet(_),
                ..
            })]
        ));
    }

    #[test]
    fn a_damaged_record_costs_its_options_and_a_damaged_torrent_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let (hash, bytes) = torrent();
        registry.save_torrent(hash, &bytes).unwrap();
        std::fs::write(folder.path().join(format!("{hash}.resume")), b"{\"ver").unwrap();
        let entries = load(&registry);
        let [Ok(entry)] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!(entry.record, Record::new("/default".into()));

        let other = InfoHash([0; 20]);
        registry.save_torrent(other, &bytes).unwrap();
        std::fs::write(folder.path().join("notes.txt"), b"x").unwrap();
        let entries = load(&registry);
        assert_eq!(entries.len(), 2);
        let error = entries[0].as_ref().unwrap_err().to_string();
        assert!(error.contains(&format!("it is torrent {hash}")), "{error}");
    }
}
