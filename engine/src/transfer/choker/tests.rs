//! Tests of `choker.rs`.

use super::*;
use seedbank_ledger::NodeId;

mod histories;

const POLICY: SlotPolicy = SlotPolicy {
    slots: 8,
    open_share_percent: 30,
    rule: PaidRule::TopK,
    rate_min: Rate::new(10),
};

fn at(secs: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(secs))
}

fn waiting(peer: u64, since_secs: u64) -> Candidate {
    Candidate {
        seeding: true,
        interested_since: Some(at(since_secs)),
        sent_rate: 50_000,
        ..Candidate::new(PeerIndex(peer))
    }
}

fn leeching(peer: u64, received_rate: u64) -> Candidate {
    Candidate {
        seeding: false,
        received_rate,
        ..waiting(peer, 0)
    }
}

/// A payer that has paid for a piece and takes enough.
fn paying(peer: u64, bid: u64) -> Candidate {
    Candidate {
        key: Some(key(peer)),
        bid: Rate::new(bid),
        pays: true,
        has_paid: true,
        paid_recently: 1 << 20,
        window: 1 << 20,
        ..waiting(peer, 0)
    }
}

fn key(number: u64) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    NodeId::from_bytes(bytes)
}

fn slots(slots: usize) -> SlotPolicy {
    SlotPolicy { slots, ..POLICY }
}

fn new_rows(candidates: &[Candidate]) -> Vec<RankRow> {
    let row = |one: &Candidate| RankRow {
        candidate: *one,
        choke: Choke::Choked { since: None },
        group_turn: None,
    };
    candidates.iter().map(row).collect()
}

/// The seats of a first round.
fn plan(rows: &[RankRow], policy: &SlotPolicy) -> SeatPlan {
    Choker::new(*policy, at(0)).plan_seats(rows, true, at(100))
}

fn ranked(candidates: &[Candidate], policy: &SlotPolicy) -> Ranking {
    let rows = new_rows(candidates);
    rank(&rows, &plan(&rows, policy), policy, at(100))
}

fn peers_in(ranking: &Ranking, class: Class) -> Vec<u64> {
    let of_class = ranking
        .decisions
        .iter()
        .filter(|one| one.class == Some(class));
    of_class.map(|one| one.peer.0).collect()
}

fn reason_of(ranking: &Ranking, peer: u64) -> Reason {
    let found = ranking.decisions.iter().find(|one| one.peer.0 == peer);
    found.expect("every candidate is decided about").reason
}

#[test]
fn one_slot_in_30_minutes_is_shared_equally_by_20_peers() {
    // The oracle of libtorrent's simulation/test_optimistic_unchoke.cpp: 20 peers, one slot.
    let mut choker = Choker::new(slots(1), at(0));
    let candidates: Vec<Candidate> = (0..20).map(|peer| waiting(peer, 0)).collect();
    let mut unchoked_secs = vec![0_u64; 20];
    for second in 0..1_800 {
        if at(second) >= choker.next_round() {
            choker.decide(at(second), &candidates);
        }
        for (peer, secs) in (0..).zip(&mut unchoked_secs) {
            *secs += u64::from(choker.choke(PeerIndex(peer)).is_unchoked());
        }
    }
    assert_eq!(unchoked_secs.iter().sum::<u64>(), 1_790);
    assert!(
        unchoked_secs.iter().all(|secs| (80..=90).contains(secs)),
        "{unchoked_secs:?}"
    );
}

#[test]
fn a_busy_seed_gives_fast_and_slow_peers_similar_time() {
    let mut choker = Choker::new(POLICY, at(0));
    let mut candidates: Vec<Candidate> = (0..30).map(|peer| waiting(peer, 0)).collect();
    // Slow peers must not hold their slots longer than the rest.
    for slow in candidates.iter_mut().skip(1).step_by(3) {
        slow.sent_rate = 2_000;
    }
    let mut unchoked_secs = vec![0_u64; 30];
    for second in 0..7_200 {
        if at(second) >= choker.next_round() {
            choker.decide(at(second), &candidates);
            assert!(choker.unchoked_count() == 8);
        }
        for (peer, secs) in (0..).zip(&mut unchoked_secs) {
            *secs += u64::from(choker.choke(PeerIndex(peer)).is_unchoked());
        }
    }
    let mean = 7_190 * 8 / 30;
    // Who is let go first among equals is settled by the order of meeting, hence the slack.
    let near = |secs: &u64| secs.abs_diff(mean) <= mean * 30 / 100;
    assert!(
        unchoked_secs.iter().all(near),
        "mean {mean}: {unchoked_secs:?}"
    );
}

