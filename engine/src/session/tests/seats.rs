//! Paid seats against payers that vary everything: what each gains, and what the honest keep.
//!
//! One seed sells over real sessions, receipts and locks. Three honest payers ask all the time and
//! pay for every piece; two peers pay nothing; then come those who would have a seat for less. They
//! bid 20 times what the honest do.

use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, Identity, MicroCredits, Rate};

use super::Remote;
use super::market::{Market, at_least};
use super::rig::{metainfo, millis, request, slots};
use crate::interface::config::Policy;
use crate::rng::Rng;
use crate::session::peer::Peer;
use crate::transfer::choker::{Class, PaidRule};
use crate::units::{BLOCK_LEN, PeerIndex};
use crate::wire::message::Message;
use crate::wire::receipt::ReceiptMessage;

mod attack;
mod whims;

const MIB: u64 = 1 << 20;
const ASK: u64 = 1_000;
const HONEST_BID: u64 = 50_000;
const HIGH_BID: u64 = 1_000_000;
const UPLOAD_LIMIT: u64 = MIB;
/// Time between two moves of a player.
const STEP_MS: u64 = 100;
const STEPS_PER_SEC: u64 = 1_000 / STEP_MS;
/// How long a scene lasts.
const SCENE_SECS: u64 = 60;
/// How far what is sold may fall below that of a scene without an attack, in percent.
const SHARE_LOSS_MAX: u64 = 3;
/// The same for three that buy their seats at 20 times the price and then leave them idle: each
/// counts for the 10 s over which its use is looked at, once for every share it pays for.
const PARKED_SHARE_LOSS_MAX: u64 = 8;

/// How somebody plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Play {
    /// Asks all the time and pays for every piece.
    Honest,
    /// Pays nothing and bids nothing.
    Plain,
    /// A low bid, requests, a high bid, in one segment every 2 s; pays what it asked under.
    Squat(u64),
    /// Bids nothing as soon as it has a seat, and high again 5 s later.
    ZeroOnceSeated,
    /// Takes all it can and pays one micro-credit every 5 s.
    Drip,
    /// Bids and asks for nothing.
    Park,
    /// Takes one block in 8 s, and pays for it.
    ParkPaying,
    /// Takes all it can and pays nothing.
    NeverPays,
    /// Pays for a mebibyte, then asks for nothing.
    PaysThenParks,
    /// Pays for a while, then takes all it can and pays nothing.
    Defaults,
    /// Bids high every 11 s and cancels its bid a second later.
    OutbidsAndCancels,
    /// Whatever comes to its mind: bids, requests, pauses, payments.
    Script,
}

struct Player {
    peer: PeerIndex,
    secret: u8,
    play: Play,
    bid: u64,
    /// Requests so far.
    asked: u32,
    /// Bytes that left for it.
    taken: u64,
    /// The same, while it had a paid seat, and not as paid.
    free_in_seat: u64,
    /// Steps since it has had one: what was granted before may still leave.
    seated_steps: u64,
    signed: u64,
}

struct Scene {
    market: Market,
    players: Vec<Player>,
    blocks_per_piece: u32,
    rng: Rng,
}

impl Scene {
    /// Three honest payers, two peers that pay nothing, and `count` attackers of one kind.
    fn new(play: Play, count: u8, blocks_per_piece: u32) -> Self {
        let mut scene = Self::empty(PaidRule::TopK, blocks_per_piece);
        for number in 1..=3 {
            scene.join(number, Play::Honest);
        }
        for number in 4..=5 {
            scene.join(number, Play::Plain);
        }
        for number in 0..count {
            scene.join(20 + number, play);
        }
        scene
    }

    /// A seed with pieces of so many blocks.
    fn empty(paid_rule: PaidRule, blocks_per_piece: u32) -> Self {
        let policy = Policy {
            credit: at_least(ASK),
            upload_limit: Some(UPLOAD_LIMIT),
            paid_rule,
            ..slots(4)
        };
        let pieces = 4_096 / blocks_per_piece;
        let market = Market::with(policy, &metainfo("t", pieces, blocks_per_piece));
        Self {
            market,
            players: Vec::new(),
            blocks_per_piece,
            rng: Rng::new(1),
        }
    }

