//! The second driver of engine and ledger: nodes, links and a settlement node under virtual time.
//!
//! Start at [`world`], which drives them. [`scenario`] says who is in it and [`play`] runs that;
//! [`flow`] does for millions of peers, without messages.
//! [`demo`], [`promise`] and [`spread`] are scenarios of their own. With the feature `lab` there is
//! also [`cli`], which has files and the wall clock; nothing else here does I/O.

// The command line and examples name the library as its users do.
#[cfg(any(feature = "lab", test))]
extern crate self as seedbank_sim;

pub mod agent;
pub mod books;
pub mod capacity;
#[cfg(feature = "lab")]
pub mod cli;
pub mod demo;
pub mod design;
pub mod flow;
pub mod frame;
pub mod library;
pub mod measure;
#[cfg(test)]
mod mutual;
pub mod network;
pub mod node;
pub mod play;
pub mod promise;
pub mod queue;
pub mod recording;
pub mod report;
pub mod scenario;
pub mod settlement;
pub mod signatures;
pub mod spread;
pub mod stats;
pub mod streams;
pub mod swarm;
pub mod tracker;
pub mod twin;
pub mod validation;
pub mod watch;
pub mod world;
