//! Tables in memory, for tests, the simulator and replays. Clones share the same tables.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Batch, Durability, KeyValue, Poison, Snapshot, Store, StoreError, StoreRead, Table};

/// A store that ends with the process. Cheap to clone; clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<MemoryInner>);

#[derive(Debug, Default)]
struct MemoryInner {
    content: Mutex<Tables>,
    poison: Poison,
}

type Key = (Table, Vec<u8>);
type Rows = BTreeMap<Key, Vec<u8>>;

/// What undoes one batch: the values from before it.
type Undo = Vec<(Key, Option<Vec<u8>>)>;

/// What undoes every batch since some moment: the values of then, of the keys that changed since.
type Since = BTreeMap<Key, Option<Vec<u8>>>;

#[derive(Clone, Debug, Default)]
struct Tables {
    rows: Rows,
    writes_left: Option<u64>,
    writes: u64,
    /// How to undo what is written and not synced, oldest first; `None` if nobody asks.
    unsynced: Option<Vec<Undo>>,
    /// Of each snapshot that is still held, what has changed since.
    snapshots: BTreeMap<u64, Since>,
    snapshot_next: u64,
}

/// The tables as they were at one moment: as they are, but for what has changed since.
struct MemorySnapshot<'a> {
    store: &'a Memory,
    number: u64,
}

const PATH: &str = "memory";

impl Memory {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// A separate copy of what is there now, O(rows).
    #[must_use]
    pub fn backup(&self) -> Self {
        Self::of(self.content().rows.clone())
    }

    fn of(rows: Rows) -> Self {
        let content = Tables {
            rows,
            ..Tables::default()
        };
        Self(Arc::new(MemoryInner {
            content: Mutex::new(content),
            poison: Poison::default(),
        }))
    }

    /// From now on remembers what a loss of power would take, for [`Self::power_cut`].
    pub fn remember_unsynced(&self) {
        self.content().unsynced.get_or_insert_default();
    }

    /// A separate store with what a disk has after the power was cut: everything synced, and of the
    /// batches written since then the first `survivors`, as a log that is written in order may.
    ///
    /// # Panics
    /// Without [`Self::remember_unsynced`].
    #[must_use]
    pub fn power_cut(&self, survivors: usize) -> Self {
        let content = self.content();
        let unsynced = content.unsynced.as_ref();
        let unsynced = unsynced.expect("it was asked to remember");
        let mut rows = content.rows.clone();
        for undo in unsynced.iter().skip(survivors).rev() {
            for (key, value) in undo {
                match value {
                    Some(value) => rows.insert(key.clone(), value.clone()),
                    None => rows.remove(key),
                };
            }
        }
        drop(content);
        let after = Self::of(rows);
        after.remember_unsynced();
        after
    }

    /// Batches written in this store's life.
    pub fn writes(&self) -> u64 {
        self.content().writes
    }

    /// Batches that a loss of power would take; 0 if nobody asked to remember.
    pub fn unsynced_count(&self) -> usize {
        self.content().unsynced.as_ref().map_or(0, Vec::len)
    }

    /// Lets `writes` more writes succeed, then fails as a full disk does.
    pub fn fail_after(&self, writes: u64) {
        self.content().writes_left = Some(writes);
    }

    fn content(&self) -> MutexGuard<'_, Tables> {
        self.0
            .content
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

impl Tables {
    fn spend_write(&mut self) -> Result<(), StoreError> {
        let Some(left) = self.writes_left else {
            return Ok(());
        };
        self.writes_left = Some(left.checked_sub(1).ok_or_else(|| StoreError::Io {
            path: PATH.to_owned(),
            reason: "no space left on device".to_owned(),
        })?);
        Ok(())
    }

    fn apply(&mut self, batch: &Batch, durability: Durability) {
        let mut undo = Undo::new();
        for (table, key, value) in batch.iter() {
            let key = (table, key.to_vec());
            let before = match value {
                Some(value) => self.rows.insert(key.clone(), value.to_vec()),
                None => self.rows.remove(&key),
            };
            for since in self.snapshots.values_mut() {
                since.entry(key.clone()).or_insert_with(|| before.clone());
            }
            undo.push((key, before));
        }
        self.writes = self.writes.saturating_add(1);
        match (&mut self.unsynced, durability) {
            (Some(unsynced), Durability::Written) => unsynced.push(undo),
            (Some(unsynced), Durability::Synced) => unsynced.clear(),
            (None, _) => {}
        }
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
        since: &Since,
    ) -> Vec<KeyValue> {
        let range = (Bound::Included((table, from.to_vec())), Bound::Unbounded);
        let is_asked =
            |key: &&Key| key.0 == table && until.is_none_or(|until| key.1.as_slice() < until);
        let mut now = self.rows.range(range.clone()).peekable();
        let mut then = since.range(range).peekable();
        let merged = std::iter::from_fn(|| {
            let changed = match (now.peek(), then.peek()) {
                (Some((now, _)), Some((then, _))) => then <= now,
                (_, then) => then.is_some(),
            };
            if !changed {
                return now.next().map(|(key, value)| (key, Some(value)));
            }
            let (key, before) = then.next()?;
            now.next_if(|(now, _)| *now == key);
            Some((key, before.as_ref()))
        });
        merged
            .take_while(|(key, _)| is_asked(key))
            .filter_map(|(key, value)| Some((key.1.clone(), value?.clone())))
            .take(limit)
            .collect()
    }
}

impl StoreRead for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.poison.check()?;
        Ok(self.content().rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.0.poison.check()?;
        let content = self.content();
        Ok(content.scan(table, from, until, limit, &Since::new()))
    }
}

