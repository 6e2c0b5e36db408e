//! Everything one node knows of another: what it owes, what it is owed, and by which connections.

use std::collections::BTreeSet;

use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::tally::{PairRow, TallyKey};
use seedbank_ledger::{Bytes, Instant, MicroCredits, NodeId, RawCost, UnixTime};

use crate::credit::receipts::acknowledgement::Acknowledgements;
use crate::credit::receipts::earning::Earning;
use crate::credit::receipts::exposure::LOAN;
use crate::credit::receipts::limits::Window;
use crate::credit::receipts::payee::Payee;
use crate::credit::receipts::payer::Payer;
use crate::units::PeerIndex;

/// A pair, over all its connections and torrents.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The other side.
    pub key: NodeId,
    /// Live connections that announced this key.
    pub connections: BTreeSet<PeerIndex>,
    /// Largest piece of the torrents shared with it; the last known one while there are none.
    pub piece_len: Bytes,
    /// Our side as payer.
    pub payer: Payer,
    /// Our side as payee.
    pub payee: Payee,
    /// Both acknowledgement channels.
    pub acks: Acknowledgements,
    /// As payee: a block waits in a paid seat until window, lock and conduct cover it.
    pub waits: bool,
    /// When its last connection was opened or closed.
    pub seen_at: Instant,
    /// A row of it was written, and not removed since.
    pub is_stored: bool,
}

/// What would be lost with a pair, least first: of two that nobody needs now, the lower yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// Nothing ever moved.
    Nothing,
    /// It had so many bytes more of us in the open class than we of it: its loss alone.
    Taken(Bytes),
    /// We had so many bytes more of it in the open class.
    Given(Bytes),
    /// So much was paid either way, or was taken and not paid.
    Money(MicroCredits),
}

/// A pair as the session and its user see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairView {
    /// Bytes I acknowledged to it minus bytes it acknowledged to me.
    pub standing: i64,
    /// E: paid-class bytes granted to it and not paid.
    pub exposure: Bytes,
    /// W: the exposure allowed to it.
    pub window: Bytes,
    /// Most that E may be: W, or more for a while after W fell.
    pub limit: Bytes,
    /// The same without what a long history adds.
    pub window_plain: Bytes,
    /// It has paid for a whole piece.
    pub has_paid: bool,
    /// Bytes written off and not forgiven.
    pub lost: Bytes,
    /// It has taken what it may and has not paid since, or asked to close a lock while it owes.
    pub is_late: bool,
    /// Whether it gets no paid service after unpaid debt.
    pub backing_off: bool,
    /// What it paid, over all locks ever.
    pub paid: MicroCredits,
    /// What it paid for.
    pub paid_bytes: Bytes,
    /// What I owe it and have not signed.
    pub owed: MicroCredits,
    /// What I signed to it, over all locks ever.
    pub signed: MicroCredits,
}

impl Pair {
    /// A pair without history.
    pub fn new(me: NodeId, key: NodeId, window: Window, now: Instant) -> Self {
        Self {
            key,
            connections: BTreeSet::new(),
            piece_len: Bytes::ZERO,
            payer: Payer::default(),
            payee: Payee::new(window, now),
            acks: Acknowledgements::new(me, key),
            waits: false,
            seen_at: now,
            is_stored: false,
        }
    }

    /// The row to store.
    pub fn row(&self) -> PairRow {
        let mut row = PairRow {
            peer: self.key,
            due: self.payer.due(),
            signed: self.payer.signed(),
            paid: MicroCredits::ZERO,
            paid_carry: LOAN,
            paid_bytes: Bytes::ZERO,
            lost: Bytes::ZERO,
            backoff_level: 0,
            backoff_until: UnixTime::ZERO,
        };
        self.payee.store(&mut row);
        row
    }

    /// Whether nobody is connected, nothing is owed, and no lock stands between us.
    pub fn is_forgettable(&self) -> bool {
        self.is_idle() && self.payer.locks.is_empty() && self.payee.locks.is_empty()
    }

    /// Whether it may be forgotten if there is no room for another key: nobody is connected,
    /// nothing is owed, and every lock between us has been closed. The credit of such a lock has
    /// returned, and who shows it again is served a window on it at most, until the settlement node
    /// answers.
    pub fn may_yield(&self) -> bool {
        let payer_is_done = self.payer.locks.values().all(|lock| !lock.is_open());
        let mut earning = self.payee.locks.values();
        self.is_idle()
            && payer_is_done
            && earning.all(|lock| lock.state == Earning::Closed)
            && self.payee.is_settled()
    }

