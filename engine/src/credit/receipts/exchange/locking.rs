//! Locks of both directions: what the settlement node tells of them, what a peer shows, and when
//! one may be served on (P5).

use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::lock::{Lock, LockId, SignedLock};
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Instant, MicroCredits, NodeId, Rate};

use crate::credit::event::CreditEvent;
use crate::credit::output::Errand;
use crate::credit::receipts::connection::Connection;
use crate::credit::receipts::earning::{Earning, EarningLock};
use crate::credit::receipts::exchange::Exchange;
use crate::credit::receipts::exchange::syncing::ReceiptSource;
use crate::credit::receipts::limits::{LOCK_GRACE_MIN_SECS, LOCK_LEFT_MIN_SECS, LOCKS_OPEN_MAX};
use crate::credit::receipts::paying::{Paying, PayingLock};
use crate::credit::receipts::violation::Violation;
use crate::units::PeerIndex;
use crate::wire::receipt::{ErrorCode, LockFault, ReceiptMessage};

/// How a certificate compares with the one known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    /// Nothing is known of its number, nor of the order that opened it.
    First,
    Newer,
    NothingNew,
    /// It says of a number what the other does not: another order opened it, or for somebody else.
    Contradicts,
}

impl Exchange {
    /// The settlement node's word on a lock of ours or for us: opened, topped up, claimed or
    /// closed. Its signature is checked; a lock of other parties or another network is left alone.
    pub fn lock_status(&mut self, status: &LockStatus, at: Instant) {
        let body = status.lock.body;
        let Some(network) = self.setup.network.filter(|own| own.id == body.network_id) else {
            return;
        };
        let verified = status.lock.verify_by(self.scheme(), &network.settlement);
        if verified.is_err() {
            return;
        }
        let me = self.id();
        let key = match (body.payer == me, body.payee == me) {
            (true, false) => body.payee,
            (false, true) => body.payer,
            (true, true) | (false, false) => return,
        };
        self.pair_entry(key, at);
        if body.payer == me {
            self.own_lock_status(key, status, at);
        } else {
            self.earning_lock_status(key, status, at);
        }
        self.summarise_locks(key, None);
        self.turn(key, at);
        // Anybody may open a lock for us and let it end.
        self.forget_what_is_least(key);
    }

    fn own_lock_status(&mut self, key: NodeId, status: &LockStatus, at: Instant) {
        let body = status.lock.body;
        let payer = &self.pair_mut(key).payer;
        let known = payer.locks.get(&body.lock_id).map(|known| known.lock.body);
        let novelty = self.novelty(&body, known.as_ref());
        if novelty == Novelty::Contradicts {
            return self.two_locks(&body);
        }
        let first = novelty == Novelty::First;
        let may_learn = self.pair_mut(key).payer.may_learn(body.lock_id);
        if first && (status.closed || !may_learn) {
            return;
        }
        if first {
            self.names.learn(&body);
        }
        let payer = &mut self.pair_mut(key).payer;
        let entry = payer.locks.entry(body.lock_id);
        let lock = entry.or_insert_with(|| PayingLock::new(status.lock));
        let newer = novelty == Novelty::Newer;
        if newer {
            lock.renew(status.lock);
        }
        if status.closed {
            lock.state = Paying::Closed;
        }
        let open = lock.is_open();
        payer.claimed(body.lock_id, status.claimed);
        let row = TallyRow::Lock(payer.locks[&body.lock_id].row());
        let rows = vec![row, TallyRow::Pair(self.pair_mut(key).row())];
        self.tally(rows);
        if open && (newer || first) {
            for peer in self.live(key, Connection::is_synced_by_us) {
                if self.connection_mut(peer).same_network {
                    self.send(peer, ReceiptMessage::Lock(Box::new(status.lock)));
                }
            }
        }
        self.sign(key, at);
    }

