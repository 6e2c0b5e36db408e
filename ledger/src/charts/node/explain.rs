//! Where the balance came from and where it went: exact sums over entries, by reason.
//!
//! `explain/breakdown.rs` cuts the same change by peer, subject or day.

pub(super) mod breakdown;

use std::collections::BTreeMap;

use crate::account::{AccountId, Side};
use crate::charts::node::{MicroCredits, NodeCause, NodeChart, NodeCommand, balance, held_bytes};
use crate::entry::{Entry, EntryKind};
use crate::ledger::{ENTRIES_MAX, Ledger, LedgerError};
use crate::posting::Posting;
use crate::signed::channel::ChannelKind;
use crate::store::StoreRead;
use crate::time::UnixTime;
use crate::units::{Bytes, Sequence};

/// Why the balance changed, or bytes were counted that changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::VariantArray)]
pub enum BalanceReason {
    /// Granted by an issuer: adds.
    Granted,
    /// Transferred or handed over to me: adds.
    Received,
    /// Served and signed for on a lock: adds.
    Earned,
    /// Earned, but the lock ended before it was claimed: takes away.
    Forfeited,
    /// Received and signed for on a lock: takes away.
    Spent,
    /// Signed away, but the lock ended before it was claimed: adds.
    Returned,
    /// Transferred or handed over by me: takes away.
    Sent,
    /// Destroyed by me: takes away.
    Burned,
    /// Open-class bytes that peers acknowledged: no credit.
    GivenAcknowledged,
    /// Open-class bytes that I acknowledged: no credit.
    TakenAcknowledged,
    /// Bytes served in the paid class and never paid for: no credit.
    GivenUnsigned,
}

impl BalanceReason {
    /// Every reason, in the order in which they are shown.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Whether its credit adds to the balance; otherwise it takes away, or is zero.
    pub const fn adds(self) -> bool {
        match self {
            Self::Granted | Self::Received | Self::Earned | Self::Returned => true,
            Self::Forfeited
            | Self::Spent
            | Self::Sent
            | Self::Burned
            | Self::GivenAcknowledged
            | Self::TakenAcknowledged
            | Self::GivenUnsigned => false,
        }
    }
}

/// One reason's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplanationLine {
    /// Why.
    pub reason: BalanceReason,
    /// Bytes counted, held at 2⁶⁴ − 1.
    pub bytes: Bytes,
    /// Credit, added or taken away as the reason says.
    pub amount: MicroCredits,
    /// How many entries it is the sum of.
    pub entry_count: u64,
}

/// Where a balance came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// From when on.
    pub since: UnixTime,
    /// [`Balance::total`](super::Balance::total) before the first entry of that time or later.
    pub opening: MicroCredits,
    /// The sums that are not zero, in the order of [`BalanceReason::ALL`].
    pub lines: Vec<ExplanationLine>,
    /// [`Balance::total`](super::Balance::total) now: opening and lines, exactly.
    pub closing: MicroCredits,
    /// The last entry that is part of it.
    pub head: Sequence,
}

/// Sums of one reason, wide enough for any ledger.
#[derive(Clone, Copy, Default)]
struct ReasonSums {
    bytes: u128,
    amount: u128,
    entry_count: u64,
    last: Option<Sequence>,
}

/// See [`NodeLedger::explain`](super::NodeLedger::explain).
pub(super) fn explain<S: StoreRead>(
    ledger: &Ledger<NodeChart, S>,
    since: UnixTime,
) -> Result<Explanation, LedgerError> {
    let head = ledger.head();
    let mut before: BTreeMap<BalanceReason, ReasonSums> = BTreeMap::new();
    let mut sums: BTreeMap<BalanceReason, ReasonSums> = BTreeMap::new();
    let mut from = Sequence::ZERO;
    loop {
        let page = ledger.entries(from, ENTRIES_MAX)?;
        let Some(last) = page.last() else { break };
        from = last.sequence.next();
        for entry in &page {
            let into = if entry.time < since {
                &mut before
            } else {
                &mut sums
            };
            collect(into, entry.sequence, reasons(ledger, entry)?);
        }
    }
    let opening = total(0, &before).ok_or(OVERFLOW)?;
    let closing = total(opening, &sums).ok_or(OVERFLOW)?;
    check_closing(ledger, closing)?;
    let lines = sums
        .into_iter()
        .map(|(reason, sums)| {
            Ok(ExplanationLine {
                reason,
                bytes: held_bytes(sums.bytes),
                amount: MicroCredits::new(narrow(sums.amount)?),
                entry_count: sums.entry_count,
            })
        })
        .collect::<Result<_, LedgerError>>()?;
    Ok(Explanation {
        since,
        opening: MicroCredits::new(narrow(opening)?),
        lines,
        closing: MicroCredits::new(narrow(closing)?),
        head: head.last().unwrap_or(Sequence::ZERO),
    })
}

