//! A torrent's life: added or restored, its files checked, open, stopped, failed, removed.
//!
//! The driver opens, reads and records what it is told to; what follows from its answers is decided
//! here. What happens while a torrent is open is left to `download.rs` and `upload.rs`.

use std::path::Path;
use std::sync::Arc;

use seedbank_ledger::{Duration, Instant};

use crate::content::bitfield::Bitfield;
use crate::content::files::Placed;
use crate::content::metainfo::{Metainfo, TRACKERS_MAX};
use crate::discovery::addresses::{Addresses, PeerSource};
use crate::discovery::failures::Failures;
use crate::discovery::reach::Reach;
use crate::discovery::tracker::Trackers;
use crate::interface::command::{
    AddError, AddTorrent, Added, CommandError, CommandReply, TORRENTS_MAX, TorrentSource,
};
use crate::interface::event::SessionEvent;
use crate::interface::output::{Output, StorageCheck, Trust};
use crate::session::Session;
use crate::session::metadata::MetadataFetch;
use crate::session::torrent::{Checking, Content, Counters, Open, Torrent};
use crate::transfer::picker::Picker;
use crate::units::TorrentId;

/// Most peers of a torrent that are remembered from its addition.
const PEERS_REMEMBERED_MAX: usize = 1_000;

/// How long payload is counted before it is put on record: with the driver's own delay, no more
/// than a minute of it is lost in a crash.
const TOTALS_WAIT: Duration = Duration::from_secs(50);

impl Session {
    pub(super) fn add_torrent(
        &mut self,
        add: AddTorrent,
        now: Instant,
    ) -> Result<CommandReply, AddError> {
        if let Some(reply) = self.meets_again(&add, now)? {
            return Ok(reply);
        }
        if let TorrentSource::Metainfo(metainfo) = &add.source {
            let dir = add.download_dir.as_deref().unwrap_or(Path::new(""));
            if let Some(taken) = self.taken(Placed { metainfo, dir }) {
                return Err(taken);
            }
        }
        let torrent_id = self.insert_torrent(add, now);
        self.remember(torrent_id);
        self.begin_life(torrent_id, Trust::Nothing, now);
        Ok(CommandReply::Torrent(Added {
            torrent_id,
            existed: false,
        }))
    }

    /// Takes up a torrent of an earlier session.
    pub(super) fn restore_torrent(
        &mut self,
        add: AddTorrent,
        now: Instant,
    ) -> Result<CommandReply, AddError> {
        if let Some(reply) = self.meets_again(&add, now)? {
            return Ok(reply);
        }
        let torrent_id = self.insert_torrent(add, now);
        self.begin_life(torrent_id, Trust::Record, now);
        Ok(CommandReply::Torrent(Added {
            torrent_id,
            existed: false,
        }))
    }

    /// A torrent that is here already learns of the peers and trackers; one more than there may be
    /// is refused.
    fn meets_again(
        &mut self,
        add: &AddTorrent,
        now: Instant,
    ) -> Result<Option<CommandReply>, AddError> {
        let torrent_id = add.torrent_id();
        if let Some(torrent) = self.torrents.get_mut(&torrent_id) {
            add.peers
                .iter()
                .for_each(|addr| torrent.addresses.add(*addr, PeerSource::Owner));
            if !add.trackers.is_empty() {
                let known = &torrent.record.trackers;
                let fresh = add.trackers.iter().filter(|url| !known.contains(url));
                let fresh: Vec<String> = fresh.cloned().collect();
                torrent.record.trackers.extend(fresh);
                torrent.record.trackers.truncate(TRACKERS_MAX);
                torrent.trackers.add(&add.trackers, now);
                self.remember(torrent_id);
                self.announce_due(now);
            }
            return Ok(Some(CommandReply::Torrent(Added {
                torrent_id,
                existed: true,
            })));
        }
        match self.torrents.len() < TORRENTS_MAX {
            true => Ok(None),
            false => Err(AddError::TooMany),
        }
    }

