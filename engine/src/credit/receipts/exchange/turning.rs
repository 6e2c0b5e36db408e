//! What time asks for: receipts to verify, late payers, claims, closes, acknowledgements,
//! summaries.

use seedbank_ledger::charts::node::{ChannelSummary, NodeCommand};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Instant, MicroCredits, NodeId, Rate};

use crate::credit::event::CreditEvent;
use crate::credit::output::{CreditOutput, Errand, Notice};
use crate::credit::receipts::clock::Now;
use crate::credit::receipts::conduct::Lapse;
use crate::credit::receipts::connection::Connection;
use crate::credit::receipts::earning::{Earning, EarningLock};
use crate::credit::receipts::exchange::syncing::ReceiptSource;
use crate::credit::receipts::exchange::{Exchange, receipt_row};
use crate::credit::receipts::limits::TURN_GAP;
use crate::credit::receipts::paying::Paying;
use crate::units::{Block, PeerIndex};
use crate::wire::receipt::ReceiptMessage;

impl Exchange {
    /// Does what is due. Called when [`Self::next_timeout`] has passed; harmless at any other time.
    pub fn tick(&mut self, at: Instant) {
        while let Some(key) = self.wakes.pop(at) {
            self.turn(key, at);
            // Its last lock may be gone.
            self.forget_what_is_least(key);
        }
    }

    /// Signs and sends everything that waits for this connection's key: before a choke, and before
    /// the session closes the connection.
    pub fn flush(&mut self, peer: PeerIndex, at: Instant) {
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        let key = connection.key;
        self.settle_all(key, at);
        self.acknowledge(key, at);
        self.sign(key, at);
        self.turn(key, at);
    }

    /// The connection is gone; grants that did not leave were taken back before. `unanswered` are
    /// the requests in flight on it, each with its bid. The newest receipts go out again on every
    /// other live connection of the key (S4).
    pub fn close(
        &mut self,
        peer: PeerIndex,
        unanswered: impl IntoIterator<Item = (Block, Rate)>,
        at: Instant,
    ) {
        self.openings.remove(&peer);
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        let (key, torrent_id) = (connection.key, connection.torrent_id);
        self.settle_all(key, at);
        self.connections.remove(&peer);
        let pair = self.pair_mut(key);
        for (block, _) in unanswered.into_iter().filter(|(_, bid)| !bid.is_zero()) {
            let piece = (torrent_id, block.piece);
            pair.payer.pieces.answered(piece, &block, false);
        }
        pair.payer.pieces.hand_on_all(torrent_id);
        pair.connections.remove(&peer);
        pair.seen_at = at;
        if pair.connections.is_empty() {
            pair.payee.disconnected();
            pair.payer.disconnected();
        }
        self.measure_pieces(key);
        self.resend(key);
        self.turn(key, at);
        self.forget_what_is_least(key);
    }

    /// Closes every lock of ours that is not needed, writes every summary: before the node stops.
    pub fn finish(&mut self, at: Instant) {
        let keys: Vec<NodeId> = self.pairs.keys().copied().collect();
        for key in keys {
            self.settle_all(key, at);
            self.acknowledge(key, at);
            self.sign(key, at);
            // The node may be away for longer than a lock lives.
            self.claim(key, at, EarningLock::claimable);
            self.summarise(key, None);
        }
    }

    /// Looks at one pair: whatever is due now is done, and the next wake-up set.
    pub(super) fn turn(&mut self, key: NodeId, at: Instant) {
        if !self.pairs.contains_key(&key) {
            return;
        }
        let now = self.clock.now(at);
        self.settle_due(key, at);
        self.judge(key, now);
        self.close_idle_locks(key, now);
        self.claim(key, at, |lock| lock.claim_due(now));
        let ack_due = self.pair_mut(key).acks.ours.wakes_at();
        if ack_due.is_some_and(|due| at >= due) {
            self.acknowledge(key, at);
        }
        self.summarise(key, Some(at));
        for peer in self.payable(key) {
            self.send_bid(peer, at);
        }
        self.requote(key, at);
        self.ask_closes(key);
        let pair = self.pair_mut(key);
        let mut gone = pair.payer.forget_old_locks(now);
        gone.extend(pair.payee.forget_old_locks(now));
        self.gone(gone);
        // What is due and cannot be done yet must not spin the driver.
        let wake = self.wake_of(key, self.clock.now(at));
        self.wakes
            .set(key, wake.map(|wake| wake.max(at.after(TURN_GAP))));
    }

