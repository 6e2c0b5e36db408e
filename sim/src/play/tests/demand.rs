//! Who comes and goes, what each wants, what events change; and that one population's draws are its
//! own.

use super::*;
use crate::scenario::Population;

fn scenario(text: &str) -> Scenario {
    Scenario::parse("test", text).unwrap()
}

/// [`PAYING`] with these lines in the population of the others.
fn others_with(lines: &str) -> String {
    PAYING.replace("name = \"others\"", &format!("name = \"others\"\n{lines}"))
}

#[test]
fn who_goes_offline_comes_back_with_what_it_had() {
    let always = played(PAYING);
    let text = others_with("churn = { online = \"20s..40s\", offline = \"15s..30s\" }");
    let churned = played(&text);
    assert_eq!(churned.took("others").len(), 6);
    let last = |played: &PlayOutcome| played.took("others").last().copied().unwrap();
    assert!(last(&churned) > 1.15 * last(&always), "{}", last(&churned));
    let len = 16 << 20;
    for row in churned
        .peers
        .iter()
        .filter(|row| row.population == "others")
    {
        assert!(row.downloaded >= len, "all lives count: {row:?}");
        assert!(
            row.downloaded < len * 5 / 4,
            "nothing is fetched anew: {row:?}"
        );
        assert_eq!(row.left, None);
    }
    let payer = churned.peers.iter().find(|row| row.population == "payer");
    assert!(payer.unwrap().spent > 0);
    assert_eq!(played(&text).state_hash(), churned.state_hash());
}

#[test]
fn a_payer_that_was_offline_pays_on() {
    let text = PAYING.replace(
        "boost =",
        "churn = { online = \"3s\", offline = \"5s\" }\nboost =",
    );
    let played = played(&text);
    let row = played
        .peers
        .iter()
        .find(|row| row.population == "payer")
        .unwrap();
    assert!(row.took().unwrap() > 8.0, "it was away: {row:?}");
    let earned = played.peers.iter().map(|row| row.earned).sum::<u64>();
    // What it signed last may not have been told to anybody yet: it goes on being away.
    assert!(
        earned <= row.spent && earned > row.spent * 9 / 10,
        "{earned}"
    );
}

#[test]
fn who_loses_patience_leaves_without() {
    let played = played(&others_with("patience = \"10s..12s\""));
    let others = || played.peers.iter().filter(|row| row.population == "others");
    assert_eq!(others().count(), 6);
    for row in others() {
        assert_eq!(row.done, None);
        assert!((10.0..12.0).contains(&row.left.unwrap()), "{row:?}");
    }
    assert!(played.lasted.as_secs() < 60, "nobody is waited for");
}

/// Forty want one of three torrents, of which the wanted one changes after ten minutes.
const DEMAND: &str = r#"
[run]
duration = "2h"
[[torrent]]
name = "old"
length = "1MiB"
piece = "64KiB"
[[torrent]]
name = "new"
length = "2MiB"
piece = "64KiB"
[[torrent]]
name = "never"
length = "1MiB"
piece = "64KiB"
[[population]]
name = "seeder"
count = 1
has = "100%"
holds = ["new", "never"]
line = { uplink = "5MB/s" }
[[population]]
name = "peers"
count = 40
demand = [
    { torrent = "old", weight = 9, to = 1, from = "10min", by = "601s" },
    { torrent = "new", weight = 1, to = 9, from = "10min", by = "601s" },
    { torrent = "never", weight = 0 },
]
line = { uplink = "1MB/s" }
arrivals = { kind = "flash", within = "20min" }
"#;

#[test]
fn what_is_wanted_changes_with_time() {
    let played = played(DEMAND);
    assert_eq!(played.fetches.len(), 40);
    let share = |from: f64, to: f64| {
        let rows = played.fetches.iter();
        let rows = rows.filter(|row| (from..to).contains(&row.begun));
        let (old, all) = rows.fold((0, 0), |(old, all), row| {
            (old + u32::from(row.torrent == "old"), all + 1)
        });
        f64::from(old) / f64::from(all)
    };
    assert!(share(0.0, 600.0) > 0.7, "{}", share(0.0, 600.0));
    assert!(share(602.0, 2_000.0) < 0.3, "{}", share(602.0, 2_000.0));
    assert!(played.fetches.iter().all(|row| row.torrent != "never"));
}

#[test]
fn who_wants_several_fetches_one_after_the_other() {
    let played = played(&DEMAND.replace("count = 40", "count = 8\nfetches = 3"));
    assert_eq!(played.took("peers").len(), 8);
    for index in 0..8 {
        let of = played
            .fetches
            .iter()
            .filter(|row| row.population == "peers" && row.index == index);
        let of: Vec<&FetchRow> = of.collect();
        let names: std::collections::BTreeSet<&str> =
            of.iter().map(|row| row.torrent.as_str()).collect();
        assert_eq!(names.len(), 3, "{of:?}");
        assert_eq!(of[2].torrent, "never", "what weighs nothing is wanted last");
        assert!(
            of.windows(2)
                .all(|pair| pair[1].begun >= pair[0].done.unwrap())
        );
        let peer = played.peers.iter().filter(|row| row.population == "peers");
        let peer = peer.clone().find(|row| row.index == index).unwrap();
        assert_eq!(peer.done, of[2].done);
        assert!(peer.downloaded >= 4 << 20, "{peer:?}");
    }
}

