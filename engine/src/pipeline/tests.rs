use super::*;
use crate::units::PieceIndex;

fn at_ms(ms: u64) -> Instant {
    Instant::ZERO.after(Duration::from_millis(ms))
}

fn at(secs: u64) -> Instant {
    at_ms(secs * 1_000)
}

fn block(raw: u32) -> Block {
    Block {
        piece: PieceIndex::unchecked(raw),
        begin: 0,
        len: BLOCK_LEN,
    }
}

fn asked(count: u32, now: Instant) -> Pipeline {
    let mut pipeline = Pipeline::new(now);
    for raw in 0..count {
        pipeline.requested(block(raw), now);
    }
    pipeline
}

/// A link of so many blocks per second and a round trip; returns how many blocks came.
fn run(per_second: u64, round_trip_ms: u64, secs: u64) -> (Pipeline, u64) {
    let mut pipeline = Pipeline::new(at(0));
    pipeline.set_reqq(2_000);
    let mut next = 0;
    let mut arrivals: VecDeque<(u64, Block)> = VecDeque::new();
    let mut free_at_us = 0;
    let mut came = 0;
    for ms in 0..secs * 1_000 {
        while arrivals.front().is_some_and(|(us, _)| *us <= ms * 1_000) {
            let (_, block) = arrivals.pop_front().unwrap();
            pipeline.arrived(&block, at_ms(ms));
            came += 1;
        }
        for _ in 0..pipeline.room(at_ms(ms)) {
            pipeline.requested(block(next), at_ms(ms));
            free_at_us = (free_at_us + 1_000_000 / per_second).max((ms + round_trip_ms) * 1_000);
            arrivals.push_back((free_at_us, block(next)));
            next += 1;
        }
        assert!(!pipeline.timeouts(at_ms(ms)));
    }
    (pipeline, came)
}

#[test]
fn depth_grows_until_the_link_is_full() {
    for (per_second, round_trip_ms) in [(10, 50), (100, 100), (300, 20), (5_000, 200)] {
        let (pipeline, came) = run(per_second, round_trip_ms, 20);
        let possible = (per_second * 20).min(500 * 1_000 / round_trip_ms * 20);
        assert!(
            came * 100 >= possible * 80,
            "{came} of {possible} at {per_second}/s"
        );
        let wanted = usize::try_from(per_second * 3).unwrap().min(DEPTH_MAX);
        let depth = pipeline.depth(at(20));
        assert!(
            depth <= wanted + wanted / 4 + DEPTH_MIN,
            "{depth} at {per_second}/s"
        );
    }
}

#[test]
fn depth_never_exceeds_what_the_peer_takes_in() {
    let mut pipeline = Pipeline::new(at(0));
    for (reqq, room) in [(3, 3), (0, 1), (u32::MAX, DEPTH_MIN)] {
        pipeline.set_reqq(reqq);
        assert_eq!(pipeline.room(at(0)), room);
    }
    assert_eq!(asked(9, at(0)).room(at(0)), 0);
}

#[test]
fn silence_is_a_snub_and_a_block_ends_it() {
    let mut pipeline = asked(4, at(100));
    pipeline.arrived(&block(0), at(101));
    assert!(!pipeline.timeouts(at(131)), "a block took it a second");
    let snubbed_at = at(132);
    assert!(pipeline.timeouts(snubbed_at));
    assert!(pipeline.is_snubbed());
    // What it owes is not waited for: one block finds out whether it is back.
    assert_eq!(pipeline.outstanding(), 0);
    assert_eq!(pipeline.room(snubbed_at), 1);
    pipeline.requested(block(9), snubbed_at);
    assert_eq!(pipeline.room(snubbed_at), 0);
    assert!(!pipeline.timeouts(snubbed_at.after(Duration::from_secs(59))));
    assert!(pipeline.timeouts(snubbed_at.after(LOST_AFTER)));
    // A late answer to a request that was given up counts.
    pipeline.arrived(&block(2), at(300));
    assert!(!pipeline.is_snubbed());
    assert!(pipeline.depth(at(300)) >= DEPTH_MIN);
}

