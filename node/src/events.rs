//! What happened, numbered: a bounded history and a way to follow it.
//!
//! What strangers can cause as often as they like is kept apart from the rest, and bounded by
//! itself: it never takes the place of what the owner wants to know. Both are numbered together.
//!
//! Numbers go on where they ended when the node is started again, so that a watcher who resumes is
//! told what it missed. Up to which number they may have been given out is on disk before they are:
//! after a crash they go on from there, and the numbers between never were.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seedbank_engine::interface::event::{CreditEvent, SessionEvent};
use seedbank_ledger::UnixTime;
use tokio::sync::watch;

use crate::host::durable;

/// Most events kept, of the owner's and of those that strangers caused each.
pub const HISTORY_MAX: usize = 4096;
/// Numbers reserved on disk at once; the next are reserved when half of them are left.
const RESERVED: u64 = 65_536;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Counted from 1 since the node's first start.
    pub sequence: u64,
    /// When, by the wall clock.
    pub at: UnixTime,
    /// What.
    pub event: SessionEvent,
}

/// The history of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    shared: Arc<EventHistory>,
}

/// Follows a node's events.
#[derive(Debug)]
pub struct EventStream {
    shared: Arc<EventHistory>,
    next: u64,
    newest: watch::Receiver<Newest>,
}

/// Whether strangers can cause such an event as often as they like.
pub(crate) fn is_strangers(event: &SessionEvent) -> bool {
    match event {
        SessionEvent::Choke(_)
        | SessionEvent::PieceFailed { .. }
        | SessionEvent::PeerMisbehaved { .. }
        | SessionEvent::PeerUnreached { .. }
        | SessionEvent::TrackerFailed { .. } => true,
        SessionEvent::TorrentCompleted(_) | SessionEvent::TorrentFailed { .. } => false,
        SessionEvent::Credit(event) => match event {
            CreditEvent::LockRefused { .. }
            | CreditEvent::WrittenOff { .. }
            | CreditEvent::Conflict { .. } => true,
            CreditEvent::BoostFunded { .. }
            | CreditEvent::BoostEnded { .. }
            | CreditEvent::BoostWaiting { .. }
            | CreditEvent::BoostWorking { .. }
            | CreditEvent::BoostSettled { .. }
            | CreditEvent::SettlementRefused { .. }
            | CreditEvent::AnswerUnusable { .. }
            | CreditEvent::ClockSkewed { .. } => false,
        },
    }
}

/// The history does not have what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventsMissing {
    /// It no longer goes back as far.
    #[error("event {asked} is gone: the oldest that is left is {oldest}")]
    Pruned {
        /// First number wanted.
        asked: u64,
        /// First number there is, or will be.
        oldest: u64,
    },
    /// It has not come as far.
    #[error("event {asked} has not happened: the next is {next}")]
    Ahead {
        /// First number wanted.
        asked: u64,
        /// Number of the next event.
        next: u64,
    },
}

/// Why events cannot be numbered.
#[derive(Debug, thiserror::Error)]
pub enum NumberingError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{}:1: {text:?} is no number of events; write 1 to count anew", path.display())]
    NoNumber {
        /// Which.
        path: PathBuf,
        /// What it holds, or the beginning of it.
        text: String,
    },
}

#[derive(Debug)]
struct EventHistory {
    history: Mutex<EventRings>,
    newest: watch::Sender<Newest>,
    /// Number of the first event of this run.
    first: u64,
    /// Where the number is kept from which the next run counts; `None` for nowhere.
    path: Option<PathBuf>,
}

/// What is left of what happened; each oldest first.
#[derive(Debug)]
struct EventRings {
    owners: VecDeque<EventRecord>,
    strangers: VecDeque<EventRecord>,
    /// From this number on, every event of the owner's is there.
    whole_from: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    sequence: u64,
    ended: bool,
}