    fn earning_lock_status(&mut self, key: NodeId, status: &LockStatus, at: Instant) {
        let now = self.clock.now(at);
        let body = status.lock.body;
        let serveable = self.fault_of(key, &body, at).is_none();
        let known = self.pair_mut(key).payee.locks.get(&body.lock_id);
        let known = known.map(|known| known.lock.body);
        let novelty = self.novelty(&body, known.as_ref());
        let pair = self.pair_mut(key);
        match novelty {
            Novelty::First if status.closed || !pair.payee.may_learn(body.lock_id) => return,
            Novelty::First => {
                let lock = EarningLock::new(status.lock, serveable, now);
                pair.payee.locks.insert(body.lock_id, lock);
            }
            Novelty::Newer | Novelty::NothingNew => {}
            Novelty::Contradicts => {
                self.serve_no_rival(&body);
                return self.two_locks(&body);
            }
        }
        if novelty == Novelty::First {
            self.names.learn(&body);
        }
        let payee = &mut self.pair_mut(key).payee;
        let Some(lock) = payee.locks.get_mut(&body.lock_id) else {
            return;
        };
        lock.told_claimed(status.claimed);
        match (lock.state, status.closed) {
            (_, true) => lock.state = Earning::Closed,
            (Earning::Provisional { .. }, false) => lock.state = Earning::Confirmed,
            (Earning::Confirmed | Earning::Closing { .. } | Earning::Closed, false) => {}
        }
        // What a lock came to that is closed by now is not what a top-up makes of it.
        match novelty {
            Novelty::Newer => payee.top_up(status.lock, serveable, now),
            Novelty::First | Novelty::NothingNew | Novelty::Contradicts => {
                payee.count(body.lock_id, now);
            }
        }
        let pair = self.pair_mut(key);
        let lock = &pair.payee.locks[&body.lock_id];
        let rows = vec![TallyRow::Lock(lock.row()), TallyRow::Pair(pair.row())];
        self.tally(rows);
        // Of a lock that is new here the claims may be told with it.
        if novelty != Novelty::First {
            self.tell_behind(key, body.lock_id);
        }
        self.relieve(key);
    }

    /// A payee shows a lock of ours. A restored node learns of it here, before the settlement node
    /// tells.
    pub(super) fn learn_own_lock(
        &mut self,
        peer: PeerIndex,
        lock: &SignedLock,
        at: Instant,
    ) -> Result<Novelty, Violation> {
        let key = self.connection_mut(peer).key;
        self.check_parties(&lock.body, self.id(), key)?;
        let stands = self.clock.now(at).unix <= lock.body.returns_at();
        let payer = &self.pair_mut(key).payer;
        let open = payer.locks.values().filter(|lock| lock.is_open()).count();
        let may_learn = stands && payer.may_learn(lock.body.lock_id) && open < LOCKS_OPEN_MAX;
        let known = payer.locks.get(&lock.body.lock_id);
        let known = known.map(|known| known.lock.body);
        match self.novelty_shown(peer, lock, (known, may_learn), at)? {
            Novelty::First => self.names.learn(&lock.body),
            Novelty::Newer => {}
            shown @ (Novelty::NothingNew | Novelty::Contradicts) => return Ok(shown),
        }
        let payer = &mut self.pair_mut(key).payer;
        let entry = payer.locks.entry(lock.body.lock_id);
        let known = entry.or_insert_with(|| PayingLock::new(*lock));
        known.renew(*lock);
        let row = known.row();
        self.tally(vec![TallyRow::Lock(row)]);
        self.outputs
            .push_back(Errand::AskLock(lock.body.lock_id).into());
        Ok(Novelty::Newer)
    }

    /// LOCK: a lock for us, or a newer certificate of one.
    pub(super) fn lock_shown(
        &mut self,
        peer: PeerIndex,
        lock: &SignedLock,
        at: Instant,
    ) -> Result<(), Violation> {
        self.learn_lock(peer, lock, at)?;
        let key = self.connection_mut(peer).key;
        self.turn(key, at);
        Ok(())
    }

