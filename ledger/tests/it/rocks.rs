//! RocksDB keeps what memory keeps, to the byte, and what was acknowledged, through `kill -9`.
//!
//! The tests that need another process start this test binary again in a folder of their own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::ledger::{GROUP_MAX, OpenError};
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{
    Batch, Durability, Rocks, Store as _, StoreError, StoreRead as _, Table,
};
use seedbank_ledger::tally::{Tally, TallyRow};

use crate::laws::{attempts, replay, rows, run};
use crate::readers::{assert_checks_while_written, assert_snapshots_stand, steps};
use crate::world::{START, genesis, grant, identity, open_network, order};

const FOLDER: &str = "ledger";

fn open(path: &Path) -> NetworkLedger<Rocks> {
    let store = Rocks::open(path).unwrap();
    open_network(store)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn rocksdb_and_memory_hold_the_same_bytes(tries in attempts(), size in 1..9_usize) {
        let (world, history) = run(&tries);
        let folder = tempfile::tempdir().unwrap();
        let store = Rocks::open(folder.path()).unwrap();
        drop(replay(store.clone(), &history, &[size]));
        prop_assert_eq!(rows(&store), rows(&world.store));
        drop(store);
        let reopened = open(folder.path());
        prop_assert_eq!(reopened.head(), world.network.head());
        reopened.check().unwrap();
    }

    #[test]
    fn a_snapshot_in_rocksdb_stays_what_it_was(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        assert_snapshots_stand(&Rocks::open(folder.path()).unwrap(), &steps);
    }
}

#[test]
fn a_live_ledger_in_rocksdb_checks_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    assert_checks_while_written(Rocks::open(folder.path()).unwrap(), 60);
}

#[test]
fn a_second_opening_says_who_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let locked = StoreError::Locked {
        path: folder.path().join(FOLDER).display().to_string(),
    };
    let mut child = start(folder.path(), "hold_open_until_killed");
    line_of(&mut child);
    let second = Rocks::open(&folder.path().join(FOLDER));
    assert_eq!(second.unwrap_err(), locked);
    child.kill().unwrap();
    child.wait().unwrap();
    let first = Rocks::open(&folder.path().join(FOLDER)).unwrap();
    let second = Rocks::open(&folder.path().join(FOLDER));
    assert_eq!(second.unwrap_err(), locked);
    drop(first);
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    for lines in [3_usize, 20, 7] {
        let mut child = start(folder.path(), "append_until_killed");
        let acknowledged: u64 = (0..lines)
            .map(|_| line_of(&mut child).trim().parse().unwrap())
            .last()
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let network = open(&folder.path().join(FOLDER));
        assert!(network.head().next.get() >= acknowledged);
        network.check().unwrap();
    }
    // The tally was written before each acknowledgement and never fsynced.
    let store = Rocks::open(&folder.path().join(FOLDER)).unwrap();
    let tally = Tally::new(store).load().unwrap();
    assert_eq!(tally.len(), 1);
}

#[test]
fn a_damaged_database_does_not_open_or_does_not_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FOLDER);
    let mut network = open(&path);
    let orders: Vec<_> = (1..=64)
        .map(|nonce| Operation::Order(order(0, nonce, grant(1, 5))))
        .collect();
    network.append(START, &orders).unwrap();
    drop(network);
    let manifest = std::fs::read_dir(&path)
        .unwrap()
        .map(|file| file.unwrap().path())
        .find(|file| file.display().to_string().contains("MANIFEST"))
        .unwrap();
    let mut bytes = std::fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&manifest, bytes).unwrap();
    let error = Rocks::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

/// Point-in-time recovery cuts a log off where the damage begins and says nothing, and whatever
/// follows was acknowledged: only the mark knows.
#[test]
fn l2_one_flipped_bit_in_the_log_does_not_open_below_the_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FOLDER);
    let mut network = open(&path);
    for nonce in 1..=200 {
        let order = Operation::Order(order(0, nonce, grant(1, 5)));
        network.append(START, &[order]).unwrap();
    }
    let mark = network.signed_head().unwrap();
    assert_eq!(mark.body.size, 201);
    drop(network);
    let files = std::fs::read_dir(&path).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let log = files
        .filter(|file| file.extension().is_some_and(|ending| ending == "log"))
        .max_by_key(|file| file.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, &bytes).unwrap();

    let marked = |store| NetworkLedger::open(store, genesis(), identity(200), Some(&mark));
    let store = Rocks::open_to_read(&path).unwrap(); // without a word
    let error = marked(store.clone()).unwrap_err();
    assert!(
        matches!(&error, OpenError::BelowMark { size, .. } if (50..150).contains(size)),
        "{error}"
    );
    open_network(store.clone()).check().unwrap(); // nor does the audit see it without the mark
    let mut batch = Batch::new();
    batch.put(Table::Lock, vec![1], vec![1]);
    store.write(&batch, Durability::Written).unwrap_err();
    drop(store);
    assert_eq!(
        std::fs::read(&log).unwrap(),
        bytes,
        "looking changes nothing"
    );
    bytes[middle] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    marked(Rocks::open(&path).unwrap()).unwrap();
}

#[test]
fn a_batch_with_deletions_and_bounds_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Rocks::open(folder.path()).unwrap();
    let mut batch = Batch::new();
    for key in 0_u8..6 {
        batch.put(Table::Lock, vec![key], vec![key]);
    }
    store.write(&batch, Durability::Written).unwrap();
    let mut batch = Batch::new();
    batch.delete(Table::Lock, vec![2]);
    store.write(&batch, Durability::Synced).unwrap();
    store.sync().unwrap();
    let rows = store.scan(Table::Lock, &[1], Some(&[5]), 2).unwrap();
    assert_eq!(rows, [(vec![1], vec![1]), (vec![3], vec![3])]);
    assert_eq!(store.scan(Table::Pair, &[], None, 9).unwrap(), []);
}

/// Runs one of the ignored tests below in another process, in `folder`.
fn start(folder: &Path, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--quiet"])
        .arg(format!("rocks::{name}"))
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The next line that starts with our mark, without it.
fn line_of(child: &mut Child) -> String {
    let out = child.stdout.take().unwrap();
    let mut reader = BufReader::with_capacity(1, out);
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the child ended");
        if let Some((_, rest)) = line.split_once("@@ ") {
            let rest = rest.to_owned();
            child.stdout = Some(reader.into_inner());
            return rest;
        }
    }
}

#[test]
#[ignore = "started by another test, in another process"]
fn hold_open_until_killed() {
    let _held = Rocks::open(Path::new(FOLDER)).unwrap();
    println!("@@ held");
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "started by another test, in another process"]
fn append_until_killed() {
    let store = Rocks::open(Path::new(FOLDER)).unwrap();
    let tally = Tally::new(store.clone());
    let mut network = open_network(store);
    loop {
        let size = 1 + usize::try_from(network.head().next.get()).unwrap() % 40;
        assert!(size <= GROUP_MAX);
        let nonce = network.account(&identity(0).id()).unwrap().nonce;
        let group: Vec<_> = (nonce + 1..)
            .take(size)
            .map(|nonce| Operation::Order(order(0, nonce, grant(1, 1))))
            .collect();
        let boost = TallyRow::Boost {
            id: 1,
            bytes: Some(nonce.to_be_bytes().to_vec()),
        };
        tally.write(&[boost]).unwrap();
        network.append(START, &group).unwrap();
        println!("@@ {}", network.head().next);
    }
}
