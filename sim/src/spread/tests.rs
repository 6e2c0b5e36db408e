//! What a swarm comes to on lines. Short forms here, the long forms with
//! `cargo test --release -p seedbank-sim -- --ignored --nocapture long_form`.

use super::*;

/// Parts in a thousand by which one time is longer than another.
fn over(time: Duration, than: Duration) -> i64 {
    let [time, than] = [time, than].map(|time| i64::try_from(time.as_millis()).unwrap());
    (time - than) * 1_000 / than
}

/// Parts in a thousand by which a swarm takes longer than `least`.
fn over_bound(scenario: &Spread, least: Duration) -> i64 {
    over(makespan(scenario), least)
}

fn makespan(scenario: &Spread) -> Duration {
    let outcome = scenario.run().unwrap();
    let (makespan, bound) = (outcome.makespan(), scenario.bound());
    println!("{makespan} of {bound}: {:?}", scenario.overlay);
    makespan
}

/// The mean makespan over some seeds.
fn mean_makespan(scenario: &Spread, seeds: std::ops::Range<u64>) -> Duration {
    let count = seeds.end - seeds.start;
    let times = seeds.map(|rng_seed| {
        let scenario = Spread {
            rng_seed,
            ..scenario.clone()
        };
        makespan(&scenario).as_nanos()
    });
    Duration::from_nanos(times.sum::<u64>() / count)
}

/// How much longer a swarm takes whose uplinks are lines than one with configured limits.
fn line_over_limit(scenario: &Spread, seeds: std::ops::Range<u64>) -> i64 {
    let [line, limit] = [Bottleneck::Line, Bottleneck::Limit].map(|bottleneck| {
        let scenario = Spread {
            bottleneck,
            ..scenario.clone()
        };
        mean_makespan(&scenario, seeds.clone())
    });
    over(line, limit)
}

#[test]
fn the_bound_is_the_slowest_of_seeder_leecher_and_all_together() {
    let spread = |leecher_count, downlink| Spread {
        leecher_count,
        total_len: 100_000_000,
        link: LinkConfig::new(1_000_000, Duration::ZERO).with_downlink(downlink),
        ..Spread::default()
    };
    assert_eq!(spread(3, 2_000_000).bound(), Duration::from_secs(100));
    assert_eq!(spread(3, 500_000).bound(), Duration::from_secs(200));
}

#[test]
fn a_line_is_as_good_as_a_limit_of_the_same_rate() {
    let star = Spread {
        leecher_count: 4,
        total_len: 4 << 20,
        piece_len: 256 << 10,
        overlay: Overlay::Star,
        ..Spread::default()
    };
    let over = line_over_limit(&star, 1..2);
    assert!((-50..=50).contains(&over), "{over} thousandths");
    let all = Duration::from_nanos(4 * star.bound().as_nanos());
    let over = over_bound(&star, all);
    assert!(
        (0..=100).contains(&over),
        "{over} thousandths more than 4 copies take"
    );
}

#[test]
#[ignore = "the long form: minutes, with --release"]
fn long_form_a_line_is_as_good_as_a_limit_of_the_same_rate() {
    let fast = Spread {
        leecher_count: 7,
        total_len: 96 << 20,
        link: LinkConfig::new(12_500_000, Duration::from_millis(20)),
        ..Spread::default()
    };
    let many = Spread {
        leecher_count: 30,
        total_len: 64 << 20,
        ..Spread::default()
    };
    // Of one scenario, makespans of two seeds differ by 5 %. Where a piece takes as long as the
    // queue on the way, what the only seed sends is announced late: it sends more twice.
    for (scenario, over_max) in [(fast, 100), (many, 50)] {
        let over = line_over_limit(&scenario, 1..17);
        println!("{over} thousandths");
        assert!((-50..=over_max).contains(&over), "{over} thousandths");
    }
}

