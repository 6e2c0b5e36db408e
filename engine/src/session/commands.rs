//! The owner's wishes, carried out.

use seedbank_ledger::Instant;

use crate::discovery::addresses::PeerSource;
use crate::interface::command::{Command, CommandError, CommandReply};
use crate::interface::config::Policy;
use crate::session::Session;
use crate::session::torrent::Torrent;
use crate::units::TorrentId;

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
            Command::AddTorrent(add) => Ok(self.add_torrent(*add, now)?),
            Command::RestoreTorrent(add) => Ok(self.restore_torrent(*add, now)?),
            Command::RemoveTorrent {
                torrent_id,
                delete_data,
            } => self.remove_torrent(torrent_id, delete_data, now),
            Command::StartTorrent(torrent_id) => self.start_torrent(torrent_id, now),
            Command::StopTorrent(torrent_id) => self.stop_torrent(torrent_id, now),
            Command::Recheck(torrent_id) => self.recheck(torrent_id, now),
            Command::AddPeers { torrent_id, peers } => {
                let torrent = self.torrent_mut(torrent_id)?;
                peers
                    .into_iter()
                    .for_each(|addr| torrent.addresses.add(addr, PeerSource::Owner));
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
            Command::BookReceipts => {
                self.market.book_receipts(now);
                Ok(CommandReply::Done)
            }
            Command::Shutdown => {
                self.shut_down(now);
                Ok(CommandReply::Done)
            }
        }
    }

    pub(super) fn torrent_mut(
        &mut self,
        torrent_id: TorrentId,
    ) -> Result<&mut Torrent, CommandError> {
        self.torrents
            .get_mut(&torrent_id)
            .ok_or(CommandError::TorrentUnknown(torrent_id))
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
        let torrents: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for torrent_id in torrents {
            // Not by the owner's wish: it is not remembered.
            self.halt_torrent(torrent_id, now);
        }
        let strangers: Vec<_> = self.peers.keys().copied().collect();
        for peer in strangers {
            self.close(peer, "shutting down");
        }
        self.totals_due(now);
    }
}
