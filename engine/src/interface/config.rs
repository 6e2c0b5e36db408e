//! Settings of a session: *protocol* parameters that both sides share, and the owner's *policy*.

use seedbank_ledger::genesis::{Genesis, Limits};
use seedbank_ledger::{NetworkId, NodeId, Rate};

use crate::units::ClientId;

/// What a session needs to know about its node; fixed for its life.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name for this run (BEP 20), `-Sb0001-` and twelve drawn characters.
    pub client_id: ClientId,
    /// Port we listen on, as told to trackers and peers.
    pub listen_port: u16,
    /// Seed of every random choice.
    pub rng_seed: u64,
    /// The network this node belongs to, if any.
    pub network: Option<Network>,
    /// Speak the receipt protocol at all. Off: plain BitTorrent.
    pub receipts: bool,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most bytes in leased piece buffers.
    pub lease_bytes_max: u64,
}

/// A community's credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// BLAKE3 of its genesis file.
    pub id: NetworkId,
    /// The key that signs locks and certificates.
    pub settlement: NodeId,
    /// What bounds its locks.
    pub limits: Limits,
}

impl Network {
    /// The network of a genesis file.
    pub fn of(genesis: &Genesis) -> Self {
        Self {
            id: genesis.network_id(),
            settlement: genesis.settlement,
            limits: genesis.limits,
        }
    }
}

/// What the owner may change while the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Upload slots over all torrents.
    pub slots: usize,
    /// Percent of the upload rate, and of the slots, that stay outside the market.
    pub open_share_percent: u8,
    /// How the paid class is ranked and shared.
    pub paid_rule: PaidRule,
    /// Take paying peers.
    pub earn: bool,
    /// Let boosts spend.
    pub spend: bool,
    /// Lowest bid that is served as paid.
    pub rate_min: Rate,
    /// Bytes per second, all torrents; `None` for no limit.
    pub upload_limit: Option<u64>,
    /// Bytes per second, all torrents; `None` for no limit.
    pub download_limit: Option<u64>,
    /// Keys that rank as paid for nothing.
    pub friends: Vec<NodeId>,
    /// Most credit all boosts together may spend in 24 h; `None` for no limit.
    pub spend_per_day_max: Option<seedbank_ledger::MicroCredits>,
}

/// A rule for the paid class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaidRule {
    /// Highest bids get the slots, pay what they bid, and share the rate equally.
    #[default]
    TopK,
    /// Every bidder is served in proportion to its bid.
    Proportional,
    /// Highest bids get the slots and all pay the highest losing bid.
    UniformPrice,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            slots: 8,
            open_share_percent: 30,
            paid_rule: PaidRule::TopK,
            earn: true,
            spend: true,
            rate_min: Rate::new(1),
            upload_limit: None,
            download_limit: None,
            friends: Vec::new(),
            spend_per_day_max: None,
        }
    }
}