/// Degrees as a tracker makes them, least first, and how much longer swarms take than on random
/// graphs of the same mean degree.
fn tracker_over_graph(scenario: &Spread, seeds: std::ops::Range<u64>) -> (Vec<usize>, i64) {
    let mut degrees = Vec::new();
    let mut makespans = [Duration::ZERO; 2];
    for rng_seed in seeds {
        let tracker = Spread {
            overlay: Overlay::Tracker,
            rng_seed,
            ..scenario.clone()
        };
        let tracked = tracker.run().unwrap();
        let mean = tracked.degrees.iter().sum::<usize>() / tracked.degrees.len();
        let graph = Spread {
            overlay: Overlay::Random(mean),
            rng_seed,
            ..scenario.clone()
        };
        let times = [tracked.makespan(), makespan(&graph)];
        println!("{} by tracker, degrees {:?}", times[0], tracked.degrees);
        for (sum, time) in makespans.iter_mut().zip(times) {
            *sum = Duration::from_nanos(sum.as_nanos() + time.as_nanos());
        }
        degrees.extend(tracked.degrees);
    }
    degrees.sort_unstable();
    (degrees, over(makespans[0], makespans[1]))
}

/// Twelve leechers, 32 MiB: small enough to be run every time.
fn twelve() -> Spread {
    Spread {
        leecher_count: 12,
        total_len: 32 << 20,
        ..Spread::default()
    }
}

#[test]
fn a_lone_seed_sends_little_twice_until_its_leechers_have_a_copy() {
    // Without suggestions 1.8 to 2.0 times the least, and 1.7 to 1.9 copies.
    let scenario = twelve();
    let outcome = scenario.run().unwrap();
    let over = over(outcome.makespan(), scenario.bound());
    let copies = outcome.seeder_sent * 1_000 / scenario.total_len;
    println!("{over} thousandths over the bound, {copies} thousandths of a copy by the seeder");
    assert!(over <= 500, "{over} thousandths");
    assert!(copies <= 1_400, "{copies} thousandths of a copy");
}

#[test]
fn slow_peers_of_a_fast_seeder_are_as_fast_as_their_lines() {
    let scenario = Spread {
        leecher_count: 8,
        total_len: 8 << 20,
        link: LinkConfig::new(200_000, Duration::from_millis(20)).with_downlink(200_000),
        seeder_uplink: Some(10_000_000),
        ..Spread::default()
    };
    let over = over_bound(&scenario, scenario.bound());
    assert!((0..=100).contains(&over), "{over} thousandths");
}

#[test]
fn a_tracker_makes_a_swarm_in_which_nobody_is_a_hub() {
    let scenario = Spread {
        leecher_count: 79,
        total_len: 4 << 20,
        piece_len: 64 << 10,
        overlay: Overlay::Tracker,
        ..Spread::default()
    };
    let degrees = scenario.run().unwrap().degrees_early;
    // Everybody dials until it has 50, and takes in whoever dials.
    assert!(degrees[0] >= 45, "{degrees:?}");
    assert!(degrees[79] <= 70, "{degrees:?}");
}

#[test]
#[ignore = "the long form: minutes, with --release"]
fn long_form_a_tracker_makes_as_good_a_swarm_as_a_random_graph() {
    let scenario = Spread {
        leecher_count: 299,
        total_len: 16 << 20,
        piece_len: 256 << 10,
        ..Spread::default()
    };
    let (degrees, over) = tracker_over_graph(&scenario, 1..4);
    println!("{over} thousandths");
    assert!(degrees[0] >= 45, "{degrees:?}");
    assert!(degrees[degrees.len() - 1] <= 75, "{degrees:?}");
    assert!(over <= 100, "{over} thousandths");
}

#[test]
#[ignore = "open: leechers send side by side to several; passes while it takes so long"]
fn long_form_sixty_peers_take_more_than_1_15_times_the_least_possible() {
    let scenario = Spread::default();
    let outcome = scenario.run().unwrap();
    let over = over(outcome.makespan(), scenario.bound());
    let copies = outcome.seeder_sent * 1_000 / scenario.total_len;
    println!("{over} thousandths over the bound, {copies} thousandths of a copy by the seeder");
    assert!(over > 150, "closed: say at most 150 here");
    assert!(copies <= 1_100, "the seeder sends every byte about once");
}