#[test]
fn a_whale_that_is_expected_later_comes_then() {
    let text = format!(
        "{PAYING}\n[[event]]\nat = \"20s\"\ndo = \"join\"\npopulation = \"payer\"\n\
         within = \"5s\"\n"
    );
    let text = text.replace("boost =", "arrivals = { kind = \"on-event\" }\nboost =");
    let played = played(&text);
    let row = played
        .peers
        .iter()
        .find(|row| row.population == "payer")
        .unwrap();
    assert!((20.0..25.0).contains(&row.joined.unwrap()), "{row:?}");
    assert!(row.spent > 0);
}

#[test]
fn credit_is_granted_on_a_schedule_up_to_the_supply() {
    let granted = |network: &str| {
        let text = PAYING.replace("[network]", &format!("[network]\n{network}"));
        let text = format!(
            "{text}\n[[event]]\nat = \"30s\"\ndo = \"grant\"\npopulation = \"others\"\n\
             amount = \"2cr\"\nevery = \"15s\"\n"
        );
        let played = played(&text);
        let rows = played.peers.iter().map(|row| row.granted);
        (rows.sum::<u64>() / 1_000_000, played.lasted.as_secs())
    };
    let (all, lasted) = granted("grant = \"1cr\"");
    let times = (lasted - 30) / 15 + 1;
    assert!(times > 1, "{lasted} s");
    assert_eq!(all, 8 + 12 * times);
    let (some, _) = granted("grant = \"1cr\"\nsupply_max = \"11cr\"");
    assert_eq!(some, 10, "8 as they come, one of the first six grants");
}

#[test]
fn a_payee_that_asks_more_is_paid_no_longer() {
    let spent = |event: &str| {
        let text = format!("{PAYING}{event}").replace("16MiB", "64MiB");
        let played = played(&text);
        played.peers.iter().map(|row| row.spent).sum::<u64>()
    };
    let usual = spent("");
    let dear = spent(
        "\n[[event]]\nat = \"8s\"\ndo = \"change\"\npopulation = \"seeder\"\nask = \"9cr/GiB\"\n",
    );
    assert!(dear > 0 && dear < usual / 2, "{dear} of {usual}");
}

/// What is drawn of everybody but these.
fn draws_without(text: &str, but: &str) -> Vec<String> {
    let scenario = scenario(text);
    let all = roll::call(&scenario, Streams::new(scenario.run.seed));
    let name = |guest: &Participant| scenario.populations[guest.population].name.clone();
    let rest = all.iter().filter(|guest| name(guest) != but);
    let draws = rest.map(|guest| {
        let (name, link) = (name(guest), guest.link);
        let Participant {
            index,
            comes_at,
            key,
            session_seed,
            phase,
            ..
        } = guest;
        format!("{name} {index} {link:?} {comes_at:?} {key} {session_seed} {phase:?}")
    });
    draws.collect()
}

#[test]
fn another_strategy_or_one_more_population_changes_nobody_elses_draws() {
    const MIX: &str = "[[torrent]]\nlength = \"1MiB\"\npiece = \"64KiB\"\n\
        [[population]]\nname = \"a\"\ncount = 20\n\
        line = { profile = \"modern\", delay = \"5ms..50ms\" }\n\
        arrivals = { kind = \"poisson\", every = \"9s\" }\n\
        [[population]]\nname = \"b\"\ncount = 20\n\
        line = { table = [[\"0%\", \"1kB/s\"], [\"100%\", \"9MB/s\"]] }\n\
        arrivals = { kind = \"flash\", within = \"90s\" }\n";
    let usual = draws_without(MIX, "c");
    assert_eq!(usual.len(), 40);
    let others = |more: &str| {
        let text = MIX.replace("name = \"b\"", &format!("name = \"b\"\n{more}"));
        draws_without(&text, "b")
    };
    let strategies =
        "strategy = \"free-rider\"\nslots = 3\nseeding = { kind = \"for\", time = \"9s\" }";
    assert_eq!(others(strategies), usual[..20]);
    assert_eq!(
        others("churn = { online = \"9s\", offline = \"9s\" }"),
        usual[..20]
    );
    let more = "[[population]]\nname = \"c\"\ncount = 9\nline = { profile = \"modern\" }\n";
    assert_eq!(draws_without(&format!("{MIX}{more}"), "c"), usual);
    let split = MIX.split_once("[[population]]").unwrap();
    let before = format!("{}{more}[[population]]{}", split.0, split.1);
    assert_eq!(
        draws_without(&before, "c"),
        usual,
        "also one that stands before them"
    );
    assert_ne!(
        draws_without(&format!("[run]\nseed = 2\n{MIX}"), "c"),
        usual
    );
}

#[test]
fn rounds_of_different_peers_are_not_in_step() {
    let scenario = scenario(PAYING);
    let all = roll::call(&scenario, Streams::new(1));
    let mut phases: Vec<Duration> = all.iter().map(|guest| guest.phase).collect();
    phases.sort_unstable();
    phases.dedup();
    assert_eq!(phases.len(), all.len());
    assert!(phases.iter().all(|phase| *phase < ROUND));
}

#[test]
fn a_population_that_is_changed_is_changed_as_the_event_says() {
    let text = format!(
        "{PAYING}\n[[event]]\nat = \"1s\"\ndo = \"change\"\npopulation = \"others\"\nslots = 3\n"
    );
    let scenario = scenario(&text);
    let mut changed: Population = scenario.populations[2].clone();
    changed.change(&scenario.events[0]);
    assert_eq!(changed.slots, 3);
    assert_eq!(changed.open_share, scenario.populations[2].open_share);
}
