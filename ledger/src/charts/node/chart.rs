//! The rules of the node chart.

use std::sync::Arc;

use crate::account::AccountId;
use crate::charts::node::channel::{Role, apply_summary, apply_write_off, refused};
use crate::charts::node::command::NodeCause;
use crate::charts::node::rows::{
    BookedChannelRow, CURSOR_KEY, CursorRow, MEMBERSHIP_KEY, NodeLockRow, SeenRow,
};
use crate::charts::node::{Membership, NodeCommand, settled};
use crate::entry::EntryKind;
use crate::identity::{NodeId, SignatureScheme};
use crate::layout::LayoutError;
use crate::ledger::check::CheckError;
use crate::ledger::{Chart, LedgerError, Position, Verdict};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::channel::{Channel, ChannelKind};
use crate::signed::lock::LockId;
use crate::state::{Row as _, State, sequence_key};
use crate::store::{Table, for_each};
use crate::time::UnixTime;
use crate::units::Sequence;

/// The node chart of one owner.
#[derive(Clone, Debug)]
pub struct NodeChart {
    owner: NodeId,
    scheme: Arc<dyn SignatureScheme>,
}

impl NodeChart {
    /// The chart of `owner`'s ledger, in which signatures are checked by `scheme`.
    pub(super) fn new(owner: NodeId, scheme: Arc<dyn SignatureScheme>) -> Self {
        Self { owner, scheme }
    }

    /// Whose ledger it is.
    pub fn owner(&self) -> NodeId {
        self.owner
    }

    pub(super) fn scheme(&self) -> &dyn SignatureScheme {
        self.scheme.as_ref()
    }
}

impl Chart for NodeChart {
    type Cause = NodeCause;

    const NAME: &'static str = "node";

    fn genesis(&self) -> NodeCause {
        NodeCause::Genesis(self.owner)
    }

    fn kind(cause: &NodeCause) -> EntryKind {
        cause.kind()
    }

    fn encode(cause: &NodeCause) -> Vec<u8> {
        cause.to_bytes()
    }

    fn decode(kind: EntryKind, bytes: &[u8]) -> Result<NodeCause, LayoutError> {
        NodeCause::from_bytes(kind, bytes)
    }

    fn due(&self, _: &State<'_>, _: UnixTime, _: usize) -> Result<Vec<NodeCause>, LedgerError> {
        Ok(Vec::new())
    }

    fn apply(
        &self,
        state: &mut State<'_>,
        at: Position,
        cause: &NodeCause,
    ) -> Result<Verdict, LedgerError> {
        match cause {
            NodeCause::Genesis(owner) => {
                let begins = at.sequence == Sequence::ZERO && *owner == self.owner;
                Ok(if begins {
                    nothing_moved()
                } else {
                    refused(Refusal::OutOfOrder)
                })
            }
            NodeCause::Join(membership) => {
                if state.row::<Membership>(MEMBERSHIP_KEY)?.is_some() {
                    return Ok(refused(Refusal::AlreadyDone));
                }
                state.put_row(MEMBERSHIP_KEY.to_vec(), membership);
                Ok(nothing_moved())
            }
            NodeCause::Command(NodeCommand::Settled(line)) => settled::apply(self, state, at, line),
            NodeCause::Command(NodeCommand::ChannelSummary(summary)) => {
                apply_summary(self, state, at, summary)
            }
            NodeCause::Command(NodeCommand::WriteOff { peer, bytes }) => {
                apply_write_off(&self.owner, state, *peer, *bytes)
            }
        }
    }

    fn check_invariants(&self, state: &State<'_>) -> Result<(), CheckError> {
        self.check_locks(state)?;
        check_lines(state)
    }
}

fn nothing_moved() -> Verdict {
    Verdict::Enter {
        refusal: None,
        postings: Postings::new(),
    }
}

impl NodeChart {
    /// L3, and that a lock's accounts hold what its rows say.
    fn check_locks(&self, state: &State<'_>) -> Result<(), CheckError> {
        let Some(membership) = state.row::<Membership>(MEMBERSHIP_KEY)? else {
            return Ok(());
        };
        for_each(state.store(), Table::Lock, &[], |key, value| {
            let lock = NodeLockRow::from_bytes(value)
                .map_err(|error| LedgerError::row(Table::Lock, key, error))?;
            let number = key.try_into().map_or(0, u64::from_be_bytes);
            self.check_lock(state, &membership, LockId::new(number), &lock)
        })
    }

    fn check_lock(
        &self,
        state: &State<'_>,
        membership: &Membership,
        lock_id: LockId,
        lock: &NodeLockRow,
    ) -> Result<(), CheckError> {
        let channel = Channel {
            network_id: membership.network_id,
            kind: ChannelKind::Lock(lock_id, lock.opening_order),
            payer: lock.payer,
            payee: lock.payee,
        };
        let row: Option<BookedChannelRow> = state.row(channel.id().as_bytes())?;
        let booked = u128::from(row.unwrap_or_default().booked.get());
        let claimed = u128::from(lock.claimed.get());
        let amount = u128::from(lock.amount.get());
        let same = |about: &str, left, right| {
            if left == right {
                return Ok(());
            }
            Err(CheckError::Invariant {
                invariant: "L3",
                about: format!("{about} of lock {lock_id}"),
                left,
                right,
            })
        };
        same("claimed", claimed, claimed.min(amount))?;
        let unclaimed = if lock.closed {
            0
        } else {
            booked.saturating_sub(claimed)
        };
        let of = |account| state.balance(&account);
        match Role::of(&self.owner, &lock.payer, &lock.payee) {
            Some(Role::Payer) => {
                let left = if lock.closed {
                    0
                } else {
                    amount.saturating_sub(booked)
                };
                same("locked", of(AccountId::Locked(lock_id))?, left)?;
                same("signed", of(AccountId::Signed(lock_id))?, unclaimed)
            }
            Some(Role::Payee) => same("claimable", of(AccountId::Claimable(lock_id))?, unclaimed),
            None => same("parties", 0, 1),
        }
    }
}

/// L6, the node's half: every copied line has the entry that copied it, and none is newer than the
/// cursor.
fn check_lines(state: &State<'_>) -> Result<(), CheckError> {
    let cursor: Option<CursorRow> = state.row(CURSOR_KEY)?;
    let newest = cursor.map(|cursor| sequence_key(cursor.sequence));
    let mut last = None;
    for_each(state.store(), Table::Statement, &[], |key, value| {
        let seen = SeenRow::from_bytes(value)
            .map_err(|error| LedgerError::row(Table::Statement, key, error))?;
        if state.entry(seen.entry)?.is_none() {
            return Err(LedgerError::missing(
                Table::Entry,
                &sequence_key(seen.entry),
            ));
        }
        last = Some(key.to_vec());
        Ok(())
    })?;
    if last == newest {
        Ok(())
    } else {
        Err(CheckError::Row {
            table: Table::Meta,
            key: crate::hex::encode(CURSOR_KEY),
        })
    }
}