#[test]
fn paid_slots_go_to_the_highest_bids_and_the_open_share_is_kept() {
    let mut candidates: Vec<Candidate> = (0..10).map(|peer| paying(peer, 100 + peer)).collect();
    candidates.extend((10..20).map(|peer| waiting(peer, 0)));
    let ranking = ranked(&candidates, &POLICY);
    assert_eq!(peers_in(&ranking, Class::Paid), [4, 5, 6, 7, 8, 9]);
    assert_eq!(peers_in(&ranking, Class::Optimistic).len(), 1);
    assert_eq!(peers_in(&ranking, Class::Reciprocal).len(), 1);
    assert_eq!(reason_of(&ranking, 9), Reason::Paid);
    assert_eq!(reason_of(&ranking, 3), Reason::Outranked);
    assert_eq!(ranking.clearing_price, None);
}

#[test]
fn unused_slots_fall_through_both_ways() {
    let many_open: Vec<Candidate> = (0..20).map(|peer| waiting(peer, 0)).collect();
    let ranking = ranked(&many_open, &POLICY);
    assert_eq!(peers_in(&ranking, Class::Reciprocal).len(), 7);
    assert_eq!(peers_in(&ranking, Class::Optimistic).len(), 1);

    // Only the optimistic slot is kept for somebody who may come.
    let many_paid: Vec<Candidate> = (0..20).map(|peer| paying(peer, 50)).collect();
    let ranking = ranked(&many_paid, &POLICY);
    assert_eq!(peers_in(&ranking, Class::Paid).len(), 7);
    assert_eq!(peers_in(&ranking, Class::Optimistic), [7]);
}

#[test]
fn friends_rank_above_every_bid_and_set_no_price() {
    let friend = Candidate {
        friend: true,
        ..waiting(50, 90)
    };
    let mut candidates: Vec<Candidate> = (0..9).map(|peer| paying(peer, 100 + peer)).collect();
    candidates.push(friend);
    let uniform = SlotPolicy {
        rule: PaidRule::UniformPrice,
        ..POLICY
    };
    let ranking = ranked(&candidates, &uniform);
    assert_eq!(reason_of(&ranking, 50), Reason::Friend);
    assert_eq!(peers_in(&ranking, Class::Paid), [3, 4, 5, 6, 7, 8, 50]);
    assert_eq!(ranking.clearing_price, Some(Rate::new(102)));
}

#[test]
fn a_uniform_price_is_the_highest_losing_bid_or_the_reserve() {
    let uniform = SlotPolicy {
        rule: PaidRule::UniformPrice,
        ..POLICY
    };
    let few: Vec<Candidate> = (0..3).map(|peer| paying(peer, 100 + peer)).collect();
    assert_eq!(ranked(&few, &uniform).clearing_price, Some(Rate::new(10)));
    assert_eq!(ranked(&[], &uniform).clearing_price, Some(Rate::new(10)));
}

#[test]
fn proportional_shares_follow_the_bids() {
    let proportional = SlotPolicy {
        rule: PaidRule::Proportional,
        ..POLICY
    };
    let friend = Candidate {
        friend: true,
        ..waiting(3, 0)
    };
    let candidates = [paying(0, 100), paying(1, 300), waiting(2, 0), friend];
    let ranking = ranked(&candidates, &proportional);
    let weights: Vec<u64> = ranking.decisions.iter().map(|one| one.weight).collect();
    assert_eq!(weights, [100, 300, 1, 300]);
}