    fn insert_torrent(&mut self, mut record: AddTorrent, now: Instant) -> TorrentId {
        record.peers.truncate(PEERS_REMEMBERED_MAX);
        record.trackers.truncate(TRACKERS_MAX);
        if let TorrentSource::Magnet(magnet) = &mut record.source {
            // Whoever wrote the link is a stranger.
            let reach = Reach::new(self.config.home).at(self.config.own_hosts);
            magnet.peers.retain(|addr| reach.peer(*addr).is_ok());
        }
        let (torrent_id, info_hash) = (record.torrent_id(), record.info_hash());
        let mut addresses = Addresses::new(self.rng.fork());
        record
            .peers
            .iter()
            .for_each(|addr| addresses.add(*addr, PeerSource::Owner));
        let mut tiers = vec![record.trackers.clone()];
        let (name, content) = match &record.source {
            TorrentSource::Metainfo(metainfo) => {
                tiers.extend(metainfo.trackers.iter().cloned());
                let name = metainfo.name.clone();
                (name, Content::Unchecked(Arc::clone(metainfo)))
            }
            TorrentSource::Magnet(magnet) => {
                magnet
                    .peers
                    .iter()
                    .for_each(|addr| addresses.add(*addr, PeerSource::Owner));
                let name = magnet.name.clone();
                let name = name.unwrap_or_else(|| info_hash.to_string());
                tiers.extend(magnet.trackers.iter().map(|url| vec![url.clone()]));
                let content = Content::Unknown(MetadataFetch::new(info_hash));
                (name, content)
            }
        };
        self.uploads
            .limiter_mut()
            .set_torrent_rate(torrent_id, record.upload_limit, now);
        self.downloads
            .set_torrent_rate(torrent_id, record.download_limit, now);
        let torrent = Torrent {
            torrent_id,
            info_hash,
            name,
            own_name: self.names.draw(),
            content,
            earlier: record.totals,
            record,
            failure: None,
            peers: Default::default(),
            addresses,
            failures: Failures::default(),
            trackers: Trackers::new(&tiers, self.rng.next_u64()),
            counters: Counters::new(),
            completed_at: None,
        };
        if let Some(placed) = torrent.placed() {
            self.places.insert(placed);
        }
        self.torrents.insert(torrent_id, torrent);
        self.by_info_hash.insert(info_hash, torrent_id);
        torrent_id
    }

    /// A torrent was put in: it is checked if there is something to check, and runs if it is to.
    fn begin_life(&mut self, torrent_id: TorrentId, trust: Trust, now: Instant) {
        if self.torrents[&torrent_id].wants_check() {
            self.check_files(torrent_id, trust, now);
        }
        if self.torrents[&torrent_id].is_running() {
            self.run_torrent(torrent_id, now);
        }
    }

    pub(super) fn remove_torrent(
        &mut self,
        torrent_id: TorrentId,
        delete_data: bool,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        self.torrent_mut(torrent_id)?;
        self.halt_torrent(torrent_id, now);
        let torrent = self.torrents.remove(&torrent_id);
        let torrent = torrent.expect("it was found above");
        self.by_info_hash.remove(&torrent.info_hash);
        if torrent.totals() != torrent.record.totals {
            self.emit(Output::RememberTotals {
                torrent_id,
                totals: torrent.totals(),
            });
        }
        if let Some(placed) = torrent.placed() {
            self.places.remove(placed);
        }
        for peer in torrent.peers {
            self.close(peer, "torrent removed");
        }
        self.uploads
            .limiter_mut()
            .set_torrent_rate(torrent_id, None, now);
        self.downloads.set_torrent_rate(torrent_id, None, now);
        self.market.torrent_gone(torrent_id, now);
        self.plan_boosts(now);
        self.emit(Output::Forget {
            torrent_id,
            delete_data,
        });
        Ok(CommandReply::Done)
    }

    pub(super) fn start_torrent(
        &mut self,
        torrent_id: TorrentId,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        let torrent = self.torrent_mut(torrent_id)?;
        let was_running = torrent.is_running();
        let was_started = std::mem::replace(&mut torrent.record.start, true);
        torrent.failure = None;
        let wants_check = torrent.wants_check();
        if !was_started {
            self.remember(torrent_id);
        }
        if wants_check {
            // What was verified and written before the failure stays so, if its files look whole.
            self.check_files(torrent_id, Trust::Record, now);
        }
        if !was_running && self.torrents[&torrent_id].is_running() {
            self.run_torrent(torrent_id, now);
        }
        Ok(CommandReply::Done)
    }

    pub(super) fn stop_torrent(
        &mut self,
        torrent_id: TorrentId,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        let was_started = self.torrent_mut(torrent_id)?.record.start;
        self.halt_torrent(torrent_id, now);
        if was_started {
            self.remember(torrent_id);
        }
        Ok(CommandReply::Done)
    }

    /// Verifies all that is on disk. A failed torrent is verified too, and stays failed.
    pub(super) fn recheck(
        &mut self,
        torrent_id: TorrentId,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        if self.torrent_mut(torrent_id)?.metainfo().is_some() {
            self.check_files(torrent_id, Trust::Nothing, now);
        }
        Ok(CommandReply::Done)
    }

