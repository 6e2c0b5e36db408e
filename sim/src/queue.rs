//! The event queue: virtual time, ties by order of insertion.

use std::collections::BTreeMap;

use seedbank_ledger::Instant;

/// Events in the order in which they happen.
#[derive(Debug)]
pub struct EventQueue<E> {
    events: BTreeMap<(Instant, u64), E>,
    inserted: u64,
    now: Instant,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            inserted: 0,
            now: Instant::ZERO,
        }
    }
}

impl<E> EventQueue<E> {
    /// Schedules `event` for `at`, or for now if that is past.
    pub fn push(&mut self, at: Instant, event: E) {
        self.events.insert((at.max(self.now), self.inserted), event);
        self.inserted += 1;
    }

    /// The next event; time moves to it.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        let ((at, _), event) = self.events.pop_first()?;
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
        self.events.first_key_value().map(|((at, _), _)| *at)
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