    pub(super) fn learn_lock(
        &mut self,
        peer: PeerIndex,
        lock: &SignedLock,
        at: Instant,
    ) -> Result<Novelty, Violation> {
        let now = self.clock.now(at);
        let lock_id = lock.body.lock_id;
        let key = self.connection_mut(peer).key;
        self.check_parties(&lock.body, key, self.id())?;
        let payee = &self.pair_mut(key).payee;
        let open = payee.locks.values().filter(|lock| lock.is_open()).count();
        let stands = now.unix <= lock.body.returns_at();
        let may_learn = stands && payee.may_learn(lock_id) && open < LOCKS_OPEN_MAX;
        let known = payee.locks.get(&lock_id).map(|known| known.lock.body);
        let novelty = match self.novelty_shown(peer, lock, (known, may_learn), at)? {
            novelty @ (Novelty::First | Novelty::Newer) => novelty,
            shown @ (Novelty::NothingNew | Novelty::Contradicts) => return Ok(shown),
        };
        let fault = self.fault_of(key, &lock.body, at);
        let serveable = fault.is_none();
        let payee = &mut self.pair_mut(key).payee;
        if novelty == Novelty::Newer {
            payee.top_up(*lock, serveable, now);
        } else {
            let fresh = EarningLock::new(*lock, serveable, now);
            payee.locks.insert(lock_id, fresh);
            self.names.learn(&lock.body);
            self.outputs.push_back(Errand::AskLock(lock_id).into());
        }
        let pair = self.pair_mut(key);
        let rows = vec![
            TallyRow::Lock(pair.payee.locks[&lock_id].row()),
            TallyRow::Pair(pair.row()),
        ];
        self.tally(rows);
        self.relieve(key);
        let is_served = self.pair_mut(key).payee.locks[&lock_id].serveable;
        if let Some(fault) = fault.filter(|_| !is_served)
            && self.connection_mut(peer).answers.take(at)
        {
            self.refuse_lock(peer, &lock.body, fault);
        }
        Ok(novelty)
    }

    /// CLOSE, or a SYNC that says so: the payer signs nothing more on this lock.
    pub(super) fn close_asked(
        &mut self,
        peer: PeerIndex,
        lock_id: LockId,
        at: Instant,
    ) -> Result<(), Violation> {
        let key = self.connection_mut(peer).key;
        self.settle(key, ReceiptSource::Lock(lock_id), at);
        let pair = self.pair_mut(key);
        let Some(lock) = pair.payee.locks.get_mut(&lock_id) else {
            return Ok(());
        };
        if !lock.close_asked {
            lock.close_asked = true;
            let row = lock.row();
            // Nothing will be signed for what is in F, unless another lock is there.
            pair.payee.late(at);
            self.tally(vec![TallyRow::Lock(row)]);
        }
        self.turn(key, at);
        Ok(())
    }

    /// A payee says that a lock of ours is closed, or contradicts another: nothing more is signed
    /// on it. One that holds too little, or for too short a time, may be topped up.
    pub(super) fn lock_refused(
        &mut self,
        peer: PeerIndex,
        channel_id: ChannelId,
        fault: Option<LockFault>,
    ) {
        let key = self.connection_mut(peer).key;
        let mut locks = self.pair_mut(key).payer.locks.values_mut();
        let Some(lock) = locks.find(|lock| lock.channel_id == channel_id && lock.is_open()) else {
            return;
        };
        let lock_id = lock.lock.body.lock_id;
        if let Some(fault @ (LockFault::Amount | LockFault::Time)) = fault {
            // However often it says so, and in whatever order.
            if lock.blame(fault) {
                self.put(CreditEvent::LockRefused {
                    payee: key,
                    lock_id,
                    fault,
                });
            }
        } else if lock.refuse() {
            self.outputs.push_back(Errand::AskLock(lock_id).into());
        }
    }

    /// ERR unknown channel: LOCK and the newest receipt again.
    pub(super) fn show_lock(&mut self, peer: PeerIndex, channel_id: ChannelId, at: Instant) {
        let connection = self.connection_mut(peer);
        if !connection.answers.take(at) {
            return;
        }
        let key = connection.key;
        let mut locks = self.pair_mut(key).payer.locks.values();
        let found = locks.find(|lock| lock.channel_id == channel_id && lock.is_open());
        let Some((lock, receipt)) = found.map(|lock| (lock.lock, lock.receipt)) else {
            return;
        };
        self.send(peer, ReceiptMessage::Lock(Box::new(lock)));
        if let Some(receipt) = receipt {
            self.send(peer, ReceiptMessage::Receipt(receipt));
        }
    }

    /// What a peer shows of a lock says, after its signature was checked; a lock that may not be
    /// learned is nothing new. A contradiction is told to the peer and to the owner, within the
    /// budget for answers.
    fn novelty_shown(
        &mut self,
        peer: PeerIndex,
        lock: &SignedLock,
        (known, may_learn): (Option<Lock>, bool),
        at: Instant,
    ) -> Result<Novelty, Violation> {
        let novelty = self.novelty(&lock.body, known.as_ref());
        match novelty {
            Novelty::NothingNew => return Ok(novelty),
            Novelty::First if !may_learn => return Ok(Novelty::NothingNew),
            Novelty::Contradicts if !self.connection_mut(peer).answers.take(at) => {
                return Ok(novelty);
            }
            Novelty::First | Novelty::Newer | Novelty::Contradicts => {}
        }
        self.check_settlement_key(lock)?;
        if novelty == Novelty::Contradicts {
            self.two_locks(&lock.body);
            // A channel that another lock has is not refused with it.
            if !self.names.know(lock.body.opening_order) {
                self.refuse_lock(peer, &lock.body, LockFault::Contradicts);
            }
        }
        Ok(novelty)
    }

