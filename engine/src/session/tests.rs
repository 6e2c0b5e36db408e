//! The session driven by hand: stories, hazards met in real swarms, and arbitrary peers.
//!
//! [`rig::Rig`] is a driver without sockets. It carries out every output on a model of the data
//! plane ([`plane::Plane`]), which stops the test as soon as the session breaks the contract of
//! `session/output.rs` or the rules of the wire, whatever the test itself is about.

mod arbitrary;
mod attacks;
mod boosting;
mod choking;
mod copies;
mod dialling;
mod doorway;
mod fetching;
mod greeting;
mod haggling;
mod limits;
mod linking;
mod living;
mod magnets;
mod market;
mod mute;
mod plane;
mod pump;
mod resting;
mod rig;
mod rows;
mod seats;
mod seeded;
mod serving;
mod showing;
mod starting;
mod stopping;
mod strangers;
mod suggesting;
mod trackers;
mod waiting;

use rig::{Remote, Rig};