impl StoreRead for MemorySnapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.0.poison.check()?;
        let content = self.store.content();
        let key = (table, key.to_vec());
        let before = self.since(&content).get(&key).cloned();
        Ok(before.unwrap_or_else(|| content.rows.get(&key).cloned()))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.store.0.poison.check()?;
        let content = self.store.content();
        Ok(content.scan(table, from, until, limit, self.since(&content)))
    }
}

impl MemorySnapshot<'_> {
    fn since<'c>(&self, content: &'c Tables) -> &'c Since {
        let since = content.snapshots.get(&self.number);
        since.expect("what a snapshot needs is kept until it is dropped")
    }
}

impl Drop for MemorySnapshot<'_> {
    fn drop(&mut self) {
        self.store.content().snapshots.remove(&self.number);
    }
}

impl Store for Memory {
    fn snapshot(&self) -> Snapshot<'_> {
        let mut content = self.content();
        let number = content.snapshot_next;
        content.snapshot_next = number.saturating_add(1);
        content.snapshots.insert(number, Since::new());
        drop(content);
        Arc::new(MemorySnapshot {
            store: self,
            number,
        })
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.0.poison.guard(|| {
            let mut content = self.content();
            content.spend_write()?;
            content.apply(batch, durability);
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.0.poison.check()?;
        if let Some(unsynced) = &mut self.content().unsynced {
            unsynced.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8]) -> Batch {
        let mut batch = Batch::new();
        batch.put(Table::Meta, key.to_vec(), b"value".to_vec());
        batch
    }

    #[test]
    fn the_first_error_is_the_last_word() {
        let store = Memory::new();
        store.fail_after(1);
        store.write(&put(b"a"), Durability::Synced).unwrap();
        let first = store.write(&put(b"b"), Durability::Synced).unwrap_err();
        assert_eq!(
            store.write(&put(b"c"), Durability::Written),
            Err(first.clone())
        );
        assert_eq!(store.get(Table::Meta, b"a"), Err(first.clone()));
        assert_eq!(store.sync(), Err(first));
    }

    #[test]
    fn a_scan_stays_in_its_table_and_bounds() {
        let store = Memory::new();
        let mut batch = Batch::new();
        for key in 0_u8..5 {
            batch.put(Table::Lock, vec![key], vec![]);
            batch.put(Table::Nonce, vec![key], vec![]);
        }
        store.write(&batch, Durability::Written).unwrap();
        let keys = |until: Option<&[u8]>, limit| -> Vec<u8> {
            let rows = store.scan(Table::Lock, &[1], until, limit).unwrap();
            rows.into_iter().flat_map(|(key, _)| key).collect()
        };
        assert_eq!(keys(None, 9), [1, 2, 3, 4]);
        assert_eq!(keys(Some(&[3]), 9), [1, 2]);
        assert_eq!(keys(None, 1), [1]);
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced_from_its_end() {
        let store = Memory::new();
        store.remember_unsynced();
        store.write(&put(b"a"), Durability::Synced).unwrap();
        store.write(&put(b"b"), Durability::Written).unwrap();
        let mut batch = put(b"c");
        batch.delete(Table::Meta, b"a".to_vec());
        batch.put(Table::Meta, b"b".to_vec(), b"other".to_vec());
        store.write(&batch, Durability::Written).unwrap();
        assert_eq!((store.writes(), store.unsynced_count()), (3, 2));

        let names =
            |store: &Memory| -> Vec<KeyValue> { store.scan(Table::Meta, b"", None, 9).unwrap() };
        let value = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        assert_eq!(names(&store.power_cut(0)), [value(b"a", b"value")]);
        assert_eq!(
            names(&store.power_cut(1)),
            [value(b"a", b"value"), value(b"b", b"value")]
        );
        assert_eq!(names(&store.power_cut(2)), names(&store));
        assert_eq!(names(&store.power_cut(9)), names(&store));

        store.sync().unwrap();
        assert_eq!(names(&store.power_cut(0)), names(&store));
        store.write(&put(b"d"), Durability::Written).unwrap();
        store.write(&put(b"e"), Durability::Synced).unwrap();
        assert_eq!(
            names(&store.power_cut(0)),
            names(&store),
            "all before it too"
        );
    }

    #[test]
    fn a_snapshot_is_apart() {
        let store = Memory::new();
        let copy = store.backup();
        let shared = store.clone();
        store.write(&put(b"a"), Durability::Written).unwrap();
        assert_eq!(copy.get(Table::Meta, b"a"), Ok(None));
        assert!(shared.get(Table::Meta, b"a").unwrap().is_some());
    }
}
