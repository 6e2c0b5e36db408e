//! `add`, `start`, `stop`, `rm`, `verify`; `show.rs` has `ls` and `show`.

use std::path::Path;
use std::time::Duration;

use seedbank_proto::v1;
use seedbank_proto::v1::TorrentState;
use seedbank_proto::v1::add_torrent_request::Source;
use serde_json::{Value, json};
use tonic::Status;

use super::args::{Add, Rm};
use super::output::Page;
use super::{App, request_id, source, wait};
use crate::connection::Client;
use crate::error::ClientError;
use crate::json::to_value;
use crate::units::bytes;

/// Stands for every torrent where an id is expected.
const ALL: &str = "all";
/// Characters of an info hash that tables show.
const SHORT_HASH: usize = 10;

pub(super) async fn add(app: &mut App<'_>, args: Add) -> Result<(), ClientError> {
    let dir = args.dir.as_deref().map(absolute).transpose()?;
    // Read everything before the first call: a wrong name adds nothing.
    let mut sources = Vec::new();
    for source in &args.sources {
        sources.push(source::read(app, source).await?);
    }
    let mut client = app.client().await?;
    let mut added = Vec::new();
    let mut outcome = Ok(());
    for source in sources {
        outcome = add_one(&mut client, &args, dir.as_deref(), source, &mut added).await;
        if outcome.is_err() {
            break;
        }
    }
    if let (Ok(()), Some(limit)) = (&outcome, app.global.wait) {
        outcome = wait_for(app, &mut client, &mut added, limit).await;
    }
    // What was added is shown even if the next step failed: it is there.
    if !added.is_empty() {
        let documents: Vec<Value> = added.iter().map(added_to_value).collect();
        let document = json!({ "added": documents });
        app.printer.document(&document, |page| {
            for one in &added {
                put_added(page, one);
            }
        })?;
    }
    outcome
}

/// A torrent that was added, and its boost.
struct AddedTorrent {
    answer: v1::AddTorrentResponse,
    boost: Option<v1::Boost>,
}

async fn add_one(
    client: &mut Client,
    args: &Add,
    dir: Option<&str>,
    source: Source,
    added: &mut Vec<AddedTorrent>,
) -> Result<(), ClientError> {
    let request = v1::AddTorrentRequest {
        request_id: request_id()?,
        source: Some(source),
        download_dir: dir.unwrap_or_default().to_owned(),
        stopped: args.stopped,
        initial_peers: args.peers.clone(),
        trackers: args.trackers.clone(),
    };
    let answer = client.torrents.add_torrent(request).await?.into_inner();
    let torrent = answer.torrent.clone().unwrap_or_default();
    added.push(AddedTorrent {
        answer,
        boost: None,
    });
    if let (Some(max), Some(one)) = (args.boost, added.last_mut()) {
        one.boost = Some(boost(client, &torrent, max, args.bid).await?);
    }
    Ok(())
}

async fn wait_for(
    app: &mut App<'_>,
    client: &mut Client,
    added: &mut [AddedTorrent],
    limit: Duration,
) -> Result<(), ClientError> {
    let torrents = added.iter().map(|one| one.answer.torrent.clone());
    let mut torrents: Vec<v1::Torrent> = torrents.map(Option::unwrap_or_default).collect();
    let outcome = wait::until_complete(client, &mut app.printer, &mut torrents, limit).await;
    for (one, torrent) in added.iter_mut().zip(torrents) {
        one.answer.torrent = Some(torrent);
    }
    outcome
}

pub(super) async fn start(app: &mut App<'_>, ids: &[String]) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let wanted = [TorrentState::Stopped, TorrentState::Failed];
    let torrents = chosen(&mut client, ids, |state| wanted.contains(&state)).await?;
    let mut done = Vec::new();
    let mut outcome = Ok(());
    for torrent in torrents {
        let request = v1::StartTorrentRequest {
            info_hash: torrent.info_hash.clone(),
        };
        outcome = client.torrents.start_torrent(request).await.map(drop);
        if outcome.is_err() {
            break;
        }
        done.push(torrent);
    }
    report(app, "started", &done, outcome)
}

pub(super) async fn stop(app: &mut App<'_>, ids: &[String]) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let torrents = chosen(&mut client, ids, |state| state != TorrentState::Stopped).await?;
    let mut done = Vec::new();
    let mut outcome = Ok(());
    for torrent in torrents {
        let request = v1::StopTorrentRequest {
            info_hash: torrent.info_hash.clone(),
        };
        outcome = client.torrents.stop_torrent(request).await.map(drop);
        if outcome.is_err() {
            break;
        }
        done.push(torrent);
    }
    report(app, "stopped", &done, outcome)
}

/// The torrents named, or for `all` those in a state that the command changes.
async fn chosen(
    client: &mut Client,
    ids: &[String],
    changes: impl Fn(TorrentState) -> bool,
) -> Result<Vec<v1::Torrent>, ClientError> {
    if ids.iter().all(|id| id != ALL) {
        return client.resolve_all(ids).await;
    }
    let mut torrents = client.list_torrents().await?;
    torrents.retain(|torrent| changes(torrent.state()));
    Ok(torrents)
}