    fn join(&mut self, secret: u8, play: Play) {
        let bid = match play {
            Play::Plain => 0,
            Play::Honest => HONEST_BID + u64::from(secret),
            _ => HIGH_BID,
        };
        self.join_bidding(secret, play, bid);
    }

    fn join_bidding(&mut self, secret: u8, play: Play, bid: u64) {
        let peer = if play == Play::Plain {
            let peer = self
                .market
                .rig
                .join(self.market.torrent, Remote::modern(secret));
            self.market.rig.says(peer, [Message::Interested]);
            peer
        } else {
            self.market.bidder(secret.into(), bid)
        };
        self.players.push(Player {
            peer,
            secret,
            play,
            bid,
            asked: 0,
            taken: 0,
            free_in_seat: 0,
            seated_steps: 0,
            signed: 0,
        });
    }

    fn run(&mut self, secs: u64) -> Outcome {
        self.run_with(secs, |_| {});
        self.outcome()
    }

    /// Lets time pass; somebody acts before each step.
    fn run_with(&mut self, secs: u64, act: impl FnMut(&mut Self)) {
        self.run_steps_with(secs * STEPS_PER_SEC, act);
    }

    fn run_steps(&mut self, steps: u64) {
        self.run_steps_with(steps, |_| {});
    }

    fn run_steps_with(&mut self, steps: u64, mut act: impl FnMut(&mut Self)) {
        for step in 0..steps {
            act(self);
            for index in 0..self.players.len() {
                self.play(index, step);
                self.receive(index);
            }
            self.market.rig.advance(millis(STEP_MS));
            if step % STEPS_PER_SEC == 0 {
                self.market.settle();
            }
        }
    }

    fn play(&mut self, index: usize, step: u64) {
        let Player { play, peer, .. } = self.players[index];
        let unchoked = self.market.rig.wire(peer).unchoked;
        let seated = self.market.class(peer) == Some(Class::Paid);
        let every = |secs: u64| step.is_multiple_of(secs * STEPS_PER_SEC);
        match play {
            Play::Honest | Play::Plain | Play::NeverPays => self.ask(index, 64),
            Play::Squat(low) if unchoked && every(2) => {
                self.bid(index, low);
                self.ask(index, 32);
                self.bid(index, HIGH_BID);
            }
            Play::ZeroOnceSeated => {
                if seated {
                    self.bid(index, 0);
                } else if every(5) {
                    self.bid(index, HIGH_BID);
                }
                self.ask(index, 64);
            }
            Play::Drip => {
                self.ask(index, 64);
                if every(5) {
                    let signed = self.players[index].signed;
                    self.sign(index, signed + 1);
                }
            }
            Play::ParkPaying if unchoked && every(8) => self.ask(index, 1),
            Play::PaysThenParks if self.paid_total(index) < MIB => self.ask(index, 64),
            Play::Defaults => self.ask(index, 64),
            Play::OutbidsAndCancels => {
                if step.is_multiple_of(110) {
                    self.bid(index, HIGH_BID);
                } else if step % 110 == 10 {
                    self.bid(index, 0);
                }
                self.ask(index, 64);
            }
            Play::Script => self.improvise(index),
            Play::Squat(_) | Play::Park | Play::ParkPaying | Play::PaysThenParks => {}
        }
        let pays = match play {
            Play::Honest | Play::Squat(_) | Play::ZeroOnceSeated | Play::OutbidsAndCancels => true,
            Play::ParkPaying | Play::PaysThenParks => true,
            Play::Defaults => self.paid_total(index) < 4 * MIB,
            Play::Script => self.rng.chance(1, 600),
            Play::Plain | Play::Drip | Play::Park | Play::NeverPays => false,
        };
        if pays {
            self.pay(index);
        }
    }

