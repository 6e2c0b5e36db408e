//! A step: what is planned and decided, what flows, and who has everything.

use std::thread;

use seedbank_ledger::Instant;

use super::choking::{ChokeScene, ChokeScratch};
use super::coming::FlowTurn;
use super::content::{Face, whole};
use super::credit::CreditRound;
use super::moving::{Motion, MotionTold};
use super::sharing::scaled;
use super::swarm::{FlowPeer, FlowSlot, NEVER, Presence};
use super::{FlowPlay, FlowTorrent, LeecherSums};
use crate::scenario::SeedingPlan;
use crate::streams::Purpose;

/// Units by which rounding may leave somebody short: fewer than a flow each.
const ROUNDING: u64 = 1_024;

impl FlowPlay<'_> {
    pub(super) fn step(&mut self) {
        self.put_out();
        self.plan_credit();
        self.choke_all();
        self.offer_all();
        self.take_all();
        self.send_all();
        self.settle();
        self.number += 1;
        if self.scenario.run.paranoid || cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    /// What seeds sent is of use to all only after a while, in three stages, each a first-order
    /// lag: until its piece is whole, half the time of a piece at the rate at which a seed sends to
    /// one of those it serves; until the one who has it has passed it on to all whom it serves at
    /// its own rate, which is what keeps a piece that went to a slow peer; and until those have.
    fn put_out(&mut self) {
        for torrent in &mut self.torrents {
            let LeecherSums {
                count,
                uplink,
                turns,
                slots,
            } = torrent.leechers;
            let (sent, flows) = torrent.seeded;
            let whole = ratio(flows.saturating_mul(torrent.piece) / 2, sent);
            let first = turns / count.max(1);
            // Every time, who has it gives it to as many as it has slots.
            let hops = hops(count, slots / count.max(1)).saturating_sub(1_024);
            let again = ratio(slots.saturating_mul(torrent.piece), uplink);
            let more = scaled_up(again, hops);
            let mut source = torrent.injected;
            for (stage, lag) in torrent.stages.iter_mut().zip([whole, first, more]) {
                let waiting = source - *stage;
                let is_last = source == torrent.length && waiting < torrent.piece / 2;
                *stage += match is_last {
                    true => waiting,
                    false => scaled(waiting, 1_024, lag.saturating_add(1_024)),
                };
                source = *stage;
            }
        }
    }

    fn plan_credit(&mut self) {
        let now = Instant::from_nanos(self.now());
        if self.scenario.network.is_none() {
            return;
        }
        let out: Vec<Face> = self.torrents.iter().map(|it| Face::of(it.out())).collect();
        let (swarm, rules, interest) = (&self.swarm, &self.rules, &self.interest);
        let (torrents, number, steps) = (&self.torrents, self.number, self.steps);
        let torrent_of = |peer: u32| {
            let population = swarm.peers[peer as usize].population;
            rules[usize::from(population)].torrent as usize
        };
        let round = CreditRound {
            now,
            is_settlement_away: self.is_settlement_away(),
            is_round: self.number.is_multiple_of(self.steps),
            swarm,
            asks: &self.asks,
            left: &|peer| torrents[torrent_of(peer)].length - swarm.peers[peer as usize].content,
            begins: &|peer| {
                let it = &swarm.peers[peer as usize];
                let gives = rules[usize::from(it.population)].gives;
                let has_some = swarm.faces[peer as usize] != Face::NONE;
                gives && has_some && u64::from(it.phase) == (number + steps - 1) % steps
            },
            wants: &|peer, of| {
                let pair = u64::from(of) << 32 | u64::from(peer);
                let [have, gives] = [swarm.have[peer as usize], swarm.faces[of as usize]];
                interest.holds(have, gives, out[torrent_of(peer)], pair)
            },
        };
        self.credit.plan(&round);
        let (pairs, bytes) = self.credit.pairs();
        self.size.pairs_max = self.size.pairs_max.max(pairs);
        self.size.pair_bytes = bytes;
    }

    fn choke_all(&mut self) {
        let out: Vec<Face> = self.torrents.iter().map(|it| Face::of(it.out())).collect();
        let scene = ChokeScene {
            now_ms: u32::try_from(self.number * self.step_ms).unwrap_or(u32::MAX - 1),
            round_ms: u32::try_from(self.step_ms * self.steps).expect("ten seconds"),
            phase: u16::try_from(self.number % self.steps).expect("few steps"),
            steps: u16::try_from(self.steps).expect("few steps"),
            have: &self.swarm.have,
            faces: &self.swarm.faces,
            received: &self.swarm.received,
            stride: self.swarm.stride,
            rules: &self.rules,
            out: &out,
            interest: &self.interest,
            scale: self.scale,
            credit: &self.credit,
        };
        let told = in_parts(
            self.scenario.run.threads,
            self.swarm.stride,
            (&mut self.swarm.peers, &mut self.swarm.slots),
            |first, peers, slots| {
                let mut scratch = ChokeScratch::default();
                let own = slots.chunks_mut(scene.stride);
                for (place, (peer, own)) in (first..).zip(peers.iter().zip(own)) {
                    scene.choke(place, peer, own, &mut scratch);
                }
                (scratch.news, scratch.rounds)
            },
        );
        for (news, rounds) in told {
            self.credit.hear(&news);
            self.size.rounds += rounds;
        }
    }

    fn offer_all(&mut self) {
        for cells in [
            &mut self.inflow.offered,
            &mut self.inflow.fresh,
            &mut self.inflow.came,
        ] {
            cells.iter_mut().for_each(|cell| *cell.get_mut() = 0);
        }
        self.inflow
            .sources
            .iter_mut()
            .for_each(|cell| *cell.get_mut() = 0);
        let motion = Motion {
            rules: &self.rules,
            have: &self.swarm.have,
            received: &self.swarm.received,
            stride: self.swarm.stride,
            credit: &self.credit,
            inflow: &self.inflow,
        };
        in_parts(
            self.scenario.run.threads,
            self.swarm.stride,
            (&mut self.swarm.peers, &mut self.swarm.slots),
            |first, peers, slots| {
                let own = slots.chunks(motion.stride);
                for (place, (peer, own)) in (first..).zip(peers.iter().zip(own)) {
                    motion.offer(place, peer, own);
                }
            },
        );
    }

    /// How much each takes: what its line lets through, and what of that leechers have.
    fn take_all(&mut self) {
        for torrent in &mut self.torrents {
            torrent.leechers = LeecherSums::default();
        }
        for (place, peer) in self.swarm.peers.iter_mut().enumerate() {
            let rules = &self.rules[usize::from(peer.population)];
            let torrent = &mut self.torrents[rules.torrent as usize];
            let left = torrent.length - peer.content;
            let is_seed = self.swarm.have[place].is_seed();
            if rules.gives && peer.uplink > 0 && !is_seed && peer.presence == Presence::There {
                let slots = rules.policy.slots as u64;
                torrent.leechers.count += 1;
                torrent.leechers.uplink += peer.uplink;
                torrent.leechers.slots += slots;
                torrent.leechers.turns += ratio(slots.saturating_mul(torrent.piece), peer.uplink);
            }
            self.inflow.known[place] = torrent.out().saturating_sub(peer.content);
            self.inflow.taken[place] = peer.downlink.min(left);
            let sources = *self.inflow.sources[place].get_mut();
            peer.sources = u8::try_from(sources).unwrap_or(u8::MAX);
        }
    }

    fn send_all(&mut self) {
        let torrents = self.torrents.len();
        let fresh = || MotionTold {
            injected: vec![(0, 0); torrents],
            ..MotionTold::default()
        };
        let motion = Motion {
            rules: &self.rules,
            have: &self.swarm.have,
            received: &self.swarm.received,
            stride: self.swarm.stride,
            credit: &self.credit,
            inflow: &self.inflow,
        };
        let (peers, slots) = (&mut self.swarm.peers, &mut self.swarm.slots);
        let told = if self.is_exact {
            let mut told = fresh();
            motion.send_fairly(peers, slots, &mut self.fair, &mut told);
            vec![told]
        } else {
            let threads = self.scenario.run.threads;
            in_parts(
                threads,
                motion.stride,
                (peers, slots),
                |first, peers, slots| {
                    let mut told = fresh();
                    let own = slots.chunks_mut(motion.stride);
                    for (place, (peer, own)) in (first..).zip(peers.iter_mut().zip(own)) {
                        motion.send_scaled(place, peer, own, &mut told);
                    }
                    told
                },
            )
        };
        for torrent in &mut self.torrents {
            torrent.seeded = (0, 0);
        }
        for told in told {
            for (payee, slot, units) in told.paid {
                self.credit.pay(payee as usize, slot as usize, units);
            }
            for (torrent, (sent, flows)) in self.torrents.iter_mut().zip(told.injected) {
                torrent.seeded.0 += sent;
                torrent.seeded.1 += flows;
                torrent.injected = torrent.injected.saturating_add(sent).min(torrent.length);
            }
        }
    }

    /// Everybody has what came, and some have everything, each at its own moment.
    fn settle(&mut self) {
        let (begin, step) = (self.now(), self.step_ms * 1_000_000);
        for place in 0..self.swarm.peers.len() {
            let came = *self.inflow.came[place].get_mut();
            let peer = &mut self.swarm.peers[place];
            if came == 0 {
                continue;
            }
            let torrent = &self.torrents[self.rules[usize::from(peer.population)].torrent as usize];
            let left = torrent.length - peer.content;
            assert!(came <= left, "nobody gets more than it lacks");
            peer.content += came;
            // Pieces come side by side, one from each source.
            let sources = u64::from(peer.sources.max(1));
            let of_first = sources
                .saturating_mul(torrent.piece)
                .min(torrent.length - peer.brought);
            let new = peer.content - peer.brought;
            if peer.first_at == NEVER && new >= of_first {
                peer.first_at = begin + scaled(step, of_first - (new - came).min(of_first), came);
            }
            if left - came > ROUNDING {
                show(
                    peer,
                    torrent,
                    &mut self.swarm.have[place],
                    &mut self.swarm.faces[place],
                );
                continue;
            }
            // It would have come at this rate had there been more.
            let offered = (*self.inflow.offered[place].get_mut())
                .min(peer.downlink)
                .max(left);
            let at = begin + scaled(step, left, offered);
            peer.done_at = at;
            self.waiting -= 1;
            self.swarm.have[place] = Face::SEED;
            self.swarm.faces[place] = Face::SEED;
            self.stay(u32::try_from(place).expect("counted"), at);
        }
    }

    /// How long somebody stays who has everything.
    fn stay(&mut self, place: u32, at: u64) {
        let peer = &self.swarm.peers[place as usize];
        let population = &self.scenario.populations[usize::from(peer.population)];
        match population.seeding {
            SeedingPlan::Forever => {}
            SeedingPlan::For { time } => {
                let (name, index) = (&population.name, self.index_of(place));
                let mut rng = self.streams.draw(Purpose::Seeding, name, index);
                let until = at.saturating_add(time.draw(&mut rng).as_nanos());
                self.agenda.insert((until, place, FlowTurn::Leaves));
            }
            SeedingPlan::Ratio { at_most, .. } => {
                let until = at.saturating_add(at_most.0.as_nanos());
                self.agenda.insert((until, place, FlowTurn::Leaves));
                self.looking.push(place);
            }
        }
    }

    fn check_invariants(&self) {
        self.credit.check_invariants();
        let sum = |of: fn(&FlowPeer) -> u64| {
            let peers = self.swarm.peers.iter();
            peers.map(|peer| u128::from(of(peer))).sum::<u128>()
        };
        let there = |peer: &FlowPeer| match peer.presence {
            Presence::Expected => 0,
            Presence::There | Presence::Away | Presence::Gone => peer.content - peer.brought,
        };
        assert_eq!(sum(|peer| peer.uploaded), sum(there), "what is sent comes");
        for peer in &self.swarm.peers {
            let torrent = &self.torrents[self.rules[usize::from(peer.population)].torrent as usize];
            let is_done = peer.done_at != NEVER || peer.brought == torrent.length;
            let known = torrent.injected.saturating_add(ROUNDING);
            assert!(
                is_done || peer.content <= known,
                "nobody has what nobody sent out"
            );
        }
    }
}