#[test]
fn a_slow_peer_gets_the_time_that_a_block_takes() {
    let mut pipeline = asked(6, at(0));
    pipeline.arrived(&block(0), at(20));
    assert!(!pipeline.timeouts(at(69)));
    assert!(pipeline.timeouts(at(70)));
}

#[test]
fn a_timeout_comes_when_it_was_said() {
    let mut pipeline = asked(1, at(5));
    let due = pipeline.next_timeout(at(5)).unwrap();
    assert!(!pipeline.timeouts(Instant::from_nanos(due.as_nanos() - 1)));
    assert!(pipeline.timeouts(due));
    assert_eq!(pipeline.next_timeout(due), None);
}

#[test]
fn what_was_not_asked_for_is_no_snub() {
    let mut pipeline = Pipeline::new(at(0));
    assert!(!pipeline.timeouts(Instant::MAX));
    assert_eq!(pipeline.next_timeout(at(0)), None);
    // A closed window for ten minutes, then one request: its own time counts.
    pipeline.limited(true);
    pipeline.requested(block(0), at(600));
    assert!(!pipeline.timeouts(at(601)));
    // A cancelled request is not asked for any more, whether or not it is answered.
    assert!(pipeline.cancelled(&block(0)));
    assert!(!pipeline.cancelled(&block(0)));
    assert!(!pipeline.timeouts(at(900)));
    assert!(pipeline.rejected(&block(0)));
    assert!(!pipeline.rejected(&block(0)));
}

#[test]
fn a_closed_window_does_not_end_slow_start() {
    let mut pipeline = Pipeline::new(at(0));
    pipeline.limited(true);
    for secs in 0..20 {
        pipeline.requested(block(0), at(secs));
        pipeline.arrived(&block(0), at(secs));
    }
    pipeline.limited(false);
    pipeline.requested(block(0), at_ms(19_500));
    pipeline.arrived(&block(0), at_ms(19_500));
    assert_eq!(pipeline.depth(at(20)), DEPTH_MIN + 1);
}

#[test]
fn a_peer_that_we_hold_back_is_excused() {
    let mut pipeline = asked(4, at(0));
    pipeline.excuse(at(80));
    assert!(!pipeline.timeouts(at(109)));
}

#[test]
fn a_lost_request_is_given_up_though_others_are_answered() {
    let mut pipeline = asked(1, at(0));
    for raw in 1..60 {
        pipeline.requested(block(raw), at(u64::from(raw)));
        pipeline.arrived(&block(raw), at(u64::from(raw)));
        assert!(!pipeline.timeouts(at(u64::from(raw))));
    }
    assert!(pipeline.timeouts(at(60)));
    assert!(!pipeline.is_snubbed());
}

#[test]
fn waiting_behind_others_is_not_held_against_a_request() {
    // A block every 20 s: the last of six is answered after two minutes.
    let mut pipeline = asked(6, at(0));
    for raw in 0..6 {
        for secs in 0..20 {
            assert!(!pipeline.timeouts(at(u64::from(raw) * 20 + secs)));
        }
        pipeline.arrived(&block(raw), at(u64::from(raw) * 20 + 20));
    }
    assert_eq!(pipeline.outstanding(), 0);
}

#[test]
fn a_choke_voids_what_is_outstanding() {
    let mut pipeline = asked(3, at(0));
    pipeline.cancelled(&block(2));
    pipeline.clear();
    assert!(!pipeline.rejected(&block(0)));
    assert!(!pipeline.rejected(&block(2)));
    assert!(!pipeline.timeouts(at(900)));
}

#[test]
fn requests_that_nobody_waits_for_are_bounded() {
    let mut pipeline = Pipeline::new(at(0));
    for raw in 0..2_000 {
        pipeline.requested(block(raw), at(0));
        assert!(pipeline.cancelled(&block(raw)));
    }
    assert_eq!(pipeline.abandoned.len(), ABANDONED_MAX);
    assert!(!pipeline.rejected(&block(0)));
    assert!(pipeline.rejected(&block(1_999)));
}
