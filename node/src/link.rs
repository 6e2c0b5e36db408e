//! The two ends of one connection's state: what the session thread and the connection's task
//! share.

pub(crate) mod outbox;
pub(crate) mod probe;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use seedbank_engine::asked::Requests;
use seedbank_engine::asked::requests::ends_requests;
use seedbank_engine::interface::input::UplinkSample;
use seedbank_engine::units::{Block, PeerIndex, TorrentId};
use seedbank_engine::wire::handshake::Handshake;
use seedbank_engine::wire::message::Message;
use tokio::sync::Notify;

use crate::link::outbox::{Outbox, OutboxItem, WaitingBytes};
use crate::link::probe::Probe;

/// One connection, as seen from the session thread.
#[derive(Debug)]
pub(crate) struct PeerLink {
    index: PeerIndex,
    outbox: Outbox,
    asked: Mutex<Requests<()>>,
    torrent: OnceLock<TorrentId>,
    fast_ours: AtomicBool,
    fast_theirs: AtomicBool,
    phase: Mutex<Phase>,
    /// Wakes whoever waits for another phase. Both together are a tenth of a `watch` channel.
    phase_changed: Notify,
    /// While both halves run.
    probe: Mutex<Option<Probe>>,
}

/// How far the end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In use.
    Open,
    /// The session closed it; what is queued still leaves.
    Closing(String),
    /// Over; both halves stop at once.
    Ended(String),
}

impl PeerLink {
    /// A connection of which nothing is known; what waits for it is counted in `waiting`.
    pub(crate) fn new(index: PeerIndex, waiting: &WaitingBytes) -> Self {
        Self {
            index,
            outbox: Outbox::new(waiting.clone()),
            asked: Mutex::default(),
            torrent: OnceLock::new(),
            fast_ours: AtomicBool::new(false),
            fast_theirs: AtomicBool::new(false),
            phase: Mutex::new(Phase::Open),
            phase_changed: Notify::new(),
            probe: Mutex::default(),
        }
    }

    /// Its number.
    pub(crate) fn index(&self) -> PeerIndex {
        self.index
    }

    /// What is to be sent.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The torrent it belongs to, once our handshake was queued.
    pub(crate) fn torrent(&self) -> Option<TorrentId> {
        self.torrent.get().copied()
    }

    /// Queues our handshake; from here the connection belongs to its torrent.
    pub(crate) fn send_handshake(&self, torrent_id: TorrentId, handshake: Handshake) {
        let same = *self.torrent.get_or_init(|| torrent_id) == torrent_id;
        assert!(same, "a connection belongs to one torrent for life");
        self.fast_ours.store(handshake.fast, Ordering::Relaxed);
        self.send(OutboxItem::Handshake(handshake));
    }

    /// Queues requests and remembers that they were asked.
    pub(crate) fn send_requests(&self, blocks: Vec<Block>) {
        let mut asked = self.asked();
        for block in &blocks {
            asked.ask(*block, ());
        }
        drop(asked);
        self.send(OutboxItem::Requests(blocks));
    }

    /// Queues a cancel; the block is still one that was asked for.
    pub(crate) fn send_cancel(&self, block: Block) {
        self.asked().withdraw(&block);
        self.send(OutboxItem::Message(Message::Cancel(block)));
    }

    /// Queues anything else. A peer that lets too much wait is closed.
    pub(crate) fn send(&self, item: OutboxItem) {
        if let Err(overflow) = self.outbox.push(item) {
            self.end(overflow.to_string());
        }
    }

    /// Closes once everything queued has left.
    pub(crate) fn close(&self, reason: String) {
        self.go_on(|phase| match phase {
            Phase::Open => Some(Phase::Closing(reason)),
            Phase::Closing(_) | Phase::Ended(_) => None,
        });
        self.outbox.close();
    }

    /// Ends at once. The first reason stands, and one of the session's before any other.
    pub(crate) fn end(&self, reason: String) {
        self.go_on(|phase| match phase {
            Phase::Open => Some(Phase::Ended(reason)),
            Phase::Closing(first) => Some(Phase::Ended(std::mem::take(first))),
            Phase::Ended(_) => None,
        });
        self.outbox.close();
    }

    /// What the kernel can be asked about the connection; `None` once both halves have ended.
    pub(crate) fn set_probe(&self, probe: Option<Probe>) {
        *self.probe() = probe;
    }

    /// Whether the way out is measured from now.
    pub(crate) fn set_measured(&self, measured: bool) {
        if let Some(probe) = &*self.probe() {
            // A kernel that refuses keeps longer queues: nothing else depends on it.
            let _ = probe.set_measured(measured);
        }
    }

