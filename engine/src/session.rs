//! A node's whole BitTorrent and receipt state, driven by events: `handle(input, now)`, then
//! `poll_output()` until it is empty, then the next input; `next_timeout()` says when to come back.
//!
//! Each file below holds one concept and the part of the session's behaviour that belongs to it.

mod announce;
mod choking;
mod commands;
mod connect;
mod credit;
mod datagrams;
mod download;
mod entrance;
mod extensions;
mod identity;
mod life;
mod messages;
mod metadata;
mod names;
mod peer;
mod rest;
mod show;
mod suggest;
#[cfg(test)]
mod tests;
mod torrent;
mod unreached;
mod uplink;
mod upload;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use seedbank_ledger::{Duration, Identity, Instant, NodeId, Rate};

use crate::content::files::Places;
use crate::credit::market::{Market, MarketSetup};
use crate::credit::output::Notice;
use crate::credit::wallet::WalletBook;
use crate::discovery::bans::Bans;
use crate::discovery::tracker::udp::client::UdpClient;
use crate::discovery::tracker::udp::transaction::TransactionIds;
use crate::interface::command::{Command, CommandError, CommandReply};
use crate::interface::config::{Policy, SessionConfig};
use crate::interface::input::Input;
use crate::interface::output::Output;
use crate::interface::view::{BoostQuote, BoostView, FilesView, PeerView, TorrentView, WalletView};
use crate::rate::RatePeak;
use crate::rng::Rng;
use crate::session::entrance::Entrance;
use crate::session::names::OwnNames;
use crate::session::peer::Peer;
use crate::session::rest::Rest;
use crate::session::torrent::Torrent;
use crate::transfer::choker::{Choker, Ranker, SlotPolicy};
use crate::transfer::limiter::{Limiter, UploadQueue};
use crate::transfer::uplink::Uplink;
use crate::units::{Block, InfoHash, PeerIndex, PieceIndex, TorrentId};
use crate::wire::message::Message;

/// Time between two rounds of dials, keep-alives, time-outs and plans.
const HOUSEKEEPING: Duration = Duration::from_millis(500);
/// Longest time a shutdown waits for peers and trackers.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Owns every torrent, peer, slot, rate budget and channel of a node.
///
/// The driver's contract: inputs come with a time that never goes back; after each, outputs are
/// drained until `poll_output` gives `None`, and carried out in order.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    policy: Policy,
    rng: Rng,
    names: OwnNames,
    torrents: BTreeMap<TorrentId, Torrent>,
    /// What each torrent is called on the wire.
    by_info_hash: BTreeMap<InfoHash, TorrentId>,
    /// Where those with metainfo lie.
    places: Places,
    /// Number of the newest check.
    last_check: u64,
    peers: BTreeMap<PeerIndex, Peer>,
    entrance: Entrance,
    bans: Bans,
    /// Where those were who shared a piece that failed: whoever comes from there is on parole, or a
    /// liar that leaves and comes back would be new each time.
    suspects: Bans,
    /// Where those were who sent payload and left, the last first: they may turn out liars yet.
    departed: VecDeque<(PeerIndex, SocketAddr)>,
    /// When somebody idle may go next so that an address can be tried.
    turnover_at: Instant,
    choker: Choker,
    uploads: UploadQueue,
    /// The way out, while somebody is served as paid.
    uplink: Option<Uplink>,
    /// The most that left in a while, for want of a limit.
    upload_peak: RatePeak,
    /// When the upload queue can grant again.
    upload_refill: Option<Instant>,
    /// Granted in this event and not handed to the driver yet.
    serving: BTreeMap<PeerIndex, Vec<Block>>,
    /// Given up since the driver was last told to: what this event says of their buffers is void.
    given_up: BTreeSet<(TorrentId, PieceIndex)>,
    downloads: Limiter,
    /// Torrents that hold leased buffers, and maybe some that no longer do.
    leasing: BTreeSet<TorrentId>,
    /// When a download that a limit held back may go on.
    download_refill: Option<Instant>,
    market: Market,
    udp_trackers: UdpClient,
    transaction_ids: TransactionIds,
    /// Somebody may be let in before the next round.
    choke_due: Option<Instant>,
    outputs: VecDeque<Output>,
    /// What the market noticed in this event and nobody has acted on.
    notices: VecDeque<Notice>,
    now: Instant,
    housekeeping_at: Instant,
    rest: Rest,
    /// When payload counted since it was last put on record is put there.
    totals_at: Option<Instant>,
    /// Shutting down, at the latest until then.
    finishing: Option<Instant>,
}

