//! A network and a few nodes in memory, and short ways to give orders to them.

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::charts::node::{ChannelSummary, Membership, NodeCommand, NodeLedger};
use seedbank_ledger::ledger::{Outcome, is_empty};
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::claim::{Claim, SignedClaim};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderHash, OrderKind, SignedOrder};
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::statement::{LockStatus, Operation};
use seedbank_ledger::store::{Memory, Store};
use seedbank_ledger::{
    Bytes, Genesis, Identity, MicroCredits, NetworkId, NodeId, Sequence, UnixTime,
};

/// Account 0 is the issuer.
pub(crate) const ISSUER: u8 = 0;
pub(crate) const TTL: u32 = 3_600;
pub(crate) const GRACE: u64 = 86_400;
pub(crate) const START: UnixTime = UnixTime::from_secs(1_000_000);

/// Key number `account`; 200 is the settlement node's.
pub(crate) fn identity(account: u8) -> Identity {
    let mut secret = [0x5e; 32];
    secret[0] = account;
    Identity::from_secret(secret)
}

pub(crate) fn id(account: u8) -> NodeId {
    identity(account).id()
}

/// Keys that nobody can hold: order 4, order 1, order 1 written past the prime, and y = 2, which is
/// no point.
pub(crate) fn nobodies() -> [NodeId; 4] {
    let (mut zero, mut past_prime) = ([0; 32], [0xff; 32]);
    let order_4 = NodeId::from_bytes(zero);
    zero[0] = 1;
    let order_1 = NodeId::from_bytes(zero);
    zero[0] = 2;
    (past_prime[0], past_prime[31]) = (0xee, 0x7f);
    let past_prime = NodeId::from_bytes(past_prime);
    [order_4, order_1, past_prime, NodeId::from_bytes(zero)]
}

pub(crate) fn cr(amount: u64) -> MicroCredits {
    MicroCredits::new(amount)
}

pub(crate) fn genesis() -> Genesis {
    let text = Genesis::render("test", id(200), &[id(ISSUER)]).unwrap();
    // Grants as large as a supply can be.
    let large = format!("grant_microcredits_max = {}", i64::MAX);
    let text = text.replace("grant_microcredits_max = 1000000000000000", &large);
    let text = text.replace(
        "transfer_microcredits_min = 1000",
        "transfer_microcredits_min = 1",
    );
    Genesis::parse(&text).unwrap()
}

pub(crate) fn network_id() -> NetworkId {
    genesis().network_id()
}

/// The network's ledger in `store`: founded if there is none, opened without a mark if there is.
pub(crate) fn open_network<S: Store + Clone + 'static>(store: S) -> NetworkLedger<S> {
    let ledger = if is_empty(&store).unwrap() {
        NetworkLedger::found(store, genesis(), identity(200), START)
    } else {
        NetworkLedger::open(store, genesis(), identity(200), None)
    };
    ledger.unwrap()
}

pub(crate) fn open_node(store: Memory, account: u8) -> NodeLedger<Memory> {
    let membership = Membership {
        network_id: network_id(),
        settlement: id(200),
    };
    NodeLedger::open(store, id(account), Some(membership), START).unwrap()
}

pub(crate) fn order(account: u8, nonce: u64, kind: OrderKind) -> SignedOrder {
    let order = Order {
        network_id: network_id(),
        account: id(account),
        nonce,
        valid_until: UnixTime::from_secs(u64::MAX),
        kind,
        memo_hash: [0; 32],
    };
    order.sign(&identity(account))
}

/// A lock's channel; of a lock that `network` does not have, one that an order of nobody opened.
pub(crate) fn channel(
    network: &NetworkLedger<Memory>,
    lock_id: LockId,
    payer: u8,
    payee: u8,
) -> Channel {
    let known = network.lock(lock_id).unwrap();
    let opened = known.map_or(NO_ORDER, |status| status.lock.body.opening_order);
    channel_of(lock_id, opened, payer, payee)
}

/// The order that opened locks of tests without a network ledger.
pub(crate) const NO_ORDER: OrderHash = OrderHash::from_bytes([0x0d; 32]);

pub(crate) fn channel_of(
    lock_id: LockId,
    opening_order: OrderHash,
    payer: u8,
    payee: u8,
) -> Channel {
    Channel {
        network_id: network_id(),
        kind: ChannelKind::Lock(lock_id, opening_order),
        payer: id(payer),
        payee: id(payee),
    }
}

pub(crate) fn receipt(channel: &Channel, payer: u8, bytes: u64, amount: u64) -> SignedReceipt {
    let receipt = Receipt {
        network_id: channel.network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(bytes),
        amount: cr(amount),
    };
    receipt.sign(&identity(payer))
}

pub(crate) fn claim(lock_id: LockId, payee: u8, receipt: SignedReceipt) -> SignedClaim {
    let claim = Claim {
        network_id: network_id(),
        lock_id,
        payee: id(payee),
        receipt,
    };
    claim.sign(&identity(payee))
}

