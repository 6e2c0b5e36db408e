//! Tests of `seats.rs`: the rule sentence by sentence, then what holds in any history.

use super::*;
use proptest::prelude::*;

const TERMS: SeatTerms = SeatTerms {
    for_sale: 3,
    room: usize::MAX,
    is_round: true,
    paid_rate: Some(80_000),
};
/// A quarter of an equal share of ten seconds of two seats.
const QUANTUM: u64 = 100_000;

fn at(secs: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(secs))
}

fn key(number: u64) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    NodeId::from_bytes(bytes)
}

/// A payer that takes enough and has paid.
fn working(peer: u64, bid: u64) -> SeatRow {
    SeatRow {
        candidate: Candidate {
            key: Some(key(peer)),
            interested_since: Some(at(0)),
            bid: Rate::new(bid),
            pays: true,
            has_paid: true,
            paid_recently: QUANTUM,
            window: 1 << 20,
            ..Candidate::new(PeerIndex(peer))
        },
        pays: true,
        has_slot: false,
        waiting_since: at(0),
    }
}

/// A payer that has taken nothing, ever.
fn fresh(peer: u64, bid: u64) -> SeatRow {
    let mut row = working(peer, bid);
    row.candidate.has_paid = false;
    row.candidate.paid_recently = 0;
    row
}

fn seated(plan: &SeatPlan) -> Vec<u64> {
    plan.seated.iter().map(|peer| peer.0).collect()
}

struct Stage {
    seats: Seats,
    rows: Vec<SeatRow>,
    terms: SeatTerms,
}

impl Stage {
    fn new(rows: impl IntoIterator<Item = SeatRow>) -> Self {
        Self {
            seats: Seats::default(),
            rows: rows.into_iter().collect(),
            terms: TERMS,
        }
    }

    fn decide(&mut self, secs: u64) -> SeatPlan {
        self.seats.decide(&self.rows, &self.terms, at(secs))
    }

    fn of(&mut self, peer: u64) -> &mut SeatRow {
        let mut rows = self.rows.iter_mut();
        rows.find(|row| row.candidate.peer.0 == peer)
            .expect("a row")
    }
}

#[test]
fn the_highest_who_count_stay_and_one_place_is_for_trying() {
    let mut stage = Stage::new((1..=3).map(|peer| working(peer, 100 + peer)));
    assert_eq!(seated(&stage.decide(0)), [1, 2, 3]);
    assert_eq!(
        seated(&stage.decide(9)),
        [1, 2, 3],
        "within 10 s nobody is outbid"
    );
    let plan = stage.decide(10);
    assert_eq!(seated(&plan), [2, 3]);
    assert_eq!(plan.lost, [(PeerIndex(1), Loss::Outbid)].into());
    assert_eq!(plan.losing, Some(Rate::new(101)));
    stage.rows.push(fresh(4, 102));
    assert_eq!(seated(&stage.decide(11)), [2, 3], "not above the lowest");
    stage.rows.push(fresh(5, 103));
    assert_eq!(seated(&stage.decide(12)), [2, 3, 5]);
}

/// It takes its window at once; while it waits for a payment that never comes it would win every
/// bid.
#[test]
fn who_took_what_it_may_and_does_not_pay_outbids_nobody() {
    let mut stage = Stage::new([working(1, 100), working(2, 101)]);
    stage.decide(0);
    let mut late = working(3, 900);
    late.candidate.is_late = true;
    stage.rows.push(late);
    assert_eq!(seated(&stage.decide(20)), [1, 2, 3], "on trial");
    assert_eq!(seated(&stage.decide(31)), [1, 2, 3], "no more than that");
    stage.of(3).candidate.is_late = false;
    assert_eq!(seated(&stage.decide(32)), [2, 3], "it paid");
}

#[test]
fn who_lost_a_seat_by_its_own_doing_counts_once_it_pays_again() {
    let mut stage = Stage::new([working(1, 100), working(2, 101), working(3, 900)]);
    stage.of(3).candidate.paid_recently = 0;
    stage.of(3).candidate.paid_bytes = 1 << 20;
    stage.decide(0);
    stage.rows.push(fresh(4, 800));
    let plan = stage.decide(4);
    assert!(plan.forfeits(PeerIndex(3)));
    stage.rows.pop();
    stage.of(3).candidate.paid_recently = QUANTUM;
    assert_eq!(seated(&stage.decide(20)), [1, 2, 3], "it rested");
    assert_eq!(seated(&stage.decide(31)), [1, 2, 3], "and outbids nobody");
    stage.of(3).candidate.paid_bytes += 1 << 19;
    assert_eq!(seated(&stage.decide(32)), [2, 3]);
}

