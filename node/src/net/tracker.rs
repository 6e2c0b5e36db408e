//! Announces over HTTP: the engine says what to ask and reads the answer, this carries the bytes.
//! UDP trackers are asked by the session itself, with datagrams.

mod hosts;
mod http;

use std::net::IpAddr;
use std::sync::Arc;

use seedbank_engine::discovery::reach::Reach;
use seedbank_engine::discovery::tracker::url::TrackerUrl;
use seedbank_engine::discovery::tracker::{AnnounceError, AnnounceReply, AnnounceRequest};
use seedbank_engine::interface::input::Input;
use seedbank_engine::units::TorrentId;

use crate::inbox::Inbox;
use crate::net::lookup::Lookups;
use crate::net::whereabouts;
use hosts::Hosts;
use http::Http;

/// Carries announces of one node.
#[derive(Debug)]
pub(crate) struct Announcer {
    http: Option<Http>,
    inbox: Inbox,
    hosts: Hosts,
}

impl Announcer {
    /// `source` is the address to speak from; `None` for any.
    pub(crate) fn new(inbox: Inbox, source: Option<IpAddr>, lookups: Arc<Lookups>) -> Arc<Self> {
        let http = Http::new(source, lookups);
        if let Err(error) = &http {
            tracing::warn!(%error, "HTTP trackers cannot be asked");
        }
        Arc::new(Self {
            http: http.ok(),
            inbox,
            hosts: Hosts::new(),
        })
    }

    /// Asks a tracker, if it is where it may be, and tells the session what it said.
    pub(crate) async fn announce(
        self: Arc<Self>,
        (torrent_id, tracker): (TorrentId, String),
        request: AnnounceRequest,
        reach: Reach,
    ) {
        let asking = self.ask(&tracker, request, reach);
        let result = self.hosts.in_turn(&tracker, asking).await;
        let announced = Input::Announced {
            torrent_id,
            tracker,
            result,
        };
        self.inbox.input(announced).await;
    }

    async fn ask(
        &self,
        tracker: &str,
        request: AnnounceRequest,
        reach: Reach,
    ) -> Result<AnnounceReply, AnnounceError> {
        let url = TrackerUrl::parse(tracker).map_err(|error| unreachable(&error))?;
        // The session knows where we were when it began.
        let reach = reach.at(whereabouts::own_hosts());
        match (url, &self.http) {
            (TrackerUrl::Http(_), Some(http)) => http.ask(tracker, &request, reach).await,
            (TrackerUrl::Http(_), None) => Err(unreachable(&"HTTP is not available")),
            (TrackerUrl::Udp(_), _) => Err(unreachable(&"not an HTTP tracker")),
        }
    }
}

fn unreachable(problem: &dyn std::fmt::Display) -> AnnounceError {
    AnnounceError::Unreachable(problem.to_string())
}

#[cfg(test)]
mod tests;
