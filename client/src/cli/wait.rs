//! Waiting for torrents to complete, with a line of progress for each.

use std::time::Duration;

use seedbank_proto::v1::{GetTorrentRequest, Torrent, TorrentState};
use tokio::time::{Instant, sleep};

use super::output::Printer;
use super::pace::Pace;
use super::progress::{WorkLine, moving};
use super::torrent::short;
use crate::connection::Client;
use crate::error::ClientError;

/// Between two looks at the torrents.
const POLL_DELAY: Duration = Duration::from_millis(250);
/// Nothing moved for so long: say what to do about it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Comes back when every piece of every torrent is there. `torrents` is kept as they stand.
pub(super) async fn until_complete(
    client: &mut Client,
    printer: &mut Printer<'_>,
    torrents: &mut [Torrent],
    wait: Duration,
) -> Result<(), ClientError> {
    let deadline = Instant::now() + wait;
    let mut progress = printer.progress();
    let mut watched: Vec<Watched> = torrents.iter().map(|_| Watched::new()).collect();
    loop {
        for (torrent, watched) in torrents.iter_mut().zip(&mut watched) {
            *torrent = look(client, &torrent.info_hash).await?;
            watched.look(torrent, Instant::now());
        }
        if torrents.iter().all(is_done) {
            return Ok(());
        }
        if let Some(failed) = torrents.iter().find(|one| has_failed(one)) {
            return Err(ClientError::TorrentFailed(format!(
                "{} failed: {}",
                failed.display_name, failed.error_message
            )));
        }
        let now = Instant::now();
        let both = || torrents.iter().zip(&watched);
        let bars: Vec<WorkLine> = both().map(|(one, watched)| bar(one, watched)).collect();
        let mut hints = both().filter_map(|(one, watched)| hint(one, watched, now));
        progress.show(printer, &bars, hints.next().as_deref())?;
        if now >= deadline {
            let waiting: Vec<&str> = torrents
                .iter()
                .filter(|one| !is_done(one))
                .map(|one| one.display_name.as_str())
                .collect();
            let waiting = waiting.join(", ");
            return Err(ClientError::TimedOut(format!(
                "waiting for {waiting} to complete"
            )));
        }
        sleep(POLL_DELAY).await;
    }
}

/// What was seen of a torrent so far.
struct Watched {
    pace: Pace,
    /// When it was last looked at.
    at: Instant,
    /// When it was last seen to move.
    moved_at: Instant,
    have_bytes: i64,
}

impl Watched {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            pace: Pace::default(),
            at: now,
            moved_at: now,
            have_bytes: 0,
        }
    }

    fn look(&mut self, torrent: &Torrent, now: Instant) {
        let since = now.saturating_duration_since(self.at);
        self.pace.feed(torrent.download_bytes_per_second, since);
        self.at = now;
        let moves = torrent.download_bytes_per_second > 0 || torrent.have_bytes != self.have_bytes;
        if moves || torrent.state() == TorrentState::Checking {
            self.moved_at = now;
        }
        self.have_bytes = torrent.have_bytes;
    }

    fn is_still(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.moved_at) >= PATIENCE
    }
}

async fn look(client: &mut Client, info_hash: &str) -> Result<Torrent, ClientError> {
    let request = GetTorrentRequest {
        info_hash: info_hash.to_owned(),
    };
    let answer = client.torrents.get_torrent(request).await?.into_inner();
    Ok(answer.torrent.unwrap_or_default())
}

fn bar(torrent: &Torrent, watched: &Watched) -> WorkLine {
    let peers = match torrent.peer_count {
        1 => "1 peer".to_owned(),
        count => format!("{count} peers"),
    };
    let known = Some((torrent.have_bytes, torrent.total_bytes));
    let (part, facts) = match torrent.state() {
        TorrentState::FetchingMetadata => (None, vec![format!("waiting for metadata, {peers}")]),
        TorrentState::Checking => (None, vec!["checking what is on disk".to_owned()]),
        TorrentState::Stopped => (known, vec!["stopped".to_owned()]),
        TorrentState::Seeding => (known, vec!["done".to_owned()]),
        TorrentState::Failed | TorrentState::Unspecified => (known, vec!["failed".to_owned()]),
        TorrentState::Downloading => {
            let (have, total) = (torrent.have_bytes, torrent.total_bytes);
            let mut facts = moving(have, total, watched.pace.rate());
            let still = torrent.download_bytes_per_second == 0;
            match torrent.peer_count {
                0 => {
                    facts.truncate(1);
                    facts.push("stalled, no peers".to_owned());
                }
                _ if still => {
                    facts.truncate(1);
                    facts.push(format!("stalled, {peers} send nothing"));
                }
                _ => facts.insert(3, peers),
            }
            (known, facts)
        }
    };
    WorkLine {
        name: torrent.display_name.clone(),
        part,
        facts,
    }
}

