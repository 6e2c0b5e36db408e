//! What a strategic peer does otherwise than its session says.
//!
//! An agent stands between a session and the world: it may change, add or withhold what goes in and
//! what comes out, act when time has passed, set its node up otherwise, and start anew under
//! another key. The session behind it is the one that everybody runs; an honest peer has no agent.
//! docs/STRATEGIES.md shows how to add one. `takers` upload nothing, `payers` and `payees` cheat
//! with credit, `ring` colludes, `rankers` choke by other rules.

mod messages;
mod payees;
mod payers;
mod rankers;
mod ring;
mod takers;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use seedbank_engine::interface::command::Command;
use seedbank_engine::interface::config::{Policy, SessionConfig};
use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::session::Session;
use seedbank_engine::transfer::choker::Ranker;
use seedbank_engine::units::{Block, PeerIndex};
use seedbank_ledger::{Duration, Identity, Instant, NodeId, Rate};

use crate::scenario::StrategyPlan;

pub use messages::{receipt_in, receipt_to};
pub use payees::{GarbageSeeder, StalledPayee};
pub use payers::{BidFlipper, Dripper, LatePayer, Whale};
pub use rankers::{BitTyrant, FairTorrent, PropShare, Ranked};
pub use ring::Colluder;
pub use takers::{FreeRider, LargeView, PlainClient, SybilIdentity, Whitewasher};

/// A strategy, as one peer follows it. What is not written does as an honest peer does.
pub trait Agent: Debug + Send {
    /// Sets the node up otherwise than its scenario says.
    fn prepare(&self, _config: &mut SessionConfig, _policy: &mut Policy) {}

    /// Another order in which it unchokes.
    fn ranker(&self) -> Option<Box<dyn Ranker>> {
        None
    }

    /// What the session is told in place of this; `None`: nothing.
    fn input(&mut self, input: Input, _stage: &mut Scene<'_>) -> Option<Input> {
        Some(input)
    }

    /// What is done in place of this; `None`: nothing.
    fn output(&mut self, output: Output, _stage: &mut Scene<'_>) -> Option<Output> {
        Some(output)
    }

    /// How often [`Agent::tick`] is called; `None`: never.
    fn tick_every(&self) -> Option<Duration> {
        None
    }

    /// Some time has passed.
    fn tick(&mut self, _stage: &mut Scene<'_>) {}
}

/// What an agent sees when it is asked, and what it can do then.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Virtual time.
    pub now: Instant,
    /// The session that it wraps: policy, torrents, peers, boosts and wallet, as its owner sees
    /// them.
    pub session: &'a Session,
    acts: &'a mut Vec<AgentAct>,
}

/// Something that an agent does by itself.
#[derive(Debug)]
pub(crate) enum AgentAct {
    Tell(Box<Input>),
    Say(Box<Output>),
    ServeGarbage(PeerIndex, Vec<Block>),
    StartAnew,
}

/// What an agent is made from: what a strategy knows of its peer.
#[derive(Clone, Debug)]
pub struct AgentSetup {
    /// Its key.
    pub identity: Arc<Identity>,
    /// Bytes per second that its line can send.
    pub uplink: u64,
    /// The bid of its boost, if it orders one.
    pub bid: Option<Rate>,
    /// The keys of its population, its own among them.
    pub fellows: Arc<[NodeId]>,
}

impl<'a> Scene<'a> {
    pub(crate) const fn new(
        now: Instant,
        session: &'a Session,
        acts: &'a mut Vec<AgentAct>,
    ) -> Self {
        Self { now, session, acts }
    }

    /// Tells the session something, once what it is about is done.
    pub fn tell(&mut self, input: Input) {
        self.acts.push(AgentAct::Tell(Box::new(input)));
    }

    /// Has the session do what an owner can ask for; a refusal is not told.
    pub fn command(&mut self, command: Command) {
        self.tell(Input::Command(command));
    }

    /// Does something that the session did not say, at once.
    pub fn say(&mut self, output: Output) {
        self.acts.push(AgentAct::Say(Box::new(output)));
    }

    /// Sends these blocks with something else in them.
    pub fn serve_garbage(&mut self, peer: PeerIndex, blocks: Vec<Block>) {
        self.acts.push(AgentAct::ServeGarbage(peer, blocks));
    }

    /// Sends its free credit to a new key, leaves without goodbye 2 s later, and comes back under
    /// that key from another address, with the pieces that it has and a new agent.
    pub fn start_anew(&mut self) {
        self.acts.push(AgentAct::StartAnew);
    }

    /// Whether it has all it wants.
    pub fn is_done(&self) -> bool {
        let torrents = self.session.torrents();
        torrents.iter().all(|torrent| torrent.have == torrent.total)
    }
}

/// The agent of a peer that follows this plan; an honest one has none.
pub fn agent_of(plan: &StrategyPlan, setup: &AgentSetup) -> Option<Box<dyn Agent>> {
    let agent: Box<dyn Agent> = match *plan {
        StrategyPlan::Honest {} => return None,
        StrategyPlan::FreeRider {} => Box::new(FreeRider),
        StrategyPlan::LargeView { every } => Box::new(LargeView::new(every.0)),
        StrategyPlan::Bittyrant {} => Box::new(Ranked(BitTyrant::new(setup.uplink))),
        StrategyPlan::Propshare {} => Box::new(Ranked(PropShare::default())),
        StrategyPlan::Fairtorrent {} => Box::new(Ranked(FairTorrent::default())),
        StrategyPlan::BidFlipper { every, factor } => Box::new(BidFlipper::new(every.0, factor)),
        StrategyPlan::Dripper { rate, every } => Box::new(Dripper::new(rate.0, every.0)),
        StrategyPlan::StalledPayee { every } => Box::new(StalledPayee::new(every.0)),
        StrategyPlan::LatePayer { share, patience } => Box::new(LatePayer::new(share, patience.0)),
        StrategyPlan::GarbageSeeder {} => Box::new(GarbageSeeder),
        StrategyPlan::Sybil { .. } => Box::new(SybilIdentity),
        StrategyPlan::Whitewasher { patience } => Box::new(Whitewasher::new(patience.0)),
        StrategyPlan::ColludingRing { every, claim } => {
            Box::new(Colluder::new(setup, every.0, claim.0))
        }
        StrategyPlan::Whale {} => Box::new(Whale(setup.bid.unwrap_or(Rate::PAR))),
        StrategyPlan::PlainClient {} => Box::new(PlainClient),
    };
    Some(agent)
}
