//! Players that vary everything they may: bids, quotes, order, pauses, payments, keys and clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seedbank_engine::credit::receipts::Granted;
use seedbank_engine::credit::receipts::limits::RATE_MAX;
use seedbank_engine::rng::Rng;
use seedbank_engine::units::{BLOCK_LEN, Block, PeerIndex};
use seedbank_engine::wire::receipt::{Quote, QuoteState, ReceiptMessage};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, Duration, Identity, MicroCredits, Rate, UnixTime};

use crate::node::{GOOD, Out, Play, Wire};
use crate::world::World;

/// What everybody else has to spend.
const CREDIT: u64 = 50_000_000;
/// What somebody has who spends it under one key after another.
const CREDIT_LITTLE: u64 = 60_000;
/// Keys of one player.
const KEYS_MAX: usize = 90;
/// How far the clock of an honest node may be off: settlement time is asked for over a network.
const CLOCK_OFF_SECS: u64 = 20;
/// The same of others.
const CLOCK_WILD_SECS: u64 = 100_000;

/// How a player varies what it does, drawn for each schedule.
#[derive(Debug)]
pub(crate) struct Whims {
    /// It acts at one turn in so many; never at zero.
    one_in: u64,
    /// It comes back under another key at one of its turns in so many; never at zero.
    rekeys_one_in: u64,
    /// It drops a connection at one of its turns in so many; never at zero.
    closes_one_in: u64,
    /// Of what it should sign it keeps back so much, or of blocks it serves so many.
    pub(crate) keeps_percent: u64,
    /// Seconds for which it may keep a payment past its own books.
    late_secs_max: u64,
    /// What it bids and quotes.
    rates: Vec<Rate>,
    /// What it has to spend.
    pub(crate) credit: u64,
    clock_off_secs: i64,
    /// It asks for nothing.
    pub(crate) is_parked: bool,
    /// Whom it has choked for good.
    pub(crate) choked: BTreeSet<usize>,
    /// Bytes and amount that it signed past its own books.
    signed: BTreeMap<LockId, (u64, u64)>,
}

impl Default for Whims {
    fn default() -> Self {
        Self {
            one_in: 0,
            rekeys_one_in: 0,
            closes_one_in: 0,
            keeps_percent: 0,
            late_secs_max: 0,
            rates: Vec::new(),
            credit: CREDIT,
            clock_off_secs: 0,
            is_parked: false,
            choked: BTreeSet::new(),
            signed: BTreeMap::new(),
        }
    }
}

impl Whims {
    /// Where somebody has whims, everybody's clock is off, too.
    pub(crate) fn draw(rng: &mut Rng, plays: &[Play], play: Play) -> Self {
        let mut whims = Self::default();
        if !plays.iter().any(|play| play.has_whims()) {
            return whims;
        }
        let wild = play.has_whims() && rng.chance(1, 4);
        let off_max = if wild {
            CLOCK_WILD_SECS
        } else {
            CLOCK_OFF_SECS
        };
        let off = i64::try_from(rng.below(2 * off_max)).expect("small");
        whims.clock_off_secs = off - i64::try_from(off_max).expect("small");
        if !play.has_whims() {
            return whims;
        }
        whims.one_in = [1, 3, 10, 40][rng.index(4)];
        whims.closes_one_in = [0, 10, 100][rng.index(3)];
        whims.keeps_percent = [10, 50, 90, 100][rng.index(4)];
        whims.late_secs_max = [1, 10, 59, 120][rng.index(4)];
        let low = 1 + rng.below(2_000);
        let high = 1_000_000 + rng.below(100_000_000);
        whims.rates = [0, 1, low, 1_000, 1_000_000, high]
            .map(Rate::new)
            .into_iter()
            .chain([RATE_MAX])
            .collect();
        if play == Play::Rekeys || play.takes_as_it_likes() && rng.chance(1, 3) {
            whims.rekeys_one_in = [20, 60, 200][rng.index(3)];
            whims.credit = CREDIT_LITTLE;
        }
        whims
    }

    /// What its clock shows.
    pub(crate) fn clock(&self, unix: UnixTime) -> UnixTime {
        let off = self.clock_off_secs.unsigned_abs();
        match self.clock_off_secs < 0 {
            true => unix.minus_secs(off),
            false => unix.plus_secs(off),
        }
    }
}

impl World {
    /// Everybody with whims has a turn.
    pub(crate) fn whims_turn(&mut self) {
        for index in 0..self.nodes.len() {
            let one_in = self.nodes[index].whims.one_in;
            if one_in > 0 && self.rng.chance(1, one_in) {
                self.turn_of(index);
            }
        }
        self.count_back_offs();
    }

