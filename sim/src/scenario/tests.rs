//! Scenarios as they are written, and mistakes in them.

mod documented;

use super::*;

const SMALL: &str = r#"
[[torrent]]
length = "4MiB"
piece = "64KiB"

[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "1MB/s" }

[[population]]
name = "leechers"
count = 5
line = { uplink = "1MB/s" }
"#;

/// A scenario in which every key is set.
const EVERYTHING: &str = include_str!("tests/everything.toml");

fn problem(text: &str) -> String {
    Scenario::parse("s.toml", text).unwrap_err().to_string()
}

#[test]
fn what_is_left_out_has_a_default_and_is_written() {
    let scenario = Scenario::parse("s.toml", SMALL).unwrap();
    assert_eq!(scenario.peer_count(), 6);
    let written = scenario.canonical();
    for line in [
        "slots = 8",
        "open_share = \"30%\"",
        "kind = \"tracker\"",
        "seed = 1",
    ] {
        assert!(written.contains(line), "{line} in\n{written}");
    }
    let again = Scenario::parse("canonical", &written).unwrap();
    assert_eq!(again, scenario);
    assert_eq!(again.hash(), scenario.hash());
    let other = SMALL.replace("count = 5", "count = 6");
    assert_ne!(
        Scenario::parse("s.toml", &other).unwrap().hash(),
        scenario.hash()
    );
}

#[test]
fn every_kind_of_plan_is_written_as_it_is_read() {
    let scenario = Scenario::parse("s.toml", EVERYTHING).unwrap();
    assert_eq!(
        Scenario::parse("canonical", &scenario.canonical()),
        Ok(scenario)
    );
}

