//! The reading half: one read, many messages, one `Received`.
//!
//! Blocks are copied into their lease as they are parsed; the session hears only what became of
//! them. A connection has no room of its own while nothing is half read: small rooms come from a
//! stock that all share. One that reads fill grows, and is kept until the peer falls silent.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use seedbank_engine::asked::{BlockFate, Found};
use seedbank_engine::interface::input::{FailureReason, Input, PeerEvent};
use seedbank_engine::units::Block;
use seedbank_engine::wire::codec::{self, Decoded, FrameLimits, WireError};
use seedbank_engine::wire::handshake::{HANDSHAKE_LEN, Handshake};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::disk::lease::FullPiece;
use crate::disk::plane::DataPlane;
use crate::disk::rooms::{ROOM_LEN, ReadRooms};
use crate::inbox::{GivenUp, Received, ToSession};
use crate::link::PeerLink;
use crate::net::connection::stream::IncomingHalf;
use crate::net::connection::{HANDSHAKE_TIMEOUT, IDLE, SILENCE_MAX};

/// Bytes of the largest read.
const READ_MAX: usize = 256 * 1024;
/// Room for a message that has only been announced; beyond it there is twice what came of it.
const ANNOUNCED_MAX: usize = 32 * 1024;
/// Most events in one `Received`; the read that brought more is told in parts.
const EVENTS_MAX: usize = 4 * 1024;

/// The reading half of a connection.
pub(crate) struct StreamReader<R> {
    plane: Arc<DataPlane>,
    link: Arc<PeerLink>,
    stream: R,
    buffer: ReadBuffer,
    limits: FrameLimits,
}

/// Bytes read and not parsed yet, at `start..end`.
#[derive(Debug, Default)]
struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes to make room for at the next read.
    target: usize,
}

/// What one pass over the buffer found.
#[derive(Debug, Default)]
struct Parsed {
    events: Vec<PeerEvent>,
    full: Vec<FullPiece>,
    /// Asked-for blocks without a lease, with their place among the events.
    late: Vec<(usize, Block, Vec<u8>)>,
    /// The leases that took or had a block, with their place among the events.
    leases: Vec<(usize, GivenUp)>,
}

impl<R: IncomingHalf> StreamReader<R> {
    pub(crate) fn new(plane: Arc<DataPlane>, link: Arc<PeerLink>, stream: R) -> Self {
        Self {
            plane,
            link,
            stream,
            buffer: ReadBuffer::default(),
            limits: FrameLimits::DEFAULT,
        }
    }

    /// Reads until the connection is over. What was wrong with it, if no handshake came.
    pub(crate) async fn run(
        &mut self,
        pending: Option<OwnedSemaphorePermit>,
    ) -> Option<FailureReason> {
        let link = Arc::clone(&self.link);
        // What is waited for once is boxed, so that it takes no room afterwards.
        let handshake = Box::pin(timeout(HANDSHAKE_TIMEOUT, self.read_handshake()));
        let (failure, reason) = match handshake.await {
            Ok(Ok(Some(handshake))) => {
                drop(pending);
                link.received_handshake(&handshake);
                let peer = link.index();
                let input = Input::Handshake { peer, handshake };
                self.plane.inbox.input(input).await;
                match self.read_messages().await {
                    Ok(()) => (None, "closed by the peer".to_owned()),
                    Err(error) => (None, error),
                }
            }
            Ok(Ok(None)) => {
                let reason = "closed by the peer before its handshake".to_owned();
                (Some(FailureReason::Closed), reason)
            }
            Ok(Err((failure, error))) => (Some(failure), error),
            Err(_) => {
                let reason = "no handshake in time".to_owned();
                (Some(FailureReason::Silent), reason)
            }
        };
        link.end(reason);
        failure
    }

    /// The first 68 bytes; `None` at the end of the stream. What follows them stays in the buffer.
    async fn read_handshake(&mut self) -> Result<Option<Handshake>, (FailureReason, String)> {
        let link = Arc::clone(&self.link);
        let mut ended = pin!(link.ended());
        loop {
            if let Some(bytes) = self.buffer.filled().first_chunk::<HANDSHAKE_LEN>() {
                let handshake = Handshake::decode(bytes)
                    .map_err(|error| (FailureReason::WrongProtocol, error.to_string()))?;
                self.buffer.consume(HANDSHAKE_LEN);
                return Ok(Some(handshake));
            }
            let rooms = &self.plane.read_rooms;
            let read = self.buffer.read(&mut self.stream, HANDSHAKE_LEN, rooms);
            tokio::select! {
                _ = &mut ended => return Ok(None),
                len = read => match len {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    Err(error) => return Err((FailureReason::Closed, error.to_string())),
                }
            }
        }
    }