    /// How a certificate compares with the one known of its number in this pair and role, and with
    /// the names of all others.
    fn novelty(&self, offered: &Lock, known: Option<&Lock>) -> Novelty {
        match known {
            Some(known) => compare(offered, known),
            None if self.names.agree(offered) => Novelty::First,
            None => Novelty::Contradicts,
        }
    }

    /// The settlement node says what contradicts locks that are known, so it will not pay
    /// from them.
    fn serve_no_rival(&mut self, other: &Lock) {
        let me = self.id();
        let rivals: Vec<_> = self.names.rivals(other).collect();
        for (lock_id, [payer, payee]) in rivals {
            let pair = self.pairs.get_mut(&payer).filter(|_| payee == me);
            let lock = pair.and_then(|pair| pair.payee.locks.get_mut(&lock_id));
            if let Some(lock) = lock {
                lock.serveable = false;
            }
        }
    }

    /// The settlement node certified two locks under one number: it lost entries, or lies. The one
    /// known stands.
    fn two_locks(&mut self, other: &Lock) {
        let Some(network) = self.setup.network else {
            return;
        };
        self.put(CreditEvent::Conflict {
            signer: network.settlement,
            what: format!(
                "lock {} is certified twice, with another opening order, pair, grace or number",
                other.lock_id
            ),
        });
    }

    fn check_parties(&self, lock: &Lock, payer: NodeId, payee: NodeId) -> Result<(), Violation> {
        let network = self.setup.network.map(|network| network.id);
        if network != Some(lock.network_id) || lock.payer != payer || lock.payee != payee {
            return Err(Violation::ForeignLock);
        }
        Ok(())
    }

    fn check_settlement_key(&self, lock: &SignedLock) -> Result<(), Violation> {
        let network = self.setup.network.ok_or(Violation::ForeignLock)?;
        let verified = lock.verify_by(self.scheme(), &network.settlement);
        verified.map_err(|_| Violation::ForgedLock)
    }

    fn refuse_lock(&mut self, peer: PeerIndex, lock: &Lock, fault: LockFault) {
        let code = ErrorCode::LockRefused(fault);
        let channel_id = Some(lock.channel().id());
        self.send(peer, ReceiptMessage::Error { code, channel_id });
    }

    /// P5: long enough, grace enough, and worth a window at the bid in force, or at our ask. What
    /// is wrong with it, if anything.
    fn fault_of(&self, key: NodeId, lock: &Lock, at: Instant) -> Option<LockFault> {
        let now = self.clock.now(at);
        let left = lock.expires_at.secs_since(now.unix);
        let pair = self.pairs.get(&key)?;
        let bids = self.live(key, Connection::is_payable);
        let bids = bids.iter().map(|peer| self.bid(*peer));
        let rate = bids.max().unwrap_or_default();
        let rate = rate.max(self.setup.terms.rate_min).max(Rate::new(1));
        let window: Bytes = pair.payee.window_at(rate);
        let least = rate.cost_ceil(window).unwrap_or(MicroCredits::MAX);
        if lock.grace_secs < LOCK_GRACE_MIN_SECS || left < LOCK_LEFT_MIN_SECS {
            Some(LockFault::Time)
        } else {
            (lock.amount < least).then_some(LockFault::Amount)
        }
    }
}

/// A top-up raises the amount or the expiry; neither ever becomes smaller, and nothing else
/// changes.
fn compare(offered: &Lock, known: &Lock) -> Novelty {
    let same = Lock {
        amount: known.amount,
        expires_at: known.expires_at,
        ..*offered
    };
    let grows = offered.amount >= known.amount && offered.expires_at >= known.expires_at;
    let differs = (offered.amount, offered.expires_at) != (known.amount, known.expires_at);
    if same != *known {
        Novelty::Contradicts
    } else if grows && differs {
        Novelty::Newer
    } else {
        Novelty::NothingNew
    }
}
