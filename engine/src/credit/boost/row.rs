//! One boost with its shares in locks, and the bytes it is stored as.

use std::collections::BTreeMap;

use seedbank_ledger::layout::{LayoutError, Reader, Writer};
use seedbank_ledger::settlement::REQUEST_ID_LEN_MAX;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::{Bytes, MicroCredits, NodeId, Rate, UnixTime};

use super::config::{PAYEES_MAX, SHARES_MAX};
use super::order::{BoostOrder, BoostReport, BoostState};
use crate::units::TorrentId;

/// Part of a lock's credit that one boost reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Reserved, what was spent of it included.
    pub(super) amount: MicroCredits,
    /// Signed away.
    pub(super) spent: MicroCredits,
    /// What was signed on this lock at nobody's charge; the same in every share of a lock.
    pub(super) unowned: MicroCredits,
}

impl Share {
    pub(super) fn left(&self) -> MicroCredits {
        self.amount.saturating_sub(self.spent)
    }
}

/// A boost. `spent + locked + free = max`, always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Boost {
    pub(super) order: BoostOrder,
    pub(super) created_at: UnixTime,
    pub(super) state: BoostState,
    /// Spent on locks that are closed.
    pub(super) settled: MicroCredits,
    /// At most [`SHARES_MAX`].
    pub(super) shares: BTreeMap<LockId, Share>,
    /// Asked to be reserved and not seen in a lock yet, by payee; at most [`PAYEES_MAX`].
    pub(super) pending: BTreeMap<NodeId, MicroCredits>,
    /// What it came to so far.
    pub(super) report: BoostReport,
}

impl Boost {
    pub(super) fn new(order: BoostOrder, created_at: UnixTime) -> Self {
        Self {
            order,
            created_at,
            state: BoostState::Active,
            settled: MicroCredits::ZERO,
            shares: BTreeMap::new(),
            pending: BTreeMap::new(),
            report: BoostReport::default(),
        }
    }

    /// When it ends by itself.
    pub(super) fn until(&self) -> Option<UnixTime> {
        let secs = self.order.time_to_live_secs;
        secs.map(|secs| self.created_at.plus_secs(secs))
    }

    pub(super) fn is_active(&self) -> bool {
        self.state == BoostState::Active
    }