#[test]
fn between_rounds_nobody_is_outbid() {
    let mut stage = Stage::new((1..=3).map(|peer| working(peer, 100 + peer)));
    stage.decide(0);
    stage.terms.is_round = false;
    let plan = stage.decide(10);
    assert_eq!(seated(&plan), [1, 2, 3]);
    assert!(plan.is_round_due);
}

#[test]
fn equal_bids_leave_who_is_in() {
    let mut stage = Stage::new([working(5, 100), working(6, 100)]);
    stage.decide(0);
    stage.rows.push(working(1, 100));
    assert_eq!(seated(&stage.decide(20)), [5, 6]);
}

#[test]
fn who_takes_nothing_yields_after_3_s_and_who_takes_little_after_10() {
    let mut stage = Stage::new([fresh(1, 900), fresh(2, 900), fresh(3, 900)]);
    stage.decide(0);
    stage.of(2).candidate.paid_recently = QUANTUM - 1;
    stage.of(3).candidate.paid_recently = QUANTUM;
    stage.rows.push(fresh(4, 50));
    assert_eq!(seated(&stage.decide(2)), [1, 2, 3]);
    let plan = stage.decide(3);
    assert_eq!(seated(&plan), [2, 3, 4]);
    assert!(plan.forfeits(PeerIndex(1)));
    stage.of(4).candidate.paid_recently = QUANTUM;
    stage.rows.push(fresh(5, 40));
    assert_eq!(seated(&stage.decide(9)), [2, 3, 4]);
    assert_eq!(seated(&stage.decide(10)), [3, 4, 5]);
    assert_eq!(seated(&stage.decide(12)), [3, 4, 5], "both rest");
}

#[test]
fn nobody_yields_to_nobody() {
    let mut stage = Stage::new([fresh(1, 900)]);
    assert_eq!(seated(&stage.decide(0)), [1]);
    assert_eq!(seated(&stage.decide(100)), [1]);
}

#[test]
fn a_window_that_lets_little_through_asks_for_little() {
    let mut stage = Stage::new([working(1, 100), working(2, 100), working(3, 100)]);
    for row in &mut stage.rows {
        row.candidate.window = 1_000;
        row.candidate.paid_recently = 2_000;
    }
    stage.decide(0);
    stage.rows.push(fresh(4, 900));
    assert!(
        stage
            .decide(15)
            .lost
            .values()
            .all(|loss| *loss == Loss::Outbid)
    );
}

#[test]
fn who_lost_its_seat_by_itself_rests_10_s_or_30_if_it_owes() {
    for (relaxed, back_at) in [(true, 13), (false, 33)] {
        let mut stage = Stage::new([fresh(1, 900), fresh(2, 900), fresh(3, 900), fresh(4, 10)]);
        stage.decide(0);
        let plan = stage.decide(3);
        assert_eq!(plan.lost.len(), 1);
        let gone = plan.lost.keys().next().expect("one").0;
        stage.of(gone).candidate.is_relaxed = relaxed;
        // Everybody else leaves, so that nothing but its rest keeps it out.
        stage.rows.retain(|row| row.candidate.peer.0 == gone);
        assert_eq!(seated(&stage.decide(back_at - 1)), []);
        assert_eq!(seated(&stage.decide(back_at)), [gone]);
    }
}

#[test]
fn who_worked_and_wants_nothing_for_now_does_not_rest() {
    for (recently, back) in [(QUANTUM, vec![1]), (QUANTUM - 1, vec![])] {
        let mut stage = Stage::new([working(1, 100)]);
        stage.decide(0);
        let row = stage.of(1);
        row.candidate.paid_recently = recently;
        (row.candidate.interested_since, row.pays) = (None, false);
        assert_eq!(seated(&stage.decide(20)), []);
        let row = stage.of(1);
        (row.candidate.interested_since, row.pays) = (Some(at(21)), true);
        assert_eq!(seated(&stage.decide(21)), back);
    }
}

