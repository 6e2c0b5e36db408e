//! Small scenarios, played as flows.

use super::*;

const SWARM: &str = r#"
[run]
tier = "flow"
duration = "4h"
paranoid = true
[[torrent]]
length = "128MiB"
piece = "1MiB"
[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "1MB/s" }
[[population]]
name = "others"
count = 60
line = { uplink = "1MB/s", downlink = "10MB/s" }
"#;

const PAYING: &str = r#"
[run]
tier = "flow"
duration = "2h"
paranoid = true
[network]
grant = "10cr"
[[torrent]]
length = "128MiB"
piece = "1MiB"
[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "2MB/s" }
[[population]]
name = "payer"
count = 1
line = { uplink = "125kB/s", downlink = "10MB/s" }
boost = { budget = "1cr", bid = "2cr/GiB" }
[[population]]
name = "others"
count = 20
line = { uplink = "125kB/s", downlink = "10MB/s" }
"#;

fn played(text: &str) -> PlayOutcome {
    crate::play::outcome(&Scenario::parse("test", text).unwrap())
}

fn median(played: &PlayOutcome, name: &str) -> f64 {
    let took = played.took(name);
    took[took.len() / 2]
}

#[test]
fn nobody_is_done_before_the_content_was_sent_out_and_most_when_the_block_tier_says() {
    let played = played(SWARM);
    let took = played.took("others");
    assert_eq!(took.len(), 60);
    // Row 2: F / u_s.
    let least = 134.2;
    assert!(took[0] >= least, "{} before {least}", took[0]);
    // The block tier's median of this scenario is 164.6 s, and its last is done after 165.1 s.
    let apart = (took[30] / 164.6 - 1.0).abs();
    assert!(apart < 0.1, "{} is far from the block tier's", took[30]);
    let sum = |of: fn(&crate::play::PeerRow) -> u64| played.peers.iter().map(of).sum::<u64>();
    assert_eq!(sum(|row| row.uploaded), sum(|row| row.downloaded));
    assert_eq!(sum(|row| row.downloaded), 60 * (128 << 20));
}

#[test]
fn a_run_is_a_function_of_its_scenario_and_seed_on_any_number_of_threads() {
    for text in [SWARM, PAYING] {
        for sharing in ["max-min", "one-pass"] {
            let once = |seed: u64, threads: u64| {
                let run =
                    format!("[run]\nseed = {seed}\nthreads = {threads}\nsharing = \"{sharing}\"");
                played(&text.replace("[run]", &run)).state_hash()
            };
            assert_eq!(once(1, 1), once(1, 1));
            assert_eq!(once(1, 1), once(1, 2));
            assert_eq!(once(1, 1), once(1, 3));
            assert_ne!(once(1, 1), once(2, 1));
        }
    }
}

/// Metamorphic: with every capacity, the file and the piece twice as large, nobody's times change.
#[test]
fn twice_the_capacities_the_file_and_the_piece_take_exactly_as_long() {
    let text = SWARM
        .replace(
            "uplink = \"1MB/s\", downlink",
            "profile = \"legout2007\", downlink",
        )
        .replace(
            "count = 60",
            "count = 60\nseeding = { kind = \"for\", time = \"0s..60s\" }",
        );
    let fixed = |up: &str, down: &str, length: &str, piece: &str| {
        text.replace("profile = \"legout2007\"", &format!("uplink = \"{up}\""))
            .replace("10MB/s", down)
            .replace("128MiB", length)
            .replace("piece = \"1MiB\"", &format!("piece = \"{piece}\""))
    };
    let once = fixed("777kB/s", "5MB/s", "128MiB", "1MiB");
    let twice = fixed("1554kB/s", "10MB/s", "256MiB", "2MiB").replace("1MB/s", "2MB/s");
    let [once, twice] = [played(&once), played(&twice)];
    let times = |played: &PlayOutcome| {
        let rows = played.peers.iter();
        rows.map(|row| (row.joined, row.done, row.left))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&once), times(&twice));
    assert!(once.took("others").len() == 60);
}

