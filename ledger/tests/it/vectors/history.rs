//! Vectors with a history: what is well formed, and refused for what came before it.
//!
//! `settlement.json` is one network ledger from its genesis on, `booking.json` one payee's node
//! ledger. Each step has the exact bytes that arrive, and what must come of them; the expectations
//! are written here by hand.

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::charts::node::{ChannelSummary, NodeCommand};
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::statement::{Operation, StatementLine};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Bytes, Identity, MicroCredits, NetworkId, UnixTime};
use serde_json::{Value, json};

use super::make::NO_NETWORK;
use crate::world::{
    ISSUER, NO_ORDER, START, TTL, channel, channel_of, claim, cr, genesis, grant, id, identity,
    lines, network_id, nobodies, open_lock, open_network, open_node, order, receipt, transfer,
};

/// What must come of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Entered,
    EnteredRefused(Refusal),
    Known,
    NonceUsed,
    Refused(Refusal),
}

use Expect::{Entered, EnteredRefused, Known, NonceUsed, Refused};

impl Expect {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Entered { refusal: None, .. } => Entered,
            Outcome::Entered {
                refusal: Some(refusal),
                ..
            } => EnteredRefused(*refusal),
            Outcome::Known { .. } => Known,
            Outcome::NonceUsed { .. } => NonceUsed,
            Outcome::Refused(refusal) => Refused(*refusal),
        }
    }

    fn verdict(self) -> &'static str {
        match self {
            Entered => "entered",
            EnteredRefused(_) => "entered as refused",
            Known => "known",
            NonceUsed => "nonce used",
            Refused(_) => "refused",
        }
    }

    fn refusal(self) -> Option<Refusal> {
        match self {
            EnteredRefused(refusal) | Refused(refusal) => Some(refusal),
            Entered | Known | NonceUsed => None,
        }
    }
}

/// The step as a vector.
fn step(name: &str, now: UnixTime, kind: &str, bytes: &[u8], expect: Expect) -> Value {
    let mut vector = json!({
        "name": name,
        "now": now.as_secs(),
        "kind": kind,
        "bytes": hex::encode(bytes),
        "outcome": expect.verdict(),
    });
    if let Some(refusal) = expect.refusal() {
        vector["refusal"] = refusal.code().into();
        vector["reason"] = refusal.to_string().into();
    }
    vector
}

/// A network ledger and the steps that were put to it.
struct Settling {
    ledger: NetworkLedger<Memory>,
    now: UnixTime,
    steps: Vec<Value>,
    last: Option<Operation>,
}

impl Settling {
    fn new() -> Self {
        Self {
            ledger: open_network(Memory::new()),
            now: START,
            steps: Vec::new(),
            last: None,
        }
    }

    fn put(&mut self, name: &str, operation: Operation, expect: Expect) {
        let outcome = self
            .ledger
            .append(self.now, std::slice::from_ref(&operation));
        let outcome = outcome.unwrap().remove(0);
        assert_eq!(Expect::of(&outcome), expect, "{name}");
        let kind = match &operation {
            Operation::Order(_) => "order",
            Operation::Claim(_) => "claim",
            Operation::Expiry(_) => "expiry",
        };
        let mut vector = step(name, self.now, kind, &operation.to_bytes(), expect);
        if let Some(sequence) = outcome.sequence() {
            vector["entry"] = sequence.get().into();
        }
        let head = self.ledger.head();
        vector["head"] = head.hash.to_string().into();
        self.steps.push(vector);
        self.last = Some(operation);
    }

    fn order(&mut self, name: &str, account: u8, kind: OrderKind, refusal: Option<Refusal>) {
        let nonce = self.ledger.account(&id(account)).unwrap().nonce + 1;
        let expect = refusal.map_or(Entered, EnteredRefused);
        self.put(name, Operation::Order(order(account, nonce, kind)), expect);
    }

    fn again(&mut self, name: &str, expect: Expect) {
        let last = self.last.clone().unwrap();
        self.put(name, last, expect);
    }

