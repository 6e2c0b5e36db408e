//! Channel summaries and write-offs: what receipts are worth, booked once.

use crate::account::AccountId;
use crate::charts::node::rows::{BookedChannelRow, MEMBERSHIP_KEY, NodeLockRow, lock_key};
use crate::charts::node::{ATTRIBUTION_MAX, ChannelSummary, Membership, NodeChart};
use crate::identity::NodeId;
use crate::ledger::{LedgerError, Outcome, Position, Verdict};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::channel::{Channel, ChannelKind};
use crate::signed::receipt::Receipt;
use crate::state::State;
use crate::units::{Bytes, MicroCredits};

/// On which side of a channel this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Payer,
    Payee,
}

impl Role {
    /// The role of `owner` between these two, if it is one of them.
    pub(super) fn of(owner: &NodeId, payer: &NodeId, payee: &NodeId) -> Option<Self> {
        if owner == payer {
            Some(Self::Payer)
        } else if owner == payee {
            Some(Self::Payee)
        } else {
            None
        }
    }
}

/// What a receipt adds to what is booked of its channel.
pub(super) struct Booking {
    pub(super) postings: Postings,
    pub(super) row: BookedChannelRow,
    pub(super) changed: bool,
}

/// Books `channel` up to `receipt`: its bytes, of a payer no more than were `served`, and credit up
/// to what `lock` holds while it is open. Totals that are lower than what is booked add nothing.
pub(super) fn book(
    before: BookedChannelRow,
    at: Position,
    (role, served): (Role, Bytes),
    (channel, receipt): (&Channel, &Receipt),
    lock: Option<&NodeLockRow>,
) -> Booking {
    let bytes = receipt.bytes.max(before.bytes);
    let amount = receipt.amount.max(before.amount);
    let booked = match lock {
        Some(lock) if !lock.closed => amount.min(lock.amount).max(before.booked),
        Some(_) | None => before.booked,
    };
    let bytes_more = bytes.saturating_sub(before.bytes);
    let credit_more = booked.saturating_sub(before.booked);
    let postings = match role {
        Role::Payer => Postings::new().bytes(
            AccountId::Traffic,
            AccountId::Taken(channel.payee),
            bytes_more,
        ),
        Role::Payee => Postings::new().bytes(
            AccountId::Traffic,
            AccountId::Given(channel.payer),
            bytes_more.min(served),
        ),
    };
    let postings = match (role, channel.kind) {
        (_, ChannelKind::Acknowledgement) => postings,
        (Role::Payer, ChannelKind::Lock(lock_id, _)) => postings.credit(
            AccountId::Locked(lock_id),
            AccountId::Signed(lock_id),
            credit_more,
        ),
        (Role::Payee, ChannelKind::Lock(lock_id, _)) => postings.credit(
            AccountId::Earned,
            AccountId::Claimable(lock_id),
            credit_more,
        ),
    };
    let row = BookedChannelRow {
        bytes,
        amount,
        booked,
        entry: at.sequence,
    };
    row.check_follows(&before);
    let changed = (bytes, amount, booked) != (before.bytes, before.amount, before.booked);
    assert!(
        changed || postings.is_empty(),
        "a receipt that is booked moves nothing"
    );
    Booking {
        postings,
        row,
        changed,
    }
}

