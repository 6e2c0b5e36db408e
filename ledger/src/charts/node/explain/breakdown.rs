//! The change of the balance by peer, by subject or by day: the same sums as by reason, cut
//! otherwise.

use std::collections::BTreeMap;

use crate::account::{AccountId, Commodity, Side};
use crate::charts::node::{Attribution, NodeCause, NodeChart, NodeCommand};
use crate::entry::Entry;
use crate::identity::NodeId;
use crate::ledger::{ENTRIES_MAX, Ledger, LedgerError};
use crate::posting::Posting;
use crate::signed::order::{OrderKind, SignedOrder};
use crate::statement::Operation;
use crate::store::StoreRead;
use crate::time::UnixTime;
use crate::units::Sequence;

/// Seconds in a UTC day.
const DAY: u64 = 86_400;

/// By what a change is broken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray)]
pub enum Grouping {
    /// By the other side's key.
    Peer,
    /// By the subject of [`Attribution`]: what a channel's change was made for.
    Subject,
    /// By UTC day.
    Day,
}

impl Grouping {
    /// Every grouping.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;
}

/// One group of a [`Grouping`]; how it is shown is left to whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// This peer.
    Peer(NodeId),
    /// This subject.
    Subject([u8; 20]),
    /// This UTC day, counted from 1970-01-01.
    Day(u64),
    /// What belongs to no peer, or to no subject.
    Rest,
}

/// One group's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLine {
    /// Which group.
    pub key: GroupKey,
    /// Credit added, or below zero taken away.
    pub change: i128,
    /// Credit earned by serving, what was forfeited later included.
    pub earned: u128,
    /// Credit spent on being served, what came back later included.
    pub spent: u128,
    /// Payload bytes served.
    pub given: u128,
    /// Payload bytes received.
    pub taken: u128,
    /// How many entries it is the sum of.
    pub entry_count: u64,
}

/// Where a balance came from, group by group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakdown {
    /// [`Balance::total`](super::super::Balance::total) before the first entry of the time asked
    /// for, or later.
    pub opening: i128,
    /// The groups whose sums are not zero, in the order of their keys.
    pub lines: Vec<GroupLine>,
    /// That total now: opening and lines, exactly.
    pub closing: i128,
    /// The last entry that is part of it.
    pub head: Sequence,
}

/// Sums of one group, or of an entry's share in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct GroupSums {
    change: i128,
    earned: u128,
    spent: u128,
    given: u128,
    taken: u128,
    entry_count: u64,
}

/// Change of the node's whole credit (available, locked and claimable) by an entry.
pub fn credit_change(entry: &Entry) -> i128 {
    let is_own = |posting: &&Posting| {
        matches!(
            posting.account,
            AccountId::Network | AccountId::Locked(_) | AccountId::Claimable(_)
        )
    };
    let changes = entry.postings.iter().filter(is_own);
    changes.fold(0, |sum, posting| {
        let amount = i128::from(posting.amount);
        match posting.side {
            Side::Credit => sum.saturating_add(amount),
            Side::Debit => sum.saturating_sub(amount),
        }
    })
}

/// Payload bytes that an entry accounts for.
pub fn payload(entry: &Entry) -> u128 {
    let is_payload = |posting: &&Posting| {
        posting.account.commodity() == Commodity::Bytes && posting.account != AccountId::Traffic
    };
    let amounts = entry.postings.iter().filter(is_payload);
    amounts.fold(0, |sum, posting| {
        sum.saturating_add(u128::from(posting.amount))
    })
}

