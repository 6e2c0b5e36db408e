//! A second opinion on a node's ledger: what one party has, owes and is owed, in plain numbers.
//!
//! Written from the glossary's accounts and the public types' own words. It goes by what lines and
//! receipts say happened; that they were signed is its driver's affair.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::charts::node::BalanceReason;
use seedbank_ledger::refusal::Refusal;

use crate::book::Party;

/// A line of the party's statement: an operation that was carried out, or was not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Refused,
    Granted(Party, u64),
    Burned(u64),
    Transferred(Party, Party, u64),
    Opened(u64, Party, Party, u64),
    ToppedUp(u64, u64),
    Ended(u64, Party, Party),
    Claimed(u64, Party, Party, ClaimedOf),
    HandedOver(Party, Party, u64),
}

/// A claim: its receipt's totals, and the lock's amount at that time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimedOf {
    pub(crate) bytes: u64,
    pub(crate) amount: u64,
    pub(crate) lock_amount: u64,
}

/// A receipt that is booked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) payer: Party,
    pub(crate) payee: Party,
    /// `None`: an acknowledgement.
    pub(crate) lock: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) amount: u64,
    pub(crate) lock_amount: u64,
    /// What a payee says that it served.
    pub(crate) served: u64,
    pub(crate) shares: [(u64, u64); 2],
    pub(crate) is_other_network: bool,
    /// Of another channel, or not signed by its payer.
    pub(crate) is_bad: bool,
}

impl Summary {
    fn key(&self) -> ChannelKey {
        (self.payer, self.payee, self.lock, self.is_other_network)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Entered(u64),
    Known,
    Refused(Refusal),
}

/// A reason's bytes, credit and entries.
pub(crate) type Sum = (BalanceReason, u128, u128, usize);

/// Payer, payee, lock, and whether it is another network's.
type ChannelKey = (Party, Party, Option<u64>, bool);

#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    bytes: u128,
    amount: u128,
    booked: u128,
}

#[derive(Clone, Debug)]
struct OwnLock {
    payer: Party,
    payee: Party,
    amount: u128,
    claimed: u128,
    is_closed: bool,
}

/// What an entry adds to the explanation.
#[derive(Clone, Copy, Debug)]
struct Part {
    sequence: u64,
    time: u64,
    reason: BalanceReason,
    bytes: u128,
    amount: u128,
    /// For what it was received or served, if it was.
    service: Option<Service>,
}

/// Who was on the other side, and bytes and credit of each subject.
#[derive(Clone, Copy, Debug)]
struct Service {
    peer: Party,
    shares: [(u64, u64); 2],
}

/// A group of a breakdown: a peer, a subject by its number from 1, or what belongs to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Peer(Party),
    Subject(u8),
    Rest,
}

/// Credit earned and spent, bytes given and taken.
pub(crate) type FourSums = [u128; 4];

/// Every number of one party.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnBook {
    me: Party,
    pub(crate) available: u128,
    locked: BTreeMap<u64, u128>,
    signed: BTreeMap<u64, u128>,
    claimable: BTreeMap<u64, u128>,
    /// Peer → taken, given, unsigned.
    pub(crate) bytes: BTreeMap<Party, [u128; 3]>,
    channels: BTreeMap<ChannelKey, Channel>,
    locks: BTreeMap<u64, OwnLock>,
    parts: Vec<Part>,
    /// Time of each entry, and the total after it.
    totals: Vec<(u64, u128)>,
    pub(crate) next: u64,
    pub(crate) time: u64,
}

fn four(reason: BalanceReason, bytes: u128, amount: u128) -> FourSums {
    match reason {
        BalanceReason::Earned => [amount, 0, bytes, 0],
        BalanceReason::Spent => [0, amount, 0, bytes],
        BalanceReason::GivenAcknowledged | BalanceReason::GivenUnsigned => [0, 0, bytes, 0],
        BalanceReason::TakenAcknowledged => [0, 0, 0, bytes],
        other => panic!("{other:?} is no service"),
    }
}

fn add(groups: &mut BTreeMap<Group, FourSums>, group: Group, sums: FourSums) {
    if sums != [0; 4] {
        let known = groups.entry(group).or_default();
        *known = std::array::from_fn(|place| known[place] + sums[place]);
    }
}

