//! Arbitrary traders against one session that sells and buys.
//!
//! Peers prove keys and say whatever the receipt protocol has words for, with any number in it, in
//! any order; a settlement node answers anything under its own seal; clocks jump; the owner orders
//! what he likes. Every step is a kind and a number from which it draws whatever else it needs. The
//! driver is honest. Nothing may reach an assertion.

use proptest::prelude::*;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::{AccountAnswer, AnswerBody, OperationAnswer, SettlementRequest};
use seedbank_ledger::settlement::{SettlementAnswer, Statement};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelId, ChannelKind};
use seedbank_ledger::signed::head::LedgerHead;
use seedbank_ledger::signed::lock::{Lock, LockId, SignedLock};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::statement::{AccountStatus, LockStatus};
use seedbank_ledger::{Bytes, Identity, MicroCredits, NetworkId, NodeId, Rate, Sequence, UnixTime};

use super::market::{Market, identity_of, unix};
use super::rig::{metainfo, millis, request};
use super::seeded::seeded;
use crate::credit::settlement::Unreachable;
use crate::credit::wallet::tests::settlement::Settlement;
use crate::interface::command::{BoostOrder, Command};
use crate::interface::config::{CreditPolicy, PaidRule, Policy};
use crate::interface::input::Input;
use crate::interface::output::Output;
use crate::rng::Rng;
use crate::session::tests::Remote;
use crate::units::{Block, PeerIndex, TorrentId};
use crate::wire::message::Message;
use crate::wire::receipt::{ErrorCode, LockFault, Quote, QuoteState, ReceiptMessage, SyncEntry};

const CREDIT: u64 = 1_000_000_000;
const TRADERS: u32 = 4;
const FIRST: u32 = 20;
const PIECES: u32 = 256;
const BLOCKS: u32 = 16;

struct Trader {
    peer: PeerIndex,
    number: u32,
}

struct Fair {
    market: Market,
    wanted: TorrentId,
    draw: Rng,
    traders: Vec<Trader>,
    keys: u32,
    boosts: u32,
    clock_secs: u64,
    /// One in so many numbers, signatures and answers is absurd.
    mischief: u64,
    /// What traders sign grows.
    signed: u64,
    /// Locks that anybody showed or was told of.
    locks: Vec<SignedLock>,
}

impl Fair {
    fn new(mischief: u64) -> Self {
        let mut ledger = Settlement::new(unix(0, 0));
        ledger.grant(us().id(), CREDIT);
        let policy = Policy {
            credit: super::market::at_least(1_000),
            ..super::rig::slots(3)
        };
        let mut market = Market::at(ledger, policy);
        let wanted = market.rig.leech(&metainfo("wanted", 8, BLOCKS));
        let mut fair = Self {
            market,
            wanted,
            draw: Rng::new(1),
            traders: Vec::new(),
            keys: 0,
            boosts: 0,
            clock_secs: unix(0, 0).as_secs(),
            mischief,
            signed: 0,
            locks: Vec::new(),
        };
        fair.wait(3_000);
        for _ in 0..TRADERS {
            fair.join();
        }
        fair
    }

    fn step(&mut self, kind: u8, number: u64) {
        self.draw = Rng::new(number);
        self.meet();
        let index = self.draw.index(self.traders.len());
        match kind % 32 {
            0..14 => {
                let message = self.message(index);
                let peer = self.traders[index].peer;
                let count = 1 + self.draw.index(3);
                for _ in 0..count {
                    self.market.say(peer, &message);
                }
            }
            14..18 => self.plain(index),
            18..21 => self.data(index),
            21 | 22 => {
                let peer = self.traders[index].peer;
                self.market.rig.send_all(peer);
            }
            23 => self.owner(),
            24 => self.driver(),
            25 => {
                let peer = self.traders[index].peer;
                self.market.rig.close(peer);
                self.traders.remove(index);
                self.join();
            }
            26 => {
                let step = [1, 30, 600, 5_000, 40_000, 700_000][self.draw.index(6)];
                let ms = self.draw.below(step);
                self.wait(ms);
            }
            _ => self.wait(200),
        }
        self.settle();
        self.check();
    }

