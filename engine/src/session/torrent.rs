//! One torrent as the session sees it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use seedbank_ledger::{Bytes, Instant};

use crate::content::files::Placed;
use crate::content::metainfo::Metainfo;
use crate::discovery::addresses::Addresses;
use crate::discovery::failures::Failures;
use crate::discovery::tracker::Trackers;
use crate::interface::command::{AddTorrent, TorrentSource, TorrentTotals};
use crate::interface::view::TorrentState;
use crate::rate::RateMeter;
use crate::rng::Rng;
use crate::session::metadata::MetadataFetch;
use crate::session::names::OwnName;
use crate::transfer::picker::Picker;
use crate::transfer::suggest::Suggester;
use crate::units::{InfoHash, PeerIndex, TorrentId};

/// A torrent, from add to remove.
#[derive(Debug)]
pub(crate) struct Torrent {
    pub(crate) torrent_id: TorrentId,
    /// What peers and trackers call it.
    pub(crate) info_hash: InfoHash,
    /// The metainfo's name, or the magnet's, or the info hash.
    pub(crate) name: String,
    /// What we are called in it.
    pub(crate) own_name: OwnName,
    pub(crate) content: Content,
    /// What adds it again as it is. `record.start`: the owner wants it to run; `record.totals`:
    /// what it came to when that was last put on record.
    pub(crate) record: AddTorrent,
    /// What it came to before this session.
    pub(crate) earlier: TorrentTotals,
    /// Why it stopped by itself.
    pub(crate) failure: Option<String>,
    pub(crate) peers: BTreeSet<PeerIndex>,
    pub(crate) addresses: Addresses,
    /// Of these, the ones that were dialled in vain.
    pub(crate) failures: Failures,
    pub(crate) trackers: Trackers,
    pub(crate) counters: Counters,
    pub(crate) completed_at: Option<Instant>,
}

/// What is known of a torrent's content.
#[derive(Debug)]
pub(crate) enum Content {
    /// A magnet: the metainfo is being fetched.
    Unknown(MetadataFetch),
    /// The metainfo is here, nothing is known of the files and nobody looks: it has failed.
    Unchecked(Arc<Metainfo>),
    /// The metainfo is here; what is on disk is being verified.
    Checking(Checking),
    /// The metainfo is here and what is on disk is known.
    Open(Box<Open>),
}

/// A check that is under way.
#[derive(Debug)]
pub(crate) struct Checking {
    pub(crate) metainfo: Arc<Metainfo>,
    /// Its number.
    pub(crate) check: u64,
}

/// Content that can be served and fetched.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) metainfo: Arc<Metainfo>,
    /// What we have, what peers have, and who is asked for what.
    pub(crate) picker: Picker,
    /// What was given to whom, since somebody was served while it was complete.
    pub(crate) suggester: Option<Suggester>,
    /// Reading or writing failed since the check: another one comes before anything else.
    pub(crate) stale: bool,
}

/// Payload of this session.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) totals: TorrentTotals,
    /// As it was when trackers were last told that the torrent starts: they count from there.
    pub(crate) at_start: TorrentTotals,
    pub(crate) upload_rate: RateMeter,
    pub(crate) download_rate: RateMeter,
}

impl Torrent {
    /// Its metainfo, once known.
    pub(crate) fn metainfo(&self) -> Option<&Arc<Metainfo>> {
        match &self.content {
            Content::Unknown(_) => None,
            Content::Unchecked(metainfo) => Some(metainfo),
            Content::Checking(checking) => Some(&checking.metainfo),
            Content::Open(open) => Some(&open.metainfo),
        }
    }

