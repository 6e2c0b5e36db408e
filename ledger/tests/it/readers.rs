//! Readers beside a writer: a snapshot stays what it was, in every store, and a ledger read by one
//! is in order at any moment.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{Batch, Durability, KeyValue, Memory, Store, StoreRead, Table};

use crate::laws::rows;
use crate::world::{ISSUER, START, genesis, grant, identity, order};

/// What is done to a store and its readers.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Writes a batch: of each key its new value, or none.
    Write(Vec<(u8, Option<u8>)>),
    /// Begins to read.
    Take,
    /// Ends a reader.
    Drop(prop::sample::Index),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..12_u8, any::<Option<u8>>());
    let step = prop_oneof![
        3 => prop::collection::vec(change, 0..6).prop_map(Step::Write),
        2 => Just(Step::Take),
        1 => any::<prop::sample::Index>().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 0..40)
}

/// Keys of two neighbouring tables; some are the beginning of others.
fn place(number: u8) -> (Table, Vec<u8>) {
    let table = [Table::Account, Table::Lock][usize::from(number % 2)];
    let len = 1 + usize::from(number / 6);
    (table, [number / 2 % 3, 7][..len].to_vec())
}

fn batch(changes: &[(u8, Option<u8>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes {
        let (table, key) = place(*key);
        match value {
            Some(value) => batch.put(table, key, vec![*value]),
            None => batch.delete(table, key),
        }
    }
    batch
}

/// Whether `reader` has the rows `wanted`, however they are asked for.
fn assert_holds(reader: &dyn StoreRead, wanted: &[(Table, Vec<u8>, Vec<u8>)]) {
    for number in 0..12 {
        let (table, key) = place(number);
        let is_it = |row: &&(Table, Vec<u8>, Vec<u8>)| row.0 == table && row.1 == key;
        let value = wanted.iter().find(is_it).map(|row| row.2.clone());
        assert_eq!(reader.get(table, &key).unwrap(), value);
        for (until, limit) in [(None, 2), (Some([2_u8].as_slice()), 9), (Some(&[1, 7]), 9)] {
            let found = reader.scan(table, &key, until, limit).unwrap();
            let in_range = |row: &&(Table, Vec<u8>, Vec<u8>)| {
                row.0 == table && row.1 >= key && until.is_none_or(|until| row.1.as_slice() < until)
            };
            let wanted = wanted.iter().filter(in_range).take(limit);
            let wanted: Vec<KeyValue> = wanted.map(|row| (row.1.clone(), row.2.clone())).collect();
            assert_eq!(found, wanted);
        }
    }
}

/// Carries out `steps`; every snapshot keeps the rows of the moment when it was taken.
pub(crate) fn assert_snapshots_stand(store: &impl Store, steps: &[Step]) {
    let mut readers = Vec::new();
    for step in steps {
        match step {
            Step::Write(changes) => store.write(&batch(changes), Durability::Written).unwrap(),
            Step::Take => readers.push((store.snapshot(), rows(store))),
            Step::Drop(which) if !readers.is_empty() => {
                drop(readers.swap_remove(which.index(readers.len())));
            }
            Step::Drop(_) => {}
        }
        for (reader, then) in &readers {
            assert_holds(reader, then);
        }
    }
}

/// Checks a ledger over and over while entries are appended to it, one fsync each.
pub(crate) fn assert_checks_while_written<S: Store + Clone + 'static>(store: S, count: u64) {
    let mut network = NetworkLedger::found(store, genesis(), identity(200), START).unwrap();
    let reader = network.reader();
    let is_done = AtomicBool::new(false);
    let checks = std::thread::scope(|scope| {
        let checking = scope.spawn(|| {
            let mut seen = Vec::new();
            loop {
                let is_last = is_done.load(Ordering::Acquire);
                let view = reader.now().unwrap();
                let report = view.check().unwrap();
                assert_eq!(report.head, view.head());
                assert!(view.audit().unwrap().is_conserved());
                seen.push(report.entry_count);
                if is_last {
                    return seen;
                }
            }
        });
        for nonce in 1..=count {
            let order = Operation::Order(order(ISSUER, nonce, grant(1, 1)));
            network.append(START, &[order]).unwrap();
        }
        is_done.store(true, Ordering::Release);
        checking.join().unwrap()
    });
    assert!(checks.is_sorted());
    assert_eq!(checks.last(), Some(&(count + 1)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_snapshot_in_memory_stays_what_it_was(steps in steps()) {
        assert_snapshots_stand(&Memory::new(), &steps);
    }
}

#[test]
fn a_live_ledger_in_memory_checks_at_any_moment() {
    assert_checks_while_written(Memory::new(), 60);
}