    /// Whoever was closed comes again.
    fn meet(&mut self) {
        for index in (0..self.traders.len()).rev() {
            let peer = self.traders[index].peer;
            if self.market.rig.is_closing(peer) {
                self.market.rig.close(peer);
                self.traders.remove(index);
            }
        }
        while self.traders.len() < usize::try_from(TRADERS).expect("few") {
            self.join();
        }
    }

    fn join(&mut self) {
        self.keys += 1;
        let number = FIRST + self.keys % 6;
        let name = u8::try_from(100 + self.keys % 100).expect("small");
        let sells = self.draw.chance(1, 2);
        let torrent_id = if sells {
            self.wanted
        } else {
            self.market.torrent
        };
        let peer = self.market.rig.join(torrent_id, Remote::modern(name));
        if sells {
            self.market.rig.says(peer, [Message::HaveAll]);
        }
        if !self.market.rig.is_closing(peer) {
            let ask = [
                None,
                Some(Rate::ZERO),
                Some(Rate::new(1_000)),
                Some(Rate::MAX),
            ];
            let ask = ask[self.draw.index(4)];
            self.market.prove(peer, number, ask);
        }
        if sells {
            self.market.rig.says(peer, [Message::Unchoke]);
        } else if self.draw.chance(4, 5) {
            let lock = self.good_lock(number);
            self.market.say(peer, &ReceiptMessage::Lock(Box::new(lock)));
            self.market.say(peer, &ReceiptMessage::Bid(Rate::PAR));
            self.market.rig.says(peer, [Message::Interested]);
        }
        self.traders.push(Trader { peer, number });
    }

    fn any(&mut self) -> u64 {
        let some = self.draw.below(1 << 24);
        if !self.is_absurd() {
            return some;
        }
        let all = [
            0,
            1,
            2,
            1_000,
            16_384,
            1 << 20,
            1 << 30,
            1 << 50,
            (1 << 50) + 1,
            u64::MAX - 1,
            u64::MAX,
            some,
            some,
        ];
        all[self.draw.index(all.len())]
    }

    fn is_absurd(&mut self) -> bool {
        self.draw.chance(1, self.mischief)
    }

    /// A bid that most of them could mean.
    fn rate(&mut self) -> Rate {
        let usual = [0, 1, 1_000, 30_000, 1_000_000, 2_000_000];
        match self.is_absurd() {
            true => Rate::new(self.any()),
            false => Rate::new(usual[self.draw.index(usual.len())]),
        }
    }

    fn network_id(&self) -> NetworkId {
        self.market
            .ledger
            .as_ref()
            .expect("it has one")
            .network()
            .id
    }

    /// A lock of a payer of this number for us that anybody would serve on.
    fn good_lock(&mut self, number: u32) -> SignedLock {
        let lock = self.lock_of(identity_of(number).id(), us().id());
        let body = Lock {
            amount: MicroCredits::new(1 << 40),
            lock_id: LockId::new(1_000 + u64::from(number)),
            opening_order: OrderHash::from_bytes([u8::try_from(number).expect("small"); 32]),
            expires_at: UnixTime::from_secs(self.clock_secs).plus_secs(3_600),
            grace_secs: 86_400,
            ..lock
        };
        let lock = body.sign(&settlement_key());
        self.locks.push(lock);
        lock
    }

    fn lock_of(&mut self, payer: NodeId, payee: NodeId) -> Lock {
        let place = self.draw.below(5);
        let near = self.clock_secs.saturating_add(self.draw.below(10_000));
        let expires_at = match self.is_absurd() {
            true => self.any(),
            false => near,
        };
        let graces = [0, 3_599, 3_600, 86_400, u32::MAX];
        Lock {
            network_id: self.network_id(),
            lock_id: LockId::new(if place == 0 {
                self.any()
            } else {
                2_000 + place
            }),
            opening_order: OrderHash::from_bytes([u8::try_from(place).expect("small"); 32]),
            payer,
            payee,
            amount: MicroCredits::new(self.any()),
            expires_at: UnixTime::from_secs(expires_at),
            grace_secs: graces[self.draw.index(graces.len())],
        }
    }

