//! `add`, `ls`, `show`, `start`, `stop`, `rm`, `verify`.

use std::path::Path;
use std::time::Duration;

use seedbank_proto::v1;
use seedbank_proto::v1::TorrentState;
use seedbank_proto::v1::add_torrent_request::Source;
use serde_json::{Value, json};

use super::args::{Add, Ls, Rm, StateFilter};
use super::output::Page;
use super::table::{Align, TextTable};
use super::{App, request_id, wait};
use crate::connection::Client;
use crate::error::ClientError;
use crate::json::to_value;
use crate::time;
use crate::units::{bytes, bytes_per_second, percent};

/// Characters of an info hash that tables show.
const SHORT_HASH: usize = 10;

pub(super) async fn add(app: &mut App<'_>, args: Add) -> Result<(), ClientError> {
    let dir = args.dir.as_deref().map(absolute).transpose()?;
    // Read everything before the first call: a wrong name adds nothing.
    let sources = args
        .sources
        .iter()
        .map(|source| read_source(source))
        .collect::<Result<Vec<Source>, ClientError>>()?;
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
    app: &App<'_>,
    client: &mut Client,
    added: &mut [AddedTorrent],
    limit: Duration,
) -> Result<(), ClientError> {
    for one in added {
        let torrent = one.answer.torrent.clone().unwrap_or_default();
        let torrent = wait::until_complete(client, &app.printer, &torrent, limit).await?;
        one.answer.torrent = Some(torrent);
    }
    Ok(())
}

pub(super) async fn list(app: &mut App<'_>, args: Ls) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let wanted = args.state.map(StateFilter::to_proto);
    let mut torrents = client.list_torrents().await?;
    torrents.retain(|torrent| wanted.is_none_or(|state| torrent.state() == state));
    let documents: Vec<Value> = torrents.iter().map(to_value).collect();
    app.printer
        .document(&json!({ "torrents": documents }), |page| {
            if torrents.is_empty() {
                page.line("no torrents");
                page.next("seedbank add FILE.torrent");
                return;
            }
            page.table(&table(&torrents));
            page.next(format!("seedbank show {}", short(&torrents[0].info_hash)));
        })
}

pub(super) async fn show(app: &mut App<'_>, id: &str) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let info_hash = client.resolve(id).await?;
    let answer = get(&mut client, info_hash).await?;
    app.printer.message(&answer, |page| {
        let torrent = answer.torrent.clone().unwrap_or_default();
        put_torrent(page, &torrent);
        page.next(format!("seedbank peers {}", short(&torrent.info_hash)));
    })
}

pub(super) async fn start(app: &mut App<'_>, ids: &[String]) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let mut done = Vec::new();
    for id in ids {
        let info_hash = client.resolve(id).await?;
        let request = v1::StartTorrentRequest {
            info_hash: info_hash.clone(),
        };
        client.torrents.start_torrent(request).await?;
        done.push(info_hash);
    }
    report(app, "started", &done)
}

pub(super) async fn stop(app: &mut App<'_>, ids: &[String]) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let mut done = Vec::new();
    for id in ids {
        let info_hash = client.resolve(id).await?;
        let request = v1::StopTorrentRequest {
            info_hash: info_hash.clone(),
        };
        client.torrents.stop_torrent(request).await?;
        done.push(info_hash);
    }
    report(app, "stopped", &done)
}

pub(super) async fn remove(app: &mut App<'_>, args: Rm) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let mut torrents = Vec::new();
    for id in &args.ids.ids {
        let info_hash = client.resolve(id).await?;
        let answer = get(&mut client, info_hash).await?;
        torrents.push(answer.torrent.unwrap_or_default());
    }
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
    for torrent in torrents {
        let request = v1::DeleteTorrentRequest {
            info_hash: torrent.info_hash.clone(),
            delete_data: args.data,
        };
        client.torrents.delete_torrent(request).await?;
        done.push(torrent.info_hash);
    }
    report(app, "removed", &done)
}

