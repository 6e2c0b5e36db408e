//! Random schedules: one step at a time, and a drain in which everything that can finish does.

use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, Duration, MicroCredits, NetworkId, NodeId, Rate, Signature};

use crate::node::{Ask, Out, Play, Wire};
use crate::world::World;

/// How rough a schedule is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roughness {
    pub(crate) steps: usize,
    pub(crate) crashes: bool,
    pub(crate) restores: bool,
    pub(crate) expiry: bool,
    /// One request in so many asks again for what somebody else was asked for.
    pub(crate) end_game_of: u64,
    /// One step in so many lets up to 100 s pass besides, so that who owes backs off and tries
    /// again; none at zero.
    pub(crate) waits_of: u64,
}

impl World {
    /// One random step.
    pub(crate) fn step(&mut self, rough: Roughness) {
        let index = self.rng.index(self.nodes.len());
        match self.rng.below(1_000) {
            0..280 => self.some_delivery(),
            280..400 => {
                if let Some(peer) = self.some_peer(index) {
                    let count = 1 + self.rng.index(6);
                    self.write(index, peer, count);
                }
            }
            400..520 => self.some_requests(index, rough),
            520..620 => {
                if let Some(peer) = self.some_peer(index) {
                    // A paid order takes effect within a second (docs/RULES.md, choking).
                    if self.rng.chance(2, 3) && self.nodes[index].peers[&peer].unchoked {
                        self.rechoke(index, peer, true, true);
                    }
                    for _ in 0..=self.rng.index(4) {
                        self.serve(index, peer);
                    }
                }
            }
            620..720 => {
                if let Some(peer) = self.some_peer(index) {
                    let unchoke = !self.rng.chance(1, 8);
                    let paid = self.rng.chance(9, 10);
                    self.rechoke(index, peer, unchoke, paid);
                }
            }
            720..770 => {
                let ms = [1, 20, 300, 1_500, 12_000][self.rng.index(5)];
                let ms = 1 + self.rng.below(ms);
                self.pass(Duration::from_millis(ms));
            }
            770..800 => self.some_bid(index),
            800..870 => {
                if !self.rng.chance(1, 5) {
                    self.settle(index);
                }
            }
            870..900 => self.some_funding(index),
            900..950 => self.some_connection(),
            950..962 => self.some_close(),
            962..968 => self.hand_on_stalled(index),
            968..975 => self.some_cancel(index),
            975..979 => {
                let secs = self.rng_secs(rough);
                // Nothing stays under way for minutes: it arrives, or its connection is dead.
                self.deliver_all();
                self.pass(Duration::from_secs(secs));
            }
            979..985 => self.nodes[index].backup(),
            985..988 if rough.crashes => self.crash(index),
            988..990 if rough.crashes => self.crash_after = Some(self.rng.index(5)),
            990..993 if rough.restores => self.restore(index),
            993..996 => self.watch(index),
            _ => self.misbehave(index),
        }
        if rough.waits_of > 0 && self.rng.chance(1, rough.waits_of) {
            self.deliver_all();
            let secs = 1 + self.rng.below(100);
            self.pass(Duration::from_secs(secs));
        }
        self.whims_turn();
        self.check();
    }

    fn deliver_all(&mut self) {
        for index in 0..self.nodes.len() {
            let peers: Vec<PeerIndex> = self.nodes[index].peers.keys().copied().collect();
            for peer in peers {
                self.write(index, peer, 256);
            }
        }
        let links: Vec<PeerIndex> = self.links.keys().copied().collect();
        for peer in links {
            self.deliver(peer, 0, 256);
            self.deliver(peer, 1, 256);
        }
    }

    fn rng_secs(&mut self, rough: Roughness) -> u64 {
        if rough.expiry && self.rng.chance(1, 4) {
            1 + self.rng.below(5_000)
        } else {
            1 + self.rng.below(100)
        }
    }