    fn turn_of(&mut self, index: usize) {
        let whims = &self.nodes[index].whims;
        let (closes, rekeys) = (whims.closes_one_in, whims.rekeys_one_in);
        if closes > 0 && self.rng.chance(1, closes) {
            self.drop_one(index);
        }
        if rekeys > 0 && self.rng.chance(1, rekeys) {
            self.rekey(index);
        }
        let Some(peer) = self.some_peer(index) else {
            return;
        };
        match self.nodes[index].play {
            Play::Flips => self.flip(index, peer),
            Play::Drips => self.drip(index, peer, u64::from(BLOCK_LEN)),
            Play::Rekeys => match self.rng.index(6) {
                0 => self.ask_close(index, peer),
                1..4 => self.drip(index, peer, 1),
                _ => {}
            },
            Play::Parks => {
                let node = &mut self.nodes[index];
                node.whims.is_parked ^= self.rng.chance(1, 30);
                if self.rng.chance(1, 20) {
                    self.drip(index, peer, u64::from(BLOCK_LEN));
                }
            }
            Play::QuotesZero => self.quote_nothing(index, peer),
            Play::QuotesNonsense => self.quote_anything(index, peer),
            Play::ChokesForGood => self.choke_for_good(index, peer),
            Play::Stalls
            | Play::Honest
            | Play::NeverPays
            | Play::PaysLate
            | Play::LyingSync
            | Play::Fickle
            | Play::Garbage
            | Play::Forger => {}
        }
    }

    fn drop_one(&mut self, index: usize) {
        if let Some(peer) = self.some_peer(index) {
            let side = usize::from(self.links[&peer].ends[1] == index);
            self.close(peer, side);
        }
    }

    /// The same player under a key that nobody knows, with the credit that it has free.
    fn rekey(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let count = node.former.len();
        if count >= KEYS_MAX {
            return;
        }
        let number = 100 + u8::try_from(count).expect("few");
        let mut secret = [number; 32];
        secret[0] = u8::try_from(index).expect("few");
        let before = node.id();
        node.former.push(before);
        node.identity = Arc::new(Identity::from_secret(secret));
        node.store.clear();
        node.backups.clear();
        node.whims.signed.clear();
        let key = node.id();
        for former in node.former.clone() {
            self.settlement.hand_over(former, key);
        }
        self.restart(index);
    }

    /// Requests under one bid, and a seat by another.
    fn flip(&mut self, index: usize, peer: PeerIndex) {
        let past_the_books = self.rng.chance(1, 2);
        for _ in 0..2 {
            let rate = self.whim_rate(index);
            if past_the_books {
                self.say_raw(index, peer, ReceiptMessage::Bid(rate));
            } else {
                let now = self.now;
                self.nodes[index].exchange.place_bid(peer, rate, now);
                self.drain(index);
            }
            for _ in 0..self.rng.index(6) {
                self.request(index, peer, false);
            }
        }
    }

    /// Signs for what `bytes` more cost, at some rate, and sends it some time.
    fn drip(&mut self, index: usize, peer: PeerIndex, bytes: u64) {
        let rate = self.whim_rate(index);
        let secs = self.rng.below(self.nodes[index].whims.late_secs_max);
        let Some(payee) = self.nodes[index].peers.get(&peer).map(|peer| peer.key) else {
            return;
        };
        let me = self.nodes[index].id();
        let Some(status) = self.settlement.open_lock(me, payee) else {
            return;
        };
        let lock = status.lock.body;
        let cost = rate
            .cost_ceil(Bytes::new(bytes))
            .map_or(1, MicroCredits::get);
        let node = &mut self.nodes[index];
        let signed = node.whims.signed.entry(lock.lock_id).or_default();
        signed.0 += bytes;
        signed.1 = signed.1.saturating_add(cost).min(lock.amount.get());
        let body = Receipt {
            network_id: lock.network_id,
            channel_id: lock.channel().id(),
            bytes: Bytes::new(signed.0),
            amount: MicroCredits::new(signed.1),
        };
        let message = ReceiptMessage::Receipt(body.sign(&node.identity));
        let at = self.now.after(Duration::from_secs(secs));
        let at = node.late.back().map_or(at, |(last, _, _)| at.max(*last));
        node.late.push_back((at, peer, message.clone()));
        self.note_signed(index, &message);
    }

    /// Says that it wants its credit back, whatever it owes.
    fn ask_close(&mut self, index: usize, peer: PeerIndex) {
        let me = self.nodes[index].id();
        let Some(payee) = self.nodes[index].peers.get(&peer).map(|peer| peer.key) else {
            return;
        };
        if let Some(status) = self.settlement.open_lock(me, payee)
            && let Some(state) = self.nodes[index].peers.get_mut(&peer)
        {
            let lock_id = status.lock.body.lock_id;
            let newest = None;
            let close = ReceiptMessage::Close { lock_id, newest };
            state.out.push_back(Out::Wire(Wire::Receipt(close)));
        }
    }

