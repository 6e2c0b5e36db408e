//! What is kept of a wallet from one run to the next.

use seedbank_ledger::signed::order::SignedOrder;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{MicroCredits, Sequence, UnixTime};

use crate::credit::boost::{BoostRowError, Boosts};

/// What the wallet of an earlier run left behind.
#[derive(Clone, Debug, Default)]
pub struct WalletBook {
    /// Tally rows; only orders and locks are read.
    pub rows: Vec<TallyRow>,
    /// The newest settled line in the node ledger and its time; `None` for none, which asks for
    /// every line again.
    pub as_of: Option<(Sequence, UnixTime)>,
    /// Available credit as of that line.
    pub available: MicroCredits,
    /// Newest transfers of ours in the node ledger, oldest first, so that their request ids keep
    /// their meaning; only the last [`REQUEST_IDS_MAX`](super::config::REQUEST_IDS_MAX) count.
    pub transfers: Vec<SignedOrder>,
}

impl WalletBook {
    /// Whether every row reads back, before a session is made of them: rows are kept as bytes that
    /// only the engine knows, and a damaged one is the owner's to hear of. The error names the row.
    pub fn check(&self) -> Result<(), BoostRowError> {
        Boosts::restore(&self.rows).map(|_| ())
    }
}
