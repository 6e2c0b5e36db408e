//! What the owner decides about credit, and why a wish about credit is refused.

use seedbank_ledger::charts::node::Available;
use seedbank_ledger::settlement::REQUEST_ID_LEN_MAX;
use seedbank_ledger::signed::head::HeadConflict;
use seedbank_ledger::{MicroCredits, NodeId, Rate};

use crate::credit::network::Network;
use crate::units::TorrentId;

/// The owner's decisions about credit; may change while the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditPolicy {
    /// Take paying peers.
    pub earn: bool,
    /// Let boosts spend.
    pub spend: bool,
    /// Lowest bid that is served as paid; `None` for the network's par price.
    pub rate_min: Option<Rate>,
    /// Keys that rank as paid for nothing.
    pub friends: Vec<NodeId>,
    /// Most credit all boosts together may spend in 24 h; `None` for no limit.
    pub spend_per_day_max: Option<MicroCredits>,
}

impl Default for CreditPolicy {
    fn default() -> Self {
        Self {
            earn: true,
            spend: true,
            rate_min: None,
            friends: Vec::new(),
            spend_per_day_max: None,
        }
    }
}

impl CreditPolicy {
    /// The lowest bid that is served as paid, in this network.
    pub fn ask(&self, network: Option<&Network>) -> Rate {
        let par = network.map_or(Rate::PAR, |network| network.par_price);
        self.rate_min.unwrap_or(par)
    }
}

const _: () = assert!(REQUEST_ID_LEN_MAX == 128, "the message below says so");

/// Refuses a request id that nobody could store.
pub(crate) fn check_request_id(id: &str) -> Result<(), CreditError> {
    match id.len() {
        1..=REQUEST_ID_LEN_MAX => Ok(()),
        _ => Err(CreditError::BadValue {
            field: "request_id",
            problem: "must be 1 to 128 bytes long",
        }),
    }
}

/// Why a wish about credit was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    /// No such boost.
    #[error("no boost {0}")]
    BoostUnknown(u64),
    /// The request id was used for something else.
    #[error("request id {0:?} was used for something else")]
    RequestIdReused(String),
    /// Nothing is left to buy.
    #[error("torrent {0} is complete: nothing is left to buy")]
    TorrentComplete(TorrentId),
    /// Nobody can be paid for it.
    #[error("torrent {0} is private: its peers are not shown the key that pays")]
    TorrentPrivate(TorrentId),
    /// Spending is switched off by policy.
    #[error("spending is off (policy)")]
    SpendingDisabled,
    /// Not enough credit.
    #[error("needs {needed}, has {available}")]
    InsufficientCredit {
        /// Asked for.
        needed: MicroCredits,
        /// What is free, and what the rest is promised to.
        available: Available,
    },
    /// Less than this network moves in one transfer: it would refuse the order, whose nonce is
    /// then used up.
    #[error("amount must be at least {least} in this network, not {amount}")]
    TransferTooSmall {
        /// Asked for.
        amount: MicroCredits,
        /// The least by the genesis.
        least: MicroCredits,
    },
    /// No settlement node is configured.
    #[error("no settlement node is configured")]
    NoSettlement,
    /// The settlement node's ledger went back: nothing more is signed in this run.
    #[error(
        "the settlement node's ledger went back ({0}): no order is signed before the next start"
    )]
    LedgerWentBack(HeadConflict),
    /// A number is out of range.
    #[error("{field} {problem}")]
    BadValue {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The session is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}