#[test]
fn what_files_hold_becomes_part_of_the_scenario() {
    let text = SMALL
        .replace("count = 5\nline = { uplink = \"1MB/s\" }", "count = 2\nCSV")
        .replace(
            "CSV",
            "line = { csv = \"rates.csv\" }\narrivals = { kind = \"trace\", csv = \"when.csv\" }",
        );
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let rates = file("rates.csv", "50%,20kB/s\n100%,90kB/s\n");
    let files: ScenarioFiles = [rates.clone(), file("when.csv", "at\n0s\n90s\n")].into();
    let scenario = Scenario::parse_with("s.toml", &text, &files).unwrap();
    assert_eq!(scenario.populations[1].line.csv, None);
    let written = scenario.canonical();
    assert!(written.contains("[\"50%\", \"20000B/s\"]"), "{written}");
    assert_eq!(Scenario::parse("canonical", &written), Ok(scenario));
    let problem = |files: ScenarioFiles| {
        let error = Scenario::parse_with("s.toml", &text, &files).unwrap_err();
        error.to_string()
    };
    assert_eq!(
        problem(ScenarioFiles::new()),
        "s.toml:12: \"leechers\": rates.csv: there is no such file"
    );
    assert_eq!(
        problem([rates.clone(), file("when.csv", "0s\nsoon\n")].into()),
        "s.toml:12: \"leechers\": when.csv: line 2: \"soon\" is no time: write 30s, 250ms, 10min \
         or 24h"
    );
    assert_eq!(
        problem([rates, file("when.csv", "0s\n")].into()),
        "s.toml:12: \"leechers\": 1 times for 2 peers"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_word_that_was_meant() {
    let slip = SMALL.replace("length", "lenght");
    assert_eq!(
        problem(&slip),
        "s.toml:3: unknown field `lenght`, expected one of `name`, `length`, `piece`; did you mean \
         `length`?"
    );
    let slip = SMALL.replace("\"1MB/s\"", "\"fast\"");
    assert!(
        problem(&slip).starts_with("s.toml:10: \"fast\" is no rate"),
        "{}",
        problem(&slip)
    );
    let slip = SMALL.replace("64KiB", "1000B");
    assert!(problem(&slip).starts_with("s.toml:2: a torrent of 4MiB in pieces of 1000B"));
    let slip = SMALL.replace("count = 5", "count = 5\ntorrent = \"torrnet\"");
    assert_eq!(
        problem(&slip),
        "s.toml:12: \"leechers\": there is no torrent \"torrnet\"; did you mean \"torrent\"?"
    );
    let slip = SMALL.replace("count = 5", "count = 5\nstrategy = \"freerider\"");
    assert!(
        problem(&slip).ends_with("did you mean `free-rider`?"),
        "{}",
        problem(&slip)
    );
    let slip = SMALL.replace("count = 5", "count = 5\nboost = { budget = \"1cr\" }");
    assert_eq!(
        problem(&slip),
        "s.toml:12: \"leechers\": who boosts needs a [network]"
    );
    assert!(problem("[[population").starts_with("s.toml:1: "));
    let slip = SMALL.replace(
        "count = 5",
        "count = 5\nseeding = { kind = \"forever\", time = \"1h\" }",
    );
    assert_eq!(
        problem(&slip),
        "s.toml:15: unknown field `time`, where there is kind"
    );
}

fn with(strategy: &str) -> String {
    SMALL.replace("count = 5", &format!("count = 5\n{strategy}"))
}

#[test]
fn a_strategy_is_a_name_or_a_table() {
    let parsed = |text: &str| Scenario::parse("s.toml", text).unwrap();
    let kinds = [
        "honest",
        "free-rider",
        "large-view",
        "bittyrant",
        "propshare",
        "fairtorrent",
        "bid-flipper",
        "dripper",
        "stalled-payee",
        "late-payer",
        "garbage-seeder",
        "sybil",
        "whitewasher",
        "colluding-ring",
        "plain-client",
    ];
    for kind in kinds {
        let [named, table] = [format!("\"{kind}\""), format!("{{ kind = \"{kind}\" }}")]
            .map(|value| parsed(&with(&format!("strategy = {value}"))));
        assert_eq!(named, table);
        let written = named.canonical();
        assert!(written.contains(kind), "{written}");
        assert_eq!(parsed(&written), named);
    }
    let dripper = parsed(&with("strategy = { kind = \"dripper\", every = \"3s\" }"));
    let plan = StrategyPlan::Dripper {
        rate: ByteRate(100_000),
        every: Time(Duration::from_secs(3)),
    };
    assert_eq!(dripper.populations[1].strategy, plan);
    let written = dripper.canonical();
    assert!(written.contains("rate = ") && written.contains("every = \"3s\""));
    assert_eq!(parsed(&written), dripper);
    let honest = parsed(&with("strategy = \"honest\"")).canonical();
    assert!(honest.contains("strategy = \"honest\""), "as it always was");
    let sybil = parsed(&with("strategy = { kind = \"sybil\", identities = 7 }"));
    assert_eq!(sybil.peer_count(), 1 + 5 * 7);
}

#[test]
fn slips_in_a_strategy_are_told_with_the_word_that_was_meant() {
    for (strategy, told) in [
        (
            "{ kind = \"dripper\", evry = \"3s\" }",
            "did you mean `every`?",
        ),
        ("{ kind = \"driper\" }", "did you mean `dripper`?"),
        (
            "{ kind = \"free-rider\", every = \"3s\" }",
            "unknown field `every`",
        ),
        ("{ every = \"3s\" }", "missing field `kind`"),
        (
            "7",
            "expected the name of a strategy, or a table with its `kind`",
        ),
    ] {
        let problem = problem(&with(&format!("strategy = {strategy}")));
        assert!(problem.starts_with("s.toml:15: "), "{problem}");
        assert!(problem.contains(told), "{problem}");
    }
    for (strategy, told) in [
        ("\"whale\"", "\"leechers\": a whale needs a boost"),
        (
            "{ kind = \"sybil\", identities = 65 }",
            "\"leechers\": 65 identities: from 1 to 64",
        ),
        (
            "{ kind = \"dripper\", every = \"1ms\" }",
            "\"leechers\": its strategy acts every 100ms at most",
        ),
    ] {
        let problem = problem(&with(&format!("strategy = {strategy}")));
        assert_eq!(problem, format!("s.toml:12: {told}"));
    }
}