/// The sum over entries is what the rows hold, or the ledger is corrupt (L8).
fn check_closing<S: StoreRead>(
    ledger: &Ledger<NodeChart, S>,
    closing: u128,
) -> Result<(), LedgerError> {
    let rows = balance(&ledger.state())?.total().ok_or(OVERFLOW)?;
    if u128::from(rows.get()) == closing {
        Ok(())
    } else {
        Err(LedgerError::Unexplained {
            rows: rows.get().into(),
            entries: closing,
        })
    }
}

/// The reason of each posting of an entry, with bytes and credit. Movements between the owner's own
/// accounts have none.
fn reasons<S: StoreRead>(
    ledger: &Ledger<NodeChart, S>,
    entry: &Entry,
) -> Result<Vec<(BalanceReason, u128, u128)>, LedgerError> {
    let is_acknowledged = entry.kind == EntryKind::ChannelSummary
        && match ledger.cause(entry)? {
            NodeCause::Command(NodeCommand::ChannelSummary(summary)) => {
                summary.channel.kind == ChannelKind::Acknowledgement
            }
            NodeCause::Command(NodeCommand::Settled(_) | NodeCommand::WriteOff { .. })
            | NodeCause::Genesis(_)
            | NodeCause::Join(_) => false,
        };
    let ends = matches!(entry.kind, EntryKind::LockClose | EntryKind::LockExpiry);
    Ok(entry
        .postings
        .iter()
        .filter_map(|posting| reason(posting, is_acknowledged, ends))
        .collect())
}

fn reason(
    posting: &Posting,
    is_acknowledged: bool,
    ends: bool,
) -> Option<(BalanceReason, u128, u128)> {
    let amount = u128::from(posting.amount);
    let credit = |reason| Some((reason, 0, amount));
    let bytes = |reason| Some((reason, amount, 0));
    match (posting.account, posting.side) {
        (AccountId::Granted, Side::Debit) => credit(BalanceReason::Granted),
        (AccountId::Received, Side::Debit) => credit(BalanceReason::Received),
        (AccountId::Earned, Side::Debit) => credit(BalanceReason::Earned),
        (AccountId::Forfeited, Side::Credit) => credit(BalanceReason::Forfeited),
        (AccountId::Signed(_), Side::Credit) => credit(BalanceReason::Spent),
        (AccountId::Signed(_), Side::Debit) if ends => credit(BalanceReason::Returned),
        (AccountId::Sent, Side::Credit) => credit(BalanceReason::Sent),
        (AccountId::Burned, Side::Credit) => credit(BalanceReason::Burned),
        (AccountId::Given(_), Side::Credit) if is_acknowledged => {
            bytes(BalanceReason::GivenAcknowledged)
        }
        (AccountId::Given(_), Side::Credit) => bytes(BalanceReason::Earned),
        (AccountId::Taken(_), Side::Credit) if is_acknowledged => {
            bytes(BalanceReason::TakenAcknowledged)
        }
        (AccountId::Taken(_), Side::Credit) => bytes(BalanceReason::Spent),
        (AccountId::Unsigned(_), Side::Credit) => bytes(BalanceReason::GivenUnsigned),
        // The other sides, and movements between the owner's own accounts.
        _ => None,
    }
}

/// `opening` with every sum added or taken away.
fn total(opening: u128, sums: &BTreeMap<BalanceReason, ReasonSums>) -> Option<u128> {
    let of = |adds| {
        sums.iter()
            .filter(move |(reason, _)| reason.adds() == adds)
            .try_fold(0, |total, (_, sums)| u128::checked_add(total, sums.amount))
    };
    opening.checked_add(of(true)?)?.checked_sub(of(false)?)
}

fn collect(
    sums: &mut BTreeMap<BalanceReason, ReasonSums>,
    sequence: Sequence,
    reasons: Vec<(BalanceReason, u128, u128)>,
) {
    for (reason, bytes, amount) in reasons {
        let sum = sums.entry(reason).or_default();
        sum.bytes = sum.bytes.saturating_add(bytes);
        sum.amount = sum.amount.saturating_add(amount);
        if sum.last != Some(sequence) {
            sum.entry_count = sum.entry_count.saturating_add(1);
            sum.last = Some(sequence);
        }
    }
}

fn narrow(sum: u128) -> Result<u64, LedgerError> {
    u64::try_from(sum).map_err(|_| OVERFLOW)
}

const OVERFLOW: LedgerError = LedgerError::Overflow {
    account: AccountId::Network,
};