    /// Where its files lie, once it is known what they are.
    pub(crate) fn placed(&self) -> Option<Placed<'_>> {
        Some(Placed {
            metainfo: self.metainfo()?,
            dir: self.record.download_dir.as_deref().unwrap_or(Path::new("")),
        })
    }

    /// Whether its files are its own: they were checked, or are being checked.
    pub(crate) fn owns_files(&self) -> bool {
        match &self.content {
            Content::Unknown(_) | Content::Unchecked(_) => false,
            Content::Checking(_) | Content::Open(_) => true,
        }
    }

    /// Its content, if it can be served and fetched.
    pub(crate) fn open(&self) -> Option<&Open> {
        match &self.content {
            Content::Open(open) => Some(open),
            Content::Unknown(_) | Content::Unchecked(_) | Content::Checking(_) => None,
        }
    }

    /// Its content, if it can be served and fetched.
    pub(crate) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.content {
            Content::Open(open) => Some(open),
            Content::Unknown(_) | Content::Unchecked(_) | Content::Checking(_) => None,
        }
    }

    /// Whether the owner wants it to run and it has not failed.
    pub(crate) fn is_running(&self) -> bool {
        self.record.start && self.failure.is_none()
    }

    /// Whether it may have connections: running, and not busy verifying its files.
    pub(crate) fn is_active(&self) -> bool {
        self.is_running() && !matches!(self.content, Content::Checking(_))
    }

    /// Whether its files must be checked before it can go on.
    pub(crate) fn wants_check(&self) -> bool {
        match &self.content {
            Content::Unknown(_) | Content::Checking(_) => false,
            Content::Unchecked(_) => true,
            Content::Open(open) => open.stale,
        }
    }

    /// Whether every piece is here.
    pub(crate) fn is_seed(&self) -> bool {
        self.open().is_some_and(|open| open.picker.is_complete())
    }

    /// Bytes of verified pieces.
    pub(crate) fn have_bytes(&self) -> Bytes {
        let Some(open) = self.open() else {
            return Bytes::ZERO;
        };
        let geometry = &open.metainfo.geometry;
        if open.picker.is_complete() {
            return Bytes::new(geometry.total_len());
        }
        let lens = open
            .picker
            .have()
            .iter()
            .map(|piece| u64::from(geometry.len_of(piece)));
        Bytes::new(lens.sum())
    }

    /// What it came to, over all sessions.
    pub(crate) const fn totals(&self) -> TorrentTotals {
        self.earlier.plus(self.counters.totals)
    }

    /// What trackers are told was sent and received: since the torrent last started (BEP 3).
    pub(crate) fn announced(&self) -> (u64, u64) {
        let (now, start) = (self.counters.totals, self.counters.at_start);
        (
            now.uploaded.get() - start.uploaded.get(),
            now.downloaded.get() - start.downloaded.get(),
        )
    }

    /// Bytes not verified yet; for a magnet, as trackers expect it, not zero.
    pub(crate) fn left(&self) -> u64 {
        match self.metainfo() {
            Some(metainfo) => metainfo.geometry.total_len() - self.have_bytes().get(),
            None => u64::from(crate::units::BLOCK_LEN),
        }
    }

    /// What it is doing.
    pub(crate) fn state(&self) -> TorrentState {
        match &self.content {
            _ if self.failure.is_some() => TorrentState::Failed,
            _ if !self.record.start => TorrentState::Stopped,
            Content::Unknown(_) => TorrentState::FetchingMetadata,
            Content::Unchecked(_) | Content::Checking(_) => TorrentState::Checking,
            Content::Open(open) if open.picker.is_complete() => TorrentState::Seeding,
            Content::Open(_) => TorrentState::Downloading,
        }
    }

    /// Stops the program if the state contradicts itself.
    pub(crate) fn check_invariants(&self) {
        self.trackers.check_invariants();
        self.failures.check_invariants();
        let failed = self.failure.is_some();
        match &self.content {
            Content::Unknown(_) => assert!(
                matches!(self.record.source, TorrentSource::Magnet(_)),
                "what is not known is not remembered either"
            ),
            Content::Unchecked(_) => assert!(failed, "a torrent is checked unless it has failed"),
            Content::Checking(_) => {}
            Content::Open(open) => {
                open.picker.check_invariants();
                open.suggester.iter().for_each(Suggester::check_invariants);
                assert!(
                    !failed || open.picker.lease_len() == 0,
                    "a failed torrent leases no buffer"
                );
                assert!(
                    !self.is_running() || !open.stale,
                    "failed storage is checked before use"
                );
            }
        }
        if let Some(metainfo) = self.metainfo() {
            assert_eq!(
                metainfo.info_hash, self.info_hash,
                "its metainfo is its own"
            );
            assert!(
                matches!(self.record.source, TorrentSource::Metainfo(_)),
                "metainfo that is known is remembered"
            );
        }
        assert_eq!(
            self.record.torrent_id(),
            self.torrent_id,
            "so is its record"
        );
    }
}

impl Open {
    /// What peers have and what they were given, while everything is here.
    pub(crate) fn giving(&mut self, rng: &mut Rng) -> Option<(&Picker, &mut Suggester)> {
        if !self.picker.is_complete() {
            return None;
        }
        let geometry = &self.metainfo.geometry;
        let suggester = &mut self.suggester;
        let suggester = suggester.get_or_insert_with(|| Suggester::new(geometry, rng.fork()));
        Some((&self.picker, suggester))
    }
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            totals: TorrentTotals::default(),
            at_start: TorrentTotals::default(),
            upload_rate: RateMeter::new(),
            download_rate: RateMeter::new(),
        }
    }
}
