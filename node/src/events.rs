//! What happened, numbered: a bounded history and a way to follow it.
//!
//! A watcher that falls behind the history is told so, with the oldest number still there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seedbank_engine::interface::event::SessionEvent;
use seedbank_ledger::UnixTime;
use tokio::sync::watch;

/// Most events kept.
pub const HISTORY_MAX: usize = 4096;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Counted from 1 since the start of the node.
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

/// The history no longer goes back as far as was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("history starts at {oldest}, {asked} was asked for")]
pub struct Pruned {
    /// First number wanted.
    pub asked: u64,
    /// First number there is.
    pub oldest: u64,
}

#[derive(Debug)]
struct EventHistory {
    history: Mutex<VecDeque<EventRecord>>,
    newest: watch::Sender<Newest>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    sequence: u64,
    ended: bool,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(EventHistory {
                history: Mutex::default(),
                newest: watch::Sender::new(Newest::default()),
            }),
        }
    }

    /// Adds an event.
    pub(crate) fn push(&self, event: SessionEvent, at: UnixTime) {
        let mut history = self.shared.lock();
        let sequence = self.newest() + 1;
        history.push_back(EventRecord {
            sequence,
            at,
            event,
        });
        if history.len() > HISTORY_MAX {
            history.pop_front();
        }
        drop(history);
        self.shared
            .newest
            .send_modify(|newest| newest.sequence = sequence);
    }

    /// Nothing more will happen: streams end.
    pub(crate) fn end(&self) {
        self.shared.newest.send_modify(|newest| newest.ended = true);
    }

    /// Number of the newest event; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.shared.newest.borrow().sequence
    }

    /// Follows from event `from` on; `None` for those still to come.
    pub fn follow(&self, from: Option<u64>) -> EventStream {
        EventStream {
            next: from.unwrap_or_else(|| self.newest() + 1).max(1),
            newest: self.shared.newest.subscribe(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl EventStream {
    /// The next event, when there is one; `None` once the node is gone. After `Pruned` it goes on
    /// with the oldest there is.
    pub async fn next(&mut self) -> Result<Option<EventRecord>, Pruned> {
        loop {
            {
                let history = self.shared.lock();
                if let Some(oldest) = history.front().map(|record| record.sequence) {
                    if self.next < oldest {
                        let asked = std::mem::replace(&mut self.next, oldest);
                        return Err(Pruned { asked, oldest });
                    }
                    let index = usize::try_from(self.next - oldest).expect("history is bounded");
                    if let Some(record) = history.get(index) {
                        self.next += 1;
                        return Ok(Some(record.clone()));
                    }
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
    fn lock(&self) -> MutexGuard<'_, VecDeque<EventRecord>> {
        // Nothing under this lock leaves it half done.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use seedbank_engine::units::TorrentId;

    use super::*;

    fn event(byte: u8) -> SessionEvent {
        SessionEvent::TorrentCompleted(TorrentId([byte; 20]))
    }

    #[tokio::test]
    async fn a_watcher_resumes_where_it_was() {
        let events = Events::new();
        let mut live = events.follow(None);
        events.push(event(1), UnixTime::ZERO);
        events.push(event(2), UnixTime::ZERO);
        assert_eq!(live.next().await.unwrap().unwrap().event, event(1));
        let mut resumed = events.follow(Some(2));
        assert_eq!(resumed.next().await.unwrap().unwrap().event, event(2));
        events.end();
        assert_eq!(resumed.next().await, Ok(None));
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told() {
        let events = Events::new();
        let mut slow = events.follow(Some(1));
        for _ in 0..HISTORY_MAX + 5 {
            events.push(event(0), UnixTime::ZERO);
        }
        let pruned = slow.next().await.unwrap_err();
        assert_eq!(
            pruned,
            Pruned {
                asked: 1,
                oldest: 6
            }
        );
        assert_eq!(slow.next().await.unwrap().unwrap().sequence, 6);
    }
}
