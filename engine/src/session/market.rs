//! Receipts, locks and boosts, as they touch connections.

use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Identity, Instant, MicroCredits, NodeId, Rate, UnixTime};

use crate::choker::Class;
use crate::rng::Rng;
use crate::session::Session;
use crate::session::command::{BoostOrder, CommandError, CommandReply};
use crate::session::config::Config;
use crate::session::input::BlockFate;
use crate::session::peer::Peer;
use crate::session::settlement::SettlementReply;
use crate::session::view::{BoostQuote, BoostView, WalletView};
use crate::units::{Block, InfoHash, PeerIndex, PieceIndex};
use crate::wire::extended::ReceiptOffer;

/// The part of a session that deals in credit.
#[derive(Debug)]
pub(crate) struct Market {
    identity: Identity,
}

/// At what a block is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Price {
    /// In the paid class, at this rate.
    Paid(Rate),
    /// For nothing.
    Open,
    /// Not now.
    Hold,
}

/// A peer as the market sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) node_id: Option<NodeId>,
    pub(crate) standing: i64,
    pub(crate) friend: bool,
    pub(crate) pays: bool,
    pub(crate) bid: Rate,
    pub(crate) own_bid: Rate,
    pub(crate) exposure: Bytes,
    pub(crate) window: Bytes,
    pub(crate) backing_off: bool,
}

impl Market {
    pub(crate) fn new(
        _config: &Config,
        identity: Identity,
        _rows: Vec<TallyRow>,
        _rng: Rng,
        _now: Instant,
    ) -> Self {
        Self { identity }
    }
    pub(crate) fn node_id(&self) -> NodeId {
        self.identity.id()
    }
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        None
    }
    pub(crate) fn is_finished(&self) -> bool {
        true
    }
    pub(crate) fn check_invariants(&self) {}
    pub(crate) fn boosts(&self) -> Vec<BoostView> {
        Vec::new()
    }
    pub(crate) fn wallet(&self) -> WalletView {
        WalletView::default()
    }
}

impl Session {
    pub(super) fn market_clock(&mut self, _unix: UnixTime, _now: Instant) {}
    pub(super) fn market_drain(&mut self, _now: Instant) {}
    pub(super) fn market_plan(&mut self, _now: Instant) {}
    pub(super) fn market_policy(&mut self, _now: Instant) {}
    pub(super) fn market_finish(&mut self, _now: Instant) {}
    pub(super) fn receipt_offer(&self) -> Option<ReceiptOffer> {
        None
    }
    pub(super) fn market_opened(&mut self, _peer: PeerIndex, _now: Instant) {}
    pub(super) fn market_closed(&mut self, _entry: &Peer, _now: Instant) {}
    pub(super) fn market_torrent_gone(&mut self, _info_hash: InfoHash, _now: Instant) {}
    pub(super) fn receipt_arrived(&mut self, _peer: PeerIndex, _payload: &[u8], _now: Instant) {}
    pub(super) fn market_standing(&self, _peer: PeerIndex) -> Standing {
        Standing::default()
    }
    pub(super) fn market_class(&mut self, _peer: PeerIndex, _class: Option<Class>, _now: Instant) {}
    pub(super) fn market_bid(&self, _peer: PeerIndex) -> Rate {
        Rate::ZERO
    }
    pub(super) fn market_grant(
        &mut self,
        _peer: PeerIndex,
        _len: Bytes,
        _bid: Rate,
        _now: Instant,
    ) -> Price {
        Price::Open
    }
    pub(super) fn market_window_left(&self, _peer: PeerIndex) -> u64 {
        u64::MAX
    }
    pub(super) fn market_requested(
        &mut self,
        _peer: PeerIndex,
        _: InfoHash,
        _blocks: &[Block],
        _now: Instant,
    ) {
    }
    pub(super) fn market_choked(&mut self, _peer: PeerIndex, _now: Instant) {}
    pub(super) fn market_unchoked(&mut self, _peer: PeerIndex, _now: Instant) {}
    pub(super) fn market_torrent_known(&mut self, _: InfoHash, _now: Instant) {}
    pub(super) fn market_arrived(
        &mut self,
        _peer: PeerIndex,
        _block: Block,
        _fate: BlockFate,
        _now: Instant,
    ) {
    }
    pub(super) fn market_unanswered(&mut self, _peer: PeerIndex, _block: Block, _now: Instant) {}
    pub(super) fn market_verified(&mut self, _: InfoHash, _piece: PieceIndex, _now: Instant) {}
    pub(super) fn market_failed(&mut self, _: InfoHash, _piece: PieceIndex, _now: Instant) {}
    pub(super) fn settled(&mut self, _request: u64, _reply: SettlementReply, _now: Instant) {}
    pub(super) fn boost(
        &mut self,
        _order: BoostOrder,
        _now: Instant,
    ) -> Result<CommandReply, CommandError> {
        Err(CommandError::NoSettlement)
    }
    pub(super) fn cancel_boost(
        &mut self,
        id: u64,
        _now: Instant,
    ) -> Result<CommandReply, CommandError> {
        Err(CommandError::BoostUnknown(id))
    }
    pub(super) fn transfer(
        &mut self,
        _request_id: String,
        _to: NodeId,
        _amount: MicroCredits,
        _now: Instant,
    ) -> Result<CommandReply, CommandError> {
        Err(CommandError::NoSettlement)
    }
    pub(super) fn quote(&self, _info_hash: InfoHash, _bid: Rate) -> Option<BoostQuote> {
        None
    }
}
