//! What holds for any swarm, any policy and any history.

use super::*;
use crate::rng::Rng;
use proptest::prelude::{
    Strategy, TestCaseError, any, prop, prop_assert, prop_assert_eq, proptest,
};

fn any_candidate(peer: u64) -> impl Strategy<Value = Candidate> {
    let flags = (
        prop::bool::weighted(0.95),
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    let more = (
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.05),
        any::<bool>(),
    );
    let numbers = (0_u64..4_000, 0_u64..4_000, -3_i64..4, 0_u64..30);
    let since = prop::option::weighted(0.85, 0_u64..20);
    let group = prop::option::of(0_u64..3);
    let seat = (any::<bool>(), any::<bool>(), 0_u64..3);
    (flags, more, numbers, since, group, seat).prop_map(
        move |(flags, more, numbers, since, group, seat)| Candidate {
            peer: PeerIndex(peer),
            torrent_active: flags.0,
            seeding: flags.1,
            is_seed: flags.2,
            interested_since: since.map(at),
            snubbed: more.0,
            received_rate: numbers.0,
            sent_rate: numbers.1,
            standing: numbers.2,
            key: Some(key(peer)),
            bid: Rate::new(numbers.3),
            has_paid: seat.0,
            is_relaxed: seat.1,
            paid_bytes: 0,
            is_late: false,
            owes: if seat.1 { 0 } else { 1 << 20 },
            paid_recently: seat.2,
            window: 1,
            friend: more.1,
            pays: more.2,
            group,
        },
    )
}

fn any_swarm() -> impl Strategy<Value = Vec<Candidate>> {
    (1_u64..30).prop_flat_map(|count| (0..count).map(any_candidate).collect::<Vec<_>>())
}

fn any_policy() -> impl Strategy<Value = SlotPolicy> {
    let rules = prop::sample::select(vec![
        PaidRule::TopK,
        PaidRule::Proportional,
        PaidRule::UniformPrice,
    ]);
    (0_usize..12, 0_u8..110, rules).prop_map(|(slots, open_share_percent, rule)| SlotPolicy {
        slots,
        open_share_percent,
        rule,
        rate_min: Rate::new(10),
    })
}

/// When, whether unchoked, of whom, and from which class.
type Flip = (u64, bool, Candidate, Option<Class>);

proptest! {
    #[test]
    fn the_order_of_rows_changes_nothing(
        swarm in any_swarm(), policy in any_policy(), rng_seed in any::<u64>()
    ) {
        let rows = new_rows(&swarm);
        let mut shuffled = rows.clone();
        Rng::new(rng_seed).shuffle(&mut shuffled);
        let plans = [plan(&rows, &policy), plan(&shuffled, &policy)];
        prop_assert_eq!(&plans[0], &plans[1]);
        let ranking = rank(&rows, &plans[0], &policy, at(100));
        prop_assert_eq!(ranking, rank(&shuffled, &plans[1], &policy, at(100)));
    }

    /// The room that a round worked in says nothing to the next, and is not made anew for it.
    #[test]
    fn a_round_in_used_room_is_the_same_and_takes_no_more(
        swarms in prop::collection::vec(any_swarm(), 1..6), policy in any_policy()
    ) {
        let mut scratch = RankScratch::default();
        let mut ranking = Ranking::default();
        let most: Vec<Candidate> = (0..30).map(|peer| Candidate {
            group: Some(peer % 4),
            ..waiting(peer, 0)
        }).collect();
        let mut all = vec![most.clone(), most];
        all.extend(swarms);
        let mut rooms = Vec::new();
        for swarm in &all {
            let rows = new_rows(swarm);
            let plan = plan(&rows, &policy);
            let terms = RankTerms { plan: &plan, policy: &policy, now: at(100) };
            rank_into(&rows, &terms, &mut scratch, &mut ranking);
            prop_assert_eq!(&ranking, &rank(&rows, &plan, &policy, at(100)));
            rooms.push((scratch.room(), ranking.decisions.capacity()));
        }
        prop_assert!(rooms[1..].iter().all(|room| *room == rooms[1]), "{:?}", rooms);
    }

    #[test]
    fn no_slot_is_idle_while_somebody_may_have_it(swarm in any_swarm(), policy in any_policy()) {
        let ranking = ranked(&swarm, &policy);
        let unchoked = ranking.decisions.iter().filter(|one| one.class.is_some()).count();
        let eligible = swarm.iter().filter(|one| one.refusal().is_none()).count();
        let beyond = plan(&new_rows(&swarm), &policy).beyond;
        prop_assert!(unchoked >= eligible.min(policy.slots));
        prop_assert!(unchoked <= eligible.min(policy.slots + beyond));
    }

    #[test]
    fn the_open_share_is_never_sold(swarm in any_swarm(), policy in any_policy()) {
        let ranking = ranked(&swarm, &policy);
        let open_wanted = swarm
            .iter()
            .filter(|one| one.refusal().is_none() && !one.is_payer(&policy))
            .count();
        let open_due = open_wanted.min(policy.open_count_min());
        let beyond = plan(&new_rows(&swarm), &policy).beyond;
        let paid_count = peers_in(&ranking, Class::Paid).len() - beyond;
        prop_assert!(paid_count <= policy.slots - open_due);
        prop_assert!(paid_count <= policy.slots - policy.optimistic_count());
        prop_assert!(beyond == 0 || policy.for_sale(open_wanted) == 1);
    }

    /// A random life of a swarm: slots, dwell and reasons hold at every step.
    #[test]
    fn slots_and_dwell_hold_in_any_history(policy in any_policy(), steps in any_steps()) {
        live(Choker::new(policy, at(20)), policy, steps)?;
    }

    /// The same whatever a ranker says: of anybody, twice, too many, with any weight.
    #[test]
    fn slots_and_dwell_hold_under_any_ranker(
        policy in any_policy(), steps in any_steps(), rng_seed in any::<u64>()
    ) {
        let mut choker = Choker::new(policy, at(20));
        choker.set_ranker(Some(Box::new(Whim(Rng::new(rng_seed)))));
        live(choker, policy, steps)?;
    }
}

