//! Which boost pays for which micro-credit: shares of boosts in locks, exact at every moment.
//!
//! A lock is one pot that several boosts may fill. Of each rise in what is signed on it, a
//! torrent's part is paid, in this order, (1) from the shares of that torrent's boosts, oldest
//! first; (2) by those boosts out of their free budget, in exchange for a part of the lock that is
//! nobody's or that other boosts reserved, who get it back as free; (3) by what is nobody's; (4)
//! from the other boosts' shares, oldest first. A rise whose torrent is not known (what was signed
//! just before a crash) starts at the shares, oldest first. So a boost never pays above its budget,
//! and pays for another torrent only if that torrent's own boosts have nothing left.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Bytes, MicroCredits, NodeId, UnixTime};

use super::config::HINTS_MAX;
use super::day::Day;
use super::row::{Boost, Share};
use crate::units::TorrentId;

/// A lock we pay from, as the exchange holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLock {
    /// Its newest certificate, what was claimed, whether it is closed.
    pub status: LockStatus,
    /// What we signed on it in total.
    pub signed: MicroCredits,
    /// Whether its end is on its way.
    pub ending: Ending,
}

/// How far the end of a lock of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nobody asked for it.
    No,
    /// Asked for once nothing paid is under way; may be taken back.
    Soon,
    /// CLOSE was sent: nothing more is signed on it.
    Asked,
}

impl OwnLock {
    /// Its number.
    pub fn id(&self) -> LockId {
        self.status.lock.body.lock_id
    }

    /// For whom it is.
    pub fn payee(&self) -> NodeId {
        self.status.lock.body.payee
    }

    pub(super) fn amount(&self) -> MicroCredits {
        self.status.lock.body.amount
    }

    /// Signed away, or claimed if that is more: a restored payer learns from what was claimed.
    pub(super) fn used(&self) -> MicroCredits {
        self.signed.max(self.status.claimed).min(self.amount())
    }
}

/// All boosts, their shares and what the day cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) boosts: BTreeMap<u64, Boost>,
    /// What was signed on a lock at nobody's charge.
    unowned: BTreeMap<LockId, MicroCredits>,
    pub(super) day: Day,
    /// What the exchange said was signed for whom, not yet booked, by payee in order.
    hints: BTreeMap<NodeId, Vec<(TorrentId, MicroCredits)>>,
    /// Boosts whose row is older than they are.
    pub(super) dirty: BTreeSet<u64>,
    pub(super) day_is_dirty: bool,
}

impl Book {
    /// Takes in a stored boost.
    pub(super) fn restore(&mut self, id: u64, boost: Boost) {
        for (lock_id, share) in &boost.shares {
            let unowned = self.unowned.entry(*lock_id).or_default();
            *unowned = (*unowned).max(share.unowned);
        }
        self.boosts.insert(id, boost);
    }

    /// Remembers for which torrent a payee will be seen to have got more.
    pub(super) fn hint(&mut self, payee: NodeId, torrent_id: TorrentId, amount: MicroCredits) {
        let hints = self.hints.entry(payee).or_default();
        if let Some((_, known)) = hints.iter_mut().find(|(known, _)| *known == torrent_id) {
            *known = known.saturating_add(amount);
        } else if hints.len() < HINTS_MAX {
            hints.push((torrent_id, amount));
        }
        assert!(hints.len() <= HINTS_MAX, "hints of a payee are bounded");
    }

    /// Hints that no rise answered are of no use any more.
    pub(super) fn drop_hints(&mut self) {
        self.hints.clear();
    }

    /// Starts to keep the books of a lock. What was signed on it before any boost on record had a
    /// part in it is nobody's; on one that a boost asked for that is nothing.
    pub(super) fn open(&mut self, lock: &OwnLock) {
        if self.unowned.contains_key(&lock.id()) {
            return;
        }
        let asked_for = self
            .boosts
            .values()
            .any(|boost| boost.pending.contains_key(&lock.payee()));
        let unowned = if asked_for {
            MicroCredits::ZERO
        } else {
            lock.used()
        };
        self.unowned.insert(lock.id(), unowned);
    }

    /// Books what was signed on a lock since it was last looked at.
    pub(super) fn rise(&mut self, lock: &OwnLock, time: UnixTime) {
        let id = lock.id();
        let booked = self.booked(id);
        let Some(rise) = lock
            .used()
            .checked_sub(booked)
            .filter(|rise| !rise.is_zero())
        else {
            return;
        };
        self.day.add(rise, time);
        self.day_is_dirty = true;
        let mut left = rise;
        for (torrent_id, hinted) in self.take_hints(lock.payee(), rise) {
            self.charge(lock, Some(torrent_id), hinted);
            assert!(hinted <= left, "torrents' parts are at most the rise");
            left = left.saturating_sub(hinted);
        }
        self.charge(lock, None, left);
        assert!(self.booked(id) >= lock.used(), "a rise is booked in full");
    }

