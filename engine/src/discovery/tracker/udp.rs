//! UDP trackers (BEP 15, 41) as an exchange without a socket.
//!
//! [`UdpAnnounce::poll`] says what to send or how long to wait, [`UdpAnnounce::handle`] takes what
//! came back from that address. One exchange is one announce over one address family; [`client`]
//! conducts all that are under way.

pub mod client;
pub(crate) mod transaction;

use seedbank_ledger::{Duration, Instant};

use crate::discovery::tracker::{
    AnnounceError, AnnounceEvent, AnnounceReply, AnnounceRequest, TEXT_MAX, compact, interval,
    usable,
};
use crate::text::printable;

/// How long a connection id may be used (BEP 15).
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);
/// Most repetitions that BEP 15 allows, an hour and two minutes after the one before.
pub const RETRIES_MAX: u32 = 8;
/// Repetitions after which the next tracker had better be asked: 105 s in all.
pub const RETRIES_DEFAULT: u32 = 2;
/// Most bytes of path and query that are sent along; the rest is cut off.
pub const PATH_LEN_MAX: usize = 1024;

const TIMEOUT: Duration = Duration::from_secs(15);
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_ERROR: u32 = 3;
const OPTION_URL_DATA: u8 = 2;
const OPTION_LEN_MAX: usize = 255;

/// Which addresses a tracker answers with: those of the family it was asked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Six bytes a peer.
    V4,
    /// Eighteen bytes a peer.
    V6,
}

/// A tracker's leave to announce, good for [`CONNECTION_LIFETIME`] from this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedConnection {
    id: u64,
    expires_at: Instant,
}

impl CachedConnection {
    /// Whether it may still be used.
    pub fn is_live(&self, now: Instant) -> bool {
        now < self.expires_at
    }
}

/// What an exchange needs to begin.
#[derive(Clone, Copy, Debug)]
pub struct UdpParameters<'a> {
    /// What to say.
    pub request: AnnounceRequest,
    /// Path and query of the tracker's URL; empty for none.
    pub path: &'a str,
    /// Family of the tracker's address.
    pub family: Family,
    /// Transaction ids that nobody can guess, one for connecting and one for announcing.
    pub transaction_ids: [u32; 2],
    /// Repetitions before it fails; held at [`RETRIES_MAX`].
    pub retries: u32,
    /// From an earlier exchange with this tracker from the same address. If the tracker refuses the
    /// announce made under it, the exchange connects once more: it may have been restarted.
    pub connection: Option<CachedConnection>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this datagram.
    Send(Vec<u8>),
    /// Wait for a datagram, but no longer than this.
    Wait(Instant),
    /// Nobody answered.
    Failed(AnnounceError),
}

/// One announce over UDP.
#[derive(Clone, Debug)]
pub struct UdpAnnounce {
    request: AnnounceRequest,
    path: Vec<u8>,
    family: Family,
    connect_id: u32,
    announce_id: u32,
    connection: Option<CachedConnection>,
    /// Whether the connection is that of an earlier exchange.
    borrowed: bool,
    retries: u32,
    /// Whether the tracker was sent an announce.
    announced: bool,
    /// Whether the datagram last sent announces, rather than connects.
    announcing: bool,
    /// Datagrams sent without an answer.
    sent: u32,
    /// Whether a leave to announce has started the count anew. It does once: a tracker that only
    /// ever gives leave would otherwise keep us for ever.
    restarted: bool,
    /// When to send again, or to give up.
    due: Instant,
}

impl UdpAnnounce {
    /// Begins an exchange; the first datagram is due at once.
    pub fn new(parameters: UdpParameters<'_>) -> Self {
        let path = parameters.path.as_bytes();
        let [connect_id, announce_id] = parameters.transaction_ids;
        Self {
            request: parameters.request,
            path: path[..path.len().min(PATH_LEN_MAX)].to_vec(),
            family: parameters.family,
            connect_id,
            announce_id,
            connection: parameters.connection,
            borrowed: parameters.connection.is_some(),
            retries: parameters.retries.min(RETRIES_MAX),
            announced: false,
            announcing: false,
            sent: 0,
            restarted: false,
            due: Instant::ZERO,
        }
    }

    /// What to do at `now`. Sends again after 15 s × 2ⁿ, and connects again if the connection id
    /// has expired meanwhile.
    pub fn poll(&mut self, now: Instant) -> Step {
        if now < self.due {
            return Step::Wait(self.due);
        }
        if self.sent > self.retries {
            let problem = format!("no answer to {} datagrams", self.sent);
            return Step::Failed(AnnounceError::Unreachable(problem));
        }
        self.due = now.after(TIMEOUT.times(1 << self.sent));
        self.sent += 1;
        let live = self.connection.filter(|connection| connection.is_live(now));
        self.announcing = live.is_some();
        self.announced |= self.announcing;
        Step::Send(match live {
            Some(connection) => self.announce(connection),
            None => self.connect(),
        })
    }