    /// Another certificate of a known lock, one of the pair that is new, or a forged one.
    fn lock(&mut self, number: u32) -> SignedLock {
        let known = self.locks_of(number);
        let them = identity_of(number).id();
        let body = match known.is_empty() || self.is_absurd() {
            true if self.draw.chance(1, 3) => self.lock_of(us().id(), them),
            true => self.lock_of(them, us().id()),
            false => {
                let body = known[self.draw.index(known.len())].body;
                match self.draw.below(self.mischief.max(4)) {
                    0 => Lock {
                        amount: MicroCredits::new(self.any()),
                        ..body
                    },
                    1 => Lock {
                        expires_at: UnixTime::from_secs(self.any()),
                        ..body
                    },
                    _ => body,
                }
            }
        };
        let by = match self.is_absurd() {
            true => Identity::from_secret([3; 32]),
            false => settlement_key(),
        };
        let lock = body.sign(&by);
        if self.locks.len() < 200 {
            self.locks.push(lock);
        }
        lock
    }

    fn locks_of(&self, number: u32) -> Vec<SignedLock> {
        let them = identity_of(number).id();
        let exchange = self.market.rig.session.market.exchange();
        let paying = exchange.paying_locks().map(|lock| lock.lock);
        let earning = exchange.earning_locks().map(|lock| lock.lock);
        let known = paying.chain(earning).chain(self.locks.iter().copied());
        known
            .filter(|lock| lock.body.payer == them || lock.body.payee == them)
            .collect()
    }

    fn receipt(&mut self, number: u32) -> SignedReceipt {
        let them = identity_of(number);
        let known = self.locks_of(number);
        let zeros = NetworkId::from_bytes([0; 32]);
        let (network_id, channel_id) = match known.is_empty() || self.draw.chance(1, 4) {
            true => (zeros, acks(them.id(), us().id())),
            false => {
                let lock = known[self.draw.index(known.len())].body;
                (lock.network_id, lock.channel().id())
            }
        };
        let amount = match network_id == zeros && !self.is_absurd() {
            true => 0,
            false => self.any(),
        };
        self.signed += self.draw.below(3_000);
        let (bytes, amount) = match self.is_absurd() {
            true => (self.any(), amount),
            false if amount == 0 => (self.signed * 16, 0),
            false => (self.signed * 16, self.signed),
        };
        let body = Receipt {
            network_id,
            channel_id,
            bytes: Bytes::new(bytes),
            amount: MicroCredits::new(amount),
        };
        match self.is_absurd() {
            true => body.sign(&Identity::from_secret([3; 32])),
            false => body.sign(&them),
        }
    }

    /// A receipt of ours as they may hold it: what we signed, or would have before a restore.
    fn held(&mut self, number: u32) -> Option<SignedReceipt> {
        let them = identity_of(number).id();
        let exchange = self.market.rig.session.market.exchange();
        let mut locks = exchange.paying_locks();
        let lock = locks.find(|lock| lock.lock.body.payee == them);
        let (body, receipt) = lock.map(|lock| (lock.lock.body, lock.receipt))?;
        drop(locks);
        if self.draw.chance(2, 3) {
            return receipt;
        }
        let amount = self.any().min(body.amount.get());
        let body = Receipt {
            network_id: body.network_id,
            channel_id: body.channel().id(),
            bytes: Bytes::new(self.any()),
            amount: MicroCredits::new(amount),
        };
        Some(body.sign(&us()))
    }

    fn message(&mut self, index: usize) -> ReceiptMessage {
        let number = self.traders[index].number;
        match self.draw.below(24) {
            0..6 => ReceiptMessage::Bid(self.rate()),
            6..10 => ReceiptMessage::Quote(self.quote()),
            10..12 => ReceiptMessage::Lock(Box::new(self.lock(number))),
            12..18 => ReceiptMessage::Receipt(self.receipt(number)),
            18 | 19 => {
                let sync = self.sync(number);
                ReceiptMessage::Sync(sync)
            }
            20 => {
                let lock_id = self.lock(number).body.lock_id;
                let newest = self.draw.chance(1, 2).then(|| self.receipt(number));
                ReceiptMessage::Close { lock_id, newest }
            }
            21 => ReceiptMessage::Tip {
                amount: MicroCredits::new(self.any()),
                note: String::new(),
            },
            _ if self.draw.chance(3, 4) && !self.is_absurd() => ReceiptMessage::Bid(Rate::PAR),
            _ => self.error(number),
        }
    }