#[test]
fn a_bid_below_the_reserve_or_without_a_lock_is_open() {
    let no_lock = Candidate {
        pays: false,
        ..paying(0, 500)
    };
    let ranking = ranked(&[no_lock, paying(1, 9), paying(2, 10)], &POLICY);
    assert_eq!(peers_in(&ranking, Class::Paid), [2]);
    assert_eq!(peers_in(&ranking, Class::Reciprocal), [0, 1]);
}

#[test]
fn tit_for_tat_first_then_standing_then_the_longest_wait() {
    let standing = |peer, standing| Candidate {
        standing,
        ..waiting(peer, 0)
    };
    let candidates = [
        leeching(0, 5_000),
        leeching(1, 9_000),
        leeching(2, 10),
        standing(3, 7),
        standing(4, 900),
        waiting(5, 50),
        waiting(6, 20),
        standing(7, -5),
    ];
    let expect = |slots_count: usize, expected: &[u64]| {
        let ranking = ranked(&candidates, &slots(slots_count));
        assert_eq!(
            peers_in(&ranking, Class::Reciprocal),
            expected,
            "{slots_count} slots"
        );
    };
    expect(2, &[1]);
    expect(3, &[0, 1]);
    expect(4, &[0, 1, 4]);
    expect(5, &[0, 1, 3, 4]);
    let ranking = ranked(&candidates, &slots(5));
    assert_eq!(reason_of(&ranking, 1), Reason::Reciprocal);
    assert_eq!(reason_of(&ranking, 4), Reason::Standing);
    assert_eq!(peers_in(&ranking, Class::Optimistic), [2]);
}

#[test]
fn newcomers_in_any_number_do_not_displace_positive_standing() {
    let mut candidates: Vec<Candidate> = (0..500).map(|peer| waiting(peer, 0)).collect();
    for peer in 500..507 {
        candidates.push(Candidate {
            standing: 1,
            ..waiting(peer, 99)
        });
    }
    let ranking = ranked(&candidates, &POLICY);
    assert_eq!(
        peers_in(&ranking, Class::Reciprocal),
        (500..507).collect::<Vec<u64>>()
    );
    assert_eq!(peers_in(&ranking, Class::Optimistic).len(), 1);
}

#[test]
fn peers_of_one_address_group_take_turns_as_one() {
    let mut choker = Choker::new(slots(1), at(0));
    let crowd = (0..19).map(|peer| Candidate {
        group: Some(7),
        ..waiting(peer, 0)
    });
    let mut candidates: Vec<Candidate> = crowd.collect();
    candidates.push(waiting(19, 0));
    let mut alone_secs = 0_u64;
    for second in 0..3_600 {
        if at(second) >= choker.next_round() {
            choker.decide(at(second), &candidates);
        }
        alone_secs += u64::from(choker.choke(PeerIndex(19)).is_unchoked());
    }
    assert!((1_700..=1_830).contains(&alone_secs), "{alone_secs}");
}

#[test]
fn a_snubbing_peer_gets_only_what_is_left_over() {
    let snubbing = Candidate {
        snubbed: true,
        ..leeching(0, 90_000)
    };
    let mut candidates = vec![snubbing];
    assert_eq!(
        reason_of(&ranked(&candidates, &POLICY), 0),
        Reason::FreeSlot
    );
    candidates.extend((1..10).map(|peer| leeching(peer, 2_000)));
    candidates[9].interested_since = Some(at(0));
    candidates[0].interested_since = Some(at(1));
    let ranking = ranked(&candidates, &POLICY);
    assert_eq!(reason_of(&ranking, 0), Reason::Snubbed);
}

#[test]
fn whoever_may_not_be_unchoked_is_told_why() {
    let stopped = Candidate {
        torrent_active: false,
        ..waiting(0, 0)
    };
    let seed = Candidate {
        is_seed: true,
        ..waiting(1, 0)
    };
    let bored = Candidate {
        interested_since: None,
        ..paying(2, 500)
    };
    let ranking = ranked(&[stopped, seed, bored], &POLICY);
    assert_eq!(reason_of(&ranking, 0), Reason::TorrentStopped);
    assert_eq!(reason_of(&ranking, 1), Reason::Seed);
    assert_eq!(reason_of(&ranking, 2), Reason::NotInterested);
    assert!(ranking.decisions.iter().all(|one| one.class.is_none()));
}