    fn improvise(&mut self, index: usize) {
        if self.rng.chance(1, 12) {
            let rates = [0, ASK, HONEST_BID, 2 * HONEST_BID, HIGH_BID];
            let rate = rates[self.rng.index(rates.len())];
            self.bid(index, rate);
        }
        match self.rng.below(10) {
            0..6 => {
                let depth = self.rng.index(64);
                self.ask(index, depth);
            }
            6 => {
                let signed = self.players[index].signed;
                self.sign(index, signed + 1);
            }
            7 => {
                let interest = [Message::NotInterested, Message::Interested];
                let peer = self.players[index].peer;
                self.market.rig.says(peer, interest);
            }
            _ => {}
        }
    }

    fn bid(&mut self, index: usize, rate: u64) {
        let Player { peer, bid, .. } = self.players[index];
        if rate != bid {
            self.players[index].bid = rate;
            self.market.say(peer, &ReceiptMessage::Bid(Rate::new(rate)));
        }
    }

    /// Keeps so many requests in flight, if it may ask.
    fn ask(&mut self, index: usize, depth: usize) {
        let Player { peer, asked, .. } = self.players[index];
        let wire = self.market.rig.wire(peer);
        if !wire.unchoked {
            return;
        }
        let count = depth.saturating_sub(wire.asked.len());
        let count = u32::try_from(count).expect("few");
        let blocks = self.blocks_per_piece;
        let requests: Vec<Message> = (asked..asked + count)
            .map(|n| request(n / blocks % (4_096 / blocks), n % blocks))
            .collect();
        self.players[index].asked += count;
        if !requests.is_empty() {
            self.market.rig.says(peer, requests);
        }
    }

    fn receive(&mut self, index: usize) {
        let Player { peer, .. } = self.players[index];
        let paid_before = self.paid_total(index);
        let blocks = u64::try_from(self.market.rig.send_all(peer)).expect("few");
        let paid = self.paid_total(index) - paid_before;
        let bytes = blocks * u64::from(BLOCK_LEN);
        let seated = self.market.class(peer) == Some(Class::Paid);
        let player = &mut self.players[index];
        player.taken += bytes;
        player.seated_steps = if seated { player.seated_steps + 1 } else { 0 };
        if player.seated_steps > 1 {
            player.free_in_seat += bytes - paid;
        }
    }

    /// Signs for every whole piece that came as paid, at what each block cost.
    fn pay(&mut self, index: usize) {
        let Player { play, bid, .. } = self.players[index];
        let piece = u64::from(self.blocks_per_piece) * u64::from(BLOCK_LEN);
        let bytes = match play {
            Play::ParkPaying => self.paid_total(index),
            _ => self.paid_total(index) / piece * piece,
        };
        let rate = match play {
            Play::Squat(low) => low.max(ASK),
            _ => bid.max(HONEST_BID),
        };
        let due = Rate::new(rate).raw_cost(Bytes::new(bytes));
        let amount = due.floor().expect("small").get();
        if amount > self.players[index].signed {
            self.sign(index, amount);
        }
    }

    fn sign(&mut self, index: usize, amount: u64) {
        let Player {
            peer,
            secret,
            taken,
            ..
        } = self.players[index];
        let lock = self.market.locks.iter();
        let identity = Identity::from_secret([secret; 32]);
        let lock = lock
            .map(|status| status.lock.body)
            .find(|lock| lock.payer == identity.id());
        let lock = lock.expect("a bidder has a lock");
        let body = Receipt {
            network_id: lock.network_id,
            channel_id: lock.channel().id(),
            bytes: Bytes::new(taken),
            amount: MicroCredits::new(amount),
        };
        self.players[index].signed = amount;
        let receipt = body.sign(&identity);
        self.market.say(peer, &ReceiptMessage::Receipt(receipt));
    }

