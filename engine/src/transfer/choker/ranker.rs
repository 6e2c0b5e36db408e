//! Another order of the open classes, which a strategic client puts in place of [`rank`].
//!
//! No node has one: `rank` decides alone unless [`Choker::set_ranker`] was called. What a ranker
//! says is a wish. It is granted here as far as slots, paid seats, dwell and interest allow, so
//! that nothing it says can break a rule that the rest of the session counts on.
//!
//! [`rank`]: super::rank
//! [`Choker::set_ranker`]: super::Choker::set_ranker

use std::collections::BTreeMap;
use std::fmt;

use seedbank_ledger::Instant;

use super::{Class, Decision, RankRow, Ranking, Reason, SlotPolicy};
use crate::units::PeerIndex;

/// Largest weight of a choice; a heavier one counts as this.
pub const WEIGHT_MAX: u64 = 1 << 50;

/// Chooses who of the open classes is unchoked, and who of them gets how much.
pub trait Ranker: fmt::Debug + Send {
    /// Whom it would unchoke for the coming round, the dearest first.
    ///
    /// `rows` are those who have no paid seat and may be unchoked, in order of peers. Choices past
    /// the slots, of anybody else, and a second one of the same peer count for nothing; who is
    /// within dwell stays in any case.
    fn choose(&mut self, rows: &[RankRow], policy: &SlotPolicy, now: Instant) -> Vec<RankChoice>;
}

/// Somebody whom a ranker would unchoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankChoice {
    /// Whom.
    pub peer: PeerIndex,
    /// Its share of the open class's bandwidth relative to the others', from 1 to [`WEIGHT_MAX`];
    /// what is outside counts as the nearest of both.
    pub weight: u64,
}

/// The round as this ranker would have it. Paid seats and who is within dwell are as ranked.
pub(super) fn overrule(
    ranker: &mut dyn Ranker,
    ranking: Ranking,
    rows: &[RankRow],
    policy: &SlotPolicy,
    now: Instant,
) -> Ranking {
    let by_peer: BTreeMap<PeerIndex, &RankRow> =
        rows.iter().map(|row| (row.candidate.peer, row)).collect();
    let decisions = ranking.decisions;
    let is_paid = |one: &Decision| one.class == Some(Class::Paid);
    let holds = |one: &Decision| one.class.is_some() && by_peer[&one.peer].choke.holds(now);
    let may_sit = |row: &RankRow| row.candidate.refusal().is_none() && !row.choke.rests(now);
    let open = decisions.iter().filter(|one| !is_paid(one));
    let open: Vec<RankRow> = open.map(|one| *by_peer[&one.peer]).collect();
    let able: Vec<RankRow> = open.into_iter().filter(may_sit).collect();
    let kept = decisions.iter().filter(|one| is_paid(one) || holds(one));
    let mut free = policy.slots.saturating_sub(kept.count());
    let mut weights: BTreeMap<PeerIndex, u64> = BTreeMap::new();
    let held: BTreeMap<PeerIndex, bool> =
        decisions.iter().map(|one| (one.peer, holds(one))).collect();
    for RankChoice { peer, weight } in ranker.choose(&able, policy, now) {
        let is_able = able.binary_search_by_key(&peer, |row| row.candidate.peer);
        if is_able.is_err() || weights.contains_key(&peer) {
            continue;
        }
        if !held[&peer] {
            let Some(left) = free.checked_sub(1) else {
                continue;
            };
            free = left;
        }
        weights.insert(peer, weight.clamp(1, WEIGHT_MAX));
    }
    let decide = |one: Decision| match weights.get(&one.peer) {
        _ if is_paid(&one) => one,
        Some(weight) if holds(&one) => Decision {
            weight: *weight,
            ..one
        },
        Some(weight) => Decision {
            weight: *weight,
            ..Decision::open(one.peer, Some(Class::Reciprocal), Reason::Reciprocal)
        },
        None if holds(&one) || one.class.is_none() => one,
        None => Decision::open(one.peer, None, Reason::Outranked),
    };
    Ranking {
        decisions: decisions.iter().copied().map(decide).collect(),
        clearing_price: ranking.clearing_price,
    }
}