#[test]
fn a_choked_paid_order_gets_in_at_once_and_nobody_in_dwell_is_choked_for_it() {
    let mut choker = Choker::new(POLICY, at(0));
    let mut candidates: Vec<Candidate> = (0..20).map(|peer| waiting(peer, 0)).collect();
    choker.decide(at(10), &candidates);
    assert!(!choker.choke(PeerIndex(15)).is_unchoked());
    candidates[15] = paying(15, 100);
    let changes = choker.decide_seats(at(11), &candidates);
    assert_eq!(changes.len(), 1);
    assert!(changes[0].flipped);
    assert_eq!(changes[0].decision.peer, PeerIndex(15));
    assert_eq!(changes[0].decision.class, Some(Class::Paid));
    assert_eq!(changes[0].decision.price, Rate::new(100));
    assert_eq!(choker.unchoked_count(), 9);
    assert_eq!(choker.decide_seats(at(11), &candidates), []);

    // The place above the slots is taken: the second order brings the round forward instead.
    candidates[16] = paying(16, 100);
    assert_eq!(choker.decide_seats(at(11), &candidates), []);
    assert!(choker.next_round() <= at(12));
    let changes = choker.decide(at(12), &candidates);
    assert!(
        changes.iter().all(|change| !change.flipped),
        "everybody is within dwell"
    );
    // In a running swarm somebody is past dwell, and the early round makes room.
    choker.decide(at(21), &candidates);
    assert!(choker.unchoked_count() <= 9);
    assert_eq!(choker.class_count(Class::Paid), 2);
}

#[test]
fn two_paid_orders_in_a_running_swarm_are_both_in_within_a_second() {
    let mut choker = Choker::new(POLICY, at(0));
    let mut candidates: Vec<Candidate> = (0..20).map(|peer| waiting(peer, 0)).collect();
    for round in 1..6 {
        choker.decide(at(10 * round), &candidates);
    }
    for peer in [15, 16, 17] {
        candidates[peer] = paying(u64::try_from(peer).unwrap(), 100);
        choker.decide_seats(at(53), &candidates);
    }
    assert_eq!(choker.next_round(), at(53));
    choker.decide(choker.next_round(), &candidates);
    assert_eq!(choker.class_count(Class::Paid), 3);
    assert!(choker.unchoked_count() <= 8);
}

#[test]
fn once_the_seats_count_only_a_higher_bid_is_tried() {
    let mut choker = Choker::new(POLICY, at(0));
    let mut candidates: Vec<Candidate> = (0..5).map(|peer| paying(peer, 100)).collect();
    candidates.extend((6..20).map(|peer| waiting(peer, 0)));
    choker.decide(at(10), &candidates);
    assert_eq!(choker.class_count(Class::Paid), 5);
    candidates.push(paying(30, 100));
    assert_eq!(choker.decide_seats(at(12), &candidates), []);
    assert_eq!(choker.next_round(), at(20));
    let below = Candidate {
        bid: Rate::new(9),
        ..candidates[19]
    };
    candidates[19] = below;
    assert_eq!(choker.decide_seats(at(12), &candidates), []);
    candidates[19] = paying(30, 101);
    let changes = choker.decide_seats(at(12), &candidates);
    assert_eq!(changes[0].decision.peer, PeerIndex(30));
    // It works and has paid, so one of the five goes with the next round.
    choker.decide(at(22), &candidates);
    assert_eq!(choker.class_count(Class::Paid), 5);
    let is_paid = choker.decision(PeerIndex(30)).and_then(|one| one.class);
    assert_eq!(is_paid, Some(Class::Paid));
    let sells_nothing = Choker::new(slots(1), at(0)).decide_seats(at(1), &[paying(1, 100)]);
    assert_eq!(sells_nothing, []);
}

