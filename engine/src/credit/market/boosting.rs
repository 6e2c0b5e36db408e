//! Boosts: what the owner wants to pay, and the plan that follows from what the session sees.

use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Bytes, Duration, Instant, Rate};

use crate::credit::boost::{
    BoostOrder, BoostQuote, Ending, OwnLock, PayeeCandidate, Round, TorrentRow,
};
use crate::credit::market::Market;
use crate::credit::policy::CreditError;
use crate::credit::receipts::paying::{Paying, PayingLock};
use crate::credit::wallet::Wallet;
use crate::units::{PeerIndex, TorrentId};

/// What a plan needs to know of torrents and connections.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Every torrent.
    pub torrents: Vec<TorrentRow>,
    /// Every connection.
    pub payees: Vec<PayeeFacts>,
    /// Time between two rounds of a choker.
    pub choke_round: Duration,
    /// Most bytes per second that are taken in; `None` for no limit.
    pub download_max: Option<Bytes>,
}

/// A connection as a source of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayeeFacts {
    /// Which.
    pub peer: PeerIndex,
    /// For which torrent.
    pub torrent_id: TorrentId,
    /// It has every piece.
    pub is_seed: bool,
    /// It has a piece that is missing here.
    pub has_missing: bool,
    /// Bytes per second it sends us.
    pub rate_to_us: Bytes,
    /// It chokes us.
    pub choking_us: bool,
    /// Bytes that came from it in total.
    pub received: Bytes,
    /// It is asked for something.
    pub asked: bool,
}

impl Market {
    /// Places a boost of a torrent; its number. A plan is due afterwards.
    pub fn boost(
        &mut self,
        order: &BoostOrder,
        torrent: &TorrentRow,
        now: Instant,
    ) -> Result<u64, CreditError> {
        let time = self.settlement_time(now);
        let purse = self.wallet.as_ref().map(Wallet::purse);
        let id = self
            .boosts
            .create(order, torrent, purse.as_ref(), &self.policy, time)?;
        self.route(now);
        Ok(id)
    }

    /// Ends a boost; a plan is due afterwards.
    pub fn cancel_boost(&mut self, id: u64, now: Instant) -> Result<(), CreditError> {
        self.boosts.cancel(id)?;
        self.route(now);
        Ok(())
    }

    /// A torrent was removed: what waits to be verified never will be, its boosts end, and a plan
    /// is due.
    pub fn torrent_gone(&mut self, torrent_id: TorrentId, now: Instant) {
        self.exchange.forget_torrent(torrent_id, now);
        self.boosts.torrent_removed(torrent_id);
        self.route(now);
    }

    /// Whether [`Self::plan`] has anything to do: collecting the facts costs a look at everything.
    pub fn is_planning(&self) -> bool {
        let mut locks = self.exchange.paying_locks();
        let open = locks.any(|lock| lock.state != Paying::Closed);
        self.wallet.is_some() && (!self.boosts.is_idle() || open)
    }

    /// Plans bids and locks, and carries the plan out. Once a second, and after what matters.
    pub fn plan(&mut self, facts: &Facts, now: Instant) {
        let time = self.settlement_time(now);
        let locks: Vec<OwnLock> = self.exchange.paying_locks().map(own_lock).collect();
        let candidates = self.candidates(&facts.payees);
        let Some(wallet) = &mut self.wallet else {
            return;
        };
        let purse = wallet.purse();
        self.boosts.plan(&Round {
            now,
            choke_round: facts.choke_round,
            time,
            policy: &self.policy,
            torrents: &facts.torrents,
            candidates: &candidates,
            locks: &locks,
            purse: &purse,
            download_max: facts.download_max,
        });
        let awaits = |lock: &OwnLock| lock.ending == Ending::Asked && !lock.status.closed;
        wallet.await_return(locks.iter().any(awaits));
        self.route(now);
        self.tell_wallet(now, |_| {});
        self.route(now);
    }

    /// What a boost of this torrent would meet at this bid.
    pub fn quote(
        &self,
        torrent: &TorrentRow,
        bid: Rate,
        facts: &Facts,
        now: Instant,
    ) -> BoostQuote {
        let purse = self.wallet.as_ref().map(Wallet::purse);
        let round = Round {
            now,
            choke_round: facts.choke_round,
            time: self.settlement_time(now),
            policy: &self.policy,
            torrents: &facts.torrents,
            candidates: &self.candidates(&facts.payees),
            locks: &[],
            purse: &purse.unwrap_or_default(),
            download_max: facts.download_max,
        };
        self.boosts.quote(torrent, bid, &round)
    }

    /// Those connections on which somebody takes payment.
    fn candidates(&self, payees: &[PayeeFacts]) -> Vec<PayeeCandidate> {
        let candidate = |facts: &PayeeFacts| {
            let (piece_len, paid) = self.exchange.window_grounds(facts.peer);
            Some(PayeeCandidate {
                peer: facts.peer,
                node_id: self.exchange.key_of(facts.peer)?,
                torrent_id: facts.torrent_id,
                rate_min: self.exchange.rate_min_of(facts.peer)?,
                piece_len,
                paid,
                is_seed: facts.is_seed,
                has_missing: facts.has_missing,
                rate_to_us: facts.rate_to_us,
                choking_us: facts.choking_us,
                received: facts.received,
                asked: facts.asked,
                seated: self.has_seat_at(facts.peer),
            })
        };
        payees.iter().filter_map(candidate).collect()
    }
}

fn own_lock(lock: &PayingLock) -> OwnLock {
    let ending = match lock.state {
        Paying::Open => Ending::No,
        Paying::Ending => Ending::Soon,
        Paying::CloseAsked | Paying::Refused | Paying::Closed => Ending::Asked,
    };
    OwnLock {
        status: LockStatus {
            lock: lock.lock,
            claimed: lock.claimed,
            closed: lock.state == Paying::Closed,
        },
        signed: lock.signed,
        ending,
    }
}
