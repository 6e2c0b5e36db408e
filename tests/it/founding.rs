//! A settlement node that cannot quietly be somebody else: founded once, opened at every start, and
//! never below what it acknowledged, nor far ahead of the time it kept.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use seedbank_ledger::clock::ClockState;
use seedbank_ledger::mark::{FILE_LEN, Mark, MarkSlot};
use seedbank_tests::community::{Community, SETTLEMENT_NODE, check_network, key_of};
use seedbank_tests::daemon::Daemon;
use seedbank_tests::namespace::run;
use seedbank_tests::net::Net;

const SCENARIO_MAX: Duration = Duration::from_secs(120);

/// What `seedbankd` exits with if it was not carried out, and if what it checked does not hold.
const FAILED: i32 = 1;
const VERIFICATION: i32 = 8;

const FOUND_NEW: &str =
    "- found a new network elsewhere: seedbankd --data-dir DIR network init NAME";
const RESTORE: &str = "- put a copy of the folder back that has them all;";

fn settlement(net: &Net) -> Result<Daemon> {
    let community = Community::found(net)?;
    Daemon::start(net, SETTLEMENT_NODE, &community.settlement_config())
}

/// As many grants, each an entry of its own.
fn grant(node: &Daemon, count: u64) -> Result<()> {
    let to = key_of(node)?;
    for _ in 0..count {
        node.cli(&["wallet", "grant", &to, "1"])?;
    }
    Ok(())
}

/// Copies a folder of plain files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// What a command says that is to fail, in one text.
fn refused(node: &Daemon, args: &[&str], code: i32) -> Result<String> {
    let output = node.offline(args)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("$ seedbankd {}\n{said}", args.join(" "));
    let is = output.status.code();
    ensure!(is == Some(code), "{args:?} left with {is:?}: {said}");
    Ok(said)
}

fn says(said: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(said.contains(part), "no {part:?} in {said}");
    }
    Ok(())
}

#[test]
fn l2_a_lost_or_older_folder_does_not_start_and_the_ways_out_are_named() {
    run(SCENARIO_MAX, |net| {
        let mut node = settlement(net)?;
        let ledger = node.data_dir().join("network-ledger");
        let (backup, newest) = (net.folder("backup")?, net.folder("newest")?);
        grant(&node, 1)?;
        node.terminate()?;
        copy(&ledger, &backup)?;
        node.resume()?;
        grant(&node, 2)?;
        node.terminate()?;
        ensure!(check_network(&node)?.granted == 3_000_000);
        copy(&ledger, &newest)?;

        fs::remove_dir_all(&ledger)?;
        let said = refused(&node, &["run"], FAILED)?;
        says(
            &said,
            &["is empty, but it had 4, the last of 20", RESTORE, FOUND_NEW],
        )?;
        refused(&node, &["ledger", "check"], VERIFICATION)?;
        let said = refused(&node, &["network", "accept", "--entries", "0"], FAILED)?;
        says(&said, &["is empty, but it had 4"])?;
        ensure!(!ledger.exists(), "looking founds nothing");

        copy(&backup, &ledger)?;
        let said = refused(&node, &["run"], FAILED)?;
        let missing = "has 2 entries, but it had 4, the last of 20";
        let accept = "- go on without them: seedbankd network accept --entries 2\n";
        says(
            &said,
            &[
                missing,
                "entries 2 to 3 are missing",
                RESTORE,
                FOUND_NEW,
                accept,
            ],
        )?;
        refused(&node, &["ledger", "check"], VERIFICATION)?;
        let said = refused(&node, &["network", "accept", "--entries", "3"], FAILED)?;
        says(&said, &["has 2 entries, not 3"])?;

        fs::remove_dir_all(&ledger)?;
        copy(&newest, &ledger)?;
        node.resume()?; // a newer copy is a way out
        node.terminate()?;
        fs::remove_dir_all(&ledger)?;
        copy(&backup, &ledger)?;
        let accepted = node.offline(&["network", "accept", "--entries", "2"])?;
        let said = String::from_utf8_lossy(&accepted.stdout);
        println!("{said}");
        says(
            &said,
            &[
                "goes on after 2 entries",
                "2 acknowledged entries are given up",
            ],
        )?;
        node.resume()?; // and so is consent
        node.terminate()?;
        ensure!(check_network(&node)?.granted == 1_000_000);

        fs::remove_file(node.data_dir().join("network-ledger.mark"))?;
        let said = refused(&node, &["run"], FAILED)?;
        says(&said, &["is missing, so nobody can tell", "--entries 2\n"])?;
        Ok(())
    });
}

