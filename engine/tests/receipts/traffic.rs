//! The toy sessions: requests, blocks, chokes and hash checks over the streams of the model.

use seedbank_engine::asked::BlockFate;
use seedbank_engine::credit::receipts::{Granted, Service};
use seedbank_engine::units::{Block, PeerIndex, PieceIndex};
use seedbank_ledger::{Bytes, Duration, Rate};

use crate::copies::{Came, Owed};
use crate::node::{Ask, Content, GOOD, Lease, Out, PieceKey, Play, Wire};
use crate::world::{LOCK_TTL_SECS, World};

impl World {
    /// Moves what a node has queued for a peer onto the stream, at most `count` items.
    pub(crate) fn write(&mut self, index: usize, peer: PeerIndex, count: usize) {
        for _ in 0..count {
            let Some(state) = self.nodes[index].peers.get_mut(&peer) else {
                return;
            };
            let Some(out) = state.out.pop_front() else {
                return;
            };
            let wire = match out {
                Out::Wire(wire) => wire,
                Out::Block(block, _, price) => {
                    let len = u64::from(block.len);
                    self.nodes[index].exchange.sent(peer, len, self.now);
                    let content = self.content(index);
                    Wire::Piece(block, content, price)
                }
            };
            let link = self.links.get_mut(&peer).expect("a live end has a link");
            let side = usize::from(link.ends[1] == index);
            if link.alive[1 - side] {
                link.to[1 - side].push_back(wire);
            }
        }
    }

    fn content(&mut self, index: usize) -> Content {
        let spoilt = self.rng.chance(self.spoilt_per_mille, 1_000);
        let garbage = self.nodes[index].play == Play::Garbage && self.rng.chance(1, 3);
        if spoilt || garbage {
            1 + u32::try_from(self.rng.below(1_000)).expect("below 1000")
        } else {
            GOOD
        }
    }

    /// Delivers what is under way to one end, at most `count` messages.
    pub(crate) fn deliver(&mut self, peer: PeerIndex, side: usize, count: usize) {
        for _ in 0..count {
            let Some(link) = self.links.get_mut(&peer) else {
                return;
            };
            if !link.alive[side] {
                return;
            }
            let Some(wire) = link.to[side].pop_front() else {
                return;
            };
            let index = link.ends[side];
            self.receive(index, peer, wire);
        }
    }