/// Chooses as chance will have it.
#[derive(Debug)]
struct Whim(Rng);

impl Ranker for Whim {
    fn choose(&mut self, rows: &[RankRow], _: &SlotPolicy, _: Instant) -> Vec<RankChoice> {
        let count = self.0.index(2 * rows.len() + 2);
        let mut choice = || RankChoice {
            peer: PeerIndex(self.0.below(32)),
            weight: [0, 1, 7, u64::MAX][self.0.index(4)],
        };
        (0..count).map(|_| choice()).collect()
    }
}

/// Who is there, seconds since the last step, and what is called.
type Step = (Vec<Candidate>, u64, u8);

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((any_swarm(), 0_u64..12, 0_u8..4), 1..40)
}

fn live(mut choker: Choker, policy: SlotPolicy, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut flips: BTreeMap<PeerIndex, Vec<Flip>> = BTreeMap::new();
    let mut second = 20;
    let mut classes: BTreeMap<PeerIndex, Option<Class>> = BTreeMap::new();
    for (swarm, wait, kind) in steps {
        second += wait;
        let now = at(second);
        let held = swarm
            .iter()
            .filter(|one| choker.choke(one.peer).holds(now))
            .count();
        let changes = match kind {
            0 => choker.decide_seats(now, &swarm),
            1 => choker.admit_free(now, &swarm),
            _ => {
                flips.retain(|peer, _| swarm.iter().any(|one| one.peer == *peer));
                let changes = choker.decide(now, &swarm);
                prop_assert!(choker.unchoked_count() <= policy.slots.max(held) + 1);
                changes
            }
        };
        choker.check_invariants();
        prop_assert!(choker.unchoked_count() <= policy.slots + 1);
        for change in changes {
            let facts = swarm
                .iter()
                .find(|one| one.peer == change.decision.peer)
                .unwrap();
            let unchoked = change.decision.class.is_some();
            let class = classes.insert(facts.peer, change.decision.class).flatten();
            if change.flipped {
                let flip = (second, unchoked, *facts, class);
                flips.entry(facts.peer).or_default().push(flip);
            }
        }
    }
    for history in flips.values() {
        for pair in history.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            prop_assert!(before.1 != after.1);
            let excused = match after.1 {
                true => after.2.is_payer(&policy),
                // A paid seat is no slot of tit-for-tat: who does not use it yields it.
                false => !after.2.torrent_active || after.3 == Some(Class::Paid),
            };
            prop_assert!(excused || after.0 - before.0 >= 10, "{:?}", pair);
        }
    }
    Ok(())
}