    pub(crate) fn some_peer(&mut self, index: usize) -> Option<PeerIndex> {
        let at = self.rng.index(self.nodes[index].peers.len());
        self.nodes[index].peers.keys().nth(at).copied()
    }

    fn some_delivery(&mut self) {
        let at = self.rng.index(self.links.len());
        let Some(peer) = self.links.keys().nth(at).copied() else {
            return;
        };
        let side = self.rng.index(2);
        let count = 1 + self.rng.index(8);
        self.deliver(peer, side, count);
    }

    fn some_requests(&mut self, index: usize, rough: Roughness) {
        let Some(peer) = self.some_peer(index) else {
            return;
        };
        let end_game = self.rng.chance(1, rough.end_game_of);
        for _ in 0..=self.rng.index(4) {
            if !self.request(index, peer, end_game) {
                return;
            }
        }
    }

    fn some_bid(&mut self, index: usize) {
        let Some(peer) = self.some_peer(index) else {
            return;
        };
        let rate = self.some_rate();
        self.nodes[index].exchange.place_bid(peer, rate, self.now);
        self.drain(index);
    }

    pub(crate) fn some_rate(&mut self) -> Rate {
        let rates = [0, 1_000, 30_000, 1_000_000, 1_234_567, 9_000_000, 2_000_000];
        Rate::new(rates[self.rng.index(rates.len())])
    }

    /// Connections, locks, bids and unchokes, so that a schedule begins in the middle of things.
    pub(crate) fn warm_up(&mut self) {
        for _ in 0..6 {
            self.drain_round(0, false);
        }
    }

    pub(crate) fn some_funding(&mut self, index: usize) {
        let payee = self.rng.index(self.nodes.len());
        if payee == index {
            return;
        }
        let (me, payee) = (self.nodes[index].id(), self.nodes[payee].id());
        let amount = 20 + self.rng.below(2_000);
        let own: Vec<LockId> = self.nodes[index]
            .exchange
            .paying_locks()
            .filter(|lock| lock.is_open() && lock.lock.body.payee == payee)
            .map(|lock| lock.lock.body.lock_id)
            .collect();
        let node = &mut self.nodes[index];
        match (own.last(), self.rng.index(20)) {
            (None, _) => node.asks.push_back(Ask::Open { payee, amount }),
            (Some(lock_id), 0..14) => {
                let lock_id = *lock_id;
                node.asks.push_back(Ask::TopUp { lock_id, amount });
            }
            (Some(lock_id), 14) => node.exchange.end_lock(payee, *lock_id, self.now),
            (Some(lock_id), 15) => {
                node.exchange.keep_lock(payee, *lock_id);
            }
            (Some(_), _) => {
                // The live lock may be gone at the settlement node without our knowing.
                if self.settlement.open_lock(me, payee).is_none() {
                    node.asks.push_back(Ask::Open { payee, amount });
                }
            }
        }
        self.drain(index);
    }

    fn some_connection(&mut self) {
        let one = self.rng.index(self.nodes.len());
        let other = self.rng.index(self.nodes.len());
        let torrent = self.rng.index(self.torrents.len());
        let torrent_id = self.torrents[torrent].torrent_id;
        if one == other {
            return;
        }
        let alive = |side: usize, index: usize, peer: usize| {
            self.links.values().any(|link| {
                let ends = (link.ends[side], link.ends[1 - side]);
                link.torrent_id == torrent_id && link.alive[side] && ends == (index, peer)
            })
        };
        // The dialling side knows of no connection; the other may hold a dead one.
        if !alive(0, one, other) && !alive(1, one, other) {
            self.connect([one, other], torrent_id);
        }
    }

    fn some_close(&mut self) {
        let at = self.rng.index(self.links.len());
        let Some(peer) = self.links.keys().nth(at).copied() else {
            return;
        };
        let link = &self.links[&peer];
        let half_dead = link.alive.iter().position(|alive| !alive);
        let side = half_dead.map_or_else(|| self.rng.index(2), |dead| 1 - dead);
        self.close(peer, side);
    }

