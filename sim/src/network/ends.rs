//! Connections begin and end.

use seedbank_ledger::Instant;

use super::config::both;
use super::pipe::{Pipe, PipeId};
use super::samples::RoundTrip;
use super::{End, LinkEvent, Links};

impl Links {
    /// Joins two ends. What its transport sent to open it is the first sample of each side; it took
    /// no room.
    pub(crate) fn connect(&mut self, a: End, b: End, now: Instant) {
        for (from, to) in [(a, b), (b, a)] {
            let there = self.transit(from.node, to.node, now);
            let round_trip = RoundTrip::new(both(there, self.delay(to.node, from.node)));
            let id = PipeId::new(self.pipes.len());
            let pipe = Pipe::new(from, to, round_trip);
            self.pipes.push(Some(Box::new(pipe)));
            let before = self.lines[from.node.0].ends.insert(from.peer, id);
            assert!(before.is_none(), "an end has one connection");
        }
    }

    /// Cuts a connection, at both ends at once; gives those that were there. What was not delivered
    /// is lost.
    pub(crate) fn cut(&mut self, end: End) -> Vec<End> {
        let Some(id) = self.id_at(end) else {
            return Vec::new();
        };
        let other = self.pipe(id).expect("an end has a connection").to;
        let mut ends = vec![end, other];
        ends.retain(|end| self.lines[end.node.0].ends.remove(&end.peer).is_some());
        self.drop_pipes(id);
        ends
    }

    /// Closes one end; the other will hear of it. Nothing is sent or delivered here any more.
    pub(crate) fn close(&mut self, end: End, now: Instant) {
        let Some(id) = self.lines[end.node.0].ends.remove(&end.peer) else {
            return;
        };
        let other = self.pipe(id).expect("an end has a connection").to;
        if self.id_at(other).is_none() {
            return self.drop_pipes(id);
        }
        let way = self.delay(end.node, other.node);
        let at = now.after(way).max(self.horizon);
        self.pipe_mut(id).sending.is_closed = true;
        self.pipe_mut(id.back()).receiving.is_closed = true;
        self.timers
            .push_back((at, other.node, LinkEvent::Closed(id)));
    }

    /// The other side of this pipe has closed.
    pub(super) fn closed(&mut self, id: PipeId) {
        let Some(pipe) = self.pipe(id) else {
            return;
        };
        let to = pipe.to;
        self.drop_pipes(id);
        if self.lines[to.node.0].ends.remove(&to.peer).is_some() {
            self.gone.push_back(to);
        }
    }

    /// Forgets both directions of a connection, and counts what is lost with them.
    fn drop_pipes(&mut self, id: PipeId) {
        for id in [id, id.back()] {
            let pipe = self.pipes[id.index()].take();
            let pipe = pipe.expect("both directions are there");
            self.blocks_lost += pipe.block_count();
            let downlink = &mut self.lines[pipe.to.node.0].downlink;
            downlink.release(pipe.on_the_way());
        }
    }
}
