//! `ls` and `show`: torrents as a table, and one with all that is known of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use seedbank_proto::v1;
use seedbank_proto::v1::TorrentState;
use serde_json::{Value, json};

use super::App;
use super::args::{Ls, Show, StateFilter};
use super::output::Page;
use super::pace::eta;
use super::table::{Align, TextTable};
use super::torrent::{get, short, state_name};
use crate::connection::Client;
use crate::error::ClientError;
use crate::json::to_value;
use crate::time;
use crate::units::{bytes, bytes_per_second, percent, ratio};

/// Files that `show` shows unless all are asked for.
const FILES_SHOWN: usize = 10;
/// Files asked for at once.
const PAGE_SIZE: i32 = 1_000;
/// Pages read at most: more files than any torrent has.
const PAGES_MAX: u32 = 1_000;
/// Columns that a name gets before a table loses columns for it.
const NAME_MIN: usize = 16;

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
            page.fitted(
                table(&torrents),
                &["size", "peers", "hash"],
                "name",
                NAME_MIN,
            );
            page.next(format!("seedbank show {}", short(&torrents[0].info_hash)));
        })
}

pub(super) async fn show(app: &mut App<'_>, args: Show) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let info_hash = client.resolve(&args.id.id).await?;
    let answer = get(&mut client, info_hash.clone()).await?;
    let limit = if args.files { usize::MAX } else { FILES_SHOWN };
    let (files, count) = files(&mut client, &info_hash, limit).await?;
    let mut document = to_value(&answer);
    document["file_count"] = json!(count);
    if args.files {
        document["files"] = files.iter().map(to_value).collect();
    }
    app.printer.document(&document, |page| {
        let torrent = answer.torrent.clone().unwrap_or_default();
        put_torrent(page, &torrent);
        put_files(page, &files, count);
        let id = short(&torrent.info_hash);
        let has_more = usize::try_from(count).is_ok_and(|count| count > files.len());
        page.next(match has_more {
            true => format!("seedbank show {id} --files"),
            false => format!("seedbank peers {id}"),
        });
    })
}

/// The first `limit` files of a torrent, and how many there are.
async fn files(
    client: &mut Client,
    info_hash: &str,
    limit: usize,
) -> Result<(Vec<v1::TorrentFile>, i32), ClientError> {
    let mut files = Vec::new();
    let mut count = 0;
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let left = limit.saturating_sub(files.len());
        let request = v1::ListTorrentFilesRequest {
            info_hash: info_hash.to_owned(),
            page_size: i32::try_from(left).map_or(PAGE_SIZE, |left| left.min(PAGE_SIZE)),
            page_token,
        };
        let answer = client.torrents.list_torrent_files(request).await?;
        let answer = answer.into_inner();
        files.extend(answer.files);
        count = answer.file_count;
        page_token = answer.next_page_token;
        if page_token.is_empty() || files.len() >= limit {
            break;
        }
    }
    Ok((files, count))
}

