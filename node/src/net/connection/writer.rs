//! The writing half: a batch of queued items becomes one vectored write.
//!
//! Blocks of a batch that lie side by side are read at once, from memory if they are there, else
//! by the disk pool while this task waits and the reading half goes on.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;

use seedbank_engine::interface::input::Input;
use seedbank_engine::units::{Block, TorrentId};
use seedbank_engine::wire::codec::piece_header;
use seedbank_engine::wire::message::Message;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::sleep;

use crate::disk::plane::{DataPlane, TorrentData};
use crate::disk::storage::StorageError;
use crate::link::PeerLink;
use crate::link::outbox::{OutboxItem, len_of};
use crate::net::connection::{IDLE, linger};

/// Payload of one batch.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Blocks of one batch: with headers, well below the kernel's limit of 1024 slices a write.
const BATCH_BLOCKS_MAX: usize = 256;

/// The writing half of a connection.
pub(crate) struct StreamWriter<W> {
    plane: Arc<DataPlane>,
    link: Arc<PeerLink>,
    stream: W,
    items: Vec<OutboxItem>,
    batch: WriteBatch,
    /// Nothing has left.
    is_silent: bool,
}

/// A batch as bytes: messages and headers in `control`, payload in `payload`.
#[derive(Debug, Default)]
struct WriteBatch {
    control: Vec<u8>,
    payload: Vec<u8>,
    parts: Vec<Part>,
    /// Where each served block ends in the batch, and its payload bytes.
    blocks: Vec<(usize, u64)>,
    runs: Vec<Run>,
}

/// A stretch of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Control(Range<usize>),
    Payload(Range<usize>),
}

/// Blocks that lie side by side in the torrent and in `payload`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    offset: u64,
    range: Range<usize>,
}

/// Why the writing half stopped.
enum Stop {
    /// Everything queued has left and the session closed the connection.
    Flushed,
    /// The connection is over.
    Ended,
    /// The socket failed.
    Socket(io::Error),
    /// The torrent's files failed.
    Storage(TorrentId, StorageError),
    /// The torrent's files are closed.
    NoStorage,
}

impl<W: AsyncWrite + Unpin> StreamWriter<W> {
    pub(crate) fn new(plane: Arc<DataPlane>, link: Arc<PeerLink>, stream: W) -> Self {
        Self {
            plane,
            link,
            stream,
            items: Vec::new(),
            batch: WriteBatch::default(),
            is_silent: true,
        }
    }

    /// Writes until the connection is over, or closed and flushed.
    pub(crate) async fn run(&mut self) {
        let link = Arc::clone(&self.link);
        let mut ended = pin!(link.ended());
        let stop = loop {
            if let Err(stop) = self.write_batch(ended.as_mut()).await {
                break stop;
            }
        };
        match stop {
            // Who was told nothing loses nothing: a flood of such leaves no sockets behind.
            Stop::Flushed if self.is_silent => link.end("closed".to_owned()),
            Stop::Flushed => {
                // An error here means that the peer is gone already.
                let _ = self.stream.shutdown().await;
                Box::pin(linger(&link)).await;
            }
            Stop::Ended => {}
            Stop::Socket(error) => link.end(error.to_string()),
            Stop::NoStorage => link.end("torrent is closed".to_owned()),
            Stop::Storage(torrent_id, error) => {
                let reason = error.to_string();
                link.end(format!("cannot read what it asked for: {reason}"));
                let failed = Input::StorageFailed { torrent_id, reason };
                self.plane.inbox.input(failed).await;
            }
        }
    }

