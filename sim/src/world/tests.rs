//! The driver itself: who is woken, what is measured, who is named, and when a run ends.

use std::collections::BTreeSet;

use seedbank_engine::interface::config::Policy;
use seedbank_engine::interface::output::MEASURE_EVERY;
use seedbank_engine::transfer::uplink::UplinkSample;

use super::*;
use crate::recording::Recording;
use crate::swarm::{TRACKER, add, config, identity, public_ip, start, torrent};
use crate::tracker::TRACKER_PEERS_MAX;

/// Nodes that are up and know nothing, on lines of 1 MB/s.
fn world(count: u64) -> World {
    let mut world = World::new(None, 1);
    for number in 0..count {
        let books = SimBooks::new(&identity(number), None, START);
        let line = LinkConfig::new(1_000_000, Duration::from_millis(10));
        let node = world.add_node_at("node", books, line, public_ip(number));
        world.node_mut(node).recording = Some(Recording::default());
        start(&mut world, node, config(number, 1), Policy::default());
    }
    world
}

fn inputs(world: &World, node: usize) -> &[(Instant, Input)] {
    &world.nodes[node].recording.as_ref().unwrap().inputs
}

/// When a node was told how its connections fare, and what.
fn measured(world: &World, node: usize) -> Vec<(Instant, Vec<UplinkSample>)> {
    let told = inputs(world, node).iter();
    told.filter_map(|(at, input)| match input {
        Input::Measured(samples) => Some((*at, samples.clone())),
        _ => None,
    })
    .collect()
}

#[test]
fn a_node_with_nothing_to_do_is_woken_by_its_own_timers_only() {
    let mut world = world(1);
    assert_eq!(world.run_for(Duration::from_secs(600)), RunEnd::Deadline);
    assert_eq!(world.now(), Instant::ZERO.after(Duration::from_secs(600)));
    // Housekeeping twice a second for half a minute, and then hardly ever.
    assert!(world.handled() <= 80, "{} events", world.handled());
    world.crash(NodeIndex(0));
    assert_eq!(world.run_for(Duration::from_secs(600)), RunEnd::Quiet);
}

#[test]
fn a_run_ends_when_its_events_are_spent() {
    let mut world = world(2);
    world.handled_max = Some(100);
    assert_eq!(world.run_for(Duration::from_secs(600)), RunEnd::Exhausted);
    assert_eq!(world.handled(), 100);
    world.handled_max = None;
    assert!(
        world
            .run_until(Instant::MAX, |world| world.handled() >= 200)
            .is_done()
    );
}

