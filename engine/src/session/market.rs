//! Receipts, locks and boosts, as they touch connections.
//!
//! The exchange knows pairs of keys, the wallet the settlement node; this file tells them what
//! happened to connections and carries out what they ask, before the session says anything else.

use std::sync::Arc;

use seedbank_ledger::settlement::SettlementAnswer;
use seedbank_ledger::{Bytes, Identity, Instant, MicroCredits, NetworkId, NodeId, Rate, UnixTime};

use crate::credit::boost::Boosts;
use crate::credit::receipts::class::Class as Quoted;
use crate::credit::receipts::exchange::{Exchange, Granted, Opened, Setup, Terms};
use crate::credit::receipts::limits::Window;
use crate::credit::receipts::output::{ExchangeEvent, ExchangeOutput};
use crate::credit::settlement::Unreachable;
use crate::credit::wallet::{Wallet, WalletBook, WalletOutput};
use crate::interface::command::{CommandError, CommandReply};
use crate::interface::config::{Config, Network, Policy};
use crate::interface::event::SessionEvent;
use crate::interface::input::BlockFate;
use crate::interface::output::Output;
use crate::interface::view::{BoostView, WalletView};
use crate::rng::Rng;
use crate::session::Session;
use crate::session::peer::Peer;
use crate::transfer::choker::Class;
use crate::units::{Block, InfoHash, PeerIndex, PieceIndex};
use crate::wire::extended::{RECEIPT, RECEIPT_VERSION, ReceiptOffer};
use crate::wire::message::Message;
use crate::wire::receipt::ReceiptMessage;

/// The part of a session that deals in credit.
#[derive(Debug)]
pub(crate) struct Market {
    identity: Arc<Identity>,
    network: Option<Network>,
    /// Speak the receipt protocol at all.
    receipts: bool,
    pub(super) exchange: Exchange,
    pub(super) wallet: Option<Wallet>,
    pub(super) boosts: Boosts,
    /// The wall clock at an instant, as the driver told it last.
    clock: (Instant, UnixTime),
}

/// At what a block is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Price {
    /// In the paid class, at this rate.
    Paid(Rate),
    /// For nothing.
    Open,
}

/// A peer as the market sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) node_id: Option<NodeId>,
    pub(crate) standing: i64,
    pub(crate) friend: bool,
    pub(crate) bid: Rate,
    pub(crate) own_bid: Rate,
    pub(crate) exposure: Bytes,
    pub(crate) window: Bytes,
    pub(crate) backing_off: bool,
}

impl Market {
    pub(crate) fn new(
        config: &Config,
        identity: Identity,
        book: &WalletBook,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        let identity = Arc::new(identity);
        let setup = Setup {
            identity: Arc::clone(&identity),
            network: config.network,
            terms: terms(&Policy::default(), config.receipts),
            window: Window::V1,
            nonce_salt: rng.next_u64(),
        };
        let wallet = |network| Wallet::new(network, Arc::clone(&identity), book, now);
        Self {
            exchange: Exchange::new(setup, &book.rows, now, UnixTime::ZERO),
            wallet: config.network.map(wallet),
            boosts: Boosts::restore(&book.rows).expect("the driver has checked the rows"),
            network: config.network,
            receipts: config.receipts,
            clock: (now, UnixTime::ZERO),
            identity,
        }
    }

