//! A node's lines, and what is made of them.

use super::*;
use seedbank_sim::play::Play;

const HASH: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

/// An event as `seedbank events --json` writes it: every field, wide integers as texts.
fn event(sequence: u64, secs: u64, kind: &str, peer: &str, reason: &str) -> String {
    let (minutes, secs) = (secs / 60, secs % 60);
    format!(
        "{{\"amount_microcredits\":\"0\",\"boost_id\":\"\",\
         \"create_time\":\"2026-01-01T00:{minutes:02}:{secs:02}Z\",\"info_hash\":\"{HASH}\",\
         \"kind\":\"EVENT_KIND_{kind}\",\"message\":\"unchoked peer {peer}\",\
         \"payload_bytes\":\"0\",\"peer_id\":\"{peer}\",\"public_key\":\"\",\
         \"sequence\":\"{sequence}\",\"unchoke_reason\":\"UNCHOKE_REASON_{reason}\",\
         \"unchoked\":true,\"waiting_reason\":\"BOOST_WAITING_REASON_UNSPECIFIED\"}}\n"
    )
}

fn log() -> String {
    let mut log = event(7, 0, "CHOKE", "1", "SEED");
    for peer in 2..=8_u64 {
        let id = peer.to_string();
        log += &event(6 + 2 * peer, 10 * peer, "CHOKE", &id, "FREE_SLOT");
        log += &event(7 + 2 * peer, 10 * peer + 5, "CHOKE", &id, "OUTRANKED");
    }
    log += &event(40, 200, "BOOST_FUNDED", "", "UNSPECIFIED");
    log
}

fn torrents() -> String {
    format!(
        "{{\"torrents\":[{{\"info_hash\":\"{HASH}\",\"total_bytes\":\"3145728\",\
         \"piece_count\":48,\"upload_bytes_per_second\":\"2000000\"}}]}}\n"
    )
}

fn peers() -> String {
    let one = |peer: u64| {
        format!(
            "{{\"peer_id\":\"{peer}\",\"info_hash\":\"{HASH}\",\"have_piece_count\":3,\
             \"download_bytes_per_second\":\"{}\"}}",
            peer * 100_000
        )
    };
    let each: Vec<String> = (2..=8).map(one).collect();
    // Nobody decides about who wants nothing.
    let seed = one(9)
        .replace("_count\":3", "_count\":48")
        .replace("900000", "0");
    format!(
        "{{\"peers\":[{seed},{}],\"unreached\":[]}}\n",
        each.join(",")
    )
}

fn observed(text: &str) -> Result<Observed, String> {
    let mut observed = Observed::default();
    observed.read("log.jsonl", text).map(|()| observed)
}

#[test]
fn arrivals_sizes_and_rates_become_a_scenario_that_runs() {
    let seen = observed(&(torrents() + &log() + &peers())).unwrap();
    let text = scenario("mine", &seen).unwrap();
    let scenario = Scenario::parse("made", &text).unwrap();
    assert_eq!(scenario.torrents[0].length.0, 3 << 20);
    assert_eq!(scenario.torrents[0].piece.0, 65_536);
    let names: Vec<(&str, u64)> = scenario
        .populations
        .iter()
        .map(|plan| (plan.name.as_str(), plan.count))
        .collect();
    assert_eq!(names, [("node", 1), ("seeds-1", 2), ("peers-1", 7)]);
    let about = &scenario.run.about;
    for told in [
        "8 peers in 200 s",
        "highest rates at which 7 peers",
        "about credit are left out (1)",
        "Events are missing between those that are here (18)",
    ] {
        assert!(about.contains(told), "{told} in {about}");
    }
    assert!(!about.contains("1 GiB"), "{about}");
    let turned = observed(&(peers() + &log() + &torrents())).unwrap();
    assert_eq!(
        self::scenario("mine", &turned).unwrap(),
        text,
        "in any order"
    );
    let played = Play::new(&scenario).run();
    let rows = played
        .peers
        .iter()
        .filter(|row| row.population == "peers-1");
    let joined: Vec<Option<f64>> = rows.map(|row| row.joined).collect();
    let came = (2..=8_u32).map(|peer| Some(f64::from(10 * peer)));
    assert_eq!(joined, came.collect::<Vec<_>>());
    assert_eq!(played.took("peers-1").len(), 7);
    assert!(played.peers[0].uplink == 2_000_000);
    let fastest = played.peers.iter().skip(1).map(|row| row.uplink).max();
    assert!(fastest <= Some(800_000));
}

#[test]
fn what_the_log_does_not_say_is_assumed_and_told() {
    let text = scenario("mine", &observed(&log()).unwrap()).unwrap();
    let about = Scenario::parse("made", &text).unwrap().run.about;
    for told in ["profile modern", "1 GiB", "sends 1 MB/s", "leaves at once"] {
        assert!(about.contains(told), "{told} in {about}");
    }
}

#[test]
fn a_line_that_is_none_is_told_with_its_number() {
    let problem = |line: &str| observed(&(log() + line)).unwrap_err();
    assert!(
        problem("{").starts_with("log.jsonl:17: no JSON"),
        "{}",
        problem("{")
    );
    assert_eq!(
        problem("5"),
        "log.jsonl:17: no document: a line is one JSON object"
    );
    let choke = event(50, 210, "CHOKE", "9", "FREE_SLOT");
    for (from, to, told) in [
        (
            HASH,
            "c0ffee",
            "log.jsonl:17: info_hash: \"c0ffee\" is not 40 hex digits",
        ),
        (
            "\"50\"",
            "\"many\"",
            "log.jsonl:17: sequence: \"many\" is no whole number",
        ),
        (
            "\"50\"",
            "\"40\"",
            "log.jsonl:17: event 40 after 40: events are in order, each once",
        ),
        (
            "\"peer_id\"",
            "\"peer\"",
            "log.jsonl:17: peer_id is missing",
        ),
    ] {
        assert_eq!(problem(&choke.replace(from, to)), told);
    }
    assert!(problem(&choke.replace("2026", "soon")).contains("is no time"));
    assert!(problem("{\"a\":1}").contains("neither an event nor a list"));
    let nobody = scenario("mine", &Observed::default()).unwrap_err();
    assert!(nobody.starts_with("no peer is seen to come"));
}

#[test]
fn a_ledger_is_refused_and_says_why() {
    let entry = "{\"sequence\":\"4\",\"create_time\":\"2026-01-01T00:00:00Z\",\
                 \"kind\":\"ENTRY_KIND_SETTLED\",\"cause\":\"a line\",\"postings\":[]}";
    for line in [entry, "{\"entries\":[]}", "{\"balance\":{}}"] {
        let problem = observed(line).unwrap_err();
        assert!(problem.contains("is of a ledger"), "{problem}");
        assert!(
            problem.contains("is not replayed under others"),
            "{problem}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("000012.sst");
    std::fs::write(&file, b"\xff\x00\xff").unwrap();
    for path in [folder.path(), &file] {
        let args = CalibrateArgs {
            files: vec![path.to_owned()],
            name: "mine".to_owned(),
        };
        let problem = run(&args).unwrap_err().problem;
        assert!(problem.contains("as a ledger is none"), "{problem}");
    }
}
