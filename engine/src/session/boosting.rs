//! Boosts, as they touch connections: who could be paid, and what the plan says to do about it.

use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Bytes, Instant, Rate};

use crate::credit::boost::{
    Action, BoostOutput, Ending, OwnLock, PayeeCandidate, Round, TorrentRow,
};
use crate::credit::receipts::paying::{Paying, PayingLock};
use crate::credit::wallet::Wallet;
use crate::interface::command::{BoostOrder, CommandError, CommandReply};
use crate::interface::output::Output;
use crate::interface::view::BoostQuote;
use crate::session::Session;
use crate::session::peer::Peer;
use crate::units::InfoHash;

impl Session {
    /// Plans bids and locks, and carries the plan out.
    pub(super) fn plan_boosts(&mut self, now: Instant) {
        let time = self.settlement_time(now);
        let Some(wallet) = &self.market.wallet else {
            return;
        };
        let own_locks: Vec<OwnLock> = self.market.exchange.paying_locks().map(own_lock).collect();
        let all_closed = own_locks.iter().all(|lock| lock.status.closed);
        if self.market.boosts.is_idle() && all_closed {
            return;
        }
        let purse = wallet.purse();
        let torrents: Vec<TorrentRow> = self
            .torrents
            .keys()
            .map(|hash| self.torrent_row(hash))
            .collect();
        let candidates: Vec<PayeeCandidate> = self
            .peers
            .values()
            .filter_map(|peer| self.payee_candidate(peer, now))
            .collect();
        let awaits = own_locks
            .iter()
            .any(|lock| lock.ending == Ending::Asked && !lock.status.closed);
        let round = Round {
            now,
            time,
            policy: &self.policy,
            torrents: &torrents,
            candidates: &candidates,
            locks: &own_locks,
            purse: &purse,
        };
        self.market.boosts.plan(&round);
        if let Some(wallet) = &mut self.market.wallet {
            wallet.await_return(awaits);
        }
        self.drain_boosts(now);
    }

    /// Carries out what boosts ask for.
    pub(super) fn drain_boosts(&mut self, now: Instant) {
        while let Some(output) = self.market.boosts.poll_output() {
            match output {
                BoostOutput::Tally(rows) => self.outputs.push_back(Output::Tally(rows)),
                BoostOutput::Event(event) => self.outputs.push_back(Output::Event(event)),
                BoostOutput::Act(action) => self.act(action, now),
            }
        }
        self.with_wallet(now, |_| {});
        self.market_drain(now);
    }

    /// What cannot be done is left undone: the next plan sees that.
    fn act(&mut self, action: Action, now: Instant) {
        let exchange = &mut self.market.exchange;
        match action {
            Action::OpenLock { payee, amount } => {
                if let Some(wallet) = &mut self.market.wallet {
                    let _ = wallet.open_lock(payee, amount, now);
                }
            }
            Action::TopUp { lock_id, amount } => {
                if let Some(wallet) = &mut self.market.wallet {
                    let _ = wallet.top_up(lock_id, amount, now);
                }
            }
            Action::AskClose { payee, lock_id } => exchange.end_lock(payee, lock_id, now),
            Action::Keep { payee, lock_id } => {
                exchange.keep_lock(payee, lock_id);
            }
            Action::Bid { peer, rate } => {
                exchange.place_bid(peer, rate, now);
                self.market_drain(now);
                self.mark_paid(peer, !rate.is_zero());
            }
        }
        self.market_drain(now);
    }

    /// The picker keeps a piece at one paid peer at a time (S1).
    fn mark_paid(&mut self, peer: crate::units::PeerIndex, paid: bool) {
        if let Some((_, torrent)) = self.link_and_torrent(peer)
            && let Some(open) = torrent.open_mut()
        {
            open.picker.set_paid(peer, paid);
        }
    }

    fn torrent_row(&self, info_hash: &InfoHash) -> TorrentRow {
        let torrent = &self.torrents[info_hash];
        let left = torrent.open().map(|_| Bytes::new(torrent.left()));
        let active = torrent.is_active() || torrent.open().is_none() && torrent.failure.is_none();
        TorrentRow {
            info_hash: *info_hash,
            left,
            active,
            target_rate: None,
        }
    }

    fn payee_candidate(&self, peer: &Peer, now: Instant) -> Option<PayeeCandidate> {
        let link = peer.live()?;
        let info_hash = peer.info_hash?;
        let rate_min = self.market.exchange.rate_min_of(peer.index)?;
        let node_id = self.market.exchange.key_of(peer.index)?;
        Some(PayeeCandidate {
            peer: peer.index,
            node_id,
            info_hash,
            rate_min,
            window: self.market.exchange.window_at(peer.index),
            is_seed: link.is_seed,
            has_missing: link.interesting,
            rate_to_us: Bytes::new(link.download.rate.per_second(now)),
            choking_us: link.choking_us,
        })
    }

    pub(super) fn boost(
        &mut self,
        order: &BoostOrder,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        if !self.torrents.contains_key(&order.info_hash) {
            return Err(CommandError::TorrentUnknown(order.info_hash));
        }
        let time = self.settlement_time(now);
        let purse = self.market.wallet.as_ref().map(Wallet::purse);
        let id = self
            .market
            .boosts
            .create(order, purse.as_ref(), &self.policy, time)?;
        self.plan_boosts(now);
        Ok(CommandReply::Boost(id))
    }

    pub(super) fn cancel_boost(
        &mut self,
        id: u64,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        self.market.boosts.cancel(id)?;
        self.plan_boosts(now);
        Ok(CommandReply::Done)
    }

    pub(super) fn quote(&self, info_hash: InfoHash, bid: Rate) -> Option<BoostQuote> {
        let torrent = self.torrents.get(&info_hash)?;
        let candidates: Vec<PayeeCandidate> = self
            .peers
            .values()
            .filter_map(|peer| self.payee_candidate(peer, self.now))
            .collect();
        let purse = self
            .market
            .wallet
            .as_ref()
            .map(Wallet::purse)
            .unwrap_or_default();
        let left = Bytes::new(torrent.left());
        Some(
            self.market
                .boosts
                .quote(info_hash, bid, left, &candidates, &purse),
        )
    }
}

fn lock_status(lock: &PayingLock) -> LockStatus {
    let closed = lock.state == Paying::Closed;
    LockStatus {
        lock: lock.lock,
        claimed: lock.claimed,
        closed,
    }
}

fn own_lock(lock: &PayingLock) -> OwnLock {
    let ending = match lock.state {
        Paying::Open => Ending::No,
        Paying::Ending => Ending::Soon,
        Paying::CloseAsked | Paying::Refused | Paying::Closed => Ending::Asked,
    };
    OwnLock {
        status: lock_status(lock),
        signed: lock.signed,
        ending,
    }
}