    /// Whether what it spent can still change: it is active, or some credit has not returned.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_active() && self.shares.is_empty() && self.pending.is_empty()
    }

    /// Signed away on its behalf.
    pub(super) fn spent(&self) -> MicroCredits {
        let spent = self.shares.values().map(|share| share.spent);
        spent.fold(self.settled, MicroCredits::saturating_add)
    }

    /// Reserved on its behalf, or on its way there, and not signed away.
    pub(super) fn locked(&self) -> MicroCredits {
        let left = self.shares.values().map(Share::left);
        left.chain(self.pending.values().copied())
            .fold(MicroCredits::ZERO, MicroCredits::saturating_add)
    }

    /// Neither spent nor locked.
    pub(super) fn free(&self) -> MicroCredits {
        let bound = self.spent().saturating_add(self.locked());
        self.order.max.saturating_sub(bound)
    }

    /// What it can still sign away on this lock without more being reserved.
    pub(super) fn left_on(&self, lock_id: LockId) -> MicroCredits {
        self.shares
            .get(&lock_id)
            .map_or(MicroCredits::ZERO, Share::left)
    }

    /// Whether it has a share in this lock or room for one more.
    pub(super) fn may_share(&self, lock_id: LockId) -> bool {
        self.shares.contains_key(&lock_id) || self.shares.len() < SHARES_MAX
    }

    /// Asserts, before it is written, that `spent + locked + free = max`. O(shares).
    pub(super) fn check_invariants(&self) {
        assert!(self.shares.len() <= SHARES_MAX, "shares are bounded");
        assert!(self.pending.len() <= PAYEES_MAX, "payees are bounded");
        for share in self.shares.values() {
            assert!(share.spent <= share.amount, "a share is not overspent");
        }
        let spent = self.spent();
        let sum = spent
            .checked_add(self.locked())
            .and_then(|sum| sum.checked_add(self.free()));
        assert_eq!(sum, Some(self.order.max), "spent + locked + free = max");
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.check_invariants();
        let order = &self.order;
        let until = self.until().map_or(0, UnixTime::as_secs);
        let shares = u8::try_from(self.shares.len()).expect("shares are bounded");
        let pending = u8::try_from(self.pending.len()).expect("payees are bounded");
        let out = Writer::new()
            .u8(VERSION)
            .u8(state_code(self.state))
            .bytes(&order.torrent_id.0)
            .u64(order.max.get())
            .u64(order.bid.get())
            .u8(u8::from(order.time_to_live_secs.is_some()))
            .u64(until)
            .u64(self.created_at.as_secs())
            .u64(self.settled.get())
            .sized(order.request_id.as_bytes())
            .u8(shares);
        let share = |out: Writer, (id, share): (&LockId, &Share)| {
            out.u64(id.get())
                .u64(share.amount.get())
                .u64(share.spent.get())
                .u64(share.unowned.get())
        };
        let out = self.shares.iter().fold(out, share).u8(pending);
        let pending = |out: Writer, (payee, amount): (&NodeId, &MicroCredits)| {
            out.bytes(payee.as_bytes()).u64(amount.get())
        };
        let report = &self.report;
        self.pending
            .iter()
            .fold(out, pending)
            .u64(report.paid.get())
            .u8(u8::from(report.rate_before.is_some()))
            .u64(report.rate_before.unwrap_or(Bytes::ZERO).get())
            .u64(report.boosted.get())
            .u64(report.boosted_ms)
            .finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        check_version(from, VERSION)?;
        let state = read_state(from)?;
        let torrent_id = TorrentId(from.array()?);
        let max = MicroCredits::new(from.u64()?);
        let bid = Rate::new(from.u64()?);
        let until = read_until(from)?;
        let created_at = UnixTime::from_secs(from.u64()?);
        let settled = MicroCredits::new(from.u64()?);
        let request_id = from.sized("request id", REQUEST_ID_LEN_MAX)?;
        let request_id = std::str::from_utf8(request_id).map_err(|error| LayoutError::Value {
            field: "request id",
            value: u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX),
        })?;
        let boost = Self {
            order: BoostOrder {
                request_id: request_id.to_owned(),
                torrent_id,
                max,
                bid,
                time_to_live_secs: lasts(created_at, until)?,
            },
            created_at,
            state,
            settled,
            shares: read_shares(from)?,
            pending: read_pending(from)?,
            report: read_report(from)?,
        };
        reader.end()?;
        boost.check_sums()?;
        Ok(boost)
    }

    /// The sums of a stored row hold, or it is no row of ours.
    fn check_sums(&self) -> Result<(), LayoutError> {
        let parts = self.shares.values().map(|share| share.amount);
        let parts = parts.chain(self.pending.values().copied());
        let total = parts
            .chain([self.settled])
            .try_fold(MicroCredits::ZERO, MicroCredits::checked_add);
        let fits = total.is_some_and(|total| total <= self.order.max);
        let overspent = self
            .shares
            .values()
            .find(|share| share.spent > share.amount);
        if let Some(share) = overspent {
            return Err(LayoutError::Value {
                field: "spent",
                value: share.spent.get(),
            });
        }
        if !fits {
            return Err(LayoutError::Value {
                field: "max",
                value: self.order.max.get(),
            });
        }
        Ok(())
    }
}

/// Reads the version byte.
pub(super) fn check_version(from: &mut Reader<'_>, version: u8) -> Result<(), LayoutError> {
    match from.u8()? {
        found if found == version => Ok(()),
        found => Err(LayoutError::Value {
            field: "version",
            value: found.into(),
        }),
    }
}