    /// A claim on a lock of 1 for 2 by its payee.
    fn claim(&mut self, name: &str, lock_id: LockId, totals: (u64, u64), expect: Expect) {
        let receipt = receipt(&channel(&self.ledger, lock_id, 1, 2), 1, totals.0, totals.1);
        self.put(name, Operation::Claim(claim(lock_id, 2, receipt)), expect);
    }

    fn next_lock(&self) -> LockId {
        LockId::new(self.ledger.head().next.get())
    }
}

fn settling() -> Settling {
    let mut of = Settling::new();
    orders(&mut of);
    let lock_id = locks(&mut of);
    claims(&mut of, lock_id);
    endings(&mut of, lock_id);
    of
}

fn orders(of: &mut Settling) {
    let lawful = order(1, 1, transfer(2, 5));
    of.order("an issuer grants", ISSUER, grant(1, 1_000), None);
    of.again("the same grant again", Known);
    let other = Operation::Order(order(ISSUER, 1, grant(1, 2_000)));
    of.put("another grant with a used nonce", other, NonceUsed);
    let early = Operation::Order(order(ISSUER, 3, grant(1, 1)));
    of.put("a nonce left out", early, Refused(Refusal::WrongNonce));
    let zero = Operation::Order(order(1, 0, transfer(2, 5)));
    of.put("nonce 0", zero, Refused(Refusal::WrongNonce));
    let mut foreign = lawful.body;
    foreign.network_id = NetworkId::from_bytes([9; 32]);
    let foreign = Operation::Order(foreign.sign(&identity(1)));
    of.put("another network", foreign, Refused(Refusal::WrongNetwork));
    let forged = Operation::Order(lawful.body.sign(&identity(2)));
    of.put("another key", forged, Refused(Refusal::BadSignature));
    let mut raised = lawful;
    raised.body.kind = transfer(2, 500);
    let raised = Operation::Order(raised);
    of.put("raised on the way", raised, Refused(Refusal::BadSignature));
    let mut late = lawful.body;
    late.valid_until = START.minus_secs(1);
    let late = Operation::Order(late.sign(&identity(1)));
    of.put("late by a second", late, EnteredRefused(Refusal::Expired));
    let unknown = Some(Refusal::NotIssuer);
    of.order("an unknown issuer grants", 1, grant(1, 5), unknown);
    of.order("nobody's to burn", 1, burn(5), unknown);
    of.order(
        "a grant of nothing",
        ISSUER,
        grant(1, 0),
        Some(Refusal::BadAmount),
    );
    let most = u64::MAX >> 1;
    let overflow = Some(Refusal::Overflow);
    of.order(
        "more than can be in being",
        ISSUER,
        grant(1, most),
        overflow,
    );
    let poor = Some(Refusal::InsufficientCredit);
    of.order("one more than there is", 1, transfer(2, 1_001), poor);
    of.order("to oneself", 1, transfer(1, 1), Some(Refusal::SameParty));
    of.order("a transfer", 1, transfer(2, 5), None);
}

fn burn(amount: u64) -> OrderKind {
    OrderKind::Burn { amount: cr(amount) }
}

fn locks(of: &mut Settling) -> LockId {
    let lifetime = |ttl_secs| OrderKind::OpenLock {
        payee: id(2),
        amount: cr(100),
        ttl_secs,
    };
    let bad = Some(Refusal::BadLifetime);
    of.order("a lock that does not live", 1, lifetime(0), bad);
    of.order("a lock that lives too long", 1, lifetime(u32::MAX), bad);
    let lock_id = of.next_lock();
    of.order("a lock", 1, open_lock(2, 100), None);
    let second = Some(Refusal::LockExists);
    of.order(
        "a second live lock of the pair",
        1,
        open_lock(2, 100),
        second,
    );
    let top_up = |lock_id| OrderKind::TopUp {
        lock_id,
        amount: cr(50),
        ttl_secs: 0,
    };
    let unknown = LockId::new(1_000_000);
    of.order(
        "no such lock",
        1,
        top_up(unknown),
        Some(Refusal::LockUnknown),
    );
    of.order(
        "a top-up with more than there is",
        2,
        top_up(lock_id),
        Some(Refusal::InsufficientCredit),
    );
    let close = OrderKind::CloseLock { lock_id };
    of.order("a payer closes", 1, close, Some(Refusal::NotParty));
    lock_id
}

