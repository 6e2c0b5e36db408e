//! The settlement node of a simulated network: the same network ledger, in memory.

use seedbank_engine::credit::settlement::{SettlementReply, SettlementRequest, answer};
use seedbank_engine::interface::config::Network;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Identity, MicroCredits, NodeId, UnixTime};

/// A community's ledger and the key that grants its credit.
#[derive(Debug)]
pub struct SimSettlement {
    ledger: NetworkLedger<Memory>,
    issuer: Identity,
    nonce: u64,
}

impl SimSettlement {
    /// A network with one issuer, founded at `now`.
    pub fn new(settlement: Identity, issuer: Identity, now: UnixTime) -> Self {
        let text = Genesis::render("simulated", settlement.id(), &[issuer.id()]);
        let genesis = text
            .and_then(|text| Genesis::parse(&text))
            .expect("a sound genesis");
        let ledger = NetworkLedger::open(Memory::new(), genesis, settlement, now);
        Self {
            ledger: ledger.expect("an empty memory store opens"),
            issuer,
            nonce: 0,
        }
    }

    /// What its members configure.
    pub fn network(&self) -> Network {
        Network::of(self.ledger.genesis())
    }

    /// Creates credit for an account.
    pub fn grant(&mut self, to: NodeId, amount: MicroCredits, now: UnixTime) {
        self.nonce += 1;
        let order = Order {
            network_id: self.ledger.network_id(),
            account: self.issuer.id(),
            nonce: self.nonce,
            valid_until: now.plus_secs(60),
            kind: OrderKind::Grant { to, amount },
            memo_hash: [0; 32],
        };
        let operation = Operation::Order(order.sign(&self.issuer));
        let outcomes = self
            .ledger
            .append(now, &[operation])
            .expect("memory does not fail");
        assert_eq!(outcomes[0].refusal(), None, "issuers may grant");
    }

    /// Answers a member.
    pub fn answer(
        &mut self,
        account: NodeId,
        request: &SettlementRequest,
        now: UnixTime,
    ) -> SettlementReply {
        answer(&mut self.ledger, &account, request, now).expect("memory does not fail")
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &NetworkLedger<Memory> {
        &self.ledger
    }
}
