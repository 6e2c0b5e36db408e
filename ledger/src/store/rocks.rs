//! Tables in RocksDB, one column family each. Clones share the same database.
//!
//! Write-ahead logs are never recycled, never switched off and never flushed by hand: *written*
//! means handed to the kernel. Recovery is point-in-time: a torn tail is cut off, but RocksDB cuts
//! off acknowledged entries just as silently after damage in the middle of a log, so who needs to
//! know must compare the size with a mark kept elsewhere.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBIteratorWithThreadMode, DBRecoveryMode, DBWithThreadMode, Direction, ErrorKind, IteratorMode,
    LogLevel, MultiThreaded, Options, ReadOptions, SnapshotWithThreadMode, WriteBatch,
    WriteOptions,
};

use super::{Batch, Durability, KeyValue, Poison, Snapshot, Store, StoreError, StoreRead, Table};

type Db = DBWithThreadMode<MultiThreaded>;

const WAL_BYTES_MAX: u64 = 256 << 20;
const ENTRY_BUFFER_BYTES: usize = 64 << 20;
const ROW_BUFFER_BYTES: usize = 8 << 20;
const CACHE_BYTES: usize = 32 << 20;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
const INFO_LOG_BYTES_MAX: usize = 1 << 20;
const INFO_LOG_COUNT_MAX: usize = 2;
const OPEN_FILES_MAX: i32 = 256;

/// A RocksDB database. Cheap to clone; clones are the same database.
#[derive(Clone)]
pub struct Rocks(Arc<RocksInner>);

struct RocksInner {
    db: Db,
    path: String,
    poison: Poison,
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rocks({})", self.0.path)
    }
}

impl Rocks {
    /// Opens the database in `path`, or creates it there. One process at a time. What recovery cuts
    /// off is gone for good.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let db = Db::open_cf_descriptors(&database_options(), path, families());
        Self::of(db, path)
    }

    /// Opens the database in `path` to look at it: recovers what [`Rocks::open`] would, and leaves
    /// the files as they are. Every write is refused. Nobody may be writing it meanwhile.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let options = database_options();
        let db = Db::open_cf_descriptors_read_only(&options, path, families(), false);
        Self::of(db, path)
    }

    fn of(db: Result<Db, rocksdb::Error>, path: &Path) -> Result<Self, StoreError> {
        let path = path.display().to_string();
        let db = db.map_err(|error| explain(&path, &error))?;
        let poison = Poison::default();
        Ok(Self(Arc::new(RocksInner { db, path, poison })))
    }
}

fn families() -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let family =
        |table: &Table| ColumnFamilyDescriptor::new(table.name(), family_options(*table, &cache));
    Table::ALL.iter().map(family).collect()
}

impl RocksInner {
    fn family(&self, table: Table) -> Arc<BoundColumnFamily<'_>> {
        self.db
            .cf_handle(table.name())
            .expect("every table was opened")
    }

    fn guard<T>(&self, step: impl FnOnce() -> Result<T, rocksdb::Error>) -> Result<T, StoreError> {
        self.poison
            .guard(|| step().map_err(|error| explain(&self.path, &error)))
    }
}

/// A database as it was at one moment.
struct RocksSnapshot<'a> {
    inner: &'a RocksInner,
    rows: SnapshotWithThreadMode<'a, Db>,
}

impl StoreRead for Rocks {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = &self.0;
        inner.guard(|| inner.db.get_cf(&inner.family(table), key))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        let inner = &self.0;
        inner.guard(|| {
            let rows = |family, mode| inner.db.iterator_cf_opt(family, bounded(until), mode);
            take(rows(&inner.family(table), forward(from)), limit)
        })
    }
}

impl StoreRead for RocksSnapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = self.inner;
        inner.guard(|| self.rows.get_cf(&inner.family(table), key))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.inner.guard(|| {
            let rows = |family, mode| self.rows.iterator_cf_opt(family, bounded(until), mode);
            take(rows(&self.inner.family(table), forward(from)), limit)
        })
    }
}

impl Store for Rocks {
    fn snapshot(&self) -> Snapshot<'_> {
        Arc::new(RocksSnapshot {
            inner: &self.0,
            rows: self.0.db.snapshot(),
        })
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let inner = &self.0;
        inner.guard(|| {
            let mut write = WriteBatch::default();
            for (table, key, value) in batch.iter() {
                match value {
                    Some(value) => write.put_cf(&inner.family(table), key, value),
                    None => write.delete_cf(&inner.family(table), key),
                }
            }
            let mut options = WriteOptions::default();
            options.set_sync(durability == Durability::Synced);
            inner.db.write_opt(write, &options)
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        let inner = &self.0;
        inner.guard(|| inner.db.flush_wal(true))
    }
}

fn forward(from: &[u8]) -> IteratorMode<'_> {
    IteratorMode::From(from, Direction::Forward)
}

fn bounded(until: Option<&[u8]>) -> ReadOptions {
    let mut options = ReadOptions::default();
    if let Some(until) = until {
        options.set_iterate_upper_bound(until);
    }
    options
}

fn take(
    rows: DBIteratorWithThreadMode<'_, Db>,
    limit: usize,
) -> Result<Vec<KeyValue>, rocksdb::Error> {
    rows.take(limit)
        .map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())))
        .collect()
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOG_COUNT_MAX);
    options.set_log_level(LogLevel::Warn);
    options
}

fn family_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    let mut options = Options::default();
    if table == Table::Entry {
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(ENTRY_BUFFER_BYTES);
        // Its keys are dense: whoever asks for one finds it.
        options.set_optimize_filters_for_hits(true);
    } else {
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(ROW_BUFFER_BYTES);
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    }
    options.set_block_based_table_factory(&blocks);
    options
}

fn explain(path: &str, error: &rocksdb::Error) -> StoreError {
    let path = path.to_owned();
    let reason = error.to_string();
    // RocksDB has no kind of its own for this: POSIX says "lock ...: Resource temporarily
    // unavailable" for another process, its own table says "lock hold by current process".
    let is_locked =
        reason.contains("lock hold by current process") || reason.contains("While lock file");
    match error.kind() {
        ErrorKind::IOError if is_locked => StoreError::Locked { path },
        ErrorKind::Corruption => StoreError::Corrupt { path, reason },
        _ => StoreError::Io { path, reason },
    }
}