    fn quote(&mut self) -> Quote {
        if !self.is_absurd() && self.draw.chance(3, 4) {
            return Quote {
                state: QuoteState::Paid,
                rate: Rate::MAX,
                window: Bytes::new(1 << 20),
                written_off: Bytes::ZERO,
            };
        }
        let states = [QuoteState::Open, QuoteState::Queued, QuoteState::Paid];
        let state = states[self.draw.index(3)];
        let rates = [Rate::MAX, Rate::new(self.any())];
        let rate = match state {
            QuoteState::Open => Rate::ZERO,
            QuoteState::Queued | QuoteState::Paid => rates[self.draw.index(2)],
        };
        Quote {
            state,
            rate,
            window: Bytes::new(self.any()),
            written_off: Bytes::new(self.any()),
        }
    }

    fn sync(&mut self, number: u32) -> Vec<SyncEntry> {
        let mut entries: Vec<SyncEntry> = Vec::new();
        if self.draw.chance(1, 2) {
            entries.push(SyncEntry {
                lock_id: None,
                held: None,
                sent: self.draw.chance(1, 2).then(|| self.receipt(number)),
                lock: None,
                closed: false,
            });
        }
        for _ in 0..self.draw.index(5) {
            let lock = self.lock(number);
            let lock_id = Some(lock.body.lock_id);
            if entries.iter().all(|entry| entry.lock_id != lock_id) {
                entries.push(SyncEntry {
                    lock_id,
                    held: self.held(number),
                    sent: self.draw.chance(1, 2).then(|| self.receipt(number)),
                    lock: Some(lock),
                    closed: self.draw.chance(1, 4),
                });
            }
        }
        entries
    }

    fn error(&mut self, number: u32) -> ReceiptMessage {
        let faults = [
            LockFault::Contradicts,
            LockFault::Amount,
            LockFault::Time,
            LockFault::Other(9),
        ];
        let codes = [
            ErrorCode::NotSynced,
            ErrorCode::ChannelUnknown,
            ErrorCode::Stale,
            ErrorCode::LockClosed,
            ErrorCode::LockRefused(faults[self.draw.index(4)]),
            ErrorCode::Other(77),
        ];
        let code = codes[self.draw.index(codes.len())];
        let known = self.locks_of(number);
        let channel_id = match known.is_empty() || self.draw.chance(1, 6) {
            true => None,
            false => Some(known[self.draw.index(known.len())].body.channel().id()),
        };
        ReceiptMessage::Error { code, channel_id }
    }

    fn plain(&mut self, index: usize) {
        let peer = self.traders[index].peer;
        let count = 1 + self.draw.below(40);
        let messages: Vec<Message> = match self.draw.below(10) {
            0 => vec![Message::Choke],
            1 | 2 => vec![Message::Unchoke],
            3 => vec![Message::NotInterested],
            4 | 5 => vec![Message::Interested],
            6 => {
                let owed = &self.market.rig.wire(peer).owed;
                owed.keys().take(3).copied().map(Message::Reject).collect()
            }
            _ => (0..count)
                .map(|_| {
                    let piece = u32::try_from(self.draw.below(PIECES.into())).expect("small");
                    let block = u32::try_from(self.draw.below(BLOCKS.into())).expect("small");
                    request(piece, block)
                })
                .collect(),
        };
        self.market.rig.says(peer, messages);
    }

    fn data(&mut self, index: usize) {
        let peer = self.traders[index].peer;
        for _ in 0..1 + self.draw.index(20) {
            let owed: Vec<Block> = self.market.rig.wire(peer).owed.keys().copied().collect();
            if owed.is_empty() || self.market.rig.is_closing(peer) {
                return;
            }
            let block = owed[self.draw.index(owed.len())];
            let good = !self.draw.chance(1, 60);
            self.market.rig.block(peer, block, good);
        }
        self.market.rig.hash_all();
    }