/// What to do about a torrent that has not moved for a while.
fn hint(torrent: &Torrent, watched: &Watched, now: Instant) -> Option<String> {
    let id = short(&torrent.info_hash);
    if torrent.state() == TorrentState::Stopped && !is_done(torrent) {
        return Some(format!("It is stopped: seedbank start {id}"));
    }
    if is_done(torrent) || !watched.is_still(now) {
        return None;
    }
    if torrent.peer_count > 0 {
        return Some(format!(
            "Its peers are silent, or have nothing that is missing. See why: seedbank peers {id}"
        ));
    }
    Some(match torrent.trackers.first() {
        None => format!(
            "It has no peers and no tracker that names any, so it may wait for ever. \
             Tell it of one: seedbank peers {id} --add IP:PORT"
        ),
        Some(tracker) => {
            let said = match tracker.status_message.as_str() {
                "" => "has not answered yet",
                said => said,
            };
            format!(
                "No peers yet. {}: {said}. Tell it of one: seedbank peers {id} --add IP:PORT",
                tracker.url
            )
        }
    })
}

fn is_done(torrent: &Torrent) -> bool {
    let is_complete = torrent.total_bytes > 0 && torrent.have_bytes == torrent.total_bytes;
    match torrent.state() {
        TorrentState::Seeding => true,
        TorrentState::Stopped => is_complete,
        TorrentState::Unspecified
        | TorrentState::FetchingMetadata
        | TorrentState::Checking
        | TorrentState::Downloading
        | TorrentState::Failed => false,
    }
}

fn has_failed(torrent: &Torrent) -> bool {
    torrent.state() == TorrentState::Failed
}

#[cfg(test)]
mod tests {
    use seedbank_proto::v1::Tracker;

    use super::*;

    fn magnet() -> Torrent {
        Torrent {
            info_hash: "ab".repeat(20),
            display_name: "film".into(),
            state: TorrentState::FetchingMetadata.into(),
            ..Torrent::default()
        }
    }

    fn still() -> (Watched, Instant) {
        let watched = Watched::new();
        let later = watched.moved_at + PATIENCE;
        (watched, later)
    }

    #[test]
    fn a_magnet_without_peers_says_that_it_waits_and_for_what() {
        let (watched, later) = still();
        let bar = bar(&magnet(), &watched);
        assert_eq!(bar.part, None, "the bar is not full");
        assert_eq!(bar.facts, ["waiting for metadata, 0 peers"]);
        assert_eq!(hint(&magnet(), &watched, watched.moved_at), None);
        let said = hint(&magnet(), &watched, later).unwrap();
        assert!(
            said.ends_with("seedbank peers ababababab --add IP:PORT"),
            "{said}"
        );
        assert!(said.contains("no tracker"), "{said}");
        let mut tracked = magnet();
        tracked.trackers.push(Tracker {
            url: "http://t/announce".into(),
            status_message: "connection refused".into(),
            ..Tracker::default()
        });
        let said = hint(&tracked, &watched, later).unwrap();
        assert!(
            said.contains("http://t/announce: connection refused."),
            "{said}"
        );
    }

    #[test]
    fn a_download_that_stands_still_says_so_in_words() {
        let (mut watched, later) = still();
        let mut torrent = Torrent {
            state: TorrentState::Downloading.into(),
            total_bytes: 1_000,
            have_bytes: 250,
            ..magnet()
        };
        watched.have_bytes = 250;
        let facts = |torrent: &Torrent, watched: &Watched| bar(torrent, watched).facts;
        assert_eq!(facts(&torrent, &watched)[1], "stalled, no peers");
        torrent.peer_count = 3;
        assert_eq!(
            facts(&torrent, &watched)[1],
            "stalled, 3 peers send nothing"
        );
        assert!(
            hint(&torrent, &watched, later)
                .unwrap()
                .contains("peers ab")
        );
        torrent.download_bytes_per_second = 50;
        watched.look(&torrent, later);
        assert_eq!(hint(&torrent, &watched, later), None, "it moves again");
        let facts = facts(&torrent, &watched);
        assert_eq!(facts[1].trim(), "eta 15s");
        assert_eq!(facts[3], "3 peers");
    }

    #[test]
    fn what_is_stopped_waits_only_if_something_is_missing() {
        let mut torrent = magnet();
        torrent.set_state(TorrentState::Stopped);
        assert!(!is_done(&torrent));
        torrent.total_bytes = 5;
        torrent.have_bytes = 5;
        assert!(is_done(&torrent));
    }
}
