//! A payer with a boost, the payees it meets, and what it pays for.

use std::collections::{BTreeMap, VecDeque};

use seedbank_ledger::{Bytes, Identity, MicroCredits, Rate, RawCost};

use crate::asked::BlockFate;
use crate::credit::wallet::tests::settlement::Settlement;
use crate::interface::command::{BoostOrder, Command};
use crate::interface::config::Policy;
use crate::interface::input::PeerEvent;
use crate::interface::view::TorrentState;
use crate::rng::Rng;
use crate::session::peer::Peer;
use crate::session::tests::market::{Market, unix};
use crate::session::tests::rig::{metainfo, millis};
use crate::units::{BLOCK_LEN, Block, PeerIndex, TorrentId};
use crate::wire::message::Message;
use crate::wire::receipt::{Quote, QuoteState, ReceiptMessage};

const CREDIT: u64 = 10_000_000_000;
/// What everybody asks and the boost bids: high, so that a block is many micro-credits.
const RATE: Rate = Rate::new(1_000_000_000);
const STEP_MS: u64 = 100;
/// Nobody fetches for longer.
const STEPS_MAX: u64 = 2_500;
/// The first payee's number: another key each.
const FIRST: u8 = 20;
/// Who keeps what it is asked for has at least so many blocks to keep.
const HELD_MIN: usize = 200;
/// Blocks that an honest payee has in its socket.
const GRANTED_MAX: usize = 8;
/// Time after the last piece in which what was asked for may still come.
const TAIL_STEPS: u64 = 350;

/// How payees play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Sends what it is asked for in order, and rejects what is cancelled.
    Honest,
    /// The first sends what is missing, the others what is there already, and a missing block now
    /// and then.
    Echo,
    /// The same, once it has sent so well that it is asked for many at once.
    Hold,
    /// Chokes and unchokes, so that it is asked again, then sends everything.
    Flip,
    /// Sends nothing for half a minute, then everything.
    Stall,
    /// Whatever comes to its mind.
    Draw,
    /// The first is honest, the others let us ask and send nothing, or a byte.
    Mute,
    /// The first is honest, the others quote the paid class at nothing, with any window.
    Zero,
    /// The first is honest, the others quote something else at every turn.
    Nonsense,
    /// The first is honest, the others choke for good once something was signed for them.
    ChokeForGood,
}