impl Events {
    /// Events that count from 1, for tests.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::counting(1, None)
    }

    /// Events that go on where those ended of which `path` knows. Waits for the disk.
    pub(crate) fn open(path: &Path) -> Result<Self, NumberingError> {
        let first = match std::fs::read_to_string(path) {
            Ok(text) => parse(&text).ok_or_else(|| NumberingError::NoNumber {
                path: path.to_owned(),
                text: text.chars().take(40).collect(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 1,
            Err(source) => {
                let path = path.to_owned();
                return Err(NumberingError::Io { path, source });
            }
        };
        let events = Self::counting(first, Some(path.to_owned()));
        let reserved = events.reserve(first.saturating_add(RESERVED));
        reserved.map_err(|source| NumberingError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(events)
    }

    fn counting(first: u64, path: Option<PathBuf>) -> Self {
        let newest = Newest {
            sequence: first - 1,
            ended: false,
        };
        Self {
            shared: Arc::new(EventHistory {
                history: Mutex::new(EventRings {
                    owners: VecDeque::new(),
                    strangers: VecDeque::new(),
                    whole_from: first,
                }),
                newest: watch::Sender::new(newest),
                first,
                path,
            }),
        }
    }

    /// Reserves numbers ahead of those that are given out, until there are no more events. While
    /// the disk refuses, events go on, and a crash could repeat their numbers.
    pub(crate) async fn keep_reserving(self) {
        let mut newest = self.shared.newest.subscribe();
        let mut reserved = self.shared.first.saturating_add(RESERVED);
        loop {
            let low = reserved.saturating_sub(RESERVED / 2);
            let wanted = |newest: &Newest| newest.sequence >= low || newest.ended;
            match newest.wait_for(wanted).await.as_deref() {
                Ok(newest) if !newest.ended => {}
                Ok(_) | Err(_) => return,
            }
            reserved = self.newest().saturating_add(RESERVED);
            let events = self.clone();
            let written = tokio::task::spawn_blocking(move || events.reserve(reserved));
            if let Ok(Err(error)) = written.await {
                tracing::warn!(%error, "numbers of events are not reserved");
            }
        }
    }

    /// Lets the next run go on behind the newest event. Waits for the disk.
    pub(crate) fn close(&self) {
        if let Err(error) = self.reserve(self.newest().saturating_add(1)) {
            tracing::warn!(%error, "numbers of events will have a gap");
        }
    }

    fn reserve(&self, next: u64) -> io::Result<()> {
        let path = self.shared.path.as_deref();
        let text = format!("{next}\n");
        path.map_or(Ok(()), |path| {
            durable::replace(path, text.as_bytes(), durable::SECRET_MODE)
        })
    }

    /// Adds an event.
    pub(crate) fn push(&self, event: SessionEvent, at: UnixTime) {
        let mut history = self.shared.lock();
        let sequence = self.newest() + 1;
        history.push(EventRecord {
            sequence,
            at,
            event,
        });
        drop(history);
        self.shared
            .newest
            .send_modify(|newest| newest.sequence = sequence);
    }

    /// Nothing more will happen: streams end.
    pub(crate) fn end(&self) {
        self.shared.newest.send_modify(|newest| newest.ended = true);
    }

    /// Number of the newest event, in this run or before; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.shared.newest.borrow().sequence
    }

    /// The first number from which no event of the owner's is missing.
    pub fn oldest(&self) -> u64 {
        self.shared.lock().whole_from
    }

    /// Follows from event `from` on; `None` for those still to come. Of what strangers caused, the
    /// newest [`HISTORY_MAX`] are there, and older ones are left out without a word.
    pub fn follow(&self, from: Option<u64>) -> Result<EventStream, EventsMissing> {
        let newest = self.shared.newest.subscribe();
        let (oldest, next) = (self.oldest(), self.newest() + 1);
        match from {
            Some(asked) if asked < oldest => Err(EventsMissing::Pruned { asked, oldest }),
            Some(asked) if asked > next => Err(EventsMissing::Ahead { asked, next }),
            Some(_) | None => Ok(EventStream {
                next: from.unwrap_or(next),
                newest,
                shared: Arc::clone(&self.shared),
            }),
        }
    }
}

/// The number in a file; events count from 1.
fn parse(text: &str) -> Option<u64> {
    let number: u64 = text.trim().parse().ok()?;
    // A number that cannot be passed on as the contract's is none of ours.
    (1..u64::MAX >> 2).contains(&number).then_some(number)
}

impl EventStream {
    /// Number of the event that comes next.
    pub fn at(&self) -> u64 {
        self.next
    }

    /// The next event, when there is one; `None` once the node is gone. After `Pruned` it goes on
    /// with the oldest there is.
    pub async fn next(&mut self) -> Result<Option<EventRecord>, EventsMissing> {
        loop {
            {
                let history = self.shared.lock();
                let oldest = history.whole_from;
                if self.next < oldest {
                    let asked = std::mem::replace(&mut self.next, oldest);
                    return Err(EventsMissing::Pruned { asked, oldest });
                }
                if let Some(record) = history.first_from(self.next) {
                    self.next = record.sequence + 1;
                    return Ok(Some(record.clone()));
                }
            }
            let next = self.next;
            let wanted = |newest: &Newest| newest.sequence >= next || newest.ended;
            match self.newest.wait_for(wanted).await.as_deref() {
                Ok(newest) if newest.sequence >= next => {}
                Ok(_) | Err(_) => return Ok(None),
            }
        }
    }
}

impl EventHistory {
    fn lock(&self) -> MutexGuard<'_, EventRings> {
        // Nothing under this lock leaves it half done.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventRings {
    /// Adds an event, and drops the oldest of its kind if there are too many.
    fn push(&mut self, record: EventRecord) {
        let is_strangers = is_strangers(&record.event);
        let ring = match is_strangers {
            true => &mut self.strangers,
            false => &mut self.owners,
        };
        ring.push_back(record);
        if ring.len() > HISTORY_MAX
            && let Some(dropped) = ring.pop_front()
            && !is_strangers
        {
            self.whole_from = dropped.sequence + 1;
        }
    }

    /// The first event that is left from number `from` on.
    fn first_from(&self, from: u64) -> Option<&EventRecord> {
        let first = |ring: &VecDeque<EventRecord>| ring.partition_point(|it| it.sequence < from);
        let owners = self.owners.get(first(&self.owners));
        let strangers = self.strangers.get(first(&self.strangers));
        let both = owners.into_iter().chain(strangers);
        both.min_by_key(|record| record.sequence)
    }
}

#[cfg(test)]
mod tests {
    use seedbank_engine::units::{PeerIndex, TorrentId};

    use super::*;

    fn event(byte: u8) -> SessionEvent {
        SessionEvent::TorrentCompleted(TorrentId([byte; 20]))
    }

    #[tokio::test]
    async fn a_watcher_resumes_where_it_was() {
        let events = Events::new();
        let mut live = events.follow(None).unwrap();
        events.push(event(1), UnixTime::ZERO);
        events.push(event(2), UnixTime::ZERO);
        assert_eq!(live.next().await.unwrap().unwrap().event, event(1));
        let mut resumed = events.follow(Some(2)).unwrap();
        assert_eq!(resumed.next().await.unwrap().unwrap().event, event(2));
        let ahead = EventsMissing::Ahead { asked: 4, next: 3 };
        assert_eq!(events.follow(Some(4)).unwrap_err(), ahead);
        events.end();
        assert_eq!(resumed.next().await, Ok(None));
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told() {
        let events = Events::new();
        let mut slow = events.follow(Some(1)).unwrap();
        for _ in 0..HISTORY_MAX + 5 {
            events.push(event(0), UnixTime::ZERO);
        }
        let pruned = EventsMissing::Pruned {
            asked: 1,
            oldest: 6,
        };
        assert_eq!(slow.next().await.unwrap_err(), pruned);
        assert_eq!(slow.next().await.unwrap().unwrap().sequence, 6);
        assert_eq!(events.follow(Some(1)).unwrap_err(), pruned);
    }

    fn violation() -> SessionEvent {
        SessionEvent::PeerMisbehaved {
            peer: PeerIndex(1),
            what: "bitfield twice".to_owned(),
        }
    }

    #[tokio::test]
    async fn n2_strangers_never_take_the_place_of_the_owners_events() {
        let events = Events::new();
        events.push(event(1), UnixTime::ZERO);
        for _ in 0..3 * HISTORY_MAX {
            events.push(violation(), UnixTime::ZERO);
        }
        events.push(event(2), UnixTime::ZERO);
        assert_eq!(events.oldest(), 1);
        let mut stream = events.follow(Some(1)).unwrap();
        events.end();
        let mut told = Vec::new();
        while let Some(record) = stream.next().await.unwrap() {
            told.push(record);
        }
        assert_eq!(told.len(), HISTORY_MAX + 2, "both are bounded");
        assert_eq!(told[0].event, event(1));
        assert_eq!(told[1].event, violation());
        let newest = told.last().unwrap();
        assert_eq!(newest.event, event(2));
        assert_eq!(newest.sequence, events.newest());
        assert!(told.is_sorted_by(|one, next| one.sequence < next.sequence));
        // The other way round, too: the owner's displace nobody else's.
        for _ in 0..2 * HISTORY_MAX {
            events.push(event(3), UnixTime::ZERO);
        }
        let rings = events.shared.lock();
        assert_eq!(rings.owners.len(), HISTORY_MAX);
        assert_eq!(rings.strangers.len(), HISTORY_MAX);
    }

    #[tokio::test]
    async fn n2_a_watcher_resumes_past_what_strangers_lost() {
        let events = Events::new();
        let mut slow = events.follow(None).unwrap();
        for _ in 0..HISTORY_MAX + 5 {
            events.push(violation(), UnixTime::ZERO);
        }
        events.push(event(1), UnixTime::ZERO);
        // Numbers leap, and nothing of the owner's is missing: that is no failure.
        assert_eq!(slow.next().await.unwrap().unwrap().sequence, 6);
        assert_eq!(slow.at(), 7);
        let mut resumed = events.follow(Some(3)).unwrap();
        assert_eq!(resumed.next().await.unwrap().unwrap().sequence, 6);
    }

    #[test]
    fn numbers_go_on_behind_a_clean_stop_and_never_repeat_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let first = Events::open(&path).unwrap();
        first.push(event(1), UnixTime::ZERO);
        first.close();
        let second = Events::open(&path).unwrap();
        second.push(event(2), UnixTime::ZERO);
        assert_eq!(second.newest(), 2);
        let pruned = EventsMissing::Pruned {
            asked: 1,
            oldest: 2,
        };
        assert_eq!(second.follow(Some(1)).unwrap_err(), pruned);
        // Nobody closes it.
        drop(second);
        let third = Events::open(&path).unwrap();
        assert_eq!(third.newest(), 1 + RESERVED);
        third.push(event(3), UnixTime::ZERO);
        third.follow(Some(2 + RESERVED)).unwrap();
        third.follow(Some(2)).unwrap_err();
        for text in ["", "0", "many", "-1", "99999999999999999999"] {
            std::fs::write(&path, text).unwrap();
            let error = Events::open(&path).unwrap_err().to_string();
            assert!(error.contains("events:1: "), "{error}");
        }
    }

    #[tokio::test]
    async fn numbers_are_reserved_before_they_run_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let events = Events::open(&path).unwrap();
        let reserving = tokio::spawn(events.clone().keep_reserving());
        for _ in 0..RESERVED {
            events.push(event(0), UnixTime::ZERO);
            if events.newest() == RESERVED / 2 + 1 {
                while std::fs::read_to_string(&path).unwrap().trim() == (RESERVED + 1).to_string() {
                    tokio::task::yield_now().await;
                }
            }
        }
        events.end();
        reserving.await.unwrap();
        let next: u64 = std::fs::read_to_string(&path)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(next > events.newest(), "{next}");
    }
}