    fn owner(&mut self) {
        let command = match self.draw.below(8) {
            0..5 => {
                self.boosts += 1;
                let usual = 1 + self.draw.below(CREDIT / 10);
                let max = if self.draw.chance(1, 4) {
                    self.any()
                } else {
                    usual
                };
                let bid = self.rate();
                Command::Boost(BoostOrder {
                    request_id: format!("boost {}", self.boosts),
                    torrent_id: self.wanted,
                    max: MicroCredits::new(max),
                    bid,
                    time_to_live_secs: [None, Some(50), Some(self.any())][self.draw.index(3)],
                })
            }
            5 => Command::CancelBoost(self.draw.below(u64::from(self.boosts) + 2)),
            6 => Command::BookReceipts,
            _ => {
                let day = [None, Some(self.any())][self.draw.index(2)];
                let rules = [
                    PaidRule::TopK,
                    PaidRule::Proportional,
                    PaidRule::UniformPrice,
                ];
                Command::SetPolicy(Policy {
                    paid_rule: rules[self.draw.index(3)],
                    credit: CreditPolicy {
                        earn: !self.draw.chance(1, 6),
                        spend: !self.draw.chance(1, 6),
                        rate_min: [None, Some(self.rate())][self.draw.index(2)],
                        friends: Vec::new(),
                        spend_per_day_max: day.map(MicroCredits::new),
                    },
                    ..super::rig::slots(1 + self.draw.index(4))
                })
            }
        };
        let _ = self.market.rig.try_command(command);
    }

