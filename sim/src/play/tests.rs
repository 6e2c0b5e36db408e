//! Small scenarios, played.

mod demand;
mod edits;
mod watched;

use super::*;
use crate::scenario::Scenario;
use crate::stats::gini;

const PAYING: &str = r#"
[run]
duration = "30min"
[network]
[overlay]
kind = "full"
[[torrent]]
length = "16MiB"
piece = "256KiB"
[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "2MB/s" }
[[population]]
name = "payer"
count = 1
line = { uplink = "100kB/s", downlink = "10MB/s" }
boost = { budget = "1cr" }
[[population]]
name = "others"
count = 6
line = { uplink = "100kB/s", downlink = "10MB/s" }
"#;

fn played(text: &str) -> PlayOutcome {
    Play::new(&Scenario::parse("test", text).unwrap()).run()
}

#[test]
fn who_boosts_is_done_first_and_what_it_spent_was_earned() {
    let played = played(PAYING);
    let (payer, others) = (played.took("payer"), played.took("others"));
    assert_eq!((payer.len(), others.len()), (1, 6));
    assert!(payer[0] < others[0], "{payer:?} {others:?}");
    let sum = |of: fn(&PeerRow) -> u64| played.peers.iter().map(of).sum::<u64>();
    assert!(sum(|row| row.spent) > 0);
    assert_eq!(sum(|row| row.spent), sum(|row| row.earned));
    assert!(sum(|row| row.uploaded) >= sum(|row| row.downloaded));
    assert!(sum(|row| row.paid_received) > 0);
    assert_eq!(sum(|row| row.paid_received), sum(|row| row.paid_sent));
}

#[test]
fn a_series_tells_prices_and_the_rarest_piece_and_who_serves_whom() {
    let text = PAYING.replace("[run]", "[run]\nseries_every = \"10s\"");
    let played = played(&text);
    let prices: Vec<[f64; 3]> = played.series.iter().filter_map(|row| row.price).collect();
    assert!(!prices.is_empty());
    for [low, half, high] in prices {
        // One payer: all of a row's payload is at its mean; no bid is above 2 cr/GiB.
        assert!(
            low > 0.0 && low <= half && half <= high && high <= 2e6,
            "{low} {half} {high}"
        );
    }
    let copies: Vec<Option<u64>> = played.series.iter().map(|row| row.rarest_copies).collect();
    assert_eq!(copies[0], Some(1), "the seeder's alone");
    assert_eq!(copies[copies.len() - 1], None, "nobody wants it any more");
    let most = copies.iter().flatten().max().unwrap();
    assert!((2..=8).contains(most), "{most}");
    let seen: u64 = played.unchokes.iter().map(|row| row.unchoked).sum();
    let together: u64 = played.unchokes.iter().map(|row| row.together).sum();
    assert!(seen > 0 && seen <= together, "{seen} of {together}");
    // What the seeder gives is not counted: it is the fastest of eight, and no leecher.
    assert!(
        played
            .unchokes
            .iter()
            .all(|row| row.giver < 7 && row.taker < 7)
    );
}

#[test]
fn without_its_only_seed_the_rarest_piece_is_nowhere() {
    let text = PAYING.replace("16MiB", "64MiB").replace("30min", "2min");
    let leaves = "[[event]]\ndo = \"leave\"\nat = \"20s\"\npopulation = \"seeder\"\n\
        share = \"100%\"\n";
    let played =
        played(&format!("{text}{leaves}").replace("[run]", "[run]\nseries_every = \"5s\""));
    let last = played.series.last().unwrap();
    assert_eq!(last.rarest_copies, Some(0));
}

#[test]
fn who_has_less_than_its_budget_orders_with_what_it_has() {
    let payer = "name = \"payer\"\ncount = 1\n";
    let poor = format!("{payer}grant = \"0.01cr\"\n");
    let played = played(&PAYING.replace(payer, &poor));
    let row = played.peers.iter().find(|row| row.population == "payer");
    let row = row.unwrap();
    assert_eq!(row.granted, 10_000);
    assert!(row.spent > 0 && row.spent <= row.granted, "{row:?}");
}

#[test]
fn a_series_tells_credit_as_the_books_do_in_the_end() {
    let played = played(&PAYING.replace("[run]", "[run]\nseries_every = \"5s\""));
    let sum = |of: fn(&PeerRow) -> u64| played.peers.iter().map(of).sum::<u64>();
    let last = played.series.last().unwrap();
    let lasted = played.lasted.as_nanos() as f64 / 1e9;
    assert!((last.time - lasted).abs() < 1e-9);
    assert_eq!(last.spent, sum(|row| row.spent));
    assert_eq!(last.paid, sum(|row| row.paid_received));
    // Nothing is made or lost on the way, apart from what is being carried.
    let granted = sum(|row| row.granted);
    for row in &played.series[1..] {
        assert!(row.held <= granted, "{row:?}");
        assert!(row.held * 100 >= granted * 99, "{row:?}");
    }
    let ends = |row: &PeerRow| (row.granted + row.earned - row.spent) as f64;
    let ends: Vec<f64> = played.peers.iter().map(ends).collect();
    let [told, booked] = [last.held_gini.unwrap(), gini(&ends).unwrap()];
    assert!((told - booked).abs() < 1e-3, "{told} {booked}");
}

