//! Who owes whom: receipts between peers, the account at the settlement node, and boosts.
//!
//! [`market`] is the whole of it for a node. Its parts: [`receipts`] keeps pairs of keys,
//! [`wallet`] this node's account, [`boost`] what its owner wants to pay. What they need of a
//! connection, a torrent or the choker is handed in as values; what they want done comes out as
//! [`output`]s.

pub mod boost;
pub mod event;
pub mod market;
pub mod network;
pub mod output;
pub mod policy;
pub mod receipts;
pub mod settlement;
pub mod wallet;
