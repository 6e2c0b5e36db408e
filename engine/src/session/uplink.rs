//! The way out: measured while somebody is served as paid, so that the open class leaves the paid
//! one its share of an uplink that nobody told us.

use seedbank_ledger::{Instant, NodeId};

use crate::interface::output::Output;
use crate::session::Session;
use crate::session::peer::Peer;
use crate::transfer::choker::Class;
use crate::transfer::uplink::{Uplink, UplinkFlow, UplinkSample};
use crate::units::PeerIndex;

impl Session {
    /// Begins to measure when the first peer is served as paid. When the last is gone nothing is
    /// capped any more, and a while later nothing measured.
    pub(super) fn measure_while_paid(&mut self, now: Instant) {
        let live = self.peers.values().filter(|peer| peer.live().is_some());
        let paid: Vec<PeerIndex> = live
            .map(|peer| peer.index)
            .filter(|peer| self.is_served_as_paid(*peer))
            .collect();
        if paid.is_empty() {
            if let Some(uplink) = &mut self.uplink {
                uplink.set_idle(now);
                self.uploads.set_open_cap(None, now);
            }
            return;
        }
        if self.uplink.is_none() {
            let has_limit = self.policy.upload_limit.is_some();
            self.uplink = Some(Uplink::new(self.policy.open_share_percent, has_limit));
            self.emit(Output::Measure(true));
        }
        let facts = paid.iter().map(|peer| self.market.peer(*peer));
        let served = facts.filter_map(|facts| Some((facts.node_id?, facts.has_paid)));
        let served: Vec<(NodeId, bool)> = served.collect();
        let uplink = self.uplink.as_mut().expect("made above");
        uplink.set_payers(&served);
    }

    /// A connection is gone, over which so much was sent if it was served as paid.
    pub(super) fn measured_peer_gone(&mut self, peer: PeerIndex, sent: Option<u64>, now: Instant) {
        if let Some(uplink) = &mut self.uplink {
            uplink.closed(peer, sent);
            self.measure_while_paid(now);
        }
    }

    /// How connections fare on their way out.
    pub(super) fn measured(&mut self, samples: &[UplinkSample], now: Instant) {
        let Some(uplink) = &mut self.uplink else {
            return;
        };
        if uplink.is_over(now) {
            self.uplink = None;
            self.emit(Output::Measure(false));
            return;
        }
        let held = self.uploads.take_held();
        let (peers, uploads) = (&self.peers, &self.uploads);
        let flow_of = |peer: PeerIndex| {
            let (side, wanted) = uploads.service_of(peer)?;
            let link = peers.get(&peer).and_then(Peer::live)?;
            let backlog = wanted || link.upload.granted_bytes > 0;
            Some(UplinkFlow { side, backlog })
        };
        let cap = uplink.measured(samples, flow_of, held, now);
        self.uploads.set_open_cap(cap, now);
        self.pump_uploads(now);
    }

    pub(super) fn is_served_as_paid(&self, peer: PeerIndex) -> bool {
        let decision = self.choker.decision(peer);
        decision.is_some_and(|decision| decision.class == Some(Class::Paid))
    }
}