fn total(of: &BTreeMap<u64, u128>) -> u128 {
    of.values().sum()
}

impl OwnBook {
    /// A ledger whose first two entries say whose it is and which network it joined.
    pub(crate) fn new(me: Party, now: u64) -> Self {
        Self {
            me,
            totals: vec![(now, 0); 2],
            next: 2,
            time: now,
            ..Self::default()
        }
    }

    pub(crate) fn holds(&self) -> [u128; 4] {
        let [locked, signed, claimable] = [&self.locked, &self.signed, &self.claimable].map(total);
        [self.available, locked, signed, claimable]
    }

    fn total(&self) -> u128 {
        let [available, locked, _, claimable] = self.holds();
        available + locked + claimable
    }

    /// What must be explained from `since` on: opening, lines, closing.
    pub(crate) fn explain(&self, since: u64) -> (u128, Vec<Sum>, u128) {
        let before = self.totals.iter().take_while(|(time, _)| *time < since);
        let opening = before.last().map_or(0, |(_, total)| *total);
        let mut lines = Vec::new();
        for &reason in BalanceReason::ALL {
            let parts: Vec<_> = self
                .parts
                .iter()
                .filter(|part| part.reason == reason && part.time >= since)
                .collect();
            let bytes = parts.iter().map(|part| part.bytes).sum();
            let amount = parts.iter().map(|part| part.amount).sum();
            let entries: BTreeSet<u64> = parts.iter().map(|part| part.sequence).collect();
            if (bytes, amount) != (0, 0) {
                lines.push((reason, bytes, amount, entries.len()));
            }
        }
        (opening, lines, self.total())
    }

    fn part(&mut self, reason: BalanceReason, bytes: u128, amount: u128) {
        self.serve(reason, bytes, amount, None);
    }

    fn serve(
        &mut self,
        reason: BalanceReason,
        bytes: u128,
        amount: u128,
        service: Option<Service>,
    ) {
        if (bytes, amount) != (0, 0) {
            self.parts.push(Part {
                sequence: self.next,
                time: self.time,
                reason,
                bytes,
                amount,
                service,
            });
        }
    }

    /// What was earned and spent, given and taken, from `since` on, with each peer.
    pub(crate) fn by_peer(&self, since: u64) -> BTreeMap<Group, FourSums> {
        let mut groups = BTreeMap::new();
        for part in self.parts.iter().filter(|part| part.time >= since) {
            if let Some(service) = part.service {
                let whole = four(part.reason, part.bytes, part.amount);
                add(&mut groups, Group::Peer(service.peer), whole);
            }
        }
        groups
    }

    /// The same for each subject: what is said of it, as far as so much was counted at all.
    pub(crate) fn by_subject(&self, since: u64) -> BTreeMap<Group, FourSums> {
        let mut groups = BTreeMap::new();
        for part in self.parts.iter().filter(|part| part.time >= since) {
            let Some(service) = part.service else {
                continue;
            };
            let (mut bytes, mut amount) = (part.bytes, part.amount);
            for (share, subject) in service.shares.iter().zip(1..) {
                let (of_bytes, of_amount) = (bytes.min(share.0.into()), amount.min(share.1.into()));
                (bytes, amount) = (bytes - of_bytes, amount - of_amount);
                let sums = four(part.reason, of_bytes, of_amount);
                add(&mut groups, Group::Subject(subject), sums);
            }
            add(&mut groups, Group::Rest, four(part.reason, bytes, amount));
        }
        groups
    }

    fn enter(&mut self) -> u64 {
        self.totals.push((self.time, self.total()));
        self.next += 1;
        self.next - 1
    }