#[test]
fn who_boosts_is_done_first_and_what_it_spent_was_earned() {
    let with = played(PAYING);
    let without = played(&PAYING.replace("boost = { budget = \"1cr\", bid = \"2cr/GiB\" }", ""));
    let (payer, before) = (median(&with, "payer"), median(&without, "payer"));
    assert!(payer < 0.6 * before, "{payer} against {before}");
    assert!(payer < median(&with, "others"));
    let sum = |of: fn(&crate::play::PeerRow) -> u64| with.peers.iter().map(of).sum::<u64>();
    assert!(sum(|row| row.spent) > 0);
    assert_eq!(sum(|row| row.spent), sum(|row| row.earned));
}

/// RULES, upload rate: the open class gets the open share of the rate, and the paid class the rest.
#[test]
fn a_payer_alone_gets_what_the_open_share_leaves() {
    let share = |percent: u64| {
        let text = PAYING.replace(
            "has = \"100%\"",
            &format!("has = \"100%\"\nopen_share = \"{percent}%\""),
        );
        median(&played(&text), "payer")
    };
    let [small, large] = [share(20), share(80)];
    assert!(small < 0.8 * large, "{small} against {large}");
}

#[test]
fn below_the_ask_nobody_is_paid() {
    let text = PAYING.replace("has = \"100%\"", "has = \"100%\"\nask = \"5cr/GiB\"");
    let text = text.replace("name = \"others\"", "name = \"others\"\nask = \"5cr/GiB\"");
    let played = played(&text);
    assert!(
        played
            .peers
            .iter()
            .all(|row| row.spent == 0 && row.earned == 0)
    );
}

#[test]
fn a_boost_without_credit_is_refused_and_says_so_and_with_too_little_spends_that() {
    let poor = |amount: &str| played(&PAYING.replace("\"10cr\"", &format!("\"{amount}\"")));
    let some = poor("0.01cr");
    let spent = some.peers.iter().map(|row| row.spent).sum::<u64>();
    assert!((9_000..=10_000).contains(&spent), "{spent}");
    assert!(some.peers.iter().all(|row| row.boost_refused.is_none()));
    let played = poor("0cr");
    let refused = played
        .peers
        .iter()
        .filter_map(|row| row.boost_refused.as_ref());
    let refused: Vec<&String> = refused.collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("needs 1.000000 cr"), "{refused:?}");
}

/// The scenario by which the block tier shows the same.
#[test]
fn a_free_rider_gives_nothing_and_is_later_than_its_honest_twin() {
    let text = |strategy: &str| {
        format!(
            "[run]\ntier = \"flow\"\nduration = \"1h\"\n[overlay]\nkind = \"full\"\n\
             [[torrent]]\nlength = \"32MiB\"\npiece = \"256KiB\"\n\
             [[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\n\
             line = {{ uplink = \"2MB/s\" }}\n\
             [[population]]\nname = \"one\"\ncount = 1\nstrategy = \"{strategy}\"\n\
             line = {{ uplink = \"500kB/s\" }}\n\
             [[population]]\nname = \"others\"\ncount = 30\nslots = 4\n\
             line = {{ uplink = \"500kB/s\" }}\n\
             seeding = {{ kind = \"for\", time = \"0s\" }}\n"
        )
    };
    let (honest, rider) = (played(&text("honest")), played(&text("free-rider")));
    let [twin, took] = [honest.took("one")[0], rider.took("one")[0]];
    assert!(took > 1.1 * twin, "{took} against {twin}");
    let row = rider
        .peers
        .iter()
        .find(|row| row.population == "one")
        .unwrap();
    assert_eq!(row.uploaded, 0);
}