#[test]
fn an_unchoked_peer_that_starts_to_pay_changes_class_without_a_flip() {
    let mut choker = Choker::new(POLICY, at(0));
    let changes = choker.admit_free(at(1), &[waiting(3, 0)]);
    assert!(changes[0].flipped);
    let changes = choker.decide_seats(at(2), &[paying(3, 100)]);
    assert!(!changes[0].flipped);
    assert_eq!(changes[0].decision.class, Some(Class::Paid));
}

#[test]
fn a_holder_that_bids_otherwise_has_another_price_at_once() {
    let mut choker = Choker::new(POLICY, at(0));
    choker.decide_seats(at(1), &[paying(3, 100)]);
    let changes = choker.decide_seats(at(2), &[paying(3, 70)]);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].decision.price, Rate::new(70));
    let changes = choker.decide_seats(at(3), &[paying(3, 5)]);
    assert_eq!(
        changes[0].decision.class,
        Some(Class::Reciprocal),
        "nobody waits"
    );
    assert_eq!(changes[0].decision.price, Rate::ZERO);
}

#[test]
fn free_slots_are_filled_at_once_by_the_longest_wait() {
    let mut choker = Choker::new(slots(2), at(0));
    let candidates = [waiting(0, 5), waiting(1, 3), waiting(2, 4)];
    let changes = choker.admit_free(at(6), &candidates);
    let admitted: Vec<u64> = changes
        .iter()
        .map(|change| change.decision.peer.0)
        .collect();
    assert_eq!(admitted, [1, 2]);
    assert!(
        changes
            .iter()
            .all(|change| change.decision.reason == Reason::FreeSlot)
    );
    assert!(choker.admit_free(at(7), &candidates).is_empty());
    choker.disconnected(PeerIndex(1));
    assert_eq!(choker.admit_free(at(7), &candidates).len(), 1);
}

#[test]
fn a_slot_whose_holder_lost_interest_is_free_for_who_waits() {
    let mut choker = Choker::new(slots(1), at(0));
    choker.admit_free(at(1), &[waiting(0, 0)]);
    let bored = Candidate {
        interested_since: None,
        ..waiting(0, 0)
    };
    assert!(
        choker.admit_free(at(12), &[bored]).is_empty(),
        "nobody waits"
    );
    let both = [bored, waiting(1, 5)];
    assert!(
        choker.admit_free(at(10), &both).is_empty(),
        "9 s are not 10 s"
    );
    let changes = choker.admit_free(at(12), &both);
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].decision.reason, Reason::NotInterested);
    assert!(changes.iter().all(|change| change.flipped));
    assert!(choker.choke(PeerIndex(1)).is_unchoked());
}

#[test]
fn a_peer_choked_just_now_is_not_unchoked_for_a_free_slot() {
    let mut choker = Choker::new(slots(2), at(0));
    choker.admit_free(at(1), &[waiting(0, 0)]);
    let bored = Candidate {
        interested_since: None,
        ..waiting(0, 0)
    };
    assert!(
        !choker.decide(at(10), &[bored])[0].flipped,
        "9 s are not 10 s"
    );
    assert!(choker.decide(at(20), &[bored])[0].flipped);
    assert!(choker.admit_free(at(25), &[waiting(0, 24)]).is_empty());
    choker.decide(at(26), &[waiting(0, 24)]);
    assert_eq!(
        choker.decision(PeerIndex(0)).unwrap().reason,
        Reason::JustChoked
    );
    assert_eq!(choker.admit_free(at(30), &[waiting(0, 24)]).len(), 1);
}

#[test]
fn a_stopped_torrent_chokes_without_waiting() {
    let mut choker = Choker::new(POLICY, at(0));
    choker.admit_free(at(1), &[waiting(0, 0)]);
    let stopped = Candidate {
        torrent_active: false,
        ..waiting(0, 0)
    };
    assert!(choker.decide(at(2), &[stopped])[0].flipped);
}

