//! Who owes whom: receipts between peers, the account at the settlement node, and boosts.
//!
//! [`receipts`] keeps pairs of keys, [`wallet`] this node's account, [`boost`] what its owner wants
//! to pay. What they need of the choker or of a torrent is handed in as values.

pub mod boost;
pub mod receipts;
pub mod settlement;
pub mod wallet;