fn claims(of: &mut Settling, lock_id: LockId) {
    of.claim("a claim", lock_id, (10, 40), Entered);
    of.again("the same claim again", Known);
    of.claim(
        "amount backwards",
        lock_id,
        (10, 39),
        Refused(Refusal::ReceiptRegressed),
    );
    of.claim(
        "bytes backwards",
        lock_id,
        (9, 41),
        Refused(Refusal::ReceiptRegressed),
    );
    of.claim(
        "nothing owed",
        lock_id,
        (10, 0),
        Refused(Refusal::BadAmount),
    );
    let unknown = LockId::new(1_000_000);
    of.claim(
        "no such lock",
        unknown,
        (10, 40),
        Refused(Refusal::LockUnknown),
    );
    let this = channel(&of.ledger, lock_id, 1, 2);
    let good = receipt(&this, 1, 20, 50);
    let by_other = Operation::Claim(claim(lock_id, 3, good));
    of.put("another payee", by_other, Refused(Refusal::NotParty));
    let forged = claim(lock_id, 2, good).body.sign(&identity(3));
    of.put(
        "another key",
        Operation::Claim(forged),
        Refused(Refusal::BadSignature),
    );
    let mut foreign = claim(lock_id, 2, good).body;
    foreign.network_id = NetworkId::from_bytes([9; 32]);
    let foreign = Operation::Claim(foreign.sign(&identity(2)));
    of.put("another network", foreign, Refused(Refusal::WrongNetwork));
    let acknowledgement = Channel {
        kind: ChannelKind::Acknowledgement,
        ..this
    };
    for (name, bad) in [
        (
            "a receipt of another lock",
            receipt(&channel(&of.ledger, unknown, 1, 2), 1, 20, 50),
        ),
        ("an acknowledgement", receipt(&acknowledgement, 1, 20, 50)),
        (
            "a receipt of a lock of that number that another order opened",
            receipt(&channel_of(lock_id, NO_ORDER, 1, 2), 1, 20, 50),
        ),
        (
            "a receipt the payee signed himself",
            receipt(&this, 2, 20, 50),
        ),
    ] {
        let bad = Operation::Claim(claim(lock_id, 2, bad));
        of.put(name, bad, Refused(Refusal::BadReceipt));
    }
    of.claim(
        "an overdrawn receipt pays what is left",
        lock_id,
        (20, 1_000),
        Entered,
    );
    of.claim("more of it pays nothing", lock_id, (30, 2_000), Known);
}

fn endings(of: &mut Settling, first: LockId) {
    let lock_id = of.next_lock();
    of.order("a used-up lock has a successor", 1, open_lock(2, 100), None);
    let top_up = OrderKind::TopUp {
        lock_id: first,
        amount: cr(1),
        ttl_secs: 0,
    };
    of.order(
        "which its payer tops up no more",
        1,
        top_up,
        Some(Refusal::LockExists),
    );
    let of_payee = OrderKind::TopUp {
        lock_id,
        amount: cr(1),
        ttl_secs: 0,
    };
    of.order("a payee tops up", 2, of_payee, Some(Refusal::NotParty));
    of.now = START.plus_secs(u64::from(TTL) + 1);
    let renew = OrderKind::TopUp {
        lock_id,
        amount: cr(0),
        ttl_secs: TTL,
    };
    of.order("renewed too late", 1, renew, Some(Refusal::LockClosed));
    of.claim("claimed in its grace", lock_id, (5, 10), Entered);
    of.now = START.plus_secs(u64::from(TTL) + crate::world::GRACE);
    of.claim("claimed at the end of its grace", lock_id, (6, 11), Entered);
    of.now = of.now.plus_secs(1);
    of.claim(
        "claimed after it",
        lock_id,
        (7, 12),
        Refused(Refusal::LockClosed),
    );
    let close = OrderKind::CloseLock { lock_id };
    of.order("closed after it", 2, close, Some(Refusal::LockClosed));
    hand_overs(of);
    let gone = Some(Refusal::KeyRotated);
    of.order("credit for a key that was left", ISSUER, grant(1, 5), gone);
    let [order_4, order_1, past_prime, no_point] = nobodies();
    let bad = Some(Refusal::BadKey);
    let amount = cr(5);
    let send = |to| OrderKind::Transfer { to, amount };
    of.order("to the key of zeros, of order 4", 2, send(order_4), bad);
    of.order("to a key past the prime", 2, send(past_prime), bad);
    let lock = OrderKind::OpenLock {
        payee: no_point,
        amount,
        ttl_secs: TTL,
    };
    of.order("a lock for a key that is no point", 2, lock, bad);
    let left = OrderKind::RotateKey { to: order_1 };
    of.order("handed over to the key of order 1", 2, left, bad);
    let lost = OrderKind::Grant {
        to: order_1,
        amount,
    };
    of.order("credit for the key of order 1", ISSUER, lost, bad);
    standing(of);
}