impl Session {
    /// A session with no torrents, whose pairs, locks, orders and boosts are as `book` says.
    ///
    /// # Panics
    /// If a row does not read back; [`WalletBook::check`] says so first.
    pub fn new(config: SessionConfig, identity: Identity, book: &WalletBook, now: Instant) -> Self {
        let policy = Policy::default();
        let mut rng = Rng::new(config.rng_seed);
        let names = OwnNames::new(&identity, rng.next_u64());
        let transaction_ids = TransactionIds::new(&identity, config.rng_seed);
        let setup = MarketSetup {
            identity,
            network: config.network,
            receipts: config.receipts,
            nonce_salt: rng.next_u64(),
        };
        let market = Market::new(setup, book, now);
        let mut session = Self {
            choker: Choker::new(slot_policy(&policy, market.ask()), now),
            uploads: UploadQueue::new(policy.open_share_percent),
            uplink: None,
            upload_peak: RatePeak::new(),
            downloads: Limiter::new(),
            leasing: BTreeSet::new(),
            upload_refill: None,
            download_refill: None,
            serving: BTreeMap::new(),
            given_up: BTreeSet::new(),
            torrents: BTreeMap::new(),
            by_info_hash: BTreeMap::new(),
            places: Places::default(),
            last_check: 0,
            peers: BTreeMap::new(),
            entrance: Entrance::new(config.connections_max),
            bans: Bans::default(),
            suspects: Bans::default(),
            departed: VecDeque::new(),
            turnover_at: now,
            choke_due: None,
            outputs: VecDeque::new(),
            notices: VecDeque::new(),
            housekeeping_at: now,
            rest: Rest::new(now),
            totals_at: None,
            finishing: None,
            config,
            policy,
            rng,
            names,
            market,
            udp_trackers: UdpClient::default(),
            transaction_ids,
            now,
        };
        session.apply_policy(now);
        session
    }

