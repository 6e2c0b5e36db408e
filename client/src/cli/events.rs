//! `events`: what happens, as it happens, or what there is; one JSON line each under `--json`.

use std::collections::VecDeque;

use seedbank_proto::v1::{EventKind, WatchEventsRequest, WatchEventsResponse};

use super::App;
use super::args::EventsArgs;
use crate::error::ClientError;
use crate::json::to_value;
use crate::time;

const PREFIX: &str = "EVENT_KIND_";

pub(super) async fn watch(app: &mut App<'_>, args: EventsArgs) -> Result<(), ClientError> {
    let kinds = args
        .kinds
        .iter()
        .map(|kind| parse_kind(kind))
        .collect::<Result<Vec<i32>, ClientError>>()?;
    let follows = args.follow || (args.limit.is_none() && !args.no_follow);
    let request = WatchEventsRequest {
        from_sequence: args.from,
        kinds,
        stop_at_newest: !follows,
    };
    let limit = args.limit.unwrap_or(usize::MAX);
    // The newest of those there are can be told once all have come.
    let newest_only = !follows && args.from.is_none();
    let mut client = app.client().await?;
    let mut events = client.node.watch_events(request).await?.into_inner();
    let mut newest = VecDeque::new();
    let mut left = limit;
    while left > 0 {
        let Some(event) = events.message().await? else {
            break;
        };
        if event.kind() == EventKind::Heartbeat {
            continue;
        }
        if newest_only {
            newest.push_back(event);
            if newest.len() > limit {
                newest.pop_front();
            }
            continue;
        }
        left = left.saturating_sub(1);
        print(app, &event)?;
    }
    newest.iter().try_for_each(|event| print(app, event))
}

fn print(app: &mut App<'_>, event: &WatchEventsResponse) -> Result<(), ClientError> {
    if app.printer.is_json() {
        app.printer.json_line(&to_value(event))
    } else {
        app.printer.raw(describe(event).as_bytes())
    }
}

fn describe(event: &WatchEventsResponse) -> String {
    let kind = name_of(event.kind());
    let at = time::minute(event.create_time);
    format!(
        "{:>8}  {at}  {kind:<18}  {}\n",
        event.sequence, event.message
    )
}

fn name_of(kind: EventKind) -> String {
    let name = kind.as_str_name();
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    name.to_ascii_lowercase().replace('_', "-")
}

fn parse_kind(text: &str) -> Result<i32, ClientError> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    EventKind::from_str_name(&format!("{PREFIX}{name}"))
        .filter(|kind| *kind != EventKind::Unspecified)
        .map(i32::from)
        .ok_or_else(|| ClientError::Usage(format!("{text:?} is no kind of event")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_go_by_their_short_names() {
        assert_eq!(
            parse_kind("boost-funded").unwrap(),
            i32::from(EventKind::BoostFunded)
        );
        assert_eq!(name_of(EventKind::BoostFunded), "boost-funded");
        assert!(parse_kind("unspecified").is_err());
        assert!(parse_kind("nonsense").is_err());
    }
}