/// It pays for a block and takes one, and owes its window all the time: it works, and never counts.
#[test]
fn who_works_and_is_always_late_yields_to_a_higher_bid_after_10_s() {
    let mut stage = Stage::new([working(1, 100), working(2, 101), working(3, 200)]);
    stage.of(3).candidate.is_late = true;
    stage.decide(0);
    stage.rows.push(fresh(4, 200));
    assert_eq!(seated(&stage.decide(20)), [1, 2, 3], "to no equal bid");
    stage.rows.push(fresh(5, 201));
    stage.terms.is_round = false;
    let plan = stage.decide(21);
    assert_eq!(seated(&plan), [1, 2, 3], "not between rounds");
    assert!(plan.is_round_due);
    stage.terms.is_round = true;
    let plan = stage.decide(21);
    assert_eq!(seated(&plan), [1, 2, 5]);
    assert_eq!(plan.lost, [(PeerIndex(3), Loss::Outbid)].into());
}

/// An honest payer is late for as long as a receipt is under way.
#[test]
fn who_is_late_for_a_moment_yields_to_nobody() {
    let mut stage = Stage::new([working(1, 100), working(2, 101)]);
    stage.decide(0);
    stage.rows.extend([fresh(3, 900), fresh(4, 901)]);
    stage.of(3).candidate.paid_recently = QUANTUM;
    assert_eq!(seated(&stage.decide(20)), [1, 2, 3]);
    stage.of(1).candidate.is_late = true;
    assert_eq!(seated(&stage.decide(29)), [1, 2, 3]);
    assert_eq!(seated(&stage.decide(30)), [2, 3, 4], "10 s are no moment");
}

/// What it owes is on its way: nothing is asked of it but that.
#[test]
fn who_leaves_a_seat_owing_counts_once_it_has_paid_that() {
    for reconnects in [false, true] {
        for is_late in [false, true] {
            let mut stage = Stage::new([working(1, 100), working(2, 101), working(3, 900)]);
            stage.decide(0);
            let row = stage.of(3);
            (row.candidate.paid_bytes, row.candidate.owes) = (1 << 20, 1 << 18);
            (row.candidate.is_late, row.candidate.is_relaxed) = (is_late, is_late);
            if reconnects {
                // What it owes since the last decision is known when its connection ends.
                let leaves = row.candidate;
                stage.seats.note(&leaves);
                stage.rows.pop();
            } else {
                (row.candidate.interested_since, row.pays) = (None, false);
            }
            let plan = stage.decide(1);
            assert!(!plan.forfeits(PeerIndex(3)));
            assert_eq!(seated(&plan), [1, 2]);
            stage.rows.truncate(2);
            let mut again = working(9, 900);
            (again.candidate.key, again.candidate.paid_bytes) = (Some(key(3)), 1 << 20);
            stage.rows.push(again);
            assert_eq!(seated(&stage.decide(2)), [1, 2, 9], "it does not rest");
            assert_eq!(seated(&stage.decide(20)), [1, 2, 9], "and outbids nobody");
            stage.of(9).candidate.paid_bytes += 1 << 18;
            assert_eq!(seated(&stage.decide(21)), [2, 9]);
        }
    }
}

#[test]
fn what_has_to_be_paid_outlasts_every_seat_until_it_is() {
    let mut stage = Stage::new([working(3, 900)]);
    stage.of(3).candidate.paid_recently = 0;
    stage.decide(0);
    stage.of(3).pays = false;
    assert!(stage.decide(1).forfeits(PeerIndex(3)));
    let row = stage.of(3);
    (row.pays, row.candidate.paid_recently) = (true, QUANTUM);
    stage.rows.extend([working(1, 100), working(2, 101)]);
    for secs in [20, 40, 60] {
        assert_eq!(seated(&stage.decide(secs)), [1, 2, 3]);
        assert_eq!(
            seated(&stage.decide(secs + 11)),
            [1, 2, 3],
            "it pays nothing"
        );
        let row = stage.of(3);
        (row.candidate.interested_since, row.pays) = (None, false);
        assert_eq!(seated(&stage.decide(secs + 12)), [1, 2]);
        let row = stage.of(3);
        (row.candidate.interested_since, row.pays) = (Some(at(0)), true);
    }
    assert_eq!(seated(&stage.decide(80)), [1, 2, 3]);
    stage.of(3).candidate.paid_bytes += 1 << 19;
    assert_eq!(seated(&stage.decide(91)), [2, 3]);
}

