//! Random schedules over the node ledgers of a network's parties, judged by `own.rs`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use seedbank_ledger::charts::node::{
    Attribution, ChannelSummary, GroupKey, GroupLine, Grouping, Membership, NodeCommand, NodeLedger,
};
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Bytes, MicroCredits, NetworkId, NodeId, Sequence, UnixTime};

use crate::book::Party;
use crate::draw::{Draw, id, key};
use crate::network::signing::lock_channel;
use crate::network::{PARTIES, SETTLEMENT, START, Schedule};
use crate::own::{ClaimedOf, Event, Group, OwnBook, Sum, Summary, Told};

const RNG_SEEDS: u64 = 12;
const STEPS: u64 = 60;

/// One party's ledger and the book that judges it.
struct Own {
    me: Party,
    store: Memory,
    ledger: NodeLedger<Memory>,
    book: OwnBook,
    /// What was entered, to be tried again.
    entered: Vec<NodeCommand>,
}

struct Nodes {
    draw: Draw,
    network: Schedule,
    own: Vec<Own>,
    is_large: bool,
    tally: BTreeMap<String, u64>,
}

/// Shown bytes stop at 2⁶⁴ − 1.
fn held(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

fn party_of(key: &NodeId) -> Party {
    static PARTIES_BY_KEY: LazyLock<BTreeMap<NodeId, Party>> =
        LazyLock::new(|| (0..PARTIES).map(|party| (id(party), party)).collect());
    PARTIES_BY_KEY[key]
}

fn open(store: &Memory, network_id: NetworkId, me: Party, now: u64) -> NodeLedger<Memory> {
    let membership = Membership {
        network_id,
        settlement: id(SETTLEMENT),
    };
    let now = UnixTime::from_secs(now);
    NodeLedger::open(store.clone(), id(me), Some(membership), now).unwrap()
}

impl Nodes {
    fn new(rng_seed: u64) -> Self {
        let network = Schedule::new(rng_seed);
        let own = (0..PARTIES)
            .map(|me| {
                let store = Memory::new();
                Own {
                    me,
                    ledger: open(&store, network.genesis.network_id(), me, START),
                    store,
                    book: OwnBook::new(me, START),
                    entered: Vec::new(),
                }
            })
            .collect();
        Self {
            draw: Draw::new(!rng_seed),
            network,
            own,
            is_large: rng_seed.is_multiple_of(4),
            tally: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        for _ in 0..3 {
            self.network.step();
        }
        for number in 0..self.own.len() {
            if self.draw.chance(5) {
                let network_id = self.network.genesis.network_id();
                let own = &mut self.own[number];
                own.ledger = open(&own.store, network_id, own.me, self.network.now);
            }
            match self.draw.below(10) {
                0..4 => self.copy_lines(number),
                4..8 => self.summarise(number),
                8 => self.write_off(number),
                _ => self.again(number),
            }
            self.compare(number);
        }
    }

    fn count(&mut self, kind: &str, told: &str) {
        *self.tally.entry(format!("{kind}: {told}")).or_default() += 1;
    }

    /// The next few lines of the party's statement, after one that is tampered with or too early.
    fn copy_lines(&mut self, number: usize) {
        let own = &mut self.own[number];
        let after = own.ledger.newest_line().unwrap();
        let statement = self
            .network
            .ledger
            .statement(&id(own.me), after, 6)
            .unwrap();
        let now = self.network.now;
        let time = UnixTime::from_secs(now);
        let len = usize::try_from(self.draw.below(7)).unwrap();
        if let Some(first) = statement.first()
            && self.draw.chance(30)
        {
            let (bad, expected) = tampered(&mut self.draw, first, statement.get(1), own.me);
            let bad = NodeCommand::Settled(Box::new(bad));
            let outcome = own.ledger.append(time, &[bad]).unwrap().remove(0);
            assert_eq!(outcome, Outcome::Refused(expected), "{first:?}");
            self.count("line", &format!("{expected:?}"));
        }
        let own = &mut self.own[number];
        for line in statement.into_iter().take(len) {
            let event = event(&line);
            let refusal = line.refusal;
            let command = NodeCommand::Settled(Box::new(line));
            let outcome = own
                .ledger
                .append(time, std::slice::from_ref(&command))
                .unwrap()
                .remove(0);
            let sequence = own.book.line(now, event);
            let expected = Outcome::Entered {
                sequence: Sequence::new(sequence),
                refusal,
            };
            assert_eq!(outcome, expected, "{event:?}");
            own.entered.push(command);
            let name = format!("{event:?}");
            let name = name.split('(').next().unwrap();
            *self.tally.entry(format!("line: {name}")).or_default() += 1;
        }
    }

    /// A receipt of some channel, often one of the party's own.
    fn summarise(&mut self, number: usize) {
        let me = self.own[number].me;
        let locks: Vec<_> = self
            .network
            .book
            .locks
            .iter()
            .map(|(number, lock)| (*number, lock.payer, lock.payee, lock.amount))
            .filter(|(_, payer, payee, _)| *payer == me || *payee == me)
            .collect();
        let draw = &mut self.draw;
        let peer = Party::try_from(draw.below(PARTIES.into())).unwrap();
        let (lock, payer, payee, lock_amount) = match draw.below(10) {
            0..7 if !locks.is_empty() => {
                let (number, payer, payee, amount) = draw.of(&locks);
                (Some(number), payer, payee, u64::try_from(amount).unwrap())
            }
            // A lock that no line will ever speak of, paying in or out.
            7 if draw.chance(50) => (Some(1_000_000), me, peer, draw.below(100)),
            7 => (Some(1_000_001 + u64::from(peer)), peer, me, draw.below(100)),
            8 if draw.chance(20) => (None, peer, (peer + 1) % PARTIES, 0),
            8 => (None, me, peer, draw.below(2)),
            _ => (None, peer, me, 0),
        };
        let huge = self.is_large && draw.chance(4);
        let summary = Summary {
            payer,
            payee,
            lock,
            bytes: if huge {
                u64::MAX - draw.below(2)
            } else {
                draw.below(400)
            },
            amount: match draw.below(10) {
                _ if lock.is_none() && draw.chance(95) => 0,
                0..8 => draw.below(lock_amount.clamp(1, 300)),
                8 => lock_amount,
                _ => draw.word(),
            },
            lock_amount: if draw.chance(80) {
                lock_amount
            } else {
                lock_amount / 2
            },
            served: match draw.below(4) {
                0 => 0,
                1 => draw.below(100),
                2 => u64::MAX,
                _ => draw.word(),
            },
            shares: [
                (draw.of(&[0, 0, 1, 9]), draw.of(&[0, 0, 0, 1])),
                (draw.of(&[0, 0, 0, 30]), 0),
            ],
            is_other_network: draw.chance(3),
            is_bad: draw.chance(5),
        };
        let now = self.network.now;
        let command = command(&self.network, &summary);
        let own = &mut self.own[number];
        let outcome = own
            .ledger
            .append(UnixTime::from_secs(now), std::slice::from_ref(&command));
        let told = own.book.summary(now, &summary);
        let outcome = outcome.unwrap().remove(0);
        let name = same(&outcome, told, &format!("{summary:?} of {me}"));
        if matches!(told, Told::Entered(_)) {
            own.entered.push(command);
        }
        self.count("summary", &name);
    }

    fn write_off(&mut self, number: usize) {
        let draw = &mut self.draw;
        let peer = Party::try_from(draw.below(PARTIES.into())).unwrap();
        let huge = self.is_large && draw.chance(20);
        let bytes = if huge { u64::MAX - 5 } else { draw.below(50) };
        let now = self.network.now;
        let own = &mut self.own[number];
        let command = NodeCommand::WriteOff {
            peer: id(peer),
            bytes: Bytes::new(bytes),
        };
        let outcome = own.ledger.append(UnixTime::from_secs(now), &[command]);
        let told = own.book.write_off(now, peer, bytes);
        let name = same(
            &outcome.unwrap()[0],
            told,
            &format!("write-off {peer} {bytes}"),
        );
        self.count("write-off", &name);
    }

    /// What was entered before changes nothing.
    fn again(&mut self, number: usize) {
        let own = &mut self.own[number];
        if own.entered.is_empty() {
            return;
        }
        let place =
            usize::try_from(self.draw.below(own.entered.len().try_into().unwrap())).unwrap();
        let command = own.entered[place].clone();
        let now = UnixTime::from_secs(self.network.now);
        if let NodeCommand::Settled(_) = command {
            let outcome = own.ledger.append(now, &[command]).unwrap().remove(0);
            assert!(matches!(outcome, Outcome::Known { .. }), "{outcome:?}");
            self.count("line", "known");
        }
    }

    fn compare(&mut self, number: usize) {
        let own = &self.own[number];
        let balance = own.ledger.balance().unwrap();
        let holds = [
            balance.available,
            balance.locked,
            balance.signed,
            balance.claimable,
        ];
        assert_eq!(holds.map(|part| u128::from(part.get())), own.book.holds());
        assert_eq!(own.ledger.head().next.get(), own.book.next);
        for (peer, sums) in &own.book.bytes {
            let bytes = own.ledger.peer_bytes(&id(*peer)).unwrap();
            let got = [bytes.taken, bytes.given, bytes.unsigned];
            assert_eq!(got.map(Bytes::get), sums.map(held), "of {peer}");
        }
        let since = match self.draw.below(3) {
            0 => 0,
            1 => own.book.time,
            _ => START + self.draw.below(own.book.time - START + 2),
        };
        let explanation = own.ledger.explain(UnixTime::from_secs(since)).unwrap();
        let (opening, lines, closing) = own.book.explain(since);
        assert_eq!(
            u128::from(explanation.opening.get()),
            opening,
            "since {since}"
        );
        assert_eq!(u128::from(explanation.closing.get()), closing);
        let got: Vec<Sum> = explanation
            .lines
            .iter()
            .map(|line| {
                let count = usize::try_from(line.entry_count).unwrap();
                (
                    line.reason,
                    u128::from(line.bytes.get()),
                    line.amount.get().into(),
                    count,
                )
            })
            .collect();
        let shown: Vec<_> = lines
            .iter()
            .map(|line| (line.0, u128::from(held(line.1)), line.2, line.3))
            .collect();
        assert_eq!(got, shown, "since {since}");
        let signed = |line: &Sum| {
            let amount = i128::try_from(line.2).unwrap();
            if line.0.adds() { amount } else { -amount }
        };
        let change: i128 = lines.iter().map(signed).sum();
        assert_eq!(
            i128::try_from(opening).unwrap() + change,
            i128::try_from(closing).unwrap()
        );
        compare_breakdowns(own, since);
    }

    /// Once every line is copied, a party has what the network says it has.
    fn finish(&mut self) {
        for number in 0..self.own.len() {
            let me = self.own[number].me;
            while !self.is_up_to_date(number) {
                self.copy_lines(number);
            }
            self.compare(number);
            let own = &self.own[number];
            let account = self.network.book.account(me);
            let [available, locked, signed, _] = own.book.holds();
            assert_eq!(available, account.available, "of {me}");
            assert_eq!(locked + signed, self.network.book.reserved(me), "of {me}");
            let report = own.ledger.check().unwrap();
            assert_eq!(report.entry_count, own.book.next);
            own.ledger.check_invariants().unwrap();
        }
    }

    fn is_up_to_date(&self, number: usize) -> bool {
        let own = &self.own[number];
        let newest = own.ledger.newest_line().unwrap().map(Sequence::get);
        let lines = self.network.book.account(own.me).lines;
        newest == lines.last().map(|line| line.sequence)
    }
}

/// Every breakdown adds up to the change, and counts the bytes, that the reasons explain.
fn compare_breakdowns(own: &Own, since: u64) {
    let (opening, lines, closing) = own.book.explain(since);
    let bytes: u128 = lines.iter().map(|line| line.1).sum();
    let [opening, closing] = [opening, closing].map(|sum| i128::try_from(sum).unwrap());
    for &grouping in Grouping::ALL {
        let about = format!("{grouping:?} since {since}");
        let breakdown = own
            .ledger
            .explain_by(grouping, UnixTime::from_secs(since))
            .unwrap();
        assert_eq!(breakdown.opening, opening, "{about}");
        assert_eq!(breakdown.closing, closing, "{about}");
        let changes = breakdown.lines.iter().map(|line| line.change);
        assert_eq!(changes.sum::<i128>(), closing - opening, "{about}");
        let payloads = breakdown.lines.iter().map(GroupLine::payload);
        assert_eq!(payloads.sum::<u128>(), bytes, "{about}");
        let keys: Vec<_> = breakdown.lines.iter().map(|line| line.key).collect();
        assert!(keys.is_sorted_by(|one, next| one < next), "{about}");
        assert_eq!(breakdown.head.get() + 1, own.book.next, "{about}");
        let expected = match grouping {
            Grouping::Peer => own.book.by_peer(since),
            Grouping::Subject => own.book.by_subject(since),
            Grouping::Day => continue,
        };
        let served = breakdown.lines.iter().filter_map(|line| {
            let sums = [line.earned, line.spent, line.given, line.taken];
            (sums != [0; 4]).then(|| (group(&line.key), sums))
        });
        assert_eq!(served.collect::<BTreeMap<_, _>>(), expected, "{about}");
    }
}

fn group(key: &GroupKey) -> Group {
    match key {
        GroupKey::Peer(peer) => Group::Peer(party_of(peer)),
        GroupKey::Subject(subject) => Group::Subject(subject[0]),
        GroupKey::Rest => Group::Rest,
        GroupKey::Day(day) => panic!("no service is of day {day}"),
    }
}

/// The outcome's name, if it is the expected one.
fn same(outcome: &Outcome, told: Told, about: &str) -> String {
    let got = match outcome {
        Outcome::Entered {
            sequence,
            refusal: None,
        } => Told::Entered(sequence.get()),
        Outcome::Known { refusal: None, .. } => Told::Known,
        other => Told::Refused(other.refusal().unwrap()),
    };
    assert_eq!(got, told, "{about}");
    match told {
        Told::Entered(_) => "entered".to_owned(),
        Told::Known => "known".to_owned(),
        Told::Refused(refusal) => format!("{refusal:?}"),
    }
}

/// What a line says happened.
fn event(line: &StatementLine) -> Event {
    if line.refusal.is_some() {
        return Event::Refused;
    }
    let lock = line.lock.map(|status| status.lock.body);
    match &line.operation {
        Operation::Order(order) => {
            let account = party_of(&order.body.account);
            match order.body.kind {
                OrderKind::Transfer { to, amount } => {
                    Event::Transferred(account, party_of(&to), amount.get())
                }
                OrderKind::OpenLock { payee, amount, .. } => {
                    let number = lock.unwrap().lock_id.get();
                    Event::Opened(number, account, party_of(&payee), amount.get())
                }
                OrderKind::TopUp {
                    lock_id, amount, ..
                } => Event::ToppedUp(lock_id.get(), amount.get()),
                OrderKind::CloseLock { .. } => ended(&lock.unwrap()),
                OrderKind::RotateKey { to } => {
                    Event::HandedOver(account, party_of(&to), line.amount.get())
                }
                OrderKind::Grant { to, amount } => Event::Granted(party_of(&to), amount.get()),
                OrderKind::Burn { amount } => Event::Burned(amount.get()),
            }
        }
        Operation::Claim(claim) => {
            let lock = lock.unwrap();
            let receipt = claim.body.receipt.body;
            let of = ClaimedOf {
                bytes: receipt.bytes.get(),
                amount: receipt.amount.get(),
                lock_amount: lock.amount.get(),
            };
            let number = claim.body.lock_id.get();
            Event::Claimed(number, party_of(&lock.payer), party_of(&lock.payee), of)
        }
        Operation::Expiry(_) => ended(&lock.unwrap()),
    }
}

fn ended(lock: &Lock) -> Event {
    Event::Ended(
        lock.lock_id.get(),
        party_of(&lock.payer),
        party_of(&lock.payee),
    )
}

/// A line that must not be copied, and why.
fn tampered(
    draw: &mut Draw,
    line: &StatementLine,
    next: Option<&StatementLine>,
    me: Party,
) -> (StatementLine, Refusal) {
    let mut bad = line.clone();
    let other = MicroCredits::new(line.amount.get() ^ 1);
    match draw.below(7) {
        6 => {
            // A reason that no issuer signed.
            bad.reason_bytes = b"a gift".to_vec();
            (bad, Refusal::BadCertificate)
        }
        0 => {
            // Nobody signed this balance.
            let body = &mut bad.certificate.body;
            body.available_after = MicroCredits::new(body.available_after.get() ^ 1);
            (bad, Refusal::BadCertificate)
        }
        1 => {
            // Somebody else signed it.
            bad.certificate = line.certificate.body.sign(&key(me));
            (bad, Refusal::BadCertificate)
        }
        2 => {
            // The settlement node speaks of another account.
            let mut body = line.certificate.body;
            body.account = id(me + 1);
            bad.certificate = body.sign(&key(SETTLEMENT));
            (bad, Refusal::BadCertificate)
        }
        3 => {
            // The settlement node certifies a balance that does not follow.
            let mut body = line.certificate.body;
            body.available_after = MicroCredits::new(body.available_after.get() ^ 1);
            bad.certificate = body.sign(&key(SETTLEMENT));
            (bad, Refusal::OutOfOrder)
        }
        4 if next.is_some() => (next.unwrap().clone(), Refusal::OutOfOrder),
        _ => {
            bad.amount = other;
            (bad, Refusal::BadCertificate)
        }
    }
}

/// A receipt as it is booked.
fn command(network: &Schedule, summary: &Summary) -> NodeCommand {
    let network_id = if summary.is_other_network {
        NetworkId::from_bytes([9; 32])
    } else {
        network.genesis.network_id()
    };
    let channel = Channel {
        network_id,
        kind: summary.lock.map_or(ChannelKind::Acknowledgement, |number| {
            lock_channel(&network.opened, number)
        }),
        payer: id(summary.payer),
        payee: id(summary.payee),
    };
    let body = Receipt {
        network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(summary.bytes),
        amount: MicroCredits::new(summary.amount),
    };
    let signer = if summary.is_bad {
        summary.payer + 1
    } else {
        summary.payer
    };
    let shares = summary.shares.iter().zip(1..);
    NodeCommand::ChannelSummary(Box::new(ChannelSummary {
        channel,
        receipt: body.sign(&key(signer)),
        lock_amount: MicroCredits::new(summary.lock_amount),
        served: Bytes::new(summary.served),
        attribution: shares
            .filter(|((bytes, amount), _)| (*bytes, *amount) != (0, 0))
            .map(|((bytes, amount), subject)| Attribution {
                subject: [subject; 20],
                bytes: Bytes::new(*bytes),
                amount: MicroCredits::new(*amount),
            })
            .collect(),
    }))
}

const REACHED: &str = "line: BadCertificate, line: OutOfOrder, line: known, line: Refused, \
    line: Granted, line: Burned, line: Transferred, line: Opened, line: ToppedUp, line: Claimed, \
    line: Ended, line: HandedOver, summary: entered, summary: known, summary: AlreadyDone, \
    summary: BadReceipt, summary: LockUnknown, summary: NotParty, summary: Overflow, \
    summary: ReceiptRegressed, summary: SameParty, summary: WrongNetwork, write-off: entered, \
    write-off: BadAmount, write-off: SameParty";

#[test]
fn node_ledgers_agree_with_naive_books() {
    let mut total: BTreeMap<String, u64> = BTreeMap::new();
    for rng_seed in 0..RNG_SEEDS {
        let mut nodes = Nodes::new(rng_seed);
        for step in 0..STEPS {
            let tried = std::panic::AssertUnwindSafe(|| nodes.step());
            if let Err(panic) = std::panic::catch_unwind(tried) {
                println!("nodes {rng_seed}, step {step}");
                std::panic::resume_unwind(panic);
            }
        }
        nodes.finish();
        for (name, count) in nodes.tally {
            *total.entry(name).or_default() += count;
        }
    }
    println!("{total:#?}");
    for name in REACHED.split(", ") {
        assert!(total.contains_key(name), "no schedule reached {name}");
    }
}
