//! Questions under way to the settlement node, and when to ask again.

use std::collections::BTreeMap;

use seedbank_ledger::signed::answer::RequestHash;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::{Instant, MicroCredits, Sequence};

use super::config::{BESIDE_MAX, REPLY_WAIT, RETRY_MAX, RETRY_MIN};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The one unanswered order.
    Order,
    /// A claim up to this receipt.
    Claim {
        lock_id: LockId,
        amount: MicroCredits,
    },
    /// My lines.
    Statement,
    /// One line of mine, of an entry that answered the order.
    Line(Sequence),
    /// One lock.
    Lock(LockId),
}

impl Question {
    /// Whether it is of those of which one at a time is under way.
    fn is_main(self) -> bool {
        match self {
            Self::Order | Self::Statement | Self::Line(_) => true,
            Self::Claim { .. } | Self::Lock(_) => false,
        }
    }
}

/// A question without an answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    /// What an answer to it is sealed to.
    pub(super) hash: RequestHash,
    /// Newest line I had.
    pub(super) after: Option<Sequence>,
    /// Entries that the network's ledger was known to have.
    pub(super) size_min: u64,
    pub(super) at: Instant,
}

/// The way to the settlement node.
#[derive(Clone, Debug, Default)]
pub(super) struct SettlementLink {
    next_request: u64,
    asked: BTreeMap<u64, Asked>,
    failures: u32,
    retry_at: Instant,
    reachable: bool,
}

impl SettlementLink {
    /// A number for a question that goes out now.
    pub(super) fn ask(&mut self, asked: Asked) -> u64 {
        let is_main = asked.question.is_main();
        assert!(
            !is_main || !self.main_is_busy(),
            "one order or statement is under way at a time"
        );
        assert!(
            is_main || self.room_beside() > 0,
            "questions beside it are bounded"
        );
        let request = self.next_request;
        self.next_request += 1;
        let known = self.asked.insert(request, asked);
        assert!(known.is_none(), "every question has a number of its own");
        self.check_invariants();
        request
    }

    /// Asserts that few questions are under way.
    pub(super) fn check_invariants(&self) {
        assert!(
            self.asked.len() <= BESIDE_MAX + 1,
            "questions under way are bounded"
        );
    }

    /// The question that `request` answers; `None` if it was answered, given up or never asked.
    pub(super) fn answered(&mut self, request: u64) -> Option<Asked> {
        self.asked.remove(&request)
    }

    /// Somebody answered.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = Instant::ZERO;
        self.reachable = true;
    }

    /// Nobody answered, or not sense. One pause counts once, however many questions it cost.
    pub(super) fn failed(&mut self, now: Instant) {
        self.reachable = false;
        if now < self.retry_at {
            return;
        }
        let pause = RETRY_MIN.times(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.after(pause);
    }

    /// Gives up questions that waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let before = self.asked.len();
        self.asked
            .retain(|_, asked| now.since(asked.at) < REPLY_WAIT);
        if self.asked.len() < before {
            self.failed(now);
        }
        if self.retry_at <= now {
            self.retry_at = Instant::ZERO;
        }
    }

    pub(super) fn may_ask(&self, now: Instant) -> bool {
        now >= self.retry_at
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.reachable
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether an order or a statement, of which there is one at a time, is under way.
    pub(super) fn main_is_busy(&self) -> bool {
        self.asked.values().any(|asked| asked.question.is_main())
    }

    /// How many claims and questions about locks may go out now.
    pub(super) fn room_beside(&self) -> usize {
        let main = usize::from(self.main_is_busy());
        BESIDE_MAX.saturating_sub(self.asked.len() - main)
    }

    pub(super) fn concerns(&self, lock_id: LockId) -> bool {
        self.asked.values().any(|asked| match asked.question {
            Question::Claim { lock_id: id, .. } | Question::Lock(id) => id == lock_id,
            Question::Order | Question::Statement | Question::Line(_) => false,
        })
    }

    /// When to look again at what is under way or was put off; `None` if nothing is.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let waits = self.asked.values().map(|asked| asked.at.after(REPLY_WAIT));
        let retry = (self.retry_at > Instant::ZERO).then_some(self.retry_at);
        waits.chain(retry).min()
    }

    /// Not before this; zero for now.
    pub(super) fn retry_at(&self) -> Instant {
        self.retry_at
    }
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::Duration;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_an_answer() {
        let mut link = SettlementLink::default();
        let mut now = Instant::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            link.failed(now);
            link.failed(now);
            let until = link.next_timeout().unwrap();
            pauses.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        link.succeeded();
        assert!(link.may_ask(Instant::ZERO));
    }

    #[test]
    fn a_lost_answer_counts_as_unreachable_after_30_seconds() {
        let mut link = SettlementLink::default();
        let request = link.ask(Asked {
            question: Question::Statement,
            hash: RequestHash::of(&[]),
            after: None,
            size_min: 0,
            at: Instant::ZERO,
        });
        let later = Instant::ZERO.after(Duration::from_secs(30));
        link.expire(later);
        assert!(link.answered(request).is_none());
        assert!(!link.may_ask(later));
    }
}
