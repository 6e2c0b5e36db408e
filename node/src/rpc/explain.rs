//! `ExplainBalance`: sums over entries, whose lines add up exactly to the change of the balance.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use seedbank_engine::units::InfoHash;
use seedbank_ledger::charts::node::{Attribution, Explanation, NodeCause, NodeCommand, Reason};
use seedbank_ledger::entry::Entry;
use seedbank_ledger::ledger::ENTRIES_MAX;
use seedbank_ledger::{NodeId, Sequence, UnixTime};
use seedbank_proto::Failure;
use seedbank_proto::v1::{BalanceLine, ExplainBalanceResponse, GroupBy};

use super::backend::Backend;
use super::entry::{delta, narrow, other_side, payload, short};
use super::{error, message};

/// What belongs to no peer or torrent.
const NONE: &str = "none";
/// Seconds in a UTC day.
const DAY: u64 = 86_400;

/// Sums by `group_by` from `since` on.
pub(super) async fn explain(
    backend: &dyn Backend,
    group_by: GroupBy,
    since: UnixTime,
) -> Result<ExplainBalanceResponse, Failure> {
    match group_by {
        GroupBy::Unspecified | GroupBy::Kind => {
            let explanation = backend.explain(since).await;
            let explanation = explanation.map_err(|error| error::of_books(&error))?;
            Ok(by_reason(&explanation))
        }
        GroupBy::Peer | GroupBy::Torrent | GroupBy::Day => {
            by_entries(backend, group_by, since).await
        }
    }
}

fn by_reason(explanation: &Explanation) -> ExplainBalanceResponse {
    let lines = explanation.lines.iter().map(|line| {
        let amount = message::credit(line.amount);
        let (key, label) = reason(line.reason);
        BalanceLine {
            key: key.to_owned(),
            label: label.to_owned(),
            delta_microcredits: if line.reason.adds() { amount } else { -amount },
            payload_bytes: message::bytes(line.bytes),
            entry_count: message::number(line.entry_count),
        }
    });
    ExplainBalanceResponse {
        opening_microcredits: message::credit(explanation.opening),
        lines: lines.collect(),
        closing_microcredits: message::credit(explanation.closing),
        sequence: message::number(explanation.head.get()),
    }
}

fn reason(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Granted => ("granted", "granted"),
        Reason::Received => ("received", "received from others"),
        Reason::Earned => ("earned", "earned by serving"),
        Reason::Forfeited => ("forfeited", "earned, not claimed in time"),
        Reason::Spent => ("spent", "spent on being served"),
        Reason::Returned => ("returned", "spent, not claimed in time"),
        Reason::Sent => ("sent", "sent to others"),
        Reason::Burned => ("burned", "destroyed"),
        Reason::GivenAcknowledged => ("given_acknowledged", "served for nothing, acknowledged"),
        Reason::TakenAcknowledged => ("taken_acknowledged", "received for nothing, acknowledged"),
        Reason::GivenUnsigned => ("given_unsigned", "served, never paid for"),
    }
}

/// One group's sums.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    delta: i128,
    payload: u128,
    entry_count: u64,
}

async fn by_entries(
    backend: &dyn Backend,
    group_by: GroupBy,
    since: UnixTime,
) -> Result<ExplainBalanceResponse, Failure> {
    let own = backend.info().node_id;
    let mut opening: i128 = 0;
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    let mut from = Sequence::ZERO;
    let mut last = Sequence::ZERO;
    loop {
        let page = backend.entries(from, ENTRIES_MAX).await;
        let page = page.map_err(|error| error::of_books(&error))?;
        let Some((newest, _)) = page.last() else {
            break;
        };
        last = newest.sequence;
        from = last.next();
        for (entry, cause) in &page {
            if entry.time < since {
                opening = opening.saturating_add(delta(entry));
                continue;
            }
            for (key, share) in shares(entry, cause, group_by, own) {
                add(groups.entry(key).or_default(), share);
            }
        }
    }
    let names = names(backend, group_by).await?;
    let total: i128 = groups.values().map(|sums| sums.delta).sum();
    let lines = groups.into_iter().filter(|(_, sums)| !is_nothing(sums));
    let lines = lines.map(|(key, sums)| BalanceLine {
        label: names
            .get(&key)
            .cloned()
            .unwrap_or_else(|| label(&key, group_by)),
        key,
        delta_microcredits: narrow(sums.delta),
        payload_bytes: i64::try_from(sums.payload).unwrap_or(i64::MAX),
        entry_count: message::number(sums.entry_count),
    });
    Ok(ExplainBalanceResponse {
        opening_microcredits: narrow(opening),
        lines: lines.collect(),
        closing_microcredits: narrow(opening.saturating_add(total)),
        sequence: message::number(last.get()),
    })
}