/// The key on the other side of what `cause` tells `own`, if there is one.
pub fn other_side(cause: &NodeCause, own: NodeId) -> Option<NodeId> {
    let other = |one: NodeId, two: NodeId| if one == own { two } else { one };
    match cause {
        NodeCause::Genesis(_) | NodeCause::Join(_) => None,
        NodeCause::Command(NodeCommand::WriteOff { peer, .. }) => Some(*peer),
        NodeCause::Command(NodeCommand::ChannelSummary(summary)) => {
            Some(other(summary.channel.payer, summary.channel.payee))
        }
        NodeCause::Command(NodeCommand::Settled(line)) => {
            let by_lock = line.lock.map(|status| {
                let lock = status.lock.body;
                other(lock.payer, lock.payee)
            });
            let by_order = match &line.operation {
                Operation::Order(order) => receiver(order).map(|to| other(order.body.account, to)),
                Operation::Claim(_) | Operation::Expiry(_) => None,
            };
            by_lock.or(by_order)
        }
    }
}

fn receiver(order: &SignedOrder) -> Option<NodeId> {
    match &order.body.kind {
        OrderKind::Transfer { to, .. }
        | OrderKind::RotateKey { to }
        | OrderKind::Grant { to, .. } => Some(*to),
        OrderKind::OpenLock { payee, .. } => Some(*payee),
        OrderKind::TopUp { .. } | OrderKind::CloseLock { .. } | OrderKind::Burn { .. } => None,
    }
}

/// See [`NodeLedger::explain_by`](super::super::NodeLedger::explain_by).
pub(in crate::charts::node) fn explain_by<S: StoreRead>(
    ledger: &Ledger<NodeChart, S>,
    grouping: Grouping,
    since: UnixTime,
) -> Result<Breakdown, LedgerError> {
    let own = ledger.chart().owner();
    let mut opening: i128 = 0;
    let mut groups: BTreeMap<GroupKey, GroupSums> = BTreeMap::new();
    let mut head = Sequence::ZERO;
    let mut from = Sequence::ZERO;
    loop {
        let page = ledger.entries(from, ENTRIES_MAX)?;
        let Some(last) = page.last() else { break };
        head = last.sequence;
        from = head.next();
        for entry in &page {
            if entry.time < since {
                opening = opening.saturating_add(credit_change(entry));
                continue;
            }
            for (key, share) in shares(entry, &ledger.cause(entry)?, grouping, own) {
                groups.entry(key).or_default().add(share);
            }
        }
    }
    let changes = groups.values().map(|sums| sums.change);
    let closing = changes.fold(opening, i128::saturating_add);
    let lines = groups.into_iter().filter(|(_, sums)| !sums.is_nothing());
    let lines = lines.map(|(key, sums)| GroupLine {
        key,
        change: sums.change,
        earned: sums.earned,
        spent: sums.spent,
        given: sums.given,
        taken: sums.taken,
        entry_count: sums.entry_count,
    });
    Ok(Breakdown {
        opening,
        lines: lines.collect(),
        closing,
        head,
    })
}

/// The groups an entry belongs to; their sums add up to the entry's.
fn shares(
    entry: &Entry,
    cause: &NodeCause,
    grouping: Grouping,
    own: NodeId,
) -> Vec<(GroupKey, GroupSums)> {
    let whole = GroupSums::of(entry);
    match (grouping, cause) {
        (Grouping::Day, _) => vec![(GroupKey::Day(entry.time.as_secs() / DAY), whole)],
        (Grouping::Peer, _) => {
            let key = other_side(cause, own).map_or(GroupKey::Rest, GroupKey::Peer);
            vec![(key, whole)]
        }
        (Grouping::Subject, NodeCause::Command(NodeCommand::ChannelSummary(summary))) => {
            by_subject(whole, &summary.attribution)
        }
        (
            Grouping::Subject,
            NodeCause::Genesis(_)
            | NodeCause::Join(_)
            | NodeCause::Command(NodeCommand::Settled(_) | NodeCommand::WriteOff { .. }),
        ) => vec![(GroupKey::Rest, whole)],
    }
}

