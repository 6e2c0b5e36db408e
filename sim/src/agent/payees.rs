//! Payees, and seeders in general, that do not deliver what they are there for.

use std::collections::{BTreeMap, VecDeque};

use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::units::{Block, PeerIndex};
use seedbank_ledger::{Duration, Instant};

use super::{Agent, Scene};

/// How often a stalled payee looks at what it might send.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Sends something else than was asked for.
#[derive(Clone, Copy, Debug)]
pub struct GarbageSeeder;

impl Agent for GarbageSeeder {
    fn output(&mut self, output: Output, scene: &mut Scene<'_>) -> Option<Output> {
        match output {
            Output::Serve { peer, blocks } => {
                scene.serve_garbage(peer, blocks);
                None
            }
            output => Some(output),
        }
    }
}

/// Unchokes, seats payers and takes their locks, and sends a block now and then.
#[derive(Debug)]
pub struct StalledPayee {
    every: Duration,
    waiting: BTreeMap<PeerIndex, VecDeque<Block>>,
    sent_at: BTreeMap<PeerIndex, Instant>,
}

impl StalledPayee {
    /// Sends each peer a block so often.
    pub const fn new(every: Duration) -> Self {
        Self {
            every,
            waiting: BTreeMap::new(),
            sent_at: BTreeMap::new(),
        }
    }
}

impl Agent for StalledPayee {
    fn input(&mut self, input: Input, _: &mut Scene<'_>) -> Option<Input> {
        if let Input::Closed { peer, .. } = &input {
            self.waiting.remove(peer);
            self.sent_at.remove(peer);
        }
        Some(input)
    }

    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        match output {
            Output::Serve { peer, blocks } => {
                self.waiting.entry(peer).or_default().extend(blocks);
                None
            }
            output => Some(output),
        }
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(self.every.min(LOOK_EVERY))
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        for (peer, waiting) in &mut self.waiting {
            let last = self.sent_at.get(peer);
            let is_due = last.is_none_or(|at| scene.now.since(*at) >= self.every);
            if let (true, Some(block)) = (is_due, waiting.front().copied()) {
                waiting.pop_front();
                self.sent_at.insert(*peer, scene.now);
                let blocks = vec![block];
                scene.say(Output::Serve {
                    peer: *peer,
                    blocks,
                });
            }
        }
    }
}
