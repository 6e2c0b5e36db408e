//! Which accounts there are, and what moves between them: two charts over one state machine.
//!
//! [`network`] is a community's credit, kept by its settlement node; [`node`] is one node's own
//! books. Entries, hashes and stores are the same for both and lie beside this folder.

pub mod network;
pub mod node;
