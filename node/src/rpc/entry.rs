//! Entries of the node's ledger as messages: what moved, why, and with whom, in words.

use seedbank_engine::text::printable;
use seedbank_ledger::account::{AccountId, Commodity, Side};
use seedbank_ledger::charts::node::{
    ChannelSummary, NodeCause, NodeCommand, credit_change, other_side, payload,
};
use seedbank_ledger::entry::{Entry, EntryHash, EntryKind};
use seedbank_ledger::posting::Posting;
use seedbank_ledger::signed::channel::ChannelKind;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{OrderKind, REASON_LEN_MAX, SignedOrder};
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::{MicroCredits, NodeId};
use seedbank_proto::v1;

use super::message;

/// Hex digits of a key that texts show.
const KEY_DIGITS: usize = 10;

/// The lock it concerns, if any.
fn lock_of(cause: &NodeCause) -> Option<LockId> {
    match cause {
        NodeCause::Genesis(_) | NodeCause::Join(_) => None,
        NodeCause::Command(NodeCommand::WriteOff { .. }) => None,
        NodeCause::Command(NodeCommand::ChannelSummary(summary)) => match summary.channel.kind {
            ChannelKind::Acknowledgement => None,
            ChannelKind::Lock(lock, _) => Some(lock),
        },
        NodeCause::Command(NodeCommand::Settled(line)) => match &line.operation {
            Operation::Expiry(lock) => Some(*lock),
            Operation::Claim(claim) => Some(claim.body.lock_id),
            Operation::Order(_) => line.lock.map(|status| status.lock.body.lock_id),
        },
    }
}

/// An entry as the contract shows it.
pub(super) fn entry(entry: &Entry, cause: &NodeCause, own: NodeId) -> v1::Entry {
    let peer = other_side(cause, own);
    v1::Entry {
        sequence: message::number(entry.sequence.get()),
        create_time: Some(message::time(entry.time)),
        kind: kind(entry.kind).into(),
        cause: words(entry, cause, own),
        delta_microcredits: narrow(credit_change(entry)),
        peer_key: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        lock_id: lock_of(cause)
            .map(|lock| lock.to_string())
            .unwrap_or_default(),
        payload_bytes: i64::try_from(payload(entry)).unwrap_or(i64::MAX),
        postings: entry.postings.iter().map(posting).collect(),
        entry_hash: EntryHash::of(&entry.to_bytes()).to_string(),
        prev_hash: entry.prev_hash.to_string(),
        refusal: message::refusal(entry.refusal).into(),
        reason: reason(cause).unwrap_or_default(),
    }
}

/// Why credit was granted, in the issuer's words, which a terminal can be shown.
fn reason(cause: &NodeCause) -> Option<String> {
    let NodeCause::Command(NodeCommand::Settled(line)) = cause else {
        return None;
    };
    let reason = line.reason()?;
    Some(printable(reason.as_bytes(), REASON_LEN_MAX))
}

