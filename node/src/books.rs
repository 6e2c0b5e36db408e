//! The node's ledger and tally, and the thread that makes them durable.
//!
//! Tally rows are written inline by the session thread, before anything that depends on them is
//! sent; entries go to a thread that appends them in groups, one fsync each, and syncs the tally
//! within a second. The first error is the last: the node stops. `books/network.rs` opens the other
//! ledger, that of a network, for the thread that keeps it.

pub mod network;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seedbank_engine::credit::receipts::pair::without_unsigned_due;
use seedbank_engine::credit::wallet::WalletBook;
use seedbank_engine::credit::wallet::config::REQUEST_IDS_MAX;
use seedbank_engine::interface::input::Input;
use seedbank_ledger::charts::node::{
    Balance, Membership, NodeCause, NodeCommand, NodeLedger, NodeReader,
};
use seedbank_ledger::entry::EntryKind;
use seedbank_ledger::ledger::{ENTRIES_MAX, GROUP_MAX, Head, LedgerError, OpenError, Outcome};
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{Memory, Store, StoreError};
use seedbank_ledger::tally::{Tally, TallyRow};
use seedbank_ledger::{NodeId, Sequence};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::host::clock::unix_now;
use crate::host::config::StoreKind;
use crate::inbox::{Inbox, ToSession};

/// A store of either kind.
pub type AnyStore = Arc<dyn Store>;

/// Most entries that wait to be appended; the session waits beyond, as nothing may be lost.
const QUEUE_MAX: usize = 1024;
/// Pages of the newest entries that are searched for transfers at start: 64 Ki entries.
const TRANSFER_PAGES_MAX: usize = 64;
/// How long a tally row may stay unsynced.
const SYNC_EVERY: Duration = Duration::from_millis(900);

/// Opens the store of a ledger in `folder`, or makes one there.
pub fn open_store(kind: StoreKind, folder: &Path) -> Result<AnyStore, StoreError> {
    open_with(kind, folder, Access::Write)
}

/// Opens the store of a ledger in `folder` to look at it, and leaves it as it is. One in memory is
/// empty.
pub(crate) fn open_store_to_read(kind: StoreKind, folder: &Path) -> Result<AnyStore, StoreError> {
    open_with(kind, folder, Access::Read)
}

enum Access {
    Read,
    Write,
}

#[cfg(feature = "rocksdb")]
fn open_with(kind: StoreKind, folder: &Path, access: Access) -> Result<AnyStore, StoreError> {
    use seedbank_ledger::store::Rocks;
    Ok(match (kind, access) {
        (StoreKind::Memory, _) => Arc::new(Memory::new()),
        (StoreKind::RocksDb, Access::Read) => Arc::new(Rocks::open_to_read(folder)?),
        (StoreKind::RocksDb, Access::Write) => Arc::new(Rocks::open(folder)?),
    })
}

#[cfg(not(feature = "rocksdb"))]
fn open_with(kind: StoreKind, folder: &Path, _: Access) -> Result<AnyStore, StoreError> {
    match kind {
        StoreKind::Memory => Ok(Arc::new(Memory::new())),
        StoreKind::RocksDb => {
            let path = folder.display().to_string();
            let reason = "this build has no RocksDB".to_owned();
            Err(StoreError::Io { path, reason })
        }
    }
}

