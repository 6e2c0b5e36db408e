//! The mark of a network ledger as a file, and the clocks by which it keeps settlement time.
//!
//! What a mark is, and which of a file's two slots counts, is decided by the ledger's `mark.rs`,
//! how time advances by its `clock.rs`. Here are only the file, written in place and synced, and
//! the two readings. Who opens it has opened the ledger.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use seedbank_ledger::clock::{ClockAhead, ClockState, LogClock, SPARE_SECS};
use seedbank_ledger::mark::{FILE_LEN, HighWater, Mark, MarkSlot};
use seedbank_ledger::signed::head::SignedHead;
use seedbank_ledger::store::StoreError;
use seedbank_ledger::{Instant, UnixTime};

use crate::host::clock::{boot_now, unix_now};
use crate::host::durable;

/// Settlement time may pass for so many seconds before it is kept again: what a crash forgets of
/// it, the next start believes.
const KEPT_EVERY_SECS: u64 = 600;

/// Reads the mark at `path`: `Ok(None)` if there is no file, `InvalidData` if there is no mark in
/// it.
pub fn read(path: &Path) -> io::Result<Option<Mark>> {
    Ok(read_slot(path)?.map(|slot| slot.mark))
}

/// Puts a new file with this mark at `path`, whole or not at all, in place of any other.
pub fn replace(path: &Path, mark: Mark) -> io::Result<()> {
    let mut file = vec![0; FILE_LEN];
    let slot = MarkSlot::first(mark);
    let bytes = slot.to_bytes();
    let place = file.iter_mut().skip(slot.offset());
    place.zip(&bytes).for_each(|(to, from)| *to = *from);
    durable::replace(path, &file, durable::SECRET_MODE)
}

fn read_slot(path: &Path) -> io::Result<Option<MarkSlot>> {
    let file = match std::fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match MarkSlot::newest(&file) {
        Some(slot) if file.len() == FILE_LEN => Ok(Some(slot)),
        Some(_) | None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A mark that is being kept. Clones keep the same one.
#[derive(Clone, Debug)]
pub struct KeptMark(Arc<MarkKeeper>);

/// The time is read while the file is written: of the two locks, the clock's is never held while
/// the other is waited for.
#[derive(Debug)]
struct MarkKeeper {
    file: Mutex<MarkFile>,
    clock: Mutex<KeptClock>,
}

#[derive(Debug)]
struct MarkFile {
    path: PathBuf,
    file: File,
    slot: MarkSlot,
    failure: Option<StoreError>,
}

#[derive(Debug)]
struct KeptClock {
    clock: LogClock,
    /// What of it the file has.
    kept: ClockState,
    /// Whether the wall clock is off, and its owner was told.
    is_off: bool,
}

/// Why a mark is not kept any further.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockAhead),
}

impl KeptMark {
    /// Goes on with the mark at `path`, which must be there, and with its time.
    pub fn open(path: &Path) -> Result<Self, KeepError> {
        Self::open_at(path, unix_now(), boot_now())
    }

    fn open_at(path: &Path, wall: UnixTime, boot: Instant) -> Result<Self, KeepError> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let slot = read_slot(path)?.ok_or_else(missing)?;
        let clock = LogClock::start(slot.mark.clock, wall, boot)?;
        let file = OpenOptions::new().write(true).open(path)?;
        let clock = KeptClock {
            clock,
            kept: slot.mark.clock,
            is_off: false,
        };
        let file = MarkFile {
            path: path.to_owned(),
            file,
            slot,
            failure: None,
        };
        Ok(Self(Arc::new(MarkKeeper {
            file: Mutex::new(file),
            clock: Mutex::new(clock),
        })))
    }

    /// Settlement time. Waits for the file only when the time is to be kept.
    pub fn now(&self) -> UnixTime {
        self.0.now(unix_now(), boot_now())
    }
}

impl HighWater for KeptMark {
    fn raise(&mut self, head: &SignedHead) -> Result<(), StoreError> {
        let mut file = locked(&self.0.file);
        let is_same = file.slot.mark.head == *head;
        if is_same {
            Ok(())
        } else {
            self.0.keep(&mut file, *head)
        }
    }
}

impl MarkKeeper {
    fn now(&self, wall: UnixTime, boot: Instant) -> UnixTime {
        let (time, is_due) = locked(&self.clock).read(wall, boot);
        if is_due {
            let mut file = locked(&self.file);
            let head = file.slot.mark.head;
            // Whoever came first has kept it, or said why not.
            if locked(&self.clock).is_due()
                && file.failure.is_none()
                && let Err(error) = self.keep(&mut file, head)
            {
                // The next entry is refused for it.
                tracing::error!(%error, "settlement time cannot be kept");
            }
        }
        time
    }

    fn keep(&self, file: &mut MarkFile, head: SignedHead) -> Result<(), StoreError> {
        let clock = locked(&self.clock).clock.state();
        file.keep(Mark { head, clock })?;
        locked(&self.clock).kept = clock;
        Ok(())
    }
}

