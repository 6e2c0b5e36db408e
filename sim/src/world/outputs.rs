//! Carries out what sessions say: sends, checks, asks trackers and the settlement node.

use std::net::SocketAddr;

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::{MEASURE_EVERY, Output, StorageCheck};
use seedbank_engine::units::{Block, TorrentId};
use seedbank_engine::wire::message::Message;
use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::settlement::SettlementRequest;
use seedbank_ledger::{Duration, Instant};

use super::timetable::WINDOW_MAX;
use super::{Event, SettlementCall, World};
use crate::network::{End, LinkItem, NodeIndex};
use crate::tracker::{self, Asking};

/// What the way to a settlement node takes.
const SETTLEMENT_DELAY: Duration = Duration::from_millis(20);
const _: () = assert!(2 * SETTLEMENT_DELAY.as_nanos() >= WINDOW_MAX.as_nanos());
/// What a tracker takes to answer.
const TRACKER_DELAY: Duration = Duration::from_millis(20);
/// Hash and write of a piece, whatever its length.
pub(super) const DISK_DELAY: Duration = Duration::from_millis(2);

impl World {
    pub(super) fn carry_out(&mut self, node: NodeIndex, output: Output) {
        let now = self.now();
        if let Some(recording) = &mut self.nodes[node.0].recording {
            recording.output(&output);
        }
        self.note_output(node, &output);
        match output {
            Output::Dial { torrent_id, addr } => self.dial_later(node, torrent_id, addr),
            Output::Handshake {
                peer,
                torrent_id,
                handshake,
            } => {
                self.nodes[node.0].greeted(peer, torrent_id, &handshake);
                self.send(End { node, peer }, LinkItem::Handshake(Box::new(handshake)));
            }
            Output::Send { peer, message } => {
                self.send(End { node, peer }, LinkItem::Message(message));
            }
            Output::Request { peer, blocks } => {
                self.nodes[node.0].requested(peer, &blocks);
                for request in blocks.into_iter().map(Message::Request) {
                    self.send(End { node, peer }, LinkItem::Message(request));
                }
            }
            Output::Cancel { peer, block } => {
                self.nodes[node.0].cancelled(peer, &block);
                let cancel = LinkItem::Message(Message::Cancel(block));
                self.send(End { node, peer }, cancel);
            }
            Output::Serve { peer, blocks } => self.serve(End { node, peer }, blocks, false),
            Output::Close { peer, .. } => self.send(End { node, peer }, LinkItem::Fin),
            Output::Release { torrent_id, piece } => {
                self.nodes[node.0].release(torrent_id, piece);
            }
            Output::Check(order) => self.check(node, &order),
            Output::Remember(record) => self.nodes[node.0].remember(*record),
            // A simulated disk remembers by itself.
            Output::RememberPieces(_) | Output::RememberTotals { .. } => {}
            Output::Forget {
                torrent_id,
                delete_data,
            } => self.nodes[node.0].forget(torrent_id, delete_data),
            Output::Announce {
                torrent_id,
                tracker,
                request,
                ..
            } => {
                let asking = Asking {
                    node,
                    torrent_id,
                    tracker,
                    num_want: request.num_want,
                };
                self.ask_tracker(asking);
            }
            Output::Resolve { host, port } => self.resolve(node, host, port),
            Output::Datagram { to, bytes } => self.datagram(node, to, bytes),
            Output::Tally(rows) => self.nodes[node.0].books.tally(&rows),
            Output::Append(command) => self.append(node, command),
            Output::Settle { request, what } => self.settle_later(node, request, Box::new(what)),
            Output::Measure(on) => self.set_measuring(node, on),
            Output::Event(event) => {
                if let SessionEvent::TorrentCompleted(torrent_id) = &event {
                    self.completed.push_back((now, node, *torrent_id));
                }
                if self.keeps_events {
                    self.events.push((now, node, event));
                }
            }
        }
    }

    pub(super) fn serve(&mut self, from: End, blocks: Vec<Block>, garbage: bool) {
        for block in blocks {
            self.send(from, LinkItem::Block { block, garbage });
        }
    }

    fn check(&mut self, node: NodeIndex, order: &StorageCheck) {
        let (torrent_id, check) = (order.torrent_id, order.check);
        self.nodes[node.0].opens(torrent_id, order.metainfo.geometry);
        let checked = Event::Checked {
            torrent_id: Box::new(torrent_id),
            check,
        };
        self.timetable
            .schedule(node, self.now().after(DISK_DELAY), checked);
    }

    pub(super) fn checked(&mut self, node: NodeIndex, torrent_id: TorrentId, check: u64) {
        let have = self.nodes[node.0].have_bits(&torrent_id);
        let checked = Input::Checked {
            torrent_id,
            check,
            have,
        };
        self.input(node, checked);
    }

    fn ask_tracker(&mut self, asking: Asking) {
        let node = asking.node;
        let announced = tracker::answer(&mut self.nodes, asking);
        self.tell_at(node, self.now().after(TRACKER_DELAY), announced);
    }

    /// Nothing here has a name.
    fn resolve(&mut self, node: NodeIndex, host: String, port: u16) {
        let resolved = tracker::unresolved(host, port);
        self.tell_at(node, self.now().after(TRACKER_DELAY), resolved);
    }

    /// A datagram reaches the node at that address, or nobody. It takes no room on any line.
    fn datagram(&mut self, node: NodeIndex, to: SocketAddr, bytes: Vec<u8>) {
        let Some(to) = self.by_addr.get(&to).copied() else {
            return;
        };
        let from = self.nodes[node.0].addr;
        let at = self.now().after(self.network.delay(node, to));
        self.tell_at(to, at, Input::Datagram { from, bytes });
    }

    /// The session wants to know how its connections fare, or no longer.
    pub(super) fn set_measuring(&mut self, node: NodeIndex, on: bool) {
        let at = self.now().after(MEASURE_EVERY);
        let target = &mut self.nodes[node.0];
        if on == target.measures_at.is_some() {
            return;
        }
        target.measures_at = on.then_some(at);
        if on {
            self.timetable.schedule(node, at, Event::Measure);
        }
    }

    fn append(&mut self, node: NodeIndex, command: NodeCommand) {
        let unix = self.unix();
        if let Some(refused) = self.nodes[node.0].books.append(unix, command) {
            self.tell_at(node, self.now(), refused);
        }
    }

    fn settle_later(&mut self, node: NodeIndex, request: u64, what: Box<SettlementRequest>) {
        self.asked.push(SettlementCall {
            at: self.now().after(SETTLEMENT_DELAY),
            node,
            request,
            what,
        });
    }

    /// The settlement node takes what it was asked since the last time, in the order in which that
    /// gets there. The way there and back is no shorter than a window: nobody is late.
    pub(super) fn settle(&mut self) {
        let mut asked = std::mem::take(&mut self.asked);
        asked.sort_by_key(|asked| (asked.at, asked.node));
        let unix = self.unix();
        for SettlementCall {
            at,
            node,
            request,
            what,
        } in asked
        {
            let answer = match &mut self.settlement {
                Some(settlement) if !self.settlement_away => Ok(settlement.answer(&what, unix)),
                _ => Err(Unreachable("no settlement node".to_owned())),
            };
            let settled = Input::Settled { request, answer };
            self.tell_at(node, at.after(SETTLEMENT_DELAY), settled);
        }
    }

    /// A session will be told something.
    pub(super) fn tell_at(&mut self, node: NodeIndex, at: Instant, input: Input) {
        self.timetable
            .schedule(node, at, Event::Input(Box::new(input)));
    }
}
