//! Random histories against a model that knows only who is asked for what.

use super::{
    BTreeSet, Bitfield, Block, BlockFate, COPIES_MAX, Duration, Instant, NO_LIMIT, PIECE_LEN,
    PeerIndex, PickLimits, Picker, PieceIndex, Rng, SILENT_AFTER, STALL, geometry, piece,
};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use std::collections::BTreeMap;

/// A swarm driven at random, with a model that knows only who is asked for what.
struct Swarm {
    picker: Picker,
    rng: Rng,
    now: Instant,
    asked: BTreeMap<Block, BTreeSet<PeerIndex>>,
    buffers: BTreeSet<PieceIndex>,
    stored: BTreeMap<PieceIndex, BTreeSet<u32>>,
    /// When a peer sent a block last.
    brought: BTreeMap<PeerIndex, Instant>,
    /// Who is connected; an index is never used again.
    peers: Vec<PeerIndex>,
    next_peer: u64,
}

impl Swarm {
    fn step(&mut self) {
        let slot = self.rng.index(self.peers.len());
        let peer = self.peers[slot];
        let piece_count = self.picker.geometry.piece_count();
        let some = piece(u32::try_from(self.rng.below(u64::from(piece_count))).unwrap());
        self.now = self.now.after(Duration::from_millis(self.rng.below(3_000)));
        match self.rng.below(40) {
            0 => {
                let released = self.picker.leave(peer);
                self.withdraw(peer, &released.dropped);
                self.peers[slot] = PeerIndex(self.next_peer);
                self.next_peer += 1;
                self.picker.join(self.peers[slot]);
                self.set_pieces(self.peers[slot]);
            }
            1 => self.set_pieces(peer),
            2..=4 => {
                self.picker.add_piece(peer, some);
            }
            5 => self.picker.set_paid(peer, self.rng.chance(1, 3)),
            6 => {
                let released = self.picker.release(peer);
                self.withdraw(peer, &released.dropped);
            }
            7 => self.refuse(peer),
            8 => self.picker.suggested(peer, some),
            9..=25 => self.arrive(peer),
            _ => self.pick(peer),
        }
        self.picker.check_invariants();
        assert_eq!(self.buffers, self.picker.open.keys().copied().collect());
    }

    fn set_pieces(&mut self, peer: PeerIndex) {
        let piece_count = self.picker.geometry.piece_count();
        let mut has = Bitfield::none(piece_count);
        let percent = self.rng.below(130);
        for piece in self.picker.geometry.pieces() {
            if self.rng.below(100) < percent {
                has.set(piece);
            }
        }
        self.picker.set_pieces(peer, has);
    }

    fn pick(&mut self, peer: PeerIndex) {
        let limits = PickLimits {
            blocks_max: self.rng.index(12),
            open_len_max: PIECE_LEN * self.rng.below(5),
            lease_len_max: PIECE_LEN * self.rng.below(5),
            counted: BTreeMap::new(),
            copies_max: 16,
        };
        let window_before = self.picker.open_len(peer);
        let picked = self.picker.pick(peer, limits.clone(), self.now);
        assert!(picked.blocks.len() <= limits.blocks_max);
        assert!(self.picker.open_len(peer) <= window_before + limits.open_len_max);
        let leased = u64::try_from(picked.leased.len()).unwrap() * PIECE_LEN;
        assert!(leased <= limits.lease_len_max + 100);
        for (other, block) in &picked.cancels {
            assert!(
                self.asked.get_mut(block).unwrap().remove(other),
                "cancel what was asked"
            );
        }
        for dropped in &picked.dropped {
            self.buffers.remove(dropped);
            self.stored.remove(dropped);
        }
        self.buffers.extend(&picked.leased);
        let (brought, now) = (&self.brought, self.now);
        let sends = |peer: &PeerIndex| {
            let at = brought.get(peer);
            at.is_some_and(|at| now.since(*at) < SILENT_AFTER)
        };
        for block in picked.blocks {
            assert!(self.buffers.contains(&block.piece), "no lease, no request");
            let stored = self.stored.get(&block.piece);
            assert!(!stored.is_some_and(|stored| stored.contains(&block.begin)));
            let askers = self.asked.entry(block).or_default();
            assert!(askers.insert(peer), "nobody is asked twice");
            let is_alone = askers.len() == 1;
            assert!(
                is_alone || self.picker.is_end_game() || picked.is_limited,
                "a copy outside end game, and not for want of a buffer"
            );
            let counts = |asker: &&PeerIndex| !sends(&peer) || **asker == peer || sends(asker);
            assert!(askers.iter().filter(counts).count() <= COPIES_MAX);
        }
    }

