//! Datagrams and names: what came goes to whoever asked for it, what they want goes to the driver.
//!
//! UDP trackers are the only ones who ask yet; a DHT, uTP and local discovery get their share of
//! [`Session::datagram`] here.

use std::net::SocketAddr;

use seedbank_ledger::Instant;

use crate::discovery::ResolveError;
use crate::discovery::tracker::udp::client::UdpOutput;
use crate::interface::output::Output;
use crate::session::Session;

impl Session {
    /// A datagram came, from anybody.
    pub(super) fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        self.udp_trackers.handle(from, bytes, now);
        self.heed_datagrams(now);
    }

    /// A host's addresses are known, or it has none.
    pub(super) fn resolved(
        &mut self,
        host: &str,
        port: u16,
        result: &Result<Vec<SocketAddr>, ResolveError>,
        now: Instant,
    ) {
        self.udp_trackers.resolved(host, port, result, now);
        self.heed_datagrams(now);
    }

    /// Repeats what is due.
    pub(super) fn datagrams_due(&mut self, now: Instant) {
        self.udp_trackers.tick(now);
        self.heed_datagrams(now);
    }

    fn heed_datagrams(&mut self, now: Instant) {
        if self.heed_udp_trackers(now) {
            self.announce_due(now);
        }
    }

    /// Carries out what the UDP trackers' client wants; whether an announce is over, upon which
    /// another may be due.
    pub(super) fn heed_udp_trackers(&mut self, now: Instant) -> bool {
        let mut answered = false;
        while let Some(output) = self.udp_trackers.poll_output() {
            match output {
                UdpOutput::Resolve { host, port } => self.emit(Output::Resolve { host, port }),
                UdpOutput::Send { to, bytes } => self.emit(Output::Datagram { to, bytes }),
                UdpOutput::Answered { question, result } => {
                    answered = true;
                    self.tracker_answered(question.torrent_id, &question.tracker, result, now);
                }
            }
        }
        answered
    }
}