fn read_until(from: &mut Reader<'_>) -> Result<Option<UnixTime>, LayoutError> {
    let flag = from.u8()?;
    let until = from.u64()?;
    match (flag, until) {
        (0, 0) => Ok(None),
        (1, until) => Ok(Some(UnixTime::from_secs(until))),
        (_, value) => Err(LayoutError::Value {
            field: "until",
            value,
        }),
    }
}

/// How many seconds after `begin` it ends.
fn lasts(begin: UnixTime, end: Option<UnixTime>) -> Result<Option<u64>, LayoutError> {
    let Some(end) = end else {
        return Ok(None);
    };
    let secs = end.as_secs().checked_sub(begin.as_secs());
    secs.map(Some).ok_or(LayoutError::Value {
        field: "until",
        value: end.as_secs(),
    })
}

fn read_shares(from: &mut Reader<'_>) -> Result<BTreeMap<LockId, Share>, LayoutError> {
    let count = read_count(from, "shares", SHARES_MAX)?;
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let id = LockId::new(from.u64()?);
        let share = Share {
            amount: MicroCredits::new(from.u64()?),
            spent: MicroCredits::new(from.u64()?),
            unowned: MicroCredits::new(from.u64()?),
        };
        if shares.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(LayoutError::Value {
                field: "lock",
                value: id.get(),
            });
        }
        shares.insert(id, share);
    }
    Ok(shares)
}

fn read_pending(from: &mut Reader<'_>) -> Result<BTreeMap<NodeId, MicroCredits>, LayoutError> {
    let count = read_count(from, "pending", PAYEES_MAX)?;
    let mut pending = BTreeMap::new();
    for _ in 0..count {
        let payee = NodeId::from_bytes(from.array()?);
        let amount = from.u64()?;
        if pending
            .last_key_value()
            .is_some_and(|(last, _)| *last >= payee)
        {
            return Err(LayoutError::Value {
                field: "payee",
                value: amount,
            });
        }
        pending.insert(payee, MicroCredits::new(amount));
    }
    Ok(pending)
}

fn read_report(from: &mut Reader<'_>) -> Result<BoostReport, LayoutError> {
    let paid = Bytes::new(from.u64()?);
    let rate_before = match (from.u8()?, from.u64()?) {
        (0, 0) => None,
        (1, rate) => Some(Bytes::new(rate)),
        (_, value) => {
            return Err(LayoutError::Value {
                field: "rate before",
                value,
            });
        }
    };
    Ok(BoostReport {
        paid,
        rate_before,
        boosted: Bytes::new(from.u64()?),
        boosted_ms: from.u64()?,
    })
}

fn read_count(from: &mut Reader<'_>, field: &'static str, max: usize) -> Result<u8, LayoutError> {
    let count = from.u8()?;
    if usize::from(count) > max {
        return Err(LayoutError::TooLong {
            field,
            len: count.into(),
            max,
        });
    }
    Ok(count)
}

fn state_code(state: BoostState) -> u8 {
    match state {
        BoostState::Active => 1,
        BoostState::Completed => 2,
        BoostState::Exhausted => 3,
        BoostState::Cancelled => 4,
        BoostState::Expired => 5,
    }
}

fn read_state(from: &mut Reader<'_>) -> Result<BoostState, LayoutError> {
    match from.u8()? {
        1 => Ok(BoostState::Active),
        2 => Ok(BoostState::Completed),
        3 => Ok(BoostState::Exhausted),
        4 => Ok(BoostState::Cancelled),
        5 => Ok(BoostState::Expired),
        value => Err(LayoutError::Value {
            field: "state",
            value: value.into(),
        }),
    }
}

