//! The settlement node of a simulated network: the daemon's service, in memory.

use seedbank_engine::interface::config::Network;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::ledger::OpenError;
use seedbank_ledger::settlement::envelope::Envelope;
use seedbank_ledger::settlement::{
    Issuing, NewGrant, SettlementAnswer, SettlementNode, SettlementRequest,
};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Identity, MicroCredits, NodeId, Rate, UnixTime};

/// A community's settlement node, which holds the key that grants its credit.
#[derive(Debug)]
pub struct SimSettlement {
    node: SettlementNode<Memory>,
    store: Memory,
    grant_count: u64,
}

impl SimSettlement {
    /// A network with one issuer and the usual par price, founded at `now`.
    pub fn new(settlement: Identity, issuer: Identity, now: UnixTime) -> Self {
        Self::with_price(settlement, issuer, Rate::PAR, now)
    }

    /// The same with another par price.
    ///
    /// # Panics
    /// If no genesis may name it.
    pub fn with_price(settlement: Identity, issuer: Identity, price: Rate, now: UnixTime) -> Self {
        let par = |rate: Rate| format!("par_microcredits_per_gib = {}\n", rate.get());
        let text = Genesis::render("simulated", settlement.id(), &[issuer.id()]);
        let genesis = text
            .and_then(|text| Genesis::parse(&text.replace(&par(Rate::PAR), &par(price))))
            .expect("a sound genesis");
        assert_eq!(genesis.par_price, price, "a genesis names its par price");
        let store = Memory::new();
        let ledger = NetworkLedger::found(store.clone(), genesis, settlement, now);
        Self::of(ledger, issuer, store)
    }

    fn of(
        ledger: Result<NetworkLedger<Memory>, OpenError>,
        issuer: Identity,
        store: Memory,
    ) -> Self {
        let ledger = ledger.expect("a memory store opens as it was written");
        let issuing = Issuing::new(issuer, store.clone());
        Self {
            node: SettlementNode::new(ledger, Some(issuing)),
            store,
            grant_count: 0,
        }
    }

    /// The settlement node as it comes up after the power was cut, with the same keys: of what was
    /// not synced the first `survivors` batches are there (see [`Memory::power_cut`]).
    #[must_use]
    pub fn after_power_cut(&self, [settlement, issuer]: [Identity; 2], survivors: usize) -> Self {
        let genesis = self.ledger().genesis().clone();
        // What was acknowledged is what was signed last: its mark, were it kept in a file.
        let mark = self.ledger().signed_head().expect("memory does not fail");
        let store = self.store.power_cut(survivors);
        let ledger = NetworkLedger::open(store.clone(), genesis, settlement, Some(&mark));
        Self {
            grant_count: self.grant_count,
            ..Self::of(ledger, issuer, store)
        }
    }

    /// What its ledger is written to.
    pub fn store(&self) -> &Memory {
        &self.store
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

    /// The sealed answer to a member. Time passes first, as it does every few seconds in a daemon.
    pub fn answer(&mut self, request: &SettlementRequest, now: UnixTime) -> Envelope {
        self.node.tick(now).expect("memory does not fail");
        let sealer = self.node.sealer();
        let answer = match request.check(sealer.scheme(), sealer.network_id()) {
            Ok(()) => {
                let answers = self.node.answer(now, std::slice::from_ref(request));
                let answer = answers.into_iter().next().expect("one answer each");
                answer.expect("memory does not fail").answer
            }
            Err(refusal) => SettlementAnswer::refused(now, refusal),
        };
        sealer.seal(request.hash(), 0, &answer)
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &NetworkLedger<Memory> {
        self.node.ledger()
    }
}