    async fn read_messages(&mut self) -> Result<(), String> {
        let link = Arc::clone(&self.link);
        let mut ended = pin!(link.ended());
        let mut idle = interval(IDLE);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_read = Instant::now();
        loop {
            // Never cut short between copying a block and telling the session of it.
            let need = self.parse_all().await.map_err(|error| error.to_string())?;
            if link.is_ended() {
                return Ok(());
            }
            let rooms = &self.plane.read_rooms;
            self.buffer.give_back_small(rooms);
            loop {
                tokio::select! {
                    _ = &mut ended => return Ok(()),
                    len = self.buffer.read(&mut self.stream, need, rooms) => match len {
                        Ok(0) => return Ok(()),
                        Ok(_) => break,
                        Err(error) => return Err(error.to_string()),
                    },
                    now = idle.tick() => {
                        let silence = now.duration_since(last_read);
                        if silence > SILENCE_MAX {
                            return Err(format!("silent for {} s", silence.as_secs()));
                        }
                        if silence > IDLE {
                            self.buffer.give_back();
                        }
                    }
                }
            }
            last_read = Instant::now();
        }
    }

    /// Tells the session everything the buffer holds; gives the bytes needed to go on.
    async fn parse_all(&mut self) -> Result<usize, WireError> {
        loop {
            let mut parsed = Parsed::default();
            let outcome = self.parse(&mut parsed);
            for (place, block, payload) in std::mem::take(&mut parsed.late) {
                let found = Box::pin(self.compare(block, payload)).await;
                let fate = BlockFate::of(found);
                parsed.events[place] = PeerEvent::Block { block, fate };
            }
            if !parsed.events.is_empty() {
                let received = Received {
                    peer: self.link.index(),
                    events: parsed.events,
                    leases: parsed.leases,
                };
                // False once the session thread has ended; so does this connection then.
                let _ = self.plane.inbox.send(ToSession::Received(received)).await;
            }
            // Behind the event of their last block, so that the session hears of that first.
            for full in parsed.full {
                Box::pin(self.plane.verify(full)).await;
            }
            match outcome? {
                Some(need) => return Ok(need),
                // A bounded pass; let the writing half have its turn.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Parses up to `EVENTS_MAX` events; the bytes needed to go on, or `None` if there may be more.
    fn parse(&mut self, parsed: &mut Parsed) -> Result<Option<usize>, WireError> {
        self.learn_limits();
        while parsed.events.len() < EVENTS_MAX {
            let filled = self.buffer.filled();
            match codec::decode(filled, &self.limits)? {
                Decoded::Need(need) => return Ok(Some(need)),
                Decoded::Skip { len } => self.buffer.consume(len),
                Decoded::Message { message, len } => {
                    self.link.received(&message);
                    parsed.events.push(PeerEvent::Message(message));
                    self.buffer.consume(len);
                }
                Decoded::Piece { block, header_len } => {
                    let len = header_len + crate::link::outbox::len_of(&block);
                    let Some(payload) = filled.get(header_len..len) else {
                        return Ok(Some(len));
                    };
                    let fate = take_block(&self.plane, &self.link, block, payload, parsed);
                    parsed.events.push(PeerEvent::Block { block, fate });
                    self.buffer.consume(len);
                }
            }
        }
        Ok(None)
    }

    /// Of a torrent whose pieces are known nobody has more to say than a bit for each.
    fn learn_limits(&mut self) {
        if self.limits != FrameLimits::DEFAULT {
            return;
        }
        let torrent = self.link.torrent();
        if let Some(torrent) = torrent.and_then(|torrent| self.plane.torrent(&torrent)) {
            let pieces = torrent.storage.metainfo().geometry.piece_count();
            self.limits = FrameLimits::for_pieces(pieces);
        }
    }

    /// What the disk has of a block that was asked for and has no lease any more. Rare: end game,
    /// and requests withdrawn too late.
    async fn compare(&self, block: Block, payload: Vec<u8>) -> Found {
        let torrent = self.link.torrent();
        let torrent = torrent.and_then(|torrent| self.plane.torrent(&torrent));
        let Some(torrent) = torrent.filter(|torrent| torrent.has(block.piece)) else {
            return Found::Nothing;
        };
        let read = self.plane.disk.run(move || {
            let mut there = vec![0; payload.len()];
            let offset = torrent
                .storage
                .metainfo()
                .geometry
                .piece_offset(block.piece);
            let read = torrent
                .storage
                .read(offset + u64::from(block.begin), &mut there);
            read.is_ok() && there == payload
        });
        Found::Present { equal: read.await }
    }
}

/// Copies a block into its lease. Only a block that was asked of this peer is looked at.
fn take_block(
    plane: &DataPlane,
    link: &PeerLink,
    block: Block,
    payload: &[u8],
    parsed: &mut Parsed,
) -> BlockFate {
    let torrent = link.torrent().filter(|_| link.answered(&block));
    let find = |torrent| {
        let landed = plane.leases.store(torrent, &block, payload);
        let place = parsed.events.len();
        parsed.full.extend(landed.full);
        let given_up = landed.given_up.into_iter();
        parsed
            .leases
            .extend(given_up.map(|given_up| (place, given_up)));
        if landed.found == Found::Nothing {
            // Looked for on the disk, once the buffer is parsed.
            parsed.late.push((place, block, payload.to_vec()));
        }
        landed.found
    };
    BlockFate::decide(torrent, find)
}

impl ReadBuffer {
    /// What has been read and not consumed.
    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Passes over the first `len` bytes.
    fn consume(&mut self, len: usize) {
        self.start += len;
        assert!(self.start <= self.end, "consumed more than was read");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once, with room for `need` bytes in all, as far as they come; 0 at the end of the
    /// stream. Grows while reads fill the room; without room, waits for something to come before
    /// making any.
    async fn read(
        &mut self,
        stream: &mut impl IncomingHalf,
        need: usize,
        rooms: &ReadRooms,
    ) -> io::Result<usize> {
        if self.bytes.is_empty() {
            stream.wait().await?;
            self.bytes = rooms.take();
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let need = need.min(ANNOUNCED_MAX.max(2 * self.end));
        let want = need.max(self.target).max(ROOM_LEN);
        if self.bytes.len() < want {
            self.bytes.resize(want, 0);
        }
        let len = stream.read(&mut self.bytes[self.end..want]).await?;
        self.end += len;
        if self.end == want {
            self.target = (want * 2).min(READ_MAX);
        } else if len < want / 8 {
            self.target = want / 2;
        }
        Ok(len)
    }

    /// Hands a room of the least size on to others if nothing is in it.
    fn give_back_small(&mut self, rooms: &ReadRooms) {
        if self.start == self.end && self.bytes.len() == ROOM_LEN {
            rooms.put(std::mem::take(&mut self.bytes));
        }
    }

    /// Frees the room if nothing is in it.
    fn give_back(&mut self) {
        if self.start == self.end {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A few bytes announce a bitfield of 256 KiB: room for it comes with its bytes.
    #[tokio::test]
    async fn what_is_only_announced_has_little_room() {
        const NEED: usize = 256 * 1024 + 5;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(peer, listener.accept());
        let (mut peer, (mut stream, _)) = (peer.unwrap(), accepted.unwrap().0.into_split());
        let (mut buffer, rooms) = (ReadBuffer::default(), ReadRooms::default());
        for _ in 0..2 {
            peer.write_all(&[0; 5]).await.unwrap();
            buffer.read(&mut stream, NEED, &rooms).await.unwrap();
        }
        assert!(buffer.bytes.len() <= ANNOUNCED_MAX);
        let rest = async {
            while buffer.filled().len() < NEED {
                buffer.read(&mut stream, NEED, &rooms).await.unwrap();
            }
        };
        let write = peer.write_all(&[1; NEED - 10]);
        let ((), written) = tokio::join!(rest, write);
        written.unwrap();
        assert_eq!(buffer.filled().len(), NEED, "and all of it comes");
    }
}