    fn receive(&mut self, index: usize, peer: PeerIndex, wire: Wire) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let state = node.peers.get_mut(&peer).expect("a live end has a peer");
        match wire {
            Wire::Receipt(message) => {
                let remote = state.remote;
                let result = node.exchange.handle(peer, message.clone(), now);
                if let Err(violation) = result {
                    node.misbehaved += 1;
                    let play = self.nodes[remote].play;
                    assert!(play.is_past_its_books(), "{violation}: {message:?}");
                    self.drain(index);
                    let side = usize::from(self.links[&peer].ends[1] == index);
                    self.close(peer, side);
                    return;
                }
                self.drain(index);
            }
            Wire::Unchoke => state.unchoked_us = true,
            Wire::Choke => self.choked(index, peer),
            Wire::Request(block, bid) => {
                assert_eq!(
                    node.exchange.bid(peer),
                    bid,
                    "both ends know the bid in force"
                );
                let have = node.have.contains(&(state.torrent_id, block.piece));
                if state.unchoked && have {
                    state.queue.push_back((block, bid));
                } else if state.fast {
                    state.out.push_back(Out::Wire(Wire::Reject(block)));
                }
            }
            Wire::Cancel(block) => self.cancelled(index, peer, block),
            Wire::Reject(block) => {
                forget(&mut state.requested, &block);
                node.refused(peer, block, now);
                self.drain(index);
            }
            Wire::Piece(block, content, price) => {
                self.block_came(index, peer, block, content, price);
            }
        }
    }

    fn choked(&mut self, index: usize, peer: PeerIndex) {
        let hand_on = self.rng.chance(1, 2);
        let node = &mut self.nodes[index];
        let state = node.peers.get_mut(&peer).expect("looked up by the caller");
        state.unchoked_us = false;
        if !state.fast {
            for block in std::mem::take(&mut state.requested) {
                node.refused(peer, block, self.now);
            }
        }
        if hand_on {
            self.hand_on(index, peer);
        }
        self.drain(index);
    }

    /// Every piece leased to this peer may be leased to another from now.
    pub(crate) fn hand_on(&mut self, index: usize, peer: PeerIndex) {
        let node = &mut self.nodes[index];
        for ((_, piece), lease) in &mut node.leases {
            if lease.holder == Some(peer) {
                lease.holder = None;
                node.exchange.hand_on(peer, *piece, self.now);
            }
        }
        self.drain(index);
    }

    fn cancelled(&mut self, index: usize, peer: PeerIndex, block: Block) {
        let state = self.nodes[index].peers.get_mut(&peer);
        let state = state.expect("looked up by the caller");
        if let Some(at) = state.queue.iter().position(|(asked, _)| *asked == block) {
            state.queue.remove(at);
            if state.fast {
                state.out.push_back(Out::Wire(Wire::Reject(block)));
            }
            return;
        }
        let at = state.out.iter().position(|out| match out {
            Out::Block(queued, _, _) => *queued == block,
            Out::Wire(_) => false,
        });
        let Some(at) = at.filter(|_| self.rng.chance(1, 2)) else {
            return;
        };
        let fast = state.fast;
        let out = state.out.remove(at);
        if fast {
            state.out.push_back(Out::Wire(Wire::Reject(block)));
        }
        if let Some(Out::Block(block, Granted::Paid(rate), _)) = out {
            self.take_back(index, peer, block, rate);
        }
    }

    /// Grants the oldest queued request of a peer, or rejects it. False if there is none, or it
    /// has to wait.
    pub(crate) fn serve(&mut self, index: usize, peer: PeerIndex) -> bool {
        let now = self.now;
        if self.holds_back(index, peer) {
            return false;
        }
        let Some(state) = self.nodes[index].peers.get_mut(&peer) else {
            return false;
        };
        let (payer, quoted, seat) = (state.key, state.quote_said, state.seat);
        let Some((block, bid)) = state.queue.pop_front() else {
            return false;
        };
        let node = &mut self.nodes[index];
        let granted = node.exchange.grant(peer, block.len, bid, now);
        let view = node.exchange.pair(payer);
        let state = node.peers.get_mut(&peer).expect("looked up above");
        match (granted, bid.is_zero(), quoted) {
            (Granted::Paid(_), _, _) => {}
            (Granted::Open, true, _) => self.blocks_open[0] += 1,
            (Granted::Open, false, Service::Open) => self.blocks_open[1] += 1,
            (Granted::Open, false, Service::Paid { .. }) => self.blocks_open[2] += 1,
            (Granted::Waits, _, _) => {
                self.blocks_waited += 1;
                state.queue.push_front((block, bid));
                self.drain(index);
                return false;
            }
            (Granted::Underbid, _, _) => {
                self.blocks_underbid += 1;
                assert!(state.fast, "a paid seat needs the Fast Extension");
                state.out.push_back(Out::Wire(Wire::Reject(block)));
                self.drain(index);
                return true;
            }
        }
        self.count_underpriced(index, seat, granted, block.len);
        if let Granted::Paid(rate) = granted {
            let view = view.expect("a payer has a pair");
            assert!(view.exposure <= view.limit, "L7: {view:?}");
            assert!(!rate.is_zero());
            let pair = (payer, self.nodes[index].id());
            *self.truth.granted.entry(pair).or_default() += u64::from(block.len);
        }
        self.drain(index);
        let says_anything = self.nodes[index].play.serves_as_it_likes();
        let Some(state) = self.nodes[index].peers.get_mut(&peer) else {
            return false;
        };
        // The outputs are out: what the stream now says gives the block its price.
        let price = state.quote_said.price(bid);
        let expected = match granted {
            Granted::Paid(rate) => rate,
            Granted::Open | Granted::Waits | Granted::Underbid => Rate::ZERO,
        };
        assert!(
            price == expected || says_anything,
            "the payee prices by stream order: {price}, not {expected}"
        );
        let price = if state.fast { price } else { Rate::ZERO };
        state.out.push_back(Out::Block(block, granted, price));
        true
    }

    /// The choker looks at one peer.
    pub(crate) fn rechoke(&mut self, index: usize, peer: PeerIndex, unchoke: bool, paid: bool) {
        let cap = match self.rng.index(4) {
            0 => Rate::new(100_000 + self.rng.below(3_000_000)),
            _ => Rate::MAX,
        };
        let node = &mut self.nodes[index];
        let Some(state) = node.peers.get_mut(&peer) else {
            return;
        };
        let unchoke = unchoke && !node.whims.choked.contains(&state.remote);
        let eligible = node.exchange.is_paid_eligible(peer, self.now);
        let class = if eligible && paid && unchoke {
            Service::Paid { cap }
        } else {
            Service::Open
        };
        let turned = state.unchoked != unchoke;
        state.unchoked = unchoke;
        state.seat = match class {
            Service::Open => None,
            Service::Paid { cap } => Some((node.exchange.bid(peer), cap)),
        };
        let queued: Vec<(Block, Rate)> = if unchoke {
            Vec::new()
        } else {
            state.queue.drain(..).collect()
        };
        if state.fast {
            let rejects = queued.iter().map(|(block, _)| Wire::Reject(*block));
            state.out.extend(rejects.map(Out::Wire));
        }
        node.exchange.set_quote(peer, class);
        self.drain(index);
        if !unchoke {
            self.take_back_unsent(index, peer);
        }
        if let Some(state) = self.nodes[index].peers.get_mut(&peer)
            && turned
        {
            let wire = if unchoke { Wire::Unchoke } else { Wire::Choke };
            state.out.push_back(Out::Wire(wire));
        }
    }

    fn take_back_unsent(&mut self, index: usize, peer: PeerIndex) {
        let Some(state) = self.nodes[index].peers.get_mut(&peer) else {
            return;
        };
        let mut taken = Vec::new();
        let fast = state.fast;
        for out in &mut state.out {
            if let Out::Block(block, granted, _) = out {
                taken.push((*block, *granted));
                *out = Out::Wire(Wire::Reject(*block));
            }
        }
        if !fast {
            state
                .out
                .retain(|out| !matches!(out, Out::Wire(Wire::Reject(_))));
        }
        for (block, granted) in taken {
            if let Granted::Paid(rate) = granted {
                self.take_back(index, peer, block, rate);
            }
        }
    }

    /// Asks a peer for a block, or for one more. True if a request went out.
    pub(crate) fn request(&mut self, index: usize, peer: PeerIndex, end_game: bool) -> bool {
        let Some(state) = self.nodes[index].peers.get(&peer) else {
            return false;
        };
        let is_parked = self.nodes[index].whims.is_parked;
        if !state.unchoked_us || state.requested.len() >= 12 || is_parked {
            return false;
        }
        let torrent_id = state.torrent_id;
        let geometry = self.geometry(torrent_id);
        let Some(piece) = self.pick(index, peer, end_game) else {
            return false;
        };
        let key = (torrent_id, piece);
        let now = self.now;
        let wants = geometry.block_count(piece);
        let first = u32::try_from(self.rng.below(u64::from(wants))).expect("a block number");
        let node = &mut self.nodes[index];
        let lease = node.leases.entry(key).or_insert_with(|| Lease {
            blocks: vec![None; usize::try_from(wants).expect("small")],
            holder: None,
            from: std::collections::BTreeSet::new(),
            moved_at: now,
            owed: Vec::new(),
        });
        if !end_game {
            lease.holder = Some(peer);
            lease.moved_at = now;
        }
        let state = node.peers.get_mut(&peer).expect("looked up above");
        let missing = (0..wants).map(|n| (n + first) % wants).find_map(|n| {
            let block = geometry.block(piece, n).expect("a block of the piece");
            let empty = lease.blocks[usize::try_from(n).expect("small")].is_none();
            let asked = state.requested.contains(&block);
            (end_game || empty && !asked).then_some(block)
        });
        let Some(block) = missing else {
            return false;
        };
        state.requested.push(block);
        let bid = state.bid_said;
        node.request(peer, block, geometry.len_of(piece));
        self.drain(index);
        if let Some(state) = self.nodes[index].peers.get_mut(&peer) {
            state.out.push_back(Out::Wire(Wire::Request(block, bid)));
        }
        true
    }

    /// A piece to ask this peer for: the one leased to it, or one that it has and nobody holds. In
    /// the end game, one that somebody else holds.
    fn pick(&mut self, index: usize, peer: PeerIndex, end_game: bool) -> Option<PieceIndex> {
        let node = &self.nodes[index];
        let state = &node.peers[&peer];
        let (torrent_id, remote) = (state.torrent_id, state.remote);
        let geometry = self.geometry(torrent_id);
        let complete = node.have_count.get(&torrent_id) == Some(&geometry.piece_count());
        if complete || node.banned.contains(&remote) {
            return None;
        }
        let window_left = node.exchange.window_left(peer).get();
        let counted = node.exchange.counted(peer);
        let fits = |piece: PieceIndex| {
            // As the picker decides it.
            let len = u64::from(geometry.len_of(piece));
            let counted = counted.get(&piece).copied().unwrap_or(0);
            len.saturating_sub(counted) <= window_left
        };
        let has = |piece: PieceIndex| {
            let key = (torrent_id, piece);
            // Another peer, if there is one that has it: two leechers that both avoid the only seed
            // would wait for each other.
            let avoided = node.avoid.get(&key).is_some_and(|by| {
                let mut others = node.peers.values().map(|state| state.remote);
                let better = |other: usize| {
                    let has = self.nodes[other].have.contains(&key);
                    has && !by.contains(&other) && !node.banned.contains(&other)
                };
                by.contains(&remote) && others.any(better)
            });
            !node.have.contains(&key) && self.nodes[remote].have.contains(&key) && !avoided
        };
        let mut own = node.leases.iter().filter(|((of, piece), lease)| {
            let wanted = *of == torrent_id && lease.holder == Some(peer) && has(*piece);
            wanted
                && (0..).zip(&lease.blocks).any(|(n, there)| {
                    let block = geometry.block(*piece, n).expect("a block of the piece");
                    there.is_none() && !state.requested.contains(&block)
                })
        });
        if let (Some(((_, own), _)), false) = (own.next(), end_game) {
            return fits(*own).then_some(*own);
        }
        let count = geometry.piece_count();
        let first = u32::try_from(self.rng.below(u64::from(count))).expect("a piece number");
        let mut pieces = (0..count).filter_map(|n| PieceIndex::new((n + first) % count, &geometry));
        pieces.find(|piece| {
            let lease = node.leases.get(&(torrent_id, *piece));
            let holder = lease.and_then(|lease| lease.holder);
            let held = holder.is_some_and(|holder| holder != peer);
            held == end_game && holder != Some(peer) && has(*piece) && fits(*piece)
        })
    }

    fn block_came(
        &mut self,
        index: usize,
        peer: PeerIndex,
        block: Block,
        content: Content,
        price: Rate,
    ) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let state = node.peers.get_mut(&peer).expect("looked up by the caller");
        let (torrent_id, remote, payee) = (state.torrent_id, state.remote, state.key);
        let key: PieceKey = (torrent_id, block.piece);
        let asked = forget(&mut state.requested, &block);
        let had = node.have.contains(&key);
        let me = self.nodes[index].id();
        let len = Bytes::new(u64::from(block.len));
        let node = &mut self.nodes[index];
        let slot = usize::try_from(block.index().expect("on the grid")).expect("small");
        let lease = node.leases.get_mut(&key);
        let fate = match (asked, had, lease) {
            (false, _, _) => BlockFate::Unrequested,
            (true, true, _) if content == GOOD => BlockFate::Equal,
            (true, true, _) => BlockFate::Different,
            (true, false, None) => BlockFate::Void,
            (true, false, Some(lease)) => match lease.blocks[slot] {
                None => {
                    lease.blocks[slot] = Some(content);
                    lease.from.insert(remote);
                    lease.moved_at = now;
                    let came = Came::Needed;
                    lease.owed.push(Owed {
                        payee,
                        len,
                        rate: price,
                        came,
                    });
                    BlockFate::Stored
                }
                Some(there) if there == content => {
                    let copies = &mut self.truth.copies;
                    lease
                        .owed
                        .push(copies.came(me, payee, torrent_id, (len, price)));
                    BlockFate::Equal
                }
                Some(_) => BlockFate::Different,
            },
        };
        if had && fate == BlockFate::Equal {
            let copies = &mut self.truth.copies;
            let copy = copies.came(me, payee, torrent_id, (len, price));
            self.count_verified(index, &[copy]);
        }
        let node = &mut self.nodes[index];
        node.block_came(peer, block, fate, had, now);
        if !self.drain(index) {
            self.check_piece(index, key);
        }
    }

    /// Hashes a piece once every block is there.
    fn check_piece(&mut self, index: usize, key: PieceKey) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let Some(lease) = node.leases.get(&key) else {
            return;
        };
        if !lease.blocks.iter().all(Option::is_some) {
            return;
        }
        let good = lease.blocks.iter().all(|block| *block == Some(GOOD));
        let lease = node.leases.remove(&key).expect("looked up above");
        if good {
            self.count_verified(index, &lease.owed);
            self.nodes[index].exchange.verified(key.0, key.1, now);
            // The have bit is written after the due (S3): a crash between loses the piece.
            if !self.drain(index) {
                self.nodes[index].has(key);
            }
            return;
        }
        node.exchange.discarded(key.0, key.1, now);
        let garbage_alone = lease.from.len() == 1;
        for remote in lease.from {
            let garbage = self.nodes[remote].play == Play::Garbage;
            let node = &mut self.nodes[index];
            if garbage_alone && garbage {
                node.banned.insert(remote);
            }
            node.avoid.entry(key).or_default().insert(remote);
        }
        self.drain(index);
    }

    /// The settlement node answers a node's oldest question.
    pub(crate) fn settle(&mut self, index: usize) {
        let unix = self.unix();
        let Some(ask) = self.nodes[index].asks.pop_front() else {
            return;
        };
        let me = self.nodes[index].id();
        let status = match ask {
            Ask::Status(lock_id) => self.settlement.status(lock_id),
            Ask::Claim(claim) => {
                let status = self.settlement.claim(&claim);
                self.check_claims();
                status
            }
            Ask::Close(lock_id) => self.settlement.close(me, lock_id),
            Ask::Open { payee, amount } => {
                self.settlement.open(me, payee, amount, LOCK_TTL_SECS, unix)
            }
            Ask::TopUp { lock_id, amount } => {
                self.settlement.top_up(lock_id, amount, LOCK_TTL_SECS, unix)
            }
        };
        if let Some(status) = status {
            self.nodes[index].exchange.lock_status(&status, self.now);
            self.drain(index);
        }
    }

    /// What a node's session would hear of its own locks by watching its account.
    pub(crate) fn watch(&mut self, index: usize) {
        let me = self.nodes[index].id();
        let own: Vec<_> = self
            .settlement
            .locks
            .values()
            .filter(|status| status.lock.body.payer == me)
            .copied()
            .collect();
        for status in own {
            self.nodes[index].exchange.lock_status(&status, self.now);
        }
        self.drain(index);
    }

    /// Pieces of which nothing came for 30 s are handed on.
    pub(crate) fn hand_on_stalled(&mut self, index: usize) {
        let now = self.now;
        let stallers: Vec<bool> = self
            .nodes
            .iter()
            .map(|node| node.play.serves_as_it_likes())
            .collect();
        let node = &mut self.nodes[index];
        for (key, lease) in &mut node.leases {
            let (_, piece) = key;
            if now.since(lease.moved_at) < Duration::from_secs(30) {
                continue;
            }
            lease.moved_at = now;
            if let Some(peer) = lease.holder.take() {
                node.exchange.hand_on(peer, *piece, now);
                let state = node.peers.get_mut(&peer).expect("a holder is connected");
                if stallers[state.remote] {
                    // A snub: whoever else has the piece is asked first.
                    node.avoid.entry(*key).or_default().insert(state.remote);
                }
                // Without the Fast Extension a request may be lost without a word.
                if !state.fast {
                    state.requested.retain(|block| block.piece != *piece);
                }
            }
        }
        self.drain(index);
    }
}

fn forget(requested: &mut Vec<Block>, block: &Block) -> bool {
    match requested.iter().position(|asked| asked == block) {
        Some(at) => {
            requested.remove(at);
            true
        }
        None => false,
    }
}
