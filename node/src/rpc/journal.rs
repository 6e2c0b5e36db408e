//! The newest events, numbered, so that a watcher can come back where it stopped.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use seedbank_engine::session::event::SessionEvent;
use seedbank_ledger::UnixTime;
use tokio::sync::watch;

/// Events kept; the oldest give way.
pub const EVENTS_MAX: usize = 10_000;

/// An event with its number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Position, from 0 at the daemon's start.
    pub sequence: u64,
    /// When it happened.
    pub time: UnixTime,
    /// What happened.
    pub event: SessionEvent,
}

/// Events from here to there are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {asked} is gone, the oldest left is {oldest}")]
pub struct Pruned {
    /// Asked for.
    pub asked: u64,
    /// The first that is left.
    pub oldest: u64,
}

/// A ring of events that many can read and wait on.
#[derive(Debug)]
pub struct Journal {
    ring: Mutex<VecDeque<Recorded>>,
    /// Number of the next event.
    next: watch::Sender<u64>,
}

impl Journal {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self {
            ring: Mutex::new(VecDeque::new()),
            next: watch::Sender::new(0),
        }
    }

    /// Records an event and wakes whoever waits.
    pub fn push(&self, time: UnixTime, event: SessionEvent) {
        let mut ring = self.ring();
        let sequence = *self.next.borrow();
        if ring.len() == EVENTS_MAX {
            ring.pop_front();
        }
        ring.push_back(Recorded {
            sequence,
            time,
            event,
        });
        self.next.send_replace(sequence + 1);
    }

    /// Number that the next event will have; the value changes with every event.
    pub fn next(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// At most `limit` events from `from` on, oldest first.
    pub fn read(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, Pruned> {
        let ring = self.ring();
        let next = *self.next.borrow();
        let oldest = ring.front().map_or(next, |event| event.sequence);
        if from < oldest {
            return Err(Pruned {
                asked: from,
                oldest,
            });
        }
        let skipped = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        Ok(ring.iter().skip(skipped).take(limit).cloned().collect())
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Recorded>> {
        // A panic between two statements of `push` leaves a ring that is still in order.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use seedbank_engine::units::InfoHash;

    use super::*;

    fn event(byte: u8) -> SessionEvent {
        SessionEvent::TorrentCompleted(InfoHash([byte; 20]))
    }

    #[test]
    fn a_watcher_resumes_where_it_stopped() {
        let journal = Journal::new();
        assert_eq!(journal.read(0, 10), Ok(Vec::new()));
        for byte in 0..5 {
            journal.push(UnixTime::from_secs(9), event(byte));
        }
        let page = journal.read(2, 2).unwrap();
        let numbers: Vec<u64> = page.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, [2, 3]);
        assert_eq!(journal.read(5, 10), Ok(Vec::new()));
        assert_eq!(journal.read(7, 10), Ok(Vec::new()));
        assert_eq!(*journal.next().borrow(), 5);
    }

    #[test]
    fn pruned_events_are_named_not_skipped() {
        let journal = Journal::new();
        for _ in 0..=EVENTS_MAX {
            journal.push(UnixTime::ZERO, event(1));
        }
        assert_eq!(
            journal.read(0, 1),
            Err(Pruned {
                asked: 0,
                oldest: 1
            })
        );
        assert_eq!(journal.read(1, 1).unwrap()[0].sequence, 1);
    }
}
