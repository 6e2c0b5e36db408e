//! One binary for all tests across crates.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a test says what it saw")]

mod bad_input;
mod bad_receipts;
mod conformance;
mod crowd;
mod demo;
mod hostile_peers;
mod idle;
mod interop;
mod kill;
mod mixed_swarm;
mod mute;
mod numbers;
mod paid;
mod processes;
mod promise;
mod rig;
mod setup;
mod tidy;
