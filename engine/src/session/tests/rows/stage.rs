//! One seed, its honest payers, its open class, and whoever would have a seat for less.

use std::collections::BTreeMap;

use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, MicroCredits, NodeId, Rate};

use super::super::Remote;
use super::super::market::{Market, at_least, identity_of};
use super::super::rig::{metainfo, millis, request, slots};
use super::way::{Parcel, Way};
use crate::interface::config::Policy;
use crate::interface::input::Input;
use crate::rng::Rng;
use crate::session::peer::Peer;
use crate::transfer::choker::{Class, PaidRule};
use crate::units::{BLOCK_LEN, PeerIndex};
use crate::wire::message::Message;
use crate::wire::receipt::ReceiptMessage;

pub(super) const MIB: u64 = 1 << 20;
/// What the seed sends in a second, by its limit or by its line.
const UPLOAD: u64 = 2 * MIB;
const ASK: u64 = 1_000;
const HONEST_BID: u64 = 1_000_000;
const HIGH_BID: u64 = 10_000_000;
/// Time between two moves.
const STEP_MS: u64 = 100;
const STEPS_PER_SEC: u64 = 1_000 / STEP_MS;
/// Time between two looks at the line.
const LINE_MS: u64 = 10;
/// Blocks of the torrent.
const BLOCKS: u32 = 16_384;
/// Of one key that has several.
const CONNECTIONS: u32 = 4;

/// What somebody tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trick {
    /// Asks all the time and pays for every piece.
    Honest,
    /// Pays nothing and bids nothing.
    Plain,
    /// No bid, 32 requests, a high bid, in one segment every 2 s.
    ZeroThenHigh,
    /// Bids nothing as soon as it has a seat, and high again 5 s later.
    ZeroOnceSeated,
    /// Takes all it can and pays one micro-credit every 5 s.
    Drip,
    /// Bids and asks for nothing.
    Park,
    /// Takes one block in 8 s, and pays for it.
    ParkPaying,
    /// Asks for all it can and reads nothing.
    Stall,
    /// Bids high every 11 s and cancels its bid a second later.
    OutbidThenCancel,
    /// Pays for a mebibyte, then asks for nothing.
    PayThenPark,
    /// Takes all it can and pays nothing.
    NeverPay,
    /// Pays for one window, then takes all it can and pays nothing.
    PayThenDefault,
    /// The same, and loses interest as soon as it is late, until it may be served again.
    DefaultUninterested,
    /// The same on one connection after another: each ends as soon as it is late.
    DefaultReconnecting,
    /// Pays a thousandth of the price for half of the time, then bids high and pays nothing.
    CheapHistory,
    /// Takes all it can on four connections of one key, and pays nothing.
    ManyConnections,
    /// Takes all it can, pays nothing, and comes back under a new key after so many seconds.
    FreshKeys(u64),
}

/// A scene: who attacks, how many of them, and what the seed sells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    pub(super) trick: Trick,
    pub(super) count: u32,
    pub(super) slots: usize,
    pub(super) piece_blocks: u32,
    /// The seed has a limit; otherwise a line that carries as much, and does not know it.
    pub(super) is_limited: bool,
    pub(super) rng_seed: u64,
    /// For so long nobody attacks.
    pub(super) lead_secs: u64,
    /// For so long they do, and what comes of it is counted.
    pub(super) secs: u64,
}

/// What came of a scene, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Left for anybody.
    pub(super) total: u64,
    /// Left for honest payers as paid.
    pub(super) honest: u64,
    /// Left for attackers as paid, and was paid.
    pub(super) bought: u64,
    /// Left for attackers as paid, and was not.
    pub(super) unpaid: u64,
    /// The most of that for one key, in hundredths of what a key may have: two windows, and one per
    /// back-off.
    pub(super) allowed_percent: u64,
    /// The most of that for one key, in hundredths of its largest window.
    pub(super) windows_percent: u64,
    /// How many windows that key may have had: two, and one per back-off.
    pub(super) windows_allowed: u64,
    /// The largest window of any attacker.
    pub(super) window_max: u64,
    /// Left as open, whoever took it.
    pub(super) open: u64,
    /// Of that, for those who pay nothing and try nothing.
    pub(super) plain: u64,
}