    fn some_cancel(&mut self, index: usize) {
        if let Some(peer) = self.some_peer(index) {
            self.cancel(index, peer);
        }
    }

    /// Cancels one of the requests in flight to a peer.
    pub(crate) fn cancel(&mut self, index: usize, peer: PeerIndex) {
        let state = &self.nodes[index].peers[&peer];
        let at = self.rng.index(state.requested.len());
        if let Some(block) = state.requested.get(at).copied() {
            let state = self.nodes[index].peers.get_mut(&peer);
            let state = state.expect("looked up above");
            state.out.push_back(Out::Wire(Wire::Cancel(block)));
        }
    }

    /// What a forger tries, on a connection that has come far enough to try it.
    fn misbehave(&mut self, index: usize) {
        if self.nodes[index].play != Play::Forger {
            return;
        }
        let Some(peer) = self.some_peer(index) else {
            return;
        };
        let me = self.nodes[index].identity.clone();
        let remote = self.nodes[index].peers[&peer].remote;
        let payee = self.nodes[remote].id();
        let Some(status) = self.settlement.open_lock(me.id(), payee) else {
            return;
        };
        let lock = status.lock;
        let body = Receipt {
            network_id: lock.body.network_id,
            channel_id: lock.body.channel().id(),
            bytes: Bytes::new(1 << 40),
            amount: MicroCredits::new(lock.body.amount.get() / 2),
        };
        let other = self.nodes[(remote + 1) % self.nodes.len()].id();
        let message = match self.rng.index(8) {
            0 => {
                let mut forged = body.sign(&me);
                forged.body.amount = MicroCredits::new(u64::MAX);
                ReceiptMessage::Receipt(forged)
            }
            1 => ReceiptMessage::Receipt(
                Receipt {
                    network_id: NetworkId::from_bytes([77; 32]),
                    ..body
                }
                .sign(&me),
            ),
            2 => {
                let mut elsewhere = lock.body;
                elsewhere.payee = other;
                let channel_id = elsewhere.channel().id();
                ReceiptMessage::Receipt(Receipt { channel_id, ..body }.sign(&me))
            }
            3 => ReceiptMessage::Receipt(
                Receipt {
                    amount: MicroCredits::new(u64::MAX),
                    bytes: Bytes::MAX,
                    ..body
                }
                .sign(&me),
            ),
            4 => ReceiptMessage::Lock(Box::new(self.settlement.forged(&lock))),
            5 => ReceiptMessage::Bid(Rate::MAX),
            6 => ReceiptMessage::Receipt(
                Receipt {
                    bytes: Bytes::ZERO,
                    ..body
                }
                .sign(&me),
            ),
            _ => ReceiptMessage::Auth(Signature::from_bytes([0; 64])),
        };
        if let ReceiptMessage::Receipt(receipt) = &message
            && receipt.verify(&me.id()).is_ok()
        {
            self.note_signed(index, &message);
        }
        let state = self.nodes[index].peers.get_mut(&peer);
        let state = state.expect("looked up above");
        state.out.push_back(Out::Wire(Wire::Receipt(message)));
    }

    /// Everything that can finish does: connections live, locks are funded, everybody is unchoked.
    /// Returns the rounds it took.
    pub(crate) fn drain_all(&mut self, rounds_max: usize) -> usize {
        self.crash_after = None;
        self.spoilt_per_mille = 0;
        for round in 0..rounds_max {
            self.drain_round(round, true);
            let honest = (0..self.nodes.len()).filter(|n| self.nodes[*n].play == Play::Honest);
            let is_here = |key: NodeId| self.nodes.iter().any(|node| node.id() == key);
            let done = |index: usize| {
                let mut pairs = self.nodes[index].exchange.pairs();
                self.is_complete(index)
                    && pairs.all(|(key, view)| view.owed.is_zero() || !is_here(key))
            };
            if honest.clone().all(done) {
                return round;
            }
        }
        rounds_max
    }

