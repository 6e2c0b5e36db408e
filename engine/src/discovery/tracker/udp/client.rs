//! All announces over UDP under way: names to resolve, datagrams to send, answers to match.
//!
//! No socket and no clock: the session hands in what came and when, and carries out
//! [`UdpClient::poll_output`]. One exchange is the business of `UdpAnnounce`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use seedbank_ledger::Instant;

use crate::discovery::reach::Reach;
use crate::discovery::tracker::udp::{
    CachedConnection, Family, RETRIES_DEFAULT, Step, UdpAnnounce, UdpParameters, transaction_id,
};
use crate::discovery::tracker::url::UdpTarget;
use crate::discovery::tracker::{AnnounceError, AnnounceEvent, AnnounceReply, AnnounceRequest};
use crate::discovery::{DATAGRAM_LEN_MAX, ResolveError};
use crate::units::TorrentId;

/// Most announces, and most hosts being resolved; a further announce fails at once, and its torrent
/// asks again later.
pub const UDP_ANNOUNCES_MAX: usize = 1024;
/// Most trackers whose leave to announce is kept for the next announce.
pub const CONNECTIONS_MAX: usize = 256;

/// An announce: which torrent asks which tracker. There is one of each at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UdpQuestion {
    /// Torrent.
    pub torrent_id: TorrentId,
    /// URL, as its answer is to name it.
    pub tracker: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UdpOutput {
    /// Find the addresses of a host; answered by [`UdpClient::resolved`].
    Resolve {
        /// A name or a literal address.
        host: String,
        /// Port that the addresses are to have.
        port: u16,
    },
    /// Send a datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// An announce is over.
    Answered {
        /// Which.
        question: UdpQuestion,
        /// What the tracker said.
        result: Result<AnnounceReply, AnnounceError>,
    },
}

/// Announces to UDP trackers.
#[derive(Clone, Debug, Default)]
pub struct UdpClient {
    asked: BTreeMap<UdpQuestion, UdpAsking>,
    /// Hosts whose addresses are being looked for, also on behalf of announces since given up.
    resolving: BTreeSet<(String, u16)>,
    connections: BTreeMap<SocketAddr, CachedConnection>,
    outputs: VecDeque<UdpOutput>,
    /// The earliest time at which an exchange has something to say.
    wake_at: Option<Instant>,
}

/// An announce under way.
#[derive(Clone, Debug)]
struct UdpAsking {
    event: AnnounceEvent,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The tracker's address is not known yet.
    Resolving {
        target: UdpTarget,
        request: AnnounceRequest,
        reach: Reach,
        transaction_ids: [u32; 2],
    },
    /// The tracker is being asked.
    Talking {
        to: SocketAddr,
        exchange: UdpAnnounce,
        /// Of the peers that it names.
        reach: Reach,
    },
}

impl UdpClient {
    /// Begins an announce under two numbers that nobody else can guess: whoever can may answer in
    /// the tracker's place. An earlier one of this torrent to this tracker is over without an
    /// answer: repeated behind the new one, it would undo what that says.
    pub fn ask(
        &mut self,
        question: UdpQuestion,
        target: UdpTarget,
        request: AnnounceRequest,
        reach: Reach,
        transaction_ids: [u32; 2],
    ) {
        let event = request.event;
        let before = self.asked.remove(&question);
        self.update_wake();
        if event == AnnounceEvent::Stopped && before.is_some_and(|asked| asked.is_unheard()) {
            // The tracker does not know that we came.
            return;
        }
        let len = self.asked.len().max(self.resolving.len());
        if len >= UDP_ANNOUNCES_MAX {
            let problem = "too many announces are under way".to_owned();
            let result = Err(AnnounceError::Unreachable(problem));
            let answered = UdpOutput::Answered { question, result };
            return self.outputs.push_back(answered);
        }
        let (host, port) = (target.host.clone(), target.port);
        if self.resolving.insert((host.clone(), port)) {
            self.outputs.push_back(UdpOutput::Resolve { host, port });
        }
        let stage = Stage::Resolving {
            target,
            request,
            reach,
            transaction_ids,
        };
        self.asked.insert(question, UdpAsking { event, stage });
    }

    /// A host's addresses are known, the best first, or there are none. Each announce goes to the
    /// first that its torrent may reach.
    pub fn resolved(
        &mut self,
        host: &str,
        port: u16,
        result: &Result<Vec<SocketAddr>, ResolveError>,
        now: Instant,
    ) {
        if !self.resolving.remove(&(host.to_owned(), port)) {
            return;
        }
        let waiting = self.asked.iter().filter_map(|(question, asked)| {
            let reach = asked.waits_for(host, port)?;
            Some((question.clone(), first_reached(result, reach)))
        });
        for (question, to) in waiting.collect::<Vec<_>>() {
            match to {
                Ok(to) => self.talk(question, to, now),
                Err(error) => self.answered(question, Err(error)),
            }
        }
        self.update_wake();
    }

    /// Takes a datagram. What nobody waits for from that address leaves no trace.
    pub fn handle(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        if datagram.len() > DATAGRAM_LEN_MAX {
            return;
        }
        let Some(id) = transaction_id(datagram) else {
            return;
        };
        let mut asked = self.asked.iter_mut();
        let found = asked.find_map(|(question, asked)| match &mut asked.stage {
            Stage::Talking { to, exchange, .. } if *to == from && exchange.awaited_id() == id => {
                Some((question.clone(), exchange))
            }
            Stage::Talking { .. } | Stage::Resolving { .. } => None,
        });
        let Some((question, exchange)) = found else {
            return;
        };
        let before = exchange.connection();
        let answer = exchange.handle(datagram, now);
        let connection = exchange.connection();
        if connection != before {
            self.keep(from, connection, now);
        }
        match answer {
            Some(result) => self.answered(question, result),
            None => self.step(question, now),
        }
        self.update_wake();
    }

