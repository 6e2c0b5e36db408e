//! `seedbankd` as a process: what only a whole program can get wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod memory;
mod process;
mod signals;
mod streams;