    /// A line that follows the one before it.
    pub(crate) fn line(&mut self, now: u64, event: Event) -> u64 {
        self.time = self.time.max(now);
        let me = self.me;
        match event {
            Event::Refused => {}
            Event::Granted(to, amount) if to == me => {
                self.available += u128::from(amount);
                self.part(BalanceReason::Granted, 0, amount.into());
            }
            // An issuer's line about somebody else's grant.
            Event::Granted(..) => {}
            Event::Burned(amount) => {
                self.pay(amount.into());
                self.part(BalanceReason::Burned, 0, amount.into());
            }
            Event::Transferred(from, to, amount) | Event::HandedOver(from, to, amount) => {
                if from == me {
                    self.pay(amount.into());
                    self.part(BalanceReason::Sent, 0, amount.into());
                }
                if to == me {
                    self.available += u128::from(amount);
                    self.part(BalanceReason::Received, 0, amount.into());
                }
            }
            Event::Opened(number, payer, payee, amount) => {
                assert_eq!(payer, me);
                self.know(number, payer, payee, 0);
                self.reserve(number, amount);
            }
            Event::ToppedUp(number, amount) => self.reserve(number, amount),
            Event::Claimed(number, payer, payee, of) => self.claimed(number, (payer, payee), of),
            Event::Ended(number, payer, payee) => {
                self.know(number, payer, payee, 0);
                self.ended(number);
            }
        }
        self.enter()
    }

    fn pay(&mut self, amount: u128) {
        self.available = self.available.checked_sub(amount).unwrap();
    }

    fn know(&mut self, number: u64, payer: Party, payee: Party, amount: u128) {
        let lock = self.locks.entry(number).or_insert(OwnLock {
            payer,
            payee,
            amount: 0,
            claimed: 0,
            is_closed: false,
        });
        lock.amount = lock.amount.max(amount);
    }

    fn reserve(&mut self, number: u64, amount: u64) {
        self.pay(amount.into());
        *self.locked.entry(number).or_default() += u128::from(amount);
        self.locks.get_mut(&number).unwrap().amount += u128::from(amount);
    }

    fn claimed(&mut self, number: u64, (payer, payee): (Party, Party), of: ClaimedOf) {
        self.know(number, payer, payee, of.lock_amount.into());
        // The line says nothing of what was served.
        self.book(
            (payer, payee, Some(number), false),
            (of.bytes.into(), of.amount.into()),
            0,
            [(0, 0); 2],
        );
        let lock = self.locks.get_mut(&number).unwrap();
        let worth = u128::from(of.amount.min(of.lock_amount));
        let paid = worth - lock.claimed;
        lock.claimed = worth;
        if payer == self.me {
            *self.signed.get_mut(&number).unwrap() -= paid;
        }
        if payee == self.me {
            *self.claimable.get_mut(&number).unwrap() -= paid;
            self.available += paid;
        }
    }

    fn ended(&mut self, number: u64) {
        let lock = self.locks.get_mut(&number).unwrap();
        lock.is_closed = true;
        let lock = lock.clone();
        if lock.payer == self.me {
            let locked = self.locked.insert(number, 0).unwrap_or(0);
            let signed = self.signed.insert(number, 0).unwrap_or(0);
            self.available += locked + signed;
            self.part(BalanceReason::Returned, 0, signed);
        }
        if lock.payee == self.me {
            let lost = self.claimable.insert(number, 0).unwrap_or(0);
            self.part(BalanceReason::Forfeited, 0, lost);
        }
    }

    /// Books a channel up to these totals; lower ones add nothing. A payee counts only bytes that
    /// it served.
    fn book(
        &mut self,
        key: ChannelKey,
        (bytes, amount): (u128, u128),
        served: u128,
        shares: [(u64, u64); 2],
    ) {
        let (payer, payee, number, _) = key;
        let mut channel = self.channels.get(&key).copied().unwrap_or_default();
        let more_bytes = bytes.saturating_sub(channel.bytes);
        // What was once signed stays signed: when a lock grows, the newest total is worth more.
        let amount = amount.max(channel.amount);
        let lock = number.map(|number| self.locks[&number].clone());
        let worth = lock.map_or(0, |lock| {
            if lock.is_closed {
                0
            } else {
                amount.min(lock.amount)
            }
        });
        let more = worth.saturating_sub(channel.booked);
        channel.bytes += more_bytes;
        channel.amount = amount;
        channel.booked += more;
        self.channels.insert(key, channel);
        let is_payer = payer == self.me;
        let more_bytes = if is_payer {
            more_bytes
        } else {
            more_bytes.min(served)
        };
        let peer = if is_payer { payee } else { payer };
        if is_payer {
            self.bytes.entry(payee).or_default()[0] += more_bytes;
            if let Some(number) = number {
                *self.locked.entry(number).or_default() -= more;
                *self.signed.entry(number).or_default() += more;
            }
        } else {
            self.bytes.entry(payer).or_default()[1] += more_bytes;
            if let Some(number) = number {
                *self.claimable.entry(number).or_default() += more;
            }
        }
        let reason = match (payer == self.me, number) {
            (true, Some(_)) => BalanceReason::Spent,
            (false, Some(_)) => BalanceReason::Earned,
            (true, None) => BalanceReason::TakenAcknowledged,
            (false, None) => BalanceReason::GivenAcknowledged,
        };
        self.serve(reason, more_bytes, more, Some(Service { peer, shares }));
    }

