//! Agreement after a loss: SYNC, LOCK, and what the settlement node tells of locks (S4, P3, P5).
//!
//! Whoever lost something adopts the other's proof, never a difference. A payer trusts only his own
//! signature, a payee only the settlement node's and the payer's.

use seedbank_ledger::signed::channel::{ChannelId, ChannelKind};
use seedbank_ledger::signed::lock::{Lock, LockId, SignedLock};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Instant, MicroCredits, NodeId, Rate};

use crate::receipts::acknowledgement::NO_NETWORK;
use crate::receipts::class::Class;
use crate::receipts::connection::{Connection, Phase};
use crate::receipts::earning::{Earning, EarningLock};
use crate::receipts::exchange::{Exchange, receipt_row};
use crate::receipts::incoming::{Freshness, Offered, totals};
use crate::receipts::limits::{
    LOCK_GRACE_MIN_SECS, LOCK_LEFT_MIN_SECS, LOCKS_OPEN_MAX, SYNC_CLOSED_MAX,
};
use crate::receipts::output::{ExchangeEvent, ExchangeOutput, Violation};
use crate::receipts::paying::{Paying, PayingLock};
use crate::units::PeerIndex;
use crate::wire::receipt::{ErrorCode, ReceiptMessage, SYNC_ENTRIES_MAX, SyncEntry};

/// One of the two kinds of channel on which a peer signs to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Acknowledgement,
    Lock(LockId),
}

/// How a certificate compares with the one known.
enum Certificate {
    Newer,
    NothingNew,
}

impl Exchange {
    /// The settlement node's word on a lock of ours or for us: opened, topped up, claimed or closed.
    /// Its signature is checked; a lock of other parties or another network is left alone.
    pub fn lock_status(&mut self, status: &LockStatus, at: Instant) {
        let body = status.lock.body;
        let Some(network) = self.setup.network.filter(|own| own.id == body.network_id) else {
            return;
        };
        if status.lock.verify(&network.settlement).is_err() {
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
            self.his_lock_status(key, status, at);
        }
        self.turn(key, at);
    }

    fn own_lock_status(&mut self, key: NodeId, status: &LockStatus, at: Instant) {
        let body = status.lock.body;
        let payer = &mut self.pair_mut(key).payer;
        let known = payer.locks.contains_key(&body.lock_id);
        if !known && (status.closed || !payer.may_learn(body.lock_id)) {
            return;
        }
        let entry = payer.locks.entry(body.lock_id);
        let lock = entry.or_insert_with(|| PayingLock::new(status.lock));
        let newer = is_newer(&body, &lock.lock.body);
        if newer {
            lock.lock = status.lock;
        }
        if status.closed {
            lock.state = Paying::Closed;
        }
        let open = lock.is_open();
        payer.claimed(body.lock_id, status.claimed);
        let row = TallyRow::Lock(payer.locks[&body.lock_id].row());
        let rows = vec![row, TallyRow::Pair(self.pair_mut(key).row())];
        self.tally(rows);
        if open && (newer || !known) {
            for peer in self.live(key, Connection::is_synced_by_us) {
                if self.connection_mut(peer).same_network {
                    self.send(peer, ReceiptMessage::Lock(Box::new(status.lock)));
                }
            }
        }
        self.sign(key, at);
    }

    fn his_lock_status(&mut self, key: NodeId, status: &LockStatus, at: Instant) {
        let now = self.clock.now(at);
        let body = status.lock.body;
        let serveable = self.is_serveable(key, &body, at);
        let pair = self.pair_mut(key);
        if !pair.payee.locks.contains_key(&body.lock_id) {
            if status.closed || !pair.payee.may_learn(body.lock_id) {
                return;
            }
            let lock = EarningLock::new(status.lock, serveable, now);
            pair.payee.locks.insert(body.lock_id, lock);
        }
        let known = pair.payee.locks.get(&body.lock_id).map(|lock| lock.lock);
        if known.is_some_and(|known| is_newer(&body, &known.body)) {
            pair.payee.top_up(status.lock, serveable, now);
        }
        let Some(lock) = pair.payee.locks.get_mut(&body.lock_id) else {
            return;
        };
        lock.claimed = lock.claimed.max(status.claimed);
        match (lock.state, status.closed) {
            (_, true) => lock.state = Earning::Closed,
            (Earning::Provisional { .. }, false) => lock.state = Earning::Confirmed,
            (Earning::Confirmed | Earning::Closing { .. } | Earning::Closed, false) => {}
        }
        let rows = vec![TallyRow::Lock(lock.row()), TallyRow::Pair(pair.row())];
        self.tally(rows);
    }