#[test]
fn who_leaves_at_an_event_or_after_seeding_is_told_so() {
    let text = format!(
        "{SWARM}seeding = {{ kind = \"for\", time = \"3s..9s\" }}\n\
         [[event]]\nat = \"30s\"\ndo = \"leave\"\npopulation = \"others\"\nshare = \"50%\"\n"
    );
    let played = played(&text);
    let gone = played.peers.iter().filter(|row| row.left == Some(30.0));
    assert_eq!(gone.count(), 30);
    let stayed: Vec<_> = played
        .peers
        .iter()
        .filter(|row| row.done.is_some())
        .collect();
    assert_eq!(stayed.len(), 30);
    for row in stayed {
        if let Some(left) = row.left {
            assert!((3.0..9.1).contains(&(left - row.done.unwrap())), "{row:?}");
        }
    }
}

/// What nobody has sent out cannot be had: the only seed leaves when half of it is out.
#[test]
fn nobody_is_done_whose_only_seed_left_too_soon() {
    let text = format!(
        "{SWARM}[[event]]\nat = \"60s\"\ndo = \"leave\"\npopulation = \"seeder\"\n\
         share = \"100%\"\n"
    );
    let played = played(&text);
    assert!(played.took("others").is_empty());
    let most = played.peers.iter().map(|row| row.downloaded).max().unwrap();
    assert!((55_000_000..=60_000_000).contains(&most), "{most} of 60 MB");
}

#[test]
fn what_only_the_block_tier_plays_is_refused_by_name() {
    let text = SWARM.replace(
        "name = \"others\"",
        "name = \"others\"\nstrategy = \"garbage-seeder\"",
    );
    let error = Scenario::parse("test", &text).unwrap_err().to_string();
    assert!(
        error.contains("\"others\": strategy: the flow tier does not play it"),
        "{error}"
    );
    let text = SWARM.replace("[run]", "[run]\nstep = \"3s\"");
    let error = Scenario::parse("test", &text).unwrap_err().to_string();
    assert!(error.contains("a part of 10s"), "{error}");
}