    /// Takes one event.
    ///
    /// # Panics
    /// If `now` is earlier than before, or outputs of the event before have not been drained.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.advance(now);
        if rest::stirs(&input) {
            self.stir(now);
        }
        match input {
            Input::Tick => {}
            Input::Clock(unix) => self.market.set_clock(unix, now),
            Input::Command(command) => {
                // The answer is for callers of `command`; a replayed log has none.
                let _ = self.carry_out(command, now);
            }
            Input::Accepted {
                peer,
                addr,
                transport,
            } => self.accepted(peer, (addr, transport), now),
            Input::Dialled {
                peer,
                torrent_id,
                addr,
                transport,
            } => self.dialled(peer, torrent_id, (addr, transport)),
            Input::DialFailed {
                torrent_id,
                addr,
                reason,
            } => self.dial_failed(torrent_id, addr, reason, now),
            Input::Handshake { peer, handshake } => self.handshaken(peer, handshake, now),
            Input::Received { peer, events } => self.received(peer, events, now),
            Input::Sent {
                peer,
                bytes,
                blocks,
            } => self.sent(peer, bytes, blocks, now),
            Input::Closed { peer, failure, .. } => self.closed(peer, failure, now),
            Input::PieceVerified { torrent_id, piece } => self.verified(torrent_id, piece, now),
            Input::PieceFailed { torrent_id, piece } => self.failed(torrent_id, piece, now),
            Input::Checked {
                torrent_id,
                check,
                have,
            } => self.checked(torrent_id, check, &have, now),
            Input::CheckFailed {
                torrent_id,
                check,
                reason,
            } => self.check_failed(torrent_id, check, reason, now),
            Input::StorageFailed { torrent_id, reason } => {
                self.storage_failed(torrent_id, reason, now);
            }
            Input::Announced {
                torrent_id,
                tracker,
                result,
            } => {
                self.announced(torrent_id, &tracker, result, now);
            }
            Input::Datagram { from, bytes } => self.datagram(from, &bytes, now),
            Input::Resolved { host, port, result } => self.resolved(&host, port, &result, now),
            Input::Settled { request, answer } => self.market.settled(request, answer, now),
            Input::LineEntered(line) => self.market.line_entered(line, now),
            Input::LineRefused {
                line,
                refusal,
                newest,
            } => self.market.line_refused(line, refusal, newest, now),
            Input::Measured(samples) => self.measured(&samples, now),
        }
        self.timers(now);
    }

    /// Takes a wish of the owner and answers it; the same as `Input::Command` but for the answer.
    pub fn command(
        &mut self,
        command: Command,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        self.advance(now);
        self.stir(now);
        let reply = self.carry_out(command, now);
        self.timers(now);
        reply
    }

    fn advance(&mut self, now: Instant) {
        assert!(
            now >= self.now,
            "time never goes back: {} after {}",
            now,
            self.now
        );
        assert!(
            self.outputs.is_empty(),
            "outputs are drained before the next input: {:?}",
            self.outputs
        );
        self.now = now;
    }

    /// Whatever time has made due.
    fn timers(&mut self, now: Instant) {
        if self.rest.until().is_some_and(|until| until <= now) {
            self.end_rest(now);
        }
        if self.rest.until().is_none() && now >= self.housekeeping_at {
            self.housekeeping_at = now.after(HOUSEKEEPING);
            self.housekeep(now);
        }
        self.datagrams_due(now);
        self.choke_round(now);
        self.choke_now(now);
        if self.upload_refill.is_some_and(|at| at <= now) {
            self.pump_uploads(now);
        }
        if self.download_refill.is_some_and(|at| at <= now) {
            self.download_refilled(now);
        }
        self.market.tick(now);
        self.heed_notices(now);
        self.choke_now(now);
        self.heed_notices(now);
    }

    fn housekeep(&mut self, now: Instant) {
        self.end_claims(now);
        self.dial_due(now);
        self.hurry_trackers(now);
        self.download_timeouts(now);
        self.end_drains(now);
        self.choke_soon(now);
        self.keep_alive(now);
        self.plan_boosts(now);
        self.totals_due(now);
        self.rest(now);
    }

    fn keep_alive(&mut self, now: Instant) {
        let silent = self.peers.values().filter(|peer| {
            let link = peer.live();
            link.is_some_and(|link| link.is_silent(now))
        });
        let silent = silent.map(|peer| peer.index);
        for peer in silent.collect::<Vec<_>>() {
            self.send(peer, Message::KeepAlive, now);
        }
    }

    /// Takes the policy into the parts that follow it.
    fn apply_policy(&mut self, now: Instant) {
        self.market.set_policy(self.policy.credit.clone(), now);
        self.choker
            .set_policy(slot_policy(&self.policy, self.market.ask()));
        self.uploads.set_open_share(self.policy.open_share_percent);
        if let Some(uplink) = &mut self.uplink {
            uplink.set_open_share(self.policy.open_share_percent);
        }
        self.uploads
            .limiter_mut()
            .set_node_rate(self.policy.upload_limit, now);
        self.downloads
            .set_node_rate(self.policy.download_limit, now);
        self.pump_uploads(now);
    }

    /// Has the open classes of the choker ranked by somebody else: for a simulator's strategic
    /// peers. No node calls it.
    pub fn set_ranker(&mut self, ranker: Option<Box<dyn Ranker>>) {
        self.choker.set_ranker(ranker);
    }

    /// Whether anybody holds a paid seat: then upload may wait for a window or a lock.
    pub fn has_paid_seats(&self) -> bool {
        self.choker.has_seated()
    }

    /// The next thing to do; `None` when this event's are done.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.given_up.clear();
        }
        output
    }

    /// When to send `Input::Tick`; `None` if nothing is waiting for time.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.is_finished() {
            return None;
        }
        let rest = self.rest.until();
        let has_rounds = !self.peers.is_empty() && rest.is_none();
        let choke = has_rounds.then(|| self.choker.next_round());
        [
            rest.or(Some(self.housekeeping_at)),
            self.upload_refill,
            self.download_refill,
            self.choke_due,
            choke,
            self.market.next_timeout(),
            self.udp_trackers.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a shutdown has done all it can: every connection is closed and every last word said,
    /// or its time is up.
    pub fn is_finished(&self) -> bool {
        self.finishing.is_some_and(|deadline| {
            let all_gone = self.peers.is_empty() && self.udp_trackers.is_finished();
            self.now >= deadline || (all_gone && self.market.is_finished())
        })
    }

    /// Stops the program if the state contradicts itself.
    pub fn check_invariants(&self) {
        self.choker.check_invariants();
        self.entrance.check_invariants();
        self.entrance.check_bounds();
        assert_eq!(
            self.by_info_hash.len(),
            self.torrents.len(),
            "every torrent has its name on the wire"
        );
        for torrent in self.torrents.values() {
            torrent.check_invariants();
            if let Some(open) = torrent.open() {
                let leases = open.picker.lease_len() > 0;
                assert!(
                    !leases || self.leasing.contains(&torrent.torrent_id),
                    "whoever leases is counted"
                );
            }
            for peer in &torrent.peers {
                let entry = self
                    .peers
                    .get(peer)
                    .expect("a torrent's peers are connected");
                assert_eq!(
                    entry.torrent_id,
                    Some(torrent.torrent_id),
                    "and they are its own"
                );
                assert!(
                    torrent.is_running() || entry.closing,
                    "a torrent that does not run keeps no connection"
                );
            }
        }
        for peer in self.peers.values() {
            let Some(link) = &peer.link else { continue };
            let granted: u64 = link
                .upload
                .granted
                .iter()
                .map(|block| u64::from(block.len))
                .sum();
            assert_eq!(
                granted, link.upload.granted_bytes,
                "granted bytes are counted"
            );
        }
        self.uploads.check_invariants();
        if let Some(uplink) = &self.uplink {
            uplink.check_invariants();
        }
        self.market.check_invariants();
        self.udp_trackers.check_invariants();
    }

    /// This node's key.
    pub fn node_id(&self) -> NodeId {
        self.market.node_id()
    }

    /// Settings.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// The owner's policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Every torrent, by info hash.
    pub fn torrents(&self) -> Vec<TorrentView> {
        self.torrents
            .values()
            .map(|torrent| self.torrent_view(torrent, self.now))
            .collect()
    }

    /// One torrent.
    pub fn torrent(&self, torrent_id: &TorrentId) -> Option<TorrentView> {
        self.torrents
            .get(torrent_id)
            .map(|torrent| self.torrent_view(torrent, self.now))
    }

    /// At most `limit` files of a torrent, pad files apart, from the `from`-th on, from 0.
    ///
    /// Walks over the pieces of those files and once over the list of all.
    pub fn torrent_files(
        &self,
        torrent_id: &TorrentId,
        from: usize,
        limit: usize,
    ) -> Option<FilesView> {
        let torrent = self.torrents.get(torrent_id)?;
        Some(show::files_view(torrent, from, limit))
    }

    /// Every connection, or those of one torrent, in the order in which we met.
    pub fn peers(&self, of: Option<TorrentId>) -> Vec<PeerView> {
        let wanted = |peer: &&Peer| of.is_none() || peer.torrent_id == of;
        let peers = self.peers.values().filter(wanted);
        peers
            .filter_map(|peer| self.peer_view(peer, self.now))
            .collect()
    }

    /// Those whom we let request.
    pub fn unchoked(&self) -> impl Iterator<Item = PeerIndex> {
        self.peers
            .keys()
            .copied()
            .filter(|peer| self.is_unchoked(*peer))
    }

    /// Every boost, oldest first.
    pub fn boosts(&self) -> Vec<BoostView> {
        self.market.boosts()
    }

    /// What a boost of this torrent at this bid would meet; `None` if there is no such torrent.
    pub fn boost_quote(&self, torrent_id: TorrentId, bid: Rate) -> Option<BoostQuote> {
        self.quote(torrent_id, bid)
    }

    /// Credit as the session knows it.
    pub fn wallet(&self) -> WalletView {
        self.market.wallet()
    }
}

fn slot_policy(policy: &Policy, ask: Rate) -> SlotPolicy {
    SlotPolicy {
        slots: policy.slots,
        open_share_percent: policy.open_share_percent,
        rule: policy.paid_rule,
        rate_min: ask,
    }
}