    fn quote_nothing(&mut self, index: usize, peer: PeerIndex) {
        let windows = [0, 1, 40_000, u64::MAX];
        let quote = Quote {
            state: QuoteState::Paid,
            rate: Rate::ZERO,
            window: Bytes::new(windows[self.rng.index(4)]),
            written_off: Bytes::ZERO,
        };
        self.say_raw(index, peer, ReceiptMessage::Quote(quote));
    }

    fn quote_anything(&mut self, index: usize, peer: PeerIndex) {
        let states = [QuoteState::Open, QuoteState::Queued, QuoteState::Paid];
        let state = states[self.rng.index(3)];
        let numbers = [0, 1, 1 << 14, 1 << 40, u64::MAX - 1, u64::MAX];
        let mut number = || numbers[self.rng.index(6)];
        let (window, written_off) = (Bytes::new(number()), Bytes::new(number()));
        let rate = match state {
            QuoteState::Paid => Rate::new(number()),
            QuoteState::Open | QuoteState::Queued => Rate::ZERO,
        };
        let quote = Quote {
            state,
            rate,
            window,
            written_off,
        };
        self.say_raw(index, peer, ReceiptMessage::Quote(quote));
    }

    /// Chokes whoever has paid for something, or owes something: now or never.
    fn choke_for_good(&mut self, index: usize, peer: PeerIndex) {
        let node = &self.nodes[index];
        let (remote, key) = (node.peers[&peer].remote, node.peers[&peer].key);
        let pair = node.exchange.pair(key);
        let is_paid = pair.is_some_and(|pair| !pair.paid.is_zero());
        let is_owed = pair.is_some_and(|pair| !pair.exposure.is_zero());
        if is_paid && self.rng.chance(1, 4) || is_owed && self.rng.chance(1, 40) {
            self.nodes[index].whims.choked.insert(remote);
            self.rechoke(index, peer, false, false);
        }
    }

    /// Whether a payee with whims leaves a request where it is; now and then it sends a byte of it.
    pub(crate) fn holds_back(&mut self, index: usize, peer: PeerIndex) -> bool {
        let node = &self.nodes[index];
        if node.play != Play::Stalls || !self.rng.chance(node.whims.keeps_percent, 100) {
            return false;
        }
        if self.rng.chance(1, 4)
            && let Some(state) = self.nodes[index].peers.get_mut(&peer)
            && let Some((block, bid)) = state.queue.pop_front()
        {
            let byte = Block { len: 1, ..block };
            let price = state.quote_said.price(bid);
            let piece = Wire::Piece(byte, GOOD, price);
            state.out.push_back(Out::Wire(piece));
        }
        true
    }

    /// Of an honest payee: whether a block leaves a paid seat for less than that costs.
    pub(crate) fn count_underpriced(
        &mut self,
        index: usize,
        seat: Option<(Rate, Rate)>,
        granted: Granted,
        len: u32,
    ) {
        let Some((price, cap)) = seat.filter(|_| self.nodes[index].play == Play::Honest) else {
            return;
        };
        let charged = match granted {
            Granted::Paid(rate) => rate,
            Granted::Open => Rate::ZERO,
            Granted::Waits | Granted::Underbid => return,
        };
        if charged < price.min(cap) {
            self.truth.underpriced += u64::from(len);
        }
    }

    /// Notes who began to back off since.
    pub(crate) fn count_back_offs(&mut self) {
        for node in self.nodes.iter().filter(|node| node.play == Play::Honest) {
            for (key, view) in node.exchange.pairs() {
                let pair = (key, node.id());
                let (was, count) = self.truth.back_offs.entry(pair).or_default();
                *count += u64::from(view.backing_off && !*was);
                *was = view.backing_off;
            }
        }
    }

    fn whim_rate(&mut self, index: usize) -> Rate {
        let rates = &self.nodes[index].whims.rates;
        rates[self.rng.index(rates.len())]
    }

    /// Says what its own books know nothing of.
    fn say_raw(&mut self, index: usize, peer: PeerIndex, message: ReceiptMessage) {
        let Some(state) = self.nodes[index].peers.get_mut(&peer) else {
            return;
        };
        match &message {
            ReceiptMessage::Bid(rate) => state.bid_said = *rate,
            ReceiptMessage::Quote(quote) => {
                state.quote_said = seedbank_engine::credit::receipts::Service::of(quote);
            }
            other => unreachable!("nothing else is said so: {other:?}"),
        }
        state.out.push_back(Out::Wire(Wire::Receipt(message)));
    }
}