    pub(crate) fn summary(&mut self, now: u64, summary: &Summary) -> Told {
        let reasons = self.reasons(summary);
        if let Some(reason) = reasons.first() {
            return Told::Refused(*reason);
        }
        let key = summary.key();
        let mut after = self.clone();
        if let Some(number) = summary.lock
            && summary.payee == self.me
        {
            after.know(
                number,
                summary.payer,
                summary.payee,
                summary.lock_amount.into(),
            );
        }
        let totals = (summary.bytes.into(), summary.amount.into());
        let before = self.channels.get(&key).copied().unwrap_or_default();
        after.time = after.time.max(now);
        after.book(key, totals, summary.served.into(), summary.shares);
        let booked = after.channels[&key];
        // A receipt that says more is a new word, even if it is worth no more.
        if (booked.bytes, booked.amount, booked.booked)
            == (before.bytes, before.amount, before.booked)
        {
            return if self.channels.contains_key(&key) {
                Told::Known
            } else {
                Told::Refused(Refusal::AlreadyDone)
            };
        }
        let shares = summary.shares.iter().fold((0, 0), |sum, share| {
            (sum.0 + u128::from(share.0), sum.1 + u128::from(share.1))
        });
        let added = (
            u128::from(summary.bytes).saturating_sub(before.bytes),
            u128::from(summary.amount).saturating_sub(before.amount),
        );
        if shares.0 > added.0 || shares.1 > added.1 {
            return Told::Refused(Refusal::Overflow);
        }
        *self = after;
        Told::Entered(self.enter())
    }

    fn reasons(&self, summary: &Summary) -> BTreeSet<Refusal> {
        let mut reasons = BTreeSet::new();
        let mut refuse_if = |reason: Refusal, holds: bool| {
            if holds {
                reasons.insert(reason);
            }
        };
        let me = self.me;
        let is_acknowledgement = summary.lock.is_none();
        // An acknowledgement is no money: it stands whatever the network.
        refuse_if(
            Refusal::WrongNetwork,
            summary.is_other_network && !is_acknowledgement,
        );
        refuse_if(Refusal::SameParty, summary.payer == summary.payee);
        refuse_if(
            Refusal::NotParty,
            summary.payer != me && summary.payee != me,
        );
        refuse_if(Refusal::BadReceipt, summary.is_bad);
        refuse_if(
            Refusal::BadReceipt,
            is_acknowledgement && summary.amount != 0,
        );
        if let Some(number) = summary.lock {
            match self.locks.get(&number) {
                None => refuse_if(Refusal::LockUnknown, summary.payer == me),
                Some(lock) => {
                    let parties = (lock.payer, lock.payee);
                    let is_same = parties == (summary.payer, summary.payee);
                    refuse_if(Refusal::NotParty, !is_same);
                }
            }
        }
        let key = summary.key();
        let before = self.channels.get(&key).copied().unwrap_or_default();
        let (bytes, amount) = (u128::from(summary.bytes), u128::from(summary.amount));
        let is_crossed = (bytes < before.bytes && amount > before.amount)
            || (bytes > before.bytes && amount < before.amount);
        refuse_if(Refusal::ReceiptRegressed, is_crossed);
        reasons
    }

    pub(crate) fn write_off(&mut self, now: u64, peer: Party, bytes: u64) -> Told {
        if bytes == 0 {
            return Told::Refused(Refusal::BadAmount);
        }
        if peer == self.me {
            return Told::Refused(Refusal::SameParty);
        }
        self.bytes.entry(peer).or_default()[2] += u128::from(bytes);
        self.time = self.time.max(now);
        let shares = [(0, 0); 2];
        let service = Some(Service { peer, shares });
        self.serve(BalanceReason::GivenUnsigned, bytes.into(), 0, service);
        Told::Entered(self.enter())
    }
}
