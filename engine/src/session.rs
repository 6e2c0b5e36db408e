//! A node's whole BitTorrent and receipt state, driven by events: `handle(input, now)`, then
//! `poll_output()` until it is empty, then the next input; `next_timeout()` says when to come back.

pub mod addresses;
pub mod command;
pub mod config;
pub mod event;
pub mod input;
pub mod metadata;
pub mod output;
pub mod settlement;
pub mod view;

use std::collections::VecDeque;

use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Identity, Instant, NodeId, Rate};

use crate::session::command::{Command, CommandError, CommandReply};
use crate::session::config::{Config, Policy};
use crate::session::input::Input;
use crate::session::output::Output;
use crate::session::view::{BoostQuote, BoostView, PeerView, TorrentView, WalletView};
use crate::units::InfoHash;

/// Owns every torrent, peer, slot, rate budget and channel of a node.
///
/// The driver's contract: inputs come with a time that never goes back; after each, outputs are
/// drained until `poll_output` gives `None`, and carried out in order.
#[derive(Debug)]
pub struct Session {
    config: Config,
    identity: Identity,
    policy: Policy,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session with no torrents, whose pairs, locks and boosts are as `rows` say.
    pub fn new(config: Config, identity: Identity, rows: Vec<TallyRow>, now: Instant) -> Self {
        drop((rows, now));
        Self {
            config,
            identity,
            policy: Policy::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes one event.
    ///
    /// # Panics
    /// If `now` is earlier than before, or outputs of the event before have not been drained.
    pub fn handle(&mut self, input: Input, now: Instant) {
        drop((input, now));
    }

    /// Takes a wish of the owner and answers it; the same as `Input::Command` but for the answer.
    pub fn command(
        &mut self,
        command: Command,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        drop((command, now));
        Err(CommandError::ShuttingDown)
    }

    /// The next thing to do; `None` when this event's are done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send `Input::Tick`; `None` if nothing is waiting for time.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Whether a shutdown has done all it can.
    pub fn is_finished(&self) -> bool {
        true
    }

    /// This node's key.
    pub fn node_id(&self) -> NodeId {
        self.identity.id()
    }

    /// Settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The owner's policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Every torrent, by info hash.
    pub fn torrents(&self) -> Vec<TorrentView> {
        Vec::new()
    }

    /// One torrent.
    pub fn torrent(&self, info_hash: &InfoHash) -> Option<TorrentView> {
        self.torrents()
            .into_iter()
            .find(|torrent| torrent.info_hash == *info_hash)
    }

    /// Every connection, or those of one torrent, in the order in which we met.
    pub fn peers(&self, of: Option<InfoHash>) -> Vec<PeerView> {
        let _ = of;
        Vec::new()
    }

    /// Every boost, oldest first.
    pub fn boosts(&self) -> Vec<BoostView> {
        Vec::new()
    }

    /// What a boost of this torrent at this bid would meet; `None` if there is no such torrent.
    pub fn boost_quote(&self, info_hash: InfoHash, bid: Rate) -> Option<BoostQuote> {
        let _ = (info_hash, bid);
        None
    }

    /// Credit as the session knows it.
    pub fn wallet(&self) -> WalletView {
        WalletView::default()
    }
}