    pub(super) fn send_sync(&mut self, peer: PeerIndex, _now: Instant) {
        let key = self.connection_mut(peer).key;
        let locks = self.connection_mut(peer).same_network;
        let entries = self.sync_entries(key, locks);
        self.send(peer, ReceiptMessage::Sync(entries));
    }

    /// Where we stand on every channel of a pair: open locks of both directions, and the newest
    /// closed ones, so that a side that forgot learns that they are closed.
    fn sync_entries(&self, key: NodeId, with_locks: bool) -> Vec<SyncEntry> {
        let Some(pair) = self.pairs.get(&key) else {
            return Vec::new();
        };
        let mut entries = vec![SyncEntry {
            kind: ChannelKind::Acknowledgement,
            held: pair.acks.his.held().copied(),
            sent: pair.acks.ours.receipt,
            lock: None,
            closed: false,
        }];
        if !with_locks {
            return entries;
        }
        let paying = pair.payer.locks.values().filter(|lock| lock.is_open());
        entries.extend(paying.map(|lock| SyncEntry {
            kind: ChannelKind::Lock(lock.lock.body.lock_id),
            held: None,
            sent: lock.receipt,
            lock: Some(lock.lock),
            closed: lock.state == Paying::CloseAsked,
        }));
        let open = pair.payee.locks.values().filter(|lock| lock.is_open());
        let closed = pair.payee.locks.values().rev();
        let closed = closed.filter(|lock| !lock.is_open()).take(SYNC_CLOSED_MAX);
        entries.extend(open.chain(closed).map(|lock| SyncEntry {
            kind: ChannelKind::Lock(lock.lock.body.lock_id),
            held: lock.incoming.held().copied(),
            sent: None,
            lock: Some(lock.lock),
            closed: !lock.is_open(),
        }));
        entries.truncate(SYNC_ENTRIES_MAX);
        entries
    }

    pub(super) fn digest_sync(
        &mut self,
        peer: PeerIndex,
        entries: &[SyncEntry],
        at: Instant,
    ) -> Result<(), Violation> {
        for entry in entries {
            match entry.kind {
                ChannelKind::Acknowledgement => self.digest_acks(peer, entry, at)?,
                ChannelKind::Lock(lock_id) => self.digest_lock(peer, lock_id, entry, at)?,
            }
        }
        let connection = self.connection_mut(peer);
        let key = connection.key;
        if connection.phase == Phase::Syncing {
            connection.phase = Phase::Ready;
            let window = connection.peer_window;
            let payer = &mut self.pair_mut(key).payer;
            payer.window = payer.window.max(window);
            self.event(ExchangeEvent::Ready(peer));
            if self.connection_mut(peer).is_payable() && self.setup.terms.earn {
                self.say_quote(peer, Class::Open);
            }
        }
        self.sign(key, at);
        self.turn(key, at);
        Ok(())
    }

    fn digest_acks(
        &mut self,
        peer: PeerIndex,
        entry: &SyncEntry,
        at: Instant,
    ) -> Result<(), Violation> {
        let me = self.id();
        let key = self.connection_mut(peer).key;
        if let Some(receipt) = entry.sent {
            if receipt.body.channel_id != self.pair_mut(key).acks.his_channel_id {
                return Err(Violation::ForeignReceipt);
            }
            self.offer(peer, Source::Acknowledgement, receipt, at)?;
            self.settle(key, Source::Acknowledgement, at);
        }
        let acks = &mut self.pair_mut(key).acks;
        let known = acks.ours.receipt.as_ref();
        let newer = |proof: &SignedReceipt| Freshness::of(&proof.body, known) == Freshness::Newer;
        let Some(proof) = entry.held.filter(newer) else {
            return Ok(());
        };
        let ours = proof.body.channel_id == acks.ours.channel_id
            && proof.body.network_id == NO_NETWORK
            && proof.body.amount.is_zero();
        if !ours || proof.verify(&me).is_err() {
            return Err(Violation::ForgedProof);
        }
        acks.ours.adopt(proof, at);
        let rows = receipt_row(acks.ours.channel, acks.ours.receipt.as_ref());
        self.tally(rows.into_iter().collect());
        Ok(())
    }

