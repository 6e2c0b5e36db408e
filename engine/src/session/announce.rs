//! Trackers: what is due is asked, what they answer becomes addresses. How a UDP tracker is asked
//! is the business of [`UdpClient`](crate::discovery::tracker::udp::client::UdpClient).

use seedbank_ledger::Instant;

use crate::discovery::addresses::PeerSource;
use crate::discovery::reach::Reach;
use crate::discovery::tracker::udp::client::UdpQuestion;
use crate::discovery::tracker::url::TrackerUrl;
use crate::discovery::tracker::{AnnounceError, AnnounceEvent, AnnounceReply, AnnounceRequest};
use crate::interface::event::SessionEvent;
use crate::interface::output::Output;
use crate::session::Session;
use crate::session::torrent::{Content, Torrent};
use crate::units::TorrentId;

/// Peers asked for in an announce.
const NUM_WANT: u32 = 100;
/// A torrent that downloads with fewer connections than this asks for more peers early.
pub(super) const PEERS_FEW: usize = 5;

impl Session {
    /// Announces whatever is due.
    pub(super) fn announce_due(&mut self, now: Instant) {
        loop {
            for (torrent_id, tracker, request) in self.announces_due(now) {
                self.ask_tracker(torrent_id, tracker, request);
            }
            // One that failed at once makes the next tracker due.
            if !self.heed_udp_trackers(now) {
                return;
            }
        }
    }

    fn announces_due(&mut self, now: Instant) -> Vec<(TorrentId, String, AnnounceRequest)> {
        let mut announces = Vec::new();
        for torrent in self.torrents.values_mut() {
            // What is left is not known, and nobody could connect.
            if torrent.is_running() && matches!(torrent.content, Content::Checking(_)) {
                continue;
            }
            while let Some(announce) = torrent.trackers.poll(now) {
                let (uploaded, downloaded) = torrent.announced();
                let request = AnnounceRequest {
                    info_hash: torrent.info_hash,
                    client_id: torrent.own_name.client_id,
                    port: self.config.listen_port,
                    uploaded,
                    downloaded,
                    left: torrent.left(),
                    event: announce.event,
                    num_want: if announce.event == AnnounceEvent::Stopped {
                        0
                    } else {
                        NUM_WANT
                    },
                    key: torrent.own_name.announce_key,
                };
                announces.push((torrent.torrent_id, announce.url, request));
            }
        }
        announces
    }

    /// Over UDP ourselves; anything else is the driver's.
    fn ask_tracker(&mut self, torrent_id: TorrentId, tracker: String, request: AnnounceRequest) {
        let torrent = self.torrents.get(&torrent_id);
        let typed = torrent.is_some_and(|torrent| torrent.record.trackers.contains(&tracker));
        let reach = Reach::new(self.config.home)
            .at(self.config.own_hosts)
            .typed(typed);
        match TrackerUrl::parse(&tracker) {
            Ok(TrackerUrl::Udp(target)) => {
                let question = UdpQuestion {
                    torrent_id,
                    tracker,
                };
                let ids = [(); 2].map(|()| self.transaction_ids.draw());
                self.udp_trackers.ask(question, target, request, reach, ids);
            }
            Ok(TrackerUrl::Http(_)) | Err(_) => self.emit(Output::Announce {
                torrent_id,
                tracker,
                request,
                reach,
            }),
        }
    }

    /// A tracker answered the driver or did not.
    pub(super) fn announced(
        &mut self,
        torrent_id: TorrentId,
        tracker: &str,
        result: Result<AnnounceReply, AnnounceError>,
        now: Instant,
    ) {
        self.tracker_answered(torrent_id, tracker, result, now);
        self.announce_due(now);
    }

    /// What follows from an answer, but for the announces that it makes due.
    pub(super) fn tracker_answered(
        &mut self,
        torrent_id: TorrentId,
        tracker: &str,
        result: Result<AnnounceReply, AnnounceError>,
        now: Instant,
    ) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else {
            return;
        };
        torrent.trackers.answered(tracker, result.as_ref(), now);
        match result {
            Ok(reply) => {
                reply
                    .peers
                    .into_iter()
                    .for_each(|addr| torrent.addresses.add(addr, PeerSource::Tracker));
                self.dial_due(now);
            }
            Err(error) => {
                let tracker = tracker.to_owned();
                let reason = error.to_string();
                let failed = SessionEvent::TrackerFailed {
                    torrent_id,
                    tracker,
                    reason,
                };
                self.emit(Output::Event(failed));
            }
        }
    }

    /// Downloads that know too few peers ask again before their time.
    pub(super) fn hurry_trackers(&mut self, now: Instant) {
        let lonely = |torrent: &&mut Torrent| {
            torrent.is_active() && !torrent.is_seed() && torrent.peers.len() < PEERS_FEW
        };
        for torrent in self.torrents.values_mut().filter(lonely) {
            torrent.trackers.hurry(now);
        }
        self.announce_due(now);
    }
}