    /// Gives pending reservations for a payee the credit that is nobody's in this lock. Returns the
    /// boosts that got some, with what they have in the lock now.
    pub(super) fn assign(&mut self, lock: &OwnLock) -> Vec<(u64, MicroCredits)> {
        let (id, payee) = (lock.id(), lock.payee());
        let mut funded = Vec::new();
        let waiting: Vec<(u64, MicroCredits)> = self
            .boosts
            .iter()
            .filter(|(_, boost)| boost.may_share(id))
            .filter_map(|(boost, row)| Some((*boost, *row.pending.get(&payee)?)))
            .collect();
        for (boost, pending) in waiting {
            let amount = pending.min(self.unshared(lock));
            if amount.is_zero() {
                continue;
            }
            let row = self.boost_mut(boost);
            match pending.saturating_sub(amount) {
                MicroCredits::ZERO => row.pending.remove(&payee),
                left => row.pending.insert(payee, left),
            };
            self.add_share(boost, id, amount);
            let share = self.boosts.get(&boost).map(|row| row.shares[&id].amount);
            funded.extend(share.map(|share| (boost, share)));
        }
        funded
    }

    /// Lets a boost take over, from its free budget, up to `want` of a lock's credit that is
    /// nobody's or that ended boosts left behind. Returns how much.
    pub(super) fn adopt(&mut self, boost: u64, lock: &OwnLock, want: MicroCredits) -> MicroCredits {
        let Some(row) = self
            .boosts
            .get(&boost)
            .filter(|row| row.may_share(lock.id()))
        else {
            return MicroCredits::ZERO;
        };
        let want = want.min(row.free());
        let ended = |row: &Boost| !row.is_active();
        let taken = self.take_from(lock, want, boost, ended);
        assert!(taken <= want, "no more is taken over than is free");
        if !taken.is_zero() {
            self.add_share(boost, lock.id(), taken);
        }
        taken
    }

    /// The lock is closed: what was not claimed is free again, also where it was signed away, for
    /// nobody can claim it any more. What was claimed falls to each in proportion to what was
    /// signed at its charge; if nobody knows how much that is, all that was signed is spent.
    pub(super) fn fold(&mut self, lock_id: LockId, claimed: Option<MicroCredits>) {
        let signed = self.booked(lock_id);
        let claimed = claimed.map_or(signed, |claimed| claimed.min(signed));
        let mut before = self.unowned.remove(&lock_id).unwrap_or_default();
        for (id, boost) in &mut self.boosts {
            if let Some(share) = boost.shares.remove(&lock_id) {
                assert!(share.spent <= share.amount, "a share is not overspent");
                // Each up to its end less each up to its start: the parts add up to the whole.
                let after = before.saturating_add(share.spent);
                let start = part(claimed, before, signed);
                let spent = part(claimed, after, signed).saturating_sub(start);
                assert!(spent <= share.spent, "no more is spent than was signed");
                boost.settled = boost.settled.saturating_add(spent);
                self.dirty.insert(*id);
                before = after;
            }
        }
    }

    /// Gives up pending reservations for payees for whom nothing is under way any more; returns
    /// those payees.
    pub(super) fn release(&mut self, busy: &[NodeId]) -> Vec<NodeId> {
        let mut released = Vec::new();
        for (id, boost) in &mut self.boosts {
            let idle: Vec<NodeId> = boost
                .pending
                .keys()
                .filter(|payee| busy.binary_search(payee).is_err())
                .copied()
                .collect();
            for payee in idle {
                boost.pending.remove(&payee);
                self.dirty.insert(*id);
                released.push(payee);
            }
        }
        released
    }

    /// Keeps no books of locks that are gone.
    pub(super) fn forget_except(&mut self, known: impl Fn(LockId) -> bool) {
        self.unowned.retain(|id, _| known(*id));
    }

    /// Locks in which any boost has a share.
    pub(super) fn locks(&self) -> BTreeSet<LockId> {
        let ids = self.boosts.values().flat_map(|boost| boost.shares.keys());
        ids.copied().collect()
    }

    /// Whether boosts of other torrents have unspent shares in this lock.
    pub(super) fn is_shared(&self, lock_id: LockId, torrent_id: TorrentId) -> bool {
        self.shares(lock_id).any(|(id, share)| {
            self.boosts[&id].order.torrent_id != torrent_id && !share.left().is_zero()
        })
    }

