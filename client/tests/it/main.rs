//! The command line against a small server: exit codes, JSON documents, what people see.
//!
//! JSON documents are API and compared with `snapshots/`. To write them anew after a deliberate
//! change: `SEEDBANK_WRITE_SNAPSHOTS=1 cargo test -p seedbank-client`.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod fake;
mod run;
mod web;

use std::path::Path;

use fake::{HASH, KEY, Server};
use run::{Outcome, run};
use seedbank_proto::v1::add_torrent_request::Source;
use serde_json::Value;

async fn json(server: &Server, line: &str) -> Outcome {
    run(server, &format!("--json {line}")).await
}

#[track_caller]
fn assert_snapshot(name: &str, outcome: &Outcome) {
    assert_eq!(outcome.code, 0, "{name}: {outcome:?}");
    let lines: Vec<Value> = outcome
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is a document"))
        .collect();
    let text = serde_json::to_string_pretty(&lines).unwrap() + "\n";
    // Cargo runs tests in the folder of their package.
    let path = Path::new("tests/it/snapshots").join(format!("{name}.json"));
    if std::env::var_os("SEEDBANK_WRITE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).expect("there is a snapshot");
    let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
    assert_eq!(lines, expected, "{name} differs from {}", path.display());
}

#[tokio::test]
async fn every_command_prints_its_json() {
    let server = Server::start().await;
    for (name, line) in [
        ("status", "status".to_owned()),
        ("health", "health".to_owned()),
        ("ls", "ls".to_owned()),
        ("ls_state", "ls --state stopped".to_owned()),
        ("show", "show film".to_owned()),
        ("show_files", "show film --files".to_owned()),
        ("start", format!("start {HASH}")),
        ("start_all", "start all".to_owned()),
        ("stop_several", "stop film archive aaaa".to_owned()),
        ("stop", "stop aaaa".to_owned()),
        ("rm", "rm film --data -y".to_owned()),
        ("verify", "verify film".to_owned()),
        ("peers", "peers".to_owned()),
        ("peers_of", "peers film".to_owned()),
        ("peers_add", "peers film --add 127.0.0.1:6881".to_owned()),
        ("add_magnet", "add magnet:?xt=urn:btih:x".to_owned()),
        (
            "add_boost",
            "add magnet:?xt=urn:btih:x --boost 2.5cr --bid 3cr/GiB --wait".to_owned(),
        ),
        ("wallet_balance", "wallet balance".to_owned()),
        ("wallet_explain", "wallet explain --by peer".to_owned()),
        ("wallet_history", "wallet history --limit 1".to_owned()),
        (
            "wallet_transfer",
            format!("wallet transfer {KEY} 5cr -y --request-id t1"),
        ),
        (
            "wallet_grant",
            format!("wallet grant {KEY} 100 --reason hello --request-id g1"),
        ),
        ("wallet_check", "wallet check".to_owned()),
        ("boost_quote", "boost quote film".to_owned()),
        (
            "boost_start",
            "boost start film --max 5cr --for 30m --request-id b1".to_owned(),
        ),
        ("boost_list", "boost list".to_owned()),
        ("boost_show", "boost show 1".to_owned()),
        ("boost_cancel", "boost cancel 1".to_owned()),
        ("policy_show", "policy show".to_owned()),
        ("policy_set", "policy set spend=off slots=4".to_owned()),
        ("policy_reset", "policy reset slots".to_owned()),
        ("network_show", "network show".to_owned()),
        ("network_members", "network members --limit 1".to_owned()),
        ("network_grants", "network grants".to_owned()),
        ("events", "events --limit 2".to_owned()),
        ("events_from", "events --from 1 --limit 2".to_owned()),
        ("shutdown", "shutdown".to_owned()),
    ] {
        assert_snapshot(name, &json(&server, &line).await);
    }
}

#[tokio::test]
async fn requests_carry_what_the_line_says() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.torrent");
    std::fs::write(&file, b"d4:infode").unwrap();
    let line = format!(
        "add {} --dir /data --stopped --peer 127.0.0.1:1 --tracker udp://10.0.0.1:6969 --boost 2",
        file.display()
    );
    assert_eq!(run(&server, &line).await.code, 0);
    let added = server.seen().added.pop().unwrap();
    assert_eq!(added.download_dir, "/data");
    assert!(added.stopped);
    assert_eq!(added.initial_peers, ["127.0.0.1:1"]);
    assert_eq!(added.trackers, ["udp://10.0.0.1:6969"]);
    assert_eq!(added.request_id.len(), 32);
    let boost = server.seen().boosts.pop().unwrap();
    assert_eq!(boost.max_microcredits, 2_000_000);
    assert_ne!(boost.request_id, added.request_id);

    let line = "boost start film --max 0.5cr --bid 3cr/GiB --for 2h";
    assert_eq!(run(&server, line).await.code, 0);
    let boost = server.seen().boosts.pop().unwrap();
    assert_eq!(boost.info_hash, HASH);
    assert_eq!(boost.max_microcredits, 500_000);
    assert_eq!(boost.bid_microcredits_per_gib, Some(3_000_000));
    assert_eq!(boost.time_to_live.unwrap().seconds, 7_200);
}