    /// Takes a datagram from the tracker's address. `None` if it does not end the exchange: not
    /// ours, cut short, or the leave to announce, upon which [`Self::poll`] has something to send.
    pub fn handle(
        &mut self,
        datagram: &[u8],
        now: Instant,
    ) -> Option<Result<AnnounceReply, AnnounceError>> {
        let (action, rest) = take(datagram)?;
        let (transaction_id, rest) = take(rest)?;
        if transaction_id != self.awaited_id() {
            return None;
        }
        match action {
            ACTION_CONNECT if !self.announcing => {
                let id = u64::from_be_bytes(*rest.first_chunk()?);
                let expires_at = now.after(CONNECTION_LIFETIME);
                self.connection = Some(CachedConnection { id, expires_at });
                self.borrowed = false;
                if !self.restarted {
                    self.restarted = true;
                    self.sent = 0;
                }
                self.due = now;
                None
            }
            ACTION_ANNOUNCE if self.announcing => self.reply(rest).map(Ok),
            ACTION_ERROR => {
                let reason = printable(rest, TEXT_MAX);
                // A connection that the tracker does not know any more is no use to the next one.
                self.connection = None;
                if std::mem::take(&mut self.borrowed) {
                    self.sent = 0;
                    self.due = now;
                    return None;
                }
                Some(Err(AnnounceError::Refused(reason)))
            }
            _ => None,
        }
    }

    /// When [`Self::poll`] has something new to say.
    pub fn next_timeout(&self) -> Instant {
        self.due
    }

    /// The leave to announce, for another exchange with this tracker while it lasts.
    pub fn connection(&self) -> Option<CachedConnection> {
        self.connection
    }

    /// The transaction id of the datagram last sent.
    pub fn awaited_id(&self) -> u32 {
        if self.announcing {
            self.announce_id
        } else {
            self.connect_id
        }
    }

    /// Whether the tracker may have heard of the torrent in this exchange.
    pub fn has_announced(&self) -> bool {
        self.announced
    }

    fn connect(&self) -> Vec<u8> {
        [
            &PROTOCOL_ID.to_be_bytes()[..],
            &ACTION_CONNECT.to_be_bytes(),
            &self.connect_id.to_be_bytes(),
        ]
        .concat()
    }

    fn announce(&self, connection: CachedConnection) -> Vec<u8> {
        let request = &self.request;
        let (event, num_want) = match request.event {
            AnnounceEvent::Interval => (0_u32, request.num_want),
            AnnounceEvent::Completed => (1, request.num_want),
            AnnounceEvent::Started => (2, request.num_want),
            AnnounceEvent::Stopped => (3, 0),
        };
        // Signed on the wire; -1 would leave the number to the tracker.
        let num_want = i32::try_from(num_want).unwrap_or(i32::MAX);
        let mut datagram = [
            &connection.id.to_be_bytes()[..],
            &ACTION_ANNOUNCE.to_be_bytes(),
            &self.announce_id.to_be_bytes(),
            &request.info_hash.0,
            &request.client_id.0,
            &request.downloaded.to_be_bytes(),
            &request.left.to_be_bytes(),
            &request.uploaded.to_be_bytes(),
            &event.to_be_bytes(),
            &[0; 4], // our address: the one it sees
            &request.key.to_be_bytes(),
            &num_want.to_be_bytes(),
            &request.port.to_be_bytes(),
        ]
        .concat();
        for chunk in self.path.chunks(OPTION_LEN_MAX) {
            let len = u8::try_from(chunk.len()).expect("chunks of at most 255 bytes");
            datagram.extend([OPTION_URL_DATA, len]);
            datagram.extend(chunk);
        }
        datagram
    }

    /// `None` if the datagram is cut short before the peers.
    fn reply(&self, rest: &[u8]) -> Option<AnnounceReply> {
        let (secs, rest) = take(rest)?;
        let (leechers, rest) = take(rest)?;
        let (seeds, rest) = take(rest)?;
        let peers = match self.family {
            Family::V4 => usable(compact::<4>(rest)),
            Family::V6 => usable(compact::<16>(rest)),
        };
        Some(AnnounceReply {
            interval: interval(u64::from(secs)),
            interval_min: None,
            seeds: Some(seeds),
            leechers: Some(leechers),
            peers,
            warning: None,
        })
    }
}

/// Which exchange an answer belongs to; `None` if it is cut short.
fn transaction_id(datagram: &[u8]) -> Option<u32> {
    let (_action, rest) = take(datagram)?;
    take(rest).map(|(id, _)| id)
}

fn take(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, tail) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*head), tail))
}

#[cfg(test)]
mod tests;
