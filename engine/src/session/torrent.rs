//! One torrent as the session sees it.

use std::collections::BTreeSet;

use seedbank_ledger::{Bytes, Instant};

use crate::content::metainfo::Metainfo;
use crate::discovery::addresses::Addresses;
use crate::discovery::tracker::Trackers;
use crate::interface::view::TorrentState;
use crate::rate::RateMeter;
use crate::session::metadata::MetadataFetch;
use crate::transfer::picker::Picker;
use crate::units::{InfoHash, PeerIndex};

/// A torrent, from add to remove.
#[derive(Debug)]
pub(crate) struct Torrent {
    pub(crate) info_hash: InfoHash,
    /// The metainfo's name, or the magnet's, or the info hash.
    pub(crate) name: String,
    pub(crate) content: Content,
    /// The owner wants it to run.
    pub(crate) started: bool,
    /// Why it stopped by itself.
    pub(crate) failure: Option<String>,
    pub(crate) peers: BTreeSet<PeerIndex>,
    pub(crate) addresses: Addresses,
    pub(crate) trackers: Trackers,
    pub(crate) counters: Counters,
    pub(crate) completed_at: Option<Instant>,
}

/// What is known of a torrent's content.
#[derive(Debug)]
pub(crate) enum Content {
    /// A magnet: the metainfo is being fetched.
    Unknown(MetadataFetch),
    /// The metainfo is here; what is on disk is being verified.
    Checking(Box<Metainfo>),
    /// The metainfo is here and what is on disk is known.
    Open(Box<Open>),
}

/// Content that can be served and fetched.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) metainfo: Box<Metainfo>,
    /// What we have, what peers have, and who is asked for what.
    pub(crate) picker: Picker,
}

/// Payload of this session.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) uploaded: Bytes,
    pub(crate) downloaded: Bytes,
    pub(crate) wasted: Bytes,
    pub(crate) upload_rate: RateMeter,
    pub(crate) download_rate: RateMeter,
}

impl Torrent {
    /// Its metainfo, once known.
    pub(crate) fn metainfo(&self) -> Option<&Metainfo> {
        match &self.content {
            Content::Unknown(_) => None,
            Content::Checking(metainfo) => Some(metainfo),
            Content::Open(open) => Some(&open.metainfo),
        }
    }

    /// Its content, if it can be served and fetched.
    pub(crate) fn open(&self) -> Option<&Open> {
        match &self.content {
            Content::Open(open) => Some(open),
            Content::Unknown(_) | Content::Checking(_) => None,
        }
    }

    /// Its content, if it can be served and fetched.
    pub(crate) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.content {
            Content::Open(open) => Some(open),
            Content::Unknown(_) | Content::Checking(_) => None,
        }
    }

    /// Whether it may have connections: running, and not busy verifying its files.
    pub(crate) fn is_active(&self) -> bool {
        let running = self.started && self.failure.is_none();
        running && !matches!(self.content, Content::Checking(_))
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
            _ if !self.started => TorrentState::Stopped,
            Content::Unknown(_) => TorrentState::FetchingMetadata,
            Content::Checking(_) => TorrentState::Checking,
            Content::Open(open) if open.picker.is_complete() => TorrentState::Seeding,
            Content::Open(_) => TorrentState::Downloading,
        }
    }
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            uploaded: Bytes::ZERO,
            downloaded: Bytes::ZERO,
            wasted: Bytes::ZERO,
            upload_rate: RateMeter::new(),
            download_rate: RateMeter::new(),
        }
    }
}
