//! What users and files get wrong: a clear error each time, and nothing lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use seedbank_tests::bencode::Value;
use seedbank_tests::client::{Client, Source, await_complete};
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::{Daemon, Failure};
use seedbank_tests::namespace::run;
use seedbank_tests::poll::poll;
use seedbank_tests::raw_peer::{MODERN, RawPeer};
use seedbank_tests::receipt_peer::id;
use seedbank_tests::repository::program;

const SCENARIO_MAX: Duration = Duration::from_secs(120);
const TRANSFER_MAX: Duration = Duration::from_secs(60);

/// Exit codes that scripts rely on.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_ALLOWED: i32 = 4;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_malformed_configuration_is_named_by_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let data = folder.path().join("data");
    let start = format!("[node]\ndata_dir = {data:?}\n");
    let cases = [
        ("[limits]\nuplod = 1\n", 4, "limits.uplod"),
        ("[limits]\nupload = \"quick\"\n", 4, "limits.upload"),
        ("[earn]\nslots = 0\n", 4, "earn.slots"),
        ("[earn]\nfriends = [\"me\"]\n", 4, "earn.friends"),
        (
            "[network]\nsettlement = \"ftp://x\"\n",
            4,
            "network.settlement",
        ),
        ("[limits]\nupload = \n", 4, "quoted"),
        ("[limits\n", 3, ""),
    ];
    for (text, line, key) in cases {
        fs::write(&file, start.clone() + text).unwrap();
        let mut command = Command::new(program("seedbankd").unwrap());
        let output = command.arg("run").arg("-c").arg(&file).output().unwrap();
        let said = stderr(&output);
        println!("{}", said.trim_end());
        assert_eq!(output.status.code(), Some(USAGE), "{text:?}: {said}");
        let place = format!("{}:{line}", file.display());
        assert!(said.contains(&place), "{text:?}: {said}");
        assert!(said.contains(key), "{text:?}: {said}");
        assert_eq!(said.lines().count(), 1, "one line: {said}");
    }
    assert!(!data.exists(), "nothing is begun");
}

#[test]
fn a_wrong_token_opens_nothing_and_the_right_one_everything() {
    run(SCENARIO_MAX, |net| {
        let node = Daemon::start(net, "node", "")?;
        let folder = net.folder("tokens")?;
        let right = fs::read_to_string(node.data_dir().join("api.token"))?;
        let right = right.trim();
        let swapped: String = right.chars().rev().collect();
        let almost = &right[..right.len() - 1];
        for (name, token) in [
            ("swapped", swapped.as_str()),
            ("short", almost),
            ("none", ""),
        ] {
            let file = folder.join(name);
            fs::write(&file, token)?;
            for args in [["status"].as_slice(), &["wallet", "balance"], &["shutdown"]] {
                let Err(Failure { exit_code, error }) = node.try_cli_over_tcp(&file, args)? else {
                    anyhow::bail!("{name} token: {args:?} was carried out");
                };
                println!("{name} token, {args:?}: {error}");
                ensure!(exit_code == Some(NOT_ALLOWED), "{exit_code:?}: {error}");
                ensure!(!error.to_string().contains(right), "the token is told");
            }
        }
        let file = folder.join("right");
        fs::write(&file, right)?;
        let Ok(status) = node.try_cli_over_tcp(&file, &["status"])? else {
            anyhow::bail!("the right token is refused");
        };
        ensure!(status["node"]["public_key"].is_string(), "{status}");
        Ok(())
    });
}

#[test]
fn a_second_daemon_on_the_same_folder_is_turned_away_and_the_first_goes_on() {
    run(SCENARIO_MAX, |net| {
        let mut node = Daemon::start(net, "node", "")?;
        let torrent = net.torrent(Plan::small())?;
        node.seed(&torrent, &net.seed_folder("files", &torrent.content)?)?;
        for args in [["run"].as_slice(), &["ledger", "check"]] {
            let second = node.offline(args)?;
            let said = stderr(&second);
            println!("{}", said.trim_end());
            ensure!(second.status.code() == Some(FAILED), "{second:?}");
            let data = node.data_dir().display().to_string();
            ensure!(said.contains("pid ") && said.contains(&data), "{said}");
        }
        node.cli(&["health"])?;
        ensure!(node.progress()?.complete, "the first lost its torrent");
        node.terminate()?;
        let alone = node.offline(&["ledger", "check"])?;
        ensure!(alone.status.success(), "{alone:?}");
        Ok(())
    });
}