fn table(torrents: &[v1::Torrent]) -> TextTable {
    let mut table = TextTable::new(&[
        ("hash", Align::Left),
        ("state", Align::Left),
        ("done", Align::Right),
        ("size", Align::Right),
        ("down", Align::Right),
        ("up", Align::Right),
        ("eta", Align::Right),
        ("ratio", Align::Right),
        ("peers", Align::Right),
        ("name", Align::Left),
    ]);
    for torrent in torrents {
        table.row([
            short(&torrent.info_hash).to_owned(),
            state_word(torrent.state()).to_owned(),
            percent(torrent.have_bytes, torrent.total_bytes),
            match torrent.total_bytes {
                0 => "-".to_owned(),
                total => bytes(total),
            },
            bytes_per_second(torrent.download_bytes_per_second),
            bytes_per_second(torrent.upload_bytes_per_second),
            eta_of(torrent),
            ratio_of(torrent),
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
    if torrent.state() == TorrentState::Downloading {
        page.fact("eta", eta_of(torrent));
    }
    if torrent.total_bytes > 0 {
        page.fact("have", format!("{have} of {total}, {done}"));
        let (some, all) = (torrent.have_piece_count, torrent.piece_count);
        page.fact("pieces", format!("{some} of {all}"));
    }
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
    page.fact("ratio", ratio_of(torrent));
    page.fact("wasted", bytes(torrent.wasted_bytes));
    let (peers, seeds) = (torrent.peer_count, torrent.seed_count);
    page.fact("peers", format!("{peers}, {seeds} of them seeds"));
    if let Some(unreached) = unreached(std::slice::from_ref(torrent)) {
        page.fact("not reached", unreached);
    }
    page.fact("folder", &torrent.download_dir);
    if torrent.complete_time.is_some() {
        page.fact("completed", time::minute(torrent.complete_time));
    }
    for tracker in &torrent.trackers {
        let next = time::relative(tracker.next_announce_time, time::now());
        let status = match tracker.status_message.as_str() {
            "" => "not asked yet",
            status => status,
        };
        page.fact(
            "tracker",
            format!("{} ({status}; next {next})", tracker.url),
        );
    }
}

/// The addresses that were dialled in vain: `14 addresses: 9 refused, 5 timed out`; `None` without
/// any.
pub(super) fn unreached(torrents: &[v1::Torrent]) -> Option<String> {
    let mut counts = BTreeMap::<&str, i32>::new();
    for one in torrents.iter().flat_map(|torrent| &torrent.unreached) {
        *counts.entry(&one.message).or_default() += one.address_count;
    }
    let count: i32 = counts.values().sum();
    let mut reasons: Vec<(&str, i32)> = counts.into_iter().collect();
    reasons.sort_by_key(|(_, count)| Reverse(*count));
    let words: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let noun = if count == 1 { "address" } else { "addresses" };
    (count > 0).then(|| format!("{count} {noun}: {}", words.join(", ")))
}

fn put_files(page: &mut Page, files: &[v1::TorrentFile], count: i32) {
    if files.is_empty() {
        return;
    }
    page.fact("files", count);
    page.fitted(file_table(files), &[], "file", NAME_MIN);
    let shown = i32::try_from(files.len()).unwrap_or(count);
    if shown < count {
        page.line(format!("and {} more", count - shown));
    }
}

fn file_table(files: &[v1::TorrentFile]) -> TextTable {
    let mut table = TextTable::new(&[
        ("done", Align::Right),
        ("size", Align::Right),
        ("file", Align::Left),
    ]);
    for file in files {
        let done = match file.total_bytes {
            0 => "-".to_owned(),
            total => percent(file.have_bytes, total),
        };
        table.row([done, bytes(file.total_bytes), file.path.clone()]);
        if !file.original_path.is_empty() {
            // Escaped by the node.
            let original = format!("  named {}", file.original_path);
            table.row([String::new(), String::new(), original]);
        }
    }
    table
}

/// A state in a word that leaves room for the name.
fn state_word(state: TorrentState) -> &'static str {
    match state {
        TorrentState::Unspecified => "unknown",
        TorrentState::FetchingMetadata => "metadata",
        TorrentState::Checking => "checking",
        TorrentState::Downloading => "download",
        TorrentState::Seeding => "seeding",
        TorrentState::Stopped => "stopped",
        TorrentState::Failed => "failed",
    }
}

/// When a download will be done; `-` for what does not download.
fn eta_of(torrent: &v1::Torrent) -> String {
    match torrent.state() {
        TorrentState::Downloading => {
            let left = torrent.total_bytes.saturating_sub(torrent.have_bytes);
            eta(left, torrent.download_bytes_per_second)
        }
        TorrentState::FetchingMetadata => "∞".to_owned(),
        TorrentState::Unspecified
        | TorrentState::Checking
        | TorrentState::Seeding
        | TorrentState::Stopped
        | TorrentState::Failed => "-".to_owned(),
    }
}

/// What was sent per byte received or, if it was not received from peers, per byte that is there.
fn ratio_of(torrent: &v1::Torrent) -> String {
    match torrent.downloaded_bytes {
        0 => ratio(torrent.uploaded_bytes, torrent.have_bytes),
        received => ratio(torrent.uploaded_bytes, received),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::width;

    fn torrents() -> Vec<v1::Torrent> {
        let one = v1::Torrent {
            info_hash: "c0ffee254729296a45a3885639ac7dce1e22bb4b".into(),
            display_name: "The.Night.of.the.Living.Dead.1968.1080p.x265-GROUP".into(),
            state: TorrentState::Downloading.into(),
            total_bytes: 44_238_313_062,
            have_bytes: 22_119_156_531,
            downloaded_bytes: 22_119_156_531,
            uploaded_bytes: 1_119_156_531,
            download_bytes_per_second: 1_047_000,
            upload_bytes_per_second: 123_456_789,
            peer_count: 112,
            ..v1::Torrent::default()
        };
        let other = v1::Torrent {
            display_name: "夜の映画と音楽の大きなコレクション".into(),
            state: TorrentState::FetchingMetadata.into(),
            ..v1::Torrent::default()
        };
        vec![one, other]
    }

    #[test]
    fn the_list_fits_80_columns_and_keeps_what_matters() {
        for columns in [80, 100, 120, 200] {
            let mut table = table(&torrents());
            table.fit(columns, &["size", "peers", "hash"], "name", NAME_MIN);
            let text = table.to_string();
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
            for heading in ["state", "done", "down", "up", "eta", "ratio", "name"] {
                assert!(text.contains(heading), "{columns}: {text}");
            }
        }
    }

    #[test]
    fn a_file_that_its_torrent_calls_otherwise_says_so() {
        let file = |path: &str, original: &str| v1::TorrentFile {
            path: path.into(),
            total_bytes: 10,
            original_path: original.into(),
            ..v1::TorrentFile::default()
        };
        let files = [file("plain", ""), file("a_b", r"a\x01b")];
        let text = file_table(&files).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[2].ends_with(" a_b"), "{text}");
        assert_eq!(lines[3], r"named a\x01b");
    }

    #[test]
    fn a_ratio_is_per_byte_received_or_else_per_byte_there() {
        let mut torrent = torrents().remove(0);
        assert_eq!(ratio_of(&torrent), "0.05");
        torrent.downloaded_bytes = 0;
        torrent.uploaded_bytes = torrent.have_bytes * 3;
        assert_eq!(ratio_of(&torrent), "3.00");
        assert_eq!(ratio_of(&v1::Torrent::default()), "-");
        assert_eq!(eta_of(&torrents()[0]), "5h52m");
        assert_eq!(eta_of(&torrents()[1]), "∞");
    }

    #[test]
    fn i2_addresses_that_were_not_reached_are_counted_by_reason() {
        let unreached_for = |message: &str, address_count| v1::UnreachedPeers {
            message: message.into(),
            address_count,
            ..v1::UnreachedPeers::default()
        };
        let with = |unreached| v1::Torrent {
            unreached,
            ..v1::Torrent::default()
        };
        let all = [
            with(vec![
                unreached_for("timed out", 3),
                unreached_for("refused", 4),
            ]),
            with(vec![unreached_for("refused", 5)]),
        ];
        let told = unreached(&all).unwrap();
        assert_eq!(told, "12 addresses: 9 refused, 3 timed out");
        assert_eq!(unreached(&[]), None);
    }
}