pub(super) async fn verify(app: &mut App<'_>, id: &str) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let info_hash = client.resolve(id).await?;
    let before = get(&mut client, info_hash.clone()).await?;
    let before = before.torrent.unwrap_or_default().have_bytes;
    let request = v1::VerifyTorrentRequest { info_hash };
    let mut stream = client.torrents.verify_torrent(request).await?.into_inner();
    let progress = app.printer.progress("verifying");
    let mut last = v1::VerifyTorrentResponse::default();
    while let Some(step) = stream.message().await? {
        progress.set(step.checked_bytes, step.total_bytes);
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

impl StateFilter {
    fn to_proto(self) -> TorrentState {
        match self {
            Self::FetchingMetadata => TorrentState::FetchingMetadata,
            Self::Checking => TorrentState::Checking,
            Self::Downloading => TorrentState::Downloading,
            Self::Seeding => TorrentState::Seeding,
            Self::Stopped => TorrentState::Stopped,
            Self::Failed => TorrentState::Failed,
        }
    }
}

fn read_source(source: &str) -> Result<Source, ClientError> {
    if source.starts_with("magnet:") {
        return Ok(Source::Magnet(source.to_owned()));
    }
    std::fs::read(source)
        .map(Source::Metainfo)
        .map_err(|error| ClientError::File {
            path: source.to_owned(),
            source: error,
        })
}

async fn get(
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
    match &added.boost {
        Some(boost) => page.next(format!("seedbank boost show {}", boost.boost_id)),
        None => page.next(format!("seedbank show {}", short(hash))),
    }
}

fn report(app: &mut App<'_>, verb: &str, info_hashes: &[String]) -> Result<(), ClientError> {
    let document = json!({ "info_hashes": info_hashes });
    app.printer.document(&document, |page| {
        for info_hash in info_hashes {
            page.line(format!("{verb} {info_hash}"));
        }
        page.next("seedbank ls");
    })
}

fn table(torrents: &[v1::Torrent]) -> TextTable {
    let mut table = TextTable::new(&[
        ("hash", Align::Left),
        ("state", Align::Left),
        ("done", Align::Right),
        ("size", Align::Right),
        ("down", Align::Right),
        ("up", Align::Right),
        ("peers", Align::Right),
        ("name", Align::Left),
    ]);
    for torrent in torrents {
        table.row([
            short(&torrent.info_hash).to_owned(),
            state_name(torrent),
            percent(torrent.have_bytes, torrent.total_bytes),
            bytes(torrent.total_bytes),
            bytes_per_second(torrent.download_bytes_per_second),
            bytes_per_second(torrent.upload_bytes_per_second),
            torrent.peer_count.to_string(),
            torrent.display_name.clone(),
        ]);
    }
    table
}

fn put_torrent(page: &mut Page, torrent: &v1::Torrent) {
    let have = bytes(torrent.have_bytes);
    let total = bytes(torrent.total_bytes);
    let done = percent(torrent.have_bytes, torrent.total_bytes);
    page.fact("name", &torrent.display_name);
    page.fact("info hash", &torrent.info_hash);
    page.fact("state", state_name(torrent));
    if !torrent.error_message.is_empty() {
        page.fact("error", &torrent.error_message);
    }
    page.fact("have", format!("{have} of {total}, {done}"));
    let (some, all) = (torrent.have_piece_count, torrent.piece_count);
    page.fact("pieces", format!("{some} of {all}"));
    let down = bytes_per_second(torrent.download_bytes_per_second);
    let up = bytes_per_second(torrent.upload_bytes_per_second);
    page.fact(
        "down",
        format!("{down}, {} in all", bytes(torrent.downloaded_bytes)),
    );
    page.fact(
        "up",
        format!("{up}, {} in all", bytes(torrent.uploaded_bytes)),
    );
    page.fact("wasted", bytes(torrent.wasted_bytes));
    let (peers, seeds) = (torrent.peer_count, torrent.seed_count);
    page.fact("peers", format!("{peers}, {seeds} of them seeds"));
    page.fact("folder", &torrent.download_dir);
    for tracker in &torrent.trackers {
        let next = time::relative(tracker.next_announce_time, time::now());
        let status = &tracker.status_message;
        page.fact(
            "tracker",
            format!("{} ({status}; next {next})", tracker.url),
        );
    }
}

fn state_name(torrent: &v1::Torrent) -> String {
    let name = torrent.state().as_str_name();
    let name = name.strip_prefix("TORRENT_STATE_").unwrap_or(name);
    name.to_ascii_lowercase().replace('_', " ")
}