    fn drain_round(&mut self, round: usize, traffic: bool) {
        let dead: Vec<(PeerIndex, usize)> = self
            .links
            .iter()
            .filter(|(_, link)| link.alive != [true, true])
            .map(|(peer, link)| (*peer, usize::from(link.alive[1])))
            .collect();
        for (peer, side) in dead {
            self.close(peer, side);
        }
        self.connect_all();
        self.drain_traffic(round, traffic);
    }

    /// Connects whoever is not connected, for every torrent.
    pub(crate) fn connect_all(&mut self) {
        for torrent in 0..self.torrents.len() {
            let torrent_id = self.torrents[torrent].torrent_id;
            for one in 0..self.nodes.len() {
                for other in 0..one {
                    let linked = self.links.values().any(|link| {
                        link.torrent_id == torrent_id
                            && (link.ends == [one, other] || link.ends == [other, one])
                    });
                    if !linked {
                        self.connect([one, other], torrent_id);
                    }
                }
            }
        }
    }

    fn drain_traffic(&mut self, round: usize, traffic: bool) {
        for index in 0..self.nodes.len() {
            self.fund_and_bid(index, round);
            let peers: Vec<PeerIndex> = self.nodes[index].peers.keys().copied().collect();
            for peer in peers {
                if round.is_multiple_of(2) || !self.nodes[index].peers[&peer].unchoked {
                    self.rechoke(index, peer, true, true);
                }
                for _ in 0..if traffic { 4 } else { 0 } {
                    self.request(index, peer, false);
                    self.serve(index, peer);
                }
                self.write(index, peer, 64);
            }
            self.hand_on_stalled(index);
            while !self.nodes[index].asks.is_empty() {
                self.settle(index);
            }
        }
        let links: Vec<PeerIndex> = self.links.keys().copied().collect();
        for peer in links {
            self.deliver(peer, 0, 64);
            self.deliver(peer, 1, 64);
        }
        self.whims_turn();
        self.pass(Duration::from_millis(200));
        self.check();
    }

    pub(crate) fn fund_and_bid(&mut self, index: usize, round: usize) {
        if !round.is_multiple_of(10) {
            return;
        }
        let me = self.nodes[index].id();
        for other in 0..self.nodes.len() {
            let payee = self.nodes[other].id();
            if other == index {
                continue;
            }
            let node = &mut self.nodes[index];
            match self.settlement.open_lock(me, payee) {
                None => node.asks.push_back(Ask::Open {
                    payee,
                    amount: 20_000,
                }),
                Some(status) => {
                    let body = status.lock.body;
                    let lock_id = body.lock_id;
                    let room = node.exchange.room(payee, self.now).get();
                    if room < 10_000 {
                        node.asks.push_back(Ask::TopUp {
                            lock_id,
                            amount: 20_000,
                        });
                        node.asks.push_back(Ask::Open {
                            payee,
                            amount: 20_000,
                        });
                    }
                }
            }
        }
        let peers: Vec<PeerIndex> = self.nodes[index].peers.keys().copied().collect();
        for peer in peers {
            let rate = Rate::new(1_000_000);
            self.nodes[index].exchange.place_bid(peer, rate, self.now);
            self.drain(index);
        }
    }

    /// Time passes without traffic of blocks, until waste is written off and receipts have arrived.
    pub(crate) fn quiesce(&mut self, secs: u64) {
        let mut passed = 0;
        while passed < secs {
            for index in 0..self.nodes.len() {
                let peers: Vec<PeerIndex> = self.nodes[index].peers.keys().copied().collect();
                for peer in peers {
                    while self.serve(index, peer) {}
                    self.write(index, peer, 256);
                }
                while !self.nodes[index].asks.is_empty() {
                    self.settle(index);
                }
            }
            let links: Vec<PeerIndex> = self.links.keys().copied().collect();
            for peer in links {
                self.deliver(peer, 0, 256);
                self.deliver(peer, 1, 256);
            }
            self.pass(Duration::from_secs(2));
            passed += 2;
        }
        self.check();
    }
}