    fn digest_lock(
        &mut self,
        peer: PeerIndex,
        lock_id: LockId,
        entry: &SyncEntry,
        at: Instant,
    ) -> Result<(), Violation> {
        let key = self.connection_mut(peer).key;
        let Some(lock) = entry.lock else {
            return Ok(());
        };
        if lock.body.lock_id != lock_id {
            return Err(Violation::ForeignLock);
        }
        if lock.body.payer == self.id() {
            self.learn_own_lock(peer, &lock)?;
            if let Some(proof) = entry.held {
                self.proof_shown(peer, lock_id, proof, at)?;
            }
            if entry.closed {
                self.lock_refused(peer, lock.body.channel().id());
            } else if let Some(known) = self.pair_mut(key).payer.locks.get_mut(&lock_id) {
                known.reopen();
            }
            return Ok(());
        }
        self.learn_lock(peer, &lock, at)?;
        let known = self.pair_mut(key).payee.locks.get(&lock_id);
        let Some((open, channel_id)) = known.map(|lock| (lock.is_open(), lock.channel_id)) else {
            return Ok(());
        };
        if let Some(receipt) = entry.sent.filter(|_| open) {
            if receipt.body.channel_id != channel_id {
                return Err(Violation::ForeignReceipt);
            }
            self.offer(peer, Source::Lock(lock_id), receipt, at)?;
            self.settle(key, Source::Lock(lock_id), at);
        }
        if entry.closed && open {
            self.close_asked(peer, lock_id, at)?;
        }
        Ok(())
    }

    /// He shows a lock of ours. A restored node learns of it here before the settlement node tells.
    fn learn_own_lock(&mut self, peer: PeerIndex, lock: &SignedLock) -> Result<(), Violation> {
        let key = self.connection_mut(peer).key;
        self.check_parties(&lock.body, self.id(), key)?;
        let payer = &self.pair_mut(key).payer;
        let open = payer.locks.values().filter(|lock| lock.is_open()).count();
        let known = payer.locks.get(&lock.body.lock_id).map(|known| known.lock);
        let wanted = match known {
            Some(known) => is_newer(&lock.body, &known.body),
            None => payer.may_learn(lock.body.lock_id) && open < LOCKS_OPEN_MAX,
        };
        if !wanted {
            return Ok(());
        }
        self.check_issuer(lock)?;
        let payer = &mut self.pair_mut(key).payer;
        let entry = payer.locks.entry(lock.body.lock_id);
        let known = entry.or_insert_with(|| PayingLock::new(*lock));
        known.lock = *lock;
        let row = known.row();
        self.tally(vec![TallyRow::Lock(row)]);
        self.outputs
            .push_back(ExchangeOutput::AskLock(lock.body.lock_id));
        Ok(())
    }

