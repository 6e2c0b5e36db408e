//! Who is looked at when: a queue of events for each node, and windows of time in which nodes are
//! looked at one after the other.
//!
//! What a node does reaches another over the way between them, so within a window that is no longer
//! than the shortest way nobody can know what others do in it (bounded lag: Lubachevsky, "Efficient
//! distributed event-driven simulations of multiple-loop networks", Communications of the ACM 32,
//! 1989). A world of any size is walked through in steps that fit a processor's caches.

use seedbank_ledger::{Duration, Instant};

use crate::network::NodeIndex;
use crate::queue::EventQueue;

/// Shortest window: what crosses a shorter way is late by so much at most.
const WINDOW_MIN: Duration = Duration::from_millis(1);
/// Longest window.
pub(super) const WINDOW_MAX: Duration = Duration::from_millis(40);

/// The events of every node.
#[derive(Debug)]
pub(super) struct Timetable<E> {
    queues: Vec<EventQueue<E>>,
    /// When the next event of each node happens; [`Instant::MAX`] if none will.
    next: Vec<Instant>,
    /// Of the event that is happening, or else the time up to which everything has happened.
    now: Instant,
    /// The end of the window: nothing reaches another node before.
    horizon: Instant,
    /// Whose event is happening.
    active: Option<NodeIndex>,
    /// Length of a window.
    pub(super) window: Duration,
}

impl<E> Timetable<E> {
    /// Nobody there.
    pub(super) const fn new() -> Self {
        Self {
            queues: Vec::new(),
            next: Vec::new(),
            now: Instant::ZERO,
            horizon: Instant::ZERO,
            active: None,
            window: WINDOW_MAX,
        }
    }

    /// One node more, so far from the middle of the network.
    pub(super) fn add_node(&mut self, delay: Duration) {
        self.queues.push(EventQueue::default());
        self.next.push(Instant::MAX);
        let least_way = delay.times(2).max(WINDOW_MIN);
        self.window = self.window.min(least_way);
    }

    /// Something is to happen to a node: now at the earliest, and if another does it, after this
    /// window.
    pub(super) fn schedule(&mut self, node: NodeIndex, at: Instant, event: E) {
        let is_own = self.active.is_none_or(|active| active == node);
        let at = at.max(if is_own { self.now } else { self.horizon });
        self.queues[node.0].push(at, event);
        self.next[node.0] = self.next[node.0].min(at);
    }

    /// When the first of all events happens.
    pub(super) fn first(&self) -> Option<Instant> {
        let first = self.next.iter().copied().min();
        first.filter(|at| *at < Instant::MAX)
    }

    /// Begins the window of an event, which ends after `deadline` at the latest; its end.
    pub(super) fn begin(&mut self, first: Instant, deadline: Instant) -> Instant {
        let window = self.window.as_nanos();
        let end = (first.as_nanos() / window + 1).saturating_mul(window);
        let after = deadline.after(Duration::from_nanos(1));
        self.horizon = Instant::from_nanos(end).min(after);
        self.horizon
    }

    /// The next event of a node in this window.
    pub(super) fn next_of(&mut self, node: NodeIndex) -> Option<E> {
        if self.next[node.0] >= self.horizon {
            return None;
        }
        let queue = &mut self.queues[node.0];
        let (at, event) = queue.pop().expect("it is known when");
        self.next[node.0] = queue.peek().unwrap_or(Instant::MAX);
        self.active = Some(node);
        self.now = at;
        Some(event)
    }

    /// The window is over, or was left: everything up to `now` has happened.
    pub(super) fn end(&mut self, now: Instant) {
        self.active = None;
        self.now = now;
        self.horizon = now;
    }

    /// Lets time pass in which nothing happens; time never goes back.
    ///
    /// # Panics
    /// If something happens before `to`.
    pub(super) fn advance(&mut self, to: Instant) {
        assert!(
            self.first().is_none_or(|at| at >= to),
            "something happens before {to}"
        );
        self.end(self.now.max(to));
    }

    /// Virtual time.
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// Nothing that a node does now reaches another before.
    pub(super) const fn horizon(&self) -> Instant {
        self.horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(ms))
    }

    /// Two nodes with 20 ms between them.
    fn timetable() -> Timetable<&'static str> {
        let mut timetable = Timetable::new();
        timetable.add_node(Duration::from_millis(10));
        timetable.add_node(Duration::from_millis(30));
        timetable
    }

    #[test]
    fn a_node_has_its_whole_window_before_the_next_one_and_cannot_reach_it_there() {
        let (one, other) = (NodeIndex(0), NodeIndex(1));
        let mut timetable = timetable();
        timetable.schedule(one, at(25), "first");
        timetable.schedule(other, at(21), "other's");
        timetable.schedule(one, at(40), "next window's");
        assert_eq!(timetable.first(), Some(at(21)));
        assert_eq!(timetable.begin(at(21), Instant::MAX), at(40));
        assert_eq!(timetable.next_of(one), Some("first"));
        assert_eq!(timetable.now(), at(25));
        timetable.schedule(one, at(20), "at once");
        timetable.schedule(other, at(26), "too early");
        assert_eq!(timetable.next_of(one), Some("at once"));
        assert_eq!(timetable.now(), at(25), "time does not go back");
        assert_eq!(timetable.next_of(one), None);
        assert_eq!(timetable.next_of(other), Some("other's"));
        assert_eq!(timetable.now(), at(21));
        assert_eq!(timetable.next_of(other), None);
        timetable.end(at(40));
        assert_eq!(timetable.first(), Some(at(40)));
        timetable.begin(at(40), Instant::MAX);
        assert_eq!(timetable.next_of(other), Some("too early"));
        assert_eq!(timetable.now(), at(40));
    }

    #[test]
    fn a_window_ends_after_its_deadline_and_is_never_empty() {
        let mut timetable = timetable();
        let end = timetable.begin(at(3), at(5));
        assert_eq!(end, at(5).after(Duration::from_nanos(1)));
        timetable.end(at(5));
        timetable.add_node(Duration::ZERO);
        assert_eq!(timetable.begin(at(5), Instant::MAX), at(6));
        assert_eq!(timetable.begin(Instant::MAX, Instant::MAX), Instant::MAX);
    }
}