    /// Sends again what is due, and gives up what is overdue.
    pub fn tick(&mut self, now: Instant) {
        if self.wake_at.is_none_or(|at| now < at) {
            return;
        }
        let due = self.asked.iter().filter(|(_, asked)| {
            let due = asked.next_timeout();
            due.is_some_and(|at| at <= now)
        });
        let due: Vec<UdpQuestion> = due.map(|(question, _)| question.clone()).collect();
        for question in due {
            self.step(question, now);
        }
        self.update_wake();
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<UdpOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::tick`]; `None` if nothing waits for time.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Whether no tracker has still to be told that we leave.
    pub fn is_finished(&self) -> bool {
        let mut asked = self.asked.values();
        asked.all(|asked| asked.event != AnnounceEvent::Stopped)
    }

    /// Stops the program if the state contradicts itself.
    pub fn check_invariants(&self) {
        assert!(
            self.asked.len() <= UDP_ANNOUNCES_MAX,
            "announces are bounded"
        );
        assert!(self.resolving.len() <= UDP_ANNOUNCES_MAX, "so are hosts");
        assert!(
            self.connections.len() <= CONNECTIONS_MAX,
            "connections are bounded"
        );
        assert_eq!(self.wake_at, self.earliest(), "the earliest time is known");
    }

    fn talk(&mut self, question: UdpQuestion, to: SocketAddr, now: Instant) {
        let connection = self.connections.get(&to).copied();
        let Some(asked) = self.asked.get_mut(&question) else {
            return;
        };
        let Stage::Resolving {
            target,
            request,
            reach,
            transaction_ids,
        } = &asked.stage
        else {
            return;
        };
        let exchange = UdpAnnounce::new(UdpParameters {
            request: *request,
            path: &target.path,
            family: match to {
                SocketAddr::V4(_) => Family::V4,
                SocketAddr::V6(_) => Family::V6,
            },
            transaction_ids: *transaction_ids,
            retries: RETRIES_DEFAULT,
            connection: connection.filter(|connection| connection.is_live(now)),
        });
        let reach = reach.behind(to);
        asked.stage = Stage::Talking {
            to,
            exchange,
            reach,
        };
        self.step(question, now);
    }

    /// Whatever an exchange has to say now.
    fn step(&mut self, question: UdpQuestion, now: Instant) {
        let stage = self.asked.get_mut(&question).map(|asked| &mut asked.stage);
        let Some(Stage::Talking { to, exchange, .. }) = stage else {
            return;
        };
        match exchange.poll(now) {
            Step::Send(bytes) => self.outputs.push_back(UdpOutput::Send { to: *to, bytes }),
            Step::Wait(_) => {}
            Step::Failed(error) => self.answered(question, Err(error)),
        }
    }

    fn answered(
        &mut self,
        question: UdpQuestion,
        mut result: Result<AnnounceReply, AnnounceError>,
    ) {
        let asked = self.asked.remove(&question);
        if let (Ok(reply), Some(Stage::Talking { reach, .. })) =
            (&mut result, asked.map(|asked| asked.stage))
        {
            reply.peers.retain(|peer| reach.peer(*peer).is_ok());
        }
        let answered = UdpOutput::Answered { question, result };
        self.outputs.push_back(answered);
    }

    /// Notes a tracker's leave to announce, or that it does not hold any more.
    fn keep(&mut self, tracker: SocketAddr, connection: Option<CachedConnection>, now: Instant) {
        self.connections.remove(&tracker);
        let Some(connection) = connection else { return };
        self.connections.retain(|_, other| other.is_live(now));
        if self.connections.len() < CONNECTIONS_MAX {
            self.connections.insert(tracker, connection);
        }
    }

    fn update_wake(&mut self) {
        self.wake_at = self.earliest();
    }

    fn earliest(&self) -> Option<Instant> {
        self.asked
            .values()
            .filter_map(UdpAsking::next_timeout)
            .min()
    }
}

impl UdpAsking {
    /// What it may reach there, if it waits for this host.
    fn waits_for(&self, host: &str, port: u16) -> Option<Reach> {
        match &self.stage {
            Stage::Resolving { target, reach, .. } => {
                (target.host == host && target.port == port).then_some(*reach)
            }
            Stage::Talking { .. } => None,
        }
    }

    /// Whether it is a torrent's first word to the tracker, and has not been said.
    fn is_unheard(&self) -> bool {
        let said = match &self.stage {
            Stage::Resolving { .. } => false,
            Stage::Talking { exchange, .. } => exchange.has_announced(),
        };
        self.event == AnnounceEvent::Started && !said
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Resolving { .. } => None,
            Stage::Talking { exchange, .. } => Some(exchange.next_timeout()),
        }
    }
}

/// The first of a host's addresses that may be asked.
fn first_reached(
    result: &Result<Vec<SocketAddr>, ResolveError>,
    reach: Reach,
) -> Result<SocketAddr, AnnounceError> {
    let addrs = result
        .as_ref()
        .map_err(|error| AnnounceError::Unreachable(error.to_string()))?;
    let mut refused = AnnounceError::Unreachable("host has no address".to_owned());
    for addr in addrs {
        match reach.tracker(*addr, None) {
            Ok(()) => return Ok(*addr),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests;