const VERSION: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;
    use seedbank_ledger::tally::BOOST_LEN_MAX;

    use super::*;

    prop_compose! {
        fn shares()(raw in btree_map(
            any::<u64>(),
            (0..1_000_u64, 0..1_000_u64, any::<u64>()),
            0..=SHARES_MAX,
        ))
            -> BTreeMap<LockId, Share> {
            let share = |(a, b, c): (u64, u64, u64)| Share {
                amount: MicroCredits::new(a.max(b)),
                spent: MicroCredits::new(a.min(b)),
                unowned: MicroCredits::new(c),
            };
            raw.into_iter().map(|(id, raw)| (LockId::new(id), share(raw))).collect()
        }
    }

    prop_compose! {
        fn boosts()(
            request_id in "[ -~]{0,128}",
            hash in any::<[u8; 20]>(),
            (bid, max, created, settled) in
                (any::<u64>(), 20_000_u64.., 0..u64::MAX / 2, 0..1_000_u64),
            time_to_live_secs in proptest::option::of(0..u64::MAX / 2),
            state in 0..5_usize,
            shares in shares(),
            pending in btree_map(any::<[u8; 32]>(), 0..1_000_u64, 0..=PAYEES_MAX),
            (paid, before, boosted, boosted_ms) in any::<(u64, Option<u64>, u64, u64)>(),
        ) -> Boost {
            let states = [BoostState::Active, BoostState::Completed, BoostState::Exhausted,
                BoostState::Cancelled, BoostState::Expired];
            let pending = pending.into_iter();
            Boost {
                order: BoostOrder {
                    request_id,
                    torrent_id: TorrentId(hash),
                    max: MicroCredits::new(max),
                    bid: Rate::new(bid),
                    time_to_live_secs,
                },
                created_at: UnixTime::from_secs(created),
                state: states[state],
                settled: MicroCredits::new(settled),
                shares,
                pending: pending
                    .map(|(id, amount)| (NodeId::from_bytes(id), MicroCredits::new(amount)))
                    .collect(),
                report: BoostReport {
                    paid: Bytes::new(paid),
                    rate_before: before.map(Bytes::new),
                    boosted: Bytes::new(boosted),
                    boosted_ms,
                },
            }
        }
    }

    proptest! {
        #[test]
        fn a_boost_comes_back_from_its_row(boost in boosts()) {
            let bytes = boost.to_bytes();
            prop_assert!(bytes.len() <= BOOST_LEN_MAX);
            prop_assert_eq!(Boost::from_bytes(&bytes), Ok(boost));
        }

        #[test]
        fn a_row_with_a_byte_too_few_or_many_is_refused(boost in boosts()) {
            let mut bytes = boost.to_bytes();
            bytes.push(0);
            prop_assert!(Boost::from_bytes(&bytes).is_err());
            bytes.truncate(bytes.len() - 2);
            prop_assert!(Boost::from_bytes(&bytes).is_err());
        }

        #[test]
        fn garbage_never_panics_and_never_has_wrong_sums(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            if let Ok(boost) = Boost::from_bytes(&bytes) {
                prop_assert_eq!(boost.to_bytes(), bytes);
                prop_assert!(boost.free() <= boost.order.max);
            }
        }
    }

    #[test]
    fn the_longest_row_fits() {
        let share = Share {
            amount: MicroCredits::new(1),
            ..Share::default()
        };
        let boost = Boost {
            order: BoostOrder {
                request_id: "x".repeat(REQUEST_ID_LEN_MAX),
                torrent_id: TorrentId([1; 20]),
                max: MicroCredits::MAX,
                bid: Rate::MAX,
                time_to_live_secs: Some(1),
            },
            created_at: UnixTime::from_secs(u64::MAX - 1),
            state: BoostState::Active,
            settled: MicroCredits::ZERO,
            shares: (0..20).map(|id| (LockId::new(id), share)).collect(),
            pending: (0..4)
                .map(|id| (NodeId::from_bytes([id; 32]), MicroCredits::new(1)))
                .collect(),
            report: BoostReport::default(),
        };
        assert_eq!(
            (boost.shares.len(), boost.pending.len()),
            (SHARES_MAX, PAYEES_MAX)
        );
        assert_eq!(boost.to_bytes().len(), 1_028);
        assert!(boost.to_bytes().len() <= BOOST_LEN_MAX);
    }
}
