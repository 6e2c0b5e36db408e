//! `ExplainBalance`: what the ledger's accountant says, as messages.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::UnixTime;
use seedbank_ledger::charts::node::{BalanceReason, Breakdown, Explanation, GroupKey, Grouping};
use seedbank_proto::Failure;
use seedbank_proto::v1::{BalanceLine, ExplainBalanceResponse, GroupBy};

use super::backend::Backend;
use super::entry::{narrow, short};
use super::{error, message};

/// What belongs to no peer or torrent.
const NONE: &str = "none";
/// Seconds in a UTC day.
const DAY: u64 = 86_400;

/// Names of torrents by info hash.
pub(crate) type Names = BTreeMap<TorrentId, String>;

/// Sums by `group_by` from `since` on.
pub(super) async fn explain(
    backend: &dyn Backend,
    group_by: GroupBy,
    since: UnixTime,
) -> Result<ExplainBalanceResponse, Failure> {
    let grouping = match group_by {
        GroupBy::Unspecified | GroupBy::Kind => {
            let explanation = backend.explain(since).await;
            let explanation = explanation.map_err(|error| error::of_books(&error))?;
            return Ok(by_reason(&explanation));
        }
        GroupBy::Peer => Grouping::Peer,
        GroupBy::Torrent => Grouping::Subject,
        GroupBy::Day => Grouping::Day,
    };
    let breakdown = backend.explain_by(grouping, since).await;
    let breakdown = breakdown.map_err(|error| error::of_books(&error))?;
    let names = names(backend, grouping).await?;
    Ok(by_group(&breakdown, grouping, &names))
}

/// Sums by reason.
pub(crate) fn by_reason(explanation: &Explanation) -> ExplainBalanceResponse {
    let lines = explanation.lines.iter().map(|line| {
        let amount = message::credit(line.amount);
        let bytes = message::bytes(line.bytes);
        let (key, label) = reason(line.reason);
        let only = |of: &[BalanceReason], sum: i64| if of.contains(&line.reason) { sum } else { 0 };
        BalanceLine {
            key: key.to_owned(),
            label: label.to_owned(),
            delta_microcredits: if line.reason.adds() { amount } else { -amount },
            payload_bytes: bytes,
            entry_count: message::number(line.entry_count),
            earned_microcredits: only(&[BalanceReason::Earned], amount),
            spent_microcredits: only(&[BalanceReason::Spent], amount),
            given_bytes: only(&GIVEN, bytes),
            taken_bytes: only(&TAKEN, bytes),
        }
    });
    ExplainBalanceResponse {
        opening_microcredits: message::credit(explanation.opening),
        lines: lines.collect(),
        closing_microcredits: message::credit(explanation.closing),
        sequence: message::number(explanation.head.get()),
    }
}

/// Sums by peer, torrent or day; torrents of `names` are shown by name.
pub(crate) fn by_group(
    breakdown: &Breakdown,
    grouping: Grouping,
    names: &Names,
) -> ExplainBalanceResponse {
    let lines = breakdown.lines.iter().map(|line| {
        let (key, label) = key_and_label(line.key, grouping, names);
        BalanceLine {
            key,
            label,
            delta_microcredits: narrow(line.change),
            payload_bytes: wide(line.payload()),
            entry_count: message::number(line.entry_count),
            earned_microcredits: wide(line.earned),
            spent_microcredits: wide(line.spent),
            given_bytes: wide(line.given),
            taken_bytes: wide(line.taken),
        }
    });
    ExplainBalanceResponse {
        opening_microcredits: narrow(breakdown.opening),
        lines: lines.collect(),
        closing_microcredits: narrow(breakdown.closing),
        sequence: message::number(breakdown.head.get()),
    }
}

/// Held inside the range of the contract's integers.
fn wide(sum: u128) -> i64 {
    i64::try_from(sum).unwrap_or(i64::MAX)
}

/// Reasons whose bytes were served.
const GIVEN: [BalanceReason; 3] = [
    BalanceReason::Earned,
    BalanceReason::GivenAcknowledged,
    BalanceReason::GivenUnsigned,
];
/// Reasons whose bytes were received.
const TAKEN: [BalanceReason; 2] = [BalanceReason::Spent, BalanceReason::TakenAcknowledged];

fn reason(reason: BalanceReason) -> (&'static str, &'static str) {
    match reason {
        BalanceReason::Granted => ("granted", "granted"),
        BalanceReason::Received => ("received", "received from others"),
        BalanceReason::Earned => ("earned", "earned by serving"),
        BalanceReason::Forfeited => ("forfeited", "earned, not claimed in time"),
        BalanceReason::Spent => ("spent", "spent on being served"),
        BalanceReason::Returned => ("returned", "spent, not claimed in time"),
        BalanceReason::Sent => ("sent", "sent to others"),
        BalanceReason::Burned => ("burned", "destroyed"),
        BalanceReason::GivenAcknowledged => {
            ("given_acknowledged", "served for nothing, acknowledged")
        }
        BalanceReason::TakenAcknowledged => {
            ("taken_acknowledged", "received for nothing, acknowledged")
        }
        BalanceReason::GivenUnsigned => ("given_unsigned", "served, never paid for"),
    }
}

fn key_and_label(key: GroupKey, grouping: Grouping, names: &Names) -> (String, String) {
    match key {
        GroupKey::Peer(peer) => (peer.to_string(), short(peer)),
        GroupKey::Subject(subject) => {
            let torrent_id = TorrentId(subject);
            let key = torrent_id.to_string();
            let label = names.get(&torrent_id).unwrap_or(&key).clone();
            (key, label)
        }
        GroupKey::Day(day) => {
            let day = date(day);
            (day.clone(), day)
        }
        GroupKey::Rest => {
            let label = match grouping {
                Grouping::Peer => "no other side",
                Grouping::Subject => "no torrent",
                Grouping::Day => NONE,
            };
            (NONE.to_owned(), label.to_owned())
        }
    }
}

/// Names of torrents that are here.
async fn names(backend: &dyn Backend, grouping: Grouping) -> Result<Names, Failure> {
    if grouping != Grouping::Subject {
        return Ok(Names::new());
    }
    let rows = backend.torrents().await.map_err(error::of_stopping)?;
    let named = rows.into_iter().map(|row| row.view);
    Ok(named.map(|view| (view.torrent_id, view.name)).collect())
}

/// A day counted from 1970-01-01, as people write it.
fn date(day: u64) -> String {
    let start = UnixTime::from_secs(day.saturating_mul(DAY));
    let text = Timestamp::to_string(&message::time(start));
    text.get(..10).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_utc() {
        assert_eq!(date(1_700_000_000 / DAY), "2023-11-14");
    }
}
