//! What RocksDB costs a ledger: time and CPU for each entry appended or read.
//!
//! `store FOLDER` makes a database in FOLDER, which must not exist, and prints one line for each
//! kind of work: its name, entries, wall nanoseconds and CPU nanoseconds (user and system, all
//! threads) for each. It compares two archives of RocksDB (docs/FIGURES.md): run it in turns.

#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock, prints, and stops at the first error"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::clock::ClockState;
use seedbank_ledger::mark::{FILE_LEN, HighWater, Mark, MarkSlot};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::head::SignedHead;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::state::sequence_key;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{
    Batch, Durability, Rocks, Store as _, StoreError, StoreRead as _, Table,
};
use seedbank_ledger::{Genesis, Identity, MicroCredits, Sequence, UnixTime};

/// Bytes of an entry: that of a receipt's line is near.
const ENTRY_LEN: usize = 320;
const READ_COUNT: u64 = 300_000;
const PAGE: usize = 1_000;
const ORDER_COUNT: u64 = 6_000;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: store FOLDER"));
    fs::create_dir(&folder).unwrap();
    rows(&folder.join("rows"));
    for (group, count) in [(1, 2_000), (100, ORDER_COUNT)] {
        for is_marked in [false, true, false, true] {
            let name = format!("orders-{group}-{is_marked}");
            let path = folder.join(name);
            orders(&path, group, count, is_marked);
            fs::remove_dir_all(&path).unwrap();
        }
    }
}

/// The store alone: rows as a ledger writes them, without its rules and signatures.
fn rows(path: &Path) {
    let store = Rocks::open(path).unwrap();
    let mut next = 0;
    for (name, durability, group, count) in [
        ("append 1, written", Durability::Written, 1, 300_000),
        ("append 100, written", Durability::Written, 100, 600_000),
        ("append 1, synced", Durability::Synced, 1, 3_000),
        ("append 100, synced", Durability::Synced, 100, 100_000),
    ] {
        measure(name, count, || {
            for _ in 0..count / group {
                store.write(&batch(next, group), durability).unwrap();
                next += group;
            }
        });
    }
    measure("read one, any", READ_COUNT, || {
        for index in 0..READ_COUNT {
            let sequence = scatter(index) % next;
            let found = store.get(Table::Entry, &key(sequence)).unwrap();
            assert_eq!(found, Some(entry(sequence)));
        }
    });
    measure("read all, in order", next, || {
        let mut from = 0;
        while from < next {
            let page = store.scan(Table::Entry, &key(from), None, PAGE).unwrap();
            from += u64::try_from(page.len()).unwrap();
        }
    });
}

/// The whole ledger: signed grants checked, entered, synced and, if `is_marked`, marked as a
/// settlement node does, `group` at a time.
fn orders(path: &Path, group: usize, count: u64, is_marked: bool) {
    let (issuer, settlement) = (identity(0), identity(200));
    let now = UnixTime::from_secs(1_000_000);
    let text = Genesis::render("store", settlement.id(), &[issuer.id()]).unwrap();
    let genesis = Genesis::parse(&text).unwrap();
    let network_id = genesis.network_id();
    let order = |nonce| Order {
        network_id,
        account: issuer.id(),
        nonce,
        valid_until: UnixTime::from_secs(u64::MAX),
        kind: OrderKind::Grant {
            to: identity(1).id(),
            amount: MicroCredits::new(1),
        },
        memo_hash: [0; 32],
    };
    let signed: Vec<_> = (1..=count)
        .map(|nonce| Operation::Order(order(nonce).sign(&issuer)))
        .collect();
    let store = Rocks::open(path).unwrap();
    let mut network = NetworkLedger::found(store, genesis, settlement, now).unwrap();
    if is_marked {
        let first = network.signed_head().unwrap();
        let file = PlainMark::create(&path.with_extension("mark"), first);
        network.keep_mark(Box::new(file)).unwrap();
    }
    let marked = if is_marked { ", marked" } else { "" };
    measure(&format!("ledger, {group} at once{marked}"), count, || {
        for group in signed.chunks(group) {
            network.append(now, group).unwrap();
        }
    });
    assert_eq!(network.head().next.get(), count + 1);
}

/// The mark as a settlement node writes it: one slot in place, then its data synced.
#[derive(Debug)]
struct PlainMark {
    file: File,
    slot: MarkSlot,
}

impl PlainMark {
    fn create(path: &Path, head: SignedHead) -> Self {
        let clock = ClockState::starting_at(head.body.time);
        let slot = MarkSlot::first(Mark { head, clock });
        let file = File::create(path).unwrap();
        file.write_all_at(&[0; FILE_LEN], 0).unwrap();
        file.write_all_at(&slot.to_bytes(), 0).unwrap();
        file.sync_all().unwrap();
        Self { file, slot }
    }
}

impl HighWater for PlainMark {
    fn raise(&mut self, head: &SignedHead) -> Result<(), StoreError> {
        let (head, clock) = (*head, self.slot.mark.clock);
        self.slot = self.slot.followed_by(Mark { head, clock });
        let offset = u64::try_from(self.slot.offset()).unwrap();
        self.file
            .write_all_at(&self.slot.to_bytes(), offset)
            .unwrap();
        self.file.sync_data().unwrap();
        Ok(())
    }
}

/// `count` entries from `first` on, and the rows that change with them.
fn batch(first: u64, count: u64) -> Batch {
    let mut batch = Batch::new();
    for sequence in first..first + count {
        batch.put(Table::Entry, key(sequence), entry(sequence));
        let account = (scatter(sequence) % 1_000).to_be_bytes();
        batch.put(Table::Account, account.to_vec(), vec![1; 32]);
        let line = [&account[..], &key(sequence)].concat();
        batch.put(Table::Statement, line, vec![2; 24]);
    }
    batch.put(Table::Meta, b"head".to_vec(), entry(first));
    batch
}

/// Half of it hashes, which do not compress, half small numbers, which do.
fn entry(sequence: u64) -> Vec<u8> {
    let mut bytes = vec![0; ENTRY_LEN];
    for (index, word) in (0..).zip(bytes.chunks_exact_mut(16)) {
        let (hash, number) = word.split_at_mut(8);
        hash.copy_from_slice(&scatter(sequence * 64 + index).to_be_bytes());
        number.copy_from_slice(&sequence.to_be_bytes());
    }
    bytes
}

fn key(sequence: u64) -> Vec<u8> {
    sequence_key(Sequence::new(sequence))
}

fn identity(account: u8) -> Identity {
    Identity::from_secret([account; 32])
}

/// A number that looks like any other: the last step of `SplitMix64`.
fn scatter(number: u64) -> u64 {
    let mut word = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn measure(name: &str, count: u64, work: impl FnOnce()) {
    let (begin, cpu_begin) = (Instant::now(), cpu_ms());
    work();
    let wall = begin.elapsed().as_nanos() / u128::from(count);
    let cpu = (cpu_ms() - cpu_begin) * 1_000_000 / count;
    println!("{name:30} {count:8} {wall:9} {cpu:9}");
}

/// CPU time of this process so far, user and system, of all threads; the kernel counts in 10 ms.
fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}