pub(super) async fn remove(app: &mut App<'_>, args: Rm) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let torrents = client.resolve_all(&args.ids.ids).await?;
    if !app.global.yes {
        let names: Vec<&str> = torrents.iter().map(|t| t.display_name.as_str()).collect();
        let names = names.join(", ");
        app.printer.confirm(&format!("Forget {names}?"))?;
        if args.data {
            app.printer
                .confirm(&format!("Delete the files of {names} too?"))?;
        }
    }
    let mut done = Vec::new();
    let mut outcome = Ok(());
    for torrent in torrents {
        let request = v1::DeleteTorrentRequest {
            info_hash: torrent.info_hash.clone(),
            delete_data: args.data,
        };
        outcome = client.torrents.delete_torrent(request).await.map(drop);
        if outcome.is_err() {
            break;
        }
        done.push(torrent);
    }
    report(app, "removed", &done, outcome)
}

pub(super) async fn verify(app: &mut App<'_>, id: &str) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let info_hash = client.resolve(id).await?;
    let before = get(&mut client, info_hash.clone()).await?;
    let before = before.torrent.unwrap_or_default().have_bytes;
    let request = v1::VerifyTorrentRequest { info_hash };
    let mut stream = client.torrents.verify_torrent(request).await?.into_inner();
    let mut progress = app.printer.counted("verifying");
    let mut last = v1::VerifyTorrentResponse::default();
    while let Some(step) = stream.message().await? {
        progress.set(&mut app.printer, step.checked_bytes, step.total_bytes)?;
        if app.printer.is_json() {
            app.printer.json_line(&to_value(&step))?;
        }
        last = step;
    }
    drop(progress);
    let lost = before.saturating_sub(last.have_bytes);
    if lost > 0 {
        return Err(ClientError::CheckFailed(format!(
            "{} of {} verified before no longer match their hash",
            bytes(lost),
            bytes(before)
        )));
    }
    if app.printer.is_json() {
        return Ok(());
    }
    let (have, total) = (bytes(last.have_bytes), bytes(last.total_bytes));
    app.printer
        .raw(format!("{have} of {total} are good\n").as_bytes())
}

/// The first characters of an info hash, enough to name it again.
pub(super) fn short(info_hash: &str) -> &str {
    info_hash.get(..SHORT_HASH).unwrap_or(info_hash)
}

/// An absolute path as text: the daemon's working folder is not ours.
pub(super) fn absolute(path: &Path) -> Result<String, ClientError> {
    let file_error = |source| ClientError::File {
        path: path.display().to_string(),
        source,
    };
    let path = std::path::absolute(path).map_err(file_error)?;
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(ClientError::Usage(format!(
            "{} is not UTF-8",
            path.display()
        ))),
    }
}

pub(super) async fn get(
    client: &mut Client,
    info_hash: String,
) -> Result<v1::GetTorrentResponse, ClientError> {
    let request = v1::GetTorrentRequest { info_hash };
    Ok(client.torrents.get_torrent(request).await?.into_inner())
}

async fn boost(
    client: &mut Client,
    torrent: &v1::Torrent,
    max: i64,
    bid: Option<i64>,
) -> Result<v1::Boost, ClientError> {
    let request = v1::CreateBoostRequest {
        request_id: request_id()?,
        info_hash: torrent.info_hash.clone(),
        max_microcredits: max,
        bid_microcredits_per_gib: bid,
        time_to_live: None,
    };
    let answer = client.boosts.create_boost(request).await?.into_inner();
    Ok(answer.boost.unwrap_or_default())
}

fn added_to_value(added: &AddedTorrent) -> Value {
    let mut document = to_value(&added.answer);
    if let Some(boost) = &added.boost {
        document["boost"] = to_value(boost);
    }
    document
}

fn put_added(page: &mut Page, added: &AddedTorrent) {
    let answer = &added.answer;
    let torrent = answer.torrent.clone().unwrap_or_default();
    let verb = if answer.already_present {
        "already there"
    } else {
        "added"
    };
    let (name, hash) = (&torrent.display_name, &torrent.info_hash);
    page.line(format!("{verb}: {name} ({hash}), {}", state_name(&torrent)));
    let id = short(hash);
    let is_lost = torrent.state() == TorrentState::FetchingMetadata
        && torrent.trackers.is_empty()
        && torrent.peer_count == 0;
    match &added.boost {
        Some(boost) => page.next(format!("seedbank boost show {}", boost.boost_id)),
        None if is_lost => {
            page.line("It names no tracker: it waits until somebody who has it is named.");
            page.next(format!("seedbank peers {id} --add IP:PORT"));
        }
        None => page.next(format!("seedbank show {id}")),
    }
}

/// Shows what was done, also if the next step failed.
fn report(
    app: &mut App<'_>,
    verb: &str,
    done: &[v1::Torrent],
    outcome: Result<(), Status>,
) -> Result<(), ClientError> {
    if !done.is_empty() || outcome.is_ok() {
        let info_hashes: Vec<&str> = done.iter().map(|one| one.info_hash.as_str()).collect();
        let document = json!({ "info_hashes": info_hashes });
        app.printer.document(&document, |page| {
            for torrent in done {
                let (name, hash) = (&torrent.display_name, &torrent.info_hash);
                page.line(format!("{verb}: {name} ({hash})"));
            }
            if done.is_empty() {
                page.line(format!("nothing to be {verb}"));
            }
            page.next("seedbank ls");
        })?;
    }
    Ok(outcome?)
}

pub(super) fn state_name(torrent: &v1::Torrent) -> String {
    let name = torrent.state().as_str_name();
    let name = name.strip_prefix("TORRENT_STATE_").unwrap_or(name);
    name.to_ascii_lowercase().replace('_', " ")
}