    /// When a pair wants to be looked at next.
    pub(super) fn wake_of(&self, key: NodeId, now: Now) -> Option<Instant> {
        let pair = self.pairs.get(&key)?;
        let idle = pair.payee.idle_max();
        let conduct = pair.payee.conduct().wakes_at(idle, now);
        let connected = !self.live(key, Connection::is_ready).is_empty();
        let acks = [
            pair.acks.theirs.wakes_at(),
            pair.acks.ours.wakes_at().filter(|_| connected),
            pair.acks.their_summary.due_at(pair.acks.summarised()),
            pair.acks.ours.summary.due_at(pair.acks.ours.summarised()),
        ];
        let served = pair.payee.unbooked;
        let earning = pair.payee.locks.values();
        let earning = earning.map(|lock| lock.wakes_at(served, now));
        let paying = pair.payer.locks.values().map(|lock| lock.wakes_at(now));
        let bids = pair.connections.iter().map(|peer| {
            let connection = self.connections.get(peer)?;
            let waits = connection.wanted_bid != connection.own_bid;
            let bid = waits.then(|| connection.bids.next_at());
            let quotes = self.setup.terms.earn && connection.is_payable();
            let window = connection.window_due.filter(|_| quotes);
            bid.into_iter().chain(window).min()
        });
        let own = [conduct].into_iter().chain(acks);
        own.chain(earning).chain(paying).chain(bids).flatten().min()
    }

    fn settle_due(&mut self, key: NodeId, at: Instant) {
        let pair = self.pair_mut(key);
        let due = |wakes: Option<Instant>| wakes.is_some_and(|wake| at >= wake);
        let locks = pair.payee.locks.iter();
        let locks = locks.filter(|(_, lock)| due(lock.incoming.wakes_at()));
        let mut sources: Vec<ReceiptSource> =
            locks.map(|(id, _)| ReceiptSource::Lock(*id)).collect();
        if due(pair.acks.theirs.wakes_at()) {
            sources.push(ReceiptSource::Acknowledgement);
        }
        for source in sources {
            self.settle(key, source, at);
        }
    }

    /// P4, one step after another until nothing is overdue.
    fn judge(&mut self, key: NodeId, now: Now) {
        loop {
            let pair = self.pair_mut(key);
            let Some(overdue) = pair.payee.overdue(now) else {
                return;
            };
            match overdue {
                Lapse::BecomeLate => pair.payee.late(now.at),
                Lapse::Suspend => {
                    self.settle_all(key, now.at);
                    self.suspend(key, now);
                }
                Lapse::WriteOff => {
                    self.settle_all(key, now.at);
                    self.write_off(key, now);
                }
                Lapse::Forgive => {
                    pair.payee.forgive(now.at);
                    let row = TallyRow::Pair(pair.row());
                    self.tally(vec![row]);
                    self.relieve(key);
                }
            }
        }
    }

    fn suspend(&mut self, key: NodeId, now: Now) {
        let pair = self.pair_mut(key);
        // What waited to be verified may have paid.
        if pair.payee.overdue(now) != Some(Lapse::Suspend) {
            return;
        }
        let bytes = pair.payee.write_off_forgiven(now);
        if !bytes.is_zero() {
            // On locks that end nothing more is signed for the rest.
            if pair.payee.is_ending() {
                pair.payee.late(now.at);
            }
            return self.written_off(key, bytes);
        }
        let pair = self.pair_mut(key);
        pair.payee.suspend(now.at);
        if !pair.payee.conduct().may_take() {
            self.quote_open(key);
            self.put(Notice::Suspended(key));
        }
    }

    fn write_off(&mut self, key: NodeId, now: Now) {
        let pair = self.pair_mut(key);
        if pair.payee.overdue(now) != Some(Lapse::WriteOff) {
            return;
        }
        let bytes = pair.payee.write_off(now);
        self.written_off(key, bytes);
    }