/// A ratio in 1024ths; of nothing it is none.
fn ratio(amount: u64, of: u64) -> u64 {
    let part = (u128::from(amount) << 10).checked_div(u128::from(of));
    u64::try_from(part.unwrap_or(0)).unwrap_or(u64::MAX >> 16)
}

/// So many 1024ths of an amount.
fn scaled_up(amount: u64, by: u64) -> u64 {
    u64::try_from((u128::from(amount) * u128::from(by)) >> 10).unwrap_or(u64::MAX >> 16)
}

/// How often something is passed on until so many have it, of whom each gives it to `slots` others,
/// in 1024ths.
fn hops(count: u64, slots: u64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let hops = |count: u64| {
        let times = libm::log(count as f64) / libm::log(slots.max(1) as f64 + 1.0);
        (times * 1_024.0) as u64
    };
    hops(count.max(1))
}

/// What others see of a peer.
pub(super) fn show(peer: &FlowPeer, torrent: &FlowTorrent, have: &mut Face, gives: &mut Face) {
    let new = peer.content - peer.brought;
    let given = peer.brought + whole(new, u64::from(peer.sources), torrent.piece);
    *have = Face::of(peer.content);
    *gives = Face::of(given);
}

/// Hands every thread its part of the peers and their slots; what each comes to, in order.
fn in_parts<T: Send>(
    threads: usize,
    stride: usize,
    (peers, slots): (&mut [FlowPeer], &mut [FlowSlot]),
    work: impl Fn(usize, &mut [FlowPeer], &mut [FlowSlot]) -> T + Sync,
) -> Vec<T> {
    let size = peers.len().div_ceil(threads).max(1);
    let parts = peers.chunks_mut(size).zip(slots.chunks_mut(size * stride));
    if threads == 1 {
        return parts.map(|(peers, slots)| work(0, peers, slots)).collect();
    }
    thread::scope(|scope| {
        let work = &work;
        let parts = parts
            .enumerate()
            .map(|(number, (peers, slots))| scope.spawn(move || work(number * size, peers, slots)));
        let running: Vec<_> = parts.collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended
            .map(|told| told.expect("it panicked only if we did"))
            .collect()
    })
}