    /// Bytes that left for a player as paid.
    fn paid_total(&self, index: usize) -> u64 {
        let peer = self.market.rig.session.peers.get(&self.players[index].peer);
        let link = peer.and_then(Peer::live);
        link.map_or(0, |link| link.upload.paid_rate.total())
    }

    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut total = 0;
        for (index, player) in self.players.iter().enumerate() {
            total += player.taken;
            let id = Identity::from_secret([player.secret; 32]).id();
            let pair = self.market.rig.session.market.exchange().pair(id);
            let cleared = pair.map_or(0, |pair| pair.paid_bytes.get());
            let unpaid = self.paid_total(index).saturating_sub(cleared);
            outcome.free_in_seat += player.free_in_seat;
            match player.play {
                Play::Honest => outcome.honest += self.paid_total(index),
                Play::Plain => {}
                _ => {
                    outcome.bought += self.paid_total(index) - unpaid;
                    outcome.unpaid += unpaid;
                    outcome.unpaid_max = outcome.unpaid_max.max(unpaid);
                }
            }
        }
        outcome.total = total;
        outcome
    }
}

#[derive(Debug, Default)]
struct Outcome {
    /// Bytes that left for anybody.
    total: u64,
    /// Bytes that left for honest payers as paid.
    honest: u64,
    /// Bytes that left for attackers as paid, and were.
    bought: u64,
    /// Bytes that left for attackers as paid, and were not paid.
    unpaid: u64,
    /// The most of that for one key.
    unpaid_max: u64,
    /// Bytes that left from a paid seat, and not as paid.
    free_in_seat: u64,
}

impl Outcome {
    /// What was sold of all that left: what attackers pay for, at 20 times the price, is theirs.
    fn sold_percent(&self) -> u64 {
        (self.honest + self.bought) * 100 / self.total.max(1)
    }
}

/// The honest share without an attack; whatever else: no open block leaves a paid seat.
fn undisturbed(blocks_per_piece: u32) -> u64 {
    let quiet = Scene::new(Play::Plain, 0, blocks_per_piece).run(SCENE_SECS);
    assert_eq!(quiet.free_in_seat, 0, "no open block leaves a paid seat");
    assert!(
        quiet.total > UPLOAD_LIMIT * SCENE_SECS * 9 / 10,
        "{quiet:?}"
    );
    quiet.sold_percent()
}

fn attacked(play: Play, count: u8, blocks_per_piece: u32) -> Outcome {
    let outcome = Scene::new(play, count, blocks_per_piece).run(SCENE_SECS);
    assert_eq!(outcome.free_in_seat, 0, "no open block leaves a paid seat");
    outcome
}

/// Attacks that pay nothing, or less than they bid: kind, how many, and what one key may get
/// unpaid.
fn harmless(plays: &[(Play, u8, u64)]) {
    let quiet = undisturbed(16);
    for (play, count, unpaid_max) in plays {
        let outcome = attacked(*play, *count, 16);
        let share = outcome.sold_percent();
        println!("{play:?} x {count}: {share}% of {quiet}% {outcome:?}");
        let loss_max = match play {
            Play::PaysThenParks => PARKED_SHARE_LOSS_MAX,
            _ => SHARE_LOSS_MAX,
        };
        assert!(share + loss_max >= quiet, "{play:?}: {share}% of {quiet}%");
        assert!(outcome.unpaid_max <= *unpaid_max, "{play:?}: {outcome:?}");
    }
}

/// Most that a key which pays nothing has open, twice: its window is one piece.
const NEWCOMER_MAX: u64 = 2 * 16 * BLOCK_LEN as u64;

#[test]
fn m2_a_low_bid_for_requests_and_a_high_one_for_the_seat_gain_nothing() {
    harmless(&[(Play::Squat(0), 2, 0), (Play::Squat(ASK), 2, 0)]);
}

#[test]
fn m3_bidding_nothing_once_seated_gains_nothing() {
    harmless(&[
        (Play::ZeroOnceSeated, 2, 0),
        (Play::OutbidsAndCancels, 2, NEWCOMER_MAX),
    ]);
}

#[test]
fn m4_a_seat_is_not_held_by_dripping_nor_by_owing() {
    harmless(&[(Play::Drip, 2, 2 * MIB), (Play::NeverPays, 3, NEWCOMER_MAX)]);
}

#[test]
fn a_seat_is_not_held_by_parking() {
    harmless(&[
        (Play::Park, 3, 0),
        (Play::ParkPaying, 3, NEWCOMER_MAX),
        (Play::PaysThenParks, 3, NEWCOMER_MAX),
        (Play::Park, 20, 0),
    ]);
}