/// A key is left once, and what comes in since follows, if there is any.
fn hand_overs(of: &mut Settling) {
    let gone = Some(Refusal::KeyRotated);
    let to = |account: u8| OrderKind::RotateKey { to: id(account) };
    let lock_id = of.next_lock();
    of.order("a lock of one that leaves", 1, open_lock(2, 3), None);
    of.order("handed over", 1, to(9), None);
    of.again("the same hand-over again", Known);
    of.order("nothing handed over to the same key", 1, to(9), gone);
    of.order("handed over to another key", 1, to(8), gone);
    of.order("the successor leaves too", 9, to(7), None);
    let close = OrderKind::CloseLock { lock_id };
    of.order("what is left of the lock returns", 2, close, None);
    of.order("and follows to the successor", 1, to(9), None);
    of.order("which hands it on", 9, to(7), None);
    of.order("handed over to a key that was left", 2, to(9), gone);
}

/// Nothing is entered of a key that never had anything, until it has.
fn standing(of: &mut Settling) {
    let mut late = order(5, 1, transfer(2, 1)).body;
    late.valid_until = of.now.minus_secs(1);
    let late = Operation::Order(late.sign(&identity(5)));
    of.put("a stranger's, late", late, Refused(Refusal::Expired));
    let in_time = Operation::Order(order(5, 1, transfer(2, 1)));
    let stranger = Refused(Refusal::NoStanding);
    of.put("a stranger's, in time", in_time.clone(), stranger);
    of.again("the same again", stranger);
    of.order("the stranger is granted credit", ISSUER, grant(5, 1), None);
    of.put("its order is carried out", in_time, Entered);
    let lock_id = of.next_lock();
    of.order("a lock for another stranger", 2, open_lock(6, 1), None);
    let close = OrderKind::CloseLock { lock_id };
    of.order("which gives it back", 6, close, None);
    many_ends(of);
}

/// Twenty-one locks end, by their ends and then by their numbers: 8 in a row before an order or
/// claim, until none is left.
fn many_ends(of: &mut Settling) {
    of.order("an account of many locks", ISSUER, grant(3, 100), None);
    let lock = |payee: u8, ttl_secs| OrderKind::OpenLock {
        payee: id(payee),
        amount: cr(2),
        ttl_secs,
    };
    let first = of.next_lock().get();
    for payee in 10..31 {
        // The last ones end first.
        let ttl_secs = if payee < 28 { 60 } else { 59 };
        of.order("one of many locks", 3, lock(payee, ttl_secs), None);
    }
    let (waits, lock_id) = (27, LockId::new(first + 17));
    of.now = of.now.plus_secs(61 + crate::world::GRACE);
    of.order("8 of 21 end before it", 3, transfer(2, 100 - 42), None);
    let channel = channel(&of.ledger, lock_id, 3, waits);
    let late = claim(lock_id, waits, receipt(&channel, 3, 1, 1));
    let late = Operation::Claim(late);
    let over = Refused(Refusal::LockClosed);
    of.put("a claim on one that waits, which ends 8", late, over);
    of.again("again, which ends none", over);
    let poor = Some(Refusal::InsufficientCredit);
    let close = OrderKind::CloseLock { lock_id };
    let closed = Some(Refusal::LockClosed);
    of.order("closed while it waits", waits, close, closed);
    of.order("the last 5 end before it", 3, transfer(2, 43), poor);
    of.order("all has returned", 3, transfer(2, 42), None);
}

