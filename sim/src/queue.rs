//! The event queue: by time, ties by order of insertion.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use seedbank_ledger::Instant;

/// Events in the order in which they happen.
#[derive(Debug)]
pub struct EventQueue<E> {
    events: BinaryHeap<Reverse<Scheduled<E>>>,
    inserted: u64,
}

/// An event, and when.
#[derive(Debug)]
struct Scheduled<E> {
    at: Instant,
    number: u64,
    event: E,
}

impl<E> Scheduled<E> {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self {
            events: BinaryHeap::new(),
            inserted: 0,
        }
    }
}

impl<E> EventQueue<E> {
    /// Schedules `event` for `at`.
    pub fn push(&mut self, at: Instant, event: E) {
        let scheduled = Scheduled {
            at,
            number: self.inserted,
            event,
        };
        self.events.push(Reverse(scheduled));
        self.inserted += 1;
    }

    /// The next event, and when it happens.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse(Scheduled { at, event, .. }) = self.events.pop()?;
        Some((at, event))
    }

    /// When the next event happens.
    pub fn peek(&self) -> Option<Instant> {
        self.events.peek().map(|Reverse(first)| first.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_instant_happen_in_order_of_insertion() {
        let mut queue = EventQueue::default();
        let later = Instant::from_nanos(5);
        queue.push(later, 'b');
        queue.push(later, 'c');
        queue.push(Instant::ZERO, 'a');
        let order: String = std::iter::from_fn(|| queue.pop().map(|(_, event)| event)).collect();
        assert_eq!(order, "abc");
    }
}