    /// Bytes left F unpaid.
    fn written_off(&mut self, key: NodeId, bytes: Bytes) {
        let pair = self.pair_mut(key);
        let row = TallyRow::Pair(pair.row());
        self.tally(vec![row]);
        if !bytes.is_zero() {
            let peer = key;
            let entry = NodeCommand::WriteOff { peer, bytes };
            self.outputs.push_back(CreditOutput::Append(entry));
            self.put(CreditEvent::WrittenOff { peer, bytes });
            self.ask_sync(key);
        }
        self.relieve(key);
    }

    /// P5: closes what is idle or no longer wanted; the last claim comes before the close.
    fn close_idle_locks(&mut self, key: NodeId, now: Now) {
        let pair = self.pair_mut(key);
        let due = pair.payee.locks.iter();
        let due: Vec<LockId> = due
            .filter(|(_, lock)| lock.is_close_due(now))
            .map(|(id, _)| *id)
            .collect();
        if due.is_empty() {
            return;
        }
        self.settle_all(key, now.at);
        let payee = &self.pair_mut(key).payee;
        // A receipt that waited may have moved it.
        let may = |lock: &EarningLock| lock.is_close_due(now) && payee.has_shown(lock);
        let due: Vec<LockId> = due
            .into_iter()
            .filter(|lock_id| payee.locks.get(lock_id).is_some_and(may))
            .collect();
        let (is_settled, shortfall) = (payee.is_settled(), payee.shortfall());
        if due.is_empty() || !is_settled || !self.lending.lend(shortfall, now.at) {
            return;
        }
        self.pair_mut(key).payee.lend(shortfall);
        for lock_id in due {
            let payee = &mut self.pair_mut(key).payee;
            let Some(lock) = payee.locks.get_mut(&lock_id) else {
                continue;
            };
            // Written before anybody is told, so that a restart cannot serve on it again.
            lock.state = Earning::Closing { ordered: false };
            let row = TallyRow::Lock(lock.row());
            self.tally(vec![row]);
            self.summarise_locks(key, None);
            for peer in self.live(key, Connection::is_synced_by_us) {
                self.send_sync(peer, now.at);
            }
        }
    }

    fn claim(
        &mut self,
        key: NodeId,
        at: Instant,
        due: impl Fn(&EarningLock) -> Option<MicroCredits>,
    ) {
        let now = self.clock.now(at);
        let me = self.id();
        let identity = self.setup.identity.clone();
        let pair = self.pair_mut(key);
        let mut outputs = Vec::new();
        for (lock_id, lock) in &mut pair.payee.locks {
            let claimed = lock.claimed >= lock.worth();
            if let (Some(worth), Some(receipt)) = (due(lock), lock.incoming.held()) {
                let claim = Claim {
                    network_id: lock.lock.body.network_id,
                    lock_id: *lock_id,
                    payee: me,
                    receipt: *receipt,
                };
                outputs.push(Errand::Claim(claim.sign(&identity)).into());
                lock.claim_asked = worth;
                lock.claimed_at = Some(now.unix);
            } else if claimed && lock.state == (Earning::Closing { ordered: false }) {
                lock.state = Earning::Closing { ordered: true };
                outputs.push(Errand::CloseLock(*lock_id).into());
            }
        }
        self.outputs.extend(outputs);
    }

    /// CLOSE for locks of ours that nobody wants, once no paid block is under way.
    fn ask_closes(&mut self, key: NodeId) {
        let bids = self.live(key, |connection| !connection.own_bid.is_zero());
        let pair = self.pair_mut(key);
        let owes = pair.payer.owed() > MicroCredits::ZERO;
        let busy = owes || !pair.payer.pieces.is_idle() || !bids.is_empty();
        let mut locks = pair.payer.locks.values();
        // What becomes due later is signed on the next lock, if there is one.
        if busy && !locks.any(|lock| lock.state == Paying::Open) {
            return;
        }
        let ending = pair.payer.locks.iter();
        let due: Vec<LockId> = ending
            .filter(|(_, lock)| lock.state == Paying::Ending)
            .map(|(id, _)| *id)
            .collect();
        for lock_id in due {
            let pair = self.pair_mut(key);
            let Some(lock) = pair.payer.locks.get_mut(&lock_id) else {
                continue;
            };
            lock.state = Paying::CloseAsked;
            let newest = lock.receipt;
            let row = TallyRow::Lock(lock.row());
            self.tally(vec![row]);
            if let Some(peer) = self.live(key, Connection::takes_receipts).last() {
                self.send(*peer, ReceiptMessage::Close { lock_id, newest });
            }
        }
    }

