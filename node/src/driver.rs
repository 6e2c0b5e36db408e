//! The session thread: takes one message after the other, and carries out what the session asks.
//!
//! Nothing here waits for a connection, a pool, a tracker or a settlement node. Only the tally is
//! written inline, because what comes after it depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use seedbank_engine::credit::wallet::WalletBook;
use seedbank_engine::discovery::host::Host;
use seedbank_engine::interface::config::SessionConfig;
use seedbank_engine::session::Session;

use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::interface::input::{Input, UplinkSample};
use seedbank_engine::interface::output::{MEASURE_EVERY, Output};
use seedbank_engine::units::{Block, PeerIndex, PieceIndex};
use seedbank_ledger::Instant;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::books::Books;
use crate::disk::plane::DataPlane;
use crate::events::{Events, is_strangers};
use crate::host::clock::{Clock, unix_now};
use crate::host::logs::budget::LogBudget;
use crate::inbox::ToSession;
use crate::link::PeerLink;
use crate::link::outbox::OutboxItem;
use crate::net::datagram::Datagrams;
use crate::net::dial::Dialler;
use crate::net::tracker::Announcer;
use crate::settlement::Settlement;
use crate::torrents::Torrents;

/// Messages taken from the queue before timers are looked at again.
const BATCH_MAX: usize = 64;
/// How often the session is told the wall clock; the contract asks for once a minute at least.
const CLOCK_EVERY: Duration = Duration::from_secs(30);

/// Sees every input and output of a session, in order: for replay, and for tests.
pub trait Observer: Send {
    /// The session begins with these settings and this book.
    fn begins(&mut self, config: &SessionConfig, book: &WalletBook, now: Instant);
    /// An input, before the session takes it. Wishes of the owner come as `Input::Command`.
    fn input(&mut self, input: &Input, now: Instant);
    /// An output, before it is carried out.
    fn output(&mut self, output: &Output, now: Instant);
}

/// How the session thread ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By request.
    Shutdown,
    /// By a failure of our own, for people.
    Failed(String),
}

/// What the session thread needs.
pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) inbox: mpsc::Receiver<ToSession>,
    pub(crate) plane: Arc<DataPlane>,
    pub(crate) clock: Clock,
    pub(crate) books: Arc<Books>,
    pub(crate) events: Events,
    pub(crate) dialler: Arc<Dialler>,
    pub(crate) datagrams: Arc<Datagrams>,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) torrents: Arc<Torrents>,
    pub(crate) settlement: Arc<dyn Settlement>,
    pub(crate) observer: Option<Box<dyn Observer>>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) peers: PeerLinks,
    pub(crate) log_budget: LogBudget,
}

/// The session's connections.
#[derive(Default)]
pub(crate) struct PeerLinks {
    links: BTreeMap<PeerIndex, Arc<PeerLink>>,
    addrs: BTreeMap<PeerIndex, SocketAddr>,
    /// Whether the session is told how they fare on their way out.
    measured: bool,
}

impl PeerLinks {
    /// Takes over a connection that came about as `first` says.
    fn insert(&mut self, link: Arc<PeerLink>, first: &Input) {
        if self.measured {
            link.set_measured(true);
        }
        if let Input::Accepted { peer, addr, .. } | Input::Dialled { peer, addr, .. } = first {
            self.addrs.insert(*peer, *addr);
        }
        self.links.insert(link.index(), link);
    }

    fn remove(&mut self, peer: PeerIndex) {
        self.links.remove(&peer);
        self.addrs.remove(&peer);
    }

    fn measure(&mut self, measured: bool) {
        self.measured = measured;
        let links = self.links.values();
        links.for_each(|link| link.set_measured(measured));
    }

    fn samples(&self) -> Vec<UplinkSample> {
        self.links
            .values()
            .filter_map(|link| link.sample())
            .collect()
    }
}