/// Held inside the range of the contract's integers.
pub(super) fn narrow(wide: i128) -> i64 {
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

/// The first digits of a key.
pub(super) fn short(key: NodeId) -> String {
    key.to_string().chars().take(KEY_DIGITS).collect()
}

fn signed(posting: &Posting) -> i128 {
    let amount = i128::from(posting.amount);
    match posting.side {
        Side::Credit => amount,
        Side::Debit => -amount,
    }
}

fn posting(posting: &Posting) -> v1::Posting {
    let delta = narrow(signed(posting));
    let (credit, bytes) = match posting.account.commodity() {
        Commodity::Credit => (delta, 0),
        Commodity::Bytes => (0, delta),
    };
    v1::Posting {
        account: account(&posting.account),
        delta_microcredits: credit,
        delta_bytes: bytes,
    }
}

fn account(account: &AccountId) -> String {
    match account {
        AccountId::Issuer => "issuer".to_owned(),
        AccountId::Available(key) => format!("available:{key}"),
        AccountId::Escrow(lock) => format!("escrow:{lock}"),
        AccountId::Burned => "burned".to_owned(),
        AccountId::Network => "network".to_owned(),
        AccountId::Locked(lock) => format!("locked:{lock}"),
        AccountId::Signed(lock) => format!("signed:{lock}"),
        AccountId::Claimable(lock) => format!("claimable:{lock}"),
        AccountId::Earned => "earned".to_owned(),
        AccountId::Forfeited => "forfeited".to_owned(),
        AccountId::Spent => "spent".to_owned(),
        AccountId::Granted => "granted".to_owned(),
        AccountId::Received => "received".to_owned(),
        AccountId::Sent => "sent".to_owned(),
        AccountId::Taken(key) => format!("taken:{key}"),
        AccountId::Given(key) => format!("given:{key}"),
        AccountId::Unsigned(key) => format!("unsigned:{key}"),
        AccountId::Traffic => "traffic".to_owned(),
    }
}

fn kind(kind: EntryKind) -> v1::EntryKind {
    match kind {
        EntryKind::Genesis => v1::EntryKind::Genesis,
        EntryKind::Grant => v1::EntryKind::Grant,
        EntryKind::Burn => v1::EntryKind::Burn,
        EntryKind::Transfer => v1::EntryKind::Transfer,
        EntryKind::LockOpen => v1::EntryKind::LockOpen,
        EntryKind::LockTopUp => v1::EntryKind::LockTopUp,
        EntryKind::LockClose => v1::EntryKind::LockClose,
        EntryKind::LockExpiry => v1::EntryKind::LockExpiry,
        EntryKind::Claim => v1::EntryKind::Claim,
        EntryKind::ChannelSummary => v1::EntryKind::ChannelSummary,
        EntryKind::WriteOff => v1::EntryKind::WriteOff,
        EntryKind::KeyRotation => v1::EntryKind::KeyRotation,
        EntryKind::Join => v1::EntryKind::Join,
    }
}

fn words(entry: &Entry, cause: &NodeCause, own: NodeId) -> String {
    match cause {
        NodeCause::Genesis(_) => "the ledger began".to_owned(),
        NodeCause::Join(join) => {
            let id: String = join.network_id.to_string();
            format!("joined network {}", id.get(..KEY_DIGITS).unwrap_or(&id))
        }
        NodeCause::Command(NodeCommand::WriteOff { peer, bytes }) => {
            format!("{} never paid for {} bytes", short(*peer), bytes.get())
        }
        NodeCause::Command(NodeCommand::ChannelSummary(summary)) => {
            summary_words(entry, summary, own)
        }
        NodeCause::Command(NodeCommand::Settled(line)) => {
            let done = line_words(line, own);
            match line.refusal {
                Some(refusal) => format!("refused: {done}: {refusal}"),
                None => done,
            }
        }
    }
}

fn summary_words(entry: &Entry, summary: &ChannelSummary, own: NodeId) -> String {
    let (payer, payee) = (summary.channel.payer, summary.channel.payee);
    let bytes = payload(entry);
    match (summary.channel.kind, payer == own) {
        (ChannelKind::Acknowledgement, true) => {
            format!("acknowledged {bytes} bytes from {}", short(payee))
        }
        (ChannelKind::Acknowledgement, false) => {
            format!("{} acknowledged {bytes} bytes", short(payer))
        }
        (ChannelKind::Lock(lock, _), true) => {
            format!(
                "signed for {bytes} bytes from {} on lock {lock}",
                short(payee)
            )
        }
        (ChannelKind::Lock(lock, _), false) => {
            format!("{} signed for {bytes} bytes on lock {lock}", short(payer))
        }
    }
}

fn line_words(line: &StatementLine, own: NodeId) -> String {
    let amount = line.amount;
    match &line.operation {
        Operation::Expiry(lock) => format!("lock {lock} expired, {amount} was left"),
        Operation::Claim(claim) => {
            let lock = claim.body.lock_id;
            if claim.body.payee == own {
                format!("paid {amount} from lock {lock}")
            } else {
                format!(
                    "{} claimed {amount} from lock {lock}",
                    short(claim.body.payee)
                )
            }
        }
        Operation::Order(order) => order_words(order, amount, line, own),
    }
}

fn order_words(
    order: &SignedOrder,
    amount: MicroCredits,
    line: &StatementLine,
    own: NodeId,
) -> String {
    let by = order.body.account;
    let lock = line.lock.map(|status| status.lock.body.lock_id);
    let lock = lock.map_or_else(|| "?".to_owned(), |lock| lock.to_string());
    match &order.body.kind {
        OrderKind::Transfer { to, .. } if by == own => format!("sent {amount} to {}", short(*to)),
        OrderKind::Transfer { .. } => format!("received {amount} from {}", short(by)),
        OrderKind::OpenLock { payee, .. } if by == own => {
            format!("reserved {amount} for {} in lock {lock}", short(*payee))
        }
        OrderKind::OpenLock { .. } => format!("{} reserved {amount} in lock {lock}", short(by)),
        OrderKind::TopUp { lock_id, .. } if by == own => {
            format!("reserved {amount} more in lock {lock_id}")
        }
        OrderKind::TopUp { lock_id, .. } => {
            format!("{} reserved {amount} more in lock {lock_id}", short(by))
        }
        OrderKind::CloseLock { lock_id } if by == own => {
            format!("gave back {amount} of lock {lock_id}")
        }
        OrderKind::CloseLock { lock_id } => {
            format!("{} gave back {amount} of lock {lock_id}", short(by))
        }
        OrderKind::RotateKey { to } if by == own => format!("handed over to {}", short(*to)),
        OrderKind::RotateKey { .. } => format!("took over from {}", short(by)),
        OrderKind::Grant { to, .. } if *to == own => format!("granted {amount}"),
        OrderKind::Grant { to, .. } => format!("granted {amount} to {}", short(*to)),
        OrderKind::Burn { .. } => format!("destroyed {amount}"),
    }
}