/// Runs a command that must succeed.
fn system(command: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(command).args(args).output()?;
    ensure!(output.status.success(), "{command}: {}", stderr(&output));
    Ok(())
}

#[test]
fn a_full_disk_stops_the_torrent_and_room_completes_it() {
    run(SCENARIO_MAX, |net| {
        let torrent = net.torrent(Plan::single("disk.bin", 16 << 20, 256 << 10))?;
        let mut seed = Daemon::start(net, "seed", "[limits]\nupload = \"8MiB/s\"\n")?;
        seed.seed(&torrent, &net.seed_folder("seed-files", &torrent.content)?)?;
        let disk = net.folder("disk")?;
        let at = disk.to_str().context("a path of ours")?;
        system("mount", &["-t", "tmpfs", "-o", "size=6m", "tmpfs", at])?;

        let mut node = Daemon::start(net, "node", "")?;
        node.leech(&torrent, Source::File, &disk, &[seed.addr()])?;
        let failed = poll(TRANSFER_MAX, "the disk to be full", || {
            let shown = node.torrent()?;
            Ok((shown["state"] == "TORRENT_STATE_FAILED").then_some(shown))
        })?;
        println!("{failed}");
        let said = failed.to_string().to_lowercase();
        ensure!(said.contains("no space left"), "not said: {said}");

        // A start without room fails again, and loses nothing.
        let hash = torrent.hash_hex();
        let before = have(&node)?;
        ensure!(before > 0, "nothing was had");
        node.cli(&["start", &hash])?;
        poll(TRANSFER_MAX, "the disk to be full again", || {
            let mut failures = node.events()?;
            failures.retain(|event| event["kind"] == "EVENT_KIND_TORRENT_FAILED");
            Ok((failures.len() == 2).then_some(()))
        })?;
        ensure!(have(&node)? >= before, "pieces were lost");

        system("mount", &["-o", "remount,size=64m", at])?;
        node.cli(&["start", &hash])?;
        let took = await_complete(&mut [&mut node], TRANSFER_MAX)?;
        println!(
            "complete {:.1} s after room was made",
            took[0].as_secs_f64()
        );
        node.verify(&torrent, &disk)?;
        let received = node.progress()?.received;
        println!(
            "{received} bytes received for {}",
            torrent.content.plan.total()
        );
        node.terminate()?;
        ensure!(node.offline(&["ledger", "check"])?.status.success());
        Ok(())
    });
}

fn have(node: &Daemon) -> Result<u64> {
    seedbank_tests::daemon::number(&node.torrent()?, "have_bytes")
}

