//! The settlement node of a simulated network: the daemon's service, in memory.

use seedbank_engine::interface::config::Network;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::settlement::{
    Issuing, NewGrant, SettlementAnswer, SettlementNode, SettlementRequest,
};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Identity, MicroCredits, NodeId, UnixTime};

/// A community's settlement node, which holds the key that grants its credit.
#[derive(Debug)]
pub struct SimSettlement {
    node: SettlementNode<Memory>,
    grant_count: u64,
}

impl SimSettlement {
    /// A network with one issuer, founded at `now`.
    pub fn new(settlement: Identity, issuer: Identity, now: UnixTime) -> Self {
        let text = Genesis::render("simulated", settlement.id(), &[issuer.id()]);
        let genesis = text
            .and_then(|text| Genesis::parse(&text))
            .expect("a sound genesis");
        let store = Memory::new();
        let ledger = NetworkLedger::open(store.clone(), genesis, settlement, now);
        let ledger = ledger.expect("an empty memory store opens");
        let issuing = Issuing::new(issuer, store);
        Self {
            node: SettlementNode::new(ledger, Some(issuing)),
            grant_count: 0,
        }
    }

    /// What its members configure.
    pub fn network(&self) -> Network {
        Network::of(self.ledger().genesis())
    }

    /// Creates credit for an account.
    pub fn grant(&mut self, to: NodeId, amount: MicroCredits, now: UnixTime) {
        self.grant_count += 1;
        let grant = NewGrant {
            request_id: format!("grant {}", self.grant_count),
            to,
            amount,
            reason: "simulated".to_owned(),
        };
        let granted = self.node.grant(now, &grant);
        granted.expect("issuers may grant, and memory does not fail");
    }

    /// Answers a member. Time passes first, as it does every few seconds in a daemon.
    pub fn answer(
        &mut self,
        account: NodeId,
        request: SettlementRequest,
        now: UnixTime,
    ) -> SettlementAnswer {
        self.node.tick(now).expect("memory does not fail");
        let answers = self.node.answer(now, &[(account, request)]);
        let answer = answers.into_iter().next().expect("one answer each");
        answer.expect("memory does not fail").answer
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &NetworkLedger<Memory> {
        self.node.ledger()
    }
}