#[tokio::test]
async fn what_was_added_is_shown_even_if_its_boost_is_refused() {
    let server = Server::start().await;
    let outcome = run(&server, "add magnet:?x --boost 9000000").await;
    assert_eq!(outcome.code, 6, "{outcome:?}");
    assert!(outcome.out.starts_with("added: film"), "{outcome:?}");
    assert!(outcome.err.starts_with("error: needs"), "{outcome:?}");
}

#[tokio::test]
async fn create_writes_the_file_and_can_seed_it() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("film.torrent");
    let line = format!("create /data/film --seed --out {}", out.display());
    let outcome = json(&server, &line).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(std::fs::read(&out).unwrap(), b"metainfo");
    let document: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(document["info_hash"], HASH);
    assert_eq!(document["total_bytes"], "1048576");
    let added = server.seen().added.pop().unwrap();
    assert_eq!(added.download_dir, "/data");
    // What is there is not overwritten unless asked to, and not hashed for nothing.
    std::fs::write(&out, b"precious").unwrap();
    let line = format!("create /data/film --out {}", out.display());
    let outcome = run(&server, &line).await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.err.contains("is there already; --force"),
        "{outcome:?}"
    );
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    assert_eq!(run(&server, &format!("{line} --force")).await.code, 0);
    assert_eq!(std::fs::read(&out).unwrap(), b"metainfo");
}

#[tokio::test]
async fn exit_codes_tell_failures_apart() {
    let server = Server::start().await;
    for (code, line) in [
        (0, "ls"),
        (0, "--help"),
        (0, "--version"),
        (1, "boost start film --max 1 --request-id reused"),
        (1, "add /nowhere/x.torrent"),
        (1, "add magnet:?fails --wait"),
        (1, "add https://127.0.0.1:1/x.torrent"),
        (2, "nonsense"),
        (2, "create /data/film --piece 5"),
        (2, "boost start film"),
        (2, "boost start film --max -1"),
        (2, "boost start film --max 0"),
        (2, "ls --timeout never"),
        (2, "show a"),
        (2, "rm film"),
        (2, "wallet transfer x 5"),
        (2, "policy set colour=red"),
        (2, "policy set upload-limit=5"),
        (2, "policy reset"),
        (2, "policy reset colour"),
        (2, "policy reset slots --all"),
        (2, "network members --limit 0"),
        (2, "--api nonsense ls"),
        (2, "add magnet:?x --stopped --wait"),
        (3, "--api unix:/nowhere/api.sock ls"),
        (4, "boost show denied"),
        (5, "show nothing-of-that-name"),
        (5, "stop film nothing-of-that-name"),
        (5, "boost show 77"),
        (6, "boost start film --max 9000000"),
        (7, "boost show slow --timeout 1s"),
        (7, "--api unix:/nowhere/api.sock --wait=1s ls"),
        (8, "verify dd00000000000000000000000000000000000000"),
    ] {
        let outcome = run(&server, line).await;
        assert_eq!(outcome.code, code, "{line}: {outcome:?}");
        let silent = code == 0;
        assert_eq!(outcome.err.is_empty(), silent, "{line}: {outcome:?}");
    }
}