/// A metainfo file whose `info` has these entries instead of its own.
fn metainfo(changes: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<u8> {
    let mut info: BTreeMap<Vec<u8>, Value> = [
        ("name", Value::from("plain.bin")),
        ("piece length", Value::from(16_384)),
        ("pieces", Value::from(vec![7; 20])),
        ("length", Value::from(16_384)),
    ]
    .map(|(key, value)| (key.into(), value))
    .into();
    for (key, value) in changes {
        info.insert(key.into(), value);
    }
    Value::dict([("info", Value::Dict(info))]).encode()
}

/// The same with one file at this path instead of its length.
fn metainfo_of_file(path: &[&str]) -> Vec<u8> {
    let path = path.iter().map(|part| Value::from(*part)).collect();
    let file = Value::dict([("length", Value::from(16_384)), ("path", Value::List(path))]);
    let bytes = metainfo([("files", Value::List(vec![file]))]);
    let length = b"6:lengthi16384e4:name";
    let at = bytes
        .windows(length.len())
        .position(|window| window == length)
        .expect("the length of the whole stands before its name");
    [&bytes[..at], &bytes[at + 15..]].concat()
}

/// Each file is refused with a reason and leaves nothing behind.
fn all_refused(node: &Daemon, folder: &Path, cases: &[(&str, Vec<u8>)]) -> Result<()> {
    let downloads = folder.join("downloads");
    fs::create_dir_all(&downloads)?;
    for (name, bytes) in cases {
        let file = folder.join("case.torrent");
        fs::write(&file, bytes)?;
        let (file, dir) = (file.display().to_string(), downloads.display().to_string());
        let Err(Failure { exit_code, error }) = node.try_cli(&["add", &file, "--dir", &dir])?
        else {
            anyhow::bail!("{name}: was added");
        };
        println!("{name}: {}", error["message"]);
        ensure!(
            exit_code == Some(FAILED) || exit_code == Some(USAGE),
            "{name}: {exit_code:?}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(
            !message.is_empty() && message.len() < 500,
            "{name}: {error}"
        );
        ensure!(error["reason"] != "", "{name}: no reason in {error}");
    }
    let there = node.cli(&["ls"])?;
    ensure!(
        there["torrents"].as_array().is_some_and(Vec::is_empty),
        "{there}"
    );
    let made = fs::read_dir(&downloads)?.count();
    ensure!(made == 0, "{made} files were made");
    node.cli(&["health"])?;
    Ok(())
}

/// What a torrent calls its files never leads out of the folder: as in libtorrent, hostile names
/// are made harmless, and refused is what has no name at all.
#[test]
fn names_that_lead_elsewhere_lead_into_the_folder() {
    run(SCENARIO_MAX, |net| {
        let node = Daemon::start(net, "node", "")?;
        let named = |name: &str| metainfo([("name", Value::from(name))]);
        let refused = [
            ("parent as name", named("..")),
            ("folder itself as name", named(".")),
            ("a separator as name", named("/")),
            ("empty name", named("")),
            ("no components", metainfo_of_file(&[])),
        ];
        let folder = net.folder("cases")?;
        all_refused(&node, &folder, &refused)?;
        let taken = [
            (named("/etc/passwd"), "etcpasswd"),
            (named("a/../../b"), "a....b"),
            (named("a\\b"), "ab"),
            (named("a\0\nb"), "a_b"),
            (metainfo_of_file(&["..", "x"]), "_/x"),
            (metainfo_of_file(&["a", "..", "..", "x"]), "a/_/_/x"),
            (metainfo_of_file(&["/etc", "x"]), "etc/x"),
            (metainfo_of_file(&["a/../../x"]), "a....x"),
            (metainfo_of_file(&["a", ""]), "a/_"),
            (metainfo_of_file(&["a", "x"]), "a/x"),
        ];
        for (index, (bytes, _)) in taken.iter().enumerate() {
            let file = folder.join("taken.torrent");
            fs::write(&file, bytes)?;
            let dir = folder.join(index.to_string());
            fs::create_dir_all(&dir)?;
            let (file, dir) = (file.display().to_string(), dir.display().to_string());
            node.cli(&["add", &file, "--dir", &dir, "--stopped"])?;
        }
        let there = node.cli(&["ls"])?;
        let mut paths = BTreeSet::new();
        for torrent in there["torrents"].as_array().into_iter().flatten() {
            let hash = torrent["info_hash"].as_str().context("it has a hash")?;
            let shown = node.cli(&["show", hash, "--files"])?;
            let path = shown["files"][0]["path"].as_str();
            paths.insert(path.with_context(|| shown.to_string())?.to_owned());
        }
        let expected: BTreeSet<String> = taken.map(|(_, path)| path.to_owned()).into();
        ensure!(paths == expected, "{paths:?}");
        Ok(())
    });
}

#[test]
fn truncated_and_hostile_torrents_are_refused() {
    run(SCENARIO_MAX, |net| {
        const DEPTH: usize = 200_000;
        let node = Daemon::start(net, "node", "")?;
        let whole = metainfo([]);
        let mut cases: Vec<(&str, Vec<u8>)> = (0..whole.len())
            .step_by(13)
            .map(|len| ("truncated", whole[..len].to_vec()))
            .collect();
        let nested = |open: &[u8], close: &[u8]| {
            [
                b"d4:info",
                &*open.repeat(DEPTH),
                &*close.repeat(DEPTH),
                b"e",
            ]
            .concat()
        };
        let number = |key: &'static str, digits: &str| {
            let bytes = metainfo([(key, Value::from("@"))]);
            let text = String::from_utf8_lossy(&bytes);
            text.replace("1:@", &format!("i{digits}e")).into_bytes()
        };
        cases.extend([
            ("200,000 open lists", b"l".repeat(DEPTH)),
            ("200,000 lists", nested(b"l", b"e")),
            ("200,000 dictionaries", nested(b"d1:a", b"e")),
            (
                "a string longer than the file",
                b"d4:info4294967295:x".to_vec(),
            ),
            (
                "a length past u64",
                b"d4:info99999999999999999999999:x".to_vec(),
            ),
            ("a length past i64", number("length", "9223372036854775808")),
            (
                "the longest length",
                number("length", "9223372036854775807"),
            ),
            ("a length below zero", number("length", "-1")),
            ("pieces of no bytes", number("piece length", "0")),
            (
                "pieces of 2^63 bytes",
                number("piece length", "9223372036854775807"),
            ),
            ("pieces below zero", number("piece length", "-16384")),
            (
                "too many hashes",
                metainfo([("pieces", Value::from(vec![7; 40]))]),
            ),
            (
                "half a hash",
                metainfo([("pieces", Value::from(vec![7; 10]))]),
            ),
            ("no hashes", metainfo([("pieces", Value::from(vec![]))])),
            ("a byte before the start", [b"\n", &*whole].concat()),
            ("a number with zeros in front", number("length", "0016384")),
            ("nothing", Vec::new()),
            (
                "a page of HTML",
                b"<html><body>not found</body></html>".to_vec(),
            ),
        ]);
        all_refused(&node, &net.folder("cases")?, &cases)?;
        // What an editor leaves behind the end is no fault of the torrent's.
        let file = net.folder("cases")?.join("newline.torrent");
        fs::write(&file, [&*whole, b"\n"].concat())?;
        node.cli(&["add", &file.display().to_string(), "--stopped"])?;
        Ok(())
    });
}