#[test]
fn connections_are_measured_every_100_ms_while_that_is_asked_for() {
    let mut world = world(2);
    let metainfo = torrent("measured", 4 << 20, 64 << 10, None);
    let (seed, leecher) = (NodeIndex(0), NodeIndex(1));
    add(&mut world, seed, &metainfo, true, &[]);
    add(&mut world, leecher, &metainfo, false, &[seed]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(measured(&world, 0), []);
    world.set_measuring(seed, true);
    world.set_measuring(seed, true);
    let from = world.now();
    world.run_for(Duration::from_secs(2));
    let told = measured(&world, 0);
    assert_eq!(told.len(), 20);
    let on_time = |(at, nth): (&Instant, u64)| *at == from.after(MEASURE_EVERY.times(nth));
    assert!(told.iter().map(|(at, _)| at).zip(1..).all(on_time));
    for pair in told.windows(2) {
        let ([before], [after]) = (pair[0].1.as_slice(), pair[1].1.as_slice()) else {
            panic!("one connection: {pair:?}");
        };
        let acknowledged = after.acknowledged - before.acknowledged;
        assert!((90_000..=110_000).contains(&acknowledged), "{acknowledged}");
        assert!(after.unsent <= 128 << 10);
        // 40 ms of way and 200 ms of modem.
        assert!(after.rtt > Duration::from_millis(150), "{}", after.rtt);
        assert!(
            after.rtt_min < Duration::from_millis(60),
            "{}",
            after.rtt_min
        );
    }
    world.set_measuring(seed, false);
    world.run_for(Duration::from_secs(1));
    assert_eq!(measured(&world, 0).len(), 20);
    assert_eq!(measured(&world, 1), []);
    world.set_measuring(seed, true);
    world.crash(seed);
    world.run_for(Duration::from_secs(1));
    assert_eq!(measured(&world, 0).len(), 20);
}

#[test]
fn a_tracker_names_50_at_random_and_never_who_asks() {
    let mut world = world(120);
    let metainfo = torrent("named", 1 << 20, 64 << 10, Some(TRACKER));
    for node in 0..120 {
        add(&mut world, NodeIndex(node), &metainfo, node == 0, &[]);
    }
    world.run_for(Duration::from_millis(100));
    let mut all = BTreeSet::new();
    for node in 0..120 {
        let named = inputs(&world, node)
            .iter()
            .find_map(|(_, input)| match input {
                Input::Announced { result, .. } => result.as_ref().ok(),
                _ => None,
            });
        let peers: BTreeSet<SocketAddr> = named.unwrap().peers.iter().copied().collect();
        assert_eq!(peers.len(), TRACKER_PEERS_MAX);
        assert!(!peers.contains(&world.nodes[node].addr));
        assert!(all.insert(peers), "another 50 for each");
    }
}

#[test]
fn what_sessions_report_is_kept_only_if_wanted_and_taken_once() {
    let mut world = world(2);
    let metainfo = torrent("reported", 1 << 20, 64 << 10, None);
    add(&mut world, NodeIndex(0), &metainfo, true, &[]);
    add(&mut world, NodeIndex(1), &metainfo, false, &[NodeIndex(0)]);
    world.run_for(Duration::from_millis(600));
    assert_eq!(world.take_events(), []);
    world.keeps_events = true;
    world.run_for(Duration::from_secs(5));
    let events = world.take_events();
    let completed = SessionEvent::TorrentCompleted(metainfo.torrent_id());
    let of_leecher = |(_, node, event): &(Instant, NodeIndex, SessionEvent)| {
        *node == NodeIndex(1) && *event == completed
    };
    assert_eq!(events.iter().filter(|event| of_leecher(event)).count(), 1);
    assert_eq!(world.take_events(), []);
}

/// What every node of a swarm was told, and when, if it is looked at for so long at a time.
fn told(window: Duration) -> Vec<Vec<String>> {
    let mut world = world(6);
    world.timetable.window = window;
    let metainfo = torrent("told", 1 << 20, 64 << 10, Some(TRACKER));
    for node in 0..6 {
        add(&mut world, NodeIndex(node), &metainfo, node == 0, &[]);
    }
    world.run_for(Duration::from_secs(5));
    world.crash(NodeIndex(2));
    world.run_for(Duration::from_secs(60));
    let nodes = 0..world.nodes.len();
    let all = nodes.map(|node| inputs(&world, node));
    all.map(|inputs| inputs.iter().map(|told| format!("{told:?}")).collect())
        .collect()
}

#[test]
fn for_how_long_a_node_is_looked_at_changes_nothing() {
    let whole = told(Duration::from_millis(20));
    assert!(whole.iter().all(|inputs| inputs.len() > 100));
    for window in [1, 3, 7] {
        assert_eq!(told(Duration::from_millis(window)), whole);
    }
}

#[test]
fn a_dial_that_is_refused_is_heard_after_the_way_there_and_back() {
    let mut world = world(2);
    world.crash(NodeIndex(1));
    let metainfo = torrent("refused", 1 << 20, 64 << 10, None);
    let begun_at = world.now();
    add(&mut world, NodeIndex(0), &metainfo, false, &[NodeIndex(1)]);
    world.run_for(Duration::from_secs(1));
    let failed = |(at, input): &(Instant, Input)| match input {
        Input::DialFailed { .. } => Some(at.since(begun_at)),
        _ => None,
    };
    let took = inputs(&world, 0).iter().find_map(failed).unwrap();
    let ms = took.as_millis();
    assert!((40..=43).contains(&ms), "{took}");
    assert!(world.nodes[0].connections.is_empty());
}
