//! What agents do: they see what goes into their session and what comes out of it, and act when
//! time has passed.

use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;

use super::{Event, World};
use crate::agent::{Agent, AgentAct, Scene};
use crate::network::{End, NodeIndex};
use crate::node::SimNode;

/// Most inputs that an agent may cause at once: one that answers each by another never ends.
const TOLD_MAX: usize = 10_000;

impl World {
    /// Asks a node's agent; `None` if it has none, or is down.
    fn ask_agent<T>(
        &mut self,
        node: NodeIndex,
        ask: impl FnOnce(&mut dyn Agent, &mut Scene<'_>) -> T,
    ) -> Option<T> {
        let now = self.now();
        let SimNode {
            player, session, ..
        } = &mut self.nodes[node.0];
        let (player, session) = (player.as_mut()?, session.as_ref()?);
        let mut scene = Scene::new(now, session, &mut player.acts);
        Some(ask(player.agent.as_mut(), &mut scene))
    }

    pub(super) fn filtered_input(&mut self, node: NodeIndex, input: Input) -> Option<Input> {
        let told = self.ask_agent(node, |agent, scene| agent.input(input, scene));
        self.perform(node);
        if let Some(None) = told {
            // What it did instead may have woken its session.
            self.drain(node);
        }
        told?
    }

    pub(super) fn carry_out_filtered(&mut self, node: NodeIndex, output: Output) {
        let done = self.ask_agent(node, |agent, scene| agent.output(output, scene));
        if let Some(Some(output)) = done {
            self.carry_out(node, output);
        }
        self.perform(node);
    }

    /// Time for an agent to act, and for its next time.
    pub(super) fn tick(&mut self, node: NodeIndex) {
        if self
            .ask_agent(node, |agent, scene| agent.tick(scene))
            .is_some()
        {
            self.perform(node);
            self.drain(node);
            self.await_tick(node);
        }
    }

    pub(super) fn await_tick(&mut self, node: NodeIndex) {
        let player = self.nodes[node.0].player.as_ref();
        if let Some(every) = player.and_then(|player| player.agent.tick_every()) {
            let at = self.now().after(every);
            self.timetable.schedule(node, at, Event::Tick);
        }
    }

    /// Does what an agent wants done by itself, in order.
    fn perform(&mut self, node: NodeIndex) {
        let Some(player) = &mut self.nodes[node.0].player else {
            return;
        };
        for act in std::mem::take(&mut player.acts) {
            match act {
                AgentAct::Say(output) => self.carry_out(node, *output),
                AgentAct::ServeGarbage(peer, blocks) => {
                    self.serve(End { node, peer }, blocks, true);
                }
                AgentAct::StartAnew => self.starting_anew.push_back(node),
                AgentAct::Tell(input) => {
                    let player = self.nodes[node.0].player.as_mut();
                    player.expect("it has an agent").told.push_back(*input);
                }
            }
        }
    }

    /// Tells a session what its agent wants it told, one after the other.
    pub(super) fn tell_all(&mut self, node: NodeIndex) {
        for count in 0.. {
            let player = self.nodes[node.0].player.as_mut();
            let Some(input) = player.and_then(|player| player.told.pop_front()) else {
                return;
            };
            assert!(count < TOLD_MAX, "an agent comes to an end");
            self.tell(node, input);
            self.drain_outputs(node);
        }
    }
}