impl Script {
    /// Whether the first payee is honest and the others come back under other keys.
    pub(super) const fn is_beside_an_honest_one(self) -> bool {
        matches!(
            self,
            Self::Mute | Self::Zero | Self::Nonsense | Self::ChokeForGood
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Swarm {
    pub(super) pieces: u32,
    pub(super) blocks: u32,
    pub(super) count: usize,
    pub(super) script: Script,
    pub(super) rng_seed: u64,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is due for bytes that were not needed, in blocks at the bid.
    pub(super) gain: u64,
    /// What it would be if all that came as paid were.
    pub(super) sent: u64,
    /// Blocks of the torrent.
    pub(super) blocks: u64,
    /// When it was complete.
    pub(super) secs: Option<u64>,
}

struct Payee {
    peer: PeerIndex,
    number: u8,
    lets_us: bool,
    /// On their way, whatever is cancelled.
    granted: VecDeque<Block>,
    /// It keeps what it is asked for.
    holds: bool,
    /// What a block that it sends costs at most, by its own word.
    cap: Rate,
    /// It chokes for good.
    is_done: bool,
}

pub(super) struct Buyer {
    swarm: Swarm,
    market: Market,
    torrent_id: TorrentId,
    payees: Vec<Payee>,
    keys: u8,
    rng: Rng,
    /// What the blocks cost that were missing when they came as paid.
    needed: RawCost,
    copies: RawCost,
}

impl Buyer {
    pub(super) fn new(swarm: Swarm) -> Self {
        let mut ledger = Settlement::new(unix(0, 0));
        ledger.grant(Identity::from_secret([7; 32]).id(), CREDIT);
        let mut market = Market::at(ledger, Policy::default());
        let torrent_id = market
            .rig
            .leech(&metainfo("wanted", swarm.pieces, swarm.blocks));
        let mut buyer = Self {
            swarm,
            market,
            torrent_id,
            payees: Vec::new(),
            keys: 0,
            rng: Rng::new(swarm.rng_seed),
            needed: RawCost::ZERO,
            copies: RawCost::ZERO,
        };
        for _ in 0..20 {
            buyer.wait();
        }
        for _ in 0..swarm.count {
            let payee = buyer.join();
            buyer.payees.push(payee);
        }
        buyer.boost();
        // It has its locks, and bids.
        for _ in 0..50 {
            buyer.wait();
        }
        buyer
    }

    pub(super) fn run(mut self) -> Outcome {
        let mut done_at = None;
        for step in 0..STEPS_MAX {
            for index in 0..self.payees.len() {
                self.play(index, step);
            }
            self.wait();
            if self.is_complete() && done_at.is_none() {
                done_at = Some(step);
            }
            if done_at.is_some_and(|at| step > at + TAIL_STEPS) {
                break;
            }
        }
        self.outcome(done_at)
    }

    fn outcome(&self, done_at: Option<u64>) -> Outcome {
        let exchange = self.market.rig.session.market.exchange();
        let paid = exchange.pairs().fold(RawCost::ZERO, |sum, (_, pair)| {
            let due = pair.signed.saturating_add(pair.owed);
            sum.saturating_add(RawCost::of(due))
        });
        let blocks = u64::from(self.swarm.pieces) * u64::from(self.swarm.blocks);
        let len = Bytes::new(u64::from(BLOCK_LEN));
        let block = RATE.raw_cost(len).get();
        // Each pair's due is rounded down to a micro-credit.
        let in_blocks = |raw: RawCost| (raw.get() + block / 2) / block;
        let in_blocks = |raw: RawCost| u64::try_from(in_blocks(raw)).expect("small");
        Outcome {
            gain: in_blocks(paid.saturating_sub(self.needed)),
            sent: in_blocks(self.copies),
            blocks,
            secs: done_at.map(|step| step * STEP_MS / 1_000),
        }
    }

    /// Every payee lets us ask.
    pub(super) fn unchoke_all(&mut self) {
        for index in 0..self.payees.len() {
            self.set_choking(index, false);
        }
    }

    /// A payee sends up to so many blocks that it was asked for, there already or missing.
    pub(super) fn sends(&mut self, index: usize, max: usize, there: bool) {
        self.send_some(self.payees[index].peer, max, there);
    }

    /// Whether we bid on a payee.
    pub(super) fn is_bid_on(&self, index: usize) -> bool {
        !self.bid_on(self.payees[index].peer).is_zero()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.market.rig.state(self.torrent_id) == TorrentState::Seeding
    }

    /// A step goes by.
    pub(super) fn wait(&mut self) {
        self.market.rig.advance(millis(STEP_MS));
        self.market.rig.hash_all();
        self.market.settle();
    }

    fn boost(&mut self) {
        let order = BoostOrder {
            request_id: "boost".to_owned(),
            torrent_id: self.torrent_id,
            max: MicroCredits::new(CREDIT / 2),
            bid: RATE,
            time_to_live_secs: None,
        };
        self.market.rig.command(Command::Boost(order));
        self.market.settle();
    }

    /// A payee under a key of its own.
    fn join(&mut self) -> Payee {
        self.keys += 1;
        self.come(FIRST + self.keys)
    }

    fn come(&mut self, number: u8) -> Payee {
        let peer = self.market.payee(self.torrent_id, number, RATE.get());
        let payee = Payee {
            peer,
            number,
            lets_us: false,
            granted: VecDeque::new(),
            holds: false,
            cap: Rate::MAX,
            is_done: false,
        };
        self.quote(peer);
        payee
    }

    fn quote(&mut self, peer: PeerIndex) {
        let quote = Quote {
            state: QuoteState::Paid,
            rate: Rate::MAX,
            window: Bytes::new(64 << 20),
            written_off: Bytes::ZERO,
        };
        self.market.say(peer, &ReceiptMessage::Quote(quote));
    }

    fn play(&mut self, index: usize, step: u64) {
        let peer = self.payees[index].peer;
        if self.market.rig.is_closing(peer) {
            self.market.rig.close(peer);
            self.payees[index] = self.join();
            return;
        }
        let own = u64::try_from(index).expect("few");
        let is_done = self.payees[index].is_done;
        if step == 0 || self.swarm.script != Script::Draw && !is_done {
            self.set_choking(index, false);
        }
        let script = self.swarm.script;
        if index > 0 && script.is_beside_an_honest_one() && self.rng.chance(1, 400) {
            return self.come_back(index);
        }
        match script {
            _ if index == 0 && script.is_beside_an_honest_one() => self.serve(0, step),
            Script::Mute if self.rng.chance(1, 100) => self.send_a_byte(peer),
            Script::Mute => {}
            Script::Zero | Script::Nonsense => {
                if self.rng.chance(1, 4) {
                    self.quote_anything(index);
                }
                if self.rng.chance(1, 8) {
                    self.send_some(peer, 4, false);
                }
            }
            Script::ChokeForGood if is_done => {}
            Script::ChokeForGood => {
                self.send_some(peer, 1, false);
                let key = self.market.rig.session.market.exchange().key_of(peer);
                let exchange = self.market.rig.session.market.exchange();
                let pair = key.and_then(|key| exchange.pair(key));
                let is_paid = pair.is_some_and(|pair| !pair.signed.is_zero());
                if is_paid && self.rng.chance(1, 10) || self.rng.chance(1, 300) {
                    self.payees[index].is_done = true;
                    self.set_choking(index, true);
                }
            }
            Script::Honest => self.serve(index, step),
            Script::Echo if index == 0 => self.send_some(peer, 4, false),
            Script::Hold if index == 0 => (0..4).for_each(|_| self.send_some(peer, 2, false)),
            Script::Hold if !self.holds(index) => self.send_some(peer, usize::MAX, false),
            Script::Echo | Script::Hold => {
                self.send_some(peer, usize::MAX, true);
                if step.is_multiple_of(190) {
                    self.send_some(peer, 1, false);
                }
            }
            Script::Flip => {
                for _ in 0..8 {
                    self.set_choking(index, true);
                    self.set_choking(index, false);
                }
                if step.is_multiple_of(50) {
                    self.send_some(peer, usize::MAX, true);
                    self.send_some(peer, 64, false);
                    self.send_some(peer, usize::MAX, true);
                }
            }
            Script::Stall => {
                if (step + 100 * own) % 320 == 319 {
                    self.send_some(peer, usize::MAX, true);
                    self.send_some(peer, usize::MAX, false);
                    self.send_some(peer, usize::MAX, true);
                }
            }
            Script::Draw => self.improvise(index),
        }
    }

    /// Its connection ends, and it is there again, under another key or the same.
    fn come_back(&mut self, index: usize) {
        let Payee { peer, number, .. } = self.payees[index];
        self.market.rig.close(peer);
        self.payees[index] = match self.rng.chance(1, 2) || self.keys > 200 {
            true => self.come(number),
            false => self.join(),
        };
    }

    /// The first byte of something that it was asked for.
    fn send_a_byte(&mut self, peer: PeerIndex) {
        if let Some(block) = self.owed(peer).first() {
            let block = Block { len: 1, ..*block };
            let fate = BlockFate::Unrequested;
            let event = PeerEvent::Block { block, fate };
            self.market.rig.hears(peer, vec![event]);
        }
    }

    /// Of `Zero`, the paid class at nothing; of `Nonsense`, anything.
    fn quote_anything(&mut self, index: usize) {
        let numbers = [0, 1, 1 << 14, 1 << 40, u64::MAX - 1, u64::MAX];
        let mut number = || numbers[self.rng.index(numbers.len())];
        let (rate, window, written_off) = (number(), number(), number());
        let states = [QuoteState::Open, QuoteState::Queued, QuoteState::Paid];
        let (state, rate) = match (self.swarm.script, states[self.rng.index(3)]) {
            (Script::Zero, _) => (QuoteState::Paid, 0),
            (_, QuoteState::Paid) => (QuoteState::Paid, rate),
            (_, state) => (state, 0),
        };
        let quote = Quote {
            state,
            rate: Rate::new(rate),
            window: Bytes::new(window),
            written_off: Bytes::new(written_off),
        };
        self.payees[index].cap = Rate::new(rate);
        let peer = self.payees[index].peer;
        self.market.say(peer, &ReceiptMessage::Quote(quote));
    }

    /// Whether a payee is asked for enough by now to keep it.
    fn holds(&mut self, index: usize) -> bool {
        let enough = usize::try_from(self.swarm.blocks * 3 / 4).expect("few");
        let owed = self.owed(self.payees[index].peer).len();
        self.payees[index].holds |= owed >= enough.min(HELD_MIN);
        self.payees[index].holds
    }

    fn improvise(&mut self, index: usize) {
        let peer = self.payees[index].peer;
        match self.rng.below(40) {
            0 => self.set_choking(index, true),
            1..4 => self.set_choking(index, false),
            4 => self.send_some(peer, 2, false),
            5..20 => self.send_some(peer, usize::MAX, true),
            20 => {
                let owed = self.owed(peer);
                let some = owed.into_iter().filter(|_| self.rng.chance(1, 8));
                let rejects: Vec<Message> = some.map(Message::Reject).collect();
                self.market.rig.says(peer, rejects);
            }
            21 if self.rng.chance(1, 20) => {
                let number = self.payees[index].number;
                self.market.rig.close(peer);
                self.payees[index] = match self.rng.chance(1, 2) || self.keys > 200 {
                    true => self.come(number),
                    false => self.join(),
                };
            }
            22..26 => self.send_some(peer, 16, false),
            _ => {}
        }
    }

    fn set_choking(&mut self, index: usize, chokes: bool) {
        let Payee { peer, lets_us, .. } = self.payees[index];
        if lets_us == chokes {
            self.payees[index].lets_us = !chokes;
            let message = if chokes {
                Message::Choke
            } else {
                Message::Unchoke
            };
            self.market.rig.says(peer, [message]);
        }
    }

    /// Answers requests in order, as a payee of ours does, each at a rate of its own.
    fn serve(&mut self, index: usize, step: u64) {
        let peer = self.payees[index].peer;
        let cancelled = self.market.rig.take_cancelled(peer).into_iter();
        let granted = &self.payees[index].granted;
        let rejects: Vec<Message> = cancelled
            .filter(|block| !granted.contains(block))
            .map(Message::Reject)
            .collect();
        if !rejects.is_empty() {
            self.market.rig.says(peer, rejects);
        }
        let every = 2 * u64::try_from(index).expect("few");
        let count = match index {
            0 => 4,
            _ => usize::from(step.is_multiple_of(every)),
        };
        for _ in 0..count {
            if let Some(block) = self.payees[index].granted.pop_front() {
                self.send(peer, block);
            }
        }
        for block in self.owed(peer) {
            let granted = &mut self.payees[index].granted;
            if granted.len() < GRANTED_MAX && !granted.contains(&block) {
                granted.push_back(block);
            }
        }
    }

    fn owed(&self, peer: PeerIndex) -> Vec<Block> {
        let owed: &BTreeMap<Block, u32> = &self.market.rig.wire(peer).owed;
        let each = owed.iter();
        each.flat_map(|(block, count)| (0..*count).map(|_| *block))
            .collect()
    }

    /// Sends up to so many blocks that it was asked for: those that are there, or those that are
    /// not.
    fn send_some(&mut self, peer: PeerIndex, max: usize, there: bool) {
        let mut left = max;
        for block in self.owed(peer) {
            if left == 0 || self.market.rig.is_closing(peer) {
                return;
            }
            if self.is_there(&block) == there {
                self.send(peer, block);
                left -= 1;
            }
        }
    }

    /// The bid under which a peer was asked for a block.
    fn bid_for(&self, peer: PeerIndex, block: Block) -> Rate {
        let rig = &self.market.rig;
        let link = rig.session.peers.get(&peer).and_then(Peer::live);
        let asked = link.map(|link| link.download.pipeline.clone());
        let bid = asked.and_then(|mut asked| asked.answered(block, rig.now));
        bid.unwrap_or_default()
    }

    fn bid_on(&self, peer: PeerIndex) -> Rate {
        self.market.rig.session.market.exchange().own_bid(peer)
    }

    fn is_there(&self, block: &Block) -> bool {
        let plane = &self.market.rig.plane;
        let index = block.index().expect("on the grid");
        match plane.leases.get(&(self.torrent_id, block.piece)) {
            Some(lease) => lease.blocks.contains_key(&index),
            None => plane.disk[&self.torrent_id].contains(&block.piece),
        }
    }

    fn send(&mut self, peer: PeerIndex, block: Block) {
        let mut payees = self.payees.iter();
        let cap = payees
            .find(|payee| payee.peer == peer)
            .map(|payee| payee.cap);
        let cost = self
            .bid_for(peer, block)
            .min(cap.unwrap_or(Rate::MAX))
            .raw_cost(Bytes::new(u64::from(block.len)));
        let sum = match self.is_there(&block) {
            true => &mut self.copies,
            false => &mut self.needed,
        };
        *sum = sum.saturating_add(cost);
        self.market.rig.block(peer, block, true);
    }
}