pub(crate) fn open_lock(payee: u8, amount: u64) -> OrderKind {
    OrderKind::OpenLock {
        payee: id(payee),
        amount: cr(amount),
        ttl_secs: TTL,
    }
}

pub(crate) fn grant(to: u8, amount: u64) -> OrderKind {
    OrderKind::Grant {
        to: id(to),
        amount: cr(amount),
    }
}

pub(crate) fn transfer(to: u8, amount: u64) -> OrderKind {
    OrderKind::Transfer {
        to: id(to),
        amount: cr(amount),
    }
}

/// A network, its time, and nodes that join when they are first asked for.
pub(crate) struct World {
    pub(crate) store: Memory,
    pub(crate) network: NetworkLedger<Memory>,
    pub(crate) now: UnixTime,
    nodes: Vec<(u8, NodeLedger<Memory>)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let store = Memory::new();
        Self {
            network: open_network(store.clone()),
            store,
            now: START,
            nodes: Vec::new(),
        }
    }

    /// A network in which every account has 1,000.
    pub(crate) fn funded(accounts: u8) -> Self {
        let mut world = Self::new();
        for account in 0..accounts {
            assert_eq!(world.order(ISSUER, grant(account, 1_000)), None);
        }
        world
    }

    pub(crate) fn pass(&mut self, secs: u64) {
        self.now = self.now.plus_secs(secs);
        self.submit(&[]);
    }

    pub(crate) fn submit(&mut self, group: &[Operation]) -> Vec<Outcome> {
        let outcomes = self.network.append(self.now, group).unwrap();
        self.network.check_invariants().unwrap();
        outcomes
    }

    pub(crate) fn one(&mut self, operation: Operation) -> Outcome {
        self.submit(&[operation]).remove(0)
    }

    /// Gives the account's next order; says why it was refused, if it was.
    pub(crate) fn order(&mut self, account: u8, kind: OrderKind) -> Option<Refusal> {
        let nonce = self.network.account(&id(account)).unwrap().nonce + 1;
        let outcome = self.one(Operation::Order(order(account, nonce, kind)));
        assert!(outcome.sequence().is_some(), "a nonce is always consumed");
        outcome.refusal()
    }

    pub(crate) fn lock(&mut self, payer: u8, payee: u8, amount: u64) -> LockId {
        let sequence = self.network.head().next;
        assert_eq!(self.order(payer, open_lock(payee, amount)), None);
        LockId::new(sequence.get())
    }

    pub(crate) fn claim(
        &mut self,
        lock_id: LockId,
        (payer, payee): (u8, u8),
        (bytes, amount): (u64, u64),
    ) -> Outcome {
        let channel = channel(&self.network, lock_id, payer, payee);
        let receipt = receipt(&channel, payer, bytes, amount);
        self.one(Operation::Claim(claim(lock_id, payee, receipt)))
    }

    pub(crate) fn available(&self, account: u8) -> u64 {
        self.network.account(&id(account)).unwrap().available.get()
    }

    pub(crate) fn status(&self, lock_id: LockId) -> LockStatus {
        self.network.lock(lock_id).unwrap().unwrap()
    }

    /// The ledger of a node, in which every line of its account is entered.
    pub(crate) fn node(&mut self, account: u8) -> &mut NodeLedger<Memory> {
        if !self.nodes.iter().any(|(number, _)| *number == account) {
            let ledger = open_node(Memory::new(), account);
            self.nodes.push((account, ledger));
        }
        let place = self.nodes.iter_mut().find(|(number, _)| *number == account);
        let ledger = &mut place.unwrap().1;
        let after = ledger.newest_line().unwrap();
        let lines = lines(&self.network, account, after);
        for outcome in ledger.append(self.now, &lines).unwrap() {
            assert!(matches!(outcome, Outcome::Entered { .. }), "{outcome:?}");
        }
        ledger.check_invariants().unwrap();
        ledger
    }

    /// Books a receipt in the ledger of one of its sides.
    pub(crate) fn book(
        &mut self,
        owner: u8,
        lock_id: LockId,
        (payer, payee): (u8, u8),
        (bytes, amount): (u64, u64),
    ) -> Outcome {
        let now = self.now;
        let channel = channel(&self.network, lock_id, payer, payee);
        let summary = ChannelSummary {
            channel,
            receipt: receipt(&channel, payer, bytes, amount),
            lock_amount: self.status(lock_id).lock.body.amount,
            served: Bytes::MAX,
            attribution: Vec::new(),
        };
        let command = NodeCommand::ChannelSummary(Box::new(summary));
        let ledger = self.node(owner);
        let outcome = ledger.append(now, &[command]).unwrap().remove(0);
        ledger.check_invariants().unwrap();
        outcome
    }
}

/// Every line of an account after `after`, as commands.
pub(crate) fn lines(
    network: &NetworkLedger<Memory>,
    account: u8,
    after: Option<Sequence>,
) -> Vec<NodeCommand> {
    let lines = network.statement(&id(account), after, usize::MAX).unwrap();
    lines
        .into_iter()
        .map(|line| NodeCommand::Settled(Box::new(line)))
        .collect()
}