    /// What a driver may tell besides.
    fn driver(&mut self) {
        match self.draw.below(4) {
            0..3 if !self.is_absurd() => {}
            0 | 1 => {
                let off = self.draw.below(5_000);
                self.clock_secs = match self.draw.index(4) {
                    0 => self.clock_secs.saturating_sub(off),
                    1 => self.any(),
                    _ => unix(0, 0).as_secs().saturating_add(off),
                };
                let clock = UnixTime::from_secs(self.clock_secs);
                self.market.rig.input(Input::Clock(clock));
            }
            2 => {
                let line = Sequence::new(self.any());
                self.market.rig.input(Input::LineEntered(line));
            }
            _ => {
                let input = Input::LineRefused {
                    line: Sequence::new(self.any()),
                    refusal: Refusal::BadSignature,
                    newest: [None, Some(Sequence::new(self.any()))][self.draw.index(2)],
                };
                self.market.rig.input(input);
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        self.market.rig.advance(millis(ms));
        self.market.rig.hash_all();
        self.settle();
    }

    /// The settlement node answers, mostly what is so.
    fn settle(&mut self) {
        for _ in 0..30 {
            let mut asked = Vec::new();
            for output in self.market.rig.take() {
                if let Output::Settle { request, what } = output {
                    asked.push((request, what));
                }
            }
            if asked.is_empty() {
                return;
            }
            for (request, what) in asked {
                let answer = match self.draw.below(self.mischief.max(3)) {
                    0 => Err(Unreachable("down".to_owned())),
                    1 => {
                        let answer = self.lie(&what);
                        let ledger = self.market.ledger.as_ref().expect("it has one");
                        Ok(ledger.seal(&what, &answer))
                    }
                    _ => {
                        let secs = self.clock_secs;
                        let ledger = self.market.ledger.as_mut().expect("it has one");
                        ledger.time = ledger.time.max(UnixTime::from_secs(secs.min(1 << 40)));
                        Ok(ledger.handle(&what))
                    }
                };
                self.market.rig.input(Input::Settled { request, answer });
            }
        }
    }

    /// Anything that a settlement node could seal.
    fn lie(&mut self, what: &SettlementRequest) -> SettlementAnswer {
        let ledger = self.market.ledger.as_mut().expect("it has one");
        let honest = ledger.answer(what);
        let time = match self.draw.chance(1, 3) {
            true => UnixTime::from_secs(self.any()),
            false => honest.time,
        };
        let body = match (honest.body, self.draw.below(8)) {
            (_, 0) => AnswerBody::Refused(Refusal::Expired),
            (_, 1) => AnswerBody::Operation(Box::new(OperationAnswer {
                refusal: [None, Some(Refusal::NoStanding)][self.draw.index(2)],
                used_by: None,
                sequence: [None, Some(Sequence::new(self.any()))][self.draw.index(2)],
                line: None,
            })),
            (_, 2) => AnswerBody::Account(self.account()),
            (AnswerBody::Lock(_), _) | (_, 3) => AnswerBody::Lock(self.status()),
            (AnswerBody::Statement(statement), kind) => AnswerBody::Statement(Statement {
                account: match kind {
                    4..6 => self.account(),
                    _ => statement.account,
                },
                more: self.draw.chance(1, 4),
                lines: match kind {
                    6 => statement.lines.into_iter().skip(1).collect(),
                    _ => statement.lines,
                },
            }),
            (AnswerBody::Operation(mut told), kind) => {
                told.sequence = Some(Sequence::new(self.any()));
                if let (SettlementRequest::Submit { order, .. }, 4..) = (what, kind) {
                    let mut other = order.body;
                    other.valid_until = UnixTime::from_secs(self.any());
                    let by = [us(), settlement_key()];
                    told.used_by = Some(other.sign(&by[self.draw.index(2)]));
                }
                AnswerBody::Operation(told)
            }
            (body, _) => body,
        };
        SettlementAnswer { time, body }
    }

    fn account(&mut self) -> AccountAnswer {
        let head = LedgerHead {
            network_id: self.network_id(),
            size: self.any(),
            entry_hash: seedbank_ledger::entry::EntryHash::NONE,
            time: UnixTime::from_secs(self.any()),
        };
        AccountAnswer {
            status: AccountStatus {
                account: us().id(),
                available: MicroCredits::new(self.any()),
                reserved: MicroCredits::new(self.any()),
                nonce: self.any(),
            },
            head: head.sign(&settlement_key()),
        }
    }

    fn status(&mut self) -> Option<LockStatus> {
        let number = FIRST + u32::try_from(self.draw.below(6)).expect("small");
        let lock = match self.locks_of(number) {
            known if !known.is_empty() && !self.draw.chance(1, 6) => {
                known[self.draw.index(known.len())]
            }
            _ => self.lock(number),
        };
        (!self.draw.chance(1, 8)).then(|| LockStatus {
            lock,
            claimed: MicroCredits::new(self.any()),
            closed: self.draw.chance(1, 3),
        })
    }

    fn check(&self) {
        for (_, pair) in self.market.rig.session.market.exchange().pairs() {
            assert!(pair.exposure <= pair.limit.max(pair.window), "{pair:?}");
        }
    }
}

fn us() -> Identity {
    Identity::from_secret([7; 32])
}

/// Whose word the network takes.
fn settlement_key() -> Identity {
    Identity::from_secret([77; 32])
}

fn acks(payer: NodeId, payee: NodeId) -> ChannelId {
    let channel = Channel {
        network_id: NetworkId::from_bytes([0; 32]),
        kind: ChannelKind::Acknowledgement,
        payer,
        payee,
    };
    channel.id()
}

proptest! {
    #![proptest_config(seeded(77, 4))]

    #[test]
    fn no_trader_settlement_node_or_clock_reaches_an_assertion(
        mischief in prop::sample::select(vec![2_u64, 30, 1_000]),
        steps in prop::collection::vec(any::<(u8, u64)>(), 1..400)
    ) {
        let mut fair = Fair::new(mischief);
        for (kind, number) in steps {
            fair.step(kind, number);
        }
    }
}

/// That the traders above come far enough to trade.
#[test]
fn traders_buy_and_are_bought_from() {
    let mut draw = Rng::new(1);
    let (mut sold, mut signed, mut locks) = (0, 0, 0);
    for _ in 0..10 {
        let mut fair = Fair::new(1_000);
        for _ in 0..400 {
            let number = draw.next_u64();
            fair.step(u8::try_from(number >> 56).expect("a byte"), number);
        }
        let exchange = fair.market.rig.session.market.exchange();
        for (_, pair) in exchange.pairs() {
            sold += pair.paid_bytes.get();
            signed += u64::from(!pair.signed.is_zero());
        }
        locks += exchange.paying_locks().count();
    }
    println!("{sold} bytes sold, {signed} pairs paid, {locks} locks opened");
    assert!(sold > 0 && signed > 0 && locks > 0);
}