    /// He shows a receipt of ours: what it proves to be signed is signed, whatever we remember.
    fn proof_shown(
        &mut self,
        peer: PeerIndex,
        lock_id: LockId,
        proof: SignedReceipt,
        at: Instant,
    ) -> Result<(), Violation> {
        let now = self.clock.now(at);
        let me = self.id();
        let key = self.connection_mut(peer).key;
        let Some(lock) = self.pair_mut(key).payer.locks.get_mut(&lock_id) else {
            return Ok(());
        };
        let network = lock.lock.body.network_id;
        if (proof.body.channel_id, proof.body.network_id) != (lock.channel_id, network) {
            return Err(Violation::ForgedProof);
        }
        let shown = totals(Some(&proof));
        let known = Freshness::of(&proof.body, lock.receipt.as_ref()) == Freshness::Known;
        if !known {
            proof.verify(&me).map_err(|_| Violation::ForgedProof)?;
        }
        lock.held = (lock.held.0.max(shown.0), lock.held.1.max(shown.1));
        let behind = lock.is_undelivered().then_some(lock.receipt).flatten();
        let pair = self.pair_mut(key);
        if !known && pair.payer.adopt(lock_id, proof, now) {
            let lock = &pair.payer.locks[&lock_id];
            let mut rows = vec![TallyRow::Pair(pair.row())];
            rows.extend(receipt_row(lock.lock.body.channel(), lock.receipt.as_ref()));
            self.tally(rows);
        }
        if let Some(receipt) = behind {
            self.send(peer, ReceiptMessage::Receipt(receipt));
        }
        Ok(())
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

    fn learn_lock(
        &mut self,
        peer: PeerIndex,
        lock: &SignedLock,
        at: Instant,
    ) -> Result<(), Violation> {
        let now = self.clock.now(at);
        let lock_id = lock.body.lock_id;
        let key = self.connection_mut(peer).key;
        self.check_parties(&lock.body, key, self.id())?;
        let payee = &self.pair_mut(key).payee;
        let open = payee.locks.values().filter(|lock| lock.is_open()).count();
        let known = payee.locks.get(&lock_id).map(|known| known.lock);
        let wanted = match known {
            Some(known) => is_newer(&lock.body, &known.body),
            None => payee.may_learn(lock_id) && open < LOCKS_OPEN_MAX,
        };
        if !wanted {
            return Ok(());
        }
        self.check_issuer(lock)?;
        let serveable = self.is_serveable(key, &lock.body, at);
        let payee = &mut self.pair_mut(key).payee;
        if known.is_some() {
            payee.top_up(*lock, serveable, now);
        } else {
            let fresh = EarningLock::new(*lock, serveable, now);
            payee.locks.insert(lock_id, fresh);
            self.outputs.push_back(ExchangeOutput::AskLock(lock_id));
        }
        let pair = self.pair_mut(key);
        let rows = vec![
            TallyRow::Lock(pair.payee.locks[&lock_id].row()),
            TallyRow::Pair(pair.row()),
        ];
        self.tally(rows);
        Ok(())
    }

    /// RECEIPT: newer than the one held, it waits to be verified.
    pub(super) fn receipt_shown(
        &mut self,
        peer: PeerIndex,
        receipt: SignedReceipt,
        at: Instant,
    ) -> Result<(), Violation> {
        let key = self.connection_mut(peer).key;
        let channel_id = receipt.body.channel_id;
        let pair = self.pair_mut(key);
        if channel_id == pair.acks.his_channel_id {
            return self.offer(peer, Source::Acknowledgement, receipt, at);
        }
        let mut locks = pair.payee.locks.iter();
        let found = locks.find(|(_, lock)| lock.channel_id == channel_id);
        match found.map(|(id, lock)| (*id, lock.is_open())) {
            Some((lock_id, true)) => self.offer(peer, Source::Lock(lock_id), receipt, at),
            Some((_, false)) => {
                self.answer_err(peer, ErrorCode::LockClosed, channel_id, at);
                Ok(())
            }
            None => {
                self.answer_err(peer, ErrorCode::ChannelUnknown, channel_id, at);
                Ok(())
            }
        }
    }

    fn offer(
        &mut self,
        peer: PeerIndex,
        source: Source,
        receipt: SignedReceipt,
        at: Instant,
    ) -> Result<(), Violation> {
        let key = self.connection_mut(peer).key;
        let pair = self.pair_mut(key);
        let (incoming, network) = match source {
            Source::Acknowledgement => {
                if !receipt.body.amount.is_zero() {
                    return Err(Violation::AmountAcknowledged);
                }
                (&mut pair.acks.his, NO_NETWORK)
            }
            Source::Lock(lock_id) => {
                let lock = pair.payee.locks.get_mut(&lock_id);
                let lock = lock.expect("callers have looked this lock up");
                (&mut lock.incoming, lock.lock.body.network_id)
            }
        };
        if receipt.body.network_id != network {
            return Err(Violation::ForeignReceipt);
        }
        match incoming.offer(receipt, peer, at) {
            Offered::Known | Offered::Waits => {}
            Offered::Due => self.settle(key, source, at),
            Offered::Behind => {
                self.settle(key, source, at);
                // What waited is held now, or was forged: this one cannot be behind it again.
                return self.offer(peer, source, receipt, at);
            }
            Offered::Crossed => {
                self.answer_err(peer, ErrorCode::Stale, receipt.body.channel_id, at);
                self.answer_sync(peer, at);
            }
        }
        match self.connection_mut(peer).phase {
            Phase::Plain => Err(Violation::ForgedReceipt),
            Phase::Greeted { .. } | Phase::Proving { .. } | Phase::Syncing | Phase::Ready => Ok(()),
        }
    }

    /// CLOSE, or a SYNC that says so: he signs nothing more on this lock.
    pub(super) fn close_asked(
        &mut self,
        peer: PeerIndex,
        lock_id: LockId,
        at: Instant,
    ) -> Result<(), Violation> {
        let key = self.connection_mut(peer).key;
        self.settle(key, Source::Lock(lock_id), at);
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

    /// He says that a lock of ours is closed: nothing more is signed on it.
    pub(super) fn lock_refused(&mut self, peer: PeerIndex, channel_id: ChannelId) {
        let key = self.connection_mut(peer).key;
        let mut locks = self.pair_mut(key).payer.locks.values_mut();
        let Some(lock) = locks.find(|lock| lock.channel_id == channel_id && lock.is_open()) else {
            return;
        };
        lock.refuse();
        let lock_id = lock.lock.body.lock_id;
        self.outputs.push_back(ExchangeOutput::AskLock(lock_id));
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

    /// Sends SYNC, if he has not made us send too many.
    pub(super) fn answer_sync(&mut self, peer: PeerIndex, at: Instant) {
        if self.connection_mut(peer).answers.take(at) {
            self.send_sync(peer, at);
        }
    }

    fn answer_err(&mut self, peer: PeerIndex, code: ErrorCode, channel_id: ChannelId, at: Instant) {
        if self.connection_mut(peer).answers.take(at) {
            let channel_id = Some(channel_id);
            self.send(peer, ReceiptMessage::Error { code, channel_id });
        }
    }

    /// A connection of this key is gone: the newest locks and receipts go out again on every other
    /// one, also where his SYNC is still under way, for it may be older than they are (F4).
    pub(super) fn resend(&mut self, key: NodeId) {
        let live = self.live(key, Connection::is_synced_by_us);
        let Some(pair) = self.pairs.get(&key).filter(|_| !live.is_empty()) else {
            return;
        };
        let mut messages = Vec::new();
        let open = pair.payer.locks.values().filter(|lock| lock.is_open());
        let wanted = open.filter(|lock| lock.state != Paying::Refused);
        for lock in wanted.filter(|lock| lock.is_undelivered()) {
            messages.push(ReceiptMessage::Lock(Box::new(lock.lock)));
            messages.extend(lock.receipt.map(ReceiptMessage::Receipt));
        }
        let ack = pair.acks.ours.receipt.map(ReceiptMessage::Receipt);
        for peer in live {
            let locks = self.connections.get(&peer).is_some_and(|c| c.same_network);
            for message in messages.iter().filter(|_| locks).chain(ack.as_ref()) {
                self.send(peer, message.clone());
            }
        }
    }

    fn check_parties(&self, lock: &Lock, payer: NodeId, payee: NodeId) -> Result<(), Violation> {
        let network = self.setup.network.map(|network| network.id);
        if network != Some(lock.network_id) || lock.payer != payer || lock.payee != payee {
            return Err(Violation::ForeignLock);
        }
        Ok(())
    }

    fn check_issuer(&self, lock: &SignedLock) -> Result<(), Violation> {
        let network = self.setup.network.ok_or(Violation::ForeignLock)?;
        let verified = lock.verify(&network.settlement);
        verified.map_err(|_| Violation::ForgedLock)
    }

    /// P5: long enough, grace enough, and worth a window at the least rate this payer can get.
    fn is_serveable(&self, key: NodeId, lock: &Lock, at: Instant) -> bool {
        let now = self.clock.now(at);
        let left = lock.expires_at.secs_since(now.unix);
        let Some(pair) = self.pairs.get(&key) else {
            return false;
        };
        let rate = self.setup.terms.rate_min.max(Rate::new(1));
        let window: Bytes = pair.window(&self.setup.window);
        let least = rate.cost_ceil(window).unwrap_or(MicroCredits::MAX);
        lock.grace_secs >= LOCK_GRACE_MIN_SECS && left >= LOCK_LEFT_MIN_SECS && lock.amount >= least
    }
}

fn is_newer(offered: &Lock, known: &Lock) -> bool {
    matches!(compare(offered, known), Certificate::Newer)
}

/// A top-up raises the amount or the expiry; neither ever becomes smaller, and nothing else changes.
fn compare(offered: &Lock, known: &Lock) -> Certificate {
    let same = Lock {
        amount: known.amount,
        expires_at: known.expires_at,
        ..*offered
    };
    let grows = offered.amount >= known.amount && offered.expires_at >= known.expires_at;
    let differs = (offered.amount, offered.expires_at) != (known.amount, known.expires_at);
    if same == *known && grows && differs {
        Certificate::Newer
    } else {
        Certificate::NothingNew
    }
}
