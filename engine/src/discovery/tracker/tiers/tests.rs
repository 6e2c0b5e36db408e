//! Tiers: order, promotion, events, intervals and back-off.

use proptest::prelude::*;

use AnnounceEvent::{Completed, Interval, Started, Stopped};

use super::*;

fn trackers(tiers: &[&[&str]]) -> Trackers {
    let tier = |urls: &&[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
    let tiers: Vec<Vec<String>> = tiers.iter().map(tier).collect();
    let mut trackers = Trackers::new(&tiers, 1);
    trackers.start(at(0));
    trackers
}

fn at(secs: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(secs))
}

fn reply(interval: u64, least: Option<u64>) -> AnnounceReply {
    AnnounceReply {
        interval: Duration::from_secs(interval),
        interval_min: least.map(Duration::from_secs),
        seeds: Some(1),
        leechers: None,
        peers: Vec::new(),
        warning: None,
    }
}

fn asks(trackers: &mut Trackers, now: u64) -> (String, AnnounceEvent) {
    let announce = trackers.poll(at(now)).expect("an announce is due");
    assert_eq!(trackers.poll(at(now)), None, "one at a time");
    trackers.check_invariants();
    (announce.url, announce.event)
}

fn succeeds(trackers: &mut Trackers, now: u64) -> (String, AnnounceEvent) {
    let (url, event) = asks(trackers, now);
    trackers.answered(&url, Ok(&reply(1800, None)), at(now));
    (url, event)
}

fn fails(trackers: &mut Trackers, now: u64) -> (String, AnnounceEvent) {
    let (url, event) = asks(trackers, now);
    let error = AnnounceError::Unreachable("silence".to_owned());
    trackers.answered(&url, Err(&error), at(now));
    (url, event)
}

fn is(url: &str, event: AnnounceEvent) -> (String, AnnounceEvent) {
    (url.to_owned(), event)
}

#[test]
fn announces_follow_the_interval() {
    let mut one = trackers(&[&["http://a/"]]);
    assert_eq!(succeeds(&mut one, 0), is("http://a/", Started));
    assert_eq!(one.next_timeout(), Some(at(1800)));
    assert_eq!(one.poll(at(1799)), None);
    assert_eq!(succeeds(&mut one, 1800), is("http://a/", Interval));
    assert_eq!(one.views()[0].status, "0 peers, 1 seeds");
    assert_eq!(one.views()[0].next_announce, Some(at(3600)));
}

#[test]
fn nothing_is_said_before_the_start_or_without_trackers() {
    let mut idle = Trackers::new(&[vec!["http://a/".to_owned()]], 1);
    assert_eq!(idle.poll(at(0)), None);
    assert_eq!(idle.next_timeout(), None);
    let mut none = trackers(&[]);
    assert_eq!(none.poll(at(0)), None);
    assert_eq!(none.next_timeout(), None);
}

#[test]
fn the_next_tier_is_asked_only_if_the_one_before_failed() {
    let mut two = trackers(&[&["http://a/"], &["http://b/"], &["http://c/"]]);
    assert_eq!(fails(&mut two, 0), is("http://a/", Started));
    assert_eq!(succeeds(&mut two, 0), is("http://b/", Started));
    // By then the first has come out of its back-off, and has not heard of us.
    assert_eq!(succeeds(&mut two, 1800), is("http://a/", Started));
    assert_eq!(succeeds(&mut two, 3600), is("http://a/", Interval));
}

#[test]
fn who_answers_moves_to_the_front_of_its_tier() {
    let mut tier = trackers(&[&["http://a/", "http://b/", "http://c/"], &["http://d/"]]);
    let (first, _) = fails(&mut tier, 0);
    let (second, _) = fails(&mut tier, 0);
    let (third, _) = succeeds(&mut tier, 0);
    let order: Vec<String> = tier.views().into_iter().map(|view| view.url).collect();
    assert_eq!(order, [&third, &first, &second, "http://d/"]);
    assert_eq!(succeeds(&mut tier, 1800), (third, Interval));
}