struct Actor {
    peer: PeerIndex,
    number: u32,
    trick: Trick,
    bid: u64,
    high: u64,
    /// Steps by which its clock is off.
    phase: u64,
    /// Requests that it keeps in flight.
    depth: usize,
    asked: u32,
    taken: u64,
    /// Arrived as paid.
    paid_here: u64,
    /// The price of that.
    raw: u128,
    /// The same, up to the last whole piece.
    raw_of_pieces: u128,
    signed: u64,
}

/// What a key took, over all of its connections.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    is_attacker: bool,
    paid_left: u64,
    window_max: u64,
    back_offs: u64,
    backs_off: bool,
}

pub(super) struct Stage {
    market: Market,
    way: Option<Way>,
    actors: Vec<Actor>,
    accounts: BTreeMap<NodeId, Account>,
    cast: Cast,
    rng: Rng,
    next_number: u32,
    outcome: Outcome,
}

impl Cast {
    pub(super) fn play(self) -> Outcome {
        let mut stage = Stage::new(self);
        let lead = self.lead_secs * STEPS_PER_SEC;
        let mut coming: Vec<(u64, Trick)> = Vec::new();
        let fits = u64::from(self.piece_blocks) * u64::from(BLOCK_LEN) <= 64 * MIB;
        let honest = if self.trick == Trick::CheapHistory || !fits {
            0
        } else {
            3
        };
        coming.extend((0..honest).map(|_| (0, Trick::Honest)));
        coming.extend((0..2).map(|_| (0, Trick::Plain)));
        coming.extend((0..self.count).map(|_| (lead, self.trick)));
        // Everybody comes within 4 s, in any order.
        for (at, _) in &mut coming {
            *at += stage.rng.below(4 * STEPS_PER_SEC);
        }
        for step in 0..lead + self.secs * STEPS_PER_SEC {
            if step == lead {
                // What was before the attack is not counted.
                stage.outcome = Outcome::default();
            }
            for (_, trick) in coming.extract_if(.., |(at, _)| *at == step) {
                stage.join(trick);
            }
            stage.step(step);
        }
        stage.outcome()
    }

    /// The step at which a cheap history is to be worth something.
    fn defaults_at(&self) -> u64 {
        (self.lead_secs + self.secs / 2) * STEPS_PER_SEC
    }

    /// The same where nobody attacks.
    pub(super) fn undisturbed(self) -> Outcome {
        let quiet = Self {
            trick: Trick::Plain,
            count: 0,
            ..self
        };
        quiet.play()
    }
}

impl Stage {
    fn new(cast: Cast) -> Self {
        let policy = Policy {
            credit: at_least(ASK),
            upload_limit: cast.is_limited.then_some(UPLOAD),
            paid_rule: PaidRule::TopK,
            ..slots(cast.slots)
        };
        let pieces = BLOCKS / cast.piece_blocks;
        Self {
            market: Market::with(policy, &metainfo("t", pieces, cast.piece_blocks)),
            way: (!cast.is_limited).then(|| Way::new(UPLOAD)),
            actors: Vec::new(),
            accounts: BTreeMap::new(),
            cast,
            rng: Rng::new(cast.rng_seed),
            next_number: 1,
            outcome: Outcome::default(),
        }
    }

    fn join(&mut self, trick: Trick) {
        let high = HIGH_BID + self.rng.below(HIGH_BID);
        let bid = match trick {
            Trick::Plain => 0,
            Trick::Honest => HONEST_BID + self.rng.below(HONEST_BID / 2),
            Trick::CheapHistory => ASK,
            _ => high,
        };
        let depth = match trick {
            Trick::Honest | Trick::Plain => 128,
            _ => 64 + self.rng.index(128),
        };
        let (peer, number) = self.connect(trick, bid);
        self.add(trick, (bid, high), (peer, number), depth);
        if trick == Trick::ManyConnections {
            for _ in 1..CONNECTIONS {
                let name = 100 + u8::try_from(self.actors.len()).expect("few");
                let peer = self.market.proven(number, name);
                self.market.bid(peer, bid);
                if let Some(way) = &mut self.way {
                    way.open(peer, false);
                }
                self.add(trick, (bid, high), (peer, number), depth);
            }
        }
    }

    fn add(
        &mut self,
        trick: Trick,
        (bid, high): (u64, u64),
        (peer, number): (PeerIndex, u32),
        depth: usize,
    ) {
        self.actors.push(Actor {
            peer,
            number,
            trick,
            bid,
            high,
            phase: self.rng.below(110),
            depth,
            asked: 0,
            taken: 0,
            paid_here: 0,
            raw: 0,
            raw_of_pieces: 0,
            signed: 0,
        });
    }

