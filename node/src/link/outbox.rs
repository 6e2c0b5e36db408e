//! What is to be sent to one peer, first in first out: the order of the session's outputs is the
//! order on the wire.
//!
//! The session pushes and never waits; a peer that lets more pile up than the bounds allow is
//! closed. So is one that lets more than its share pile up while all peers together do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seedbank_engine::units::{Block, PieceIndex};
use seedbank_engine::wire::handshake::Handshake;
use seedbank_engine::wire::message::Message;
use tokio::sync::Notify;

/// Most items that wait; haves in a row are one item.
pub(crate) const ITEMS_MAX: usize = 8 * 1024;
/// Most bytes of messages that wait; blocks to serve are not read yet and count nothing.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The same of all peers of a node: past it, nobody may have more waiting than a share.
pub(crate) const ALL_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a peer may have waiting in any case.
pub(crate) const SHARE_BYTES: usize = 64 * 1024;

/// One thing to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutboxItem {
    /// The 68 bytes.
    Handshake(Handshake),
    /// A message.
    Message(Message),
    /// `have` messages.
    Haves(Vec<PieceIndex>),
    /// `request` messages.
    Requests(Vec<Block>),
    /// `piece` messages, whose payload is read when their turn comes.
    Serve(Vec<Block>),
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    all: WaitingBytes,
}

/// Bytes of messages that wait in all outboxes of a node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitingBytes(Arc<AtomicUsize>);

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<OutboxItem>,
    message_bytes: usize,
    closed: bool,
}

/// The queue holds more than its bounds allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "does not read: more than {ITEMS_MAX} messages or {MESSAGE_BYTES_MAX} bytes wait, \
     or {SHARE_BYTES} and more than {ALL_BYTES_MAX} of all peers"
)]
pub(crate) struct Overflow;