#[tokio::test]
async fn errors_are_json_on_standard_error_if_asked_for() {
    let server = Server::start().await;
    let outcome = json(&server, "boost start film --max 9000000").await;
    assert_eq!(outcome.out, "");
    let document: Value = serde_json::from_str(&outcome.err).unwrap();
    assert_eq!(
        document,
        serde_json::json!({"error": {
            "code": "FAILED_PRECONDITION",
            "reason": "INSUFFICIENT_CREDIT",
            "message": "needs 9000000.000000 cr, has 1.200000 cr free",
            "metadata": {"free": "1200000", "needed": "9000000000000"},
            "help": "seedbank wallet balance",
        }})
    );
    let outcome = json(&server, "nonsense").await;
    let document: Value = serde_json::from_str(&outcome.err).unwrap();
    assert_eq!(document["error"]["reason"], "USAGE");
    let outcome = run(&server, "boost start film --max 9000000").await;
    assert_eq!(
        outcome.err,
        "error: needs 9000000.000000 cr, has 1.200000 cr free\ntry: seedbank wallet balance\n"
    );
}

#[tokio::test]
async fn people_see_aligned_columns_units_and_the_next_command() {
    let server = Server::start().await;
    let outcome = run(&server, "ls").await;
    assert_eq!(
        outcome.out,
        "hash        state       done      size       down  up  eta  ratio  peers  name\n\
         aaaa000000  seeding  100.0 %   1.0 MiB          -   -    -   0.00      0  film\n\
         ab00000000  stopped   50.0 %  41.2 GiB  3.1 MiB/s   -    -   0.00     12  archive\n\
         next: seedbank show aaaa000000\n"
    );
    let outcome = run(&server, "wallet explain").await;
    assert_eq!(
        outcome.out,
        "                      bytes       credit  entries\n\
         opening balance                84.120000\n\
         earned by serving  41.2 GiB  + 41.180000      312\n\
         spent              12.5 MiB  - 10.860000        2\n\
         closing balance               114.440000\n\
         every entry up to 1048 is counted\n\
         next: seedbank wallet history\n"
    );
    let outcome = run(&server, "wallet explain -q").await;
    assert!(!outcome.out.contains("next:"), "{outcome:?}");
    let outcome = run(&server, "boost show 1").await;
    for line in [
        "bought       512.0 MiB at 2.000000 cr/GiB\n",
        "speed        2.5 MiB/s while paid, 1.0 MiB/s before: 2.5 times\n",
    ] {
        assert!(outcome.out.contains(line), "{outcome:?}");
    }
    let outcome = run(&server, "boost quote film --bid 3cr").await;
    let proposed = "boost start aaaa000000 --max 0.976563cr --bid 3.000000cr/GiB\n";
    assert!(outcome.out.ends_with(proposed), "{outcome:?}");
    let outcome = run(&server, "boost quote film").await;
    assert!(outcome.out.contains("at most 0.976563 cr\n"), "{outcome:?}");
    assert!(
        outcome
            .out
            .ends_with("next: seedbank boost start aaaa000000 --max 0.976563cr\n"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_is_set_says_how_long_it_holds_and_what_will_outrank_it() {
    let server = Server::start().await;
    let outcome = run(&server, "policy set spend=off slots=4").await;
    assert!(
        outcome.out.contains("\nkept across restarts\n"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .out
            .contains("slots: the daemon was started with --set"),
        "{outcome:?}"
    );
    let line = "policy set spend=off slots=4 --until-restart";
    let outcome = run(&server, line).await;
    assert!(
        outcome.out.ends_with("\nuntil the daemon restarts\n"),
        "{outcome:?}"
    );
    let outcome = run(&server, "policy show").await;
    let slots = outcome.out.lines().find(|line| line.starts_with("slots"));
    let words: Vec<&str> = slots.unwrap().split_whitespace().collect();
    assert_eq!(words, ["slots", "8", "default"]);
}

#[tokio::test]
async fn events_that_there_are_can_be_printed_and_left() {
    let server = Server::start().await;
    for (line, sequences) in [
        ("events --no-follow", &["1", "2", "3"][..]),
        ("events --limit 2", &["2", "3"]),
        ("events --limit 2 --from 1", &["1", "2"]),
        ("events --limit 2 --follow", &["1", "2"]),
        ("events --no-follow --limit 9", &["1", "2", "3"]),
    ] {
        let outcome = run(&server, line).await;
        assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let seen: Vec<String> = outcome.out.lines().filter_map(first).collect();
        assert_eq!(seen, sequences, "{line}");
    }
}

#[tokio::test]
async fn nothing_is_forgotten_or_sent_without_a_yes() {
    let server = Server::start().await;
    let outcome = run::answering(&server, "rm film", "n\n").await;
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(
        outcome.err.starts_with("Forget film? [y/N] "),
        "{outcome:?}"
    );
    assert_eq!(server.seen().deleted, 0);
    // Files are asked about apart.
    let outcome = run::answering(&server, "rm film --data", "y\n").await;
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert_eq!(server.seen().deleted, 0);
    let outcome = run::answering(&server, "rm film --data", "y\ny\n").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(server.seen().deleted, 1);
    let line = format!("wallet transfer {KEY} 5");
    let outcome = run::answering(&server, &line, "y\n").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.err.contains("Send 5.000000 cr"), "{outcome:?}");
}

#[tokio::test]
async fn sources_are_files_links_hashes_urls_and_standard_input() {
    let server = Server::start().await;
    let hash = "c0ffee254729296a45a3885639ac7dce1e22bb4b";
    assert_eq!(run(&server, &format!("add {hash}")).await.code, 0);
    let added = server.seen().added.pop().unwrap();
    assert_eq!(
        added.source,
        Some(Source::Magnet(format!("magnet:?xt=urn:btih:{hash}")))
    );
    assert_eq!(run::answering(&server, "add -", "d4:infode").await.code, 0);
    let added = server.seen().added.pop().unwrap();
    assert_eq!(added.source, Some(Source::Metainfo(b"d4:infode".to_vec())));
    let outcome = run(&server, "add c0ffee").await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.err.contains("nor an info hash of 40"),
        "{outcome:?}"
    );
    assert!(server.seen().added.is_empty());
}

#[tokio::test]
async fn a_url_is_fetched_here_within_bounds() {
    let server = Server::start().await;
    let web = web::Web::start().await;
    let outcome = run(&server, &format!("add {}/moved?passkey=k", web.url())).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let added = server.seen().added.pop().unwrap();
    assert_eq!(added.source, Some(Source::Metainfo(web::TORRENT.to_vec())));
    for (path, problem) in [
        ("/missing?passkey=k", "the server says 404 Not Found"),
        ("/page", "what came is no .torrent file"),
        ("/endless", "it has more than 11534336 bytes"),
        ("/ftp", "neither http nor https"),
        ("/round", "too many redirects"),
    ] {
        let outcome = run(&server, &format!("add {}{path}", web.url())).await;
        assert_eq!(outcome.code, 1, "{path}: {outcome:?}");
        assert!(outcome.err.contains(problem), "{path}: {outcome:?}");
        assert!(!outcome.err.contains("passkey"), "{outcome:?}");
        assert!(server.seen().added.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn manual_pages_are_printed_or_written() {
    let server = Server::start().await;
    let outcome = run(&server, "man").await;
    assert!(outcome.out.contains(".TH seedbank 1"), "{outcome:?}");
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let outcome = run(&server, &format!("man {}", pages.display())).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for page in ["seedbank.1", "seedbank-add.1", "seedbank-wallet-explain.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
}

#[tokio::test]
async fn completions_name_the_commands() {
    let server = Server::start().await;
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(&server, &format!("completions {shell}")).await;
        assert_eq!(outcome.code, 0);
        assert!(outcome.out.contains("wallet"), "{shell}");
    }
}