impl Driver {
    /// Starts the thread; `ended` says when and how it ends.
    pub(crate) fn start(
        mut self,
        ended: watch::Sender<Option<Ended>>,
    ) -> io::Result<JoinHandle<()>> {
        let timers = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        std::thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || {
                let tell = TellOnDrop(ended);
                let how = timers.block_on(self.run());
                self.tell_left_out(Instant::MAX);
                for link in self.peers.links.values() {
                    link.end("shutting down".to_owned());
                }
                self.events.end();
                tell.0.send_replace(Some(how));
            })
    }

    async fn run(&mut self) -> Ended {
        let mut clock = interval(CLOCK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut measurement = interval(Duration::from_nanos(MEASURE_EVERY.as_nanos()));
        measurement.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        // Before anything else: without it nothing can be dated.
        if let Err(how) = self.input(Input::Clock(unix_now())) {
            return how;
        }
        loop {
            let timeout = self.session.next_timeout();
            let timer = async {
                match timeout {
                    Some(at) => sleep_until(self.clock.at(at)).await,
                    None => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                count = self.inbox.recv_many(&mut batch, BATCH_MAX) => {
                    assert!(count > 0, "the plane holds a sender");
                    batch.drain(..).try_for_each(|message| self.take(message))
                }
                () = timer => self.input(Input::Tick),
                _ = clock.tick() => {
                    self.tell_left_out(self.clock.now());
                    self.input(Input::Clock(unix_now()))
                }
                _ = measurement.tick(), if self.peers.measured => self.measure(),
            };
            // Timers are not starved by a queue that is never empty.
            let overdue = || {
                self.session
                    .next_timeout()
                    .is_some_and(|at| at <= self.clock.now())
            };
            let outcome = match outcome {
                Ok(()) if overdue() => self.input(Input::Tick),
                other => other,
            };
            if let Err(how) = outcome {
                return how;
            }
            if self.session.is_finished() {
                return Ended::Shutdown;
            }
        }
    }

    fn take(&mut self, message: ToSession) -> Result<(), Ended> {
        match message {
            ToSession::Input(input) => {
                let closed = match &input {
                    Input::Closed { peer, reason, .. } => {
                        self.log_closed(*peer, reason);
                        Some(*peer)
                    }
                    _ => None,
                };
                self.input(input)?;
                if let Some(peer) = closed {
                    self.peers.remove(peer);
                }
                Ok(())
            }
            ToSession::Received(received) => self.input(received.into_input()),
            ToSession::Connected { link, input } => {
                self.peers.insert(link, &input);
                self.input(input)
            }
            ToSession::Command { command, reply } => {
                let now = self.clock.now();
                if let Some(observer) = &mut self.observer {
                    observer.input(&Input::Command(command.clone()), now);
                }
                let answer = self.session.command(command, now);
                let carried_out = self.carry_out(now);
                // Whoever asked may have gone.
                let _ = reply.send(answer);
                carried_out
            }
            ToSession::Query(query) => {
                query(&self.session);
                Ok(())
            }
            ToSession::Stop(None) => Err(Ended::Shutdown),
            ToSession::Stop(Some(why)) => Err(Ended::Failed(why)),
        }
    }

    fn input(&mut self, input: Input) -> Result<(), Ended> {
        let now = self.clock.now();
        if let Some(observer) = &mut self.observer {
            observer.input(&input, now);
        }
        self.session.handle(input, now);
        self.carry_out(now)
    }

    /// Tells the session how connections fare on their way out.
    fn measure(&mut self) -> Result<(), Ended> {
        let samples = self.peers.samples();
        self.input(Input::Measured(samples))
    }

    fn carry_out(&mut self, now: Instant) -> Result<(), Ended> {
        while let Some(output) = self.session.poll_output() {
            if let Some(observer) = &mut self.observer {
                observer.output(&output, now);
            }
            self.output(output)?;
        }
        Ok(())
    }

    fn output(&mut self, output: Output) -> Result<(), Ended> {
        match output {
            Output::Dial { torrent_id, addr } => {
                self.runtime
                    .spawn(Arc::clone(&self.dialler).dial(torrent_id, addr));
            }
            Output::Handshake {
                peer,
                torrent_id,
                handshake,
            } => self.to_peer(peer, |link| link.send_handshake(torrent_id, handshake)),
            Output::Send { peer, message } => {
                self.to_peer(peer, |link| link.send(OutboxItem::Message(message)));
            }
            Output::Request { peer, blocks } => self.request(peer, blocks),
            Output::Cancel { peer, block } => self.to_peer(peer, |link| link.send_cancel(block)),
            Output::Serve { peer, blocks } => {
                self.to_peer(peer, |link| link.send(OutboxItem::Serve(blocks)));
            }
            Output::Close { peer, reason } => self.to_peer(peer, |link| link.close(reason)),
            Output::Release { torrent_id, piece } => self.plane.leases.release(torrent_id, piece),
            Output::Check(order) => self.torrents.check(order),
            Output::Remember(record) => self.torrents.remember(*record),
            Output::RememberTotals { torrent_id, totals } => {
                self.torrents.remember_totals(torrent_id, totals);
            }
            Output::RememberPieces(torrent_id) => self.torrents.remember_pieces(torrent_id),
            Output::Forget {
                torrent_id,
                delete_data,
            } => self.torrents.forget(torrent_id, delete_data),
            Output::Datagram { to, bytes } => self.datagrams.send(to, &bytes),
            Output::Resolve { host, port } => {
                let datagrams = Arc::clone(&self.datagrams);
                self.runtime.spawn(datagrams.resolve(host, port));
            }
            Output::Announce {
                torrent_id,
                tracker,
                request,
                reach,
            } => {
                let announcer = Arc::clone(&self.announcer);
                self.runtime
                    .spawn(announcer.announce((torrent_id, tracker), request, reach));
            }
            Output::Tally(rows) => {
                let written = self.books.write(&rows);
                written.map_err(|error| Ended::Failed(format!("the ledger failed: {error}")))?;
            }
            Output::Append(command) => self.books.append(command),
            Output::Settle { request, what } => {
                let settlement = Arc::clone(&self.settlement);
                let inbox = self.plane.inbox.clone();
                self.runtime.spawn(async move {
                    let answer = settlement.ask(what).await;
                    inbox.input(Input::Settled { request, answer }).await;
                });
            }
            Output::Measure(measured) => self.peers.measure(measured),
            Output::Event(event) => {
                self.log(&event);
                self.events.push(event, unix_now());
            }
        }
        Ok(())
    }

    /// Leases the pieces of these blocks before anything asks for them.
    fn request(&self, peer: PeerIndex, blocks: Vec<Block>) {
        let Some(link) = self.peers.links.get(&peer) else {
            return;
        };
        let torrent_id = link.torrent().expect("requests come behind our handshake");
        // Closed storage: the torrent was removed, and this connection is about to be closed.
        let Some(data) = self.plane.torrent(&torrent_id) else {
            return;
        };
        let geometry = data.storage.metainfo().geometry;
        let pieces: BTreeSet<PieceIndex> = blocks.iter().map(|block| block.piece).collect();
        for piece in pieces {
            let len = usize::try_from(geometry.len_of(piece)).expect("a piece fits memory");
            let count = usize::try_from(geometry.block_count(piece)).expect("as do its blocks");
            self.plane.leases.open(torrent_id, piece, len, count);
        }
        link.send_requests(blocks);
    }

    /// Writes a line about an event, unless strangers cause too many of them.
    fn log(&mut self, event: &SessionEvent) {
        if let SessionEvent::Choke(decision) = event {
            return tracing::debug!(?decision, "choke decision");
        }
        let addr = match event {
            SessionEvent::PeerMisbehaved { peer, .. } => self.peers.addrs.get(peer).copied(),
            SessionEvent::PeerUnreached { addr, .. } => Some(*addr),
            _ => None,
        };
        if matches!(event, SessionEvent::PeerUnreached { .. }) && !is_debugging() {
            return;
        }
        if is_strangers(event) {
            let group = addr.map(|addr| Host::of(addr.ip()));
            self.tell_left_out(self.clock.now());
            if !self.log_budget.admits(cause_of(event), group) {
                return;
            }
        }
        write_line(event, addr);
    }

    /// Writes a line about the end of a connection, for who looks for the reason.
    fn log_closed(&mut self, peer: PeerIndex, reason: &str) {
        let Some(addr) = self
            .peers
            .addrs
            .get(&peer)
            .filter(|_| is_debugging())
            .copied()
        else {
            return;
        };
        self.tell_left_out(self.clock.now());
        let group = Some(Host::of(addr.ip()));
        if self.log_budget.admits("connection closed", group) {
            tracing::debug!(peer = peer.0, %addr, reason, "connection closed");
        }
    }

    /// Says how many lines were left out, if a minute is over.
    fn tell_left_out(&mut self, now: Instant) {
        for left_out in self.log_budget.left_out(now) {
            let (cause, lines) = (left_out.cause, left_out.lines);
            tracing::info!(cause, lines, "and so many more in the last minute");
        }
    }

    /// A peer may be gone already; what is meant for it goes with it.
    fn to_peer(&self, peer: PeerIndex, what: impl FnOnce(&PeerLink)) {
        if let Some(link) = self.peers.links.get(&peer) {
            what(link);
        }
    }
}

/// Says that the session thread ended, even if it panicked.
struct TellOnDrop(watch::Sender<Option<Ended>>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        self.0.send_if_modified(|ended| {
            let silent = ended.is_none();
            if silent {
                let why = "the session thread panicked".to_owned();
                *ended = Some(Ended::Failed(why));
            }
            silent
        });
    }
}