/// RocksDB cuts its log off where the damage begins and opens without a word.
#[test]
fn l2_a_flipped_bit_in_the_log_does_not_start() {
    run(SCENARIO_MAX, |net| {
        let mut node = settlement(net)?;
        grant(&node, 12)?;
        node.kill()?;
        let files = fs::read_dir(node.data_dir().join("network-ledger"))?;
        let files = files.collect::<std::io::Result<Vec<_>>>()?;
        let mut logs: Vec<_> = files.iter().map(fs::DirEntry::path).collect();
        logs.retain(|file| file.extension().is_some_and(|ending| ending == "log"));
        let len = |file: &std::path::PathBuf| fs::metadata(file).map_or(0, |data| data.len());
        let log = logs.into_iter().max_by_key(len).context("no log")?;
        let mut bytes = fs::read(&log)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&log, &bytes)?;
        let said = refused(&node, &["run"], FAILED)?;
        says(
            &said,
            &[
                "but it had 13, the last of 20",
                "to 12 are missing",
                RESTORE,
            ],
        )?;
        let before = fs::read(&log)?;
        refused(&node, &["ledger", "check"], VERIFICATION)?;
        ensure!(fs::read(&log)? == before, "looking cuts nothing off");
        bytes[middle] ^= 1;
        fs::write(&log, bytes)?;
        node.resume()?; // all of it was there
        node.terminate()?;
        ensure!(check_network(&node)?.granted == 12_000_000);
        Ok(())
    });
}

/// Moves the time that was kept, which is what the clock's being wrong by as much comes to.
fn move_kept_time(node: &Daemon, by: impl FnOnce(ClockState) -> ClockState) -> Result<()> {
    let path = node.data_dir().join("network-ledger.mark");
    let slot = MarkSlot::newest(&fs::read(&path)?).context("no mark")?;
    let clock = by(slot.mark.clock);
    let moved = slot.followed_by(Mark { clock, ..slot.mark });
    let mut file = vec![0; FILE_LEN];
    let place = moved.offset()..moved.offset() + moved.to_bytes().len();
    file[place].copy_from_slice(&moved.to_bytes());
    Ok(fs::write(&path, file)?)
}

#[test]
fn l3_a_start_with_the_clock_a_year_ahead_asks_and_one_with_it_back_waits() {
    const YEAR_SECS: u64 = 365 * 86_400;
    run(SCENARIO_MAX, |net| {
        let mut node = settlement(net)?;
        grant(&node, 1)?;
        node.terminate()?;
        move_kept_time(&node, |kept| ClockState {
            reached: kept.reached.minus_secs(YEAR_SECS),
            ..kept
        })?;
        let said = refused(&node, &["run"], FAILED)?;
        let accept = "- if neither, and the node was off: seedbankd network accept --clock\n";
        says(
            &said,
            &[
                "the clock says 20",
                "settlement time was last at 20",
                accept,
            ],
        )?;
        check_network(&node)?; // what is in the ledger is in order
        let accepted = node.offline(&["network", "accept", "--clock"])?;
        println!("{}", String::from_utf8_lossy(&accepted.stdout));
        ensure!(accepted.status.success(), "{accepted:?}");
        node.resume()?;
        node.terminate()?;

        move_kept_time(&node, |kept| ClockState {
            reached: kept.reached.plus_secs(YEAR_SECS),
            ..kept
        })?;
        node.resume()?;
        grant(&node, 1)?;
        node.terminate()?;
        ensure!(check_network(&node)?.granted == 2_000_000);
        Ok(())
    });
}