pub(super) fn settlement() -> Value {
    let of = settling();
    of.ledger.check().unwrap();
    json!({
        "genesis": genesis().text,
        "network_id": network_id().to_string(),
        "founded_at": START.as_secs(),
        "steps": of.steps,
    })
}

/// Lines and receipts, as they reach the ledger of account 2.
pub(super) fn booking() -> Value {
    let of = settling();
    let mut ledger = open_node(Memory::new(), 2);
    let lines: Vec<StatementLine> = lines(&of.ledger, 2, None)
        .into_iter()
        .filter_map(|command| match command {
            NodeCommand::Settled(line) => Some(*line),
            NodeCommand::ChannelSummary(_) | NodeCommand::WriteOff { .. } => None,
        })
        .collect();
    let mut steps = Vec::new();
    let mut put = |name: &str, command: NodeCommand, expect: Expect| {
        let outcome = ledger
            .append(START, std::slice::from_ref(&command))
            .unwrap();
        assert_eq!(Expect::of(&outcome[0]), expect, "{name}");
        let (kind, bytes) = match &command {
            NodeCommand::Settled(line) => ("line", line.to_bytes()),
            NodeCommand::ChannelSummary(summary) => ("summary", summary.to_bytes()),
            NodeCommand::WriteOff { .. } => unreachable!("no vector is one"),
        };
        steps.push(step(name, START, kind, &bytes, expect));
    };
    let line = |line: &StatementLine| NodeCommand::Settled(Box::new(line.clone()));
    let first = &lines[0];
    put("a gap", line(&lines[1]), Refused(Refusal::OutOfOrder));
    let resigned = |by: Identity, account: u8, available: MicroCredits| {
        let mut bad = first.clone();
        let mut body = bad.certificate.body;
        body.account = id(account);
        body.available_after = available;
        bad.certificate = body.sign(&by);
        NodeCommand::Settled(Box::new(bad))
    };
    let available = first.certificate.body.available_after;
    let bad = Refused(Refusal::BadCertificate);
    put(
        "certified by another key",
        resigned(identity(2), 2, available),
        bad,
    );
    put(
        "another account's",
        resigned(identity(200), 3, available),
        bad,
    );
    let lie = resigned(identity(200), 2, cr(6));
    put(
        "a balance that does not follow",
        lie,
        Refused(Refusal::OutOfOrder),
    );
    put("a line", line(first), Entered);
    put("the same line again", line(first), Known);
    receipts_of(&mut put);
    json!({
        "owner": id(2).to_string(),
        "network_id": network_id().to_string(),
        "settlement": id(200).to_string(),
        "begun_at": START.as_secs(),
        "steps": steps,
    })
}

/// A receipt as it is booked, on a lock of 100.
fn summary(channel: Channel, signer: u8, bytes: u64, amount: u64) -> NodeCommand {
    NodeCommand::ChannelSummary(Box::new(ChannelSummary {
        channel,
        receipt: receipt(&channel, signer, bytes, amount),
        lock_amount: cr(100),
        served: Bytes::MAX,
        attribution: Vec::new(),
    }))
}

