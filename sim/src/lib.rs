//! The second driver of engine and ledger: nodes, links and a settlement node under virtual time.
//!
//! Start at [`world`]; [`demo`] and [`spread`] are who is in it.

pub mod books;
pub mod demo;
#[cfg(test)]
mod mutual;
pub mod network;
pub mod node;
pub mod promise;
pub mod queue;
pub mod recording;
pub mod settlement;
pub mod signatures;
pub mod spread;
pub mod swarm;
pub mod tracker;
pub mod world;