    /// Ends whatever a torrent does with others. A check of its files goes on.
    pub(super) fn halt_torrent(&mut self, torrent_id: TorrentId, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        torrent.record.start = false;
        torrent.trackers.stop(now);
        for peer in torrent.peers.clone() {
            self.close(peer, "torrent stopped");
        }
        self.drop_unfinished(torrent_id, now);
        self.announce_due(now);
    }

    /// Nothing speaks against it any more.
    fn run_torrent(&mut self, torrent_id: TorrentId, now: Instant) {
        if self.fails_for_length(torrent_id, now) {
            return;
        }
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        torrent.addresses.reset();
        torrent.failures = Failures::default();
        torrent.counters.at_start = torrent.counters.totals;
        torrent.trackers.start(now);
        self.announce_due(now);
        self.dial_due(now);
    }

    /// A magnet's `info` dictionary matched its hash.
    pub(super) fn metadata_complete(&mut self, torrent_id: TorrentId, info: &[u8], now: Instant) {
        let torrent = self
            .torrents
            .get_mut(&torrent_id)
            .expect("the caller found it");
        let mut metainfo = match Metainfo::from_info(info, torrent.info_hash) {
            Ok(metainfo) => metainfo,
            Err(error) => {
                let reason = format!("metadata is no torrent: {error}");
                return self.fail_torrent(torrent_id, reason, now);
            }
        };
        if let TorrentSource::Magnet(magnet) = &torrent.record.source {
            let urls = magnet.trackers.iter();
            metainfo.trackers = urls.map(|url| vec![url.clone()]).collect();
        }
        torrent.name.clone_from(&metainfo.name);
        let metainfo = Arc::new(metainfo);
        let source = TorrentSource::Metainfo(Arc::clone(&metainfo));
        if let TorrentSource::Magnet(magnet) = std::mem::replace(&mut torrent.record.source, source)
        {
            torrent.record.peers.extend(magnet.peers);
            torrent.record.peers.truncate(PEERS_REMEMBERED_MAX);
        }
        torrent.content = Content::Unchecked(metainfo);
        if let Some(placed) = torrent.placed() {
            self.places.insert(placed);
        }
        self.remember(torrent_id);
        self.open_receipts_late(torrent_id, now);
        self.check_files(torrent_id, Trust::Nothing, now);
    }

    /// Asks for a check, unless the files belong to another torrent. Ends one that is running.
    fn check_files(&mut self, torrent_id: TorrentId, trust: Trust, now: Instant) {
        self.drop_buffers(torrent_id, now);
        let Some(torrent) = self.torrents.get(&torrent_id) else {
            return;
        };
        let Some(metainfo) = torrent.metainfo().cloned() else {
            return;
        };
        let download_dir = torrent.record.download_dir.clone();
        let placed = torrent.placed().filter(|_| !torrent.owns_files());
        if let Some(taken) = placed.and_then(|placed| self.taken(placed)) {
            return self.fail_torrent(torrent_id, taken.to_string(), now);
        }
        self.last_check += 1;
        let check = self.last_check;
        let torrent = self.torrents.get_mut(&torrent_id).expect("found above");
        let checking = Content::Checking(Checking {
            metainfo: Arc::clone(&metainfo),
            check,
        });
        // What connected peers have is forgotten with what we have.
        if let Content::Open(_) = std::mem::replace(&mut torrent.content, checking) {
            for peer in torrent.peers.clone() {
                self.close(peer, "verifying what is on disk");
            }
        }
        self.emit(Output::Check(StorageCheck {
            torrent_id,
            check,
            metainfo,
            download_dir,
            trust,
        }));
    }

    /// Storage is open and what is there is known.
    pub(super) fn checked(&mut self, torrent_id: TorrentId, check: u64, have: &[u8], now: Instant) {
        let rng = self.rng.fork();
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        let metainfo = match &torrent.content {
            Content::Checking(checking) if checking.check == check => {
                Arc::clone(&checking.metainfo)
            }
            // An answer to an earlier question.
            Content::Unknown(_)
            | Content::Unchecked(_)
            | Content::Checking(_)
            | Content::Open(_) => return,
        };
        let geometry = metainfo.geometry;
        let have = Bitfield::from_wire(have, geometry.piece_count())
            .expect("the driver gives one bit per piece");
        let picker = Picker::new(geometry, have, rng);
        torrent.content = Content::Open(Box::new(Open {
            metainfo,
            picker,
            suggester: None,
            stale: false,
        }));
        self.emit(Output::RememberPieces(torrent_id));
        if self.fails_for_length(torrent_id, now) {
            return;
        }
        let Some(torrent) = self.torrents.get(&torrent_id) else {
            return;
        };
        for peer in torrent.peers.clone() {
            self.introduce(peer, now);
        }
        self.dial_due(now);
        self.announce_due(now);
    }

