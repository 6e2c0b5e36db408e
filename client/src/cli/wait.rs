//! Waiting for a torrent to complete, with a progress bar.

use std::time::Duration;

use seedbank_proto::v1::{GetTorrentRequest, Torrent, TorrentState};
use tokio::time::{Instant, sleep};

use super::output::Printer;
use crate::connection::Client;
use crate::error::ClientError;

/// Between two looks at the torrent.
const POLL_DELAY: Duration = Duration::from_millis(250);

/// Comes back when every piece is there.
pub(super) async fn until_complete(
    client: &mut Client,
    printer: &Printer<'_>,
    torrent: &Torrent,
    wait: Duration,
) -> Result<Torrent, ClientError> {
    let deadline = Instant::now() + wait;
    let progress = printer.progress(&torrent.display_name);
    loop {
        let request = GetTorrentRequest {
            info_hash: torrent.info_hash.clone(),
        };
        let answer = client.torrents.get_torrent(request).await?.into_inner();
        let torrent = answer.torrent.unwrap_or_default();
        progress.set(torrent.have_bytes, torrent.total_bytes);
        match torrent.state() {
            TorrentState::Seeding => return Ok(torrent),
            TorrentState::Failed => {
                return Err(ClientError::TorrentFailed(format!(
                    "{} failed: {}",
                    torrent.display_name, torrent.error_message
                )));
            }
            TorrentState::Stopped if is_complete(&torrent) => return Ok(torrent),
            TorrentState::Unspecified
            | TorrentState::FetchingMetadata
            | TorrentState::Checking
            | TorrentState::Downloading
            | TorrentState::Stopped => {}
        }
        if Instant::now() >= deadline {
            let name = &torrent.display_name;
            return Err(ClientError::TimedOut(format!(
                "waiting for {name} to complete"
            )));
        }
        sleep(POLL_DELAY).await;
    }
}

fn is_complete(torrent: &Torrent) -> bool {
    torrent.total_bytes > 0 && torrent.have_bytes == torrent.total_bytes
}