fn receipts_of(put: &mut impl FnMut(&str, NodeCommand, Expect)) {
    let this = channel_of(LockId::new(500), NO_ORDER, 1, 2);
    put("a receipt", summary(this, 1, 10, 40), Entered);
    put("the same again", summary(this, 1, 10, 40), Known);
    put("an older one", summary(this, 1, 9, 39), Known);
    let crossed = Refused(Refusal::ReceiptRegressed);
    put("amount backwards", summary(this, 1, 11, 39), crossed);
    put("bytes backwards", summary(this, 1, 9, 41), crossed);
    put(
        "forged",
        summary(this, 3, 11, 41),
        Refused(Refusal::BadReceipt),
    );
    put(
        "overdrawn, worth what the lock holds",
        summary(this, 1, 11, 5_000),
        Entered,
    );
    let unknown = channel_of(LockId::new(501), NO_ORDER, 2, 1);
    put(
        "no lock of ours",
        summary(unknown, 2, 1, 1),
        Refused(Refusal::LockUnknown),
    );
    let strangers = channel_of(LockId::new(502), NO_ORDER, 1, 3);
    put(
        "between others",
        summary(strangers, 1, 1, 1),
        Refused(Refusal::NotParty),
    );
    let foreign = Channel {
        network_id: NetworkId::from_bytes([9; 32]),
        ..this
    };
    put(
        "another network",
        summary(foreign, 1, 20, 50),
        Refused(Refusal::WrongNetwork),
    );
    let acknowledgement = Channel {
        network_id: NO_NETWORK,
        kind: ChannelKind::Acknowledgement,
        ..this
    };
    put(
        "an acknowledgement",
        summary(acknowledgement, 1, 7, 0),
        Entered,
    );
    let reopened = OrderHash::from_bytes([0x0e; 32]);
    put(
        "a lock of that number that another order opened",
        summary(channel_of(LockId::new(500), reopened, 1, 2), 1, 20, 50),
        Refused(Refusal::BadReceipt),
    );
    let money = summary(acknowledgement, 1, 8, 1);
    put(
        "an acknowledgement of money",
        money,
        Refused(Refusal::BadReceipt),
    );
    let NodeCommand::ChannelSummary(mut other) = summary(this, 1, 30, 60) else {
        unreachable!("a summary is one")
    };
    other.receipt = receipt(&channel_of(LockId::new(501), reopened, 1, 2), 1, 30, 60);
    let other = NodeCommand::ChannelSummary(other);
    put(
        "a receipt of another channel",
        other,
        Refused(Refusal::BadReceipt),
    );
}

/// Refusals that a vector with a history must show.
pub(super) fn reached(file: &Value) -> Vec<u16> {
    let steps = file["steps"].as_array().unwrap().iter();
    let codes = steps.filter_map(|step| step["refusal"].as_u64());
    codes.map(|code| u16::try_from(code).unwrap()).collect()
}

/// Puts the bytes of `settlement.json` to a ledger, as a stranger would.
pub(super) fn judge_settlement(file: &Value) {
    let parsed = seedbank_ledger::Genesis::parse(file["genesis"].as_str().unwrap()).unwrap();
    let founded = UnixTime::from_secs(file["founded_at"].as_u64().unwrap());
    let mut ledger = NetworkLedger::found(Memory::new(), parsed, identity(200), founded).unwrap();
    for step in file["steps"].as_array().unwrap() {
        let name = &step["name"];
        let bytes = hex::decode(step["bytes"].as_str().unwrap()).unwrap();
        let operation = match step["kind"].as_str().unwrap() {
            "order" => {
                Operation::Order(seedbank_ledger::signed::Signed::from_bytes(&bytes).unwrap())
            }
            _ => Operation::Claim(seedbank_ledger::signed::Signed::from_bytes(&bytes).unwrap()),
        };
        let now = UnixTime::from_secs(step["now"].as_u64().unwrap());
        let outcome = ledger.append(now, &[operation]).unwrap().remove(0);
        let expect = Expect::of(&outcome);
        assert_eq!(step["outcome"], expect.verdict(), "{name}");
        let refusal = expect.refusal().map(Refusal::code).map(u64::from);
        assert_eq!(step["refusal"].as_u64(), refusal, "{name}");
        assert_eq!(step["head"], ledger.head().hash.to_string(), "{name}");
    }
}
