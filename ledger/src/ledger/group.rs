//! A group under way: what it enters is seen by what comes after it in the group, and by nobody
//! else before all of it is one batch.

use std::collections::VecDeque;

use super::{Chart, HEAD_KEY, Head, LedgerError, Outcome, Position, Verdict, seal};
use crate::state::{State, sequence_key};
use crate::store::{Batch, StoreRead, Table};
use crate::time::UnixTime;

/// What fell due and waits to be entered.
pub(super) struct Due<T> {
    /// In its order.
    pub(super) causes: VecDeque<T>,
    /// How many of its kind stand at the end of the ledger with nothing between them; counted only
    /// while more wait, and no further than anybody asks.
    pub(super) in_a_row: usize,
}

impl<T> Due<T> {
    pub(super) fn none() -> Self {
        Self {
            causes: VecDeque::new(),
            in_a_row: 0,
        }
    }
}

/// Causes that are applied one after the other at one time.
pub(super) struct Group<'a, C> {
    chart: &'a C,
    state: State<'a>,
    before: Head,
    head: Head,
    time: UnixTime,
}

impl<'a, C: Chart> Group<'a, C> {
    /// Nothing yet, behind `head`.
    pub(super) fn new(chart: &'a C, store: &'a dyn StoreRead, head: Head, time: UnixTime) -> Self {
        assert!(time >= head.time, "ledger time never goes back");
        Self {
            chart,
            state: State::new(store),
            before: head,
            head,
            time,
        }
    }

    /// Enters what fell due, at most `limit`.
    pub(super) fn enter_due(
        &mut self,
        due: &mut Due<C::Cause>,
        limit: usize,
    ) -> Result<(), LedgerError> {
        for _ in 0..limit {
            let Some(cause) = due.causes.pop_front() else {
                break;
            };
            if let Some(refusal) = self.apply(&cause)?.refusal() {
                return Err(LedgerError::DueRefused { refusal });
            }
            due.in_a_row = due.in_a_row.saturating_add(1);
        }
        Ok(())
    }

    /// Decides on a cause, and enters it if it is to be.
    pub(super) fn apply(&mut self, cause: &C::Cause) -> Result<Outcome, LedgerError> {
        let (sequence, time) = (self.head.next, self.time);
        let at = Position { sequence, time };
        Ok(match self.chart.apply(&mut self.state, at, cause)? {
            Verdict::Answer(outcome) => outcome,
            Verdict::Enter { refusal, postings } => {
                let bytes = seal::seal::<C>(self.head, time, cause, refusal, postings);
                self.head = self.head.after(&bytes, time);
                self.state.put(Table::Entry, sequence_key(sequence), bytes);
                Outcome::Entered { sequence, refusal }
            }
        })
    }

    /// What is to be written, and where the ledger ends then; `None` if nothing was entered.
    pub(super) fn finish(mut self) -> Option<(Batch, Head)> {
        let head = self.head;
        if head == self.before {
            assert!(
                self.state.is_unchanged(),
                "what makes no entry changes nothing"
            );
            return None;
        }
        self.state.put_row(HEAD_KEY.to_vec(), &head);
        let signed = self.chart.head_signer().map(|signer| signer.sign(&head));
        if let Some(signed) = &signed {
            self.state.put_row(sequence_key(head.next), signed);
        }
        let batch = self.state.into_batch();
        let signed = signed.map(|signed| signed.body);
        seal::assert_batch(&batch, (self.before, head), signed);
        Some((batch, head))
    }
}
