//! The peer wire protocol: BEP 3 messages, BEP 6 and BEP 10.

pub mod handshake;
pub mod message;