    /// Ended boosts whose credit has not all returned.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = u64> {
        let ended = self.boosts.iter().filter(|(_, boost)| !boost.is_active());
        ended
            .filter(|(_, boost)| !boost.is_settled())
            .map(|(id, _)| *id)
    }

    /// Counts bytes that a payee was paid for to the boost that pays it for their torrent: the
    /// oldest active one with a share in a lock for it, or else the newest that ended.
    pub(super) fn paid_for(&mut self, torrent_id: TorrentId, locks: &[LockId], bytes: Bytes) {
        let shares = |boost: &Boost| locks.iter().any(|id| boost.shares.contains_key(id));
        let of = |boost: &Boost| boost.order.torrent_id == torrent_id && shares(boost);
        let mut active = self.boosts.iter().filter(|(_, boost)| boost.is_active());
        let payer = active.find(|(_, boost)| of(boost));
        let payer = payer.or_else(|| self.boosts.iter().rev().find(|(_, boost)| of(boost)));
        if let Some(id) = payer.map(|(id, _)| *id) {
            let report = &mut self.boost_mut(id).report;
            report.paid = report.paid.saturating_add(bytes);
        }
    }

    /// Free budgets of active boosts: credit that is promised.
    pub(super) fn committed(&self) -> MicroCredits {
        let active = self.boosts.values().filter(|boost| boost.is_active());
        active.fold(MicroCredits::ZERO, |sum, boost| {
            sum.saturating_add(boost.free())
        })
    }

    /// Reserved on behalf of boosts and not signed away.
    pub(super) fn locked(&self) -> MicroCredits {
        self.boosts.values().fold(MicroCredits::ZERO, |sum, boost| {
            sum.saturating_add(boost.locked())
        })
    }

    pub(super) fn boost_mut(&mut self, id: u64) -> &mut Boost {
        self.dirty.insert(id);
        self.boosts.get_mut(&id).expect("the caller found it")
    }

    /// Asserts what always holds, also against the locks as they stand.
    pub(super) fn check_invariants(&self, locks: &BTreeMap<LockId, OwnLock>) {
        for (id, boost) in &self.boosts {
            assert_ne!(*id, 0, "boosts are numbered from 1");
            boost.check_invariants();
        }
        self.day.check_invariants();
        for lock in locks.values() {
            let shares = self.shares(lock.id()).map(|(_, share)| share.amount);
            let sum = shares.fold(self.unowned(lock.id()), MicroCredits::saturating_add);
            assert!(sum <= lock.amount(), "shares fit their lock");
        }
    }

    fn shares(&self, lock_id: LockId) -> impl Iterator<Item = (u64, &Share)> {
        self.boosts
            .iter()
            .filter_map(move |(id, boost)| Some((*id, boost.shares.get(&lock_id)?)))
    }

    fn unowned(&self, lock_id: LockId) -> MicroCredits {
        self.unowned.get(&lock_id).copied().unwrap_or_default()
    }

    /// What is accounted for of what was signed on a lock.
    fn booked(&self, lock_id: LockId) -> MicroCredits {
        let spent = self.shares(lock_id).map(|(_, share)| share.spent);
        spent.fold(self.unowned(lock_id), MicroCredits::saturating_add)
    }

    /// Credit in a lock that is in nobody's share and was not signed away.
    fn unshared(&self, lock: &OwnLock) -> MicroCredits {
        let shares = self.shares(lock.id()).map(|(_, share)| share.amount);
        let taken = shares.fold(self.unowned(lock.id()), MicroCredits::saturating_add);
        lock.amount().saturating_sub(taken)
    }

    fn take_hints(&mut self, payee: NodeId, rise: MicroCredits) -> Vec<(TorrentId, MicroCredits)> {
        let Some(hints) = self.hints.get_mut(&payee) else {
            return Vec::new();
        };
        let mut left = rise;
        let mut taken = Vec::new();
        for (torrent_id, hinted) in hints.iter_mut() {
            let part = left.min(*hinted);
            *hinted = hinted.saturating_sub(part);
            left = left.saturating_sub(part);
            taken.push((*torrent_id, part));
        }
        hints.retain(|(_, hinted)| !hinted.is_zero());
        taken
    }

    /// Books `amount` of a rise, in the order told at the top of this file.
    fn charge(&mut self, lock: &OwnLock, subject: Option<TorrentId>, amount: MicroCredits) {
        let id = lock.id();
        let of_subject = |boost: &Boost| subject.is_none_or(|hash| boost.order.torrent_id == hash);
        let mut left = self.spend_shares(id, amount, of_subject);
        if subject.is_some() {
            let own: Vec<u64> = self
                .boosts
                .iter()
                .filter(|(_, boost)| of_subject(boost) && boost.may_share(id))
                .map(|(boost, _)| *boost)
                .collect();
            for boost in own {
                let want = left.min(self.boosts[&boost].free());
                let swapped = self.take_from(lock, want, boost, |other| !of_subject(other));
                if !swapped.is_zero() {
                    self.add_share(boost, id, swapped);
                    left = left.saturating_sub(swapped);
                    self.spend_share(boost, id, swapped);
                }
            }
        }
        let nobodys = left.min(self.unshared(lock));
        self.own_nothing(id, nobodys);
        left = left.saturating_sub(nobodys);
        left = self.spend_shares(id, left, |_| true);
        // Only a store that contradicts itself gets here: shares above the lock's amount.
        self.own_nothing(id, left);
    }

    /// Spends up to `amount` from the shares of boosts that `may` pay; returns what is left.
    fn spend_shares(
        &mut self,
        lock_id: LockId,
        amount: MicroCredits,
        may: impl Fn(&Boost) -> bool,
    ) -> MicroCredits {
        let mut left = amount;
        let payers: Vec<(u64, MicroCredits)> = self
            .shares(lock_id)
            .filter(|(id, _)| may(&self.boosts[id]))
            .map(|(id, share)| (id, share.left()))
            .collect();
        for (id, has) in payers {
            let part = left.min(has);
            if !part.is_zero() {
                self.spend_share(id, lock_id, part);
                left = left.saturating_sub(part);
            }
        }
        left
    }

    fn spend_share(&mut self, boost: u64, lock_id: LockId, amount: MicroCredits) {
        let share = self.boost_mut(boost).shares.get_mut(&lock_id);
        let share = share.expect("a share that pays exists");
        share.spent = share.spent.saturating_add(amount);
        assert!(share.spent <= share.amount, "a share is not overspent");
    }

    /// Takes up to `want` out of what is nobody's in a lock, then out of unspent shares of boosts
    /// other than `taker` that `may` give; those have it back as free. Returns how much.
    fn take_from(
        &mut self,
        lock: &OwnLock,
        want: MicroCredits,
        taker: u64,
        may: impl Fn(&Boost) -> bool,
    ) -> MicroCredits {
        let mut taken = want.min(self.unshared(lock));
        let givers: Vec<(u64, MicroCredits)> = self
            .shares(lock.id())
            .filter(|(id, _)| *id != taker && may(&self.boosts[id]))
            .map(|(id, share)| (id, share.left()))
            .collect();
        for (id, has) in givers {
            let part = has.min(want.saturating_sub(taken));
            if !part.is_zero() {
                let share = self.boost_mut(id).shares.get_mut(&lock.id());
                let share = share.expect("a share that gives exists");
                share.amount = share.amount.saturating_sub(part);
                assert!(
                    share.spent <= share.amount,
                    "a share gives what it has not spent"
                );
                taken = taken.saturating_add(part);
            }
        }
        assert!(taken <= want, "no more is taken than is wanted");
        taken
    }

    fn add_share(&mut self, boost: u64, lock_id: LockId, amount: MicroCredits) {
        let unowned = self.unowned(lock_id);
        let row = self.boost_mut(boost);
        let share = row.shares.entry(lock_id).or_insert(Share {
            unowned,
            ..Share::default()
        });
        share.amount = share.amount.saturating_add(amount);
        let bound = row.spent().checked_add(row.locked());
        assert!(
            bound.is_some_and(|bound| bound <= row.order.max),
            "a share comes out of a budget"
        );
    }

    /// Notes that `amount` was signed on a lock at nobody's charge.
    fn own_nothing(&mut self, lock_id: LockId, amount: MicroCredits) {
        if amount.is_zero() {
            return;
        }
        let unowned = self.unowned(lock_id).saturating_add(amount);
        self.unowned.insert(lock_id, unowned);
        for (id, boost) in &mut self.boosts {
            if let Some(share) = boost.shares.get_mut(&lock_id) {
                share.unowned = unowned;
                self.dirty.insert(*id);
            }
        }
    }
}

/// The part of `claimed` that falls to `some` of what was `signed`, rounded down.
fn part(claimed: MicroCredits, some: MicroCredits, signed: MicroCredits) -> MicroCredits {
    let scaled = u128::from(claimed.get()) * u128::from(some.get());
    let part = scaled.checked_div(u128::from(signed.get()));
    let part = u64::try_from(part.unwrap_or_default());
    MicroCredits::new(part.expect("no more than was claimed"))
}