impl KeptClock {
    /// The time, and whether it is to be kept before it is used.
    fn read(&mut self, wall: UnixTime, boot: Instant) -> (UnixTime, bool) {
        let time = self.clock.read(wall, boot);
        self.tell_off(wall, time);
        (time, self.is_due())
    }

    fn is_due(&self) -> bool {
        let is = self.clock.state();
        is.spare_secs != self.kept.spare_secs
            || is.reached.secs_since(self.kept.reached) >= KEPT_EVERY_SECS
    }

    fn tell_off(&mut self, wall: UnixTime, time: UnixTime) {
        let ahead = wall.secs_since(time);
        let back = self.clock.state().reached.secs_since(wall);
        let is_off = ahead.max(back) > SPARE_SECS;
        if is_off && !self.is_off && ahead > 0 {
            tracing::warn!(
                "the clock is {ahead} s ahead of settlement time, which follows it by 10 min a \
                 day: set it, or, if it is right, restart: a start believes 24 h"
            );
        } else if is_off && !self.is_off {
            tracing::warn!(
                "the clock is {back} s behind settlement time, which waits for it: set it"
            );
        }
        self.is_off = is_off;
    }
}

impl MarkFile {
    /// Writes over the older slot. The file has its length: what is synced is this one page.
    fn keep(&mut self, mark: Mark) -> Result<(), StoreError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let slot = self.slot.followed_by(mark);
        let offset = u64::try_from(slot.offset()).expect("a file of two pages");
        let written = self.file.write_all_at(&slot.to_bytes(), offset);
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.slot = slot;
                Ok(())
            }
            Err(error) => {
                let (path, reason) = (self.path.display().to_string(), error.to_string());
                let failure = StoreError::Io { path, reason };
                self.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("nothing panics while it holds this lock")
}

/// A mark at the start of a network, or of what is left of one.
pub fn starting(head: SignedHead, wall: UnixTime) -> Mark {
    let clock = ClockState::starting_at(wall);
    Mark { head, clock }
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::entry::EntryHash;
    use seedbank_ledger::signed::Body as _;
    use seedbank_ledger::signed::head::LedgerHead;
    use seedbank_ledger::{Identity, NetworkId};

    use super::*;

    const NOW: u64 = 1_700_000_000;
    const DAY: u64 = 86_400;

    fn head(size: u64) -> SignedHead {
        let head = LedgerHead {
            network_id: NetworkId::from_bytes([1; 32]),
            size,
            entry_hash: EntryHash::of(&size.to_le_bytes()),
            time: UnixTime::from_secs(NOW),
        };
        head.sign(&Identity::from_secret([2; 32]))
    }

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(NOW + secs)
    }

    fn boot(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_mark_is_what_was_raised_last_whatever_became_of_the_other_slot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        assert_eq!(read(&path).unwrap(), None);
        replace(&path, starting(head(1), at(0))).unwrap();
        let mut kept = KeptMark::open_at(&path, at(0), boot(9)).unwrap();
        for size in 2..9 {
            kept.raise(&head(size)).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().head, head(size));
        }
        let mut file = std::fs::read(&path).unwrap();
        assert_eq!(file.len(), FILE_LEN);
        let slot = MarkSlot::newest(&file).unwrap();
        file[slot.offset() + 40] ^= 1;
        std::fs::write(&path, &file).unwrap();
        assert_eq!(
            read(&path).unwrap().unwrap().head,
            head(7),
            "the one before"
        );
        file.truncate(FILE_LEN - 1);
        std::fs::write(&path, &file).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn l3_settlement_time_is_kept_from_one_start_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        replace(&path, starting(head(1), at(0))).unwrap();
        let kept = || read(&path).unwrap().unwrap().clock;
        let mark = KeptMark::open_at(&path, at(0), boot(9)).unwrap();
        assert_eq!(mark.0.now(at(500), boot(509)), at(500));
        assert_eq!(kept().reached, at(0), "not kept every second");
        assert_eq!(mark.0.now(at(KEPT_EVERY_SECS), boot(609)), at(600));
        assert_eq!(kept().reached, at(600));
        // A year ahead: ten minutes are believed, and kept before they are used.
        let time = mark.0.now(at(365 * DAY), boot(610));
        assert_eq!(time, at(601 + SPARE_SECS));
        assert_eq!(kept().reached, time);
        assert_eq!(kept().spare_secs, 0);
        // Back by a year: time waits.
        let back = UnixTime::from_secs(NOW - 365 * DAY);
        assert_eq!(mark.0.now(back, boot(611)), time);
        drop(mark);

        let ahead = KeptMark::open_at(&path, at(365 * DAY), boot(0)).unwrap_err();
        assert!(matches!(ahead, KeepError::Clock(_)), "{ahead}");
        assert_eq!(kept().reached, time, "nothing was changed");
        let again = KeptMark::open_at(&path, back, boot(0)).unwrap();
        assert_eq!(again.0.now(at(2_000), boot(0)), time, "nothing is spare");
    }
}