    /// Whether nobody is connected and nothing is owed.
    fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.payer.owed().is_zero()
    }

    /// What would be lost with it.
    pub fn worth(&self) -> Worth {
        let row = self.row();
        let unpaid = !row.lost.is_zero() || row.backoff_level > 0;
        if unpaid || row.due > RawCost::ZERO || row.paid > MicroCredits::ZERO {
            return Worth::Money(row.signed.max(row.paid));
        }
        let standing = self.acks.standing();
        let bytes = Bytes::new(standing.unsigned_abs());
        match standing {
            0 if self.acks.is_blank() => Worth::Nothing,
            // It may have acknowledged nothing of what it took.
            0 if self.acks.gave_nothing() => Worth::Taken(bytes),
            ..0 => Worth::Taken(bytes),
            0.. => Worth::Given(bytes),
        }
    }

    /// What is kept of it in the tally.
    pub fn stored_keys(&self) -> impl Iterator<Item = TallyKey> {
        let paying = self.payer.locks.values().map(|lock| lock.lock.body);
        let earning = self.payee.locks.values().map(|lock| lock.lock.body);
        let locks = paying.chain(earning).flat_map(lock_keys);
        let pair = self.is_stored.then_some(TallyKey::Pair(self.key));
        let acks = &self.acks;
        let ours = acks.ours.receipt.map(|_| acks.our_channel());
        let theirs = acks.theirs_kept().map(|_| acks.their_channel());
        let receipts = [ours, theirs].into_iter().flatten().map(TallyKey::Receipt);
        pair.into_iter().chain(receipts).chain(locks)
    }

    /// As the session and its user see it.
    pub fn view(&self) -> PairView {
        PairView {
            standing: self.acks.standing(),
            exposure: self.payee.exposure(),
            window: self.payee.window(),
            limit: self.payee.limit(),
            window_plain: self.payee.window_plain(),
            has_paid: self.payee.has_paid(),
            lost: self.payee.lost(),
            is_late: self.payee.conduct().is_late(),
            backing_off: self.payee.conduct().backoff_until() != UnixTime::ZERO,
            paid: self.payee.paid(),
            paid_bytes: self.payee.paid_bytes(),
            owed: self.payer.owed(),
            signed: self.payer.signed(),
        }
    }

    /// The lock of ours for the payee on which receipts are signed now, if any.
    pub fn paying_lock(&self) -> Option<LockId> {
        let mut open = self.payer.locks.iter().filter(|(_, lock)| lock.is_open());
        open.next_back().map(|(id, _)| *id)
    }
}

/// What is kept of a lock in the tally.
pub fn lock_keys(lock: Lock) -> [TallyKey; 2] {
    [
        TallyKey::Lock(lock.lock_id),
        TallyKey::Receipt(lock.channel()),
    ]
}

/// A pair's row as a copy of it carries it: without unsigned due, which both could sign (S4, F19a).
pub fn without_unsigned_due(row: PairRow) -> PairRow {
    PairRow {
        due: RawCost::of(row.signed),
        ..row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_ledger::Identity;

    #[test]
    fn m9_worth_grows_from_nothing_to_money() {
        let [few, many] = [1, 2].map(Bytes::new);
        let [little, much] = [0, 9].map(MicroCredits::new);
        let all = [
            Worth::Nothing,
            Worth::Taken(few),
            Worth::Taken(many),
            Worth::Given(few),
            Worth::Given(many),
            Worth::Money(little),
            Worth::Money(much),
        ];
        assert!(all.is_sorted_by(|one, other| one < other));
    }
    #[test]
    fn f19a_a_backup_carries_no_unsigned_due() {
        let [me, peer] = [1, 2].map(|secret| Identity::from_secret([secret; 32]).id());
        let mut row = Pair::new(me, peer, Window::V1, Instant::ZERO).row();
        row.due = RawCost::new(12 << 30);
        row.signed = MicroCredits::new(7);
        let kept = without_unsigned_due(row);
        assert_eq!(kept.due, RawCost::of(MicroCredits::new(7)));
        assert_eq!(kept.signed, row.signed);
    }
}