    /// A connection under a key of its own.
    fn connect(&mut self, trick: Trick, bid: u64) -> (PeerIndex, u32) {
        self.market.settle();
        let number = self.next_number;
        self.next_number += 1;
        // Those of the seed and of the settlement node, and names that the first of them have.
        let is_taken =
            |number: u32| [7, 200].contains(&number) || number > 255 && number % 256 < 64;
        while is_taken(self.next_number) {
            self.next_number += 1;
        }
        let (torrent, market) = (self.market.torrent, &mut self.market);
        let peer = if trick == Trick::Plain {
            let name = u8::try_from(number % 256).expect("a byte");
            let peer = market.rig.join(torrent, Remote::modern(name));
            market.rig.says(peer, [Message::Interested]);
            peer
        } else {
            let account = self.accounts.entry(identity_of(number).id()).or_default();
            account.is_attacker = trick != Trick::Honest;
            market.bidder(number, bid)
        };
        if let Some(way) = &mut self.way {
            way.open(peer, trick == Trick::Stall);
        }
        (peer, number)
    }

    fn step(&mut self, step: u64) {
        for index in 0..self.actors.len() {
            self.act(index, step);
        }
        match self.way.is_some() {
            false => {
                for index in 0..self.actors.len() {
                    self.leave(index);
                }
                self.market.rig.advance(millis(STEP_MS));
            }
            true => {
                for _ in 0..STEP_MS / LINE_MS {
                    self.pass_line();
                }
                self.measure();
            }
        }
        self.watch();
        if step.is_multiple_of(STEPS_PER_SEC) {
            self.market.settle();
        }
    }

    /// What was granted goes to its socket, or without a line to its receiver.
    fn leave(&mut self, index: usize) {
        let peer = self.actors[index].peer;
        let stalls = self.actors[index].trick == Trick::Stall;
        if stalls && self.way.is_none() {
            return;
        }
        while self.way.as_ref().is_none_or(|way| way.has_room(peer)) {
            let entry = self.market.rig.session.peers.get(&peer);
            let link = entry.and_then(Peer::live);
            let Some(block) = link.and_then(|link| link.upload.granted.front()) else {
                return;
            };
            let parcel = Parcel {
                len: block.len.into(),
                rate: block.rate,
            };
            let wire = self.market.rig.plane.wires.get_mut(&peer);
            let left = wire.and_then(|wire| wire.serving.pop_front());
            left.expect("what is granted is served");
            self.market.rig.input(Input::Sent {
                peer,
                bytes: parcel.len,
                blocks: 1,
            });
            self.note_left(index, parcel);
            match &mut self.way {
                Some(way) => way.push(peer, parcel),
                None => self.arrive(index, parcel),
            }
        }
    }

    fn note_left(&mut self, index: usize, parcel: Parcel) {
        let actor = &self.actors[index];
        let outcome = &mut self.outcome;
        outcome.total += parcel.len;
        if parcel.rate.is_zero() {
            outcome.open += parcel.len;
            if actor.trick == Trick::Plain {
                outcome.plain += parcel.len;
            }
            return;
        }
        if actor.trick == Trick::Honest {
            outcome.honest += parcel.len;
        }
        let key = identity_of(actor.number).id();
        self.accounts.entry(key).or_default().paid_left += parcel.len;
    }

    fn arrive(&mut self, index: usize, parcel: Parcel) {
        let piece = u64::from(self.cast.piece_blocks) * u64::from(BLOCK_LEN);
        let actor = &mut self.actors[index];
        actor.taken += parcel.len;
        if parcel.rate.is_zero() {
            return;
        }
        actor.paid_here += parcel.len;
        actor.raw += u128::from(parcel.len) * u128::from(parcel.rate.get());
        if actor.paid_here.is_multiple_of(piece) {
            actor.raw_of_pieces = actor.raw;
        }
    }

    fn pass_line(&mut self) {
        for index in 0..self.actors.len() {
            self.leave(index);
        }
        let way = self.way.as_mut().expect("there is a line");
        let here = way.pass(millis(LINE_MS));
        for (peer, parcel) in here {
            let index = self.actors.iter().position(|actor| actor.peer == peer);
            self.arrive(index.expect("connected"), parcel);
        }
        self.market.rig.advance(millis(LINE_MS));
    }

