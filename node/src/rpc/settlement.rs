//! The shared ledger over gRPC, served to anybody.
//!
//! `server.rs` serves the keeper of [`crate::settlement`] and believes only signatures;
//! `admission.rs` and `places.rs` say how many may come at once, `limit.rs` how often they may ask.

mod admission;
mod limit;
mod places;
mod server;

#[cfg(test)]
mod tests;

pub use admission::Door;
pub use server::serve;