    fn arrive(&mut self, peer: PeerIndex) {
        let asked_of = |(_, askers): &(&Block, &BTreeSet<PeerIndex>)| askers.contains(&peer);
        let Some((block, _)) = self.asked.iter().find(asked_of) else {
            return;
        };
        let block = *block;
        let arrival = self
            .picker
            .received(peer, block, BlockFate::Stored, self.now);
        self.brought.insert(peer, self.now);
        let others = self.asked.remove(&block).unwrap();
        let cancelled: BTreeSet<PeerIndex> = arrival.cancels.iter().map(|(who, _)| *who).collect();
        let expected: BTreeSet<_> = others.into_iter().filter(|other| *other != peer).collect();
        assert_eq!(cancelled, expected, "everybody else who was asked is told");
        self.stored
            .entry(block.piece)
            .or_default()
            .insert(block.begin);
        let stored = self.stored[&block.piece].len();
        assert_eq!(arrival.piece_is_full, stored == 4);
        if arrival.piece_is_full {
            self.buffers.remove(&block.piece);
            self.stored.remove(&block.piece);
            if self.rng.chance(1, 5) {
                let blame = self.picker.failed(block.piece, self.now).unwrap();
                assert!(!blame.contributors.is_empty());
            } else {
                self.picker.verified(block.piece);
            }
        }
    }

    fn refuse(&mut self, peer: PeerIndex) {
        let asked_of = |(_, askers): &(&Block, &BTreeSet<PeerIndex>)| askers.contains(&peer);
        let Some((block, _)) = self.asked.iter().find(asked_of) else {
            return;
        };
        let block = *block;
        let released = self.picker.refused(peer, block, self.now);
        for (asked, askers) in &mut self.asked {
            if asked.piece == block.piece {
                askers.remove(&peer);
            }
        }
        self.drop_buffers(&released.dropped);
    }

    fn withdraw(&mut self, peer: PeerIndex, dropped: &[PieceIndex]) {
        for askers in self.asked.values_mut() {
            askers.remove(&peer);
        }
        self.drop_buffers(dropped);
    }

    fn drop_buffers(&mut self, dropped: &[PieceIndex]) {
        for piece in dropped {
            assert!(
                self.buffers.remove(piece),
                "only a leased buffer is dropped"
            );
            self.stored.remove(piece);
        }
        self.asked.retain(|_, askers| !askers.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_history_keeps_one_request_per_block_and_ends_complete(
        rng_seed in any::<u64>(), piece_count in 1_u32..25, peer_count in 1_u64..6,
    ) {
        let mut rng = Rng::new(rng_seed);
        let have = Bitfield::none(piece_count);
        let picker = Picker::new(geometry(piece_count), have, rng.fork());
        let mut swarm = Swarm {
            picker,
            rng,
            now: Instant::ZERO,
            asked: BTreeMap::new(),
            buffers: BTreeSet::new(),
            stored: BTreeMap::new(),
            brought: BTreeMap::new(),
            peers: (0..peer_count).map(PeerIndex).collect(),
            next_peer: peer_count,
        };
        for peer in swarm.peers.clone() {
            swarm.picker.join(peer);
            swarm.set_pieces(peer);
        }
        for _ in 0..400 {
            swarm.step();
        }
        // From now on one seed serves whatever it is asked for.
        let seed = PeerIndex(u64::MAX);
        swarm.picker.join(seed);
        swarm.picker.set_pieces(seed, Bitfield::all(piece_count));
        let mut steps = 0;
        while !swarm.picker.is_complete() {
            steps += 1;
            prop_assert!(steps < 200, "it never ends");
            swarm.now = swarm.now.after(STALL);
            let picked = swarm.picker.pick(seed, NO_LIMIT, swarm.now);
            for block in picked.blocks {
                let arrival = swarm.picker.received(seed, block, BlockFate::Stored, swarm.now);
                if arrival.piece_is_full {
                    swarm.picker.verified(block.piece);
                }
            }
            swarm.picker.check_invariants();
        }
        prop_assert_eq!(swarm.picker.lease_len(), 0);
    }
}