    async fn write_batch(
        &mut self,
        mut ended: Pin<&mut impl Future<Output = String>>,
    ) -> Result<(), Stop> {
        let link = Arc::clone(&self.link);
        if !link
            .outbox()
            .take(&mut self.items, BATCH_BYTES_MAX, BATCH_BLOCKS_MAX)
        {
            return Err(Stop::Flushed);
        }
        if self.items.is_empty() {
            if !self.batch.has_payload_room() {
                self.give_back();
            }
            // In the heap, where it is only while there is something to give back.
            let has_room = self.batch.has_payload_room();
            let mut pause = has_room.then(|| Box::pin(sleep(IDLE)));
            let idle = async {
                match &mut pause {
                    Some(pause) => pause.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = ended.as_mut() => return Err(Stop::Ended),
                () = link.outbox().filled() => {}
                () = idle => self.give_back(),
            }
            return Ok(());
        }
        self.fill().await?;
        let mut written = 0;
        let mut told = 0;
        while written < self.batch.len() {
            let slices = self.batch.slices(written);
            let len = tokio::select! {
                _ = ended.as_mut() => return Err(Stop::Ended),
                len = self.stream.write_vectored(&slices) => len.map_err(Stop::Socket)?,
            };
            if len == 0 {
                return Err(Stop::Socket(io::ErrorKind::WriteZero.into()));
            }
            written += len;
            self.is_silent = false;
            told = self.tell_sent(told, written).await;
        }
        Ok(())
    }

    /// Frees every room while there is nothing to send.
    fn give_back(&mut self) {
        self.items = Vec::new();
        self.batch = WriteBatch::default();
    }

    /// Turns the taken items into bytes.
    async fn fill(&mut self) -> Result<(), Stop> {
        self.batch.clear();
        let serves = self
            .items
            .iter()
            .any(|item| matches!(item, OutboxItem::Serve(_)));
        let torrent = self.link.torrent().filter(|_| serves);
        let Some(torrent_id) = torrent else {
            assert!(!serves, "nothing is served before our handshake");
            self.items
                .drain(..)
                .for_each(|item| self.batch.put(item, |_| 0));
            return Ok(());
        };
        let torrent = self.plane.torrent(&torrent_id).ok_or(Stop::NoStorage)?;
        let geometry = torrent.storage.metainfo().geometry;
        let offset = |block: &Block| geometry.piece_offset(block.piece) + u64::from(block.begin);
        self.items
            .drain(..)
            .for_each(|item| self.batch.put(item, offset));
        let read = Box::pin(self.read_payload(torrent)).await;
        read.map_err(|error| Stop::Storage(torrent_id, error))
    }

    /// Reads every run: inline while they are in memory, the rest on the disk pool.
    async fn read_payload(&mut self, torrent: Arc<TorrentData>) -> Result<(), StorageError> {
        let mut cold = 0;
        for run in &self.batch.runs {
            let bytes = &mut self.batch.payload[run.range.clone()];
            if !torrent.storage.read_now(run.offset, bytes)? {
                break;
            }
            cold += 1;
        }
        if cold == self.batch.runs.len() {
            return Ok(());
        }
        let runs = self.batch.runs[cold..].to_vec();
        let mut payload = std::mem::take(&mut self.batch.payload);
        let read = self.plane.disk.run(move || {
            let read = runs.iter().try_for_each(|run| {
                let bytes = &mut payload[run.range.clone()];
                torrent.storage.read(run.offset, bytes)
            });
            (payload, read)
        });
        let (payload, read) = read.await;
        self.batch.payload = payload;
        read
    }

    /// Tells the session of the blocks that have left since `told`; gives how many have now.
    async fn tell_sent(&self, told: usize, written: usize) -> usize {
        let left = &self.batch.blocks[told..];
        let count = left.partition_point(|(end, _)| *end <= written);
        if count > 0 {
            let sent = Input::Sent {
                peer: self.link.index(),
                bytes: left[..count].iter().map(|(_, len)| len).sum(),
                blocks: u32::try_from(count).expect("a batch is bounded"),
            };
            self.plane.inbox.input(sent).await;
        }
        told + count
    }
}

impl WriteBatch {
    fn clear(&mut self) {
        self.control.clear();
        self.parts.clear();
        self.blocks.clear();
        self.runs.clear();
    }

    /// Whether the payload has room of its own: it is large, and soon wanted again.
    fn has_payload_room(&self) -> bool {
        !self.payload.is_empty()
    }

    /// Appends an item; `offset` says where a block lies in the torrent.
    fn put(&mut self, item: OutboxItem, offset: impl Fn(&Block) -> u64) {
        match item {
            OutboxItem::Handshake(handshake) => {
                self.put_control(|out| out.extend(handshake.encode()));
            }
            OutboxItem::Message(message) => self.put_control(|out| message.encode(out)),
            OutboxItem::Haves(pieces) => self.put_control(|out| {
                let haves = pieces.into_iter().map(Message::Have);
                haves.for_each(|have| have.encode(out));
            }),
            OutboxItem::Requests(blocks) => self.put_control(|out| {
                let requests = blocks.into_iter().map(Message::Request);
                requests.for_each(|request| request.encode(out));
            }),
            OutboxItem::Serve(blocks) => {
                for block in blocks {
                    self.put_control(|out| out.extend(piece_header(&block)));
                    self.put_block(&block, offset(&block));
                }
            }
        }
    }

    fn put_control(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.control.len();
        encode(&mut self.control);
        let end = self.control.len();
        match self.parts.last_mut() {
            Some(Part::Control(range)) => range.end = end,
            _ => self.parts.push(Part::Control(start..end)),
        }
    }

    fn put_block(&mut self, block: &Block, offset: u64) {
        let start = self.payload_len();
        let end = start + len_of(block);
        if self.payload.len() < end {
            let room = end.next_power_of_two().min(BATCH_BYTES_MAX).max(end);
            self.payload.resize(room, 0);
        }
        let len = u64::from(block.len);
        match self.runs.last_mut() {
            Some(run) if run.end() == offset => run.range.end = end,
            _ => self.runs.push(Run {
                offset,
                range: start..end,
            }),
        }
        self.parts.push(Part::Payload(start..end));
        self.blocks.push((self.control.len() + end, len));
    }

    fn payload_len(&self) -> usize {
        self.runs.last().map_or(0, |run| run.range.end)
    }

    fn len(&self) -> usize {
        self.control.len() + self.payload_len()
    }

    /// Everything behind the first `written` bytes.
    fn slices(&self, written: usize) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(self.parts.len());
        let mut skip = written;
        for part in &self.parts {
            let bytes = match part {
                Part::Control(range) => &self.control[range.clone()],
                Part::Payload(range) => &self.payload[range.clone()],
            };
            if skip >= bytes.len() {
                skip -= bytes.len();
                continue;
            }
            slices.push(IoSlice::new(&bytes[skip..]));
            skip = 0;
        }
        slices
    }
}

impl Run {
    fn end(&self) -> u64 {
        let len = self.range.end - self.range.start;
        self.offset + u64::try_from(len).expect("a length fits u64")
    }
}
