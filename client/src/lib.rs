//! `seedbank`: the command line, and the typed client that it and the tests use.
//!
//! Knows the contract (`proto`), nothing of the node. `connection.rs` makes a [`Client`]; `cli.rs`
//! is the command line; `units.rs` reads and writes amounts for people, `columns.rs` fits text to a
//! terminal, `fetch.rs` gets .torrent files from web servers.

pub mod cli;
mod columns;
mod connection;
mod error;
mod fetch;
mod json;
mod time;
mod units;

pub use connection::{Api, ApiAddress, Caller, Client, Options, default_socket};
pub use error::ClientError;
pub use json::to_value as to_json;