#[test]
fn who_leaves_owing_little_counts_at_once() {
    let mut stage = Stage::new([working(1, 100), working(2, 101), working(3, 900)]);
    stage.of(3).candidate.owes = 1 << 18;
    stage.decide(0);
    let row = stage.of(3);
    (row.candidate.interested_since, row.pays) = (None, false);
    assert_eq!(seated(&stage.decide(1)), [1, 2]);
    let row = stage.of(3);
    (row.candidate.interested_since, row.pays) = (Some(at(2)), true);
    stage.decide(2);
    assert_eq!(seated(&stage.decide(20)), [2, 3]);
}

#[test]
fn another_connection_of_a_key_that_rests_rests_too() {
    let mut stage = Stage::new([fresh(1, 900)]);
    stage.decide(0);
    stage.of(1).pays = false;
    assert!(stage.decide(1).forfeits(PeerIndex(1)));
    let mut again = fresh(9, 900);
    again.candidate.key = Some(key(1));
    stage.rows = vec![again];
    assert_eq!(seated(&stage.decide(10)), []);
    assert_eq!(seated(&stage.decide(11)), [9]);
}

#[test]
fn those_who_have_paid_are_tried_first_by_bid_then_whoever_was_tried_longest_ago() {
    let mut waiting = [fresh(1, 900), fresh(2, 900), working(3, 20), working(4, 30)];
    waiting[0].waiting_since = at(7);
    waiting[1].waiting_since = at(5);
    let mut stage = Stage::new(waiting);
    stage.terms.for_sale = 2;
    assert_eq!(seated(&stage.decide(10)), [3, 4]);
    stage.rows.retain(|row| row.candidate.peer.0 < 3);
    stage.rows.push(fresh(5, 901));
    stage.rows[2].waiting_since = at(8);
    assert_eq!(seated(&stage.decide(11)), [1, 2]);
    assert_eq!(
        seated(&stage.decide(14)),
        [1, 5],
        "2 waited longest, so it goes first"
    );
}

#[test]
fn a_cut_below_the_lowest_who_counts_loses_a_place_on_trial() {
    let mut stage = Stage::new([working(1, 100), working(2, 100), fresh(3, 900)]);
    stage.decide(0);
    stage.of(3).candidate.bid = Rate::new(99);
    let plan = stage.decide(1);
    assert_eq!(seated(&plan), [1, 2]);
    assert!(plan.forfeits(PeerIndex(3)));
    stage.of(3).candidate.bid = Rate::new(900);
    assert_eq!(seated(&stage.decide(2)), [1, 2], "and rests");
}

#[test]
fn a_cut_ends_the_time_in_which_nobody_is_outbid() {
    let mut stage = Stage::new((1..=3).map(|peer| working(peer, 100)));
    stage.decide(0);
    stage.of(3).candidate.bid = Rate::new(50);
    assert_eq!(seated(&stage.decide(1)), [1, 2]);
}

#[test]
fn a_friend_holds_a_seat_whatever_it_takes_and_outranks_every_bid() {
    let mut friend = fresh(1, 0);
    friend.candidate.friend = true;
    let mut stage = Stage::new([friend, working(2, 100), working(3, 900), fresh(4, 1_000)]);
    stage.decide(0);
    let plan = stage.decide(20);
    assert_eq!(seated(&plan), [1, 3, 4]);
}

#[test]
fn nothing_is_for_sale_without_slots() {
    let mut stage = Stage::new([working(1, 100)]);
    stage.terms.for_sale = 0;
    assert_eq!(seated(&stage.decide(0)), []);
    stage.terms.for_sale = 1;
    stage.rows.extend([working(2, 100), working(3, 100)]);
    let plan = stage.decide(1);
    assert_eq!(plan.seated.len(), 2);
    assert_eq!(plan.beyond, 1, "one on trial takes no slot");
}