#[test]
fn tiers_are_shuffled_by_the_seed() {
    let urls: Vec<String> = (0..20).map(|i| format!("http://{i}/")).collect();
    let order = |rng_seed| {
        let trackers = Trackers::new(std::slice::from_ref(&urls), rng_seed);
        let views = trackers.views().into_iter();
        views.map(|view| view.url).collect::<Vec<_>>()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_ne!(order(1), urls);
}

#[test]
fn failures_back_off_and_a_success_forgets_them() {
    let mut one = trackers(&[&["http://a/"]]);
    let mut now = 0;
    for wait in [15, 30, 60, 120, 240, 480, 960, 1800, 1800] {
        fails(&mut one, now);
        assert_eq!(one.next_timeout(), Some(at(now + wait)));
        assert_eq!(one.poll(at(now + wait - 1)), None);
        now += wait;
    }
    assert!(one.views()[0].status.contains("9 times in a row"));
    succeeds(&mut one, now);
    fails(&mut one, now + 1800);
    assert_eq!(one.next_timeout(), Some(at(now + 1815)));
}

#[test]
fn completed_is_told_once_and_after_started() {
    let mut one = trackers(&[&["http://a/"]]);
    one.completed(at(0));
    assert_eq!(succeeds(&mut one, 0), is("http://a/", Started));
    assert_eq!(fails(&mut one, 0), is("http://a/", Completed));
    assert_eq!(succeeds(&mut one, 15), is("http://a/", Completed));
    assert_eq!(succeeds(&mut one, 1815), is("http://a/", Interval));
    one.completed(at(1900));
    assert_eq!(succeeds(&mut one, 1900), is("http://a/", Completed));
}

#[test]
fn a_completion_while_an_answer_is_awaited_follows_it() {
    let mut one = trackers(&[&["http://a/"]]);
    asks(&mut one, 0);
    one.completed(at(1));
    assert_eq!(one.poll(at(1)), None);
    one.answered("http://a/", Ok(&reply(1800, None)), at(2));
    assert_eq!(succeeds(&mut one, 2), is("http://a/", Completed));
}

#[test]
fn those_who_know_us_hear_that_we_leave_and_nobody_else_does() {
    let mut three = trackers(&[&["http://a/"], &["http://b/"], &["http://c/"]]);
    fails(&mut three, 0);
    succeeds(&mut three, 0);
    succeeds(&mut three, 1800);
    three.stop(at(1801));
    assert_eq!(three.next_timeout(), Some(at(1801)));
    let stop = |url: &str| {
        let url = url.to_owned();
        Some(Announce {
            url,
            event: Stopped,
        })
    };
    assert_eq!(three.poll(at(1801)), stop("http://a/"));
    assert_eq!(three.poll(at(1801)), stop("http://b/"));
    assert_eq!(three.poll(at(1801)), None);
    assert_eq!(three.next_timeout(), None);
    three.answered("http://a/", Ok(&reply(1800, None)), at(1802));
    assert_eq!(three.poll(at(9999)), None);
    three.start(at(9999));
    assert_eq!(succeeds(&mut three, 9999), is("http://a/", Started));
}

#[test]
fn a_stop_while_started_is_under_way_is_told_too() {
    let mut one = trackers(&[&["http://a/"]]);
    asks(&mut one, 0);
    one.stop(at(0));
    assert_eq!(one.poll(at(0)).unwrap().event, Stopped);
    one.answered("http://a/", Ok(&reply(1800, None)), at(1));
    assert_eq!(one.poll(at(1)), None);
    assert_eq!(one.poll(at(99_999)), None);
}

#[test]
fn hurrying_respects_the_shortest_interval() {
    let mut one = trackers(&[&["http://a/"]]);
    succeeds(&mut one, 0);
    one.hurry(at(10));
    assert_eq!(one.next_timeout(), Some(at(60)));
    let (url, _) = asks(&mut one, 60);
    one.answered(&url, Ok(&reply(1800, Some(900))), at(60));
    one.hurry(at(70));
    assert_eq!(one.next_timeout(), Some(at(960)));
    one.hurry(at(2000));
    assert_eq!(one.next_timeout(), Some(at(960)), "never later");
    let (url, _) = asks(&mut one, 960);
    one.answered(&url, Ok(&reply(60, Some(900))), at(960));
    assert_eq!(one.next_timeout(), Some(at(1860)));
}

#[test]
fn hurrying_does_not_shorten_a_back_off() {
    let mut one = trackers(&[&["http://a/"]]);
    fails(&mut one, 0);
    one.hurry(at(1));
    assert_eq!(one.poll(at(1)), None);
    assert_eq!(one.next_timeout(), Some(at(15)));
}

#[test]
fn what_cannot_be_asked_is_shown_with_the_reason() {
    let mut few = trackers(&[
        &["wss://x/", "http://a/"],
        &["dht://y"],
        &["http://a/", "udp://b:1"],
    ]);
    let order: Vec<String> = few.views().into_iter().map(|view| view.url).collect();
    assert_eq!(order, ["http://a/", "udp://b:1", "wss://x/", "dht://y"]);
    let shown = few.views().pop().expect("four");
    let status = "never asked: tracker URL is neither http, https nor udp";
    assert_eq!((&*shown.status, shown.next_announce), (status, None));
    assert_eq!(succeeds(&mut few, 0), is("http://a/", Started));
    let many: Vec<String> = (0..1000).map(|i| format!("http://{i}/")).collect();
    assert_eq!(Trackers::new(&[many], 1).views().len(), TRACKERS_MAX);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut one = trackers(&[&["http://a/"]]);
    one.answered("http://a/", Ok(&reply(1800, None)), at(0));
    one.answered("http://z/", Ok(&reply(1800, None)), at(0));
    assert_eq!(succeeds(&mut one, 0), is("http://a/", Started));
}

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Answer(bool),
    Complete,
    Hurry,
    Stop,
    Start,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_u64..4000).prop_map(Act::Pass),
        6 => any::<bool>().prop_map(Act::Answer),
        1 => Just(Act::Complete),
        1 => Just(Act::Hurry),
        1 => Just(Act::Stop),
        1 => Just(Act::Start),
    ];
    prop::collection::vec(act, 0..80)
}