    /// The files could not be checked, or are not this torrent's: they are left alone until the
    /// owner starts it or has it checked again.
    pub(super) fn check_failed(
        &mut self,
        torrent_id: TorrentId,
        check: u64,
        reason: String,
        now: Instant,
    ) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        match &torrent.content {
            Content::Checking(checking) if checking.check == check => {
                torrent.content = Content::Unchecked(Arc::clone(&checking.metainfo));
            }
            Content::Unknown(_)
            | Content::Unchecked(_)
            | Content::Checking(_)
            | Content::Open(_) => return,
        }
        self.fail_torrent(torrent_id, reason, now);
    }

    /// Open storage failed. One failure is enough: trying again is up to the owner, and begins with
    /// a check.
    pub(super) fn storage_failed(&mut self, torrent_id: TorrentId, reason: String, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        let is_running = torrent.is_running();
        let Some(open) = torrent.open_mut() else {
            // A check begins with files as they are now.
            return;
        };
        // One that is stopped has nothing to fail at, and is checked when it starts.
        if !std::mem::replace(&mut open.stale, true) && is_running {
            self.fail_torrent(torrent_id, reason, now);
        }
    }

    /// Fails a torrent of which a missing piece is longer than all buffers together may be: it
    /// could never be asked for.
    fn fails_for_length(&mut self, torrent_id: TorrentId, now: Instant) -> bool {
        let Some(open) = self.torrents.get(&torrent_id).and_then(Torrent::open) else {
            return false;
        };
        let geometry = open.metainfo.geometry;
        let missing = open.picker.have().iter_missing();
        let longest = missing.map(|piece| u64::from(geometry.len_of(piece))).max();
        let max = self.config.lease_bytes_max;
        let Some(longest) = longest.filter(|longest| *longest > max) else {
            return false;
        };
        let reason = format!("a piece has {longest} bytes, all buffers together at most {max}");
        self.fail_torrent(torrent_id, reason, now);
        true
    }

    /// A torrent cannot go on: it keeps what it has, and its owner can start it again.
    fn fail_torrent(&mut self, torrent_id: TorrentId, reason: String, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        torrent.failure = Some(reason.clone());
        torrent.trackers.stop(now);
        for peer in torrent.peers.clone() {
            self.close(peer, "torrent failed");
        }
        self.drop_buffers(torrent_id, now);
        self.emit(Output::Event(SessionEvent::TorrentFailed {
            torrent_id,
            reason,
        }));
        self.announce_due(now);
    }

    fn remember(&mut self, torrent_id: TorrentId) {
        let torrent = self.torrents.get_mut(&torrent_id);
        let torrent = torrent.expect("the caller found it");
        torrent.record.totals = torrent.totals();
        let record = torrent.record.clone();
        self.emit(Output::Remember(Box::new(record)));
    }

    /// Payload was counted: it is put on record before long.
    pub(super) fn totals_changed(&mut self, now: Instant) {
        self.totals_at.get_or_insert(now.after(TOTALS_WAIT));
    }

    /// Puts on record what torrents came to, if that is due; without delay at the end.
    pub(super) fn totals_due(&mut self, now: Instant) {
        let is_due = |at: Instant| now >= at || self.finishing.is_some();
        if self.totals_at.is_some_and(is_due) {
            self.totals_at = None;
            let torrents: Vec<TorrentId> = self.torrents.keys().copied().collect();
            torrents.into_iter().for_each(|id| self.remember_totals(id));
        }
    }

    /// Puts on record what a torrent came to, if that is new.
    pub(super) fn remember_totals(&mut self, torrent_id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        let totals = torrent.totals();
        if std::mem::replace(&mut torrent.record.totals, totals) != totals {
            self.emit(Output::RememberTotals { torrent_id, totals });
        }
    }

    /// Which torrent owns a file that this one would have, if one does.
    fn taken(&self, own: Placed<'_>) -> Option<AddError> {
        let near = self.places.near(own).into_iter();
        let mut others = near.filter(|other| *other != own.metainfo.info_hash);
        others.find_map(|other| {
            let other = self.torrents.get(self.by_info_hash.get(&other)?)?;
            let placed = other.placed().filter(|_| other.owns_files())?;
            Some(AddError::SameFiles {
                path: own.clash(placed)?,
                other: other.info_hash.into(),
                name: other.name.clone(),
            })
        })
    }
}