#[test]
fn a_first_piece_comes_before_the_last() {
    let played = played(PAYING);
    for row in &played.peers {
        match row.population.as_str() {
            "seeder" => assert_eq!((row.first_piece, row.wanted), (None, 0)),
            _ => {
                assert_eq!(row.wanted, 16 << 20);
                assert!(row.joined < row.first_piece, "{row:?}");
                assert!(row.first_piece < row.done, "{row:?}");
            }
        }
    }
}

#[test]
fn a_run_is_a_function_of_its_scenario_and_seed() {
    let again = played(PAYING);
    assert_eq!(played(PAYING).state_hash(), again.state_hash());
    let other = PAYING.replace("[run]", "[run]\nseed = 2");
    assert_ne!(played(&other).state_hash(), again.state_hash());
}

#[test]
fn who_comes_later_and_leaves_after_seeding_is_told_so() {
    let text = PAYING.replace(
        "name = \"others\"",
        "name = \"others\"\narrivals = { kind = \"poisson\", at = \"10s\", every = \"5s\" }\n\
         seeding = { kind = \"for\", time = \"3s..9s\" }",
    );
    let played = played(&text);
    let others = played.peers.iter().filter(|row| row.population == "others");
    for row in others {
        let (joined, done) = (row.joined.unwrap(), row.done.unwrap());
        assert!(joined >= 10.0, "{row:?}");
        if let Some(left) = row.left {
            assert!((3.0..9.1).contains(&(left - done)), "{row:?}");
        }
    }
    assert!(played.peers.iter().any(|row| row.left.is_some()));
}

#[test]
fn a_free_rider_is_later_than_its_honest_twin_where_leechers_feed_each_other() {
    let text = |strategy: &str| {
        format!(
            "[run]\nduration = \"1h\"\n[overlay]\nkind = \"full\"\n\
             [[torrent]]\nlength = \"64MiB\"\npiece = \"256KiB\"\n\
             [[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\n\
             line = {{ uplink = \"2MB/s\" }}\n\
             [[population]]\nname = \"one\"\ncount = 1\nslots = 4\nstrategy = \"{strategy}\"\n\
             line = {{ uplink = \"500kB/s\" }}\n\
             [[population]]\nname = \"others\"\ncount = 30\nslots = 4\n\
             line = {{ uplink = \"500kB/s\" }}\n\
             seeding = {{ kind = \"for\", time = \"0s\" }}\n"
        )
    };
    let (honest, rider) = (played(&text("honest")), played(&text("free-rider")));
    let [honest, took] = [honest.took("one")[0], rider.took("one")[0]];
    assert!(took > 1.1 * honest, "{took} against {honest}");
    let row = rider
        .peers
        .iter()
        .find(|row| row.population == "one")
        .unwrap();
    assert_eq!(row.uploaded, 0);
}

#[test]
fn time_passes_before_anybody_comes() {
    let text = r#"
[[torrent]]
length = "1MiB"
[[population]]
name = "all"
count = 1
has = "100%"
line = { uplink = "1MB/s" }
arrivals = { kind = "at-once", at = "90s" }
[[population]]
name = "one"
count = 1
line = { uplink = "1MB/s" }
arrivals = { kind = "at-once", at = "2min" }
"#;
    let row = played(text).peers.pop().unwrap();
    assert_eq!(row.joined, Some(120.0));
    assert!(row.done.is_some());
}

#[test]
fn who_leaves_at_an_event_is_not_waited_for() {
    let text = format!(
        "{PAYING}\n[[event]]\nat = \"5s\"\ndo = \"leave\"\npopulation = \"others\"\n\
         share = \"50%\"\n"
    );
    let played = played(&text);
    let gone = played.peers.iter().filter(|row| row.left == Some(5.0));
    assert_eq!(gone.count(), 3);
    assert_eq!(played.took("others").len(), 3);
}

/// Everybody comes later than whoever else there may be, and chance has a say on every line.
const CHANCY: &str = r#"
[run]
duration = "30min"
[[torrent]]
name = "file"
length = "4MiB"
piece = "64KiB"
[[torrent]]
name = "other"
length = "1MiB"
piece = "64KiB"
[[population]]
name = "seeder"
count = 1
torrent = "file"
has = "100%"
line = { uplink = "500kB/s", jitter = "5ms", loss_ppm = 5000 }
arrivals = { kind = "at-once", at = "3s" }
[[population]]
name = "leechers"
count = 8
torrent = "file"
line = { uplink = "200kB/s", jitter = "5ms", loss_ppm = 5000 }
arrivals = { kind = "poisson", at = "4s", every = "1s" }
"#;

#[test]
fn an_unconnected_peer_changes_nothing_for_the_others() {
    let elsewhere = "[[population]]\nname = \"elsewhere\"\ncount = 3\ntorrent = \"other\"\n\
                     has = \"100%\"\nline = { uplink = \"200kB/s\", jitter = \"9ms\" }\n";
    let alone = played(CHANCY).peers;
    let mut beside = played(&format!("{CHANCY}{elsewhere}")).peers;
    beside.retain(|row| row.population != "elsewhere");
    assert!(alone.iter().filter(|row| row.done.is_some()).count() == 8);
    assert_eq!(alone, beside);
}