#[test]
fn many_keys_that_never_pay_get_a_window_each_and_little_of_the_time() {
    let quiet = undisturbed(16);
    let outcome = attacked(Play::NeverPays, 20, 16);
    let share = outcome.sold_percent();
    println!("20 keys: {share}% of {quiet}% {outcome:?}");
    assert!(share + 12 >= quiet, "{share}% of {quiet}%");
    assert!(outcome.unpaid_max <= NEWCOMER_MAX, "{outcome:?}");
}

/// Scripts in which bids, requests, interest, pauses and payments are drawn.
#[test]
fn no_script_gets_more_than_windows_nor_much_of_the_time() {
    let quiet = undisturbed(16);
    for rng_seed in 0..6 {
        let mut scene = Scene::new(Play::Script, 3, 16);
        scene.rng = Rng::new(rng_seed);
        let outcome = scene.run(SCENE_SECS);
        let share = outcome.sold_percent();
        println!("script {rng_seed}: {share}% of {quiet}% {outcome:?}");
        assert_eq!(outcome.free_in_seat, 0, "no open block leaves a paid seat");
        assert!(
            share + 10 >= quiet,
            "script {rng_seed}: {share}% of {quiet}%"
        );
        // Two windows, and one for the back-off that fits into a minute.
        assert!(
            outcome.unpaid_max <= 3 * MIB,
            "script {rng_seed}: {outcome:?}"
        );
    }
}

/// A new clearing price is quoted to whoever is seated before anything more is granted to it.
#[test]
fn m6_a_new_clearing_price_is_quoted_to_those_who_are_seated() {
    let mut scene = Scene::empty(PaidRule::UniformPrice, 16);
    for (secret, bid) in [(1, 100_000), (2, 90_000), (3, 80_000)] {
        scene.join_bidding(secret, Play::Honest, bid);
    }
    scene.join(4, Play::Plain);
    let mut caps = Vec::new();
    for second in 0..70 {
        if second == 35 {
            // Who lost wins, and another's bid is the price.
            scene.bid(2, 95_000);
        }
        scene.run(1);
        scene.market.settle();
        let clearing = scene.market.rig.session.choker.clearing_price();
        for player in &scene.players {
            let quote = scene.market.quoted(player.peer).map(|quote| quote.rate);
            if scene.market.class(player.peer) == Some(Class::Paid) {
                assert_eq!(quote, Some(clearing.unwrap_or(Rate::new(ASK))));
            }
        }
        caps.extend(clearing.map(Rate::get));
    }
    assert_eq!(caps.first(), Some(&80_000), "the bid that lost");
    assert_eq!(caps.last(), Some(&90_000), "{caps:?}");
}

/// Two payers share by the prices of their seats, and by the new one after a raise.
#[test]
fn proportional_shares_follow_the_price_in_force() {
    let mut scene = Scene::empty(PaidRule::Proportional, 16);
    scene.join_bidding(1, Play::Honest, 50_000);
    scene.join_bidding(2, Play::Honest, 150_000);
    scene.join(4, Play::Plain);
    scene.run(20);
    let mut before = [scene.paid_total(0), scene.paid_total(1)];
    let mut ratios = Vec::new();
    for raise in [None, Some(450_000)] {
        if let Some(rate) = raise {
            scene.bid(0, rate);
            scene.run(2);
            before = [scene.paid_total(0), scene.paid_total(1)];
        }
        scene.run(20);
        let after = [scene.paid_total(0), scene.paid_total(1)];
        let took = [after[0] - before[0], after[1] - before[1]];
        ratios.push(took[0] * 100 / took[1]);
    }
    assert!((30..=37).contains(&ratios[0]), "{ratios:?}");
    assert!((270..=330).contains(&ratios[1]), "{ratios:?}");
}

#[test]
fn a_key_that_defaults_after_paying_gets_two_windows_at_most() {
    let outcome = attacked(Play::Defaults, 3, 16);
    assert!(outcome.unpaid_max <= 4 * MIB, "{outcome:?}");
}
