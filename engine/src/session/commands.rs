//! The owner's wishes, carried out.

use seedbank_ledger::Instant;

use crate::discovery::addresses::Addresses;
use crate::discovery::tracker::Trackers;
use crate::interface::command::{AddTorrent, Command, CommandError, CommandReply, TorrentSource};
use crate::interface::config::Policy;
use crate::session::Session;
use crate::session::metadata::MetadataFetch;
use crate::session::torrent::{Content, Counters, Torrent};
use crate::units::InfoHash;

impl Session {
    pub(super) fn carry_out(
        &mut self,
        command: Command,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        if self.finishing.is_some() && !matches!(command, Command::Shutdown) {
            return Err(CommandError::ShuttingDown);
        }
        match command {
            Command::AddTorrent(add) => Ok(self.add_torrent(*add, now)),
            Command::RemoveTorrent(info_hash) => self.remove_torrent(info_hash, now),
            Command::StartTorrent(info_hash) => self.start_torrent(info_hash, now),
            Command::StopTorrent(info_hash) => self.stop_torrent(info_hash, now),
            Command::Recheck(info_hash) => self.recheck(info_hash, now),
            Command::AddPeers { info_hash, peers } => {
                let torrent = self.torrent_mut(info_hash)?;
                peers
                    .into_iter()
                    .for_each(|addr| torrent.addresses.add(addr, true));
                self.dial_due(now);
                Ok(CommandReply::Done)
            }
            Command::SetPolicy(policy) => self.set_policy(policy, now),
            Command::Boost(order) => self.boost(&order, now),
            Command::CancelBoost(id) => self.cancel_boost(id, now),
            Command::Transfer {
                request_id,
                to,
                amount,
            } => {
                let nonce = self.market.transfer(&request_id, to, amount, now)?;
                Ok(CommandReply::Transfer { nonce })
            }
            Command::Shutdown => {
                self.shut_down(now);
                Ok(CommandReply::Done)
            }
        }
    }

    pub(super) fn torrent_mut(
        &mut self,
        info_hash: InfoHash,
    ) -> Result<&mut Torrent, CommandError> {
        self.torrents
            .get_mut(&info_hash)
            .ok_or(CommandError::TorrentUnknown(info_hash))
    }

    fn add_torrent(&mut self, add: AddTorrent, now: Instant) -> CommandReply {
        let AddTorrent {
            source,
            peers,
            start,
            upload_limit,
            download_limit,
        } = add;
        let (info_hash, name, tiers, content, magnet_peers) = match source {
            TorrentSource::Metainfo(metainfo) => {
                let (name, tiers) = (metainfo.name.clone(), metainfo.trackers.clone());
                let info_hash = metainfo.info_hash;
                (
                    info_hash,
                    name,
                    tiers,
                    Content::Checking(metainfo),
                    Vec::new(),
                )
            }
            TorrentSource::Magnet(magnet) => {
                let info_hash = magnet.info_hash;
                let name = magnet.name.unwrap_or_else(|| info_hash.to_string());
                let tiers = magnet.trackers.into_iter().map(|url| vec![url]).collect();
                let content = Content::Unknown(MetadataFetch::new(info_hash));
                (info_hash, name, tiers, content, magnet.peers)
            }
        };
        if let Some(torrent) = self.torrents.get_mut(&info_hash) {
            peers
                .into_iter()
                .for_each(|addr| torrent.addresses.add(addr, true));
            return CommandReply::Torrent {
                info_hash,
                existed: true,
            };
        }
        let mut addresses = Addresses::default();
        peers.into_iter().for_each(|addr| addresses.add(addr, true));
        magnet_peers
            .into_iter()
            .for_each(|addr| addresses.add(addr, true));
        let torrent = Torrent {
            info_hash,
            name,
            content,
            started: false,
            failure: None,
            peers: Default::default(),
            addresses,
            trackers: Trackers::new(tiers, self.rng.next_u64()),
            counters: Counters::new(),
            completed_at: None,
        };
        self.torrents.insert(info_hash, torrent);
        self.uploads
            .limiter_mut()
            .set_torrent_rate(info_hash, upload_limit, now);
        self.downloads
            .set_torrent_rate(info_hash, download_limit, now);
        if start {
            self.start_torrent(info_hash, now)
                .expect("it was just added");
        }
        CommandReply::Torrent {
            info_hash,
            existed: false,
        }
    }

    fn remove_torrent(
        &mut self,
        info_hash: InfoHash,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        self.stop_torrent(info_hash, now)?;
        let torrent = self
            .torrents
            .remove(&info_hash)
            .expect("it was just stopped");
        for peer in torrent.peers {
            self.close(peer, "torrent removed");
        }
        self.uploads
            .limiter_mut()
            .set_torrent_rate(info_hash, None, now);
        self.downloads.set_torrent_rate(info_hash, None, now);
        self.market.torrent_gone(info_hash, now);
        self.plan_boosts(now);
        Ok(CommandReply::Done)
    }

    fn start_torrent(
        &mut self,
        info_hash: InfoHash,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        let torrent = self.torrent_mut(info_hash)?;
        let was_running = torrent.started && torrent.failure.is_none();
        torrent.started = true;
        torrent.failure = None;
        if !was_running && !self.fails_for_length(info_hash, now) {
            let torrent = self.torrent_mut(info_hash)?;
            torrent.addresses.reset();
            torrent.trackers.start(now);
            self.announce_due(now);
            self.dial_due(now);
        }
        Ok(CommandReply::Done)
    }

    fn stop_torrent(
        &mut self,
        info_hash: InfoHash,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        let torrent = self.torrent_mut(info_hash)?;
        torrent.started = false;
        torrent.trackers.stop(now);
        for peer in torrent.peers.clone() {
            self.close(peer, "torrent stopped");
        }
        self.drop_unfinished(info_hash, now);
        self.announce_due(now);
        Ok(CommandReply::Done)
    }

    fn recheck(&mut self, info_hash: InfoHash, now: Instant) -> Result<CommandReply, CommandError> {
        self.drop_buffers(info_hash, now);
        let torrent = self.torrent_mut(info_hash)?;
        if let Some(metainfo) = torrent.metainfo().cloned() {
            torrent.content = Content::Checking(Box::new(metainfo));
            for peer in torrent.peers.clone() {
                self.close(peer, "verifying what is on disk");
            }
        }
        Ok(CommandReply::Done)
    }

    fn set_policy(&mut self, policy: Policy, now: Instant) -> Result<CommandReply, CommandError> {
        let bad = |field, problem| Err(CommandError::BadValue { field, problem });
        if policy.slots == 0 {
            return bad("slots", "must be at least 1");
        }
        if policy.open_share_percent > 100 {
            return bad("open share", "is more than 100 %");
        }
        self.policy = policy;
        self.apply_policy(now);
        Ok(CommandReply::Done)
    }

    /// Final receipts, `stopped` announces, and every connection closed.
    fn shut_down(&mut self, now: Instant) {
        if self.finishing.is_some() {
            return;
        }
        self.finishing = Some(now.after(super::SHUTDOWN_MAX));
        self.market.finish(now);
        let torrents: Vec<InfoHash> = self.torrents.keys().copied().collect();
        for info_hash in torrents {
            self.stop_torrent(info_hash, now).expect("it is there");
        }
        let strangers: Vec<_> = self.peers.keys().copied().collect();
        for peer in strangers {
            self.close(peer, "shutting down");
        }
    }
}
