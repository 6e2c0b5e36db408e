//! The second driver of engine and ledger: nodes, links and a settlement node under virtual time.
//!
//! Start at [`world`]; [`scenario`] says who is in it.

pub mod books;
pub mod network;
pub mod node;
pub mod queue;
pub mod recording;
pub mod scenario;
pub mod settlement;
pub mod swarm;
pub mod world;