#[test]
fn without_room_a_choked_newcomer_asks_for_a_round() {
    let mut stage = Stage::new([working(1, 100), working(2, 100)]);
    stage.terms = SeatTerms {
        room: 1,
        is_round: false,
        ..TERMS
    };
    let plan = stage.decide(0);
    assert_eq!(seated(&plan), [1]);
    assert!(plan.is_round_due);
    stage.of(2).has_slot = true;
    assert_eq!(
        seated(&stage.decide(0)),
        [1, 2],
        "a change of class needs none"
    );
}

fn any_row(peer: u64) -> impl Strategy<Value = SeatRow> {
    let flags = (
        prop::bool::weighted(0.8),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.05),
        any::<bool>(),
    );
    let numbers = (0_u64..20, 0_u64..3, 0_u64..20);
    (flags, numbers).prop_map(move |(flags, numbers)| {
        let (pays, has_paid, is_relaxed, has_slot, friend, is_late) = flags;
        let mut row = working(peer, numbers.0);
        row.pays = pays;
        row.has_slot = has_slot;
        row.waiting_since = at(numbers.2);
        row.candidate.has_paid = has_paid;
        row.candidate.is_relaxed = is_relaxed;
        row.candidate.friend = friend;
        row.candidate.is_late = is_late;
        row.candidate.paid_recently = numbers.1 * QUANTUM / 2;
        // Some keys have several connections.
        row.candidate.key = Some(key(peer % 8));
        row
    })
}

fn any_rows() -> impl Strategy<Value = Vec<SeatRow>> {
    (0_u64..12).prop_flat_map(|count| (0..count).map(any_row).collect::<Vec<_>>())
}

/// Peers, seconds that pass, whether a round is decided, slots for sale, and room.
fn any_step() -> impl Strategy<Value = (Vec<SeatRow>, u64, bool, usize, usize)> {
    (any_rows(), 0_u64..8, any::<bool>(), 0_usize..5, 0_usize..3)
}

proptest! {
    /// A random life of the seats.
    #[test]
    fn places_payers_and_rests_hold_in_any_history(
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let mut seats = Seats::default();
        let mut second = 20;
        // When each key lost a seat by its own doing.
        let mut resting: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut holding: BTreeSet<PeerIndex> = BTreeSet::new();
        for (rows, wait, is_round, for_sale, room) in steps {
            second += wait;
            let terms = SeatTerms { for_sale, room, is_round, ..TERMS };
            let plan = seats.decide(&rows, &terms, at(second));
            seats.check_invariants();
            let row = |peer: &PeerIndex| rows.iter().find(|row| row.candidate.peer == *peer);
            for peer in &plan.seated {
                prop_assert!(row(peer).is_some_and(|row| row.pays));
                prop_assert!(!plan.lost.contains_key(peer));
            }
            let fresh: Vec<&PeerIndex> = plan.seated.difference(&holding).collect();
            if !fresh.is_empty() {
                prop_assert!(plan.seated.len() <= terms.places());
            }
            for peer in fresh {
                let key = row(peer).and_then(|row| row.candidate.key).expect("it has one");
                let rested = resting.get(&key).is_none_or(|lost| second - lost >= 10);
                prop_assert!(rested, "{key} rests");
            }
            for (peer, loss) in &plan.lost {
                prop_assert!(holding.contains(peer), "who loses a seat had one");
                prop_assert!(*loss == Loss::Itself || is_round);
                if let (Loss::Itself, Some(row)) = (loss, row(peer)) {
                    resting.extend(row.candidate.key.map(|key| (key, second)));
                }
            }
            holding = plan.seated.clone();
        }
    }
}

#[test]
fn seats_that_were_kept_elsewhere_are_decided_about_as_before() {
    let mut seats = Seats::default();
    let rows: Vec<SeatRow> = (0..5).map(|peer| working(peer, 10 + peer)).collect();
    for round in 0..4 {
        let mut resumed = Seats::resume(seats.records());
        let plan = seats.decide(&rows[..rows.len() - round], &TERMS, at(10 * round as u64));
        let again = resumed.decide(&rows[..rows.len() - round], &TERMS, at(10 * round as u64));
        assert_eq!(plan, again);
        assert!(!plan.seated.is_empty());
        assert!(seats.records().eq(resumed.records()));
    }
}