impl Outbox {
    /// An empty queue, counted in `all`.
    pub(crate) fn new(all: WaitingBytes) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
            all,
        }
    }

    /// Puts an item behind all others; ignored once the queue is closed.
    pub(crate) fn push(&self, item: OutboxItem) -> Result<(), Overflow> {
        let mut queue = self.lock();
        if queue.closed {
            return Ok(());
        }
        let was_empty = queue.items.is_empty();
        match (queue.items.back_mut(), item) {
            (Some(OutboxItem::Haves(haves)), OutboxItem::Message(Message::Have(piece))) => {
                haves.push(piece);
            }
            (_, OutboxItem::Message(Message::Have(piece))) => {
                queue.items.push_back(OutboxItem::Haves(vec![piece]));
            }
            (_, item) => {
                let bytes = message_bytes(&item);
                queue.message_bytes += bytes;
                self.all.0.fetch_add(bytes, Ordering::Relaxed);
                queue.items.push_back(item);
            }
        }
        let is_crowded = || self.all.0.load(Ordering::Relaxed) > ALL_BYTES_MAX;
        let overflow = queue.items.len() > ITEMS_MAX
            || queue.message_bytes > MESSAGE_BYTES_MAX
            || queue.message_bytes > SHARE_BYTES && is_crowded();
        drop(queue);
        if was_empty {
            self.filled.notify_one();
        }
        if overflow { Err(Overflow) } else { Ok(()) }
    }

    /// Takes no more items; `take` says so once the queue is empty.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits until there is something to take, or the queue is closed. For one task only. While
    /// it waits, the queue has no room of its own.
    pub(crate) async fn filled(&self) {
        loop {
            let notified = self.filled.notified();
            {
                let mut queue = self.lock();
                if queue.closed || !queue.items.is_empty() {
                    return;
                }
                queue.items = VecDeque::new();
            }
            notified.await;
        }
    }

    /// Takes items off the front until their payload reaches `payload_max` bytes or `block_max`
    /// blocks; a serve item is split there. False if the queue is closed and empty.
    pub(crate) fn take(
        &self,
        into: &mut Vec<OutboxItem>,
        payload_max: usize,
        block_max: usize,
    ) -> bool {
        let mut queue = self.lock();
        let mut payload = 0;
        let mut blocks = 0;
        let mut messages = 0;
        while payload < payload_max && blocks < block_max && messages < payload_max {
            match queue.items.pop_front() {
                Some(OutboxItem::Serve(mut serve)) => {
                    let mut count = 0;
                    for block in serve.iter().take(block_max - blocks) {
                        if payload >= payload_max {
                            break;
                        }
                        payload += len_of(block);
                        count += 1;
                    }
                    blocks += count;
                    if count < serve.len() {
                        queue
                            .items
                            .push_front(OutboxItem::Serve(serve.split_off(count)));
                    }
                    into.push(OutboxItem::Serve(serve));
                }
                Some(item) => {
                    let bytes = message_bytes(&item);
                    queue.message_bytes -= bytes;
                    self.all.0.fetch_sub(bytes, Ordering::Relaxed);
                    messages += bytes;
                    into.push(item);
                }
                None => break,
            }
        }
        !(into.is_empty() && queue.closed)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock leaves it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let bytes = self.lock().message_bytes;
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Payload bytes of a block.
pub(crate) fn len_of(block: &Block) -> usize {
    usize::try_from(block.len).expect("a block fits memory")
}

/// About how many bytes an item holds in memory; exact enough for a bound. The same at push and
/// take, so haves, which grow in between, count nothing: there are at most as many as pieces.
fn message_bytes(item: &OutboxItem) -> usize {
    let inside = match item {
        OutboxItem::Haves(_) | OutboxItem::Serve(_) => return 0,
        OutboxItem::Message(Message::Bitfield(bytes)) => bytes.len(),
        OutboxItem::Message(Message::Extended { payload, .. }) => payload.len(),
        OutboxItem::Handshake(_) | OutboxItem::Message(_) => 0,
        OutboxItem::Requests(blocks) => size_of_val(blocks.as_slice()),
    };
    size_of::<OutboxItem>() + inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(begin: u32) -> Block {
        Block {
            piece: PieceIndex::unchecked(0),
            begin: begin * 16_384,
            len: 16_384,
        }
    }

    fn taken(outbox: &Outbox, payload_max: usize) -> Vec<OutboxItem> {
        let mut items = Vec::new();
        outbox.take(&mut items, payload_max, 256);
        items
    }

    #[test]
    fn order_is_kept_and_serves_are_split_at_the_batch() {
        let outbox = Outbox::default();
        let serve: Vec<Block> = (0..5).map(block).collect();
        outbox.push(OutboxItem::Message(Message::Unchoke)).unwrap();
        outbox.push(OutboxItem::Serve(serve.clone())).unwrap();
        outbox.push(OutboxItem::Message(Message::Choke)).unwrap();
        assert_eq!(
            taken(&outbox, 32_768),
            [
                OutboxItem::Message(Message::Unchoke),
                OutboxItem::Serve(serve[..2].to_vec())
            ]
        );
        assert_eq!(
            taken(&outbox, 1 << 20),
            [
                OutboxItem::Serve(serve[2..].to_vec()),
                OutboxItem::Message(Message::Choke)
            ]
        );
        assert_eq!(taken(&outbox, 1 << 20), []);
    }

    #[test]
    fn haves_in_a_row_are_one_item_but_never_overtake() {
        let outbox = Outbox::default();
        let have = |index| OutboxItem::Message(Message::Have(PieceIndex::unchecked(index)));
        for item in [
            have(1),
            have(2),
            OutboxItem::Message(Message::Choke),
            have(3),
        ] {
            outbox.push(item).unwrap();
        }
        let pieces = |list: &[u32]| list.iter().copied().map(PieceIndex::unchecked).collect();
        assert_eq!(
            taken(&outbox, 1 << 20),
            [
                OutboxItem::Haves(pieces(&[1, 2])),
                OutboxItem::Message(Message::Choke),
                OutboxItem::Haves(pieces(&[3]))
            ]
        );
    }

    #[test]
    fn a_peer_that_does_not_read_overflows_by_count_or_by_bytes() {
        let outbox = Outbox::default();
        for _ in 0..ITEMS_MAX {
            outbox
                .push(OutboxItem::Message(Message::KeepAlive))
                .unwrap();
        }
        let one_more = outbox.push(OutboxItem::Message(Message::KeepAlive));
        assert_eq!(one_more, Err(Overflow));

        let outbox = Outbox::default();
        let pushed = (0..300).filter(|_| outbox.push(big()).is_ok()).count();
        assert_eq!(pushed, MESSAGE_BYTES_MAX / message_bytes(&big()));
    }

    #[test]
    fn peers_that_do_not_read_are_bounded_all_together() {
        let all = WaitingBytes::default();
        let mut outboxes: Vec<Outbox> = (0..150).map(|_| Outbox::new(all.clone())).collect();
        let mut overflows = 0;
        for _ in 0..MESSAGE_BYTES_MAX / message_bytes(&big()) {
            outboxes.retain(|outbox| outbox.push(big()).is_ok());
            overflows = 150 - outboxes.len();
            let waiting = all.0.load(Ordering::Relaxed);
            assert!(waiting <= ALL_BYTES_MAX + 150 * (SHARE_BYTES + message_bytes(&big())));
        }
        assert!(overflows > 100, "{overflows} of 150 were closed");
        // Whoever reads may have as much as ever once the others are gone.
        let reader = Outbox::new(all.clone());
        drop(outboxes);
        let pushed = (0..300).filter(|_| reader.push(big()).is_ok()).count();
        assert_eq!(pushed, MESSAGE_BYTES_MAX / message_bytes(&big()));
        drop(reader);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    fn big() -> OutboxItem {
        OutboxItem::Message(Message::Extended {
            id: 1,
            payload: vec![0; 16 * 1024],
        })
    }

    #[test]
    fn taking_gives_the_room_back() {
        let outbox = Outbox::default();
        for _ in 0..10 {
            outbox
                .push(OutboxItem::Requests((0..100).map(block).collect()))
                .unwrap();
            taken(&outbox, 1 << 20);
        }
        assert_eq!(outbox.lock().message_bytes, 0);
    }

    #[test]
    fn a_closed_queue_drains_and_then_says_so() {
        let outbox = Outbox::default();
        outbox.push(OutboxItem::Message(Message::Choke)).unwrap();
        outbox.close();
        outbox.push(OutboxItem::Message(Message::Unchoke)).unwrap();
        let mut items = Vec::new();
        assert!(outbox.take(&mut items, 1, 1));
        assert_eq!(items, [OutboxItem::Message(Message::Choke)]);
        assert!(!outbox.take(&mut Vec::new(), 1, 1));
    }
}