#[test]
fn requests_beyond_the_piece_get_nothing() {
    run(SCENARIO_MAX, |net| {
        let mut node = Daemon::start(net, "node", "")?;
        let torrent = net.torrent(Plan::single("beyond.bin", 100_000, 64 << 10))?;
        node.seed(&torrent, &net.seed_folder("files", &torrent.content)?)?;
        let cases: [(&str, [u32; 3]); 6] = [
            ("behind the piece", [0, 64 << 10, 16 << 10]),
            ("across its end", [0, (64 << 10) - 1, 16 << 10]),
            ("across the end of the torrent", [1, 32 << 10, 16 << 10]),
            ("a piece that is not", [2, 0, 16 << 10]),
            ("where sums overflow", [0, u32::MAX, 16 << 10]),
            ("everything at once", [0, 0, u32::MAX]),
        ];
        for (name, fields) in cases {
            let from = net.address();
            let mut peer = RawPeer::connect(from, node.addr(), torrent.info_hash, MODERN)?;
            peer.send(id::HAVE_NONE, &[])?;
            peer.send(id::INTERESTED, &[])?;
            while peer.receive()?.context("it hung up")?.0 != id::UNCHOKE {}
            peer.send(id::REQUEST, &fields.map(u32::to_be_bytes).concat())?;
            peer.send(
                id::REQUEST,
                &[0, 0, 16 << 10].map(u32::to_be_bytes).concat(),
            )?;
            let mut answers = Vec::new();
            while !answers.contains(&id::PIECE) {
                let (id, payload) = peer
                    .receive()?
                    .with_context(|| format!("{name}: hung up"))?;
                ensure!(id != id::PIECE || payload.len() == (16 << 10) + 8, "{name}");
                answers.push(id);
            }
            // Refused by name (BEP 6), and the honest request behind it is served.
            ensure!(answers == [id::REJECT, id::PIECE], "{name}: {answers:?}");
        }
        node.cli(&["health"])?;
        ensure!(node.progress()?.complete);
        Ok(())
    });
}