/// Every key that means something and is not played is refused, and says where.
#[test]
fn what_is_not_played_is_refused_by_its_key() {
    let sound = SWARM.replace("[run]", "[network]\n[run]");
    Scenario::parse("test", &sound).unwrap();
    let of = |line: &str| sound.replace("name = \"others\"", &format!("name = \"others\"\n{line}"));
    let line = |more: &str| {
        sound.replace(
            "downlink = \"10MB/s\"",
            &format!("{more}, downlink = \"10MB/s\""),
        )
    };
    let event = |what: &str| {
        format!("{sound}[[event]]\nat = \"1s\"\ndo = \"change\"\npopulation = \"others\"\n{what}\n")
    };
    let run = |line: &str| sound.replace("[run]", &format!("[run]\n{line}"));
    let wants = "demand = [{ torrent = \"torrent\" }]";
    for (key, text) in [
        ("strategy", of("strategy = \"propshare\"")),
        ("demand", of(wants)),
        (
            "holds",
            of("holds = [\"other\"]") + "[[torrent]]\nname = \"other\"\nlength = \"1MiB\"\n",
        ),
        ("spend_per_day_max", of("spend_per_day_max = \"1cr\"")),
        ("paid_rule", of("paid_rule = \"proportional\"")),
        (
            "paid_rule",
            sound.replace("[network]", "[network]\npaid_rule = \"uniform-price\""),
        ),
        ("paid_rule", event("paid_rule = \"proportional\"")),
        ("boost", event("boost = { budget = \"1cr\" }")),
        ("jitter", line("jitter = \"1ms\"")),
        ("loss_ppm", line("loss_ppm = 1")),
        ("buffer", line("buffer = \"1s\"")),
        ("real_signatures", run("real_signatures = true")),
    ] {
        let error = Scenario::parse("test", &text).unwrap_err();
        let said = format!("{key}: the flow tier does not play it: leave it out");
        assert!(error.problem.contains(&said), "{key}: {error}");
        let block = text.replace("tier = \"flow\"", "tier = \"block\"");
        Scenario::parse("test", &block).unwrap();
    }
    for (problem, text) in [
        ("threads", run("threads = 0")),
        ("step", run("step = \"30s\"")),
        (
            "overlay",
            sound.replace("count = 60", "count = 60_000") + "[overlay]\nkind = \"full\"\n",
        ),
        (
            "4000001 peers",
            sound.replace("count = 60", "count = 4_000_000"),
        ),
    ] {
        let error = Scenario::parse("test", &text).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

/// Who loses patience is gone by then, done or not; who goes offline comes back with what it had.
#[test]
fn who_has_no_patience_leaves_and_who_goes_offline_comes_back() {
    let text = SWARM.replace(
        "name = \"others\"",
        "name = \"others\"\npatience = \"30s..90s\"",
    );
    let impatient = played(&text);
    assert!(impatient.took("others").is_empty());
    for row in impatient
        .peers
        .iter()
        .filter(|row| row.population == "others")
    {
        let stayed = row.left.unwrap() - row.joined.unwrap();
        assert!((30.0..=90.0).contains(&stayed), "{stayed}");
    }
    let churn = "churn = { online = \"exp(60s)\", offline = \"exp(60s)\" }";
    let text = SWARM.replace("name = \"others\"", &format!("name = \"others\"\n{churn}"));
    let churned = played(&text);
    let (stable, took) = (median(&played(SWARM), "others"), churned.took("others"));
    assert_eq!(took.len(), 60, "all come back and are done");
    let slower = took[30] / stable;
    assert!(
        (1.3..4.0).contains(&slower),
        "{slower} times as long, half of it away"
    );
    assert!(churned.peers.iter().all(|row| row.left.is_none()));
    let sum = |of: fn(&crate::play::PeerRow) -> u64| churned.peers.iter().map(of).sum::<u64>();
    assert_eq!(sum(|row| row.uploaded), sum(|row| row.downloaded));
}

#[test]
fn events_change_prices_and_limits_grant_credit_and_have_peers_join() {
    let ask =
        "[[event]]\nat = \"10s\"\ndo = \"change\"\npopulation = \"NAME\"\nask = \"9cr/GiB\"\n";
    let asks = ["seeder", "others"]
        .map(|name| ask.replace("NAME", name))
        .concat();
    let dear = played(&format!("{PAYING}{asks}"));
    let usual = played(PAYING);
    let spent = |played: &PlayOutcome| played.peers.iter().map(|row| row.spent).sum::<u64>();
    assert!(
        spent(&dear) > 0 && spent(&dear) < spent(&usual) / 2,
        "{}",
        spent(&dear)
    );
    let slow = "[[event]]\nat = \"10s\"\ndo = \"change\"\npopulation = \"seeder\"\n\
                upload_limit = \"50%\"\n";
    let slow = played(&format!("{SWARM}{slow}"));
    let longer = median(&slow, "others") / median(&played(SWARM), "others");
    assert!((1.6..2.1).contains(&longer), "{longer} times as long");
    // What is granted later is enough for a boost that was refused.
    let grant = "[[event]]\nat = \"60s\"\ndo = \"grant\"\npopulation = \"payer\"\n\
                 amount = \"1cr\"\nevery = \"1min\"\n";
    let poor = PAYING.replace("grant = \"10cr\"", "grant = \"0cr\"\nsupply_max = \"2cr\"");
    let late = played(&format!("{poor}{grant}"));
    let payer = late
        .peers
        .iter()
        .find(|row| row.population == "payer")
        .unwrap();
    assert_eq!(payer.granted, 2_000_000, "as far as the supply goes");
    assert_eq!(payer.boost_refused, None);
    assert!(payer.spent > 0);
    let join =
        "[[event]]\nat = \"1min\"\ndo = \"join\"\npopulation = \"others\"\nwithin = \"10s\"\n";
    let text = SWARM.replace(
        "name = \"others\"",
        "name = \"others\"\narrivals = { kind = \"on-event\" }",
    );
    let joined = played(&format!("{text}{join}"));
    let others = joined.peers.iter().filter(|row| row.population == "others");
    for row in others {
        assert!((60.0..=70.0).contains(&row.joined.unwrap()), "{row:?}");
    }
}

/// Rows say what the block tier's say.
#[test]
fn rows_of_peers_fetches_and_the_series_are_filled() {
    let played = played(PAYING);
    assert_eq!(played.fetches.len(), 21);
    for row in played.peers.iter().filter(|row| row.wanted > 0) {
        let first = row.first_piece.unwrap();
        assert!(
            row.joined.unwrap() < first && first < row.done.unwrap(),
            "{row:?}"
        );
        assert_eq!(row.downloaded, row.wanted);
    }
    let payer = played
        .peers
        .iter()
        .find(|row| row.population == "payer")
        .unwrap();
    assert!(payer.paid_received > 0 && payer.paid_received <= payer.downloaded);
    let sum = |of: fn(&crate::play::PeerRow) -> u64| played.peers.iter().map(of).sum::<u64>();
    assert_eq!(sum(|row| row.paid_received), sum(|row| row.paid_sent));
    let last = played.series.last().unwrap();
    assert_eq!(last.held, sum(|row| row.granted));
    assert_eq!(last.spent, sum(|row| row.spent));
    assert_eq!(last.uplink, sum(|row| row.uplink));
    assert!(last.held_gini.unwrap() < 0.2);
    let prices: Vec<[f64; 3]> = played.series.iter().filter_map(|row| row.price).collect();
    assert!(!prices.is_empty());
    assert!(
        prices
            .iter()
            .flatten()
            .all(|price| (1.0..=2e6 + 1.0).contains(price))
    );
    assert!(played.series.iter().all(|row| row.rarest_copies.is_none()));
    let seen: u64 = played.unchokes.iter().map(|row| row.unchoked).sum();
    let together: u64 = played.unchokes.iter().map(|row| row.together).sum();
    assert!(seen > 0 && seen <= together, "{seen} of {together}");
}

/// Leechers of like capacities find each other, as in Legout et al. (SIGMETRICS 2007).
#[test]
fn the_fast_unchoke_the_fast() {
    let text = SWARM
        .replace(
            "uplink = \"1MB/s\", downlink",
            "profile = \"legout2007\", downlink",
        )
        .replace("[run]", "[run]\nseries_every = \"10s\"");
    let played = played(&text);
    let share = |fast: bool| {
        let rows = played.unchokes.iter();
        let rows = rows.filter(|row| row.giver >= 14 && (row.taker >= 14) == fast);
        let (mut seen, mut all) = (0.0, 0.0);
        for row in rows {
            seen += row.unchoked as f64;
            all += row.together as f64;
        }
        seen / all
    };
    assert!(
        share(true) > 1.5 * share(false),
        "{} {}",
        share(true),
        share(false)
    );
}

#[test]
fn either_tier_tells_how_far_it_is_and_can_be_stopped() {
    for tier in ["flow", "block"] {
        let text = SWARM.replace("tier = \"flow\"", &format!("tier = \"{tier}\""));
        let text = text
            .replace("128MiB", "4MiB")
            .replace("paranoid = true", "");
        let scenario = Scenario::parse("test", &text).unwrap();
        let mut told = Vec::new();
        let watch = |progress: &PlayProgress| told.push(*progress);
        let whole = crate::play::outcome_unless(&scenario, watch, || false).unwrap();
        assert_eq!(whole, crate::play::outcome(&scenario));
        assert_eq!(told[0].wanting, 60, "{tier}");
        assert_eq!(told[0].wanted, 60 * (4 << 20), "{tier}");
        assert_eq!(told[0].end, scenario.run.duration.0, "{tier}");
        let stopped = crate::play::outcome_unless(&scenario, |_| (), || true);
        assert_eq!(stopped, None, "{tier}");
    }
}