    pub(crate) fn node_id(&self) -> NodeId {
        self.identity.id()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if !self.is_dated() {
            return None;
        }
        [
            self.exchange.next_timeout(),
            self.wallet.as_ref().map(Wallet::next_timeout),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the wall clock was told. Before, nothing can be dated, so nothing falls due: neither
    /// a claim nor the close of a lock of the run before.
    fn is_dated(&self) -> bool {
        self.clock.1 != UnixTime::ZERO
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.wallet.as_ref().is_none_or(Wallet::is_quiet)
    }

    pub(crate) fn check_invariants(&self) {
        self.exchange.check_invariants();
        self.boosts.check_invariants();
        if let Some(wallet) = &self.wallet {
            wallet.check_invariants();
        }
    }

    pub(crate) fn boosts(&self) -> Vec<BoostView> {
        self.boosts.views()
    }

    pub(crate) fn wallet(&self) -> WalletView {
        let claimable = self
            .exchange
            .earning_locks()
            .map(|lock| lock.worth().saturating_sub(lock.claimed));
        let claimable = claimable.fold(MicroCredits::ZERO, MicroCredits::saturating_add);
        self.wallet
            .as_ref()
            .map(|wallet| wallet.view(claimable))
            .unwrap_or_default()
    }

    fn unix(&self, now: Instant) -> UnixTime {
        let (at, unix) = self.clock;
        unix.plus_secs(now.since(at).as_secs())
    }
}

impl Session {
    pub(super) fn market_clock(&mut self, unix: UnixTime, now: Instant) {
        self.market.clock = (now, unix);
        let settlement = match &mut self.market.wallet {
            Some(wallet) => {
                wallet.tick(now, unix);
                wallet.settlement_time(unix)
            }
            None => unix,
        };
        self.market.exchange.set_clock(now, settlement);
        self.market_policy(now);
    }

    /// Carries out what exchange and wallet ask for, until neither asks for more.
    pub(super) fn market_drain(&mut self, now: Instant) {
        if self.market.is_dated() {
            self.market_tick(now);
        }
        loop {
            if let Some(output) = self.market.exchange.poll_output() {
                self.exchange_output(output, now);
            } else if let Some(output) = self.market.wallet.as_mut().and_then(Wallet::poll_output) {
                self.wallet_output(output, now);
            } else {
                break;
            }
        }
    }

    /// Whatever time has made due.
    fn market_tick(&mut self, now: Instant) {
        let exchange = &mut self.market.exchange;
        if exchange.next_timeout().is_some_and(|at| at <= now) {
            exchange.tick(now);
        }
        let unix = self.market.unix(now);
        if let Some(wallet) = &mut self.market.wallet
            && wallet.next_timeout() <= now
        {
            wallet.tick(now, unix);
        }
    }

    fn exchange_output(&mut self, output: ExchangeOutput, now: Instant) {
        match output {
            ExchangeOutput::Send { peer, message } => {
                self.send_receipt_message(peer, &message, now);
            }
            ExchangeOutput::Tally(rows) => self.outputs.push_back(Output::Tally(rows)),
            ExchangeOutput::Append(command) => self.outputs.push_back(Output::Append(command)),
            ExchangeOutput::AskLock(lock_id) => {
                self.with_wallet(now, |wallet| wallet.ask_lock(lock_id));
            }
            ExchangeOutput::Claim(claim) => self.with_wallet(now, |wallet| wallet.claim(claim)),
            ExchangeOutput::CloseLock(lock_id) => {
                self.with_wallet(now, |wallet| wallet.close_lock(lock_id));
            }
            ExchangeOutput::Spent {
                payee,
                info_hash,
                amount,
            } => {
                self.market.boosts.spent(payee, info_hash, amount);
            }
            ExchangeOutput::Event(event) => self.exchange_event(event, now),
        }
    }

    fn send_receipt_message(&mut self, peer: PeerIndex, message: &ReceiptMessage, now: Instant) {
        let Some(link) = self.peers.get(&peer).and_then(Peer::live) else {
            return;
        };
        let Some(id) = link.remote.id_of(RECEIPT) else {
            return;
        };
        let payload = message.encode();
        self.send(peer, Message::Extended { id, payload }, now);
    }

    /// Tells the wallet something, and lets it act on it.
    pub(super) fn with_wallet(&mut self, now: Instant, tell: impl FnOnce(&mut Wallet)) {
        let unix = self.market.unix(now);
        if let Some(wallet) = &mut self.market.wallet {
            tell(wallet);
            if unix != UnixTime::ZERO {
                wallet.tick(now, unix);
            }
        }
    }

    fn exchange_event(&mut self, event: ExchangeEvent, now: Instant) {
        match event {
            ExchangeEvent::Proven { .. }
            | ExchangeEvent::Ready(_)
            | ExchangeEvent::Suspended(_) => {
                self.choke_soon(now);
            }
            ExchangeEvent::Quoted { peer, .. } => self.refill_peer(peer, now),
            ExchangeEvent::WrittenOff { peer, bytes } => {
                self.outputs
                    .push_back(Output::Event(SessionEvent::WrittenOff { peer, bytes }));
            }
            ExchangeEvent::Tipped { .. } => {}
            ExchangeEvent::Misbehaved { peer, violation } => {
                self.misbehaved(peer, violation.to_string());
            }
        }
    }

    fn wallet_output(&mut self, output: WalletOutput, now: Instant) {
        match output {
            WalletOutput::Tally(rows) => self.outputs.push_back(Output::Tally(rows)),
            WalletOutput::Settle { request, what } => {
                self.outputs.push_back(Output::Settle { request, what });
            }
            WalletOutput::Append(command) => self.outputs.push_back(Output::Append(command)),
            WalletOutput::LockChanged(status) => {
                self.market.exchange.lock_status(&status, now);
                self.choke_soon(now);
            }
            WalletOutput::Event(event) => self.outputs.push_back(Output::Event(event)),
        }
    }

    pub(super) fn settled(
        &mut self,
        request: u64,
        answer: Result<SettlementAnswer, Unreachable>,
        now: Instant,
    ) {
        let unix = self.market.unix(now);
        if let Some(wallet) = &mut self.market.wallet {
            wallet.answer(request, answer.into(), now, unix);
            let time = wallet.settlement_time(unix);
            self.market.exchange.set_clock(now, time);
        }
        self.market_drain(now);
    }

    pub(super) fn market_policy(&mut self, now: Instant) {
        let mut terms = terms(&self.policy, self.market.receipts);
        // With a clock that is off, or a key that was handed over, no lock is taken.
        terms.earn &= self.market.wallet.as_ref().is_none_or(Wallet::takes_locks);
        self.market.exchange.set_terms(terms);
        self.market_drain(now);
    }

    pub(super) fn market_plan(&mut self, now: Instant) {
        self.plan_boosts(now);
    }

    /// Settlement time, as far as known.
    pub(super) fn settlement_time(&self, now: Instant) -> UnixTime {
        let unix = self.market.unix(now);
        self.market
            .wallet
            .as_ref()
            .map_or(unix, |wallet| wallet.settlement_time(unix))
    }

    pub(super) fn market_finish(&mut self, now: Instant) {
        self.market.exchange.finish(now);
        self.market_drain(now);
        if let Some(wallet) = &mut self.market.wallet {
            wallet.shutdown();
        }
        self.market_drain(now);
    }

    pub(super) fn receipt_offer(&self) -> Option<ReceiptOffer> {
        let network_id = self.market.network.map(|network| network.id);
        self.market.receipts.then(|| ReceiptOffer {
            version: RECEIPT_VERSION,
            node_id: self.market.node_id(),
            network_id: network_id.unwrap_or(NetworkId::from_bytes([0; 32])),
        })
    }

    /// An extended handshake arrived: if both ends offer receipts, the exchange begins.
    pub(super) fn market_opened(&mut self, peer: PeerIndex, now: Instant) {
        if !self.market.receipts {
            return;
        }
        let Some(info_hash) = self.peers.get(&peer).and_then(|entry| entry.info_hash) else {
            return;
        };
        let Some(link) = self.peers.get(&peer).and_then(Peer::live) else {
            return;
        };
        let Some(offer) = link
            .remote
            .receipt
            .filter(|_| link.remote.id_of(RECEIPT).is_some())
        else {
            return;
        };
        let fast = link.fast;
        let metainfo = self
            .torrents
            .get(&info_hash)
            .and_then(|torrent| torrent.metainfo());
        let piece_len = metainfo.map(|metainfo| metainfo.geometry.piece_len());
        self.market.exchange.open(
            Opened {
                peer,
                info_hash,
                piece_len,
                offer,
                fast,
            },
            now,
        );
        self.market_drain(now);
    }

    pub(super) fn receipt_arrived(&mut self, peer: PeerIndex, payload: &[u8], now: Instant) {
        let message = match ReceiptMessage::decode(payload) {
            Ok(message) => message,
            Err(error) => return self.misbehaved(peer, format!("Sb_receipt: {error}")),
        };
        let outcome = self.market.exchange.handle(peer, message, now);
        self.market_drain(now);
        if let Err(violation) = outcome {
            return self.misbehaved(peer, format!("Sb_receipt: {violation}"));
        }
        // A bid may let it in, a receipt may make room.
        self.want(peer, now);
        if self.paid_order_waits(peer, now) {
            self.choke_soon(now);
        }
    }

    fn paid_order_waits(&self, peer: PeerIndex, now: Instant) -> bool {
        let class = self
            .choker
            .decision(peer)
            .and_then(|decision| decision.class);
        class != Some(Class::Paid) && self.market_pays(peer, self.market_bid(peer), now)
    }

    /// A connection is gone: grants that did not leave are taken back.
    pub(super) fn market_closed(&mut self, entry: &Peer, now: Instant) {
        let granted = entry.link.iter().flat_map(|link| &link.upload.granted);
        for block in granted.filter(|block| !block.rate.is_zero()) {
            self.market
                .exchange
                .ungrant(entry.index, block.len, block.rate, now);
        }
        self.market.exchange.close(entry.index, now);
        self.market_drain(now);
    }

    /// Before we close a connection ourselves: what is due is signed and sent.
    pub(super) fn market_closing(&mut self, peer: PeerIndex, now: Instant) {
        self.market.exchange.flush(peer, now);
        self.market_drain(now);
    }

    /// A torrent was removed: its boosts end.
    pub(super) fn market_torrent_gone(&mut self, info_hash: InfoHash, now: Instant) {
        self.market.boosts.torrent_removed(info_hash);
        self.plan_boosts(now);
    }

    pub(super) fn market_torrent_known(&mut self, info_hash: InfoHash, now: Instant) {
        let Some(torrent) = self.torrents.get(&info_hash) else {
            return;
        };
        let Some(metainfo) = torrent.metainfo() else {
            return;
        };
        let piece_len = metainfo.geometry.piece_len();
        for peer in &torrent.peers {
            self.market.exchange.set_piece_len(*peer, piece_len, now);
        }
        self.market_drain(now);
    }

    pub(super) fn market_standing(&self, peer: PeerIndex) -> Standing {
        let exchange = &self.market.exchange;
        let Some(node_id) = exchange.key_of(peer) else {
            return Standing::default();
        };
        let Some(pair) = exchange.pair(node_id) else {
            return Standing::default();
        };
        Standing {
            node_id: Some(node_id),
            standing: pair.standing,
            friend: self.policy.friends.contains(&node_id),
            bid: exchange.bid(peer),
            own_bid: exchange.own_bid(peer),
            exposure: pair.exposure,
            window: pair.window,
            backing_off: pair.backing_off,
        }
    }

    /// Whether a peer may be in the paid class at this bid.
    pub(super) fn market_pays(&self, peer: PeerIndex, bid: Rate, now: Instant) -> bool {
        self.market.exchange.is_paid_eligible(peer, bid, now)
    }

    /// The choker put a peer into a class, or choked it.
    pub(super) fn market_class(&mut self, peer: PeerIndex, class: Option<Class>, now: Instant) {
        let quote = match class {
            Some(Class::Paid) => Quoted::Paid {
                cap: self.choker.clearing_price().unwrap_or(Rate::MAX),
            },
            Some(Class::Reciprocal | Class::Optimistic) | None => Quoted::Open,
        };
        if class.is_none() {
            self.market.exchange.flush(peer, now);
        }
        self.market.exchange.set_quote(peer, quote);
        self.market_drain(now);
    }

    pub(super) fn market_bid(&self, peer: PeerIndex) -> Rate {
        self.market.exchange.bid(peer)
    }

    /// How the next block would be served.
    pub(super) fn market_price(&self, peer: PeerIndex, len: u32, bid: Rate, now: Instant) -> Price {
        match self.market.exchange.class_of(peer, len, bid, now) {
            Granted::Paid(rate) => Price::Paid(rate),
            Granted::Open => Price::Open,
        }
    }

    /// Grants a block; the QUOTE that announces its class goes out before it.
    pub(super) fn market_grant(
        &mut self,
        peer: PeerIndex,
        len: u32,
        bid: Rate,
        now: Instant,
    ) -> Price {
        let granted = self.market.exchange.grant(peer, len, bid, now);
        self.market_drain(now);
        match granted {
            Granted::Paid(rate) => Price::Paid(rate),
            Granted::Open => Price::Open,
        }
    }

    pub(super) fn market_sent(&mut self, peer: PeerIndex, bytes: u64, now: Instant) {
        self.market.exchange.sent(peer, bytes, now);
    }

    /// Bytes of further pieces that may be opened at a peer (S2).
    pub(super) fn market_window_left(&self, peer: PeerIndex) -> u64 {
        self.market.exchange.window_left(peer).get()
    }

    pub(super) fn market_requested(
        &mut self,
        peer: PeerIndex,
        info_hash: InfoHash,
        blocks: &[Block],
        now: Instant,
    ) {
        let torrent = self.torrents.get(&info_hash);
        let Some(metainfo) = torrent.and_then(|torrent| torrent.metainfo()) else {
            return;
        };
        let geometry = metainfo.geometry;
        for block in blocks {
            self.market
                .exchange
                .requested(peer, *block, geometry.len_of(block.piece));
        }
        self.market_drain(now);
    }

    pub(super) fn market_arrived(
        &mut self,
        peer: PeerIndex,
        block: Block,
        fate: BlockFate,
        had: bool,
        now: Instant,
    ) {
        self.market.exchange.arrived(peer, &block, fate, had, now);
        self.market_drain(now);
    }

    /// A request will not be answered.
    pub(super) fn market_unanswered(&mut self, peer: PeerIndex, block: Block, now: Instant) {
        self.market.exchange.rejected(peer, &block, now);
        self.market_drain(now);
    }

    /// Pieces are fetched from somebody else now.
    pub(super) fn market_handed_on(
        &mut self,
        peer: PeerIndex,
        pieces: &[PieceIndex],
        now: Instant,
    ) {
        for piece in pieces {
            self.market.exchange.hand_on(peer, *piece, now);
        }
        self.market_drain(now);
    }

    pub(super) fn market_verified(&mut self, info_hash: InfoHash, piece: PieceIndex, now: Instant) {
        self.market.exchange.verified(info_hash, piece, now);
        self.market_drain(now);
    }

    /// A piece failed its hash, or its buffer was given up.
    pub(super) fn market_discarded(
        &mut self,
        info_hash: InfoHash,
        piece: PieceIndex,
        now: Instant,
    ) {
        self.market.exchange.discarded(info_hash, piece, now);
        self.market_drain(now);
    }

    pub(super) fn transfer(
        &mut self,
        request_id: &str,
        to: NodeId,
        amount: MicroCredits,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        let Some(wallet) = &mut self.market.wallet else {
            return Err(CommandError::NoSettlement);
        };
        let nonce = wallet.transfer(request_id, to, amount, now)?;
        self.with_wallet(now, |_| {});
        self.market_drain(now);
        Ok(CommandReply::Transfer { nonce })
    }
}

fn terms(policy: &Policy, receipts: bool) -> Terms {
    Terms {
        earn: policy.earn,
        spend: policy.spend,
        acknowledge: receipts,
        rate_min: policy.rate_min,
    }
}