    /// Signs and sends an acknowledgement, if anything waits for one.
    fn acknowledge(&mut self, key: NodeId, at: Instant) {
        let identity = self.setup.identity.clone();
        let Some(peer) = self.live(key, Connection::is_ready).last().copied() else {
            return;
        };
        let Some(pair) = self.pairs.get_mut(&key) else {
            return;
        };
        let Some(receipt) = pair.acks.ours.sign(&identity, at) else {
            return;
        };
        let row = receipt_row(pair.acks.our_channel(), Some(&receipt));
        self.tally(row.into_iter().collect());
        self.send(peer, ReceiptMessage::Receipt(receipt));
    }

    /// Verifies every receipt that waits, and appends what channels with locks came to.
    pub fn book_receipts(&mut self, at: Instant) {
        let keys: Vec<NodeId> = self.pairs.keys().copied().collect();
        for key in keys {
            self.settle_all(key, at);
            // Whatever is due some time.
            self.summarise_locks(key, Some(Instant::MAX));
            self.touch(key, at);
        }
    }

    /// Appends what channels came to, if it is time; at `None`, whatever has changed on locks, and
    /// of acknowledgements what books anything.
    fn summarise(&mut self, key: NodeId, at: Option<Instant>) {
        let Some(pair) = self.pairs.get_mut(&key) else {
            return;
        };
        let mut taken = Vec::new();
        let acks = &mut pair.acks;
        let acks_at = at.or(Some(Instant::MAX));
        let of = acks.ours.summarised();
        if acks.ours.summary.is_due(of, acks_at) {
            let (channel, receipt) = (acks.our_channel(), acks.ours.receipt);
            let summary = acks.ours.summary.take(channel, receipt, of);
            taken.extend(summary.map(|(summary, _)| summary));
        }
        let of = acks.summarised();
        let (channel, receipt) = (acks.their_channel(), acks.theirs.held().copied());
        if acks.their_summary.is_due(of, acks_at)
            && let Some((summary, grown)) = acks.their_summary.take(channel, receipt, of)
        {
            acks.unbooked = acks.unbooked.saturating_sub(grown);
            taken.push(summary);
        }
        self.append_summaries(taken);
        self.summarise_locks(key, at);
    }

    /// [`Self::summarise`] for the channels that move credit. A line about a lock comes after it:
    /// whatever the line books would be for no torrent.
    pub(super) fn summarise_locks(&mut self, key: NodeId, at: Option<Instant>) {
        let Some(pair) = self.pairs.get_mut(&key) else {
            return;
        };
        let mut taken = Vec::new();
        for lock in pair.payer.locks.values_mut() {
            let of = lock.summarised();
            if lock.summary.is_due(of, at) {
                let summary = lock
                    .summary
                    .take(lock.lock.body.channel(), lock.receipt, of);
                taken.extend(summary.map(|(summary, _)| summary));
            }
        }
        let payee = &mut pair.payee;
        for lock in payee.locks.values_mut() {
            let of = lock.summarised(payee.unbooked);
            let (channel, receipt) = (lock.lock.body.channel(), lock.incoming.held().copied());
            if lock.summary.is_due(of, at)
                && let Some((summary, grown)) = lock.summary.take(channel, receipt, of)
            {
                payee.unbooked = payee.unbooked.saturating_sub(grown);
                taken.push(summary);
            }
        }
        self.append_summaries(taken);
    }

    fn append_summaries(&mut self, taken: Vec<ChannelSummary>) {
        let entries = taken
            .into_iter()
            .map(|summary| CreditOutput::Append(NodeCommand::ChannelSummary(Box::new(summary))));
        self.outputs.extend(entries);
    }
}