/// Splits a channel's change by subject; what is not attributed stays with the rest.
fn by_subject(whole: GroupSums, attribution: &[Attribution]) -> Vec<(GroupKey, GroupSums)> {
    let mut rest = whole;
    let mut shares = Vec::new();
    for share in attribution {
        let bytes = u128::from(share.bytes.get());
        let amount = u128::from(share.amount.get());
        let part = GroupSums {
            change: 0,
            earned: take(&mut rest.earned, amount),
            spent: take(&mut rest.spent, amount),
            given: take(&mut rest.given, bytes),
            taken: take(&mut rest.taken, bytes),
            entry_count: 1,
        };
        let change = narrow(part.earned).saturating_sub(narrow(part.spent));
        rest.change = rest.change.saturating_sub(change);
        shares.push((
            GroupKey::Subject(share.subject),
            GroupSums { change, ..part },
        ));
    }
    rest.entry_count = u64::from(attribution.is_empty());
    shares.push((GroupKey::Rest, rest));
    shares
}

/// Takes at most `most` from what is left; how much.
fn take(left: &mut u128, most: u128) -> u128 {
    let taken = most.min(*left);
    *left = left.saturating_sub(taken);
    taken
}

fn narrow(amount: u128) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}

impl GroupSums {
    /// What one entry comes to.
    fn of(entry: &Entry) -> Self {
        let mut sums = Self {
            change: credit_change(entry),
            entry_count: 1,
            ..Self::default()
        };
        for posting in entry.postings.iter() {
            let sum = match (posting.account, posting.side) {
                (AccountId::Earned, Side::Debit) => &mut sums.earned,
                (AccountId::Signed(_), Side::Credit) => &mut sums.spent,
                (AccountId::Given(_) | AccountId::Unsigned(_), Side::Credit) => &mut sums.given,
                (AccountId::Taken(_), Side::Credit) => &mut sums.taken,
                // The other sides, and what is neither for serving nor for being served.
                _ => continue,
            };
            *sum = sum.saturating_add(u128::from(posting.amount));
        }
        sums
    }

    fn add(&mut self, share: Self) {
        self.change = self.change.saturating_add(share.change);
        self.earned = self.earned.saturating_add(share.earned);
        self.spent = self.spent.saturating_add(share.spent);
        self.given = self.given.saturating_add(share.given);
        self.taken = self.taken.saturating_add(share.taken);
        self.entry_count = self.entry_count.saturating_add(share.entry_count);
    }

    fn is_nothing(&self) -> bool {
        self.change == 0 && self.earned == 0 && self.spent == 0 && self.payload() == 0
    }

    fn payload(&self) -> u128 {
        self.given.saturating_add(self.taken)
    }
}

impl GroupLine {
    /// Payload bytes either way.
    pub fn payload(&self) -> u128 {
        self.given.saturating_add(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, MicroCredits};

    fn share(byte: u8, bytes: u64, amount: u64) -> Attribution {
        Attribution {
            subject: [byte; 20],
            bytes: Bytes::new(bytes),
            amount: MicroCredits::new(amount),
        }
    }

    #[test]
    fn shares_by_subject_add_up_to_the_entry() {
        let whole = GroupSums {
            change: -100,
            spent: 100,
            taken: 50,
            entry_count: 1,
            ..GroupSums::default()
        };
        // The second share claims more than is left: it gets the rest.
        let shares = by_subject(whole, &[share(1, 20, 60), share(2, 40, 70)]);
        let changes: Vec<i128> = shares.iter().map(|(_, sums)| sums.change).collect();
        assert_eq!(changes, [-60, -40, 0]);
        let spent: Vec<u128> = shares.iter().map(|(_, sums)| sums.spent).collect();
        assert_eq!(spent, [60, 40, 0]);
        let taken: Vec<u128> = shares.iter().map(|(_, sums)| sums.taken).collect();
        assert_eq!(taken, [20, 30, 0]);
        assert_eq!(shares[2].0, GroupKey::Rest);
    }

    #[test]
    fn what_belongs_to_nobody_comes_last() {
        let peer = NodeId::from_bytes([255; 32]);
        assert!(GroupKey::Peer(peer) < GroupKey::Rest);
        assert!(GroupKey::Subject([255; 20]) < GroupKey::Rest);
    }
}
