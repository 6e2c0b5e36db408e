//! Agreement after a loss: SYNC and receipts as they come (S4, P3).
//!
//! Whoever lost something adopts the other's proof, never a difference. A payer trusts only its own
//! signature, a payee only the settlement node's and the payer's.

use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Instant, NodeId};

use crate::credit::output::Notice;
use crate::credit::receipts::acknowledgement::NO_NETWORK;
use crate::credit::receipts::connection::{Connection, OpeningPhase};
use crate::credit::receipts::exchange::locking::Novelty;
use crate::credit::receipts::exchange::{Exchange, receipt_row};
use crate::credit::receipts::incoming::{Freshness, Offered, totals};
use crate::credit::receipts::limits::SYNC_CLOSED_MAX;
use crate::credit::receipts::paying::Paying;
use crate::credit::receipts::service::Service;
use crate::credit::receipts::violation::Violation;
use crate::units::PeerIndex;
use crate::wire::receipt::{ErrorCode, ReceiptMessage, SYNC_ENTRIES_MAX, SyncEntry};

/// One of the two kinds of channel on which a peer signs to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiptSource {
    Acknowledgement,
    Lock(LockId),
}

impl Exchange {
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
            lock_id: None,
            held: pair.acks.theirs.held().copied(),
            sent: pair.acks.ours.receipt,
            lock: None,
            closed: false,
        }];
        if !with_locks {
            return entries;
        }
        let paying = pair.payer.locks.values().filter(|lock| lock.is_open());
        entries.extend(paying.map(|lock| SyncEntry {
            lock_id: Some(lock.lock.body.lock_id),
            held: None,
            sent: lock.receipt,
            lock: Some(lock.lock),
            closed: lock.state == Paying::CloseAsked,
        }));
        let open = pair.payee.locks.values().filter(|lock| lock.is_open());
        let closed = pair.payee.locks.values().rev();
        let closed = closed.filter(|lock| !lock.is_open()).take(SYNC_CLOSED_MAX);
        entries.extend(open.chain(closed).map(|lock| SyncEntry {
            lock_id: Some(lock.lock.body.lock_id),
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
            match entry.lock_id {
                None => self.digest_acks(peer, entry, at)?,
                Some(lock_id) => self.digest_lock(peer, lock_id, entry, at)?,
            }
        }
        let connection = self.connection_mut(peer);
        let key = connection.key;
        if connection.phase == OpeningPhase::Syncing {
            connection.phase = OpeningPhase::Ready;
            let window = connection.peer_window;
            let payer = &mut self.pair_mut(key).payer;
            payer.window = payer.window.max(window);
            self.put(Notice::Ready(peer));
            if self.connection_mut(peer).is_payable() && self.setup.terms.earn {
                self.say_quote(peer, Service::Open);
            }
        }
        if self.connection_mut(peer).takes_receipts() {
            self.pair_mut(key).payee.synced(at);
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
        let identity = self.setup.identity.clone();
        let key = self.connection_mut(peer).key;
        if let Some(receipt) = entry.sent {
            if receipt.body.channel_id != self.pair_mut(key).acks.their_channel_id {
                return Err(Violation::ForeignReceipt);
            }
            self.offer_synced(peer, ReceiptSource::Acknowledgement, receipt, at)?;
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
        let verified = || proof.verify_by(identity.scheme(), &identity.id());
        if !ours || verified().is_err() {
            return Err(Violation::ForgedProof);
        }
        acks.ours.adopt(proof, at);
        let rows = receipt_row(acks.our_channel(), acks.ours.receipt.as_ref());
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
            if self.learn_own_lock(peer, &lock, at)? == Novelty::Contradicts {
                return Ok(());
            }
            if let Some(proof) = entry.held {
                self.proof_shown(peer, lock_id, proof, at)?;
            }
            if entry.closed {
                self.lock_refused(peer, lock.body.channel().id(), None);
            } else if let Some(known) = self.pair_mut(key).payer.locks.get_mut(&lock_id) {
                known.reopen();
            }
            return Ok(());
        }
        if self.learn_lock(peer, &lock, at)? == Novelty::Contradicts {
            return Ok(());
        }
        let known = self.pair_mut(key).payee.locks.get(&lock_id);
        let Some((open, channel_id)) = known.map(|lock| (lock.is_open(), lock.channel_id)) else {
            return Ok(());
        };
        if let Some(receipt) = entry.sent.filter(|_| open) {
            if receipt.body.channel_id != channel_id {
                return Err(Violation::ForeignReceipt);
            }
            self.offer_synced(peer, ReceiptSource::Lock(lock_id), receipt, at)?;
        }
        if entry.closed && open {
            self.close_asked(peer, lock_id, at)?;
        }
        Ok(())
    }

    /// A payee shows our receipt: what it proves to be signed is signed, whatever we remember.
    fn proof_shown(
        &mut self,
        peer: PeerIndex,
        lock_id: LockId,
        proof: SignedReceipt,
        at: Instant,
    ) -> Result<(), Violation> {
        let now = self.clock.now(at);
        let identity = self.setup.identity.clone();
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
            proof
                .verify_by(identity.scheme(), &identity.id())
                .map_err(|_| Violation::ForgedProof)?;
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
        if let Some(receipt) = behind
            && self.connection_mut(peer).answers.take(at)
        {
            self.send(peer, ReceiptMessage::Receipt(receipt));
        }
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
        if channel_id == pair.acks.their_channel_id {
            return self.offer(peer, ReceiptSource::Acknowledgement, receipt, at);
        }
        let mut locks = pair.payee.locks.iter();
        let found = locks.find(|(_, lock)| lock.channel_id == channel_id);
        match found.map(|(id, lock)| (*id, lock.is_open())) {
            Some((lock_id, true)) => self.offer(peer, ReceiptSource::Lock(lock_id), receipt, at),
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

    /// A receipt in a SYNC. The first SYNC says where both stand, so it is verified at once; what
    /// later ones hold waits like any other, or each would cost as much as the first.
    fn offer_synced(
        &mut self,
        peer: PeerIndex,
        source: ReceiptSource,
        receipt: SignedReceipt,
        at: Instant,
    ) -> Result<(), Violation> {
        self.offer(peer, source, receipt, at)?;
        let connection = self.connection_mut(peer);
        if connection.phase == OpeningPhase::Syncing {
            let key = connection.key;
            self.settle(key, source, at);
        }
        Ok(())
    }

    fn offer(
        &mut self,
        peer: PeerIndex,
        source: ReceiptSource,
        receipt: SignedReceipt,
        at: Instant,
    ) -> Result<(), Violation> {
        let key = self.connection_mut(peer).key;
        let pair = self.pair_mut(key);
        let (incoming, network) = match source {
            ReceiptSource::Acknowledgement => {
                if !receipt.body.amount.is_zero() {
                    return Err(Violation::AmountAcknowledged);
                }
                (&mut pair.acks.theirs, NO_NETWORK)
            }
            ReceiptSource::Lock(lock_id) => {
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
                // Verified out of turn: of this there is a budget too.
                let budget = &mut self.connection_mut(peer).peer_controls;
                if !budget.take(at) {
                    return Err(Violation::TooManyControls);
                }
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
            OpeningPhase::Plain => Err(Violation::ForgedReceipt),
            OpeningPhase::Syncing | OpeningPhase::Ready => Ok(()),
        }
    }

    /// Sends SYNC, if the peer has not made us send too many.
    pub(super) fn answer_sync(&mut self, peer: PeerIndex, at: Instant) {
        if self.connection_mut(peer).answers.take(at) {
            self.send_sync(peer, at);
        }
    }

    /// Asks the payer for its SYNC: no lock from it is closed before that has come.
    pub(super) fn ask_sync(&mut self, key: NodeId) {
        for peer in self.live(key, Connection::takes_receipts) {
            let (code, channel_id) = (ErrorCode::NotSynced, None);
            self.send(peer, ReceiptMessage::Error { code, channel_id });
        }
    }

    fn answer_err(&mut self, peer: PeerIndex, code: ErrorCode, channel_id: ChannelId, at: Instant) {
        if self.connection_mut(peer).answers.take(at) {
            let channel_id = Some(channel_id);
            self.send(peer, ReceiptMessage::Error { code, channel_id });
        }
    }

    /// A connection of this key is gone: the newest locks and receipts go out again on every other
    /// one, also where its SYNC is still under way, for it may be older than they are (F4).
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
}
