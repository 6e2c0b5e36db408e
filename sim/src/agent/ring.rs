//! A ring whose members praise each other: receipts for data that was never sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::message::Message;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{Bytes, Duration, Identity, MicroCredits, NetworkId, NodeId};

use super::messages::{gives, receipt_to};
use super::{Agent, AgentSetup, Scene};

/// Serves its fellows alone, and acknowledges to them what they never sent.
#[derive(Debug)]
pub struct Colluder {
    identity: Arc<Identity>,
    fellows: Arc<[NodeId]>,
    every: Duration,
    claim: u64,
    claimed: u64,
    /// Connections to fellows.
    here: BTreeSet<PeerIndex>,
}

impl Colluder {
    /// Acknowledges so many bytes more to each fellow, so often.
    pub fn new(setup: &AgentSetup, every: Duration, claim: u64) -> Self {
        Self {
            identity: Arc::clone(&setup.identity),
            fellows: Arc::clone(&setup.fellows),
            every,
            claim,
            claimed: 0,
            here: BTreeSet::new(),
        }
    }

    /// What is said to a fellow: its word that it received `claimed` bytes of it.
    fn praise(&self, fellow: NodeId) -> ReceiptMessage {
        let network_id = NetworkId::from_bytes([0; 32]);
        let channel = Channel {
            network_id,
            kind: ChannelKind::Acknowledgement,
            payer: self.identity.id(),
            payee: fellow,
        };
        let receipt = Receipt {
            network_id,
            channel_id: channel.id(),
            bytes: Bytes::new(self.claimed),
            amount: MicroCredits::ZERO,
        };
        ReceiptMessage::Receipt(receipt.sign(&self.identity))
    }
}

impl Agent for Colluder {
    fn input(&mut self, input: Input, _: &mut Scene<'_>) -> Option<Input> {
        if let Input::Closed { peer, .. } = &input {
            self.here.remove(peer);
        }
        Some(input)
    }

    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        let to = match &output {
            Output::Send { peer, .. } | Output::Serve { peer, .. } => Some(*peer),
            _ => None,
        };
        let is_fellow = to.is_some_and(|peer| self.here.contains(&peer));
        (is_fellow || !gives(&output)).then_some(output)
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(self.every)
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        self.claimed += self.claim;
        for view in scene.session.peers(None) {
            let known = view.node_id.filter(|key| self.fellows.contains(key));
            let Some(fellow) = known else {
                continue;
            };
            let peer = view.peer;
            // It was unchoked before it was known, and not told.
            if self.here.insert(peer) && view.unchoked {
                let message = Message::Unchoke;
                scene.say(Output::Send { peer, message });
            }
            scene.say(receipt_to(peer, &self.praise(fellow)));
        }
    }
}
