//! Scenarios as they are written, and mistakes in them.

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
    let text = r#"
[run]
name = "all"
duration = "2h"

[overlay]
kind = "degree"
degree = 30

[network]
grant = "5cr"

[[torrent]]
name = "one"
length = "4MiB"

[[population]]
name = "a"
count = 2
torrent = "one"
has = "40%"
line = { profile = "piatek2006", uplink_max = "1MB/s", delay = "10ms..80ms" }
upload_limit = "80%"
strategy = "free-rider"
arrivals = { kind = "trace", times = ["0s", "90s"] }
seeding = { kind = "ratio", percent = 150, at_most = "1h" }
grant = "0cr"
ask = "3cr/GiB"
boost = { budget = "1cr" }

[[population]]
name = "b"
count = 2
line = { uplink = "1MB/s", downlink = "10MB/s" }
arrivals = { kind = "poisson", every = "30s" }
seeding = { kind = "for", time = "30s..90s" }

[[event]]
at = "1h"
do = "leave"
population = "a"
share = "50%"

[[event]]
at = "1h"
do = "settlement-down"
lasts = "10min"
"#;
    let scenario = Scenario::parse("s.toml", text).unwrap();
    assert_eq!(
        Scenario::parse("canonical", &scenario.canonical()),
        Ok(scenario)
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
}
