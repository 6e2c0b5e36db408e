//! Those who upload nothing, and the client that knows nothing of credit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use seedbank_engine::interface::config::{Policy, SessionConfig};
use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::units::{PeerIndex, TorrentId};
use seedbank_engine::wire::message::Message;
use seedbank_engine::wire::receipt::{QuoteState, ReceiptMessage};
use seedbank_ledger::{Duration, Instant};

use super::messages::{gives, payload_from, pays, receipts_heard};
use super::{Agent, Scene};

/// Connections of who wants to know everybody.
const LARGE_VIEW: usize = 2_000;
/// Until an address is dialled again.
const DIAL_AGAIN: Duration = Duration::from_secs(60);
/// How often a whitewasher looks at how it fares.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes, and gives nothing: it unchokes nobody.
#[derive(Clone, Copy, Debug)]
pub struct FreeRider;

impl Agent for FreeRider {
    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        (!gives(&output)).then_some(output)
    }
}

/// A free rider that connects to everybody it can hear of (Sirivianos et al., "Free-riding in
/// BitTorrent networks with the large view exploit", IPTPS 2007).
#[derive(Debug)]
pub struct LargeView {
    every: Duration,
    /// What its session last asked a tracker: it asks again and again.
    asked: Option<Output>,
    known: BTreeSet<(TorrentId, SocketAddr)>,
    dialled: BTreeMap<SocketAddr, Instant>,
}

impl LargeView {
    /// Asks the tracker for more peers so often.
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            asked: None,
            known: BTreeSet::new(),
            dialled: BTreeMap::new(),
        }
    }
}

impl Agent for LargeView {
    fn prepare(&self, config: &mut SessionConfig, _: &mut Policy) {
        config.connections_max = LARGE_VIEW;
    }

    fn input(&mut self, input: Input, _: &mut Scene<'_>) -> Option<Input> {
        if let Input::Announced {
            torrent_id, result, ..
        } = &input
        {
            let named = result.iter().flat_map(|reply| &reply.peers);
            self.known.extend(named.map(|addr| (*torrent_id, *addr)));
        }
        Some(input)
    }

    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        if matches!(output, Output::Announce { .. }) {
            self.asked = Some(output.clone());
        }
        (!gives(&output)).then_some(output)
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(self.every)
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        if scene.is_done() {
            return;
        }
        if let Some(ask) = &self.asked {
            scene.say(ask.clone());
        }
        let peers = scene.session.peers(None);
        let here: BTreeSet<SocketAddr> = peers.iter().map(|peer| peer.addr).collect();
        for (torrent_id, addr) in &self.known {
            let last = self.dialled.get(addr);
            let is_due = last.is_none_or(|at| scene.now.since(*at) >= DIAL_AGAIN);
            if is_due && !here.contains(addr) {
                self.dialled.insert(*addr, scene.now);
                let (torrent_id, addr) = (*torrent_id, *addr);
                scene.say(Output::Dial { torrent_id, addr });
            }
        }
    }
}

/// One of several identities on one line. Each fetches its part of the file, says that it has
/// nothing, and gives nothing; who they belong to has all of it when each has its setup.
#[derive(Clone, Copy, Debug)]
pub struct SybilIdentity;

impl Agent for SybilIdentity {
    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        match output {
            Output::Send {
                peer,
                message: Message::Bitfield(_) | Message::HaveAll,
            } => Some(Output::Send {
                peer,
                message: Message::HaveNone,
            }),
            Output::Send {
                message: Message::Have(_),
                ..
            } => None,
            output => (!gives(&output)).then_some(output),
        }
    }
}

/// Gives nothing, pays nothing, and comes back as somebody else when it is served no longer.
#[derive(Debug)]
pub struct Whitewasher {
    patience: Duration,
    served_at: Option<Instant>,
    seated: BTreeSet<PeerIndex>,
    is_demoted: bool,
    is_leaving: bool,
}

impl Whitewasher {
    /// Starts anew after so long without payload, or once a paid seat is lost.
    pub const fn new(patience: Duration) -> Self {
        Self {
            patience,
            served_at: None,
            seated: BTreeSet::new(),
            is_demoted: false,
            is_leaving: false,
        }
    }
}

impl Agent for Whitewasher {
    fn input(&mut self, input: Input, scene: &mut Scene<'_>) -> Option<Input> {
        if payload_from(&input).is_some() {
            self.served_at = Some(scene.now);
        }
        for (peer, message) in receipts_heard(&input) {
            if let ReceiptMessage::Quote(quote) = message {
                match quote.state {
                    QuoteState::Paid => {
                        self.seated.insert(peer);
                    }
                    QuoteState::Open | QuoteState::Queued => {
                        self.is_demoted |= self.seated.remove(&peer);
                    }
                }
            }
        }
        Some(input)
    }

    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        (!gives(&output) && !pays(&output)).then_some(output)
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(LOOK_EVERY)
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        let served_at = *self.served_at.get_or_insert(scene.now);
        let is_bad = self.is_demoted || scene.now.since(served_at) >= self.patience;
        if is_bad && !self.is_leaving && !scene.is_done() {
            self.is_leaving = true;
            scene.start_anew();
        }
    }
}

/// A client of today: it belongs to no network and speaks no receipts.
#[derive(Clone, Copy, Debug)]
pub struct PlainClient;

impl Agent for PlainClient {
    fn prepare(&self, config: &mut SessionConfig, _: &mut Policy) {
        config.network = None;
        config.receipts = false;
    }
}