/// Whether lines for debugging are written: those that are not cost no other its place.
fn is_debugging() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// What lines about an event that strangers cause are counted under.
fn cause_of(event: &SessionEvent) -> &'static str {
    match event {
        SessionEvent::PeerMisbehaved { .. } => "peer misbehaved",
        SessionEvent::PieceFailed { .. } => "piece failed its hash",
        SessionEvent::PeerUnreached { .. } => "peer not reached",
        SessionEvent::TrackerFailed { .. } => "announce failed",
        _ => "session",
    }
}

fn write_line(event: &SessionEvent, addr: Option<SocketAddr>) {
    match event {
        SessionEvent::TorrentCompleted(torrent_id) => {
            tracing::info!(%torrent_id, "torrent completed");
        }
        SessionEvent::TorrentFailed { torrent_id, reason } => {
            tracing::error!(%torrent_id, reason, "torrent stopped");
        }
        SessionEvent::PeerMisbehaved { peer, what } => {
            let addr = addr.map(tracing::field::display);
            tracing::info!(peer = peer.0, addr, what, "peer misbehaved");
        }
        SessionEvent::PeerUnreached {
            torrent_id,
            addr,
            reason,
        } => tracing::debug!(%torrent_id, %addr, %reason, "peer not reached"),
        SessionEvent::PieceFailed { torrent_id, piece } => {
            tracing::warn!(%torrent_id, piece = piece.get(), "piece failed its hash");
        }
        SessionEvent::TrackerFailed {
            torrent_id, reason, ..
        } => {
            tracing::info!(%torrent_id, reason, "announce failed");
        }
        // Rare, and complete as they are.
        event => tracing::info!(?event, "session"),
    }
}