/// The groups an entry belongs to; their deltas add up to the entry's.
fn shares(entry: &Entry, cause: &NodeCause, group_by: GroupBy, own: NodeId) -> Vec<(String, Sums)> {
    let whole = Sums {
        delta: delta(entry),
        payload: payload(entry),
        entry_count: 1,
    };
    match group_by {
        GroupBy::Unspecified | GroupBy::Kind => vec![(entry.kind.name().to_owned(), whole)],
        GroupBy::Day => vec![(day(entry.time), whole)],
        GroupBy::Peer => {
            let peer = other_side(cause, own);
            let key = peer.map_or_else(|| NONE.to_owned(), |peer| peer.to_string());
            vec![(key, whole)]
        }
        GroupBy::Torrent => match cause {
            NodeCause::Command(NodeCommand::ChannelSummary(summary)) => {
                by_torrent(whole, &summary.attribution)
            }
            NodeCause::Genesis(_) | NodeCause::Join(_) | NodeCause::Command(_) => {
                vec![(NONE.to_owned(), whole)]
            }
        },
    }
}

/// Splits a channel's change by torrent; what is not attributed stays with none.
fn by_torrent(whole: Sums, attribution: &[Attribution]) -> Vec<(String, Sums)> {
    let sign = whole.delta.signum();
    let mut left = Sums {
        entry_count: u64::from(attribution.is_empty()),
        ..whole
    };
    let mut shares = Vec::new();
    for share in attribution {
        let delta = i128::from(share.amount.get()).min(left.delta.abs()) * sign;
        let payload = u128::from(share.bytes.get()).min(left.payload);
        left.delta -= delta;
        left.payload -= payload;
        let sums = Sums {
            delta,
            payload,
            entry_count: 1,
        };
        shares.push((InfoHash(share.subject).to_string(), sums));
    }
    shares.push((NONE.to_owned(), left));
    shares
}

fn add(sums: &mut Sums, share: Sums) {
    sums.delta = sums.delta.saturating_add(share.delta);
    sums.payload = sums.payload.saturating_add(share.payload);
    sums.entry_count = sums.entry_count.saturating_add(share.entry_count);
}

fn is_nothing(sums: &Sums) -> bool {
    sums.delta == 0 && sums.payload == 0
}

/// Names of torrents that are here, by info hash.
async fn names(
    backend: &dyn Backend,
    group_by: GroupBy,
) -> Result<BTreeMap<String, String>, Failure> {
    if group_by != GroupBy::Torrent {
        return Ok(BTreeMap::new());
    }
    let rows = backend.torrents().await.map_err(error::of_stopping)?;
    let named = rows.into_iter().map(|row| row.view);
    Ok(named
        .map(|view| (view.info_hash.to_string(), view.name))
        .collect())
}

fn label(key: &str, group_by: GroupBy) -> String {
    match group_by {
        GroupBy::Peer if key == NONE => "no other side".to_owned(),
        GroupBy::Torrent if key == NONE => "no torrent".to_owned(),
        GroupBy::Peer => NodeId::from_hex(key).map_or_else(|| key.to_owned(), short),
        GroupBy::Unspecified | GroupBy::Kind | GroupBy::Torrent | GroupBy::Day => key.to_owned(),
    }
}

fn day(time: UnixTime) -> String {
    let start = UnixTime::from_secs(time.as_secs() / DAY * DAY);
    let text = Timestamp::to_string(&message::time(start));
    text.get(..10).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::{Bytes, MicroCredits};

    use super::*;

    fn share(byte: u8, bytes: u64, amount: u64) -> Attribution {
        Attribution {
            subject: [byte; 20],
            bytes: Bytes::new(bytes),
            amount: MicroCredits::new(amount),
        }
    }

    #[test]
    fn shares_by_torrent_add_up_to_the_entry() {
        let whole = Sums {
            delta: -100,
            payload: 50,
            entry_count: 1,
        };
        // The second share claims more than is left: it gets the rest.
        let shares = by_torrent(whole, &[share(1, 20, 60), share(2, 40, 70)]);
        let deltas: Vec<i128> = shares.iter().map(|(_, sums)| sums.delta).collect();
        assert_eq!(deltas, [-60, -40, 0]);
        let payloads: Vec<u128> = shares.iter().map(|(_, sums)| sums.payload).collect();
        assert_eq!(payloads, [20, 30, 0]);
        assert_eq!(shares[2].0, NONE);
    }

    #[test]
    fn days_are_utc() {
        assert_eq!(day(UnixTime::from_secs(1_700_000_000)), "2023-11-14");
    }
}