    fn measure(&mut self) {
        let way = self.way.as_ref().expect("there is a line");
        if self.market.rig.plane.measures {
            let samples = way.samples();
            self.market.rig.input(Input::Measured(samples));
        }
    }

    fn act(&mut self, index: usize, step: u64) {
        let peer = self.actors[index].peer;
        if self.market.rig.is_closing(peer) {
            return self.come_back(index);
        }
        let Actor {
            trick, phase, high, ..
        } = self.actors[index];
        let depth = self.actors[index].depth;
        let unchoked = self.market.rig.wire(peer).unchoked;
        let seated = self.market.class(peer) == Some(Class::Paid);
        let beat = step + phase;
        let every = |secs: u64| beat.is_multiple_of(secs * STEPS_PER_SEC);
        match trick {
            // Before it is suspended for being late, it gives its seat up.
            Trick::DefaultReconnecting if seated && self.defaults(index) => {
                return self.come_back(index);
            }
            Trick::DefaultUninterested if seated && self.defaults(index) => {
                self.market.rig.says(peer, [Message::NotInterested]);
            }
            Trick::DefaultUninterested | Trick::DefaultReconnecting => {
                if every(1) && !self.defaults(index) {
                    self.market.rig.says(peer, [Message::Interested]);
                }
                self.ask(index, depth);
            }
            Trick::Honest | Trick::Plain | Trick::NeverPay | Trick::PayThenDefault => {
                self.ask(index, depth);
            }
            Trick::Stall | Trick::Drip | Trick::ManyConnections => self.ask(index, depth),
            Trick::ZeroThenHigh if unchoked && every(2) => {
                self.bid(index, 0);
                self.ask(index, 32);
                self.bid(index, high);
            }
            Trick::ZeroOnceSeated => {
                if seated {
                    self.bid(index, 0);
                } else if every(5) {
                    self.bid(index, high);
                }
                self.ask(index, depth);
            }
            Trick::ParkPaying if unchoked && every(8) => self.ask(index, 1),
            Trick::PayThenPark if self.actors[index].paid_here < MIB => self.ask(index, depth),
            Trick::OutbidThenCancel => {
                match beat % 110 {
                    0 => self.bid(index, high),
                    10 => self.bid(index, 0),
                    _ => {}
                }
                self.ask(index, depth);
            }
            Trick::CheapHistory => {
                if step == self.cast.defaults_at() {
                    self.bid(index, high);
                }
                self.ask(index, depth);
            }
            Trick::FreshKeys(secs) => {
                if every(secs) {
                    return self.come_back_fresh(index);
                }
                self.ask(index, depth);
            }
            Trick::ZeroThenHigh | Trick::Park | Trick::ParkPaying | Trick::PayThenPark => {}
        }
        self.pay(index, step, every(5));
    }

    fn pay(&mut self, index: usize, step: u64, drips: bool) {
        let actor = &self.actors[index];
        let piece = u64::from(self.cast.piece_blocks) * u64::from(BLOCK_LEN);
        let pieces = cost(actor.raw_of_pieces);
        let due = match actor.trick {
            Trick::Honest | Trick::ZeroThenHigh | Trick::ZeroOnceSeated => pieces,
            Trick::OutbidThenCancel => pieces,
            Trick::ParkPaying | Trick::PayThenPark => cost(actor.raw),
            Trick::PayThenDefault | Trick::DefaultUninterested | Trick::DefaultReconnecting
                if actor.paid_here <= piece =>
            {
                pieces
            }
            Trick::CheapHistory if step < self.cast.defaults_at() => pieces,
            Trick::Drip if drips => actor.signed + 1,
            _ => actor.signed,
        };
        if due > actor.signed {
            self.sign(index, due);
        }
    }

    /// Whether it has paid what it ever will, and its key has taken what it may.
    fn defaults(&self, index: usize) -> bool {
        let actor = &self.actors[index];
        let piece = u64::from(self.cast.piece_blocks) * u64::from(BLOCK_LEN);
        let exchange = self.market.rig.session.market.exchange();
        let pair = exchange.pair(identity_of(actor.number).id());
        actor.paid_here > piece && pair.is_some_and(|pair| pair.is_late)
    }

    /// The connection ended; it comes back under its key, which is nothing that was stored.
    fn come_back(&mut self, index: usize) {
        self.part(index);
        let Actor {
            trick, number, bid, ..
        } = self.actors[index];
        assert!(trick != Trick::Honest && trick != Trick::Plain, "closed");
        self.market.settle();
        let peer = self.market.bidder(number, bid);
        if let Some(way) = &mut self.way {
            way.open(peer, trick == Trick::Stall);
        }
        self.actors[index].peer = peer;
    }

