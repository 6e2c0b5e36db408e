//! Settings of a session: *protocol* parameters that both sides share, and the owner's *policy*.

pub use crate::credit::network::Network;
pub use crate::credit::policy::CreditPolicy;
use crate::discovery::reach::{OwnHosts, Zone};
pub use crate::transfer::choker::PaidRule;

/// What a session needs to know about its node; fixed for its life.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Port we listen on, as told to trackers and peers.
    pub listen_port: u16,
    /// Where the addresses are that we listen at: what strangers name may be as near as that.
    pub home: Zone,
    /// Where we are in the open: strangers lead us there no more than to private addresses.
    pub own_hosts: OwnHosts,
    /// Seed of every random choice.
    pub rng_seed: u64,
    /// The network this node belongs to, if any.
    pub network: Option<Network>,
    /// Speak the receipt protocol at all. Off: plain BitTorrent.
    pub receipts: bool,
    /// Speak it to peers of private torrents too, which links them to our key.
    pub receipts_private: bool,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most bytes in leased piece buffers.
    pub lease_bytes_max: u64,
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
    /// Bytes per second, all torrents; `None` for no limit.
    pub upload_limit: Option<u64>,
    /// Bytes per second, all torrents; `None` for no limit.
    pub download_limit: Option<u64>,
    /// Everything about credit.
    pub credit: CreditPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            slots: 8,
            open_share_percent: 30,
            paid_rule: PaidRule::TopK,
            upload_limit: None,
            download_limit: None,
            credit: CreditPolicy::default(),
        }
    }
}