#[test]
fn slot_counts_are_sane_for_every_policy() {
    for slots in [0, 1, 2, 4, 8, 100, usize::MAX] {
        for open_share_percent in [0, 1, 30, 100, 255] {
            let policy = SlotPolicy {
                slots,
                open_share_percent,
                ..POLICY
            };
            assert!(policy.open_count_min() <= slots);
            assert!(policy.optimistic_count() <= policy.open_count_min());
            assert!(slots == 0 || policy.open_count_min() >= 1);
        }
    }
    assert_eq!((POLICY.for_sale(0), POLICY.for_sale(9)), (7, 6));
    assert!(
        ranked(&[waiting(0, 0)], &slots(0)).decisions[0]
            .class
            .is_none()
    );
}

#[test]
fn remembered_groups_are_bounded() {
    let mut choker = Choker::new(slots(GROUPS_MAX + 10), at(0));
    let groups = 0..u64::try_from(GROUPS_MAX + 10).unwrap();
    let crowd: Vec<Candidate> = groups
        .map(|peer| Candidate {
            group: Some(peer),
            ..waiting(peer, 0)
        })
        .collect();
    choker.decide(at(10), &crowd);
    choker.check_invariants();
}

#[test]
fn m6_a_new_clearing_price_reaches_the_incumbents_with_the_round() {
    let policy = SlotPolicy {
        slots: 2,
        rule: PaidRule::UniformPrice,
        ..POLICY
    };
    let mut choker = Choker::new(policy, at(0));
    let first = paying(1, 100);
    let changes = choker.decide_seats(at(1), &[first]);
    assert_eq!(changes[0].decision.class, Some(Class::Paid));
    assert_eq!(changes[0].decision.cap, Some(POLICY.rate_min));
    let mut prices = Vec::new();
    let mut quoted = changes[0].decision.cap;
    for round in 1..6 {
        let outbid = paying(2, 90);
        let plain = waiting(3, 0);
        let seen = if round < 3 {
            vec![first, plain]
        } else {
            vec![first, outbid, plain]
        };
        let changes = choker.decide(at(round * 10), &seen);
        let told = changes.iter().find(|one| one.decision.peer == first.peer);
        quoted = told.map_or(quoted, |told| told.decision.cap);
        assert_eq!(quoted, choker.clearing_price(), "round {round}");
        prices.extend(quoted.map(Rate::get));
    }
    assert_eq!(prices, [10, 10, 90, 90, 90]);
}

/// Unchokes two peers, of which one has three parts of four.
#[derive(Debug)]
struct TwoOnly([u64; 2]);

impl Ranker for TwoOnly {
    fn choose(&mut self, _: &[RankRow], _: &SlotPolicy, _: Instant) -> Vec<RankChoice> {
        let [one, other] = self.0.map(PeerIndex);
        let choice = |peer, weight| RankChoice { peer, weight };
        vec![choice(one, 3), choice(other, 1)]
    }
}

#[test]
fn a_ranker_chooses_in_the_open_class_and_only_there() {
    let swarm = [
        paying(1, 50),
        waiting(2, 0),
        leeching(3, 9_000),
        leeching(4, 8_000),
        waiting(5, 0),
    ];
    let mut choker = Choker::new(POLICY, at(0));
    choker.set_ranker(Some(Box::new(TwoOnly([5, 2]))));
    assert_eq!(
        choker.admit_free(at(5), &swarm),
        Vec::new(),
        "not between rounds"
    );
    choker.decide(at(100), &swarm);
    let weight = |peer| {
        let decision = choker.decision(PeerIndex(peer)).unwrap();
        decision.class.map(|class| (class, decision.weight))
    };
    assert_eq!(weight(1), Some((Class::Paid, 1)));
    assert_eq!(weight(5), Some((Class::Reciprocal, 3)));
    assert_eq!(weight(2), Some((Class::Reciprocal, 1)));
    assert_eq!([weight(3), weight(4)], [None, None]);
    choker.set_ranker(None);
    choker.decide(at(120), &swarm);
    assert!(choker.decision(PeerIndex(3)).unwrap().class.is_some());
}