    fn come_back_fresh(&mut self, index: usize) {
        self.part(index);
        let Actor { trick, bid, .. } = self.actors[index];
        let (peer, number) = self.connect(trick, bid);
        let actor = &mut self.actors[index];
        (actor.peer, actor.number) = (peer, number);
        (actor.taken, actor.signed) = (0, 0);
        (actor.paid_here, actor.raw, actor.raw_of_pieces) = (0, 0, 0);
    }

    fn part(&mut self, index: usize) {
        let peer = self.actors[index].peer;
        self.watch();
        self.market.settle();
        self.market.rig.close(peer);
        if let Some(way) = &mut self.way {
            way.close(peer);
        }
    }

    fn bid(&mut self, index: usize, rate: u64) {
        let Actor { peer, bid, .. } = self.actors[index];
        if rate != bid {
            self.actors[index].bid = rate;
            self.market.say(peer, &ReceiptMessage::Bid(Rate::new(rate)));
        }
    }

    /// Keeps so many requests in flight, if it may ask.
    fn ask(&mut self, index: usize, depth: usize) {
        let Actor { peer, asked, .. } = self.actors[index];
        let wire = self.market.rig.wire(peer);
        if !wire.unchoked {
            return;
        }
        let flight: u32 = wire.asked.values().sum();
        let count = u32::try_from(depth).expect("few").saturating_sub(flight);
        let blocks = self.cast.piece_blocks;
        let requests: Vec<Message> = (asked..asked + count)
            .map(|n| request(n / blocks % (BLOCKS / blocks), n % blocks))
            .collect();
        self.actors[index].asked += count;
        if !requests.is_empty() {
            self.market.rig.says(peer, requests);
        }
    }

    fn sign(&mut self, index: usize, amount: u64) {
        let Actor {
            peer,
            number,
            taken,
            ..
        } = self.actors[index];
        let identity = identity_of(number);
        let locks = self.market.locks.iter().map(|status| status.lock.body);
        let lock = locks
            .rev()
            .find(|lock| lock.payer == identity.id())
            .expect("a bidder has a lock");
        let body = Receipt {
            network_id: lock.network_id,
            channel_id: lock.channel().id(),
            bytes: Bytes::new(taken),
            amount: MicroCredits::new(amount),
        };
        self.actors[index].signed = amount;
        let receipt = body.sign(&identity);
        self.market.say(peer, &ReceiptMessage::Receipt(receipt));
    }

    /// Takes note of windows and back-offs.
    fn watch(&mut self) {
        let exchange = self.market.rig.session.market.exchange();
        for actor in &self.actors {
            let key = identity_of(actor.number).id();
            let Some(account) = self.accounts.get_mut(&key) else {
                continue;
            };
            let Some(pair) = exchange.pair(key) else {
                continue;
            };
            // What a window was at a price long gone is worth nothing at this one.
            let is_old = actor.trick == Trick::CheapHistory && actor.bid == ASK;
            if !is_old {
                account.window_max = account.window_max.max(pair.limit.get());
            }
            account.back_offs += u64::from(pair.backing_off && !account.backs_off);
            account.backs_off = pair.backing_off;
        }
    }

    fn outcome(self) -> Outcome {
        let mut outcome = self.outcome;
        let exchange = self.market.rig.session.market.exchange();
        for (key, account) in &self.accounts {
            if !account.is_attacker {
                continue;
            }
            let cleared = exchange.pair(*key).map_or(0, |pair| pair.paid_bytes.get());
            let unpaid = account.paid_left.saturating_sub(cleared);
            outcome.unpaid += unpaid;
            outcome.bought += account.paid_left - unpaid;
            let window = account.window_max.max(1);
            let allowed = window * (2 + account.back_offs);
            outcome.allowed_percent = outcome.allowed_percent.max(unpaid * 100 / allowed);
            outcome.window_max = outcome.window_max.max(window);
            if unpaid * 100 / window >= outcome.windows_percent {
                outcome.windows_percent = unpaid * 100 / window;
                outcome.windows_allowed = 2 + account.back_offs;
            }
        }
        outcome
    }
}

/// Rounds up: an honest payer is never short.
fn cost(raw: u128) -> u64 {
    u64::try_from(raw.div_ceil(1 << 30)).expect("small")
}