proptest! {
    /// Whatever happens, no tracker hears anything between `stopped` and `started`, and the next
    /// timeout is never one at which nothing happens twice in a row.
    #[test]
    fn trackers_hear_started_first_and_stopped_last(acts in acts()) {
        let mut trackers = trackers(&[&["http://a/", "http://b/"], &["http://c/"]]);
        let mut now = 0;
        let mut asked: Option<Announce> = None;
        let mut known = BTreeSet::new();
        let mut stopping = false;
        for act in acts {
            match act {
                Act::Pass(secs) => now += secs,
                Act::Answer(ok) => {
                    let error = AnnounceError::Refused("no".to_owned());
                    if let Some(announce) = asked.take() {
                        let reply = reply(1800, None);
                        let result = if ok { Ok(&reply) } else { Err(&error) };
                        trackers.answered(&announce.url, result, at(now));
                        if ok && !stopping {
                            known.insert(announce.url);
                        }
                    }
                }
                Act::Complete => trackers.completed(at(now)),
                Act::Hurry => trackers.hurry(at(now)),
                Act::Stop => {
                    if let Some(announce) = asked.take() {
                        known.insert(announce.url);
                    }
                    trackers.stop(at(now));
                    stopping = true;
                }
                Act::Start => {
                    while stopping && trackers.poll(at(now)).is_some() {}
                    if stopping {
                        known.clear();
                    }
                    stopping = false;
                    trackers.start(at(now));
                }
            }
            for _ in 0..4 {
                let Some(announce) = trackers.poll(at(now)) else { break };
                match announce.event {
                    Started => prop_assert!(!known.contains(&announce.url)),
                    Interval | Completed => prop_assert!(known.contains(&announce.url)),
                    Stopped => prop_assert!(known.remove(&announce.url)),
                }
                if announce.event != Stopped {
                    prop_assert_eq!(&asked, &None);
                    asked = Some(announce);
                }
            }
            if let (None, Some(due)) = (&asked, trackers.next_timeout()) {
                prop_assert!(due > at(now));
            }
        }
    }
}
