//! Tables in memory, for tests, the simulator and replays. Clones share the same tables.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Batch, Durability, KeyValue, Poison, Store, StoreError, Table};

/// A store that ends with the process. Cheap to clone; clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<MemoryInner>);

#[derive(Debug, Default)]
struct MemoryInner {
    content: Mutex<Tables>,
    poison: Poison,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    writes_left: Option<u64>,
}

const PATH: &str = "memory";

impl Memory {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// A separate copy of what is there now: a backup.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let content = Tables {
            rows: self.content().rows.clone(),
            writes_left: None,
        };
        Self(Arc::new(MemoryInner {
            content: Mutex::new(content),
            poison: Poison::default(),
        }))
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

    fn apply(&mut self, batch: &Batch) {
        for (table, key, value) in batch.iter() {
            let key = (table, key.to_vec());
            match value {
                Some(value) => self.rows.insert(key, value.to_vec()),
                None => self.rows.remove(&key),
            };
        }
    }
}

impl Store for Memory {
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
        let from = Bound::Included((table, from.to_vec()));
        Ok(self
            .content()
            .rows
            .range((from, Bound::Unbounded))
            .take_while(|((in_table, key), _)| {
                *in_table == table && until.is_none_or(|until| key.as_slice() < until)
            })
            .take(limit)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn write(&self, batch: &Batch, _: Durability) -> Result<(), StoreError> {
        self.0.poison.guard(|| {
            let mut content = self.content();
            content.spend_write()?;
            content.apply(batch);
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.0.poison.check()
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
    fn a_snapshot_is_apart() {
        let store = Memory::new();
        let copy = store.snapshot();
        let shared = store.clone();
        store.write(&put(b"a"), Durability::Written).unwrap();
        assert_eq!(copy.get(Table::Meta, b"a"), Ok(None));
        assert!(shared.get(Table::Meta, b"a").unwrap().is_some());
    }
}
