//! The event queue: virtual time, ties by order of insertion.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use seedbank_ledger::Instant;

/// Events in the order in which they happen.
#[derive(Debug)]
pub struct EventQueue<E> {
    events: BinaryHeap<Reverse<Scheduled<E>>>,
    inserted: u64,
    now: Instant,
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
            now: Instant::ZERO,
        }
    }
}

impl<E> EventQueue<E> {
    /// Schedules `event` for `at`, or for now if that is past.
    pub fn push(&mut self, at: Instant, event: E) {
        let scheduled = Scheduled {
            at: at.max(self.now),
            number: self.inserted,
            event,
        };
        self.events.push(Reverse(scheduled));
        self.inserted += 1;
    }

    /// The next event; time moves to it.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse(Scheduled { at, event, .. }) = self.events.pop()?;
        self.now = at;
        Some((at, event))
    }

    /// Lets time pass in which nothing happens; time never goes back.
    ///
    /// # Panics
    /// If something happens before `to`.
    pub fn advance(&mut self, to: Instant) {
        assert!(
            self.peek().is_none_or(|at| at >= to),
            "something happens before {to}"
        );
        self.now = self.now.max(to);
    }

    /// When the next event happens.
    pub fn peek(&self) -> Option<Instant> {
        self.events.peek().map(|Reverse(first)| first.at)
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
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
        queue.push(Instant::ZERO, 'd');
        assert_eq!(queue.pop(), Some((later, 'd')), "time never goes back");
    }
}