    /// How the connection fares on its way out; `None` if there is no news.
    pub(crate) fn sample(&self) -> Option<UplinkSample> {
        self.probe().as_ref()?.sample(self.index)
    }

    /// Waits until the connection is over; gives the reason.
    pub(crate) async fn ended(&self) -> String {
        loop {
            let changed = self.phase_changed.notified();
            if let Phase::Ended(reason) = &*self.phase() {
                return reason.clone();
            }
            changed.await;
        }
    }

    /// Waits until the session has closed the connection, or it is over.
    pub(crate) async fn closing(&self) {
        loop {
            let changed = self.phase_changed.notified();
            if *self.phase() != Phase::Open {
                return;
            }
            changed.await;
        }
    }

    /// Whether the connection is over.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(*self.phase(), Phase::Ended(_))
    }

    /// Takes note of the peer's handshake.
    pub(crate) fn received_handshake(&self, handshake: &Handshake) {
        self.fast_theirs.store(handshake.fast, Ordering::Relaxed);
    }

    /// Takes note of a message, which may end requests.
    pub(crate) fn received(&self, message: &Message) {
        if ends_requests(message) {
            let is_fast = self.is_fast();
            self.asked().heard(message, is_fast);
        }
    }

    /// Whether a block was asked of this peer; each request is answered once.
    pub(crate) fn answered(&self, block: &Block) -> bool {
        self.asked().answered(block).is_some()
    }

    fn is_fast(&self) -> bool {
        self.fast_ours.load(Ordering::Relaxed) && self.fast_theirs.load(Ordering::Relaxed)
    }

    /// Enters the phase that `next` makes of this one, if any.
    fn go_on(&self, next: impl FnOnce(&mut Phase) -> Option<Phase>) {
        let mut phase = self.phase();
        let Some(next) = next(&mut phase) else {
            return;
        };
        *phase = next;
        drop(phase);
        self.phase_changed.notify_waiters();
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        // Nothing under this lock leaves it half done.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probe(&self) -> MutexGuard<'_, Option<Probe>> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Requests<()>> {
        // Nothing under this lock leaves it half done.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use seedbank_engine::asked::requests::WITHDRAWN_MAX;
    use seedbank_engine::units::{ClientId, InfoHash, PieceIndex};

    use super::*;

    fn block(begin: u32) -> Block {
        Block {
            piece: PieceIndex::unchecked(0),
            begin: begin * 16_384,
            len: 16_384,
        }
    }

    fn link() -> PeerLink {
        PeerLink::new(PeerIndex(0), &WaitingBytes::default())
    }

    fn handshake(fast: bool) -> Handshake {
        Handshake {
            info_hash: InfoHash([1; 20]),
            client_id: ClientId([2; 20]),
            extended: true,
            fast,
        }
    }

    #[test]
    fn each_request_is_answered_once_even_if_cancelled() {
        let link = link();
        link.send_requests(vec![block(0), block(1), block(0)]);
        link.send_cancel(block(1));
        assert!(link.answered(&block(0)));
        assert!(link.answered(&block(0)));
        assert!(!link.answered(&block(0)));
        assert!(link.answered(&block(1)), "a cancel may come too late");
        assert!(!link.answered(&block(1)));
        assert!(!link.answered(&block(2)));
    }

    #[test]
    fn a_reject_is_an_answer_and_a_choke_voids_only_without_bep_6() {
        let fast = link();
        fast.send_handshake(TorrentId([1; 20]), handshake(true));
        fast.received_handshake(&handshake(true));
        fast.send_requests(vec![block(0), block(1)]);
        fast.received(&Message::Choke);
        fast.received(&Message::Reject(block(0)));
        assert!(!fast.answered(&block(0)));
        assert_eq!(fast.asked().waiting_count(), 1);

        let plain = link();
        plain.send_handshake(TorrentId([1; 20]), handshake(true));
        plain.received_handshake(&handshake(false));
        plain.send_requests((0..2000).map(block).collect());
        plain.received(&Message::Choke);
        assert_eq!(plain.asked().waiting_count(), 0);
        assert_eq!(plain.asked().count(), WITHDRAWN_MAX);
        assert!(plain.answered(&block(1999)), "may have crossed the choke");
    }

    #[tokio::test]
    async fn the_sessions_reason_stands_before_any_other() {
        let link = link();
        link.close("self-connection".to_owned());
        link.end("connection reset".to_owned());
        link.end("again".to_owned());
        assert_eq!(link.ended().await, "self-connection");
        assert!(link.is_ended());
    }
}
