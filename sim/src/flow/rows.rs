//! What is told of a play: the rows of the block tier.

use seedbank_ledger::Duration;

use super::swarm::{FlowPeer, NEVER, Presence};
use super::{FlowPlay, wanted_by};
use crate::play::{FetchRow, PRICE_SHARES, PeerRow, PlayOutcome, SeriesRow, roll};
use crate::stats::{gini, weighted_quantiles};
use crate::watch::WatchReport;

/// Of so many peers it is noted whom they serve.
const GIVERS_SEEN: usize = 4_096;

impl FlowPlay<'_> {
    pub(super) fn series_row(&mut self, at: u64) -> SeriesRow {
        self.see_unchokes();
        let prices = self.credit.prices();
        let (mut leechers, mut seeds, mut uploaded) = (0, 0, 0);
        for peer in &self.swarm.peers {
            uploaded += peer.uploaded;
            if peer.is_there() {
                let population = &self.scenario.populations[usize::from(peer.population)];
                let wants = peer.done_at == NEVER && population.wants();
                leechers += u64::from(wants);
                seeds += u64::from(!wants);
            }
        }
        let held = self.credit.held();
        let sum = held.iter().sum();
        let came = held.iter().zip(&self.swarm.peers);
        let came = came.filter(|(_, peer)| peer.presence != Presence::Expected);
        #[expect(clippy::cast_precision_loss, reason = "a coefficient to read")]
        let held: Vec<f64> = came.map(|(amount, _)| *amount as f64).collect();
        SeriesRow {
            time: seconds(at),
            leechers,
            seeds,
            uploaded: self.scale.bytes(uploaded),
            uplink: self.uplink,
            paid: self.scale.bytes(self.credit.paid_received.iter().sum()),
            spent: self.credit.spent.iter().sum(),
            held: sum,
            held_gini: gini(&held),
            price: weighted_quantiles(&prices, PRICE_SHARES),
            rarest_copies: None,
        }
    }

    /// Notes whom leechers serve; of many, not of all.
    fn see_unchokes(&mut self) {
        let (scenario, swarm) = (self.scenario, &self.swarm);
        let leeches = |place: &usize| {
            let peer = &swarm.peers[*place];
            let wants = || scenario.populations[usize::from(peer.population)].wants();
            peer.presence == Presence::There && peer.done_at == NEVER && wants()
        };
        let count = swarm.peers.len();
        let takers = (0..count).filter(leeches);
        let every = count.div_ceil(GIVERS_SEEN).max(1);
        let givers = || (0..count).step_by(every).filter(leeches);
        let pairs = givers().flat_map(|giver| {
            let place = u32::try_from(giver).expect("peers are numbered by 32 bits");
            let slots = swarm.slots_of(place).iter();
            let served = slots.filter(|slot| slot.class().is_some());
            served.map(move |slot| (giver, slot.neighbour as usize))
        });
        let pairs = pairs.filter(|(_, taker)| leeches(taker));
        self.unchokes.see(takers, givers(), pairs);
    }

    /// Which of its population a peer is.
    pub(super) fn index_of(&self, place: u32) -> u64 {
        let peers = &self.swarm.peers;
        let population = peers[place as usize].population;
        let first = peers.partition_point(|other| other.population < population);
        u64::from(place) - u64::try_from(first).expect("counted")
    }

    pub(super) fn finish(mut self, end: u64) -> PlayOutcome {
        self.credit.check_invariants();
        let lasted = self.now().min(end);
        // The rows of a million peers need the room.
        self.swarm.slots = Vec::new();
        self.swarm.received = Vec::new();
        let uploads = self.uploads();
        let mut refused = self.credit.refused();
        let mut fetches = Vec::new();
        let mut rows = Vec::with_capacity(self.swarm.peers.len());
        for (place, peer) in (0..).zip(&self.swarm.peers) {
            let index = self.index_of(place);
            let population = &self.scenario.populations[usize::from(peer.population)];
            let link = roll::link_of(population, index, self.streams);
            let credit = |of: &Vec<u64>| of.get(place as usize).copied().unwrap_or(0);
            let name = || population.name.clone();
            let has_come = peer.presence != Presence::Expected;
            let done = (peer.done_at != NEVER).then(|| seconds(peer.done_at));
            let joined = has_come.then(|| seconds(peer.comes_at));
            if let Some(begun) = joined.filter(|_| population.wants()) {
                let torrent = &self.scenario.torrents[self.scenario.torrent_of(population)];
                fetches.push(FetchRow {
                    population: name(),
                    index,
                    torrent: torrent.name.clone(),
                    begun,
                    done,
                });
            }
            let bytes = |of: &Vec<u64>| self.scale.bytes(credit(of));
            rows.push(PeerRow {
                population: name(),
                index,
                identity: 0,
                uplink: link.uplink,
                downlink: link.downlink.unwrap_or(u64::MAX),
                joined,
                first_piece: (peer.first_at != NEVER).then(|| seconds(peer.first_at)),
                done,
                left: (peer.left_at != NEVER).then(|| seconds(peer.left_at)),
                wanted: wanted_by(self.scenario, population),
                uploaded: uploads[place as usize],
                downloaded: self.downloaded(peer),
                wasted: 0,
                paid_sent: bytes(&self.credit.paid_sent),
                paid_received: bytes(&self.credit.paid_received),
                granted: credit(&self.credit.granted),
                spent: credit(&self.credit.spent),
                earned: credit(&self.credit.earned),
                unpaid: 0,
                keys: 1,
                boost_refused: refused.remove(&place),
            });
        }
        PlayOutcome {
            peers: rows,
            fetches,
            series: self.series,
            unchokes: self.unchokes.rows(),
            lasted: Duration::from_nanos(lasted),
            handled: self.number,
            signatures: None,
            checks: WatchReport::default(),
        }
    }

    /// Whole bytes that came, to the nearest: who has everything has its length.
    fn downloaded(&self, peer: &FlowPeer) -> u64 {
        if peer.presence == Presence::Expected {
            return 0;
        }
        let half = self.scale.units(1) / 2;
        self.scale.bytes(peer.content - peer.brought + half)
    }

    /// Whole bytes that each sent: in all as many as came.
    fn uploads(&self) -> Vec<u64> {
        let peers = &self.swarm.peers;
        let came: u64 = peers.iter().map(|peer| self.downloaded(peer)).sum();
        let sent = peers.iter().map(|peer| self.scale.bytes(peer.uploaded));
        let mut sent: Vec<u64> = sent.collect();
        let all: u64 = sent.iter().sum();
        // Less than a byte of each was cut off: whoever sent most has what is left of it.
        if let Some(most) = sent.iter_mut().max() {
            *most = (*most + came).saturating_sub(all);
        }
        sent
    }
}

fn seconds(at: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a time to read, of at most 2^53 ns"
    )]
    let nanos = at as f64;
    nanos / 1e9
}