/// Decides on a summary. Checks run in the order of the refusals' codes.
pub(super) fn apply_summary(
    chart: &NodeChart,
    state: &mut State<'_>,
    at: Position,
    summary: &ChannelSummary,
) -> Result<Verdict, LedgerError> {
    let channel = &summary.channel;
    let receipt = &summary.receipt.body;
    let membership: Option<Membership> = state.row(MEMBERSHIP_KEY)?;
    let joined = membership.map(|membership| membership.network_id);
    let is_lock = matches!(channel.kind, ChannelKind::Lock(..));
    // An acknowledgement is no money: it stands whatever network its two sides belong to.
    if receipt.network_id != channel.network_id || is_lock && joined != Some(channel.network_id) {
        return Ok(refused(Refusal::WrongNetwork));
    }
    if summary.attribution.len() > ATTRIBUTION_MAX {
        return Ok(refused(Refusal::BadAmount));
    }
    if channel.payer == channel.payee {
        return Ok(refused(Refusal::SameParty));
    }
    let role = Role::of(&chart.owner(), &channel.payer, &channel.payee);
    let lock = known_lock(state, role, summary)?;
    if is_lock && lock.is_none() && role == Some(Role::Payer) {
        return Ok(refused(Refusal::LockUnknown));
    }
    let Some(role) = role else {
        return Ok(refused(Refusal::NotParty));
    };
    if lock.is_some_and(|lock| (lock.payer, lock.payee) != (channel.payer, channel.payee)) {
        return Ok(refused(Refusal::NotParty));
    }
    let is_other = |lock: NodeLockRow| match channel.kind {
        ChannelKind::Lock(_, opening_order) => opening_order != lock.opening_order,
        ChannelKind::Acknowledgement => true,
    };
    if receipt.channel_id != channel.id()
        || lock.is_some_and(is_other)
        || !is_lock && !receipt.amount.is_zero()
        || summary
            .receipt
            .verify_by(chart.scheme(), &channel.payer)
            .is_err()
    {
        return Ok(refused(Refusal::BadReceipt));
    }
    let before: Option<BookedChannelRow> = state.row(receipt.channel_id.as_bytes())?;
    let known = before.unwrap_or_default();
    if is_crossed(receipt, &known) {
        return Ok(refused(Refusal::ReceiptRegressed));
    }
    let side = (role, summary.served);
    let booking = book(known, at, side, (channel, receipt), lock.as_ref());
    if !booking.changed {
        return Ok(Verdict::Answer(match before {
            Some(row) => Outcome::Known {
                sequence: row.entry,
                refusal: None,
            },
            None => Outcome::Refused(Refusal::AlreadyDone),
        }));
    }
    if !shares_fit(summary, &known) {
        return Ok(refused(Refusal::Overflow));
    }
    if !state.post(&booking.postings)? {
        return Ok(refused(Refusal::LockExhausted));
    }
    state.put_row(receipt.channel_id.as_bytes().to_vec(), &booking.row);
    if let (ChannelKind::Lock(lock_id, _), Some(lock)) = (channel.kind, lock) {
        lock.check_invariants();
        state.put_row(lock_key(lock_id), &lock);
    }
    Ok(Verdict::Enter {
        refusal: None,
        postings: booking.postings,
    })
}

/// Enters bytes that nobody will pay for.
pub(super) fn apply_write_off(
    owner: &NodeId,
    state: &mut State<'_>,
    peer: NodeId,
    bytes: Bytes,
) -> Result<Verdict, LedgerError> {
    if bytes.is_zero() {
        return Ok(refused(Refusal::BadAmount));
    }
    if peer == *owner {
        return Ok(refused(Refusal::SameParty));
    }
    let postings = Postings::new().bytes(AccountId::Traffic, AccountId::Unsigned(peer), bytes);
    if !state.post(&postings)? {
        return Err(LedgerError::BelowZero {
            account: AccountId::Traffic,
        });
    }
    Ok(Verdict::Enter {
        refusal: None,
        postings,
    })
}

/// A refusal that leaves no entry.
pub(super) fn refused(refusal: Refusal) -> Verdict {
    Verdict::Answer(Outcome::Refused(refusal))
}

/// The lock of a summary's channel. A payee learns of locks from payers, so its row is made here; a
/// payer's comes from the settlement node alone.
fn known_lock(
    state: &State<'_>,
    role: Option<Role>,
    summary: &ChannelSummary,
) -> Result<Option<NodeLockRow>, LedgerError> {
    let ChannelKind::Lock(lock_id, opening_order) = summary.channel.kind else {
        return Ok(None);
    };
    let known: Option<NodeLockRow> = state.row(&lock_key(lock_id))?;
    Ok(match (known, role) {
        (known, Some(Role::Payer) | None) => known,
        (Some(known), Some(Role::Payee)) => Some(NodeLockRow {
            amount: known.amount.max(summary.lock_amount),
            ..known
        }),
        (None, Some(Role::Payee)) => Some(NodeLockRow {
            opening_order,
            payer: summary.channel.payer,
            payee: summary.channel.payee,
            amount: summary.lock_amount,
            claimed: MicroCredits::ZERO,
            closed: false,
        }),
    })
}

/// One total went back and the other forward: no honest payer signs that.
fn is_crossed(receipt: &Receipt, known: &BookedChannelRow) -> bool {
    receipt.bytes < known.bytes && receipt.amount > known.amount
        || receipt.bytes > known.bytes && receipt.amount < known.amount
}

/// Whether a summary's shares are at most what it adds to the last one.
fn shares_fit(summary: &ChannelSummary, known: &BookedChannelRow) -> bool {
    let receipt = &summary.receipt.body;
    let shares = || summary.attribution.iter();
    let bytes = shares().try_fold(Bytes::ZERO, |sum, share| sum.checked_add(share.bytes));
    let amount = shares().try_fold(MicroCredits::ZERO, |sum, share| {
        sum.checked_add(share.amount)
    });
    bytes.is_some_and(|sum| sum <= receipt.bytes.saturating_sub(known.bytes))
        && amount.is_some_and(|sum| sum <= receipt.amount.saturating_sub(known.amount))
}
