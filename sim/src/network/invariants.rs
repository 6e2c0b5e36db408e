//! What is always so, whatever was sent.

use super::pipe::SenderWait;
use super::{Links, NodeIndex};

impl Links {
    /// Stops the program if the state contradicts itself. Linear in everything there is.
    pub(crate) fn check_invariants(&self) {
        let mut reserved = vec![0; self.lines.len()];
        for pipe in self.pipes.iter().flatten() {
            pipe.check_invariants(self.lines[pipe.from.node.0].config.send_buffer);
            reserved[pipe.to.node.0] += pipe.on_the_way();
            let uplink = &self.lines[pipe.from.node.0].uplink;
            let sending = &pipe.sending;
            let has_something = sending.next_len(uplink.segment_len).is_some();
            assert!(
                !has_something || sending.is_ready || sending.waiting != SenderWait::No,
                "who has something to send has its turn, or will be told"
            );
        }
        for (line, reserved) in self.lines.iter().zip(reserved) {
            line.uplink.check_invariants();
            line.downlink.check_invariants();
            assert_eq!(line.downlink.reserved(), reserved, "reserved is on its way");
            for id in line.uplink.turn() {
                assert!(
                    self.pipe(id).is_none_or(|pipe| pipe.sending.is_ready),
                    "who is in turn knows it"
                );
            }
        }
        for node in (0..self.lines.len()).map(NodeIndex) {
            for (end, id) in self.pipes_of(node) {
                let pipe = self.pipe(id).expect("an end has a connection");
                assert_eq!(pipe.from, end, "it begins there");
            }
        }
    }
}
