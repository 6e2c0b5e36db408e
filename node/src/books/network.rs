//! The network ledger of a data folder, with its mark: founded once, opened at every start, read by
//! audits, and gone on with after a loss only when its owner says so.
//!
//! A message here is all that an operator is told, so it names what was found, that nothing was
//! changed, and every way out.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::clock::{ClockAhead, ClockState};
use seedbank_ledger::ledger::{LedgerError, OpenError};
use seedbank_ledger::mark::Mark;
use seedbank_ledger::signed::head::{LedgerHead, SignedHead};
use seedbank_ledger::store::StoreError;
use seedbank_ledger::{Genesis, Identity, UnixTime};

use super::{AnyStore, open_store, open_store_to_read};
use crate::host::clock::unix_now;
use crate::host::config::StoreKind;
use crate::host::datadir::DataDir;
use crate::host::mark::{self, KeepError, KeptMark};

const FOUND_NEW: &str = "found a new network elsewhere: seedbankd --data-dir DIR network init NAME";

/// Why there is no network ledger to work with. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkBookError {
    /// There was never one.
    #[error(
        "no network ledger in {}: a network is founded once, by `seedbankd network init NAME`. If \
         this one was founded elsewhere, bring network-ledger and network-ledger.mark from there",
        .0.display()
    )]
    NotFounded(PathBuf),
    /// There is one where another was to be founded.
    #[error("{} holds a network ledger, or its mark: a node keeps one network", .0.display())]
    There(PathBuf),
    /// There was one.
    #[error(
        "the network ledger {} is empty, but {}. Nothing is founded in its place: all credit of \
         the network is in those entries. Ways out:\n\
         - put a copy of the folder back that has them all;\n- {FOUND_NEW}",
        folder.display(), Acknowledged(*mark)
    )]
    Emptied {
        /// Where it should be.
        folder: PathBuf,
        /// What was acknowledged.
        mark: LedgerHead,
    },
    /// Some of it is gone, or it is another.
    #[error(
        "the network ledger {} has {size} entries, but {}: {}. Nothing was changed. Ways out:\n\
         - put a copy of the folder back that has them all;\n- {FOUND_NEW}\n\
         - go on without them: seedbankd network accept --entries {size}\n  \
         What they granted, moved, locked and paid is undone here, while members who hold lines \
         of them can prove it and will not deal with this node",
        folder.display(), Acknowledged(*mark), Missing { size: *size, mark: *mark }
    )]
    Lost {
        /// Where it is.
        folder: PathBuf,
        /// How many entries it has.
        size: u64,
        /// What was acknowledged.
        mark: LedgerHead,
    },
    /// Nobody can tell whether it is whole.
    #[error(
        "the mark {} of the network ledger {}, so nobody can tell whether its {size} entries are \
         all that were acknowledged. Nothing was changed. Ways out:\n\
         - put a copy of the mark back that is as new as the ledger;\n\
         - if the ledger is whole: seedbankd network accept --entries {size}\n  \
         Entries that are missing after all are then lost without a word",
        path.display(), if *is_there { "cannot be read" } else { "is missing" }
    )]
    Unmarked {
        /// Where the mark should be.
        path: PathBuf,
        /// Whether there is a file.
        is_there: bool,
        /// How many entries the ledger has.
        size: u64,
    },
    /// The clock is far ahead.
    #[error(
        "the clock says {}, but settlement time was last at {}, and a start believes 24 h more. \
         Nothing was changed. Ways out:\n- if the clock is wrong, set it;\n\
         - if this data folder is an older copy, put the newest back;\n\
         - if neither, and the node was off: seedbankd network accept --clock\n  \
         Every lock whose time and grace have passed by then ends, and what its payee has not \
         claimed returns to the payer",
        shown(.0.wall), shown(.0.kept)
    )]
    Clock(#[from] ClockAhead),
    /// What was to be accepted is not what is there.
    #[error("the network ledger has {size} entries, not {given}")]
    NotThat {
        /// Entries in it.
        size: u64,
        /// Entries its owner spoke of.
        given: u64,
    },
    /// Its files.
    #[error("network ledger: {0}")]
    Store(#[from] StoreError),
    /// It does not open.
    #[error("network ledger: {0}")]
    Ledger(#[from] OpenError),
    /// Its mark, or its folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A network ledger that is kept, and the time by which it is.
pub(crate) struct OpenNetwork {
    pub(crate) ledger: NetworkLedger<AnyStore>,
    pub(crate) store: AnyStore,
    pub(crate) clock: Box<dyn Fn() -> UnixTime + Send + Sync>,
}

/// What an owner accepted, for them to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Where the ledger goes on.
    pub(crate) end: LedgerHead,
    /// Entries that were acknowledged and are given up, by the mark.
    pub(crate) lost: u64,
    /// Where settlement time goes on.
    pub(crate) time: UnixTime,
}

/// The network ledger of a data folder.
#[derive(Debug)]
pub(crate) struct NetworkBook<'a> {
    data_dir: &'a DataDir,
    kind: StoreKind,
    genesis: Genesis,
}

impl<'a> NetworkBook<'a> {
    pub(crate) fn new(data_dir: &'a DataDir, kind: StoreKind, genesis: Genesis) -> Self {
        Self {
            data_dir,
            kind,
            genesis,
        }
    }

    /// Begins the ledger and its mark; durable when this returns. Overwrites nothing.
    pub(crate) fn found(self, settlement: Identity) -> Result<(), NetworkBookError> {
        check_vacant(self.data_dir)?;
        let now = unix_now();
        let store = open_store(self.kind, &self.data_dir.network_ledger())?;
        let ledger = NetworkLedger::found(store, self.genesis, settlement, now)?;
        let head = ledger.signed_head().map_err(OpenError::from)?;
        write_mark(self.data_dir, mark::starting(head, now))
    }

    /// Opens the ledger to keep it, at its mark and by its time. One in memory is founded here and
    /// now, for nobody can have opened it before.
    pub(crate) fn open(self, settlement: Identity) -> Result<OpenNetwork, NetworkBookError> {
        if self.kind == StoreKind::Memory {
            let store = open_store(self.kind, &self.data_dir.network_ledger())?;
            let found = NetworkLedger::found(
                AnyStore::clone(&store),
                self.genesis,
                settlement,
                unix_now(),
            );
            let (ledger, clock) = (found?, Box::new(unix_now));
            return Ok(OpenNetwork {
                ledger,
                store,
                clock,
            });
        }
        // Looked at before it is opened to write, which cuts off for good what cannot be read.
        let settlement = Arc::new(settlement);
        let (looked_at, mark) = self.open_whole(&settlement)?;
        drop(looked_at);
        let path = self.data_dir.network_mark();
        let kept = KeptMark::open(&path).map_err(|error| match error {
            KeepError::Io(source) => NetworkBookError::Io { path, source },
            KeepError::Clock(ahead) => ahead.into(),
        })?;
        let store = open_store(self.kind, &self.data_dir.network_ledger())?;
        let mut ledger = NetworkLedger::open(
            AnyStore::clone(&store),
            self.genesis,
            settlement,
            Some(&mark),
        )?;
        let keeping = ledger.keep_mark(Box::new(kept.clone()));
        keeping.map_err(OpenError::from)?;
        let clock = Box::new(move || kept.now());
        Ok(OpenNetwork {
            ledger,
            store,
            clock,
        })
    }

    /// Opens the ledger to read it, whole by its mark; the mark stays as it is.
    pub(crate) fn open_to_read(
        self,
        settlement: Identity,
    ) -> Result<NetworkLedger<AnyStore>, NetworkBookError> {
        Ok(self.open_whole(&Arc::new(settlement))?.0)
    }

    /// Goes on with what there is: `entries` of the ledger, if they are given, whatever the mark
    /// says, and with the clock as it is, if `clock` is to be believed.
    pub(crate) fn accept(
        self,
        settlement: Identity,
        entries: Option<u64>,
        clock: bool,
    ) -> Result<Accepted, NetworkBookError> {
        let data_dir = self.data_dir;
        let marked = self.read_mark();
        let settlement = Arc::new(settlement);
        let ledger = match entries {
            Some(_) => self.open_any(&settlement, None)?,
            None => self.open_whole(&settlement)?.0,
        };
        let head = ledger.signed_head().map_err(OpenError::from)?;
        let size = head.body.size;
        if let Some(given) = entries.filter(|given| *given != size) {
            return Err(NetworkBookError::NotThat { size, given });
        }
        let marked = marked.ok().flatten();
        let kept = marked.map_or(ClockState::starting_at(head.body.time), |mark| mark.clock);
        let clock = if clock {
            ClockState::starting_at(unix_now())
        } else {
            kept
        };
        write_mark(data_dir, Mark { head, clock })?;
        let acknowledged = marked.map_or(size, |mark| mark.head.body.size);
        Ok(Accepted {
            end: head.body,
            lost: acknowledged.saturating_sub(size),
            time: clock.reached,
        })
    }

    /// Opens the ledger to read it, if it goes as far as its mark; with the head there.
    fn open_whole(
        &self,
        settlement: &Arc<Identity>,
    ) -> Result<(NetworkLedger<AnyStore>, SignedHead), NetworkBookError> {
        let path = self.data_dir.network_mark();
        let is_there = match self.read_mark() {
            Ok(Some(mark)) => {
                return Ok((self.open_any(settlement, Some(&mark.head))?, mark.head));
            }
            Ok(None) => false,
            Err(source) if source.kind() == io::ErrorKind::InvalidData => true,
            Err(source) => return Err(NetworkBookError::Io { path, source }),
        };
        let ledger = self.open_any(settlement, None)?;
        let size = ledger.head().next.get();
        Err(NetworkBookError::Unmarked {
            path,
            is_there,
            size,
        })
    }

    /// Opens the ledger to read it, if it goes as far as `at_least`.
    fn open_any(
        &self,
        settlement: &Arc<Identity>,
        at_least: Option<&SignedHead>,
    ) -> Result<NetworkLedger<AnyStore>, NetworkBookError> {
        let folder = self.data_dir.network_ledger();
        if !has_files(&folder) {
            return Err(self.empty());
        }
        let store = open_store_to_read(self.kind, &folder)?;
        let (genesis, settlement) = (self.genesis.clone(), Arc::clone(settlement));
        match NetworkLedger::open(store, genesis, settlement, at_least) {
            Ok(ledger) => Ok(ledger),
            Err(OpenError::Empty { .. }) => Err(self.empty()),
            Err(OpenError::BelowMark { size, mark } | OpenError::OtherThanMark { size, mark }) => {
                Err(NetworkBookError::Lost { folder, size, mark })
            }
            Err(other) => Err(other.into()),
        }
    }

    fn empty(&self) -> NetworkBookError {
        match self.read_mark() {
            Ok(Some(mark)) => NetworkBookError::Emptied {
                folder: self.data_dir.network_ledger(),
                mark: mark.head.body,
            },
            Ok(None) | Err(_) => NetworkBookError::NotFounded(self.data_dir.root().to_owned()),
        }
    }

    fn read_mark(&self) -> io::Result<Option<Mark>> {
        mark::read(&self.data_dir.network_mark())
    }
}

/// Refuses a data folder in which no network can be founded.
pub(crate) fn check_vacant(data_dir: &DataDir) -> Result<(), NetworkBookError> {
    if has_files(&data_dir.network_ledger()) || data_dir.network_mark().exists() {
        return Err(NetworkBookError::There(data_dir.root().to_owned()));
    }
    Ok(())
}

fn has_files(folder: &std::path::Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

fn write_mark(data_dir: &DataDir, mark: Mark) -> Result<(), NetworkBookError> {
    let path = data_dir.network_mark();
    mark::replace(&path, mark).map_err(|source| NetworkBookError::Io { path, source })
}

impl From<LedgerError> for NetworkBookError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error.into())
    }
}

/// How many entries there were, and until when.
struct Acknowledged(LedgerHead);

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it had {}, the last of {}",
            self.0.size,
            shown(self.0.time)
        )
    }
}

/// What of the acknowledged entries is not there.
struct Missing {
    size: u64,
    mark: LedgerHead,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.mark.size.saturating_sub(1);
        if self.size > last {
            write!(f, "entry {last} is another one")
        } else {
            write!(f, "entries {} to {last} are missing", self.size)
        }
    }
}

/// A time as people write it, in UTC.
pub(crate) fn shown(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}

impl fmt::Debug for OpenNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenNetwork")
            .field("head", &self.ledger.head())
            .finish_non_exhaustive()
    }
}