/// The ledger and tally of one node.
pub(crate) struct Books {
    shared: Arc<SharedBooks>,
    queue: Mutex<Option<SyncSender<BooksJob>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the books' thread is given.
enum BooksJob {
    /// Append this.
    Append(Box<NodeCommand>),
    /// Say what the ledger holds once everything before this is appended.
    Tell(oneshot::Sender<Result<(Balance, Head), LedgerError>>),
}

struct SharedBooks {
    ledger: Mutex<NodeLedger<AnyStore>>,
    reader: NodeReader,
    tally: Tally<AnyStore>,
    /// Rows were written since the newest sync of the tally began. Set behind a write, taken back
    /// in [`Self::sync`] and nowhere else: whether entries are appended is no matter.
    unsynced: AtomicBool,
    inbox: Inbox,
    runtime: Handle,
}

impl Books {
    /// Opens the books in `store` and starts their thread, which stops the session through
    /// `inbox` if they fail.
    pub(crate) fn open(
        store: AnyStore,
        owner: NodeId,
        network: Option<Membership>,
        inbox: Inbox,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(SharedBooks::open(store, owner, network, inbox.clone())?);
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let books = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                if let Err(error) = books.keep(&receiver) {
                    let why = format!("the ledger failed: {error}");
                    inbox.send_blocking(ToSession::Stop(Some(why)));
                }
            })
            .expect("a node that starts can start a thread");
        Ok(Self {
            shared,
            queue: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// What a session that starts is given of the run before.
    pub(crate) fn book(&self) -> Result<WalletBook, LedgerError> {
        let ledger = self.shared.ledger();
        let balance = ledger.balance()?;
        Ok(WalletBook {
            rows: self.shared.tally.load()?,
            as_of: balance.as_of,
            available: balance.available,
            transfers: newest_transfers(&ledger)?,
        })
    }

    /// What was not signed is no longer due: the folder is a copy, and the original may sign it.
    pub(crate) fn drop_unsigned_due(&self) -> Result<(), LedgerError> {
        let rows = self.shared.tally.load()?.into_iter();
        let kept = rows.filter_map(|row| match row {
            TallyRow::Pair(row) => Some(TallyRow::Pair(without_unsigned_due(row))),
            TallyRow::Receipt(_)
            | TallyRow::Lock(_)
            | TallyRow::Order(_)
            | TallyRow::Boost { .. }
            | TallyRow::Gone(_) => None,
        });
        let kept: Vec<TallyRow> = kept.collect();
        self.shared.tally.write(&kept)?;
        self.shared.tally.sync()?;
        Ok(())
    }

    /// The newest line of our account that the ledger has.
    pub(crate) fn newest_line(&self) -> Result<Option<Sequence>, LedgerError> {
        self.shared.ledger().newest_line()
    }

    /// Writes tally rows: they survive the process when this returns, the power within a second.
    pub(crate) fn write(&self, rows: &[TallyRow]) -> Result<(), StoreError> {
        self.shared.write(rows)
    }

    /// Queues an entry. Waits only while the disk is more than a thousand entries behind.
    pub(crate) fn append(&self, command: NodeCommand) {
        let queue = lock(&self.queue).clone();
        // Without a writer the books have failed, and the session is told to stop.
        let _ = queue.map(|queue| queue.send(BooksJob::Append(Box::new(command))));
    }

    /// Has `reply` told what the ledger holds after everything that was queued so far; it is
    /// dropped if the books are closed. Asked on the session's thread, the answer is of one moment
    /// with whatever the session says there.
    pub(crate) fn tell(&self, reply: oneshot::Sender<Result<(Balance, Head), LedgerError>>) {
        let queue = lock(&self.queue).clone();
        let _ = queue.map(|queue| queue.send(BooksJob::Tell(reply)));
    }

    /// A way to read the ledger, whether or not this node still runs; it keeps the store open.
    pub(crate) fn reader(&self) -> NodeReader {
        self.shared.reader.clone()
    }

    /// Appends and syncs what is queued and ends the thread. Blocks.
    pub(crate) fn close(&self) {
        drop(lock(&self.queue).take());
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer {
            // A panic there has been printed and has stopped the session.
            let _ = writer.join();
        }
    }
}

impl Drop for Books {
    /// Also where a start fails: no thread holds the store when this is gone.
    fn drop(&mut self) {
        self.close();
    }
}

impl SharedBooks {
    fn open(
        store: AnyStore,
        owner: NodeId,
        network: Option<Membership>,
        inbox: Inbox,
    ) -> Result<Self, OpenError> {
        let ledger = NodeLedger::open(Arc::clone(&store), owner, network, unix_now())?;
        Ok(Self {
            reader: ledger.reader(),
            ledger: Mutex::new(ledger),
            tally: Tally::new(store),
            unsynced: AtomicBool::new(false),
            inbox,
            runtime: Handle::current(),
        })
    }

    fn write(&self, rows: &[TallyRow]) -> Result<(), StoreError> {
        self.tally.write(rows)?;
        self.unsynced.store(true, Ordering::Release);
        Ok(())
    }

    /// Appends whatever is queued until the queue ends.
    fn keep(&self, queue: &Receiver<BooksJob>) -> Result<(), LedgerError> {
        let mut synced_at = Instant::now();
        loop {
            synced_at = self.sync_by(synced_at, Instant::now())?;
            match queue.recv_timeout(SYNC_EVERY.saturating_sub(synced_at.elapsed())) {
                Ok(first) => self.carry_out(first, queue)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.sync()?;
                    return Ok(());
                }
            }
        }
    }

    /// Syncs the tally if the last sync is [`SYNC_EVERY`] ago or longer, whatever was appended
    /// since; says when it was synced last.
    fn sync_by(&self, synced_at: Instant, now: Instant) -> Result<Instant, StoreError> {
        if now.saturating_duration_since(synced_at) < SYNC_EVERY {
            return Ok(synced_at);
        }
        self.sync()?;
        Ok(now)
    }

    /// Appends one group of what is queued; a question ends it.
    fn carry_out(&self, first: BooksJob, queue: &Receiver<BooksJob>) -> Result<(), LedgerError> {
        let mut group = Vec::new();
        let mut job = Some(first);
        while let Some(next) = job.take() {
            match next {
                BooksJob::Append(command) => group.push(*command),
                BooksJob::Tell(reply) => {
                    self.append(&group)?;
                    let view = self.reader.now()?;
                    let told = view.balance().map(|balance| (balance, view.head()));
                    // Whoever asked may have gone.
                    let _ = reply.send(told);
                    return Ok(());
                }
            }
            if group.len() < GROUP_MAX {
                job = queue.try_recv().ok();
            }
        }
        self.append(&group)
    }

    fn append(&self, group: &[NodeCommand]) -> Result<(), LedgerError> {
        if group.is_empty() {
            return Ok(());
        }
        let outcomes = self.ledger().append(unix_now(), group)?;
        for (command, outcome) in group.iter().zip(outcomes) {
            // A line that says that an order was refused is entered like any other.
            if let Outcome::Refused(refusal) = outcome {
                tracing::warn!(?refusal, ?command, "ledger refused an entry");
                self.tell_refusal(command, refusal)?;
            }
        }
        Ok(())
    }

    /// Tells the wallet of a line that was refused, so that it does not go on as if we had it.
    fn tell_refusal(&self, command: &NodeCommand, refusal: Refusal) -> Result<(), LedgerError> {
        let NodeCommand::Settled(line) = command else {
            return Ok(());
        };
        let told = Input::LineRefused {
            line: line.certificate.body.sequence,
            refusal,
            newest: self.ledger().newest_line()?,
        };
        // Not from this thread: the session may be waiting for it.
        let inbox = self.inbox.clone();
        self.runtime.spawn(async move { inbox.input(told).await });
        Ok(())
    }

    /// Has every row that was written before survive the power.
    fn sync(&self) -> Result<(), StoreError> {
        // Before the sync: a row that is written meanwhile waits for the next.
        if self.unsynced.swap(false, Ordering::AcqRel) {
            self.tally.sync()?;
        }
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, NodeLedger<AnyStore>> {
        self.ledger
            .lock()
            .expect("nothing panics while it holds the ledger")
    }
}

/// The newest transfers that the owner ordered, oldest first.
fn newest_transfers(ledger: &NodeLedger<AnyStore>) -> Result<Vec<SignedOrder>, LedgerError> {
    let page_len = u64::try_from(ENTRIES_MAX).expect("a page is short");
    let mut transfers = Vec::new();
    let mut end = ledger.head().next.get();
    for _ in 0..TRANSFER_PAGES_MAX {
        let start = end.saturating_sub(page_len);
        let len = usize::try_from(end - start).expect("a page is short");
        for entry in ledger.entries(Sequence::new(start), len)?.iter().rev() {
            if entry.kind != EntryKind::Transfer || transfers.len() >= REQUEST_IDS_MAX {
                continue;
            }
            let NodeCause::Command(NodeCommand::Settled(line)) = ledger.cause(entry)? else {
                continue;
            };
            match line.operation {
                Operation::Order(order) if order.body.account == ledger.owner() => {
                    transfers.push(order);
                }
                Operation::Order(_) | Operation::Claim(_) | Operation::Expiry(_) => {}
            }
        }
        end = start;
        if end == 0 || transfers.len() >= REQUEST_IDS_MAX {
            break;
        }
    }
    transfers.reverse();
    Ok(transfers)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks leaves them half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").finish_non_exhaustive()
    }
}
